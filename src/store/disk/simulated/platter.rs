//! What of a simulated disk is durable, and what was done since that is not.
//!
//! A platter follows the operations of a trace one by one. Bytes go to a file's pending changes and from there,
//! when the file is synced, to its durable pages; names go by folder in the same way. What a crash leaves is the
//! durable part and a choice among the pending changes: [`crash`](super::crash) makes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::pages::Pages;
use super::trace::{FileId, NameChange, NameTable, Operation};

/// The durable state of a disk, and the changes on their way to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Platter {
    /// The durable names.
    pub(super) names: NameTable,
    /// The changes of names since each folder's last sync.
    pub(super) unsynced_names: BTreeMap<PathBuf, Vec<NameChange>>,
    /// Every file there ever was, named or not.
    pub(super) files: BTreeMap<FileId, StoredFile>,
}

/// The durable state of a file, and the changes on their way to it.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredFile {
    pub(super) durable: Pages,
    /// The changes since the last sync.
    pub(super) unsynced: Vec<FileChange>,
    /// The length with all changes made.
    len: u64,
}

/// A change of a file's bytes or length.
#[derive(Debug, Clone)]
pub(super) enum FileChange {
    Write {
        offset: u64,
        data: Arc<[u8]>,
    },
    /// The file is at least this long.
    Grow(u64),
    /// The file was cut to this length.
    Truncate(u64),
}

impl FileChange {
    pub(super) fn apply(&self, pages: &mut Pages) {
        match self {
            FileChange::Write { offset, data } => write(pages, *offset, data),
            FileChange::Grow(len) => pages.set_len(pages.len().max(*len)),
            FileChange::Truncate(len) => pages.set_len(*len),
        }
    }
}

/// Writes again what the user of the disk wrote once.
pub(super) fn write(pages: &mut Pages, offset: u64, data: &[u8]) {
    pages.write_at(offset, data).expect("the same write succeeded when the disk's user made it");
}

impl StoredFile {
    /// A file that was synced as it is.
    pub(super) fn synced(pages: Pages) -> StoredFile {
        StoredFile { len: pages.len(), durable: pages, unsynced: Vec::new() }
    }

    /// The file with all changes made.
    pub(super) fn current(&self) -> Pages {
        let mut pages = self.durable.clone();
        self.unsynced.iter().for_each(|change| change.apply(&mut pages));
        pages
    }

    fn write(&mut self, offset: u64, data: &Arc<[u8]>) {
        self.len = self.len.max(offset.saturating_add(data.len() as u64));
        self.unsynced.push(FileChange::Write { offset, data: Arc::clone(data) });
    }

    fn set_len(&mut self, len: u64) {
        self.unsynced.push(if len < self.len { FileChange::Truncate(len) } else { FileChange::Grow(len) });
        self.len = len;
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Forgets the bytes on their way, but not the lengths: those are kept apart from the pages, and the file is
    /// as long as it was.
    fn drop_pages(&mut self) {
        for change in &mut self.unsynced {
            if let FileChange::Write { offset, data } = change {
                *change = FileChange::Grow(offset.saturating_add(data.len() as u64));
            }
        }
    }
}

impl Platter {
    /// Follows one operation.
    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { file, offset, data } => self.file(*file).write(*offset, data),
            Operation::SetLen { file, len } => self.file(*file).set_len(*len),
            Operation::Sync { file } => self.file(*file).sync(),
            Operation::DropPages { file } => self.file(*file).drop_pages(),
            Operation::Name(change) => {
                if let NameChange::Create { file, .. } = change {
                    self.files.insert(*file, StoredFile::default());
                }
                let folder = change.folder();
                match self.unsynced_names.get_mut(folder) {
                    Some(changes) => changes.push(change.clone()),
                    None => {
                        self.unsynced_names.insert(folder.to_owned(), vec![change.clone()]);
                    }
                }
            }
            Operation::SyncFolder { folder } => {
                for change in self.unsynced_names.remove(folder).unwrap_or_default() {
                    change.apply(&mut self.names);
                }
            }
            Operation::Note(_) => {}
        }
    }

    fn file(&mut self, file: FileId) -> &mut StoredFile {
        self.files.entry(file).or_default()
    }
}
