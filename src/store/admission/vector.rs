//! Vector clocks at the door: what an entity itself is said to have made follows from what it has made so far.

use super::commit_context::AtCommit;
use super::{Admission, AdmissionBatch};
use crate::error::{Error, Result, shorten};
use crate::store::append_request::PreparedEvent;
use crate::store::verb::CommitContext;

impl Admission<'_> {
    /// Refuses an event that its target is said to have made here, and that cannot be its next.
    pub(super) fn check_vector(self, batch: &mut AdmissionBatch, event: &PreparedEvent) -> Result<()> {
        let producer =
            event.new.producer.as_ref().filter(|producer| Some(&producer.model) == event.target.as_ref());
        let Some((entity, vector)) = producer.and_then(|made| Some((&made.model, made.vector.as_ref()?)))
        else {
            return Ok(());
        };
        let node = self.kernel.node();
        // Nearly always it was made elsewhere, and knows of nothing that was made here.
        if vector.get(&node) == 0 {
            return Ok(());
        }
        let folded = AtCommit { admission: self, batch }.folded(entity);
        // Events are counted, whether or not they can be folded.
        let clock = match (folded, batch.known.get(entity)) {
            (Err(Error::Unfoldable { .. }), Some(known)) => known.folded.clock.clone(),
            (folded, _) => folded?.clock.clone(),
        };
        clock.admits(&node, vector).map_err(|expected| {
            Error::invalid(format!("the vector clock of {entity}"), expected, shorten(&vector.to_string()))
        })
    }
}
