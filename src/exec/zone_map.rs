//! Passing over runs of the log in which nothing happened at a time that is wanted.

use std::collections::VecDeque;

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
    /// A stretch that may hold what is wanted, both ends included.
    kept: (u64, u64),
    /// There are no more runs in the tables: what is left may all be wanted.
    ended: bool,
}

impl ZoneMap {
    /// None where nothing can be passed over.
    pub fn new(snapshot: &Snapshot, times: Times, direction: ScanDirection) -> Option<ZoneMap> {
        let (snapshot, page) = (snapshot.clone(), VecDeque::new());
        let zones =
            ZoneMap { snapshot, times, direction, page, size: FIRST_PAGE, kept: (1, 0), ended: false };
        (!times.is_open()).then_some(zones)
    }

    /// The nearest position that may be wanted, from this one on in the direction; it may lie beyond the log. Those that are asked
    /// for never go back.
    pub fn nearest(&mut self, from: u64) -> Result<u64> {
        Ok(match self.direction {
            ScanDirection::Ascending => self.stretch(from)?.0,
            ScanDirection::Descending => self.stretch(from)?.1,
        })
    }

    /// The nearest stretch that may be wanted, from a position on in the direction.
    pub fn stretch(&mut self, mut from: u64) -> Result<(u64, u64)> {
        let ascending = self.direction == ScanDirection::Ascending;
        loop {
            if (self.kept.0..=self.kept.1).contains(&from) {
                return Ok(if ascending { (from, self.kept.1) } else { (self.kept.0, from) });
            }
            if from == 0 {
                // Backwards, before the first event.
                return Ok((0, 0));
            }
            let passed = |run: &ZoneRange| if ascending { run.last < from } else { run.first > from };
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
            // What no run spans may be wanted: it is in a tail, or was when the page was read.
            let Some(run) = self.page.front() else {
                self.kept = if ascending { (from, u64::MAX) } else { (0, from) };
                continue;
            };
            if ascending && from < run.first {
                self.kept = (from, run.first - 1);
            } else if !ascending && from > run.last {
                self.kept = (run.last + 1, from);
            } else if self.times.meets(run) {
                self.kept = (run.first, run.last);
            } else {
                self.snapshot.tally().add_passed_over(1);
                from = if ascending { run.last + 1 } else { run.first - 1 };
            }
        }
    }
}
