//! Indexes of the store: whatever is appended, defined, dropped, moved into the tables and broken off in between, an index that
//! is complete holds what a look at every event finds, and one that is not goes on where it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::allowance::{Limits, Unmade};
use crate::entity::{Position, PositionRange};
use crate::event::NewEvent;
use crate::store::Store;
use crate::store::append_request::AppendRequest;
use crate::store::condition::CompileConditions;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::index::posting;
use crate::store::journal::Side;
use crate::store::materialize::BackfillStep;
use crate::store::options::Options;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::tables::WriteTables;
use crate::store::verify::verify;
use crate::value::Value;

/// Understands names of members of `data`; not those that begin with `!`.
struct Members;

struct Member(String);

impl CompileConditions for Members {}

impl Compile for Members {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        if text.starts_with('!') {
            return Err(Error::invalid("the text of an index", "the name of a member", text));
        }
        Ok(Arc::new(Member(text.to_owned())))
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        Ok((text.to_owned(), Arc::new(crate::store::state::fold::Plain)))
    }
}

impl Derive for Member {
    fn keys(&self, event: &Record, _: &Limits, found: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        match event.data().member(&self.0).and_then(|raw| raw.to_value().ok()) {
            Some(Value::Array(items)) => found.extend(items.into_iter().map(IndexKey::Value)),
            value => found.extend(value.map(IndexKey::Value)),
        }
        Ok(())
    }
}

pub(in crate::store) fn members() -> Arc<dyn CompileConditions> {
    Arc::new(Members)
}

pub(in crate::store) fn defined(name: &str, on: &str, member: &str) -> AppendRequest {
    let event =
        NewEvent::new(DEFINED).on((KIND, name)).member("name", name).member("on", on).member("as", member);
    AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() }
}

pub(in crate::store) fn dropped(name: &str) -> AppendRequest {
    let event = NewEvent::new(DROPPED).on((KIND, name));
    AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() }
}

type Lists = BTreeMap<Term, Vec<Position>>;

/// What an index is to hold, by a look at every event.
fn scanned(snapshot: &Snapshot, index: &Index) -> Lists {
    let mut lists = Lists::new();
    for row in snapshot.log(PositionRange::ALL, ScanDirection::Ascending) {
        let (position, bytes) = row.unwrap();
        let mut terms = Vec::new();
        index.terms(&Record::open(position, &bytes).unwrap(), &Limits::default(), &mut terms).unwrap();
        for term in terms {
            lists.entry(term).or_default().push(position);
        }
    }
    lists
}

/// Holds every index that a snapshot shows to a look at every event, read both ways, and whole to the check.
pub(in crate::store) fn indexes_hold(snapshot: &Snapshot) -> Result<(), String> {
    let fault = |e: Error| e.to_string();
    for index in snapshot.indexes().iter() {
        // What is filled in meanwhile may be there already.
        let (done, definition) = (index.backfilled(), index.position);
        let sure = |p: &Position| *p <= done || *p > definition;
        for (term, positions) in scanned(snapshot, index) {
            let expected: Vec<Position> = positions.into_iter().filter(sure).collect();
            for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
                let list = snapshot.list(term.clone(), PositionRange::ALL, direction);
                let mut listed: Vec<Position> = list.collect::<Result<_>>().map_err(fault)?;
                if direction == ScanDirection::Descending {
                    listed.reverse();
                }
                listed.retain(sure);
                if listed != expected {
                    return Err(format!("{index:?}, {}: {listed:?}, not {expected:?}", term.name()));
                }
            }
        }
    }
    match verify(snapshot).map_err(fault)?.faults.as_slice() {
        [] => Ok(()),
        faults => Err(format!("{faults:?}, with {:?}", snapshot.indexes())),
    }
}

/// Builds and drops all that is to be built and dropped.
pub(in crate::store) fn settle(store: &Store) -> Result<BackfillStep, String> {
    loop {
        match store.shared().keep_defined().map_err(|e| e.to_string())? {
            BackfillStep::Worked => {}
            step => return Ok(step),
        }
    }
}

/// What the events of a log say of indexes: the position of the last definition of each name, where that is not dropped.
pub(in crate::store) fn definitions(snapshot: &Snapshot) -> BTreeMap<String, Position> {
    let mut found = BTreeMap::new();
    for row in snapshot.log(PositionRange::ALL, ScanDirection::Ascending) {
        let (position, bytes) = row.unwrap();
        let event = codec::decode(position, bytes).unwrap();
        let name = event.target.as_ref().map_or("", |target| target.id());
        match event.kind.as_str() {
            // An index of states takes the name, and is none of events.
            DEFINED if event.data.get("of").is_some() => drop(found.remove(name)),
            DEFINED => drop(found.insert(name.to_owned(), position)),
            DROPPED => drop(found.remove(name)),
            _ => {}
        }
    }
    found
}

/// Settled, the indexes are those that are defined, all complete, and there are no lists of others in the tables.
pub(in crate::store) fn indexes_are_whole(store: &Store) -> Result<(), String> {
    settle(store)?;
    let snapshot = store.snapshot();
    indexes_hold(&snapshot)?;
    let now: BTreeMap<String, Position> =
        snapshot.indexes().iter().map(|index| (index.name().to_owned(), index.position)).collect();
    if now != definitions(&snapshot) || now.len() != snapshot.indexes().iter().count() {
        return Err(format!("{now:?}, not {:?}", definitions(&snapshot)));
    }
    if let Some(index) = snapshot.indexes().iter().find(|index| !index.is_complete()) {
        return Err(format!("{index:?} is not complete"));
    }
    Ok(())
}

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

fn options(disk: &SimulatedDisk) -> Options {
    let mut options = Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(7, 1 << 20)
        .journal_steps(4096, 8192)
        .cache(256 << 10)
        .with_compiler(members());
    options.index_slice = (3, 2);
    options
}

fn by_hand(disk: &SimulatedDisk) -> Options {
    let mut options = options(disk);
    options.by_hand = true;
    options
}

fn paid(colour: impl Into<Value>) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", 1)).member("colour", colour.into())
}

fn append(store: &Store, event: NewEvent) -> Position {
    store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap().events[0].0
}

fn list(snapshot: &Snapshot, name: &str, value: impl Into<Value>) -> Vec<Position> {
    let term = snapshot.indexes().usable(name).unwrap().term(&IndexKey::Value(value.into())).unwrap();
    snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending).map(Result::unwrap).collect()
}

fn in_time(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<(bool, Value)>),
    /// An event, a definition and an event in one batch.
    Together(usize, usize, Value),
    Define(usize, usize, usize),
    Drop(usize),
    Slice,
    Settle,
    Checkpoint,
    Reopen,
    Crash(usize, u64),
    /// Takes a snapshot, and looks at it later.
    Hold,
    LetGo,
}

const NAMES: [&str; 2] = ["colour", "size"];
const PATTERNS: [&str; 3] = ["Order.*", "*", "$*, Parcel.sent"];
const MEMBERS: [&str; 3] = ["a", "b", "name"];

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        (0i64..3).prop_map(Value::Int),
        Just(Value::Float(1.0)),
        any::<bool>().prop_map(Value::Bool),
        "[xy]{0,2}".prop_map(Value::Text),
        "[xy]".prop_map(|end| Value::Text("z".repeat(600) + &end)),
        Just(Value::Null),
    ];
    prop_oneof![
        4 => scalar.clone(),
        1 => prop::collection::vec(scalar, 0..4).prop_map(Value::Array),
        1 => Just(Value::Object(Default::default())),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec((any::<bool>(), value()), 1..4).prop_map(Op::Append),
        2 => (0..2usize, 0..3usize, value()).prop_map(|(name, on, value)| Op::Together(name, on, value)),
        4 => (0..2usize, 0..3usize, 0..3usize).prop_map(|(name, on, member)| Op::Define(name, on, member)),
        1 => (0..2usize).prop_map(Op::Drop),
        6 => Just(Op::Slice),
        1 => Just(Op::Settle),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        2 => (0..4usize, any::<u64>()).prop_map(|(fate, seed)| Op::Crash(fate, seed)),
        1 => Just(Op::Hold),
        1 => Just(Op::LetGo),
    ]
}

fn of(other: bool, value: &Value) -> NewEvent {
    let kind = if other { "Parcel.sent" } else { "Order.paid" };
    NewEvent::new(kind).member("a", value).member("b", value.kind())
}

fn play(ops: &[Op]) -> Result<(), String> {
    let mut disk = SimulatedDisk::new();
    let mut store = Store::create(path(), by_hand(&disk)).unwrap();
    let mut held: Vec<Snapshot> = Vec::new();
    for op in ops {
        match op {
            Op::Append(events) => {
                let events = events.iter().map(|(other, value)| of(*other, value)).collect();
                drop(store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap());
            }
            Op::Together(name, on, value) => {
                let mut group = defined(NAMES[*name], PATTERNS[*on], MEMBERS[0]);
                group.events.insert(0, of(false, value));
                group.events.push(of(true, value));
                drop(store.append(group).unwrap());
            }
            Op::Define(name, on, member) => {
                drop(store.append(defined(NAMES[*name], PATTERNS[*on], MEMBERS[*member])).unwrap());
            }
            Op::Drop(name) => drop(store.append(dropped(NAMES[*name])).unwrap()),
            Op::Slice => drop(store.shared().keep_defined().map_err(|e| e.to_string())?),
            Op::Settle => {
                settle(&store)?;
                let incomplete =
                    store.snapshot().indexes().iter().find(|index| !index.is_complete()).cloned();
                if let Some(index) = incomplete {
                    return Err(format!("{index:?} is settled"));
                }
            }
            Op::Checkpoint => store.checkpoint().unwrap(),
            Op::Reopen => {
                held.clear();
                store.close().unwrap();
                store = Store::open(path(), by_hand(&disk)).map_err(|e| e.to_string())?;
            }
            Op::Crash(fate, seed) => {
                held.clear();
                disk = disk.crash(Fate::ALL[*fate], *seed);
                store = Store::open(path(), by_hand(&disk)).map_err(|e| e.to_string())?;
            }
            Op::Hold => held.push(store.snapshot()),
            Op::LetGo => held.clear(),
        }
        indexes_hold(&store.snapshot()).map_err(|e| format!("after {op:?}: {e}"))?;
        for snapshot in &held {
            indexes_hold(snapshot).map_err(|e| format!("after {op:?}, held at {}: {e}", snapshot.head()))?;
        }
    }
    drop(held);
    store.checkpoint().unwrap();
    indexes_are_whole(&store)?;
    let left = store.shared().stale().map_err(|e| e.to_string())?;
    if !left.is_empty() {
        return Err(format!("the indexes defined at {left:?} are not dropped"));
    }
    Ok(())
}

#[test]
fn what_was_built_before_a_crash_is_known_of_a_definition_from_the_journal() {
    let zero = || Value::Int(0);
    let mut ops =
        vec![Op::Together(1, 0, zero()), Op::Append(vec![(false, zero())]), Op::Slice, Op::Crash(0, 0)];
    ops.extend([Op::Together(1, 0, zero()), Op::Slice, Op::Append(vec![(false, zero())]), Op::Reopen]);
    play(&ops).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn indexes_follow_the_log(ops in prop::collection::vec(op(), 1..40)) {
        if let Err(fault) = play(&ops) {
            prop_assert!(false, "{}", fault);
        }
    }
}

#[test]
fn an_index_is_used_once_it_is_complete_and_the_one_before_until_then() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    for colour in ["red", "blue", "red", "red"] {
        append(&store, paid(colour).member("size", 3));
    }
    store.append(defined("by", "*", "colour")).unwrap();
    append(&store, paid("red"));
    assert!(store.snapshot().indexes().usable("by").is_none());
    store.shared().keep_defined().unwrap();
    assert_eq!(store.snapshot().indexes().get("by").unwrap().percent(), 60);
    settle(&store).unwrap();
    assert_eq!(list(&store.snapshot(), "by", "red"), [1, 3, 4, 6].map(Position));

    store.append(defined("by", "*", "size")).unwrap();
    append(&store, paid("red").member("size", 3));
    assert_eq!(list(&store.snapshot(), "by", "red"), [1, 3, 4, 6, 8].map(Position));
    let before = store.snapshot();
    let old = before.indexes().usable("by").unwrap().term(&IndexKey::Value("red".into())).unwrap();
    settle(&store).unwrap();
    assert_eq!(list(&store.snapshot(), "by", 3), [1, 2, 3, 4, 8].map(Position));
    append(&store, paid("red"));
    // Whoever began with the one before reads on.
    let read = before.list(old, PositionRange::ALL, ScanDirection::Ascending).map(Result::unwrap);
    assert_eq!(read.collect::<Vec<_>>(), [1, 3, 4, 6, 8].map(Position));

    store.append(dropped("by")).unwrap();
    assert!(store.snapshot().indexes().get("by").is_none());
}

#[test]
fn lists_stay_while_they_are_read_and_go_then() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    for n in 0..600 {
        append(&store, paid(if n % 2 == 0 { "red" } else { "blue" }));
    }
    store.append(defined("colour", "*", "colour")).unwrap();
    assert!(store.wait_for_indexes(Duration::from_secs(30)).unwrap());
    let snapshot = store.snapshot();
    let term = snapshot.indexes().usable("colour").unwrap().term(&IndexKey::Value("red".into())).unwrap();
    let mut rows = snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending);
    drop(snapshot);
    assert_eq!(rows.next().unwrap().unwrap(), Position(1));
    let definition = store.snapshot().indexes().get("colour").unwrap().position;
    store.append(dropped("colour")).unwrap();
    for _ in 0..30 {
        append(&store, paid("red"));
    }
    store.checkpoint().unwrap();
    let read: Vec<Position> = rows.by_ref().map(Result::unwrap).collect();
    assert_eq!(read, (3..600).step_by(2).map(Position).collect::<Vec<_>>());
    assert_eq!(store.shared().stale().unwrap(), [definition]);
    drop(rows);
    in_time("the lists are dropped", || store.shared().stale().unwrap().is_empty());
    assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
}

#[test]
fn appends_go_on_while_an_index_is_built() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk).memtable(50, 1 << 20)).unwrap();
    for n in 0..300u64 {
        append(&store, paid(n % 7));
    }
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..150 {
                    append(store, paid((n + thread) % 7));
                    if n == 40 {
                        let name = format!("index-{thread}");
                        store.append(defined(&name, "*", "colour")).unwrap();
                    }
                    if n % 30 == 0 {
                        indexes_hold(&store.snapshot()).unwrap();
                    }
                }
            });
        }
    });
    assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
    assert_eq!(store.snapshot().indexes().iter().count(), 3);
    indexes_hold(&store.snapshot()).unwrap();
    store.close().unwrap();
    let store = Store::open(path(), options(&disk).read_only(true)).unwrap();
    assert!(store.wait_for_indexes(Duration::ZERO).unwrap());
    indexes_hold(&store.snapshot()).unwrap();
}

/// Another version, that understands nothing that is defined.
struct Nothing;

impl CompileConditions for Nothing {}

impl Compile for Nothing {
    fn index(&self, _: &str) -> Result<Arc<dyn Derive>> {
        Err(Error::invalid("colour", "another version", "this one"))
    }

    fn entity(&self, _: &str) -> Result<(String, Arc<dyn Fold>)> {
        Err(Error::invalid("colour", "another version", "this one"))
    }
}

#[test]
fn an_index_that_is_not_understood_keeps_nobody_out_and_answers_nothing_where_it_misses_an_event() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    append(&store, paid("red"));
    let error = store.append(defined("colour", "*", "!colour")).unwrap_err();
    assert!(error.to_string().contains("the name of a member"), "{error}");
    store.append(defined("colour", "*", "colour")).unwrap();
    append(&store, paid("red"));
    let crashed = disk.crash(Fate::KeepAll, 0);
    store.close().unwrap();
    for disk in [&disk, &crashed] {
        let other = || {
            let mut options = by_hand(disk);
            options = options.with_compiler(Arc::new(Nothing));
            options
        };
        let store = Store::open(path(), other().read_only(true)).unwrap();
        assert_eq!(store.snapshot().head(), Position(3));
        assert!(store.snapshot().indexes().usable("colour").is_none());
        assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
        assert!(store.wait_for_indexes(Duration::from_secs(9)).is_err());
        store.close().unwrap();
        // It is written, and says why the index does not answer.
        let store = Store::open(path(), other()).unwrap();
        let why = store.snapshot().indexes().get("colour").unwrap().why_not_kept().unwrap();
        assert!(why.contains("defined at #2") && why.contains("another version"), "{why}");
        append(&store, paid("red"));
        store.close().unwrap();
        // The version that understands it does not take the index for whole: it misses #4.
        let store = Store::open(path(), by_hand(disk)).unwrap();
        while store.work_by_hand().unwrap() {}
        assert!(store.snapshot().indexes().usable("colour").is_none());
        let why = store.snapshot().indexes().get("colour").unwrap().why_not_kept().unwrap();
        assert!(why.contains("define it anew"), "{why}");
        assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
        append(&store, paid("red"));
        store.close().unwrap();
        let store = Store::open(path(), by_hand(disk)).unwrap();
        store.append(defined("colour", "*", "colour")).unwrap();
        indexes_are_whole(&store).unwrap();
        assert_eq!(list(&store.snapshot(), "colour", "red"), [1, 3, 4, 5].map(Position));
    }
}

#[test]
fn an_index_that_misses_no_event_is_whole_again_where_it_is_understood() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    append(&store, paid("red"));
    store.append(defined("colour", "*", "colour")).unwrap();
    append(&store, paid("red"));
    indexes_are_whole(&store).unwrap();
    store.append(defined("other", "*", "other")).unwrap();
    store.close().unwrap();
    let rescue = Store::open(path(), by_hand(&disk).without_followers(true)).unwrap();
    let refused =
        rescue.append(AppendRequest { events: vec![paid("red")], ..AppendRequest::default() }).unwrap_err();
    assert!(refused.to_string().contains("without followers"), "{refused}");
    assert!(rescue.append(defined("third", "*", "third")).is_err());
    rescue.append(dropped("other")).unwrap();
    rescue.close().unwrap();
    let store = Store::open(path(), by_hand(&disk)).unwrap();
    indexes_are_whole(&store).unwrap();
    assert_eq!(list(&store.snapshot(), "colour", "red"), [1, 3].map(Position));
    assert!(store.snapshot().indexes().get("other").is_none());
}

#[test]
fn what_is_said_of_an_index_is_checked() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    let refused = |group: AppendRequest, expected: &str| {
        let error = store.append(group).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(AppendRequest { internal: false, ..defined("x", "*", "a") }, "'$' begins the database's");
    refused(
        AppendRequest {
            events: vec![NewEvent::new("Order.paid").on((KIND, "x"))],
            ..AppendRequest::default()
        },
        "kinds",
    );
    refused(defined("x", "a b", "a"), "pattern");
    let event = |event| AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() };
    refused(event(NewEvent::new(DEFINED).on((KIND, "x")).member("on", "*")), "a text `as`");
    refused(event(NewEvent::new(DEFINED)), "a target of kind $index");
    refused(event(NewEvent::new("$index.renamed").on((KIND, "x"))), "$index.defined, $index.dropped");
    assert_eq!(store.snapshot().head(), Position(0));
}

#[test]
fn a_refused_definition_leaves_no_index_behind() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    let mut group = defined("x", "*", "a");
    group.events.push(paid("red").expect(crate::event::Expect::Version(crate::entity::Version(9))));
    assert!(store.append(group).unwrap_err().is_conflict());
    append(&store, paid("red"));
    assert_eq!(store.snapshot().indexes().iter().count(), 0);
    assert!(store.shared().stale().unwrap().is_empty());
}

/// What the check says of a store with an index, after something was planted in its tables.
fn planted(plant: impl FnOnce(&mut WriteTables, &dyn Fn(&str) -> Term) -> Result<()>) -> String {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    for colour in ["red", "blue", "red"] {
        append(&store, paid(colour));
    }
    store.append(defined("colour", "*", "colour")).unwrap();
    append(&store, paid("red"));
    store.checkpoint().unwrap();
    settle(&store).unwrap();
    indexes_hold(&store.snapshot()).unwrap();
    let snapshot = store.snapshot();
    let index = snapshot.indexes().get("colour").unwrap();
    let term = |colour: &str| index.term(&IndexKey::Value(colour.into())).unwrap();
    store.shared().tables.write("planting", |tables| plant(tables, &term)).unwrap();
    verify(&store.snapshot()).unwrap().faults.join("\n")
}

#[test]
fn a_missing_entry_and_one_too_many_are_found() {
    let chunk = |positions: &[Position]| posting::PostingChunk { before: 0, positions: positions.to_vec() };
    let missing = planted(|tables, term| {
        tables.put_chunk(&posting::key(term("red").as_bytes(), Position(1)), &chunk(&[Position(1)]))
    });
    assert!(missing.contains("#3 is missing"), "{missing}");
    let added = planted(|tables, term| {
        tables.put_chunk(&posting::key(term("red").as_bytes(), Position(1)), &chunk(&[1, 2, 3].map(Position)))
    });
    assert!(added.contains("#2 does not belong"), "{added}");
    for position in [2, 5] {
        let alone =
            planted(|tables, term| tables.append_postings(term("green").as_bytes(), &[Position(position)]));
        assert!(alone.contains("the lists have"), "{alone}");
    }
}

#[test]
fn a_definition_that_is_lost_with_the_journal_leaves_no_lists_to_another() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    for n in 0..6u64 {
        append(&store, paid(n));
    }
    store.append(defined("colour", "*", "colour")).unwrap();
    settle(&store).unwrap();
    assert_eq!(list(&store.snapshot(), "colour", 2), [3].map(Position));
    let crashed = disk.crash(Fate::KeepAll, 0);
    for side in Side::BOTH {
        crashed.remove(&side.path(path())).unwrap();
    }
    let store = Store::open(path(), by_hand(&crashed).accept_lost_journal(true)).unwrap();
    for _ in 0..6 {
        append(&store, paid("red"));
    }
    // At the very place of the one that was lost.
    store.append(defined("colour", "*", "colour")).unwrap();
    settle(&store).unwrap();
    assert!(list(&store.snapshot(), "colour", 2).is_empty());
    assert_eq!(list(&store.snapshot(), "colour", "red"), [1, 2, 3, 4, 5, 6].map(Position));
    indexes_are_whole(&store).unwrap();
}

#[test]
fn an_index_that_is_replaced_stays_so_whatever_becomes_of_what_replaced_it() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    append(&store, paid("red"));
    store.append(defined("by", "*", "colour")).unwrap();
    settle(&store).unwrap();
    // Somebody has the catalog, so that the lists stay.
    let reader = store.snapshot();
    store.append(defined("by", "*", "size")).unwrap();
    settle(&store).unwrap();
    let replacement = store.snapshot().indexes().get("by").unwrap().position;
    // One that nobody keeps up any more.
    append(&store, paid("red"));
    store.checkpoint().unwrap();
    store.shared().tables.write("a test", |tables| tables.set_invalid(replacement)).unwrap();
    drop(reader);
    store.close().unwrap();
    let store = Store::open(path(), by_hand(&disk)).unwrap();
    assert!(store.snapshot().indexes().usable("by").is_none());
    settle(&store).unwrap();
    assert!(store.shared().stale().unwrap().is_empty());
}

#[test]
fn a_failing_disk_holds_a_build_back_and_no_more() {
    use crate::store::disk::simulated::{Failure, Kind};
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), by_hand(&disk)).unwrap();
    for n in 0..20u64 {
        append(&store, paid(n % 3));
    }
    store.append(defined("colour", "*", "colour")).unwrap();
    store.checkpoint().unwrap();
    let mut failed = 0;
    for after in 1..40 {
        disk.faults().fail_after(after, Failure::of(Kind::Sync).named("shop.bygone"));
        for _ in 0..3 {
            failed += u64::from(store.shared().keep_defined().is_err());
        }
        disk.faults().clear();
        indexes_hold(&store.snapshot()).unwrap();
        store.append(dropped("colour")).unwrap();
        in_time("tables are written again", || store.checkpoint().is_ok() && settle(&store).is_ok());
        store.append(defined("colour", "*", "colour")).unwrap();
    }
    assert!(failed > 0);
    indexes_are_whole(&store).unwrap();
}
