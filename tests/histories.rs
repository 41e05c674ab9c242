//! Histories: what several threads asked of one database and were answered, held to a sequential model.
//!
//! The log is replayed in order. What was appended must have been allowed at its place, by all that stands before it; what was refused
//! must have been refusable at some place between the head before it was asked and the head after it was answered; and whoever
//! comes with a known key gets the first outcome. The controls show that the model notices what is not so.

#[path = "histories/everything.rs"]
mod everything;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use bygone::error::Conflict;
use bygone::{Db, Entity, Error, Event, Expect, NewEvent, Options, Position, Value, Version};

const THREADS: u64 = 6;
const EACH: u64 = 120;

/// Numbers that are as good as random, and the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }
}

/// What is expected of the log before a group.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    New(u64),
    Version(u64, u64),
    /// No event with this coupon behind a position.
    NoCoupon(u64, u64),
    /// No event of the account's owner behind a position, whatever it is about.
    NoneBy(u64, u64),
}

#[derive(Debug, Clone, PartialEq)]
struct Request {
    /// Events on accounts, each with a coupon, and by whom.
    events: Vec<(u64, u64, u64)>,
    /// Each before the group, all of them.
    rules: Vec<Rule>,
    key: Option<u64>,
}

#[derive(Debug, Clone)]
struct Entry {
    request: Request,
    /// What the head was before it was asked, and after it was answered.
    from: u64,
    through: u64,
    /// Where its events are; or why there are none.
    answer: Result<Vec<u64>, Conflict>,
}

impl Request {
    fn is_new(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::New(_)))
    }
}

fn account(number: u64) -> Entity {
    Entity::from(("Account", number))
}

fn ask(db: &Db, request: &Request, ignoring: bool) -> Result<Vec<Event>, Error> {
    let event = |&(of, coupon, by): &(u64, u64, u64)| {
        NewEvent::new("Account.used")
            .on(account(of))
            .by(("User", by))
            .member("coupon", coupon)
            .index("coupon", coupon)
    };
    let mut expects: Vec<Expect> = Vec::new();
    for rule in request.rules.iter().filter(|_| !ignoring) {
        expects.push(match *rule {
            Rule::New(_) => Expect::New,
            Rule::Version(_, version) => Expect::Version(Version(version)),
            Rule::NoCoupon(coupon, since) => {
                Expect::none("Account.*").by("coupon", coupon).since(Position(since)).into()
            }
            Rule::NoneBy(user, since) => {
                Expect::none_at_all().by_actor(("User", user)).since(Position(since)).into()
            }
        });
    }
    let mut events: Vec<NewEvent> = request.events.iter().map(event).collect();
    match (events.len(), request.key) {
        // All of it on the one event.
        (1, key) => {
            let mut event = expects.into_iter().fold(events.remove(0), NewEvent::expect);
            if let Some(key) = key {
                event = event.key(&format!("k{key}"));
            }
            db.append(event).map(|event| vec![event])
        }
        (_, key) => {
            let mut group = db.append_builder(events);
            if let Some(key) = key {
                group = group.key(&format!("k{key}"));
            }
            expects.into_iter().fold(group, |group, expect| group.expect(expect)).append()
        }
    }
}

/// What a caller would ask that looked at the log before.
fn request(db: &Db, dice: &mut Dice) -> Request {
    let (of, coupon, user) = (dice.roll(12), dice.roll(40), dice.roll(5));
    let mut events = vec![(of, coupon, user)];
    let looked = db.head().0;
    let mut rules = Vec::new();
    match dice.roll(6) {
        0 => {
            // Some are new, most are not.
            let fresh = 1000 + dice.roll(60);
            events[0].0 = fresh;
            rules.push(Rule::New(fresh));
        }
        1 => rules.push(Rule::Version(of, db.version(account(of)).unwrap().0)),
        2 => rules.push(Rule::NoCoupon(coupon + 1000 * dice.roll(3), 0)),
        3 => rules.push(Rule::NoCoupon(coupon, looked)),
        4 => rules.push(Rule::NoneBy(user, looked)),
        _ => {
            rules.push(Rule::NoCoupon(coupon, looked));
            rules.push(Rule::NoneBy(user, looked.saturating_sub(2)));
        }
    }
    if let Some(Rule::NoCoupon(coupon, 0)) = rules.first() {
        events[0].1 = *coupon;
    }
    if dice.roll(3) == 0 && !matches!(rules[0], Rule::New(_) | Rule::Version(..)) {
        events.push((dice.roll(12), coupon, user));
    }
    let mut request = Request { events, rules, key: None };
    if dice.roll(4) == 0 {
        // What a key stands for is its content: two that are of one key are mostly the same, and then expect the same.
        let key = dice.roll(30);
        let other = dice.roll(5) == 0;
        let coupon = 5000 + key + if other { 100 } else { 0 };
        request = Request {
            events: vec![(key % 12, coupon, 4)],
            rules: vec![Rule::NoCoupon(coupon, 0)],
            key: Some(key),
        };
        if key.is_multiple_of(2) {
            request.events.push((key % 7, coupon, 4));
        }
    }
    request
}

fn record(db: &Db, seed: u64, ignoring: bool) -> Vec<Entry> {
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(1000) + thread);
                    let mut entries = Vec::new();
                    start.wait();
                    for _ in 0..EACH {
                        let request = request(db, &mut dice);
                        for _ in 0..dice.roll(3) {
                            thread::yield_now();
                        }
                        let from = db.head().0;
                        let answer = match ask(db, &request, ignoring) {
                            Ok(events) => Ok(events.iter().map(|event| event.position.0).collect()),
                            Err(Error::Conflict(conflict)) => Err(*conflict),
                            Err(other) => panic!("{request:?}: {other}"),
                        };
                        entries.push(Entry { request, from, through: db.head().0, answer });
                    }
                    entries
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// What the model knows of an event.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    of: u64,
    coupon: u64,
    by: u64,
}

/// Whose an event is that no request made: a definition, or a note.
const NOBODY: u64 = u64::MAX;

fn facts(db: &Db) -> Vec<Fact> {
    let number = |entity: Option<&Entity>| entity.unwrap().id().parse().unwrap();
    let fact = |position: u64| {
        let event: Event = db.event(Position(position)).unwrap().unwrap();
        if event.kind.as_str() != "Account.used" {
            return Fact { of: NOBODY, coupon: NOBODY, by: NOBODY };
        }
        Fact {
            of: number(event.target.as_ref()),
            coupon: event.data.get("coupon").and_then(|coupon: Value| coupon.as_i64()).unwrap() as u64,
            by: number(event.actor.as_ref()),
        }
    };
    (1..=db.head().0).map(fact).collect()
}

impl Rule {
    /// Whether it holds behind so many events.
    fn holds(&self, log: &[Fact], before: u64) -> bool {
        let log = &log[..before as usize];
        let count = |of: u64| log.iter().filter(|fact| fact.of == of).count() as u64;
        let behind = |since: u64| log.iter().skip(since as usize);
        match *self {
            Rule::New(of) => count(of) == 0,
            Rule::Version(of, version) => count(of) == version,
            Rule::NoCoupon(coupon, since) => !behind(since).any(|fact| fact.coupon == coupon),
            Rule::NoneBy(user, since) => !behind(since).any(|fact| fact.by == user),
        }
    }
}

/// What in a history no sequential log would have answered.
fn faults(history: &[Entry], log: &[Fact]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut written: BTreeMap<u64, &Request> = BTreeMap::new();
    let mut keys: BTreeMap<u64, (u64, &Request)> = BTreeMap::new();
    let mut of_log = vec![0_u64; log.len()];
    for Entry { request, answer, .. } in history {
        let Ok(positions) = answer else { continue };
        let first = positions[0];
        let said: Vec<Fact> =
            request.events.iter().map(|&(of, coupon, by)| Fact { of, coupon, by }).collect();
        let is_run = positions.iter().copied().eq(first..first + said.len() as u64);
        if !is_run || log[first as usize - 1..].iter().take(said.len()).ne(&said) {
            faults.push(format!("{request:?} is not what is at {positions:?}"));
            continue;
        }
        if let Some(key) = request.key {
            let (known, _) = keys.entry(key).or_insert((first, request));
            if *known != first {
                faults.push(format!("the key {key} stands for #{known} and for #{first}"));
            }
        }
        // Those of one key that are given the first outcome did not write it.
        let is_repeated = written.get(&first).is_some_and(|other| request.key.is_some() && *other == request);
        if !is_repeated {
            if let Some(other) = written.insert(first, request) {
                faults.push(format!("{request:?} and {other:?} are both at #{first}"));
            }
            positions.iter().for_each(|position| of_log[*position as usize - 1] += 1);
        }
        if let Some(broken) = request.rules.iter().find(|rule| !rule.holds(log, first - 1)) {
            faults.push(format!("#{first} was appended, against {broken:?}"));
        }
    }
    let is_wrong = |(times, fact): (&u64, &Fact)| *times != u64::from(fact.of != NOBODY);
    if let Some(at) = of_log.iter().zip(log).position(is_wrong) {
        faults.push(format!("#{} belongs to {} requests", at + 1, of_log[at]));
    }
    for Entry { request, from, through, answer } in history {
        let Err(conflict) = answer else { continue };
        let refusable = |before: u64| {
            // What a key stands for comes first: the same again is never refused, and anything else always.
            match request.key.and_then(|key| keys.get(&key)).filter(|(first, _)| *first <= before) {
                Some((_, first)) => first.events != request.events,
                None => request.rules.iter().any(|rule| !rule.holds(log, before)),
            }
        };
        if !(*from..=*through).any(refusable) {
            faults.push(format!("{request:?} was refused ({conflict}), and from #{from} to #{through} nothing spoke against it"));
        }
        // What is said to have stood in the way was there.
        if conflict.position().is_none_or(|position| position == 0 || position > *through) {
            faults.push(format!("{request:?} was refused by nothing that was there: {conflict}"));
        }
    }
    faults
}

fn db() -> Db {
    // A memtable is full soon: what is looked at stands in a memtable, in a frozen one, or in the tables.
    Options::new().memtable(40, 1 << 20).in_memory().unwrap()
}

#[test]
fn what_was_answered_at_once_could_have_been_answered_one_after_the_other() {
    for seed in 0..4 {
        let db = db();
        let history = record(&db, seed, false);
        let log = facts(&db);
        let faults = faults(&history, &log);
        assert!(faults.is_empty(), "seed {seed}: {} faults, the first is {}", faults.len(), faults[0]);
        // It is about something: each sort of answer is there, and callers were in each other's way.
        let refused = |of: fn(&Conflict) -> bool| {
            history.iter().filter(|entry| entry.answer.as_ref().is_err_and(of)).count()
        };
        assert!(refused(|conflict| matches!(conflict, Conflict::None { .. })) > 10);
        assert!(refused(|conflict| matches!(conflict, Conflict::New { .. })) > 0);
        assert!(refused(|conflict| matches!(conflict, Conflict::Key { .. })) > 0);
        assert!(history.iter().filter(|entry| entry.answer.is_ok()).count() > 100);
        assert!(db.verify().unwrap().faults.is_empty());
    }
}

/// Without the conditions the same callers write what none of them allowed, and the model says so.
#[test]
fn conditions_that_were_ignored_are_noticed() {
    let db = db();
    let history = record(&db, 1, true);
    let faults = faults(&history, &facts(&db));
    assert!(faults.iter().any(|fault| fault.contains("against NoCoupon")), "{faults:?}");
    assert!(history.iter().any(|entry| entry.request.is_new()));
    assert!(faults.iter().any(|fault| fault.contains("against New")), "{faults:?}");
}

/// So is an answer that nothing in the log explains.
#[test]
fn answers_without_a_reason_are_noticed() {
    let db = db();
    let history = record(&db, 2, false);
    let log = facts(&db);
    let refusal = history.iter().find_map(|entry| entry.answer.clone().err()).unwrap();
    let fresh = Request { events: vec![(1, 1, 1)], rules: vec![Rule::NoCoupon(999_999, 0)], key: None };
    let forged = |answer| {
        let mut history = history.clone();
        history.push(Entry { request: fresh.clone(), from: 0, through: log.len() as u64, answer });
        faults(&history, &log)
    };
    assert!(forged(Err(refusal)).iter().any(|fault| fault.contains("nothing spoke against it")));
    assert!(!forged(Ok(vec![1])).is_empty());
    // A key that stands for two outcomes, and an event that nobody asked for.
    let mut twice = history.clone();
    let keyed = twice.iter().position(|entry| entry.request.key.is_some() && entry.answer.is_ok()).unwrap();
    let mut again = twice[keyed].clone();
    again.answer = again.answer.map(|positions| positions.iter().map(|position| position % 2 + 1).collect());
    twice.push(again);
    assert!(!faults(&twice, &log).is_empty());
    let mut longer = log.clone();
    longer.push(Fact { of: 1, coupon: 1, by: 1 });
    assert!(faults(&history, &longer).iter().any(|fault| fault.contains("belongs to 0 requests")));
}

/// Sixteen callers come with one key at once: one of them writes, and all get what it wrote.
#[test]
fn one_key_is_used_once_however_many_come_with_it() {
    let db = db();
    for round in 0..40u64 {
        let events = |count: u64| {
            (0..count)
                .map(move |n| NewEvent::new("Order.paid").on(("Order", round)).member("n", n))
                .collect::<Vec<_>>()
        };
        // A lone event has its key itself, a group has one for all of it.
        let count = 1 + round % 3;
        let before = db.head().0;
        let start = Barrier::new(16);
        let answers: Vec<Vec<Event>> = thread::scope(|scope| {
            let callers: Vec<_> = (0..16)
                .map(|caller| {
                    let (db, start) = (&db, &start);
                    scope.spawn(move || {
                        let key = format!("round-{round}");
                        start.wait();
                        match (count, caller % 2) {
                            (1, _) => {
                                let event = events(1).remove(0).key(&key).expect(Expect::New);
                                vec![db.append(event).unwrap()]
                            }
                            (_, 0) => db.append_once(&key, events(count)).unwrap(),
                            _ => db
                                .append_builder(events(count))
                                .key(&key)
                                .expect(Expect::New)
                                .append()
                                .unwrap(),
                        }
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(db.head().0, before + count, "one of them writes");
        assert!(answers.iter().all(|events| *events == answers[0]), "all get the same");
        assert_eq!(answers[0].len() as u64, count);
        let other = NewEvent::new("Order.sent").on(("Order", round)).key(&format!("round-{round}"));
        let Err(Error::Conflict(conflict)) = db.append(other) else { panic!("a key stands for one content") };
        assert!(
            matches!(&*conflict, Conflict::Key { position, .. } if *position == before + 1),
            "{conflict}"
        );
    }
}
