//! Views: a query whose answer is kept, and what is read of it.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::by::By;
use super::expr::Predicate;
use super::find::FindQuery;
use super::logical::EventsRead;
use super::shape::{GroupPlan, OutputColumn, SortKey, limit, order};
use super::subscription::SubscriptionEnd;
use super::unnest::UnnestPlan;
use super::window::LogWindow;
use crate::allowance::{Limits, Unmade};
use crate::entity::Position;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::store::catalog::DefinedView;

/// What is defined of a view. It follows from the log alone.
#[derive(Debug, Clone)]
pub(crate) struct ViewPlan {
    pub name: String,
    pub of: ViewSource,
    pub shape: ViewRows,
}

/// What a view is made of.
#[derive(Debug, Clone)]
pub(crate) enum ViewSource {
    Events(Selected),
    Entities { kind: String, predicate: Option<Predicate>, unnest: Option<UnnestPlan> },
}

/// Events, by what each of them is.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    pub pattern: Pattern,
    /// All of them must hold. None is of an index that somebody defines.
    pub by: Vec<By>,
    pub predicate: Option<Predicate>,
    pub window: LogWindow,
    /// Of which items of theirs the rows are, where they are not of the events.
    pub unnest: Option<UnnestPlan>,
}

/// What the rows of a view are.
#[derive(Debug, Clone)]
pub(crate) enum ViewRows {
    /// The events, or the entities, as they are.
    Whole,
    /// A row of each.
    Select(Vec<OutputColumn>),
    /// A row of each group of them.
    Group(Box<GroupPlan>),
}

impl ViewPlan {
    /// The names of the columns of its rows; none where those are events or entities.
    pub fn columns(&self) -> &[OutputColumn] {
        match &self.shape {
            ViewRows::Whole => &[],
            ViewRows::Select(columns) => columns,
            ViewRows::Group(group) => &group.columns,
        }
    }
}

impl Selected {
    /// Whether an event is one of them.
    pub fn admits(&self, event: &Record, limits: &Limits) -> Result<bool, Unmade> {
        let position = event.position();
        if !(self.pattern.matches_bytes(event.kind_bytes())
            && position > self.window.after
            && position <= self.window.through
            && (!self.window.is_timed() || self.window.occurred(event.timestamp())))
        {
            return Ok(false);
        }
        for by in &self.by {
            if !by.holds(event, limits)? {
                return Ok(false);
            }
        }
        self.predicate.as_ref().map_or(Ok(true), |predicate| predicate.holds(event, limits))
    }
}

/// `READ`.
#[derive(Debug, Clone)]
pub(crate) struct ViewRead {
    pub view: Arc<DefinedView>,
    /// A newer definition, which this one answers for until it is complete.
    pub newer: Option<Position>,
    /// The log is read up to here.
    pub through: Position,
    /// Whether it is of entities and leaves out any of its kind.
    pub narrows: bool,
    pub rows: RowQuery,
}

/// Which rows.
#[derive(Debug, Clone)]
pub(crate) enum RowQuery {
    /// Each is an event of the view.
    Events(EventsRead),
    /// Each is an entity.
    Entities(FindQuery),
    Groups(Box<GroupQuery<FindQuery>>),
}

/// Groups that are wanted of a view. `F` is how entities are said: what is asked, or how it is come by.
#[derive(Debug, Clone)]
pub(crate) struct GroupQuery<F> {
    pub of: GroupsOf<F>,
    /// As it is defined: in the order of its keys, and all of them.
    pub group: GroupPlan,
    /// The log is read up to here.
    pub through: Position,
    /// Nothing says where: a newer answer that somebody else has made is as good.
    pub latest: bool,
    /// `WHERE`, of a group.
    pub predicate: Option<Predicate>,
    pub order: Vec<SortKey>,
    pub limit: Option<u64>,
    /// `SELECT`; else its rows are as they are defined.
    pub columns: Option<Vec<OutputColumn>>,
}

#[derive(Debug, Clone)]
pub(crate) enum GroupsOf<F> {
    Events(Box<Selected>),
    Entities(Box<F>),
}

/// `SUBSCRIBE VIEW`.
#[derive(Debug, Clone)]
pub(crate) struct ViewSubscriptionRead {
    pub read: ViewRead,
    pub until: Option<SubscriptionEnd>,
    /// Of rows.
    pub limit: Option<u64>,
}

impl<F: Display> Display for GroupQuery<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(predicate) = &self.predicate {
            write!(f, "\n  where {}", predicate.text)?;
        }
        if !self.order.is_empty() {
            write!(f, "\n  sort by {}", order(&self.order))?;
        }
        limit(f, self.limit)?;
        write!(f, "\n{}\nof ", self.group)?;
        match &self.of {
            GroupsOf::Entities(find) => find.fmt(f),
            GroupsOf::Events(events) => {
                events.unnest.iter().try_for_each(|unnest| write!(f, "{unnest}\nof "))?;
                write!(f, "events of a type like '{}'", events.pattern)?;
                events.by.iter().try_for_each(|by| write!(f, "\n  by {by}"))?;
                events.predicate.iter().try_for_each(|predicate| write!(f, "\n  where {}", predicate.text))
            }
        }
    }
}
