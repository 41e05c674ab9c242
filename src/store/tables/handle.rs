//! redb, open on a file of a [`Disk`], and what becomes of it when that fails.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, StorageBackend};

use super::super::disk::{Disk, File, Identity};
use super::block_cache::BlockCache;
use super::checksums::{BRANCH, Checksums, count};
use super::read::Committed;
use super::{failed, guard, was_interrupted};
use crate::cancel::Cancel;
use crate::error::{Error, Result};

pub(super) enum TablesState {
    Open(Handle),
    /// It could not be opened again, and this is why.
    Lost(Error),
    Closed,
}

/// redb, open.
pub(super) struct Handle {
    /// What is committed, for all who read it; none until somebody does.
    committed: Mutex<Option<Arc<Committed>>>,
    /// Blocks of the log that were read lately.
    pub blocks: Arc<BlockCache>,
    /// None once it is being closed.
    database: Option<Database>,
    /// Which file it is open on.
    pub identity: Identity,
    pub file: Arc<dyn File>,
    /// An operation of its file failed: redb refuses all that follow.
    pub latched: Arc<AtomicBool>,
    failure: DiskFailure,
    /// Why this is open for reading alone, if it is.
    pub read_only: Option<Error>,
}

/// Why an operation of a file failed first.
type DiskFailure = Arc<Mutex<Option<(ErrorKind, String)>>>;

impl Handle {
    /// An error for what redb refused since an operation had failed before: the reason is that one's.
    pub fn told(&self, doing: &str, error: Error) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failure {
            Some((kind, message)) if was_interrupted(&error) => {
                Error::io(doing, io::Error::new(*kind, message.clone()))
            }
            _ => error,
        }
    }

    pub fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(closed)
    }

    /// What is committed now.
    pub fn committed(&self) -> Result<Arc<Committed>> {
        let mut committed = self.known();
        if let Some(committed) = &*committed {
            return Ok(committed.clone());
        }
        let begin = || self.database()?.begin_read().map_err(|e| failed("beginning to read the tables", e));
        let transaction = guard::reading("the tables", &self.latched, begin)?;
        let new = Arc::new(Committed::new(transaction, self.latched.clone(), self.blocks.clone()));
        *committed = Some(new.clone());
        Ok(new)
    }

    /// Moves pages to the beginning of the file, and cuts it.
    pub fn shrink(&mut self) -> Result<()> {
        self.forget_committed();
        let Some(database) = self.database.as_mut() else { return Err(closed()) };
        let doing = "compacting the tables";
        let compacted = guard::reading(doing, &self.latched, || match database.compact() {
            Ok(_) => Ok(()),
            Err(redb::CompactionError::Storage(error)) => Err(failed(doing, error)),
            // Nobody else has it open.
            Err(other) => Err(Error::io(doing, io::Error::other(other.to_string()))),
        });
        compacted.map_err(|error| self.told(doing, error))
    }

    /// To be called where something is committed: what was before is no more of interest, and its pages are free once nobody reads it.
    pub fn forget_committed(&self) {
        let before = self.known().take();
        drop(before);
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Committed>>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn close(mut self) -> Result<()> {
        self.forget_committed();
        let Some(database) = self.database.take() else { return Err(closed()) };
        let doing = "closing the tables";
        guard::reading(doing, &self.latched, || database.close().map_err(|e| failed(doing, e)))
            .map_err(|error| self.told(doing, error))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.forget_committed();
        // One that panicked before may panic again as it is dropped.
        guard::quietly(|| drop(self.database.take()));
    }
}

impl TablesState {
    pub fn handle(&self) -> Result<&Handle> {
        match self {
            TablesState::Open(handle) => Ok(handle),
            TablesState::Lost(error) => Err(error.clone()),
            TablesState::Closed => Err(closed()),
        }
    }

    pub fn needs_reopening(&self) -> bool {
        match self {
            TablesState::Open(handle) => handle.latched.load(Ordering::Acquire),
            TablesState::Lost(_) => true,
            TablesState::Closed => false,
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
    let checksums = Some(Checksums::new(cache));
    let failure = DiskFailure::default();
    let backend = Backend {
        latched: latched.clone(),
        failure: failure.clone(),
        checksums,
        ..Backend::new(file.clone())
    };
    guard::silence();
    // A damaged page can make redb panic where it would rather not check: that is this file's fault, and told so.
    let opened = guard::quietly(|| redb::Builder::new().set_cache_size(cache).create_with_backend(backend));
    let not_ours = |reason: String| {
        Error::unopenable(
            path,
            reason,
            "restore a copy, read what is left (bygone rescue), or choose another name",
        )
    };
    match opened {
        Some(Ok(database)) => {
            let (committed, database) = (Mutex::default(), Some(database));
            let blocks = Arc::new(BlockCache::new(cache / 2));
            Ok(Handle { committed, blocks, database, identity, file, latched, failure, read_only: None })
        }
        Some(Err(redb::DatabaseError::Storage(redb::StorageError::Io(io))))
            if io.kind() != ErrorKind::InvalidData && io.kind() != ErrorKind::UnexpectedEof =>
        {
            Err(Error::io(format!("opening {}", path.display()), io))
        }
        Some(Err(error)) => Err(not_ours(format!("not a Bygone database, or a damaged one ({error})"))),
        None => Err(not_ours("the database is damaged".to_owned())),
    }
}

/// redb's file, every method handed on.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn File>,
    latched: Arc<AtomicBool>,
    failure: DiskFailure,
    until: Option<Cancel>,
    /// None where redb is to compare them itself.
    checksums: Option<Checksums>,
}

impl Backend {
    pub fn new(file: Arc<dyn File>) -> Backend {
        Backend { file, latched: Arc::default(), failure: Arc::default(), until: None, checksums: None }
    }

    /// One that can be read only until somebody cancels.
    pub fn until(self, cancel: Cancel) -> Backend {
        Backend { until: Some(cancel), ..self }
    }

    fn noting<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (error.kind(), error.to_string()));
            self.latched.store(true, Ordering::Release);
        }
        result
    }
}

/// A page of an order has 4 KiB as often as two to its power. Smaller ones are read without a look at the file.
pub(crate) const PAGE: u64 = 4096;
const SMALL: u8 = 10;

impl Backend {
    /// Whether a page leads to one that is larger than the file: redb would make room for it before it is read.
    fn leads_astray(&self, page: &[u8]) -> io::Result<bool> {
        if page.first() != Some(&BRANCH) {
            return Ok(false);
        }
        let children = count(page) + 1;
        // First the checksums of all of them, then their numbers; of those the highest five bits are the order.
        let numbers = page.get(8 + 16 * children..).and_then(|rest| rest.get(..8 * children));
        let Some(numbers) = numbers else { return Ok(true) };
        let largest = numbers.chunks_exact(8).map(|number| number[7] >> 3).max().unwrap_or(0);
        Ok(largest > SMALL && PAGE << largest > self.file.len()?)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noting(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.until.as_ref().is_some_and(|cancel| cancel.check().is_err()) {
            return Err(ErrorKind::Interrupted.into());
        }
        match self.file.read_at(offset, out) {
            // A damaged page leads anywhere, and a file may be cut. An error would make redb refuse all that follows, of everybody;
            // but nothing is a page of zeros.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                out.fill(0);
                Ok(())
            }
            Ok(()) => {
                let fits = self.checksums.as_ref().is_none_or(|checksums| checksums.fits(offset, out));
                if !fits || offset > 0 && self.noting(self.leads_astray(out))? {
                    out.fill(0);
                }
                Ok(())
            }
            Err(error) => self.noting(Err(error)),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noting(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noting(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(checksums) = &self.checksums {
            checksums.forget(offset);
        }
        self.noting(self.file.write_at(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::memory::MemoryDisk;

    /// A page that leads to others of one page each, beside their checksums.
    fn branch(children: &[u64]) -> Vec<u8> {
        let mut page = vec![BRANCH, 0];
        page.extend((children.len() as u16 - 1).to_le_bytes());
        page.resize(8 + 16 * children.len(), 0);
        page.extend(children.iter().flat_map(|child| child.to_le_bytes()));
        page.resize(PAGE as usize, 0);
        page
    }

    #[test]
    fn a_page_that_leads_to_one_larger_than_the_file_is_damaged() {
        let file = MemoryDisk::new().create(Path::new("/a")).unwrap();
        file.write_at(0, &[0; 4 * PAGE as usize]).unwrap();
        let backend = Backend::new(file);
        let astray = |children: &[u64]| backend.leads_astray(&branch(children)).unwrap();
        assert!(!astray(&[3]));
        assert!(!astray(&[3, 1, 2, 0]));
        assert!(astray(&[1, 12 << 59]), "a page of 16 MiB");
        let all: Vec<u64> = (0..300).collect();
        assert!(astray(&all), "more children than a page has room for");
    }
}
