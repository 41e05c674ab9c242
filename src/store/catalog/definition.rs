//! Definitions: what is said of each kind of thing that can be defined, understood.

use std::fmt;

use super::program::ProgramDefinition;
use super::{Derive, PrivateFields, Understood, ViewMaterializer};
pub(crate) use crate::definition::DefinitionKind;
use crate::pattern::Pattern;
use crate::store::event_schema::EventSchema;
use crate::store::state::fold::Fold;
use crate::store::verb::VerbHandler;

/// What is said of something, understood.
#[derive(Debug, Clone)]
pub(crate) enum Definition {
    Index(IndexDefinition),
    Finder(FinderDefinition),
    Entity(EntityDefinition),
    Event(SchemaDefinition),
    Verb(VerbDefinition),
    View(ViewDefinition),
    /// What is kept of one is kept as the groups of a view are.
    Column(ViewDefinition),
    Private(PrivateDefinition),
    Program(ProgramDefinition),
}

impl Definition {
    pub fn kind(&self) -> DefinitionKind {
        match self {
            Definition::Index(_) | Definition::Finder(_) => DefinitionKind::Index,
            Definition::Entity(_) => DefinitionKind::Entity,
            Definition::Event(_) => DefinitionKind::Event,
            Definition::Verb(_) => DefinitionKind::Verb,
            Definition::View(_) => DefinitionKind::View,
            Definition::Column(_) => DefinitionKind::Column,
            Definition::Private(_) => DefinitionKind::Private,
            Definition::Program(program) => DefinitionKind::Program(program.kind),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Definition::Index(index) => &index.name,
            Definition::Finder(finder) => &finder.name,
            Definition::Entity(entity) => &entity.kind,
            Definition::Event(event) => &event.event_type,
            Definition::Verb(verb) => &verb.name,
            Definition::View(view) | Definition::Column(view) => &view.name,
            Definition::Private(private) => &private.name,
            Definition::Program(program) => &program.name,
        }
    }
}

/// What is said of an index, understood.
#[derive(Clone)]
pub(crate) struct IndexDefinition {
    pub name: String,
    /// Of which events.
    pub on: Pattern,
    /// What of them, as text.
    pub text: String,
    /// An index of which nothing is understood is never used.
    pub(super) derive: Understood<dyn Derive>,
    /// It holds the rows of the view of this name, and nobody asks for it by itself.
    pub(super) of_view: bool,
}

/// What is said of an entity, understood.
#[derive(Debug, Clone)]
pub(crate) struct EntityDefinition {
    pub kind: String,
    pub text: String,
    pub(super) fold: Understood<dyn Fold>,
}

/// What is said of the data of a type's events, understood.
#[derive(Debug, Clone)]
pub(crate) struct SchemaDefinition {
    pub event_type: String,
    pub text: String,
    pub(super) schema: Understood<dyn EventSchema>,
}

/// What is said of an index of states, understood.
#[derive(Clone)]
pub(crate) struct FinderDefinition {
    pub name: String,
    /// Of which entities.
    pub kind: String,
    /// What of their states, as text.
    pub text: String,
    pub(super) derive: Understood<dyn Derive>,
}

/// What is said of a verb, understood.
#[derive(Debug, Clone)]
pub(crate) struct VerbDefinition {
    pub name: String,
    pub text: String,
    pub(super) rule: Understood<dyn VerbHandler>,
}

/// What is said of a view, or of a column, understood.
#[derive(Debug, Clone)]
pub(crate) struct ViewDefinition {
    pub name: String,
    pub text: String,
    pub(super) view: Understood<dyn ViewMaterializer>,
}

/// What is said of private fields, understood.
#[derive(Debug, Clone)]
pub(crate) struct PrivateDefinition {
    pub name: String,
    pub text: String,
    pub(super) fields: Understood<PrivateFields>,
}

impl fmt::Debug for IndexDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ON '{}' AS {}", self.name, self.on, self.text)
    }
}

impl fmt::Debug for FinderDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} OF {} AS {}", self.name, self.kind, self.text)
    }
}
