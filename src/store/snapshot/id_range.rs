//! Some of the entities of a kind: those whose ids lie between two.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use crate::entity::IdText;

/// Ids between two bounds, in the order of their bytes, in which entities are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdRange {
    from: Bound<String>,
    to: Bound<String>,
}

impl IdRange {
    pub const ALL: IdRange = IdRange { from: Unbounded, to: Unbounded };

    pub fn new(from: Bound<&str>, to: Bound<&str>) -> IdRange {
        IdRange { from: from.map(str::to_owned), to: to.map(str::to_owned) }
    }

    /// All ids that begin so.
    pub fn beginning_with(prefix: &str) -> IdRange {
        let next = |c: char| (u32::from(c) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        let mut end: Vec<char> = prefix.chars().collect();
        let to = loop {
            match end.pop().map(next) {
                None => break Unbounded,
                Some(None) => {}
                Some(Some(c)) => {
                    end.push(c);
                    break Excluded(end.into_iter().collect());
                }
            }
        };
        IdRange { from: Included(prefix.to_owned()), to }
    }

    /// What is in both.
    pub fn and(&self, other: &IdRange) -> IdRange {
        let from = if self.begins_after(&other.from) { &self.from } else { &other.from };
        let to = if self.ends_before(&other.to) { &self.to } else { &other.to };
        IdRange { from: from.clone(), to: to.clone() }
    }

    fn begins_after(&self, from: &Bound<String>) -> bool {
        match (&self.from, from) {
            (Unbounded, _) => false,
            (_, Unbounded) => true,
            (Excluded(own), Included(other)) => own >= other,
            (Included(own) | Excluded(own), Included(other) | Excluded(other)) => own > other,
        }
    }

    fn ends_before(&self, to: &Bound<String>) -> bool {
        match (&self.to, to) {
            (Unbounded, _) => false,
            (_, Unbounded) => true,
            (Excluded(own), Included(other)) => own <= other,
            (Included(own) | Excluded(own), Included(other) | Excluded(other)) => own < other,
        }
    }

    /// What of it is behind an id.
    pub fn behind(&self, id: &str) -> IdRange {
        self.and(&IdRange { from: Excluded(id.to_owned()), to: Unbounded })
    }

    /// What of it is up to an id, and that.
    pub fn through(&self, id: &str) -> IdRange {
        self.and(&IdRange { from: Unbounded, to: Included(id.to_owned()) })
    }

    pub fn has(&self, id: &str) -> bool {
        !self.is_before(id) && !self.is_passed(id)
    }

    /// Whether it begins behind an id.
    fn is_before(&self, id: &str) -> bool {
        match &self.from {
            Unbounded => false,
            Included(from) => id < from.as_str(),
            Excluded(from) => id <= from.as_str(),
        }
    }

    /// Whether an id, and what comes after it, is behind its end.
    pub fn is_passed(&self, id: &str) -> bool {
        match &self.to {
            Unbounded => false,
            Included(to) => id > to.as_str(),
            Excluded(to) => id >= to.as_str(),
        }
    }

    /// The id that it begins with or behind.
    pub fn from(&self) -> Bound<&str> {
        self.from.as_ref().map(String::as_str)
    }

    /// Where the first of it is, among ids as they are stored.
    pub fn start(&self) -> Vec<u8> {
        match &self.from {
            Unbounded => Vec::new(),
            Included(from) => from.as_bytes().to_vec(),
            Excluded(from) => [from.as_bytes(), &[0]].concat(),
        }
    }

    /// What a map has of it.
    pub fn of<'m, V>(&self, map: &'m BTreeMap<String, V>) -> impl Iterator<Item = (&'m String, &'m V)> {
        let to = self.clone();
        map.range::<str, _>((self.from(), Unbounded)).take_while(move |(id, _)| !to.is_passed(id))
    }
}

impl Display for IdRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("those")?;
        match &self.from {
            Unbounded => {}
            Included(from) => write!(f, " from {} on", IdText(from))?,
            Excluded(from) => write!(f, " after {}", IdText(from))?,
        }
        match &self.to {
            Unbounded => Ok(()),
            Included(to) => write!(f, " through {}", IdText(to)),
            Excluded(to) => write!(f, " before {}", IdText(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound() -> impl Strategy<Value = Bound<String>> {
        prop_oneof![Just(Unbounded), "[a-c]{0,2}".prop_map(Included), "[a-c]{0,2}".prop_map(Excluded)]
    }

    fn range() -> impl Strategy<Value = IdRange> {
        (bound(), bound()).prop_map(|(from, to)| IdRange { from, to })
    }

    proptest! {
        #[test]
        fn what_begins_so_is_in_it(prefix in "[a\u{ff}\u{d7ff}\u{10ffff}]{0,3}", id in "[a\u{ff}\u{d7ff}\u{e000}\u{10ffff}]{0,4}") {
            prop_assert_eq!(IdRange::beginning_with(&prefix).has(&id), id.starts_with(&prefix));
        }

        #[test]
        fn what_is_in_both_is_in_each(one in range(), other in range(), id in "[a-c]{0,2}", at in "[a-c]{0,2}") {
            prop_assert_eq!(one.and(&other).has(&id), one.has(&id) && other.has(&id));
            prop_assert_eq!(one.behind(&at).has(&id), one.has(&id) && id > at);
            prop_assert_eq!(one.through(&at).has(&id), one.has(&id) && id <= at);
            let is_from = id.as_bytes() >= one.start().as_slice();
            prop_assert_eq!(is_from, IdRange { to: Unbounded, ..one.clone() }.has(&id));
        }

        #[test]
        fn a_map_has_what_it_has(range in range(), ids in prop::collection::btree_set("[a-c]{0,2}", 0..12)) {
            let map: BTreeMap<String, ()> = ids.iter().map(|id| (id.clone(), ())).collect();
            let found: Vec<&String> = range.of(&map).map(|(id, ())| id).collect();
            prop_assert_eq!(found, ids.iter().filter(|id| range.has(id)).collect::<Vec<_>>());
        }
    }
}
