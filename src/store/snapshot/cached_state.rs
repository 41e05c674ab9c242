//! What entities were, where verbs looked at them last, taken along to a snapshot.

use std::sync::Arc;

use super::{FoldBound, Snapshot};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::store::index::term::Term;
use crate::store::memtable::Memtables;
use crate::store::mutex::locked;
use crate::store::state::state_cache::CachedState;

impl Snapshot {
    /// Folds an entity where that takes nobody's time but the caller's.
    pub fn remember(&self, entity: &Entity) -> Result<()> {
        let definition = self.indexes().folded_by(entity.kind());
        let before = locked(&self.kernel.state_caches.recent).get(entity, definition, self.forgotten());
        self.kernel.counts.state_cache.count(before.is_some());
        let known = match before {
            Some(mut known) if known.through < self.head() => {
                known.follow(self, &self.kernel.applied.memtables(), entity).map(|()| known)
            }
            Some(_) => return Ok(()),
            None => CachedState::of(self, entity),
        };
        match known {
            Ok(known) => locked(&self.kernel.state_caches.recent).put(entity.clone(), known),
            Err(stopped @ Error::Stopped { .. }) => return Err(stopped),
            // Who decides by it tells what is wrong with it.
            Err(_) => {}
        }
        Ok(())
    }
}

impl CachedState {
    /// What an entity is as of a snapshot.
    pub fn of(snapshot: &Snapshot, entity: &Entity) -> Result<CachedState> {
        let definition = snapshot.indexes().folded_by(entity.kind());
        let through = snapshot.head();
        let folded = snapshot.fold(entity, FoldBound { through, by: None })?;
        Ok(CachedState { definition, forgotten: snapshot.forgotten(), folded: Arc::new(folded), through })
    }

    /// Takes it along to the head of the snapshot, of which these are the memtables or older ones.
    pub fn follow(&mut self, snapshot: &Snapshot, memtables: &Memtables, entity: &Entity) -> Result<()> {
        let head = snapshot.head();
        if self.through >= head {
            return Ok(());
        }
        let fold = snapshot.fold_of(entity.kind())?;
        // Nearly always nothing has come since, and where only its own events count their number says so.
        let is_current = memtables.head >= head
            && fold.includes().is_empty()
            && match memtables.total(&Term::entity(entity)?) {
                Some(end) => end.count == self.folded.version,
                None => self.through >= memtables.base(),
            };
        if !is_current {
            let folded = (*self.folded).clone();
            self.folded = Arc::new(snapshot.fold_all_from(folded, entity, &*fold, head)?);
        }
        self.through = head;
        Ok(())
    }
}
