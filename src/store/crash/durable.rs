//! What is seen before it is durable, and by whom.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::held::{open, rows};
use super::{let_go, one, path, tiny};
use crate::entity::Position;
use crate::event::{Expect, NewEvent};
use crate::store::append_request::{AppendRequest, Prepared};
use crate::store::disk::simulated::{Dropped, Fate, Kind, SimulatedDisk};
use crate::store::log_progress::WaitResult;
use crate::store::queue::Pending;
use crate::store::snapshot::ScanDirection;
use crate::store::{Durability, Options, Shared, Store};

/// A journal with room from the start: nobody but the leader syncs its first segment.
fn roomy(disk: &SimulatedDisk) -> Options {
    tiny(disk).journal_steps(64 << 10, 64 << 10)
}

struct Ignored;

impl Wake for Ignored {
    fn wake(self: Arc<Self>) {}
}

/// A good request, one whose guard fails, and one whose key is known from the same batch.
fn mixed_batch(shared: &Arc<Shared>) -> Vec<Arc<Pending>> {
    let good = NewEvent::new("Order.created").on(("Order", 1)).key("once");
    let requests = [good.clone(), NewEvent::new("Order.paid").on(("Order", 2)).expect(Expect::Exists), good];
    requests
        .map(|event| {
            let pending = Pending::new(Prepared::new(shared, one(event)).unwrap());
            shared.queue.push(&pending).unwrap();
            pending
        })
        .to_vec()
}

#[test]
fn nothing_is_seen_or_answered_before_its_sync() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.first"))).unwrap();
    let batch = mixed_batch(store.shared());
    let syncs = Arc::new(AtomicU64::new(0));
    let (seen, shared, waiting) = (syncs.clone(), store.shared().clone(), batch.clone());
    disk.on_operation(move |kind, path| {
        if kind == Kind::Sync
            && path.to_string_lossy().ends_with("-a")
            && seen.fetch_add(1, Ordering::SeqCst) == 0
        {
            assert_eq!(
                (shared.applied.head(), shared.log_progress.synced()),
                (Position(1), Position(1)),
                "a reader sees what is not durable"
            );
            let waker = Waker::from(Arc::new(Ignored));
            assert!(waiting.iter().all(|pending| pending.poll(&waker).is_none()), "answered before the sync");
        }
    });
    store.shared().commits.lead();
    assert_eq!(syncs.load(Ordering::SeqCst), 1, "one sync for the batch");
    let answers: Vec<_> = batch.iter().map(|pending| store.shared().commits.wait(pending)).collect();
    let outcome = |at: usize| answers[at].as_ref().unwrap();
    assert_eq!((outcome(0).events[0].0, outcome(0).repeated), (Position(2), false));
    assert!(answers[1].as_ref().unwrap_err().is_conflict());
    assert_eq!((outcome(2).events[0].0, outcome(2).repeated), (Position(2), true));
    assert_eq!(store.snapshot().head(), Position(2));
}

#[test]
fn a_failed_sync_fails_all_answers_of_its_batch() {
    for shows in [Dropped::ShowsOld, Dropped::ShowsNew] {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), roomy(&disk)).unwrap();
        store.append(one(NewEvent::new("Order.first"))).unwrap();
        let batch = mixed_batch(store.shared());
        disk.faults().fail_sync_dropping_pages("-a", shows);
        store.shared().commits.lead();
        for pending in &batch {
            let error = store.shared().commits.wait(pending).unwrap_err();
            assert_eq!(error.kind(), "io", "{error}");
        }
        assert_eq!(store.snapshot().head(), Position(1));
        assert_eq!(rows(&store.snapshot(), ScanDirection::Ascending).unwrap().len(), 1, "reads go on");
        let error = store.append(one(NewEvent::new("Order.paid"))).unwrap_err();
        assert_eq!(error.kind(), "stopped", "{error}");
        store.close().unwrap();
        let store = Store::open(path(), roomy(&disk)).unwrap();
        assert_eq!(store.snapshot().head(), Position(1), "what was not acknowledged is gone");
        store.append(one(NewEvent::new("Order.paid"))).unwrap();
    }
}

#[test]
fn what_is_served_after_a_failed_sync_is_durable() {
    // The frame is in the cache of the system and not on the disk. The program dies; the machine does not.
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk)).unwrap();
    store.append(one(NewEvent::new("Order.first"))).unwrap();
    disk.faults().fail_sync_dropping_pages("-a", Dropped::ShowsNew);
    store.append(one(NewEvent::new("Order.paid"))).unwrap_err();
    let_go(store);
    let again = Store::open(path(), roomy(&disk)).unwrap();
    let served = rows(&again.snapshot(), ScanDirection::Ascending).unwrap();
    assert_eq!(served.len(), 2, "the cache still shows the frame");
    for fate in Fate::ALL {
        let store = open(&tiny(&disk.crash(fate, 1))).unwrap();
        assert_eq!(rows(&store.snapshot(), ScanDirection::Ascending).unwrap(), served);
    }
}

#[test]
fn at_intervals_readers_see_the_head_and_followers_what_is_synced() {
    let disk = SimulatedDisk::new();
    let lazy = roomy(&disk).durability(Durability::Interval(Duration::from_secs(3600)));
    // Room enough: the sync of new space would take the frames along.
    let store = Store::create(path(), lazy.journal_steps(1 << 20, 1 << 20)).unwrap();
    store.append(one(NewEvent::new("Order.first"))).unwrap();
    for _ in 0..5 {
        store.append(one(NewEvent::new("Order.paid"))).unwrap();
    }
    let found = disk.crash(Fate::LoseAll, 0);
    assert_eq!(open(&tiny(&found)).unwrap().snapshot().head(), Position(0), "nothing was synced");
    assert_eq!((store.snapshot().head(), store.shared().log_progress.synced()), (Position(6), Position(0)));
    assert_eq!(
        store.shared().log_progress.wait_past(Position(0), Some(Instant::now()), &|| false),
        WaitResult::TimedOut
    );
    // What fills a memtable is durable when the next one begins.
    for _ in 0..5 {
        store.append(one(NewEvent::new("Order.paid"))).unwrap();
    }
    assert_eq!(store.shared().log_progress.synced(), Position(10));
    store.close().unwrap();
    assert_eq!(Store::open(path(), roomy(&disk)).unwrap().snapshot().head(), Position(11));
}

#[test]
fn the_disk_follows_within_the_interval() {
    let disk = SimulatedDisk::new();
    let lazy = roomy(&disk).durability(Durability::Interval(Duration::from_millis(20)));
    let store = Store::create(path(), lazy).unwrap();
    for position in 1..=3 {
        store.append(one(NewEvent::new("Order.paid"))).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let moved = store.shared().log_progress.wait_past(Position(position - 1), Some(until), &|| false);
        assert_eq!(moved, WaitResult::To(Position(position)));
        let found = disk.crash(Fate::LoseAll, 0);
        assert_eq!(open(&tiny(&found)).unwrap().snapshot().head(), Position(position));
    }
}

#[test]
fn a_sync_that_fails_at_its_interval_stops_the_writers() {
    let disk = SimulatedDisk::new();
    let lazy = roomy(&disk).durability(Durability::Interval(Duration::from_millis(5)));
    let store = Store::create(path(), lazy).unwrap();
    store.append(one(NewEvent::new("Order.first"))).unwrap();
    store.shared().sync_log().unwrap();
    disk.faults().fail_sync_dropping_pages("-a", Dropped::ShowsNew);
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while store.append(one(NewEvent::new("Order.paid"))).is_ok() {
        assert!(Instant::now() < until, "writers go on after a failed sync");
    }
    assert_eq!(store.shared().log_progress.synced(), Position(1), "followers saw nothing of it");
    let seen = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
    // Closing brings what readers saw into the tables: nothing of it depends on the journal any more.
    store.close().unwrap();
    let store = Store::open(path(), roomy(&disk)).unwrap();
    assert_eq!(rows(&store.snapshot(), ScanDirection::Ascending).unwrap(), seen);
}

#[test]
fn an_empty_group_is_answered_and_writes_nothing() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk)).unwrap();
    let before = disk.trace().len();
    assert!(store.append(AppendRequest::default()).unwrap().events.is_empty());
    let ticket = store.submit(AppendRequest::default()).unwrap();
    assert!(ticket.wait().unwrap().events.is_empty());
    assert_eq!(disk.trace().len(), before);
}

#[test]
fn batches_grow_while_a_sync_takes_its_time() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), roomy(&disk).memtable(10_000, 1 << 24)).unwrap();
    store.append(one(NewEvent::new("Order.first"))).unwrap();
    let before = disk.counts();
    let slow = Mutex::new(());
    disk.on_operation(move |kind, _| {
        if kind == Kind::Sync {
            drop(slow.lock());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store.append(one(NewEvent::new("Order.paid"))).unwrap();
                }
            });
        }
    });
    // Each batch syncs once.
    let batches = disk.counts().since(before).syncs;
    assert_eq!(store.snapshot().head(), Position(321));
    assert!(batches < 160, "{batches} batches for 320 appends of 16 threads");
}
