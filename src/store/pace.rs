//! Pace: how long what users defined may be evaluated in one write of the tables.
//!
//! Folds, groups and index expressions are evaluated in the background, a stretch of the log at a time. How long a stretch takes is for
//! the definition to say, and a write that goes on for long keeps checkpoints, and with them appends, DROP and closing. So a stretch
//! that takes too long is given up and tried again with fewer events, down to a single one, which the limits of evaluation bound.
//! A checkpoint does without what is so slow: the background brings it up.
//!
//! One lock, of what was slow, held for a look or a change; nothing else is taken while it is held.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::mutex::locked;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::{Error, Result};

/// How long a stretch is evaluated, beside so long for each of its events.
const STRETCH: Duration = Duration::from_millis(500);
const EVENT: Duration = Duration::from_micros(20);

/// The time of one stretch.
pub(crate) struct Pace<'p> {
    until: Option<Instant>,
    is_stopping: &'p dyn Fn() -> bool,
    /// The definition that is evaluated.
    definition: Cell<Option<Position>>,
    is_over: Cell<bool>,
    limits: &'p Limits,
}

impl<'p> Pace<'p> {
    /// Begins a stretch of so many events.
    pub fn of(events: usize, is_stopping: &'p dyn Fn() -> bool, limits: &'p Limits) -> Pace<'p> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        // One event is never too many.
        let until = (events > 1).then(|| Instant::now() + STRETCH + EVENT.saturating_mul(events));
        Pace { until, is_stopping, definition: Cell::new(None), is_over: Cell::new(false), limits }
    }

    /// What each evaluation may take.
    pub fn limits(&self) -> &'p Limits {
        self.limits
    }

    /// Says which definition is evaluated from here on.
    pub fn begin(&self, definition: Position) {
        self.definition.set(Some(definition));
    }

    /// Looks whether the stretch is to end here. To be asked for each event.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it takes too long, or the database is being closed. [`Pace::overran`] tells which.
    pub fn check(&self) -> Result<()> {
        if (self.is_stopping)() {
            return Err(Error::stopped("the database is being closed"));
        }
        if self.until.is_some_and(|until| Instant::now() > until) {
            self.is_over.set(true);
            return Err(Error::stopped("a definition takes long to evaluate"));
        }
        Ok(())
    }

    /// Says that the stretch was too much to be held at a time.
    pub fn overrun(&self) {
        self.is_over.set(true);
    }

    /// The definition that took too long, or too much, if one did.
    pub fn overran(&self) -> Option<Position> {
        self.definition.get().filter(|_| self.is_over.get())
    }
}

/// Of each definition that took too long, how many events it is given at a time.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<BTreeMap<Position, usize>>);

impl Paces {
    /// Whether a definition is to be brought up apart from checkpoints.
    pub fn is_slow(&self, definition: Position) -> bool {
        locked(&self.0).contains_key(&definition)
    }

    /// How many events a definition is given, of so many at most.
    pub fn events(&self, definition: Position, most: usize) -> usize {
        locked(&self.0).get(&definition).copied().unwrap_or(most).min(most)
    }

    /// Takes note that so many events were too many.
    pub fn overran(&self, definition: Position, events: usize) {
        locked(&self.0).insert(definition, (events / 4).max(1));
    }

    /// Takes note that so many events were not too many, where `most` is what others are given.
    pub fn kept_up(&self, definition: Position, events: usize, most: usize) {
        let mut paces = locked(&self.0);
        if let Some(pace) = paces.get_mut(&definition)
            && events >= *pace
        {
            *pace = pace.saturating_mul(2);
            if *pace > most {
                paces.remove(&definition);
            }
        }
    }

    /// Forgets the definitions that are no more.
    pub fn retain(&self, is_defined: impl Fn(Position) -> bool) {
        locked(&self.0).retain(|definition, _| is_defined(*definition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_event_is_never_too_many_and_a_stretch_ends_where_the_database_closes() {
        let limits = Limits::default();
        let pace = Pace { until: Some(Instant::now()), ..Pace::of(2, &|| false, &limits) };
        pace.begin(Position(7));
        assert!(pace.overran().is_none());
        assert!(pace.check().is_err());
        assert_eq!(pace.overran(), Some(Position(7)));
        assert!(Pace::of(1, &|| false, &limits).until.is_none());
        let closing = Pace::of(1, &|| true, &limits);
        assert!(closing.check().is_err() && closing.overran().is_none());
    }

    #[test]
    fn a_slow_definition_is_given_fewer_events_until_it_is_slow_no_more() {
        let (paces, slow) = (Paces::default(), Position(7));
        assert_eq!((paces.events(slow, 100), paces.is_slow(slow)), (100, false));
        paces.overran(slow, 100);
        assert_eq!((paces.events(slow, 100), paces.is_slow(slow)), (25, true));
        (0..3).for_each(|_| paces.overran(slow, paces.events(slow, 100)));
        assert_eq!(paces.events(slow, 100), 1);
        // The end of the log, fewer events than it is given, says nothing.
        paces.overran(slow, 100);
        paces.kept_up(slow, 3, 100);
        assert_eq!(paces.events(slow, 100), 25);
        paces.kept_up(slow, 25, 100);
        assert_eq!((paces.events(slow, 100), paces.is_slow(slow)), (50, true));
        paces.kept_up(slow, 50, 100);
        paces.kept_up(slow, 100, 100);
        assert!(!paces.is_slow(slow));
    }
}
