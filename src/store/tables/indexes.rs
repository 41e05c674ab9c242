//! The table `indexes`: how far the index of each definition is backfilled.
//!
//! A row is written together with the entries that it tells of. Its key is the position of the definition, its value the
//! position up to which the log is in the index's lists (8 bytes, big-endian), and its checksum. An index is complete when
//! that is the position of its definition; without a row nothing is backfilled yet. A row goes with the last of the lists.
//!
//! The lists of an index whose expression could not be evaluated when an event was written are not complete, and never will be: its
//! row is the one byte [`INVALID`] and its checksum, until it is defined anew; or [`OUTDATED`], where an earlier version made them by other rules.

use redb::ReadableTable;

use super::{INDEXES, TablesRead, WriteTables, failed, row_position, sealed, unsealed};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::index::term;

const PROGRESS: &str = "the progress of indexes";

/// The value of an index that was not kept up.
const INVALID: u8 = 1;

/// The value of an index whose lists were made by other rules.
const OUTDATED: u8 = 2;

/// What an index holds of what lies before its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backfilled {
    /// All of it up to a position.
    Through(Position),
    /// It was not kept up: events are missing, also behind its definition.
    Invalid,
    /// An earlier version made it by other rules.
    Outdated,
}

impl WriteTables<'_> {
    /// Says that an index was not kept up. What is so already is not written again.
    pub fn set_invalid(&mut self, definition: Position) -> Result<()> {
        self.set_useless(definition, INVALID)
    }

    /// Says that an index was made by other rules.
    pub fn set_outdated(&mut self, definition: Position) -> Result<()> {
        self.set_useless(definition, OUTDATED)
    }

    fn set_useless(&mut self, definition: Position, why: u8) -> Result<()> {
        let key = definition.to_be_bytes();
        let value = sealed(&key, vec![why]);
        // What was so before stays as it was: that says more.
        let outdated = sealed(&key, vec![OUTDATED]);
        let is_invalid = {
            let row = self.indexes.get(key.as_slice()).map_err(|e| failed("reading indexes", e))?;
            row.is_some_and(|row| row.value() == value || row.value() == outdated)
        };
        if !is_invalid {
            self.indexes
                .insert(key.as_slice(), value.as_slice())
                .map_err(|e| failed("writing indexes", e))?;
        }
        Ok(())
    }

    /// Says up to where an index is backfilled.
    pub fn set_backfilled(&mut self, definition: Position, through: Position) -> Result<()> {
        let key = definition.to_be_bytes();
        let value = sealed(&key, through.to_be_bytes().to_vec());
        self.indexes.insert(key.as_slice(), value.as_slice()).map_err(|e| failed("writing indexes", e))?;
        Ok(())
    }

    /// Up to where an index has what lies before its definition; all of it, where it holds nothing that can be relied on.
    pub fn backfilled_through(&self, definition: Position) -> Result<Position> {
        let key = definition.to_be_bytes();
        let row = self.indexes.get(key.as_slice()).map_err(|e| failed("reading indexes", e))?;
        let Some(row) = row else { return Ok(Position::START) };
        let value = unsealed(&key, row.value(), || PROGRESS.to_owned())?;
        Ok(value.try_into().map_or(Position::MAX, Position::from_be_bytes))
    }

    /// Removes chunks of an index's lists, at most so many, and with the last of them its row. Says whether that was all.
    pub fn remove_index(&mut self, definition: Position, most: usize) -> Result<bool> {
        let fault = |e| failed("dropping an index", redb::Error::from(e));
        let first = term::derived_prefix(definition);
        let mut keys = Vec::new();
        for row in self.postings.range::<&[u8]>(first.as_slice()..).map_err(fault)? {
            let (key, _) = row.map_err(fault)?;
            if term::definition_of(key.value()) != Some(definition) {
                break;
            }
            if keys.len() == most {
                break;
            }
            keys.push(key.value().to_vec());
        }
        for key in &keys {
            self.postings.remove(key.as_slice()).map_err(fault)?;
        }
        if keys.len() == most {
            return Ok(false);
        }
        self.indexes.remove(definition.to_be_bytes().as_slice()).map_err(fault)?;
        Ok(true)
    }
}

impl TablesRead<'_> {
    /// Up to where the index of a definition is backfilled.
    pub fn backfilled(&self, definition: Position) -> Result<Backfilled> {
        let Some(table) = self.table_if_any(INDEXES, PROGRESS)? else {
            return Ok(Backfilled::Through(Position::START));
        };
        let key = definition.to_be_bytes();
        let Some(row) = table.get(&key)? else { return Ok(Backfilled::Through(Position::START)) };
        let place = || format!("the progress of the index defined at {definition}");
        let value = unsealed(&key, row.value(), place)?;
        if value == [INVALID] {
            return Ok(Backfilled::Invalid);
        }
        if value == [OUTDATED] {
            return Ok(Backfilled::Outdated);
        }
        value
            .try_into()
            .map(|through| Backfilled::Through(Position::from_be_bytes(through)))
            .map_err(|_| Error::corrupt(place(), format!("{} bytes", value.len())))
    }

    /// The definitions that have a row.
    pub fn backfills(&self) -> Result<Vec<Position>> {
        let Some(table) = self.table_if_any(INDEXES, PROGRESS)? else { return Ok(Vec::new()) };
        let mut rows = table.iter()?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(row_position("indexes", row.key())?);
        }
        Ok(found)
    }
}
