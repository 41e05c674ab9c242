//! Events read from what they serialize as: those of a log, on the way from another process.

use std::borrow::Cow;

use serde::Deserialize;

use crate::document::{self, Document};
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::Result;
use crate::event::{Cause, Event, EventId, ForgottenFields, Producer, Tag};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// An event as it is written, and what may be written beside it. What a newer program adds is passed over.
#[derive(Deserialize)]
pub(crate) struct CommittedForm<'a> {
    position: Position,
    version: Option<Version>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    recorded: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<EntityForm<'a>>,
    #[serde(borrow)]
    actor: Option<EntityForm<'a>>,
    #[serde(borrow)]
    producer: Option<ProducerForm<'a>>,
    #[serde(borrow)]
    cause: Option<CauseForm<'a>>,
    correlation: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    tags: Object,
    key: Option<String>,
    #[serde(deserialize_with = "document::json::document")]
    data: Document,
    #[serde(default = "Document::empty", deserialize_with = "document::json::document")]
    metadata: Document,
    #[serde(default)]
    forgotten: Vec<String>,
    /// Of the row that it is.
    #[serde(default)]
    pub repeated: bool,
    pub depth: Option<i64>,
}

#[derive(Deserialize)]
pub(crate) struct EntityForm<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl EntityForm<'_> {
    pub fn into_entity(self) -> Entity {
        Entity::stored((*self.kind).into(), &*self.id)
    }
}

#[derive(Deserialize)]
struct ProducerForm<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    version: Option<u64>,
    vector: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CauseForm<'a> {
    Event {
        position: Position,
    },
    Named {
        #[serde(rename = "type")]
        kind: Cow<'a, str>,
        id: Cow<'a, str>,
    },
}

/// What [`tag_members`](crate::event::tag_members) made of them.
fn tags_of(members: Object) -> Vec<Tag> {
    let mut tags = Vec::with_capacity(members.len());
    for (name, value) in members {
        match value {
            Value::Array(values) => {
                tags.extend(values.into_iter().map(|value| Tag { name: name.clone(), value }));
            }
            value => tags.push(Tag { name, value }),
        }
    }
    tags
}

impl CommittedForm<'_> {
    /// The event. It is taken as it is: what may be appended was seen to when it was.
    pub fn into_event(self) -> Result<Event> {
        let id = EventId::new(&self.id)?;
        let recorded: Timestamp = self.recorded.parse()?;
        let timestamp = if self.timestamp == self.recorded { recorded } else { self.timestamp.parse()? };
        let producer = match self.producer {
            Some(ProducerForm { kind, id, version, vector }) => Some(Producer {
                model: EntityForm { kind, id }.into_entity(),
                version,
                vector: vector.map(|vector| vector.parse()).transpose()?,
            }),
            None => None,
        };
        Ok(Event {
            position: self.position,
            version: self.version,
            kind: EventType::stored(&*self.kind),
            timestamp,
            recorded,
            target: self.target.map(EntityForm::into_entity),
            actor: self.actor.map(EntityForm::into_entity),
            producer,
            cause: self.cause.map(|cause| match cause {
                CauseForm::Event { position } => Cause::Event(position),
                CauseForm::Named { kind, id } => {
                    Cause::Named { kind: kind.into_owned(), id: id.into_owned() }
                }
            }),
            correlation: self.correlation,
            namespace: self.namespace,
            tags: tags_of(self.tags),
            key: self.key,
            // The log knows; here it is known only as far as the id tells.
            own_id: id.tells_its_place(recorded),
            seal: None,
            id,
            data: self.data,
            metadata: self.metadata,
            forgotten: ForgottenFields::named(&self.forgotten),
        })
    }
}
