//! Execution: a plan against a snapshot, or against the store.
//!
//! [`read()`] is given a snapshot and cannot write; [`write()`] is given the store. Rows are pulled: what nobody asks for is not
//! read, and what was read is not kept.

mod absence;
mod aggregate;
mod array_diff;
mod blame;
mod budget;
mod column;
mod compile;
mod cursor;
pub(crate) mod dead_letter;
mod define;
mod describe;
mod deviation;
mod diff;
mod dry_run;
pub(crate) mod eval;
mod event_schema;
mod explain;
mod field_history;
mod find;
mod fold;
mod group;
mod index;
mod model;
mod ordered;
mod parallel_scan;
mod parallel_states;
mod path;
mod percentile;
mod private;
pub(crate) mod program;
mod project;
pub(crate) mod reaction;
mod recurrence;
mod redefine;
mod repeat;
pub(crate) mod result;
pub(crate) mod scan;
pub(crate) mod schema_check;
mod show;
mod sort;
mod sum;
mod trace;
mod unnest;
mod verb;
mod view;
#[cfg(feature = "share")]
mod wire;
mod write;
mod zone_map;

#[cfg(test)]
mod tests;

pub use blame::BlameEntry;
pub(crate) use compile::Compiler;
pub use diff::{ChangeKind, StateChange};
pub(crate) use explain::explain;
pub use field_history::FieldChange;
pub use fold::ReplayStep;
pub(crate) use fold::state;
pub use path::StatePath;
pub(crate) use private::forgotten_event;
pub use result::{EntityState, QueryResult, Row, Rows};
pub(crate) use scan::EventScan;
pub(crate) use show::log_of;
#[cfg(feature = "signing")]
pub(crate) use show::sign;
pub use trace::TraceEntry;
pub(crate) use view::{Changing, ViewCaches, changing};
pub(crate) use write::write;

use crate::error::Result;
use crate::plan::{DirectRead, ReadKind, ReadPlan, Shape, Shaped};
use crate::store::snapshot::Snapshot;

/// Answers a read. `views` is what reads of views remember for each other.
pub(crate) fn read(snapshot: &Snapshot, views: &ViewCaches, plan: &ReadPlan) -> Result<QueryResult> {
    let stored = plan.raw.then(|| snapshot.stored());
    let snapshot = stored.as_ref().unwrap_or(snapshot);
    let mut answer = match &plan.kind {
        ReadKind::Events(events) => {
            QueryResult::rows(EventScan::new(snapshot, events)?.map(|event| Ok(event?.into())))
        }
        ReadKind::Shaped(shaped) => self::shaped(snapshot, shaped)?,
        ReadKind::Find(find) => find::answer(snapshot, find)?,
        ReadKind::View(plan) => view::answer(snapshot, views, plan)?,
        ReadKind::Direct(read) => direct(snapshot, read)?,
    };
    answer.notices.splice(0..0, plan.notices.iter().cloned());
    answer.as_of = plan.as_of;
    Ok(answer)
}

/// What is read in one way only.
fn direct(snapshot: &Snapshot, read: &DirectRead) -> Result<QueryResult> {
    Ok(match read {
        DirectRead::State(replay) => fold::answer(snapshot, replay)?,
        DirectRead::Steps(replay) => fold::steps(snapshot, replay)?,
        DirectRead::Blame(plan) => blame::answer(snapshot, plan)?,
        DirectRead::FieldHistory(plan) => field_history::answer(snapshot, plan)?,
        DirectRead::Trace(plan) => trace::answer(snapshot, plan)?,
        DirectRead::Diff(from, to) => diff::answer(snapshot, from, to)?,
        DirectRead::Definitions(kind) => show::definitions(snapshot, *kind)?,
        DirectRead::Describe(name) => describe::describe(snapshot, name)?,
        DirectRead::DescribeType(kind) => describe::describe_schema(snapshot, kind)?,
        DirectRead::Types => QueryResult::rows(show::types(snapshot)?),
        DirectRead::Subscriptions => QueryResult::rows(show::subscriptions(snapshot)),
        DirectRead::Functions => QueryResult::rows(show::functions()),
        DirectRead::Stats => QueryResult::row(show::stats(snapshot)?),
        DirectRead::Head => QueryResult::row(show::head(snapshot)?),
        DirectRead::Verify => QueryResult::rows(show::verify(snapshot)?),
        DirectRead::Prove(position, as_of) => QueryResult::row(show::prove(snapshot, *position, *as_of)?),
        DirectRead::SignedHead(secret) => QueryResult::row(show::signed_head(snapshot, secret)?),
        DirectRead::VerifyAgainst(against) => QueryResult::row(show::verify_against(snapshot, against)?),
    })
}

/// Rows of columns, or events in an order of their own.
fn shaped(snapshot: &Snapshot, Shaped { events, shape, columns, unnest }: &Shaped) -> Result<QueryResult> {
    if let Some(unnest) = unnest {
        return unnest::answer(snapshot, events, shape, unnest);
    }
    Ok(match shape {
        Shape::Select(columns) => QueryResult::rows(project::select(snapshot, events, columns.clone())?),
        Shape::Sort { order, limit, columns } => {
            QueryResult::rows(sort::rows(snapshot, events, order, *limit, columns.clone())?)
        }
        Shape::Group(group) => QueryResult::rows(group::rows(snapshot, events, group, columns.as_deref())?),
    })
}
