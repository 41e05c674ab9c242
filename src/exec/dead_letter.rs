//! What a reaction, a webhook or a schedule has set aside: events that it could not do its work for, until `RETRY` or `SKIP`.
//!
//! Nothing of it is kept but events about the program itself, `$reaction.failed` and others. Their data are merge patches, so
//! that what is set aside now is the state of the program as an entity, and `HISTORY`, `AT` and `BLAME` tell the rest.

use std::collections::BTreeMap;

use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::plan::ReplayPlan;
use crate::store::catalog::{ASIDE, Program, ProgramKind};
use crate::store::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// As many are set aside at most: then it stops, since something is wrong with all of them.
pub(crate) const MOST: usize = if cfg!(test) { 4 } else { MAX_SET_ASIDE };
pub(crate) const MAX_SET_ASIDE: usize = 1000;

/// An event that was set aside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeadLetterRecord {
    pub error: String,
    pub attempts: u64,
}

impl DeadLetterRecord {
    fn of(value: &Value) -> DeadLetterRecord {
        let error = value.get("error").and_then(|text| text.as_text()).unwrap_or_default().to_owned();
        let attempts = match value.get("attempts") {
            Some(&Value::Int(number)) => u64::try_from(number).unwrap_or(0),
            _ => 0,
        };
        DeadLetterRecord { error, attempts }
    }
}

/// What is set aside as of a snapshot, by position.
pub(crate) fn set_aside(snapshot: &Snapshot, program: &Program) -> Result<BTreeMap<u64, DeadLetterRecord>> {
    let replay = ReplayPlan::of_all(program.target()?, snapshot.head());
    let state = super::state(snapshot, &replay)?.state;
    let Some(Value::Object(members)) = state.get(ASIDE) else { return Ok(BTreeMap::new()) };
    let one = |(position, value): (&String, &Value)| {
        let position = position.parse().map_err(|_| {
            Error::corrupt(format!("what is set aside of {}", program.name), format!("'{position}'"))
        })?;
        Ok((position, DeadLetterRecord::of(value)))
    };
    members.iter().map(one).collect()
}

/// The data of a definition that begins anew: nothing is set aside any more. (What it says itself comes beside.)
pub(crate) fn none() -> (String, Value) {
    (ASIDE.to_owned(), Value::Null)
}

/// The event that sets one aside.
pub(crate) fn failed(program: &Program, trigger: Position, error: &Error, attempts: u64) -> Result<NewEvent> {
    let told: Object = [
        ("error".to_owned(), error.to_string().into()),
        ("attempts".to_owned(), Value::Int(i64::try_from(attempts).unwrap_or(i64::MAX))),
    ]
    .into_iter()
    .collect();
    let event = about(program, FAILED, [(trigger, Value::Object(told))])?;
    let event = event.by(actor(program.kind, &program.name)?);
    Ok(if program.kind.goes_by_time() { event } else { event.caused_by(trigger) })
}

/// What set a program off: an event; of a schedule, an instant.
pub(crate) fn shown(kind: ProgramKind, trigger: Position) -> String {
    match kind.goes_by_time() {
        true => Timestamp::from_millis(i64::try_from(trigger.0).unwrap_or(i64::MAX)).to_string(),
        false => trigger.to_string(),
    }
}

/// The event that says that some are to be tried again.
pub(crate) fn retried(program: &Program, triggers: impl IntoIterator<Item = Position>) -> Result<NewEvent> {
    about(program, RETRIED, triggers.into_iter().map(|trigger| (trigger, Value::Null)))
}

/// The event that says that some are not to be tried any more.
pub(crate) fn skipped(program: &Program, triggers: impl IntoIterator<Item = Position>) -> Result<NewEvent> {
    about(program, SKIPPED, triggers.into_iter().map(|trigger| (trigger, Value::Null)))
}

const FAILED: &str = "failed";
const RETRIED: &str = "retried";
const SKIPPED: &str = "skipped";

/// What an event about a program says of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadLetterStatus {
    /// They are set aside.
    Failed,
    /// They are to be tried again.
    Retried,
    /// They are not to be tried any more.
    Skipped,
}

impl DeadLetterStatus {
    /// What a type says; None of one that says nothing of that.
    pub fn of(kind: &str) -> Option<DeadLetterStatus> {
        let (about, said) = kind.rsplit_once('.')?;
        if !ProgramKind::ALL.into_iter().any(|program| program.target() == about) {
            return None;
        }
        match said {
            FAILED => Some(DeadLetterStatus::Failed),
            RETRIED => Some(DeadLetterStatus::Retried),
            SKIPPED => Some(DeadLetterStatus::Skipped),
            _ => None,
        }
    }
}

/// What is to become of an event, as was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolution {
    SetAside(DeadLetterRecord),
    /// It is tried again.
    Again,
    /// It is not tried any more.
    Never,
}

/// What an event about a program says of others, each by its position.
pub(crate) fn said(event: &Event) -> Vec<(u64, Resolution)> {
    let Some(said) = DeadLetterStatus::of(event.kind.as_str()) else { return Vec::new() };
    let Some(Value::Object(members)) = event.data.get(ASIDE) else { return Vec::new() };
    let fate = |value: &Value| match said {
        DeadLetterStatus::Failed => Resolution::SetAside(DeadLetterRecord::of(value)),
        DeadLetterStatus::Retried => Resolution::Again,
        DeadLetterStatus::Skipped => Resolution::Never,
    };
    members.iter().filter_map(|(position, value)| Some((position.parse().ok()?, fate(value)))).collect()
}

fn about(
    program: &Program,
    verb: &str,
    positions: impl IntoIterator<Item = (Position, Value)>,
) -> Result<NewEvent> {
    let members: Object =
        positions.into_iter().map(|(position, value)| (position.0.to_string(), value)).collect();
    let event = NewEvent::new(&format!("{}.{verb}", program.kind.target())).on(program.target()?);
    Ok(event.member(ASIDE, Value::Object(members)))
}

/// On whose behalf a program acts.
pub(crate) fn actor(kind: ProgramKind, name: &str) -> Result<Entity> {
    Entity::new(kind.actor(), name)
}
