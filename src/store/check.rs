//! The check: everything that follows from the log, compared with the log.
//!
//! Positions are dense, each event's bytes fit its checksum, versions count up entity by entity, `recorded` never decreases, the
//! chain of hashes holds, zones span what they say, and the posting lists are exactly the terms of the events.
//!
//! Memory is bounded. The log is read in runs: for each run, the lists of its terms must have within the run just the positions
//! that its events say. What else a list might hold is found by counting: all lists together have as many entries as
//! the events have terms.

use std::collections::{BTreeMap, HashMap};

use super::checkpoint::link;
use super::cold::Zone;
use super::snapshot::{Direction, Snapshot};
use super::term::{Term, is_counted, terms_of};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::{Event, codec};
use crate::time::Timestamp;

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
    /// What does not fit, in words; empty when all is well.
    pub faults: Vec<String>,
}

/// More faults than this are not listed: the file is to be restored, not studied.
const MOST_FAULTS: usize = 100;

/// How many entities' versions are remembered at a time.
const REMEMBERED: usize = 100_000;

/// How many events, and how many of their index entries, are compared with the lists at a time.
const RUN: u64 = 4096;
const RUN_ENTRIES: usize = 65_536;

impl Verification {
    fn fault(&mut self, fault: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault.into());
        }
    }

    fn full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }
}

/// Compares all that a snapshot shows. `progress` is told how many events of how many have been read.
pub(crate) fn verify(snapshot: &Snapshot, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification> {
    let head = snapshot.head().0;
    // Both of one moment: a checkpoint may come through at any time.
    let (zones, checkpoint) = {
        let view = snapshot.view()?;
        (view.cold().zones()?, view.checkpoint())
    };
    let mut check = Check {
        snapshot,
        found: Verification::default(),
        recorded: None,
        versions: HashMap::new(),
        chain: Chain { hash: Some([0; 32]), zones, next: 0, span: None },
        run: Run::default(),
    };
    check.zones_are_dense(checkpoint.min(head));
    let mut expected = 1;
    for row in snapshot.log(1, head, Direction::Ascending) {
        let (position, bytes) = match row {
            Ok(row) => row,
            Err(error) => {
                check.found.fault(error.to_string());
                break;
            }
        };
        if position != expected {
            check.found.fault(format!("the log has no event from #{expected} to #{}", position - 1));
            check.chain.lose();
        }
        expected = position + 1;
        check.event(position, &bytes)?;
        if position % RUN == 0 || check.run.entries >= RUN_ENTRIES {
            check.end_of_run(position)?;
            progress(position, head);
        }
        if check.found.full() {
            return Ok(check.found);
        }
    }
    if expected <= head {
        check.found.fault(format!("the log ends at #{}, and the head is #{head}", expected - 1));
    }
    check.end_of_run(head)?;
    check.lists_hold_nothing_else(head)?;
    progress(head, head);
    Ok(check.found)
}

/// The chain hash at the head of a snapshot: it tells whether two logs are the same up to there.
pub(crate) fn chain(snapshot: &Snapshot) -> Result<[u8; 32]> {
    let head = snapshot.head().0;
    let zones = snapshot.view()?.cold().zones()?;
    let zone = zones.into_iter().rev().find(|(_, zone)| zone.last <= head);
    let (mut last, mut hash) = zone.map_or((0, [0; 32]), |(_, zone)| (zone.last, zone.chain));
    for row in snapshot.log(last + 1, head, Direction::Ascending) {
        let (position, bytes) = row?;
        if position != last + 1 {
            return Err(Error::corrupt("the log", format!("no event at #{}", last + 1)));
        }
        hash = link(hash, position, &bytes)?;
        last = position;
    }
    Ok(hash)
}

/// Bytes as a text of two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Check<'s> {
    snapshot: &'s Snapshot,
    found: Verification,
    recorded: Option<Timestamp>,
    versions: HashMap<Entity, u64>,
    chain: Chain,
    run: Run,
}

/// The hash so far, and the zone that the log is in.
struct Chain {
    /// None once an event could not be hashed: the next zone begins anew.
    hash: Option<[u8; 32]>,
    zones: Vec<(u64, Zone)>,
    next: usize,
    span: Option<Span>,
}

/// Times of the events of a zone: occurred, then recorded.
type Span = ((Timestamp, Timestamp), (Timestamp, Timestamp));

impl Chain {
    fn lose(&mut self) {
        self.hash = None;
        self.span = None;
    }
}

/// What the events of a run can be found by.
#[derive(Default)]
struct Run {
    after: u64,
    terms: BTreeMap<Term, Vec<u64>>,
    entries: usize,
}

impl Check<'_> {
    fn zones_are_dense(&mut self, through: u64) {
        let mut expected = 1;
        for (first, zone) in &self.chain.zones {
            if *first != expected || zone.last < *first {
                self.found.fault(format!("the zone at #{first}: expected one that begins at #{expected}"));
            }
            expected = zone.last + 1;
        }
        let covered = expected - 1;
        if covered < through {
            self.found.fault(format!("the zones end at #{covered}, the tables at #{through} or later"));
        }
    }

    fn event(&mut self, position: u64, bytes: &std::sync::Arc<[u8]>) -> Result<()> {
        self.found.events += 1;
        let event = match codec::decode(Position(position), bytes.clone()) {
            Ok(event) => event,
            Err(error) => {
                self.found.fault(error.to_string());
                self.chain.lose();
                return Ok(());
            }
        };
        if self.recorded.is_some_and(|before| event.recorded < before) {
            self.found.fault(format!("#{position} was recorded before the event before it"));
        }
        self.recorded = Some(event.recorded);
        self.version(&event)?;
        self.link(&event, bytes)?;
        for term in terms_of(&event)? {
            self.run.terms.entry(term).or_default().push(position);
            self.run.entries += 1;
        }
        Ok(())
    }

    fn version(&mut self, event: &Event) -> Result<()> {
        let (Some(target), Some(version)) = (&event.target, event.version) else {
            if event.target.is_some() != event.version.is_some() {
                self.found.fault(format!("{} has a target without a version", event.position));
            }
            return Ok(());
        };
        let before = match self.versions.get(target) {
            Some(before) => *before,
            None => self.snapshot.until(Position(event.position.0 - 1)).version(target)?.0,
        };
        if version.0 != before + 1 {
            let expected = before + 1;
            self.found.fault(format!("{} is {version} of {target}: expected {expected}", event.position));
        }
        if self.versions.len() >= REMEMBERED {
            self.versions.clear();
        }
        self.versions.insert(target.clone(), version.0);
        Ok(())
    }

    fn link(&mut self, event: &Event, bytes: &[u8]) -> Result<()> {
        let position = event.position.0;
        let chain = &mut self.chain;
        let Some((first, zone)) = chain.zones.get(chain.next) else { return Ok(()) };
        if position == *first {
            chain.span = None;
        }
        if let Some(hash) = chain.hash {
            chain.hash = Some(link(hash, position, bytes)?);
        }
        let (occurred, recorded) = (event.timestamp, event.recorded);
        if position == *first || chain.span.is_some() {
            let ((low, high), (begin, _)) =
                chain.span.unwrap_or(((occurred, occurred), (recorded, recorded)));
            chain.span = Some(((low.min(occurred), high.max(occurred)), (begin, recorded)));
        }
        if position == zone.last {
            if chain.hash.is_some_and(|hash| hash != zone.chain) {
                self.found.fault(format!("the chain of hashes does not hold from #{first} to #{position}"));
            }
            if chain.span.is_some_and(|span| span != (zone.occurred, zone.recorded)) {
                self.found.fault(format!(
                    "the zone from #{first} to #{position} spans other times than its events"
                ));
            }
            chain.hash = Some(zone.chain);
            chain.span = None;
            chain.next += 1;
        }
        Ok(())
    }

    /// The lists of the terms of a run have, within it, what its events say and nothing else.
    fn end_of_run(&mut self, last: u64) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        self.run.after = last;
        let view = self.snapshot.view()?;
        for (term, said) in run.terms {
            self.found.entries += said.len() as u64;
            let mut listed = Vec::with_capacity(said.len());
            let mut from = run.after + 1;
            let read = loop {
                match view.page(&term, from, last, Direction::Ascending) {
                    Ok(page) => match page.last() {
                        Some(end) => {
                            from = end + 1;
                            listed.extend(page);
                        }
                        None => break Ok(()),
                    },
                    Err(error) => break Err(error),
                }
            };
            match read {
                Err(error) => self.found.fault(format!("the list of {}: {error}", term.name())),
                Ok(()) if listed == said => {}
                Ok(()) => {
                    let odd = said.iter().find(|p| !listed.contains(p)).map(|p| format!("#{p} is missing"));
                    let odd = odd.or_else(|| {
                        listed.iter().find(|p| !said.contains(p)).map(|p| format!("#{p} does not belong"))
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
    fn lists_hold_nothing_else(&mut self, head: u64) -> Result<()> {
        let view = self.snapshot.view()?;
        let mut entries = view.warm_entries();
        let mut current: (Vec<u8>, u64, u64) = (Vec::new(), 0, 0);
        let found = &mut self.found;
        let scanned = view.cold().postings()?.scan(|term, chunk| {
            let (last_term, count, last) = &mut current;
            if last_term != term {
                *last_term = term.to_vec();
                (*count, *last) = (0, 0);
            }
            if is_counted(term) && chunk.before != *count {
                let name = Term::from_bytes(term).name();
                found.fault(format!(
                    "the list of {name}: a chunk counts {} before it, not {count}",
                    chunk.before
                ));
            }
            if chunk.positions.first().is_some_and(|first| first <= last)
                || !chunk.positions.is_sorted_by(|a, b| a < b)
            {
                found.fault(format!("the list of {} is not in order", Term::from_bytes(term).name()));
            }
            *count += chunk.positions.len() as u64;
            *last = chunk.positions.last().copied().unwrap_or(*last);
            entries += chunk.positions.partition_point(|&p| p <= head) as u64;
            Ok(())
        });
        match scanned {
            Err(error) => self.found.fault(error.to_string()),
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
