//! What a query may hold in memory while it sorts, groups and counts.
//!
//! Everything that grows with the log asks here first. What is counted is what was asked for and about what an allocation costs
//! beside it; rows that are pulled one by one cost nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::allowance::Limits;
use crate::error::{Error, Result, size};
use crate::store::snapshot::Snapshot;

/// What an entry of a table or a list costs beside its bytes.
pub(super) const ENTRY: usize = 64;

/// What a view makes of a stretch of the log.
const PART: &str = "a part of a view";

/// How much is left, for all threads of a query.
#[derive(Debug)]
pub(super) struct Budget {
    allowed: usize,
    held: AtomicUsize,
    /// Whose it is, for the message.
    what: &'static str,
}

impl Budget {
    pub fn new(snapshot: &Snapshot, what: &'static str) -> Budget {
        Budget { allowed: snapshot.query_memory(), held: AtomicUsize::new(0), what }
    }

    /// For what is worked out of a stretch of the log: half of what one evaluation may make. Where that is too little, the stretch is to be
    /// shorter.
    pub fn of_part(limits: &Limits) -> Budget {
        let allowed = usize::try_from(limits.largest() / 2).unwrap_or(usize::MAX);
        Budget { allowed, held: AtomicUsize::new(0), what: PART }
    }

    /// For what is bounded by other means.
    pub fn endless() -> Budget {
        Budget { allowed: usize::MAX, held: AtomicUsize::new(0), what: "" }
    }

    /// How much is taken.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more was asked for than there is.
    pub fn is_over(&self) -> bool {
        self.held() > self.allowed
    }

    /// Asks for so many bytes.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held <= self.allowed {
            return Ok(());
        }
        if self.what == PART {
            let expected =
                format!("groups of a stretch of the log in at most {} of memory", size(self.allowed as u64));
            return Err(Error::invalid("a view", expected, "more; keep less in its columns"));
        }
        Err(Error::stopped(format!(
            "{} takes more than the {} that a query may hold in memory; narrow it with WHERE, SINCE or LIMIT, \
             or raise Options::query_memory (--memory)",
            self.what,
            size(self.allowed as u64)
        )))
    }

    /// Gives some back.
    pub fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Budget {
    pub fn of(allowed: usize, what: &'static str) -> Budget {
        Budget { allowed, held: AtomicUsize::new(0), what }
    }
}
