//! How a database is opened.

mod limits;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::catalog::Compile;
use super::condition::CompileConditions;
use super::disk::Disk;
use super::disk::memory::MemoryDisk;
use super::disk::overlay::Overlay;
use super::disk::real::RealDisk;
use super::durability::Durability;
#[cfg(feature = "encryption")]
use super::encryption::EncryptionKey;
use super::encryption::{self, SharedKey};
use super::journal::{DatabaseId, Sizes};
use super::log::local::LocalLogOptions;
#[cfg(feature = "nats")]
use super::log::nats::{LogAddress, NatsLog};
#[cfg(test)]
use super::log::shared::SharedLog;
use super::log::{Log, LogPlace};
#[cfg(feature = "encryption")]
use super::mutex::locked;
use super::report::{Listener, Report};
#[cfg(feature = "share")]
use super::shared_access::SharedAccess;
use super::tables::Tables;
use crate::allowance::LARGEST;
use crate::error::{Error, Result};
use crate::event::EventId;
use crate::time::Clock;
pub(crate) use limits::MAX_STATEMENT;

/// In which steps the journal is filled ahead: bytes.
#[derive(Debug, Clone, Copy)]
struct FillSteps {
    first: u64,
    largest: u64,
}

/// How a database is opened. The defaults are right for most.
///
/// ```
/// use bygone::maintain::Clock;
/// use bygone::{Options, Timestamp};
/// let db = Options::new()
///     .cache(16 << 20)
///     .clock(Clock::new(|| Timestamp::from_millis(0)))
///     .in_memory()?;
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone)]
pub struct Options {
    disk: Option<Arc<dyn Disk>>,
    /// What the files on it are encrypted with.
    key: Option<SharedKey>,
    /// The disk is gone with the database: backups go to that of the system.
    in_memory: bool,
    pub(crate) read_only: bool,
    pub(crate) accept_lost_journal: bool,
    pub(crate) without_followers: bool,
    pub(crate) cache: usize,
    pub(crate) threads: usize,
    pub(crate) memtable_events: usize,
    pub(crate) memtable_bytes: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) query_memory: usize,
    pub(crate) max_statement: usize,
    pub(crate) max_brought_about: u64,
    pub(crate) largest_value: usize,
    pub(crate) frame_bytes: usize,
    pub(crate) max_event: usize,
    pub(crate) max_group: usize,
    pub(crate) max_definitions: usize,
    pub(crate) max_subscriptions: usize,
    fill_steps: FillSteps,
    pub(crate) durability: Durability,
    pub(crate) clock: Clock,
    pub(crate) ids: Option<IdFn>,
    pub(crate) live: bool,
    /// Others may ask it, as soon as it is open.
    #[cfg(feature = "share")]
    pub(crate) share: Option<SharedAccess>,
    pub(crate) retries: Retries,
    #[cfg(feature = "webhooks")]
    pub(crate) delivery: Delivering,
    pub(crate) listener: Option<Listener>,
    compiler: Option<Arc<dyn CompileConditions>>,
    /// Where the log is, if it is not the journal beside the file.
    #[cfg(feature = "nats")]
    log_address: Option<String>,
    /// The log itself, simulated.
    #[cfg(test)]
    pub(crate) log: Option<Arc<dyn Log>>,
    /// How many events are read for an index in a slice, and how many chunks of one are dropped, at most.
    pub(crate) index_slice: (usize, usize),
    /// Indexes are built and dropped only as a test says.
    #[cfg(test)]
    pub(crate) by_hand: bool,
    /// Tests that run on a shared log have a journal here all the same: what is private is not appended to one.
    #[cfg(test)]
    pub(crate) own_journal: bool,
    #[cfg(test)]
    pub(crate) injection: Option<super::fault_injection::FaultInjection>,
}

/// How often something that fails is tried, and how soon again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    pub attempts: u32,
    pub first_pause: Duration,
}

/// A disk whose files have this key, if there is one.
fn encrypting(disk: Arc<dyn Disk>, key: Option<&SharedKey>) -> Arc<dyn Disk> {
    #[cfg(feature = "encryption")]
    if let Some(key) = key {
        return Arc::new(encryption::disk::EncryptedDisk::new(disk, key.clone()));
    }
    // Without the feature nobody can give one.
    debug_assert!(cfg!(feature = "encryption") || key.is_none());
    disk
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { attempts: 5, first_pause: Duration::from_millis(100) }
    }
}

impl Retries {
    /// How long to wait after an attempt that failed, the first of which is 1.
    pub fn pause(self, attempt: u32) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        let factor = 4u32.saturating_pow(attempt.saturating_sub(1));
        self.first_pause.saturating_mul(factor).min(LONGEST)
    }
}

/// How webhooks tell events.
#[cfg(feature = "webhooks")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivering {
    pub attempts: u32,
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// To be connected.
    pub connect: Duration,
    /// In all.
    pub timeout: Duration,
    /// The most bytes of a body.
    pub max_body: usize,
}

#[cfg(feature = "webhooks")]
impl Default for Delivering {
    fn default() -> Delivering {
        Delivering {
            attempts: 16,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(300),
            connect: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            max_body: 32 << 20,
        }
    }
}

pub(crate) type IdFn = Arc<dyn Fn() -> Result<EventId> + Send + Sync>;

/// More are rarely worth what they take from the program that this is a part of.
const MOST_THREADS: usize = 4;

impl Default for Options {
    fn default() -> Options {
        Options {
            disk: None,
            key: None,
            in_memory: false,
            read_only: false,
            accept_lost_journal: false,
            without_followers: false,
            cache: 128 << 20,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS)),
            memtable_events: 100_000,
            memtable_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            query_memory: 256 << 20,
            max_statement: MAX_STATEMENT,
            max_brought_about: 10_000,
            largest_value: LARGEST,
            frame_bytes: 4 << 20,
            max_event: 16 << 20,
            max_group: 32 << 20,
            max_definitions: 20_000,
            max_subscriptions: 10_000,
            fill_steps: FillSteps { first: 256 << 10, largest: 8 << 20 },
            durability: Durability::Sync,
            clock: Clock::system(),
            ids: None,
            live: false,
            #[cfg(feature = "share")]
            share: None,
            retries: Retries::default(),
            #[cfg(feature = "webhooks")]
            delivery: Delivering::default(),
            listener: None,
            compiler: None,
            #[cfg(feature = "nats")]
            log_address: None,
            #[cfg(test)]
            log: None,
            index_slice: (50_000, 4096),
            #[cfg(test)]
            by_hand: false,
            #[cfg(test)]
            own_journal: false,
            #[cfg(test)]
            injection: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// The disk that the file is on; by default the operating system's.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Options {
        self.disk = Some(disk);
        self
    }

    /// The key that the file is encrypted with. A database that is created with one is encrypted, its journals and backups too: nobody reads
    /// anything of it without the key, and nobody helps whoever has lost it.
    ///
    /// ```
    /// use bygone::maintain::EncryptionKey;
    /// use bygone::{NewEvent, Options};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("shop.bygone");
    /// let key: EncryptionKey = "8f1d".repeat(16).parse()?;
    /// let db = Options::new().key(key.clone()).create(&path)?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// db.close()?;
    /// assert!(Options::new().open(&path).is_err());
    /// assert_eq!(Options::new().key(key).open(&path)?.head().0, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "encryption")]
    pub fn key(mut self, key: EncryptionKey) -> Options {
        self.key = Some(key.shared());
        self
    }

    /// Opens for reading alone: nothing is written, not even what a crash left to be recovered (that is read into
    /// memory), and other readers may have the file open too.
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// Opens a file whose journal is gone or damaged, with all that the file itself holds and what can be read of the journal; and one
    /// beside which a journal stands that holds more than it, and is not its own any more.
    /// What was appended last may be lost, and this says that one knows. What is left of the journal is kept under other names
    /// ([`Recovery`](crate::maintain::Recovery)).
    pub fn accept_lost_journal(mut self, accept: bool) -> Options {
        self.accept_lost_journal = accept;
        self
    }

    /// Opens without evaluating anything that is defined in the file, as the last resort where a definition stands in the way: the log
    /// can be read and exported, and definitions can be dropped; nothing else is appended, and states, views, indexes and verbs
    /// are not to be had. An index that misses an event because of this says so, and is built again once it is defined anew.
    ///
    /// ```
    /// use bygone::{Db, Options};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.bygone");
    /// let db = Db::create(&path)?;
    /// db.query("DEFINE VERB Pay ON Order EMIT Order.paid")?;
    /// db.close()?;
    /// let rescue = Options::new().without_followers(true).open(&path)?;
    /// rescue.query("DROP VERB Pay")?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn without_followers(mut self, without: bool) -> Options {
        self.without_followers = without;
        self
    }

    /// Memory for pages of the file, in bytes (128 MiB by default); and half as much again for events that were read lately, one here and
    /// one there, as those of an entity are.
    pub fn cache(mut self, bytes: usize) -> Options {
        self.cache = bytes;
        self
    }

    /// How many threads may work on one query that counts, sums or groups much of the log (by default as many as the machine has,
    /// and at most 4). What it is answered does not depend on them.
    pub fn threads(mut self, threads: usize) -> Options {
        self.threads = threads.max(1);
        self
    }

    /// How much may be in the journal and not yet in the tables: events, and bytes of memory (100,000 and 32 MiB by
    /// default). Twice that is held while a checkpoint runs.
    pub fn memtable(mut self, events: usize, bytes: usize) -> Options {
        self.memtable_events = events.max(1);
        self.memtable_bytes = bytes.max(1);
        self
    }

    /// The most bytes that wait to be committed (64 MiB by default); more callers wait for room.
    pub fn queue(mut self, bytes: usize) -> Options {
        self.queue_bytes = bytes;
        self
    }

    /// By how many bytes the journal's space grows ahead of need: the first step, and the largest one.
    pub fn journal_steps(mut self, first: u64, largest: u64) -> Options {
        self.fill_steps = FillSteps { first, largest: largest.max(first) };
        self
    }

    /// Where the log is, if it is not the journal beside the file: a stream of NATS JetStream, `nats://HOST:PORT,HOST:PORT…/STREAM?sync=trusted`,
    /// that other nodes append to as well. Each has a whole copy in a file of its own, and answers from that. The stream is made, on three
    /// servers, if it is not there; opening refuses one whose settings are not safe, and says what to set.
    ///
    /// `?sync=trusted` says that each server syncs what it acknowledges (`sync_interval: always`), which nobody can see from here;
    /// `?replicas=1` that one server is enough, for a trial. `docs/guide/cluster.md` has all of it.
    ///
    /// A file that has followed a log is opened with it from then on, or for reading alone.
    ///
    /// ```no_run
    /// use bygone::{NewEvent, Options};
    /// let log = "nats://127.0.0.1:4222/shop?replicas=1&sync=trusted";
    /// let [first, second] = ["first.bygone", "second.bygone"].map(|file| Options::new().log(log).create(file));
    /// first?.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// second?.subscribe("Order.*").from_start().next();
    /// # Ok::<(), bygone::Error>(())
    /// ```
    #[cfg(feature = "nats")]
    pub fn log(mut self, address: &str) -> Options {
        self.log_address = Some(address.to_owned());
        self
    }

    /// When an append is acknowledged.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Where the database reads the time.
    pub fn clock(mut self, clock: Clock) -> Options {
        self.clock = clock;
        self
    }

    /// Where the ids of events come from that are given none; by default UUIDv7.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use bygone::{NewEvent, Options};
    /// let next = AtomicU32::new(1);
    /// let db = Options::new().ids(move || format!("e{}", next.fetch_add(1, Ordering::Relaxed))).in_memory()?;
    /// assert_eq!(db.append(NewEvent::new("Order.paid"))?.id.to_string(), "e1");
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn ids(mut self, ids: impl Fn() -> String + Send + Sync + 'static) -> Options {
        self.ids = Some(Arc::new(move || EventId::new(&ids())));
        self
    }

    /// Opens it to run what is defined to run: reactions, webhooks and schedules. They begin where they were, and end as the
    /// database is closed. It is off by default: to look at a file makes nothing happen.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bygone::{Delivery, NewEvent, Options};
    /// let db = Options::new().live(true).in_memory()?;
    /// db.query("DEFINE REACTION thank ON 'Order.paid' DO EMIT Mail.requested (target.id)")?;
    /// let mails = db.subscribe("Mail.*");
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// let mut mails = mails.filter_map(|delivery| match delivery {
    ///     Ok(Delivery::Event(mail)) => Some(mail),
    ///     _ => None,
    /// });
    /// assert_eq!(mails.next().expect("a mail").target, Some(("Mail", 42).into()));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn live(mut self, live: bool) -> Options {
        self.live = live;
        self
    }

    /// Lets other processes of this user ask the database while it is open, as [`Db::share`](crate::Db::share) does; opening fails where that
    /// does. Off by default.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.bygone");
    /// use bygone::{Db, Options};
    /// let db = Options::new().share(true).create(&path)?;
    /// assert_eq!(Db::attach(&path)?.head()?, db.head());
    /// # }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    #[cfg(feature = "share")]
    pub fn share(self, share: bool) -> Options {
        Options { share: share.then_some(SharedAccess::Full), ..self }
    }

    /// The same, and what they may ask.
    #[cfg(feature = "share")]
    pub fn share_as(self, access: SharedAccess) -> Options {
        Options { share: Some(access), ..self }
    }

    /// How often a reaction or a schedule tries what fails before the event is set aside (5 times by default), and
    /// how long it waits before it tries again: so long at first (100 ms), then four times as long each time, and a minute at most.
    pub fn retries(mut self, attempts: u32, first_pause: Duration) -> Options {
        self.retries = Retries { attempts: attempts.max(1), first_pause };
        self
    }

    /// How often a webhook tells an event that is not taken before it sets it aside (16 times by default), how long it waits before it
    /// tells it again (up to 1 s at first, then up to twice as long each time, and 5 minutes at most), and how long a receiver may take
    /// to answer (15 s). To close the database waits for an answer that is under way, so long at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bygone::Options;
    /// let patient = Options::new().live(true).webhooks(100, Duration::from_secs(5), Duration::from_secs(60));
    /// # drop(patient);
    /// ```
    #[cfg(feature = "webhooks")]
    pub fn webhooks(mut self, attempts: u32, first_pause: Duration, timeout: Duration) -> Options {
        let longest_pause = self.delivery.longest_pause.max(first_pause);
        let attempts = attempts.max(1);
        self.delivery = Delivering { attempts, first_pause, timeout, longest_pause, ..self.delivery };
        self
    }

    /// Who is told what reactions, webhooks and schedules meet: what was set aside, refused or missed. It is called from their
    /// threads.
    pub fn reports(mut self, listener: impl Fn(&Report) + Send + Sync + 'static) -> Options {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// What understands definitions.
    pub(crate) fn with_compiler(mut self, compiler: Arc<dyn CompileConditions>) -> Options {
        self.compiler = Some(compiler);
        self
    }

    /// Who understands definitions.
    pub(crate) fn compiler(&self) -> Result<&dyn Compile> {
        self.condition_compiler().map(|compiler| compiler as &dyn Compile)
    }

    /// Who understands what must not be in the log, too.
    pub(crate) fn condition_compiler(&self) -> Result<&dyn CompileConditions> {
        if self.without_followers {
            return Err(Error::stopped(
                "the database was opened without followers, so nothing that is defined is evaluated",
            ));
        }
        let none = || Error::stopped("nothing here understands definitions");
        self.compiler.as_deref().ok_or_else(none)
    }

    /// Whether a thread builds and drops indexes.
    pub(crate) fn keeps_indexes(&self) -> bool {
        #[cfg(test)]
        if self.by_hand {
            return false;
        }
        !self.read_only && !self.without_followers
    }

    /// Whether a thread reads what others append to the log.
    pub(crate) fn reads_log(&self) -> bool {
        #[cfg(test)]
        if self.by_hand {
            return false;
        }
        true
    }

    /// The log of a database whose tables go up to a place; none where that is the journal beside the file.
    pub(super) fn shared_log(
        &self,
        path: &Path,
        tables: &Tables,
        id: DatabaseId,
        place: LogPlace,
    ) -> Result<Option<Arc<dyn Log>>> {
        #[cfg(feature = "nats")]
        if let Some(address) = &self.log_address {
            let log = NatsLog::open(LogAddress::parse(address)?, path, tables, place, self.read_only)?;
            return Ok(Some(Arc::new(log)));
        }
        if let Some(log) = self.simulated_log(id, place) {
            return Ok(Some(log));
        }
        match tables.read()?.followed_log()? {
            Some(_) if !self.read_only => {
                let reason = "it follows a log that it shares with others, and takes events from there alone";
                let advice = "open it with that log (--log nats://…, or Options::log), or for reading alone (--read-only)";
                Err(Error::unopenable(path, reason, advice))
            }
            _ => Ok(None),
        }
    }

    /// Whether the log is not the journal beside the file.
    pub(super) fn follows_log(&self) -> bool {
        #[cfg(feature = "nats")]
        return self.log_address.is_some();
        #[cfg(not(feature = "nats"))]
        false
    }

    /// With `BYGONE_LOG=shared` tests run on a simulated shared log.
    #[cfg(test)]
    fn simulated_log(&self, id: DatabaseId, place: LogPlace) -> Option<Arc<dyn Log>> {
        let shared =
            || !self.own_journal && std::env::var_os("BYGONE_LOG").is_some_and(|log| log == "shared");
        self.log.clone().or_else(|| shared().then(|| SharedLog::restless(id, place.position).handle()))
    }

    /// Outside tests there is none.
    #[cfg(not(test))]
    fn simulated_log(&self, _: DatabaseId, _: LogPlace) -> Option<Arc<dyn Log>> {
        None
    }

    /// The disk to work on. One that is only read keeps what recovery would write in memory.
    pub(crate) fn disk_to_use(&self) -> Arc<dyn Disk> {
        let disk = encrypting(self.disk_under(), self.file_key().as_ref());
        if self.read_only { Arc::new(Overlay::new(disk)) } else { disk }
    }

    /// Whether the file is one of the system.
    #[cfg(feature = "share")]
    pub(crate) fn is_on_system_disk(&self) -> bool {
        self.disk.is_none()
    }

    /// The disk as it is, whatever key the files on it have.
    pub(super) fn disk_under(&self) -> Arc<dyn Disk> {
        match (&self.disk, self.read_only) {
            (Some(disk), _) => disk.clone(),
            (None, false) => Arc::new(RealDisk::new()),
            (None, true) => Arc::new(RealDisk::read_only()),
        }
    }

    /// The key that was given. With `BYGONE_ENCRYPTED=yes` tests run on files that are encrypted.
    pub(super) fn file_key(&self) -> Option<SharedKey> {
        #[cfg(all(test, feature = "encryption"))]
        if self.key.is_none() && std::env::var_os("BYGONE_ENCRYPTED").is_some_and(|said| said == "yes") {
            return Some(EncryptionKey::new([7; 32]).shared());
        }
        self.key.clone()
    }

    /// Ends a change of the key that was interrupted: the key that opened the file is its only one.
    pub(super) fn settle_key(&self, path: &Path) -> Result<()> {
        #[cfg(feature = "encryption")]
        if let Some(key) = self.file_key().filter(|_| !self.read_only) {
            let settling = |e| Error::io(format!("taking away another key of {}", path.display()), e);
            encryption::disk::settle(&*self.disk_under(), path, &locked(&key)).map_err(settling)?;
        }
        let _ = path;
        Ok(())
    }

    /// These options for one database: another one that is opened with them has a key of its own.
    pub(super) fn of_one(self) -> Options {
        #[cfg(feature = "encryption")]
        let key = self.file_key().map(|key| locked(&key).clone().shared());
        #[cfg(not(feature = "encryption"))]
        let key = None;
        Options { key, ..self }
    }

    /// Refuses a file that does not open with the key that there is.
    pub(super) fn check_key(&self, path: &Path) -> Result<()> {
        encryption::check(&*self.disk_under(), path, self.file_key().as_ref())
    }

    /// On a disk that is gone with the database.
    pub(crate) fn in_memory_disk(self) -> Options {
        Options { in_memory: true, ..self.disk(Arc::new(MemoryDisk::new())) }
    }

    /// The disk that backups are written to.
    pub(super) fn disk_of_backups(&self, key: Option<&SharedKey>) -> Arc<dyn Disk> {
        encrypting(self.disk_under_backups(), key.or(self.file_key().as_ref()))
    }

    /// Refuses a backup that does not open with a key, or that of the database.
    pub(super) fn check_key_of_backup(&self, path: &Path, key: Option<&SharedKey>) -> Result<()> {
        encryption::check(&*self.disk_under_backups(), path, key.or(self.file_key().as_ref()))
    }

    fn disk_under_backups(&self) -> Arc<dyn Disk> {
        match &self.disk {
            Some(disk) if !self.in_memory => disk.clone(),
            _ => Arc::new(RealDisk::new()),
        }
    }

    /// Whether a protocol is to be broken, to see whether a test notices.
    #[cfg(test)]
    pub(crate) fn injects(&self, injection: super::fault_injection::FaultInjection) -> bool {
        self.injection == Some(injection)
    }

    /// Nothing is broken on purpose outside tests.
    #[cfg(not(test))]
    pub(crate) fn injects(&self, _: super::fault_injection::FaultInjection) -> bool {
        false
    }

    /// How the local log of such a database is kept.
    pub(crate) fn local_log(&self) -> LocalLogOptions {
        let FillSteps { first, largest } = self.fill_steps;
        // Terms count in a memtable but not in its frames: a segment of the memtable's bound is enough, and a large frame grows it.
        let sizes = Sizes { first_step: first, max_step: largest, segment: self.memtable_bytes as u64 };
        LocalLogOptions {
            sizes,
            durability: self.durability,
            early_reuse: self.injects(super::fault_injection::FaultInjection::EarlyReuse),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        #[cfg(feature = "nats")]
        if let Some(address) = &self.log_address {
            LogAddress::parse(address)?;
        }
        if self.live && self.without_followers {
            return Err(Error::invalid("the options", "live, or without followers", "both"));
        }
        match self.durability {
            Durability::Interval(every) if every.is_zero() => {
                Err(Error::invalid("durability", "an interval longer than nothing", "0s"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("disk", &self.disk)
            .field("read_only", &self.read_only)
            .field("cache", &self.cache)
            .field("query_memory", &self.query_memory)
            .field("memtable", &(self.memtable_events, self.memtable_bytes))
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
