//! Entities that are asked for: which of them are looked at, and how their states are come by.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::conditions::{comparison, conjuncts};
use super::state_column::{self, StateColumnPlan};
use crate::entity::{Entity, NameText};
use crate::error::Result;
use crate::plan::by::Test;
use crate::plan::expr::{BoundExpr, Constant, Predicate};
use crate::plan::field::{EntityPart, Field};
use crate::plan::find::FindQuery;
use crate::plan::shape::Shape;
use crate::store::catalog::Finder;
use crate::store::index::term::{TermRange, derived_prefix};
use crate::store::snapshot::{FoundIds, IndexWalk, Snapshot, StateAccess};
use crate::value::Value;

/// `FIND`.
#[derive(Debug, Clone)]
pub(crate) struct FindPlan {
    pub query: FindQuery,
    pub source: Candidates,
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

/// Which entities are looked at: all that are wanted are among them.
#[derive(Debug, Clone)]
pub(crate) enum Candidates {
    All,
    /// Those with these ids.
    Ids(Vec<String>),
    Index {
        finder: Arc<Finder>,
        ranges: Vec<TermRange>,
        asked: IndexQuestion,
        /// How many there are, as far as they were counted.
        estimate: u64,
        /// What was counted.
        found: Option<Arc<FoundIds>>,
    },
}

/// What is asked of an index.
#[derive(Debug, Clone)]
pub(crate) enum IndexQuestion {
    Passing(Test),
    /// All rows of the view of this name, whose index it is.
    RowsOf(String),
}

/// So many entries of an index are counted, to choose among indexes.
pub(super) const COUNTED: u64 = 10_000;

/// An index that leads to more than one of so many states is not worth its way.
const WORTH: u64 = 4;

/// Chooses among all entities, those that are named, and those that an index leads to.
fn candidates(
    snapshot: &Snapshot,
    kind: &str,
    predicate: Option<&Predicate>,
    tests: Tests,
    most: u64,
) -> Result<Candidates> {
    let mut best = Candidates::All;
    let Some(predicate) = predicate else { return Ok(best) };
    let mut terms = Vec::new();
    conjuncts(&predicate.node, &mut terms);
    let mut least = u64::MAX;
    for (subject, against) in terms.iter().filter_map(|term| comparison(term)) {
        let ids = match subject {
            BoundExpr::Field(Field::Target(EntityPart::Id)) => against.each(|constant| match constant {
                Constant::Value(Value::Text(id)) => Some(id.clone()),
                _ => None,
            }),
            BoundExpr::Field(Field::Target(EntityPart::Whole)) => against
                .each(|constant| match constant {
                    Constant::Entity(entity) => Some(entity.clone()),
                    _ => None,
                })
                .map(|entities| ids_of(kind, entities)),
            _ => None,
        };
        if let Some(mut ids) = ids {
            // An id is found once, however often it is named.
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| Entity::new(kind, id).is_ok());
            return Ok(Candidates::Ids(ids));
        }
    }
    for (finder, test) in tests {
        let mut ranges = key_ranges(finder, &test);
        // One that does not serve now is none.
        let found = snapshot.count_found(finder, &ranges, most)?;
        if let Some(found) = found.filter(|found| found.entries < least) {
            least = found.entries;
            // Those of which there is no state are to be told of.
            ranges.push(finder.faulty());
            let (finder, estimate) = (finder.clone(), found.entries);
            let asked = IndexQuestion::Passing(test);
            best = Candidates::Index { finder, ranges, asked, estimate, found: found.ids };
        }
    }
    best.if_worth_it(snapshot, kind)
}

impl Candidates {
    /// Where an index leads to a large part of all, reading all is less.
    fn if_worth_it(self, snapshot: &Snapshot, kind: &str) -> Result<Candidates> {
        if let Candidates::Index { estimate, .. } = &self
            && *estimate >= COUNTED
            && snapshot.count_states(kind, estimate.saturating_mul(WORTH))? < estimate.saturating_mul(WORTH)
        {
            return Ok(Candidates::All);
        }
        Ok(self)
    }

    /// Whether there is an index that leads to fewer than this.
    pub fn are_fewer_than(&self, snapshot: &Snapshot, many: u64) -> Result<bool> {
        let Candidates::Index { finder, ranges, .. } = self else { return Ok(false) };
        Ok(snapshot.count_found(finder, ranges, many)?.is_some_and(|found| found.entries < many))
    }

    /// Whether those that an order is gone along for are better come by in that order, as far as they were counted.
    pub(super) fn gain_from(&self, first: &FirstByIndex) -> bool {
        match self {
            Candidates::All => true,
            Candidates::Ids(_) => false,
            Candidates::Index { estimate, .. } => *estimate >= first.lengths.few,
        }
    }
}

impl FindPlan {
    /// The same where the order of an index did not tell: now it matters which index leads to the least.
    pub fn without_order(&self, snapshot: &Snapshot) -> Result<FindPlan> {
        let (kind, predicate) = (&self.query.kind, self.query.predicate.as_ref());
        let mut own = self.source.clone();
        if let Candidates::Index { finder, ranges, estimate, found, .. } = &mut own
            && let Some(counted) = snapshot.count_found(finder, ranges, COUNTED)?
        {
            (*estimate, *found) = (counted.entries, counted.ids);
        }
        let tests = tests(snapshot, kind, predicate);
        let source = match (own, candidates(snapshot, kind, predicate, tests, COUNTED)?) {
            (Candidates::Index { estimate: own, .. }, other @ Candidates::Index { estimate, .. })
                if estimate <= own =>
            {
                other
            }
            (own, _) => own.if_worth_it(snapshot, kind)?,
        };
        Ok(FindPlan { source, first: None, ..self.clone() })
    }
}

/// What is asked of indexes.
type Tests<'s> = Vec<(&'s Arc<Finder>, Test)>;

/// The indexes of what an expression says.
fn indexes_of<'s>(
    snapshot: &'s Snapshot,
    kind: &'s str,
    node: &BoundExpr,
) -> impl Iterator<Item = &'s Arc<Finder>> {
    snapshot.indexes().finders_of(kind).filter(move |finder| {
        let expression = finder.expression().and_then(|expression| expression.downcast_ref::<BoundExpr>());
        expression == Some(node)
    })
}

fn tests<'s>(snapshot: &'s Snapshot, kind: &'s str, predicate: Option<&Predicate>) -> Tests<'s> {
    let (mut terms, mut tests) = (Vec::new(), Vec::new());
    predicate.iter().for_each(|predicate| conjuncts(&predicate.node, &mut terms));
    for (subject, against) in terms.iter().filter_map(|term| comparison(term)) {
        if let Some(test) = against.test() {
            indexes_of(snapshot, kind, subject).for_each(|finder| add(&mut tests, finder, test.clone()));
        }
    }
    tests
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

/// Adds what is asked of an index. Two bounds are one range: of what it is of, only a single value compares.
fn add<'s>(tests: &mut Tests<'s>, finder: &'s Arc<Finder>, test: Test) {
    let own = tests.iter_mut().filter(|(other, _)| other.position == finder.position);
    for (_, other) in own {
        if let Some(both) = other.and(&test) {
            *other = both;
            return;
        }
    }
    tests.push((finder, test));
}

fn ids_of(kind: &str, entities: Vec<Entity>) -> Vec<String> {
    entities.into_iter().filter(|entity| entity.kind() == kind).map(|entity| entity.id().to_owned()).collect()
}

/// Where in an index the values are that pass a test.
pub(super) fn key_ranges(finder: &Finder, test: &Test) -> Vec<TermRange> {
    test.ranges(&derived_prefix(finder.position))
}

/// Chooses how to come by what is asked.
pub(super) fn plan(snapshot: &Snapshot, query: FindQuery) -> Result<FindPlan> {
    let past = query.at.is_some() || query.as_of.is_some();
    let way = if past { StateAccess::Past } else { snapshot.way_to_states(&query.kind)? };
    let (kind, predicate) = (&query.kind, query.predicate.as_ref());
    // Indexes lead to what states are now.
    let tests = if past { Vec::new() } else { tests(snapshot, kind, predicate) };
    let first = match way {
        StateAccess::Kept => first_by_index(snapshot, &query, &tests)?,
        _ => None,
    };
    // What leads to few is better than an order.
    let most = first.as_ref().map_or(COUNTED, |first| first.lengths.few);
    let source = candidates(snapshot, kind, predicate, tests, most)?;
    // What leads to more is kept for where the order does not tell.
    let first = first.filter(|first| source.gain_from(first));
    let columns = match (&way, &source, &first) {
        (StateAccess::Kept, Candidates::All, None) => state_column::plan(&query),
        _ => None,
    };
    Ok(FindPlan { query, source, way, first, columns })
}

impl Display for FindPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let query = &self.query;
        let kind = NameText(&query.kind);
        query.shape.iter().try_for_each(|shape| writeln!(f, "{shape}\nof"))?;
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
        match &self.source {
            Candidates::All => f.write_str("from all of them")?,
            Candidates::Ids(ids) if ids.len() == 1 => f.write_str("from the one that is named")?,
            Candidates::Ids(ids) => write!(f, "from the {} that are named", ids.len())?,
            Candidates::Index { finder, asked, estimate, .. } => {
                // Beside an order no more are counted than it takes to choose.
                let more = if self.first.is_some() || *estimate >= COUNTED { " or more" } else { "" };
                f.write_str("from the index ")?;
                match asked {
                    IndexQuestion::Passing(test) => write!(f, "{} {test}", NameText(&finder.name))?,
                    IndexQuestion::RowsOf(view) => write!(f, "of the view {}", NameText(view))?,
                }
                write!(f, ", {}{more}", estimate.min(&COUNTED))?;
            }
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
