//! What is forgotten can be asked for, and a definition of entities says what it becomes.

use super::*;

const CONTACT: &str =
    "DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, data.address, metadata.ip";

/// What is private is refused on a log that is shared.
fn store_of_its_own(memtable: usize) -> Store {
    let mut options = Options::new();
    options.own_journal = true;
    store_with(memtable, options)
}

/// Two of whom one is forgotten.
fn two(session: &Session) {
    session.rows(CONTACT);
    session.rows(
        "EMIT User.named 7 {name: 'Ann', address: {city: 'Oslo'}, age: 44} META {ip: '10.0.0.9', by: 'web'}",
    );
    session.rows("EMIT User.named 8 {name: 'Bob', address: {city: 'Rome'}, age: 45}");
    session.rows("EMIT User.named 9 {name: NULL, address: {city: 'Lima'}, age: 46}");
}

#[test]
fn a_filter_and_a_column_tell_what_is_forgotten() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    two(&session);
    assert!(session.positions("EVENTS WHERE is_forgotten(data.name)").is_empty());
    session.rows("FORGET User 7");
    for _ in 0..2 {
        for (field, is) in [
            ("data.name", true),
            ("data.address", true),
            ("data.address.city", true),
            ("data", true),
            ("metadata.ip", true),
            ("metadata", true),
            ("data.age", false),
            ("data.names", false),
            ("metadata.by", false),
            ("data.ip", false),
        ] {
            let found = session.positions(&format!("EVENTS 'User.*' WHERE is_forgotten({field})"));
            assert_eq!(found, if is { vec![2] } else { vec![] }, "{field}");
            let found = session.positions(&format!("EVENTS 'User.*' WHERE NOT is_forgotten({field})"));
            assert_eq!(found, if is { vec![3, 4] } else { vec![2, 3, 4] }, "{field}");
        }
        let gone = session.lines("EVENTS 'User.*' SELECT target.id AS id, is_forgotten(data.name) AS gone");
        let expected =
            [r#"{"id":"7","gone":true}"#, r#"{"id":"8","gone":false}"#, r#"{"id":"9","gone":false}"#];
        assert_eq!(gone, expected);
        let groups = session
            .lines("EVENTS 'User.*' GROUP BY is_forgotten(data.name) AS gone SELECT count() AS n ORDER BY n");
        assert_eq!(groups, [r#"{"gone":true,"n":1}"#, r#"{"gone":false,"n":2}"#]);
        assert_eq!(session.positions("HISTORY User 7 WHERE is_forgotten(data.name)"), [2]);
        // What is stored is as it was.
        assert!(session.positions("HISTORY User 7 WHERE is_forgotten(data.name) RAW").is_empty());
        store.checkpoint().unwrap();
    }
}

#[test]
fn what_is_kept_of_it_follows_when_somebody_is_forgotten() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY User ON named SET gone = is_forgotten(data.name)");
    session.rows("DEFINE INDEX gone ON 'User.*' AS is_forgotten(data.name)");
    session.rows(
        "DEFINE VIEW gone AS EVENTS 'User.*' GROUP BY is_forgotten(data.name) AS gone SELECT count() AS n",
    );
    session.rows("DEFINE VIEW known AS EVENTS 'User.*' WHERE NOT is_forgotten(data.name)");
    two(&session);
    store.checkpoint().unwrap();
    let same =
        |questions: &[&str]| questions.iter().map(|question| session.lines(question)).collect::<Vec<_>>();
    let questions = ["READ gone ORDER BY n", "READ known", "FIND User WHERE state.gone"];
    assert_eq!(session.positions("EVENTS BY gone = TRUE"), Vec::<u64>::new());
    assert_eq!(same(&questions)[0], [r#"{"gone":false,"n":3}"#]);
    session.rows("FORGET User 7");
    assert_eq!(session.positions("EVENTS BY gone = TRUE"), [6]);
    assert_eq!(session.positions("EVENTS BY gone = FALSE"), [7, 8]);
    let at_once = same(&questions);
    assert_eq!(at_once[0], [r#"{"gone":true,"n":1}"#, r#"{"gone":false,"n":2}"#]);
    assert!(at_once[1].len() == 2 && at_once[2].len() == 1, "{at_once:?}");
    assert_eq!(state(&session.rows("AT User 7")), r#"{"gone":true}"#);
    assert_eq!(state(&session.rows("AT User 7 AS OF #6")), r#"{"gone":true}"#);
    assert_eq!(state(&session.rows("AT User 8")), r#"{"gone":false}"#);
    store.shared().settle().unwrap();
    assert_eq!(same(&questions), at_once);
}

#[test]
fn fields_that_an_upcast_makes_of_what_is_forgotten_are_forgotten() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    two(&session);
    session.rows("FORGET User 7");
    session.rows(
        "DEFINE EVENT User.named {person: any?} UPCAST SET data.person = {called: data.name, at: data.address}, \
         data.city = upper(data.address.city), data.years = data.age + 1 DELETE data.name",
    );
    let lines = session.lines("EVENTS 'User.*'");
    assert!(
        lines[0].ends_with(
            r#""data":{"address":null,"age":44,"person":{"called":null,"at":null},"city":null,"years":45},"metadata":{"ip":null,"by":"web"},"forgotten":["data.address","metadata.ip","data.person.called","data.person.at","data.city"]}"#
        ),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(r#""person":{"called":"Bob","at":{"city":"Rome"}},"city":"ROME""#),
        "{lines:?}"
    );
    for (field, is) in [
        ("data.person", true),
        ("data.person.called", true),
        ("data.person.at.city", true),
        ("data.city", true),
        ("data.years", false),
        ("data.name", false),
        ("data.person.other", false),
    ] {
        let found = session.positions(&format!("EVENTS 'User.*' WHERE is_forgotten({field})"));
        assert_eq!(found, if is { vec![2] } else { vec![] }, "{field}");
    }
    // Chains compose, and what is all of the data is so field by field.
    session.rows(
        "DEFINE EVENT User.named {was: any?} UPCAST SET data = {was: merge(put(data, 'extra', data.city), {x: 1})}",
    );
    let lines = session.lines("HISTORY User 7");
    assert!(
        lines[0].contains(
            r#""forgotten":["metadata.ip","data.was.address","data.was.person.called","data.was.person.at","data.was.city","data.was.extra"]"#
        ),
        "{lines:?}"
    );
    // What nothing is left of is not named.
    session.rows("DEFINE EVENT User.named {x: any?} UPCAST SET data = {x: 1}");
    assert!(session.lines("HISTORY User 7")[0].ends_with(r#""forgotten":["metadata.ip"]}"#));
    let plan = session.lines("EXPLAIN FORGET User 7");
    assert!(plan.iter().any(|line| line.contains("1 events are forgotten already")), "{plan:?}");
}

#[test]
fn it_is_refused_where_there_is_no_event() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows(CONTACT);
    session.rows("DEFINE VIEW all AS EVENTS 'User.*' GROUP BY target.id AS id SELECT count() AS n");
    session.rows("EMIT User.named 7 {name: 'Ann'}");
    for (text, told) in [
        ("FIND User WHERE is_forgotten(state.name)", "DEFINE ENTITY"),
        ("READ all WHERE is_forgotten(data.name)", "in its definition"),
        ("DEFINE VERB Name ON User REQUIRE NOT is_forgotten(data.name)", "DEFINE ENTITY"),
        ("EMIT User.named 7 {a: is_forgotten(data.name)}", "there is none here"),
        ("DEFINE EVENT User.named {a: any? CHECK is_forgotten(data.a)}", "of the data of the event alone"),
        ("EVENTS WHERE is_forgotten('data.name')", "like data.email"),
        ("EVENTS WHERE is_forgotten(target)", "a member of data or metadata"),
        ("EVENTS WHERE is_forgotten(data.list[0])", "the whole array is"),
        ("EVENTS WHERE is_forgotten()", "takes 1 argument"),
        ("EVENTS GROUP BY type SELECT is_forgotten(data.name)", "data.name"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

const ENTITY: &str = "DEFINE ENTITY User SNAPSHOT EVERY 1 ON named SET name = data.name, city = data.address.city, \
                      loud = if(data.name IS NULL AND NOT is_forgotten(data.name), NULL, upper(data.name)), all = {name: data.name, age: data.age}, names = append(state.names, data.name), \
                      age = data.age ON deleted DELETE \
                      FORGOTTEN SET name = 'someone', all.name = concat('user ', target.id), names = append(state.names, '-')";

#[test]
fn a_definition_says_what_stands_for_what_is_forgotten() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows(ENTITY);
    session.rows("DEFINE VIEW names AS FIND User SELECT state.name AS name");
    session.rows("DEFINE INDEX name ON 'User' AS state.name");
    two(&session);
    session.rows("EMIT User.moved 7 {street: 'Elm'}");
    store.checkpoint().unwrap();
    store.shared().settle().unwrap();
    let known = r#"{"name":"Ann","city":"Oslo","loud":"ANN","all":{"name":"Ann","age":44},"names":["Ann"],"age":44,"street":"Elm"}"#;
    assert_eq!(state(&session.rows("AT User 7")), known);
    session.rows("FORGET User 7");
    let gone = r#"{"name":"someone","city":null,"loud":null,"all":{"name":"user 7","age":44},"names":["-"],"age":44"#;
    let same = |question: &str| session.lines(question);
    for _ in 0..2 {
        assert_eq!(state(&session.rows("AT User 7")), format!(r#"{gone},"street":"Elm"}}"#));
        let first = session.lines("EVENTS 'User.named' LIMIT 1")[0].split(',').next().unwrap().to_owned();
        let first = first.trim_start_matches(r#"{"position":"#);
        for point in [format!("AT User 7 #{first}"), format!("AT User 7 AS OF #{first}")] {
            assert_eq!(state(&session.rows(&point)), format!("{gone}}}"), "{point}");
        }
        assert_eq!(same("FIND User WHERE state.name = 'someone' SELECT target.id AS id"), [r#"{"id":"7"}"#]);
        let names = [r#"{"name":"someone"}"#, r#"{"name":"Bob"}"#, r#"{"name":null}"#];
        assert_eq!(same("READ names"), names);
        let blame = same("BLAME User 7").join("\n");
        assert!(blame.contains(r#""value":"someone""#), "{blame}");
        let steps = same("REPLAY User 7 STEPS").join("\n");
        assert!(steps.contains(r#""names":["-"],"age":44,"street":"Elm""#), "{steps}");
        store.shared().settle().unwrap();
        store.checkpoint().unwrap();
    }
    assert!(crate::store::verify::verify(&store.snapshot()).unwrap().faults.is_empty());
    // Who comes again is somebody new, and is not taken for who is forgotten.
    session.rows("EMIT User.named 7 {name: 'Eve', address: {city: 'Bern'}, age: 20}");
    let again = state(&session.rows("AT User 7"));
    assert!(again.contains(r#""name":"Eve""#) && again.contains(r#""names":["-","Eve"]"#), "{again}");
}

#[test]
fn what_is_merged_and_what_nothing_says_is_null_or_said() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY User INITIAL {known: TRUE} FORGOTTEN SET name = 'someone', address.city = state.known, other = 1");
    two(&session);
    session.rows("FORGET User 7");
    assert_eq!(
        state(&session.rows("AT User 7")),
        r#"{"known":true,"age":44,"name":"someone","address":{"city":true}}"#
    );
    assert!(state(&session.rows("AT User 8")).contains(r#""name":"Bob""#));
    // Without a word of it, what cannot be made of what is forgotten is null.
    session.rows("DEFINE ENTITY User ON named SET name = lower(data.name), city = data.address.city, age = data.age + 1");
    assert_eq!(state(&session.rows("AT User 7")), r#"{"name":null,"city":null,"age":45}"#);
    // What is missing for another reason is told as ever.
    session.rows("DEFINE ENTITY User ON named SET name = data.title");
    assert!(session.error("AT User 7").contains("data.title is missing"));
}

#[test]
fn events_of_others_say_what_is_forgotten_of_them_alone() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE customer ON 'Order.placed' OF User (data.customer) FIELDS data.name");
    session.rows("DEFINE PRIVATE courier ON 'Courier.*' OF target FIELDS data.name");
    session.rows(
        "DEFINE ENTITY Order INCLUDE 'Courier.*' BY order ON placed SET name = data.name \
         ON 'Courier.*' SET courier = data.name FORGOTTEN SET name = 'a customer', courier = 'a courier'",
    );
    session.rows("EMIT Order.placed 1 {customer: 7, name: 'Ann'}");
    session.rows("EMIT Courier.sent 9 {name: 'Bob'} INDEX BY order = '1'");
    assert_eq!(state(&session.rows("AT Order 1")), r#"{"name":"Ann","courier":"Bob"}"#);
    session.rows("FORGET Courier 9");
    assert_eq!(state(&session.rows("AT Order 1")), r#"{"name":"Ann","courier":"a courier"}"#);
    session.rows("FORGET User 7");
    assert_eq!(state(&session.rows("AT Order 1")), r#"{"name":"a customer","courier":"a courier"}"#);
}

const ERASE: &str = "DEFINE VERB Erase ON User BY Clerk REQUIRE state.age > 40 ELSE 'too young' \
                     EMIT erased {by: actor.id} EMIT Case.closed ON Case (target.id) FORGET target BECAUSE data.reason";

#[test]
fn a_verb_forgets_with_what_it_makes() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY User ON erased MERGE FORGOTTEN SET name = 'someone'");
    two(&session);
    session.rows("EMIT User.named 10 {name: 'Kid', address: {city: 'Kiel'}, age: 7}");
    session.rows(ERASE);
    let head = |session: &Session| session.lines("SHOW HEAD");
    let before = head(&session);
    for (text, told) in [
        ("PERFORM Erase User 7 {reason: 'x'}", "Clerk"),
        ("PERFORM Erase User 7 {reason: 'x'} BY User 8", "Clerk"),
        ("PERFORM Erase User 10 {reason: 'x'} BY Clerk 1", "too young"),
        ("PERFORM Erase User 7 {reason: 1} BY Clerk 1", "BECAUSE: expected a text"),
        ("PERFORM Erase User 7 BY Clerk 1", "data.reason is missing"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
    let perform = "PERFORM Erase User 7 {reason: 'she asked'} META {ip: '10.1.2.3'} BY Clerk 1 KEY 'k'";
    let plan = session.lines(&format!("EXPLAIN {perform}")).join("\n");
    for told in [
        "would be $subject.forgotten at #10",
        "the key of User 7 would be destroyed",
        "events: 1 User.named",
        "REQUIRE",
    ] {
        assert!(plan.contains(told), "{plan}");
    }
    assert_eq!(head(&session), before);
    let answer = session.lines(perform);
    assert_eq!(answer.len(), 3, "{answer:?}");
    assert!(answer[2].contains(r#""type":"$subject.forgotten""#), "{answer:?}");
    assert!(answer[2].contains(r#""actor":{"type":"Clerk","id":"1"}"#), "{answer:?}");
    assert!(
        answer[2].contains(r#""data":{"subject":{"type":"User","id":"7"},"because":"she asked"}"#),
        "{answer:?}"
    );
    // What is private of metadata is not said once more, in plain.
    assert!(answer[0].contains("10.1.2.3") && !answer[2].contains("10.1.2.3"), "{answer:?}");
    let all = session.lines("EVENTS");
    assert!(!all.iter().any(|line| line.contains("Ann")), "{all:?}");
    assert_eq!(session.positions("EVENTS WHERE is_forgotten(metadata.ip)"), [3, 8]);
    assert!(state(&session.rows("AT User 7")).contains(r#""name":"someone""#));
    // Once is enough.
    let head_after = head(&session);
    assert_eq!(session.lines(perform).len(), 3);
    assert_eq!(head(&session), head_after);
    assert!(session.lines("SHOW VERBS")[0].contains("User.erased, Case.closed, $subject.forgotten"));
    assert!(crate::store::verify::verify(&store.snapshot()).unwrap().faults.is_empty());
}

#[test]
fn a_verb_forgets_in_some_cases_and_whom_it_says() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    two(&session);
    session.rows("EMIT Order.placed 1 {customer: 8}");
    session.rows(
        "DEFINE VERB Close ON Order WHEN data.how = 'whole' EMIT closed FORGET User (state.customer) \
         WHEN data.how = 'mine' FORGET actor BECAUSE 'of one''s own' WHEN TRUE EMIT kept",
    );
    session.rows("PERFORM Close Order 1 {how: 'not'} BY User 7");
    assert!(session.positions("EVENTS '$subject.*'").is_empty());
    assert!(session.error("PERFORM Close Order 1 {how: 'mine'}").contains("expected an actor, found nobody"));
    session.rows("PERFORM Close Order 1 {how: 'mine'} BY User 7");
    let gone = |session: &Session| session.lines("EVENTS 'User.*' SELECT is_forgotten(data.name) AS x");
    assert_eq!(gone(&session), [r#"{"x":true}"#, r#"{"x":false}"#, r#"{"x":false}"#]);
    // Two at once, of which one forgets.
    session.rows(
        "ATOMIC (EMIT Order.paid 1; PERFORM Close Order 1 {how: 'whole'}; EMIT User.named 8 {name: 'Rob'})",
    );
    assert_eq!(gone(&session), [r#"{"x":true}"#, r#"{"x":true}"#, r#"{"x":false}"#, r#"{"x":false}"#]);
    assert!(session.lines("HISTORY User 8")[1].contains("Rob"));
    // Nothing said of what happens: that is said as ever.
    session.rows("DEFINE VERB Erase ON User FORGET target");
    let answer = session.lines("PERFORM Erase User 8");
    assert!(answer[0].contains("User.erased") && answer[1].contains("$subject.forgotten"), "{answer:?}");
    for (text, told) in [
        (
            "DEFINE VERB A ON User FORGET User",
            "target, actor, or a kind and an id, like User (state.customer)",
        ),
        ("DEFINE VERB A ON User FORGET target BECAUSE timestamp", "a verb sees no 'timestamp'"),
        ("DEFINE VERB A ON User EMIT `$subject.forgotten`", "$"),
        ("DEFINE REACTION r ON 'Order.lost' DO PERFORM Erase User 7", "runs by itself"),
        ("DEFINE SCHEDULE s EVERY 1d DO PERFORM Erase User 7", "runs by itself"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn what_runs_by_itself_forgets_nobody() {
    use crate::store::append_request::AppendRequest;
    use crate::store::verb::{ForgetPermit, ForgetWish, PerformRequest};
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    two(&session);
    session.rows("DEFINE VERB Erase ON User FORGET target");
    let perform = |may_forget| {
        let perform = PerformRequest { may_forget, ..PerformRequest::new("Erase", ("User", 7).into()) };
        store.append(AppendRequest { performs: vec![(0, perform)], ..AppendRequest::default() })
    };
    // As a reaction does it that was defined before the verb forgot somebody.
    let error = perform(ForgetPermit::Refused).unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("runs by itself"), "{error}");
    let error = perform(ForgetPermit::Asked(ForgetWish::default())).unwrap_err().to_string();
    assert!(error.contains("perform it again"), "{error}");
    assert!(session.positions("EVENTS '$subject.*'").is_empty());
}

#[test]
fn what_is_forgotten_fits_any_schema() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows(CONTACT);
    for user in [7, 8] {
        session.rows(&format!("EMIT User.named {user} {{name: 'Ann', address: {{city: 'Oslo'}}, age: 44}}"));
    }
    session.rows("EMIT User.named 9 {name: 'Bob', address: {city: 1}, age: 44}");
    session.rows("FORGET User 7");
    let told = |definition: &str| session.lines(&format!("EXPLAIN DEFINE EVENT {definition}")).join("\n");
    let plan = told("User.named {name: text, address: {city: text}, age: number CHECK data.age > 40} STRICT");
    assert!(plan.contains("1 of 3 User.named") && plan.contains("#4: data.address.city"), "{plan}");
    assert!(!plan.contains("#2"), "{plan}");
    // And as an UPCAST would read it.
    let plan = told(
        "User.named {first: text} UPCAST SET data.first = lower(data.name), data.city = data.address.city",
    );
    assert!(plan.contains("all 3 User.named that there are fit"), "{plan}");
    session.rows(
        "DEFINE EVENT User.named {city: any} UPCAST SET data.city = data.address.city DELETE data.address",
    );
    assert!(session.lines("HISTORY User 7")[0].contains(r#""city":null"#));
    assert_eq!(crate::store::verify::verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
}

#[test]
fn what_adds_up_goes_on_behind_what_is_forgotten() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE p ON 'Order.line' OF User (data.user) FIELDS data.price, data.name");
    session.rows(
        "DEFINE ENTITY Order INITIAL {total: 0} SNAPSHOT EVERY 1 ON line SET total = state.total + data.price, \
         lines = coalesce(state.lines, 0) + 1, last = lower(data.name), \
         all.names = append(coalesce(state.all.names, []), lower(data.name)), all.sum = coalesce(state.all.sum, 0) + data.price",
    );
    session.rows("DEFINE VIEW totals AS FIND Order SELECT state.total AS total");
    session.rows("DEFINE INDEX total ON 'Order' AS state.total");
    for (user, price, name) in [(7, 10, "Ann"), (8, 5, "Bob"), (7, 1, "Ann"), (9, 2, "Eve")] {
        session.rows(&format!("EMIT Order.line 1 {{user: {user}, price: {price}, name: '{name}'}}"));
    }
    session.rows("EMIT Order.line 2 {user: 7, price: 3, name: 'Ann'}");
    store.checkpoint().unwrap();
    store.shared().settle().unwrap();
    assert!(state(&session.rows("AT Order 1")).starts_with(r#"{"total":18,"lines":4,"last":"eve""#));
    session.rows("FORGET User 7");
    let first = session.positions("EVENTS 'Order.line'")[0];
    for _ in 0..2 {
        let all = r#""all":{"names":["bob","eve"],"sum":7}"#;
        let now = state(&session.rows("AT Order 1"));
        assert!(now.starts_with(r#"{"total":7,"lines":4,"last":"eve""#) && now.contains(all), "{now}");
        // Not its first event, and not its last.
        for (at, total) in [(0, 0), (1, 5), (2, 5), (3, 7)] {
            let then = state(&session.rows(&format!("AT Order 1 #{}", first + at)));
            assert!(then.starts_with(&format!(r#"{{"total":{total},"lines":{}"#, at + 1)), "{then}");
        }
        assert_eq!(state(&session.rows("AT Order 2")), r#"{"total":0,"lines":1,"last":null}"#);
        assert_eq!(
            session.lines("FIND Order WHERE state.total < 9 SELECT target.id AS id, state.total AS total"),
            [r#"{"id":"1","total":7}"#, r#"{"id":"2","total":0}"#]
        );
        assert_eq!(session.lines("READ totals"), [r#"{"total":7}"#, r#"{"total":0}"#]);
        store.shared().settle().unwrap();
        store.checkpoint().unwrap();
    }
    assert!(crate::store::verify::verify(&store.snapshot()).unwrap().faults.is_empty());
    session.rows("EMIT Order.line 2 {user: 8, price: 4, name: 'Bob'}");
    assert!(state(&session.rows("AT Order 2")).starts_with(r#"{"total":4,"lines":2,"last":"bob""#));
    // What a definition says of it is so, all the same; and what is wrong for another reason is told as ever.
    let said = "DEFINE ENTITY Order INITIAL {total: 0} ON line SET total = state.total + data.price FORGOTTEN SET total = -1";
    session.rows(said);
    assert_eq!(state(&session.rows(&format!("AT Order 1 #{}", first + 2))), r#"{"total":-1}"#);
    session.rows("DEFINE ENTITY Order INITIAL {total: 'x'} ON line SET total = state.total + data.user");
    assert!(session.error("AT Order 1").contains("state.total"));
}

#[test]
fn a_reason_that_may_be_private_is_noticed() {
    let store = store_of_its_own(3);
    let session = Session::new(&store);
    two(&session);
    let notices = |text: &str| session.run(text).unwrap().1;
    for because in ["state.name", "concat('it was ', state.name)", "actor.state.name"] {
        let told = notices(&format!("DEFINE VERB Erase ON User FORGET target BECAUSE {because}"));
        assert_eq!(told.len(), 1, "{because}: {told:?}");
        assert!(told[0].contains("stays in the log") && told[0].contains(because), "{told:?}");
    }
    let told = notices(
        "DEFINE VERB Erase ON User WHEN data.a = 1 EMIT erased FORGET target BECAUSE state.name \
         WHEN TRUE EMIT erased FORGET actor BECAUSE state.age",
    );
    assert_eq!(told.len(), 2, "{told:?}");
    for text in [
        "DEFINE VERB Erase ON User REQUIRE state.age > 40 FORGET target BECAUSE data.reason",
        "DEFINE VERB Erase ON User EMIT erased {age: state.age} FORGET User (state.other) BECAUSE 'state.name'",
        "DEFINE VERB Erase ON User FORGET target",
    ] {
        assert_eq!(notices(text), Vec::<String>::new(), "{text}");
    }
}
