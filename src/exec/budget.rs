//! What a query may hold in memory while it sorts, groups and counts.
//!
//! Everything that grows with the log asks here first. What is counted is what was asked for and about what an allocation costs
//! beside it; rows that are pulled one by one cost nothing. The threads of a query share what it may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::store::snapshot::Snapshot;

/// What an entry of a table or a list costs beside its bytes.
pub(super) const ENTRY: usize = 64;

/// What one part of a query holds of what all of it may. Gives it back when it is dropped.
#[derive(Debug)]
pub(super) struct Budget {
    allowed: usize,
    /// By all parts.
    held: Arc<AtomicUsize>,
    own: usize,
    /// Whose it is, for the message.
    what: &'static str,
}

impl Budget {
    pub fn new(snapshot: &Snapshot, what: &'static str) -> Budget {
        Budget { allowed: snapshot.query_memory(), held: Arc::default(), own: 0, what }
    }

    /// For another part of the query, which holds nothing yet.
    pub fn part(&self) -> Budget {
        Budget { held: self.held.clone(), own: 0, ..*self }
    }

    /// Asks for so many bytes.
    pub fn take(&mut self, bytes: usize) -> Result<()> {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        self.own += bytes;
        if before.saturating_add(bytes) <= self.allowed {
            return Ok(());
        }
        Err(Error::stopped(format!(
            "{} takes more than the {} that a query may hold in memory; narrow it with WHERE, SINCE or LIMIT, \
             or raise Options::query_memory (--memory)",
            self.what,
            size(self.allowed)
        )))
    }

    /// Gives some back.
    pub fn give(&mut self, bytes: usize) {
        let bytes = bytes.min(self.own);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.own -= bytes;
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.give(self.own);
    }
}

/// Bytes, in the largest unit that tells them exactly.
fn size(bytes: usize) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
impl Budget {
    pub fn of(allowed: usize, what: &'static str) -> Budget {
        Budget { allowed, held: Arc::default(), own: 0, what }
    }

    pub fn endless() -> Budget {
        Budget::of(usize::MAX, "")
    }
}
