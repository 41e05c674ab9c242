//! How long a list is, before it is read: exactly where that is known cheaply, else from a few of its chunks.

use std::fmt;
use std::iter::Sum;

use super::{ReadTxn, Snapshot};
use crate::error::Result;
use crate::store::index::posting::PostingChunk;
use crate::store::index::term::{AFTER_TERM, Term, TermRange};

/// So many chunks are read one after another before it comes to sampling.
const WALK: usize = 4;

/// So many places of a long list are looked at.
const SAMPLES: u64 = 8;

/// How many there are, or about how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub entries: u64,
    pub exact: bool,
}

impl Estimate {
    pub const NONE: Estimate = Estimate::exactly(0);

    pub const fn exactly(entries: u64) -> Estimate {
        Estimate { entries, exact: true }
    }

    pub const fn about(entries: u64) -> Estimate {
        Estimate { entries, exact: false }
    }

    /// The same, and no more than this.
    pub fn at_most(self, most: u64) -> Estimate {
        Estimate { entries: self.entries.min(most), ..self }
    }
}

impl Sum for Estimate {
    fn sum<I: Iterator<Item = Estimate>>(estimates: I) -> Estimate {
        estimates.fold(Estimate::NONE, |sum, one| Estimate {
            entries: sum.entries.saturating_add(one.entries),
            exact: sum.exact && one.exact,
        })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.exact {
            f.write_str("about ")?;
        }
        self.entries.fmt(f)
    }
}

impl Snapshot {
    /// How many entries the list of a term has from `first` to `last`.
    pub fn estimate(&self, term: &Term, first: u64, last: u64) -> Result<Estimate> {
        self.read(|view| view.estimate(term, first, last))
    }

    /// The terms of a range, in order, unless there are more than so many.
    pub fn terms_in(&self, range: &TermRange, most: usize) -> Result<Option<Vec<Term>>> {
        self.read(|view| view.terms_in(range, most))
    }
}

impl ReadTxn<'_> {
    fn estimate(&self, term: &Term, first: u64, last: u64) -> Result<Estimate> {
        let last = last.min(self.head());
        let checkpoint = self.cold_through(term);
        let from = first.max(checkpoint + 1);
        let warm = self.tails.each().map(|tail| tail.count(term, from, last).0).sum();
        let last = last.min(checkpoint);
        let tables = match (first <= last, term.is_counted()) {
            (false, _) => Estimate::NONE,
            (true, true) => {
                let below = self.rank(term, first.saturating_sub(1))?;
                Estimate::exactly(self.rank(term, last)?.saturating_sub(below))
            }
            (true, false) => self.sampled(term, first, last)?,
        };
        Ok([tables, Estimate::exactly(warm)].into_iter().sum())
    }

    /// How many entries a counted list has in the tables up to a position.
    fn rank(&self, term: &Term, position: u64) -> Result<u64> {
        let chunk = self.postings()?.chunk_before(term.as_bytes(), position)?;
        Ok(chunk.map_or(0, |chunk| chunk.before + within(&chunk, 0, position)))
    }

    /// How many entries a list has in the tables. Where it is long, a few places say how dense it is between its ends: the chunk
    /// that spans a place drawn evenly gives a density that is right on average, however unevenly the list lies.
    fn sampled(&self, term: &Term, first: u64, last: u64) -> Result<Estimate> {
        let term = term.as_bytes();
        let Some(end) = self.postings()?.chunk_before(term, last)? else { return Ok(Estimate::NONE) };
        let Some(mut low) = (match self.postings()?.chunk_before(term, first)? {
            Some(chunk) => Some(chunk),
            None => self.postings()?.chunk_after(term, first)?,
        }) else {
            return Ok(Estimate::NONE);
        };
        let mut entries = within(&low, first, last);
        for _ in 0..WALK {
            if start(&low) >= start(&end) {
                return Ok(Estimate::exactly(entries));
            }
            match self.postings()?.chunk_after(term, through(&low) + 1)? {
                Some(next) => low = next,
                None => return Ok(Estimate::exactly(entries)),
            }
            entries += within(&low, first, last);
        }
        if start(&low) >= start(&end) {
            return Ok(Estimate::exactly(entries));
        }
        entries += within(&end, first, last);
        let gap = (through(&low) + 1, start(&end));
        let length = gap.1.saturating_sub(gap.0);
        let mut density = 0.0;
        for sample in 0..SAMPLES {
            let place = gap.0 + length / (2 * SAMPLES) * (2 * sample + 1);
            let around =
                (self.postings()?.chunk_before(term, place)?, self.postings()?.chunk_after(term, place + 1)?);
            // Before the first chunk of the gap there is nothing.
            if let (Some(chunk), Some(next)) = around
                && start(&chunk) >= gap.0
            {
                density += chunk.positions.len() as f64 / (start(&next) - start(&chunk)).max(1) as f64;
            }
        }
        let between = (density / SAMPLES as f64 * length as f64) as u64;
        Ok(Estimate::about(entries + between.min(length)))
    }

    fn terms_in(&self, range: &TermRange, most: usize) -> Result<Option<Vec<Term>>> {
        let mut terms = Vec::new();
        let mut from = range.from.clone();
        while from < range.until
            && let Some(term) = self.term_at(&from)?.filter(|term| term.as_bytes() < range.until.as_slice())
        {
            if terms.len() == most {
                return Ok(None);
            }
            from = [term.as_bytes(), &AFTER_TERM].concat();
            terms.push(term);
        }
        Ok(Some(terms))
    }
}

fn within(chunk: &PostingChunk, first: u64, last: u64) -> u64 {
    let start = chunk.positions.partition_point(|&p| p < first);
    chunk.positions.partition_point(|&p| p <= last).saturating_sub(start) as u64
}

/// A chunk has at least one position.
fn start(chunk: &PostingChunk) -> u64 {
    chunk.positions.first().copied().unwrap_or_default()
}

fn through(chunk: &PostingChunk) -> u64 {
    chunk.positions.last().copied().unwrap_or_default()
}
