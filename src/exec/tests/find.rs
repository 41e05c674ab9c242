//! FIND, and indexes of states.

use std::time::Duration;

use super::*;
use crate::event::NewEvent;
use crate::plan::access_path::find::{WALKS, Walks};
use crate::store::append_request::AppendRequest;
use crate::store::snapshot::IndexWalk;
use crate::value::Value;

const ACCOUNT: &str = "DEFINE ENTITY Account INITIAL {balance: 0} \
    ON deposited SET balance = state.balance + data.amount \
    ON noted IGNORE ON closed DELETE";

fn ids(session: &Session, text: &str) -> Vec<String> {
    let id = |row: &Row| match row {
        Row::State(state) => state.target.id().to_owned(),
        other => panic!("{other:?}"),
    };
    session.rows(text).iter().map(id).collect()
}

fn ready(store: &Store) {
    assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
}

/// Accounts 1 to 4 with as much in them, of which 4 is closed; nothing but a note is known of 5.
fn accounts(session: &Session) {
    session.rows(ACCOUNT);
    for id in 1..5 {
        session.rows(&format!("EMIT Account.deposited {id} {{amount: {id}}}"));
    }
    session.rows("EMIT Account.closed 4");
    session.rows("EMIT Account.noted 5");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let store = store(4);
    let session = Session::new(&store);
    accounts(&session);
    assert_eq!(ids(&session, "FIND Account"), ["1", "2", "3"]);
    assert_eq!(ids(&session, "FIND Account WHERE state IS NULL"), [""; 0]);
    assert_eq!(ids(&session, "FIND Account WHERE target IN (Account 3, Account 4, Account 5)"), ["3"]);
    assert_eq!(session.lines("FIND Account SELECT count()"), [r#"{"count()":3}"#]);
    // Before it was closed, it did.
    assert_eq!(ids(&session, "FIND Account AT #5"), ["1", "2", "3", "4"]);
    session.rows("DEFINE INDEX balance ON 'Account' AS state.balance");
    ready(&store);
    assert_eq!(ids(&session, "FIND Account WHERE state.balance IN (2, 4)"), ["2"]);
}

#[test]
fn an_entity_without_a_state_is_an_error_behind_the_rows() {
    let store = store(4);
    let session = Session::new(&store);
    accounts(&session);
    session.rows("EMIT Account.deposited 2 {amount: 'much'}");
    let answer = |text: &str| {
        let snapshot = store.snapshot();
        let Plan::Read(plan) = session.plan(text, &snapshot).unwrap() else { panic!("{text}") };
        let rows = match read(&snapshot, &session.views, &plan) {
            Ok(answer) => answer.rows.map(|row| row.map(drop).map_err(|e| e.to_string())).collect(),
            Err(error) => vec![Err(error.to_string())],
        };
        let error = rows.iter().find_map(|row| row.clone().err());
        (rows.iter().filter(|row| row.is_ok()).count(), error.unwrap_or_default())
    };
    let fault = "Account 2 has no state: Account.deposited at #8 could not be folded in";
    let (rows, error) = answer("FIND Account");
    assert!(rows == 2 && error.starts_with(fault), "{rows} {error}");
    assert_eq!(answer("FIND Account LIMIT 1"), (1, String::new()));
    assert_eq!(answer("FIND Account WHERE target = Account 1"), (1, String::new()));
    for text in ["FIND Account ORDER BY state.balance", "FIND Account SELECT sum(state.balance)"] {
        let (rows, error) = answer(text);
        assert!(rows == 0 && error.starts_with(fault), "{text}: {rows} {error}");
    }
    session.rows("DEFINE INDEX balance ON 'Account' AS state.balance");
    ready(&store);
    let (rows, error) = answer("FIND Account WHERE state.balance = 3");
    assert!(rows == 1 && error.starts_with(fault), "{rows} {error}");
    session.rows("EMIT Account.deposited 3 {amount: 'more'}");
    let (rows, error) = answer("FIND Account");
    assert!(rows == 1 && error.starts_with("Account 2 (and 1 more) has no state"), "{rows} {error}");
}

#[test]
fn an_index_of_states_follows_the_definition() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.parameters = Parameters::new().set("least", 2).set("other", 7);
    assert!(
        session
            .error("DEFINE INDEX balance ON 'Account' AS state.balance")
            .contains("the states of Account are not kept: DEFINE ENTITY Account keeps them")
    );
    accounts(&session);
    let line = session.lines("DEFINE INDEX balance ON 'Account' AS coalesce(state.balance, $other)");
    assert!(line[0].contains(r#""as":"coalesce(state.balance, 7)""#), "{line:?}");
    let shown = |state: &str, percent: &str| {
        format!(
            r#"{{"name":"balance","on":"Account","as":"coalesce(state.balance, 7)","defined":8,"state":"{state}","percent":{percent}}}"#
        )
    };
    let wanted = "FIND Account WHERE coalesce(state.balance, $other) >= $least";
    let explained = |session: &Session| session.lines(&format!("EXPLAIN {wanted}")).concat();
    ready(&store);
    assert_eq!(session.lines("SHOW INDEXES"), [shown("ready", "100")]);
    assert!(explained(&session).contains("from the index balance >= 2"), "{}", explained(&session));
    assert_eq!(ids(&session, wanted), ["2", "3"]);
    // Defined anew, each is worth twice as much; the index is made anew.
    session.rows(&ACCOUNT.replace("+ data.amount", "+ 2 * data.amount"));
    assert_eq!(ids(&session, wanted), ["1", "2", "3"]);
    ready(&store);
    assert_eq!(session.lines("SHOW INDEXES"), [shown("ready", "100")]);
    assert!(explained(&session).contains("from the index balance >= 2"), "{}", explained(&session));
    assert_eq!(ids(&session, wanted), ["1", "2", "3"]);
    // Without a definition there is nothing to index, until there is one again.
    session.rows("DROP ENTITY Account");
    assert_eq!(session.lines("SHOW INDEXES"), [shown("waiting", "null")]);
    assert!(explained(&session).contains("from all of them"), "{}", explained(&session));
    assert_eq!(ids(&session, "FIND Account WHERE state.amount > 1"), ["2", "3", "4"]);
    session.rows(ACCOUNT);
    ready(&store);
    assert_eq!(session.lines("SHOW INDEXES"), [shown("ready", "100")]);
    assert_eq!(ids(&session, wanted), ["2", "3"]);
    session.rows("DROP INDEX balance");
    assert!(session.lines("SHOW INDEXES").is_empty());
    assert!(explained(&session).contains("from all of them"), "{}", explained(&session));
    assert_eq!(ids(&session, wanted), ["2", "3"]);
}

#[test]
fn ids_are_read_between_bounds() {
    let store = store(4);
    let session = Session::new(&store);
    accounts(&session);
    let explained =
        |condition: &str| session.lines(&format!("EXPLAIN FIND Account WHERE {condition}")).concat();
    for (condition, told, expected) in [
        ("target.id >= '2'", "from those from 2 on", &["2", "3"][..]),
        ("target.id > '1' AND target.id < '4'", "from those after 1 before 4", &["2", "3"]),
        ("target.id BETWEEN '2' AND '3' AND version > 0", "from those from 2 on through 3", &["2", "3"]),
        ("starts_with(target.id, '3')", "from those from 3 on before 4", &["3"]),
        ("target.id > '2' OR target.id < '2'", "from all of them", &["1", "3"]),
    ] {
        assert!(explained(condition).contains(told), "{}", explained(condition));
        assert_eq!(ids(&session, &format!("FIND Account WHERE {condition}")), expected, "{condition}");
        assert_eq!(
            ids(&session, &format!("FIND Account WHERE {condition} LIMIT 1")),
            expected[..1],
            "{condition}"
        );
    }
    // What is not between them is not looked at.
    assert!(session.lines("FIND Account WHERE target.id > '2' AND target.id < '2'").is_empty());
}

#[test]
fn parameters_stand_where_values_do() {
    let store = store(4);
    let mut session = Session::new(&store);
    session.parameters =
        Parameters::new().set("id", 2).set("most", 2).set("n", 1).set("t", "2024-01-01").set("p", 3);
    accounts(&session);
    assert_eq!(ids(&session, "FIND Account WHERE state.balance <= $most LIMIT $n"), ["1"]);
    assert_eq!(ids(&session, "FIND Account WHERE target = Account $id"), ["2"]);
    assert_eq!(ids(&session, "FIND Account WHERE target.id = $id"), ["2"]);
    assert_eq!(ids(&session, "FIND Account ORDER BY state.balance * -$n LIMIT 1"), ["3"]);
    assert_eq!(ids(&session, "FIND Account AT $t"), [""; 0]);
}

#[test]
fn names_that_nothing_bears_are_told() {
    let store = store(4);
    let session = Session::new(&store);
    accounts(&session);
    let hints = |text: &str| {
        let parsed = lang::parse_one(text).unwrap();
        let snapshot = store.snapshot();
        let input = BindInput {
            text,
            statement: 1,
            parameters: &session.parameters,
            default_actor: None,
            now: time(NOW),
        };
        crate::plan::hints(&parsed.statement, input, &snapshot).unwrap()
    };
    for (text, expected) in [
        ("FIND Acount", "no events of Acount; did you mean Account?"),
        (
            "FIND Account WHERE state.blance > 1 AND state.blance < 5",
            "state.blance is in none of the 3 Account looked at; did you mean state.balance?",
        ),
        (
            "DEFINE INDEX b ON 'Account' AS state.blance",
            "state.blance is in none of the 3 Account looked at; did you mean state.balance?",
        ),
    ] {
        assert_eq!(hints(text), [expected], "{text}");
    }
    session.rows("DEFINE ENTITY Trip INCLUDE 'Account.*' BY trip");
    for text in
        ["FIND Account WHERE state.balance > 1", "FIND Account WHERE state.blance IS NULL", "FIND Trip"]
    {
        assert_eq!(hints(text), [""; 0], "{text}");
    }
}

#[test]
fn the_first_in_an_order_are_read_along_an_index() {
    let store = store(64);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET v = coalesce(data.v, NULL), w = data.w ON closed DELETE");
    session.rows("DEFINE INDEX kept ON 'Bill' AS state.v");
    let values =
        ["1", "7", "7", "-2.5", "'a'", "'b'", "true", "null", "[3, 9]", "{x: 1}", "7.0", "'2024-01-01'"];
    let pay = |id: usize, value: &str| {
        session.rows(&format!("EMIT Bill.paid {id} {{v: {value}, w: {}}}", id % 3));
    };
    // Most are numbers; of some values there are many, and some have none.
    (0..60).for_each(|id| {
        pay(id, if id % 2 == 0 { values[id / 2 % values.len()] } else { ["4", "5", "6"][id % 3] })
    });
    session.rows("EMIT Bill.paid 60 {w: 1}");
    store.checkpoint().unwrap();
    ready(&store);
    let check = || {
        for (walks, limit) in [Walks::Short, Walks::AsShipped, Walks::GivenUp]
            .into_iter()
            .flat_map(|walks| [1, 2, 3, 5, 9, 30, 70].map(|limit| (walks, limit)))
        {
            WALKS.set(walks);
            for (wanted, order) in [
                ("", "X DESC"),
                ("", "X"),
                ("WHERE state.w = 1", "X DESC"),
                ("WHERE X > 0", "X"),
                ("WHERE X > 0", "X DESC"),
                ("WHERE X >= 4 AND X < 7 AND state.w != 2", "X"),
                ("WHERE X >= 4 AND X < 7 AND state.w != 2", "X DESC"),
                ("WHERE X < 'b'", "X DESC"),
                ("WHERE X > '2023-01-01'", "X DESC"),
                ("WHERE X > 100", "X DESC"),
            ] {
                let text = format!("FIND Bill {wanted} ORDER BY {order} LIMIT {limit}");
                // No index is of that.
                let plainly = session.lines(&text.replace('X', "coalesce(state.v)"));
                assert_eq!(session.lines(&text.replace('X', "state.v")), plainly, "{text} {walks:?}");
            }
        }
        WALKS.set(Walks::Short);
    };
    check();
    let explained = |text: &str| session.lines(&format!("EXPLAIN FIND Bill {text}")).concat();
    for (text, along) in [
        ("ORDER BY state.v DESC LIMIT 5", "from the index kept, the last in its order"),
        ("WHERE state.v < 100 ORDER BY state.v LIMIT 1", "from the index kept, the first in its order"),
        ("ORDER BY state.v LIMIT 5", "from all of them"),
        ("ORDER BY state.v DESC", "from all of them"),
        ("ORDER BY state.v DESC, state.w LIMIT 5", "from all of them"),
        ("ORDER BY state.v DESC LIMIT 5 AT #3", "from all of them"),
    ] {
        assert!(explained(text).contains(along), "{text}: {}", explained(text));
    }
    // Fresh states come in their places, and what is no more so is passed over.
    for (id, value) in [(3, "99"), (5, "'z'"), (7, "null"), (9, "[]"), (11, "0.5"), (2, "6"), (18, "8")] {
        pay(id, value);
    }
    session.rows("EMIT Bill.closed 4");
    check();
    store.checkpoint().unwrap();
    ready(&store);
    check();
    // One that has no state is told of, wherever it would be.
    session.rows("DEFINE ENTITY Bill ON paid SET v = data.v + 0 ON closed DELETE");
    ready(&store);
    for limit in [1, 3] {
        let error = session.error(&format!("FIND Bill ORDER BY state.v DESC LIMIT {limit}"));
        assert!(error.contains("more) has no state"), "{error}");
    }
}

#[test]
fn an_order_does_not_take_the_place_of_an_index_that_leads_to_less() {
    let store = store(100_000);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Bill ON paid SET v = data.v, w = data.w, u = data.u");
    for (name, of) in [("ordered", "state.v"), ("city", "state.w"), ("town", "state.u")] {
        session.rows(&format!("DEFINE INDEX {name} ON 'Bill' AS {of}"));
    }
    let bills = 4000;
    for from in (0..bills).step_by(500) {
        // Those of the city are the last in the order.
        let bill = |n: i64| {
            let data = format!(r#"{{"v": {}, "w": {}, "u": {}}}"#, -n, n / 3800, n / 2000);
            NewEvent::new("Bill.paid").on(("Bill", n)).data(&data.parse::<Value>().unwrap())
        };
        let events = (from..from + 500).map(bill).collect();
        store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    }
    store.checkpoint().unwrap();
    ready(&store);
    for (wanted, order) in [
        ("{w} = 1", "{v} DESC"),
        ("{w} = 1 AND {u} = 1", "{v} DESC"),
        ("{u} = 1 AND {w} = 1 AND {v} < 0", "{v}"),
        ("{u} = 0", "{v} DESC"),
        ("{u} = 3", "{v} DESC"),
    ] {
        for walks in [Walks::AsShipped, Walks::Short, Walks::GivenUp] {
            WALKS.set(walks);
            for limit in [1, 10, 60] {
                let text = format!("FIND Bill WHERE {wanted} ORDER BY {order} LIMIT {limit}");
                let lines = |form: &str| {
                    let of = |name: &str| form.replace('_', name);
                    let text = text.replace("{v}", &of("v")).replace("{w}", &of("w"));
                    session.lines(&text.replace("{u}", &of("u")))
                };
                assert_eq!(lines("state._"), lines("coalesce(state._)"), "{text} {walks:?}");
            }
        }
    }
    WALKS.set(Walks::AsShipped);
    let snapshot = store.snapshot();
    let plan = |text: &str| match session.plan(text, &snapshot).unwrap() {
        Plan::Read(crate::plan::ReadPlan { kind: crate::plan::ReadKind::Find(find), .. }) => (*find).clone(),
        other => panic!("{other:?}"),
    };
    let both = plan("FIND Bill WHERE state.u = 1 AND state.w = 1 ORDER BY state.v DESC LIMIT 10");
    let order = "from the index ordered, the last in its order, or from";
    assert!(both.to_string().contains(&format!("{order} the index town = 1, 104 or more")), "{both}");
    // It is left for what leads to fewer than it would look at next; which that is, is counted then.
    assert!(both.without_order(&snapshot).unwrap().to_string().contains("from the index city = 1, 200"));
    let city = plan("FIND Bill WHERE state.w = 1 ORDER BY state.v DESC LIMIT 10");
    assert!(!city.source.are_fewer_than(&snapshot, 64).unwrap());
    assert!(city.source.are_fewer_than(&snapshot, 512).unwrap());
    let either = plan("FIND Bill WHERE state.w = 1 OR state.u = 3 OR target.id = 'b1'").to_string();
    assert!(either.contains("from the index city = 1, 200, and the index town = 3, "), "{either}");
    assert!(either.contains(", and the one that is named"), "{either}");
    let all = plan("FIND Bill ORDER BY state.v DESC LIMIT 10");
    assert!(all.to_string().contains(&format!("{order} all of them")), "{all}");
    WALKS.set(Walks::Short);
}

#[test]
fn an_array_counts_once_in_the_order_of_an_index() {
    let store = store(1000);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Box ON filled SET l = data.l");
    let items = |from: u64| (from..from + 40).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    for id in 1..=15 {
        session.rows(&format!("EMIT Box.filled {id} {{l: [{}]}}", items(id)));
        session.rows(&format!("EMIT Box.filled {} {{l: {id}}}", id + 100));
    }
    let texts = [
        "FIND Box ORDER BY state.l DESC LIMIT 10",
        "FIND Box ORDER BY state.l DESC LIMIT 20",
        "FIND Box WHERE state.l > 3 ORDER BY state.l LIMIT 10",
        "FIND Box WHERE state.l > 3 ORDER BY state.l DESC LIMIT 10",
    ];
    let expected = texts.map(|text| ids(&session, text));
    assert_eq!(expected[0].len(), 10);
    session.rows("DEFINE INDEX l ON 'Box' AS state.l");
    ready(&store);
    for moved in [false, true] {
        if moved {
            store.checkpoint().unwrap();
            ready(&store);
            // Each entity once, however many of its items lie at the end.
            let snapshot = store.snapshot();
            let finder = snapshot.indexes().finder("l").unwrap().clone();
            let walk = IndexWalk { range: finder.ordered(), finder, backwards: true };
            let walked = snapshot.walk_found(&walk, 5).unwrap().unwrap();
            assert!((5..10).contains(&walked.in_order.len()), "{:?}", walked.in_order);
            assert_eq!(walked.settled().len(), walked.in_order.len());
        }
        for walks in [Walks::AsShipped, Walks::Short, Walks::GivenUp] {
            WALKS.set(walks);
            for (text, expected) in texts.iter().zip(&expected) {
                assert_eq!(ids(&session, text), *expected, "{text} {walks:?} {moved}");
            }
        }
        WALKS.set(Walks::Short);
    }
}

#[test]
fn what_is_gathered_of_states_does_not_depend_on_how_many_threads_there_are() {
    let mut answers: Vec<Vec<Vec<String>>> = Vec::new();
    for threads in [1, 2, 5] {
        let store = store_with(1000, Options::new().threads(threads));
        let session = Session::new(&store);
        session.rows(
            "DEFINE ENTITY Account INITIAL {balance: 0} ON opened SET city = data.city ON deposited SET balance = \
             state.balance + data.amount",
        );
        let append = |from: u64| {
            let opened = |n: u64| NewEvent::new("Account.opened").on(("Account", n)).member("city", n % 7);
            let paid = |n: u64| {
                NewEvent::new("Account.deposited").on(("Account", n)).member("amount", n as f64 / 10.0)
            };
            let events = (from..from + 80).flat_map(|n| [opened(n), paid(n)]).collect();
            store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
        };
        append(0);
        store.checkpoint().unwrap();
        ready(&store);
        append(40);
        let texts = [
            "FIND Account SELECT sum(state.balance) AS s, count() AS n, min(state.balance) AS least",
            "FIND Account WHERE state.balance > 3 GROUP BY state.city AS c SELECT sum(state.balance) AS s, count() AS n",
            "FIND Account ORDER BY state.city, state.balance DESC LIMIT 9 SELECT target.id AS id",
            "FIND Account ORDER BY state.city DESC SELECT target.id AS id",
        ];
        let mut told = texts.map(|text| session.lines(text)).to_vec();
        // The first of those without a state is told of, and how many there are.
        for id in [119, 7, 60] {
            session.rows(&format!("EMIT Account.deposited {id} {{amount: 'much'}}"));
        }
        told.push(vec![session.error(texts[0]), session.error(texts[2])]);
        assert!(told[4][0].starts_with("Account 119 (and 2 more) has no state"), "{:?}", told[4]);
        assert!(told[0].len() == 1 && told[1].len() == 7 && told[2].len() == 9 && told[3].len() == 120);
        answers.push(told);
    }
    assert!(answers.iter().all(|told| *told == answers[0]), "{answers:?}");
}

#[test]
fn what_is_no_more_among_the_best_takes_no_memory() {
    for threads in [1, 4] {
        let store = store_with(1000, Options::new().threads(threads).query_memory(128 << 10));
        let session = Session::new(&store);
        session.rows("DEFINE ENTITY Account ON opened SET n = data.n");
        // Each is better than all before it, and has a long id.
        let opened = |n: u64| {
            let id = format!("{n:05}{}", "x".repeat(400));
            NewEvent::new("Account.opened").on(("Account", id)).member("n", n)
        };
        let events = (0..1500).map(opened).collect();
        store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
        store.checkpoint().unwrap();
        ready(&store);
        let found = session.lines("FIND Account ORDER BY state.n DESC LIMIT 3 SELECT state.n AS n");
        assert_eq!(found, [r#"{"n":1499}"#, r#"{"n":1498}"#, r#"{"n":1497}"#], "{threads}");
    }
}
