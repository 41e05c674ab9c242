//! The log: what makes frames durable, in their order, and keeps them until the tables hold them.
//!
//! Admission makes a frame in memory, a [`Log`] makes it durable directly behind the frame before it, and only then it is applied:
//! readers see it. What a log is made of it alone knows; whoever needs to know what is durable asks it. The [`local`] one is the
//! journal beside the database's file, and this process alone appends to it. A shared one has several databases on it, each a whole copy in
//! tables of its own: whoever appends names the place it goes on from, and where another was first it is [`Behind`](AppendError::Behind).
//! `nats` is one on a stream of NATS JetStream; `shared` is simulated, for tests.

pub(crate) mod local;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(test)]
pub(crate) mod shared;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::journal::{DatabaseId, Frame, FrameBuffer, Salt};
use crate::entity::Position;
use crate::error::{Error, Result};

/// What becomes of the journal when a checkpoint has moved its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalAfter {
    /// The session goes on.
    Kept,
    /// The journal with this salt has been taken in whole, and may be removed.
    Retired(Option<Salt>),
    /// There is none: the log is a stream, and what the tables hold ends with the message of this number.
    #[cfg_attr(not(feature = "nats"), allow(dead_code))]
    Elsewhere(u64),
}

/// A log, as an open database uses it. One thread appends at a time.
pub(crate) trait Log: Debug + Send + Sync {
    /// The database whose log it is.
    fn id(&self) -> DatabaseId;

    /// Whether others append to it, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Writes a frame directly behind a place. It is durable after the next [`sync`](Log::sync).
    fn append(&self, frame: FrameAppend<'_>) -> Result<(), AppendError>;

    /// Makes every frame that was appended durable.
    ///
    /// # Errors
    /// After an error nobody knows what is durable: nothing more is appended.
    fn sync(&self) -> Result<()>;

    /// Frames behind a position, in their order, some at a time; waits until then for the first. That none is left out, and that they
    /// go on from what is applied, is for the reader to check.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the log ends before the position.
    fn read(&self, _after: Position, _until: Instant) -> Result<Vec<LogFrame>> {
        Ok(Vec::new())
    }

    /// Whether a place is where the log ends, now: what was decided by what is before it holds, then.
    ///
    /// # Errors
    /// As [`read`](Log::read).
    fn ends_at(&self, place: LogPlace) -> Result<bool> {
        Ok(self.read(place.position, Instant::now())?.is_empty())
    }

    /// Gives way to others who wait to append, for a moment. Whether it is known that they appended something behind the head.
    fn give_way(&self, _head: Position) -> bool {
        false
    }

    /// How many events it holds behind a head; none where it is this process's alone, or does not say.
    fn lag(&self, _head: Position) -> Option<u64> {
        None
    }

    /// How many bytes of events a frame may have.
    fn most_bytes(&self) -> usize {
        usize::MAX
    }

    /// How long to find out what became of a frame, before its callers are told that nobody knows.
    fn longest_doubt(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The active memtable, which ends at `last`, is frozen: what is appended from now on is of the next one. `false`, and nothing changes,
    /// while the tables do not hold what was frozen before, if the log needs its room.
    fn turn(&self, last: Position) -> Result<bool>;

    /// The tables hold everything up to here durably.
    fn release(&self, through: Position);

    /// What a checkpoint up to a position notes of the log.
    fn after_checkpoint(&self, _through: Position) -> JournalAfter {
        JournalAfter::Kept
    }

    /// Whether [`maintain`](Log::maintain) has something to do.
    fn wants_maintenance(&self) -> bool {
        false
    }

    /// Does what makes later appends faster. For a background thread; whoever needs what failed of it gets the error.
    fn maintain(&self) {}

    /// Ends what there is beside the file, of which the tables hold everything: what is appended next begins anew. `settle` notes it. Nobody appends
    /// meanwhile.
    fn end_journal(&self, _settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        Ok(())
    }

    /// How many bytes it has on the disk of this database, beside the file.
    fn bytes(&self) -> u64 {
        0
    }

    /// Ends the session. `settle` moves everything that is applied into the tables, in one transaction that also notes what became of
    /// the journal.
    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()>;

    /// The local log, for tests that look into it.
    #[cfg(test)]
    fn as_local(&self) -> Option<&local::LocalLog> {
        None
    }
}

/// A place in the log: what comes after it goes on from there only for whoever has the same log up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPlace {
    /// The last position before it.
    pub position: Position,
    /// The chain hash there. A log that is not shared is not asked for it, and has zeros.
    #[cfg_attr(not(any(test, feature = "nats")), allow(dead_code))]
    pub chain: [u8; 32],
}

/// A frame that was read from the log.
#[derive(Debug, Clone)]
#[cfg_attr(not(any(test, feature = "nats")), allow(dead_code))] // The local log gives none.
pub(crate) struct LogFrame {
    /// The number that it was appended by, if it was by this handle.
    pub own: Option<u64>,
    /// The chain hash before it, as its writer had it.
    pub before: [u8; 32],
    pub frame: Arc<Frame>,
}

/// A frame that is to be appended.
#[derive(Debug)]
pub(crate) struct FrameAppend<'f> {
    /// The frame, as admission encoded it.
    pub buffer: &'f mut FrameBuffer,
    /// Directly behind it.
    pub after: LogPlace,
    /// Which of this session's: one that is appended again has the same number.
    #[cfg_attr(not(any(test, feature = "nats")), allow(dead_code))]
    // A log that never is in doubt needs none.
    pub number: u64,
    /// How many events; 0 of the moves of cursors.
    pub count: u32,
    /// The highest position known to be durable; 0 if there is none.
    pub durable_through: Position,
}

/// Why a frame was not appended.
#[derive(Debug, Clone)]
#[cfg_attr(not(any(test, feature = "nats")), allow(dead_code))] // A local log is never behind, and always knows.
pub(crate) enum AppendError {
    /// Another frame is behind that place: what was admitted without it is to be admitted again.
    Behind,
    /// There was no answer: the frame is in the log, or comes into it late, or never does.
    Unknown,
    /// The log has lost these, which are applied here.
    #[cfg_attr(not(test), allow(dead_code))] // That on a stream asks more than once, as it reads.
    Lost { from: Position, to: Position },
    /// The log is as it was before: only this frame fails.
    Refused(Error),
    /// The log failed, now or before, and takes nothing more. The frame may or may not be in it.
    Failed(Error),
}

#[cfg(test)]
mod tests;
