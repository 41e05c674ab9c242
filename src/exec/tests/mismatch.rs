//! What is written side by side and never fits is an error where it is written, and stays what it is where it was defined before.

use super::*;
use crate::entity::Position;
use crate::plan;

#[test]
fn literals_as_sql_has_them_are_refused_and_stored_nowhere() {
    let store = store(1000);
    let session = Session::new(&store);
    for (text, error) in [
        (
            "EMIT Order.created 1 {due: DATE '2024-05-01'}",
            "a time is written without DATE (did you mean '2024-05-01'?)",
        ),
        (
            "EMIT Order.created 1 WITH {due: {at: [date '2024-05-01']}}",
            "a time is written without DATE (did you mean '2024-05-01'?)",
        ),
        (
            "EMIT Order.created 1 {due: Date '2024-05-01'}",
            "a time is written without DATE; an entity of this kind is written without quotes (did you mean '2024-05-01'?)",
        ),
        (
            "EVENTS WHERE timestamp > TIMESTAMP '2024-05-01 10:00'",
            "a time is written without TIMESTAMP (did you mean '2024-05-01 10:00'?)",
        ),
        (
            "EVENTS BY total = DATE '2024-05-01'",
            "a time is written without DATE (did you mean '2024-05-01'?)",
        ),
        (
            "EVENTS WHERE timestamp > NOW - INTERVAL '1 day'",
            "a duration is a number and a unit, as in NOW - 1d, without INTERVAL (did you mean 1d?)",
        ),
        (
            "EVENTS WHERE timestamp > NOW - interval '1 month'",
            "a duration is a number and a unit, as in NOW - 1d, without INTERVAL",
        ),
        (
            "DEFINE VIEW v AS EVENTS WHERE timestamp > DATE '2024-05-01'",
            "a time is written without DATE (did you mean '2024-05-01'?)",
        ),
    ] {
        assert!(session.error(text).ends_with(error), "{text}: {}", session.error(text));
    }
    assert_eq!(store.snapshot().head(), Position::START);
    // Kinds may have such names.
    for text in [
        "EMIT Order.created 1 {due: Date 2024-05-01}",
        "EMIT Order.created 1 {due: `DATE` '2024-05-01'}",
        "EVENTS WHERE target = Interval 7",
        "HISTORY Date '2024-05-01'",
    ] {
        session.rows(text);
    }
}

#[test]
fn what_is_never_equal_for_its_sort_is_refused() {
    let store = store(1000);
    let session = Session::new(&store);
    for (text, error) in [
        (
            "EVENTS WHERE timestamp > 2023",
            "timestamp is a time, and 2023 is not: a time is like '2024-01-01', or NOW - 1d (did you mean '2023-01-01'?)",
        ),
        (
            "EVENTS WHERE recorded BETWEEN 1 AND NOW",
            "recorded is a time, and 1 is not: a time is like '2024-01-01', or NOW - 1d",
        ),
        (
            "EVENTS WHERE timestamp = TRUE",
            "timestamp is a time, and TRUE is not: a time is like '2024-01-01', or NOW - 1d",
        ),
        ("EVENTS WHERE timestamp > Order 5", "timestamp is a time, and Order 5 an entity"),
        (
            "EVENTS WHERE target = 42",
            "target is an entity, a kind and an id, as in Order 42; its id alone is target.id",
        ),
        (
            "EVENTS WHERE actor NOT IN (User 1, 5)",
            "actor is an entity, a kind and an id, as in Order 5; its id alone is actor.id",
        ),
        (
            "EVENTS WHERE target = 2024-01-01",
            "target is an entity, and 2024-01-01 is not: an entity is like User 7",
        ),
        (
            "EVENTS WHERE actor = 'ann'",
            "a text beside an entity: expected an entity, like User 7; its id alone is actor.id",
        ),
        (
            "EVENTS WHERE target.id = Order 42",
            "target.id is an id, and Order 42 a whole entity (did you mean target = Order 42?)",
        ),
        ("EVENTS WHERE id = 2024-01-01", "id is a text, and 2024-01-01 is not (did you mean '2024-01-01'?)"),
        (
            "EVENTS WHERE timestamp - recorded > 5",
            "timestamp - recorded is a duration, like 1d, and 5 is not; number(…) gives its seconds",
        ),
        (
            "EVENTS WHERE NOW - timestamp > '1d'",
            "NOW - timestamp is a duration, like 1d, and '1d' is not; number(…) gives its seconds (did you mean 1d?)",
        ),
        ("EVENTS WHERE type = Order 42", "type is a type, like 'Order.paid', and Order 42 an entity"),
        ("EVENTS WHERE position > '3'", "position is a number, and '3' a text (did you mean 3?)"),
        ("FIND Order WHERE version = NOW", "version is a number, and NOW is not"),
        (
            "FIND Order WHERE target = 42",
            "target is an entity, a kind and an id, as in Order 42; its id alone is target.id",
        ),
        (
            "EVENTS GROUP BY type HAVING max(timestamp) > 5 SELECT count()",
            "max(timestamp) is a time, and 5 is not: a time is like '2024-01-01', or NOW - 1d",
        ),
        (
            "DEFINE REACTION r ON 'Order.*' WHERE target = 42 DO EMIT A.b 1",
            "target is an entity, a kind and an id, as in Order 42; its id alone is target.id",
        ),
    ] {
        assert!(session.error(text).ends_with(error), "{text}: {}", session.error(text));
    }
    for text in [
        "EVENTS WHERE timestamp = NULL",
        "EVENTS WHERE target = NULL",
        "EVENTS WHERE target.id = 42",
        "EVENTS WHERE NOW - timestamp > 1d",
        "EVENTS WHERE data.at = 5 OR data.at = 2024-01-01",
        "EVENTS WHERE data.who = User 7 OR data.who = 'ann'",
        "EVENTS WHERE position = 3 AND version != 1.0",
    ] {
        session.rows(text);
    }
}

#[test]
fn what_is_no_text_is_matched_by_no_pattern() {
    let store = store(1000);
    let session = Session::new(&store);
    for (text, error) in [
        (
            "EVENTS WHERE timestamp MATCHES '2024*'",
            "MATCHES tests texts, and timestamp is a time: compare it, as in timestamp >= '2024-01-01'",
        ),
        (
            "FIND Order WHERE target MATCHES '4*'",
            "MATCHES tests texts, and target is an entity: its id is target.id",
        ),
        (
            "EVENTS WHERE position NOT MATCHES '4*'",
            "MATCHES tests texts, and position is a number: compare it, as in position > 5",
        ),
    ] {
        assert!(session.error(text).ends_with(error), "{text}: {}", session.error(text));
    }
    session.rows(
        "EVENTS WHERE text(timestamp) MATCHES '2024*' AND target.id MATCHES '4*' AND data.at MATCHES '2*'",
    );
}

#[test]
fn arithmetic_that_is_never_more_than_null_is_refused() {
    let store = store(1000);
    let session = Session::new(&store);
    for (text, error) in [
        (
            "EVENTS WHERE timestamp > NOW - 1",
            "a duration is a number and a unit, as in NOW - 1d (did you mean 1d?)",
        ),
        (
            "EVENTS WHERE timestamp > NOW - '1d'",
            "a duration is a number and a unit without quotes, as in NOW - 1d (did you mean 1d?)",
        ),
        (
            "EMIT Order.paid 1 {at: NOW - 1}",
            "a duration is a number and a unit, as in NOW - 1d (did you mean 1d?)",
        ),
        (
            "EVENTS SELECT timestamp + '2 hours' AS later",
            "a duration is a number and a unit without quotes, as in NOW - 1d (did you mean 2h?)",
        ),
        (
            "EVENTS WHERE timestamp > NOW - 2 * 1d",
            "a duration only adds and subtracts: number(x) gives its seconds, and two days are written 2d",
        ),
        (
            "EVENTS SELECT data.name + ' ' + data.surname AS n",
            "+ adds numbers; concat joins texts, as in concat(a, b)",
        ),
        ("EVENTS SELECT data.total - '5' AS n", "'5' is a text: nothing is computed of it (did you mean 5?)"),
        ("EVENTS WHERE data.total * TRUE > 5", "TRUE is no number: nothing is computed of it"),
        ("EVENTS ORDER BY data.total + User 7", "User 7 is no number: nothing is computed of it"),
    ] {
        assert!(session.error(text).ends_with(error), "{text}: {}", session.error(text));
    }
    for text in [
        "EVENTS WHERE timestamp > NOW - 1d - 2h",
        "EVENTS WHERE number(NOW - timestamp) / 86400 > 1",
        "EVENTS WHERE data.a + NULL = 1",
    ] {
        session.rows(text);
    }
}

#[test]
fn by_takes_values_and_no_call() {
    let store = store(1000);
    let session = Session::new(&store);
    session.rows("EMIT Order.paid 1 {} INDEX BY due = '2024-04-01'");
    let error = "BY takes values, and no call: a time is written 2024-04-01, or 2024-04-01T10:00:00Z; WHERE takes calls";
    for text in [
        "EVENTS BY due = time('2024-04-01')",
        "EVENTS BY due BETWEEN time('2024-04-01') AND NOW",
        "EVENTS BY due IN (2024-04-01, time('2024-04-01'))",
        "EVENTS BY key = concat('a')",
    ] {
        assert!(session.error(text).ends_with(error), "{text}: {}", session.error(text));
    }
    assert_eq!(session.positions("EVENTS BY due = 2024-04-01"), [1]);
    // An entity whose id is worked out is one.
    session.rows("EVENTS BY target = Order (1)");
}

/// A log may have definitions that were made before such was refused.
#[test]
fn what_was_defined_before_stays_what_it_is() {
    for text in
        ["timestamp = 5", "target = 42", "position = '3'", "data.at = DATE '2024-05-01'", "data.a + 'x' = 1"]
    {
        assert!(plan::index_expression(text).is_ok(), "{text}");
    }
}
