//! Sorting: the positions of events, by keys that are worked out once.
//!
//! A key is bytes that compare as its values do, turned over where the order descends; the position comes last, so that what is
//! equal stays in the order of the log. Only keys and positions are held, and with a `LIMIT` only so many of them; the events are
//! read again as they are pulled.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::answer::Row;
use super::budget::{Budget, ENTRY};
use super::eval::Scope;
use super::project::row;
use super::scan::Scan;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::Events;
use crate::plan::order::write_key;
use crate::plan::shape::{Column, SortKey};
use crate::store::snapshot::Snapshot;

/// Appends what a row is sorted by.
pub(super) fn write_sort_key(scope: &Scope, order: &[SortKey], out: &mut Vec<u8>) {
    for key in order {
        let start = out.len();
        write_key(&scope.datum(&key.node), out);
        if key.descending {
            // No key begins another: turned over they sort the other way.
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

/// The best of the events so far.
pub(super) struct Sorter<'p> {
    order: &'p [SortKey],
    most: usize,
    /// The worst on top.
    best: BinaryHeap<(Box<[u8]>, u64)>,
    /// With no limit a heap would only be in the way.
    all: Vec<(Box<[u8]>, u64)>,
    budget: Budget,
    key: Vec<u8>,
}

impl<'p> Sorter<'p> {
    pub fn new(order: &'p [SortKey], limit: Option<u64>, budget: Budget) -> Sorter<'p> {
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Sorter { order, most, best: BinaryHeap::new(), all: Vec::new(), budget, key: Vec::new() }
    }

    /// Looks at the next event, in the order of the log.
    pub fn take(&mut self, record: &Record) -> Result<()> {
        self.key.clear();
        write_sort_key(&Scope::of(record), self.order, &mut self.key);
        let position = record.position().0;
        if self.most == usize::MAX {
            self.budget.take(ENTRY + self.key.len())?;
            self.all.push((self.key.as_slice().into(), position));
            return Ok(());
        }
        if self.best.len() == self.most {
            // What comes later is behind its equals.
            let Some(worst) = self.best.peek().filter(|worst| self.key.as_slice() < &*worst.0) else {
                return Ok(());
            };
            self.budget.give(ENTRY + worst.0.len());
            self.best.pop();
        }
        self.budget.take(ENTRY + self.key.len())?;
        self.best.push((self.key.as_slice().into(), position));
        Ok(())
    }

    /// The positions, the best first.
    pub fn finish(mut self) -> VecDeque<u64> {
        self.all.sort_unstable();
        let sorted = if self.most == usize::MAX { self.all } else { self.best.into_sorted_vec() };
        sorted.into_iter().map(|(_, position)| position).collect()
    }
}

/// The events in order, whole or as rows.
pub(super) fn rows(
    snapshot: &Snapshot,
    events: &Events,
    order: &[SortKey],
    limit: Option<u64>,
    columns: Option<Vec<Column>>,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let mut sorter = Sorter::new(order, limit, Budget::new(snapshot, "ORDER BY"));
    if limit != Some(0) {
        Scan::to_lend(snapshot, events)?.each(|record| sorter.take(record).map(|()| true))?;
    }
    let sorted = Scan::chosen(snapshot, sorter.finish());
    Ok(sorted.made(move |record, bytes| match &columns {
        Some(columns) => Ok(row(&Scope::of(record), columns)),
        None => record.to_event(&Arc::from(bytes)).map(Row::from),
    }))
}
