//! Views that are read: what is kept of them, and which of their indexes lead to their rows.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::candidates::{COUNTED, Candidates, IndexQuestion, key_ranges};
use super::find::{self, FindPlan};
use super::physical::ReadKind;
use crate::entity::{NameText, Position};
use crate::error::Result;
use crate::plan::bind::row_key;
use crate::plan::by::{By, Derived, Tagged, Test};
use crate::plan::find::FindQuery;
use crate::plan::logical::EventsRead;
use crate::plan::subscription::SubscriptionEnd;
use crate::plan::view::{GroupQuery, GroupsOf, RowQuery, ViewRead, ViewSubscriptionRead};
use crate::store::catalog::DefinedView;
use crate::store::snapshot::Snapshot;

/// `READ`.
#[derive(Debug, Clone)]
pub(crate) struct ReadView {
    pub view: Arc<DefinedView>,
    /// A newer definition, which this one answers for until it is complete.
    pub newer: Option<Position>,
    /// Up to where it is kept, and the head that is read, for people.
    pub kept: (Option<Position>, Position),
    pub rows: RowSelection,
}

/// Which rows.
#[derive(Debug, Clone)]
pub(crate) enum RowSelection {
    /// Each is an event or an entity: an index leads to them.
    Each(Box<ReadKind>),
    Groups(Box<ReadGroups>),
}

/// Groups, of events or of entities that are come by so.
pub(crate) type ReadGroups = GroupQuery<FindPlan>;

/// `SUBSCRIBE VIEW`.
#[derive(Debug, Clone)]
pub(crate) struct ViewSubscriptionPlan {
    pub read: ReadView,
    pub until: Option<SubscriptionEnd>,
    /// Of rows.
    pub limit: Option<u64>,
}

/// Chooses how to come by what is asked of a view.
pub(super) fn plan(snapshot: &Snapshot, read: ViewRead) -> Result<ReadView> {
    let ViewRead { view, newer, through, narrows, rows } = read;
    let finds = |query| entities(snapshot, &view, narrows, query);
    let rows = match rows {
        RowQuery::Events(events) => RowSelection::Each(Box::new(self::events(snapshot, &view, events)?)),
        RowQuery::Entities(query) => RowSelection::Each(Box::new(ReadKind::Find(Arc::new(finds(query)?)))),
        RowQuery::Groups(groups) => {
            let GroupQuery { of, group, through, latest, predicate, order, limit, columns } = *groups;
            let of = match of {
                GroupsOf::Events(events) => GroupsOf::Events(events),
                GroupsOf::Entities(query) => GroupsOf::Entities(Box::new(finds(*query)?)),
            };
            let groups = GroupQuery { of, group, through, latest, predicate, order, limit, columns };
            RowSelection::Groups(Box::new(groups))
        }
    };
    let kept = snapshot.until(through).kept_through(view.position)?;
    Ok(ReadView { view, newer, kept: (kept, through), rows })
}

pub(super) fn subscription(snapshot: &Snapshot, asked: ViewSubscriptionRead) -> Result<ViewSubscriptionPlan> {
    let ViewSubscriptionRead { read, until, limit } = asked;
    Ok(ViewSubscriptionPlan { read: plan(snapshot, read)?, until, limit })
}

/// Events that the index of the view leads to.
fn events(snapshot: &Snapshot, view: &DefinedView, mut events: EventsRead) -> Result<ReadKind> {
    if let Some(index) = &view.index {
        events.query.by.push(By::Tag(Tagged {
            name: view.name.clone(),
            test: Test::Is(row_key()),
            index: Some(Derived(index.clone())),
            own: false,
        }));
    }
    super::events(snapshot, events, false)
}

/// Entities: come by as the query of the view would, or by the index of the view, whatever is less.
fn entities(snapshot: &Snapshot, view: &DefinedView, narrows: bool, query: FindQuery) -> Result<FindPlan> {
    let find = find::plan(snapshot, query)?;
    let Some(own) = view.finder.as_ref().filter(|_| narrows && find.query.as_of.is_none()) else {
        return Ok(find);
    };
    if let Candidates::Ids(_) = find.source {
        return Ok(find);
    }
    let ranges = key_ranges(own, &Test::Is(row_key()));
    let source = match (snapshot.count_found(own, &ranges, COUNTED)?, find.source) {
        (Some(counted), source) if source.estimate().is_some_and(|own| own <= counted.entries) => source,
        (Some(counted), _) => {
            let asked = IndexQuestion::RowsOf(view.name.clone());
            let ranges = ranges.into_iter().chain([own.faulty()]).collect();
            let (finder, estimate) = (own.clone(), counted.entries);
            Candidates::Index { finder, ranges, asked, estimate, found: counted.ids }
        }
        (None, source) => source,
    };
    let first = find.first.filter(|first| source.gain_from(first));
    Ok(FindPlan { source, first, ..find })
}

impl Display for ReadView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let view = &self.view;
        write!(f, "read the view {}, defined at {}", NameText(&view.name), view.position)?;
        if let Some(newer) = self.newer {
            write!(f, ", until that of {newer} is complete")?;
        }
        match &self.rows {
            RowSelection::Each(_) if view.is_complete() => f.write_str("\n  which rows it has is kept")?,
            RowSelection::Each(_) => {
                f.write_str("\n  which rows it has is worked out, as long as it is being built")?;
            }
            RowSelection::Groups(groups) => match (&groups.of, self.kept) {
                (GroupsOf::Entities(_), _) => {
                    f.write_str(
                        "\n  its groups are made of all kept states, and remembered until one changes",
                    )?;
                }
                (_, (Some(kept), through)) if kept >= through => f.write_str("\n  kept up to the head")?,
                (_, (Some(kept), through)) => {
                    let more = through.since(kept);
                    write!(f, "\n  kept up to {kept}, and {more} events behind it are worked out, once")?;
                }
                (_, (None, through)) => {
                    write!(f, "\n  not kept as of then: it is worked out of the log up to {through}")?;
                }
            },
        }
        match &self.rows {
            RowSelection::Each(read) => match &**read {
                ReadKind::Events(events) => write!(f, "\n{events}"),
                ReadKind::Shaped(shaped) => write!(f, "\n{shaped}"),
                ReadKind::Find(find) => write!(f, "\n{find}"),
                // There are no other rows.
                _ => Ok(()),
            },
            RowSelection::Groups(groups) => groups.fmt(f),
        }
    }
}

impl Display for ViewSubscriptionPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "its rows, and from then on those that change\n{}", self.read)
    }
}
