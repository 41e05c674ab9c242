//! Rescue: every event that can still be read from a damaged file and its journals, in a new file.
//!
//! Three ways lead to an event. Where the file opens, if only in parts, its log is read. What that does not give is looked for in the bytes of
//! the file and of its journals ([`carve`]): events are found by their form and checksum, wherever they lie. What neither gives is
//! missing, and has a `$event.lost` in its place, so that each position means what it did.
//!
//! The events have the bytes that they had, but for one thing: the version of an entity's event counts those before it, and so is another
//! where one of those is missing. Nothing is written to what is rescued, and the new file gets its name when it is whole.

mod carve;
mod fragments;
mod solve;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::bulk_load::BulkLoader;
use super::catalog::Catalog;
use super::copy::Places;
use super::disk::{Disk, File, Lock};
use super::index::term::Term;
use super::journal::{DatabaseId, Side};
use super::name;
use super::options::Options;
use super::recover::{self, Recovered};
use super::tables::{Tables, TablesRead};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{EventType, Position, PositionRange, Version};
use crate::error::{Error, Result};
use crate::event::codec::{self, Assigned};
use crate::event::{Event, EventId, LOST, NewEvent};
use crate::time::Timestamp;
use carve::{Carved, Carver};
use fragments::{Fragment, Fragments};

/// So many runs of missing positions, and so many doubts, are told one by one.
const TOLD: usize = 1000;

/// No stored event is shorter than this, with its length before it.
const SHORTEST: u64 = 32;

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
    let _lock = name::take_lock(&*disk, &path, true)?;
    let mut found = Rescue::default();
    let mut fragments = search(&*disk, &path, cancel, progress, &mut found)?;
    // On a disk of its own: what recovery removes there is to be searched.
    let original = Original::open(&reading.disk_to_use(), &path, &reading, &mut found)?;
    let whole = original.as_ref().filter(|_| found.refusal.is_none()).map(|original| original.head);
    // Of a file that opens as it is, what lies behind its end was given up, or never acknowledged.
    let head = match (whole, &original) {
        (Some(head), _) => head,
        (None, Some(original)) => original.head.max(fragments.last),
        (None, None) => fragments.last,
    };
    if head == Position::START {
        let reason = "there is no event in it";
        return Err(Error::unopenable(
            from,
            reason,
            "see whether it is a Bygone database, or put a copy back",
        ));
    }
    let id = original.as_ref().map_or_else(DatabaseId::random, |original| Ok(original.id))?;
    let writing = options.clone().read_only(false);
    recover::create_with(&*writing.disk_to_use(), to, &writing, id, |tables| {
        let limits = Limits::new(options.largest_value, cancel);
        let catalog = Arc::new(Catalog::default());
        let loader = BulkLoader::new(&writing, tables, catalog, Position::START, limits);
        let mut filling =
            Filling { loader, found: &mut found, progress, bound: whole, head, gap: 0, recorded: None };
        filling.events(original.as_ref(), &mut fragments.events, cancel)?;
        filling.loader.finish()?;
        let places = original.map_or_else(|| Ok(Places::new()), |original| original.cursors())?;
        tables.write("writing cursors", |tables| {
            places.into_iter().try_for_each(|(owner, cursor)| match cursor {
                Ok(cursor) => tables.put_cursor(&owner, &cursor),
                Err(_) => Ok(()),
            })
        })
    })?;
    Ok(found)
}

/// Takes the event at a position, if it can be read.
type EventSink<'s> = dyn FnMut(Position, Option<&[u8]>) -> Result<()> + 's;

/// The database that is rescued, as far as it opens. What recovery would write is kept in memory.
struct Original {
    tables: Tables,
    id: DatabaseId,
    head: Position,
    _lock: Box<dyn Lock>,
}

impl Original {
    /// Opens it as it is, or else without what its journal lost; none where it does not open at all.
    fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        found: &mut Rescue,
    ) -> Result<Option<Original>> {
        let mut refuse = |error: Error| match error {
            error @ (Error::Held { .. } | Error::Io { .. }) => Err(error),
            error => {
                found.refusal.get_or_insert_with(|| error.to_string());
                Ok(())
            }
        };
        for accepts in [false, true] {
            let options = options.clone().accept_lost_journal(accepts);
            let opened = name::open_locked(disk, path, true, options.cache).and_then(|(lock, tables)| {
                let recovered = recover::recover(disk, path, &tables, &options)?;
                Ok((lock, tables, recovered))
            });
            match opened {
                Ok((_lock, tables, Recovered { meta, recovery, .. })) => {
                    if recovery.cut.is_some() {
                        found.refusal.get_or_insert_with(|| recovery.notices.join("; "));
                    }
                    return Ok(Some(Original { tables, id: meta.id, head: meta.checkpoint, _lock }));
                }
                Err(error) => refuse(error)?,
            }
        }
        Ok(None)
    }

    /// Hands over each position up to the head, with the event that its log has there, if that can be read.
    fn each(&self, event: &mut EventSink) -> Result<()> {
        let mut next = Position::FIRST;
        while next <= self.head {
            let read = self.tables.read()?;
            if self.scan(&read, &mut next, event)? {
                break;
            }
            let last = self.head;
            let readable = read.log().ok().and_then(|log| log.readable_after(next, last));
            drop(read);
            let to = readable.filter(|to| *to > next).unwrap_or(last.next());
            for position in next.onwards().take_while(|position| *position < to) {
                event(position, None)?;
            }
            next = to;
        }
        Ok(())
    }

    /// Reads the log on, up to where it cannot be read. Whether that is its end.
    fn scan(&self, read: &TablesRead, next: &mut Position, event: &mut EventSink) -> Result<bool> {
        let Ok(log) = read.log() else { return Ok(false) };
        let mut failed = Ok(());
        let scanned = log.scan(PositionRange::new(*next, self.head), false, |position, bytes| {
            failed = event(position, Some(bytes));
            *next = position.next();
            Ok(failed.is_ok())
        });
        failed?;
        match scanned {
            Ok(()) => Ok(true),
            Err(Error::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn cursors(&self) -> Result<Places> {
        match self.tables.read()?.cursors() {
            Err(Error::Corrupt { .. }) => Ok(Places::new()),
            read => read,
        }
    }
}

/// What the bytes of the files hold.
struct Search {
    events: Fragments,
    /// The last position that is told of.
    last: Position,
}

/// Searches the bytes of a database's files.
fn search(
    disk: &dyn Disk,
    path: &Path,
    cancel: &Cancel,
    progress: &mut dyn FnMut(&Rescue),
    found: &mut Rescue,
) -> Result<Search> {
    let mut files: Vec<Arc<dyn File>> = Vec::new();
    let mut bytes = 0;
    for path in [path.to_owned()].into_iter().chain(Side::BOTH.map(|side| side.path(path))) {
        let failed = |e| Error::io(format!("reading {}", path.display()), e);
        if disk.exists(&path).map_err(failed)? {
            let file = disk.open(&path).map_err(failed)?;
            bytes += file.len().map_err(failed)?;
            files.push(file);
        }
    }
    let bound = Position(bytes / SHORTEST);
    let mut carved = Carved::default();
    for (number, file) in (0..).zip(&files) {
        let before = found.searched;
        let mut carver = Carver::new(file, number, number > 0, bound, &mut carved)?;
        carver.search(&mut |at| {
            cancel.check()?;
            found.searched = before + at;
            progress(found);
            Ok(())
        })?;
        found.searched = before + file.len().map_err(|e| Error::io("searching for events", e))?;
    }
    if carved.given_up {
        found.doubt("the search was ended early: too much in the file looks like events, and is none");
    }
    let told = carved.told;
    let events = Fragments::new(files, carved);
    if events.disbelieved > 0 {
        let count = events.disbelieved;
        found
            .doubt(format!("{count} pieces look like events, and nothing tells for sure at which positions"));
    }
    let last = events.last().max(told);
    Ok(Search { events, last })
}

/// The new file, as it is filled.
struct Filling<'f> {
    loader: BulkLoader<'f>,
    found: &'f mut Rescue,
    progress: &'f mut dyn FnMut(&Rescue),
    /// The last position, where it is known for sure.
    bound: Option<Position>,
    /// The last position so far that is told of.
    head: Position,
    /// How many before the next event are missing.
    gap: u64,
    /// When the last was recorded.
    recorded: Option<Timestamp>,
}

impl Filling<'_> {
    fn events(
        &mut self,
        original: Option<&Original>,
        fragments: &mut Fragments,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut next = Position::FIRST;
        if let Some(original) = original {
            original.each(&mut |position, bytes| {
                cancel.check()?;
                next = position.next();
                match bytes {
                    Some(bytes) if self.take(position, bytes)? => Ok(()),
                    _ => self.take_fragment(position, fragments),
                }
            })?;
        }
        while next <= self.head {
            cancel.check()?;
            self.take_fragment(next, fragments)?;
            next = next.next();
        }
        self.fill_gap(Timestamp::MIN)?;
        self.found.head = self.head;
        Ok(())
    }

    fn take_fragment(&mut self, position: Position, fragments: &mut Fragments) -> Result<()> {
        let taken = match fragments.get(position)? {
            Fragment::Event(bytes) => self.take(position, &bytes)?,
            Fragment::Two => {
                self.found.doubt(format!(
                    "{position}: two events that are not the same are there; neither was taken"
                ));
                false
            }
            Fragment::Missing => false,
        };
        if !taken {
            self.gap += 1;
            self.found.miss(position);
        }
        Ok(())
    }

    /// Takes an event, if it is one and fits behind those before it.
    fn take(&mut self, position: Position, bytes: &[u8]) -> Result<bool> {
        let bytes: Arc<[u8]> = bytes.into();
        let Ok(event) = codec::decode(position, bytes.clone()) else { return Ok(false) };
        if self.recorded.is_some_and(|before| event.recorded < before) {
            self.found.doubt(format!("{position} was recorded before the event before it; it was not taken"));
            return Ok(false);
        }
        self.fill_gap(event.recorded)?;
        let bytes = self.with_its_version(&event, bytes)?;
        match self.loader.append(bytes) {
            Ok(written) => {
                self.recorded = Some(event.recorded);
                self.found.events += u64::from(event.kind.as_str() != LOST);
                self.reach(&event);
                if written {
                    (self.progress)(self.found);
                }
                Ok(true)
            }
            Err(error @ (Error::Corrupt { .. } | Error::Invalid { .. } | Error::TooLarge { .. })) => {
                self.found.doubt(format!("{position} was not taken: {error}"));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What a key stands for was in the log, too.
    fn reach(&mut self, event: &Event) {
        if let Some(seal) = event.seal.as_ref().filter(|seal| seal.count > 0) {
            let last = event.position.plus(u64::from(seal.count)).previous();
            self.head = self.head.max(self.bound.map_or(last, |bound| last.min(bound)));
        }
    }

    /// The event with the version that it has where some before it are missing.
    fn with_its_version(&self, event: &Event, bytes: Arc<[u8]>) -> Result<Arc<[u8]>> {
        let (Some(target), Some(version)) = (&event.target, event.version) else { return Ok(bytes) };
        if self.found.missing == 0 {
            return Ok(bytes);
        }
        let own = Version(self.loader.count(&Term::entity(target)?)? + 1);
        let other = if own == version { None } else { codec::with_version(event.position, &bytes, own) };
        Ok(other.map_or(bytes, Arc::from))
    }

    /// Puts an event in each place that has none, recorded when the last before it was, or else then.
    fn fill_gap(&mut self, recorded: Timestamp) -> Result<()> {
        let recorded = self.recorded.unwrap_or(recorded);
        while self.gap > 0 {
            let position = self.loader.next();
            self.loader.append(lost(position, recorded).into())?;
            self.recorded = Some(recorded);
            self.gap -= 1;
        }
        Ok(())
    }
}

/// The bytes of what stands where an event is missing.
fn lost(position: Position, recorded: Timestamp) -> Vec<u8> {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&[LOST.as_bytes(), &position.to_be_bytes()].concat()).as_bytes()[..16]);
    let (kind, id) = (EventType::stored(LOST), EventId::from_uuid(id));
    let assigned = Assigned { position, version: Version(0), id: &id, own_id: false, recorded, seal: None };
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, &NewEvent::new(LOST), &kind, None, &assigned);
    bytes
}
