//! What changed: `BLAME`, `DIFF` and steps, against plain folds.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::event::NewEvent;
use crate::exec::diff::tests::patched;
use crate::store::append_request::AppendRequest;
use crate::value::{Object, Value};

#[derive(Debug, Clone)]
enum Fact {
    /// The data of an event, a merge patch.
    Told(Value),
    Deleted,
    /// Of another entity.
    Elsewhere,
}

/// Few values and names, so that much is set again, moved, removed and put back.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![1 => Just(Value::Null), 6 => (0..4i64).prop_map(Value::Int)];
    leaf.prop_recursive(3, 16, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec(("[abc]", inner), 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn facts() -> impl Strategy<Value = Vec<(Fact, u8)>> {
    let data = prop::collection::vec(("[abc]", value()), 0..4);
    let told = data.prop_map(|m| Fact::Told(Value::Object(m.into_iter().collect::<Object>())));
    let fact = prop_oneof![9 => told, 1 => Just(Fact::Deleted), 1 => Just(Fact::Elsewhere)];
    prop::collection::vec((fact, 0..10u8), 1..14)
}

fn day(day: u8) -> Timestamp {
    time(&format!("2024-01-{:02}", day + 1))
}

fn stored(facts: &[(Fact, u8)]) -> Store {
    let store = store(3);
    for (fact, at) in facts {
        let event = match fact {
            Fact::Told(data) => NewEvent::new("Thing.told").on(("Thing", 1)).data(data),
            Fact::Deleted => NewEvent::new("Thing.deleted").on(("Thing", 1)),
            Fact::Elsewhere => NewEvent::new("Thing.told").on(("Thing", 2)).data(&Value::from(Object::new())),
        };
        store.append(AppendRequest { events: vec![event.at(day(*at))], ..AppendRequest::default() }).unwrap();
    }
    store
}

/// The states after each event that counts, with its position, folded plainly.
fn states(facts: &[(Fact, u8)], by: Option<u8>) -> Vec<(u64, Value)> {
    let mut state = Value::Null;
    let mut states = Vec::new();
    for ((fact, day), position) in facts.iter().zip(1..) {
        if by.is_some_and(|by| *day > by) {
            continue;
        }
        match fact {
            Fact::Told(data) => state.merge(data.clone()),
            Fact::Deleted => state = Value::Null,
            Fact::Elsewhere => continue,
        }
        states.push((position, state.clone()));
    }
    states
}

/// The leaves of a state: JSON pointers by way of the language's form, which has no odd names here.
fn leaves(state: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match state {
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                leaves(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        leaf => found.push((path.to_owned(), leaf.clone())),
    }
}

/// What stands at a path of members.
fn member<'v>(state: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').filter(|name| !name.is_empty()).try_fold(state, |value, name| value.get(name))
}

/// What stands at a path, in whatever items of the arrays on the way.
fn anywhere<'v>(state: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default();
    let mut found: Vec<&Value> = member(state, first).into_iter().collect();
    for part in parts {
        let rest = part.split_once(']').unwrap().1.trim_start_matches('.');
        let items = found.into_iter().filter_map(Value::as_array).flatten();
        found = items.filter_map(|item| member(item, rest)).collect();
    }
    found
}

fn rows(session: &Session, text: &str) -> Vec<Value> {
    session.lines(text).iter().map(|line| line.parse().unwrap()).collect()
}

fn field<'v>(row: &'v Value, name: &str) -> &'v Value {
    row.get(name).unwrap_or_else(|| panic!("{row} has no {name}"))
}

/// A kind of which each rule makes something else.
const THING: &str = "DEFINE ENTITY Thing INITIAL {n: 0, list: [0, 1], sub: {}} SNAPSHOT EVERY 2 INCLUDE 'Other.*' BY thing \
    ON counted SET n = state.n + 1, sub.last = coalesce(data.a, 0), list[1] = coalesce(data.b, state.list[0]) \
    ON 'Other.*' SET n = state.n + 10, list[0] = state.list[1] ON told MERGE ON idle IGNORE ON closed DELETE";
const THINGS: [&str; 7] = [
    "Thing.counted",
    "Thing.counted",
    "Thing.told",
    "Thing.told",
    "Thing.idle",
    "Thing.closed",
    "Other.moved",
];

/// The path, the value and the position of the event to blame.
fn blamed(session: &Session, text: &str) -> Vec<(String, Value, u64)> {
    let rows = rows(session, text);
    let told = rows.iter().map(|row| {
        let position = field(field(row, "event"), "position").as_i64().unwrap();
        (field(row, "path").as_text().unwrap().to_owned(), field(row, "value").clone(), position as u64)
    });
    told.collect()
}

/// Every leaf of the last state is told once, in its order; the event to blame made it what it is, and no later one changed it.
fn check(states: &[(u64, Value)], told: &[(String, Value, u64)]) -> Result<(), TestCaseError> {
    let mut expected = Vec::new();
    if let Some((_, last)) = states.last().filter(|(_, state)| *state != Value::Null) {
        leaves(last, "", &mut expected);
    }
    let found: Vec<_> = told.iter().map(|(path, value, _)| (path.clone(), value.clone())).collect();
    prop_assert_eq!(found, expected);
    for (path, value, position) in told {
        let at = states.iter().position(|(of, _)| of == position).expect("the event counts");
        let before = at.checked_sub(1).map_or(&Value::Null, |at| &states[at].1);
        if let Some((array, _)) = path.split_once('[') {
            // It may have moved since: then it is in another item of the same array.
            prop_assert_ne!(member(before, array), member(&states[at].1, array), "{}", path);
            for (_, state) in &states[at..] {
                prop_assert!(anywhere(state, path).contains(&value), "{} in {}", path, state);
            }
        } else {
            prop_assert_ne!(member(before, path), Some(value), "{}", path);
            for (_, state) in &states[at..] {
                prop_assert_eq!(member(state, path), Some(value), "{}", path);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn blame_is_on_whoever_changed_it_last(facts in facts(), by in prop::option::of(0..10u8)) {
        let store = stored(&facts);
        let session = Session::new(&store);
        let text = |by: Option<u8>| match by {
            Some(by) => format!("BLAME Thing 1 '{}'", day(by)),
            None => "BLAME Thing 1".to_owned(),
        };
        let states = states(&facts, by);
        let told = blamed(&session, &text(by));
        check(&states, &told)?;
        for (path, value, position) in &told {
            // Without the event, that leaf or its blame is another.
            let mut without = facts.clone();
            without[*position as usize - 1].0 = Fact::Elsewhere;
            let store = stored(&without);
            let others = blamed(&Session::new(&store), &text(by));
            prop_assert!(!others.contains(&(path.clone(), value.clone(), *position)));
        }
    }

    #[test]
    fn blame_holds_whatever_rule_made_it(events in prop::collection::vec((0..7usize, value(), value()), 1..14)) {
        let store = store(3);
        let session = Session::new(&store);
        session.rows(THING);
        for (kind, a, b) in &events {
            let text = match THINGS[*kind] {
                included if included.starts_with("Other") => format!("EMIT {included} 9 INDEX BY thing = 1"),
                kind => format!("EMIT {kind} 1 {{a: {a}, b: {b}}}"),
            };
            session.rows(&text);
        }
        let steps = rows(&session, "REPLAY Thing 1 STEPS");
        let states: Vec<(u64, Value)> = steps.iter().map(|step| {
            let event = field(step, "event");
            let included = event.get("type") == Some(&Value::from("Other.moved"));
            assert_eq!(step.get("included").is_some(), included);
            (field(event, "position").as_i64().unwrap() as u64, field(step, "state").clone())
        }).collect();
        check(&states, &blamed(&session, "BLAME Thing 1"))?;
    }

    #[test]
    fn the_history_of_a_field_is_each_change_of_it(
        facts in facts(),
        path in prop::sample::select(vec!["a", "b", "a.b", "c[0]", "c[1].a"]),
        (since, until) in (0..14u64, prop::option::of(0..10u8)),
        limit in prop::option::of((any::<bool>(), 1..4usize)),
    ) {
        let store = stored(&facts);
        let session = Session::new(&store);
        let since = since.min(facts.len() as u64);
        let mut expected = Vec::new();
        let mut before = None;
        for (position, state) in states(&facts, None) {
            let (first, rest) = path.split_once('[').unwrap_or((path, ""));
            let mut after = member(&state, first);
            if let Some((index, rest)) = rest.split_once(']') {
                let item = after.and_then(|list| list.as_array()?.get(index.parse::<usize>().unwrap()));
                after = item.and_then(|item| member(item, rest));
            }
            let after = after.cloned();
            if after != before && position > since && until.is_none_or(|until| facts[position as usize - 1].1 < until) {
                expected.push((before.clone(), after.clone(), position));
            }
            before = after;
        }
        let mut text = format!("HISTORY Thing 1 OF state.{path} SINCE #{since}");
        if let Some(until) = until {
            text.push_str(&format!(" UNTIL '{}'", day(until)));
        }
        match limit {
            Some((true, many)) => {
                text.push_str(&format!(" LIMIT {many}"));
                expected.truncate(many);
            }
            Some((false, many)) => {
                text.push_str(&format!(" LAST {many}"));
                expected.drain(..expected.len().saturating_sub(many));
            }
            None => {}
        }
        let told: Vec<_> = rows(&session, &text).iter().map(|row| {
            assert_eq!(field(row, "path"), &Value::from(path));
            let position = field(field(row, "event"), "position").as_i64().unwrap();
            (row.get("before").cloned(), row.get("after").cloned(), position as u64)
        }).collect();
        prop_assert_eq!(told, expected);
        // Whoever is to blame for a field is among them.
        let all = blamed(&session, "BLAME Thing 1");
        let of: Vec<_> = all.into_iter().filter(|(at, ..)| {
            at.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        }).collect();
        prop_assert_eq!(blamed(&session, &format!("BLAME Thing 1 OF state.{path}")), of);
    }

    #[test]
    fn a_difference_makes_one_state_of_the_other(facts in facts(), from in 0..14u64, to in 0..14u64) {
        let store = stored(&facts);
        let session = Session::new(&store);
        let head = facts.len() as u64;
        let (from, to) = (from.min(head), to.min(head));
        let state = |at: u64| {
            let states = states(&facts, None);
            states.iter().rev().find(|(position, _)| *position <= at).map_or(Value::Null, |(_, state)| state.clone())
        };
        let patch = rows(&session, &format!("DIFF Thing 1 FROM #{from} TO #{to}"));
        prop_assert_eq!(patch.is_empty(), state(from) == state(to));
        prop_assert_eq!(patched(state(from), &patch), state(to));
        let patch = rows(&session, &format!("DIFF Thing 1 FROM START AS OF #{to}"));
        prop_assert_eq!(patched(Value::Null, &patch), state(to));
    }

    #[test]
    fn steps_lead_from_each_state_to_the_next(facts in facts()) {
        let store = stored(&facts);
        let session = Session::new(&store);
        let mut state = Value::Null;
        let mut latest = None;
        let steps = rows(&session, "REPLAY Thing 1 STEPS");
        let states = states(&facts, None);
        prop_assert_eq!(steps.len(), states.len());
        for (step, (position, expected)) in steps.iter().zip(states) {
            state = patched(state, field(step, "changes").as_array().unwrap());
            prop_assert_eq!(&state, &expected);
            prop_assert_eq!(field(step, "state"), &expected);
            prop_assert_eq!(field(field(step, "event"), "position"), &Value::from(position));
            let day = facts[position as usize - 1].1;
            prop_assert_eq!(field(step, "late"), &Value::from(latest.is_some_and(|latest| day < latest)));
            latest = latest.max(Some(day));
        }
    }
}

/// What is told beside the rows.
fn told(session: &Session, text: &str) -> (usize, Vec<String>) {
    let (rows, notices) = session.run(text).unwrap();
    (rows.len(), notices)
}

#[test]
fn answers_say_where_they_are_and_why_there_is_nothing() {
    let store = store(4);
    let session = Session::new(&store);
    for text in [
        "EMIT Order.created 1 {total: 10, tags: ['a']} AT '2024-03-01'",
        "EMIT Order.noted 1 {total: 20} AT '2024-02-01'",
        "EMIT Order.noted 1 {total: 20} AT '2024-04-01'",
        "EMIT Order.created 2 {total: 1} AT '2024-01-01'",
        "EMIT Order.deleted 2 AT '2024-01-02'",
        "EMIT Order.created 3 {} AT '2024-01-01'",
        "EMIT Order.deleted 3 AT '2030-01-01'",
        "EMIT Order.deleted 4",
        "EMIT Other.thing 1",
    ] {
        session.rows(text);
    }
    let one = |notice: &str| vec![notice.to_owned()];
    for (text, rows, notices) in [
        ("BLAME Order 1", 2, one("Order 1 is at version 3 through #3")),
        ("BLAME Order 1 '2024-03-02'", 2, one("Order 1 is at version 2 through #2")),
        ("BLAME Order 1 '2024-01-01'", 0, one("Order 1 has its first event at 2024-02-01T00:00:00Z: #2")),
        ("AT Order 1 '2024-01-01'", 1, one("Order 1 has its first event at 2024-02-01T00:00:00Z: #2")),
        (
            "BLAME Order 3",
            1,
            vec![
                "Order 3 is at version 1 through #6".to_owned(),
                "1 event of Order 3 is dated ahead, to 2030-01-01T00:00:00Z, and left out until then; by all that is \
                 recorded (REPLAY) it is at version 2 through #7"
                    .to_owned(),
            ],
        ),
        ("BLAME Order 3 #7", 0, one("Order 3 was deleted by #7 Order.deleted")),
        ("BLAME Order 3 '2024-01-02'", 1, one("Order 3 is at version 1 through #6")),
        ("AT Order 2 '2024-01-02'", 1, one("Order 2 was deleted by #5 Order.deleted")),
        ("REPLAY Order 4", 1, one("Order 4 was deleted by #8 Order.deleted")),
        ("BLAME Order 5", 0, one("Order 5 has no events")),
        ("BLAME Order 1 OF state.total", 1, one("Order 1 is at version 3 through #3")),
        (
            "BLAME Order 1 OF state.note",
            0,
            vec!["Order 1 is at version 3 through #3".to_owned(), "there is no state.note in it".to_owned()],
        ),
        ("HISTORY Order 1 OF state.total", 2, vec![]),
        ("HISTORY Order 1 OF state.total WHERE type = 'Order.noted'", 1, vec![]),
        (
            "HISTORY Order 1 OF state.total SINCE #2",
            0,
            one("none of the events asked for changed state.total of Order 1"),
        ),
        ("HISTORY Order 1 OF state.note", 0, one("no event of Order 1 changed state.note")),
        ("HISTORY Order 5 OF state.note", 0, one("Order 5 has no events")),
        ("REPLAY Order 5 STEPS", 0, one("Order 5 has no events")),
        ("REPLAY Order 5", 1, vec![]),
        (
            "REPLAY Order 2 STEPS AS OF #3",
            0,
            vec![
                "as of #3, 2024-06-01T12:00:00Z".to_owned(),
                "Order 2 has its first event at 2024-01-01T00:00:00Z: #4, recorded at 2024-06-01T12:00:00Z"
                    .to_owned(),
            ],
        ),
        (
            "DIFF Order 1 FROM '2024-02-01' TO VERSION 3",
            1,
            vec![
                "VERSION 3 is #3".to_owned(),
                "from 2024-02-01T00:00:00Z: version 2 through #2".to_owned(),
                "to #3: version 3 through #3".to_owned(),
            ],
        ),
        (
            "DIFF Order 1 FROM #2",
            0,
            vec![
                "from #2: version 2 through #2".to_owned(),
                "to the newest: version 3 through #3".to_owned(),
                "no difference: Order 1 is the same at both".to_owned(),
            ],
        ),
        (
            "DIFF Order 2 FROM START TO '2023-01-01'",
            0,
            vec![
                "from the start: no event".to_owned(),
                "to 2023-01-01T00:00:00Z: no event".to_owned(),
                "Order 2 has its first event at 2024-01-01T00:00:00Z: #4".to_owned(),
                "no difference: Order 2 is the same at both".to_owned(),
            ],
        ),
        (
            "DIFF Order 2 FROM #4",
            1,
            vec![
                "from #4: version 1 through #4".to_owned(),
                "to the newest: version 2 through #5".to_owned(),
                "Order 2 was deleted by #5 Order.deleted".to_owned(),
            ],
        ),
    ] {
        assert_eq!(told(&session, text), (rows, notices), "{text}");
    }
}

#[test]
fn the_age_of_a_leaf_is_that_at_the_time_asked_about() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 {total: 10} AT '2024-01-01'");
    for (text, seen) in [
        ("BLAME Order 1", NOW),
        ("BLAME Order 1 #1", NOW),
        ("BLAME Order 1 '2024-02-01'", "2024-02-01"),
        ("BLAME Order 1 AS OF '2024-06-03'", "2024-06-03"),
        ("BLAME Order 1 '2024-02-01' AS OF '2024-06-03'", "2024-02-01"),
    ] {
        let rows = session.rows(text);
        assert!(matches!(&rows[..], [Row::Blame(leaf)] if leaf.seen == time(seen)), "{text} {rows:?}");
    }
}

/// A deletion is found though much was read since, or nothing.
#[test]
fn an_old_deletion_is_found() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 {total: 10}");
    session.rows("EMIT Order.deleted 1 AT '2024-02-01'");
    for _ in 0..100 {
        session.rows("EMIT Order.created 2");
    }
    session.rows("EMIT Order.deleted 1 AT '2030-01-01'");
    assert_eq!(told(&session, "AT Order 1 NOW").1[1], "Order 1 was deleted by #2 Order.deleted");
    assert_eq!(told(&session, "BLAME Order 1").1[0], "Order 1 was deleted by #2 Order.deleted");
    let at_the_end = told(&session, "BLAME Order 1 #103").1;
    assert_eq!(at_the_end.last().map(String::as_str), Some("Order 1 was deleted by #103 Order.deleted"));
}

#[test]
fn what_a_definition_says_is_blamed_on_its_events() {
    let store = store(4);
    let session = Session::new(&store);
    let define = "DEFINE ENTITY Account INITIAL {balance: 0, open: TRUE} INCLUDE 'Card.*' BY account \
                  ON deposited SET balance = state.balance + data.amount ON 'Card.used' SET card = actor \
                  ON idle IGNORE ON closed DELETE";
    for text in [
        define,
        "EMIT Account.idle 1",
        "EMIT Account.deposited 1 {amount: 0}",
        "EMIT Account.deposited 1 {amount: 5}",
        "EMIT Card.used 9 BY User ann INDEX BY account = 1",
        "EMIT Account.deposited 1 {amount: 0}",
    ] {
        session.rows(text);
    }
    let blame = |text: &str| {
        let told = blamed(&session, text);
        told.into_iter().map(|(path, value, by)| format!("{path}={value}:{by}")).collect::<Vec<_>>().join(" ")
    };
    // What INITIAL brought is the first event's that made a state.
    assert_eq!(blame("BLAME Account 1"), r#"balance=5:4 open=true:3 card.type="User":5 card.id="ann":5"#);
    assert_eq!(told(&session, "BLAME Account 1").1.pop().unwrap(), "Account 1 is at version 4 through #6");
    assert_eq!(
        told(&session, "BLAME Account 1 #2").1.pop().unwrap(),
        "Account 1 has no state: none of its events makes one"
    );
    let steps = session.lines("REPLAY Account 1 STEPS");
    let included: Vec<bool> = steps.iter().map(|step| step.ends_with(r#""included":true}"#)).collect();
    assert_eq!(included, [false, false, false, true, false]);
    // Another definition, another blame.
    session.rows(&define.replace("+ data.amount", "+ data.amount + 1"));
    assert_eq!(blame("BLAME Account 1"), r#"balance=8:6 open=true:3 card.type="User":5 card.id="ann":5"#);
    // What cannot be folded says so, until it is gone.
    session.rows("EMIT Account.deposited 1 {amount: 'much'}");
    for text in ["BLAME Account 1", "DIFF Account 1 FROM START", "REPLAY Account 1 STEPS"] {
        let error = session.error(text);
        assert!(error.contains("Account.deposited at #8 could not be folded in"), "{text}: {error}");
    }
    assert_eq!(session.rows("BLAME Account 1 #7").len(), 4);
    session.rows("EMIT Account.closed 1");
    assert_eq!(
        told(&session, "BLAME Account 1").1.pop().unwrap(),
        "Account 1 was deleted by #9 Account.closed"
    );
    session.rows("EMIT Account.deposited 1 {amount: 3}");
    assert_eq!(blame("BLAME Account 1"), "balance=4:10 open=true:10");
}
