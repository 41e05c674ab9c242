//! Plans: statements with everything looked up that can be looked up before they run.
//!
//! [`bind`](bind()) resolves names, parameters and points against a snapshot, and checks what the grammar cannot;
//! [`access_path`](mod@access_path) says which lists answer; a [`Plan`] is what is left to do. Its `Display` is what `EXPLAIN` prints. What the
//! grammar has and the plans have not yet is listed in one place, [`unsupported`].

mod absence;
pub(crate) mod access_path;
pub(crate) mod bind;
mod by;
pub(crate) mod datum;
mod explain;
pub(crate) mod expr;
mod fault;
pub(crate) mod field;
pub(crate) mod find;
pub(crate) mod function;
pub(crate) mod model;
mod moment;
pub(crate) mod order;
mod parameters;
mod past_tense;
pub(crate) mod reaction;
pub(crate) mod shape;
mod subscription;
mod unsupported;
pub(crate) mod verb;
pub(crate) mod view;
pub(crate) mod webhook;
pub(crate) mod write;

use crate::entity::{Entity, Position};
use crate::store::catalog::ProgramKind;
use crate::time::Timestamp;

pub(crate) use absence::AbsenceCheck;
pub(crate) use access_path::{
    AccessPath, AccessQuery, Bitmap, Gathered, Indexed, PositionSource, Times, choose,
};
#[cfg(test)]
pub(crate) use access_path::{FORCED, Forced};
pub(crate) use bind::{
    Context, bind, entity_definition, hints, index_expression, reaction_definition, row_key,
    schedule_definition, verb_definition, view_definition, webhook_definition,
};
pub(crate) use by::{By, Derived, Tagged, Test};
pub(crate) use expr::Predicate;
pub use moment::PointInTime;
pub(crate) use moment::ResolvedPoint;
pub use parameters::Parameters;
pub(crate) use shape::{Shape, Shaped};
pub(crate) use subscription::{
    SubscriptionEnd, SubscriptionPlan, event_condition, indexed, recorded_before, tagged,
};
pub(crate) use write::{
    Append, AppendAction, Define, DefineEntity, DefineIndex, DefineProgram, DefineVerb, DefineView, Drop,
    DropTarget, EmitPlan, EventOwner, OccurredAt, PerformPlan, Settle,
};

/// What is to be done.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one plan, and it is matched on more often than moved
pub(crate) enum Plan {
    Read(ReadPlan),
    Write(WritePlan),
    Subscribe(SubscriptionPlan),
    SubscribeView(view::ViewSubscriptionPlan),
    /// `EXPLAIN`.
    Explain(Explain),
}

/// A plan that is told instead of carried out.
#[derive(Debug, Clone)]
pub(crate) struct Explain {
    pub plan: Box<Plan>,
    /// It is a read, which is carried out all the same, to tell what that took.
    pub analyze: bool,
}

/// What a snapshot answers.
#[derive(Debug, Clone)]
pub(crate) struct ReadPlan {
    pub kind: ReadKind,
    /// What points turned out to mean, for people to read.
    pub notices: Vec<String>,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum ReadKind {
    /// `EVENTS`, `HISTORY`.
    Events(EventsPlan),
    /// The same with `GROUP BY`, `SELECT` or `ORDER BY`.
    Shaped(Box<Shaped>),
    /// `AT`, `REPLAY`.
    State(ReplayPlan),
    /// `REPLAY … STEPS`.
    Steps(ReplayPlan),
    Blame(BlamePlan),
    /// The state at one point, and at another.
    Diff(ReplayPlan, ReplayPlan),
    Trace(TracePlan),
    /// `FIND`.
    Find(Box<find::Find>),
    /// `READ`.
    View(Box<view::ReadView>),
    /// What is known of a kind of entities, of a verb or of an index.
    Describe(String),
    Kinds,
    Types,
    Verbs,
    Views,
    Indexes,
    /// `SHOW REACTIONS`, `SHOW SCHEDULES`.
    Programs(ProgramKind),
    Subscriptions,
    Stats,
    Head,
    Verify,
}

/// What needs the store itself.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum WritePlan {
    Append(Append),
    Define(Define),
    Drop(Drop),
    /// `RETRY`, `SKIP`.
    Settle(Settle),
    Checkpoint,
}

/// Events in the order of the log.
#[derive(Debug, Clone)]
pub(crate) struct EventsPlan {
    pub access: AccessPath,
    pub window: LogWindow,
    pub predicate: Option<Predicate>,
    pub take: RowLimit,
}

/// How many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowLimit {
    All,
    First(u64),
    /// The newest so many, the oldest of them first.
    Last(u64),
    /// The newest so many, the newest first.
    Newest(u64),
}

/// A part of the log. Since `recorded` never decreases, `AS OF` a time is a prefix too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogWindow {
    /// Positions greater than this.
    pub after: u64,
    /// Positions up to and with this.
    pub through: u64,
    /// Occurred at this instant or later.
    pub since: Option<Timestamp>,
    /// Occurred before this instant.
    pub before: Option<Timestamp>,
    /// Occurred by this instant.
    pub by: Option<Timestamp>,
}

impl LogWindow {
    /// All of the log up to a position.
    pub fn through(position: u64) -> LogWindow {
        LogWindow { after: 0, through: position, since: None, before: None, by: None }
    }

    /// Whether it matters when something occurred.
    pub fn is_timed(&self) -> bool {
        self.since.is_some() || self.before.is_some() || self.by.is_some()
    }

    /// Whether what occurred then is within. Positions are for the scan.
    pub fn occurred(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since)
            && self.before.is_none_or(|before| at < before)
            && self.by.is_none_or(|by| at <= by)
    }
}

/// The fold of an entity's events.
#[derive(Debug, Clone)]
pub(crate) struct ReplayPlan {
    pub entity: Entity,
    pub window: LogWindow,
    /// What was said, for the answer to repeat.
    pub at: Option<ResolvedPoint>,
    pub as_of: Option<ResolvedPoint>,
    /// No point was said where a state of now is asked for: what is dated ahead of this instant is left out, and told of.
    pub now: Option<Timestamp>,
}

impl ReplayPlan {
    /// Of all that is recorded up to a position.
    pub fn of_all(entity: Entity, through: Position) -> ReplayPlan {
        ReplayPlan { entity, window: LogWindow::through(through.0), at: None, as_of: None, now: None }
    }
}

/// The chain of causes that an event belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracePlan {
    pub event: Position,
    /// Whether what brought it about is asked for.
    pub causes: bool,
    /// Whether what it brought about is.
    pub effects: bool,
}

/// What last changed each leaf of a state.
#[derive(Debug, Clone)]
pub(crate) struct BlamePlan {
    pub replay: ReplayPlan,
    /// When that is looked at: the time that was asked about, or now.
    pub seen: Timestamp,
}
