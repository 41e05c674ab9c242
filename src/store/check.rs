//! The check: everything that follows from the log, compared with the log.
//!
//! Positions are dense, each event's bytes fit its checksum, versions count up entity by entity, `recorded` never decreases, the
//! chain of hashes holds, zones span what they say, and the posting lists are exactly the terms of the events. Memory is
//! bounded: posting lists are compared one term at a time, in both directions, by looking up.

use std::collections::HashMap;

use super::checkpoint::link;
use super::snapshot::{Direction, Snapshot, View};
use super::term::{Term, is_counted, terms_of};
use crate::entity::Position;
use crate::error::Result;
use crate::event::codec;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many events were read.
    pub events: u64,
    /// How many index entries were compared.
    pub entries: u64,
    /// What does not fit, in words; empty when all is well.
    pub faults: Vec<String>,
}

/// More faults than this are not listed: the file is to be restored, not studied.
const MOST_FAULTS: usize = 100;

/// How many entities' versions are remembered at a time.
const REMEMBERED: usize = 100_000;

impl Verification {
    fn fault(&mut self, fault: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    fn full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }
}
