//! Performing a verb, from code.

use serde::Serialize;

use crate::db::Db;
use crate::entity::{Entity, Position};
use crate::error::Result;
use crate::event::{Event, Expect, NewEvent, codec};
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::verb::PerformRequest;
use crate::time::Timestamp;

/// What became of a verb.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PerformOutcome {
    /// The events that it made.
    pub events: Vec<Event>,
    /// The key was known: these are the events of the first time, and nothing was written.
    pub repeated: bool,
}

/// A verb on its way: [`Db::perform`].
#[derive(Debug)]
#[must_use = "nothing happens before it is run"]
pub struct PerformBuilder<'db> {
    db: &'db Db,
    verb: String,
    target: Entity,
    /// All that is said beside it, as it is said of events.
    said: NewEvent,
}

impl Db {
    /// A verb to be [performed](PerformBuilder::run) on an entity: one that is defined in the log, or [added](Db::add_verb).
    ///
    /// It is decided at the moment of commit, by all that was committed before, however many callers there are.
    ///
    /// ```
    /// use bygone::{Db, Error};
    /// let db = Db::in_memory()?;
    /// for text in [
    ///     "DEFINE VERB Approve ON Document BY User REQUIRE state.status = 'submitted' ELSE 'not submitted yet'",
    ///     "EMIT Document.drafted 42 {status: 'draft'}",
    /// ] {
    ///     db.query(text)?;
    /// }
    /// let approve = || db.perform("Approve", ("Document", 42)).by(("User", 7)).member("note", "ok").run();
    /// match approve() {
    ///     Err(Error::Refused(refusal)) => assert_eq!(refusal.why, "not submitted yet"),
    ///     other => panic!("{other:?}"),
    /// }
    /// db.query("EMIT Document.submitted 42 {status: 'submitted'}")?;
    /// let approved = &approve()?.events[0];
    /// assert_eq!((approved.kind.as_str(), approved.data.to_string()), ("Document.approved", r#"{"note":"ok"}"#.into()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn perform(&self, verb: &str, target: impl Into<Entity>) -> PerformBuilder<'_> {
        let said = NewEvent::new("$verb.performed");
        let said = match self.actor() {
            Some(actor) => said.by(actor),
            None => said,
        };
        PerformBuilder { db: self, verb: verb.to_owned(), target: target.into(), said }
    }
}

impl PerformBuilder<'_> {
    /// The arguments: any serde type with the form of a JSON object.
    pub fn data<T: Serialize + ?Sized>(self, data: &T) -> Self {
        self.saying(|said| said.data(data))
    }

    /// Adds one argument.
    pub fn member<T: Serialize>(self, name: &str, value: T) -> Self {
        self.saying(|said| said.member(name, value))
    }

    /// On whose behalf. Without this, that is the handle's ([`Db::as_actor`]).
    pub fn by(self, actor: impl Into<Entity>) -> Self {
        self.saying(|said| said.by(actor))
    }

    /// When its events occurred, where that is not now. It is decided by all that is known now, nevertheless.
    pub fn at(self, timestamp: Timestamp) -> Self {
        self.saying(|said| said.at(timestamp))
    }

    /// What is to be known of how its events came here.
    pub fn metadata<T: Serialize + ?Sized>(self, metadata: &T) -> Self {
        self.saying(|said| said.metadata(metadata))
    }

    /// The idempotency key: performed again with the same key, the first outcome is given back, and nothing is decided or written.
    /// What was refused, or decided for no events, is in no log: again with its key, it is decided again.
    pub fn key(self, key: &str) -> Self {
        self.saying(|said| said.key(key))
    }

    /// The event of this log that brought it about. Its correlation is inherited, or begins there.
    pub fn caused_by(self, position: Position) -> Self {
        self.saying(|said| said.caused_by(position))
    }

    /// The event or command from elsewhere that brought it about.
    pub fn caused_by_named(self, kind: &str, id: &str) -> Self {
        self.saying(|said| said.caused_by_named(kind, id))
    }

    /// The root of its chain of causes, where that is known.
    pub fn correlation(self, correlation: &str) -> Self {
        self.saying(|said| said.correlation(correlation))
    }

    /// What is to be so before it is decided: of the target, or of the log ([`Expect::none`]).
    pub fn expect(self, expect: impl Into<Expect>) -> Self {
        self.saying(|said| said.expect(expect))
    }

    fn saying(self, say: impl FnOnce(NewEvent) -> NewEvent) -> Self {
        PerformBuilder { said: say(self.said), ..self }
    }

    /// Performs it. Returns when its events are durable.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if the verb refuses, [`Error::Conflict`](crate::Error::Conflict) if a guard does not
    /// hold or the key was used for something else: nothing is written then.
    pub fn run(self) -> Result<PerformOutcome> {
        self.said.checked()?;
        self.target.check()?;
        let store = self.db.store();
        let NewEvent { key, data, metadata, actor, timestamp, cause, correlation, expect, .. } = self.said;
        let rule = store.snapshot().added_verb(&self.verb);
        let perform = PerformRequest {
            data,
            metadata,
            actor,
            timestamp,
            cause,
            correlation,
            expect,
            rule,
            ..PerformRequest::new(&self.verb, self.target)
        };
        let group = AppendRequest { performs: vec![(0, perform)], key, ..AppendRequest::default() };
        let AppendOutcome { events, repeated, .. } = store.perform(group)?;
        let decode = |(position, bytes)| codec::decode(position, bytes);
        Ok(PerformOutcome { events: events.into_iter().map(decode).collect::<Result<_>>()?, repeated })
    }
}
