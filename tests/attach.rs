//! Whom a process attaches to, and whom it lets attach: a holder that stands still, another user, one who is to read alone.
#![cfg(all(target_os = "linux", feature = "shell", feature = "share"))]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bygone::{Db, Options};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bygone");

/// Somebody who is nobody.
const STRANGER: u32 = 65_534;

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().canonicalize().unwrap().join("shop.bygone");
    drop(Options::new().create(&path).unwrap());
    (folder, path)
}

/// A process that has the file open until its input ends, or it is killed.
struct Holder(Child);

impl Holder {
    fn start(path: &Path, user: Option<u32>) -> Holder {
        let mut command = program(path, user);
        command.arg("serve").arg(path).arg("--stdio").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut hello = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut hello).unwrap();
        assert!(hello.starts_with("{\"bygone\":"), "{hello}");
        Holder(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let until = Instant::now() + Duration::from_secs(20);
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, run by a user. One who is nobody may have no way to where it stands.
fn program(path: &Path, user: Option<u32>) -> Command {
    let Some(user) = user else { return Command::new(PROGRAM) };
    let copy = path.with_file_name("program");
    // Without a descriptor to write by, which others that are started meanwhile would hold for a moment.
    if !copy.exists() && fs::hard_link(PROGRAM, &copy).is_err() {
        assert!(Command::new("cp").arg(PROGRAM).arg(&copy).status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.uid(user).gid(user);
    command
}

fn run(path: &Path, user: Option<u32>, arguments: &[&str]) -> Output {
    program(path, user).arg(path).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn told(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_holder_that_stands_still_holds_up_nobody_for_ever() {
    let (_folder, path) = folder();
    let holder = Holder::start(&path, None);
    let db = Db::attach(&path).unwrap();
    holder.signal(Signal::STOP);
    let began = Instant::now();
    // Who comes now is not greeted.
    let error = told(&run(&path, None, &["SHOW HEAD"]));
    assert!(error.contains("attaching to"), "{error}");
    // Who was there before ends its wait itself.
    let limited = db.cancelled_by(&bygone::Cancel::after(Duration::from_millis(200)));
    let rows = limited.query("SHOW HEAD").and_then(|answer| answer.rows.collect::<bygone::Result<Vec<_>>>());
    assert!(rows.is_err(), "{rows:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
    holder.signal(Signal::CONT);
    assert!(db.query("SHOW HEAD").unwrap().rows.next().is_some_and(|row| row.is_ok()));
}

#[test]
fn another_user_is_let_in_by_neither_end() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return eprintln!("skipped: only the superuser can be somebody else");
    }
    let (folder, path) = folder();
    let open_to_all = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    let socket = path.with_file_name("shop.bygone-socket");
    {
        let _holder = Holder::start(&path, None);
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
        [folder.path(), &path, &socket].into_iter().for_each(open_to_all);
        let error = told(&run(&path, Some(STRANGER), &["--attach", "SHOW HEAD"]));
        assert!(
            error.contains("a process of the same user") && error.contains(&format!("user {STRANGER}")),
            "{error}"
        );
    }
    // Whoever may write to the folder could put a socket there that takes what others say.
    let _ = fs::remove_file(&socket);
    let _holder = Holder::start(&path, Some(STRANGER));
    let error = told(&run(&path, None, &["--attach", "SHOW HEAD"]));
    assert!(
        error.contains("a process of the same user") && error.contains(&format!("user {STRANGER}")),
        "{error}"
    );
    // The owner of the file is trusted with it.
    chown(&path, Some(STRANGER), None).unwrap();
    assert!(run(&path, None, &["--attach", "SHOW HEAD"]).status.success());
}

#[test]
fn who_hands_on_for_reading_alone_writes_nothing() {
    let (_folder, path) = folder();
    let _holder = Holder::start(&path, None);
    let mut relay = Command::new(PROGRAM)
        .args(["serve", "--read-only", "--stdio"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = relay.stdin.take().unwrap();
    input
        .write_all(
            b"{\"id\":1,\"statement\":\"EMIT Order.paid 1\"}\n{\"id\":2,\"statement\":\"SHOW HEAD\"}\n",
        )
        .unwrap();
    drop(input);
    let output = relay.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().next().is_some_and(|hello| hello.contains("\"readOnly\":true")), "{lines}");
    assert!(lines.contains("it was attached to for reading only"), "{lines}");
    assert!(lines.contains("{\"id\":2,\"done\""), "{lines}");
    let events: bygone::Result<Vec<_>> = Db::attach(&path).unwrap().query("EVENTS").unwrap().rows.collect();
    assert!(events.unwrap().is_empty());
}
