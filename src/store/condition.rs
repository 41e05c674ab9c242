//! Conditions: what must not be in the log, checked at the moment of commit.
//!
//! A condition is looked up on the caller's own thread, up to the head, before its group queues; the leader looks only at what has come
//! since, what is staged included ([`super::admission`]). So what may take time takes nobody else's.

use std::fmt;
use std::sync::Arc;

use super::catalog::{Catalog, Compile};
use super::index::term::Term;
use super::snapshot::Snapshot;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::ExpectNone;
use crate::event::record::Record;

/// Events of which there must be none. Its text says which.
pub(crate) trait CommitCondition: fmt::Debug + fmt::Display + Send + Sync {
    /// One of them behind a position, if there is any.
    fn find(&self, snapshot: &Snapshot, after: Position) -> Result<Option<Position>>;

    /// Whether an event is one of them.
    fn is_met_by(&self, event: &Record, limits: &Limits) -> Result<bool>;

    /// Lists of which one at least holds each of them; none where lists do not tell. They are those of events that are appended by
    /// this catalog.
    fn lists(&self, _catalog: &Catalog) -> Option<&[Term]> {
        None
    }
}

/// Makes of texts what works them out: of definitions, and of what must not be in the log.
pub(crate) trait CompileConditions: Compile {
    /// Of events of which there must be none, as of a snapshot. `own` are the names of the index values that come with them.
    fn absence(
        &self,
        _said: &ExpectNone,
        _snapshot: &Snapshot,
        _own: &[&str],
    ) -> Result<Arc<dyn CommitCondition>> {
        Err(Error::stopped("nothing here understands EXPECT NONE"))
    }
}

/// A condition, as far as it was checked before the commit.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub condition: Arc<dyn CommitCondition>,
    /// What it does not allow. What is in the log stays there.
    pub found: Option<Position>,
    /// Nothing else up to there.
    pub through: Position,
}

impl Checked {
    /// Not looked up yet.
    pub fn new(condition: Arc<dyn CommitCondition>) -> Checked {
        Checked { condition, found: None, through: Position::START }
    }

    /// Looks it up, as far as the snapshot shows.
    pub fn look_up(&mut self, snapshot: &Snapshot) -> Result<()> {
        if self.found.is_none() {
            self.found = self.condition.find(snapshot, self.through)?;
            self.through = self.through.max(snapshot.head());
        }
        Ok(())
    }
}
