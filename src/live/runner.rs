//! The runner: it keeps a thread for each reaction, webhook and schedule, as long as a database is open live.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::effect_counts::EffectCounts;
use super::follower::{Ended, Follower, report};
use super::{reaction, schedule};
use crate::cancel::Cancel;
use crate::entity::{AtomicPosition, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::exec::dead_letter::DeadLetterStatus;
use crate::store::Shared;
use crate::store::catalog::{Catalog, Program, ProgramKind};
use crate::store::cursor;
use crate::store::log_progress::WaitResult;
use crate::store::snapshot::ScanDirection;

/// How soon it is looked again whether what is waited for has come.
const SOON: Duration = Duration::from_millis(50);

/// What runs by itself.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    cancel: Cancel,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner(…)")
    }
}

impl Runner {
    /// Begins to run what is defined, now and later.
    pub fn start(shared: &Arc<Shared>) -> Result<Runner> {
        let cancel = Cancel::new();
        let mut supervisor = Supervisor {
            shared: shared.clone(),
            cancel: cancel.clone(),
            running: BTreeMap::new(),
            brought: Arc::default(),
            ending: Vec::new(),
            seen: shared.log_progress.synced(),
        };
        let thread = thread::Builder::new().name("bygone-runner".to_owned());
        let thread = thread.spawn(move || {
            OWN.set(true);
            supervisor.run();
        });
        let thread = thread.map_err(|e| Error::io("starting what runs by itself", e))?;
        Ok(Runner { shared: shared.clone(), cancel, supervisor: Mutex::new(Some(thread)) })
    }

    /// Refuses to close from within what runs: it would wait for itself.
    pub fn check_not_within() -> Result<()> {
        match OWN.get() {
            true => Err(Error::stopped("the database cannot be closed by what it runs, and tells of")),
            false => Ok(()),
        }
    }

    /// Ends all of it. When this returns nothing runs any more, but for the one that asks.
    pub fn stop(&self) {
        self.cancel.cancel();
        self.shared.log_progress.wake();
        if OWN.get() {
            return;
        }
        let thread = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

thread_local! {
    /// Whether the thread is one of those that run programs.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// A program that runs.
struct Running {
    program: Arc<Program>,
    cancel: Cancel,
    /// Where the newest event about it is.
    newest: Arc<AtomicPosition>,
    thread: JoinHandle<()>,
}

struct Supervisor {
    shared: Arc<Shared>,
    cancel: Cancel,
    running: BTreeMap<Position, Running>,
    brought: Arc<EffectCounts>,
    /// Those that are no more defined, and have not ended yet.
    ending: Vec<Running>,
    /// Up to where it looked for events about programs.
    seen: Position,
}

impl Supervisor {
    fn run(&mut self) {
        let mut catalog: Option<Arc<Catalog>> = None;
        while !self.cancel.is_cancelled() {
            let now = self.shared.applied.catalog();
            if catalog.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &now)) {
                // Where some do not run yet that are to, it is looked again soon.
                catalog = self.adjust(&now).then_some(now);
            }
            let cancel = self.cancel.clone();
            let soon = catalog.is_none().then(|| Instant::now() + SOON);
            let moved = self.shared.log_progress.wait_past(self.seen, soon, &|| cancel.is_cancelled());
            if let WaitResult::To(through) = moved
                && !self.look(through)
            {
                // What cannot be read now may be in a moment.
                self.shared
                    .log_progress
                    .wait_past(Position::MAX, Some(Instant::now() + SOON), &|| cancel.is_cancelled());
            }
            if moved == WaitResult::Closed {
                break;
            }
        }
        for running in self.running.values() {
            running.cancel.cancel();
        }
        self.shared.log_progress.wake();
        for running in std::mem::take(&mut self.running).into_values().chain(self.ending.drain(..)) {
            let _ = running.thread.join();
        }
    }

    /// Lets those run that are defined, and no others. Says whether all of them do.
    fn adjust(&mut self, catalog: &Catalog) -> bool {
        let gone: Vec<Position> =
            self.running.keys().filter(|position| !catalog.has_program(**position)).copied().collect();
        for position in gone {
            if let Some(running) = self.running.remove(&position) {
                running.cancel.cancel();
                self.ending.push(running);
            }
        }
        self.shared.log_progress.wake();
        self.ending.retain(|running| !running.thread.is_finished());
        let mut all = self.ending.is_empty();
        for program in catalog.programs() {
            let of_its_name = |running: &Running| {
                (running.program.kind, &running.program.name) == (program.kind, &program.name)
            };
            if program.position > self.seen || self.ending.iter().any(of_its_name) {
                // What is not durable yet may still be lost; and the next of a name begins when the one before is done.
                all = false;
            } else if !self.running.contains_key(&program.position) {
                all &= self.begin(program);
            }
        }
        all
    }

    /// Begins to run a program. Says whether it could.
    fn begin(&mut self, program: &Arc<Program>) -> bool {
        let cancel = Cancel::new();
        // Whatever was said to it while nobody ran it is heard first.
        let newest = Arc::new(AtomicPosition::new(self.seen));
        let mut follower =
            Follower::new(self.shared.clone(), program.clone(), cancel.clone(), newest.clone());
        follower.brought = self.brought.clone();
        let thread = thread::Builder::new().name(format!("bygone-{}", program.name));
        let thread = thread.spawn(move || {
            OWN.set(true);
            keep_running(&mut follower);
            follower.leave();
        });
        match thread {
            Ok(thread) => {
                let running = Running { program: program.clone(), cancel, newest, thread };
                self.running.insert(program.position, running);
                true
            }
            Err(error) => {
                report(&self.shared, program, None, format!("it cannot be started: {error}"));
                false
            }
        }
    }

    /// Looks for what is said to programs, and lets those know. Says whether it could.
    fn look(&mut self, through: Position) -> bool {
        let snapshot = self.shared.snapshot().until(through);
        let mut told = false;
        for row in snapshot.log(PositionRange::between(self.seen, through), ScanDirection::Ascending) {
            let Ok((position, bytes)) = row else { return false };
            self.seen = position;
            let Ok(event) = Record::open(position, &bytes) else { continue };
            // What it says itself it knows.
            if !matches!(
                DeadLetterStatus::of(event.kind()),
                Some(DeadLetterStatus::Retried | DeadLetterStatus::Skipped)
            ) {
                continue;
            }
            let Some(target) = event.target() else { continue };
            for running in self.running.values() {
                if running.program.kind.target() == target.kind && running.program.name == target.id {
                    running.newest.store(position, Ordering::Release);
                    told = true;
                }
            }
        }
        self.seen = through;
        if told {
            // Some looked before they were told.
            self.shared.log_progress.wake();
        }
        true
    }
}

/// Runs a program until it is to end, whatever stops it on the way.
fn keep_running(follower: &mut Follower) {
    let (mut said, mut attempt) = (String::new(), 1);
    while !follower.has_ended() {
        let ran = catch_unwind(AssertUnwindSafe(|| run(follower)));
        let error = match ran {
            Ok(Ok(Ended)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it was interrupted by a panic".to_owned(),
        };
        if follower.has_ended() {
            return;
        }
        follower.stopped(&error);
        // Once is enough.
        if error != said {
            follower.report(None, format!("it has stopped, and tries to go on: {error}"));
            said = error;
        }
        let pause = follower.shared.options.retries.pause(attempt);
        attempt = attempt.saturating_add(1);
        if follower.pause(pause).is_err() {
            return;
        }
    }
}

/// Runs a program until it is to end.
fn run(follower: &mut Follower) -> Result<Ended> {
    let place = cursor::CursorOwner::of(&follower.program);
    let _running =
        follower.shared.cursor_writer.attach(&place, "this database, which is open live".to_owned())?;
    match follower.program.kind {
        ProgramKind::Reaction => reaction::run(follower),
        #[cfg(feature = "webhooks")]
        ProgramKind::Webhook => super::webhook::run(follower),
        #[cfg(not(feature = "webhooks"))]
        ProgramKind::Webhook => Err(Error::stopped(
            "this build has no webhooks: the feature `webhooks` of the library sends them",
        )),
        ProgramKind::Schedule => schedule::run(follower),
    }
}
