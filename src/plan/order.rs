//! The one order over all values: of `ORDER BY`, of groups, of `min` and `max`.
//!
//! null < false < true < numbers < text < times < lengths of time < entities < arrays < objects. Within a type it is the order of
//! `<`, where that has one: numbers exactly and by what they are worth (1 and 1.0 are one), text by its code points. Arrays
//! go item by item, objects member by member in the order of their names, entities by kind and id. What is equal by `=` is equal here, and
//! nothing else is.
//!
//! A key is a value as bytes that sort in this order, and of which none begins another: several may stand in a row, and with all
//! bits turned they sort the other way. Scalars have the form of index terms.

use std::cmp::Ordering;

use super::datum::Datum;
use super::expr::Number;
use crate::store::index::term;
use crate::value::{Object, Value};

/// Ends a list of items: smaller than any item.
const END: u8 = 0;
const NULL: u8 = 1;
const SPAN: u8 = 8;
const ENTITY: u8 = 9;
const ARRAY: u8 = 10;
const OBJECT: u8 = 11;

/// Compares any two.
pub(crate) fn total(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Number(a), Datum::Number(b)) => a.compare(*b),
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        (Datum::Time(a), Datum::Time(b)) => a.cmp(b),
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Span(a), Datum::Span(b)) => a.cmp(b),
        (Datum::Entity { kind: a, id: x }, Datum::Entity { kind: b, id: y }) => a.cmp(b).then(x.cmp(y)),
        // Null and null, or two types: their ranks tell; arrays and objects are looked into.
        _ => rank(a).cmp(&rank(b)).then_with(|| match (a.json(), b.json()) {
            (Some(a), Some(b)) => total_of_values(&a, &b),
            _ => Ordering::Equal,
        }),
    }
}

fn rank(datum: &Datum) -> u8 {
    match datum {
        Datum::Null => NULL,
        Datum::Bool(_) => term::TRUE,
        Datum::Number(_) => term::NUMBER,
        Datum::Text(_) => term::TEXT,
        Datum::Time(_) => term::TIME,
        Datum::Span(_) => SPAN,
        Datum::Entity { .. } => ENTITY,
        Datum::Json(_) | Datum::Stored(_) => {
            if datum.is_array() {
                ARRAY
            } else {
                OBJECT
            }
        }
    }
}

fn total_of_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| total_of_values(a, b));
            items.into_iter().find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted(a), sorted(b));
            let members = a.iter().zip(&b);
            let members = members.map(|((x, a), (y, b))| x.cmp(y).then_with(|| total_of_values(a, b)));
            members.into_iter().find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
        }
        _ => total(&Datum::borrowed(a), &Datum::borrowed(b)),
    }
}

fn sorted(members: &Object) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// Appends a datum as a key.
pub(crate) fn write_key(datum: &Datum, out: &mut Vec<u8>) {
    match datum {
        Datum::Null => out.push(NULL),
        Datum::Bool(b) => out.push(if *b { term::TRUE } else { term::FALSE }),
        Datum::Number(Number::Integer(n)) => term::write_integer(out, *n),
        Datum::Number(Number::Float(x)) => term::write_float(out, *x),
        Datum::Text(text) => term::write_text(out, text),
        Datum::Time(time) => term::write_time(out, *time),
        Datum::Span(span) => {
            out.push(SPAN);
            out.extend_from_slice(&sortable(*span));
        }
        Datum::Entity { kind, id } => {
            out.push(ENTITY);
            term::write_text(out, kind);
            term::write_text(out, id);
        }
        Datum::Json(value) => write_value(value, out),
        Datum::Stored(raw) => write_value(&raw.to_value().unwrap_or_default(), out),
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(ARRAY);
            items.iter().for_each(|item| write_value(item, out));
            out.push(END);
        }
        Value::Object(members) => {
            out.push(OBJECT);
            for (name, value) in sorted(members) {
                term::write_text(out, name);
                write_value(value, out);
            }
            out.push(END);
        }
        scalar => write_key(&Datum::borrowed(scalar), out),
    }
}

fn sortable(n: i128) -> [u8; 16] {
    ((n as u128) ^ (1 << 127)).to_be_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::datum::{equal, order};
    use crate::value::tests::any_value;

    /// Any datum; those of one type are often alike.
    pub(crate) fn any_datum() -> impl Strategy<Value = Datum<'static>> {
        let near = (0u32..64, -2i128..3, any::<bool>()).prop_map(|(shift, by, float)| {
            let n = (1i128 << shift) + by;
            Datum::Number(if float { Number::Float(n as f64) } else { Number::Integer(n) })
        });
        let few = prop::sample::select(vec!["null", "[]", "{}", "[1,[]]", "[1.0]", "[1,null]", "[[]]"]);
        let objects =
            prop::sample::select(vec![r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#, r#"{"a":1,"c":0}"#]);
        prop_oneof![
            any_value().prop_map(Datum::of),
            near,
            few.prop_map(|json| Datum::of(json.parse().unwrap())),
            objects.prop_map(|json| Datum::of(json.parse().unwrap())),
            "[\0ab]{0,3}".prop_map(Datum::text),
            "1970-01-01(T00:00:00(\\.001)?)?Z?".prop_map(Datum::text),
            (-3i64..3).prop_map(|n| Datum::Time(crate::time::Timestamp::from_millis(n))),
            (-3i128..3).prop_map(Datum::Span),
            ("[AB]", "[\0ab]{0,2}").prop_map(|(kind, id)| Datum::Entity { kind: kind.into(), id: id.into() }),
            any::<bool>().prop_map(Datum::Bool),
            Just(Datum::Null),
        ]
    }

    fn key(datum: &Datum) -> Vec<u8> {
        let mut key = Vec::new();
        write_key(datum, &mut key);
        key
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_total_order(a in any_datum(), b in any_datum(), c in any_datum()) {
            prop_assert_eq!(total(&a, &a), Ordering::Equal);
            prop_assert_eq!(total(&a, &b), total(&b, &a).reverse());
            if total(&a, &b).is_le() && total(&b, &c).is_le() {
                prop_assert!(total(&a, &c).is_le());
            }
        }

        #[test]
        fn it_agrees_with_equal_and_less(a in any_datum(), b in any_datum()) {
            // A text that says an instant stays a text where values are ordered, and is that instant where it is compared with one.
            let beside = |a: &Datum, b: &Datum| matches!((a, b), (Datum::Text(_), Datum::Time(_)));
            prop_assume!(!beside(&a, &b) && !beside(&b, &a));
            prop_assert_eq!(total(&a, &b).is_eq(), equal(&a, &b));
            if let Some(order) = order(&a, &b) {
                prop_assert_eq!(total(&a, &b), order);
            }
        }

        #[test]
        fn keys_sort_alike_and_none_begins_another(a in any_datum(), b in any_datum()) {
            let (x, y) = (key(&a), key(&b));
            prop_assert_eq!(x.cmp(&y), total(&a, &b), "{:?} {:?}", a, b);
            prop_assert!(x == y || !x.starts_with(&y));
        }
    }

    #[test]
    fn types_have_their_places() {
        let all = [
            "null",
            "false",
            "true",
            "-1.5",
            "0",
            "0.5",
            "1",
            "18446744073709551615",
            "1e30",
            r#""""#,
            r#""a""#,
            r#""a\u0000""#,
            r#""b""#,
            "[]",
            "[null]",
            "[1]",
            "[1,0]",
            "[2]",
            "[[]]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1,"b":0}"#,
            r#"{"b":0}"#,
        ];
        let data: Vec<Datum> = all.iter().map(|json| Datum::of(json.parse().unwrap())).collect();
        for (i, a) in data.iter().enumerate() {
            for (j, b) in data.iter().enumerate() {
                assert_eq!(total(a, b), i.cmp(&j), "{} {}", all[i], all[j]);
            }
        }
    }
}
