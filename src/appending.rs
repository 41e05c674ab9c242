//! Groups of events, with what is to be so for all of them.

use crate::db::{Db, Ticket, decoded};
use crate::error::Result;
use crate::event::{Event, Expect, NewEvent};
use crate::store::append_request::AppendRequest;

impl Db {
    /// Several events to be [appended](AppendBuilder::append), all or none, with what is said of all of them: `ATOMIC (…) KEY … EXPECT …`
    /// of the language.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let looked = db.head();
    /// let book = |seat: &str| {
    ///     [
    ///         NewEvent::new("Seat.reserved").on(("Seat", seat)).index("flight", 7),
    ///         NewEvent::new("Booking.made").on(("Booking", seat)).index("flight", 7),
    ///     ]
    /// };
    /// let unsold = Expect::none("Flight.closed, Seat.*").by("flight", 7).since(looked);
    /// let booked = db.append_builder(book("12A")).key("req-7f3").expect(unsold.clone()).expect(Expect::New).append()?;
    /// assert_eq!(booked.len(), 2);
    /// // Whoever looked before that has to look again.
    /// let late = db.append_builder(book("12B")).expect(unsold).append().unwrap_err();
    /// assert!(late.is_conflict() && late.to_string().contains("found Seat.reserved at #1"), "{late}");
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn append_builder(&self, events: impl IntoIterator<Item = NewEvent>) -> AppendBuilder<'_> {
        AppendBuilder { db: self, group: self.grouped(events) }
    }
}

/// A group on its way into the log: [`Db::append_builder`].
#[derive(Debug)]
#[must_use = "nothing happens before it is appended"]
pub struct AppendBuilder<'db> {
    db: &'db Db,
    group: AppendRequest,
}

impl AppendBuilder<'_> {
    /// The idempotency key of all of it: appended again with the same key, the first outcome is given back and nothing is written.
    pub fn key(mut self, key: &str) -> Self {
        self.group.key = Some(key.to_owned());
        self
    }

    /// What is to be so before the group: of each entity that it has events of, or of the log. Several may be said.
    ///
    /// What an event of it [expects](NewEvent::expect) is to be so before that event: those before it in the group count.
    pub fn expect(mut self, expect: impl Into<Expect>) -> Self {
        self.group.expect.push(expect.into());
        self
    }

    /// Appends it. Returns when it is durable.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) if something is not as expected, or the key was used with other content: nothing is
    /// written then.
    pub fn append(self) -> Result<Vec<Event>> {
        decoded(self.db.store().append(self.group)?)
    }

    /// The same, and whether its key was met again: then these are the events of the first time.
    #[cfg(feature = "share")]
    pub(crate) fn append_told(self) -> Result<(Vec<Event>, bool)> {
        let outcome = self.db.store().append(self.group)?;
        let repeated = outcome.repeated;
        Ok((decoded(outcome)?, repeated))
    }

    /// Queues it, and returns at once (unless the queue is full). It is committed whether or not the ticket is waited on.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let created = || db.append_builder([NewEvent::new("Order.created").on(("Order", 42))]).expect(Expect::New);
    /// let (first, second) = (created().submit()?, created().submit()?);
    /// assert_eq!(first.wait()?.len(), 1);
    /// assert!(second.wait().unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn submit(self) -> Result<Ticket> {
        self.db.store().submit(self.group).map(Ticket)
    }
}
