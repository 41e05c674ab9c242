//! Temporary names: what is made under one is published whole, or not at all.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, File, Identity};

/// What has the name that a file is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Nothing may.
    Free,
    /// This file, which is replaced.
    Of(Identity),
}

/// A file that is being made. Dropped, it has its temporary name no more.
pub(crate) struct TemporaryFile<'d> {
    disk: &'d dyn Disk,
    path: &'d Path,
    file: &'d dyn File,
}

impl<'d> TemporaryFile<'d> {
    pub fn new(disk: &'d dyn Disk, path: &'d Path, file: &'d dyn File) -> TemporaryFile<'d> {
        TemporaryFile { disk, path, file }
    }

    /// The name of what is to stand at a path, told from others by some bytes.
    pub fn name(path: &Path, unique: [u8; 16]) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-new-{:08x}", u32::from_be_bytes([unique[0], unique[1], unique[2], unique[3]])));
        name.into()
    }

    /// Gives it the name that it is made for; the temporary one goes as this is dropped. That is durable once the folder is synced.
    ///
    /// # Errors
    /// Where another file has that name by now, or the temporary one: then nothing changes.
    pub fn publish(&self, to: &Path, place: Place) -> io::Result<()> {
        if !self.is_there()? {
            return Err(io::Error::other("another file took its temporary name"));
        }
        match place {
            Place::Of(before) if self.disk.identity(to)? != before => {
                Err(io::Error::other("another file took the name meanwhile"))
            }
            Place::Of(_) => self.disk.rename(self.path, to),
            Place::Free => match self.disk.link(self.path, to) {
                // Some file systems have no links: there nothing but this look keeps two apart.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !self.disk.exists(to)? => {
                    self.disk.rename(self.path, to)
                }
                linked => linked,
            },
        }
    }

    fn is_there(&self) -> io::Result<bool> {
        Ok(self.disk.identity(self.path)? == self.file.identity()?)
    }

    fn remove(&self) -> io::Result<()> {
        // Unless it is another file's by now.
        if self.is_there()? { self.disk.remove(self.path) } else { Ok(()) }
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        // Nobody misses it, and nobody can be told; what failed once may have been interrupted.
        let _ = self.remove().or_else(|_| self.remove());
    }
}
