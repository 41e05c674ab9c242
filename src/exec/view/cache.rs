//! What is remembered of a view: one at a time has it, and others wait for it as long as they are to.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::store::snapshot::Snapshot;

/// Whoever waits asks so often whether to go on.
const STEP: Duration = Duration::from_millis(20);

pub(super) struct ViewCache<T> {
    place: Mutex<CacheSlot<T>>,
    free: Condvar,
}

struct CacheSlot<T> {
    taken: bool,
    it: Option<T>,
}

impl<T> Default for ViewCache<T> {
    fn default() -> ViewCache<T> {
        ViewCache { place: Mutex::new(CacheSlot { taken: false, it: None }), free: Condvar::new() }
    }
}

impl<T> ViewCache<T> {
    /// Takes what is remembered, once nobody else has it.
    ///
    /// # Errors
    /// If the snapshot is not to be read any more before that.
    pub fn take(&self, snapshot: &Snapshot) -> Result<Taken<'_, T>> {
        let mut place = self.locked();
        while place.taken {
            snapshot.go_on()?;
            place = self.free.wait_timeout(place, STEP).map_or_else(|e| e.into_inner().0, |(place, _)| place);
        }
        place.taken = true;
        Ok(Taken { of: self, it: place.it.take() })
    }

    fn locked(&self) -> MutexGuard<'_, CacheSlot<T>> {
        // It is taken out and put back, and whole at any time.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody has taken. It is put back when this is dropped.
pub(super) struct Taken<'r, T> {
    of: &'r ViewCache<T>,
    pub it: Option<T>,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut place = self.of.locked();
        (place.taken, place.it) = (false, self.it.take());
        drop(place);
        self.of.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::db::Db;

    #[test]
    fn whoever_waits_for_it_can_be_ended_and_the_next_has_it() {
        let db = Db::in_memory().unwrap();
        let remembered = ViewCache::<u8>::default();
        let snapshot = db.store().snapshot();
        let mut first = remembered.take(&snapshot).unwrap();
        assert_eq!(first.it, None);
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| remembered.take(&db.store().snapshot().cancelled_by(&cancel)).map(drop));
            cancel.cancel();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(remembered.take(&snapshot.clone().cancelled_by(&Cancel::after(Duration::ZERO))).is_err());
        first.it = Some(7);
        drop(first);
        assert_eq!(remembered.take(&snapshot).unwrap().it, Some(7));
        assert_eq!(remembered.take(&snapshot).unwrap().it, Some(7));
    }
}
