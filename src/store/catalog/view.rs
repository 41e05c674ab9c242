//! Views that are defined, and columns: what is kept of a column are its blocks, in the way of a view's groups.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::definition::{IndexDefinition, ViewDefinition};
use super::definition_set::DefinitionEntry;
use super::{
    COLUMN, Catalog, Finder, Index, Keeps, PLAIN, Understood, ViewGroups, ViewMaterializer, not_understood,
};
use crate::definition::DefinitionKind;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::store::tables::TablesRead;
use crate::store::tables::states::Built;

/// The kind of what `$view.…` events are about.
#[cfg(test)]
pub(crate) const KIND: &str = DefinitionKind::View.target();
/// The type of a definition.
#[cfg(test)]
pub(crate) const DEFINED: &str = DefinitionKind::View.defined();
/// The type of the end of a definition.
#[cfg(test)]
pub(crate) const DROPPED: &str = DefinitionKind::View.dropped();

/// A view, or a column, from its definition on.
pub(crate) struct DefinedView {
    pub kind: DefinitionKind,
    /// Where its definition is. What is kept of it belongs to that, so that another of this name has its own.
    pub position: Position,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    view: Understood<dyn ViewMaterializer>,
    /// The events that are its rows, if it is such a view.
    pub index: Option<Arc<Index>>,
    /// The entities that are its rows, if it is such a view.
    pub finder: Option<Arc<Finder>>,
    /// Whether what is kept of it came up to C once, so that nothing but what was just appended is to be worked out.
    complete: AtomicBool,
}

impl DefinedView {
    pub(super) fn new(
        kind: DefinitionKind,
        position: Position,
        ViewDefinition { name, text, view }: ViewDefinition,
    ) -> DefinedView {
        let (mut index, mut finder) = (None, None);
        match view.as_deref().ok().map(ViewMaterializer::keeps) {
            Some(Keeps::Events(on, derive)) => {
                let (name, on, derive) = (name.clone(), on.clone(), Ok(derive));
                let definition = IndexDefinition { name, on, text: String::new(), derive, of_view: true };
                index = Some(Arc::new(Index::new(position, definition)));
            }
            Some(Keeps::States(kind, derive)) => {
                let (name, kind, derive) = (name.clone(), kind.to_owned(), Ok(derive));
                finder = Some(Arc::new(Finder { position, name, kind, text: String::new(), derive }));
            }
            Some(Keeps::Groups(_)) | None => {}
        }
        DefinedView { kind, position, name, text, view, index, finder, complete: AtomicBool::new(false) }
    }

    /// What it makes of the log.
    ///
    /// # Errors
    /// If this version does not understand the definition.
    pub fn view(&self) -> Result<&Arc<dyn ViewMaterializer>> {
        self.view.as_ref().map_err(|why| not_understood(self.kind.word(), &self.name, self.position, why))
    }

    /// How its groups are made, if it has such.
    pub fn groups(&self) -> Option<&dyn ViewGroups> {
        match self.view.as_deref().ok()?.keeps() {
            Keeps::Groups(groups) => Some(groups),
            Keeps::Events(..) | Keeps::States(..) => None,
        }
    }

    /// Whether all of it is kept, but for what was just appended.
    pub fn is_complete(&self) -> bool {
        match &self.index {
            Some(index) => index.is_complete(),
            None => self.complete.load(Ordering::Acquire),
        }
    }

    /// Says that no more of it is kept.
    pub(in crate::store) fn set_incomplete(&self) {
        self.complete.store(false, Ordering::Release);
    }

    /// Looks whether what is kept of it has come up to C.
    pub(in crate::store) fn look(&self, read: &TablesRead, catalog: &Catalog) -> Result<()> {
        let kept = match &self.finder {
            // There are no states of what nobody defines, and nothing to be kept of them.
            Some(finder) => match catalog.model(&finder.kind) {
                Some(model) => read.built(model.position, finder.position)? == Some(Built::Whole),
                None => true,
            },
            None => self.groups().is_some() && read.followed(self.position)? >= Some(read.checkpoint()?),
        };
        if kept {
            self.complete.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// What its definitions are about.
    pub fn target(&self) -> Result<Entity> {
        Entity::new(self.kind.target(), &self.name)
    }
}

impl fmt::Debug for DefinedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.kind.word(), self.name, self.position)
    }
}

impl DefinitionEntry for DefinedView {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> Position {
        self.position
    }

    fn sort(&self) -> u8 {
        if self.kind == DefinitionKind::Column { COLUMN } else { PLAIN }
    }
}
