//! Private fields that are defined.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Catalog, Understood, not_understood};
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::private::{FieldSource, PrivateField, SubjectPath};
use crate::pattern::Pattern;

/// Which fields of which events are about a person, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrivateFields {
    pub on: Pattern,
    pub of: SubjectPath,
    pub fields: Vec<PrivateField>,
    /// Whether what events before the definition have is to be private, too.
    pub past: bool,
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

    /// That an event has a field of nobody.
    fn without_subject(&self, kind: &str, field: &PrivateField, rule: &PrivateFields) -> Error {
        let expected = format!("a subject, as PRIVATE {} says ({})", self.name, rule.of);
        Error::invalid(format!("{kind}.{field}"), expected, "an event that does not say whose it is")
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

/// Which definitions of private fields there are, of all that the log ever had: each change makes another of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct PrivateStamp {
    newest: Option<Position>,
    ended: u64,
}

impl Catalog {
    /// Which definitions of private fields these are.
    pub(in crate::store) fn private_stamp(&self) -> PrivateStamp {
        let newest = self.privates.iter().next_back().map(|defined| defined.position);
        PrivateStamp { newest, ended: self.privates.ended() }
    }

    /// Whether an event of this type may have private values.
    pub(in crate::store) fn may_be_private(&self, kind: &EventType) -> bool {
        !self.privates.is_empty() && !kind.is_internal()
    }

    /// What of an event is private: of each subject the fields that it has.
    ///
    /// # Errors
    /// If a field is there and the event does not say whose it is, or a definition is not understood: what may be private is not stored in
    /// plain.
    pub(in crate::store) fn private_values<'a>(
        &self,
        event: &impl FieldSource<'a>,
    ) -> Result<Vec<(Entity, Vec<PrivateField>)>> {
        let mut found: Vec<(Entity, Vec<PrivateField>)> = Vec::new();
        let kind = event.kind();
        if self.privates.is_empty() || kind.starts_with('$') {
            return Ok(found);
        }
        for defined in self.privates.iter() {
            let rule = defined.fields()?;
            if !rule.on.matches_text(kind) {
                continue;
            }
            let mut subject = None;
            for path in rule.fields.iter().filter(|path| path.value(event).is_some()) {
                let whose = match &subject {
                    Some(known) => known,
                    None => {
                        let told = rule.of.subject(event);
                        subject.insert(told.ok_or_else(|| defined.without_subject(kind, path, rule))?)
                    }
                };
                add_field(&mut found, whose, path.clone(), kind)?;
            }
        }
        Ok(found)
    }
}

/// Adds a field of a subject to those that an event has. Of two of which one is within the other, the wider is taken, where both are of one subject.
pub(in crate::store) fn add_field(
    found: &mut Vec<(Entity, Vec<PrivateField>)>,
    subject: &Entity,
    path: PrivateField,
    kind: &str,
) -> Result<()> {
    let meets = |other: &PrivateField| other.holds(&path) || path.holds(other);
    for (other, fields) in found.iter() {
        if other != subject
            && let Some(field) = fields.iter().find(|field| meets(field))
        {
            let expected = format!("one subject of {field} and {path}, which are both private");
            return Err(Error::invalid(format!("{kind}.{path}"), expected, format!("{other} and {subject}")));
        }
    }
    let at = match found.iter().position(|(other, _)| other == subject) {
        Some(at) => at,
        None => {
            found.push((subject.clone(), Vec::new()));
            found.len() - 1
        }
    };
    if let Some((_, fields)) = found.get_mut(at)
        && !fields.iter().any(|field| field.holds(&path))
    {
        fields.retain(|field| !path.holds(field));
        fields.push(path);
    }
    Ok(())
}
