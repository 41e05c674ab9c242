//! tephra: the type, and tags for entity and actor.

use std::path::Path;

use tephra::{
    Event, EventType, SegmentConfig, SegmentSet, Tag, Tags, WriteCoordinator, WriteHandle, WriterConfig,
};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

struct Tephra {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
}

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let set = SegmentSet::open(folder.join("tephra"), SegmentConfig::new(256 << 20))?;
    let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
    Ok(Box::new(Tephra { coordinator, handle }))
}

impl Store for Tephra {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(&self.handle))
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.handle);
        drop(self.coordinator.shutdown());
        Ok(())
    }
}

impl Writer for &WriteHandle {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        let events = events.iter().map(event).collect::<Result<Vec<_>>>()?;
        WriteHandle::append(self, events, None)?;
        Ok(())
    }
}

fn event(event: &Sample) -> Result<Event> {
    let tags = [Tag::new(format!("Order:{}", event.entity))?, Tag::new(format!("User:{}", event.actor))?];
    let data = serde_json::to_vec(&event.data)?;
    Ok(Event::new(&EventType::new(event.kind)?, &Tags::new(tags)?, &data)?)
}
