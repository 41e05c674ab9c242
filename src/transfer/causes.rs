//! Causes of imported events that are events, too: by their ids, since positions are those of the log they come from.
//!
//! A cause that is in the log is named by its position here. One that is neither in the log nor among the lines comes from elsewhere, and
//! is told by its type and id.

use std::collections::HashMap;

use super::ParsedLine;
use crate::entity::Position;
use crate::error::Result;
use crate::event::{Cause, EventId};
use crate::store::Store;

/// Finds the causes that are in the log.
pub(super) fn find(store: &Store, lines: &mut [ParsedLine]) -> Result<()> {
    if lines.iter().all(|line| line.cause.is_none()) {
        return Ok(());
    }
    let log = store.snapshot();
    log.read(|view| {
        for line in &mut *lines {
            let Some(cause) = &line.cause else { continue };
            let found = match id_of(cause) {
                Some(id) => view.position_of(&id)?,
                None => None,
            };
            line.event.cause = Some(found.map_or_else(|| cause.clone(), Cause::Event));
            line.event.placed = None;
        }
        Ok(())
    })
}

/// Tells the causes that are among these lines, by where they are behind the head. The index of the first line that has one.
pub(super) fn foretell(lines: &mut [ParsedLine], head: Position) -> Option<usize> {
    let mut first = None;
    if lines.iter().all(|line| line.cause.is_none()) {
        return first;
    }
    let mut here: HashMap<EventId, Position> = HashMap::new();
    for (at, line) in lines.iter_mut().enumerate() {
        let position = Position(head.0 + 1 + at as u64);
        let cause = line.cause.as_ref().and_then(id_of).and_then(|id| here.get(&id).copied());
        if let Some(cause) = cause {
            line.event.cause = Some(Cause::Event(cause));
            line.event.placed = Some(position);
            first.get_or_insert(at);
        }
        here.extend(line.event.id.clone().map(|id| (id, position)));
    }
    first
}

fn id_of(cause: &Cause) -> Option<EventId> {
    match cause {
        Cause::Named { id, .. } => EventId::new(id).ok(),
        Cause::Event(_) => None,
    }
}
