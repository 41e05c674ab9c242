//! The checkpoint: a frozen memtable moves into the tables, in one transaction and in key order.
//!
//! The thread that does it takes the lock of writing cursors, then those of the tables, and never that of the committer: a leader may be waiting
//! for it. Whoever asks for all to be moved ([`Checkpointer::move_all`]) holds the committer while a memtable is frozen.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::Catalog;
use super::chain::zone;
use super::commit::Commits;
use super::cursor_writer::CursorWriter;
use super::kernel::Kernel;
use super::keyring::{GivenKey, KeySource};
use super::log::JournalAfter;
use super::materialize::{Materializer, follow, follows_values};
use super::memtable::Memtable;
use super::mutex::locked;
use super::pace::{Pace, Paces};
use super::state_caches::SnapshotDue;
use super::tables::{Tables, TablesRead, WriteTables};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::private::KeyNumber;
use crate::event::record::Record;

/// How many events a zone spans at most.
const ZONE: usize = 1024;

/// How long closing waits for states to be brought up.
const LONGEST_END: Duration = Duration::from_secs(1);

/// What moves memtables into the tables.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    kernel: Arc<Kernel>,
    cursor_writer: Arc<CursorWriter>,
    materializer: Arc<Materializer>,
    commits: Arc<Commits>,
}

impl Checkpointer {
    pub fn new(
        cursor_writer: Arc<CursorWriter>,
        materializer: Arc<Materializer>,
        commits: Arc<Commits>,
    ) -> Checkpointer {
        Checkpointer { kernel: commits.kernel.clone(), cursor_writer, materializer, commits }
    }

    /// Moves the frozen memtable, if there is one, and lets its journal segment be used again.
    pub fn move_frozen(&self) -> Result<()> {
        let Some(frozen) = self.kernel.applied.memtables().frozen else { return Ok(()) };
        self.kernel.counts.checkpoint(frozen.last(), || self.move_memtable(&frozen))
    }

    fn move_memtable(&self, frozen: &Arc<Memtable>) -> Result<()> {
        // Its part of the journal, which is written over then, may tell of moves that the tables do not know.
        self.cursor_writer.write()?;
        // Not longer than that: lists stay as long as somebody has the catalog that they are of.
        let limits = self.kernel.limits();
        let forgotten = forgotten_keys(&[frozen], &self.kernel.tables.read()?)?;
        let (kernel, paces) = (&self.kernel, &self.materializer.paces);
        let written = {
            let (catalog, keys) = (kernel.applied.catalog(), kernel.keys());
            let after = kernel.log.after_checkpoint(frozen.last());
            write(&kernel.tables, &[frozen], after, &catalog, paces, &limits, keys)
        };
        match written {
            Ok(due) => self.kernel.snapshots_due(due),
            Err(error) => {
                // redb takes nothing more after an error of its disk. The commit may have come through all the same.
                self.kernel.tables.reopen()?;
                if self.kernel.tables.read()?.checkpoint()? < frozen.last() {
                    return Err(error);
                }
            }
        }
        self.release(frozen, &forgotten);
        Ok(())
    }

    /// Whether somebody still reads the lists of an index that is no more.
    pub(super) fn is_read(&self, definition: Position) -> bool {
        self.materializer.is_read(definition)
    }

    fn release(&self, frozen: &Arc<Memtable>, forgotten: &[KeyNumber]) {
        // The log first: whoever finds no frozen memtable may have it go on there at once.
        self.kernel.log.release(frozen.last());
        // Whoever waits for the memtable to be gone goes on as if nobody had these keys.
        self.kernel.keyring.release(frozen.last(), forgotten);
        self.kernel.applied.drop_frozen();
        if !forgotten.is_empty() {
            self.kernel.state_caches.clear();
        }
        if !locked(&self.materializer.retired).is_empty() || self.kernel.applied.catalog().keeps_anything() {
            self.kernel.background.ask(|asked| asked.index = true);
        }
    }

    /// Freezes what is there and waits until it is in the tables.
    pub(super) fn move_all(&self) -> Result<()> {
        let committer = locked(&self.commits.committer);
        self.freeze_all()?;
        drop(committer);
        self.wait_for_all()
    }

    /// The same, for whoever holds the committer: then nothing comes after it.
    pub(super) fn move_all_held(&self) -> Result<()> {
        self.freeze_all()?;
        self.wait_for_all()
    }

    fn freeze_all(&self) -> Result<()> {
        self.kernel.name.check()?;
        self.kernel.background.wait_for_checkpoint(|| self.kernel.applied.memtables().frozen.is_none())?;
        if self.kernel.applied.memtables().active.size().0 > 0 {
            self.commits.freeze()?;
        }
        Ok(())
    }

    fn wait_for_all(&self) -> Result<()> {
        let target = self.kernel.applied.head();
        self.kernel.background.wait_for_checkpoint(|| {
            self.kernel.applied.memtables().base() >= target
                || self.kernel.applied.memtables().frozen.is_none()
        })
    }

    /// Ends the journal, for whoever holds the committer and has moved everything: what is appended next begins another.
    pub(super) fn end_journal(&self) -> Result<()> {
        self.cursor_writer.write()?;
        self.kernel.log.end_journal(&|after| self.settle(after))
    }

    /// Moves the memtables into the tables: the end of a session.
    pub(super) fn settle(&self, after: JournalAfter) -> Result<()> {
        let memtables = self.kernel.applied.memtables();
        let after = match after {
            JournalAfter::Kept => self.kernel.log.after_checkpoint(memtables.head),
            after => after,
        };
        // What is kept of states is brought along where that is quick; else whoever opens it next does.
        let limits = Limits::new(self.kernel.options.largest_value, &Cancel::after(LONGEST_END));
        let written = || {
            // A checkpoint that came through without telling has moved the frozen memtable already.
            let checkpoint = self.kernel.tables.read()?.checkpoint()?;
            let left: Vec<_> = memtables.each().filter(|memtable| memtable.last() > checkpoint).collect();
            // Where the log goes on is noted, though nothing came that is in the tables.
            if left.is_empty() && matches!(after, JournalAfter::Kept) {
                return Ok(Vec::new());
            }
            let (kernel, paces) = (&self.kernel, &self.materializer.paces);
            write(&kernel.tables, &left, after, &memtables.catalog, paces, &limits, kernel.keys())
        };
        if let Err(first) = written() {
            self.kernel.tables.reopen().and_then(|()| written()).map_err(|_| first)?;
        }
        Ok(())
    }
}

/// The events of a memtable with their private values in plain.
pub(crate) type PlainEvents = Vec<Arc<[u8]>>;

/// What is made of events on their way into the tables.
#[derive(Clone, Copy)]
pub(crate) struct Followed<'f> {
    pub paces: &'f Paces,
    pub pace: &'f Pace<'f>,
    /// Those of each memtable; none where nothing is made of values.
    pub plain: Option<&'f [PlainEvents]>,
}

/// The events of memtables with their private values in plain, where something is made of values. Before the write: it may look for keys in the tables.
pub(crate) fn plain_events(
    memtables: &[&Arc<Memtable>],
    catalog: &Catalog,
    keys: KeySource,
) -> Result<Option<Vec<PlainEvents>>> {
    if !follows_values(catalog) {
        return Ok(None);
    }
    let plain = memtables.iter().map(|memtable| memtable.read().plain(memtable.first, keys));
    plain.collect::<Result<_>>().map(Some)
}

/// Writes memtables, oldest first, into the tables: events, postings, zones, the states that are kept, and C. Tells which entities
/// are due a snapshot.
pub(crate) fn write(
    tables: &Tables,
    memtables: &[&Arc<Memtable>],
    after: JournalAfter,
    catalog: &Catalog,
    paces: &Paces,
    limits: &Limits,
    keys: KeySource,
) -> Result<Vec<SnapshotDue>> {
    let events: usize = memtables.iter().map(|memtable| memtable.size().0).sum();
    let pace = Pace::of(events.max(2), &|| false, limits);
    let written = plain_events(memtables, catalog, keys).and_then(|plain| {
        let followed = Followed { paces, pace: &pace, plain: plain.as_deref() };
        write_with(tables, memtables, after, catalog, Some(followed))
    });
    match written {
        // What is kept may be damaged, or slow. It must not stand in the way of the log: the background tells of it, and brings it up.
        Err(error)
            if pace.overran().is_some()
                || matches!(error, Error::Corrupt { .. } | Error::Stopped { .. } | Error::Upcast { .. }) =>
        {
            if let Some(definition) = pace.overran() {
                paces.overran(definition, events);
            }
            write_with(tables, memtables, after, catalog, None)
        }
        written => written,
    }
}

fn write_with(
    tables: &Tables,
    memtables: &[&Arc<Memtable>],
    after: JournalAfter,
    catalog: &Catalog,
    followed: Option<Followed>,
) -> Result<Vec<SnapshotDue>> {
    let mut chain = tables.read()?.chain()?;
    let mut due = Vec::new();
    tables.write("a checkpoint", |tables| {
        due = write_into(tables, memtables, &mut chain, catalog, followed)?;
        match after {
            JournalAfter::Kept => Ok(()),
            JournalAfter::Retired(salt) => {
                tables.clear_meta("journal")?;
                salt.map_or(Ok(()), |salt| tables.set_meta("retired", &salt.0))
            }
            JournalAfter::Elsewhere(sequence) => tables.set_log_sequence(sequence),
        }
    })?;
    Ok(due)
}

/// The same within a write that has more.
pub(crate) fn write_into(
    tables: &mut WriteTables,
    memtables: &[&Arc<Memtable>],
    chain: &mut [u8; 32],
    catalog: &Catalog,
    followed: Option<Followed>,
) -> Result<Vec<SnapshotDue>> {
    let mut due = Vec::new();
    for (at, memtable) in memtables.iter().enumerate() {
        *chain = write_memtable(tables, memtable, *chain)?;
        if let Some(Followed { paces, pace, plain }) = followed {
            let (first, inner) = (memtable.first, memtable.read());
            due.extend(match plain.and_then(|plain| plain.get(at)) {
                Some(plain) => follow(tables, catalog, first, plain, paces, pace)?,
                None => follow(tables, catalog, first, &inner.stored(), paces, pace)?,
            });
        }
    }
    write_invalid(tables, memtables, catalog)?;
    Ok(due)
}

/// The keys that memtables, oldest first, say are no more. Before they are in the tables.
fn forgotten_keys(memtables: &[&Arc<Memtable>], read: &TablesRead) -> Result<Vec<KeyNumber>> {
    let (mut given, mut forgotten) = (HashMap::<Entity, Option<KeyNumber>>::new(), Vec::new());
    for memtable in memtables {
        for (_, GivenKey { subject, key }) in memtable.read().keys() {
            if key.is_none() {
                let before = given.get(subject).copied().map_or_else(|| read.key_of(subject), Ok)?;
                forgotten.extend(before);
            }
            given.insert(subject.clone(), *key);
        }
    }
    Ok(forgotten)
}

/// Says of the indexes that some of the events are not in, because they cannot be evaluated, that they are of no use.
fn write_invalid(tables: &mut WriteTables, memtables: &[&Arc<Memtable>], catalog: &Catalog) -> Result<()> {
    if catalog.keeps_all() {
        return Ok(());
    }
    let mut invalid = BTreeSet::new();
    for memtable in memtables {
        for (position, bytes) in memtable.first.onwards().zip(memtable.read().stored()) {
            invalid.extend(catalog.missing(Record::open(position, bytes)?.kind()));
        }
    }
    invalid.into_iter().try_for_each(|definition| tables.set_invalid(definition))
}

fn write_memtable(tables: &mut WriteTables, memtable: &Memtable, mut chain: [u8; 32]) -> Result<[u8; 32]> {
    let inner = memtable.read();
    let stored = inner.stored();
    if stored.is_empty() {
        return Ok(chain);
    }
    tables.put_events(memtable.first, stored.iter().copied())?;
    for (term, list) in inner.sorted_terms() {
        tables.append_postings(term.as_bytes(), list.positions())?;
    }
    // They stand behind all others.
    for (term, positions) in inner.subject_lists(memtable.first)? {
        tables.append_postings(term.as_bytes(), &positions)?;
    }
    let mut recorded = None;
    let mut first = memtable.first;
    for run in stored.chunks(ZONE) {
        let zone = zone(first, run, chain)?;
        tables.put_zone(first, &zone)?;
        first = zone.last.next();
        chain = zone.chain;
        recorded = Some(zone.recorded.1);
    }
    // Of what was recovered each event tells of its keys: what was said of a subject before is not written again.
    let mut told: HashMap<&Entity, Option<KeyNumber>> = HashMap::new();
    for (position, GivenKey { subject, key }) in inner.keys() {
        match (told.insert(subject, *key), key) {
            (Some(before), key) if before == *key => {}
            (_, Some(key)) => tables.give_key(subject, *key)?,
            (_, None) => drop(tables.forget_key(subject, *position)?),
        }
    }
    tables.set_meta("checkpoint", &first.previous().to_be_bytes())?;
    tables.set_meta("chain", &chain)?;
    if let Some(recorded) = recorded {
        let (seconds, nanos) = recorded.parts();
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend_from_slice(&nanos.to_be_bytes());
        tables.set_meta("recorded", &bytes)?;
    }
    Ok(chain)
}
