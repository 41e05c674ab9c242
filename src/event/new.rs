//! What a caller says of an event; the rest is the database's to add.

use std::collections::HashSet;

use serde::Serialize;

use super::{CLOSED, Cause, EventId, Expect, Producer, REOPENED, Tag, typed_parts};
use crate::document::Document;
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result, shorten};
use crate::time::Timestamp;
use crate::value::Value;

/// How many index values an event has of its own: each takes more memory than its bytes.
pub(crate) const MAX_TAGS: usize = 1 << 14;

/// An event to be appended.
///
/// A method that is handed something wrong remembers the first fault; appending answers with it.
///
/// ```
/// use bygone::{Db, Expect, NewEvent, Position};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.created").on(("Order", 42)).member("total", 10).expect(Expect::New))?;
/// let paid = NewEvent::new("Order.paid")
///     .on(("Order", 42))
///     .by(("User", "ann"))
///     .key("req-7f3")
///     .caused_by(Position(1))
///     .index("customer", "c-7");
/// assert_eq!(db.append(paid)?.position, Position(2));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub(crate) kind: Option<EventType>,
    pub(crate) target: Target,
    pub(crate) id: Option<EventId>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) actor: Option<Entity>,
    pub(crate) producer: Option<Producer>,
    pub(crate) cause: Option<Cause>,
    pub(crate) correlation: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) tags: Vec<Tag>,
    /// The names of the tags, once there are many.
    tag_names: HashSet<String>,
    pub(crate) key: Option<String>,
    pub(crate) expect: Vec<Expect>,
    pub(crate) data: Document,
    pub(crate) metadata: Document,
    /// When it was recorded in the log that it is restored from.
    pub(crate) recorded: Option<Timestamp>,
    /// Where it has to land, for what is said of it to be true.
    pub(crate) placed: Option<Position>,
    /// The version it has to get.
    pub(crate) versioned: Option<u64>,
    fault: Option<Error>,
}

/// Whose history the event joins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// Nothing was said: the actor, if its kind is the type's prefix; else nobody's.
    Unsaid,
    Nobody,
    Entity(Entity),
}

impl NewEvent {
    /// An event of a type like `Order.paid`.
    pub fn new(kind: &str) -> NewEvent {
        let (kind, fault) = match EventType::new(kind) {
            Ok(kind) => (Some(kind), None),
            Err(fault) => (None, Some(fault)),
        };
        NewEvent {
            kind,
            target: Target::Unsaid,
            id: None,
            timestamp: None,
            actor: None,
            producer: None,
            cause: None,
            correlation: None,
            namespace: None,
            tags: Vec::new(),
            tag_names: HashSet::new(),
            key: None,
            expect: Vec::new(),
            data: Document::empty(),
            metadata: Document::empty(),
            recorded: None,
            placed: None,
            versioned: None,
            fault,
        }
    }

    /// An event that closes an entity: nothing more joins its history until it is [reopened](NewEvent::reopen). Appending anything else to it
    /// is a [`Conflict::Closed`](crate::error::Conflict::Closed), which names this event; so is closing it again. A member `because` is told there.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)))?;
    /// db.append(NewEvent::close(("Order", 42)).member("because", "shipped"))?;
    /// let paid = || NewEvent::new("Order.paid").on(("Order", 42));
    /// let refused = db.append(paid()).unwrap_err().to_string();
    /// assert!(refused.contains("Order 42: expected an entity that is not closed"), "{refused}");
    /// db.append(NewEvent::reopen(("Order", 42)))?;
    /// db.append(paid())?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn close(target: impl Into<Entity>) -> NewEvent {
        NewEvent::new(CLOSED).on(target)
    }

    /// An event that lets more join the history of an entity that is [closed](NewEvent::close); of one that is not, it is refused.
    pub fn reopen(target: impl Into<Entity>) -> NewEvent {
        NewEvent::new(REOPENED).on(target)
    }

    /// An event of a serde enum with `tag = "type", content = "data"`: the variant `paid` on an `Order` is `Order.paid`.
    pub fn typed<T: Serialize + ?Sized>(target: impl Into<Entity>, event: &T) -> NewEvent {
        let target = target.into();
        match typed_parts(event) {
            Ok((name, data)) => {
                let whole = if name.contains('.') { name } else { format!("{}.{name}", target.kind()) };
                NewEvent::new(&whole).on(target).data(&data)
            }
            Err(fault) => NewEvent { fault: Some(fault), ..NewEvent::new("") },
        }
    }

    /// The entity whose history it joins. Without this, that is the actor if its kind is the type's prefix, else none.
    pub fn on(mut self, target: impl Into<Entity>) -> NewEvent {
        self.target = Target::Entity(target.into());
        self
    }

    /// It joins no entity's history, whoever the actor is.
    pub fn on_nobody(mut self) -> NewEvent {
        self.target = Target::Nobody;
        self
    }

    /// On whose behalf.
    pub fn by(mut self, actor: impl Into<Entity>) -> NewEvent {
        self.actor = Some(actor.into());
        self
    }

    /// When it occurred, where that is not now.
    pub fn at(mut self, timestamp: Timestamp) -> NewEvent {
        self.timestamp = Some(timestamp);
        self
    }

    /// An id of the caller's: any text of up to 256 bytes, kept verbatim. An id is in the log once: appended again with the same content, the
    /// event that is there is given back and nothing is written; with other content that is a conflict, which names both.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// let paid = |amount: u32| NewEvent::new("Order.paid").on(("Order", 42)).id("pay-7f3").member("amount", amount);
    /// let first = db.append(paid(10))?;
    /// assert_eq!(db.append(paid(10))?, first);
    /// let other = db.append(paid(11)).unwrap_err();
    /// assert!(other.is_conflict() && other.to_string().contains("(with other data)"), "{other}");
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// Events of a group are given back where each of them has an id, and all of them are there.
    pub fn id(mut self, id: &str) -> NewEvent {
        match EventId::new(id) {
            Ok(id) => self.id = Some(id),
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// What is to be known of it: any serde type with the form of a JSON object.
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> NewEvent {
        match Document::of(data) {
            Ok(data) => self.data = data,
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// Adds one member to `data`.
    pub fn member<T: Serialize>(mut self, name: &str, value: T) -> NewEvent {
        let added = self.data.to_value().and_then(|data| {
            let Value::Object(mut members) = data else { return Ok(Document::empty()) };
            members.insert(name.to_owned(), Value::of(&value)?);
            Document::from_object(&members)
        });
        match added {
            Ok(data) => self.data = data,
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// What is to be known of how it came here: an object, as for `data`.
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> NewEvent {
        match Document::of(metadata) {
            Ok(metadata) => self.metadata = metadata,
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// The model that made it, where that is not simply the target. One with a vector clock has its sum as its version: that need
    /// not be said, and another is an error.
    pub fn produced_by(mut self, producer: Producer) -> NewEvent {
        match producer.settled() {
            Ok(producer) => self.producer = Some(producer),
            Err(fault) => self.fail(fault),
        }
        self
    }

    /// The event of this log that brought it about. Its correlation is inherited, or begins there.
    pub fn caused_by(mut self, position: Position) -> NewEvent {
        self.cause = Some(Cause::Event(position));
        self
    }

    /// The event or command from elsewhere that brought it about.
    pub fn caused_by_named(mut self, kind: &str, id: &str) -> NewEvent {
        self.cause = Some(Cause::Named { kind: kind.to_owned(), id: id.to_owned() });
        self
    }

    /// The root of its chain of causes, where that is known.
    pub fn correlation(mut self, correlation: &str) -> NewEvent {
        self.correlation = Some(correlation.to_owned());
        self
    }

    /// The namespace of the model.
    pub fn namespace(mut self, namespace: &str) -> NewEvent {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// A value it can be found by: text, a number or a boolean; or several of them in an array, by each of which it is found.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Exam.held").index("course", ["maths", "physics"]))?;
    /// let found = |course: &str| db.query(&format!("EVENTS BY course = '{course}'")).map(|answer| answer.rows.count());
    /// assert_eq!((found("maths")?, found("physics")?, found("art")?), (1, 1, 0));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn index<T: Serialize>(mut self, name: &str, value: T) -> NewEvent {
        let values = match Value::of(&value) {
            Ok(Value::Array(values)) => values,
            Ok(value) => vec![value],
            Err(fault) => {
                self.fail(fault);
                return self;
            }
        };
        if name.is_empty() || !self.is_new_tag(name) {
            self.fail(Error::invalid("index values", "each name once, not empty", format!("'{name}' again")));
            return self;
        }
        let several = values.len() > 1;
        let mut seen = HashSet::new();
        for value in values {
            if matches!(value, Value::Null | Value::Array(_) | Value::Object(_)) {
                let found = format!("{} ({})", value.kind(), shorten(&value.to_string()));
                let expected = "text, a number or a boolean";
                self.fail(Error::invalid(format!("the index value {name}"), expected, found));
            } else if self.tags.len() >= MAX_TAGS {
                self.fail(Error::invalid("index values", format!("at most {MAX_TAGS} of an event"), "more"));
            } else if !several || seen.insert(value.to_string()) {
                self.tags.push(Tag { name: name.to_owned(), value });
                continue;
            }
            if self.fault.is_some() {
                break;
            }
        }
        self
    }

    /// Whether no index value has this name yet. Of many it is remembered: each would be compared with all before it.
    fn is_new_tag(&mut self, name: &str) -> bool {
        const FEW: usize = 16;
        if self.tags.len() < FEW {
            return self.tags.iter().all(|tag| tag.name != name);
        }
        if self.tag_names.is_empty() {
            self.tag_names = self.tags.iter().map(|tag| tag.name.clone()).collect();
        }
        self.tag_names.insert(name.to_owned())
    }

    /// The members of `data` it can be found by. Say `data` first.
    pub fn index_by<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> NewEvent {
        for name in names {
            self = match self.data.get(name) {
                Some(value) => self.index(name, value),
                None => {
                    let expected = format!("a member `{name}` in data");
                    self.fail(Error::invalid("index by", expected, "no such member"));
                    self
                }
            };
        }
        self
    }

    /// The idempotency key: appended again with the same key, the first outcome is given back and nothing is written.
    pub fn key(mut self, key: &str) -> NewEvent {
        if key.is_empty() {
            self.fail(Error::invalid("key", "a text that is not empty", "''"));
        }
        self.key = Some(key.to_owned());
        self
    }

    /// What is to be so at the moment of commit: of the target, or of the log. Several may be said.
    pub fn expect(mut self, expect: impl Into<Expect>) -> NewEvent {
        self.expect.push(expect.into());
        self
    }

    pub(crate) fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }

    /// The type, once everything that can be checked without the log holds.
    pub(crate) fn checked(&self) -> Result<&EventType> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(kind) = &self.kind else {
            return Err(Error::invalid("the type of an event", "a type like Order.paid", "none"));
        };
        if let Target::Entity(target) = &self.target {
            target.check()?;
        }
        if let Some(actor) = &self.actor {
            actor.check()?;
        }
        if let Some(producer) = &self.producer {
            producer.model.check()?;
        }
        Ok(kind)
    }

    /// How many bytes it takes, all that a caller says counted.
    pub(crate) fn size(&self) -> usize {
        let entity = |entity: &Entity| entity.kind().len() + entity.id().len();
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tag = |tag: &Tag| tag.name.len() + tag.value.as_text().map_or(9, str::len);
        self.data.as_bytes().len()
            + self.metadata.as_bytes().len()
            + self.kind.as_ref().map_or(0, |kind| kind.as_str().len())
            + self.owner().map_or(0, entity)
            + self.actor.as_ref().map_or(0, entity)
            + self.producer.as_ref().map_or(0, |producer| {
                entity(&producer.model)
                    + producer.vector.as_ref().map_or(0, |vector| vector.to_string().len())
            })
            + match &self.cause {
                Some(Cause::Named { kind, id }) => kind.len() + id.len(),
                _ => 0,
            }
            + text(&self.correlation)
            + text(&self.namespace)
            + text(&self.key)
            + self.tags.iter().map(tag).sum::<usize>()
    }

    /// The event of this log that it names as its cause.
    pub(crate) fn cause_position(&self) -> Option<Position> {
        match self.cause {
            Some(Cause::Event(position)) => Some(position),
            _ => None,
        }
    }

    /// The entity whose history it joins, after the default.
    pub(crate) fn owner(&self) -> Option<&Entity> {
        match &self.target {
            Target::Entity(entity) => Some(entity),
            Target::Nobody => None,
            Target::Unsaid => {
                let prefix = self.kind.as_ref().map(EventType::prefix);
                self.actor.as_ref().filter(|actor| Some(actor.kind()) == prefix)
            }
        }
    }
}
