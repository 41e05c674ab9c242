//! What is remembered of states. It spares work, and is never needed.
//!
//! Four locks, each held for a moment and none within another, but for that of the overlays: it is held while one of them is grown, and a read
//! of the tables is open then.

use std::sync::Mutex;

use super::index::term::Term;
use super::mutex::locked;
use super::snapshot::{OverlayCache, StateColumnCache};
use super::state::state_cache::StateCache;
use crate::entity::{Entity, Position};

/// How many snapshots of plain entities, and how many of programs' own types, wait to be made or written at most.
const WAITING: usize = 10_000;
/// How many bytes of those that are made wait, or are made at a time.
pub(super) const WAITING_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(crate) struct StateCaches {
    /// What entities were, where verbs looked at them last.
    pub recent: Mutex<StateCache>,
    /// Of models what the memtables make of their states.
    pub overlays: OverlayCache,
    /// Of models what fields of the states have that are kept.
    pub columns: StateColumnCache,
    due: Mutex<DueSnapshots>,
}

/// An entity that nobody defined, and where it is due a snapshot.
pub(crate) type SnapshotDue = (Entity, Position);

/// A snapshot that is made, to be written.
#[derive(Debug)]
pub(crate) struct MadeSnapshot {
    /// A program's own name for the fold; none of an entity that nobody defined.
    pub name: Option<String>,
    pub entity: Term,
    pub position: Position,
    pub bytes: Vec<u8>,
    /// How many subjects had been forgotten when what it is made of was read.
    pub forgotten: usize,
}

/// Snapshots that are to be made, and to be written, when there is time.
#[derive(Debug, Default)]
pub(crate) struct DueSnapshots {
    pub plain: Vec<SnapshotDue>,
    pub made: Vec<MadeSnapshot>,
    bytes: usize,
}

impl StateCaches {
    /// Forgets all of it.
    pub fn clear(&self) {
        *locked(&self.recent) = StateCache::default();
        self.overlays.clear();
        self.columns.clear();
        drop(self.take_due());
    }

    /// Remembers snapshots that are due. What is too much is forgotten: the next one will do.
    pub fn add_due(&self, due: Vec<SnapshotDue>) {
        let mut waiting = locked(&self.due);
        let room = WAITING.saturating_sub(waiting.plain.len());
        waiting.plain.extend(due.into_iter().take(room));
    }

    /// Takes a snapshot that is to be written, where there is room.
    pub fn add_made(&self, made: MadeSnapshot) {
        let mut waiting = locked(&self.due);
        if waiting.bytes + made.bytes.len() > WAITING_BYTES || waiting.made.len() >= WAITING {
            return;
        }
        waiting.bytes += made.bytes.len();
        waiting.made.push(made);
    }

    /// What is to be made and written; from now on it is whoever takes it who remembers it.
    pub fn take_due(&self) -> DueSnapshots {
        std::mem::take(&mut *locked(&self.due))
    }
}

impl DueSnapshots {
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.made.is_empty()
    }
}
