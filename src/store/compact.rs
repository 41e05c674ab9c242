//! Compaction: the tables are written anew, in the order of keys, into a file that takes the place of the first.
//!
//! It holds the committer and the tables' writers until it is done, so that both files hold the same; reads go on but for the moment
//! in which the new file is opened. The name leads to one whole file at any moment, and the journal belongs to both: a crash leaves one or the
//! other. Nothing is written into the new one before its name is durable.
//!
//! Where events are to be rewritten ([`rewriting`](super::rewriting)) they are on the way; then the journal goes first.
//!
//! It takes the lock of the committer, then closes the tables to writers, then reads; and at last it is alone.

use std::sync::Arc;

use super::checkpoint::Checkpointer;
use super::commit::Commits;
use super::copy::{CopyProgress, TableCopier};
use super::disk::Lock;
use super::kernel::Kernel;
use super::mutex::locked;
use super::name;
use super::rewriting::{Rewriting, Rewritten};
use super::tables::copy::CopiedRows;
use super::temporary::{Place, TemporaryFile};
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};

/// What came of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// How many bytes the file had.
    pub before: u64,
    /// How many it has.
    pub after: u64,
}

/// What was done to the file.
pub(crate) struct Compacted {
    pub compaction: Compaction,
    /// What was rewritten, and up to which definition, where something was to be.
    pub rewritten: Option<(Rewritten, Position)>,
    /// The lock of the new file: it is to be held as long as that of the one before.
    pub lock: Box<dyn Lock>,
}

/// Writes the tables anew.
///
/// # Errors
/// [`Error::Stopped`] where the database is read alone, or is being closed; [`Error::Unopenable`] where the file has several names;
/// [`Error::Corrupt`] where it is damaged; [`Error::Io`] where the disk fails. Whichever file has the name then holds all there is.
pub(crate) fn compact(
    kernel: &Arc<Kernel>,
    commits: &Commits,
    checkpointer: &Checkpointer,
    cancel: &Cancel,
) -> Result<Compacted> {
    if kernel.options.read_only {
        return Err(Error::stopped("the database was opened for reading only"));
    }
    let _committer = locked(&commits.committer);
    TableCopier::go_on(kernel, cancel)?;
    check_names(kernel)?;
    checkpointer.move_all_held()?;
    kernel.name.check()?;
    let mut rewriting = Rewriting::due(kernel, cancel)?;
    if let Some(rewriting) = &mut rewriting {
        checkpointer.end_journal()?;
        rewriting.prepare()?;
    }
    let alone = kernel.tables.alone();
    let disk = &*kernel.disk;
    let failed = |e: std::io::Error| Error::io(format!("compacting {}", kernel.path.display()), e);
    let before = disk.open(&kernel.path).and_then(|file| file.len()).map_err(failed)?;
    let temporary = TemporaryFile::name(&kernel.path, kernel.id.0);
    // Whoever holds the lock of the database made what is there, or somebody did who crashed.
    if disk.exists(&temporary).map_err(failed)? {
        disk.remove(&temporary).map_err(failed)?;
    }
    let file = disk.create_like(&temporary, &kernel.path).map_err(failed)?;
    let made = TemporaryFile::new(disk, &temporary, &*file);
    let mut lock = name::take_lock(disk, &temporary, false)?;
    let mut told = |_: &CopyProgress| {};
    TableCopier::new(kernel, cancel, &mut told).rewriting(rewriting.as_mut()).write(
        kernel.disk.clone(),
        &temporary,
        CopiedRows::Compacted,
        |read| read.cursors(),
    )?;
    file.sync().map_err(failed)?;
    let after = file.len().map_err(failed)?;
    let (old, new) = (kernel.tables.identity(), file.identity().map_err(failed)?);
    check_names(kernel)?;
    lock.release_name();
    let go_on = || TableCopier::go_on(kernel, cancel);
    alone.replace(new, go_on, || made.publish(&kernel.path, Place::Of(old)).map_err(failed))?;
    kernel.tables.sync_name()?;
    let rewritten = rewriting.map(Rewriting::end);
    Ok(Compacted { compaction: Compaction { before, after }, rewritten, lock })
}

/// Refuses where the file has names that would stay with the one before.
fn check_names(kernel: &Kernel) -> Result<()> {
    match kernel.tables.names()? {
        Some(names @ 2..) => {
            let reason = format!("it has {names} names, and the others would stay with the file as it is");
            let advice = "remove them, or make a backup under another name";
            Err(Error::unopenable(&kernel.path, reason, advice))
        }
        _ => Ok(()),
    }
}
