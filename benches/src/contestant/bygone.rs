//! Bygone, with its defaults.

use std::path::{Path, PathBuf};

use bygone::{Db, NewEvent};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

struct Bygone(Db);

pub fn file(folder: &Path) -> PathBuf {
    folder.join("events.bygone")
}

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let path = file(folder);
    let db = if path.exists() { Db::open(path)? } else { Db::create(path)? };
    Ok(Box::new(Bygone(db)))
}

impl Store for Bygone {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(&self.0))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

impl Writer for &Db {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        match events {
            [event] => drop(Db::append(self, new_event(event))?),
            events => drop(self.append_all(events.iter().map(new_event))?),
        }
        Ok(())
    }
}

fn new_event(event: &Sample) -> NewEvent {
    NewEvent::new(event.kind).on(("Order", event.entity)).by(("User", &event.actor)).data(&event.data)
}
