//! Creating a database, and opening one again.
//!
//! Recovery ends with one commit of everything that the journal held, and that commit retires the journal's salt: no ghost of
//! an old frame can splice onto a later log. Only then is the log served. A journal that is not this database's is refused,
//! never overwritten, never deleted; and none is deleted before all that it held is known to be in the tables. Where something
//! may be missing it is said, and the journal is given another name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::apply::{self, Applied};
use super::catalog::{self, Catalog};
use super::checkpoint;
use super::cursor_moves::Moves;
use super::disk::{self, Disk};
use super::fault_injection::FaultInjection;
use super::journal::{self, DatabaseId, FrameKind, JournalReplay, Remnant, Salt, SegmentFile, Side};
use super::keyring::{KeySource, Keyring};
use super::log::JournalAfter;
use super::name;
use super::options::Options;
use super::outdated;
use super::pace::Paces;
use super::tables::{FollowedLog, Meta, Tables, at_opening};
use super::temporary::{Place, TemporaryFile};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};

/// How many chunks of lists are dropped in one write.
const CHUNKS: usize = 4096;

/// What opening a database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How many events a crash had left in the journal; they are in the log.
    pub replayed: u64,
    /// Where the log was cut: the journal ends there in an append that was under way, or in damage to one that was
    /// acknowledged. Nothing tells which; a notice says what was found.
    pub cut: Option<Position>,
    /// What somebody has to know: a sentence for each thing that may be missing, or that was found and is not this file's.
    pub notices: Vec<String>,
    /// The journal files that were not removed but given these names, since they may hold what the file does not.
    pub set_aside: Vec<PathBuf>,
}

/// Makes a new database; its name must be free.
pub(crate) fn create(disk: &dyn Disk, path: &Path, options: &Options) -> Result<()> {
    create_with(disk, path, options, DatabaseId::random()?, |tables| {
        if !options.follows_log() {
            return Ok(());
        }
        // Whoever opens it without the log, before it was reached, does not append to it.
        let unknown = FollowedLog { id: None, sequence: 0 };
        tables.write("noting the log", |tables| tables.set_followed_log(unknown))
    })
}

/// Makes a new database under a temporary name, fills it, and publishes it whole; its name must be free.
pub(super) fn create_with(
    disk: &dyn Disk,
    path: &Path,
    options: &Options,
    id: DatabaseId,
    fill: impl FnOnce(&Tables) -> Result<()>,
) -> Result<()> {
    let failed = |e: std::io::Error| Error::unopenable(path, e, "check the path and its permissions");
    let said = path;
    let path = free_name(disk, path)?;
    let temporary = TemporaryFile::name(&path, id.0);
    name::remove_interrupted(disk, &temporary, said, Place::Free)?;
    let file = disk.create(&temporary).map_err(failed)?;
    // Its work is done, or it failed, with a panic even: either way the temporary name goes.
    let made = TemporaryFile::new(disk, &temporary, &*file);
    let _lock = name::take_lock(disk, &temporary, false)?;
    let tables = Tables::open_or_make(options.disk_to_use(), &temporary, options.cache)?;
    let filled = tables.initialize(id).and_then(|()| fill(&tables));
    let closed = tables.close();
    filled.and(closed)?;
    file.sync().map_err(failed)?;
    made.publish(&path, Place::Free).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => taken(&path),
        _ => failed(e),
    })?;
    drop(made);
    disk.sync_folder(disk::folder(&path)).map_err(failed)
}

/// The path of a new database, if its name is free, and no journal stands beside it.
pub(super) fn free_name(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    let failed = |e: std::io::Error| Error::unopenable(path, e, "check the path and its permissions");
    let path = disk.canonical(path).map_err(failed)?;
    if disk.exists(&path).map_err(failed)? {
        return Err(taken(&path));
    }
    disk.check_name(&path).map_err(|error| name::not_locked(&path, error))?;
    name::check_no_journal(disk, &path)?;
    Ok(path)
}

fn taken(path: &Path) -> Error {
    Error::unopenable(path, "it exists already", "open it, or choose another name")
}

/// Brings the tables up to all that was acknowledged, and leaves no journal behind.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    path: &Path,
    tables: &Tables,
    options: &Options,
) -> Result<Recovered> {
    OpenAttempt { disk, path, tables, options }.bring_up().map_err(|error| at_opening(path, error))
}

/// What a database is that was brought up.
pub(crate) struct Recovered {
    pub meta: Meta,
    pub catalog: Catalog,
    pub recovery: Recovery,
    /// The journal was gone, damaged or cut, and what it held from there on is.
    pub lost: bool,
}

/// A database that is being opened.
struct OpenAttempt<'o> {
    disk: &'o Arc<dyn Disk>,
    path: &'o Path,
    tables: &'o Tables,
    options: &'o Options,
}

impl OpenAttempt<'_> {
    fn bring_up(&self) -> Result<Recovered> {
        let OpenAttempt { disk, path, tables, options } = *self;
        let (meta, applied) = {
            let read = tables.read()?;
            let meta = read.meta(path)?;
            read.check_ends(&meta)?;
            let applied = Applied::new(meta.checkpoint, Catalog::load(&read, || options.compiler())?);
            (meta, applied)
        };
        let found = journal::find(&**disk, path)?;
        let (mut recovery, mut lost) = (Recovery::default(), false);
        for segment in &found {
            self.check_segment(&meta, segment)?;
        }
        if let Some(salt) = meta.journal {
            (recovery, lost) = self.take_in(&meta, salt, &found, &applied)?;
        }
        if !found.is_empty() {
            self.put_away(&meta, &found, lost, &mut recovery)?;
        }
        outdated::give_up(tables, &applied.catalog(), options)?;
        let read = tables.read()?;
        Ok(Recovered {
            meta: read.meta(path)?,
            catalog: Catalog::clone(&applied.catalog()).caught_up(&read)?,
            recovery,
            lost,
        })
    }

    /// Takes in what the journal of the session with this salt holds. Says whether something may be missing after it.
    fn take_in(
        &self,
        meta: &Meta,
        salt: Salt,
        found: &[SegmentFile],
        applied: &Applied,
    ) -> Result<(Recovery, bool)> {
        let OpenAttempt { disk, path, tables, options } = *self;
        let salt = if options.injects(FaultInjection::IgnoreSalt) { Salt::ANY } else { salt };
        let replay = JournalReplay::salvage(&**disk, path, salt, meta.checkpoint)?;
        let stray = strays(path, meta, found);
        let damage = stray.or_else(|| replay.lost().map(|lost| lost.reason.clone()));
        if let Some(damage) = &damage
            && !options.accept_lost_journal
        {
            return Err(self.without_journal(damage, found, meta, replay.last_position()));
        }
        let keyring = Keyring::of(&tables.read()?)?;
        let keys = KeySource::Tables(&keyring, tables);
        let (mut moves, own_limits) = (Moves::default(), Limits::new(options.largest_value, &Cancel::new()));
        for frame in replay.frames() {
            let frame = frame?;
            match frame.kind {
                FrameKind::Events => {
                    let (head, catalog) = applied.head_and_catalog();
                    if frame.first != head.next() {
                        let found = format!("a frame that begins with {} after {head}", frame.first);
                        return Err(Error::corrupt("the journal", found));
                    }
                    let (events, catalog) =
                        apply::derive(&frame, catalog, &own_limits, keys, || options.compiler())?;
                    for (position, event) in frame.first.onwards().zip(&events) {
                        keyring.apply(&event.keys, position);
                    }
                    applied.apply(events, &frame.payload, catalog)?;
                }
                FrameKind::Cursors => moves.take_in(&frame.payload)?,
            }
        }
        moves.apply(tables)?;
        let memtables = applied.memtables();
        let mut recovery =
            Recovery { replayed: memtables.head.since(meta.checkpoint), ..Recovery::default() };
        if damage.is_some() {
            let last = memtables.head;
            recovery
                .notices
                .push(format!("the log ends at {last}: what the journal held after it is given up"));
        } else if let Some(cut) = replay.cut() {
            let at = cut.at;
            recovery.cut = Some(at);
            recovery.notices.push(format!(
                "the log was cut at {at}: an append was under way there, or one that was acknowledged was damaged \
                 ({})",
                cut.reason
            ));
        }
        let lost = damage.is_some() || recovery.cut.is_some();
        for side in replay.shortened().iter().filter(|_| !lost) {
            recovery.notices.push(format!(
                "{} was cut off or overwritten after the last event; all that was in it is there",
                side.path(path).display()
            ));
        }
        if lost {
            drop_lists_after(tables, memtables.head)?;
        }
        // Where there is no journal, nothing was taken in: one that turns up later is not a leftover.
        let retired = meta.journal.filter(|_| !found.is_empty());
        let (paces, limits) = (Paces::default(), limits(options));
        let after = JournalAfter::Retired(retired);
        let newest = [&memtables.active];
        checkpoint::write(tables, &newest, after, &memtables.catalog, &paces, &limits, keys)?;
        Ok((recovery, lost))
    }

    /// Why a file does not open whose journal is not whole.
    fn without_journal(&self, damage: &str, found: &[SegmentFile], meta: &Meta, last: Position) -> Error {
        if !found.is_empty() {
            let reason = format!(
                "its journal is damaged ({damage}); with what is left of it the file holds every event up to {}, \
                 and later ones may be missing",
                last
            );
            let advice = "put undamaged copies of both its files back beside it, or accept the loss of what came \
                          after (--accept-lost-journal), which keeps the damaged ones under other names";
            return Error::unopenable(self.path, reason, advice);
        }
        let reason =
            format!("its journal is gone; the file itself holds every event up to {}", meta.checkpoint);
        let mut advice =
            "put the journal back beside it, or accept the loss of what came after (--accept-lost-journal)"
                .to_owned();
        let names = self.disk.open(self.path).and_then(|file| file.names());
        if let Ok(Some(names @ 2..)) = names {
            advice = format!(
                "the file has {names} names: open it by the one beside which its journal stands; or {advice}"
            );
        }
        Error::unopenable(self.path, reason, advice)
    }

    /// Removes the journals that were found, if all that they hold is in the tables; otherwise gives them other names.
    fn put_away(
        &self,
        meta: &Meta,
        found: &[SegmentFile],
        lost: bool,
        recovery: &mut Recovery,
    ) -> Result<()> {
        let OpenAttempt { disk, path, tables, options } = *self;
        let mut kept = lost;
        for segment in found {
            let Remnant::Segment(header) = &segment.remnant else { continue };
            if Some(header.salt) != meta.journal
                && let Some(lacking) = self.lacking(segment)?
            {
                let name = segment.path.display();
                recovery
                    .notices
                    .push(format!("the journal {name} is not this file's, or not any more: {lacking}"));
                kept = true;
            }
        }
        if !name::is_named(&**disk, path, tables)? {
            let reason = "another file took its name while it was being opened";
            return Err(Error::unopenable(path, reason, "open it again"));
        }
        // To read, one works on a copy in memory, where no name is of use.
        if kept && !options.read_only {
            recovery.set_aside = journal::set_aside(&**disk, path, found)?;
            return Ok(());
        }
        journal::remove(&**disk, path, found)
    }

    /// What a segment of another session holds that the tables do not, or may hold, if anything.
    fn lacking(&self, segment: &SegmentFile) -> Result<Option<String>> {
        if journal::holds_nothing(&**self.disk, segment)? {
            return Ok(None);
        }
        let lacking = self.lacking_event(segment)?;
        if lacking.is_none() && !journal::is_whole(&**self.disk, self.path, segment.side)? {
            return Ok(Some("its end is damaged, or was never written".to_owned()));
        }
        Ok(lacking)
    }

    /// The first event of a segment that the tables do not have, or have another one for.
    fn lacking_event(&self, segment: &SegmentFile) -> Result<Option<String>> {
        let read = self.tables.read()?;
        let log = read.log()?;
        let mut lacking = None;
        journal::each_frame(&**self.disk, self.path, segment.side, &mut |frame| {
            if frame.kind != FrameKind::Events || lacking.is_some() {
                return Ok(());
            }
            for (position, bytes) in apply::events_of(&frame) {
                lacking = match log.get(position)? {
                    None => Some(format!("it holds {}, which the file does not", position)),
                    Some(stored) if *stored != *bytes => {
                        Some(format!("its event {} is not the one that the file holds", position))
                    }
                    Some(_) => continue,
                };
                break;
            }
            Ok(())
        })?;
        Ok(lacking)
    }

    /// Refuses a segment that holds something that is not this database's, or that it does not know of.
    fn check_segment(&self, meta: &Meta, segment: &SegmentFile) -> Result<()> {
        let OpenAttempt { disk, path, options, .. } = *self;
        let refused = |found: String, advice: &str| {
            let reason = format!("the journal {} is not its own: {found}", segment.path.display());
            Err(Error::unopenable(path, reason, advice))
        };
        let refuse = |found: String| {
            refused(found, "put the journal beside its own database, or move it away; it is left as it is")
        };
        let refuse_own = |found: String| {
            let advice = "put the file back that the journal belongs to, or go on without what the journal holds \
                          (--accept-lost-journal), which keeps it under another name";
            refused(found, advice)
        };
        let header = match &segment.remnant {
            Remnant::Blank => return Ok(()),
            Remnant::Foreign(reason) => {
                return match meta.journal {
                    // Its own, and its header is damaged.
                    Some(salt) if journal::is_of(&**disk, path, segment.side, salt)? => Ok(()),
                    _ => refuse(reason.clone()),
                };
            }
            Remnant::Segment(header) => header,
        };
        if header.id != meta.id {
            return refuse("it belongs to another database".to_owned());
        }
        if Some(header.salt) == meta.journal || Some(header.salt) == meta.retired {
            return Ok(());
        }
        if options.accept_lost_journal {
            return Ok(());
        }
        if meta.journal.is_some() {
            return refuse_own("it is of another session".to_owned());
        }
        // A session that ended before its first write, or one that this copy of the file does not know of.
        match journal::highest_position(&**disk, path)? {
            Some(highest) if highest > meta.checkpoint => refuse_own(format!(
                "it holds events up to {highest}, and this file ends at {}",
                meta.checkpoint
            )),
            // It ended, or another line of history did: then what was acknowledged there is nowhere else.
            _ => self.lacking_event(segment)?.map_or(Ok(()), refuse_own),
        }
    }
}

/// What stands where the two halves of the live journal belong and is none of them, if so.
fn strays(path: &Path, meta: &Meta, found: &[SegmentFile]) -> Option<String> {
    let mut strays = Vec::new();
    for side in Side::BOTH {
        let segment = found.iter().find(|found| found.side == side);
        let what = match segment.map(|segment| &segment.remnant) {
            Some(Remnant::Segment(header)) if Some(header.salt) == meta.journal => continue,
            Some(Remnant::Segment(header)) if Some(header.salt) == meta.retired => "is of an earlier session",
            Some(Remnant::Segment(_)) => "is of another session",
            Some(Remnant::Foreign(reason)) => {
                strays.push(format!("{}: {reason}", side.path(path).display()));
                continue;
            }
            Some(Remnant::Blank) if segment.is_some_and(|segment| segment.len == 0) => "is empty",
            Some(Remnant::Blank) => "has no header, and nothing after it",
            None => "is missing",
        };
        strays.push(format!("{} {what}", side.path(path).display()));
    }
    (!strays.is_empty()).then(|| strays.join("; "))
}

/// Drops the lists of indexes, and what is kept of states, whose definitions were lost with the journal: of another one at the same
/// place they would tell that it is complete.
fn drop_lists_after(tables: &Tables, checkpoint: Position) -> Result<()> {
    for (definition, indexes) in tables.read()?.kept_definitions()? {
        let lost = indexes.into_iter().filter(|index| definition <= checkpoint && *index > checkpoint);
        let lost = lost.map(Some).chain((definition > checkpoint).then_some(None));
        for index in lost {
            let mut dropped = false;
            while !dropped {
                tables.write("dropping states", |tables| {
                    dropped = match index {
                        Some(index) => tables.remove_found_of(definition, index, CHUNKS)?,
                        None => tables.remove_states(definition, CHUNKS)?,
                    };
                    Ok(())
                })?;
            }
        }
    }
    let built = catalog::built(&tables.read()?)?;
    for definition in built.into_iter().filter(|definition| *definition > checkpoint) {
        let mut dropped = false;
        while !dropped {
            tables.write("dropping an index", |tables| {
                dropped = tables.remove_index(definition, CHUNKS)?;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// How long opening waits for states to be brought up.
const LONGEST: Duration = Duration::from_secs(2);

/// What is worked out of what is defined, while a file is opened, waits for the background where it would take long.
fn limits(options: &Options) -> Limits {
    Limits::new(options.largest_value, &Cancel::after(LONGEST))
}
