//! The writer of cursors: makes, writes and drops them.
//!
//! It takes the lock of writing first, and within it, for moments, those of the state of cursors, of what is applied, of the log and of the
//! tables.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::catalog::ProgramKind;
use super::cursor::{Cursor, CursorOwner};
use super::kernel::Kernel;
use super::mutex::locked;
use super::tables::WriteTables;
use crate::error::{Error, Result};

/// How long moves wait to be written together.
const SOON: Duration = Duration::from_millis(100);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The one who reads a cursor. Others may once this is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    kernel: Arc<Kernel>,
    follower: CursorOwner,
}

impl Drop for Attached {
    fn drop(&mut self) {
        locked(&self.kernel.cursors.state).attached.remove(&self.follower);
    }
}

/// Who makes, writes and drops cursors.
#[derive(Debug)]
pub(crate) struct CursorWriter {
    kernel: Arc<Kernel>,
}

impl CursorWriter {
    pub fn new(kernel: Arc<Kernel>) -> CursorWriter {
        CursorWriter { kernel }
    }

    /// Becomes the one reader of a cursor. `who` is what others are told.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one.
    pub fn attach(&self, follower: &CursorOwner, who: String) -> Result<Attached> {
        let mut state = locked(&self.kernel.cursors.state);
        if let Some(first) = state.attached.get(follower) {
            return Err(Error::conflict(follower.to_string(), "one reader at a time", first.clone()));
        }
        state.attached.insert(follower.clone(), who);
        Ok(Attached { kernel: self.kernel.clone(), follower: follower.clone() })
    }

    /// Makes a cursor. When this returns it is durable.
    pub fn create(&self, follower: &CursorOwner, cursor: Cursor) -> Result<()> {
        let birth = getrandom::u64().map_err(|e| {
            Error::io("asking the system for a random number", std::io::Error::other(e.to_string()))
        })?;
        let cursor = Cursor { birth: birth.max(1), ..cursor };
        let _writing = locked(&self.kernel.cursors.writing);
        self.check_subscriptions(follower)?;
        self.kernel.name.check()?;
        self.kernel.tables.write("making a cursor", |tables| tables.put_cursor(follower, &cursor))?;
        let mut state = locked(&self.kernel.cursors.state);
        state.moved.remove(follower);
        state.cursors.insert(follower.clone(), Ok(cursor));
        Ok(())
    }

    /// Refuses one named subscription too many.
    fn check_subscriptions(&self, follower: &CursorOwner) -> Result<()> {
        let most = self.kernel.options.max_subscriptions;
        let is_named = |follower: &CursorOwner| matches!(follower, CursorOwner::Subscription(_));
        if !is_named(follower) {
            return Ok(());
        }
        let state = locked(&self.kernel.cursors.state);
        if state.cursors.keys().filter(|other| is_named(other)).count() < most {
            return Ok(());
        }
        let expected = format!("at most {most} (Options::max_subscriptions, --max-subscriptions)");
        let found = format!("{follower} beside them; DROP SUBSCRIPTION what nobody reads any more");
        Err(Error::invalid("the subscriptions that have a name", expected, found))
    }

    /// Drops a cursor. When this returns that is durable. Says whether there was one.
    pub fn remove(&self, follower: &CursorOwner) -> Result<bool> {
        let _writing = locked(&self.kernel.cursors.writing);
        self.kernel.name.check()?;
        if !locked(&self.kernel.cursors.state).cursors.contains_key(follower) {
            return Ok(false);
        }
        self.kernel.tables.write("dropping a cursor", |tables| tables.remove_cursor(follower))?;
        let mut state = locked(&self.kernel.cursors.state);
        state.moved.remove(follower);
        Ok(state.cursors.remove(follower).is_some())
    }

    /// Writes the moves that are not written yet, and drops the cursors of programs that are no more.
    pub fn write(&self) -> Result<()> {
        let _writing = locked(&self.kernel.cursors.writing);
        let catalog = self.kernel.applied.catalog();
        let (moved, gone) = {
            let mut state = locked(&self.kernel.cursors.state);
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
        let done = self.kernel.sync_log();
        done.inspect_err(|_| self.write_again(&moved))?;
        let write = |tables: &mut WriteTables| {
            gone.iter().try_for_each(|follower| tables.remove_cursor(follower))?;
            moved.iter().try_for_each(|(follower, cursor)| tables.put_cursor(follower, cursor))
        };
        self.kernel.tables.write("writing cursors", write).inspect_err(|_| self.write_again(&moved))
    }

    /// Lets moves be written with the next try.
    fn write_again(&self, moved: &[(CursorOwner, Cursor)]) {
        let mut state = locked(&self.kernel.cursors.state);
        state.moved.extend(moved.iter().map(|(follower, _)| follower.clone()));
    }

    /// What was done may be lost with a journal, though a place says that it was: reactions begin anew, since to do a thing again
    /// does nothing, and what others had done is not done again. When this returns that is durable.
    pub fn set_back(&self) -> Result<()> {
        let reactions: Vec<CursorOwner> = {
            let catalog = self.kernel.applied.catalog();
            let reactions = catalog.programs().filter(|program| program.kind == ProgramKind::Reaction);
            reactions.map(|program| CursorOwner::of(program)).collect()
        };
        for reaction in &reactions {
            self.remove(reaction)?;
        }
        {
            let mut state = locked(&self.kernel.cursors.state);
            let all = state.cursors.keys().cloned().collect();
            state.moved = all;
        }
        self.write()
    }

    /// Writes what moves, until it is told to stop: what the thread does.
    pub(super) fn run(&self) {
        let cursors = &self.kernel.cursors;
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
            pause = if self.write().is_ok() { SOON } else { RETRY };
        }
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
        shared.cursor_writer.create(&billing(), at(Position(0))).unwrap();
        shared.cursors.change(&billing(), |cursor| cursor.position = Position(3));
        assert_eq!(kept(&store), Some(at(Position(3))));
        store.close().unwrap();
        let store = Store::open(path(), options(&disk)).unwrap();
        assert_eq!(kept(&store), Some(at(Position(3))));
        assert!(store.shared().cursor_writer.remove(&billing()).unwrap());
        assert!(!store.shared().cursor_writer.remove(&billing()).unwrap());
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
        store.shared().cursor_writer.create(&billing(), at(Position(0))).unwrap();
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
            store.shared().cursor_writer.create(&billing(), at(Position(1))).unwrap();
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
            store.shared().cursor_writer.create(&billing(), at(Position(1))).unwrap();
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
            store.shared().cursor_writer.create(&billing(), at(Position(1))).unwrap();
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
            assert!(store.shared().cursor_writer.remove(&billing()).unwrap());
            assert_eq!(after_crash(4), None, "{fate:?}");
            store.shared().cursor_writer.create(&billing(), at(Position(2))).unwrap();
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
        store.shared().cursor_writer.create(&billing(), at(Position(6))).unwrap();
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
        let first = store.shared().cursor_writer.attach(&billing(), "the first".to_owned()).unwrap();
        let error = store.shared().cursor_writer.attach(&billing(), "the second".to_owned()).unwrap_err();
        assert!(error.to_string().contains("the first"), "{error}");
        drop(first);
        assert!(store.shared().cursor_writer.attach(&billing(), "the second".to_owned()).is_ok());
    }

    #[test]
    fn a_damaged_cursor_is_told_and_can_be_dropped() {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        store.shared().cursor_writer.create(&billing(), at(Position(0))).unwrap();
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
        assert!(store.shared().cursor_writer.remove(&billing()).unwrap());
        assert_eq!(kept(&store), None);
    }
}
