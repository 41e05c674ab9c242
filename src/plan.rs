//! Plans: statements with everything looked up that can be looked up before they run.
//!
//! [`bind`] resolves names, parameters and points, and checks what the grammar cannot: what comes of it is a [`LogicalPlan`](logical::LogicalPlan),
//! which says what is asked. [`access_path`] looks at a snapshot and says how that is come by: which lists, which index, which runs of
//! the log. The [`Plan`] is what is left to do, and its `Display` is what `EXPLAIN` prints.
//!
//! These are rooms, one above the other: expressions, what plans say, binding, access paths. `tests/floors.rs` holds that each uses only
//! what is below it, and that nothing below access paths looks at a snapshot but by [`Names`].

mod absence;
pub(crate) mod access_path;
pub(crate) mod bind;
mod by;
pub(crate) mod column;
pub(crate) mod cron;
pub(crate) mod datum;
pub(crate) mod event_schema;
mod explain;
pub(crate) mod expr;
mod fault;
pub(crate) mod field;
pub(crate) mod find;
pub(crate) mod forgotten;
pub(crate) mod function;
mod logical;
pub(crate) mod model;
mod moment;
pub(crate) mod order;
mod parameters;
mod past_tense;
pub(crate) mod program;
pub(crate) mod reaction;
pub(crate) mod shape;
mod subscription;
pub(crate) mod unnest;
pub(crate) mod verb;
pub(crate) mod view;
pub(crate) mod webhook;
mod window;
pub(crate) mod write;

use serde::Serialize;

use crate::entity::Position;
use crate::error::Result;
use crate::lang::ast::{Query, ReadStmt, Stmt};
use crate::store::snapshot::Snapshot;
use crate::time::Timestamp;

pub(crate) use absence::AbsenceCheck;
pub(crate) use access_path::{
    AccessPath, Bitmap, EventsPlan, Explain, Gathered, Plan, PositionSource, ReadKind, ReadPlan, Shaped,
    Times, choose,
};
#[cfg(test)]
pub(crate) use access_path::{FORCED, Forced};
pub(crate) use bind::{
    BindInput, BoundOnce, column_definition, compares_instants, entity_definition, event_schema,
    index_expression, private_definition, program_definition, reaction_definition, row_key,
    schedule_definition, verb_definition, view_definition, webhook_definition,
};
pub(crate) use by::By;
pub(crate) use expr::Predicate;
pub(crate) use logical::{
    AccessQuery, BlamePlan, DirectRead, FieldHistoryPlan, ReplayPlan, TracePlan, VerifyAgainst,
};
pub use moment::PointInTime;
pub(crate) use moment::ResolvedPoint;
pub use parameters::Parameters;
pub(crate) use shape::Shape;
pub(crate) use subscription::{SubscriptionEnd, SubscriptionPlan};
pub(crate) use window::{LogWindow, RowLimit};
pub(crate) use write::{
    Append, AppendAction, Define, Defined, Drop, DropTarget, EmitPlan, EventOwner, Forget, OccurredAt,
    PerformPlan, Settle, WritePlan,
};

use bind::Names;

/// Makes a plan of a statement: binds it, and chooses how what it asks is come by.
pub(crate) fn prepare(statement: &Stmt, input: BindInput, snapshot: &Snapshot) -> Result<Plan> {
    let asked = bind::bind(statement, input, Names::of(snapshot))?;
    access_path::plan(snapshot, asked)
}

/// The same of one that is run again and again, by what it was bound to before where that is the same.
pub(crate) fn prepare_again(
    statement: &Stmt,
    bound: Option<&BoundOnce>,
    input: BindInput,
    snapshot: &Snapshot,
) -> Result<Plan> {
    let (Stmt::Read(ReadStmt::Query(Query::Find { kind, clauses })), Some(bound)) = (statement, bound) else {
        return prepare(statement, input, snapshot);
    };
    let asked = bound.find(kind, clauses, input, Names::of(snapshot))?;
    access_path::plan(snapshot, asked)
}

/// What a statement names that the log does not have. A statement that is wrong has none: its error says more.
pub(crate) fn hints(statement: &Stmt, input: BindInput, snapshot: &Snapshot) -> Result<Vec<String>> {
    bind::hints(statement, input, Names::of(snapshot))
}

/// The newest position that was recorded before an instant.
pub(crate) fn recorded_before(snapshot: &Snapshot, time: Timestamp) -> Result<Position> {
    bind::recorded(Names::of(snapshot), time, true)
}

/// A condition on events, as a program says it.
pub(crate) fn event_condition(
    snapshot: &Snapshot,
    text: &str,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Predicate> {
    bind::event_condition(Names::of(snapshot), text, parameters, now)
}

/// `BY name = value`, as a program says it.
pub(crate) fn tagged<T: Serialize>(snapshot: &Snapshot, name: &str, value: &T) -> Result<By> {
    bind::tagged(Names::of(snapshot), name, value)
}
