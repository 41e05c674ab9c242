//! A copy of the tables under way: what is copied is held to the chain of hashes, and it ends where somebody cancels, or closes.

use super::chain::{ChainHash, link};
use super::kernel::Kernel;
use super::tables::copy::{CopyWatch, MetaRows};
use super::tables::{Tables, TablesRead};
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};

/// What is copied of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    pub position: Position,
    pub events: u64,
    pub chain: ChainHash,
}

pub(super) struct Copy<'c> {
    kernel: &'c Kernel,
    cancel: &'c Cancel,
    progress: &'c mut dyn FnMut(&Copied),
    copied: Copied,
}

impl<'c> Copy<'c> {
    pub fn new(kernel: &'c Kernel, cancel: &'c Cancel, progress: &'c mut dyn FnMut(&Copied)) -> Copy<'c> {
        Copy { kernel, cancel, progress, copied: Copied::default() }
    }

    /// Copies everything as of a read into new tables.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where what is read is damaged, or the events are not those of their chain: the new tables are no database then.
    pub fn all(mut self, read: &TablesRead, to: &Tables, meta: MetaRows) -> Result<Copied> {
        read.copy_rows(to, &mut self)?;
        if (self.copied.position, self.copied.chain.0) != (read.checkpoint()?, read.chain()?) {
            let found = format!("events up to {} that are not those of its chain", self.copied.position);
            return Err(Error::corrupt("the log", found));
        }
        read.copy_meta(to, meta)?;
        to.shrink()?;
        Ok(self.copied)
    }
}

impl CopyWatch for Copy<'_> {
    fn event(&mut self, position: Position, bytes: &[u8]) -> Result<()> {
        if position != self.copied.position.next() {
            return Err(Error::corrupt("the log", format!("{position} after {}", self.copied.position)));
        }
        let chain = ChainHash(link(self.copied.chain.0, position, bytes)?);
        self.copied = Copied { position, events: self.copied.events + 1, chain };
        Ok(())
    }

    fn written(&mut self, _: usize) -> Result<()> {
        self.cancel.check()?;
        if self.kernel.background.stopping() {
            return Err(Error::stopped("the database is being closed"));
        }
        (self.progress)(&self.copied);
        Ok(())
    }
}
