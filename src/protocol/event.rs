//! Events to be appended, as a request says them: in the event form, with what is expected of the log beside.

use super::expect;
use crate::error::{Error, Result};
use crate::event::{NewEvent, Target, read_members, tag_members};
use crate::value::{Object, Value};

/// What the log gives an event, and nobody says.
const GIVEN: [&str; 3] = ["position", "version", "recorded"];

/// Reads an event. Without `target` it joins the history of its actor where that is of the kind of its type, as in Rust; with `null`
/// nobody's.
pub(crate) fn read(value: Value) -> Result<NewEvent> {
    let Value::Object(mut members) = value else {
        return Err(Error::invalid("an event", "an object", value.kind()));
    };
    if let Some(name) = GIVEN.into_iter().find(|name| members.contains_key(name)) {
        let expected = "an event without its place in the log (`import` takes back what was exported)";
        return Err(Error::invalid("an event", expected, format!("`{name}`")));
    }
    let expect = members.shift_remove("expect").map(expect::read_all).transpose()?.unwrap_or_default();
    let unsaid = !members.contains_key("target");
    let mut event = read_members(members)?.event;
    if unsaid {
        event.target = Target::Unsaid;
    }
    Ok(expect.into_iter().fold(event, NewEvent::expect))
}

/// What [`read`] reads.
pub(crate) fn write(event: &NewEvent) -> Result<Value> {
    let mut members = Object::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    put("type", event.checked()?.as_str().into());
    match &event.target {
        Target::Unsaid => {}
        Target::Nobody => put("target", Value::Null),
        Target::Entity(target) => put("target", Value::of(target)?),
    }
    if let Some(id) = &event.id {
        put("id", id.to_string().into());
    }
    if let Some(timestamp) = event.timestamp {
        put("timestamp", timestamp.to_string().into());
    }
    if let Some(actor) = &event.actor {
        put("actor", Value::of(actor)?);
    }
    if let Some(producer) = &event.producer {
        put("producer", Value::of(producer)?);
    }
    if let Some(cause) = &event.cause {
        put("cause", Value::of(cause)?);
    }
    for (name, text) in
        [("correlation", &event.correlation), ("namespace", &event.namespace), ("key", &event.key)]
    {
        if let Some(text) = text {
            put(name, text.as_str().into());
        }
    }
    if !event.tags.is_empty() {
        put("tags", Value::Object(tag_members(&event.tags)));
    }
    put("data", event.data.to_value()?);
    if !event.metadata.is_empty() {
        put("metadata", event.metadata.to_value()?);
    }
    if !event.expect.is_empty() {
        put("expect", Value::Array(event.expect.iter().map(expect::write).collect::<Result<_>>()?));
    }
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::Producer;
    use crate::{Db, Expect, Position, Version};

    /// Everything that can be said of an event.
    fn told() -> Vec<NewEvent> {
        let till =
            Producer { model: ("Till", 4).into(), version: None, vector: Some("oslo:3".parse().unwrap()) };
        vec![
            NewEvent::new("Order.opened").by(("Order", 1)).correlation("trip-1"),
            NewEvent::new("Order.noted").by(("Order", 1)).on_nobody(),
            NewEvent::new("Order.paid")
                .on(("Order", 42))
                .by(("User", "ann b"))
                .id("e-1")
                .key("k-1")
                .at("2024-01-01T00:00:00.123456789Z".parse().unwrap())
                .produced_by(till)
                .caused_by(Position(1))
                .namespace("shop")
                .member("total", 1.0)
                .member("large", u64::MAX)
                .member("note", "é\u{0}\n")
                .index("customer", "c-7")
                .index("large", i64::MIN)
                .index("several", vec![Value::from("a"), 1.into(), true.into()])
                .metadata(&Object::from_iter([("ip".to_owned(), Value::Null)]))
                .expect(Expect::New)
                .expect(Expect::none("A.b").by("customer", "c-8")),
            NewEvent::new("Order.sent")
                .on(("Order", 42))
                .caused_by_named("Ship", "cmd-7")
                .correlation("trip")
                .expect(Expect::Version(Version(1))),
        ]
    }

    #[test]
    fn an_event_that_is_sent_is_appended_as_one_of_this_program() {
        let clock = || crate::maintain::Clock::new(|| crate::Timestamp::from_millis(7));
        let (here, there) = (
            crate::Options::new().clock(clock()).in_memory().unwrap(),
            crate::Options::new().clock(clock()).in_memory().unwrap(),
        );
        for event in told() {
            let text = write(&event).unwrap().to_string();
            let sent = read(Value::read(&text, 3).unwrap()).unwrap();
            assert_eq!(write(&sent).unwrap().to_string(), text);
            let mut appended = [here.append(event).unwrap(), there.append(sent).unwrap()];
            let [here, there] = &mut appended;
            if here.own_id {
                there.id = here.id.clone();
            }
            assert_eq!(here, there);
        }
    }

    #[test]
    fn the_log_gives_an_event_its_place() {
        for given in GIVEN {
            let event = format!(r#"{{"type":"A.b","{given}":1}}"#);
            assert!(read(event.parse().unwrap()).unwrap_err().to_string().contains("without its place"));
        }
        assert!(read("[]".parse().unwrap()).is_err());
        assert!(read(r#"{"type":"A.b","data":{},"surplus":1}"#.parse().unwrap()).is_err());
        let db = Db::in_memory().unwrap();
        let nobody = read(r#"{"type":"A.b","actor":{"type":"A","id":"1"},"target":null}"#.parse().unwrap());
        assert_eq!(db.append(nobody.unwrap()).unwrap().target, None);
    }
}
