//! Backfill: indexes are completed with what lies before their definitions, and the lists of those that are no more are dropped.
//!
//! Both go in slices, each one short write of the tables, so that checkpoints and appends never wait long, and both go on where
//! they were after a crash: a slice says in the same write how far it has come. What is appended after a definition has
//! its terms from the memtables; a slice adds only positions up to the definition, wherever their events are, so the two never
//! meet ([`WriteTables::append_postings`](crate::store::tables::WriteTables::append_postings) keeps them apart).
//!
//! What is to be dropped follows from what there is: lists of a definition that the catalog does not have. They stay while
//! somebody may read them, and while a memtable may bring them more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Materializer;
use super::behind::{Busy, MaterializeRound};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::store::catalog::{Catalog, Index};
use crate::store::index::term::Term;
use crate::store::mutex::locked;
use crate::store::snapshot::ScanDirection;
use crate::store::tables::indexes::Backfilled;

/// What a slice reads at most beside a number of events: so many bytes of terms, for so long.
const BYTES: usize = 4 << 20;
const READING: Duration = Duration::from_millis(50);

/// An index that the catalog has no more.
#[derive(Debug)]
pub(crate) struct Retired {
    index: Arc<Index>,
    /// What was appended up to here may have its terms.
    through: Position,
}

/// What the indexer found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackfillStep {
    /// A slice of something; there may be more.
    Worked,
    /// Nothing, but lists are to be dropped that are still read. Whoever reads them does not tell when it is done.
    Held,
    /// Nothing, until something is defined or dropped, or a memtable has moved into the tables.
    Nothing,
}

impl Materializer {
    /// Remembers the indexes that a new catalog leaves out, before anybody sees it. Says whether it is another one.
    pub(in crate::store) fn retire(
        &self,
        before: &Arc<Catalog>,
        after: &Arc<Catalog>,
        head: Position,
    ) -> bool {
        if Arc::ptr_eq(before, after) {
            return false;
        }
        if before.ended() != after.ended() {
            let left = before.without(after).map(|index| Retired { index: index.clone(), through: head });
            locked(&self.retired).extend(left);
            locked(&self.progress).ended();
        }
        true
    }

    /// Does a slice of what is to be done for what is defined: indexes, states and views. While something is replaced that the catalog still
    /// has, there is more to do: [`Shared::keep_defined`](crate::store::Shared::keep_defined) lets go of that first.
    pub(in crate::store) fn keep_defined(&self) -> Result<BackfillStep> {
        let _alone = locked(&self.slice);
        let catalog = self.kernel.applied.catalog();
        self.paces.retain(|definition| catalog.has(definition));
        self.kernel.failures.retain(|definition| catalog.has(definition));
        let mut round = MaterializeRound::default();
        self.build_indexes(self.to_build(&catalog), &mut round);
        round.add(self.through_errors(|| self.keep_states()));
        if round.end()? {
            return Ok(BackfillStep::Worked);
        }
        // Whoever holds a catalog may read the lists that it has.
        drop(catalog);
        let read = self.forget_free();
        if std::mem::replace(&mut locked(&self.progress).no_lists, true) {
            return Ok(if read { BackfillStep::Held } else { BackfillStep::Nothing });
        }
        // Until there is nothing, it is looked for again.
        let stale = self.kernel.stale().inspect_err(|_| locked(&self.progress).no_lists = false)?;
        if !stale.is_empty() {
            locked(&self.progress).no_lists = false;
        }
        let held = |definition: &Position| {
            locked(&self.retired).iter().any(|retired| retired.index.position == *definition)
        };
        if let Some(definition) = stale.iter().find(|definition| !held(definition)) {
            self.through_errors(|| {
                self.kernel.tables.write("dropping an index", |tables| {
                    tables.remove_index(*definition, self.kernel.options.index_slice.1).map(drop)
                })
            })?;
            return Ok(BackfillStep::Worked);
        }
        Ok(if read { BackfillStep::Held } else { BackfillStep::Nothing })
    }

    /// The indexes that are still to be completed.
    fn to_build(&self, catalog: &Catalog) -> Vec<Arc<Index>> {
        let done = locked(&self.progress).indexes;
        let building: Vec<_> = catalog.building_behind(done).cloned().collect();
        let done = match (building.first(), catalog.each().next_back()) {
            (Some(next), _) => next.position.previous(),
            (None, Some(last)) => last.position,
            (None, None) => return building,
        };
        locked(&self.progress).indexes = done;
        building
    }

    /// redb takes nothing more after an error of its disk, until it is opened again.
    pub(in crate::store) fn through_errors<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work().or_else(|error| {
            locked(&self.progress).forget();
            if matches!(error, Error::Io { .. }) {
                self.kernel.tables.reopen()?;
            }
            Err(error)
        })
    }

    /// Forgets the retired indexes that nobody reads and no memtable has terms of: nobody can come to them any more. Says whether one stays
    /// because it is read: whoever asks later may find that it is not, and would wait for what nobody tells.
    fn forget_free(&self) -> bool {
        let (base, mut read) = (self.kernel.applied.memtables().base(), false);
        locked(&self.retired).retain(|retired| {
            let is_read = Arc::strong_count(&retired.index) > 1;
            read |= is_read;
            is_read || retired.through > base
        });
        read
    }

    /// Whether somebody still reads the lists of an index that is no more.
    pub(in crate::store) fn is_read(&self, definition: Position) -> bool {
        let is_read =
            |retired: &Retired| retired.index.position == definition && Arc::strong_count(&retired.index) > 1;
        locked(&self.retired).iter().any(is_read)
    }

    /// Does a slice for each index that is to be completed: those that are at the same place together.
    fn build_indexes(&self, indexes: Vec<Arc<Index>>, round: &mut MaterializeRound) {
        let (mut at, mut busy) = (BTreeMap::<Position, Vec<&Index>>::new(), Busy::new());
        for index in indexes.iter().filter(|index| !self.kernel.failures.is_final(index.position)) {
            at.entry(index.backfilled()).or_default().push(index);
        }
        for chunk in at.into_values().flat_map(|indexes| self.chunks(indexes, |index| index.position)) {
            self.each_or_together(
                &chunk,
                round,
                &mut busy,
                |index| index.position,
                |chunk| self.through_errors(|| self.backfill(chunk)),
            );
        }
    }

    /// Does a slice of indexes, in one write. Says whether there was anything to do.
    fn backfill(&self, indexes: &[&Index]) -> Result<bool> {
        // A definition that a crash takes away must leave no lists behind: another one may come to its place.
        if indexes.iter().any(|index| self.kernel.log_progress.synced() < index.position) {
            self.kernel.sync_log()?;
        }
        // What is told as failed may have come through all the same: the table knows.
        let (read, mut worked, mut behind) = (self.kernel.tables.read()?, false, Vec::new());
        for index in indexes {
            let done = read.backfilled(index.position)?;
            index.set_backfilled(done);
            let Backfilled::Through(done) = done else { continue };
            worked = true;
            if !index.is_complete() {
                behind.push((*index, done));
            }
        }
        drop(read);
        let Some(done) = behind.iter().map(|(_, done)| *done).min() else { return Ok(worked) };
        let last = behind.iter().map(|(index, _)| index.position).max().unwrap_or(done);
        let limits = self.kernel.limits();
        let forgotten = self.kernel.keyring.forgotten();
        let began = Instant::now();
        let mut lists: BTreeMap<Term, Vec<Position>> = BTreeMap::new();
        let (mut through, mut bytes, mut terms) = (done, 0, Vec::new());
        let mut log =
            self.kernel.snapshot().log(PositionRange::between(done, last), ScanDirection::Ascending);
        log.lend(self.kernel.options.index_slice.0, |position, event| {
            let record = Record::open(position, event)?;
            for (index, _) in
                behind.iter().filter(|(index, done)| *done < position && position <= index.position)
            {
                if let Some(why) = index.terms(&record, &limits, &mut terms)? {
                    return Err(why);
                }
            }
            for term in terms.drain(..) {
                bytes += term.as_bytes().len() + 16;
                lists.entry(term).or_default().push(position);
            }
            through = position;
            Ok(bytes < BYTES && began.elapsed() < READING && !self.kernel.background.stopping())
        })?;
        if through == done {
            return Err(Error::corrupt("the log", format!("no event at {}", done.next())));
        }
        // Each up to its definition, and none back.
        let reached = |index: &Index, done: Position| through.min(index.position).max(done);
        let mut is_old = false;
        self.kernel.tables.write("building an index", |tables| {
            // What was read before somebody was forgotten since is read once more.
            is_old = self.kernel.keyring.forgotten() != forgotten;
            if is_old {
                return Ok(());
            }
            for (term, positions) in &lists {
                tables.append_postings(term.as_bytes(), positions)?;
            }
            behind
                .iter()
                .try_for_each(|(index, done)| tables.set_backfilled(index.position, reached(index, *done)))
        })?;
        for (index, done) in behind.into_iter().filter(|_| !is_old) {
            index.set_backfilled(Backfilled::Through(reached(index, done)));
        }
        Ok(true)
    }
}
