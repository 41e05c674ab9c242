//! Finding: entities by what they are, in the order of their ids.
//!
//! What has no state is no row, as it does not exist: what was deleted, and what only events are about that its definition ignores.
//! An entity that has no state, because one of its events could not be folded in, is no row, and passes over nothing: the answer
//! ends with an error that tells of it.

mod items;

use std::collections::VecDeque;
use std::sync::Arc;

use super::budget::Budget;
use super::column::states::StateColumnScan;
use super::eval::{CandidateEntity, Scope};
use super::group::{GroupTable, Grouping};
use super::parallel_scan::ParallelScan;
use super::parallel_states::{self, Gathering};
use super::project::row;
use super::result::{EntityState, QueryResult, Row};
use super::scan::PAGE_BYTES;
use super::sort::{Sorting, TopK};
use crate::allowance::Limits;
use crate::entity::{Entity, EntityStr, Version};
use crate::error::{Error, Result};
use crate::plan::access_path::candidates::Candidates;
use crate::plan::access_path::find::{FindPlan, FirstByIndex};
use crate::plan::expr::BoundExpr;
use crate::plan::field::Field;
use crate::plan::find::FindQuery;
use crate::plan::shape::{OutputColumn, Shape, SortKey};
use crate::store::snapshot::{Snapshot, StateAccess, StateSelection, States, WalkedIds};
use crate::store::state::stored_state::StoredState;
use crate::value::{Object, Value};

/// How many rows are made at a time.
const PAGE: usize = if cfg!(test) { 2 } else { 64 };

/// `FIND`.
pub(super) fn answer(snapshot: &Snapshot, find: &Arc<FindPlan>) -> Result<QueryResult> {
    if let (Some(shape), Some(unnest)) = (&find.query.shape, &find.query.unnest) {
        return items::rows(snapshot, find, shape, unnest);
    }
    Ok(match &find.query.shape {
        None => QueryResult::rows(EntityRows::new(snapshot, find, as_rows(snapshot, find, None))?),
        Some(Shape::Select(columns)) => {
            let make = as_rows(snapshot, find, Some(columns.clone()));
            QueryResult::rows(EntityRows::new(snapshot, find, make)?)
        }
        Some(Shape::Sort { order, limit, columns }) => {
            let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let ids: VecDeque<String> = match first(snapshot, find, order, most)? {
                Some(ids) => ids,
                None if most == 0 => VecDeque::new(),
                None if find.first.is_some() => {
                    best(snapshot, &find.without_order(snapshot)?, order, most, None)?.0.chosen()
                }
                None => best(snapshot, find, order, most, None)?.0.chosen(),
            };
            let states = Some(open(snapshot, find, Some(ids))?);
            QueryResult::rows(EntityRows {
                states,
                left: u64::MAX,
                ..EntityRows::of(snapshot, find, as_rows(snapshot, find, columns.clone()))
            })
        }
        Some(Shape::Group(group)) => {
            let grouping = Grouping::new(snapshot, group);
            if find.columns.is_some() {
                if let Some(groups) = groups_of_columns(snapshot, find, &grouping)? {
                    return Ok(QueryResult::rows(grouping.rows(groups)?));
                }
                // What columns had begun is let go of, and they are asked for once.
                let grouping = Grouping::new(snapshot, group);
                let plain = FindPlan { columns: None, ..(**find).clone() };
                return Ok(QueryResult::rows(grouping.rows(groups(snapshot, &plain, &grouping)?)?));
            }
            QueryResult::rows(grouping.rows(groups(snapshot, find, &grouping)?)?)
        }
    })
}

/// The best of all entities that are wanted, or of these; and how many are wanted of some that are settled.
fn best(
    snapshot: &Snapshot,
    find: &FindPlan,
    order: &[SortKey],
    most: usize,
    walked: Option<&WalkedIds>,
) -> Result<(TopK<String>, usize)> {
    let (sorting, limits) = (Sorting::new(snapshot, order, most), snapshot.query_limits());
    let (ids, of) = walked.map(|walked| (walked.ids().into_iter().collect(), walked.settled())).unzip();
    let take = |(best, settled): &mut (TopK<String>, usize), id: &str, found: &CandidateEntity| {
        *settled += usize::from(of.as_ref().is_some_and(|of| of.contains(id)));
        sorting.offer(best, &Scope::found(found, &limits), id.len(), || id.to_owned())
    };
    let join = |(best, settled): &mut (TopK<String>, usize), (later, more)| {
        *settled += more;
        sorting.join_best(best, later);
        Ok(())
    };
    gather(snapshot, find, ids, Gathering { begin: || (TopK::default(), 0), take, join })
}

/// The best by the order of an index, where that tells: as many entries are looked at as it takes to have enough before which nothing
/// comes that was left out. It does not where that is more than another index leads to.
fn first(
    snapshot: &Snapshot,
    find: &FindPlan,
    order: &[SortKey],
    most: usize,
) -> Result<Option<VecDeque<String>>> {
    let Some(FirstByIndex { walk, bounded, lengths }) = &find.first else { return Ok(None) };
    let mut least = lengths.least;
    while least <= lengths.most
        && let Some(walked) = snapshot.walk_found(walk, usize::try_from(least).unwrap_or(usize::MAX))?
    {
        let all = walked.all;
        // Where the index has them as they are now, it tells them in their order.
        if walked.are_exact() && find.query.predicate.is_none() && are_rows(order) {
            if walked.in_order.len() >= most || all && *bounded {
                return Ok(Some(walked.in_order.into_iter().take(most).collect()));
            }
        } else {
            let (best, settled) = best(snapshot, find, order, most, Some(&walked))?;
            if settled >= most || all && *bounded {
                return Ok(Some(best.chosen()));
            }
        }
        if all || least == lengths.most {
            break;
        }
        least = least.saturating_mul(8).min(lengths.most);
        if find.source.are_fewer_than(snapshot, least)? {
            break;
        }
    }
    Ok(None)
}

/// Whether all that has such a place in an order is a row: what has no state has no member of one.
fn are_rows(order: &[SortKey]) -> bool {
    matches!(order, [SortKey { node: BoundExpr::Field(Field::State(steps)), .. }] if !steps.is_empty())
}

/// The groups of the entities that are wanted.
pub(super) fn groups(snapshot: &Snapshot, find: &FindPlan, grouping: &Grouping) -> Result<GroupTable> {
    if let Some(unnest) = &find.query.unnest {
        return Ok(items::groups(snapshot, find, unnest, grouping)?.part);
    }
    let limits = snapshot.query_limits();
    let take = |groups: &mut GroupTable, _: &str, found: &CandidateEntity| {
        grouping.add(groups, &Scope::found(found, &limits))
    };
    let join = |groups: &mut GroupTable, later| grouping.join(groups, later);
    gather(snapshot, find, None, Gathering { begin: || grouping.start(), take, join })
}

/// The same by columns of the states, where they do; an error if one has no state.
fn groups_of_columns(
    snapshot: &Snapshot,
    find: &FindPlan,
    grouping: &Grouping,
) -> Result<Option<GroupTable>> {
    let Some(scan) = StateColumnScan::open(snapshot, find)? else { return Ok(None) };
    let (limits, of_states, kind) = (snapshot.query_limits(), snapshot.limits(), &find.query.kind);
    let mut faults = StateErrors::default();
    let groups = scan.groups(grouping, |groups, ids| {
        let mut states = snapshot.states_by(&find.way, kind, StateSelection::Ids(ids))?;
        states.lend(|id, kept| {
            if !faults.has(kind, id, kept, &of_states) {
                let found = CandidateEntity { target: EntityStr { kind, id }, kept };
                if find.query.wants(&found, &limits)? {
                    grouping.add(groups, &Scope::found(&found, &limits))?;
                }
            }
            Ok(true)
        })?;
        Ok(())
    })?;
    if groups.is_some() {
        faults.tell()?;
    }
    Ok(groups)
}

/// Hands over a row of each entity that is wanted, its id, and what it is known by: in the row, too.
pub(super) fn each_row(
    snapshot: &Snapshot,
    find: &FindPlan,
    mut take: impl FnMut(&str, Row, Object) -> Result<()>,
) -> Result<()> {
    let limits = snapshot.query_limits();
    each(snapshot, find, None, |id, found| {
        let target = Value::of(&Entity::new(&find.query.kind, id)?)?;
        let known = Object::from_iter([("target".to_owned(), target)]);
        let made = match &find.query.shape {
            Some(Shape::Select(columns)) => match row(&Scope::found(found, &limits), columns)? {
                Row::Fields(fields) => {
                    let mut told = known.clone();
                    told.extend(Arc::unwrap_or_clone(fields));
                    Row::from(told)
                }
                other => other,
            },
            _ => Row::State(state(find, id, found.kept)?),
        };
        take(id, made, known)
    })
}

/// The states that are looked at; of these ids alone, where some are given.
fn open(snapshot: &Snapshot, find: &FindPlan, ids: Option<VecDeque<String>>) -> Result<States> {
    let ids = match (ids, &find.source) {
        (Some(ids), _) => Some(ids),
        (None, Candidates::All) => match &find.columns {
            Some(columns) if !columns.conditions.is_empty() => {
                StateColumnScan::open(snapshot, find)?.map_or(Ok(None), |scan| scan.ids())?
            }
            _ => None,
        },
        (None, candidates) => {
            let budget = Budget::new(snapshot, "what an index leads to");
            led_to(snapshot, candidates, &budget)?.map(VecDeque::from)
        }
    };
    let wanted = match ids {
        Some(mut ids) => {
            ids.retain(|id| find.within.has(id));
            StateSelection::Ids(ids)
        }
        None => StateSelection::Within(find.within.clone()),
    };
    match find.way {
        StateAccess::Past => snapshot.past_states(&find.query.kind, find.query.window.until(), wanted),
        _ => snapshot.states_by(&find.way, &find.query.kind, wanted),
    }
}

/// The ids that candidates have, in order; none where an index does not serve any more: then all are looked at.
fn led_to(snapshot: &Snapshot, candidates: &Candidates, budget: &Budget) -> Result<Option<Vec<String>>> {
    match candidates {
        Candidates::All => Ok(None),
        Candidates::Ids(ids) => Ok(Some(ids.clone())),
        Candidates::Index { finder, ranges, found, .. } => {
            snapshot.found_ids(finder, ranges, found.as_deref(), |bytes| budget.take(bytes))
        }
        Candidates::Any(several) => {
            let mut all = Vec::new();
            for one in several {
                let Some(ids) = led_to(snapshot, one, budget)? else { return Ok(None) };
                all.extend(ids);
            }
            all.sort_unstable();
            all.dedup();
            Ok(Some(all))
        }
    }
}

/// Hands over each entity that is wanted, or each of these; an error if one of them has no state.
fn each(
    snapshot: &Snapshot,
    find: &FindPlan,
    ids: Option<VecDeque<String>>,
    mut take: impl FnMut(&str, &CandidateEntity) -> Result<()>,
) -> Result<()> {
    let mut states = open(snapshot, find, ids)?;
    let (mut faults, limits, of_states) =
        (StateErrors::default(), snapshot.query_limits(), snapshot.limits());
    states.lend(|id, kept| {
        if !faults.has(&find.query.kind, id, kept, &of_states) {
            let found = CandidateEntity { target: EntityStr { kind: &find.query.kind, id }, kept };
            if find.query.wants(&found, &limits)? {
                take(id, &found)?;
            }
        }
        Ok(true)
    })?;
    faults.tell()
}

/// Gathers each entity that is wanted, or each of these, on several threads where there are many; an error if one of them has no state.
fn gather<P: Send>(
    snapshot: &Snapshot,
    find: &FindPlan,
    ids: Option<VecDeque<String>>,
    with: Gathering<
        impl Fn() -> P + Sync,
        impl Fn(&mut P, &str, &CandidateEntity) -> Result<()> + Sync,
        impl Fn(&mut P, P) -> Result<()> + Sync,
    >,
) -> Result<P> {
    let states = open(snapshot, find, ids)?;
    let (limits, of_states, kind) = (snapshot.query_limits(), snapshot.limits(), &find.query.kind);
    let take = |(part, faults): &mut (P, StateErrors), id: &str, kept: &StoredState| {
        if !faults.has(kind, id, kept, &of_states) {
            let found = CandidateEntity { target: EntityStr { kind, id }, kept };
            if find.query.wants(&found, &limits)? {
                (with.take)(part, id, &found)?;
            }
        }
        Ok(())
    };
    let join = |(whole, faults): &mut (P, StateErrors), (part, more): (P, StateErrors)| {
        faults.add(more);
        (with.join)(whole, part)
    };
    let begin = || ((with.begin)(), StateErrors::default());
    let (whole, faults) =
        parallel_states::gather(states, snapshot.threads(), &Gathering { begin, take, join })?;
    faults.tell()?;
    Ok(whole)
}

impl FindQuery {
    /// Whether it exists, and is what is asked for.
    fn wants(&self, found: &CandidateEntity, limits: &Limits) -> Result<bool> {
        if found.kept.state.is_null() {
            return Ok(false);
        }
        let scope = Scope::found(found, limits);
        self.predicate.as_ref().map_or(Ok(true), |predicate| scope.holds(&predicate.node))
    }
}

/// Entities that have no state.
#[derive(Debug, Default)]
struct StateErrors {
    first: Option<Error>,
    others: u64,
}

impl StateErrors {
    fn has(&mut self, kind: &str, id: &str, kept: &StoredState, limits: &Limits) -> bool {
        let Some(fault) = kept.faulty(limits) else { return false };
        match &self.first {
            None => self.first = Some(fault.error(named(kind, id))),
            Some(_) => self.others += 1,
        }
        true
    }

    /// Adds those that come later.
    fn add(&mut self, later: StateErrors) {
        if self.first.is_none() {
            *self = later;
        } else {
            self.others += later.others + u64::from(later.first.is_some());
        }
    }

    fn tell(mut self) -> Result<()> {
        match (self.first.take(), self.others) {
            (None, _) => Ok(()),
            (Some(Error::Unfoldable { entity, position, kind, why, advice }), others) if others > 0 => {
                let entity = format!("{entity} (and {others} more)");
                Err(Error::Unfoldable { entity, position, kind, why, advice })
            }
            (Some(error), _) => Err(error),
        }
    }
}

fn named(kind: &str, id: &str) -> String {
    Entity::new(kind, id).map_or_else(|_| format!("{kind} {id}"), |entity| entity.to_string())
}

/// Makes a row of each entity: of columns, or as it is. With it is told how many bytes it holds.
fn as_rows(
    snapshot: &Snapshot,
    find: &Arc<FindPlan>,
    columns: Option<Vec<OutputColumn>>,
) -> impl FnMut(&CandidateEntity) -> Result<(Row, usize)> + Send + 'static {
    let (find, limits) = (find.clone(), snapshot.query_limits());
    move |found| {
        let row = match &columns {
            Some(columns) => row(&Scope::found(found, &limits), columns)?,
            None => Row::State(state(&find, found.target.id, found.kept)?),
        };
        let held = row.weight();
        Ok((row, held))
    }
}

/// What is made of entities, as it is pulled.
struct EntityRows<T, M> {
    states: Option<States>,
    find: Arc<FindPlan>,
    make: M,
    limits: Limits,
    /// What a state takes at most.
    of_states: Limits,
    page: VecDeque<T>,
    faults: StateErrors,
    left: u64,
}

impl<T, M: FnMut(&CandidateEntity) -> Result<(T, usize)>> EntityRows<T, M> {
    fn new(snapshot: &Snapshot, find: &Arc<FindPlan>, make: M) -> Result<EntityRows<T, M>> {
        Ok(EntityRows { states: Some(open(snapshot, find, None)?), ..EntityRows::of(snapshot, find, make) })
    }

    fn of(snapshot: &Snapshot, find: &Arc<FindPlan>, make: M) -> EntityRows<T, M> {
        EntityRows {
            states: None,
            find: find.clone(),
            make,
            limits: snapshot.query_limits(),
            of_states: snapshot.limits(),
            page: VecDeque::new(),
            faults: StateErrors::default(),
            left: find.query.limit.unwrap_or(u64::MAX),
        }
    }

    fn fill(&mut self) -> Result<()> {
        let EntityRows { states, find, make, limits, of_states, page, faults, left } = self;
        let Some(open) = states else { return Ok(()) };
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(PAGE);
        let mut held = 0;
        let more = open.lend(|id, kept| {
            if faults.has(&find.query.kind, id, kept, of_states) {
                return Ok(true);
            }
            let found = CandidateEntity { target: EntityStr { kind: &find.query.kind, id }, kept };
            if find.query.wants(&found, limits)? {
                let (made, bytes) = make(&found)?;
                held += bytes;
                page.push_back(made);
            }
            Ok(page.len() < wanted && held < PAGE_BYTES)
        })?;
        if !more {
            *states = None;
        }
        Ok(())
    }
}

fn state(find: &FindPlan, id: &str, kept: &StoredState) -> Result<EntityState> {
    Ok(EntityState {
        target: Entity::new(&find.query.kind, id)?,
        version: Version(kept.version),
        events: kept.events,
        at: find.query.at.map(Into::into),
        as_of: find.query.as_of.map(Into::into),
        state: kept.state.to_value()?,
        first: None,
    })
}

impl<T, M: FnMut(&CandidateEntity) -> Result<(T, usize)>> Iterator for EntityRows<T, M> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.left == 0 {
            return None;
        }
        if self.page.is_empty()
            && self.states.is_some()
            && let Err(error) = self.fill()
        {
            self.left = 0;
            return Some(Err(error));
        }
        match self.page.pop_front() {
            Some(row) => {
                self.left -= 1;
                Some(Ok(row))
            }
            None => {
                self.left = 0;
                std::mem::take(&mut self.faults).tell().err().map(Err)
            }
        }
    }
}
