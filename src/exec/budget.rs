//! What a query may hold in memory while it sorts, groups and counts.
//!
//! Everything that grows with the log asks here first. What is counted is what was asked for and about what an allocation costs
//! beside it; rows that are pulled one by one cost nothing.

use crate::error::{Error, Result};
use crate::store::snapshot::Snapshot;

/// What an entry of a table or a list costs beside its bytes.
pub(super) const ENTRY: usize = 64;

/// How much is left.
#[derive(Debug)]
pub(super) struct Budget {
    allowed: usize,
    held: usize,
    /// Whose it is, for the message.
    what: &'static str,
}

impl Budget {
    pub fn new(snapshot: &Snapshot, what: &'static str) -> Budget {
        Budget { allowed: snapshot.query_memory(), held: 0, what }
    }

    /// Asks for so many bytes.
    pub fn take(&mut self, bytes: usize) -> Result<()> {
        self.held = self.held.saturating_add(bytes);
        if self.held <= self.allowed {
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
        self.held = self.held.saturating_sub(bytes);
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
        Budget { allowed, held: 0, what }
    }

    pub fn endless() -> Budget {
        Budget::of(usize::MAX, "")
    }
}
