//! Arbitrary operations on a database whose disk crashes, held to a plain model of it.

mod model;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{ACCOUNTS, DEFINED, Fact, Model, Outcome};

use crate::db::Db;
use crate::entity::{Position, Version};
use crate::error::{Error, ErrorClass, Result};
use crate::event::{Event, Expect, NewEvent};
use crate::exec::Row;
use crate::lang::generator::{Bytes, Choices};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::{BackupMode, Durability, Options};
use crate::time::{Clock, Timestamp};
use crate::value::Value;

const PATH: &str = "/fuzz.bygone";

/// The backup that grows, and the one that is written anew.
const COPIES: [&str; 2] = ["/grown.bygone", "/anew.bygone"];

/// No input does more than this: one that is longer would only be slower.
const MOST: usize = 80;

/// What is built in the background is waited for so long: longer, and it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was told to whoever asked, by some moment: it must be so from then on.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    /// The log is durable up to here.
    durable: Position,
    /// Each of the backups holds all up to here; none: it need not be there.
    copies: [Option<Position>; 2],
}

/// A database, its disk, and what it must be.
struct Run {
    disk: SimulatedDisk,
    db: Db,
    model: Model,
    promise: Promise,
    /// What was promised at each mark in the trace of the disk. The first is what the disk began with.
    promised: Vec<Promise>,
    /// Whether the disk was there before the database: one that a crash left.
    left: bool,
    durability: Durability,
    now: Arc<AtomicI64>,
}

/// The bytes choose operations, and crashes between their steps: appends, groups, keys, guards, definitions, verbs, checkpoints,
/// compactions, backups, closing and opening. Each is answered as a plain model of the log answers it. After a crash the log is one
/// that the model had, with all that was acknowledged; and histories, states, an index, a view and the backups are what follows from it.
///
/// How often the disk crashed.
pub fn operations(bytes: &[u8]) -> usize {
    let mut choices = Bytes(bytes);
    let durability = match choices.below(4) {
        0 => Durability::Interval(Duration::from_millis(2)),
        _ => Durability::Sync,
    };
    let mut run = Run::begin(durability);
    let mut crashes = 0;
    for _ in 0..MOST {
        if choices.0.is_empty() {
            break;
        }
        crashes += usize::from(run.step(&mut choices));
    }
    run.close();
    run.open();
    run.holds();
    run.copies_hold();
    run.close();
    crashes
}

impl Run {
    fn begin(durability: Durability) -> Run {
        let disk = SimulatedDisk::new();
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let db = options(&disk, durability, &now).create(PATH).expect("the disk is whole");
        let (promise, promised) = (Promise::default(), vec![Promise::default()]);
        let model = Model::default();
        let mut run = Run { disk, db, model, promise, promised, left: false, durability, now };
        run.define(DEFINED);
        run.learn();
        run
    }

    /// Does one thing; whether it was a crash.
    fn step(&mut self, choices: &mut Bytes<'_>) -> bool {
        match choices.below(24) {
            0..6 => self.append(choices, 1),
            6 | 7 => {
                let count = 2 + choices.below(4);
                self.append(choices, count);
            }
            8 | 9 => self.append_once(choices),
            10..12 => self.perform(choices),
            12..15 => {
                let text = definition(choices);
                self.define(&text);
            }
            15 | 16 => done(&self.db, "CHECKPOINT"),
            17 => drop(self.db.compact().expect("the disk is whole")),
            18 => self.back_up(choices.below(2)),
            19 => self.holds(),
            20 => {
                self.close();
                self.open();
            }
            21 => drop(self.now.fetch_add(3_600_000, Ordering::SeqCst)),
            _ => {
                self.crash(choices);
                return true;
            }
        }
        self.learn();
        false
    }

    /// Notes what is promised from now on.
    fn learn(&mut self) {
        let synced = self.db.store().shared().log_progress.synced();
        let head = self.db.head();
        assert_eq!(head.0 as usize, self.model.log.len(), "the head is that of the model");
        assert!(
            synced == head || !matches!(self.durability, Durability::Sync),
            "{head} is acknowledged, and {synced} is durable"
        );
        self.promise.durable = self.promise.durable.max(synced);
        self.disk.note(self.promised.len() as u64);
        self.promised.push(self.promise);
    }

    fn append(&mut self, choices: &mut Bytes<'_>, count: usize) {
        let facts: Vec<Fact> = (0..count).map(|_| fact(choices)).collect();
        let guard = guard(choices, &self.model, &facts[0]);
        let mut events: Vec<NewEvent> = facts.iter().map(Fact::event).collect();
        let holds = guard.as_ref().is_none_or(|guard| self.model.allows(&facts[0], guard));
        if let Some(guard) = guard {
            let first = events.remove(0);
            events.insert(0, first.expect(guard));
        }
        let answer = self.db.append_all(events);
        match (answer, holds) {
            (Ok(events), true) => self.acknowledged(facts, &events),
            (Err(Error::Conflict(_)), false) => {}
            (answer, holds) => panic!("{facts:?}: {answer:?}, and the guard holds: {holds}"),
        }
    }

    fn append_once(&mut self, choices: &mut Bytes<'_>) {
        let key = format!("key-{}", choices.below(6));
        let count = 1 + choices.below(3);
        let facts: Vec<Fact> = (0..count).map(|_| fact(choices)).collect();
        let answer = self.db.append_once(&key, facts.iter().map(Fact::event));
        match (answer, self.model.keyed(&key)) {
            (Ok(events), None) => {
                self.model.keys.push((key, self.model.log.len(), facts.clone()));
                self.acknowledged(facts, &events);
            }
            (Ok(events), Some((first, known))) if *known == facts => {
                let positions = events.iter().map(|event| event.position.0 as usize);
                assert!(positions.eq(first + 1..=first + facts.len()), "{key} is elsewhere: {events:?}");
            }
            (Err(Error::Conflict(_)), Some((_, known))) if *known != facts => {}
            (answer, known) => panic!("{key}: {answer:?}, and {known:?} is known"),
        }
    }

    fn acknowledged(&mut self, facts: Vec<Fact>, events: &[Event]) {
        let before = self.model.log.len();
        self.model.append(facts);
        for (event, position) in events.iter().zip(before..) {
            self.model.is_event(position, event);
        }
        assert_eq!(before + events.len(), self.model.log.len(), "each event is answered");
    }

    fn perform(&mut self, choices: &mut Bytes<'_>) {
        let (account, amount) = (choices.below(ACCOUNTS), choices.below(40) as i64);
        let expected = self.model.perform(account, amount);
        let answer = self.db.query(&format!("PERFORM Spend Account {account} {{amount: {amount}}}"));
        let answer = answer.and_then(|answer| answer.rows.collect::<Result<Vec<Row>>>());
        match (answer, expected) {
            (Ok(_), Outcome::Made(fact)) => self.model.append(vec![fact]),
            (Err(Error::Refused(_)), Outcome::Refused) | (Err(Error::Missing(_)), Outcome::Unknown) => {}
            (answer, expected) => panic!("Spend {amount} of {account}: {answer:?}, and not {expected:?}"),
        }
    }

    /// A definition is an event, unless it says what is defined already. What is not there cannot be dropped.
    fn define(&mut self, text: &str) {
        for text in text.split(';') {
            let before = self.db.head().0;
            let answer = self.db.query(text).and_then(|answer| answer.rows.collect::<Result<Vec<Row>>>());
            let made = self.db.head().0 - before;
            match answer {
                Ok(_) => {
                    assert!(made <= 1, "{text} is {made} events");
                    self.model.append((0..made).map(|_| Fact::Definition(text.to_owned())).collect());
                }
                Err(error) => {
                    let usual = matches!(error.class(), ErrorClass::Usage | ErrorClass::Refused);
                    assert!(usual && made == 0, "{text}: {error}, and {made} events");
                }
            }
        }
    }

    fn back_up(&mut self, which: usize) {
        let mode = [BackupMode::Increment, BackupMode::Replace][which];
        let copy = self.db.backup_with(COPIES[which], mode, &mut |_| {}).expect("the disk is whole");
        assert!(copy.position >= self.promise.durable, "{copy:?} is behind {:?}", self.promise);
        self.promise.copies[which] = self.promise.copies[which].max(Some(copy.position));
    }

    fn close(&mut self) {
        self.db.close().expect("the disk is whole");
    }

    fn open(&mut self) {
        self.db = options(&self.disk, self.durability, &self.now).open(PATH).expect("it was closed");
    }

    /// The disk crashes now, or some steps of it before.
    fn crash(&mut self, choices: &mut Bytes<'_>) {
        let fate = *choices.pick(&Fate::ALL);
        let back = choices.below(64).saturating_sub(16);
        let seed = choices.below(256) as u64;
        let trace = self.disk.trace();
        let mut crashes = trace.crashes();
        crashes.advance_to(trace.operations().len().saturating_sub(back));
        // A database that was not there yet is no matter of this.
        while !self.left && crashes.notes().is_empty() && crashes.advance() {}
        let noted = crashes.notes().last().map_or(0, |note| *note as usize);
        self.promise = self.promised[noted];
        self.disk = crashes.image(fate, seed);
        self.left = true;
        self.open();
        let head = self.db.head().0 as usize;
        assert!(
            self.promise.durable.0 as usize <= head && self.model.is_boundary(head),
            "{fate:?}, {back} back, seed {seed}: the log ends at {head} of {}, and {:?}",
            self.model.log.len(),
            self.promise
        );
        self.model.cut(head);
        // What is served is durable: another crash takes nothing of it.
        self.promise.durable = Position(head as u64);
        self.promised = vec![self.promise];
        self.copies_hold();
        self.holds();
    }

    /// Each backup holds what it was said to, and nothing else than the log.
    fn copies_hold(&self) {
        for (name, promised) in COPIES.into_iter().zip(self.promise.copies) {
            if !self.disk.exists(Path::new(name)).expect("names can be looked at") {
                assert!(promised.is_none(), "the backup {name} is gone, which held all up to {promised:?}");
                continue;
            }
            let options = options(&self.disk, self.durability, &self.now).read_only(true);
            let copy = options.open(name).unwrap_or_else(|e| panic!("the backup {name}: {e}"));
            let head = copy.head().0 as usize;
            let least = promised.map_or(0, |promised| promised.0 as usize);
            assert!(
                (least..=self.model.log.len()).contains(&head),
                "the backup {name} ends at {head}, not {promised:?}"
            );
            log_is(&copy, &self.model, head);
            is_verified(&copy);
        }
    }

    /// All that can be asked is what the model says.
    fn holds(&self) {
        let ready = self.db.wait_for_indexes(PATIENCE).expect("the disk is whole");
        assert!(ready, "indexes and views are not built after {PATIENCE:?}");
        log_is(&self.db, &self.model, self.model.log.len());
        for account in 0..ACCOUNTS {
            let entity = ("Account", account as u64);
            let history = self.db.history(entity).expect("a history is read");
            let history: Vec<usize> =
                history.map(|event| event.expect("an event is read").position.0 as usize).collect();
            assert_eq!(history, self.model.history(account), "the history of {account}");
            let version = self.db.version(entity).expect("a version is read");
            assert_eq!(version, Version(history.len() as u64), "the version of {account}");
            let state = rows(&self.db, &format!("AT Account {account}"));
            let state = match state.as_deref() {
                Ok([Row::State(found)]) => found.state.clone(),
                Ok([]) | Err(Error::Missing(_)) => Value::Null,
                other => panic!("the state of {account}: {other:?}"),
            };
            let expected = self.model.state(account);
            assert_eq!(state.canonical(), expected.canonical(), "the state of {account}");
        }
        for amount in [1, 2, 3] {
            let found =
                numbers(&self.db, &format!("EVENTS BY amounts = {amount} SELECT position"), "position");
            assert_eq!(found, self.model.found(amount), "by the index of amounts: {amount}");
        }
        let colored = numbers(&self.db, "EVENTS 'Account.*' BY colour = 'red' SELECT position", "position");
        // While there is none, nobody knows the name.
        assert_eq!(colored.unwrap_or_default(), self.model.colored(), "those that are red");
        let mut sums = numbers(&self.db, "READ totals", "sum");
        if let Some(sums) = &mut sums {
            sums.sort();
        }
        assert_eq!(sums, self.model.sums(), "the view of totals");
        is_verified(&self.db);
    }
}

/// Small memtables, small steps, small slices: much happens soon.
fn options(disk: &SimulatedDisk, durability: Durability, now: &Arc<AtomicI64>) -> Options {
    let now = now.clone();
    let clock = Clock::new(move || Timestamp::from_millis(now.fetch_add(1, Ordering::SeqCst)));
    let mut options = Options::new()
        .disk(Arc::new(disk.clone()))
        .cache(256 << 10)
        .memtable(6, 1 << 20)
        .journal_steps(4096, 8192)
        .durability(durability)
        .threads(1)
        .clock(clock);
    options.index_slice = (9, 5);
    options
}

fn rows(db: &Db, text: &str) -> Result<Vec<Row>> {
    db.query(text)?.rows.collect()
}

fn done(db: &Db, text: &str) {
    rows(db, text).unwrap_or_else(|e| panic!("{text}: {e}"));
}

/// A column of numbers; none if what is asked for is not defined.
fn numbers(db: &Db, text: &str, column: &str) -> Option<Vec<i64>> {
    match rows(db, text) {
        Ok(rows) => Some(
            rows.iter()
                .map(|row| row.get::<i64>(column).unwrap_or_else(|e| panic!("{text}: {row:?}: {e}")))
                .collect(),
        ),
        Err(Error::Missing(_) | Error::Syntax(_)) => None,
        Err(other) => panic!("{text}: {other}"),
    }
}

fn is_verified(db: &Db) {
    let found = db.verify().expect("it is verified");
    assert!(found.faults.is_empty(), "VERIFY finds {:?}", found.faults);
}

/// The log is that of the model up to a position, and ends there.
fn log_is(db: &Db, model: &Model, head: usize) {
    for position in 0..head {
        let event = db.event(Position(position as u64 + 1)).expect("an event is read");
        model.is_event(position, &event.unwrap_or_else(|| panic!("there is no event {}", position + 1)));
    }
    let next = db.event(Position(head as u64 + 1)).expect("nothing is read");
    assert!(next.is_none(), "{next:?} was never appended");
}

fn fact(choices: &mut Bytes<'_>) -> Fact {
    let account = choices.below(ACCOUNTS);
    match choices.below(5) {
        0 => Fact::Noted { account, text: "tea ".repeat(choices.below(256)) },
        1 => Fact::Used { account, amount: choices.below(40) as i64, red: true },
        _ => Fact::Used { account, amount: choices.below(4) as i64, red: false },
    }
}

/// What is expected: what holds, or something else.
fn guard(choices: &mut Bytes<'_>, model: &Model, of: &Fact) -> Option<Expect> {
    let versions = of.account().map_or(0, |account| model.history(account).len() as u64);
    match choices.below(12) {
        0 => Some(Expect::New),
        1 => Some(Expect::Exists),
        2 => Some(Expect::Version(Version(versions))),
        3 => Some(Expect::Version(Version(versions + 1))),
        // While no event has the name, nobody knows it: that is refused otherwise.
        4 if of.is_red() || !model.colored().is_empty() => {
            Some(Expect::none("Account.used").by("colour", "red").into())
        }
        5 => Some(Expect::Absent),
        _ => None,
    }
}

/// Definitions that come and go.
fn definition(choices: &mut Bytes<'_>) -> String {
    let n = 1 + choices.below(3);
    match choices.below(12) {
        0..3 => format!(
            "DEFINE ENTITY Account INITIAL {{sum: 0}} SNAPSHOT EVERY {n} ON used SET sum = state.sum + data.amount * {n} \
             ON spent SET sum = state.sum - data.amount ON noted IGNORE"
        ),
        3..5 => format!("DEFINE INDEX amounts ON 'Account.*' AS data.amount + {n}"),
        5..7 => format!(
            "DEFINE VIEW totals AS EVENTS 'Account.used' WHERE data.amount >= {n} GROUP BY target.id AS account \
             SELECT sum(data.amount) AS sum"
        ),
        7 => "DROP ENTITY Account".to_owned(),
        8 => "DROP INDEX amounts".to_owned(),
        9 => "DROP VIEW totals".to_owned(),
        10 => DEFINED.to_owned(),
        _ => format!("DEFINE INDEX sums ON 'Account' AS state.sum + {n}; DROP INDEX sums"),
    }
}
