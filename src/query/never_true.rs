//! What can never be true is told, and what no event is of.

use super::*;

/// The hints of a statement.
fn hinted(db: &Db, text: &str) -> Vec<String> {
    let script = Script::parse(text).unwrap();
    db.hints(&script.statements()[0], &Parameters::new().set("yes", true).set("p", "Odrer.*"))
}

fn shop() -> Db {
    let db = Db::in_memory().unwrap();
    for text in [
        "EMIT Order.created 1 {name: 'Tea', amount: 10, due: '2026-03-01', open: TRUE, at: '2026-03-01'}",
        "EMIT Order.created 2 {name: 'Cup', amount: 20, due: 'soon', open: FALSE, at: 'soon'}",
        "EMIT Order.created 3 {name: 'Pot', amount: 30, due: '2026-05-01', open: TRUE, at: 'later'}",
        "DEFINE ENTITY Order ON created MERGE",
    ] {
        db.query(text).unwrap();
    }
    db
}

const THREE: &str = "the newest 3 events looked at";

#[test]
fn what_is_compared_with_a_time_and_says_none_is_told() {
    let db = shop();
    for (text, hint) in [
        (
            "EVENTS WHERE data.due < 2026-04-01",
            "data.due says no time in 1 of {3} (\"soon\"), and 2026-04-01 is one",
        ),
        ("EVENTS WHERE data.due < NOW", "data.due says no time in 1 of {3} (\"soon\"), and NOW is one"),
        (
            "EVENTS WHERE timestamp > data.due",
            "data.due says no time in 1 of {3} (\"soon\"), and timestamp is one",
        ),
        (
            "EVENTS WHERE data.name < 2026-04-01",
            "data.name says no time in {3} (\"Pot\"), and 2026-04-01 is one",
        ),
        (
            "EVENTS WHERE data.amount = 2026-04-01",
            "data.amount says no time in {3} (30), and 2026-04-01 is one",
        ),
        (
            "EVENTS WHERE data.due < -30d",
            "data.due is text in {3}, and -30d is a length of time; did you mean NOW - 30d?",
        ),
        (
            "FIND Order WHERE state.due < NOW",
            "state.due says no time in 1 of the 3 Order looked at (\"soon\"), and NOW is one",
        ),
        (
            "DEFINE REACTION r ON 'Order.*' WHERE data.name < 2026-04-01 DO EMIT A.b 1",
            "data.name says no time in {3} (\"Pot\"), and 2026-04-01 is one",
        ),
    ] {
        assert_eq!(hinted(&db, text), [hint.replace("{3}", THREE)], "{text}");
    }
    for text in [
        "EVENTS WHERE data.due < '2026-04-01'",
        "EVENTS LAST 1 WHERE data.due < 2026-04-01 AND timestamp < NOW",
    ] {
        let hints = hinted(&db, text);
        assert!(hints.iter().all(|hint| hint.contains("1 of")), "{text}: {hints:?}");
    }
}

#[test]
fn what_is_no_condition_is_told() {
    let db = shop();
    for (text, hint) in [
        ("EVENTS WHERE 1", "1 is a number, and no condition"),
        ("EVENTS WHERE 'x'", "'x' is a text, and no condition"),
        ("EVENTS WHERE NULL", "NULL is unknown, and no condition"),
        ("EVENTS WHERE data.open AND 2026-04-01", "2026-04-01 is a time, and no condition"),
        ("EVENTS WHERE 'data.open'", "'data.open' is a text, and no condition; did you mean data.open?"),
        ("EVENTS WHERE data.amount + 1", "data.amount + 1 is a value, and no condition"),
        ("EVENTS WHERE type", "type is a value, and no condition; did you mean type IS NOT NULL?"),
        ("EVENTS WHERE data", "data is an object, and no condition"),
        (
            "EVENTS WHERE data.amount",
            "data.amount is a number in {3}, and no condition; did you mean data.amount IS NOT NULL?",
        ),
        (
            "EVENTS WHERE NOT data.name OR data.amount > 5",
            "data.name is text in {3}, and no condition; did you mean data.name IS NOT NULL?",
        ),
        (
            "FIND Order WHERE state.amount",
            "state.amount is a number in the 3 Order looked at, and no condition; did you mean state.amount IS NOT NULL?",
        ),
        ("DEFINE VERB Pay ON Order REQUIRE 1 EMIT paid", "1 is a number, and no condition"),
        ("DEFINE VIEW v AS EVENTS WHERE 1", "1 is a number, and no condition"),
    ] {
        assert_eq!(hinted(&db, text), [hint.replace("{3}", THREE)], "{text}");
    }
    for text in [
        "EVENTS WHERE data.open",
        "EVENTS WHERE NOT data.open AND TRUE",
        "EVENTS WHERE FALSE",
        "EVENTS WHERE $yes",
        "EVENTS WHERE length(data.name) > 1",
        "DEFINE VERB Pay ON Order REQUIRE state.open EMIT paid",
    ] {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}

#[test]
fn a_field_in_quotes_and_values_that_are_never_equal_are_told() {
    let db = shop();
    for (text, hint) in [
        (
            "EVENTS WHERE \"data.name\" = 'Tea'",
            "'data.name' is a text, and no field; did you mean data.name?",
        ),
        ("EVENTS WHERE 'Tea' = 'data.name'", "'data.name' is a text, and no field; did you mean data.name?"),
        ("EVENTS WHERE 'data.name' != 'Tea'", "'data.name' is a text, and no field; did you mean data.name?"),
        ("EVENTS WHERE 'type' MATCHES 'Order.*'", "'type' is a text, and no field; did you mean type?"),
        (
            "EVENTS WHERE 'data.name' IN ('Tea', 'Cup')",
            "'data.name' is a text, and no field; did you mean data.name?",
        ),
        ("EVENTS WHERE 'data.name' IS NULL", "'data.name' is a text, and no field; did you mean data.name?"),
        (
            "FIND Order WHERE 'state.amount' > 5",
            "'state.amount' is a text, and no field; did you mean state.amount?",
        ),
        ("EVENTS WHERE 1 = 2", "1 and 2 are the same for every event, and this is never true of them"),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    for text in
        ["EVENTS WHERE 1 = 1", "EVENTS WHERE data.name = 'data.name'", "EVENTS WHERE 'Tea' IN (data.name)"]
    {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}

#[test]
fn patterns_as_other_languages_have_them_are_told() {
    let db = shop();
    let percent = "% is an ordinary character in a pattern, and * any run of them: ";
    for (text, hint) in [
        ("EVENTS 'Order.%'", format!("{percent}no events of 'Order.%'; did you mean 'Order.*'?")),
        ("SUBSCRIBE 'Odrer.%'", format!("{percent}no events of 'Odrer.%' yet; did you mean 'Order.*'?")),
        (
            "EVENTS WHERE type MATCHES 'Order.%'",
            format!("{percent}no events of 'Order.%'; did you mean 'Order.*'?"),
        ),
        (
            "EVENTS WHERE data.name MATCHES 'T%'",
            "in a pattern % is an ordinary character, and * any run of them; did you mean 'T*'?".to_owned(),
        ),
        (
            "EVENTS WHERE data.name MATCHES '^T'",
            "MATCHES takes a pattern like 't*', and no regular expression; did you mean regex(data.name, '^T')?"
                .to_owned(),
        ),
        ("EVENTS '$et-Order.created'", "no events of '$et-Order.created'; did you mean 'Order.created'?".to_owned()),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    // The database's own types are types, too.
    for (text, hint) in [
        ("EVENTS '$entity.defnied'", "no events of '$entity.defnied'; did you mean '$entity.defined'?"),
        ("EVENTS 'entity.defined'", "no events of 'entity.defined'; did you mean '$entity.defined'?"),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    for text in [
        "EVENTS WHERE data.name MATCHES '*100%*'",
        "EVENTS '$*'",
        "EVENTS '$webhook.*'",
        "SUBSCRIBE '$webhook.failed'",
    ] {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}

#[test]
fn a_subscription_by_what_finds_no_event_is_told() {
    let db = shop();
    db.query("DEFINE INDEX stock ON 'Order' AS state.amount").unwrap();
    db.query("EMIT Order.paid 1 {} INDEX BY color = 'red'").unwrap();
    for (text, hint) in [
        (
            "SUBSCRIBE BY stock = 4",
            "BY stock: no index answers it (stock is an index of the states of Order, which FIND Order WHERE state.amount = … \
             takes), and no event was emitted with INDEX BY stock yet",
        ),
        (
            "SUBSCRIBE BY size = 4",
            "BY size: no index answers it, and no event was emitted with INDEX BY size yet",
        ),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    for text in ["SUBSCRIBE BY color = 'red'", "SUBSCRIBE BY target = Order 1"] {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}

#[test]
fn ranges_the_wrong_way_round_are_told() {
    let db = shop();
    db.query("DEFINE INDEX amount ON 'Order.*' AS data.amount").unwrap();
    for (text, hint) in [
        (
            "EVENTS SINCE 2026-04-01 UNTIL 2026-03-01",
            "nothing lies in SINCE 2026-04-01T00:00:00Z UNTIL 2026-03-01T00:00:00Z: UNTIL is to be later",
        ),
        (
            "EVENTS SINCE 2026-04-01 UNTIL 2026-04-01",
            "nothing lies in SINCE 2026-04-01T00:00:00Z UNTIL 2026-04-01T00:00:00Z: UNTIL is to be later",
        ),
        ("HISTORY Order 1 SINCE #2 UNTIL #1", "nothing lies in SINCE #2 UNTIL #1: UNTIL is to be later"),
        ("EXPLAIN EVENTS SINCE #2 UNTIL #1", "nothing lies in SINCE #2 UNTIL #1: UNTIL is to be later"),
        ("SUBSCRIBE FROM #2 UNTIL #1", "nothing lies in FROM #2 UNTIL #1: UNTIL is to be later"),
        (
            "DEFINE VIEW v AS EVENTS SINCE 2026-04-01 UNTIL 2026-03-01",
            "nothing lies in SINCE 2026-04-01T00:00:00Z UNTIL 2026-03-01T00:00:00Z: UNTIL is to be later",
        ),
        (
            "EVENTS WHERE data.amount BETWEEN 10 AND 5",
            "nothing lies BETWEEN 10 AND 5: the smaller stands first",
        ),
        ("EVENTS BY amount BETWEEN 10 AND 5", "nothing lies BETWEEN 10 AND 5: the smaller stands first"),
        (
            "EVENTS WHERE timestamp BETWEEN 2026-04-01 AND 2026-03-01",
            "nothing lies BETWEEN 2026-04-01 AND 2026-03-01: the smaller stands first",
        ),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    for text in [
        "EVENTS SINCE 2026-03-01 UNTIL 2026-04-01",
        "EVENTS SINCE #1 UNTIL #2",
        "EVENTS SINCE #1 UNTIL 2026-03-01",
        "EVENTS WHERE data.amount NOT BETWEEN 10 AND 5",
        "EVENTS WHERE data.amount BETWEEN 5 AND 5",
    ] {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}

#[test]
fn a_pattern_that_no_event_is_of_is_told_wherever_one_stands() {
    let db = shop();
    for text in [
        "DEFINE REACTION r ON '{}' DO EMIT A.b 1",
        "DEFINE REACTION r ON 'Order.*' AFTER 1d UNLESS '{}' DO EMIT A.b 1",
        "DEFINE WEBHOOK w ON '{}' TO 'https://example.com/hook'",
        "DEFINE VIEW v AS EVENTS '{}'",
        "DEFINE INDEX i ON '{}' AS data.amount",
        "DEFINE ENTITY Cart INCLUDE '{}' BY cart",
        "SUBSCRIBE '{}'",
        "EMIT Day.closed 1 EXPECT NONE ('{}')",
    ] {
        let hint = |pattern: &str| hinted(&db, &text.replace("{}", pattern));
        assert_eq!(hint("Odrer.*"), ["no events of 'Odrer.*' yet; did you mean 'Order.*'?"], "{text}");
        assert_eq!(
            hint("Order.craeted"),
            ["no events of 'Order.craeted' yet; did you mean 'Order.created'?"],
            "{text}"
        );
        assert_eq!(hint("Nothing.*"), ["no events of 'Nothing.*' yet"], "{text}");
        assert_eq!(hint("Order.*"), [""; 0], "{text}");
        assert_eq!(hint("$*"), [""; 0], "{text}");
        // Where nothing has happened, all is to come.
        let empty = Db::in_memory().unwrap();
        assert_eq!(hinted(&empty, &text.replace("{}", "Nothing.*")), [""; 0], "{text}");
    }
    for (text, hint) in [
        (
            "EVENTS WHERE type = 'Order.craeted'",
            "no events of 'Order.craeted'; did you mean 'Order.created'?",
        ),
        ("EVENTS WHERE type IN ('Order.created', 'Order.piad')", "no events of 'Order.piad'"),
        ("EVENTS WHERE type MATCHES 'Odrer.*'", "no events of 'Odrer.*'; did you mean 'Order.*'?"),
        ("SUBSCRIBE WHERE type = 'Nothing.new'", "no events of 'Nothing.new' yet"),
        ("DEFINE VIEW v AS FIND Odrer", "no events of Odrer yet; did you mean Order?"),
        (
            "DEFINE REACTION r ON 'Order.*' WHERE data.amuont > 5 DO EMIT A.b 1",
            "data.amuont is in none of the newest 3 events looked at; did you mean data.amount?",
        ),
    ] {
        assert_eq!(hinted(&db, text), [hint], "{text}");
    }
    for text in ["EVENTS WHERE type != 'Order.piad'", "EVENTS WHERE type NOT MATCHES 'Odrer.*'"] {
        assert_eq!(hinted(&db, text), [""; 0], "{text}");
    }
}
