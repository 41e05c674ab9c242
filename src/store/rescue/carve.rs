//! Carving: stored events are found by their form and their checksum, wherever they lie in a file.
//!
//! An event's length stands before it and the next event behind it, in rows of the log as in frames of the journal. So events lie in *fragments*,
//! and a fragment goes on as long as each checksum is that of the position after the last. Where one begins, its position is told by the keys of
//! the page, or by the header of the frame; and where those are damaged, by the checksum itself ([`solve`]): that is an
//! *orphan*, until an event follows it that has the next position.
//!
//! Where a length is damaged the parts of the event tell where it ends.
//!
//! A block that is compressed is decompressed, and searched in the same way: of a damaged one some events may be whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::solve;
use crate::document::Raw;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::codec::{self, Extent};
use crate::store::disk::File;
use crate::store::journal;
use crate::store::tables::compressed_block::{CompressedBlock, HEADER};
use crate::store::tables::{MOST_IN_BLOCK, PAGE, first_positions};

/// So much is in memory at a time, or as much as one event takes.
const WINDOW: usize = 4 << 20;

/// A place where less than this is left is looked at with what follows it.
const AHEAD: usize = 64 << 10;

/// A longer event nobody can have appended: 16 MiB as a caller says it, and what is added to it.
const LONGEST: usize = 64 << 20;

/// So many bytes are compared with their checksums for a window of them: what is made to look like events everywhere takes no longer.
const TRIES: u64 = 32 * WINDOW as u64;

/// So many orphans are kept.
const ORPHANS: usize = 1 << 20;

/// A page of the log has no more rows than this: keys, where they end, and the least that an event takes.
const ROWS: usize = PAGE as usize / 32;

/// The length of an event, before it.
const LENGTH: usize = size_of::<u32>();

/// A fragment has so many events at most: whoever wants one of them passes over those before it.
pub(super) const LONGEST_FRAGMENT: u16 = 64;

/// Events at consecutive positions, one behind the other, each with its length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    pub first: Position,
    /// Which of the files.
    pub file: u8,
    /// The compressed block that they are in, if they are in one: where it begins.
    pub block: Option<u64>,
    pub count: u16,
    /// Where the first begins, behind its length: in the file, or in the decompressed block.
    pub offset: u64,
    /// How long the first is: its length may be what is damaged.
    pub length: u32,
}

impl Fragment {
    pub fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Carved {
    pub fragments: Vec<Fragment>,
    /// What has the form of an event, and a checksum that is right for some position: of damaged bytes it is any.
    pub orphans: Vec<Fragment>,
    /// The last position that a frame of the journal says it has.
    pub told: Position,
    /// How many stretches of files were not searched to their ends.
    pub given_up: u64,
    /// The pages that could not be read, of each file.
    pub unread: BTreeSet<(u8, u64)>,
}

/// Reads bytes of a file. Where they cannot be read, they are again, page by page: the pages that cannot be are told, and are zeros.
pub(super) fn read_or_zeros(file: &dyn File, mut at: u64, into: &mut [u8], mut unread: impl FnMut(u64)) {
    if file.read_at(at, into).is_ok() {
        return;
    }
    let mut rest = into;
    while !rest.is_empty() {
        let to_page = (PAGE - at % PAGE) as usize; // a page at most
        let (part, others) = rest.split_at_mut(to_page.min(rest.len()));
        if file.read_at(at, part).is_err() {
            part.fill(0);
            unread(at / PAGE);
        }
        at += part.len() as u64;
        rest = others;
    }
}

/// A file that is searched.
pub(super) struct Carver<'c> {
    file: &'c Arc<dyn File>,
    number: u8,
    is_journal: bool,
    /// Where the compressed block begins that the window is, if it is one.
    block: Option<u64>,
    carved: &'c mut Carved,
    window: Vec<u8>,
    /// Where the window begins, and where the file ends.
    base: u64,
    end: u64,
    /// Where positions begin by what stands around, and how many each may be.
    hints: Vec<(Position, u64)>,
    /// Where the next event of a fragment would begin, and its position.
    next: Option<(u64, Position)>,
    /// Orphans whose next event would begin at a place that is still to come.
    waiting: Vec<(u64, Fragment)>,
    /// The upper half of the last position that was confirmed.
    high: u32,
    tries: u64,
}

impl<'c> Carver<'c> {
    pub fn new(
        file: &'c Arc<dyn File>,
        number: u8,
        is_journal: bool,
        carved: &'c mut Carved,
    ) -> Result<Carver<'c>> {
        let end = file.len().map_err(|e| Error::io("searching for events", e))?;
        Ok(Carver {
            file,
            number,
            is_journal,
            block: None,
            carved,
            window: Vec::new(),
            base: 0,
            end,
            hints: Vec::new(),
            next: None,
            waiting: Vec::new(),
            high: 0,
            tries: TRIES,
        })
    }

    /// Searches all of the file. It is told how far it is, now and then, and may end it.
    pub fn search(&mut self, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let (mut at, mut stretch) = (0, 0);
        while at < self.end {
            if at >= stretch {
                go_on(at)?;
                stretch = at + WINDOW as u64;
                self.tries = TRIES;
            }
            self.look_around(at);
            self.waiting.retain(|(next, _)| *next >= at);
            let found = match self.event_at(at) {
                None => self.block_at(at, go_on)?,
                length => length,
            };
            at += found.map_or(1, |length| length as u64);
            if self.tries == 0 {
                self.carved.given_up += 1;
                at = at.max(stretch);
            }
        }
        Ok(())
    }

    /// Searches the compressed block that begins at a place, if one does. Gives its length if it is one for sure.
    fn block_at(&mut self, at: u64, go_on: &mut dyn FnMut(u64) -> Result<()>) -> Result<Option<usize>> {
        if self.is_journal || self.block.is_some() {
            return Ok(None);
        }
        let Some(block) = CompressedBlock::parse(self.bytes(at, HEADER)) else { return Ok(None) };
        let value = self.bytes(at, block.len());
        if value.len() < block.len() {
            return Ok(None);
        }
        let mut window = Vec::new();
        let is_whole = block.decompress(value, &mut window).is_some();
        let end = window.len() as u64;
        let mut carver = Carver {
            file: self.file,
            number: self.number,
            is_journal: false,
            block: Some(at),
            carved: self.carved,
            window,
            base: 0,
            end,
            hints: self.hints.clone(),
            next: None,
            waiting: Vec::new(),
            high: self.high,
            tries: TRIES,
        };
        carver.search(&mut |_| go_on(at))?;
        let (next, high, tries) = (carver.next, carver.high, carver.tries);
        self.high = high;
        // One that is full of events takes no more time than they do.
        if is_whole && next.is_some_and(|(next, _)| next == end + LENGTH as u64) {
            return Ok(Some(block.len()));
        }
        self.tries = self.tries.saturating_sub(end + (TRIES - tries));
        Ok(None)
    }

    /// What the page or the frame that begins here says of positions.
    fn look_around(&mut self, at: u64) {
        if self.block.is_some() {
            return;
        }
        if self.is_journal {
            if !at.is_multiple_of(journal::frame::ALIGN as u64) {
                return;
            }
            // The header has a checksum of its own.
            if let Some((first, count)) = journal::positions_at(self.bytes(at, AHEAD)) {
                self.carved.told = self.carved.told.max(first.plus(u64::from(count)).previous());
                self.hints = vec![(first, u64::from(count))];
            }
        } else if at.is_multiple_of(PAGE) {
            let keys = first_positions(self.bytes(at, AHEAD)).take(ROWS);
            let keys = keys.filter(|key| *key > Position::START && *key < Position::MAX);
            let hints: Vec<_> = keys.map(|key| (key, MOST_IN_BLOCK as u64)).collect();
            // A page that goes on has none of its own.
            if !hints.is_empty() {
                self.hints = hints;
            }
        }
    }

    /// So many bytes from a place on, or as many as the file has. What cannot be read is zeros.
    fn bytes(&mut self, at: u64, wanted: usize) -> &[u8] {
        let there = self.end.saturating_sub(at).min(wanted as u64) as usize; // at most what is wanted: it fits
        let is_here = at >= self.base && at + there as u64 <= self.base + self.window.len() as u64;
        if !is_here {
            // The length before it is asked for soon.
            self.base = at.saturating_sub(LENGTH as u64);
            let size = (WINDOW.max(wanted) + LENGTH) as u64;
            let size = self.end.saturating_sub(self.base).min(size) as usize; // at most that: it fits
            self.tries = self.tries.saturating_sub(size as u64);
            self.window.resize(size, 0);
            let (number, unread) = (self.number, &mut self.carved.unread);
            read_or_zeros(&**self.file, self.base, &mut self.window, |page| {
                unread.insert((number, page));
            });
        }
        let from = (at - self.base) as usize; // within the window
        &self.window[from..from + there]
    }

    /// Takes the event that begins at a place, if one does. Gives its length if it is one for sure.
    fn event_at(&mut self, at: u64) -> Option<usize> {
        let data_end = self.data_end(at)?;
        let told = at.checked_sub(LENGTH as u64).and_then(|before| {
            let length = u32::from_be_bytes(*self.bytes(before, LENGTH).first_chunk()?) as usize;
            (data_end..=LONGEST).contains(&length).then_some(length)
        });
        let mut orphans = Vec::new();
        // As it says itself; without metadata; with.
        for which in 0..3 {
            let length = match which {
                0 => told,
                1 => Some(data_end).filter(|end| Some(*end) != told),
                _ => self.metadata_end(at, data_end).filter(|end| Some(*end) != told),
            };
            let Some(length) = length.filter(|length| *length as u64 <= self.end - at) else { continue };
            match self.fitting(at, length) {
                Some((position, true)) => {
                    self.take(at, length, position);
                    return Some(length);
                }
                Some((position, false)) => orphans.push(self.fragment(at, length, position)),
                None => {}
            }
        }
        for orphan in orphans {
            self.waiting.push((at + u64::from(orphan.length) + LENGTH as u64, orphan));
            if self.carved.orphans.len() < ORPHANS {
                self.carved.orphans.push(orphan);
            }
        }
        None
    }

    /// Where the data ends of what begins like an event.
    fn data_end(&mut self, at: u64) -> Option<usize> {
        let most = (self.end - at).min(LONGEST as u64) as usize; // at most LONGEST: it fits
        let mut ahead = AHEAD;
        // Of its header alone it may be longer than what is at hand, and again of its data.
        for _ in 0..3 {
            match codec::extent(self.bytes(at, ahead))? {
                Extent::Event { data_end } => return Some(data_end),
                Extent::Longer { wanted } if wanted > most => return None,
                Extent::Longer { wanted } => ahead = wanted.max(AHEAD),
            }
        }
        None
    }

    /// Where metadata ends that begins behind the data of an event, by its own form.
    fn metadata_end(&mut self, at: u64, data_end: usize) -> Option<usize> {
        for ahead in [AHEAD, LONGEST] {
            let bytes = self.bytes(at, data_end + ahead);
            let metadata = bytes.get(data_end..)?;
            if !metadata.first().is_some_and(|first| codec::is_map(*first)) {
                return None;
            }
            if let Some(rest) = Raw(metadata).skip() {
                return Some(bytes.len() - rest.len());
            }
        }
        None
    }

    /// The position that makes an event of this length right, and whether something else says so, too.
    fn fitting(&mut self, at: u64, length: usize) -> Option<(Position, bool)> {
        self.tries = self.tries.saturating_sub(length as u64);
        let follows = self.next.filter(|(next, _)| *next == at).map(|(_, position)| position);
        let waiting: Vec<Fragment> =
            self.waiting.iter().filter(|(next, _)| *next == at).map(|(_, fragment)| *fragment).collect();
        let mut highs: Vec<u32> = self.hints.iter().map(|(first, _)| (first.0 >> 32) as u32).collect();
        highs.push(self.high);
        highs.sort_unstable();
        highs.dedup();
        let bytes: Arc<[u8]> = self.bytes(at, length).into();
        let (stored, rest) = bytes.split_first_chunk()?;
        let stored = u32::from_be_bytes(*stored);
        let fits = |position: &Position| {
            codec::checksum(*position, rest) == stored && codec::decode(*position, bytes.clone()).is_ok()
        };
        if let Some(position) = follows.filter(fits) {
            return Some((position, true));
        }
        if let Some(orphan) = waiting.into_iter().find(|orphan| fits(&orphan.next())) {
            // The one before has its position for sure, too.
            self.carved.orphans.retain(|other| *other != orphan);
            self.carved.fragments.push(orphan);
            return Some((orphan.next(), true));
        }
        let crc = crc32fast::hash(rest);
        let positions = highs.into_iter().map(|high| solve::position_of(stored, crc, rest.len(), high));
        let positions = positions.filter(|position| *position > Position::START && *position < Position::MAX);
        let found = positions.map(|position| (position, self.is_hinted(position)));
        let (position, hinted) = found.max_by_key(|(_, hinted)| *hinted)?;
        codec::decode(position, bytes.clone()).ok().map(|_| (position, hinted))
    }

    fn is_hinted(&self, position: Position) -> bool {
        let has = |(first, count): &(Position, u64)| position >= *first && position.since(*first) < *count;
        self.hints.iter().any(has)
    }

    fn fragment(&self, at: u64, length: usize, first: Position) -> Fragment {
        let (file, block) = (self.number, self.block);
        Fragment { first, file, block, count: 1, offset: at, length: length as u32 }
    }

    /// Adds an event to the fragment that it follows, or begins one.
    fn take(&mut self, at: u64, length: usize, position: Position) {
        self.high = (position.0 >> 32) as u32; // its upper half
        // Within a fragment each is found by the length before it.
        let follows = self.next == Some((at, position)) && self.says_its_length(at, length);
        self.next = Some((at + length as u64 + LENGTH as u64, position.next()));
        let place = (self.number, self.block);
        let fragment = self.carved.fragments.last_mut().filter(|fragment| {
            follows
                && (fragment.file, fragment.block) == place
                && fragment.next() == position
                && fragment.count < LONGEST_FRAGMENT
        });
        match fragment {
            Some(fragment) => fragment.count += 1,
            None => {
                let fragment = self.fragment(at, length, position);
                self.carved.fragments.push(fragment);
            }
        }
    }

    fn says_its_length(&mut self, at: u64, length: usize) -> bool {
        let before = at.checked_sub(LENGTH as u64);
        before.is_some_and(|before| *self.bytes(before, LENGTH) == (length as u32).to_be_bytes())
    }
}
