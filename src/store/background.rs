//! What the threads behind a database have been asked for, and those who wait for it. The threads themselves are in
//! [`threads`](super::threads).
//!
//! One lock, held for a look or a change; nothing else is taken while it is held.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::mutex::{Condvar, Mutex, MutexGuard, locked};
use crate::error::{Error, Result};

/// How long until it is looked again whether something is done, where that may have been missed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// For how many times as long as it took to look it is not looked again, and for how long at most.
const REST: u32 = 8;
const LONGEST_REST: Duration = Duration::from_millis(100);

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// What the threads have been asked for.
#[derive(Debug, Default)]
pub(crate) struct WorkRequests {
    pub checkpoint: bool,
    pub fill: bool,
    pub lead: bool,
    pub sync: bool,
    pub index: bool,
    pub stop: bool,
    /// Why the last checkpoint failed, while it has not succeeded since.
    pub failure: Option<Error>,
    /// Why an index is not built, while that has not gone on since.
    pub index_failure: Option<Error>,
}

#[derive(Debug, Default)]
pub(crate) struct Background {
    pub(super) asked: Mutex<WorkRequests>,
    pub(super) changed: Condvar,
}

impl Background {
    pub fn ask(&self, ask: impl FnOnce(&mut WorkRequests)) {
        ask(&mut locked(&self.asked));
        self.changed.notify_all();
    }

    /// Why checkpoints fail, if they do.
    #[cfg(test)]
    pub fn failure(&self) -> Option<Error> {
        locked(&self.asked).failure.clone()
    }

    /// Waits until a checkpoint is done; its error if it failed, so that nobody hangs while it is tried again.
    pub fn wait_for_checkpoint(&self, done: impl Fn() -> bool) -> Result<()> {
        let mut asked = locked(&self.asked);
        while !done() {
            if let Some(failure) = &asked.failure {
                return Err(failure.clone());
            }
            if asked.stop {
                return Err(Error::stopped("the database is being closed"));
            }
            asked = self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub fn stop(&self) {
        self.ask(|asked| asked.stop = true);
    }

    /// Waits until something is done, for so long at most; an error if indexes cannot be built. Says whether it is done.
    pub fn wait_for_indexes(&self, timeout: Duration, done: impl Fn() -> Result<bool>) -> Result<bool> {
        let until = Instant::now().checked_add(timeout);
        loop {
            // It reads the tables, and whoever has those may ask whether to stop: the lock is not held for it.
            let began = Instant::now();
            if done()? {
                return Ok(true);
            }
            // It looks at every definition, and what is done for each wakes: looking takes a small part of the time.
            let rest = (began.elapsed() * REST).min(LONGEST_REST);
            let asked = locked(&self.asked);
            if let Some(failure) = &asked.index_failure {
                return Err(failure.clone());
            }
            if asked.stop {
                return Err(Error::stopped("the database is being closed"));
            }
            // Whoever cannot say when it is to end waits as long as it takes.
            let left = until.map_or(FOR_EVER, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            // What is done between the look and the wait tells nobody: it is looked again soon.
            drop(self.wait(asked, left.min(LOOK_AGAIN)));
            self.pause(rest.min(left));
        }
    }

    pub(super) fn wait<'a>(
        &self,
        asked: MutexGuard<'a, WorkRequests>,
        at_most: Duration,
    ) -> MutexGuard<'a, WorkRequests> {
        self.changed.wait_timeout(asked, at_most).map_or_else(|e| e.into_inner().0, |(guard, _)| guard)
    }

    /// Waits so long, or until the threads are to stop.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut asked = locked(&self.asked);
        while !asked.stop && Instant::now() < until {
            asked = self.wait(asked, until.saturating_duration_since(Instant::now()));
        }
    }

    /// Whether the threads are to stop.
    pub fn stopping(&self) -> bool {
        locked(&self.asked).stop
    }
}
