//! The table of views: what is kept of their groups, all of it to be made again from the log.
//!
//! | table | key | value |
//! |---|---|---|
//! | `views` | the position of a definition ‖ the key of a group | what its aggregates keep, as of `followers`; nothing of a group that is too large |
//!
//! Positions are 8 bytes, big-endian. How far the groups of a definition are kept is in `followers`, as it is for states
//! ([`states`](super::states)). What a row holds is never needed: whoever reads goes by the log where one is damaged.

use redb::ReadableTable;

use super::states::after_prefix;
use super::{TablesRead, VIEWS, WriteTables, failed, sealed, unsealed};
use crate::entity::Position;
use crate::error::{Error, Result};

const GROUPS: &str = "the kept groups of views";
const READING: &str = "reading views";
const WRITING: &str = "writing views";

fn key_of(definition: Position, key: &[u8]) -> Vec<u8> {
    [definition.to_be_bytes().as_slice(), key].concat()
}

fn place() -> String {
    "a kept group of a view".to_owned()
}

impl WriteTables<'_> {
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

impl TablesRead<'_> {
    /// Hands over what is kept of each group of a view, in the order of their keys, as far as it can be read.
    pub fn each_group(
        &self,
        definition: Position,
        mut group: impl FnMut(&[u8], Result<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        self.groups_from(definition, &[], |key, bytes| group(key, bytes).map(|()| true))
    }

    /// The same from a key on, until it is told to stop.
    pub fn groups_from(
        &self,
        definition: Position,
        from: &[u8],
        mut group: impl FnMut(&[u8], Result<&[u8]>) -> Result<bool>,
    ) -> Result<()> {
        let Some(table) = self.table_if_any(VIEWS, GROUPS)? else { return Ok(()) };
        let prefix = definition.to_be_bytes();
        table.within(&[prefix.as_slice(), from].concat(), after_prefix(&prefix).as_deref(), |key, value| {
            let value = value.map_err(|_| Error::corrupt(place(), "its checksum does not fit its bytes"));
            group(key.get(prefix.len()..).unwrap_or_default(), value)
        })
    }

    /// From where on groups can be read again, behind where they cannot.
    pub fn groups_readable_after(&self, definition: Position, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(table) = self.table_if_any(VIEWS, GROUPS)? else { return Ok(None) };
        let prefix = definition.to_be_bytes();
        let key = [prefix.as_slice(), from].concat();
        let readable = table.readable_after(&key, after_prefix(&prefix).as_deref());
        Ok(readable.and_then(|key| key.get(prefix.len()..).map(<[u8]>::to_vec)))
    }
}
