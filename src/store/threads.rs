//! The threads behind a database.
//!
//! The *checkpointer* moves frozen memtables into the tables. The *attendant* does what must not wait for that: it fills the
//! journal's space ahead of need, syncs at intervals, and leads for tickets that nobody waits on.
//! The *indexer* keeps up what is defined ([`materialize`](super::materialize)), the *cursor writer* writes where followers are
//! ([`cursor_writer`](super::cursor_writer)); where nothing is to be written there is neither. Where others append to the same log, the *log
//! reader* brings in what they did ([`Commits::catch_up`](super::commit::Commits::catch_up)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Shared;
use super::durability::Durability;
use super::materialize::BackfillStep;
use super::mutex::locked;
use crate::error::{Error, Result};

/// How long after a failed checkpoint the next try comes, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long until it is looked again whether the lists of an index are still read.
const HELD: Duration = Duration::from_millis(250);

/// How long the log reader waits for what others append, before it looks whether it is to stop.
const READ_LOG: Duration = Duration::from_millis(20);

/// Starts the threads.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    let spawn = |name: &str, run: fn(&Arc<Shared>)| {
        let shared = shared.clone();
        let thread = thread::Builder::new().name(format!("bygone-{name}")).spawn(move || run(&shared));
        thread.map_err(|e| Error::io(format!("starting the {name}"), e))
    };
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for name in ["checkpointer", "attendant", "indexer", "cursor-writer", "log-reader"] {
        let thread = match name {
            "checkpointer" => spawn(name, checkpointer),
            "attendant" => spawn(name, attendant),
            "indexer" if shared.options.keeps_indexes() => spawn(name, indexer),
            "cursor-writer" if !shared.options.read_only => spawn(name, |shared| shared.cursor_writer.run()),
            "log-reader" if shared.options.reads_log() && shared.log.is_shared() => spawn(name, log_reader),
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
        let moved = catch_unwind(AssertUnwindSafe(|| shared.checkpointer.move_frozen()));
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
        let step = catch_unwind(AssertUnwindSafe(|| shared.keep_defined()));
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
            if frames.is_empty() { Ok(()) } else { shared.commits.catch_up() }
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
            let _ = catch_unwind(AssertUnwindSafe(|| shared.commits.lead()));
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
