//! What a statement appends, before the values in it are worked out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::absence::AbsenceCheck;
use super::expr::BoundExpr;
use super::webhook::Secret;
use crate::definition::{DefinitionKind, ProgramKind};
use crate::entity::{Entity, EventType, Position};
use crate::event::{Cause, EventId, Expect};
pub(crate) use crate::lang::ast::DropTarget;
use crate::pattern::Pattern;
use crate::store::BackupMode;
use crate::store::verb::VerbHandler;
use crate::time::Timestamp;

/// What needs the store itself.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum WritePlan {
    Append(Append),
    Define(Define),
    Drop(Drop),
    Forget(Forget),
    /// `RETRY`, `SKIP`.
    Settle(Settle),
    Checkpoint,
    /// `SYNC`.
    Sync,
    Compact,
    Backup(BackupPlan),
    /// `REKEY`: where the new key is.
    Rekey(Secret),
}

/// `BACKUP TO`.
#[derive(Debug, Clone)]
pub(crate) struct BackupPlan {
    pub to: PathBuf,
    pub mode: BackupMode,
    pub without_keys: bool,
    /// Where the key is that it is encrypted with.
    pub key: Option<Secret>,
}

/// `EMIT`, `PERFORM`, or `ATOMIC` with several.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub acts: Vec<AppendAction>,
    /// For all of it.
    pub key: Option<String>,
    /// How each entity that it is about is to be before it.
    pub expect: Vec<Expect>,
    /// What must not be in the log before it.
    pub none: Vec<AbsenceCheck>,
    /// What `NOW` is.
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has few
pub(crate) enum AppendAction {
    Emit(EmitPlan),
    Perform(PerformPlan),
}

/// `PERFORM`. What it makes is decided at the moment of commit.
#[derive(Debug, Clone)]
pub(crate) struct PerformPlan {
    pub verb: String,
    /// What it does, where that is said by the program, and not by the log.
    pub rule: Option<Arc<dyn VerbHandler>>,
    pub entity: Entity,
    /// The arguments.
    pub data: Option<BoundExpr>,
    pub metadata: Option<BoundExpr>,
    pub actor: Option<Entity>,
    /// None: when it is recorded.
    pub at: Option<OccurredAt>,
    pub cause: Option<Cause>,
    /// Of the entity, before it.
    pub expect: Vec<Expect>,
    /// What must be neither in the log nor in its group before it.
    pub none: Vec<AbsenceCheck>,
}

#[derive(Debug, Clone)]
pub(crate) struct EmitPlan {
    pub kind: EventType,
    pub owner: EventOwner,
    pub data: Option<BoundExpr>,
    pub metadata: Option<BoundExpr>,
    pub actor: Option<Entity>,
    /// None: when it is recorded.
    pub at: Option<OccurredAt>,
    pub key: Option<String>,
    /// None: the database makes one.
    pub id: Option<EventId>,
    pub cause: Option<Cause>,
    pub expect: Vec<Expect>,
    /// What must be neither in the log nor in its group before it.
    pub none: Vec<AbsenceCheck>,
    /// Names with values; without one it is the member of `data`.
    pub index: Vec<(String, Option<BoundExpr>)>,
}

/// `DEFINE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Define {
    pub name: String,
    pub what: Defined,
    /// The canonical text of the statement, values in the place of parameters; of an index that of its expression.
    pub text: String,
    pub actor: Option<Entity>,
    /// For whoever defines it to read.
    pub notices: Vec<String>,
}

/// What is defined, and what has to be known of it beside its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Defined {
    /// What it is of.
    Index(On),
    Entity,
    /// The schema of a type of events.
    Event,
    /// Of which entities it is.
    Verb(String),
    View,
    Column,
    Private,
    Program(ProgramKind),
}

impl Defined {
    pub fn kind(&self) -> DefinitionKind {
        match self {
            Defined::Index(_) => DefinitionKind::Index,
            Defined::Entity => DefinitionKind::Entity,
            Defined::Event => DefinitionKind::Event,
            Defined::Verb(_) => DefinitionKind::Verb,
            Defined::View => DefinitionKind::View,
            Defined::Column => DefinitionKind::Column,
            Defined::Private => DefinitionKind::Private,
            Defined::Program(program) => DefinitionKind::Program(*program),
        }
    }
}

/// What an index is of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum On {
    Events(Pattern),
    /// Of the entities of a kind.
    States(String),
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Events(pattern) => pattern.fmt(f),
            On::States(kind) => f.write_str(kind),
        }
    }
}

/// `FORGET`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forget {
    pub subject: Entity,
    pub because: Option<String>,
    pub actor: Option<Entity>,
}

/// `DROP`, of what is defined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drop {
    pub what: DropTarget,
    pub name: String,
    pub actor: Option<Entity>,
}

/// `RETRY` or `SKIP`, of what is set aside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settle {
    pub kind: ProgramKind,
    pub name: String,
    /// None: all of it.
    pub position: Option<Position>,
    /// Whether it is tried again, or never any more.
    pub again: bool,
    pub actor: Option<Entity>,
}

/// Whose history it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventOwner {
    /// The actor's, if its kind is the prefix of the type.
    Unsaid,
    /// That of one whose id is yet to be made.
    New,
    Entity(Entity),
}

/// When it occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OccurredAt {
    Time(Timestamp),
    Ago(Duration),
}

impl AppendAction {
    /// Whether the same statement, run later, would say the same.
    pub fn is_steady(&self) -> bool {
        match self {
            AppendAction::Emit(emit) => emit.is_steady(),
            AppendAction::Perform(perform) => {
                let nodes = perform.data.iter().chain(&perform.metadata);
                !matches!(perform.at, Some(OccurredAt::Ago(_))) && !nodes.into_iter().any(BoundExpr::has_now)
            }
        }
    }
}

impl EmitPlan {
    /// Whether the same statement, run later, would say the same: made ids and `NOW` differ from run to run.
    pub fn is_steady(&self) -> bool {
        let nodes = self.data.iter().chain(&self.metadata);
        let index = self.index.iter().filter_map(|(_, value)| value.as_ref());
        self.owner != EventOwner::New
            && !matches!(self.at, Some(OccurredAt::Ago(_)))
            && !nodes.chain(index).any(BoundExpr::has_now)
    }
}
