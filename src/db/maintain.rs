//! What looks after a database: verification and proofs, backups, compaction, rescue, and what it tells of itself.

use std::path::Path;
use std::sync::Arc;

use super::Db;
use crate::cancel::Cancel;
use crate::entity::Position;
#[allow(unused_imports, reason = "the documentation links to it")]
use crate::error::Error;
use crate::error::Result;
use crate::exec::{self, Compiler};
#[cfg(feature = "signing")]
use crate::signing::LogHead;
#[cfg(feature = "encryption")]
use crate::store::EncryptionKey;
use crate::store::backup::BackupRequest;
use crate::store::proof::{self, Proof, TreeHash};
use crate::store::rescue::{RescueRequest, rescue};
use crate::store::snapshot::Snapshot;
use crate::store::verify::{self, Verification};
use crate::store::{
    Backup, BackupMode, BackupOptions, ChainHash, Compaction, Options, Recovery, Rescue, Store,
};
use crate::telemetry::metrics::Metrics;

impl Options {
    /// Puts every event that can still be read from a damaged database, and from its journals, into a new one: see [`Db::rescue`]. It is told
    /// how far it is, now and then.
    ///
    /// # Errors
    /// Those of [`Db::rescue`]; [`Error::Stopped`] once it is cancelled.
    pub fn rescue(
        self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&Rescue),
    ) -> Result<Rescue> {
        let options = self.with_compiler(Arc::new(Compiler)).live(false);
        let request = RescueRequest { from: from.as_ref(), to: to.as_ref(), cancel, progress };
        let mut rescued = rescue(request, &options)?;
        // The new file is whole: what goes wrong from here on is told with it.
        let verified = Store::open(to.as_ref(), options.read_only(false)).and_then(|store| {
            let found = verify::verify(&store.snapshot().cancelled_by(cancel));
            store.close().and(found)
        });
        match verified {
            Ok(found) => rescued.faults = found.faults,
            Err(error) => rescued.doubts.push(format!("it was not verified: {error}")),
        }
        Ok(rescued)
    }
}

impl Db {
    /// Puts every event that can still be read from a damaged database, and from its journals, into a new one, whose name must be free. Nothing is
    /// written to the damaged one.
    ///
    /// Each event has the position that it had. Where one could not be read a `$event.lost` stands, and later events of its entity have
    /// lower versions. Subscriptions, reactions and webhooks go on where they were if that can be read ([`Rescue::doubts`]).
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let (damaged, whole) = (folder.path().join("shop.bygone"), folder.path().join("whole.bygone"));
    /// use bygone::{Db, NewEvent};
    /// let db = Db::create(&damaged)?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// db.close()?;
    /// // Its header is gone.
    /// let mut bytes = std::fs::read(&damaged)?;
    /// bytes[..4096].fill(0);
    /// std::fs::write(&damaged, bytes)?;
    /// let rescued = Db::rescue(&damaged, &whole)?;
    /// assert_eq!((rescued.events, rescued.missing), (1, 0));
    /// assert!(Db::open(&whole)?.verify()?.faults.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Held`] where somebody has it open; [`Error::Unopenable`] where it is not there, or has no event, or the new name is taken;
    /// [`Error::Io`] where a disk fails. There is no new file then.
    pub fn rescue(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Rescue> {
        Options::new().rescue(from, to, &Cancel::new(), &mut |_| {})
    }

    /// Compares everything that follows from the log with the log, as it is now. Reads all of it.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// assert!(db.verify()?.faults.is_empty());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn verify(&self) -> Result<Verification> {
        verify::verify(&self.store.snapshot())
    }

    /// Proves that the log was the one of a chain hash, noted from `SHOW HEAD` or a [`Backup`]: at a position, or at whichever it had it.
    /// Every event up to there is hashed anew. Gives the position.
    ///
    /// ```
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let noted = db.chain()?;
    /// db.append(NewEvent::new("Order.shipped").on(("Order", 42)))?;
    /// assert_eq!(db.verify_against(noted, None)?, Position(1));
    /// assert!(db.verify_against(noted, Some(Position(2))).unwrap_err().is_conflict());
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is another log; [`Error::Missing`] for a position that is not in the log yet.
    pub fn verify_against(&self, chain: ChainHash, at: Option<Position>) -> Result<Position> {
        verify::verify_against(&self.store.snapshot().cancelled_by(&self.cancel()), chain, at)
    }

    /// The chain hash at the head, to be noted elsewhere.
    pub fn chain(&self) -> Result<ChainHash> {
        verify::chain(&self.store.snapshot()).map(ChainHash)
    }

    /// Proves that an event is in the log up to a position, or in all of it, for whoever has only the [`root`](Self::root) of that. Every event up
    /// to there is hashed.
    ///
    /// # Errors
    /// [`Error::Missing`] for a position that is not in that log.
    pub fn prove(&self, position: Position, as_of: Option<Position>) -> Result<Proof> {
        proof::prove(&self.log_of(as_of)?, position)
    }

    /// The root of the Merkle tree of the events up to a position, or of all: whoever has it can be shown that an event is one of
    /// them ([`prove`](Self::prove)). Every event up to there is hashed.
    ///
    /// # Errors
    /// [`Error::Missing`] for a position that is not in the log yet.
    pub fn root(&self, as_of: Option<Position>) -> Result<TreeHash> {
        proof::root(&self.log_of(as_of)?)
    }

    fn log_of(&self, as_of: Option<Position>) -> Result<Snapshot> {
        exec::log_of(&self.store.snapshot().cancelled_by(&self.cancel()), as_of)
    }

    /// What the hashes of the log are now, to be signed ([`LogHead::note`]) and kept where nobody can change it.
    ///
    /// # Errors
    /// What reading may meet.
    #[cfg(feature = "signing")]
    pub fn log_head(&self) -> Result<LogHead> {
        exec::sign(&self.log_of(None)?)
    }

    /// Makes a backup: a database of its own that holds everything up to now. Others read and write meanwhile.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("backup.bygone");
    /// use bygone::{Db, NewEvent, Position};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let backup = db.backup(&path)?;
    /// assert_eq!(backup.position, Position(1));
    /// assert_eq!(Db::open(&path)?.chain()?, backup.chain);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unopenable`] where the name is taken, or the file cannot be made; [`Error::Corrupt`] where this database is damaged. There is no
    /// new file then, unless it was the folder that could not be synced at last.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(to, BackupMode::New, &mut |_| {})
    }

    /// Makes a backup, as [`backup`](Self::backup) does, in the place of a file, or grows an earlier one by what came since. `progress` is told of
    /// each write. It must not use the database: to forget somebody, or to make another backup, within it is refused.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("backup.bygone");
    /// use bygone::maintain::BackupMode;
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// for amount in [10, 20] {
    ///     db.append(NewEvent::new("Order.paid").on(("Order", 42)).member("amount", amount))?;
    ///     let backup = db.backup_with(&path, BackupMode::Increment, &mut |_| {})?;
    ///     assert_eq!(backup.events, 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`backup`](Self::backup), and [`Error::Conflict`] where an earlier backup is not one of this database, or has events of its own.
    pub fn backup_with(
        &self,
        to: impl AsRef<Path>,
        options: impl Into<BackupOptions>,
        progress: &mut dyn FnMut(&Backup),
    ) -> Result<Backup> {
        let (options, cancel) = (options.into(), self.cancel());
        self.store.back_up(BackupRequest { to: to.as_ref(), options: &options, cancel: &cancel, progress })
    }

    /// Writes the file anew, in the order of keys, and puts it in the place of the first: what was freed is given back to the disk. Reads go on;
    /// what appends waits.
    ///
    /// ```
    /// use bygone::{Db, NewEvent};
    /// let db = Db::in_memory()?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let sizes = db.compact()?;
    /// println!("{} bytes before, {} after", sizes.before, sizes.after);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unopenable`] where the file has several names, [`Error::Corrupt`] where it is damaged. It is then as it was.
    pub fn compact(&self) -> Result<Compaction> {
        self.store.compact(&self.cancel())
    }

    /// Gives an encrypted database another key, at once: what is encrypted with it is the file's own key, which stays. Whoever has the old key and a
    /// copy of the file from before has that, and so reads this file too, until it is written anew: after a leak, [`compact`](Self::compact) it, and open
    /// it again, so that its journals are new as well.
    ///
    /// ```
    /// use bygone::Options;
    /// use bygone::maintain::EncryptionKey;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("shop.bygone");
    /// let [old, new]: [EncryptionKey; 2] = ["8f1d".repeat(16).parse()?, "03a7".repeat(16).parse()?];
    /// let db = Options::new().key(old.clone()).create(&path)?;
    /// db.rekey(&new)?;
    /// db.close()?;
    /// assert!(Options::new().key(old).open(&path).is_err());
    /// Options::new().key(new).open(&path)?.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`] where it is only read; [`Error::Unopenable`] where it is not encrypted, or another file has its name; [`Error::Io`] of the
    /// disk, which says which of both keys opens it for sure: keep both until it is said again, and done.
    #[cfg(feature = "encryption")]
    pub fn rekey(&self, new: &EncryptionKey) -> Result<()> {
        self.store.rekey(new)
    }

    /// What the database tells of itself now: counts since it was opened, times, sizes and lags. It costs a few reads, and nobody waits
    /// for it.
    ///
    /// # Errors
    /// If the file cannot be asked for its size, or the database is closed.
    pub fn metrics(&self) -> Result<Metrics> {
        self.store.shared().metrics()
    }

    /// What opening the database found: what a crash had left.
    pub fn recovery(&self) -> &Recovery {
        self.store.recovery()
    }
}
