//! A disk that fails while everything goes on: each kind of operation, once, again and again, and for good; with and without room.
//!
//! Whoever works with the database goes on as a program would: an error is met by doing the next thing, a handle that has stopped by
//! opening again. No error claims damage, all that was acknowledged stays readable, and once the disk is well again all of it is there.

mod files;
mod real;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::load::{COPIES, Load, Plan, Promise};
use super::sweep::place_is_right;
use super::{PATH, all_events, number, report};
use crate::append::EventId;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Failure, Fate, Kind, SimulatedDisk};
use crate::{Db, Error, Event, Options, Position};

const KINDS: [Kind; 12] = [
    Kind::Open,
    Kind::Read,
    Kind::Write,
    Kind::SetLen,
    Kind::Sync,
    Kind::Create,
    Kind::Link,
    Kind::Rename,
    Kind::Remove,
    Kind::SyncFolder,
    Kind::Look,
    Kind::Lock,
];

/// What is wrong with a disk.
#[derive(Debug, Clone)]
enum Fault {
    /// The nth operation that a failure concerns, and what follows from that.
    Fails(u64, Failure),
    /// There is room for so many bytes more.
    Full(u64),
    /// Every so manieth write to a journal is answered as done, and is not. No disk may do that: this is to be noticed.
    Forgets(u64),
}

impl Fault {
    fn arm(&self, disk: &SimulatedDisk) {
        match self {
            Fault::Fails(nth, failure) => disk.faults().fail_after(*nth, failure.clone()),
            Fault::Full(room) => {
                let lens = disk.names().into_iter().map(|name| disk.open(&name).unwrap().len().unwrap());
                disk.faults().full_at(lens.sum::<u64>() + room);
            }
            Fault::Forgets(every) => {
                ["-journal-a", "-journal-b"].iter().for_each(|end| disk.faults().forget_writes(end, *every));
            }
        }
    }
}

/// Whether what was written can be read, whatever fails of such operations.
fn spares_reads(kind: Option<Kind>) -> bool {
    !matches!(kind, Some(Kind::Read | Kind::Open | Kind::Look))
}

fn plan(seed: u64) -> Plan {
    Plan { live: seed.is_multiple_of(2), sessions: &[30, 14], ..Plan::new(seed) }
}

/// What became of a load.
struct Trial {
    errors: Vec<String>,
    acknowledged: Vec<(Position, EventId)>,
    promise: Promise,
    options: Options,
    /// What would have been found after a crash, and what had been promised: at an error, and now and then where nobody was told of any.
    crashed: Vec<(SimulatedDisk, Promise, usize)>,
}

/// Whether an error says what happened, and of what: damage there was none.
fn is_clear(error: &Error) -> Result<(), String> {
    let text = error.to_string();
    let is_of_disk = [
        "simulated failure",
        "the simulated disk is full",
        // A backup or a compaction, whose reader waits for another's failure.
        "the disk of the database failed",
        "close",
        "open it again",
        "opened",
    ];
    match error {
        Error::Io { .. } | Error::Stopped { .. } | Error::Unopenable { .. }
            if is_of_disk.iter().any(|part| text.contains(part)) && !text.contains("panic") =>
        {
            Ok(())
        }
        _ => Err(format!("an error that says something else: {} ({text})", error.kind())),
    }
}

fn log(db: &Db) -> Result<Vec<Event>, String> {
    all_events(db).map_err(|e| format!("reading the log: {e}"))
}

/// What was acknowledged is where it was.
fn is_there(log: &[Event], acknowledged: &[(Position, EventId)]) -> Result<(), String> {
    let lost = acknowledged.iter().find(|(position, id)| {
        log.get(position.0 as usize - 1).is_none_or(|event| event.id != *id || event.position != *position)
    });
    match lost {
        Some((position, _)) => Err(format!("{position} was acknowledged, and is not there")),
        None => Ok(()),
    }
}

/// So many steps lie between crashes at which nothing was wrong, as far as anybody was told. What a journal has not got is missed only after
/// a crash, and only until its events are in the tables, some steps later.
const QUIET: usize = 9;

/// Works with a database in spite of a fault.
fn endure(plan: Plan, kind: Option<Kind>, fault: &Fault, disk: &SimulatedDisk) -> Result<Trial, String> {
    let mut load = plan.load(|_| {});
    load.patience = Duration::from_millis(300);
    let options = load.options(&plan, Arc::new(disk.clone()));
    let created = options.clone().create(PATH).map_err(|e| e.to_string())?;
    load.begin(&created).map_err(|e| e.to_string())?;
    let mut db = Some(created);
    let (mut errors, mut crashed, mut told, mut refused) = (Vec::new(), Vec::new(), 0, 0);
    fault.arm(disk);
    let steps: usize = plan.sessions.iter().sum();
    // A disk that lies is looked at after each step, so that few loads are enough.
    let quiet = if matches!(fault, Fault::Forgets(_)) { 1 } else { QUIET };
    for step in 0..steps {
        let Some(open) = &db else {
            match options.clone().open(PATH) {
                Ok(opened) => db = Some(opened),
                Err(error) => {
                    is_clear(&error)?;
                    errors.push(format!("step {step}, opening: {error}"));
                    refused += 1;
                    if refused > 3 {
                        break;
                    }
                }
            }
            continue;
        };
        refused = 0;
        let mut stop = step == plan.sessions[0];
        if let Err(error) = load.step(open, Path::new(PATH)) {
            is_clear(&error).map_err(|e| format!("step {step}: {e}; before: {errors:?}"))?;
            errors.push(format!("step {step}: {error}"));
            if spares_reads(kind) {
                let log = log(open).map_err(|e| format!("step {step}: {e}; before: {errors:?}"))?;
                is_there(&log, &load.acknowledged).map_err(|e| format!("step {step}: {e}"))?;
            }
            if told < 3 {
                told += 1;
                let fate = Fate::ALL[(step + told) % Fate::ALL.len()];
                crashed.push((disk.crash(fate, step as u64), load.promise, load.acknowledged.len()));
            }
            stop |= error.kind() == "stopped";
        } else if (step + plan.seed as usize).is_multiple_of(quiet) {
            crashed.push((disk.crash(Fate::LoseAll, 0), load.promise, load.acknowledged.len()));
        }
        if stop
            && let Some(open) = db.take()
            && let Err(error) = open.close()
        {
            is_clear(&error)?;
            errors.push(format!("step {step}, closing: {error}"));
        }
    }
    let _ = db.map(|db| db.close());
    let Load { acknowledged, promise, .. } = load;
    Ok(Trial { errors, acknowledged, promise, options, crashed })
}

/// Everything that was promised is there, and everything that follows from the log is right.
fn holds(
    disk: &SimulatedDisk,
    options: &Options,
    promise: &Promise,
    acknowledged: &[(Position, EventId)],
) -> Result<(), String> {
    let failed = |what: &'static str| move |error: Error| format!("{what}: {error}");
    let options = || options.clone().disk(Arc::new(disk.clone()));
    let db = options().live(false).open(PATH).map_err(failed("opening"))?;
    let log = log(&db)?;
    is_there(&log, acknowledged)?;
    if (log.len() as u64) < promise.head.0 {
        return Err(format!("the log ends at {}, of {}", log.len(), promise.head));
    }
    place_is_right(&db, promise)?;
    for (name, promised) in COPIES.into_iter().zip(promise.copies) {
        let path = Path::new(PATH).with_file_name(name);
        if disk.exists(&path).map_err(|e| e.to_string())? {
            let copy =
                options().live(false).read_only(true).open(&path).map_err(failed("opening a backup"))?;
            verified(&copy, name)?;
            if copy.head() < promised.unwrap_or(Position::START) {
                return Err(format!("the backup {name} ends at {}, of {promised:?}", copy.head()));
            }
        } else if promised.is_some() {
            return Err(format!("the backup {name} is gone"));
        }
    }
    verified(&db, "as it is")?;
    db.wait_for_indexes(super::PATIENCE).map_err(failed("keeping what is defined"))?;
    verified(&db, "with all that is kept")?;
    db.close().map_err(failed("closing"))
}

pub(super) fn verified(db: &Db, what: &str) -> Result<(), String> {
    let found = db.verify().map_err(|e| format!("verifying {what}: {e}"))?;
    if found.faults.is_empty() { Ok(()) } else { Err(format!("{what}: {:?}", found.faults)) }
}

/// One effect for each event that has one, once all is idle.
pub(super) fn effects_are_single(options: &Options, path: &Path) -> Result<(), String> {
    let db = options.clone().live(true).open(path).map_err(|e| format!("opening live: {e}"))?;
    super::wait_until("all to be idle", || db.is_idle().unwrap());
    // What failed with the disk is set aside, and done once somebody asks for it.
    for reaction in ["thank", "remind"] {
        super::run(&db, &format!("RETRY REACTION {reaction}"));
    }
    super::wait_until("all to be idle again", || db.is_idle().unwrap());
    verified(&db, "once all is idle")?;
    let log = log(&db)?;
    let mut thanked: BTreeMap<u64, usize> = BTreeMap::new();
    for event in log.iter().filter(|event| event.kind.as_str() == "Bill.thanked") {
        let Some(crate::append::Cause::Event(cause)) = &event.cause else { continue };
        *thanked.entry(cause.0).or_default() += 1;
    }
    for paid in log.iter().filter(|event| event.kind.as_str() == "Bill.paid") {
        let effects = thanked.get(&paid.position.0).copied().unwrap_or(0);
        if effects != 1 {
            return Err(format!("{effects} effects of {}", paid.position));
        }
    }
    db.close().map_err(|e| format!("closing: {e}"))
}

/// Whether anybody was told of the fault.
fn survives(plan: Plan, kind: Option<Kind>, fault: &Fault) -> Result<bool, String> {
    let disk = SimulatedDisk::new();
    let Trial { errors, acknowledged, promise, options, crashed } = endure(plan, kind, fault, &disk)?;
    let told = |fault: String| format!("{fault}; told before: {errors:?}");
    for (image, promise, count) in crashed {
        holds(&image, &options, &promise, &acknowledged[..count])
            .map_err(|e| told(format!("after a crash: {e}")))?;
    }
    disk.faults().clear();
    holds(&disk, &options, &promise, &acknowledged).map_err(told)?;
    effects_are_single(&options, Path::new(PATH)).map_err(told)?;
    Ok(!errors.is_empty())
}

fn all_survive(name: &str, faults: &[(Option<Kind>, Fault)], least: usize) {
    let (told, turn) = (AtomicUsize::new(0), AtomicU64::new(0));
    let broken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let nth = turn.fetch_add(1, Ordering::Relaxed);
                    let Some((kind, fault)) = faults.get(nth as usize) else { return };
                    // What follows from what goes wrong is not to depend on what is done: each has a load of its own.
                    match survives(plan(nth + 1), *kind, fault) {
                        Ok(was_told) => drop(told.fetch_add(usize::from(was_told), Ordering::Relaxed)),
                        Err(error) => {
                            broken.lock().unwrap().push(format!("seed {}, {fault:?}: {error}", nth + 1))
                        }
                    }
                }
            });
        }
    });
    let (broken, told) = (broken.into_inner().unwrap(), told.into_inner());
    report(format_args!(
        "{name}: {} faults, {told} of them told, {} broke something",
        faults.len(),
        broken.len()
    ));
    assert!(broken.is_empty(), "{} of {}: {:#?}", broken.len(), faults.len(), &broken[..broken.len().min(4)]);
    assert!(told >= least, "only {told} of {} were told to anybody", faults.len());
}

/// How often a load does something of a kind, once it has begun.
fn operations() -> BTreeMap<String, u64> {
    let disk = SimulatedDisk::new();
    let counts = Arc::<Mutex<BTreeMap<String, u64>>>::default();
    let counted = counts.clone();
    disk.on_operation(move |kind, _| *counted.lock().unwrap().entry(format!("{kind:?}")).or_default() += 1);
    endure(plan(2), None, &Fault::Full(1 << 40), &disk).unwrap();
    counts.lock().unwrap().clone()
}

/// So many faults of a kind, spread over all that there are.
fn spread(all: u64, most: u64) -> impl Iterator<Item = u64> {
    let step = all.div_ceil(most.max(1)).max(1);
    (1..=all).step_by(step as usize)
}

/// `BYGONE_FAULTS` says how many of each kind.
fn most(otherwise: u64) -> u64 {
    number("BYGONE_FAULTS", otherwise)
}

#[test]
fn any_operation_of_any_kind_may_fail_once() {
    let counts = operations();
    let mut faults = Vec::new();
    for kind in KINDS {
        // How often it is looked and locked is not counted.
        let all = counts.get(&format!("{kind:?}")).copied().unwrap_or(200);
        faults.extend(spread(all, most(6)).map(|nth| (Some(kind), Fault::Fails(nth, Failure::of(kind)))));
    }
    let least = faults.len() / 3;
    all_survive("a failure of each kind", &faults, least);
}

#[test]
fn every_so_manieth_operation_of_any_kind_may_fail() {
    let mut faults = Vec::new();
    for kind in KINDS {
        let some = [1, 2, 5, 17].into_iter().take(if most(0) > 0 { 4 } else { 3 });
        faults.extend(some.map(|nth| (Some(kind), Fault::Fails(nth, Failure::of(kind).each(nth)))));
    }
    let least = faults.len() / 2;
    all_survive("failures again and again", &faults, least);
}

#[test]
fn any_write_may_be_short_or_have_no_room() {
    let all = operations()["Write"];
    let mut faults = Vec::new();
    for nth in spread(all, most(14)) {
        let full = Failure::of(Kind::Write).with(ErrorKind::StorageFull);
        faults.push((None, Fault::Fails(nth, full.clone().partly())));
        faults.push((None, Fault::Fails(nth, full)));
    }
    for room in spread(1 << 20, most(14)) {
        faults.push((None, Fault::Full(room)));
    }
    let least = faults.len() / 3;
    all_survive("short writes and no room", &faults, least);
}

/// A database whose folder could not be synced is there, and its name may yet be lost: what it acknowledges is durable with its name.
#[test]
fn a_database_is_durable_with_its_name() {
    let disk = SimulatedDisk::new();
    disk.faults().fail_after(1, Failure::of(Kind::SyncFolder));
    let options = || Options::new().disk(Arc::new(disk.clone()));
    options().create(PATH).unwrap_err();
    let db = options().open(PATH).unwrap();
    let event = db.append(super::paid(1)).unwrap();
    let image = disk.crash(Fate::LoseAll, 0);
    let db = Options::new().disk(Arc::new(image)).open(PATH).unwrap();
    assert_eq!(db.event(Position(1)).unwrap(), Some(event));
}

/// A file system that turns read-only under a database, as one does whose disk fails.
#[test]
fn media_may_become_read_only() {
    let read_only = || Failure::any().with(ErrorKind::ReadOnlyFilesystem).forever();
    let faults: Vec<_> =
        spread(operations()["Write"], most(6)).map(|nth| (None, Fault::Fails(nth, read_only()))).collect();
    all_survive("read-only media", &faults, faults.len() / 2);
}

/// A frame that the journal says it has and has not is missed only after a crash while its events are nowhere else.
#[test]
fn a_journal_that_forgets_some_of_its_writes_is_noticed() {
    // Those that run live come by more than forty writes.
    let noticed = (2..=80).step_by(2).find_map(|seed| survives(plan(seed), None, &Fault::Forgets(40)).err());
    report(format_args!(
        "control: {}",
        noticed.expect("every 40th write to a journal is forgotten: not noticed")
    ));
}
