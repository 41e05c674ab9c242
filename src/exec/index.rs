//! Indexes: what works out their expressions, and the statements about them.

use std::sync::Arc;

use super::answer::{Answer, Row};
use super::eval;
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::event::{Expect, NewEvent, codec};
use crate::plan::expr::Node;
use crate::plan::{self, DefineIndex, DropIndex};
use crate::store::Store;
use crate::store::catalog::{DEFINED, DROPPED, Derive, KIND};
use crate::store::group::{Group, Outcome};
use crate::store::snapshot::Snapshot;
use crate::store::term::Key;
use crate::value::{Object, Value};

struct Expression(Node);

/// What works out the expression of an index.
pub(super) fn compile(text: &str) -> Result<Arc<dyn Derive>> {
    Ok(Arc::new(Expression(plan::index_expression(text)?)))
}

impl Derive for Expression {
    fn keys(&self, event: &Record, found: &mut Vec<Key>) {
        eval::keys(&self.0, event, found);
    }
}

/// `DEFINE INDEX`. What is defined like this already is not defined again.
pub(super) fn define(store: &Store, define: &DefineIndex) -> Result<Answer> {
    let snapshot = store.snapshot();
    if let Some(answer) = defined_already(&snapshot, define)? {
        return Ok(answer);
    }
    let data = Object::from_iter([
        ("name".to_owned(), Value::from(define.name.as_str())),
        ("on".to_owned(), define.on.to_string().into()),
        ("as".to_owned(), define.text.as_str().into()),
    ]);
    let event = about(&snapshot, DEFINED, &define.name, define.actor.as_ref())?.data(&Value::Object(data));
    let outcome = match append(store, event) {
        // Somebody else may have said the same just now.
        Err(error) if error.is_refused() => {
            return defined_already(&store.snapshot(), define)?.ok_or(error);
        }
        outcome => outcome?,
    };
    let first = outcome.events.first().map_or(0, |(position, _)| *position);
    let mut answer = rows(outcome);
    if first > 1 {
        let name = crate::entity::Name(&define.name);
        answer.notices.push(format!(
            "{name} is built from {} events before it, while this database is open; SHOW INDEXES tells how far it is",
            first - 1
        ));
    }
    Ok(answer)
}

/// The event of a definition that holds now and says the same.
fn defined_already(snapshot: &Snapshot, define: &DefineIndex) -> Result<Option<Answer>> {
    let found = snapshot.indexes().get(&define.name);
    let Some(same) = found.filter(|index| *index.on() == define.on && index.text() == define.text) else {
        return Ok(None);
    };
    let event = snapshot.event(same.position)?;
    let event = event.ok_or_else(|| Error::corrupt("the log", format!("no event at {}", same.position)))?;
    Ok(Some(Answer::row(Row::Event { event, repeated: true })))
}

/// `DROP INDEX`.
pub(super) fn drop(store: &Store, drop: &DropIndex) -> Result<Answer> {
    let snapshot = store.snapshot();
    if snapshot.indexes().get(&drop.name).is_none() {
        return Err(Error::refused(format!("the index {}", drop.name), "one that is defined", "none"));
    }
    let event = about(&snapshot, DROPPED, &drop.name, drop.actor.as_ref())?;
    Ok(rows(append(store, event)?))
}

/// An event about an index, of which nobody has said anything since.
fn about(snapshot: &Snapshot, kind: &str, name: &str, actor: Option<&Entity>) -> Result<NewEvent> {
    let index = Entity::new(KIND, name)?;
    let version: Version = snapshot.version(&index)?;
    let event = NewEvent::new(kind).on(&index).expect(Expect::Version(version));
    Ok(match actor {
        Some(actor) => event.by(actor),
        None => event,
    })
}

fn append(store: &Store, event: NewEvent) -> Result<Outcome> {
    store.append(Group { events: vec![event], internal: true, ..Group::default() })
}

fn rows(outcome: Outcome) -> Answer {
    let event = |(position, bytes)| Ok(Row::from(codec::decode(Position(position), bytes)?));
    Answer::rows(outcome.events.into_iter().map(event))
}

/// `SHOW INDEXES`: those of the catalog, then those whose lists are being dropped.
pub(super) fn show(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let row = |name: Value, on: Value, text: Value, position: Position, state: &str, percent: Value| {
        Row::Fields(Object::from_iter(
            [
                ("name", name),
                ("on", on),
                ("as", text),
                ("defined", position.0.into()),
                ("state", state.into()),
                ("percent", percent),
            ]
            .map(|(member, value)| (member.to_owned(), value)),
        ))
    };
    let indexes = snapshot.indexes();
    let mut found = Vec::new();
    for index in indexes.iter() {
        let used = indexes.usable(index.name());
        let newest = indexes.get(index.name()).is_some_and(|newest| newest.position == index.position);
        let state = match index.is_complete() {
            true if used.is_some_and(|used| used.position == index.position) => "ready",
            false if !index.is_understood() => "not understood",
            false if newest => "building",
            // Another one of this name has taken its place, or will.
            _ => "dropping",
        };
        let (name, on, text) = (index.name().into(), index.on().to_string().into(), index.text().into());
        found.push(Ok(row(name, on, text, index.position, state, index.percent().into())));
    }
    for position in snapshot.dropping()? {
        if indexes.at(position).is_some() {
            continue;
        }
        let event = snapshot.event(position)?;
        let member =
            |member: &str| event.as_ref().and_then(|event| event.data.get(member)).unwrap_or_default();
        found.push(Ok(row(member("name"), member("on"), member("as"), position, "dropping", Value::Null)));
    }
    Ok(found.into_iter())
}
