//! Verbs against a plain model: whatever is staged together, refused, repeated, checkpointed and opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use crate::document::Document;
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::Result;
use crate::event::{Cause, Event, Expect, NewEvent, codec};
use crate::store::append_request::{AppendOutcome, AppendRequest, Prepared};
use crate::store::condition::CommitCondition;
use crate::store::disk::memory::MemoryDisk;
use crate::store::queue::Pending;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::verb::{CommitContext, PerformRequest, VerbHandler};
use crate::store::{Options, Store};

/// Moves an amount to another account, or out where that is the same; refused where there is less.
#[derive(Debug)]
struct Transfer;

fn balance_of(moment: &mut dyn CommitContext, account: &Entity) -> Result<i64> {
    let folded = moment.folded(account)?;
    Ok(folded.state.get("balance").and_then(|balance| balance.as_i64()).unwrap_or(0))
}

fn balance(kind: &str, account: &Entity, balance: i64) -> NewEvent {
    NewEvent::new(kind).on(account).member("balance", balance)
}

impl VerbHandler for Transfer {
    fn kind(&self) -> &str {
        "Account"
    }

    fn sees_actor(&self) -> bool {
        false
    }

    fn decide(&self, asked: &PerformRequest, moment: &mut dyn CommitContext) -> Result<Vec<NewEvent>> {
        let amount = asked.data.get("amount").and_then(|amount| amount.as_i64()).unwrap_or(0);
        let to = account(asked.data.get("to").and_then(|to| to.as_i64()).unwrap_or(0) as u8);
        let there_are = balance_of(moment, &asked.entity)?;
        if amount > there_are {
            return Err(asked.refused(format!("there are {there_are}"), None, Vec::new()));
        }
        let mut events = vec![balance("Account.sent", &asked.entity, there_are - amount)];
        if to != asked.entity {
            events.push(balance("Account.received", &to, balance_of(moment, &to)? + amount));
        }
        Ok(events)
    }
}

fn account(number: u8) -> Entity {
    Entity::from(("Account", number))
}

/// No event that leaves less than this in an account, behind some position.
#[derive(Debug)]
struct NoneBelow(i64, u64);

impl std::fmt::Display for NoneBelow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "balance below {}", self.0)
    }
}

impl NoneBelow {
    fn is_broken_by(&self, event: &Event) -> bool {
        event.position.0 > self.1
            && event.data.get("balance").and_then(|balance| balance.as_i64()).is_some_and(|b| b < self.0)
    }
}

impl CommitCondition for NoneBelow {
    fn find(&self, snapshot: &Snapshot, after: Position) -> Result<Option<Position>> {
        for row in snapshot.log(PositionRange::after(after.max(Position(self.1))), ScanDirection::Ascending) {
            let (position, bytes) = row?;
            if self.is_broken_by(&codec::decode(position, bytes)?) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    fn is_met_by(
        &self,
        event: &crate::event::record::Record,
        _: &crate::allowance::Limits,
    ) -> crate::error::Result<bool> {
        Ok(event.position() > Position(self.1)
            && event.data().to_value().is_ok_and(|data| {
                data.get("balance").and_then(|balance| balance.as_i64()).is_some_and(|b| b < self.0)
            }))
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// What an account has from now on.
    Emit(u8, i64),
    Transfer(u8, u8, i64),
}

#[derive(Debug, Clone)]
struct Asked {
    acts: Vec<Act>,
    key: Option<u8>,
    none_below: Option<(i64, u64)>,
    /// A guard on the first act's account.
    version: Option<u64>,
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Asked>),
    /// What is prepared before something else is appended, and committed behind it.
    Late(Asked, Vec<Asked>),
    Checkpoint,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0u8..3, 0i64..40).prop_map(|(account, balance)| Act::Emit(account, balance)),
        5 => (0u8..3, 0u8..3, 0i64..30).prop_map(|(from, to, amount)| Act::Transfer(from, to, amount)),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        prop::collection::vec(act(), 1..5),
        prop::option::weighted(0.3, 0u8..6),
        prop::option::weighted(0.2, (0i64..20, 0u64..30)),
        prop::option::weighted(0.2, 0u64..8),
    )
        .prop_map(|(acts, key, none_below, version)| Asked { acts, key, none_below, version })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(asked(), 1..6).prop_map(Step::Batch),
        2 => (asked(), prop::collection::vec(asked(), 1..3)).prop_map(|(late, first)| Step::Late(late, first)),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ]
}

/// What the log is to be, worked out one request after the other.
#[derive(Debug, Default)]
struct Model {
    /// Each event: its account, and what that has then.
    log: Vec<(u8, i64)>,
    /// What was asked with a key first, and where its events are.
    keys: BTreeMap<u8, (String, u64, u64)>,
}

impl Model {
    fn balance(log: &[(u8, i64)], account: u8) -> i64 {
        log.iter().rev().find(|(of, _)| *of == account).map_or(0, |(_, balance)| *balance)
    }

    /// The positions of its events, whether they were there before; none if it is refused.
    fn run(&mut self, asked: &Asked) -> Option<(Vec<u64>, bool)> {
        let said = format!("{:?}", asked.acts);
        if let Some(key) = asked.key
            && let Some((first, from, through)) = self.keys.get(&key)
        {
            return (*first == said).then(|| ((*from..=*through).collect(), true));
        }
        if let Some((least, since)) = asked.none_below
            && self.log.iter().skip(since as usize).any(|(_, balance)| *balance < least)
        {
            return None;
        }
        let mut log = self.log.clone();
        for (at, act) in asked.acts.iter().enumerate() {
            let (Act::Emit(of, _) | Act::Transfer(of, ..)) = act;
            let version = log.iter().filter(|(account, _)| account == of).count() as u64;
            if asked.version.is_some_and(|expected| at == 0 && expected != version) {
                return None;
            }
            match act {
                Act::Emit(account, balance) => log.push((*account, *balance)),
                Act::Transfer(from, to, amount) => {
                    let there_are = Model::balance(&log, *from);
                    let others = Model::balance(&log, *to);
                    if *amount > there_are {
                        return None;
                    }
                    log.push((*from, there_are - amount));
                    if to != from {
                        log.push((*to, others + amount));
                    }
                }
            }
        }
        let first = self.log.len() as u64 + 1;
        self.log = log;
        let last = self.log.len() as u64;
        if let Some(key) = asked.key {
            self.keys.insert(key, (said, first, last));
        }
        Some(((first..=last).collect(), false))
    }
}

fn group(asked: &Asked) -> AppendRequest {
    let mut group = AppendRequest { key: asked.key.map(|key| key.to_string()), ..AppendRequest::default() };
    for (at, act) in asked.acts.iter().enumerate() {
        let expect = asked.version.filter(|_| at == 0).map(|version| Expect::Version(Version(version)));
        match act {
            Act::Emit(of, amount) => {
                let mut event = balance("Account.set", &account(*of), *amount);
                event.expect.extend(expect);
                group.events.push(event);
            }
            Act::Transfer(from, to, amount) => {
                let data = serde_json::json!({"to": to, "amount": amount});
                let perform = PerformRequest {
                    data: Document::of(&data).unwrap(),
                    rule: Some(Arc::new(Transfer)),
                    expect: expect.into_iter().collect(),
                    ..PerformRequest::new("Transfer", account(*from))
                };
                group.performs.push((group.events.len(), perform));
            }
        }
    }
    if let Some((least, since)) = asked.none_below {
        group.conditions.push(Arc::new(NoneBelow(least, since)));
    }
    group
}

fn check(model: &mut Model, asked: &Asked, outcome: Result<AppendOutcome>) {
    let expected = model.run(asked);
    match (expected, outcome) {
        (None, Err(error)) => assert!(error.is_conflict() || error.is_refused(), "{error}"),
        (Some((positions, repeated)), Ok(outcome)) => {
            let found: Vec<u64> = outcome.events.iter().map(|(position, _)| position.0).collect();
            assert_eq!((found, outcome.repeated), (positions, repeated), "{asked:?}");
        }
        (expected, found) => panic!("{asked:?}: expected {expected:?}, found {found:?}"),
    }
}

fn options(disk: &MemoryDisk) -> Options {
    // A memtable is full soon: what is looked at stands in a memtable, in a frozen one, or in the tables.
    Options::new().disk(Arc::new(disk.clone())).journal_steps(4096, 8192).memtable(12, 1 << 20)
}

fn run(steps: &[Step]) {
    let disk = MemoryDisk::new();
    let path = Path::new("/shop.bygone");
    let mut store = Store::create(path, options(&disk)).unwrap();
    let mut model = Model::default();
    for step in steps {
        let pend =
            |store: &Store, asked: &Asked| Pending::new(Prepared::new(store.shared(), group(asked)).unwrap());
        let push = |store: &Store, pending: &Arc<Pending>| store.shared().queue.push(pending).unwrap();
        match step {
            Step::Batch(requests) => {
                let pending: Vec<_> = requests.iter().map(|asked| pend(&store, asked)).collect();
                let led = pending.iter().map(|pending| push(&store, pending)).collect::<Vec<_>>();
                assert!(led[0], "nobody leads before");
                store.shared().commits.lead();
                for (asked, pending) in requests.iter().zip(&pending) {
                    check(&mut model, asked, store.shared().commits.wait(pending));
                }
            }
            Step::Late(late, first) => {
                let pending = pend(&store, late);
                for asked in first {
                    check(&mut model, asked, store.append(group(asked)));
                }
                if push(&store, &pending) {
                    store.shared().commits.lead();
                }
                check(&mut model, late, store.shared().commits.wait(&pending));
            }
            Step::Checkpoint => store.checkpoint().unwrap(),
            Step::Reopen => {
                store.close().unwrap();
                store = Store::open(path, options(&disk)).unwrap();
            }
        }
    }
    let log = store.snapshot().log(PositionRange::ALL, ScanDirection::Ascending).map(|row| {
        let (position, bytes) = row.unwrap();
        let event = codec::decode(position, bytes).unwrap();
        let account: u8 = event.target.as_ref().unwrap().id().parse().unwrap();
        (account, event.data.get("balance").unwrap().as_i64().unwrap())
    });
    assert_eq!(log.collect::<Vec<_>>(), model.log);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 400 }))]
    #[test]
    fn verbs_are_decided_by_all_that_is_before_them(steps in prop::collection::vec(step(), 1..16)) {
        run(&steps);
    }
}

#[test]
fn what_a_verb_makes_says_where_it_came_from() {
    let store = Store::create(Path::new("/shop.bygone"), options(&MemoryDisk::new())).unwrap();
    let root = NewEvent::new("Request.received").on(("Request", 1));
    store.append(AppendRequest { events: vec![root], ..AppendRequest::default() }).unwrap();
    store
        .append(group(&Asked { acts: vec![Act::Emit(0, 50)], key: None, none_below: None, version: None }))
        .unwrap();
    let perform = PerformRequest {
        data: Document::of(&serde_json::json!({"to": 1, "amount": 20})).unwrap(),
        metadata: Document::of(&serde_json::json!({"ip": "::1"})).unwrap(),
        actor: Some(("User", 7).into()),
        cause: Some(Cause::Event(Position(1))),
        rule: Some(Arc::new(Transfer)),
        ..PerformRequest::new("Transfer", account(0))
    };
    let outcome =
        store.append(AppendRequest { performs: vec![(0, perform)], ..AppendRequest::default() }).unwrap();
    let events: Vec<Event> =
        outcome.events.into_iter().map(|(position, bytes)| codec::decode(position, bytes).unwrap()).collect();
    let root = store.snapshot().event(Position(1)).unwrap().unwrap();
    for (event, target) in events.iter().zip([account(0), account(1)]) {
        assert_eq!(event.target, Some(target));
        let producer = event.producer.as_ref().unwrap();
        assert_eq!(
            (&producer.model, producer.version),
            (&account(0), Some(2)),
            "the account that sent it made it"
        );
        let vector = format!("{}:2", store.snapshot().node());
        assert_eq!(producer.vector.as_ref().map(ToString::to_string), Some(vector));
        assert_eq!(event.actor, Some(("User", 7).into()));
        assert_eq!(
            (event.cause.clone(), event.correlation.clone()),
            (Some(Cause::Event(Position(1))), Some(root.id.to_string()))
        );
        assert_eq!(event.metadata.to_string(), r#"{"ip":"::1"}"#);
    }
}

#[test]
fn a_verb_with_a_key_is_performed_once() {
    let store = Store::create(Path::new("/shop.bygone"), options(&MemoryDisk::new())).unwrap();
    let asked = |acts: Vec<Act>| group(&Asked { acts, key: Some(1), none_below: None, version: None });
    let acts = vec![Act::Emit(0, 50), Act::Transfer(0, 1, 20), Act::Transfer(0, 0, 10)];
    let first = store.append(asked(acts.clone())).unwrap();
    assert_eq!((first.events.len(), first.repeated), (4, false));
    for _ in 0..2 {
        let again = store.append(asked(acts.clone())).unwrap();
        assert_eq!((again.events, again.repeated), (first.events.clone(), true));
        store.checkpoint().unwrap();
    }
    let error = store.append(asked(acts[1..].to_vec())).unwrap_err();
    assert!(
        error.to_string().contains(r#"found PERFORM Transfer Account 0 {"amount":20,"to":1}"#),
        "{error}"
    );
}

/// It would wait for the commit that waits for it.
#[test]
fn a_verb_that_appends_is_told_so() {
    #[derive(Debug)]
    struct Appends(Arc<Store>);
    impl VerbHandler for Appends {
        fn kind(&self) -> &str {
            "Account"
        }
        fn sees_actor(&self) -> bool {
            false
        }
        fn decide(&self, _: &PerformRequest, _: &mut dyn CommitContext) -> Result<Vec<NewEvent>> {
            self.0.checkpoint().unwrap_err();
            self.0.close().unwrap_err();
            self.0.append(AppendRequest {
                events: vec![balance("Account.set", &account(1), 1)],
                ..AppendRequest::default()
            })?;
            Ok(Vec::new())
        }
    }
    let store = Arc::new(Store::create(Path::new("/shop.bygone"), options(&MemoryDisk::new())).unwrap());
    let rule: Option<Arc<dyn VerbHandler>> = Some(Arc::new(Appends(store.clone())));
    let perform = PerformRequest { rule, ..PerformRequest::new("Append", account(0)) };
    let error =
        store.append(AppendRequest { performs: vec![(0, perform)], ..AppendRequest::default() }).unwrap_err();
    assert!(error.to_string().contains("a verb decides inside of a commit"), "{error}");
    store
        .append(AppendRequest {
            events: vec![balance("Account.set", &account(1), 1)],
            ..AppendRequest::default()
        })
        .unwrap();
}
