//! Webhooks: events told to other systems over HTTP.
//!
//! Each is told at least once, and those of one target in their order. The life of a delivery: the log is read from the place that is
//! kept on; an event that is wanted goes to the lane of its target ([`partitions`]); there it is written in the form that was asked for,
//! [signed](signature) and [sent](client) by a [`sender`]. If it is not taken, it is tried again, ever later ([`backoff`]), and in the
//! end set aside, which is an event of its own. The place that is kept follows what is done ([`window`]).

mod backoff;
mod client;
mod partitions;
mod sender;
mod signature;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::follower::{self, Ended, Follower};
use super::subscribe::{Delivery, Subscription};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event::record::Record;
use crate::exec::reaction;
use crate::plan::{self, webhook::Webhook};
use crate::store::Shared;
use crate::store::cursor;
use crate::store::snapshot::Snapshot;
use backoff::Backoff;
use partitions::{News, Partitions, Rules};
use sender::WebhookSender;

/// How many events are told at a time.
const LANES: usize = 4;

/// How far they may run ahead of each other, in events.
const WINDOW: usize = 256;

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeliveryFailure {
    why: String,
    /// For how long the receiver asks to be left alone.
    asked: Option<Duration>,
    /// However often it is tried, it will not be.
    hopeless: bool,
}

impl DeliveryFailure {
    fn of(why: String) -> DeliveryFailure {
        DeliveryFailure { why, asked: None, hopeless: false }
    }

    fn hopeless(why: String) -> DeliveryFailure {
        DeliveryFailure { hopeless: true, ..DeliveryFailure::of(why) }
    }
}

/// An event that was tried often enough. Its lane waits until it is set aside.
struct GivenUp {
    position: u64,
    attempts: u32,
    why: String,
    done: Sender<()>,
}

/// Tells events until it is to end.
pub(super) fn run(follower: &mut Follower) -> Result<Ended> {
    let who = cursor::CursorOwner::of(&follower.program);
    let shared = follower.shared.clone();
    let ended = tell(follower, &who);
    match &ended {
        Ok(Ended) => shared.cursors.end_trouble(&who),
        Err(error) => shared.cursors.set_trouble(&who, Some(format!("it has ended: {error}"))),
    }
    ended
}

fn tell(follower: &mut Follower, who: &cursor::CursorOwner) -> Result<Ended> {
    let webhook = plan::webhook_definition(&follower.program.text)?;
    let place = follower.begin(reaction::start(&follower.program, &follower.snapshot())?)?;
    let shared = follower.shared.clone();
    let delivery = shared.options.delivery;
    let backoff = Backoff {
        first: delivery.first_pause,
        most: delivery.longest_pause,
        draw: Arc::new(backoff::random),
    };
    let rules = Rules { lanes: LANES, window: WINDOW, attempts: delivery.attempts, backoff };
    let bell = Arc::new(RetrySignal {
        shared: shared.clone(),
        rung: AtomicBool::new(false),
        wants_room: AtomicBool::new(false),
    });
    let lanes = Partitions::new(rules, place.position.0, place.heard.0, news(who, &bell));
    let (given_up, requests) = crossbeam_channel::unbounded();
    let ringing = bell.clone();
    let courier = WebhookSender::new(&shared, follower.program.clone(), &webhook, move |request| {
        // Only when all is over nobody is there to take it.
        let _ = given_up.send(request);
        ringing.ring();
    });
    let after = place.position.0;
    let mut dispatcher = Dispatcher { follower, webhook: &webhook, lanes: &lanes, requests, bell, after };
    thread::scope(|scope| {
        let mut started = Ok(());
        for lane in 0..lanes.count() {
            let thread = thread::Builder::new().name("bygone-webhook".to_owned());
            let (lanes, courier) = (&lanes, &courier);
            if let Err(error) = thread.spawn_scoped(scope, move || lanes.work(lane, courier)) {
                started = Err(Error::io("starting a lane of a webhook", error));
            }
        }
        let ended = started.and_then(|()| dispatcher.run());
        // Lanes that wait for one to be set aside wait no longer.
        drop(dispatcher);
        lanes.end();
        ended
    })
}

/// How lanes wake the dispatcher, who waits for the log.
struct RetrySignal {
    shared: Arc<Shared>,
    /// Something is to be looked at.
    rung: AtomicBool,
    /// The dispatcher waits for room in the lanes.
    wants_room: AtomicBool,
}

impl RetrySignal {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.shared.log_progress.wake();
        }
    }
}

/// What lanes call when something changed: the place moves, and the dispatcher is woken where that matters to it.
fn news(who: &cursor::CursorOwner, bell: &Arc<RetrySignal>) -> News {
    let (who, bell) = (who.clone(), bell.clone());
    Arc::new(move |lanes| {
        let (position, heard) = lanes.places();
        let cursors = &bell.shared.cursors;
        cursors.change(&who, |cursor| {
            cursor.position = cursor.position.max(Position(position));
            cursor.heard = cursor.heard.max(Position(heard));
        });
        let trouble = lanes.trouble().map(|trouble| {
            let left = trouble.next.saturating_duration_since(Instant::now());
            let next = bell.shared.options.clock.now().saturating_add(left);
            follower::trouble(Position(trouble.position), trouble.attempts, Some(next), &trouble.why)
        });
        cursors.set_trouble(&who, trouble);
        if lanes.has_ended() || bell.wants_room.load(Ordering::SeqCst) && lanes.has_much_room() {
            bell.ring();
        }
    })
}

/// Reads the log and hands out what is to be told.
struct Dispatcher<'r> {
    follower: &'r mut Follower,
    webhook: &'r Webhook,
    lanes: &'r Partitions,
    requests: Receiver<GivenUp>,
    bell: Arc<RetrySignal>,
    /// Everything up to here was handed out, or is not wanted.
    after: u64,
}

impl Dispatcher<'_> {
    fn run(&mut self) -> Result<Ended> {
        loop {
            self.bell.rung.store(false, Ordering::SeqCst);
            if self.follower.has_ended() {
                return Ok(Ended);
            }
            if let Some(error) = self.lanes.broken() {
                return Err(error);
            }
            if self.set_aside().is_err() {
                return Ok(Ended);
            }
            self.hear()?;
            let is_halted = self.follower.is_halted();
            let goal = self.follower.shared.log_progress.synced().0;
            let has_room = self.lanes.has_much_room();
            if has_room && !is_halted && goal > self.after {
                self.read(goal)?;
                continue;
            }
            self.bell.wants_room.store(!has_room, Ordering::SeqCst);
            let past = if has_room && !is_halted { self.after } else { u64::MAX };
            let is_called = || {
                self.bell.rung.load(Ordering::SeqCst)
                    || self.follower.cancel.is_cancelled()
                    || self.follower.is_called()
                    || !has_room && self.lanes.has_much_room()
            };
            self.follower.shared.log_progress.wait_past(Position(past), None, &is_called);
            self.bell.wants_room.store(false, Ordering::SeqCst);
        }
    }

    /// Hands out events up to a position, as many as there is room for.
    fn read(&mut self, goal: u64) -> Result<()> {
        let wanted =
            plan::SubscriptionPlan { from: Some(Position(self.after)), ..self.webhook.events.clone() };
        let events = Subscription::new(self.follower.shared.clone(), wanted).until(Position(goal));
        let own = self.follower.program.target()?;
        for delivery in events.cancelled_by(&self.follower.cancel) {
            let Delivery::Event(event) = delivery? else { continue };
            if self.follower.has_ended() {
                return Ok(());
            }
            self.after = event.position.0;
            // What is said about the webhook itself is not told by it: each failure would be one more event to tell.
            if event.target.as_ref() == Some(&own) || self.follower.is_aside(self.after) {
                self.lanes.pass(self.after);
            } else {
                self.lanes.hand(self.after, target(&event));
            }
            if !self.lanes.has_room() || self.bell.rung.load(Ordering::SeqCst) || self.follower.is_called() {
                return Ok(());
            }
        }
        if !self.follower.has_ended() {
            self.after = goal;
            self.lanes.pass(goal);
            self.follower.move_to(Position(self.lanes.places().0));
        }
        Ok(())
    }

    /// Sets aside what lanes gave up.
    fn set_aside(&mut self) -> Result<(), Ended> {
        while let Ok(GivenUp { position, attempts, why, done }) = self.requests.try_recv() {
            let error = Error::io("telling it", std::io::Error::other(why));
            if self.follower.set_aside(Position(position), &error, attempts.into()).is_err() {
                return Err(Ended);
            }
            // A lane that does not wait for it any more has ended.
            let _ = done.send(());
        }
        Ok(())
    }

    /// Hears what was said to it: what to tell again. (What is skipped is set aside no more, and that is all.)
    fn hear(&mut self) -> Result<()> {
        while self.follower.is_called() {
            let (again, through) = self.follower.called()?;
            let snapshot = self.follower.snapshot();
            for position in again {
                // One that is set aside again, or still to come, is not for now.
                if position > self.after || self.follower.is_aside(position) {
                    continue;
                }
                if let Some(event) = self.wanted(&snapshot, Position(position))? {
                    self.lanes.again(position, target(&event), through.0);
                }
            }
            self.lanes.hear(through.0);
            self.follower.has_listened(through);
        }
        Ok(())
    }
}

impl Dispatcher<'_> {
    /// An event that is to be told again, if it is one of those that are told by now.
    fn wanted(&self, snapshot: &Snapshot, position: Position) -> Result<Option<Event>> {
        let Some(bytes) = snapshot.encoded(position)? else { return Ok(None) };
        let record = Record::open(position, &bytes)?;
        match self.webhook.events.wants(&record, &snapshot.limits())? {
            true => snapshot.event(position),
            false => Ok(None),
        }
    }
}

fn target(event: &Event) -> Option<(&str, &str)> {
    event.target.as_ref().map(|target| (target.kind(), target.id()))
}
