//! Every point at which a run can crash, every fate of what was not synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::held::{Expected, open, states_are_right, whole};
use super::path;
use super::script::{Run, Script};
use crate::store::Durability;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, Operation};
use crate::store::journal::Side;

const THREADS: usize = 2;

/// Tries every point of a run, and says how many images there were and which of them broke a promise.
pub(super) fn try_all(run: &Run, seeds: std::ops::Range<u64>, give_up: usize) -> (u64, Vec<String>) {
    let expected = Expected::new(&run.log);
    let (images, broken) = (AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
    let turn = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut crashes = run.trace.crashes();
                loop {
                    let point = turn.fetch_add(1, Ordering::Relaxed);
                    if !crashes.advance_to(point) {
                        break;
                    }
                    let before = point.checked_sub(1).map(|before| &run.trace.operations()[before]);
                    let promised = crashes.notes().last().map(|note| run.promises[*note as usize]);
                    for (fate, seed) in fates(before, seeds.clone()) {
                        let image = crashes.image(fate, seed);
                        images.fetch_add(1, Ordering::Relaxed);
                        let held = whole(run, &expected, &image, promised, point as u64 + seed);
                        if let Err(fault) = held {
                            let mut broken = broken.lock().unwrap();
                            broken.push(format!("point {point}, {fate:?}, seed {seed}: {fault}"));
                            if broken.len() >= give_up {
                                return;
                            }
                        }
                    }
                    if point == run.trace.len() || broken.lock().unwrap().len() >= give_up {
                        break;
                    }
                }
            });
        }
    });
    (images.into_inner(), broken.into_inner().unwrap())
}

/// What is lost when all is lost changes only with a sync; chance is asked once for each seed.
fn fates(before: Option<&Operation>, seeds: std::ops::Range<u64>) -> Vec<(Fate, u64)> {
    let mut fates = vec![(Fate::KeepAll, 0)];
    if matches!(before, Some(Operation::Sync { .. } | Operation::SyncFolder { .. } | Operation::Note(_))) {
        fates.push((Fate::LoseAll, 0));
    }
    for seed in seeds {
        fates.extend([(Fate::Reorder, seed), (Fate::Tear, seed)]);
    }
    fates
}

fn all_hold(name: &str, script: Script, seeds: std::ops::Range<u64>) -> u64 {
    let started = Instant::now();
    let run = script.run();
    let (images, broken) = try_all(&run, seeds, 5);
    assert!(broken.is_empty(), "{name}, script {script:?}: {broken:#?}");
    super::report(format_args!(
        "{name}: {images} images of {} events and {} points (seed {}) in {:.1?}",
        run.log.len(),
        run.trace.len(),
        script.seed,
        started.elapsed()
    ));
    images
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_any_point() {
    let mut images = 0;
    for seed in 1..=5 {
        images += all_hold("durable at once", Script::new(seed), 0..3);
    }
    let lazy = Durability::Interval(Duration::from_secs(3600));
    for seed in 6..=7 {
        let script = Script { durability: lazy, ..Script::new(seed) };
        images += all_hold("durable at intervals", script, 0..3);
    }
    super::report(format_args!("crash images: {images} (seed 1)"));
    assert!(images >= 20_000, "{images}");
}

#[test]
fn indexes_survive_a_crash_at_any_point() {
    let mut images = 0;
    for seed in 21..=22 {
        let script = Script { indexes: true, sessions: &[26, 18, 5], ..Script::new(seed) };
        images += all_hold("with indexes", script, 0..2);
    }
    let lazy = Durability::Interval(Duration::from_secs(3600));
    let script = Script { indexes: true, durability: lazy, sessions: &[26, 18, 5], ..Script::new(24) };
    images += all_hold("with indexes, at intervals", script, 0..2);
    super::report(format_args!("crash images with indexes: {images} (seed 21)"));
    assert!(images >= 3_000, "{images}");
}

#[test]
fn states_survive_a_crash_at_any_point() {
    let mut images = 0;
    for seed in 31..=32 {
        let script = Script { models: true, sessions: &[26, 18, 5], ..Script::new(seed) };
        images += all_hold("with states", script, 0..2);
    }
    let lazy = Durability::Interval(Duration::from_secs(3600));
    let script = Script { models: true, durability: lazy, sessions: &[26, 18, 5], ..Script::new(34) };
    images += all_hold("with states, at intervals", script, 0..2);
    super::report(format_args!("crash images with states: {images} (seed 31)"));
    assert!(images >= 3_000, "{images}");
}

/// Without the journal the log ends at C, and what is kept must not tell of anything behind it.
#[test]
fn states_tell_of_nothing_that_was_lost_with_the_journal() {
    let mut images = 0;
    for seed in 31..=33 {
        let run = Script { models: true, sessions: &[26, 18, 5], ..Script::new(seed) }.run();
        let mut crashes = run.trace.crashes();
        for point in (0..run.trace.len()).step_by(2) {
            crashes.advance_to(point);
            if crashes.notes().is_empty() {
                continue;
            }
            let image = crashes.image(Fate::KeepAll, 0);
            for side in Side::BOTH {
                // There may be none.
                let _ = image.remove(&side.path(path()));
            }
            let options = run.options.clone().disk(Arc::new(image)).accept_lost_journal(true);
            let held = open(&options).and_then(|store| states_are_right(&store, point as u64));
            held.unwrap_or_else(|fault| panic!("seed {seed}, point {point}: {fault}"));
            images += 1;
        }
    }
    super::report(format_args!("crash images without their journal: {images} (seed 31)"));
    assert!(images >= 500, "{images}");
}
