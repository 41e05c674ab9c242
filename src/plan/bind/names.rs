//! What binding asks of the log: what names mean, which there are, and where points are. It is all that binding sees of a snapshot.

use std::fmt;
use std::sync::Arc;

use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::{Event, EventId};
use crate::store::catalog::Catalog;
use crate::store::index::term::Term;
use crate::store::snapshot::{IdRange, ScanDirection, Snapshot, StateAccess, StateSelection};
use crate::store::verb::VerbHandler;

/// The names of a log and its points, as of a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    snapshot: &'a Snapshot,
}

impl<'a> Names<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Names<'a> {
        Names { snapshot }
    }

    /// What is defined.
    pub fn catalog(self) -> &'a Catalog {
        self.snapshot.indexes()
    }

    /// Why a definition is not kept in the background, if it is not.
    pub fn failure(self, definition: Position) -> Option<Error> {
        self.snapshot.failure(definition)
    }

    /// The verb of this name that the program added.
    pub fn added_verb(self, name: &str) -> Option<Arc<dyn VerbHandler>> {
        self.snapshot.added_verb(name)
    }

    /// All verbs that the program added.
    pub fn added_verbs(self) -> Vec<(String, Arc<dyn VerbHandler>)> {
        self.snapshot.added_verbs()
    }

    /// The subscriptions that have a name.
    pub fn subscriptions(self) -> Vec<String> {
        self.snapshot.subscriptions()
    }

    /// Whether an event is about an entity of a kind.
    pub fn has_kind(self, kind: &str) -> Result<bool> {
        self.snapshot.has_kind(kind)
    }

    /// The kinds of entities that events are about.
    pub fn kinds(self) -> Result<Vec<String>> {
        self.snapshot.kinds()
    }

    /// Whether an event was emitted with an index value of a name.
    pub fn has_tag(self, name: &str) -> Result<bool> {
        self.snapshot.has_tag(name)
    }

    /// The names of index values that events were emitted with, so many at most.
    pub fn tag_names(self, most: usize) -> Result<Vec<String>> {
        self.snapshot.tag_names(most)
    }

    /// The types of events that begin with a text, each with the term that its events have.
    pub fn types(self, prefix: &str) -> Result<Vec<(String, Term)>> {
        self.snapshot.types(prefix)
    }

    /// Whether an event has a term.
    pub fn has_term(self, term: Term) -> Result<bool> {
        let first = self.snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending).next();
        Ok(first.transpose()?.is_some())
    }

    /// The head: no point lies beyond it.
    pub fn head(self) -> Position {
        self.snapshot.head()
    }

    /// The event at a position.
    pub fn event(self, position: Position) -> Result<Option<Event>> {
        self.snapshot.event(position)
    }

    /// Where the event of an id is.
    pub fn position_of(self, id: &EventId) -> Result<Option<Position>> {
        self.snapshot.position_of(id)
    }

    /// How many events of an entity there were at a position.
    pub fn version_at(self, entity: &Entity, position: Position) -> Result<Version> {
        self.snapshot.until(position).version(entity)
    }

    /// What an evaluation may make, in bytes.
    pub fn largest_value(self) -> usize {
        self.snapshot.options().largest_value
    }

    /// The newest events that have a term, so many at most, for hints.
    pub fn newest(self, term: Term, most: usize) -> Result<Vec<(Position, Arc<[u8]>)>> {
        let mut newest = Vec::new();
        for position in self.snapshot.list(term, PositionRange::ALL, ScanDirection::Descending).take(most) {
            let position = position?;
            let bytes = self.snapshot.read(|view| view.event(position))?;
            newest.extend(bytes.map(|bytes| (position, bytes)));
        }
        Ok(newest)
    }

    /// States of some entities of a kind, so many at most, for hints.
    pub fn some_states(self, kind: &str, most: usize) -> Result<Vec<Vec<u8>>> {
        let ids = match self.snapshot.way_to_states(kind)? {
            StateAccess::Kept => StateSelection::ALL,
            // No more than are looked at are folded.
            _ => {
                let ids = self.snapshot.ids(kind, IdRange::ALL)?;
                StateSelection::Ids(ids.take(most).collect::<Result<_>>()?)
            }
        };
        let mut some: Vec<Vec<u8>> = Vec::new();
        self.snapshot.states(kind, ids)?.lend(|_, kept| {
            if kept.fault.is_none() && !kept.state.is_null() {
                some.push(kept.state.0.to_vec());
            }
            Ok(some.len() < most)
        })?;
        Ok(some)
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names(as of {})", self.head())
    }
}
