//! What is expected of the log, as a request says it: `"new"`, `"exists"`, `"absent"`, `{"version": 3}`, `{"none": {"pattern": …}}`.

use crate::entity::{Position, Version};
use crate::error::{Error, Result, shorten};
use crate::event::expect::ExpectKey;
use crate::event::{Expect, ExpectNone, JsonMembers};
use crate::value::{Object, Value};

const FORMS: &str = "\"new\", \"exists\", \"absent\", {\"version\": n} or {\"none\": {…}}";

/// Reads one expectation, or an array of them.
pub(crate) fn read_all(value: Value) -> Result<Vec<Expect>> {
    match value {
        Value::Array(items) => items.into_iter().map(read).collect(),
        one => Ok(vec![read(one)?]),
    }
}

fn read(value: Value) -> Result<Expect> {
    let wrong = |found: &Value| Error::invalid("`expect`", FORMS, shorten(&found.to_string()));
    match value {
        Value::Text(text) if text == "new" => Ok(Expect::New),
        Value::Text(text) if text == "exists" => Ok(Expect::Exists),
        Value::Text(text) if text == "absent" => Ok(Expect::Absent),
        Value::Object(members) if members.len() == 1 && members.contains_key("version") => {
            let mut form = JsonMembers::new("`expect`", members);
            match form.count("version")? {
                Some(version) => Ok(Expect::Version(Version(version))),
                None => Err(wrong(&Value::Null)),
            }
        }
        Value::Object(mut members) if members.len() == 1 && members.contains_key("none") => {
            match members.shift_remove("none") {
                Some(Value::Object(none)) => Ok(Expect::None(absence(none)?)),
                other => Err(wrong(&other.unwrap_or_default())),
            }
        }
        other => Err(wrong(&other)),
    }
}

fn absence(members: Object) -> Result<ExpectNone> {
    let mut form = JsonMembers::new("`none`", members);
    let mut none = match form.text("pattern")? {
        Some(pattern) => Expect::none(&pattern),
        None => Expect::none_at_all(),
    };
    for (name, value) in form.object("by")?.unwrap_or_default() {
        none = none.by(&name, value);
    }
    if let Some(actor) = form.entity("actor")? {
        none = none.by_actor(actor);
    }
    if let Some(target) = form.entity("target")? {
        none = none.on(target);
    }
    if let Some(correlation) = form.text("correlation")? {
        none = none.by_correlation(&correlation);
    }
    if let Some(after) = form.count("after")? {
        none = none.since(Position(after));
    }
    if let Some(since) = form.text("since")? {
        none = none.since_time(since.parse()?);
    }
    form.done("`pattern`, `by`, `actor`, `target`, `correlation`, `after`, `since`")?;
    Ok(none)
}

/// What [`read_all`] reads.
pub(crate) fn write(expect: &Expect) -> Result<Value> {
    Ok(match expect {
        Expect::New => "new".into(),
        Expect::Exists => "exists".into(),
        Expect::Absent => "absent".into(),
        Expect::Version(version) => Value::Object(member("version", version.0)),
        Expect::None(none) => Value::Object(member("none", written(none)?)),
    })
}

fn member(name: &str, value: impl Into<Value>) -> Object {
    Object::from_iter([(name.to_owned(), value.into())])
}

fn written(none: &ExpectNone) -> Result<Value> {
    none.check()?;
    let mut members = Object::new();
    let mut by = Object::new();
    if let Some(pattern) = &none.pattern {
        members.insert("pattern".to_owned(), pattern.to_string().into());
    }
    for key in &none.by {
        let (name, value) = match key {
            ExpectKey::Tag(name, value) => {
                said_twice(by.insert(name.clone(), value.clone()))?;
                continue;
            }
            ExpectKey::Actor(actor) => ("actor", Value::of(actor)?),
            ExpectKey::Target(target) => ("target", Value::of(target)?),
            ExpectKey::Correlation(root) => ("correlation", root.as_str().into()),
        };
        said_twice(members.insert(name.to_owned(), value))?;
    }
    if !by.is_empty() {
        members.insert("by".to_owned(), Value::Object(by));
    }
    if none.after != Position::START {
        members.insert("after".to_owned(), none.after.0.into());
    }
    if let Some(since) = none.since {
        members.insert("since".to_owned(), since.to_string().into());
    }
    Ok(Value::Object(members))
}

fn said_twice(before: Option<Value>) -> Result<()> {
    match before {
        None => Ok(()),
        Some(value) => {
            let expected = "one value for each name: an object of JSON has no more";
            Err(Error::invalid(
                "EXPECT NONE",
                expected,
                format!("{} and another", shorten(&value.to_string())),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_read_as_it_was_written() {
        let closed = Expect::none("Flight.closed, Seat.*")
            .by("flight", 7)
            .by("open", true)
            .by_actor(("User", "ann"))
            .on(("Flight", 7))
            .by_correlation("trip-1")
            .since(Position(12))
            .since_time("2024-01-01T00:00:00Z".parse().unwrap());
        for expect in [
            Expect::New,
            Expect::Exists,
            Expect::Absent,
            Expect::Version(Version(0)),
            Expect::Version(Version(3)),
            Expect::none_at_all().into(),
            closed.into(),
        ] {
            let written = write(&expect).unwrap();
            let text = Value::Array(vec![written.clone(), written.clone()]).to_string();
            assert_eq!(read_all(written).unwrap(), std::slice::from_ref(&expect), "{text}");
            assert_eq!(read_all(text.parse().unwrap()).unwrap(), [expect.clone(), expect]);
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in [
            r#""newer""#,
            "3",
            "{}",
            r#"{"version":-1}"#,
            r#"{"version":1,"none":{}}"#,
            r#"{"none":[]}"#,
            r#"{"none":{"patern":"A.b"}}"#,
            r#"{"none":{"since":"yesterday"}}"#,
        ] {
            assert!(read_all(wrong.parse().unwrap()).is_err(), "{wrong}");
        }
    }
}
