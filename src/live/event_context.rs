//! Occurrences: an event as a handler is told of it, and what can be done about it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::cancel::Cancel;
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::exec::{self, EntityState};
use crate::plan::ReplayPlan;
use crate::store::Shared;
use crate::store::append_request::AppendRequest;

/// An event that a [handler](crate::react::Handler) is told of. What it knows of the event is that of an [`Event`].
///
/// What is appended by it is caused by the event, and belongs to the chain of its causes.
///
/// ```
/// use std::time::Duration;
/// use bygone::append::Cause;
/// use bygone::{Db, Delivery, NewEvent, Position};
/// let db = Db::in_memory()?;
/// let mut sent = db.subscribe("Parcel.sent");
/// let handler = db.on("Order.paid", |event| {
///     assert_eq!(event.before()?.state.get("paid"), None);
///     assert_eq!(event.state()?.state.get("paid"), Some(&true.into()));
///     let parcel = NewEvent::new("Parcel.sent").on(("Parcel", event.target.as_ref().unwrap().id()));
///     event.append(parcel.key(&format!("send for {}", event.position)))
/// })?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)).member("paid", true))?;
/// let Some(Ok(Delivery::Event(parcel))) = sent.find(|next| matches!(next, Ok(Delivery::Event(_)))) else { panic!() };
/// assert_eq!(parcel.cause, Some(Cause::Event(Position(1))));
/// # Ok::<(), bygone::Error>(())
/// ```
pub struct EventContext {
    event: Event,
    shared: Arc<Shared>,
    actor: Option<Entity>,
    end: Cancel,
}

impl EventContext {
    pub(super) fn new(event: Event, shared: Arc<Shared>, actor: Option<Entity>, end: Cancel) -> EventContext {
        EventContext { event, shared, actor, end }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What its target was just after it, as it is defined in the file: as of the event's place in the log, whatever came since.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an event without a target; [`Error::Unfoldable`] where one of the events up to it has no meaning by the
    /// definition.
    pub fn state(&self) -> Result<EntityState> {
        self.state_through(self.event.position.0)
    }

    /// What its target was just before it. See [`state`](Self::state).
    pub fn before(&self) -> Result<EntityState> {
        self.state_through(self.event.position.0 - 1)
    }

    fn state_through(&self, position: u64) -> Result<EntityState> {
        let Some(target) = &self.event.target else {
            let found = format!("{} at {}, which has none", self.event.kind, self.event.position);
            return Err(Error::invalid("the state of an event's target", "an event with a target", found));
        };
        let replay = ReplayPlan::of_all(target.clone(), Position(position));
        exec::state(&self.shared.snapshot(), &replay)
    }

    /// Appends a typed event that this one caused, as [`Db::emit`](crate::Db::emit) does.
    pub fn emit<T: Serialize + ?Sized>(&self, target: impl Into<Entity>, event: &T) -> Result<Event> {
        self.append(NewEvent::typed(target, event))
    }

    /// Appends an event that this one caused; returns when it is durable.
    ///
    /// A handler is told of an event again if it fails, and a [durable](crate::react::DurableSubscription) one perhaps after a crash: with a
    /// [key](NewEvent::key) that is made of the event's position, what it appends is there once all the same.
    pub fn append(&self, event: NewEvent) -> Result<Event> {
        let events = self.append_all([event])?;
        events.into_iter().next().ok_or_else(|| Error::corrupt("the answer to an append", "no event"))
    }

    /// Appends events that this one caused, all or none; returns when they are durable.
    pub fn append_all(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        self.commit(events, None)
    }

    /// The same once: under this key the first outcome is given back, and nothing is written.
    pub fn append_once(&self, key: &str, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        self.commit(events, Some(key.to_owned()))
    }

    fn commit(&self, events: impl IntoIterator<Item = NewEvent>, key: Option<String>) -> Result<Vec<Event>> {
        let caused = |mut event: NewEvent| {
            event.actor = event.actor.or_else(|| self.actor.clone());
            event.caused_by(self.event.position)
        };
        let group = AppendRequest {
            events: events.into_iter().map(caused).collect(),
            key,
            ..AppendRequest::default()
        };
        self.shared.commits.append(group)?.decoded()
    }

    /// Ends the handler: this is the last event that it is told of. What it does about this one counts.
    pub fn unsubscribe(&self) {
        self.end.cancel();
    }
}

impl Deref for EventContext {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

impl fmt::Debug for EventContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventContext").field(&self.event).finish()
    }
}
