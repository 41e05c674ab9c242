//! A batch of states: some of them in their order, in one piece of memory that is filled again and again.

use std::collections::BTreeMap;

use super::IdRange;

/// States, each with its id; none of what is to be folded. They are taken from the front.
#[derive(Debug, Default)]
pub(crate) struct StateBatch {
    bytes: Vec<u8>,
    rows: Vec<PageRow>,
    next: usize,
    /// Room to work in.
    spare: Vec<u8>,
}

/// Where a row is: its id, and behind that its state.
#[derive(Debug, Clone, Copy)]
struct PageRow {
    start: usize,
    id: usize,
    state: Option<usize>,
}

impl PageRow {
    fn id(self, bytes: &[u8]) -> &str {
        // It was put there as text.
        std::str::from_utf8(bytes.get(self.start..self.start + self.id).unwrap_or_default())
            .unwrap_or_default()
    }

    fn state(self, bytes: &[u8]) -> Option<&[u8]> {
        let start = self.start + self.id;
        self.state.and_then(|length| bytes.get(start..start + length))
    }
}

fn put(bytes: &mut Vec<u8>, id: &str, state: Option<&[u8]>) -> PageRow {
    let start = bytes.len();
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(state.unwrap_or_default());
    PageRow { start, id: id.len(), state: state.map(<[u8]>::len) }
}

impl StateBatch {
    /// Adds one behind all others.
    pub fn push(&mut self, id: &str, state: Option<&[u8]>) {
        let row = put(&mut self.bytes, id, state);
        self.rows.push(row);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.next = 0;
    }

    /// How many there are, those that were taken included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many bytes they take.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Passes on to the next, if there is one.
    pub fn take_next(&mut self) -> bool {
        self.next = self.next.saturating_add(1).min(self.rows.len() + 1);
        self.next <= self.rows.len()
    }

    /// The one that was passed on to.
    pub fn current(&self) -> (&str, Option<&[u8]>) {
        let row = self.next.checked_sub(1).and_then(|at| self.rows.get(at));
        row.map_or(("", None), |row| (row.id(&self.bytes), row.state(&self.bytes)))
    }

    /// Puts other states of a range in the place of those that are here, and those that are not here among them.
    pub fn merge(&mut self, newer: &BTreeMap<String, Option<Vec<u8>>>, range: &IdRange) {
        let mut newer = range.of(newer).peekable();
        if newer.peek().is_none() {
            return;
        }
        let StateBatch { bytes, rows, spare, .. } = self;
        spare.clear();
        let mut merged = Vec::with_capacity(rows.len());
        for row in rows.iter() {
            let id = row.id(bytes);
            while let Some((other, state)) = newer.next_if(|(other, _)| other.as_str() < id) {
                merged.push(put(spare, other, state.as_deref()));
            }
            let state = match newer.next_if(|(other, _)| other.as_str() == id) {
                Some((_, state)) => state.as_deref(),
                None => row.state(bytes),
            };
            merged.push(put(spare, id, state));
        }
        merged.extend(newer.map(|(id, state)| put(spare, id, state.as_deref())));
        std::mem::swap(bytes, spare);
        *rows = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(page: &mut StateBatch) -> Vec<(String, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        while page.take_next() {
            let (id, state) = page.current();
            found.push((id.to_owned(), state.map(<[u8]>::to_vec)));
        }
        assert!(!page.take_next() && !page.take_next());
        found
    }

    proptest! {
        #[test]
        fn what_is_merged_is_what_a_map_makes_of_both(
            kept in prop::collection::btree_map("[a-c]{0,2}", prop::option::of(prop::collection::vec(any::<u8>(), 0..3)), 0..9),
            newer in prop::collection::btree_map("[a-c]{0,2}", prop::option::of(prop::collection::vec(any::<u8>(), 0..3)), 0..9),
            // No longer ids than those of which there is none behind the last.
            after in prop::option::of("[a-c]{0,1}"),
        ) {
            let kept: BTreeMap<_, _> =
                kept.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id > after)).collect();
            let mut page = StateBatch::default();
            for ends in [true, false] {
                let last = kept.keys().next_back().filter(|_| !ends).map(String::as_str);
                page.clear();
                kept.iter().for_each(|(id, state)| page.push(id, state.as_deref()));
                let range = IdRange::ALL;
                let range = after.as_ref().map_or(range.clone(), |after| range.behind(after));
                page.merge(&newer, &last.map_or(range.clone(), |last| range.through(last)));
                let within = |id: &String| {
                    after.as_ref().is_none_or(|after| id > after) && last.is_none_or(|last| id.as_str() <= last)
                };
                let mut expected = kept.clone();
                expected.extend(newer.iter().filter(|(id, _)| within(id)).map(|(id, state)| (id.clone(), state.clone())));
                prop_assert_eq!(page.len(), expected.len());
                prop_assert_eq!(taken(&mut page), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
