//! fjall: rows and index rows in two keyspaces, one batch an append, `PersistMode::SyncData`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

struct Fjall {
    database: Database,
    log: Keyspace,
    index: Keyspace,
    next: AtomicU64,
}

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let database = Database::builder(folder.join("fjall")).cache_size(128 << 20).open()?;
    let log = database.keyspace("log", KeyspaceCreateOptions::default)?;
    let index = database.keyspace("index", KeyspaceCreateOptions::default)?;
    let last = match log.last_key_value() {
        Some(guard) => u64::from_be_bytes(guard.key()?.as_ref().try_into()?),
        None => 0,
    };
    Ok(Box::new(Fjall { database, log, index, next: AtomicU64::new(last + 1) }))
}

impl Store for Fjall {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

impl Writer for &Fjall {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        let first = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (position, event) in (first..).zip(events) {
            batch.insert(&self.log, position.to_be_bytes(), event.row());
            for key in event.index_rows(position) {
                batch.insert(&self.index, key, b"".as_slice());
            }
        }
        Ok(batch.commit()?)
    }
}
