//! The names of a database that is open. Its file and its journal may be removed, renamed or replaced meanwhile, and whoever looks for
//! them by their names finds nothing, or something else: then nothing more is acknowledged, and nothing is removed.
//!
//! Nobody opens what took the name of a file that is still written: the lock of that is on its name, too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Identity, Lock, LockError, LockMode};
use super::journal::Side;
use super::tables::Tables;
use super::temporary::Place;
use crate::error::{Error, Result};

/// The name that the file of an open database was opened by.
#[derive(Debug)]
pub(crate) struct FileName {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    tables: Arc<Tables>,
    read_only: bool,
}

impl FileName {
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, tables: Arc<Tables>, read_only: bool) -> FileName {
        FileName { disk, path, tables, read_only }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses to go on where the path does not lead to the file that is open: what stands beside it is another one's.
    pub fn check(&self) -> Result<()> {
        if self.is_held()? {
            return Ok(());
        }
        let next = match self.tables.names()? {
            Some(0) => {
                "no name is left of it, and it is gone for good when it is closed: read the events from here before \
                 (EVENTS, or Db::export), and import them elsewhere"
            }
            _ => {
                "put it back under that name to go on, or read the events from here (EVENTS, or Db::export) and import \
                 them elsewhere"
            }
        };
        Err(Error::stopped(format!(
            "{}; nothing more is recorded, and what was is read as before; {next}",
            self.lost_its_name()
        )))
    }

    /// Whether the path leads to the file that is open.
    pub fn is_held(&self) -> Result<bool> {
        Ok(self.read_only || is_named(&*self.disk, &self.path, &self.tables)?)
    }

    /// Why closing does not go well, and where the journal is.
    pub fn lost(&self, aside: &[PathBuf]) -> Error {
        let lost = self.lost_its_name();
        let file = match self.tables.names() {
            Ok(Some(0)) => "no name was left of it",
            _ => "what was recorded is in that file, under the name that it has now",
        };
        let names: Vec<_> = aside.iter().map(|path| path.display().to_string()).collect();
        let journal = match names.is_empty() {
            true => String::new(),
            false => format!("; its journal is kept as {}", names.join(" and ")),
        };
        Error::stopped(format!("{lost}; {file}{journal}"))
    }

    fn lost_its_name(&self) -> String {
        format!(
            "{} is not the file that was opened by that name: it was removed, renamed or replaced meanwhile",
            self.path.display()
        )
    }
}

/// Whether the name still leads to the file that is open.
pub(crate) fn is_named(disk: &dyn Disk, path: &Path, tables: &Tables) -> Result<bool> {
    match disk.identity(path) {
        // While one takes the place of another, the name is ahead of what is open.
        Ok(found) => Ok(found == tables.identity() || found == tables.settled_identity()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("looking for {}", path.display()), error)),
    }
}

/// Takes the lock of a database's file, and of its name where it is written.
pub(super) fn take_lock(disk: &dyn Disk, path: &Path, read_only: bool) -> Result<Box<dyn Lock>> {
    let mode = if read_only { LockMode::Shared } else { LockMode::Exclusive };
    disk.lock(path, mode).map_err(|error| not_locked(path, error))
}

/// Takes the lock of an existing database, and opens the tables of the file that it is of.
pub(super) fn open_locked(
    disk: &Arc<dyn Disk>,
    path: &Path,
    read_only: bool,
    cache: usize,
) -> Result<(Box<dyn Lock>, Tables)> {
    let lock = take_lock(&**disk, path, read_only)?;
    check_file(&**disk, path)?;
    let tables = Tables::open(disk.clone(), path, cache)?;
    if lock.identity().is_some_and(|locked| locked != tables.identity()) {
        let reason = "another file took its name while it was being opened";
        return Err(Error::unopenable(path, reason, "open it again"));
    }
    Ok((lock, tables))
}

/// Removes what somebody left under a temporary name, on the way to a path, who was interrupted. Whoever is still at it has its lock.
pub(super) fn remove_interrupted(disk: &dyn Disk, temporary: &Path, path: &Path, place: Place) -> Result<()> {
    let failed = |e: std::io::Error| Error::unopenable(path, e, "check the path and its permissions");
    if !disk.exists(temporary).map_err(failed)? {
        return Ok(());
    }
    // Interrupted as it had its name already, it has both: who is to replace it has its lock.
    let is_second_name = match place {
        Place::Free => false,
        Place::Of(there) => there != Identity::UNTOLD && disk.identity(temporary).map_err(failed)? == there,
    };
    let _lock = match is_second_name {
        true => None,
        false => Some(take_lock(disk, temporary, false)?),
    };
    disk.remove(temporary).map_err(failed)
}

/// Refuses a path for a new file beside which a journal stands: whoever opens the file would take it for its own.
pub(super) fn check_no_journal(disk: &dyn Disk, path: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::unopenable(path, e, "check the path and its permissions");
    for side in Side::BOTH {
        let segment = side.path(path);
        if disk.exists(&segment).map_err(failed)? {
            let reason = format!("a journal of another database stands beside it ({})", segment.display());
            return Err(Error::unopenable(path, reason, "put its database back, or move the journal away"));
        }
    }
    Ok(())
}

pub(super) fn not_locked(path: &Path, error: LockError) -> Error {
    let held = |process, by_name| Error::Held { path: path.to_owned(), process, by_name };
    match error {
        LockError::Held { process } => held(process, false),
        LockError::NameHeld { process } => held(process, true),
        LockError::Io(error) => Error::unopenable(path, error, "check the path and its permissions"),
    }
}

/// Tells what is plainly no database before the tables look at it.
fn check_file(disk: &dyn Disk, path: &Path) -> Result<()> {
    const MAGIC: &[u8] = b"redb";
    let unopenable = |reason: String| {
        Error::unopenable(path, reason, "choose another path; create a database under a new name")
    };
    let file =
        disk.open(path).map_err(|e| Error::unopenable(path, e, "check the path and its permissions"))?;
    let unread = |e| Error::unopenable(path, e, "check the disk, then open it again");
    let length = file.len().map_err(unread)?;
    if length == 0 {
        return Err(unopenable("it is empty".to_owned()));
    }
    let not_one = || unopenable("it is not a Bygone database".to_owned());
    if length < 4096 {
        return Err(not_one());
    }
    let mut start = [0; 4];
    // A disk that fails says nothing of the file.
    file.read_at(0, &mut start).map_err(unread)?;
    if start == MAGIC { Ok(()) } else { Err(not_one()) }
}
