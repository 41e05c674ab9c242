//! The store: the log, made durable, and found again.
//!
//! The life of an append: an [`append_request`] is checked and looked up on the caller's thread, meets others in the [`queue`], is
//! taken by a leader who admits ([`admission`]) and [`commit`]s the batch in one frame of the [`journal`], and is then readable in the [`memtable`].
//! In the background a [`checkpoint`] moves frozen memtables into the [`tables`] and takes the states of entities along
//! ([`materialize`]); new indexes of the [`catalog`] are [backfilled](materialize). A [`snapshot`] reads both. After a crash, opening
//! [`recover`]s what the journal holds; [`verify`] compares everything that follows from the log with the log.
//!
//! Beside `shop.bygone`, while it is written or after a crash, stand the two segments of its journal; after a clean close
//! the database is one file.

pub(crate) mod admission;
#[cfg(feature = "encryption")]
mod aes_gcm;
pub(crate) mod append_request;
pub(crate) mod apply;
pub(crate) mod background;
pub(crate) mod backup;
mod bulk_load;
pub(crate) mod catalog;
mod chain;
pub(crate) mod checkpoint;
mod cipher;
mod closings;
pub(crate) mod commit;
mod committer;
mod compact;
pub(crate) mod condition;
mod copy;
#[cfg(test)]
mod crash;
pub(crate) mod cursor;
mod cursor_moves;
pub(crate) mod cursor_writer;
pub mod disk;
mod durability;
pub(crate) mod encryption;
pub(crate) mod event_schema;
mod failures;
pub(crate) mod fault_injection;
pub(crate) mod forget;
mod forgetting;
mod forgetting_lock;
pub(crate) mod index;
pub(crate) mod journal;
pub(crate) mod kernel;
pub(crate) mod keyring;
pub(crate) mod log;
pub(crate) mod log_progress;
mod materialize;
pub(crate) mod memtable;
mod metrics;
mod mutex;
mod name;
pub(crate) mod options;
mod outdated;
mod pace;
pub(crate) mod place;
mod private_values;
mod progress;
pub(crate) mod proof;
pub(crate) mod queue;
pub(crate) mod read_form;
mod read_txn;
pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod rescue;
pub(crate) mod rewriting;
#[cfg(feature = "share")]
mod shared_access;
pub(crate) mod snapshot;
pub(crate) mod state;
mod state_caches;
pub(crate) mod tables;
pub(crate) mod temporary;
mod threads;
mod touched;
pub(crate) mod verb;
pub(crate) mod verify;
pub(crate) mod view;

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

pub use chain::ChainHash;
pub use durability::Durability;
#[cfg(feature = "encryption")]
pub use encryption::EncryptionKey;
#[cfg(test)]
pub(crate) use fault_injection::FaultInjection;
pub use options::Options;
#[cfg(feature = "share")]
pub(crate) use place::RemoteCursor;
pub use place::SubscriptionCursor;
pub use proof::{Proof, TreeHash};
pub use recover::Recovery;
pub use report::Report;
pub use rescue::Rescue;
#[cfg(feature = "share")]
pub use shared_access::SharedAccess;
pub use verify::Verification;

use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{NameText, Position};
use crate::error::{Error, Result};
use admission::Trial;
use append_request::{AppendOutcome, AppendRequest, Prepared};
use apply::Applied;
use background::Background;
use backup::BackupRequest;
pub use backup::{Backup, BackupMode, BackupOptions};
use catalog::Index;
use checkpoint::Checkpointer;
use commit::Commits;
use committer::Committer;
use compact::Compacted;
pub use compact::Compaction;
use cursor::Cursors;
use cursor_writer::CursorWriter;
use disk::Lock;
use failures::Failures;
use forgetting_lock::ForgettingLock;
use kernel::Kernel;
use keyring::Keyring;
use log::LogPlace;
use log::local::LocalLog;
use log_progress::LogProgress;
use materialize::{BackfillStep, Materializer};
pub(crate) use mutex::locked;
use name::FileName;
use queue::{Pending, Queue};
use recover::Recovered;
use rewriting::Rewritten;
use snapshot::Snapshot;
use state_caches::StateCaches;
use temporary::TemporaryFile;
use verb::{AddedVerbs, VerbHandler};

/// An open database. Dropping it closes it; [`Store::close`] does so and tells what went wrong.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    open: Mutex<Option<Open>>,
    recovery: Recovery,
}

/// What is held while a database is open.
#[derive(Debug)]
struct Open {
    threads: Vec<JoinHandle<()>>,
    /// That of the file, and those of files that took its place.
    locks: Vec<Box<dyn Lock>>,
}

/// What the threads of an open database share: the kernel, for whoever reads, and the rooms that write. Of the locks of two rooms that of
/// the committer is taken first, then those of the materializer, then those of the tables and of the log.
#[derive(Debug)]
pub(crate) struct Shared {
    kernel: Arc<Kernel>,
    pub commits: Arc<Commits>,
    pub cursor_writer: Arc<CursorWriter>,
    pub materializer: Arc<Materializer>,
    checkpointer: Checkpointer,
}

/// Who has all of it has what readers have, too.
impl Deref for Shared {
    type Target = Arc<Kernel>;

    fn deref(&self) -> &Arc<Kernel> {
        &self.kernel
    }
}

impl Store {
    /// Opens an existing database, recovering what a crash left in its journal.
    pub fn open(path: &Path, options: Options) -> Result<Store> {
        options.check()?;
        let options = options.of_one();
        let disk = options.disk_to_use();
        let path = disk.canonical(path).map_err(|e| Error::unopenable(path, e, "check the path"))?;
        options.check_key(&path)?;
        let (lock, tables) = name::open_locked(&disk, &path, options.read_only, options.cache)?;
        let Recovered { meta, catalog, recovery, lost } = recover::recover(&disk, &path, &tables, &options)?;
        options.settle_key(&path)?;
        if !options.read_only {
            // What a copy left behind that was interrupted: nobody else has the lock to make one.
            let left = TemporaryFile::name(&path, meta.id.0);
            if matches!(disk.exists(&left), Ok(true)) {
                disk.remove(&left).map_err(|e| Error::unopenable(&left, e, "remove it"))?;
            }
        }
        let cursors = Cursors::new(tables.read()?.cursors()?, meta.checkpoint, &catalog);
        let applied = Applied::new(meta.checkpoint, catalog);
        let tables = Arc::new(tables);
        let name = FileName::new(disk.clone(), path.clone(), tables.clone(), options.read_only);
        let name = Arc::new(name);
        let chain = tables.read()?.chain()?;
        let place = LogPlace { position: meta.checkpoint, chain };
        let log = match options.shared_log(&path, &tables, meta.id, place)? {
            Some(log) => log,
            None => Arc::new(LocalLog::new(
                disk.clone(),
                name.clone(),
                tables.clone(),
                meta.id,
                options.local_log(),
            )?),
        };
        let keyring = Keyring::of(&tables.read()?)?;
        let kernel = Arc::new(Kernel {
            queue: Queue::new(options.queue_bytes),
            name,
            id: log.id(),
            log,
            background: Background::default(),
            failures: Failures::default(),
            verbs: AddedVerbs::default(),
            state_caches: StateCaches::default(),
            counts: Arc::default(),
            log_progress: LogProgress::default(),
            cursors,
            ending: Cancel::new(),
            own_limits: Limits::new(options.largest_value, &Cancel::new()),
            keyring,
            forgetting: ForgettingLock::default(),
            applied,
            options,
            disk,
            path,
            tables,
        });
        let shared = Arc::new(Shared::new(kernel, Committer::new(meta.recorded, chain)));
        shared.log_progress.set_synced(meta.checkpoint);
        if lost {
            shared.cursor_writer.set_back()?;
        }
        let threads = threads::start(&shared)?;
        let mut store =
            Store { shared, open: Mutex::new(Some(Open { threads, locks: vec![lock] })), recovery };
        // Where it cannot, it is closed again.
        store.shared.commits.catch_up()?;
        // What was under way as it was closed, or crashed.
        if !store.shared.options.read_only && store.is_left_to_forget()? {
            // Where it cannot be done now, as on a full disk, it can be opened all the same: the key is gone.
            if let Err(error) = store.forget_rest(&Cancel::new()) {
                let notice = format!(
                    "a subject was forgotten, and copies of its values may still be in the file, or of what is private since ({error}); they \
                     are looked for again with the next FORGET, and as it is opened"
                );
                store.recovery.notices.push(notice);
            }
        }
        Ok(store)
    }

    /// Creates a database under a name that must be free, and opens it.
    pub fn create(path: &Path, options: Options) -> Result<Store> {
        options.check()?;
        if options.read_only {
            return Err(Error::unopenable(
                path,
                "a new database cannot be read only",
                "open it for writing first",
            ));
        }
        recover::create(&*options.disk_to_use(), path, &options)?;
        Store::open(path, options)
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Appends a group and waits until it is durable.
    pub fn append(&self, group: AppendRequest) -> Result<AppendOutcome> {
        self.shared.commits.append(group)
    }

    /// Queues a group. Somebody commits it, whether the ticket is waited on or not.
    pub fn submit(&self, group: AppendRequest) -> Result<Submitted> {
        let pending = Pending::new(Prepared::new(&self.shared, group)?);
        if self.shared.queue.push(&pending)? {
            self.shared.background.ask(|asked| asked.lead = true);
        }
        Ok(Submitted { shared: self.shared.clone(), pending })
    }

    /// A group that is prepared now: what commits it.
    #[cfg(test)]
    pub fn prepared(&self, group: AppendRequest) -> impl FnOnce() -> Result<AppendOutcome> + use<> {
        let (shared, prepared) = (self.shared.clone(), Prepared::new(&self.shared, group).unwrap());
        move || shared.commits.commit(prepared)
    }

    /// Adds a verb that is not in the log.
    pub fn add_verb(&self, name: &str, rule: Arc<dyn VerbHandler>) -> Result<()> {
        verb::check_not_deciding(|| self.shared.node())?;
        // Nobody defines one of that name meanwhile.
        let _committer = locked(&self.shared.commits.committer);
        let defined = self.shared.applied.catalog().verb(name).map(|verb| verb.position);
        let found = match defined {
            Some(position) => format!("one that is defined at {position}"),
            None if self.shared.verbs.add(name, rule) => return Ok(()),
            None => "one that was added before".to_owned(),
        };
        Err(Error::conflict(format!("the verb {}", NameText(name)), "a name that no verb has", found))
    }

    /// The log as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// What would become of a group, were it committed now: by the log as it is now.
    pub fn try_out(&self, group: AppendRequest) -> Trial {
        self.shared.commits.try_out(group)
    }

    /// Waits until every index that is defined now is complete, and the states of every entity that is defined now are kept; for so
    /// long at most. Says whether they are.
    pub fn wait_for_indexes(&self, timeout: Duration) -> Result<bool> {
        let catalog = self.shared.applied.catalog();
        // One that is complete is, or has one that replaced it, which is another of them.
        // One that misses events is completed by nobody.
        let missing = catalog.each().filter(|index| !index.is_complete() && !index.is_invalid());
        let wanted: Vec<_> = missing.filter_map(|index| catalog.newest(index)).collect();
        let replaced = |index: &Index| {
            let now = self.shared.applied.catalog();
            now.newest(index).is_none_or(|newest| newest.position != index.position)
        };
        // One that was dropped or replaced meanwhile is not waited for.
        let done = || {
            self.shared.failures.check(|definition| catalog.has(definition))?;
            Ok(wanted.iter().all(|index| index.is_complete() || replaced(index))
                && self.shared.materializer.keeps_states_of(&catalog)?
                && self.shared.materializer.keeps_views_of(&catalog)?)
        };
        if self.shared.options.read_only && !done()? {
            return Err(Error::stopped(
                "an index is not complete, or states are not kept yet, and the database was opened for reading only",
            ));
        }
        self.shared.background.wait_for_indexes(timeout, done)
    }

    /// Does a slice of what the background would do; whether there was something to do.
    #[cfg(test)]
    pub fn work_by_hand(&self) -> Result<bool> {
        Ok(self.shared.keep_defined()? == BackfillStep::Worked)
    }

    /// Moves everything into the tables now.
    pub fn checkpoint(&self) -> Result<()> {
        self.check_open()?;
        self.shared.checkpointer.move_all()
    }

    /// Takes in all that the log holds now: whatever anybody was told of before is read from then on. Where the log is this process's alone, all of
    /// it is there. Gives the head.
    pub fn take_in_all(&self, cancel: &Cancel) -> Result<Position> {
        self.check_open()?;
        self.shared.commits.take_in_all(cancel)?;
        Ok(self.shared.applied.head())
    }

    /// Makes a backup.
    pub fn back_up(&self, request: BackupRequest) -> Result<Backup> {
        self.check_open()?;
        let _alone = self.forgetting_until(request.cancel)?;
        if self.is_left_to_forget()? {
            return Err(Error::stopped(
                "a subject was forgotten, or what was in plain is private since, and the values are still in the file, which a backup would \
                 have too; say FORGET or DEFINE PRIVATE once more, or close the file and open it again",
            ));
        }
        backup::back_up(&self.shared, &self.shared.checkpointer, request)
    }

    /// Writes the file anew, in the order of keys.
    pub fn compact(&self, cancel: &Cancel) -> Result<Compaction> {
        Ok(self.compact_with(cancel)?.0)
    }

    /// The same, and what was rewritten with it.
    fn compact_with(&self, cancel: &Cancel) -> Result<(Compaction, Rewritten)> {
        self.check_open()?;
        let (compaction, rewritten) = self.compact_once(cancel)?;
        let Some((rewritten, through)) = rewritten else { return Ok((compaction, Rewritten::default())) };
        self.shared.tables.write("rewriting events", |tables| tables.set_rewritten(through))?;
        if rewritten.events == 0 {
            return Ok((compaction, rewritten));
        }
        // Lists that grew here and there leave as much free as they take: they are put in their order as well. Where that fails, all is done but this.
        let after = self.compact_once(cancel).map_or(compaction.after, |(again, _)| again.after);
        Ok((Compaction { after, ..compaction }, rewritten))
    }

    fn compact_once(&self, cancel: &Cancel) -> Result<(Compaction, Option<(Rewritten, Position)>)> {
        let Shared { kernel, commits, checkpointer, .. } = &*self.shared;
        let Compacted { compaction, rewritten, lock } =
            compact::compact(kernel, commits, checkpointer, cancel)?;
        if let Some(open) = locked(&self.open).as_mut() {
            open.locks.push(lock);
        }
        Ok((compaction, rewritten))
    }

    /// Gives the database another key: its file and its journals.
    ///
    /// # Errors
    /// [`Error::Stopped`] where it is only read; [`Error::Unopenable`] where it is not encrypted, or another file has its name; [`Error::Io`] of the
    /// disk, which says which of both keys opens it for sure.
    #[cfg(feature = "encryption")]
    pub fn rekey(&self, new: &EncryptionKey) -> Result<()> {
        self.check_open()?;
        let Shared { kernel, commits, .. } = &*self.shared;
        if kernel.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        let (disk, Some(key)) = (kernel.options.disk_under(), &kernel.options.file_key()) else {
            let advice = "BACKUP TO 'file' KEY 'env:NAME' makes an encrypted copy of it";
            return Err(Error::unopenable(&kernel.path, "it is not encrypted", advice));
        };
        // Nobody makes a backup meanwhile, makes or removes a journal, or puts another file in the place of this one.
        let _alone = self.forgetting_until(&Cancel::new())?;
        let _committer = locked(&commits.committer);
        kernel.name.check()?;
        let journals = journal::Side::BOTH.map(|side| side.path(&kernel.path));
        let file = (kernel.path.as_path(), kernel.tables.identity());
        encryption::disk::rekey(&*disk, file, &journals, key, new)
    }

    /// Refuses where the database is closed, or a verb decides that would wait for itself.
    fn check_open(&self) -> Result<()> {
        verb::check_not_deciding(|| self.shared.node())?;
        if locked(&self.open).is_none() {
            return Err(Error::stopped("the database is closed"));
        }
        Ok(())
    }

    /// Refuses to close from within what decides.
    pub fn check_closable(&self) -> Result<()> {
        verb::check_not_deciding(|| self.shared.node())
    }

    /// Closes: what is queued is committed, all of the log moves into the one file, and the journal goes. A second call does nothing.
    pub fn close(&self) -> Result<()> {
        self.check_closable()?;
        // Held until it is done: whoever closes meanwhile finds it closed.
        let mut guard = locked(&self.open);
        let Some(open) = guard.take() else { return Ok(()) };
        let shared = &self.shared;
        shared.queue.shut(Error::stopped("the database is closed"));
        // What takes long ends.
        shared.ending.cancel();
        while !shared.queue.is_idle() {
            shared.commits.drain();
            std::thread::sleep(Duration::from_micros(200));
        }
        shared.background.stop();
        shared.cursors.stop();
        for thread in open.threads {
            // A thread of the background that panicked has nothing left to say; what it left undone is done below.
            let _ = thread.join();
        }
        // What was done is in the tables before the places that say so.
        let closed = shared.log.close(&|after| shared.checkpointer.settle(after)).and_then(|()| {
            let written = shared.cursor_writer.write();
            written.or_else(|first| {
                shared.tables.reopen().and_then(|()| shared.cursor_writer.write()).map_err(|_| first)
            })
        });
        shared.log_progress.close();
        let tables = shared.tables.close();
        // The lock is given back last: `open` lives until here.
        closed.and(tables)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants the error calls `close`. What was acknowledged is in the journal.
        let _ = self.close();
    }
}

/// A group that was queued.
#[derive(Debug)]
pub(crate) struct Submitted {
    shared: Arc<Shared>,
    pending: Arc<Pending>,
}

impl Submitted {
    /// Waits for the outcome.
    pub fn wait(&self) -> Result<AppendOutcome> {
        self.shared.commits.wait(&self.pending)
    }

    /// The outcome, if it has come; else this waker is called when it does.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<AppendOutcome>> {
        self.pending.poll(waker).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Shared {
    fn new(kernel: Arc<Kernel>, committer: Committer) -> Shared {
        let materializer = Arc::new(Materializer::new(kernel.clone()));
        let cursor_writer = Arc::new(CursorWriter::new(kernel.clone()));
        let commits = Arc::new(Commits::new(kernel.clone(), materializer.clone(), committer));
        let checkpointer = Checkpointer::new(cursor_writer.clone(), materializer.clone(), commits.clone());
        Shared { kernel, commits, cursor_writer, materializer, checkpointer }
    }

    /// Does a slice of what is to be done for what is defined.
    pub(super) fn keep_defined(&self) -> Result<BackfillStep> {
        self.materializer.through_errors(|| self.commits.prune())?;
        let is_slow = |definition| self.materializer.paces.is_slow(definition);
        let more = self.kernel.snapshot().grow_overlays(is_slow);
        let step = self.materializer.keep_defined()?;
        Ok(if more { BackfillStep::Worked } else { step })
    }

    /// Does all that is to be done for it.
    #[cfg(test)]
    pub(crate) fn settle(&self) -> Result<()> {
        while self.keep_defined()? == BackfillStep::Worked {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::disk::Disk;
    use super::disk::memory::MemoryDisk;
    use super::journal::Side;
    use super::*;
    use crate::entity::Entity;
    use crate::entity::{Position, PositionRange};
    use crate::event::{Expect, NewEvent};
    use crate::time::{Clock, Timestamp};
    use index::term::Term;
    use snapshot::ScanDirection;

    fn tiny(disk: &MemoryDisk) -> Options {
        Options::new().disk(Arc::new(disk.clone())).memtable(10, 1 << 20).journal_steps(4096, 8192)
    }

    fn one(event: NewEvent) -> AppendRequest {
        AppendRequest { events: vec![event], ..AppendRequest::default() }
    }

    fn order(id: u64) -> NewEvent {
        NewEvent::new("Order.paid").on(("Order", id)).by(("User", id % 3)).member("amount", 5)
    }

    #[test]
    fn what_is_appended_is_read_before_and_after_checkpoints_and_reopening() {
        let disk = MemoryDisk::new();
        let path = Path::new("/shop.bygone");
        let store = Store::create(path, tiny(&disk)).unwrap();
        for round in 0..3 {
            for n in 0..25u64 {
                let outcome = store.append(one(order(n % 4))).unwrap();
                assert_eq!(outcome.events[0].0, Position(round * 25 + n + 1));
            }
            let snapshot = store.snapshot();
            assert_eq!(snapshot.head(), Position((round + 1) * 25));
            let entity = Entity::from(("Order", 1));
            let positions = |direction| -> Vec<Position> {
                snapshot
                    .list(Term::entity(&entity).unwrap(), PositionRange::ALL, direction)
                    .map(Result::unwrap)
                    .collect()
            };
            let mut list = positions(ScanDirection::Ascending);
            let all = snapshot.log(PositionRange::ALL, ScanDirection::Ascending).map(|row| row.unwrap().0);
            let expected: Vec<Position> = all
                .filter(|&p| snapshot.event(p).unwrap().unwrap().target.as_ref() == Some(&entity))
                .collect();
            assert_eq!(list, expected);
            list.reverse();
            assert_eq!(list, positions(ScanDirection::Descending));
            assert_eq!(snapshot.version(&entity).unwrap().0, list.len() as u64);
            assert_eq!(snapshot.types("").unwrap()[0].0, "Order.paid");
        }
        store.close().unwrap();
        assert!(!disk.exists(&Side::A.path(path)).unwrap());
        let store = Store::open(path, tiny(&disk)).unwrap();
        assert_eq!(store.snapshot().head(), Position(75));
        assert!(Store::open(path, tiny(&disk)).unwrap_err().to_string().contains("held"));
    }

    #[test]
    fn versions_count_up_while_checkpoints_come_between() {
        let disk = MemoryDisk::new();
        let store = Store::create(Path::new("/shop.bygone"), tiny(&disk)).unwrap();
        let mut versions = [0; 40];
        for n in 0..400usize {
            // Some entities are in every memtable, some in few, and a group meets its own events.
            let entities = [n % 3, 3 + n * 7 % 37, n % 3];
            let events = entities.map(|entity| order(entity as u64)).to_vec();
            let outcome = store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
            for ((position, bytes), entity) in outcome.events.into_iter().zip(entities) {
                versions[entity] += 1;
                let event = crate::event::codec::decode(position, bytes).unwrap();
                assert_eq!(event.version.unwrap().0, versions[entity], "Order {entity} at {position}");
            }
        }
    }

    #[test]
    fn a_guard_that_fails_writes_nothing_and_a_key_gives_the_first_outcome() {
        let store = Store::create(Path::new("/shop.bygone"), tiny(&MemoryDisk::new())).unwrap();
        let first = store.append(one(order(1).expect(Expect::New).key("k"))).unwrap();
        let again = store.append(one(order(1).expect(Expect::New).key("k"))).unwrap();
        assert!(again.repeated && again.events[0].0 == first.events[0].0);
        let other = store.append(one(order(1).member("amount", 6).key("k"))).unwrap_err();
        assert!(other.is_conflict() && other.to_string().contains("#1"), "{other}");
        let refused = store.append(one(order(1).expect(Expect::New))).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "conflict: Order 1: expected no event yet, found version 1, last Order.paid at #1"
        );
        assert_eq!(store.snapshot().head(), Position(1));
    }

    #[test]
    fn a_key_stands_once_in_a_group() {
        let store = Store::create(Path::new("/shop.bygone"), tiny(&MemoryDisk::new())).unwrap();
        let events = vec![order(1).key("k"), order(2).key("k")];
        let error = store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap_err();
        assert!(error.to_string().contains("'k' twice"), "{error}");
        assert_eq!(store.snapshot().head(), Position(0));
    }

    #[test]
    fn every_text_counts_in_the_size_of_an_event() {
        let options = tiny(&MemoryDisk::new()).limits(1000, 2000);
        let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
        let long = "x".repeat(1000);
        for event in [
            order(1).namespace(&long),
            order(1).metadata(&[("long", &long)].into_iter().collect::<std::collections::BTreeMap<_, _>>()),
            order(1).member("long", &long),
        ] {
            let error = store.append(one(event)).unwrap_err();
            assert!(error.to_string().contains("at most 1000 bytes"), "{error}");
        }
    }

    #[test]
    fn ids_are_found_between_those_that_callers_gave() {
        let disk = MemoryDisk::new();
        let clock = Clock::new(|| Timestamp::from_millis(1_700_000_000_000));
        let store = Store::create(Path::new("/shop.bygone"), tiny(&disk).clock(clock)).unwrap();
        let mut ids = Vec::new();
        for n in 0..60u64 {
            // All in one millisecond; some given by the caller, with that millisecond or without.
            let event = match n % 4 {
                0 => order(1).id(&format!("018bcfe5-6800-7000-8000-{n:012x}")),
                1 => order(1).id(&format!("given-{n}")),
                _ => order(1),
            };
            let outcome = store.append(one(event)).unwrap();
            let event = crate::event::codec::decode(Position(n + 1), outcome.events[0].1.clone()).unwrap();
            assert_eq!(event.own_id, n % 4 > 1);
            ids.push(event.id);
        }
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(store.snapshot().position_of(id).unwrap(), Some(Position(n as u64 + 1)), "{id}");
            assert_eq!(store.snapshot().head(), Position(ids.len() as u64));
            let again = store.append(one(order(1).id(&id.to_string()))).unwrap();
            assert!(again.repeated, "{id} again");
            let another = store.append(one(order(1).id(&id.to_string()).member("note", "another")));
            assert!(another.unwrap_err().is_conflict(), "{id} of another");
        }
    }

    #[test]
    fn whoever_closes_last_finds_it_closed() {
        let disk = MemoryDisk::new();
        let path = Path::new("/shop.bygone");
        let store = Arc::new(Store::create(path, tiny(&disk)).unwrap());
        store.append(one(order(1))).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (store, disk) = (store.clone(), disk.clone());
                scope.spawn(move || {
                    store.close().unwrap();
                    assert!(!disk.exists(&Side::A.path(path)).unwrap(), "its journal is still there");
                });
            }
        });
        assert!(Store::open(path, tiny(&disk)).is_ok());
    }
}
