//! Memtables: what is in the journal and not yet in the tables, ready to read.
//!
//! A memtable holds stored events and the posting lists of their terms. There is one active memtable, which
//! grows, and at most one frozen, which the checkpointer is moving into the tables. Together they hold every position
//! from C to the head.

mod encrypted;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use indexmap::IndexMap;

use super::catalog::Catalog;
use super::index::term::{Term, TermRange};
use super::keyring::{GivenKey, KeySource};
use super::read_form::read_form;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
pub(crate) use encrypted::StoredForm;
use encrypted::{EncryptedEvents, SubjectLists};

/// What an entry costs beside its bytes: the allocation, the entry of the map, the position.
const EVENT_COST: usize = 48;
const TERM_COST: usize = 24;

/// So many terms get their places in the order while whoever appends waits.
const ORDERED: usize = 4096;

/// Events in memory, and their posting lists.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// The position of its first event.
    pub first: Position,
    inner: RwLock<MemtableInner>,
    /// The places of the first of its terms, by their order: as many as there were when that was last asked for.
    order: RwLock<BTreeMap<Term, usize>>,
    subjects: RwLock<SubjectLists>,
}

#[derive(Debug, Default)]
pub(crate) struct MemtableInner {
    /// None where its private values are encrypted: those are beside it.
    events: Vec<Option<Arc<[u8]>>>,
    encrypted: EncryptedEvents,
    /// What they say of the keys of subjects, with where.
    keys: Vec<(Position, GivenKey)>,
    /// The lists but those of subjects, found by the hash of their terms: nearly all appends, and most reads, ask for one.
    terms: IndexMap<Term, MemtablePostings>,
    bytes: usize,
}

/// The part of a posting list that is in a memtable.
#[derive(Debug, Default)]
pub(crate) struct MemtablePostings {
    /// How many entries the whole list has before these; 0 in lists that are not counted.
    before: u64,
    positions: Vec<Position>,
}

impl MemtablePostings {
    /// Its positions, ascending.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Those within a range.
    fn within(&self, range: PositionRange) -> &[Position] {
        range.of(&self.positions)
    }
}

/// How far a counted list goes: how many entries it has, and the last of them; the start where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ListEnd {
    pub count: u64,
    pub last: Position,
}

/// An event on its way into a memtable.
#[derive(Debug)]
pub(crate) struct Staged {
    /// With its private values in plain: whoever appended it is told of it so.
    pub bytes: Arc<[u8]>,
    /// As it is stored, where that is encrypted.
    pub encrypted: Option<StoredForm>,
    /// Which keys it gives to subjects, or takes away; of one that is recovered, all that it has values under.
    pub keys: Vec<GivenKey>,
    pub terms: Vec<Term>,
    /// Its place in the history of its entity; 0 if it has none.
    pub version: u64,
}

impl Staged {
    /// As it is stored. `frame` is the payload of the frame that it came in.
    ///
    /// # Errors
    /// If that is another.
    pub fn stored<'b>(&'b self, frame: &'b [u8]) -> Result<&'b [u8]> {
        match &self.encrypted {
            None => Ok(&self.bytes),
            Some(stored) => stored
                .bytes(frame)
                .ok_or_else(|| Error::corrupt("a frame", "another than the one of its events")),
        }
    }
}

impl Memtable {
    pub fn new(first: Position) -> Memtable {
        Memtable { first, inner: RwLock::default(), order: RwLock::default(), subjects: RwLock::default() }
    }

    /// Adds events at the end, which came in a frame with this payload. Readers do not see them before the head says so.
    ///
    /// # Errors
    /// If it is another: those before are added.
    pub fn extend(&self, events: impl IntoIterator<Item = Staged>, frame: &[u8]) -> Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let position = self.first.plus(inner.events.len() as u64);
            if event.encrypted.is_some() {
                let place = inner.events.len();
                inner.bytes += inner.encrypted.push(place, event.stored(frame)?) + size_of::<Arc<[u8]>>();
                inner.events.push(None);
            } else {
                inner.bytes += event.bytes.len() + EVENT_COST;
                inner.events.push(Some(event.bytes));
            }
            inner.keys.extend(event.keys.into_iter().map(|key| (position, key)));
            for term in event.terms {
                inner.bytes += term.as_bytes().len() + TERM_COST;
                let before = if term.is_counted() { event.version.saturating_sub(1) } else { 0 };
                let list = inner
                    .terms
                    .entry(term)
                    .or_insert_with(|| MemtablePostings { before, positions: Vec::new() });
                list.positions.push(position);
            }
        }
        Ok(())
    }

    pub fn read(&self) -> RwLockReadGuard<'_, MemtableInner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events it has, and how many bytes of memory it takes, roughly.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.read();
        (inner.events.len(), inner.bytes)
    }

    /// The position of its last event; one before its first if it has none.
    pub fn last(&self) -> Position {
        self.first.plus(self.read().events.len() as u64).previous()
    }

    /// An event as it is stored.
    fn stored(&self, position: Position) -> Option<Arc<[u8]>> {
        let at = position.index_from(self.first)?;
        let inner = self.read();
        match inner.events.get(at)? {
            Some(bytes) => Some(bytes.clone()),
            None => inner.encrypted.get(at).map(Arc::from),
        }
    }

    /// The entries of a list within a range.
    pub fn list(&self, term: &Term, range: PositionRange) -> Vec<Position> {
        if term.is_of_subject() {
            return self.subjects().within(term, range).to_vec();
        }
        self.read().terms.get(term).map_or_else(Vec::new, |list| list.within(range).to_vec())
    }

    /// How many entries a list has within a range, and the last of them.
    pub fn count(&self, term: &Term, range: PositionRange) -> (u64, Option<Position>) {
        if term.is_of_subject() {
            let subjects = self.subjects();
            let within = subjects.within(term, range);
            return (within.len() as u64, within.last().copied());
        }
        let inner = self.read();
        let within = inner.terms.get(term).map_or([].as_slice(), |list| list.within(range));
        (within.len() as u64, within.last().copied())
    }

    /// Adds the entries within some positions of all terms in a range.
    pub fn sweep(&self, range: &TermRange, within: PositionRange, entries: &mut Vec<Position>) {
        if range.is_empty() {
            return;
        }
        let (order, inner) = (self.ordered(), self.read());
        for (_, place) in order.range(Term::from_bytes(&range.from)..Term::from_bytes(&range.until)) {
            let list = inner.terms.get_index(*place);
            entries.extend_from_slice(list.map_or(&[], |(_, list)| list.within(within)));
        }
    }

    /// How many entries a counted list has in all, and the last of them, if one of them is here.
    pub fn total(&self, term: &Term) -> Option<ListEnd> {
        let inner = self.read();
        let list = inner.terms.get(term)?;
        let last = list.positions.last().copied()?;
        Some(ListEnd { count: list.before + list.positions.len() as u64, last })
    }

    /// The first term at or after some bytes that has an entry up to a position.
    pub fn term_at(&self, from: &[u8], last: Position) -> Option<Term> {
        let (order, inner) = (self.ordered(), self.read());
        let is_there = |place: &usize| {
            let list = inner.terms.get_index(*place);
            list.and_then(|(_, list)| list.positions.first()).is_some_and(|&first| first <= last)
        };
        let mut after = order.range(Term::from_bytes(from)..);
        after.find(|(_, place)| is_there(place)).map(|(term, _)| term.clone())
    }

    /// The lists of subjects, of all events that there are by now.
    fn subjects(&self) -> RwLockReadGuard<'_, SubjectLists> {
        let wanted = self.read().encrypted.len();
        let subjects = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
        if subjects.events() >= wanted {
            return subjects;
        }
        drop(subjects);
        let mut subjects = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        subjects.extend(&self.read().encrypted, self.first);
        drop(subjects);
        self.subjects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order of the terms that there are by now. Those that came since it was last asked for get their places in it, a few at a time:
    /// whoever appends, or reads otherwise, waits for no more.
    fn ordered(&self) -> RwLockReadGuard<'_, BTreeMap<Term, usize>> {
        let wanted = self.read().terms.len();
        let order = self.order.read().unwrap_or_else(PoisonError::into_inner);
        if order.len() >= wanted {
            return order;
        }
        drop(order);
        let mut order = self.order.write().unwrap_or_else(PoisonError::into_inner);
        while order.len() < wanted {
            let places = order.len()..wanted.min(order.len() + ORDERED);
            let inner = self.read();
            let new = places.filter_map(|place| Some((inner.terms.get_index(place)?.0.clone(), place)));
            let new: Vec<_> = new.collect();
            drop(inner);
            order.extend(new);
        }
        drop(order);
        self.order.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemtableInner {
    /// As they are stored.
    pub fn stored(&self) -> Vec<&[u8]> {
        let mut stored: Vec<&[u8]> =
            self.events.iter().map(|bytes| bytes.as_deref().unwrap_or_default()).collect();
        for (place, bytes) in self.encrypted.each() {
            if let Some(slot) = stored.get_mut(place) {
                *slot = bytes;
            }
        }
        stored
    }

    /// With their private values in plain; `first` is the position of the memtable.
    ///
    /// # Errors
    /// As those of [`KeySource::decrypted`].
    pub fn plain(&self, first: Position, keys: KeySource) -> Result<Vec<Arc<[u8]>>> {
        let mut encrypted = self.encrypted.each();
        let mut events = Vec::with_capacity(self.events.len());
        for (position, bytes) in first.onwards().zip(&self.events) {
            events.push(match bytes {
                Some(bytes) => bytes.clone(),
                // They are in the same order.
                None => {
                    let stored = encrypted.next().map_or(&[][..], |(_, stored)| stored);
                    keys.decrypted(position, stored)?.unwrap_or_else(|| Arc::from(stored))
                }
            });
        }
        Ok(events)
    }

    /// The lists of subjects: of each, in the order of their terms, the events that have private values of it. `first` is the position of the
    /// memtable.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where an event is not as it was written.
    pub fn subject_lists(&self, first: Position) -> Result<Vec<(Term, Vec<Position>)>> {
        self.encrypted.lists(first)
    }

    /// What the events say of the keys of subjects, in their order.
    pub fn keys(&self) -> &[(Position, GivenKey)] {
        &self.keys
    }

    /// The lists with their terms, as they came, but those of subjects.
    pub fn terms(&self) -> impl Iterator<Item = (&Term, &MemtablePostings)> {
        self.terms.iter()
    }

    /// The same in the order of the terms.
    pub fn sorted_terms(&self) -> Vec<(&Term, &MemtablePostings)> {
        let mut terms: Vec<_> = self.terms.iter().collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        terms
    }
}

/// The memtables as of one moment, and the head they lead up to. Cloning is cheap; what is cloned does not change below its head.
#[derive(Debug, Clone)]
pub(crate) struct Memtables {
    pub frozen: Option<Arc<Memtable>>,
    pub active: Arc<Memtable>,
    /// The indexes defined up to the head.
    pub catalog: Arc<Catalog>,
    /// The newest position a reader sees.
    pub head: Position,
}

impl Memtables {
    /// The newest position that is in no memtable: all up to it are in the tables.
    pub fn base(&self) -> Position {
        self.frozen.as_ref().unwrap_or(&self.active).first.previous()
    }

    /// Oldest first.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = &Arc<Memtable>> {
        self.frozen.iter().chain(std::iter::once(&self.active))
    }

    /// The stored bytes of an event that is in one of them.
    pub fn stored(&self, position: Position) -> Option<Arc<[u8]>> {
        if position > self.head {
            return None;
        }
        self.each().find_map(|memtable| memtable.stored(position))
    }

    /// The same event as it is read.
    pub fn event(&self, position: Position, keys: KeySource) -> Result<Option<Arc<[u8]>>> {
        let Some(stored) = self.stored(position) else { return Ok(None) };
        let bytes = keys.decrypted(position, &stored)?.unwrap_or(stored);
        Ok(Some(match read_form(position, &bytes, &self.catalog)? {
            Cow::Owned(formed) => Arc::from(formed),
            Cow::Borrowed(_) => bytes,
        }))
    }

    /// The entries of a list within a range, and never past the head.
    pub fn list(&self, term: &Term, range: PositionRange) -> Vec<Position> {
        let range = range.and(PositionRange::through(self.head));
        self.each().flat_map(|memtable| memtable.list(term, range)).collect()
    }

    /// How many entries a counted list has in all, those in the tables included, and the last of them; none if no memtable has
    /// any. For whoever commits: it does not stop at the head.
    pub fn total(&self, term: &Term) -> Option<ListEnd> {
        self.each().rev().find_map(|memtable| memtable.total(term))
    }

    /// How many entries a list has after a position, up to the head, and the last of them.
    pub fn count(&self, term: &Term, after: Position) -> (u64, Option<Position>) {
        let range = PositionRange::between(after, self.head);
        self.each().fold((0, None), |(count, last), memtable| {
            let (more, newer) = memtable.count(term, range);
            (count + more, newer.or(last))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is appended: of each event the terms, counted or not. Then what is asked, and whether the order is.
    type Step = (Vec<Vec<(bool, u8)>>, u8, u8, bool);

    fn term((counted, name): (bool, u8)) -> Term {
        Term::from_bytes(&[if counted { 1 } else { 2 }, name])
    }

    proptest! {
        /// Whether the order of terms is asked for, and when, lists are those of one ordered map.
        #[test]
        fn lists_are_found_and_stand_in_order(
            steps in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec((any::<bool>(), 0u8..30), 0..4), 0..4), 0u8..30, 0u8..30, any::<bool>()),
                1..12,
            ),
        ) {
            let memtable = Memtable::new(Position(10));
            let mut model: BTreeMap<Term, Vec<Position>> = BTreeMap::new();
            let mut next = Position(10);
            let steps: Vec<Step> = steps;
            for (events, low, high, ordered) in steps {
                for names in events {
                    let mut terms: Vec<Term> = names.into_iter().map(term).collect();
                    terms.sort();
                    terms.dedup();
                    // One entity, whose second event this may be.
                    let last = terms.iter().rposition(Term::is_counted).unwrap_or(0);
                    terms.drain(..last);
                    let version = terms.first().map_or(0, |term| model.get(term).map_or(1, |list| list.len() as u64 + 1));
                    terms.iter().for_each(|term| model.entry(term.clone()).or_default().push(next));
                    let bytes: Arc<[u8]> = [0].into();
                    memtable.extend([Staged { bytes, encrypted: None, keys: Vec::new(), terms, version }], &[]).unwrap();
                    next = next.next();
                }
                for asked in [term((true, low)), term((false, high))] {
                    prop_assert_eq!(memtable.list(&asked, PositionRange::ALL), model.get(&asked).cloned().unwrap_or_default());
                }
                let entity = term((true, high));
                let total = model.get(&entity).map(|list| ListEnd { count: list.len() as u64, last: list[list.len() - 1] });
                prop_assert_eq!(memtable.total(&entity), total);
                if !ordered {
                    continue;
                }
                let range = TermRange { from: vec![1, low], until: vec![2, high] };
                let mut swept = Vec::new();
                memtable.sweep(&range, PositionRange::ALL, &mut swept);
                let within = model.range(Term::from_bytes(&range.from)..Term::from_bytes(&range.until));
                prop_assert_eq!(swept, within.flat_map(|(_, list)| list.clone()).collect::<Vec<_>>());
                let last = Position(12);
                let mut after = model.range(Term::from_bytes(&range.from)..);
                let first = after.find(|(_, list)| list[0] <= last).map(|(term, _)| term.clone());
                prop_assert_eq!(memtable.term_at(&range.from, last), first);
            }
            let inner = memtable.read();
            let sorted = inner.sorted_terms().into_iter().map(|(term, list)| (term.clone(), list.positions().to_vec()));
            prop_assert_eq!(sorted.collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
