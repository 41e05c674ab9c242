//! Writing: from a plan to a group of events, and from the outcome to rows.

use std::sync::Arc;

use super::answer::{Answer, Row};
use super::{define, eval};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::id::IdSource;
use crate::event::{NewEvent, codec};
use crate::plan::{Absence, Append, Emit, Owner, When, Write};
use crate::store::Store;
use crate::store::condition::Condition;
use crate::store::group::{Group, content_of};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// Carries out a write.
pub(crate) fn write(store: &Store, plan: &Write) -> Result<Answer> {
    match plan {
        Write::Append(append) => self::append(store, append),
        Write::Define(definition) => define::define(store, definition),
        Write::Drop(drop) => define::drop(store, drop),
        Write::Checkpoint => store.checkpoint().map(|()| Answer::done()),
    }
}

fn append(store: &Store, append: &Append) -> Result<Answer> {
    let mut ids = IdSource::default();
    let mut notices = Vec::new();
    let mut events = Vec::with_capacity(append.emits.len());
    for emit in &append.emits {
        let target = match &emit.owner {
            Owner::Unsaid => None,
            Owner::Entity(entity) => Some(entity.clone()),
            Owner::New => {
                let made = match &store.shared().options.ids {
                    Some(ids) => ids()?,
                    None => ids.next(append.now)?,
                };
                let made = Entity::new(emit.kind.prefix(), &made.to_string())?;
                notices.push(format!("{made} is new"));
                Some(made)
            }
        };
        events.push(event(emit, target, append.now)?);
    }
    let group = keyed(append, events)?;
    let outcome = store.append(group)?;
    if outcome.repeated {
        notices.clear();
    }
    let rows = outcome.events.into_iter().map(move |(position, bytes)| {
        Ok(Row::Event { event: codec::decode(Position(position), bytes)?, repeated: outcome.repeated })
    });
    let mut answer = Answer::rows(rows);
    answer.notices = notices;
    Ok(answer)
}

/// The group, with a hash of its content where the events themselves would differ from run to run.
fn keyed(append: &Append, mut events: Vec<NewEvent>) -> Result<Group> {
    let steady = append.emits.iter().all(Emit::is_steady);
    let mut key = append.key.clone();
    if !steady && events.iter().any(|event| event.key.is_some()) {
        match (events.as_mut_slice(), &key) {
            // The key of a lone event is as good as that of its group.
            ([one], None) => key = one.key.take(),
            _ => {
                let found = "keys on its events, of which one says NEW or NOW";
                return Err(Error::invalid("the key of an ATOMIC", "one KEY behind the brackets", found));
            }
        }
    }
    let content = if key.is_some() && !steady { Some(content(append)?) } else { None };
    let mut group = Group { events, key, content, ..Group::default() };
    group.expect.extend(append.expect.clone());
    group.conditions.extend(append.none.iter().map(condition));
    for (emit, at) in append.emits.iter().zip(0..) {
        group.guards.extend(emit.none.iter().map(|none| (at, condition(none))));
    }
    Ok(group)
}

fn condition(none: &Absence) -> Arc<dyn Condition> {
    Arc::new(none.clone())
}

pub(super) fn event(emit: &Emit, target: Option<Entity>, now: Timestamp) -> Result<NewEvent> {
    let mut event = NewEvent::new(emit.kind.as_str());
    if let Some(target) = target {
        event = event.on(target);
    }
    if let Some(actor) = &emit.actor {
        event = event.by(actor);
    }
    if let Some(data) = &emit.data {
        event = event.data(&eval::value(data, now)?);
    }
    if let Some(metadata) = &emit.metadata {
        event = event.metadata(&eval::value(metadata, now)?);
    }
    match emit.at {
        Some(When::Time(time)) => event = event.at(time),
        Some(When::Ago(ago)) => event = event.at(now.saturating_sub(ago)),
        None => {}
    }
    if let Some(key) = &emit.key {
        event = event.key(key);
    }
    event.cause = emit.cause.clone();
    event.expect.extend(emit.expect.clone());
    for (name, value) in &emit.index {
        event = match value {
            Some(value) => event.index(name, eval::value(value, now)?),
            None => event.index_by([name.as_str()]),
        };
    }
    Ok(event)
}

/// A hash of what a write says, whatever ids it makes and whenever it runs.
fn content(append: &Append) -> Result<[u8; 16]> {
    // Some instant, always the same.
    let never = Timestamp::MIN;
    let mut hasher = blake3::Hasher::new();
    for emit in &append.emits {
        let mut event = event(emit, None, never)?;
        // The members in one order, whatever order they were written in.
        let mut said = Object::new();
        let mut say = |name: &str, value: Value| said.insert(name.to_owned(), value.canonical());
        say("type", emit.kind.as_str().into());
        say(
            "target",
            match &emit.owner {
                Owner::Unsaid => Value::Null,
                Owner::New => true.into(),
                Owner::Entity(entity) => entity.to_string().into(),
            },
        );
        say("data", event.data.to_value()?);
        say("metadata", event.metadata.to_value()?);
        say("actor", emit.actor.as_ref().map(Entity::to_string).map_or(Value::Null, Value::from));
        say(
            "at",
            match emit.at {
                None => Value::Null,
                Some(When::Time(time)) => time.to_string().into(),
                Some(When::Ago(ago)) => crate::time::display_duration(ago).into(),
            },
        );
        say("cause", event.cause.take().map_or(Ok(Value::Null), |cause| Value::of(&cause))?);
        let tags = event.tags.drain(..).map(|tag| (tag.name, tag.value));
        say("tags", Value::Object(tags.collect()));
        let text = Value::Object(said).to_string();
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    Ok(content_of(hasher.finalize().as_bytes()))
}
