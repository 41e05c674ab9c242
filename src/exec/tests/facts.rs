//! What can be said of an event, and what it becomes.

use super::*;

#[test]
fn the_facts_of_an_event() {
    let store = store(3);
    let mut session = Session::new(&store);
    session.parameters =
        Parameters::from([("id", 7)]).set("data", crate::value::Value::Object(Default::default()));
    for (text, expected) in [
        (
            "EMIT Order.created 42 {total: 10, big: 2 * 21} BY User ann",
            r#"{"position":1,"version":1,"id":"e1","type":"Order.created","timestamp":"2024-06-01T12:00:00Z","recorded":"2024-06-01T12:00:00Z","target":{"type":"Order","id":"42"},"actor":{"type":"User","id":"ann"},"data":{"total":10,"big":42}}"#,
        ),
        ("EMIT User.signedIn {method: 'oauth'} BY User 7", r#""target":{"type":"User","id":"7"},"actor""#),
        ("EMIT Door.opened BY User 7", r#""recorded":"2024-06-01T12:00:00Z","actor""#),
        (
            "EMIT Order.paid ON Invoice 'INV-9' {amount: 5}",
            r#""target":{"type":"Invoice","id":"INV-9"},"data""#,
        ),
        ("EMIT Order.paid 42 AT '2024-01-01'", r#""timestamp":"2024-01-01T00:00:00Z","recorded":"2024-06"#),
        ("EMIT Order.paid 42 AT -1d", r#""timestamp":"2024-05-31T12:00:00Z""#),
        ("EMIT Order.paid 42 AT NOW", r#""timestamp":"2024-06-01T12:00:00Z""#),
        ("EMIT Order.paid 42 META {ip: '::1'}", r#""metadata":{"ip":"::1"}"#),
        ("EMIT Order.paid 42 KEY 'k-1'", r#""key":"k-1""#),
        ("EMIT Order.paid 42 CAUSED BY #1", r#""cause":{"position":1},"correlation":"e1""#),
        ("EMIT Order.paid 42 CAUSED BY 'e1'", r#""cause":{"position":1},"correlation":"e1""#),
        ("EMIT Order.paid 42 CAUSED BY Till.rung 9", r#""cause":{"type":"Till.rung","id":"9"}"#),
        (
            "EMIT Order.paid 42 {amount: 5} INDEX BY customer = 'c-7', amount",
            r#""tags":{"customer":"c-7","amount":5}"#,
        ),
        ("EMIT Order.paid $id WITH $data", r#""target":{"type":"Order","id":"7"},"data":{}"#),
        (
            "EMIT Order.paid 42 {at: NOW, who: User 7}",
            r#""data":{"at":"2024-06-01T12:00:00Z","who":{"type":"User","id":"7"}}"#,
        ),
        ("EMIT Order.paid 43 EXPECT NEW", r#""version":1"#),
        ("EMIT Order.paid 43 EXPECT VERSION 1", r#""version":2"#),
        ("EMIT Order.paid 43 EXPECT EXISTS", r#""version":3"#),
    ] {
        let lines = session.lines(text);
        assert!(lines.len() == 1 && lines[0].contains(expected), "{text}\n{lines:?}");
    }
    session.actor = Some(Entity::from(("User", "shell")));
    assert!(session.lines("EMIT Order.paid 1")[0].contains(r#""actor":{"type":"User","id":"shell"}"#));
    assert!(session.lines("EMIT Order.paid 1 BY User x")[0].contains(r#""actor":{"type":"User","id":"x"}"#));
}

#[test]
fn new_makes_an_id_and_says_it() {
    let store = store(3);
    let session = Session::new(&store);
    let (rows, notices) = session.run("EMIT Order.created NEW {total: 10}").unwrap();
    assert_eq!(notices, ["Order e1 is new"]);
    assert!(
        matches!(&rows[..], [Row::Event { event, .. }] if event.target == Some(Entity::from(("Order", "e1"))))
    );
}

#[test]
fn an_event_without_an_id_of_a_kind_with_entities_is_told() {
    let store = store(3);
    let session = Session::new(&store);
    let notices = |text: &str| session.run(text).unwrap().1;
    // Nothing is an entity yet.
    assert!(notices("EMIT Order.placed {id: 5, total: 3}").is_empty());
    notices("EMIT Order.created 1");
    notices("DEFINE ENTITY Cart");
    for (text, told) in [
        (
            "EMIT Order.placed {id: 5, total: 3}",
            "no id: this event belongs to no Order; did you mean EMIT Order.placed 5?",
        ),
        (
            "EMIT Order.placed {id: 'a b'}",
            "no id: this event belongs to no Order; did you mean EMIT Order.placed 'a b'?",
        ),
        ("EMIT Order.placed {total: 3} BY User 7", "no id: this event belongs to no Order"),
        ("EMIT Cart.filled {id: {}}", "no id: this event belongs to no Cart"),
        ("ATOMIC (EMIT Order.a; EMIT Order.b; EMIT Order.c 1)", "no id: this event belongs to no Order"),
        ("EMIT Order.placed KEY 'k'", "no id: this event belongs to no Order"),
    ] {
        assert_eq!(notices(text), [told], "{text}");
    }
    for none in [
        "EMIT Order.placed 5",
        "EMIT Order.placed ON Cart 5",
        "EMIT Order.placed BY Order 7",
        "EMIT Clock.struck {id: 5}",
        "EMIT Order.placed KEY 'k'",
    ] {
        assert!(notices(none).is_empty(), "{none}");
    }
    // What is to be emitted later is told of when it is defined.
    for (text, kind) in [
        ("DEFINE REACTION r ON 'Mail.*' DO EMIT Order.a {x: 1}", Some("Order")),
        ("DEFINE SCHEDULE s EVERY 1d DO (EMIT Cart.a; EMIT Cart.b)", Some("Cart")),
        ("DEFINE REACTION q ON 'Mail.*' DO EMIT Order.a (data.order)", None),
        ("DEFINE REACTION p ON 'Mail.*' DO EMIT Order.a BY Order (data.order)", None),
        ("DEFINE REACTION o ON 'Mail.*' DO EMIT Clock.struck", None),
    ] {
        let told: Vec<String> =
            notices(text).into_iter().filter(|notice| notice.starts_with("no id")).collect();
        let expected = kind.map(|kind| format!("no id: what it emits belongs to no {kind}"));
        assert_eq!(told, Vec::from_iter(expected), "{text}");
    }
}

#[test]
fn a_key_met_again_gives_the_first_outcome_even_where_an_id_was_made() {
    let store = store(3);
    let session = Session::new(&store);
    for text in [
        "EMIT Order.created NEW {total: 10, at: NOW} KEY 'k1'",
        "EMIT Order.paid 42 {amount: 10} KEY 'k2' EXPECT VERSION 0",
        "EMIT Order.paid 42 AT -1d KEY 'k3'",
        "ATOMIC (EMIT Order.created NEW {a: 1}; EMIT Stock.reserved s {b: 2}) KEY 'k4'",
    ] {
        let first = session.rows(text);
        let again = session.rows(text);
        assert_eq!(first.len(), again.len(), "{text}");
        for (first, again) in first.iter().zip(&again) {
            let (Row::Event { event: a, repeated: false }, Row::Event { event: b, repeated: true }) =
                (first, again)
            else {
                panic!("{text}: {first:?} {again:?}")
            };
            assert_eq!(a, b);
        }
        assert!(serde_json::to_string(&again[0]).unwrap().ends_with(r#","repeated":true}"#));
    }
    let other = session.error("EMIT Order.created NEW {total: 11, at: NOW} KEY 'k1'");
    assert!(other.contains("the content it was first used with"), "{other}");
}

#[test]
fn atomic_is_all_or_nothing_and_its_facts_hold_for_all() {
    let store = store(3);
    let session = Session::new(&store);
    let lines = session.lines(
        "ATOMIC (EMIT Order.paid 42; EMIT Stock.reserved sku-9 {qty: 2} BY Till 1) KEY 'pay-42' BY User 7 AT '2024-01-01' META {ip: 'x'}",
    );
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains(r#""actor":{"type":"User","id":"7"}"#) && lines[0].contains(r#""key":"pay-42""#)
    );
    assert!(lines[1].contains(r#""actor":{"type":"Till","id":"1"}"#) && lines[1].contains(r#""ip":"x""#));
    assert!(lines.iter().all(|line| line.contains(r#""timestamp":"2024-01-01T00:00:00Z""#)));
    let error = session.error("ATOMIC (EMIT Order.sent 42; EMIT Order.created 42 EXPECT NEW)");
    assert!(error.starts_with("conflict: Order 42: expected no event yet"), "{error}");
    assert_eq!(store.snapshot().head().0, 2);
}

#[test]
fn what_cannot_be_written_is_told() {
    let store = store(3);
    let mut session = Session::new(&store);
    session.parameters = Parameters::from([("text", "x"), ("idd", "y")]);
    for (text, expected) in [
        (
            "EMIT Order.paid 42 {method: oauth}",
            "'oauth' names a field, and there is no event here to take it from; text goes in quotes (did you mean 'oauth'?)",
        ),
        (
            "EMIT Order.paid 42 {n: 'a' * 2}",
            r#"arithmetic: expected numbers, with a result that 64 bits hold, found "a" * 2"#,
        ),
        ("EMIT Order.paid 42 {n: 9223372036854775807 * 4}", "64 bits"),
        ("EMIT Order.paid 42 {n: 7d}", "a value to be written"),
        ("EMIT Order.paid 42 WITH $text", "WITH: expected an object"),
        ("EMIT Order.paid $id", "the parameter $id was given no value (did you mean $idd?)"),
        ("EMIT Order.paid 42 CAUSED BY #9", "#9 is beyond the head, which is #0"),
        ("EMIT Order.paid 42 CAUSED BY 'nobody'", "no event of this log has the id 'nobody'"),
        ("EMIT Order.paid 42 ON Invoice 9", "the id says Order, and ON says Invoice"),
        ("EMIT Order.paid 42 INDEX BY customer", "a member `customer` in data"),
        ("PERFORM Pay Order 42", "no verb 'Pay' is defined"),
        ("EMIT Order.paid 42 EXPECT NONE (BY customer = 7)", "say INDEX BY customer here"),
        ("ATOMIC (EMIT Order.paid 42) INDEX BY total", "inside the brackets"),
        ("EMIT Order.paid 42 AT 'e5'", "neither"),
        ("EMIT Order.paid EXPECT NEW", "an event with a target"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
    assert_eq!(store.snapshot().head().0, 0);
    assert!(session.parameters.check_used(["text"]).unwrap_err().to_string().contains("$idd"));
}
