//! A stored event, read where it lies.
//!
//! A scan looks at a great many events and wants little of most: the type, the time, a field of `data`. A [`Record`] borrows the
//! stored bytes and reads of them what is asked for; an [`Event`] is what becomes of one that somebody wants whole.
//! How the bytes are laid out is told in [`codec`].

mod name_cache;
mod values;

use std::sync::Arc;

use super::codec::{self, Parts, PayloadWriter, Trailer};
use super::private::ForgottenFields;
use super::rewritten::{OriginalHash, payload_hash};
use super::{Cause, Event, EventId, KeyDigest, Producer, Tag, VectorClock};
use crate::document::{Document, Raw};
use crate::entity::{self, Entity, EntityStr, EventType, Position, Version};
use crate::error::{Error, Result};
use crate::time::Timestamp;
pub(crate) use name_cache::NameCache;
use values::{Instant, RecordId, Values};

/// A stored event whose checksum was found right. Small: a scan makes one of every row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    position: Position,
    bytes: &'a [u8],
    mask: u32,
    /// Where these begin in the bytes: the type, the times behind it, the facts behind them, `data`, `metadata`.
    kind: u32,
    times: u32,
    facts: u32,
    data: u32,
    metadata: u32,
    /// Where the metadata ends, and what it is that follows it.
    end: u32,
    trails: Trails,
}

/// What a record has behind its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trails {
    Nothing,
    Encrypted,
    Rewritten,
    Forgotten,
}

/// What brought an event about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CauseStr<'a> {
    Event(Position),
    Named { kind: &'a str, id: &'a str },
}

impl CauseStr<'_> {
    pub fn to_cause(self) -> Cause {
        match self {
            CauseStr::Event(position) => Cause::Event(position),
            CauseStr::Named { kind, id } => Cause::Named { kind: kind.to_owned(), id: id.to_owned() },
        }
    }
}

/// The model that made an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerStr<'a> {
    pub model: EntityStr<'a>,
    pub version: Option<u64>,
    pub vector: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// The event that is stored at a position. Damaged bytes are an error.
    #[inline]
    pub fn open(position: Position, bytes: &'a [u8]) -> Result<Record<'a>> {
        // A record comes without an error beside it: with one, its parts lie crooked, and to copy them takes longer than to find them.
        Record::opened(position, bytes).ok_or_else(|| Record::damage(position, bytes))
    }

    fn opened(position: Position, bytes: &'a [u8]) -> Option<Record<'a>> {
        let Parts { header, data, metadata, trailer } = codec::parts(position, bytes)?;
        let mut values = Values(header);
        // No event is longer than a u32 can tell: its parts have lengths of 32 bits.
        let here = |values: &Values| (codec::LEAD + header.len() - values.0.len()) as u32;
        let mask = u32::try_from(values.int()?).ok()?;
        values.skip()?;
        values.skip_id()?;
        let kind = here(&values);
        values.skip()?;
        let times = here(&values);
        for _ in 0..if mask & codec::TIMESTAMP != 0 { 4 } else { 2 } {
            values.skip()?;
        }
        let facts = here(&values);
        let (end, trails) = match trailer {
            None => (bytes.len(), Trails::Nothing),
            Some(trailer) => {
                let trails = match trailer {
                    Trailer::Encrypted(_) => Trails::Encrypted,
                    Trailer::Rewritten(_) => Trails::Rewritten,
                    Trailer::Forgotten(_) => Trails::Forgotten,
                };
                (bytes.len() - trailer.bytes().len() - 4, trails)
            }
        };
        let metadata = (end - metadata.len()) as u32;
        let (data, end) = (metadata - data.len() as u32, end as u32);
        codec::holds_together(mask).then_some(Record {
            position,
            bytes,
            mask,
            kind,
            times,
            facts,
            data,
            metadata,
            end,
            trails,
        })
    }

    /// Why these bytes are no record.
    #[cold]
    fn damage(position: Position, bytes: &[u8]) -> Error {
        let Some(Parts { header, .. }) = codec::parts(position, bytes) else {
            return codec::damage(position, bytes);
        };
        let mask = Values(header).int().and_then(|mask| u32::try_from(mask).ok());
        let found = match mask {
            Some(mask) if !codec::holds_together(mask) => "facts that do not go together",
            _ => "values that it does not have",
        };
        Error::corrupt(format!("the header of the event at {position}"), found)
    }

    #[inline]
    fn has(&self, bit: u32) -> bool {
        self.mask & bit != 0
    }

    #[inline]
    fn values(&self, from: u32) -> Values<'a> {
        let end = self.data as usize - size_of::<u32>();
        Values(self.bytes.get(from as usize..end).unwrap_or_default())
    }

    /// The type of stored bytes that nobody has looked at, without a look at their checksum.
    pub fn kind_of(bytes: &[u8]) -> Option<&[u8]> {
        let length = codec::header_length(bytes)?;
        let mut values = Values(bytes.get(codec::LEAD..)?.get(..length)?);
        values.skip()?;
        values.skip()?;
        values.skip_id()?;
        Raw(values.0).text().map(|(kind, _)| kind)
    }

    /// The bytes of the same event with other data.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let trailer = match self.trails {
            Trails::Nothing => None,
            Trails::Encrypted => Some(Trailer::Encrypted(self.trailer())),
            Trails::Rewritten => Some(Trailer::Rewritten(self.trailer())),
            Trails::Forgotten => Some(Trailer::Forgotten(self.trailer())),
        };
        self.with_payload(data, trailer)
    }

    /// The same with other data, of which these fields are forgotten, instead of those that were.
    pub fn with_forgotten(&self, data: &[u8], forgotten: Option<&ForgottenFields>) -> Vec<u8> {
        let named = forgotten.map(|forgotten| ForgottenFields::write(forgotten.fields()));
        self.with_payload(data, named.as_deref().map(Trailer::Forgotten))
    }

    fn with_payload(&self, data: &[u8], trailer: Option<Trailer>) -> Vec<u8> {
        let metadata = self.metadata().0;
        let rest = metadata.len() + trailer.map_or(0, |trailer| trailer.bytes().len() + 4);
        let mut out = Vec::with_capacity(codec::LEAD + self.header().len() + 4 + data.len() + rest);
        let mut writer = PayloadWriter::behind(self.header(), &mut out);
        writer.out().extend_from_slice(data);
        writer.end_data();
        writer.out().extend_from_slice(metadata);
        writer.finish(self.position, trailer);
        out
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// None without a target.
    pub fn version(&self) -> Option<Version> {
        if !self.has(codec::TARGET) {
            return None;
        }
        let mut values = self.values(codec::LEAD as u32);
        values.skip()?;
        values.number().map(Version)
    }

    pub fn id(&self) -> Result<EventId> {
        let mut values = self.values(codec::LEAD as u32);
        let mut id = || {
            values.skip()?;
            values.skip()?;
            values.id()
        };
        match id() {
            Some(RecordId::Uuid(bytes)) => Ok(EventId::from_uuid(bytes)),
            Some(RecordId::Given(text)) => EventId::new(text),
            None => Err(self.damaged("no id")),
        }
    }

    pub fn kind(&self) -> &'a str {
        self.values(self.kind).text().unwrap_or_default()
    }

    /// The bytes of its type.
    #[inline]
    pub fn kind_bytes(&self) -> &'a [u8] {
        Raw(self.values(self.kind).0).text().map_or(&[], |(kind, _)| kind)
    }

    pub fn recorded(&self) -> Timestamp {
        self.values(self.times).time().map_or(Timestamp::MIN, clamped)
    }

    /// When it occurred.
    pub fn timestamp(&self) -> Timestamp {
        let mut values = self.values(self.times);
        let recorded = values.time();
        let timestamp = if self.has(codec::TIMESTAMP) { values.time() } else { recorded };
        timestamp.map_or(Timestamp::MIN, clamped)
    }

    /// The bytes of the header.
    pub fn header(&self) -> &'a [u8] {
        self.values(codec::LEAD as u32).0
    }

    pub fn data(&self) -> Raw<'a> {
        Raw(self.bytes.get(self.data as usize..self.metadata as usize).unwrap_or_default())
    }

    /// No bytes where there is none.
    pub fn metadata(&self) -> Raw<'a> {
        Raw(self.bytes.get(self.metadata as usize..self.end as usize).unwrap_or_default())
    }

    /// What is stored encrypted of it; no bytes where nothing is.
    pub fn encrypted(&self) -> &'a [u8] {
        match self.trails {
            Trails::Encrypted => self.trailer(),
            Trails::Rewritten => OriginalHash::split(self.trailer()).0,
            Trails::Nothing | Trails::Forgotten => &[],
        }
    }

    /// Whether it was rewritten since it was appended.
    pub fn is_rewritten(&self) -> bool {
        self.trails == Trails::Rewritten
    }

    /// What there is to know of the payload as it was appended.
    pub fn original(&self) -> OriginalHash {
        if self.is_rewritten() {
            return OriginalHash::split(self.trailer()).1;
        }
        let encrypted = self.encrypted();
        OriginalHash {
            parts: encrypted.len(),
            hash: payload_hash(self.data().0, self.metadata().0, encrypted),
        }
    }

    /// The fields that are forgotten, where it was read after that.
    pub fn forgotten(&self) -> Option<ForgottenFields> {
        (self.trails == Trails::Forgotten).then(|| ForgottenFields::read(self.trailer()))
    }

    fn trailer(&self) -> &'a [u8] {
        let end = self.bytes.len().saturating_sub(size_of::<u32>());
        self.bytes.get(self.end as usize..end).unwrap_or_default()
    }

    fn damaged(&self, found: &str) -> Error {
        Error::corrupt(format!("the header of the event at {}", self.position), found)
    }

    // The facts stand one after another, so each is found behind those before it. Where the bytes do not hold what the mask says,
    // there is none: `to_event` tells of it.

    pub fn target(&self) -> Option<EntityStr<'a>> {
        let mut values = self.values(self.facts);
        let there = self.has(codec::TARGET);
        if there { self.read_target(&mut values) } else { None }
    }

    fn read_target(&self, values: &mut Values<'a>) -> Option<EntityStr<'a>> {
        let kind = if self.has(codec::TARGET_KIND) { values.text()? } else { entity::prefix(self.kind()) };
        Some(EntityStr { kind, id: values.text()? })
    }

    pub fn actor(&self) -> Option<EntityStr<'a>> {
        let mut values = self.after(codec::ACTOR)?;
        values.entity()
    }

    pub fn producer(&self) -> Option<ProducerStr<'a>> {
        let mut values = self.after(codec::PRODUCER)?;
        self.read_producer(&mut values)
    }

    fn read_producer(&self, values: &mut Values<'a>) -> Option<ProducerStr<'a>> {
        let model = values.entity()?;
        let version = if self.has(codec::PRODUCER_VERSION) { Some(values.number()?) } else { None };
        let vector = if self.has(codec::PRODUCER_VECTOR) { Some(values.text()?) } else { None };
        Some(ProducerStr { model, version, vector })
    }

    pub fn cause(&self) -> Option<CauseStr<'a>> {
        if self.has(codec::CAUSE_EVENT) {
            let mut values = self.after(codec::CAUSE_EVENT)?;
            Some(CauseStr::Event(Position(values.number()?)))
        } else {
            let mut values = self.after(codec::CAUSE_NAMED)?;
            Some(CauseStr::Named { kind: values.text()?, id: values.text()? })
        }
    }

    pub fn correlation(&self) -> Option<&'a str> {
        self.after(codec::CORRELATION)?.text()
    }

    pub fn namespace(&self) -> Option<&'a str> {
        self.after(codec::NAMESPACE)?.text()
    }

    /// Names with values, in the order they were given.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, Raw<'a>)> + use<'a> {
        let mut values = self.after(codec::TAGS);
        let count = values.as_mut().and_then(Values::number).unwrap_or(0);
        let mut left = values.map(|values| (count, values));
        std::iter::from_fn(move || {
            let (count, mut values) = left?;
            left = None;
            let name = if count > 0 { values.text()? } else { return None };
            let value = Raw(values.0);
            values.skip()?;
            left = Some((count - 1, values));
            Some((name, value))
        })
    }

    pub fn key(&self) -> Option<&'a str> {
        self.after(codec::KEY)?.text()
    }

    /// The values from a fact on; none where there is no such fact.
    fn after(&self, fact: u32) -> Option<Values<'a>> {
        if !self.has(fact) {
            return None;
        }
        let mut values = self.values(self.facts);
        // The bits are in the order of the facts: each one below stands for a value before it, or for more.
        const ONES: u32 = codec::TARGET
            | codec::TARGET_KIND
            | codec::PRODUCER_VERSION
            | codec::PRODUCER_VECTOR
            | codec::CAUSE_EVENT
            | codec::CORRELATION
            | codec::NAMESPACE
            | codec::KEY;
        const TWOS: u32 = codec::ACTOR | codec::PRODUCER | codec::CAUSE_NAMED;
        let before = self.mask & (fact - 1);
        for _ in 0..(before & ONES).count_ones() + 2 * (before & TWOS).count_ones() {
            values.skip()?;
        }
        if before & codec::TAGS != 0 {
            for _ in 0..values.number()?.checked_mul(2)? {
                values.skip()?;
            }
        }
        Some(values)
    }

    /// All of it; `data` and `metadata` share `bytes`, which must be the bytes that the record was opened on.
    pub fn to_event(self, bytes: &Arc<[u8]>) -> Result<Event> {
        self.to_event_sharing(bytes, &mut NameCache::default())
    }

    /// The same, with names that other events have shared with them.
    pub fn to_event_sharing(self, bytes: &Arc<[u8]>, names: &mut NameCache) -> Result<Event> {
        self.to_event_within(bytes, 0, names)
    }

    /// The same, where the bytes that the record was opened on begin at `start` of those that are shared.
    #[inline]
    pub fn to_event_within(self, bytes: &Arc<[u8]>, start: usize, names: &mut NameCache) -> Result<Event> {
        self.event_within(bytes, start, names).ok_or_else(|| self.fault())
    }

    /// The values one after another, each looked at once: events are made by the million. None where the bytes do not hold them all.
    #[inline]
    pub fn event_within(&self, bytes: &Arc<[u8]>, start: usize, names: &mut NameCache) -> Option<Event> {
        let values = &mut self.values(codec::LEAD as u32);
        values.skip()?;
        let version = values.number();
        let version = if self.has(codec::TARGET) { Some(Version(version?)) } else { None };
        let id = match values.id()? {
            RecordId::Uuid(bytes) => EventId::from_uuid(bytes),
            RecordId::Given(text) => EventId::new(text).ok()?,
        };
        let kind_bytes = values.bytes()?;
        let kind = names.shared(kind_bytes)?;
        let recorded = values.timestamp()?;
        let timestamp = if self.has(codec::TIMESTAMP) { values.timestamp()? } else { recorded };
        let target = if self.has(codec::TARGET) {
            let kind = if self.has(codec::TARGET_KIND) {
                values.bytes()?
            } else {
                kind_bytes.split(|byte| *byte == b'.').next().unwrap_or_default()
            };
            // Kinds are few, ids are many.
            Some(Entity::stored(names.shared(kind)?, values.text()?))
        } else {
            None
        };
        let actor = if self.has(codec::ACTOR) {
            let kind = names.shared(values.bytes()?)?;
            Some(Entity::stored(kind, names.shared(values.bytes()?)?))
        } else {
            None
        };
        let Rare { producer, cause, correlation, namespace, tags, key, seal } =
            if self.has(Rare::FACTS) { self.rare(values)? } else { Rare::default() };
        let (data, metadata) = (self.data as usize, self.metadata as usize);
        Some(Event {
            position: self.position,
            version,
            id,
            kind: EventType::stored(kind),
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
            own_id: !self.has(codec::GIVEN_ID),
            seal,
            metadata: if self.metadata == self.end {
                Document::empty()
            } else {
                Document::slice(bytes.clone(), start + metadata, start + self.end as usize)
            },
            forgotten: self.forgotten(),
            data: Document::slice(bytes.clone(), start + data, start + metadata),
        })
    }

    /// Why no event can be made of it.
    #[cold]
    fn fault(&self) -> Error {
        let mut times = self.values(self.times);
        let mut time = || times.time().map(|(seconds, nanos)| Timestamp::from_parts(seconds, nanos));
        let times = [time(), if self.has(codec::TIMESTAMP) { time() } else { Some(Ok(Timestamp::MIN)) }];
        if self.has(codec::TARGET) && self.version().is_none() {
            return self.damaged("a version that is none");
        }
        if let Err(error) = self.id() {
            return error;
        }
        if self.values(self.kind).text().is_none() {
            return self.damaged("a type that is no text");
        }
        for time in times {
            match time {
                None => return self.damaged("a time that is none"),
                Some(Err(error)) => return error,
                Some(Ok(_)) => {}
            }
        }
        let vector = self.producer().and_then(|producer| producer.vector);
        match vector.map(str::parse::<VectorClock>) {
            Some(Err(_)) => self.damaged("a vector clock that is none"),
            _ => self.damaged("facts that it does not have"),
        }
    }

    /// The facts behind the actor.
    #[inline(never)]
    fn rare(&self, values: &mut Values<'a>) -> Option<Rare> {
        let text = |values: &mut Values<'a>, bit: u32| -> Option<Option<String>> {
            if self.has(bit) { values.text().map(|text| Some(text.to_owned())) } else { Some(None) }
        };
        let producer = if self.has(codec::PRODUCER) {
            let ProducerStr { model, version, vector } = self.read_producer(values)?;
            let vector = if let Some(vector) = vector { Some(vector.parse().ok()?) } else { None };
            Some(Producer { model: model.into(), version, vector })
        } else {
            None
        };
        let cause = if self.has(codec::CAUSE_EVENT) {
            Some(Cause::Event(Position(values.number()?)))
        } else if self.has(codec::CAUSE_NAMED) {
            Some(Cause::Named { kind: values.text()?.to_owned(), id: values.text()?.to_owned() })
        } else {
            None
        };
        let correlation = text(values, codec::CORRELATION)?;
        let namespace = text(values, codec::NAMESPACE)?;
        let mut tags = Vec::new();
        if self.has(codec::TAGS) {
            for _ in 0..values.number()? {
                let name = values.text()?.to_owned();
                let value = Raw(values.0).to_value().ok()?;
                values.skip()?;
                tags.push(Tag { name, value });
            }
        }
        let key = text(values, codec::KEY)?;
        let seal = if self.has(codec::SEAL) {
            let RecordId::Uuid(content) = values.id()? else { return None };
            Some(KeyDigest { content, count: u32::try_from(values.number()?).ok()? })
        } else {
            None
        };
        Some(Rare { producer, cause, correlation, namespace, tags, key, seal })
    }
}

/// A record apart from its bytes, to be opened on them again without another look at them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordHeader {
    position: Position,
    mask: u32,
    kind: u32,
    times: u32,
    facts: u32,
    data: u32,
    metadata: u32,
    end: u32,
    trails: Trails,
}

impl RecordHeader {
    pub fn of(record: &Record) -> RecordHeader {
        let Record { position, bytes: _, mask, kind, times, facts, data, metadata, end, trails } = *record;
        RecordHeader { position, mask, kind, times, facts, data, metadata, end, trails }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// The record, on the bytes that it was made of. On others it is one of nonsense.
    pub fn on(self, bytes: &[u8]) -> Record<'_> {
        let RecordHeader { position, mask, kind, times, facts, data, metadata, end, trails } = self;
        Record { position, bytes, mask, kind, times, facts, data, metadata, end, trails }
    }
}

/// The instant; no other than what can be said is ever written, and `to_event` tells of it.
fn clamped((seconds, nanos): Instant) -> Timestamp {
    let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_parts(seconds, nanos).unwrap_or(limit)
}

/// What most events do not have.
#[derive(Default)]
struct Rare {
    producer: Option<Producer>,
    cause: Option<Cause>,
    correlation: Option<String>,
    namespace: Option<String>,
    tags: Vec<Tag>,
    key: Option<String>,
    seal: Option<KeyDigest>,
}

impl Rare {
    const FACTS: u32 = codec::PRODUCER
        | codec::CAUSE_EVENT
        | codec::CAUSE_NAMED
        | codec::CORRELATION
        | codec::NAMESPACE
        | codec::TAGS
        | codec::KEY
        | codec::SEAL;
}
