//! Sorting: the positions of events, by keys that are worked out once.
//!
//! A key is bytes that compare as its values do, turned over where the order descends; the position comes last, so that what is
//! equal stays in the order of the log. Only keys and positions are held, and with a `LIMIT` only so many of them; the events are
//! read again as they are pulled.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::budget::{Budget, ENTRY};
use super::eval::Scope;
use super::parallel_scan::{ParallelScan, gather_all};
use super::project::row;
use super::result::Row;
use super::scan::EventScan;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::EventsPlan;
use crate::plan::order::write_key;
use crate::plan::shape::{OutputColumn, SortKey};
use crate::store::snapshot::Snapshot;

/// Appends what a row is sorted by.
pub(super) fn write_sort_key<'a>(scope: &Scope<'a>, order: &'a [SortKey], out: &mut Vec<u8>) -> Result<()> {
    for key in order {
        let start = out.len();
        write_key(&scope.kept(&key.node)?, out);
        if key.descending {
            // No key begins another: turned over they sort the other way.
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    Ok(())
}

/// How events are sorted.
pub(super) struct Sorting<'p> {
    order: &'p [SortKey],
    /// No more than these are kept.
    most: usize,
    budget: Budget,
    limits: Limits,
}

/// The key of a row, what stands for the row, and how many bytes both take.
type Ranked<T> = (Box<[u8]>, T, usize);

/// The best of some events.
pub(super) struct TopK<T> {
    /// With a limit: the worst on top.
    heap: BinaryHeap<Ranked<T>>,
    /// Without one a heap would only be in the way.
    all: Vec<Ranked<T>>,
    /// Room to work in.
    key: Vec<u8>,
}

impl ParallelScan for Sorting<'_> {
    type Part = TopK<Position>;

    fn begin(&self) -> TopK<Position> {
        TopK::default()
    }

    fn take(&self, best: &mut TopK<Position>, record: &Record) -> Result<()> {
        self.offer(best, &Scope::of(record, &self.limits), 0, || record.position())
    }

    fn join(&self, whole: &mut TopK<Position>, later: TopK<Position>) -> Result<()> {
        self.join_best(whole, later);
        Ok(())
    }
}

impl<'p> Sorting<'p> {
    pub fn new(snapshot: &Snapshot, order: &'p [SortKey], most: usize) -> Sorting<'p> {
        Sorting { order, most, budget: Budget::new(snapshot, "ORDER BY"), limits: snapshot.query_limits() }
    }

    /// Adds the best of what comes later.
    pub fn join_best<T: Ord>(&self, whole: &mut TopK<T>, later: TopK<T>) {
        whole.all.extend(later.all);
        for (key, row, bytes) in later.heap.into_sorted_vec() {
            if self.makes_room(whole, &key) {
                whole.heap.push((key, row, bytes));
            } else {
                self.budget.give(bytes);
            }
        }
    }

    /// Keeps what stands for a row, of so many bytes beside itself, if it is among the best so far.
    pub fn offer<'s, T: Ord>(
        &'s self,
        best: &mut TopK<T>,
        scope: &Scope<'s>,
        bytes: usize,
        row: impl FnOnce() -> T,
    ) -> Result<()> {
        self.offer_made(best, scope, || Ok((row(), bytes)))
    }

    /// The same of what has to be made, and may not be; how many bytes it takes is told with it.
    pub fn offer_made<'s, T: Ord>(
        &'s self,
        best: &mut TopK<T>,
        scope: &Scope<'s>,
        make: impl FnOnce() -> Result<(T, usize)>,
    ) -> Result<()> {
        let mut key = std::mem::take(&mut best.key);
        key.clear();
        write_sort_key(scope, self.order, &mut key)?;
        if self.makes_room(best, &key) {
            let (row, bytes) = make()?;
            let bytes = ENTRY + key.len() + bytes;
            self.budget.take(bytes)?;
            let entry = (key.as_slice().into(), row, bytes);
            if self.most == usize::MAX { best.all.push(entry) } else { best.heap.push(entry) }
        }
        best.key = key;
        Ok(())
    }

    /// Whether a key is among the best; what it displaces is let go of. What comes later is behind its equals.
    fn makes_room<T: Ord>(&self, best: &mut TopK<T>, key: &[u8]) -> bool {
        if best.heap.len() < self.most {
            return true;
        }
        match best.heap.peek() {
            Some(worst) if *key < *worst.0 => {
                self.budget.give(worst.2);
                best.heap.pop();
                true
            }
            _ => false,
        }
    }
}

impl<T: Ord> Default for TopK<T> {
    fn default() -> TopK<T> {
        TopK { heap: BinaryHeap::new(), all: Vec::new(), key: Vec::new() }
    }
}

impl<T: Ord> TopK<T> {
    /// The positions, the best first.
    pub fn chosen(mut self) -> VecDeque<T> {
        self.all.extend(self.heap);
        self.all.sort_unstable();
        self.all.into_iter().map(|(_, row, _)| row).collect()
    }
}

/// The events in order, whole or as rows.
pub(super) fn rows(
    snapshot: &Snapshot,
    events: &EventsPlan,
    order: &[SortKey],
    limit: Option<u64>,
    columns: Option<Vec<OutputColumn>>,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let best = match most {
        0 => TopK::default(),
        _ => gather_all(snapshot, events, &Sorting::new(snapshot, order, most))?,
    };
    let limits = snapshot.query_limits();
    let sorted = EventScan::chosen(snapshot, best.chosen());
    Ok(sorted.made(move |record, bytes| {
        let row = match &columns {
            Some(columns) => row(&Scope::of(record, &limits), columns)?,
            None => record.to_event(&Arc::from(bytes)).map(Row::from)?,
        };
        let held = row.weight();
        Ok((row, held))
    }))
}
