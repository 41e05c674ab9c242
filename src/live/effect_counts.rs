//! Breadth: how many events reactions have made of one event that none of them made.
//!
//! The *root* of an event is the nearest in its chain of causes that no reaction made; what a program makes of an event begins anew.
//! How many there are follows from the log, so it is the same after a restart: it is counted once for each root that is come to,
//! and from then on whoever commits adds to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::reaction::Makers;
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::event::Cause;
use crate::event::record::Record;
use crate::store::append_request::AppendOutcome;
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};

/// Of so many roots it is kept, the newest.
const KEPT: usize = 4096;

/// How many events reactions have made, by their roots.
#[derive(Debug, Default)]
pub(crate) struct EffectCounts(Mutex<BTreeMap<u64, EffectCount>>);

#[derive(Debug, Clone, Copy)]
struct EffectCount {
    events: u64,
    /// What the log had up to here is counted.
    through: Position,
}

impl EffectCounts {
    /// How many events there are of a root; it is not counted beyond `most`.
    pub fn of(&self, root: Position, most: u64, snapshot: &Snapshot) -> Result<u64> {
        if let Some(count) = self.counts().get(&root.0) {
            return Ok(count.events);
        }
        let snapshot = snapshot.now();
        let count = EffectCount { events: count(root, most, &snapshot)?, through: snapshot.head() };
        let mut counts = self.counts();
        // Another may have counted it meanwhile, and others added to that.
        let count = *counts.entry(root.0).or_insert(count);
        if counts.len() > KEPT {
            counts.pop_first();
        }
        Ok(count.events)
    }

    /// Adds what a reaction made.
    pub fn add(&self, root: Position, outcome: &AppendOutcome) {
        if outcome.repeated {
            return;
        }
        if let Some(count) = self.counts().get_mut(&root.0) {
            let new = outcome.events.iter().filter(|(position, _)| *position > count.through).count();
            count.events = count.events.saturating_add(new as u64);
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, EffectCount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes through what reactions made of a root, up to so many and one more.
fn count(root: Position, most: u64, snapshot: &Snapshot) -> Result<u64> {
    let (mut open, mut events, mut makers) = (vec![root], 0, Makers::default());
    while let Some(cause) = open.pop() {
        let list = Term::cause(&Cause::Event(cause))?;
        for position in snapshot.list(list, PositionRange::after(cause), ScanDirection::Ascending) {
            let position = position?;
            let Some(bytes) = snapshot.encoded(position)? else { continue };
            if makers.of(&Record::open(position, &bytes)?, cause, snapshot)?.is_none() {
                continue;
            }
            events += 1;
            if events > most {
                return Ok(events);
            }
            open.push(position);
        }
    }
    Ok(events)
}
