//! The order of checks, wherever what they look at stands: in the tables, in a memtable, or staged in the same batch.

use std::time::{Duration, Instant};

use super::held::{Expected, rows};
use super::{one, path, tiny};
use crate::entity::{Position, Version};
use crate::event::{Expect, NewEvent};
use crate::store::Store;
use crate::store::append_request::{AppendRequest, Prepared};
use crate::store::disk::Disk;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{Fate, Kind, SimulatedDisk};
use crate::store::journal::Side;
use crate::store::queue::Pending;
use crate::store::snapshot::ScanDirection;

fn keyed(key: &str, amount: u64) -> NewEvent {
    NewEvent::new("Order.created").on(("Order", 1)).member("amount", amount).key(key)
}

fn group(events: impl IntoIterator<Item = NewEvent>) -> AppendRequest {
    AppendRequest { events: events.into_iter().collect(), ..AppendRequest::default() }
}

/// Where what was appended stands when it is asked for again.
fn everywhere(check: impl Fn(&Store, &dyn Fn())) {
    for place in ["memtable", "frozen", "tables", "reopened"] {
        let disk = MemoryDisk::new();
        let store = Store::create(path(), tiny(&disk)).unwrap();
        let move_on = || match place {
            "frozen" => {
                for _ in 0..10 {
                    store.append(one(NewEvent::new("Other.thing"))).unwrap();
                }
            }
            "tables" => store.checkpoint().unwrap(),
            _ => {}
        };
        check(&store, &move_on);
    }
}

#[test]
fn a_key_comes_before_guards_and_ids() {
    everywhere(|store, move_on| {
        let first = || one(keyed("k", 1).id("mine").expect(Expect::New));
        let outcome = store.append(first()).unwrap();
        move_on();
        let again = store.append(first()).unwrap();
        assert!(again.repeated);
        assert_eq!(again.events, outcome.events);
        // Without its key, both would refuse it.
        let refused = store.append(one(NewEvent::new("Order.created").on(("Order", 1)).id("mine")));
        assert!(refused.unwrap_err().to_string().contains("the id mine"));
        let refused = store.append(one(keyed("other", 1).expect(Expect::New)));
        assert!(refused.unwrap_err().is_conflict());
    });
}

#[test]
fn a_key_with_other_content_is_an_error() {
    everywhere(|store, move_on| {
        store.append(one(keyed("k", 1))).unwrap();
        move_on();
        let head = store.snapshot().head();
        for other in [group([keyed("k", 2)]), group([keyed("k", 1).on(("Order", 2))])] {
            let error = store.append(other).unwrap_err();
            assert!(error.is_conflict() && error.to_string().contains("key 'k'"), "{error}");
        }
        let longer = AppendRequest { key: Some("k".into()), ..group([keyed("k", 1), keyed("k", 1)]) };
        assert!(store.append(longer).is_err());
        assert_eq!(store.snapshot().head(), head);
    });
}

/// Found by a critic: the key was a part of the content where it stood on the event.
#[test]
fn a_key_on_an_event_is_that_of_a_group_of_it() {
    everywhere(|store, move_on| {
        let first = store.append(one(keyed("k", 1))).unwrap();
        move_on();
        let plain = NewEvent::new("Order.created").on(("Order", 1)).member("amount", 1);
        let again = store.append(AppendRequest { key: Some("k".into()), ..group([plain]) }).unwrap();
        assert!(again.repeated);
        assert_eq!(again.events, first.events);
    });
}

#[test]
fn members_in_another_order_are_the_same_content() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    let event = |first: &str, second: &str| {
        one(NewEvent::new("Order.created").member(first, 1).member(second, 1).key("k"))
    };
    store.append(event("a", "b")).unwrap();
    assert!(store.append(event("b", "a")).unwrap().repeated);
}

#[test]
fn a_group_of_which_only_some_keys_are_known_is_an_error() {
    everywhere(|store, move_on| {
        store.append(group([keyed("a", 1), keyed("b", 2)])).unwrap();
        move_on();
        let again = store.append(group([keyed("a", 1), keyed("b", 2)])).unwrap();
        assert!(again.repeated && again.events.len() == 2);
        let head = store.snapshot().head();
        let error = store.append(group([keyed("a", 1), keyed("c", 3)])).unwrap_err();
        assert!(error.is_conflict() && error.to_string().contains("'c' is new"), "{error}");
        assert_eq!(store.snapshot().head(), head);
    });
}

#[test]
fn a_group_with_a_key_is_given_back_whole() {
    everywhere(|store, move_on| {
        let group = || {
            let plain = |n: u64| NewEvent::new("Order.paid").on(("Order", 1)).member("n", n);
            AppendRequest { key: Some("all".into()), ..group([plain(1), plain(2), plain(3)]) }
        };
        let first = store.append(group()).unwrap();
        move_on();
        let again = store.append(group()).unwrap();
        assert!(again.repeated);
        assert_eq!(again.events, first.events);
    });
}

#[test]
fn each_request_of_a_batch_sees_those_before_it_and_a_rejected_one_leaves_no_trace() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    let shared = store.shared();
    let on = |kind: &str| NewEvent::new(kind).on(("Order", 1));
    let requests = [
        one(on("Order.created").expect(Expect::New).key("k")),
        // Two events, of which the second is refused: the first one leaves nothing behind, nor do its key and its id.
        group([
            on("Order.paid").id("mine").key("x"),
            on("Order.paid").key("y").expect(Expect::Version(Version(7))),
        ]),
        one(on("Order.paid").id("mine").expect(Expect::Version(Version(1)))),
        one(on("Order.created").expect(Expect::New)),
        one(on("Order.created").expect(Expect::New).key("k")),
        one(on("Order.sent").key("x").expect(Expect::Version(Version(2)))),
        one(on("Order.deleted")),
        one(on("Order.sent").expect(Expect::Exists)),
        one(on("Order.sent").id("mine")),
    ];
    let batch = requests.map(|group| {
        let pending = Pending::new(Prepared::new(shared, group).unwrap());
        shared.queue.push(&pending).unwrap();
        pending
    });
    shared.commits.lead();
    let answers = batch.map(|pending| match shared.commits.wait(&pending) {
        Ok(outcome) if outcome.repeated => "repeated".to_owned(),
        Ok(outcome) => outcome.events[0].0.to_string(),
        Err(error) => error.kind().to_owned(),
    });
    assert_eq!(answers, ["#1", "conflict", "#2", "conflict", "repeated", "#3", "#4", "conflict", "conflict"]);
    let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
    assert_eq!(log.len(), 4);
    Expected::new(&log); // versions are dense
    store.close().unwrap();
}

#[test]
fn a_request_that_was_looked_up_before_a_checkpoint_is_looked_up_again() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    let shared = store.shared();
    let event = || NewEvent::new("Order.paid").on(("Order", 1)).id("mine").key("k");
    let early = Pending::new(Prepared::new(shared, one(event())).unwrap());
    let later = NewEvent::new("Order.paid").on(("Order", 1)).expect(Expect::Version(Version(1)));
    let later = Pending::new(Prepared::new(shared, one(later)).unwrap());
    store.append(one(event())).unwrap();
    store.checkpoint().unwrap();
    shared.queue.push(&early).unwrap();
    shared.queue.push(&later).unwrap();
    shared.commits.lead();
    assert!(shared.commits.wait(&early).unwrap().repeated);
    assert_eq!(shared.commits.wait(&later).unwrap().events[0].0, Position(2));
}

#[test]
fn the_chain_is_the_same_whatever_the_bounds_of_checkpoints() {
    let mut ends = Vec::new();
    for memtable in [1, 3, 10, 1_000] {
        let disk = MemoryDisk::new();
        let next = std::sync::atomic::AtomicU64::new(1);
        let ids = move || format!("e{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let store = Store::create(path(), tiny(&disk).memtable(memtable, 1 << 20).ids(ids)).unwrap();
        for n in 0..50 {
            let event = NewEvent::new("Order.paid").on(("Order", n % 3)).member("n", n);
            store.append(one(event)).unwrap();
        }
        store.checkpoint().unwrap();
        let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
        let expected = Expected::new(&log);
        let tables = store.shared().tables.read().unwrap();
        let chain = tables.chain().unwrap();
        assert_eq!(chain, expected.chain_at(Position(50)));
        for (_, zone) in tables.zones().unwrap() {
            assert_eq!(zone.chain, expected.chain_at(zone.last));
        }
        ends.push((log, chain));
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_segment_is_not_written_again_before_its_memtable_is_in_the_tables() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(()));
    let at_disk = gate.clone();
    let held = gate.lock().unwrap();
    disk.on_operation(move |kind, path| {
        // Before the commit: nothing of the memtable is in the tables.
        if kind == Kind::Sync && path.to_string_lossy().ends_with("shop.bygone") {
            drop(at_disk.lock());
        }
    });
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..40 {
                store.append(one(NewEvent::new("Order.paid"))).unwrap();
            }
        });
        // Two memtables fill, one frozen and one active; then whoever appends waits.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while store.shared().applied.head() < Position(20) {
            assert!(std::time::Instant::now() < until);
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(store.shared().applied.head(), Position(20));
        for fate in Fate::ALL {
            let found = disk.crash(fate, 1);
            let store = Store::open(path(), tiny(&found)).unwrap();
            assert_eq!((store.snapshot().head(), store.recovery().replayed), (Position(20), 20));
        }
        drop(held);
        writer.join().unwrap();
    });
    assert_eq!(store.snapshot().head(), Position(41));
}

/// What is in the tables is written over, so that a journal is as large as two memtables, however much is appended.
#[test]
fn a_journal_does_not_grow_with_the_log_and_tells_its_size() {
    let disk = MemoryDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    let log = &store.shared().log;
    assert_eq!(log.bytes(), 0);
    for _ in 0..1000 {
        store.append(one(NewEvent::new("Order.paid").member("text", "x".repeat(500)))).unwrap();
    }
    let on_disk = || Side::BOTH.map(|side| disk.open(&side.path(path())).unwrap().len().unwrap());
    // Room may just be made ahead.
    let until = Instant::now() + Duration::from_secs(20);
    while log.bytes() != on_disk().iter().sum::<u64>() {
        assert!(Instant::now() < until, "{} bytes are told of {:?}", log.bytes(), on_disk());
        std::thread::yield_now();
    }
    assert!(on_disk().iter().all(|bytes| (4096..100_000).contains(bytes)), "{:?}", on_disk());
}

#[test]
fn a_large_frame_grows_its_segment() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk).memtable(10, 8192)).unwrap();
    for n in 0..12u64 {
        let size = if n % 3 == 1 { 200_000 } else { 100 };
        store.append(one(NewEvent::new("Order.paid").member("text", "x".repeat(size)))).unwrap();
        for fate in [Fate::LoseAll, Fate::Tear] {
            let found = disk.crash(fate, n);
            assert_eq!(Store::open(path(), tiny(&found)).unwrap().snapshot().head(), Position(n + 1));
        }
    }
}
