//! Moments: a time, or a place in the log.

use std::fmt;

use serde::Serialize;

use crate::entity::Position;
use crate::time::Timestamp;

/// A time, or a place in the log. Serializes as text, or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Moment {
    /// An instant.
    Time(Timestamp),
    /// Up to and with this event.
    Position(Position),
}

impl Moment {
    /// Whether nothing comes before it.
    pub(crate) fn is_start(self) -> bool {
        self == Moment::Position(Position::START)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Time(time) => time.fmt(f),
            Moment::Position(position) => position.fmt(f),
        }
    }
}
