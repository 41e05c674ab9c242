//! States: what the entities of a kind are as of the head, in the order of their ids.
//!
//! Where they are kept ([`follow`](crate::store::materialize)), they are read as they lie, and what the memtables hold is folded onto them
//! once and remembered ([`MemtableOverlay`]). Where they are not, or not up to C yet, each entity is folded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{FoldBound, MemtableOverlay, ReadTxn, Snapshot};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::store::catalog::{CatalogModel, Finder};
use crate::store::index::term::{self, Term};
use crate::store::mutex::locked;
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
    snapshot: Snapshot,
    kind: String,
    model: Option<Arc<CatalogModel>>,
    until: FoldBound,
    source: StateSource,
    overlay: Option<Arc<MemtableOverlay>>,
    /// None of what is to be folded.
    page: VecDeque<(String, Option<Vec<u8>>)>,
    done: bool,
}

enum StateSource {
    /// All that are kept, behind an id.
    Kept(Option<String>),
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
    /// Those whose terms come from here on.
    Term {
        from: Vec<u8>,
        prefix: Vec<u8>,
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

    /// The states of a kind as of the head; or of these ids alone, in this order.
    pub fn states(&self, kind: &str, ids: Option<VecDeque<String>>) -> Result<States> {
        self.states_by(&self.way_to_states(kind)?, kind, ids)
    }

    /// The same, where it was asked already how they are come by: if that is no more so, it is noticed.
    pub fn states_by(&self, way: &StateAccess, kind: &str, ids: Option<VecDeque<String>>) -> Result<States> {
        let now = FoldBound { through: self.head, by: None };
        let source = match (*way == StateAccess::Kept, ids) {
            (true, None) => StateSource::Kept(None),
            (true, Some(ids)) => StateSource::KeptIds(ids),
            (false, None) => StateSource::Each(self.ids(kind, None)?),
            (false, Some(ids)) => {
                StateSource::Each(EntityIds { snapshot: self.clone(), from: RangeStart::These(ids) })
            }
        };
        self.states_from(kind, now, source)
    }

    /// What the entities of a kind were at some point, or these of them: each is folded.
    pub fn past_states(&self, kind: &str, until: FoldBound, ids: Option<VecDeque<String>>) -> Result<States> {
        let ids = match ids {
            None => self.ids(kind, None)?,
            Some(ids) => EntityIds { snapshot: self.clone(), from: RangeStart::These(ids) },
        };
        self.states_from(kind, until, StateSource::Each(ids))
    }

    fn states_from(&self, kind: &str, until: FoldBound, source: StateSource) -> Result<States> {
        let done = matches!(&source, StateSource::KeptIds(ids) if ids.is_empty());
        Ok(States {
            snapshot: self.clone(),
            kind: kind.to_owned(),
            model: self.catalog.model(kind).cloned(),
            until,
            source,
            overlay: None,
            page: VecDeque::new(),
            done,
        })
    }

    /// The ids of all entities of a kind, behind one. Those that only others' events concern have no place among the terms of the
    /// kind: where there may be such, all are gathered.
    pub fn ids(&self, kind: &str, after: Option<&str>) -> Result<EntityIds> {
        let fold = self.fold_of(kind)?;
        let snapshot = self.clone();
        if fold.includes().is_empty() {
            let prefix = term::kind_prefix(kind);
            let from = match after {
                None => prefix.clone(),
                Some(id) => [Term::entity(&Entity::new(kind, id)?)?.as_bytes(), &term::AFTER_TERM].concat(),
            };
            return Ok(EntityIds { snapshot, from: RangeStart::Term { from, prefix } });
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
        let behind = ids.into_iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
        Ok(EntityIds { snapshot, from: RangeStart::These(behind.collect()) })
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

    /// What the memtables make of the states that are kept as of a view's C; with an index of that, if it is wanted.
    pub(super) fn overlay(
        &self,
        view: &ReadTxn,
        model: &CatalogModel,
        finder: Option<&Arc<Finder>>,
    ) -> Result<Arc<MemtableOverlay>> {
        let (definition, checkpoint, head) = (model.position, view.checkpoint, view.head());
        let nothing = MemtableOverlay::new(definition, checkpoint);
        if head <= checkpoint {
            return Ok(Arc::new(nothing));
        }
        let mut known = locked(&self.kernel.state_caches.overlays);
        let fits = |overlay: &&Arc<MemtableOverlay>| {
            overlay.definition == definition && overlay.checkpoint == checkpoint && overlay.through <= head
        };
        let mut overlay = match known.iter().find(fits) {
            Some(overlay) if overlay.through == head && overlay.has(finder) => return Ok(overlay.clone()),
            Some(overlay) => overlay.clone(),
            None => Arc::new(nothing),
        };
        // It is changed where it is, if nobody reads it.
        known.retain(|other| other.checkpoint == checkpoint && !Arc::ptr_eq(other, &overlay));
        let grown = Arc::make_mut(&mut overlay);
        grown.take_in(view, model, self.query_memory(), &self.limits())?;
        if let Some(finder) = finder.filter(|finder| !grown.has(Some(finder))) {
            grown.index(finder, &self.limits())?;
        }
        // An older snapshot sees less than what is remembered for others.
        known.retain(|other| other.definition != definition);
        known.push(overlay.clone());
        Ok(overlay)
    }
}

impl States {
    /// Lends the next states until it is told to stop; whether there may be more.
    pub fn lend(&mut self, mut state: impl FnMut(&str, &StoredState) -> Result<bool>) -> Result<bool> {
        loop {
            while let Some((id, bytes)) = self.page.pop_front() {
                let through = self.until.through;
                let is_seen = |kept: &StoredState| kept.position <= through;
                let stored = bytes.as_deref().map(StoredState::open).transpose();
                let stored = stored.inspect_err(|_| self.end())?.filter(is_seen);
                let folded;
                let kept = match stored {
                    Some(kept) => kept,
                    // Not kept; or changed since, by what this snapshot does not see.
                    None => {
                        folded = self.folded(&id).inspect_err(|_| self.end())?;
                        StoredState::open(&folded)?
                    }
                };
                // One that has no event by then is none.
                if kept.events > 0 && !state(&id, &kept)? {
                    return Ok(true);
                }
            }
            if self.done {
                return Ok(false);
            }
            if let Err(error) = self.fill() {
                self.end();
                return Err(error);
            }
        }
    }

    fn end(&mut self) {
        self.done = true;
        self.page.clear();
    }

    /// What the events of an entity have made.
    fn folded(&self, id: &str) -> Result<Vec<u8>> {
        self.snapshot.fold(&Entity::new(&self.kind, id)?, self.until)?.encode()
    }

    fn fill(&mut self) -> Result<()> {
        let mut page: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        let mut behind = false;
        let snapshot = self.snapshot.clone();
        match (&mut self.source, &self.model) {
            (StateSource::Each(ids), _) => {
                let mut held = 0;
                while self.page.len() < PAGE && held < BYTES {
                    let Some(id) = ids.next().transpose()? else {
                        self.done = true;
                        break;
                    };
                    let bytes = snapshot.fold(&Entity::new(&self.kind, &id)?, self.until)?.encode()?;
                    held += bytes.len();
                    self.page.push_back((id, Some(bytes)));
                }
            }
            (StateSource::Kept(after), Some(model)) => {
                let overlay = &mut self.overlay;
                let last = snapshot.read(|view| {
                    page.clear();
                    if !still_serves(&snapshot, view, model, overlay)? {
                        behind = true;
                        return Ok(None);
                    }
                    let mut held = 0;
                    let rows = |id: &str, bytes: Result<&[u8]>| {
                        let bytes = bytes?.to_vec();
                        held += bytes.len();
                        page.push((id.to_owned(), Some(bytes)));
                        Ok(held < BYTES)
                    };
                    let read = view.read.each_state_after(model.position, after.as_deref(), PAGE, rows);
                    // Where something is damaged, nobody knows which ids there are: those of the log are folded.
                    let read = unless_damaged(read)?;
                    behind = read.is_none();
                    Ok(read.flatten())
                })?;
                if !behind {
                    if let Some(overlay) = overlay {
                        merge(&mut page, overlay, after.as_deref(), last.as_deref());
                    }
                    self.done = last.is_none();
                    *after = last.or(after.take());
                }
            }
            (StateSource::KeptIds(ids), Some(model)) => {
                let overlay = &mut self.overlay;
                let read = snapshot.read(|view| {
                    let serves = still_serves(&snapshot, view, model, overlay)?;
                    if serves { states_of(view, model, overlay.as_ref(), ids).map(Some) } else { Ok(None) }
                })?;
                behind = read.is_none();
                if let Some(states) = read {
                    page = states;
                    ids.drain(..page.len());
                    self.done = ids.is_empty();
                }
            }
            (StateSource::Kept(_) | StateSource::KeptIds(_), None) => self.done = true,
        }
        if behind {
            return self.go_on_folding();
        }
        self.page.extend(page);
        Ok(())
    }

    /// What was kept is not any more: the rest is folded.
    fn go_on_folding(&mut self) -> Result<()> {
        let ids = match &mut self.source {
            StateSource::Kept(after) => self.snapshot.ids(&self.kind, after.as_deref())?,
            StateSource::KeptIds(ids) => {
                EntityIds { snapshot: self.snapshot.clone(), from: RangeStart::These(std::mem::take(ids)) }
            }
            StateSource::Each(_) => return Ok(()),
        };
        self.source = StateSource::Each(ids);
        Ok(())
    }
}

impl Iterator for EntityIds {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        match &mut self.from {
            RangeStart::These(ids) => ids.pop_front().map(Ok),
            RangeStart::Term { from, prefix } => match self.snapshot.read(|view| view.term_at(from)) {
                Ok(found) => {
                    let term = found.filter(|term| term.as_bytes().starts_with(prefix))?;
                    *from = [term.as_bytes(), &term::AFTER_TERM].concat();
                    term.as_entity().map(|(_, id)| Ok(id))
                }
                Err(error) => {
                    self.from = RangeStart::These(VecDeque::new());
                    Some(Err(error))
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
) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let (mut states, mut held) = (Vec::new(), 0);
    for id in ids.iter().take(PAGE) {
        let state = match overlay.and_then(|overlay| overlay.states.get(id)) {
            Some(bytes) => bytes.clone(),
            None => view.read.with_state(model.position, id, |bytes| Ok(bytes.map(<[u8]>::to_vec)))?,
        };
        held += state.as_ref().map_or(0, Vec::len);
        states.push((id.clone(), state));
        if held >= BYTES {
            break;
        }
    }
    Ok(states)
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

/// Puts the states of the memtables in the place of those that are kept, between two ids.
fn merge(
    page: &mut Vec<(String, Option<Vec<u8>>)>,
    overlay: &MemtableOverlay,
    after: Option<&str>,
    last: Option<&str>,
) {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let range = (after.map_or(Unbounded, Excluded), last.map_or(Unbounded, Included));
    let mut newer = overlay.states.range::<str, _>(range).peekable();
    if newer.peek().is_none() {
        return;
    }
    let mut merged: BTreeMap<String, Option<Vec<u8>>> = std::mem::take(page).into_iter().collect();
    merged.extend(newer.map(|(id, bytes)| (id.clone(), bytes.clone())));
    *page = merged.into_iter().collect();
}
