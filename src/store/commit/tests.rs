//! What becomes of groups and frames: it is counted, waited for, and said where the log does not say it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::{Expect, NewEvent};
use crate::store::append_request::AppendRequest;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{Failure, Kind, SimulatedDisk};
use crate::store::journal::DatabaseId;
use crate::store::log::{AppendError, FrameAppend, JournalAfter, Log, LogFrame};
use crate::store::mutex::locked;
use crate::store::{Options, Store};

/// Longer than anything here takes that does not hang.
const LONG: Duration = Duration::from_secs(30);

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

fn options() -> Options {
    Options::new().disk(Arc::new(MemoryDisk::new())).memtable(100, 1 << 20).cache(256 << 10)
}

fn paid() -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", 1))
}

fn one(event: NewEvent) -> AppendRequest {
    AppendRequest { events: vec![event], ..AppendRequest::default() }
}

/// What is done, unless it hangs.
fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, told) = channel();
    std::thread::spawn(move || done.send(act()));
    told.recv_timeout(LONG).expect("it is done in time")
}

#[test]
fn each_group_counts_as_what_became_of_it() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options().disk(Arc::new(disk.clone()))).unwrap();
    let counted = || {
        let counts = &store.shared().counts.commits;
        [&counts.recorded, &counts.repeated, &counts.refused, &counts.failed].map(|counter| counter.get())
    };
    store.append(one(paid().key("once"))).unwrap();
    assert_eq!(counted(), [1, 0, 0, 0]);
    assert!(store.append(one(paid().key("once"))).unwrap().repeated);
    assert_eq!(counted(), [1, 1, 0, 0]);
    assert!(store.append(one(paid().expect(Expect::New))).unwrap_err().is_conflict());
    assert_eq!(counted(), [1, 1, 1, 0]);
    disk.faults().fail_after(1, Failure::of(Kind::Sync).named("-a"));
    assert_eq!(store.append(one(paid())).unwrap_err().kind(), "io");
    assert_eq!(counted(), [1, 1, 1, 1]);
    // Of all these one frame was written, with one event.
    let counts = &store.shared().counts.commits;
    assert_eq!((counts.frames.get(), counts.events.get()), (1, 1));
    assert!(counts.bytes.get() > 0);
}

#[test]
fn what_is_tried_out_has_an_outcome_and_is_not_recorded() {
    let store = Store::create(path(), options()).unwrap();
    let tried = store.try_out(one(paid()));
    assert_eq!(tried.outcome.unwrap().events[0].0, Position(1));
    let nothing = store.try_out(AppendRequest::default());
    assert!(nothing.told.is_empty() && nothing.outcome.unwrap().events.is_empty());
    assert_eq!(store.snapshot().head(), Position(0));
}

#[test]
fn a_memtable_that_takes_what_it_may_in_bytes_is_full() {
    let frozen_after_one = |bytes: usize| {
        let mut options = options().memtable(100, bytes);
        options.by_hand = true;
        let store = Store::create(path(), options).unwrap();
        store.append(one(paid())).unwrap();
        let (events, bytes) = store.shared().applied.memtables().active.size();
        assert_eq!(events, 1);
        store.append(one(paid())).unwrap();
        (store.shared().applied.memtables().active.size().0 == 1, bytes)
    };
    let (_, bytes) = frozen_after_one(1 << 20);
    assert!(frozen_after_one(bytes).0);
    assert!(!frozen_after_one(bytes + 1).0);
}

#[test]
fn whoever_waits_for_those_who_commit_goes_on_once_they_are_through() {
    let store = Store::create(path(), options()).unwrap();
    let committing = locked(&store.shared().commits.committer);
    let (through, told) = channel();
    let shared = store.shared().clone();
    std::thread::spawn(move || {
        shared.commits.commit_barrier();
        through.send(())
    });
    assert_eq!(told.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    drop(committing);
    assert_eq!(told.recv_timeout(LONG), Ok(()));
}

/// A shared log that never says what became of a frame, and from some time on answers every read with the same error.
#[derive(Debug)]
struct SilentLog {
    error: Error,
    fails: AtomicBool,
    longest_doubt: Duration,
}

impl Log for SilentLog {
    fn id(&self) -> DatabaseId {
        DatabaseId([7; 16])
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn append(&self, _frame: FrameAppend<'_>) -> Result<(), AppendError> {
        Err(AppendError::Unknown)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn read(&self, _after: Position, _until: Instant) -> Result<Vec<LogFrame>> {
        if self.fails.load(Ordering::Relaxed) { Err(self.error.clone()) } else { Ok(Vec::new()) }
    }

    fn longest_doubt(&self) -> Duration {
        self.longest_doubt
    }

    fn turn(&self, _last: Position) -> Result<bool> {
        Ok(true)
    }

    fn release(&self, _through: Position) {}

    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        settle(JournalAfter::Kept)
    }
}

/// A database whose log says nothing of frames, and this of every read.
fn in_silence(error: Error, longest_doubt: Duration) -> Store {
    let log = Arc::new(SilentLog { error, fails: AtomicBool::new(false), longest_doubt });
    let mut options = options();
    options.log = Some(log.clone());
    options.by_hand = true;
    let store = Store::create(path(), options).unwrap();
    log.fails.store(true, Ordering::Relaxed);
    store
}

#[test]
fn a_log_that_cannot_be_read_in_time_leaves_it_unknown_what_became_of_a_frame() {
    let unread = Error::io("reading the shared log", std::io::ErrorKind::TimedOut.into());
    let store = in_silence(unread, Duration::from_millis(20));
    let told = in_time(move || store.append(one(paid()))).unwrap_err();
    assert!(matches!(told, Error::Unknown { .. }), "{told}");
    assert!(told.to_string().contains("reading the shared log"), "{told}");
}

#[test]
fn a_log_that_is_damaged_behind_a_frame_in_doubt_is_said_to_be_and_takes_no_more() {
    let store = in_silence(Error::corrupt("the log", "its end at #0"), Duration::from_millis(200));
    let (first, second) = in_time(move || (store.append(one(paid())), store.append(one(paid()))));
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert!(matches!(first, Error::Corrupt { .. }), "{first}");
    assert_eq!(second.kind(), "stopped", "{second}");
}
