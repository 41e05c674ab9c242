//! Reactions: what happens because of what happened.
//!
//! All that a reaction does about an event is one group, with a key made of the reaction's name, its definition and the event: to be handed
//! the same event again, after a crash, changes nothing. Where a guard or a verb refuses the group, that is its outcome: an event
//! about the reaction, with the same key. A delay needs no timers: a reaction with `AFTER` is one that goes along the log so much later.

use std::collections::VecDeque;

use super::follower::{Ended, Failure, Follower, Work};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::record::{CauseStr, Record};
use crate::event::{Event, NewEvent};
use crate::exec::aside;
use crate::exec::reaction::{self, Reaction};
use crate::pattern::Pattern;
use crate::plan;
use crate::store::group::{ANY_CONTENT, Group};
use crate::store::snapshot::{Direction, Snapshot};
use crate::store::term::Term;
use crate::time::Timestamp;

/// How many reactions may follow from each other: more are rather a circle.
const DEEPEST: usize = 64;

/// Runs a reaction until it is to end.
pub(super) fn run(follower: &mut Follower) -> Result<Ended> {
    let reaction = Reaction::new(&follower.program.text, follower.program.position)?;
    let start = reaction::start(reaction.plan.from, follower.program.position, &follower.snapshot())?;
    let mut wanted = plan::Subscription::of(reaction.plan.pattern.clone());
    // What asks for more than the event is looked at when it is handed over.
    wanted.predicate = reaction.plan.filter.clone().filter(|filter| filter.is_of_event());
    follower.follow(&mut Reacting { reaction, wanted }, start)
}

struct Reacting {
    reaction: Reaction,
    wanted: plan::Subscription,
}

impl Work for Reacting {
    fn wanted(&self) -> &plan::Subscription {
        &self.wanted
    }

    fn due(&self, event: &Event) -> Timestamp {
        self.reaction.due(event.recorded)
    }

    fn handle(&mut self, follower: &Follower, event: &Event) -> Result<(), Failure> {
        if self.reaction.plan.after.is_some() {
            // What was recorded before the deadline is in the log once those who append now are through.
            follower.shared.let_through();
        }
        let snapshot = follower.snapshot();
        let bytes = snapshot.encoded(event.position)?;
        let bytes =
            bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at {}", event.position)))?;
        let trigger = Record::open(event.position, &bytes)?;
        let Some(effects) = self.reaction.effects(&trigger, &snapshot)? else { return Ok(()) };
        if self.is_called_off(&trigger, &snapshot)? {
            return Ok(());
        }
        check_depth(&self.reaction, &trigger, &snapshot)?;
        let group = effects.map_err(|why| {
            Failure::Hopeless(Error::invalid("what it is to do", "a value for each part of it", why))
        })?;
        refused_or_done(follower, event.position, Some(event.position), group)
    }
}

/// Commits what is to be done; a refusal is an outcome, too.
pub(super) fn refused_or_done(
    follower: &Follower,
    trigger: Position,
    cause: Option<Position>,
    group: Group,
) -> Result<(), Failure> {
    let key = group.key.clone();
    let error = match follower.commit(group) {
        Ok(_) => return Ok(()),
        Err(error) if error.is_refused() => error,
        Err(error) => return Err(error.into()),
    };
    let program = &follower.program;
    // About nobody: it is found by its cause and by its actor, and what is said of the program itself stays short.
    let refused = NewEvent::new(&format!("{}.refused", program.kind.target())).on_nobody();
    let mut refused = refused
        .by(aside::actor(program.kind, &program.name)?)
        .member("trigger", trigger.0)
        .member("why", error.to_string());
    if let Some(cause) = cause {
        refused = refused.caused_by(cause);
    }
    let outcome = follower.commit(Group {
        events: vec![refused],
        key,
        content: Some(ANY_CONTENT),
        internal: true,
        ..Group::default()
    })?;
    if !outcome.repeated {
        let at = cause.map(|cause| format!(" at {cause}")).unwrap_or_default();
        let error = error.to_string();
        let why = error.strip_prefix("refused: ").unwrap_or(&error);
        follower.report(cause, format!("refused{at}: {why}"));
    }
    Ok(())
}

impl Reacting {
    /// Whether the trigger's target has had an event meanwhile that says that nothing is to be done.
    fn is_called_off(&self, trigger: &Record, snapshot: &Snapshot) -> Result<bool> {
        let unless = self.reaction.plan.after.as_ref().and_then(|after| after.unless.as_ref());
        let (Some(unless), Some(target)) = (unless, trigger.target()) else { return Ok(false) };
        let target = crate::entity::Entity::new(target.kind, target.id)?;
        let deadline = self.reaction.due(trigger.recorded());
        has_event(snapshot, &Term::entity(&target)?, unless, trigger.position(), deadline)
    }
}

/// Whether a list has an event of a pattern behind a position, recorded by then.
fn has_event(snapshot: &Snapshot, list: &Term, of: &Pattern, after: Position, by: Timestamp) -> Result<bool> {
    for position in snapshot.list(list.clone(), after.0 + 1, u64::MAX, Direction::Ascending) {
        let position = Position(position?);
        let Some(bytes) = snapshot.encoded(position)? else { continue };
        let event = Record::open(position, &bytes)?;
        if event.recorded() > by {
            return Ok(false);
        }
        if of.matches_bytes(event.kind_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An error where so many reactions follow from each other that there is no end in sight.
fn check_depth(reaction: &Reaction, trigger: &Record, snapshot: &Snapshot) -> Result<(), Failure> {
    let mut chain: VecDeque<String> = VecDeque::new();
    let mut at = trigger.position();
    loop {
        let Some(bytes) = snapshot.encoded(at)? else { break };
        let event = Record::open(at, &bytes)?;
        let Some(CauseStr::Event(cause)) = event.cause() else { break };
        if let Some(name) = maker(&event, cause, snapshot)? {
            chain.push_front(format!("{name} at {cause}"));
        }
        if chain.len() >= DEEPEST {
            let shown = |from: usize, to: usize| {
                chain.iter().skip(from).take(to - from).cloned().collect::<Vec<_>>().join(", ")
            };
            let found = format!(
                "{}, … {}, {} at {}: each of them set off the next; a WHERE is to end that",
                shown(0, 3),
                shown(DEEPEST - 3, DEEPEST),
                crate::entity::Name(&reaction.plan.name),
                trigger.position()
            );
            let expected = format!("at most {DEEPEST} that follow from each other");
            return Err(Failure::Hopeless(Error::invalid("a chain of reactions", expected, found)));
        }
        at = cause;
    }
    Ok(())
}

/// The reaction that made an event, if one did: the first event of what it made, which has the key, has the same cause.
fn maker(event: &Record, cause: Position, snapshot: &Snapshot) -> Result<Option<String>> {
    let named = |key: &str| {
        let name = key.strip_prefix("$reaction ")?;
        // Behind the name come two positions; a name may have spaces.
        let (name, _) = name.rsplit_once(' ')?;
        name.rsplit_once(' ').map(|(name, _)| name.to_owned())
    };
    if let Some(key) = event.key() {
        return Ok(named(key));
    }
    let mut at = event.position();
    while at > cause.next() {
        at = Position(at.0 - 1);
        let Some(bytes) = snapshot.encoded(at)? else { break };
        let before = Record::open(at, &bytes)?;
        if before.cause() != Some(CauseStr::Event(cause)) {
            break;
        }
        if let Some(key) = before.key() {
            return Ok(named(key));
        }
    }
    Ok(None)
}
