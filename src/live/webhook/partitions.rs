//! Lanes: what happened to one entity is told one after the other, and what happened to others meanwhile.
//!
//! An event goes to the lane of its target, and each lane is worked by a thread. An event that is not taken is tried again and holds
//! back its lane alone, until it is set aside. Lanes keep positions, not events, and run ahead of each other by a window only: what is
//! held in memory, and what is told twice after a crash, is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::DeliveryFailure;
use super::backoff::Backoff;
use super::window::InFlightWindow;
use crate::error::{Error, Result};

/// How events are told.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub lanes: usize,
    /// How far lanes may run ahead of each other, in events that are told.
    pub window: usize,
    /// After so many an event is set aside.
    pub attempts: u32,
    pub backoff: Backoff,
}

/// Whoever tells an event.
pub(super) trait Post: Sync {
    /// Tries to. Attempts are counted from 1.
    fn attempt(&self, position: u64, attempt: u32) -> Result<(), DeliveryFailure>;

    /// Gives it up, and puts that on record.
    ///
    /// # Errors
    /// If that is not possible: then it is not given up, and everything ends.
    fn set_aside(&self, position: u64, attempts: u32, why: &str) -> Result<()>;
}

/// An event that is to be told.
#[derive(Debug, Clone, Copy)]
struct Task {
    position: u64,
    /// Who said that it is to be told again, where somebody did.
    said: Option<u64>,
}

pub(super) type News = Arc<dyn Fn(&Partitions) + Send + Sync>;

pub(super) struct Partitions {
    rules: Rules,
    state: Mutex<PartitionsState>,
    changed: Condvar,
    /// Called when something was done, failed, or all of it ended.
    news: News,
}

struct PartitionsState {
    queues: Vec<VecDeque<Task>>,
    events: InFlightWindow,
    /// Of what was said of events that had been set aside.
    heard: InFlightWindow,
    /// How many events each thing that was said is about, and that are not done.
    held: BTreeMap<u64, usize>,
    /// What is tried again now, by its lane.
    failing: BTreeMap<usize, Trouble>,
    ended: bool,
    broken: Option<Error>,
}

impl PartitionsState {
    /// What was said is not done before another event is.
    fn hold(&mut self, said: u64) {
        let held = self.held.entry(said).or_default();
        *held += 1;
        if *held == 1 {
            self.heard.begin(said);
        }
    }

    fn release(&mut self, said: u64) {
        let Some(held) = self.held.get_mut(&said) else { return };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&said);
            self.heard.done(said);
        }
    }
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub position: u64,
    pub attempts: u32,
    /// When it is tried again.
    pub next: Instant,
    pub why: String,
}

impl Partitions {
    /// Everything up to `after` is done, and everything that was said up to `heard` was heard.
    pub fn new(rules: Rules, after: u64, heard: u64, news: News) -> Partitions {
        let state = PartitionsState {
            queues: vec![VecDeque::new(); rules.lanes.max(1)],
            events: InFlightWindow::after(after),
            heard: InFlightWindow::after(heard),
            held: BTreeMap::new(),
            failing: BTreeMap::new(),
            ended: false,
            broken: None,
        };
        Partitions { rules, state: Mutex::new(state), changed: Condvar::new(), news }
    }

    fn state(&self) -> MutexGuard<'_, PartitionsState> {
        // It is changed in single steps: a thread that panicked left nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lanes there are.
    pub fn count(&self) -> usize {
        self.rules.lanes.max(1)
    }

    /// Whether another event may be handed out.
    pub fn has_room(&self) -> bool {
        self.state().events.len() < self.rules.window.max(1)
    }

    /// Whether there is so much room that it is worth while to read on.
    pub fn has_much_room(&self) -> bool {
        self.state().events.len() <= self.rules.window / 2
    }

    /// Hands out the next event. It goes to the lane of its target; those without one go to one lane.
    pub fn hand(&self, position: u64, target: Option<(&str, &str)>) {
        let mut state = self.state();
        state.events.begin(position);
        let lane = self.lane(target);
        state.queues[lane].push_back(Task { position, said: None });
        self.changed.notify_all();
    }

    /// Up to here there is nothing else to tell.
    pub fn pass(&self, position: u64) {
        self.state().events.pass(position);
    }

    /// Hands out again what was set aside, as was said at a position.
    pub fn again(&self, position: u64, target: Option<(&str, &str)>, said: u64) {
        let mut state = self.state();
        state.hold(said);
        let lane = self.lane(target);
        state.queues[lane].push_back(Task { position, said: Some(said) });
        self.changed.notify_all();
    }

    /// Up to here nothing else was said.
    pub fn hear(&self, position: u64) {
        self.state().heard.pass(position);
    }

    /// Up to where everything is done, and up to where everything was heard.
    pub fn places(&self) -> (u64, u64) {
        let state = self.state();
        (state.events.place(), state.heard.place())
    }

    /// What is tried again now, and is the furthest back.
    pub fn trouble(&self) -> Option<Trouble> {
        self.state().failing.values().min_by_key(|trouble| trouble.position).cloned()
    }

    /// Whether all that was handed out is done.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.events.len() == 0 && state.heard.len() == 0
    }

    /// Ends all lanes: waits end now, a request under way with its time limit.
    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
        (self.news)(self);
    }

    pub fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Why it ended, if nobody ended it.
    pub fn broken(&self) -> Option<Error> {
        self.state().broken.clone()
    }

    fn break_with(&self, error: Error) {
        self.state().broken.get_or_insert(error);
        self.end();
    }

    /// The same target has the same lane, always.
    fn lane(&self, target: Option<(&str, &str)>) -> usize {
        let Some(target) = target else { return 0 };
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        // The remainder is less than the count, which is a usize.
        (hasher.finish() % self.count() as u64) as usize
    }

    /// Works one lane, until all are ended.
    pub fn work(&self, lane: usize, post: &dyn Post) {
        let _guard = PanicGuard(self);
        while let Some(task) = self.next(lane) {
            match self.deliver(lane, task.position, post) {
                Ok(true) => self.finish(lane, task),
                Ok(false) => return,
                Err(error) => return self.break_with(error),
            }
        }
    }

    fn next(&self, lane: usize) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.ended {
                return None;
            }
            if let Some(task) = state.queues[lane].pop_front() {
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells an event as often as it takes. False if it all ended before.
    fn deliver(&self, lane: usize, position: u64, post: &dyn Post) -> Result<bool> {
        let mut attempt = 0u32;
        loop {
            attempt += 1;
            let Err(failure) = post.attempt(position, attempt) else { return Ok(true) };
            let DeliveryFailure { why, asked, hopeless } = failure;
            if hopeless || attempt >= self.rules.attempts {
                post.set_aside(position, attempt, &why)?;
                return Ok(true);
            }
            let pause = self.rules.backoff.wait(attempt, asked);
            let now = Instant::now();
            let next = now.checked_add(pause).unwrap_or(now);
            self.state().failing.insert(lane, Trouble { position, attempts: attempt, next, why });
            (self.news)(self);
            if !self.wait(pause) {
                return Ok(false);
            }
        }
    }

    /// Waits before the next attempt. False if it all ended meanwhile.
    fn wait(&self, how_long: Duration) -> bool {
        let until = Instant::now().checked_add(how_long);
        let mut state = self.state();
        loop {
            if state.ended {
                return false;
            }
            let left = until.map_or(how_long, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn finish(&self, lane: usize, task: Task) {
        let mut state = self.state();
        state.failing.remove(&lane);
        match task.said {
            Some(said) => state.release(said),
            None => state.events.done(task.position),
        }
        drop(state);
        (self.news)(self);
    }
}

/// Ends all lanes when the thread of one unwinds: an event that nobody tells would hold them back for ever.
struct PanicGuard<'l>(&'l Partitions);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.break_with(Error::stopped(
                "a lane of the webhook failed in a way that is a fault of this program",
            ));
        }
    }
}

#[cfg(test)]
mod tests;
