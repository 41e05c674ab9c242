//! Rescue: every event that can still be read from a damaged file and its journals, in a new file.
//!
//! Three ways lead to an event. Where the file opens, if only in parts, its log is read. What that does not give is looked for in the bytes of
//! the file and of its journals ([`carve`]): events are found by their form and checksum, wherever they lie. What neither gives is
//! missing, and has a `$event.lost` in its place, so that each position means what it did.
//!
//! The events have the bytes that they had, but for one thing: the version of an entity's event counts those before it, and so is another
//! where one of those is missing. Nothing is written to what is rescued, and the new file gets its name when it is whole.
//!
//! A checksum tells damage, not malice. Where the file opens, the events are held to the chain hashes of its zones, too.

mod carve;
mod files;
mod filling;
mod fragments;
mod original;
mod solve;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::bulk_load::BulkLoader;
use super::catalog::Catalog;
use super::copy::Places;
use super::cursor::{Cursor, CursorOwner};
use super::journal::{DatabaseId, Side};
use super::name;
use super::options::Options;
use super::recover;
use super::tables::Tables;
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{NameText, Position};
use crate::error::{Error, Result};
use files::DamagedFiles;
use filling::Filling;
use original::Original;

/// So many runs of missing positions, and so many doubts, are told one by one.
const TOLD: usize = 1000;

/// No stored event takes fewer bytes of a file than this, however well it is compressed: its checksum is like no other.
const SHORTEST: u64 = 4;

/// Where more events than this are missing, what tells of them is not believed.
const MOST_MISSING: u64 = 1 << 28;

/// How far a rescue has come, or what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rescue {
    /// How many bytes were searched, of the file and of its journals.
    pub searched: u64,
    /// How many events were found. They have the positions that they had.
    pub events: u64,
    /// The last position of the new file.
    pub head: Position,
    /// How many positions have no event that could be read: in the new file a `$event.lost` stands there.
    pub missing: u64,
    /// Which they are: the first thousand runs of them.
    pub gaps: Vec<RangeInclusive<Position>>,
    /// Why the file does not open as it is, where it does not.
    pub refusal: Option<String>,
    /// What somebody has to know of what was found, in words: at most a thousand.
    pub doubts: Vec<String>,
    /// What `VERIFY` found in the new file: nothing, unless something is wrong with Bygone.
    pub faults: Vec<String>,
}

impl Rescue {
    fn doubt(&mut self, doubt: impl Into<String>) {
        if self.doubts.len() < TOLD {
            self.doubts.push(doubt.into());
        }
    }

    fn miss(&mut self, position: Position) {
        self.missing += 1;
        let gaps = self.gaps.len();
        match self.gaps.last_mut().filter(|gap| gap.end().next() == position) {
            Some(gap) => *gap = *gap.start()..=position,
            None if gaps < TOLD => self.gaps.push(position..=position),
            None => {}
        }
    }
}

/// How a rescue is done.
pub(crate) struct RescueRequest<'r> {
    pub from: &'r Path,
    pub to: &'r Path,
    pub cancel: &'r Cancel,
    /// Is told how far it is.
    pub progress: &'r mut dyn FnMut(&Rescue),
}

/// Rescues a database into a new file.
///
/// # Errors
/// [`Error::Held`] where somebody has it open; [`Error::Unopenable`] where it is not there, or the new name is taken, or there is no event in
/// it; [`Error::Io`] where a disk fails. There is no new file then.
pub(crate) fn rescue(request: RescueRequest, options: &Options) -> Result<Rescue> {
    let RescueRequest { from, to, cancel, progress } = request;
    let reading = options.clone().read_only(true);
    let disk = reading.disk_to_use();
    let failed = |e: std::io::Error| Error::unopenable(from, e, "check the path and its permissions");
    let path = disk.canonical(from).map_err(failed)?;
    reading.check_key(&path)?;
    let _lock = name::take_lock(&*disk, &path, true)?;
    let writing = options.clone().read_only(false);
    let target = recover::free_name(&*writing.disk_to_use(), to)?;
    if Side::BOTH.iter().any(|side| side.path(&path) == target) {
        return Err(Error::unopenable(
            to,
            "it is the name of a journal of the damaged file",
            "choose another",
        ));
    }
    let mut found = Rescue::default();
    let original = Original::open(&reading, &path, &mut found)?;
    let files = DamagedFiles::open(&*disk, &path, original.as_ref(), &mut found)?;
    let whole = original.as_ref().filter(|_| found.refusal.is_none()).map(|original| original.head);
    let id = original.as_ref().map(|original| original.id).or(files.id);
    let id = id.map_or_else(DatabaseId::random, Ok)?;
    let head = original.as_ref().map(|original| original.head);
    let mut fragments = files.search(whole, cancel, progress, &mut found)?;
    let mut last = head.unwrap_or(Position::START);
    match whole {
        Some(head) if fragments.last() > head => found.doubt(format!(
            "events up to {} lie behind {head}, where the log ends: they were given up, or never acknowledged; they were not taken",
            fragments.last()
        )),
        Some(_) => {}
        None => {
            last = last.max(fragments.last()).max(fragments.told);
            found.doubt(format!("the log may have gone on after {last}"));
        }
    }
    if last == Position::START || original.is_none() && fragments.last() == Position::START {
        let advice = "see whether it is a Bygone database, or put a copy back";
        return Err(Error::unopenable(from, "there is no event in it", advice));
    }
    if original.is_none() && fragments.missing(last) > MOST_MISSING {
        let reason = format!("it says that it goes up to {last}, and almost nothing of that is there");
        return Err(Error::unopenable(from, reason, "put a copy back"));
    }
    recover::create_with(&*writing.disk_to_use(), to, &writing, id, |tables| {
        let limits = Limits::new(options.largest_value, cancel);
        let catalog = Arc::new(Catalog::default());
        if let Some(Err(error)) = original.as_ref().map(|original| original.copy_keys(tables)) {
            found.doubt(format!("keys of private values cannot be read: {error}"));
        }
        let loader = BulkLoader::new(&writing, tables, catalog, Position::START, limits).lenient();
        let mut filling = Filling {
            loader,
            found: &mut found,
            progress,
            cancel,
            bound: whole,
            head: last,
            gap: 0,
            recorded: None,
            patched: false,
        };
        filling.events(original.as_ref(), &mut fragments)?;
        let head = filling.head;
        let lost = filling.loader.lose_keys()?;
        if lost > 0 {
            filling
                .found
                .doubt(format!("{lost} keys of private values are lost: those values read as forgotten"));
        }
        let (_, catalog) = filling.loader.finish()?;
        let places = original.map_or_else(|| Ok(None), |original| original.cursors())?;
        put_places(tables, places, &catalog, head, options, &mut found)
    })?;
    Ok(found)
}

/// Puts the places of followers where they were. What ran by itself begins behind the last event where that is not known: what it did is not
/// known, either.
fn put_places(
    tables: &Tables,
    places: Option<Places>,
    catalog: &Catalog,
    head: Position,
    options: &Options,
    found: &mut Rescue,
) -> Result<()> {
    if places.is_none() {
        found.doubt("where subscriptions were is lost: each begins anew");
    }
    let places = places.unwrap_or_default();
    tables.write("writing cursors", |tables| {
        for (owner, cursor) in &places {
            match cursor {
                Ok(cursor) => tables.put_cursor(owner, cursor)?,
                Err(error) => found.doubt(format!("the place of {owner} is lost: {error}")),
            }
        }
        for program in catalog.programs() {
            let owner = CursorOwner::of(program);
            if places.iter().any(|(place, cursor)| *place == owner && cursor.is_ok()) {
                continue;
            }
            let name = NameText(&program.name);
            found.doubt(format!("where {name} was is lost: it begins behind {head}"));
            tables.put_cursor(&owner, &Cursor::begin(program, head, options.clock.now()))?;
        }
        Ok(())
    })
}
