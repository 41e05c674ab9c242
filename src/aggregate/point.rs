//! Points: where in an entity's history.

use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::plan::Moment;
use crate::store::snapshot::{Snapshot, Until};
use crate::time::Timestamp;

/// A point of an entity's history. A [`Timestamp`], a [`Position`], a [`Version`] and the text of a time are points.
///
/// ```
/// use bygone::{Point, Position, Timestamp, Version};
/// let noon: Timestamp = "2024-01-01T12:00:00Z".parse()?;
/// assert_eq!(Point::try_from("2024-01-01 12:00")?, Point::from(noon));
/// assert_eq!([Point::from(Version(3)), Point::from(Position(3))], [Point::Version(Version(3)), Point::Position(Position(3))]);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// What had occurred by an instant.
    Time(Timestamp),
    /// Up to and with the event at a place in the log.
    Position(Position),
    /// Up to and with an event of the entity, by its place in the entity's history.
    Version(Version),
}

impl From<Timestamp> for Point {
    fn from(time: Timestamp) -> Point {
        Point::Time(time)
    }
}

impl From<Position> for Point {
    fn from(position: Position) -> Point {
        Point::Position(position)
    }
}

impl From<Version> for Point {
    fn from(version: Version) -> Point {
        Point::Version(version)
    }
}

impl From<Moment> for Point {
    fn from(moment: Moment) -> Point {
        match moment {
            Moment::Time(time) => Point::Time(time),
            Moment::Position(position) => Point::Position(position),
        }
    }
}

impl TryFrom<&str> for Point {
    type Error = Error;

    fn try_from(time: &str) -> Result<Point> {
        time.parse().map(Point::Time)
    }
}

impl Point {
    /// Up to where that is to be folded, and as which moment an answer tells it.
    pub(crate) fn within(self, snapshot: &Snapshot, entity: &Entity) -> Result<(Until, Moment)> {
        let head = snapshot.head();
        let position = match self {
            Point::Time(time) => return Ok((Until { through: head.0, by: Some(time) }, Moment::Time(time))),
            Point::Position(position) if position > head => {
                let expected = format!("a position up to the head, which is {head}");
                return Err(Error::invalid("the point", expected, position.to_string()));
            }
            Point::Position(position) => position,
            Point::Version(version) => place(snapshot, entity, version)?,
        };
        Ok((Until { through: position.0, by: None }, Moment::Position(position)))
    }
}

/// Where the event is that gave an entity a version.
fn place(snapshot: &Snapshot, entity: &Entity, version: Version) -> Result<Position> {
    let newest = snapshot.version(entity)?;
    if version > newest {
        let expected = format!("a version of {entity} up to its newest, which is {}", newest.0);
        return Err(Error::invalid("the point", expected, version.0.to_string()));
    }
    // The first position up to which there are so many events.
    let (mut low, mut high) = (0, snapshot.head().0);
    while low < high {
        let middle = low + (high - low) / 2;
        if snapshot.until(Position(middle)).version(entity)? >= version {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Position(low))
}
