//! Schedules: what happens as time goes by.
//!
//! The place of a schedule is the instant that it ran for last. What it does at an instant is one group, with a key made of its name, its
//! definition and the instant, so that an instant that comes twice, after a crash, has one effect. Instants that passed while
//! nobody ran it were missed: it runs once for all of them, at the last of them, and says so.

use std::time::Duration;

use super::follower::{Ended, Follower, StepFailure};
use super::reaction::refused_or_done;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::exec::dead_letter;
use crate::exec::reaction::ScheduleExecutor;
use crate::store::append_request::{ANY_CONTENT, AppendRequest};
use crate::store::cursor;
use crate::time::Timestamp;

/// What runs so much too late was missed.
const LATE: Duration = Duration::from_secs(10);

/// Runs a schedule until it is to end.
pub(super) fn run(follower: &mut Follower) -> Result<Ended> {
    let (text, position) = (&follower.program.text, follower.program.position);
    let schedule = ScheduleExecutor::new(text, follower.program.origin)?;
    let defined = follower.snapshot().event(position)?;
    let defined = defined.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
    let rhythm = schedule.rhythm(defined.recorded);
    let begun = place(defined.recorded);
    // A new definition has its own instants, the first of them behind it.
    let mut last = of(follower.begin(Position(begun))?.position.0.max(begun));
    follower.move_to(Position(place(last)));
    loop {
        if follower.has_ended() || hear(follower, &schedule).is_err() {
            return Ok(Ended);
        }
        let now = follower.shared.options.clock.now();
        let due = rhythm.last(now);
        if rhythm.between(due, last) > 1 {
            let text = format!(
                "ran for {last} last, but it is {now}: the clock was set back; it goes on at {}",
                rhythm.next(now)
            );
            follower.report(None, text);
            last = due;
            let who = cursor::CursorOwner::of(&follower.program);
            follower.shared.cursors.change(&who, |cursor| cursor.position = Position(place(due)));
        }
        if follower.is_halted() || due <= last {
            follower.wait_for(rhythm.next(now));
            continue;
        }
        let passed = rhythm.between(last, due);
        if (passed > 1 || now > due.saturating_add(LATE))
            && miss(follower, &schedule, rhythm.next(last), due, passed).is_err()
        {
            return Ok(Ended);
        }
        if follower.attempt(Position(place(due)), |follower| once(follower, &schedule, due)).is_err() {
            return Ok(Ended);
        }
        last = due;
        follower.move_to(Position(place(due)));
    }
}

/// Tries those again that are to be.
fn hear(follower: &mut Follower, schedule: &ScheduleExecutor) -> Result<(), Ended> {
    follower.hear_with(|follower, instant| {
        follower.attempt(Position(instant), |follower| once(follower, schedule, of(instant)))
    })
}

/// Does what is to be done at an instant.
fn once(follower: &Follower, schedule: &ScheduleExecutor, instant: Timestamp) -> Result<(), StepFailure> {
    let group = schedule.effects(instant, &follower.snapshot())?.map_err(|why| {
        StepFailure::Hopeless(Error::invalid("what it is to do", "a value for each part of it", why))
    })?;
    refused_or_done(follower, Position(place(instant)), None, group).map(drop)
}

/// Says that instants have passed: that is an event, too.
fn miss(
    follower: &mut Follower,
    schedule: &ScheduleExecutor,
    first: Timestamp,
    last: Timestamp,
    passed: u64,
) -> Result<(), Ended> {
    let said = |follower: &Follower| -> Result<bool> {
        let program = &follower.program;
        let event = NewEvent::new(&format!("{}.missed", program.kind.target())).on(program.target()?);
        let event = event
            .by(dead_letter::actor(program.kind, &program.name)?)
            .member("missed", passed)
            .member("first", first)
            .member("last", last);
        let group = AppendRequest {
            events: vec![event],
            key: Some(format!("{} missed", schedule.key(last))),
            content: Some(ANY_CONTENT),
            internal: true,
            ..AppendRequest::default()
        };
        follower.commit(group).map(|outcome| outcome.repeated)
    };
    let mut attempt = 1;
    loop {
        match said(follower) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let text = match passed {
                    1 => format!("missed {last}: it runs now"),
                    many => {
                        format!("missed {many} runs, from {first} to {last}: it runs once for all of them")
                    }
                };
                follower.report(None, text);
                return Ok(());
            }
            Err(_) if follower.has_ended() => return Err(Ended),
            Err(error) => {
                follower.report(None, format!("cannot say what it missed: {error}"));
                follower.pause(follower.shared.options.retries.pause(attempt))?;
                attempt = attempt.saturating_add(1);
            }
        }
    }
}

/// An instant as the place of a cursor.
fn place(instant: Timestamp) -> u64 {
    u64::try_from(instant.as_millis()).unwrap_or(0)
}

fn of(place: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(place).unwrap_or(i64::MAX))
}
