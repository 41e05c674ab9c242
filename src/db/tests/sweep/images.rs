//! What crashes leave, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::load::{Plan, Promise};
use super::super::{number, report};
use super::held::{Look, Seen, whole};
use super::run::{Origin, Run, promised};
use crate::Position;
use crate::maintain::Durability;
use crate::store::disk::Disk;
use crate::store::disk::simulated::random::Random;
use crate::store::disk::simulated::{Fate, Operation, SimulatedDisk, Trace};

const THREADS: usize = 2;

/// How often a run says how far it is.
const MINUTE: Duration = Duration::from_secs(60);

/// So many images of a run are recovered from with another crash on the way: one of this many; and so many crashes each.
const AGAIN: u64 = 40;
const CRASHES: u64 = 6;

/// So many runs a sweep has at least, of each sort one; and so many images are taken at a point, about.
const RUNS: u64 = 8;
const IMAGES: u64 = 6;

/// How far a sweep is.
pub(super) struct Sweep {
    most: u64,
    began: Instant,
    images: AtomicU64,
    checked: AtomicU64,
    /// Of those: taken within a recovery.
    again: AtomicU64,
    points: AtomicU64,
    pub faults: Mutex<Vec<String>>,
    /// How many faults are enough.
    enough: usize,
}

impl Sweep {
    pub fn new(most: u64, enough: usize) -> Sweep {
        let zero = || AtomicU64::new(0);
        let (images, checked, again, points) = (zero(), zero(), zero(), zero());
        Sweep {
            most,
            began: Instant::now(),
            images,
            checked,
            again,
            points,
            faults: Mutex::default(),
            enough,
        }
    }

    fn is_over(&self) -> bool {
        self.images.load(Ordering::Relaxed) >= self.most || self.faults.lock().unwrap().len() >= self.enough
    }

    /// How many images there were, and how many of them were not as one before.
    pub fn counts(&self) -> (u64, u64) {
        (self.images.load(Ordering::Relaxed), self.checked.load(Ordering::Relaxed))
    }

    fn tell(&self) {
        let ((images, checked), seconds) = (self.counts(), self.began.elapsed().as_secs_f64());
        report(format_args!(
            "crash sweep: {images} images of {} points ({} within recoveries), {checked} distinct, {:.0} s, {:.0} images/s, {} faults",
            self.points.load(Ordering::Relaxed),
            self.again.load(Ordering::Relaxed),
            seconds,
            images as f64 / seconds,
            self.faults.lock().unwrap().len(),
        ));
    }

    /// Says each minute how far it is, while something is done.
    fn telling<T>(&self, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let teller = scope.spawn(|| {
                let mut told = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    thread::park_timeout(Duration::from_millis(500));
                    if told.elapsed() > MINUTE {
                        told = Instant::now();
                        self.tell();
                    }
                }
            });
            // Whoever tells ends with it, in a panic too.
            let done = catch_unwind(AssertUnwindSafe(work));
            over.store(true, Ordering::Relaxed);
            teller.thread().unpark();
            done.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Tries points of a run, in order, each with each fate. Where points are left out, all may be lost at each.
    pub fn walk(&self, run: &Run, trace: &Trace, seen: &Seen, points: &[usize], seeds: std::ops::Range<u64>) {
        let turn = AtomicUsize::new(0);
        let is_sampled = points.len() <= trace.len();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut crashes = trace.crashes();
                    while let Some(&point) = points.get(turn.fetch_add(1, Ordering::Relaxed)) {
                        if self.is_over() || !crashes.advance_to(point) {
                            return;
                        }
                        self.points.fetch_add(1, Ordering::Relaxed);
                        let before = point.checked_sub(1).map(|before| &trace.operations()[before]);
                        let promised = promised(&run.promises, crashes.notes());
                        for (fate, seed) in fates(before, is_sampled, seeds.clone()) {
                            let image = crashes.image(fate, seed);
                            let what = || format!("{:?}, point {point}, {fate:?}, seed {seed}", run.plan);
                            self.look(run, seen, image, promised, &what);
                        }
                    }
                });
            }
        });
    }

    /// Looks at an image, unless there was one like it.
    fn look(
        &self,
        run: &Run,
        seen: &Seen,
        image: SimulatedDisk,
        promised: Option<Promise>,
        what: &dyn Fn() -> String,
    ) {
        let nth = self.images.fetch_add(1, Ordering::Relaxed);
        if !seen.is_new_image(&image, promised) {
            return;
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        let found = image.crash(Fate::KeepAll, 0);
        if self.holds(run, seen, &image, promised, Look(nth), &found, what) && nth.is_multiple_of(AGAIN) {
            self.crash_again(run, seen, &image, promised, nth, what);
        }
    }

    #[allow(clippy::too_many_arguments)] // what is looked at, by what, and how it is called
    fn holds(
        &self,
        run: &Run,
        seen: &Seen,
        image: &SimulatedDisk,
        promised: Option<Promise>,
        look: Look,
        found: &SimulatedDisk,
        what: &dyn Fn() -> String,
    ) -> bool {
        let held = catch_unwind(AssertUnwindSafe(|| whole(run, seen, image, promised, look)));
        let Err(fault) = held.unwrap_or_else(|_| Err("a panic".to_owned())) else { return true };
        let mut faults = self.faults.lock().unwrap();
        let kept = if faults.is_empty() && self.enough > 1 { keep(found) } else { None };
        faults.push(format!("{}: {fault} (promised {promised:?}, image {kept:?})", what()));
        false
    }

    /// Crashes on the way of the recovery that an image has gone through, and of what came after it, and looks at what is left then.
    fn crash_again(
        &self,
        run: &Run,
        seen: &Seen,
        image: &SimulatedDisk,
        promised: Option<Promise>,
        nth: u64,
        what: &dyn Fn() -> String,
    ) {
        let (trace, mut dice) = (image.trace(), Random(nth));
        // What is appended once all was looked at is no part of the run: up to there, or to the end where nothing was.
        let served = trace.operations().iter().position(|operation| matches!(operation, Operation::Note(_)));
        let Some(served) = served else { return };
        let end = if Look(nth).is_settled() { trace.len() } else { served };
        let mut points: Vec<_> = (0..CRASHES).map(|_| dice.next() as usize % (end + 1)).collect();
        points.sort_unstable();
        let mut crashes = trace.crashes();
        for point in points {
            crashes.advance_to(point);
            let (fate, seed) = (Fate::ALL[dice.next() as usize % 4], dice.next());
            let image = crashes.image(fate, seed);
            let mut promised = promised;
            if let (Some(promised), Some(head)) = (&mut promised, crashes.notes().last()) {
                promised.head = promised.head.max(Position(*head));
            }
            self.images.fetch_add(1, Ordering::Relaxed);
            self.again.fetch_add(1, Ordering::Relaxed);
            if !seen.is_new_image(&image, promised) {
                continue;
            }
            self.checked.fetch_add(1, Ordering::Relaxed);
            let found = image.crash(Fate::KeepAll, 0);
            let what = || format!("{}, then point {point}, {fate:?}, seed {seed}", what());
            self.holds(run, seen, &image, promised, Look(seed), &found, &what);
        }
    }
}

/// Writes what a crash left to a folder of its own, for whoever is to find out: most runs are never the same again.
fn keep(image: &SimulatedDisk) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("bygone-crash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    for name in image.names() {
        let file = image.open(&name).ok()?;
        let mut bytes = vec![0; file.len().ok()? as usize];
        file.read_at(0, &mut bytes).ok()?;
        std::fs::write(folder.join(name.file_name()?), bytes).ok()?;
    }
    Some(folder)
}

/// What is lost when all is lost changes only with a sync; chance is asked once for each seed.
fn fates(before: Option<&Operation>, is_sampled: bool, seeds: std::ops::Range<u64>) -> Vec<(Fate, u64)> {
    let mut fates = vec![(Fate::KeepAll, 0)];
    let changes =
        matches!(before, Some(Operation::Sync { .. } | Operation::SyncFolder { .. } | Operation::Note(_)));
    if changes || is_sampled {
        fates.push((Fate::LoseAll, 0));
    }
    for seed in seeds {
        fates.extend([(Fate::Reorder, seed), (Fate::Tear, seed)]);
    }
    fates
}

/// The plan of the nth run of a sweep, and what it begins with.
fn planned(nth: u64) -> (Plan, Origin) {
    // The files of an earlier version are not encrypted.
    let encrypted = std::env::var_os("BYGONE_ENCRYPTED").is_some();
    let origin = Origin::ALL[if nth % 4 == 3 && !encrypted { 1 + nth as usize / 4 % 2 } else { 0 }];
    let mut plan = Plan::new(nth + 1);
    if nth % 5 == 4 {
        plan.durability = Durability::Interval(Duration::from_millis(2));
    }
    if origin != Origin::Nothing {
        plan.sessions = &[10, 6, 0];
    }
    (plan, origin)
}

/// `BYGONE_IMAGES` says how many images are looked at, `BYGONE_SEED` with which run to begin.
#[test]
fn whatever_was_going_on_a_crash_at_any_point_breaks_no_promise() {
    let sweep = Sweep::new(number("BYGONE_IMAGES", 30_000), 5);
    let first = number("BYGONE_SEED", 0);
    let (mut distinct, mut runs) = (0, 0);
    sweep.telling(|| {
        for nth in first.. {
            let (plan, origin) = planned(nth);
            let (run, seen) = (Run::of(plan, origin), Arc::new(Seen::default()));
            // A few of the points of several runs, or all of those of many.
            let step = (run.trace.len() as u64 * IMAGES).div_ceil(sweep.most / RUNS + 1).max(1);
            let points: Vec<usize> = (nth % step..=run.trace.len() as u64)
                .step_by(step as usize)
                .map(|point| point as usize)
                .collect();
            sweep.walk(&run, &run.trace, &seen, &points, 0..2);
            distinct += seen.distinct();
            runs += 1;
            if sweep.is_over() {
                break;
            }
        }
    });
    sweep.tell();
    let faults = sweep.faults.lock().unwrap();
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert_eq!(distinct as u64, sweep.counts().1);
    assert!(runs >= RUNS || sweep.most < 10_000, "{runs} runs");
}
