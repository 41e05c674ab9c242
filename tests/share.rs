//! One file and many processes: applications, shells and clients of the protocol, those that go away in the middle, and those that mean harm.
#![cfg(all(unix, feature = "shell", feature = "share"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bygone::share::SharedDb;
use bygone::{Db, Delivery, Error, NewEvent, Options, Position};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bygone");

/// Says to this test that it is the application of another one, and which file it opens.
const APPLICATION: &str = "BYGONE_TEST_APPLICATION";

/// Each of these tests is alone: what this program has open is counted, and some put a load on the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().canonicalize().unwrap().join("shop.bygone");
    (folder, path)
}

/// Numbers that look like chance and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A program of somebody's own: four threads append, and each says what is acknowledged. It ends by being killed.
#[test]
fn application() {
    let Some(path) = std::env::var_os(APPLICATION) else { return };
    let db = Options::new().share(true).create(path).unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let db = db.clone();
            scope.spawn(move || {
                for n in 0..u64::MAX {
                    let event = NewEvent::new("App.wrote").on(("App", writer)).member("n", n);
                    db.append(event).unwrap();
                    println!("acknowledged {writer} {n}");
                }
            });
        }
    });
}

fn start_application(path: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["application", "--exact", "--nocapture"])
        .env(APPLICATION, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let until = Instant::now() + Duration::from_secs(60);
    while Db::attach(path).is_err() {
        assert!(Instant::now() < until, "the application does not share its file");
        thread::sleep(Duration::from_millis(10));
    }
    child.unwrap()
}

/// A shell that runs statements from a pipe.
fn shell(path: &Path, arguments: &[&str]) -> Child {
    Command::new(PROGRAM)
        .arg(path)
        .args(arguments)
        .current_dir(path.parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is acknowledged by the lines of a program, as they come.
fn acknowledged(child: &mut Child) -> thread::JoinHandle<BTreeMap<u64, u64>> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::spawn(move || {
        let mut newest = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            // The test harness says something, too.
            let Some((_, told)) = line.split_once("acknowledged ") else { continue };
            let Some((writer, n)) = told.split_once(' ') else { continue };
            if let (Ok(writer), Ok(n)) = (writer.parse(), n.parse()) {
                newest.insert(writer, n);
            }
        }
        newest
    })
}

/// Appends through whoever has the file open until that goes away, and says how many were acknowledged.
fn append_until_it_goes(db: &SharedDb, writer: &str) -> (u64, Error) {
    let mut done = 0;
    loop {
        match db.append(NewEvent::new("Client.wrote").on(("Client", writer)).member("n", done)) {
            Ok(_) => done += 1,
            Err(error) => return (done, error),
        }
    }
}

#[test]
fn many_processes_share_a_file_and_go_on_when_its_holder_is_killed() {
    let _alone = alone();
    let (_folder, path) = folder();
    let mut holder = start_application(&path);
    let by_application = acknowledged(&mut holder);
    // A shell that follows, a shell that asks, and two clients that append and follow under a name.
    let mut follower = shell(&path, &["SUBSCRIBE 'Client.*' FROM START"]);
    let followed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let followed = thread::spawn(move || followed.map_while(Result::ok).count());
    let client = Db::attach(&path).unwrap();
    let mut named = client.subscribe("App.wrote, Client.wrote").from_start().durable("mails").open().unwrap();
    let mut seen = BTreeSet::new();
    let (appended, told) = thread::scope(|scope| {
        let writing = scope.spawn(|| append_until_it_goes(&client, "one"));
        let asked = Command::new(PROGRAM).arg(&path).arg("EVENTS 'App.*' LIMIT 1").output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
        let notice = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(notice, format!("{{\"notice\":\"attached to process {}\"}}\n", holder.id()));
        while seen.len() < 500 {
            if let Some(Ok(Delivery::Event(event))) = named.next() {
                seen.insert(event.position.0);
                named.acknowledge(event.position).unwrap();
            }
        }
        holder.kill().unwrap();
        holder.wait().unwrap();
        writing.join().unwrap()
    });
    // What was under way nobody knows; the next is told that there is nobody.
    assert!(matches!(told, Error::Unknown { .. } | Error::Stopped { .. }), "{told}");
    let gone = client.query("SHOW HEAD").unwrap_err();
    assert!(gone.to_string().contains("has gone; attach again, or open it"), "{gone}");
    let mut errors = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(1), "{errors}");
    assert!(errors.contains("has gone"), "{errors}");
    // One takes over, and nothing that was acknowledged is lost.
    let next = Db::attach_or_open(&path).unwrap();
    assert!(!next.is_attached());
    let count = |entity: (&str, &str)| next.history(entity).unwrap().count() as u64;
    for (writer, newest) in by_application.join().unwrap() {
        assert!(count(("App", &writer.to_string())) > newest, "writer {writer}");
    }
    assert!(count(("Client", "one")) >= appended);
    assert!(followed.join().unwrap() as u64 <= count(("Client", "one")) + 1);
    // The named subscription goes on: what was acknowledged last may come again, and nothing is left out.
    let again = next.subscribe("App.wrote, Client.wrote").durable("mails").open().unwrap();
    for delivery in again {
        match delivery.unwrap() {
            Delivery::Event(event) => drop(seen.insert(event.position.0)),
            Delivery::CaughtUp(_) => break,
        }
    }
    let all: BTreeSet<u64> =
        next.events("App.wrote, Client.wrote").unwrap().map(|event| event.unwrap().position.0).collect();
    assert_eq!(seen, all);
    assert!(next.query("VERIFY").unwrap().rows.all(|row| row.is_ok()));
}

#[test]
fn a_shell_that_is_attached_goes_on_with_the_file_itself() {
    let _alone = alone();
    let (_folder, path) = folder();
    let mut holder = shell(&path, &[]);
    let mut ask = |statement: &str| writeln!(holder.stdin.as_mut().unwrap(), "{statement};").unwrap();
    ask("EMIT Order.created 1 {total: 10}");
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut other = shell(&path, &[]);
    let mut answers = BufReader::new(other.stdout.take().unwrap()).lines();
    let mut input = other.stdin.take().unwrap();
    let mut answer = |statement: &str| {
        writeln!(input, "{statement};").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert!(answer("EMIT Order.paid 1").contains(r#""position":2"#));
    assert!(answer("AT Order 1").contains(r#""state":{"total":10}"#));
    // A second file of the same name is not what was asked for.
    holder.kill().unwrap();
    holder.wait().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(answer("EMIT Order.sent 1").contains(r#""position":3"#));
    drop(input);
    let mut errors = String::new();
    other.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(other.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("attached to process") && errors.contains("has gone"), "{errors}");
    assert_eq!(Db::open(&path).unwrap().head(), Position(3));
}

#[test]
fn who_says_so_attaches_only_or_shares_with_nobody() {
    let _alone = alone();
    let (_folder, path) = folder();
    let elsewhere = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let mut program = Command::new(PROGRAM);
        let output = program.arg(&path).args(arguments).current_dir(elsewhere.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(run(&["EMIT Order.created 1"]).0, 0);
    let (code, _, errors) = run(&["--attach", "SHOW HEAD"]);
    assert!(code == 4 && errors.contains("no process that has it open shares it"), "{errors}");
    for (option, told) in
        [("--private", "is held by another process"), ("--share-read-only", "for reading only")]
    {
        let mut holder = shell(&path, &[option]);
        writeln!(holder.stdin.as_mut().unwrap(), "SHOW HEAD;").unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (code, _, errors) = run(&["EMIT Order.paid 1"]);
        assert!(code != 0 && errors.contains(told), "{option}: {errors}");
        assert_eq!(run(&["--attach", "SHOW HEAD"]).0 == 0, option == "--share-read-only");
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
    }
    let mut holder = shell(&path, &[]);
    writeln!(holder.stdin.as_mut().unwrap(), "SHOW HEAD;").unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let (code, _, errors) = run(&["--read-only", "EMIT Order.paid 1"]);
    assert!(code != 0 && errors.contains("for reading only"), "{errors}");
    // A path is one of the folder of whoever names it.
    for backup in [&["BACKUP TO 'copy.bygone'"][..], &["BACKUP TO $to INCREMENT", "-p", "to=copy.bygone"]] {
        let (code, _, errors) = run(backup);
        assert_eq!(code, 0, "{errors}");
        assert!(
            elsewhere.path().join("copy.bygone").exists() && !path.with_file_name("copy.bygone").exists()
        );
    }
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}

#[test]
fn short_runs_beside_each_other_are_all_answered() {
    let _alone = alone();
    let (_folder, path) = folder();
    Db::create(&path).unwrap().close().unwrap();
    let (rounds, at_once) = (10, 4);
    for _ in 0..rounds {
        let started: Vec<Child> = (0..at_once).map(|_| shell(&path, &["EMIT Run.started 1"])).collect();
        for child in started {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_eq!(Db::open(&path).unwrap().head().0, rounds * at_once);
}

/// What this process has open, and how many threads.
fn held() -> (usize, u64) {
    let handles = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
    (handles, threads.unwrap_or_default())
}

/// Some requests, as somebody sends them who goes away in the middle.
fn some_requests(numbers: &mut Numbers, made: u64) -> String {
    let mut text = String::new();
    for id in 0..=numbers.next(3) {
        let request = match numbers.next(6) {
            0 => format!(r#""statement":"ATOMIC (EMIT Pair.one {made}; EMIT Pair.two {made})""#),
            1 => r#""statement":"EVENTS","credits":3"#.to_owned(),
            2 => r#""statement":"SUBSCRIBE '*' FROM START""#.to_owned(),
            3 => format!(
                r#""append":[{{"type":"Pair.one","target":{{"type":"Pair","id":{made}}}}},{{"type":"Pair.two","target":{{"type":"Pair","id":{made}}}}}]"#
            ),
            4 => r#""import":{}"#.to_owned(),
            _ => r#""statement":"EVENTS GROUP BY type AS t SELECT count() AS n""#.to_owned(),
        };
        text.push_str(&format!("{{\"id\":{id},{request}}}\n"));
    }
    text
}

#[test]
fn who_goes_away_in_the_middle_leaves_nothing_half_done_and_nothing_behind() {
    let _alone = alone();
    let (_folder, path) = folder();
    let db = Options::new().share(true).create(&path).unwrap();
    db.append_all((0..200).map(|n| NewEvent::new("Tick.tocked").member("n", n))).unwrap();
    let socket = path.with_file_name("shop.bygone-socket");
    let before = held();
    let made = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 1..=4u64 {
            let (socket, made) = (&socket, &made);
            scope.spawn(move || {
                let mut numbers = Numbers(client.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                for _ in 0..2500 {
                    let mut stream = UnixStream::connect(socket).unwrap();
                    let requests = some_requests(&mut numbers, made.fetch_add(1, Ordering::Relaxed));
                    let sent = numbers.next(requests.len() as u64 + 1) as usize;
                    // Whoever is turned away for being one too many is none the worse for it.
                    let _ = stream.write_all(&requests.as_bytes()[..sent]);
                    if numbers.next(2) == 0 {
                        let mut some = vec![0; numbers.next(2000) as usize];
                        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                        let _ = stream.read(&mut some);
                    }
                }
            });
        }
    });
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let (handles, threads) = held();
        // The last of them are let go of when the next one comes.
        drop(Db::attach(&path).unwrap());
        if handles <= before.0 + 4 && threads <= before.1 + 4 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let after = held();
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 4, "{before:?} before, {after:?} after");
    let mut pairs: BTreeMap<String, u64> = BTreeMap::new();
    for event in db.events("Pair.*").unwrap() {
        *pairs.entry(event.unwrap().target.unwrap().to_string()).or_default() += 1;
    }
    assert!(pairs.len() > 200 && pairs.values().all(|events| events % 2 == 0), "{} pairs", pairs.len());
    assert!(db.verify().is_ok());
}

#[test]
fn who_means_harm_is_turned_away_and_nobody_else_notices() {
    let _alone = alone();
    let (_folder, path) = folder();
    let db = Options::new().share(true).create(&path).unwrap();
    db.append_all((0..20_000).map(|n| NewEvent::new("Tick.tocked").member("n", n))).unwrap();
    let socket = path.with_file_name("shop.bygone-socket");
    let connect = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    let last_line = |stream: UnixStream| BufReader::new(stream).lines().map_while(Result::ok).last().unwrap();
    // Half a request, and nothing more; and one who asks for much and never reads.
    let mut slow = connect();
    slow.write_all(br#"{"id":1,"statement":"SHOW"#).unwrap();
    let mut deaf: Vec<UnixStream> = (0..4).map(|_| connect()).collect();
    for stream in &mut deaf {
        for id in 0..8 {
            stream.write_all(format!("{{\"id\":{id},\"statement\":\"EVENTS\"}}\n").as_bytes()).unwrap();
        }
    }
    let mut numbers = Numbers(7);
    for _ in 0..200 {
        let mut stream = connect();
        let garbage: Vec<u8> =
            (0..numbers.next(3000)).map(|_| numbers.next(256) as u8).chain(*b"\n\n").collect();
        // It may be closed before all of it is sent.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut told = String::new();
        let _ = stream.read_to_string(&mut told);
        assert!(told.starts_with(r#"{"bygone":"#), "{told}");
    }
    // A line of a gigabyte.
    let mut endless = connect();
    let piece = vec![b'x'; 1 << 20];
    let sent = (0..1024).take_while(|_| endless.write_all(&piece).is_ok()).count();
    assert!(sent < 100, "{sent} MiB were taken");
    assert!(last_line(endless).contains("at most 64 MiB"));
    let other = Db::attach(&path).unwrap();
    assert_eq!(other.events("Tick.*").unwrap().count(), 20_000);
    other.append(NewEvent::new("A.b")).unwrap();
    slow.write_all(b" HEAD\"}\n").unwrap();
    slow.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(last_line(slow).contains(r#""done""#));
    let closing = Instant::now();
    db.close().unwrap();
    assert!(closing.elapsed() < Duration::from_secs(20), "who does not read holds up closing");
    drop(deaf);
    assert_eq!(Db::open(&path).unwrap().head(), Position(20_001));
}
