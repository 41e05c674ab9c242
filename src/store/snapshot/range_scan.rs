//! Reading many lists in the order of their terms, as they lie, instead of seeking each.

use super::{ReadTxn, Snapshot};
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::store::index::term::TermRange;

/// How many chunks are looked at in one view.
const CHUNKS: usize = 256;

impl Snapshot {
    /// Hands over the entries within some positions of all terms in a range: in no order, and some perhaps more than once.
    pub fn sweep(
        &self,
        range: &TermRange,
        within: PositionRange,
        mut take: impl FnMut(&[Position]) -> Result<()>,
    ) -> Result<()> {
        let mut from = Some(range.from.clone());
        let mut with_memtables = true;
        while let Some(start) = from.take().filter(|start| *start < range.until) {
            let page = self.read(|view| view.page_of_range(range, &start, within, with_memtables))?;
            take(&page.entries)?;
            self.tally.add_chunks(page.chunks);
            from = page.next;
            // What the memtables hold was taken with the first page; what moves out of them later lies in the tables twice seen.
            with_memtables = false;
        }
        Ok(())
    }

    /// How many such entries the first page has, and whether it has them all.
    pub fn sweep_page(&self, range: &TermRange, within: PositionRange) -> Result<(u64, bool)> {
        let page = self.read(|view| view.page_of_range(range, &range.from, within, true))?;
        Ok((page.entries.len() as u64, page.next.is_none()))
    }
}

struct PostingPage {
    entries: Vec<Position>,
    chunks: u64,
    /// The key to go on with.
    next: Option<Vec<u8>>,
}

impl ReadTxn<'_> {
    fn page_of_range(
        &self,
        range: &TermRange,
        start: &[u8],
        within: PositionRange,
        with_memtables: bool,
    ) -> Result<PostingPage> {
        let within = within.and(PositionRange::through(self.head()));
        let mut page = PostingPage { entries: Vec::new(), chunks: 0, next: None };
        if with_memtables {
            for memtable in self.memtables.each() {
                memtable.sweep(range, within.and(PositionRange::after(self.checkpoint)), &mut page.entries);
            }
        }
        page.next = self.postings()?.sweep(start, &range.until, within.last, CHUNKS, |chunk| {
            page.entries.extend_from_slice(within.of(&chunk.positions));
            page.chunks += 1;
        })?;
        Ok(page)
    }
}
