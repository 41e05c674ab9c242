//! Proofs that an event is in a log: they follow from the log alone.

use std::sync::Arc;

use super::paid;
use crate::entity::Position;
use crate::error::Error;
use crate::maintain::ImportOptions;
use crate::store::disk::memory::MemoryDisk;
use crate::{Db, Options};

fn small() -> Db {
    Options::new().disk(Arc::new(MemoryDisk::new())).memtable(7, 1 << 20).create("/shop.bygone").unwrap()
}

#[test]
fn the_root_of_a_log_is_one_however_it_lies_in_the_file() {
    let db = small();
    let mut roots = vec![db.root(None).unwrap()];
    for n in 1..=40 {
        db.append(paid(n).member("amount", n)).unwrap();
        roots.push(db.root(None).unwrap());
    }
    let seen = |db: &Db| -> Vec<_> { (0..=40).map(|at| db.root(Some(Position(at))).unwrap()).collect() };
    assert_eq!(seen(&db), roots);
    db.query("CHECKPOINT").unwrap();
    db.compact().unwrap();
    assert_eq!(seen(&db), roots);
    // The same events in another database, whose checkpoints end elsewhere.
    let mut lines = Vec::new();
    db.export(None, &mut lines, &mut |_| {}).unwrap();
    let other = Db::in_memory().unwrap();
    other.import(&lines[..], &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    assert_eq!(seen(&other), roots);
}

#[test]
fn each_event_is_proved_in_each_log_that_has_it_and_in_no_other() {
    let db = small();
    for n in 1..=20 {
        db.append(paid(n)).unwrap();
    }
    for size in (1..=20).map(Position) {
        let root = db.root(Some(size)).unwrap();
        for position in (1..=size.0).map(Position) {
            let proof = db.prove(position, Some(size)).unwrap();
            assert_eq!((proof.position, proof.size, proof.root), (position, size, root));
            assert!(proof.holds_in(root, size), "{position} in {size}");
        }
        for beyond in [Position::START, size.next()] {
            assert!(matches!(db.prove(beyond, Some(size)), Err(Error::Missing(_))));
        }
    }
    assert!(matches!(db.root(Some(Position(21))), Err(Error::Missing(_))));
    assert!(matches!(db.prove(Position(1), Some(Position(21))), Err(Error::Missing(_))));
}
