//! Reading events and states, from code.

use std::fmt;

use crate::db::Db;
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::exec::{self, EntityState, Scan};
use crate::pattern::Pattern;
use crate::plan::{By, PointInTime, Question, Replay, Take, Window, choose};

impl Db {
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
        self.scan(None, vec![By::Target(entity.into())])
    }

    /// The events of a pattern, in log order, as the log is now.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Pattern};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// db.append(NewEvent::new("Stock.reserved").on(("Stock", "sku-9")))?;
    /// assert_eq!(db.events(&"*.paid, Stock.*".parse::<Pattern>()?)?.count(), 2);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn events(&self, pattern: &Pattern) -> Result<EventIter> {
        self.scan(Some(pattern.clone()), Vec::new())
    }

    fn scan(&self, pattern: Option<Pattern>, by: Vec<By>) -> Result<EventIter> {
        let snapshot = self.store().snapshot();
        let window = Window::through(snapshot.head().0);
        let question =
            Question { pattern, by, predicate: None, window, take: Take::All, indexed: Vec::new() };
        Scan::new(&snapshot, &choose(&snapshot, question)?).map(EventIter)
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
        exec::state(&snapshot, &Replay::of_all(entity.into(), snapshot.head()))
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
        let window = Window { by: until.by, ..Window::through(until.through) };
        exec::state(&snapshot, &Replay { entity, window, at: Some(at), as_of: None, now: None })
    }
}

/// Events, read as they are pulled.
pub struct EventIter(Scan);

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
