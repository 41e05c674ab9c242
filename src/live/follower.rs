//! Following: how a reaction, a webhook or a schedule goes along the log, from its cursor on.
//!
//! One event after the other is handed to a [`FollowerTask`], in the order of the log, when it is due. What fails is tried again, and holds back
//! this follower alone; after the last try it is set aside, and the next is taken. `RETRY` and `SKIP` are events about the
//! program, which are heard between two others. The cursor moves in the background, so that a crash may have the last
//! events handed out once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::effect_counts::EffectCounts;
use super::subscribe::{Delivery, Subscription};
use crate::cancel::Cancel;
use crate::entity::{AtomicPosition, NameText, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::exec::dead_letter::{self, DeadLetterRecord, Resolution};
use crate::plan;
use crate::store::append_request::{ANY_CONTENT, AppendOutcome, AppendRequest};
use crate::store::catalog::Program;
use crate::store::cursor::{self, Cursor};
use crate::store::index::term::Term;
use crate::store::log_progress::WaitResult;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::{Report, Shared};
use crate::telemetry::span;
use crate::time::Timestamp;

/// The clock may be set, and a test's does as it likes: it is looked at so often at least.
const LOOK: Duration = Duration::from_millis(500);

/// What a follower does with the events it comes to.
pub(crate) trait FollowerTask {
    /// Which events.
    fn wanted(&self) -> &plan::SubscriptionPlan;

    /// When it is to be done, if not at once.
    fn due(&self, _event: &Event) -> Option<Timestamp> {
        None
    }

    /// Does it. Doing it again has no other effect.
    fn handle(&mut self, follower: &Follower, event: &Event) -> Result<(), StepFailure>;
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum StepFailure {
    /// It may be done later.
    Error(Error),
    /// It will not be, however often it is tried.
    Hopeless(Error),
}

impl From<Error> for StepFailure {
    fn from(error: Error) -> StepFailure {
        StepFailure::Error(error)
    }
}

/// It is to end: the program was dropped or defined anew, or the database is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

/// What was said of events, each time last.
#[derive(Debug, Default)]
struct DeadLetterMarks {
    aside: BTreeMap<u64, DeadLetterRecord>,
    retried: BTreeSet<u64>,
    skipped: BTreeSet<u64>,
}

/// A program on its way along the log.
pub(crate) struct Follower {
    pub shared: Arc<Shared>,
    pub program: Arc<Program>,
    pub cancel: Cancel,
    /// What reactions made of events so far, all of them together.
    pub brought: Arc<EffectCounts>,
    /// Where the newest event about the program is.
    newest: Arc<AtomicPosition>,
    who: cursor::CursorOwner,
    /// What was said to it up to here is done.
    heard: Position,
    /// What was said to it up to here is being done.
    hearing: Option<Position>,
    /// What is set aside.
    aside: BTreeMap<u64, DeadLetterRecord>,
    /// Events behind its place that were skipped: a crash may have taken the place back.
    skipped: BTreeSet<u64>,
    halted: bool,
}

impl Follower {
    pub fn new(
        shared: Arc<Shared>,
        program: Arc<Program>,
        cancel: Cancel,
        newest: Arc<AtomicPosition>,
    ) -> Follower {
        let who = cursor::CursorOwner::of(&program);
        Follower {
            shared,
            program,
            cancel,
            brought: Arc::default(),
            newest,
            who,
            heard: Position::START,
            hearing: None,
            aside: BTreeMap::new(),
            skipped: BTreeSet::new(),
            halted: false,
        }
    }

    /// Goes along the log until it is to end. `start` is where one begins that has no place yet.
    pub fn follow(&mut self, work: &mut dyn FollowerTask, start: Position) -> Result<Ended> {
        let place = self.begin(start)?;
        let mut after = place.position;
        loop {
            if self.has_ended() || self.hear(work).is_err() {
                return Ok(Ended);
            }
            let goal = self.shared.log_progress.synced();
            if goal <= after {
                self.wait_past(after, None);
                continue;
            }
            let wanted = plan::SubscriptionPlan { from: Some(after), ..work.wanted().clone() };
            let events = Subscription::new(self.shared.clone(), wanted);
            for delivery in events.until(goal).cancelled_by(&self.cancel) {
                let Delivery::Event(event) = delivery? else { continue };
                let ready = self.wait_until(work, &event).and_then(|()| self.rest(work));
                if ready.is_err() || self.has_ended() || self.take(work, &event).is_err() {
                    return Ok(Ended);
                }
                after = event.position;
                self.move_to(after);
            }
            if self.has_ended() {
                return Ok(Ended);
            }
            after = goal;
            self.move_to(after);
        }
    }

    /// Where it was, or where it begins.
    pub fn begin(&mut self, start: Position) -> Result<Cursor> {
        let snapshot = self.shared.snapshot();
        self.aside = dead_letter::set_aside(&snapshot, &self.program)?;
        if let Some(cursor) = self.shared.cursors.get(&self.who)? {
            self.heard = cursor.heard;
            // What is said of an event stands behind it, and behind where the program began. (The place of a schedule is none in the log.)
            let after = match self.program.kind.goes_by_time() {
                true => self.program.origin,
                false => cursor.position.max(self.program.origin),
            };
            self.skipped = self.said(&snapshot, after, snapshot.head())?.skipped;
            return Ok(cursor);
        }
        self.heard = self.program.origin;
        let cursor = Cursor::new(start, self.heard, String::new());
        self.shared.cursor_writer.create(&self.who, cursor.clone())?;
        Ok(cursor)
    }

    /// Everything up to here is done.
    pub fn move_to(&self, position: Position) {
        self.shared.cursors.change(&self.who, |cursor| cursor.position = cursor.position.max(position));
    }

    /// Whether it is to end.
    pub fn has_ended(&self) -> bool {
        self.cancel.is_cancelled() || self.shared.log_progress.is_closed() || self.is_replaced()
    }

    /// Whether it is not defined any more, or otherwise: that holds at once, and whoever ends it may be slow.
    fn is_replaced(&self) -> bool {
        let catalog = self.shared.applied.catalog();
        let now = catalog.program(self.program.kind, &self.program.name);
        now.is_none_or(|now| now.position != self.program.position)
    }

    /// What it struggled with is no more of interest where another definition has its place.
    pub fn leave(&self) {
        if self.is_replaced() {
            self.shared.cursors.set_trouble(&self.who, None);
        }
    }

    /// It has stopped for now.
    pub fn stopped(&self, why: &str) {
        self.shared.cursors.set_trouble(&self.who, Some(format!("it has stopped: {why}")));
    }

    /// Commits a group.
    pub fn commit(&self, group: AppendRequest) -> Result<AppendOutcome> {
        self.shared.commits.append(group)
    }

    /// The log as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot().cancelled_by(&self.cancel)
    }

    /// Tells whoever runs the database.
    pub fn report(&self, position: Option<Position>, text: String) {
        report(&self.shared, &self.program, position, text);
    }

    /// Waits until the log moves past a position, something is said to it, or the instant.
    pub fn wait_past(&self, position: Position, until: Option<Instant>) -> WaitResult {
        self.shared
            .log_progress
            .wait_past(position, until, &|| self.cancel.is_cancelled() || self.is_called())
    }

    /// Waits so long. What is said to it meanwhile is heard later.
    pub fn pause(&mut self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        while !self.has_ended() {
            if Instant::now() >= until {
                return Ok(());
            }
            self.shared.log_progress.wait_past(Position::MAX, Some(until), &|| self.cancel.is_cancelled());
        }
        Err(Ended)
    }

    /// Waits until the clock comes to a time, or something happens.
    pub fn wait_for(&self, time: Timestamp) {
        let left = self.shared.options.clock.until(time).min(LOOK);
        self.wait_past(self.shared.log_progress.synced(), Some(Instant::now() + left));
    }

    /// Waits until an event is due. What is said to it meanwhile is heard.
    fn wait_until(&mut self, work: &mut dyn FollowerTask, event: &Event) -> Result<(), Ended> {
        loop {
            self.hear(work)?;
            // What is to be done at once does not wait for a clock that was set back.
            let Some(due) = work.due(event) else { return Ok(()) };
            let now = self.shared.options.clock.now();
            if now >= due {
                return Ok(());
            }
            if self.has_ended() {
                return Err(Ended);
            }
            self.wait_for(due);
        }
    }

    /// Has an event handled, as often as it takes; or sets it aside.
    fn take(&mut self, work: &mut dyn FollowerTask, event: &Event) -> Result<(), Ended> {
        self.attempt(event.position, |follower| work.handle(follower, event))
    }

    /// Does what is to be done about a trigger, as often as it takes; or sets it aside.
    pub fn attempt(
        &mut self,
        trigger: Position,
        mut handle: impl FnMut(&Follower) -> Result<(), StepFailure>,
    ) -> Result<(), Ended> {
        if self.is_aside(trigger.0) {
            return Ok(());
        }
        let mut attempt = 1;
        let (counts, kind) = (self.shared.counts.clone(), self.program.kind.word());
        loop {
            let span = span::program(kind, &self.program.name, trigger.0, attempt);
            let handled = {
                let _within = span.enter();
                handle(self)
            };
            // What fails because of the end is no failure.
            if handled.is_ok() || !self.has_ended() {
                counts.program(kind).tried(attempt, handled.is_ok());
            }
            let failure = match handled {
                Ok(()) => {
                    if attempt > 1 {
                        self.shared.cursors.set_trouble(&self.who, None);
                    }
                    return Ok(());
                }
                Err(_) if self.has_ended() => return Err(Ended),
                Err(failure) => failure,
            };
            let (StepFailure::Error(error) | StepFailure::Hopeless(error)) = &failure;
            let shown = dead_letter::shown(self.program.kind, trigger);
            let retries = self.shared.options.retries;
            let pause = match &failure {
                StepFailure::Error(_) if attempt < retries.attempts => Some(retries.pause(attempt)),
                _ => None,
            };
            let next = pause.map(|pause| self.shared.options.clock.now().saturating_add(pause));
            self.shared.cursors.set_trouble(&self.who, Some(trouble(shown, attempt, next, &error)));
            match (pause, failure) {
                (Some(pause), _) => self.pause(pause)?,
                (None, StepFailure::Error(error) | StepFailure::Hopeless(error)) => {
                    return self.set_aside(trigger, &error, attempt.into());
                }
            }
            attempt += 1;
        }
    }

    /// Sets an event aside: that is an event, too.
    pub fn set_aside(&mut self, trigger: Position, error: &Error, attempts: u64) -> Result<(), Ended> {
        let heard = self.hearing.unwrap_or(self.heard);
        let said = dead_letter::failed(&self.program, trigger, error, attempts);
        let key = format!(
            "${} {} {} failed {} {}",
            self.program.kind.word(),
            self.program.name,
            self.program.origin.0,
            trigger.0,
            heard.0
        );
        // Until it is said, nothing goes on: what is not said would be lost.
        let mut attempt = 1;
        while let Err(error) = said.clone().and_then(|said| self.say(said, &key)) {
            if self.has_ended() {
                return Err(Ended);
            }
            let trouble = format!("cannot say that {trigger} is set aside: {error}");
            self.shared.cursors.set_trouble(&self.who, Some(trouble.clone()));
            self.report(Some(trigger), trouble);
            self.pause(self.shared.options.retries.pause(attempt))?;
            attempt = attempt.saturating_add(1);
        }
        self.aside.insert(trigger.0, DeadLetterRecord { error: error.to_string(), attempts });
        self.shared.counts.program(self.program.kind.word()).set_aside.add(1);
        self.shared.cursors.set_trouble(&self.who, None);
        let name = NameText(&self.program.name);
        let word = self.program.kind.word().to_uppercase();
        let shown = dead_letter::shown(self.program.kind, trigger);
        self.report(
            Some(trigger).filter(|_| !self.program.kind.goes_by_time()),
            format!(
                "set aside {shown}, {error} (tried {attempts}×; RETRY {word} {name} {trigger}, or SKIP it)"
            ),
        );
        Ok(())
    }

    fn say(&self, event: NewEvent, key: &str) -> Result<AppendOutcome> {
        self.commit(AppendRequest {
            events: vec![event],
            key: Some(key.to_owned()),
            content: Some(ANY_CONTENT),
            internal: true,
            ..AppendRequest::default()
        })
    }

    /// Whether something was said to it that it has not heard.
    pub fn is_called(&self) -> bool {
        self.newest.load(Ordering::Acquire) > self.heard
    }

    /// Which events are to be tried again, as was said since it heard last; and up to where that was said.
    pub fn called(&mut self) -> Result<(Vec<u64>, Position)> {
        let newest = self.newest.load(Ordering::Acquire);
        let DeadLetterMarks { aside, retried, skipped } = self.said(&self.snapshot(), self.heard, newest)?;
        for position in retried.iter().chain(&skipped) {
            self.aside.remove(position);
        }
        self.skipped.retain(|position| !retried.contains(position) && !aside.contains_key(position));
        self.skipped.extend(skipped);
        self.aside.extend(aside);
        Ok((retried.into_iter().collect(), newest))
    }

    /// What was said of each event in a stretch, by what was said of it last.
    fn said(&self, snapshot: &Snapshot, after: Position, through: Position) -> Result<DeadLetterMarks> {
        let mut told = DeadLetterMarks::default();
        let term = Term::entity(&self.program.target()?)?;
        for position in snapshot.list(term, PositionRange::between(after, through), ScanDirection::Ascending)
        {
            let Some(event) = snapshot.event(position?)? else { continue };
            for (position, fate) in dead_letter::said(&event) {
                told.aside.remove(&position);
                told.retried.remove(&position);
                told.skipped.remove(&position);
                match fate {
                    Resolution::SetAside(aside) => drop(told.aside.insert(position, aside)),
                    Resolution::Again => drop(told.retried.insert(position)),
                    Resolution::Never => drop(told.skipped.insert(position)),
                }
            }
        }
        Ok(told)
    }

    /// What was said up to here is done.
    pub fn has_heard(&mut self, through: Position) {
        (self.heard, self.hearing) = (self.heard.max(through), None);
        self.shared.cursors.change(&self.who, |cursor| cursor.heard = cursor.heard.max(through));
    }

    /// What was said up to here is being done: the cursor says when it is.
    #[cfg_attr(not(feature = "webhooks"), allow(dead_code))]
    pub fn has_listened(&mut self, through: Position) {
        self.heard = self.heard.max(through);
    }

    /// Whether an event is not to be handled: it is set aside, or was skipped.
    pub fn is_aside(&self, position: u64) -> bool {
        self.aside.contains_key(&position) || self.skipped.contains(&position)
    }

    /// Hears what was said to it, and does that.
    fn hear(&mut self, work: &mut dyn FollowerTask) -> Result<(), Ended> {
        self.hear_with(|follower, position| match follower.snapshot().event(Position(position)) {
            Ok(Some(event)) => follower.take(work, &event),
            Ok(None) | Err(_) => Ok(()),
        })
    }

    /// Hears what was said to it, and does about each trigger what is to be done.
    pub fn hear_with(
        &mut self,
        mut again: impl FnMut(&mut Follower, u64) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        while self.is_called() {
            let (wanted, through) = match self.called() {
                Ok(called) => called,
                Err(error) => {
                    self.report(None, format!("cannot read what was said to it: {error}"));
                    self.pause(self.shared.options.retries.pause(u32::MAX))?;
                    continue;
                }
            };
            let place = self
                .shared
                .cursors
                .get(&self.who)
                .ok()
                .flatten()
                .map_or(Position::START, |cursor| cursor.position);
            self.hearing = Some(through);
            for position in wanted {
                // One that is set aside again, or still to come, is not for now.
                if Position(position) > place || self.is_aside(position) {
                    continue;
                }
                again(self, position)?;
            }
            self.has_heard(through);
        }
        Ok(())
    }

    /// Waits while too much is set aside.
    fn rest(&mut self, work: &mut dyn FollowerTask) -> Result<(), Ended> {
        while self.is_halted() {
            self.wait_past(self.shared.log_progress.synced(), None);
            if self.has_ended() {
                return Err(Ended);
            }
            self.hear(work)?;
        }
        Ok(())
    }

    /// Whether so much is set aside that nothing more may be: it says so, and waits.
    pub fn is_halted(&mut self) -> bool {
        let is_halted = self.aside.len() >= dead_letter::MOST;
        if is_halted && !self.halted {
            let (word, name) = (self.program.kind.word().to_uppercase(), NameText(&self.program.name));
            let text = format!(
                "{} events are set aside: it waits for RETRY {word} {name}, or SKIP",
                dead_letter::MOST
            );
            self.report(None, text);
        }
        self.halted = is_halted;
        is_halted
    }
}

/// What a follower struggles with: an event, how often it was tried, when it is tried next, and why not before.
pub(super) fn trouble(
    event: impl fmt::Display,
    attempts: u32,
    next: Option<Timestamp>,
    why: &impl fmt::Display,
) -> String {
    let next = next
        .map_or_else(String::new, |next| format!(", next at {}", Timestamp::from_millis(next.as_millis())));
    format!("{event}, tried {attempts}×{next}: {why}")
}

/// Tells whoever runs the database.
pub(super) fn report(shared: &Shared, program: &Program, position: Option<Position>, text: String) {
    if let Some(listener) = &shared.options.listener {
        let report = Report { what: program.kind.word(), name: program.name.clone(), position, text };
        // Whoever listens is not to end what runs.
        let _ = catch_unwind(AssertUnwindSafe(|| listener(&report)));
    }
}

#[cfg(test)]
mod tests;
