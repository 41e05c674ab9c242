//! What was done to a simulated disk, in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crash::Crashes;
use super::platter::Platter;

/// A file, whatever names it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u64);

/// The names of a disk, each rooted and without `.` or `..`.
pub(super) type NameTable = BTreeMap<PathBuf, FileId>;

/// One thing that was done. What failed, or was told not to count, is not in the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Bytes were written.
    Write {
        /// The file.
        file: FileId,
        /// Where the bytes begin.
        offset: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// A file was truncated, or extended with zeros.
    SetLen {
        /// The file.
        file: FileId,
        /// Its length in bytes from here on.
        len: u64,
    },
    /// A file's bytes and length became durable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// A sync failed, and what had been written since the last one will never be durable.
    DropPages {
        /// The file.
        file: FileId,
    },
    /// A name changed.
    Name(NameChange),
    /// The names in a folder became durable.
    SyncFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A mark that a test made.
    Note(u64),
}

/// A change of one name, within one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameChange {
    /// A new file got its first name.
    Create {
        /// The file.
        file: FileId,
        /// The name, which was free.
        path: PathBuf,
    },
    /// A file got another name.
    Link {
        /// The file.
        file: FileId,
        /// A name it has.
        from: PathBuf,
        /// The new name, which was free.
        to: PathBuf,
    },
    /// A file's name changed.
    Rename {
        /// The file.
        file: FileId,
        /// The old name.
        from: PathBuf,
        /// The new name; it may have been another file's.
        to: PathBuf,
    },
    /// A file lost a name.
    Remove {
        /// The file.
        file: FileId,
        /// The name.
        path: PathBuf,
    },
}

impl NameChange {
    /// The folder whose sync makes this durable.
    pub(super) fn folder(&self) -> &Path {
        let (NameChange::Create { path, .. }
        | NameChange::Remove { path, .. }
        | NameChange::Link { to: path, .. }
        | NameChange::Rename { to: path, .. }) = self;
        folder_of(path)
    }

    /// Makes the change, unless a change it builds on was not made: then it changes nothing.
    pub(super) fn apply(&self, names: &mut NameTable) {
        match self {
            NameChange::Create { file, path } => {
                names.entry(path.clone()).or_insert(*file);
            }
            NameChange::Link { file, from, to } => {
                if names.get(from) == Some(file) {
                    names.entry(to.clone()).or_insert(*file);
                }
            }
            NameChange::Rename { file, from, to } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                    names.insert(to.clone(), *file);
                }
            }
            NameChange::Remove { file, path } => {
                if names.get(path) == Some(file) {
                    names.remove(path);
                }
            }
        }
    }
}

/// The folder of a rooted name; of the root, the root.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// How much was done to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Writes of bytes; a change of length is not one.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of folders.
    pub folder_syncs: u64,
    /// Bytes written.
    pub bytes: u64,
}

impl DiskCounts {
    /// What was done since these `earlier` counts of the same disk.
    pub fn since(self, earlier: DiskCounts) -> DiskCounts {
        DiskCounts {
            writes: self.writes.saturating_sub(earlier.writes),
            syncs: self.syncs.saturating_sub(earlier.syncs),
            folder_syncs: self.folder_syncs.saturating_sub(earlier.folder_syncs),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// All that was done to a disk up to a moment, and what it held before.
///
/// A *point* lies between two operations: point `p` is the moment after the first `p` of them, so there is one
/// more of them than operations.
#[derive(Debug, Clone)]
pub struct Trace {
    pub(super) start: Arc<Platter>,
    pub(super) operations: Arc<[Operation]>,
}

impl Trace {
    /// How many operations there are, notes included.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What was done, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The same, had some operations not been done.
    #[cfg(test)]
    pub(crate) fn without(&self, left_out: &[usize]) -> Trace {
        let others = self.operations.iter().enumerate().filter(|(at, _)| !left_out.contains(at));
        Trace { start: Arc::clone(&self.start), operations: others.map(|(_, kept)| kept.clone()).collect() }
    }

    /// The marks made before a point, in order.
    pub fn notes_before(&self, point: usize) -> impl Iterator<Item = u64> + '_ {
        self.operations.iter().take(point).filter_map(|operation| match operation {
            Operation::Note(note) => Some(*note),
            _ => None,
        })
    }

    /// A cursor over the points of this trace, at the first of them.
    pub fn crashes(&self) -> Crashes {
        Crashes::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_whose_ground_is_missing_changes_nothing() {
        let (a, b) = (PathBuf::from("/a"), PathBuf::from("/b"));
        let (old, new) = (FileId(1), FileId(2));
        let names = NameTable::from([(a.clone(), old)]);
        let ungrounded = [
            NameChange::Create { file: new, path: a.clone() },
            NameChange::Link { file: new, from: a.clone(), to: b.clone() },
            NameChange::Rename { file: new, from: a.clone(), to: b.clone() },
            NameChange::Remove { file: new, path: a },
            NameChange::Remove { file: old, path: b },
        ];
        for change in ungrounded {
            let mut after = names.clone();
            change.apply(&mut after);
            assert_eq!(after, names, "{change:?}");
        }
    }

    #[test]
    fn counts_are_compared() {
        let before = DiskCounts { writes: 1, syncs: 2, folder_syncs: 3, bytes: 4 };
        let after = DiskCounts { writes: 11, syncs: 12, folder_syncs: 3, bytes: 104 };
        assert_eq!(after.since(before), DiskCounts { writes: 10, syncs: 10, folder_syncs: 0, bytes: 100 });
    }
}
