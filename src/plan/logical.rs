//! The logical plan: what a statement asks, with its names looked up.
//!
//! It says which events, entities and rows are meant, and nothing of how they are come by: no list, no estimate, no snapshot. A name of `BY`
//! stands for what it was defined as, whether or not the lists of that are read. [`access_path`](super::access_path) makes a
//! [`Plan`](super::Plan) of it.

use super::by::By;
use super::expr::Predicate;
use super::field::StateField;
use super::find::FindQuery;
use super::moment::ResolvedPoint;
use super::shape::Shape;
use super::subscription::SubscriptionPlan;
use super::unnest::UnnestPlan;
use super::view::{ViewRead, ViewSubscriptionRead};
use super::webhook::Secret;
use super::window::{LogWindow, RowLimit};
use super::write::WritePlan;
use crate::definition::DefinitionKind;
use crate::entity::{Entity, EventType, Position};
use crate::pattern::Pattern;
use crate::store::ChainHash;
use crate::time::Timestamp;

/// What a statement asks.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum LogicalPlan {
    Read {
        read: LogicalRead,
        /// What points turned out to mean, for people to read.
        notices: Vec<String>,
        /// How much of the log it sees, where it looks at that.
        as_of: Option<Position>,
        /// Events are read as they are stored.
        raw: bool,
    },
    Write(WritePlan),
    Subscribe(SubscriptionPlan),
    SubscribeView(ViewSubscriptionRead),
    /// `EXPLAIN`.
    Explain {
        plan: Box<LogicalPlan>,
        analyze: bool,
    },
}

/// What is read.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum LogicalRead {
    /// `EVENTS`, `HISTORY`.
    Events(EventsRead),
    /// `FIND`.
    Find(Box<FindQuery>),
    /// `READ`.
    View(Box<ViewRead>),
    Direct(DirectRead),
}

/// Events, and what is made of them.
#[derive(Debug, Clone)]
pub(crate) struct EventsRead {
    pub query: AccessQuery,
    /// How many of them are taken, and which way. What the query says of that is for choosing alone.
    pub take: RowLimit,
    /// `GROUP BY`, `SELECT` or `ORDER BY`; none where each is a row as it is.
    pub shape: Option<Shape>,
    /// Then there is a shape, and its rows are of items.
    pub unnest: Option<UnnestPlan>,
}

/// What is asked of the log.
#[derive(Debug, Clone)]
pub(crate) struct AccessQuery {
    /// None: of whatever type, the database's own too.
    pub pattern: Option<Pattern>,
    /// All of them must hold.
    pub by: Vec<By>,
    pub predicate: Option<Predicate>,
    pub window: LogWindow,
    /// How many are enough.
    pub take: RowLimit,
    /// Whether what `WHERE` says is looked for in indexes that are defined, too.
    pub indexed: bool,
}

/// What is read in one way only: there is nothing to choose.
#[derive(Debug, Clone)]
pub(crate) enum DirectRead {
    /// `AT`, `REPLAY`.
    State(ReplayPlan),
    /// `REPLAY … STEPS`.
    Steps(ReplayPlan),
    Blame(BlamePlan),
    FieldHistory(FieldHistoryPlan),
    /// The state at one point, and at another.
    Diff(ReplayPlan, ReplayPlan),
    Trace(TracePlan),
    /// What is known of a kind of entities, of a verb or of an index.
    Describe(String),
    /// Of a type of events.
    DescribeType(EventType),
    /// What is defined of a kind; of entities the kinds that only events are about, too.
    Definitions(DefinitionKind),
    Types,
    Subscriptions,
    Functions,
    Stats,
    Head,
    Verify,
    VerifyAgainst(VerifyAgainst),
    /// An event, and the position that the log goes up to: the newest, where none is said.
    Prove(Position, Option<Position>),
    /// The newest event and what hashes make of the log up to it, signed with a key.
    SignedHead(Secret),
}

/// What the log is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifyAgainst {
    pub chain: ChainHash,
    /// Where it was noted; anywhere, where that is not said.
    pub at: Option<Position>,
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
        ReplayPlan { entity, window: LogWindow::through(through), at: None, as_of: None, now: None }
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
    /// Where the leaves are that are asked for; anywhere, where that is not said.
    pub of: Option<StateField>,
    /// When that is looked at: the time that was asked about, or now.
    pub seen: Timestamp,
}

/// What changed a field of a state.
#[derive(Debug, Clone)]
pub(crate) struct FieldHistoryPlan {
    pub replay: ReplayPlan,
    pub of: StateField,
    /// Which of the events that changed it are told.
    pub window: LogWindow,
    pub predicate: Option<Predicate>,
    /// How many of them.
    pub take: RowLimit,
}
