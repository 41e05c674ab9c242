//! The room in a segment: space that was filled with zeros and synced before a frame needs it. It grows in steps,
//! ahead of need. At its end stands a fill mark, so that it is seen when the file was cut.

use super::segment::START;

/// How the segments grow, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What is filled when a segment is created; each further step is twice the one before.
    pub first_step: u64,
    /// The largest step.
    pub max_step: u64,
    /// Where growing ahead of need ends: what the frames of one memtable take.
    pub segment: u64,
}

impl Sizes {
    /// A step is at least a block, so that growing comes to an end.
    pub(super) fn sane(self) -> Sizes {
        // In whole blocks: each step has room for its fill mark, at a multiple of the mark's size.
        let blocks = |bytes: u64, least: u64| bytes.clamp(least, 1 << 40).next_multiple_of(START);
        let first_step = blocks(self.first_step, START);
        Sizes {
            first_step,
            max_step: blocks(self.max_step, first_step),
            segment: blocks(self.segment, START),
        }
    }
}

/// The room in a segment, as offsets in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentSpace {
    /// Where the next frame begins.
    pub used: u64,
    /// Up to here zeros or frames are durable in the file, and a fill mark at the end, which no frame reaches.
    pub filled: u64,
    /// By how much it grows next.
    pub step: u64,
    /// Whether nothing in it is needed any more.
    pub free: bool,
    /// Whether frames of an earlier use may stand in it.
    pub worn: bool,
}

impl SegmentSpace {
    /// The room of a segment that was just created.
    pub fn new(sizes: &Sizes) -> SegmentSpace {
        let filled = START + sizes.first_step.min(sizes.segment);
        let step = (sizes.first_step * 2).min(sizes.max_step);
        SegmentSpace { used: START, filled, step, free: true, worn: false }
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.filled.saturating_sub(self.used)
    }

    /// Up to where it grows next ahead of need: never beyond the size of a segment.
    pub fn ahead(&self, sizes: &Sizes) -> u64 {
        (self.filled + self.step).min(START + sizes.segment)
    }

    /// Whether it is to grow as the active segment: when less is left than half the next step.
    pub fn runs_short(&self, sizes: &Sizes) -> bool {
        self.left() < self.step / 2 && self.filled < self.ahead(sizes)
    }

    /// Whether it is to grow as the other segment: it follows the size of the active one once that is half full, for
    /// then a switch is coming.
    pub fn lags(&self, active: &SegmentSpace, sizes: &Sizes) -> bool {
        let switch_is_coming = active.used > START + sizes.segment / 2;
        self.free && switch_is_coming && self.filled < active.filled.min(self.ahead(sizes))
    }

    /// It was filled up to `to`.
    pub fn grown(&mut self, to: u64, sizes: &Sizes) {
        self.filled = to;
        self.step = (self.step * 2).min(sizes.max_step);
    }
}
