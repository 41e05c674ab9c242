//! Prepared statements answer as those do that are parsed and bound each time, whatever is defined meanwhile.

use proptest::prelude::*;

use super::super::Statement;
use super::PreparedStatement;
use crate::cancel::Cancel;
use crate::db::Db;
use crate::exec::QueryResult;
use crate::plan::Parameters;
use crate::value::Value;

/// The rows of an answer, or its error, as text.
fn told(answer: crate::error::Result<QueryResult>) -> String {
    match answer.and_then(|answer| answer.rows.collect::<crate::error::Result<Vec<_>>>()) {
        Ok(rows) => rows.iter().map(|row| Value::of(row).unwrap().to_string() + "\n").collect(),
        Err(error) => format!("error: {error}"),
    }
}

/// The same of a statement that nothing is remembered of.
fn afresh(db: &Db, text: &str, parameters: &Parameters) -> String {
    told(Statement::parse(text).and_then(|statement| db.run_with(&statement, parameters)))
}

fn accounts() -> Db {
    let db = Db::in_memory().unwrap();
    db.query("DEFINE ENTITY Account INITIAL {balance: 0} ON opened SET balance = data.n").unwrap();
    for n in 0..9 {
        db.query(&format!("EMIT Account.opened {n} {{n: {n}, name: 'n{n}'}}")).unwrap();
    }
    db
}

fn settled(db: &Db) {
    db.query("CHECKPOINT").unwrap();
    assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
}

#[test]
fn a_definition_that_changes_between_two_runs_is_seen() {
    let db = accounts();
    let found =
        db.prepare("FIND Account WHERE state.balance >= $low SELECT target.id, state.balance").unwrap();
    let low = |low: i64| Parameters::new().set("low", low);
    let count = |low_: i64| found.run(&low(low_)).unwrap().rows.count();
    assert_eq!((count(5), count(8), count(9)), (4, 1, 0));
    assert!(found.prepared.bound.as_ref().unwrap().is_known());
    // Another definition makes other states of the same events.
    db.query("DEFINE ENTITY Account INITIAL {balance: 0} ON opened SET balance = data.n + 100").unwrap();
    assert_eq!((count(5), count(105), count(109)), (9, 4, 0));
    // An index comes, is used, and goes.
    let plan = |wanted: &str| {
        let text = format!("EXPLAIN {}", found.statement().text());
        assert!(
            told(db.query_with(&text, &low(105))).contains(wanted),
            "{}",
            told(db.query_with(&text, &low(105)))
        );
    };
    db.query("DEFINE INDEX balance ON 'Account' AS state.balance").unwrap();
    settled(&db);
    plan("from the index balance");
    assert_eq!((count(5), count(105), count(109)), (9, 4, 0));
    db.query("DROP INDEX balance").unwrap();
    plan("from all of them");
    assert_eq!((count(5), count(105), count(109)), (9, 4, 0));
    db.query("DROP ENTITY Account").unwrap();
    assert_eq!(count(5), 0, "nobody defined it: events fold into their data");
    db.query("EMIT Account.opened 99 {balance: 7}").unwrap();
    assert_eq!(count(5), 1);
}

#[test]
fn each_run_is_for_whom_it_is_said_to_be_and_ends_by_what_is_said_to_end_it() {
    let db = accounts();
    let cancel = Cancel::new();
    let found = db.cancelled_by(&cancel).prepare("FIND Account WHERE state.balance >= $low").unwrap();
    let opened = db.as_actor(("User", "ann")).prepare("EMIT Account.opened $id {n: 1}").unwrap();
    let count = |found: &PreparedStatement| {
        let answer = found.run(&Parameters::new().set("low", 5))?;
        answer.rows.collect::<crate::error::Result<Vec<_>>>().map(|rows| rows.len())
    };
    // What ends one of its runs ends no other.
    let (over, other) = (Cancel::new(), Cancel::new());
    over.cancel();
    assert!(count(&found.cancelled_by(&over)).unwrap_err().to_string().contains("cancelled"));
    assert_eq!((count(&found.cancelled_by(&other)).unwrap(), count(&found).unwrap()), (4, 4));
    // The handle that it was prepared with ends all of them.
    cancel.cancel();
    assert!(count(&found.cancelled_by(&other)).is_err() && count(&found).is_err());
    // One actor for a run, in the place of the other; all share what it was bound to.
    for (id, actor) in [("a", Some("bob")), ("b", None)] {
        let run = actor.map_or_else(|| opened.clone(), |actor| opened.as_actor(("User", actor)));
        run.run(&Parameters::new().set("id", id)).unwrap();
        let event = db.event(db.head()).unwrap().unwrap();
        assert_eq!(event.actor, Some(("User", actor.unwrap_or("ann")).into()));
    }
    assert!(std::sync::Arc::ptr_eq(&found.prepared, &found.cancelled_by(&other).prepared));
}

#[test]
fn values_of_another_sort_are_bound_anew() {
    let db = accounts();
    let found = db.prepare("FIND Account WHERE state.balance = $is").unwrap();
    let values: [Value; 8] = [
        4.into(),
        5.into(),
        "4".into(),
        Value::Null,
        4.0.into(),
        true.into(),
        Value::Array(vec![4.into()]),
        6.into(),
    ];
    for is in values.iter().chain(values.iter().rev()) {
        let given = Parameters::new().set("is", is.clone());
        assert_eq!(told(found.run(&given)), afresh(&db, found.statement().text(), &given), "{is}");
    }
    assert!(found.run(&Parameters::new()).unwrap_err().to_string().contains("$is was given no value"));
    let other = Parameters::new().set("is", 4).set("other", 1);
    assert!(found.run(&other).unwrap_err().to_string().contains("$other"));
    assert!(db.prepare("FIND").is_err() && db.prepare("FIND Account; FIND Account").is_err());
    assert_eq!(found.parameters().collect::<Vec<_>>(), ["is"]);
}

#[test]
fn what_depends_on_more_than_values_is_bound_each_time() {
    let db = accounts();
    let known = |text: &str, parameters: Parameters| {
        let prepared = db.prepare(text).unwrap();
        for _ in 0..2 {
            assert_eq!(told(prepared.run(&parameters)), afresh(&db, text, &parameters), "{text}");
        }
        prepared.prepared.bound.as_ref().unwrap().is_known()
    };
    let given = |value: &str| Parameters::new().set("p", value);
    for text in [
        "FIND Account WHERE state.name = $p",
        "FIND Account WHERE $p = state.name OR NOT (state.name IN ('n1', $p) AND state.balance > 3)",
        "FIND Account WHERE state.name BETWEEN 'a' AND $p ORDER BY state.balance DESC LIMIT 3",
        "FIND Account WHERE state.name != $p SELECT count()",
    ] {
        assert!(known(text, given("n4")), "{text}");
    }
    assert!(known("FIND Account ORDER BY state.balance LIMIT 2", Parameters::new()));
    for (text, value) in [
        ("FIND Account WHERE state.name MATCHES $p", Value::from("n%")),
        ("FIND Account WHERE state.name = lower($p)", "N4".into()),
        ("FIND Account WHERE state.balance > 1 + $p", 3.into()),
        ("FIND Account WHERE target.id = $p", 4.into()),
        ("FIND Account WHERE state.balance > 1 LIMIT $p", 3.into()),
        ("FIND Account AT $p", "#5".into()),
        ("FIND Account AS OF #5 WHERE state.balance > $p", 1.into()),
        ("FIND Account WHERE state.balance NOT BETWEEN 1 AND $p", 3.into()),
        ("EVENTS WHERE data.n > $p", 3.into()),
    ] {
        assert!(!known(text, Parameters::new().set("p", value)), "{text}");
    }
    assert!(!known("FIND Account WHERE state.opened < NOW", Parameters::new()));
}

#[test]
fn the_same_text_means_in_each_database_what_is_defined_there() {
    let (one, other) = (accounts(), accounts());
    other.query("DEFINE ENTITY Account INITIAL {balance: 0} ON opened SET balance = data.n * 100").unwrap();
    let text = "FIND Account WHERE state.balance > $low SELECT count() AS n";
    let low = Parameters::new().set("low", 7);
    for _ in 0..3 {
        assert_eq!(told(one.query_with(text, &low)), "{\"n\":1}\n");
        assert_eq!(told(other.query_with(text, &low)), "{\"n\":8}\n");
    }
    assert_eq!((one.statements().size().0, other.statements().size().0), (1, 1));
    let empty = Db::in_memory().unwrap();
    assert_eq!(empty.statements().size(), (0, 0));
}

#[cfg(feature = "encryption")]
#[test]
fn nothing_that_was_said_stays_once_somebody_is_forgotten() {
    let mut options = crate::Options::new();
    options.own_journal = true;
    let db = options.in_memory().unwrap();
    db.query("DEFINE PRIVATE c ON 'User.*' OF target FIELDS data.email").unwrap();
    let ask = || {
        let mailed = Parameters::new().set("id", 7);
        db.query_with("EMIT User.mailed $id {email: 'ann@example.org'}", &mailed).unwrap();
        db.query("EVENTS 'User.*' WHERE data.email = 'ann@example.org'").unwrap();
    };
    (0..3).for_each(|_| ask());
    assert_eq!(db.statements().size().0, 2);
    assert!(!format!("{db:?}").contains("ann@example.org"));
    db.query("FORGET User 7").unwrap();
    db.query("EVENTS 'User.*'").unwrap();
    assert_eq!(db.statements().size(), (0, 0));
    (0..2).for_each(|_| ask());
    assert_eq!(db.statements().size().0, 2);
}

#[test]
fn the_cache_keeps_what_comes_again_within_its_limits() {
    let db = accounts();
    let size = || db.statements().size();
    let hits = || {
        db.metrics()
            .unwrap()
            .to_string()
            .lines()
            .find(|line| line.contains("hits") && line.contains("\"statement\""))
            .unwrap()
            .to_owned()
    };
    let before = hits();
    // Other texts each time leave nothing.
    for n in 0..1000 {
        db.query(&format!("FIND Account WHERE state.balance = {n}")).unwrap();
    }
    assert_eq!(size(), (0, 0));
    for _ in 0..2 {
        db.query("FIND Account").unwrap();
    }
    assert_eq!((size(), hits()), ((1, 12), before));
    db.query("FIND Account").unwrap();
    assert!(hits().ends_with(" 1"), "{}", hits());
    // What may hold secrets is not kept, nor what is written without parameters, nor what is no statement.
    let secret = "DEFINE WEBHOOK w ON 'A.*' TO 'http://127.0.0.1:1/' SECRET ENV 'TOKEN'";
    for text in [secret, "EMIT Account.opened 1 {n: 1}", "EXPLAIN FIND Account", "NONSENSE", "SHOW STATS"] {
        for _ in 0..3 {
            let _ = db.query(text).map(|answer| answer.rows.count());
        }
    }
    assert_eq!(size(), (1, 12));
    // A write that has its values beside it is.
    for n in 0..3 {
        db.query_with("EMIT Account.opened $n {n: $n}", &Parameters::new().set("n", n)).unwrap();
    }
    assert_eq!(size().0, 2);
    for n in 0..400 {
        for _ in 0..2 {
            db.query(&format!("FIND Account WHERE state.balance = {n}")).unwrap();
        }
    }
    assert_eq!(size().0, 256);
    let long = |n: usize, length: usize| {
        format!("FIND Account WHERE state.name = '{}'", format!("{n:04}").repeat(length / 4))
    };
    for n in 0..40 {
        for _ in 0..2 {
            db.query(&long(n, 1900)).unwrap();
        }
    }
    assert!(size().1 <= 64 << 10 && size().0 <= 36, "{:?}", size());
    let kept = size();
    for _ in 0..3 {
        db.query(&long(0, 3 << 10)).unwrap();
    }
    assert_eq!(size(), kept);
    // What was prepared stays, whatever the cache lets go of.
    assert_eq!(db.prepare("FIND Account").unwrap().run(&Parameters::new()).unwrap().rows.count(), 9);
}

#[test]
fn values_do_not_stay_in_what_is_remembered() {
    let db = accounts();
    let found = db.prepare("FIND Account WHERE state.name = $name").unwrap();
    found.run(&Parameters::new().set("name", "hunter2")).unwrap();
    assert!(found.prepared.bound.as_ref().unwrap().is_known());
    assert!(!format!("{:?}", found.prepared).contains("hunter2"), "{:?}", found.prepared);
}

/// What is remembered of an index is remembered for one commit of the tables.
#[test]
fn what_an_index_has_by_the_next_checkpoint_is_seen() {
    let db = Db::in_memory().unwrap();
    db.query("DEFINE ENTITY Account ON opened SET balance = data.n + 0 ON listed SET balance = data.n")
        .unwrap();
    db.query("DEFINE INDEX balance ON 'Account' AS state.balance").unwrap();
    for n in 0..9 {
        db.query(&format!("EMIT Account.opened {n} {{n: {n}}}")).unwrap();
    }
    settled(&db);
    let asked = [
        "FIND Account WHERE state.balance >= $low SELECT target.id",
        "FIND Account WHERE state.balance = $low SELECT target.id",
        "FIND Account ORDER BY state.balance DESC LIMIT 3 SELECT target.id",
        "FIND Account WHERE state.balance > $low ORDER BY state.balance LIMIT 3 SELECT target.id",
    ];
    let prepared = asked.map(|text| db.prepare(text).unwrap());
    let all = |_when: &str| {
        prepared.each_ref().map(|prepared| {
            let given = prepared.parameters().map(|name| (name.to_owned(), 4.into()));
            told(prepared.run(&given.collect::<crate::value::Object>().into()))
        })
    };
    let ids = |ids: &[u64]| ids.iter().map(|id| format!("{{\"target.id\":\"{id}\"}}\n")).collect::<String>();
    let expected = [ids(&[4, 5, 6, 7, 8]), ids(&[4]), ids(&[8, 7, 6]), ids(&[5, 6, 7])];
    assert_eq!(all("at first"), expected);
    assert_eq!(all("again"), expected);
    // A list has another place than its items; then one has no state at all. Each in the memtable first, and then in the tables.
    db.query("EMIT Account.listed 5 {n: [4, 99]}").unwrap();
    let listed = all("a list in the memtable");
    assert_eq!(listed[..2], [ids(&[4, 6, 7, 8]), ids(&[4])]);
    settled(&db);
    assert_eq!(all("a list in the tables"), listed);
    db.query("DROP INDEX balance").unwrap();
    assert_eq!(all("without an index"), listed);
    db.query("DEFINE INDEX balance ON 'Account' AS state.balance").unwrap();
    settled(&db);
    assert_eq!(all("a list in a new index"), listed);
    db.query("EMIT Account.opened 6 {n: 'x'}").unwrap();
    for place in ["the memtable", "the tables"] {
        assert!(all(place).iter().all(|told| told.starts_with("error: ")), "{place}: {:?}", all(place));
        settled(&db);
    }
}

#[test]
fn many_threads_run_one_statement() {
    let db = accounts();
    let found = db.prepare("FIND Account WHERE state.balance = $n").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let found = &found;
            scope.spawn(move || {
                for turn in 0..50 {
                    let n = (thread + turn) % 9;
                    let rows = found.run(&Parameters::new().set("n", n)).unwrap().rows;
                    let found: Vec<Value> = rows.map(|row| row.unwrap().get("state").unwrap()).collect();
                    let balances: Vec<_> = found.iter().map(|state| state.get("balance").cloned()).collect();
                    assert_eq!(balances, [Some(n.into())]);
                }
            });
        }
    });
}

/// What may happen between two questions.
#[derive(Debug, Clone)]
enum Step {
    Emit(i64, Value),
    Define(i64),
    Index(bool),
    Drop(bool),
    Checkpoint,
    Ask(usize, Value, Value),
}

const ASKED: [&str; 6] = [
    "FIND Account WHERE state.balance >= $low AND state.balance < $high",
    "FIND Account WHERE state.balance BETWEEN $low AND $high SELECT target.id, state.balance",
    "FIND Account WHERE state.balance = $low OR NOT state.balance IN ($high, $low, 3)",
    "FIND Account WHERE state.balance > $low AND $high > state.balance ORDER BY state.balance DESC LIMIT 3",
    "FIND Account WHERE state.balance != $low AND state.at < $high GROUP BY state.balance SELECT count()",
    "FIND Account WHERE version < $low OR state.balance = $high",
];

fn any_given() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0i64..8).prop_map(Value::from),
        1 => (0u8..8).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        1 => prop_oneof![Just("3"), Just("2024-01-01"), Just("x")].prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(Value::from(true)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0i64..6, any_given()).prop_map(|(id, n)| Step::Emit(id, n)),
        1 => (0i64..3).prop_map(Step::Define),
        1 => any::<bool>().prop_map(Step::Index),
        1 => any::<bool>().prop_map(Step::Drop),
        1 => Just(Step::Checkpoint),
        8 => (0..ASKED.len(), any_given(), any_given()).prop_map(|(at, low, high)| Step::Ask(at, low, high)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 200 }))]
    #[test]
    fn what_is_prepared_answers_as_what_is_parsed_each_time(steps in prop::collection::vec(any_step(), 0..40)) {
        let db = accounts();
        let prepared: Vec<_> = ASKED.iter().map(|text| db.prepare(text).unwrap()).collect();
        for step in steps {
            let _ = match step {
                Step::Emit(id, n) => {
                    let given = Parameters::new().set("id", id).set("n", n);
                    db.query_with("EMIT Account.opened $id {n: $n}", &given)
                }
                Step::Define(more) => db.query(&format!(
                    "DEFINE ENTITY Account INITIAL {{balance: {more}}} ON opened SET balance = data.n, at = timestamp"
                )),
                Step::Index(of_balance) => {
                    let text = if of_balance { "state.balance" } else { "state.at" };
                    let defined = db.query(&format!("DEFINE INDEX found ON 'Account' AS {text}"));
                    settled(&db);
                    defined
                }
                Step::Drop(index) => db.query(if index { "DROP INDEX found" } else { "DROP ENTITY Account" }),
                Step::Checkpoint => {
                    settled(&db);
                    continue;
                }
                Step::Ask(at, low, high) => {
                    let given = Parameters::new().set("low", low).set("high", high);
                    let expected = afresh(&db, ASKED[at], &given);
                    prop_assert_eq!(told(prepared[at].run(&given)), expected.clone());
                    prop_assert_eq!(told(db.query_with(ASKED[at], &given)), expected);
                    continue;
                }
            };
        }
    }
}
