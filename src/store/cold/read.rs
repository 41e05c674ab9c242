//! The reading side of the tables: what one transaction sees.

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, RwLockReadGuard};

use redb::{AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError};

use super::super::journal::{DatabaseId, Salt};
use super::super::pack::{self, Events};
use super::super::posting::{self, Chunk};
use super::handle::State;
use super::{
    Bytes, FORMAT, LOG, META, Meta, POSTINGS, ZONES, Zone, ZoneFound, failed, last_event, row_position,
    unsealed,
};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A read of the tables at one commit.
pub(crate) struct ColdRead<'c> {
    pub(super) transaction: ReadTransaction,
    // After the transaction, so that it is dropped after it.
    pub(super) _guard: RwLockReadGuard<'c, State>,
}

impl ColdRead<'_> {
    fn table(&self, definition: TableDefinition<Bytes, Bytes>) -> Result<ReadOnlyTable<Bytes, Bytes>> {
        self.transaction.open_table(definition).map_err(|e| failed("opening a table", redb::Error::from(e)))
    }

    /// A table that a file has only once something was written since there is such a table.
    pub(super) fn table_if_any(
        &self,
        definition: TableDefinition<Bytes, Bytes>,
    ) -> Result<Option<ReadOnlyTable<Bytes, Bytes>>> {
        match self.transaction.open_table(definition) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(failed("opening a table", redb::Error::from(error))),
        }
    }

    fn meta_value<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>> {
        let table =
            self.transaction.open_table(META).map_err(|e| failed("opening meta", redb::Error::from(e)))?;
        let found = table.get(name).map_err(|e| failed("reading meta", e))?;
        let Some(found) = found else { return Ok(None) };
        let bytes = unsealed(name.as_bytes(), found.value(), || format!("meta.{name}"))?;
        bytes
            .try_into()
            .map(Some)
            .map_err(|_| Error::corrupt(format!("meta.{name}"), format!("{} bytes", bytes.len())))
    }

    /// C, alone.
    pub fn checkpoint(&self) -> Result<u64> {
        let value = self.meta_value("checkpoint")?;
        value.map(u64::from_be_bytes).ok_or_else(|| Error::corrupt("meta.checkpoint", "nothing"))
    }

    /// The chain hash at C.
    pub fn chain(&self) -> Result<[u8; 32]> {
        Ok(self.meta_value("chain")?.unwrap_or([0; 32]))
    }

    pub fn meta(&self, path: &Path) -> Result<Meta> {
        let other = |found: String| {
            Error::unopenable(
                path,
                format!("{found}; this version reads format {FORMAT}"),
                "open it with the version that wrote it",
            )
        };
        match self.meta_value("format").map(|f| f.map(u64::from_be_bytes)) {
            Ok(Some(FORMAT)) => {}
            Ok(Some(format)) => return Err(other(format!("its format is {format}"))),
            Err(error @ Error::Corrupt { .. }) => return Err(error),
            Ok(None) | Err(_) => return Err(other("it is a redb file without Bygone's format".to_owned())),
        }
        let id = self.meta_value("database")?.ok_or_else(|| Error::corrupt("meta.database", "nothing"))?;
        let recorded = match self.meta_value::<12>("recorded")? {
            None => None,
            Some(bytes) => {
                let (seconds, nanos) = bytes.split_at(8);
                // Both halves have their length from the type above.
                let seconds = i64::from_be_bytes(seconds.try_into().unwrap_or_default());
                Some(Timestamp::from_parts(
                    seconds,
                    i32::from_be_bytes(nanos.try_into().unwrap_or_default()),
                )?)
            }
        };
        Ok(Meta {
            id: DatabaseId(id),
            checkpoint: self.checkpoint()?,
            journal: self.meta_value("journal")?.map(Salt),
            retired: self.meta_value("retired")?.map(Salt),
            recorded,
            chain: self.chain()?,
        })
    }

    pub fn log(&self) -> Result<Log> {
        Ok(Log(self.table(LOG)?))
    }

    pub fn postings(&self) -> Result<Postings> {
        Ok(Postings(self.table(POSTINGS)?))
    }

    /// Refuses tables whose `meta` tells of another log than they have.
    pub fn check_ends(&self, meta: &Meta) -> Result<()> {
        let differs =
            |what: &str| Err(Error::corrupt(format!("the tables up to #{}", meta.checkpoint), what));
        let log = self.table(LOG)?;
        let last = match log.last().map_err(|e| failed("reading the log", e))? {
            Some((key, value)) => last_event(key.value(), value.value())?,
            None => 0,
        };
        if last != meta.checkpoint {
            return differs(&format!("the log in them ends at #{last}"));
        }
        let zones = self.table(ZONES)?;
        let zone = match zones.last().map_err(|e| failed("reading zones", e))? {
            Some((key, value)) => Some(Zone::decode(key.value(), value.value())?.1),
            None => None,
        };
        let end = zone.as_ref().map_or(0, |zone| zone.last);
        if end != meta.checkpoint {
            return differs(&format!("the zones in them end at #{end}"));
        }
        let (chain, recorded) = zone.map_or(([0; 32], None), |zone| (zone.chain, Some(zone.recorded.1)));
        if (chain, recorded) != (meta.chain, meta.recorded) {
            return differs("their last zone has another hash or time than meta");
        }
        Ok(())
    }

    /// The next zones after a key, in its order: each with its key, and as far as it can be read.
    pub fn zones_after(&self, key: &[u8], most: usize) -> Result<Vec<ZoneFound>> {
        let table = self.table(ZONES)?;
        let rows = table
            .range::<&[u8]>((Bound::Excluded(key), Bound::Unbounded))
            .map_err(|e| failed("reading zones", e))?;
        let found = rows.take(most).map(|row| {
            let (key, value) = row.map_err(|e| failed("reading zones", e))?;
            Ok((key.value().to_vec(), Zone::decode(key.value(), value.value())))
        });
        found.collect()
    }

    /// The newest zone that ends at or before a position, and can be read.
    pub fn zone_until(&self, position: u64) -> Result<Option<Zone>> {
        let table = self.table(ZONES)?;
        let end = position.to_be_bytes();
        let rows = table.range::<&[u8]>(..=end.as_slice()).map_err(|e| failed("reading zones", e))?;
        for row in rows.rev() {
            let (key, value) = row.map_err(|e| failed("reading zones", e))?;
            if let Ok((_, zone)) = Zone::decode(key.value(), value.value())
                && zone.last <= position
            {
                return Ok(Some(zone));
            }
        }
        Ok(None)
    }

    /// The zone that holds a position and those that follow it one way or the other, up to so many; beyond the zones none.
    pub fn zones_from(&self, from: u64, descending: bool, most: usize) -> Result<Vec<(u64, Zone)>> {
        let table = self.table(ZONES)?;
        let from = from.to_be_bytes();
        let fault = |e| failed("reading zones", e);
        let mut zones = Vec::new();
        let mut before = table.range::<&[u8]>(..=from.as_slice()).map_err(fault)?.rev();
        while let Some(row) = before.next()
            && zones.len() < most
        {
            let (key, value) = row.map_err(fault)?;
            zones.push(Zone::decode(key.value(), value.value())?);
            if !descending {
                break;
            }
        }
        if !descending {
            let after = (Bound::Excluded(from.as_slice()), Bound::Unbounded);
            for row in table.range::<&[u8]>(after).map_err(fault)?.take(most.saturating_sub(zones.len())) {
                let (key, value) = row.map_err(fault)?;
                zones.push(Zone::decode(key.value(), value.value())?);
            }
        }
        Ok(zones)
    }

    #[cfg(test)]
    pub fn zones(&self) -> Result<Vec<(u64, Zone)>> {
        self.zones_after(&[], usize::MAX)?.into_iter().map(|(_, zone)| zone).collect()
    }
}

/// The table `log`.
pub(crate) struct Log(ReadOnlyTable<Bytes, Bytes>);

impl Log {
    pub fn get(&self, position: u64) -> Result<Option<Arc<[u8]>>> {
        let Some(row) = self.row(position)? else { return Ok(None) };
        Ok(row.event(position)?.map(Arc::from))
    }

    /// The row that has the event at a position, if any has.
    pub fn row(&self, position: u64) -> Result<Option<Row<'_>>> {
        // A cursor descends once, where a range would for each of its ends.
        let (key, reading) = (position.to_be_bytes(), |e| failed("reading the log", e));
        let mut rows = self.0.upper_bound(Bound::Included(key.as_slice())).map_err(reading)?;
        let Some((key, value)) = rows.prev().map_err(reading)? else { return Ok(None) };
        Ok(Some(Row { first: row_position("the log", key.value())?, value }))
    }

    fn range(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<redb::Range<'static, Bytes, Bytes>> {
        self.0.range::<&[u8]>(bounds).map_err(|e| failed("reading the log", e))
    }

    /// Hands over events from `first` to `last` until it is told to stop; their bytes are lent, not copied.
    pub fn scan(
        &self,
        first: u64,
        last: u64,
        descending: bool,
        mut event: impl FnMut(u64, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut rows = if descending {
            self.range((Bound::Unbounded, Bound::Included(last.to_be_bytes().as_slice())))?
        } else {
            // The other end is left open: the table would compare each key with it.
            // The row that has the first one begins no further back than it has events.
            let start = first.saturating_sub(pack::MOST as u64 - 1).to_be_bytes();
            self.range((Bound::Included(start.as_slice()), Bound::Unbounded))?
        };
        loop {
            let next = if descending { rows.next_back() } else { rows.next() };
            let Some(next) = next else { return Ok(()) };
            let (key, value) = next.map_err(|e| failed("reading the log", e))?;
            let events = Events::of(row_position("the log", key.value())?, value.value());
            let within = |position: u64| (first..=last).contains(&position);
            if descending {
                let mut several = [(0, [].as_slice()); pack::MOST];
                let mut count = 0;
                for next in events {
                    let slot = several.get_mut(count).ok_or_else(|| {
                        Error::corrupt("the log", format!("more than {} events in a row", pack::MOST))
                    })?;
                    (*slot, count) = (next?, count + 1);
                }
                for &(position, bytes) in several[..count].iter().rev() {
                    if position < first || (within(position) && !event(position, bytes)?) {
                        return Ok(());
                    }
                }
            } else {
                for next in events {
                    let (position, bytes) = next?;
                    if position > last || (within(position) && !event(position, bytes)?) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// A row of the log: events at consecutive positions.
pub(crate) struct Row<'t> {
    first: u64,
    value: AccessGuard<'t, Bytes>,
}

impl Row<'_> {
    pub fn has(&self, position: u64) -> bool {
        self.event(position).is_ok_and(|event| event.is_some())
    }

    /// The event at a position, if it is in this row.
    pub fn event(&self, position: u64) -> Result<Option<&[u8]>> {
        let Some(at) = position.checked_sub(self.first).filter(|at| *at < pack::MOST as u64) else {
            return Ok(None);
        };
        let found = Events::of(self.first, self.value.value()).nth(at as usize).transpose()?;
        Ok(found.map(|(_, bytes)| bytes))
    }
}

/// The table `postings`.
pub(crate) struct Postings(ReadOnlyTable<Bytes, Bytes>);

impl Postings {
    /// The last chunk of a term that begins at or before a position.
    pub fn chunk_before(&self, term: &[u8], position: u64) -> Result<Option<Chunk>> {
        self.edge(term, 0, position, true)
    }

    /// The first chunk of a term that begins at or after a position.
    pub fn chunk_after(&self, term: &[u8], position: u64) -> Result<Option<Chunk>> {
        self.edge(term, position, u64::MAX, false)
    }

    fn edge(&self, term: &[u8], first: u64, last: u64, back: bool) -> Result<Option<Chunk>> {
        let (first, last) = (posting::key(term, first), posting::key(term, last));
        let mut rows = self
            .0
            .range::<&[u8]>(first.as_slice()..=last.as_slice())
            .map_err(|e| failed("reading postings", e))?;
        let Some(row) = (if back { rows.next_back() } else { rows.next() }) else { return Ok(None) };
        let (key, value) = row.map_err(|e| failed("reading postings", e))?;
        posting::decode(key.value(), value.value()).map(Some)
    }

    /// The first term at or after some bytes, whatever its list.
    pub fn term_at(&self, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut rows = self.0.range::<&[u8]>(from..).map_err(|e| failed("reading postings", e))?;
        let Some(row) = rows.next() else { return Ok(None) };
        let (key, _) = row.map_err(|e| failed("reading postings", e))?;
        Ok(Some(posting::split_key(key.value())?.0.to_vec()))
    }

    /// Hands over the chunks from one key on and before another, in key order, those apart that begin beyond a position. It looks at
    /// so many at most, and then tells the key to go on with.
    pub fn sweep(
        &self,
        from: &[u8],
        until: &[u8],
        last: u64,
        most: usize,
        mut row: impl FnMut(Chunk),
    ) -> Result<Option<Vec<u8>>> {
        let rows = self.0.range::<&[u8]>(from..until).map_err(|e| failed("reading postings", e))?;
        for (next, looked_at) in rows.zip(1..) {
            let (key, value) = next.map_err(|e| failed("reading postings", e))?;
            let key = key.value();
            if posting::split_key(key)?.1 <= last {
                row(posting::decode(key, value.value())?);
            }
            if looked_at == most {
                return Ok(Some([key, &[0]].concat()));
            }
        }
        Ok(None)
    }

    /// Hands over every chunk in key order, as far as it can be read: with its term, or its key if that is none.
    pub fn scan(&self, mut row: impl FnMut(&[u8], Result<Chunk>) -> Result<()>) -> Result<()> {
        for next in self.0.iter().map_err(|e| failed("reading postings", e))? {
            let (key, value) = next.map_err(|e| failed("reading postings", e))?;
            let key = key.value();
            row(posting::split_key(key).map_or(key, |(term, _)| term), posting::decode(key, value.value()))?;
        }
        Ok(())
    }
}
