//! What a schema would say of the events that are there, before it is defined; and what one that only warns said of those appended.

use crate::allowance::Unmade;
use crate::entity::{EventType, Position, PositionRange};
use crate::error::{Error, MemberMismatch, Result, SchemaMismatch};
use crate::event::record::Record;
use crate::store::event_schema::{Mismatches, SchemaWarnings};
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};

/// How many events that do not fit are told.
const TOLD: usize = 20;

/// What a schema says of the events that are in the log: [`Db::check_schema`](crate::Db::check_schema).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaCheck {
    /// The type that it is of.
    pub event_type: EventType,
    /// How many events of that type there are.
    pub events: u64,
    /// How many of them do not fit.
    pub unfit: u64,
    /// Where the first twenty of those are, and what of them does not fit.
    pub mismatches: Vec<(Position, SchemaMismatch)>,
}

/// Holds the events of a type to a definition.
pub(crate) fn check(snapshot: &Snapshot, definition: &str) -> Result<SchemaCheck> {
    let (name, schema) = super::event_schema::compile(definition)?;
    let event_type = EventType::new(&name)?;
    let version = snapshot.indexes().schema(&name).map_or(0, |schema| schema.newest().number) + 1;
    // Events are read like this already.
    let is_defined = snapshot.indexes().schema(&name).is_some_and(|known| known.newest().text == definition);
    let limits = snapshot.limits();
    let (mut events, mut unfit, mut mismatches) = (0, 0, Vec::new());
    for position in snapshot.list(Term::kind(&event_type)?, PositionRange::ALL, ScanDirection::Ascending) {
        let position = position?;
        snapshot.cancel().check()?;
        let Some(bytes) = snapshot.read(|view| view.event(position))? else { continue };
        let record = Record::open(position, &bytes)?;
        let found = match schema.has_upcast() && !is_defined {
            false => schema.check(record.data(), &limits)?,
            true => match schema.upcast(record.data(), record.forgotten().as_ref(), &limits) {
                Ok(made) => schema.check(made.data.raw(), &limits)?,
                Err(Unmade::Ended(error)) => return Err(error),
                Err(unmade) => unread(unmade),
            },
        };
        events += 1;
        // What is forgotten is null, whatever it was to be.
        if found.is_empty() || record.forgotten().is_some() {
            continue;
        }
        unfit += 1;
        if mismatches.len() < TOLD {
            let (members, more) = (found.members, found.more);
            let mismatch =
                SchemaMismatch { event_type: name.clone(), version, definition: None, members, more };
            mismatches.push((position, mismatch));
        }
    }
    Ok(SchemaCheck { event_type, events, unfit, mismatches })
}

/// What is told of data that the upcast of a definition cannot read.
fn unread(unmade: Unmade) -> Mismatches {
    let found = match unmade {
        Unmade::Fault(why) => why,
        Unmade::Over(error) | Unmade::Ended(error) => error.to_string(),
    };
    let expected = "what UPCAST can read".to_owned();
    Mismatches { members: vec![MemberMismatch { path: "data".to_owned(), expected, found }], more: 0 }
}

/// Refuses a definition whose upcast cannot read an event that is there.
pub(super) fn check_upcast(snapshot: &Snapshot, definition: &str) -> Result<()> {
    let (name, schema) = super::event_schema::compile(definition)?;
    let (event_type, limits) = (EventType::new(&name)?, snapshot.limits());
    for position in snapshot.list(Term::kind(&event_type)?, PositionRange::ALL, ScanDirection::Ascending) {
        let position = position?;
        let Some(bytes) = snapshot.read(|view| view.event(position))? else { continue };
        let record = Record::open(position, &bytes)?;
        let forgotten = record.forgotten();
        if let Err(unmade) = schema.upcast(record.data(), forgotten.as_ref(), &limits) {
            let why = match unmade {
                Unmade::Ended(error) => return Err(error),
                // What it needs is forgotten: such an event is read as it was appended.
                _ if forgotten.is_some() => continue,
                Unmade::Over(error) => error.to_string(),
                Unmade::Fault(why) => why,
            };
            let what = format!("UPCAST of {event_type}");
            let expected =
                "one that reads each event that there is (EXPLAIN DEFINE EVENT tells which it does not)";
            return Err(Error::invalid(what, expected, format!("{position}: {why}")));
        }
    }
    Ok(())
}

/// The same, in the lines of `EXPLAIN`.
pub(super) fn tried(snapshot: &Snapshot, definition: &str) -> Result<Vec<String>> {
    let SchemaCheck { event_type, events, unfit, mismatches } = check(snapshot, definition)?;
    let mut lines = vec![match (events, unfit) {
        (0, _) => format!("there is no {event_type} yet"),
        (1, 0) => format!("the one {event_type} that there is fits"),
        (_, 0) => format!("all {events} {event_type} that there are fit"),
        _ => format!("{unfit} of {events} {event_type} that there are do not fit; they stay as they are"),
    }];
    for (position, mismatch) in &mismatches {
        let members: Vec<String> = mismatch.members.iter().map(ToString::to_string).collect();
        let more = if mismatch.more > 0 { format!("; and {} more", mismatch.more) } else { String::new() };
        lines.push(format!("  {position}: {}{more}", members.join("; ")));
    }
    if unfit > mismatches.len() as u64 {
        lines.push(format!("  and {} more", unfit - mismatches.len() as u64));
    }
    Ok(lines)
}

/// What schemas that only warn said of a write.
pub(super) fn warned(warnings: &SchemaWarnings) -> Vec<String> {
    let SchemaWarnings { told, count } = warnings;
    let mut notices: Vec<String> =
        told.iter().map(|(position, mismatch)| format!("{position} is appended, and {mismatch}")).collect();
    if *count > told.len() as u64 {
        notices.push(format!("{} more events do not fit their schemas", count - told.len() as u64));
    }
    notices
}
