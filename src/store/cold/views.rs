//! The table of views: what is kept of their groups, all of it to be made again from the log.
//!
//! | table | key | value |
//! |---|---|---|
//! | `views` | the position of a definition ‖ the key of a group | what its aggregates keep, as of `followers`; nothing of a group that is too large |
//!
//! Positions are 8 bytes, big-endian. How far the groups of a definition are kept is in `followers`, as it is for states
//! ([`states`](super::states)). What a row holds is never needed: whoever reads goes by the log where one is damaged.

use redb::ReadableTable;

use super::{ColdRead, Tables, VIEWS, failed, sealed, unsealed};
use crate::entity::Position;
use crate::error::Result;

const READING: &str = "reading views";
const WRITING: &str = "writing views";

fn key_of(definition: Position, key: &[u8]) -> Vec<u8> {
    [definition.0.to_be_bytes().as_slice(), key].concat()
}

fn place() -> String {
    "a kept group of a view".to_owned()
}

impl Tables<'_> {
    /// Lends what is kept of a group.
    pub fn with_group<T>(
        &self,
        definition: Position,
        key: &[u8],
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let key = key_of(definition, key);
        match self.views.get(key.as_slice()).map_err(|e| failed(READING, e))? {
            None => with(None),
            Some(row) => with(Some(unsealed(&key, row.value(), place)?)),
        }
    }

    pub fn put_group(&mut self, definition: Position, key: &[u8], bytes: Vec<u8>) -> Result<()> {
        let key = key_of(definition, key);
        let value = sealed(&key, bytes);
        self.views.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }
}

impl ColdRead<'_> {
    /// Hands over what is kept of each group of a view, in the order of their keys, as far as it can be read.
    pub fn each_group(
        &self,
        definition: Position,
        mut group: impl FnMut(&[u8], Result<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let Some(table) = self.table_if_any(VIEWS)? else { return Ok(()) };
        let prefix = definition.0.to_be_bytes();
        for row in table.range::<&[u8]>(prefix.as_slice()..).map_err(|e| failed(READING, e))? {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            let Some(rest) = key.value().strip_prefix(&prefix) else { break };
            group(rest, unsealed(key.value(), value.value(), place))?;
        }
        Ok(())
    }
}
