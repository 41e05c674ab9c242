//! Verbs that are defined.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Understood, not_understood};
use crate::definition::DefinitionKind;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::store::verb::VerbHandler;

/// The kind of what `$verb.…` events are about.
pub(crate) const KIND: &str = DefinitionKind::Verb.target();

/// A verb, from its definition on.
#[derive(Clone)]
pub(crate) struct CatalogVerb {
    /// Where its definition is.
    pub position: Position,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    pub(super) rule: Understood<dyn VerbHandler>,
}

impl CatalogVerb {
    /// What it does.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn rule(&self) -> Result<&Arc<dyn VerbHandler>> {
        self.rule.as_ref().map_err(|why| not_understood("verb", &self.name, self.position, why))
    }

    /// What its definitions are about.
    pub fn target(&self) -> Result<Entity> {
        Entity::new(KIND, &self.name)
    }
}

impl fmt::Debug for CatalogVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verb({} at {})", self.name, self.position)
    }
}

impl DefinitionEntry for CatalogVerb {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> Position {
        self.position
    }
}
