//! Points in time: an instant, or a place in the log or in an entity's history.

use std::fmt;

use serde::Serialize;

use crate::entity::{Position, Version};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A point in time, as the log tells time. A [`Timestamp`], a [`Position`], a [`Version`] and the text of a time are points.
/// Serializes as text, or as a number.
///
/// ```
/// use bygone::read::PointInTime;
/// use bygone::{Position, Timestamp, Version};
/// let noon: Timestamp = "2024-01-01T12:00:00Z".parse()?;
/// assert_eq!(PointInTime::try_from("2024-01-01 12:00")?, PointInTime::from(noon));
/// assert_eq!(PointInTime::from(Version(3)), PointInTime::Version(Version(3)));
/// assert_eq!(PointInTime::from(Position(3)), PointInTime::Position(Position(3)));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum PointInTime {
    /// An instant.
    Time(Timestamp),
    /// The place of an event in the log.
    Position(Position),
    /// The place of an event in the history of its entity. An answer tells the position instead.
    Version(Version),
}

impl From<Timestamp> for PointInTime {
    fn from(time: Timestamp) -> PointInTime {
        PointInTime::Time(time)
    }
}

impl From<Position> for PointInTime {
    fn from(position: Position) -> PointInTime {
        PointInTime::Position(position)
    }
}

impl From<Version> for PointInTime {
    fn from(version: Version) -> PointInTime {
        PointInTime::Version(version)
    }
}

impl From<ResolvedPoint> for PointInTime {
    fn from(point: ResolvedPoint) -> PointInTime {
        match point {
            ResolvedPoint::Time(time) => PointInTime::Time(time),
            ResolvedPoint::Position(position) => PointInTime::Position(position),
        }
    }
}

impl TryFrom<&str> for PointInTime {
    type Error = Error;

    fn try_from(time: &str) -> Result<PointInTime> {
        time.parse().map(PointInTime::Time)
    }
}

impl fmt::Display for PointInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointInTime::Time(time) => time.fmt(f),
            PointInTime::Position(position) => position.fmt(f),
            PointInTime::Version(version) => write!(f, "version {}", version.0),
        }
    }
}

/// A point that was looked up: a version became the position of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolvedPoint {
    /// An instant.
    Time(Timestamp),
    /// Up to and with this event.
    Position(Position),
}

impl ResolvedPoint {
    /// Whether nothing comes before it.
    pub(crate) fn is_start(self) -> bool {
        self == ResolvedPoint::Position(Position::START)
    }
}

impl fmt::Display for ResolvedPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PointInTime::from(*self).fmt(f)
    }
}
