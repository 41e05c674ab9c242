//! The journal: what was appended and is not yet in the database, durable.
//!
//! It is two files beside the database, the *segments* `shop.bygone-journal-a` and `-journal-b`. Each is a header
//! block and then frames: one frame a group commit, or some moves of cursors. An end mark stands after the last frame,
//! a fill mark at the end of the file. The layouts are in [`frame`], [`segment`] and [`mark`].
//!
//! What it promises:
//! * A frame that was appended and then synced is read back by [`JournalReplay`], with its content, in order; or that it
//!   is missing is reported as corruption, be the file cut, overwritten or gone. The one exception is the last such
//!   frame: nothing behind it says that it was durable, so damage within it is reported as a cut of the log.
//! * Nothing that was not appended is ever read back: not a frame of another session, of an earlier use of the
//!   segment, or with another's payload.
//! * Each segment holds one memtable. [`Journal::switch`] lets the other one follow; it is used only after
//!   [`Journal::release`] said that what it holds is committed in the database.
//!
//! A segment is removed or renamed only while its name leads to the very file that was made or found.
//!
//! Frames are written into space that was filled with zeros and synced before, because then the sync of a frame
//! need not make a new file size durable as well. [`Journal::fill_ahead`] makes such space on a background thread;
//! where it was not fast enough, [`Journal::append`] does it itself.
//!
//! Locks are taken in this order: the turn (append, switch), the growth of a segment, its gate (syncs), the state.

pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod mark;
pub mod replay;
mod scan;
pub mod segment;
mod space;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use frame::positions_at;
pub use frame::{FrameBuffer, FrameKind};
pub use replay::{JournalReplay, is_whole};
pub use scan::{each_frame, highest_position, is_of};
pub use segment::{
    CreatedFile, Remnant, SegmentFile, SegmentHeader, Side, find, holds_nothing, remove, set_aside,
};
pub use space::Sizes;

use crate::entity::Position;
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::store::disk::Disk;
use frame::Stamp;
use mark::MARK;
use segment::{START, Segment};
use space::SegmentSpace;

/// The random bytes of a session: a frame with another salt is none of its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    /// Stands for every salt. Only a test that breaks recovery on purpose reads with it; no session has it.
    pub const ANY: Salt = Salt([0xff; 16]);

    fn accepts(self, other: Salt) -> bool {
        self == other || (cfg!(test) && self == Salt::ANY)
    }

    /// A new one from the system's source of randomness.
    pub fn random() -> Result<Salt> {
        random().map(Salt)
    }
}

/// Which database a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DatabaseId(pub [u8; 16]);

impl DatabaseId {
    /// A new one from the system's source of randomness.
    pub fn random() -> Result<DatabaseId> {
        random().map(DatabaseId)
    }

    /// The database's own name among all others: a URN of its id, as a UUID.
    pub fn urn(self) -> String {
        uuid::Builder::from_random_bytes(self.0).into_uuid().urn().to_string()
    }

    /// What the database is called in vector clocks: the first eight digits of its id.
    pub fn node(self) -> String {
        hex(&self.0[..4])
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

/// The same, as many as there is room for.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|e| Error::io("asking the system for random bytes", io::Error::other(e.to_string())))
}

/// A frame as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// The position of its first event; of cursor moves the position that came next.
    pub first: Position,
    /// How many events; 0 for cursor moves.
    pub count: u32,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Why a frame was not appended.
#[derive(Debug, Clone)]
pub enum JournalError {
    /// There was no room and none could be made, or the frame breaks a rule. It was not written, and the journal is
    /// as sound as before: only this request fails.
    Refused(Error),
    /// The journal failed, now or before, and takes nothing more. The frame may or may not be read back.
    Failed(Error),
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Error {
        match error {
            JournalError::Refused(error) | JournalError::Failed(error) => error,
        }
    }
}

/// The journal of a session, to write.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    database: PathBuf,
    salt: Salt,
    sizes: Sizes,
    segments: [Segment; 2],
    /// Held while a frame is written and while segments are switched.
    turn: Mutex<()>,
    state: Mutex<JournalState>,
}

#[derive(Debug)]
struct JournalState {
    active: Side,
    spaces: [SegmentSpace; 2],
    /// The number of the last frame whose write was begun.
    begun: u64,
    /// The number of the last frame that was written; those before it were too.
    written: u64,
    /// The number of the last frame known to be durable; those before it are too.
    synced: u64,
    /// The position that follows the last frame, once there is one.
    next_position: Option<Position>,
    /// The first error that left something in doubt. It is never cleared.
    failed: Option<Error>,
}

impl JournalState {
    fn sound(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn space(&mut self, side: Side) -> &mut SegmentSpace {
        &mut self.spaces[side.index()]
    }

    /// Up to where a segment is to be filled ahead of need, if it is.
    fn wants(&self, side: Side, sizes: &Sizes) -> Option<u64> {
        let (space, active) = (&self.spaces[side.index()], &self.spaces[self.active.index()]);
        let due = if side == self.active { space.runs_short(sizes) } else { space.lags(active, sizes) };
        due.then(|| space.ahead(sizes))
    }
}

impl Journal {
    /// Creates both segments with a first step of room, with the mode of the database's file. When it returns, they and
    /// their names are durable.
    ///
    /// # Errors
    /// If one of the names exists; nothing is overwritten. What was created is removed again; what of it could not be
    /// is left in `made`.
    pub fn create(
        disk: Arc<dyn Disk>,
        database: &Path,
        id: DatabaseId,
        salt: Salt,
        sizes: Sizes,
        made: &mut Vec<CreatedFile>,
    ) -> Result<Journal> {
        let sizes = sizes.sane();
        let space = SegmentSpace::new(&sizes);
        let filled = space.filled;
        let mut segment =
            |side| Segment::create(&*disk, database, SegmentHeader { id, salt, side }, filled, made);
        let segments = segment(Side::A).and_then(|a| Ok([a, segment(Side::B)?]));
        let segments = segments.and_then(|both| segment::sync_folder(&*disk, database).map(|()| both));
        let segments = match segments {
            Ok(segments) => segments,
            Err(error) => {
                // The first error is the one to tell; what cannot be removed is found as an interrupted creation.
                made.retain(|made| made.remove(&*disk).is_err());
                let _ = segment::sync_folder(&*disk, database);
                return Err(error);
            }
        };
        made.clear();
        let state = JournalState {
            active: Side::A,
            spaces: [SegmentSpace { free: false, ..space }, space],
            begun: 0,
            written: 0,
            synced: 0,
            next_position: None,
            failed: None,
        };
        Ok(Journal {
            disk,
            database: database.to_owned(),
            salt,
            sizes,
            segments,
            turn: Mutex::new(()),
            state: Mutex::new(state),
        })
    }

    /// The salt of the session.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// The segment that is appended to.
    pub fn active(&self) -> Side {
        self.state().active
    }

    /// How many bytes of frames still fit into the filled part of the active segment.
    #[cfg(test)]
    pub fn remaining(&self) -> u64 {
        let mut state = self.state();
        let active = state.active;
        let space = state.space(active);
        space.left().saturating_sub(2 * MARK as u64)
    }

    /// How many bytes its files have.
    pub fn bytes(&self) -> u64 {
        self.state().spaces.iter().map(|space| space.filled).sum()
    }

    /// Whether [`Journal::fill_ahead`] has something to do.
    pub fn wants_fill(&self) -> bool {
        let state = self.state();
        state.failed.is_none() && Side::BOTH.iter().any(|&side| state.wants(side, &self.sizes).is_some())
    }

    /// Writes a frame behind the last one. It is durable after the next [`Journal::sync`].
    ///
    /// `first` is the position of its first event (of cursor moves, the next position), `count` its number of
    /// events (0), `durable_through` the highest position known to be durable (0: none). After an error of the kind
    /// [`JournalError::Refused`] the frame can be appended again.
    pub fn append(
        &self,
        frame: &mut FrameBuffer,
        first: Position,
        count: u32,
        durable_through: Position,
    ) -> Result<(), JournalError> {
        let _turn = lock(&self.turn);
        let (side, offset, stamp) = {
            let mut state = self.state();
            state.sound().map_err(JournalError::Failed)?;
            let stamp =
                Stamp { salt: self.salt, number: state.written + 1, settled: state.synced == state.written };
            let (active, next) = (state.active, state.next_position);
            // A gap would make everything behind it unreadable.
            if let Some(next) = next.filter(|&next| next != first) {
                let error = Error::invalid("a frame's first position", next.to_string(), first.to_string());
                return Err(JournalError::Refused(error));
            }
            (active, state.space(active).used, stamp)
        };
        let header = frame.header(stamp, first, count, durable_through).map_err(JournalError::Refused)?;
        let end = offset + header.size(); // a file's length and at most some MiB
        self.make_room(side, end + 2 * MARK as u64)?; // an end mark, and the fill mark

        self.state().begun = stamp.number;
        let segment = &self.segments[side.index()];
        if let Err(e) = segment.file.write_at(offset, frame.finish(&header)) {
            let error = Error::io(format!("writing {}", segment.path.display()), e);
            return Err(JournalError::Failed(self.fail(error)));
        }
        let mut state = self.state();
        state.written = stamp.number;
        state.next_position = Some(header.next());
        let space = state.space(side);
        space.used = end;
        space.worn = true;
        Ok(())
    }

    /// Makes every frame that was appended durable.
    ///
    /// # Errors
    /// After an error nobody knows what is durable: the journal takes nothing more, and each further call fails.
    pub fn sync(&self) -> Result<()> {
        // What was switched away from was synced, so the active segment is all there is to sync.
        let (side, written) = {
            let state = self.state();
            state.sound()?;
            if state.synced == state.written {
                return Ok(());
            }
            (state.active, state.written)
        };
        let segment = &self.segments[side.index()];
        let _gate = lock(&segment.gate);
        let result = segment.file.sync();
        if let Err(e) = result {
            return Err(self.fail(Error::io(format!("syncing {}", segment.path.display()), e)));
        }
        let mut state = self.state();
        state.sound()?;
        state.synced = state.synced.max(written);
        Ok(())
    }

    /// Fills the next step with zeros, if there is need; `false` if there is none. For a background thread.
    ///
    /// # Errors
    /// The space is not there then; whether the journal failed, the next append or sync tells.
    pub fn fill_ahead(&self) -> Result<bool> {
        let active = self.active();
        for side in [active, active.other()] {
            let growth = lock(&self.segments[side.index()].growth);
            let wanted = {
                let state = self.state();
                state.sound()?;
                state.wants(side, &self.sizes)
            };
            if let Some(to) = wanted {
                self.grow(side, to, &growth)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the following frames go to the other segment, from its start; `false`, and nothing changes, if that is
    /// not free yet. What was appended so far is durable then.
    ///
    /// While the active segment holds no frame there is nothing to leave: it stays the active one.
    ///
    /// # Errors
    /// The active segment stays the same. If its sync failed, so has the journal.
    pub fn switch(&self) -> Result<bool> {
        let _turn = lock(&self.turn);
        let (active, worn, written) = {
            let mut state = self.state();
            state.sound()?;
            let (active, written) = (state.active, state.written);
            if state.space(active).used == START {
                return Ok(true);
            }
            let other = state.space(active.other());
            if !other.free {
                return Ok(false);
            }
            (active, other.worn, written)
        };
        // A later sync is of the other file. And no frame there may outlive one here that came before it.
        self.sync()?;
        let other = active.other();
        if worn {
            self.end_at_start(other, written)?;
        }
        let mut state = self.state();
        state.active = other;
        let space = state.space(other);
        space.used = START;
        space.free = false;
        Ok(true)
    }

    /// An end mark at the start of a segment: otherwise, should the first frame of its new use be torn, its earlier
    /// use could be taken for the present one.
    fn end_at_start(&self, side: Side, number: u64) -> Result<()> {
        let segment = &self.segments[side.index()];
        let _gate = lock(&segment.gate);
        let mark = mark::end(self.salt, number);
        segment
            .file
            .write_at(START, &mark)
            .and_then(|()| segment.file.sync())
            .map_err(|e| Error::io(format!("clearing {}", segment.path.display()), e))
    }

    /// Says that everything in a segment is committed in the database, so that it can be used again. The active
    /// segment is never free: for it, this does nothing.
    pub fn release(&self, side: Side) {
        let mut state = self.state();
        if side != state.active {
            state.space(side).free = true;
        }
    }

    /// Removes both segments and makes that durable; a file that is not one of them is left where it is. The database
    /// must no longer name this journal. Says whether the names are free.
    pub fn remove(&self) -> Result<bool> {
        let mut free = true;
        for segment in &self.segments {
            free &= segment.remove(&*self.disk)?;
        }
        segment::sync_folder(&*self.disk, &self.database)?;
        Ok(free)
    }

    /// A segment's name that does not lead to it any more, if there is one.
    pub fn displaced(&self) -> Result<Option<&Path>> {
        for Segment { path, identity, .. } in &self.segments {
            match self.disk.identity(path) {
                Ok(found) if found == *identity => {}
                Ok(_) => return Ok(Some(path)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
                Err(e) => return Err(Error::io(format!("looking for {}", path.display()), e)),
            }
        }
        Ok(None)
    }

    /// Gives both segments other names, unless they lost theirs; see [`set_aside`].
    pub fn set_aside(&self) -> Result<Vec<PathBuf>> {
        let found: Result<Vec<_>> = self.segments.iter().map(Segment::found).collect();
        segment::set_aside(&*self.disk, &self.database, &found?)
    }

    /// Removes the files that an earlier try to create a journal left, if they are still the ones.
    pub fn clear(disk: &dyn Disk, made: &mut Vec<CreatedFile>) -> Result<()> {
        while let Some(one) = made.last() {
            one.remove(disk)?;
            made.pop();
        }
        Ok(())
    }

    /// Sees to it that a segment is filled at least up to `need`; if the filler is at it, it is waited for.
    fn make_room(&self, side: Side, need: u64) -> Result<(), JournalError> {
        if self.state().space(side).filled >= need {
            return Ok(());
        }
        let growth = lock(&self.segments[side.index()].growth);
        let to = {
            let mut state = self.state();
            let space = *state.space(side);
            if space.filled >= need {
                return Ok(());
            }
            // A large frame may go beyond the size of a segment; growing ahead may not.
            space.ahead(&self.sizes).max(need.next_multiple_of(START))
        };
        self.grow(side, to, &growth).map_err(|error| match self.state().sound() {
            Ok(()) => JournalError::Refused(error),
            Err(failed) => JournalError::Failed(failed),
        })
    }

    /// Fills a segment with zeros up to `to`, and a fill mark, and makes them durable; only then they count.
    fn grow(&self, side: Side, to: u64, _growth: &MutexGuard<'_, ()>) -> Result<()> {
        let segment = &self.segments[side.index()];
        let from = self.state().space(side).filled;
        let error = |e| Error::io(format!("growing {}", segment.path.display()), e);
        let result = segment::fill(&*segment.file, from, to, self.salt).map_err(error).and_then(|()| {
            let _gate = lock(&segment.gate);
            segment.file.sync().map_err(|e| {
                // The pages of a frame that is not yet synced may have been dropped with the zeros.
                let in_doubt = {
                    let state = self.state();
                    state.active == side && state.begun > state.synced
                };
                if in_doubt { self.fail(error(e)) } else { error(e) }
            })
        });
        if let Err(error) = result {
            // A full disk has other use for half a step. If this fails too, the next growth writes over it.
            let _ = segment.file.set_len(from);
            return Err(error);
        }
        let mut state = self.state();
        state.space(side).grown(to, &self.sizes);
        Ok(())
    }

    /// Takes note of the first failure, and takes nothing more; whoever comes later is told that one. It may be that what is known of it elsewhere
    /// is in doubt.
    pub fn fail(&self, error: Error) -> Error {
        self.state().failed.get_or_insert(error).clone()
    }

    fn state(&self) -> MutexGuard<'_, JournalState> {
        lock(&self.state)
    }
}

/// No lock here is held over a half-made change, so one whose holder unwound is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
