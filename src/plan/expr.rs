//! Expressions with their names looked up.

use std::cmp::Ordering;

use crate::value::Value;

/// A condition on an event.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {}

/// Whether two values are equal, numbers by what they are worth: 1 = 1.0.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b).is_eq(),
            _ => a == b,
        },
    }
}

/// A number, compared exactly whatever its form.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(n) => Some(Number::Integer((*n).into())),
            Value::UInt(n) => Some(Number::Integer((*n).into())),
            Value::Float(x) => Some(Number::Float(*x)),
            _ => None,
        }
    }

    pub fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
            // Values hold no float that is not finite, so this is an order.
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Number::Integer(a), Number::Float(b)) => integer_to_float(a, b),
            (Number::Float(a), Number::Integer(b)) => integer_to_float(b, a).reverse(),
        }
    }
}

fn integer_to_float(n: i128, x: f64) -> Ordering {
    // Integers come from 64 bits and one step of arithmetic at most: far below 2^100.
    if x.abs() >= 1e30 {
        return if x > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    n.cmp(&(x.floor() as i128)).then(if x.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
}
