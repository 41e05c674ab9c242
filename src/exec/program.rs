//! What runs by itself, as it is told: `SHOW REACTIONS`, `SHOW WEBHOOKS`, `SHOW SCHEDULES`; and what is said to it: `RETRY`, `SKIP`.

use std::sync::Arc;

use super::reaction::{self, ReactionExecutor, ScheduleExecutor};
use super::result::{QueryResult, Row};
use super::{EventScan, dead_letter, state};
use crate::entity::{NameText, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::codec;
use crate::pattern::Pattern;
use crate::plan::webhook::form_name;
use crate::plan::{self, AccessQuery, LogWindow, Predicate, ReplayPlan, RowLimit, Settle, choose};
use crate::store::Store;
use crate::store::append_request::AppendRequest;
use crate::store::catalog::{Program, ProgramKind};
use crate::store::cursor::{Cursor, CursorOwner};
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// So many events that wait for a reaction are counted; more are as many.
const COUNTED: u64 = 10_000;

/// `SHOW REACTIONS`, `SHOW SCHEDULES`.
pub(super) fn show(snapshot: &Snapshot, kind: ProgramKind) -> Result<Vec<Row>> {
    let snapshot = snapshot.now();
    let programs: Vec<Arc<Program>> = snapshot.indexes().programs().cloned().collect();
    programs.iter().filter(|program| program.kind == kind).map(|program| one(&snapshot, program)).collect()
}

/// What there is to tell of one.
pub(super) fn one(snapshot: &Snapshot, program: &Program) -> Result<Row> {
    let follower = CursorOwner::of(program);
    let cursor = snapshot.cursor(&follower)?;
    let mut row = Object::from_iter([("name".to_owned(), Value::from(program.name.as_str()))]);
    let told = match program.kind {
        ProgramKind::Reaction => of_reaction(snapshot, program, cursor.as_ref())?,
        ProgramKind::Schedule => of_schedule(snapshot, program, cursor.as_ref())?,
        ProgramKind::Webhook => of_webhook(snapshot, program, cursor.as_ref())?,
    };
    let is_understood = !told.is_empty();
    row.extend(told.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let aside = dead_letter::set_aside(snapshot, program)?;
    let state = match snapshot.reader(&follower) {
        _ if !is_understood => "not understood",
        Some(_) if aside.len() >= dead_letter::MOST => "halted",
        Some(_) => "running",
        None => "not running",
    };
    let last = || aside.last_key_value().map(|(_, one)| one.error.clone());
    let kept = || cursor.as_ref().map(|cursor| cursor.text.clone()).filter(|kept| !kept.is_empty());
    let error = snapshot.trouble(&follower).or_else(kept).or_else(last).map_or(Value::Null, Value::from);
    row.insert("setAside".to_owned(), (aside.len() as u64).into());
    row.insert("error".to_owned(), error);
    row.insert("state".to_owned(), state.into());
    Ok(row.into())
}

/// What one does again that begins anew.
pub(super) fn done_again(kind: ProgramKind) -> &'static str {
    match kind {
        ProgramKind::Webhook => "tells again what it told of",
        ProgramKind::Reaction | ProgramKind::Schedule => "does again what it did about",
    }
}

/// Nothing, where this version does not understand it.
fn of_reaction(
    snapshot: &Snapshot,
    program: &Program,
    cursor: Option<&Cursor>,
) -> Result<Vec<(&'static str, Value)>> {
    let Ok(reaction) = ReactionExecutor::new(&program.text, program.origin) else { return Ok(Vec::new()) };
    let place = place(snapshot, program, cursor)?;
    Ok(vec![
        ("on", reaction.plan.pattern.to_string().into()),
        ("position", place.0.into()),
        ("matched", matched(snapshot, program, reaction_events(&reaction), place)?.into()),
        ("waiting", waiting(snapshot, &reaction, place)?.into()),
        ("lag", snapshot.head().0.saturating_sub(place.0).into()),
    ])
}

/// Behind which position a reaction or a webhook goes on.
pub(super) fn place(snapshot: &Snapshot, program: &Program, cursor: Option<&Cursor>) -> Result<Position> {
    match cursor {
        Some(cursor) => Ok(cursor.position),
        None => reaction::start(program, snapshot),
    }
}

/// How many events lie behind its place that it may react to, up to [`COUNTED`].
fn waiting(snapshot: &Snapshot, reaction: &ReactionExecutor, place: Position) -> Result<u64> {
    let head = snapshot.head();
    if place >= head {
        return Ok(0);
    }
    count(snapshot, question(reaction_events(reaction), (place, head), COUNTED))
}

fn count(snapshot: &Snapshot, question: AccessQuery) -> Result<u64> {
    let mut found = 0;
    for event in EventScan::new(snapshot, &choose(snapshot, question)?)? {
        event?;
        found += 1;
    }
    Ok(found)
}

/// How many events it came past that its pattern and its condition on events mean, up to [`COUNTED`].
fn matched(snapshot: &Snapshot, program: &Program, of: Events, place: Position) -> Result<u64> {
    let begun = reaction::start(program, snapshot)?;
    if place <= begun {
        return Ok(0);
    }
    count(snapshot, question(of, (begun, place), COUNTED))
}

fn of_webhook(
    snapshot: &Snapshot,
    program: &Program,
    cursor: Option<&Cursor>,
) -> Result<Vec<(&'static str, Value)>> {
    let Ok(webhook) = plan::webhook_definition(&program.text) else { return Ok(Vec::new()) };
    let place = place(snapshot, program, cursor)?;
    let events = (webhook.events.pattern.clone(), webhook.events.predicate.clone());
    let matched = matched(snapshot, program, events, place)?;
    let place = place.0;
    Ok(vec![
        ("on", webhook.events.pattern.to_string().into()),
        ("to", webhook.to.to_string().into()),
        ("as", form_name(webhook.form).into()),
        ("signed", webhook.secret.is_some().into()),
        ("position", place.into()),
        ("matched", matched.into()),
        ("lag", snapshot.head().0.saturating_sub(place).into()),
    ])
}

fn of_schedule(
    snapshot: &Snapshot,
    program: &Program,
    cursor: Option<&Cursor>,
) -> Result<Vec<(&'static str, Value)>> {
    let Ok(schedule) = ScheduleExecutor::new(&program.text, program.origin) else { return Ok(Vec::new()) };
    let Some(defined) = snapshot.event(program.position)? else { return Ok(Vec::new()) };
    let rhythm = schedule.rhythm(defined.recorded);
    let instant = |place: u64| Timestamp::from_millis(i64::try_from(place).unwrap_or(i64::MAX)).to_string();
    let begun = u64::try_from(defined.recorded.as_millis()).unwrap_or(0);
    let last = cursor.map_or(begun, |cursor| cursor.position.0.max(begun));
    let next = rhythm.next(Timestamp::from_millis(i64::try_from(last).unwrap_or(i64::MAX)));
    let told = state(snapshot, &ReplayPlan::of_all(program.target()?, snapshot.head()))?.state;
    Ok(vec![
        ("every", schedule.plan.rhythm.to_string().into()),
        ("last", if last > begun { instant(last).into() } else { Value::Null }),
        ("next", next.to_string().into()),
        ("missed", told.get("missed").cloned().unwrap_or(Value::Null)),
    ])
}

/// What waits for somebody who runs it, a line for each reaction that has something to do.
pub(crate) fn behind(snapshot: &Snapshot) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for program in snapshot.indexes().programs().filter(|program| program.kind == ProgramKind::Reaction) {
        let Ok(reaction) = ReactionExecutor::new(&program.text, program.origin) else { continue };
        let follower = CursorOwner::of(program);
        if snapshot.reader(&follower).is_some() {
            continue;
        }
        let cursor = snapshot.cursor(&follower)?;
        let place = place(snapshot, program, cursor.as_ref())?;
        match waiting(snapshot, &reaction, place)? {
            0 => {}
            COUNTED => lines.push(format!("{} is {COUNTED} or more behind", NameText(&program.name))),
            waiting => lines.push(format!("{} is {waiting} behind", NameText(&program.name))),
        }
    }
    Ok(lines)
}

/// Whether all that runs has come as far as it can by now, in a database that is open live.
pub(crate) fn is_idle(snapshot: &Snapshot, now: Timestamp) -> Result<bool> {
    let snapshot = snapshot.now();
    for program in snapshot.indexes().programs() {
        if !is_done(&snapshot, program, now)? {
            return Ok(false);
        }
    }
    // What is done may have given others something to do.
    Ok(snapshot.now().head() == snapshot.head())
}

fn is_done(snapshot: &Snapshot, program: &Program, now: Timestamp) -> Result<bool> {
    let follower = CursorOwner::of(program);
    // Nobody runs it for now, because it could not go on.
    let has_stopped = snapshot.trouble(&follower).is_some() && snapshot.reader(&follower).is_none();
    let Some(cursor) = snapshot.cursor(&follower)? else {
        // It has not begun; or it cannot.
        return Ok(has_stopped || reaction::check(program.kind, &program.text).is_err());
    };
    if has_stopped {
        return Ok(true);
    }
    let said = Term::entity(&program.target()?)?;
    for position in snapshot.list(said, PositionRange::after(cursor.heard), ScanDirection::Ascending) {
        let event = snapshot.event(position?)?;
        if event.is_some_and(|event| {
            dead_letter::DeadLetterStatus::of(event.kind.as_str())
                == Some(dead_letter::DeadLetterStatus::Retried)
        }) {
            return Ok(false);
        }
    }
    if dead_letter::set_aside(snapshot, program)?.len() >= dead_letter::MOST {
        return Ok(true);
    }
    match program.kind {
        ProgramKind::Reaction => {
            let Ok(reaction) = ReactionExecutor::new(&program.text, program.origin) else { return Ok(true) };
            let first = waiting_first(snapshot, &reaction, cursor.position)?;
            // Behind the last event that concerns it there is nothing to wait for.
            let waits = reaction.plan.after.is_some();
            Ok(first.is_none_or(|recorded| waits && reaction.due(recorded) > now))
        }
        ProgramKind::Webhook => Ok(cursor.position >= snapshot.head()),
        ProgramKind::Schedule => {
            let Ok(schedule) = ScheduleExecutor::new(&program.text, program.origin) else { return Ok(true) };
            let Some(defined) = snapshot.event(program.position)? else { return Ok(true) };
            let due = schedule.rhythm(defined.recorded).last(now);
            Ok(due.as_millis() <= i64::try_from(cursor.position.0).unwrap_or(i64::MAX))
        }
    }
}

/// When the first event was recorded that waits for a reaction.
fn waiting_first(
    snapshot: &Snapshot,
    reaction: &ReactionExecutor,
    place: Position,
) -> Result<Option<Timestamp>> {
    let question = question(reaction_events(reaction), (place, snapshot.head()), 1);
    let first = EventScan::new(snapshot, &choose(snapshot, question)?)?.next();
    Ok(first.transpose()?.map(|event| event.recorded))
}

/// A pattern, and a condition on each event.
type Events = (Pattern, Option<Predicate>);

/// The events that a reaction may react to. What its condition says of states is not looked at.
fn reaction_events(reaction: &ReactionExecutor) -> Events {
    let filter = reaction.plan.filter.clone().filter(Predicate::is_of_event);
    (reaction.plan.pattern.clone(), filter)
}

/// Those behind a position and through another.
fn question((pattern, predicate): Events, (after, through): (Position, Position), most: u64) -> AccessQuery {
    AccessQuery {
        pattern: Some(pattern),
        by: Vec::new(),
        predicate,
        window: LogWindow { after, ..LogWindow::through(through) },
        take: RowLimit::First(most),
        indexed: false,
    }
}

/// `RETRY`, `SKIP`: an event about the program, which whoever runs it hears.
pub(super) fn settle(store: &Store, settle: &Settle) -> Result<QueryResult> {
    let snapshot = store.snapshot();
    let shown = NameText(&settle.name);
    let program = snapshot.indexes().program(settle.kind, &settle.name).cloned();
    let program = program.ok_or_else(|| {
        Error::conflict(format!("the {} {shown}", settle.kind.word()), "one that is defined", "none")
    })?;
    let aside = dead_letter::set_aside(&snapshot, &program)?;
    let positions: Vec<Position> = match settle.position {
        Some(position) if aside.contains_key(&position.0) => vec![position],
        Some(position) => {
            let expected = format!("{position} among what is set aside");
            let found = match aside.len() {
                0 => "nothing that is set aside".to_owned(),
                _ => {
                    let some = aside.keys().take(5).map(|position| Position(*position).to_string());
                    let more = if aside.len() > 5 { ", …" } else { "" };
                    format!("{}{more}", some.collect::<Vec<_>>().join(", "))
                }
            };
            return Err(Error::conflict(format!("the {} {shown}", settle.kind.word()), expected, found));
        }
        None => aside.keys().map(|position| Position(*position)).collect(),
    };
    if positions.is_empty() {
        let notice = format!("nothing of {shown} is set aside");
        return Ok(QueryResult { notices: vec![notice], ..QueryResult::done() });
    }
    let event = match settle.again {
        true => dead_letter::retried(&program, positions)?,
        false => dead_letter::skipped(&program, positions)?,
    };
    let event = match &settle.actor {
        Some(actor) => event.by(actor),
        None => event,
    };
    let outcome =
        store.append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })?;
    let rows = outcome.events.into_iter();
    let mut answer =
        QueryResult::rows(rows.map(|(position, bytes)| Ok(Row::from(codec::decode(position, bytes)?))));
    if settle.again && snapshot.reader(&CursorOwner::of(&program)).is_none() {
        answer.notices.push(format!("{shown} tries again when it runs: bygone run"));
    }
    Ok(answer)
}
