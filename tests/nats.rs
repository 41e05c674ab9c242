//! The log on streams of real servers: nodes that share it have the same log, whatever becomes of servers and nodes.
//!
//! Where the server cannot be had (`tests/nats/install`), each test says so, and passes; with `BYGONE_NATS_REQUIRED=1` it fails.

#![cfg(feature = "nats")]

#[path = "nats/servers.rs"]
mod servers;

mod cluster {
    //! Three servers.

    use super::*;

    #[test]
    fn nothing_acknowledged_is_lost_when_the_leader_is_killed() {
        let Some(mut servers) = Servers::start(3) else { return };
        let log = servers.log("shop");
        let nodes = Nodes::create(&log, 3);
        let load = Load::begin(&nodes, Duration::from_secs(16));
        for _ in 0..2 {
            thread::sleep(Duration::from_secs(2));
            let leader = servers.leader("shop");
            servers.kill(leader);
            thread::sleep(Duration::from_secs(5));
            servers.restart(leader);
        }
        load.end().hold(&nodes);
    }

    #[test]
    fn nothing_acknowledged_is_lost_when_the_leader_stands_still() {
        let Some(servers) = Servers::start(3) else { return };
        let log = servers.log("shop");
        let nodes = Nodes::create(&log, 3);
        let load = Load::begin(&nodes, Duration::from_secs(18));
        thread::sleep(Duration::from_secs(1));
        let leader = servers.leader("shop");
        servers.signal(leader, Signal::STOP);
        thread::sleep(Duration::from_secs(13));
        servers.signal(leader, Signal::CONT);
        load.end().hold(&nodes);
    }

    #[test]
    fn servers_that_all_crash_have_what_they_acknowledged() {
        let Some(mut servers) = Servers::start(3) else { return };
        let log = servers.log("shop");
        let nodes = Nodes::create(&log, 3);
        let load = Load::begin(&nodes, Duration::from_secs(10));
        thread::sleep(Duration::from_secs(2));
        (0..3).for_each(|at| servers.kill(at));
        (0..3).for_each(|at| servers.restart(at));
        load.end().hold(&nodes);
    }
}

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bygone::{Db, Delivery, Error, Event, Expect, NewEvent, Options, Position, Row};
use rustix::process::Signal;
use servers::Servers;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

/// Nodes on one log, with files in a folder.
struct Nodes {
    folder: TempDir,
    log: String,
    dbs: Vec<Db>,
}

impl Nodes {
    fn create(log: &str, count: usize) -> Nodes {
        Nodes::with(log, count, false)
    }

    fn with(log: &str, count: usize, live: bool) -> Nodes {
        let (folder, log) = (tempfile::tempdir().unwrap(), log.to_owned());
        let mut nodes = Nodes { folder, log, dbs: Vec::new() };
        for at in 0..count {
            let db = nodes.options().live(live).create(nodes.file(at)).unwrap();
            nodes.dbs.push(db);
        }
        nodes
    }

    fn options(&self) -> Options {
        Options::new().log(&self.log).cache(1 << 20).memtable(500, 1 << 20)
    }

    fn file(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("node-{at}.bygone"))
    }

    /// Waits until all have the same head.
    fn settle(&self) -> Position {
        let heads = || self.dbs.iter().map(Db::head).collect::<Vec<_>>();
        // What was acknowledged is applied where it was appended.
        wait_until("all nodes to be equally far", || {
            let heads = heads();
            heads.iter().all(|head| *head == heads[0])
        });
        heads()[0]
    }

    /// All have the same log, and everything that follows from it; what it is.
    fn agreed(&self) -> Vec<Event> {
        self.settle();
        // Definitions are events, too, and patterns do not find them.
        let all = |db: &Db| -> Vec<Event> {
            (1..=db.head().0)
                .map(|at| db.event(Position(at)).unwrap().expect("positions are dense"))
                .collect()
        };
        let events = all(&self.dbs[0]);
        let chain = self.dbs[0].chain().unwrap();
        for db in &self.dbs {
            assert_eq!(db.chain().unwrap(), chain);
            assert_eq!(all(db), events);
            let verified = db.verify().unwrap();
            assert!(verified.faults.is_empty(), "{verified:?}");
        }
        events
    }
}

/// Writers on each node: what they were told is kept, and what they were not.
struct Load(Vec<JoinHandle<Told>>);

/// What writers were told.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<Position, String>,
    unknown: HashSet<String>,
    longest: Duration,
}

impl Load {
    /// So long, and not more than some thousand events.
    fn begin(nodes: &Nodes, time: Duration) -> Load {
        let until = Instant::now() + time;
        let writers = nodes.dbs.iter().zip(0..).flat_map(|(db, node)| {
            (0..2).map(move |half| {
                let db = db.clone();
                thread::spawn(move || write(&db, &format!("{node}.{half}"), until))
            })
        });
        Load(writers.collect())
    }

    fn end(self) -> Told {
        let mut all = Told::default();
        for writer in self.0 {
            let told = writer.join().unwrap();
            for (position, name) in told.acknowledged {
                assert!(all.acknowledged.insert(position, name).is_none(), "{position} was given twice");
            }
            all.unknown.extend(told.unknown);
            all.longest = all.longest.max(told.longest);
        }
        all
    }
}

fn write(db: &Db, writer: &str, until: Instant) -> Told {
    let mut told = Told::default();
    for n in 0..3_000 {
        if Instant::now() >= until {
            break;
        }
        let name = format!("{writer}.{n}");
        let began = Instant::now();
        match db.append(NewEvent::new("Order.paid").on(("Order", n % 50)).member("name", name.clone())) {
            Ok(event) => drop(told.acknowledged.insert(event.position, name)),
            Err(Error::Unknown { .. } | Error::Io { .. }) => drop(told.unknown.insert(name)),
            Err(other) => panic!("{writer}: {other}"),
        }
        told.longest = told.longest.max(began.elapsed());
    }
    told
}

impl Told {
    /// What was acknowledged is there, once and where it was said to be; what is there, somebody appended.
    fn hold(&self, nodes: &Nodes) {
        let log = nodes.agreed();
        let mut names = HashSet::new();
        for event in &log {
            let name = event.data.get("name").unwrap().as_text().unwrap().to_owned();
            let acknowledged = self.acknowledged.get(&event.position);
            assert!(
                acknowledged == Some(&name) || self.unknown.contains(&name),
                "{} has {name}, of which {acknowledged:?} was told",
                event.position
            );
            assert!(names.insert(name), "{} is there twice", event.position);
        }
        let lost = self.acknowledged.values().filter(|name| !names.contains(*name)).count();
        assert_eq!(lost, 0, "of {} that were acknowledged", self.acknowledged.len());
        println!(
            "acknowledged {}, lost {lost}, unknown {}, in the log {}, longest wait {:?}",
            self.acknowledged.len(),
            self.unknown.len(),
            log.len(),
            self.longest
        );
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < until, "waited too long for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn events(db: &Db, pattern: &str) -> Vec<Event> {
    db.events(pattern).unwrap().map(Result::unwrap).collect()
}

fn paid(order: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", order))
}

fn run(db: &Db, text: &str) -> Vec<Row> {
    db.query(text).unwrap().rows.map(Result::unwrap).collect()
}

#[test]
fn nodes_on_one_log_decide_by_all_of_it() {
    let Some(servers) = Servers::start(1) else { return };
    let nodes = Nodes::create(&servers.log("shop"), 2);
    let [first, second] = [&nodes.dbs[0], &nodes.dbs[1]];
    assert_eq!(first.append(paid(1).expect(Expect::New)).unwrap().position, Position(1));
    let refused = second.append(paid(1).expect(Expect::New)).unwrap_err();
    assert!(refused.is_conflict(), "{refused}");
    assert_eq!(second.append(paid(1).key("k")).unwrap().position, Position(2));
    assert_eq!(first.append(paid(1).key("k")).unwrap().position, Position(2));
    let refused = first.append(paid(1).key("k").member("other", 1)).unwrap_err();
    assert!(refused.is_conflict(), "{refused}");
    let created: usize = thread::scope(|scope| {
        let creators = [first, second].map(|db| {
            scope.spawn(move || (10..110).filter(|n| db.append(paid(*n).expect(Expect::New)).is_ok()).count())
        });
        creators.map(|creator| creator.join().unwrap()).iter().sum()
    });
    assert_eq!(created, 100);
    assert_eq!(nodes.agreed().len(), 102);
    for n in 200..250 {
        let told = first.append(paid(n)).unwrap().position;
        run(second, "SYNC");
        assert!(second.head() >= told);
    }
    let Some(Row::Fields(head)) = run(second, "SHOW HEAD").pop() else { panic!("a head") };
    assert_eq!(head["lag"].to_string(), "0");
}

#[test]
fn groups_are_whole_and_large_ones_fit_or_are_refused() {
    let Some(servers) = Servers::start(1) else { return };
    let nodes = Nodes::create(&servers.log("shop"), 2);
    let group = |n: u64, count: u64, size: usize| {
        (0..count).map(move |i| paid(n).member("i", i).member("text", "x".repeat(size)))
    };
    let tickets: Vec<_> = (0..8).map(|n| nodes.dbs[0].submit(group(n, 100, 2_000)).unwrap()).collect();
    let refused = nodes.dbs[0].append_all(group(9, 100, 20_000)).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().len(), 100);
    }
    assert_eq!(nodes.agreed().len(), 800);
}

#[test]
fn subscriptions_and_reactions_run_on_every_node() {
    const ORDERS: u64 = 20;
    let Some(servers) = Servers::start(1) else { return };
    let nodes = Nodes::with(&servers.log("shop"), 3, true);
    run(&nodes.dbs[0], "DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.requested (target.id)");
    nodes.settle();
    let mails = nodes.dbs[2].subscribe("Mail.*");
    thread::scope(|scope| {
        for (db, number) in nodes.dbs.iter().zip(0..) {
            scope.spawn(move || (0..ORDERS).for_each(|n| drop(db.append(paid(n * 3 + number)).unwrap())));
        }
    });
    let all = 3 * ORDERS as usize;
    let told = mails.filter_map(|delivery| match delivery.unwrap() {
        Delivery::Event(event) => event.target,
        Delivery::CaughtUp(_) => None,
    });
    assert_eq!(told.take(all).map(|order| order.to_string()).collect::<HashSet<_>>().len(), all);
    for db in &nodes.dbs {
        wait_until("all to be idle", || db.is_idle().unwrap());
    }
    let log = nodes.agreed();
    assert_eq!(log.iter().filter(|event| event.kind.as_str() == "Mail.requested").count(), all);
}

#[test]
fn a_node_that_is_opened_again_goes_on_where_it_was() {
    let Some(servers) = Servers::start(1) else { return };
    let mut nodes = Nodes::create(&servers.log("shop"), 2);
    for n in 0..1_200 {
        nodes.dbs[n % 2].append(paid(n as u64 % 7)).unwrap();
    }
    nodes.settle();
    nodes.dbs.pop().unwrap().close().unwrap();
    for n in 0..700 {
        nodes.dbs[0].append(paid(n % 7)).unwrap();
    }
    // It belongs to the log, and takes nothing that is not from there.
    let alone = Db::open(nodes.file(1)).unwrap_err().to_string();
    assert!(alone.contains("--log"), "{alone}");
    assert_eq!(Options::new().read_only(true).open(nodes.file(1)).unwrap().head(), Position(1_200));
    let again = nodes.options().open(nodes.file(1)).unwrap();
    assert_eq!(again.head(), Position(1_900));
    nodes.dbs.push(again);
    nodes.dbs[1].append(paid(1)).unwrap();
    let late = nodes.options().create(nodes.file(2)).unwrap();
    nodes.dbs.push(late);
    assert_eq!(nodes.agreed().len(), 1_901);
}

#[test]
fn a_server_that_crashes_has_what_it_acknowledged() {
    let Some(mut servers) = Servers::start(1) else { return };
    let nodes = Nodes::create(&servers.log("shop"), 2);
    let load = Load::begin(&nodes, Duration::from_secs(6));
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(1));
        servers.kill(0);
        thread::sleep(Duration::from_millis(300));
        servers.restart(0);
    }
    load.end().hold(&nodes);
}

#[test]
fn a_log_that_is_not_safe_or_another_is_refused() {
    let Some(servers) = Servers::start(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let log = servers.log("shop");
    let refused = |log: &str| {
        let opened = if path.exists() {
            Options::new().log(log).open(&path)
        } else {
            Options::new().log(log).create(&path)
        };
        opened.unwrap_err().to_string()
    };
    let untold = refused(&log.replace("?sync=trusted&", "?"));
    assert!(untold.contains("sync_interval"), "{untold}");
    let three = refused(&log.replace("&replicas=1", ""));
    assert!(three.contains("?replicas=1"), "{three}");
    let own = |name: &str, more: &str| {
        let config = format!(
            r#"{{"name":"{name}","subjects":["{name}"],"storage":"file","num_replicas":1,"discard":"new","allow_direct":true,"deny_delete":true{more}}}"#
        );
        servers.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config);
        refused(&servers.log(name))
    };
    assert!(own("purged", "").contains("deny_purge"));
    assert!(own("old", r#","deny_purge":true,"max_age":1000000000000"#).contains("max_age"));
    servers.ask("$JS.API.STREAM.CREATE.used", r#"{"name":"used","subjects":["used"],"storage":"file","num_replicas":1,"discard":"new","allow_direct":true,"deny_delete":true,"deny_purge":true}"#);
    servers.ask("used", "hello");
    let used = refused(&servers.log("used"));
    assert!(used.contains("no log of Bygone's"), "{used}");

    let db = Options::new().log(&log).open(&path).unwrap();
    (0..3).for_each(|n| drop(db.append(paid(n)).unwrap()));
    db.close().unwrap();
    let other = Options::new().log(&servers.log("other")).create(folder.path().join("other.bygone")).unwrap();
    let another = refused(&servers.log("other"));
    assert!(another.contains("of the database"), "{another}");
    drop(other);
    servers.ask("$JS.API.STREAM.DELETE.shop", "");
    // Whoever only reads makes no stream.
    let read = Options::new().read_only(true).log(&log).open(&path).unwrap_err().to_string();
    assert!(read.contains("it is not there"), "{read}");
    assert!(!servers.ask("$JS.API.STREAM.INFO.shop", "")["error"].is_null());
    let gone = refused(&log);
    assert!(gone.contains("it is empty, and the file goes up to #3"), "{gone}");
    let read = Options::new().read_only(true).log(&log).open(&path).unwrap_err().to_string();
    assert!(read.contains("it is empty"), "{read}");
}

#[test]
fn a_log_that_is_another_meanwhile_stops_what_is_open() {
    let Some(servers) = Servers::start(1) else { return };
    let nodes = Nodes::create(&servers.log("shop"), 1);
    let db = &nodes.dbs[0];
    (0..3).for_each(|n| drop(db.append(paid(n)).unwrap()));
    servers.ask("$JS.API.STREAM.DELETE.shop", "");
    // Whoever opens it makes it anew.
    let folder = tempfile::tempdir().unwrap();
    let new = Options::new().log(&nodes.log).create(folder.path().join("new.bygone")).unwrap();
    (0..9).for_each(|n| drop(new.append(paid(n)).unwrap()));
    let stopped = db.append(paid(9)).unwrap_err().to_string();
    assert!(stopped.contains("of another database"), "{stopped}");
    assert_eq!(events(db, "*").len(), 3, "it is read as before");
    assert!(db.append(paid(9)).is_err());
}

#[test]
fn what_is_no_message_of_ours_stops_whoever_reads_it() {
    let Some(servers) = Servers::start(1) else { return };
    let nodes = Nodes::create(&servers.log("shop"), 1);
    let db = &nodes.dbs[0];
    db.append(paid(1)).unwrap();
    servers.ask("bygone.shop", "hello");
    let stopped = db.append(paid(2)).unwrap_err().to_string();
    assert!(stopped.contains("a message that is not Bygone's at 3 of 3"), "{stopped}");
    assert_eq!(events(db, "*").len(), 1);
}

#[test]
fn the_shell_follows_a_log() {
    let Some(servers) = Servers::start(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = servers.log("shop");
    let shell = |arguments: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.args(arguments).args(["--log", &log]).current_dir(&folder);
        let mut shell =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let told = shell.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(told.stdout).unwrap()
    };
    shell(&["a.bygone", "-c", "EMIT Order.paid 1 {total: 10}"], "");
    shell(&["a.bygone"], "EMIT Order.paid 2 {total: 20};\nEMIT Order.paid 3 {total: 30};\n");
    let count = shell(&["b.bygone", "-c", "EVENTS SELECT count()"], "");
    assert!(count.contains('3'), "{count}");
    let exported = shell(&["export", "b.bygone"], "");
    assert_eq!(exported.lines().count(), 3, "{exported}");
    let lines = exported.replace("\"id\":\"", "\"id\":\"9").replace("Order", "Bill");
    shell(&["import", "b.bygone", "-"], &lines);
    assert_eq!(shell(&["a.bygone", "-c", "EVENTS 'Bill.paid'"], "").lines().count(), 3);
    let heads = ["a.bygone", "b.bygone"].map(|file| shell(&[file, "-c", "SHOW HEAD"], ""));
    assert_eq!(heads[0], heads[1]);
    shell(
        &["run", "c.bygone", "--until-idle"],
        "DEFINE REACTION thank ON 'Bill.paid' DO EMIT Mail.requested (target.id);\nEMIT Bill.paid 7 {};\n",
    );
    assert_eq!(shell(&["a.bygone", "-c", "EVENTS 'Mail.*'"], "").lines().count(), 1);
}
