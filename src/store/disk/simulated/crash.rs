//! What a crash leaves of a simulated disk.
//!
//! What was synced is there. Of what was not, a [`Fate`] and a seed choose; the same choice gives the same image.
//!
//! * **Bytes.** Each unsynced write is kept or lost, the kept ones are applied in any order, and a torn one only
//!   in some of its sectors. A lost write that grew the file may leave its length and zeros. A truncation is kept
//!   or lost too, but nothing moves across it: it is not applied after a write that followed it, nor before one
//!   that it cut off.
//! * **Names.** Each unsynced change of a name is kept or lost, the kept ones in their order. One that builds on a
//!   lost one is lost.
//! * A file without a durable name is gone, synced or not.

use std::collections::BTreeSet;

use super::super::pages::Pages;
use super::SimulatedDisk;
use super::platter::{FileChange, Platter, StoredFile, write};
use super::random::Random;
use super::trace::{NameTable, Operation, Trace};

/// What is written in one piece: a part of a sector never survives without the rest.
const SECTOR: u64 = 512;

/// What happens to that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All of it is lost.
    LoseAll,
    /// All of it is kept.
    KeepAll,
    /// Any part of it is kept, in any order.
    Reorder,
    /// As `Reorder`, and of a write that is kept any sectors (512 bytes).
    Tear,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Fate; 4] = [Fate::LoseAll, Fate::KeepAll, Fate::Reorder, Fate::Tear];
}

/// A cursor over the points of a trace: at each, the disk can crash.
///
/// Going on by one operation costs that operation, and an image shares its pages with the cursor, so that every
/// point of a long trace can be tried.
#[derive(Debug, Clone)]
pub struct Crashes {
    trace: Trace,
    point: usize,
    platter: Platter,
    notes: Vec<u64>,
}

impl Crashes {
    pub(super) fn new(trace: Trace) -> Crashes {
        let platter = Platter::clone(&trace.start);
        Crashes { trace, point: 0, platter, notes: Vec::new() }
    }

    /// How many operations were done before the crash.
    pub fn point(&self) -> usize {
        self.point
    }

    /// The operation that the crash comes just before; none at the end.
    pub fn next_operation(&self) -> Option<&Operation> {
        self.trace.operations.get(self.point)
    }

    /// The marks made before this point, in order.
    pub fn notes(&self) -> &[u64] {
        &self.notes
    }

    /// Goes on by one operation; false at the end of the trace.
    pub fn advance(&mut self) -> bool {
        let Some(operation) = self.trace.operations.get(self.point) else { return false };
        self.platter.apply(operation);
        if let Operation::Note(note) = operation {
            self.notes.push(*note);
        }
        self.point += 1;
        true
    }

    /// Goes on to a point; false if it lies behind, or past the end, where the cursor then stays.
    pub fn advance_to(&mut self, point: usize) -> bool {
        while self.point < point {
            if !self.advance() {
                return false;
            }
        }
        self.point == point
    }

    /// The disk as it is found after a crash here. It has an empty trace, and no faults.
    pub fn image(&self, fate: Fate, seed: u64) -> SimulatedDisk {
        SimulatedDisk::holding(self.platter.survivor(fate, seed))
    }
}

impl Platter {
    /// What a crash leaves; all of it is durable.
    pub(super) fn survivor(&self, fate: Fate, seed: u64) -> Platter {
        let mut random = Random(seed);
        let names = self.surviving_names(fate, &mut random);
        let named: BTreeSet<_> = names.values().copied().collect();
        let files = self.files.iter().filter(|(file, _)| named.contains(file));
        let files =
            files.map(|(file, stored)| (*file, StoredFile::synced(stored.survivor(fate, &mut random))));
        Platter { files: files.collect(), names, unsynced_names: Default::default() }
    }

    fn surviving_names(&self, fate: Fate, random: &mut Random) -> NameTable {
        let mut names = self.names.clone();
        for changes in self.unsynced_names.values() {
            let odds = random.odds();
            for change in changes {
                let kept = match fate {
                    Fate::LoseAll => false,
                    Fate::KeepAll => true,
                    Fate::Reorder | Fate::Tear => random.chance(odds),
                };
                if kept {
                    change.apply(&mut names);
                }
            }
        }
        names
    }
}

impl StoredFile {
    fn survivor(&self, fate: Fate, random: &mut Random) -> Pages {
        match fate {
            Fate::LoseAll => self.durable.clone(),
            Fate::KeepAll => self.current(),
            Fate::Reorder => self.scattered(random, |pages, offset, data, _, _| write(pages, offset, data)),
            Fate::Tear => self.scattered(random, write_torn),
        }
    }

    /// Any of the changes in any order, each kept write being written by `keep`.
    fn scattered(
        &self,
        random: &mut Random,
        keep: impl Fn(&mut Pages, u64, &[u8], &mut Random, u64),
    ) -> Pages {
        let mut pages = self.durable.clone();
        let odds = random.odds();
        // A truncation is the last of its run: only what lies between two of them changes places.
        for run in self.unsynced.split_inclusive(|change| matches!(change, FileChange::Truncate(_))) {
            let (between, truncation) = match run.split_last() {
                Some((last @ FileChange::Truncate(_), between)) => (between, Some(last)),
                _ => (run, None),
            };
            for index in random.order(between.len()) {
                match &between[index] {
                    FileChange::Write { offset, data } => {
                        if random.chance(odds) {
                            keep(&mut pages, *offset, data, random, odds);
                        } else if random.chance(2) {
                            // The length travels apart from the bytes.
                            FileChange::Grow(offset.saturating_add(data.len() as u64)).apply(&mut pages);
                        }
                    }
                    grow => {
                        if random.chance(odds) {
                            grow.apply(&mut pages);
                        }
                    }
                }
            }
            if let Some(truncation) = truncation
                && random.chance(odds)
            {
                truncation.apply(&mut pages);
            }
        }
        pages
    }
}

/// Writes some of the sectors that the bytes touch, and perhaps the length they gave the file.
fn write_torn(pages: &mut Pages, mut offset: u64, mut data: &[u8], random: &mut Random, odds: u64) {
    let end = offset.saturating_add(data.len() as u64);
    while !data.is_empty() {
        let in_sector = (SECTOR - offset % SECTOR) as usize;
        let (piece, rest) = data.split_at(in_sector.min(data.len()));
        if random.chance(odds) {
            write(pages, offset, piece);
        }
        offset += piece.len() as u64;
        data = rest;
    }
    if random.chance(4) {
        FileChange::Grow(end).apply(pages);
    }
}

impl Random {
    /// How likely each change is to be kept, in eighths. Drawn anew for each file and folder: an even coin would
    /// hardly ever keep nearly all of one file and nearly nothing of another.
    fn odds(&mut self) -> u64 {
        1 + self.next() % 7
    }

    /// True in so many of eight cases.
    fn chance(&mut self, of_eight: u64) -> bool {
        self.next() % 8 < of_eight
    }

    /// The numbers below `n`, shuffled.
    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}
