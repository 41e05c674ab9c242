//! Every function: of constants, where it is worked out while binding, and of fields, where it is not.

use super::*;
use crate::plan::function::{FUNCTIONS, FunctionBody};
use crate::value::{Object, Value};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A call of parameters and the same call of fields give this.
fn check(name: &str, arguments: &str, expected: &str) {
    let Ok(Value::Array(given)) = arguments.parse() else { panic!("{arguments}") };
    let store = store(10);
    let mut session = Session::new(&store);
    let data = Object::from_iter(NAMES.map(str::to_owned).into_iter().zip(given.clone()));
    session.parameters = Parameters::new().set("data", Value::Object(data));
    session.rows("EMIT Order.created 1 WITH $data");
    session.parameters = Parameters::new();
    for (name, value) in NAMES.iter().zip(&given) {
        session.parameters = std::mem::take(&mut session.parameters).set(name, value.clone());
    }
    for prefix in ["$", "data."] {
        let list =
            NAMES[..given.len()].iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>().join(", ");
        let text = format!("EVENTS SELECT {name}({list}) AS x");
        assert_eq!(session.lines(&text), [format!(r#"{{"x":{expected}}}"#)], "{text} of {arguments}");
    }
}

const TABLE: &[(&str, &str, &str)] = &[
    ("coalesce", "[null, 2, 3]", "2"),
    ("coalesce", "[null, null]", "null"),
    ("least", r#"[null, 3, 1.5, "a"]"#, "1.5"),
    ("least", "[null]", "null"),
    ("greatest", r#"[null, 3, "a", "B"]"#, r#""a""#),
    ("bucket", "[17, 5]", "15"),
    ("bucket", "[-1, 5]", "-5"),
    ("bucket", "[1.7, 0.5]", "1.5"),
    ("bucket", "[0.3, 0.1]", "0.3"),
    ("bucket", "[0.7, 0.1]", "0.7"),
    ("bucket", "[-1e300, 0.1]", "-1e+300"),
    ("round", "[2.675, 2]", "2.68"),
    ("round", "[1.005, 2]", "1.01"),
    ("round", "[1.7976931348623157e308, -308]", "null"),
    ("bucket", r#"["x", 5]"#, "null"),
    ("typeof", "[null]", r#""null""#),
    ("typeof", "[1.5]", r#""number""#),
    ("typeof", "[true]", r#""boolean""#),
    ("typeof", r#"["x"]"#, r#""text""#),
    ("typeof", "[[]]", r#""array""#),
    ("typeof", "[{}]", r#""object""#),
    ("lower", r#"["ÀB"]"#, r#""àb""#),
    ("lower", "[5]", "null"),
    ("upper", r#"["aß"]"#, r#""ASS""#),
    ("trim", r#"["  a b\t"]"#, r#""a b""#),
    ("trim", "[null]", "null"),
    ("length", r#"["née"]"#, "3"),
    ("length", "[[1, 2]]", "2"),
    ("length", r#"[{"a": 1}]"#, "1"),
    ("length", "[5]", "null"),
    ("substring", r#"["née au", 1]"#, r#""ée au""#),
    ("substring", r#"["née au", 1, 2]"#, r#""ée""#),
    ("substring", r#"["née", 0, 9]"#, r#""née""#),
    ("substring", r#"["née", 7]"#, r#""""#),
    ("substring", r#"["née", -1]"#, "null"),
    ("substring", r#"["née", 0.5]"#, "null"),
    ("substring", r#"["née", 1.0, 18446744073709551615]"#, r#""ée""#),
    ("concat", r#"["a", null, 1, [2, "b"]]"#, r#""a1[2,\"b\"]""#),
    ("split", r#"["a,b,", ","]"#, r#"["a","b",""]"#),
    ("split", r#"["ab", ""]"#, "null"),
    ("starts_with", r#"["abc", "ab"]"#, "true"),
    ("starts_with", r#"["abc", 1]"#, "null"),
    ("ends_with", r#"["abc", "ab"]"#, "false"),
    ("round", "[2.5]", "3"),
    ("round", "[-2.5]", "-3"),
    ("round", "[1e300]", "1e+300"),
    ("round", "[2.345, 1]", "2.3"),
    ("round", "[0.25, 1]", "0.3"),
    ("round", "[123456789.125, 30]", "123456789.125"),
    ("round", "[7, 2]", "7"),
    ("round", "[1250, -2]", "1300"),
    ("round", "[-1250, -2]", "-1300"),
    ("round", "[1249.9, -2]", "1200"),
    ("round", "[18446744073709551615, -1]", "null"),
    ("round", "[5, -99]", "0"),
    ("round", "[1e300, -999]", "0"),
    ("round", r#"["5"]"#, "null"),
    ("floor", "[-1.5]", "-2"),
    ("ceil", "[-1.5]", "-1"),
    ("ceil", "[3]", "3"),
    ("abs", "[-9223372036854775808]", "9223372036854775808"),
    ("abs", "[-0.5]", "0.5"),
    ("abs", r#"["x"]"#, "null"),
    ("year", r#"["2024-02-29T23:59:58.5Z"]"#, "2024"),
    ("month", r#"["2024-02-29T23:59:58.5Z"]"#, "2"),
    ("day", r#"["2024-02-29T23:59:58.5Z"]"#, "29"),
    ("hour", r#"["2024-02-29T23:59:58.5Z"]"#, "23"),
    ("hour", r#"["2024-02-29T23:59:58+02:00"]"#, "21"),
    ("minute", r#"["2024-02-29T23:59:58.5Z"]"#, "59"),
    ("second", r#"["2024-02-29T23:59:58.5Z"]"#, "58"),
    ("weekday", r#"["2024-02-29"]"#, "4"),
    ("weekday", r#"["1969-12-28"]"#, "7"),
    ("date", r#"["2024-02-29T23:59:58.5Z"]"#, r#""2024-02-29""#),
    ("date", r#"["soon"]"#, "null"),
    ("year", "[2024]", "null"),
    ("keys", r#"[{"b": 1, "a": 2}]"#, r#"["b","a"]"#),
    ("keys", "[[1]]", "null"),
    ("values", r#"[{"b": 1, "a": [2]}]"#, "[1,[2]]"),
    ("append", r#"[[1], 2, [3]]"#, "[1,2,[3]]"),
    ("append", "[null, null]", "[null]"),
    ("append", r#"["x", 1]"#, "null"),
    ("without", r#"[[1, "a", 1.0, null], 1, null]"#, r#"["a"]"#),
    ("without", "[null, 1]", "[]"),
    ("without", r#"[{"a": 1, "b": 2, "7": 3}, "a", 7]"#, r#"{"b":2}"#),
    ("without", r#"[{"a": 1}, null]"#, "null"),
    ("without", r#"["x", "x"]"#, "null"),
    ("union", "[[1, 1.0, 2], null, [2, 3]]", "[1,2,3]"),
    ("union", "[[1], 2]", "null"),
    ("slice", "[[1, 2, 3], 1]", "[2,3]"),
    ("slice", "[[1, 2, 3], -2, 1]", "[2]"),
    ("slice", "[[1, 2, 3], -9]", "[1,2,3]"),
    ("slice", "[[1, 2, 3], 9]", "[]"),
    ("slice", "[[1, 2, 3], 0, -1]", "null"),
    ("slice", r#"["abc", 1]"#, "null"),
    ("get", r#"[{"a": {"b": 1}}, "a"]"#, r#"{"b":1}"#),
    ("get", r#"[{"a": 1}, "b"]"#, "null"),
    ("get", r#"[{"7": 1}, 7]"#, "1"),
    ("get", "[[1, 2, 3], 0]", "1"),
    ("get", "[[1, 2, 3], -1]", "3"),
    ("get", "[[1, 2, 3], -4]", "null"),
    ("get", r#"[[1], "x"]"#, "null"),
    ("put", r#"[{"a": 1}, "b", [2]]"#, r#"{"a":1,"b":[2]}"#),
    ("put", r#"[null, 7, null]"#, r#"{"7":null}"#),
    ("put", r#"[[1], "a", 1]"#, "null"),
    ("merge", r#"[{"a": 1, "b": {"c": 2}}, {"a": null, "b": {"d": 3}}]"#, r#"{"b":{"c":2,"d":3}}"#),
    ("merge", r#"[null, {"a": 1}]"#, r#"{"a":1}"#),
    ("merge", r#"[{"a": 1}, 5]"#, "null"),
    ("text", "[1.0]", r#""1.0""#),
    ("text", "[true]", r#""true""#),
    ("text", r#"[{"a": 1}]"#, r#""{\"a\":1}""#),
    ("text", "[null]", "null"),
    ("number", r#"[" 12 "]"#, "12"),
    ("number", r#"["1e3"]"#, "1000.0"),
    ("number", r#"["12a"]"#, "null"),
    ("number", r#"["[1]"]"#, "null"),
    ("number", "[true]", "null"),
    ("number", "[7]", "7"),
    ("time", r#"["2024-01-01T01:00+01:00"]"#, r#""2024-01-01T00:00:00Z""#),
    ("time", r#"["soon"]"#, "null"),
    ("time", "[5]", "null"),
    ("if", "[true, 1, 2]", "1"),
    ("if", "[false, 1, 2]", "2"),
    ("if", "[null, 1, 2]", "2"),
    ("if", r#"["true", 1, 2]"#, "2"),
];

#[test]
fn functions_give_what_they_promise() {
    for (name, arguments, expected) in TABLE {
        check(name, arguments, expected);
    }
    let untried = FUNCTIONS.iter().filter(|function| {
        !matches!(function.work, FunctionBody::Aggregate(_) | FunctionBody::Regex | FunctionBody::IsForgotten)
            && TABLE.iter().all(|row| row.0 != function.name)
    });
    assert_eq!(untried.map(|function| function.name).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn times_and_durations_are_more_than_text() {
    let store = store(10);
    let session = Session::new(&store);
    session.rows(
        "EMIT Order.paid 1 {n: 1, due: '2024-05-31T20:30:00Z'} BY User ann AT '2024-05-31T10:20:30.5Z'",
    );
    for (expression, expected) in [
        ("bucket(timestamp, 1h)", r#""2024-05-31T10:00:00Z""#),
        ("bucket(timestamp, 1d)", r#""2024-05-31T00:00:00Z""#),
        ("bucket(timestamp, 1w)", r#""2024-05-27T00:00:00Z""#),
        ("bucket(timestamp, 'month')", r#""2024-05-01T00:00:00Z""#),
        ("bucket(timestamp, 'quarter')", r#""2024-04-01T00:00:00Z""#),
        ("bucket(timestamp, 'year')", r#""2024-01-01T00:00:00Z""#),
        ("bucket(timestamp, 'month') = '2024-05-01'", "true"),
        ("bucket(2024-12-31T23:59:59.999Z, 'quarter')", r#""2024-10-01T00:00:00Z""#),
        ("bucket(0000-02-29, 'month')", r#""0000-02-01T00:00:00Z""#),
        ("bucket(9999-12-31T23:59:59.999999Z, 'year')", r#""9999-01-01T00:00:00Z""#),
        ("bucket(data.due, 'month')", r#""2024-05-01T00:00:00Z""#),
        ("bucket('x', 'month')", "null"),
        ("bucket(2024-01-01, 1w)", r#""2024-01-01T00:00:00Z""#),
        ("bucket(9999-12-31T23:59:59.999999Z, 1d)", r#""9999-12-31T00:00:00Z""#),
        ("9999-12-31 - 1d", r#""9999-12-30T00:00:00Z""#),
        ("time('9999-12-31') > NOW", "true"),
        ("timestamp + 999999w", "null"),
        ("timestamp - 999999w", "null"),
        ("999999w + timestamp", "null"),
        ("bucket(data.due, 1h)", r#""2024-05-31T20:00:00Z""#),
        ("bucket(1969-12-31, 1w)", r#""1969-12-29T00:00:00Z""#),
        ("bucket(timestamp, 250ms)", r#""2024-05-31T10:20:30.5Z""#),
        ("bucket(timestamp, 5)", "null"),
        ("bucket(timestamp, 1h) = '2024-05-31T10:00'", "true"),
        ("date(timestamp) = 2024-05-31", "true"),
        ("date(timestamp) IN (2024-05-30, '2024-05-31')", "true"),
        ("date(timestamp) < 2024-06-01", "true"),
        ("time(data.due) > timestamp", "true"),
        ("time(data.due) - timestamp", r#""36569500ms""#),
        ("number(time(data.due) - timestamp)", "36569.5"),
        ("number(90m)", "5400"),
        ("text(90m)", r#""90m""#),
        ("abs(timestamp - time(data.due)) > 1h", "true"),
        ("typeof(timestamp)", r#""time""#),
        ("typeof(1h)", r#""duration""#),
        ("typeof(actor)", r#""entity""#),
        ("text(actor)", r#""User ann""#),
        ("concat(target.id, '/', timestamp)", r#""1/2024-05-31T10:20:30.5Z""#),
        ("actor", r#"{"type":"User","id":"ann"}"#),
        ("coalesce(data.missing, timestamp) > 2024-05-31", "true"),
        ("if(data.n = 1, timestamp, recorded) < '2024-06-01'", "true"),
        ("greatest(timestamp, '2024-06-01')", r#""2024-06-01T00:00:00Z""#),
        ("if(data.n = 1, 'one', 1 / 0)", r#""one""#),
        ("regex(type, '^Order[.]p')", "true"),
        ("regex(upper(type), '(?i)PAID$')", "true"),
        ("regex('abc', 'b+')", "true"),
        // Case and classes are of ASCII; what is not is a letter as it stands.
        ("regex('É', '(?i)é')", "false"),
        ("regex(lower('É'), 'é')", "true"),
        ("regex('é', '^[é-í]$')", "true"),
        ("regex('é٣', '[\\w\\d]')", "false"),
        ("'$5' MATCHES '*5'", "true"),
        ("'a, b' MATCHES 'a, b'", "true"),
        ("'a' MATCHES 'a, b'", "false"),
        ("' a' MATCHES 'a'", "false"),
        (r"'5*' MATCHES '5\*'", "true"),
        (r"'55' MATCHES '5\*'", "false"),
        (r"'a\b' MATCHES '*\\b'", "true"),
        ("'' MATCHES ''", "true"),
        ("target.type MATCHES 'Order'", "true"),
        ("data.n MATCHES '*'", "null"),
        // Types are matched as types, commas and all.
        ("type MATCHES 'Nothing.*, *.paid'", "true"),
        ("type NOT MATCHES '$*'", "true"),
        ("regex(data.n, 'b+')", "null"),
        ("NOT regex(type, 'x')", "true"),
        ("length(metadata)", "0"),
        ("keys(data)", r#"["n","due"]"#),
        ("hour(NOW)", "12"),
    ] {
        let text = format!("EVENTS SELECT {expression} AS x");
        assert_eq!(session.lines(&text), [format!(r#"{{"x":{expected}}}"#)], "{text}");
    }
    assert_eq!(session.positions("EVENTS WHERE lower(data.n) = 'x' OR length(type) = 10"), [1]);
    assert_eq!(session.positions("EVENTS WHERE lower(data.n) IS NULL"), [1]);
}

#[test]
fn what_is_written_is_worked_out_or_refused() {
    let store = store(10);
    let session = Session::new(&store);
    let row = session.lines(
        "EMIT Order.created (lower(concat('A', 1 + 2))) {at: date(NOW), n: round(-2.5), w: [upper('x')]}",
    );
    assert!(row[0].contains(r#""target":{"type":"Order","id":"a3"}"#), "{row:?}");
    assert!(row[0].contains(r#""data":{"at":"2024-06-01","n":-3,"w":["X"]}"#), "{row:?}");
    assert_eq!(session.positions("HISTORY Order (concat('a', 3))"), [1]);
    let row = session.lines("EMIT Offer.made 1 {until: 9999-12-31}");
    assert!(row[0].contains(r#""data":{"until":"9999-12-31T00:00:00Z"}"#), "{row:?}");
    for (text, expected) in [
        ("EMIT Order.paid 1 {a: lower(5)}", "line 1, column 23: expected lower(text), found lower(5)"),
        ("EMIT Order.paid 1 {a: upper(NULL)}", "line 1, column 23: expected upper(text), found upper(null)"),
        (
            "EMIT Order.paid 1 {a: lower(NOW)}",
            "lower: expected lower(text), found lower(\"2024-06-01T12:00:00Z\")",
        ),
        (
            "EMIT Order.paid 1 {a: concat('x', lower(NOW))}",
            "lower: expected lower(text), found lower(\"2024-06-01T12:00:00Z\")",
        ),
        (
            "EMIT Order.paid 1 {a: 1 + 'x'}",
            "arithmetic: expected numbers, with a result that 64 bits hold, found 1 + \"x\"",
        ),
        (
            "EMIT Order.paid 1 {a: 2024-01-01 + 999999w}",
            "arithmetic: expected a time from -009999-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z, found \"2024-01-01T00:00:00Z\" + \"999999w\"",
        ),
        (
            "EMIT Order.paid 1 {a: NOW - NOW}",
            "a value to be written: expected a value of JSON; lengths in quotes, found a length of time",
        ),
        (
            "EMIT Order.paid (text(NOW))",
            "line 1, column 18: an id made of NOW would be another one each time: say NEW for a new one, or an id",
        ),
        (
            "EMIT Order.paid (TRUE)",
            "line 1, column 18: an id: expected a text or a whole number, found a boolean",
        ),
        (
            "EMIT Order.paid (1 = 1)",
            "line 1, column 18: an id: expected a text or a whole number, found what is neither",
        ),
        (
            "EMIT Order.paid 1 {a: sum(1)}",
            "line 1, column 23: sum() is worked out from many events, and there are none here",
        ),
    ] {
        assert_eq!(session.error(text), expected, "{text}");
    }
}

#[test]
fn calls_that_are_wrong_are_told() {
    let store = store(10);
    let session = Session::new(&store);
    for (call, expected) in [
        ("lowr(type)", "column 14: there is no function 'lowr' (did you mean lower?)"),
        ("COUNT()", "column 14: there is no function 'COUNT' (did you mean count?)"),
        ("substr(type, 1)", "column 14: there is no function 'substr' (did you mean substring?)"),
        ("frobnicate(1)", "column 14: there is no function 'frobnicate'"),
        ("lower()", "column 14: lower takes 1 argument, found 0: lower(text)"),
        ("lower(type, type)", "column 14: lower takes 1 argument, found 2: lower(text)"),
        ("if(TRUE, 1)", "column 14: if takes 3 arguments, found 2: if(condition, a, b)"),
        ("round(1, 2, 3)", "column 14: round takes 1 to 2 arguments, found 3: round(x[, digits])"),
        ("concat()", "column 14: concat takes 1 argument or more, found 0: concat(a, …)"),
        ("min(1, 2)", "column 14: min takes 1 argument, found 2: min(x) (did you mean least?)"),
        (
            "count() > 1",
            "column 14: count() is worked out from many events: it belongs in SELECT, HAVING or ORDER BY",
        ),
        (
            "1 + max(data.x)",
            "column 18: max() is worked out from many events: it belongs in SELECT, HAVING or ORDER BY",
        ),
        (
            "regex(type, data.x)",
            "column 26: regex: expected a regular expression in quotes, like '^A[0-9]+$'",
        ),
        (
            "bucket(timestamp, '1h')",
            "column 14: bucket: expected a width over 0: a length of time like 1h, 'month', 'quarter', 'year', or a number",
        ),
        (
            "bucket(timestamp, 'Month')",
            "column 14: bucket: expected a width over 0: a length of time like 1h, 'month', 'quarter', 'year', or a number",
        ),
        (
            "bucket(timestamp, 0s)",
            "column 14: bucket: expected a width over 0: a length of time like 1h, 'month', 'quarter', 'year', or a number",
        ),
        ("lower(tpye)", "column 20: an event has no field 'tpye'; it has"),
        ("greatest(timestamp, 'soon') > 1", "column 34: a text beside a time: expected a time like"),
    ] {
        let error = session.error(&format!("EVENTS WHERE {call}"));
        assert!(error.starts_with(&format!("line 1, {expected}")), "{call}\n{error}");
    }
    let error = session.error("EVENTS WHERE regex(type, '(')");
    assert!(error.starts_with("line 1, column 26: no regular expression: "), "{error}");
}
