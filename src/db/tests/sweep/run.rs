//! A run of everything on a disk that records it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use crate::Options;
use crate::entity::PositionRange;
use crate::store::Store;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, Kind, SimulatedDisk, Trace};
use crate::store::snapshot::ScanDirection;

use super::super::PATH;
use super::super::load::{Load, Plan, Promise, query};

/// What a run left behind.
pub(super) struct Run {
    pub plan: Plan,
    pub trace: Trace,
    /// What was promised with each note of the trace.
    pub promises: Vec<Promise>,
    /// The bytes of every event, up to the end of the run.
    pub log: Vec<Arc<[u8]>>,
    /// The time at the end of it.
    pub now: Arc<AtomicI64>,
    /// What whoever looks at an image opens it with.
    pub options: Options,
}

/// What a run begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing: the database is created.
    Nothing,
    /// A file that an earlier version wrote and closed, or left with its journals.
    Format5(&'static str),
}

impl Origin {
    /// Each of them.
    pub const ALL: [Origin; 3] =
        [Origin::Nothing, Origin::Format5("format-5.bygone"), Origin::Format5("format-5-killed.bygone")];

    fn disk(self) -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        let Origin::Format5(name) = self else { return disk };
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
        for end in ["", "-journal-a", "-journal-b"] {
            let Ok(bytes) = std::fs::read(files.join(format!("{name}{end}"))) else { continue };
            let file = disk.create(&PathBuf::from(format!("{PATH}{end}"))).unwrap();
            file.write_at(0, &bytes).unwrap();
        }
        // What stood there before is as durable as it gets.
        disk.crash(Fate::KeepAll, 0)
    }
}

/// The bytes of every event.
pub(super) fn log_of(store: &Store) -> Result<Vec<Arc<[u8]>>, String> {
    let snapshot = store.snapshot();
    let rows = snapshot.log(PositionRange::ALL, ScanDirection::Ascending);
    rows.map(|row| row.map(|(_, bytes)| bytes).map_err(|e| format!("reading the log: {e}"))).collect()
}

/// Notes with this bit are none of promises.
pub(super) const MARK: u64 = 1 << 63;

/// What was promised by the last of some notes.
pub(super) fn promised(promises: &[Promise], notes: &[u64]) -> Option<Promise> {
    let last = notes.iter().rev().find(|note| *note & MARK == 0);
    last.map(|note| promises[*note as usize])
}

impl Run {
    pub fn of(plan: Plan, origin: Origin) -> Run {
        Run::watched(plan, origin, |_, _, _| {})
    }

    /// A run of which somebody is told before each operation of the disk.
    pub fn watched(
        plan: Plan,
        origin: Origin,
        watch: impl Fn(&SimulatedDisk, Kind, &Path) + Send + Sync + 'static,
    ) -> Run {
        let disk = origin.disk();
        let on = disk.clone();
        disk.on_operation(move |kind, path| watch(&on, kind, path));
        let promises = Arc::<Mutex<Vec<Promise>>>::default();
        let (told, on) = (promises.clone(), disk.clone());
        let mut load = plan.load(move |promise| {
            let mut told = told.lock().unwrap();
            on.note(told.len() as u64);
            told.push(*promise);
        });
        let options = load.options(&plan, Arc::new(disk.clone()));
        for (session, &steps) in plan.sessions.iter().enumerate() {
            let create = session == 0 && origin == Origin::Nothing;
            let db = if create { options.clone().create(PATH) } else { options.clone().open(PATH) };
            let db = db.unwrap_or_else(|e| panic!("{plan:?}, session {session}: {e}"));
            load.learn(&db);
            if session == 0 {
                if origin != Origin::Nothing {
                    query(&db, "DROP WEBHOOK notify").unwrap();
                }
                load.begin(&db).unwrap();
            }
            for step in 0..steps {
                load.step(&db, Path::new(PATH))
                    .unwrap_or_else(|e| panic!("{plan:?}, session {session}, step {step}: {e}"));
            }
            db.close().unwrap();
        }
        let trace = disk.trace();
        disk.on_operation(|_, _| {});
        let mut options = options.live(false).durability(Default::default());
        options.by_hand = true;
        let db = options.clone().open(PATH).unwrap();
        let log = log_of(db.store()).unwrap();
        drop(db);
        let promises = std::mem::take(&mut *promises.lock().unwrap());
        let now = Load::now(&load);
        Run { plan, trace, promises, log, now, options }
    }
}
