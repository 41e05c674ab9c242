//! The form in which an event is stored.
//!
//! | part | bytes |
//! |---|---|
//! | checksum | CRC-32 over the position (8 bytes, big-endian) and all that follows |
//! | header length | 4, big-endian |
//! | header | MessagePack values in the order of the table below, one after another |
//! | data length | 4, big-endian |
//! | data | MessagePack, a map |
//! | metadata | MessagePack, a map; nothing when it is empty |
//!
//! The header: a set of bits that tells which of the others are there, the version (0 without a target), the id (16 bytes or
//! text), the type, `recorded` as seconds and nanoseconds, and then what there is of: timestamp (when it differs), target (its kind
//! only when it is not the type's prefix), actor, producer, cause, correlation, namespace, tags, key.
//!
//! The position is the key of the row, not part of it; the checksum covers it, so a row in the wrong place is noticed.

use std::sync::Arc;

use serde::de::{Deserialize, DeserializeOwned};

use super::{Cause, Event, EventId, NewEvent, Producer, Seal, Tag};
use crate::document::Document;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::value::Value;

const TIMESTAMP: u32 = 1;
const TARGET: u32 = 1 << 1;
const TARGET_KIND: u32 = 1 << 2;
const ACTOR: u32 = 1 << 3;
const PRODUCER: u32 = 1 << 4;
const PRODUCER_VERSION: u32 = 1 << 5;
const PRODUCER_VECTOR: u32 = 1 << 6;
const CAUSE_EVENT: u32 = 1 << 7;
const CAUSE_NAMED: u32 = 1 << 8;
const CORRELATION: u32 = 1 << 9;
const NAMESPACE: u32 = 1 << 10;
const TAGS: u32 = 1 << 11;
const KEY: u32 = 1 << 12;
const SEAL: u32 = 1 << 13;
const GIVEN_ID: u32 = 1 << 14;

/// The bytes before the header: checksum and length.
const LEAD: usize = 8;

/// What the commit adds to what the caller said.
#[derive(Debug)]
pub(crate) struct Assigned<'a> {
    pub position: Position,
    pub version: Version,
    pub id: &'a EventId,
    /// Whether the id is the database's own.
    pub own_id: bool,
    pub recorded: Timestamp,
    pub seal: Option<Seal>,
}

/// Appends the stored form of an event. `kind` and `target` are the event's own, after defaults.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    new: &NewEvent,
    kind: &EventType,
    target: Option<&Entity>,
    assigned: &Assigned,
) {
    let start = out.len();
    out.extend_from_slice(&[0; LEAD]);
    let timestamp = new.timestamp.filter(|t| *t != assigned.recorded);
    let target_kind = target.is_some_and(|t| t.kind() != kind.prefix());
    let mut mask = 0;
    let mut has = |bit: u32, there: bool| mask |= if there { bit } else { 0 };
    has(TIMESTAMP, timestamp.is_some());
    has(TARGET, target.is_some());
    has(TARGET_KIND, target_kind);
    has(ACTOR, new.actor.is_some());
    has(PRODUCER, new.producer.is_some());
    has(PRODUCER_VERSION, new.producer.as_ref().is_some_and(|p| p.version.is_some()));
    has(PRODUCER_VECTOR, new.producer.as_ref().is_some_and(|p| p.vector.is_some()));
    has(CAUSE_EVENT, matches!(new.cause, Some(Cause::Event(_))));
    has(CAUSE_NAMED, matches!(new.cause, Some(Cause::Named { .. })));
    has(CORRELATION, new.correlation.is_some());
    has(NAMESPACE, new.namespace.is_some());
    has(TAGS, !new.tags.is_empty());
    has(KEY, new.key.is_some());
    has(SEAL, assigned.seal.is_some());
    has(GIVEN_ID, !assigned.own_id);

    let mut header = Header(out);
    header.put(&mask);
    header.put(&assigned.version.0);
    match assigned.id.uuid() {
        Some(bytes) => header.bytes(bytes),
        None => header.put(&assigned.id.to_string()),
    }
    header.put(kind.as_str());
    header.time(assigned.recorded);
    if let Some(timestamp) = timestamp {
        header.time(timestamp);
    }
    if let Some(target) = target {
        if target_kind {
            header.put(target.kind());
        }
        header.put(target.id());
    }
    if let Some(actor) = &new.actor {
        header.entity(actor);
    }
    if let Some(producer) = &new.producer {
        header.entity(&producer.model);
        producer.version.iter().for_each(|version| header.put(version));
        producer.vector.iter().for_each(|vector| header.put(vector));
    }
    match &new.cause {
        Some(Cause::Event(position)) => header.put(&position.0),
        Some(Cause::Named { kind, id }) => {
            header.put(kind);
            header.put(id);
        }
        None => {}
    }
    new.correlation.iter().for_each(|correlation| header.put(correlation));
    new.namespace.iter().for_each(|namespace| header.put(namespace));
    if !new.tags.is_empty() {
        header.put(&(new.tags.len() as u32));
        for tag in &new.tags {
            header.put(&tag.name);
            header.put(&tag.value);
        }
    }
    new.key.iter().for_each(|key| header.put(key));
    if let Some(seal) = &assigned.seal {
        header.bytes(&seal.content);
        header.put(&seal.count);
    }

    let length = (out.len() - start - LEAD) as u32;
    out[start + 4..start + LEAD].copy_from_slice(&length.to_be_bytes());
    let data = new.data.as_bytes();
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
    if !new.metadata.is_empty() {
        out.extend_from_slice(new.metadata.as_bytes());
    }
    let checksum = checksum(assigned.position, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_be_bytes());
}

pub(crate) fn checksum(position: Position, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.0.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes header values. Writing into memory does not fail, and these types always have a form.
struct Header<'a>(&'a mut Vec<u8>);

impl Header<'_> {
    fn put<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        let written = rmp_serde::encode::write(&mut self.0, value);
        debug_assert!(written.is_ok(), "text, numbers and scalar values always have a form");
    }

    fn bytes(&mut self, bytes: &[u8; 16]) {
        self.0.extend_from_slice(&[0xc4, 16]);
        self.0.extend_from_slice(bytes);
    }

    fn time(&mut self, time: Timestamp) {
        let (seconds, nanos) = time.parts();
        self.put(&seconds);
        self.put(&nanos);
    }

    fn entity(&mut self, entity: &Entity) {
        self.put(entity.kind());
        self.put(entity.id());
    }
}

/// The three parts of a stored event, its checksum found right.
pub(crate) struct Parts<'a> {
    pub header: &'a [u8],
    pub data: &'a [u8],
    /// Empty when there is no metadata.
    pub metadata: &'a [u8],
}

/// Takes a stored event apart and checks that it is what was written at this position.
pub(crate) fn parts(position: Position, bytes: &[u8]) -> Result<Parts<'_>> {
    let damaged = |found: &str| Error::corrupt(format!("the event at {position}"), found);
    let cut = || damaged("its parts do not fit its length");
    let part = |bytes: &'_ [u8]| -> Option<(usize, usize)> {
        let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
        (bytes.len() - 4 >= length).then_some((4, 4 + length))
    };
    let (stored, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("no checksum"))?;
    if checksum(position, rest) != u32::from_be_bytes(*stored) {
        return Err(damaged("its checksum does not fit its bytes"));
    }
    let (start, end) = part(rest).ok_or_else(cut)?;
    let (header, rest) = (&rest[start..end], &rest[end..]);
    let (start, end) = part(rest).ok_or_else(cut)?;
    let (data, metadata) = (&rest[start..end], &rest[end..]);
    Ok(Parts { header, data, metadata })
}

/// When a stored event occurred, and when it was recorded; the rest stays as it is.
pub(crate) fn times(position: Position, parts: &Parts) -> Result<(Timestamp, Timestamp)> {
    let mut read = Reader::new(parts.header, position);
    let mask: u32 = read.get()?;
    let (_version, _id, _kind): (u64, _, _) = (read.get()?, read.id()?, read.text()?);
    let recorded = read.time()?;
    let occurred = if mask & TIMESTAMP != 0 { read.time()? } else { recorded };
    Ok((occurred, recorded))
}

/// Decodes a stored event; `data` and `metadata` stay as they are and share its bytes.
pub(crate) fn decode(position: Position, bytes: Arc<[u8]>) -> Result<Event> {
    let parts = parts(position, &bytes)?;
    let (header, data) = (parts.header, parts.data);
    let mut read = Reader::new(header, position);
    let mask: u32 = read.get()?;
    let has = |bit: u32| mask & bit != 0;
    let version = Version(read.get()?);
    let id = read.id()?;
    let kind = EventType::stored(read.text()?);
    let recorded = read.time()?;
    let timestamp = if has(TIMESTAMP) { read.time()? } else { recorded };
    let target = if has(TARGET) {
        let target_kind = if has(TARGET_KIND) { Some(read.text()?) } else { None };
        Some(Entity::from((target_kind.unwrap_or(kind.prefix()), read.text()?)))
    } else {
        None
    };
    let actor = if has(ACTOR) { Some(read.entity()?) } else { None };
    let producer = if has(PRODUCER) {
        Some(Producer {
            model: read.entity()?,
            version: read.when(has(PRODUCER_VERSION))?,
            vector: read.when(has(PRODUCER_VECTOR))?,
        })
    } else {
        None
    };
    let cause = if has(CAUSE_EVENT) {
        Some(Cause::Event(Position(read.get()?)))
    } else if has(CAUSE_NAMED) {
        Some(Cause::Named { kind: read.get()?, id: read.get()? })
    } else {
        None
    };
    let correlation = read.when(has(CORRELATION))?;
    let namespace = read.when(has(NAMESPACE))?;
    let tags = (0..read.when::<u32>(has(TAGS))?.unwrap_or(0))
        .map(|_| Ok(Tag { name: read.get()?, value: read.get::<Value>()? }))
        .collect::<Result<Vec<_>>>()?;
    let key = read.when(has(KEY))?;
    let seal = if has(SEAL) { Some(Seal { content: read.sixteen()?, count: read.get()? }) } else { None };

    let data_start = LEAD + header.len() + 4;
    let data_end = data_start + data.len();
    let metadata = if parts.metadata.is_empty() {
        Document::empty()
    } else {
        Document::slice(&bytes, data_end, bytes.len())
    };
    Ok(Event {
        position,
        version: target.is_some().then_some(version),
        id,
        kind,
        timestamp,
        recorded,
        target,
        actor,
        producer,
        cause,
        correlation,
        namespace,
        tags,
        key,
        own_id: !has(GIVEN_ID),
        seal,
        data: Document::slice(&bytes, data_start, data_end),
        metadata,
    })
}

/// Reads header values, one after another.
struct Reader<'a> {
    decoder: rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>,
    position: Position,
}

impl<'a> Reader<'a> {
    fn new(header: &'a [u8], position: Position) -> Reader<'a> {
        Reader { decoder: rmp_serde::Deserializer::from_read_ref(header), position }
    }

    fn damaged(&self, found: impl ToString) -> Error {
        Error::corrupt(format!("the header of the event at {}", self.position), found.to_string())
    }

    fn get<T: DeserializeOwned>(&mut self) -> Result<T> {
        T::deserialize(&mut self.decoder).map_err(|e| self.damaged(e))
    }

    fn when<T: DeserializeOwned>(&mut self, there: bool) -> Result<Option<T>> {
        if there { self.get().map(Some) } else { Ok(None) }
    }

    fn text(&mut self) -> Result<&'a str> {
        <&str>::deserialize(&mut self.decoder).map_err(|e| self.damaged(e))
    }

    fn entity(&mut self) -> Result<Entity> {
        Ok(Entity::from((self.text()?, self.text()?)))
    }

    fn time(&mut self) -> Result<Timestamp> {
        Timestamp::from_parts(self.get()?, self.get()?)
    }

    fn id(&mut self) -> Result<EventId> {
        match IdForm::deserialize(&mut self.decoder).map_err(|e| self.damaged(e))? {
            IdForm::Uuid(bytes) => Ok(EventId::from_uuid(bytes)),
            IdForm::Text(text) => EventId::new(text),
        }
    }

    fn sixteen(&mut self) -> Result<[u8; 16]> {
        match IdForm::deserialize(&mut self.decoder).map_err(|e| self.damaged(e))? {
            IdForm::Uuid(bytes) => Ok(bytes),
            IdForm::Text(_) => Err(self.damaged("text where sixteen bytes belong")),
        }
    }
}

/// Sixteen bytes, or text.
enum IdForm<'a> {
    Uuid([u8; 16]),
    Text(&'a str),
}

impl<'de> Deserialize<'de> for IdForm<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<IdForm<'de>, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = IdForm<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("sixteen bytes or text")
            }

            fn visit_borrowed_bytes<E: serde::de::Error>(
                self,
                bytes: &'de [u8],
            ) -> std::result::Result<IdForm<'de>, E> {
                bytes.try_into().map(IdForm::Uuid).map_err(|_| E::invalid_length(bytes.len(), &self))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<IdForm<'de>, E> {
                Ok(IdForm::Text(text))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(new: &NewEvent, position: u64) -> Vec<u8> {
        let mut out = vec![9; 3];
        let id = EventId::new("018f2f6e-7a30-7000-8000-000000000001").unwrap();
        let assigned = Assigned {
            position: Position(position),
            version: Version(3),
            id: new.id.as_ref().unwrap_or(&id),
            own_id: new.id.is_none(),
            recorded: Timestamp::from_millis(1_700_000_000_123),
            seal: new.key.as_ref().map(|_| Seal { content: [7; 16], count: 2 }),
        };
        encode(&mut out, new, new.kind.as_ref().unwrap(), new.owner(), &assigned);
        out.split_off(3)
    }

    fn full() -> NewEvent {
        NewEvent::new("Order.paid")
            .on(("Invoice", "INV-9"))
            .by(("User", "ann"))
            .at("2013-01-01T00:00:00.000000001Z".parse().unwrap())
            .id("mine")
            .data(&serde_json::json!({"amount": 5, "deep": {"a": [1, null]}}))
            .metadata(&serde_json::json!({"ip": "::1"}))
            .produced_by(Producer {
                model: ("Till", 4).into(),
                version: Some(8),
                vector: Some("a:3;b:5".into()),
            })
            .caused_by_named("Pay", "cmd-1")
            .correlation("root")
            .namespace("shop")
            .index("customer", "c-7")
            .index_by(["amount"])
            .key("req-1")
    }

    #[test]
    fn every_field_comes_back() {
        let new = full();
        let event = decode(Position(7), encoded(&new, 7).into()).unwrap();
        assert_eq!((event.position, event.version), (Position(7), Some(Version(3))));
        let bytes = encoded(&new, 7);
        let times = times(Position(7), &parts(Position(7), &bytes).unwrap()).unwrap();
        assert_eq!(times, (event.timestamp, event.recorded));
        assert_eq!(event.id.to_string(), "mine");
        assert_eq!(event.kind.as_str(), "Order.paid");
        assert_eq!(Some(event.timestamp), new.timestamp);
        assert_eq!(event.recorded, Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(event.target.as_ref(), new.owner());
        assert_eq!((event.actor, event.producer, event.cause), (new.actor, new.producer, new.cause));
        assert_eq!((event.correlation, event.namespace), (new.correlation, new.namespace));
        assert_eq!((event.tags, event.key), (new.tags, new.key));
        assert_eq!(event.seal, Some(Seal { content: [7; 16], count: 2 }));
        assert_eq!((event.data, event.metadata), (new.data, new.metadata));
    }

    #[test]
    fn a_small_event_is_small() {
        let new = NewEvent::new("Order.paid").on(("Order", 42)).by(("User", 7)).member("amount", 5);
        assert!(encoded(&new, 1).len() < 90, "{}", encoded(&new, 1).len());
    }

    #[test]
    fn a_row_in_the_wrong_place_is_noticed() {
        assert!(decode(Position(8), encoded(&full(), 7).into()).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encoded(&full(), 7);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(decode(Position(7), bytes.into()).is_err());
        }

        #[test]
        fn arbitrary_bytes_with_a_right_checksum_never_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = checksum(Position(1), &body).to_be_bytes().to_vec();
            bytes.extend_from_slice(&body);
            let _ = decode(Position(1), bytes.into());
        }
    }
}
