//! Fragments: the events that were carved out of files, by their positions.

use std::sync::Arc;

use super::carve::{Carved, LONGEST_RUN, Run};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::codec;
use crate::store::disk::File;

/// An orphan is believed where chance would make one wrong in less than so many files.
const CHANCE: u64 = 1000;

/// What is there of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fragment {
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
    runs: Vec<Run>,
    /// The runs of the last that was asked for, read.
    read: Vec<(Run, Vec<Arc<[u8]>>)>,
    /// How many bytes had the form of an event and a checksum, and were not believed.
    pub disbelieved: usize,
}

impl Fragments {
    pub fn new(files: Vec<Arc<dyn File>>, carved: Carved) -> Fragments {
        let Carved { mut runs, orphans, .. } = carved;
        runs.sort_unstable_by_key(|run| (run.first, run.file, run.offset));
        let mut fragments = Fragments { files, runs, read: Vec::new(), disbelieved: 0 };
        fragments.adopt(orphans);
        fragments
    }

    /// Takes in orphans at positions that are not there otherwise. Bytes that were damaged say any position: that it is just one of those is
    /// as likely as these are many.
    fn adopt(&mut self, mut orphans: Vec<Run>) {
        orphans.sort_unstable_by_key(|orphan| (orphan.first, orphan.file, orphan.offset));
        orphans.retain(|orphan| self.around(orphan.first).is_empty());
        let last = self.last().max(orphans.last().map_or(Position::START, |orphan| orphan.first));
        let missing = last.0.saturating_sub(self.covered());
        if missing.saturating_mul(orphans.len() as u64) > u64::from(u32::MAX) / CHANCE {
            self.disbelieved = orphans.len();
            return;
        }
        self.runs.extend(orphans);
        self.runs.sort_unstable_by_key(|run| (run.first, run.file, run.offset));
    }

    /// How many positions have an event.
    fn covered(&self) -> u64 {
        let mut through = Position::START;
        self.runs.iter().fold(0, |covered, run| {
            let new = run.next().previous().0.saturating_sub(run.first.previous().max(through).0);
            through = through.max(run.next().previous());
            covered + new
        })
    }

    /// The last position that has an event.
    pub fn last(&self) -> Position {
        self.runs.iter().map(|run| run.next().previous()).max().unwrap_or(Position::START)
    }

    /// The runs that have a position.
    fn around(&self, position: Position) -> &[Run] {
        // Those that begin before may be too short: they are passed over later.
        let from = position.minus(u64::from(LONGEST_RUN) - 1);
        let begin = self.runs.partition_point(|run| run.first < from);
        let end = self.runs.partition_point(|run| run.first <= position);
        let runs = &self.runs[begin..end];
        if runs.iter().any(|run| position < run.next()) { runs } else { &[] }
    }

    /// What is there of a position. Who asks for one after the other reads each run once.
    pub fn get(&mut self, position: Position) -> Result<Fragment> {
        let runs: Vec<Run> =
            self.around(position).iter().filter(|run| position < run.next()).copied().collect();
        self.read.retain(|(run, _)| runs.contains(run));
        let mut found = Fragment::Missing;
        for run in runs {
            if !self.read.iter().any(|(read, _)| *read == run) {
                let events = self.events_of(&run)?;
                self.read.push((run, events));
            }
            let events = self.read.iter().find(|(read, _)| *read == run).map(|(_, events)| events);
            let at = position.since(run.first) as usize; // less than it has
            let Some(event) = events.and_then(|events| events.get(at)) else { continue };
            found = match found {
                Fragment::Missing => Fragment::Event(event.clone()),
                Fragment::Event(other) if other == *event => Fragment::Event(other),
                _ => return Ok(Fragment::Two),
            };
        }
        Ok(found)
    }

    /// The events of a run, as far as they are what they were as it was found.
    fn events_of(&self, run: &Run) -> Result<Vec<Arc<[u8]>>> {
        let Some(file) = self.files.get(usize::from(run.file)) else { return Ok(Vec::new()) };
        let failed = |e| Error::io("reading an event that was found", e);
        let (mut at, mut length, mut events) = (run.offset, run.length, Vec::new());
        for position in run.first.onwards().take(usize::from(run.count)) {
            if !events.is_empty() {
                let mut bytes = [0; 4];
                file.read_at(at, &mut bytes).map_err(failed)?;
                (at, length) = (at + bytes.len() as u64, u32::from_be_bytes(bytes));
            }
            if u64::from(length) > file.len().map_err(failed)?.saturating_sub(at) {
                break;
            }
            let mut bytes = vec![0; length as usize];
            file.read_at(at, &mut bytes).map_err(failed)?;
            if codec::parts(position, &bytes).is_none() {
                break;
            }
            at += u64::from(length);
            events.push(bytes.into());
        }
        Ok(events)
    }
}
