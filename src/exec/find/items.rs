//! `FIND … UNNEST`: rows of the items of lists in states.

use std::sync::Arc;

use super::{EntityRows, gather};
use crate::error::Result;
use crate::exec::eval::{CandidateEntity, Scope};
use crate::exec::group::{GroupTable, Grouping};
use crate::exec::parallel_scan::ParallelScan;
use crate::exec::parallel_states::Gathering;
use crate::exec::result::QueryResult;
use crate::exec::sort::{Sorting, TopK};
use crate::exec::unnest::{self, OwnedEntity, OwnedRoot, SortedRow, UnnestRoot, UnnestedPart, UnnestedRows};
use crate::plan::access_path::find::FindPlan;
use crate::plan::shape::Shape;
use crate::plan::unnest::UnnestPlan;
use crate::store::snapshot::Snapshot;

/// The rows of items of states.
pub(super) fn rows(
    snapshot: &Snapshot,
    find: &Arc<FindPlan>,
    shape: &Shape,
    unnest: &Arc<UnnestPlan>,
) -> Result<QueryResult> {
    let limits = snapshot.query_limits();
    Ok(match shape {
        Shape::Select(columns) => {
            let make = |found: &CandidateEntity| {
                let held = found.kept.state.0.len();
                Ok((OwnedRoot::Entity(Box::new(OwnedEntity::new(found))), held))
            };
            let roots = EntityRows::new(snapshot, find, make)?;
            UnnestedRows::new(Box::new(roots), unnest.clone(), columns.clone(), limits).begun("state")
        }
        Shape::Sort { order, limit, columns } => {
            let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let (sorting, columns) =
                (Sorting::new(snapshot, order, most), columns.as_deref().unwrap_or_default());
            let take =
                |part: &mut UnnestedPart<TopK<SortedRow<String>>>, id: &str, found: &CandidateEntity| {
                    part.take((unnest, &limits), UnnestRoot::Entity(found), |best, scope, place| {
                        best.offer_row(&sorting, scope, columns, (id.to_owned(), place))
                    })
                };
            let join = |whole: &mut UnnestedPart<_>, later| {
                let (whole, later) = whole.join(later);
                sorting.join_best(whole, later);
                Ok(())
            };
            let begin = || UnnestedPart::new(TopK::default(), unnest);
            let found = gather(snapshot, find, None, Gathering { begin, take, join })?;
            let notices = found.notices(unnest, "state");
            QueryResult { notices, ..unnest::sorted(found.part) }
        }
        Shape::Group(group) => {
            let grouping = Grouping::new(snapshot, group);
            let found = groups(snapshot, find, unnest, &grouping)?;
            let notices = found.notices(unnest, "state");
            QueryResult { notices, ..QueryResult::rows(grouping.rows(found.part)?) }
        }
    })
}

/// The groups of items of states.
pub(super) fn groups(
    snapshot: &Snapshot,
    find: &FindPlan,
    unnest: &UnnestPlan,
    grouping: &Grouping,
) -> Result<UnnestedPart<GroupTable>> {
    let limits = snapshot.query_limits();
    let take = |part: &mut UnnestedPart<GroupTable>, _: &str, found: &CandidateEntity| {
        let add = |groups: &mut GroupTable, scope: &Scope, _| grouping.add(groups, scope);
        part.take((unnest, &limits), UnnestRoot::Entity(found), add)
    };
    let join = |whole: &mut UnnestedPart<_>, later| {
        let (whole, later) = whole.join(later);
        grouping.join(whole, later)
    };
    let begin = || UnnestedPart::new(grouping.start(), unnest);
    gather(snapshot, find, None, Gathering { begin, take, join })
}
