//! What verbs see at the moment of commit: the log, with what is staged before them.

use std::sync::Arc;

use super::{Admission, AdmissionBatch, AdmissionStep};
use crate::allowance::Limits;
use crate::entity::Entity;
use crate::error::Result;
use crate::event::record::Record;
use crate::store::index::term::Term;
use crate::store::kernel::Kernel;
use crate::store::mutex::locked;
use crate::store::read_form::read_form;
use crate::store::snapshot::Snapshot;
use crate::store::state::fold::Folded;
use crate::store::state::state_cache::CachedState;
use crate::store::verb::CommitContext;
use crate::time::Timestamp;

/// So many entities are held for a batch.
const MOST: usize = 1024;

/// A batch, as of what is staged.
pub(super) struct AtCommit<'b> {
    pub admission: Admission<'b>,
    pub batch: &'b mut AdmissionBatch,
}

impl CommitContext for AtCommit<'_> {
    fn now(&self) -> Timestamp {
        self.batch.recorded.map_or(self.batch.now, |last| last.max(self.batch.now))
    }

    fn node(&self) -> String {
        self.kernel().node()
    }

    fn limits(&self) -> Limits {
        self.kernel().own_limits.clone()
    }

    fn is_told(&self) -> bool {
        self.batch.teller.is_trial()
    }

    fn tell(&mut self, lines: Vec<String>) -> Result<()> {
        self.batch.teller.tell(|| Ok(AdmissionStep::Decided(lines)))
    }

    fn folded(&mut self, entity: &Entity) -> Result<Arc<Folded>> {
        let snapshot = self.admission.snapshot_of(self.batch);
        let definition = snapshot.indexes().folded_by(entity.kind());
        let known = self.batch.known.remove(entity).filter(|known| known.definition == definition);
        let cached = || {
            let mut recent = locked(&self.kernel().state_caches.recent);
            recent.get(entity, definition, snapshot.forgotten())
        };
        let mut known = match known.or_else(cached) {
            Some(known) => known,
            None => CachedState::of(&snapshot, entity)?,
        };
        known.follow(&snapshot, &self.batch.memtables, entity)?;
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
    fn kernel(&self) -> &Kernel {
        self.admission.kernel
    }

    /// Takes it along to what is staged.
    fn follow_staged(&self, entity: &Entity, known: &mut CachedState) -> Result<()> {
        let batch = &*self.batch;
        let last = batch.next.previous();
        if known.through >= last {
            return Ok(());
        }
        let own = Term::entity(entity)?;
        let fold = self.admission.snapshot_of(batch).fold_of(entity.kind())?;
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
            let bytes = read_form(position, &staged.bytes, &batch.catalog)?;
            let event = Record::open(position, &bytes)?;
            if is_own || included.iter().any(|(_, on)| on.matches_text(event.kind())) {
                Arc::make_mut(&mut known.folded).add(&*fold, &event, is_own, &self.kernel().own_limits)?;
            }
        }
        known.through = last;
        Ok(())
    }
}

impl Admission<'_> {
    /// What is committed, with what the batch makes of the catalog.
    pub(super) fn snapshot_of(self, batch: &AdmissionBatch) -> Snapshot {
        Snapshot::new(self.kernel.clone(), batch.memtables.head, batch.catalog.clone())
    }
}
