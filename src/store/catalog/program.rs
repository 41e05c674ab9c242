//! Programs: what runs by itself as the log goes on. Reactions, webhooks and schedules.
//!
//! The store keeps what was said; whoever runs it works it out.

use std::fmt;
use std::sync::Arc;

use super::definition_set::DefinitionEntry;
pub(crate) use crate::definition::ProgramKind;
use crate::entity::{Entity, EventType, Position};
use crate::error::Result;
use crate::pattern::Pattern;

/// The member of a definition that says that nothing is set aside: with it a program begins anew. Without it one that there is goes on.
pub(crate) const ASIDE: &str = "setAside";

/// What a program answers, and what it makes of that, as far as its definition tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Flow {
    pub on: Option<Pattern>,
    /// The types of its own events.
    pub emits: Vec<EventType>,
    /// The verbs that it performs.
    pub performs: Vec<String>,
}

/// What is defined of a program.
#[derive(Debug, Clone)]
pub(crate) struct ProgramDefinition {
    pub kind: ProgramKind,
    pub name: String,
    pub text: String,
    pub flow: Flow,
    /// Whether it takes the place of the definition that there is, if there is one.
    pub goes_on: bool,
}

/// A program, from its definition on.
#[derive(Clone)]
pub(crate) struct Program {
    /// Where its definition is.
    pub position: Position,
    /// Where the definition is that it began with. Its place in the log belongs to that, and so do the keys of what it does: a new
    /// definition goes on with both, and one that begins anew has its own.
    pub origin: Position,
    /// What was said there, if that is another definition.
    begun: Option<Arc<str>>,
    pub kind: ProgramKind,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    /// Empty where this version does not understand the text.
    pub flow: Flow,
}

impl Program {
    /// A program as it is defined at a position, after the one of its name that there is.
    pub(super) fn new(position: Position, defined: ProgramDefinition, before: Option<&Program>) -> Program {
        let ProgramDefinition { kind, name, text, flow, goes_on } = defined;
        let (origin, begun) = match before.filter(|_| goes_on) {
            Some(before) => {
                (before.origin, Some(before.begun.clone().unwrap_or_else(|| before.text.as_str().into())))
            }
            None => (position, None),
        };
        Program { position, origin, begun, kind, name, text, flow }
    }

    /// The text of the definition that it began with, which says where.
    pub fn begun(&self) -> &str {
        self.begun.as_deref().unwrap_or(&self.text)
    }

    /// What events about it are about.
    pub fn target(&self) -> Result<Entity> {
        Entity::new(self.kind.target(), &self.name)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.kind.word(), self.name, self.position)
    }
}

impl DefinitionEntry for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> Position {
        self.position
    }

    fn sort(&self) -> u8 {
        self.kind as u8
    }
}
