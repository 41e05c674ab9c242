//! Followers: whatever fails, is said to them, or ends in between, each event is handed out in its turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::*;
use crate::exec::state;
use crate::plan::ReplayPlan;
use crate::store::catalog::{Compile, Derive, Flow, ProgramKind};
use crate::store::condition::CompileConditions;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::state::fold::Fold;
use crate::store::{Options, Store};
use crate::value::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// Understands a program that is its own name.
struct Names;

impl CompileConditions for Names {}

impl Compile for Names {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        Err(Error::invalid("an index", "none", text))
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        Err(Error::invalid("an entity", "none", text))
    }

    fn program(&self, _: ProgramKind, text: &str) -> Result<(String, Flow)> {
        Ok((text.to_owned(), Flow::default()))
    }
}

/// Tells what it is handed, and fails as often as was said for a position.
struct Telling {
    wanted: plan::SubscriptionPlan,
    told: Sender<u64>,
    fails: BTreeMap<u64, u32>,
}

impl FollowerTask for Telling {
    fn wanted(&self) -> &plan::SubscriptionPlan {
        &self.wanted
    }

    fn handle(&mut self, _: &Follower, event: &Event) -> Result<(), StepFailure> {
        let position = event.position.0;
        // A test that has seen enough is gone.
        let _ = self.told.send(position);
        match self.fails.get_mut(&position) {
            Some(&mut 0) | None => Ok(()),
            Some(&mut u32::MAX) => Err(StepFailure::Hopeless(Error::stopped("it cannot be"))),
            Some(left) => {
                *left -= 1;
                Err(Error::stopped("not yet").into())
            }
        }
    }
}

fn wanted() -> plan::SubscriptionPlan {
    plan::SubscriptionPlan::of("Order.*".parse().unwrap())
}

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

fn options(disk: &SimulatedDisk) -> Options {
    Options::new()
        .disk(Arc::new(disk.clone()))
        .cache(256 << 10)
        .retries(3, Duration::from_millis(1))
        .with_compiler(Arc::new(Names))
}

fn append(store: &Store, kind: &str) -> u64 {
    let events = vec![NewEvent::new(kind).on(("Order", 1))];
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap().events[0].0.0
}

fn say(store: &Store, event: NewEvent) -> u64 {
    store
        .append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })
        .unwrap()
        .events[0]
        .0
        .0
}

fn define(store: &Store) -> Arc<Program> {
    let (name, value) = dead_letter::none();
    let defined = NewEvent::new("$reaction.defined").on(("$reaction", "ship"));
    say(store, defined.member("definition", "ship").member(&name, value));
    program(store)
}

fn program(store: &Store) -> Arc<Program> {
    store.shared().applied.catalog().program(ProgramKind::Reaction, "ship").unwrap().clone()
}

/// A follower on a thread of its own.
struct Run {
    told: Receiver<u64>,
    newest: Arc<AtomicPosition>,
    shared: Arc<Shared>,
    cancel: Cancel,
    thread: Option<JoinHandle<Result<Ended>>>,
}

impl Run {
    fn start(store: &Store, fails: impl IntoIterator<Item = (u64, u32)>) -> Run {
        let (program, shared, cancel) = (program(store), store.shared().clone(), Cancel::new());
        let newest = Arc::new(AtomicPosition::new(shared.log_progress.synced()));
        let (sender, told) = channel();
        let mut work = Telling { wanted: wanted(), told: sender, fails: fails.into_iter().collect() };
        let mut follower = Follower::new(shared.clone(), program.clone(), cancel.clone(), newest.clone());
        let thread = std::thread::spawn(move || follower.follow(&mut work, program.position));
        Run { told, newest, shared, cancel, thread: Some(thread) }
    }

    #[track_caller]
    fn expect(&self, positions: &[u64]) {
        for position in positions {
            assert_eq!(self.told.recv_timeout(PATIENCE).unwrap(), *position);
        }
    }

    /// Nothing more comes, as far as one can wait for that.
    #[track_caller]
    fn expect_no_more(&self) {
        assert_eq!(self.told.recv_timeout(Duration::from_millis(30)).ok(), None);
    }

    fn call(&self, position: u64) {
        self.newest.store(Position(position), Ordering::Release);
        self.shared.log_progress.wake();
    }

    /// Waits until all up to here is done.
    #[track_caller]
    fn comes_to(&self, store: &Store, position: u64) {
        let until = Instant::now() + PATIENCE;
        while place(store).position < Position(position) {
            assert!(Instant::now() < until, "it is at {:?}", place(store));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(mut self) {
        self.cancel.cancel();
        self.shared.log_progress.wake();
        assert_eq!(self.thread.take().unwrap().join().unwrap().unwrap(), Ended);
    }
}

fn place(store: &Store) -> Cursor {
    let who = cursor::CursorOwner::Program(program(store).position);
    store.shared().cursors.get(&who).unwrap().unwrap_or_default()
}

fn aside_now(store: &Store) -> Vec<u64> {
    dead_letter::set_aside(&store.snapshot(), &program(store)).unwrap().into_keys().collect()
}

#[test]
fn each_event_is_handed_out_once_and_in_order_over_reopenings() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    append(&store, "Order.created");
    define(&store);
    let run = Run::start(&store, []);
    let first = append(&store, "Order.paid");
    append(&store, "Stock.reserved");
    let second = append(&store, "Order.sent");
    run.expect(&[first, second]);
    run.comes_to(&store, second);
    run.end();
    let third = append(&store, "Order.paid");
    store.close().unwrap();
    let store = Store::open(path(), options(&disk)).unwrap();
    let run = Run::start(&store, []);
    run.expect(&[third]);
    // What it does not want moves it, too: it is not looked at again.
    let other = append(&store, "Stock.reserved");
    run.comes_to(&store, other);
    run.expect_no_more();
    run.end();
}

#[test]
fn what_fails_is_tried_again_and_holds_back_what_follows() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    define(&store);
    let (first, second) = (append(&store, "Order.paid"), append(&store, "Order.paid"));
    let run = Run::start(&store, [(first, 2)]);
    run.expect(&[first, first, first, second]);
    run.comes_to(&store, second);
    assert_eq!(aside_now(&store), [0; 0]);
    run.end();
}

#[test]
fn what_keeps_failing_is_set_aside_until_somebody_says_retry_or_skip() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    define(&store);
    let events: Vec<u64> = (0..3).map(|_| append(&store, "Order.paid")).collect();
    let run = Run::start(&store, [(events[0], 4), (events[1], u32::MAX)]);
    // Three tries of the first; one that has no hope has one.
    run.expect(&[events[0], events[0], events[0], events[1], events[2]]);
    run.comes_to(&store, events[2]);
    assert_eq!(aside_now(&store), [events[0], events[1]]);
    let found = dead_letter::set_aside(&store.snapshot(), &program(&store)).unwrap();
    assert_eq!(found[&events[0]], DeadLetterRecord { error: "stopped: not yet".to_owned(), attempts: 3 });
    // Once more it fails, then it is done.
    run.call(say(&store, dead_letter::retried(&program(&store), [Position(events[0])]).unwrap()));
    run.expect(&[events[0], events[0]]);
    run.call(say(&store, dead_letter::skipped(&program(&store), [Position(events[1])]).unwrap()));
    run.expect_no_more();
    assert_eq!(aside_now(&store), [0; 0]);
    run.end();
    store.close().unwrap();
    // Nothing of that is done again.
    let store = Store::open(path(), options(&disk)).unwrap();
    let run = Run::start(&store, []);
    let last = append(&store, "Order.paid");
    run.expect(&[last]);
    run.end();
}

#[test]
fn retry_is_heard_by_one_that_was_not_running() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    define(&store);
    let (first, second) = (append(&store, "Order.paid"), append(&store, "Order.paid"));
    let run = Run::start(&store, [(first, u32::MAX)]);
    run.expect(&[first, second]);
    run.comes_to(&store, second);
    run.end();
    say(&store, dead_letter::retried(&program(&store), [Position(first)]).unwrap());
    let run = Run::start(&store, [(first, u32::MAX)]);
    run.expect(&[first]);
    let third = append(&store, "Order.paid");
    run.expect(&[third]);
    run.comes_to(&store, third);
    // It failed again, after it was tried again.
    assert_eq!(aside_now(&store), [first]);
    run.end();
}

#[test]
fn with_too_many_set_aside_it_waits() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    define(&store);
    let events: Vec<u64> = (0..dead_letter::MOST + 1).map(|_| append(&store, "Order.paid")).collect();
    let (bad, last) = events.split_at(dead_letter::MOST);
    let run = Run::start(&store, bad.iter().map(|&position| (position, u32::MAX)));
    run.expect(bad);
    run.expect_no_more();
    assert_eq!(aside_now(&store), bad);
    run.call(say(&store, dead_letter::skipped(&program(&store), [Position(bad[0])]).unwrap()));
    run.expect(last);
    run.end();
}

#[test]
fn a_crash_has_the_last_events_handed_out_again_but_nothing_set_aside_twice() {
    for fate in Fate::ALL {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        define(&store);
        let (first, second) = (append(&store, "Order.paid"), append(&store, "Order.paid"));
        let run = Run::start(&store, [(first, u32::MAX)]);
        run.expect(&[first, second]);
        run.comes_to(&store, second);
        let crashed = disk.crash(fate, 3);
        run.end();
        drop(store);
        let store = Store::open(path(), options(&crashed)).unwrap();
        let before = place(&store).position;
        let run = Run::start(&store, []);
        let third = append(&store, "Order.paid");
        // The first is set aside, and that is durable; the second may come again.
        let expected: Vec<u64> = [second, third].into_iter().filter(|&p| p > before.0).collect();
        run.expect(&expected);
        run.end();
        assert_eq!(aside_now(&store), [first], "{fate:?}");
        let entity = program(&store).target().unwrap();
        let snapshot = store.snapshot();
        let told = state(&snapshot, &ReplayPlan::of_all(entity, snapshot.head())).unwrap();
        assert_eq!(told.version.0, 2, "defined, and failed once");
        assert_ne!(told.state, Value::Null);
    }
}
