//! What the memtables make of states that are kept as of C, remembered and grown as the memtables do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ReadTxn;
use crate::allowance::Limits;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::Record;
use crate::store::catalog::{CatalogModel, Finder};
use crate::store::index::term::{Term, TermRange};
use crate::store::state::fold::Folded;
use crate::store::state::stored_state::StoredState;
use crate::store::touched::{found_by, touched_by};

/// What states are found by: a term, and the id of each.
type Entries = BTreeSet<(Term, String)>;

/// States as of the end of the memtables, where those change what is kept.
#[derive(Debug, Clone)]
pub(crate) struct MemtableOverlay {
    pub(super) definition: Position,
    /// C: what is kept is as of there.
    pub(super) checkpoint: Position,
    /// Up to where events were folded onto it.
    pub(super) through: Position,
    /// In which form events were read: as of the definition that says so, and once so many subjects were forgotten.
    pub(super) form: (Position, usize),
    /// None of what is kept in a way that cannot be read: it is folded.
    pub(super) states: BTreeMap<String, Option<Vec<u8>>>,
    /// The ids of those.
    pub(super) unread: Vec<String>,
    /// What these states are found by in the indexes that were asked for, by the place of the index's definition.
    pub(super) found: BTreeMap<Position, (Arc<Finder>, Entries)>,
    pub(super) bytes: usize,
}

impl MemtableOverlay {
    /// Nothing that the memtables make, as of C.
    pub(super) fn new(
        definition: Position,
        checkpoint: Position,
        form: (Position, usize),
    ) -> MemtableOverlay {
        MemtableOverlay {
            definition,
            checkpoint,
            form,
            through: checkpoint,
            states: BTreeMap::new(),
            unread: Vec::new(),
            found: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(super) fn has(&self, finder: Option<&Arc<Finder>>) -> bool {
        finder.is_none_or(|finder| self.found.contains_key(&finder.position))
    }

    /// Puts all states into an index of them.
    pub(super) fn index(&mut self, finder: &Arc<Finder>, limits: &Limits) -> Result<()> {
        let mut entries = BTreeSet::new();
        for (id, bytes) in &self.states {
            let Some(bytes) = bytes else { continue };
            let terms = found_by(id, &StoredState::open(bytes)?, finder, limits)?;
            entries.extend(terms.into_iter().map(|term| (term, id.clone())));
        }
        self.bytes += entries.iter().map(held).sum::<usize>();
        self.found.insert(finder.position, (finder.clone(), entries));
        Ok(())
    }

    /// The ids of the states that a range of an index has.
    pub(super) fn found(&self, finder: &Finder, range: &TermRange) -> impl Iterator<Item = &str> {
        let end = |term: &[u8]| (Term::from_bytes(term), String::new());
        let entries = self.found.get(&finder.position).filter(|_| !range.is_empty());
        let entries = entries.map(|(_, entries)| entries.range(end(&range.from)..end(&range.until)));
        entries.into_iter().flatten().map(|(_, id)| id.as_str())
    }

    /// Takes it along to a later C: what did not change since is in the tables by then.
    pub(super) fn rebase(&mut self, checkpoint: Position) {
        if checkpoint <= self.checkpoint {
            return;
        }
        // C has passed it by; or what could not be read may be by now.
        if self.through < checkpoint || !self.unread.is_empty() {
            let found = std::mem::take(&mut self.found);
            *self = MemtableOverlay::new(self.definition, checkpoint, self.form);
            self.found = found.into_iter().map(|(at, (finder, _))| (at, (finder, BTreeSet::new()))).collect();
            return;
        }
        let mut freed = 0;
        self.states.retain(|id, bytes| {
            let changed = |bytes: &Vec<u8>| {
                StoredState::position_of(bytes).is_some_and(|position| position > checkpoint)
            };
            let stays = bytes.as_ref().is_none_or(changed);
            freed += if stays { 0 } else { kept(id, bytes.as_ref().map_or(0, Vec::len)) };
            stays
        });
        for (_, entries) in self.found.values_mut() {
            entries.retain(|entry| {
                let stays = self.states.contains_key(&entry.1);
                freed += if stays { 0 } else { held(entry) };
                stays
            });
        }
        self.bytes = self.bytes.saturating_sub(freed);
        self.checkpoint = checkpoint;
    }

    /// Lets go of what is found by indexes that are no more.
    pub(super) fn retain_finders(&mut self, is_defined: impl Fn(&Finder) -> bool) {
        let mut freed = 0;
        self.found.retain(|_, (finder, entries)| {
            let stays = is_defined(finder);
            freed += if stays { 0 } else { entries.iter().map(held).sum() };
            stays
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// The ids of what changed behind a head: whoever reads up to there sees another state of them, and they may be found by others
    /// terms, or are not there yet.
    pub(super) fn newer_than(&self, head: Position) -> impl Iterator<Item = &str> {
        let is_newer =
            move |bytes: &Vec<u8>| StoredState::position_of(bytes).is_none_or(|position| position > head);
        let states = (self.through > head).then_some(&self.states).into_iter().flatten();
        states.filter(move |(_, bytes)| bytes.as_ref().is_some_and(is_newer)).map(|(id, _)| id.as_str())
    }

    /// Takes the new state of an entity in the place of the one before.
    pub(super) fn put(&mut self, id: String, bytes: Vec<u8>, limits: &Limits) -> Result<()> {
        let before = self.states.get(&id).and_then(Option::as_ref);
        for (finder, entries) in self.found.values_mut() {
            if let Some(before) = before {
                for term in found_by(&id, &StoredState::open(before)?, finder, limits)? {
                    let entry = (term, id.clone());
                    self.bytes -= if entries.remove(&entry) { held(&entry) } else { 0 };
                }
            }
            for term in found_by(&id, &StoredState::open(&bytes)?, finder, limits)? {
                let entry = (term, id.clone());
                self.bytes += held(&entry);
                entries.insert(entry);
            }
        }
        self.bytes += kept(&id, bytes.len());
        self.bytes -= before.map_or(0, |before| kept(&id, before.len()));
        self.states.insert(id, Some(bytes));
        Ok(())
    }

    /// Folds onto it what follows, up to a position that a view has. After an error it is of no more use.
    pub(super) fn take_in(
        &mut self,
        view: &ReadTxn,
        model: &CatalogModel,
        through: Position,
        memory: usize,
        limits: &Limits,
    ) -> Result<()> {
        if self.through >= through {
            return Ok(());
        }
        let fold = model.fold()?;
        let first = self.through.next();
        let mut events = Vec::new();
        for position in PositionRange::new(first, through).iter() {
            events.push(view.newest(position)?);
        }
        for (id, positions) in touched_by(model, fold, first, &events)? {
            let mut folded = match self.states.get(&id) {
                Some(None) => continue,
                Some(Some(bytes)) => StoredState::open(bytes)?.to_folded(limits)?,
                None => {
                    let kept = |bytes: Option<&[u8]>| {
                        bytes.map(|b| StoredState::open(b)?.to_folded(limits)).transpose()
                    };
                    match view.read.with_state(self.definition, &id, kept)? {
                        Some(folded) => folded,
                        None if view.read.has_state(self.definition, &id)? => {
                            self.unread.push(id.clone());
                            self.states.insert(id, None);
                            continue;
                        }
                        None => Folded::default(),
                    }
                }
            };
            for (position, own) in positions {
                let bytes = position
                    .index_from(first)
                    .and_then(|at| events.get(at))
                    .map(AsRef::as_ref)
                    .unwrap_or_default();
                folded.add(&**fold, &Record::open(position, bytes)?, own, limits)?;
            }
            self.put(id, folded.encode()?, limits)?;
            if self.bytes > memory {
                return Err(Error::stopped(format!(
                    "what changed of {} needs more memory than a query may take ({} MB); CHECKPOINT makes it less",
                    model.kind,
                    memory >> 20
                )));
            }
        }
        self.through = through;
        Ok(())
    }
}

/// How much memory an entry of an index takes, about.
fn held((term, id): &(Term, String)) -> usize {
    term.as_bytes().len() + id.len() + 96
}

/// How much memory a state takes of so many bytes, about.
fn kept(id: &str, bytes: usize) -> usize {
    bytes + id.len() + 96
}
