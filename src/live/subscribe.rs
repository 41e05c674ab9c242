//! Subscriptions: from a place in the past into the live present, losing none.
//!
//! A subscription reads the log, not a copy that somebody pushes: whoever is slow loses nothing and holds up nobody. It goes in
//! [stretches](super::catch_up): everything up to what is durable now, then the next one. When the first is done it says so once, and then
//! waits.
//!
//! It does not keep the database open: it shares what the threads of the database share, and ends when the last handle closes it.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use serde::Serialize;

use super::catch_up::CatchUp;
use super::durable::ReaderLease;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position};
use crate::error::{Error, Missing, MissingItem, Result};
use crate::event::Event;
use crate::event::record::NameCache;
use crate::pattern::Pattern;
use crate::plan::{self, By, Parameters, SubscriptionEnd};
use crate::store::Shared;
use crate::store::log_progress::WaitResult;
use crate::telemetry::OpenSubscription;
use crate::time::Timestamp;

/// What a subscription delivers.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // nearly all of them are events
pub enum Delivery {
    /// An event, in log order.
    Event(Event),
    /// All events up to here have been delivered; what follows happens from now on. Comes once.
    CaughtUp(Position),
}

/// A subscription: a blocking iterator over what happened and what happens.
///
/// It ends when the database is closed, its limit is reached, or it is cancelled.
///
/// ```
/// use std::time::Duration;
/// use bygone::{Db, Delivery, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
///
/// let mut orders = db.subscribe("Order.*").from_start();
/// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(_)))));
/// assert!(matches!(orders.next(), Some(Ok(Delivery::CaughtUp(_)))));
/// assert!(orders.next_timeout(Duration::from_millis(1)).is_none());
///
/// db.append(NewEvent::new("Order.sent").on(("Order", 42)))?;
/// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(event))) if event.kind.last() == "sent"));
/// # Ok::<(), bygone::Error>(())
/// ```
#[must_use = "nothing is delivered before it is asked for"]
pub struct Subscription {
    pub(super) shared: Arc<Shared>,
    pub(super) plan: plan::SubscriptionPlan,
    /// Everything up to here has been looked at.
    after: Position,
    leg: Option<CatchUp>,
    caught_up: bool,
    names: NameCache,
    /// What ends it, and what is being read for it.
    end: Cancel,
    /// Kept so that it can be woken while it lives.
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
    /// What was wrong with what was said of it: told instead of the first delivery.
    fault: Option<Error>,
    /// On whose behalf a handler of it appends.
    pub(super) actor: Option<Entity>,
    /// Where its place is kept, if it has a name.
    pub(super) seat: Option<ReaderLease>,
    /// Where it ends, once the instant has passed until which it goes.
    last: Option<Position>,
    ended: bool,
    /// Of those that somebody opened, as long as they are open.
    open: Option<OpenSubscription>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription('{}' after {})", self.plan.pattern, self.after)
    }
}

impl Subscription {
    /// From where the plan says, or from now on.
    pub(crate) fn new(shared: Arc<Shared>, plan: plan::SubscriptionPlan) -> Subscription {
        let after = plan.from.unwrap_or_else(|| shared.log_progress.synced());
        Subscription {
            shared,
            plan,
            after,
            leg: None,
            caught_up: false,
            names: NameCache::default(),
            end: Cancel::new(),
            wake: None,
            fault: None,
            actor: None,
            seat: None,
            last: None,
            ended: false,
            open: None,
        }
    }

    /// One that somebody opens, and that is counted as such.
    pub(crate) fn counted(mut self) -> Subscription {
        self.open = Some(self.shared.counts.subscribe(self.after));
        self
    }

    /// Everything up to here has been looked at.
    fn is_at(&mut self, position: Position) {
        self.after = position;
        if let Some(open) = &self.open {
            open.is_at(position);
        }
    }

    /// On whose behalf a handler of it appends what has no actor.
    pub(crate) fn on_behalf_of(mut self, actor: Option<Entity>) -> Subscription {
        self.actor = actor;
        self
    }

    /// From the first event on.
    pub fn from_start(self) -> Subscription {
        self.after(Position::START)
    }

    /// From the event after this position on. One beyond the head is told as wrong instead of the first delivery: what comes next would
    /// be passed over.
    ///
    /// ```
    /// use bygone::{Db, Error, NewEvent, Pattern, Position};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut beyond = db.subscribe(Pattern::all()).after(Position(50));
    /// assert!(matches!(beyond.next(), Some(Err(Error::Missing(_)))));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn after(mut self, position: Position) -> Subscription {
        let head = self.shared.applied.head();
        if position > head {
            let item = MissingItem::Position { asked: position, head };
            return self.wrong(Missing::from(item).into());
        }
        self.plan.from = Some(position);
        self.is_at(position);
        self.leg = None;
        self
    }

    /// From the first event on that was recorded at this instant or later.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Pattern};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.created").on(("Order", 42)))?;
    /// let paid = db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let since = db.subscribe(Pattern::all()).since(paid.recorded).until_now();
    /// assert!(since.count() <= 2);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn since(self, time: Timestamp) -> Subscription {
        match plan::recorded_before(&self.shared.snapshot(), time) {
            Ok(position) => self.after(position),
            Err(error) => self.wrong(error),
        }
    }

    /// Ends after this position.
    pub fn until(mut self, position: Position) -> Subscription {
        self.plan.until = Some(SubscriptionEnd::Position(position));
        self
    }

    /// Ends with what there is by now: for work that drains what has gathered and leaves. `UNTIL NOW` of the language.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Pattern};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// assert_eq!(db.subscribe(Pattern::all()).from_start().until_now().count(), 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn until_now(self) -> Subscription {
        let head = self.shared.applied.head();
        self.until(head)
    }

    /// Ends after so many events.
    pub fn limit(mut self, events: u64) -> Subscription {
        self.plan.limit = Some(events);
        self
    }

    /// Only events with this index value, of an index or of their own: text, a number or a boolean. `BY name = value` of the language.
    ///
    /// What is wrong here is told instead of the first delivery.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Pattern};
    /// let db = Db::in_memory()?;
    /// for customer in ["c-7", "c-8"] {
    ///     db.append(NewEvent::new("Order.paid").on(("Order", customer)).index("customer", customer))?;
    /// }
    /// let theirs = db.subscribe(Pattern::all()).by("customer", "c-7").from_start().until_now();
    /// assert_eq!(theirs.count(), 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn by<T: Serialize>(self, name: &str, value: T) -> Subscription {
        let found = plan::tagged(&self.shared.snapshot(), name, &value);
        self.of(found)
    }

    /// Only events on behalf of this actor. `BY User ann` of the language.
    pub fn by_actor(self, actor: impl Into<Entity>) -> Subscription {
        let actor = actor.into();
        self.of(actor.check().map(|()| By::Actor(actor)))
    }

    /// Only events in the history of this entity.
    pub fn on(self, target: impl Into<Entity>) -> Subscription {
        let target = target.into();
        self.of(target.check().map(|()| By::Target(target)))
    }

    /// Only events of the chain of causes with this root.
    pub fn by_correlation(self, correlation: &str) -> Subscription {
        self.of(Ok(By::Correlation(correlation.to_owned())))
    }

    /// Only events that a condition holds for: what stands behind `WHERE` in the language. Values are given as parameters.
    ///
    /// What is wrong with it is told instead of the first delivery.
    ///
    /// ```
    /// use bygone::{Db, Delivery, NewEvent, Parameters, Pattern};
    /// let db = Db::in_memory()?;
    /// for total in [10, 30] {
    ///     db.append(NewEvent::new("Order.created").on(("Order", total)).member("total", total))?;
    /// }
    /// let least = Parameters::new().set("least", 20);
    /// let mut large = db.subscribe(Pattern::all()).matching("data.total > $least", &least).from_start();
    /// assert!(matches!(large.next(), Some(Ok(Delivery::Event(event))) if event.position.0 == 2));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn matching(mut self, condition: &str, parameters: &Parameters) -> Subscription {
        let now = self.shared.options.clock.now();
        match plan::event_condition(&self.shared.snapshot(), condition, parameters, now) {
            Ok(predicate) => self.plan.narrow(predicate),
            Err(error) => return self.wrong(error),
        }
        self
    }

    fn of(mut self, by: Result<By>) -> Subscription {
        match by {
            Ok(by) => self.plan.tags.push(by),
            Err(error) => return self.wrong(error),
        }
        self
    }

    /// Tells this instead of the first delivery, unless something else is told already.
    pub(crate) fn wrong(mut self, error: Error) -> Subscription {
        self.fault.get_or_insert(error);
        self
    }

    /// An error if something wrong was said.
    pub(super) fn checked(mut self) -> Result<Subscription> {
        match self.fault.take() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Ends when this handle is cancelled.
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Subscription {
        let shared = self.shared.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || shared.log_progress.wake());
        self.end = Cancel::among(vec![std::mem::take(&mut self.end), cancel.clone()]);
        self.end.on_cancel(&wake);
        self.wake = Some(wake);
        self
    }

    /// Everything up to here has been looked at.
    pub(super) fn place(&self) -> Position {
        self.after
    }

    /// The pattern of the types it delivers.
    pub fn pattern(&self) -> &Pattern {
        &self.plan.pattern
    }

    /// Waits for the next delivery, at most so long. None means that nothing came in time, or that it has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Delivery>> {
        self.advance(Instant::now().checked_add(timeout))
    }

    /// There will be nothing more: it is open no longer, however long somebody keeps it.
    fn finish(&mut self) {
        self.ended = true;
        self.open = None;
    }

    /// Whether there will be nothing more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Delivers on a channel, from a thread of its own: to select on several. When the receiver is dropped, it ends with the next
    /// delivery; cancel it to end it at once.
    ///
    /// ```
    /// use bygone::{Db, Delivery, NewEvent};
    /// let db = Db::in_memory()?;
    /// let orders = db.subscribe("Order.*").channel(16)?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// crossbeam_channel::select! {
    ///     recv(orders) -> delivery => assert!(matches!(delivery.unwrap()?, Delivery::CaughtUp(_) | Delivery::Event(_))),
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn channel(mut self, capacity: usize) -> Result<Receiver<Result<Delivery>>> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        self = self.checked()?;
        let pump = move || {
            for delivery in self.by_ref() {
                if sender.send(delivery).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("bygone-subscription".to_owned()).spawn(pump);
        thread.map_err(|e| Error::io("starting a subscription", e))?;
        Ok(receiver)
    }

    fn advance(&mut self, deadline: Option<Instant>) -> Option<Result<Delivery>> {
        if let Some(fault) = self.fault.take() {
            self.finish();
            return Some(Err(fault));
        }
        while !self.ended {
            if self.end.is_cancelled() || self.plan.limit == Some(0) {
                break;
            }
            if let Err(error) = self.end.check() {
                self.finish();
                return Some(Err(error));
            }
            match self.next_of_leg() {
                Ok(None) => {}
                // An event is large: it is handed on as seldom as may be.
                Ok(Some(event)) => return Some(Ok(Delivery::Event(event))),
                Err(_) if self.shared.log_progress.is_closed() || self.end.is_cancelled() => break,
                Err(error) => {
                    self.finish();
                    return Some(Err(error));
                }
            }
            let synced = self.shared.log_progress.synced();
            let goal = match self.plan.until {
                Some(SubscriptionEnd::Position(until)) => until.min(synced),
                _ => synced,
            };
            if self.after < goal {
                match CatchUp::begin(&self.shared, &self.plan, &self.end, self.after, goal) {
                    Ok(leg) => self.leg = Some(leg),
                    Err(error) => {
                        self.finish();
                        return Some(Err(error));
                    }
                }
                continue;
            }
            if self.is_over() {
                break;
            }
            if !self.caught_up {
                self.caught_up = true;
                return Some(Ok(Delivery::CaughtUp(self.after)));
            }
            let wake = [deadline, self.end.deadline(), self.last_instant()].into_iter().flatten().min();
            match self.shared.log_progress.wait_past(self.after, wake, &|| self.end.is_cancelled()) {
                WaitResult::To(_) => {}
                WaitResult::TimedOut if self.is_over() => break,
                WaitResult::TimedOut if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return None;
                }
                WaitResult::TimedOut => {}
                WaitResult::Closed => break,
            }
        }
        self.finish();
        None
    }

    /// Whether nothing that comes from now on is wanted.
    fn is_over(&mut self) -> bool {
        match self.plan.until {
            Some(SubscriptionEnd::Position(until)) => self.after >= until,
            Some(SubscriptionEnd::Recorded(until)) => {
                if self.last.is_none() && self.shared.options.clock.now() >= until {
                    // What was recorded before is in the log once those who append now are through; the disk may have it later.
                    self.shared.commits.commit_barrier();
                    self.last = Some(self.shared.applied.head());
                }
                self.last.is_some_and(|last| self.after >= last)
            }
            None => false,
        }
    }

    /// When `is_over` is to be asked again.
    fn last_instant(&self) -> Option<Instant> {
        let (Some(SubscriptionEnd::Recorded(until)), None) = (self.plan.until, self.last) else {
            return None;
        };
        Instant::now().checked_add(self.shared.options.clock.until(until))
    }

    #[inline]
    fn next_of_leg(&mut self) -> Result<Option<Event>> {
        let Some(leg) = &mut self.leg else { return Ok(None) };
        if let Some(stored) = leg.next(&self.shared, &self.plan)? {
            self.after = stored.position();
            if let Some(open) = &self.open {
                open.is_at(self.after);
            }
            if matches!(self.plan.until, Some(SubscriptionEnd::Recorded(until)) if stored.recorded() >= until)
            {
                self.finish();
                return Ok(None);
            }
            self.plan.limit = self.plan.limit.map(|left| left - 1);
            if let Some(seat) = &self.seat {
                seat.place.deliver(self.after);
            }
            return stored.to_event(&mut self.names).map(Some);
        }
        let goal = leg.goal();
        self.is_at(goal);
        self.leg = None;
        if let Some(seat) = &self.seat {
            seat.place.look(self.after);
        }
        Ok(None)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // What is being read ahead for it is not wanted any more.
        self.end.cancel();
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.advance(None)
    }
}
