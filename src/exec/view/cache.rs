//! What is remembered of views that are read. Of each, one reader at a time has it, and others wait for it as long as they are to.
//!
//! The store knows nothing of it: it keeps what is in the tables. A database has one [`ViewCaches`] beside its store, and each read is given it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::read::Memory;
use crate::entity::Position;
use crate::error::Result;
use crate::store::catalog::DefinedView;
use crate::store::snapshot::Snapshot;

/// Whoever waits asks so often whether to go on.
const STEP: Duration = Duration::from_millis(20);

/// What is remembered of the views of one database, by the positions of their definitions.
#[derive(Default)]
pub(crate) struct ViewCaches {
    views: Mutex<BTreeMap<Position, RememberedView>>,
    /// How many subjects had been forgotten when these were read.
    forgotten: AtomicUsize,
}

struct RememberedView {
    /// It is there as long as somebody has it.
    definition: Weak<DefinedView>,
    cache: Arc<ViewCache>,
}

/// What is remembered of one view.
#[derive(Default)]
pub(super) struct ViewCache {
    pub groups: CacheSlot<Memory>,
    /// More than is remembered: its groups are read as they are asked for. There are never fewer later.
    pub large: AtomicBool,
}

impl ViewCaches {
    /// What is remembered of a view. What is remembered of those that are gone is forgotten.
    pub(super) fn of(&self, view: &Arc<DefinedView>, forgotten: usize) -> Arc<ViewCache> {
        // It is whole at any time.
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten.swap(forgotten, Ordering::AcqRel) != forgotten {
            // They may have values of the last one.
            views.clear();
        }
        views.retain(|_, remembered| remembered.definition.strong_count() > 0);
        let new = || RememberedView { definition: Arc::downgrade(view), cache: Arc::default() };
        views.entry(view.position).or_insert_with(new).cache.clone()
    }
}

impl fmt::Debug for ViewCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewCaches")
    }
}

/// What one at a time has.
pub(super) struct CacheSlot<T> {
    place: Mutex<SlotContent<T>>,
    free: Condvar,
}

struct SlotContent<T> {
    taken: bool,
    it: Option<T>,
}

impl<T> Default for CacheSlot<T> {
    fn default() -> CacheSlot<T> {
        CacheSlot { place: Mutex::new(SlotContent { taken: false, it: None }), free: Condvar::new() }
    }
}

impl<T> CacheSlot<T> {
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

    fn locked(&self) -> MutexGuard<'_, SlotContent<T>> {
        // It is taken out and put back, and whole at any time.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody has taken. It is put back when this is dropped.
pub(super) struct Taken<'r, T> {
    of: &'r CacheSlot<T>,
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
    fn a_view_is_remembered_as_long_as_it_is_there() {
        let caches = ViewCaches::default();
        let remembered = |events: u64| {
            let db = Db::in_memory().unwrap();
            for _ in 0..events {
                db.append(crate::event::NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
            }
            db.query("DEFINE VIEW v AS EVENTS SELECT count() AS n").unwrap();
            let view = db.store().snapshot().indexes().view("v").unwrap().clone();
            assert!(Arc::ptr_eq(&caches.of(&view, 0), &caches.of(&view, 0)));
            caches.views.lock().unwrap().len()
        };
        assert_eq!([remembered(0), remembered(1)], [1, 1]);
    }

    #[test]
    fn whoever_waits_for_it_can_be_ended_and_the_next_has_it() {
        let db = Db::in_memory().unwrap();
        let remembered = CacheSlot::<u8>::default();
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
