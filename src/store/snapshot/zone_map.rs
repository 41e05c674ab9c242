//! Runs of the log, and when what they hold happened.

use super::{ScanDirection, Snapshot};
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::time::Timestamp;

/// A run of positions, and when the earliest and the latest of its events occurred and were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZoneRange {
    pub positions: PositionRange,
    pub occurred: (Timestamp, Timestamp),
    pub recorded: (Timestamp, Timestamp),
}

impl Snapshot {
    /// Up to so many runs in a direction, the one that holds `from` first. Of what is in no table yet there are none.
    pub fn runs(&self, from: Position, direction: ScanDirection, most: usize) -> Result<Vec<ZoneRange>> {
        let zones =
            self.read(|view| view.read.zones_from(from, direction == ScanDirection::Descending, most))?;
        let run = |(first, zone): (Position, crate::store::tables::Zone)| ZoneRange {
            positions: PositionRange::new(first, zone.last),
            occurred: zone.occurred,
            recorded: zone.recorded,
        };
        Ok(zones.into_iter().map(run).collect())
    }
}
