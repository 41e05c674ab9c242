//! CloudEvents 1.0, in their JSON format.
//!
//! An attribute that says what an event of ours says is that; one that we have no word for is kept in `metadata` under its name, and
//! is an attribute again when the event is written. The other way round, what the specification has no attribute for are extension
//! attributes whose names begin with `bygone`. An attribute is a text without control characters, a boolean or a small
//! integer: whatever is neither is told by one of them, `bygone`, as the text of a JSON object with members of the event form.
//!
//! An id is unique within its `source` only. Of an event that no Bygone wrote the source is kept in `metadata`.

mod lawful;
mod payload;

use super::members::{JsonMembers, pair, put};
use crate::error::{Error, Result, shorten};
use crate::event::VectorClock;
use crate::time::Timestamp;
use crate::value::{Object, Value};
pub(crate) use lawful::is_uri_reference;
use lawful::{escaped, is_extension_name, is_lawful, is_value, made_lawful, path, split_path};
use payload::Payload;

const WHAT: &str = "a CloudEvent";

/// What a source is.
const REFERENCE: &str = "a URI reference, like /orders";

/// What `bygone` may tell of an event from elsewhere.
const MEMBERS: [&str; 13] = [
    "id",
    "type",
    "timestamp",
    "target",
    "actor",
    "producer",
    "cause",
    "correlation",
    "namespace",
    "tags",
    "key",
    "metadata",
    "forgotten",
];

/// The prefix of types that have none, where nobody says another.
const KIND: &str = "CloudEvent";

/// Ours, and the names of them in the event form.
const NAMES: [(&str, &str); 4] = [
    ("recorded", "bygonerecorded"),
    ("correlation", "correlationid"),
    ("namespace", "bygonenamespace"),
    ("key", "bygonekey"),
];

/// Gives the members of the event form, and the source of an event that no Bygone wrote.
///
/// `kind` is the prefix of types that have none; without it, the kind of the subject is, or else [`KIND`].
pub(super) fn read(members: Object, kind: Option<&str>) -> Result<(Object, Option<String>)> {
    let mut given = JsonMembers::new(WHAT, members);
    let mut event = Object::new();
    let mut metadata = Object::new();
    match given.take("specversion") {
        Some(Value::Text(version)) if version == "1.0" => {}
        Some(other) => return Err(Error::invalid("`specversion`", "\"1.0\"", shorten(&other.to_string()))),
        None => return Err(Error::invalid("`specversion`", "\"1.0\"", "null")),
    }
    let source = text(&mut given, "source", REFERENCE)?.ok_or_else(|| missing("source", REFERENCE))?;
    if !is_uri_reference(&source) {
        return Err(Error::invalid("`source`", REFERENCE, shorten(&source)));
    }
    let id = text(&mut given, "id", "a text")?.ok_or_else(|| missing("id", "a text"))?;
    put(&mut event, "id", Some(id));
    put(&mut event, "timestamp", given.text("time")?);
    if !given.left.get("bygoneposition").is_some_and(is_count) {
        give_up_what_is_no_attribute_of_ours(&mut given, &mut metadata);
    }
    let position = count(&mut given, "bygoneposition")?;
    let foreign = position.is_none().then_some(source);
    put(&mut event, "position", position);
    put(&mut event, "version", count(&mut given, "bygoneversion")?);
    put(&mut metadata, "source", foreign.as_deref());
    for (name, attribute) in NAMES {
        put(&mut event, name, given.text(attribute)?);
    }
    type_and_target(&mut given, kind, &mut event, &mut metadata)?;
    put(&mut event, "actor", named(&mut given, "bygoneactor")?);
    put(&mut event, "producer", producer(&mut given)?);
    let mut cause = named(&mut given, "bygonecause")?;
    if let Some(position) = count(&mut given, "bygonecauseposition")? {
        put(cause.get_or_insert_default(), "position", Some(position));
    }
    put(&mut event, "cause", cause);
    let content_type = given.text("datacontenttype")?.filter(|given| given != payload::JSON);
    put(&mut metadata, "datacontenttype", content_type);
    put(&mut event, "data", Some(payload::read(&mut given)?));
    let said = given.text("bygone")?;
    for (name, value) in given.left {
        if name.starts_with("bygone") {
            return Err(Error::invalid(
                WHAT,
                "the attributes that docs/guide/import-export.md lists",
                format!("`{name}`"),
            ));
        }
        if value != Value::Null {
            metadata.insert(name, value);
        }
    }
    for (name, value) in said.map(|text| rest(&text)).transpose()?.unwrap_or_default() {
        match (name.as_str(), value) {
            ("metadata", Value::Object(more)) => metadata.extend(more),
            (_, value) => put(&mut event, &name, Some(value)),
        }
    }
    put(&mut event, "metadata", Some(metadata));
    Ok((event, foreign))
}

/// The type and what the event is about: a type without a prefix gets one here, and is told as it was again.
fn type_and_target(
    given: &mut JsonMembers,
    kind: Option<&str>,
    event: &mut Object,
    metadata: &mut Object,
) -> Result<()> {
    let foreign = text(given, "type", "a text")?.ok_or_else(|| missing("type", "a text"))?;
    let subject = text(given, "subject", "a text")?;
    let target = subject.as_deref().and_then(split_path);
    if foreign.contains('.') {
        put(event, "type", Some(foreign));
    } else {
        let prefix = kind.or(target.map(|(kind, _)| kind)).unwrap_or(KIND);
        put(event, "type", Some(format!("{prefix}.{foreign}")));
        put(metadata, "type", Some(foreign));
    }
    match (target, &subject) {
        (Some((kind, id)), _) => put(event, "target", Some(pair(kind, id))),
        (None, Some(subject)) => put(metadata, "subject", Some(subject.as_str())),
        (None, None) => {}
    }
    Ok(())
}

fn producer(given: &mut JsonMembers) -> Result<Option<Object>> {
    let mut producer = named(given, "bygoneproducer")?;
    let revision = count(given, "bygonerevision")?;
    let vector = given.text("bygonevector")?;
    match &mut producer {
        Some(producer) => {
            put(producer, "version", revision);
            put(producer, "vector", vector);
        }
        None if revision.is_some() || vector.is_some() => {
            let what = "`bygonerevision` or `bygonevector`";
            return Err(Error::invalid(what, "`bygoneproducer` beside it", "none"));
        }
        None => {}
    }
    Ok(producer)
}

/// A text that is one, and not empty: a number is no id here, since it would be another one when it is written again.
fn text(given: &mut JsonMembers, name: &str, expected: &str) -> Result<Option<String>> {
    match given.take(name) {
        None => Ok(None),
        Some(Value::Text(text)) if !text.is_empty() => Ok(Some(text)),
        Some(other) => Err(Error::invalid(format!("`{name}`"), expected, shorten(&other.to_string()))),
    }
}

fn missing(name: &str, expected: &str) -> Error {
    Error::invalid(WHAT, format!("a member `{name}`, {expected}"), "none")
}

/// Whoever is not Bygone may name attributes like ours: what is none of ours by its form is kept in `metadata`, like any other.
fn give_up_what_is_no_attribute_of_ours(given: &mut JsonMembers, metadata: &mut Object) {
    let is_ours = |name: &str, value: &Value| {
        let text = match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        match name {
            "bygonenamespace" | "bygonekey" => text.is_some(),
            "bygonerecorded" => text.is_some_and(|text| text.parse::<Timestamp>().is_ok()),
            "bygoneversion" | "bygonecauseposition" | "bygonerevision" => is_count(value),
            "bygoneactor" | "bygoneproducer" | "bygonecause" => text
                .and_then(|text| text.split_once('/'))
                .is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty()),
            "bygonevector" => text.is_some_and(|text| text.parse::<VectorClock>().is_ok()),
            "bygone" => {
                let rest = text.and_then(|text| rest(text).ok());
                rest.is_some_and(|rest| rest.keys().all(|name| MEMBERS.contains(&name.as_str())))
            }
            name => !name.starts_with("bygone"),
        }
    };
    let mut ours = Object::new();
    for (name, value) in std::mem::take(&mut given.left) {
        if value == Value::Null || is_ours(&name, &value) { &mut ours } else { &mut *metadata }
            .insert(name, value);
    }
    // A revision or a vector is of a producer.
    if !ours.contains_key("bygoneproducer") {
        for name in ["bygonerevision", "bygonevector"] {
            metadata.extend(ours.shift_remove(name).map(|value| (name.to_owned(), value)));
        }
    }
    given.left = ours;
}

/// What no attribute could say.
fn rest(text: &str) -> Result<Object> {
    match Value::read(text, 1)? {
        Value::Object(rest) => Ok(rest),
        other => Err(Error::invalid("`bygone`", "the text of a JSON object", other.kind())),
    }
}

fn is_count(value: &Value) -> bool {
    let digits = value.as_text().map_or_else(|| value.to_string(), str::to_owned);
    digits.parse::<u64>().is_ok()
}

/// A count; one that is too large for an integer of CloudEvents is a text.
fn count(given: &mut JsonMembers, name: &str) -> Result<Option<Value>> {
    let count = given.text(name)?.map(|text| {
        let fault = || Error::invalid(format!("`{name}`"), "a count", shorten(&text));
        text.parse::<u64>().map(Value::from).map_err(|_| fault())
    });
    count.transpose()
}

/// A `type/id`.
fn named(given: &mut JsonMembers, name: &str) -> Result<Option<Object>> {
    let Some(text) = given.text(name)? else { return Ok(None) };
    match text.split_once('/') {
        Some((kind, id)) => Ok(Some(pair(kind, id))),
        None => Err(Error::invalid(format!("`{name}`"), "a type and an id, like User/ann", shorten(&text))),
    }
}

/// The id of an event whose own id another source has used before.
pub(crate) fn qualified(source: &str, id: &str) -> String {
    const MOST: usize = 256;
    let whole = format!("{source}#{id}");
    if whole.len() <= MOST { whole } else { blake3::hash(whole.as_bytes()).to_hex().to_string() }
}

/// Takes the members of the event form. `source` is where events come from that do not tell.
pub(super) fn write(members: Object, source: &str) -> Result<Object> {
    let mut event = JsonMembers::new(WHAT, members);
    let mut form = Object::new();
    let mut metadata = event.object("metadata")?.unwrap_or_default();
    put(&mut form, "specversion", Some("1.0"));
    origin(&mut event, &metadata, source, &mut form)?;
    if let Some(own) = type_without_prefix(&event.left, &metadata) {
        metadata.shift_remove("type");
        put(&mut form, "type", Some(own));
    } else {
        name(&mut event, "type", &mut form)?;
    }
    let payload = Payload::of(event.object("data")?.unwrap_or_default());
    if let Some(target) = event.object("target")? {
        match path(&target).filter(|path| split_path(path).is_some()) {
            Some(path) => put(&mut form, "subject", Some(path)),
            None => put(&mut event.left, "target", Some(target)),
        }
    }
    // A year before 0 has no form in RFC 3339.
    if let Some(time) = event.text("timestamp")? {
        let said = if time.starts_with('-') { (&mut event.left, "timestamp") } else { (&mut form, "time") };
        put(said.0, said.1, Some(time));
    }
    let kept = extensions(metadata, &mut form);
    if payload.is_some() && !form.contains_key("datacontenttype") {
        put(&mut form, "datacontenttype", Some(payload::JSON));
    }
    for (name, attribute) in [("position", "bygoneposition"), ("version", "bygoneversion")] {
        put(&mut form, attribute, event.take(name).map(small));
    }
    for (name, attribute) in NAMES {
        match event.text(name)? {
            Some(text) if is_lawful(&text) => put(&mut form, attribute, Some(text)),
            text => put(&mut event.left, name, text),
        }
    }
    people(&mut event, &mut form)?;
    put(&mut event.left, "metadata", Some(kept).filter(|kept| !kept.is_empty()));
    if !event.left.is_empty() {
        put(&mut form, "bygone", Some(escaped(&Value::Object(event.left).to_string())));
    }
    payload::write(payload, &mut form);
    Ok(form)
}

/// Who had part in it: attributes, if all that is to be said of one can be said in them.
fn people(event: &mut JsonMembers, form: &mut Object) -> Result<()> {
    for (name, attribute) in
        [("actor", "bygoneactor"), ("producer", "bygoneproducer"), ("cause", "bygonecause")]
    {
        let Some(mut told) = event.object(name)? else { continue };
        let position = told.get("position").cloned();
        let named = told.contains_key("id");
        let vector = told.get("vector").and_then(Value::as_text);
        match path(&told).filter(|_| vector.is_none_or(is_lawful)) {
            None if position.is_some() && !named => put(form, "bygonecauseposition", position.map(small)),
            Some(path) => {
                put(form, "bygonecauseposition", position.map(small));
                put(form, attribute, Some(path));
                put(form, "bygonerevision", told.shift_remove("version").map(small));
                put(form, "bygonevector", told.shift_remove("vector"));
            }
            None => put(&mut event.left, name, Some(told)),
        }
    }
    Ok(())
}

/// Writes `id` and `source`: those it came with from elsewhere, or ours.
fn origin(event: &mut JsonMembers, metadata: &Object, source: &str, form: &mut Object) -> Result<()> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_text);
    let from = text("source").filter(|source| is_uri_reference(source));
    if let (Some(from), Some(id), Some(Value::Text(own))) = (from, text("id"), event.left.get("id"))
        && qualified(from, id) == *own
        && is_lawful(id)
    {
        put(form, "id", Some(id));
    } else {
        name(event, "id", form)?;
    }
    put(form, "source", Some(from.unwrap_or(source)));
    Ok(())
}

/// The type that an event came with from elsewhere, if it got its prefix here. What it is here is told beside it.
fn type_without_prefix(event: &Object, metadata: &Object) -> Option<String> {
    let (own, foreign) = (event.get("type")?.as_text()?, metadata.get("type")?.as_text()?);
    let is_it = own.split_once('.').is_some_and(|(_, name)| name == foreign);
    (is_it && !foreign.contains('.') && is_lawful(foreign)).then(|| foreign.to_owned())
}

/// Writes a text that has to be there. If no attribute can be that text, it is told beside one that looks like it.
fn name(event: &mut JsonMembers, name: &str, form: &mut Object) -> Result<()> {
    let text = event.required(name)?;
    if !is_lawful(&text) {
        put(&mut event.left, name, Some(text.as_str()));
    }
    put(form, name, Some(made_lawful(&text)));
    Ok(())
}

/// Writes what of metadata is read back as the same from attributes, and gives the rest.
fn extensions(metadata: Object, form: &mut Object) -> Object {
    let mut kept = Object::new();
    for (name, value) in metadata {
        let text = value.as_text();
        let is_attribute = is_value(&value)
            && match name.as_str() {
                // What these say of an event of ours, is not said by its metadata.
                "specversion" | "id" | "source" | "type" | "time" | "data" | "correlationid" => false,
                "subject" => {
                    !form.contains_key("subject") && text.is_some_and(|text| split_path(text).is_none())
                }
                "datacontenttype" => text.is_some_and(|text| text != payload::JSON),
                "dataschema" => text.is_some_and(is_uri_reference),
                name => is_extension_name(name) && !name.starts_with("bygone"),
            };
        if is_attribute { &mut *form } else { &mut kept }.insert(name, value);
    }
    kept
}

/// A count, as an attribute: one that has more than 32 bits is a text.
fn small(count: Value) -> Value {
    match count {
        Value::Int(n) if i32::try_from(n).is_err() => Value::Text(n.to_string()),
        Value::UInt(n) => Value::Text(n.to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an event of ours becomes, and what becomes of that.
    fn both(event: &str) -> (String, Object) {
        let Value::Object(members) = event.parse().unwrap() else { panic!("{event}") };
        let form = write(members.clone(), "urn:x").unwrap();
        let (back, foreign) = read(form.clone(), None).unwrap();
        assert_eq!(foreign, None);
        let left_out = |name: &str| name == "metadata" || name == "data";
        let same = back.iter().all(|(name, value)| {
            members.get(name) == Some(value) || left_out(name) && *value == Value::Object(Object::new())
        });
        assert!(same && members.keys().all(|name| back.contains_key(name)), "{back:?}");
        (Value::Object(form.clone()).to_string(), form)
    }

    #[test]
    fn counts_that_are_large_are_texts() {
        let (text, form) = both(
            r#"{"position":2147483648,"version":2147483647,"id":"1","type":"A.b","timestamp":"2024-01-01T00:00:00Z",
                "producer":{"type":"Till","id":"4","version":18446744073709551615,"vector":"a:1"},
                "cause":{"position":2147483649}}"#,
        );
        assert_eq!(form["bygoneposition"], Value::from("2147483648"), "{text}");
        assert_eq!(form["bygoneversion"], Value::from(2147483647));
        assert_eq!(form["bygonerevision"], Value::from("18446744073709551615"));
        assert_eq!(form["bygonecauseposition"], Value::from("2147483649"));
    }

    #[test]
    fn what_no_attribute_can_be_is_told_in_one() {
        let (text, form) = both(
            r#"{"position":1,"id":"a\nb","type":"A.b","timestamp":"-000044-03-15T12:00:00Z","target":{"type":"a/b","id":"1"},
                "actor":{"type":"User","id":"\n"},"tags":{"n":1.0},"metadata":{"deep":{"a":1},"ip":"::1","id":"x"}}"#,
        );
        let rest = r#"{"id":"a\nb","tags":{"n":1.0},"target":{"type":"a/b","id":"1"},"timestamp":"-000044-03-15T12:00:00Z",
            "actor":{"type":"User","id":"\n"},"metadata":{"deep":{"a":1},"id":"x"}}"#;
        let said: Value = form["bygone"].as_text().unwrap().parse().unwrap();
        assert_eq!(said, rest.parse::<Value>().unwrap());
        assert!(text.contains(r#""ip":"::1","#), "{text}");
    }

    #[test]
    fn an_id_that_is_led_by_its_source_is_no_longer_than_ids_are() {
        assert_eq!(qualified("/a", "1"), "/a#1");
        assert_eq!(qualified("/a", &"x".repeat(256)).len(), 64);
    }
}
