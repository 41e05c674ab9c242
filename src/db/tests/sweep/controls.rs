//! Each place that syncs, without its sync: some image breaks a promise, or the sync is not needed and it is said why.
//!
//! Where a sync comes from is told by the functions of the store that were being run. redb syncs twice to commit: the pages first, then
//! the header that leads to them.

use std::backtrace::Backtrace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::super::load::Plan;
use super::super::{number, report};
use super::held::Seen;
use super::images::Sweep;
use super::run::{MARK, Origin, Run};
use crate::store::disk::simulated::{Kind, Operation, Trace};

/// A note of the trace that says which place the next sync is of.
type Places = Arc<Mutex<Vec<String>>>;

/// Syncs that can be left out, and why they are there.
const REDUNDANT: &[(&str, &str)] = &[];

/// So many syncs of a place are left out, one at a time, before it is said that none is needed; so many points are tried after each.
const EACH: usize = 6;
const POINTS: usize = 24;
const SEEDS: u64 = 16;

/// The functions of the store that are being run, the innermost first.
fn functions() -> Vec<String> {
    let told = Backtrace::force_capture().to_string();
    let mut functions: Vec<String> = Vec::new();
    for line in told.lines() {
        let Some((_, name)) = line.split_once(": ") else { continue };
        let Some((_, name)) = name.split_once("bygone::store::") else { continue };
        let name = name.replace("::{{closure}}", "").replace(['<', '>'], "");
        let inner = ["disk::", "tables::handle", "tables::guard", "mutex", "crash"];
        if inner.iter().any(|inner| name.starts_with(inner)) || functions.last() == Some(&name) {
            continue;
        }
        functions.push(name);
    }
    functions
}

/// A run, and the syncs of each place: where in the trace each is.
fn syncs_of(plan: Plan, origin: Origin) -> (Run, BTreeMap<String, Vec<usize>>) {
    let places = Places::default();
    let told = places.clone();
    let run = Run::watched(plan, origin, move |disk, kind, path| {
        if !matches!(kind, Kind::Sync | Kind::SyncFolder) {
            return;
        }
        let functions = functions();
        let what = if kind == Kind::SyncFolder { "names" } else { file(path) };
        let mut places = told.lock().unwrap();
        disk.note(MARK | places.len() as u64);
        places.push(format!("{what}: {}", functions[..functions.len().min(3)].join(" < ")));
    });
    let places = places.lock().unwrap();
    let mut syncs: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let operations = run.trace.operations();
    for (at, operation) in operations.iter().enumerate() {
        let Operation::Note(note) = operation else { continue };
        if note & MARK == 0 {
            continue;
        }
        let is_sync = |operation: &Operation| {
            matches!(operation, Operation::Sync { .. } | Operation::SyncFolder { .. })
        };
        let Some(sync) = (at..operations.len()).find(|at| is_sync(&operations[*at])) else { continue };
        let place = &places[(note & !MARK) as usize];
        syncs.entry(format!("{place}{}", phase(&run.trace, sync))).or_default().push(sync);
    }
    (run, syncs)
}

fn file(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    match () {
        () if name.contains("-journal-") => "journal",
        () if name.contains("-new-") => "new file",
        () => "tables",
    }
}

/// Of a commit of redb: whether its pages are synced, or the header alone, which makes them the ones that count.
fn phase(trace: &Trace, sync: usize) -> &'static str {
    let operations = trace.operations();
    let Operation::Sync { file } = &operations[sync] else { return "" };
    let mut written = BTreeSet::new();
    for operation in operations[..sync].iter().rev() {
        match operation {
            Operation::Sync { file: other } if other == file => break,
            Operation::Write { file: other, offset, .. } if other == file => drop(written.insert(*offset)),
            _ => {}
        }
    }
    match (written.len(), written.contains(&0)) {
        (0, _) => " (nothing)",
        (1, true) => " (header)",
        _ => "",
    }
}

/// How far a sync that is left out can be missed: up to the next one of the same.
fn window(trace: &Trace, from: usize, left_out: &Operation) -> std::ops::Range<usize> {
    let next = trace.operations()[from..].iter().position(|operation| operation == left_out);
    from..(next.map_or(trace.len(), |next| from + next) + 1).min(from + POINTS)
}

/// Leaves out one sync of a place after the other until that is noticed; the fault that told.
fn is_noticed(run: &Run, syncs: &[usize]) -> Option<String> {
    let step = syncs.len().div_ceil(EACH).max(1);
    for &sync in syncs.iter().step_by(step) {
        let left_out = &run.trace.operations()[sync];
        let trace = run.trace.without(sync);
        let window = window(&trace, sync, left_out);
        let sweep = Sweep::new(u64::MAX, 1);
        sweep.walk(run, &trace, &Seen::default(), window, 0..SEEDS);
        if let Some(fault) = sweep.faults.lock().unwrap().pop() {
            return Some(fault);
        }
    }
    None
}

#[test]
fn each_sync_that_is_left_out_is_noticed() {
    let verbose = number("BYGONE_SYNCS", 0) > 0;
    let mut places: BTreeMap<String, (usize, Option<String>)> = BTreeMap::new();
    for (seed, origin) in [(1, Origin::ALL[0]), (2, Origin::ALL[2])] {
        let (run, syncs) = syncs_of(Plan::new(seed), origin);
        for (place, syncs) in syncs {
            let known = places.entry(place.clone()).or_default();
            known.0 += syncs.len();
            if known.1.is_none() {
                known.1 = is_noticed(&run, &syncs);
            }
            if verbose {
                let fault = known.1.as_deref().unwrap_or("NOT NOTICED");
                report(format_args!(
                    "{place}: {} syncs; {}",
                    known.0,
                    fault.split(" (promised").next().unwrap_or(fault)
                ));
            }
        }
    }
    let mut faults = Vec::new();
    for (place, (syncs, fault)) in &places {
        let why = REDUNDANT.iter().find(|(of, _)| place.contains(of)).map(|(_, why)| *why);
        if fault.is_none() && why.is_none() {
            faults.push(format!("{place}: none of {syncs} syncs is missed"));
        }
    }
    report(format_args!("{} places that sync", places.len()));
    assert!(places.len() > 12, "{places:#?}");
    assert!(faults.is_empty(), "{faults:#?}");
}
