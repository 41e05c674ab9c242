//! Following: what is kept of the states of entities is brought up to the log, a stretch at a time.
//!
//! The states of a definition are those as of one position of the log, `through`, for all of its entities. A checkpoint takes
//! them along where they are at C, in the write that moves C; otherwise the background brings them up to it, stretch by stretch,
//! each one write, so that they go on where they were after a crash. Whoever reads takes them as of C, or not at all: what
//! a fold needs is always in the log.
//!
//! On the way, snapshots are kept: after so many events of an entity what they have made. For entities that nobody
//! defined there is nothing but snapshots; the background makes those, as a checkpoint finds that they are due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, Finder, Model};
use super::cold::Tables;
use super::cold::states::{Built, Owner};
use super::fold::{EVERY, Fold, Folded, Plain};
use super::kept::Kept;
use super::pace::{Pace, Paces};
use super::progress::Progress;
use super::snapshot::Direction;
use super::term::Term;
use super::{Shared, locked, view};
use crate::allowance::Limits;
use crate::entity::{Entity, EntityStr, Position};
use crate::error::{Error, Result};
use crate::event::record::Record;

/// What a stretch has at most, beside a number of events: so many bytes of them, read for so long.
const BYTES: usize = 16 << 20;
const READING: Duration = Duration::from_millis(100);

/// How many snapshots of plain entities, and how many of programs' own types, wait to be made or written at most: they are never needed.
const WAITING: usize = 10_000;
const WAITING_BYTES: usize = 8 << 20;

/// A model whose states are kept, as it is followed.
struct Followed<'c> {
    model: &'c Model,
    fold: &'c Arc<dyn Fold>,
    finders: Vec<(&'c Arc<Finder>, Built)>,
    limits: &'c Limits,
}

/// Brings up to a stretch of the log what was kept up to its beginning, and tells which plain entities are due a snapshot. The
/// events must be all from `first` on.
pub(super) fn follow(
    tables: &mut Tables,
    catalog: &Catalog,
    first: u64,
    events: &[impl AsRef<[u8]>],
    paces: &Paces,
    pace: &Pace,
) -> Result<Vec<SnapshotDue>> {
    let mut followed = Vec::new();
    for model in catalog.models() {
        // One that is not understood is not followed: it stays where it is.
        if let Ok(fold) = model.fold()
            && !paces.is_slow(model.position)
            && tables.followed(model.position)? == Some(first - 1)
        {
            followed.push((&**model, fold));
        }
    }
    let (touched, due) = touched(catalog, &followed, first, events)?;
    for ((model, fold), entities) in followed.into_iter().zip(touched) {
        bring_up(tables, catalog, (model, fold), first, events, entities, pace)?;
    }
    for view in catalog.kept_views() {
        if let Some(groups) = view.groups()
            && !paces.is_slow(view.position)
            && tables.followed(view.position)? == Some(first - 1)
        {
            match view::bring_up(tables, view.position, groups, first, events, pace) {
                // What is damaged, or cannot be evaluated, is made anew of the log, and nothing else waits for that.
                Err(error) if pace.overran().is_none() && !matches!(error, Error::Io { .. }) => {
                    tables.forget_followed(view.position)?;
                }
                kept => kept?,
            }
        }
    }
    Ok(due)
}

/// For each entity that events concern, which, and whether they are its own.
pub(super) type Touched = BTreeMap<String, Vec<(u64, bool)>>;

/// An entity that nobody defined, and where it is due a snapshot.
pub(crate) type SnapshotDue = (Entity, u64);

/// What a stretch touches: for each model its entities, and the plain entities that are due a snapshot.
fn touched(
    catalog: &Catalog,
    followed: &[(&Model, &Arc<dyn Fold>)],
    first: u64,
    events: &[impl AsRef<[u8]>],
) -> Result<(Vec<Touched>, Vec<SnapshotDue>)> {
    let mut touched: Vec<Touched> = followed.iter().map(|_| Touched::new()).collect();
    let mut due = Vec::new();
    for (position, bytes) in (first..).zip(events) {
        let event = Record::open(Position(position), bytes.as_ref())?;
        if let Some(target) = event.target() {
            due.extend(snapshot_due(catalog, &event, target)?);
        }
        for ((model, fold), touched) in followed.iter().zip(&mut touched) {
            touch(touched, &event, model, &***fold);
        }
    }
    Ok((touched, due))
}

/// What a stretch touches of the entities of a model.
pub(super) fn touched_by(
    model: &Model,
    fold: &dyn Fold,
    first: u64,
    events: &[impl AsRef<[u8]>],
) -> Result<Touched> {
    let mut touched = Touched::new();
    for (position, bytes) in (first..).zip(events) {
        let event = Record::open(Position(position), bytes.as_ref())?;
        touch(&mut touched, &event, model, fold);
    }
    Ok(touched)
}

/// Adds an event to the entities of a model that it concerns.
fn touch(touched: &mut Touched, event: &Record, model: &Model, fold: &dyn Fold) {
    let position = event.position().0;
    if let Some(target) = event.target().filter(|target| target.kind == model.kind) {
        add(touched, target.id, position, true);
    }
    for id in included(event, &model.kind, fold) {
        add(touched, &id, position, false);
    }
}

fn add(touched: &mut Touched, id: &str, position: u64, own: bool) {
    match touched.get_mut(id) {
        Some(positions) => positions.push((position, own)),
        None => drop(touched.insert(id.to_owned(), vec![(position, own)])),
    }
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
    Ok(Some((Entity::new(target.kind, target.id)?, event.position().0)))
}

/// The ids of the entities of a kind whose folds an event joins that is not theirs.
fn included(event: &Record, kind: &str, fold: &dyn Fold) -> Vec<String> {
    let mut ids = Vec::new();
    for include in fold.includes() {
        if !include.on.matches_text(event.kind()) {
            continue;
        }
        for (_, value) in event.tags().filter(|(name, _)| *name == include.tag) {
            let Some(id) = value.to_value().ok().and_then(|value| Term::id_of_tag(&value)) else { continue };
            let own = event.target().is_some_and(|target| target.kind == kind && target.id == id);
            if !own && Term::is_id(kind, &id) {
                ids.push(id);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Writes the states of the entities that a stretch touches.
fn bring_up(
    tables: &mut Tables,
    catalog: &Catalog,
    (model, fold): (&Model, &Arc<dyn Fold>),
    first: u64,
    events: &[impl AsRef<[u8]>],
    entities: Touched,
    pace: &Pace,
) -> Result<()> {
    pace.begin(model.position);
    let mut finders = Vec::new();
    let known: BTreeMap<Position, Built> = tables.indexes_of(model.position)?.into_iter().collect();
    for finder in catalog.finders_of(&model.kind) {
        let built = match known.get(&finder.position) {
            Some(built) => built.clone(),
            // Before the first state, an index of none is whole.
            None if first == 1 => {
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
    let followed = Followed { model, fold, finders, limits: pace.limits() };
    for (id, positions) in entities {
        followed.entity(tables, &id, first, events, &positions, pace)?;
    }
    tables.set_followed(model.position, first + events.len() as u64 - 1)
}

impl Followed<'_> {
    fn entity(
        &self,
        tables: &mut Tables,
        id: &str,
        first: u64,
        events: &[impl AsRef<[u8]>],
        positions: &[(u64, bool)],
        pace: &Pace,
    ) -> Result<()> {
        let definition = self.model.position;
        let finders: Vec<_> = self.finders.iter().filter(|(_, built)| built.has(id)).collect();
        let limits = self.limits;
        let found = |kept: &Kept| -> Result<Vec<Vec<Term>>> {
            finders.iter().map(|(finder, _)| found_by(id, kept, finder, limits)).collect()
        };
        let (mut folded, before) = tables.with_state(definition, id, |bytes| match bytes {
            None => Ok((Folded::default(), finders.iter().map(|_| Vec::new()).collect())),
            Some(bytes) => {
                let kept = Kept::open(bytes)?;
                Ok((kept.to_folded(limits)?, found(&kept)?))
            }
        })?;
        let mut term = None;
        for (position, own) in positions {
            pace.check()?;
            let bytes = events.get((position - first) as usize).map(AsRef::as_ref).unwrap_or_default();
            folded.add(&**self.fold, &Record::open(Position(*position), bytes)?, *own, limits)?;
            if folded.events.is_multiple_of(self.fold.every()) {
                let entity = match &term {
                    Some(term) => term,
                    None => term.insert(Term::entity(&Entity::new(&self.model.kind, id)?)?),
                };
                tables.put_snapshot(Owner::Model(definition), entity, *position, folded.encode()?)?;
            }
        }
        let bytes = folded.encode()?;
        let after = found(&Kept::open(&bytes)?)?;
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

/// The terms that a state is found by, each once, in order. Those of which there is none have a place of their own: they are to be told of.
pub(super) fn found_by(id: &str, kept: &Kept, finder: &Finder, limits: &Limits) -> Result<Vec<Term>> {
    if kept.fault.is_some() { Ok(vec![finder.faulty_term()]) } else { finder.terms(id, kept, limits) }
}

/// Snapshots that are to be made, and to be written, when there is time.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Of entities that nobody defined, at these positions.
    plain: Vec<SnapshotDue>,
    /// Made already, of a program's own types (its name for the fold) and of entities that nobody defined: the entity, where, and
    /// the bytes.
    made: Vec<(Option<String>, Term, u64, Vec<u8>)>,
    bytes: usize,
}

/// A round of the background: a slice for each definition, so that none waits for another that is slow, or fails.
#[derive(Default)]
pub(super) struct Round {
    worked: bool,
    failed: Option<Error>,
}

impl Round {
    /// Takes note of how a slice went. Says whether there was nothing to do.
    pub fn add(&mut self, slice: Result<bool>) -> bool {
        match slice {
            Ok(worked) => {
                self.worked |= worked;
                !worked
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                false
            }
        }
    }

    /// Whether there was anything to do; an error if there was nothing but what failed.
    pub fn end(self) -> Result<bool> {
        match self.failed {
            Some(error) if !self.worked => Err(error),
            _ => Ok(self.worked),
        }
    }
}

impl Shared {
    /// Remembers which plain entities are due a snapshot. What is too much is forgotten: the next one will do.
    pub(super) fn snapshots_due(&self, due: Vec<SnapshotDue>) {
        if due.is_empty() || self.options.read_only {
            return;
        }
        let mut waiting = locked(&self.due);
        let room = WAITING.saturating_sub(waiting.plain.len());
        waiting.plain.extend(due.into_iter().take(room));
        drop(waiting);
        self.upkeep.ask(|asked| asked.index = true);
    }

    /// Takes a snapshot, of a program's own type by its name, to be written when there is time.
    pub(crate) fn keep_snapshot(&self, name: Option<&str>, entity: Term, position: u64, bytes: Vec<u8>) {
        if self.options.read_only {
            return;
        }
        let mut waiting = locked(&self.due);
        if waiting.bytes + bytes.len() > WAITING_BYTES || waiting.made.len() >= WAITING {
            return;
        }
        waiting.bytes += bytes.len();
        waiting.made.push((name.map(str::to_owned), entity, position, bytes));
        drop(waiting);
        self.upkeep.ask(|asked| asked.index = true);
    }

    /// Does a slice of what is to be done for kept states. Says whether there was anything to do.
    pub(super) fn keep_states(self: &Arc<Shared>) -> Result<bool> {
        let checkpoint = self.cold.read()?.checkpoint()?;
        // Before the catalog: what ends behind it is looked for in the next round.
        let leftovers = !std::mem::replace(&mut locked(&self.progress).as_of(checkpoint).no_states, true);
        let catalog = self.applied.catalog();
        let done = |note: fn(&mut Progress) -> &mut Position| *note(locked(&self.progress).as_of(checkpoint));
        let note = |note: fn(&mut Progress) -> &mut Position, done: Position| {
            *note(locked(&self.progress).as_of(checkpoint)) = done;
        };
        let (mut round, mut all) = (Round::default(), true);
        for model in catalog.models_behind(done(|progress| &mut progress.models)) {
            if model.is_understood() {
                all &= self.keep_model(&catalog, model, &mut round);
            }
            if all {
                note(|progress| &mut progress.models, model.position);
            }
        }
        // The indexes of states come after the states.
        let states = all;
        for finder in catalog.finders_behind(done(|progress| &mut progress.finders)).filter(|_| states) {
            if let Some(model) = catalog.model(&finder.kind).filter(|model| model.is_understood()) {
                all &= round.add(self.tried(finder.position, || self.build_finder(model, finder)));
            }
            if all {
                note(|progress| &mut progress.finders, finder.position);
            }
        }
        round.add(self.keep_views(&catalog, states));
        round.add(self.write_snapshots());
        if leftovers && !round.add(self.drop_states(&catalog)) {
            locked(&self.progress).no_states = false;
        }
        round.end()
    }

    /// Does a slice for the states of a model, then for the indexes of them. Says whether there was nothing to do.
    fn keep_model(self: &Arc<Shared>, catalog: &Catalog, model: &Model, round: &mut Round) -> bool {
        let mut done = round.add(self.tried(model.position, || self.follow_model(catalog, model)));
        if done && !self.failures.is_final(model.position) {
            for finder in catalog.finders_of(&model.kind) {
                done &= round.add(self.tried(finder.position, || self.build_finder(model, finder)));
            }
        }
        done
    }

    /// Works for a definition, unless it failed by itself before: then, or if it does now, there is nothing to do for it.
    pub(super) fn tried(&self, definition: Position, work: impl FnOnce() -> Result<bool>) -> Result<bool> {
        // Whoever closes does not wait for what the next opening does, of however many definitions.
        if self.failures.is_final(definition) || self.upkeep.stopping() {
            return Ok(false);
        }
        let worked = self.failures.note(definition, work());
        if self.failures.is_final(definition) { Ok(false) } else { worked }
    }

    /// Whether all states that a catalog has defined are kept up to C, and are in the indexes of them. What was dropped or replaced
    /// since, or is not understood, is not asked for.
    pub(super) fn keeps_states_of(&self, wanted: &Catalog) -> Result<bool> {
        let catalog = self.applied.catalog();
        let read = self.cold.read()?;
        let checkpoint = read.checkpoint()?;
        let still =
            |model: &Model| wanted.model(&model.kind).is_some_and(|wanted| wanted.position == model.position);
        for model in catalog.models().filter(|model| model.is_understood() && still(model)) {
            if read.followed(model.position)? != Some(checkpoint) {
                return Ok(false);
            }
            for finder in catalog.finders_of(&model.kind).filter(|finder| finder.is_understood()) {
                let asked =
                    wanted.finder(&finder.name).is_some_and(|asked| asked.position == finder.position);
                if asked && read.built(model.position, finder.position)? != Some(Built::Whole) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Brings the states of a model a stretch nearer to C.
    fn follow_model(self: &Arc<Shared>, catalog: &Catalog, model: &Model) -> Result<bool> {
        let fold = model.fold()?;
        self.follow_definition(model.position, |tables, first, events, pace| {
            let entities = touched_by(model, &**fold, first, events)?;
            bring_up(tables, catalog, (model, fold), first, events, entities, pace)
        })
    }

    /// Brings what is kept of a definition a stretch nearer to C: `bring_up` is given the stretch.
    pub(super) fn follow_definition(
        self: &Arc<Shared>,
        definition: Position,
        bring_up: impl FnOnce(&mut Tables, u64, &[Box<[u8]>], &Pace) -> Result<()>,
    ) -> Result<bool> {
        let (checkpoint, through) = {
            let read = self.cold.read()?;
            (read.checkpoint()?, read.followed(definition)?)
        };
        let Some(through) = through else {
            // A definition that a crash takes away must leave nothing behind: another one may come to its place.
            if self.watch.synced() < definition.0 {
                self.sync_log()?;
            }
            // What was half removed when a crash took back why, or is damaged, goes first.
            let most = self.options.index_slice.1;
            self.cold.write("beginning to keep what is defined", |tables| {
                match tables.remove_states(definition, most)? {
                    true => tables.set_followed(definition, 0),
                    false => Ok(()),
                }
            })?;
            return Ok(true);
        };
        if through >= checkpoint {
            return Ok(false);
        }
        let (began, mut bytes, mut events) = (Instant::now(), 0, Vec::<Box<[u8]>>::new());
        let mut log = self.snapshot().log(through + 1, checkpoint, Direction::Ascending);
        let most = self.options.index_slice.0;
        log.lend(self.paces.events(definition, most), |_, event| {
            bytes += event.len() + 64;
            events.push(event.into());
            Ok(bytes < BYTES && began.elapsed() < READING && !self.upkeep.stopping())
        })?;
        if events.is_empty() {
            return Err(Error::corrupt("the log", format!("no event at #{}", through + 1)));
        }
        let is_stopping = || self.upkeep.stopping();
        let limits = self.limits();
        let pace = Pace::of(events.len(), &is_stopping, &limits);
        pace.begin(definition);
        let kept = self.cold.write("keeping what is defined", |tables| {
            // A checkpoint may have come between.
            if tables.followed(definition)? != Some(through) {
                return Ok(());
            }
            bring_up(tables, through + 1, &events, &pace)
        });
        if pace.overran().is_some() {
            self.paces.overran(definition, events.len());
            return Ok(true);
        }
        self.or_begin_anew(definition, kept)?;
        self.paces.kept_up(definition, events.len(), most);
        Ok(true)
    }

    /// Where what is kept is damaged, that is told, and the states are begun anew.
    fn or_begin_anew(&self, definition: Position, kept: Result<()>) -> Result<()> {
        if let Err(Error::Corrupt { .. }) = &kept {
            self.cold.write("beginning to keep states anew", |tables| tables.forget_followed(definition))?;
        }
        kept
    }

    /// Puts more of the states that there are into an index of them.
    pub(super) fn build_finder(&self, model: &Model, finder: &Finder) -> Result<bool> {
        if self.cold.read()?.built(model.position, finder.position)? == Some(Built::Whole) {
            return Ok(false);
        }
        if self.watch.synced() < finder.position.0 {
            self.sync_log()?;
        }
        let all = self.options.index_slice.1;
        let most = self.paces.events(finder.position, all);
        let is_stopping = || self.upkeep.stopping();
        let limits = self.limits();
        let pace = Pace::of(most, &is_stopping, &limits);
        pace.begin(finder.position);
        let built = self.cold.write("building an index of states", |tables| {
            let (model, index) = (model.position, finder.position);
            let after = match tables.built(model, index)? {
                None => Vec::new(),
                // A crash took back why it was being dropped; or a checkpoint did not know of it.
                Some(built) if built == Built::DROPPING => {
                    return tables.remove_found_of(model, index, most).map(drop);
                }
                Some(Built::Through(id)) => id,
                Some(Built::Whole) => return Ok(()),
            };
            let (mut entries, mut last, mut count) = (Vec::new(), None, 0);
            tables.states_after(model, &after, most, |id, bytes| {
                pace.check()?;
                let terms = found_by(id, &Kept::open(bytes)?, finder, &limits)?;
                entries.extend(terms.into_iter().map(|term| (term, id.to_owned())));
                (last, count) = (Some(id.as_bytes().to_vec()), count + 1);
                Ok(())
            })?;
            for (term, id) in entries {
                tables.put_found(model, &term, &id)?;
            }
            match last.filter(|_| count == most) {
                Some(last) => tables.set_built(model, index, &Built::Through(last)),
                None => tables.set_built(model, index, &Built::Whole),
            }
        });
        if pace.overran().is_some() {
            self.paces.overran(finder.position, most);
            return Ok(true);
        }
        self.or_begin_anew(model.position, built)?;
        self.paces.kept_up(finder.position, most, all);
        Ok(true)
    }

    /// Makes and writes the snapshots that are due.
    fn write_snapshots(self: &Arc<Shared>) -> Result<bool> {
        let Due { mut plain, made: named, .. } = std::mem::take(&mut *locked(&self.due));
        if plain.is_empty() && named.is_empty() {
            return Ok(false);
        }
        let (snapshot, checkpoint) = (self.snapshot(), self.cold.read()?.checkpoint()?);
        // Those of an entity one after the other: each begins where the one before ended.
        plain.sort_by(|(a, p), (b, q)| (a.kind(), a.id(), p).cmp(&(b.kind(), b.id(), q)));
        let (mut made, mut held) = (Vec::new(), 0);
        let mut last: Option<(Entity, Folded)> = None;
        for (entity, position) in plain {
            if self.upkeep.stopping() || held > WAITING_BYTES {
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
        self.cold.write("keeping snapshots", |tables| {
            for (term, position, bytes) in made {
                tables.put_snapshot(Owner::Plain, &term, position, bytes)?;
            }
            // What is not in the tables yet may be lost with the journal; then there must be no snapshot of it.
            for (name, term, position, bytes) in
                named.into_iter().filter(|(_, _, position, _)| *position <= checkpoint)
            {
                let owner = name.as_deref().map_or(Owner::Plain, Owner::Named);
                tables.put_snapshot(owner, &term, position, bytes)?;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Drops some of what is kept of definitions that hold no more.
    fn drop_states(&self, catalog: &Catalog) -> Result<bool> {
        let kept = self.cold.read()?.kept_definitions()?;
        let most = self.options.index_slice.1;
        for (definition, indexes) in kept {
            if catalog.keeps_view(definition) {
                continue;
            }
            let Some(model) = catalog.model_at(definition) else {
                // One that was defined after this catalog was taken is not to be dropped.
                if catalog_is_behind(self, definition) {
                    continue;
                }
                self.cold
                    .write("dropping states", |tables| tables.remove_states(definition, most).map(drop))?;
                return Ok(true);
            };
            let defined: BTreeSet<Position> =
                catalog.finders_of(&model.kind).map(|finder| finder.position).collect();
            for index in indexes {
                if !defined.contains(&index) && !catalog_is_behind(self, index) {
                    self.cold.write("dropping an index of states", |tables| {
                        tables.remove_found_of(definition, index, most).map(drop)
                    })?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Whether something is defined there by now.
fn catalog_is_behind(shared: &Shared, definition: Position) -> bool {
    shared.applied.catalog().has(definition)
}

#[cfg(test)]
pub(super) mod tests;
