//! The embedded API: a database, opened as a library.

pub(crate) mod forget;
mod maintain;
mod read;
mod schema;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;

use crate::aggregate::snapshots::SnapshotCache;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::{Event, EventId, NewEvent, codec};
use crate::exec::{self, Compiler, ViewCaches};
use crate::live::runner::Runner;
use crate::live::{EventContext, Handler, HandlerResult, Subscription};
use crate::pattern::Pattern;
use crate::plan;
use crate::query::cache::StatementCache;
#[cfg(feature = "share")]
use crate::server::Sharing;
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::{Options, Store, Submitted};

pub use read::{EventIter, ReadBuilder};

/// A database. Clones are handles to the same one; it may be used from any number of threads.
///
/// ```
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.created").on(("Order", 42)).member("total", 10))?;
/// for event in db.history(("Order", 42))? {
///     println!("{}", event?.kind);
/// }
/// db.close()?;
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Db {
    /// What runs by itself, where it is opened live. It is dropped before the store, and ends with that.
    runner: Option<Arc<Runner>>,
    store: Arc<Store>,
    actor: Option<Entity>,
    /// What ends its statements from elsewhere.
    cancel: Option<Cancel>,
    shelf: Arc<SnapshotCache>,
    views: Arc<ViewCaches>,
    statements: Arc<StatementCache>,
    /// Dropped before the store, too.
    #[cfg(feature = "share")]
    sharing: Arc<Sharing>,
}

impl Options {
    /// Opens an existing database with these options.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db> {
        Store::open(path.as_ref(), self.with_compiler(Arc::new(Compiler))).and_then(Db::of)
    }

    /// Creates a database with these options, under a name that must be free.
    pub fn create(self, path: impl AsRef<Path>) -> Result<Db> {
        Store::create(path.as_ref(), self.with_compiler(Arc::new(Compiler))).and_then(Db::of)
    }

    /// A database in memory with these options; its disk is a new one.
    pub fn in_memory(self) -> Result<Db> {
        self.in_memory_disk().create("/memory.bygone")
    }
}

impl Db {
    fn of(store: Store) -> Result<Db> {
        let options = &store.shared().options;
        if options.live && options.read_only {
            let advice = "open it for writing, or not live";
            return Err(Error::unopenable(&store.shared().path, "what runs live writes to it", advice));
        }
        let runner = options.live.then(|| Runner::start(store.shared())).transpose()?.map(Arc::new);
        let (store, shelf, views) = (Arc::new(store), Arc::default(), Arc::default());
        let db = Db {
            runner,
            store,
            actor: None,
            cancel: None,
            shelf,
            views,
            statements: Arc::default(),
            #[cfg(feature = "share")]
            sharing: Arc::default(),
        };
        #[cfg(feature = "share")]
        if let Some(access) = db.store.shared().options.share {
            db.share(access)?;
        }
        Ok(db)
    }

    /// Opens an existing database.
    ///
    /// # Errors
    /// [`Error::Held`] if another handle has it open; [`Error::Unopenable`] if it is not there, not permitted, or not a
    /// database of this format.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.bygone");
    /// use bygone::Db;
    /// let db = Db::create(&path)?;
    /// assert!(Db::open(&path).unwrap_err().to_string().contains("held by this program"));
    /// db.close()?;
    /// assert!(Db::open(&path).is_ok());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Db> {
        Options::new().open(path)
    }

    /// Creates a database, under a name that must be free.
    pub fn create(path: impl AsRef<Path>) -> Result<Db> {
        Options::new().create(path)
    }

    /// A database that lives as long as its handles.
    pub fn in_memory() -> Result<Db> {
        Options::new().in_memory()
    }

    /// The same database, with this as the actor of all that is appended without one.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// let ann = db.as_actor(("User", "ann"));
    /// assert_eq!(ann.append(NewEvent::new("Order.paid").on(("Order", 1)))?.actor, Some(("User", "ann").into()));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn as_actor(&self, actor: impl Into<Entity>) -> Db {
        Db { actor: Some(actor.into()), ..self.clone() }
    }

    /// The same database, with statements and reads that this handle ends, from another thread or after a time. Handles that ended them before
    /// still do.
    ///
    /// ```
    /// use bygone::{Cancel, Db};
    /// let db = Db::in_memory()?;
    /// let cancel = Cancel::new();
    /// let rows = db.cancelled_by(&cancel).query("SUBSCRIBE '*'")?.rows;
    /// cancel.cancel();
    /// assert!(rows.count() <= 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn cancelled_by(&self, cancel: &Cancel) -> Db {
        let cancel = match &self.cancel {
            Some(before) => Cancel::among(vec![before.clone(), cancel.clone()]),
            None => cancel.clone(),
        };
        Db { cancel: Some(cancel), ..self.clone() }
    }

    /// Whether all that runs by itself here has come as far as it can: what is delayed, or scheduled for later, is not yet to be done.
    ///
    /// ```
    /// use bygone::{NewEvent, Options};
    /// let db = Options::new().live(true).in_memory()?;
    /// db.query("DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.requested (target.id)")?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// while !db.is_idle()? {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(db.events("Mail.*")?.count(), 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_idle(&self) -> Result<bool> {
        exec::program::is_idle(&self.store.snapshot(), self.store.shared().options.clock.now())
    }

    /// What waits for somebody to run it, in words: `ship is 12 behind`. A database that is not opened live runs nothing.
    pub fn behind(&self) -> Result<Vec<String>> {
        exec::program::behind(&self.store.snapshot())
    }

    /// Appends a typed event: a serde enum with `tag = "type", content = "data"`. Returns when it is durable.
    ///
    /// ```
    /// use bygone::Db;
    /// #[derive(serde::Serialize)]
    /// #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    /// enum OrderEvent {
    ///     Paid { amount: u32 },
    /// }
    /// let db = Db::in_memory()?;
    /// let event = db.emit(("Order", 42), &OrderEvent::Paid { amount: 10 })?;
    /// assert_eq!(event.kind.as_str(), "Order.paid");
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn emit<T: Serialize + ?Sized>(&self, target: impl Into<Entity>, event: &T) -> Result<Event> {
        self.append(NewEvent::typed(target, event))
    }

    /// Appends an event. Returns when it is durable.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a guard does not hold or a key was used with other content: nothing is written then.
    /// [`Error::Stopped`] where the file was removed, renamed or replaced while it is open, until it is put back under its name.
    ///
    /// ```
    /// use bygone::{Db, Expect, NewEvent};
    /// let db = Db::in_memory()?;
    /// let created = NewEvent::new("Order.created").on(("Order", 42)).expect(Expect::New);
    /// db.append(created.clone())?;
    /// assert!(db.append(created).unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn append(&self, event: NewEvent) -> Result<Event> {
        let events = self.append_all([event])?;
        events.into_iter().next().ok_or_else(|| Error::corrupt("the answer to an append", "no event"))
    }

    /// Appends several events, all or none. Returns when they are durable.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// let events = db.append_all([
    ///     NewEvent::new("Order.paid").on(("Order", 42)),
    ///     NewEvent::new("Stock.reserved").on(("Stock", "sku-9")).member("qty", 2),
    /// ])?;
    /// assert_eq!(events.len(), 2);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn append_all(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        decoded(self.store.append(self.grouped(events))?)
    }

    /// Appends several events, all or none, under one key: again with this key, the first outcome is given back and nothing is
    /// written. `ATOMIC (…) KEY …` of the language.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// let pay = || {
    ///     [
    ///         NewEvent::new("Order.paid").on(("Order", 42)),
    ///         NewEvent::new("Stock.reserved").on(("Stock", "sku-9")),
    ///     ]
    /// };
    /// db.append_once("pay-42", pay())?;
    /// assert_eq!(db.append_once("pay-42", pay())?[1].position, Position(2));
    /// assert_eq!(db.head(), Position(2));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn append_once(&self, key: &str, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        decoded(self.store.append(AppendRequest { key: Some(key.to_owned()), ..self.grouped(events) })?)
    }

    /// Queues events, all or none, and returns at once (unless the queue is full). They are committed whether or
    /// not the ticket is waited on.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// let tickets: Vec<_> =
    ///     (0..10).map(|n| db.submit([NewEvent::new("Order.paid").on(("Order", n))])).collect::<Result<_, _>>()?;
    /// for ticket in tickets {
    ///     assert_eq!(ticket.wait()?.len(), 1);
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn submit(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Ticket> {
        self.store.submit(self.grouped(events)).map(Ticket)
    }

    pub(crate) fn actor(&self) -> Option<&Entity> {
        self.actor.as_ref()
    }

    /// What ends a statement that this handle runs.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone().unwrap_or_default()
    }

    #[cfg(feature = "share")]
    pub(crate) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// A handle that does not keep the database shared.
    #[cfg(feature = "share")]
    pub(crate) fn not_sharing(&self) -> Db {
        Db { sharing: Arc::default(), actor: None, cancel: None, ..self.clone() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn shelf(&self) -> &SnapshotCache {
        &self.shelf
    }

    pub(crate) fn statements(&self) -> &StatementCache {
        &self.statements
    }

    pub(crate) fn views(&self) -> &Arc<ViewCaches> {
        &self.views
    }

    pub(crate) fn grouped(&self, events: impl IntoIterator<Item = NewEvent>) -> AppendRequest {
        let actor = |mut event: NewEvent| {
            event.actor = event.actor.or_else(|| self.actor.clone());
            event
        };
        AppendRequest { events: events.into_iter().map(actor).collect(), ..AppendRequest::default() }
    }

    /// The event at a position; none beyond the head.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// let paid = db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// assert_eq!(db.event(Position(1))?, Some(paid));
    /// assert_eq!(db.event(Position(2))?, None);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn event(&self, position: Position) -> Result<Option<Event>> {
        self.store.snapshot().event(position)
    }

    /// Where the event with this id is.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// let paid = db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// assert_eq!(db.position_of(&paid.id)?, Some(Position(1)));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn position_of(&self, id: &EventId) -> Result<Option<Position>> {
        self.store.snapshot().position_of(id)
    }

    /// Subscribes to a [`Pattern`], or the text of one, from now on; [`Subscription::from_start`] and others say otherwise. A text that
    /// is no pattern is told instead of the first delivery.
    ///
    /// ```
    /// use bygone::{Db, Delivery, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut orders = db.subscribe("Order.*").from_start();
    /// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(_)))));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn subscribe(&self, pattern: impl TryInto<Pattern, Error: Into<Error>>) -> Subscription {
        let (pattern, fault) = match pattern.try_into() {
            Ok(pattern) => (pattern, None),
            Err(error) => (Pattern::all(), Some(error.into())),
        };
        let subscription =
            Subscription::new(self.store.shared().clone(), plan::SubscriptionPlan::of(pattern));
        let subscription = subscription.counted().on_behalf_of(self.actor.clone());
        fault.into_iter().fold(subscription, Subscription::wrong)
    }

    /// Tells a handler of the events of a pattern, from now on, one by one and in the order of the log, on a thread of its own. From
    /// elsewhere, by other conditions, under a name: [`Subscription::handler`].
    ///
    /// The handler answers with nothing or with a `Result`. An error, or a panic, stays in it: the event is tried again, five times with
    /// growing pauses, then it is set aside, and the handler goes on with the next. Nobody else waits for it, and whoever appends does
    /// not notice.
    ///
    /// In a handler one may append: by the [`EventContext`] as what the event caused, or by a handle of the database. An event that it
    /// appends and that is of its own pattern it is told of, too: whoever answers a type by the same type does so for ever. It may
    /// [unsubscribe](EventContext::unsubscribe), drop its own [`Handler`], and close the database, which ends it with the event that it
    /// is at.
    ///
    /// The handler does not keep the database open; a handle of it that the closure holds does, as long as the handler goes on. Closing
    /// does not wait for the handler: what that appends from then on is answered with [`Error::Stopped`].
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// let (tell, told) = mpsc::channel();
    /// let handler = db.on("Order.*", move |event| {
    ///     let total = event.state()?.state.get("total").cloned();
    ///     tell.send((event.kind.to_string(), total)).ok();
    ///     Ok::<(), bygone::Error>(())
    /// })?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)).member("total", 10))?;
    /// assert_eq!(told.recv().unwrap(), ("Order.created".to_owned(), Some(10.into())));
    /// handler.stop();
    /// assert_eq!(handler.join()?.handled, 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn on<R: HandlerResult>(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<Error>>,
        handle: impl FnMut(&EventContext) -> R + Send + 'static,
    ) -> Result<Handler> {
        self.subscribe(pattern).handler().run(handle)
    }

    /// The position of the newest event.
    pub fn head(&self) -> Position {
        self.store.snapshot().head()
    }

    /// How many events an entity has.
    ///
    /// ```
    /// use bygone::{Db, Version};
    /// assert_eq!(Db::in_memory()?.version(("Order", 42))?, Version::NONE);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn version(&self, entity: impl Into<Entity>) -> Result<Version> {
        self.store.snapshot().version(&entity.into())
    }

    /// Waits until every index that is defined now is complete, and the states of every entity that is defined now are kept, for so
    /// long at most; says whether they all are.
    ///
    /// An index is built in the background, and used once it is complete; until then `BY` goes without it. Building goes on where
    /// it was when the database is opened again. `SHOW INDEXES` tells how far each is.
    ///
    /// # Errors
    /// Why an index cannot be built, if it cannot. With a database that was opened for reading only, one that is not complete stays so:
    /// that is an error, too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)).member("customer", "c-7"))?;
    /// db.query("DEFINE INDEX customer ON 'Order.*' AS data.customer")?;
    /// assert!(db.wait_for_indexes(Duration::from_secs(60))?);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn wait_for_indexes(&self, timeout: Duration) -> Result<bool> {
        self.store.wait_for_indexes(timeout)
    }

    /// Closes the database: all of it is then in its one file. Other handles to it answer [`Error::Stopped`] from then on.
    /// Dropping the last handle closes too, but has nobody to tell an error. What runs by itself ends first: a webhook's request that is
    /// under way is waited for, at most so long as a receiver may take to answer (`Options::webhooks`).
    ///
    /// # Errors
    /// If the file is no longer under its name: it was removed, renamed or replaced while it was open. What was recorded is in the
    /// file that was opened, if it has a name left, and the journal is kept as `….aside-1`.
    /// [`Error::Stopped`] within a verb, and within what is told of reports: whoever closes would wait for itself.
    pub fn close(&self) -> Result<()> {
        if let Some(runner) = &self.runner {
            self.store.check_closable()?;
            Runner::check_not_within()?;
            runner.stop();
        }
        #[cfg(feature = "share")]
        {
            self.store.check_closable()?;
            self.sharing.stop();
        }
        self.store.close()
    }
}

pub(crate) fn decoded(outcome: AppendOutcome) -> Result<Vec<Event>> {
    outcome.events.into_iter().map(|(position, bytes)| codec::decode(position, bytes)).collect()
}

/// A group that was queued: [`Ticket::wait`] for it, or await it as a future.
#[derive(Debug)]
pub struct Ticket(pub(crate) Submitted);

impl Ticket {
    /// Waits until it is durable, and gives the events.
    pub fn wait(self) -> Result<Vec<Event>> {
        decoded(self.0.wait()?)
    }
}

impl Future for Ticket {
    type Output = Result<Vec<Event>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context.waker()).map(|outcome| decoded(outcome?))
    }
}

#[cfg(test)]
mod tests;
