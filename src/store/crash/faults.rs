//! Every operation of the disk failing in turn, and every sync losing what it was to keep.
//!
//! Whoever appends goes on as a program would: an error is met by trying again, a handle that has stopped by opening again.
//! What was acknowledged must be there in the end, and after a crash at any moment on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::held::{Expected, open, rows};
use super::{Random, path, tiny};
use crate::entity::Position;
use crate::event::{NewEvent, codec};
use crate::store::append_request::AppendRequest;
use crate::store::disk::simulated::{Dropped, Failure, Fate, Kind, SimulatedDisk};
use crate::store::snapshot::ScanDirection;
use crate::store::{Options, Store};

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The n-th operation fails, once.
    Once(u64),
    /// So many operations in a row fail.
    Series(u64),
    /// The n-th sync of such files fails and drops what it was to make durable.
    Dropping(&'static str, u64, Dropped),
}

const GROUPS: u64 = 26;

struct Trial {
    disk: SimulatedDisk,
    options: Options,
    /// What was acknowledged, in order; each note of the trace is the number of these by then.
    acknowledged: Vec<(Position, Arc<[u8]>)>,
    errors: Vec<String>,
    /// Whether the fault has come up.
    struck: bool,
}

impl Fault {
    fn arm(self, disk: &SimulatedDisk) {
        match self {
            Fault::Once(n) => disk.faults().fail_after(n, Failure::any()),
            Fault::Series(n) => (0..5).for_each(|i| disk.faults().fail_after(n + i, Failure::any())),
            Fault::Dropping(suffix, n, shows) => {
                let (count, faults) = (AtomicU64::new(0), disk.faults());
                disk.on_operation(move |kind, path: &Path| {
                    if kind == Kind::Sync
                        && path.to_string_lossy().ends_with(suffix)
                        && count.fetch_add(1, Ordering::Relaxed) + 1 == n
                    {
                        faults.fail_sync_dropping_pages(suffix, shows);
                    }
                });
            }
        }
    }
}

fn group(n: u64) -> AppendRequest {
    let size = if n.is_multiple_of(4) { 3 } else { 1 };
    let event = |_| {
        let text = "x".repeat((n * 37 % 500) as usize);
        NewEvent::new("Order.paid").on(("Order", n % 3)).member("group", n).member("text", text)
    };
    AppendRequest { events: (0..size).map(event).collect(), ..AppendRequest::default() }
}

/// Appends everything in spite of the fault.
fn endure(fault: Fault) -> Result<Trial, String> {
    let disk = SimulatedDisk::new();
    let options = tiny(&disk);
    let mut store = Some(Store::create(path(), options.clone()).map_err(|e| e.to_string())?);
    disk.note(0);
    let mut trial = Trial { disk, options, acknowledged: Vec::new(), errors: Vec::new(), struck: false };
    fault.arm(&trial.disk);
    for n in 0..GROUPS {
        let mut patience = 0..800;
        loop {
            let attempt = match &store {
                Some(store) => store.append(group(n)),
                None => match Store::open(path(), trial.options.clone()) {
                    Ok(opened) => {
                        store = Some(opened);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match attempt {
                Ok(outcome) => {
                    trial.acknowledged.extend(outcome.events);
                    trial.disk.note(trial.acknowledged.len() as u64);
                    break;
                }
                Err(error) => {
                    trial.struck = true;
                    reads_go_on(store.as_ref(), &trial)?;
                    trial.errors.push(error.to_string());
                    if patience.next().is_none() {
                        return Err(format!("group {n} is never taken: {:?}", trial.errors));
                    }
                    if error.kind() == "stopped" && store.take().is_some_and(|store| store.close().is_err()) {
                        trial.errors.push("closing failed too".to_owned());
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
    if let Some(store) = store {
        trial.struck |= store.close().is_err();
    }
    Ok(trial)
}

/// What was acknowledged stays readable, whatever failed.
fn reads_go_on(store: Option<&Store>, trial: &Trial) -> Result<(), String> {
    let Some(store) = store else { return Ok(()) };
    let log = rows(&store.snapshot(), ScanDirection::Ascending)
        .map_err(|e| format!("reading after {:?}: {e}", trial.errors))?;
    are_there(&log, &trial.acknowledged)
}

fn are_there(log: &[Arc<[u8]>], acknowledged: &[(Position, Arc<[u8]>)]) -> Result<(), String> {
    for (position, bytes) in acknowledged {
        if log.get(position.0 as usize - 1) != Some(bytes) {
            return Err(format!(
                "{position} was acknowledged, and is not there (the log ends at #{})",
                log.len()
            ));
        }
    }
    Ok(())
}

/// Opens the disk and holds it to what was acknowledged.
fn holds(
    disk: &SimulatedDisk,
    options: &Options,
    acknowledged: &[(Position, Arc<[u8]>)],
) -> Result<(), String> {
    let store = open(&options.clone().disk(Arc::new(disk.clone())))?;
    let log = rows(&store.snapshot(), ScanDirection::Ascending)?;
    are_there(&log, acknowledged)?;
    // Versions are dense, and the tables fit the log.
    let expected = Expected::new(&log);
    super::held::tables_are_right(&store, &expected, Position(log.len() as u64))?;
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    for (position, bytes) in (1..).zip(&log) {
        let event = codec::decode(Position(position), bytes.clone()).map_err(|e| e.to_string())?;
        let Some(crate::value::Value::Int(n)) = event.data.get("group") else {
            return Err("no group".to_owned());
        };
        *sizes.entry(n as u64).or_default() += 1;
    }
    // A group whose answer was an error may be there all the same, and then again.
    let torn = sizes.iter().find(|(n, size)| n.is_multiple_of(4) && !size.is_multiple_of(3));
    torn.map_or(Ok(()), |(n, size)| Err(format!("{size} events of group {n}, which has 3")))
}

fn survives(fault: Fault, random: &mut Random) -> Result<bool, String> {
    let trial = endure(fault)?;
    let trace = trial.disk.trace();
    let mut points: Vec<_> = (0..5).map(|_| random.below(trace.len() as u64 + 1) as usize).collect();
    points.sort_unstable();
    let mut crashes = trace.crashes();
    for point in points {
        crashes.advance_to(point);
        let Some(&note) = crashes.notes().last() else { continue };
        let (fate, seed) = (Fate::ALL[random.below(4) as usize], random.next());
        holds(&crashes.image(fate, seed), &trial.options, &trial.acknowledged[..note as usize]).map_err(
            |e| format!("{e}; after a crash at {point}, {fate:?}, seed {seed}; {:?}", trial.errors),
        )?;
    }
    let struck = trial.struck;
    trial.disk.faults().clear();
    trial.disk.on_operation(|_, _| {});
    holds(&trial.disk, &trial.options, &trial.acknowledged)
        .map_err(|e| format!("{e}; {:?}", trial.errors))?;
    Ok(struck)
}

fn all_survive(name: &str, faults: Vec<Fault>) {
    let struck = AtomicU64::new(0);
    let broken = std::sync::Mutex::new(Vec::new());
    let turn = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(&fault) = faults.get(turn.fetch_add(1, Ordering::Relaxed) as usize) {
                    match survives(fault, &mut Random(7)) {
                        Ok(one) => drop(struck.fetch_add(u64::from(one), Ordering::Relaxed)),
                        Err(error) => broken.lock().unwrap().push(format!("{fault:?}: {error}")),
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(
        broken.is_empty(),
        "{name}: {} of {}, such as {:#?}",
        broken.len(),
        faults.len(),
        &broken[..broken.len().min(4)]
    );
    super::report(format_args!(
        "{name}: {} faults, {} of them noticed by who appended",
        faults.len(),
        struck.into_inner()
    ));
}

#[test]
fn any_operation_may_fail_once() {
    all_survive("one failure", (1..300).map(Fault::Once).collect());
}

#[test]
fn operations_may_fail_in_a_row() {
    all_survive("failures in a row", (1..300).step_by(3).map(Fault::Series).collect());
}

#[test]
fn any_sync_may_fail_and_drop_its_pages() {
    let mut faults = Vec::new();
    for shows in [Dropped::ShowsOld, Dropped::ShowsNew] {
        for suffix in ["-a", "-b", "shop.bygone"] {
            faults.extend((1..24).map(|n| Fault::Dropping(suffix, n, shows)));
        }
    }
    all_survive("dropped pages", faults);
}
