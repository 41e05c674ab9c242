//! A disk in memory: every operation is durable at once, for as long as the disk lives.
//!
//! Clones are handles to the same disk. Folders need not be made: every folder exists. Locks are honoured between
//! the handles of one disk. A relative path counts from the root.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::lock::Locks;
use super::pages::Pages;
use super::{Disk, File, Identity, Lock, LockError, LockMode};

/// A disk in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    names: Arc<RwLock<MemoryNames>>,
    locks: Arc<Locks>,
}

type MemoryNames = BTreeMap<PathBuf, Arc<MemoryFile>>;

#[derive(Debug)]
struct MemoryFile {
    bytes: RwLock<Pages>,
    identity: Identity,
    /// How many names it has.
    names: AtomicU64,
}

impl MemoryFile {
    fn new() -> MemoryFile {
        MemoryFile { bytes: RwLock::default(), identity: new_identity(), names: AtomicU64::new(1) }
    }
}

/// An identity that no other file of this process has which lives in memory.
pub(super) fn new_identity() -> Identity {
    static MADE: AtomicU64 = AtomicU64::new(1);
    Identity { device: u64::MAX, inode: MADE.fetch_add(1, Ordering::Relaxed) }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn names(&self) -> RwLockReadGuard<'_, MemoryNames> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn names_mut(&self) -> RwLockWriteGuard<'_, MemoryNames> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(names: &'a MemoryNames, path: &Path) -> io::Result<&'a Arc<MemoryFile>> {
    names.get(&rooted(path)).ok_or_else(|| not_found(path))
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::clone(find(&self.names(), path)?) as Arc<dyn File>)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut names = self.names_mut();
        let key = rooted(path);
        if names.contains_key(&key) {
            return Err(already_exists(path));
        }
        let file = Arc::new(MemoryFile::new());
        names.insert(key, Arc::clone(&file));
        Ok(file)
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        find(&self.names(), like)?;
        self.create(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        Ok(find(&self.names(), path)?.identity)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.names().contains_key(&rooted(path)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names_mut();
        let file = Arc::clone(find(&names, from)?);
        let key = rooted(to);
        if names.contains_key(&key) {
            return Err(already_exists(to));
        }
        file.names.fetch_add(1, Ordering::Relaxed);
        names.insert(key, file);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names_mut();
        let file = Arc::clone(find(&names, from)?);
        let key = rooted(to);
        // As POSIX has it: two names of one file stay as they are.
        if names.get(&key).is_some_and(|target| Arc::ptr_eq(target, &file)) {
            return Ok(());
        }
        names.remove(&rooted(from));
        if let Some(replaced) = names.insert(key, file) {
            replaced.names.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.names_mut().remove(&rooted(path)).ok_or_else(|| not_found(path))?;
        removed.names.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(rooted(path))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        let file = Arc::clone(find(&self.names(), path).map_err(LockError::Io)?);
        self.locks.take(mode, file.identity, &rooted(path))
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        self.locks.check_name(&rooted(path))
    }
}

impl MemoryFile {
    fn bytes(&self) -> RwLockReadGuard<'_, Pages> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_mut(&self) -> RwLockWriteGuard<'_, Pages> {
        self.bytes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes().read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes_mut().write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes_mut().set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(self.identity)
    }

    fn names(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.names.load(Ordering::Relaxed)))
    }
}

/// The path from the root, without `.` and `..`: the one spelling a name is kept under.
pub(super) fn rooted(path: &Path) -> PathBuf {
    let mut rooted = PathBuf::from(std::path::MAIN_SEPARATOR_STR);
    for component in path.components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => {
                rooted.pop();
            }
            Component::Normal(name) => rooted.push(name),
        }
    }
    rooted
}

pub(super) fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

pub(super) fn already_exists(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn it_holds_the_contract() {
        let disk = MemoryDisk::new();
        contract::holds(&disk, Path::new("/folder"));
        contract::locks_exclude(&disk, Path::new("/folder"));
        contract::locks_hold_the_name(&disk, Path::new("/folder"));
    }

    #[test]
    fn clones_are_one_disk_and_others_are_not() {
        let disk = MemoryDisk::new();
        disk.create(Path::new("a")).unwrap();
        assert!(disk.clone().exists(Path::new("/x/.././a")).unwrap());
        assert!(!MemoryDisk::new().exists(Path::new("a")).unwrap());
    }

    #[test]
    fn threads_write_side_by_side() {
        let disk = MemoryDisk::new();
        let file = disk.create(Path::new("a")).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let file = &file;
                scope.spawn(move || {
                    for i in 0..100 {
                        file.write_at(u64::from(thread) * 100 + i, &[thread + 1]).unwrap();
                    }
                });
            }
        });
        let mut out = [0; 400];
        file.read_at(0, &mut out).unwrap();
        assert!(out.iter().enumerate().all(|(i, &byte)| usize::from(byte) == i / 100 + 1));
    }
}
