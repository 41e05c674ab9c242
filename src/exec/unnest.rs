//! Unnesting: the rows of the items of lists, which are gone through where they are stored.
//!
//! Whatever is made of them, no more is held of them than the items that a row is of. Rows that are pulled are made a page at a time: where a
//! page ends within an event, or a state, that is kept as it is stored, with the places of the items that are next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::eval::{CandidateEntity, Scope, leaf};
use super::group::Grouping;
use super::parallel_scan::{ParallelScan, gather_all};
use super::project::row;
use super::result::{QueryResult, Row};
use super::scan::{EventScan, PAGE_BYTES};
use super::sort::{Sorting, TopK};
use crate::allowance::Limits;
use crate::document::Raw;
use crate::entity::{EntityStr, Position};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::plan::EventsPlan;
use crate::plan::field::Field;
use crate::plan::shape::{OutputColumn, Shape};
use crate::plan::unnest::UnnestPlan;
use crate::store::snapshot::Snapshot;
use crate::store::state::stored_state::StoredState;

/// How many rows are made at a time, at first and at most.
const FIRST_PAGE: usize = if cfg!(test) { 3 } else { 64 };
const LARGEST_PAGE: usize = if cfg!(test) { 8 } else { 16_384 };

/// So many rows are made before any is asked for, to tell what there is to say of them.
const AHEAD: usize = 64;

/// After so many items it is looked whether somebody ended it.
const LOOK: u32 = 4096;

/// An item of a list, and its place there.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnnestedItem<'a> {
    pub value: Raw<'a>,
    pub place: u64,
}

/// What the lists are in.
#[derive(Clone, Copy)]
pub(super) enum UnnestRoot<'a> {
    Event(&'a Record<'a>),
    Entity(&'a CandidateEntity<'a>),
}

impl<'a> UnnestRoot<'a> {
    fn scope<'s>(self, items: &'s [UnnestedItem<'s>], limits: &'s Limits) -> Scope<'s>
    where
        'a: 's,
    {
        let scope = match self {
            UnnestRoot::Event(event) => Scope::of(event, limits),
            UnnestRoot::Entity(found) => Scope::found(found, limits),
        };
        scope.unnesting(items)
    }

    /// What stands where a list is looked for.
    fn list(self, field: &Field, items: &[UnnestedItem<'a>]) -> Option<Raw<'a>> {
        let (document, steps) = match (self, field) {
            (_, Field::Unnested(name, steps)) => (items.get(name.step)?.value, steps),
            (UnnestRoot::Event(event), Field::Data(steps)) => (event.data(), steps),
            (UnnestRoot::Event(event), Field::Metadata(steps)) => (event.metadata(), steps),
            (UnnestRoot::Entity(found), Field::State(steps)) => (found.kept.state, steps),
            _ => return None,
        };
        leaf(document, steps)
    }
}

/// Rows that are gone through.
pub(super) struct UnnestWalk<'w> {
    plan: &'w UnnestPlan,
    limits: &'w Limits,
    /// What stood where a list was looked for and was none, though it was something, at each step.
    misfits: Vec<u64>,
    looked_at: u32,
}

impl<'w> UnnestWalk<'w> {
    pub fn new(plan: &'w UnnestPlan, limits: &'w Limits) -> UnnestWalk<'w> {
        UnnestWalk { plan, limits, misfits: vec![0; plan.steps.len()], looked_at: 0 }
    }

    /// Hands over each row of an event, or of an entity.
    pub fn each(&mut self, root: UnnestRoot, mut take: impl FnMut(&Scope) -> Result<()>) -> Result<()> {
        self.from(root, &[], &mut |scope, _| take(scope).map(|()| true)).map(drop)
    }

    /// The same from these places on, until it is told to stop: the items of the row after which it was, then.
    fn from<'a>(
        &mut self,
        root: UnnestRoot<'a>,
        places: &[u64],
        take: &mut dyn FnMut(&Scope, &[UnnestedItem]) -> Result<bool>,
    ) -> Result<bool> {
        self.step(root, &mut Vec::with_capacity(self.plan.steps.len()), places, take)
    }

    fn step<'a>(
        &mut self,
        root: UnnestRoot<'a>,
        items: &mut Vec<UnnestedItem<'a>>,
        places: &[u64],
        take: &mut dyn FnMut(&Scope, &[UnnestedItem]) -> Result<bool>,
    ) -> Result<bool> {
        let at = items.len();
        let Some(step) = self.plan.steps.get(at) else {
            return take(&root.scope(items, self.limits), items);
        };
        let Some(found) = root.list(&step.list, items) else { return Ok(true) };
        let Some(list) = found.items() else {
            if let Some(misfits) = self.misfits.get_mut(at).filter(|_| !found.is_null()) {
                *misfits += 1;
            }
            return Ok(true);
        };
        let (first, rest) = places.split_first().map_or((0, places), |(first, rest)| (*first, rest));
        for (place, value) in (0u64..).zip(list) {
            self.looked_at += 1;
            if self.looked_at == LOOK {
                self.looked_at = 0;
                self.limits.check()?;
            }
            if place < first {
                continue;
            }
            items.push(UnnestedItem { value, place });
            let wanted = match &step.predicate {
                Some(predicate) => root.scope(items, self.limits).holds(&predicate.node)?,
                None => true,
            };
            let goes_on = !wanted || self.step(root, items, if place == first { rest } else { &[] }, take)?;
            items.pop();
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Adds what was counted of a later part.
fn add(whole: &mut [u64], later: &[u64]) {
    whole.iter_mut().zip(later).for_each(|(whole, later)| *whole += later);
}

/// What is gathered of the rows of events or entities, and how much there was that is no list.
pub(super) struct UnnestedPart<P> {
    pub part: P,
    misfits: Vec<u64>,
}

impl<P> UnnestedPart<P> {
    pub fn new(part: P, plan: &UnnestPlan) -> UnnestedPart<P> {
        UnnestedPart { part, misfits: vec![0; plan.steps.len()] }
    }

    /// Takes the rows of one.
    pub fn take(
        &mut self,
        (plan, limits): (&UnnestPlan, &Limits),
        root: UnnestRoot,
        mut take: impl FnMut(&mut P, &Scope, u64) -> Result<()>,
    ) -> Result<()> {
        let (mut walk, mut count) = (UnnestWalk::new(plan, limits), 0);
        walk.each(root, |scope| {
            count += 1;
            take(&mut self.part, scope, count)
        })?;
        add(&mut self.misfits, &walk.misfits);
        Ok(())
    }

    /// Joins what is counted, and gives what comes later.
    pub fn join(&mut self, later: UnnestedPart<P>) -> (&mut P, P) {
        add(&mut self.misfits, &later.misfits);
        (&mut self.part, later.part)
    }

    /// What is to be said of it.
    pub fn notices(&self, plan: &UnnestPlan, of: &str) -> Vec<String> {
        plan.notices(&self.misfits, true, of)
    }
}

/// A row that is kept to be sorted: what is equal stays in the order of what it is of.
pub(super) struct SortedRow<K> {
    pub of: K,
    pub place: u64,
    pub row: Row,
}

impl<K: Ord> PartialEq for SortedRow<K> {
    fn eq(&self, other: &SortedRow<K>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord> Eq for SortedRow<K> {}

impl<K: Ord> PartialOrd for SortedRow<K> {
    fn partial_cmp(&self, other: &SortedRow<K>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord> Ord for SortedRow<K> {
    fn cmp(&self, other: &SortedRow<K>) -> std::cmp::Ordering {
        (&self.of, self.place).cmp(&(&other.of, other.place))
    }
}

impl<K: Ord> TopK<SortedRow<K>> {
    /// Keeps a row, if it is among the best so far.
    pub fn offer_row<'s>(
        &mut self,
        sorting: &'s Sorting,
        scope: &Scope<'s>,
        columns: &'s [OutputColumn],
        (of, place): (K, u64),
    ) -> Result<()> {
        sorting.offer_made(self, scope, || {
            let row = row(scope, columns)?;
            let bytes = row.weight();
            Ok((SortedRow { of, place, row }, bytes))
        })
    }
}

/// How rows of events are gathered.
struct UnnestedEvents<'p, G> {
    plan: &'p UnnestPlan,
    limits: Limits,
    with: G,
}

/// Into groups.
struct IntoGroups<'p>(&'p Grouping<'p>);

/// Into an order.
struct IntoOrder<'p>(&'p Sorting<'p>, &'p [OutputColumn]);

impl ParallelScan for UnnestedEvents<'_, IntoGroups<'_>> {
    type Part = UnnestedPart<super::group::GroupTable>;

    fn begin(&self) -> Self::Part {
        UnnestedPart::new(self.with.0.start(), self.plan)
    }

    fn take(&self, part: &mut Self::Part, event: &Record) -> Result<()> {
        let add = |groups: &mut _, scope: &Scope, _| self.with.0.add(groups, scope);
        part.take((self.plan, &self.limits), UnnestRoot::Event(event), add)
    }

    fn join(&self, whole: &mut Self::Part, later: Self::Part) -> Result<()> {
        let (whole, later) = whole.join(later);
        self.with.0.join(whole, later)
    }
}

impl ParallelScan for UnnestedEvents<'_, IntoOrder<'_>> {
    type Part = UnnestedPart<TopK<SortedRow<Position>>>;

    fn begin(&self) -> Self::Part {
        UnnestedPart::new(TopK::default(), self.plan)
    }

    fn take(&self, part: &mut Self::Part, event: &Record) -> Result<()> {
        let IntoOrder(sorting, columns) = self.with;
        part.take((self.plan, &self.limits), UnnestRoot::Event(event), |best, scope, place| {
            best.offer_row(sorting, scope, columns, (event.position(), place))
        })
    }

    fn join(&self, whole: &mut Self::Part, later: Self::Part) -> Result<()> {
        let (whole, later) = whole.join(later);
        self.with.0.join_best(whole, later);
        Ok(())
    }
}

/// The groups of the items of events.
pub(super) fn groups(
    snapshot: &Snapshot,
    events: &EventsPlan,
    plan: &UnnestPlan,
    grouping: &Grouping,
) -> Result<UnnestedPart<super::group::GroupTable>> {
    let with = UnnestedEvents { plan, limits: snapshot.query_limits(), with: IntoGroups(grouping) };
    gather_all(snapshot, events, &with)
}

/// The rows of items of events.
pub(super) fn answer(
    snapshot: &Snapshot,
    events: &EventsPlan,
    shape: &Shape,
    plan: &Arc<UnnestPlan>,
) -> Result<QueryResult> {
    let limits = snapshot.query_limits();
    match shape {
        Shape::Group(group) => {
            let grouping = Grouping::new(snapshot, group);
            let found = groups(snapshot, events, plan, &grouping)?;
            let notices = found.notices(plan, "event");
            Ok(QueryResult { notices, ..QueryResult::rows(grouping.rows(found.part)?) })
        }
        Shape::Sort { order, limit, columns } => {
            let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let sorting = Sorting::new(snapshot, order, most);
            let with = IntoOrder(&sorting, columns.as_deref().unwrap_or_default());
            let found = gather_all(snapshot, events, &UnnestedEvents { plan, limits, with })?;
            let notices = found.notices(plan, "event");
            Ok(QueryResult { notices, ..sorted(found.part) })
        }
        Shape::Select(columns) => {
            let roots = EventScan::to_lend(snapshot, events)?.made(|record: &Record, bytes: &[u8]| {
                Ok((OwnedRoot::Event(record.position(), bytes.into()), bytes.len()))
            });
            Ok(UnnestedRows::new(Box::new(roots), plan.clone(), columns.clone(), limits).begun("event"))
        }
    }
}

/// The rows, the best first.
pub(super) fn sorted<K: Ord + Send + 'static>(best: TopK<SortedRow<K>>) -> QueryResult {
    QueryResult::rows(best.chosen().into_iter().map(|sorted| Ok(sorted.row)))
}

/// What lists are in, kept as it is stored.
pub(super) enum OwnedRoot {
    Event(Position, Box<[u8]>),
    Entity(Box<OwnedEntity>),
}

/// An entity that was found.
pub(super) struct OwnedEntity {
    kind: String,
    id: String,
    state: Box<[u8]>,
    /// The rest of what is kept of it.
    kept: StoredState<'static>,
}

impl OwnedEntity {
    pub fn new(found: &CandidateEntity) -> OwnedEntity {
        let StoredState { version, events, position, late, lateness, lowest, latest, .. } = *found.kept;
        let (clock, fault, state) = (Default::default(), None, Raw(&[]));
        OwnedEntity {
            kind: found.target.kind.to_owned(),
            id: found.target.id.to_owned(),
            state: found.kept.state.0.into(),
            kept: StoredState {
                version,
                events,
                position,
                late,
                lateness,
                lowest,
                latest,
                clock,
                fault,
                state,
            },
        }
    }
}

impl OwnedRoot {
    /// Lends it.
    fn lend<T>(&self, with: impl FnOnce(UnnestRoot) -> Result<T>) -> Result<T> {
        match self {
            OwnedRoot::Event(position, bytes) => with(UnnestRoot::Event(&Record::open(*position, bytes)?)),
            OwnedRoot::Entity(entity) => {
                let OwnedEntity { kind, id, state, kept } = &**entity;
                let kept = StoredState { state: Raw(state), ..kept.clone() };
                with(UnnestRoot::Entity(&CandidateEntity { target: EntityStr { kind, id }, kept: &kept }))
            }
        }
    }
}

/// Rows of items, made as they are pulled. After an error there are no more.
pub(super) struct UnnestedRows {
    roots: Box<dyn Iterator<Item = Result<OwnedRoot>> + Send>,
    plan: Arc<UnnestPlan>,
    columns: Vec<OutputColumn>,
    limits: Limits,
    /// What the next rows are of, and the places of the items to go on with.
    root: Option<(OwnedRoot, Vec<u64>)>,
    page: VecDeque<Row>,
    size: usize,
    left: u64,
    misfits: Vec<u64>,
    failed: Option<Error>,
}

impl UnnestedRows {
    pub fn new(
        roots: Box<dyn Iterator<Item = Result<OwnedRoot>> + Send>,
        plan: Arc<UnnestPlan>,
        columns: Vec<OutputColumn>,
        limits: Limits,
    ) -> UnnestedRows {
        let left = plan.limit.unwrap_or(u64::MAX);
        let (root, page, misfits) = (None, VecDeque::new(), vec![0; plan.steps.len()]);
        UnnestedRows {
            roots,
            plan,
            columns,
            limits,
            root,
            page,
            size: FIRST_PAGE,
            left,
            misfits,
            failed: None,
        }
    }

    /// The rows, and what those say that come first: where there are few, that is all there is to say.
    pub fn begun(mut self, of: &str) -> QueryResult {
        let (mut ahead, mut held, mut goes_on) = (VecDeque::new(), 0, true);
        while goes_on && let Some(row) = self.next() {
            held += row.as_ref().map_or(PAGE_BYTES, Row::weight);
            ahead.push_back(row);
            goes_on = ahead.len() < AHEAD && held < PAGE_BYTES;
        }
        let notices = self.plan.notices(&self.misfits, goes_on && self.left > 0, of);
        QueryResult { notices, ..QueryResult::rows(ahead.into_iter().chain(self)) }
    }

    /// Makes a page of rows of what is next.
    fn fill(&mut self, root: OwnedRoot, places: Vec<u64>) -> Result<()> {
        let UnnestedRows { plan, columns, limits, page, size, left, misfits, .. } = self;
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(*size);
        let (mut held, mut next) = (0, Vec::new());
        let mut take = |scope: &Scope, items: &[UnnestedItem]| {
            let row = row(scope, columns)?;
            held += row.weight();
            page.push_back(row);
            let goes_on = page.len() < wanted && held < PAGE_BYTES;
            if !goes_on {
                next = items.iter().map(|item| item.place).collect();
            }
            Ok(goes_on)
        };
        let mut walk = UnnestWalk::new(plan, limits);
        let ended = root.lend(|root| walk.from(root, &places, &mut take));
        add(misfits, &walk.misfits);
        let ended = ended?;
        *size = (*size * 2).min(LARGEST_PAGE);
        if !ended {
            // Behind the last of these.
            next.iter_mut().last().into_iter().for_each(|last| *last += 1);
            self.root = Some((root, next));
        }
        Ok(())
    }
}

impl Iterator for UnnestedRows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        while self.page.is_empty() && self.left > 0 {
            if let Some(error) = self.failed.take() {
                self.left = 0;
                return Some(Err(error));
            }
            let next = match self.root.take() {
                Some((root, places)) => Ok((root, places)),
                None => self.roots.next()?.map(|root| (root, Vec::new())),
            };
            // It comes behind the rows that were made before it.
            self.failed = next.and_then(|(root, places)| self.fill(root, places)).err();
        }
        let row = self.page.pop_front()?;
        self.left -= 1;
        Some(Ok(row))
    }
}
