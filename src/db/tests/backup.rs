//! Backups of databases that are written meanwhile, on disks that crash and fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{PATH, define, events, paid, run, small, while_written};
use crate::entity::Position;
use crate::store::disk::Disk;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{Failure, Fate, Kind, SimulatedDisk};
use crate::store::{Backup, BackupMode};
use crate::{Db, NewEvent, Options};

const COPY: &str = "/copy.bygone";

fn backup(db: &Db, mode: BackupMode) -> crate::Result<Backup> {
    db.backup_with(COPY, mode, &mut |_| {})
}

/// A backup on a disk opens, verifies, and holds just what the other does up to its end.
#[track_caller]
fn assert_holds(disk: &SimulatedDisk, source: &Db) -> Position {
    let copy = small(disk).open(COPY).unwrap();
    assert_eq!(copy.recovery().replayed, 0);
    copy.wait_for_indexes(super::PATIENCE).unwrap();
    let found = copy.verify().unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    let head = copy.head();
    assert_eq!(source.verify_against(copy.chain().unwrap(), Some(head)).unwrap(), head);
    let found = |db: &Db| run(db, &format!("FIND Order WHERE state.amount >= 0 AS OF {head}"));
    assert_eq!(found(&copy), found(source));
    copy.close().unwrap();
    head
}

#[test]
fn a_backup_of_what_is_written_meanwhile_equals_it_up_to_a_position() {
    // More of them by hand.
    let rounds = std::env::var("BYGONE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    let mut reached = 0;
    for round in 0..rounds {
        let disk = SimulatedDisk::new();
        let db = small(&disk).create(PATH).unwrap();
        let before = while_written(&db, |appended| {
            while appended.load(Ordering::Relaxed) < 20 * (round % 8) {
                std::thread::yield_now();
            }
            let before = db.head();
            let made = backup(&db, BackupMode::New).unwrap();
            assert!(made.position >= before, "{:?} is before {before}", made.position);
            assert_eq!(made.events, made.position.0);
            before
        });
        let head = assert_holds(&disk, &db);
        assert!(head >= before);
        reached += u64::from(db.head() > head);
        db.close().unwrap();
    }
    assert!(reached > 0, "nothing was ever written after a backup began");
}

#[test]
fn a_kill_leaves_a_whole_backup_or_none_and_a_whole_database() {
    let (mut whole, mut none) = (0, 0);
    let rounds = std::env::var("BYGONE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(24);
    for round in 0..rounds {
        let disk = SimulatedDisk::new();
        let db = small(&disk).create(PATH).unwrap();
        let images = std::sync::Mutex::new(Vec::new());
        while_written(&db, |appended| {
            while appended.load(Ordering::Relaxed) < 60 {
                std::thread::yield_now();
            }
            let image = || {
                let fate = Fate::ALL[round as usize % Fate::ALL.len()];
                images.lock().unwrap().push(disk.crash(fate, round));
            };
            db.backup_with(COPY, BackupMode::New, &mut |_| image()).unwrap();
            image();
        });
        for image in images.into_inner().unwrap() {
            let source = small(&image).open(PATH).unwrap();
            assert!(source.verify().unwrap().faults.is_empty());
            if image.exists(Path::new(COPY)).unwrap() {
                whole += 1;
                assert_holds(&image, &source);
                continue;
            }
            none += 1;
            // What was left behind is in nobody's way.
            backup(&source, BackupMode::New).unwrap();
            assert_holds(&image, &source);
        }
        db.close().unwrap();
    }
    assert!(whole > 0 && none > 0, "{whole} whole, {none} none");
}

#[test]
fn an_earlier_backup_grows_by_what_came_since() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    db.append(paid(1).member("amount", 1)).unwrap();
    let mut last = Position(0);
    for round in 0..12_u64 {
        define(&db, round);
        for n in 0..(round * 17) % 130 {
            db.append(paid(n % 5).member("amount", n)).unwrap();
        }
        let grown = backup(&db, BackupMode::Increment).unwrap();
        assert_eq!((grown.position, grown.events), (db.head(), db.head().since(last)), "round {round}");
        assert_eq!(grown.chain, db.chain().unwrap());
        last = grown.position;
        if round % 3 == 2 {
            assert_eq!(assert_holds(&disk, &db), last);
        }
    }
    // Where subscriptions are goes along.
    let mut billing = db.subscribe("*").durable("billing").unwrap();
    let first = billing.next().unwrap().unwrap();
    drop(first);
    billing.cursor().acknowledge(Position(1)).unwrap();
    drop(billing);
    backup(&db, BackupMode::Increment).unwrap();
    let copy = small(&disk).open(COPY).unwrap();
    let place = |db: &Db| run(db, "SHOW SUBSCRIPTIONS");
    assert_eq!(place(&copy), place(&db));
}

#[test]
fn a_kill_while_a_backup_grows_leaves_it_whole() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    for n in 0..50 {
        db.append(paid(n % 5).member("amount", n)).unwrap();
    }
    backup(&db, BackupMode::Increment).unwrap();
    for n in 0..300 {
        db.append(paid(n % 5).member("amount", n)).unwrap();
    }
    let images = std::sync::Mutex::new(Vec::new());
    db.backup_with(COPY, BackupMode::Increment, &mut |_| {
        for (seed, fate) in Fate::ALL.into_iter().enumerate() {
            images.lock().unwrap().push(disk.crash(fate, seed as u64));
        }
    })
    .unwrap();
    let images = images.into_inner().unwrap();
    assert!(images.len() > 12, "{} images", images.len());
    for image in images {
        let source = small(&image).open(PATH).unwrap();
        // What is told is on its way; it is one write.
        assert_eq!(assert_holds(&image, &source), Position(50));
        backup(&source, BackupMode::Increment).unwrap();
        assert_eq!(assert_holds(&image, &source), source.head());
    }
}

#[test]
fn nothing_is_written_over_without_being_told() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    db.append(paid(1)).unwrap();
    backup(&db, BackupMode::New).unwrap();
    let told = |error: crate::Error, part: &str| assert!(error.to_string().contains(part), "{error}");
    told(backup(&db, BackupMode::New).unwrap_err(), "it exists already");
    db.append(paid(2)).unwrap();
    assert_eq!(backup(&db, BackupMode::Replace).unwrap().events, 2);
    assert_eq!(assert_holds(&disk, &db), Position(2));
    for mode in [BackupMode::New, BackupMode::Replace, BackupMode::Increment] {
        told(db.backup_with(PATH, mode, &mut |_| {}).unwrap_err(), "it is the database itself");
    }
    // Another one's, and one that has gone its own way.
    let other = small(&disk).create("/other.bygone").unwrap();
    other.append(paid(1)).unwrap();
    told(backup(&other, BackupMode::Increment).unwrap_err(), "expected one of this database");
    let copy = small(&disk).open(COPY).unwrap();
    told(backup(&db, BackupMode::Increment).unwrap_err(), "held");
    told(backup(&db, BackupMode::Replace).unwrap_err(), "held");
    copy.append(paid(3)).unwrap();
    copy.close().unwrap();
    db.append(paid(4)).unwrap();
    let error = backup(&db, BackupMode::Increment).unwrap_err();
    assert!(error.is_conflict());
    told(error, "events of its own");
    assert!(small(&disk).open(COPY).unwrap().verify().unwrap().faults.is_empty());
}

/// Where a backup says that a follower is, what it did up to there is in the backup: else it would never be done.
#[test]
fn followers_go_on_from_a_backup_and_nothing_is_left_out() {
    for round in 0..8_u64 {
        let disk = SimulatedDisk::new();
        let db = small(&disk).live(true).create(PATH).unwrap();
        run(&db, "DEFINE REACTION thank ON 'Order.paid' DO EMIT Order.thanked (target.id)");
        let mut billing = db.subscribe("*").durable("billing").unwrap();
        let mode = if round % 2 == 0 { BackupMode::New } else { BackupMode::Increment };
        let (db, stop) = (&db, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..400 {
                    db.append(paid(n)).unwrap();
                }
                stop.store(true, Ordering::Relaxed);
            });
            let cursor = billing.cursor();
            scope.spawn(move || {
                for delivery in &mut billing {
                    if let Ok(crate::Delivery::Event(event)) = delivery {
                        let _ = cursor.acknowledge_durably(event.position);
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            while db.head() < Position(60 + 10 * round) {
                std::thread::yield_now();
            }
            backup(db, mode).unwrap();
            if mode == BackupMode::Increment {
                while db.head() < Position(300) {
                    std::thread::yield_now();
                }
                backup(db, mode).unwrap();
            }
        });
        let copy = small(&disk).live(true).open(COPY).unwrap();
        let head = copy.head();
        let place = run(&copy, "SHOW SUBSCRIPTIONS").remove(0).get::<u64>("position").unwrap();
        assert!(place <= head.0, "{place} is behind {head}");
        super::wait_until("the reaction", || copy.is_idle().unwrap());
        let thanked = events(&copy, "Order.thanked").len();
        assert_eq!(thanked, events(&copy, "Order.paid").len(), "round {round}");
    }
}

#[test]
fn an_empty_file_is_no_earlier_backup() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    drop(disk.create(Path::new(COPY)).unwrap());
    assert!(backup(&db, BackupMode::Increment).unwrap_err().to_string().contains("it is empty"));
    assert_eq!(disk.open(Path::new(COPY)).unwrap().len().unwrap(), 0);
}

/// A backup whose folder could not be synced is there, and its name may yet be lost: who grows it is told no more than what holds.
#[test]
fn a_backup_that_grows_is_durable_with_its_name() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    db.append(paid(1)).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::SyncFolder));
    backup(&db, BackupMode::New).unwrap_err();
    assert!(disk.exists(Path::new(COPY)).unwrap());
    db.append(paid(2)).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::SyncFolder));
    backup(&db, BackupMode::Increment).unwrap_err();
    assert_eq!(backup(&db, BackupMode::Increment).unwrap().position, Position(2));
    let image = disk.crash(Fate::LoseAll, 0);
    assert_eq!(small(&image).open(COPY).unwrap().head(), Position(2));
}

/// Killed as it had got its name, a backup has its temporary one, too: that is in nobody's way.
#[test]
fn a_backup_of_two_names_is_replaced() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    db.append(paid(1)).unwrap();
    disk.faults().fail_after(0, Failure::of(Kind::Remove).forever());
    backup(&db, BackupMode::New).unwrap();
    disk.faults().clear();
    db.append(paid(2)).unwrap();
    let made = backup(&db, BackupMode::Replace).unwrap();
    assert_eq!(made.position, Position(2));
    assert_eq!(assert_holds(&disk, &db), Position(2));
}

#[test]
fn a_journal_that_stands_beside_is_in_the_way() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    db.append(paid(1)).unwrap();
    backup(&db, BackupMode::New).unwrap();
    // Somebody worked with it, and crashed.
    let copy = small(&disk).open(COPY).unwrap();
    copy.append(paid(2)).unwrap();
    let image = disk.crash(Fate::KeepAll, 1);
    let db = small(&image).open(PATH).unwrap();
    let error = backup(&db, BackupMode::Replace).unwrap_err().to_string();
    assert!(
        error.contains("a journal of another database stands beside it (/copy.bygone-journal-"),
        "{error}"
    );
    assert_eq!(small(&image).open(COPY).unwrap().head(), Position(2));
}

#[test]
fn a_database_that_is_only_read_is_backed_up() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    for n in 0..100 {
        db.append(paid(n)).unwrap();
    }
    // Its journal is still there.
    let image = disk.crash(Fate::ALL[0], 1);
    let read = small(&image).read_only(true).open(PATH).unwrap();
    assert_eq!(backup(&read, BackupMode::New).unwrap().position, read.head());
    assert_eq!(assert_holds(&image, &read), read.head());
}

/// A database of some events, all in its tables.
fn settled(disk: &SimulatedDisk) -> Db {
    let db = small(disk).create(PATH).unwrap();
    for n in 0..100 {
        db.append(paid(n % 7).member("amount", n)).unwrap();
    }
    run(&db, "CHECKPOINT");
    db
}

#[test]
fn each_operation_that_fails_leaves_no_half_of_a_backup() {
    let (disk, operations) = (SimulatedDisk::new(), Arc::new(AtomicU64::new(0)));
    let db = settled(&disk);
    let counted = operations.clone();
    disk.on_operation(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    backup(&db, BackupMode::New).unwrap();
    let (all, mut refused) = (operations.load(Ordering::Relaxed), 0);
    for nth in 0..all {
        let disk = SimulatedDisk::new();
        let db = settled(&disk);
        disk.faults().fail_after(nth, Failure::any());
        let made = backup(&db, BackupMode::New);
        disk.faults().clear();
        refused += u64::from(made.is_err());
        // Where its journal failed, it is closed and opened again; else it goes on.
        let again = |db: &Db| db.append(paid(1).member("amount", 1));
        let db = match again(&db).or_else(|_| again(&db)) {
            Ok(_) => db,
            Err(error) => {
                assert!(error.to_string().contains("close and open it again"), "{error}");
                let _ = db.close();
                let db = small(&disk).open(PATH).unwrap();
                again(&db).unwrap();
                db
            }
        };
        if made.is_err() && !disk.exists(Path::new(COPY)).unwrap() {
            let again = || backup(&db, BackupMode::New);
            again().or_else(|_| again()).unwrap();
        }
        assert_holds(&disk, &db);
        db.close().unwrap();
    }
    assert!(refused > all / 2, "{refused} of {all}");
}

/// libFuzzer found that an increment was written in parts, wherever those ended.
#[test]
fn a_backup_that_grows_has_all_of_what_is_new_or_nothing() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    let groups = |count: u64| {
        for n in 0..count {
            db.append_all((0..3).map(|m| paid(m).member("amount", n))).unwrap();
        }
    };
    groups(10);
    let before = backup(&db, BackupMode::New).unwrap().position;
    // Several memtables of them.
    groups(200);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (kept, on) = (images.clone(), disk.clone());
    disk.on_operation(move |_, path| {
        if path == Path::new(COPY) {
            let mut kept = kept.lock().unwrap();
            let fate = Fate::ALL[kept.len() % Fate::ALL.len()];
            let seed = kept.len() as u64;
            kept.push(on.crash(fate, seed));
        }
    });
    let after = backup(&db, BackupMode::Increment).unwrap().position;
    disk.on_operation(|_, _| {});
    let images = std::mem::take(&mut *images.lock().unwrap());
    let mut ends = BTreeMap::<Position, u64>::new();
    for image in images {
        let copy = small(&image).open(COPY).unwrap();
        assert!(copy.verify().unwrap().faults.is_empty());
        *ends.entry(copy.head()).or_default() += 1;
    }
    assert_eq!(ends.keys().copied().filter(|end| *end != after).collect::<Vec<_>>(), [before], "{ends:?}");
}

#[test]
fn what_is_damaged_is_told_and_not_copied() {
    let disk = MemoryDisk::new();
    let options = || Options::new().disk(Arc::new(disk.clone())).cache(256 << 10);
    let db = options().create(PATH).unwrap();
    for n in 0..2000 {
        db.append(NewEvent::new("Order.paid").on(("Order", n % 9)).member("text", "tea, and nothing else"))
            .unwrap();
    }
    db.close().unwrap();
    let file = disk.open(Path::new(PATH)).unwrap();
    let mut whole = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut whole).unwrap();
    drop(file);
    let (mut told, mut unhurt) = (0, 0);
    for n in 0..60 {
        let mut damaged = whole.clone();
        damaged[4096 + (whole.len() - 4096) * n / 60] ^= 0x55;
        let disk = MemoryDisk::new();
        disk.create(Path::new(PATH)).unwrap().write_at(0, &damaged).unwrap();
        let options = || Options::new().disk(Arc::new(disk.clone())).cache(256 << 10);
        let Ok(db) = options().open(PATH) else { continue };
        match backup(&db, BackupMode::New) {
            Ok(_) => {
                unhurt += 1;
                let copy = options().open(COPY).unwrap();
                assert!(copy.verify().unwrap().faults.is_empty());
                assert_eq!(events(&copy, "*").len(), 2000);
            }
            Err(error) => {
                told += 1;
                assert_eq!(error.kind(), "corrupt", "{error}");
                assert!(!disk.exists(Path::new(COPY)).unwrap());
            }
        }
    }
    assert!(told > 4 && unhurt > 0, "{told} told, {unhurt} unhurt");
}
