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

use std::collections::BTreeMap;

use super::pace::Pace;
use super::snapshot::Snapshot;
use super::tables::WriteTables;
use crate::entity::Position;
use crate::error::{Error, Result, size};
use crate::event::record::Record;

pub(crate) use super::catalog::{GroupDelta, Keeps, MAX_GROUP, ViewGroups, ViewMaterializer};

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
            tables.put_group(
                definition,
                &key,
                if bytes.len() > groups.largest() { Vec::new() } else { bytes },
            )?;
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

    /// Up to where a definition is kept, if that is within this snapshot, and each group of it as it is stored, of one read.
    pub fn stored_groups(
        &self,
        definition: Position,
        mut group: impl FnMut(&[u8], Result<&[u8]>),
    ) -> Result<Option<Position>> {
        let view = self.view()?;
        let followed = view.tables().followed(definition)?.filter(|through| *through <= self.head());
        if followed.is_some() {
            view.tables().groups_from(definition, &[], |key, bytes| {
                view.go_on()?;
                group(key, bytes);
                Ok(true)
            })?;
        }
        Ok(followed)
    }

    /// What is stored of some definitions under the same keys, from a key on: of each so many groups at most, and about so many bytes of all
    /// together, but one group at least. None where one of them is not kept, or may have what somebody said who is forgotten.
    pub fn stored_page(
        &self,
        definitions: &[Position],
        from: &[u8],
        most: usize,
        most_bytes: usize,
    ) -> Result<Option<StoredPage>> {
        self.read(|view| {
            // Events may be read in another form by now, and be kept so: this is looked at behind the beginning of the read.
            if self.reads_in_an_earlier_form() {
                return Ok(None);
            }
            let tables = view.tables();
            let mut through = Position::MAX;
            for definition in definitions {
                let Some(followed) = tables.followed(*definition)? else { return Ok(None) };
                through = through.min(followed);
            }
            if tables.keys_to_erase()? {
                return Ok(None);
            }
            let share = most_bytes / definitions.len().max(1);
            let mut page = StoredPage { through, groups: BTreeMap::new(), bytes: 0, is_last: true };
            // The last key of the page, where it ends before the last there is.
            let mut end: Option<Vec<u8>> = None;
            for (at, definition) in definitions.iter().enumerate() {
                let (mut count, mut held, mut last) = (0, 0, Vec::new());
                let read = tables.groups_from(*definition, from, |key, bytes| {
                    view.go_on()?;
                    if end.as_deref().is_some_and(|end| key > end) {
                        return Ok(false);
                    }
                    // One that is damaged may be another one's: nothing is believed. One that is too large is not kept.
                    let bytes = Some(bytes?).filter(|bytes| !bytes.is_empty());
                    let length = bytes.map_or(0, <[u8]>::len);
                    if count > 0 && (count == most || held + length > share) {
                        end = Some(last.clone());
                        return Ok(false);
                    }
                    (count, held) = (count + 1, held + length);
                    last = key.to_vec();
                    let group =
                        page.groups.entry(key.to_vec()).or_insert_with(|| vec![None; definitions.len()]);
                    group[at] = bytes.map(<[u8]>::to_vec);
                    Ok(true)
                });
                match read {
                    Err(Error::Corrupt { .. }) => return Ok(None),
                    read => read?,
                }
            }
            if let Some(end) = end {
                page.groups.retain(|key, _| *key <= end);
                page.is_last = false;
            }
            let stored = page.groups.values().flatten().flatten();
            page.bytes = stored.map(Vec::len).sum();
            Ok(Some(page))
        })
    }
}

/// A page of what is stored of some definitions.
pub(crate) struct StoredPage {
    /// Up to where all of them are kept.
    pub through: Position,
    /// By its key, what is kept of each definition.
    pub groups: BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>,
    /// How many bytes that is.
    pub bytes: usize,
    /// Behind it, there is no more.
    pub is_last: bool,
}
