//! Reading events and states, from code.

use std::fmt;

use serde::Serialize;

use crate::aggregate::position_of_version;
use crate::db::Db;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::exec::{self, EntityState, EventScan};
use crate::pattern::Pattern;
use crate::plan::{
    self, AccessQuery, By, LogWindow, PointInTime, ReplayPlan, ResolvedPoint, RowLimit, choose,
};
use crate::store::snapshot::Snapshot;
use crate::value::Value;

impl Db {
    /// Events to be read: a [`ReadBuilder`] takes which, and [`ReadBuilder::events`] reads them. What it cannot say, the language
    /// can: [`Db::query`].
    pub fn read(&self) -> ReadBuilder<'_> {
        ReadBuilder {
            db: self,
            pattern: None,
            by: Vec::new(),
            tags: Vec::new(),
            entity: None,
            from: Vec::new(),
            until: Vec::new(),
            backwards: false,
            limit: None,
            fault: None,
        }
    }

    /// The history of an entity, in version order, as it is now.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)))?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let kinds: Vec<_> = db.history(("Order", 42))?.map(|event| event.unwrap().kind.to_string()).collect();
    /// assert_eq!(kinds, ["Order.created", "Order.paid"]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn history(&self, entity: impl Into<Entity>) -> Result<EventIter> {
        self.read().entity(entity).events()
    }

    /// The events of a [`Pattern`], or the text of one, in log order, as the log is now.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// db.append(NewEvent::new("Stock.reserved").on(("Stock", "sku-9")))?;
    /// assert_eq!(db.events("*.paid, Stock.*")?.count(), 2);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn events(&self, pattern: impl TryInto<Pattern, Error: Into<Error>>) -> Result<EventIter> {
        self.read().types(pattern).events()
    }

    /// The state of an entity as of all its events, as it is defined in the file; those that are dated ahead count, as they do for
    /// guards and verbs. (As a type of one's own: [`aggregate`](Self::aggregate).)
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)).member("total", 10))?;
    /// assert_eq!(db.state(("Order", 42))?.state.get("total"), Some(&10.into()));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn state(&self, entity: impl Into<Entity>) -> Result<EntityState> {
        let snapshot = self.store().snapshot();
        exec::state(&snapshot, &ReplayPlan::of_all(entity.into(), snapshot.head()))
    }

    /// The state of an entity at a point of its history, as it is defined in the file: a time (what had occurred by then), a
    /// [`Position`](crate::Position) or a [`Version`](crate::Version). (As a type of one's own: [`aggregate_at`](Self::aggregate_at).)
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Value, Version};
    /// let db = Db::in_memory()?;
    /// let created = NewEvent::new("Order.created").on(("Order", 42)).at("2024-01-01".parse()?);
    /// db.append(created.member("total", 10))?;
    /// assert_eq!(db.state_at(("Order", 42), "2024-01-02")?.version, Version(1));
    /// assert_eq!(db.state_at(("Order", 42), "2023-12-31")?.state, Value::Null);
    /// assert_eq!(db.state_at(("Order", 42), Version::NONE)?.state, Value::Null);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn state_at(
        &self,
        entity: impl Into<Entity>,
        point: impl TryInto<PointInTime, Error: Into<Error>>,
    ) -> Result<EntityState> {
        let snapshot = self.store().snapshot();
        let entity = entity.into();
        let (until, at) = point.try_into().map_err(Into::into)?.within(&snapshot, &entity)?;
        let window = LogWindow { by: until.by, ..LogWindow::through(until.through) };
        exec::state(&snapshot, &ReplayPlan { entity, window, at: Some(at), as_of: None, now: None })
    }
}

/// Which events to read, said bit by bit: [`Db::read`]. All that is said must hold.
///
/// ```
/// use bygone::{Db, NewEvent, Position};
/// let db = Db::in_memory()?;
/// for (order, customer) in [(1, "ann"), (2, "bob"), (3, "ann")] {
///     db.append(NewEvent::new("Order.paid").on(("Order", order)).index("customer", customer))?;
///     db.append(NewEvent::new("Order.sent").on(("Order", order)))?;
/// }
///
/// let mut paid = Vec::new();
/// for event in db.read().types("Order.paid").tag("customer", "ann").from(Position(2)).events()? {
///     paid.push(event?.position);
/// }
/// assert_eq!(paid, [Position(5)]);
///
/// let newest = db.read().backwards().limit(1).events()?.next().transpose()?;
/// assert_eq!(newest.map(|event| event.kind.to_string()), Some("Order.sent".to_owned()));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before `events`"]
pub struct ReadBuilder<'db> {
    db: &'db Db,
    pattern: Option<Pattern>,
    by: Vec<By>,
    /// Index values. Which index answers is looked up when it is read.
    tags: Vec<(String, Value)>,
    entity: Option<Entity>,
    from: Vec<PointInTime>,
    until: Vec<PointInTime>,
    backwards: bool,
    limit: Option<u64>,
    /// What was wrong with what was said: told by `events`.
    fault: Option<Error>,
}

impl ReadBuilder<'_> {
    /// Only events with these types: a [`Pattern`], or the text of one. Said again, it counts instead.
    ///
    /// Without it the database's own events, of types that begin with `$`, are left out, unless an [entity](Self::entity) is said.
    pub fn types(mut self, pattern: impl TryInto<Pattern, Error: Into<Error>>) -> Self {
        match pattern.try_into() {
            Ok(pattern) => self.pattern = Some(pattern),
            Err(error) => return self.wrong(error.into()),
        }
        self
    }

    /// Only events with this index value, of an index or of their own: text, a number or a boolean. `BY name = value` of the
    /// language. A name that no event has gives no events.
    pub fn tag<T: Serialize>(mut self, name: &str, value: T) -> Self {
        match Value::of(&value) {
            Ok(value) => self.tags.push((name.to_owned(), value)),
            Err(error) => return self.wrong(error),
        }
        self
    }

    /// Only the history of this entity.
    pub fn entity(mut self, entity: impl Into<Entity>) -> Self {
        let entity = entity.into();
        if let Err(error) = entity.check() {
            return self.wrong(error);
        }
        self.by.push(By::Target(entity.clone()));
        self.entity = Some(entity);
        self
    }

    /// Only events on behalf of this actor.
    pub fn actor(mut self, actor: impl Into<Entity>) -> Self {
        let actor = actor.into();
        if let Err(error) = actor.check() {
            return self.wrong(error);
        }
        self.by.push(By::Actor(actor));
        self
    }

    /// Only events of the chain of causes with this root.
    pub fn correlation(mut self, correlation: &str) -> Self {
        self.by.push(By::Correlation(correlation.to_owned()));
        self
    }

    /// Only events from this point on, with the one that stands there: a [position](crate::Position), a
    /// [version](crate::Version) of the [entity](Self::entity), or a time that they occurred at or after. It is the earlier end,
    /// in whichever direction they are read.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Version};
    /// let db = Db::in_memory()?;
    /// for day in ["2024-01-01", "2024-02-01", "2024-03-01"] {
    ///     db.append(NewEvent::new("Order.noted").on(("Order", 42)).at(day.parse()?))?;
    /// }
    /// assert_eq!(db.read().from("2024-02-01").events()?.count(), 2);
    /// assert_eq!(db.read().from("2024-02-01").until("2024-03-01").events()?.count(), 1);
    /// assert_eq!(db.read().entity(("Order", 42)).from(Version(3)).events()?.count(), 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn from(mut self, point: impl TryInto<PointInTime, Error: Into<Error>>) -> Self {
        match point.try_into() {
            Ok(point) => self.from.push(point),
            Err(error) => return self.wrong(error.into()),
        }
        self
    }

    /// Only events up to this point: with the event at a [position](crate::Position) or a [version](crate::Version), or before a
    /// time that they occurred at.
    pub fn until(mut self, point: impl TryInto<PointInTime, Error: Into<Error>>) -> Self {
        match point.try_into() {
            Ok(point) => self.until.push(point),
            Err(error) => return self.wrong(error.into()),
        }
        self
    }

    /// The newest first.
    pub fn backwards(mut self) -> Self {
        self.backwards = true;
        self
    }

    /// At most so many: the first of them, or the newest if it is read [backwards](Self::backwards).
    pub fn limit(mut self, events: u64) -> Self {
        self.limit = Some(events);
        self
    }

    /// Reads them as the log is now, one by one as they are pulled.
    ///
    /// # Errors
    /// [`Error::Invalid`] if something wrong was said: a text that is no pattern or no time, an entity without an id, a tag that is
    /// no value of an index or whose index is still being built, a version without an entity.
    pub fn events(self) -> Result<EventIter> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let snapshot = self.db.store().snapshot().cancelled_by(&self.db.cancel());
        let mut by = self.by;
        for (name, value) in &self.tags {
            by.push(plan::tagged(&snapshot, name, value)?);
        }
        let mut window = LogWindow::through(snapshot.head());
        for point in self.from {
            match place(&snapshot, self.entity.as_ref(), point)? {
                ResolvedPoint::Time(time) => window.since = window.since.max(Some(time)),
                ResolvedPoint::Position(first) => window.after = window.after.max(first.previous()),
            }
        }
        for point in self.until {
            match place(&snapshot, self.entity.as_ref(), point)? {
                ResolvedPoint::Time(time) => {
                    window.before = Some(window.before.map_or(time, |before| before.min(time)));
                }
                ResolvedPoint::Position(last) => window.through = window.through.min(last),
            }
        }
        let pattern = match (self.pattern, &self.entity) {
            (None, None) => Some(Pattern::all()),
            (pattern, _) => pattern,
        };
        let take = match (self.backwards, self.limit) {
            (true, limit) => RowLimit::Newest(limit.unwrap_or(u64::MAX)),
            (false, Some(limit)) => RowLimit::First(limit),
            (false, None) => RowLimit::All,
        };
        let question = AccessQuery { pattern, by, predicate: None, window, take, indexed: false };
        EventScan::new(&snapshot, &choose(&snapshot, question)?).map(EventIter)
    }

    fn wrong(mut self, error: Error) -> Self {
        self.fault.get_or_insert(error);
        self
    }
}

/// A point as a time or a position. A version that is not there yet lies beyond the head.
fn place(snapshot: &Snapshot, entity: Option<&Entity>, point: PointInTime) -> Result<ResolvedPoint> {
    let version = match point {
        PointInTime::Time(time) => return Ok(ResolvedPoint::Time(time)),
        PointInTime::Position(position) => return Ok(ResolvedPoint::Position(position)),
        PointInTime::Version(version) => version,
    };
    let Some(entity) = entity else {
        let expected = "an entity, of which it is a version (`entity`)";
        return Err(Error::invalid("a version to read from or to", expected, "none"));
    };
    Ok(ResolvedPoint::Position(match version > snapshot.version(entity)? {
        true => snapshot.head().next(),
        false => position_of_version(snapshot, entity, version)?,
    }))
}

/// Events, read as they are pulled.
pub struct EventIter(EventScan);

impl Iterator for EventIter {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        self.0.next()
    }
}

impl fmt::Debug for EventIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventIter(…)")
    }
}

#[cfg(test)]
mod tests;
