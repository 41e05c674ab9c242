//! Verbs that are defined.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
use super::{Catalog, Understood, not_understood};
use crate::definition::DefinitionKind;
use crate::entity::{Entity, NameText, Position};
use crate::error::{Error, Result};
use crate::store::verb::{PerformRequest, VerbHandler};

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

impl PerformRequest {
    /// What it does, as of a catalog.
    pub fn rule(&self, catalog: &Catalog) -> Result<Arc<dyn VerbHandler>> {
        let rule = match (&self.rule, catalog.verb(&self.verb)) {
            (Some(rule), _) => rule.clone(),
            (None, Some(verb)) => verb.rule()?.clone(),
            (None, None) => {
                let what = format!("the verb {}", NameText(&self.verb));
                return Err(Error::invalid(what, "one that is defined (SHOW VERBS tells which)", "none"));
            }
        };
        if rule.kind() != self.entity.kind() {
            let what = format!("the verb {}", NameText(&self.verb));
            let expected = format!("a {}, which it is of", NameText(rule.kind()));
            return Err(Error::invalid(what, expected, self.entity.to_string()));
        }
        Ok(rule)
    }
}
