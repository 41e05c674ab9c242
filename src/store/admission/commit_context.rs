//! What verbs see at the moment of commit: the log, with what is staged before them.

use std::sync::Arc;

use super::{AdmissionBatch, AdmissionStep};
use crate::allowance::Limits;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::store::index::term::Term;
use crate::store::memtable::Memtables;
use crate::store::snapshot::{FoldBound, Snapshot};
use crate::store::state::fold::Folded;
use crate::store::state::state_cache::CachedState;
use crate::store::verb::CommitContext;
use crate::store::{Shared, locked};
use crate::time::Timestamp;

/// So many entities are held for a batch.
const MOST: usize = 1024;

/// A batch, as of what is staged.
pub(super) struct AtCommit<'b> {
    pub shared: &'b Arc<Shared>,
    pub batch: &'b mut AdmissionBatch,
}

impl CommitContext for AtCommit<'_> {
    fn now(&self) -> Timestamp {
        self.batch.recorded.map_or(self.batch.now, |last| last.max(self.batch.now))
    }

    fn node(&self) -> String {
        self.shared.node()
    }

    fn limits(&self) -> Limits {
        self.shared.own_limits.clone()
    }

    fn is_told(&self) -> bool {
        self.batch.teller.is_trial()
    }

    fn tell(&mut self, lines: Vec<String>) -> Result<()> {
        self.batch.teller.tell(|| Ok(AdmissionStep::Decided(lines)))
    }

    fn folded(&mut self, entity: &Entity) -> Result<Arc<Folded>> {
        let snapshot = self.shared.snapshot_of(self.batch);
        let definition = snapshot.indexes().model(entity.kind()).map(|model| model.position);
        let known = self.batch.known.remove(entity).filter(|known| known.definition == definition);
        let mut known = match known.or_else(|| locked(&self.shared.recent).get(entity, definition)) {
            Some(known) => known,
            None => CachedState::of(&snapshot, entity)?,
        };
        known.follow(&snapshot, &self.batch.tails, entity)?;
        self.follow_staged(entity, &mut known)?;
        let folded = known.folded.clone();
        if self.batch.known.len() >= MOST {
            self.batch.known.clear();
        }
        self.batch.known.insert(entity.clone(), known);
        folded.check(entity)?;
        Ok(folded)
    }
}

impl AtCommit<'_> {
    /// Takes it along to what is staged.
    fn follow_staged(&self, entity: &Entity, known: &mut CachedState) -> Result<()> {
        let batch = &*self.batch;
        let last = batch.next.previous();
        if known.through >= last {
            return Ok(());
        }
        let own = Term::entity(entity)?;
        let fold = self.shared.snapshot_of(batch).fold_of(entity.kind())?;
        let version = batch.entities.get(&own).map_or(known.folded.version, |end| end.count);
        if fold.includes().is_empty() && version == known.folded.version {
            known.through = last;
            return Ok(());
        }
        let mut included = Vec::new();
        for include in fold.includes() {
            let terms = Term::tags_of_id(&include.tag, entity.id());
            included.extend(terms.into_iter().map(|term| (term, &include.on)));
        }
        let first = batch.first_staged();
        let behind = known.through.next().index_from(first).unwrap_or(0);
        for (staged, position) in batch.staged.iter().zip(first.onwards()).skip(behind) {
            let is_own = staged.terms.contains(&own);
            if !is_own && !included.iter().any(|(term, _)| staged.terms.contains(term)) {
                continue;
            }
            let event = Record::open(position, &staged.bytes)?;
            if is_own || included.iter().any(|(_, on)| on.matches_text(event.kind())) {
                Arc::make_mut(&mut known.folded).add(&*fold, &event, is_own, &self.shared.own_limits)?;
            }
        }
        known.through = last;
        Ok(())
    }
}

impl CachedState {
    /// What an entity is as of a snapshot.
    pub fn of(snapshot: &Snapshot, entity: &Entity) -> Result<CachedState> {
        let definition = snapshot.indexes().model(entity.kind()).map(|model| model.position);
        let through = snapshot.head();
        let folded = snapshot.fold(entity, FoldBound { through, by: None })?;
        Ok(CachedState { definition, folded: Arc::new(folded), through })
    }

    /// Takes it along to the head of the snapshot, of which these are the tails or older ones.
    fn follow(&mut self, snapshot: &Snapshot, tails: &Memtables, entity: &Entity) -> Result<()> {
        let head = snapshot.head();
        if self.through >= head {
            return Ok(());
        }
        let fold = snapshot.fold_of(entity.kind())?;
        // Nearly always nothing has come since, and where only its own events count their number says so.
        let is_current = tails.head >= head
            && fold.includes().is_empty()
            && match tails.total(&Term::entity(entity)?) {
                Some(end) => end.count == self.folded.version,
                None => self.through >= tails.base(),
            };
        if !is_current {
            let folded = (*self.folded).clone();
            self.folded = Arc::new(snapshot.fold_all_from(folded, entity, &*fold, head)?);
        }
        self.through = head;
        Ok(())
    }
}

impl Shared {
    /// What is committed, with what the batch makes of the catalog.
    pub(super) fn snapshot_of(self: &Arc<Shared>, batch: &AdmissionBatch) -> Snapshot {
        Snapshot::new(self.clone(), batch.tails.head, batch.catalog.clone())
    }

    /// Folds an entity where that takes nobody's time but the caller's.
    pub fn remember(&self, snapshot: &Snapshot, entity: &Entity) -> Result<()> {
        let definition = snapshot.indexes().model(entity.kind()).map(|model| model.position);
        let before = locked(&self.recent).get(entity, definition);
        let known = match before {
            Some(mut known) if known.through < snapshot.head() => {
                known.follow(snapshot, &self.applied.tails(), entity).map(|()| known)
            }
            Some(_) => return Ok(()),
            None => CachedState::of(snapshot, entity),
        };
        match known {
            Ok(known) => locked(&self.recent).put(entity.clone(), known),
            Err(stopped @ Error::Stopped { .. }) => return Err(stopped),
            // Who decides by it tells what is wrong with it.
            Err(_) => {}
        }
        Ok(())
    }
}
