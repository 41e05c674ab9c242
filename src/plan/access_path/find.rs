//! Entities that are asked for: which of them are looked at, and how their states are come by.

use std::fmt::{self, Display, Formatter};
use std::ops::Bound;

use super::candidates::{COUNTED, CandidateChoice, Candidates, Tests, indexes_of, key_ranges};
use super::conditions::{comparison, conjuncts};
use super::state_column::{self, StateColumnPlan};
use crate::entity::NameText;
use crate::error::Result;
use crate::plan::by::Test;
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::{EntityPart, Field};
use crate::plan::find::FindQuery;
use crate::plan::function::STARTS_WITH;
use crate::plan::shape::Shape;
use crate::store::index::term::IndexKey;
use crate::store::snapshot::{IdRange, IndexWalk, Snapshot, StateAccess};
use crate::value::Value;

/// `FIND`.
#[derive(Debug, Clone)]
pub(crate) struct FindPlan {
    pub query: FindQuery,
    pub source: Candidates,
    /// Between which ids all that are wanted are.
    pub within: IdRange,
    /// How their states are come by.
    pub way: StateAccess,
    /// The first of them in their order stand in an index.
    pub first: Option<FirstByIndex>,
    /// Where all are looked at that are kept, columns of them may do.
    pub columns: Option<StateColumnPlan>,
}

/// An index whose order is the one that is asked for, of which the first are wanted.
#[derive(Debug, Clone)]
pub(crate) struct FirstByIndex {
    pub walk: IndexWalk,
    /// Only what is in its range is wanted; else what is null comes last.
    pub bounded: bool,
    pub lengths: WalkLengths,
}

/// How far an index is gone along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkLengths {
    /// To look at so many is no more than to go along it.
    pub few: u64,
    /// So many entries are looked at first, then eight times as many.
    pub least: u64,
    /// Where more have to be looked at, it is given up.
    pub most: u64,
}

impl WalkLengths {
    /// To find so many, of all that there are or of those that pass a condition.
    fn new(limit: u64, all: bool) -> WalkLengths {
        let least = if all { limit } else { limit.max(64) };
        let shipped = WalkLengths { few: 4 * limit + 64, least, most: 10_000 };
        #[cfg(test)]
        return match WALKS.get() {
            Walks::AsShipped => shipped,
            Walks::Short => WalkLengths { few: limit, least: limit, ..shipped },
            Walks::GivenUp => WalkLengths { few: limit, least: limit, most: 0 },
        };
        #[cfg(not(test))]
        shipped
    }
}

#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Walks {
    AsShipped,
    /// A few entries are enough to go along an index.
    Short,
    /// An order is chosen wherever there is one, and never tells.
    GivenUp,
}

#[cfg(test)]
thread_local! {
    /// How far indexes are gone along in this thread.
    pub(crate) static WALKS: std::cell::Cell<Walks> = const { std::cell::Cell::new(Walks::Short) };
}

impl FindPlan {
    /// The same where the order of an index did not tell: now it matters which index leads to the least.
    pub fn without_order(&self, snapshot: &Snapshot) -> Result<FindPlan> {
        // Only what states are now is gone along in the order of an index.
        let choice = CandidateChoice { snapshot, kind: &self.query.kind, past: false, most: COUNTED };
        let mut own = self.source.clone();
        if let Candidates::Index { finder, ranges, estimate, found, .. } = &mut own
            && let Some(counted) = snapshot.count_found(finder, ranges, COUNTED)?
        {
            (*estimate, *found) = (counted.entries, counted.ids);
        }
        let other = choice.of(self.query.predicate.as_ref().map(|predicate| &predicate.node))?;
        let source = match (own, other) {
            // It was counted anew.
            (Candidates::Any(_), other) => other,
            (own, other) if other.estimate().is_some_and(|other| Some(other) <= own.estimate()) => other,
            (own, _) => own.if_worth_it(snapshot, choice.kind)?,
        };
        Ok(FindPlan { source, first: None, ..self.clone() })
    }
}

/// More than so many of the first are sorted from all.
const FIRST: u64 = 1000;

/// The index in whose order the first are wanted, if there is one. What is null is in none, and comes last in descending order; in ascending
/// order a range has to leave it out.
fn first_by_index(snapshot: &Snapshot, query: &FindQuery, tests: &Tests) -> Result<Option<FirstByIndex>> {
    let Some(Shape::Sort { order, limit: Some(limit @ 1..=FIRST), .. }) = &query.shape else {
        return Ok(None);
    };
    let [key] = order.as_slice() else { return Ok(None) };
    for finder in indexes_of(snapshot, &query.kind, &key.node) {
        let own = tests.iter().find(|(other, _)| other.position == finder.position);
        let range = match own.map(|(_, test)| key_ranges(finder, test)).as_deref() {
            // Several sorts of values.
            Some([range]) => Some(range.clone()),
            _ => None,
        };
        let (bounded, backwards) = (range.is_some(), key.descending);
        if (bounded || backwards) && snapshot.is_built(finder)? {
            let range = range.unwrap_or_else(|| finder.ordered());
            let walk = IndexWalk { finder: finder.clone(), range, backwards };
            let lengths = WalkLengths::new(*limit, query.predicate.is_none());
            return Ok(Some(FirstByIndex { walk, bounded, lengths }));
        }
    }
    Ok(None)
}

/// Between which ids all have to be.
fn id_range(node: &BoundExpr) -> Option<IdRange> {
    let mut terms = Vec::new();
    conjuncts(node, &mut terms);
    terms.into_iter().filter_map(range_of).reduce(|range, other| range.and(&other))
}

/// Between which ids those are that pass a term.
fn range_of(term: &BoundExpr) -> Option<IdRange> {
    let is_id = |node: &BoundExpr| matches!(node, BoundExpr::Field(Field::Target(EntityPart::Id)));
    if let BoundExpr::Call { function, arguments } = term
        && let [subject, BoundExpr::Constant(Constant::Value(Value::Text(prefix)))] = arguments.as_slice()
        && is_id(subject)
        && function.name == STARTS_WITH
    {
        return Some(IdRange::beginning_with(prefix));
    }
    let (_, against) = comparison(term).filter(|(subject, _)| is_id(subject))?;
    let Test::Between(from, to) = against.test()? else { return None };
    Some(IdRange::new(id_bound(&from)?, id_bound(&to)?))
}

fn id_bound(bound: &Bound<IndexKey>) -> Option<Bound<&str>> {
    Some(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(IndexKey::Value(Value::Text(id))) => Bound::Included(id),
        Bound::Excluded(IndexKey::Value(Value::Text(id))) => Bound::Excluded(id),
        _ => return None,
    })
}

/// Chooses how to come by what is asked.
pub(super) fn plan(snapshot: &Snapshot, query: FindQuery) -> Result<FindPlan> {
    let past = query.at.is_some() || query.as_of.is_some();
    let way = if past { StateAccess::Past } else { snapshot.way_to_states(&query.kind)? };
    let choice = CandidateChoice { snapshot, kind: &query.kind, past, most: COUNTED };
    let node = query.predicate.as_ref().map(|predicate| &predicate.node);
    let first = match way {
        StateAccess::Kept if query.unnest.is_none() => {
            first_by_index(snapshot, &query, &node.map(|node| choice.tests(node)).unwrap_or_default())?
        }
        _ => None,
    };
    // What leads to few is better than an order.
    let most = first.as_ref().map_or(COUNTED, |first| first.lengths.few);
    let source = CandidateChoice { most, ..choice }.of(node)?;
    // What leads to more is kept for where the order does not tell.
    let first = first.filter(|first| source.gain_from(first));
    let within = node.and_then(id_range).unwrap_or(IdRange::ALL);
    let columns = match (&way, &source, &first) {
        // A column has a value of each state, and not of each item in it.
        (StateAccess::Kept, Candidates::All, None) if query.unnest.is_none() && within == IdRange::ALL => {
            state_column::plan(&query)
        }
        _ => None,
    };
    Ok(FindPlan { query, source, within, way, first, columns })
}

impl Display for FindPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let query = &self.query;
        let kind = NameText(&query.kind);
        query.shape.iter().try_for_each(|shape| writeln!(f, "{shape}\nof"))?;
        query.unnest.iter().try_for_each(|unnest| writeln!(f, "{unnest}\nof"))?;
        match query.limit.filter(|_| query.shape.is_none()) {
            Some(limit) => write!(f, "the first {limit} entities of {kind}")?,
            None => write!(f, "entities of {kind}")?,
        }
        if let Some(predicate) = &query.predicate {
            write!(f, "\n  where {}", predicate.text)?;
        }
        write!(f, "\n  {}", query.window)?;
        f.write_str("\n  ")?;
        if let Some(FirstByIndex { walk, .. }) = &self.first {
            let end = if walk.backwards { "the last" } else { "the first" };
            write!(f, "from the index {}, {end} in its order, or ", NameText(&walk.finder.name))?;
        }
        f.write_str("from ")?;
        match &self.source {
            Candidates::All if self.within != IdRange::ALL => write!(f, "{}", self.within)?,
            source => source.tell(f, self.first.is_some())?,
        }
        match self.way {
            StateAccess::Kept => match &self.columns {
                Some(columns) => write!(f, "\n  their states are kept; {columns}"),
                None => f.write_str("\n  their states are kept"),
            },
            StateAccess::Plain => write!(
                f,
                "\n  each is folded: nobody defined {kind} (DEFINE ENTITY {kind} keeps their states)"
            ),
            StateAccess::Behind(through) => {
                write!(f, "\n  each is folded, as long as their states are being kept up to {through} alone")
            }
            StateAccess::Past => {
                f.write_str("\n  each is folded up to that point: only the states of now are kept")
            }
        }
    }
}
