//! The check: everything that follows from the log, compared with the log.
//!
//! Positions are dense, each event's bytes fit its checksum, what follows for it from those before it is so (its version, its correlation,
//! its namespace, the vector clock of its target), `recorded` never decreases, the chain of hashes holds, zones span what they say, and
//! the posting lists are exactly the terms of the events. In the end each page is compared with the checksum that redb keeps of it: a
//! search may pass over rows where the way to them is damaged, and of some rows nothing else tells that they are missing.
//!
//! Behind a place that cannot be read the check goes on, and tells of it.
//!
//! Memory is bounded. The log is read in runs: for each run, the lists of its terms must have within the run just the positions
//! that its events say. What else a list might hold is found by counting: all lists together have as many entries as
//! the events have terms.

mod facts;
mod states;
mod views;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::catalog::{Catalog, Index};
use super::chain::{ChainHash, link};
use super::index::posting::PostingChunk;
use super::index::term::{Term, definition_of, is_counted, terms_of};
use super::keyring::{given_keys, subject_terms};
use super::read_form::read_form_until;
use super::snapshot::{ReadTxn, ScanDirection, Snapshot};
use super::tables::{LISTS, Zone, ZoneRow};
use crate::allowance::Limits;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Missing, MissingItem, Result};
use crate::event::record::Record;
use crate::event::{Event, codec};
use crate::time::Timestamp;
use facts::LogFacts;

/// What a check found.
///
/// ```
/// use bygone::{Db, NewEvent};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
/// let found = db.verify()?;
/// assert_eq!((found.events, found.entries), (1, 2)); // found by its type, and by its target
/// assert!(found.faults.is_empty());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many events were read.
    pub events: u64,
    /// How many index entries were compared.
    pub entries: u64,
    /// How many states and snapshots of entities and groups of views, which are kept to spare reading, were compared with what all
    /// events make of them.
    pub states: u64,
    /// Of how many events nobody can tell whether all of them is as it was appended: they were rewritten since (DEFINE PRIVATE … INCLUDING PAST),
    /// and their private values are forgotten, which the hash of the chain was made of, too.
    pub unproven: u64,
    /// What does not fit, in words; empty when all is well.
    pub faults: Vec<String>,
}

/// More faults than this are not listed: the file is to be restored, not studied.
const MOST_FAULTS: usize = 100;

/// Behind so many places of a table that cannot be read no more are looked for.
const MOST_GAPS: usize = MOST_FAULTS;

/// How many entities' versions are remembered at a time. Tests are to come to it soon.
const REMEMBERED: usize = if cfg!(test) { 4 } else { 100_000 };

/// How many events, and how many of their index entries, are compared with the lists at a time.
const RUN: u64 = 4096;
const RUN_ENTRIES: usize = 65_536;

/// After so many events it is told how far the check is.
const TOLD: u64 = 256;

/// How many zones are read at a time.
const ZONES: usize = 256;

impl Verification {
    fn fault(&mut self, fault: impl Into<String>) {
        let fault = fault.into();
        if !self.full() && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// What was read; or, where it is damaged, a fault. Any other error ends the check.
    fn or_fault<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error @ Error::Corrupt { .. }) => {
                self.fault(words(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }
}

/// An error as a fault tells it: whoever reads that has run the check.
fn words(error: &Error) -> String {
    match error {
        Error::Corrupt { place, found, .. } => format!("{place}: {found}"),
        error => error.to_string(),
    }
}

/// Compares all that a snapshot shows.
///
/// # Errors
/// [`Error::Stopped`] while something is left to do for somebody who was forgotten: what was made of the values does not fit the log any more, and
/// nothing is damaged.
pub(crate) fn verify(snapshot: &Snapshot) -> Result<Verification> {
    if snapshot.has_keys_to_erase()? {
        return Err(Error::stopped(
            "a subject was forgotten, and what was made of its values is still to be dropped: say FORGET or DEFINE PRIVATE once more, or open \
             it again, to write",
        ));
    }
    compare(snapshot).map_err(|error| match error {
        Error::Corrupt { place, found, .. } => Error::Corrupt {
            place,
            found,
            advice: "restore a copy, or read what is left (bygone rescue)".to_owned(),
        },
        error => error,
    })
}

fn compare(snapshot: &Snapshot) -> Result<Verification> {
    let head = snapshot.head();
    // Zones of later checkpoints may be found too: they span the same log.
    let checkpoint = snapshot.read(|view| Ok(view.checkpoint()))?;
    let mut check = Verifier::new(snapshot);
    check.next_zone()?;
    check.log(checkpoint)?;
    if check.found.full() {
        return Ok(check.found);
    }
    check.end_of_run(head)?;
    check.zones_reach(checkpoint.min(head))?;
    check.lists_hold_nothing_else(&snapshot.view()?)?;
    if !check.found.full() {
        states::compare(snapshot, &mut check.found)?;
    }
    if !check.found.full() {
        views::compare(snapshot, &mut check.found)?;
    }
    let cursors = snapshot.read(|view| view.tables().cursors());
    for (_, cursor) in check.found.or_fault(cursors)?.unwrap_or_default() {
        check.found.or_fault(cursor)?;
    }
    // What was not looked at above: the way to the rows, and what lies beside them.
    let pages = snapshot.check_pages();
    check.found.or_fault(pages)?;
    Ok(check.found)
}

/// The chain hash at the head of a snapshot: it tells whether two logs are the same up to there.
pub(crate) fn chain(snapshot: &Snapshot) -> Result<[u8; 32]> {
    let head = snapshot.head();
    let zone = snapshot.read(|view| view.tables().zone_until(head))?;
    let (last, mut hash) = zone.map_or((Position::START, [0; 32]), |zone| (zone.last, zone.chain));
    for row in snapshot.stored().log(PositionRange::between(last, head), ScanDirection::Ascending) {
        let (position, bytes) = row?;
        hash = link(hash, position, &bytes)?;
    }
    Ok(hash)
}

/// Proves that the log was the one of a hash at some position: the one that is said, or whichever it is. Every event up to there is hashed
/// anew. Gives the position.
///
/// # Errors
/// [`Error::Conflict`] where it is another log; [`Error::Missing`] for a position that is not in the log yet.
pub(crate) fn verify_against(snapshot: &Snapshot, seen: ChainHash, at: Option<Position>) -> Result<Position> {
    let head = snapshot.head();
    if let Some(beyond) = at.filter(|at| *at > head) {
        return Err(self::beyond(beyond, head));
    }
    let mut hash = [0; 32];
    if at.is_none() && hash == seen.0 {
        return Ok(Position::START);
    }
    let mut through = Position::START;
    for row in snapshot.stored().log(PositionRange::through(at.unwrap_or(head)), ScanDirection::Ascending) {
        let (position, bytes) = row?;
        if position != through.next() {
            return Err(Error::corrupt("the log", format!("no event at {}", through.next())));
        }
        hash = link(hash, position, &bytes)?;
        tell(snapshot, position);
        through = position;
        if at.is_none() && hash == seen.0 {
            return Ok(position);
        }
    }
    if hash == seen.0 { Ok(through) } else { Err(another_log(seen, through)) }
}

/// Tells whoever asked how far a check is, now and then.
fn tell(snapshot: &Snapshot, through: Position) {
    let head = snapshot.head();
    if through.0.is_multiple_of(TOLD) || through == head {
        snapshot.cancel().tell(through.0, head.0);
    }
}

/// That a position is none of a log yet.
pub(crate) fn beyond(asked: Position, head: Position) -> Error {
    let item = MissingItem::Position { asked, head };
    let message = format!("{asked} is not in the log yet, which ends with {head}");
    Error::Missing(Box::new(Missing { item, message, fault: None }))
}

fn another_log(seen: ChainHash, at: Position) -> Error {
    let chain: String = seen.to_string().chars().take(12).collect();
    let found = format!("another at {at}: it is not the log that was seen then");
    Error::conflict("the log", format!("the chain {chain}…"), found)
}

struct Verifier<'s> {
    snapshot: &'s Snapshot,
    found: Verification,
    recorded: Option<Timestamp>,
    facts: LogFacts<'s>,
    chain: ChainCheck,
    run: ZoneCheck,
    indexes: Indexes,
    limits: Limits,
}

/// The indexes that are compared, each with the position up to which it is backfilled for sure.
///
/// What lies between that and the definition may be added meanwhile, and the lists of other definitions are to be dropped, or are
/// of a later one: those say nothing.
struct Indexes(Vec<(Arc<Index>, Position)>);

impl Indexes {
    fn of(snapshot: &Snapshot) -> Indexes {
        let kept = snapshot.indexes().each().filter(|index| index.is_kept());
        Indexes(kept.map(|index| (index.clone(), index.backfilled())).collect())
    }

    /// Adds the terms that an event must be found by.
    fn terms(
        &self,
        catalog: &Catalog,
        event: &Record,
        stored: &[u8],
        limits: &Limits,
        terms: &mut Vec<Term>,
    ) -> Result<()> {
        let position = event.position();
        for (index, backfilled) in &self.0 {
            if position <= *backfilled || position > index.position {
                // Of one that it cannot be evaluated for there is nothing in it. It holds an event in the form that it was read in then.
                match read_form_until(position, stored, catalog, index.position) {
                    Ok(Cow::Borrowed(_)) => drop(index.terms(event, limits, terms)?),
                    Ok(Cow::Owned(formed)) => {
                        drop(index.terms(&Record::open(position, &formed)?, limits, terms)?)
                    }
                    // Whoever reads it is told.
                    Err(Error::Upcast { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// How many of some positions count, ascending, in the list of a term.
    fn counted(&self, term: &[u8], positions: &[Position]) -> u64 {
        let Some(definition) = definition_of(term) else { return positions.len() as u64 };
        let Some((_, backfilled)) = self.0.iter().find(|(index, _)| index.position == definition) else {
            return 0;
        };
        let before = positions.partition_point(|p| p <= backfilled);
        let after = positions.len() - positions.partition_point(|&p| p <= definition.max(*backfilled));
        (before + after) as u64
    }

    /// Whether the list of a term may have more than what counts.
    fn partly(&self, term: &Term) -> bool {
        let index = |definition| self.0.iter().find(|(index, _)| index.position == definition);
        term.definition().and_then(index).is_some_and(|(index, backfilled)| *backfilled < index.position)
    }
}

/// The hash so far, and the zone that the log is in.
#[derive(Default)]
struct ChainCheck {
    /// None once an event could not be hashed: the next zone begins anew.
    hash: Option<[u8; 32]>,
    /// The zone that the log is in, or comes to next; none after the last.
    zone: Option<(Position, Zone)>,
    span: Option<TimeSpan>,
    /// Zones that were read ahead, and the key to go on with.
    page: VecDeque<ZoneRow>,
    key: Vec<u8>,
    /// Where the zones so far end.
    covered: Position,
    /// After a zone that cannot be read, none knows where the next begins.
    gap: bool,
    gaps: usize,
}

/// Times of the events of a zone: occurred, then recorded.
type TimeSpan = ((Timestamp, Timestamp), (Timestamp, Timestamp));

impl ChainCheck {
    fn lose(&mut self) {
        self.hash = None;
        self.span = None;
    }
}

/// What the events of a run can be found by.
#[derive(Default)]
struct ZoneCheck {
    after: Position,
    terms: BTreeMap<Term, Vec<Position>>,
    entries: usize,
    /// Of which events it cannot be told.
    unread: Vec<PositionRange>,
}

impl<'s> Verifier<'s> {
    fn new(snapshot: &'s Snapshot) -> Verifier<'s> {
        Verifier {
            snapshot,
            found: Verification::default(),
            recorded: None,
            facts: LogFacts::new(snapshot),
            chain: ChainCheck { hash: Some([0; 32]), ..ChainCheck::default() },
            run: ZoneCheck::default(),
            indexes: Indexes::of(snapshot),
            limits: snapshot.limits(),
        }
    }

    /// Reads the log, and goes on behind what cannot be read of it.
    fn log(&mut self, checkpoint: Position) -> Result<()> {
        let head = self.snapshot.head();
        let mut next = Position::FIRST;
        while next <= head {
            let error = match self.log_from(&mut next)? {
                None => break,
                Some(error) => error,
            };
            // Behind the tables, what is in memory can be read.
            let readable = self.snapshot.read(|view| {
                let behind = checkpoint.max(next).next();
                Ok(view.log()?.readable_after(next, checkpoint.min(head)).unwrap_or(behind))
            });
            let readable = self.found.or_fault(readable)?.unwrap_or(head.next());
            let to = readable.previous().min(head);
            let unread = PositionRange::new(next, to);
            let place =
                if to > next { format!("the log from {unread}") } else { format!("the event at {next}") };
            self.found.fault(format!("{place} cannot be read: {}", words(&error)));
            self.chain.lose();
            self.run.unread.push(unread);
            next = readable;
            if self.found.full() {
                break;
            }
        }
        Ok(())
    }

    /// Reads the log from a position on, up to where it cannot be read: that is told.
    fn log_from(&mut self, next: &mut Position) -> Result<Option<Error>> {
        let head = self.snapshot.head();
        for row in self.snapshot.stored().log(PositionRange::new(*next, head), ScanDirection::Ascending) {
            let (position, bytes) = match row {
                Ok(row) => row,
                Err(error @ Error::Corrupt { .. }) => return Ok(Some(error)),
                Err(error) => return Err(error),
            };
            *next = position.next();
            self.event(position, &bytes)?;
            tell(self.snapshot, position);
            if position.0.is_multiple_of(RUN) || self.run.entries >= RUN_ENTRIES {
                self.end_of_run(position)?;
            }
            if self.found.full() {
                break;
            }
        }
        Ok(None)
    }

    /// Goes on to the next zone that can be read.
    fn next_zone(&mut self) -> Result<()> {
        let chain = &mut self.chain;
        chain.zone = None;
        chain.span = None;
        loop {
            if chain.page.is_empty() {
                let page = self.snapshot.read(|view| view.tables().zones_from_key(&chain.key, ZONES));
                chain.page = match self.found.or_fault(page)? {
                    Some(page) => page.into(),
                    None => {
                        chain.gap = true;
                        chain.gaps += 1;
                        if chain.gaps > MOST_GAPS {
                            return Ok(());
                        }
                        let next = self.snapshot.read(|view| view.tables().zones_readable_after(&chain.key));
                        let Some(next) = self.found.or_fault(next)?.flatten() else { return Ok(()) };
                        chain.key = next;
                        continue;
                    }
                };
            }
            let Some((key, zone)) = chain.page.pop_front() else { return Ok(()) };
            chain.key = [key.as_slice(), &[0]].concat();
            let Some((first, zone)) = self.found.or_fault(zone)? else {
                chain.gap = true;
                continue;
            };
            let expected = chain.covered.next();
            if (first != expected && !chain.gap) || zone.last < first {
                self.found.fault(format!("the zone at {first}: expected one that begins at {expected}"));
            }
            chain.covered = zone.last;
            chain.gap = false;
            chain.zone = Some((first, zone));
            return Ok(());
        }
    }

    fn zones_reach(&mut self, through: Position) -> Result<()> {
        while self.chain.zone.is_some() && !self.found.full() {
            self.next_zone()?;
        }
        let covered = self.chain.covered;
        if covered < through && !self.chain.gap {
            self.found.fault(format!("the zones end at {covered}, the tables at {through} or later"));
        }
        Ok(())
    }

    fn event(&mut self, position: Position, bytes: &Arc<[u8]>) -> Result<()> {
        self.found.events += 1;
        let read = Record::open(position, bytes).and_then(|record| Ok((record, record.to_event(bytes)?)));
        let (record, event) = match read {
            Ok(read) => read,
            Err(error) => {
                self.found.fault(words(&error));
                self.chain.lose();
                self.run.unread.push(PositionRange::new(position, position));
                return Ok(());
            }
        };
        if self.recorded.is_some_and(|before| event.recorded < before) {
            self.found.fault(format!("{position} was recorded before the event before it"));
        }
        self.recorded = Some(event.recorded);
        self.facts.event(&event, &record, &mut self.found)?;
        self.link(&event, bytes)?;
        let mut terms = self.found.or_fault(terms_of(&event))?.unwrap_or_default();
        if codec::is_encrypted(bytes) {
            let subjects = given_keys(position, bytes).and_then(|given| subject_terms(&given));
            terms.extend(self.found.or_fault(subjects)?.unwrap_or_default());
        }
        if !self.indexes.0.is_empty() || codec::is_encrypted(bytes) {
            // Forgotten values are null, and no damage; those whose key is missing are.
            let plain = match codec::is_encrypted(bytes) {
                true => self.snapshot.decrypted(position, bytes),
                false => Ok(bytes.clone()),
            };
            if record.is_rewritten() {
                let original = self.snapshot.original(position, bytes);
                if let Some(None) = self.found.or_fault(original)? {
                    self.found.unproven += 1;
                }
            }
            let Some(plain) = self.found.or_fault(plain)? else {
                self.run.unread.push(PositionRange::new(position, position));
                return Ok(());
            };
            let (catalog, record) = (self.snapshot.indexes(), Record::open(position, &plain)?);
            let found = self.indexes.terms(catalog, &record, &plain, &self.limits, &mut terms);
            self.found.or_fault(found)?;
        }
        for term in terms {
            self.run.terms.entry(term).or_default().push(position);
            self.run.entries += 1;
        }
        Ok(())
    }

    fn link(&mut self, event: &Event, bytes: &[u8]) -> Result<()> {
        let position = event.position;
        while self.chain.zone.as_ref().is_some_and(|(_, zone)| zone.last < position) {
            self.next_zone()?;
        }
        let chain = &mut self.chain;
        // Where a zone is missing the hash goes on, and the next one proves it.
        if let Some(hash) = chain.hash {
            chain.hash = Some(link(hash, position, bytes)?);
        }
        let Some((first, zone)) = &chain.zone else { return Ok(()) };
        if position == *first {
            chain.span = None;
        }
        let (occurred, recorded) = (event.timestamp, event.recorded);
        if position == *first || chain.span.is_some() {
            let ((low, high), (begin, _)) =
                chain.span.unwrap_or(((occurred, occurred), (recorded, recorded)));
            chain.span = Some(((low.min(occurred), high.max(occurred)), (begin, recorded)));
        }
        if position == zone.last {
            if chain.hash.is_some_and(|hash| hash != zone.chain) {
                self.found.fault(format!("the chain of hashes does not hold from {first} to {position}"));
            }
            if chain.span.is_some_and(|span| span != (zone.occurred, zone.recorded)) {
                self.found
                    .fault(format!("the zone from {first} to {position} spans other times than its events"));
            }
            chain.hash = Some(zone.chain);
            self.next_zone()?;
        }
        Ok(())
    }

    /// The lists of the terms of a run have, within it, what its events say and nothing else.
    fn end_of_run(&mut self, last: Position) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        self.run.after = last;
        let view = self.snapshot.view()?;
        for (term, said) in run.terms {
            view.go_on()?;
            self.found.entries += said.len() as u64;
            let mut listed = Vec::with_capacity(said.len());
            let mut after = run.after;
            let read = loop {
                match view.page(&term, PositionRange::between(after, last), ScanDirection::Ascending) {
                    Ok(page) => match page.last() {
                        Some(end) => {
                            after = *end;
                            listed.extend(page);
                        }
                        None => break Ok(()),
                    },
                    Err(error) => break Err(error),
                }
            };
            // What could not be read cannot be told to belong to a list.
            listed.retain(|p| !run.unread.iter().any(|unread| unread.contains(*p)));
            match read {
                Err(error @ Error::Stopped { .. }) => return Err(error),
                // A page has many lists: where it is damaged, that is told once.
                Err(Error::Corrupt { place, found, .. }) if place == LISTS => {
                    self.found.fault(format!("{place}: {found}"));
                }
                Err(error) => self.found.fault(format!("the list of {}: {}", term.name(), words(&error))),
                Ok(()) if listed == said => {}
                Ok(()) if self.indexes.partly(&term) => {
                    if let Some(p) = said.iter().find(|p| !listed.contains(p)) {
                        self.found.fault(format!("the list of {}: {p} is missing", term.name()));
                    }
                }
                Ok(()) => {
                    let odd = said.iter().find(|p| !listed.contains(p)).map(|p| format!("{p} is missing"));
                    let odd = odd.or_else(|| {
                        listed.iter().find(|p| !said.contains(p)).map(|p| format!("{p} does not belong"))
                    });
                    let odd = odd.unwrap_or_else(|| "its order is wrong".to_owned());
                    self.found.fault(format!("the list of {}: {odd}", term.name()));
                }
            }
            if self.found.full() {
                break;
            }
        }
        Ok(())
    }

    /// All lists together have as many entries as were found in the events; and their chunks are in order.
    fn lists_hold_nothing_else(&mut self, view: &ReadTxn) -> Result<()> {
        let head = view.head();
        let indexes = &self.indexes;
        let mut entries =
            view.memtable_entries(|term| indexes.counted(term.as_bytes(), &[Position::MAX]) > 0)?;
        // A term, how many entries its list has so far (none knows after a chunk that cannot be read), and the last.
        let mut current: (Vec<u8>, Option<u64>, Position) = (Vec::new(), Some(0), Position::START);
        let found = &mut self.found;
        let mut each = |term: &[u8], chunk: Result<PostingChunk>| {
            view.go_on()?;
            let (last_term, count, last) = &mut current;
            if last_term != term {
                *last_term = term.to_vec();
                (*count, *last) = (Some(0), Position::START);
            }
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    let list = format!("the list of {}: ", Term::from_bytes(term).name());
                    found.fault(format!("{}{}", if term.is_empty() { "" } else { &list }, words(&error)));
                    *count = None;
                    return Ok(());
                }
            };
            if let Some(count) = count.filter(|&count| is_counted(term) && chunk.before != count) {
                let name = Term::from_bytes(term).name();
                found.fault(format!(
                    "the list of {name}: a chunk counts {} before it, not {count}",
                    chunk.before
                ));
            }
            if chunk.positions.first().is_some_and(|first| *first <= *last)
                || !chunk.positions.is_sorted_by(|a, b| a < b)
            {
                found.fault(format!("the list of {} is not in order", Term::from_bytes(term).name()));
            }
            *count = Some(count.unwrap_or(chunk.before) + chunk.positions.len() as u64);
            *last = chunk.positions.last().copied().unwrap_or(*last);
            let below = chunk.positions.partition_point(|&p| p <= head);
            entries += indexes.counted(term, &chunk.positions[..below]);
            Ok(())
        };
        let (postings, mut from) = (view.tables().postings()?, Vec::new());
        let mut scanned = Ok(());
        for _ in 0..MOST_GAPS {
            scanned = postings.scan(&mut from, &mut each);
            let Err(Error::Corrupt { .. }) = &scanned else { break };
            if let Err(error) = std::mem::replace(&mut scanned, Ok(())) {
                each(&[], Err(error))?;
            }
            let Some(next) = postings.readable_after(&from) else { break };
            from = next;
        }
        match scanned {
            Err(error) => return Err(error),
            // Where an entry is missing the numbers differ too, and that has been told.
            Ok(()) if self.found.faults.is_empty() && entries != self.found.entries => {
                let said = self.found.entries;
                self.found
                    .fault(format!("the lists have {entries} entries, and the events account for {said}"));
            }
            Ok(()) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
