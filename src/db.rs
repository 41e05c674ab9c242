//! The embedded API: a database, opened as a library.

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
#[cfg(feature = "signing")]
use crate::signing::LogHead;
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::backup::BackupRequest;
use crate::store::proof::{self, Proof, TreeHash};
use crate::store::rescue::{RescueRequest, rescue};
use crate::store::snapshot::Snapshot;
use crate::store::verify::{self, Verification};
use crate::store::{Backup, BackupMode, ChainHash, Compaction, Options, Recovery, Rescue, Store, Submitted};
use crate::telemetry::metrics::Metrics;

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

    /// Puts every event that can still be read from a damaged database, and from its journals, into a new one: see [`Db::rescue`]. It is told
    /// how far it is, now and then.
    ///
    /// # Errors
    /// Those of [`Db::rescue`]; [`Error::Stopped`] once it is cancelled.
    pub fn rescue(
        self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&Rescue),
    ) -> Result<Rescue> {
        let options = self.with_compiler(Arc::new(Compiler)).live(false);
        let request = RescueRequest { from: from.as_ref(), to: to.as_ref(), cancel, progress };
        let mut rescued = rescue(request, &options)?;
        // The new file is whole: what goes wrong from here on is told with it.
        let verified = Store::open(to.as_ref(), options.read_only(false)).and_then(|store| {
            let found = verify::verify(&store.snapshot().cancelled_by(cancel));
            store.close().and(found)
        });
        match verified {
            Ok(found) => rescued.faults = found.faults,
            Err(error) => rescued.doubts.push(format!("it was not verified: {error}")),
        }
        Ok(rescued)
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
        Ok(Db { runner, store, actor: None, cancel: None, shelf, views })
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

    /// Puts every event that can still be read from a damaged database, and from its journals, into a new one, whose name must be free. Nothing is
    /// written to the damaged one.
    ///
    /// Each event has the position that it had. Where one could not be read a `$event.lost` stands, and later events of its entity have
    /// lower versions. Subscriptions, reactions and webhooks go on where they were if that can be read ([`Rescue::doubts`]).
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let (damaged, whole) = (folder.path().join("shop.bygone"), folder.path().join("whole.bygone"));
    /// use bygone::{Db, NewEvent};
    /// let db = Db::create(&damaged)?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// db.close()?;
    /// // Its header is gone.
    /// let mut bytes = std::fs::read(&damaged)?;
    /// bytes[..4096].fill(0);
    /// std::fs::write(&damaged, bytes)?;
    /// let rescued = Db::rescue(&damaged, &whole)?;
    /// assert_eq!((rescued.events, rescued.missing), (1, 0));
    /// assert!(Db::open(&whole)?.verify()?.faults.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Held`] where somebody has it open; [`Error::Unopenable`] where it is not there, or has no event, or the new name is taken;
    /// [`Error::Io`] where a disk fails. There is no new file then.
    pub fn rescue(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Rescue> {
        Options::new().rescue(from, to, &Cancel::new(), &mut |_| {})
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

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn shelf(&self) -> &SnapshotCache {
        &self.shelf
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

    /// Compares everything that follows from the log with the log, as it is now. Reads all of it.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// assert!(db.verify()?.faults.is_empty());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn verify(&self) -> Result<Verification> {
        verify::verify(&self.store.snapshot())
    }

    /// Proves that the log was the one of a chain hash, noted from `SHOW HEAD` or a [`Backup`]: at a position, or at whichever it had it.
    /// Every event up to there is hashed anew. Gives the position.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let noted = db.chain()?;
    /// db.append(NewEvent::new("Order.shipped").on(("Order", 42)))?;
    /// assert_eq!(db.verify_against(noted, None)?, Position(1));
    /// assert!(db.verify_against(noted, Some(Position(2))).unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is another log; [`Error::Missing`] for a position that is not in the log yet.
    pub fn verify_against(&self, chain: ChainHash, at: Option<Position>) -> Result<Position> {
        verify::verify_against(&self.store.snapshot().cancelled_by(&self.cancel()), chain, at)
    }

    /// The chain hash at the head, to be noted elsewhere.
    pub fn chain(&self) -> Result<ChainHash> {
        verify::chain(&self.store.snapshot()).map(ChainHash)
    }

    /// Proves that an event is in the log up to a position, or in all of it, for whoever has only the [`root`](Self::root) of that. Every event up
    /// to there is hashed.
    ///
    /// # Errors
    /// [`Error::Missing`] for a position that is not in that log.
    pub fn prove(&self, position: Position, as_of: Option<Position>) -> Result<Proof> {
        proof::prove(&self.log_of(as_of)?, position)
    }

    /// The root of the Merkle tree of the events up to a position, or of all: whoever has it can be shown that an event is one of
    /// them ([`prove`](Self::prove)). Every event up to there is hashed.
    ///
    /// # Errors
    /// [`Error::Missing`] for a position that is not in the log yet.
    pub fn root(&self, as_of: Option<Position>) -> Result<TreeHash> {
        proof::root_and_chain(&self.log_of(as_of)?).map(|(root, _)| root)
    }

    fn log_of(&self, as_of: Option<Position>) -> Result<Snapshot> {
        exec::log_of(&self.store.snapshot().cancelled_by(&self.cancel()), as_of)
    }

    /// What the hashes of the log are now, to be signed ([`LogHead::note`]) and kept where nobody can change it.
    ///
    /// # Errors
    /// What reading may meet.
    #[cfg(feature = "signing")]
    pub fn log_head(&self) -> Result<LogHead> {
        exec::sign(&self.log_of(None)?)
    }

    /// Makes a backup: a database of its own that holds everything up to now. Others read and write meanwhile.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("backup.bygone");
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let backup = db.backup(&path)?;
    /// assert_eq!(backup.position, Position(1));
    /// assert_eq!(Db::open(&path)?.chain()?, backup.chain);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unopenable`] where the name is taken, or the file cannot be made; [`Error::Corrupt`] where this database is damaged. There is no
    /// new file then, unless it was the folder that could not be synced at last.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(to, BackupMode::New, &mut |_| {})
    }

    /// Makes a backup, as [`backup`](Self::backup) does, in the place of a file, or grows an earlier one by what came since. `progress` is told of
    /// each write. It must not use the database.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("backup.bygone");
    /// use bygone::maintain::BackupMode;
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// for amount in [10, 20] {
    ///     db.append(NewEvent::new("Order.paid").on(("Order", 42)).member("amount", amount))?;
    ///     let backup = db.backup_with(&path, BackupMode::Increment, &mut |_| {})?;
    ///     assert_eq!(backup.events, 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`backup`](Self::backup), and [`Error::Conflict`] where an earlier backup is not one of this database, or has events of its own.
    pub fn backup_with(
        &self,
        to: impl AsRef<Path>,
        mode: BackupMode,
        progress: &mut dyn FnMut(&Backup),
    ) -> Result<Backup> {
        let cancel = self.cancel();
        self.store.back_up(BackupRequest { to: to.as_ref(), mode, cancel: &cancel, progress })
    }

    /// Writes the file anew, in the order of keys, and puts it in the place of the first: what was freed is given back to the disk. Reads go on;
    /// what appends waits.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let sizes = db.compact()?;
    /// println!("{} bytes before, {} after", sizes.before, sizes.after);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unopenable`] where the file has several names, [`Error::Corrupt`] where it is damaged. It is then as it was.
    pub fn compact(&self) -> Result<Compaction> {
        self.store.compact(&self.cancel())
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

    /// What the database tells of itself now: counts since it was opened, times, sizes and lags. It costs a few reads, and nobody waits
    /// for it.
    ///
    /// # Errors
    /// If the file cannot be asked for its size, or the database is closed.
    pub fn metrics(&self) -> Result<Metrics> {
        self.store.shared().metrics()
    }

    /// What opening the database found: what a crash had left.
    pub fn recovery(&self) -> &Recovery {
        self.store.recovery()
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
