//! Aggregates against plain folds, and commands that meet.

use std::cell::Cell;
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::event::NewEvent;
use crate::store::Options;
use crate::store::disk::memory::MemoryDisk;

thread_local! {
    /// After how many events a snapshot is kept; 0 is never.
    static EVERY: Cell<u64> = const { Cell::new(0) };
    /// How many events were applied.
    static APPLIED: Cell<u64> = const { Cell::new(0) };
}

/// A state in which the order of all its events shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Trail {
    digest: u64,
    names: Vec<u64>,
}

impl Trail {
    fn step(&mut self, name: u64) {
        self.digest = self.digest.wrapping_mul(31).wrapping_add(name + 1);
        self.names.truncate(4);
        self.names.insert(0, name);
    }
}

impl Aggregate for Trail {
    const KIND: &'static str = "Trail";

    fn apply(&mut self, event: &Event) -> Result<()> {
        APPLIED.set(APPLIED.get() + 1);
        let Some(name) = event.data.get("name") else {
            return Err(Error::invalid("a step", "a name", "none"));
        };
        self.step(name.parse()?);
        Ok(())
    }

    fn snapshots() -> Option<SnapshotPolicy<Trail>> {
        let every = EVERY.get();
        (every > 0).then(|| SnapshotPolicy::named("trail-1").every(every))
    }
}

fn step(id: u64, name: u64, millis: i64) -> NewEvent {
    let at = Timestamp::from_millis(millis);
    NewEvent::new("Trail.stepped").on(("Trail", id)).member("name", name).at(at)
}

/// What the log has of all trails, as a test knows it: the trail, the name, the time.
type Log = Vec<(u64, u64, i64)>;

/// The plain fold.
fn plain(log: &Log, id: u64, through: u64, by: Option<i64>) -> (Trail, u64, u64) {
    let (mut trail, mut version, mut position, mut own) = (Trail::default(), 0, 0, 0);
    for (&(whose, name, at), here) in log.iter().zip(1..=through) {
        own += u64::from(whose == id);
        if whose == id && by.is_none_or(|by| at <= by) {
            trail.step(name);
            (version, position) = (own, here);
        }
    }
    (trail, version, position)
}

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<(u64, u64, i64)>),
    Now(u64),
    Time(u64, i64),
    Position(u64, prop::sample::Index),
    Version(u64, prop::sample::Index),
    Every(u64),
    Checkpoint,
}

fn act() -> impl Strategy<Value = Act> {
    let id = || 0..3u64;
    let time = || 0..40i64;
    prop_oneof![
        4 => prop::collection::vec((id(), 0..9u64, time()), 1..20).prop_map(Act::Append),
        2 => id().prop_map(Act::Now),
        3 => (id(), time()).prop_map(|(id, by)| Act::Time(id, by)),
        3 => (id(), any::<prop::sample::Index>()).prop_map(|(id, at)| Act::Position(id, at)),
        3 => (id(), any::<prop::sample::Index>()).prop_map(|(id, at)| Act::Version(id, at)),
        1 => (0..8u64).prop_map(Act::Every),
        1 => Just(Act::Checkpoint),
    ]
}

proptest! {
    #[test]
    fn with_snapshots_as_without(every in 0..8u64, acts in prop::collection::vec(act(), 1..40)) {
        EVERY.set(every);
        let db = Db::in_memory().unwrap();
        let mut log: Log = Vec::new();
        for act in acts {
            let head = log.len() as u64;
            let (id, found, through, by) = match act {
                Act::Append(events) => {
                    db.append_all(events.iter().map(|&(id, name, at)| step(id, name, at))).unwrap();
                    log.extend(events);
                    continue;
                }
                Act::Every(every) => {
                    EVERY.set(every);
                    continue;
                }
                Act::Checkpoint => {
                    db.store().checkpoint().unwrap();
                    continue;
                }
                Act::Now(id) => (id, db.aggregate::<Trail>(id), head, None),
                Act::Time(id, by) => {
                    (id, db.aggregate_at(id, Timestamp::from_millis(by)), head, Some(by))
                }
                Act::Position(id, at) => {
                    let at = at.index(log.len() + 1) as u64;
                    (id, db.aggregate_at(id, Position(at)), at, None)
                }
                Act::Version(id, at) => {
                    let own: Vec<u64> =
                        log.iter().zip(1..).filter(|((whose, ..), _)| *whose == id).map(|(_, at)| at).collect();
                    let version = at.index(own.len() + 1);
                    let through = version.checked_sub(1).map_or(0, |at| own[at]);
                    (id, db.aggregate_at(id, Version(version as u64)), through, None)
                }
            };
            let found = found.unwrap();
            let (trail, version, position) = plain(&log, id, through, by);
            prop_assert_eq!(&found.state, &trail);
            prop_assert_eq!((found.version.0, found.position.0), (version, position));
            let mut latest = i64::MIN;
            let late = log.iter().zip(1..=through).filter(|((whose, _, at), _)| {
                let here = *whose == id && by.is_none_or(|by| *at <= by);
                let late = here && *at < latest;
                if here {
                    latest = latest.max(*at);
                }
                late
            });
            prop_assert_eq!(found.late, late.count() as u64);
        }
    }
}

/// How many events a reading applies.
fn applied<T>(read: impl FnOnce() -> Result<T>) -> (T, u64) {
    let before = APPLIED.get();
    let read = read().unwrap();
    (read, APPLIED.get() - before)
}

#[test]
fn a_snapshot_saves_what_came_before_it() {
    EVERY.set(10);
    let db = Db::in_memory().unwrap();
    db.append_all((0..35).map(|n| step(1, n, n as i64))).unwrap();
    let (whole, count) = applied(|| db.aggregate::<Trail>(1));
    assert_eq!(count, 35);
    // From each tenth event on; through another handle, too.
    assert_eq!(applied(|| db.as_actor(("User", "ann")).aggregate::<Trail>(1)), (whole, 5));
    assert_eq!(applied(|| db.aggregate_at::<Trail>(1, Version(29))).1, 9);
    assert_eq!(applied(|| db.aggregate_at::<Trail>(1, Timestamp::from_millis(10))).1, 1);
    // What had not occurred by then is in all of them.
    db.append(step(2, 0, 100)).unwrap();
    db.append_all((0..35).map(|n| step(2, n, n as i64))).unwrap();
    db.aggregate::<Trail>(2).unwrap();
    assert_eq!(applied(|| db.aggregate_at::<Trail>(2, Timestamp::from_millis(50))).1, 35);
}

#[test]
fn snapshots_outlive_the_handle() {
    EVERY.set(10);
    let disk = MemoryDisk::new();
    let options = || Options::new().disk(Arc::new(disk.clone()));
    let db = options().create("/trails.bygone").unwrap();
    db.append_all((0..35).map(|n| step(1, n, n as i64))).unwrap();
    db.store().checkpoint().unwrap();
    let whole = db.aggregate::<Trail>(1).unwrap();
    let newest = |position| {
        let snapshot = db.store().snapshot();
        let kept = |kept: Option<&[u8]>| Ok(kept.map(<[u8]>::to_vec));
        snapshot.with_named_snapshot("trail-1", &("Trail", 1).into(), position, kept).unwrap()
    };
    // That of 30, the last.
    let written = || newest(Position(30)) != newest(Position(29));
    // The background writes them when there is time.
    for _ in 0..10_000 {
        if written() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    db.close().unwrap();
    let db = options().open("/trails.bygone").unwrap();
    assert_eq!(applied(|| db.aggregate::<Trail>(1)), (whole, 5));
    let db = db.as_actor(("User", "ann"));
    assert_eq!(applied(|| db.aggregate_at::<Trail>(1, Position(29))).1, 9);
    // Of those at 9, 19 and 29 the second.
    assert_eq!(applied(|| db.aggregate_at::<Trail>(1, Timestamp::from_millis(25))).1, 6);
}

#[test]
fn a_snapshot_that_cannot_be_read_is_as_none() {
    EVERY.set(10);
    let db = Db::in_memory().unwrap();
    db.append_all((0..15).map(|n| step(1, n, 0))).unwrap();
    let junk = AggregateSnapshot {
        position: Position(12),
        version: 12,
        latest: Timestamp::from_millis(0),
        late: 0,
        bytes: Arc::from(*b"junk"),
    };
    db.shelf().keep("trail-1", &("Trail", 1).into(), junk);
    let (trail, count) = applied(|| db.aggregate::<Trail>(1));
    assert_eq!((trail.version.0, count), (15, 15));
}

#[test]
fn what_cannot_be_applied_is_an_error_with_its_place() {
    EVERY.set(0);
    let db = Db::in_memory().unwrap();
    db.append(step(1, 5, 0)).unwrap();
    db.append(NewEvent::new("Trail.lost").on(("Trail", 1))).unwrap();
    db.append(step(1, 6, 0)).unwrap();
    let error = db.aggregate::<Trail>(1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Trail 1 has no state: Trail.lost at #2 could not be folded in: a step: expected a name, found none; \
         ask for a point before #2, or let its `apply` take it"
    );
    assert_eq!(db.aggregate_at::<Trail>(1, Position(1)).unwrap().names, [5]);
}

#[test]
fn points_that_are_not_there_are_told() {
    EVERY.set(0);
    let db = Db::in_memory().unwrap();
    db.append(step(1, 5, 0)).unwrap();
    let error = |error: Result<AggregateState<Trail>>| error.unwrap_err().to_string();
    assert_eq!(error(db.aggregate_at(1, Version(2))), "Trail 1 has no version 2; its newest is 1");
    assert_eq!(error(db.aggregate_at(1, Position(2))), "#2 is beyond the head, which is #1");
    assert!(error(db.aggregate_at(1, "yesterdya")).contains("yesterdya"));
    assert!(error(db.aggregate("")).contains("the id of Trail"));
}

/// An account that is never below zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "camelCase")]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}
use AccountEvent::{Deposited, Withdrawn};

enum AccountCommand {
    Deposit(u64),
    Withdraw(u64),
    /// In several steps.
    WithdrawTwice(u64),
    Nothing,
    /// Somebody else appends while this is decided, so many times.
    Meanwhile(Db, Cell<u32>),
}
use AccountCommand::{Deposit, Meanwhile, Nothing, Withdraw, WithdrawTwice};

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("there are only {0}")]
struct NotEnough(u64);

impl Aggregate for Account {
    const KIND: &'static str = "Account";

    fn apply(&mut self, event: &Event) -> Result<()> {
        let fault = || Error::invalid("a balance", "one that is not below zero", "one that is");
        self.balance = match event.parse()? {
            Deposited { amount } => self.balance.checked_add(amount),
            Withdrawn { amount } => self.balance.checked_sub(amount),
        }
        .ok_or_else(fault)?;
        Ok(())
    }

    fn snapshots() -> Option<SnapshotPolicy<Account>> {
        Some(SnapshotPolicy::named("account-1").every(7))
    }
}

impl Decide for Account {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = NotEnough;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
        let enough = |amount| if amount <= self.balance { Ok(()) } else { Err(NotEnough(self.balance)) };
        match command {
            &Deposit(amount) => Ok(vec![Deposited { amount }]),
            &Withdraw(amount) => enough(amount).map(|()| vec![Withdrawn { amount }]),
            &WithdrawTwice(amount) => {
                enough(2 * amount).map(|()| vec![Withdrawn { amount }, Withdrawn { amount }])
            }
            Nothing => Ok(Vec::new()),
            Meanwhile(db, times) => {
                if times.get() > 0 {
                    times.set(times.get() - 1);
                    db.emit(("Account", 1), &Deposited { amount: 1 }).unwrap();
                }
                Ok(vec![Withdrawn { amount: self.balance }])
            }
        }
    }
}

/// What became of some commands.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    events: u64,
}

#[test]
fn commands_that_meet_break_no_rule() {
    const THREADS: u64 = 8;
    const COMMANDS: u64 = 60;
    let db = Db::in_memory().unwrap();
    let work = |thread: u64| {
        let mut tally = Tally::default();
        for n in 0..COMMANDS {
            let command = match (thread + n) % 3 {
                0 => Deposit(n % 5),
                1 => Withdraw(n % 7),
                _ => WithdrawTwice(n % 3),
            };
            match db.execute::<Account>(n % 4, command) {
                Ok(done) => {
                    tally.accepted += 1;
                    tally.events += done.events.len() as u64;
                    let places: Vec<_> = done.events.iter().map(|event| event.position.0).collect();
                    assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{places:?}");
                    assert_eq!(done.state.position, done.events.last().unwrap().position);
                }
                Err(CommandError::Refused(NotEnough(_))) => tally.refused += 1,
                Err(CommandError::Failed(error)) => panic!("{error}"),
            }
            // Somebody who asks nobody.
            if n % 20 == 0 {
                db.emit(("Account", n % 4), &Deposited { amount: 2 }).unwrap();
                tally.events += 1;
            }
        }
        tally
    };
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    assert_eq!(sum(|tally| tally.accepted + tally.refused), THREADS * COMMANDS);
    assert!(sum(|tally| tally.refused) > 0, "{tallies:?}");
    let mut events = 0;
    for id in 0..4 {
        // The plain model takes every event.
        let mut balance = 0i64;
        for event in db.history(("Account", id)).unwrap() {
            let event = event.unwrap();
            balance += match event.parse().unwrap() {
                Deposited { amount } => amount as i64,
                Withdrawn { amount } => -(amount as i64),
            };
            assert!(balance >= 0, "{balance} after {event:?}");
            events += 1;
        }
        assert_eq!(db.aggregate::<Account>(id).unwrap().balance as i64, balance);
    }
    assert_eq!(events, sum(|tally| tally.events));
}

#[test]
fn what_is_decided_goes_into_the_log_as_a_whole() {
    let db = Db::in_memory().unwrap().as_actor(("User", "ann"));
    let first = db.execute::<Account>(1, Deposit(10)).unwrap();
    assert_eq!(first.events[0].actor, Some(("User", "ann").into()));
    let january = "2024-01-01".parse().unwrap();
    let done = db
        .command::<Account>(1, WithdrawTwice(3))
        .by(("User", "ben"))
        .at(january)
        .caused_by(Position(1))
        .metadata(&std::collections::BTreeMap::from([("ip", "::1")]))
        .execute()
        .unwrap();
    assert_eq!((done.state.balance, done.state.version, done.state.late), (4, Version(3), 2));
    for event in &done.events {
        assert_eq!(event.actor, Some(("User", "ben").into()));
        assert_eq!(event.correlation, Some(first.events[0].id.to_string()));
        assert_eq!((event.timestamp, event.metadata.get("ip")), (january, Some("::1".into())));
    }
    let named = db.command::<Account>(1, Deposit(1)).caused_by_named("Request", "r-1").correlation("c-1");
    assert_eq!(named.execute().unwrap().events[0].correlation.as_deref(), Some("c-1"));
    let wrong = db.command::<Account>(1, Deposit(1)).metadata("text").execute().unwrap_err();
    assert!(matches!(wrong, CommandError::Failed(Error::Invalid { .. })), "{wrong}");
    let nobody = db.execute::<Account>("", Deposit(1)).unwrap_err();
    assert!(matches!(nobody, CommandError::Failed(Error::Invalid { .. })), "{nobody}");
    let nothing = db.command::<Account>(1, Nothing).key("k").execute().unwrap();
    assert_eq!((nothing.events.len(), nothing.state.balance, db.head()), (0, 5, Position(4)));
}

#[test]
fn a_key_gives_the_first_outcome() {
    let db = Db::in_memory().unwrap();
    db.execute::<Account>(1, Deposit(10)).unwrap();
    let withdraw = |id, amount| db.command::<Account>(id, WithdrawTwice(amount)).key("k").execute();
    // What was refused is not remembered.
    assert!(matches!(withdraw(1, 6), Err(CommandError::Refused(NotEnough(10)))));
    let first = withdraw(1, 5).unwrap();
    assert!(!first.repeated && first.events.len() == 2 && first.state.balance == 0);
    db.execute::<Account>(1, Deposit(1)).unwrap();
    for amount in [5, 500] {
        let again = withdraw(1, amount).unwrap();
        assert!(again.repeated);
        assert_eq!((&again.events, &again.state), (&first.events, &first.state));
    }
    assert_eq!(
        withdraw(2, 0).unwrap_err().to_string(),
        "conflict: key 'k': expected a command to Account 2, found Account.withdrawn of Account 1 at #2"
    );
    assert_eq!(db.head(), Position(4));
}

#[test]
fn a_key_that_comes_many_times_at_once_is_executed_once() {
    let db = Db::in_memory().unwrap();
    for round in 0..20 {
        db.execute::<Account>(round, Deposit(10)).unwrap();
        let barrier = Barrier::new(8);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let command = db.command::<Account>(round, WithdrawTwice(5));
                        command.key(&format!("k{round}")).execute().unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.repeated).count(), 1);
        for outcome in &outcomes {
            assert_eq!((&outcome.events, &outcome.state), (&outcomes[0].events, &outcomes[0].state));
        }
        assert_eq!(db.version(("Account", round)).unwrap(), Version(3));
    }
}

#[test]
fn what_came_between_is_decided_by_and_not_for_ever() {
    let db = Db::in_memory().unwrap();
    let done = db.execute::<Account>(1, Meanwhile(db.clone(), Cell::new(3))).unwrap();
    assert_eq!(done.events[0].parse::<AccountEvent>().unwrap(), Withdrawn { amount: 3 });
    assert_eq!((done.state.balance, done.state.version), (0, Version(4)));
    let error = db.execute::<Account>(1, Meanwhile(db.clone(), Cell::new(u32::MAX))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "conflict: Account 1: expected no event between loading and appending, found another event each time, 1000 times"
    );
    // Another reason to be refused is not tried again.
    db.append(NewEvent::new("Note.taken").on(("Note", 1)).key("k")).unwrap();
    let taken = db.command::<Account>(1, Deposit(1)).key("k").execute().unwrap_err();
    assert!(taken.to_string().contains("found Note.taken of Note 1"), "{taken}");
}
