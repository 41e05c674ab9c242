//! The event form: an event with the members that it has, as the shell prints it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::JsonLine;
use super::members::JsonMembers;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::event::{Cause, Event, NewEvent, Producer};
use crate::value::Object;

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
        map.serialize_entry("id", &DisplayText(&self.id))?;
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
            map.serialize_entry("tags", &self.tag_members())?;
        }
        entry(map, "key", &self.key)?;
        map.serialize_entry("data", &self.data)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("metadata", &self.metadata)?;
        }
        entry(map, "forgotten", &self.forgotten)?;
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

struct DisplayText<T>(T);

impl<T: std::fmt::Display> Serialize for DisplayText<T> {
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

/// Reads an event from its members.
pub(super) fn read(members: Object) -> Result<JsonLine> {
    let mut form = JsonMembers::new("an event", members);
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
    if let Some(metadata) = form.document("metadata")? {
        event.metadata = metadata;
    }
    if let Some(producer) = form.object("producer")? {
        event = event.produced_by(producer_form(producer)?);
    }
    let mut cause = None;
    if let Some(said) = form.object("cause")? {
        (event.cause, cause) = cause_form(said)?;
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
    // Those are null, and stay so.
    form.take("forgotten");
    form.done("the members of an event; other values belong into `data`")?;
    Ok(JsonLine { event, position, version, foreign: None, cause })
}

fn producer_form(members: Object) -> Result<Producer> {
    let mut form = JsonMembers::new("an event", members);
    let model = Entity::new(&form.required("type")?, &form.required("id")?)?;
    let producer = Producer { model, version: form.count("version")?, vector: form.vector("vector")? };
    form.done("producer")?;
    Ok(producer)
}

/// A cause; one that tells its position may tell its type and id, too.
fn cause_form(members: Object) -> Result<(Option<Cause>, Option<Cause>)> {
    let mut form = JsonMembers::new("an event", members);
    let position = form.count("position")?.map(|position| Cause::Event(Position(position)));
    let named = match position.is_none() || form.left.contains_key("id") {
        true => Some(Cause::Named { kind: form.required("type")?, id: form.required("id")? }),
        false => None,
    };
    form.done("cause")?;
    Ok(match position {
        Some(position) => (Some(position), named),
        None => (named, None),
    })
}
