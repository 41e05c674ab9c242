//! Following: what is kept of the states of entities is brought up to the log, a stretch at a time.
//!
//! The states of a definition are those as of one position of the log, `through`, for all of its entities. A checkpoint takes
//! them along where they are at C, in the write that moves C; otherwise the background brings them up to it, stretch by stretch,
//! each one write, so that they go on where they were after a crash. Whoever reads takes them as of C, or not at all: what
//! a fold needs is always in the log.
//!
//! On the way, snapshots are kept: after so many events of an entity what they have made. For entities that nobody
//! defined there is nothing but snapshots; the background makes those, as a checkpoint finds that they are due.
//!
//! What the background does is in [`behind`], [`backfill`] and [`views`]. Two locks, of what is retired and of what is known to be done, each
//! held for a moment; a leader takes them within that of the committer, so that nothing is waited for while one is held.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

pub(super) use backfill::BackfillStep;
use backfill::Retired;

use super::catalog::{Catalog, CatalogModel, DefinedView, Finder};
use super::index::term::Term;
use super::kernel::Kernel;
use super::pace::{Pace, Paces};
use super::progress::Progress;
use super::read_form::read_form;
use super::state::fold::{EVERY, Fold, Folded, Plain};
use super::state::stored_state::StoredState;
use super::state_caches::{DueSnapshots, MadeSnapshot, SnapshotDue, WAITING_BYTES};
use super::tables::WriteTables;
use super::tables::states::{Built, SnapshotOwner};
use super::touched::{TouchedEntities, found_by, touched};
use super::view;
use super::view::ViewGroups;
use crate::allowance::Limits;
use crate::entity::{Entity, EntityStr, Position};
use crate::error::{Error, Result};
use crate::event::record::Record;

/// What is kept of a definition, as it follows the log.
#[derive(Clone, Copy)]
pub(super) enum Following<'c> {
    /// States of the entities of a kind.
    Model(&'c CatalogModel, &'c Arc<dyn Fold>),
    /// Groups of a view.
    View(Position, &'c dyn ViewGroups),
}

impl<'c> Following<'c> {
    /// A model, if it is understood: else it is not followed, and stays where it is.
    pub fn model(model: &'c CatalogModel) -> Option<Following<'c>> {
        model.fold().ok().map(|fold| Following::Model(model, fold))
    }

    /// A view, if groups are kept of it.
    pub fn view(view: &'c DefinedView) -> Option<Following<'c>> {
        view.groups().map(|groups| Following::View(view.position, groups))
    }

    pub fn definition(&self) -> Position {
        match self {
            Following::Model(model, _) => model.position,
            Following::View(position, _) => *position,
        }
    }
}

/// A model whose states are kept, as it is followed.
struct MaterializedModel<'c> {
    model: &'c CatalogModel,
    fold: &'c Arc<dyn Fold>,
    finders: Vec<(&'c Arc<Finder>, Built)>,
    limits: &'c Limits,
}

/// Whether something is made of the values of events: else their headers alone are looked at.
pub(super) fn follows_values(catalog: &Catalog) -> bool {
    catalog.models().next().is_some() || catalog.kept_views().next().is_some()
}

/// Brings up to a stretch of the log what was kept up to its beginning, and tells which plain entities are due a snapshot. The
/// events must be all from `first` on.
pub(super) fn follow(
    tables: &mut WriteTables,
    catalog: &Catalog,
    first: Position,
    events: &[impl AsRef<[u8]>],
    paces: &Paces,
    pace: &Pace,
) -> Result<Vec<SnapshotDue>> {
    if first >= catalog.reformed() || !follows_values(catalog) {
        return follow_read(tables, catalog, first, events, paces, pace);
    }
    let events = first.onwards().zip(events).map(|(at, bytes)| read_form(at, bytes.as_ref(), catalog));
    let events: Vec<Cow<[u8]>> = events.collect::<Result<_>>()?;
    follow_read(tables, catalog, first, &events, paces, pace)
}

/// The same, of events as they are read.
fn follow_read(
    tables: &mut WriteTables,
    catalog: &Catalog,
    first: Position,
    events: &[impl AsRef<[u8]>],
    paces: &Paces,
    pace: &Pace,
) -> Result<Vec<SnapshotDue>> {
    let models = catalog.models().filter_map(|model| Following::model(model));
    let views = catalog.kept_views().filter_map(|view| Following::view(view));
    let mut following = Vec::new();
    for one in models.chain(views).filter(|one| !paces.is_slow(one.definition())) {
        if tables.followed(one.definition())? == Some(first.previous()) {
            following.push(one);
        }
    }
    let mut due = Vec::new();
    for (position, bytes) in first.onwards().zip(events) {
        let event = Record::open(position, bytes.as_ref())?;
        if let Some(target) = event.target() {
            due.extend(snapshot_due(catalog, &event, target)?);
        }
    }
    bring_up(tables, catalog, &following, first, events, pace, |tables, view, error| {
        // What is damaged, or cannot be evaluated, is made anew of the log, and nothing else waits for that.
        let may_wait = pace.overran().is_none() && !matches!(error, Error::Io { .. });
        if may_wait { tables.forget_followed(view) } else { Err(error) }
    })?;
    Ok(due)
}

/// Brings what is kept of definitions up to a stretch of the log. `or` has the error of a view.
fn bring_up(
    tables: &mut WriteTables,
    catalog: &Catalog,
    following: &[Following],
    first: Position,
    events: &[impl AsRef<[u8]>],
    pace: &Pace,
    or: impl Fn(&mut WriteTables, Position, Error) -> Result<()>,
) -> Result<()> {
    let models: Vec<_> = following
        .iter()
        .filter_map(|one| match one {
            Following::Model(model, fold) => Some((*model, *fold)),
            Following::View(..) => None,
        })
        .collect();
    let mut touched = touched(&models, first, events)?.into_iter();
    for one in following {
        match *one {
            Following::Model(model, fold) => {
                let entities = touched.next().unwrap_or_default();
                bring_up_states(tables, catalog, (model, fold), first, events, entities, pace)?;
            }
            Following::View(view, groups) => {
                view::bring_up(tables, view, groups, first, events, pace)
                    .or_else(|error| or(tables, view, error))?;
            }
        }
    }
    Ok(())
}

/// The entity, if it is one that nobody defined, and has another so many events now.
fn snapshot_due(catalog: &Catalog, event: &Record, target: EntityStr) -> Result<Option<SnapshotDue>> {
    let version = event.version().map_or(0, |version| version.0);
    if version == 0
        || !version.is_multiple_of(EVERY)
        || target.kind.starts_with('$')
        || catalog.model(target.kind).is_some()
    {
        return Ok(None);
    }
    Ok(Some((Entity::new(target.kind, target.id)?, event.position())))
}

/// Writes the states of the entities that a stretch touches.
fn bring_up_states(
    tables: &mut WriteTables,
    catalog: &Catalog,
    (model, fold): (&CatalogModel, &Arc<dyn Fold>),
    first: Position,
    events: &[impl AsRef<[u8]>],
    entities: TouchedEntities,
    pace: &Pace,
) -> Result<()> {
    pace.begin(model.position);
    let mut finders = Vec::new();
    let known: BTreeMap<Position, Built> = tables.indexes_of(model.position)?.into_iter().collect();
    for finder in catalog.finders_of(&model.kind) {
        let built = match known.get(&finder.position) {
            Some(built) => built.clone(),
            // Before the first state, an index of none is whole.
            None if first == Position::FIRST => {
                tables.set_built(model.position, finder.position, &Built::Whole)?;
                Built::Whole
            }
            None => continue,
        };
        finders.push((finder, built));
    }
    // Who has another catalog may know of more. What is not kept up must not serve them.
    let defined: BTreeSet<Position> = catalog.finders_of(&model.kind).map(|finder| finder.position).collect();
    for (position, built) in known {
        if built != Built::DROPPING && !defined.contains(&position) {
            tables.set_built(model.position, position, &Built::DROPPING)?;
        }
    }
    let followed = MaterializedModel { model, fold, finders, limits: pace.limits() };
    for (id, positions) in entities {
        followed.entity(tables, &id, first, events, &positions, pace)?;
    }
    tables.set_followed(model.position, first.plus(events.len() as u64).previous())
}

impl MaterializedModel<'_> {
    fn entity(
        &self,
        tables: &mut WriteTables,
        id: &str,
        first: Position,
        events: &[impl AsRef<[u8]>],
        positions: &[(Position, bool)],
        pace: &Pace,
    ) -> Result<()> {
        let definition = self.model.position;
        let finders: Vec<_> = self.finders.iter().filter(|(_, built)| built.has(id)).collect();
        let limits = self.limits;
        let found = |kept: &StoredState| -> Result<Vec<Vec<Term>>> {
            finders.iter().map(|(finder, _)| found_by(id, kept, finder, limits)).collect()
        };
        let (mut folded, before) = tables.with_state(definition, id, |bytes| match bytes {
            None => Ok((Folded::default(), finders.iter().map(|_| Vec::new()).collect())),
            Some(bytes) => {
                let kept = StoredState::open(bytes)?;
                Ok((kept.to_folded(limits)?, found(&kept)?))
            }
        })?;
        let mut term = None;
        for (position, own) in positions {
            pace.check()?;
            let bytes = position
                .index_from(first)
                .and_then(|at| events.get(at))
                .map(AsRef::as_ref)
                .unwrap_or_default();
            folded.add(&**self.fold, &Record::open(*position, bytes)?, *own, limits)?;
            if folded.events.is_multiple_of(self.fold.every()) {
                let entity = match &term {
                    Some(term) => term,
                    None => term.insert(Term::entity(&Entity::new(&self.model.kind, id)?)?),
                };
                tables.put_snapshot(SnapshotOwner::Model(definition), entity, *position, folded.encode()?)?;
            }
        }
        let bytes = folded.encode()?;
        let after = found(&StoredState::open(&bytes)?)?;
        for (before, after) in before.iter().zip(&after) {
            // Both are in order.
            for term in before.iter().filter(|term| after.binary_search(term).is_err()) {
                tables.remove_found(definition, term, id)?;
            }
            for term in after.iter().filter(|term| before.binary_search(term).is_err()) {
                tables.put_found(definition, term, id)?;
            }
        }
        tables.put_state(definition, id, bytes)
    }
}

/// What keeps up with the log what is defined: states, views and indexes. The background has it work, a slice at a time.
#[derive(Debug)]
pub(crate) struct Materializer {
    kernel: Arc<Kernel>,
    /// How fast what is defined can be kept.
    pub(super) paces: Paces,
    /// Indexes whose lists are still being read, or written.
    pub(super) retired: Mutex<Vec<Retired>>,
    /// What is known to be done for definitions.
    pub(super) progress: Mutex<Progress>,
    /// Whoever does a slice. One begins where the one before ended: two at once would do the same.
    pub(super) slice: Mutex<()>,
}

impl Materializer {
    pub fn new(kernel: Arc<Kernel>) -> Materializer {
        Materializer {
            kernel,
            paces: Paces::default(),
            retired: Mutex::default(),
            progress: Mutex::default(),
            slice: Mutex::default(),
        }
    }

    /// Makes and writes the snapshots that are due.
    fn write_snapshots(&self) -> Result<bool> {
        let due = self.kernel.state_caches.take_due();
        if due.is_empty() {
            return Ok(false);
        }
        let (snapshot, checkpoint) = (self.kernel.snapshot(), self.kernel.tables.read()?.checkpoint()?);
        let DueSnapshots { mut plain, made: given, .. } = due;
        // Those of an entity one after the other: each begins where the one before ended.
        plain.sort_by(|(a, p), (b, q)| (a.kind(), a.id(), p).cmp(&(b.kind(), b.id(), q)));
        let (mut made, mut held) = (Vec::new(), 0);
        let mut last: Option<(Entity, Folded)> = None;
        for (entity, position) in plain {
            if self.kernel.background.stopping() || held > WAITING_BYTES {
                break;
            }
            // Its kind may have been defined meanwhile.
            if position > checkpoint || snapshot.indexes().model(entity.kind()).is_some() {
                continue;
            }
            let folded = match last.take() {
                Some((before, folded)) if before == entity => folded,
                _ => snapshot.fold_kept(&entity, position)?,
            };
            let folded = snapshot.fold_all_from(folded, &entity, &Plain, position)?;
            let bytes = folded.encode()?;
            held += bytes.len();
            made.push((Term::entity(&entity)?, position, bytes));
            last = Some((entity, folded));
        }
        self.kernel.tables.write("keeping snapshots", |tables| {
            // What was read before somebody was forgotten since is not kept: who forgets drops what is there behind this.
            let forgotten = self.kernel.keyring.forgotten();
            for (term, position, bytes) in made.into_iter().filter(|_| snapshot.forgotten() == forgotten) {
                tables.put_snapshot(SnapshotOwner::Plain, &term, position, bytes)?;
            }
            // What is not in the tables yet may be lost with the journal; then there must be no snapshot of it.
            let given = given.into_iter();
            for MadeSnapshot { name, entity, position, bytes, .. } in
                given.filter(|made| made.position <= checkpoint && made.forgotten == forgotten)
            {
                let owner = name.as_deref().map_or(SnapshotOwner::Plain, SnapshotOwner::Named);
                tables.put_snapshot(owner, &entity, position, bytes)?;
            }
            Ok(())
        })?;
        Ok(true)
    }
}

mod backfill;
pub(super) mod behind;
#[cfg(test)]
pub(super) mod tests;
mod views;
