//! Statements against a store with tiny memtables: each answer is the same whatever is in the tables already.

use std::path::Path;
use std::sync::Arc;

use super::{Row, ViewCaches, explain, read, write};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::lang;
use crate::plan::{BindInput, Parameters, Plan, prepare};
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::snapshot::Snapshot;
use crate::store::{Durability, Options, Store};
use crate::time::{Clock, Timestamp};

mod absences;
mod against_naive;
mod ahead;
mod chains;
mod changes;
mod choices;
mod closed;
mod columns;
mod defined;
mod facts;
mod find;
mod folded_ahead;
mod folded_at_once;
mod foreseen;
mod forgotten;
mod found_naively;
mod functions;
mod identified;
mod indexes;
mod instants;
mod limits;
mod mismatch;
mod models;
mod private;
mod reactions;
mod reads;
mod rewriting;
mod schemas;
mod several;
mod shaped;
mod shaped_naively;
mod state_columns;
mod tagged;
mod unnested;
mod upcasts;
mod verbs;
mod views;
mod wire;

/// What stood against a write.
fn conflict<T: std::fmt::Debug>(result: Result<T>) -> crate::error::Conflict {
    match result {
        Err(Error::Conflict(conflict)) => *conflict,
        other => panic!("{other:?}"),
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2024-06-01T12:00:00Z";

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

/// What a store is opened with that does nothing by itself, on a disk that crashes.
fn by_hand_on(disk: &SimulatedDisk, durability: Durability, memtable: usize) -> Options {
    let mut options = Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(memtable, 1 << 20)
        .journal_steps(4096, 8192)
        .cache(256 << 10)
        .durability(durability)
        .clock(Clock::new(|| time(NOW)))
        .with_compiler(Arc::new(crate::exec::Compiler));
    options.by_hand = true;
    options
}

/// Does all that the background would do.
fn settle(store: &Store) {
    while store.work_by_hand().unwrap() {}
}

/// Whether something is kept of other definitions than these.
fn only_these_are_kept(store: &Store, are_kept: impl Fn(u64) -> bool) -> std::result::Result<(), String> {
    let kept = store.shared().tables.read().and_then(|read| read.kept_definitions()).unwrap();
    match kept.iter().find(|(definition, _)| !are_kept(definition.0)) {
        Some((definition, _)) => Err(format!("something is kept of {definition}, which is no more")),
        None => Ok(()),
    }
}

/// A store whose clock stands still and whose ids count.
fn store(memtable: usize) -> Store {
    store_with(memtable, Options::new())
}

fn store_with(memtable: usize, options: Options) -> Store {
    let next = std::sync::atomic::AtomicU32::new(1);
    let options = options
        .disk(Arc::new(MemoryDisk::new()))
        .memtable(memtable, 1 << 20)
        .journal_steps(4096, 8192)
        .with_compiler(Arc::new(super::Compiler))
        .clock(Clock::new(|| time(NOW)))
        .ids(move || format!("e{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
    Store::create(Path::new("/shop.bygone"), options).unwrap()
}

struct Session<'a> {
    store: &'a Store,
    parameters: Parameters,
    actor: Option<Entity>,
    views: Arc<ViewCaches>,
}

impl<'a> Session<'a> {
    fn new(store: &'a Store) -> Session<'a> {
        Session { store, parameters: Parameters::new(), actor: None, views: Arc::default() }
    }

    fn plan(&self, text: &str, snapshot: &Snapshot) -> Result<Plan> {
        let parsed = lang::parse_one(text)?;
        let input = BindInput {
            text,
            statement: 1,
            parameters: &self.parameters,
            default_actor: self.actor.as_ref(),
            now: time(NOW),
        };
        prepare(&parsed.statement, input, snapshot)
    }

    fn run(&self, text: &str) -> Result<(Vec<Row>, Vec<String>)> {
        let snapshot = self.store.snapshot();
        let answer = match self.plan(text, &snapshot)? {
            Plan::Read(plan) => read(&snapshot, &self.views, &plan)?,
            Plan::Write(plan) => write(self.store, &plan, &crate::cancel::Cancel::new())?,
            Plan::Explain(plan) => explain(self.store, &snapshot, &self.views, &plan)?,
            Plan::Subscribe(_) | Plan::SubscribeView(_) => {
                return Err(Error::stopped("a subscription is no answer"));
            }
        };
        Ok((answer.rows.collect::<Result<_>>()?, answer.notices))
    }

    fn rows(&self, text: &str) -> Vec<Row> {
        self.run(text).unwrap_or_else(|error| panic!("{text}: {error}")).0
    }

    /// The rows as lines of JSON.
    fn lines(&self, text: &str) -> Vec<String> {
        self.rows(text).iter().map(|row| serde_json::to_string(row).unwrap()).collect()
    }

    fn positions(&self, text: &str) -> Vec<u64> {
        positions(&self.rows(text))
    }

    fn error(&self, text: &str) -> String {
        match self.run(text) {
            Ok((rows, _)) => panic!("{text}: {rows:?}"),
            Err(error) => error.to_string(),
        }
    }
}

fn positions(rows: &[Row]) -> Vec<u64> {
    let position = |row: &Row| match row {
        Row::Event { event, .. } => event.position.0,
        other => panic!("{other:?}"),
    };
    rows.iter().map(position).collect()
}

fn state(rows: &[Row]) -> String {
    match rows {
        [Row::State(state)] => state.state.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Whether a comparison is true of two values that are so ordered; only `!=` is of two that are not.
fn compares(comparison: &str, order: Option<std::cmp::Ordering>) -> bool {
    match (comparison, order) {
        ("!=", order) => order.is_none_or(|order| order.is_ne()),
        (_, None) => false,
        ("=", Some(order)) => order.is_eq(),
        ("<", Some(order)) => order.is_lt(),
        ("<=", Some(order)) => order.is_le(),
        (">", Some(order)) => order.is_gt(),
        (_, Some(order)) => order.is_ge(),
    }
}
