//! Many threads before one commit: order, guards and keys under contention, leaders that fall, tickets that nobody waits on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::held::{Expected, rows, tables_are_right};
use super::{Random, one, path, tiny};
use crate::entity::{Entity, Position, Version};
use crate::event::{Expect, NewEvent, codec};
use crate::store::append_request::AppendRequest;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{Kind, SimulatedDisk};
use crate::store::snapshot::ScanDirection;
use crate::store::{Store, locked};
use crate::time::{Clock, Timestamp};

const THREADS: u64 = 16;
const ROUNDS: u64 = 150;

/// Runs something that must come to an end, and fails if it does not.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(run))));
    match receiver.recv_timeout(Duration::from_secs(20)) {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(_) => panic!("{what} hangs"),
    }
}

#[test]
fn sixteen_threads_agree_on_one_log() {
    let disk = MemoryDisk::new();
    let store = Store::create(path(), tiny(&disk).memtable(200, 1 << 20)).unwrap();
    let mut answers = Vec::new();
    let keys_taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, keys_taken) = (&store, &keys_taken);
                scope.spawn(move || {
                    let mut random = Random(thread);
                    let mut answers = Vec::new();
                    for _ in 0..ROUNDS {
                        let entity = Entity::from(("Order", random.below(5)));
                        let mut event = NewEvent::new("Order.paid").on(&entity).by(("User", thread));
                        let key = random.below(300);
                        match random.below(4) {
                            0 => {
                                event =
                                    NewEvent::new("Order.keyed").on(&entity).key(&format!("{entity} {key}"))
                            }
                            1 => {
                                let seen = store.snapshot().version(&entity).unwrap();
                                event = event.expect(Expect::Version(seen));
                            }
                            2 => event = event.expect(Expect::Exists),
                            _ => {}
                        }
                        let events = vec![event; 1 + random.below(2) as usize];
                        let keyed = events[0].key.is_some();
                        let group = match keyed {
                            true => one(events[0].clone()),
                            false => AppendRequest { events, ..AppendRequest::default() },
                        };
                        match store.append(group) {
                            Ok(outcome) if outcome.repeated => assert!(keyed),
                            Ok(outcome) => {
                                keys_taken.fetch_add(u64::from(keyed), Ordering::Relaxed);
                                answers.extend(outcome.events);
                            }
                            Err(error) => assert!(error.is_conflict(), "{error}"),
                        }
                    }
                    answers
                })
            })
            .collect();
        for thread in threads {
            answers.extend(thread.join().unwrap());
        }
    });
    let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
    answers.sort_unstable();
    let answered: Vec<_> = Position::FIRST.onwards().zip(log.iter().cloned()).take(answers.len()).collect();
    assert!(answers == answered && log.len() == answers.len(), "the answers are the log, each position once");
    let mut keys = BTreeMap::new();
    for (position, bytes) in answered {
        let event = codec::decode(position, bytes).unwrap();
        if let Some(key) = event.key {
            assert_eq!(keys.insert(key, position), None);
        }
    }
    assert_eq!(keys.len() as u64, keys_taken.into_inner());
    store.close().unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    tables_are_right(&store, &Expected::new(&log), Position(log.len() as u64)).unwrap();
}

#[test]
fn a_guard_on_a_version_lets_one_of_many_through() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    for version in 0..20 {
        let won: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let event = NewEvent::new("Order.paid").on(("Order", 1));
                    let event = event.expect(Expect::Version(Version(version)));
                    let store = &store;
                    scope.spawn(move || store.append(one(event)))
                })
                .collect();
            threads.into_iter().map(|t| usize::from(t.join().unwrap().is_ok())).sum()
        });
        assert_eq!(won, 1, "at version {version}");
    }
}

#[test]
fn an_id_of_the_callers_is_in_the_log_once_however_many_bring_it() {
    // A UUIDv7 of this very millisecond is found by its time alone: no index tells of it.
    let store = Store::create(path(), tiny(&MemoryDisk::new()).clock(Clock::system())).unwrap();
    for round in 0..200u64 {
        let millis = Timestamp::now().as_millis().unsigned_abs() + 1;
        let id = format!("{:08x}-{:04x}-7000-8000-{round:012x}", millis >> 16, millis & 0xffff);
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|_| {
                    let (store, id) = (&store, &id);
                    scope.spawn(move || {
                        while Timestamp::now().as_millis().unsigned_abs() < millis {}
                        store.append(one(NewEvent::new("Order.paid").id(id)))
                    })
                })
                .collect();
            // The others are given the event that the first appended.
            threads.into_iter().map(|t| usize::from(!t.join().unwrap().unwrap().repeated)).sum()
        });
        assert_eq!((taken, store.snapshot().head()), (1, Position(round + 1)), "round {round}");
    }
}

/// A clock that panics when it is told to.
fn treacherous() -> (Clock, Arc<AtomicBool>) {
    let panics = Arc::<AtomicBool>::default();
    let told = panics.clone();
    let clock = Clock::new(move || {
        assert!(!told.load(Ordering::Relaxed), "the clock was told to panic");
        Timestamp::now()
    });
    (clock, panics)
}

#[test]
fn a_leader_that_panics_fails_its_group_and_nobody_hangs() {
    let disk = MemoryDisk::new();
    let (clock, panics) = treacherous();
    let store = Arc::new(Store::create(path(), tiny(&disk).clock(clock)).unwrap());
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    panics.store(true, Ordering::Relaxed);
    let shared = store.clone();
    in_time("a thread beside the one that panicked", move || {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let appended = || shared.append(one(NewEvent::new("Order.paid")));
                        match catch_unwind(AssertUnwindSafe(appended)) {
                            Ok(answer) => Some(answer.unwrap_err().kind()),
                            Err(_) => None,
                        }
                    })
                })
                .collect();
            let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(answers.contains(&None), "somebody led");
            assert!(answers.iter().flatten().all(|kind| *kind == "stopped"), "{answers:?}");
        });
    });
    panics.store(false, Ordering::Relaxed);
    assert_eq!(store.append(one(NewEvent::new("Order.paid"))).unwrap_err().kind(), "stopped");
    assert_eq!(store.snapshot().head(), Position(1), "reads go on");
    in_time("closing", move || store.close()).unwrap();
    let store = Store::open(path(), tiny(&disk)).unwrap();
    assert_eq!(store.append(one(NewEvent::new("Order.paid"))).unwrap().events[0].0, Position(2));
}

#[test]
fn a_ticket_whose_background_leader_panics_is_answered() {
    let (clock, panics) = treacherous();
    let store = Store::create(path(), tiny(&MemoryDisk::new()).clock(clock)).unwrap();
    panics.store(true, Ordering::Relaxed);
    let ticket = store.submit(one(NewEvent::new("Order.paid"))).unwrap();
    let answer = in_time("the ticket", move || ticket.wait());
    assert_eq!(answer.unwrap_err().kind(), "stopped");
    in_time("closing", move || store.close()).unwrap();
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_ticket_that_nobody_waits_on_is_committed_and_wakes_its_waker() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    for _ in 0..40 {
        drop(store.submit(one(NewEvent::new("Order.paid"))).unwrap());
    }
    let until = Instant::now() + Duration::from_secs(20);
    while store.snapshot().head() < Position(40) {
        assert!(Instant::now() < until, "nobody leads for a ticket that nobody waits on");
        thread::yield_now();
    }
    let ticket = store.submit(one(NewEvent::new("Order.paid"))).unwrap();
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    let answer = loop {
        assert!(Instant::now() < until);
        match ticket.poll(&waker) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => {
                while !woken.0.swap(false, Ordering::SeqCst) {
                    assert!(Instant::now() < until, "the waker is never called");
                    thread::yield_now();
                }
            }
        }
    };
    assert_eq!(answer.unwrap().events[0].0, Position(41));
}

#[test]
fn closing_commits_the_tickets_that_are_queued() {
    let disk = MemoryDisk::new();
    let store = Store::create(path(), tiny(&disk)).unwrap();
    let tickets: Vec<_> = (0..30).map(|_| store.submit(one(NewEvent::new("Order.paid"))).unwrap()).collect();
    store.close().unwrap();
    assert_eq!(store.submit(one(NewEvent::new("Order.paid"))).unwrap_err().kind(), "stopped");
    let mut positions: Vec<_> = tickets.iter().map(|ticket| ticket.wait().unwrap().events[0].0).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=30).map(Position).collect::<Vec<_>>());
    assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), Position(30));
}

#[test]
fn submitters_wait_for_room_in_the_queue() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), tiny(&disk).queue(10_000)).unwrap();
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    // The leader is held at its sync; meanwhile the queue fills.
    let (held, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_held, may_go_on) = (held.clone(), go_on.clone());
    disk.on_operation(move |kind, path| {
        if kind == Kind::Sync && path.to_string_lossy().ends_with("-a") {
            is_held.store(true, Ordering::SeqCst);
            while !may_go_on.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
    });
    let event = || NewEvent::new("Order.paid").member("text", "x".repeat(1_000));
    let submitted = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..30 {
                store.submit(one(event())).unwrap();
                submitted.fetch_add(1, Ordering::SeqCst);
            }
        });
        while !held.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(60));
        let queued = submitted.load(Ordering::SeqCst);
        go_on.store(true, Ordering::SeqCst);
        // Eight fill the queue; the leader may have taken as many before.
        assert!((1..20).contains(&queued), "{queued} requests of 1.3 KB before a queue of 10 KB");
    });
    store.close().unwrap();
    assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), Position(31));
}

#[test]
fn a_checkpointer_that_panics_does_not_leave_the_writers_waiting() {
    let disk = SimulatedDisk::new();
    let store = Arc::new(Store::create(path(), tiny(&disk)).unwrap());
    let panics = Arc::new(AtomicBool::new(true));
    let told = panics.clone();
    disk.on_operation(move |_, _| {
        let me = thread::current();
        assert!(me.name() != Some("bygone-checkpointer") || !told.load(Ordering::SeqCst), "told to panic");
    });
    let shared = store.clone();
    let refused = in_time("an append", move || {
        (0..40).find_map(|_| shared.append(one(NewEvent::new("Order.paid"))).err())
    });
    assert!(refused.is_some(), "memory is bounded: there is an error, not a memtable that grows");
    let head = store.snapshot().head();
    panics.store(false, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(20);
    while store.append(one(NewEvent::new("Order.paid"))).is_err() {
        assert!(Instant::now() < until, "the checkpoint is not tried again");
        thread::sleep(Duration::from_millis(5));
    }
    let shared = store.clone();
    in_time("closing", move || shared.close()).unwrap();
    assert_eq!(Store::open(path(), tiny(&disk)).unwrap().snapshot().head(), head.next());
}

#[test]
fn the_committer_is_not_kept_from_others_by_a_checkpoint_that_was_asked_for() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| drop(store.append(one(NewEvent::new("Order.paid"))).unwrap())));
        for _ in 0..50 {
            store.checkpoint().unwrap();
        }
    });
    drop(locked(&store.shared().commits.committer));
    store.checkpoint().unwrap();
    assert_eq!(store.shared().applied.memtables().base(), Position(200));
}
