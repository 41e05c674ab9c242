//! Subscriptions: from a place in the past into the live present, losing none.
//!
//! A subscription reads the log, not a copy that somebody pushes: whoever is slow loses nothing and holds up nobody. It goes in legs:
//! everything up to what is durable now, then the next leg. When the first leg is done it says so once, and then waits.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event::record::Record;
use crate::exec::Scan;
use crate::plan::{self, Until};
use crate::store::Shared;
use crate::store::snapshot::{Direction, LogScan};
use crate::store::watch::Moved;

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
/// use bygone::{Db, Delivery, NewEvent, Pattern};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
///
/// let mut orders = db.subscribe("Order.*".parse::<Pattern>()?).from_start();
/// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(_)))));
/// assert!(matches!(orders.next(), Some(Ok(Delivery::CaughtUp(_)))));
/// assert!(orders.next_timeout(Duration::from_millis(1)).is_none());
///
/// db.append(NewEvent::new("Order.sent").on(("Order", 42)))?;
/// assert!(matches!(orders.next(), Some(Ok(Delivery::Event(event))) if event.kind.last() == "sent"));
/// # Ok::<(), bygone::Error>(())
/// ```
pub struct Subscription {
    shared: Arc<Shared>,
    plan: plan::Subscription,
    /// Everything up to here has been looked at.
    after: u64,
    leg: Option<Leg>,
    caught_up: bool,
    cancel: Cancel,
    /// Kept so that the handle can wake it while it lives.
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
    ended: bool,
}

/// A stretch of the log that is being read, up to a position.
struct Leg {
    goal: u64,
    events: Feed,
}

enum Feed {
    /// Of what is wanted.
    Found(Box<Scan>),
    /// Of everything.
    Every(LogScan),
}

/// A leg longer than this is read by way of the indexes, if they lead to what is wanted.
const LONG: u64 = 256;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription('{}' after #{})", self.plan.pattern, self.after)
    }
}

impl Subscription {
    /// From where the plan says, or from now on.
    pub(crate) fn new(shared: Arc<Shared>, plan: plan::Subscription) -> Subscription {
        let after = plan.from.map_or_else(|| shared.watch.synced(), |from| from.0);
        Subscription {
            shared,
            plan,
            after,
            leg: None,
            caught_up: false,
            cancel: Cancel::new(),
            wake: None,
            ended: false,
        }
    }

    /// From the first event on.
    pub fn from_start(self) -> Subscription {
        self.after(Position::START)
    }

    /// From the event after this position on.
    pub fn after(mut self, position: Position) -> Subscription {
        self.after = position.0;
        self.leg = None;
        self
    }

    /// Ends after this position.
    pub fn until(mut self, position: Position) -> Subscription {
        self.plan.until = Some(Until::Position(position));
        self
    }

    /// Ends after so many events.
    pub fn limit(mut self, events: u64) -> Subscription {
        self.plan.limit = Some(events);
        self
    }

    /// Ends when this handle is cancelled.
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Subscription {
        self.cancel = cancel.clone();
        let shared = self.shared.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || shared.watch.wake());
        cancel.on_cancel(&wake);
        self.wake = Some(wake);
        self
    }

    /// Waits for the next delivery, at most so long. None means that nothing came in time, or that it has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Delivery>> {
        self.advance(Instant::now().checked_add(timeout))
    }

    /// Whether there will be nothing more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Delivers on a channel, from a thread of its own: to select on several. When the receiver is dropped, it ends with the next
    /// delivery; cancel it to end it at once.
    ///
    /// ```
    /// use bygone::{Db, Delivery, NewEvent, Pattern};
    /// let db = Db::in_memory()?;
    /// let orders = db.subscribe("Order.*".parse::<Pattern>()?).channel(16)?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// crossbeam_channel::select! {
    ///     recv(orders) -> delivery => assert!(matches!(delivery.unwrap()?, Delivery::CaughtUp(_) | Delivery::Event(_))),
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn channel(mut self, capacity: usize) -> Result<Receiver<Result<Delivery>>> {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
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
        while !self.ended {
            if self.cancel.is_cancelled() || self.plan.limit == Some(0) {
                break;
            }
            if let Err(error) = self.cancel.check() {
                self.ended = true;
                return Some(Err(error));
            }
            if let Some(next) = self.next_of_leg().transpose() {
                self.ended = next.is_err();
                if self.ended && self.shared.watch.is_closed() {
                    break;
                }
                return Some(next.map(Delivery::Event));
            }
            let synced = self.shared.watch.synced();
            let goal = match self.plan.until {
                Some(Until::Position(until)) => until.0.min(synced),
                _ => synced,
            };
            if self.after < goal {
                match self.begin_leg(goal) {
                    Ok(leg) => self.leg = Some(leg),
                    Err(error) => {
                        self.ended = true;
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
                return Some(Ok(Delivery::CaughtUp(Position(self.after))));
            }
            let wake = [deadline, self.last_instant(), self.cancel.deadline()].into_iter().flatten().min();
            let cancel = self.cancel.clone();
            match self.shared.watch.wait_past(self.after, wake, &|| cancel.is_cancelled()) {
                Moved::To(_) => {}
                Moved::TimedOut if self.is_over() => break,
                Moved::TimedOut if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    return None;
                }
                Moved::TimedOut => {}
                Moved::Closed => break,
            }
        }
        self.ended = true;
        None
    }

    /// Whether nothing that comes from now on is wanted.
    fn is_over(&self) -> bool {
        match self.plan.until {
            Some(Until::Position(until)) => self.after >= until.0,
            Some(Until::Recorded(until)) => self.shared.options.clock.now() >= until,
            None => false,
        }
    }

    /// When `is_over` is to be asked again.
    fn last_instant(&self) -> Option<Instant> {
        let Some(Until::Recorded(until)) = self.plan.until else { return None };
        let left = until.as_millis().saturating_sub(self.shared.options.clock.now().as_millis());
        Instant::now().checked_add(Duration::from_millis(u64::try_from(left).unwrap_or(0) + 1))
    }

    fn begin_leg(&self, goal: u64) -> Result<Leg> {
        let snapshot = self.shared.snapshot().until(Position(goal));
        let events = if goal - self.after > LONG {
            Feed::Found(Box::new(Scan::past(&snapshot, &self.plan, Position(self.after))?))
        } else {
            Feed::Every(snapshot.log(self.after + 1, goal, Direction::Ascending))
        };
        Ok(Leg { goal, events })
    }

    fn next_of_leg(&mut self) -> Result<Option<Event>> {
        let Some(leg) = &mut self.leg else { return Ok(None) };
        if let Some(event) = leg.events.next(&self.plan)? {
            self.after = event.position.0;
            if matches!(self.plan.until, Some(Until::Recorded(until)) if event.recorded >= until) {
                self.ended = true;
                return Ok(None);
            }
            self.plan.limit = self.plan.limit.map(|left| left - 1);
            return Ok(Some(event));
        }
        self.after = leg.goal;
        self.leg = None;
        Ok(None)
    }
}

impl Feed {
    /// The next event that is wanted.
    fn next(&mut self, plan: &plan::Subscription) -> Result<Option<Event>> {
        match self {
            Feed::Found(scan) => scan.next().transpose(),
            Feed::Every(rows) => {
                for row in rows {
                    let (position, bytes) = row?;
                    let record = Record::open(Position(position), &bytes)?;
                    if plan.wants(&record) {
                        return record.to_event(&bytes).map(Some);
                    }
                }
                Ok(None)
            }
        }
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.advance(None)
    }
}
