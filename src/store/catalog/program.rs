//! Programs: what runs by itself as the log goes on. Reactions, webhooks and schedules.
//!
//! The store keeps what was said; whoever runs it works it out.

use std::fmt;

use super::shelf::Shelved;
use crate::entity::{Entity, EventType, Position};
use crate::error::Result;
use crate::pattern::Pattern;

/// What a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ProgramKind {
    /// It answers events with others.
    Reaction,
    /// It tells them elsewhere.
    Webhook,
    /// It makes events as time goes by.
    Schedule,
}

impl ProgramKind {
    pub const ALL: [ProgramKind; 3] = [ProgramKind::Reaction, ProgramKind::Webhook, ProgramKind::Schedule];

    /// As a person says it.
    pub fn word(self) -> &'static str {
        match self {
            ProgramKind::Reaction => "reaction",
            ProgramKind::Webhook => "webhook",
            ProgramKind::Schedule => "schedule",
        }
    }

    /// The kind of what events about such a program are about.
    pub fn target(self) -> &'static str {
        match self {
            ProgramKind::Reaction => "$reaction",
            ProgramKind::Webhook => "$webhook",
            ProgramKind::Schedule => "$schedule",
        }
    }

    /// The type of a definition.
    pub fn defined(self) -> &'static str {
        match self {
            ProgramKind::Reaction => "$reaction.defined",
            ProgramKind::Webhook => "$webhook.defined",
            ProgramKind::Schedule => "$schedule.defined",
        }
    }

    /// The type of the end of a definition.
    pub fn dropped(self) -> &'static str {
        match self {
            ProgramKind::Reaction => "$reaction.dropped",
            ProgramKind::Webhook => "$webhook.dropped",
            ProgramKind::Schedule => "$schedule.dropped",
        }
    }
}

/// What a program answers, and what it makes of that, as far as its definition tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Flow {
    pub on: Option<Pattern>,
    /// The types of its own events.
    pub emits: Vec<EventType>,
    /// The verbs that it performs.
    pub performs: Vec<String>,
}

/// A program, from its definition on.
#[derive(Clone)]
pub(crate) struct Program {
    /// Where its definition is. Its place in the log belongs to that, so that another of this name has its own.
    pub position: Position,
    pub kind: ProgramKind,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
    /// Empty where this version does not understand the text.
    pub flow: Flow,
}

impl Program {
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

impl Shelved for Program {
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
