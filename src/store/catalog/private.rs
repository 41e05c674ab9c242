//! Private fields that are defined.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Catalog, Understood, not_understood};
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::private::{FieldSource, PrivateField, SubjectPath, ValuePlace};
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
    pub(in crate::store) fn without_subject(
        &self,
        kind: &str,
        field: &PrivateField,
        rule: &PrivateFields,
    ) -> Error {
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

    /// The definitions that say what is private of events of a type.
    ///
    /// # Errors
    /// If one is not understood: it may be of such events.
    pub(in crate::store) fn privates_of<'c>(
        &'c self,
        kind: &'c str,
    ) -> impl Iterator<Item = Result<(&'c CatalogPrivate, &'c PrivateFields)>> {
        let all = (!kind.starts_with('$')).then(|| self.privates.iter()).into_iter().flatten();
        all.filter_map(move |defined| match defined.fields() {
            Ok(rule) => rule.on.matches_text(kind).then_some(Ok((&**defined, &**rule))),
            Err(error) => Some(Err(error)),
        })
    }

    /// Finds what of an event is private: of each subject the fields that it has, and where their values are. What was found before is gone.
    ///
    /// # Errors
    /// If a field is there and the event does not say whose it is, or a definition is not understood: what may be private is not stored in
    /// plain.
    pub(in crate::store) fn find_private<'a>(
        &self,
        event: &impl FieldSource<'a>,
        found: &mut FoundFields<ValuePlace>,
    ) -> Result<()> {
        found.subjects.clear();
        found.fields.clear();
        let kind = event.kind();
        for matching in self.privates_of(kind) {
            let (defined, rule) = matching?;
            let mut subject = None;
            for field in &rule.fields {
                let Some(place) = field.place(event) else { continue };
                let whose = match subject {
                    Some(known) => known,
                    None => {
                        let told = rule.of.subject(event);
                        let told = told.ok_or_else(|| defined.without_subject(kind, field, rule))?;
                        *subject.insert(found.subject(told))
                    }
                };
                found.add(whose, field.clone(), place, kind)?;
            }
        }
        Ok(())
    }
}

/// What of an event is private, of several subjects; with each field goes what else is known of it.
#[derive(Debug, Clone)]
pub(in crate::store) struct FoundFields<V> {
    /// Some may have no field.
    pub subjects: Vec<Entity>,
    pub fields: Vec<FoundField<V>>,
}

#[derive(Debug, Clone)]
pub(in crate::store) struct FoundField<V> {
    /// Among the subjects.
    pub subject: usize,
    pub field: PrivateField,
    pub value: V,
}

impl<V> Default for FoundFields<V> {
    fn default() -> FoundFields<V> {
        FoundFields { subjects: Vec::new(), fields: Vec::new() }
    }
}

impl<V> FoundFields<V> {
    /// Which of the subjects one is. It is one from now on.
    pub fn subject(&mut self, subject: Entity) -> usize {
        match self.subjects.iter().position(|other| *other == subject) {
            Some(at) => at,
            None => {
                self.subjects.push(subject);
                self.subjects.len() - 1
            }
        }
    }

    /// Adds a field of a subject. Of two of which one is within the other, the wider is taken, where both are of one subject.
    ///
    /// # Errors
    /// Where they are of two.
    pub fn add(&mut self, subject: usize, field: PrivateField, value: V, kind: &str) -> Result<()> {
        let of_other = |other: &&FoundField<V>| other.subject != subject && other.field.meets(&field);
        if let Some(other) = self.fields.iter().find(of_other) {
            let whose = |at: usize| self.subjects.get(at).map(ToString::to_string).unwrap_or_default();
            let expected = format!("one subject of {} and {field}, which are both private", other.field);
            let found = format!("{} and {}", whose(other.subject), whose(subject));
            return Err(Error::invalid(format!("{kind}.{field}"), expected, found));
        }
        // Those that meet it are of the same subject.
        if !self.fields.iter().any(|other| other.field.holds(&field)) {
            self.fields.retain(|other| !field.holds(&other.field));
            self.fields.push(FoundField { subject, field, value });
        }
        Ok(())
    }

    /// Of each subject that has some the fields.
    pub fn into_values(self) -> Vec<(Entity, Vec<PrivateField>)> {
        let fields = self.fields;
        let of = |at: usize| {
            let own = fields.iter().filter(move |found| found.subject == at);
            own.map(|found| found.field.clone()).collect::<Vec<_>>()
        };
        let each = self.subjects.into_iter().enumerate().map(|(at, subject)| (subject, of(at)));
        each.filter(|(_, fields)| !fields.is_empty()).collect()
    }
}
