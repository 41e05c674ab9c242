//! A disk that remembers what was synced and what was not.
//!
//! To its user it is a correct disk in memory. It keeps a [`Trace`] of all that was done. A test
//! 1. uses the disk, and marks in the trace what it was promised ([`SimulatedDisk::note`]);
//! 2. walks the points of the trace ([`Trace::crashes`]), at each of which the disk could have crashed;
//! 3. takes there the disk that would be found ([`Crashes::image`]), unsynced changes lost, kept, reordered or
//!    torn, and holds it to the promises made by then ([`Crashes::notes`]).
//!
//! [`Faults`] make operations fail, the disk run full, and syncs drop pages or lie.
//!
//! Clones are handles to the same disk. Folders need not be made: every folder exists. Links and renames stay
//! within one folder (`ErrorKind::CrossesDevices`), for each folder's names are synced apart. Locks are honoured
//! between the handles of one disk.

mod crash;
mod fault;
mod platter;
pub(crate) mod random;
mod state;
mod trace;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::lock::Locks;
use super::memory::rooted;
use super::{Disk, File, Identity, Lock, LockError, LockMode};
use platter::Platter;
use state::DiskState;

pub use crash::{Crashes, Fate};
pub use fault::{Dropped, Failure, Faults, Kind};
pub use trace::{DiskCounts, FileId, NameChange, Operation, Trace};

/// A disk that can crash and fail.
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<DiskShared>,
}

struct DiskShared {
    state: Mutex<DiskState>,
    faults: Faults,
    hook: RwLock<Option<Hook>>,
    locks: Arc<Locks>,
}

type Hook = Arc<dyn Fn(Kind, &Path) + Send + Sync>;

impl SimulatedDisk {
    /// An empty disk.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::holding(Platter::default())
    }

    /// A disk that holds what a crash left.
    fn holding(platter: Platter) -> SimulatedDisk {
        let faults = Faults::default();
        let state = Mutex::new(DiskState::holding(platter, faults.clone()));
        SimulatedDisk {
            shared: Arc::new(DiskShared { state, faults, hook: RwLock::default(), locks: Arc::default() }),
        }
    }

    /// All that was done so far.
    pub fn trace(&self) -> Trace {
        self.shared.state().trace()
    }

    /// Makes a mark in the trace.
    pub fn note(&self, note: u64) {
        self.shared.state().note(note);
    }

    /// The disk as it is found after a crash now. This disk goes on as if nothing had happened.
    pub fn crash(&self, fate: Fate, seed: u64) -> SimulatedDisk {
        let survivor = self.shared.state().platter().survivor(fate, seed);
        SimulatedDisk::holding(survivor)
    }

    /// How much was done so far. What failed is not counted; a sync that was ignored is.
    pub fn counts(&self) -> DiskCounts {
        self.shared.state().counts()
    }

    /// What is to go wrong.
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// Calls a closure before each operation from now on, with the name it is about (of a rename or link the old
    /// one, of a file the one it was opened by), but those of kinds `Look` and `Lock`. It may wait, and may use the disk; it replaces
    /// the one before.
    pub fn on_operation(&self, hook: impl Fn(Kind, &Path) + Send + Sync + 'static) {
        *self.shared.hook.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// What tells this disk from others by what is on it: the names that are of interest, and the bytes under each.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self, concerns: impl Fn(&Path) -> bool) -> u128 {
        self.shared.state().fingerprint(concerns)
    }

    /// Each name.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<PathBuf> {
        self.shared.state().names()
    }

    fn file(&self, id: FileId, path: PathBuf) -> Arc<dyn File> {
        Arc::new(SimulatedFile { shared: Arc::clone(&self.shared), id, path })
    }
}

impl Default for SimulatedDisk {
    fn default() -> SimulatedDisk {
        SimulatedDisk::new()
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").finish_non_exhaustive()
    }
}

impl DiskShared {
    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an operation: the hook runs before anything is locked, so that it may wait and use the disk.
    fn begin(&self, kind: Kind, path: &Path) -> MutexGuard<'_, DiskState> {
        let hook = self.hook.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(kind, path);
        }
        self.state()
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = rooted(path);
        let id = self.shared.begin(Kind::Open, &path).open(&path)?;
        Ok(self.file(id, path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = rooted(path);
        let id = self.shared.begin(Kind::Create, &path).create(&path)?;
        Ok(self.file(id, path))
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        self.identity(like)?;
        self.create(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.shared.state().identify(&rooted(path)).map(identity)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.shared.state().look(&rooted(path))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (rooted(from), rooted(to));
        self.shared.begin(Kind::Link, &from).link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (rooted(from), rooted(to));
        self.shared.begin(Kind::Rename, &from).rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = rooted(path);
        self.shared.begin(Kind::Remove, &path).remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = rooted(folder);
        self.shared.begin(Kind::SyncFolder, &folder).sync_folder(folder)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(rooted(path))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        let path = rooted(path);
        let file = self.shared.state().to_lock(&path).map_err(LockError::Io)?;
        self.shared.locks.take(mode, identity(file), &path)
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        self.shared.locks.check_name(&rooted(path))
    }
}

fn identity(file: FileId) -> Identity {
    Identity { device: 1, inode: file.0 }
}

struct SimulatedFile {
    shared: Arc<DiskShared>,
    id: FileId,
    /// The name it was opened by.
    path: PathBuf,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedFile")
            .field("id", &self.id)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.shared.state();
        state.check_look(self.id, &self.path)?;
        state.len(self.id)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.shared.begin(Kind::Read, &self.path).read(self.id, &self.path, offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.shared.begin(Kind::Write, &self.path).write(self.id, &self.path, offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.begin(Kind::SetLen, &self.path).set_len(self.id, &self.path, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.begin(Kind::Sync, &self.path).sync(self.id, &self.path)
    }

    fn identity(&self) -> io::Result<Identity> {
        self.shared.state().check_look(self.id, &self.path)?;
        Ok(identity(self.id))
    }

    fn names(&self) -> io::Result<Option<u64>> {
        let state = self.shared.state();
        state.check_look(self.id, &self.path)?;
        Ok(Some(state.names_of(self.id)))
    }
}
