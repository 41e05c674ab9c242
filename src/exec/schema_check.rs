//! What a schema would say of the events that are there, before it is defined; and what one that only warns said of those appended.

use crate::entity::{EventType, Position, PositionRange};
use crate::error::{Result, SchemaMismatch};
use crate::event::record::Record;
use crate::store::event_schema::SchemaWarnings;
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
    let limits = snapshot.limits();
    let (mut events, mut unfit, mut mismatches) = (0, 0, Vec::new());
    for position in snapshot.list(Term::kind(&event_type)?, PositionRange::ALL, ScanDirection::Ascending) {
        let position = position?;
        snapshot.cancel().check()?;
        let Some(bytes) = snapshot.read(|view| view.event(position))? else { continue };
        let found = schema.check(Record::open(position, &bytes)?.data(), &limits)?;
        events += 1;
        if found.is_empty() {
            continue;
        }
        unfit += 1;
        if mismatches.len() < TOLD {
            let (members, more) = (found.members, found.more);
            let mismatch = SchemaMismatch { event_type: name.clone(), version, definition: None, members, more };
            mismatches.push((position, mismatch));
        }
    }
    Ok(SchemaCheck { event_type, events, unfit, mismatches })
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
