//! Indexes: what leads from a value to the events that have it, from a definition on.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::definition::IndexDefinition;
use super::definition_set::DefinitionEntry;
use super::not_understood;
use crate::allowance::{Limits, Unmade};
use crate::entity::{AtomicPosition, NameText, Position};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::store::index::term::{IndexKey, Term};
use crate::store::tables::indexes::Backfilled;

/// The expression of what only declares a name.
const DECLARES: &str = "NULL";

/// An index, from its definition on.
pub(crate) struct Index {
    /// Where its definition is. Its own lists belong to that, so that another of this name has others.
    pub position: Position,
    definition: IndexDefinition,
    /// Up to where it holds what lies before the definition.
    backfilled: AtomicPosition,
    /// It was not kept up: it holds nothing that can be relied on.
    invalid: AtomicBool,
    /// An earlier version made it by other rules: it is of no more use.
    outdated: AtomicBool,
}

impl Index {
    pub(super) fn new(position: Position, definition: IndexDefinition) -> Index {
        let (invalid, outdated) = (AtomicBool::new(false), AtomicBool::new(false));
        Index { position, definition, backfilled: AtomicPosition::default(), invalid, outdated }
    }

    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// Whether it holds the rows of a view.
    pub fn is_of_view(&self) -> bool {
        self.definition.of_view
    }

    /// Of which events.
    pub fn on(&self) -> &Pattern {
        &self.definition.on
    }

    /// What of them, in the canonical text of the expression.
    pub fn text(&self) -> &str {
        &self.definition.text
    }

    /// The same, compiled: see [`Derive`](super::Derive).
    pub fn expression(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.definition.derive.as_ref().ok()?.expression()
    }

    /// Whether it holds every event that it is to hold. Only then it answers anything.
    pub fn is_complete(&self) -> bool {
        self.is_kept() && (self.only_declares() || self.backfilled() >= self.position)
    }

    /// Whether it holds nothing, whatever the events are: its name is one of `INDEX BY` alone.
    pub fn only_declares(&self) -> bool {
        self.definition.text == DECLARES
    }

    /// Whether it holds, or will hold, every event that it is to hold; otherwise only a new definition helps.
    pub fn is_kept(&self) -> bool {
        self.is_understood() && !self.invalid.load(Ordering::Acquire)
    }

    /// Why it does not answer, and what to do; nothing, where it will.
    pub fn why_not_kept(&self) -> Option<String> {
        if let Err(error) = &self.definition.derive {
            return Some(not_understood("index", self.name(), self.position, error).to_string());
        }
        let why = match self.outdated.load(Ordering::Acquire) {
            true => "an earlier version made it, which took a time and a text for two sorts",
            false => "events are missing in it, because it could not be evaluated when they were written",
        };
        (!self.is_kept()).then(|| format!("{why}; define it anew"))
    }

    /// Says that its expression could not be evaluated for an event that is in the log all the same.
    pub(in crate::store) fn set_invalid(&self) {
        self.invalid.store(true, Ordering::Release);
    }

    /// Whether it could be worked out, and yet holds nothing that can be relied on, and never will.
    pub fn is_invalid(&self) -> bool {
        self.is_understood() && !self.is_kept()
    }

    /// Whether this version can work out its expression.
    pub fn is_understood(&self) -> bool {
        self.definition.derive.is_ok()
    }

    /// Up to where it holds what lies before its definition.
    pub fn backfilled(&self) -> Position {
        self.backfilled.load(Ordering::Acquire)
    }

    pub(in crate::store) fn set_backfilled(&self, backfilled: Backfilled) {
        match backfilled {
            Backfilled::Through(through) => self.backfilled.store(through, Ordering::Release),
            Backfilled::Invalid => self.set_invalid(),
            Backfilled::Outdated => {
                self.outdated.store(true, Ordering::Release);
                self.set_invalid();
            }
        }
    }

    /// How much of what lies before its definition it holds, of a hundred.
    pub fn percent(&self) -> u64 {
        if self.only_declares() {
            return 100;
        }
        let percent = u128::from(self.backfilled().0) * 100 / u128::from(self.position.0.max(1));
        u64::try_from(percent.min(100)).unwrap_or(100)
    }

    /// The list of what it holds under a key; none for a key that it cannot hold.
    pub fn term(&self, key: &IndexKey) -> Option<Term> {
        Term::derived(self.position, key)
    }

    /// What it holds an event under; nothing, if it is not of such events.
    pub fn keys(&self, event: &Record, limits: &Limits) -> Result<Vec<IndexKey>, Unmade> {
        let mut keys = Vec::new();
        if let Ok(derive) = &self.definition.derive
            && self.definition.on.matches_text(event.kind())
        {
            derive.keys(event, limits, &mut keys)?;
        }
        Ok(keys)
    }

    /// Why there is nothing of an event in it, and what to do.
    fn unmade(&self, unmade: Unmade) -> Error {
        let (what, drop) = if self.is_of_view() { ("view", "DROP VIEW") } else { ("index", "DROP INDEX") };
        match Error::from(unmade) {
            Error::Invalid { expected, found, .. } => {
                let found = format!("{found}; or {drop} {}", NameText(self.name()));
                Error::invalid(format!("the {what} {}", NameText(self.name())), expected, found)
            }
            error => error,
        }
    }

    /// Whether it can hold such a value.
    pub fn holds(&self, key: &IndexKey) -> bool {
        self.term(key).is_some()
    }

    /// Adds the terms of an event, each once. Where it cannot be evaluated for it, there are none, and it says why.
    pub(in crate::store) fn terms(
        &self,
        event: &Record,
        limits: &Limits,
        terms: &mut Vec<Term>,
    ) -> Result<Option<Error>> {
        let keys = match self.keys(event, limits) {
            Ok(keys) => keys,
            Err(Unmade::Ended(error)) => return Err(error),
            Err(unmade) => return Ok(Some(self.unmade(unmade))),
        };
        let first = terms.len();
        terms.extend(keys.iter().filter_map(|key| self.term(key)));
        if terms.len() > first + 1 {
            let mut own = terms.split_off(first);
            own.sort_unstable();
            own.dedup();
            terms.append(&mut own);
        }
        Ok(None)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({:?} at {}, {}%)", self.definition, self.position, self.percent())
    }
}

impl DefinitionEntry for Index {
    fn name(&self) -> &str {
        &self.definition.name
    }

    fn position(&self) -> Position {
        self.position
    }

    fn sort(&self) -> u8 {
        u8::from(self.is_of_view())
    }
}
