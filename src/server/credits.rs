//! Flow control: how many rows a client is ready to take. Who has none left waits, and holds up nobody else.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// The credits of a request.
#[derive(Debug)]
pub(super) struct Credits {
    left: Mutex<CreditsLeft>,
    changed: Condvar,
}

#[derive(Debug)]
struct CreditsLeft {
    /// Below zero, where a row was larger than what was left. None: any number of rows may be sent.
    number: Option<i64>,
    /// The client sends no more: none can come.
    last: bool,
}

impl Credits {
    pub fn new(first: Option<u64>) -> Credits {
        let left = CreditsLeft { number: first.map(clamped), last: false };
        Credits { left: Mutex::new(left), changed: Condvar::new() }
    }

    fn left(&self) -> MutexGuard<'_, CreditsLeft> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, more: u64) {
        let mut left = self.left();
        left.number = left.number.map(|number| number.saturating_add(clamped(more)));
        self.changed.notify_all();
    }

    /// None can come any more: who waits for them ends.
    pub fn end(&self) {
        self.left().last = true;
        self.changed.notify_all();
    }

    /// Whoever waits looks whether it was cancelled.
    pub fn wake(&self) {
        // With the lock: who has looked and does not wait yet would miss it.
        let _left = self.left();
        self.changed.notify_all();
    }

    /// Whether a row may be sent now.
    pub fn any(&self) -> bool {
        self.left().number.is_none_or(|number| number > 0)
    }

    pub fn spend(&self, credits: u64) {
        let mut left = self.left();
        left.number = left.number.map(|number| number.saturating_sub(clamped(credits)));
    }

    /// Waits until a row may be sent.
    pub fn wait(&self, cancel: &Cancel) -> Result<()> {
        let mut left = self.left();
        while left.number.is_some_and(|number| number <= 0) {
            cancel.check()?;
            if left.last {
                return Err(Error::stopped(
                    "its client took all rows that it had credits for, and sends no more",
                ));
            }
            left = match cancel.deadline() {
                None => self.changed.wait(left).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let time = deadline.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(left, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Ok(())
    }
}

fn clamped(credits: u64) -> i64 {
    i64::try_from(credits).unwrap_or(i64::MAX)
}
