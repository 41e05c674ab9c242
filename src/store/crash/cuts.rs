//! A journal that was cut or overwritten after its session was killed: every event that was acknowledged is there, or opening
//! says that some may not be, and from where on; and nothing that may be missing is deleted.

use std::path::Path;
use std::sync::Arc;

use super::ghosts::bytes_of;
use super::held::rows;
use super::{one, path, tiny};
use crate::entity::Position;
use crate::error::Error;
use crate::event::NewEvent;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::journal::Side;
use crate::store::snapshot::ScanDirection;
use crate::store::{Options, Store};

const SECTOR: usize = 512;

/// Room for all that is appended here in one segment, from the start.
fn roomy(disk: &SimulatedDisk) -> Options {
    tiny(disk).memtable(1000, 1 << 20).journal_steps(64 << 10, 64 << 10)
}

fn paid(n: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", n % 7)).member("text", "x".repeat((n as usize * 37) % 300))
}

/// What a kill leaves of a session that acknowledged so many events, half of which are in the file, and the bytes of all of them.
fn killed(events: u64) -> (SimulatedDisk, Vec<Arc<[u8]>>) {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk)).unwrap();
    let append = |store: &Store, n| store.append(one(paid(n))).unwrap().events[0].1.clone();
    let mut log: Vec<_> = (1..=events / 2).map(|n| append(&store, n)).collect();
    store.close().unwrap();
    let store = Store::open(path(), roomy(&disk)).unwrap();
    log.extend((events / 2 + 1..=events).map(|n| append(&store, n)));
    (disk.crash(Fate::KeepAll, 0), log)
}

fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.crash(Fate::KeepAll, 0)
}

fn segments(disk: &SimulatedDisk) -> [Option<Vec<u8>>; 2] {
    Side::BOTH.map(|side| {
        let path = side.path(path());
        disk.exists(&path).unwrap().then(|| bytes_of(disk, &path))
    })
}

/// How a segment is damaged.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    ZeroesFromHere,
    /// So many bytes are zeroed.
    Zeroes(usize),
}

fn damage(disk: &SimulatedDisk, side: Side, at: usize, how: Damage) {
    let file = disk.open(&side.path(path())).unwrap();
    let len = file.len().unwrap() as usize;
    match how {
        Damage::Cut => file.set_len(at as u64).unwrap(),
        Damage::ZeroesFromHere => file.write_at(at as u64, &vec![0; len - at]).unwrap(),
        Damage::Zeroes(bytes) => file.write_at(at as u64, &vec![0; bytes.min(len - at)]).unwrap(),
    }
    file.sync().unwrap();
}

/// Other bytes within the last frame, where it has no padding.
fn scribble(disk: &SimulatedDisk) {
    let segment = Side::A.path(path());
    let end = super::ghosts::end_of_frames(&bytes_of(disk, &segment));
    super::ghosts::write(disk, &segment, end - 20, &[0xee; 4]);
}

/// The log is a beginning of what was acknowledged. If some of it is missing, that was said, and both files are kept as they were.
fn held(store: &Store, disk: &SimulatedDisk, log: &[Arc<[u8]>], before: &[Option<Vec<u8>>; 2]) -> usize {
    let found = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
    assert_eq!(found, log[..found.len()], "another log than the one that was acknowledged");
    let recovery = store.recovery();
    if found.len() < log.len() {
        let next = format!("#{}", found.len() + 1);
        let last = format!("#{}", found.len());
        let says = recovery.notices.join("; ");
        assert!(says.contains(&next) || says.contains(&last), "{} of {}: {says}", found.len(), log.len());
        let kept: Vec<_> = recovery.set_aside.iter().map(|path| bytes_of(disk, path)).collect();
        let expected: Vec<_> = before.iter().flatten().cloned().collect();
        assert!(kept == expected, "the journal is kept as it was");
    }
    found.len()
}

/// What the error says of the last event that is there.
fn last_safe(error: &Error) -> usize {
    let text = error.to_string();
    let (_, rest) = text.split_once("every event up to #").unwrap_or_else(|| panic!("{text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Opens what was damaged. Says how many events are there, and whether that took more than to open it.
fn opened(disk: &SimulatedDisk, log: &[Arc<[u8]>]) -> (usize, bool) {
    let before = segments(disk);
    match Store::open(path(), roomy(disk)) {
        Ok(store) => (held(&store, disk, log, &before), false),
        Err(error) => {
            assert_eq!(error.kind(), "unopenable", "{error}");
            assert!(error.to_string().contains("--accept-lost-journal"), "{error}");
            assert!(segments(disk) == before, "the journal is left as it is");
            let safe = last_safe(&error);
            let store = Store::open(path(), roomy(disk).accept_lost_journal(true)).unwrap();
            let found = held(&store, disk, log, &before);
            assert_eq!(found, safe, "{error}");
            assert_eq!(store.recovery().set_aside.len(), before.iter().flatten().count());
            (found, true)
        }
    }
}

#[test]
fn a_journal_cut_or_zeroed_anywhere_gives_all_or_says_what_is_missing() {
    let (disk, log) = killed(100);
    let mut silent = 0;
    for side in Side::BOTH {
        let len = bytes_of(&disk, &side.path(path())).len();
        for at in (0..len).step_by(SECTOR) {
            for how in [Damage::Cut, Damage::ZeroesFromHere, Damage::Zeroes(SECTOR), Damage::Zeroes(4096)] {
                let image = copy(&disk);
                damage(&image, side, at, how);
                let (found, refused) = opened(&image, &log);
                assert!(found >= 50, "{side} {at} {how:?}: what the file holds is there");
                silent += usize::from(found == 100 && !refused);
                if matches!(how, Damage::Cut | Damage::ZeroesFromHere) {
                    let image = copy(&disk);
                    damage(&image, side, at, how);
                    let told = Store::open(path(), roomy(&image))
                        .map_or(true, |store| !store.recovery().notices.is_empty());
                    assert!(told, "{side} {at} {how:?}: not a word");
                }
            }
        }
    }
    // Where nothing was, nothing is missing.
    assert!(silent > 20, "{silent}");
}

#[test]
fn a_cut_is_never_called_an_append_under_way() {
    let (disk, log) = killed(60);
    let len = bytes_of(&disk, &Side::A.path(path())).len();
    for at in (0..len).step_by(97) {
        for how in [Damage::Cut, Damage::ZeroesFromHere] {
            let image = copy(&disk);
            damage(&image, Side::A, at, how);
            let (found, refused) = opened(&image, &log);
            assert!(refused || found == 60, "{at} {how:?}: {found} of 60, and it opens");
        }
    }
}

#[test]
fn a_segment_whose_header_is_damaged_is_still_its_own() {
    let (disk, log) = killed(40);
    for side in Side::BOTH {
        for at in [0, 8, 11, 12, 30, 44, 50, 60, 4000] {
            let image = copy(&disk);
            let path = side.path(path());
            let byte = bytes_of(&image, &path)[at] ^ 0x40;
            super::ghosts::write(&image, &path, at, &[byte]);
            // All that it holds can be read, and somebody has to say that this is enough.
            assert_eq!(opened(&image, &log), (40, true), "{side} {at}");
        }
    }
}

#[test]
fn a_journal_that_was_begun_and_holds_nothing_is_noticed() {
    let (disk, log) = killed(100);
    for (at, how) in
        [(4096, Damage::Cut), (100, Damage::Cut), (4096, Damage::ZeroesFromHere), (0, Damage::Cut)]
    {
        let image = copy(&disk);
        damage(&image, Side::A, at, how);
        assert_eq!(opened(&image, &log), (50, true), "{at} {how:?}");
    }
    // One that was begun, and died before its first frame, has its marks.
    let begun = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&begun)).unwrap();
    store.append(one(paid(1))).unwrap();
    let trace = begun.trace();
    let mut crashes = trace.crashes();
    let mut empty = 0;
    while crashes.advance() {
        let image = crashes.image(Fate::LoseAll, 0);
        if !image.exists(path()).unwrap() {
            continue;
        }
        let store = Store::open(path(), roomy(&image)).unwrap();
        let recovery = store.recovery();
        assert!(recovery.notices.is_empty() && recovery.set_aside.is_empty(), "{recovery:?}");
        empty += usize::from(store.snapshot().head() == Position(0));
        // Nor is anything said of a creation that was torn; of a first frame that was, it is.
        for seed in 0..4 {
            let image = crashes.image(Fate::Tear, seed);
            if image.exists(path()).unwrap() {
                let store = Store::open(path(), roomy(&image)).unwrap();
                let notices = &store.recovery().notices;
                assert!(
                    notices.iter().all(|notice| notice.starts_with("the log was cut at #1")),
                    "{notices:?}"
                );
            }
        }
    }
    assert!(empty > 3, "{empty}");
}

#[test]
fn an_incomplete_last_frame_is_cut_and_nobody_claims_to_know_why() {
    let (disk, log) = killed(100);
    let before = segments(&disk);
    scribble(&disk);
    let damaged = segments(&disk);
    assert!(before != damaged);
    let store = Store::open(path(), roomy(&disk)).unwrap();
    assert_eq!(held(&store, &disk, &log, &damaged), 99);
    let recovery = store.recovery();
    assert_eq!((recovery.replayed, recovery.cut.map(|at| at.0)), (49, Some(100)));
    let says = &recovery.notices[0];
    assert!(
        says.contains("under way") && says.contains("or one that was acknowledged was damaged"),
        "{says}"
    );
    assert!(says.contains("journal-a at byte"), "{says}");
    // The position is given to another event, and what was set aside stays.
    let kept = recovery.set_aside.clone();
    assert_eq!(kept[0], Path::new("/shop.bygone-journal-a.aside-1"));
    assert_eq!(store.append(one(paid(5))).unwrap().events[0].0, Position(100));
    store.close().unwrap();
    let store = Store::open(path(), roomy(&disk)).unwrap();
    assert_eq!((store.snapshot().head(), store.recovery().notices.len()), (Position(100), 0));
    assert!(kept.iter().all(|path| disk.exists(path).unwrap()));
}

#[test]
fn what_was_set_aside_before_keeps_its_name() {
    let (origin, log) = killed(20);
    let disk = copy(&origin);
    disk.create(Path::new("/shop.bygone-journal-b.aside-1")).unwrap();
    damage(&disk, Side::A, 4096, Damage::Cut);
    assert_eq!(opened(&disk, &log), (10, true));
    assert!(disk.exists(Path::new("/shop.bygone-journal-a.aside-2")).unwrap());
    assert_eq!(bytes_of(&disk, Path::new("/shop.bygone-journal-b.aside-1")), b"");
}

#[test]
fn a_damaged_journal_is_read_only_as_far_as_it_goes_and_not_touched() {
    let (disk, log) = killed(20);
    scribble(&disk);
    let before = disk.trace().len();
    let store = Store::open(path(), roomy(&disk).read_only(true)).unwrap();
    assert_eq!(rows(&store.snapshot(), ScanDirection::Ascending).unwrap(), log[..19]);
    assert_eq!((store.recovery().notices.len(), store.recovery().set_aside.len()), (1, 0));
    store.close().unwrap();
    assert_eq!(disk.trace().len(), before);
}

#[test]
fn a_journal_without_marks_is_read_and_its_end_is_said_to_be_unknown() {
    // What version 1 wrote: no marks, and zeros instead.
    let (disk, log) = killed(20);
    for side in Side::BOTH {
        let file = disk.open(&side.path(path())).unwrap();
        let mut bytes = bytes_of(&disk, &side.path(path()));
        bytes[8..12].copy_from_slice(&1u32.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_be_bytes());
        let end = match side {
            Side::A => super::ghosts::end_of_frames(&bytes),
            Side::B => 4096,
        };
        bytes[end..].fill(0);
        file.write_at(0, &bytes).unwrap();
        file.sync().unwrap();
    }
    let before = segments(&disk);
    let store = Store::open(path(), roomy(&disk)).unwrap();
    assert_eq!(held(&store, &disk, &log, &before), 20);
    assert!(store.recovery().notices[0].contains("an earlier version"), "{:?}", store.recovery());
    assert_eq!(store.recovery().set_aside.len(), 2);
}

#[test]
fn an_index_that_was_lost_with_the_end_of_the_journal_is_not_complete_for_another() {
    use crate::store::catalog::tests::{defined, indexes_are_whole};
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk)).unwrap();
    for n in 1..=5 {
        store.append(one(paid(n))).unwrap();
    }
    store.close().unwrap();
    let store = Store::open(path(), roomy(&disk)).unwrap();
    store.append(defined("a", "Order.*", "text")).unwrap();
    while store.work_by_hand().unwrap() {}
    let disk = copy(&disk);
    scribble(&disk);
    let store = Store::open(path(), roomy(&disk)).unwrap();
    assert_eq!(store.snapshot().head(), Position(5));
    store.append(defined("a", "*", "n")).unwrap();
    while store.work_by_hand().unwrap() {}
    indexes_are_whole(&store).unwrap();
}
