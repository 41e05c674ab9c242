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

use super::pace::Pace;
use super::snapshot::Snapshot;
use super::tables::WriteTables;
use crate::entity::Position;
use crate::error::{Error, Result, size};
use crate::event::record::Record;

pub(crate) use super::catalog::{GroupDelta, Keeps, ViewGroups, ViewMaterializer};

/// A group takes no more bytes than this; one that would is not kept, and nor is what is read of its view.
pub(super) const LARGEST: usize = if cfg!(test) { 256 } else { MAX_GROUP };
pub(crate) const MAX_GROUP: usize = 64 << 10;

/// What a group is grouped by takes no more either, or its view is kept no further. An event makes one group at most: so a view takes no more
/// of the file for it than the two together.
const LARGEST_KEY: usize = if cfg!(test) { 8 << 10 } else { MAX_GROUP };

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
        if key.len() > LARGEST_KEY {
            let expected = format!("at most {} for a view that is kept", size(LARGEST_KEY as u64));
            return Err(Error::invalid(
                "what a group of a view is grouped by",
                expected,
                size(key.len() as u64),
            ));
        }
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
