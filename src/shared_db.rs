//! A database that this program shares with others: it has the file open itself, or is attached to the process that has.

#[cfg(unix)]
mod attached;
mod subscription;
#[cfg(all(test, unix))]
mod tests;

use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(unix)]
use attached::AttachedDb;
pub use subscription::{SharedDeliveries, SharedSubscription};

use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::{Entity, NameText, Position};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::exec::{EntityState, QueryResult, Row};
use crate::pattern::Pattern;
use crate::plan::Parameters;
use crate::query::Statement;
use crate::store::{Options, SharedAccess};
use crate::transfer::{ExportOptions, ImportOptions, ImportReport};

/// A database that may be open in another process: statements, appends, reads and subscriptions are the same.
///
/// [`Db::attach`] asks the process that has the file open and [shares](Options::share) it; [`Db::attach_or_open`] opens the file where
/// nobody has. What only a [`Db`] can do (handlers, aggregates, projections, verbs in Rust), [`opened`](SharedDb::opened) gives, where this
/// program has the file open.
///
/// ```
/// # #[cfg(unix)] {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("shop.bygone");
/// use bygone::{Db, NewEvent};
/// let first = Db::attach_or_open(&path)?;
/// let second = Db::attach_or_open(&path)?;
/// assert!(!first.is_attached() && second.is_attached());
/// second.append(NewEvent::new("Order.created").on(("Order", 42)).member("total", 10))?;
/// assert_eq!(first.state(("Order", 42))?.state.get("total"), Some(&10.into()));
/// for event in second.history(("Order", 42))? {
///     assert_eq!(event?.kind.as_str(), "Order.created");
/// }
/// # }
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SharedDb(FileHolder);

/// Who has the file open.
#[derive(Debug, Clone)]
enum FileHolder {
    ThisProgram(Db),
    #[cfg(unix)]
    Other(AttachedDb),
}

impl From<Db> for SharedDb {
    fn from(db: Db) -> SharedDb {
        SharedDb(FileHolder::ThisProgram(db))
    }
}

/// Whether all that is defined is built, and what waits for somebody to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseStatus {
    pub head: Position,
    pub built: bool,
    pub idle: bool,
    pub behind: Vec<String>,
}

impl Db {
    /// Asks the process that has this database open, and shares it ([`Options::share`], [`Db::share`], or the program `bygone`).
    ///
    /// # Errors
    /// [`Error::Unopenable`] where nobody shares it, or there are no sockets with names; [`Error::Io`] where it cannot be reached.
    pub fn attach(path: impl AsRef<Path>) -> Result<SharedDb> {
        attach(path.as_ref())
    }

    /// [Attaches](Db::attach) to the process that has this database open; where none has, opens it, or creates it, and shares it.
    ///
    /// # Errors
    /// As for [`Db::attach`] and [`Db::open`]; [`Error::Held`] where the process that has it open does not share it.
    pub fn attach_or_open(path: impl AsRef<Path>) -> Result<SharedDb> {
        Options::new().attach_or_open(path)
    }
}

impl Options {
    /// [`Db::attach_or_open`], with these options where it is opened.
    ///
    /// # Errors
    /// As for that.
    pub fn attach_or_open(self, path: impl AsRef<Path>) -> Result<SharedDb> {
        /// Who opens or closes it just now is given some time.
        const PATIENCE: Duration = Duration::from_secs(2);
        const PAUSE: Duration = Duration::from_millis(20);
        let path = path.as_ref();
        let since = Instant::now();
        loop {
            if let Ok(attached) = attach(path) {
                return Ok(if self.read_only { attached.for_reading() } else { attached });
            }
            let options = match (self.share, self.read_only) {
                // Others may open it so, too.
                (_, true) => self.clone().share(false),
                (Some(_), false) => self.clone(),
                (None, false) => self.clone().share(true),
            };
            let is_new = !path.exists();
            let opened = if is_new { options.create(path) } else { options.open(path) };
            match opened {
                Ok(db) => return Ok(db.into()),
                // Another one was faster.
                Err(Error::Held { .. }) if since.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Err(_) if is_new && since.elapsed() < PATIENCE && path.exists() => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(unix)]
fn attach(path: &Path) -> Result<SharedDb> {
    Ok(SharedDb(FileHolder::Other(AttachedDb::connect(path)?)))
}

#[cfg(not(unix))]
fn attach(path: &Path) -> Result<SharedDb> {
    let reason = "there are no sockets with names here, by which one could attach to it";
    Err(Error::unopenable(path, reason, "open it in one process at a time"))
}

/// Hands a call on to whoever has the file open.
macro_rules! either {
    ($self:ident, $db:ident => $call:expr) => {
        match &$self.0 {
            FileHolder::ThisProgram($db) => $call,
            #[cfg(unix)]
            FileHolder::Other($db) => $call,
        }
    };
}

impl SharedDb {
    /// Whether another process has the file open.
    pub fn is_attached(&self) -> bool {
        self.opened().is_none()
    }

    /// The process that has the file open, where that is another one.
    pub fn process(&self) -> Option<u32> {
        match &self.0 {
            FileHolder::ThisProgram(_) => None,
            #[cfg(unix)]
            FileHolder::Other(db) => Some(db.process()),
        }
    }

    /// The database, where this program has it open.
    pub fn opened(&self) -> Option<&Db> {
        match &self.0 {
            FileHolder::ThisProgram(db) => Some(db),
            #[cfg(unix)]
            FileHolder::Other(_) => None,
        }
    }

    /// Whether the process that had the file open has gone. Then everything is answered with an error, and
    /// [`Db::attach_or_open`] goes on.
    pub fn is_gone(&self) -> bool {
        match &self.0 {
            FileHolder::ThisProgram(_) => false,
            #[cfg(unix)]
            FileHolder::Other(db) => db.is_gone(),
        }
    }

    /// The same database, with this as the actor of all that is appended without one.
    pub fn as_actor(&self, actor: impl Into<Entity>) -> SharedDb {
        SharedDb(match &self.0 {
            FileHolder::ThisProgram(db) => FileHolder::ThisProgram(db.as_actor(actor)),
            #[cfg(unix)]
            FileHolder::Other(db) => FileHolder::Other(db.as_actor(actor.into())),
        })
    }

    /// The same database, with statements and reads that this handle ends, from another thread or after a time.
    pub fn cancelled_by(&self, cancel: &Cancel) -> SharedDb {
        SharedDb(match &self.0 {
            FileHolder::ThisProgram(db) => FileHolder::ThisProgram(db.cancelled_by(cancel)),
            #[cfg(unix)]
            FileHolder::Other(db) => FileHolder::Other(db.cancelled_by(cancel)),
        })
    }

    /// The same database, for reading: where another process has the file open, it refuses whatever writes. Where this program has it open
    /// that is said when it is opened.
    pub fn for_reading(&self) -> SharedDb {
        SharedDb(match &self.0 {
            FileHolder::ThisProgram(db) => FileHolder::ThisProgram(db.clone()),
            #[cfg(unix)]
            FileHolder::Other(db) => FileHolder::Other(db.for_reading()),
        })
    }

    /// Runs one statement that has no parameters.
    ///
    /// # Errors
    /// As for [`Db::query`]. Where the process that has the file open goes away, [`Error::Stopped`] for what reads, and
    /// [`Error::Unknown`] for what writes: what has a key can be repeated with it.
    pub fn query(&self, text: &str) -> Result<QueryResult> {
        self.query_with(text, &Parameters::new())
    }

    /// Runs one statement with values for its parameters.
    ///
    /// # Errors
    /// As for [`query`](SharedDb::query).
    pub fn query_with(&self, text: &str, parameters: &Parameters) -> Result<QueryResult> {
        either!(self, db => db.query_with(text, parameters))
    }

    /// Runs a statement that was parsed before, with values for its parameters.
    ///
    /// # Errors
    /// As for [`query`](SharedDb::query).
    pub fn run_with(&self, statement: &Statement, parameters: &Parameters) -> Result<QueryResult> {
        either!(self, db => db.run_with(statement, parameters))
    }

    /// Runs a statement for a person who typed it: the [hints](Db::hints) are among its notices.
    ///
    /// # Errors
    /// As for [`query`](SharedDb::query).
    pub fn run_with_hints(&self, statement: &Statement, parameters: &Parameters) -> Result<QueryResult> {
        match &self.0 {
            FileHolder::ThisProgram(db) => {
                let mut answer = db.run_with(statement, parameters)?;
                answer.notices.extend(db.hints(statement, parameters));
                Ok(answer)
            }
            #[cfg(unix)]
            FileHolder::Other(db) => db.run_with_hints(statement, parameters),
        }
    }

    /// Appends an event. Returns when it is durable.
    ///
    /// # Errors
    /// As for [`Db::append`], and [`Error::Unknown`] where the process that has the file open goes away before it has answered.
    pub fn append(&self, event: NewEvent) -> Result<Event> {
        let events = self.append_all([event])?;
        events.into_iter().next().ok_or_else(|| Error::corrupt("the answer to an append", "no event"))
    }

    /// Appends several events, all or none. Returns when they are durable.
    ///
    /// # Errors
    /// As for [`append`](SharedDb::append).
    pub fn append_all(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.append_all(events),
            #[cfg(unix)]
            FileHolder::Other(db) => db.append(events.into_iter().collect(), None),
        }
    }

    /// Appends several events, all or none, under one key: again with this key, the first outcome is given back and nothing is written.
    ///
    /// # Errors
    /// As for [`append`](SharedDb::append).
    pub fn append_once(&self, key: &str, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.append_once(key, events),
            #[cfg(unix)]
            FileHolder::Other(db) => db.append(events.into_iter().collect(), Some(key)),
        }
    }

    /// The history of an entity, in version order, as it is now.
    ///
    /// # Errors
    /// As for [`Db::history`].
    pub fn history(&self, entity: impl Into<Entity>) -> Result<impl Iterator<Item = Result<Event>>> {
        let entity = entity.into();
        let text = format!("HISTORY {} $id", NameText(entity.kind()));
        self.query_with(&text, &Parameters::new().set("id", entity.id())).map(events_of)
    }

    /// The events of a [`Pattern`], or the text of one, in log order, as the log is now.
    ///
    /// # Errors
    /// As for [`Db::events`].
    pub fn events(
        &self,
        pattern: impl TryInto<Pattern, Error: Into<Error>>,
    ) -> Result<impl Iterator<Item = Result<Event>>> {
        let pattern = pattern.try_into().map_err(Into::into)?;
        self.query_with("EVENTS $pattern", &Parameters::new().set("pattern", pattern.to_string()))
            .map(events_of)
    }

    /// The state of an entity as of all its events, as it is defined in the file.
    ///
    /// # Errors
    /// As for [`Db::state`].
    pub fn state(&self, entity: impl Into<Entity>) -> Result<EntityState> {
        let entity = entity.into();
        let text = format!("AT {} $id", NameText(entity.kind()));
        let mut rows = self.query_with(&text, &Parameters::new().set("id", entity.id()))?.rows;
        match rows.next().transpose()? {
            Some(Row::State(state)) => Ok(state),
            _ => Err(Error::corrupt("the answer to AT", "no state")),
        }
    }

    /// Subscribes to a [`Pattern`], or the text of one, from now on; what is said of it says otherwise.
    /// [`SharedSubscription::open`] begins.
    ///
    /// ```
    /// use bygone::share::SharedDb;
    /// use bygone::{Db, Delivery, NewEvent};
    /// let db = SharedDb::from(Db::in_memory()?);
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut orders = db.subscribe("Order.*").from_start().open()?;
    /// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(_)))));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn subscribe(&self, pattern: impl TryInto<Pattern, Error: Into<Error>>) -> SharedSubscription {
        SharedSubscription::new(self.clone(), pattern.try_into().map_err(Into::into))
    }

    /// The position of the newest event.
    ///
    /// # Errors
    /// Where the process that has the file open has gone.
    pub fn head(&self) -> Result<Position> {
        match &self.0 {
            FileHolder::ThisProgram(db) => Ok(db.head()),
            #[cfg(unix)]
            FileHolder::Other(db) => db.status(Duration::ZERO).map(|status| status.head),
        }
    }

    /// Waits until all that is defined now is built, for so long at most: [`Db::wait_for_indexes`].
    ///
    /// # Errors
    /// As for that.
    pub fn wait_for_indexes(&self, timeout: Duration) -> Result<bool> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.wait_for_indexes(timeout),
            #[cfg(unix)]
            FileHolder::Other(db) => db.status(timeout).map(|status| status.built),
        }
    }

    /// What waits for somebody to run it, in words: [`Db::behind`].
    ///
    /// # Errors
    /// As for that.
    pub fn behind(&self) -> Result<Vec<String>> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.behind(),
            #[cfg(unix)]
            FileHolder::Other(db) => db.status(Duration::ZERO).map(|status| status.behind),
        }
    }

    /// Appends the events of an input: [`Db::import`].
    ///
    /// # Errors
    /// As for that.
    pub fn import(
        &self,
        input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(&ImportReport),
    ) -> Result<ImportReport> {
        either!(self, db => db.import(input, options, progress))
    }

    /// Writes events as JSON: [`Db::export`].
    ///
    /// # Errors
    /// As for that.
    pub fn export(
        &self,
        options: impl Into<ExportOptions>,
        output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        either!(self, db => db.export(options.into(), output, progress))
    }

    /// Answers requests that come on `input` by lines on `output`: [`Db::serve`]. Where another process has the file open, they are handed on
    /// to it.
    ///
    /// # Errors
    /// As for that.
    pub fn serve(
        &self,
        input: impl Read + Send + 'static,
        output: impl Write + Send,
        access: SharedAccess,
    ) -> Result<()> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.serve(input, output, access),
            #[cfg(unix)]
            FileHolder::Other(db) => db.relay(input, output, access == SharedAccess::ReadOnly),
        }
    }

    /// Closes the database, where this program has it open; otherwise there is nothing to be closed.
    ///
    /// # Errors
    /// As for [`Db::close`].
    pub fn close(&self) -> Result<()> {
        match &self.0 {
            FileHolder::ThisProgram(db) => db.close(),
            #[cfg(unix)]
            FileHolder::Other(_) => Ok(()),
        }
    }
}

/// The events among rows.
fn events_of(answer: QueryResult) -> impl Iterator<Item = Result<Event>> {
    answer.rows.filter_map(|row| match row {
        Ok(Row::Event { event, .. }) => Some(Ok(event)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}
