//! The members of a form, taken one by one: what is left over at the end is a mistake.

use crate::document::Document;
use crate::entity::Entity;
use crate::error::{Error, Result, shorten};
use crate::event::VectorClock;
use crate::value::{Object, Value};

pub(crate) struct JsonMembers {
    /// What they are the members of, for messages.
    pub what: &'static str,
    pub left: Object,
}

impl JsonMembers {
    pub fn new(what: &'static str, members: Object) -> JsonMembers {
        JsonMembers { what, left: members }
    }

    /// A member; one that is null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name).filter(|value| *value != Value::Null)
    }

    /// A text; an integer counts as its digits, since ids are often written so.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Int(n)) => Ok(Some(n.to_string())),
            Some(Value::UInt(n)) => Ok(Some(n.to_string())),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "text", other.kind())),
        }
    }

    pub fn required(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| Error::invalid(self.what, format!("a member `{name}`"), "none"))
    }

    pub fn count(&mut self, name: &str) -> Result<Option<u64>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::UInt(n)) => Ok(Some(n)),
            Some(Value::Int(n)) if n >= 0 => Ok(Some(n as u64)),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "a count", shorten(&other.to_string()))),
        }
    }

    pub fn vector(&mut self, name: &str) -> Result<Option<VectorClock>> {
        self.text(name)?.map(|text| text.parse()).transpose()
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Object>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(other) => Err(Error::invalid(format!("`{name}`"), "an object", other.kind())),
        }
    }

    pub fn document(&mut self, name: &str) -> Result<Option<Document>> {
        self.object(name)?.map(|members| Document::of(&Value::Object(members))).transpose()
    }

    pub fn entity(&mut self, name: &str) -> Result<Option<Entity>> {
        let Some(members) = self.object(name)? else { return Ok(None) };
        let mut entity = JsonMembers::new("an entity", members);
        let read = Entity::new(&entity.required("type")?, &entity.required("id")?)?;
        entity.done(name)?;
        Ok(Some(read))
    }

    /// Two members that tell a thing together, as one object.
    pub fn pair(&mut self, kind: &str, id: &str) -> Result<Option<Object>> {
        match (self.text(kind)?, self.text(id)?) {
            (Some(kind), Some(id)) => Ok(Some(pair(kind, id))),
            (None, None) => Ok(None),
            _ => Err(Error::invalid(self.what, format!("`{kind}` and `{id}` together"), "one of them")),
        }
    }

    /// Nothing is left.
    pub fn done(&self, expected: &str) -> Result<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::invalid(self.what, expected, format!("`{name}`"))),
        }
    }
}

/// A type and an id, as the event form has them.
pub(super) fn pair(kind: impl Into<Value>, id: impl Into<Value>) -> Object {
    Object::from_iter([("type".to_owned(), kind.into()), ("id".to_owned(), id.into())])
}

/// Adds a member, where there is a value.
pub(super) fn put(members: &mut Object, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}
