//! Tails: what is in the journal and not yet in the tables, ready to read.
//!
//! A tail holds encoded events and the posting lists of their terms. There is one active tail, which
//! grows, and at most one frozen, which the checkpointer is moving into the tables. Together they hold every position
//! from C to the head.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::catalog::Catalog;
use super::index::term::{Term, TermRange};

/// What an entry costs beside its bytes: the allocation, the node of the map, the position.
const EVENT_COST: usize = 48;
const TERM_COST: usize = 24;

/// Events in memory, and their posting lists.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// The position of its first event.
    pub first: u64,
    inner: RwLock<MemtableInner>,
}

#[derive(Debug, Default)]
pub(crate) struct MemtableInner {
    events: Vec<Arc<[u8]>>,
    terms: BTreeMap<Term, MemtablePostings>,
    bytes: usize,
}

/// The part of a posting list that is in a tail.
#[derive(Debug, Default)]
pub(crate) struct MemtablePostings {
    /// How many entries the whole list has before these; 0 in lists that are not counted.
    before: u64,
    positions: Vec<u64>,
}

impl MemtablePostings {
    /// Its positions, ascending.
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Those within the bounds, both included.
    fn within(&self, first: u64, last: u64) -> &[u64] {
        let start = self.positions.partition_point(|&p| p < first);
        let end = self.positions.partition_point(|&p| p <= last);
        self.positions.get(start..end).unwrap_or_default()
    }
}

/// An event on its way into a tail.
#[derive(Debug)]
pub(crate) struct Staged {
    pub bytes: Arc<[u8]>,
    pub terms: Vec<Term>,
    /// Its place in the history of its entity; 0 if it has none.
    pub version: u64,
}

impl Memtable {
    pub fn new(first: u64) -> Memtable {
        Memtable { first, inner: RwLock::default() }
    }

    /// Adds events at the end. Readers do not see them before the head says so.
    pub fn extend(&self, events: impl IntoIterator<Item = Staged>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let position = self.first + inner.events.len() as u64;
            inner.bytes += event.bytes.len() + EVENT_COST;
            inner.events.push(event.bytes);
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
    pub fn last(&self) -> u64 {
        self.first + self.read().events.len() as u64 - 1
    }

    pub fn get(&self, position: u64) -> Option<Arc<[u8]>> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.read().events.get(at).cloned()
    }

    /// The entries of a list within the bounds, both included.
    pub fn list(&self, term: &Term, first: u64, last: u64) -> Vec<u64> {
        self.read().terms.get(term).map_or_else(Vec::new, |list| list.within(first, last).to_vec())
    }

    /// How many entries a list has within the bounds, and the last of them.
    pub fn count(&self, term: &Term, first: u64, last: u64) -> (u64, Option<u64>) {
        let inner = self.read();
        let within = inner.terms.get(term).map_or([].as_slice(), |list| list.within(first, last));
        (within.len() as u64, within.last().copied())
    }

    /// Adds the entries within the bounds of all terms in a range.
    pub fn sweep(&self, range: &TermRange, first: u64, last: u64, entries: &mut Vec<u64>) {
        if range.is_empty() {
            return;
        }
        let inner = self.read();
        let terms = inner.terms.range(Term::from_bytes(&range.from)..Term::from_bytes(&range.until));
        terms.for_each(|(_, list)| entries.extend_from_slice(list.within(first, last)));
    }

    /// How many entries a counted list has in all, and the last of them, if one of them is here.
    fn total(&self, term: &Term) -> Option<(u64, u64)> {
        let inner = self.read();
        let list = inner.terms.get(term)?;
        Some((list.before + list.positions.len() as u64, list.positions.last().copied()?))
    }

    /// The first term at or after some bytes that has an entry within the bounds.
    pub fn term_at(&self, from: &[u8], last: u64) -> Option<Term> {
        let inner = self.read();
        let mut after = inner.terms.range(Term::from_bytes(from)..);
        after
            .find(|(_, list)| list.positions.first().is_some_and(|&p| p <= last))
            .map(|(term, _)| term.clone())
    }
}

impl MemtableInner {
    pub fn events(&self) -> &[Arc<[u8]>] {
        &self.events
    }

    pub fn terms(&self) -> &BTreeMap<Term, MemtablePostings> {
        &self.terms
    }
}

/// The tails as of one moment, and the head they lead up to. Cloning is cheap; what is cloned does not change below its head.
#[derive(Debug, Clone)]
pub(crate) struct Memtables {
    pub frozen: Option<Arc<Memtable>>,
    pub active: Arc<Memtable>,
    /// The indexes defined up to the head.
    pub catalog: Arc<Catalog>,
    /// The newest position a reader sees.
    pub head: u64,
}

impl Memtables {
    /// The newest position that is in no tail: all up to it are in the tables.
    pub fn base(&self) -> u64 {
        self.frozen.as_ref().unwrap_or(&self.active).first - 1
    }

    /// Oldest first.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = &Arc<Memtable>> {
        self.frozen.iter().chain(std::iter::once(&self.active))
    }

    pub fn get(&self, position: u64) -> Option<Arc<[u8]>> {
        if position > self.head {
            return None;
        }
        self.each().find_map(|tail| tail.get(position))
    }

    /// The entries of a list within the bounds, both included, and never past the head.
    pub fn list(&self, term: &Term, first: u64, last: u64) -> Vec<u64> {
        let last = last.min(self.head);
        self.each().flat_map(|tail| tail.list(term, first, last)).collect()
    }

    /// How many entries a counted list has in all, those in the tables included, and the last of them; none if no tail has
    /// any. For whoever commits: it does not stop at the head.
    pub fn total(&self, term: &Term) -> Option<(u64, u64)> {
        self.each().rev().find_map(|tail| tail.total(term))
    }

    /// How many entries a list has from `first` on, and the last of them.
    pub fn count(&self, term: &Term, first: u64) -> (u64, Option<u64>) {
        self.each().fold((0, None), |(count, last), tail| {
            let (more, newer) = tail.count(term, first, self.head);
            (count + more, newer.or(last))
        })
    }
}
