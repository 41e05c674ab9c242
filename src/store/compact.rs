//! Compaction: the tables are written anew, in the order of keys, into a file that takes the place of the first.
//!
//! It holds the committer and the tables' writers until it is done, so that both files hold the same; reads go on but for the moment
//! in which the new file is opened. The name leads to one whole file at any moment, and the journal belongs to both: a crash leaves one or the
//! other.
//!
//! It takes the lock of the committer, then the gate of the tables, then those of reads; and at last the tables alone.

use std::sync::Arc;

use super::checkpoint::Checkpointer;
use super::commit::Commits;
use super::copy::Copy;
use super::kernel::Kernel;
use super::mutex::locked;
use super::tables::Tables;
use super::tables::copy::MetaRows;
use super::temporary::{TemporaryFile, folder};
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};

/// What of the file that is written is held in memory.
const CACHE: usize = 16 << 20;

/// What came of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// How many bytes the file had.
    pub before: u64,
    /// How many it has.
    pub after: u64,
}

/// Writes the tables anew.
///
/// # Errors
/// [`Error::Stopped`] where the database is read alone, or is being closed; [`Error::Unopenable`] where the file has several names;
/// [`Error::Corrupt`] where it is damaged. The file is then as it was.
pub(crate) fn compact(
    kernel: &Arc<Kernel>,
    commits: &Commits,
    checkpointer: &Checkpointer,
    cancel: &Cancel,
    progress: &mut dyn FnMut(Position),
) -> Result<Compaction> {
    if kernel.options.read_only {
        return Err(Error::stopped("the database was opened for reading only"));
    }
    if let Some(names @ 2..) = kernel.tables.names()? {
        let reason = format!("it has {names} names, and the others would stay with the file as it is");
        return Err(Error::unopenable(
            &kernel.path,
            reason,
            "remove them, or make a backup under another name",
        ));
    }
    let committer = locked(&commits.committer);
    checkpointer.move_all_held()?;
    kernel.name.check()?;
    let alone = kernel.tables.alone();
    let disk = &*kernel.disk;
    let failed = |e: std::io::Error| Error::io(format!("compacting {}", kernel.path.display()), e);
    let before = disk.open(&kernel.path).and_then(|file| file.len()).map_err(failed)?;
    let temporary = TemporaryFile::name(&kernel.path, kernel.id.0);
    // Whoever holds the name of the database holds this one, too: what is there was left behind.
    if disk.exists(&temporary).map_err(failed)? {
        disk.remove(&temporary).map_err(failed)?;
    }
    let file = disk.create_like(&temporary, &kernel.path).map_err(failed)?;
    let made = TemporaryFile::new(disk, &temporary, &*file);
    let tables = Tables::open_or_make(kernel.disk.clone(), &temporary, CACHE)?;
    let read = kernel.tables.read()?;
    let copied =
        Copy::new(kernel, cancel, &mut |copied| progress(copied.position)).all(&read, &tables, MetaRows::All);
    drop(read);
    let checked = copied.and_then(|_| tables.check_pages(cancel));
    let closed = tables.close();
    checked.and(closed)?;
    file.sync().map_err(failed)?;
    let after = file.len().map_err(failed)?;
    cancel.check()?;
    alone.replace(|| {
        disk.rename(&temporary, &kernel.path).map_err(failed)?;
        disk.sync_folder(folder(&kernel.path)).map_err(failed)
    })?;
    drop(made);
    drop(committer);
    Ok(Compaction { before, after })
}
