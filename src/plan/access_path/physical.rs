//! The plan of a statement: what is left to do once it is known how what it asks is come by.

use std::sync::Arc;

use super::AccessPath;
use super::column::ColumnScanPlan;
use super::find::FindPlan;
use super::view::{ReadView, ViewSubscriptionPlan};
use crate::entity::Position;
use crate::plan::expr::Predicate;
use crate::plan::logical::DirectRead;
use crate::plan::shape::Shape;
use crate::plan::subscription::SubscriptionPlan;
use crate::plan::unnest::UnnestPlan;
use crate::plan::window::{LogWindow, RowLimit};
use crate::plan::write::WritePlan;

/// What is to be done.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one plan, and it is matched on more often than moved
pub(crate) enum Plan {
    Read(ReadPlan),
    Write(WritePlan),
    Subscribe(SubscriptionPlan),
    SubscribeView(ViewSubscriptionPlan),
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
    /// How much of the log it sees, where it looks at that.
    pub as_of: Option<Position>,
    /// Events are read as they are stored.
    pub raw: bool,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a statement has one
pub(crate) enum ReadKind {
    /// `EVENTS`, `HISTORY`.
    Events(EventsPlan),
    /// The same with `GROUP BY`, `SELECT` or `ORDER BY`.
    Shaped(Box<Shaped>),
    /// `FIND`.
    Find(Arc<FindPlan>),
    /// `READ`.
    View(Box<ReadView>),
    /// There is one way only.
    Direct(DirectRead),
}

/// Events in the order of the log.
#[derive(Debug, Clone)]
pub(crate) struct EventsPlan {
    pub access: AccessPath,
    pub window: LogWindow,
    pub predicate: Option<Predicate>,
    pub take: RowLimit,
}

/// Events, made into rows.
#[derive(Debug, Clone)]
pub(crate) struct Shaped {
    pub events: EventsPlan,
    pub shape: Shape,
    /// What columns say of them; none where they are read.
    pub columns: Option<Arc<ColumnScanPlan>>,
    /// Of which items of theirs the rows are, where they are not of the events.
    pub unnest: Option<Arc<UnnestPlan>>,
}
