//! Handlers: code that is told of events, one by one, on a thread of its own.
//!
//! A handler follows a subscription. What goes wrong in it, an error or a panic, stays in it: the event is tried again, later each
//! time, and then set aside, and the handler goes on with the next. Neither the handler nor its thread keeps the database open.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::event_context::EventContext;
use super::subscribe::{Delivery, Subscription};
use crate::cancel::Cancel;
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::store::log_progress::WaitResult;
use crate::store::place::SubscriptionCursor;
use crate::store::{Shared, locked};

/// How often an event is tried again before it is set aside, where nothing else is said.
const RETRIES: u32 = 5;
/// How long it is waited before it is tried again for the first time; each time after it is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// So many events are set aside at most.
const ASIDE: usize = 1000;

/// Who is told of what is set aside.
type DeadLetterCallback = Box<dyn FnMut(&DeadLetter) + Send>;

/// What a handler answers: nothing, or whether it went well.
pub trait HandlerResult {
    /// Why it did not go well.
    fn failure(self) -> Option<String>;
}

impl HandlerResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Display> HandlerResult for Result<T, E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// A handler to be, with what is said of it: [`Subscription::handler`].
///
/// ```
/// use std::time::Duration;
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// let handler = db
///     .subscribe("Order.*")
///     .from_start()
///     .until_now()
///     .handler()
///     .retries(2)
///     .pause(Duration::from_millis(1), Duration::from_millis(10))
///     .on_dead_letter(|aside| eprintln!("{} failed: {}", aside.position, aside.why))
///     .run(|event| if event.data.is_empty() { Err("no amount") } else { Ok(()) })?;
/// let report = handler.join()?;
/// assert_eq!(report.dead_letters[0].to_string(), "#1 Order.paid on Order 42: no amount (after 3 attempts)");
/// # Ok::<(), bygone::Error>(())
/// ```
#[must_use = "nothing is handled before it runs"]
pub struct HandlerBuilder {
    subscription: Subscription,
    retries: u32,
    pause: Duration,
    longest: Duration,
    on_dead_letter: Option<DeadLetterCallback>,
}

/// A dead letter: an event that a handler failed at each time it tried, and then set aside.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Where it is.
    pub position: Position,
    /// Its type.
    pub kind: EventType,
    /// Its target.
    pub target: Option<Entity>,
    /// What the handler said last, or what it panicked with.
    pub why: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.position, self.kind)?;
        if let Some(target) = &self.target {
            write!(f, " on {target}")?;
        }
        let s = if self.attempts == 1 { "" } else { "s" };
        write!(f, ": {} (after {} attempt{s})", self.why, self.attempts)
    }
}

/// What became of a handler so far.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct HandlerReport {
    /// Everything up to here has been handled or set aside, or is not of the pattern.
    pub position: Position,
    /// How many events went well.
    pub handled: u64,
    /// Those that failed each time and were set aside, in the order of the log.
    pub dead_letters: Vec<DeadLetter>,
}

/// A handler at work: [`Db::on`](crate::Db::on).
///
/// Dropping it ends the handler: what it is at goes on to its end, and it is told of no other event. That is not waited for; [`join`](Self::join)
/// waits. [`detach`](Self::detach) lets the handler go on without this handle, as long as the database is open.
#[must_use = "dropping it ends the handler; `detach` lets it go on"]
pub struct Handler {
    work: Arc<HandlerShared>,
    thread: ThreadId,
    detached: bool,
}

/// What a handler and its handle share.
struct HandlerShared {
    end: Cancel,
    told: Mutex<HandlerState>,
    ended: Condvar,
}

#[derive(Default)]
struct HandlerState {
    report: HandlerReport,
    /// Once it has ended: why, if not in good order.
    ended: Option<Result<()>>,
}

impl Subscription {
    /// A handler of what this delivers, to be run.
    pub fn handler(self) -> HandlerBuilder {
        HandlerBuilder {
            subscription: self,
            retries: RETRIES,
            pause: PAUSE,
            longest: LONGEST,
            on_dead_letter: None,
        }
    }
}

impl HandlerBuilder {
    /// How often an event that failed is tried again before it is set aside; 5 times, if nothing is said.
    pub fn retries(mut self, retries: u32) -> HandlerBuilder {
        self.retries = retries;
        self
    }

    /// How long it is waited before an event is tried again for the first time, which doubles each time, and at most: 100 ms and a
    /// minute, if nothing is said. The events behind it wait, too: they are told in order.
    pub fn pause(mut self, first: Duration, longest: Duration) -> HandlerBuilder {
        (self.pause, self.longest) = (first, longest);
        self
    }

    /// Calls this with each event that is set aside, on the thread of the handler, before it goes on. A panic in it ends the handler.
    ///
    /// The newest 1,000 of those events are kept to be asked for, too. Without this nobody may have heard of the others: a handler that
    /// sets aside one more, and of which nobody [takes](Handler::take_dead_letters) them, ends with an error.
    pub fn on_dead_letter(mut self, told: impl FnMut(&DeadLetter) + Send + 'static) -> HandlerBuilder {
        self.on_dead_letter = Some(Box::new(told));
        self
    }

    /// Begins to handle events, on a thread of its own. See [`Db::on`](crate::Db::on).
    pub fn run<R: HandlerResult>(
        self,
        handle: impl FnMut(&EventContext) -> R + Send + 'static,
    ) -> Result<Handler> {
        let HandlerBuilder { subscription, retries, pause, longest, on_dead_letter } = self;
        let end = Cancel::new();
        let subscription = subscription.checked()?.cancelled_by(&end);
        let work = Arc::new(HandlerShared { end, told: Mutex::default(), ended: Condvar::new() });
        let mut run = HandlerThread {
            shared: subscription.shared.clone(),
            actor: subscription.actor.clone(),
            place: subscription.seat.as_ref().map(|seat| seat.place.clone()),
            work: work.clone(),
            retries,
            pause,
            longest,
            on_dead_letter,
            handle,
        };
        let body = move || {
            let work = run.work.clone();
            // The handler has a net of its own; this one is for what tells of it.
            let ended = catch_unwind(AssertUnwindSafe(|| run.all(subscription)));
            // What the closure holds is gone before anybody is told that it ended.
            drop(run);
            work.end_with(ended.unwrap_or_else(|panic| Err(Error::stopped(said(&*panic)))));
        };
        let thread = thread::Builder::new().name("bygone-handler".to_owned()).spawn(body);
        let thread = thread.map_err(|e| Error::io("starting a handler", e))?;
        Ok(Handler { work, thread: thread.thread().id(), detached: false })
    }
}

impl fmt::Debug for HandlerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerBuilder({:?})", self.subscription)
    }
}

impl HandlerShared {
    fn end_with(&self, ended: Result<()>) {
        locked(&self.told).ended = Some(ended);
        self.ended.notify_all();
    }
}

/// A handler, on its thread.
struct HandlerThread<F> {
    shared: Arc<Shared>,
    actor: Option<Entity>,
    place: Option<SubscriptionCursor>,
    work: Arc<HandlerShared>,
    retries: u32,
    pause: Duration,
    longest: Duration,
    on_dead_letter: Option<DeadLetterCallback>,
    handle: F,
}

/// What became of an event.
enum HandlerOutcome {
    Handled,
    SetAside,
    /// The handler was ended before it came to one.
    Left,
}

impl<R: HandlerResult, F: FnMut(&EventContext) -> R> HandlerThread<F> {
    fn all(&mut self, subscription: Subscription) -> Result<()> {
        for delivery in subscription {
            let position = match delivery? {
                Delivery::CaughtUp(position) => position,
                Delivery::Event(event) => {
                    let position = event.position;
                    match self.one(event)? {
                        HandlerOutcome::Handled => locked(&self.work.told).report.handled += 1,
                        HandlerOutcome::SetAside => {}
                        HandlerOutcome::Left => return Ok(()),
                    }
                    // The handler may have closed the database.
                    if let Some(place) = self.place.as_ref().filter(|_| !self.shared.log_progress.is_closed())
                    {
                        place.acknowledge(position)?;
                    }
                    position
                }
            };
            locked(&self.work.told).report.position = position;
        }
        Ok(())
    }

    /// Handles an event, again and again if it has to be.
    fn one(&mut self, event: Event) -> Result<HandlerOutcome> {
        let end = self.work.end.clone();
        let occurrence = EventContext::new(event, self.shared.clone(), self.actor.clone(), end);
        let mut attempts = 0;
        let why = loop {
            attempts += 1;
            let Some(why) = self.attempt(&occurrence) else { return Ok(HandlerOutcome::Handled) };
            if attempts > self.retries {
                break why;
            }
            if !self.wait(attempts) {
                return Ok(HandlerOutcome::Left);
            }
        };
        let aside = DeadLetter {
            position: occurrence.position,
            kind: occurrence.kind.clone(),
            target: occurrence.target.clone(),
            why,
            attempts,
        };
        if let Some(told) = &mut self.on_dead_letter {
            told(&aside);
        } else if locked(&self.work.told).report.dead_letters.len() >= ASIDE {
            return Err(Error::stopped(format!(
                "{ASIDE} events are set aside, and there would be one more: {aside}; take_dead_letters makes room"
            )));
        }
        let dead_letters = &mut locked(&self.work.told).report.dead_letters;
        // Those that go have been told.
        let more = (dead_letters.len() + 1).saturating_sub(ASIDE);
        dead_letters.drain(..more);
        dead_letters.push(aside);
        Ok(HandlerOutcome::SetAside)
    }

    /// Why it failed, if it did.
    fn attempt(&mut self, occurrence: &EventContext) -> Option<String> {
        // What it leaves half-done is its own: it is told that a panic does not end it.
        match catch_unwind(AssertUnwindSafe(|| (self.handle)(occurrence).failure())) {
            Ok(failure) => failure,
            Err(panic) => Some(said(&*panic)),
        }
    }

    /// Waits before the next attempt; whether there is to be one.
    fn wait(&self, attempts: u32) -> bool {
        let doubled = 2u32.checked_pow(attempts - 1).and_then(|times| self.pause.checked_mul(times));
        let until = Instant::now().checked_add(doubled.unwrap_or(self.longest).min(self.longest));
        let end = &self.work.end;
        let moved = self.shared.log_progress.wait_past(Position::MAX, until, &|| end.is_cancelled());
        moved != WaitResult::Closed
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "it panicked".to_owned(), |text| format!("it panicked: {text}"))
}

impl Handler {
    /// What became of it so far.
    pub fn report(&self) -> HandlerReport {
        locked(&self.work.told).report.clone()
    }

    /// The events that were set aside since the last time; there is room for others then.
    pub fn take_dead_letters(&self) -> Vec<DeadLetter> {
        std::mem::take(&mut locked(&self.work.told).report.dead_letters)
    }

    /// Whether it is told of no more events: it was ended, its subscription came to its end, or the database is closed.
    pub fn has_ended(&self) -> bool {
        locked(&self.work.told).ended.is_some()
    }

    /// Ends it: it is told of no other event, and what it is at is not tried again. That is not waited for.
    pub fn stop(&self) {
        self.work.end.cancel();
    }

    /// Waits until it has ended, by itself or because it was [stopped](Self::stop), and tells what became of it.
    ///
    /// # Errors
    /// Why it ended, if not in good order: it could not read the log, or set aside as many events as it may. And if the handler itself
    /// waits for its end.
    pub fn join(self) -> Result<HandlerReport> {
        if thread::current().id() == self.thread {
            return Err(Error::stopped("a handler cannot wait for its own end"));
        }
        let mut told = locked(&self.work.told);
        loop {
            if let Some(ended) = &told.ended {
                return ended.clone().map(|()| told.report.clone());
            }
            told = self.work.ended.wait(told).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets it go on without this handle, until it ends by itself or the database is closed.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if !self.detached {
            self.work.end.cancel();
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handler").field(&self.report().position).finish()
    }
}
