//! The database that is rescued, as far as it opens.

use std::collections::VecDeque;
use std::path::Path;

use super::{Rescue, SHORTEST};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::store::copy::Places;
use crate::store::disk::Lock;
use crate::store::journal::{DatabaseId, Side};
use crate::store::name;
use crate::store::options::Options;
use crate::store::recover::{self, Recovered};
use crate::store::tables::{Tables, TablesRead, Zone};
use crate::time::Timestamp;

/// How many zones are read at a time.
const ZONES: usize = 256;

/// What the log has at a position.
pub(super) enum LogEvent<'b> {
    Read(&'b [u8]),
    /// It cannot be read; nor was it recorded later than this.
    Unread {
        until: Option<Timestamp>,
    },
}

/// Takes what the log has at a position.
pub(super) type EventSink<'s> = dyn FnMut(Position, LogEvent) -> Result<()> + 's;

/// The database that is rescued, as far as it opens. What recovery would write is kept in memory.
pub(super) struct Original {
    tables: Tables,
    pub id: DatabaseId,
    pub head: Position,
    _lock: Box<dyn Lock>,
}

impl Original {
    /// Opens it as it is, or else without what its journal lost, or without its journal; none where it does not open at all.
    pub fn open(options: &Options, path: &Path, found: &mut Rescue) -> Result<Option<Original>> {
        for (accepts, journal) in [(false, true), (true, true), (true, false)] {
            // On a disk of its own: what recovery removes there is to be searched.
            let (disk, options) = (options.disk_to_use(), options.clone().accept_lost_journal(accepts));
            if !journal {
                // There may be none.
                Side::BOTH.iter().for_each(|side| drop(disk.remove(&side.path(path))));
            }
            let opened = name::open_locked(&disk, path, true, options.cache).and_then(|(lock, tables)| {
                let recovered = recover::recover(&disk, path, &tables, &options)?;
                let bytes = disk.open(path).and_then(|file| file.len()).unwrap_or(u64::MAX);
                Ok((lock, tables, recovered, bytes))
            });
            match opened {
                Ok((_, _, Recovered { meta, .. }, bytes)) if meta.checkpoint.0 > bytes / SHORTEST => {
                    let refusal = format!(
                        "it says that it has events up to {}, and has no room for them",
                        meta.checkpoint
                    );
                    found.refusal.get_or_insert(refusal);
                }
                Ok((_lock, tables, Recovered { meta, recovery, .. }, _)) => {
                    if recovery.cut.is_some() {
                        found.refusal.get_or_insert_with(|| recovery.notices.join("; "));
                    }
                    return Ok(Some(Original { tables, id: meta.id, head: meta.checkpoint, _lock }));
                }
                Err(error @ Error::Held { .. }) => return Err(error),
                Err(error) => drop(found.refusal.get_or_insert_with(|| error.to_string())),
            }
        }
        Ok(None)
    }

    /// Hands over each position up to the head, with the event that its log has there, if that can be read.
    pub fn each(&self, event: &mut EventSink) -> Result<()> {
        let mut next = Position::FIRST;
        while next <= self.head {
            let Ok(read) = self.tables.read() else { break };
            if self.scan(&read, &mut next, event)? {
                break;
            }
            let last = self.head;
            let readable = read.log().ok().and_then(|log| log.readable_after(next, last));
            drop(read);
            let to = readable.filter(|to| *to > next).unwrap_or(last.next());
            let until = self.recorded(to);
            for position in next.onwards().take_while(|position| *position < to) {
                event(position, LogEvent::Unread { until })?;
            }
            next = to;
        }
        for position in next.onwards().take_while(|position| *position <= self.head) {
            event(position, LogEvent::Unread { until: None })?;
        }
        Ok(())
    }

    /// Copies the keys of private values that can be read.
    pub fn copy_keys(&self, to: &Tables) -> Result<()> {
        self.tables.read()?.copy_keys(to, |row| row.is_ok())
    }

    /// When an event was recorded, if it can be read.
    fn recorded(&self, position: Position) -> Option<Timestamp> {
        let bytes = self.tables.read().and_then(|read| read.log()?.get(position)).ok()??;
        Record::open(position, &bytes).ok().map(|record| record.recorded())
    }

    /// Reads the log on, up to where it cannot be read. Whether that is its end.
    fn scan(&self, read: &TablesRead, next: &mut Position, event: &mut EventSink) -> Result<bool> {
        let Ok(log) = read.log() else { return Ok(false) };
        let mut failed = Ok(());
        let scanned = log.scan(PositionRange::new(*next, self.head), false, |position, bytes| {
            failed = event(position, LogEvent::Read(bytes));
            *next = position.next();
            Ok(failed.is_ok())
        });
        failed?;
        // Whatever is wrong, it cannot be read here.
        Ok(scanned.is_ok())
    }

    /// Some zones from a position on, by where they end, as far as they can be read.
    pub fn zones(&self, from: Position) -> Result<VecDeque<Zone>> {
        let zones = self.tables.read().and_then(|read| read.zones_from(from, false, ZONES))?;
        Ok(zones.into_iter().map(|(_, zone)| zone).collect())
    }

    /// Where followers are; none where that cannot be read.
    pub fn cursors(&self) -> Result<Option<Places>> {
        Ok(self.tables.read().and_then(|read| read.cursors()).ok())
    }
}
