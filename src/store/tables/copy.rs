//! Copying all tables but the places of followers, row by row and in the order of their keys, into those of a new file.
//!
//! Each row is held to its checksum on the way, so that damage is not copied but told. A compaction compresses the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redb::{TableDefinition, TableHandle};

use super::block::BlockEvents;
use super::compressed_block::{BlockCompressor, uncompressed};
use super::keys::WITHOUT_KEYS;
use super::table::{Entry, ReadTable};
use super::{
    Bytes, FOLLOWERS, FORGOTTEN, FOUND, INDEXES, KEYS, LOG, POSTINGS, SNAPSHOTS, STATES, SUBJECTS,
    TableWrite, Tables, TablesRead, VIEWS, WriteTables, ZONES, failed, row_position, unsealed,
};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::index::posting;
use crate::store::index::term::{Term, definition_of};

/// How many bytes of rows one write has, about.
const WRITE: usize = 16 << 20;

/// Which rows are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopiedRows {
    /// All of them, those of the log compressed.
    Compacted,
    /// What is of a session, its journal, is not the copy's.
    OfBackup,
    /// Nor are the keys of subjects, nor what is made of private values.
    WithoutKeys,
}

/// The rows of `meta` that are of a session, not of what the file holds.
const OF_SESSION: [&str; 2] = ["journal", "retired"];

/// A table whose rows are copied as they are.
#[derive(Clone, Copy)]
struct TableCopy {
    definition: TableDefinition<'static, Bytes, Bytes>,
    /// What it is called where a page of it is damaged.
    what: &'static str,
    table: for<'w, 't> fn(&'w mut WriteTables<'t>) -> &'w mut TableWrite<'t, Bytes>,
    check: fn(&Entry, &mut dyn CopyWatch) -> Result<()>,
    /// Whether a row is copied.
    keeps: fn(&Entry) -> bool,
    /// Whether there is anything of it in a copy that has no keys: what follows from the log is made anew there.
    is_without_keys: bool,
}

impl TableCopy {
    const fn new(
        definition: TableDefinition<'static, Bytes, Bytes>,
        what: &'static str,
        table: for<'w, 't> fn(&'w mut WriteTables<'t>) -> &'w mut TableWrite<'t, Bytes>,
    ) -> TableCopy {
        TableCopy { definition, what, table, check: check_sealed, keeps: |_| true, is_without_keys: false }
    }

    const fn checked(self, check: fn(&Entry, &mut dyn CopyWatch) -> Result<()>) -> TableCopy {
        TableCopy { check, ..self }
    }

    const fn without_keys(self) -> TableCopy {
        TableCopy { is_without_keys: true, ..self }
    }
}

/// Who is told of a copy.
pub(crate) trait CopyWatch {
    /// An event is to be copied. They come in order; an error ends the copy.
    fn event(&mut self, position: Position, bytes: &[u8]) -> Result<()>;

    /// Some rows more are written. An error ends the copy.
    fn written(&mut self) -> Result<()>;

    /// The form that an event has in the copy, where it is another one.
    fn rewritten(
        &mut self,
        _read: &TablesRead,
        _position: Position,
        _bytes: &[u8],
    ) -> Result<Option<Arc<[u8]>>> {
        Ok(None)
    }

    /// The lists that are to have those events, too.
    fn take_lists(&mut self) -> BTreeMap<Term, Vec<Position>> {
        BTreeMap::new()
    }
}

/// The log first, which all the others follow from; where it is compressed, it comes last.
const TABLES: [TableCopy; 12] = [
    TableCopy::new(LOG, "the log", |to| &mut to.log).checked(check_events).without_keys(),
    TableCopy::new(ZONES, "the zones", |to| &mut to.zones).without_keys(),
    TableCopy::new(POSTINGS, super::LISTS, |to| &mut to.postings).checked(check_list).without_keys(),
    TableCopy::new(INDEXES, "the indexes", |to| &mut to.indexes),
    TableCopy::new(STATES, "stored states", |to| &mut to.states),
    TableCopy::new(FOUND, "indexes of states", |to| &mut to.found),
    TableCopy::new(SNAPSHOTS, "snapshots", |to| &mut to.snapshots),
    TableCopy::new(FOLLOWERS, "followers", |to| &mut to.followers),
    TableCopy::new(VIEWS, "stored views", |to| &mut to.views),
    TableCopy::new(KEYS, "the keys of subjects", |to| &mut to.keys),
    TableCopy::new(SUBJECTS, "subjects", |to| &mut to.subjects),
    TableCopy::new(FORGOTTEN, "forgotten keys", |to| &mut to.forgotten).without_keys(),
];

fn check_events(row: &Entry, watch: &mut dyn CopyWatch) -> Result<()> {
    let first = row_position("the log", row.key())?;
    let mut buffer = Vec::new();
    BlockEvents::of(first, uncompressed(first, row.value(), &mut buffer)?).try_for_each(|event| {
        let (position, bytes) = event?;
        watch.event(position, bytes)
    })
}

fn check_list(row: &Entry, _: &mut dyn CopyWatch) -> Result<()> {
    posting::decode(row.key(), row.value()).map(drop)
}

fn check_sealed(row: &Entry, _: &mut dyn CopyWatch) -> Result<()> {
    // An entry of an index of states had no checksum once, and no value.
    if row.value().is_empty() {
        return Ok(());
    }
    unsealed(row.key(), row.value(), || "a row that is to be copied".to_owned()).map(drop)
}

impl TablesRead<'_> {
    /// Copies all rows as of this read into tables that have none yet. The file is no database before [`copy_meta`](Self::copy_meta).
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a row does not fit its checksum: the new tables are of no use then.
    pub fn copy_rows(&self, to: &Tables, rows: CopiedRows, watch: &mut dyn CopyWatch) -> Result<()> {
        for copied in TABLES {
            let copied = match rows {
                CopiedRows::WithoutKeys if !copied.is_without_keys => continue,
                CopiedRows::WithoutKeys => {
                    TableCopy { keeps: |row| definition_of(row.key()).is_none(), ..copied }
                }
                CopiedRows::Compacted | CopiedRows::OfBackup => copied,
            };
            let Some(from) = self.table_if_any(copied.definition, copied.what)? else { continue };
            if copied.definition.name() != LOG.name() || rows != CopiedRows::Compacted {
                copy_table(self, copied, &from, to, watch)?;
            }
        }
        // Events that are rewritten come after the lists, some of which get them.
        match self.table_if_any(LOG, "the log")? {
            Some(log) if rows == CopiedRows::Compacted => copy_log(self, &log, to, watch),
            _ => Ok(()),
        }
    }

    /// Makes a database of what was copied.
    pub fn copy_meta(&self, to: &Tables, which: CopiedRows) -> Result<()> {
        let rows = self.meta_rows()?;
        let lost = match which {
            CopiedRows::WithoutKeys => self.given_key_numbers()?,
            CopiedRows::Compacted | CopiedRows::OfBackup => BTreeSet::new(),
        };
        to.write("copying the tables", |to| {
            // A backup of a copy without keys has what that has.
            let is_copied = |name: &str| {
                which == CopiedRows::Compacted || !OF_SESSION.contains(&name) && name != WITHOUT_KEYS
            };
            for (name, value) in rows.iter().filter(|(name, _)| is_copied(name)) {
                to.meta
                    .insert(name.as_str(), value.as_slice())
                    .map_err(|e| failed("copying the tables", e))?;
            }
            match which {
                CopiedRows::Compacted => to.set_compressed(),
                CopiedRows::OfBackup => Ok(()),
                CopiedRows::WithoutKeys => {
                    to.lose_keys(&lost)?;
                    to.set_without_keys()
                }
            }
        })
    }
}

/// Copies the log into blocks that are compressed; events may be stored in another form on the way.
fn copy_log(read: &TablesRead, from: &ReadTable, to: &Tables, watch: &mut dyn CopyWatch) -> Result<()> {
    let (mut blocks, mut buffer) = (BlockCompressor::new(), Vec::new());
    let mut rows = from.iter()?;
    let mut next = rows.next()?;
    while next.is_some() {
        let mut bytes = 0;
        to.write("copying the tables", |to| {
            let mut put = |first: Position, value: &[u8]| to.put_block(first, value);
            while bytes < WRITE
                && let Some(row) = &next
            {
                let first = row_position("the log", row.key())?;
                for event in BlockEvents::of(first, uncompressed(first, row.value(), &mut buffer)?) {
                    let (position, stored) = event?;
                    watch.event(position, stored)?;
                    match watch.rewritten(read, position, stored)? {
                        Some(stored) => blocks.push(position, &stored, &mut put)?,
                        None => blocks.push(position, stored, &mut put)?,
                    }
                    bytes += stored.len();
                }
                next = rows.next()?;
            }
            blocks.end(&mut put)?;
            let lists = watch.take_lists();
            lists.iter().try_for_each(|(term, positions)| to.add_postings(term.as_bytes(), positions))
        })?;
        end_write(read, watch)?;
    }
    Ok(())
}

/// Once a write is done.
fn end_write(read: &TablesRead, watch: &mut dyn CopyWatch) -> Result<()> {
    // Whoever is to open them again waits for this read.
    if read.needs_reopening() {
        return Err(Error::stopped("the disk of the database failed while it was copied; try it again"));
    }
    watch.written()
}

fn copy_table(
    read: &TablesRead,
    copied: TableCopy,
    from: &ReadTable,
    to: &Tables,
    watch: &mut dyn CopyWatch,
) -> Result<()> {
    let mut rows = from.iter()?;
    let mut next = rows.next()?;
    while next.is_some() {
        let mut bytes = 0;
        to.write("copying the tables", |to| {
            while bytes < WRITE
                && let Some(row) = &next
            {
                (copied.check)(row, watch)?;
                if (copied.keeps)(row) {
                    let fault = |e| failed("copying the tables", e);
                    (copied.table)(to).insert(row.key(), row.value()).map_err(fault)?;
                }
                bytes += row.key().len() + row.value().len();
                next = rows.next()?;
            }
            Ok(())
        })?;
        end_write(read, watch)?;
    }
    Ok(())
}
