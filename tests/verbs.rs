//! Verbs under concurrency: whatever happens at once, each is decided by all that was committed before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bygone::append::Verb;
use bygone::{Db, Error, Expect, NewEvent, Position, Value};

const THREADS: u64 = 16;
const ATTEMPTS: u64 = 100_000;
const ACCOUNTS: u64 = 6;

const DEFINITIONS: [&str; 8] = [
    "DEFINE ENTITY Account INITIAL {balance: 0, frozen: FALSE}
       ON 'deposited, received' SET balance = state.balance + data.amount
       ON 'withdrawn, sent, charged' SET balance = state.balance - data.amount
       ON frozen SET frozen = TRUE
       ON thawed SET frozen = FALSE",
    "DEFINE VERB Deposit ON Account REQUIRE data.amount > 0 ELSE 'nothing to deposit'",
    "DEFINE VERB Withdraw ON Account BY User
       REQUIRE NOT state.frozen ELSE 'it is frozen'
       REQUIRE data.amount <= state.balance ELSE 'there is not enough'",
    "DEFINE VERB Send ON Account BY User
       REQUIRE NOT state.frozen ELSE 'it is frozen'
       REQUIRE data.amount <= state.balance ELSE 'there is not enough'
       EMIT sent EMIT received ON Account (data.to) {amount: data.amount}",
    "DEFINE VERB Charge ON Account
       WHEN state.balance >= 10 EMIT charged {amount: 10}
       WHEN state.balance > 0 EMIT charged {amount: state.balance}",
    "DEFINE VERB Freeze ON Account BY Clerk REQUIRE NOT state.frozen ELSE 'it is frozen' EMIT frozen {}",
    "DEFINE VERB Thaw ON Account BY Clerk REQUIRE state.frozen ELSE 'it is not frozen' EMIT thawed {}",
    "DEFINE VERB Empty ON Account REQUIRE state.balance > 0 ELSE 'it is empty' EMIT withdrawn {amount: state.balance}",
];

/// A number that the last one leads to.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn amount_of(data: &bygone::Document) -> i64 {
    data.get("amount").as_ref().and_then(Value::as_i64).expect("an amount")
}

#[derive(Default)]
struct Account {
    balance: i64,
    frozen: bool,
}

#[test]
fn no_balance_is_ever_below_zero_whatever_is_performed_at_once() {
    let db = Db::in_memory().unwrap();
    for text in DEFINITIONS {
        db.query(text).unwrap();
    }
    // What the language cannot say: half of what is there, rounded as code rounds.
    let halve = Verb::new("Halve", "Account", |asked| {
        let balance = asked.state().get("balance").and_then(Value::as_i64).unwrap_or(0);
        if balance < 2 {
            return Err(asked.refusal("there is nothing to halve"));
        }
        Ok(vec![asked.event("charged").member("amount", balance / 2)])
    });
    db.add_verb(halve).unwrap();
    let definitions = db.head().0;
    let (accepted, refused, events) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, accepted, refused, events) = (&db, &accepted, &refused, &events);
            scope.spawn(move || {
                let mut seed = 0x9e37_79b9_7f4a_7c15 ^ (thread + 1);
                for _ in 0..ATTEMPTS / THREADS {
                    let (of, to) = (next(&mut seed) % ACCOUNTS, next(&mut seed) % ACCOUNTS);
                    let amount = next(&mut seed) % 40;
                    let (verb, actor) = match next(&mut seed) % 16 {
                        0..5 => ("Deposit", "User"),
                        5..8 => ("Withdraw", "User"),
                        8..11 => ("Send", "User"),
                        11 => ("Charge", "Bank"),
                        12 => ("Freeze", "Clerk"),
                        13 => ("Thaw", "Clerk"),
                        14 => ("Empty", "User"),
                        _ => ("Halve", "Bank"),
                    };
                    let verb = db.perform(verb, ("Account", of)).by((actor, thread));
                    let verb = verb.member("amount", amount).member("to", to);
                    match verb.run() {
                        Ok(done) => {
                            accepted.fetch_add(1, Ordering::Relaxed);
                            events.fetch_add(done.events.len() as u64, Ordering::Relaxed);
                        }
                        Err(Error::Refused(_)) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    assert_eq!(accepted + refused, ATTEMPTS / THREADS * THREADS);
    assert!(accepted > ATTEMPTS / 10 && refused > ATTEMPTS / 10, "{accepted} accepted, {refused} refused");
    assert_eq!(db.head().0 - definitions, events.into_inner(), "a refused verb writes nothing");

    // A plain model takes every event of the log.
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for event in db.events("Account.*").unwrap() {
        let event = event.unwrap();
        let account = accounts.entry(event.target.as_ref().unwrap().id().to_owned()).or_default();
        let place = event.position;
        match event.kind.name() {
            "deposited" | "received" => account.balance += amount_of(&event.data),
            "sent" => {
                assert!(!account.frozen, "{place}: sent from a frozen account");
                account.balance -= amount_of(&event.data);
            }
            "withdrawn" | "charged" => account.balance -= amount_of(&event.data),
            "frozen" => assert!(!std::mem::replace(&mut account.frozen, true), "{place}: frozen twice"),
            "thawed" => assert!(std::mem::replace(&mut account.frozen, false), "{place}: thawed twice"),
            other => panic!("{place}: {other}"),
        }
        assert!(account.balance >= 0, "{place}: {} of {:?}", account.balance, event.target);
    }
    for (id, account) in accounts {
        let state = db.state(("Account", id)).unwrap().state;
        assert_eq!(state.get("balance").and_then(Value::as_i64), Some(account.balance));
    }
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn a_key_is_performed_once_whoever_comes_first() {
    let db = Db::in_memory().unwrap();
    db.query(
        "DEFINE VERB Withdraw ON Account REQUIRE data.amount <= state.balance EMIT withdrawn {balance: 0}",
    )
    .unwrap();
    for round in 0..50 {
        db.append(NewEvent::new("Account.opened").on(("Account", round)).member("balance", 100)).unwrap();
        let mut outcomes: Vec<_> = std::thread::scope(|scope| {
            let perform = || {
                let key = format!("round-{round}");
                db.perform("Withdraw", ("Account", round)).member("amount", 100).key(&key).run().unwrap()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(perform)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        outcomes.sort_by_key(|done| done.repeated);
        assert!(!outcomes[0].repeated && outcomes[1..].iter().all(|done| done.repeated));
        assert!(outcomes.iter().all(|done| done.events == outcomes[0].events && done.events.len() == 1));
    }
}

/// A database with a verb of a program, `Do` of `Order`s.
fn with(
    decide: impl Fn(&bygone::append::VerbContext) -> bygone::Result<Vec<NewEvent>> + Send + Sync + 'static,
) -> Db {
    let db = Db::in_memory().unwrap();
    db.add_verb(Verb::new("Do", "Order", decide)).unwrap();
    db
}

fn perform(db: &Db) -> bygone::Result<bygone::append::PerformOutcome> {
    db.perform("Do", ("Order", 1)).by(("User", 7)).run()
}

#[test]
fn a_verb_of_a_program_says_what_is_its_own_to_say() {
    type Say = fn(NewEvent) -> NewEvent;
    let sayings: [(&str, Say); 8] = [
        ("a key", |event| event.key("k")),
        ("an id", |event| event.id("mine")),
        ("an actor", |event| event.by(("User", 8))),
        ("a time", |event| event.at("2024-01-01".parse().unwrap())),
        ("a cause", |event| event.caused_by(Position(1))),
        ("a correlation", |event| event.correlation("c")),
        ("a producer", |event| {
            event.produced_by(bygone::append::Producer {
                model: ("Order", 9).into(),
                version: None,
                vector: None,
            })
        }),
        ("EXPECT NONE", |event| event.expect(Expect::none("Order.*"))),
    ];
    for (what, say) in sayings {
        let db = with(move |asked| Ok(vec![say(asked.event("done"))]));
        let error = perform(&db).unwrap_err().to_string();
        assert!(error.contains("an event that the verb Do makes") && error.ends_with(what), "{error}");
        assert_eq!(db.head(), Position::START);
    }
}

/// Found by a critic: the owner was asked for before the actor was known.
#[test]
fn what_an_actor_owns_counts_in_its_vector() {
    let db = Db::in_memory().unwrap();
    db.add_verb(Verb::new("Greet", "User", |_| Ok(vec![NewEvent::new("User.greeted")]))).unwrap();
    for n in 1..=3 {
        let done = db.perform("Greet", ("User", 1)).by(("User", 1)).run().unwrap();
        let producer = done.events[0].producer.clone().unwrap();
        assert_eq!((producer.version, producer.vector.unwrap().sum().unwrap()), (Some(n), n));
        assert_eq!(done.events[0].version.unwrap().0, n);
    }
    assert!(db.verify().unwrap().faults.is_empty());
}

/// Found by a critic: what verbs make was in no limit of a frame, and a key passed over that of a group.
#[test]
fn what_verbs_make_is_limited_and_nobody_else_pays_for_it() {
    let large = |count: usize| {
        move |asked: &bygone::append::VerbContext| {
            Ok((0..count).map(|_| asked.event("made").member("x", "y".repeat(1 << 20))).collect())
        }
    };
    let db = with(large(40));
    for key in [None, Some("k")] {
        let verb = db.perform("Do", ("Order", 1));
        let error = match key {
            Some(key) => verb.key(key).run(),
            None => verb.run(),
        };
        let error = error.unwrap_err();
        assert_eq!(error.kind(), "tooLarge");
        assert!(error.to_string().starts_with("a group of 40 events: expected at most"), "{error}");
    }
    let db = with(large(28));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let db = &db;
            scope.spawn(move || perform(db).unwrap());
            scope.spawn(move || db.append(NewEvent::new("A.b").on(("A", thread))).unwrap());
        }
    });
    assert_eq!(db.head().0, 6 * 28 + 6);
}

#[test]
fn a_panic_in_a_verb_is_an_error_of_whoever_performs_it() {
    let db = with(|asked| match asked.version().0 {
        0 => panic!("it is a test"),
        _ => Ok(vec![asked.event("done")]),
    });
    assert!(perform(&db).unwrap_err().to_string().contains("panicked"));
    db.append(NewEvent::new("Order.placed").on(("Order", 1))).unwrap();
    assert_eq!(perform(&db).unwrap().events.len(), 1);
}

/// Found by a critic: a verb may append to another database than its own.
#[test]
fn a_verb_may_write_elsewhere() {
    let other = Db::in_memory().unwrap();
    let notes = other.clone();
    let db = with(move |asked| {
        notes.append(NewEvent::new("Note.taken").on(("Note", 1)))?;
        Ok(vec![asked.event("done")])
    });
    perform(&db).unwrap();
    assert_eq!((db.head().0, other.head().0), (1, 1));
}

#[test]
fn a_name_is_that_of_one_verb() {
    let db = with(|asked| Ok(vec![asked.event("done")]));
    assert!(db.add_verb(Verb::new("Do", "Order", |_| Ok(Vec::new()))).unwrap_err().is_conflict());
    let define = "DEFINE VERB Do ON Order";
    assert!(db.query(define).is_err());
    db.query("DEFINE VERB Ship ON Order").unwrap();
    assert!(db.add_verb(Verb::new("Ship", "Order", |_| Ok(Vec::new()))).unwrap_err().is_conflict());
}

/// Found by a critic: what a verb makes for others was not asked.
#[test]
fn what_a_group_expects_holds_for_whoever_a_verb_writes_to() {
    let db = Db::in_memory().unwrap();
    let ask = |text: &str| db.query(text).map(|answer| answer.rows.count());
    ask("DEFINE VERB Pay ON Order EMIT paid ON Till (data.t)").unwrap();
    ask("EMIT Till.opened 7").unwrap();
    for key in ["", " KEY 'k'"] {
        let error = ask(&format!("ATOMIC (PERFORM Pay Order 1 {{t: 7}}) EXPECT NEW{key}")).unwrap_err();
        assert!(error.to_string().contains("Till 7: expected no event yet"), "{error}");
    }
    assert_eq!(ask("ATOMIC (PERFORM Pay Order 1 {t: 8}; PERFORM Pay Order 1 {t: 8}) EXPECT NEW").unwrap(), 2);
}

/// Found by a critic: the position of an event that was taken back was told.
#[test]
fn what_stands_in_the_way_within_a_group_has_no_position() {
    let db = Db::in_memory().unwrap();
    let text = "ATOMIC (EMIT Till.closed 8; EMIT Till.x 8 EXPECT NONE ('Till.closed'))";
    let Err(Error::Conflict(conflict)) = db.query(text) else { panic!("a conflict") };
    assert_eq!(conflict.position(), None);
    assert!(conflict.to_string().ends_with("found Till.closed before it in the same group"), "{conflict}");
}

/// Found by a critic: of what was imported any content passed for that of its key.
#[test]
fn the_key_of_a_restored_event_is_not_for_something_else() {
    let (from, to) = (Db::in_memory().unwrap(), Db::in_memory().unwrap());
    from.append(NewEvent::new("Order.paid").on(("Order", 1)).key("k")).unwrap();
    let mut lines = Vec::new();
    from.export(None, &mut lines, &mut |_| {}).unwrap();
    to.import(lines.as_slice(), &bygone::maintain::ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    assert!(to.append(NewEvent::new("Thing.other").on(("Thing", 9)).key("k")).unwrap_err().is_conflict());
    let again = to.append(NewEvent::new("Order.paid").on(("Order", 1)).key("k")).unwrap();
    assert_eq!(again.position, Position(1));
}

/// Found by a critic: a time limit did not reach what is folded before the commit.
#[test]
fn a_time_limit_ends_what_a_verb_looks_at() {
    let db = with(|asked| Ok(vec![asked.event("done")]));
    db.append_all((0..20_000).map(|n| NewEvent::new("Order.counted").on(("Order", 1)).member("n", n)))
        .unwrap();
    let limit = bygone::Cancel::after(std::time::Duration::ZERO);
    let error = db.cancelled_by(&limit).query("PERFORM Do Order 1").unwrap_err().to_string();
    assert!(error.contains("time limit"), "{error}");
}

/// A key comes before all that is expected, whatever has become of the names in it.
#[test]
fn a_known_key_asks_nothing_more() {
    let db = Db::in_memory().unwrap();
    let ask = |text: &str| db.query(text).unwrap().rows.count();
    ask("EMIT Order.created 0 {customer: 'ann'}");
    ask("DEFINE INDEX customer ON 'Order.*' AS data.customer");
    let created = || {
        let none = Expect::none("Order.created").by("customer", "bob");
        NewEvent::new("Order.created").on(("Order", 1)).member("customer", "bob").key("k").expect(none)
    };
    let first = db.append(created()).unwrap();
    ask("DROP INDEX customer");
    assert_eq!(db.append(created()).unwrap(), first);
}
