//! Cursors: where those who follow the log are in it, kept.
//!
//! A durable subscription has one, and so has every program. All of them are in memory. A move goes into the journal with the next frame of
//! events ([`cursor_moves`]), and the background writes it into the tables, soon, also where there is no such frame: a crash loses the last
//! moves at most, and what they stood for is delivered again. To make one and to drop one is durable at once, and so is a move where
//! somebody waits for it. A cursor is never ahead of what is durable of the log.
//!
//! Whoever writes them is in [`cursor_writer`](super::cursor_writer). Two locks: that of writing first, then that of their state, which is held for
//! a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use super::catalog::{Catalog, Program};
use super::cursor_moves::{self, Move};
use super::mutex::locked;
pub(crate) use super::tables::cursors::{Cursor, CursorOwner};
use crate::entity::Position;
use crate::error::Result;
use crate::time::Timestamp;

impl CursorOwner {
    pub fn of(program: &Program) -> CursorOwner {
        CursorOwner::Program(program.origin)
    }
}

impl Cursor {
    /// Where a program begins of which no place is known: behind the head, or now.
    pub fn begin(program: &Program, head: Position, now: Timestamp) -> Cursor {
        let position = match program.kind.goes_by_time() {
            true => Position(u64::try_from(now.as_millis()).unwrap_or(0)),
            false => head,
        };
        Cursor::new(position, head, String::new())
    }
}

/// All cursors of an open database.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    pub(super) state: Mutex<CursorState>,
    pub(super) changed: Condvar,
    /// Whether some have moved that are not in the journal.
    afoot: AtomicBool,
    /// Held while they are written, so that an older place does not come after a newer one.
    pub(super) writing: Mutex<()>,
}

#[derive(Debug, Default)]
pub(super) struct CursorState {
    pub(super) cursors: BTreeMap<CursorOwner, Result<Cursor>>,
    /// Those that moved since they were written.
    pub(super) moved: BTreeSet<CursorOwner>,
    /// Those that moved since a frame of the journal told of them.
    pub(super) afoot: BTreeSet<CursorOwner>,
    /// Those that somebody reads by now.
    pub(super) attached: BTreeMap<CursorOwner, String>,
    /// What those struggle with that run now.
    pub(super) troubles: BTreeMap<CursorOwner, String>,
    pub(super) stop: bool,
}

impl Cursors {
    /// The cursors that the tables hold, none of them beyond the head. The place of a schedule is none in the log.
    pub fn new(found: Vec<(CursorOwner, Result<Cursor>)>, head: Position, catalog: &Catalog) -> Cursors {
        let goes_by_time = |follower: &CursorOwner| {
            let mut programs = catalog.programs().filter(|program| program.kind.goes_by_time());
            programs.any(|program| *follower == CursorOwner::of(program))
        };
        let (mut cursors, mut moved) = (BTreeMap::new(), BTreeSet::new());
        for (follower, cursor) in found {
            // Only the loss of a journal leaves one that is ahead. It is written back: what comes after the head is another log.
            let most = if goes_by_time(&follower) { Position::MAX } else { head };
            let cursor = cursor.map(|cursor| {
                let (position, heard) = (cursor.position.min(most), cursor.heard.min(head));
                if (position, heard) != (cursor.position, cursor.heard) {
                    moved.insert(follower.clone());
                }
                Cursor { position, heard, ..cursor }
            });
            cursors.insert(follower, cursor);
        }
        let state = CursorState { cursors, moved, ..CursorState::default() };
        Cursors { state: Mutex::new(state), ..Cursors::default() }
    }

    /// Where a follower is, if it has a place.
    ///
    /// # Errors
    /// If what is kept of it is damaged.
    pub fn get(&self, follower: &CursorOwner) -> Result<Option<Cursor>> {
        locked(&self.state).cursors.get(follower).cloned().transpose()
    }

    /// All that there are.
    pub fn all(&self) -> Vec<(CursorOwner, Result<Cursor>)> {
        let state = locked(&self.state);
        state.cursors.iter().map(|(follower, cursor)| (follower.clone(), cursor.clone())).collect()
    }

    /// Moves a cursor that there is. It is written soon.
    pub fn change(&self, follower: &CursorOwner, change: impl FnOnce(&mut Cursor)) {
        self.change_locked(&mut locked(&self.state), follower, change);
    }

    fn change_locked(
        &self,
        state: &mut CursorState,
        follower: &CursorOwner,
        change: impl FnOnce(&mut Cursor),
    ) {
        let Some(Ok(cursor)) = state.cursors.get_mut(follower) else { return };
        let before = cursor.clone();
        change(cursor);
        if (cursor.position, cursor.heard) != (before.position, before.heard) {
            state.afoot.insert(follower.clone());
            self.afoot.store(true, Ordering::Release);
        }
        if *cursor != before && state.moved.insert(follower.clone()) && state.moved.len() == 1 {
            self.changed.notify_all();
        }
    }

    /// Which of those of this name it is: another one has another number. None where there is none.
    pub fn birth(&self, follower: &CursorOwner) -> Option<u64> {
        let state = locked(&self.state);
        // One that is damaged has none that anybody knows.
        state.cursors.get(follower).map(|cursor| cursor.as_ref().map_or(0, |cursor| cursor.birth))
    }

    /// Moves a cursor as [`change`](Self::change) does, if it is still the one that was born so. Says whether it is.
    pub fn change_born(&self, follower: &CursorOwner, birth: u64, change: impl FnOnce(&mut Cursor)) -> bool {
        let mut state = locked(&self.state);
        let is_it = state.cursors.get(follower).is_some_and(|cursor| match cursor {
            Ok(cursor) => cursor.birth == birth,
            Err(_) => birth == 0,
        });
        if is_it {
            self.change_locked(&mut state, follower, change);
        }
        is_it
    }

    /// The moves that the journal is to tell of next.
    pub(super) fn afoot(&self) -> Vec<Move> {
        if !self.afoot.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut state = locked(&self.state);
        let mut taken = Vec::new();
        while taken.len() < cursor_moves::MOST
            && let Some(follower) = state.afoot.pop_first()
        {
            if let Some(Ok(cursor)) = state.cursors.get(&follower) {
                taken.push(Move::of(&follower, cursor));
            }
        }
        if !state.afoot.is_empty() {
            self.afoot.store(true, Ordering::Release);
        }
        taken
    }

    /// Who reads it now, as they said when they began.
    pub fn reader(&self, follower: &CursorOwner) -> Option<String> {
        locked(&self.state).attached.get(follower).cloned()
    }

    /// What a follower struggles with now, as it says.
    pub fn trouble(&self, follower: &CursorOwner) -> Option<String> {
        locked(&self.state).troubles.get(follower).cloned()
    }

    /// Says what a follower struggles with now, or that it does not. It is kept with the cursor, for whoever asks when nobody runs it any
    /// more.
    pub fn set_trouble(&self, follower: &CursorOwner, trouble: Option<String>) {
        let mut state = locked(&self.state);
        if matches!(follower, CursorOwner::Program(_)) {
            let text = trouble.as_deref().unwrap_or_default();
            self.change_locked(&mut state, follower, |cursor| {
                if cursor.text != text {
                    text.clone_into(&mut cursor.text);
                }
            });
        }
        match trouble {
            Some(trouble) => drop(state.troubles.insert(follower.clone(), trouble)),
            None => drop(state.troubles.remove(follower)),
        }
    }

    /// Says that nobody runs a follower any more. What it struggled with last stays with its cursor.
    #[cfg(feature = "webhooks")]
    pub fn end_trouble(&self, follower: &CursorOwner) {
        locked(&self.state).troubles.remove(follower);
    }

    /// Lets the thread that writes them end.
    pub fn stop(&self) {
        locked(&self.state).stop = true;
        self.changed.notify_all();
    }
}
