//! The tables as they are read: each step in a [guard](super::guard), so that what is damaged is an error.
//!
//! A search in a damaged page may go astray without an error: it compares keys, and a key may be damaged where no row is handed over.
//! Therefore [`ReadTable::within`] looks at the row before a range and at the one after it, too, and at the order of the keys.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use redb::{AccessGuard, Range, ReadOnlyTable, ReadableTable};

use super::guard::reading;
use super::{Bytes, failed, unsealed};
use crate::error::{Error, Result};

/// A table, to be read.
pub(super) struct ReadTable {
    table: ReadOnlyTable<Bytes, Bytes>,
    /// What is being read, for whoever is told that it is damaged.
    what: &'static str,
    poisoned: Arc<AtomicBool>,
}

/// A row, whose bytes can be had.
pub(super) struct Entry<'t> {
    key: AccessGuard<'t, Bytes>,
    value: AccessGuard<'t, Bytes>,
}

impl<'t> Entry<'t> {
    /// To be called in a guard: it looks whether the bytes can be had.
    fn of(key: AccessGuard<'t, Bytes>, value: AccessGuard<'t, Bytes>) -> Entry<'t> {
        let _ = (key.value(), value.value());
        Entry { key, value }
    }

    pub fn key(&self) -> &[u8] {
        self.key.value()
    }

    pub fn value(&self) -> &[u8] {
        self.value.value()
    }

    /// Its value alone.
    pub fn into_value(self) -> AccessGuard<'t, Bytes> {
        self.value
    }
}

/// The rows of a range.
pub(super) struct TableRows<'t> {
    rows: Range<'static, Bytes, Bytes>,
    table: &'t ReadTable,
    /// Where it begins, until the first row was found there.
    from: Option<Vec<u8>>,
}

impl TableRows<'_> {
    /// The next row. A search that went astray in a damaged page gives rows from before its range: whoever goes on from row to row
    /// by new searches would come to them again for ever.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'static>>> {
        let row = self.step(Range::next)?;
        if let Some(from) = self.from.take()
            && row.as_ref().is_some_and(|row| row.key() < from.as_slice())
        {
            return Err(Error::corrupt(self.table.what, "a row from before where it was sought"));
        }
        Ok(row)
    }

    #[inline]
    pub fn next_back(&mut self) -> Result<Option<Entry<'static>>> {
        self.step(Range::next_back)
    }

    #[inline]
    fn step(
        &mut self,
        step: impl FnOnce(
            &mut Range<'static, Bytes, Bytes>,
        ) -> Option<std::result::Result<EntryGuards, redb::StorageError>>,
    ) -> Result<Option<Entry<'static>>> {
        let TableRows { rows, table, .. } = self;
        table.guarded(|| match step(rows) {
            None => Ok(None),
            Some(Ok((key, value))) => Ok(Some(Entry::of(key, value))),
            Some(Err(error)) => Err(failed(table.what, error)),
        })
    }
}

type EntryGuards = (AccessGuard<'static, Bytes>, AccessGuard<'static, Bytes>);

impl ReadTable {
    /// To be called in a guard.
    pub fn new(
        table: ReadOnlyTable<Bytes, Bytes>,
        what: &'static str,
        poisoned: Arc<AtomicBool>,
    ) -> ReadTable {
        ReadTable { table, what, poisoned }
    }

    #[inline]
    fn guarded<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        reading(self.what, &self.poisoned, read)
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<AccessGuard<'static, Bytes>>> {
        self.guarded(|| {
            let found = self.table.get(key).map_err(|e| failed(self.what, e))?;
            if let Some(value) = &found {
                let _ = value.value();
            }
            Ok(found)
        })
    }

    /// The rows from one key to another.
    pub fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<TableRows<'_>> {
        let rows =
            self.guarded(|| self.table.range::<&[u8]>((from, to)).map_err(|e| failed(self.what, e)))?;
        let (Bound::Included(from) | Bound::Excluded(from)) = from else {
            return Ok(TableRows { rows, table: self, from: None });
        };
        Ok(TableRows { rows, table: self, from: Some(from.to_vec()) })
    }

    /// All rows.
    pub fn iter(&self) -> Result<TableRows<'_>> {
        self.range(Bound::Unbounded, Bound::Unbounded)
    }

    /// The last row.
    pub fn last(&self) -> Result<Option<Entry<'static>>> {
        self.iter()?.next_back()
    }

    /// The last row whose key is not greater. A cursor descends once, where a range would for each of its ends.
    pub fn at_or_before(&self, key: &[u8]) -> Result<Option<Entry<'_>>> {
        self.guarded(|| {
            let fault = |e| failed(self.what, e);
            let mut rows = self.table.upper_bound(Bound::Included(key)).map_err(fault)?;
            let found = rows.prev().map_err(fault)?;
            Ok(found.map(|(key, value)| Entry::of(key, value)))
        })
    }

    /// The rows on both sides of a key: the last before it and the first at or after it; or, if `behind` it, the last at or before it
    /// and the first after it. Where the search for it went astray, they do not enclose it: then that is an error.
    pub fn around(&self, key: &[u8], behind: bool) -> Result<(Option<Entry<'_>>, Option<Entry<'_>>)> {
        let (before, after) = self.guarded(|| {
            let fault = |e| failed(self.what, e);
            let mut rows = if behind {
                self.table.upper_bound(Bound::Included(key)).map_err(fault)?
            } else {
                self.table.lower_bound(Bound::Included(key)).map_err(fault)?
            };
            let before = rows.peek_prev().map_err(fault)?.map(|(key, value)| Entry::of(key, value));
            let after = rows.peek_next().map_err(fault)?.map(|(key, value)| Entry::of(key, value));
            Ok((before, after))
        })?;
        let lies_before = |row: &Entry| row.key() < key || (behind && row.key() == key);
        if before.as_ref().is_some_and(|row| !lies_before(row)) || after.as_ref().is_some_and(lies_before) {
            return Err(self.astray());
        }
        Ok((before, after))
    }

    fn astray(&self) -> Error {
        Error::corrupt(self.what, "a key that is not in order")
    }

    /// Looks at a row that is not handed over: a search has compared its key. An entry of an index of states had no checksum once,
    /// and no value.
    pub fn check(&self, row: Option<&Entry>) -> Result<()> {
        match row.filter(|row| !row.value().is_empty()) {
            None => Ok(()),
            Some(row) => unsealed(row.key(), row.value(), || self.what.to_owned()).map(drop),
        }
    }

    /// Hands over the rows from one key on and before another until it is told to stop; each with its value, if its checksum is right.
    ///
    /// # Errors
    /// Where rows are missing or out of order, as far as that shows at those that are there.
    pub fn within(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        mut row: impl FnMut(&[u8], Result<&[u8]>) -> Result<bool>,
    ) -> Result<()> {
        let place = || self.what.to_owned();
        self.within_as_it_is(from, until, |key, value| row(key, unsealed(key, value, place)))
    }

    /// The same, for whoever looks at the checksums of rows.
    pub fn within_as_it_is(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let fault = |e| failed(self.what, e);
        // One descent for both: a range would make another.
        let (mut rows, before) = self.guarded(|| {
            let mut rows = self.table.lower_bound(Bound::Included(from)).map_err(fault)?;
            let before = rows.peek_prev().map_err(fault)?.map(|(key, value)| Entry::of(key, value));
            Ok((rows, before))
        })?;
        if before.as_ref().is_some_and(|row| row.key() >= from) {
            return Err(self.astray());
        }
        // The search compared the first with this one.
        self.check(before.as_ref())?;
        let mut last: Option<Entry> = None;
        while let Some(next) = self.guarded(|| {
            let next = rows.next().map_err(fault)?;
            Ok(next.map(|(key, value)| Entry::of(key, value)))
        })? {
            let key = next.key();
            if key < from || last.as_ref().is_some_and(|last| key <= last.key()) {
                return Err(self.astray());
            }
            if until.is_some_and(|until| key >= until) {
                return self.check(Some(&next));
            }
            if !row(key, next.value())? {
                return Ok(());
            }
            last = Some(next);
        }
        Ok(())
    }

    /// The same from the last one before a key on, backwards down to another, each with its value.
    pub fn within_backwards(
        &self,
        from: &[u8],
        until: &[u8],
        mut row: impl FnMut(&[u8], Result<&[u8]>) -> Result<bool>,
    ) -> Result<()> {
        let fault = |e| failed(self.what, e);
        let (mut rows, after) = self.guarded(|| {
            let mut rows = self.table.lower_bound(Bound::Included(until)).map_err(fault)?;
            let after = rows.peek_next().map_err(fault)?.map(|(key, value)| Entry::of(key, value));
            Ok((rows, after))
        })?;
        if after.as_ref().is_some_and(|row| row.key() < until) {
            return Err(self.astray());
        }
        self.check(after.as_ref())?;
        let mut last: Option<Entry> = None;
        while let Some(next) = self.guarded(|| {
            let next = rows.prev().map_err(fault)?;
            Ok(next.map(|(key, value)| Entry::of(key, value)))
        })? {
            let key = next.key();
            if key >= until || last.as_ref().is_some_and(|last| key >= last.key()) {
                return Err(self.astray());
            }
            if key < from {
                return self.check(Some(&next));
            }
            if !row(key, unsealed(key, next.value(), || self.what.to_owned()))? {
                return Ok(());
            }
            last = Some(next);
        }
        Ok(())
    }

    /// The key of the row behind one that cannot be read from where on rows can be read again; none if there is none before another. It
    /// does not look everywhere: what lies between may be more than what is damaged.
    pub fn readable_after(&self, damaged: &[u8], until: Option<&[u8]>) -> Option<Vec<u8>> {
        let first_from = |from: &[u8]| {
            let rows = self.range(Bound::Included(from), until.map_or(Bound::Unbounded, Bound::Excluded));
            rows.and_then(|mut rows| rows.next())
        };
        // What is not read now is not read then.
        let readable = |from: &[u8]| {
            first_from(from).map(|first| first.is_none_or(|first| first.key() >= from)).unwrap_or(false)
        };
        let below = |key: &[u8]| until.is_none_or(|until| key < until);
        // There may be keys that are longer.
        let mut low = damaged.to_vec();
        low.resize(damaged.len().max(SHORTEST - LONGER) + LONGER, 0);
        let padded = low.clone();
        // Further and further away.
        let mut farther = (0..padded.len()).rev().filter_map(|at| {
            let mut key = padded[..=at].to_vec();
            let byte = key.last_mut()?;
            *byte = byte.checked_add(1)?;
            Some(key)
        });
        let mut high = loop {
            let key = match farther.next() {
                Some(key) if below(&key) => key,
                // The last step is as far as it goes.
                _ => break until?.to_vec(),
            };
            if readable(&key) {
                break key;
            }
            low = key;
        };
        // And back, as near as it can be.
        for _ in 0..NEARER {
            let Some(middle) = middle(&low, &high) else { break };
            if readable(&middle) {
                high = middle
            } else {
                low = middle
            };
        }
        // A row has its key from here on: what leads to it may be another one.
        first_from(&high).ok().flatten().map(|row| row.key().to_vec())
    }
}

/// How long the keys are at least by which it is looked for what can be read, and how much longer than those of rows.
const SHORTEST: usize = 16;
const LONGER: usize = 4;

/// How often it is looked for something nearer.
const NEARER: usize = 96;

/// A key between two, if there is one that is not much longer than they are.
fn middle(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let length = low.len().max(high.len()) + 1;
    let at = |key: &[u8], place: usize| u16::from(key.get(place).copied().unwrap_or(0));
    // Half of the sum, digit by digit: first the sum, from the back.
    let (mut sum, mut carry) = (vec![0u16; length], 0);
    for place in (0..length).rev() {
        let digit = at(low, place) + at(high, place) + carry;
        (sum[place], carry) = (digit & 0xff, digit >> 8);
    }
    let mut key = Vec::with_capacity(length);
    for digit in sum {
        let digit = digit | carry << 8;
        key.push((digit >> 1) as u8);
        carry = digit & 1;
    }
    while key.len() > low.len().max(high.len()) || key.last() == Some(&0) {
        key.pop();
    }
    (key.as_slice() > low && key.as_slice() < high).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_two_keys_is_between_them() {
        assert_eq!(middle(&[0, 0, 10], &[0, 0, 20]), Some(vec![0, 0, 15]));
        assert_eq!(middle(&[0, 255, 0], &[1, 1, 0]), Some(vec![1]));
        assert_eq!(middle(&[7], &[8]), None);
        assert_eq!(middle(&[7, 3], &[8]), Some(vec![7, 129]));
        assert_eq!(middle(&[200], &[250, 1]), Some(vec![225]));
    }
}
