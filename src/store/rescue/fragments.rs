//! Fragments: the events that were carved out of files, by their positions.

use std::sync::Arc;

use super::carve::{Carved, Fragment, LONGEST_FRAGMENT, read_or_zeros};
use crate::entity::Position;
use crate::event::codec;
use crate::store::disk::File;
use crate::store::tables::compressed_block::{CompressedBlock, HEADER};

/// So many copies of one event are looked at.
const COPIES: u32 = 64;

/// An orphan is believed where chance would make one wrong in less than so many files.
const CHANCE: u64 = 1000;

/// What is there of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookup {
    Missing,
    Event(Arc<[u8]>),
    /// Two events that are not the same, each with a right checksum.
    Two,
}

/// Events in files, each found by its position.
#[derive(Debug)]
pub(super) struct Fragments {
    files: Vec<Arc<dyn File>>,
    /// In the order of their first positions.
    fragments: Vec<Fragment>,
    /// The fragments of the last that was asked for, read.
    read: Vec<(Fragment, Vec<Arc<[u8]>>)>,
    /// The compressed block that was read last: its file, where it begins, its uncompressed bytes.
    block: (u8, u64, Vec<u8>),
    /// How many bytes had the form of an event and a checksum, and were not believed.
    pub disbelieved: usize,
    /// The last position that the journal tells of.
    pub told: Position,
}

impl Fragments {
    /// The events that were carved. Without `head`, the last position is that of the last event, or the last that the journal tells of.
    pub fn new(files: Vec<Arc<dyn File>>, carved: Carved, head: Option<Position>) -> Fragments {
        let Carved { fragments, orphans, told, .. } = carved;
        let mut fragments =
            Fragments { files, fragments, read: Vec::new(), block: (0, 0, Vec::new()), disbelieved: 0, told };
        fragments.sort();
        let last = head.unwrap_or_else(|| fragments.last().max(told));
        fragments.adopt(orphans, last);
        fragments
    }

    fn sort(&mut self) {
        self.fragments.sort_unstable_by_key(|fragment| {
            (fragment.first, u16::MAX - fragment.count, fragment.file, fragment.block, fragment.offset)
        });
        // Copies that are made on purpose take no longer than those that are left of pages.
        let (mut first, mut copies) = (Position::START, 0);
        self.fragments.retain(|fragment| {
            copies = if fragment.first == first { copies + 1 } else { 0 };
            first = fragment.first;
            copies < COPIES
        });
    }

    /// Takes in orphans at positions up to the last that are not there otherwise. Bytes that were damaged say any position: that one of them says
    /// one of those is as likely as both are many.
    fn adopt(&mut self, mut orphans: Vec<Fragment>, last: Position) {
        let tried = orphans.len() as u64;
        let missing = self.missing(last);
        orphans.retain(|orphan| orphan.first <= last && self.around(orphan.first).is_empty());
        if missing.saturating_mul(tried) > u64::from(u32::MAX) / CHANCE {
            self.disbelieved = orphans.len();
            return;
        }
        self.fragments.extend(orphans);
        self.sort();
    }

    /// How many positions up to one have no event.
    pub fn missing(&self, last: Position) -> u64 {
        last.0.saturating_sub(self.covered(last))
    }

    /// How many positions up to the last have an event.
    fn covered(&self, last: Position) -> u64 {
        let mut through = Position::START;
        self.fragments.iter().fold(0, |covered, fragment| {
            let end = fragment.next().previous().min(last);
            let new = end.0.saturating_sub(fragment.first.previous().max(through).0);
            through = through.max(end);
            covered + new
        })
    }

    /// The last position that has an event.
    pub fn last(&self) -> Position {
        self.fragments.iter().map(|fragment| fragment.next().previous()).max().unwrap_or(Position::START)
    }

    /// The fragments that have a position.
    fn around(&self, position: Position) -> &[Fragment] {
        // Those that begin before may be too short: they are passed over later.
        let from = position.minus(u64::from(LONGEST_FRAGMENT) - 1);
        let begin = self.fragments.partition_point(|fragment| fragment.first < from);
        let end = self.fragments.partition_point(|fragment| fragment.first <= position);
        let fragments = &self.fragments[begin..end];
        if fragments.iter().any(|fragment| position < fragment.next()) { fragments } else { &[] }
    }

    /// What is there of a position. Who asks for one after the other reads each fragment once.
    pub fn get(&mut self, position: Position) -> Lookup {
        let fragments: Vec<Fragment> =
            self.around(position).iter().filter(|fragment| position < fragment.next()).copied().collect();
        self.read.retain(|(fragment, _)| fragments.contains(fragment));
        let mut found = Lookup::Missing;
        for fragment in fragments {
            if !self.read.iter().any(|(read, _)| *read == fragment) {
                let events = self.events_of(&fragment);
                self.read.push((fragment, events));
            }
            let events = self.read.iter().find(|(read, _)| *read == fragment).map(|(_, events)| events);
            let at = position.since(fragment.first) as usize; // less than it has
            let Some(event) = events.and_then(|events| events.get(at)) else { continue };
            found = match found {
                Lookup::Missing => Lookup::Event(event.clone()),
                Lookup::Event(other) if other == *event => Lookup::Event(other),
                _ => return Lookup::Two,
            };
        }
        found
    }

    /// The events of a fragment, as far as they are what they were as it was found, and can be read.
    fn events_of(&mut self, fragment: &Fragment) -> Vec<Arc<[u8]>> {
        let Some(file) = self.files.get(usize::from(fragment.file)) else { return Vec::new() };
        let Some(block) = fragment.block else {
            let end = file.len().unwrap_or(0);
            return events_in(fragment, end, |at, into| file.read_at(at, into).is_ok());
        };
        let (number, at, bytes) = &mut self.block;
        if (*number, *at) != (fragment.file, block) || bytes.is_empty() {
            *bytes = decompressed(&**file, block).unwrap_or_default();
            (*number, *at) = (fragment.file, block);
        }
        events_in(fragment, bytes.len() as u64, |at, into| {
            let found = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..into.len()));
            found.map(|found| into.copy_from_slice(found)).is_some()
        })
    }
}

/// The compressed block at a place of a file, decompressed as far as it can be. What cannot be read is zeros, as it was when it was found.
fn decompressed(file: &dyn File, at: u64) -> Option<Vec<u8>> {
    let mut value = vec![0; HEADER];
    file.read_at(at, &mut value).ok()?;
    let block = CompressedBlock::parse(&value)?;
    value.resize(block.len(), 0);
    read_or_zeros(file, at, &mut value, |_| {});
    let mut uncompressed = Vec::new();
    // One that is damaged gives what it can: each event has its checksum.
    let _ = block.decompress(&value, &mut uncompressed);
    Some(uncompressed)
}

/// The events of a fragment, one after the other: `read` gives the bytes at a place, up to the end.
fn events_in(fragment: &Fragment, end: u64, mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Vec<Arc<[u8]>> {
    let mut events = Vec::new();
    let (mut at, mut length) = (fragment.offset, fragment.length);
    for position in fragment.first.onwards().take(usize::from(fragment.count)) {
        if !events.is_empty() {
            let mut bytes = [0; 4];
            if !read(at, &mut bytes) {
                break;
            }
            (at, length) = (at + bytes.len() as u64, u32::from_be_bytes(bytes));
        }
        if u64::from(length) > end.saturating_sub(at) {
            break;
        }
        let mut bytes = vec![0; length as usize];
        if !read(at, &mut bytes) || codec::parts(position, &bytes).is_none() {
            break;
        }
        at += u64::from(length);
        events.push(bytes.into());
    }
    events
}
