//! When events must have happened to be wanted.

use std::ops::Bound;

use crate::plan::window::LogWindow;
use crate::store::snapshot::ZoneRange;
use crate::time::Timestamp;

/// Bounds of what is wanted: they say what may be passed over, not what is admitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub occurred: Between,
    pub recorded: Between,
}

/// What lies between two instants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Between {
    /// And whether that is left out: the later is the narrower.
    from: Option<(Timestamp, bool)>,
    /// And whether that is within: the earlier is the narrower.
    to: Option<(Timestamp, bool)>,
}

impl Between {
    pub fn narrow(&mut self, low: Bound<Timestamp>, high: Bound<Timestamp>) {
        if let Bound::Included(at) | Bound::Excluded(at) = low {
            self.from = self.from.max(Some((at, matches!(low, Bound::Excluded(_)))));
        }
        if let Bound::Included(at) | Bound::Excluded(at) = high {
            let at = (at, matches!(high, Bound::Included(_)));
            self.to = Some(self.to.map_or(at, |to| to.min(at)));
        }
    }

    fn meets(&self, (earliest, latest): (Timestamp, Timestamp)) -> bool {
        self.from.is_none_or(|(from, left_out)| latest > from || latest == from && !left_out)
            && self.to.is_none_or(|(to, within)| earliest < to || earliest == to && within)
    }

    fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

impl Times {
    pub fn narrow(&mut self, window: &LogWindow) {
        let included = |at: Option<Timestamp>| at.map_or(Bound::Unbounded, Bound::Included);
        let before = window.before.map_or(Bound::Unbounded, Bound::Excluded);
        self.occurred.narrow(included(window.since), before);
        self.occurred.narrow(Bound::Unbounded, included(window.by));
    }

    /// Whether nothing can be passed over.
    pub fn is_open(&self) -> bool {
        self.occurred.is_open() && self.recorded.is_open()
    }

    /// Whether a run may hold something that is wanted.
    pub fn meets(&self, run: &ZoneRange) -> bool {
        self.occurred.meets(run.occurred) && self.recorded.meets(run.recorded)
    }
}
