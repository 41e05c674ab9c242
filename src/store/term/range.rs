//! Ranges of terms: a range of values is a range of keys.

use std::ops::Bound;

use super::{Builder, FALSE, NUMBER, TEXT, TRUE};
use crate::value::Value;

/// Greater than whatever a term goes on with in a key: the first byte of a position is far below.
pub(crate) const AFTER_TERM: [u8; 9] = [0xff; 9];

/// The terms from some bytes on and before others. Keys of postings, which go on with a position, lie within alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TermRange {
    pub from: Vec<u8>,
    pub until: Vec<u8>,
}

impl TermRange {
    /// The values between two bounds, beside what all of these terms begin with. Values have an order within one sort only
    /// (booleans, numbers, text): the bounds are of one, and so are the terms. Two open bounds mean values of every sort.
    pub fn between(prefix: &[u8], low: Bound<&Value>, high: Bound<&Value>) -> TermRange {
        let sort = |bound: &Bound<&Value>| match bound {
            Bound::Included(value) | Bound::Excluded(value) => sort(value),
            Bound::Unbounded => (0, u8::MAX),
        };
        let (first, last) = match (low, high) {
            (Bound::Unbounded, bound) | (bound, _) => sort(&bound),
        };
        let bytes = |value: &Value| Builder(prefix.to_vec()).value(value).0;
        let edge = |tag: u8| [prefix, &[tag]].concat();
        let after = |value: &Value| [bytes(value).as_slice(), &AFTER_TERM].concat();
        TermRange {
            from: match low {
                Bound::Included(value) => bytes(value),
                Bound::Excluded(value) => after(value),
                Bound::Unbounded => edge(first),
            },
            until: match high {
                Bound::Included(value) => after(value),
                Bound::Excluded(value) => bytes(value),
                Bound::Unbounded if last == u8::MAX => edge(last),
                Bound::Unbounded => edge(last + 1),
            },
        }
    }

    /// Every value but one.
    pub fn other_than(prefix: &[u8], value: &Value) -> [TermRange; 2] {
        let all = TermRange::between(prefix, Bound::Unbounded, Bound::Unbounded);
        let one = TermRange::between(prefix, Bound::Included(value), Bound::Included(value));
        [TermRange { from: all.from, until: one.from }, TermRange { from: one.until, until: all.until }]
    }

    /// Whether it is the wrong way round, or of nothing.
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }
}

/// The first and the last of the bytes that values of this sort begin with.
fn sort(value: &Value) -> (u8, u8) {
    match value {
        Value::Bool(_) => (FALSE, TRUE),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => (NUMBER, NUMBER),
        Value::Text(_) => (TEXT, TEXT),
        Value::Null | Value::Array(_) | Value::Object(_) => (0, 0),
    }
}
