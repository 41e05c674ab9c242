//! Frames that stand in the journal and are not this session's: leftovers of others, as stale blocks or copied files.

use std::path::Path;
use std::sync::Arc;

use super::held::{open, rows};
use super::{one, path, tiny};
use crate::entity::Position;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::journal::Side;
use crate::store::snapshot::ScanDirection;
use crate::store::{FaultInjection, Store};

pub(super) fn bytes_of(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

pub(super) fn write(disk: &dyn Disk, path: &Path, offset: usize, bytes: &[u8]) {
    let file = disk.open(path).unwrap();
    file.write_at(offset as u64, bytes).unwrap();
    file.sync().unwrap();
}

fn two(amount: u64) -> AppendRequest {
    let event = NewEvent::new("Order.paid").on(("Order", 1)).member("amount", amount);
    AppendRequest { events: vec![event.clone(), event], ..AppendRequest::default() }
}

/// Two sessions of one database, with frames of the same sizes and positions; the second one finds the rest of the first one
/// in the blocks that its journal is given: after its end mark, or instead of it.
pub(super) fn no_ghost_is_spliced_on(injection: Option<FaultInjection>, kept: usize) -> Result<(), String> {
    let origin = SimulatedDisk::new();
    Store::create(path(), tiny(&origin)).unwrap();
    let segment = Side::A.path(path());

    let first = origin.crash(Fate::KeepAll, 0);
    let store = Store::open(path(), tiny(&first)).unwrap();
    store.append(two(1)).unwrap();
    store.append(one(NewEvent::new("Order.ghost"))).unwrap();
    let stale = bytes_of(&first, &segment);

    let second = origin.crash(Fate::KeepAll, 0);
    let store = Store::open(path(), tiny(&second)).unwrap();
    let promised = store.append(two(2)).unwrap();
    let found = second.crash(Fate::KeepAll, 0);
    let end = end_of_frames(&bytes_of(&found, &segment)) + kept;
    write(&found, &segment, end, &stale[end..stale.len() - 16]);

    let mut options = tiny(&found);
    options.injection = injection;
    let store = match open(&options) {
        // Without its mark the end may have been overwritten.
        Err(refused) if kept == 0 && refused.contains("belongs to another session") => return Ok(()),
        opened => opened?,
    };
    let log = rows(&store.snapshot(), ScanDirection::Ascending)?;
    let expected: Vec<_> = promised.events.into_iter().map(|(_, bytes)| bytes).collect();
    if log == expected {
        Ok(())
    } else {
        Err(format!("{} events, of {} appended", log.len(), expected.len()))
    }
}

/// Where the last frame of a segment that was used once ends, and its mark begins.
pub(super) fn end_of_frames(segment: &[u8]) -> usize {
    let (blocks, _) = segment.as_chunks::<16>();
    blocks.iter().rposition(|block| block.starts_with(b"\xF5BGE")).unwrap() * 16
}

#[test]
fn what_an_earlier_session_left_in_the_blocks_is_not_spliced_on() {
    for kept in [0, 16] {
        no_ghost_is_spliced_on(None, kept).unwrap();
    }
}

/// What a crash left of a database with an event in its tables and two in its journal.
fn crashed() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.created"))).unwrap();
    store.checkpoint().unwrap();
    store.append(two(1)).unwrap();
    disk.crash(Fate::LoseAll, 0)
}

/// Opening is refused for this reason, and nothing on the disk was changed: not the tables and not the journal.
fn refused(disk: &SimulatedDisk, reason: &str) {
    let all = |disk: &SimulatedDisk| {
        [path().to_owned(), Side::A.path(path()), Side::B.path(path())]
            .map(|path| disk.exists(&path).unwrap().then(|| bytes_of(disk, &path)))
    };
    let [_, a, b] = all(disk);
    let error = Store::open(path(), tiny(disk)).unwrap_err();
    assert_eq!(error.kind(), "unopenable", "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    let [tables, after_a, after_b] = all(disk);
    assert!(tables.is_some() && a == after_a && b == after_b, "the journal is left as it is");
}

#[test]
fn a_journal_that_is_missing_is_an_error_that_names_the_last_safe_position() {
    // The half that is there holds two events more, or none.
    for (sides, says, head) in [
        (&Side::BOTH[..], "its journal is gone; the file itself holds every event up to #1", 1),
        (&[Side::A], "journal-a is missing", 3),
        (&[Side::B], "journal-b is missing", 1),
    ] {
        let disk = crashed();
        for side in sides {
            disk.remove(&side.path(path())).unwrap();
        }
        refused(&disk, says);
        // Said again, it is still refused; told to, it opens with what the file holds, and what can be read.
        refused(&disk, &format!("up to #{head}"));
        let left = Side::BOTH.map(|side| disk.exists(&side.path(path())).unwrap());
        let store = Store::open(path(), tiny(&disk).accept_lost_journal(true)).unwrap();
        assert_eq!(store.snapshot().head(), Position(head));
        assert_eq!(store.recovery().set_aside.len(), left.iter().filter(|left| **left).count());
        assert!(store.recovery().set_aside.iter().all(|path| disk.exists(path).unwrap()));
        assert_eq!(store.append(two(3)).unwrap().events[0].0, Position(head + 1));
        store.close().unwrap();
        assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), Position(head + 2));
    }
}

#[test]
fn a_journal_of_another_database_is_refused_and_left_untouched() {
    let (disk, other) = (crashed(), crashed());
    for side in Side::BOTH {
        disk.remove(&side.path(path())).unwrap();
        disk.create(&side.path(path())).unwrap();
        write(&disk, &side.path(path()), 0, &bytes_of(&other, &side.path(path())));
    }
    refused(&disk, "another database");
    // Not even if one gives up one's own.
    let error = Store::open(path(), tiny(&disk).accept_lost_journal(true)).unwrap_err();
    assert!(error.to_string().contains("another database"), "{error}");
    // And not after a clean close either.
    let closed = crashed();
    Store::open(path(), tiny(&closed)).unwrap().close().unwrap();
    closed.create(&Side::B.path(path())).unwrap();
    write(&closed, &Side::B.path(path()), 0, &bytes_of(&other, &Side::B.path(path())));
    refused(&closed, "another database");
}

#[test]
fn a_journal_of_another_session_is_refused_and_left_untouched() {
    // A copy of the file and its journal goes on apart from the original.
    let disk = crashed();
    let copy = disk.crash(Fate::KeepAll, 0);
    let store = Store::open(path(), tiny(&copy)).unwrap();
    store.append(two(7)).unwrap();
    let copy = copy.crash(Fate::KeepAll, 0);
    for side in Side::BOTH {
        let (mine, theirs) = (bytes_of(&disk, &side.path(path())), bytes_of(&copy, &side.path(path())));
        assert_ne!(mine, theirs);
        write(&disk, &side.path(path()), 0, &theirs);
    }
    refused(&disk, "another session");
    // The other way about: the tables have gone on past the journal, and do not know it.
    let closed = crashed();
    let journals = Side::BOTH.map(|side| bytes_of(&closed, &side.path(path())));
    for _ in 0..2 {
        let store = Store::open(path(), tiny(&closed)).unwrap();
        store.append(one(NewEvent::new("Order.paid"))).unwrap();
        store.close().unwrap();
    }
    for (side, bytes) in Side::BOTH.into_iter().zip(journals) {
        closed.create(&side.path(path())).unwrap();
        write(&closed, &side.path(path()), 0, &bytes);
    }
    // It holds nothing that the tables lack by position: it is a leftover.
    assert_eq!(Store::open(path(), tiny(&closed)).unwrap().snapshot().head(), Position(5));
}

#[test]
fn an_older_copy_of_the_file_does_not_swallow_the_journal() {
    let disk = SimulatedDisk::new();
    Store::create(path(), tiny(&disk)).unwrap().close().unwrap();
    let older = bytes_of(&disk, path());
    let store = Store::open(path(), tiny(&disk)).unwrap();
    store.append(two(1)).unwrap();
    let disk = disk.crash(Fate::LoseAll, 0);
    disk.remove(path()).unwrap();
    disk.create(path()).unwrap();
    write(&disk, path(), 0, &older);
    refused(&disk, "it holds events up to #2, and this file ends at #0");
}

#[test]
fn a_lost_journal_can_be_given_up_though_an_older_one_stands_in_its_place() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.created"))).unwrap();
    let older = disk.crash(Fate::LoseAll, 0);
    store.close().unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    store.checkpoint().unwrap();
    store.append(one(NewEvent::new("Order.sent"))).unwrap();
    let disk = disk.crash(Fate::LoseAll, 0);
    for side in Side::BOTH {
        let path = side.path(path());
        disk.remove(&path).unwrap();
        disk.create(&path).unwrap();
        write(&disk, &path, 0, &bytes_of(&older, &path));
    }
    refused(&disk, "shop.bygone-journal-a is of an earlier session");
    let store = Store::open(path(), tiny(&disk).accept_lost_journal(true)).unwrap();
    assert_eq!(store.snapshot().head(), Position(2));
    assert_eq!(store.recovery().set_aside.len(), 2);
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_left_untouched() {
    let disk = crashed();
    write(&disk, &Side::A.path(path()), 0, b"a shopping list");
    refused(&disk, "does not begin like a journal");
    let closed = SimulatedDisk::new();
    Store::create(path(), tiny(&closed)).unwrap();
    closed.create(&Side::A.path(path())).unwrap();
    write(&closed, &Side::A.path(path()), 0, b"a shopping list");
    refused(&closed, "not its own");
}

#[test]
fn a_read_only_disk_is_recovered_into_memory_and_nothing_is_written() {
    let disk = crashed();
    let before = disk.trace().len();
    let options = tiny(&disk).read_only(true);
    let store = Store::open(path(), options.clone()).unwrap();
    assert_eq!(store.recovery().replayed, 2);
    assert_eq!(rows(&store.snapshot(), ScanDirection::Ascending).unwrap().len(), 3);
    let beside = Store::open(path(), options).unwrap();
    assert_eq!(beside.snapshot().head(), Position(3));
    let error = store.append(one(NewEvent::new("Order.paid"))).unwrap_err();
    assert!(error.to_string().contains("reading only"), "{error}");
    assert!(Store::open(path(), tiny(&disk)).unwrap_err().to_string().contains("held"));
    beside.close().unwrap();
    store.close().unwrap();
    assert_eq!(disk.trace().len(), before);
    assert_eq!(Store::open(path(), tiny(&disk)).unwrap().recovery().replayed, 2);
}

#[test]
fn damage_to_what_was_durable_is_corruption_and_damage_to_the_last_frame_a_cut() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    let segment = Side::A.path(path());
    let mut ends = Vec::new();
    for n in 0..4 {
        store.append(one(NewEvent::new("Order.paid").member("amount", n))).unwrap();
        ends.push(end_of_frames(&bytes_of(&disk, &segment)));
    }
    for (frame, end) in (1..).zip(ends) {
        let found = disk.crash(Fate::LoseAll, 0);
        let damaged = bytes_of(&found, &segment)[end - 20] ^ 1;
        write(&found, &segment, end - 20, &[damaged]);
        let before = [path(), &*segment].map(|path| bytes_of(&found, path));
        match Store::open(path(), tiny(&found)) {
            Err(error) => {
                assert_eq!(error.kind(), "unopenable", "{error}");
                assert!(frame < 4 && error.to_string().contains(&format!("position #{frame}")), "{error}");
                assert_eq!(bytes_of(&found, &segment), before[1]);
            }
            Ok(store) => {
                assert_eq!(frame, 4, "only the last frame may be cut");
                assert_eq!(store.recovery().cut.map(|at| at.0), Some(4));
                assert_eq!(store.snapshot().head(), Position(3));
            }
        }
    }
}

#[test]
fn recovery_retires_the_salt_and_leaves_one_file() {
    let disk = crashed();
    let salt = |disk: &SimulatedDisk| {
        let tables = crate::store::tables::Tables::open(Arc::new(disk.clone()), path(), 1 << 20).unwrap();
        let meta = tables.read().unwrap().meta(path()).unwrap();
        (meta.journal, meta.retired)
    };
    let (Some(live), _) = salt(&disk) else { panic!("a session that crashed names its journal") };
    Store::open(path(), tiny(&disk)).unwrap();
    assert_eq!(salt(&disk), (None, Some(live)));
    assert!(Side::BOTH.iter().all(|side| !disk.exists(&side.path(path())).unwrap()));
}
