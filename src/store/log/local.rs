//! The local log: the journal beside the database's file. It knows the segments of a session, their salts and their syncs.
//!
//! This process alone appends to it, so it is never behind, and what was written is known.
//!
//! Its locks: of what a try to create the journal made, of its salt, of the journal itself, of when the names were looked at, and of what was left
//! in each segment. But that of the salt none is taken while another is held; those of the journal and of the tables come behind them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{AppendError, FrameAppend, JournalAfter, Log};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::disk::Disk;
use crate::store::durability::Durability;
use crate::store::journal::{self, CreatedFile, DatabaseId, Journal, Salt, Side, Sizes};
use crate::store::mutex::locked;
use crate::store::name::FileName;
use crate::store::tables::Tables;

/// How seldom all names are looked at, at least.
const SELDOM: Duration = Duration::from_secs(1);

/// The log of an open database: the journal beside its file.
#[derive(Debug)]
pub(crate) struct LocalLog {
    disk: Arc<dyn Disk>,
    tables: Arc<Tables>,
    name: Arc<FileName>,
    durability: Durability,
    id: DatabaseId,
    sizes: Sizes,
    /// That of the journal, from before there is one.
    salt: Mutex<Salt>,
    /// The journal, from its first frame on, up to its end.
    journal: RwLock<Option<Arc<Journal>>>,
    /// One that has ended, and could not be removed yet.
    ended: Mutex<Option<Arc<Journal>>>,
    /// What a try to create it made and could not remove again.
    made: Mutex<Vec<CreatedFile>>,
    /// When all names were looked at last.
    looked: Mutex<Option<Instant>>,
    /// The last position in each segment that was left for the other, until the tables hold it.
    left: Mutex<[Option<Position>; 2]>,
    early_reuse: bool,
}

/// How a local log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalLogOptions {
    pub sizes: Sizes,
    pub durability: Durability,
    /// A segment is written again before the memtable it held is in the tables: a fault that a test puts in.
    pub early_reuse: bool,
}

impl LocalLog {
    pub fn new(
        disk: Arc<dyn Disk>,
        name: Arc<FileName>,
        tables: Arc<Tables>,
        id: DatabaseId,
        LocalLogOptions { sizes, durability, early_reuse }: LocalLogOptions,
    ) -> Result<LocalLog> {
        Ok(LocalLog {
            disk,
            tables,
            name,
            durability,
            id,
            sizes,
            salt: Mutex::new(Salt::random()?),
            journal: RwLock::default(),
            ended: Mutex::default(),
            made: Mutex::default(),
            looked: Mutex::default(),
            left: Mutex::default(),
            early_reuse,
        })
    }

    /// Whether this session has written a frame, or tried to.
    #[cfg(test)]
    pub fn is_begun(&self) -> bool {
        self.journal().is_some()
    }

    /// Has all names looked at before the next frame.
    #[cfg(test)]
    pub fn look_again(&self) {
        *locked(&self.looked) = None;
    }

    /// Removes what is left of a journal that has ended.
    fn remove_ended(&self) -> Result<()> {
        let mut ended = locked(&self.ended);
        match &*ended {
            Some(journal) if !journal.remove()? => return Err(self.foreign_journal()),
            _ => *ended = None,
        }
        Ok(())
    }

    fn foreign_journal(&self) -> Error {
        Error::stopped(format!(
            "all of it is in {}; beside it stands a journal that this program did not make, and which is left as it is",
            self.path().display()
        ))
    }

    fn path(&self) -> &Path {
        self.name.path()
    }

    /// Refuses to go on where a name does not lead to what is open: the database's, and its journal's.
    ///
    /// To look for a name costs a few microseconds. That is little beside a sync, so the file is looked for before each frame that
    /// is synced; the journal, and where appends do not wait for a sync the file too, once in a while. When one was missing, the
    /// next append looks again.
    fn check_names(&self, journal: &Journal) -> Result<()> {
        let mut looked = locked(&self.looked);
        let (seldom, each) = match self.durability {
            Durability::Sync => (SELDOM, true),
            Durability::Interval(every) => (every.min(SELDOM), false),
        };
        let due = looked.is_none_or(|at| at.elapsed() >= seldom);
        if !due && !each {
            return Ok(());
        }
        if due {
            *looked = None;
        }
        self.name.check()?;
        if !due {
            return Ok(());
        }
        if let Some(path) = journal.displaced()? {
            return Err(Error::stopped(format!(
                "{} is not the journal that was begun there: it was removed, renamed or replaced meanwhile; nothing more \
                 is recorded, since a crash would lose it; put it back to go on, or close the database, which moves all \
                 that was recorded into {}, and open it again",
                path.display(),
                self.path().display()
            )));
        }
        *looked = Some(Instant::now());
        Ok(())
    }

    /// The journal, which is made for the first frame.
    fn begun(&self) -> Result<Arc<Journal>, AppendError> {
        if let Some(journal) = self.journal() {
            return Ok(journal);
        }
        // One frame is appended at a time, so nobody else makes one.
        let journal = Arc::new(self.begin()?);
        *self.journal.write().unwrap_or_else(PoisonError::into_inner) = Some(journal.clone());
        Ok(journal)
    }

    fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates the journal: its salt is durable in the tables before its first frame.
    fn begin(&self) -> Result<Journal, AppendError> {
        self.remove_ended().map_err(AppendError::Refused)?;
        let (made, salt) = (&mut *locked(&self.made), *locked(&self.salt));
        let journal = self
            .name
            .check()
            .and_then(|()| Journal::clear(&*self.disk, made))
            .and_then(|()| Journal::create(self.disk.clone(), self.path(), self.id, salt, self.sizes, made))
            .map_err(AppendError::Refused)?;
        let note = || self.tables.write("beginning a journal", |tables| tables.set_meta("journal", &salt.0));
        let Err(error) = note() else { return Ok(journal) };
        // redb takes nothing more after an error of its disk. Opened again, it knows of the journal for sure, or of none.
        let again = self.tables.reopen().and_then(|()| note());
        if again.is_ok() {
            return Ok(journal);
        }
        let unknown =
            self.tables.reopen().and_then(|()| Ok(self.tables.read()?.meta(self.path())?.journal.is_none()));
        match unknown {
            Ok(true) if journal.remove().is_ok_and(|free| free) => Err(AppendError::Refused(error)),
            // Whether the salt is durable is not known: the files stay, empty, and opening again finds out.
            _ => Err(AppendError::Failed(error)),
        }
    }
}

impl Log for LocalLog {
    fn id(&self) -> DatabaseId {
        self.id
    }

    fn append(&self, frame: FrameAppend<'_>) -> Result<(), AppendError> {
        let FrameAppend { buffer, after, count, durable_through, .. } = frame;
        let journal = self.begun()?;
        // Before it is written: what is refused is not to be read back.
        self.check_names(&journal).map_err(AppendError::Refused)?;
        Ok(journal.append(buffer, after.position.next(), count, durable_through)?)
    }

    fn sync(&self) -> Result<()> {
        self.journal().map_or(Ok(()), |journal| journal.sync())
    }

    /// Goes on in the other segment, unless that is still needed.
    fn turn(&self, last: Position) -> Result<bool> {
        let Some(journal) = self.journal() else { return Ok(true) };
        let before = journal.active();
        if self.early_reuse {
            journal.release(before.other());
        }
        let turned = journal.switch()?;
        if journal.active() != before {
            locked(&self.left)[before.index()] = Some(last);
        }
        Ok(turned)
    }

    /// What was left behind up to there can be written over.
    fn release(&self, through: Position) {
        let Some(journal) = self.journal() else { return };
        let mut left = locked(&self.left);
        for side in Side::BOTH {
            if left[side.index()].take_if(|last| *last <= through).is_some() {
                journal.release(side);
            }
        }
    }

    fn wants_maintenance(&self) -> bool {
        self.journal().is_some_and(|journal| journal.wants_fill())
    }

    /// Makes room ahead of need.
    fn maintain(&self) {
        if let Some(journal) = self.journal() {
            let _ = journal.fill_ahead();
        }
    }

    fn bytes(&self) -> u64 {
        self.journal().map_or(0, |journal| journal.bytes())
    }

    fn end_journal(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        self.remove_ended()?;
        let Some(journal) = self.journal() else { return Ok(()) };
        let (old, new) = (journal.salt(), Salt::random()?);
        self.name.check()?;
        if let Err(error) = settle(JournalAfter::Retired(Some(old))) {
            // Whether the tables take it for ended is not known. What goes on in it must not be passed over.
            let goes_on = self.tables.write("going on with the journal", |tables| {
                tables.set_meta("journal", &old.0)?;
                tables.clear_meta("retired")
            });
            return Err(goes_on.map_or_else(|unknown| journal.fail(unknown), |()| error));
        }
        *self.journal.write().unwrap_or_else(PoisonError::into_inner) = None;
        *locked(&self.salt) = new;
        *locked(&self.left) = [None; 2];
        *locked(&self.ended) = Some(journal);
        self.remove_ended()
    }

    /// Moves everything into the tables, and removes the journal.
    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        let name = &self.name;
        self.remove_ended()?;
        let Some(journal) = self.journal() else {
            return if name.is_held()? { Ok(()) } else { Err(name.lost(&[])) };
        };
        settle(JournalAfter::Retired(Some(journal.salt())))?;
        if !name.is_held()? {
            // All of it is in the file. But nobody may find that, and then what the journal holds is all there is.
            return Err(name.lost(&journal.set_aside()?));
        }
        if !journal.remove()? {
            return Err(self.foreign_journal());
        }
        Ok(())
    }

    #[cfg(test)]
    fn as_local(&self) -> Option<&LocalLog> {
        Some(self)
    }
}

impl From<journal::JournalError> for AppendError {
    fn from(error: journal::JournalError) -> AppendError {
        match error {
            journal::JournalError::Refused(error) => AppendError::Refused(error),
            journal::JournalError::Failed(error) => AppendError::Failed(error),
        }
    }
}
