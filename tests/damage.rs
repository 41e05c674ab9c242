//! Damaged files: whatever changes in a file or its journals, nothing panics, nothing hangs, and no answer differs from what it was
//! unless it ends with an error or `VERIFY` tells of damage.
//!
//! A file with all that there is in one is damaged in many ways, by numbers that look random and are the same each time. Each copy is
//! opened, verified, exported, asked, written to and closed. `BYGONE_DAMAGED_FILES=2000` damages so many instead of a few;
//! `BYGONE_DAMAGE_SEED=17` begins with another number, as a failure says it; `BYGONE_DAMAGE_EVENTS=10000` makes a larger file, and
//! `BYGONE_DAMAGE_TRACE=1` tells each number before it is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread;
use std::time::Duration;

use bygone::disk::{Disk, MemoryDisk};
use bygone::maintain::Clock;
use bygone::{Db, NewEvent, Options, Timestamp};

const NAME: &str = "/shop.bygone";
const JOURNALS: [&str; 2] = ["/shop.bygone-journal-a", "/shop.bygone-journal-b"];

/// A copy that takes longer than this hangs.
const LONG: Duration = Duration::from_secs(60);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Dice {
        // Seeds that are close are to lead far apart.
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// A database's files: the name and the bytes of each.
type Image = Vec<(&'static str, Vec<u8>)>;

/// What is not damaged, and the answers of it.
type Whole = (Image, Vec<Vec<String>>);

fn image(disk: &MemoryDisk) -> Image {
    let mut image = Image::new();
    for name in [NAME].into_iter().chain(JOURNALS) {
        let Ok(file) = disk.open(Path::new(name)) else { continue };
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        image.push((name, bytes));
    }
    image
}

fn disk_of(image: &Image) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in image {
        disk.create(Path::new(name)).unwrap().write_at(0, bytes).unwrap();
    }
    disk
}

fn options(disk: &MemoryDisk) -> Options {
    // A small cache reads pages again and again. The time is told by some answers.
    let clock = Clock::new(|| Timestamp::from_millis(1_717_243_200_000));
    Options::new().clock(clock).disk(Arc::new(disk.clone())).journal_steps(64 << 10, 1 << 20).cache(1 << 20)
}

fn run(db: &Db, statement: &str) -> Result<Vec<String>, bygone::Error> {
    let rows = db.query(statement)?.rows;
    rows.map(|row| row.map(|row| format!("{row:?}"))).collect()
}

const DEFINITIONS: [&str; 9] = [
    "DEFINE ENTITY Account INITIAL {balance: 0} ON opened MERGE ON deposited SET balance = state.balance + data.amount",
    "DEFINE INDEX customer ON 'Order.*' AS data.customer",
    "DEFINE INDEX wealth ON 'Account' AS state.balance",
    "DEFINE INDEX owner ON 'Account' AS state.owner",
    "DEFINE VIEW revenue AS EVENTS 'Order.*' WHERE data.total IS NOT NULL GROUP BY data.customer AS customer SELECT sum(data.total) AS total, count() AS orders",
    "DEFINE VIEW large AS EVENTS 'Order.*' WHERE data.total > 900",
    "DEFINE VIEW rich AS FIND Account WHERE state.balance > 4000",
    "DEFINE VERB Ship ON Order REQUIRE state.shipped IS NULL ELSE 'shipped already' EMIT shipped {shipped: TRUE}",
    "DEFINE VIEW owners AS FIND Account GROUP BY state.owner AS owner SELECT count() AS accounts",
];

/// What is asked. The answers of a view are remembered: it is asked but once.
const QUESTIONS: [&str; 22] = [
    "HISTORY Order 7",
    "HISTORY Account 3",
    "AT Order 7",
    "AT Account 3",
    "AT Account 5 #400",
    "AT Account 4 '2024-01-01T00:20:00Z'",
    "FIND Account",
    "FIND Account WHERE state.balance > 3000",
    "FIND Account WHERE state.balance < 900",
    "FIND Account WHERE state.owner = 'o-3'",
    "FIND Order WHERE state.total > 800 SELECT target.id",
    "EVENTS 'Order.created' WHERE data.total > 700 SELECT position, data.total",
    "EVENTS 'Order.*' BY customer = 'c-7' SELECT position",
    "EVENTS 'Order.*' BY color = 'red' SELECT position",
    "EVENTS '*' LAST 40",
    "EVENTS '*' SINCE '2024-01-01T00:10:00Z' UNTIL '2024-01-01T00:12:00Z' SELECT position",
    "EVENTS '*' GROUP BY type SELECT count()",
    "BLAME Account 3",
    "READ revenue",
    "READ large SELECT position",
    "READ rich",
    "READ owners",
];

fn event(n: u64, dice: &mut Dice) -> NewEvent {
    let at = Timestamp::from_millis(1_704_067_200_000 + n as i64 * 1000);
    let event = match dice.below(4) {
        0 => NewEvent::new("Order.created")
            .on(("Order", dice.below(n / 4 + 1)))
            .member("customer", format!("c-{}", dice.below(20)))
            .member("total", dice.below(1000))
            .index("color", ["red", "green", "blue"][dice.below(3) as usize]),
        1 => NewEvent::new("Order.noted")
            .on(("Order", dice.below(40)))
            .member("text", "a word or two, ".repeat(dice.below(12) as usize)),
        2 => NewEvent::new("Account.opened")
            .on(("Account", dice.below(n / 12 + 8)))
            .member("owner", format!("o-{}", dice.below(9))),
        _ => NewEvent::new("Account.deposited")
            .on(("Account", dice.below(n / 12 + 8)))
            .member("amount", dice.below(700)),
    };
    event.at(at)
}

/// The files of a database: once it was closed, and as it was killed, with events in its journals.
fn images() -> [Image; 2] {
    let events = number("BYGONE_DAMAGE_EVENTS", 2500);
    let disk = MemoryDisk::new();
    let mut dice = Dice::of(1);
    let db = options(&disk).create(NAME).unwrap();
    for n in 0..events {
        db.append(event(n, &mut dice)).unwrap();
        if let Some(definition) = DEFINITIONS.get(n as usize / 50).filter(|_| n % 50 == 49) {
            run(&db, definition).unwrap();
        }
    }
    assert!(db.wait_for_indexes(LONG).unwrap());
    run(&db, "CHECKPOINT").unwrap();
    db.close().unwrap();
    let closed = image(&disk);
    let db = options(&disk).open(NAME).unwrap();
    for n in events..events + 200 {
        db.append(event(n, &mut dice)).unwrap();
    }
    let killed = image(&disk);
    assert_eq!((closed.len(), killed.len() > 1), (1, true));
    drop(db);
    [closed, killed]
}

/// What is read of a database: each question, and its answer.
fn answers(db: &Db) -> Vec<(&'static str, Result<Vec<String>, bygone::Error>)> {
    let mut answers: Vec<_> = QUESTIONS.iter().map(|question| (*question, run(db, question))).collect();
    let mut lines = Vec::new();
    let exported = db.export(None, &mut lines, &mut |_| {});
    answers.push(("export", exported.map(|_| vec![String::from_utf8_lossy(&lines).into_owned()])));
    answers
}

/// Changes a copy, and says how.
fn damage(image: &mut Image, dice: &mut Dice) -> String {
    // Mostly the tables.
    let file = if image.len() > 1 && dice.below(4) == 0 {
        1 + dice.below(image.len() as u64 - 1) as usize
    } else {
        0
    };
    let (name, bytes) = &mut image[file];
    let length = bytes.len() as u64;
    // Sometimes where the file begins.
    let place = |dice: &mut Dice, room: u64| {
        let length = length.saturating_sub(room);
        let begin = dice.below(12) == 0;
        dice.below(if begin { length.min(4096) } else { length }) as usize
    };
    let what = match dice.below(8) {
        bits @ 0..3 => {
            let count = [1, 8, 64][bits as usize];
            let mut places = Vec::new();
            for _ in 0..count {
                let (at, bit) = (place(dice, 1), dice.below(8));
                bytes[at] ^= 1 << bit;
                places.push(at);
            }
            places.truncate(4);
            format!("{count} bits, at {places:?}")
        }
        blocks @ 3..6 => {
            let size = [512, 4096, 4096][blocks as usize - 3];
            let at = place(dice, size as u64) / size * size;
            let end = bytes.len().min(at + size);
            bytes[at..end].fill(0);
            format!("{size} zeros at {at}")
        }
        6 => {
            let cut = [4096, 4096, 512, 1, dice.below(length)][dice.below(5) as usize];
            bytes.truncate(length.saturating_sub(cut) as usize);
            format!("cut by {cut}")
        }
        _ => {
            let (from, to) = (place(dice, 4096) / 4096 * 4096, place(dice, 4096) / 4096 * 4096);
            if bytes.len() < 8192 {
                return format!("{name}: nothing");
            }
            let page = bytes[from..from + 4096].to_vec();
            bytes[to..to + 4096].copy_from_slice(&page);
            format!("the page at {from} over that at {to}")
        }
    };
    format!("{name}: {what}")
}

/// Why files were not opened, and how many.
static REFUSALS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// How many panics were told.
static PANICS: AtomicU64 = AtomicU64::new(0);
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Counts panics that are told. What is set later and silences some hands on the others.
fn count_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            TOLD.lock().unwrap_or_else(|told| told.into_inner()).push(panic.to_string());
            before(panic);
        }));
    });
}

/// What a damaged copy came to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    Told,
    Whole,
}

/// Opens a copy, and does all there is to be done with it.
fn try_out(image: &Image, expected: &[Vec<String>], of_journal: bool) -> Result<Fate, String> {
    let disk = disk_of(image);
    let db = match options(&disk).open(NAME) {
        Ok(db) => db,
        Err(error) => {
            let _ = options(&disk).read_only(true).open(NAME).map(|db| answers(&db));
            assert!(!error.to_string().contains("panic"), "{error}");
            *REFUSALS.lock().unwrap().entry(error.to_string()).or_default() += 1;
            return Ok(Fate::Refused);
        }
    };
    let verified = db.verify();
    let answers = answers(&db);
    let told = verified.as_ref().map_or(true, |found| !found.faults.is_empty());
    let notice = !db.recovery().notices.is_empty();
    let mut wrong = Vec::new();
    for ((question, answer), expected) in answers.iter().zip(expected) {
        match answer {
            Ok(rows) if rows == expected => {}
            Ok(rows) => {
                let other = rows.iter().zip(expected).find(|(a, b)| a != b);
                wrong.push(format!("{question}: {} rows, not {}; {other:?}", rows.len(), expected.len()));
            }
            Err(error) => {
                if error.to_string().contains("panic") {
                    return Err(format!("{question}: {error}"));
                }
                wrong.push(format!("{question}: {error}"));
            }
        }
    }
    // And on.
    for n in 0..20 {
        let _ = db.append(NewEvent::new("Account.deposited").on(("Account", n)).member("amount", 1));
    }
    let _ = run(&db, "CHECKPOINT");
    let _ = run(&db, "FIND Account WHERE state.balance > 100 LIMIT 3");
    let _ = db.close();
    if let Ok(db) = options(&disk).open(NAME) {
        let _ = run(&db, "EVENTS '*' LAST 3");
    }
    match (wrong.is_empty(), told) {
        (true, false) => Ok(Fate::Whole),
        (true, true) => Ok(Fate::Told),
        (false, true) => Ok(Fate::Told),
        (false, false) if of_journal && notice => Ok(Fate::Told),
        (false, false) => Err(format!("VERIFY finds nothing, and {}", wrong.join("; "))),
    }
}

fn tracing() -> bool {
    std::env::var_os("BYGONE_DAMAGE_TRACE").is_some()
}

/// Damages one copy by a number, and tries it out, in a thread of its own.
fn one(images: &Arc<[Whole; 2]>, seed: u64) -> Result<Fate, String> {
    let (tell, told) = mpsc::channel();
    let images = images.clone();
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        let mut dice = Dice::of(seed);
        let (image, expected) = &images[dice.below(2) as usize];
        let mut copy = image.clone();
        let what = damage(&mut copy, &mut dice);
        let of_journal = what.contains("-journal-");
        if tracing() {
            eprintln!("{what}");
        }
        let _ = say.send(what);
        let tried = catch_unwind(AssertUnwindSafe(|| try_out(&copy, expected, of_journal)));
        let _ = tell.send(tried.unwrap_or_else(|_| Err("a panic".to_owned())));
    });
    let ended = told.recv_timeout(LONG).unwrap_or_else(|_| Err(format!("not done after {LONG:?}")));
    let what = said.try_recv().unwrap_or_default();
    let panics = std::mem::take(&mut *TOLD.lock().unwrap_or_else(|told| told.into_inner()));
    match ended {
        Ok(fate) if panics.is_empty() => Ok(fate),
        Ok(_) => Err(format!("BYGONE_DAMAGE_SEED={seed}, {what}: panics were told: {panics:?}")),
        Err(error) => Err(format!("BYGONE_DAMAGE_SEED={seed}, {what}: {error}; {panics:?}")),
    }
}

#[test]
fn whatever_is_damaged_is_told_and_nothing_panics_or_hangs() {
    count_panics();
    let (first, count) = (number("BYGONE_DAMAGE_SEED", 1), number("BYGONE_DAMAGED_FILES", 150));
    let whole = images().map(|image| {
        let disk = disk_of(&image);
        let db = options(&disk).open(NAME).unwrap();
        assert_eq!(db.verify().unwrap().faults, Vec::<String>::new());
        let expected = answers(&db).into_iter().map(|(question, answer)| {
            let rows = answer.unwrap_or_else(|error| panic!("{question}: {error}"));
            assert!(!rows.is_empty(), "{question} has no answer");
            rows
        });
        let expected = expected.collect::<Vec<_>>();
        (image, expected)
    });
    let whole = Arc::new(whole);
    let mut fates = [0; 3];
    let mut failures = BTreeSet::new();
    for seed in first..first + count {
        if tracing() {
            // To be seen though the process is aborted.
            eprintln!("BYGONE_DAMAGE_SEED={seed}");
        }
        match one(&whole, seed) {
            Ok(fate) => fates[fate as usize] += 1,
            Err(failure) => {
                println!("{failure}");
                failures.insert(failure);
            }
        }
        if failures.len() >= 20 {
            break;
        }
    }
    let [refused, told, unhurt] = fates;
    println!("{refused} refused, {told} told, {unhurt} unhurt, {} failed", failures.len());
    for (refusal, files) in REFUSALS.lock().unwrap().iter() {
        println!("{files} times {refusal}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_wrong_byte_in_a_key_of_an_index_never_shortens_an_answer() {
    count_panics();
    let disk = MemoryDisk::new();
    let db = options(&disk).create(NAME).unwrap();
    run(&db, "DEFINE ENTITY Acc INITIAL {n: 0} ON opened MERGE").unwrap();
    for n in 100..160 {
        db.append(NewEvent::new("Acc.opened").on(("Acc", format!("acc-{n}"))).member("n", n).index("tag", n))
            .unwrap();
    }
    run(&db, "DEFINE INDEX n ON 'Acc' AS state.n").unwrap();
    assert!(db.wait_for_indexes(LONG).unwrap());
    db.close().unwrap();
    let whole = image(&disk);
    let questions = [
        "FIND Acc WHERE state.n > 130",
        "FIND Acc WHERE state.n < 128",
        "EVENTS '*' WHERE tags.tag > 130",
        "FIND Acc",
    ];
    let ask = |image: &Image| {
        let db = options(&disk_of(image)).read_only(true).open(NAME).ok()?;
        let answers: Vec<_> = questions.iter().map(|question| run(&db, question).ok()).collect();
        Some((answers, db.verify().map_or(true, |found| !found.faults.is_empty())))
    };
    let (expected, told) = ask(&whole).unwrap();
    assert!(!told && expected.iter().all(|answer| answer.as_ref().is_some_and(|rows| rows.len() > 20)));
    // The keys of index entries hold the id, and end with its length.
    let mut places = BTreeSet::new();
    for id in ["acc-131", "acc-143"] {
        let end = [id.as_bytes(), &[0, 7]].concat();
        for (at, _) in whole[0].1.windows(end.len()).enumerate().filter(|(_, bytes)| *bytes == end) {
            places.extend(at.saturating_sub(28)..at + end.len());
        }
    }
    assert!(places.len() > 40, "{}", places.len());
    let mut met = 0;
    for at in places {
        for flip in [0x01, 0x80] {
            let mut copy = whole.clone();
            copy[0].1[at] ^= flip;
            let Some((answers, told)) = ask(&copy) else { continue };
            met += u64::from(told);
            for ((question, answer), expected) in questions.iter().zip(answers).zip(&expected) {
                // Also where VERIFY tells.
                assert!(answer.is_none() || answer == *expected, "{question}, {flip:#x} at {at}: {answer:?}");
            }
        }
    }
    assert!(met > 20, "{met}");
}

/// The same by the program, so that what a person sees is seen.
#[cfg(all(unix, feature = "shell"))]
mod program {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    /// Runs the program; its exit code and what it wrote to the standard error.
    fn run(folder: &Path, arguments: &[&str]) -> Result<(i32, String), String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
        command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let errors = fs::File::create(folder.join("errors")).unwrap();
        let mut child = command.stderr(errors).spawn().unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > LONG {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it hangs".to_owned());
            }
            thread::sleep(Duration::from_millis(2));
        };
        let told = fs::read(folder.join("errors")).unwrap();
        let code = status.code().ok_or_else(|| format!("it ended by {status}"))?;
        Ok((code, String::from_utf8_lossy(&told).into_owned()))
    }

    #[test]
    fn the_program_tells_of_damage_and_never_panics() {
        // Before a database is opened, which silences some: the other tests count in this process.
        count_panics();
        let (first, count) =
            (number("BYGONE_DAMAGE_SEED", 1), number("BYGONE_DAMAGED_FILES", 150).div_ceil(15));
        let images = images();
        let mut failed = 0;
        for seed in first..first + count {
            let mut dice = Dice::of(seed);
            let mut copy = images[dice.below(2) as usize].clone();
            let what = damage(&mut copy, &mut dice);
            let folder = tempfile::tempdir().unwrap();
            for arguments in [
                ["-c", "VERIFY"],
                ["-c", "HISTORY Order 7"],
                ["-c", "FIND Account WHERE state.balance > 3000"],
                ["-c", "EVENTS '*' GROUP BY type SELECT count()"],
                ["export", ""],
                ["-c", "EMIT Order.created 1"],
            ] {
                for (name, bytes) in &copy {
                    fs::write(folder.path().join(name.trim_start_matches('/')), bytes).unwrap();
                }
                let arguments = match arguments {
                    ["export", _] => vec!["export", "shop.bygone"],
                    arguments => [["shop.bygone"].as_slice(), &arguments].concat(),
                };
                let fault = match run(folder.path(), &arguments) {
                    Ok((code, told))
                        if code == 101 || told.contains("panic") || told.contains("RUST_BACKTRACE") =>
                    {
                        format!("exit {code}: {told}")
                    }
                    Ok((0, _)) => continue,
                    Ok((_, told)) if !told.is_empty() => continue,
                    Ok((code, _)) => format!("exit {code} without a word"),
                    Err(fault) => fault,
                };
                failed += 1;
                println!("BYGONE_DAMAGE_SEED={seed}, {what}, {arguments:?}: {fault}");
            }
        }
        assert_eq!(failed, 0);
    }
}
