//! What may come at a place.

use crate::lang::{complete, is_incomplete};

/// What may come at the bar, and what of it is typed.
fn completions(marked: &str) -> Vec<(&'static str, String)> {
    let at = marked.find('|').unwrap();
    let text = marked.replace('|', "");
    complete(&text, at).into_iter().map(|c| (c.expectation.text(), text[c.typed].to_owned())).collect()
}

#[test]
fn a_place_knows_what_may_come() {
    for (text, what, typed) in [
        ("|", "EMIT", ""),
        ("hi|", "HISTORY", "hi"),
        ("SHOW HEAD; hi|", "HISTORY", "hi"),
        ("SHOW HEAD;|", "EMIT", ""),
        ("EVENTS wrong; hi|", "HISTORY", "hi"),
        ("ATOMIC (EMIT A.b 1; |", "EMIT", ""),
        ("HISTORY |", "a kind like Order", ""),
        ("HISTORY Or|", "a kind like Order", "Or"),
        ("HISTORY Order |", "an id", ""),
        ("HISTORY Order ORD-4|", "an id", "ORD-4"),
        ("HISTORY Order 42 |", "WHERE", ""),
        ("HISTORY Order 42 wh|", "WHERE", "wh"),
        ("HISTORY Order 42 WHERE |", "an expression", ""),
        ("HISTORY Order 42 WHERE data.to|", "an expression", "data.to"),
        ("HISTORY Order 42 WHERE data.to|", "a field", "to"),
        ("HISTORY Order 42 WHERE a=data.to|", "an expression", "data.to"),
        ("HISTORY Order 42 WHERE a |", "MATCHES", ""),
        ("HISTORY Order 42 WHERE a = 1 |", "SINCE", ""),
        ("HISTORY Order 42 SINCE |", "a time or a position", ""),
        ("EMIT |", "a type like Order.paid", ""),
        ("EMIT Order.|", "a type like Order.paid", "Order."),
        ("EMIT Order.pa|", "a type like Order.paid", "Order.pa"),
        ("EMIT Order.paid 42 |", "BY", ""),
        ("EMIT Order.paid 42 {a: 1, |", "a key", ""),
        ("EVENTS 'Ord|er.*'", "a pattern like 'Order.*'", "'Ord"),
        ("EVENTS BY |", "an index or a kind", ""),
        ("READ |", "a view", ""),
        ("PERFORM |", "a verb", ""),
        ("DROP WEBHOOK |", "a webhook", ""),
        ("RETRY REACTION |", "a reaction", ""),
        ("BACKUP TO |", "a text in quotes", ""),
        ("EVENTS LIMIT $|", "a number", "$"),
    ] {
        let found = completions(text);
        assert!(found.contains(&(what, typed.to_owned())), "{text}: {found:?}");
    }
    for text in ["HISTORY Order 42 -- wh|", "/* hi|", "EVENTS x x |", "SHOW HEAD SHOW |", "~|"] {
        assert_eq!(completions(text), [], "{text}");
    }
    // Each once.
    for (text, typed) in [("EMIT |", ""), ("EMIT Or|", "Or")] {
        assert_eq!(completions(text), [("a type like Order.paid", typed.to_owned())], "{text}");
    }
}

#[test]
fn a_text_that_only_stops_too_early_is_incomplete() {
    for text in [
        "HISTORY",
        "EMIT Order.paid 42 {",
        "EMIT Order.paid 42 {a: [1,",
        "EMIT Order.paid 42 {a: 'x",
        "EVENTS 'Ord",
        "HISTORY Order \"x\\\"",
        "EVENTS WHERE",
        "EVENTS WHERE a AND",
        "EVENTS WHERE `a",
        "SHOW HEAD; HISTORY",
        "HISTORY Order 42 /* more",
        "ATOMIC (EMIT A.b 1;",
        "DEFINE",
        "SHOW",
        "EVENTS WHERE f(",
        "EVENTS WHERE a NOT",
        "EVENTS ORDER",
        "EVENTS 'a' AS OF",
        "AT",
    ] {
        assert!(is_incomplete(text), "{text}");
    }
    for text in [
        "",
        ";",
        "-- x",
        "SHOW HEAD",
        "SHOW HEAD;",
        "EVENTS",
        "HISTORY Order",
        "HISTORY Order;",
        "HISTORY Order 42 )",
        "EVENTS x WHERE (",
        "help",
        "EMIT paid",
        "SHOW; HISTORY",
        "SHOW $",
        "EVENTS SINCE #x",
    ] {
        assert!(!is_incomplete(text), "{text}");
    }
}
