//! Telling events of different sources apart.
//!
//! The id of a CloudEvent is unique within its source, and ids of ours are unique in the log. It is kept as it is, unless an event
//! from elsewhere has it already: then it is led by its source, and stands in `metadata` as it was. Imported again, it is found to be
//! taken by the same event as before, and becomes the same.

use std::collections::HashMap;

use super::ParsedLine;
use crate::error::Result;
use crate::event::{EventId, NewEvent, qualified};
use crate::store::Store;
use crate::store::snapshot::Snapshot;
use crate::value::{Object, Value};

/// Gives those ids that are taken by events from elsewhere their source.
pub(super) fn tell_apart(store: &Store, lines: &mut [ParsedLine]) -> Result<()> {
    if lines.iter().all(|line| line.foreign.is_none()) {
        return Ok(());
    }
    let log = store.snapshot();
    let mut here: HashMap<EventId, Option<String>> = HashMap::new();
    for line in lines {
        while let (Some(source), Some(id)) = (&line.foreign, &line.event.id) {
            let taken = match here.get(id) {
                Some(other) => Some(other.clone()),
                None => source_in(&log, id)?,
            };
            if taken.is_none_or(|other| other.as_ref() == Some(source)) {
                break;
            }
            let (source, id) = (source.clone(), id.to_string());
            qualify(&mut line.event, &source, &id)?;
        }
        if let Some(id) = &line.event.id {
            here.entry(id.clone()).or_insert_with(|| source_of(&line.event.metadata.get("source")));
        }
    }
    Ok(())
}

fn qualify(event: &mut NewEvent, source: &str, id: &str) -> Result<()> {
    let mut metadata = match event.metadata.to_value()? {
        Value::Object(metadata) => metadata,
        _ => Object::new(),
    };
    metadata.member_or("id".to_owned(), || id.into());
    event.metadata = crate::document::Document::of(&Value::Object(metadata))?;
    event.id = Some(EventId::new(&qualified(source, id))?);
    Ok(())
}

/// Where the event with an id comes from, if there is one.
fn source_in(log: &Snapshot, id: &EventId) -> Result<Option<Option<String>>> {
    let Some(position) = log.position_of(id)? else { return Ok(None) };
    let event = log.event(position)?;
    Ok(event.map(|event| source_of(&event.metadata.get("source"))))
}

fn source_of(said: &Option<Value>) -> Option<String> {
    said.as_ref().and_then(Value::as_text).map(str::to_owned)
}
