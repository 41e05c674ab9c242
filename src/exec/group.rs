//! Grouping: one pass over the events, in the order of the log, that folds each into its group.
//!
//! A group is found by the bytes of its keys, which are written into room that is used again: an event whose group there is already
//! allocates nothing. Groups come in the order of their keys, unless another is asked for.

use std::collections::HashMap;

use super::aggregate::Accumulator;
use super::answer::Row;
use super::budget::{Budget, ENTRY};
use super::eval::Scope;
use super::project::row;
use super::scan::Scan;
use super::sort::write_sort_key;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::Events;
use crate::plan::datum::Datum;
use crate::plan::order::write_key;
use crate::plan::shape;
use crate::store::snapshot::Snapshot;

/// The groups of a query, so far.
pub(super) struct Groups<'p> {
    plan: &'p shape::Group,
    /// Where each is, by the bytes of its keys.
    places: HashMap<Box<[u8]>, usize>,
    groups: Vec<Group>,
    budget: Budget,
    key: Vec<u8>,
    room: Vec<u8>,
}

struct Group {
    /// As the first of its events has them.
    keys: Vec<Datum<'static>>,
    accumulators: Vec<Accumulator>,
}

/// The rows of the groups of some events.
pub(super) fn rows(
    snapshot: &Snapshot,
    events: &Events,
    plan: &shape::Group,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let mut groups = Groups::new(plan, Budget::new(snapshot, groups_of(plan)));
    Scan::to_lend(snapshot, events)?.each(|record| groups.take(record).map(|()| true))?;
    let found = groups.finish()?;
    let columns = plan.columns.clone();
    Ok(found.into_iter().map(move |slots| Ok(row(&Scope::group(&slots), &columns))))
}

fn groups_of(plan: &shape::Group) -> &'static str {
    if plan.keys.is_empty() { "what the aggregates keep" } else { "GROUP BY" }
}

impl<'p> Groups<'p> {
    pub fn new(plan: &'p shape::Group, budget: Budget) -> Groups<'p> {
        let mut groups = Groups {
            plan,
            places: HashMap::new(),
            groups: Vec::new(),
            budget,
            key: Vec::new(),
            room: Vec::new(),
        };
        if plan.keys.is_empty() {
            // Of nothing there is a row, too.
            groups.groups.push(Group { keys: Vec::new(), accumulators: groups.accumulators() });
        }
        groups
    }

    fn accumulators(&self) -> Vec<Accumulator> {
        self.plan.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind)).collect()
    }

    /// Folds the next event in.
    pub fn take(&mut self, record: &Record) -> Result<()> {
        let scope = Scope::of(record);
        let place = if self.plan.keys.is_empty() { 0 } else { self.place(&scope)? };
        for (accumulator, aggregate) in self.groups[place].accumulators.iter_mut().zip(&self.plan.aggregates)
        {
            match &aggregate.argument {
                None => accumulator.count(),
                Some(argument) => {
                    accumulator.add(&scope.datum(argument), &mut self.budget, &mut self.room)?
                }
            }
        }
        Ok(())
    }

    fn place(&mut self, scope: &Scope) -> Result<usize> {
        self.key.clear();
        for key in &self.plan.keys {
            write_key(&scope.datum(&key.node), &mut self.key);
        }
        if let Some(place) = self.places.get(self.key.as_slice()) {
            return Ok(*place);
        }
        let keys: Vec<_> = self.plan.keys.iter().map(|key| scope.datum(&key.node).into_owned()).collect();
        let accumulators = self.accumulators();
        let held = keys.iter().map(|key| size_of::<Datum>() + key.held()).sum::<usize>();
        self.budget
            .take(2 * ENTRY + self.key.len() + held + accumulators.len() * size_of::<Accumulator>())?;
        let place = self.groups.len();
        self.places.insert(self.key.as_slice().into(), place);
        self.groups.push(Group { keys, accumulators });
        Ok(place)
    }

    /// The slots of each group that is wanted, in the order that is wanted.
    pub fn finish(mut self) -> Result<Vec<Vec<Datum<'static>>>> {
        let mut by_key: Vec<(Box<[u8]>, usize)> = self.places.drain().collect();
        by_key.sort_unstable();
        if self.plan.keys.is_empty() {
            by_key.push((Box::default(), 0));
        }
        let mut groups: Vec<Option<Group>> = self.groups.into_iter().map(Some).collect();
        let mut found = Vec::with_capacity(by_key.len());
        for (_, place) in by_key {
            let Some(group) = groups[place].take() else { continue };
            let mut slots = group.keys;
            slots.extend(group.accumulators.into_iter().map(Accumulator::result));
            let having = self.plan.having.as_ref();
            if having.is_none_or(|having| Scope::group(&slots).truth(&having.node) == Some(true)) {
                found.push(slots);
            }
        }
        if !self.plan.order.is_empty() {
            let mut keyed = Vec::with_capacity(found.len());
            for slots in found {
                let mut key = Vec::new();
                write_sort_key(&Scope::group(&slots), &self.plan.order, &mut key);
                self.budget.take(size_of::<Vec<u8>>() + key.len())?;
                keyed.push((key, slots));
            }
            // Stable: those with equal keys stay in the order of what they are grouped by.
            keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
            found = keyed.into_iter().map(|(_, slots)| slots).collect();
        }
        if let Some(limit) = self.plan.limit {
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(found)
    }
}
