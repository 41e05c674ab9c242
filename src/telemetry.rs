//! Telemetry: what a database counts of its own work, and the spans that it tells `tracing` of.
//!
//! Counts are relaxed atomics that are added to where the work is done, and read by whoever asks; nobody waits for them. What a leader
//! adds to lies apart from what many threads add to, so that they do not take each other's cache lines. Two things have a lock, and both
//! are rare: errors by their kind, and subscriptions that are opened and dropped.
//!
//! Nothing here holds data of events: positions, counts, bytes, times and the names of definitions.

mod exposition;
mod histogram;
pub(crate) mod metrics;
pub(crate) mod span;
mod statement;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) use histogram::Histogram;
use span::Span;
pub(crate) use statement::{StatementKind, StatementTimer};

use crate::error::Result;
use crate::position::Position;
use crate::time::Timestamp;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What an open database has counted so far.
#[derive(Debug)]
pub(crate) struct Counts {
    /// When it was opened, by the clock of the system.
    pub opened: Timestamp,
    pub commits: CommitCounts,
    pub checkpoints: Histogram,
    pub failed_checkpoints: Counter,
    /// Of each kind of statement how long they took.
    statements: [Histogram; StatementKind::COUNT],
    statement_errors: Mutex<BTreeMap<&'static str, u64>>,
    pub statement_cache: CacheCounts,
    pub state_cache: CacheCounts,
    pub view_cache: CacheCounts,
    pub aggregate_cache: CacheCounts,
    /// Of each kind of program, in the order of [`ProgramCounts::KINDS`].
    programs: [ProgramCounts; ProgramCounts::KINDS.len()],
    subscriptions: Mutex<BTreeMap<u64, Arc<AtomicU64>>>,
    subscribed: Counter,
}

/// What the leader counts, and whoever syncs. On cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CommitCounts {
    /// Groups that were recorded.
    pub recorded: Counter,
    /// Groups of which a key was used already.
    pub repeated: Counter,
    /// Groups that were refused as the log stood.
    pub refused: Counter,
    /// Groups that failed otherwise.
    pub failed: Counter,
    pub events: Counter,
    /// Events that do not fit their schemas, which only warn.
    pub unfit: Counter,
    /// Of frames, as they are written.
    pub bytes: Counter,
    pub frames: Counter,
    pub syncs: Histogram,
    pub failed_syncs: Counter,
}

/// How often something was remembered.
#[derive(Debug, Default)]
pub(crate) struct CacheCounts {
    pub hits: Counter,
    pub misses: Counter,
}

impl CacheCounts {
    pub fn count(&self, is_hit: bool) {
        if is_hit { self.hits.add(1) } else { self.misses.add(1) }
    }
}

/// What reactions, or webhooks, or schedules did.
#[derive(Debug, Default)]
pub(crate) struct ProgramCounts {
    pub done: Counter,
    /// Tries that failed.
    pub failed: Counter,
    /// Tries after the first.
    pub retries: Counter,
    pub set_aside: Counter,
}

impl ProgramCounts {
    /// Their words, as definitions have them.
    pub const KINDS: [&'static str; 3] = ["reaction", "webhook", "schedule"];

    /// Counts a try, which is the first or a later one.
    pub fn tried(&self, attempt: u32, is_done: bool) {
        if is_done {
            self.done.add(1)
        } else {
            self.failed.add(1)
        }
        if attempt > 1 {
            self.retries.add(1);
        }
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            opened: Timestamp::now(),
            commits: CommitCounts::default(),
            checkpoints: Histogram::default(),
            failed_checkpoints: Counter::default(),
            statements: Default::default(),
            statement_errors: Mutex::default(),
            statement_cache: CacheCounts::default(),
            state_cache: CacheCounts::default(),
            view_cache: CacheCounts::default(),
            aggregate_cache: CacheCounts::default(),
            programs: Default::default(),
            subscriptions: Mutex::default(),
            subscribed: Counter::default(),
        }
    }
}

impl Counts {
    /// Syncs the log, in a span and by the clock.
    pub fn sync(&self, through: Position, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        timed(&span::sync(through), &self.commits.syncs, &self.commits.failed_syncs, sync)
    }

    /// Moves a memtable, in a span and by the clock.
    pub fn checkpoint<T>(&self, through: Position, work: impl FnOnce() -> Result<T>) -> Result<T> {
        timed(&span::checkpoint(through), &self.checkpoints, &self.failed_checkpoints, work)
    }

    /// What programs of a kind did, by its word.
    pub fn program(&self, kind: &str) -> &ProgramCounts {
        let at = ProgramCounts::KINDS.iter().position(|known| *known == kind);
        &self.programs[at.unwrap_or_default()]
    }

    /// How long statements of a kind took.
    pub fn statements(&self, kind: StatementKind) -> &Histogram {
        &self.statements[kind as usize]
    }

    /// Counts a statement that ended with an error of this kind.
    pub fn statement_failed(&self, error: &'static str) {
        *whole(&self.statement_errors).entry(error).or_default() += 1;
    }

    /// How many statements ended with an error, by its kind.
    pub fn statement_errors(&self) -> BTreeMap<&'static str, u64> {
        whole(&self.statement_errors).clone()
    }

    /// Counts a subscription until what this gives is dropped.
    pub fn subscribe(self: &Arc<Counts>, after: Position) -> OpenSubscription {
        self.subscribed.add(1);
        let place = Arc::new(AtomicU64::new(after.0));
        let mut all = whole(&self.subscriptions);
        // The numbers grow, so the next one is free.
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, place.clone());
        drop(all);
        OpenSubscription { counts: self.clone(), number, place }
    }

    /// How many subscriptions were opened, how many are open, and where the slowest of those is.
    pub fn subscriptions(&self) -> (u64, usize, Option<Position>) {
        let all = whole(&self.subscriptions);
        let slowest = all.values().map(|place| place.load(Ordering::Relaxed)).min();
        (self.subscribed.get(), all.len(), slowest.map(Position))
    }
}

fn timed<T>(
    span: &Span,
    times: &Histogram,
    failures: &Counter,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let _within = span.enter();
    let began = Instant::now();
    let done = work();
    match &done {
        Ok(_) => times.observe(began.elapsed()),
        Err(_) => failures.add(1),
    }
    done
}

/// What is locked here is changed in single steps.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscription that is counted.
#[derive(Debug)]
pub(crate) struct OpenSubscription {
    counts: Arc<Counts>,
    number: u64,
    place: Arc<AtomicU64>,
}

impl OpenSubscription {
    /// Everything up to here has been looked at.
    pub fn is_at(&self, position: Position) {
        self.place.store(position.0, Ordering::Relaxed);
    }
}

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        whole(&self.counts.subscriptions).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn subscriptions_are_counted_while_they_are_open() {
        let counts = Arc::new(Counts::default());
        assert_eq!(counts.subscriptions(), (0, 0, None));
        let (first, second) = (counts.subscribe(Position(7)), counts.subscribe(Position(3)));
        assert_eq!(counts.subscriptions(), (2, 2, Some(Position(3))));
        second.is_at(Position(9));
        assert_eq!(counts.subscriptions(), (2, 2, Some(Position(7))));
        drop(first);
        let third = counts.subscribe(Position(1));
        drop(second);
        assert_eq!(counts.subscriptions(), (3, 1, Some(Position(1))));
        drop(third);
        assert_eq!(counts.subscriptions(), (3, 0, None));
    }

    #[test]
    fn what_fails_is_counted_and_its_time_is_not() {
        let counts = Counts::default();
        counts.sync(Position(1), || Ok(())).unwrap();
        counts.sync(Position(2), || Err(Error::stopped("the disk is gone"))).unwrap_err();
        assert_eq!((counts.commits.syncs.count(), counts.commits.failed_syncs.get()), (1, 1));
    }

    #[test]
    fn each_kind_of_program_has_counts_of_its_own() {
        let counts = Counts::default();
        for kind in crate::definition::DefinitionKind::ALL {
            let is_program = matches!(kind, crate::definition::DefinitionKind::Program(_));
            assert_eq!(ProgramCounts::KINDS.contains(&kind.word()), is_program, "{}", kind.word());
        }
        counts.program("webhook").tried(2, false);
        let failed = ProgramCounts::KINDS.map(|kind| counts.program(kind).failed.get());
        assert_eq!((failed, counts.program("webhook").retries.get()), ([0, 1, 0], 1));
    }
}
