//! tephra: the type, and tags for entity and actor.

use std::path::Path;

use tephra::{
    Event, EventType, Position, Query, SegmentConfig, SegmentSet, Tag, Tags, WriteCoordinator, WriteHandle,
    WriterConfig,
};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

pub struct Tephra {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
}

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    Ok(Box::new(start(folder)?))
}

pub fn start(folder: &Path) -> Result<Tephra> {
    let set = SegmentSet::open(folder.join("tephra"), SegmentConfig::new(256 << 20))?;
    let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
    Ok(Tephra { coordinator, handle })
}

impl Tephra {
    /// Lends the data of all events, and takes over what else they have, as a program does.
    pub fn each(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut subscription = self.handle.subscribe(Query::all(), Position::ZERO);
        loop {
            let batch = subscription.poll_batch()?;
            if batch.is_empty() {
                return Ok(());
            }
            for (_, event) in &batch {
                let event = event.as_ref();
                let _type = event.event_type().to_owned();
                let _tags: Vec<_> = event.tags().map(|tag| tag.to_owned()).collect();
                take(event.data())?;
            }
        }
    }
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
