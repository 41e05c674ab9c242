//! Vector clocks: of the events that made something what it is, how many were made on which node.
//!
//! The text of one is `node:count;node:count`, its nodes in order. It is how one is stored and how it is shown.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result, shorten};

/// A vector clock: how many events were made on which node.
///
/// The model that made an event can say it ([`Producer::vector`](crate::append::Producer::vector)); its version is then the sum. Two that
/// went apart are merged by taking of each node the larger count.
///
/// ```
/// use bygone::append::VectorClock;
/// let mut clock: VectorClock = "paris:3;tokyo:5".parse()?;
/// clock.merge(&"oslo:1;paris:4".parse()?);
/// assert_eq!(clock.to_string(), "oslo:1;paris:4;tokyo:5");
/// assert_eq!((clock.sum()?, clock.get("paris"), clock.get("rome")), (10, 4, 0));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VectorClock(BTreeMap<String, u64>);

impl VectorClock {
    /// The most that a count can be.
    pub(crate) const MOST: u64 = (1 << 53) - 1;

    /// One without any node.
    pub fn new() -> VectorClock {
        VectorClock::default()
    }

    /// The same with another count of a node; 0 leaves the node out.
    ///
    /// # Errors
    /// If the name of the node is empty, or has `:`, `;`, white space or control characters in it; if the count is beyond 2⁵³ − 1.
    pub fn with(mut self, node: &str, count: u64) -> Result<VectorClock> {
        if !is_node(node) {
            return Err(unfit("the node of a vector clock", "a name without : ; and white space", node));
        }
        if count > VectorClock::MOST {
            let found = count.to_string();
            return Err(Error::invalid(
                "the count of a vector clock",
                format!("at most {}", VectorClock::MOST),
                found,
            ));
        }
        self.set(node, count);
        Ok(self)
    }

    pub(crate) fn set(&mut self, node: &str, count: u64) {
        match count {
            0 => drop(self.0.remove(node)),
            _ => drop(self.0.insert(node.to_owned(), count)),
        }
    }

    /// How many events were made on a node.
    pub fn get(&self, node: &str) -> u64 {
        self.0.get(node).copied().unwrap_or(0)
    }

    /// How many events were made on all nodes together.
    ///
    /// # Errors
    /// If there are more than a number can tell.
    pub fn sum(&self) -> Result<u64> {
        let sum = self.0.values().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let expected = || format!("counts of at most {} together", u64::MAX);
        sum.ok_or_else(|| Error::invalid("a vector clock", expected(), shorten(&self.to_string())))
    }

    /// Takes of each node the larger count.
    pub fn merge(&mut self, other: &VectorClock) {
        for (node, &count) in &other.0 {
            match self.0.entry(node.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(count)),
                Entry::Occupied(mut entry) => *entry.get_mut() = count.max(*entry.get()),
            }
        }
    }

    /// The nodes and their counts, the nodes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(node, &count)| (node.as_str(), count))
    }

    /// Whether no node has made an event.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_node(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| matches!(c, ':' | ';') || c.is_control() || c.is_whitespace())
}

fn unfit(what: &str, expected: &str, found: &str) -> Error {
    Error::invalid(what, expected, format!("'{}'", shorten(found)))
}

impl FromStr for VectorClock {
    type Err = Error;

    fn from_str(text: &str) -> Result<VectorClock> {
        let mut counts = BTreeMap::new();
        for part in text.split(';') {
            let form = "node:count;node:count, with names without white space and counts from 1 on";
            let read = part.split_once(':').filter(|(node, _)| is_node(node)).and_then(|(node, count)| {
                // A sign is no digit.
                let digits = count.bytes().all(|byte| byte.is_ascii_digit());
                let count =
                    count.parse().ok().filter(|count| digits && (1..=VectorClock::MOST).contains(count))?;
                Some((node.to_owned(), count))
            });
            let Some((node, count)) = read else { return Err(unfit("a vector clock", form, text)) };
            if counts.insert(node, count).is_some() {
                return Err(unfit("a vector clock", "each node once", text));
            }
        }
        Ok(VectorClock(counts))
    }
}

impl fmt::Display for VectorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (node, count)) in self.iter().enumerate() {
            write!(f, "{}{node}:{count}", if at > 0 { ";" } else { "" })?;
        }
        Ok(())
    }
}

impl Serialize for VectorClock {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_vector() -> impl Strategy<Value = VectorClock> {
        let nodes = prop::collection::btree_map("[a-d]|[^:;\\s\\p{C}]{1,8}", 1..=VectorClock::MOST, 1..6);
        nodes.prop_map(VectorClock)
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(vector in any_vector()) {
            prop_assert_eq!(vector.to_string().parse::<VectorClock>().unwrap(), vector);
        }

        #[test]
        fn merged_it_has_of_each_node_the_larger_count(a in any_vector(), b in any_vector()) {
            let mut merged = a.clone();
            merged.merge(&b);
            for (node, count) in merged.iter() {
                prop_assert_eq!(count, a.get(node).max(b.get(node)));
            }
            let mut other_way = b.clone();
            other_way.merge(&a);
            prop_assert_eq!(&merged, &other_way);
            merged.merge(&b);
            prop_assert_eq!(merged, other_way);
        }

        #[test]
        fn a_sum_is_exact_or_an_error(vector in any_vector()) {
            let sum: u128 = vector.iter().map(|(_, count)| u128::from(count)).sum();
            prop_assert_eq!(vector.sum().ok(), u64::try_from(sum).ok());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ab:;0-9+ ]{0,12}|.*") {
            if let Ok(vector) = text.parse::<VectorClock>() {
                prop_assert_eq!(vector.to_string().parse::<VectorClock>().unwrap(), vector);
            }
        }
    }

    #[test]
    fn what_is_no_vector_is_told() {
        for text in
            ["", "a", "a:", ":1", "a:0", "a:+1", "a:-1", "a:1;", "a:1; b:2", "a b:1", "a:1:2", "\u{7}:1"]
        {
            let error = text.parse::<VectorClock>().unwrap_err().to_string();
            assert!(error.contains("node:count"), "{text}: {error}");
        }
        assert!("a:1;a:2".parse::<VectorClock>().unwrap_err().to_string().contains("each node once"));
        assert!("a:9007199254740992".parse::<VectorClock>().is_err());
        assert_eq!(
            "b:1;a:9007199254740991".parse::<VectorClock>().unwrap().to_string(),
            "a:9007199254740991;b:1"
        );
    }

    #[test]
    fn a_node_has_a_name_and_0_is_none() {
        assert!(VectorClock::new().with("a:b", 1).is_err());
        assert!(VectorClock::new().with("", 1).is_err());
        assert!(VectorClock::new().with("a", u64::MAX).is_err());
        assert!(VectorClock::new().with("a", 1).unwrap().with("a", 0).unwrap().is_empty());
    }
}
