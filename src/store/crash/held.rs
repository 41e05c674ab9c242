//! Holds what a crash left to what was promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::script::{IDS, KINDS, Run};
use super::{one, path};

use crate::entity::{Entity, Position, PositionRange, Version};
use crate::event::{Expect, NewEvent, codec};
use crate::store::catalog::tests::{indexes_are_whole, indexes_hold};
use crate::store::chain::link;
use crate::store::disk::Disk;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::index::posting;
use crate::store::index::term::{Term, definition_of, is_counted, terms_of};
use crate::store::journal::Side;
use crate::store::materialize::tests::{settle, states_hold};
use crate::store::snapshot::{ScanDirection, Snapshot, StateAccess};
use crate::store::verify::verify;
use crate::store::{Options, Store};

type Lists = BTreeMap<Vec<u8>, Vec<Position>>;

/// What follows from the log of a run, for as much of it as a crash may leave.
pub(super) struct Expected {
    log: Vec<Arc<[u8]>>,
    terms: Vec<Vec<Term>>,
    /// The chain hash at each position, 0 included.
    chain: Vec<[u8; 32]>,
}

impl Expected {
    pub fn new(log: &[Arc<[u8]>]) -> Expected {
        let mut expected = Expected { log: log.to_vec(), terms: Vec::new(), chain: vec![[0; 32]] };
        let mut versions: BTreeMap<Entity, u64> = BTreeMap::new();
        for (position, bytes) in Position::FIRST.onwards().zip(log) {
            let event = codec::decode(position, bytes.clone()).unwrap();
            if let Some(target) = &event.target {
                let version = versions.entry(target.clone()).or_default();
                *version += 1;
                assert_eq!(event.version.unwrap().0, *version, "the version at {position}");
            }
            expected.terms.push(terms_of(&event).unwrap());
            let before = expected.chain_at(position.previous());
            expected.chain.push(link(before, position, bytes).unwrap());
        }
        expected
    }

    pub fn chain_at(&self, position: Position) -> [u8; 32] {
        self.chain[position.0 as usize]
    }

    pub fn lists(&self, head: Position) -> Lists {
        let mut lists = Lists::new();
        for (position, terms) in PositionRange::through(head).iter().zip(&self.terms) {
            for term in terms {
                lists.entry(term.as_bytes().to_vec()).or_default().push(position);
            }
        }
        lists
    }
}

/// Opens what a crash left, and says what of the promise is broken. `variant` picks what is looked at closely.
pub(super) fn whole(
    run: &Run,
    expected: &Expected,
    image: &SimulatedDisk,
    promised: Option<Position>,
    variant: u64,
) -> Result<(), String> {
    let options = run.options.clone().disk(Arc::new(image.clone())).durability(Default::default());
    let Some(promised) = promised else {
        // The creation had not come to its end: there is no database, or a whole one.
        if !image.exists(path()).unwrap() {
            return Ok(());
        }
        return whole(run, expected, image, Some(Position(0)), variant);
    };
    let store = open(&options)?;
    let head = log_is_right(&store.snapshot(), run, expected, promised)?;
    tables_are_right(&store, expected, head)?;
    indexes_are_right(&store, variant)?;
    states_are_right(&store, variant)?;
    lists_are_right(&store.snapshot(), expected, head, variant)?;
    keys_are_known(&store, run, head, variant)?;
    let next = goes_on(&store, expected, head)?;
    store.close().map_err(|e| format!("closing: {e}"))?;
    nothing_beside(image)?;
    let store = open(&options)?;
    let log = rows(&store.snapshot(), ScanDirection::Ascending)?;
    let before = head.0 as usize;
    if log.len() != before + 1 || log[..before] != expected.log[..before] {
        return Err(format!("{} events after closing, of {}", log.len(), before + 1));
    }
    if log[before] != next {
        return Err("the event appended after the crash is not the one acknowledged".to_owned());
    }
    Ok(())
}

pub(super) fn open(options: &Options) -> Result<Store, String> {
    let mut options = options.clone();
    options.injection = options.injection.filter(|s| *s == crate::store::FaultInjection::IgnoreSalt);
    Store::open(path(), options).map_err(|e| format!("opening: {e}"))
}

pub(super) fn rows(snapshot: &Snapshot, direction: ScanDirection) -> Result<Vec<Arc<[u8]>>, String> {
    let mut rows: Vec<_> = snapshot
        .log(PositionRange::ALL, direction)
        .map(|row| row.map_err(|e| format!("reading the log: {e}")))
        .collect::<Result<_, _>>()?;
    if direction == ScanDirection::Descending {
        rows.reverse();
    }
    let dense = Position::FIRST.onwards().zip(&rows).all(|(expected, (position, _))| expected == *position);
    if !dense || Position(rows.len() as u64) != snapshot.head() {
        return Err(format!("{} rows up to {}, dense: {dense}", rows.len(), snapshot.head()));
    }
    Ok(rows.into_iter().map(|(_, bytes)| bytes).collect())
}

fn log_is_right(
    snapshot: &Snapshot,
    run: &Run,
    expected: &Expected,
    promised: Position,
) -> Result<Position, String> {
    let head = snapshot.head();
    if head < promised {
        return Err(format!("the log ends at {head}, and {promised} was acknowledged"));
    }
    if !run.ends.contains(&head) {
        return Err(format!("the log ends at {head}, within a group, or beyond all that was appended"));
    }
    let log = rows(snapshot, ScanDirection::Ascending)?;
    match log.iter().zip(&expected.log).position(|(a, b)| a != b) {
        Some(at) => Err(format!("other bytes at #{}", at + 1)),
        None => Ok(head),
    }
}

/// After recovery all is in the tables: they are compared whole.
pub(super) fn tables_are_right(store: &Store, expected: &Expected, head: Position) -> Result<(), String> {
    let fault = |e: crate::error::Error| e.to_string();
    let tables = store.shared().tables.read().map_err(fault)?;
    let meta = tables.meta(path()).map_err(fault)?;
    if meta.checkpoint != head || meta.journal.is_some() {
        return Err(format!("after recovery C is {} of {head}, journal {:?}", meta.checkpoint, meta.journal));
    }
    if meta.chain != expected.chain_at(head) {
        return Err(format!("another chain hash at {head}"));
    }
    let mut next = Position::FIRST;
    for (first, zone) in tables.zones().map_err(fault)? {
        if first != next || zone.chain != expected.chain_at(zone.last) {
            return Err(format!("the zone from {first} to {}, expected from {next}", zone.last));
        }
        next = zone.last.next();
    }
    if next != head.next() {
        return Err(format!("the zones end at {}", next.previous()));
    }
    let mut lists = Lists::new();
    let mut miscounted = None;
    let scanned = tables.postings().and_then(|postings| {
        postings.scan(&mut Vec::new(), |term, chunk| {
            let chunk = chunk?;
            if definition_of(term).is_some() {
                return Ok(());
            }
            let list = lists.entry(term.to_vec()).or_default();
            let before = if is_counted(term) { list.len() as u64 } else { 0 };
            if chunk.before != before || chunk.positions.len() > posting::FULL {
                miscounted = Some(format!("a chunk says {} come before, of {before}", chunk.before));
            }
            list.extend(chunk.positions);
            Ok(())
        })
    });
    scanned.map_err(fault)?;
    if let Some(miscounted) = miscounted {
        return Err(miscounted);
    }
    let right = expected.lists(head);
    if lists != right {
        let term = right.keys().chain(lists.keys()).find(|term| lists.get(*term) != right.get(*term));
        let term = term.cloned().unwrap_or_default();
        return Err(format!("the list of {term:?}: {:?}, not {:?}", lists.get(&term), right.get(&term)));
    }
    nothing_beside_is(store)
}

/// Whatever was being built or dropped goes on where it was, and is then what the log says.
fn indexes_are_right(store: &Store, variant: u64) -> Result<(), String> {
    let snapshot = store.snapshot();
    if snapshot.types("$index.").map_err(|e| e.to_string())?.is_empty() {
        return Ok(());
    }
    indexes_hold(&snapshot).map_err(|e| format!("after the crash: {e}"))?;
    drop(snapshot);
    if variant.is_multiple_of(3) {
        indexes_are_whole(store).map_err(|e| format!("built after the crash: {e}"))?;
        let stale = store.shared().stale().map_err(|e| e.to_string())?;
        if !stale.is_empty() {
            return Err(format!("the indexes defined at {stale:?} are not dropped"));
        }
    }
    Ok(())
}

/// Whatever was kept of states is what folds of the log make, and goes on where it was.
pub(super) fn states_are_right(store: &Store, variant: u64) -> Result<(), String> {
    let snapshot = store.snapshot();
    if snapshot.types("$entity.").map_err(|e| e.to_string())?.is_empty() {
        return Ok(());
    }
    let hold = |snapshot: &Snapshot| {
        states_hold(snapshot, &KINDS, &IDS, &[(variant % 9, None)])?;
        match verify(snapshot).map_err(|e| e.to_string())?.faults.as_slice() {
            [] => Ok(()),
            faults => Err(format!("{faults:?}")),
        }
    };
    hold(&snapshot).map_err(|e| format!("after the crash: {e}"))?;
    if variant.is_multiple_of(3) {
        settle(store)?;
        hold(&snapshot).map_err(|e| format!("kept after the crash: {e}"))?;
        for model in snapshot.indexes().models() {
            if snapshot.way_to_states(&model.kind).map_err(|e| e.to_string())? != StateAccess::Kept {
                return Err(format!("{model:?} is settled and not kept"));
            }
        }
    }
    Ok(())
}

/// Lists as a reader asks for them, one way and the other, and the versions of entities.
fn lists_are_right(
    snapshot: &Snapshot,
    expected: &Expected,
    head: Position,
    variant: u64,
) -> Result<(), String> {
    let right = expected.lists(head);
    for (at, (term, positions)) in right.iter().enumerate() {
        if is_counted(term) {
            let event = snapshot.event(positions[0]).map_err(|e| e.to_string())?;
            let entity = event.and_then(|event| event.target).ok_or("an event lost its target")?;
            let version = snapshot.version(&entity).map_err(|e| e.to_string())?;
            if version.0 != positions.len() as u64 {
                return Err(format!("{entity} is at {version}, and has {} events", positions.len()));
            }
        }
        if (at as u64 + variant).is_multiple_of(4) {
            for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
                let list = snapshot.list(Term::from_bytes(term), PositionRange::ALL, direction);
                let mut list: Vec<_> =
                    list.collect::<crate::error::Result<_>>().map_err(|e| e.to_string())?;
                if direction == ScanDirection::Descending {
                    list.reverse();
                }
                if list != *positions {
                    return Err(format!("the list of {term:?} is read as {list:?}, not {positions:?}"));
                }
            }
        }
    }
    Ok(())
}

/// A key that was acknowledged gives its first outcome.
fn keys_are_known(store: &Store, run: &Run, head: Position, variant: u64) -> Result<(), String> {
    let known: Vec<_> = run.keyed.iter().filter(|(_, at)| at.last().is_some_and(|at| *at <= head)).collect();
    if known.is_empty() {
        return Ok(());
    }
    let (group, positions) = known[variant as usize % known.len()];
    let outcome = store.append(group.clone()).map_err(|e| format!("repeating a key: {e}"))?;
    let right = outcome.events.iter().zip(positions).all(|((position, bytes), expected)| {
        position == expected && *bytes == run.log[expected.0 as usize - 1]
    });
    if !outcome.repeated || !right || outcome.events.len() != positions.len() {
        return Err(format!("a repeated key was given {outcome:?}, not {positions:?}"));
    }
    Ok(())
}

/// One more event finds its place.
fn goes_on(store: &Store, expected: &Expected, head: Position) -> Result<Arc<[u8]>, String> {
    let entity = Entity::from(("Order", 1));
    let term = Term::entity(&entity).map_err(|e| e.to_string())?;
    let version = expected.lists(head).get(term.as_bytes()).map_or(0, |list| list.len() as u64);
    let event = NewEvent::new("Order.reopened").on(&entity).expect(Expect::Version(Version(version)));
    let outcome = store.append(one(event)).map_err(|e| format!("appending after the crash: {e}"))?;
    let (position, bytes) = outcome.events[0].clone();
    if position != head.next() {
        return Err(format!("the next event went to {position}, behind {head}"));
    }
    Ok(bytes)
}

fn nothing_beside_is(store: &Store) -> Result<(), String> {
    journal_is_gone(&*store.shared().disk)
}

fn nothing_beside(disk: &SimulatedDisk) -> Result<(), String> {
    journal_is_gone(disk)
}

fn journal_is_gone(disk: &dyn Disk) -> Result<(), String> {
    let left = Side::BOTH.iter().find(|side| disk.exists(&side.path(path())).unwrap());
    left.map_or(Ok(()), |side| Err(format!("segment {side} of the journal is still there")))
}
