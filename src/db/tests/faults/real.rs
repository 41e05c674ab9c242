//! The system's own disk: one that is full, one that is mounted anew for reading, a folder that goes, and two who create at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::super::load::Plan;
use super::super::{paid, report};
use super::{is_there, log, verified};
use crate::store::disk::real::RealDisk;
use crate::{Db, Error, Options};

const TWO: &str = "BYGONE_TEST_CREATE";

/// A file system of a few megabytes, if this process may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(megabytes: u32) -> Option<Small> {
        let folder = tempfile::tempdir().ok()?;
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "bygone-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        match mount {
            Ok(status) if status.success() => Some(Small(folder)),
            _ => {
                report(format_args!("skipped: this process may not mount a file system"));
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shop.bygone")
    }

    fn remount(&self, how: &str) {
        let mut remount = Command::new("mount");
        let status = remount.args(["-o", &format!("remount,{how}")]).arg(self.0.path()).status().unwrap();
        assert!(status.success(), "remount,{how}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_file_system_that_is_full_refuses_what_needs_room_and_loses_nothing() {
    // Without the ballast there is room for the database, its backups, and a copy that is being made.
    let Some(small) = Small::mount(24) else { return };
    let plan = Plan { live: false, sessions: &[0], ..Plan::new(8) };
    let mut load = plan.load(|_| {});
    load.patience = Duration::from_millis(300);
    let options = load.options(&plan, Arc::new(RealDisk::new()));
    let mut db = options.clone().create(small.path()).unwrap();
    load.begin(&db).unwrap();
    let ballast = small.path().with_file_name("ballast");
    let mut refused = 0;
    for round in 0..12 {
        // Room for so many kilobytes more, then for none.
        fs::write(&ballast, vec![1; 24 << 20]).unwrap_err();
        let taken = fs::metadata(&ballast).unwrap().len();
        fs::File::options()
            .write(true)
            .open(&ballast)
            .unwrap()
            .set_len(taken.saturating_sub((round * 12) << 10))
            .unwrap();
        for _ in 0..40 {
            let Err(error) = load.step(&db, &small.path()) else { continue };
            refused += 1;
            let text = error.to_string();
            assert!(matches!(error.kind(), "io" | "stopped" | "unopenable"), "{text}");
            let told = ["No space left", "open it again", "while it was copied; try it again"];
            assert!(told.iter().any(|told| text.contains(told)), "{text}");
            is_there(&log(&db).unwrap(), &load.acknowledged).unwrap();
            if error.kind() == "stopped" {
                break;
            }
        }
        fs::remove_file(&ballast).unwrap();
        // There is room again: it goes on, or says that it is to be opened again.
        if round % 3 == 2 || db.append(paid(1)).and_then(|_| db.append(paid(1))).is_err() {
            let _ = db.close();
            db = options.clone().open(small.path()).unwrap();
        }
        // A checkpoint that failed for want of room is told to whoever waits for it, once: then there is room.
        super::super::wait_until("an append", || db.append(paid(2)).is_ok());
        is_there(&log(&db).unwrap(), &load.acknowledged).unwrap();
        // What failed for want of room is told until it is tried again.
        super::super::wait_until("all to be kept", || {
            db.wait_for_indexes(Duration::from_secs(1)).is_ok_and(|all| all)
        });
        verified(&db, "with room").unwrap();
    }
    report(format_args!("a full file system: {refused} refused, {} acknowledged", load.acknowledged.len()));
    assert!(refused > 10, "{refused}");
    db.close().unwrap();
}

#[test]
fn a_file_system_that_is_mounted_for_reading_is_read() {
    let Some(small) = Small::mount(16) else { return };
    let db = Db::create(small.path()).unwrap();
    for n in 0..50 {
        db.append(paid(n)).unwrap();
    }
    // As after a crash: its journal is still there.
    let copy = small.0.path().join("copy.bygone");
    for end in ["", "-journal-a", "-journal-b"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        fs::copy(name(&small.path()), name(&copy)).unwrap();
    }
    db.close().unwrap();
    drop(db);
    small.remount("ro");
    let error = Db::open(&copy).map(drop).unwrap_err();
    assert!(error.to_string().contains("Read-only"), "{error}");
    let db = Options::new().read_only(true).open(&copy).unwrap();
    assert_eq!(db.events("Order.paid").unwrap().count(), 50);
    verified(&db, "read only").unwrap();
    db.close().unwrap();
    small.remount("rw");
    let db = Db::open(&copy).unwrap();
    assert_eq!(db.events("Order.paid").unwrap().count(), 50);
    db.close().unwrap();
}

#[test]
fn a_folder_that_is_removed_takes_no_acknowledgement_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let options = || Options::new().memtable(20, 1 << 20);
    let db = options().create(&path).unwrap();
    for n in 0..50 {
        db.append(paid(n)).unwrap();
    }
    fs::remove_dir_all(folder.path()).unwrap();
    let error = db.append(paid(50)).unwrap_err();
    assert!(error.to_string().contains("shop.bygone"), "{error}");
    // What was acknowledged before is read as long as it is open, and no longer.
    assert_eq!(db.events("Order.paid").unwrap().count(), 50);
    assert!(db.close().is_err());
    let error = options().open(&path).map(drop).unwrap_err();
    assert!(matches!(error, Error::Unopenable { .. }), "{error}");
}

#[test]
fn one_of_many_who_create_at_once_has_it_and_the_others_are_told() {
    const MANY: usize = 8;
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let start = Barrier::new(MANY);
        let made: Vec<_> = std::thread::scope(|scope| {
            let creators: Vec<_> = (0..MANY)
                .map(|n| {
                    let (path, start) = (&path, &start);
                    scope.spawn(move || {
                        start.wait();
                        Options::new().create(path).and_then(|db| db.append(paid(n as u64)).map(|_| db))
                    })
                })
                .collect();
            creators.into_iter().map(|creator| creator.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
        for error in made.iter().filter_map(|made| made.as_ref().err()) {
            assert!(matches!(error, Error::Unopenable { .. } | Error::Held { .. }), "{error}");
        }
        drop(made);
        let db = Db::open(&path).unwrap();
        assert_eq!(db.head().0, 1);
        db.close().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left");
    }
}

/// Not a test of its own: one of two processes that create, when the test below runs it.
#[test]
fn create_at_once() {
    let Ok(path) = std::env::var(TWO) else { return };
    let made = Db::create(&path).and_then(|db| db.append(paid(std::process::id().into())).map(|_| db));
    println!("{}", if made.is_ok() { "made" } else { "refused" });
    // It is still held when the other one is told.
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn one_of_two_processes_that_create_at_once_has_it() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let processes: Vec<_> = (0..2)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "db::tests::faults::real::create_at_once", "--nocapture"])
                    .env(TWO, &path)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let made = processes
            .into_iter()
            .map(|process| String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap());
        let made: Vec<_> = made.collect();
        assert_eq!(made.iter().filter(|text| text.contains("made")).count(), 1, "{made:?}");
        assert_eq!(made.iter().filter(|text| text.contains("refused")).count(), 1, "{made:?}");
        let db = Db::open(&path).unwrap();
        assert_eq!(db.head().0, 1);
        db.close().unwrap();
    }
}
