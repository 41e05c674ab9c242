//! How long a list is, before it is read: exactly where that is known cheaply, else from a few of its chunks.

use std::fmt;
use std::iter::Sum;
use std::sync::Arc;

use super::{ReadTxn, ScanDirection, Snapshot};
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::store::index::posting::PostingChunk;
use crate::store::index::term::{AFTER_TERM, Term, TermRange};

/// So many chunks are read one after another before it comes to sampling.
const WALK: usize = 4;

/// So many places of a long list are looked at.
const SAMPLES: u64 = 8;

/// So many chunks are read one after another to find whether a list has as many as are wanted close to its end.
const WALK_FEW: usize = 8;

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
    /// How many entries the list of a term has within a range.
    pub fn estimate(&self, term: &Term, range: PositionRange) -> Result<Estimate> {
        self.read(|view| view.estimate(term, range, |range| view.sampled(term, range)))
    }

    /// The same for who reads so many of them from one end: where there are as many, how dense they are at that end says what they cost.
    pub fn estimate_from(
        &self,
        term: &Term,
        range: PositionRange,
        (direction, wanted): (ScanDirection, u64),
    ) -> Result<Estimate> {
        self.read(|view| {
            view.estimate(term, range, |range| view.as_dense_as_from(term, range, direction, wanted))
        })
    }

    /// The terms of a range, in order, unless there are more than so many.
    pub fn terms_in(&self, range: &TermRange, most: usize) -> Result<Option<Vec<Term>>> {
        self.read(|view| view.terms_in(range, most))
    }
}

impl ReadTxn<'_> {
    fn estimate(
        &self,
        term: &Term,
        range: PositionRange,
        long: impl FnOnce(PositionRange) -> Result<Estimate>,
    ) -> Result<Estimate> {
        let range = range.and(PositionRange::through(self.head()));
        let checkpoint = self.tables_through(term);
        let in_memtables = range.and(PositionRange::after(checkpoint));
        let newest = self.memtables.each().map(|memtable| memtable.count(term, in_memtables).0).sum();
        let in_tables = range.and(PositionRange::through(checkpoint));
        let tables = match (in_tables.is_empty(), term.is_counted()) {
            (true, _) => Estimate::NONE,
            (false, true) => {
                let below = self.rank(term, in_tables.first.previous())?;
                Estimate::exactly(self.rank(term, in_tables.last)?.saturating_sub(below))
            }
            (false, false) => long(in_tables)?,
        };
        Ok([tables, Estimate::exactly(newest)].into_iter().sum())
    }

    /// How many entries a counted list has in the tables up to a position.
    fn rank(&self, term: &Term, position: Position) -> Result<u64> {
        if position == Position::START {
            return Ok(0);
        }
        let chunk = self.postings()?.chunk_before(term.as_bytes(), position)?;
        Ok(chunk.map_or(0, |chunk| chunk.before + within(&chunk, PositionRange::through(position))))
    }

    /// How many entries a list has in the tables. Where it is long, a few places say how dense it is between its ends: the chunk
    /// that spans a place drawn evenly gives a density that is right on average, however unevenly the list lies.
    fn sampled(&self, term: &Term, range: PositionRange) -> Result<Estimate> {
        let term = term.as_bytes();
        let Some(end) = self.postings()?.chunk_before(term, range.last)? else { return Ok(Estimate::NONE) };
        let Some(mut low) = (match self.postings()?.chunk_before(term, range.first)? {
            Some(chunk) => Some(chunk),
            None => self.postings()?.chunk_after(term, range.first)?.map(Arc::new),
        }) else {
            return Ok(Estimate::NONE);
        };
        let mut entries = within(&low, range);
        for _ in 0..WALK {
            if start(&low) >= start(&end) {
                return Ok(Estimate::exactly(entries));
            }
            match self.postings()?.chunk_after(term, through(&low).next())? {
                Some(next) => low = Arc::new(next),
                None => return Ok(Estimate::exactly(entries)),
            }
            entries += within(&low, range);
        }
        if start(&low) >= start(&end) {
            return Ok(Estimate::exactly(entries));
        }
        entries += within(&end, range);
        let gap = through(&low).next();
        let length = start(&end).since(gap);
        let mut density = 0.0;
        for sample in 0..SAMPLES {
            let place = gap.plus(length / (2 * SAMPLES) * (2 * sample + 1));
            // Before the first chunk of the gap there is nothing.
            if let [Some(chunk), Some(next)] = self.postings()?.heads(term, place)?
                && chunk.first >= gap
            {
                density += chunk.entries as f64 / next.first.since(chunk.first).max(1) as f64;
            }
        }
        let between = (density / SAMPLES as f64 * length as f64) as u64;
        Ok(Estimate::about(entries + between.min(length)))
    }

    /// How many entries a list has in the tables, were it all along as dense as where those that are wanted lie, from the end on that
    /// is read first. A few that lie close together say nothing of what comes behind them: then all of the list counts.
    fn as_dense_as_from(
        &self,
        term: &Term,
        range: PositionRange,
        direction: ScanDirection,
        wanted: u64,
    ) -> Result<Estimate> {
        let key = term.as_bytes();
        let mut entries = 0;
        let mut rest = range;
        for _ in 0..WALK_FEW {
            let chunk = match direction {
                ScanDirection::Descending => self.postings()?.chunk_before(key, rest.last)?,
                ScanDirection::Ascending => match self.postings()?.chunk_before(key, rest.first)? {
                    Some(chunk) if through(&chunk) >= rest.first => Some(chunk),
                    _ => self.postings()?.chunk_after(key, rest.first)?.map(Arc::new),
                },
            };
            let Some(chunk) = chunk else { return Ok(Estimate::exactly(entries)) };
            entries += within(&chunk, rest);
            match direction {
                ScanDirection::Descending => rest.last = start(&chunk).previous(),
                ScanDirection::Ascending => rest.first = through(&chunk).next(),
            }
            if rest.is_empty() {
                return Ok(Estimate::exactly(entries));
            }
            if entries >= wanted {
                let seen = range.len() - rest.len();
                let all = u128::from(entries) * u128::from(range.len()) / u128::from(seen.max(1));
                return Ok(Estimate::about(u64::try_from(all).unwrap_or(u64::MAX)));
            }
        }
        self.sampled(term, range)
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

fn within(chunk: &PostingChunk, range: PositionRange) -> u64 {
    range.of(&chunk.positions).len() as u64
}

/// A chunk has at least one position.
fn start(chunk: &PostingChunk) -> Position {
    chunk.positions.first().copied().unwrap_or_default()
}

fn through(chunk: &PostingChunk) -> Position {
    chunk.positions.last().copied().unwrap_or_default()
}
