//! The log: what makes frames durable, in their order, and keeps them until the tables hold them.
//!
//! Admission makes a frame in memory, a [`Log`] makes it durable directly behind the frame before it, and only then it is applied:
//! readers see it. What a log is made of it alone knows; whoever needs to know what is durable asks it. The [`local`] one is the
//! journal beside the database's file, and this process alone appends to it.

pub(crate) mod local;

use std::fmt::Debug;

use super::checkpoint::JournalAfter;
use super::journal::FrameBuffer;
use crate::entity::Position;
use crate::error::{Error, Result};

/// A log, as an open database uses it. One thread appends at a time.
pub(crate) trait Log: Debug + Send + Sync {
    /// Writes a frame behind the last one. It is durable after the next [`sync`](Log::sync).
    fn append(&self, frame: Append<'_>) -> Result<(), AppendError>;

    /// Makes every frame that was appended durable.
    ///
    /// # Errors
    /// After an error nobody knows what is durable: nothing more is appended.
    fn sync(&self) -> Result<()>;

    /// The active tail, which ends at `last`, is frozen: what is appended from now on is of the next one. `false`, and nothing changes,
    /// while the tables do not hold what was frozen before, if the log needs its room.
    fn turn(&self, last: Position) -> Result<bool>;

    /// The tables hold everything up to here durably.
    fn release(&self, through: Position);

    /// Whether [`maintain`](Log::maintain) has something to do.
    fn wants_maintenance(&self) -> bool {
        false
    }

    /// Does what makes later appends faster. For a background thread; whoever needs what failed of it gets the error.
    fn maintain(&self) {}

    /// Ends the session. `settle` moves everything that is applied into the tables, in one transaction that also notes what became of
    /// the journal.
    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()>;

    /// The local log, for tests that look into it.
    #[cfg(test)]
    fn as_local(&self) -> Option<&local::LocalLog> {
        None
    }
}

/// A frame that is to be appended.
#[derive(Debug)]
pub(crate) struct Append<'f> {
    /// The frame, as admission encoded it.
    pub buffer: &'f mut FrameBuffer,
    /// The position of its first event; of the moves of cursors the position that comes next.
    pub first: Position,
    /// How many events; 0 of the moves of cursors.
    pub count: u32,
    /// The highest position known to be durable; 0 if there is none.
    pub durable_through: u64,
}

/// Why a frame was not appended.
#[derive(Debug, Clone)]
pub(crate) enum AppendError {
    /// The log is as it was before: only this frame fails.
    Refused(Error),
    /// The log failed, now or before, and takes nothing more. The frame may or may not be in it.
    Failed(Error),
}
