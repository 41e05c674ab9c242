//! Definitions: what is said of each kind of thing that can be defined, understood; and the kinds that there are.

use std::fmt;

use super::program::{ProgramDefinition, ProgramKind};
use super::{Derive, Understood, model, verb, view};
use crate::entity::EventType;
use crate::pattern::Pattern;
use crate::store::state::fold::Fold;
use crate::store::verb::VerbHandler;
use crate::store::view::ViewMaterializer;

/// A kind of thing that can be defined. All that differs only by names is here: a kind more is a line in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum DefinitionKind {
    Index,
    Entity,
    Verb,
    View,
    Program(ProgramKind),
}

impl DefinitionKind {
    pub const ALL: [DefinitionKind; 7] = [
        DefinitionKind::Index,
        DefinitionKind::Entity,
        DefinitionKind::Verb,
        DefinitionKind::View,
        DefinitionKind::Program(ProgramKind::Reaction),
        DefinitionKind::Program(ProgramKind::Webhook),
        DefinitionKind::Program(ProgramKind::Schedule),
    ];

    /// As a person says it.
    pub fn word(self) -> &'static str {
        match self {
            DefinitionKind::Index => "index",
            DefinitionKind::Entity => "entity",
            DefinitionKind::Verb => "verb",
            DefinitionKind::View => "view",
            DefinitionKind::Program(program) => program.word(),
        }
    }

    /// The kind of what events about such definitions are about.
    pub fn target(self) -> &'static str {
        match self {
            DefinitionKind::Index => super::KIND,
            DefinitionKind::Entity => model::KIND,
            DefinitionKind::Verb => verb::KIND,
            DefinitionKind::View => view::KIND,
            DefinitionKind::Program(program) => program.target(),
        }
    }

    /// The type of a definition.
    pub fn defined(self) -> &'static str {
        match self {
            DefinitionKind::Index => super::DEFINED,
            DefinitionKind::Entity => model::DEFINED,
            DefinitionKind::Verb => verb::DEFINED,
            DefinitionKind::View => view::DEFINED,
            DefinitionKind::Program(program) => program.defined(),
        }
    }

    /// The type of the end of a definition.
    pub fn dropped(self) -> &'static str {
        match self {
            DefinitionKind::Index => super::DROPPED,
            DefinitionKind::Entity => model::DROPPED,
            DefinitionKind::Verb => verb::DROPPED,
            DefinitionKind::View => view::DROPPED,
            DefinitionKind::Program(program) => program.dropped(),
        }
    }

    /// Whether its names are to be told from those of the other kinds: what is named in a statement could be either.
    pub fn has_names_of_its_own(self) -> bool {
        self != DefinitionKind::Index
    }

    /// Of which kind of definition an event is about one, if it is.
    pub fn of(kind: &EventType) -> Option<DefinitionKind> {
        let is_about =
            |target: &str| kind.as_str().strip_prefix(target).is_some_and(|rest| rest.starts_with('.'));
        DefinitionKind::ALL.into_iter().find(|definition| is_about(definition.target()))
    }
}

/// What is said of something, understood.
#[derive(Debug, Clone)]
pub(crate) enum Definition {
    Index(IndexDefinition),
    Finder(FinderDefinition),
    Entity(EntityDefinition),
    Verb(VerbDefinition),
    View(ViewDefinition),
    Program(ProgramDefinition),
}

impl Definition {
    pub fn kind(&self) -> DefinitionKind {
        match self {
            Definition::Index(_) | Definition::Finder(_) => DefinitionKind::Index,
            Definition::Entity(_) => DefinitionKind::Entity,
            Definition::Verb(_) => DefinitionKind::Verb,
            Definition::View(_) => DefinitionKind::View,
            Definition::Program(program) => DefinitionKind::Program(program.kind),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Definition::Index(index) => &index.name,
            Definition::Finder(finder) => &finder.name,
            Definition::Entity(entity) => &entity.kind,
            Definition::Verb(verb) => &verb.name,
            Definition::View(view) => &view.name,
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

/// What is said of a view, understood.
#[derive(Debug, Clone)]
pub(crate) struct ViewDefinition {
    pub name: String,
    pub text: String,
    pub(super) view: Understood<dyn ViewMaterializer>,
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
