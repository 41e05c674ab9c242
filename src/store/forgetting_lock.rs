//! Who forgets somebody, or makes a backup: one at a time, and who waits for it can be cancelled.

use std::sync::PoisonError;
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::mutex::{Condvar, Mutex, locked};
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// After so long, who waits looks whether it is cancelled.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Held for as long as it takes to forget a subject, or to make a backup: long, where the file is large.
#[derive(Debug, Default)]
pub(crate) struct ForgettingLock {
    /// The thread that holds it.
    holder: Mutex<Option<ThreadId>>,
    free: Condvar,
}

impl ForgettingLock {
    /// Waits until nobody else holds it.
    pub fn hold(&self) -> ForgettingGuard<'_> {
        let mut holder = locked(&self.holder);
        while holder.is_some() {
            holder = self.free.wait(holder).unwrap_or_else(PoisonError::into_inner);
        }
        *holder = Some(thread::current().id());
        ForgettingGuard(self)
    }

    /// The same, until it is cancelled.
    ///
    /// # Errors
    /// [`Error::Stopped`] then, and where this thread holds it: it would wait for itself.
    pub fn hold_until(&self, cancel: &Cancel) -> Result<ForgettingGuard<'_>> {
        self.check_not_mine()?;
        let mut holder = locked(&self.holder);
        while holder.is_some() {
            cancel.check()?;
            let waited = self.free.wait_timeout(holder, LOOK_AGAIN);
            holder = waited.map_or_else(|e| e.into_inner().0, |(holder, _)| holder);
        }
        *holder = Some(thread::current().id());
        Ok(ForgettingGuard(self))
    }

    /// Refuses what would wait for this thread itself.
    pub fn check_not_mine(&self) -> Result<()> {
        if *locked(&self.holder) == Some(thread::current().id()) {
            return Err(Error::stopped(
                "a backup is being made by this very call, and nobody is forgotten meanwhile, nor another one made: do it once that has \
                 returned",
            ));
        }
        Ok(())
    }
}

/// Gives it back at its end.
#[derive(Debug)]
#[must_use]
pub(crate) struct ForgettingGuard<'l>(&'l ForgettingLock);

impl Drop for ForgettingGuard<'_> {
    fn drop(&mut self) {
        *locked(&self.0.holder) = None;
        self.0.free.notify_all();
    }
}
