//! Whether the data of an event fits the schema of its type, as that is when its turn comes.
//!
//! What takes time is done on the caller's thread, before it queues: here it is done again only if another definition holds by now, and
//! for what verbs make.

use super::{Admission, AdmissionBatch, How, Staging};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::append_request::PreparedEvent;
use crate::store::catalog::CatalogChange;
use crate::store::catalog::definition::{Definition, DefinitionKind};
use crate::store::catalog::schema::MAX_VERSIONS;

impl Admission<'_> {
    /// Refuses an event that does not fit, or notes it where the schema only warns. What is restored is what it was.
    pub(super) fn check_schema(
        self,
        batch: &AdmissionBatch,
        event: &mut PreparedEvent,
        position: Position,
        how: How,
        staging: &mut Staging,
    ) -> Result<()> {
        let Some(schema) = batch.catalog.schema(event.kind.as_str()).filter(|_| !how.restore) else {
            return Ok(());
        };
        let rule = schema.rule()?;
        let checked = event.checked.take().filter(|(definition, _)| *definition == schema.newest().position);
        let found = match checked {
            Some((_, found)) => found,
            None => rule.check(event.new.data.raw(), &self.kernel.own_limits)?,
        };
        if found.is_empty() {
            return Ok(());
        }
        if !rule.warns() {
            return Err(schema.mismatch(found).into());
        }
        staging.warnings.add(position, || schema.mismatch(found));
        Ok(())
    }
}

/// Refuses one version too many of a schema.
pub(super) fn check_versions(batch: &AdmissionBatch, change: &CatalogChange) -> Result<()> {
    let CatalogChange::Define(Definition::Event(defined)) = change else { return Ok(()) };
    let Some(schema) = batch.catalog.schema(&defined.event_type) else { return Ok(()) };
    if schema.count() < MAX_VERSIONS {
        return Ok(());
    }
    let (what, name) = (DefinitionKind::Event.word(), &defined.event_type);
    let expected = format!("at most {MAX_VERSIONS}, until DROP EVENT {name}");
    Err(Error::invalid(format!("the versions of the {what} {name}"), expected, "one more"))
}
