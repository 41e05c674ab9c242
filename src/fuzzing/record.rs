//! Arbitrary bytes where stored bytes are expected.

use std::io::BufReader;
use std::sync::Arc;

use crate::allowance::Limits;
use crate::document::Raw;
use crate::entity::{Entity, Position, Version};
use crate::error::Result;
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{Event, EventFormat, EventId, NewEvent, read_line, write_form};
use crate::store::catalog::Catalog;
use crate::store::index::{posting, term};
use crate::store::keyring::KeySource;
use crate::store::tables::{Zone, unsealed};
use crate::store::tables::{block, compressed_block};
use crate::store::{Options, apply, journal};
use crate::transfer::texts::JsonTexts;
use crate::value::Value;

/// The first byte chooses what the rest is taken for, the second whether its checksum is made right before, so that what lies
/// behind a checksum is reached too. Nothing panics; what is read is written as bytes that read as the same; and of what was read, a
/// single bit that changes is noticed.
///
/// Whether something was read.
pub fn record(bytes: &[u8]) -> bool {
    let [form, how, rest @ ..] = bytes else { return false };
    let (right, flip) = (how & 1 == 1, usize::from(how >> 1));
    match form % 10 {
        0 => event(rest, right, flip),
        1 => chunk(rest, right, flip),
        2 => journal::fuzz::segments(rest, right),
        3 => zone(rest, right, flip),
        4 => meta(rest, right, flip),
        5 => id(rest),
        6 => line(rest),
        7 => document(rest),
        8 => row(rest, flip),
        _ => input(rest, flip),
    }
}

/// The bytes with one bit changed, somewhere.
fn flipped(bytes: &[u8], flip: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // Spread over all of them, for the hint is small.
    let bit = flip.wrapping_mul(0x9e37_79b1) % (bytes.len() * 8).max(1);
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    bytes
}

fn event(bytes: &[u8], right: bool, flip: usize) -> bool {
    let position = Position(7);
    let mut bytes = bytes.to_vec();
    if right && let Some((stored, rest)) = bytes.split_first_chunk_mut::<4>() {
        *stored = codec::checksum(position, rest).to_be_bytes();
    }
    let Ok(event) = codec::decode(position, bytes.clone().into()) else { return false };
    assert!(codec::decode(position, flipped(&bytes, flip).into()).is_err(), "a changed bit is not noticed");
    assert!(codec::decode(Position(8), bytes.clone().into()).is_err(), "another place is not noticed");
    read_where_it_lies(position, &bytes, &event);
    let _ = (term::terms_of(&event), serde_json::to_string(&event), event.data.to_value());
    // Written again, each value has its one form: from there on the bytes stay as they are.
    let first = encoded(&event);
    let again = codec::decode(position, first.clone()).expect("what was written is read");
    assert_eq!(encoded(&again), first);
    assert_eq!(format!("{again:?}"), format!("{event:?}"));
    true
}

/// What a scan reads of the stored bytes is what the whole event has.
fn read_where_it_lies(position: Position, bytes: &[u8], event: &Event) {
    let record = Record::open(position, bytes).expect("what is decoded can be opened");
    assert_eq!((record.position(), record.version()), (event.position, event.version));
    assert_eq!((record.kind(), record.id().as_ref().ok()), (event.kind.as_str(), Some(&event.id)));
    assert_eq!((record.timestamp(), record.recorded()), (event.timestamp, event.recorded));
    assert_eq!(record.target().map(Entity::from), event.target);
    assert_eq!(record.actor().map(Entity::from), event.actor);
    assert_eq!(record.cause().map(|cause| cause.to_cause()), event.cause);
    assert_eq!(
        record.producer().map(|producer| Entity::from(producer.model)),
        event.producer.as_ref().map(|p| p.model.clone())
    );
    assert_eq!(
        (record.correlation(), record.namespace()),
        (event.correlation.as_deref(), event.namespace.as_deref())
    );
    assert_eq!(record.key(), event.key.as_deref());
    assert!(record.tags().map(|(name, _)| name).eq(event.tags.iter().map(|tag| tag.name.as_str())));
    assert_eq!(record.data().0, event.data.as_bytes());
}

/// The event, as if it were appended once more.
fn encoded(event: &Event) -> Arc<[u8]> {
    let mut new = NewEvent::new(event.kind.as_str());
    new.timestamp = Some(event.timestamp);
    new.actor.clone_from(&event.actor);
    new.producer.clone_from(&event.producer);
    new.cause.clone_from(&event.cause);
    new.correlation.clone_from(&event.correlation);
    new.namespace.clone_from(&event.namespace);
    new.tags.clone_from(&event.tags);
    new.key.clone_from(&event.key);
    new.data.clone_from(&event.data);
    new.metadata.clone_from(&event.metadata);
    let mut out = Vec::new();
    let assigned = Assigned {
        position: event.position,
        version: event.version.unwrap_or_default(),
        id: &event.id,
        own_id: event.own_id,
        recorded: event.recorded,
        seal: event.seal,
    };
    codec::encode(&mut out, &new, &event.kind, event.target.as_ref(), &assigned);
    out.into()
}

/// The first two bytes of the rest say how long the key is.
fn keyed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// The value, behind which its checksum is put right.
fn sealed(key: &[u8], value: &[u8], right: bool) -> Vec<u8> {
    let mut value = value.to_vec();
    if right {
        value.extend_from_slice(&posting::checksum(key, &value).to_be_bytes());
    }
    value
}

fn chunk(bytes: &[u8], right: bool, flip: usize) -> bool {
    let Some((key, value)) = keyed(bytes) else { return false };
    let value = sealed(key, value, right);
    let Ok(chunk) = posting::decode(key, &value) else { return false };
    assert!(posting::decode(key, &flipped(&value, flip)).is_err(), "a changed bit is not noticed");
    assert!(posting::decode(&flipped(key, flip), &value).is_err(), "another key is not noticed");
    assert!(chunk.positions.is_sorted(), "positions ascend");
    let _ = (chunk.through(), term::Term::from_bytes(key).name());
    let mut out = Vec::new();
    posting::encode(key, &chunk, &mut out);
    assert_eq!(posting::decode(key, &out).expect("what was written is read"), chunk);
    true
}

fn zone(bytes: &[u8], right: bool, flip: usize) -> bool {
    let Some((key, value)) = keyed(bytes) else { return false };
    let value = sealed(key, value, right);
    let Ok((first, zone)) = Zone::decode(key, &value) else { return false };
    assert!(Zone::decode(key, &flipped(&value, flip)).is_err(), "a changed bit is not noticed");
    assert_eq!(zone.encode(key), value, "each zone is stored in one way");
    assert_eq!(first.to_be_bytes(), key, "its key is its first position");
    true
}

fn meta(bytes: &[u8], right: bool, flip: usize) -> bool {
    let Some((key, value)) = keyed(bytes) else { return false };
    let value = sealed(key, value, right);
    let read =
        |value: &[u8]| -> Result<Vec<u8>> { unsealed(key, value, || "meta".to_owned()).map(<[u8]>::to_vec) };
    let Ok(inner) = read(&value) else { return false };
    assert_eq!(sealed(key, &inner, true), value);
    assert!(read(&flipped(&value, flip)).is_err(), "a changed bit is not noticed");
    true
}

fn id(bytes: &[u8]) -> bool {
    if let Some(uuid) = bytes.first_chunk::<16>() {
        let id = EventId::from_uuid(*uuid);
        let _ = id.millis();
        assert_eq!(EventId::new(&id.to_string()).expect("an id that was shown is one"), id);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = EventId::new(text)
    {
        assert_eq!(id.to_string(), text, "an id is kept verbatim");
        return true;
    }
    bytes.len() >= 16
}

fn line(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(line) = read_line(text, None) else { return false };
    let Ok(kind) = line.event.checked().cloned() else { return false };
    let owner = line.event.owner().cloned();
    if term::terms_of_new(&line.event, &kind, owner.as_ref()).is_err() {
        return false;
    }
    // Stored, read, shown and taken back, it says the same.
    let own = EventId::from_uuid([7; 16]);
    let assigned = Assigned {
        position: Position(7),
        version: Version(line.version.unwrap_or_default()),
        id: line.event.id.as_ref().unwrap_or(&own),
        own_id: line.event.id.is_none(),
        recorded: crate::time::Timestamp::from_millis(1_700_000_000_123),
        seal: None,
    };
    let mut stored = Vec::new();
    codec::encode(&mut stored, &line.event, &kind, owner.as_ref(), &assigned);
    let event = codec::decode(Position(7), stored.into()).expect("what was written is read");
    let shown = serde_json::to_string(&event).expect("an event that was read has a JSON form");
    let again = read_line(&shown, None).unwrap_or_else(|e| panic!("{text}\n{shown}\n{e}"));
    let kind_again = again.event.checked().cloned().unwrap_or_else(|e| panic!("{text}\n{shown}\n{e}"));
    assert_eq!((kind_again, again.event.owner()), (kind, owner.as_ref()), "{shown}");
    let assigned = Assigned { id: &event.id, ..assigned };
    let mut stored = Vec::new();
    codec::encode(&mut stored, &again.event, &event.kind, event.target.as_ref(), &assigned);
    let again = codec::decode(Position(7), stored.into()).expect("what was written is read");
    assert_eq!(serde_json::to_string(&again).expect("it has a JSON form"), shown);
    in_other_forms(&event);
    true
}

/// In every form an event says the same.
fn in_other_forms(event: &Event) {
    let sorted = |event: &Event| {
        write_form(event, EventFormat::Event, "", None).expect("it has a JSON form").canonical()
    };
    for form in [EventFormat::Underscore, EventFormat::CloudEvents] {
        let text = write_form(event, form, "urn:x", None).expect("it has a form of each kind").to_string();
        let read = read_line(&text, None).unwrap_or_else(|e| panic!("{text}\n{e}"));
        let new = read.event;
        let kind = new.checked().cloned().unwrap_or_else(|e| panic!("{text}\n{e}"));
        let assigned = Assigned {
            position: read.position.expect("each form tells the position"),
            version: Version(read.version.unwrap_or_default()),
            id: new.id.as_ref().expect("each form tells the id"),
            own_id: event.own_id,
            recorded: new.recorded.expect("each form tells when it was recorded"),
            seal: None,
        };
        let mut stored = Vec::new();
        codec::encode(&mut stored, &new, &kind, new.owner(), &assigned);
        let again = codec::decode(event.position, stored.into()).expect("what was written is read");
        assert_eq!(sorted(&again).to_string(), sorted(event).to_string(), "{text}");
    }
}

/// An input of an import: what is found in it does not depend on how much of it comes at a time.
fn input(bytes: &[u8], chunk: usize) -> bool {
    let at_once = found_in(bytes, bytes.len().max(1));
    assert_eq!(found_in(bytes, chunk.max(1)), at_once);
    // A JSON object is found whole.
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(Value::Object(_)) = Value::read(text, 1)
    {
        assert_eq!(at_once, vec![Ok(text.trim().to_owned())]);
    }
    at_once.iter().any(Result::is_ok)
}

fn found_in(bytes: &[u8], chunk: usize) -> Vec<std::result::Result<String, String>> {
    let mut texts = JsonTexts::new(BufReader::with_capacity(chunk, bytes));
    let mut found = Vec::new();
    loop {
        match texts.next() {
            Ok(None) => return found,
            Ok(Some(text)) => found.push(Ok(String::from_utf8_lossy(text.bytes).into_owned())),
            Err(fault) => {
                found.push(Err(format!("{}: {fault}", texts.line())));
                return found;
            }
        }
    }
}

fn document(bytes: &[u8]) -> bool {
    let frame = journal::Frame {
        kind: journal::FrameKind::Events,
        first: Position(7),
        count: 1,
        payload: bytes.to_vec(),
    };
    let options = Options::new();
    let derived =
        apply::derive(&frame, Arc::new(Catalog::default()), &Limits::default(), KeySource::Nowhere, || {
            options.compiler()
        });
    if derived.is_ok() {
        return true;
    }
    let raw = Raw(bytes);
    let _ = (raw.skip(), raw.element(1));
    let Ok(value) = raw.to_value() else { return false };
    for name in value.as_object().into_iter().flat_map(|members| members.keys().take(8)) {
        let _ = raw.member(name);
    }
    if let Ok(again) = rmp_serde::to_vec(&value) {
        let again = Raw(&again).to_value().expect("what was written is read");
        // A float that is no number equals nothing, itself included.
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
    }
    true
}

/// A row of the log: the position of its first event, and its events behind each other.
fn row(bytes: &[u8], times: usize) -> bool {
    let Some((first, value)) = bytes.split_first_chunk() else { return false };
    let (first, mut buffer) = (Position::from_be_bytes(*first), Vec::new());
    let Ok(value) = compressed_block::uncompressed(first, value, &mut buffer) else { return false };
    let found: Vec<_> = block::BlockEvents::of(first, value).collect();
    assert!(found.iter().rev().skip(1).all(Result::is_ok), "something stands behind a damaged length");
    let Ok(found) = found.into_iter().collect::<Result<Vec<_>>>() else { return false };
    assert!(found.iter().map(|(position, _)| *position).eq(first.onwards().take(found.len())));
    // Long ones, too, which an input has no room for.
    let events: Vec<Vec<u8>> = found.iter().map(|(_, event)| event.repeat(times)).collect();
    let mut rows = Vec::new();
    let put = |first: Position, value: &[u8]| {
        rows.push((first, value.to_vec()));
        Ok(())
    };
    block::pack(first, events.iter().map(Vec::as_slice), put).expect("nothing keeps a row from being put");
    let again = rows.iter().flat_map(|(first, value)| block::BlockEvents::of(*first, value));
    let again: Vec<(Position, &[u8])> = again.collect::<Result<_>>().expect("what was packed is read");
    assert!(rows.iter().all(|(first, value)| block::BlockEvents::of(*first, value).count() <= block::MOST));
    assert!(
        again.iter().copied().eq(first.onwards().take(events.len()).zip(events.iter().map(Vec::as_slice)))
    );
    compressed(first, &events);
    true
}

/// The same, as a compaction writes them.
fn compressed(first: Position, events: &[Vec<u8>]) {
    let (mut compressor, mut rows) = (compressed_block::BlockCompressor::new(), Vec::new());
    let mut put = |first: Position, value: &[u8]| {
        rows.push((first, value.to_vec()));
        Ok(())
    };
    for (position, event) in first.onwards().zip(events) {
        compressor.push(position, event, &mut put).expect("nothing keeps a row from being put");
    }
    compressor.end(&mut put).expect("nothing keeps a row from being put");
    let (mut expected, mut buffer) = (first.onwards().zip(events), Vec::new());
    for (first, value) in &rows {
        let value =
            compressed_block::uncompressed(*first, value, &mut buffer).expect("what was compressed is read");
        for event in block::BlockEvents::of(*first, value) {
            let (position, event) = event.expect("what was compressed is read");
            assert_eq!(expected.next(), Some((position, &event.to_vec())));
        }
    }
    assert!(expected.next().is_none());
}

/// An event with as little as there can be, and one with all.
#[cfg(test)]
fn two_events() -> [NewEvent; 2] {
    use crate::event::Producer;

    let small = NewEvent::new("Order.paid").on(("Order", 42));
    let full = NewEvent::new("Order.paid")
        .on(("Invoice", "INV-9"))
        .by(("User", "ann"))
        .at("2013-01-01T00:00:00.000000001Z".parse().unwrap())
        .id("mine")
        .data(&serde_json::json!({"amount": 5, "deep": {"a": [1, null, 2.5, true, "x"]}}))
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
        .index("total", 9.5)
        .key("req-1");
    [small, full]
}

/// An input for each form, of what is really stored.
#[cfg(test)]
pub(super) fn seeds() -> Vec<Vec<u8>> {
    use crate::event::KeyDigest;
    use crate::time::Timestamp;

    let framed = |form: u8, rest: &[u8]| [&[form, 1], rest].concat();
    let keyed = |form: u8, key: &[u8], value: &[u8]| {
        // A checksum is put behind it.
        framed(form, &[&[key.len() as u8], key, value].concat())
    };
    let (mut seeds, mut events) = (Vec::new(), Vec::new());
    for new in two_events() {
        let id = EventId::new("018f2f6e-7a30-7000-8000-000000000001").unwrap();
        let assigned = Assigned {
            position: Position(7),
            version: Version(3),
            id: new.id.as_ref().unwrap_or(&id),
            own_id: new.id.is_none(),
            recorded: Timestamp::from_millis(1_700_000_000_123),
            seal: new.key.as_ref().map(|_| KeyDigest { content: [7; 16], count: 2 }),
        };
        let mut out = Vec::new();
        codec::encode(&mut out, &new, new.kind.as_ref().unwrap(), new.owner(), &assigned);
        seeds.push(framed(0, &out));
        let event = codec::decode(Position(7), out.clone().into()).unwrap();
        let lines: Vec<String> = [EventFormat::Event, EventFormat::Underscore, EventFormat::CloudEvents]
            .map(|form| write_form(&event, form, "urn:x", None).unwrap().to_string())
            .to_vec();
        for line in &lines {
            seeds.push(framed(6, line.as_bytes()));
        }
        seeds.push(framed(9, lines.join("\n").as_bytes()));
        seeds.push(framed(9, format!("[{}] {}", lines.join(",\r\n"), lines[0]).as_bytes()));
        seeds.push(framed(7, event.data.as_bytes()));
        seeds.push(framed(7, &[&(out.len() as u32).to_be_bytes(), out.as_slice()].concat()));
        events.push(out);
        for term in term::terms_of(&event).unwrap() {
            let key = posting::key(term.as_bytes(), Position(7));
            let before = if term.is_counted() { 3 } else { 0 };
            let mut value = Vec::new();
            posting::encode(
                &key,
                &posting::PostingChunk { before, positions: [7, 9, 300].map(Position).to_vec() },
                &mut value,
            );
            seeds.push(keyed(1, &key, &value[..value.len() - 4]));
        }
    }
    let packed = [&events[0], &events[1], &events[0]].map(Vec::as_slice);
    block::pack(Position(7), packed, |first, value| {
        seeds.push(framed(8, &[&first.to_be_bytes(), value].concat()));
        Ok(())
    })
    .unwrap();
    seeds.push(framed(8, &[&7_u64.to_be_bytes()[..], &[0, 0, 0, 2, 1, 2].repeat(40)].concat()));
    let mut compressor = compressed_block::BlockCompressor::new();
    let mut put = |first: Position, value: &[u8]| {
        seeds.push(framed(8, &[&first.to_be_bytes(), value].concat()));
        Ok(())
    };
    for position in Position(7).onwards().take(20) {
        compressor.push(position, &events[0], &mut put).unwrap();
    }
    compressor.end(&mut put).unwrap();
    seeds.push(framed(2, &journal::fuzz::seed()));
    let time = Timestamp::from_millis(1_700_000_000_123);
    let zone = Zone { last: Position(9), occurred: (time, time), recorded: (time, time), chain: [5; 32] };
    let key = 1_u64.to_be_bytes();
    let value = zone.encode(&key);
    seeds.push(keyed(3, &key, &value[..value.len() - 4]));
    seeds.push(keyed(4, b"checkpoint", &9_u64.to_be_bytes()));
    seeds.push(framed(5, b"018f2f6e-7a30-7000-8000-000000000001"));
    seeds.push(framed(5, b"mine"));
    seeds.extend(LINES.iter().map(|line| framed(6, line.as_bytes())));
    seeds
}

/// Lines of JSON in each form, with what is seldom there.
#[cfg(test)]
const LINES: [&str; 5] = [
    r#"{"type":"paid","_id":"e1","_actorType":"Till","_actorId":4,"_modelType":"Order","_modelId":"42","_createdOn":"2024-01-01","_createdBy":"Cashier","_createdById":"c","_createdByVersion":3,"_createdByVector":"a:1;b:2","_initiatedBy":"Pay","_initiatedById":"p1","_actorNamespace":"shop","_indexBy":["total"],"total":10}"#,
    r#"{"_type":"A.b","_indexBy":{"x":1,"y":"z"},"id":7}"#,
    r#"{"type":"A.b","cause":{"position":3},"tags":{"x":true},"data":{"a":-0.0,"b":1e300}}"#,
    r#"{"specversion":"1.0","id":"A-1","source":"/s","type":"com.example.paid","subject":"a.jpg","datacontenttype":"image/jpeg","on":true,"data_base64":"/9g="}"#,
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"data_value":[null]},"bygone":"{\"metadata\":{\"a\":{}}}"}"#,
];
