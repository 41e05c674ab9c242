//! Copying all tables but the places of followers, row by row and in the order of their keys, into those of a new file.
//!
//! Each row is held to its checksum on the way, so that damage is not copied but told.

use redb::TableDefinition;

use super::block::BlockEvents;
use super::table::{Entry, ReadTable};
use super::{
    Bytes, FOLLOWERS, FORGOTTEN, FOUND, INDEXES, KEYS, LOG, POSTINGS, SNAPSHOTS, STATES, SUBJECTS,
    TableWrite, Tables, TablesRead, VIEWS, WriteTables, ZONES, failed, row_position, unsealed,
};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::index::posting;

/// How many bytes of rows one write has, about.
const WRITE: usize = 16 << 20;

/// Which rows of `meta` are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaRows {
    All,
    /// What is of a session, its journal, is not the copy's.
    WithoutSession,
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
}

/// Who is told of a copy.
pub(crate) trait CopyWatch {
    /// An event is to be copied. They come in order; an error ends the copy.
    fn event(&mut self, position: Position, bytes: &[u8]) -> Result<()>;

    /// Some rows more are written. An error ends the copy.
    fn written(&mut self) -> Result<()>;
}

/// The log first: it is what all the others follow from.
const TABLES: [TableCopy; 12] = [
    TableCopy { definition: LOG, what: "the log", table: |to| &mut to.log, check: check_events },
    TableCopy { definition: ZONES, what: "the zones", table: |to| &mut to.zones, check: check_sealed },
    TableCopy { definition: POSTINGS, what: super::LISTS, table: |to| &mut to.postings, check: check_list },
    TableCopy { definition: INDEXES, what: "the indexes", table: |to| &mut to.indexes, check: check_sealed },
    TableCopy { definition: STATES, what: "stored states", table: |to| &mut to.states, check: check_sealed },
    TableCopy {
        definition: FOUND,
        what: "indexes of states",
        table: |to| &mut to.found,
        check: check_sealed,
    },
    TableCopy {
        definition: SNAPSHOTS,
        what: "snapshots",
        table: |to| &mut to.snapshots,
        check: check_sealed,
    },
    TableCopy {
        definition: FOLLOWERS,
        what: "followers",
        table: |to| &mut to.followers,
        check: check_sealed,
    },
    TableCopy { definition: VIEWS, what: "stored views", table: |to| &mut to.views, check: check_sealed },
    TableCopy {
        definition: KEYS,
        what: "the keys of subjects",
        table: |to| &mut to.keys,
        check: check_sealed,
    },
    TableCopy { definition: SUBJECTS, what: "subjects", table: |to| &mut to.subjects, check: check_sealed },
    TableCopy {
        definition: FORGOTTEN,
        what: "forgotten keys",
        table: |to| &mut to.forgotten,
        check: check_sealed,
    },
];

fn check_events(row: &Entry, watch: &mut dyn CopyWatch) -> Result<()> {
    let first = row_position("the log", row.key())?;
    BlockEvents::of(first, row.value()).try_for_each(|event| {
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
    pub fn copy_rows(&self, to: &Tables, watch: &mut dyn CopyWatch) -> Result<()> {
        for copied in TABLES {
            if let Some(from) = self.table_if_any(copied.definition, copied.what)? {
                copy_table(self, copied, &from, to, watch)?;
            }
        }
        Ok(())
    }

    /// Makes a database of what was copied.
    pub fn copy_meta(&self, to: &Tables, which: MetaRows) -> Result<()> {
        let rows = self.meta_rows()?;
        to.write("copying the tables", |to| {
            let is_copied = |name: &str| which == MetaRows::All || !OF_SESSION.contains(&name);
            for (name, value) in rows.iter().filter(|(name, _)| is_copied(name)) {
                to.meta
                    .insert(name.as_str(), value.as_slice())
                    .map_err(|e| failed("copying the tables", e))?;
            }
            Ok(())
        })
    }
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
                let fault = |e| failed("copying the tables", e);
                (copied.table)(to).insert(row.key(), row.value()).map_err(fault)?;
                bytes += row.key().len() + row.value().len();
                next = rows.next()?;
            }
            Ok(())
        })?;
        // Whoever is to open them again waits for this read.
        if read.needs_reopening() {
            return Err(Error::stopped("the disk of the database failed while it was copied; try it again"));
        }
        watch.written()?;
    }
    Ok(())
}
