//! The table `log`, to be read: blocks of events, each found by its first position.

use std::ops::Bound;
use std::sync::Arc;

use redb::AccessGuard;

use super::block::{self, BlockEvents};
use super::block_cache::BlockCache;
use super::compressed_block::uncompressed;
use super::table::{Entry, ReadTable};
use super::{Bytes, row_position};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};

/// The table `log`.
pub(crate) struct LogTable {
    pub(super) rows: ReadTable,
    pub(super) blocks: Arc<BlockCache>,
}

/// That an event is missing, or another is where it should be.
fn missing(position: Position, instead: Option<Position>) -> Error {
    let instead = instead.map_or_else(String::new, |instead| format!(", where {instead} is"));
    Error::corrupt("the log", format!("no event at {position}{instead}"))
}

impl LogTable {
    pub fn get(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        let Some(row) = self.row(position)? else { return Ok(None) };
        Ok(row.event(position)?.map(Arc::from))
    }

    /// The row that has the event at a position, if any has.
    pub fn row(&self, position: Position) -> Result<Option<LogBlock<'_>>> {
        let Some(row) = self.rows.at_or_before(&position.to_be_bytes())? else { return Ok(None) };
        let first = row_position("the log", row.key())?;
        let mut buffer = Vec::new();
        self.blocks.put(first, uncompressed(first, row.value(), &mut buffer)?);
        Ok(Some(LogBlock { first, value: row.into_value(), decompressed: buffer }))
    }

    /// Lends the events at some positions as far as they are in memory, one after another up to the first that is not; tells how many.
    /// Whoever is lent them is to be quick, and calls nothing else of the tables.
    pub fn lend_kept(
        &self,
        positions: impl Iterator<Item = Position>,
        event: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        self.blocks.lend(positions, event)
    }

    /// Where events can be read again, behind one that cannot be read and up to another.
    pub fn readable_after(&self, position: Position, last: Position) -> Option<Position> {
        let until = last.next().to_be_bytes();
        // A row begins with its first event.
        let key = self.rows.readable_after(&position.to_be_bytes(), Some(&until))?;
        row_position("the log", &key).ok()
    }

    /// Hands over every event of a range until it is told to stop; their bytes are lent, not copied.
    ///
    /// Whoever reads the log reads it here, or asks for one event at a time.
    ///
    /// # Errors
    /// If one of them is missing, or not in its place.
    pub fn scan(
        &self,
        range: PositionRange,
        descending: bool,
        mut event: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if descending { self.descending(range, &mut event) } else { self.ascending(range, &mut event) }
    }

    fn descending(
        &self,
        PositionRange { first, last }: PositionRange,
        event: &mut impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut rows = self.rows.range(Bound::Unbounded, Bound::Included(&last.to_be_bytes()))?;
        let (mut expected, mut buffer) = (last, Vec::new());
        while let Some(row) = rows.next_back()? {
            let begin = row_position("the log", row.key())?;
            let (several, count) = all_of(begin, uncompressed(begin, row.value(), &mut buffer)?)?;
            for &(position, bytes) in several[..count].iter().rev() {
                if position > expected && expected == last {
                    continue;
                }
                if position != expected {
                    return Err(missing(expected, Some(position)));
                }
                if !event(position, bytes)? || position == first {
                    return Ok(());
                }
                expected = expected.previous();
            }
        }
        Err(missing(expected, None))
    }

    fn ascending(
        &self,
        PositionRange { first, last }: PositionRange,
        event: &mut impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        // Of a search that went astray in a damaged page the row may be any.
        let is_near = |row: &Entry| {
            row_position("the log", row.key()).is_ok_and(|begin| first.since(begin) < block::MOST as u64)
        };
        let mut next = self.rows.at_or_before(&first.to_be_bytes())?.filter(is_near);
        let (mut rows, mut expected, mut buffer) = (None, first, Vec::new());
        while let Some(row) = next {
            let begin = row_position("the log", row.key())?;
            for event_of_row in BlockEvents::of(begin, uncompressed(begin, row.value(), &mut buffer)?) {
                let (position, bytes) = event_of_row?;
                if position < expected && expected == first {
                    continue;
                }
                if position != expected {
                    return Err(missing(expected, Some(position)));
                }
                if !event(position, bytes)? || position == last {
                    return Ok(());
                }
                expected = expected.next();
            }
            let rows = match &mut rows {
                Some(rows) => rows,
                // The other end is left open: the table would compare each key with it.
                None => rows.insert(self.rows.range(Bound::Excluded(row.key()), Bound::Unbounded)?),
            };
            next = rows.next()?;
        }
        Err(missing(expected, None))
    }
}

/// Events with their positions, as many as a row may have.
type Several<'e> = [(Position, &'e [u8]); block::MOST];

/// The events of a row, and how many they are.
fn all_of(first: Position, value: &[u8]) -> Result<(Several<'_>, usize)> {
    let mut several = [(Position::START, [].as_slice()); block::MOST];
    let mut count = 0;
    for next in BlockEvents::of(first, value) {
        let slot = several
            .get_mut(count)
            .ok_or_else(|| Error::corrupt("the log", format!("more than {} events in a row", block::MOST)))?;
        (*slot, count) = (next?, count + 1);
    }
    Ok((several, count))
}

/// A row of the log: events at consecutive positions.
pub(crate) struct LogBlock<'t> {
    first: Position,
    value: AccessGuard<'t, Bytes>,
    /// Its events as they are, where the row has them compressed.
    decompressed: Vec<u8>,
}

impl LogBlock<'_> {
    pub fn has(&self, position: Position) -> bool {
        self.event(position).is_ok_and(|event| event.is_some())
    }

    /// The event at a position, if it is in this row.
    pub fn event(&self, position: Position) -> Result<Option<&[u8]>> {
        let Some(at) = position.index_from(self.first).filter(|at| *at < block::MOST) else {
            return Ok(None);
        };
        let bytes = if self.decompressed.is_empty() { self.value.value() } else { &self.decompressed };
        let found = BlockEvents::of(self.first, bytes).nth(at).transpose()?;
        Ok(found.map(|(_, bytes)| bytes))
    }
}
