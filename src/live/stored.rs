//! Events as they are stored, on their way to whoever they are delivered to.

use std::sync::Arc;

use crate::entity::Position;
use crate::error::Result;
use crate::event::Event;
use crate::event::record::{Names, Record, Sketch};
use crate::time::Timestamp;

/// An event, in bytes that it may share with others. Small, as an [`Event`] is not: it is handed on from place to place.
pub(super) struct Stored {
    bytes: Arc<[u8]>,
    start: u32,
    end: u32,
    sketch: Sketch,
}

impl Stored {
    /// From `start` to `end` of the bytes; the sketch is of what lies there.
    pub fn new(bytes: Arc<[u8]>, start: u32, end: u32, sketch: Sketch) -> Stored {
        Stored { bytes, start, end, sketch }
    }

    /// All of the bytes.
    pub fn whole(bytes: Arc<[u8]>, sketch: Sketch) -> Stored {
        // No event is longer than 16 MiB.
        let end = bytes.len() as u32;
        Stored { bytes, start: 0, end, sketch }
    }

    fn record(&self) -> Record<'_> {
        self.sketch.on(self.bytes.get(self.start as usize..self.end as usize).unwrap_or_default())
    }

    pub fn position(&self) -> Position {
        self.sketch.position()
    }

    pub fn recorded(&self) -> Timestamp {
        self.record().recorded()
    }

    pub fn to_event(&self, names: &mut Names) -> Result<Event> {
        self.record().to_event_within(self.bytes.clone(), self.start as usize, names)
    }
}
