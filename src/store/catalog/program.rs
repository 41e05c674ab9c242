//! Programs: what runs by itself as the log goes on. Reactions, webhooks and schedules.
//!
//! The store keeps what was said; whoever runs it works it out.

use std::fmt;

use crate::entity::{Entity, Position};
use crate::error::Result;

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

/// A program, from its definition on.
#[derive(Clone)]
pub(crate) struct Program {
    /// Where its definition is. Its place in the log belongs to that, so that another of this name has its own.
    pub position: Position,
    pub kind: ProgramKind,
    pub name: String,
    /// As it was said, in the canonical text of the statement.
    pub text: String,
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
