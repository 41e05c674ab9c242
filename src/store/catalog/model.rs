//! Models: what is defined of the entities of a kind; and finders, the indexes of their states.

use std::any::Any;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Derive, Understood, not_understood};
use crate::allowance::{Limits, Unmade};
use crate::definition::DefinitionKind;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::event::record::Record;
use crate::store::index::term::{IndexKey, Term, TermRange, derived_prefix};
use crate::store::state::fold::Fold;
use crate::store::state::stored_state::StoredState;

/// The kind of what `$entity.…` events are about.
pub(crate) const KIND: &str = DefinitionKind::Entity.target();
/// The type of a definition.
#[cfg(test)]
pub(crate) const DEFINED: &str = DefinitionKind::Entity.defined();
/// The type of the end of a definition.
#[cfg(test)]
pub(crate) const DROPPED: &str = DefinitionKind::Entity.dropped();
/// The member of a definition's data that says it: the canonical text of the statement.
pub(crate) const TEXT: &str = "definition";

/// What is defined of the entities of a kind, from its definition on.
#[derive(Clone)]
pub(crate) struct CatalogModel {
    /// Where its definition is. What is kept of it belongs to that, so that another of this kind has its own.
    pub position: Position,
    /// Of which entities.
    pub kind: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    pub(super) fold: Understood<dyn Fold>,
    /// Leads to its entities of which there is no state, because an event could not be folded in. It has the model's own position.
    pub unfolded: Arc<Finder>,
}

impl CatalogModel {
    pub(super) fn new(
        position: Position,
        kind: String,
        text: String,
        fold: Understood<dyn Fold>,
    ) -> CatalogModel {
        let unfolded = Finder {
            position,
            name: String::new(),
            kind: kind.clone(),
            text: String::new(),
            derive: Ok(Arc::new(NoKeys)),
        };
        CatalogModel { position, kind, text, fold, unfolded: Arc::new(unfolded) }
    }

    /// What its events make of a state.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn fold(&self) -> Result<&Arc<dyn Fold>> {
        self.fold.as_ref().map_err(|why| not_understood("entity", &self.kind, self.position, why))
    }

    /// Whether this version can work it out.
    pub fn is_understood(&self) -> bool {
        self.fold.is_ok()
    }

    /// What its definitions are about.
    pub fn target(&self) -> Result<Entity> {
        Entity::new(KIND, &self.kind)
    }
}

impl fmt::Debug for CatalogModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} at {})", self.kind, self.position)
    }
}

/// States have no keys: those that there are have no place, and the others have theirs.
struct NoKeys;

impl Derive for NoKeys {
    fn keys(&self, _: &Record, _: &Limits, _: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        Ok(())
    }
}

/// An index of the states of a kind, from its definition on.
pub(crate) struct Finder {
    /// Where its definition is.
    pub position: Position,
    pub name: String,
    /// Of which entities.
    pub kind: String,
    /// What of their states, in the canonical text of the expression.
    pub text: String,
    /// An index of which nothing is understood is never used.
    pub(super) derive: Understood<dyn Derive>,
}

impl Finder {
    /// Whether this version can work out its expression.
    pub fn is_understood(&self) -> bool {
        self.derive.is_ok()
    }

    /// What of their states, compiled; none of what is no index of states, whatever it was defined on.
    pub fn expression(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.derive.as_ref().ok().filter(|derive| derive.is_of_states())?.expression()
    }

    /// Where those are of which there is no state, because an event could not be folded in.
    pub fn faulty(&self) -> TermRange {
        let prefix = derived_prefix(self.position);
        TermRange { from: [prefix.as_slice(), &[0]].concat(), until: [prefix.as_slice(), &[1]].concat() }
    }

    /// The term of those.
    pub fn faulty_term(&self) -> Term {
        Term::from_bytes(&self.faulty().from)
    }

    /// Where those are whose place in the order of the index is another than that of their terms, or that have none: arrays and
    /// objects, which sort behind all else. What has nothing there at all is null.
    pub fn unordered(&self) -> TermRange {
        let prefix = derived_prefix(self.position);
        TermRange { from: [prefix.as_slice(), &[1]].concat(), until: [prefix.as_slice(), &[2]].concat() }
    }

    /// Where all others are that are not null.
    pub fn ordered(&self) -> TermRange {
        TermRange::between(&derived_prefix(self.position), Bound::Unbounded, Bound::Unbounded)
    }

    /// The terms that a state is found by, each once, in order.
    pub fn terms(&self, id: &str, kept: &StoredState, limits: &Limits) -> Result<Vec<Term>> {
        let (mut keys, mut is_in_order) = (Vec::new(), true);
        if let Ok(derive) = &self.derive {
            match derive.keys_of_state(id, kept, limits, &mut keys) {
                Ok(in_order) => is_in_order = in_order,
                // Whoever looks there evaluates it anew, and is told why it cannot be.
                Err(Unmade::Ended(error)) => return Err(error),
                Err(_) => return Ok(vec![self.faulty_term()]),
            }
        }
        let mut terms: Vec<Term> = keys.iter().filter_map(|key| Term::derived(self.position, key)).collect();
        if !is_in_order {
            terms.push(Term::from_bytes(&self.unordered().from));
        }
        terms.sort_unstable();
        terms.dedup();
        Ok(terms)
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} OF {} AS {} at {}", self.name, self.kind, self.text, self.position)
    }
}

impl DefinitionEntry for CatalogModel {
    fn name(&self) -> &str {
        &self.kind
    }

    fn position(&self) -> Position {
        self.position
    }
}

impl DefinitionEntry for Finder {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> Position {
        self.position
    }
}
