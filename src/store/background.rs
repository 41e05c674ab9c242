//! Background: the threads behind a database.
//!
//! The *checkpointer* moves frozen tails into the tables. The *attendant* does what must not wait for that: it fills the
//! journal's space ahead of need, syncs at intervals, and leads for tickets that nobody waits on.
//! The *indexer* builds and drops indexes ([`backfill`](super::backfill)), the *keeper* writes where followers are
//! ([`cursor`](super::cursor)); where nothing is to be written there is neither. Where others append to the same log, the *log reader*
//! brings in what they did ([`catch_up`](super::catch_up)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backfill::BackfillStep;
use super::cursor::keeper;
use super::{Durability, Shared, locked};
use crate::error::{Error, Result};

/// How long after a failed checkpoint the next try comes, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long until it is looked again whether the lists of an index are still read.
const HELD: Duration = Duration::from_millis(250);

/// How long until it is looked again whether something is done, where that may have been missed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// For how many times as long as it took to look it is not looked again, and for how long at most.
const REST: u32 = 8;
const LONGEST_REST: Duration = Duration::from_millis(100);

/// How long the log reader waits for what others append, before it looks whether it is to stop.
const READ_LOG: Duration = Duration::from_millis(20);

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// What the threads have been asked for.
#[derive(Debug, Default)]
pub(crate) struct WorkRequests {
    pub checkpoint: bool,
    pub fill: bool,
    pub lead: bool,
    pub sync: bool,
    pub index: bool,
    stop: bool,
    /// Why the last checkpoint failed, while it has not succeeded since.
    failure: Option<Error>,
    /// Why an index is not built, while that has not gone on since.
    index_failure: Option<Error>,
}

#[derive(Debug, Default)]
pub(crate) struct Background {
    asked: Mutex<WorkRequests>,
    changed: Condvar,
}

impl Background {
    pub fn ask(&self, ask: impl FnOnce(&mut WorkRequests)) {
        ask(&mut locked(&self.asked));
        self.changed.notify_all();
    }

    /// Why checkpoints fail, if they do.
    #[cfg(test)]
    pub fn failure(&self) -> Option<Error> {
        locked(&self.asked).failure.clone()
    }

    /// Waits until a checkpoint is done; its error if it failed, so that nobody hangs while it is tried again.
    pub fn wait_for_checkpoint(&self, done: impl Fn() -> bool) -> Result<()> {
        let mut asked = locked(&self.asked);
        while !done() {
            if let Some(failure) = &asked.failure {
                return Err(failure.clone());
            }
            if asked.stop {
                return Err(Error::stopped("the database is being closed"));
            }
            asked = self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub fn stop(&self) {
        self.ask(|asked| asked.stop = true);
    }

    /// Starts the threads.
    pub fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
        let spawn = |name: &str, run: fn(&Arc<Shared>)| {
            let shared = shared.clone();
            let thread = thread::Builder::new().name(format!("bygone-{name}")).spawn(move || run(&shared));
            thread.map_err(|e| Error::io(format!("starting the {name}"), e))
        };
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for name in ["checkpointer", "attendant", "indexer", "keeper", "log-reader"] {
            let thread = match name {
                "checkpointer" => spawn(name, checkpointer),
                "attendant" => spawn(name, attendant),
                "indexer" if shared.options.keeps_indexes() => spawn(name, indexer),
                "keeper" if !shared.options.read_only => spawn(name, keeper),
                "log-reader" if shared.options.reads_log() && shared.log.is_shared() => {
                    spawn(name, log_reader)
                }
                _ => continue,
            };
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    shared.background.stop();
                    shared.cursors.stop();
                    for thread in threads {
                        let _ = thread.join();
                    }
                    return Err(error);
                }
            }
        }
        Ok(threads)
    }

    /// Waits until something is done, for so long at most; an error if indexes cannot be built. Says whether it is done.
    pub fn wait_for_indexes(&self, timeout: Duration, done: impl Fn() -> Result<bool>) -> Result<bool> {
        let until = Instant::now().checked_add(timeout);
        loop {
            // It reads the tables, and whoever has those may ask whether to stop: the lock is not held for it.
            let began = Instant::now();
            if done()? {
                return Ok(true);
            }
            // It looks at every definition, and what is done for each wakes: looking takes a small part of the time.
            let rest = (began.elapsed() * REST).min(LONGEST_REST);
            let asked = locked(&self.asked);
            if let Some(failure) = &asked.index_failure {
                return Err(failure.clone());
            }
            if asked.stop {
                return Err(Error::stopped("the database is being closed"));
            }
            // Whoever cannot say when it is to end waits as long as it takes.
            let left = until.map_or(FOR_EVER, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            // What is done between the look and the wait tells nobody: it is looked again soon.
            drop(self.wait(asked, left.min(LOOK_AGAIN)));
            self.pause(rest.min(left));
        }
    }

    fn wait<'a>(
        &self,
        asked: MutexGuard<'a, WorkRequests>,
        at_most: Duration,
    ) -> MutexGuard<'a, WorkRequests> {
        self.changed.wait_timeout(asked, at_most).map_or_else(|e| e.into_inner().0, |(guard, _)| guard)
    }

    /// Waits so long, or until the threads are to stop.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut asked = locked(&self.asked);
        while !asked.stop && Instant::now() < until {
            asked = self.wait(asked, until.saturating_duration_since(Instant::now()));
        }
    }

    /// Whether the threads are to stop.
    pub fn stopping(&self) -> bool {
        locked(&self.asked).stop
    }
}

fn checkpointer(shared: &Arc<Shared>) {
    let background = &shared.background;
    let mut pause = RETRY.0;
    loop {
        let mut asked = locked(&background.asked);
        while !asked.checkpoint && !asked.stop {
            asked = background.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
        if asked.stop {
            return;
        }
        asked.checkpoint = false;
        drop(asked);
        let moved = catch_unwind(AssertUnwindSafe(|| shared.checkpoint_frozen()));
        // Whoever waits for it is not to wait for ever.
        match moved.unwrap_or_else(|_| Err(Error::stopped("a checkpoint was interrupted by a panic"))) {
            Ok(()) => {
                pause = RETRY.0;
                background.ask(|asked| asked.failure = None);
            }
            Err(error) => {
                background.ask(|asked| {
                    asked.failure = Some(error);
                    asked.checkpoint = true;
                });
                background.pause(pause);
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

fn indexer(shared: &Arc<Shared>) {
    let background = &shared.background;
    let mut pause = RETRY.0;
    while !background.stopping() {
        let step = catch_unwind(AssertUnwindSafe(|| shared.keep_indexes()));
        match step.unwrap_or_else(|_| Err(Error::stopped("building an index was interrupted by a panic"))) {
            Ok(step) => {
                pause = RETRY.0;
                let mut asked = locked(&background.asked);
                asked.index_failure = None;
                background.changed.notify_all();
                while step != BackfillStep::Worked && !asked.index && !asked.stop {
                    asked = match step {
                        // Nobody tells when a reader is done.
                        BackfillStep::Held => background.wait(asked, HELD),
                        _ => background.changed.wait(asked).unwrap_or_else(PoisonError::into_inner),
                    };
                    if step == BackfillStep::Held {
                        break;
                    }
                }
                asked.index = false;
            }
            Err(error) => {
                background.ask(|asked| asked.index_failure = Some(error));
                background.pause(pause);
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

fn log_reader(shared: &Arc<Shared>) {
    while !shared.background.stopping() {
        let caught_up = catch_unwind(AssertUnwindSafe(|| {
            let frames = shared.log.read(shared.applied.head(), Instant::now() + READ_LOG)?;
            if frames.is_empty() { Ok(()) } else { shared.catch_up() }
        }));
        match caught_up {
            Ok(Ok(())) => {}
            // It is not the log that this database has followed: nothing of it is applied any more.
            Ok(Err(Error::Corrupt { .. })) => return,
            Ok(Err(_)) | Err(_) => shared.background.pause(RETRY.0),
        }
    }
}

fn attendant(shared: &Arc<Shared>) {
    let background = &shared.background;
    let interval = match shared.options.durability {
        Durability::Sync => None,
        Durability::Interval(every) => Some(every),
    };
    let mut sync_at: Option<Instant> = None;
    loop {
        let mut asked = locked(&background.asked);
        let (lead, fill) = loop {
            if std::mem::take(&mut asked.sync) && sync_at.is_none() {
                sync_at = interval.map(|every| Instant::now() + every);
            }
            let due = sync_at.is_some_and(|at| at <= Instant::now());
            if asked.lead || asked.fill || asked.stop || due {
                break (std::mem::take(&mut asked.lead), std::mem::take(&mut asked.fill));
            }
            asked = match sync_at {
                None => background.changed.wait(asked).unwrap_or_else(PoisonError::into_inner),
                Some(at) => background.wait(asked, at.saturating_duration_since(Instant::now())),
            };
        };
        let stop = asked.stop;
        drop(asked);
        if lead {
            // A panic was answered for on its way; there is more to do here than to lead.
            let _ = catch_unwind(AssertUnwindSafe(|| shared.lead()));
        }
        if stop {
            return;
        }
        if fill {
            shared.log.maintain();
        }
        if sync_at.take_if(|at| *at <= Instant::now()).is_some() {
            // A failed sync stops the writers; there is nobody else here to tell.
            let _ = shared.sync_log();
        }
    }
}
