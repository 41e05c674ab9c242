//! `HISTORY … OF`: the events that changed a field of a state, and what it was before and after each.
//!
//! The events of the entity are folded in the order of the log, and of each state only that field is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::budget::{Budget, ENTRY};
use super::eval::member;
use super::fold::{self, FoldEvents};
use super::path::StatePath;
use super::result::{QueryResult, Row};
use crate::error::Result;
use crate::event::Event;
use crate::plan::{FieldHistoryPlan, RowLimit};
use crate::store::snapshot::{Folding, Snapshot};
use crate::store::state::fold::{Fold, Folded};
use crate::value::Value;

/// An event that changed a field of a state, and what it changed.
///
/// Serializes as `{"path","before","after","event"}`, without what was not there.
///
/// ```
/// use bygone::{Db, Row};
/// let db = Db::in_memory()?;
/// db.query("EMIT Order.placed 42 {status: 'open', total: 10}")?;
/// db.query("EMIT Order.noted 42 {total: 12}")?;
/// db.query("EMIT Order.paid 42 {status: 'paid'}")?;
/// let mut told = Vec::new();
/// for row in db.query("HISTORY Order 42 OF state.status")?.rows {
///     let Row::FieldChange(change) = row? else { continue };
///     told.push((change.before, change.after, change.event.position.0));
/// }
/// assert_eq!(told, [(None, Some("open".into()), 1), (Some("open".into()), Some("paid".into()), 3)]);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FieldChange {
    /// Where the field is in the state.
    pub path: StatePath,
    /// What was there; none where there was nothing.
    pub before: Option<Value>,
    /// What is there since.
    pub after: Option<Value>,
    /// What happened.
    pub event: Event,
}

impl FieldChange {
    pub(super) fn new(
        path: StatePath,
        (before, after): (Option<Value>, Option<Value>),
        event: Event,
    ) -> FieldChange {
        FieldChange { path, before, after, event }
    }
}

impl Serialize for FieldChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.path)?;
        if let Some(before) = &self.before {
            map.serialize_entry("before", before)?;
        }
        if let Some(after) = &self.after {
            map.serialize_entry("after", after)?;
        }
        map.serialize_entry("event", &self.event)?;
        map.end()
    }
}

/// `HISTORY … OF`.
pub(super) fn answer(snapshot: &Snapshot, plan: &FieldHistoryPlan) -> Result<QueryResult> {
    let mut changes = FieldChanges::new(snapshot, plan)?;
    let first = changes.next().transpose()?;
    let mut notices = Vec::new();
    if first.is_none() {
        let none = match changes.folded.events {
            0 => fold::why_none(snapshot, &plan.replay, &changes.folded)?,
            _ => None,
        };
        let entity = &plan.replay.entity;
        notices.push(match none {
            Some(none) => none.notice(entity),
            None if changes.is_changed => {
                format!("none of the events asked for changed {} of {entity}", plan.of)
            }
            None => format!("no event of {entity} changed {}", plan.of),
        });
    }
    let all = first.into_iter().map(Ok).chain(changes);
    let rows: Box<dyn Iterator<Item = Result<FieldChange>> + Send> = match plan.take {
        RowLimit::All => Box::new(all),
        RowLimit::First(most) => Box::new(all.take(usize::try_from(most).unwrap_or(usize::MAX))),
        RowLimit::Last(most) | RowLimit::Newest(most) => {
            Box::new(last(snapshot, all, most)?.into_iter().map(Ok))
        }
    };
    Ok(QueryResult { notices, ..QueryResult::rows(rows.map(|change| Ok(Row::FieldChange(change?)))) })
}

/// The last so many, which are held meanwhile.
fn last(
    snapshot: &Snapshot,
    all: impl Iterator<Item = Result<FieldChange>>,
    most: u64,
) -> Result<VecDeque<FieldChange>> {
    let budget = Budget::new(snapshot, "HISTORY");
    let mut held: VecDeque<FieldChange> = VecDeque::new();
    for change in all {
        let change = change?;
        budget.take(weight(&change))?;
        held.push_back(change);
        if held.len() as u64 > most
            && let Some(gone) = held.pop_front()
        {
            budget.give(weight(&gone));
        }
    }
    Ok(held)
}

fn weight(change: &FieldChange) -> usize {
    let values = [&change.before, &change.after].into_iter().flatten().map(Value::weight).sum::<usize>();
    8 * ENTRY + values + change.event.data.raw().0.len() + change.event.metadata.raw().0.len()
}

/// The events that changed it, one after another.
struct FieldChanges {
    snapshot: Snapshot,
    plan: FieldHistoryPlan,
    path: StatePath,
    fold: Arc<dyn Fold>,
    events: FoldEvents,
    folded: Folded,
    /// What is there since the event before.
    now: Option<Value>,
    /// Whether an event changed it, be it told or not.
    is_changed: bool,
    /// There is no more, or something is wrong.
    is_over: bool,
}

impl FieldChanges {
    fn new(snapshot: &Snapshot, plan: &FieldHistoryPlan) -> Result<FieldChanges> {
        let fold = snapshot.fold_of(plan.replay.entity.kind())?;
        Ok(FieldChanges {
            events: FoldEvents::all(snapshot, &plan.replay, &fold)?,
            snapshot: snapshot.clone(),
            path: StatePath::from(&plan.of),
            plan: plan.clone(),
            fold,
            folded: Folded::default(),
            now: None,
            is_changed: false,
            is_over: false,
        })
    }

    /// What an event changed, if that is asked for.
    fn change(&mut self, event: &Folding) -> Result<Option<FieldChange>> {
        let FieldHistoryPlan { replay, of, window, predicate, .. } = &self.plan;
        let (record, limits) = (event.record()?, self.snapshot.limits());
        self.folded.add(&*self.fold, &record, event.own, &limits)?;
        self.folded.check(&replay.entity)?;
        let after = member(&self.folded.state, of.steps());
        if after == self.now.as_ref() {
            return Ok(None);
        }
        self.is_changed = true;
        let after = after.cloned();
        let before = std::mem::replace(&mut self.now, after.clone());
        let is_told = event.position > window.after
            && window.occurred(record.timestamp())
            && predicate.as_ref().map_or(Ok(true), |predicate| predicate.holds(&record, &limits))?;
        if !is_told {
            return Ok(None);
        }
        Ok(Some(FieldChange::new(self.path.clone(), (before, after), record.to_event(&event.bytes)?)))
    }
}

impl Iterator for FieldChanges {
    type Item = Result<FieldChange>;

    fn next(&mut self) -> Option<Result<FieldChange>> {
        while !self.is_over {
            let found = match self.events.next() {
                Some(event) => event.and_then(|event| {
                    self.snapshot.go_on()?;
                    self.change(&event)
                }),
                None => break,
            };
            self.is_over = found.is_err();
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
        self.is_over = true;
        None
    }
}
