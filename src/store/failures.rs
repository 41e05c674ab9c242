//! Failures: why the background does not keep what is defined.
//!
//! A definition that fails stands in nobody's way: the others are kept, the log is written, and whoever asks what is defined is told.
//! What a disk, or damage, did to it is tried again; what its own expressions did is not, until it is defined anew or the database is
//! opened again.
//!
//! One lock, of the map, held for a look or a change; nothing else is taken while it is held.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::mutex::locked;
use crate::entity::Position;
use crate::error::{Error, Result};

/// Of each definition that is not kept, why.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<BTreeMap<Position, Error>>);

impl Failures {
    /// Why a definition is not kept, if it is not.
    pub fn of(&self, definition: Position) -> Option<Error> {
        locked(&self.0).get(&definition).cloned()
    }

    /// Whether a definition failed by itself, so that it is of no use to try again.
    pub fn is_final(&self, definition: Position) -> bool {
        self.of(definition).is_some_and(|error| !may_pass(&error))
    }

    /// An error if one of some definitions failed by itself: it is of no use to wait for it.
    pub fn check(&self, is_wanted: impl Fn(Position) -> bool) -> Result<()> {
        let failures = locked(&self.0);
        let failed = failures.iter().find(|(definition, error)| is_wanted(**definition) && !may_pass(error));
        failed.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    /// Takes note of how work for a definition went.
    pub fn note<T>(&self, definition: Position, work: Result<T>) -> Result<T> {
        let mut failures = locked(&self.0);
        match &work {
            Ok(_) => drop(failures.remove(&definition)),
            Err(Error::Stopped { .. }) => {}
            Err(error) => drop(failures.insert(definition, error.clone())),
        }
        work
    }

    /// Forgets the definitions that are no more.
    pub fn retain(&self, is_defined: impl Fn(Position) -> bool) {
        locked(&self.0).retain(|definition, _| is_defined(*definition));
    }
}

/// Whether what failed may succeed when it is tried again.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Corrupt { .. } | Error::Stopped { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_by_itself_is_final_and_success_clears_it() {
        let (failures, definition) = (Failures::default(), Position(3));
        let note = |error: Error| failures.note(definition, Err::<(), _>(error)).unwrap_err();
        note(Error::corrupt("the log", "no event at #2"));
        assert!(failures.of(definition).is_some() && !failures.is_final(definition));
        // Closing says nothing about it.
        note(Error::stopped("the database is being closed"));
        assert!(matches!(failures.of(definition), Some(Error::Corrupt { .. })));
        note(Error::invalid("concat", "at most 16 bytes", "32"));
        assert!(failures.is_final(definition));
        failures.note(definition, Ok(())).unwrap();
        assert!(failures.of(definition).is_none());
    }
}
