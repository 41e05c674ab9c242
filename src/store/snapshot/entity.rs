//! Entities, folded: from the nearest that is kept, or from the beginning.
//!
//! What is kept spares reading, and changes nothing: whatever it is, the events behind it are read from the log.

use std::sync::Arc;
use std::time::Duration;

use super::{ReadTxn, Snapshot, Stream};
use crate::entity::{Entity, Position, PositionRange};
use crate::error::Result;
use crate::store::index::term::Term;
use crate::store::state::fold::{EVERY, Fold, Folded, Plain};
use crate::store::state::fold_run::FoldRun;
use crate::store::state::stored_state::StoredState;
use crate::store::state_caches::MadeSnapshot;
use crate::store::tables::states::SnapshotOwner;
use crate::time::Timestamp;

/// Up to where an entity is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoldBound {
    /// Events up to and with this position.
    pub through: Position,
    /// Of those, the ones that had occurred by this instant.
    pub by: Option<Timestamp>,
}

impl FoldBound {
    /// Whether all that was folded there had occurred.
    fn has(&self, latest: Option<Timestamp>) -> bool {
        self.by.is_none_or(|by| latest.is_none_or(|latest| latest <= by))
    }
}

/// Where a snapshot is, without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    position: Position,
    events: u64,
    lowest: i64,
    late: u64,
    lateness: u64,
    latest: Option<Timestamp>,
}

impl Mark {
    fn of(kept: &StoredState) -> Mark {
        let StoredState { position, events, lowest, late, lateness, latest, .. } = *kept;
        Mark { position, events, lowest, late, lateness, latest }
    }
}

impl Snapshot {
    /// What events make of the states of a kind of entities.
    ///
    /// # Errors
    /// If this version does not understand how it is defined.
    pub fn fold_of(&self, kind: &str) -> Result<Arc<dyn Fold>> {
        match self.catalog.model(kind) {
            Some(model) => model.fold().cloned(),
            None => Ok(Arc::new(Plain)),
        }
    }

    /// The events that the fold of an entity reads, within a range.
    pub fn stream(&self, entity: &Entity, fold: &dyn Fold, range: PositionRange) -> Result<Stream> {
        Stream::new(self, entity, fold, range)
    }

    /// What an entity's events have made, up to some point.
    pub fn fold(&self, entity: &Entity, until: FoldBound) -> Result<Folded> {
        let fold = self.fold_of(entity.kind())?;
        let until = FoldBound { through: until.through.min(self.head), ..until };
        let snapshots = EntitySnapshots::of(self, entity)?;
        let (mut folded, mark) = snapshots.around(until)?;
        let (Some(by), Some(mut mark)) = (until.by, mark) else {
            self.fold_on(&mut folded, entity, &*fold, until, true)?;
            return Ok(folded);
        };
        // Behind the first snapshot that holds something later, what had occurred by then is late: stretches in which nothing
        // is late are passed over, and all of those behind which it would be later than anything ever was.
        self.fold_on(&mut folded, entity, &*fold, FoldBound { through: mark.position, by: Some(by) }, true)?;
        let (horizon, newest) = snapshots.horizon(by, until.through)?.unwrap_or((Position::MAX, mark));
        loop {
            mark = snapshots.last_without_more_late(mark, until.through)?;
            // Only onwards: snapshots that were kept since may lie behind that one.
            if (horizon..newest.position).contains(&mark.position) {
                mark = newest;
            }
            let next = snapshots.after(mark.position)?.filter(|next| next.position <= until.through);
            // What is between two that follow each other is known to be later, where it is.
            if let Some(next) = next.filter(|next| {
                next.events.saturating_sub(mark.events) <= fold.every() && next.lowest > by.as_millis()
            }) {
                mark = next;
                continue;
            }
            let through = next.map_or(until.through, |next| next.position);
            let mut from = folded.clone();
            from.position = mark.position;
            self.fold_on(&mut from, entity, &*fold, FoldBound { through, by: Some(by) }, false)?;
            // The position is that of the last that was folded.
            if from.events > folded.events {
                folded = from;
            }
            match next {
                Some(next) => mark = next,
                None => return Ok(folded),
            }
        }
    }

    /// What all events of an entity up to a position have made, without anything that is kept.
    pub fn fold_all(&self, entity: &Entity, fold: &dyn Fold, through: Position) -> Result<Folded> {
        self.fold_all_from(Folded::default(), entity, fold, through)
    }

    /// The same, from what those up to some position have made.
    pub fn fold_all_from(
        &self,
        mut folded: Folded,
        entity: &Entity,
        fold: &dyn Fold,
        through: Position,
    ) -> Result<Folded> {
        self.fold_on(&mut folded, entity, fold, FoldBound { through, by: None }, false)?;
        Ok(folded)
    }

    /// What the newest snapshot up to a position has made.
    pub fn fold_kept(&self, entity: &Entity, through: Position) -> Result<Folded> {
        let snapshots = EntitySnapshots::of(self, entity)?;
        let found = self.read(|view| snapshots.before(view, FoldBound { through, by: None }))?;
        Ok(found.unwrap_or_default())
    }

    /// Folds the events behind what was folded. Snapshots of plain entities that are missing on the way are kept, if it has all
    /// events up to there.
    fn fold_on(
        &self,
        folded: &mut Folded,
        entity: &Entity,
        fold: &dyn Fold,
        until: FoldBound,
        mut keep: bool,
    ) -> Result<()> {
        if folded.position >= until.through {
            return Ok(());
        }
        keep &= self.catalog.model(entity.kind()).is_none();
        let mut stream = self.stream(entity, fold, PositionRange::between(folded.position, until.through))?;
        let mut run = FoldRun::new(std::mem::take(folded), fold, self.limits());
        while let Some(event) = stream.lend()? {
            let record = event.record()?;
            if until.by.is_none_or(|by| record.timestamp() <= by) {
                run.add(&record, event.own)?;
                if keep && run.version().is_multiple_of(EVERY) {
                    self.keep_missing(entity, run.folded()?)?;
                }
            } else {
                keep = false;
            }
        }
        *folded = run.finish()?;
        Ok(())
    }

    /// Takes a snapshot of a plain entity that should have been made before: its turn did not come before the file was closed.
    fn keep_missing(&self, entity: &Entity, folded: &Folded) -> Result<()> {
        if folded.position >= self.catalog.reformed()
            && folded.position <= self.read(|view| Ok(view.checkpoint))?
        {
            let (term, bytes) = (Term::entity(entity)?, folded.encode()?);
            let made = MadeSnapshot {
                name: None,
                entity: term,
                position: folded.position,
                bytes,
                forgotten: self.forgotten(),
            };
            self.kernel.keep_snapshot(made);
        }
        Ok(())
    }

    /// Lends the newest snapshot that a program's own type left of an entity, at or before a position.
    pub fn with_named_snapshot<T>(
        &self,
        name: &str,
        entity: &Entity,
        position: Position,
        mut with: impl FnMut(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let term = Term::entity(entity)?;
        self.read(|view| {
            view.read.with_snapshot(
                SnapshotOwner::Named(name),
                &term,
                position.min(self.head),
                false,
                &mut with,
            )
        })
    }

    /// Takes a snapshot of a program's own type, to be written when there is time.
    pub fn keep_snapshot(
        &self,
        name: &str,
        entity: &Entity,
        position: Position,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let (name, entity) = (Some(name.to_owned()), Term::entity(entity)?);
        let forgotten = self.forgotten();
        self.kernel.keep_snapshot(MadeSnapshot { name, entity, position, bytes, forgotten });
        Ok(())
    }
}

/// What is kept of an entity.
struct EntitySnapshots<'s> {
    snapshot: &'s Snapshot,
    definition: Option<Position>,
    id: &'s str,
    term: Term,
}

impl<'s> EntitySnapshots<'s> {
    fn of(snapshot: &'s Snapshot, entity: &'s Entity) -> Result<EntitySnapshots<'s>> {
        let definition = snapshot.catalog.model(entity.kind()).map(|model| model.position);
        Ok(EntitySnapshots { snapshot, definition, id: entity.id(), term: Term::entity(entity)? })
    }

    fn owner(&self) -> SnapshotOwner<'static> {
        self.definition.map_or(SnapshotOwner::Plain, SnapshotOwner::Model)
    }

    /// The newest that serves, and the first snapshot behind it, which holds something that had not occurred by then. Both are
    /// of one read: between two, more may be kept, and the first behind the one may be one that serves.
    fn around(&self, until: FoldBound) -> Result<(Folded, Option<Mark>)> {
        self.snapshot.read(|view| {
            let folded = match self.current(view, until)? {
                Some(folded) => folded,
                None => self.before(view, until)?.unwrap_or_default(),
            };
            let mark = match until.by {
                None => None,
                Some(_) => self.first_after(view, folded.position)?,
            };
            Ok((folded, mark.filter(|mark| mark.position <= until.through && !until.has(mark.latest))))
        })
    }

    /// The state that is kept current, if it serves.
    fn current(&self, view: &ReadTxn, until: FoldBound) -> Result<Option<Folded>> {
        let Some(definition) = self.definition else { return Ok(None) };
        let limits = self.snapshot.limits();
        view.read.with_state(definition, self.id, |bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let kept = StoredState::open(bytes)?;
            let serves = kept.position <= until.through && until.has(kept.latest);
            serves.then(|| kept.to_folded(&limits)).transpose()
        })
    }

    fn marked<T>(
        &self,
        view: &ReadTxn,
        position: Position,
        after: bool,
        with: impl FnOnce(&StoredState) -> Result<T>,
    ) -> Result<Option<T>> {
        // A definition has snapshots of its own. Those of a plain entity hold events as they were read then.
        let reformed = match self.definition {
            Some(_) => Position::START,
            None => self.snapshot.catalog.reformed(),
        };
        let position = if after { position.max(reformed.previous()) } else { position };
        view.read.with_snapshot(self.owner(), &self.term, position, after, |bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let kept = StoredState::open(bytes)?;
            if kept.position < reformed { Ok(None) } else { with(&kept).map(Some) }
        })
    }

    /// The newest snapshot that serves. What had occurred latest never decreases along them: it is found by halving.
    fn before(&self, view: &ReadTxn, until: FoldBound) -> Result<Option<Folded>> {
        let mut upto = until.through;
        let Some(newest) = self.marked(view, upto, false, |kept| Ok(Mark::of(kept)))? else {
            return Ok(None);
        };
        if !until.has(newest.latest) {
            // One before the first that does not serve does, if any does.
            upto = self.first_later(view, newest, until)?.previous();
        }
        let limits = self.snapshot.limits();
        let found = self.marked(view, upto, false, |kept| {
            until.has(kept.latest).then(|| kept.to_folded(&limits)).transpose()
        })?;
        Ok(found.flatten())
    }

    /// Where the first snapshot is that holds something later; the newest does.
    fn first_later(&self, view: &ReadTxn, newest: Mark, until: FoldBound) -> Result<Position> {
        let (mut low, mut high) = (Position::START, newest.position);
        while low < high {
            let middle = low.midway(high);
            match self.marked(view, middle, false, |kept| Ok(Mark::of(kept)))? {
                Some(found) if !until.has(found.latest) => high = found.position.min(middle),
                // From the one found up to the middle there is none.
                Some(_) | None => low = middle.next(),
            }
        }
        Ok(low)
    }

    /// From where on nothing up to the newest snapshot had occurred by some instant, and that snapshot: what has been said before
    /// is later by more than any event ever was late.
    fn horizon(&self, by: Timestamp, through: Position) -> Result<Option<(Position, Mark)>> {
        self.snapshot.read(|view| {
            let newest = self.marked(view, through, false, |kept| Ok(Mark::of(kept)))?;
            let Some(newest) = newest else { return Ok(None) };
            let by = by.saturating_add(Duration::from_millis(newest.lateness));
            let until = FoldBound { through, by: Some(by) };
            if until.has(newest.latest) {
                return Ok(None);
            }
            Ok(Some((self.first_later(view, newest, until)?, newest)))
        })
    }

    /// The first snapshot behind a position.
    fn after(&self, position: Position) -> Result<Option<Mark>> {
        self.snapshot.read(|view| self.first_after(view, position))
    }

    fn first_after(&self, view: &ReadTxn, position: Position) -> Result<Option<Mark>> {
        self.marked(view, position, true, |kept| Ok(Mark::of(kept)))
    }

    /// The last snapshot up to a position before which no more events were late than before this one. How many were never
    /// decreases along them.
    fn last_without_more_late(&self, mark: Mark, through: Position) -> Result<Mark> {
        self.snapshot.read(|view| {
            let mut last = mark;
            let (mut low, mut high) = (mark.position.next(), through.next());
            while low < high {
                let middle = low.midway(high);
                match self.marked(view, middle, false, |kept| Ok(Mark::of(kept)))? {
                    Some(found) if found.late > mark.late => high = found.position.min(middle),
                    Some(found) => {
                        last = found;
                        low = middle.next();
                    }
                    None => low = middle.next(),
                }
            }
            Ok(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::{Options, Store};

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_millis(minute as i64 * 60_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn what_is_found_by_halving_is_what_a_look_at_each_finds(
            steps in prop::collection::vec((1u64..9, 0u64..3, 0u64..2), 0..24),
            apart in prop_oneof![Just(1u64), Just(1 << 40)],
            asked in prop::collection::vec((0u64..120, 0u64..40), 1..12),
        ) {
            let options = Options::new().disk(Arc::new(MemoryDisk::new())).journal_steps(4096, 8192);
            let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
            let (entity, mut last) = (Entity::from(("Order", 1)), Folded::default());
            let term = Term::entity(&entity).unwrap();
            let mut marks = Vec::new();
            for (further, later, late) in steps {
                let latest = last.latest.map_or(at(later), |latest| at(latest.as_millis() as u64 / 60_000 + later));
                last = Folded {
                    position: last.position.plus(further * apart),
                    latest: Some(latest),
                    late: last.late + late,
                    ..last
                };
                marks.push(last.clone());
            }
            let put = |tables: &mut crate::store::tables::WriteTables| {
                marks.iter().try_for_each(|mark| {
                    tables.put_snapshot(SnapshotOwner::Plain, &term, mark.position, mark.encode()?)
                })
            };
            store.shared().tables.write("planting", put).unwrap();
            let snapshot = store.snapshot();
            let snapshots = EntitySnapshots::of(&snapshot, &entity).unwrap();
            for (through, by) in asked {
                let until = FoldBound { through: Position(through * apart), by: Some(at(by)) };
                let serves = |mark: &&Folded| mark.position <= until.through && until.has(mark.latest);
                let found = snapshot.read(|view| snapshots.before(view, until)).unwrap();
                prop_assert_eq!(found.as_ref(), marks.iter().rev().find(serves));
                for mark in &marks {
                    let like = |other: &&Folded| other.position <= until.through && other.late == mark.late;
                    let expected = marks.iter().rev().find(like).map_or(mark.position, |found| found.position);
                    let Folded { position, events, lowest, late, lateness, latest, .. } = *mark;
                    let from = Mark { position, events, lowest, late, lateness, latest };
                    let found = snapshots.last_without_more_late(from, until.through).unwrap();
                    prop_assert_eq!(found.position, expected.max(mark.position));
                }
            }
        }
    }
}
