//! Views: what is made of the log and kept, to be read at once.
//!
//! A view is kept in one of three ways, by what its rows are. Events that are its rows are in an index of it, as those of
//! `DEFINE INDEX` are; entities that are its rows are in an index of states. Groups have rows of their own, in the table `views`:
//! what their aggregates keep of the log up to one position, `through`, for all of them. A checkpoint takes them along where
//! they are at C, in the write that moves C; otherwise the background brings them up to it, stretch by stretch, each one
//! write, so that they go on where they were after a crash.
//!
//! Whoever reads takes what is kept up to some position, and works out the rest of the log: that is always the same as the
//! query over all of it, whatever is kept.

use std::sync::Arc;

use super::catalog::Catalog;
use super::materialize::Following;
use super::materialize::behind::MaterializeRound;
use super::pace::Pace;
use super::snapshot::Snapshot;
use super::tables::WriteTables;
use super::{Shared, locked};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::record::Record;

pub(crate) use super::catalog::{GroupDelta, Keeps, ViewGroups, ViewMaterializer};

/// A group takes no more bytes than this; one that would is not kept, and nor is what is read of its view.
pub(super) const LARGEST: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// Brings the groups of a view up to a stretch of the log; they were kept up to its beginning.
pub(super) fn bring_up(
    tables: &mut WriteTables,
    definition: Position,
    groups: &dyn ViewGroups,
    first: Position,
    events: &[impl AsRef<[u8]>],
    pace: &Pace,
) -> Result<()> {
    pace.begin(definition);
    let mut records = first.onwards().zip(events).map(|(position, bytes)| {
        pace.check()?;
        Record::open(position, bytes.as_ref())
    });
    let part = groups.part(&mut records, pace.limits()).inspect_err(|error| {
        // It may be one of them that is at fault, or all of them that are too much: fewer at a time tell.
        if events.len() > 1 && matches!(error, Error::Invalid { .. }) {
            pace.overrun();
        }
    })?;
    for (key, later) in part {
        pace.check()?;
        let bytes = tables.with_group(definition, &key, |kept| match kept {
            None => Ok(Some(later)),
            // It is too large already.
            Some([]) => Ok(None),
            Some(kept) => groups.join(kept, &later).map(Some),
        })?;
        if let Some(bytes) = bytes {
            tables.put_group(definition, &key, if bytes.len() > LARGEST { Vec::new() } else { bytes })?;
        }
    }
    tables.set_followed(definition, first.plus(events.len() as u64).previous())
}

impl Shared {
    /// Does a slice of what is to be done for each view. Says whether there was anything to do. The indexes of states come after the
    /// states.
    pub(super) fn keep_views(self: &Arc<Shared>, catalog: &Catalog, states: bool) -> Result<bool> {
        let checkpoint = self.tables.read()?.checkpoint()?;
        let done = locked(&self.progress).as_of(checkpoint).views;
        let mut round = MaterializeRound::default();
        let views: Vec<_> = catalog.kept_views_behind(done).collect();
        let following: Vec<_> = views.iter().filter_map(|view| Following::view(view)).collect();
        let mut busy = self.follow_behind(catalog, &following, &mut round)?;
        let finders = views.iter().filter_map(|view| view.finder.as_ref()).filter(|_| states);
        let unbuilt: Vec<_> = finders
            .filter_map(|finder| {
                let model = catalog.model(&finder.kind).filter(|model| model.is_understood())?;
                Some((&**model, &**finder))
            })
            .collect();
        busy.extend(self.build_behind(&unbuilt, &mut round)?);
        let (read, mut all) = (self.tables.read()?, true);
        for view in views {
            let failed = self.failures.is_final(view.position);
            if failed {
                view.set_incomplete();
            }
            if !view.is_complete() && !failed {
                view.look(&read, catalog)?;
            }
            all &= !busy.contains(&view.position) && (view.is_complete() || view.view().is_err() || failed);
            if all {
                locked(&self.progress).as_of(checkpoint).views = view.position;
            }
        }
        drop(read);
        // What another has replaced by now is let go of.
        if catalog.pruned().is_some() {
            self.prune();
            round.add(Ok(true));
        }
        round.end()
    }

    /// Whether every view of a catalog is kept, but for what was just appended. What was dropped or replaced since is not asked for.
    pub(super) fn keeps_views_of(&self, wanted: &Catalog) -> Result<bool> {
        let now = self.applied.catalog();
        let read = self.tables.read()?;
        let checkpoint = read.checkpoint()?;
        let known = locked(&self.progress).as_of(checkpoint).views;
        for view in wanted.kept_views_behind(known).filter(|view| view.view().is_ok()) {
            let still = now.view(&view.name).is_some_and(|newest| newest.position == view.position);
            // One that came up to C once may be far from it again.
            let is_kept = view.groups().is_none() || read.followed(view.position)? >= Some(checkpoint);
            if still && !(view.is_complete() && is_kept) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Groups as they are kept: each with its key and its bytes.
pub(crate) type KeptGroups = Vec<(Vec<u8>, Vec<u8>)>;

impl Snapshot {
    /// Up to where the groups of a view are kept, if that is within this snapshot.
    pub fn kept_through(&self, definition: Position) -> Result<Option<Position>> {
        let followed = self.read(|view| view.tables().followed(definition))?;
        Ok(followed.filter(|through| *through <= self.head()))
    }

    /// The groups of a view as they are kept, up to some position; none if they are kept up to one behind this snapshot, are damaged,
    /// or one of them is too large. `held` is asked for the bytes that each takes.
    pub fn kept_groups(
        &self,
        definition: Position,
        held: impl Fn(usize) -> Result<()>,
    ) -> Result<Option<(Position, KeptGroups)>> {
        self.read(|view| {
            let followed = view.tables().followed(definition)?;
            let Some(through) =
                followed.filter(|through| *through > Position::START && *through <= self.head())
            else {
                return Ok(None);
            };
            let (mut groups, mut whole) = (Vec::new(), true);
            let read = view.tables().each_group(definition, |key, bytes| {
                let bytes = bytes?;
                whole &= !bytes.is_empty();
                held(key.len() + bytes.len() + 64)?;
                groups.push((key.to_vec(), bytes.to_vec()));
                Ok(())
            });
            match read {
                Err(Error::Corrupt { .. }) => Ok(None),
                read => read.map(|()| whole.then_some((through, groups))),
            }
        })
    }

    /// Whether all groups of a view can be read as they are kept.
    pub fn has_kept_groups(&self, definition: Position) -> Result<bool> {
        self.read(|view| {
            let followed = view.tables().followed(definition)?;
            if followed.is_none_or(|through| through == Position::START || through > self.head()) {
                return Ok(false);
            }
            let mut whole = true;
            let read = view.tables().groups_from(definition, &[], |_, bytes| {
                view.go_on()?;
                whole &= !bytes?.is_empty();
                Ok(whole)
            });
            match read {
                Err(Error::Corrupt { .. }) => Ok(false),
                read => read.map(|()| whole),
            }
        })
    }

    /// Up to where a view is kept, and what is kept of one of its groups; none where that is behind this snapshot, is damaged, or the
    /// group is too large.
    pub fn kept_group(
        &self,
        definition: Position,
        key: &[u8],
    ) -> Result<Option<(Position, Option<Vec<u8>>)>> {
        self.read(|view| {
            let followed = view.tables().followed(definition)?;
            let Some(through) =
                followed.filter(|through| *through > Position::START && *through <= self.head())
            else {
                return Ok(None);
            };
            let (mut kept, mut whole) = (None, true);
            let read = view.tables().groups_from(definition, key, |found, bytes| {
                if found == key {
                    let bytes = bytes?;
                    whole = !bytes.is_empty();
                    kept = Some(bytes.to_vec());
                }
                Ok(false)
            });
            match read {
                Err(Error::Corrupt { .. }) => Ok(None),
                read => read.map(|()| whole.then_some((through, kept))),
            }
        })
    }

    /// Hands over what is kept of each group of a view from a key on, as of a position, until it is told to stop. Says whether it is
    /// kept up to there still: else nothing was handed over.
    pub fn kept_groups_from(
        &self,
        definition: Position,
        through: Position,
        from: &[u8],
        mut group: impl FnMut(&[u8], Result<&[u8]>) -> Result<bool>,
    ) -> Result<bool> {
        let view = self.view()?;
        if view.tables().followed(definition)? != Some(through) {
            return Ok(false);
        }
        view.tables().groups_from(definition, from, |key, bytes| {
            view.go_on()?;
            group(key, bytes)
        })?;
        Ok(true)
    }
}
