//! Reading many lists in the order of their terms, as they lie, instead of seeking each.

use super::{ReadTxn, Snapshot};
use crate::error::Result;
use crate::store::index::term::TermRange;

/// How many chunks are looked at in one view.
const CHUNKS: usize = 256;

impl Snapshot {
    /// Hands over the entries from `first` to `last` of all terms in a range: in no order, and some perhaps more than once.
    pub fn sweep(
        &self,
        range: &TermRange,
        first: u64,
        last: u64,
        mut take: impl FnMut(&[u64]) -> Result<()>,
    ) -> Result<()> {
        let mut from = Some(range.from.clone());
        let mut warm = true;
        while let Some(start) = from.take().filter(|start| *start < range.until) {
            let page = self.read(|view| view.page_of_range(range, &start, first, last, warm))?;
            take(&page.entries)?;
            self.tally.add_chunks(page.chunks);
            from = page.next;
            // What the tails hold was taken with the first page; what moves out of them later lies in the tables twice seen.
            warm = false;
        }
        Ok(())
    }

    /// How many such entries the first page has, and whether it has them all.
    pub fn sweep_page(&self, range: &TermRange, first: u64, last: u64) -> Result<(u64, bool)> {
        let page = self.read(|view| view.page_of_range(range, &range.from, first, last, true))?;
        Ok((page.entries.len() as u64, page.next.is_none()))
    }
}

struct PostingPage {
    entries: Vec<u64>,
    chunks: u64,
    /// The key to go on with.
    next: Option<Vec<u8>>,
}

impl ReadTxn<'_> {
    fn page_of_range(
        &self,
        range: &TermRange,
        start: &[u8],
        first: u64,
        last: u64,
        warm: bool,
    ) -> Result<PostingPage> {
        let last = last.min(self.head());
        let mut page = PostingPage { entries: Vec::new(), chunks: 0, next: None };
        if warm {
            for tail in self.tails.each() {
                tail.sweep(range, first.max(self.checkpoint + 1), last, &mut page.entries);
            }
        }
        page.next = self.postings()?.sweep(start, &range.until, last, CHUNKS, |chunk| {
            page.entries.extend(chunk.positions.iter().filter(|p| (first..=last).contains(p)));
            page.chunks += 1;
        })?;
        Ok(page)
    }
}
