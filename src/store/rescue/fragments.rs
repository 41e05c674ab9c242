//! Fragments: the events that were carved out of files, by their positions.

use std::sync::Arc;

use super::carve::{Carved, LONGEST_RUN, Run};
use crate::entity::Position;
use crate::event::codec;
use crate::store::disk::File;

/// So many copies of one event are looked at.
const COPIES: u32 = 64;

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
    /// The last position that the journal tells of.
    pub told: Position,
}

impl Fragments {
    /// The events that were carved. Without `head`, the last position is that of the last event, or the last that the journal tells of.
    pub fn new(files: Vec<Arc<dyn File>>, carved: Carved, head: Option<Position>) -> Fragments {
        let Carved { runs, orphans, told, .. } = carved;
        let mut fragments = Fragments { files, runs, read: Vec::new(), disbelieved: 0, told };
        fragments.sort();
        let last = head.unwrap_or_else(|| fragments.last().max(told));
        fragments.adopt(orphans, last);
        fragments
    }

    fn sort(&mut self) {
        self.runs.sort_unstable_by_key(|run| (run.first, u16::MAX - run.count, run.file, run.offset));
        // Copies that are made on purpose take no longer than those that are left of pages.
        let (mut first, mut copies) = (Position::START, 0);
        self.runs.retain(|run| {
            copies = if run.first == first { copies + 1 } else { 0 };
            first = run.first;
            copies < COPIES
        });
    }

    /// Takes in orphans at positions up to the last that are not there otherwise. Bytes that were damaged say any position: that one of them says
    /// one of those is as likely as both are many.
    fn adopt(&mut self, mut orphans: Vec<Run>, last: Position) {
        let tried = orphans.len() as u64;
        let missing = last.0.saturating_sub(self.covered());
        orphans.retain(|orphan| orphan.first <= last && self.around(orphan.first).is_empty());
        if missing.saturating_mul(tried) > u64::from(u32::MAX) / CHANCE {
            self.disbelieved = orphans.len();
            return;
        }
        self.runs.extend(orphans);
        self.sort();
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
    pub fn get(&mut self, position: Position) -> Fragment {
        let runs: Vec<Run> =
            self.around(position).iter().filter(|run| position < run.next()).copied().collect();
        self.read.retain(|(run, _)| runs.contains(run));
        let mut found = Fragment::Missing;
        for run in runs {
            if !self.read.iter().any(|(read, _)| *read == run) {
                let events = self.events_of(&run);
                self.read.push((run, events));
            }
            let events = self.read.iter().find(|(read, _)| *read == run).map(|(_, events)| events);
            let at = position.since(run.first) as usize; // less than it has
            let Some(event) = events.and_then(|events| events.get(at)) else { continue };
            found = match found {
                Fragment::Missing => Fragment::Event(event.clone()),
                Fragment::Event(other) if other == *event => Fragment::Event(other),
                _ => return Fragment::Two,
            };
        }
        found
    }

    /// The events of a run, as far as they are what they were as it was found, and can be read.
    fn events_of(&self, run: &Run) -> Vec<Arc<[u8]>> {
        let mut events = Vec::new();
        let Some(file) = self.files.get(usize::from(run.file)) else { return events };
        let (mut at, mut length, end) = (run.offset, run.length, file.len().unwrap_or(0));
        for position in run.first.onwards().take(usize::from(run.count)) {
            if !events.is_empty() {
                let mut bytes = [0; 4];
                if file.read_at(at, &mut bytes).is_err() {
                    break;
                }
                (at, length) = (at + bytes.len() as u64, u32::from_be_bytes(bytes));
            }
            if u64::from(length) > end.saturating_sub(at) {
                break;
            }
            let mut bytes = vec![0; length as usize];
            if file.read_at(at, &mut bytes).is_err() || codec::parts(position, &bytes).is_none() {
                break;
            }
            at += u64::from(length);
            events.push(bytes.into());
        }
        events
    }
}
