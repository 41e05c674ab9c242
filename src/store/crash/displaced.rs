//! A file that is removed, renamed or replaced while it is open: nothing more is acknowledged that nobody would find, what was is read
//! as before, no journal goes, and nobody opens beside it what took its name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ghosts::bytes_of;
use super::held::rows;
use super::{PATH, let_go, one, path, steady};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::disk::{Disk, Identity};
use crate::store::journal::Side;
use crate::store::snapshot::ScanDirection;
use crate::store::{Durability, Options, Store};

type Log = Vec<Arc<[u8]>>;

fn options(disk: &SimulatedDisk) -> Options {
    // No space is made ahead: what stands on the disk changes only when something is appended.
    Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(10, 1 << 20)
        .journal_steps(64 << 10, 64 << 10)
        .cache(256 << 10)
        .clock(steady())
}

fn append(store: &Store, events: u64, log: &mut Log) -> Result<()> {
    for n in 0..events {
        let event = NewEvent::new("Order.paid").on(("Order", n % 3)).member("amount", n);
        log.push(store.append(one(event))?.events[0].1.clone());
    }
    Ok(())
}

fn log_of(store: &Store) -> Log {
    rows(&store.snapshot(), ScanDirection::Ascending).unwrap()
}

fn away() -> &'static Path {
    Path::new("/away.bygone")
}

fn other() -> &'static Path {
    Path::new("/other.bygone")
}

/// The files that stand where the journal belongs.
fn journals(disk: &SimulatedDisk) -> Vec<(Identity, Vec<u8>)> {
    let paths = Side::BOTH.map(|side| side.path(path()));
    let there = paths.iter().filter(|path| disk.exists(path).unwrap());
    there.map(|path| (disk.identity(path).unwrap(), bytes_of(disk, path))).collect()
}

/// What is done to the file while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Remove,
    Rename,
    Relink,
    /// Another database takes its place.
    Replace,
    /// A copy of it that went on elsewhere, and was closed there, takes its place.
    ReplaceByCopy,
    /// It has another name beside its own.
    Link,
    ThereAndBack,
}

const ACTS: [Act; 7] =
    [Act::Remove, Act::Rename, Act::Relink, Act::Replace, Act::ReplaceByCopy, Act::Link, Act::ThereAndBack];

impl Act {
    fn done(self, disk: &SimulatedDisk) {
        match self {
            Act::Remove => disk.remove(path()).unwrap(),
            Act::Rename => disk.rename(path(), away()).unwrap(),
            Act::Relink => {
                disk.link(path(), away()).unwrap();
                disk.remove(path()).unwrap();
            }
            Act::Replace | Act::ReplaceByCopy => disk.rename(other(), path()).unwrap(),
            Act::Link => disk.link(path(), away()).unwrap(),
            Act::ThereAndBack => {
                disk.rename(path(), away()).unwrap();
                disk.rename(away(), path()).unwrap();
            }
        }
    }

    fn keeps(self) -> bool {
        matches!(self, Act::Link | Act::ThereAndBack)
    }

    fn leaves_another_name(self) -> bool {
        matches!(self, Act::Rename | Act::Relink)
    }

    /// Makes the database that is to take the name. The log that it has.
    fn prepare(self, disk: &SimulatedDisk) -> Log {
        let mut log = Log::new();
        match self {
            Act::Replace => {
                let store = Store::create(other(), options(disk)).unwrap();
                append(&store, 3, &mut log).unwrap();
                store.close().unwrap();
            }
            Act::ReplaceByCopy => {
                // It goes on, past where the one that is open will be.
                let elsewhere = disk.crash(Fate::KeepAll, 0);
                let store = Store::open(path(), options(&elsewhere)).unwrap();
                log = log_of(&store);
                append(&store, 20, &mut log).unwrap();
                store.close().unwrap();
                let file = disk.create(other()).unwrap();
                file.write_at(0, &bytes_of(&elsewhere, path())).unwrap();
                file.sync().unwrap();
            }
            _ => {}
        }
        log
    }
}

/// How much was appended before: nothing, something that is in the journal alone, something that is in the tables too, and a journal
/// of which both segments were used.
const WRITTEN: [u64; 4] = [0, 3, 13, 35];

fn is_lost(error: &Error, case: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), "stopped", "{case}: {text}");
    assert!(text.contains("/shop.bygone is not the file that was opened by that name"), "{case}: {text}");
}

#[test]
fn a_file_that_loses_its_name_takes_no_more_and_loses_nothing_by_closing() {
    for act in ACTS {
        for written in WRITTEN {
            for second in [false, true] {
                let case = format!("{act:?} after {written} events, a second process: {second}");
                let disk = SimulatedDisk::new();
                let first = Store::create(path(), options(&disk)).unwrap();
                let mut log = Log::new();
                append(&first, written / 2, &mut log).unwrap();
                let theirs = act.prepare(&disk);
                append(&first, written - written / 2, &mut log).unwrap();
                first
                    .shared()
                    .background
                    .wait_for_checkpoint(|| first.shared().applied.memtables().frozen.is_none())
                    .unwrap();

                act.done(&disk);
                let before = journals(&disk);
                assert_eq!(before.is_empty(), written == 0, "{case}");

                if second && !act.keeps() {
                    let is_there = disk.exists(path()).unwrap();
                    let store = match is_there {
                        true => Store::open(path(), options(&disk)),
                        false => Store::create(path(), options(&disk)),
                    };
                    let error = store.expect_err(&case);
                    assert!(matches!(error, Error::Held { by_name: true, .. }), "{case}: {error}");
                    assert_eq!(disk.exists(path()).unwrap(), is_there, "{case}");
                    assert_eq!(journals(&disk), before, "{case}: opening touched the journals");
                }

                refused_again_and_again(act, &first, &mut log, &case);
                if !act.keeps() {
                    assert_eq!(journals(&disk), before, "{case}: refusing touched the journals");
                }
                closes_and_keeps_its_journals(act, &disk, &first, &before, &case);

                // Whoever is there has what is theirs.
                for (name, expected) in [
                    (path(), if act.keeps() { Some(&log) } else { Some(&theirs) }),
                    (away(), act.leaves_another_name().then_some(&log)),
                ] {
                    let Some(expected) = expected.filter(|_| disk.exists(name).unwrap()) else { continue };
                    let store = Store::open(name, options(&disk)).unwrap();
                    assert_eq!(log_of(&store), *expected, "{case}: {}", name.display());
                    store.close().unwrap();
                }
            }
        }
    }
}

/// A file that lost its name takes nothing, and is read.
fn refused_again_and_again(act: Act, first: &Store, log: &mut Log, case: &str) {
    // Again and again it is refused, and read.
    for _ in 0..3 {
        match append(first, 1, log) {
            Ok(()) => assert!(act.keeps(), "{case}: an append is acknowledged"),
            Err(error) => {
                assert!(!act.keeps(), "{case}: {error}");
                is_lost(&error, case);
                assert!(error.to_string().contains("Db::export"), "{case}: {error}");
                let forever = act.leaves_another_name();
                assert_eq!(error.to_string().contains("put it back"), forever, "{case}: {error}");
            }
        }
        assert_eq!(log_of(first), *log, "{case}");
    }
    let checkpoint = first.checkpoint();
    assert_eq!(checkpoint.is_ok(), act.keeps(), "{case}");
    checkpoint.err().iter().for_each(|error| is_lost(error, case));
}

/// A file that lost its name leaves its journals under other names as it is closed.
fn closes_and_keeps_its_journals(
    act: Act,
    disk: &SimulatedDisk,
    first: &Store,
    before: &[(Identity, Vec<u8>)],
    case: &str,
) {
    let closed = first.close();
    assert_eq!(closed.is_ok(), act.keeps(), "{case}: {closed:?}");
    if let Err(error) = closed {
        is_lost(&error, case);
        let kept = (1..3).flat_map(|n| {
            Side::BOTH.map(|side| PathBuf::from(format!("{}.aside-{n}", side.path(path()).display())))
        });
        let kept: Vec<_> = kept.filter(|name| disk.exists(name).unwrap()).collect();
        let bytes: Vec<_> = kept.iter().map(|name| bytes_of(disk, name)).collect();
        assert!(bytes.iter().eq(before.iter().map(|(_, bytes)| bytes)), "{case}: a journal is gone");
        let text = error.to_string();
        assert!(kept.iter().all(|name| text.contains(&*name.to_string_lossy())), "{case}: {text}");
    }
}

#[test]
fn a_file_that_is_put_back_goes_on() {
    for act in [Act::Rename, Act::Relink] {
        for written in WRITTEN {
            let case = format!("{act:?} after {written} events");
            let disk = SimulatedDisk::new();
            let store = Store::create(path(), options(&disk)).unwrap();
            let mut log = Log::new();
            append(&store, written, &mut log).unwrap();
            act.done(&disk);
            is_lost(&append(&store, 1, &mut log).unwrap_err(), &case);
            let error = crate::store::verify::verify(&store.snapshot()).unwrap_err();
            assert!(
                error.to_string().contains("it was removed or renamed while it is open"),
                "{case}: {error}"
            );
            disk.rename(away(), path()).unwrap();
            assert_eq!(crate::store::verify::verify(&store.snapshot()).unwrap().faults, [""; 0], "{case}");
            append(&store, 15, &mut log).unwrap();
            // A crash takes none of it.
            let crashed = Store::open(path(), options(&disk.crash(Fate::KeepAll, 0))).unwrap();
            assert_eq!(log_of(&crashed), log, "{case}");
            store.close().unwrap();
            assert_eq!(log_of(&Store::open(path(), options(&disk)).unwrap()), log, "{case}");
            assert!(journals(&disk).is_empty(), "{case}");
        }
    }
}

#[test]
fn a_journal_that_loses_its_name_takes_no_more() {
    for side in Side::BOTH {
        for written in [3, 13] {
            for replaced in [false, true] {
                let case = format!("{side} after {written} events, replaced: {replaced}");
                let disk = SimulatedDisk::new();
                let store = Store::create(path(), options(&disk)).unwrap();
                let mut log = Log::new();
                append(&store, written, &mut log).unwrap();
                let journal = side.path(path());
                disk.rename(&journal, away()).unwrap();
                if replaced {
                    disk.create(&journal).unwrap();
                }
                // It is looked for once in a while.
                store.shared().log.as_local().unwrap().look_again();
                let error = append(&store, 1, &mut log).unwrap_err();
                assert!(
                    error.to_string().contains("is not the journal that was begun there"),
                    "{case}: {error}"
                );
                assert_eq!(log_of(&store), log, "{case}");
                if !replaced {
                    disk.rename(away(), &journal).unwrap();
                    append(&store, 1, &mut log).unwrap();
                }
                assert_eq!(store.close().is_ok(), !replaced, "{case}");
                if replaced {
                    disk.remove(&journal).unwrap();
                }
                assert_eq!(log_of(&Store::open(path(), options(&disk)).unwrap()), log, "{case}");
            }
        }
    }
}

#[test]
fn where_appends_wait_for_no_sync_the_name_is_looked_for_once_in_a_while() {
    let disk = SimulatedDisk::new();
    let lazy = options(&disk).durability(Durability::Interval(Duration::from_millis(20)));
    let store = Store::create(path(), lazy).unwrap();
    let mut log = Log::new();
    append(&store, 3, &mut log).unwrap();
    disk.remove(path()).unwrap();
    std::thread::sleep(Duration::from_millis(25));
    is_lost(&append(&store, 1, &mut log).unwrap_err(), "at intervals");
    assert_eq!(log_of(&store), log);
}

#[test]
fn a_place_is_not_acknowledged_in_a_file_without_a_name() {
    use crate::entity::Position;
    use crate::store::cursor::{Cursor, CursorOwner};
    use crate::store::place::SubscriptionCursor;
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    append(&store, 3, &mut Log::new()).unwrap();
    let follower = |name: &str| CursorOwner::Subscription(name.to_owned());
    store.shared().cursor_writer.create(&follower("billing"), Cursor::default()).unwrap();
    let place = SubscriptionCursor::new(store.shared().clone(), "billing");
    place.deliver(Position(3));
    place.acknowledge_durably(Position(1)).unwrap();
    disk.rename(path(), away()).unwrap();
    is_lost(&place.acknowledge_durably(Position(2)).unwrap_err(), "a place");
    is_lost(
        &store.shared().cursor_writer.create(&follower("mail"), Cursor::default()).unwrap_err(),
        "a new one",
    );
    is_lost(&store.shared().cursor_writer.remove(&follower("billing")).unwrap_err(), "the end of one");
}

#[test]
fn nobody_opens_what_took_the_name_of_a_file_that_is_open() {
    // At its opening, before it has written, and before each operation of the first write, which makes the journal.
    for act in [Act::Replace, Act::ReplaceByCopy] {
        for read_only in [false, true] {
            let mut acknowledged = [0, 0];
            for replace_at in 0.. {
                let case = format!("{act:?} before operation {replace_at}, read only: {read_only}");
                let disk = SimulatedDisk::new();
                let first = Store::create(path(), options(&disk)).unwrap();
                act.prepare(&disk);
                let (inner, count) = (disk.clone(), AtomicU64::new(0));
                let opening: Arc<OnceLock<Error>> = Arc::default();
                let opened = opening.clone();
                let replace = move || {
                    act.done(&inner);
                    let second = Store::open(path(), options(&inner).read_only(read_only));
                    let _ = opened.set(second.expect_err("two have the name"));
                };
                if replace_at == 0 {
                    replace();
                } else {
                    disk.on_operation(move |_, _| {
                        if count.fetch_add(1, Ordering::SeqCst) + 1 == replace_at {
                            replace();
                        }
                    });
                }
                let is_acknowledged = append(&first, 1, &mut Log::new()).is_ok();
                disk.on_operation(|_, _| {});
                let Some(error) = opening.get() else {
                    assert!(is_acknowledged, "{case}");
                    break;
                };
                acknowledged[usize::from(is_acknowledged)] += 1;
                assert!(matches!(error, Error::Held { by_name: true, .. }), "{case}: {error}");
                assert!(
                    error.to_string().contains("the file open that had this name before"),
                    "{case}: {error}"
                );
                is_lost(&first.close().unwrap_err(), &case);
                let aside = format!("{PATH}-journal-a.aside-1");
                let kept =
                    || bytes_of(&disk, Path::new(&aside)).windows(10).any(|some| some == b"Order.paid");
                assert!(!is_acknowledged || kept(), "{case}: what was acknowledged is gone");
                // The name is given back.
                Store::open(path(), options(&disk)).unwrap();
            }
            assert!(acknowledged.iter().all(|&some| some > 0), "{acknowledged:?}");
        }
    }
}

#[test]
fn a_killed_process_holds_no_lock() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    let mut log = Log::new();
    append(&store, 3, &mut log).unwrap();
    assert_eq!(Store::open(path(), options(&disk)).unwrap_err().kind(), "held");
    let_go(store);
    assert_eq!(log_of(&Store::open(path(), options(&disk)).unwrap()), log);
}

#[test]
fn whoever_only_reads_holds_no_name() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    let mut log = Log::new();
    append(&store, 3, &mut log).unwrap();
    let_go(store);
    let readers: Vec<_> =
        (0..2).map(|_| Store::open(path(), options(&disk).read_only(true)).unwrap()).collect();
    assert!(readers.iter().all(|reader| log_of(reader) == log));
    disk.check_name(path()).unwrap();
}
