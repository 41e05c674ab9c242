//! What can be made to go wrong on a simulated disk, while it is in use.
//!
//! Files are told by the end of their name, so that a test need not know the folder: `"-journal"`, and `""` for
//! every file.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What kind of operation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A length is set.
    SetLen,
    /// A file is synced.
    Sync,
    /// A file is created.
    Create,
    /// A file gets another name.
    Link,
    /// A file is renamed.
    Rename,
    /// A name is removed.
    Remove,
    /// The names in a folder are synced.
    SyncFolder,
    /// It is asked what there is: whether a name exists, which file it is, how long that is, how many names it has.
    Look,
    /// A lock is taken.
    Lock,
}

impl Kind {
    /// Whether it changes the disk, or makes changes durable.
    fn changes(self) -> bool {
        !matches!(self, Kind::Open | Kind::Read | Kind::Look | Kind::Lock)
    }
}

/// Which operations fail, and how.
#[derive(Debug, Clone)]
pub struct Failure {
    kind: Option<Kind>,
    suffix: String,
    error: io::ErrorKind,
    forever: bool,
    /// With how many going well between two that fail; those after the first, where it is not once.
    between: u64,
    partly: bool,
}

impl Failure {
    /// Any operation that changes something or makes it durable; once, with `ErrorKind::Other`.
    pub fn any() -> Failure {
        Failure {
            kind: None,
            suffix: String::new(),
            error: io::ErrorKind::Other,
            forever: false,
            between: 0,
            partly: false,
        }
    }

    /// Operations of one kind.
    pub fn of(kind: Kind) -> Failure {
        Failure { kind: Some(kind), ..Failure::any() }
    }

    /// Only on names that end so.
    pub fn named(self, suffix: &str) -> Failure {
        Failure { suffix: suffix.to_owned(), ..self }
    }

    /// With another error.
    pub fn with(self, error: io::ErrorKind) -> Failure {
        Failure { error, ..self }
    }

    /// Every one of them from then on, until the faults are cleared.
    pub fn forever(self) -> Failure {
        Failure { forever: true, ..self }
    }

    /// Every so manieth of them from then on, until the faults are cleared.
    pub fn each(self, nth: u64) -> Failure {
        Failure { between: nth.saturating_sub(1), ..self.forever() }
    }

    /// A write that fails has written the first half of its bytes.
    pub fn partly(self) -> Failure {
        Failure { partly: true, ..self }
    }

    fn concerns(&self, kind: Kind, names: &OperationNames<'_>) -> bool {
        self.kind.map_or(kind.changes(), |wanted| wanted == kind) && names.end_with(&self.suffix)
    }
}

/// What a file shows after a failed sync dropped its pages. A kernel may do either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The pages left the cache: what is read is what was durable before.
    ShowsOld,
    /// The pages stay in the cache, marked clean: what is read is what was written, though no sync will ever
    /// make it durable.
    ShowsNew,
}

/// The faults of a disk, and the switches. All take effect at once, for every handle; clones are the same faults.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Armed>>);

#[derive(Debug, Default)]
struct Armed {
    /// With how many of the operations it concerns go before it.
    failures: Vec<(Failure, u64)>,
    full_at: Option<u64>,
    dropping: Vec<(String, Dropped)>,
    ignored: Vec<String>,
    ignored_folders: Vec<String>,
    /// Of which files every so manieth write is forgotten, and how many there were.
    #[cfg(test)]
    forgotten: Vec<(String, u64, u64)>,
}

impl Faults {
    /// The `n`-th operation from now that the failure concerns fails, with no effect; 1 is the next one.
    pub fn fail_after(&self, n: u64, failure: Failure) {
        self.armed().failures.push((failure, n.saturating_sub(1)));
    }

    /// The disk holds so many bytes, the lengths of all named files together. What would grow a file past that
    /// fails with `ErrorKind::StorageFull`; a write first fills what room there is, as a real one does.
    pub fn full_at(&self, bytes: u64) {
        self.armed().full_at = Some(bytes);
    }

    /// There is room again.
    pub fn not_full(&self) {
        self.armed().full_at = None;
    }

    /// The next sync of a file with such a name fails, and what was written to that file since its last sync will
    /// never be durable, whatever later syncs answer. Its length stays.
    pub fn fail_sync_dropping_pages(&self, suffix: &str, then: Dropped) {
        self.armed().dropping.push((suffix.to_owned(), then));
    }

    /// Syncs of such files answer `Ok` and make nothing durable. Shows that a test would notice if the store forgot
    /// to sync.
    pub fn ignore_syncs(&self, suffix: &str) {
        self.armed().ignored.push(suffix.to_owned());
    }

    /// Syncs of such folders answer `Ok` and make no name durable.
    pub fn ignore_folder_syncs(&self, suffix: &str) {
        self.armed().ignored_folders.push(suffix.to_owned());
    }

    /// Every so manieth write to such files answers `Ok` and writes nothing. Shows that a test would notice if the store forgot to
    /// write.
    #[cfg(test)]
    pub(crate) fn forget_writes(&self, suffix: &str, every: u64) {
        self.armed().forgotten.push((suffix.to_owned(), every, 0));
    }

    /// Nothing goes wrong any more. What was dropped, ignored or forgotten stays so.
    pub fn clear(&self) {
        *self.armed() = Armed::default();
    }

    /// The error of this operation, if it is to fail. It counts towards every failure that concerns it.
    pub(super) fn check(&self, kind: Kind, names: &OperationNames<'_>) -> io::Result<()> {
        self.check_whole(kind, names).map_err(|(error, _)| error)
    }

    /// The same, and whether a part of it is done all the same.
    pub(super) fn check_whole(
        &self,
        kind: Kind,
        names: &OperationNames<'_>,
    ) -> Result<(), (io::Error, bool)> {
        let mut failed = None;
        self.armed().failures.retain_mut(|(failure, before)| {
            if !failure.concerns(kind, names) {
                return true;
            }
            if *before > 0 {
                *before -= 1;
                return true;
            }
            failed = Some((failure.error, failure.partly));
            *before = failure.between;
            failure.forever
        });
        let failed = failed.map(|(error, partly)| {
            (io::Error::new(error, format!("simulated failure: {kind:?} of {names}")), partly)
        });
        failed.map_or(Ok(()), Err)
    }

    /// Whether this write is answered and not done. It counts towards every file it may be of.
    #[cfg(test)]
    pub(super) fn forgets_write(&self, names: &OperationNames<'_>) -> bool {
        let mut forgets = false;
        for (suffix, every, count) in &mut self.armed().forgotten {
            if names.end_with(suffix) {
                *count += 1;
                forgets |= count.is_multiple_of(*every);
            }
        }
        forgets
    }

    /// Nothing is forgotten outside tests.
    #[cfg(not(test))]
    pub(super) fn forgets_write(&self, _: &OperationNames<'_>) -> bool {
        false
    }

    pub(super) fn capacity(&self) -> Option<u64> {
        self.armed().full_at
    }

    /// Whether this sync drops the file's pages. It happens once.
    pub(super) fn drops_pages(&self, names: &OperationNames<'_>) -> Option<Dropped> {
        let mut armed = self.armed();
        let index = armed.dropping.iter().position(|(suffix, _)| names.end_with(suffix))?;
        Some(armed.dropping.remove(index).1)
    }

    pub(super) fn ignores_sync(&self, names: &OperationNames<'_>) -> bool {
        self.armed().ignored.iter().any(|suffix| names.end_with(suffix))
    }

    pub(super) fn ignores_folder_sync(&self, names: &OperationNames<'_>) -> bool {
        self.armed().ignored_folders.iter().any(|suffix| names.end_with(suffix))
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names an operation is about: of a file, all it has.
pub(super) struct OperationNames<'a>(pub(super) Vec<&'a Path>);

impl OperationNames<'_> {
    fn end_with(&self, suffix: &str) -> bool {
        self.0.iter().any(|path| path.to_string_lossy().ends_with(suffix))
    }
}

impl fmt::Display for OperationNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|path| path.to_string_lossy()).collect();
        f.write_str(&names.join(" = "))
    }
}
