//! Creating a database, and opening one again.
//!
//! Recovery ends with one commit of everything that the journal held, and that commit retires the journal's salt: no ghost of
//! an old frame can splice onto a later log. Only then is the log served. A journal that is not this database's is refused,
//! never overwritten, never deleted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Sabotage;
use super::catalog::{self, Catalog, Change};
use super::checkpoint::{self, JournalAfter};
use super::cold::{Cold, Meta, at_opening};
use super::disk::Disk;
use super::journal::{self, DatabaseId, Found, Kind, Remnant, Replay, Salt, Side};
use super::options::Options;
use super::pace::Paces;
use super::tail::{Staged, Tail};
use super::term::terms_of;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::codec;

/// How many chunks of lists are dropped in one write.
const CHUNKS: usize = 4096;

/// What opening a database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many events a crash had left in the journal; they are in the log.
    pub replayed: u64,
    /// Where the log was cut: an append that was never acknowledged was under way there.
    pub cut: Option<Position>,
}

/// Makes a new database under a temporary name and publishes it whole; the name must be free.
pub(crate) fn create(disk: &dyn Disk, path: &Path, options: &Options) -> Result<()> {
    let failed = |e: std::io::Error| Error::unopenable(path, e, "check the path and its permissions");
    let path = disk.canonical(path).map_err(failed)?;
    let exists = || Error::unopenable(&path, "it exists already", "open it, or choose another name");
    if disk.exists(&path).map_err(failed)? {
        return Err(exists());
    }
    for side in Side::BOTH {
        let segment = side.path(&path);
        if disk.exists(&segment).map_err(failed)? {
            let reason = format!("a journal of another database stands beside it ({})", segment.display());
            return Err(Error::unopenable(&path, reason, "put its database back, or move the journal away"));
        }
    }
    let id = DatabaseId::random()?;
    let temporary = temporary_name(&path, id);
    let made = (|| {
        disk.create(&temporary).map_err(failed)?;
        let cold = Cold::open_or_make(options.disk_to_use(), &temporary, options.cache)?;
        cold.initialize(id)?;
        cold.close()?;
        let file = disk.open(&temporary).map_err(failed)?;
        file.sync().map_err(failed)?;
        disk.link(&temporary, &path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => failed(e),
        })
    })();
    // Its work is done, or it failed: either way the temporary name goes.
    let _ = disk.remove(&temporary);
    made?;
    disk.sync_folder(folder(&path)).map_err(failed)
}

fn temporary_name(path: &Path, id: DatabaseId) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-new-{:08x}", u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])));
    name.into()
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Brings the tables up to all that was acknowledged, and leaves no journal behind.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    path: &Path,
    cold: &Cold,
    options: &Options,
) -> Result<Recovered> {
    bring_up(disk, path, cold, options).map_err(|error| at_opening(path, error))
}

/// What a database is that was brought up.
pub(crate) struct Recovered {
    pub meta: Meta,
    pub catalog: Catalog,
    pub recovery: Recovery,
    /// The journal was gone, and what it held is.
    pub lost: bool,
}

fn bring_up(disk: &Arc<dyn Disk>, path: &Path, cold: &Cold, options: &Options) -> Result<Recovered> {
    let (meta, mut catalog) = {
        let read = cold.read()?;
        let meta = read.meta(path)?;
        read.check_ends(&meta)?;
        (meta, Catalog::load(&read, options)?)
    };
    let found = journal::find(&**disk, path)?;
    let (mut recovery, mut lost) = (Recovery::default(), false);
    for segment in &found {
        check_segment(disk, path, &meta, segment, options)?;
    }
    if let Some(salt) = meta.journal {
        // A segment of another session is here only if one's own was given up: see above.
        let own = |found: &&Found| matches!(&found.remnant, Remnant::Segment(header) if header.salt == salt);
        if found.iter().filter(own).count() == 2 {
            let salt = if options.sabotaged(Sabotage::IgnoreSalt) { Salt::ANY } else { salt };
            recovery = replay(disk, path, cold, &meta, salt, &mut catalog, options)?;
        } else if options.accept_lost_journal {
            lost = true;
            drop_lists_after(cold, meta.checkpoint)?;
            checkpoint::write(cold, &[], JournalAfter::Retired(Some(salt)), &catalog, &Paces::default())?;
        } else {
            let reason =
                format!("its journal is gone; the file itself holds every event up to #{}", meta.checkpoint);
            let advice = "put the journal back beside it, or accept the loss of what came after (--accept-lost-journal)";
            return Err(Error::unopenable(path, reason, advice));
        }
    }
    if !found.is_empty() {
        journal::remove(&**disk, path)?;
    }
    let read = cold.read()?;
    Ok(Recovered { meta: read.meta(path)?, catalog: catalog.caught_up(&read)?, recovery, lost })
}

/// Drops the lists of indexes, and what is kept of states, whose definitions were lost with the journal: of another one at the same
/// place they would tell that it is complete.
fn drop_lists_after(cold: &Cold, checkpoint: u64) -> Result<()> {
    for (definition, indexes) in cold.read()?.kept_definitions()? {
        let lost = indexes.into_iter().filter(|index| definition.0 <= checkpoint && index.0 > checkpoint);
        let lost = lost.map(Some).chain((definition.0 > checkpoint).then_some(None));
        for index in lost {
            let mut dropped = false;
            while !dropped {
                cold.write("dropping states", |tables| {
                    dropped = match index {
                        Some(index) => tables.remove_found_of(definition, index, CHUNKS)?,
                        None => tables.remove_states(definition, CHUNKS)?,
                    };
                    Ok(())
                })?;
            }
        }
    }
    let built = catalog::built(&cold.read()?)?;
    for definition in built.into_iter().filter(|definition| definition.0 > checkpoint) {
        let mut dropped = false;
        while !dropped {
            cold.write("dropping an index", |tables| {
                dropped = tables.remove_index(definition, CHUNKS)?;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Refuses a segment that holds something that is not this database's, or that it does not know of.
fn check_segment(
    disk: &Arc<dyn Disk>,
    path: &Path,
    meta: &Meta,
    segment: &Found,
    options: &Options,
) -> Result<()> {
    let refuse = |found: String| {
        let reason = format!("the journal {} is not its own: {found}", segment.path.display());
        Err(Error::unopenable(
            path,
            reason,
            "put the journal beside its own database, or move it away; it is left as it is",
        ))
    };
    let header = match &segment.remnant {
        // An interrupted creation: nothing was written into it, since its header comes first.
        Remnant::Blank => return Ok(()),
        Remnant::Foreign(reason) => return refuse(reason.clone()),
        Remnant::Segment(header) => header,
    };
    if header.id != meta.id {
        return refuse("it belongs to another database".to_owned());
    }
    if Some(header.salt) == meta.journal || Some(header.salt) == meta.retired {
        return Ok(());
    }
    if meta.journal.is_some() && !options.accept_lost_journal {
        return refuse("it is of another session".to_owned());
    }
    // A session that ended before its first write, or one that this copy of the file does not know of.
    match journal::highest_position(&**disk, path)? {
        Some(highest) if highest > meta.checkpoint => {
            refuse(format!("it holds events up to #{highest}, and this file ends at #{}", meta.checkpoint))
        }
        _ => Ok(()),
    }
}

fn replay(
    disk: &Arc<dyn Disk>,
    path: &Path,
    cold: &Cold,
    meta: &Meta,
    salt: Salt,
    catalog: &mut Catalog,
    options: &Options,
) -> Result<Recovery> {
    let replay = Replay::open(&**disk, path, salt, meta.checkpoint)?;
    let first = meta.checkpoint + 1;
    let tail = Arc::new(Tail::new(Side::A, first));
    let mut next = first;
    for frame in replay.frames() {
        let frame = frame?;
        if frame.kind == Kind::Events {
            tail.extend(decode_frame(&frame.payload, &mut next, frame.count, catalog, options)?);
        }
    }
    let cut = replay.cut().map(|cut| Position(cut.at));
    checkpoint::write(cold, &[&tail], JournalAfter::Retired(Some(salt)), catalog, &Paces::default())?;
    Ok(Recovery { replayed: next - first, cut })
}

/// The events of a frame's payload: each its length, then its bytes.
pub(crate) fn decode_frame(
    mut payload: &[u8],
    next: &mut u64,
    count: u32,
    catalog: &mut Catalog,
    options: &Options,
) -> Result<Vec<Staged>> {
    let mut events = Vec::new();
    for _ in 0..count {
        let damaged =
            || Error::corrupt("the journal", format!("a frame that ends before the event at #{next}"));
        let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (bytes, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(damaged)?;
        let bytes: Arc<[u8]> = Arc::from(bytes);
        let event = codec::decode(Position(*next), bytes.clone())?;
        let version = event.version.map_or(0, |version| version.0);
        let mut terms = terms_of(&event)?;
        catalog.terms(Position(*next), &bytes, &mut terms)?;
        if let Some(change) = Change::of(&event, options)? {
            *catalog = catalog.changed(Position(*next), change);
        }
        events.push(Staged { bytes, terms, version });
        *next += 1;
        payload = rest;
    }
    Ok(events)
}
