//! What a definition says of events that are yet to be made, worked out: for verbs, reactions and schedules.
//!
//! Where a part has no value, what is told says which.

use super::eval::{Scope, written};
use crate::entity::{Entity, NameText};
use crate::event::NewEvent;
use crate::plan::expr::BoundExpr;
use crate::plan::verb::Owned;
use crate::value::{Object, Value};

/// What is to be an object.
pub(super) fn object<'v>(scope: &Scope<'v>, node: &'v BoundExpr, what: &str) -> Result<Object, String> {
    match written(scope, node).map_err(|failure| failure.to_string())? {
        Value::Object(members) => Ok(members),
        other => Err(format!("{what}: expected an object, found {}", told(&other))),
    }
}

/// An entity whose id is worked out.
pub(super) fn entity<'v>(scope: &Scope<'v>, owned: &'v Owned) -> Result<Entity, String> {
    let Owned { kind, id, text } = owned;
    let at = |why: String| format!("{text}: {why}");
    let id = match written(scope, id).map_err(|failure| at(failure.to_string()))? {
        Value::Text(id) => id,
        number @ (Value::Int(_) | Value::UInt(_)) => number.to_string(),
        other => return Err(at(format!("an id: expected a text or a whole number, found {}", told(&other)))),
    };
    Entity::new(kind, &id).map_err(|error| at(error.to_string()))
}

/// An event with what it is to be found by.
pub(super) fn tagged<'v>(
    scope: &Scope<'v>,
    mut event: NewEvent,
    index: &'v [(String, Option<BoundExpr>)],
) -> Result<NewEvent, String> {
    for (name, value) in index {
        event = match value {
            Some(value) => {
                let value = written(scope, value)
                    .map_err(|failure| format!("INDEX BY {}: {failure}", NameText(name)))?;
                event.index(name, value)
            }
            None => event.index_by([name.as_str()]),
        };
    }
    Ok(event)
}

/// A value with what it is.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        _ => format!("{} {}", value.kind(), value.glimpse()),
    }
}
