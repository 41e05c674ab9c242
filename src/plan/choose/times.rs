//! When events must have happened to be wanted.

use std::ops::Bound;

use crate::plan::Window;
use crate::store::snapshot::Run;
use crate::time::Timestamp;

/// Bounds of what is wanted, wide rather than narrow: they say what may be passed over, not what is admitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub occurred: Between,
    pub recorded: Between,
}

/// Two instants, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Between {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Between {
    pub fn narrow(&mut self, low: Bound<Timestamp>, high: Bound<Timestamp>) {
        if let Bound::Included(at) | Bound::Excluded(at) = low {
            self.from = self.from.max(Some(at));
        }
        if let Bound::Included(at) | Bound::Excluded(at) = high {
            self.to = Some(self.to.map_or(at, |to| to.min(at)));
        }
    }

    fn meets(&self, (earliest, latest): (Timestamp, Timestamp)) -> bool {
        self.from.is_none_or(|from| latest >= from) && self.to.is_none_or(|to| earliest <= to)
    }

    fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

impl Times {
    pub fn narrow(&mut self, window: &Window) {
        let bound = |at: Option<Timestamp>| at.map_or(Bound::Unbounded, Bound::Included);
        self.occurred.narrow(bound(window.since), bound(window.before));
        self.occurred.narrow(Bound::Unbounded, bound(window.by));
    }

    /// Whether nothing can be passed over.
    pub fn is_open(&self) -> bool {
        self.occurred.is_open() && self.recorded.is_open()
    }

    /// Whether a run may hold something that is wanted.
    pub fn meets(&self, run: &Run) -> bool {
        self.occurred.meets(run.occurred) && self.recorded.meets(run.recorded)
    }
}
