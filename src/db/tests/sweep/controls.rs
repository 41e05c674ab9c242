//! Each place that syncs, without its sync: some image breaks a promise, or the sync is not needed and it is said why.
//!
//! Where a sync comes from is told by the functions of the store that were being run. redb syncs twice to commit: the pages first, then
//! the header that leads to them. A file that is being made, for a new database, a backup or a compaction, is synced with each of redb's
//! commits and again as it is closed: of those only the last before it gets its name counts, so they are left out together.

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

/// Syncs that can be left out: by functions that lead to them, and how their place ends; and why they are there.
const REDUNDANT: &[(&[&str], &str, &str)] = &[
    (
        &["Journal::grow", "Journal::fill_ahead", "Log::maintain", "threads::attendant"],
        "",
        "the sync of a frame makes the zeros before it durable, too; it is done ahead, so that those syncs are short, and that there is \
         room is known before a frame needs it",
    ),
    (
        &["Journal::remove", "Log::close", "segment::remove", "put_away"],
        "",
        "segments that come back after a crash are known by their salt as taken in, and removed; it is done so that a database that is \
         closed is one file whatever happens then",
    ),
    (
        &["Tables::close", "TablesAlone::replace"],
        HEADER,
        "redb says at last that the file is closed; where it does not say so, it goes through it as it is opened",
    ),
    (
        &["open_or_make", "Tables::open", "TablesAlone::replace"],
        HEADER,
        "redb says in its header that the file is open; what it writes next goes where nothing is, and is synced with that header",
    ),
    (
        &["names: backup::Target::grow"],
        "",
        "whoever made the file made its name durable, unless that failed and was told: `a_backup_that_grows_is_durable_with_its_name` \
         holds that one",
    ),
    (
        &[""],
        NOTHING,
        "nothing was written to that file since it was synced: redb does so as it is closed, and two threads may",
    ),
];

/// So many syncs of a place are left out, one at a time, before it is said that none is needed; so many points are tried after each.
const EACH: usize = 6;
/// Of a place of which it is known that none is.
const EACH_REDUNDANT: usize = 1;
/// A place where redb commits that was come by so seldom is not judged: what is lost then may be made again.
const SELDOM: usize = 5;
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
        // Whatever keeps up what is defined writes what can be made again: one place.
        let name = if name.starts_with("materialize::") { "materialize".to_owned() } else { name };
        let inner = ["disk::", "tables::handle", "tables::guard", "tables::block", "mutex", "crash"];
        // What grows the file within a write is a part of that write.
        let is_within = name.contains("WriteTables") || inner.iter().any(|inner| name.starts_with(inner));
        if is_within || functions.last() == Some(&name) {
            continue;
        }
        functions.push(name);
    }
    functions
}

/// A run, and the syncs of each place: where in the trace each is.
fn syncs_of(plan: Plan, origin: Origin) -> (Run, BTreeMap<String, Vec<Vec<usize>>>) {
    let places = Places::default();
    let told = places.clone();
    let run = Run::watched(plan, origin, move |disk, kind, path| {
        if !matches!(kind, Kind::Sync | Kind::SyncFolder) {
            return;
        }
        let functions = functions();
        let what = if kind == Kind::SyncFolder { "names" } else { file(path) };
        let mut place = format!("{what}: {}", functions[..functions.len().min(3)].join(" < "));
        if what == NEW {
            let making = ["create", "backup", "compact"].into_iter().find(|making| {
                functions.iter().any(|function| {
                    function.starts_with(&format!("{making}::")) || function.ends_with(making)
                })
            });
            place = format!("{NEW}: {}", making.unwrap_or("?"));
        }
        let mut places = told.lock().unwrap();
        disk.note(MARK | places.len() as u64);
        places.push(place);
    });
    let places = places.lock().unwrap();
    let mut syncs: BTreeMap<String, Vec<Vec<usize>>> = BTreeMap::new();
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
        if place.starts_with(NEW) {
            let of_place = syncs.entry(place.clone()).or_default();
            // Those of one file together.
            match of_place
                .iter_mut()
                .find(|others: &&mut Vec<usize>| operations[others[0]] == operations[sync])
            {
                Some(others) => others.push(sync),
                None => of_place.push(vec![sync]),
            }
        } else {
            syncs.entry(format!("{place}{}", phase(&run.trace, sync))).or_default().push(vec![sync]);
        }
    }
    (run, syncs)
}

const NOTHING: &str = " (nothing)";
const HEADER: &str = " (header)";

/// A file that is being made.
const NEW: &str = "new file";
const TABLES: &str = "tables";

fn file(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    match () {
        () if name.contains("-journal-") => "journal",
        () if name.contains("-new-") => NEW,
        () => TABLES,
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
            Operation::SetLen { file: other, .. } if other == file => drop(written.insert(u64::MAX)),
            _ => {}
        }
    }
    match (written.len(), written.contains(&0)) {
        (0, _) => NOTHING,
        (1, true) => HEADER,
        _ => "",
    }
}

/// Points at which syncs that are left out can be missed: from the last of them up to the next one of the same.
fn points(trace: &Trace, from: usize, left_out: &Operation) -> Vec<usize> {
    let next = trace.operations()[from..].iter().position(|operation| operation == left_out);
    let end = next.map_or(trace.len(), |next| from + next);
    (from..=end).step_by((end - from).div_ceil(POINTS).max(1)).collect()
}

/// Leaves out one sync of a place after the other until that is noticed; the fault that told.
fn is_noticed(run: &Run, syncs: &[Vec<usize>], each: usize) -> Option<String> {
    let step = syncs.len().div_ceil(each).max(1);
    for left_out in syncs.iter().step_by(step) {
        let trace = run.trace.without(left_out);
        let last = left_out[left_out.len() - 1];
        let points = points(&trace, last + 1 - left_out.len(), &run.trace.operations()[last]);
        let sweep = Sweep::new(u64::MAX, 1);
        sweep.walk(run, &trace, &Seen::default(), &points, 0..SEEDS);
        if let Some(fault) = sweep.faults.lock().unwrap().pop() {
            return Some(fault);
        }
    }
    None
}

/// Why the syncs of a place can be left out, if it is known.
fn why_redundant(place: &str) -> Option<&'static str> {
    let known =
        REDUNDANT.iter().find(|(of, end, _)| place.ends_with(end) && of.iter().any(|of| place.contains(of)));
    known.map(|(.., why)| *why)
}

#[test]
fn each_sync_that_is_left_out_is_noticed() {
    let verbose = number("BYGONE_SYNCS", 0) > 0;
    let mut places: BTreeMap<String, (usize, Option<String>)> = BTreeMap::new();
    for (seed, origin) in [(1, Origin::ALL[0]), (2, Origin::ALL[2])] {
        let plan = Plan { sessions: &[34, 16, 0, 6], ..Plan::new(seed) };
        let (run, syncs) = syncs_of(plan, origin);
        for (place, syncs) in syncs {
            let known = places.entry(place.clone()).or_default();
            known.0 += syncs.len();
            if known.1.is_none() && !place.ends_with(NOTHING) {
                let each = if why_redundant(&place).is_some() { EACH_REDUNDANT } else { EACH };
                known.1 = is_noticed(&run, &syncs, each);
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
        let is_judged = !place.starts_with(TABLES) || *syncs >= SELDOM;
        if fault.is_none() && why_redundant(place).is_none() && is_judged {
            faults.push(format!("{place}: none of {syncs} syncs is missed"));
        }
    }
    report(format_args!("{} places that sync", places.len()));
    assert!(places.len() > 10, "{places:#?}");
    assert!(faults.is_empty(), "{faults:#?}");
}
