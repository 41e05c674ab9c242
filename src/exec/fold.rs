//! States: what an entity is at a point, and step by step.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::diff::{StateChange, diff};
use super::result::{EntityState, QueryResult, Row};
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::Result;
use crate::event::Event;
use crate::plan::{LogWindow, ReplayPlan};
use crate::store::snapshot::{FoldBound, Folding, Snapshot, Stream};
use crate::store::state::fold::{Effect, Fold, Folded};
use crate::time::Timestamp;
use crate::value::Value;

/// How many positions are looked at for a deletion at first; then four times as many, and so on.
const LOOKED_AT: u64 = 16;

/// A step of a replay: an event, and the state after it.
///
/// Serializes as `{"event","state","changes","late"}`, with `"included":true` where the event is another entity's.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReplayStep {
    /// What happened.
    pub event: Event,
    /// The state after it; null after a deletion.
    pub state: Value,
    /// What it changed.
    pub changes: Vec<StateChange>,
    /// Something that occurred after it was folded before it.
    pub late: bool,
    /// It is another entity's, and joins the fold because the definition of this one includes it.
    pub included: bool,
}

impl Serialize for ReplayStep {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", &self.event)?;
        map.serialize_entry("state", &self.state)?;
        map.serialize_entry("changes", &self.changes)?;
        map.serialize_entry("late", &self.late)?;
        if self.included {
            map.serialize_entry("included", &true)?;
        }
        map.end()
    }
}

/// `AT`, `REPLAY`.
pub(super) fn answer(snapshot: &Snapshot, replay: &ReplayPlan) -> Result<QueryResult> {
    let (replay, ahead) = &of_now(snapshot, replay)?;
    let folded = folded(snapshot, replay)?;
    let none = why_none(snapshot, replay, &folded)?;
    // The row itself says that there are no events.
    let notice = none.as_ref().filter(|none| !matches!(none, Stateless::Unknown));
    let notice = notice.map(|none| none.notice(&replay.entity));
    let mut answer = QueryResult::row(Row::State(told(replay, folded, none.as_ref())));
    answer.notices.extend(notice);
    answer.notices.extend(ahead.clone());
    Ok(answer)
}

/// A replay with its instant in its window, where it is of now and events of the entity are dated ahead; and what is told of them.
///
/// The rule of states: an answer about one entity, at no point that was said, is of what has occurred by now. What decides and what is kept
/// (guards, verbs, sets of entities) goes by all that is recorded, so that it does not change by itself.
pub(super) fn of_now(snapshot: &Snapshot, replay: &ReplayPlan) -> Result<(ReplayPlan, Option<String>)> {
    let mut replay = replay.clone();
    let Some(now) = replay.now.take() else { return Ok((replay, None)) };
    // Nearly always nothing is dated ahead, and this is what is kept of it.
    let all = snapshot.fold(&replay.entity, replay.window.until())?;
    let Some(latest) = all.latest.filter(|latest| *latest > now) else { return Ok((replay, None)) };
    replay.window.by = Some(now);
    let occurred = snapshot.fold(&replay.entity, replay.window.until())?;
    let entity = &replay.entity;
    let (events, last) = match all.events - occurred.events {
        1 => (format!("1 event of {entity} is dated ahead"), "to"),
        many => (format!("{many} events of {entity} are dated ahead"), "up to"),
    };
    let notice = format!(
        "{events}, {last} {latest}, and left out until then; by all that is recorded (REPLAY) it is at {}",
        place(&all)
    );
    Ok((replay, Some(notice)))
}

impl LogWindow {
    /// What of it there is for a fold, which begins at the start.
    pub(super) fn until(&self) -> FoldBound {
        FoldBound { through: self.through, by: self.by }
    }
}

/// The state of an entity.
pub(crate) fn state(snapshot: &Snapshot, replay: &ReplayPlan) -> Result<EntityState> {
    let folded = folded(snapshot, replay)?;
    let none = if folded.events == 0 { why_none(snapshot, replay, &folded)? } else { None };
    Ok(told(replay, folded, none.as_ref()))
}

fn told(replay: &ReplayPlan, folded: Folded, none: Option<&Stateless>) -> EntityState {
    EntityState {
        target: replay.entity.clone(),
        version: Version(folded.version),
        events: folded.events,
        at: replay.at.map(Into::into),
        as_of: replay.as_of.map(Into::into),
        state: folded.state,
        first: match none {
            Some(Stateless::Before { occurred, .. }) => Some(*occurred),
            _ => None,
        },
    }
}

/// What an entity's events have made, which is a state, or none.
pub(super) fn folded(snapshot: &Snapshot, replay: &ReplayPlan) -> Result<Folded> {
    let folded = snapshot.fold(&replay.entity, replay.window.until())?;
    folded.check(&replay.entity)?;
    Ok(folded)
}

/// How far a fold went, for people to read.
pub(super) fn place(folded: &Folded) -> String {
    let through = folded.position;
    match (folded.events, folded.version) {
        (0, _) => "no event".to_owned(),
        (_, 0) => format!("included events through {through}"),
        (_, version) => format!("{} through {through}", Version(version)),
    }
}

/// Why there is no state.
#[derive(Debug)]
pub(super) enum Stateless {
    /// It has no events.
    Unknown,
    /// Its first event is later.
    Before {
        position: Position,
        occurred: Timestamp,
        recorded: Option<Timestamp>,
    },
    Deleted {
        position: Position,
        kind: String,
    },
    /// No event made one.
    Unmade,
}

impl Stateless {
    pub fn notice(&self, entity: &Entity) -> String {
        match self {
            Stateless::Unknown => format!("{entity} has no events"),
            Stateless::Before { position, occurred, recorded: None } => {
                format!("{entity} has its first event at {occurred}: {position}")
            }
            Stateless::Before { position, occurred, recorded: Some(recorded) } => {
                format!("{entity} has its first event at {occurred}: {position}, recorded at {recorded}")
            }
            Stateless::Deleted { position, kind } => format!("{entity} was deleted by {position} {kind}"),
            Stateless::Unmade => format!("{entity} has no state: none of its events makes one"),
        }
    }
}

/// Why there is no state, if there is none.
pub(super) fn why_none(
    snapshot: &Snapshot,
    replay: &ReplayPlan,
    folded: &Folded,
) -> Result<Option<Stateless>> {
    if folded.state != Value::Null {
        return Ok(None);
    }
    let fold = snapshot.fold_of(replay.entity.kind())?;
    Ok(Some(match folded.events {
        0 => earliest(snapshot, replay, &fold)?.unwrap_or(Stateless::Unknown),
        _ => deletion(snapshot, replay, &fold, folded)?.unwrap_or(Stateless::Unmade),
    }))
}

/// The first event of an entity of which nothing was folded.
///
/// Where the time is why, that is the one of the log asked about that occurred first; it takes as much to find as there was to
/// read for the fold. Where the log asked about has none at all, it is the next one recorded.
fn earliest(snapshot: &Snapshot, replay: &ReplayPlan, fold: &Arc<dyn Fold>) -> Result<Option<Stateless>> {
    let through = replay.window.through;
    let stream = |range| snapshot.stream(&replay.entity, &**fold, range);
    if replay.window.by.is_some() {
        let mut earliest = None;
        for event in stream(PositionRange::through(through))? {
            let event = event?;
            let found = (event.record()?.timestamp(), event.position);
            earliest = Some(earliest.map_or(found, |earliest| found.min(earliest)));
        }
        if let Some((occurred, position)) = earliest {
            return Ok(Some(Stateless::Before { position, occurred, recorded: None }));
        }
    }
    let next = stream(PositionRange::between(through, snapshot.head()))?.next().transpose()?;
    next.map(|event| {
        let record = event.record()?;
        let recorded = Some(record.recorded()).filter(|recorded| *recorded != record.timestamp());
        Ok(Stateless::Before { position: record.position(), occurred: record.timestamp(), recorded })
    })
    .transpose()
}

/// The last event that deletes, looked for from the end: it is mostly the last of all.
fn deletion(
    snapshot: &Snapshot,
    replay: &ReplayPlan,
    fold: &Arc<dyn Fold>,
    folded: &Folded,
) -> Result<Option<Stateless>> {
    let (mut last, mut many) = (folded.position, LOOKED_AT);
    while last > Position::START {
        let before = last.minus(many);
        let mut found = None;
        for event in FoldEvents::new(snapshot, replay, fold, PositionRange::between(before, last))? {
            let event = event?;
            let record = event.record()?;
            if fold.effect(record.kind(), event.own) == Effect::Deletes {
                found =
                    Some(Stateless::Deleted { position: record.position(), kind: record.kind().to_owned() });
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        (last, many) = (before, many.saturating_mul(4));
    }
    Ok(None)
}

/// The events that a fold reads, those that had occurred by then.
pub(super) struct FoldEvents {
    stream: Stream,
    by: Option<Timestamp>,
}

impl FoldEvents {
    fn new(
        snapshot: &Snapshot,
        replay: &ReplayPlan,
        fold: &Arc<dyn Fold>,
        range: PositionRange,
    ) -> Result<FoldEvents> {
        let stream = snapshot.stream(&replay.entity, &**fold, range)?;
        Ok(FoldEvents { stream, by: replay.window.by })
    }

    /// All of them.
    pub fn all(snapshot: &Snapshot, replay: &ReplayPlan, fold: &Arc<dyn Fold>) -> Result<FoldEvents> {
        FoldEvents::new(snapshot, replay, fold, PositionRange::through(replay.window.through))
    }

    fn occurred(&self, event: &Folding) -> Result<bool> {
        let Some(by) = self.by else { return Ok(true) };
        Ok(event.record()?.timestamp() <= by)
    }
}

impl Iterator for FoldEvents {
    type Item = Result<Folding>;

    fn next(&mut self) -> Option<Result<Folding>> {
        loop {
            let event = match self.stream.next()? {
                Ok(event) => event,
                Err(error) => return Some(Err(error)),
            };
            match self.occurred(&event) {
                Ok(true) => return Some(Ok(event)),
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// `REPLAY … STEPS`.
pub(super) fn steps(snapshot: &Snapshot, replay: &ReplayPlan) -> Result<QueryResult> {
    let (fold, limits) = (snapshot.fold_of(replay.entity.kind())?, snapshot.limits());
    let mut events = FoldEvents::all(snapshot, replay, &fold)?;
    let first = events.next().transpose()?;
    let mut notices = Vec::new();
    if first.is_none() {
        let none = why_none(snapshot, replay, &Folded::default())?;
        notices.extend(none.map(|none| none.notice(&replay.entity)));
    }
    let entity = replay.entity.clone();
    let mut folded = Folded::default();
    let rows = first.into_iter().map(Ok).chain(events).map(move |event| {
        let event = event?;
        let record = event.record()?;
        let before = folded.state.clone();
        let late = folded.add(&*fold, &record, event.own, &limits)?;
        folded.check(&entity)?;
        let (state, changes) = (folded.state.clone(), diff(&before, &folded.state));
        let (event, included) = (record.to_event(&event.bytes)?, !event.own);
        Ok(Row::Step(ReplayStep { event, state, changes, late, included }))
    });
    Ok(QueryResult { notices, ..QueryResult::rows(rows) })
}
