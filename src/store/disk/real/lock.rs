//! The locks of a database: one on its file, and for whoever writes one on its name.
//!
//! A lock is `flock`, taken on a handle of its own: it goes when the guard or the process does, however that
//! ends, and it excludes a second opener in the same process too. It is on a file, whatever names that has. So that
//! nobody opens what came to the name of a file that is still open, whoever writes locks an empty file beside it as
//! well, named with `-lock` appended. The holder of that lock removes the file; what a killed process left is
//! taken by the next. Whoever reads holds no name, and only looks whether somebody does.
//!
//! On Windows a lock on a file would also stop this process's other handles from reading it: there the file beside
//! it is the only one that is locked, by readers too, and it stays.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(not(windows))]
use super::create_like;
use super::{Identity, Lock, LockError, LockMode, identity, is_unwritable};

/// How often the file beside is opened anew where another one came to its name meanwhile.
#[cfg(not(windows))]
const TRIES: u32 = 16;

/// Takes the lock of an existing file, and of its name.
#[cfg(not(windows))]
pub(super) fn take(path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
    let file = taken(lockable(path, mode).map_err(LockError::Io)?, mode)?;
    let name = match mode {
        LockMode::Exclusive => take_name(path)?,
        LockMode::Shared => {
            check_name(path)?;
            None
        }
    };
    Ok(Box::new(FileLockGuard { name, file }))
}

#[cfg(windows)]
pub(super) fn take(path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
    fs::metadata(path).map_err(LockError::Io)?;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(beside(path));
    let name = match opened {
        // Where no file can be made nobody writes: a reader needs no lock.
        Err(error) if mode == LockMode::Shared && is_unwritable(&error) => None,
        opened => Some(taken(opened.map_err(LockError::Io)?, mode)?),
    };
    Ok(Box::new(FileLockGuard { name }))
}

fn taken(file: fs::File, mode: LockMode) -> Result<fs::File, LockError> {
    let taken = match mode {
        LockMode::Shared => file.try_lock_shared(),
        LockMode::Exclusive => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(LockError::Held { process: holder(&file) }),
        Err(fs::TryLockError::Error(error)) => Err(LockError::Io(error)),
    }
}

/// The handle to take the lock on.
#[cfg(not(windows))]
fn lockable(path: &Path, mode: LockMode) -> io::Result<fs::File> {
    // To `flock` any handle will do; but NFS makes it a byte-range lock, which for writing wants a writable one.
    let writable = OpenOptions::new().read(true).write(mode == LockMode::Exclusive).open(path);
    match writable {
        Err(error) if mode == LockMode::Exclusive && is_unwritable(&error) => fs::File::open(path),
        opened => opened,
    }
}

/// The file that is locked for a name.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-lock");
    beside.into()
}

#[cfg(not(windows))]
fn take_name(path: &Path) -> Result<Option<NameLock>, LockError> {
    let beside = beside(path);
    let failed = |reason: String| {
        LockError::Io(io::Error::other(format!("the lock of its name, {}, {reason}", beside.display())))
    };
    for _ in 0..TRIES {
        if fs::symlink_metadata(&beside).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed("is not a file".to_owned()));
        }
        let opened = match OpenOptions::new().read(true).write(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::metadata(path).and_then(|like| create_like(&beside, &like))
            }
            opened => opened,
        };
        let file = match opened {
            Ok(file) => taken(file, LockMode::Exclusive).map_err(of_the_name)?,
            // Where no file can be made no journal can be, either: nobody writes.
            Err(error) if is_unwritable(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(format!("cannot be taken: {error}"))),
        };
        let name = NameLock { path: beside.clone(), file };
        if name.is_there() {
            return Ok(Some(name));
        }
        // Its holder removed it between our opening and our locking it.
    }
    Err(failed("is removed or replaced again and again".to_owned()))
}

/// Whether somebody who writes holds this name.
pub(super) fn check_name(path: &Path) -> Result<(), LockError> {
    let beside = beside(path);
    // What is not there, or not ours to read, nobody who writes here holds; another kind of file would make us wait.
    if !fs::symlink_metadata(&beside).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let Ok(file) = fs::File::open(beside) else { return Ok(()) };
    taken(file, LockMode::Shared).map(drop).map_err(of_the_name)
}

fn of_the_name(error: LockError) -> LockError {
    match error {
        LockError::Held { process } => LockError::NameHeld { process },
        error => error,
    }
}

/// Locks that are given back when they are dropped.
#[cfg(not(windows))]
#[derive(Debug)]
struct FileLockGuard {
    /// Given back before the file.
    name: Option<NameLock>,
    file: fs::File,
}

#[cfg(not(windows))]
impl Lock for FileLockGuard {
    fn identity(&self) -> Option<Identity> {
        self.file.metadata().ok().map(|metadata| identity(&metadata))
    }

    fn release_name(&mut self) {
        self.name = None;
    }
}

#[cfg(not(windows))]
impl Drop for FileLockGuard {
    fn drop(&mut self) {
        self.name = None;
        let _ = self.file.unlock();
    }
}

/// The lock of a name.
#[cfg(not(windows))]
#[derive(Debug)]
struct NameLock {
    path: PathBuf,
    file: fs::File,
}

#[cfg(not(windows))]
impl NameLock {
    /// Whether the file is still beside the one whose name it stands for.
    fn is_there(&self) -> bool {
        let named = fs::symlink_metadata(&self.path).map(|metadata| identity(&metadata));
        let locked = self.file.metadata().map(|metadata| identity(&metadata));
        matches!((named, locked), (Ok(named), Ok(locked)) if named == locked)
    }
}

#[cfg(not(windows))]
impl Drop for NameLock {
    fn drop(&mut self) {
        // One with content is not one of ours.
        let is_empty = self.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if is_empty && self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
        // A program that is being started may have a copy of the file for a moment: to close one's own does not give the lock back then.
        let _ = self.file.unlock();
    }
}

/// A lock that is given back when it is dropped.
#[cfg(windows)]
#[derive(Debug)]
struct FileLockGuard {
    /// None where there is nothing to lock.
    name: Option<fs::File>,
}

#[cfg(windows)]
impl Lock for FileLockGuard {
    fn identity(&self) -> Option<Identity> {
        None
    }
}

#[cfg(windows)]
impl Drop for FileLockGuard {
    fn drop(&mut self) {
        if let Some(file) = &self.name {
            let _ = file.unlock();
        }
    }
}

/// The process that holds the lock of the file, if the system tells.
#[cfg(target_os = "linux")]
fn holder(file: &fs::File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata().ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    holder_among(&locks, metadata.dev(), metadata.ino())
}

#[cfg(not(target_os = "linux"))]
fn holder(_file: &fs::File) -> Option<u32> {
    None
}

/// Finds the holder in the text of `/proc/locks`, whose lines are
/// `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`: process, then device (hexadecimal) and inode (decimal).
///
/// A process of another namespace is shown as 0 or not at all. One that waits has `->` before its `FLOCK`.
#[cfg(any(target_os = "linux", test))]
fn holder_among(locks: &str, device: u64, inode: u64) -> Option<u32> {
    // How Linux packs a device number: the low bits where they always were, the high ones above them.
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        if fields.next()? != "FLOCK" {
            return None;
        }
        let process = fields.nth(2)?;
        if fields.next()? != wanted {
            return None;
        }
        process.parse().ok().filter(|&process| process > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_file_that_stands_for_a_name_goes_with_its_lock() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let writer = take(&path, LockMode::Exclusive).unwrap();
        assert_eq!(fs::metadata(beside(&path)).unwrap().permissions().mode() & 0o777, 0o600);
        drop(writer);
        assert!(!beside(&path).exists());
        drop(take(&path, LockMode::Shared).unwrap());
        assert!(!beside(&path).exists(), "whoever reads makes none");
        // One that a killed process left is taken, and removed; somebody's own file is not.
        for (content, stays) in [("", false), ("mine", true)] {
            fs::write(beside(&path), content).unwrap();
            drop(take(&path, LockMode::Shared).unwrap());
            assert!(beside(&path).exists());
            drop(take(&path, LockMode::Exclusive).unwrap());
            assert_eq!(beside(&path).exists(), stays, "{content:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        fs::write(&path, b"").unwrap();
        let told = || match take(&path, LockMode::Exclusive) {
            Err(LockError::Io(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        fs::create_dir(beside(&path)).unwrap();
        assert!(told().contains("shop.bygone-lock, is not a file"), "{}", told());
        take(&path, LockMode::Shared).unwrap();
        fs::remove_dir(beside(&path)).unwrap();
        std::os::unix::fs::symlink(folder.path().join("nowhere"), beside(&path)).unwrap();
        assert!(told().contains("is not a file"), "{}", told());
        assert!(fs::symlink_metadata(beside(&path)).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn many_who_come_and_go_hold_a_name_one_at_a_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        fs::write(&path, b"").unwrap();
        let (holders, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        // The name alone: the lock of the file would keep them apart already.
                        if let Ok(Some(name)) = take_name(&path) {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold one name");
                            held.fetch_add(1, Ordering::SeqCst);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            drop(name);
                        }
                    }
                });
            }
        });
        assert!(held.load(Ordering::SeqCst) > 500);
        assert!(!beside(&path).exists());
    }

    #[test]
    fn the_holder_is_found_among_the_locks() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 11 fe:01:1234 0 EOF
2: FLOCK  ADVISORY  WRITE 0 103:1a:77 0 EOF
3: FLOCK  ADVISORY  READ 13 fe:01:12345 0 EOF
4: FLOCK  ADVISORY  WRITE 14 fe:01:1234 0 EOF
4: -> FLOCK  ADVISORY  WRITE 15 fe:01:99 0 EOF
5: OFDLCK ADVISORY  READ -1 00:19:1 0 EOF
6: FLOCK
";
        let device = |major: u64, minor: u64| {
            (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
        };
        assert_eq!(holder_among(locks, device(0xfe, 1), 1234), Some(14));
        assert_eq!(holder_among(locks, device(0xfe, 1), 12345), Some(13));
        assert_eq!(holder_among(locks, device(0xfe, 2), 1234), None);
        assert_eq!(holder_among(locks, device(0x103, 0x1a), 77), None, "a process of another namespace");
        assert_eq!(holder_among(locks, device(0xfe, 1), 99), None, "it waits");
        assert_eq!(holder_among("", 1, 1), None);
    }
}
