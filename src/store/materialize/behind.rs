//! What is behind the log, of what is kept of definitions: the background brings it up, a slice of each in a round.
//!
//! A write of the tables takes about as long for one definition as for many, and so does reading a stretch of the log. So those that
//! are at the same place come along together; where that fails, or takes long, each goes alone, so that none waits for another.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Following, Materializer, bring_up};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::store::catalog::{Catalog, CatalogModel, Finder};
use crate::store::kernel::Kernel;
use crate::store::mutex::locked;
use crate::store::pace::Pace;
use crate::store::snapshot::ScanDirection;
use crate::store::state::stored_state::StoredState;
use crate::store::tables::WriteTables;
use crate::store::tables::states::Built;
use crate::store::touched::found_by;

/// What a stretch has at most, beside a number of events: so many bytes of them, read for so long.
const BYTES: usize = 16 << 20;
const READING: Duration = Duration::from_millis(100);

/// How many definitions one write brings along at most.
pub(in crate::store) const TOGETHER: usize = 128;

/// A round of the background: a slice for each definition, so that none waits for another that is slow, or fails.
#[derive(Default)]
pub(in crate::store) struct MaterializeRound {
    worked: bool,
    failed: Option<Error>,
}

impl MaterializeRound {
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

/// The definitions of a round that there was something to do for.
pub(in crate::store) type Busy = BTreeSet<Position>;

impl Materializer {
    /// Does a slice of what is to be done for kept states. Says whether there was anything to do.
    pub(in crate::store) fn keep_states(&self) -> Result<bool> {
        let checkpoint = self.kernel.tables.read()?.checkpoint()?;
        // Before the catalog: what ends behind it is looked for in the next round.
        let leftovers = !std::mem::replace(&mut locked(&self.progress).as_of(checkpoint).no_states, true);
        let catalog = self.kernel.applied.catalog();
        let mut round = MaterializeRound::default();
        let states = self.keep_models(&catalog, checkpoint, &mut round)?;
        round.add(self.keep_views(&catalog, states));
        round.add(self.write_snapshots());
        if leftovers && !round.add(self.drop_states(&catalog)) {
            locked(&self.progress).no_states = false;
        }
        round.end()
    }

    /// Does a slice for the states of each model, and for the indexes of those that are kept. Says whether there was nothing to do.
    fn keep_models(
        &self,
        catalog: &Catalog,
        checkpoint: Position,
        round: &mut MaterializeRound,
    ) -> Result<bool> {
        let (models_done, finders_done) = self.states_done(checkpoint);
        let models: Vec<_> = catalog.models_behind(models_done).map(|model| &**model).collect();
        let following: Vec<_> = models.iter().filter_map(|model| Following::model(model)).collect();
        let mut busy = self.follow_behind(catalog, &following, round)?;
        // The indexes of states come after the states.
        let is_kept = |model: &CatalogModel| !busy.contains(&model.position) && model.is_understood();
        let mut unbuilt = BTreeMap::new();
        for model in
            models.iter().filter(|model| is_kept(model) && !self.kernel.failures.is_final(model.position))
        {
            let finders = catalog.finders_of(&model.kind);
            unbuilt.extend(finders.map(|finder| (finder.position, (*model, &**finder))));
        }
        let finders: Vec<_> = match busy.is_empty() {
            true => catalog.finders_behind(finders_done).collect(),
            false => Vec::new(),
        };
        for finder in &finders {
            if let Some(model) = catalog.model(&finder.kind).filter(|model| is_kept(model)) {
                unbuilt.insert(finder.position, (&**model, &***finder));
            }
        }
        let unbuilt: Vec<_> = unbuilt.into_values().collect();
        let building = self.build_behind(&unbuilt, round)?;
        let of_models = unbuilt.iter().filter(|(_, finder)| building.contains(&finder.position));
        busy.extend(of_models.map(|(model, _)| model.position));
        let idle = |definition: &Position| !busy.contains(definition) && !building.contains(definition);
        let mut progress = locked(&self.progress);
        let progress = progress.as_of(checkpoint);
        if let Some(last) = models.iter().map(|model| model.position).take_while(idle).last() {
            progress.models = last;
        }
        if let Some(last) = finders.iter().map(|finder| finder.position).take_while(idle).last() {
            progress.finders = last;
        }
        Ok(busy.is_empty() && building.is_empty())
    }

    /// Up to which definitions all is done for states, and for the indexes of them, as of C.
    fn states_done(&self, checkpoint: Position) -> (Position, Position) {
        let mut progress = locked(&self.progress);
        let progress = progress.as_of(checkpoint);
        (progress.models, progress.finders)
    }

    /// Works for a definition, unless it failed by itself before: then, or if it does now, there is nothing to do for it.
    pub(in crate::store) fn tried(
        &self,
        definition: Position,
        work: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        // Whoever closes does not wait for what the next opening does, of however many definitions.
        if self.kernel.failures.is_final(definition) || self.kernel.background.stopping() {
            return Ok(false);
        }
        let worked = self.kernel.failures.note(definition, work());
        if self.kernel.failures.is_final(definition) { Ok(false) } else { worked }
    }

    /// Does a slice for each of some definitions, together where that works: `work` does it for one or several.
    pub(in crate::store) fn each_or_together<T>(
        &self,
        chunk: &[T],
        round: &mut MaterializeRound,
        busy: &mut Busy,
        definition: impl Fn(&T) -> Position,
        work: impl Fn(&[T]) -> Result<bool>,
    ) {
        // What takes long or fails alone is told as its own.
        if chunk.len() > 1
            && !self.kernel.background.stopping()
            && let Ok(worked) = work(chunk)
        {
            round.add(Ok(worked));
            for definition in chunk.iter().map(definition) {
                let _ = self.kernel.failures.note(definition, Ok(()));
                if worked {
                    busy.insert(definition);
                }
            }
            return;
        }
        for one in chunk {
            if !round.add(self.tried(definition(one), || work(std::slice::from_ref(one)))) {
                busy.insert(definition(one));
            }
        }
    }

    /// Cuts definitions into those that are done together: those that take long are alone.
    pub(in crate::store) fn chunks<T: Copy>(&self, all: Vec<T>, at: impl Fn(&T) -> Position) -> Vec<Vec<T>> {
        let (slow, quick): (Vec<T>, Vec<T>) = all.into_iter().partition(|one| self.paces.is_slow(at(one)));
        let alone = slow.into_iter().map(|one| vec![one]);
        alone.chain(quick.chunks(TOGETHER).map(<[T]>::to_vec)).collect()
    }

    /// Whether all states that a catalog has defined are kept up to C, and are in the indexes of them. What was dropped or replaced
    /// since, or is not understood, is not asked for.
    pub(in crate::store) fn keeps_states_of(&self, wanted: &Catalog) -> Result<bool> {
        let catalog = self.kernel.applied.catalog();
        let read = self.kernel.tables.read()?;
        let checkpoint = read.checkpoint()?;
        let still = |model: &CatalogModel| {
            wanted.model(&model.kind).is_some_and(|wanted| wanted.position == model.position)
        };
        let asked = |finder: &Finder| {
            wanted.finder(&finder.name).is_some_and(|asked| asked.position == finder.position)
        };
        // What is known to be done is not looked at, so that one more of many is waited for as the first is.
        let (models, finders) = self.states_done(checkpoint);
        let whole = |model: &CatalogModel, finder: &Finder| {
            let ignored = !finder.is_understood() || !asked(finder);
            Ok::<_, Error>(ignored || read.built(model.position, finder.position)? == Some(Built::Whole))
        };
        for model in catalog.models_behind(models).filter(|model| model.is_understood() && still(model)) {
            if read.followed(model.position)? != Some(checkpoint) {
                return Ok(false);
            }
            for finder in catalog.finders_of(&model.kind) {
                if !whole(model, finder)? {
                    return Ok(false);
                }
            }
        }
        for finder in catalog.finders_behind(finders) {
            let model = catalog.model(&finder.kind).filter(|model| model.is_understood() && still(model));
            if let Some(model) = model
                && !whole(model, finder)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings what is kept of definitions a stretch nearer to C. Says which were not there.
    pub(in crate::store) fn follow_behind(
        &self,
        catalog: &Catalog,
        following: &[Following],
        round: &mut MaterializeRound,
    ) -> Result<Busy> {
        let mut busy = Busy::new();
        let mut at: BTreeMap<Option<Position>, Vec<Following>> = BTreeMap::new();
        let checkpoint = {
            let read = self.kernel.tables.read()?;
            for one in following.iter().filter(|one| !self.kernel.failures.is_final(one.definition())) {
                at.entry(read.followed(one.definition())?).or_default().push(*one);
            }
            read.checkpoint()?
        };
        for (through, following) in at {
            let chunks = self.chunks(following, Following::definition);
            let Some(through) = through else {
                for chunk in chunks {
                    self.each_or_together(&chunk, round, &mut busy, Following::definition, |chunk| {
                        self.begin_to_keep(chunk)
                    });
                }
                continue;
            };
            if through >= checkpoint {
                continue;
            }
            let stretch = OnceCell::new();
            for chunk in chunks {
                self.each_or_together(&chunk, round, &mut busy, Following::definition, |chunk| {
                    if stretch.get().is_none() {
                        let _ = stretch.set(self.stretch(through, checkpoint)?);
                    }
                    self.follow_stretch(catalog, chunk, through, stretch.get().map_or(&[], |events| events))
                });
            }
        }
        Ok(busy)
    }

    /// Begins to keep something of definitions of which nothing is kept.
    fn begin_to_keep(&self, chunk: &[Following]) -> Result<bool> {
        // A definition that a crash takes away must leave nothing behind: another one may come to its place.
        if chunk.iter().any(|one| self.kernel.log_progress.synced() < one.definition()) {
            self.kernel.sync_log()?;
        }
        let most = self.kernel.options.index_slice.1.div_ceil(chunk.len());
        self.kernel.tables.write("beginning to keep what is defined", |tables| {
            for definition in chunk.iter().map(Following::definition) {
                // What was half removed when a crash took back why, or is damaged, goes first.
                if tables.remove_states(definition, most)? {
                    tables.set_followed(definition, Position::START)?;
                }
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// The events of the log behind a position, as many as are held at a time.
    fn stretch(&self, through: Position, checkpoint: Position) -> Result<Vec<Box<[u8]>>> {
        let (began, mut bytes, mut events) = (Instant::now(), 0, Vec::<Box<[u8]>>::new());
        let mut log =
            self.kernel.snapshot().log(PositionRange::between(through, checkpoint), ScanDirection::Ascending);
        log.lend(self.kernel.options.index_slice.0, |_, event| {
            bytes += event.len() + 64;
            events.push(event.into());
            Ok(bytes < BYTES && began.elapsed() < READING && !self.kernel.background.stopping())
        })?;
        if events.is_empty() {
            return Err(Error::corrupt("the log", format!("no event at {}", through.next())));
        }
        Ok(events)
    }

    /// Brings what is kept of definitions, all up to the same position, up to what follows it, in one write.
    fn follow_stretch(
        &self,
        catalog: &Catalog,
        chunk: &[Following],
        through: Position,
        events: &[Box<[u8]>],
    ) -> Result<bool> {
        let most = self.kernel.options.index_slice.0;
        let given = chunk.iter().map(|one| self.paces.events(one.definition(), most)).min();
        let events = &events[..given.unwrap_or(most).min(events.len())];
        let is_stopping = || self.kernel.background.stopping();
        let limits = self.kernel.limits();
        let pace = Pace::of(events.len(), &is_stopping, &limits);
        let kept = self.kernel.tables.write("keeping what is defined", |tables| {
            let mut following = Vec::with_capacity(chunk.len());
            for one in chunk {
                // A checkpoint may have come between.
                if tables.followed(one.definition())? == Some(through) {
                    following.push(*one);
                }
            }
            bring_up(tables, catalog, &following, through.next(), events, &pace, |_, _, error| Err(error))
        });
        match chunk {
            [one] if pace.overran().is_some() => {
                self.paces.overran(one.definition(), events.len());
                return Ok(true);
            }
            [one] => self.or_begin_anew(one.definition(), kept)?,
            _ => kept?,
        }
        for one in chunk {
            self.paces.kept_up(one.definition(), events.len(), most);
        }
        Ok(true)
    }

    /// Where what is kept is damaged, that is told, and the states are begun anew.
    fn or_begin_anew(&self, definition: Position, kept: Result<()>) -> Result<()> {
        if let Err(Error::Corrupt { .. }) = &kept {
            self.kernel
                .tables
                .write("beginning to keep states anew", |tables| tables.forget_followed(definition))?;
        }
        kept
    }

    /// Puts more of the states that there are into indexes of them. Says which were not whole.
    pub(in crate::store) fn build_behind(
        &self,
        finders: &[(&CatalogModel, &Finder)],
        round: &mut MaterializeRound,
    ) -> Result<Busy> {
        let mut busy = Busy::new();
        let at = |(_, finder): &(&CatalogModel, &Finder)| finder.position;
        let mut unbuilt = Vec::new();
        let read = self.kernel.tables.read()?;
        for (model, finder) in finders.iter().filter(|one| !self.kernel.failures.is_final(at(one))) {
            if read.built(model.position, finder.position)? != Some(Built::Whole) {
                unbuilt.push((*model, *finder));
            }
        }
        drop(read);
        for chunk in self.chunks(unbuilt, at) {
            self.each_or_together(&chunk, round, &mut busy, at, |chunk| self.build_finders(chunk));
        }
        Ok(busy)
    }

    /// Puts more of the states that there are into indexes of them, in one write.
    fn build_finders(&self, chunk: &[(&CatalogModel, &Finder)]) -> Result<bool> {
        if chunk.iter().any(|(_, finder)| self.kernel.log_progress.synced() < finder.position) {
            self.kernel.sync_log()?;
        }
        let all = self.kernel.options.index_slice.1;
        let given = chunk.iter().map(|(_, finder)| self.paces.events(finder.position, all)).min();
        let most = given.unwrap_or(all).div_ceil(chunk.len());
        let is_stopping = || self.kernel.background.stopping();
        let limits = self.kernel.limits();
        let pace = Pace::of(most * chunk.len(), &is_stopping, &limits);
        let built = self.kernel.tables.write("building an index of states", |tables| {
            chunk.iter().try_for_each(|(model, finder)| {
                pace.begin(finder.position);
                build_finder(tables, model, finder, most, &pace)
            })
        });
        match chunk {
            [(_, finder)] if pace.overran().is_some() => {
                self.paces.overran(finder.position, most);
                return Ok(true);
            }
            [(model, _)] => self.or_begin_anew(model.position, built)?,
            _ => built?,
        }
        for (_, finder) in chunk {
            self.paces.kept_up(finder.position, most, all);
        }
        Ok(true)
    }

    /// Drops some of what is kept of definitions that hold no more.
    fn drop_states(&self, catalog: &Catalog) -> Result<bool> {
        let kept = self.kernel.tables.read()?.kept_definitions()?;
        let most = self.kernel.options.index_slice.1;
        for (definition, indexes) in kept {
            if catalog.keeps_view(definition) {
                continue;
            }
            let Some(model) = catalog.model_at(definition) else {
                // One that was defined after this catalog was taken is not to be dropped.
                if catalog_is_behind(&self.kernel, definition) {
                    continue;
                }
                self.kernel
                    .tables
                    .write("dropping states", |tables| tables.remove_states(definition, most).map(drop))?;
                return Ok(true);
            };
            let defined: BTreeSet<Position> =
                catalog.finders_of(&model.kind).map(|finder| finder.position).collect();
            for index in indexes {
                if !defined.contains(&index) && !catalog_is_behind(&self.kernel, index) {
                    self.kernel.tables.write("dropping an index of states", |tables| {
                        tables.remove_found_of(definition, index, most).map(drop)
                    })?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Puts so many more of the states that there are into an index of them.
fn build_finder(
    tables: &mut WriteTables,
    model: &CatalogModel,
    finder: &Finder,
    most: usize,
    pace: &Pace,
) -> Result<()> {
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
        let terms = found_by(id, &StoredState::open(bytes)?, finder, pace.limits())?;
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
}

/// Whether something is defined there by now.
fn catalog_is_behind(kernel: &Kernel, definition: Position) -> bool {
    kernel.applied.catalog().has(definition)
}
