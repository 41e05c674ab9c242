//! Snapshots of aggregates: how they are written and read, and where they are kept.
//!
//! The file keeps those of what is in its tables; the newest are on a [`SnapshotCache`] in memory, where those of the journal's events are, too.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entity::{Entity, Position, Version};
use crate::store::snapshot::{FoldBound, Snapshot};
use crate::time::Timestamp;

/// After how many events another snapshot is kept, where that is not said.
const EVERY: u64 = 100;

/// How snapshots of an aggregate are kept: under which name, and after how many events another one. The aggregate has to be serde.
///
/// A snapshot is what [`apply`](crate::Aggregate::apply) made of the events up to some point. It saves reading those again, and nothing
/// depends on it: one that cannot be read is passed over. **The name stands for what `apply` does**: whoever changes `apply`, or what
/// the type is made of, changes the name, and what was kept under the old name is not looked at again. Two aggregates need two
/// names. A field that serde skips is not in a snapshot: all that `apply` reads must be written.
///
/// ```
/// use bygone::project::SnapshotPolicy;
/// use bygone::{Aggregate, Db, Event, NewEvent, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// impl Aggregate for Account {
///     const KIND: &'static str = "Account";
///
///     fn apply(&mut self, event: &Event) -> Result<()> {
///         self.balance += event.data.parse::<Deposited>()?.amount;
///         Ok(())
///     }
///
///     fn snapshots() -> Option<SnapshotPolicy<Account>> {
///         Some(SnapshotPolicy::named("account-1").every(10)) // account-2, as soon as `apply` does something else
///     }
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposited {
///     amount: i64,
/// }
///
/// let db = Db::in_memory()?;
/// let deposited = |n| NewEvent::new("Account.deposited").on(("Account", 7)).data(&Deposited { amount: n });
/// db.append_all((1..=25).map(deposited))?;
/// assert_eq!(db.aggregate::<Account>(7)?.balance, 325);
/// assert_eq!(db.aggregate::<Account>(7)?.balance, 325); // from the snapshot at version 20
/// # Ok::<(), bygone::Error>(())
/// ```
pub struct SnapshotPolicy<A> {
    name: String,
    every: u64,
    write: fn(&A) -> Option<Vec<u8>>,
    read: fn(&[u8]) -> Option<A>,
}

impl<A: Serialize + DeserializeOwned> SnapshotPolicy<A> {
    /// Kept under a name, every 100 events.
    pub fn named(name: &str) -> SnapshotPolicy<A> {
        SnapshotPolicy {
            name: name.to_owned(),
            every: EVERY,
            // With the names of its fields: a type may leave some out.
            write: |state| rmp_serde::to_vec_named(state).ok(),
            read: |bytes| rmp_serde::from_slice(bytes).ok(),
        }
    }
}

impl<A> SnapshotPolicy<A> {
    /// After how many events another one is kept; one at least.
    pub fn every(self, events: u64) -> SnapshotPolicy<A> {
        SnapshotPolicy { every: events.max(1), ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_due(&self, version: Version) -> bool {
        version.0.is_multiple_of(self.every)
    }

    pub(crate) fn write(&self, state: &A) -> Option<Vec<u8>> {
        (self.write)(state)
    }

    pub(crate) fn read(&self, bytes: &[u8]) -> Option<A> {
        (self.read)(bytes)
    }
}

impl<A> fmt::Debug for SnapshotPolicy<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotPolicy({:?}, every {})", self.name, self.every)
    }
}

/// What is kept of an entity at one of its events. All events before it are in it: the latest time never decreases along them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AggregateSnapshot {
    pub position: Position,
    pub version: u64,
    /// The latest time that any of the events occurred.
    pub latest: Timestamp,
    /// How many of them came late.
    pub late: u64,
    #[serde(with = "shared")]
    pub bytes: Arc<[u8]>,
}

/// Bytes that are shared, as serde has them.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Arc::from)
    }
}

impl AggregateSnapshot {
    fn serves(&self, until: FoldBound) -> bool {
        self.position <= until.through && until.by.is_none_or(|by| self.latest <= by)
    }
}

/// The newest snapshot that serves, of the file or of the shelf.
pub(crate) fn load(
    shelf: &SnapshotCache,
    snapshot: &Snapshot,
    name: &str,
    entity: &Entity,
    until: FoldBound,
) -> Option<AggregateSnapshot> {
    // What was made of events before they were read in another form holds no more.
    let reformed = snapshot.indexes().reformed();
    let shelved = shelf.of(snapshot.forgotten()).load(name, entity, until.through, until.by);
    let shelved = shelved.filter(|kept| kept.position >= reformed);
    snapshot.counts().aggregate_cache.count(shelved.is_some());
    // What cannot be read of the file is as if it were not there: the log tells all that it could.
    let stored = |position| {
        let read = |bytes: Option<&[u8]>| {
            Ok(bytes.and_then(|bytes| rmp_serde::from_slice::<AggregateSnapshot>(bytes).ok()))
        };
        let kept = snapshot.with_named_snapshot(name, entity, position, read).ok().flatten();
        kept.filter(|kept| kept.position >= reformed)
    };
    let mut newest = stored(until.through);
    if newest.as_ref().is_some_and(|kept| !kept.serves(until)) {
        // The last of those that serve: it is found by halving.
        let (mut low, mut high) =
            (Position::START, newest.take().map_or(Position::START, |kept| kept.position));
        while low < high {
            let middle = low.midway(high);
            match stored(middle) {
                Some(kept) if !kept.serves(until) => high = kept.position.min(middle),
                Some(kept) => {
                    newest = Some(kept);
                    low = middle.next();
                }
                None => low = middle.next(),
            }
        }
    }
    shelved.into_iter().chain(newest).max_by_key(|kept| kept.position)
}

/// Keeps one more, where it is found at once, and, if it can be, in the file.
pub(crate) fn keep(
    shelf: &SnapshotCache,
    snapshot: &Snapshot,
    name: &str,
    entity: &Entity,
    kept: AggregateSnapshot,
) {
    if let Ok(bytes) = rmp_serde::to_vec(&kept) {
        // A snapshot that is not taken is no loss.
        let _ = snapshot.keep_snapshot(name, entity, kept.position, bytes);
    }
    // What was read before somebody was forgotten since is kept nowhere.
    if snapshot.knows_who_is_forgotten() {
        shelf.of(snapshot.forgotten()).keep(name, entity, kept);
    }
}

/// How many bytes of snapshots are kept: those that were kept first go first.
const MOST: usize = 32 << 20;

/// Snapshots in memory, for all handles to a database.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCache(Mutex<CachedSnapshots>);

/// A name, an entity, a position.
type SnapshotKey = (Arc<str>, Entity, Position);

#[derive(Debug, Default)]
struct CachedSnapshots {
    kept: BTreeMap<SnapshotKey, AggregateSnapshot>,
    /// The keys, as they came.
    order: VecDeque<SnapshotKey>,
    bytes: usize,
    /// How many subjects had been forgotten when these were made.
    forgotten: usize,
}

impl SnapshotCache {
    /// What is kept since the last subject was forgotten: what was made before may have its values.
    fn of(&self, forgotten: usize) -> &SnapshotCache {
        let mut shelved = self.shelved();
        if shelved.forgotten != forgotten {
            *shelved = CachedSnapshots { forgotten, ..CachedSnapshots::default() };
        }
        drop(shelved);
        self
    }

    fn shelved(&self) -> MutexGuard<'_, CachedSnapshots> {
        // Whoever panicked while holding it left it whole: nothing below does so between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot at or before a position. If a time is asked for, all that is in it had occurred by then.
    pub fn load(
        &self,
        name: &str,
        entity: &Entity,
        through: Position,
        by: Option<Timestamp>,
    ) -> Option<AggregateSnapshot> {
        let key = |position| (Arc::from(name), entity.clone(), position);
        let shelved = self.shelved();
        let range = (Bound::Included(key(Position::START)), Bound::Included(key(through)));
        let usable = |kept: &&AggregateSnapshot| by.is_none_or(|by| kept.latest <= by);
        shelved.kept.range(range).rev().map(|(_, kept)| kept).find(usable).cloned()
    }

    /// Keeps one more.
    pub fn keep(&self, name: &str, entity: &Entity, kept: AggregateSnapshot) {
        let mut shelved = self.shelved();
        let key = (Arc::from(name), entity.clone(), kept.position);
        let CachedSnapshots { kept: all, order, bytes, forgotten: _ } = &mut *shelved;
        *bytes += size(&key, &kept);
        match all.insert(key.clone(), kept) {
            Some(before) => *bytes -= size(&key, &before),
            None => order.push_back(key),
        }
        while *bytes > MOST
            && let Some(first) = order.pop_front()
        {
            if let Some(gone) = all.remove(&first) {
                *bytes -= size(&first, &gone);
            }
        }
    }
}

/// About what one takes.
fn size((name, entity, _): &SnapshotKey, kept: &AggregateSnapshot) -> usize {
    2 * (name.len() + entity.kind().len() + entity.id().len()) + kept.bytes.len() + 200
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(position: u64, latest: i64, bytes: usize) -> AggregateSnapshot {
        let latest = Timestamp::from_millis(latest);
        AggregateSnapshot {
            position: Position(position),
            version: position,
            latest,
            late: 0,
            bytes: vec![0; bytes].into(),
        }
    }

    #[test]
    fn the_newest_that_is_of_use_is_loaded() {
        let (shelf, entity) = (SnapshotCache::default(), Entity::from(("Account", 7)));
        shelf.keep("a", &entity, kept(10, 100, 1));
        shelf.keep("a", &entity, kept(20, 300, 1));
        let load = |name, entity: &Entity, through, by: Option<i64>| {
            let found = shelf.load(name, entity, through, by.map(Timestamp::from_millis));
            found.map(|kept| kept.position)
        };
        assert_eq!(load("a", &entity, Position(9), None), None);
        assert_eq!(load("a", &entity, Position(10), None), Some(Position(10)));
        assert_eq!(load("a", &entity, Position(99), None), Some(Position(20)));
        assert_eq!(load("a", &entity, Position(99), Some(299)), Some(Position(10)));
        assert_eq!(load("a", &entity, Position(99), Some(300)), Some(Position(20)));
        assert_eq!(load("a", &entity, Position(99), Some(99)), None);
        assert_eq!(load("b", &entity, Position(99), None), None);
        assert_eq!(load("a", &Entity::from(("Account", 70)), Position(99), None), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (shelf, entity) = (SnapshotCache::default(), Entity::from(("Account", 7)));
        for round in 0..2 {
            for position in 1..=100 {
                shelf.keep("a", &entity, kept(position, 0, 1 << 20));
            }
            let shelved = shelf.shelved();
            assert!(shelved.bytes <= MOST && shelved.kept.len() > 20, "round {round}");
            assert_eq!(shelved.kept.len(), shelved.order.len());
            let real: usize = shelved.kept.iter().map(|(key, kept)| size(key, kept)).sum();
            assert_eq!(shelved.bytes, real);
        }
        assert!(shelf.load("a", &entity, Position(100), None).is_some());
    }
}
