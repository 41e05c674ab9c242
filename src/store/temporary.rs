//! Temporary names: what is made under one is published whole, or not at all.

use std::path::{Path, PathBuf};

use super::disk::{Disk, File};

/// A file that is being made. Dropped, it has its temporary name no more.
pub(super) struct TemporaryFile<'d> {
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

    fn remove(&self) -> std::io::Result<()> {
        // Unless it is another file's by now.
        if self.disk.identity(self.path)? == self.file.identity()? {
            self.disk.remove(self.path)
        } else {
            Ok(())
        }
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        // Nobody misses it, and nobody can be told; what failed once may have been interrupted.
        let _ = self.remove().or_else(|_| self.remove());
    }
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
