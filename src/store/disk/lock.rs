//! The locks of files that live in memory: they keep the handles of one process apart, as the system's locks
//! keep processes apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Identity, Lock, LockError, LockMode};

/// Who holds the files and names of one disk.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<Holders>);

#[derive(Debug, Default)]
struct Holders {
    /// By the number of the file.
    files: BTreeMap<u64, Holder>,
    /// Names whose file is written.
    names: BTreeMap<PathBuf, Identity>,
}

#[derive(Debug, Clone, Copy)]
enum Holder {
    /// How many; never zero.
    Readers(usize),
    Writer,
}

impl Locks {
    /// Takes the lock of a file that has this name, without waiting.
    pub(super) fn take(
        self: &Arc<Self>,
        mode: LockMode,
        file: Identity,
        name: &Path,
    ) -> Result<Box<dyn Lock>, LockError> {
        let process = Some(std::process::id());
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = match (holders.files.get(&file.inode), mode) {
            (None, LockMode::Exclusive) => Holder::Writer,
            (None, LockMode::Shared) => Holder::Readers(1),
            (Some(Holder::Readers(n)), LockMode::Shared) => Holder::Readers(n + 1),
            _ => return Err(LockError::Held { process }),
        };
        holders.check_name(name)?;
        holders.files.insert(file.inode, holder);
        if mode == LockMode::Exclusive {
            holders.names.insert(name.to_owned(), file);
        }
        Ok(Box::new(MemoryLockGuard { locks: Arc::clone(self), file }))
    }

    /// Whether somebody who writes holds this name.
    pub(super) fn check_name(&self, name: &Path) -> Result<(), LockError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).check_name(name)
    }
}

impl Holders {
    fn check_name(&self, name: &Path) -> Result<(), LockError> {
        match self.names.contains_key(name) {
            true => Err(LockError::NameHeld { process: Some(std::process::id()) }),
            false => Ok(()),
        }
    }
}

/// Gives the lock back when dropped.
#[derive(Debug)]
struct MemoryLockGuard {
    locks: Arc<Locks>,
    file: Identity,
}

impl Lock for MemoryLockGuard {
    fn identity(&self) -> Option<Identity> {
        Some(self.file)
    }

    fn release_name(&mut self) {
        let mut holders = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.names.retain(|_, file| *file != self.file);
    }
}

impl Drop for MemoryLockGuard {
    fn drop(&mut self) {
        let mut holders = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        match holders.files.get_mut(&self.file.inode) {
            Some(Holder::Readers(n)) if *n > 1 => *n -= 1,
            _ => {
                holders.files.remove(&self.file.inode);
                holders.names.retain(|_, file| *file != self.file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Identity = Identity { device: 1, inode: 1 };

    #[test]
    fn readers_share_and_a_writer_waits_for_the_last_of_them() {
        let locks = Arc::new(Locks::default());
        let take = |mode| locks.take(mode, FILE, Path::new("/a"));
        let one = take(LockMode::Shared).unwrap();
        let two = take(LockMode::Shared).unwrap();
        drop(one);
        assert!(matches!(take(LockMode::Exclusive), Err(LockError::Held { .. })));
        drop(two);
        let writer = take(LockMode::Exclusive).unwrap();
        assert!(matches!(take(LockMode::Exclusive), Err(LockError::Held { process: Some(_) })));
        assert!(matches!(take(LockMode::Shared), Err(LockError::Held { .. })));
        drop(writer);
        assert!(take(LockMode::Shared).is_ok());
    }
}
