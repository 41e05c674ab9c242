//! Folding: the state of an entity out of its events, in the order of the log.
//!
//! Without a definition that is JSON merge patch (RFC 7396) of `data`; an event whose last name is `deleted` deletes.

use super::answer::{Answer, Row, State};
use super::diff::diff;
use super::scan::Scan;
use crate::entity::Version;
use crate::error::Result;
use crate::event::Event;
use crate::plan::{By, Question, Replay, Take, Window, choose};
use crate::store::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// A state in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Fold {
    state: Value,
    version: Version,
    events: u64,
    /// The latest time that anything so far occurred.
    latest: Option<Timestamp>,
}

impl Fold {
    /// Folds the next event in, and tells whether it is late: something that occurred after it was folded before it.
    pub fn add(&mut self, event: &Event) -> Result<bool> {
        if event.kind.last() == "deleted" {
            self.state = Value::Null;
        } else {
            self.state.merge(event.data.to_value()?);
        }
        self.version = event.version.unwrap_or(self.version);
        self.events += 1;
        let late = self.latest.is_some_and(|latest| event.timestamp < latest);
        self.latest = self.latest.max(Some(event.timestamp));
        Ok(late)
    }
}

fn events(snapshot: &Snapshot, replay: &Replay, window: Window, take: Take) -> Result<Scan> {
    let by = vec![By::Target(replay.entity.clone())];
    Scan::new(
        snapshot,
        &choose(
            snapshot,
            Question { pattern: None, by, predicate: None, window, take, indexed: Vec::new() },
        )?,
    )
}

/// `AT`, `REPLAY`.
pub(super) fn answer(snapshot: &Snapshot, replay: &Replay) -> Result<Answer> {
    let state = state(snapshot, replay)?;
    let notice = state.first.map(|first| format!("{} has its first event at {first}", state.target));
    let mut answer = Answer::row(Row::State(state));
    answer.notices.extend(notice);
    Ok(answer)
}

/// The state of an entity.
pub(crate) fn state(snapshot: &Snapshot, replay: &Replay) -> Result<State> {
    let mut fold = Fold::default();
    for event in events(snapshot, replay, replay.window, Take::All)? {
        fold.add(&event?)?;
    }
    let first = if fold.events == 0 { earliest(snapshot, replay)? } else { None };
    Ok(State {
        target: replay.entity.clone(),
        version: fold.version,
        events: fold.events,
        at: replay.at,
        as_of: replay.as_of,
        state: fold.state,
        first,
    })
}

/// When the first of an entity's events occurred, of all there are by now.
fn earliest(snapshot: &Snapshot, replay: &Replay) -> Result<Option<Timestamp>> {
    let all = Window::through(snapshot.head().0);
    let mut earliest = None;
    for event in events(snapshot, replay, all, Take::All)? {
        let occurred = event?.timestamp;
        earliest = Some(earliest.map_or(occurred, |earliest: Timestamp| earliest.min(occurred)));
    }
    Ok(earliest)
}

/// `REPLAY … STEPS`.
pub(super) fn steps(
    snapshot: &Snapshot,
    replay: &Replay,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let mut fold = Fold::default();
    let events = events(snapshot, replay, replay.window, Take::All)?;
    Ok(events.map(move |event| {
        let event = event?;
        let before = fold.state.clone();
        let late = fold.add(&event)?;
        let mut row = Object::new();
        row.insert("event".to_owned(), Value::of(&event)?);
        row.insert("state".to_owned(), fold.state.clone());
        row.insert("changes".to_owned(), Value::Array(diff(&before, &fold.state)));
        row.insert("late".to_owned(), late.into());
        Ok(Row::Fields(row))
    }))
}
