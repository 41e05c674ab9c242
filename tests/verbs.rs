//! Verbs under concurrency: whatever happens at once, each is decided by all that was committed before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bygone::{Db, Error, NewEvent, Parameters, Value, Verb};

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
    let none = Parameters::new();
    for text in DEFINITIONS {
        db.query(text, &none).unwrap();
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
    for event in db.events(&"Account.*".parse().unwrap()).unwrap() {
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
        let state = db.state("Account", id).unwrap().state;
        assert_eq!(state.get("balance").and_then(Value::as_i64), Some(account.balance));
    }
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn a_key_is_performed_once_whoever_comes_first() {
    let db = Db::in_memory().unwrap();
    let none = Parameters::new();
    db.query(
        "DEFINE VERB Withdraw ON Account REQUIRE data.amount <= state.balance EMIT withdrawn {balance: 0}",
        &none,
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
