//! How the store takes its mutexes, and which they are: those of the system, or of a scheduler that tries their orders (`schedules/`).

use std::sync::PoisonError;

#[cfg(not(bygone_schedules))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

#[cfg(bygone_schedules)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};

/// Takes a mutex, whatever happened to who held it before.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is changed in single steps: a thread that panicked left nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
