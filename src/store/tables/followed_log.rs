//! Of meta: the log that a file follows, where that is not the journal beside it.

use super::{FORMAT, TablesRead, WriteTables};
use crate::error::Result;
use crate::store::journal::DatabaseId;

/// The database whose log it is; zeros until that is known.
const LOG: &str = "log";
/// The number of a message that C may be at.
const SEQUENCE: &str = "sequence";

/// The log that a file follows: it takes events from nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FollowedLog {
    /// The database whose log it is, once it was opened.
    pub id: Option<DatabaseId>,
    /// The number of the message that C is at, where nothing went wrong: whoever uses it looks whether it is.
    #[cfg_attr(not(feature = "nats"), allow(dead_code))]
    pub sequence: u64,
}

impl TablesRead<'_> {
    /// The log that the file follows; none where its events are its own.
    pub fn followed_log(&self) -> Result<Option<FollowedLog>> {
        let Some(id) = self.meta_value::<16>(LOG)? else { return Ok(None) };
        let id = (id != [0; 16]).then_some(DatabaseId(id));
        Ok(Some(FollowedLog { id, sequence: self.meta_number(SEQUENCE)?.unwrap_or(0) }))
    }
}

impl WriteTables<'_> {
    /// Says which log the file follows. Versions that know of none do not open it, as they would append to it.
    pub fn set_followed_log(&mut self, log: FollowedLog) -> Result<()> {
        self.set_format(FORMAT)?;
        self.set_meta(LOG, &log.id.map_or([0; 16], |id| id.0))?;
        self.set_log_sequence(log.sequence)
    }

    /// Says which message C is at.
    pub fn set_log_sequence(&mut self, sequence: u64) -> Result<()> {
        self.set_meta(SEQUENCE, &sequence.to_be_bytes())
    }
}
