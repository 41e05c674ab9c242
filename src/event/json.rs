//! The form in which an event is shown and taken back: one JSON object a line.
//!
//! Two forms are taken. The event form is what [`Event`] serializes as. The underscore form comes from actor-model systems:
//! `_actorType`, `_actorId` (the owner), `_modelType`, `_modelId` (another owner), `_createdOn`, `_createdBy…` (the
//! producer), `_initiatedBy`, `_initiatedById` (the cause), `_actorNamespace`, `_indexBy`; `type` or `_type`, `_id`; every other key
//! is data.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Cause, Event, NewEvent, Producer, Vector};
use crate::document::Document;
use crate::entity::{Entity, Position};
use crate::error::{Error, Result, shorten};
use crate::value::{Object, Value};

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.members(&mut map)?;
        map.end()
    }
}

impl Event {
    /// Writes the members into an object that may have others.
    pub(crate) fn members<M: SerializeMap>(&self, map: &mut M) -> std::result::Result<(), M::Error> {
        map.serialize_entry("position", &self.position)?;
        entry(map, "version", &self.version)?;
        map.serialize_entry("id", &Shown(&self.id))?;
        map.serialize_entry("type", self.kind.as_str())?;
        map.serialize_entry("timestamp", &self.timestamp)?;
        map.serialize_entry("recorded", &self.recorded)?;
        entry(map, "target", &self.target)?;
        entry(map, "actor", &self.actor)?;
        entry(map, "producer", &self.producer)?;
        entry(map, "cause", &self.cause)?;
        entry(map, "correlation", &self.correlation)?;
        entry(map, "namespace", &self.namespace)?;
        if !self.tags.is_empty() {
            let tags: Object = self.tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())).collect();
            map.serialize_entry("tags", &tags)?;
        }
        entry(map, "key", &self.key)?;
        map.serialize_entry("data", &self.data)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("metadata", &self.metadata)?;
        }
        Ok(())
    }
}

fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &str,
    value: &Option<T>,
) -> std::result::Result<(), M::Error> {
    value.as_ref().map_or(Ok(()), |value| map.serialize_entry(name, value))
}

struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Entity {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("id", self.id())?;
        map.end()
    }
}

impl Serialize for Producer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.model.kind())?;
        map.serialize_entry("id", self.model.id())?;
        entry(&mut map, "version", &self.version)?;
        entry(&mut map, "vector", &self.vector)?;
        map.end()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Cause::Event(position) => map.serialize_entry("position", position)?,
            Cause::Named { kind, id } => {
                map.serialize_entry("type", kind)?;
                map.serialize_entry("id", id)?;
            }
        }
        map.end()
    }
}

/// A line of an import: the event, and the place it had in the log it comes from.
#[derive(Debug)]
pub(crate) struct Line {
    pub event: NewEvent,
    pub position: Option<Position>,
    pub version: Option<u64>,
}

/// Reads an event from a line of JSON, in either form.
pub(crate) fn read(line: &str) -> Result<Line> {
    // The object of the event is one level around its data.
    let value = Value::read(line, 1)?;
    let kind = value.kind();
    let Value::Object(members) = value else {
        return Err(Error::invalid("an event", "a JSON object", kind));
    };
    if members.keys().any(|name| name.starts_with('_')) {
        underscore_form(members)
    } else {
        event_form(members)
    }
}

fn event_form(members: Object) -> Result<Line> {
    let mut form = Form(members);
    let mut event = NewEvent::new(&form.required("type")?);
    event = match form.entity("target")? {
        Some(target) => event.on(target),
        None => event.on_nobody(),
    };
    if let Some(actor) = form.entity("actor")? {
        event = event.by(actor);
    }
    if let Some(timestamp) = form.text("timestamp")? {
        event = event.at(timestamp.parse()?);
    }
    if let Some(id) = form.text("id")? {
        event = event.id(&id);
    }
    if let Some(data) = form.take("data") {
        event = event.data(&data);
    }
    if let Some(metadata) = form.take("metadata") {
        event.metadata = object("metadata", metadata)?;
    }
    if let Some(producer) = form.object("producer")? {
        event = event.produced_by(producer_form(producer)?);
    }
    if let Some(cause) = form.object("cause")? {
        event.cause = Some(cause_form(cause)?);
    }
    event.correlation = form.text("correlation")?;
    event.namespace = form.text("namespace")?;
    for (name, value) in form.object("tags")?.unwrap_or_default() {
        event = event.index(&name, value);
    }
    if let Some(key) = form.text("key")? {
        event = event.key(&key);
    }
    event.recorded = form.text("recorded")?.map(|recorded| recorded.parse()).transpose()?;
    let position = form.count("position")?.map(Position);
    let version = form.count("version")?;
    form.take("repeated");
    form.take("depth");
    form.done("data")?;
    Ok(Line { event, position, version })
}

fn underscore_form(members: Object) -> Result<Line> {
    let mut form = Form(members);
    let actor = form.pair("_actorType", "_actorId")?;
    let model = form.pair("_modelType", "_modelId")?;
    let mut kind = match form.text("_type")? {
        Some(kind) => kind,
        None => form.required("type")?,
    };
    let owner = model.clone().or_else(|| actor.clone());
    if let Some(owner) = &owner
        && !kind.contains('.')
    {
        kind = format!("{}.{kind}", owner.kind());
    }
    let mut event = NewEvent::new(&kind);
    event = match owner {
        Some(owner) => event.on(owner),
        None => event.on_nobody(),
    };
    if let Some(id) = form.text("_id")? {
        event = event.id(&id);
    }
    if let Some(created) = form.text("_createdOn")? {
        event = event.at(created.parse()?);
    }
    let version = form.count("_createdByVersion")?;
    let vector = form.vector("_createdByVector")?;
    // The actor that an override keeps from owning the event still made it.
    let maker =
        form.pair("_createdBy", "_createdById")?.or(if model.is_some() { actor.clone() } else { None });
    let maker = maker.or_else(|| event.owner().filter(|_| version.is_some() || vector.is_some()).cloned());
    match maker {
        Some(model) => event = event.produced_by(Producer { model, version, vector }),
        None if version.is_some() || vector.is_some() => {
            return Err(Error::invalid(
                "_createdByVersion",
                "_createdBy and _createdById beside it",
                "neither",
            ));
        }
        None => {}
    }
    if let Some(cause) = form.pair("_initiatedBy", "_initiatedById")? {
        event.cause = Some(Cause::Named { kind: cause.kind().to_owned(), id: cause.id().to_owned() });
    }
    event.namespace = form.text("_actorNamespace")?;
    let index = form.take("_indexBy");
    if let Some(name) = form.0.keys().find(|name| name.starts_with('_')) {
        return Err(Error::invalid(
            "an event",
            "the underscore keys that the README lists",
            format!("`{name}`"),
        ));
    }
    event.data = Document::of(&form.0)?;
    match index {
        None | Some(Value::Null) => {}
        Some(Value::Object(tags)) => {
            for (name, value) in tags {
                event = event.index(&name, value);
            }
        }
        Some(Value::Array(names)) if names.iter().all(|name| name.as_text().is_some()) => {
            event = event.index_by(names.iter().filter_map(Value::as_text));
        }
        Some(other) => {
            let expected = "a map name → value, or a list of names of data";
            return Err(Error::invalid("_indexBy", expected, shorten(&other.to_string())));
        }
    }
    Ok(Line { event, position: None, version: None })
}

fn producer_form(members: Object) -> Result<Producer> {
    let mut form = Form(members);
    let model = Entity::new(&form.required("type")?, &form.required("id")?)?;
    let producer = Producer { model, version: form.count("version")?, vector: form.vector("vector")? };
    form.done("producer")?;
    Ok(producer)
}

fn cause_form(members: Object) -> Result<Cause> {
    let mut form = Form(members);
    let cause = match form.count("position")? {
        Some(position) => Cause::Event(Position(position)),
        None => Cause::Named { kind: form.required("type")?, id: form.required("id")? },
    };
    form.done("cause")?;
    Ok(cause)
}

fn object(what: &str, value: Value) -> Result<Document> {
    match value {
        Value::Object(members) => Document::from_object(&members),
        other => Err(Error::invalid(what, "an object", other.kind())),
    }
}

/// The members of a form, taken one by one: what is left over at the end is a mistake.
struct Form(Object);

impl Form {
    /// A member; one that is null counts as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| *value != Value::Null)
    }

    /// A text; an integer counts as its digits, since ids are often written so.
    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Int(n)) => Ok(Some(n.to_string())),
            Some(Value::UInt(n)) => Ok(Some(n.to_string())),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "text", other.kind())),
        }
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| Error::invalid("an event", format!("a member `{name}`"), "none"))
    }

    fn count(&mut self, name: &str) -> Result<Option<u64>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::UInt(n)) => Ok(Some(n)),
            Some(Value::Int(n)) if n >= 0 => Ok(Some(n as u64)),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "a count", shorten(&other.to_string()))),
        }
    }

    fn vector(&mut self, name: &str) -> Result<Option<Vector>> {
        self.text(name)?.map(|text| text.parse()).transpose()
    }

    fn object(&mut self, name: &str) -> Result<Option<Object>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "an object", other.kind())),
        }
    }

    fn entity(&mut self, name: &str) -> Result<Option<Entity>> {
        let Some(members) = self.object(name)? else { return Ok(None) };
        let mut form = Form(members);
        let entity = Entity::new(&form.required("type")?, &form.required("id")?)?;
        form.done(name)?;
        Ok(Some(entity))
    }

    fn pair(&mut self, kind: &str, id: &str) -> Result<Option<Entity>> {
        match (self.text(kind)?, self.text(id)?) {
            (Some(kind), Some(id)) => Entity::new(&kind, &id).map(Some),
            (None, None) => Ok(None),
            _ => Err(Error::invalid("an event", format!("`{kind}` and `{id}` together"), "one of them")),
        }
    }

    fn done(&self, part: &str) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let expected = if part == "data" {
                    "the members of an event; other values belong into `data`"
                } else {
                    part
                };
                Err(Error::invalid("an event", expected, format!("`{name}`")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_underscore_form_is_read() {
        let line = r#"{"type":"paid","_id":"e1","_actorType":"Till","_actorId":4,"_modelType":"Order","_modelId":"42",
            "_createdOn":"2024-01-01","_createdBy":"Cashier","_createdById":"c","_createdByVersion":3,
            "_createdByVector":"a:1;b:2","_initiatedBy":"Pay","_initiatedById":"p1","_actorNamespace":"shop",
            "_indexBy":["total"],"total":10}"#;
        let event = read(line).unwrap().event;
        assert_eq!(event.checked().unwrap().as_str(), "Order.paid");
        assert_eq!(event.owner(), Some(&("Order", 42).into()));
        assert_eq!(event.producer.as_ref().unwrap().model, ("Cashier", "c").into());
        assert_eq!(event.cause, Some(Cause::Named { kind: "Pay".into(), id: "p1".into() }));
        assert_eq!(event.tags[0].value, Value::from(10));
        assert_eq!(event.data.to_string(), r#"{"total":10}"#);
    }

    #[test]
    fn the_actor_that_does_not_own_is_the_producer() {
        let line = r#"{"type":"Order.paid","_actorType":"Till","_actorId":"4","_modelType":"Order","_modelId":"42"}"#;
        assert_eq!(read(line).unwrap().event.producer.unwrap().model, ("Till", 4).into());
    }

    #[test]
    fn the_version_of_a_producer_is_the_sum_of_its_vector() {
        let producer = |line: &str| {
            let event = read(line)?.event;
            event.checked()?;
            Ok(event.producer.unwrap())
        };
        let both: [fn(&str) -> String; 2] = [
            |said| format!(r#"{{"type":"Order.paid","producer":{{"type":"Till","id":"4",{said}}}}}"#),
            |said| {
                let said = said.replace("version", "_createdByVersion").replace("vector", "_createdByVector");
                format!(r#"{{"type":"Order.paid","_createdBy":"Till","_createdById":"4",{said}}}"#)
            },
        ];
        for form in both {
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
    fn an_index_map_gives_tags() {
        let event = read(r#"{"_type":"A.b","_indexBy":{"x":1,"y":"z"},"id":7}"#).unwrap().event;
        assert_eq!(event.tags.len(), 2);
        assert_eq!((event.owner(), event.data.get("id")), (None, Some(Value::from(7))));
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
            let error = read(line).and_then(|line| line.event.checked().map(|_| ())).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
