//! Views that are larger than what is remembered of one: a group is read by its key where `WHERE` says it, and else one after
//! another as they are kept, joined with what the events behind those make.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::read::{ViewRow, ViewWork};
use super::{decode, encode};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::budget::{Budget, ENTRY};
use crate::exec::eval::Scope;
use crate::exec::group::{AggregateGroup, Grouping, Keys, Slots, slots_held};
use crate::exec::result::{QueryResult, Row};
use crate::exec::sort::{Sorting, TopK};
use crate::lang::ast::Comparison;
use crate::plan::access_path::find::FindPlan;
use crate::plan::access_path::view::{ReadGroups, ReadView};
use crate::plan::datum::instant_of;
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::Sort;
use crate::plan::order::write_key;
use crate::plan::view::{GroupsOf, Selected};
use crate::store::snapshot::Snapshot;
use crate::value::Value;

/// The groups that are read at a time take about so much.
const PAGE: usize = if cfg!(test) { 1024 } else { 1 << 20 };

/// So often it is tried again where what is kept moves on meanwhile.
const TRIES: usize = 8;

/// What is wanted of a large view; none where all of it has to be made.
pub(super) fn answer(
    snapshot: &Snapshot,
    plan: &ReadView,
    groups: &ReadGroups,
) -> Result<Option<QueryResult>> {
    let work = ViewWork::of(snapshot, plan, groups);
    let mut each = Each::new(snapshot, plan, groups);
    match (key(snapshot, groups)?, &groups.of) {
        (Some(key), of) => {
            let found = work.one(&key, of)?;
            each.page.extend(found.filter(|slots| each.passes(slots).unwrap_or(true)).map(Ok));
            each.next = NextPage::Done;
        }
        (None, GroupsOf::Events(_)) => {}
        (None, GroupsOf::Entities(_)) => return Ok(None),
    }
    let limits = snapshot.query_limits();
    let most = groups.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let wanted = Arc::new(groups.clone());
    let shown = move |slots: Slots| -> Result<Row> { ViewRow::new(slots).row(&wanted, &limits) };
    if groups.order.is_empty() || most == 0 {
        return Ok(Some(QueryResult::rows(each.take(most).map(move |slots| shown(slots?)))));
    }
    let sorted = sorted(snapshot, groups, most, each)?;
    Ok(Some(QueryResult::rows(sorted.into_iter().map(move |held| shown(held.slots.clone())))))
}

/// The best of the groups by `ORDER BY`.
fn sorted(snapshot: &Snapshot, groups: &ReadGroups, most: usize, each: Each) -> Result<VecDeque<TopGroup>> {
    let (sorting, limits) = (Sorting::new(snapshot, &groups.order, most), snapshot.query_limits());
    let (mut best, budget) = (TopK::default(), Arc::new(Budget::new(snapshot, "ORDER BY")));
    for (at, slots) in (0..).zip(each) {
        let slots = slots?;
        let bytes = slots_held(&slots);
        budget.take(bytes)?;
        let held = TopGroup { at, slots: slots.clone(), bytes, budget: budget.clone() };
        sorting.offer(&mut best, &Scope::group(&slots, &limits), 0, || held)?;
    }
    Ok(best.chosen())
}

/// A group that is among the best so far. Dropped, it gives back what it takes.
struct TopGroup {
    /// Its place in the order of the keys: what is equal stays in it.
    at: u64,
    slots: Slots,
    bytes: usize,
    budget: Arc<Budget>,
}

impl Drop for TopGroup {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

impl PartialEq for TopGroup {
    fn eq(&self, other: &TopGroup) -> bool {
        self.at == other.at
    }
}

impl Eq for TopGroup {}

impl PartialOrd for TopGroup {
    fn partial_cmp(&self, other: &TopGroup) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopGroup {
    fn cmp(&self, other: &TopGroup) -> Ordering {
        self.at.cmp(&other.at)
    }
}

/// The key of the one group that `WHERE` can hold for, if it says all of what it is grouped by.
fn key(snapshot: &Snapshot, groups: &ReadGroups) -> Result<Option<Box<[u8]>>> {
    let keys = &groups.group.keys;
    let Some(predicate) = groups.predicate.as_ref().filter(|_| !keys.is_empty()) else { return Ok(None) };
    let mut said: Vec<Option<&BoundExpr>> = vec![None; keys.len()];
    let mut left = vec![&predicate.node];
    while let Some(node) = left.pop() {
        match node {
            BoundExpr::And(nodes) => left.extend(nodes),
            BoundExpr::Compare { left, comparison: Comparison::Equal, right } => match (&**left, &**right) {
                (BoundExpr::Slot { index, .. }, constant @ BoundExpr::Constant(_))
                | (constant @ BoundExpr::Constant(_), BoundExpr::Slot { index, .. }) => {
                    if let Some(said) = said.get_mut(*index) {
                        *said = Some(constant);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    let Some(said) = said.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let (limits, mut key) = (snapshot.query_limits(), Vec::new());
    let scope = Scope::group(&[], &limits);
    for (constant, column) in said.into_iter().zip(keys) {
        // What is equal by `=` has one key, but for an instant and the texts that say it.
        let of = &column.node;
        let is_one = match constant {
            BoundExpr::Constant(Constant::Time(_)) => of.sort() == Sort::Time,
            BoundExpr::Constant(Constant::Value(Value::Text(text))) => {
                instant_of(text).is_none() || !of.may_be_time()
            }
            _ => true,
        };
        if !is_one {
            return Ok(None);
        }
        write_key(&scope.kept(constant)?, &mut key);
    }
    Ok(Some(key.into()))
}

impl ViewWork<'_> {
    /// One group, by its key, if there is one that passes `HAVING`.
    fn one(&self, key: &[u8], of: &GroupsOf<FindPlan>) -> Result<Option<Slots>> {
        let grouping = self.grouping(Keys::One(key.into()));
        let events = match of {
            GroupsOf::Events(events) => events,
            GroupsOf::Entities(find) => {
                let groups = crate::exec::find::groups(self.snapshot, find, &grouping)?;
                return grouping.shown_at(&groups, key);
            }
        };
        let until = self.snapshot.until(self.through);
        let kept = until.kept_group(self.position, key)?;
        let (after, bytes) = kept.unwrap_or_default();
        let group = bytes.as_ref().map(|bytes| decode(bytes, self.group));
        // A damaged one is worked out.
        let after = if matches!(group, Some(None)) { Position::START } else { after };
        let mut groups = grouping.start();
        if let Some(group) = group.flatten() {
            grouping.put(&mut groups, key, group)?;
        }
        use crate::exec::parallel_scan::ParallelScan;
        let later = self.events(&grouping, events, after)?;
        grouping.join(&mut groups, later)?;
        grouping.shown_at(&groups, key)
    }

    fn grouping(&self, keys: Keys) -> Grouping<'_> {
        Grouping::with(self.group, self.budget(), &self.limits).only(keys)
    }
}

/// Groups by their keys, each as its bytes.
type PendingGroups = BTreeMap<Box<[u8]>, Vec<u8>>;

/// The groups of a view of events that pass `WHERE`, in the order of their keys, a page at a time.
struct Each {
    snapshot: Snapshot,
    plan: ReadView,
    groups: ReadGroups,
    page: VecDeque<Result<Slots>>,
    next: NextPage,
    /// What the events behind a position make, by the keys of the groups.
    later: Option<(Position, PendingGroups)>,
}

/// Where it goes on.
enum NextPage {
    /// With this key.
    From(Vec<u8>),
    Done,
}

/// What a page comes to.
enum Paged {
    /// Where the next begins.
    To(NextPage),
    /// What is kept is of another position by now.
    Moved,
    /// It cannot be read from there on.
    Damaged(Vec<u8>),
}

/// What a group on a page is.
enum PagedGroup {
    Slots(Slots),
    /// It is not kept: it was too large, or is damaged.
    Unkept(Box<[u8]>),
}

impl Iterator for Each {
    type Item = Result<Slots>;

    fn next(&mut self) -> Option<Result<Slots>> {
        loop {
            if let Some(slots) = self.page.pop_front() {
                return Some(slots);
            }
            let NextPage::From(from) = std::mem::replace(&mut self.next, NextPage::Done) else { return None };
            if let Err(error) = self.turn(from) {
                self.next = NextPage::Done;
                return Some(Err(error));
            }
        }
    }
}

impl Each {
    fn new(snapshot: &Snapshot, plan: &ReadView, groups: &ReadGroups) -> Each {
        Each {
            snapshot: snapshot.clone(),
            plan: plan.clone(),
            groups: groups.clone(),
            page: VecDeque::new(),
            next: NextPage::From(Vec::new()),
            later: None,
        }
    }

    fn passes(&self, slots: &Slots) -> Result<bool> {
        let limits = self.snapshot.query_limits();
        let predicate = self.groups.predicate.as_ref();
        predicate.map_or(Ok(true), |predicate| Scope::group(slots, &limits).holds(&predicate.node))
    }

    /// Reads the next page.
    fn turn(&mut self, mut from: Vec<u8>) -> Result<()> {
        let (plan, groups) = (self.plan.clone(), self.groups.clone());
        let snapshot = self.snapshot.clone();
        let (work, GroupsOf::Events(events)) = (ViewWork::of(&snapshot, &plan, &groups), &groups.of) else {
            return Ok(());
        };
        for _ in 0..TRIES {
            let until = snapshot.until(work.through);
            let Some(through) =
                until.kept_through(work.position)?.filter(|through| *through > Position::START)
            else {
                break;
            };
            if self.later.as_ref().is_none_or(|(after, _)| *after != through) {
                self.later = None;
                let made = work.events(&work.grouping(Keys::All), events, through)?;
                let encoded = made.each().map(|(key, group)| Ok((key.into(), encode(group)?)));
                self.later = Some((through, encoded.collect::<Result<_>>()?));
            }
            let (found, paged) = self.page(&work, &from)?;
            if matches!(paged, Paged::Moved) {
                continue;
            }
            for found in found {
                match found {
                    PagedGroup::Slots(slots) => self.page.push_back(Ok(slots)),
                    PagedGroup::Unkept(key) => {
                        let found = work.one_of_log(&key, events)?;
                        if let Some(slots) = found
                            && self.passes(&slots)?
                        {
                            self.page.push_back(Ok(slots));
                        }
                    }
                }
            }
            match paged {
                Paged::To(next) => {
                    self.next = next;
                    return Ok(());
                }
                Paged::Damaged(at) => {
                    from = at;
                    break;
                }
                Paged::Moved => {}
            }
        }
        // What is not kept is worked out of the log.
        self.later = None;
        let grouping = work.grouping(Keys::From(from.into()));
        let made = work.events(&grouping, events, Position::START)?;
        let shown = grouping.shown(&made).collect::<Result<BTreeMap<_, _>>>()?;
        for slots in shown.into_values() {
            if self.passes(&slots)? {
                self.page.push_back(Ok(slots));
            }
        }
        Ok(())
    }

    /// Reads kept groups from a key on until there are enough of those that are wanted, and joins them with what came later.
    fn page(&self, work: &ViewWork, from: &[u8]) -> Result<(Vec<PagedGroup>, Paged)> {
        let Some((through, later)) = &self.later else { return Ok((Vec::new(), Paged::Moved)) };
        let grouping = Grouping::with(work.group, Arc::new(Budget::endless()), &work.limits);
        let (mut found, mut held, mut last) = (Vec::new(), 0, from.to_vec());
        let mut behind =
            later.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded)).peekable();
        let mut take = |key: &[u8], kept: Option<&[u8]>, later: Option<&Vec<u8>>| -> Result<bool> {
            let of = |bytes: &[u8]| decode(bytes, work.group);
            let group: Option<AggregateGroup> = match (kept, later) {
                (Some(kept), None) => of(kept),
                (None, later) => later.and_then(|later| of(later)),
                (Some(kept), Some(later)) => match (of(kept), of(later)) {
                    (Some(mut kept), Some(later)) => {
                        grouping.join_one(&mut kept, later)?;
                        Some(kept)
                    }
                    _ => None,
                },
            };
            match group {
                None => {
                    held += 2 * ENTRY + key.len();
                    found.push(PagedGroup::Unkept(key.into()));
                }
                Some(group) => {
                    if let Some(slots) = grouping.slots(&group)?
                        && self.passes(&slots)?
                    {
                        held += slots_held(&slots);
                        found.push(PagedGroup::Slots(slots));
                    }
                }
            }
            Ok(held < PAGE)
        };
        let mut full = false;
        let read = self.snapshot.kept_groups_from(work.position, *through, from, |key, bytes| {
            while let Some((before, bytes)) = behind.next_if(|(before, _)| &***before < key) {
                last = [before, &[0_u8][..]].concat();
                if !take(before, None, Some(bytes))? {
                    full = true;
                    return Ok(false);
                }
            }
            let joined = behind.next_if(|(same, _)| &***same == key).map(|(_, bytes)| bytes);
            // Nothing is kept of one that is too large; bytes that are damaged are none, either.
            full = !take(key, Some(bytes.unwrap_or_default()), joined)?;
            last = [key, &[0_u8][..]].concat();
            Ok(!full)
        });
        match read {
            Ok(true) => {}
            Ok(false) => return Ok((Vec::new(), Paged::Moved)),
            Err(Error::Corrupt { .. }) => return Ok((found, Paged::Damaged(last))),
            Err(error) => return Err(error),
        }
        while !full && let Some((key, bytes)) = behind.next() {
            full = !take(key, None, Some(bytes))?;
            last = [key, &[0_u8][..]].concat();
        }
        Ok((found, Paged::To(if full { NextPage::From(last) } else { NextPage::Done })))
    }
}

impl ViewWork<'_> {
    /// One group, of the log alone.
    fn one_of_log(&self, key: &[u8], events: &Selected) -> Result<Option<Slots>> {
        let grouping = self.grouping(Keys::One(key.into()));
        let made = self.events(&grouping, events, Position::START)?;
        grouping.shown_at(&made, key)
    }
}
