//! Every form of statement, and its canonical text.

use crate::lang::ast::*;
use crate::lang::{parse, parse_one, parse_within};
use crate::value::Value;

/// Parses and prints at once: the text is one statement, its canonical text is this, and that parses to the same.
fn one_statement_parses_to(text: &str, canonical: &str) {
    let parsed = parse_one(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(parsed.statement.to_string(), canonical, "{text}");
    let again = parse_one(canonical).unwrap_or_else(|e| panic!("{canonical}: {e}"));
    assert_eq!(again.statement, parsed.statement, "{text}");
}

fn one_statement_is_canonical(text: &str) {
    one_statement_parses_to(text, text);
}

#[test]
fn writes() {
    one_statement_parses_to(
        "EMIT Order.created 42 {\"total\": 10} BY User ann -- target is Order 42",
        "EMIT Order.created 42 {total: 10} BY User ann",
    );
    for text in [
        "EMIT Order.created NEW {total: 10}",
        "EMIT User.signedIn {method: 'oauth'} BY User 7",
        "EMIT Order.created $id WITH $data",
        "EMIT Coupon.redeemed X1 EXPECT NONE ('Coupon.redeemed' BY coupon = 'X1')",
        "EMIT Coupon.redeemed X1 EXPECT NONE (SINCE #7)",
        "EMIT Coupon.redeemed X1 EXPECT EXISTS EXPECT VERSION 2 EXPECT NONE ('A.b') EXPECT NONE (SINCE #7)",
        "EMIT Coupon.redeemed X1 EXPECT NONE ('A.b' BY a = 1, b = 2 OR BY c = 3 OR 'C.*' SINCE #7)",
        "EMIT Order.expired (target.id)",
        "EMIT Order.item.added 42",
        "EMIT Order.paid CAUSED BY Mail.received 'a@b'",
        "EMIT Order.paid EXPECT NEW",
        "CLOSE Order 42",
        "CLOSE Order 42 BECAUSE $why BY User 7 KEY 'k' EXPECT VERSION 3",
        "REOPEN Order 42 BECAUSE 'it came back'",
        "ATOMIC (EMIT Order.paid 42; CLOSE Order 42)",
        "EMIT Order.paid ID 'pay-7'",
        "EMIT Order.paid $id ID $id",
        "EMIT Order.paid 'id' {id: id} ID 'id'",
        "EMIT Order.paid EXPECT EXISTS",
        "EMIT Order.paid EXPECT ABSENT",
        "EMIT `order entry`.paid",
        "PERFORM Approve Document 42 {note: 'ok'} BY User 7",
        "PERFORM Approve Document 42 WITH data.args AT -1h",
    ] {
        one_statement_is_canonical(text);
    }
    one_statement_parses_to(
        "EMIT Order.paid ON Invoice 'INV-9' {amount: 5} \
         AT '2024-01-01' META {ip: '::1'} KEY 'req-7f3' ID 'pay-7' CAUSED BY #1207 EXPECT VERSION 3 \
         INDEX BY customer = 'c-7', amount",
        "EMIT Order.paid ON Invoice 'INV-9' {amount: 5} \
         AT '2024-01-01' META {ip: '::1'} KEY 'req-7f3' ID 'pay-7' CAUSED BY #1207 EXPECT VERSION 3 \
         INDEX BY customer = 'c-7', amount",
    );
    one_statement_parses_to(
        "emit Order.paid 42 index by a expect new key 'k' by User 7",
        "EMIT Order.paid 42 BY User 7 KEY 'k' EXPECT NEW INDEX BY a",
    );
    one_statement_parses_to(
        "ATOMIC (EMIT Order.paid 42; EMIT Stock.reserved sku-9 {qty: 2};) KEY 'pay-42'",
        "ATOMIC (EMIT Order.paid 42; EMIT Stock.reserved 'sku-9' {qty: 2}) KEY 'pay-42'",
    );
}

#[test]
fn reads() {
    for text in [
        "HISTORY Order 42",
        "HISTORY Order 42 WHERE data.total > 1 SINCE -30d UNTIL NOW LIMIT 3",
        "HISTORY Order 42 LAST 3",
        "HISTORY Order 'data.customer'",
        "HISTORY View 3",
        "EVENTS",
        "EVENTS 'Order.*' BY customer = 'c-7' WHERE data.total > 100 SINCE -30d",
        "EVENTS 'Order.paid' GROUP BY bucket(timestamp, 1h) AS hour SELECT count(), sum(data.total) AS paid",
        "EVENTS BY User 7",
        "EVENTS BY cause = #12",
        "EVENTS BY cause IN (#12, 'e1', Pay 'cmd-1')",
        "EVENTS BY customer IN ('a', 'b'), total BETWEEN -1 AND 9.5, owner = User 7, at >= 2024-01-01",
        "EVENTS 'Order.placed' UNNEST data.lines AS line GROUP BY line.sku SELECT sum(line.qty) AS qty",
        "EVENTS WHERE a UNNEST data.lines AS line, n WHERE n < $n UNNEST line.parts AS part WHERE part > 1 LIMIT 1",
        "HISTORY Order 42 UNNEST data.lines[0] AS `a b`, limit SELECT limit",
        "FIND Order UNNEST state.lines AS line ORDER BY line.qty DESC",
        "EVENTS $pattern SINCE #12 UNTIL VERSION 3 AS OF '2024-02-01' ORDER BY data.total DESC, type LIMIT $n",
        "AT Order 42 '2024-01-01'",
        "AT Order 42 '2024-01-01' AS OF '2024-02-01'",
        "AT Order 42",
        "AT Order 42 VERSION 3",
        "AT Order 42 #1207",
        "REPLAY Account 7",
        "REPLAY Account 7 STEPS AS OF #3",
        "BLAME Order 42",
        "BLAME Order 42 NOW AS OF -1d",
        "BLAME Order 42 OF state.status",
        "BLAME Order 42 OF state.items[0].`unit price` #12 AS OF $p",
        "HISTORY Order 42 OF state.status",
        "HISTORY Order 42 OF state[''].`a b` WHERE actor = User 7 SINCE -1d UNTIL #12 AS OF NOW LAST 3",
        "DIFF Order 42 FROM '2024-01-01' TO NOW",
        "DIFF Order 42 FROM START AS OF $p",
        "FIND Account WHERE state.balance > 100 AT '2024-01-01'",
        "FIND Account GROUP BY state.plan SELECT count() AS n HAVING n > 3 ORDER BY n",
        "TRACE #1207",
        "TRACE CAUSES '0190-ab'",
        "TRACE EFFECTS $event",
        "READ revenue WHERE total > 1000 AS OF '2024-02-01'",
        "SUBSCRIBE",
        "SUBSCRIBE 'Order.*'",
        "SUBSCRIBE 'Order.*' BY customer = 'c' AS billing FROM START UNTIL NOW WHERE data.x = 1 LIMIT 5",
        "SUBSCRIBE VIEW revenue",
    ] {
        one_statement_is_canonical(text);
    }
    one_statement_parses_to("at Order 42 2024-01-01T10:00", "AT Order 42 2024-01-01T10:00:00Z");
    one_statement_parses_to("AT Order 42 2024-01-01T00:00+00:00", "AT Order 42 2024-01-01");
    one_statement_parses_to(
        "EVENTS LIMIT 1 ORDER BY type ASC WHERE a",
        "EVENTS WHERE a ORDER BY type LIMIT 1",
    );
    one_statement_parses_to("EVENTS SINCE - 7d", "EVENTS SINCE -1w");
}

#[test]
fn definitions() {
    for text in [
        "DEFINE ENTITY Account INITIAL {balance: 0} \
         ON deposited SET balance = state.balance + data.amount ON closed DELETE ELSE MERGE",
        "DEFINE ENTITY Account NAMESPACE bank SNAPSHOT EVERY 100 ON 'a b' IGNORE",
        "DEFINE ENTITY Trip INCLUDE 'Vehicle.*' BY tripId",
        "DEFINE ENTITY Trip ON item.added SET items[0].price = data.price, `null` = 1",
        "DEFINE EVENT Order.placed {customer: text, total: number CHECK data.total >= 0, items: [text?], 'a b': {c: any}?}",
        "DEFINE EVENT `order entry`.item.added {} STRICT WARN",
        "DEFINE EVENT Order.placed FROM SCHEMA $json WARN",
        "DEFINE EVENT Order.placed {} UPCAST SET data.total = data.amount, data.currency = 'EUR' DELETE data.amount, data.`a b`",
        "DEFINE EVENT Order.placed {} UPCAST DELETE data.amount",
        "DEFINE VERB Approve ON Document BY User \
         REQUIRE state.status = 'submitted' ELSE 'not submitted yet' EMIT approved",
        "DEFINE VERB Pay ON Order BY User, Clerk REQUIRE data.amount > 0 \
         EMIT paid {amount: data.amount} EMIT settled ON Invoice (data.invoice) BY Bank 1",
        "DEFINE VERB Withdraw ON Account REQUIRE data.amount > 0 ELSE 'nothing to withdraw' \
         WHEN state.balance >= data.amount EMIT withdrawn {amount: data.amount} \
         WHEN actor.state.gold = TRUE REQUIRE data.amount < 100 EMIT overdrawn EMIT Fee.due ON User (actor.id) \
         WHEN TRUE EMIT when.refused",
        "DEFINE VERB Toggle ON Switch WHEN state.when = 1 WHEN TRUE",
        "DEFINE INDEX customer ON 'Order.*' AS data.customer",
        "DEFINE INDEX course ON '*'",
        "DEFINE VIEW revenue AS EVENTS 'Order.paid' \
         GROUP BY data.customer AS customer SELECT sum(data.total) AS total",
        "DEFINE VIEW rich AS FIND Account WHERE state.balance > 100",
        "DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)",
        "DEFINE REACTION expire ON 'Order.placed' AFTER 30m UNLESS 'Order.paid' \
         DO EMIT Order.expired (target.id)",
        "DEFINE REACTION r ON 'A.*' FROM START WHERE data.x = 1 DO (EMIT A.b 1; EMIT A.c 2)",
        "DEFINE WEBHOOK notify ON '*.created' TO 'http://example.com' SECRET 'env:HOOK_SECRET'",
        "DEFINE WEBHOOK notify ON $p FROM #3 WHERE data.x = 1 TO $url",
        "DEFINE WEBHOOK notify ON 'Order.*' TO 'http://example.com' AS 'cloudevents' SECRET $secret",
        "DEFINE SCHEDULE nightly EVERY 1d AT '02:00' DO EMIT Report.requested NEW",
        "DEFINE SCHEDULE monthly CRON '0 2 1 * *' IN 'Europe/Berlin' DO EMIT Report.requested NEW",
        "DEFINE SCHEDULE monthly CRON $fields IN $zone DO EMIT Report.requested NEW",
        "DEFINE SCHEDULE monthly CRON '0 2 1 * *' DO EMIT Report.requested NEW",
    ] {
        one_statement_is_canonical(text);
    }
    one_statement_parses_to(
        "DEFINE ENTITY A ELSE IGNORE ON x MERGE INITIAL {}",
        "DEFINE ENTITY A INITIAL {} ON x MERGE ELSE IGNORE",
    );
    one_statement_parses_to(
        "DEFINE SCHEDULE s EVERY 60m DO (EMIT A.b;)",
        "DEFINE SCHEDULE s EVERY 1h DO EMIT A.b",
    );
}

#[test]
fn the_rest() {
    for text in [
        "EXPLAIN EVENTS BY customer = 'c'",
        "EXPLAIN ANALYZE EMIT Order.paid 42",
        "DROP EVENT `order entry`.item.added",
        "DESCRIBE Order.item.`a b`",
        "HISTORY Order 42 WHERE data.a = 1 LIMIT 3 RAW",
        "EVENTS 'Order.*' RAW",
        "EXPLAIN DEFINE INDEX a ON '*' AS data.a",
        "SHOW KINDS",
        "SHOW HEAD",
        "SHOW SUBSCRIPTIONS",
        "DESCRIBE Order",
        "DROP VIEW revenue",
        "DROP SUBSCRIPTION billing",
        "RETRY REACTION ship #1207",
        "SKIP WEBHOOK notify",
        "BACKUP TO 'b.bygone'",
        "BACKUP TO 'b.bygone' INCREMENT",
        "BACKUP TO 'b.bygone' REPLACE",
        "VERIFY",
        "VERIFY AGAINST '7f3a'",
        "VERIFY AGAINST '7f3a' AT #42",
        "PROVE #42",
        "PROVE #42 AS OF #100",
        "SIGN HEAD WITH 'env:AUDIT_KEY'",
        "COMPACT",
        "CHECKPOINT",
    ] {
        one_statement_is_canonical(text);
    }
}

fn expression_parses_to(text: &str, canonical: &str) {
    one_statement_parses_to(&format!("EVENTS WHERE {text}"), &format!("EVENTS WHERE {canonical}"));
}

#[test]
fn expressions() {
    for text in [
        "a OR b AND NOT c",
        "(a OR b) AND c",
        "NOT (a AND b)",
        "NOT NOT a",
        "(NOT a) = b",
        "a + b - c",
        "a + (b - c)",
        "(a + b) * -c",
        "a * b / c % d",
        "(a * b) * c",
        "a * b + c",
        "- -a",
        "- - -a",
        "-(a + b)",
        "a - -5",
        "timestamp > -1w",
        "actor = User 7",
        "actor = User 'view'",
        "actor IN (User 7, User $id)",
        "type MATCHES 'Order.*' AND data.tags NOT CONTAINS 'x'",
        "data.total NOT BETWEEN 1 + 1 AND 2 OR data.x IN (1, 2, NULL)",
        "data.x IS NULL AND data.y IS NOT NULL",
        "(a = b) = (c IS NULL)",
        "data.items[0].price = 1.5",
        "data.`a b`.null['']",
        "`null` = `not`",
        "x = TRUE OR y = FALSE OR z = NOW",
        "x = [1, 'a', {b: [], c: {}}]",
        "concat(lower(a), 'x', $p) != ''",
        "n = -9223372036854775808 OR n = 18446744073709551615",
        "x = 2024-01-01 OR x = 2024-01-01T10:00:00.5Z",
        "x = \"tab\\t\"",
    ] {
        expression_parses_to(text, text);
    }
    for (text, canonical) in [
        ("(((a)))", "a"),
        ("(a and b) and c", "(a AND b) AND c"),
        ("a['b']['c d']", "a.b.`c d`"),
        ("x = 1.50e3", "x = 1500.0"),
        ("x = 1e21", "x = 1e+21"),
        ("x = -(5)", "x = -5"),
        ("x = - -5", "x = 5"),
        ("x = 1000ms", "x = 1s"),
        ("x = \"it's\"", "x = 'it''s'"),
        ("x = User ORD-42", "x = User 'ORD-42'"),
        ("x = {\"a\": 1, \"as\": 2, \"of\": 3}", "x = {a: 1, 'as': 2, 'of': 3}"),
    ] {
        expression_parses_to(text, canonical);
    }
}

#[test]
fn adjacent_tokens_are_one_id() {
    for (text, id) in [
        ("42", "42"),
        ("'42'", "42"),
        ("\"42\"", "42"),
        ("007", "007"),
        ("ORD-42", "ORD-42"),
        ("7d", "7d"),
        ("2024a", "2024a"),
        ("sku-9", "sku-9"),
        ("2024-13-01", "2024-13-01"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("by-3", "by-3"),
        ("ann@example.com", "ann@example.com"),
        ("99999999999999999999999", "99999999999999999999999"),
        ("1.50", "1.50"),
        ("größe", "größe"),
        ("''", ""),
    ] {
        let parsed = parse_one(&format!("HISTORY Order {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        let Stmt::Read(ReadStmt::History { entity, .. }) = parsed.statement else { panic!("{text}") };
        assert_eq!(entity.id, IdExpr::Text { text: id.to_owned(), span: Span::default() }, "{text}");
    }
}

#[test]
fn statements_are_separated_by_semicolons() {
    let text = " ;; SHOW HEAD ;\n/* a */ SHOW KINDS; ; -- end";
    let script = parse(text).unwrap();
    let sources: Vec<_> = script.statements.iter().map(|s| &text[s.span.range()]).collect();
    assert_eq!(sources, ["SHOW HEAD", "SHOW KINDS"]);
    assert_eq!(script.to_string(), "SHOW HEAD;\nSHOW KINDS");
    assert_eq!(parse("").unwrap().statements, []);
    assert!(parse_one("SHOW HEAD;").is_ok());
}

#[test]
fn parameters_stay_parameters() {
    let script = parse("EMIT A.b $id WITH $data KEY $key; EVENTS $data WHERE data.x = $x LIMIT $n").unwrap();
    assert_eq!(script.params(), ["id", "data", "key", "x", "n"]);
    assert_eq!(script.statements[1].params, ["data", "x", "n"]);
    assert_eq!(parse("EMIT A.b '$id' -- $no").unwrap().params(), [""; 0]);
}

#[test]
fn an_id_may_begin_with_a_keyword() {
    one_statement_parses_to("EVENTS BY customer = Order ORDER-1", "EVENTS BY customer = Order 'ORDER-1'");
}

#[test]
fn an_event_and_the_checks_of_its_data_know_where_they_stand() {
    for (text, event) in [("TRACE #1207", "#1207"), ("TRACE 'an id'", "'an id'"), ("TRACE $id", "$id")] {
        let Stmt::Read(ReadStmt::Trace { event: found, .. }) = parse_one(text).unwrap().statement else {
            panic!("{text}")
        };
        assert_eq!(&text[found.span().range()], event);
    }
    let text = "DEFINE EVENT A.b {a: text CHECK a1, b: [{c: text CHECK c1}], d: {e: [text], f: text CHECK f1} CHECK d1}";
    let Stmt::Define(DefinitionStmt::Event(event)) = parse_one(text).unwrap().statement else {
        panic!("{text}")
    };
    let checks: Vec<_> = event.checks().iter().map(|check| check.to_string()).collect();
    assert_eq!(checks, ["a1", "c1", "f1", "d1"]);
}

#[test]
fn a_text_has_so_many_bytes_and_so_many_words_signs_and_comments() {
    assert!(parse_within("SHOW HEAD", 9).is_ok());
    assert!(parse_within("SHOW HEAD", 8).unwrap_err().to_string().contains("at most 8 bytes"));
    // A comment counts, too: what stands behind many is not passed over.
    let text = format!("{}SHOW HEAD", "--\n".repeat(2000));
    let refused = parse_within(&text, 10_000).unwrap_err().to_string();
    assert!(refused.contains("at most 1000 words and signs"), "{refused}");
    assert_eq!(parse_within(&text, 100_000).unwrap().statements.len(), 1);
}

#[test]
fn a_large_text_is_one_token() {
    let large = "it''s ".repeat(1_000_000);
    let parsed = parse_one(&format!("EMIT A.b 1 {{x: '{large}', y: \"{large}\"}}")).unwrap();
    let Stmt::Write(WriteStmt::Act(ActStmt::Emit(EmitStmt { body: Some(Body::Object(object)), .. }))) =
        parsed.statement
    else {
        panic!("no object")
    };
    let text = |i: usize| match &object.members[i].1.kind {
        ExprKind::Literal(Literal::Value(Value::Text(text))) => text.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((text(0), text(1)), (5_000_000, 6_000_000));
}
