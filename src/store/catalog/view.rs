//! Views that are defined.

use std::fmt;
use std::sync::Arc;

use super::not_understood;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::store::view::View;

/// The kind of what `$view.…` events are about.
pub(crate) const KIND: &str = "$view";
/// The type of a definition.
pub(crate) const DEFINED: &str = "$view.defined";
/// The type of the end of a definition.
pub(crate) const DROPPED: &str = "$view.dropped";

/// A view, from its definition on.
#[derive(Clone)]
pub(crate) struct DefinedView {
    /// Where its definition is. What is kept of it belongs to that, so that another of this name has its own.
    pub position: Position,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    /// None where this version does not understand the text.
    pub(super) view: Option<Arc<dyn View>>,
}

impl DefinedView {
    /// What it makes of the log.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn view(&self) -> Result<&Arc<dyn View>> {
        self.view.as_ref().ok_or_else(|| not_understood("view", &self.name, self.position, &self.text))
    }

    /// What its definitions are about.
    pub fn target(&self) -> Result<Entity> {
        Entity::new(KIND, &self.name)
    }
}

impl fmt::Debug for DefinedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} at {})", self.name, self.position)
    }
}
