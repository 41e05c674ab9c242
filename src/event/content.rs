//! What events say, compared: whether two that share an id or a key are one.
//!
//! An event says the same as one that is in the log only if all that it says is what that one says; what it leaves to the database (its
//! time, its correlation, its namespace) may be anything; so may what is forgotten of the one in the log: whoever is forgotten does not come
//! back with the same events.

use super::private::{FieldRoot, FieldValues, ForgottenFields, PrivateField};
use super::{Cause, Event, EventId, NewEvent, Producer, Tag};
use crate::document::Document;
use crate::entity::{Entity, EventType};
use crate::error::shorten;
use crate::time::Timestamp;

/// What an event says, without its place.
pub(crate) struct EventContent<'a> {
    pub id: Option<&'a EventId>,
    pub key: Option<&'a str>,
    kind: &'a EventType,
    target: Option<&'a Entity>,
    timestamp: Option<Timestamp>,
    actor: Option<&'a Entity>,
    producer: Option<&'a Producer>,
    cause: Option<&'a Cause>,
    /// The same as it is told where it comes from.
    named: Option<&'a Cause>,
    correlation: Option<&'a str>,
    namespace: Option<&'a str>,
    tags: &'a [Tag],
    data: &'a Document,
    metadata: &'a Document,
    /// What was said there, and nobody knows any more.
    forgotten: &'a [PrivateField],
}

impl<'a> EventContent<'a> {
    /// Of an event of the log, as it was appended.
    pub fn of(event: &'a Event) -> EventContent<'a> {
        EventContent {
            id: Some(&event.id),
            key: event.key.as_deref(),
            kind: &event.kind,
            target: event.target.as_ref(),
            timestamp: Some(event.timestamp),
            actor: event.actor.as_ref(),
            producer: event.producer.as_ref(),
            cause: event.cause.as_ref(),
            named: None,
            correlation: event.correlation.as_deref(),
            namespace: event.namespace.as_deref(),
            tags: &event.tags,
            data: &event.data,
            metadata: &event.metadata,
            forgotten: event.forgotten.as_ref().map_or(&[], ForgottenFields::fields),
        }
    }

    /// Of one that is to be appended. None of one without a type: it is refused.
    pub fn of_new(event: &'a NewEvent) -> Option<EventContent<'a>> {
        Some(EventContent {
            id: event.id.as_ref(),
            key: event.key.as_deref(),
            kind: event.kind.as_ref()?,
            target: event.owner(),
            timestamp: event.timestamp,
            actor: event.actor.as_ref(),
            producer: event.producer.as_ref(),
            cause: event.cause.as_ref(),
            named: None,
            correlation: event.correlation.as_deref(),
            namespace: event.namespace.as_deref(),
            tags: &event.tags,
            data: &event.data,
            metadata: &event.metadata,
            forgotten: &[],
        })
    }

    /// The same with its cause as it is told where it comes from.
    pub fn named(self, named: Option<&'a Cause>) -> EventContent<'a> {
        EventContent { named, ..self }
    }

    /// In what it says something else than the event that was first.
    pub fn differs(&self, first: &EventContent) -> Vec<&'static str> {
        fn unsaid<T: PartialEq>(said: Option<T>, first: Option<T>) -> bool {
            said.is_none() || said == first
        }
        let parts = [
            ("type", self.kind == first.kind),
            ("target", self.target == first.target),
            ("data", same(self.data, first.data) || first.is_said_by(self, FieldRoot::Data)),
            ("metadata", same(self.metadata, first.metadata) || first.is_said_by(self, FieldRoot::Metadata)),
            ("actor", self.actor == first.actor),
            ("producer", self.producer == first.producer),
            ("time", unsaid(self.timestamp, first.timestamp)),
            (
                "cause",
                self.cause == first.cause
                    || self.named.is_some() && self.named == first.cause.or(first.named),
            ),
            ("correlation", unsaid(self.correlation, first.correlation)),
            ("namespace", unsaid(self.namespace, first.namespace)),
            ("index values", same_tags(self.tags, first.tags)),
            ("id", unsaid(self.id, first.id)),
            ("key", unsaid(self.key, first.key)),
        ];
        parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
    }

    /// Whether what another says is what this says, but for what is forgotten of this: that may have been anything.
    fn is_said_by(&self, other: &EventContent, root: FieldRoot) -> bool {
        let blank = FieldValues::blank(self.forgotten.iter());
        let without = |said: &EventContent| {
            let mut out = Vec::new();
            match root {
                FieldRoot::Data => blank.write_data(said.data.as_bytes(), &mut out),
                FieldRoot::Metadata => blank.write_metadata(said.metadata.as_bytes(), &mut out),
            }?;
            Some(Document::from_bytes(out.into()))
        };
        let is_forgotten = !self.forgotten.is_empty();
        is_forgotten
            && matches!((without(other), without(self)), (Some(other), Some(own)) if same(&other, &own))
    }

    /// What it says, shortened: `Order.paid on Order 42 {"amount":5} BY User ann`.
    pub fn told(&self) -> String {
        let on = self.target.map_or_else(String::new, |target| format!(" on {target}"));
        let by = self.actor.map_or_else(String::new, |actor| format!(" BY {actor}"));
        format!("{}{on} {}{by}", self.kind, shorten(&self.data.to_string()))
    }
}

/// Whether documents say the same, in whatever order their members come.
fn same(one: &Document, other: &Document) -> bool {
    let canonical = |document: &Document| document.to_value().map(|value| value.canonical());
    one.as_bytes() == other.as_bytes()
        || matches!((canonical(one), canonical(other)), (Ok(one), Ok(other)) if one == other)
}

fn same_tags(one: &[Tag], other: &[Tag]) -> bool {
    let sorted = |tags: &[Tag]| {
        let mut tags: Vec<Tag> = tags.to_vec();
        tags.sort_by_cached_key(|tag| (tag.name.clone(), tag.value.to_string()));
        tags
    };
    one == other || one.len() == other.len() && sorted(one) == sorted(other)
}
