//! A subscription: which events, from where, until when.

use crate::entity::{Entity, EventType, Position};
use crate::event::{Cause, Event, EventId};
use crate::pattern::Pattern;
use crate::time::Timestamp;
use crate::value::Value;

use super::Predicate;

/// `SUBSCRIBE`, with everything looked up.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// `AS`: the name that keeps its place.
    pub name: Option<String>,
    pub pattern: Pattern,
    /// All of them must hold.
    pub tags: Vec<By>,
    /// `WHERE`.
    pub predicate: Option<Predicate>,
    /// `FROM`: after this position. None was said: from the head on, or from where the name left off.
    pub from: Option<Position>,
    pub until: Option<Until>,
    /// Of matches.
    pub limit: Option<u64>,
}

/// Where a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// With this event.
    Position(Position),
    /// Before the first event recorded at this instant or later; the instant lies ahead.
    Recorded(Timestamp),
}

/// A condition that an index answers: `BY customer = 'c-7'`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum By {
    Target(Entity),
    Type(EventType),
    Actor(Entity),
    Id(EventId),
    Key(String),
    Cause(Cause),
    Correlation(String),
    Tag { name: String, value: Value },
}

impl By {
    /// Whether an event carries it.
    pub fn holds(&self, event: &Event) -> bool {
        match self {
            By::Target(entity) => event.target.as_ref() == Some(entity),
            By::Type(kind) => event.kind == *kind,
            By::Actor(entity) => event.actor.as_ref() == Some(entity),
            By::Id(id) => event.id == *id,
            By::Key(key) => event.key.as_ref() == Some(key),
            By::Cause(cause) => event.cause.as_ref() == Some(cause),
            By::Correlation(correlation) => event.correlation.as_ref() == Some(correlation),
            By::Tag { name, value } => {
                event.tags.iter().any(|tag| tag.name == *name && super::expr::same(&tag.value, value))
            }
        }
    }
}
