//! redb, open on a file of a [`Disk`], and what becomes of it when that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, StorageBackend};

use super::super::disk::{Disk, File, Identity};
use crate::error::{Error, Result};

pub(super) enum State {
    Open(Handle),
    /// It could not be opened again, and this is why.
    Lost(Error),
    Closed,
}

/// redb, open.
pub(super) struct Handle {
    pub database: Database,
    /// Which file it is open on.
    pub identity: Identity,
    pub file: Arc<dyn File>,
    /// An operation of its file failed: redb refuses all that follow.
    pub latched: Arc<AtomicBool>,
    /// Why this is open for reading alone, if it is.
    pub read_only: Option<Error>,
}

impl State {
    pub fn handle(&self) -> Result<&Handle> {
        match self {
            State::Open(handle) => Ok(handle),
            State::Lost(error) => Err(error.clone()),
            State::Closed => Err(closed()),
        }
    }

    pub fn needs_reopening(&self) -> bool {
        match self {
            State::Open(handle) => handle.latched.load(Ordering::Acquire),
            State::Lost(_) => true,
            State::Closed => false,
        }
    }
}

pub(super) fn closed() -> Error {
    Error::stopped("the database is closed")
}

/// Opens the file; if one is named, only that one.
pub(super) fn open(disk: &dyn Disk, path: &Path, cache: usize, only: Option<Identity>) -> Result<Handle> {
    let unopenable = |e| Error::unopenable(path, e, "check the path and its permissions");
    let file = disk.open(path).map_err(unopenable)?;
    let identity = file.identity().map_err(unopenable)?;
    // Whatever else is there has another lock.
    if only.is_some_and(|only| only != identity) {
        let advice = "close it, and open the one that is to be used";
        return Err(Error::unopenable(path, "another file has its name by now", advice));
    }
    let latched = Arc::<AtomicBool>::default();
    let backend = Backend { file: file.clone(), latched: latched.clone() };
    // A damaged page can make redb panic where it would rather not check: that is this file's fault, and told so.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        redb::Builder::new().set_cache_size(cache).create_with_backend(backend)
    }));
    let not_ours = |reason: String| {
        Error::unopenable(path, reason, "restore a copy, or create a new database under another name")
    };
    match opened {
        Ok(Ok(database)) => Ok(Handle { database, identity, file, latched, read_only: None }),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(io))))
            if io.kind() != std::io::ErrorKind::InvalidData
                && io.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            Err(Error::io(format!("opening {}", path.display()), io))
        }
        Ok(Err(error)) => Err(not_ours(format!("not a Bygone database, or a damaged one ({error})"))),
        Err(_) => Err(not_ours("the database is damaged".to_owned())),
    }
}

/// redb's file, every method handed on.
#[derive(Debug)]
struct Backend {
    file: Arc<dyn File>,
    latched: Arc<AtomicBool>,
}

impl Backend {
    fn noting<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        if result.is_err() {
            self.latched.store(true, Ordering::Release);
        }
        result
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.noting(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.noting(self.file.read_at(offset, out))
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.noting(self.file.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.noting(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.noting(self.file.write_at(offset, data))
    }

    fn close(&self) -> std::io::Result<()> {
        Ok(())
    }
}
