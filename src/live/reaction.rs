//! Reactions: what happens because of what happened.
//!
//! All that a reaction does about an event is one group, with a key made of the reaction's name, the definition that it began with and the
//! event: to be handed the same event again, after a crash or by a new definition, changes nothing. Where a guard or a verb refuses the group, that is its outcome: an event
//! about the reaction, with the same key. A delay needs no timers: a reaction with `AFTER` is one that goes along the log so much later.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::follower::{Ended, Follower, FollowerTask, StepFailure, report};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::{CauseStr, Record};
use crate::event::{Event, NewEvent};
use crate::exec::dead_letter;
use crate::exec::reaction::{self, ReactionExecutor};
use crate::pattern::Pattern;
use crate::plan;
use crate::store::Shared;
use crate::store::append_request::{ANY_CONTENT, AppendOutcome, AppendRequest};
use crate::store::catalog::Program;
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::time::Timestamp;

/// How many reactions may follow from each other: more are rather a circle.
const DEEPEST: usize = 64;

/// So many causes of an event are looked at: where fewer of them are reactions than one of sixteen, others keep the circle going.
const FARTHEST: usize = 16 * DEEPEST;

/// Of so many events it is kept who made them.
const KEPT: usize = 1024;

/// What waits so much longer than AFTER says waits because the clock was set back.
const DAY: Duration = Duration::from_secs(86_400);

/// Runs a reaction until it is to end.
pub(super) fn run(follower: &mut Follower) -> Result<Ended> {
    let reaction = ReactionExecutor::new(&follower.program.text, follower.program.origin)?;
    let start = reaction::start(&follower.program, &follower.snapshot())?;
    let mut wanted = plan::SubscriptionPlan::of(reaction.plan.pattern.clone());
    // What asks for more than the event is looked at when it is handed over.
    wanted.predicate = reaction.plan.filter.clone().filter(|filter| filter.is_of_event());
    let (shared, program) = (follower.shared.clone(), follower.program.clone());
    let (makers, waits) = (Makers::default(), Cell::new(0));
    follower.follow(&mut Reacting { reaction, wanted, makers, shared, program, waits }, start)
}

struct Reacting {
    reaction: ReactionExecutor,
    wanted: plan::SubscriptionPlan,
    makers: Makers,
    shared: Arc<Shared>,
    program: Arc<Program>,
    /// The event of which it was said last that it waits for long.
    waits: Cell<u64>,
}

impl FollowerTask for Reacting {
    fn wanted(&self) -> &plan::SubscriptionPlan {
        &self.wanted
    }

    fn due(&self, event: &Event) -> Option<Timestamp> {
        let after = self.reaction.plan.after.as_ref()?;
        let due = self.reaction.due(event.recorded);
        let now = self.shared.options.clock.now();
        let longest = now.saturating_add(after.period).saturating_add(DAY);
        if due > longest && self.waits.replace(event.position.0) != event.position.0 {
            let text = format!(
                "waits until {due} for what was recorded at {}, but it is {now}: was the clock set back?",
                event.recorded
            );
            report(&self.shared, &self.program, Some(event.position), text);
        }
        Some(due)
    }

    fn handle(&mut self, follower: &Follower, event: &Event) -> Result<(), StepFailure> {
        if self.reaction.plan.after.is_some() {
            // What was recorded before the deadline is in the log once those who append now are through.
            follower.shared.commits.commit_barrier();
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
        let root = self.check_depth(&trigger, &snapshot)?;
        let group = effects.map_err(|why| {
            StepFailure::Hopeless(Error::invalid("what it is to do", "a value for each part of it", why))
        })?;
        if root != trigger.position() {
            self.check_breadth(follower, root, event.position, &group, &snapshot)?;
        }
        if let Some(outcome) = refused_or_done(follower, event.position, Some(event.position), group)? {
            follower.brought.add(root, &outcome);
        }
        Ok(())
    }
}

/// Commits what is to be done, and gives what came of it; a refusal is an outcome, too, of which there is nothing.
pub(super) fn refused_or_done(
    follower: &Follower,
    trigger: Position,
    cause: Option<Position>,
    group: AppendRequest,
) -> Result<Option<AppendOutcome>, StepFailure> {
    let key = group.key.clone();
    let error = match follower.commit(group) {
        Ok(outcome) => return Ok(Some(outcome)),
        Err(error) if error.is_turned_down() => error,
        Err(error) => return Err(error.into()),
    };
    let program = &follower.program;
    // About nobody: it is found by its cause and by its actor, and what is said of the program itself stays short.
    let refused = NewEvent::new(&format!("{}.refused", program.kind.target())).on_nobody();
    let mut refused = refused
        .by(dead_letter::actor(program.kind, &program.name)?)
        .member("trigger", trigger.0)
        .member("why", error.to_string());
    if let Some(cause) = cause {
        refused = refused.caused_by(cause);
    }
    let outcome = follower.commit(AppendRequest {
        events: vec![refused],
        key,
        content: Some(ANY_CONTENT),
        internal: true,
        ..AppendRequest::default()
    })?;
    if !outcome.repeated {
        let at = cause.map(|cause| format!(" at {cause}")).unwrap_or_default();
        let error = error.to_string();
        let why = error.strip_prefix("refused: ").unwrap_or(&error);
        follower.report(cause, format!("refused{at}: {why}"));
    }
    Ok(None)
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
    for position in snapshot.list(list.clone(), PositionRange::after(after), ScanDirection::Ascending) {
        let position = position?;
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

impl Reacting {
    /// An error where reactions have made so many events of one that there is no end in sight. What is done already is not refused.
    fn check_breadth(
        &self,
        follower: &Follower,
        root: Position,
        trigger: Position,
        group: &AppendRequest,
        snapshot: &Snapshot,
    ) -> Result<(), StepFailure> {
        let most = self.shared.options.max_brought_about;
        let more = (group.events.len() + group.performs.len()) as u64;
        let there = follower.brought.of(root, most, snapshot)?;
        if there.saturating_add(more) <= most {
            return Ok(());
        }
        if let Some(key) = &group.key
            && snapshot
                .now()
                .list(Term::key(key)?, PositionRange::ALL, ScanDirection::Ascending)
                .next()
                .is_some()
        {
            return Ok(());
        }
        let name = crate::entity::NameText(&self.reaction.plan.name);
        let expected = format!("at most {most} events (Options::max_brought_about, --max-brought-about)");
        let found = format!(
            "{there}, and {name} at {trigger} would make {more} more: do they set each other off? A WHERE is to end that"
        );
        Err(StepFailure::Hopeless(Error::invalid(format!("what reactions make of {root}"), expected, found)))
    }

    /// The nearest in the chain of causes that no reaction made; an error where so many reactions follow from each other that there is no
    /// end in sight.
    fn check_depth(&mut self, trigger: &Record, snapshot: &Snapshot) -> Result<Position, StepFailure> {
        let mut chain: VecDeque<String> = VecDeque::new();
        let (mut at, mut root) = (trigger.position(), None);
        for _ in 0..FARTHEST {
            let Some(bytes) = snapshot.encoded(at)? else { break };
            let event = Record::open(at, &bytes)?;
            let Some(CauseStr::Event(cause)) = event.cause() else { break };
            match self.makers.of(&event, cause, snapshot)? {
                Some(name) => chain.push_front(format!("{name} at {cause}")),
                None => root = root.or(Some(at)),
            }
            if chain.len() >= DEEPEST {
                let shown = |from: usize, to: usize| {
                    chain.iter().skip(from).take(to - from).cloned().collect::<Vec<_>>().join(", ")
                };
                let found = format!(
                    "{}, … {}, {} at {}: each of them set off the next; a WHERE is to end that",
                    shown(0, 3),
                    shown(DEEPEST - 3, DEEPEST),
                    crate::entity::NameText(&self.reaction.plan.name),
                    trigger.position()
                );
                let expected = format!("at most {DEEPEST} that follow from each other");
                return Err(StepFailure::Hopeless(Error::invalid("a chain of reactions", expected, found)));
            }
            at = cause;
        }
        Ok(root.unwrap_or(at))
    }
}

/// Which reactions made events: looked up in the log, and kept for those that come next.
#[derive(Debug, Default)]
pub(super) struct Makers {
    /// By the position of an event without a key: the newest group with a key up to it, among those of its cause.
    found: BTreeMap<u64, KeyedRequest>,
}

/// A group with a key; or none.
#[derive(Debug, Clone, Default)]
struct KeyedRequest {
    /// The reaction that made it, if one did.
    maker: Option<String>,
    /// The position behind its last event.
    end: u64,
}

impl KeyedRequest {
    fn of(position: Position, key: &str, snapshot: &Snapshot) -> Result<KeyedRequest> {
        let named = |key: &str| {
            let name = key.strip_prefix("$reaction ")?;
            // Behind the name come two positions; a name may have spaces.
            let (name, _) = name.rsplit_once(' ')?;
            name.rsplit_once(' ').map(|(name, _)| name.to_owned())
        };
        let Some(maker) = named(key) else { return Ok(KeyedRequest::default()) };
        let seal = snapshot.event(position)?.and_then(|event| event.seal);
        let count = seal.map_or(1, |seal| u64::from(seal.count));
        Ok(KeyedRequest { maker: Some(maker), end: position.0 + count })
    }
}

impl Makers {
    /// The reaction that made an event, if one did: the first event of what it made has the key, which tells how many there are.
    pub fn of(&mut self, event: &Record, cause: Position, snapshot: &Snapshot) -> Result<Option<String>> {
        if let Some(key) = event.key() {
            return Ok(KeyedRequest::of(event.position(), key, snapshot)?.maker);
        }
        let mut keyed = KeyedRequest::default();
        let mut at = event.position();
        while at > cause.next() {
            at = Position(at.0 - 1);
            let Some(bytes) = snapshot.encoded(at)? else { break };
            let before = Record::open(at, &bytes)?;
            if before.cause() != Some(CauseStr::Event(cause)) {
                break;
            }
            if let Some(key) = before.key() {
                keyed = KeyedRequest::of(at, key, snapshot)?;
                break;
            }
            // The one before it was looked for already: many events of one cause are gone through once.
            if let Some(found) = self.found.get(&at.0) {
                keyed = found.clone();
                break;
            }
        }
        let maker = keyed.maker.clone().filter(|_| event.position().0 < keyed.end);
        self.found.insert(event.position().0, keyed);
        if self.found.len() > KEPT {
            self.found.pop_first();
        }
        Ok(maker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Compiler;
    use crate::store::disk::simulated::SimulatedDisk;
    use crate::store::{Options, Store};

    const KEY: &str = "$reaction the mark 1 1";

    /// Events of one cause, in groups of so many, with a key or without; and who is found to have made each.
    fn makers(groups: &[(u64, bool)], makers: &mut Makers) -> Vec<bool> {
        let options = Options::new().disk(Arc::new(SimulatedDisk::new())).with_compiler(Arc::new(Compiler));
        let store = Store::create(std::path::Path::new("/shop.bygone"), options).unwrap();
        let append = |events: Vec<NewEvent>, key: Option<String>| {
            let content = Some(ANY_CONTENT);
            let group = AppendRequest { events, key, content, internal: true, ..AppendRequest::default() };
            drop(store.append(group).unwrap());
        };
        append(vec![NewEvent::new("Batch.came").on(("Batch", 1))], None);
        for (number, (events, keyed)) in groups.iter().enumerate() {
            let one = |n| NewEvent::new("Order.paid").on(("Order", n)).caused_by(Position(1));
            let key = keyed.then(|| format!("{KEY}{number}"));
            append((0..*events).map(one).collect(), key);
        }
        let snapshot = store.snapshot();
        let made = |position: u64| {
            let bytes = snapshot.encoded(Position(position)).unwrap().unwrap();
            let event = Record::open(Position(position), &bytes).unwrap();
            let maker = makers.of(&event, Position(1), &snapshot).unwrap();
            assert!(maker.as_deref().is_none_or(|maker| maker == "the mark"));
            maker.is_some()
        };
        (2..=snapshot.head().0).map(made).collect()
    }

    #[test]
    fn a_reaction_made_what_its_group_holds_and_nothing_behind_it() {
        let made =
            makers(&[(2, false), (3, true), (2, false), (1, true), (1, false)], &mut Makers::default());
        let expected = [false, false, true, true, true, false, false, true, false];
        assert_eq!(made, expected);
    }

    #[test]
    fn little_is_kept_of_many_events_of_one_cause() {
        let mut kept = Makers::default();
        let made = makers(&[(2, true), (3 * KEPT as u64, false)], &mut kept);
        assert_eq!(made.iter().filter(|made| **made).count(), 2);
        assert_eq!(kept.found.len(), KEPT);
    }
}
