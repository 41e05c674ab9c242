//! How the store takes its mutexes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a mutex, whatever happened to who held it before.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is changed in single steps: a thread that panicked left nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
