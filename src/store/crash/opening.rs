//! Creating, opening, closing: names, locks, and one file at rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ghosts::{bytes_of, write};
use super::held::rows;
use super::{one, path, tiny};
use crate::entity::Position;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;
use crate::store::disk::Disk;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{NameChange, Operation, SimulatedDisk};
use crate::store::journal::Side;
use crate::store::snapshot::ScanDirection;
use crate::store::{Options, Store};

fn paid() -> AppendRequest {
    one(NewEvent::new("Order.paid"))
}

#[test]
fn a_name_that_is_taken_is_left_as_it_is() {
    let disk = MemoryDisk::new();
    disk.create(path()).unwrap();
    write(&disk, path(), 0, b"a shopping list");
    let error = Store::create(path(), tiny(&disk)).unwrap_err();
    assert!(error.to_string().contains("it exists already"), "{error}");
    assert_eq!(bytes_of(&disk, path()), b"a shopping list");
    let error = Store::open(path(), tiny(&disk)).unwrap_err();
    assert!(error.to_string().contains("not a Bygone database"), "{error}");
    assert_eq!(bytes_of(&disk, path()), b"a shopping list");
}

#[test]
fn what_is_no_database_is_told_and_not_changed() {
    for bytes in [vec![], vec![0; 100], vec![0; 10_000], [b"redb".to_vec(), vec![7; 10_000]].concat()] {
        let disk = MemoryDisk::new();
        disk.create(path()).unwrap();
        write(&disk, path(), 0, &bytes);
        let error = Store::open(path(), tiny(&disk)).unwrap_err();
        assert_eq!(error.kind(), "unopenable", "{error}");
        assert_eq!(bytes_of(&disk, path()), bytes);
    }
    let error = Store::open(path(), tiny(&MemoryDisk::new())).unwrap_err();
    assert_eq!(error.kind(), "unopenable", "{error}");
}

#[test]
fn a_journal_without_its_database_is_not_taken_over() {
    let disk = MemoryDisk::new();
    disk.create(&Side::B.path(path())).unwrap();
    let error = Store::create(path(), tiny(&disk)).unwrap_err();
    assert!(error.to_string().contains("a journal of another database"), "{error}");
    assert!(disk.exists(&Side::B.path(path())).unwrap() && !disk.exists(path()).unwrap());
}

#[test]
fn a_database_is_published_whole_and_its_journal_is_named_before_its_first_acknowledgement() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    store.append(paid()).unwrap();
    disk.note(1);
    let trace = disk.trace();
    let at = |wanted: &dyn Fn(&Operation) -> bool| trace.operations().iter().position(wanted).unwrap();
    let linked =
        at(&|operation| matches!(operation, Operation::Name(NameChange::Link { to, .. }) if to == path()));
    let Operation::Name(NameChange::Link { file, .. }) = trace.operations()[linked] else { unreachable!() };
    let before = &trace.operations()[..linked];
    let of_file = |operation: &&Operation| match operation {
        Operation::Write { file: of, .. }
        | Operation::SetLen { file: of, .. }
        | Operation::Sync { file: of } => *of == file,
        _ => false,
    };
    let last = before.iter().rev().find(of_file);
    assert_eq!(last, Some(&Operation::Sync { file }), "all of it is durable before it has its name");
    let named = at(
        &|operation| matches!(operation, Operation::Name(NameChange::Create { path, .. }) if path.ends_with("shop.bygone-journal-b")),
    );
    let synced = trace.operations()[named..].iter().any(|op| matches!(op, Operation::SyncFolder { .. }));
    assert!(named > linked && synced);
}

#[test]
fn an_opened_database_that_is_only_read_has_no_journal() {
    let disk = SimulatedDisk::new();
    Store::create(path(), tiny(&disk)).unwrap().close().unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    assert_eq!(store.snapshot().head(), Position(0));
    assert!(Side::BOTH.iter().all(|side| !disk.exists(&side.path(path())).unwrap()));
    store.close().unwrap();
    store.close().unwrap();
}

#[test]
fn one_writer_at_a_time_and_none_after_it_closed() {
    let disk = SimulatedDisk::new();
    let store = Arc::new(Store::create(path(), tiny(&disk)).unwrap());
    for read_only in [false, true] {
        let error = Store::open(path(), tiny(&disk).read_only(read_only)).unwrap_err();
        assert_eq!(error.kind(), "held", "{error}");
    }
    let snapshot = store.snapshot();
    store.close().unwrap();
    // A handle and a snapshot that were kept do not keep the file.
    let second = Store::open(path(), tiny(&disk)).unwrap();
    second.append(paid()).unwrap();
    assert_eq!(store.append(paid()).unwrap_err().kind(), "stopped");
    assert_eq!(store.checkpoint().unwrap_err().kind(), "stopped");
    assert!(rows(&snapshot, ScanDirection::Ascending).is_ok_and(|rows| rows.is_empty()), "it showed nothing");
    drop(store);
    second.append(paid()).unwrap();
    drop(second);
    assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), Position(2));
}

#[test]
fn closing_beside_appends_loses_none_that_was_acknowledged() {
    for round in 0..20 {
        let disk = MemoryDisk::new();
        let store = Store::create(path(), tiny(&disk)).unwrap();
        let acknowledged: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut acknowledged = 0;
                        loop {
                            match store.append(paid()) {
                                Ok(_) => acknowledged += 1,
                                Err(error) if error.kind() == "stopped" => return acknowledged,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(round % 5));
            store.close().unwrap();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), Position(acknowledged));
    }
}

#[cfg(unix)]
#[test]
fn names_follow_the_file_and_not_the_link_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let file = real.join("shop.bygone");
    Store::create(&file, Options::new()).unwrap().close().unwrap();
    assert_eq!(names(&real), ["shop.bygone"], "a closed database is one file");
    let link = folder.path().join("link.bygone");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let store = Store::open(&link, Options::new()).unwrap();
    store.append(paid()).unwrap();
    let open = ["shop.bygone", "shop.bygone-journal-a", "shop.bygone-journal-b", "shop.bygone-lock"];
    assert_eq!(names(&real), open);
    assert_eq!(Store::open(&file, Options::new()).unwrap_err().kind(), "held");
    store.close().unwrap();
    assert_eq!(names(&real), ["shop.bygone"]);
}

#[cfg(unix)]
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| PathBuf::from(entry.unwrap().file_name()).display().to_string()).collect();
    names.sort();
    names
}
