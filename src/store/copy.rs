//! A copy of the tables under way: what is copied is held to the chain of hashes, and it ends where somebody cancels, or closes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::chain::{ChainHash, link};
use super::cursor::{Cursor, CursorOwner};
use super::disk::Disk;
use super::index::term::Term;
use super::kernel::Kernel;
use super::rewriting::Rewriting;
use super::tables::copy::{CopiedRows, CopyWatch};
use super::tables::{Tables, TablesRead, was_interrupted};
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};

/// What of a file that is written is held in memory.
pub(super) const CACHE: usize = 16 << 20;

/// Where followers are; an error where that is damaged.
pub(super) type Places = Vec<(CursorOwner, Result<Cursor>)>;

/// What is copied of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CopyProgress {
    pub position: Position,
    pub events: u64,
    pub chain: ChainHash,
}

/// Copies all tables.
pub(super) struct TableCopier<'c, 'k> {
    kernel: &'c Kernel,
    cancel: &'c Cancel,
    progress: &'c mut dyn FnMut(&CopyProgress),
    /// What is stored in another form in the copy.
    rewriting: Option<&'c mut Rewriting<'k>>,
    done: CopyProgress,
    /// How many events there are to copy.
    all: u64,
}

impl<'c, 'k> TableCopier<'c, 'k> {
    pub fn new(
        kernel: &'c Kernel,
        cancel: &'c Cancel,
        progress: &'c mut dyn FnMut(&CopyProgress),
    ) -> TableCopier<'c, 'k> {
        TableCopier { kernel, cancel, progress, rewriting: None, done: CopyProgress::default(), all: 0 }
    }

    /// The same, that rewrites events on the way.
    pub fn rewriting(self, rewriting: Option<&'c mut Rewriting<'k>>) -> TableCopier<'c, 'k> {
        TableCopier { rewriting, ..self }
    }

    /// Copies everything as of now into tables that it makes in an empty file, gives back what that has more than it needs, and reads it once
    /// more. Which places of followers go along may follow from the read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where what is read is damaged, or the events are not those of their chain: the file is no database then.
    pub fn write(
        self,
        disk: Arc<dyn Disk>,
        path: &Path,
        rows: CopiedRows,
        cursors: impl FnOnce(&TablesRead) -> Result<Places>,
    ) -> Result<CopyProgress> {
        let to = Tables::open_or_make(disk, path, CACHE)?;
        let cancel = self.cancel;
        // redb reads nothing more of a file that somebody else could not write, until it is opened again.
        let copied = self.copy(&to, rows, cursors).map_err(|error| match was_interrupted(&error) {
            true => Error::stopped("the disk of the database failed while it was copied; try it again"),
            false => error,
        });
        let copied = copied.and_then(|copied| {
            to.shrink()?;
            to.check_pages(cancel)?;
            Ok(copied)
        });
        let closed = to.close();
        copied.and_then(|copied| closed.map(|()| copied))
    }

    /// The read ends with it: what comes after needs none.
    fn copy(
        mut self,
        to: &Tables,
        rows: CopiedRows,
        cursors: impl FnOnce(&TablesRead) -> Result<Places>,
    ) -> Result<CopyProgress> {
        let read = self.kernel.tables.read()?;
        self.all = read.checkpoint()?.0;
        let cursors = cursors(&read)?;
        read.copy_rows(to, rows, &mut self)?;
        if (self.done.position, self.done.chain.0) != (read.checkpoint()?, read.chain()?) {
            let found = format!("events up to {} that are not those of its chain", self.done.position);
            return Err(Error::corrupt("the log", found));
        }
        to.write("writing cursors", |to| {
            cursors.into_iter().try_for_each(|(owner, cursor)| to.put_cursor(&owner, &cursor?))
        })?;
        read.copy_meta(to, rows)?;
        Ok(self.done)
    }

    /// An error once it is of no use to go on.
    pub fn go_on(kernel: &Kernel, cancel: &Cancel) -> Result<()> {
        cancel.check()?;
        if kernel.ending.is_cancelled() {
            return Err(Error::stopped("the database is being closed"));
        }
        Ok(())
    }
}

impl CopyWatch for TableCopier<'_, '_> {
    fn event(&mut self, position: Position, bytes: &[u8]) -> Result<()> {
        if position != self.done.position.next() {
            return Err(Error::corrupt("the log", format!("{position} after {}", self.done.position)));
        }
        let chain = ChainHash(link(self.done.chain.0, position, bytes)?);
        self.done = CopyProgress { position, events: self.done.events + 1, chain };
        Ok(())
    }

    fn written(&mut self) -> Result<()> {
        TableCopier::go_on(self.kernel, self.cancel)?;
        (self.progress)(&self.done);
        self.cancel.tell(self.done.events, self.all);
        Ok(())
    }

    fn rewritten(
        &mut self,
        read: &TablesRead,
        position: Position,
        bytes: &[u8],
    ) -> Result<Option<Arc<[u8]>>> {
        match &mut self.rewriting {
            Some(rewriting) => rewriting.rewritten(read, position, bytes),
            None => Ok(None),
        }
    }

    fn take_lists(&mut self) -> BTreeMap<Term, Vec<Position>> {
        self.rewriting.as_mut().map(|rewriting| rewriting.take_lists()).unwrap_or_default()
    }
}
