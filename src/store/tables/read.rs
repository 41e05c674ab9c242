//! The reading side of the tables: what one transaction sees.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, RwLockReadGuard};

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError};

use super::super::index::posting::{self, ChunkHead, PostingChunk};
use super::super::journal::{DatabaseId, Salt};
use super::super::mutex::locked;
use super::block_cache::BlockCache;
use super::handle::TablesState;
use super::index_facts::CommitFacts;
use super::log_table::LogTable;
use super::state_rows::StateRows;
use super::table::{Entry, ReadTable};
use super::{
    Bytes, FORMAT, FORMAT_WITHOUT_KEYS, LOG, META, Meta, POSTINGS, ZONES, Zone, ZoneRow, closed, failed,
    guard, last_event, unsealed,
};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// What the posting lists are called where a page of them is damaged.
pub(crate) const LISTS: &str = "the posting lists";

/// The tables at one commit. Whoever reads them before the next one shares this: to begin a read and to open the tables that all
/// ask takes longer than to ask them.
pub(super) struct Committed {
    /// None once it is being dropped.
    transaction: Option<ReadTransaction>,
    poisoned: Arc<AtomicBool>,
    blocks: Arc<BlockCache>,
    checkpoint: OnceLock<Position>,
    log: OnceLock<LogTable>,
    postings: OnceLock<Postings>,
    pub(super) states: OpenedTable,
    pub(super) found: OpenedTable,
    pub(super) snapshots: OpenedTable,
    pub(super) followers: OpenedTable,
    pub(super) facts: CommitFacts,
    pub(super) rows: StateRows,
}

/// A table that is opened by the first who asks; none where the file has no such table.
pub(super) type OpenedTable = OnceLock<Option<ReadTable>>;

impl Committed {
    pub fn new(
        transaction: ReadTransaction,
        poisoned: Arc<AtomicBool>,
        blocks: Arc<BlockCache>,
    ) -> Committed {
        Committed {
            transaction: Some(transaction),
            poisoned,
            blocks,
            checkpoint: OnceLock::new(),
            log: OnceLock::new(),
            postings: OnceLock::new(),
            states: OnceLock::new(),
            found: OnceLock::new(),
            snapshots: OnceLock::new(),
            followers: OnceLock::new(),
            facts: CommitFacts::default(),
            rows: StateRows::default(),
        }
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        guard::quietly(|| {
            drop((self.log.take(), self.postings.take()));
            drop((self.states.take(), self.found.take(), self.snapshots.take(), self.followers.take()));
            drop(self.transaction.take());
        });
    }
}

/// What was made once, or is made now. Where that fails, it is tried again the next time.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(made) => Ok(made),
        None => make().map(|made| cell.get_or_init(|| made)),
    }
}

/// A read of the tables at one commit.
pub(crate) struct TablesRead<'c> {
    pub(super) committed: Arc<Committed>,
    // After what it guards, so that it is dropped after it.
    pub(super) _guard: RwLockReadGuard<'c, TablesState>,
}

impl TablesRead<'_> {
    /// Whether an operation of the file failed: redb takes nothing more until it is opened again, which waits for this read.
    pub(super) fn needs_reopening(&self) -> bool {
        self._guard.needs_reopening()
    }

    fn transaction(&self) -> Result<&ReadTransaction> {
        self.committed.transaction.as_ref().ok_or_else(closed)
    }

    fn table(&self, definition: TableDefinition<Bytes, Bytes>, what: &'static str) -> Result<ReadTable> {
        self.table_if_any(definition, what)?.ok_or_else(|| Error::corrupt(what, "a file without that table"))
    }

    /// A table that a file has only once something was written since there is such a table.
    pub(super) fn table_if_any(
        &self,
        definition: TableDefinition<Bytes, Bytes>,
        what: &'static str,
    ) -> Result<Option<ReadTable>> {
        guard::reading(what, &self.committed.poisoned, || match self.transaction()?.open_table(definition) {
            Ok(table) => Ok(Some(ReadTable::new(table, what, self.committed.poisoned.clone()))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(failed(what, redb::Error::from(error))),
        })
    }

    /// The same of one that is asked again and again, opened once for a commit.
    pub(super) fn opened(
        &self,
        cell: fn(&Committed) -> &OpenedTable,
        definition: TableDefinition<Bytes, Bytes>,
        what: &'static str,
    ) -> Result<Option<&ReadTable>> {
        once(cell(&self.committed), || self.table_if_any(definition, what)).map(Option::as_ref)
    }

    pub(super) fn meta_value<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>> {
        let found = guard::reading("meta", &self.committed.poisoned, || {
            let table =
                self.transaction()?.open_table(META).map_err(|e| failed("meta", redb::Error::from(e)))?;
            let found = table.get(name).map_err(|e| failed("meta", e))?;
            Ok(found.inspect(|value| {
                let _ = value.value();
            }))
        })?;
        let Some(found) = found else { return Ok(None) };
        let bytes = unsealed(name.as_bytes(), found.value(), || format!("meta.{name}"))?;
        bytes
            .try_into()
            .map(Some)
            .map_err(|_| Error::corrupt(format!("meta.{name}"), format!("{} bytes", bytes.len())))
    }

    pub(super) fn meta_number(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.meta_value(name)?.map(u64::from_be_bytes))
    }

    /// By which rules what is kept was worked out; the first, where nothing says so.
    pub fn evaluation(&self) -> Result<u64> {
        Ok(self.meta_value("evaluation")?.map_or(1, u64::from_be_bytes))
    }

    /// Whether the names in `meta` are what they were: one that is damaged would be taken for one that is not there.
    fn check_names(&self) -> Result<()> {
        self.meta_rows().map(drop)
    }

    /// The rows of `meta`, each with its name and checksum.
    pub(super) fn meta_rows(&self) -> Result<Vec<(String, Vec<u8>)>> {
        guard::reading("meta", &self.committed.poisoned, || {
            let fault = |e| failed("meta", redb::Error::from(e));
            let table =
                self.transaction()?.open_table(META).map_err(|e| failed("meta", redb::Error::from(e)))?;
            let mut rows = Vec::new();
            for row in table.iter().map_err(fault)? {
                let (name, value) = row.map_err(fault)?;
                let (name, value) = (name.value(), value.value());
                unsealed(name.as_bytes(), value, || format!("meta.{}", name.escape_debug()))?;
                rows.push((name.to_owned(), value.to_vec()));
            }
            Ok(rows)
        })
    }

    /// C, alone.
    pub fn checkpoint(&self) -> Result<Position> {
        let read = || {
            let value = self.meta_value("checkpoint")?;
            value.map(Position::from_be_bytes).ok_or_else(|| Error::corrupt("meta.checkpoint", "nothing"))
        };
        once(&self.committed.checkpoint, read).copied()
    }

    /// The chain hash at C.
    pub fn chain(&self) -> Result<[u8; 32]> {
        Ok(self.meta_value("chain")?.unwrap_or([0; 32]))
    }

    pub fn meta(&self, path: &Path) -> Result<Meta> {
        let other = |found: String| {
            Error::unopenable(
                path,
                format!("{found}; this version reads formats {FORMAT_WITHOUT_KEYS} to {FORMAT}"),
                "open it with the version that wrote it",
            )
        };
        match self.meta_value("format").map(|f| f.map(u64::from_be_bytes)) {
            Ok(Some(FORMAT_WITHOUT_KEYS..=FORMAT)) => {}
            Ok(Some(format)) => return Err(other(format!("its format is {format}"))),
            Ok(None) => return Err(other("it is a redb file without Bygone's format".to_owned())),
            // What cannot be read is not called something else.
            Err(error) => return Err(error),
        }
        self.check_names()?;
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

    pub fn log(&self) -> Result<&LogTable> {
        let open =
            || Ok(LogTable { rows: self.table(LOG, "the log")?, blocks: self.committed.blocks.clone() });
        once(&self.committed.log, open)
    }

    pub fn postings(&self) -> Result<&Postings> {
        once(&self.committed.postings, || {
            Ok(Postings { rows: self.table(POSTINGS, LISTS)?, last_before: Mutex::default() })
        })
    }

    /// Refuses tables whose `meta` tells of another log than they have.
    pub fn check_ends(&self, meta: &Meta) -> Result<()> {
        let differs = |what: &str| Err(Error::corrupt(format!("the tables up to {}", meta.checkpoint), what));
        let last = match self.table(LOG, "the log")?.last()? {
            Some(row) => last_event(row.key(), row.value())?,
            None => Position::START,
        };
        if last != meta.checkpoint {
            return differs(&format!("the log in them ends at {last}"));
        }
        let zone = match self.table(ZONES, "the zones")?.last()? {
            Some(row) => Some(Zone::decode(row.key(), row.value())?.1),
            None => None,
        };
        let end = zone.as_ref().map_or(Position::START, |zone| zone.last);
        if end != meta.checkpoint {
            return differs(&format!("the zones in them end at {end}"));
        }
        let (chain, recorded) = zone.map_or(([0; 32], None), |zone| (zone.chain, Some(zone.recorded.1)));
        if (chain, recorded) != (meta.chain, meta.recorded) {
            return differs("their last zone has another hash or time than meta");
        }
        Ok(())
    }

    /// The zones from a key on, in its order: each with its key, and as far as it can be read.
    pub fn zones_from_key(&self, from: &[u8], most: usize) -> Result<Vec<ZoneRow>> {
        let table = self.table(ZONES, "the zones")?;
        let mut rows = table.range(Bound::Included(from), Bound::Unbounded)?;
        let mut found = Vec::new();
        while found.len() < most
            && let Some(row) = rows.next()?
        {
            found.push((row.key().to_vec(), Zone::decode(row.key(), row.value())));
        }
        Ok(found)
    }

    /// The key from where on zones can be read again, behind one from where on they cannot.
    pub fn zones_readable_after(&self, from: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.table(ZONES, "the zones")?.readable_after(from, None))
    }

    /// The newest zone that ends at or before a position, and can be read.
    pub fn zone_until(&self, position: Position) -> Result<Option<Zone>> {
        let table = self.table(ZONES, "the zones")?;
        let end = position.to_be_bytes();
        let mut rows = table.range(Bound::Unbounded, Bound::Included(&end))?;
        while let Some(row) = rows.next_back()? {
            if let Ok((_, zone)) = Zone::decode(row.key(), row.value())
                && zone.last <= position
            {
                return Ok(Some(zone));
            }
        }
        Ok(None)
    }

    /// The zone that holds a position and those that follow it one way or the other, up to so many; beyond the zones none.
    pub fn zones_from(&self, from: Position, descending: bool, most: usize) -> Result<Vec<(Position, Zone)>> {
        let table = self.table(ZONES, "the zones")?;
        let from = from.to_be_bytes();
        let mut zones = Vec::new();
        let mut before = table.range(Bound::Unbounded, Bound::Included(&from))?;
        while zones.len() < most
            && let Some(row) = before.next_back()?
        {
            zones.push(Zone::decode(row.key(), row.value())?);
            if !descending {
                break;
            }
        }
        if !descending {
            let mut after = table.range(Bound::Excluded(&from), Bound::Unbounded)?;
            while zones.len() < most
                && let Some(row) = after.next()?
            {
                zones.push(Zone::decode(row.key(), row.value())?);
            }
        }
        Ok(zones)
    }

    #[cfg(test)]
    pub fn zones(&self) -> Result<Vec<(Position, Zone)>> {
        self.zones_from_key(&[], usize::MAX)?.into_iter().map(|(_, zone)| zone).collect()
    }
}

/// The table `postings`.
pub(crate) struct Postings {
    rows: ReadTable,
    /// Of some terms, what was answered last where the last chunk before a position was asked for: who estimates what a list costs asks
    /// for the chunk that is read then. Nothing of it changes, for this is of one commit.
    last_before: Mutex<HashMap<Vec<u8>, ChunkBefore>>,
}

/// The last chunk that begins at or before a position, if there is one.
type ChunkBefore = (Position, Option<Arc<PostingChunk>>);

/// Of how many terms that is remembered at most. Each takes some 2 KB.
const REMEMBERED: usize = 128;

/// Whether a row is a chunk of a term.
fn is_chunk_of(term: &[u8], row: &Entry) -> bool {
    row.key().strip_prefix(term).is_some_and(|first| first.len() == size_of::<u64>())
}

impl Postings {
    /// The last chunk of a term that begins at or before a position.
    pub fn chunk_before(&self, term: &[u8], position: Position) -> Result<Option<Arc<PostingChunk>>> {
        if let Some((_, chunk)) = locked(&self.last_before).get(term).filter(|(at, _)| *at == position) {
            return Ok(chunk.clone());
        }
        let key = posting::key(term, position);
        let (before, after) = self.rows.around(&key, true)?;
        let chunk = self.chunk_of(term, before, after)?.map(Arc::new);
        let mut remembered = locked(&self.last_before);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(term.to_vec(), (position, chunk.clone()));
        Ok(chunk)
    }

    /// The first chunk of a term that begins at or after a position.
    pub fn chunk_after(&self, term: &[u8], position: Position) -> Result<Option<PostingChunk>> {
        let key = posting::key(term, position);
        let (before, after) = self.rows.around(&key, false)?;
        self.chunk_of(term, after, before)
    }

    /// What the last chunk of a term says that begins at or before a position, and the first one after that.
    pub fn heads(&self, term: &[u8], position: Position) -> Result<[Option<ChunkHead>; 2]> {
        let (before, after) = self.rows.around(&posting::key(term, position), true)?;
        let head = |row: Option<Entry>| match row {
            Some(row) if is_chunk_of(term, &row) => posting::head(row.key(), row.value()).map(Some),
            row => self.rows.check(row.as_ref()).map(|()| None),
        };
        Ok([head(before)?, head(after)?])
    }

    /// The chunk of a row, if it is one of a term. The row on the other side was compared with, too.
    fn chunk_of(
        &self,
        term: &[u8],
        row: Option<Entry>,
        beside: Option<Entry>,
    ) -> Result<Option<PostingChunk>> {
        self.rows.check(beside.as_ref())?;
        match row {
            Some(row) if is_chunk_of(term, &row) => posting::decode(row.key(), row.value()).map(Some),
            // There is none: so says this row.
            row => self.rows.check(row.as_ref()).map(|()| None),
        }
    }

    /// The first term at or after some bytes, whatever its list.
    pub fn term_at(&self, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let (before, after) = self.rows.around(from, false)?;
        self.rows.check(before.as_ref())?;
        self.rows.check(after.as_ref())?;
        after.map(|row| Ok(posting::split_key(row.key())?.0.to_vec())).transpose()
    }

    /// Hands over the chunks from one key on and before another, in key order, those apart that begin beyond a position. It looks at
    /// so many at most, and then tells the key to go on with.
    pub fn sweep(
        &self,
        from: &[u8],
        until: &[u8],
        last: Position,
        most: usize,
        mut row: impl FnMut(PostingChunk),
    ) -> Result<Option<Vec<u8>>> {
        let (mut looked_at, mut next) = (0, None);
        self.rows.within_as_it_is(from, Some(until), |key, value| {
            let chunk = posting::decode(key, value)?;
            if posting::split_key(key)?.1 <= last {
                row(chunk);
            }
            looked_at += 1;
            if looked_at == most {
                next = Some([key, &[0]].concat());
            }
            Ok(looked_at < most)
        })?;
        Ok(next)
    }

    /// Hands over every chunk from a key on, in key order, as far as it can be read: with its term, or its key if that is none. The
    /// last key that was handed over stays in `from`, so that an error tells where it is.
    pub fn scan(
        &self,
        from: &mut Vec<u8>,
        mut row: impl FnMut(&[u8], Result<PostingChunk>) -> Result<()>,
    ) -> Result<()> {
        let mut rows = self.rows.range(Bound::Included(from), Bound::Unbounded)?;
        while let Some(next) = rows.next()? {
            let key = next.key();
            from.clear();
            from.extend_from_slice(key);
            row(posting::split_key(key).map_or(key, |(term, _)| term), posting::decode(key, next.value()))?;
        }
        Ok(())
    }

    /// The first key behind another from which on chunks can be read again.
    pub fn readable_after(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.readable_after(key, None)
    }
}
