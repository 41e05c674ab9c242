//! Parts of the log, and how many events of them.

use crate::entity::{Position, PositionRange};
use crate::time::Timestamp;

/// A part of the log. Since `recorded` never decreases, `AS OF` a time is a prefix too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogWindow {
    /// Positions greater than this.
    pub after: Position,
    /// Positions up to and with this.
    pub through: Position,
    /// Occurred at this instant or later.
    pub since: Option<Timestamp>,
    /// Occurred before this instant.
    pub before: Option<Timestamp>,
    /// Occurred by this instant.
    pub by: Option<Timestamp>,
}

impl LogWindow {
    /// All of the log up to a position.
    pub fn through(position: Position) -> LogWindow {
        LogWindow { after: Position::START, through: position, since: None, before: None, by: None }
    }

    /// The positions it spans.
    pub fn positions(&self) -> PositionRange {
        PositionRange::between(self.after, self.through)
    }

    /// Whether it matters when something occurred.
    pub fn is_timed(&self) -> bool {
        self.since.is_some() || self.before.is_some() || self.by.is_some()
    }

    /// Whether what occurred then is within. Positions are for the scan.
    pub fn occurred(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since)
            && self.before.is_none_or(|before| at < before)
            && self.by.is_none_or(|by| at <= by)
    }
}

/// How many events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowLimit {
    All,
    First(u64),
    /// The newest so many, the oldest of them first.
    Last(u64),
    /// The newest so many, the newest first.
    Newest(u64),
}
