//! Conflicts: what the log said at the moment of commit, instead of what was expected of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Why a write was refused by what is in the log. Nothing was written; looking again, and deciding anew, may help.
///
/// Positions and versions are numbers, as they are written.
///
/// ```
/// use bygone::error::Conflict;
/// use bygone::{Db, Error, Expect, NewEvent, Version};
/// let db = Db::in_memory()?;
/// for _ in 0..3 {
///     db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// }
/// let late = NewEvent::new("Order.paid").on(("Order", 42)).expect(Expect::Version(Version(2)));
/// let Err(Error::Conflict(conflict)) = db.append(late) else { panic!("it comes too late") };
/// assert_eq!((conflict.expected_version(), conflict.found_version()), (Some(2), Some(3)));
/// assert_eq!(conflict.position(), Some(3));
/// assert_eq!(conflict.to_string(), "Order 42: expected version 2, found version 3, last Order.paid at #3");
/// assert!(matches!(*conflict, Conflict::Version { expected: 2, .. }));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Conflict {
    /// `EXPECT VERSION`: the entity has another number of events.
    #[non_exhaustive]
    Version {
        /// Which one: `Order 42`.
        entity: String,
        /// How many it was to have.
        expected: u64,
        /// How many it has.
        found: u64,
        /// The newest of them.
        last: Option<Witness>,
    },

    /// `EXPECT NEW`: the entity has events.
    #[non_exhaustive]
    New {
        /// Which one.
        entity: String,
        /// How many it has.
        found: u64,
        /// The newest of them.
        last: Option<Witness>,
    },

    /// `EXPECT EXISTS`: the entity has no state.
    #[non_exhaustive]
    Exists {
        /// Which one.
        entity: String,
        /// How many events it has.
        found: u64,
        /// The newest of them.
        last: Option<Witness>,
        /// What ended its state, where that is another one.
        ended: Option<Witness>,
        /// None of its events ever made one: its definition ignores them.
        ignored: bool,
    },

    /// `EXPECT ABSENT`: the entity has a state.
    #[non_exhaustive]
    Absent {
        /// Which one.
        entity: String,
        /// How many events it has.
        found: u64,
        /// The newest of them.
        last: Option<Witness>,
        /// What made its state, where that is another one.
        made: Option<Witness>,
    },

    /// The entity is closed: nothing more joins its history.
    #[non_exhaustive]
    Closed {
        /// Which one.
        entity: String,
        /// How many events it has.
        found: u64,
        /// The event that closed it.
        closed: Box<Witness>,
        /// Why, as that event has it.
        because: Option<String>,
    },

    /// `EXPECT NONE`: there is such an event.
    #[non_exhaustive]
    None {
        /// Of which there was to be none, as the language says it: `'Coupon.redeemed' BY coupon = 'X1'`.
        condition: String,
        /// The event that stood in the way.
        found: Box<Witness>,
    },

    /// A key was used before, with other content.
    #[non_exhaustive]
    Key {
        /// The key.
        key: String,
        /// Where it was first used.
        position: u64,
        /// What with, shortened: `Order.paid on Order 42 {"amount":5}`.
        first: String,
        /// And what with now.
        now: String,
        /// In what these differ: `data`, `actor`, `the number of events` …
        differs: Vec<String>,
    },

    /// An id is in the log already, on an event with other content.
    #[non_exhaustive]
    Id {
        /// The id.
        id: String,
        /// Where it is.
        position: u64,
        /// What is there, shortened: `Order.paid on Order 42 {"amount":5}`.
        #[serde(default)]
        first: String,
        /// And what was to be appended.
        #[serde(default)]
        now: String,
        /// In what these differ: `data`, `actor` … None, where an event stands twice in what is restored.
        #[serde(default)]
        differs: Vec<String>,
    },

    /// A line of what is imported has the id or the key of another event.
    #[non_exhaustive]
    Content {
        /// Which id or key: `id 'e1'`.
        of: String,
        /// Where the other is: `#7`, or `line 3` of the same input.
        place: String,
        /// Where it is in the log, if it is there already.
        position: Option<u64>,
        /// What it says, shortened: `Order.paid on Order 42 {"amount":5}`.
        first: String,
        /// And what the line says.
        now: String,
        /// In what these differ: `data`, `actor` …
        differs: Vec<String>,
    },

    /// Something else was expected of the log.
    #[non_exhaustive]
    Other {
        /// Of what.
        what: String,
        /// What was to hold.
        expected: String,
        /// What the log says.
        found: String,
    },

    /// One of these, in a line of what is imported.
    #[non_exhaustive]
    Within {
        /// Which line, and what came of those before it.
        place: String,
        /// What was in the way.
        conflict: Box<Conflict>,
    },
}

/// An event that stood in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Witness {
    /// Its place in the log.
    pub position: u64,
    /// Its type: `Order.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The entity whose history it belongs to: `Order 42`.
    pub target: Option<String>,
    /// On whose behalf it was.
    pub actor: Option<String>,
    /// When it occurred.
    pub timestamp: Timestamp,
}

impl Witness {
    pub(crate) fn new(position: u64, kind: impl Into<String>, timestamp: Timestamp) -> Witness {
        Witness { position, kind: kind.into(), target: None, actor: None, timestamp }
    }
}

/// `Coupon.redeemed at #3 on Order 7 by User 2, 2024-01-01T00:00:00Z`.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Witness { position, kind, target, actor, timestamp } = self;
        write!(f, "{kind} at #{position}")?;
        if let Some(target) = target {
            write!(f, " on {target}")?;
        }
        if let Some(actor) = actor {
            write!(f, " by {actor}")?;
        }
        write!(f, ", {timestamp}")
    }
}

impl Conflict {
    pub(crate) fn other(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Conflict {
        Conflict::Other { what: what.into(), expected: expected.into(), found: found.into() }
    }

    /// What it is about: an entity, a key, an id.
    pub fn subject(&self) -> String {
        match self {
            Conflict::Version { entity, .. }
            | Conflict::New { entity, .. }
            | Conflict::Exists { entity, .. }
            | Conflict::Absent { entity, .. }
            | Conflict::Closed { entity, .. } => entity.clone(),
            Conflict::None { .. } => "EXPECT NONE".to_owned(),
            Conflict::Key { key, .. } => format!("key '{}'", super::shorten(key)),
            Conflict::Id { id, .. } => format!("the id {}", super::shorten(id)),
            Conflict::Content { of, .. } => format!("the {of}"),
            Conflict::Other { what, .. } => what.clone(),
            Conflict::Within { place, conflict } => format!("{place}: {}", conflict.subject()),
        }
    }

    /// What was to hold, for people to read.
    pub fn expected(&self) -> String {
        match self {
            Conflict::Version { expected, .. } => format!("version {expected}"),
            Conflict::New { .. } => "no event yet".to_owned(),
            Conflict::Exists { .. } => "a state".to_owned(),
            Conflict::Absent { .. } => "no state".to_owned(),
            Conflict::Closed { .. } => "an entity that is not closed".to_owned(),
            Conflict::None { condition, .. } => format!("no {condition}"),
            Conflict::Key { first, position, .. } => {
                format!("the content it was first used with, {first} at #{position}")
            }
            Conflict::Id { position, first, .. } => {
                format!("the event that has this id already, {first} at #{position}")
            }
            Conflict::Content { of, place, first, .. } => {
                let of = of.split(' ').next().unwrap_or_default();
                format!("the event that has this {of} already, {first} ({place})")
            }
            Conflict::Other { expected, .. } => expected.clone(),
            Conflict::Within { conflict, .. } => conflict.expected(),
        }
    }

    /// What the log says instead, for people to read.
    pub fn found(&self) -> String {
        let history = |count: u64, last: &Option<Witness>| match last {
            Some(last) if count > 0 => format!("version {count}, last {} at #{}", last.kind, last.position),
            _ if count > 0 => format!("version {count}"),
            _ => "no event yet".to_owned(),
        };
        match self {
            Conflict::Version { found, last, .. } | Conflict::New { found, last, .. } => {
                history(*found, last)
            }
            Conflict::Exists { found, last, ended, ignored, .. } => match ended {
                None if *ignored => format!("{}, and no event that makes a state", history(*found, last)),
                Some(ended) => format!(
                    "{}, and no state since {} at #{}",
                    history(*found, last),
                    ended.kind,
                    ended.position
                ),
                None => history(*found, last),
            },
            Conflict::Absent { found, last, made, .. } => match made {
                Some(made) => {
                    format!("{}, and a state by {} at #{}", history(*found, last), made.kind, made.position)
                }
                None => history(*found, last),
            },
            Conflict::Closed { closed, because, .. } => {
                let because =
                    because.as_ref().map(|because| format!(", because '{}'", super::shorten(because)));
                format!("{closed}{}", because.unwrap_or_default())
            }
            Conflict::None { found, .. } => found.to_string(),
            Conflict::Content { now, differs, .. } | Conflict::Id { now, differs, .. }
                if differs.is_empty() =>
            {
                format!("{now} again")
            }
            Conflict::Key { now, differs, .. }
            | Conflict::Id { now, differs, .. }
            | Conflict::Content { now, differs, .. } => {
                let other = if differs.is_empty() { "content".to_owned() } else { differs.join(", ") };
                format!("{now} (with other {other})")
            }
            Conflict::Other { found, .. } => found.clone(),
            Conflict::Within { conflict, .. } => conflict.found(),
        }
    }

    /// Whose history it is about, if it is about one: `Order 42`.
    pub fn entity(&self) -> Option<&str> {
        match self {
            Conflict::Version { entity, .. }
            | Conflict::New { entity, .. }
            | Conflict::Exists { entity, .. }
            | Conflict::Absent { entity, .. }
            | Conflict::Closed { entity, .. } => Some(entity),
            Conflict::Within { conflict, .. } => conflict.entity(),
            _ => None,
        }
    }

    /// How many events the entity was to have, where that was said: none for a new one.
    pub fn expected_version(&self) -> Option<u64> {
        match self {
            Conflict::Version { expected, .. } => Some(*expected),
            Conflict::New { .. } => Some(0),
            Conflict::Within { conflict, .. } => conflict.expected_version(),
            _ => None,
        }
    }

    /// How many events the entity has, if it is about one.
    ///
    /// ```
    /// use bygone::{Db, Error, Expect, NewEvent, Version};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)))?;
    /// // What is known of the order is out of date: it is looked at again, as often as that takes.
    /// let mut version = Version::NONE;
    /// let paid = loop {
    ///     let paid = NewEvent::new("Order.paid").on(("Order", 42)).expect(Expect::Version(version));
    ///     match db.append(paid) {
    ///         Err(Error::Conflict(conflict)) => match conflict.found_version() {
    ///             Some(found) => version = Version(found),
    ///             None => return Err(Error::Conflict(conflict)),
    ///         },
    ///         other => break other?,
    ///     }
    /// };
    /// assert_eq!(paid.version, Some(Version(2)));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn found_version(&self) -> Option<u64> {
        match self {
            Conflict::Version { found, .. }
            | Conflict::New { found, .. }
            | Conflict::Exists { found, .. }
            | Conflict::Absent { found, .. }
            | Conflict::Closed { found, .. } => Some(*found),
            Conflict::Within { conflict, .. } => conflict.found_version(),
            _ => None,
        }
    }

    /// The event that stood in the way, as far as it was looked at.
    pub fn witness(&self) -> Option<&Witness> {
        match self {
            Conflict::Version { last, .. } | Conflict::New { last, .. } => last.as_ref(),
            Conflict::Exists { last, ended, .. } => ended.as_ref().or(last.as_ref()),
            Conflict::Absent { last, made, .. } => made.as_ref().or(last.as_ref()),
            Conflict::Closed { closed: found, .. } | Conflict::None { found, .. } => Some(found),
            Conflict::Within { conflict, .. } => conflict.witness(),
            Conflict::Key { .. }
            | Conflict::Id { .. }
            | Conflict::Content { .. }
            | Conflict::Other { .. } => None,
        }
    }

    /// The line of the import that it is in: where the event begins.
    pub fn line(&self) -> Option<u64> {
        let Conflict::Within { place, .. } = self else { return None };
        let digits = place.strip_prefix("line ")?.split(' ').next()?;
        digits.parse().ok()
    }

    /// Where the event is that stood in the way.
    pub fn position(&self) -> Option<u64> {
        match self {
            Conflict::Key { position, .. } | Conflict::Id { position, .. } => Some(*position),
            Conflict::Content { position, .. } => *position,
            Conflict::Within { conflict, .. } => conflict.position(),
            other => other.witness().map(|witness| witness.position),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.subject(), self.expected(), self.found())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(position: u64, kind: &str) -> Witness {
        Witness::new(position, kind, Timestamp::from_millis(1_700_000_000_000))
    }

    #[test]
    fn a_conflict_says_who_what_and_where() {
        let found = Box::new(Witness {
            target: Some("Order 7".to_owned()),
            actor: Some("User 2".to_owned()),
            ..witness(3, "Coupon.redeemed")
        });
        let condition = "'Coupon.redeemed' BY coupon = 'X1'".to_owned();
        let none = Conflict::None { condition, found };
        assert_eq!(
            none.to_string(),
            "EXPECT NONE: expected no 'Coupon.redeemed' BY coupon = 'X1', found Coupon.redeemed at #3 on Order 7 by User 2, \
             2023-11-14T22:13:20Z"
        );
        assert_eq!((none.position(), none.found_version(), none.entity()), (Some(3), None, None));
        let within = Conflict::Within { place: "line 4".to_owned(), conflict: Box::new(none) };
        assert!(within.to_string().starts_with("line 4: EXPECT NONE: expected no"), "{within}");
        assert_eq!(within.position(), Some(3));
    }

    #[test]
    fn what_ended_a_state_stands_in_the_way_of_it() {
        let exists = Conflict::Exists {
            entity: "Trip 1".to_owned(),
            found: 1,
            last: Some(witness(2, "Trip.begun")),
            ended: Some(witness(3, "Car.scrapped")),
            ignored: false,
        };
        assert_eq!(
            exists.to_string(),
            "Trip 1: expected a state, found version 1, last Trip.begun at #2, and no state since Car.scrapped at #3"
        );
        assert_eq!((exists.position(), exists.found_version()), (Some(3), Some(1)));
    }

    #[test]
    fn a_key_tells_of_both_contents() {
        let key = Conflict::Key {
            key: "k".to_owned(),
            position: 1,
            first: "Order.paid {\"amount\":5}".to_owned(),
            now: "Order.paid {\"amount\":6}".to_owned(),
            differs: vec!["data".to_owned()],
        };
        assert_eq!(
            key.to_string(),
            "key 'k': expected the content it was first used with, Order.paid {\"amount\":5} at #1, found Order.paid \
             {\"amount\":6} (with other data)"
        );
        assert_eq!(key.position(), Some(1));
    }
}
