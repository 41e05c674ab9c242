//! States: what the entities of a kind are as of the head, in the order of their ids.
//!
//! Where they are kept ([`follow`](crate::store::materialize)), they are read as they lie, and what the memtables hold is folded onto them
//! once and remembered ([`MemtableOverlay`]). Where they are not, or not up to C yet, each entity is folded.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::overlay::MemtableOverlay;
use super::state_batch::StateBatch;
use super::{FoldBound, IdRange, ReadTxn, Snapshot};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::store::catalog::{CatalogModel, Finder};
use crate::store::index::term::{self, Term};
use crate::store::state::stored_state::StoredState;
use crate::store::tables::index_facts::IndexFacts;

/// How many states are read at a time, and how many bytes of them about. Tests are to come to the next soon.
const PAGE: usize = if cfg!(test) { 3 } else { 256 };
const BYTES: usize = 4 << 20;

/// How states are come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateAccess {
    /// They are kept.
    Kept,
    /// Each entity is folded, as nobody defined its kind.
    Plain,
    /// Each entity is folded, as long as the states are being brought up: they are as of a position.
    Behind(Position),
    /// Each entity is folded, up to some point of the past.
    Past,
}

/// The states of a kind, to be lent. After an error there are no more.
pub(crate) struct States {
    lender: StateLender,
    model: Option<Arc<CatalogModel>>,
    source: StateSource,
    overlay: Option<Arc<MemtableOverlay>>,
    page: StateBatch,
    done: bool,
}

/// What lends the states of a page: those that are none as of its snapshot are folded.
#[derive(Clone)]
pub(crate) struct StateLender {
    snapshot: Snapshot,
    kind: String,
    until: FoldBound,
}

/// Which states of a kind are wanted.
pub(crate) enum StateSelection {
    /// Those of these ids.
    Within(IdRange),
    /// These, in this order.
    Ids(VecDeque<String>),
}

impl StateSelection {
    pub const ALL: StateSelection = StateSelection::Within(IdRange::ALL);
}

enum StateSource {
    /// All of a range that are kept.
    Kept(IdRange),
    /// These, of which each is kept.
    KeptIds(VecDeque<String>),
    /// These, each folded.
    Each(EntityIds),
}

/// The ids of entities of a kind, in order, each once.
pub(crate) struct EntityIds {
    snapshot: Snapshot,
    from: RangeStart,
}

enum RangeStart {
    /// Those of a range whose terms come from here on.
    Term {
        from: Vec<u8>,
        prefix: Vec<u8>,
        range: IdRange,
    },
    These(VecDeque<String>),
}

impl Snapshot {
    /// How the states of a kind are come by as of now.
    pub fn way_to_states(&self, kind: &str) -> Result<StateAccess> {
        let Some(model) = self.catalog.model(kind) else { return Ok(StateAccess::Plain) };
        self.read(|view| {
            let followed = view.read.followed_once(model.position)?;
            Ok(if followed == Some(view.checkpoint) {
                StateAccess::Kept
            } else {
                StateAccess::Behind(followed.unwrap_or_default())
            })
        })
    }

    /// Whether an index of states has all of them, and those are kept.
    pub fn is_built(&self, finder: &Finder) -> Result<bool> {
        let Some(model) = self.catalog.model(&finder.kind) else { return Ok(false) };
        self.read(|view| self.index_serves(view, model, finder))
    }

    /// How many states of a kind are kept, counted up to so many.
    pub fn count_states(&self, kind: &str, most: u64) -> Result<u64> {
        let Some(model) = self.catalog.model(kind) else { return Ok(0) };
        self.read(|view| {
            let mut count = 0;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let counted = view.read.each_state_after(model.position, None, most, |_, _| {
                count += 1;
                Ok(true)
            });
            unless_damaged(counted).map(|_| count)
        })
    }

    /// The ids of a model's entities of which there is no state, because an event could not be folded in, as far as states are kept; so many
    /// at most.
    pub fn unfolded(&self, model: &CatalogModel, most: usize) -> Result<Vec<String>> {
        self.read(|view| {
            let mut ids = Vec::new();
            if self.index_serves(view, model, &model.unfolded)? {
                let found = view.read.found(model.position, &model.unfolded.faulty(), |id| {
                    ids.push(id.to_owned());
                    Ok(ids.len() < most)
                });
                unless_damaged(found)?;
            }
            Ok(ids)
        })
    }

    pub(super) fn index_serves(&self, view: &ReadTxn, model: &CatalogModel, finder: &Finder) -> Result<bool> {
        Ok(self.serving(view, model, finder)?.is_some())
    }

    /// What an index of states is, where it serves a view.
    pub(super) fn serving(
        &self,
        view: &ReadTxn,
        model: &CatalogModel,
        finder: &Finder,
    ) -> Result<Option<IndexFacts>> {
        if view.checkpoint > self.head {
            return Ok(None);
        }
        let of = (model.position, finder.position);
        let facts = view.read.index_facts(of, || finder.faulty(), || finder.unordered())?;
        Ok(facts.serves.then_some(facts))
    }

    /// The states of a kind as of the head.
    pub fn states(&self, kind: &str, wanted: StateSelection) -> Result<States> {
        self.states_by(&self.way_to_states(kind)?, kind, wanted)
    }

    /// The same, where it was asked already how they are come by: if that is no more so, it is noticed.
    pub fn states_by(&self, way: &StateAccess, kind: &str, wanted: StateSelection) -> Result<States> {
        let now = FoldBound { through: self.head, by: None };
        let source = match (wanted, way) {
            (StateSelection::Within(range), StateAccess::Kept) => StateSource::Kept(range),
            (StateSelection::Ids(ids), StateAccess::Kept) => StateSource::KeptIds(ids),
            (wanted, _) => StateSource::Each(self.selected(kind, wanted)?),
        };
        self.states_from(kind, now, source)
    }

    /// What the entities of a kind were at some point: each is folded.
    pub fn past_states(&self, kind: &str, until: FoldBound, wanted: StateSelection) -> Result<States> {
        self.states_from(kind, until, StateSource::Each(self.selected(kind, wanted)?))
    }

    fn selected(&self, kind: &str, wanted: StateSelection) -> Result<EntityIds> {
        match wanted {
            StateSelection::Within(range) => self.ids(kind, range),
            StateSelection::Ids(ids) => {
                Ok(EntityIds { snapshot: self.clone(), from: RangeStart::These(ids) })
            }
        }
    }

    fn states_from(&self, kind: &str, until: FoldBound, source: StateSource) -> Result<States> {
        let done = matches!(&source, StateSource::KeptIds(ids) if ids.is_empty());
        Ok(States {
            lender: StateLender { snapshot: self.clone(), kind: kind.to_owned(), until },
            model: self.catalog.model(kind).cloned(),
            source,
            overlay: None,
            page: StateBatch::default(),
            done,
        })
    }

    /// The ids of the entities of a kind, of a range. Those that only others' events concern have no place among the terms of the
    /// kind: where there may be such, all are gathered.
    pub fn ids(&self, kind: &str, range: IdRange) -> Result<EntityIds> {
        let fold = self.fold_of(kind)?;
        let snapshot = self.clone();
        if fold.includes().is_empty() {
            let prefix = term::kind_prefix(kind);
            let from = match range.from() {
                Bound::Unbounded => None,
                // What is no id is before or behind some.
                Bound::Included(id) | Bound::Excluded(id) => Entity::new(kind, id).ok(),
            };
            let from = from.map(|entity| Term::entity(&entity)).transpose()?;
            let from = from.map_or_else(|| prefix.clone(), |term| term.as_bytes().to_vec());
            return Ok(EntityIds { snapshot, from: RangeStart::Term { from, prefix, range } });
        }
        let mut ids = BTreeSet::new();
        let mut held = 0;
        let mut add = |id: String| {
            held += id.len() + 64;
            if held > self.query_memory() {
                return Err(Error::stopped(format!(
                    "the entities of {kind} need more memory than a query may take ({} MB)",
                    self.query_memory() >> 20
                )));
            }
            ids.insert(id);
            Ok(())
        };
        self.each_term(term::kind_prefix(kind), |term| match term.as_entity() {
            Some((_, id)) => add(id),
            None => Ok(()),
        })?;
        for include in fold.includes() {
            self.each_term(term::tag_prefix(&include.tag), |term| match term.as_tag_id() {
                Some(id) if Term::is_id(kind, &id) => add(id),
                _ => Ok(()),
            })?;
        }
        ids.retain(|id| range.has(id));
        Ok(EntityIds { snapshot, from: RangeStart::These(ids.into_iter().collect()) })
    }

    fn each_term(&self, prefix: Vec<u8>, mut take: impl FnMut(&Term) -> Result<()>) -> Result<()> {
        let mut from = prefix.clone();
        while let Some(term) = self.read(|view| view.term_at(&from))?
            && term.as_bytes().starts_with(&prefix)
        {
            take(&term)?;
            from = [term.as_bytes(), &term::AFTER_TERM].concat();
        }
        Ok(())
    }
}

impl States {
    /// Lends the next states until it is told to stop; whether there may be more.
    pub fn lend(&mut self, mut state: impl FnMut(&str, &StoredState) -> Result<bool>) -> Result<bool> {
        loop {
            match self.lender.lend_page(&mut self.page, &mut state) {
                Ok(true) if self.done => return Ok(false),
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
            if let Err(error) = self.fill() {
                self.end();
                return Err(error);
            }
        }
    }

    /// The next page, to be lent by a [`lender`](States::lender); none if there is no more.
    pub fn page(&mut self) -> Result<Option<StateBatch>> {
        while !self.done {
            if let Err(error) = self.fill() {
                self.end();
                return Err(error);
            }
            if self.page.len() > 0 {
                return Ok(Some(std::mem::take(&mut self.page)));
            }
        }
        Ok(None)
    }

    /// What lends the pages.
    pub fn lender(&self) -> &StateLender {
        &self.lender
    }

    fn end(&mut self) {
        self.done = true;
        self.page.clear();
    }

    fn fill(&mut self) -> Result<()> {
        let mut behind = false;
        let States { lender: StateLender { snapshot, kind, until }, page, overlay, .. } = self;
        page.clear();
        match (&mut self.source, &self.model) {
            (StateSource::Each(ids), _) => {
                while page.len() < PAGE && page.held() < BYTES {
                    let Some(id) = ids.next().transpose()? else {
                        self.done = true;
                        break;
                    };
                    let bytes = snapshot.fold(&Entity::new(kind.as_str(), &id)?, *until)?.encode()?;
                    page.push(&id, Some(&bytes));
                }
            }
            (StateSource::Kept(range), Some(model)) => {
                let last = snapshot.read(|view| {
                    page.clear();
                    let mut passed = false;
                    if !still_serves(snapshot, view, model, overlay)? {
                        behind = true;
                        return Ok(None);
                    }
                    let rows = |id: &str, bytes: Result<&[u8]>| {
                        passed = range.is_passed(id);
                        if passed {
                            return Ok(false);
                        }
                        page.push(id, Some(bytes?));
                        Ok(page.held() < BYTES)
                    };
                    let read = view.read.each_state_from(model.position, &range.start(), PAGE, rows);
                    // Where something is damaged, nobody knows which ids there are: those of the log are folded.
                    let read = unless_damaged(read)?;
                    behind = read.is_none();
                    Ok(read.flatten().filter(|_| !passed))
                })?;
                if !behind {
                    if let Some(overlay) = overlay {
                        let read = last.as_ref().map_or_else(|| range.clone(), |last| range.through(last));
                        page.merge(&overlay.states, &read);
                    }
                    match last {
                        Some(last) => *range = range.behind(&last),
                        None => self.done = true,
                    }
                }
            }
            (StateSource::KeptIds(ids), Some(model)) => {
                behind = !snapshot.read(|view| {
                    page.clear();
                    let serves = still_serves(snapshot, view, model, overlay)?;
                    if serves {
                        states_of(view, model, overlay.as_ref(), ids, page)?;
                    }
                    Ok(serves)
                })?;
                if !behind {
                    ids.drain(..page.len());
                    self.done = ids.is_empty();
                }
            }
            (StateSource::Kept(_) | StateSource::KeptIds(_), None) => self.done = true,
        }
        if behind {
            page.clear();
            return self.go_on_folding();
        }
        Ok(())
    }

    /// What was kept is not any more: the rest is folded.
    fn go_on_folding(&mut self) -> Result<()> {
        let ids = match &mut self.source {
            StateSource::Kept(range) => self.lender.snapshot.ids(&self.lender.kind, range.clone())?,
            StateSource::KeptIds(ids) => {
                let from = RangeStart::These(std::mem::take(ids));
                EntityIds { snapshot: self.lender.snapshot.clone(), from }
            }
            StateSource::Each(_) => return Ok(()),
        };
        self.source = StateSource::Each(ids);
        Ok(())
    }
}

impl StateLender {
    /// Lends what is left of a page until it is told to stop; whether it came to its end.
    pub fn lend_page(
        &self,
        page: &mut StateBatch,
        state: &mut impl FnMut(&str, &StoredState) -> Result<bool>,
    ) -> Result<bool> {
        while page.take_next() {
            let (id, bytes) = page.current();
            let stored = bytes.map(StoredState::open).transpose()?;
            let folded;
            let kept = match stored.filter(|kept| kept.position <= self.until.through) {
                Some(kept) => kept,
                // Not kept; or changed since, by what this snapshot does not see.
                None => {
                    folded =
                        self.snapshot.fold(&Entity::new(self.kind.as_str(), id)?, self.until)?.encode()?;
                    StoredState::open(&folded)?
                }
            };
            // One that has no event by then is none.
            if kept.events > 0 && !state(id, &kept)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Iterator for EntityIds {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        match &mut self.from {
            RangeStart::These(ids) => ids.pop_front().map(Ok),
            RangeStart::Term { from, prefix, range } => loop {
                match self.snapshot.read(|view| view.term_at(from)) {
                    Ok(found) => {
                        let term = found.filter(|term| term.as_bytes().starts_with(prefix))?;
                        *from = [term.as_bytes(), &term::AFTER_TERM].concat();
                        let (_, id) = term.as_entity().filter(|(_, id)| !range.is_passed(id))?;
                        if range.has(&id) {
                            return Some(Ok(id));
                        }
                    }
                    Err(error) => {
                        self.from = RangeStart::These(VecDeque::new());
                        return Some(Err(error));
                    }
                }
            },
        }
    }
}

/// What was read; none where it is damaged.
pub(super) fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(Error::Corrupt { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// The states of the first of some ids, as many as are held at a time. None that can be read: it is folded, and that tells whether there
/// is one.
fn states_of(
    view: &ReadTxn,
    model: &CatalogModel,
    overlay: Option<&Arc<MemtableOverlay>>,
    ids: &VecDeque<String>,
    page: &mut StateBatch,
) -> Result<()> {
    for id in ids.iter().take(PAGE) {
        match overlay.and_then(|overlay| overlay.states.get(id)) {
            Some(bytes) => page.push(id, bytes.as_deref()),
            None => view.read.with_state(model.position, id, |bytes| {
                page.push(id, bytes);
                Ok(())
            })?,
        }
        if page.held() >= BYTES {
            break;
        }
    }
    Ok(())
}

/// Whether what is kept can be read in a view; with what the memtables make of it, taken with the first.
fn still_serves(
    snapshot: &Snapshot,
    view: &ReadTxn,
    model: &CatalogModel,
    overlay: &mut Option<Arc<MemtableOverlay>>,
) -> Result<bool> {
    let followed = view.read.followed_once(model.position)?;
    match overlay {
        // What the memtables held then is known, and nothing else of what is seen has changed.
        Some(overlay) => Ok(followed.is_some_and(|followed| followed >= overlay.checkpoint)),
        None if followed == Some(view.checkpoint) => {
            *overlay = Some(snapshot.overlay(view, model, None)?);
            Ok(true)
        }
        None => Ok(false),
    }
}
