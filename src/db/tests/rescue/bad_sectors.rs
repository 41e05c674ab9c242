//! A disk that cannot read some bytes of one file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::{Disk, File, Identity, Lock, LockError, LockMode};

#[derive(Debug, Clone)]
pub struct BadSectors {
    under: MemoryDisk,
    file: &'static str,
    bad: Arc<Mutex<Range<u64>>>,
}

impl BadSectors {
    pub fn new(under: MemoryDisk, file: &'static str) -> BadSectors {
        BadSectors { under, file, bad: Arc::default() }
    }

    pub fn set(&self, bad: Range<u64>) {
        *self.bad.lock().unwrap() = bad;
    }
}

#[derive(Debug)]
struct BadFile(Arc<dyn File>, Arc<Mutex<Range<u64>>>);

impl Disk for BadSectors {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.under.open(path)?;
        let is_bad = path == Path::new(self.file);
        Ok(if is_bad { Arc::new(BadFile(file, self.bad.clone())) } else { file })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.under.create(path)
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        self.under.create_like(path, like)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.under.identity(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.under.exists(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.under.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.under.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.under.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.under.sync_folder(folder)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.under.canonical(path)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        self.under.lock(path, mode)
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        self.under.check_name(path)
    }
}

impl File for BadFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bad = self.1.lock().unwrap().clone();
        if offset < bad.end && offset + out.len() as u64 > bad.start {
            return Err(io::Error::other("a bad sector"));
        }
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn identity(&self) -> io::Result<Identity> {
        self.0.identity()
    }

    fn names(&self) -> io::Result<Option<u64>> {
        self.0.names()
    }
}
