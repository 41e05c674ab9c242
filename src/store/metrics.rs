//! What an open database tells of itself: what it counted, and what it is now.

use super::cursor::{Cursor, CursorOwner};
use super::kernel::Kernel;
use super::read_txn::ReadTxn;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::telemetry::metrics::{Gauges, Metrics};

impl Kernel {
    /// What it tells of itself now.
    ///
    /// # Errors
    /// If the file cannot be asked for its size, or the tables cannot be read.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::new(&self.counts, &self.gauges()?))
    }

    fn gauges(&self) -> Result<Gauges> {
        let checkpoint =
            ReadTxn::read(self.read_source(), Position::MAX, None, |view| Ok(view.checkpoint()))?;
        let memtables = self.applied.memtables();
        let sizes = memtables.each().map(|memtable| memtable.size());
        let (events, bytes) =
            sizes.fold((0, 0), |(events, bytes), (more, larger)| (events + more, bytes + larger));
        let synced = self.log_progress.synced();
        Ok(Gauges {
            head: memtables.head.0,
            synced: synced.0,
            checkpoint: checkpoint.0,
            file_bytes: self.file_bytes()?,
            journal_bytes: self.log.bytes(),
            memtable_events: events as u64,
            memtable_bytes: bytes as u64,
            queue_bytes: self.queue.bytes() as u64,
            definitions: memtables.catalog.size() as u64,
            followers: self.followers(synced),
        })
    }

    /// How many bytes the file has.
    fn file_bytes(&self) -> Result<u64> {
        let file = self.disk.open(&self.path);
        file.and_then(|file| file.len()).map_err(|e| Error::io("asking for the size of the file", e))
    }

    /// How far those are behind that have a place in the log: kind, name, events. The place of a schedule is an instant, and one that is
    /// damaged is none.
    fn followers(&self, synced: Position) -> Vec<(&'static str, String, u64)> {
        let lag = |cursor: Result<Cursor>| cursor.ok().map(|cursor| synced.since(cursor.position));
        let mut found = Vec::new();
        for program in self.applied.catalog().programs() {
            let place = self.cursors.get(&CursorOwner::of(program)).transpose();
            if let Some(lag) = place.and_then(lag).filter(|_| !program.kind.goes_by_time()) {
                found.push((program.kind.word(), program.name.clone(), lag));
            }
        }
        for (owner, cursor) in self.cursors.all() {
            if let (CursorOwner::Subscription(name), Some(lag)) = (owner, lag(cursor)) {
                found.push(("subscription", name, lag));
            }
        }
        found
    }
}
