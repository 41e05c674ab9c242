//! Conditions: what must not be in the log, checked at the moment of commit.

use std::fmt;

use super::snapshot::Snapshot;
use crate::error::Result;
use crate::event::record::Record;

/// Events of which there must be none. Its text says which.
pub(crate) trait Condition: fmt::Debug + fmt::Display + Send + Sync {
    /// One of them behind a position, if there is any.
    fn find(&self, snapshot: &Snapshot, after: u64) -> Result<Option<u64>>;

    /// Whether an event is one of them.
    fn is_met_by(&self, event: &Record) -> bool;
}
