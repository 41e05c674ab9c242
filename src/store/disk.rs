//! The disk: everything that waits on storage goes through these two traits.
//!
//! A [`Disk`] is a tree of names, a [`File`] is bytes. The real one ([`real`]) is the operating
//! system's; [`memory`] keeps everything in memory; [`overlay`] reads another disk and keeps every change to
//! itself; [`simulated`] remembers what was synced and what was not, so that a test can lose, reorder and tear
//! the rest.
//!
//! What the rest of the store relies on, and what the simulated disk therefore breaks:
//! * a write is durable only after [`File::sync`] of that file returned `Ok`;
//! * a name (created, linked, renamed or removed) is durable only after [`Disk::sync_folder`] of its folder;
//! * unsynced writes may reach the disk in any order, in part, or not at all;
//! * a sync that failed may have dropped the pages: calling it again proves nothing.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
pub(crate) mod contract;
mod lock;
pub mod memory;
pub mod overlay;
mod pages;
pub mod real;
pub mod simulated;

/// A tree of names.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens an existing file for reading and writing (for reading alone on a read-only disk).
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file that must not exist (`ErrorKind::AlreadyExists` if it does).
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file that must not exist, for those alone who may use the file `like`: with its mode and, where the
    /// system lets us, its owner.
    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>>;

    /// Which file has this name now; `ErrorKind::NotFound` if none has.
    fn identity(&self, path: &Path) -> io::Result<Identity>;

    /// Whether the name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives the file `from` a second name `to`, which must not exist.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The path with symbolic links and `..` resolved; the last component need not exist.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// Takes the advisory lock of an existing file, without waiting. It is held until the returned guard is dropped.
    ///
    /// An exclusive lock is on the name as well: nobody locks another file that comes to it meanwhile.
    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError>;

    /// [`LockError::NameHeld`] where somebody holds an exclusive lock on this name, whether a file has it now or not.
    fn check_name(&self, path: &Path) -> Result<(), LockError>;
}

/// Bytes at offsets. Reads and writes are exact, or an error.
#[allow(clippy::len_without_is_empty)] // asking the system is no cheaper for emptiness than for the length
pub trait File: Debug + Send + Sync + 'static {
    /// How many bytes the file has.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out`; `ErrorKind::UnexpectedEof` where the file is shorter.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data`, growing the file if needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Truncates, or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Which file this is, whatever its names are.
    fn identity(&self) -> io::Result<Identity>;
    /// How many names it has; none where the system does not tell.
    fn names(&self) -> io::Result<Option<u64>>;
}

/// Which file a name or a handle leads to. Two handles of one file have one identity; a file that was put in the place of
/// another has its own.
///
/// Where the system does not tell, every file has the same one: nobody is kept from a file for want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device, or the disk.
    pub device: u64,
    /// The inode, or the number of the file on its disk.
    pub inode: u64,
}

impl Identity {
    /// Where the system does not tell files apart.
    pub(crate) const UNTOLD: Identity = Identity { device: 0, inode: 0 };
}

/// The folder of a path; that of a bare name is the current one.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A lock that is held while this lives.
pub trait Lock: Debug + Send + Sync {
    /// The file that is locked; none where another one stands for it.
    fn identity(&self) -> Option<Identity>;

    /// Gives the name back, and keeps the file: its name is to be another one.
    fn release_name(&mut self) {}
}

/// How many may hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Any number of readers.
    Shared,
    /// One writer, and nobody beside it.
    Exclusive,
}

/// Why a lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else holds it: the process number, where the system tells.
    Held {
        /// The number of the process, where the system tells.
        process: Option<u32>,
    },
    /// Somebody holds the name, and not the file: another one that had the name before.
    NameHeld {
        /// The number of the process, where the system tells.
        process: Option<u32>,
    },
    /// The file could not be opened or locked.
    Io(io::Error),
}
