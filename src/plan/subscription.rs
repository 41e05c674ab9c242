//! A subscription: which events, from where, until when.

use super::{By, Predicate};
use crate::entity::Position;
use crate::pattern::Pattern;
use crate::time::Timestamp;

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
