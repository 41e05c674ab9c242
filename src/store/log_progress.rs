//! The watch: how far the log may be told to those who follow it, and their waiting for more.
//!
//! One lock, whether it is closed, which is what waiters sleep on. Whoever waits looks at atomics under it, and asks its own closure,
//! which must not take this lock.

use std::time::Instant;

use super::mutex::atomic::{AtomicU64, AtomicUsize, Ordering};
use super::mutex::{Condvar, Mutex, locked};
use crate::entity::{AtomicPosition, Position};

#[derive(Debug, Default)]
pub(crate) struct LogProgress {
    synced: AtomicPosition,
    waiting: AtomicUsize,
    /// How often a definition has taken the place of another of its name without an event.
    swaps: AtomicU64,
    closed: Mutex<bool>,
    moved: Condvar,
    /// How many threads read ahead for those who are far behind.
    pub ahead: AtomicUsize,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitResult {
    /// There is more, up to here.
    To(Position),
    TimedOut,
    /// There will be no more.
    Closed,
}

impl LogProgress {
    /// The newest position known to be durable.
    pub fn synced(&self) -> Position {
        // In one order with `waiting`: whoever is about to wait sees this, or is seen waiting.
        self.synced.load(Ordering::SeqCst)
    }

    pub fn set_synced(&self, position: Position) {
        self.synced.advance(position, Ordering::SeqCst);
        self.wake();
    }

    /// Changes whenever a definition takes the place of another of its name without an event.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::SeqCst)
    }

    /// Tells that the catalog was swapped, once whoever looks sees the new one.
    pub fn set_swapped(&self) {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes all who wait, to look for themselves.
    pub fn wake(&self) {
        // Nobody waiting is the common case, and the lock is not free.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(locked(&self.closed));
            self.moved.notify_all();
        }
    }

    pub fn is_closed(&self) -> bool {
        *locked(&self.closed)
    }

    pub fn close(&self) {
        *locked(&self.closed) = true;
        self.moved.notify_all();
    }

    /// Waits until there is something durable after a position, or the deadline, or `cancelled` says so (it is asked at each wake).
    pub fn wait_past(
        &self,
        position: Position,
        deadline: Option<Instant>,
        cancelled: &dyn Fn() -> bool,
    ) -> WaitResult {
        let mut closed = locked(&self.closed);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let moved = loop {
            let synced = self.synced();
            if synced > position {
                break WaitResult::To(synced);
            }
            if *closed || cancelled() {
                break WaitResult::Closed;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            closed = match left {
                Some(left) if left.is_zero() => break WaitResult::TimedOut,
                Some(left) => self
                    .moved
                    .wait_timeout(closed, left)
                    .map_or_else(|e| e.into_inner().0, |(guard, _)| guard),
                None => self.moved.wait(closed).unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        moved
    }
}
