//! The operating system's disk.
//!
//! It promises what the trait says, no more: a write is in the page cache until [`File::sync`], a name until
//! [`Disk::sync_folder`]. Syncing a file is `fdatasync` (a full flush of the drive where the system has one),
//! which carries the length when it changed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, Identity, Lock, LockError, LockMode};

mod lock;

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk {
    read_only: bool,
}

impl RealDisk {
    /// A disk whose files are opened for reading and writing. A file that may not be written is an error
    /// (`ErrorKind::PermissionDenied` or `ErrorKind::ReadOnlyFilesystem`).
    pub fn new() -> RealDisk {
        RealDisk { read_only: false }
    }

    /// A disk whose files are opened for reading alone. Every change is an error
    /// (`ErrorKind::ReadOnlyFilesystem`), whether or not the system would allow it.
    pub fn read_only() -> RealDisk {
        RealDisk { read_only: true }
    }

    fn check_writable(self) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "opened for reading only"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    disk: RealDisk,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(!self.read_only).open(path)?;
        // Opened for reading alone, a folder would be told from a file only by its first read.
        if self.read_only && file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(RealFile { file, disk: *self }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile { file, disk: *self }))
    }

    fn create_like(&self, path: &Path, like: &Path) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        let file = create_like(path, &fs::metadata(like)?)?;
        Ok(Arc::new(RealFile { file, disk: *self }))
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        // Of the name itself: a symbolic link that leads to a file elsewhere is not that file's own name.
        fs::symlink_metadata(path).map(|metadata| identity(&metadata))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        // The name, not what a symbolic link points to: a dangling link is in the way of `create` and `link` too.
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        sync_names(or_current(folder))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(_), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
                Ok(fs::canonicalize(super::folder(path))?.join(name))
            }
            found => found,
        }
    }

    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn Lock>, LockError> {
        lock::take(path, mode)
    }

    fn check_name(&self, path: &Path) -> Result<(), LockError> {
        lock::check_name(path)
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(&self.file, offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.check_writable()?;
        write_all_at(&self.file, offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check_writable()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.read_only {
            return Ok(());
        }
        self.file.sync_data()
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.metadata().map(|metadata| identity(&metadata))
    }

    fn names(&self) -> io::Result<Option<u64>> {
        self.file.metadata().map(|metadata| names(&metadata))
    }
}

/// The folder of a bare file name is the current one.
fn or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Whether the system does not let this file be written.
fn is_unwritable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// The standard library does not tell: see [`Identity`].
#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> Identity {
    Identity::UNTOLD
}

#[cfg(unix)]
fn names(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::nlink(metadata))
}

#[cfg(not(unix))]
fn names(_metadata: &fs::Metadata) -> Option<u64> {
    None
}

/// Creates a file for those alone who may use another one.
#[cfg(unix)]
fn create_like(path: &Path, like: &fs::Metadata) -> io::Result<fs::File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
    const ACCESS: u32 = 0o777;
    let mode = like.mode() & ACCESS;
    // Never wider than it is to be, and wide enough for its owner, who writes it.
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode((mode & 0o700) | 0o600).open(path)?;
    let made = || -> io::Result<()> {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            // Only the superuser may give a file away, and others only to their own groups.
            let given = fchown(&file, Some(like.uid()), Some(like.gid()));
            let group = |_| fchown(&file, None, Some(like.gid()));
            if given.or_else(group).is_err() {
                // Its group is not the one that the mode speaks of.
                return file.set_permissions(fs::Permissions::from_mode(mode & 0o707));
            }
        }
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    match made() {
        Ok(()) => Ok(file),
        Err(error) => {
            // Made a moment ago, and of no use.
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

#[cfg(not(unix))]
fn create_like(path: &Path, _like: &fs::Metadata) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn read_exact_at(file: &fs::File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(unix)]
fn write_all_at(file: &fs::File, offset: u64, data: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &fs::File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        match file.seek_read(out, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                out = &mut out[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn write_all_at(file: &fs::File, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !data.is_empty() {
        match file.seek_write(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                data = &data[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(windows))]
fn sync_names(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder at all and say so; there is nothing more to ask of them.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

/// Windows has no way to flush a folder: NTFS logs a name in its own journal, in order with other changes.
#[cfg(windows)]
fn sync_names(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn it_holds_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        contract::holds(&RealDisk::new(), folder.path());
        contract::locks_exclude(&RealDisk::new(), folder.path());
        #[cfg(unix)]
        contract::locks_hold_the_name(&RealDisk::new(), folder.path());
    }

    #[test]
    fn read_only_opens_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, b"bytes").unwrap();
        let disk = RealDisk::read_only();
        let file = disk.open(&path).unwrap();
        let mut out = [0; 5];
        file.read_at(0, &mut out).unwrap();
        assert_eq!(&out, b"bytes");

        let refused = [
            file.write_at(0, b"BYTES"),
            file.set_len(1),
            disk.create(&other).map(drop),
            disk.link(&path, &other),
            disk.rename(&path, &other),
            disk.remove(&path),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        file.sync().unwrap();
        disk.sync_folder(folder.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        assert_eq!(disk.open(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn it_locks_a_file_it_may_only_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"bytes").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        drop(RealDisk::new().lock(&path, LockMode::Exclusive).unwrap());
        drop(RealDisk::read_only().lock(&path, LockMode::Shared).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_made_like_another_has_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let like = folder.path().join("like");
        fs::write(&like, b"").unwrap();
        for (at, mode) in [0o600, 0o640, 0o660, 0o644, 0o664, 0o666, 0o400].into_iter().enumerate() {
            fs::set_permissions(&like, fs::Permissions::from_mode(mode)).unwrap();
            let path = folder.path().join(at.to_string());
            RealDisk::new().create_like(&path, &like).unwrap().write_at(0, b"bytes").unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{mode:o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_not_the_file_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, b"").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let disk = RealDisk::new();
        assert_ne!(disk.identity(&link).unwrap(), disk.identity(&real).unwrap());
        assert_eq!(disk.open(&link).unwrap().identity().unwrap(), disk.identity(&real).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_followed_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/shop"), b"").unwrap();
        std::os::unix::fs::symlink("real/shop", root.join("link")).unwrap();
        std::os::unix::fs::symlink("real", root.join("folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        let disk = RealDisk::new();
        assert_eq!(disk.canonical(&root.join("link")).unwrap(), root.join("real/shop"));
        assert_eq!(disk.canonical(&root.join("folder/new")).unwrap(), root.join("real/new"));
        let missing = disk.canonical(&root.join("missing/new")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(disk.exists(&root.join("dangling")).unwrap());
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        let here = fs::canonicalize(".").unwrap();
        assert_eq!(RealDisk::new().canonical(Path::new("no-such")).unwrap(), here.join("no-such"));
        RealDisk::new().sync_folder(Path::new("")).unwrap();
    }
}
