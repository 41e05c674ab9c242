//! Passing over runs of the log in which nothing happened at a time that is wanted.

use std::collections::VecDeque;

use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::plan::Times;
use crate::store::snapshot::{ScanDirection, Snapshot, ZoneRange};

/// How many runs are read at a time, at first and at most.
const FIRST_PAGE: usize = 8;
const LARGEST_PAGE: usize = 256;

/// What is known of runs, read along with the scan.
#[derive(Debug)]
pub(super) struct ZoneMap {
    snapshot: Snapshot,
    times: Times,
    direction: ScanDirection,
    /// The next runs in the direction.
    page: VecDeque<ZoneRange>,
    size: usize,
    /// A stretch that may hold what is wanted.
    kept: PositionRange,
    /// There are no more runs in the tables: what is left may all be wanted.
    ended: bool,
}

impl ZoneMap {
    /// None where nothing can be passed over.
    pub fn new(snapshot: &Snapshot, times: Times, direction: ScanDirection) -> Option<ZoneMap> {
        let (snapshot, page) = (snapshot.clone(), VecDeque::new());
        let kept = PositionRange::NONE;
        let zones = ZoneMap { snapshot, times, direction, page, size: FIRST_PAGE, kept, ended: false };
        (!times.is_open()).then_some(zones)
    }

    /// The nearest position that may be wanted, from this one on in the direction; it may lie beyond the log. Those that are asked
    /// for never go back.
    pub fn nearest(&mut self, from: Position) -> Result<Position> {
        Ok(match self.direction {
            ScanDirection::Ascending => self.stretch(from)?.first,
            ScanDirection::Descending => self.stretch(from)?.last,
        })
    }

    /// The nearest stretch that may be wanted, from a position on in the direction.
    pub fn stretch(&mut self, mut from: Position) -> Result<PositionRange> {
        let ascending = self.direction == ScanDirection::Ascending;
        loop {
            if self.kept.contains(from) {
                let onwards = PositionRange::new(from, Position::MAX);
                return Ok(self.kept.and(if ascending { onwards } else { up_to(from) }));
            }
            if from == Position::START {
                // Backwards, before the first event.
                return Ok(up_to(from));
            }
            let passed = |run: &ZoneRange| {
                if ascending { run.positions.last < from } else { run.positions.first > from }
            };
            while self.page.front().is_some_and(passed) {
                self.page.pop_front();
            }
            if self.page.is_empty() && !self.ended {
                let mut runs = VecDeque::from(self.snapshot.runs(from, self.direction, self.size)?);
                // Forwards, the one that begins before may end before, too.
                while runs.front().is_some_and(passed) {
                    runs.pop_front();
                }
                self.size = (self.size * 2).min(LARGEST_PAGE);
                self.ended = runs.is_empty();
                self.page = runs;
            }
            // What no run spans may be wanted: it is in a memtable, or was when the page was read.
            let Some(run) = self.page.front() else {
                self.kept = if ascending { PositionRange::new(from, Position::MAX) } else { up_to(from) };
                continue;
            };
            if ascending && from < run.positions.first {
                self.kept = PositionRange::new(from, run.positions.first.previous());
            } else if !ascending && from > run.positions.last {
                self.kept = PositionRange::new(run.positions.last.next(), from);
            } else if self.times.meets(run) {
                self.kept = run.positions;
            } else {
                self.snapshot.tally().add_passed_over(1);
                from = if ascending { run.positions.last.next() } else { run.positions.first.previous() };
            }
        }
    }
}

/// Everything up to a position, the start of the log too.
fn up_to(position: Position) -> PositionRange {
    PositionRange::new(Position::START, position)
}
