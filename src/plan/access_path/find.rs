//! Entities that are asked for: which of them are looked at, and how their states are come by.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::conditions::{comparison, conjuncts};
use crate::entity::{Entity, NameText};
use crate::error::Result;
use crate::plan::bind;
use crate::plan::by::Test;
use crate::plan::expr::{BoundExpr, Constant, Predicate};
use crate::plan::field::{EntityPart, Field};
use crate::plan::find::FindQuery;
use crate::store::catalog::Finder;
use crate::store::index::term::{TermRange, derived_prefix};
use crate::store::snapshot::{Snapshot, StateAccess};
use crate::value::Value;

/// `FIND`.
#[derive(Debug, Clone)]
pub(crate) struct FindPlan {
    pub query: FindQuery,
    pub source: Candidates,
    /// How their states are come by.
    pub way: StateAccess,
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
        /// What is asked of it, for people to read.
        name: String,
        /// How many there are, as far as they were counted.
        estimate: u64,
    },
}

/// So many entries of an index are counted, to choose among indexes.
const COUNTED: u64 = 10_000;

/// An index that leads to more than one of so many states is not worth its way.
const WORTH: u64 = 4;

/// Chooses among all entities, those that are named, and those that an index leads to.
fn candidates(snapshot: &Snapshot, kind: &str, predicate: Option<&Predicate>) -> Result<Candidates> {
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
        for finder in snapshot.indexes().finders_of(kind) {
            let Ok((node, true)) = bind::index_expression(&finder.text) else { continue };
            let Some(test) = against.test().filter(|_| node == *subject) else { continue };
            let mut ranges = key_ranges(finder, &test);
            let mut count = 0;
            for range in &ranges {
                match snapshot.count_found(finder, range, COUNTED)? {
                    Some(found) => count += found,
                    // It does not serve now.
                    None => count = u64::MAX,
                }
                if count >= least {
                    break;
                }
            }
            if count < least {
                least = count;
                // Those of which there is no state are to be told of.
                ranges.push(finder.faulty());
                let name = format!("{} {test}", NameText(&finder.name));
                best = Candidates::Index { finder: finder.clone(), ranges, name, estimate: count };
            }
        }
    }
    // Where it leads to a large part of all, reading all is less.
    if let Candidates::Index { estimate, .. } = &best
        && *estimate >= COUNTED
        && snapshot.count_states(kind, estimate.saturating_mul(WORTH))? < estimate.saturating_mul(WORTH)
    {
        return Ok(Candidates::All);
    }
    Ok(best)
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
    let source = match candidates(snapshot, &query.kind, query.predicate.as_ref())? {
        // They lead to what states are now.
        Candidates::Index { .. } if past => Candidates::All,
        source => source,
    };
    Ok(FindPlan { query, source, way })
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
        match &self.source {
            Candidates::All => f.write_str("\n  from all of them")?,
            Candidates::Ids(ids) if ids.len() == 1 => f.write_str("\n  from the one that is named")?,
            Candidates::Ids(ids) => write!(f, "\n  from the {} that are named", ids.len())?,
            Candidates::Index { name, estimate, .. } if *estimate >= COUNTED => {
                write!(f, "\n  from the index {name}, {COUNTED} or more")?;
            }
            Candidates::Index { name, estimate, .. } => write!(f, "\n  from the index {name}, {estimate}")?,
        }
        match self.way {
            StateAccess::Kept => f.write_str("\n  their states are kept"),
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
