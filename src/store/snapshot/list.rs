//! Lists: the positions of one term, a page at a time.

use std::collections::VecDeque;

use super::{ScanDirection, Snapshot};
use crate::error::Result;
use crate::store::index::term::Term;

/// The positions of a term, read a page at a time.
#[derive(Debug)]
pub(crate) struct PostingList {
    snapshot: Snapshot,
    term: Term,
    first: u64,
    last: u64,
    direction: ScanDirection,
    page: VecDeque<u64>,
    done: bool,
}

impl PostingList {
    pub(super) fn new(
        snapshot: &Snapshot,
        term: Term,
        first: u64,
        last: u64,
        direction: ScanDirection,
    ) -> PostingList {
        let (snapshot, last) = (snapshot.clone(), last.min(snapshot.head));
        PostingList { snapshot, term, first, last, direction, page: VecDeque::new(), done: false }
    }

    /// Leaves out everything before a position, in the direction of the list.
    pub fn seek(&mut self, to: u64) {
        let passed = |p: u64| match self.direction {
            ScanDirection::Ascending => p < to,
            ScanDirection::Descending => p > to,
        };
        while self.page.front().is_some_and(|&p| passed(p)) {
            self.page.pop_front();
        }
        match self.direction {
            ScanDirection::Ascending => self.first = self.first.max(to),
            ScanDirection::Descending => self.last = self.last.min(to),
        }
    }

    fn fill(&mut self) -> Result<()> {
        let page = self.snapshot.read(|view| view.page(&self.term, self.first, self.last, self.direction))?;
        self.snapshot.tally.add_chunks(1);
        match (page.last(), self.direction) {
            (None, _) => self.done = true,
            (Some(&end), ScanDirection::Ascending) => self.first = end + 1,
            // Positions begin with 1: below it there is nothing.
            (Some(&end), ScanDirection::Descending) => self.last = end - 1,
        }
        self.done |= self.first > self.last;
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for PostingList {
    type Item = Result<u64>;

    fn next(&mut self) -> Option<Result<u64>> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.fill()
        {
            self.done = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}
