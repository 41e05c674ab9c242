//! Ranges of terms: a range of values is a range of keys.

use std::ops::Bound;

use super::{Builder, FALSE, Key, NUMBER, TEXT, TIME, TRUE, Term, definition_of};
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
    /// (booleans, numbers, times, text): the bounds are of one, and so are the terms. Two open bounds mean values of every sort.
    ///
    /// Where a bound is cut, its term is within, whichever way it is meant: some of what it stands for may be.
    pub fn between(prefix: &[u8], low: Bound<&Key>, high: Bound<&Key>) -> TermRange {
        let sorts = |bound: &Bound<&Key>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => sort(key),
            Bound::Unbounded => (0, u8::MAX),
        };
        let (first, last) = match (low, high) {
            (Bound::Unbounded, bound) | (bound, _) => sorts(&bound),
        };
        let edge = |tag: u8| [prefix, &[tag]].concat();
        let after = |bytes: Vec<u8>| [bytes.as_slice(), &AFTER_TERM].concat();
        TermRange {
            from: match low {
                Bound::Included(key) => bytes(prefix, key).0,
                Bound::Excluded(key) => match bytes(prefix, key) {
                    (bytes, true) => bytes,
                    (bytes, false) => after(bytes),
                },
                Bound::Unbounded => edge(first),
            },
            until: match high {
                Bound::Included(key) => after(bytes(prefix, key).0),
                Bound::Excluded(key) => match bytes(prefix, key) {
                    (bytes, true) => after(bytes),
                    (bytes, false) => bytes,
                },
                Bound::Unbounded if last == u8::MAX => edge(last),
                Bound::Unbounded => edge(last + 1),
            },
        }
    }

    /// What is left of some ranges without one value. A term that is cut stays.
    pub fn without(prefix: &[u8], key: &Key, ranges: Vec<TermRange>) -> Vec<TermRange> {
        let (bytes, cut) = bytes(prefix, key);
        if cut {
            return ranges;
        }
        let after = [bytes.as_slice(), &AFTER_TERM].concat();
        let apart = |range: TermRange| {
            let below = TermRange { from: range.from.clone(), until: range.until.clone().min(bytes.clone()) };
            let above = TermRange { from: range.from.max(after.clone()), until: range.until };
            [below, above]
        };
        ranges.into_iter().flat_map(apart).filter(|range| !range.is_empty()).collect()
    }

    /// Whether it is the wrong way round, or of nothing.
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }
}

/// The term of a key, and whether it is cut. What is only compared with may be longer than any term.
fn bytes(prefix: &[u8], key: &Key) -> (Vec<u8>, bool) {
    if let Some(term) = definition_of(prefix).and_then(|definition| Term::derived(definition, key)) {
        return (term.as_bytes().to_vec(), term.is_cut());
    }
    let mut builder = Builder(prefix.to_vec());
    match key {
        Key::Value(value) => builder = builder.value(value),
        Key::Time(time) => super::write_time(&mut builder.0, *time),
    }
    (builder.0, false)
}

/// The first and the last of the bytes that keys of this sort begin with.
fn sort(key: &Key) -> (u8, u8) {
    match key {
        Key::Value(Value::Bool(_)) => (FALSE, TRUE),
        Key::Value(Value::Int(_) | Value::UInt(_) | Value::Float(_)) => (NUMBER, NUMBER),
        Key::Value(Value::Text(_)) => (TEXT, TEXT),
        Key::Value(Value::Null | Value::Array(_) | Value::Object(_)) => (0, 0),
        Key::Time(_) => (TIME, TIME),
    }
}
