//! A subscription: which events, from where, until when.

use crate::entity::{Entity, EventType, Position};
use crate::event::record::Record;
use crate::event::{Cause, EventId};
use crate::pattern::Pattern;
use crate::time::Timestamp;
use crate::value::Value;

use super::Predicate;

/// `SUBSCRIBE`, with everything looked up.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub pattern: Pattern,
    /// All of them must hold.
    pub tags: Vec<By>,
    /// `WHERE`.
    pub predicate: Option<Predicate>,
    /// `FROM`: after this position. None was said: from the head on.
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
    pub fn holds(&self, event: &Record) -> bool {
        match self {
            By::Target(entity) => event.target() == Some(entity.into()),
            By::Type(kind) => event.kind() == kind.as_str(),
            By::Actor(entity) => event.actor() == Some(entity.into()),
            By::Id(id) => event.id().is_ok_and(|found| found == *id),
            By::Key(key) => event.key() == Some(key),
            By::Cause(cause) => event.cause().is_some_and(|found| found.to_cause() == *cause),
            By::Correlation(correlation) => event.correlation() == Some(correlation),
            By::Tag { name, value } => event.tags().any(|(found, of)| {
                found == name && of.to_value().is_ok_and(|of| super::expr::same(&of, value))
            }),
        }
    }
}
