//! Grouping: one pass over the events, in the order of the log, that folds each into its group.
//!
//! A group is found by the bytes of its keys, which are written into room that is used again: an event whose group there is already
//! allocates nothing. Groups come in the order of their keys, unless another is asked for.

use std::collections::HashMap;
use std::sync::Arc;

use super::aggregate::Accumulator;
use super::budget::{Budget, ENTRY};
use super::column;
use super::eval::Scope;
use super::parallel_scan::{ParallelScan, gather_all};
use super::project::row;
use super::result::Row;
use super::sort::write_sort_key;
use crate::allowance::Limits;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::EventsPlan;
use crate::plan::access_path::column::ColumnScanPlan;
use crate::plan::datum::Datum;
use crate::plan::order::write_key;
use crate::plan::shape;
use crate::store::snapshot::Snapshot;

/// How events are folded into groups.
pub(super) struct Grouping<'p> {
    plan: &'p shape::GroupPlan,
    budget: Arc<Budget>,
    limits: Limits,
    keys: Keys,
}

/// Which groups are made.
pub(super) enum Keys {
    All,
    /// That of a key.
    One(Box<[u8]>),
    /// Those from a key on.
    From(Box<[u8]>),
}

/// The groups of some events.
#[derive(Default)]
pub(super) struct GroupTable {
    /// Where each is, by the bytes of its keys.
    places: HashMap<Box<[u8]>, usize>,
    groups: Vec<AggregateGroup>,
    /// Room to work in.
    key: Vec<u8>,
    room: Vec<u8>,
}

/// What a group has: its keys, then what its aggregates come to.
pub(super) type Slots = Arc<Vec<Datum<'static>>>;

pub(super) struct AggregateGroup {
    /// As the first of its events has them.
    pub keys: Vec<Datum<'static>>,
    pub accumulators: Vec<Accumulator>,
}

impl GroupTable {
    /// Each with the bytes of its keys; none where everything is one group.
    pub fn each(&self) -> impl Iterator<Item = (&[u8], &AggregateGroup)> {
        let everything = self.groups.first().filter(|_| self.places.is_empty());
        let each = self.places.iter().filter_map(|(key, place)| Some((&**key, self.groups.get(*place)?)));
        each.chain(everything.map(|group| ([].as_slice(), group)))
    }
}

impl GroupTable {
    /// The same, one after another let go of.
    pub fn into_each(self) -> impl Iterator<Item = (Box<[u8]>, AggregateGroup)> {
        let GroupTable { places, groups, .. } = self;
        let mut groups: Vec<_> = groups.into_iter().map(Some).collect();
        let everything = groups.first_mut().filter(|_| places.is_empty()).and_then(Option::take);
        let each =
            places.into_iter().filter_map(move |(key, place)| Some((key, groups.get_mut(place)?.take()?)));
        each.chain(everything.map(|group| (Box::default(), group)))
    }
}

/// The rows of the groups of some events.
pub(super) fn rows(
    snapshot: &Snapshot,
    events: &EventsPlan,
    plan: &shape::GroupPlan,
    columns: Option<&ColumnScanPlan>,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static + use<>> {
    let grouping = Grouping::new(snapshot, plan);
    let groups = match columns {
        Some(columns) => column::gather(snapshot, events, columns, &grouping)?,
        None => gather_all(snapshot, events, &grouping)?,
    };
    grouping.rows(groups)
}

impl ParallelScan for Grouping<'_> {
    type Part = GroupTable;

    fn begin(&self) -> GroupTable {
        self.start()
    }

    fn take(&self, part: &mut GroupTable, record: &Record) -> Result<()> {
        self.add(part, &Scope::of(record, &self.limits))
    }

    fn join(&self, whole: &mut GroupTable, later: GroupTable) -> Result<()> {
        if self.plan.keys.is_empty() {
            return later.groups.into_iter().try_for_each(|group| self.join_one(&mut whole.groups[0], group));
        }
        let mut groups: Vec<Option<AggregateGroup>> = later.groups.into_iter().map(Some).collect();
        for (key, place) in later.places {
            let Some(group) = groups[place].take() else { continue };
            self.join_group(whole, key, group)?;
        }
        Ok(())
    }
}

/// What a group holds beside what its aggregates keep.
fn held(key: &[u8], group: &AggregateGroup) -> usize {
    let keys = group.keys.iter().map(|key| size_of::<Datum>() + key.held()).sum::<usize>();
    2 * ENTRY + key.len() + keys + group.accumulators.len() * size_of::<Accumulator>()
}

/// About how many bytes the slots of a group take.
pub(super) fn slots_held(slots: &[Datum]) -> usize {
    2 * ENTRY + slots.iter().map(|slot| size_of::<Datum>() + slot.held()).sum::<usize>()
}

impl<'p> Grouping<'p> {
    pub fn new(snapshot: &Snapshot, plan: &'p shape::GroupPlan) -> Grouping<'p> {
        let what = if plan.keys.is_empty() { "what the aggregates keep" } else { "GROUP BY" };
        Grouping {
            plan,
            budget: Arc::new(Budget::new(snapshot, what)),
            limits: snapshot.query_limits(),
            keys: Keys::All,
        }
    }

    /// The same, with a budget of others.
    pub fn with(plan: &'p shape::GroupPlan, budget: Arc<Budget>, limits: &Limits) -> Grouping<'p> {
        Grouping { plan, budget, limits: limits.clone(), keys: Keys::All }
    }

    /// The same, for some of the groups. Where everything is one group, that is made.
    pub fn only(self, keys: Keys) -> Grouping<'p> {
        Grouping { keys, ..self }
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Puts a group that was made before, and is not there yet, into its place.
    pub fn put(&self, groups: &mut GroupTable, key: &[u8], group: AggregateGroup) -> Result<()> {
        self.budget
            .take(held(key, &group) + group.accumulators.iter().map(Accumulator::held).sum::<usize>())?;
        if self.plan.keys.is_empty() {
            groups.groups = vec![group];
        } else {
            groups.places.insert(key.into(), groups.groups.len());
            groups.groups.push(group);
        }
        Ok(())
    }

    /// The slots of each group that is wanted, by the bytes of its keys.
    pub fn shown(&self, groups: &GroupTable) -> impl Iterator<Item = Result<(Box<[u8]>, Slots)>> {
        groups
            .each()
            .filter_map(|(key, group)| Some(self.slots(group).transpose()?.map(|slots| (key.into(), slots))))
    }

    /// The slots of a group, if it is wanted.
    pub fn shown_at(&self, groups: &GroupTable, key: &[u8]) -> Result<Option<Slots>> {
        let place = if self.plan.keys.is_empty() { Some(0) } else { groups.places.get(key).copied() };
        let group = place.and_then(|place| groups.groups.get(place));
        group.map_or(Ok(None), |group| self.slots(group))
    }

    /// The slots of a group that is not among others, if it is wanted.
    pub fn slots(&self, group: &AggregateGroup) -> Result<Option<Slots>> {
        let mut slots = group.keys.clone();
        slots.extend(group.accumulators.iter().map(Accumulator::result));
        Ok(self.is_wanted(&slots)?.then(|| Arc::new(slots)))
    }

    /// Whether a group passes `HAVING`.
    fn is_wanted(&self, slots: &[Datum<'static>]) -> Result<bool> {
        let having = self.plan.having.as_ref();
        having.map_or(Ok(true), |having| Scope::group(slots, &self.limits).holds(&having.node))
    }

    /// No groups yet; or the one of everything.
    pub fn start(&self) -> GroupTable {
        let mut groups = GroupTable::default();
        if self.plan.keys.is_empty() {
            groups.groups.push(AggregateGroup { keys: Vec::new(), accumulators: self.accumulators() });
        }
        groups
    }

    /// Adds an event, or an entity, to its group.
    pub fn add(&self, part: &mut GroupTable, scope: &Scope) -> Result<()> {
        let place = match self.plan.keys.is_empty() {
            true => 0,
            false => match self.place(part, scope)? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        let GroupTable { groups, room, .. } = part;
        for (accumulator, aggregate) in groups[place].accumulators.iter_mut().zip(&self.plan.aggregates) {
            match &aggregate.argument {
                None => accumulator.count(),
                Some(argument) => accumulator.add(&scope.kept(argument)?, &self.budget, room)?,
            }
        }
        Ok(())
    }

    /// A row for each group.
    pub fn rows(
        &self,
        groups: GroupTable,
    ) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static + use<>> {
        let found = self.finish(groups)?;
        let (columns, limits) = (self.plan.columns.clone(), self.limits.clone());
        Ok(found.into_iter().map(move |slots| row(&Scope::group(&slots, &limits), &columns)))
    }

    /// Adds a group of later events, of which what it holds is taken, to the one with its keys.
    fn join_group(&self, whole: &mut GroupTable, key: Box<[u8]>, group: AggregateGroup) -> Result<()> {
        if self.plan.keys.is_empty() {
            return self.join_one(&mut whole.groups[0], group);
        }
        match whole.places.get(&key) {
            Some(place) => {
                self.budget.give(held(&key, &group));
                self.join_one(&mut whole.groups[*place], group)
            }
            None => {
                whole.places.insert(key, whole.groups.len());
                whole.groups.push(group);
                Ok(())
            }
        }
    }

    /// Adds what later events with the same keys make.
    pub fn add_group(&self, whole: &mut GroupTable, group: AggregateGroup) -> Result<()> {
        let mut key = Vec::new();
        group.keys.iter().for_each(|datum| write_key(datum, &mut key));
        let key = key.into_boxed_slice();
        if !self.plan.keys.is_empty() {
            self.budget.take(held(&key, &group))?;
        }
        self.join_group(whole, key, group)
    }

    pub fn plan(&self) -> &shape::GroupPlan {
        self.plan
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn accumulators(&self) -> Vec<Accumulator> {
        self.plan.aggregates.iter().map(|aggregate| Accumulator::new(aggregate.kind)).collect()
    }

    pub fn join_one(&self, group: &mut AggregateGroup, later: AggregateGroup) -> Result<()> {
        let pairs = group.accumulators.iter_mut().zip(later.accumulators);
        pairs.into_iter().try_for_each(|(whole, later)| whole.join(later, &self.budget))
    }

    /// Which of the groups it belongs to; none if that is not to be made.
    fn place(&self, part: &mut GroupTable, scope: &Scope) -> Result<Option<usize>> {
        part.key.clear();
        for key in &self.plan.keys {
            write_key(&scope.kept(&key.node)?, &mut part.key);
        }
        let is_meant = match &self.keys {
            Keys::All => true,
            Keys::One(key) => **key == *part.key,
            Keys::From(key) => **key <= *part.key,
        };
        if !is_meant {
            return Ok(None);
        }
        if let Some(place) = part.places.get(part.key.as_slice()) {
            return Ok(Some(*place));
        }
        let keys = self.plan.keys.iter().map(|key| Ok(scope.kept(&key.node)?.into_owned()));
        let keys = keys.collect::<Result<_>>()?;
        let group = AggregateGroup { keys, accumulators: self.accumulators() };
        self.budget.take(held(&part.key, &group))?;
        let place = part.groups.len();
        part.places.insert(part.key.as_slice().into(), place);
        part.groups.push(group);
        Ok(Some(place))
    }

    /// The slots of each group that is wanted, in the order that is wanted.
    fn finish(&self, groups: GroupTable) -> Result<Vec<Vec<Datum<'static>>>> {
        let mut by_key: Vec<(Box<[u8]>, usize)> = groups.places.into_iter().collect();
        by_key.sort_unstable();
        if self.plan.keys.is_empty() {
            by_key.push((Box::default(), 0));
        }
        let mut groups: Vec<Option<AggregateGroup>> = groups.groups.into_iter().map(Some).collect();
        let mut found = Vec::with_capacity(by_key.len());
        for (_, place) in by_key {
            let Some(group) = groups[place].take() else { continue };
            let mut slots = group.keys;
            slots.extend(group.accumulators.iter().map(Accumulator::result));
            if self.is_wanted(&slots)? {
                found.push(slots);
            }
        }
        if !self.plan.order.is_empty() {
            let mut keyed = Vec::with_capacity(found.len());
            for slots in found {
                let mut key = Vec::new();
                write_sort_key(&Scope::group(&slots, &self.limits), &self.plan.order, &mut key)?;
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
