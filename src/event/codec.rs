//! The form in which an event is stored.
//!
//! | part | bytes |
//! |---|---|
//! | checksum | CRC-32 over the position (8 bytes, big-endian) and all that follows |
//! | header length | 4, big-endian; its highest bits tell of a trailer |
//! | header | MessagePack values in the order of the table below, one after another |
//! | data length | 4, big-endian |
//! | data | MessagePack, a map |
//! | metadata | MessagePack, a map; nothing when it is empty |
//! | trailer | only where a bit says so: what the bit means, then its length, 4, big-endian |
//!
//! The header: a set of bits that tells which of the others are there, the version (0 without a target), the id (16 bytes or
//! text), the type, `recorded` as seconds and nanoseconds, and then what there is of: timestamp (when it differs), target (its kind
//! only when it is not the type's prefix), actor, producer, cause, correlation, namespace, tags, key, the seal of a key.
//!
//! Bit 31 of the header length: some values are stored encrypted; `data` and `metadata` have null in their places, and the trailer has
//! them ([`super::private`]). Bit 29 beside it: values are encrypted that were appended in plain; the trailer ends with what tells of
//! the payload as it was ([`super::rewritten`]). Bit 30 is of the form that is read alone: the trailer names what is forgotten.
//!
//! The position is the key of the row, not part of it; the checksum covers it, so a row in the wrong place is noticed.

use std::sync::Arc;

use super::record::Record;
use super::rewritten::OriginalHash;
use super::{Cause, Event, EventId, KeyDigest, NewEvent};
use crate::document::Raw;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Error, Result};
use crate::time::Timestamp;

pub(super) const TIMESTAMP: u32 = 1;
pub(super) const TARGET: u32 = 1 << 1;
pub(super) const TARGET_KIND: u32 = 1 << 2;
pub(super) const ACTOR: u32 = 1 << 3;
pub(super) const PRODUCER: u32 = 1 << 4;
pub(super) const PRODUCER_VERSION: u32 = 1 << 5;
pub(super) const PRODUCER_VECTOR: u32 = 1 << 6;
pub(super) const CAUSE_EVENT: u32 = 1 << 7;
pub(super) const CAUSE_NAMED: u32 = 1 << 8;
pub(super) const CORRELATION: u32 = 1 << 9;
pub(super) const NAMESPACE: u32 = 1 << 10;
pub(super) const TAGS: u32 = 1 << 11;
pub(super) const KEY: u32 = 1 << 12;
pub(super) const SEAL: u32 = 1 << 13;
pub(super) const GIVEN_ID: u32 = 1 << 14;

/// The bytes before the header: checksum and length.
pub(crate) const LEAD: usize = 8;

/// The bits of the header length that tell of a trailer.
const ENCRYPTED: u32 = 1 << 31;
const FORGOTTEN: u32 = 1 << 30;
const REWRITTEN: u32 = 1 << 29;
const TRAILER: u32 = ENCRYPTED | FORGOTTEN | REWRITTEN;

/// What follows the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailer<'a> {
    /// Values that are stored encrypted.
    Encrypted(&'a [u8]),
    /// The same, of which some were in plain once, and what tells of that.
    Rewritten(&'a [u8]),
    /// What was, and is forgotten. Nothing that is stored says so: it is what a reader is told.
    Forgotten(&'a [u8]),
}

impl<'a> Trailer<'a> {
    fn bit(self) -> u32 {
        match self {
            Trailer::Encrypted(_) => ENCRYPTED,
            Trailer::Rewritten(_) => ENCRYPTED | REWRITTEN,
            Trailer::Forgotten(_) => FORGOTTEN,
        }
    }

    pub fn bytes(self) -> &'a [u8] {
        match self {
            Trailer::Encrypted(bytes) | Trailer::Rewritten(bytes) | Trailer::Forgotten(bytes) => bytes,
        }
    }

    /// The parts of it that are encrypted values.
    pub fn encrypted(self) -> &'a [u8] {
        match self {
            Trailer::Encrypted(bytes) => bytes,
            Trailer::Rewritten(bytes) => OriginalHash::split(bytes).0,
            Trailer::Forgotten(_) => &[],
        }
    }
}

/// What the commit adds to what the caller said.
#[derive(Debug)]
pub(crate) struct Assigned<'a> {
    pub position: Position,
    pub version: Version,
    pub id: &'a EventId,
    /// Whether the id is the database's own.
    pub own_id: bool,
    pub recorded: Timestamp,
    pub seal: Option<KeyDigest>,
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
    put_header(out, new, kind, target, assigned);
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

/// Which of the members that need not be there are, a bit each.
fn mask_of(new: &NewEvent, kind: &EventType, target: Option<&Entity>, assigned: &Assigned) -> u32 {
    let mut mask = 0;
    let mut has = |bit: u32, there: bool| mask |= if there { bit } else { 0 };
    has(TIMESTAMP, new.timestamp.is_some_and(|timestamp| timestamp != assigned.recorded));
    has(TARGET, target.is_some());
    has(TARGET_KIND, target.is_some_and(|target| target.kind() != kind.prefix()));
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
    mask
}

fn put_header(
    out: &mut Vec<u8>,
    new: &NewEvent,
    kind: &EventType,
    target: Option<&Entity>,
    assigned: &Assigned,
) {
    let mask = mask_of(new, kind, target, assigned);
    let mut header = HeaderWriter(out);
    header.put(&mask);
    header.put(&assigned.version.0);
    match assigned.id.uuid() {
        Some(bytes) => header.bytes(bytes),
        None => header.put(&assigned.id.to_string()),
    }
    header.put(kind.as_str());
    header.time(assigned.recorded);
    if let Some(timestamp) = new.timestamp.filter(|_| mask & TIMESTAMP != 0) {
        header.time(timestamp);
    }
    if let Some(target) = target {
        if mask & TARGET_KIND != 0 {
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
}

pub(crate) fn checksum(position: Position, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.0.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes header values. Writing into memory does not fail, and these types always have a form.
struct HeaderWriter<'a>(&'a mut Vec<u8>);

impl HeaderWriter<'_> {
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

/// Whether a mask says what an event can have: what belongs to another fact is not there without it, and there is one cause.
/// Else the facts behind it would be looked for in a wrong place.
pub(super) fn holds_together(mask: u32) -> bool {
    let has = |bit: u32| mask & bit != 0;
    (has(TARGET) || !has(TARGET_KIND))
        && (has(PRODUCER) || !has(PRODUCER_VERSION | PRODUCER_VECTOR))
        && !(has(CAUSE_EVENT) && has(CAUSE_NAMED))
}

/// How long the header is, by the bytes before it.
pub(super) fn header_length(bytes: &[u8]) -> Option<usize> {
    let word = u32::from_be_bytes(*bytes.get(4..LEAD)?.first_chunk::<4>()?);
    Some((word & !TRAILER) as usize)
}

/// Whether an event has values that are stored encrypted, told by its first bytes.
#[inline]
pub(crate) fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.get(4).is_some_and(|byte| byte & 0x80 != 0)
}

/// The parts of a stored event, its checksum found right.
pub(crate) struct Parts<'a> {
    pub header: &'a [u8],
    pub data: &'a [u8],
    /// Empty when there is no metadata.
    pub metadata: &'a [u8],
    pub trailer: Option<Trailer<'a>>,
}

/// Takes a stored event apart; none where it is not what was written at this position, and [`damage`] tells why.
#[inline]
pub(crate) fn parts(position: Position, bytes: &[u8]) -> Option<Parts<'_>> {
    let (stored, rest) = bytes.split_first_chunk::<4>()?;
    if checksum(position, rest) != u32::from_be_bytes(*stored) {
        return None;
    }
    let part = |bytes: &'_ [u8]| -> Option<(u32, usize)> {
        let word = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
        Some((word & TRAILER, (word & !TRAILER) as usize))
    };
    let (bits, length) = part(rest)?;
    let (header, rest) = rest[4..].split_at_checked(length)?;
    let (none, length) = part(rest)?;
    let (data, rest) = rest[4..].split_at_checked(length)?;
    if bits | none == 0 {
        return Some(Parts { header, data, metadata: rest, trailer: None });
    }
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let before = rest.len().checked_sub(u32::from_be_bytes(*length) as usize)?;
    let (metadata, trailer) = rest.split_at(before);
    let trailer = match bits {
        ENCRYPTED => Trailer::Encrypted(trailer),
        bits if bits == ENCRYPTED | REWRITTEN => Trailer::Rewritten(trailer),
        FORGOTTEN => Trailer::Forgotten(trailer),
        _ => return None,
    };
    (none == 0).then_some(Parts { header, data, metadata, trailer: Some(trailer) })
}

/// Writes the stored form of an event, part by part, behind a header that there is.
pub(crate) struct PayloadWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Where the event begins, and its data.
    start: usize,
    data: usize,
}

impl<'o> PayloadWriter<'o> {
    /// Another event, whose header this is.
    pub fn behind(header: &[u8], out: &'o mut Vec<u8>) -> PayloadWriter<'o> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(header.len() as u32).to_be_bytes());
        out.extend_from_slice(header);
        out.extend_from_slice(&[0; 4]);
        PayloadWriter { start, data: out.len(), out }
    }

    /// The event that was [encoded](encode) from `start` on, with another payload; none where that is no event.
    pub fn replacing(out: &'o mut Vec<u8>, start: usize) -> Option<PayloadWriter<'o>> {
        let data = start + LEAD + header_length(out.get(start..)?)? + 4;
        if data > out.len() {
            return None;
        }
        out.truncate(data);
        Some(PayloadWriter { start, data, out })
    }

    /// Where data is written, and metadata once that is ended, and then what the trailer has.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// What was written up to here is data.
    pub fn end_data(&mut self) {
        let length = (self.out.len() - self.data) as u32;
        self.out[self.data - 4..self.data].copy_from_slice(&length.to_be_bytes());
    }

    /// Ends it: with a trailer, where there is one.
    pub fn finish(self, position: Position, trailer: Option<Trailer>) {
        let Some(trailer) = trailer else { return self.seal(position) };
        let begins = self.out.len();
        self.out.extend_from_slice(trailer.bytes());
        self.finish_with(position, begins, trailer.bit());
    }

    /// Ends it: what was written from `begins` on is its trailer, of values that are encrypted.
    pub fn finish_encrypted(self, position: Position, begins: usize) {
        self.finish_with(position, begins, ENCRYPTED);
    }

    fn finish_with(self, position: Position, begins: usize, bit: u32) {
        let length = (self.out.len() - begins) as u32;
        self.out.extend_from_slice(&length.to_be_bytes());
        // The highest bits of the header's length.
        self.out[self.start + 4] |= (bit >> 24) as u8;
        self.seal(position);
    }

    fn seal(self, position: Position) {
        let (checked, rest) = self.out[self.start..].split_at_mut(4);
        checked.copy_from_slice(&checksum(position, rest).to_be_bytes());
    }
}

/// Why these bytes have no [`parts`].
#[cold]
pub(crate) fn damage(position: Position, bytes: &[u8]) -> Error {
    let found = match bytes.split_first_chunk::<4>() {
        None => "no checksum",
        Some((stored, rest)) if checksum(position, rest) != u32::from_be_bytes(*stored) => {
            "its checksum does not fit its bytes"
        }
        Some(_) => "its parts do not fit its length",
    };
    Error::corrupt(format!("the event at {position}"), found)
}

/// How far something reaches that has the form of a stored event, whatever its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Up to the end of `data`; `metadata` may follow.
    Event { data_end: usize },
    /// So many bytes at least are to be looked at.
    Longer { wanted: usize },
}

/// Looks at what begins like a stored event; none where it does not. It reads what comes first of the header, and lengths.
pub(crate) fn extent(bytes: &[u8]) -> Option<Extent> {
    const CHECKSUM: usize = 4;
    let length = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    // What is encrypted lies behind `data`, as metadata does.
    let header = length(CHECKSUM)? & !((ENCRYPTED | REWRITTEN) as usize);
    let mut values = Raw(bytes.get(LEAD..)?);
    let (mask, rest) = values.int()?;
    if !u32::try_from(mask).is_ok_and(holds_together) {
        return None;
    }
    // The version, the id, the type.
    values = Raw(Raw(rest).int()?.1);
    values = Raw(match values.0.split_first_chunk::<2>() {
        Some((&[0xc4, 16], rest)) => rest.get(16..)?,
        _ => values.text()?.1,
    });
    let (kind, rest) = values.text()?;
    // A long one is not searched in vain.
    if bytes.len() - rest.len() > LEAD.saturating_add(header) || !kind.contains(&b'.') {
        return None;
    }
    let data_begin = LEAD.saturating_add(header).saturating_add(4);
    let Some(data) = length(LEAD.saturating_add(header)) else {
        return Some(Extent::Longer { wanted: data_begin });
    };
    let data_end = data_begin.saturating_add(data);
    match bytes.get(data_begin) {
        Some(first) if !is_map(*first) => None,
        _ if data_end > bytes.len() => Some(Extent::Longer { wanted: data_end }),
        _ => Some(Extent::Event { data_end }),
    }
}

/// Whether a map of MessagePack begins with this byte.
pub(crate) fn is_map(byte: u8) -> bool {
    matches!(byte, 0x80..=0x8f | 0xde | 0xdf)
}

/// The same event with another version; none where the bytes are no event's.
pub(crate) fn with_version(position: Position, bytes: &[u8], version: Version) -> Option<Vec<u8>> {
    let Parts { header, trailer, .. } = parts(position, bytes)?;
    let (mask, version_on) = Raw(header).int()?;
    let facts = Raw(version_on).skip()?;
    let mut out = vec![0; LEAD];
    let mut writer = HeaderWriter(&mut out);
    writer.put(&u32::try_from(mask).ok()?);
    writer.put(&version.0);
    out.extend_from_slice(facts);
    let length = (out.len() - LEAD) as u32 | trailer.map_or(0, Trailer::bit);
    out[4..LEAD].copy_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes.get(LEAD + header.len()..)?);
    let checksum = checksum(position, &out[4..]);
    out[..4].copy_from_slice(&checksum.to_be_bytes());
    Some(out)
}

/// Decodes a stored event; `data` and `metadata` stay as they are and share its bytes.
pub(crate) fn decode(position: Position, bytes: Arc<[u8]>) -> Result<Event> {
    Record::open(position, &bytes)?.to_event(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Producer;
    use super::*;
    use crate::document::Document;

    fn encoded(new: &NewEvent, position: u64) -> Vec<u8> {
        let mut out = vec![9; 3];
        let id = EventId::new("018f2f6e-7a30-7000-8000-000000000001").unwrap();
        let assigned = Assigned {
            position: Position(position),
            version: Version(3),
            id: new.id.as_ref().unwrap_or(&id),
            own_id: new.id.is_none(),
            recorded: Timestamp::from_millis(1_700_000_000_123),
            seal: new.key.as_ref().map(|_| KeyDigest { content: [7; 16], count: 2 }),
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
                vector: Some("a:3;b:5".parse().unwrap()),
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
        assert_eq!(event.id.to_string(), "mine");
        assert_eq!(event.kind.as_str(), "Order.paid");
        assert_eq!(Some(event.timestamp), new.timestamp);
        assert_eq!(event.recorded, Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(event.target.as_ref(), new.owner());
        assert_eq!((event.actor, event.producer, event.cause), (new.actor, new.producer, new.cause));
        assert_eq!((event.correlation, event.namespace), (new.correlation, new.namespace));
        assert_eq!((event.tags, event.key), (new.tags, new.key));
        assert_eq!(event.seal, Some(KeyDigest { content: [7; 16], count: 2 }));
        assert_eq!((event.data, event.metadata), (new.data, new.metadata));
    }

    #[test]
    fn its_form_tells_how_far_it_reaches() {
        let mut new = full();
        new.metadata = Document::empty();
        let bytes = encoded(&new, 7);
        assert_eq!(extent(&bytes), Some(Extent::Event { data_end: bytes.len() }));
        // Whatever the checksum is, and whatever follows.
        let mut other = [bytes.as_slice(), &[1, 2, 3]].concat();
        other[0] ^= 1;
        assert_eq!(extent(&other), Some(Extent::Event { data_end: bytes.len() }));
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(extent(cut), Some(Extent::Longer { wanted: bytes.len() }));
        assert_eq!(extent(&encoded(&full(), 7)[1..]), None);
        for end in 0..bytes.len() {
            assert!(!matches!(extent(&bytes[..end]), Some(Extent::Event { .. })), "{end}");
        }
    }

    #[test]
    fn another_version_is_all_that_changes() {
        let bytes = encoded(&full(), 7);
        let before = decode(Position(7), bytes.as_slice().into()).unwrap();
        for version in [1, 3, 127, 128, 70_000, u64::MAX] {
            let other = with_version(Position(7), &bytes, Version(version)).unwrap();
            assert_eq!(other == bytes, version == 3);
            let after = decode(Position(7), other.into()).unwrap();
            assert_eq!(after.version, Some(Version(version)));
            assert_eq!(Event { version: before.version, ..after }, before);
        }
        assert_eq!(with_version(Position(8), &bytes, Version(1)), None);
    }

    #[test]
    fn a_small_event_is_small() {
        let new = NewEvent::new("Order.paid").on(("Order", 42)).by(("User", 7)).member("amount", 5);
        assert!(encoded(&new, 1).len() < 90, "{}", encoded(&new, 1).len());
    }

    #[test]
    fn a_vector_clock_that_is_none_is_damage() {
        let mut bytes = encoded(&full(), 7);
        let at = bytes.windows(7).position(|part| part == b"a:3;b:5").unwrap();
        bytes[at..at + 7].copy_from_slice(b"a:3;a:5");
        let right = checksum(Position(7), &bytes[4..]).to_be_bytes();
        bytes[..4].copy_from_slice(&right);
        let error = decode(Position(7), bytes.into()).unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. })
                && error.to_string().contains("a vector clock that is none"),
            "{error}"
        );
    }

    #[test]
    fn a_row_in_the_wrong_place_is_noticed() {
        assert!(decode(Position(8), encoded(&full(), 7).into()).is_err());
    }

    /// An event with some of the facts, one bit each.
    fn some(facts: u16) -> NewEvent {
        let all = full();
        let has = |bit: u16| facts & 1 << bit != 0;
        let mut new = NewEvent::new("Order.paid").data(&serde_json::json!({"amount": 5}));
        if has(0) {
            new = if has(1) { new.on(("Invoice", "INV-9")) } else { new.on(("Order", 42)) };
        }
        new.actor = all.actor.filter(|_| has(2));
        new.producer = all.producer.filter(|_| has(3));
        if let Some(producer) = &mut new.producer {
            producer.version = producer.version.filter(|_| has(4));
            producer.vector = producer.vector.take().filter(|_| has(5));
        }
        new.cause = all.cause.filter(|_| has(6));
        if has(7) {
            new.cause = Some(Cause::Event(Position(3)));
        }
        new.correlation = all.correlation.filter(|_| has(8));
        new.namespace = all.namespace.filter(|_| has(9));
        new.tags = if has(10) { all.tags } else { Vec::new() };
        new.key = all.key.filter(|_| has(11));
        new.timestamp = all.timestamp.filter(|_| has(12));
        new.id = all.id.filter(|_| has(13));
        if has(14) {
            new = new.metadata(&serde_json::json!({"ip": "::1"}));
        }
        new
    }

    proptest! {
        #[test]
        fn what_is_read_in_place_is_what_is_decoded(facts in any::<u16>()) {
            let bytes: Arc<[u8]> = encoded(&some(facts), 7).into();
            let event = decode(Position(7), bytes.clone()).unwrap();
            let record = Record::open(Position(7), &bytes).unwrap();
            prop_assert_eq!(record.position(), event.position);
            prop_assert_eq!(record.version(), event.version);
            prop_assert_eq!(record.id().unwrap(), event.id);
            prop_assert_eq!(record.kind(), event.kind.as_str());
            prop_assert_eq!((record.timestamp(), record.recorded()), (event.timestamp, event.recorded));
            prop_assert_eq!(record.target().map(Entity::from), event.target);
            prop_assert_eq!(record.actor().map(Entity::from), event.actor);
            let producer = record.producer().map(|producer| Producer {
                model: producer.model.into(),
                version: producer.version,
                vector: producer.vector.map(|vector| vector.parse().unwrap()),
            });
            prop_assert_eq!(producer, event.producer);
            prop_assert_eq!(record.cause().map(|cause| cause.to_cause()), event.cause);
            prop_assert_eq!(record.correlation(), event.correlation.as_deref());
            prop_assert_eq!(record.namespace(), event.namespace.as_deref());
            prop_assert_eq!(record.key(), event.key.as_deref());
            let tags = record.tags().map(|(name, value)| (name.to_owned(), value.to_value().unwrap()));
            let expected = event.tags.into_iter().map(|tag| (tag.name, tag.value));
            prop_assert_eq!(tags.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            prop_assert_eq!(record.data().0, event.data.as_bytes());
            prop_assert_eq!(record.metadata().0.is_empty(), event.metadata.is_empty());
        }

        /// Of an event that has everything, one fact is said not to be there, or to be there twice.
        #[test]
        fn a_fact_that_hangs_in_the_air_is_damage(bit in 0u32..15) {
            let mut bytes = encoded(&full(), 7);
            let mask = u16::from_be_bytes([bytes[LEAD + 1], bytes[LEAD + 2]]) ^ 1 << bit;
            prop_assert_eq!(bytes[LEAD], 0xcd, "the mask, of two bytes");
            bytes[LEAD + 1..LEAD + 3].copy_from_slice(&mask.to_be_bytes());
            let right = checksum(Position(7), &bytes[4..]).to_be_bytes();
            bytes[..4].copy_from_slice(&right);
            let impossible = [TARGET, PRODUCER, CAUSE_EVENT].contains(&(1 << bit));
            let error = Record::open(Position(7), &bytes).map(drop).err().map(|error| error.to_string());
            let told = error.is_some_and(|error| error.contains("facts that do not go together"));
            prop_assert_eq!(told, impossible, "mask {:#x}", mask);
        }

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
            if let Ok(record) = Record::open(Position(1), &bytes) {
                let _ = (record.target(), record.actor(), record.producer(), record.cause(), record.correlation());
                let _ = (record.namespace(), record.tags().count(), record.key(), record.id());
            }
            let _ = decode(Position(1), bytes.into());
        }
    }
}
