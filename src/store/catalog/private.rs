//! Private fields that are defined.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Catalog, Understood, not_understood};
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::private::{PrivateField, SubjectPath};
use crate::event::record::Record;
use crate::pattern::Pattern;

/// Which fields of which events are about a person, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrivateFields {
    pub on: Pattern,
    pub of: SubjectPath,
    pub fields: Vec<PrivateField>,
}

/// A definition of private fields.
#[derive(Clone)]
pub(crate) struct CatalogPrivate {
    /// Where its definition is.
    pub position: Position,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    pub(super) fields: Understood<PrivateFields>,
}

impl CatalogPrivate {
    /// What it says.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn fields(&self) -> Result<&Arc<PrivateFields>> {
        self.fields.as_ref().map_err(|why| not_understood("private fields", &self.name, self.position, why))
    }
}

impl fmt::Debug for CatalogPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Private({} at {})", self.name, self.position)
    }
}

impl DefinitionEntry for CatalogPrivate {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> Position {
        self.position
    }
}

impl Catalog {
    /// Whether an event of this type may have private values.
    pub(in crate::store) fn may_be_private(&self, kind: &EventType) -> bool {
        !self.privates.is_empty() && !kind.is_internal()
    }

    /// What of an event is private: of each subject the fields that it has.
    ///
    /// # Errors
    /// If a field is there and the event does not say whose it is, or a definition is not understood: what may be private is not stored in
    /// plain.
    pub(in crate::store) fn private_values(
        &self,
        event: &Record,
    ) -> Result<Vec<(Entity, Vec<PrivateField>)>> {
        let mut found: Vec<(Entity, Vec<PrivateField>)> = Vec::new();
        if self.privates.is_empty() || event.kind().starts_with('$') {
            return Ok(found);
        }
        for defined in self.privates.iter() {
            let rule = defined.fields()?;
            if !rule.on.matches_text(event.kind()) {
                continue;
            }
            let taken = |path: &PrivateField, found: &[(Entity, Vec<PrivateField>)]| {
                found
                    .iter()
                    .flat_map(|(_, fields)| fields)
                    .any(|other| other.holds(path) || path.holds(other))
            };
            let there: Vec<PrivateField> = rule
                .fields
                .iter()
                .filter(|path| path.value(event).is_some() && !taken(path, &found))
                .cloned()
                .collect();
            let Some(first) = there.first() else { continue };
            let subject = rule.of.subject(event).ok_or_else(|| {
                let what = format!("{}.{first}", event.kind());
                let expected = format!("a subject, as PRIVATE {} says ({})", defined.name, rule.of);
                Error::invalid(what, expected, "an event that does not say whose it is")
            })?;
            match found.iter_mut().find(|(other, _)| *other == subject) {
                Some((_, fields)) => fields.extend(there),
                None => found.push((subject, there)),
            }
        }
        Ok(found)
    }
}
