//! A run of the store that is the same each time: what is asked for follows from a seed, and the checkpointer goes on at the
//! disk only as far as the script lets it, so that checkpoints and appends interleave as the seed says.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Random, one, path, tiny};
use crate::entity::{Position, PositionRange, Version};
use crate::error::Result;
use crate::event::{Expect, NewEvent};
use crate::store::append_request::{AppendOutcome, AppendRequest, Prepared};
use crate::store::catalog::tests::{defined, dropped};
use crate::store::disk::simulated::{SimulatedDisk, Trace};
use crate::store::materialize::tests::{Sums, definition, index_of_states, undefined};
use crate::store::queue::Pending;
use crate::store::snapshot::ScanDirection;
use crate::store::{Durability, FaultInjection, Options, Store, locked};
use crate::time::Timestamp;

/// The kinds of entities that are defined, and the ids of all that there are.
pub(super) const KINDS: [&str; 2] = ["Order", "Trip"];
pub(super) const IDS: [&str; 4] = ["0", "1", "2", "3"];

/// What a run left behind.
pub(super) struct Run {
    pub trace: Trace,
    pub options: Options,
    /// The bytes of every event.
    pub log: Vec<Arc<[u8]>>,
    /// Where frames end: a crash may leave the log so long, and no other way.
    pub ends: BTreeSet<Position>,
    /// What was promised with each note of the trace.
    pub promises: Vec<Position>,
    /// Groups with keys, and the positions they were given.
    pub keyed: Vec<(AppendRequest, Vec<Position>)>,
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub seed: u64,
    pub durability: Durability,
    pub injection: Option<FaultInjection>,
    /// Whether indexes are defined and dropped.
    pub indexes: bool,
    /// Whether entities are, and indexes of their states.
    pub models: bool,
    /// How many steps each session has.
    pub sessions: &'static [usize],
}

impl Script {
    pub fn new(seed: u64) -> Script {
        Script {
            seed,
            durability: Durability::Sync,
            injection: None,
            indexes: false,
            models: false,
            sessions: &[34, 22, 0, 6],
        }
    }

    pub fn run(self) -> Run {
        let disk = SimulatedDisk::new();
        let mut options = tiny(&disk).durability(self.durability);
        options.injection = self.injection;
        if self.models {
            options = options.with_compiler(Arc::new(Sums));
        }
        let gate = Arc::new(Gate::default());
        let at_disk = gate.clone();
        disk.on_operation(move |_, _| at_disk.pass());
        let mut player = Player {
            random: Random(self.seed),
            models: self.models,
            disk: disk.clone(),
            gate,
            ends: BTreeSet::from([Position::START]),
            promises: Vec::new(),
            acknowledged: Vec::new(),
            keyed: Vec::new(),
        };
        for (session, &steps) in self.sessions.iter().enumerate() {
            let open = if session == 0 { Store::create } else { Store::open };
            let store = open(path(), options.clone()).unwrap();
            player.promise(&store);
            for step in 0..steps {
                player.step(&store, step == steps / 2).unwrap();
                if self.indexes {
                    player.change_indexes(&store).unwrap();
                }
                if self.models {
                    player.change_models(&store).unwrap();
                }
            }
            player.gate.open();
            store.close().unwrap();
        }
        let trace = disk.trace();
        let store = Store::open(path(), options.clone()).unwrap();
        let log = store.snapshot().log(PositionRange::ALL, ScanDirection::Ascending);
        let log: Vec<_> = log.map(|row| row.unwrap().1).collect();
        for (position, bytes) in &player.acknowledged {
            assert_eq!(log[position.0 as usize - 1], *bytes, "seed {}", self.seed);
        }
        let Player { ends, promises, keyed, .. } = player;
        Run { trace, options, log, ends, promises, keyed }
    }
}

struct Player {
    random: Random,
    models: bool,
    disk: SimulatedDisk,
    gate: Arc<Gate>,
    ends: BTreeSet<Position>,
    promises: Vec<Position>,
    acknowledged: Vec<(Position, Arc<[u8]>)>,
    keyed: Vec<(AppendRequest, Vec<Position>)>,
}

impl Player {
    fn step(&mut self, store: &Store, checkpoint: bool) -> Result<()> {
        self.let_checkpointer_go_on(store);
        if checkpoint {
            self.gate.open();
            store.checkpoint()?;
            self.gate.close();
        }
        match self.random.below(10) {
            0 if !self.keyed.is_empty() => {
                let known = self.random.below(self.keyed.len() as u64) as usize;
                let (group, positions) = self.keyed[known].clone();
                let outcome = store.append(group)?;
                assert!(outcome.repeated && positions_of(&outcome) == positions);
            }
            1 => assert!(store.append(one(self.event().expect(Expect::Version(Version(9999))))).is_err()),
            2 => self.append_together(store)?,
            3 | 4 => {
                let events = (0..2 + self.random.below(4)).map(|_| self.event()).collect();
                let key =
                    (self.random.below(2) == 0).then(|| format!("group-{}", self.random.below(1 << 40)));
                self.append(store, AppendRequest { events, key, ..AppendRequest::default() })?;
            }
            5 => {
                let key = format!("key-{}", self.random.below(1 << 40));
                let event = self.event().key(&key);
                self.append(store, one(event))?;
            }
            _ => {
                let event = self.event();
                self.append(store, one(event))?;
            }
        }
        self.promise(store);
        settle_filler(store);
        Ok(())
    }

    /// Defines an index, drops one, or goes on with what is to be built and dropped.
    fn change_indexes(&mut self, store: &Store) -> Result<()> {
        let name = ["a", "b"][self.random.below(2) as usize];
        let on = ["Order.*", "*"][self.random.below(2) as usize];
        match self.random.below(16) {
            0 | 1 => self.append(store, defined(name, on, "n"))?,
            2 => self.append(store, defined(name, on, "text"))?,
            3 => self.append(store, dropped(name))?,
            4..12 => {
                // A checkpoint under way has the tables for itself.
                self.gate.open();
                store.shared().keep_defined()?;
                self.gate.close();
            }
            _ => return Ok(()),
        }
        self.promise(store);
        settle_filler(store);
        Ok(())
    }

    /// Defines entities or indexes of their states, drops some, or goes on with what is to be kept and dropped.
    fn change_models(&mut self, store: &Store) -> Result<()> {
        let kind = KINDS[self.random.below(2) as usize];
        let name = ["sum", "last"][self.random.below(2) as usize];
        match self.random.below(16) {
            0 | 1 => {
                let (every, factor) = (1 + self.random.below(3), 1 + self.random.below(2) as i64);
                self.append(store, definition(kind, every, factor))?;
            }
            2 => self.append(store, undefined(kind))?,
            3 | 4 => self.append(store, index_of_states(name, kind))?,
            5 => self.append(store, dropped(name))?,
            6..13 => {
                self.gate.open();
                store.shared().keep_defined()?;
                self.gate.close();
            }
            _ => return Ok(()),
        }
        self.promise(store);
        settle_filler(store);
        Ok(())
    }

    fn append(&mut self, store: &Store, group: AppendRequest) -> Result<()> {
        let outcome = store.append(group.clone())?;
        self.acknowledge(group, outcome);
        Ok(())
    }

    /// Three requests in one frame.
    fn append_together(&mut self, store: &Store) -> Result<()> {
        let shared = store.shared();
        let groups: Vec<_> = (0..3).map(|_| one(self.event())).collect();
        let mut pending = Vec::new();
        for group in &groups {
            pending.push(Pending::new(Prepared::new(shared, group.clone())?));
        }
        let leads: Vec<_> = pending.iter().map(|pending| shared.queue.push(pending).unwrap()).collect();
        assert_eq!(leads, [true, false, false]);
        shared.commits.lead();
        for (group, pending) in groups.into_iter().zip(pending) {
            let outcome = shared.commits.wait(&pending)?;
            self.ends.insert(store.snapshot().head());
            self.acknowledged.extend(outcome.events.clone());
            drop(group);
        }
        Ok(())
    }

    fn acknowledge(&mut self, group: AppendRequest, outcome: AppendOutcome) {
        assert!(!outcome.repeated);
        let positions = positions_of(&outcome);
        self.ends.extend(positions.last());
        self.acknowledged.extend(outcome.events);
        if group.key.is_some() || group.events.iter().any(|event| event.key.is_some()) {
            self.keyed.push((group, positions));
        }
    }

    /// Notes what must survive from here on.
    fn promise(&mut self, store: &Store) {
        let durable = match store.shared().options.durability {
            Durability::Sync => self.acknowledged.last().map_or(Position::START, |last| last.0),
            Durability::Interval(_) => {
                if store.shared().log.as_local().unwrap().is_begun() && self.random.below(4) == 0 {
                    store.shared().sync_log().unwrap();
                }
                store.shared().log_progress.synced()
            }
        };
        self.disk.note(self.promises.len() as u64);
        self.promises.push(durable);
    }

    fn let_checkpointer_go_on(&mut self, store: &Store) {
        let idle = || store.shared().applied.memtables().frozen.is_none();
        let full =
            store.shared().applied.memtables().active.size().0 >= store.shared().options.memtable_events;
        match self.random.below(8) {
            // Whoever does not wait for the checkpointer is to meet one that is slow.
            _ if store.shared().injects(FaultInjection::EarlyReuse) => {}
            _ if full => self.gate.allow(u64::MAX, idle),
            0 => self.gate.allow(u64::MAX, idle),
            n if n < 5 => {
                let operations = self.random.below(16);
                self.gate.allow(operations, idle);
            }
            _ => {}
        }
    }

    fn event(&mut self) -> NewEvent {
        let random = &mut self.random;
        let kind = ["Order.created", "Order.paid", "Order.sent", "Parcel.sent"][random.below(4) as usize];
        let mut event = NewEvent::new(kind).member("n", random.below(1000));
        if self.models && random.below(3) == 0 {
            event =
                NewEvent::new("Vehicle.moved").member("n", random.below(9)).index("trip", random.below(4));
        } else if random.below(8) > 0 {
            event = event.on(("Order", random.below(4)));
        }
        if random.below(2) == 0 {
            event = event.by(("User", random.below(3)));
        }
        if random.below(3) == 0 {
            event = event.index("colour", ["red", "green", "blue"][random.below(3) as usize]);
        }
        if random.below(6) == 0 {
            event = event.id(&format!("id-{}", random.below(1 << 40)));
        }
        if random.below(6) == 0 && !self.acknowledged.is_empty() {
            event = event.caused_by(Position(1 + random.below(self.acknowledged.len() as u64)));
        }
        if random.below(6) == 0 {
            event = event.at(Timestamp::from_millis(random.below(1 << 40) as i64));
        }
        if random.below(3) == 0 {
            event = event.member("text", "x".repeat(random.below(900) as usize));
        }
        event
    }
}

fn positions_of(outcome: &AppendOutcome) -> Vec<Position> {
    outcome.events.iter().map(|(position, _)| *position).collect()
}

/// Waits until the journal's space is filled as far as it wants to be.
fn settle_filler(store: &Store) {
    while store.shared().log.wants_maintenance() {
        store.shared().background.ask(|asked| asked.fill = true);
        thread::yield_now();
    }
}

/// Where the checkpointer waits before each operation of the disk.
#[derive(Debug, Default)]
struct Gate {
    allowed: Mutex<u64>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        if thread::current().name() != Some("bygone-checkpointer") {
            return;
        }
        // redb may hold a lock across a write that the script's thread needs: nobody waits for ever.
        let until = Instant::now() + Duration::from_millis(20);
        let mut allowed = locked(&self.allowed);
        while *allowed == 0 && Instant::now() < until {
            allowed = self.changed.wait_timeout(allowed, Duration::from_millis(5)).unwrap().0;
        }
        *allowed = allowed.saturating_sub(u64::from(*allowed != u64::MAX));
        self.changed.notify_all();
    }

    fn open(&self) {
        *locked(&self.allowed) = u64::MAX;
        self.changed.notify_all();
    }

    fn close(&self) {
        *locked(&self.allowed) = 0;
    }

    /// Lets some operations pass, and waits until they have, or there is nothing to do.
    fn allow(&self, operations: u64, idle: impl Fn() -> bool) {
        *locked(&self.allowed) = operations;
        self.changed.notify_all();
        let passed = || match operations {
            u64::MAX => false,
            _ => *locked(&self.allowed) == 0,
        };
        while !idle() && !passed() {
            thread::yield_now();
        }
        self.close();
    }
}
