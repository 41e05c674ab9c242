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
use crate::event::{Event, codec};
use crate::pattern::Pattern;
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
    pattern: Pattern,
    filter: Option<Filter>,
    /// Everything up to here has been looked at.
    after: u64,
    /// It ends here.
    until: Option<u64>,
    limit: Option<u64>,
    leg: Option<LogScan>,
    caught_up: bool,
    cancel: Cancel,
    ended: bool,
}

type Filter = Box<dyn Fn(&Event) -> bool + Send>;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription('{}' after #{})", self.pattern, self.after)
    }
}

impl Subscription {
    /// From now on, until something changes that.
    pub(crate) fn new(shared: Arc<Shared>, pattern: Pattern) -> Subscription {
        let after = shared.watch.synced();
        Subscription {
            shared,
            pattern,
            filter: None,
            after,
            until: None,
            limit: None,
            leg: None,
            caught_up: false,
            cancel: Cancel::new(),
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
        self.until = Some(position.0);
        self
    }

    /// Ends after so many events.
    pub fn limit(mut self, events: u64) -> Subscription {
        self.limit = Some(events);
        self
    }

    /// Ends when this handle is cancelled.
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Subscription {
        self.cancel = cancel.clone();
        let shared = Arc::downgrade(&self.shared);
        cancel.on_cancel(move || {
            if let Some(shared) = shared.upgrade() {
                shared.watch.wake();
            }
        });
        self
    }

    /// Delivers only what this holds for.
    pub fn filter(mut self, filter: impl Fn(&Event) -> bool + Send + 'static) -> Subscription {
        self.filter = Some(Box::new(filter));
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

    /// Delivers on a channel, from a thread of its own: to select on several. Drop the receiver to end it.
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
            while let Some(delivery) = self.next() {
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
            if self.cancel.is_cancelled() || self.limit == Some(0) {
                break;
            }
            match self.next_of_leg() {
                Some(Ok(event)) => {
                    self.limit = self.limit.map(|left| left - 1);
                    return Some(Ok(Delivery::Event(event)));
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => {}
            }
            let synced = self.shared.watch.synced();
            let goal = self.until.map_or(synced, |until| until.min(synced));
            if self.after < goal {
                let snapshot = self.shared.snapshot();
                self.leg = Some(snapshot.log(self.after + 1, goal, Direction::Ascending));
                continue;
            }
            if self.until.is_some_and(|until| self.after >= until) {
                break;
            }
            if !self.caught_up {
                self.caught_up = true;
                return Some(Ok(Delivery::CaughtUp(Position(self.after))));
            }
            let cancel = self.cancel.clone();
            match self.shared.watch.wait_past(self.after, deadline, &|| cancel.is_cancelled()) {
                Moved::To(_) => {}
                Moved::TimedOut => return None,
                Moved::Closed => break,
            }
        }
        self.ended = true;
        None
    }

    fn next_of_leg(&mut self) -> Option<Result<Event>> {
        while let Some(row) = self.leg.as_mut()?.next() {
            let decoded = row.and_then(|(position, bytes)| {
                self.after = position;
                codec::decode(Position(position), bytes)
            });
            match decoded {
                Ok(event) if !self.wants(&event) => {}
                other => return Some(other),
            }
        }
        self.leg = None;
        None
    }

    fn wants(&self, event: &Event) -> bool {
        self.pattern.matches(&event.kind) && self.filter.as_ref().is_none_or(|filter| filter(event))
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Result<Delivery>> {
        self.advance(None)
    }
}
