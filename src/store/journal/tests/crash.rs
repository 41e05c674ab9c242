//! A disk for these tests: it keeps what was not synced apart, to lose, reorder and tear it; it can run full, and
//! fail a sync having dropped what was to be synced. Names are durable at once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::RngCore;

use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::{Disk, File, Lock, LockError, LockMode};

#[derive(Debug, Clone, Default)]
pub struct CrashDisk(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    files: BTreeMap<PathBuf, Arc<CrashFile>>,
}

#[derive(Debug, Default)]
pub struct CrashFile(Mutex<Bytes>);

#[derive(Debug, Default)]
struct Bytes {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Op>,
    /// Writes fail that would make the file longer than this.
    full_at: Option<u64>,
    fail_sync: bool,
    fail_write: bool,
}

#[derive(Debug, Clone)]
enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(at, data) => {
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Op::SetLen(len) => bytes.resize(*len, 0),
    }
}

impl CrashDisk {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap()
    }

    fn bytes<R>(&self, path: &Path, f: impl FnOnce(&mut Bytes) -> R) -> R {
        f(&mut self.all().files[path].0.lock().unwrap())
    }

    /// From now on the file cannot be longer than this.
    pub fn full_at(&self, path: &Path, len: Option<u64>) {
        self.bytes(path, |bytes| bytes.full_at = len);
    }

    /// The next sync of the file fails, and what it was to sync is lost.
    pub fn fail_sync(&self, path: &Path) {
        self.bytes(path, |bytes| bytes.fail_sync = true);
    }

    /// The next write to the file fails half way.
    pub fn fail_write(&self, path: &Path) {
        self.bytes(path, |bytes| bytes.fail_write = true);
    }

    /// What the machine finds after it lost power now: of what was not synced, any part in any order.
    pub fn crash(&self, rng: &mut impl RngCore) -> Arc<dyn Disk> {
        let after = MemoryDisk::new();
        for (path, file) in &self.all().files {
            let file = file.0.lock().unwrap();
            let mut bytes = file.durable.clone();
            let mut pending = file.pending.clone();
            for i in (1..pending.len()).rev() {
                if rng.next_u32() % 4 == 0 {
                    pending.swap(i, rng.next_u32() as usize % (i + 1));
                }
            }
            for op in &pending {
                match (op, rng.next_u32() % 4) {
                    (_, 0) => {}
                    (Op::Write(at, data), 1) => {
                        // Some of its sectors; and one of them in part.
                        let mut piece = *at;
                        while piece < at + data.len() {
                            let end = ((piece / 512 + 1) * 512).min(at + data.len());
                            let end = if rng.next_u32() % 8 == 0 { piece + (end - piece) / 2 } else { end };
                            if rng.next_u32() % 2 == 0 {
                                apply(&mut bytes, &Op::Write(piece, data[piece - at..end - at].to_vec()));
                            }
                            piece = (piece / 512 + 1) * 512;
                        }
                    }
                    (op, _) => apply(&mut bytes, op),
                }
            }
            after.create(path).unwrap().write_at(0, &bytes).unwrap();
        }
        Arc::new(after)
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.all().files.get(path).cloned();
        file.map(|file| file as Arc<dyn File>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if self.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::<CrashFile>::default();
        self.all().files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.all().files.contains_key(path))
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.all().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn lock(&self, _: &Path, _: LockMode) -> Result<Box<dyn Lock>, LockError> {
        Err(LockError::Io(io::ErrorKind::Unsupported.into()))
    }
}

impl CrashFile {
    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap()
    }
}

impl File for CrashFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().now.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        match self.bytes().now.get(at..at + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let end = offset + data.len() as u64;
        let full = bytes.full_at.is_some_and(|full| end > full && end > bytes.now.len() as u64);
        let fails = full || std::mem::take(&mut bytes.fail_write);
        let data = if fails { &data[..data.len() / 2] } else { data };
        let op = Op::Write(offset as usize, data.to_vec());
        apply(&mut bytes.now, &op);
        bytes.pending.push(op);
        match fails {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        let op = Op::SetLen(len as usize);
        apply(&mut bytes.now, &op);
        bytes.pending.push(op);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut bytes = self.bytes();
        if std::mem::take(&mut bytes.fail_sync) {
            // The cache goes on showing them; they will never be written.
            bytes.pending.clear();
            return Err(io::Error::other("the device failed"));
        }
        for op in std::mem::take(&mut bytes.pending) {
            apply(&mut bytes.durable, &op);
        }
        Ok(())
    }
}
