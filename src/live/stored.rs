//! Events as they are stored, on their way to whoever they are delivered to.

use std::sync::Arc;

use crate::entity::Position;
use crate::error::Result;
use crate::event::Event;
use crate::event::record::{Names, Record, Sketch};
use crate::time::Timestamp;

/// Where an event lies in bytes that it may share with others.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub start: u32,
    pub end: u32,
    pub sketch: Sketch,
}

impl Place {
    /// All of the bytes.
    pub fn whole(bytes: &[u8], sketch: Sketch) -> Place {
        // No event is longer than 16 MiB.
        Place { start: 0, end: bytes.len() as u32, sketch }
    }
}

/// Events that share their bytes.
pub(super) struct Chunk {
    pub bytes: Arc<[u8]>,
    pub places: Vec<Place>,
}

/// An event that is lent. Small, as an [`Event`] is not: it is handed on from place to place.
pub(super) struct Stored<'a> {
    bytes: &'a Arc<[u8]>,
    place: Place,
}

impl<'a> Stored<'a> {
    pub fn new(bytes: &'a Arc<[u8]>, place: Place) -> Stored<'a> {
        Stored { bytes, place }
    }

    fn record(&self) -> Record<'_> {
        let Place { start, end, sketch } = self.place;
        sketch.on(self.bytes.get(start as usize..end as usize).unwrap_or_default())
    }

    pub fn position(&self) -> Position {
        self.place.sketch.position()
    }

    pub fn recorded(&self) -> Timestamp {
        self.record().recorded()
    }

    pub fn to_event(&self, names: &mut Names) -> Result<Event> {
        self.record().to_event_within(self.bytes, self.place.start as usize, names)
    }
}
