//! Carving: stored events are found by their form and their checksum, wherever they lie in a file.
//!
//! An event's length stands before it and the next event behind it, in rows of the log as in frames of the journal. So events lie in *runs*,
//! and a run goes on as long as each checksum is that of the position after the last. Where one begins, its position is told by the keys of
//! the page, or by the header of the frame; and where those are damaged, by the checksum itself ([`solve`](super::solve)): that is an
//! *orphan*, until an event follows it that has the next position.
//!
//! Where a length is damaged the parts of the event tell where it ends.

use std::sync::Arc;

use super::solve;
use crate::document::Raw;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::codec::{self, Extent};
use crate::store::disk::File;
use crate::store::journal;
use crate::store::tables::{MOST_IN_BLOCK, PAGE, first_positions};

/// So much is in memory at a time, or as much as one event takes.
const WINDOW: usize = 4 << 20;

/// A place where less than this is left is looked at with what follows it.
const AHEAD: usize = 64 << 10;

/// A longer event nobody can have appended: 16 MiB as a caller says it, and what is added to it.
const LONGEST: usize = 64 << 20;

/// So many bytes are compared with their checksums, for each byte of a file: what is made to look like an event everywhere takes no longer.
const TRIES: u64 = 32;

/// The length of an event, before it.
const LENGTH: usize = size_of::<u32>();

/// A run has so many events at most: whoever wants one of them passes over those before it.
pub(super) const LONGEST_RUN: u16 = 64;

/// Events at consecutive positions, one behind the other, each with its length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub first: Position,
    /// Which of the files.
    pub file: u8,
    pub count: u16,
    /// Where the first begins, behind its length.
    pub offset: u64,
    /// How long the first is: its length may be what is damaged.
    pub length: u32,
}

impl Run {
    pub fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Carved {
    pub runs: Vec<Run>,
    /// Events of which their checksum alone tells the position.
    pub orphans: Vec<Run>,
    /// The last position that a frame of the journal says it has.
    pub told: Position,
    /// The search was given up before the end of a file.
    pub given_up: bool,
}

/// A file that is searched.
pub(super) struct Carver<'c> {
    file: &'c Arc<dyn File>,
    number: u8,
    is_journal: bool,
    /// No file of this length has an event behind this position.
    bound: Position,
    carved: &'c mut Carved,
    window: Vec<u8>,
    /// Where the window begins, and where the file ends.
    base: u64,
    end: u64,
    /// Where positions begin by what stands around, and how many each may be.
    hints: Vec<(Position, u64)>,
    /// Where the next event of a run would begin, and its position.
    next: Option<(u64, Position)>,
    tries: u64,
}

/// An event whose checksum is right for some position.
struct Candidate {
    length: usize,
    position: Position,
    /// Something else than the checksum says so, too.
    confirmed: bool,
}

impl<'c> Carver<'c> {
    pub fn new(
        file: &'c Arc<dyn File>,
        number: u8,
        is_journal: bool,
        bound: Position,
        carved: &'c mut Carved,
    ) -> Result<Carver<'c>> {
        let end = file.len().map_err(failed)?;
        Ok(Carver {
            file,
            number,
            is_journal,
            bound,
            carved,
            window: Vec::new(),
            base: 0,
            end,
            hints: Vec::new(),
            next: None,
            tries: end.saturating_mul(TRIES),
        })
    }

    /// Searches all of the file. It is told how far it is, now and then, and may end it.
    pub fn search(&mut self, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let (mut at, mut told) = (0, 0);
        while at < self.end {
            if at >= told {
                go_on(at)?;
                told = at + WINDOW as u64;
            }
            self.look_around(at)?;
            at = match self.event_at(at)? {
                Some(found) => {
                    let behind = at + found.length as u64;
                    self.take(at, &found);
                    self.next = Some((behind + LENGTH as u64, found.position.next()));
                    behind
                }
                None => at + 1,
            };
            if self.tries == 0 {
                self.carved.given_up = true;
                break;
            }
        }
        Ok(())
    }

    /// What the page or the frame that begins here says of positions.
    fn look_around(&mut self, at: u64) -> Result<()> {
        let bound = self.bound;
        if self.is_journal {
            if !at.is_multiple_of(journal::frame::ALIGN as u64) {
                return Ok(());
            }
            let Some((first, count)) = journal::positions_at(self.bytes(at, AHEAD)?) else { return Ok(()) };
            let count = u64::from(count);
            let last = first.plus(count).previous();
            if first > Position::START && last <= bound {
                self.hints = vec![(first, count)];
                self.carved.told = self.carved.told.max(last);
            }
        } else if at.is_multiple_of(PAGE) {
            let most = MOST_IN_BLOCK as u64;
            let keys = first_positions(self.bytes(at, AHEAD)?);
            let keys = keys.filter(|key| *key > Position::START && *key <= bound);
            let hints: Vec<_> = keys.map(|key| (key, most)).collect();
            // A page that goes on has none of its own.
            if !hints.is_empty() {
                self.hints = hints;
            }
        }
        Ok(())
    }

    /// So many bytes from a place on, or as many as the file has.
    fn bytes(&mut self, at: u64, wanted: usize) -> Result<&[u8]> {
        let there = self.end.saturating_sub(at).min(wanted as u64) as usize; // at most what is wanted: it fits
        let is_here = at >= self.base && at + there as u64 <= self.base + self.window.len() as u64;
        if !is_here {
            let size = self.end.saturating_sub(at).min(WINDOW.max(wanted) as u64) as usize;
            self.window.resize(size, 0);
            self.base = at;
            self.file.read_at(at, &mut self.window).map_err(failed)?;
        }
        let from = (at - self.base) as usize; // within the window
        Ok(&self.window[from..from + there])
    }

    /// The event that begins at a place, if one does.
    fn event_at(&mut self, at: u64) -> Result<Option<Candidate>> {
        let end = self.end;
        let data_end = match codec::extent(self.bytes(at, AHEAD)?) {
            None => return Ok(None),
            Some(Extent::Event { data_end }) => data_end,
            // It is longer than what is at hand.
            Some(Extent::Longer { wanted }) if wanted as u64 > (end - at).min(LONGEST as u64) => {
                return Ok(None);
            }
            Some(Extent::Longer { wanted }) => match codec::extent(self.bytes(at, wanted.max(AHEAD))?) {
                Some(Extent::Event { data_end }) => data_end,
                // Of the header alone it was longer, too.
                Some(Extent::Longer { wanted }) if wanted as u64 <= (end - at).min(LONGEST as u64) => wanted,
                _ => return Ok(None),
            },
        };
        let told = match at.checked_sub(LENGTH as u64) {
            Some(before) => {
                let length =
                    self.bytes(before, LENGTH)?.first_chunk().map(|length| u32::from_be_bytes(*length));
                length.map(|length| length as usize).filter(|length| (data_end..=LONGEST).contains(length))
            }
            None => None,
        };
        // As it says itself; without metadata; with.
        for which in 0..3 {
            let length = match which {
                0 => told,
                1 => Some(data_end).filter(|end| Some(*end) != told),
                _ => self.metadata_end(at, data_end)?.filter(|end| Some(*end) != told),
            };
            let Some(length) = length.filter(|length| *length as u64 <= end - at) else { continue };
            if let Some(found) = self.fitting(at, length)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where metadata ends that begins behind the data of an event, by its own form.
    fn metadata_end(&mut self, at: u64, data_end: usize) -> Result<Option<usize>> {
        for ahead in [AHEAD, LONGEST] {
            let bytes = self.bytes(at, data_end + ahead)?;
            let Some(metadata) =
                bytes.get(data_end..).filter(|rest| rest.first().is_some_and(|b| codec::is_map(*b)))
            else {
                return Ok(None);
            };
            if let Some(rest) = Raw(metadata).skip() {
                return Ok(Some(bytes.len() - rest.len()));
            }
        }
        Ok(None)
    }

    /// An event of this length, if its checksum is that of a position which it may have.
    fn fitting(&mut self, at: u64, length: usize) -> Result<Option<Candidate>> {
        self.tries = self.tries.saturating_sub(length as u64);
        let expected = self.next.filter(|(next, _)| *next == at).map(|(_, position)| position);
        let bound = self.bound;
        let high = self.hints.first().map_or(0, |(first, _)| (first.0 >> 32) as u32); // its upper half
        let bytes = self.bytes(at, length)?;
        let Some((stored, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let stored = u32::from_be_bytes(*stored);
        let (position, confirmed) = match expected {
            Some(position) if codec::checksum(position, rest) == stored => (position, true),
            _ => {
                let position = solve::position_of(stored, crc32fast::hash(rest), rest.len(), high);
                if position == Position::START || position > bound {
                    return Ok(None);
                }
                (position, false)
            }
        };
        if codec::decode(position, Arc::from(bytes)).is_err() {
            return Ok(None);
        }
        let hinted = |(first, count): &(Position, u64)| position >= *first && position.since(*first) < *count;
        let confirmed = confirmed || self.hints.iter().any(hinted);
        Ok(Some(Candidate { length, position, confirmed }))
    }

    fn take(&mut self, at: u64, found: &Candidate) {
        let Candidate { length, position, .. } = *found;
        let own = Run { first: position, file: self.number, count: 1, offset: at, length: length as u32 };
        let follows = self.next == Some((at, position));
        if !found.confirmed {
            self.carved.orphans.push(own);
            return;
        }
        if follows {
            // The one before has its position for sure, too.
            let ends_here = |run: &Run| run.count == 1 && run.next() == position && run.file == self.number;
            if self.carved.orphans.last().is_some_and(|orphan| {
                ends_here(orphan) && orphan.offset + u64::from(orphan.length) + LENGTH as u64 == at
            }) && let Some(orphan) = self.carved.orphans.pop()
            {
                self.carved.runs.push(orphan);
            }
            // Within a run each is found by the length before it.
            if self.says_its_length(at, length)
                && let Some(run) = self.carved.runs.last_mut()
                && run.file == self.number
                && run.next() == position
                && run.count < LONGEST_RUN
            {
                run.count += 1;
                return;
            }
        }
        self.carved.runs.push(own);
    }

    fn says_its_length(&mut self, at: u64, length: usize) -> bool {
        let before = at.checked_sub(LENGTH as u64).and_then(|before| self.bytes(before, LENGTH).ok());
        before.is_some_and(|bytes| *bytes == (length as u32).to_be_bytes())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io("searching for events", error)
}
