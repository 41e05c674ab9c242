//! States: what an entity is at a point, and step by step.

use super::answer::{Answer, Row, State};
use super::diff::diff;
use crate::entity::{Entity, Version};
use crate::error::Result;
use crate::event::Event;
use crate::plan::{Replay, Window};
use crate::store::fold::Folded;
use crate::store::snapshot::{Snapshot, Until};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// `AT`, `REPLAY`.
pub(super) fn answer(snapshot: &Snapshot, replay: &Replay) -> Result<Answer> {
    let state = state(snapshot, replay)?;
    let notice = state.first.map(|first| format!("{} has its first event at {first}", state.target));
    let mut answer = Answer::row(Row::State(state));
    answer.notices.extend(notice);
    Ok(answer)
}

impl Window {
    /// What of it there is for a fold, which begins at the start.
    pub(super) fn until(&self) -> Until {
        Until { through: self.through, by: self.by }
    }
}

/// The state of an entity.
pub(crate) fn state(snapshot: &Snapshot, replay: &Replay) -> Result<State> {
    let folded = snapshot.fold(&replay.entity, replay.window.until())?;
    folded.check(&replay.entity)?;
    let first = if folded.events == 0 { earliest(snapshot, &replay.entity)? } else { None };
    Ok(State {
        target: replay.entity.clone(),
        version: Version(folded.version),
        events: folded.events,
        at: replay.at,
        as_of: replay.as_of,
        state: folded.state,
        first,
    })
}

/// When the first of an entity's events occurred, of all there are by now.
fn earliest(snapshot: &Snapshot, entity: &Entity) -> Result<Option<Timestamp>> {
    let fold = snapshot.fold_of(entity.kind())?;
    let mut earliest = None;
    for event in snapshot.stream(entity, &*fold, 1, snapshot.head().0)? {
        let occurred = event?.record()?.timestamp();
        earliest = Some(earliest.map_or(occurred, |earliest: Timestamp| earliest.min(occurred)));
    }
    Ok(earliest)
}

/// `REPLAY … STEPS`.
pub(super) fn steps(
    snapshot: &Snapshot,
    replay: &Replay,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let fold = snapshot.fold_of(replay.entity.kind())?;
    let (entity, until) = (replay.entity.clone(), replay.window.until());
    let stream = snapshot.stream(&entity, &*fold, 1, until.through)?;
    let mut folded = Folded::default();
    Ok(stream.filter_map(move |event| {
        let step = || {
            let event = event?;
            let record = event.record()?;
            if until.by.is_some_and(|by| record.timestamp() > by) {
                return Ok(None);
            }
            let before = folded.state.clone();
            let late = folded.add(&*fold, &record, event.own);
            folded.check(&entity)?;
            let event: Event = record.to_event(&event.bytes)?;
            let mut row = Object::new();
            row.insert("event".to_owned(), Value::of(&event)?);
            row.insert("state".to_owned(), folded.state.clone());
            row.insert("changes".to_owned(), Value::Array(diff(&before, &folded.state)));
            row.insert("late".to_owned(), late.into());
            Ok(Some(Row::Fields(row)))
        };
        step().transpose()
    }))
}
