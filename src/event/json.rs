//! The forms in which an event is shown and taken back: each a JSON object.
//!
//! * The event form ([`plain`]) is what [`Event`] serializes as.
//! * The underscore form ([`underscore`]) comes from actor-model systems.
//! * CloudEvents 1.0 ([`cloud`]) is what many systems pass events on in.
//!
//! The last two are read into the event form, and written from it: what an event is, is told once. Which form an object has is
//! told by its members. Every form carries all of an event: what it has no word for goes into members of ours, so that an event
//! which is written and read again is the same.

mod cloud;
#[cfg_attr(not(feature = "share"), allow(dead_code))] // for the protocol
mod committed;
mod members;
mod plain;
mod underscore;

use super::{Cause, Event, NewEvent};
use crate::document::Document;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::value::{Object, Value};
pub(crate) use cloud::{is_uri_reference, qualified};
#[cfg(feature = "share")]
pub(crate) use committed::{CommittedForm, EntityForm};
#[cfg(feature = "share")]
pub(crate) use members::JsonMembers;

/// How events are written by `export`. Reading needs no such word: a form is known by its members.
///
/// ```
/// use bygone::maintain::{EventFormat, ExportOptions};
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// let mut lines = Vec::new();
/// db.export(ExportOptions::new().form(EventFormat::CloudEvents), &mut lines, &mut |_| {})?;
/// assert!(lines.starts_with(br#"{"specversion":"1.0","id":"#));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EventFormat {
    /// The event form, one event a line: what an [`Event`] serializes as.
    #[default]
    Event,
    /// The underscore form of actor-model systems, one event a line.
    Underscore,
    /// CloudEvents 1.0, one event a line.
    CloudEvents,
    /// CloudEvents 1.0, all events in one JSON array.
    CloudEventsBatch,
}

/// An event of an import, and the place it had in the log it comes from.
#[derive(Debug)]
pub(crate) struct JsonLine {
    pub event: NewEvent,
    pub position: Option<Position>,
    pub version: Option<u64>,
    /// The source of a CloudEvent that no Bygone wrote: its id is unique within that source only.
    pub foreign: Option<String>,
    /// The type and the id of the cause that is told by its position: what it is in any log.
    pub cause: Option<Cause>,
}

/// Reads an event from a JSON object, in any form.
///
/// `kind` is the prefix of the types of CloudEvents that have none.
pub(crate) fn read(text: &str, kind: Option<&str>) -> Result<JsonLine> {
    // The object of the event is one level around its data.
    let value = Value::read(text, 1)?;
    let found = value.kind();
    let Value::Object(members) = value else {
        return Err(Error::invalid("an event", "a JSON object", found));
    };
    // No attribute of a CloudEvent begins with an underscore; but any member of data may be named like an attribute.
    if members.keys().any(|name| name.starts_with('_')) {
        plain::read(underscore::read(members)?)
    } else if members.contains_key("specversion") {
        let (members, foreign) = cloud::read(members, kind)?;
        Ok(JsonLine { foreign, ..plain::read(members)? })
    } else {
        plain::read(members)
    }
}

/// Reads an event from the members of the event form, where they are read already.
#[cfg(feature = "share")]
pub(crate) fn read_members(members: Object) -> Result<JsonLine> {
    plain::read(members)
}

/// The object that an event is written as. `source` is where CloudEvents come from that do not tell; `cause` is the event of this log that
/// brought it about: its position means it in this log alone, its type and id in any.
pub(crate) fn write(
    event: &Event,
    form: EventFormat,
    source: &str,
    cause: Option<(&str, &str)>,
) -> Result<Value> {
    let mut members = members_of(event)?;
    if let (Some((kind, id)), Some(Value::Object(told))) = (cause, members.get_mut("cause")) {
        told.extend(members::pair(kind, id));
    }
    Ok(Value::Object(match form {
        EventFormat::Event => members,
        EventFormat::Underscore => underscore::write(members)?,
        EventFormat::CloudEvents | EventFormat::CloudEventsBatch => cloud::write(members, source)?,
    }))
}

/// The members of the event form.
fn members_of(event: &Event) -> Result<Object> {
    // Data may be as deep as a value may be: it is put into its place afterwards.
    let bare = Event { data: Document::empty(), metadata: Document::empty(), ..event.clone() };
    let Value::Object(mut members) = Value::of(&bare)? else { return Ok(Object::new()) };
    members.insert("data".to_owned(), event.data.to_value()?);
    if !event.metadata.is_empty() {
        members.insert("metadata".to_owned(), event.metadata.to_value()?);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Producer;

    #[test]
    fn the_version_of_a_producer_is_the_sum_of_its_vector() {
        let producer = |line: &str| {
            let event = read(line, None)?.event;
            event.checked()?;
            Ok(event.producer.unwrap())
        };
        let each: [fn(&str) -> String; 3] = [
            |said| format!(r#"{{"type":"Order.paid","producer":{{"type":"Till","id":"4",{said}}}}}"#),
            |said| {
                let said = said.replace("version", "_createdByVersion").replace("vector", "_createdByVector");
                format!(r#"{{"type":"Order.paid","_createdBy":"Till","_createdById":"4",{said}}}"#)
            },
            |said| {
                let said = said.replace("version", "bygonerevision").replace("vector", "bygonevector");
                format!(
                    r#"{{"specversion":"1.0","id":"1","source":"/s","type":"A.b","bygoneposition":1,"bygoneproducer":"Till/4",{said}}}"#
                )
            },
        ];
        for form in each {
            let filled = producer(&form(r#""vector":"b:2;a:1""#)).unwrap();
            assert_eq!((filled.version, filled.vector.unwrap().to_string().as_str()), (Some(3), "a:1;b:2"));
            assert_eq!(producer(&form(r#""version":3,"vector":"a:1;b:2""#)).unwrap().version, Some(3));
            let other: Result<Producer> = producer(&form(r#""version":4,"vector":"a:1;b:2""#));
            let other = other.unwrap_err().to_string();
            assert!(
                other.contains("3, the sum of its vector clock a:1;b:2") && other.contains("found 4"),
                "{other}"
            );
            let many = (0..3).map(|n| format!("n{n}:9223372036854775807")).collect::<Vec<_>>().join(";");
            assert!(producer(&form(&format!(r#""vector":"{many}""#))).is_err());
            assert!(producer(&form(r#""vector":"a:x""#)).unwrap_err().to_string().contains("node:count"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("[]", "an array"),
            ("{\"type\":\"paid\"}", "'paid'"),
            ("{\"data\":{}}", "`type`"),
            (r#"{"type":"A.b","data":[1]}"#, "an array"),
            (r#"{"type":"A.b","total":1}"#, "`total`"),
            (r#"{"type":"A.b","_indexBy":5}"#, "5"),
            (r#"{"type":"A.b","_foo":5}"#, "`_foo`"),
            (r#"{"type":"A.b","target":{"type":"A"}}"#, "`id`"),
            (r#"{"type":"A.b","timestamp":"2024-13-01"}"#, "2024-13-01"),
            ("{\"type\":", "EOF"),
        ] {
            let error =
                read(line, None).and_then(|line| line.event.checked().map(|_| ())).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
