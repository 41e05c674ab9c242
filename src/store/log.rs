//! The log: what makes frames durable, in their order, and keeps them until the tables hold them.
//!
//! Admission makes a frame in memory, the log makes it durable, and only then it is shown. What the log is made of (the journal of a
//! session: its segments, salts and syncs) it alone knows; whoever needs to know what is durable asks it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::cold::Cold;
use super::disk::Disk;
use super::journal::{AppendError, DatabaseId, FrameBuffer, Journal, Made, Salt, Side, Sizes};
use super::{Durability, Options, locked};
use crate::error::{Error, Result};

/// The log of an open database: the journal beside its file.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) cold: Arc<Cold>,
    pub(super) durability: Durability,
    pub(super) read_only: bool,
    id: DatabaseId,
    sizes: Sizes,
    /// That of this session's journal, from before there is one.
    salt: Salt,
    /// The journal of this session, from its first frame on.
    journal: OnceLock<Journal>,
    /// What a try to create it made and could not remove again.
    made: Mutex<Vec<Made>>,
    /// When all names were looked at last.
    pub(super) looked: Mutex<Option<Instant>>,
    /// The last position in each segment that was left for the other, until the tables hold it.
    left: Mutex<[Option<u64>; 2]>,
}

impl Log {
    pub fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        cold: Arc<Cold>,
        id: DatabaseId,
        options: &Options,
    ) -> Result<Log> {
        let (first_step, max_step) = options.fill_steps;
        // Terms count in a tail but not in its frames: a segment of the tail's bound is enough, and a large frame grows it.
        let sizes = Sizes { first_step, max_step, segment: options.tail_bytes as u64 };
        Ok(Log {
            disk,
            path,
            cold,
            durability: options.durability,
            read_only: options.read_only,
            id,
            sizes,
            salt: Salt::random()?,
            journal: OnceLock::new(),
            made: Mutex::default(),
            looked: Mutex::default(),
            left: Mutex::default(),
        })
    }

    /// Whether this session has written a frame, or tried to.
    pub fn is_begun(&self) -> bool {
        self.journal.get().is_some()
    }

    /// What tells the journal of this session from others, once there is one.
    pub fn salt(&self) -> Option<Salt> {
        self.journal.get().map(Journal::salt)
    }

    /// Writes a frame behind the last one; it is durable after the next [`sync`](Log::sync). See [`Journal::append`].
    pub fn append(
        &self,
        frame: &mut FrameBuffer,
        first: u64,
        count: u32,
        durable_through: u64,
    ) -> Result<(), AppendError> {
        let journal = self.begun()?;
        // Before it is written: what is refused is not to be read back.
        self.check_names().map_err(AppendError::Refused)?;
        journal.append(frame, first, count, durable_through)
    }

    /// Makes every frame that was appended durable.
    ///
    /// # Errors
    /// After an error nobody knows what is durable: nothing more is taken.
    pub fn sync(&self) -> Result<()> {
        self.journal.get().map_or(Ok(()), Journal::sync)
    }

    /// Lets the following frames go to where nothing is that is still needed: up to `last`, all is left behind, and durable. `false`,
    /// and nothing changes, while the tables do not hold what was left behind before.
    pub fn turn(&self, last: u64) -> Result<bool> {
        let Some(journal) = self.journal.get() else { return Ok(true) };
        let before = journal.active();
        let turned = journal.switch()?;
        if journal.active() != before {
            locked(&self.left)[before.index()] = Some(last);
        }
        Ok(turned)
    }

    /// The tables hold everything up to here: what was left behind with it can be written over.
    pub fn release(&self, through: u64) {
        let Some(journal) = self.journal.get() else { return };
        let mut left = locked(&self.left);
        for side in Side::BOTH {
            if left[side.index()].take_if(|last| *last <= through).is_some() {
                journal.release(side);
            }
        }
    }

    /// Breaks the protocol that the tables hold what is written over.
    pub fn release_early(&self) {
        if let Some(journal) = self.journal.get() {
            journal.release(journal.active().other());
        }
    }

    /// Whether [`fill_ahead`](Log::fill_ahead) has something to do.
    pub fn wants_fill(&self) -> bool {
        self.journal.get().is_some_and(Journal::wants_fill)
    }

    /// Makes room ahead of need. Whoever needs it gets the error, if there is one.
    pub fn fill_ahead(&self) {
        if let Some(journal) = self.journal.get() {
            let _ = journal.fill_ahead();
        }
    }

    /// Has all names looked at before the next frame.
    #[cfg(test)]
    pub fn look_again(&self) {
        *locked(&self.looked) = None;
    }

    /// A name of the journal that does not lead to it any more, if there is one.
    pub fn displaced(&self) -> Result<Option<PathBuf>> {
        let displaced = self.journal.get().map_or(Ok(None), |journal| journal.displaced())?;
        Ok(displaced.map(PathBuf::from))
    }

    /// Removes the journal, which the tables must no longer name. Says whether the names are free.
    pub fn remove(&self) -> Result<bool> {
        self.journal.get().map_or(Ok(true), Journal::remove)
    }

    /// Keeps the journal under other names, and says which.
    pub fn set_aside(&self) -> Result<Vec<PathBuf>> {
        self.journal.get().map_or_else(|| Ok(Vec::new()), Journal::set_aside)
    }

    /// The journal, which is made for the first frame.
    fn begun(&self) -> Result<&Journal, AppendError> {
        if let Some(journal) = self.journal.get() {
            return Ok(journal);
        }
        // One frame is appended at a time, so nobody else makes one.
        let journal = self.begin()?;
        Ok(self.journal.get_or_init(|| journal))
    }

    /// Creates the journal of this session: its salt is durable in the tables before its first frame.
    fn begin(&self) -> Result<Journal, AppendError> {
        if self.read_only {
            return Err(AppendError::Refused(Error::stopped("the database was opened for reading only")));
        }
        let made = &mut *locked(&self.made);
        let journal = self
            .check_name()
            .and_then(|()| Journal::clear(&*self.disk, made))
            .and_then(|()| {
                Journal::create(self.disk.clone(), &self.path, self.id, self.salt, self.sizes, made)
            })
            .map_err(AppendError::Refused)?;
        let note =
            || self.cold.write("beginning a journal", |tables| tables.set_meta("journal", &self.salt.0));
        let Err(error) = note() else { return Ok(journal) };
        // redb takes nothing more after an error of its disk. Opened again, it knows of the journal for sure, or of none.
        let again = self.cold.reopen().and_then(|()| note());
        if again.is_ok() {
            return Ok(journal);
        }
        let unknown =
            self.cold.reopen().and_then(|()| Ok(self.cold.read()?.meta(&self.path)?.journal.is_none()));
        match unknown {
            Ok(true) if journal.remove().is_ok_and(|free| free) => Err(AppendError::Refused(error)),
            // Whether the salt is durable is not known: the files stay, empty, and opening again finds out.
            _ => Err(AppendError::Failed(error)),
        }
    }
}
