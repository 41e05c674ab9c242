//! Events as they are stored, on their way to whoever they are delivered to.

use std::sync::Arc;

use crate::entity::Position;
use crate::error::Result;
use crate::event::Event;
use crate::event::record::{NameCache, Record, RecordHeader};
use crate::time::Timestamp;

/// Where an event lies in bytes that it may share with others.
#[derive(Clone, Copy)]
pub(super) struct RecordPlace {
    pub start: u32,
    pub end: u32,
    pub sketch: RecordHeader,
}

impl RecordPlace {
    /// All of the bytes.
    pub fn whole(bytes: &[u8], sketch: RecordHeader) -> RecordPlace {
        // No event is longer than 16 MiB.
        RecordPlace { start: 0, end: bytes.len() as u32, sketch }
    }
}

/// Events that share their bytes.
pub(super) struct RecordChunk {
    pub bytes: Arc<[u8]>,
    pub places: Vec<RecordPlace>,
}

/// An event that is lent. Small, as an [`Event`] is not: it is handed on from place to place.
pub(super) struct RecordRef<'a> {
    bytes: &'a Arc<[u8]>,
    place: RecordPlace,
}

impl<'a> RecordRef<'a> {
    pub fn new(bytes: &'a Arc<[u8]>, place: RecordPlace) -> RecordRef<'a> {
        RecordRef { bytes, place }
    }

    fn record(&self) -> Record<'_> {
        let RecordPlace { start, end, sketch } = self.place;
        sketch.on(self.bytes.get(start as usize..end as usize).unwrap_or_default())
    }

    pub fn position(&self) -> Position {
        self.place.sketch.position()
    }

    pub fn recorded(&self) -> Timestamp {
        self.record().recorded()
    }

    pub fn to_event(&self, names: &mut NameCache) -> Result<Event> {
        self.record().to_event_within(self.bytes, self.place.start as usize, names)
    }
}
