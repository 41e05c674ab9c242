//! Points in time, looked up in an entity's history.

use crate::entity::{Entity, Position, Version};
use crate::error::{Missing, MissingItem, Result};
use crate::plan::{PointInTime, ResolvedPoint};
use crate::store::snapshot::{FoldBound, Snapshot};

impl PointInTime {
    /// Up to where that is to be folded, and as which point an answer tells it.
    pub(crate) fn within(self, snapshot: &Snapshot, entity: &Entity) -> Result<(FoldBound, ResolvedPoint)> {
        let head = snapshot.head();
        let position = match self {
            PointInTime::Time(time) => {
                return Ok((FoldBound { through: head, by: Some(time) }, ResolvedPoint::Time(time)));
            }
            PointInTime::Position(position) if position > head => {
                let item = MissingItem::Position { asked: position, head };
                return Err(Missing::from(item).into());
            }
            PointInTime::Position(position) => position,
            PointInTime::Version(version) => position_of_version(snapshot, entity, version)?,
        };
        Ok((FoldBound { through: position, by: None }, ResolvedPoint::Position(position)))
    }
}

/// Where the event is that gave an entity a version.
pub(crate) fn position_of_version(
    snapshot: &Snapshot,
    entity: &Entity,
    version: Version,
) -> Result<Position> {
    let newest = snapshot.version(entity)?;
    if version > newest {
        let item = MissingItem::Version { entity: entity.to_string(), asked: version, newest };
        return Err(Missing::from(item).into());
    }
    // The first position up to which there are so many events.
    let (mut low, mut high) = (Position::START, snapshot.head());
    while low < high {
        let middle = low.midway(high);
        if snapshot.until(middle).version(entity)? >= version {
            high = middle;
        } else {
            low = middle.next();
        }
    }
    Ok(low)
}
