//! What is kept, broken, half gone, or written while it is read: what is told of entities stays right, and the log goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::entity::Position;
use crate::store::checkpoint;
use crate::store::index::term::terms_of;
use crate::store::log::JournalAfter;
use crate::store::memtable::{Memtable, Staged};

fn append(store: &Store, event: NewEvent) -> Position {
    store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap().events[0].0
}

fn made(id: &str, n: i64) -> NewEvent {
    NewEvent::new("Order.made").on(("Order", id)).member("n", n).at(at(n))
}

fn now(snapshot: &Snapshot) -> FoldBound {
    FoldBound { through: snapshot.head(), by: None }
}

fn holds(store: &Store) -> Result<(), String> {
    states_hold(&store.snapshot(), &KINDS, &IDS, &[(3, None), (0, Some(at(2)))])
}

fn faults(store: &Store) -> Vec<String> {
    verify(&store.snapshot()).unwrap().faults
}

/// Orders of every id with nine events each, defined, an index of their states, and all of it kept; and where it is defined.
fn kept(disk: &SimulatedDisk, durability: Durability) -> (Store, Position) {
    let store = Store::create(path(), options(disk).durability(durability)).unwrap();
    let definition = store.append(definition("Order", 2, 1)).unwrap().events[0].0;
    store.append(index_of_states("sum", "Order")).unwrap();
    for n in 0..9 {
        for id in IDS {
            append(&store, made(id, n));
        }
    }
    store.checkpoint().unwrap();
    settle(&store).unwrap();
    assert_eq!(store.snapshot().way_to_states("Order").unwrap(), StateAccess::Kept);
    (store, definition)
}

fn ids_with_sum(snapshot: &Snapshot, sum: i64) -> Option<Vec<String>> {
    let finder = snapshot.indexes().finder("sum").unwrap();
    let key = IndexKey::Value(sum.into());
    let prefix = derived_prefix(finder.position);
    let range = TermRange::between(&prefix, Bound::Included(&key), Bound::Included(&key));
    let found = snapshot.found_ids(finder, &[range], None, |_| Ok(())).unwrap();
    found.map(|ids| ids.into_iter().collect())
}

#[test]
fn what_a_crash_takes_back_of_a_definition_that_was_half_dropped_is_made_anew() {
    let crashed = || {
        let disk = SimulatedDisk::new();
        let (store, _) = kept(&disk, Durability::Interval(Duration::from_secs(3600)));
        store.append(undefined("Order")).unwrap();
        // A slice of it: the row that tells of the states, and some states.
        store.shared().keep_defined().unwrap();
        let disk = disk.crash(Fate::LoseAll, 0);
        let store = Store::open(path(), options(&disk)).unwrap();
        store.snapshot().indexes().model("Order").is_some().then_some(store)
    };
    // Who fills the journal ahead syncs it, and may do so behind the append: then that it was dropped is not lost, and there is nothing to see.
    let store = (0..20).find_map(|_| crashed()).expect("a crash that loses that it was dropped");
    settle(&store).unwrap();
    holds(&store).unwrap();
    assert_eq!(faults(&store), Vec::<String>::new());
}

#[test]
fn an_index_that_a_checkpoint_does_not_know_does_not_serve_whoever_still_does() {
    let disk = SimulatedDisk::new();
    let (store, _) = kept(&disk, Durability::Sync);
    let shared = store.shared();
    let first = append(&store, made("1", 100));
    let held = store.snapshot();
    store.append(catalog::tests::dropped("sum")).unwrap();
    // A checkpoint of a memtable that was frozen before that, begun behind it.
    let memtable = Arc::new(Memtable::new(first));
    let bytes = held.view().unwrap().event(first).unwrap().unwrap();
    let terms = terms_of(&codec::decode(first, bytes.clone()).unwrap()).unwrap();
    memtable.extend([Staged { bytes, encrypted: None, keys: Vec::new(), terms, version: 10 }], &[]).unwrap();
    let (paces, limits) = (&shared.materializer.paces, shared.limits());
    checkpoint::write(
        &shared.tables,
        &[&memtable],
        JournalAfter::Kept,
        &shared.applied.catalog(),
        paces,
        &limits,
        shared.kernel.keys(),
    )
    .unwrap();
    // Nine events from 0 to 8, and 100.
    if let Some(ids) = ids_with_sum(&held, 136) {
        assert_eq!(ids, ["1"]);
    }
    // Defined anew under its old name, it is whole again.
    store.append(index_of_states("sum", "Order")).unwrap();
    drop(held);
    settle(&store).unwrap();
    assert_eq!(ids_with_sum(&store.snapshot(), 136).unwrap(), ["1"]);
    assert_eq!(faults(&store), Vec::<String>::new());
}

#[test]
fn an_index_value_that_is_no_id_includes_nothing() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    // The longest value that there can be of the tag, and the longest id.
    let (value, id) = ("x".repeat(501), "y".repeat(504));
    for kind in ["TripOfAVehicle", "T"] {
        store.append(definition(kind, 1, 1)).unwrap();
    }
    settle(&store).unwrap();
    let moved = || NewEvent::new("Vehicle.moved").on(("Vehicle", 1)).member("n", 1);
    for trip in ["", &value] {
        append(&store, moved().index("trip", trip));
    }
    assert!(store.append(about(moved().index("trip", "x".repeat(502)))).is_err());
    append(&store, NewEvent::new("T.made").on(("T", &*id)).member("n", 2));
    let expects =
        NewEvent::new("T.changed").on(("T", &*id)).member("n", 3).expect(crate::event::Expect::Exists);
    append(&store, expects);
    for _ in 0..2 {
        let snapshot = store.snapshot();
        let folded = snapshot.fold(&Entity::from(("T", &*id)), now(&snapshot)).unwrap();
        assert_eq!((folded.version, folded.state.get("sum")), (2, Some(&Value::from(5))));
        let mut found = Vec::new();
        for kind in ["T", "TripOfAVehicle"] {
            let mut states = snapshot.states(kind, crate::store::snapshot::StateSelection::ALL).unwrap();
            states
                .lend(|id, _| {
                    Ok({
                        found.push((kind, id.len()));
                        true
                    })
                })
                .unwrap();
        }
        assert_eq!(found, [("T", 501), ("T", 504)]);
        assert_eq!(faults(&store), Vec::<String>::new());
        store.checkpoint().unwrap();
        settle(&store).unwrap();
    }
}

#[test]
fn snapshots_that_come_while_an_entity_is_folded_change_nothing() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    for n in 0..40 {
        append(&store, made("1", n % 10));
    }
    store.checkpoint().unwrap();
    let done = AtomicBool::new(false);
    let entity = Entity::from(("Order", "1"));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let snapshot = store.snapshot();
                let until = FoldBound { by: Some(at(100)), ..now(&snapshot) };
                assert_eq!(snapshot.fold(&entity, until).unwrap().events, 40);
            }
        });
        for _ in 0..150 {
            store.append(definition("Order", 2, 1)).unwrap();
            settle(&store).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

#[test]
fn a_state_that_is_damaged_stands_in_the_way_of_nothing() {
    let disk = SimulatedDisk::new();
    let (store, definition) = kept(&disk, Durability::Sync);
    let damage = || {
        let plant = |tables: &mut WriteTables| {
            tables.damage_state(definition, "1");
            Ok(())
        };
        store.shared().tables.write("planting", plant).unwrap();
    };
    damage();
    holds(&store).unwrap();
    assert!(faults(&store).iter().any(|fault| fault.contains("the kept state of 1")), "{:?}", faults(&store));
    // An event of its own, and then a checkpoint.
    append(&store, made("1", 100));
    holds(&store).unwrap();
    store.checkpoint().unwrap();
    holds(&store).unwrap();
    assert!(ids_with_sum(&store.snapshot(), 136).is_none_or(|ids| ids == ["1"]));
    // It is told of once, and what is kept is made anew.
    assert_eq!(store.shared().keep_defined().unwrap_err().kind(), "corrupt");
    settle(&store).unwrap();
    holds(&store).unwrap();
    assert_eq!(faults(&store), Vec::<String>::new());
    assert_eq!(store.snapshot().way_to_states("Order").unwrap(), StateAccess::Kept);
    assert_eq!(ids_with_sum(&store.snapshot(), 136).unwrap(), ["1"]);
    // Another index cannot be made of it.
    damage();
    store.append(index_of_states("last", "Order")).unwrap();
    assert_eq!(store.shared().keep_defined().unwrap_err().kind(), "corrupt");
    settle(&store).unwrap();
    holds(&store).unwrap();
    assert_eq!(faults(&store), Vec::<String>::new());
}

#[test]
fn an_index_of_states_that_has_no_checksums_is_built_anew() {
    let disk = SimulatedDisk::new();
    let (store, definition) = kept(&disk, Durability::Sync);
    let index = store.snapshot().indexes().finder("sum").unwrap().position;
    let sealed = |store: &Store| {
        let mut sealed = false;
        let look = |tables: &mut WriteTables| {
            sealed = tables.found_is_sealed();
            Ok(())
        };
        store.shared().tables.write("looking", look).unwrap();
        sealed
    };
    assert!(sealed(&store));
    let age = |tables: &mut WriteTables| {
        tables.take_checksums_away(definition, index);
        Ok(())
    };
    store.shared().tables.write("planting", age).unwrap();
    assert!(!sealed(&store));
    // It does not serve, and it is no damage.
    assert_eq!(ids_with_sum(&store.snapshot(), 36), None);
    assert_eq!(faults(&store), Vec::<String>::new());
    // So it is where a file of an earlier version is opened.
    store.close().unwrap();
    let store = Store::open(path(), options(&disk)).unwrap();
    assert!(!sealed(&store));
    settle(&store).unwrap();
    assert!(sealed(&store));
    assert_eq!(ids_with_sum(&store.snapshot(), 36).unwrap().len(), IDS.len());
    assert_eq!(faults(&store), Vec::<String>::new());
}

#[test]
fn a_snapshot_that_is_damaged_is_passed_over() {
    let disk = SimulatedDisk::new();
    let (store, definition) = kept(&disk, Durability::Sync);
    let entity = Term::entity(&Entity::from(("Order", "2"))).unwrap();
    let marks = store.shared().tables.read().unwrap().snapshots_from(&[], usize::MAX).unwrap();
    let ours: Vec<_> = marks.into_iter().map(|(key, _)| key).collect();
    assert!(ours.len() >= 16);
    for key in ours {
        let plant = |tables: &mut WriteTables| {
            tables.damage_snapshot(&key);
            Ok(())
        };
        store.shared().tables.write("planting", plant).unwrap();
        holds(&store).unwrap();
        assert!(faults(&store).iter().any(|fault| fault.contains("a kept state")), "{:?}", faults(&store));
    }
    let read = store.shared().tables.read().unwrap();
    assert!(
        read.with_snapshot(SnapshotOwner::Model(definition), &entity, Position(u64::MAX), false, |found| Ok(
            found.is_none()
        ))
        .unwrap()
    );
}

#[test]
fn how_far_states_are_followed_is_told_or_found_out_anew() {
    let disk = SimulatedDisk::new();
    let (store, definition) = kept(&disk, Durability::Sync);
    let rows = [8, 16];
    for length in rows {
        let plant = |tables: &mut WriteTables| {
            tables.damage_followers(definition, length);
            Ok(())
        };
        store.shared().tables.write("planting", plant).unwrap();
        holds(&store).unwrap();
        assert!(faults(&store).iter().any(|fault| fault.contains("how far")), "{:?}", faults(&store));
        append(&store, made("1", 5));
        store.checkpoint().unwrap();
        holds(&store).unwrap();
        settle(&store).unwrap();
        holds(&store).unwrap();
        assert_eq!(faults(&store), Vec::<String>::new());
        assert_eq!(store.snapshot().way_to_states("Order").unwrap(), StateAccess::Kept);
    }
}

#[test]
fn the_name_of_a_programs_type_is_the_beginning_of_no_others_key() {
    let names = ["a", "a\0", "a\0\u{1}\u{6}Order", "", "\0"];
    let entity = Term::entity(&Entity::from(("Order", 1))).unwrap();
    for one in names {
        for other in names.iter().filter(|other| **other != one) {
            let (from, to) = (
                SnapshotOwner::Named(one).key(&entity, Position(0)),
                SnapshotOwner::Named(one).key(&entity, Position(u64::MAX)),
            );
            let prefix = &from[..from.len() - entity.as_bytes().len() - 8];
            let key = SnapshotOwner::Named(other).key(&entity, Position(5));
            assert!(!key.starts_with(prefix) && !(from..=to.clone()).contains(&key), "{one:?} and {other:?}");
        }
    }
}
