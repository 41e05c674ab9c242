//! Moves of cursors in the journal: a place that is acknowledged is durable with the next frame of events, before the background writes
//! it into the tables.
//!
//! The payload of a frame of the kind [`Cursors`](super::journal::FrameKind::Cursors) is a MessagePack array of moves, each an array: whose
//! it is, which of those of that name, up to where it is done, and up to where it has heard what was said to it. What a move says holds for a cursor that is still the same and not
//! further by then; so it does not matter which of them the tables know already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::tables::Tables;
use super::tables::cursors::{Cursor, CursorOwner};
use crate::entity::Position;
use crate::error::{Error, Result};

/// As many go into one frame at most; the others go with the next one.
pub(super) const MOST: usize = 1000;

/// How far a cursor has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    follower: CursorOwner,
    birth: u64,
    position: Position,
    heard: Position,
}

impl Move {
    pub fn of(follower: &CursorOwner, cursor: &Cursor) -> Move {
        let Cursor { birth, position, heard, .. } = *cursor;
        Move { follower: follower.clone(), birth, position, heard }
    }
}

/// Appends moves to the payload of a frame.
pub(super) fn write(moves: &[Move], mut payload: &mut Vec<u8>) -> Result<()> {
    rmp_serde::encode::write(&mut payload, moves)
        .map_err(|e| Error::invalid("moves of cursors", "some that can be written", e.to_string()))
}

/// Up to where a cursor is done, and has heard what was said to it.
#[derive(Debug, Clone, Copy)]
struct Moved {
    position: Position,
    heard: Position,
}

/// The last moves of each cursor that a journal holds: by whose it is, and which of those of that name.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<(CursorOwner, u64), Moved>);

impl Moves {
    /// Takes in what a frame holds, in the order of the frames.
    pub fn take_in(&mut self, payload: &[u8]) -> Result<()> {
        let moves: Vec<Move> = rmp_serde::from_slice(payload)
            .map_err(|e| Error::corrupt("the moves of cursors in the journal", e.to_string()))?;
        for Move { follower, birth, position, heard } in moves {
            self.0.insert((follower, birth), Moved { position, heard });
        }
        Ok(())
    }

    /// Brings the cursors in the tables up to them.
    pub fn apply(self, tables: &Tables) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut moved = Vec::new();
        for (follower, cursor) in tables.read()?.cursors()? {
            // One that is damaged stays so.
            let Ok(cursor) = cursor else { continue };
            let Some(&Moved { position, heard }) = self.0.get(&(follower.clone(), cursor.birth)) else {
                continue;
            };
            let now = Cursor {
                position: cursor.position.max(position),
                heard: cursor.heard.max(heard),
                ..cursor.clone()
            };
            if now != cursor {
                moved.push((follower, now));
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        tables.write("taking in the moves of cursors", |tables| {
            moved.iter().try_for_each(|(follower, cursor)| tables.put_cursor(follower, cursor))
        })
    }
}
