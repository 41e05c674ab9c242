//! The kernel: what is read and asked of an open database, whoever does it: its readers, and the rooms that write.
//!
//! The rooms stand on it: what follows the log ([`Materializer`](super::materialize::Materializer)), who keeps the places of readers
//! ([`CursorWriter`](super::cursor_writer::CursorWriter)), who admits and commits ([`Commits`](super::commit::Commits)). A
//! [`Snapshot`](super::snapshot::Snapshot) needs nothing else. Its locks are those of what it holds; docs/ARCHITECTURE.md has their order.

use std::path::PathBuf;
use std::sync::Arc;

use super::apply::Applied;
use super::background::Background;
use super::catalog;
use super::cursor::Cursors;
use super::disk::Disk;
use super::failures::Failures;
use super::fault_injection::FaultInjection;
use super::forgetting_lock::ForgettingLock;
use super::journal::DatabaseId;
use super::keyring::{KeySource, Keyring};
use super::log::Log;
use super::log_progress::LogProgress;
use super::name::FileName;
use super::options::Options;
use super::queue::Queue;
use super::read_txn::ReadSource;
use super::state_caches::{MadeSnapshot, SnapshotDue, StateCaches};
use super::tables::Tables;
use super::verb::AddedVerbs;
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::telemetry::Counts;

/// What all rooms of an open database stand on.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub options: Options,
    pub disk: Arc<dyn Disk>,
    pub path: PathBuf,
    /// The name of the file.
    pub name: Arc<FileName>,
    pub id: DatabaseId,
    pub tables: Arc<Tables>,
    pub log: Arc<dyn Log>,
    pub applied: Applied,
    /// The keys that private values are encrypted with.
    pub keyring: Keyring,
    /// Held by whoever forgets a subject, or makes a backup.
    pub forgetting: ForgettingLock,
    /// Requests that wait to be committed.
    pub queue: Queue,
    /// How far the log is durable, for those who follow it.
    pub log_progress: LogProgress,
    /// Where those are who follow it.
    pub cursors: Cursors,
    /// What the threads behind it have been asked for.
    pub background: Background,
    /// Why some of what is defined is not kept.
    pub failures: Failures,
    /// Verbs that are not in the log.
    pub verbs: AddedVerbs,
    /// What is remembered of states, to spare work.
    pub state_caches: StateCaches,
    /// What it has done so far.
    pub counts: Arc<Counts>,
    /// Ends what is being evaluated for nobody who asked: states, views and indexes that are kept.
    pub ending: Cancel,
    /// What each evaluation may take that belongs to an append: nobody ends those.
    pub own_limits: Limits,
}

impl Kernel {
    /// What each evaluation in the background may take, until [`ending`](Kernel::ending) ends it.
    pub fn limits(&self) -> Limits {
        Limits::new(self.options.largest_value, &self.ending)
    }

    /// What this database is called in vector clocks: the first eight digits of its id.
    pub fn node(&self) -> String {
        self.id.node()
    }

    /// Where readers read.
    pub(super) fn read_source(&self) -> ReadSource<'_> {
        let tables_first = self.injects(FaultInjection::TablesFirst);
        ReadSource { tables: &self.tables, applied: &self.applied, keyring: &self.keyring, tables_first }
    }

    /// Where the keys of private values are.
    pub fn keys(&self) -> KeySource<'_> {
        KeySource::Tables(&self.keyring, &self.tables)
    }

    /// Whether a protocol is to be broken, to see whether a test notices.
    pub fn injects(&self, injection: FaultInjection) -> bool {
        self.options.injects(injection)
    }

    /// The definitions that have lists in the tables, and are not in the catalog.
    pub(super) fn stale(&self) -> Result<Vec<Position>> {
        // The tables before the catalog: what is defined in between has no lists yet.
        let mut found = catalog::built(&self.tables.read()?)?;
        let catalog = self.applied.catalog();
        let is_of_view =
            |at: Position| catalog.kept_views().any(|view| view.position == at && view.view().is_err());
        found.retain(|definition| catalog.at(*definition).is_none() && !is_of_view(*definition));
        Ok(found)
    }

    /// Takes no more writes: what the log holds is not known any more. Reads go on.
    pub fn stop(&self, error: Error) -> Error {
        let reason = format!(
            "a write failed ({error}); what was acknowledged is safe; close and open it again to go on"
        );
        for pending in self.queue.close(Error::stopped(reason)) {
            pending.answer(Err(error.clone()));
        }
        error
    }

    /// Makes durable what was appended so far, and lets subscriptions see it.
    pub fn sync_log(&self) -> Result<()> {
        let head = self.applied.head();
        if self.log_progress.synced() < head {
            self.counts.sync(head, || self.log.sync()).map_err(|error| self.stop(error))?;
            self.log_progress.set_synced(head);
        }
        Ok(())
    }

    /// Remembers which plain entities are due a snapshot.
    pub(super) fn snapshots_due(&self, due: Vec<SnapshotDue>) {
        if !due.is_empty() && !self.options.read_only {
            self.state_caches.add_due(due);
            self.background.ask(|asked| asked.index = true);
        }
    }

    /// Takes a snapshot, to be written when there is time.
    pub(super) fn keep_snapshot(&self, made: MadeSnapshot) {
        if !self.options.read_only {
            self.state_caches.add_made(made);
            self.background.ask(|asked| asked.index = true);
        }
    }
}
