//! Alignment: which items of an array were made of which of the one before.
//!
//! Items at both ends that are the same stay what they are. Of those between, as many as can be in one order are the same (in long
//! arrays only if nothing but added or taken away explains it); from one such to the next, item stands against item, and what
//! is left over was added or taken away. So whoever appends, prepends, inserts or takes away touches no other item.

use crate::value::Value;

/// How many pairs of items are compared at most, to find the longest row that both arrays have.
const PAIRS: usize = 1 << 14;

/// Which items were made of which.
#[derive(Debug, PartialEq)]
pub(super) struct ArrayDiff {
    old: usize,
    new: usize,
    /// How many are the same at the beginning.
    prefix: usize,
    /// How many are the same at the end.
    suffix: usize,
    /// For each new item between, the old one that it was made of; growing.
    middle: Vec<Option<usize>>,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemOrigin {
    /// It is the old one at this index, maybe with another content.
    Of(usize),
    /// There was none.
    Added,
}

impl ArrayDiff {
    pub fn of(old: &[Value], new: &[Value]) -> ArrayDiff {
        let prefix = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
        let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
        let suffix = ends.take_while(|(old, new)| old == new).count();
        let was = &old_rest[..old_rest.len() - suffix];
        let is = &new_rest[..new_rest.len() - suffix];
        let mut middle = vec![None; is.len()];
        let (mut from, mut to) = (0, 0);
        for (kept, at) in same(was, is).into_iter().chain([(was.len(), is.len())]) {
            // What lies before it on both sides.
            for (from, to) in (from..kept).zip(to..at) {
                middle[to] = Some(prefix + from);
            }
            if let Some(made) = middle.get_mut(at) {
                *made = Some(prefix + kept);
            }
            (from, to) = (kept + 1, at + 1);
        }
        ArrayDiff { old: old.len(), new: new.len(), prefix, suffix, middle }
    }

    /// Whether every item is the one it was.
    pub fn is_same(&self) -> bool {
        self.old == self.new && self.prefix == self.new
    }

    /// For each new item, what it was made of.
    pub fn made(&self) -> impl Iterator<Item = ItemOrigin> {
        let first = (0..self.prefix).map(ItemOrigin::Of);
        let middle = self.middle.iter().map(|of| of.map_or(ItemOrigin::Added, ItemOrigin::Of));
        first.chain(middle).chain((self.old - self.suffix..self.old).map(ItemOrigin::Of))
    }

    /// The old items that nothing was made of, the last of them first.
    pub fn taken(&self) -> impl Iterator<Item = usize> {
        let mut kept = self.middle.iter().rev().flatten().peekable();
        (self.prefix..self.old - self.suffix)
            .rev()
            .filter(move |at| kept.next_if(|kept| *kept == at).is_none())
    }
}

/// The items that are the same in both, in the same order, by their places in both: as many as there can be.
fn same(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if let Some(places) = within(new, old) {
        return places.into_iter().zip(0..).collect();
    }
    if let Some(places) = within(old, new) {
        return (0..).zip(places).collect();
    }
    if old.len() * new.len() > PAIRS {
        return Vec::new();
    }
    // For each place in both, how many there are from there on.
    let width = new.len() + 1;
    let mut from_here = vec![0u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            from_here[i * width + j] = if old[i] == new[j] {
                from_here[(i + 1) * width + j + 1] + 1
            } else {
                from_here[(i + 1) * width + j].max(from_here[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < old.len() && j < new.len() {
        let (here, down) = (from_here[i * width + j], from_here[(i + 1) * width + j]);
        if here > down && here > from_here[i * width + j + 1] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if here == down {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Where the items of one array are in another that has all of them in the same order; none if it has not.
fn within(few: &[Value], many: &[Value]) -> Option<Vec<usize>> {
    if few.len() >= many.len() {
        return few.is_empty().then(Vec::new);
    }
    let mut from = 0;
    let mut places = Vec::with_capacity(few.len());
    for item in few {
        let at = from + many[from..].iter().position(|other| other == item)?;
        places.push(at);
        from = at + 1;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(text: &str) -> Vec<Value> {
        text.chars().map(|c| c.to_string().into()).collect()
    }

    /// What each new item was made of, `+` for those that were added; and what was taken away.
    fn aligned(old: &str, new: &str) -> String {
        let (old, new) = (items(old), items(new));
        let alignment = ArrayDiff::of(&old, &new);
        assert_eq!(alignment.is_same(), old == new);
        let made = alignment.made().map(|made| match made {
            ItemOrigin::Of(at) => at.to_string(),
            ItemOrigin::Added => "+".to_owned(),
        });
        let made: String = made.collect();
        let taken: String = alignment.taken().map(|at| at.to_string()).collect();
        format!("{made}-{taken}")
    }

    #[test]
    fn what_only_moved_is_what_it_was() {
        for (old, new, expected) in [
            ("abc", "abc", "012-"),
            ("", "ab", "++-"),
            ("ab", "", "-10"),
            ("abc", "abcd", "012+-"),
            ("abc", "xabc", "+012-"),
            ("abc", "axbyc", "0+1+2-"),
            ("abc", "ac", "02-1"),
            ("abcdef", "bdf", "135-420"),
            ("aaa", "aa", "01-2"),
            ("abc", "axc", "012-"),
            ("abc", "xyz", "012-"),
            ("abc", "xyzu", "012+-"),
            ("abcd", "xy", "01-32"),
            ("ab", "bc", "1+-0"),
            ("abcde", "xbdey", "0134+-2"),
            ("abcdef", "bxdyfz", "12345+-0"),
        ] {
            assert_eq!(aligned(old, new), expected, "{old} {new}");
        }
    }

    proptest! {
        #[test]
        fn every_item_is_told_once(old in "[abc]{0,7}", new in "[abc]{0,7}") {
            let (old, new) = (items(&old), items(&new));
            let alignment = ArrayDiff::of(&old, &new);
            let made: Vec<ItemOrigin> = alignment.made().collect();
            prop_assert_eq!(made.len(), new.len());
            let mut told: Vec<usize> =
                made.iter().filter_map(|made| match made { ItemOrigin::Of(at) => Some(*at), ItemOrigin::Added => None }).collect();
            prop_assert!(told.is_sorted());
            let taken: Vec<usize> = alignment.taken().collect();
            prop_assert!(taken.is_sorted_by(|a, b| a > b));
            told.extend(taken);
            told.sort_unstable();
            prop_assert_eq!(told, (0..old.len()).collect::<Vec<_>>());
        }
    }
}
