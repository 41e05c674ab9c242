//! Ranges of terms: a range of values is a range of keys.

use std::ops::Bound;

use super::{FALSE, IndexKey, NUMBER, TEXT, TIME, TRUE, Term, TermBuilder, definition_of};
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
    pub fn between(prefix: &[u8], low: Bound<&IndexKey>, high: Bound<&IndexKey>) -> TermRange {
        let sorts = |bound: &Bound<&IndexKey>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => sort(key),
            // What is no value has a place of its own, before all sorts.
            Bound::Unbounded => (FALSE, u8::MAX),
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

    /// All texts.
    pub fn texts(prefix: &[u8]) -> TermRange {
        let edge = |tag: u8| [prefix, &[tag]].concat();
        TermRange { from: edge(TEXT), until: edge(TEXT + 1) }
    }

    /// What is left of some ranges without one value. A term that is cut stays.
    pub fn without(prefix: &[u8], key: &IndexKey, ranges: Vec<TermRange>) -> Vec<TermRange> {
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
fn bytes(prefix: &[u8], key: &IndexKey) -> (Vec<u8>, bool) {
    if let Some(term) = definition_of(prefix).and_then(|definition| Term::derived(definition, key)) {
        return (term.as_bytes().to_vec(), term.is_cut());
    }
    let mut builder = TermBuilder(prefix.to_vec());
    match key {
        IndexKey::Value(value) => builder = builder.value(value),
        IndexKey::Time(time) => super::write_time(&mut builder.0, *time),
    }
    (builder.0, false)
}

/// The first and the last of the bytes that keys of this sort begin with.
fn sort(key: &IndexKey) -> (u8, u8) {
    match key {
        IndexKey::Value(Value::Bool(_)) => (FALSE, TRUE),
        IndexKey::Value(Value::Int(_) | Value::UInt(_) | Value::Float(_)) => (NUMBER, NUMBER),
        IndexKey::Value(Value::Text(_)) => (TEXT, TEXT),
        IndexKey::Value(Value::Null | Value::Array(_) | Value::Object(_)) => (0, 0),
        IndexKey::Time(_) => (TIME, TIME),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entity::Position;
    use crate::store::index::posting;
    use crate::store::index::term::{derived_prefix, tag_prefix};
    use crate::time::Timestamp;

    fn key() -> impl Strategy<Value = IndexKey> {
        let text = (0..3usize, "[\0ab]{0,2}").prop_map(|(long, end)| "a".repeat([0, 500, 700][long]) + &end);
        prop_oneof![
            any::<bool>().prop_map(|b| IndexKey::Value(b.into())),
            (-3..4i64).prop_map(|n| IndexKey::Value(n.into())),
            (-3..4i64).prop_map(|n| IndexKey::Time(Timestamp::from_millis(n))),
            text.prop_map(|text| IndexKey::Value(text.into())),
        ]
    }

    /// None across sorts.
    fn plain(a: &IndexKey, b: &IndexKey) -> Option<std::cmp::Ordering> {
        match (a, b) {
            (IndexKey::Time(a), IndexKey::Time(b)) => Some(a.cmp(b)),
            (IndexKey::Value(Value::Int(a)), IndexKey::Value(Value::Int(b))) => Some(a.cmp(b)),
            (IndexKey::Value(Value::Bool(a)), IndexKey::Value(Value::Bool(b))) => Some(a.cmp(b)),
            (IndexKey::Value(Value::Text(a)), IndexKey::Value(Value::Text(b))) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn bound(key: IndexKey, kind: usize) -> Bound<IndexKey> {
        [Bound::Included(key.clone()), Bound::Excluded(key), Bound::Unbounded][kind].clone()
    }

    proptest! {
        #[test]
        fn a_range_holds_what_lies_between(low in key(), high in key(), kinds in (0..3usize, 0..3usize), one in key(), position in 1..1u64 << 40) {
            let (low, high) = (bound(low, kinds.0), bound(high, kinds.1));
            let above = match &low {
                Bound::Included(low) => plain(&one, low).is_some_and(|order| order.is_ge()),
                Bound::Excluded(low) => plain(&one, low).is_some_and(|order| order.is_gt()),
                Bound::Unbounded => true,
            };
            let below = match &high {
                Bound::Included(high) => plain(&one, high).is_some_and(|order| order.is_le()),
                Bound::Excluded(high) => plain(&one, high).is_some_and(|order| order.is_lt()),
                Bound::Unbounded => true,
            };
            // Bounds of two sorts are refused before it comes to a range.
            let sorts = [&low, &high].map(|bound| match bound {
                Bound::Included(key) | Bound::Excluded(key) => Some(sort(key)),
                Bound::Unbounded => None,
            });
            prop_assume!(sorts[0].is_none() || sorts[1].is_none() || sorts[0] == sorts[1]);
            for prefix in [tag_prefix("x"), derived_prefix(Position(7))] {
                let range = TermRange::between(&prefix, low.as_ref(), high.as_ref());
                let (term, cut) = bytes(&prefix, &one);
                let lies_within = |term: &[u8]| range.from.as_slice() <= term && term < range.until.as_slice();
                let within = lies_within(&term);
                // A term and the keys of its chunks lie on one side.
                prop_assert_eq!(lies_within(&posting::key(&term, Position(position))), within);
                // Where terms are cut, a range may hold more, and never less.
                prop_assert!(within == (above && below) || within && cut, "{:?} in {:?} {:?}", one, low, high);
                if let Bound::Included(key) = &low {
                    let all = vec![TermRange::between(&prefix, Bound::Unbounded, Bound::Unbounded)];
                    let without = TermRange::without(&prefix, key, all);
                    let within = without
                        .iter()
                        .any(|range| range.from.as_slice() <= term.as_slice() && term < range.until);
                    prop_assert!(within == (one != *key) || within && cut);
                }
            }
        }
    }
}
