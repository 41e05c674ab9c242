//! Schemas of events: what the data of a type's events is to be.
//!
//! The store asks an [`EventSchema`] as an event is admitted. It cannot work one out: the catalog is given them, as all definitions.

use std::fmt;

use crate::allowance::{Limits, Unmade};
use crate::document::{Document, Raw};
use crate::error::{MemberMismatch, Result, SchemaMismatch};
use crate::event::private::ForgottenFields;
use crate::position::Position;

/// How much that does not fit is told of one event; the rest is counted.
const TOLD: usize = 8;

/// What the data of events is to be.
pub(crate) trait EventSchema: Send + Sync + fmt::Debug {
    /// What of an event's data does not fit.
    ///
    /// # Errors
    /// If somebody ended it: that says nothing of the data.
    fn check(&self, data: Raw, limits: &Limits) -> Result<Mismatches>;

    /// Whether what does not fit is told, and appended all the same.
    fn warns(&self) -> bool;

    /// Whether members that it does not name do not fit.
    fn is_strict(&self) -> bool;

    /// Whether it says how events of the version before are read.
    fn has_upcast(&self) -> bool;

    /// What data of the version before is read as. What it makes of forgotten fields is forgotten, and null where it cannot be made.
    fn upcast(
        &self,
        data: Raw,
        forgotten: Option<&ForgottenFields>,
        limits: &Limits,
    ) -> Result<UpcastData, Unmade>;
}

/// Data in the form of another version.
#[derive(Debug, Clone)]
pub(crate) struct UpcastData {
    pub data: Document,
    /// By the names of that version.
    pub forgotten: Option<ForgottenFields>,
}

/// What of an event's data does not fit; nothing, where it fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mismatches {
    pub members: Vec<MemberMismatch>,
    /// How many beside them.
    pub more: u64,
}

impl Mismatches {
    /// Adds one, which is made only if it is told.
    pub fn add(&mut self, mismatch: impl FnOnce() -> MemberMismatch) {
        match self.members.len() < TOLD {
            true => self.members.push(mismatch()),
            false => self.more += 1,
        }
    }

    /// Whether the data fits.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Events of a group that were appended though they do not fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SchemaWarnings {
    /// The first of them.
    pub told: Vec<(Position, SchemaMismatch)>,
    /// How many there are.
    pub count: u64,
}

impl SchemaWarnings {
    /// Adds one.
    pub fn add(&mut self, position: Position, mismatch: impl FnOnce() -> SchemaMismatch) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push((position, mismatch()));
        }
    }
}
