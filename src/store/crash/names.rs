//! Names that change while a database is open, on the system's own disk: a process removes and renames no file but those that
//! it made, and says when the file is not under its name any more.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{let_go, one};
use crate::error::Error;
use crate::event::NewEvent;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Failure, Kind, NameChange, Operation, SimulatedDisk};
use crate::store::{Options, Store};

fn options() -> Options {
    Options::new().memtable(100, 1 << 20).journal_steps(64 << 10, 1 << 20).cache(1 << 20)
}

fn paid(store: &Store, events: u64) -> u64 {
    (0..events)
        .map(|n| store.append(one(NewEvent::new("Order.paid").member("n", n))))
        .filter(Result::is_ok)
        .count() as u64
}

fn journals(path: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|side| PathBuf::from(format!("{}-journal-{side}", path.display())))
}

fn head_of(path: &Path) -> u64 {
    let store = Store::open(path, options()).unwrap();
    let head = store.snapshot().head();
    store.close().unwrap();
    head.0
}

/// What somebody does to the file `z` while it is open. `y` is another name, `other` another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Remove,
    Rename,
    Replace,
    /// It gets a second name and loses the first.
    Relink,
    /// It gets a second name.
    Link,
    /// It is renamed away and back.
    ThereAndBack,
}

const ACTS: [Act; 6] = [Act::Remove, Act::Rename, Act::Replace, Act::Relink, Act::Link, Act::ThereAndBack];

impl Act {
    fn done(self, z: &Path, y: &Path, other: &Path) {
        match self {
            Act::Remove => fs::remove_file(z).unwrap(),
            Act::Rename => fs::rename(z, y).unwrap(),
            Act::Replace => fs::rename(other, z).unwrap(),
            Act::Relink => {
                fs::hard_link(z, y).unwrap();
                fs::remove_file(z).unwrap();
            }
            Act::Link => fs::hard_link(z, y).unwrap(),
            Act::ThereAndBack => {
                fs::rename(z, y).unwrap();
                fs::rename(y, z).unwrap();
            }
        }
    }

    /// Whether the file is under its name afterwards.
    fn keeps(self) -> bool {
        matches!(self, Act::Link | Act::ThereAndBack)
    }
}

#[test]
fn whatever_becomes_of_a_name_while_it_is_open_nobody_loses_what_another_made() {
    for act in ACTS {
        let cases = [0, 3].into_iter().flat_map(|written| {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(go, second)| (written, go, second))
        });
        for (written, all_goes, second) in cases {
            let case = format!(
                "{act:?}, {written} events, what is beside it goes: {all_goes}, a second process: {second}"
            );
            let folder = tempfile::tempdir().unwrap();
            let folder = fs::canonicalize(folder.path()).unwrap();
            let (z, y, other) = (folder.join("z"), folder.join("y"), folder.join("other"));
            let replacement = Store::create(&other, options()).unwrap();
            paid(&replacement, 2);
            replacement.close().unwrap();

            let first = Store::create(&z, options()).unwrap();
            assert_eq!(paid(&first, written), written);
            act.done(&z, &y, &other);
            if all_goes {
                let lock = Path::new(&format!("{}-lock", z.display())).to_owned();
                let beside = journals(&z).into_iter().filter(|path| path.exists());
                beside.chain([lock]).for_each(|path| fs::remove_file(path).unwrap());
            }
            // A second process makes the file anew, or opens the one that is there; it is killed after five events.
            let mut theirs = None;
            if second && !act.keeps() {
                let opened =
                    if z.exists() { Store::open(&z, options()) } else { Store::create(&z, options()) };
                match opened {
                    Ok(store) => {
                        assert!(all_goes, "{case}: it is opened beside the first");
                        let had = store.snapshot().head().0;
                        theirs = Some(had + paid(&store, 5)).filter(|head| *head == had + 5);
                        assert!(theirs.is_some(), "{case}");
                        let_go(store);
                    }
                    Err(error) => {
                        assert!(!all_goes, "{case}: {error}");
                        assert!(matches!(error, Error::Held { by_name: true, .. }), "{case}: {error}");
                        assert_eq!(
                            z.exists(),
                            act == Act::Replace,
                            "{case}: a creation that fails leaves a file"
                        );
                    }
                }
            }
            let beside: Vec<_> = journals(&z).iter().map(|path| fs::read(path).ok()).collect();

            // The first one goes on, and closes.
            first.shared().log.as_local().unwrap().look_again();
            let more = paid(&first, 1);
            let goes_on = act.keeps() && (written == 0 || !all_goes);
            assert_eq!(more == 1, goes_on, "{case}: what has its names goes on, and nothing else");
            let closed = first.close();
            assert_eq!(closed.is_ok(), act.keeps(), "{case}: {closed:?}");
            if let Err(error) = closed {
                assert!(error.to_string().contains("removed, renamed or replaced"), "{case}: {error}");
            }
            if let Some(theirs) = theirs {
                let now: Vec<_> = journals(&z).iter().map(|path| fs::read(path).ok()).collect();
                assert!(now == beside, "{case}: another one's journals were touched");
                assert_eq!(head_of(&z), theirs, "{case}");
            }
            match act {
                Act::Rename | Act::Relink => assert_eq!(head_of(&y), written + more, "{case}"),
                Act::Link | Act::ThereAndBack => assert_eq!(head_of(&z), written + more, "{case}"),
                Act::Remove | Act::Replace if written > 0 && !all_goes => {
                    // The file is nowhere; what the journal holds is kept.
                    let kept = fs::read(format!("{}-journal-a.aside-1", z.display()));
                    assert!(kept.is_ok_and(|bytes| bytes.len() > 4096), "{case}");
                }
                Act::Remove | Act::Replace => {}
            }
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}

#[test]
fn no_journal_is_begun_beside_a_file_that_took_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let z = folder.path().join("z");
    let first = Store::create(&z, options()).unwrap();
    fs::remove_file(&z).unwrap();
    assert_eq!(Store::create(&z, options()).unwrap_err().kind(), "held");
    let lock = folder.path().join("z-lock");
    fs::remove_file(&lock).unwrap();
    let second = Store::create(&z, options()).unwrap();
    let error = first.append(one(NewEvent::new("Order.paid"))).unwrap_err();
    assert!(error.to_string().contains("is not the file that was opened"), "{error}");
    assert!(!journals(&z)[0].exists());
    assert_eq!(paid(&second, 1), 1);
    first.close().unwrap_err();
    assert!(journals(&z)[0].exists() && lock.exists());
    second.close().unwrap();
    assert!(!lock.exists());
    assert_eq!(head_of(&z), 1);
}

#[test]
fn a_folder_that_is_renamed_takes_all_of_it_along() {
    for written in [0, 3, 150] {
        let outside = tempfile::tempdir().unwrap();
        let (folder, moved) = (outside.path().join("here"), outside.path().join("there"));
        fs::create_dir(&folder).unwrap();
        let store = Store::create(&folder.join("z"), options()).unwrap();
        paid(&store, written);
        fs::rename(&folder, &moved).unwrap();
        let error = store.append(one(NewEvent::new("Order.paid"))).unwrap_err();
        assert!(error.to_string().contains("put it back under that name"), "{error}");
        let error = store.close().unwrap_err();
        assert!(error.to_string().contains("under the name that it has now"), "{error}");
        assert_eq!(head_of(&moved.join("z")), written);
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 1);
    }
}

#[test]
fn what_stands_beside_a_database_has_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let z = folder.path().join("z");
    Store::create(&z, options()).unwrap().close().unwrap();
    for mode in [0o600, 0o640, 0o660, 0o644] {
        fs::set_permissions(&z, fs::Permissions::from_mode(mode)).unwrap();
        let store = Store::open(&z, options()).unwrap();
        paid(&store, 1);
        let modes = || {
            let entries =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
            entries.map(|metadata| metadata.permissions().mode() & 0o777).collect::<Vec<_>>()
        };
        assert_eq!(modes(), [mode; 4], "{mode:o}");
        let_go(store);
        // What is set aside keeps it.
        fs::OpenOptions::new().write(true).open(&journals(&z)[0]).unwrap().set_len(4096).unwrap();
        Store::open(&z, options().accept_lost_journal(true)).unwrap().close().unwrap();
        assert_eq!(modes(), [mode; 3], "{mode:o}");
        for side in ["a", "b"] {
            fs::remove_file(format!("{}-journal-{side}.aside-1", z.display())).unwrap();
        }
    }
}

/// The names that a disk has.
fn names(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let mut names = std::collections::BTreeSet::new();
    for operation in disk.trace().operations() {
        match operation {
            Operation::Name(NameChange::Create { path, .. } | NameChange::Link { to: path, .. }) => {
                names.insert(path.clone());
            }
            Operation::Name(NameChange::Remove { path, .. }) => {
                names.remove(path);
            }
            Operation::Name(NameChange::Rename { from, to, .. }) => {
                names.remove(from);
                names.insert(to.clone());
            }
            _ => {}
        }
    }
    names.into_iter().collect()
}

#[test]
fn a_creation_that_fails_leaves_no_temporary_file() {
    for panics in [false, true] {
        for n in 1.. {
            let disk = SimulatedDisk::new();
            if panics {
                let left = std::sync::atomic::AtomicU64::new(n);
                let count = move |kind: Kind, _: &Path| {
                    let before = left.fetch_update(
                        std::sync::atomic::Ordering::SeqCst,
                        std::sync::atomic::Ordering::SeqCst,
                        |left| Some(left.saturating_sub(1)),
                    );
                    assert!(before != Ok(1) || kind == Kind::Remove, "on purpose");
                };
                disk.on_operation(count);
            } else {
                disk.faults().fail_after(n, Failure::any());
            }
            let create = || super::super::recover::create(&disk, super::path(), &super::tiny(&disk));
            let created = std::panic::catch_unwind(std::panic::AssertUnwindSafe(create));
            let names = names(&disk);
            assert!(
                names.iter().all(|name| !name.to_string_lossy().contains("-new-")),
                "{n}, {panics}: {names:?}"
            );
            if created.is_ok_and(|created| created.is_ok()) && n > 20 {
                break;
            }
        }
    }
}

#[test]
fn a_file_that_has_the_temporary_name_is_left() {
    // Made by somebody else between two operations of the creation.
    let disk = SimulatedDisk::new();
    let (inner, mine) = (disk.clone(), std::sync::OnceLock::new());
    disk.on_operation(move |kind, path| {
        if kind == Kind::Link && mine.get().is_none() {
            let temporary = path.to_owned();
            if mine.set(temporary.clone()).is_ok() {
                inner.remove(&temporary).unwrap();
                inner.create(&temporary).unwrap().write_at(0, b"somebody's").unwrap();
            }
        }
    });
    super::super::recover::create(&disk, super::path(), &super::tiny(&disk)).unwrap();
    assert!(names(&disk).iter().any(|name| name.to_string_lossy().contains("-new-")));
}
