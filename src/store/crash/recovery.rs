//! A crash during the recovery from a crash.

use std::sync::Mutex;

use super::held::{Expected, open, whole};
use super::script::{Run, Script};
use super::{Random, path};
use crate::entity::Position;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};

/// How many images are recovered from, and at how many points of each recovery there is another crash.
const IMAGES: u64 = 360;
const POINTS: u64 = 12;

/// Recovers from what a crash left, crashes again on the way, and holds that to the same promise.
fn recovered_twice(
    run: &Run,
    expected: &Expected,
    image: &SimulatedDisk,
    promised: Position,
    random: &mut Random,
) -> Result<u64, String> {
    let options = run.options.clone().disk(std::sync::Arc::new(image.clone()));
    let store = open(&options)?;
    // What was served once must stay.
    let served = store.snapshot().head();
    image.note(served.0);
    store.close().map_err(|e| format!("closing: {e}"))?;
    drop(store);
    let trace = image.trace();
    let mut points: Vec<_> = (0..POINTS).map(|_| random.below(trace.len() as u64 + 1) as usize).collect();
    points.sort_unstable();
    let mut crashes = trace.crashes();
    for &point in &points {
        crashes.advance_to(point);
        let promised = crashes.notes().last().map_or(promised, |note| Position(*note));
        let (fate, seed) = (Fate::ALL[random.below(4) as usize], random.next());
        whole(run, expected, &crashes.image(fate, seed), Some(promised), seed)
            .map_err(|fault| format!("then point {point}, {fate:?}, seed {seed}: {fault}"))?;
    }
    Ok(POINTS)
}

#[test]
fn a_crash_during_recovery_loses_nothing_either() {
    recovered(Script::new(11), IMAGES);
}

#[test]
fn nor_do_indexes() {
    recovered(Script { indexes: true, sessions: &[26, 18, 5], ..Script::new(23) }, IMAGES / 6);
}

fn recovered(script: Script, tried: u64) {
    let run = script.run();
    let expected = Expected::new(&run.log);
    let images = Mutex::new(0);
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (run, expected, images) = (&run, &expected, &images);
            scope.spawn(move || {
                let mut random = Random(part);
                let mut points: Vec<_> =
                    (0..tried / 2).map(|_| random.below(run.trace.len() as u64 + 1) as usize).collect();
                points.sort_unstable();
                let mut crashes = run.trace.crashes();
                for &point in &points {
                    crashes.advance_to(point);
                    let Some(note) = crashes.notes().last() else { continue };
                    let promised = run.promises[*note as usize];
                    let (fate, seed) = (Fate::ALL[random.below(4) as usize], random.next());
                    let image = crashes.image(fate, seed);
                    assert!(image.exists(path()).unwrap());
                    match recovered_twice(run, expected, &image, promised, &mut random) {
                        Ok(tried) => *images.lock().unwrap() += tried,
                        Err(fault) => {
                            panic!("point {point}, {fate:?}, seed {seed}, {fault} (script {})", script.seed)
                        }
                    }
                }
            });
        }
    });
    let images = images.into_inner().unwrap();
    super::report(format_args!("crash images in recovery: {images} (seed {})", script.seed));
    assert!(images >= tried * 8, "{images}");
}
