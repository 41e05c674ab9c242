//! Deciding: what a command makes happen, and the way of that into the log.

use serde::Serialize;

use super::{Aggregate, AggregateState, Replayer};
use crate::db::Db;
use crate::document::Document;
use crate::entity::{Entity, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::{Cause, Event, Expect, NewEvent, codec};
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::index::term::Term;
use crate::store::snapshot::{FoldBound, Snapshot};
use crate::time::Timestamp;

/// How often a command is decided at most, while others append to the same entity.
const ATTEMPTS: u32 = 1000;

/// An aggregate that decides what a command makes happen, by what it is.
///
/// ```
/// use bygone::append::CommandError;
/// use bygone::{Aggregate, Db, Decide, Event, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default)]
/// struct Account {
///     balance: i64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(tag = "type", content = "data", rename_all = "camelCase")]
/// enum AccountEvent {
///     Deposited { amount: i64 },
///     Withdrawn { amount: i64 },
/// }
///
/// enum AccountCommand {
///     Deposit(i64),
///     Withdraw(i64),
/// }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// #[error("there are only {0}")]
/// struct NotEnough(i64);
///
/// impl Aggregate for Account {
///     const KIND: &'static str = "Account";
///
///     fn apply(&mut self, event: &Event) -> Result<()> {
///         match event.parse()? {
///             AccountEvent::Deposited { amount } => self.balance += amount,
///             AccountEvent::Withdrawn { amount } => self.balance -= amount,
///         }
///         Ok(())
///     }
/// }
///
/// impl Decide for Account {
///     type Command = AccountCommand;
///     type Event = AccountEvent;
///     type Refusal = NotEnough;
///
///     fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
///         match *command {
///             AccountCommand::Deposit(amount) => Ok(vec![AccountEvent::Deposited { amount }]),
///             AccountCommand::Withdraw(amount) if amount > self.balance => Err(NotEnough(self.balance)),
///             AccountCommand::Withdraw(amount) => Ok(vec![AccountEvent::Withdrawn { amount }]),
///         }
///     }
/// }
///
/// let db = Db::in_memory()?;
/// let done = db.execute::<Account>("7", AccountCommand::Deposit(50))?;
/// assert_eq!(done.state.balance, 50);
/// match db.execute::<Account>("7", AccountCommand::Withdraw(80)) {
///     Err(CommandError::Refused(NotEnough(there_are))) => assert_eq!(there_are, 50),
///     other => panic!("{:?}", other.map(|done| done.events)),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Decide: Aggregate {
    /// What is asked for.
    type Command;

    /// What happens then: a serde enum with `tag = "type", content = "data"`, as for [`Db::emit`].
    type Event: Serialize;

    /// Why it does not happen, as the rules of the application have it.
    type Refusal;

    /// The events that a command makes happen, all of them on this entity. It may be asked again, on a newer state, if another event came
    /// between.
    ///
    /// # Errors
    /// Why nothing happens.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;
}

/// Why a command was not executed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError<R> {
    /// The aggregate refused: nothing was written.
    #[error("{0}")]
    Refused(R),

    /// The database failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CommandOutcome<A> {
    /// The events that happened.
    pub events: Vec<Event>,
    /// The aggregate after them.
    pub state: AggregateState<A>,
    /// The key was known: these are the events of the first time, the aggregate is as it was after them, and nothing was written.
    pub repeated: bool,
}

impl Db {
    /// Executes a command: loads the aggregate, lets it decide, and appends what it decided, all or nothing, under the guard that no event
    /// came between. If one did, it is decided anew, by the newer state. Returns when the events are durable.
    ///
    /// A decision for no events writes nothing. To say who asks, or a key, see [`Db::command`].
    ///
    /// # Errors
    /// [`CommandError::Refused`] with what the aggregate says; [`CommandError::Failed`] with what the database says. If that is an
    /// [`Error::Unfoldable`] about an event that was just decided, that one is in the log.
    ///
    /// ```
    /// # use bygone::{Aggregate, Decide, Event, Result};
    /// # #[derive(Debug, Default)]
    /// # struct Door { open: bool }
    /// # #[derive(serde::Serialize)]
    /// # #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    /// # enum DoorEvent { Opened }
    /// # #[derive(Debug, thiserror::Error)]
    /// # #[error("it is open")]
    /// # struct IsOpen;
    /// # struct Open;
    /// # impl Aggregate for Door {
    /// #     const KIND: &'static str = "Door";
    /// #     fn apply(&mut self, _: &Event) -> Result<()> { self.open = true; Ok(()) }
    /// # }
    /// # impl Decide for Door {
    /// #     type Command = Open;
    /// #     type Event = DoorEvent;
    /// #     type Refusal = IsOpen;
    /// #     fn decide(&self, _: &Open) -> Result<Vec<DoorEvent>, IsOpen> {
    /// #         if self.open { Err(IsOpen) } else { Ok(vec![DoorEvent::Opened]) }
    /// #     }
    /// # }
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// let done = db.execute::<Door>("front", Open)?;
    /// assert_eq!(done.events[0].kind.as_str(), "Door.opened");
    /// assert!(done.state.open);
    /// assert_eq!(db.execute::<Door>("front", Open).unwrap_err().to_string(), "it is open");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute<A: Decide>(
        &self,
        id: impl ToString,
        command: A::Command,
    ) -> Result<CommandOutcome<A>, CommandError<A::Refusal>> {
        self.command::<A>(id, command).execute()
    }

    /// A command to be [executed](CommandBuilder::execute), with what is to be known of its events beside.
    ///
    /// ```
    /// # use bygone::{Aggregate, Decide, Event, Result};
    /// # #[derive(Default)]
    /// # struct Order { paid: bool }
    /// # #[derive(serde::Serialize)]
    /// # #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    /// # enum OrderEvent { Paid { amount: u32 } }
    /// # struct Pay(u32);
    /// # impl Aggregate for Order {
    /// #     const KIND: &'static str = "Order";
    /// #     fn apply(&mut self, _: &Event) -> Result<()> { self.paid = true; Ok(()) }
    /// # }
    /// # impl Decide for Order {
    /// #     type Command = Pay;
    /// #     type Event = OrderEvent;
    /// #     type Refusal = &'static str;
    /// #     fn decide(&self, pay: &Pay) -> Result<Vec<OrderEvent>, &'static str> {
    /// #         if self.paid { Err("paid already") } else { Ok(vec![OrderEvent::Paid { amount: pay.0 }]) }
    /// #     }
    /// # }
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// let pay = || db.command::<Order>(42, Pay(10)).by(("User", "ann")).key("req-7f3").execute();
    /// let first = pay()?;
    /// assert_eq!(first.events[0].actor, Some(("User", "ann").into()));
    /// // The request came twice: this order would refuse to be paid again, but it is not asked.
    /// let second = pay()?;
    /// assert_eq!((second.repeated, second.events), (true, first.events));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn command<A: Decide>(&self, id: impl ToString, command: A::Command) -> CommandBuilder<'_, A> {
        CommandBuilder {
            db: self,
            id: id.to_string(),
            command,
            actor: self.actor().cloned(),
            timestamp: None,
            key: None,
            cause: None,
            correlation: None,
            metadata: Ok(Document::empty()),
        }
    }
}

/// A command on its way to an aggregate: [`Db::command`].
#[derive(Debug)]
#[must_use = "nothing happens before it is executed"]
pub struct CommandBuilder<'db, A: Decide> {
    db: &'db Db,
    id: String,
    command: A::Command,
    actor: Option<Entity>,
    timestamp: Option<Timestamp>,
    key: Option<String>,
    cause: Option<Cause>,
    correlation: Option<String>,
    metadata: Result<Document>,
}

impl<A: Decide> CommandBuilder<'_, A> {
    /// On whose behalf. Without this, that is the handle's ([`Db::as_actor`]).
    pub fn by(mut self, actor: impl Into<Entity>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// When it occurred, where that is not now. It is decided by all that is known now, nevertheless.
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The idempotency key: executed again with the same key, the first outcome is given back, and nothing is decided or written.
    /// What was refused, or decided for no events, is in no log: again with its key, it is decided again.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The event of this log that brought it about. Its correlation is inherited, or begins there.
    pub fn caused_by(mut self, position: Position) -> Self {
        self.cause = Some(Cause::Event(position));
        self
    }

    /// The event or command from elsewhere that brought it about.
    pub fn caused_by_named(mut self, kind: &str, id: &str) -> Self {
        self.cause = Some(Cause::Named { kind: kind.to_owned(), id: id.to_owned() });
        self
    }

    /// The root of its chain of causes, where that is known.
    pub fn correlation(mut self, correlation: &str) -> Self {
        self.correlation = Some(correlation.to_owned());
        self
    }

    /// What is to be known of how the events came here: any serde type with the form of a JSON object.
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> Self {
        self.metadata = Document::of(metadata);
        self
    }

    /// Executes it, as [`Db::execute`] does.
    pub fn execute(self) -> Result<CommandOutcome<A>, CommandError<A::Refusal>> {
        let entity = Entity::new(A::KIND, &self.id)?;
        let mut snapshot = self.db.store().snapshot();
        let mut course: Option<Replayer<A>> = None;
        for _ in 0..ATTEMPTS {
            // Of the same snapshot as the state: who is decided by what the first time left behind is known to come second.
            if let Some(first) = self.first_outcome(&snapshot, &entity)? {
                return Ok(first);
            }
            let until = FoldBound { through: snapshot.head(), by: None };
            let mut loaded = match course.take() {
                Some(mut before) => before.follow(&snapshot, until).map(|()| before),
                None => Replayer::new(self.db.shelf(), &snapshot, entity.clone(), until),
            }?;
            let decided = loaded.state.decide(&self.command).map_err(CommandError::Refused)?;
            if decided.is_empty() {
                return Ok(CommandOutcome { events: Vec::new(), state: loaded.at(None), repeated: false });
            }
            let appended = self.db.store().append(self.group(&loaded, &decided)?);
            snapshot = self.db.store().snapshot();
            match appended {
                // The same key has come through meanwhile: what it left behind is found above.
                Ok(AppendOutcome { repeated: true, .. }) => {}
                Ok(AppendOutcome { events, repeated: false, .. }) => {
                    let decode = |(position, bytes)| codec::decode(position, bytes);
                    let events = events.into_iter().map(decode).collect::<Result<Vec<Event>>>()?;
                    for event in &events {
                        loaded.add(&snapshot, event)?;
                    }
                    return Ok(CommandOutcome { events, state: loaded.at(None), repeated: false });
                }
                Err(error) if error.is_conflict() && snapshot.version(&entity)? != loaded.version => {}
                Err(error) => return Err(error.into()),
            }
            course = Some(loaded);
        }
        let found = format!("another event each time, {ATTEMPTS} times");
        Err(Error::conflict(entity.to_string(), "no event between loading and appending", found).into())
    }

    /// What was decided, as a group that comes directly after what it was decided by, or not at all.
    fn group(&self, course: &Replayer<A>, decided: &[A::Event]) -> Result<AppendRequest> {
        let metadata = self.metadata.clone()?;
        let mut events: Vec<NewEvent> = decided
            .iter()
            .map(|event| {
                let mut event = NewEvent::typed(&course.entity, event);
                event.actor = self.actor.clone();
                event.timestamp = self.timestamp;
                event.cause = self.cause.clone();
                event.correlation = self.correlation.clone();
                event.metadata = metadata.clone();
                event
            })
            .collect();
        if let Some(first) = events.first_mut() {
            first.expect.push(Expect::Version(course.version));
        }
        Ok(AppendRequest { events, key: self.key.clone(), ..AppendRequest::default() })
    }

    /// What became of the command, if its key is known.
    fn first_outcome(&self, snapshot: &Snapshot, entity: &Entity) -> Result<Option<CommandOutcome<A>>> {
        let Some(key) = &self.key else { return Ok(None) };
        let term = Term::key(key)?;
        let Some(first) = snapshot.read(|view| view.first(&term))? else { return Ok(None) };
        let at = |position| {
            let missing = || Error::corrupt("the log", format!("no event at {position}"));
            snapshot.event(position)?.ok_or_else(missing)
        };
        let opening = at(first)?;
        if opening.target.as_ref() != Some(entity) {
            let on = opening.target.as_ref().map_or_else(String::new, |target| format!(" of {target}"));
            let found = format!("{}{on} at {first}", opening.kind);
            return Err(Error::conflict(format!("key '{key}'"), format!("a command to {entity}"), found));
        }
        let last = first.plus(u64::from(opening.seal.map_or(1, |seal| seal.count)).saturating_sub(1));
        let events = PositionRange::new(first, last).iter().map(at).collect::<Result<Vec<Event>>>()?;
        let until = FoldBound { through: last, by: None };
        let state = Replayer::new(self.db.shelf(), snapshot, entity.clone(), until)?.at(None);
        Ok(Some(CommandOutcome { events, state, repeated: true }))
    }
}
