//! Folding: what an entity is, out of its events in the order of the log.
//!
//! A [`Fold`] says what one event makes of a state; [`Plain`] is the one of entities that nobody defined. A [`Folded`] is
//! what an entity's events have made so far, with what is needed to go on from there, so that it can be kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::vector_clock::NodeClocks;
use crate::allowance::{Limits, Unmade};
use crate::entity::Position;
use crate::error::{Error, Result, size};
use crate::event::is_of_standing;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::time::Timestamp;
use crate::value::Value;

/// After how many events another snapshot is kept, where a definition does not say. Tests are to come to it soon.
pub(crate) const EVERY: u64 = if cfg!(test) { 4 } else { 1000 };

/// What events make of the states of a kind of entities. The same events make the same state, whenever they are folded.
pub(crate) trait Fold: fmt::Debug + Send + Sync {
    /// Folds an event in: one of the entity's own, or one that is included. Null is no state: before the first event, and
    /// after a deletion. Says by how many bytes of memory the state has grown at most.
    ///
    /// # Errors
    /// What could not be worked out of the event, or that somebody ended it. The state is then as it was.
    fn apply(&self, state: &mut Value, event: &Record, own: bool, limits: &Limits) -> Result<u64, Unmade>;

    /// Whether all that it makes of an event is to merge its data (RFC 7396) into a state, as [`merged`] has them: then several may be
    /// merged at once, and what [`apply`](Fold::apply) would do with each is known. `begins`: there is no state yet.
    fn merges(&self, _event: &Record, _own: bool, _begins: bool) -> bool {
        false
    }

    /// What an event of a type does to a state, whatever its data.
    fn effect(&self, kind: &str, own: bool) -> Effect;

    /// What of a state an event may change, where that is known: the rest need not be compared. It holds only where there was a state.
    fn touches(&self, _event: &Record, _own: bool) -> TouchedPaths {
        TouchedPaths::All
    }

    /// The events of other entities that join the fold.
    fn includes(&self) -> &[Include];

    /// After how many events another snapshot is kept.
    fn every(&self) -> u64;

    /// What its events are of, where they do not say themselves.
    fn namespace(&self) -> Option<&str>;
}

/// Events of other entities that join a fold: those with an index value that is the entity's id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Include {
    pub on: Pattern,
    /// The name of the index value.
    pub tag: String,
}

/// What an event does to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// There is one after it.
    Makes,
    /// There is none after it.
    Deletes,
    Nothing,
}

/// What of a value may be changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TouchedPaths {
    All,
    /// Of an object, nothing but these members, and of each of them not more than this.
    Members(BTreeMap<String, TouchedPaths>),
    /// Of an array, nothing but what is put behind it.
    End,
}

impl TouchedPaths {
    pub fn nothing() -> TouchedPaths {
        TouchedPaths::Members(BTreeMap::new())
    }

    /// What a merge patch (RFC 7396) changes.
    pub fn by_merging(patch: &Value) -> TouchedPaths {
        let Value::Object(members) = patch else { return TouchedPaths::All };
        let members = members.iter().map(|(name, patch)| (name.clone(), TouchedPaths::by_merging(patch)));
        TouchedPaths::Members(members.collect())
    }

    /// Adds what is touched at the end of a path of members.
    pub fn add<'p>(&mut self, mut path: impl Iterator<Item = &'p str>, touched: TouchedPaths) {
        match (path.next(), &mut *self) {
            // Already all of it.
            (_, TouchedPaths::All) => {}
            (Some(name), TouchedPaths::Members(members)) => match members.get_mut(name) {
                Some(member) => member.add(path, touched),
                None => {
                    let mut member = TouchedPaths::nothing();
                    member.add(path, touched);
                    members.insert(name.to_owned(), member);
                }
            },
            (None, TouchedPaths::Members(members)) if members.is_empty() => *self = touched,
            _ => *self = TouchedPaths::All,
        }
    }
}

/// The fold of what nobody defined: JSON merge patch (RFC 7396) of `data`; an event whose last name is `deleted` deletes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Fold for Plain {
    fn apply(&self, state: &mut Value, event: &Record, own: bool, limits: &Limits) -> Result<u64, Unmade> {
        match self.effect(event.kind(), own) {
            Effect::Makes => {
                let (data, growth) = merged(event, limits)?;
                state.merge(data);
                return Ok(growth);
            }
            Effect::Deletes => *state = Value::Null,
            Effect::Nothing => {}
        }
        Ok(0)
    }

    fn merges(&self, event: &Record, own: bool, _: bool) -> bool {
        self.effect(event.kind(), own) == Effect::Makes
    }

    fn effect(&self, kind: &str, own: bool) -> Effect {
        match own {
            true if is_of_standing(kind) => Effect::Nothing,
            true if kind.rsplit('.').next() == Some("deleted") => Effect::Deletes,
            _ => Effect::Makes,
        }
    }

    fn touches(&self, event: &Record, own: bool) -> TouchedPaths {
        match (self.effect(event.kind(), own), event.data().to_value()) {
            (Effect::Makes, Ok(data)) => TouchedPaths::by_merging(&data),
            (Effect::Nothing, _) => TouchedPaths::nothing(),
            _ => TouchedPaths::All,
        }
    }

    fn includes(&self) -> &[Include] {
        &[]
    }

    fn every(&self) -> u64 {
        EVERY
    }

    fn namespace(&self) -> Option<&str> {
        None
    }
}

/// So many bytes of memory are in a stored byte at most: of an array of numbers below 128.
const DENSEST: u64 = 1 + crate::value::ITEM as u64;

/// The data of an event that is merged into a state, and how many bytes of memory it takes at most.
pub(crate) fn merged(event: &Record, limits: &Limits) -> Result<(Value, u64), Unmade> {
    let data = event.data();
    let mut weight = heaviest(data.0.len());
    if weight > limits.largest() {
        weight = data.weight() as u64;
    }
    if weight > limits.largest() {
        return Err(Unmade::Fault(too_large("data", weight, limits)));
    }
    let data = data.to_value().map_err(|error| Unmade::Fault(error.to_string()))?;
    Ok((data, weight))
}

/// What a state takes in memory at most that takes so many bytes where it is stored.
fn heaviest(stored: usize) -> u64 {
    (stored as u64).saturating_mul(DENSEST)
}

pub(in crate::store) fn too_large(what: &str, weight: u64, limits: &Limits) -> String {
    format!(
        "expected a state that takes at most {} of memory, found {what} of {weight} bytes; keep less in it, or raise \
         Options::largest_value (--largest-value)",
        size(limits.largest())
    )
}

/// How many bytes of memory a state takes at most; it is weighed again where that is more than it may. It is no part of what a
/// state is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weight(u64);

impl PartialEq for Weight {
    fn eq(&self, _: &Weight) -> bool {
        true
    }
}

impl Weight {
    /// Of what takes so many bytes where it is stored.
    pub fn stored(bytes: usize) -> Weight {
        Weight(heaviest(bytes))
    }

    /// Whether it is known to be small enough.
    pub fn fits(self, limits: &Limits) -> bool {
        self.0 <= limits.largest()
    }

    /// Adds what takes so many bytes where it is stored, if it is small enough by then without a look at it; tells whether it is.
    pub(super) fn grow_by_stored(&mut self, bytes: usize, limits: &Limits) -> bool {
        let grown = self.0.saturating_add(heaviest(bytes));
        let fits = grown <= limits.largest();
        if fits {
            self.0 = grown;
        }
        fits
    }

    /// Adds what it has grown by; an error in words where it is too large by then.
    fn grow(&mut self, growth: u64, state: &Value, limits: &Limits) -> Result<(), String> {
        self.0 = self.0.saturating_add(growth);
        if self.0 > limits.largest() {
            self.0 = state.weight() as u64;
        }
        if self.0 > limits.largest() {
            return Err(too_large("one", self.0, limits));
        }
        Ok(())
    }
}

/// What an entity's events have made so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Folded {
    /// Null before the first event and after a deletion.
    pub state: Value,
    /// How many of them are its own.
    pub version: u64,
    /// How many there were, the included ones too.
    pub events: u64,
    /// Where the last of them is.
    pub position: Position,
    /// The latest time that any of them occurred.
    pub latest: Option<Timestamp>,
    /// How many occurred before one that stands before them.
    pub late: u64,
    /// How long before it, at most, in milliseconds, rounded up.
    pub lateness: u64,
    /// When the earliest since the last snapshot occurred, in milliseconds since 1970; rounded down.
    pub lowest: i64,
    /// How many of its own were made on which node.
    pub clock: NodeClocks,
    /// The first event since the last deletion that could not be folded in: there is no state as long as this stands.
    pub fault: Option<FoldFault>,
    pub weight: Weight,
}

/// An event that could not be folded in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoldFault {
    pub position: Position,
    pub kind: String,
    /// What was expected and found, in words.
    pub why: String,
}

impl Folded {
    /// Folds the next event in, and tells whether it is late: something that occurred after it was folded before it.
    ///
    /// # Errors
    /// If somebody ends it: then this is of no use any more.
    pub fn add(&mut self, fold: &dyn Fold, event: &Record, own: bool, limits: &Limits) -> Result<bool> {
        if self.fault.is_some() && fold.effect(event.kind(), own) == Effect::Deletes {
            self.fault = None;
        }
        if self.fault.is_none()
            && let Err(why) = self.apply(fold, event, own, limits)?
        {
            let (position, kind) = (event.position(), event.kind().to_owned());
            self.fault = Some(FoldFault { position, kind, why });
        }
        Ok(self.count(fold, event, own))
    }

    /// All that the next event changes beside the state and the fault; tells whether it is late.
    pub(super) fn count(&mut self, fold: &dyn Fold, event: &Record, own: bool) -> bool {
        if own {
            self.version = event.version().map_or(self.version, |version| version.0);
            self.clock.add(event);
        }
        if self.events.is_multiple_of(fold.every()) {
            self.lowest = i64::MAX;
        }
        self.lowest = self.lowest.min(event.timestamp().as_millis().saturating_sub(1));
        self.events += 1;
        self.position = event.position();
        let occurred = event.timestamp();
        let late = self.latest.is_some_and(|latest| occurred < latest);
        if let Some(latest) = self.latest.filter(|_| late) {
            let lateness = latest.as_millis().saturating_sub(occurred.as_millis()).saturating_add(1);
            self.late += 1;
            self.lateness = self.lateness.max(lateness.unsigned_abs());
        }
        self.latest = self.latest.max(Some(occurred));
        late
    }

    /// What the event makes of the state; or why it makes nothing.
    fn apply(
        &mut self,
        fold: &dyn Fold,
        event: &Record,
        own: bool,
        limits: &Limits,
    ) -> Result<std::result::Result<(), String>> {
        match fold.apply(&mut self.state, event, own, limits) {
            Ok(growth) => {
                let fits = self.weight.grow(growth, &self.state, limits);
                if fits.is_err() {
                    // There is none from here on, and what is too large is not kept.
                    self.state = Value::Null;
                }
                Ok(fits)
            }
            Err(Unmade::Fault(why)) => Ok(Err(why)),
            Err(Unmade::Over(error)) => Ok(Err(error.to_string())),
            Err(Unmade::Ended(error)) => Err(error),
        }
    }

    /// An error where there is no state because an event could not be folded in.
    pub fn check(&self, entity: &dyn fmt::Display) -> Result<()> {
        match &self.fault {
            None => Ok(()),
            Some(fault) => Err(fault.error(entity.to_string())),
        }
    }
}

impl FoldFault {
    /// What it means for whoever asks for the state.
    pub fn error(&self, entity: String) -> Error {
        Error::Unfoldable {
            entity,
            position: self.position.0,
            kind: self.kind.clone(),
            why: self.why.clone(),
            advice: "DEFINE ENTITY anew so that it can be".to_owned(),
        }
    }
}
