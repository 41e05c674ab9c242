//! Bulk load: events that have their bytes already, written into tables as checkpoints write them.
//!
//! What follows from them is derived as it is of those that recovery takes in. Either each part is a write of its own, and leaves a whole database of an
//! earlier position; or all of them are one write, so that no group of events is there in part.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply;
use super::catalog::Catalog;
use super::checkpoint::{self, Followed};
use super::index::term::Term;
use super::keyring::{KeySource, Keyring};
use super::log::JournalAfter;
use super::memtable::Memtable;
use super::options::Options;
use super::pace::{Pace, Paces};
use super::tables::{Tables, WriteTables};
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::Result;
use crate::event::private::KeyNumber;

/// Tables that are loaded with events behind those that they have.
pub(super) struct BulkLoader<'l> {
    options: &'l Options,
    tables: &'l Tables,
    catalog: Arc<Catalog>,
    keyring: Keyring,
    /// Events without their keys are taken, too; which keys those are.
    lenient: bool,
    lost: RefCell<BTreeSet<KeyNumber>>,
    memtable: Arc<Memtable>,
    paces: Paces,
    limits: Limits,
    events: u64,
}

impl<'l> BulkLoader<'l> {
    /// Of tables that go up to a position, with what is defined there.
    pub fn new(
        options: &'l Options,
        tables: &'l Tables,
        catalog: Arc<Catalog>,
        last: Position,
        limits: Limits,
    ) -> BulkLoader<'l> {
        let memtable = Arc::new(Memtable::new(last.next()));
        let (keyring, paces) = (Keyring::default(), Paces::default());
        let (lenient, lost) = (false, RefCell::default());
        BulkLoader { options, tables, catalog, keyring, lenient, lost, memtable, paces, limits, events: 0 }
    }

    /// Takes events whose keys are lost, too.
    pub fn lenient(self) -> Self {
        BulkLoader { lenient: true, ..self }
    }

    /// Writes what is left, and says in the tables which keys were lost. Gives how many.
    pub fn lose_keys(&mut self) -> Result<usize> {
        self.write()?;
        let lost = self.lost.borrow();
        if !lost.is_empty() {
            self.tables.write("giving up keys that are lost", |tables| tables.lose_keys(&lost))?;
        }
        Ok(lost.len())
    }

    /// The position of the next event.
    pub fn next(&self) -> Position {
        self.memtable.last().next()
    }

    /// The last position that was written.
    pub fn last(&self) -> Position {
        self.memtable.first.previous()
    }

    /// How many events were written.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many events there are of a term that is counted.
    pub fn count(&self, term: &Term) -> Result<u64> {
        if let Some(end) = self.memtable.total(term) {
            return Ok(end.count);
        }
        let read = self.tables.read()?;
        let chunk = read.postings()?.chunk_before(term.as_bytes(), Position::MAX)?;
        Ok(chunk.map_or(0, |chunk| chunk.through()))
    }

    /// Where the keys are of what is added.
    fn keys(&self) -> KeySource<'_> {
        match self.lenient {
            true => KeySource::Rescued(&self.keyring, self.tables, &self.lost),
            false => KeySource::Tables(&self.keyring, self.tables),
        }
    }

    /// Adds the event of the next position.
    ///
    /// # Errors
    /// Where the event is none of this position, or says what nobody understands: then it is not added.
    pub fn append(&mut self, bytes: Arc<[u8]>) -> Result<()> {
        let (limits, options, position) = (&self.limits, self.options, self.next());
        let mut catalog = self.catalog.clone();
        let keys = self.keys();
        let event = apply::derive_event(position, bytes, &mut catalog, limits, keys, || options.compiler())?;
        self.keyring.apply(&event.keys, position);
        self.catalog = catalog;
        self.memtable.extend([event], &[])
    }

    /// Writes what was added, once it is as much as a memtable has. Says whether it was.
    pub fn write_when_full(&mut self) -> Result<bool> {
        let is_full = self.is_full();
        if is_full {
            self.write()?;
        }
        Ok(is_full)
    }

    /// Whether what was added is as much as a memtable has.
    pub fn is_full(&self) -> bool {
        let (events, held) = self.memtable.size();
        events >= self.options.memtable_events || held >= self.options.memtable_bytes
    }

    /// Writes what was added within a write that has more, behind events with this chain hash; with what is kept of states and views, or without.
    pub fn write_into(
        &mut self,
        tables: &mut WriteTables,
        chain: &mut [u8; 32],
        with_followers: bool,
    ) -> Result<()> {
        let (events, last) = (self.memtable.size().0, self.memtable.last());
        if events > 0 {
            let pace = Pace::of(events.max(2), &|| false, &self.limits);
            let (memtables, catalog) = ([&self.memtable], &self.catalog);
            let plain = match with_followers {
                true => checkpoint::plain_events(&memtables, catalog, self.keys())?,
                false => None,
            };
            let (paces, pace, plain) = (&self.paces, &pace, plain.as_deref());
            let followed = with_followers.then_some(Followed { paces, pace, plain });
            checkpoint::write_into(tables, &memtables, chain, catalog, followed)?;
            self.written(events, last);
        }
        Ok(())
    }

    fn written(&mut self, events: usize, last: Position) {
        self.events += events as u64;
        self.memtable = Arc::new(Memtable::new(last.next()));
    }

    /// Writes what is left. Gives how many events were added in all, and what is defined after the last.
    pub fn finish(mut self) -> Result<(u64, Arc<Catalog>)> {
        self.write()?;
        Ok((self.events, self.catalog))
    }

    fn write(&mut self) -> Result<()> {
        let (events, _) = self.memtable.size();
        if events == 0 {
            return Ok(());
        }
        let (memtables, last) = ([&self.memtable], self.memtable.last());
        checkpoint::write(
            self.tables,
            &memtables,
            JournalAfter::Kept,
            &self.catalog,
            &self.paces,
            &self.limits,
            self.keys(),
        )?;
        self.written(events, last);
        Ok(())
    }
}
