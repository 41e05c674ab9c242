//! Backup: a copy of an open database, as of one position, while others read and write.
//!
//! A checkpoint moves the memtables into the tables, and one read of those is then copied, table by table and in the order of keys, into a
//! file under a temporary name. What is copied is held to the checksum of each row and to the chain of hashes; the finished file is read once
//! more, page by page. Only then does it get its name. The places of followers are those of before: what they had done by then is in it. Writers wait for the checkpoint alone; what they write over meanwhile stays in the file
//! until the copy is done.
//!
//! A backup grows ([`BackupMode::Increment`]) by the events that came since, which are applied to it as they are after a crash: each write
//! leaves it a whole database of an earlier position. Only a copy that begins with the same events is grown: the chain tells.
//!
//! It takes no lock of its own. The read of the tables is held while they are copied, and is given up where redb has to be opened again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk_load::BulkLoader;
use super::catalog::Catalog;
use super::chain::ChainHash;
use super::checkpoint::Checkpointer;
use super::copy::{CACHE, CopyProgress, Places, TableCopier};
use super::cursor::CursorOwner;
use super::disk::{self, Disk, Identity};
#[cfg(feature = "encryption")]
use super::encryption::EncryptionKey;
use super::encryption::SharedKey;
use super::index::term::Term;
use super::kernel::Kernel;
use super::name;
use super::options::Options;
use super::recover;
use super::snapshot::{ScanDirection, Snapshot};
use super::tables::Tables;
use super::tables::copy::CopiedRows;
use super::temporary::{Place, TemporaryFile};
use super::verify;
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{EventType, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::FORGOTTEN;

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BackupMode {
    /// It is left as it is, and that is an error.
    #[default]
    New,
    /// It is replaced once the new one is whole.
    Replace,
    /// It is an earlier backup of the same database, and gets the events that came since. Where there is none, one is made.
    Increment,
}

/// How far a backup has come, or what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// It holds every event up to here.
    pub position: Position,
    /// How many events were written: all, or those since the earlier backup.
    pub events: u64,
    /// The chain hash at `position`, as `SHOW HEAD` tells it.
    pub chain: ChainHash,
}

/// How a backup is made, and with what.
///
/// ```
/// use bygone::maintain::{BackupMode, BackupOptions};
/// // For somebody who is to see what happened, and nothing of whom it was about.
/// let options = BackupOptions::from(BackupMode::Replace).without_keys(true);
/// ```
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    mode: BackupMode,
    without_keys: bool,
    key: Option<SharedKey>,
}

impl From<BackupMode> for BackupOptions {
    fn from(mode: BackupMode) -> BackupOptions {
        BackupOptions { mode, ..BackupOptions::default() }
    }
}

impl BackupOptions {
    /// Leaves out the keys of subjects, and what is made of private values: those read as if all subjects were forgotten. It cannot be grown.
    pub fn without_keys(self, without: bool) -> BackupOptions {
        BackupOptions { without_keys: without, ..self }
    }

    /// The key that the backup is encrypted with; without one it is that of the database.
    #[cfg(feature = "encryption")]
    pub fn key(self, key: EncryptionKey) -> BackupOptions {
        BackupOptions { key: Some(key.shared()), ..self }
    }
}

/// A backup that is to be made.
pub(crate) struct BackupRequest<'r> {
    pub to: &'r Path,
    pub options: &'r BackupOptions,
    pub cancel: &'r Cancel,
    /// Is told of each write.
    pub progress: &'r mut dyn FnMut(&Backup),
}

/// Makes a backup.
///
/// # Errors
/// [`Error::Unopenable`] where the name is taken, or the file cannot be made; [`Error::Conflict`] where an earlier backup does not begin with
/// this log; [`Error::Corrupt`] where this database is damaged: then there is no new backup.
pub(crate) fn back_up(
    kernel: &Arc<Kernel>,
    checkpointer: &Checkpointer,
    request: BackupRequest,
) -> Result<Backup> {
    let BackupRequest { to, options, .. } = request;
    if options.without_keys && options.mode == BackupMode::Increment {
        let expected = "a backup without keys that is made anew, with REPLACE";
        return Err(Error::invalid("BACKUP TO … WITHOUT KEYS", expected, "INCREMENT"));
    }
    let disk = kernel.options.disk_of_backups(options.key.as_ref());
    let failed = |e: std::io::Error| Error::unopenable(to, e, "check the path and its permissions");
    let path = disk.canonical(to).map_err(failed)?;
    let there = match disk.exists(&path).map_err(failed)? {
        true => Some(disk.identity(&path).map_err(failed)?),
        false => None,
    };
    // Where the system does not tell files apart, names do.
    let told_apart = there.is_some_and(|there| there != Identity::UNTOLD);
    if path == kernel.path || told_apart && there == Some(kernel.tables.identity()) {
        return Err(Error::unopenable(to, "it is the database itself", "choose another path"));
    }
    let target = Target { disk, path };
    match (options.mode, there) {
        (_, None) => target.write(kernel, checkpointer, request, Place::Free),
        (BackupMode::New, Some(_)) => Err(Error::unopenable(
            to,
            "it exists already",
            "choose another path, grow it (INCREMENT), or replace it (REPLACE)",
        )),
        (BackupMode::Increment, Some(_)) => {
            kernel.options.check_key_of_backup(&target.path, options.key.as_ref())?;
            target.grow(kernel, request)
        }
        (BackupMode::Replace, Some(there)) => {
            // Nobody works with what is replaced.
            let _lock = name::take_lock(&*target.disk, &target.path, false)?;
            target.write(kernel, checkpointer, request, Place::Of(there))
        }
    }
}

/// Where to.
struct Target {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Target {
    fn failed(&self) -> impl Fn(std::io::Error) -> Error {
        |e| Error::unopenable(&self.path, e, "check the path and its permissions")
    }

    /// Copies all tables into a new file.
    fn write(
        &self,
        kernel: &Kernel,
        checkpointer: &Checkpointer,
        request: BackupRequest,
        place: Place,
    ) -> Result<Backup> {
        // Before the log is: what is done up to there is in it.
        let cursors = kernel.cursors.all();
        // What is read alone has nothing to be moved: opening has.
        if !kernel.options.read_only {
            checkpointer.move_all()?;
        }
        let (disk, failed) = (&*self.disk, self.failed());
        let temporary = TemporaryFile::name(&self.path, kernel.id.0);
        name::check_no_journal(&*self.disk, &self.path)?;
        name::remove_interrupted(disk, &temporary, &self.path, place)?;
        let file = match disk.exists(&kernel.path).map_err(&failed)? {
            true => disk.create_like(&temporary, &kernel.path),
            false => disk.create(&temporary),
        };
        let file = file.map_err(&failed)?;
        let made = TemporaryFile::new(disk, &temporary, &*file);
        let _lock = name::take_lock(disk, &temporary, false)?;
        let BackupRequest { cancel, progress, options, .. } = request;
        let backup = |copied: &CopyProgress| {
            let CopyProgress { position, events, chain } = *copied;
            Backup { position, events, chain }
        };
        let mut told = |copied: &CopyProgress| progress(&backup(copied));
        let copier = TableCopier::new(kernel, cancel, &mut told);
        let rows = if options.without_keys { CopiedRows::WithoutKeys } else { CopiedRows::OfBackup };
        let copied = copier.write(self.disk.clone(), &temporary, rows, |_| Ok(cursors))?;
        file.sync().map_err(&failed)?;
        made.publish(&self.path, place).map_err(&failed)?;
        drop(made);
        disk.sync_folder(disk::folder(&self.path)).map_err(&failed)?;
        Ok(backup(&copied))
    }

    /// Appends what came since to an earlier backup.
    fn grow(&self, kernel: &Arc<Kernel>, request: BackupRequest) -> Result<Backup> {
        // Whoever made it may have been told that its name is not durable. What is added is to be found by that.
        self.disk.sync_folder(disk::folder(&self.path)).map_err(self.failed())?;
        let (_lock, tables) = name::open_locked(&self.disk, &self.path, false, CACHE)?;
        let grown = self.grow_tables(kernel, &tables, request);
        let closed = tables.close();
        grown.and_then(|backup| closed.map(|()| backup))
    }

    fn grow_tables(&self, kernel: &Arc<Kernel>, tables: &Tables, request: BackupRequest) -> Result<Backup> {
        let options = kernel.options.clone().read_only(false).accept_lost_journal(false);
        let other = |expected: String, found: String| {
            Error::conflict(format!("the backup {}", self.path.display()), expected, found)
        };
        if tables.read()?.is_without_keys()? {
            let expected =
                "a backup that has the keys of private values; one that has not is made anew, with REPLACE";
            return Err(other(expected.to_owned(), "one without them".to_owned()));
        }
        let id = tables.read()?.meta(&self.path)?.id;
        if id != kernel.id {
            return Err(other(
                format!("one of this database, {}", kernel.id.urn()),
                format!("one of {}", id.urn()),
            ));
        }
        // It is a database, and somebody may have worked with it.
        let recover::Recovered { meta, catalog, .. } =
            recover::recover(&self.disk, &self.path, tables, &options)?;
        // Before the log is: what is done up to there is in it.
        let cursors = kernel.cursors.all();
        kernel.sync_log()?;
        let snapshot = kernel.snapshot().until(kernel.log_progress.synced());
        let snapshot = snapshot.cancelled_by(request.cancel);
        let begins_alike = meta.checkpoint <= snapshot.head()
            && verify::chain(&snapshot.until(meta.checkpoint))? == meta.chain;
        if !begins_alike {
            let found = format!("events of its own up to {}; make a new one", meta.checkpoint);
            return Err(other("the first events of this log".to_owned(), found));
        }
        let new = PositionRange::between(meta.checkpoint, snapshot.head());
        let forgotten = Term::kind(&EventType::new(FORGOTTEN)?)?;
        if let Some(said) = snapshot.list(forgotten, new, ScanDirection::Ascending).next().transpose()? {
            let expected = "a backup made since a subject was forgotten: this one still has its values, and is made anew with REPLACE";
            return Err(other(expected.to_owned(), format!("one from before {said}")));
        }
        let (now, then) = (kernel.tables.read()?.rewritten_through()?, tables.read()?.rewritten_through()?);
        if now > then {
            let expected = format!(
                "a backup made since events were rewritten, for what is private since {now}: this one still has the values in plain, and is \
                 made anew with REPLACE"
            );
            return Err(other(expected, "one from before".to_owned()));
        }
        // Keys are durable before the events that need them.
        kernel.tables.read()?.copy_keys(tables, |_| true)?;
        let before = Backup { position: meta.checkpoint, events: 0, chain: ChainHash(meta.chain) };
        let limits = Limits::new(options.largest_value, request.cancel);
        let growth = Growth {
            tables,
            options: &options,
            snapshot: &snapshot,
            catalog: Arc::new(catalog),
            before,
            limits,
        };
        let backup = match growth.append(true, request.progress) {
            // What is kept may be damaged, or slow. The backup makes it anew as it is opened.
            Err(Error::Corrupt { .. } | Error::Stopped { .. } | Error::Upcast { .. }) => {
                request.cancel.check()?;
                growth.append(false, request.progress)?
            }
            appended => appended?,
        };
        put_cursors(tables, cursors)?;
        let chain = tables.read()?.chain()?;
        if chain != verify::chain(&snapshot)? {
            return Err(Error::corrupt("the log", "events that are not those of its chain"));
        }
        Ok(Backup { chain: ChainHash(chain), ..backup })
    }
}

/// What is appended to a backup.
struct Growth<'g> {
    tables: &'g Tables,
    options: &'g Options,
    /// The log that it is to have.
    snapshot: &'g Snapshot,
    /// What is defined in the backup.
    catalog: Arc<Catalog>,
    /// How far the backup is.
    before: Backup,
    limits: Limits,
}

impl Growth<'_> {
    /// Appends what is new, in one write: nobody knows where groups of events end, and none of them is to be there in part. With what is kept of
    /// states and views, or without.
    fn append(&self, with_followers: bool, progress: &mut dyn FnMut(&Backup)) -> Result<Backup> {
        let Growth { tables, options, snapshot, catalog, before, limits } = self;
        let (mut told, mut chain) = (before.clone(), before.chain.0);
        let mut loader = BulkLoader::new(options, tables, catalog.clone(), before.position, limits.clone());
        let new = PositionRange::between(before.position, snapshot.head());
        tables.write("growing a backup", |tables| {
            let mut rows = snapshot.stored().log(new, ScanDirection::Ascending);
            loop {
                let row = rows.next().transpose()?;
                let ends = row.is_none();
                row.map_or(Ok(()), |(_, bytes)| loader.append(bytes))?;
                if !ends && !loader.is_full() {
                    continue;
                }
                loader.write_into(tables, &mut chain, with_followers)?;
                if loader.events() > told.events {
                    told = Backup { position: loader.last(), events: loader.events(), ..told };
                    progress(&told);
                    snapshot.cancel().tell(told.events, snapshot.head().since(before.position));
                }
                if ends {
                    return Ok(());
                }
            }
        })?;
        Ok(told)
    }
}

/// Puts the places of followers where they were as the log was read.
fn put_cursors(tables: &Tables, now: Places) -> Result<()> {
    let before = tables.read()?.cursors()?;
    let gone = |owner: &CursorOwner| !now.iter().any(|(follower, _)| follower == owner);
    let gone: Vec<_> = before.into_iter().map(|(owner, _)| owner).filter(gone).collect();
    tables.write("writing cursors", |tables| {
        gone.iter().try_for_each(|owner| tables.remove_cursor(owner))?;
        now.into_iter().try_for_each(|(owner, cursor)| tables.put_cursor(&owner, &cursor?))
    })
}
