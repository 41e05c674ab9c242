//! The committer: what only the leader touches, whoever that is.

use super::closings::Closings;
use super::journal::FrameBuffer;
use crate::event::id::IdSource;
use crate::time::Timestamp;

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(super) frame: FrameBuffer,
    /// That of the moves of cursors.
    pub(super) moves: FrameBuffer,
    pub(super) ids: IdSource,
    /// When the newest event was recorded.
    pub(super) recorded: Option<Timestamp>,
    /// The chain hash at the head, where the log is shared.
    pub(super) chain: [u8; 32],
    /// The number of the last frame.
    pub(super) number: u64,
    pub(super) closings: Closings,
    /// The first write after opening must not share its millisecond with the last one before.
    pub(super) reopened: bool,
}

impl Committer {
    pub fn new(recorded: Option<Timestamp>, chain: [u8; 32]) -> Committer {
        Committer {
            frame: FrameBuffer::new(),
            moves: FrameBuffer::new(),
            ids: IdSource::default(),
            recorded,
            chain,
            number: 0,
            closings: Closings::new(),
            reopened: true,
        }
    }

    /// The instant of a commit: the clock's, to the microsecond, but never before the last.
    pub fn now(&self, clock: Timestamp) -> Timestamp {
        let clock = clock.to_micros();
        let Some(last) = self.recorded else { return clock };
        if self.reopened && clock.as_millis() <= last.as_millis() {
            // Ids of this session begin at a random place: they grow past the last session's only in a later millisecond.
            return Timestamp::from_millis(last.as_millis() + 1);
        }
        clock.max(last)
    }
}
