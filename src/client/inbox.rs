//! What has come for a request, until it is taken.
//!
//! A channel would do, but those there are spin for a while before they wait: with as many that wait as there are requests, that took more of the
//! processor than all else together.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Arrived;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct InboxState {
    arrived: VecDeque<Arrived>,
    /// Nothing comes any more.
    closed: bool,
}

/// Nothing came in time.
pub(super) struct NothingYet;

impl Inbox {
    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, arrived: Arrived) {
        self.state().arrived.push_back(arrived);
        self.changed.notify_one();
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Waits for so long at most. None where nothing comes any more.
    pub fn take(&self, timeout: Duration) -> Result<Option<Arrived>, NothingYet> {
        let mut state = self.state();
        for last in [false, true] {
            if let Some(arrived) = state.arrived.pop_front() {
                return Ok(Some(arrived));
            }
            if state.closed {
                return Ok(None);
            }
            if !last {
                state = self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        Err(NothingYet)
    }
}
