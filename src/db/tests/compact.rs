//! Compaction of databases that are written and read meanwhile, on disks that crash and fail.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{PATH, PATIENCE, define, paid, run, small, while_written};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Failure, Fate, Kind, SimulatedDisk};
use crate::{Db, Position};

#[track_caller]
fn assert_whole(db: &Db) {
    db.wait_for_indexes(PATIENCE).unwrap();
    let found = db.verify().unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}

/// What there is to be seen, definitions and places too.
fn seen(db: &Db) -> Vec<String> {
    let asked =
        ["EVENTS", "FIND Order", "EVENTS BY amounts > 3", "SHOW SUBSCRIPTIONS", "SHOW INDEXES", "SHOW VIEWS"];
    asked.into_iter().flat_map(|text| run(db, text)).map(|row| format!("{row:?}")).collect()
}

fn filled(disk: &SimulatedDisk) -> Db {
    let db = small(disk).create(PATH).unwrap();
    (0..3).for_each(|round| define(&db, round));
    for n in 0..200 {
        db.append(paid(n % 7).member("amount", n)).unwrap();
    }
    let mut billing = db.subscribe("*").durable("billing").unwrap();
    drop(billing.next().unwrap().unwrap());
    billing.cursor().acknowledge_durably(Position(1)).unwrap();
    db.wait_for_indexes(PATIENCE).unwrap();
    db
}

#[test]
fn all_is_as_it_was_and_the_file_is_smaller() {
    let disk = SimulatedDisk::new();
    let db = filled(&disk);
    // What was dropped leaves room behind.
    for n in 0..40 {
        run(&db, &format!("DEFINE INDEX i{n} ON 'Order.*' AS data.amount + {n}"));
    }
    db.wait_for_indexes(PATIENCE).unwrap();
    for n in 0..40 {
        run(&db, &format!("DROP INDEX i{n}"));
    }
    for n in 0..3000 {
        db.append(paid(n % 7).member("amount", n)).unwrap();
    }
    db.wait_for_indexes(PATIENCE).unwrap();
    let before = seen(&db);
    let sizes = db.compact().unwrap();
    assert!(sizes.after < sizes.before, "{sizes:?}");
    assert_eq!(sizes.after, disk.open(Path::new(PATH)).unwrap().len().unwrap());
    assert_eq!(seen(&db), before);
    assert_whole(&db);
    db.append(paid(1).member("amount", 1)).unwrap();
    let before = seen(&db);
    // Nobody else comes to it, and it is found again, after a crash too.
    assert!(small(&disk).open(PATH).unwrap_err().to_string().contains("held"));
    let image = disk.crash(Fate::LoseAll, 1);
    db.close().unwrap();
    for disk in [disk, image] {
        let db = small(&disk).open(PATH).unwrap();
        assert_eq!(seen(&db), before);
        assert_whole(&db);
    }
}

#[test]
fn it_goes_on_while_others_write_and_read() {
    let disk = SimulatedDisk::new();
    let db = small(&disk).create(PATH).unwrap();
    while_written(&db, |appended| {
        for round in 1..20 {
            while appended.load(Ordering::Relaxed) < 30 * round {
                std::thread::yield_now();
            }
            db.compact().unwrap();
            run(&db, "EVENTS 'Order.*' LAST 10");
        }
    });
    assert_whole(&db);
    db.close().unwrap();
    assert_whole(&small(&disk).open(PATH).unwrap());
}

#[test]
fn a_crash_at_any_operation_leaves_one_file_or_the_other() {
    let disk = SimulatedDisk::new();
    let db = filled(&disk);
    let expected = seen(&db);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, of) = (images.clone(), disk.clone());
    disk.on_operation(move |_, _| {
        let mut taken = taken.lock().unwrap();
        let seed = taken.len();
        taken.push(of.crash(Fate::ALL[seed % Fate::ALL.len()], seed as u64));
    });
    db.compact().unwrap();
    disk.on_operation(|_, _| {});
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 20, "{}", images.len());
    for image in images {
        let db = small(&image).open(PATH).unwrap();
        assert_eq!(seen(&db), expected);
        assert_whole(&db);
        // What is left of the other is in nobody's way.
        db.compact().unwrap();
        assert_eq!(seen(&db), expected);
    }
}

#[test]
fn an_operation_that_fails_leaves_it_as_it_was() {
    let (disk, operations) = (SimulatedDisk::new(), Arc::new(AtomicU64::new(0)));
    let db = filled(&disk);
    let counted = operations.clone();
    disk.on_operation(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    db.compact().unwrap();
    let (all, mut refused) = (operations.load(Ordering::Relaxed), 0);
    for nth in 0..all {
        let disk = SimulatedDisk::new();
        let db = filled(&disk);
        let (expected, head) = (seen(&db), db.head());
        disk.faults().fail_after(nth, Failure::any());
        let made = db.compact();
        disk.faults().clear();
        refused += u64::from(made.is_err());
        assert_eq!(seen(&db), expected, "{nth}: {made:?}");
        let again = |db: &Db| db.append(paid(1).member("amount", 1));
        let appended = again(&db).or_else(|_| again(&db));
        if let Err(error) = &appended {
            assert!(error.to_string().contains("close and open it again"), "{nth}: {error}");
        }
        let _ = db.close();
        let db = small(&disk).open(PATH).unwrap();
        assert_eq!(db.head().0, head.0 + u64::from(appended.is_ok()), "{nth}");
        assert_whole(&db);
    }
    assert!(refused > all / 3, "{refused} of {all}");
}

#[test]
fn what_cannot_be_compacted_says_so() {
    let disk = SimulatedDisk::new();
    let db = filled(&disk);
    disk.link(Path::new(PATH), Path::new("/second.bygone")).unwrap();
    let error = db.compact().unwrap_err();
    assert!(error.to_string().contains("it has 2 names"), "{error}");
    disk.remove(Path::new("/second.bygone")).unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    let db = small(&disk).read_only(true).open(PATH).unwrap();
    assert!(db.compact().unwrap_err().to_string().contains("reading only"));
    let closed = small(&SimulatedDisk::new()).create(PATH).unwrap();
    closed.close().unwrap();
    assert!(closed.compact().unwrap_err().to_string().contains("closed"));
}

#[test]
fn a_name_that_is_not_durable_yet_takes_no_more() {
    let disk = SimulatedDisk::new();
    let db = filled(&disk);
    // The folder cannot be synced once the new file has the name, and for long after.
    disk.faults().fail_after(1, Failure::of(Kind::SyncFolder).forever());
    let error = db.compact().unwrap_err();
    assert!(error.to_string().contains("syncing the folder"), "{error}");
    let mut acknowledged = db.head();
    for n in 0..300 {
        match db.append(paid(n % 7).member("amount", n)) {
            Ok(event) => acknowledged = event.position,
            Err(_) => break,
        }
    }
    for fate in Fate::ALL {
        let image = disk.crash(fate, 3);
        let db = small(&image).open(PATH).unwrap();
        assert!(db.head() >= acknowledged, "{fate:?}: {} of {acknowledged}", db.head());
        assert_whole(&db);
    }
    // Once it can be, all goes on.
    disk.faults().clear();
    super::wait_until("the next try", || db.append(paid(1).member("amount", 1)).is_ok());
    assert_whole(&db);
    db.close().unwrap();
    assert_whole(&small(&disk).open(PATH).unwrap());
}

#[test]
fn the_new_file_is_locked_by_whatever_name() {
    let disk = SimulatedDisk::new();
    let db = filled(&disk);
    db.compact().unwrap();
    db.compact().unwrap();
    disk.link(Path::new(PATH), Path::new("/moved.bygone")).unwrap();
    for path in [PATH, "/moved.bygone"] {
        let error = small(&disk).open(path).unwrap_err();
        assert!(error.to_string().contains("held"), "{path}: {error}");
    }
    db.close().unwrap();
    small(&disk).open("/moved.bygone").unwrap();
}

#[test]
fn a_file_that_took_the_name_meanwhile_is_left_as_it_is() {
    let disk = SimulatedDisk::new();
    let other = small(&disk).create("/other.bygone").unwrap();
    other.append(paid(77)).unwrap();
    other.close().unwrap();
    let db = filled(&disk);
    let head = db.head();
    // Somebody puts another file in the place of it, just before the new one is ready.
    let (of, once) = (disk.clone(), AtomicU64::new(0));
    disk.on_operation(move |kind, path| {
        let is_new = path.to_string_lossy().contains("-new-");
        if kind == Kind::Sync && is_new && once.fetch_add(1, Ordering::Relaxed) == 1 {
            of.rename(Path::new(PATH), Path::new("/first.bygone")).unwrap();
            of.rename(Path::new("/other.bygone"), Path::new(PATH)).unwrap();
        }
    });
    let error = db.compact().unwrap_err();
    assert!(error.to_string().contains("another file took the name"), "{error}");
    disk.on_operation(|_, _| {});
    assert_eq!(db.head(), head);
    assert!(db.append(paid(1)).is_err(), "what is appended would be found by nobody");
    disk.rename(Path::new(PATH), Path::new("/other.bygone")).unwrap();
    disk.rename(Path::new("/first.bygone"), Path::new(PATH)).unwrap();
    assert_whole(&db);
    let _ = db.close();
    assert_eq!(small(&disk).open(PATH).unwrap().head(), head);
    assert_eq!(small(&disk).open("/other.bygone").unwrap().head(), Position(1));
}
