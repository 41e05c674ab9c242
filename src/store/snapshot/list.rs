//! Lists: the positions of one term, a page at a time.

use std::collections::VecDeque;

use super::{ScanDirection, Snapshot};
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::store::index::term::Term;

/// The positions of a term, read a page at a time.
#[derive(Debug)]
pub(crate) struct PostingList {
    snapshot: Snapshot,
    term: Term,
    /// What is still to be read.
    rest: PositionRange,
    direction: ScanDirection,
    page: VecDeque<Position>,
    done: bool,
}

impl PostingList {
    pub(super) fn new(
        snapshot: &Snapshot,
        term: Term,
        range: PositionRange,
        direction: ScanDirection,
    ) -> PostingList {
        let rest = range.and(PositionRange::through(snapshot.head));
        PostingList { snapshot: snapshot.clone(), term, rest, direction, page: VecDeque::new(), done: false }
    }

    /// Leaves out everything before a position, in the direction of the list.
    pub fn seek(&mut self, to: Position) {
        let passed = |p: Position| match self.direction {
            ScanDirection::Ascending => p < to,
            ScanDirection::Descending => p > to,
        };
        while self.page.front().is_some_and(|&p| passed(p)) {
            self.page.pop_front();
        }
        match self.direction {
            ScanDirection::Ascending => self.rest.first = self.rest.first.max(to),
            ScanDirection::Descending => self.rest.last = self.rest.last.min(to),
        }
    }

    fn fill(&mut self) -> Result<()> {
        let page = self.snapshot.read(|view| view.page(&self.term, self.rest, self.direction))?;
        self.snapshot.tally.add_chunks(1);
        match (page.last(), self.direction) {
            (None, _) => self.done = true,
            (Some(&end), ScanDirection::Ascending) => self.rest.first = end.next(),
            (Some(&end), ScanDirection::Descending) => self.rest.last = end.previous(),
        }
        self.done |= self.rest.is_empty();
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for PostingList {
    type Item = Result<Position>;

    fn next(&mut self) -> Option<Result<Position>> {
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
