//! The table `cursors`: where those who follow the log are in it.
//!
//! The key is an `s` and the name of a subscription, or a `p` and the position of the definition of a program (8 bytes,
//! big-endian). The value is a [`Cursor`] as a MessagePack array, and its checksum.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CURSORS, TablesRead, WriteTables, failed, sealed, unsealed};
use crate::entity::{NameText, Position};
use crate::error::{Error, Result};

/// Whose place it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum CursorOwner {
    /// A subscription, by its name.
    Subscription(String),
    /// A reaction, a webhook or a schedule, by where the definition is that it began with.
    Program(Position),
}

impl fmt::Display for CursorOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CursorOwner::Subscription(name) => write!(f, "the subscription {}", NameText(name)),
            CursorOwner::Program(definition) => write!(f, "what is defined at {definition}"),
        }
    }
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Everything up to here is done. Of a schedule: the instant it ran for last, in milliseconds since 1970, which is no position but sorts as one.
    pub position: Position,
    /// What was said to the follower itself (`RETRY`, `SKIP`) up to here is done.
    pub heard: Position,
    /// What it follows, as it was said. Of what runs by itself: what it struggles with, or did last.
    pub text: String,
    /// Which of those of this name it is: one that was dropped and made anew has another number. 0 of those that earlier versions made.
    #[serde(default)]
    pub birth: u64,
}

impl Cursor {
    pub fn new(position: Position, heard: Position, text: String) -> Cursor {
        Cursor { position, heard, text, birth: 0 }
    }
}

const SUBSCRIPTION: u8 = b's';
const PROGRAM: u8 = b'p';

pub(super) fn key(follower: &CursorOwner) -> Vec<u8> {
    match follower {
        CursorOwner::Subscription(name) => [&[SUBSCRIPTION], name.as_bytes()].concat(),
        CursorOwner::Program(definition) => [&[PROGRAM], definition.to_be_bytes().as_slice()].concat(),
    }
}

fn follower(key: &[u8]) -> Option<CursorOwner> {
    let (space, rest) = key.split_first()?;
    match *space {
        SUBSCRIPTION => String::from_utf8(rest.to_vec()).ok().map(CursorOwner::Subscription),
        PROGRAM => rest.try_into().ok().map(|bytes| CursorOwner::Program(Position::from_be_bytes(bytes))),
        _ => None,
    }
}

impl WriteTables<'_> {
    pub fn put_cursor(&mut self, follower: &CursorOwner, cursor: &Cursor) -> Result<()> {
        let key = key(follower);
        let value = rmp_serde::to_vec(cursor);
        let value =
            value.map_err(|e| Error::invalid("a cursor", "one that can be written", e.to_string()))?;
        let value = sealed(&key, value);
        self.cursors.insert(key.as_slice(), value.as_slice()).map_err(|e| failed("writing cursors", e))?;
        Ok(())
    }

    pub fn remove_cursor(&mut self, follower: &CursorOwner) -> Result<()> {
        self.cursors.remove(key(follower).as_slice()).map_err(|e| failed("dropping a cursor", e))?;
        Ok(())
    }
}

impl TablesRead<'_> {
    /// All of them. One that is damaged is an error of its own: the others are as they are.
    pub fn cursors(&self) -> Result<Vec<(CursorOwner, Result<Cursor>)>> {
        let Some(table) = self.table_if_any(CURSORS, "the cursors")? else { return Ok(Vec::new()) };
        let mut rows = table.iter()?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (key, value) = (row.key(), row.value());
            let Some(follower) = follower(key) else {
                return Err(Error::corrupt("the cursors", "a key that is none"));
            };
            let place = || format!("the cursor of {follower}");
            let cursor = unsealed(key, value, place).and_then(|bytes| {
                rmp_serde::from_slice(bytes).map_err(|e| Error::corrupt(place(), e.to_string()))
            });
            found.push((follower, cursor));
        }
        Ok(found)
    }
}
