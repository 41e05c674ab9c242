//! Candidates: the entities among which all are that are wanted, and what leads to them.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use super::alternatives;
use super::conditions::{comparison, conjuncts};
use super::find::FirstByIndex;
use crate::entity::{Entity, NameText};
use crate::error::Result;
use crate::plan::by::Test;
use crate::plan::expr::{BoundExpr, Constant};
use crate::plan::field::{EntityPart, Field};
use crate::store::catalog::Finder;
use crate::store::index::term::{TermRange, derived_prefix};
use crate::store::snapshot::{FoundIds, Snapshot};
use crate::value::Value;

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
    /// What one of these leads to: ids, or an index.
    Any(Vec<Candidates>),
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

/// What is asked of indexes.
pub(super) type Tests<'s> = Vec<(&'s Arc<Finder>, Test)>;

/// Chooses among what leads to entities of a kind.
#[derive(Clone, Copy)]
pub(super) struct CandidateChoice<'s> {
    pub snapshot: &'s Snapshot,
    pub kind: &'s str,
    /// States of before are asked for: indexes lead to what they are now.
    pub past: bool,
    /// No more entries of an index are counted.
    pub most: u64,
}

impl<'s> CandidateChoice<'s> {
    /// Chooses among all entities, those that are named, and those that indexes lead to.
    pub fn of(self, predicate: Option<&BoundExpr>) -> Result<Candidates> {
        match predicate {
            None => Ok(Candidates::All),
            Some(node) => self.least(node)?.if_worth_it(self.snapshot, self.kind),
        }
    }

    /// What is asked of indexes, all of which has to hold.
    pub fn tests(self, node: &BoundExpr) -> Tests<'s> {
        let (mut terms, mut tests) = (Vec::new(), Vec::new());
        if self.past {
            return tests;
        }
        conjuncts(node, &mut terms);
        for (subject, against) in terms.iter().filter_map(|term| comparison(term)) {
            if let Some(test) = against.test() {
                let indexes = indexes_of(self.snapshot, self.kind, subject);
                indexes.for_each(|finder| add(&mut tests, finder, test.clone()));
            }
        }
        tests
    }

    /// Those that are named, else what leads to the least.
    fn least(self, node: &BoundExpr) -> Result<Candidates> {
        if let Some(mut ids) = self.named(node) {
            // An id is found once, however often it is named.
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| Entity::new(self.kind, id).is_ok());
            return Ok(Candidates::Ids(ids));
        }
        let mut best = Candidates::All;
        for (finder, test) in self.tests(node) {
            let mut ranges = key_ranges(finder, &test);
            // One that does not serve now is none.
            let found = self.snapshot.count_found(finder, &ranges, self.most)?;
            if let Some(found) =
                found.filter(|found| best.estimate().is_none_or(|least| found.entries < least))
            {
                // Those of which there is no state are to be told of.
                ranges.push(finder.faulty());
                let (finder, estimate) = (finder.clone(), found.entries);
                let asked = IndexQuestion::Passing(test);
                best = Candidates::Index { finder, ranges, asked, estimate, found: found.ids };
            }
        }
        let mut terms = Vec::new();
        conjuncts(node, &mut terms);
        for term in terms {
            if let BoundExpr::Or(several) = term
                && let Some(any) = self.any(several)?
                && best.estimate().is_none_or(|least| any.estimate().is_some_and(|own| own < least))
            {
                best = any;
            }
        }
        Ok(best)
    }

    /// What each of several leads to; none where one of them leads nowhere.
    fn any(self, several: &[BoundExpr]) -> Result<Option<Candidates>> {
        if several.len() > alternatives::MOST {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(several.len());
        for one in several {
            match self.least(one)? {
                Candidates::All => return Ok(None),
                Candidates::Any(some) => found.extend(some),
                one => found.push(one),
            }
        }
        Ok(Some(Candidates::Any(found)))
    }

    /// The ids that an expression names, of which what is found has one.
    fn named(self, node: &BoundExpr) -> Option<Vec<String>> {
        let mut terms = Vec::new();
        conjuncts(node, &mut terms);
        terms.into_iter().find_map(|term| match term {
            BoundExpr::Or(several) => {
                let each = several.iter().map(|one| self.named(one)).collect::<Option<Vec<_>>>()?;
                Some(each.concat())
            }
            one => self.named_by(one),
        })
    }

    /// The ids that a comparison names.
    fn named_by(self, term: &BoundExpr) -> Option<Vec<String>> {
        let (subject, against) = comparison(term)?;
        match subject {
            BoundExpr::Field(Field::Target(EntityPart::Id)) => against.each(|constant| match constant {
                Constant::Value(Value::Text(id)) => Some(id.clone()),
                _ => None,
            }),
            BoundExpr::Field(Field::Target(EntityPart::Whole)) => against
                .each(|constant| match constant {
                    Constant::Entity(entity) => Some(entity.clone()),
                    _ => None,
                })
                .map(|entities| ids_of(self.kind, entities)),
            _ => None,
        }
    }
}

impl Candidates {
    /// How many there are at most, as far as they were counted; none where they are all.
    pub fn estimate(&self) -> Option<u64> {
        match self {
            Candidates::All => None,
            Candidates::Ids(ids) => Some(ids.len() as u64),
            Candidates::Index { estimate, .. } => Some(*estimate),
            Candidates::Any(several) => several.iter().map(Candidates::estimate).sum(),
        }
    }

    /// Where an index leads to a large part of all, reading all is less.
    pub(super) fn if_worth_it(self, snapshot: &Snapshot, kind: &str) -> Result<Candidates> {
        if let (Candidates::Index { .. } | Candidates::Any(_), Some(estimate)) = (&self, self.estimate())
            && estimate >= COUNTED
            && snapshot.count_states(kind, estimate.saturating_mul(WORTH))? < estimate.saturating_mul(WORTH)
        {
            return Ok(Candidates::All);
        }
        Ok(self)
    }

    /// Whether indexes lead to fewer than this.
    pub fn are_fewer_than(&self, snapshot: &Snapshot, many: u64) -> Result<bool> {
        let mut left = many;
        let several = match self {
            Candidates::Any(several) => several,
            one => std::slice::from_ref(one),
        };
        for one in several {
            let entries = match one {
                Candidates::Index { finder, ranges, .. } => {
                    snapshot.count_found(finder, ranges, left)?.map(|found| found.entries)
                }
                Candidates::Ids(ids) => Some(ids.len() as u64),
                Candidates::All | Candidates::Any(_) => None,
            };
            match entries.filter(|entries| *entries < left) {
                Some(entries) => left -= entries,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether those that an order is gone along for are better come by in that order, as far as they were counted.
    pub(super) fn gain_from(&self, first: &FirstByIndex) -> bool {
        match self {
            Candidates::Ids(_) => false,
            others => others.estimate().is_none_or(|estimate| estimate >= first.lengths.few),
        }
    }

    /// What they are, and how many; beside an order no more are counted than it takes to choose.
    pub(super) fn tell(&self, f: &mut Formatter<'_>, beside_order: bool) -> fmt::Result {
        match self {
            Candidates::All => f.write_str("all of them"),
            Candidates::Ids(ids) if ids.len() == 1 => f.write_str("the one that is named"),
            Candidates::Ids(ids) => write!(f, "the {} that are named", ids.len()),
            Candidates::Index { finder, asked, estimate, .. } => {
                let more = if beside_order || *estimate >= COUNTED { " or more" } else { "" };
                f.write_str("the index ")?;
                match asked {
                    IndexQuestion::Passing(test) => write!(f, "{} {test}", NameText(&finder.name))?,
                    IndexQuestion::RowsOf(view) => write!(f, "of the view {}", NameText(view))?,
                }
                write!(f, ", {}{more}", estimate.min(&COUNTED))
            }
            Candidates::Any(several) => several.iter().enumerate().try_for_each(|(at, one)| {
                f.write_str(if at > 0 { ", and " } else { "" })?;
                one.tell(f, beside_order)
            }),
        }
    }
}

/// The indexes of what an expression says.
pub(super) fn indexes_of<'s>(
    snapshot: &'s Snapshot,
    kind: &'s str,
    node: &BoundExpr,
) -> impl Iterator<Item = &'s Arc<Finder>> {
    snapshot.indexes().finders_of(kind).filter(move |finder| {
        let expression = finder.expression().and_then(|expression| expression.downcast_ref::<BoundExpr>());
        expression == Some(node)
    })
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
