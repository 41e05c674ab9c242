//! Kept states: whatever is appended, defined, dropped, moved into the tables and broken off in between, what is read of an entity
//! equals a fold of all its events, at any point of both clocks.

mod damage;
mod slow;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::allowance::{Limits, Unmade};
use crate::entity::{Position, PositionRange};
use crate::event::{Event, NewEvent, codec};
use crate::store::append_request::AppendRequest;
use crate::store::catalog::{self, Compile, Derive, model};
use crate::store::condition::CompileConditions;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::index::term::{IndexKey, TermRange, derived_prefix};
use crate::store::materialize::BackfillStep;
use crate::store::snapshot::{FoldBound, ScanDirection, Snapshot, StateAccess, StateSelection};
use crate::store::state::fold::{Effect, Include};
use crate::store::verify::verify;
use crate::store::{Durability, Options, Store};
use crate::time::Timestamp;
use crate::value::{Object, Value};

/// Understands `Trip every factor`: events of `Vehicle.*` join a kind that begins with T, by their tag `trip`.
pub(in crate::store) struct Sums;

#[derive(Debug)]
struct Sum {
    every: u64,
    factor: i64,
    includes: Vec<Include>,
}

impl CompileConditions for Sums {}

impl Compile for Sums {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        Ok(Arc::new(OfState(text.to_owned())))
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        let wrong = || Error::invalid("a test's definition", "a kind and two numbers", text);
        let [kind, every, factor] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let include = Include { on: "Vehicle.*".parse()?, tag: "trip".to_owned() };
        let includes = if kind.starts_with('T') { vec![include] } else { Vec::new() };
        let (every, factor) = (every.parse().map_err(|_| wrong())?, factor.parse().map_err(|_| wrong())?);
        Ok((kind.to_owned(), Arc::new(Sum { every, factor, includes })))
    }
}

/// A member of a state, or the items of it.
struct OfState(String);

impl Derive for OfState {
    fn keys(&self, _: &Record, _: &Limits, _: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        Ok(())
    }

    fn is_of_states(&self) -> bool {
        true
    }

    fn keys_of_state(
        &self,
        _: &str,
        kept: &StoredState,
        _: &Limits,
        found: &mut Vec<IndexKey>,
    ) -> Result<bool, Unmade> {
        found.extend(kept.state.member(&self.0).and_then(|raw| raw.to_value().ok()).map(IndexKey::Value));
        Ok(true)
    }
}

impl Fold for Sum {
    fn apply(&self, state: &mut Value, event: &Record, own: bool, _: &Limits) -> Result<u64, Unmade> {
        match self.effect(event.kind(), own) {
            Effect::Nothing => return Ok(0),
            Effect::Deletes => *state = Value::Null,
            Effect::Makes => {
                let Some(n) = event.data().member("n").and_then(|raw| raw.int()).map(|(n, _)| n) else {
                    return Err(Unmade::Fault("n is no number".to_owned()));
                };
                let before = |name: &str| state.get(name).and_then(Value::as_i64).unwrap_or(0);
                let (sum, joined) = (before("sum") + n * self.factor, before("joined") + i64::from(!own));
                *state = Value::Object(Object::from_iter([
                    ("sum".to_owned(), sum.into()),
                    ("joined".to_owned(), joined.into()),
                    ("last".to_owned(), n.into()),
                ]));
            }
        }
        Ok(1 << 10)
    }

    fn effect(&self, kind: &str, _: bool) -> Effect {
        match kind.rsplit('.').next() {
            Some("ended") => Effect::Deletes,
            Some("noted") => Effect::Nothing,
            _ => Effect::Makes,
        }
    }

    fn includes(&self) -> &[Include] {
        &self.includes
    }

    fn every(&self) -> u64 {
        self.every
    }

    fn namespace(&self) -> Option<&str> {
        None
    }
}

const KINDS: [&str; 2] = ["Trip", "Order"];
const IDS: [&str; 4] = ["1", "2", "b", "a b"];
const NAMES: [&str; 4] = ["made", "changed", "noted", "ended"];

#[derive(Debug, Clone)]
struct Said {
    kind: usize,
    id: usize,
    name: usize,
    /// Not a number is what cannot be folded.
    n: Option<i64>,
    /// When it occurred.
    minute: i64,
    /// A vehicle's, that joins a trip: as a number where that can be.
    joins: Option<(usize, bool)>,
}

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Said>),
    Define(usize, u64, i64),
    /// An event, a definition and an event in one batch.
    Together(usize, Said),
    Undefine(usize),
    Index(usize, usize),
    NoIndex(usize),
    Slice(u8),
    Settle,
    Checkpoint,
    Reopen,
    Crash(usize, u64),
    Hold,
    LetGo,
}

fn said() -> impl Strategy<Value = Said> {
    let n = prop_oneof![12 => (0i64..4).prop_map(Some), 1 => Just(None)];
    let name = prop_oneof![6 => Just(0usize), 4 => Just(1), 1 => Just(2), 1 => Just(3)];
    let joins = prop::option::weighted(0.3, (0usize..4, any::<bool>()));
    (0usize..2, 0usize..4, name, n, 0i64..60, joins).prop_map(|(kind, id, name, n, minute, joins)| Said {
        kind,
        id,
        name,
        n,
        minute,
        joins,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => prop::collection::vec(said(), 1..6).prop_map(Op::Append),
        3 => (0usize..2, 1u64..5, 1i64..3).prop_map(|(kind, every, factor)| Op::Define(kind, every, factor)),
        1 => (0usize..2, said()).prop_map(|(kind, said)| Op::Together(kind, said)),
        1 => (0usize..2).prop_map(Op::Undefine),
        2 => (0usize..2, 0usize..2).prop_map(|(name, kind)| Op::Index(name, kind)),
        1 => (0usize..2).prop_map(Op::NoIndex),
        5 => (1u8..6).prop_map(Op::Slice),
        2 => Just(Op::Settle),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        2 => (0..4usize, any::<u64>()).prop_map(|(fate, seed)| Op::Crash(fate, seed)),
        1 => Just(Op::Hold),
        1 => Just(Op::LetGo),
    ]
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + minute * 60_000)
}

fn event(said: &Said) -> NewEvent {
    let Said { kind, id, name, n, minute, joins } = said;
    let new = match joins {
        None => NewEvent::new(&format!("{}.{}", KINDS[*kind], NAMES[*name])).on((KINDS[*kind], IDS[*id])),
        Some((trip, number)) => {
            let new = NewEvent::new(&format!("Vehicle.{}", NAMES[*name])).on(("Vehicle", IDS[*id]));
            match IDS[*trip].parse::<i64>() {
                Ok(trip) if *number => new.index("trip", trip),
                _ => new.index("trip", IDS[*trip]),
            }
        }
    };
    let n = n.map_or(Value::from("none"), Value::from);
    new.member("n", n).at(at(*minute))
}

pub(in crate::store) fn definition(kind: &str, every: u64, factor: i64) -> AppendRequest {
    let text = format!("{kind} {every} {factor}");
    about(NewEvent::new(model::DEFINED).on((model::KIND, kind)).member(model::TEXT, text))
}

pub(in crate::store) fn undefined(kind: &str) -> AppendRequest {
    about(NewEvent::new(model::DROPPED).on((model::KIND, kind)))
}

pub(in crate::store) fn index_of_states(name: &str, kind: &str) -> AppendRequest {
    let event = NewEvent::new(catalog::DEFINED).on((catalog::KIND, name));
    about(event.member("name", name).member("of", kind).member("as", name))
}

fn about(event: NewEvent) -> AppendRequest {
    AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() }
}

const INDEXES: [&str; 2] = ["sum", "last"];

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

fn options(disk: &SimulatedDisk) -> Options {
    let mut options = Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(9, 1 << 20)
        .journal_steps(4096, 8192)
        .cache(256 << 10)
        .with_compiler(Arc::new(Sums));
    options.index_slice = (5, 3);
    options.by_hand = true;
    options
}

/// Every event of the log, decoded.
fn log(snapshot: &Snapshot) -> Vec<(Event, Arc<[u8]>)> {
    let rows = snapshot.log(PositionRange::ALL, ScanDirection::Ascending).map(Result::unwrap);
    rows.map(|(position, bytes)| (codec::decode(position, bytes.clone()).unwrap(), bytes)).collect()
}

/// The fold, as plainly as it can be said.
fn plainly(events: &[(Event, Arc<[u8]>)], fold: &dyn Fold, entity: &Entity, until: FoldBound) -> Folded {
    let mut folded = Folded::default();
    for (event, bytes) in events {
        let own = event.target.as_ref() == Some(entity);
        let tagged = event.tags.iter().any(|tag| {
            tag.name == "trip" && (tag.value == entity.id().into() || tag.value.to_string() == entity.id())
        });
        let joins = !own && tagged && fold.includes().iter().any(|include| include.on.matches(&event.kind));
        let occurred = until.by.is_none_or(|by| event.timestamp <= by);
        if event.position <= until.through && (own || joins) && occurred {
            folded.add(fold, &Record::open(event.position, bytes).unwrap(), own, &Limits::default()).unwrap();
        }
    }
    folded
}

/// Holds all that a snapshot tells of states to plain folds. A point is so far from the head, by some instant.
pub(in crate::store) fn states_hold(
    snapshot: &Snapshot,
    kinds: &[&str],
    ids: &[&str],
    points: &[(u64, Option<Timestamp>)],
) -> Result<(), String> {
    let fault = |e: Error| e.to_string();
    let events = log(snapshot);
    let head = snapshot.head();
    for &kind in kinds {
        let fold = snapshot.fold_of(kind).map_err(fault)?;
        let mut all = BTreeMap::new();
        for &id in ids {
            let entity = Entity::from((kind, id));
            let now = FoldBound { through: head, by: None };
            let expected = plainly(&events, &*fold, &entity, now);
            if expected.events > 0 {
                all.insert(id.to_owned(), expected);
            }
            for (through, by) in points.iter().copied().chain([(0, None), (0, Some(at(30)))]) {
                let until = FoldBound { through: head.minus(through), by };
                let (found, expected) =
                    (snapshot.fold(&entity, until), plainly(&events, &*fold, &entity, until));
                let found = found.map_err(fault)?;
                if found != expected {
                    return Err(format!("{entity} {until:?}: {found:?}, not {expected:?}"));
                }
            }
        }
        let way = snapshot.way_to_states(kind).map_err(fault)?;
        let mut found = BTreeMap::new();
        let mut states = snapshot.states(kind, StateSelection::ALL).map_err(fault)?;
        let mut last = None;
        states
            .lend(|id, kept| {
                assert!(last.as_deref() < Some(id), "{id} after {last:?}");
                last = Some(id.to_owned());
                found.insert(id.to_owned(), kept.to_folded(&Limits::default())?);
                Ok(true)
            })
            .map_err(fault)?;
        if found != all {
            return Err(format!("states of {kind} ({way:?}): {found:?}, not {all:?}"));
        }
        for finder in snapshot.indexes().finders_of(kind) {
            let prefix = derived_prefix(finder.position);
            for n in 0..6i64 {
                let key = IndexKey::Value(n.into());
                let range = TermRange::between(&prefix, Bound::Included(&key), Bound::Included(&key));
                let Some(ids) = snapshot.found_ids(finder, &[range], None, |_| Ok(())).map_err(fault)? else {
                    continue;
                };
                for (id, folded) in &all {
                    let is = folded.fault.is_none()
                        && folded.state.get(&finder.text).is_some_and(|value| *value == n.into());
                    if is && !ids.contains(id) {
                        return Err(format!("{finder:?} misses {id} of {kind} under {n}"));
                    }
                }
            }
        }
    }
    Ok(())
}

pub(in crate::store) fn settle(store: &Store) -> Result<(), String> {
    while store.shared().keep_defined().map_err(|e| e.to_string())? == BackfillStep::Worked {}
    Ok(())
}

fn play(ops: &[Op], points: &[(u64, Option<i64>)], durability: Durability) -> Result<(), String> {
    let options = |disk: &SimulatedDisk| options(disk).durability(durability);
    let points: Vec<_> = points.iter().map(|(back, minute)| (*back, minute.map(at))).collect();
    let states_hold = |snapshot: &Snapshot| states_hold(snapshot, &KINDS, &IDS, &points);
    let mut disk = SimulatedDisk::new();
    let mut store = Store::create(path(), options(&disk)).unwrap();
    let mut held: Vec<Snapshot> = Vec::new();
    for op in ops {
        match op {
            Op::Append(events) => {
                let events = events.iter().map(event).collect();
                drop(store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap());
            }
            Op::Define(kind, every, factor) => {
                drop(store.append(definition(KINDS[*kind], *every, *factor)).unwrap());
            }
            Op::Together(kind, said) => {
                let mut group = definition(KINDS[*kind], 2, 3);
                group.events.insert(0, event(said));
                group.events.push(event(said));
                drop(store.append(group).unwrap());
            }
            Op::Undefine(kind) => {
                drop(store.append(undefined(KINDS[*kind])).unwrap());
            }
            Op::Index(name, kind) => {
                drop(store.append(index_of_states(INDEXES[*name], KINDS[*kind])).unwrap());
            }
            Op::NoIndex(name) => {
                drop(store.append(catalog::tests::dropped(INDEXES[*name])).unwrap());
            }
            Op::Slice(times) => {
                for _ in 0..*times {
                    store.shared().keep_defined().map_err(|e| e.to_string())?;
                }
            }
            Op::Settle => settle(&store)?,
            Op::Checkpoint => store.checkpoint().unwrap(),
            Op::Reopen => {
                held.clear();
                store.close().unwrap();
                store = Store::open(path(), options(&disk)).map_err(|e| e.to_string())?;
            }
            Op::Crash(fate, seed) => {
                held.clear();
                disk = disk.crash(Fate::ALL[*fate], *seed);
                store = Store::open(path(), options(&disk)).map_err(|e| e.to_string())?;
            }
            Op::Hold => held.push(store.snapshot()),
            Op::LetGo => held.clear(),
        }
        let told = |e| format!("after {op:?}: {e}");
        states_hold(&store.snapshot()).map_err(told)?;
        for snapshot in &held {
            states_hold(snapshot).map_err(|e| format!("held at {}, after {op:?}: {e}", snapshot.head()))?;
        }
        match verify(&store.snapshot()).map_err(|e| e.to_string())?.faults.as_slice() {
            [] => {}
            faults => return Err(format!("after {op:?}: {faults:?}")),
        }
    }
    drop(held);
    store.checkpoint().unwrap();
    settle(&store)?;
    let snapshot = store.snapshot();
    states_hold(&snapshot)?;
    let fault = |e: Error| e.to_string();
    let models: Vec<Position> = snapshot.indexes().models().map(|model| model.position).collect();
    let kept = store.shared().tables.read().and_then(|read| read.kept_definitions()).map_err(fault)?;
    if kept.iter().any(|(definition, _)| !models.contains(definition)) || kept.len() != models.len() {
        return Err(format!("kept are {kept:?}, defined {models:?}"));
    }
    for model in snapshot.indexes().models() {
        if snapshot.way_to_states(&model.kind).map_err(fault)? != StateAccess::Kept {
            return Err(format!("{model:?} is settled and not kept"));
        }
        for finder in snapshot.indexes().finders_of(&model.kind) {
            let built =
                store.shared().tables.read().and_then(|read| read.built(model.position, finder.position));
            if built.map_err(fault)? != Some(Built::Whole) {
                return Err(format!("{finder:?} is settled and not built"));
            }
        }
    }
    Ok(())
}

/// A store in which `Order 1` has so many events, each of a minute, all of it in the tables and reopened.
fn orders(minutes: impl Iterator<Item = i64>) -> (Store, Entity) {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    let entity = Entity::new("Order", "1").unwrap();
    for minute in minutes {
        let new = NewEvent::new("Order.said").on(("Order", "1")).member("n", minute).at(at(minute));
        drop(store.append(AppendRequest { events: vec![new], ..AppendRequest::default() }).unwrap());
    }
    store.close().unwrap();
    (Store::open(path(), options(&disk)).unwrap(), entity)
}

/// How many events a fold reads.
fn reads(store: &Store, entity: &Entity, until: FoldBound) -> u64 {
    let snapshot = store.snapshot().tallied();
    let folded = snapshot.fold(entity, until).unwrap();
    assert_eq!(folded, plainly(&log(&snapshot), &Plain, entity, until));
    snapshot.tally().events()
}

#[test]
fn snapshots_that_were_not_made_in_time_are_made_when_they_are_missed() {
    for by in [None, Some(at(1000))] {
        let (store, entity) = orders(0..200);
        let until = FoldBound { through: Position(190), by };
        assert_eq!(reads(&store, &entity, until), 190);
        settle(&store).unwrap();
        assert_eq!(reads(&store, &entity, until), 190 % EVERY);
        assert_eq!(verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
    }
}

#[test]
fn what_is_late_all_over_is_looked_for_where_it_can_be() {
    // Every other event tells of three minutes before; nothing later tells of the middle.
    let (store, entity) = orders((0..400).map(|n| n - n % 2 * 3));
    reads(&store, &entity, FoldBound { through: Position(400), by: None });
    settle(&store).unwrap();
    for minute in [7, 200, 391] {
        let read = reads(&store, &entity, FoldBound { through: Position(399), by: Some(at(minute)) });
        assert!(read <= 6 * EVERY, "{read} events were read");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn states_follow_the_log(
        ops in prop::collection::vec(op(), 1..40),
        points in prop::collection::vec((0u64..40, prop::option::of(0i64..60)), 1..4),
        lazy in any::<bool>(),
    ) {
        let durability = if lazy { Durability::Interval(Duration::from_secs(3600)) } else { Durability::Sync };
        if let Err(fault) = play(&ops, &points, durability) {
            prop_assert!(false, "{}", fault);
        }
    }
}
