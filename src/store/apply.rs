//! Apply: the one way in which events that are durable become visible, those of our own commits and those that are recovered.
//!
//! What readers see is one [`Memtables`], replaced under a lock that is held for a moment. It grows at its end ([`Applied::apply`]), its
//! full part is frozen, and goes once the tables hold it. Nothing else is taken while it is held.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::catalog::{Catalog, CatalogChange, Compile, Index};
use super::index::term::{Term, terms_of};
use super::journal::Frame;
use super::keyring::{KeySource, forgotten_key, given_keys};
use super::memtable::{Memtable, Memtables, Staged, StoredForm};
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::codec;

/// What is applied of the log, beyond what the tables hold.
#[derive(Debug)]
pub(crate) struct Applied(RwLock<Memtables>);

impl Applied {
    /// Nothing beyond what the tables hold.
    pub fn new(checkpoint: Position, catalog: Catalog) -> Applied {
        let active = Arc::new(Memtable::new(checkpoint.next()));
        Applied(RwLock::new(Memtables { frozen: None, active, catalog: Arc::new(catalog), head: checkpoint }))
    }

    /// The memtables, and the head they lead up to, as of now.
    pub fn memtables(&self) -> Memtables {
        self.read(Memtables::clone)
    }

    pub fn head(&self) -> Position {
        self.read(|memtables| memtables.head)
    }

    /// What is defined up to the head.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.read(|memtables| memtables.catalog.clone())
    }

    pub fn head_and_catalog(&self) -> (Position, Arc<Catalog>) {
        self.read(|memtables| (memtables.head, memtables.catalog.clone()))
    }

    /// Shows the events that follow the head, which came in a frame with this payload, and the definitions as of the last of them. One thread does,
    /// in the order of the log.
    ///
    /// # Errors
    /// If the frame is another: then nothing is shown.
    pub fn apply(&self, events: Vec<Staged>, frame: &[u8], catalog: Arc<Catalog>) -> Result<()> {
        let (active, head) = self.read(|memtables| (memtables.active.clone(), memtables.head));
        let head = head.plus(events.len() as u64);
        // Nobody looks beyond the head, so nobody waits for this.
        active.extend(events, frame)?;
        let mut memtables = self.write();
        (memtables.head, memtables.catalog) = (head, catalog);
        Ok(())
    }

    /// Definitions that say the same, and hold less.
    pub fn replace_catalog(&self, catalog: Arc<Catalog>) {
        self.write().catalog = catalog;
    }

    /// The active memtable is frozen, and the next event begins another one.
    pub fn freeze(&self) {
        let mut memtables = self.write();
        let active = Arc::new(Memtable::new(memtables.head.next()));
        memtables.frozen = Some(std::mem::replace(&mut memtables.active, active));
    }

    /// The tables hold the frozen memtable.
    pub fn drop_frozen(&self) {
        self.write().frozen = None;
    }

    fn read<T>(&self, what: impl FnOnce(&Memtables) -> T) -> T {
        what(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memtables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is derived of the events of a frame (its payload: each its length, then its bytes): their terms, and the definitions as of the
/// last of them. Admission has derived those of our own.
pub(crate) fn derive<'c>(
    frame: &Frame,
    mut catalog: Arc<Catalog>,
    limits: &Limits,
    keys: KeySource,
    compiler: impl Fn() -> Result<&'c dyn Compile>,
) -> Result<(Vec<Staged>, Arc<Catalog>)> {
    let mut payload = &*frame.payload;
    let mut events = Vec::new();
    for position in frame.first.onwards().take(frame.count as usize) {
        let bytes = next_event(&mut payload).ok_or_else(|| {
            Error::corrupt("the journal", format!("a frame that ends before the event at {position}"))
        })?;
        events.push(derive_event(position, Arc::from(bytes), &mut catalog, limits, keys, &compiler)?);
    }
    Ok((events, catalog))
}

/// The same of one event that was appended somewhere: the catalog is then the one after it.
pub(crate) fn derive_event<'c>(
    position: Position,
    bytes: Arc<[u8]>,
    catalog: &mut Arc<Catalog>,
    limits: &Limits,
    keys: KeySource,
    compiler: impl Fn() -> Result<&'c dyn Compile>,
) -> Result<Staged> {
    let (bytes, encrypted) = match keys.decrypted(position, &bytes)? {
        Some(plain) => (plain, Some(StoredForm::Own(bytes))),
        None => (bytes, None),
    };
    let event = codec::decode(position, bytes.clone())?;
    let version = event.version.map_or(0, |version| version.0);
    let mut terms = terms_of(&event)?;
    let mut keys = match &encrypted {
        Some(StoredForm::Own(stored)) => given_keys(position, stored)?,
        _ => Vec::new(),
    };
    // It was appended: an index that has nothing of it is of no use any more, and is no reason to be without it.
    let invalid = |index: &Index, _: Error| {
        index.set_invalid();
        Ok(())
    };
    keys.iter().try_for_each(|given| Term::check_subject(&given.subject))?;
    catalog.terms(position, &bytes, limits, &mut terms, invalid)?;
    if let Some(change) = CatalogChange::of(&event, &compiler)? {
        *catalog = Arc::new(catalog.changed(position, change));
    }
    keys.extend(forgotten_key(&event));
    Ok(Staged { bytes, encrypted, keys, terms, version })
}

/// The positions and bytes of a frame's events, as far as they can be read.
pub(crate) fn events_of(frame: &Frame) -> Vec<(Position, &[u8])> {
    let mut payload = &*frame.payload;
    let events = std::iter::from_fn(|| next_event(&mut payload)).take(frame.count as usize);
    frame.first.onwards().zip(events).collect()
}

/// Takes the bytes of the next event from a frame's payload; none if they are not all there.
fn next_event<'p>(payload: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *payload = rest;
    Some(bytes)
}
