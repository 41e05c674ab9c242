//! What the user of a simulated disk sees, changed one operation at a time.
//!
//! Each operation is checked against the faults, done to the bytes and names that are seen, and then recorded: in
//! the trace, and on the platter that knows what of it is durable. One that fails leaves no record.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::memory::{already_exists, not_found};
use super::super::pages::{Pages, end_of};
use super::fault::{Dropped, Faults, Kind, OperationNames};
use super::platter::Platter;
use super::trace::{DiskCounts, FileId, NameChange, NameTable, Operation, Trace, folder_of};

/// A disk as its user sees it, and its record.
pub(super) struct DiskState {
    names: NameTable,
    files: BTreeMap<FileId, Inode>,
    platter: Platter,
    /// The platter before the first operation.
    start: Arc<Platter>,
    operations: Vec<Operation>,
    counts: DiskCounts,
    faults: Faults,
}

/// A file, as long as the disk lives: handles outlive its names.
#[derive(Default)]
struct Inode {
    bytes: Pages,
}

impl DiskState {
    pub(super) fn holding(platter: Platter, faults: Faults) -> DiskState {
        let files = platter.files.iter();
        let files = files.map(|(id, stored)| (*id, Inode { bytes: stored.current() }));
        DiskState {
            names: platter.names.clone(),
            files: files.collect(),
            start: Arc::new(platter.clone()),
            platter,
            operations: Vec::new(),
            counts: DiskCounts::default(),
            faults,
        }
    }

    pub(super) fn trace(&self) -> Trace {
        Trace { start: Arc::clone(&self.start), operations: self.operations.as_slice().into() }
    }

    pub(super) fn platter(&self) -> &Platter {
        &self.platter
    }

    pub(super) fn counts(&self) -> DiskCounts {
        self.counts
    }

    pub(super) fn note(&mut self, note: u64) {
        self.record(Operation::Note(note));
    }

    fn record(&mut self, operation: Operation) {
        self.platter.apply(&operation);
        self.operations.push(operation);
    }

    // Names.

    fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path)
    }

    /// Whether it exists, for whoever asks.
    pub(super) fn look(&self, path: &Path) -> io::Result<bool> {
        self.faults.check(Kind::Look, &OperationNames(vec![path]))?;
        Ok(self.exists(path))
    }

    /// Which file has this name, for whoever asks.
    pub(super) fn identify(&self, path: &Path) -> io::Result<FileId> {
        self.faults.check(Kind::Look, &OperationNames(vec![path]))?;
        self.find(path)
    }

    /// Something that is asked of an open file.
    pub(super) fn check_look(&self, file: FileId, opened: &Path) -> io::Result<()> {
        self.faults.check(Kind::Look, &self.named(file, opened))
    }

    /// The file that is to be locked.
    pub(super) fn to_lock(&self, path: &Path) -> io::Result<FileId> {
        self.faults.check(Kind::Lock, &OperationNames(vec![path]))?;
        self.find(path)
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<FileId> {
        self.faults.check(Kind::Open, &OperationNames(vec![path]))?;
        self.find(path)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        self.faults.check(Kind::Create, &OperationNames(vec![path]))?;
        if self.exists(path) {
            return Err(already_exists(path));
        }
        if self.room() == 0 {
            return Err(full());
        }
        let file = FileId(self.files.keys().next_back().map_or(1, |last| last.0 + 1));
        self.files.insert(file, Inode::default());
        self.change_name(NameChange::Create { file, path: path.to_owned() });
        Ok(file)
    }

    pub(super) fn link(&mut self, from: PathBuf, to: PathBuf) -> io::Result<()> {
        self.faults.check(Kind::Link, &OperationNames(vec![&from, &to]))?;
        let file = self.find(&from)?;
        check_one_folder(&from, &to)?;
        if self.exists(&to) {
            return Err(already_exists(&to));
        }
        self.change_name(NameChange::Link { file, from, to });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: PathBuf, to: PathBuf) -> io::Result<()> {
        self.faults.check(Kind::Rename, &OperationNames(vec![&from, &to]))?;
        let file = self.find(&from)?;
        check_one_folder(&from, &to)?;
        // As POSIX has it: two names of one file stay as they are.
        if self.names.get(&to) != Some(&file) {
            self.change_name(NameChange::Rename { file, from, to });
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: PathBuf) -> io::Result<()> {
        self.faults.check(Kind::Remove, &OperationNames(vec![&path]))?;
        let file = self.find(&path)?;
        self.change_name(NameChange::Remove { file, path });
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, folder: PathBuf) -> io::Result<()> {
        let named = OperationNames(vec![&folder]);
        self.faults.check(Kind::SyncFolder, &named)?;
        let ignored = self.faults.ignores_folder_sync(&named);
        self.counts.folder_syncs += 1;
        if !ignored {
            self.record(Operation::SyncFolder { folder });
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<PathBuf> {
        self.names.keys().cloned().collect()
    }

    #[cfg(test)]
    pub(super) fn fingerprint(&self, concerns: impl Fn(&Path) -> bool) -> u128 {
        let mut hasher = twox_hash::XxHash3_128::new();
        for (path, file) in self.names.iter().filter(|(path, _)| concerns(path)) {
            hasher.write(path.to_string_lossy().as_bytes());
            let Some(node) = self.files.get(file) else { continue };
            hasher.write(&node.bytes.len().to_le_bytes());
            node.bytes.each_page(|index, page| {
                hasher.write(&(index as u64).to_le_bytes());
                hasher.write(page);
            });
        }
        hasher.finish_128()
    }

    /// How many names a file has.
    pub(super) fn names_of(&self, file: FileId) -> u64 {
        self.names.values().filter(|id| **id == file).count() as u64
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.record(Operation::Name(change));
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| not_found(path))
    }

    // Bytes.

    pub(super) fn len(&self, file: FileId) -> io::Result<u64> {
        Ok(self.node(file)?.bytes.len())
    }

    pub(super) fn read(&self, file: FileId, opened: &Path, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.faults.check(Kind::Read, &self.named(file, opened))?;
        self.node(file)?.bytes.read_at(offset, out)
    }

    pub(super) fn write(&mut self, file: FileId, opened: &Path, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Err((error, partly)) = self.faults.check_whole(Kind::Write, &self.named(file, opened)) {
            self.put(file, offset, &data[..if partly { data.len() / 2 } else { 0 }])?;
            return Err(error);
        }
        if self.faults.forgets_write(&self.named(file, opened)) {
            return Ok(());
        }
        let end = end_of(offset, data.len())?;
        let reachable = self.len(file)?.saturating_add(self.room());
        if data.is_empty() || end <= reachable {
            return self.put(file, offset, data);
        }
        let fitting = usize::try_from(reachable.saturating_sub(offset)).unwrap_or(data.len());
        self.put(file, offset, &data[..fitting.min(data.len())])?;
        Err(full())
    }

    pub(super) fn set_len(&mut self, file: FileId, opened: &Path, len: u64) -> io::Result<()> {
        self.faults.check(Kind::SetLen, &self.named(file, opened))?;
        if len > self.len(file)?.saturating_add(self.room()) {
            return Err(full());
        }
        self.node_mut(file)?.bytes.set_len(len);
        self.record(Operation::SetLen { file, len });
        Ok(())
    }

    pub(super) fn sync(&mut self, file: FileId, opened: &Path) -> io::Result<()> {
        let named = self.named(file, opened);
        self.faults.check(Kind::Sync, &named)?;
        if let Some(then) = self.faults.drops_pages(&named) {
            let error = io::Error::other(format!("simulated failure: sync of {named} dropped its pages"));
            self.drop_pages(file, then)?;
            return Err(error);
        }
        let ignored = self.faults.ignores_sync(&named);
        self.counts.syncs += 1;
        if !ignored {
            self.record(Operation::Sync { file });
        }
        Ok(())
    }

    fn put(&mut self, file: FileId, offset: u64, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.node_mut(file)?.bytes.write_at(offset, data)?;
        self.counts.writes += 1;
        self.counts.bytes += data.len() as u64;
        self.record(Operation::Write { file, offset, data: data.into() });
        Ok(())
    }

    fn drop_pages(&mut self, file: FileId, then: Dropped) -> io::Result<()> {
        self.record(Operation::DropPages { file });
        if then == Dropped::ShowsOld {
            let durable = self.platter.files.get(&file).map(|stored| stored.current());
            self.node_mut(file)?.bytes = durable.unwrap_or_default();
        }
        Ok(())
    }

    /// How many bytes files may still grow.
    fn room(&self) -> u64 {
        let Some(capacity) = self.faults.capacity() else { return u64::MAX };
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        let lens = named.iter().filter_map(|file| self.files.get(file)).map(|node| node.bytes.len());
        capacity.saturating_sub(lens.fold(0, u64::saturating_add))
    }

    /// The names a file has now, or the one it was opened by if it has none left.
    fn named<'a>(&'a self, file: FileId, opened: &'a Path) -> OperationNames<'a> {
        let mut names: Vec<&Path> =
            self.names.iter().filter(|(_, id)| **id == file).map(|(path, _)| path.as_path()).collect();
        if names.is_empty() {
            names.push(opened);
        }
        OperationNames(names)
    }

    fn node(&self, file: FileId) -> io::Result<&Inode> {
        self.files.get(&file).ok_or_else(unknown)
    }

    fn node_mut(&mut self, file: FileId) -> io::Result<&mut Inode> {
        self.files.get_mut(&file).ok_or_else(unknown)
    }
}

fn check_one_folder(from: &Path, to: &Path) -> io::Result<()> {
    if folder_of(from) == folder_of(to) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::CrossesDevices,
        "a simulated disk syncs the names of each folder apart",
    ))
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full")
}

/// Handles keep the number of a file on their own disk, and files are never forgotten: this cannot happen.
fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "a file of another disk")
}
