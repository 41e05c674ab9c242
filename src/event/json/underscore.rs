//! The underscore form of actor-model systems: what is known of an event has keys that begin with `_`, and `type`; every other key
//! is data.
//!
//! Those systems know no cause of one's own log, no key, no metadata …: for these there are keys of ours in the same manner.

use super::members::{JsonMembers, put};
use crate::error::{Error, Result, shorten};
use crate::value::{Object, Value};

const WHAT: &str = "an event in the underscore form";

/// The members that have one key each: in the event form, and here.
const NAMES: [(&str, &str); 10] = [
    ("position", "_position"),
    ("version", "_version"),
    ("id", "_id"),
    ("timestamp", "_createdOn"),
    ("recorded", "_recordedOn"),
    ("correlation", "_correlation"),
    ("namespace", "_actorNamespace"),
    ("key", "_key"),
    ("metadata", "_metadata"),
    ("forgotten", "_forgotten"),
];

/// Gives the members of the event form.
pub(super) fn read(members: Object) -> Result<Object> {
    let mut given = JsonMembers::new(WHAT, members);
    let mut event = Object::new();
    let actor = given.pair("_actorType", "_actorId")?;
    let model = given.pair("_modelType", "_modelId")?;
    let mut kind = match given.text("_type")? {
        Some(kind) => kind,
        None => given.required("type")?,
    };
    let owner = model.as_ref().or(actor.as_ref()).cloned();
    if let Some(prefix) = owner.as_ref().and_then(|owner| owner["type"].as_text())
        && !kind.contains('.')
    {
        kind = format!("{prefix}.{kind}");
    }
    put(&mut event, "type", Some(kind));
    for (name, key) in NAMES {
        put(&mut event, name, given.take(key));
    }
    put(&mut event, "actor", given.pair("_onBehalfOf", "_onBehalfOfId")?);
    let actor = actor.filter(|_| model.is_some());
    let producer = producer(&mut given, owner.as_ref(), actor, &mut event)?;
    put(&mut event, "producer", producer);
    put(&mut event, "target", owner);
    let mut cause = given.pair("_initiatedBy", "_initiatedById")?;
    if let Some(position) = given.take("_initiatedByPosition") {
        put(cause.get_or_insert_default(), "position", Some(position));
    }
    put(&mut event, "cause", cause);
    let index = given.take("_indexBy");
    let mut data = given.object("_data")?.unwrap_or_default();
    for (name, value) in given.left {
        if name.starts_with('_') {
            return Err(Error::invalid(
                WHAT,
                "the keys that docs/guide/import-export.md lists",
                format!("`{name}`"),
            ));
        }
        if data.contains_key(&name) {
            return Err(Error::invalid(WHAT, "each member of data once", format!("`{name}` in `_data` too")));
        }
        data.insert(name, value);
    }
    put(&mut event, "tags", tags(index, &data)?);
    put(&mut event, "data", Some(data));
    Ok(event)
}

/// Who made it: who is said to have, or the actor that an override keeps from owning it, or its owner.
fn producer(
    given: &mut JsonMembers,
    owner: Option<&Object>,
    actor: Option<Object>,
    event: &mut Object,
) -> Result<Option<Object>> {
    let version = given.take("_createdByVersion");
    let vector = given.text("_createdByVector")?;
    let told = version.is_some() || vector.is_some();
    let creator = given.pair("_createdBy", "_createdById")?;
    if let (Some(creator), Some(actor)) = (&creator, &actor)
        && creator != actor
    {
        // Three were there: the owner, who made it, and one more that an event has no place for.
        let metadata = event.member_or("metadata".to_owned(), || Object::new().into());
        if let Value::Object(metadata) = metadata {
            metadata.insert("_actorType".to_owned(), actor["type"].clone());
            metadata.insert("_actorId".to_owned(), actor["id"].clone());
        }
    }
    let maker = creator.or(actor).or_else(|| owner.filter(|_| told).cloned());
    let Some(mut producer) = maker else {
        if told {
            let expected = "`_createdBy` and `_createdById` beside it";
            return Err(Error::invalid("`_createdByVersion` or `_createdByVector`", expected, "neither"));
        }
        return Ok(None);
    };
    put(&mut producer, "version", version);
    put(&mut producer, "vector", vector);
    Ok(Some(producer))
}

fn tags(index: Option<Value>, data: &Object) -> Result<Option<Object>> {
    let names = match index {
        None => return Ok(None),
        Some(Value::Object(tags)) => return Ok(Some(tags)),
        Some(Value::Array(names)) if names.iter().all(|name| name.as_text().is_some()) => names,
        Some(other) => {
            let expected = "a map name → value, or a list of names of data";
            return Err(Error::invalid("`_indexBy`", expected, shorten(&other.to_string())));
        }
    };
    let mut tags = Object::new();
    for name in names.iter().filter_map(Value::as_text) {
        let Some(value) = data.get(name) else {
            return Err(Error::invalid("`_indexBy`", format!("a member `{name}` in data"), "no such member"));
        };
        if tags.insert(name.to_owned(), value.clone()).is_some() {
            return Err(Error::invalid("`_indexBy`", "each name once", format!("`{name}` again")));
        }
    }
    Ok(Some(tags))
}

/// Takes the members of the event form.
pub(super) fn write(members: Object) -> Result<Object> {
    let mut event = JsonMembers::new(WHAT, members);
    let mut form = Object::new();
    let data = event.object("data")?.unwrap_or_default();
    let target = event.object("target")?;
    for (name, key) in NAMES {
        put(&mut form, key, event.take(name));
    }
    let kind = event.required("type")?;
    let prefix = target.as_ref().and_then(|target| target["type"].as_text());
    let short = prefix.and_then(|prefix| kind.strip_prefix(prefix)?.strip_prefix('.'));
    let kind = short.filter(|short| !short.contains('.')).unwrap_or(&kind);
    // A member of data may be named `type`, then there is this other word for it.
    put(&mut form, if data.contains_key("type") { "_type" } else { "type" }, Some(kind));
    let mut two = |kind: &str, id: &str, entity: Option<Object>| {
        let Some(mut entity) = entity else { return entity };
        put(&mut form, kind, entity.shift_remove("type"));
        put(&mut form, id, entity.shift_remove("id"));
        Some(entity)
    };
    two("_actorType", "_actorId", target);
    two("_onBehalfOf", "_onBehalfOfId", event.object("actor")?);
    let producer = two("_createdBy", "_createdById", event.object("producer")?);
    let cause = two("_initiatedBy", "_initiatedById", event.object("cause")?);
    if let Some(mut producer) = producer {
        put(&mut form, "_createdByVersion", producer.shift_remove("version"));
        put(&mut form, "_createdByVector", producer.shift_remove("vector"));
    }
    put(&mut form, "_initiatedByPosition", cause.and_then(|mut cause| cause.shift_remove("position")));
    put(&mut form, "_indexBy", event.object("tags")?.map(|tags| index(tags, &data)));
    event.done("the members of an event")?;
    if data.keys().any(|name| name.starts_with('_')) {
        put(&mut form, "_data", Some(data));
    } else {
        form.extend(data);
    }
    Ok(form)
}

/// Names are enough, where data has these values.
fn index(tags: Object, data: &Object) -> Value {
    // 1 and 1.0, 0.0 and -0.0 are different texts.
    let is_there = |name: &String, tag: &Value| {
        data.get(name).is_some_and(|value| value == tag && value.to_string() == tag.to_string())
    };
    if tags.iter().all(|(name, tag)| is_there(name, tag)) {
        Value::Array(tags.into_iter().map(|(name, _)| Value::Text(name)).collect())
    } else {
        Value::Object(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use crate::event::Cause;
    use crate::value::Value;

    #[test]
    fn the_underscore_form_is_read() {
        let line = r#"{"type":"paid","_id":"e1","_actorType":"Till","_actorId":4,"_modelType":"Order","_modelId":"42",
            "_createdOn":"2024-01-01","_createdBy":"Cashier","_createdById":"c","_createdByVersion":3,
            "_createdByVector":"a:1;b:2","_initiatedBy":"Pay","_initiatedById":"p1","_actorNamespace":"shop",
            "_indexBy":["total"],"total":10}"#;
        let event = read(line, None).unwrap().event;
        assert_eq!(event.checked().unwrap().as_str(), "Order.paid");
        assert_eq!(event.owner(), Some(&("Order", 42).into()));
        assert_eq!(event.producer.as_ref().unwrap().model, ("Cashier", "c").into());
        assert_eq!(event.metadata.to_string(), r#"{"_actorType":"Till","_actorId":"4"}"#);
        assert_eq!(event.cause, Some(Cause::Named { kind: "Pay".into(), id: "p1".into() }));
        assert_eq!(event.tags[0].value, Value::from(10));
        assert_eq!(event.data.to_string(), r#"{"total":10}"#);
    }

    #[test]
    fn the_actor_that_does_not_own_is_the_producer() {
        let line = r#"{"type":"Order.paid","_actorType":"Till","_actorId":"4","_modelType":"Order","_modelId":"42"}"#;
        assert_eq!(read(line, None).unwrap().event.producer.unwrap().model, ("Till", 4).into());
    }

    #[test]
    fn an_index_map_gives_tags() {
        let event = read(r#"{"_type":"A.b","_indexBy":{"x":1,"y":"z"},"id":7}"#, None).unwrap().event;
        assert_eq!(event.tags.len(), 2);
        assert_eq!((event.owner(), event.data.get("id")), (None, Some(Value::from(7))));
    }

    #[test]
    fn members_of_data_may_have_any_names() {
        let event = read(r#"{"_type":"A.b","type":1,"specversion":"1.0"}"#, None).unwrap().event;
        assert_eq!(event.data.to_string(), r#"{"type":1,"specversion":"1.0"}"#);
        let event = read(r#"{"type":"A.b","_data":{"_id":1,"type":2},"x":3}"#, None).unwrap().event;
        assert_eq!(event.data.to_string(), r#"{"_id":1,"type":2,"x":3}"#);
        let error = read(r#"{"type":"A.b","_data":{"x":1},"x":3}"#, None).unwrap_err().to_string();
        assert!(error.contains("`x` in `_data` too"), "{error}");
    }
}
