//! The tables: redb tables with every position up to the checkpoint C.
//!
//! | table | key | value |
//! |---|---|---|
//! | `log` | first position, 8 bytes big-endian | a block ([`super::tables::block`]) of events ([`crate::event::codec`]) |
//! | `postings` | term, first position | a chunk ([`super::index::posting`]) |
//! | `zones` | first position of a run | [`Zone`] |
//! | `indexes` | the position of a definition | up to where its index is backfilled ([`indexes`]) |
//! | `states`, `found`, `snapshots`, `followers` | see [`states`] | what is kept of the states of entities |
//! | `views` | see [`views`] | what is kept of the groups of views |
//! | `cursors` | whose ([`cursors`]) | a place in the log |
//! | `keys`, `subjects`, `forgotten` | see [`keys`] | what private values are encrypted with |
//! | `meta` | a name | see [`Meta`] |
//!
//! An event's bytes and a chunk carry their own checksum; every other value ends with a CRC-32 over key and value.
//!
//! redb panics on some damaged pages. A page that is known to be damaged ([`checksums`]) is never handed to it, and what is read is
//! read through [`table`], where a panic is an error that says what was being read.
//!
//! Every write goes through [`Tables::write`], which sets quick-repair, so that opening after a crash is instant. redb latches any
//! error of its backend; [`Tables::reopen`] gets over one.

pub(crate) mod block;
mod block_cache;
mod checksums;
pub(crate) mod compressed_block;
pub(crate) mod copy;
pub(crate) mod cursors;
mod followed_log;
mod guard;
mod handle;
pub(crate) mod index_facts;
pub(crate) mod indexes;
pub(crate) mod keys;
mod log_table;
mod pages;
mod read;
mod state_rows;
pub(crate) mod states;
mod table;
pub(crate) mod views;

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::disk::overlay::Overlay;
use super::disk::{self, Disk, Identity};
use super::index::posting::{self, PostingChunk};
use super::index::term::{definition_of, derived_prefix};
use super::journal::{DatabaseId, Salt};
use super::mutex::locked;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::time::Timestamp;
use block::BlockEvents;
pub(crate) use block::MOST as MOST_IN_BLOCK;
pub(crate) use checksums::first_positions;
use compressed_block::uncompressed;
pub(crate) use followed_log::FollowedLog;
use guard::Guarded;
pub(crate) use handle::PAGE;
use handle::{TablesState, closed, open};
pub(crate) use log_table::{LogBlock, LogTable};
pub(crate) use read::{LISTS, Postings, TablesRead};

pub(crate) type Bytes = &'static [u8];

const LOG: TableDefinition<Bytes, Bytes> = TableDefinition::new("log");
const POSTINGS: TableDefinition<Bytes, Bytes> = TableDefinition::new("postings");
const ZONES: TableDefinition<Bytes, Bytes> = TableDefinition::new("zones");
const INDEXES: TableDefinition<Bytes, Bytes> = TableDefinition::new("indexes");
const STATES: TableDefinition<Bytes, Bytes> = TableDefinition::new("states");
const FOUND: TableDefinition<Bytes, Bytes> = TableDefinition::new("found");
const SNAPSHOTS: TableDefinition<Bytes, Bytes> = TableDefinition::new("snapshots");
const FOLLOWERS: TableDefinition<Bytes, Bytes> = TableDefinition::new("followers");
const VIEWS: TableDefinition<Bytes, Bytes> = TableDefinition::new("views");
const CURSORS: TableDefinition<Bytes, Bytes> = TableDefinition::new("cursors");
const KEYS: TableDefinition<Bytes, Bytes> = TableDefinition::new("keys");
const SUBJECTS: TableDefinition<Bytes, Bytes> = TableDefinition::new("subjects");
const FORGOTTEN: TableDefinition<Bytes, Bytes> = TableDefinition::new("forgotten");
const META: TableDefinition<&'static str, Bytes> = TableDefinition::new("meta");

/// The version of everything this crate writes: a file of a later one is refused, not guessed at.
const FORMAT: u64 = 9;

/// The version of a file that follows no log but its journal.
const FORMAT_COMPRESSED: u64 = 8;

/// The version of a file in which no block is compressed.
const FORMAT_REWRITTEN: u64 = 7;

/// The version of a file in which no event was rewritten.
const FORMAT_WITH_KEYS: u64 = 6;

/// The version of a file in which nothing is private: it has no keys, and is what an older version reads, too.
const FORMAT_WITHOUT_KEYS: u64 = 5;

/// By which rules expressions are worked out: what is kept by older ones is made anew ([`outdated`](super::outdated)).
pub(crate) const EVALUATION: u64 = 2;

/// How long whoever is to be alone tries to come between reads, and how often.
const TRIED: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(200);

/// How many events a row of the log has at most that a checkpoint wrote.
pub(super) const MOST_IN_A_ROW: u64 = block::PACKED as u64;

/// redb, and how to open it again.
pub(crate) struct Tables {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache: usize,
    /// Which file it is: under its name there may be another one later.
    identity: Mutex<Identity>,
    /// Whoever writes passes it; whoever is to be the only one closes it.
    writers: RwLock<()>,
    /// The file has its name since a moment ago, and a crash may give that back to the one before: nothing is written until it cannot.
    named_lately: AtomicBool,
    state: RwLock<TablesState>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({})", self.path.display())
    }
}

impl Tables {
    /// Opens an existing file of tables.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, cache: usize) -> Result<Tables> {
        Tables::open_or_make(disk, path, cache).map_err(|error| at_opening(path, error))
    }

    /// The same, or makes a file of tables of an empty one.
    pub fn open_or_make(disk: Arc<dyn Disk>, path: &Path, cache: usize) -> Result<Tables> {
        let handle = open(&*disk, path, cache, None)?;
        let identity = handle.identity;
        Ok(Tables {
            disk,
            path: path.to_owned(),
            cache,
            identity: Mutex::new(identity),
            writers: RwLock::default(),
            named_lately: AtomicBool::new(false),
            state: RwLock::new(TablesState::Open(handle)),
        })
    }

    /// How many names the file has; none where the system does not tell.
    pub fn names(&self) -> Result<Option<u64>> {
        let state = self.state();
        let names = state.handle()?.file.names();
        names.map_err(|e| Error::io(format!("looking at {}", self.path.display()), e))
    }

    /// Which file this is.
    pub fn identity(&self) -> Identity {
        *locked(&self.identity)
    }

    /// Makes all tables in a new file.
    pub fn initialize(&self, id: DatabaseId) -> Result<()> {
        self.write("creating the tables", |tables| {
            tables.set_meta("format", &FORMAT_WITHOUT_KEYS.to_be_bytes())?;
            tables.set_meta("database", &id.0)?;
            tables.set_meta("evaluation", &EVALUATION.to_be_bytes())?;
            tables.set_meta("checkpoint", &Position::START.to_be_bytes())
        })
    }

    /// Begins a read at what is committed now. Keep it short: it holds back a reopening, and pins pages.
    pub fn read(&self) -> Result<TablesRead<'_>> {
        let guard = self.usable_state();
        let committed = guard.handle()?.committed()?;
        Ok(TablesRead { committed, _guard: guard })
    }

    fn state(&self) -> RwLockReadGuard<'_, TablesState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, opened again if redb has failed before.
    fn usable_state(&self) -> RwLockReadGuard<'_, TablesState> {
        let guard = self.state();
        if !guard.needs_reopening() {
            return guard;
        }
        drop(guard);
        // Reads may go on even where this fails.
        let _ = self.reopen_if(TablesState::needs_reopening);
        self.state()
    }

    /// One write transaction: all of it, or nothing.
    pub fn write(&self, doing: &str, write: impl FnOnce(&mut WriteTables) -> Result<()>) -> Result<()> {
        let _passed = self.writers.read().unwrap_or_else(PoisonError::into_inner);
        self.sync_name()?;
        let guard = self.usable_state();
        let handle = guard.handle()?;
        if let Some(error) = &handle.read_only {
            return Err(error.clone());
        }
        // What it frees is free at once where nobody reads.
        handle.forget_committed();
        let written = guard::writing(doing, &handle.latched, || {
            let mut transaction = handle.database()?.begin_write().map_err(|e| failed(doing, e))?;
            transaction.set_quick_repair(true);
            let tables = WriteTables::open(&transaction);
            #[cfg(test)]
            let tables = tables.map(|tables| WriteTables { blocks: Some(&handle.blocks), ..tables });
            match tables.and_then(|mut tables| write(&mut tables)) {
                Ok(()) => transaction.commit().map_err(|e| failed(doing, e)),
                Err(error) => {
                    // Dropping it would abort too; the first error is the one worth telling.
                    let _ = transaction.abort();
                    Err(error)
                }
            }
        });
        // Whoever reads from now on sees it.
        handle.forget_committed();
        written.map_err(|error| handle.told(doing, error))
    }

    /// Compares each page that the tables reach with its checksum, which redb does not do as it reads.
    ///
    /// # Errors
    /// If one does not fit, and where it is cancelled.
    pub fn check_pages(&self, cancel: &Cancel) -> Result<()> {
        // While this read is under way, what it sees is not written over, nor what is written meanwhile.
        let read = self.read()?;
        let checked = pages::check(&self.disk, &self.path, self.identity(), cancel);
        drop(read);
        match checked {
            // Was it read just while it was written? Then not again while nobody else is at it.
            Err(Error::Corrupt { .. }) => {
                let _alone = self.alone();
                let _read = self.read()?;
                pages::check(&self.disk, &self.path, self.identity(), cancel)
            }
            checked => checked,
        }
    }

    /// Closes and opens the tables again, after an error of the disk. The caller's lock on the file stays.
    ///
    /// # Errors
    /// If they cannot be opened to write. If they can be read at all, reads go on.
    pub fn reopen(&self) -> Result<()> {
        self.reopen_if(|_| true)
    }

    fn reopen_if(&self, needed: impl Fn(&TablesState) -> bool) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, TablesState::Closed) {
            return Err(closed());
        }
        if !needed(&state) {
            return Ok(());
        }
        // First the old one goes: two of them must not write into one file.
        *state = TablesState::Lost(Error::stopped("the tables are being opened"));
        let error = match open(&*self.disk, &self.path, self.cache, Some(self.identity())) {
            Ok(handle) => {
                *state = TablesState::Open(handle);
                return Ok(());
            }
            Err(error) => error,
        };
        // redb repairs a file as it opens it. To read, it may do so in memory.
        let overlay = Overlay::new(self.disk.clone());
        *state = match open(&overlay, &self.path, self.cache, Some(self.identity())) {
            Ok(mut handle) => {
                handle.read_only = Some(error.clone());
                TablesState::Open(handle)
            }
            Err(_) => TablesState::Lost(error.clone()),
        };
        Err(error)
    }

    /// Gives the disk back what the file has more than it needs. Reads that are under way end first.
    pub fn shrink(&self) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            TablesState::Open(handle) => handle.shrink(),
            TablesState::Lost(error) => Err(error.clone()),
            TablesState::Closed => Err(closed()),
        }
    }

    /// Makes the name durable that the file got when it took the place of another.
    pub fn sync_name(&self) -> Result<()> {
        if self.named_lately.load(Ordering::Acquire) {
            let synced = self.disk.sync_folder(disk::folder(&self.path));
            synced.map_err(|e| Error::io(format!("syncing the folder of {}", self.path.display()), e))?;
            self.named_lately.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Which file this is, once one that is being put in the place of another is open.
    pub fn settled_identity(&self) -> Identity {
        let _state = self.state();
        self.identity()
    }

    /// Waits until nobody writes, and lets nobody begin to while this is held.
    pub fn alone(&self) -> TablesAlone<'_> {
        TablesAlone { tables: self, _closed: self.writers.write().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Closes the tables. Reads that are under way end first.
    pub fn close(&self) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, TablesState::Closed) {
            TablesState::Open(handle) => handle.close(),
            TablesState::Lost(error) => Err(error),
            TablesState::Closed => Ok(()),
        }
    }
}

/// Tables that nobody else writes.
pub(crate) struct TablesAlone<'t> {
    tables: &'t Tables,
    _closed: RwLockWriteGuard<'t, ()>,
}

impl TablesAlone<'_> {
    /// Puts another file that holds the same in the place of this one, and opens it: `replace` gives that the name. Reads that are under way
    /// end first, and those that begin wait. `go_on` is asked while they do.
    ///
    /// # Errors
    /// That of `replace`; then all is as it was. Or where the file cannot be opened that then has the name.
    pub fn replace(
        &self,
        new: Identity,
        go_on: impl Fn() -> Result<()>,
        replace: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let tables = self.tables;
        let mut state = self.state_alone(go_on)?;
        if matches!(*state, TablesState::Closed) {
            return Err(closed());
        }
        let waiting = TablesState::Lost(Error::stopped("the tables are being opened"));
        let closed = match std::mem::replace(&mut *state, waiting) {
            TablesState::Open(handle) => handle.close(),
            TablesState::Lost(error) => Err(error),
            TablesState::Closed => Err(closed()),
        };
        let replaced = closed.and_then(|()| replace());
        if replaced.is_ok() {
            *locked(&tables.identity) = new;
            tables.named_lately.store(true, Ordering::Release);
        }
        *state = match open(&*tables.disk, &tables.path, tables.cache, Some(tables.identity())) {
            Ok(handle) => TablesState::Open(handle),
            Err(error) => {
                let lost = TablesState::Lost(error.clone());
                *state = lost;
                return replaced.and(Err(error));
            }
        };
        replaced
    }

    /// Hands over the file as it is, once nobody reads the tables.
    fn with_file<T>(
        &self,
        go_on: impl Fn() -> Result<()>,
        work: impl FnOnce(&dyn disk::File) -> Result<T>,
    ) -> Result<T> {
        let state = self.state_alone(go_on)?;
        let handle = state.handle()?;
        // Nobody finds there what was read before.
        handle.forget_committed();
        work(&*handle.file)
    }

    /// The state, once nobody reads. Whoever waits for a lock turns away those that come after: so it is tried for a while, since one read may
    /// take long, and then waited for.
    fn state_alone(&self, go_on: impl Fn() -> Result<()>) -> Result<RwLockWriteGuard<'_, TablesState>> {
        let until = Instant::now() + TRIED;
        while Instant::now() < until {
            go_on()?;
            match self.tables.state.try_write() {
                Ok(state) => return Ok(state),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        Ok(self.tables.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether an operation failed only because another one had before: what is opened again does not know of it.
pub(crate) fn was_interrupted(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::Interrupted)
}

/// What an error means to whoever opens a database: it stays closed.
pub(crate) fn at_opening(path: &Path, error: Error) -> Error {
    match error {
        Error::Corrupt { place, found, .. } => Error::unopenable(
            path,
            format!("corrupt: {place}: {found}"),
            "restore a copy, or read what is left (bygone rescue)",
        ),
        Error::Io { source, .. } => {
            let first = match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room",
                _ => "check the disk",
            };
            let advice = format!(
                "{first}, or open it read-only (--read-only), which reads what the journal holds without writing"
            );
            Error::unopenable(path, source, advice)
        }
        error => error,
    }
}

fn failed(doing: &str, error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(io) => Error::io(doing, io),
        redb::Error::Corrupted(found) => Error::corrupt(doing, found),
        redb::Error::PreviousIo => Error::io(doing, std::io::Error::from(ErrorKind::Interrupted)),
        // Nobody else makes tables in this file.
        error @ (redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }) => Error::corrupt(doing, error.to_string()),
        other => Error::io(doing, std::io::Error::other(other.to_string())),
    }
}

/// What stands beside the log, as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meta {
    pub id: DatabaseId,
    /// C: every position up to here is in these tables.
    pub checkpoint: Position,
    /// The journal that holds what comes after C.
    pub journal: Option<Salt>,
    /// The last journal that was taken in whole: what is left of it may be removed.
    pub retired: Option<Salt>,
    /// When the event at C was recorded.
    pub recorded: Option<Timestamp>,
    /// The chain hash at C.
    pub chain: [u8; 32],
}

/// What a run of positions spans.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    pub last: Position,
    pub occurred: (Timestamp, Timestamp),
    pub recorded: (Timestamp, Timestamp),
    /// hₙ at the last event: hₙ = BLAKE3(hₙ₋₁ ‖ header ‖ BLAKE3(payload)).
    pub chain: [u8; 32],
}

/// A zone's key, and the zone with its first position.
pub(crate) type ZoneRow = (Vec<u8>, Result<(Position, Zone)>);

impl Zone {
    /// `last`, the four times as seconds (8 bytes) and nanoseconds (4), all big-endian, and the hash.
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut row = self.last.to_be_bytes().to_vec();
        for time in [self.occurred.0, self.occurred.1, self.recorded.0, self.recorded.1] {
            let (seconds, nanos) = time.parts();
            row.extend_from_slice(&seconds.to_be_bytes());
            row.extend_from_slice(&nanos.to_be_bytes());
        }
        row.extend_from_slice(&self.chain);
        sealed(key, row)
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(Position, Zone)> {
        let first = row_position("the zones", key)?;
        let place = || format!("the zone at {first}");
        let mut bytes = unsealed(key, value, place)?;
        let cut = || Error::corrupt(place(), "less than a zone has");
        let last = Position::from_be_bytes(*taken(&mut bytes).ok_or_else(cut)?);
        let mut time = || -> Result<Timestamp> {
            let seconds = i64::from_be_bytes(*taken(&mut bytes).ok_or_else(cut)?);
            let nanos = i32::from_be_bytes(*taken(&mut bytes).ok_or_else(cut)?);
            let time = Timestamp::from_parts(seconds, nanos)?;
            // Each is written in one way.
            let other = || Error::corrupt(place(), "a time that no zone is written with");
            (time.parts() == (seconds, nanos)).then_some(time).ok_or_else(other)
        };
        let (occurred, recorded) = ((time()?, time()?), (time()?, time()?));
        let chain = *taken(&mut bytes).ok_or_else(cut)?;
        if !bytes.is_empty() {
            return Err(Error::corrupt(place(), "more than a zone has"));
        }
        Ok((first, Zone { last, occurred, recorded, chain }))
    }
}

/// The first so many bytes, taken away.
fn taken<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

/// The position of the last event of a row of the log.
fn last_event(key: &[u8], value: &[u8]) -> Result<Position> {
    let (first, mut buffer) = (row_position("the log", key)?, Vec::new());
    let last = BlockEvents::of(first, uncompressed(first, value, &mut buffer)?).last().transpose()?;
    last.map(|(position, _)| position)
        .ok_or_else(|| Error::corrupt("the log", format!("no event in the row of {first}")))
}

/// A value, and its checksum.
fn sealed(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let checksum = posting::checksum(key, &value);
    value.extend_from_slice(&checksum.to_be_bytes());
    value
}

/// The value, if its checksum is right.
pub(crate) fn unsealed<'v>(key: &[u8], value: &'v [u8], place: impl Fn() -> String) -> Result<&'v [u8]> {
    match value.split_last_chunk::<4>() {
        Some((bytes, stored)) if posting::checksum(key, bytes) == u32::from_be_bytes(*stored) => Ok(bytes),
        _ => Err(Error::corrupt(place(), "its checksum does not fit its bytes")),
    }
}

/// A table within a write. One that panicked before may panic again as it is dropped.
type TableWrite<'t, K> = Guarded<Table<'t, K, Bytes>>;

fn opened<'t, K: redb::Key + 'static>(
    transaction: &'t WriteTransaction,
    definition: TableDefinition<K, Bytes>,
) -> Result<TableWrite<'t, K>> {
    let table = transaction.open_table(definition);
    table.map(Guarded::new).map_err(|e| failed("opening the tables", redb::Error::from(e)))
}

/// The tables within one write.
pub(crate) struct WriteTables<'t> {
    log: TableWrite<'t, Bytes>,
    postings: TableWrite<'t, Bytes>,
    zones: TableWrite<'t, Bytes>,
    indexes: TableWrite<'t, Bytes>,
    states: TableWrite<'t, Bytes>,
    found: TableWrite<'t, Bytes>,
    snapshots: TableWrite<'t, Bytes>,
    followers: TableWrite<'t, Bytes>,
    views: TableWrite<'t, Bytes>,
    cursors: TableWrite<'t, Bytes>,
    keys: TableWrite<'t, Bytes>,
    subjects: TableWrite<'t, Bytes>,
    forgotten: TableWrite<'t, Bytes>,
    meta: TableWrite<'t, &'static str>,
    buffer: Vec<u8>,
    /// What is to be told where a test changes what is never changed.
    #[cfg(test)]
    blocks: Option<&'t block_cache::BlockCache>,
}

impl<'t> WriteTables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<WriteTables<'t>> {
        Ok(WriteTables {
            log: opened(transaction, LOG)?,
            postings: opened(transaction, POSTINGS)?,
            zones: opened(transaction, ZONES)?,
            indexes: opened(transaction, INDEXES)?,
            states: opened(transaction, STATES)?,
            found: opened(transaction, FOUND)?,
            snapshots: opened(transaction, SNAPSHOTS)?,
            followers: opened(transaction, FOLLOWERS)?,
            views: opened(transaction, VIEWS)?,
            cursors: opened(transaction, CURSORS)?,
            keys: opened(transaction, KEYS)?,
            subjects: opened(transaction, SUBJECTS)?,
            forgotten: opened(transaction, FORGOTTEN)?,
            meta: opened(transaction, META)?,
            buffer: Vec::new(),
            #[cfg(test)]
            blocks: None,
        })
    }

    /// Puts a block where it is to be, of which the first event has this position.
    pub(super) fn put_block(&mut self, first: Position, value: &[u8]) -> Result<()> {
        let key = first.to_be_bytes();
        self.log.insert(key.as_slice(), value).map_err(|e| failed("writing the log", e))?;
        Ok(())
    }

    /// Appends events, of which the first gets this position: it must be the next one.
    pub fn put_events<'e>(
        &mut self,
        first: Position,
        events: impl IntoIterator<Item = &'e [u8]>,
    ) -> Result<()> {
        let reading = |e| failed("reading the log", e);
        if let Some((key, value)) = self.log.last().map_err(reading)? {
            let last = last_event(key.value(), value.value())?;
            if last == Position::MAX || first != last.next() {
                let found = format!("an event to go to {first}, and its last one is {last}");
                return Err(Error::corrupt("the log", found));
            }
        }
        block::pack(first, events, |first, value| self.put_block(first, value))
    }

    pub fn put_zone(&mut self, first: Position, zone: &Zone) -> Result<()> {
        let key = first.to_be_bytes();
        let row = zone.encode(&key);
        self.zones.insert(key.as_slice(), row.as_slice()).map_err(|e| failed("writing zones", e))?;
        Ok(())
    }

    /// Appends positions, ascending and after all that the list has, to the list of a term. The list of an index has two sides,
    /// which grow each for itself: what lies before its definition, up to it, and what comes after.
    pub fn append_postings(&mut self, term: &[u8], mut positions: &[Position]) -> Result<()> {
        let last = {
            let (first, last) = match (definition_of(term), positions.first()) {
                (Some(definition), Some(first)) if *first <= definition => (Position::START, definition),
                (Some(definition), _) => (definition.next(), Position::MAX),
                (None, _) => (Position::START, Position::MAX),
            };
            let range =
                (Bound::Included(posting::key(term, first)), Bound::Included(posting::key(term, last)));
            let mut found = self
                .postings
                .range::<&[u8]>((as_slice(&range.0), as_slice(&range.1)))
                .map_err(|e| failed("reading postings", e))?;
            match found.next_back() {
                None => None,
                Some(row) => {
                    let (key, value) = row.map_err(|e| failed("reading postings", e))?;
                    Some((key.value().to_vec(), posting::decode(key.value(), value.value())?))
                }
            }
        };
        let mut before = 0;
        if let Some((key, mut chunk)) = last {
            let ends = chunk.positions.last().copied().unwrap_or_default();
            if let Some(first) = positions.first().filter(|first| **first <= ends) {
                let found = format!("an entry to go to {first}, and its last one is {ends}");
                return Err(Error::corrupt("a posting list", found));
            }
            let room = posting::FULL.saturating_sub(chunk.positions.len()).min(positions.len());
            if room > 0 {
                chunk.positions.extend_from_slice(&positions[..room]);
                positions = &positions[room..];
                self.put_chunk(&key, &chunk)?;
            }
            before = chunk.through();
        }
        for part in positions.chunks(posting::FULL) {
            let chunk = PostingChunk {
                before: if super::index::term::is_counted(term) { before } else { 0 },
                positions: part.to_vec(),
            };
            self.put_chunk(&posting::key(term, part[0]), &chunk)?;
            before += part.len() as u64;
        }
        Ok(())
    }

    /// Writes the list of a term anew.
    pub fn replace_postings(&mut self, term: &[u8], positions: &[Position]) -> Result<()> {
        let fault = |e| failed("writing postings", redb::Error::from(e));
        let mut keys = Vec::new();
        let range = (posting::key(term, Position::START), posting::key(term, Position::MAX));
        for row in self.postings.range::<&[u8]>(range.0.as_slice()..=range.1.as_slice()).map_err(fault)? {
            keys.push(row.map_err(fault)?.0.value().to_vec());
        }
        for key in &keys {
            self.postings.remove(key.as_slice()).map_err(fault)?;
        }
        // The two sides of the list of an index grow each for itself.
        let definition = definition_of(term).unwrap_or_default();
        let (before, behind) = positions.split_at(positions.partition_point(|at| *at <= definition));
        self.append_postings(term, before)?;
        self.append_postings(term, behind)
    }

    /// Puts positions, ascending, into the list of a term, wherever they belong in it.
    pub fn add_postings(&mut self, term: &[u8], positions: &[Position]) -> Result<()> {
        let range = (posting::key(term, Position::START), posting::key(term, Position::MAX));
        let last = {
            let fault = |e| failed("reading postings", redb::Error::from(e));
            let found =
                self.postings.range::<&[u8]>(range.0.as_slice()..=range.1.as_slice()).map_err(fault)?;
            let row = { found }.next_back().transpose().map_err(fault)?;
            row.map(|(key, value)| posting::decode(key.value(), value.value())).transpose()?
        };
        let last = last.and_then(|chunk| chunk.positions.last().copied());
        if last.is_none_or(|last| positions.first().is_some_and(|first| last < *first)) {
            return self.append_postings(term, positions);
        }
        let before = self.postings_of(term)?;
        let all: BTreeSet<Position> = before.iter().chain(positions).copied().collect();
        if all.len() > before.len() {
            self.replace_postings(term, &all.into_iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// All that the list of a term has.
    pub fn postings_of(&self, term: &[u8]) -> Result<Vec<Position>> {
        let fault = |e| failed("reading postings", redb::Error::from(e));
        let mut positions = Vec::new();
        let range = (posting::key(term, Position::START), posting::key(term, Position::MAX));
        for row in self.postings.range::<&[u8]>(range.0.as_slice()..=range.1.as_slice()).map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            positions.extend(posting::decode(key.value(), value.value())?.positions);
        }
        Ok(positions)
    }

    /// The lists of an index that have one of some positions: each with its term and all that it has.
    pub fn lists_with(
        &self,
        definition: Position,
        positions: &BTreeSet<Position>,
    ) -> Result<Vec<(Vec<u8>, Vec<Position>)>> {
        let fault = |e| failed("reading postings", redb::Error::from(e));
        let mut lists: Vec<(Vec<u8>, Vec<Position>)> = Vec::new();
        let (mut list, mut is_one): ((Vec<u8>, Vec<Position>), bool) = Default::default();
        let first = derived_prefix(definition);
        for row in self.postings.range::<&[u8]>(first.as_slice()..).map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            if definition_of(key.value()) != Some(definition) {
                break;
            }
            let term = posting::split_key(key.value())?.0;
            if list.0 != term {
                let done = std::mem::replace(&mut list, (term.to_vec(), Vec::new()));
                lists.extend(Some(done).filter(|_| is_one));
                is_one = false;
            }
            let chunk = posting::decode(key.value(), value.value())?;
            is_one |= chunk.positions.iter().any(|position| positions.contains(position));
            list.1.extend(chunk.positions);
        }
        lists.extend(Some(list).filter(|_| is_one));
        Ok(lists)
    }

    pub fn put_chunk(&mut self, key: &[u8], chunk: &PostingChunk) -> Result<()> {
        posting::encode(key, chunk, &mut self.buffer);
        self.postings.insert(key, self.buffer.as_slice()).map_err(|e| failed("writing postings", e))?;
        Ok(())
    }

    pub fn set_meta(&mut self, name: &'static str, value: &[u8]) -> Result<()> {
        let value = sealed(name.as_bytes(), value.to_vec());
        self.meta.insert(name, value.as_slice()).map_err(|e| failed("writing meta", e))?;
        Ok(())
    }

    pub fn clear_meta(&mut self, name: &'static str) -> Result<()> {
        self.meta.remove(name).map_err(|e| failed("writing meta", e))?;
        Ok(())
    }
}

fn row_position(table: &str, key: &[u8]) -> Result<Position> {
    let bytes = key.try_into().map_err(|_| Error::corrupt(table, format!("a key of {} bytes", key.len())))?;
    Ok(Position::from_be_bytes(bytes))
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

#[cfg(test)]
mod tests;
