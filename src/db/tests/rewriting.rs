//! Events that are rewritten while there is more: whoever closes meanwhile, and what was read before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::forgetting::with;
use super::{PATH, events, on, run};
use crate::store::disk::simulated::{Kind, SimulatedDisk};
use crate::{Db, NewEvent};

const PAST: &str = "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name INCLUDING PAST";

fn in_plain(disk: &SimulatedDisk, users: u64) -> Db {
    let db = on(disk).create(PATH).unwrap();
    let named =
        |user: u64| NewEvent::new("User.named").on(("User", user)).member("name", format!("secret {user}!"));
    db.append_all((0..users).map(named)).unwrap();
    db
}

/// Whether one of the files of a disk has some bytes.
fn is_on(disk: &SimulatedDisk, wanted: &str) -> bool {
    !with(disk, wanted.as_bytes()).is_empty()
}

#[test]
fn whoever_closes_meanwhile_does_not_wait_for_ever() {
    for point in [1, 2, 3, 5, 9, 30] {
        let disk = SimulatedDisk::new();
        let db = in_plain(&disk, 3000);
        run(&db, "CHECKPOINT");
        let (counted, (reached, wait)) = (Arc::new(AtomicUsize::new(0)), std::sync::mpsc::channel());
        let count = counted.clone();
        disk.on_operation(move |kind, path| {
            let is_new = kind == Kind::Write
                && path != std::path::Path::new(PATH)
                && !path.to_string_lossy().contains("journal");
            if is_new && count.fetch_add(1, Ordering::SeqCst) + 1 == point {
                let _ = reached.send(());
                // So that whoever closes is waiting by then.
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let (done, ends) = std::sync::mpsc::channel();
        let (other, told) = (db.clone(), done.clone());
        std::thread::spawn(move || told.send(other.query(PAST).map(drop).map_err(|error| error.to_string())));
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
        std::thread::spawn(move || done.send(db.close().map_err(|error| error.to_string())));
        for _ in 0..2 {
            drop(ends.recv_timeout(Duration::from_secs(60)).expect("it waits for what never comes"));
        }
        disk.on_operation(|_, _| {});
        let db = on(&disk).open(PATH).unwrap();
        assert!(db.verify().unwrap().faults.is_empty());
        assert!(events(&db, "User.named")[7].data.to_string().contains("secret 7!"));
        let defined = !events(&db, "$private.*").is_empty();
        assert_eq!(is_on(&disk, "secret 7!"), !defined);
    }
}

#[test]
fn what_was_read_before_is_not_shown_once_it_is_forgotten() {
    let disk = SimulatedDisk::new();
    let db = in_plain(&disk, 5);
    run(&db, "DEFINE VIEW names AS EVENTS 'User.named' GROUP BY data.name AS name SELECT count() AS n");
    run(&db, "DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name");
    run(&db, "FORGET User 2");
    db.wait_for_indexes(Duration::from_secs(20)).unwrap();
    let shown =
        |text: &str| run(&db, text).iter().map(|row| format!("{row:?}")).collect::<Vec<_>>().join("\n");
    for text in ["READ names", "AT User 2", "FIND User"] {
        assert!(shown(text).contains("secret 2!"), "{text}");
    }
    run(&db, PAST);
    for text in ["READ names", "AT User 2", "FIND User"] {
        assert!(!shown(text).contains("secret 2!"), "{text}");
    }
    db.wait_for_indexes(Duration::from_secs(20)).unwrap();
    assert!(!shown("READ names").contains("secret 2!") && shown("READ names").contains("secret 3!"));
    run(&db, "CHECKPOINT");
    assert!(!is_on(&disk, "secret 2!"));
}
