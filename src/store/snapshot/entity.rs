//! Entities, folded.

use std::sync::Arc;

use super::{Snapshot, Stream};
use crate::entity::Entity;
use crate::error::Result;
use crate::store::fold::{Fold, Folded, Plain};
use crate::time::Timestamp;

/// Up to where an entity is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until {
    /// Events up to and with this position.
    pub through: u64,
    /// Of those, the ones that had occurred by this instant.
    pub by: Option<Timestamp>,
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

    /// The events that the fold of an entity reads, from one position to another, both included.
    pub fn stream(&self, entity: &Entity, fold: &dyn Fold, first: u64, last: u64) -> Result<Stream> {
        Stream::new(self, entity, fold, first, last)
    }

    /// What an entity's events have made, up to some point.
    pub fn fold(&self, entity: &Entity, until: Until) -> Result<Folded> {
        let fold = self.fold_of(entity.kind())?;
        let mut folded = Folded::default();
        for event in self.stream(entity, &*fold, 1, until.through)? {
            let event = event?;
            let record = event.record()?;
            if until.by.is_none_or(|by| record.timestamp() <= by) {
                folded.add(&*fold, &record, event.own);
            }
        }
        Ok(folded)
    }
}
