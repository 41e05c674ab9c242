//! A mixed load that goes on: eight write, eight read, sixteen subscribe, definitions change, views and a reaction follow, and all is backed
//! up, compacted, closed and opened again. Nothing that was acknowledged is missing at the end, and nothing grows but the file.
//!
//! `BYGONE_SOAK_SECONDS=3600` goes on for an hour instead of five seconds, `BYGONE_SOAK_RATE=2000` appends so many events a second. Each
//! minute it prints a line; at the end, by how much the resident memory grew over the second half, scaled to an hour.
//!
//! What is measured is the process. The harness holds a few counters for each thread and nothing of the events, so that what grows is
//! the database; the line before the first says what the same process takes with the harness and no database.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bygone::maintain::BackupMode;
use bygone::{Db, Delivery, Error, NewEvent, Options, Position, Row};

const WRITERS: u64 = 8;
const READERS: u64 = 8;
const SUBSCRIBERS: u64 = 16;

/// How many of those who subscribe have a place of their own in the file.
const DURABLE: u64 = 4;

/// How many accounts each writer has.
const ACCOUNTS: u64 = 50;

/// What the file and its journals may be: so many times the bytes that the events have as JSON, and what an empty database and the
/// journals that are filled ahead take.
const TIMES: u64 = 6;
const BESIDE: u64 = 24 << 20;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// All that the harness holds: counters.
#[derive(Default)]
struct Tally {
    /// The events that each writer was told are in the log: those with the numbers below this.
    acknowledged: [AtomicU64; WRITERS as usize],
    /// How many bytes events have as JSON, all of them.
    bytes: AtomicU64,
    paid: AtomicU64,
    reads: AtomicU64,
    delivered: AtomicU64,
    backups: AtomicU64,
    compactions: AtomicU64,
    definitions: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    fn events(&self) -> u64 {
        self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a process takes of a machine.
#[derive(Debug, Clone, Copy)]
struct Taken {
    resident: u64,
    handles: usize,
    threads: usize,
}

impl Taken {
    fn now() -> Taken {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        let count = |folder: &str| fs::read_dir(folder).unwrap().count();
        // A page has 4 KiB on what this runs on.
        Taken { resident: pages * 4096, handles: count("/proc/self/fd"), threads: count("/proc/self/task") }
    }
}

/// A straight line through points, of which only sums are held.
#[derive(Default)]
struct Line {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// None where there are too few points.
    fn slope(&self) -> Option<f64> {
        let below = self.n * self.xx - self.x * self.x;
        (self.n > 2.0 && below > 0.0).then(|| (self.n * self.xy - self.x * self.y) / below)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn options() -> Options {
    // Small caches are full soon: what grows afterwards is none of them.
    Options::new().live(true).cache(8 << 20).memtable(2_000, 1 << 20).journal_steps(1 << 20, 4 << 20)
}

fn rows(db: &Db, text: &str) -> Result<Vec<Row>, Error> {
    db.query(text)?.rows.collect()
}

/// What is not there, or not yet, is told so; anything else is none that may happen.
fn asked(db: &Db, text: &str) {
    match rows(db, text) {
        Ok(_) | Err(Error::Missing(_)) => {}
        Err(error) if error.is_worth_a_retry() => {}
        Err(error) => panic!("{text}: {error}"),
    }
}

const DEFINITIONS: [&str; 4] = [
    "DEFINE ENTITY Account INITIAL {sum: 0} SNAPSHOT EVERY 50 ON used SET sum = state.sum + data.n ON paid IGNORE ON thanked IGNORE",
    "DEFINE VERB Pay ON Account REQUIRE data.n IS NOT NULL ELSE 'what' EMIT paid {n: data.n, writer: data.writer}",
    "DEFINE REACTION thank ON 'Account.paid' DO EMIT Account.thanked (target.id) {n: data.n}",
    "DEFINE VIEW totals AS EVENTS 'Account.*' GROUP BY type AS kind SELECT count() AS events",
];

/// Appends, so many events a second: one by one, in groups, with a key, by a verb. Those of a writer are numbered without a gap.
fn write(db: &Db, tally: &Tally, writer: u64, rate: f64) {
    let acknowledged = &tally.acknowledged[writer as usize];
    let mut next = acknowledged.load(Ordering::Relaxed);
    let mut dice = Dice(writer + 17 * next + 1);
    let (begun, first) = (Instant::now(), next);
    while !tally.stops() {
        let event = |n: u64, dice: &mut Dice| {
            NewEvent::new("Account.used")
                .on(("Account", writer * ACCOUNTS + dice.roll(ACCOUNTS)))
                .member("writer", writer)
                .member("n", n)
                .member("text", "a word or two ".repeat(dice.roll(6) as usize))
                .index("colour", ["red", "green", "blue"][dice.roll(3) as usize])
        };
        let made = match dice.roll(10) {
            0 => {
                let group: Vec<_> = (next..next + 5).map(|n| event(n, &mut dice)).collect();
                db.append_all(group).unwrap()
            }
            1 => {
                let new = event(next, &mut dice);
                let key = format!("{writer}-{next}");
                let made = db.append_once(&key, [new.clone()]).unwrap();
                // Said twice, it happens once.
                let again = db.append_once(&key, [new]).unwrap();
                assert_eq!(made[0].position, again[0].position, "{key}");
                made
            }
            2 => {
                let account = writer * ACCOUNTS + dice.roll(ACCOUNTS);
                let text = format!("PERFORM Pay Account {account} {{n: {next}, writer: {writer}}}");
                let made = rows(db, &text).unwrap_or_else(|e| panic!("{text}: {e}"));
                let events = made.into_iter().filter_map(|row| match row {
                    Row::Event { event, .. } => Some(event),
                    _ => None,
                });
                let events: Vec<_> = events.collect();
                assert_eq!(events.len(), 1, "{text}");
                tally.paid.fetch_add(1, Ordering::Relaxed);
                events
            }
            _ => vec![db.append(event(next, &mut dice)).unwrap()],
        };
        let bytes = made.iter().map(|event| serde_json::to_string(event).unwrap().len() as u64);
        tally.bytes.fetch_add(bytes.sum(), Ordering::Relaxed);
        next += made.len() as u64;
        acknowledged.store(next, Ordering::Relaxed);
        let due = Duration::from_secs_f64((next - first) as f64 / rate);
        thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_millis(200)));
    }
}

fn read(db: &Db, tally: &Tally, reader: u64) {
    let mut dice = Dice(reader * 31 + 7);
    while !tally.stops() {
        let account = dice.roll(WRITERS * ACCOUNTS);
        let text = match dice.roll(7) {
            0 => format!("HISTORY Account {account} LAST 20"),
            1 => format!("AT Account {account}"),
            2 => "EVENTS 'Account.*' BY colour = 'red' LAST 20".to_owned(),
            3 => "READ totals".to_owned(),
            4 => format!("EVENTS SINCE #{} GROUP BY type SELECT count()", db.head().0.saturating_sub(500)),
            5 => "EVENTS BY numbers = 5 LAST 5".to_owned(),
            _ => "FIND Account WHERE state.sum > 100 LIMIT 20".to_owned(),
        };
        asked(db, &text);
        tally.reads.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Takes what comes; the positions ascend.
fn subscribe(db: &Db, tally: &Tally, which: u64) {
    let pattern = ["Account.*", "Account.paid", "*", "Account.thanked"][which as usize % 4];
    let mut last = Position(0);
    let mut take = |delivery: Delivery| {
        let Delivery::Event(event) = delivery else { return None };
        assert!(event.position > last, "{} after {last}", event.position);
        last = event.position;
        tally.delivered.fetch_add(1, Ordering::Relaxed);
        Some(last)
    };
    let wait = Duration::from_millis(100);
    if which < DURABLE {
        let mut reader = db.subscribe(pattern).from_start().durable(&format!("reader{which}")).unwrap();
        while !tally.stops() {
            let Some(delivery) = reader.next_timeout(wait) else { continue };
            if let Some(position) = take(delivery.unwrap()) {
                reader.acknowledge(position).unwrap();
            }
        }
    } else {
        let mut reader = db.subscribe(pattern);
        while !tally.stops() {
            let Some(delivery) = reader.next_timeout(wait) else { continue };
            take(delivery.unwrap());
        }
    }
}

/// Defines anew, and drops, every two seconds.
fn define(db: &Db, tally: &Tally) {
    let mut dice = Dice(5);
    while !tally.stops() {
        let n = 1 + dice.roll(4);
        let text = match dice.roll(6) {
            0 | 1 => format!("DEFINE INDEX numbers ON 'Account.paid' AS data.n % {}", 5 + n),
            2 | 3 => format!("DEFINE VIEW large AS EVENTS 'Account.paid' WHERE data.n % 100 < {n}"),
            4 => "DROP INDEX numbers".to_owned(),
            _ => "DROP VIEW large".to_owned(),
        };
        asked(db, &text);
        tally.definitions.fetch_add(1, Ordering::Relaxed);
        pause(tally, Duration::from_secs(2));
    }
}

/// Backs up and compacts, in turn, for as long as it takes and four times that.
fn maintain(db: &Db, tally: &Tally, folder: &Path) {
    for turn in 0_u64.. {
        let begun = Instant::now();
        match turn % 4 {
            0 | 2 => {
                let (name, mode) = match turn % 4 {
                    0 => ("grown.bygone", BackupMode::Increment),
                    _ => ("anew.bygone", BackupMode::Replace),
                };
                db.backup_with(folder.join(name), mode, &mut |_| {}).unwrap();
                tally.backups.fetch_add(1, Ordering::Relaxed);
            }
            1 => asked(db, "CHECKPOINT"),
            _ => {
                db.compact().unwrap();
                tally.compactions.fetch_add(1, Ordering::Relaxed);
            }
        }
        pause(tally, (begun.elapsed() * 4).max(Duration::from_millis(300)));
        if tally.stops() {
            return;
        }
    }
}

fn pause(tally: &Tally, long: Duration) {
    let until = Instant::now() + long;
    while !tally.stops() && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
}

/// What one thread does until all are stopped.
type Work = Box<dyn FnOnce(&Db, &Tally) + Send>;

/// What runs: where, how long, and what was seen of it so far.
struct Soak {
    folder: tempfile::TempDir,
    tally: Arc<Tally>,
    begun: Instant,
    length: Duration,
    memory: Line,
    printed: Duration,
}

impl Soak {
    fn path(&self) -> PathBuf {
        self.folder.path().join("soak.bygone")
    }

    /// The bytes of the file, and of its journals.
    fn bytes(&self) -> (u64, u64) {
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |found| found.len());
        let journal = |side: &str| length(self.folder.path().join(format!("soak.bygone-journal-{side}")));
        (length(self.path()), journal("a") + journal("b"))
    }

    /// Whatever the file holds, it holds it in not too many bytes.
    fn file_is_small(&self) {
        let (file, journals) = self.bytes();
        let most = TIMES * self.tally.bytes.load(Ordering::Relaxed) + BESIDE;
        assert!(file + journals <= most, "{file} bytes and {journals} of journals are more than {most}");
    }

    /// Looks each second, prints each minute, or a few times where it is short.
    fn watch(&mut self, until: Instant) {
        let each = Duration::from_secs(60).min(self.length / 5);
        while Instant::now() < until && self.begun.elapsed() < self.length {
            thread::sleep(Duration::from_millis(200).min(self.length / 20));
            if self.tally.stops() {
                return;
            }
            let at = self.begun.elapsed();
            let taken = Taken::now();
            if at > self.length / 2 {
                self.memory.add(at.as_secs_f64(), taken.resident as f64);
            }
            if at >= self.printed + each {
                self.printed = at;
                self.print(taken);
                self.file_is_small();
            }
        }
    }

    fn print(&self, taken: Taken) {
        let (file, journals) = self.bytes();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let tally = &self.tally;
        println!(
            "{:6} s, {:9} events, {:7.1} MiB resident, file {:.1} MiB, journals {:.1} MiB, events as JSON {:.1} MiB, {} handles, \
             {} threads; {} reads, {} delivered, {} definitions, {} backups, {} compactions",
            self.begun.elapsed().as_secs(),
            tally.events(),
            mib(taken.resident),
            mib(file),
            mib(journals),
            mib(count(&tally.bytes)),
            taken.handles,
            taken.threads,
            count(&tally.reads),
            count(&tally.delivered),
            count(&tally.definitions),
            count(&tally.backups),
            count(&tally.compactions),
        );
    }

    /// From opening to closing, everybody at once. What the process takes while all of them are there, once the database is open.
    fn session(&mut self, db: &Db, long: Duration, rate: f64) {
        self.tally.stop.store(false, Ordering::Relaxed);
        let (tally, folder) = (self.tally.clone(), self.folder.path().to_owned());
        let mut threads = Vec::new();
        let mut begin = |work: Work| {
            let (db, tally) = (db.clone(), tally.clone());
            threads.push(thread::spawn(move || {
                // Who panics ends it for all.
                let stop = StopsAll(&tally);
                work(&db, &tally);
                std::mem::forget(stop);
            }));
        };
        for writer in 0..WRITERS {
            begin(Box::new(move |db, tally| write(db, tally, writer, rate / WRITERS as f64)));
        }
        for reader in 0..READERS {
            begin(Box::new(move |db, tally| read(db, tally, reader)));
        }
        for subscriber in 0..SUBSCRIBERS {
            begin(Box::new(move |db, tally| subscribe(db, tally, subscriber)));
        }
        begin(Box::new(define));
        begin(Box::new(move |db, tally| maintain(db, tally, &folder)));
        self.watch(Instant::now() + long);
        let failed = tally.stops();
        tally.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!failed, "somebody gave up");
    }
}

/// Stops everybody, if it is dropped.
struct StopsAll<'t>(&'t Tally);

impl Drop for StopsAll<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Each event that a writer was told of is there, once, in its order; and each that was paid was thanked for, once.
fn nothing_is_missing(db: &Db, tally: &Tally) {
    let mut next = [0; WRITERS as usize];
    let (mut paid, mut thanked) = (0, 0);
    for event in db.events("Account.*").unwrap() {
        let event = event.unwrap();
        if event.kind.as_str() == "Account.thanked" {
            thanked += 1;
            continue;
        }
        paid += u64::from(event.kind.as_str() == "Account.paid");
        let number = |name: &str| event.data.get(name).and_then(|value| value.as_i64()).unwrap() as u64;
        let next = &mut next[number("writer") as usize];
        assert_eq!(number("n"), *next, "{event:?}");
        *next += 1;
    }
    assert_eq!(next, std::array::from_fn(|writer| tally.acknowledged[writer].load(Ordering::Relaxed)));
    assert_eq!((paid, thanked), (tally.paid.load(Ordering::Relaxed), paid), "paid, and thanked");
}

/// A closed database leaves no more than the first one did. A thread that has been told to end may take a moment.
fn nothing_is_left(first: &Taken) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let taken = Taken::now();
        if taken.handles <= first.handles && taken.threads <= first.threads {
            return;
        }
        assert!(Instant::now() < until, "handles or threads are left: {taken:?}, and {first:?} at first");
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_verified(db: &Db) {
    let found = db.verify().unwrap();
    assert!(found.faults.is_empty(), "VERIFY finds {:?}", found.faults);
}

/// Waits until the reaction has answered all. Who waits for ever is stopped by whoever runs the test.
fn settle(db: &Db) {
    while !db.is_idle().unwrap() {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_mixed_load_goes_on_and_only_the_file_grows() {
    let length = Duration::from_secs(number("BYGONE_SOAK_SECONDS", 5));
    let rate = number("BYGONE_SOAK_RATE", 400) as f64;
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let (tally, memory, printed) = (Arc::default(), Line::default(), Duration::ZERO);
    let mut soak = Soak { folder, tally, begun, length, memory, printed };
    println!("the process with no database: {:.1} MiB resident", mib(Taken::now().resident));
    let db = options().create(soak.path()).unwrap();
    for definition in DEFINITIONS {
        rows(&db, definition).unwrap_or_else(|e| panic!("{definition}: {e}"));
    }
    db.append(NewEvent::new("Colour.known").index("colour", "red")).unwrap();
    db.close().unwrap();
    drop(db);
    // At least three times it is closed and opened, so that what each leaves behind adds up.
    let session = (length / 4).min(Duration::from_secs(300));
    let mut first: Option<Taken> = None;
    let mut sessions = 0;
    while soak.begun.elapsed() < length {
        let db = options().open(soak.path()).unwrap();
        soak.session(&db, session, rate);
        settle(&db);
        db.close().unwrap();
        drop(db);
        sessions += 1;
        match &first {
            Some(first) => nothing_is_left(first),
            None => first = Some(Taken::now()),
        }
    }
    let db = options().open(soak.path()).unwrap();
    assert!(db.wait_for_indexes(Duration::from_secs(600)).unwrap());
    settle(&db);
    nothing_is_missing(&db, &soak.tally);
    is_verified(&db);
    soak.print(Taken::now());
    db.close().unwrap();
    soak.file_is_small();
    for name in ["grown.bygone", "anew.bygone"] {
        let path = soak.folder.path().join(name);
        if path.exists() {
            is_verified(&Options::new().read_only(true).open(path).unwrap());
        }
    }
    let slope = soak.memory.slope().map_or(0.0, |bytes| bytes * 3600.0 / f64::from(1 << 20));
    println!("{sessions} sessions; over the second half the resident memory grew by {slope:.1} MiB an hour");
}
