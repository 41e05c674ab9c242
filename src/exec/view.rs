//! Views: what works them out, and what is read of them.
//!
//! Groups are kept as what their aggregates keep, so that what comes later can be joined to them. Whoever reads takes what is kept up
//! to some position of the log and joins what comes behind it; and remembers the whole, as long as it is small, so that the
//! next read has nothing to do but to look whether the log has moved.

mod cache;
pub(super) mod encoded;
mod large;
mod read;

use std::sync::Arc;

pub(crate) use cache::ViewCaches;
use encoded::{decode, encode};
pub(crate) use read::{Changing, changing};
pub(super) use read::{answer, columns, percent, progress, show};

use super::budget::Budget;
use super::eval::{CandidateEntity, Scope};
use super::group::{GroupTable, Grouping};
use super::unnest::{UnnestRoot, UnnestWalk};
use crate::allowance::{Limits, Unmade};
use crate::entity::EntityStr;
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::plan;
use crate::plan::Predicate;
use crate::plan::shape::GroupPlan;
use crate::plan::view::{Selected, ViewPlan, ViewRows, ViewSource};
use crate::store::catalog::Derive;
use crate::store::index::term::IndexKey;
use crate::store::state::stored_state::StoredState;
use crate::store::view::{self, GroupDelta, Keeps, ViewGroups};

/// What works out the definition of a view: its name, and what it makes of the log.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn view::ViewMaterializer>)> {
    let view = plan::view_definition(text)?;
    Ok((view.name.clone(), Arc::new(ViewQuery { view })))
}

/// What a definition says.
#[derive(Debug)]
struct ViewQuery {
    view: ViewPlan,
}

impl view::ViewMaterializer for ViewQuery {
    fn keeps(&self) -> Keeps<'_> {
        match (&self.view.of, &self.view.shape) {
            (ViewSource::Events(_), ViewRows::Group(_)) => Keeps::Groups(self),
            (ViewSource::Events(events), _) => {
                Keeps::Events(&events.pattern, Arc::new(SelectedEvents(events.clone())))
            }
            (ViewSource::Entities { kind, predicate, .. }, _) => {
                let derive = Entities { kind: kind.clone(), predicate: predicate.clone() };
                Keeps::States(kind, Arc::new(derive))
            }
        }
    }
}

impl ViewQuery {
    /// Of which events its groups are, if it has groups of events.
    fn groups(&self) -> Option<(&Selected, &GroupPlan)> {
        match (&self.view.of, &self.view.shape) {
            (ViewSource::Events(events), ViewRows::Group(group)) => Some((events, group)),
            _ => None,
        }
    }
}

impl ViewGroups for ViewQuery {
    fn part<'e>(
        &self,
        events: &mut dyn Iterator<Item = Result<Record<'e>>>,
        limits: &Limits,
    ) -> Result<GroupDelta> {
        let Some((selected, group)) = self.groups() else { return Ok(GroupDelta::new()) };
        let grouping = Grouping::with(group, Arc::new(Budget::of_part(limits)), limits);
        let mut part = grouping.start();
        let mut any = false;
        for event in events {
            let event = event?;
            if selected.admits(&event, limits)? {
                any = true;
                add(&grouping, &mut part, selected, &event)?;
            }
        }
        if !any {
            return Ok(GroupDelta::new());
        }
        part.into_each().map(|(key, group)| Ok((key.into_vec(), encode(&group)?))).collect()
    }

    fn join(&self, kept: &[u8], later: &[u8]) -> Result<Vec<u8>> {
        // Both are small enough to be kept, or were made within a budget.
        let limits = Limits::default();
        let damaged = || Error::corrupt("a kept group of a view", "bytes that are none");
        let Some((_, plan)) = self.groups() else { return Err(damaged()) };
        let mut kept = decode(kept, plan).ok_or_else(damaged)?;
        let later = decode(later, plan).ok_or_else(damaged)?;
        Grouping::with(plan, Arc::new(Budget::endless()), &limits).join_one(&mut kept, later)?;
        encode(&kept)
    }
}

/// Adds an event of a view, or its items, to the groups.
fn add(grouping: &Grouping, groups: &mut GroupTable, events: &Selected, event: &Record) -> Result<()> {
    let limits = grouping.limits();
    match &events.unnest {
        Some(unnest) => UnnestWalk::new(unnest, limits)
            .each(UnnestRoot::Event(event), |scope| grouping.add(groups, scope)),
        None => grouping.add(groups, &Scope::of(event, limits)),
    }
}

/// The events that are rows.
struct SelectedEvents(Selected);

impl Derive for SelectedEvents {
    fn keys(&self, event: &Record, limits: &Limits, found: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        if self.0.admits(event, limits)? {
            found.push(plan::row_key());
        }
        Ok(())
    }
}

/// The entities that are rows.
struct Entities {
    kind: String,
    predicate: Option<Predicate>,
}

impl Derive for Entities {
    fn keys(&self, _: &Record, _: &Limits, _: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        Ok(())
    }

    fn is_of_states(&self) -> bool {
        true
    }

    fn keys_of_state(
        &self,
        id: &str,
        kept: &StoredState,
        limits: &Limits,
        found: &mut Vec<IndexKey>,
    ) -> Result<bool, Unmade> {
        let entity = CandidateEntity { target: EntityStr { kind: &self.kind, id }, kept };
        let wanted = match &self.predicate {
            _ if kept.state.is_null() => false,
            None => true,
            Some(predicate) => {
                let scope = Scope::found(&entity, limits);
                let truth = scope.truth(&predicate.node);
                scope.allowance().made()?;
                truth == Some(true)
            }
        };
        if wanted {
            found.push(plan::row_key());
        }
        Ok(true)
    }
}
