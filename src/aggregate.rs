//! Aggregates: an entity's events, folded into a type of one's own.
//!
//! An [`Aggregate`] says what an event makes of it; [`Db::aggregate`] and [`Db::aggregate_at`] fold. A [`Decide`] (`aggregate/decide.rs`)
//! also says what a command makes happen; [`Db::execute`] loads, decides and appends. How either is tried without a database
//! is told in [`testing`](crate::testing).

mod decide;
mod point;
pub(crate) mod snapshots;
#[cfg(test)]
mod tests;

use std::ops::Deref;

pub(crate) use point::position_of_version;

pub use decide::{CommandBuilder, CommandError, CommandOutcome, Decide};
pub use snapshots::SnapshotPolicy;

use self::snapshots::{AggregateSnapshot, SnapshotCache};
use crate::db::Db;
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::{Event, is_of_standing};
use crate::plan::PointInTime;
use crate::store::snapshot::{FoldBound, Snapshot};
use crate::store::state::fold::Plain;
use crate::time::Timestamp;

/// What an entity is, as a type of Rust: its [`Default`] is an entity without events, and each event is applied to it.
///
/// ```
/// use bygone::{Aggregate, Db, Event, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// #[serde(tag = "type", content = "data", rename_all = "camelCase")]
/// enum AccountEvent {
///     Deposited { amount: i64 },
///     Withdrawn { amount: i64 },
///     Closed,
/// }
///
/// #[derive(Default)]
/// struct Account {
///     balance: i64,
///     closed: bool,
/// }
///
/// impl Aggregate for Account {
///     const KIND: &'static str = "Account";
///
///     fn apply(&mut self, event: &Event) -> Result<()> {
///         match event.parse()? {
///             AccountEvent::Deposited { amount } => self.balance += amount,
///             AccountEvent::Withdrawn { amount } => self.balance -= amount,
///             AccountEvent::Closed => self.closed = true,
///         }
///         Ok(())
///     }
/// }
///
/// let db = Db::in_memory()?;
/// db.emit(("Account", 7), &AccountEvent::Deposited { amount: 50 })?;
/// db.emit(("Account", 7), &AccountEvent::Withdrawn { amount: 20 })?;
/// let account = db.aggregate::<Account>(7)?;
/// assert_eq!((account.balance, account.closed, account.version.0), (30, false, 2));
/// # Ok::<(), bygone::Error>(())
/// ```
///
/// The same events must make the same state whenever they are applied: no clock, no files, nothing drawn by lot. A deletion is an event
/// like others: `apply` says what it leaves. And a state [at a time](Db::aggregate_at) leaves out what had not occurred by then, wherever
/// it stands in the log: a balance that no command brings below zero may have been below it on a day of which somebody told later.
///
/// # Events that cannot be applied
///
/// What happened stands, so an event that `apply` does not understand is neither a panic nor passed over in silence: `apply` gives an
/// error, and whoever asks for the state gets [`Error::Unfoldable`] with the place of the event, its type and the reason. That is why
/// `apply` answers with a [`Result`], and why a type that is no variant of the enum is an error. What is to be passed over, say:
///
/// ```
/// # use bygone::{Aggregate, Db, Event, NewEvent, Result};
/// #[derive(Debug, Default)]
/// struct Total(u64);
///
/// impl Aggregate for Total {
///     const KIND: &'static str = "Order";
///
///     fn apply(&mut self, event: &Event) -> Result<()> {
///         match event.kind.name() {
///             "paid" => self.0 += event.data.parse::<Paid>()?.amount,
///             _ => {} // whatever else there is, it says nothing about money
///         }
///         Ok(())
///     }
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Paid {
///     amount: u64,
/// }
///
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.noted").on(("Order", 1)).member("text", "urgent"))?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 1)).member("amount", 10))?;
/// assert_eq!(db.aggregate::<Total>(1)?.0, 10);
///
/// db.append(NewEvent::new("Order.paid").on(("Order", 1)).member("amount", "ten"))?;
/// let error = db.aggregate::<Total>(1).unwrap_err().to_string();
/// assert!(error.starts_with("Order 1 has no state: Order.paid at #3 could not be folded in"), "{error}");
/// # Ok::<(), bygone::Error>(())
/// ```
pub trait Aggregate: Default {
    /// The kind of the entities that it is the state of.
    const KIND: &'static str;

    /// Applies the next event of the entity, of whatever type of the program's it is. That the entity is closed or reopened counts as a version,
    /// and is not applied.
    ///
    /// # Errors
    /// Why there is no state after it. All that was applied so far is then let go.
    fn apply(&mut self, event: &Event) -> Result<()>;

    /// How it is kept, so that not every reading begins at the first event. By itself it is not.
    fn snapshots() -> Option<SnapshotPolicy<Self>> {
        None
    }
}

/// An aggregate, with the point it was folded up to. Reads as the aggregate itself: `account.balance`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AggregateState<A> {
    /// What the events made.
    pub state: A,
    /// Whose state.
    pub target: Entity,
    /// The version of the newest event that was applied; [`Version::NONE`] where there was nothing to apply.
    pub version: Version,
    /// Where that event is in the log.
    pub position: Position,
    /// How many of the events came late: something that occurred after them stands before them.
    pub late: u64,
    /// What had occurred by then, or up to there; none for the present.
    pub at: Option<PointInTime>,
}

impl<A> Deref for AggregateState<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.state
    }
}

impl Db {
    /// An entity as of all its events, folded into a type of one's own. Events are applied one by one as they are read: a long
    /// history takes time, not memory; with [`SnapshotPolicy`] it takes little time, too.
    ///
    /// # Errors
    /// [`Error::Unfoldable`] if [`apply`](Aggregate::apply) fails.
    ///
    /// ```
    /// use bygone::{Aggregate, Db, Event, NewEvent, Result, Version};
    /// #[derive(Default)]
    /// struct Visits(usize);
    /// impl Aggregate for Visits {
    ///     const KIND: &'static str = "User";
    ///     fn apply(&mut self, event: &Event) -> Result<()> {
    ///         self.0 += usize::from(event.kind.name() == "signedIn");
    ///         Ok(())
    ///     }
    /// }
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("User.signedIn").on(("User", "ann")))?;
    /// assert_eq!(db.aggregate::<Visits>("ann")?.0, 1);
    /// // Nobody of that name: the default, of no version.
    /// assert_eq!(db.aggregate::<Visits>("ben")?.version, Version::NONE);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn aggregate<A: Aggregate>(&self, id: impl ToString) -> Result<AggregateState<A>> {
        let entity = Entity::new(A::KIND, &id.to_string())?;
        let snapshot = self.store().snapshot();
        let until = FoldBound { through: snapshot.head(), by: None };
        Ok(Replayer::new(self.shelf(), &snapshot, entity, until)?.at(None))
    }

    /// An entity as it was at a point of its history, folded into a type of one's own: a time (what had occurred by then), a
    /// [`Position`] or a [`Version`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text that is no time; [`Error::Missing`] for a position or version that is not there yet;
    /// [`Error::Unfoldable`] if [`apply`](Aggregate::apply) fails.
    ///
    /// ```
    /// # use bygone::{Aggregate, Event, Result};
    /// use bygone::{Db, NewEvent, Position, Version};
    /// # #[derive(Default)]
    /// # struct Account { balance: i64 }
    /// # impl Aggregate for Account {
    /// #     const KIND: &'static str = "Account";
    /// #     fn apply(&mut self, event: &Event) -> Result<()> {
    /// #         self.balance += event.data.get("amount").and_then(|amount| amount.as_i64()).unwrap_or(0);
    /// #         Ok(())
    /// #     }
    /// # }
    /// let db = Db::in_memory()?;
    /// for (day, amount) in [("2024-01-01", 10), ("2024-02-01", 20)] {
    ///     let deposited = NewEvent::new("Account.deposited").on(("Account", "7"));
    ///     db.append(deposited.member("amount", amount).at(day.parse()?))?;
    /// }
    /// assert_eq!(db.aggregate_at::<Account>("7", "2024-01-15")?.balance, 10);
    /// assert_eq!(db.aggregate_at::<Account>("7", Version(1))?.balance, 10);
    /// assert_eq!(db.aggregate_at::<Account>("7", Position(2))?.balance, 30);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn aggregate_at<A: Aggregate>(
        &self,
        id: impl ToString,
        point: impl TryInto<PointInTime, Error: Into<Error>>,
    ) -> Result<AggregateState<A>> {
        let entity = Entity::new(A::KIND, &id.to_string())?;
        let snapshot = self.store().snapshot();
        let (until, at) = point.try_into().map_err(Into::into)?.within(&snapshot, &entity)?;
        Ok(Replayer::new(self.shelf(), &snapshot, entity, until)?.at(Some(at.into())))
    }
}

/// A fold under way.
struct Replayer<'db, A> {
    shelf: &'db SnapshotCache,
    snapshots: Option<SnapshotPolicy<A>>,
    entity: Entity,
    state: A,
    version: Version,
    position: Position,
    /// The latest time that any of the events occurred.
    latest: Option<Timestamp>,
    late: u64,
    /// Nothing was passed over: it is what the entity was at its position.
    whole: bool,
}

impl<'db, A: Aggregate> Replayer<'db, A> {
    /// What an entity's events make of an aggregate, up to some point.
    fn new(
        shelf: &'db SnapshotCache,
        snapshot: &Snapshot,
        entity: Entity,
        until: FoldBound,
    ) -> Result<Replayer<'db, A>> {
        let mut course = Replayer {
            shelf,
            snapshots: A::snapshots(),
            entity,
            state: A::default(),
            version: Version::NONE,
            position: Position::START,
            latest: None,
            late: 0,
            whole: true,
        };
        course.resume(snapshot, until);
        course.follow(snapshot, until)?;
        Ok(course)
    }

    /// Begins with the newest snapshot that is of use. One that cannot be read is as none.
    fn resume(&mut self, snapshot: &Snapshot, until: FoldBound) {
        let Some(snapshots) = &self.snapshots else { return };
        let kept = snapshots::load(self.shelf, snapshot, snapshots.name(), &self.entity, until);
        let Some(kept) = kept else { return };
        let Some(state) = snapshots.read(&kept.bytes) else { return };
        self.state = state;
        (self.version, self.position) = (Version(kept.version), kept.position);
        (self.latest, self.late) = (Some(kept.latest), kept.late);
    }

    /// Applies the events that come next, up to some point.
    fn follow(&mut self, snapshot: &Snapshot, until: FoldBound) -> Result<()> {
        // The stream is of the entity's own events: nothing is included, and nothing else of the fold is asked for.
        let stream =
            snapshot.stream(&self.entity, &Plain, PositionRange::between(self.position, until.through))?;
        for folding in stream {
            let folding = folding?;
            let record = folding.record()?;
            if until.by.is_some_and(|by| record.timestamp() > by) {
                self.whole = false;
                continue;
            }
            self.add(snapshot, &record.to_event(&folding.bytes)?)?;
        }
        Ok(())
    }

    /// Applies the next event.
    fn add(&mut self, snapshot: &Snapshot, event: &Event) -> Result<()> {
        if !is_of_standing(event.kind.as_str()) {
            self.state.apply(event).map_err(|why| unfoldable(&self.entity, event, &why))?;
        }
        self.version = event.version.unwrap_or(self.version);
        self.position = event.position;
        self.late += u64::from(self.latest.is_some_and(|latest| event.timestamp < latest));
        let latest = self.latest.map_or(event.timestamp, |latest| latest.max(event.timestamp));
        self.latest = Some(latest);
        if self.whole
            && let Some(snapshots) = &self.snapshots
            && snapshots.is_due(self.version)
            && let Some(bytes) = snapshots.write(&self.state)
        {
            let (position, version) = (self.position, self.version.0);
            let kept = AggregateSnapshot { position, version, latest, late: self.late, bytes: bytes.into() };
            snapshots::keep(self.shelf, snapshot, snapshots.name(), &self.entity, kept);
        }
        Ok(())
    }

    fn at(self, at: Option<PointInTime>) -> AggregateState<A> {
        let Replayer { state, entity: target, version, position, late, .. } = self;
        AggregateState { state, target, version, position, late, at }
    }
}

/// Why there is no state: an event that could not be applied.
pub(crate) fn unfoldable(entity: &Entity, event: &Event, why: &Error) -> Error {
    Error::Unfoldable {
        entity: entity.to_string(),
        position: event.position.0,
        kind: event.kind.to_string(),
        why: why.to_string(),
        advice: "let its `apply` take it".to_owned(),
    }
}
