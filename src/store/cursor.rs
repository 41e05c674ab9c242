//! Cursors: where those who follow the log are in it, kept.
//!
//! A durable subscription has one, and so has every program. All of them are in memory. A move goes into the journal with the next frame of
//! events ([`cursor_moves`]), and the background writes it into the tables, soon, also where there is no such frame: a crash loses the last
//! moves at most, and what they stood for is delivered again. To make one and to drop one is durable at once, and so is a move where
//! somebody waits for it. A cursor is never ahead of what is durable of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::catalog::{Catalog, Program, ProgramKind};
use super::cursor_moves::{self, Move};
use super::tables::WriteTables;
pub(crate) use super::tables::cursors::{Cursor, CursorOwner};
use super::{Shared, locked};
use crate::entity::Position;
use crate::error::{Error, Result};

/// How long moves wait to be written together.
const SOON: Duration = Duration::from_millis(100);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl CursorOwner {
    pub fn of(program: &Program) -> CursorOwner {
        CursorOwner::Program(program.origin)
    }
}

/// All cursors of an open database.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    state: Mutex<CursorState>,
    changed: Condvar,
    /// Whether some have moved that are not in the journal.
    afoot: AtomicBool,
    /// Held while they are written, so that an older place does not come after a newer one.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct CursorState {
    cursors: BTreeMap<CursorOwner, Result<Cursor>>,
    /// Those that moved since they were written.
    moved: BTreeSet<CursorOwner>,
    /// Those that moved since a frame of the journal told of them.
    afoot: BTreeSet<CursorOwner>,
    /// Those that somebody reads by now.
    attached: BTreeMap<CursorOwner, String>,
    /// What those struggle with that run now.
    troubles: BTreeMap<CursorOwner, String>,
    stop: bool,
}

impl Cursors {
    /// The cursors that the tables hold, none of them beyond the head. The place of a schedule is none in the log.
    pub fn new(found: Vec<(CursorOwner, Result<Cursor>)>, head: Position, catalog: &Catalog) -> Cursors {
        let goes_by_time = |follower: &CursorOwner| {
            let mut programs = catalog.programs().filter(|program| program.kind.goes_by_time());
            programs.any(|program| *follower == CursorOwner::of(program))
        };
        let mut cursors = BTreeMap::new();
        for (follower, cursor) in found {
            // Only the loss of a journal leaves one that is ahead.
            let most = if goes_by_time(&follower) { Position::MAX } else { head };
            let cursor = cursor.map(|cursor| Cursor {
                position: cursor.position.min(most),
                heard: cursor.heard.min(head),
                ..cursor
            });
            cursors.insert(follower, cursor);
        }
        Cursors { state: Mutex::new(CursorState { cursors, ..CursorState::default() }), ..Cursors::default() }
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

/// The one who reads a cursor. Others may once this is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    shared: Arc<Shared>,
    follower: CursorOwner,
}

impl Drop for Attached {
    fn drop(&mut self) {
        locked(&self.shared.cursors.state).attached.remove(&self.follower);
    }
}

impl Shared {
    /// Becomes the one reader of a cursor. `who` is what others are told.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one.
    pub fn attach(self: &Arc<Shared>, follower: &CursorOwner, who: String) -> Result<Attached> {
        let mut state = locked(&self.cursors.state);
        if let Some(first) = state.attached.get(follower) {
            return Err(Error::conflict(follower.to_string(), "one reader at a time", first.clone()));
        }
        state.attached.insert(follower.clone(), who);
        Ok(Attached { shared: self.clone(), follower: follower.clone() })
    }

    /// Makes a cursor. When this returns it is durable.
    pub fn create_cursor(&self, follower: &CursorOwner, cursor: Cursor) -> Result<()> {
        let birth = getrandom::u64().map_err(|e| {
            Error::io("asking the system for a random number", std::io::Error::other(e.to_string()))
        })?;
        let cursor = Cursor { birth: birth.max(1), ..cursor };
        let _writing = locked(&self.cursors.writing);
        self.name.check()?;
        self.tables.write("making a cursor", |tables| tables.put_cursor(follower, &cursor))?;
        let mut state = locked(&self.cursors.state);
        state.moved.remove(follower);
        state.cursors.insert(follower.clone(), Ok(cursor));
        Ok(())
    }

    /// Drops a cursor. When this returns that is durable. Says whether there was one.
    pub fn remove_cursor(&self, follower: &CursorOwner) -> Result<bool> {
        let _writing = locked(&self.cursors.writing);
        self.name.check()?;
        if !locked(&self.cursors.state).cursors.contains_key(follower) {
            return Ok(false);
        }
        self.tables.write("dropping a cursor", |tables| tables.remove_cursor(follower))?;
        let mut state = locked(&self.cursors.state);
        state.moved.remove(follower);
        Ok(state.cursors.remove(follower).is_some())
    }

    /// Writes the moves that are not written yet, and drops the cursors of programs that are no more.
    pub fn write_cursors(&self) -> Result<()> {
        let _writing = locked(&self.cursors.writing);
        let catalog = self.applied.catalog();
        let (moved, gone) = {
            let mut state = locked(&self.cursors.state);
            let is_gone = |follower: &CursorOwner| match follower {
                CursorOwner::Subscription(_) => false,
                CursorOwner::Program(at) => !catalog.programs().any(|program| program.origin == *at),
            };
            let gone: Vec<CursorOwner> =
                state.cursors.keys().filter(|&follower| is_gone(follower)).cloned().collect();
            for follower in &gone {
                state.cursors.remove(follower);
                state.moved.remove(follower);
            }
            let moved: Vec<(CursorOwner, Cursor)> = std::mem::take(&mut state.moved)
                .into_iter()
                .filter_map(|follower| {
                    let cursor = state.cursors.get(&follower)?.clone().ok()?;
                    Some((follower, cursor))
                })
                .collect();
            (moved, gone)
        };
        if moved.is_empty() && gone.is_empty() {
            return Ok(());
        }
        // What was done up to there is durable before the place is.
        let done = self.sync_log();
        done.inspect_err(|_| self.write_again(&moved))?;
        let write = |tables: &mut WriteTables| {
            gone.iter().try_for_each(|follower| tables.remove_cursor(follower))?;
            moved.iter().try_for_each(|(follower, cursor)| tables.put_cursor(follower, cursor))
        };
        self.tables.write("writing cursors", write).inspect_err(|_| self.write_again(&moved))
    }

    /// Lets moves be written with the next try.
    fn write_again(&self, moved: &[(CursorOwner, Cursor)]) {
        let mut state = locked(&self.cursors.state);
        state.moved.extend(moved.iter().map(|(follower, _)| follower.clone()));
    }

    /// What was done may be lost with a journal, though a place says that it was: reactions begin anew, since to do a thing again
    /// does nothing, and what others had done is not done again. When this returns that is durable.
    pub fn set_cursors_back(&self) -> Result<()> {
        let reactions: Vec<CursorOwner> = {
            let catalog = self.applied.catalog();
            let reactions = catalog.programs().filter(|program| program.kind == ProgramKind::Reaction);
            reactions.map(|program| CursorOwner::of(program)).collect()
        };
        for reaction in &reactions {
            self.remove_cursor(reaction)?;
        }
        {
            let mut state = locked(&self.cursors.state);
            let all = state.cursors.keys().cloned().collect();
            state.moved = all;
        }
        self.write_cursors()
    }
}

/// The thread that writes them.
pub(super) fn keeper(shared: &Arc<Shared>) {
    let cursors = &shared.cursors;
    let mut pause = SOON;
    loop {
        let mut state = locked(&cursors.state);
        while state.moved.is_empty() && !state.stop {
            state = cursors.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // What moves on at once is written together.
        let waited = cursors.changed.wait_timeout_while(state, pause, |state| !state.stop);
        let stop = waited.unwrap_or_else(PoisonError::into_inner).0.stop;
        if stop {
            // Whoever closes the database writes the rest.
            return;
        }
        pause = if shared.write_cursors().is_ok() { SOON } else { RETRY };
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::entity::Position;
    use crate::store::disk::Disk;
    use crate::store::disk::simulated::{Fate, SimulatedDisk};
    use crate::store::{Options, Store};

    fn options(disk: &SimulatedDisk) -> Options {
        Options::new().disk(Arc::new(disk.clone())).cache(256 << 10)
    }

    fn path() -> &'static Path {
        Path::new("/shop.bygone")
    }

    fn billing() -> CursorOwner {
        CursorOwner::Subscription("billing".to_owned())
    }

    fn at(position: Position) -> Cursor {
        Cursor::new(position, Position(0), "'*'".to_owned())
    }

    /// Where it is, whichever it is.
    fn kept(store: &Store) -> Option<Cursor> {
        let cursor = store.shared().cursors.get(&billing()).unwrap();
        cursor.map(|cursor| Cursor { birth: 0, ..cursor })
    }

    fn append(store: &Store, events: u64) {
        use crate::event::NewEvent;
        use crate::store::append_request::AppendRequest;
        let events = (0..events).map(|n| NewEvent::new("Order.paid").on(("Order", n))).collect();
        drop(store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap());
    }

    #[test]
    fn a_place_is_kept() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        append(&store, 5);
        let shared = store.shared();
        assert_eq!(kept(&store), None);
        shared.create_cursor(&billing(), at(Position(0))).unwrap();
        shared.cursors.change(&billing(), |cursor| cursor.position = Position(3));
        assert_eq!(kept(&store), Some(at(Position(3))));
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        assert_eq!(kept(&store), Some(at(Position(3))));
        assert!(store.shared().remove_cursor(&billing()).unwrap());
        assert!(!store.shared().remove_cursor(&billing()).unwrap());
        // Nothing was appended in this session: there is no journal to settle.
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        assert_eq!(kept(&store), None);
    }

    #[test]
    fn a_move_without_an_append_outlives_the_session() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        append(&store, 5);
        store.shared().create_cursor(&billing(), at(Position(0))).unwrap();
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        store.shared().cursors.change(&billing(), |cursor| cursor.position = Position(5));
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        assert_eq!(kept(&store), Some(at(Position(5))));
    }

    #[test]
    fn what_was_made_survives_a_crash_and_moves_are_written_soon() {
        for fate in Fate::ALL {
            let disk = SimulatedDisk::new();
            let store = Store::create(path(), options(&disk)).unwrap();
            append(&store, 5);
            store.shared().create_cursor(&billing(), at(Position(1))).unwrap();
            let disk = disk.crash(fate, 7);
            drop(store);
            let store = Store::open(path(), options(&disk)).unwrap();
            assert_eq!(kept(&store), Some(at(Position(1))), "{fate:?}");
            store.shared().cursors.change(&billing(), |cursor| cursor.position = Position(4));
            let until = std::time::Instant::now() + Duration::from_secs(30);
            while !locked(&store.shared().cursors.state).moved.is_empty() {
                assert!(std::time::Instant::now() < until);
                std::thread::sleep(Duration::from_millis(5));
            }
            // What is being written is written once the lock is free.
            drop(locked(&store.shared().cursors.writing));
            let disk = disk.crash(fate, 8);
            drop(store);
            let store = Store::open(path(), options(&disk)).unwrap();
            assert_eq!(kept(&store), Some(at(Position(4))), "{fate:?}");
        }
    }

    #[test]
    fn a_move_that_somebody_waits_for_survives_a_crash_that_comes_at_once() {
        use crate::store::place::SubscriptionCursor;
        for fate in Fate::ALL {
            let disk = SimulatedDisk::new();
            let store = Store::create(path(), options(&disk)).unwrap();
            append(&store, 5);
            store.shared().create_cursor(&billing(), at(Position(1))).unwrap();
            let place = SubscriptionCursor::new(store.shared().clone(), "billing");
            for position in 2..=4 {
                place.deliver(Position(position));
                place.acknowledge_durably(Position(position)).unwrap();
                let disk = disk.crash(fate, position);
                let store = Store::open(path(), options(&disk)).unwrap();
                assert_eq!(kept(&store), Some(at(Position(position))), "{fate:?}");
            }
        }
    }

    #[test]
    fn a_place_that_is_acknowledged_is_durable_with_the_next_append() {
        use crate::store::place::SubscriptionCursor;
        for fate in Fate::ALL {
            let disk = SimulatedDisk::new();
            let store = Store::create(path(), options(&disk)).unwrap();
            append(&store, 5);
            store.shared().create_cursor(&billing(), at(Position(1))).unwrap();
            let acknowledge = |store: &Store, position| {
                let place = SubscriptionCursor::new(store.shared().clone(), "billing");
                place.deliver(position);
                place.acknowledge(position).unwrap();
                append(store, 1);
            };
            let after_crash = |seed| {
                let disk = disk.crash(fate, seed);
                kept(&Store::open(path(), options(&disk)).unwrap())
            };
            acknowledge(&store, Position(3));
            assert_eq!(after_crash(1), Some(at(Position(3))), "{fate:?}");
            acknowledge(&store, Position(4));
            assert_eq!(after_crash(2), Some(at(Position(4))), "{fate:?}");
            // The journal's other half is written over what told of it.
            store.checkpoint().unwrap();
            assert_eq!(after_crash(3), Some(at(Position(4))), "{fate:?}");
            // Another one of this name is where it was made, whatever the journal tells of the one before.
            acknowledge(&store, Position(5));
            assert!(store.shared().remove_cursor(&billing()).unwrap());
            assert_eq!(after_crash(4), None, "{fate:?}");
            store.shared().create_cursor(&billing(), at(Position(2))).unwrap();
            append(&store, 1);
            assert_eq!(after_crash(5), Some(at(Position(2))), "{fate:?}");
        }
    }

    #[test]
    fn a_cursor_of_an_earlier_version_is_read() {
        let bytes = rmp_serde::to_vec(&(7_u64, 2_u64, "'*'")).unwrap();
        let cursor: Cursor = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(cursor, Cursor { heard: Position(2), ..at(Position(7)) });
    }

    #[test]
    fn the_loss_of_a_journal_takes_places_back_to_the_head() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        append(&store, 3);
        store.checkpoint().unwrap();
        append(&store, 3);
        store.shared().create_cursor(&billing(), at(Position(6))).unwrap();
        let disk = disk.crash(Fate::ALL[0], 1);
        drop(store);
        for side in crate::store::journal::Side::BOTH {
            disk.remove(&side.path(path())).unwrap();
        }
        let store = Store::open(path(), options(&disk).accept_lost_journal(true)).unwrap();
        assert_eq!((store.shared().applied.head(), kept(&store)), (Position(3), Some(at(Position(3)))));
        // What comes in the place of what was lost is delivered.
        append(&store, 1);
        assert_eq!(kept(&store), Some(at(Position(3))));
    }

    #[test]
    fn there_is_one_reader_at_a_time() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        let first = store.shared().attach(&billing(), "the first".to_owned()).unwrap();
        let error = store.shared().attach(&billing(), "the second".to_owned()).unwrap_err();
        assert!(error.to_string().contains("the first"), "{error}");
        drop(first);
        assert!(store.shared().attach(&billing(), "the second".to_owned()).is_ok());
    }

    #[test]
    fn a_damaged_cursor_is_told_and_can_be_dropped() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        store.shared().create_cursor(&billing(), at(Position(0))).unwrap();
        store
            .shared()
            .tables
            .write("a test", |tables| {
                tables.damage_cursor(&billing());
                Ok(())
            })
            .unwrap();
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        let faults = crate::store::verify::verify(&store.snapshot()).unwrap().faults;
        assert!(faults[0].contains("the cursor of the subscription billing"), "{faults:?}");
        let error = store.shared().cursors.get(&billing()).unwrap_err();
        assert!(error.to_string().contains("the cursor of the subscription billing"), "{error}");
        assert!(store.shared().remove_cursor(&billing()).unwrap());
        assert_eq!(kept(&store), None);
    }
}
