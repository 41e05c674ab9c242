//! Events: immutable records of what happened, with all that is needed to understand them.
//!
//! A program writes a [`NewEvent`]; only a commit makes an [`Event`] of it, by giving it its place. [`codec`] is the form in
//! which it is stored, [`json`] the form in which it is shown and taken back.

pub(crate) mod codec;
mod content;
pub(crate) mod expect;
pub(crate) mod id;
mod json;
mod new;
pub(crate) mod private;
pub(crate) mod record;
pub(crate) mod rewritten;
mod vector;

use serde::de::DeserializeOwned;

pub(crate) use content::EventContent;
pub(crate) use expect::{BUILT_IN, is_built_in};
pub use expect::{Expect, ExpectNone};
pub use id::EventId;
pub use json::EventFormat;
#[cfg(feature = "share")]
pub(crate) use json::{CommittedForm, EntityForm, JsonMembers, read_members};
pub(crate) use json::{is_uri_reference, qualified, read as read_line, write as write_form};
#[cfg(test)]
pub(crate) use new::MAX_TAGS;
pub use new::NewEvent;
#[cfg(feature = "share")]
pub(crate) use new::Target;
pub use private::ForgottenFields;
pub use vector::VectorClock;

use crate::document::Document;
use crate::document::read::{self, Unread};
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Error, Result, Witness, shorten};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// The type of what stands where an event was that a rescue could not read.
pub(crate) const LOST: &str = "$event.lost";

/// The type of what says that a subject is forgotten, and the kind of what it is about.
pub(crate) const FORGOTTEN: &str = "$subject.forgotten";
pub(crate) const SUBJECT: &str = "$subject";

/// The types of what closes an entity, so that nothing more joins its history, and of what reopens it. They are on the entity itself.
pub(crate) const CLOSED: &str = "$history.closed";
pub(crate) const REOPENED: &str = "$history.reopened";

/// Whether an event only says whether more may come of its entity: it changes no state.
pub(crate) fn is_of_standing(kind: &str) -> bool {
    kind == CLOSED || kind == REOPENED
}

/// An event in the log.
///
/// Serializes as the JSON line that the shell prints and `import` takes back; what is absent is left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the log.
    pub position: Position,
    /// Its place in the history of its target; none without a target.
    pub version: Option<Version>,
    /// A UUIDv7 that the database made, or the caller's.
    pub id: EventId,
    /// What happened: `Order.paid`.
    pub kind: EventType,
    /// When it occurred.
    pub timestamp: Timestamp,
    /// When it was appended; never decreases along the log.
    pub recorded: Timestamp,
    /// The entity whose history it belongs to.
    pub target: Option<Entity>,
    /// On whose behalf.
    pub actor: Option<Entity>,
    /// The model that made it, where that is not simply the target.
    pub producer: Option<Producer>,
    /// What brought it about.
    pub cause: Option<Cause>,
    /// The root of the chain of causes.
    pub correlation: Option<String>,
    /// The namespace of the model.
    pub namespace: Option<String>,
    /// Values it can be found by, beside those of the catalog's indexes. Several of one name stand one after the other.
    pub tags: Vec<Tag>,
    /// The idempotency key.
    pub key: Option<String>,
    /// The database made the id, or would have: its own ids grow along the log, and their time leads to them.
    pub(crate) own_id: bool,
    pub(crate) seal: Option<KeyDigest>,
    /// What is to be known of it.
    pub data: Document,
    /// What is to be known of how it came here.
    pub metadata: Document,
    /// The fields that are null because their subject was forgotten; none of nearly all events.
    pub forgotten: Option<ForgottenFields>,
}

impl From<&Event> for Witness {
    fn from(event: &Event) -> Witness {
        let mut witness = Witness::new(event.position.0, event.kind.as_str(), event.timestamp);
        witness.target = event.target.as_ref().map(Entity::to_string);
        witness.actor = event.actor.as_ref().map(Entity::to_string);
        witness
    }
}

/// An index value on an event: a name, and text, a number or a boolean.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// The name of the index.
    pub name: String,
    /// The value it is found by.
    pub value: Value,
}

/// Index values by their names, as JSON has them: an array where a name has several.
pub(crate) fn tag_members(tags: &[Tag]) -> Object {
    let mut members = Object::new();
    for Tag { name, value } in tags {
        match members.get_mut(name) {
            None => drop(members.insert(name.clone(), value.clone())),
            Some(Value::Array(values)) => values.push(value.clone()),
            Some(first) => *first = Value::Array(vec![std::mem::take(first), value.clone()]),
        }
    }
    members
}

/// The model that made an event.
///
/// ```
/// use bygone::append::Producer;
/// use bygone::{Db, NewEvent};
/// let till = Producer { model: ("Till", 4).into(), version: None, vector: Some("oslo:3;paris:5".parse()?) };
/// let event = Db::in_memory()?.append(NewEvent::new("Order.paid").on(("Order", 42)).produced_by(till))?;
/// assert_eq!(event.producer.and_then(|producer| producer.version), Some(8)); // the sum of its vector
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Producer {
    /// The model and its id.
    pub model: Entity,
    /// Its version: the sum of its vector clock, where it has one.
    pub version: Option<u64>,
    /// Its vector clock.
    pub vector: Option<VectorClock>,
}

impl Producer {
    /// The same with its version, where only its vector was said. Another version than the sum of the vector is an error.
    fn settled(self) -> Result<Producer> {
        let Some(vector) = &self.vector else { return Ok(self) };
        if vector.is_empty() {
            return Err(Error::invalid("a producer's vector clock", "a count of one node at least", "none"));
        }
        let sum = vector.sum()?;
        match self.version {
            Some(version) if version != sum => Err(Error::invalid(
                "a producer's version",
                format!("{sum}, the sum of its vector clock {}", shorten(&vector.to_string())),
                version.to_string(),
            )),
            _ => Ok(Producer { version: Some(sum), ..self }),
        }
    }
}

/// What brought an event about.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// An event of this log.
    Event(Position),
    /// An event or command from elsewhere, by its type and id.
    Named {
        /// Its type.
        kind: String,
        /// Its id.
        id: String,
    },
}

/// What a keyed group promised, kept on its first event: to tell a repetition from a different request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyDigest {
    /// A hash of the content of the whole group.
    pub content: [u8; 16],
    /// How many events the group has.
    pub count: u32,
}

impl Event {
    /// Its [`tags`](Event::tags) by their names, as JSON has them: an array where a name has several values.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let exam = NewEvent::new("Exam.held").index("course", ["maths", "physics"]).index("room", 7);
    /// let event = Db::in_memory()?.append(exam)?;
    /// assert_eq!(bygone::Value::from(event.tag_members()).to_string(), r#"{"course":["maths","physics"],"room":7}"#);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn tag_members(&self) -> Object {
        tag_members(&self.tags)
    }

    /// `data` as a typed event: a serde enum with `tag = "type", content = "data"`, its variants named as the events of the
    /// kind are (`paid` for `Order.paid`), or by the whole type.
    ///
    /// ```
    /// use bygone::{Db, Entity};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    /// enum OrderEvent {
    ///     Created { total: u32 },
    ///     Paid { amount: u32 },
    /// }
    ///
    /// let db = Db::in_memory()?;
    /// let event = db.emit(("Order", 42), &OrderEvent::Paid { amount: 10 })?;
    /// assert_eq!(event.kind.as_str(), "Order.paid");
    /// assert_eq!(event.parse::<OrderEvent>()?, OrderEvent::Paid { amount: 10 });
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let (name, whole) = (self.kind.name(), self.kind.as_str());
        // A variant without content is written without `data`, and is read without it.
        let empty = self.data.is_empty();
        let ways = [(name, true), (whole, true), (name, false), (whole, false)];
        for (name, with_data) in ways.into_iter().filter(|(_, with_data)| *with_data || empty) {
            match read::typed(&self.envelope(name, with_data)?) {
                Ok(event) => return Ok(event),
                Err(Unread::Unfit) => {}
                Err(Unread::LongWay) => {
                    if let Ok(event) = self.parse_json(name, with_data) {
                        return Ok(event);
                    }
                }
            }
        }
        // That of the first is what is told; if there is none, what was read straight would not fit as JSON.
        self.parse_json(name, true)
    }

    /// `{"type": "paid", "data": …}`, as a document is stored.
    fn envelope(&self, name: &str, with_data: bool) -> Result<Vec<u8>> {
        let data = if with_data { self.data.as_bytes() } else { &[] };
        let mut envelope = Vec::with_capacity(data.len() + name.len() + 16);
        envelope.push(if with_data { 0x82 } else { 0x81 });
        let mut put = |text: &str| {
            let written = rmp_serde::encode::write(&mut envelope, text);
            written.map_err(|e| Error::invalid("a typed event", "a name", e.to_string()))
        };
        put("type")?;
        put(name)?;
        if with_data {
            put("data")?;
            envelope.extend_from_slice(data);
        }
        Ok(envelope)
    }

    fn parse_json<T: DeserializeOwned>(&self, name: &str, with_data: bool) -> Result<T> {
        let data = with_data.then(|| self.data.to_value()).transpose()?;
        let data = data.map(|data| ("data".to_owned(), data));
        Value::Object(std::iter::once(("type".to_owned(), Value::from(name))).chain(data).collect())
            .parse_json()
    }
}

/// Reads the parts of a typed event: the name of the variant, and its content.
pub(crate) fn typed_parts<T: serde::Serialize + ?Sized>(event: &T) -> Result<(String, Value)> {
    let fault = |found: String| {
        Err(Error::invalid("a typed event", "a serde enum with tag = \"type\", content = \"data\"", found))
    };
    let Value::Object(mut form) = Value::of(event)? else { return fault("no object".to_owned()) };
    match (form.shift_remove("type"), form.shift_remove("data"), form.is_empty()) {
        (Some(Value::Text(name)), data, true) => Ok((name, data.unwrap_or(Value::Object(Object::new())))),
        (Some(Value::Text(_)), _, false) => fault("members beside type and data".to_owned()),
        _ => fault("no member `type`".to_owned()),
    }
}
