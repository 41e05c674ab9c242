//! Planted faults: each is found, and named by where it is.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::entity::{Entity, Position};
use crate::event::{NewEvent, codec};
use crate::store::append_request::AppendRequest;
use crate::store::disk::memory::MemoryDisk;
use crate::store::index::posting::{self, PostingChunk};
use crate::store::tables::WriteTables;
use crate::store::{Options, Store};

/// Seven events in the tables, two orders' in turn, and two in the memtable.
fn store() -> Store {
    let mut options = Options::new().disk(Arc::new(MemoryDisk::new())).journal_steps(4096, 8192);
    // No snapshot is kept meanwhile, which would be held against lists that a test damages.
    options.by_hand = true;
    let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
    for n in 1..=9u64 {
        let event = NewEvent::new("Order.paid").on(("Order", n % 2)).index("n", n % 3);
        store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap();
        if n == 7 {
            store.checkpoint().unwrap();
        }
    }
    store
}

fn faults(store: &Store) -> Vec<String> {
    verify(&store.snapshot()).unwrap().faults
}

fn plant(what: &str, expected: &[&str], plant: impl FnOnce(&Store, &mut WriteTables) -> Result<()>) {
    let store = store();
    assert_eq!(faults(&store), Vec::<String>::new());
    store.shared().tables.write("planting", |tables| plant(&store, tables)).unwrap();
    let found = faults(&store);
    for expected in expected {
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{what}: expected {expected}, found {found:?}"
        );
    }
}

fn bytes(store: &Store, position: Position) -> Vec<u8> {
    store.snapshot().view().unwrap().event(position).unwrap().unwrap().to_vec()
}

fn tag(n: u64) -> Term {
    Term::tag("n", &n.into()).unwrap()
}

fn order(n: u64) -> Term {
    Term::entity(&Entity::from(("Order", n))).unwrap()
}

#[test]
fn what_is_planted_is_found() {
    plant("a changed byte", &["the event at #3", "checksum"], |store, tables| {
        let mut bytes = bytes(store, Position(3));
        *bytes.last_mut().unwrap() ^= 1;
        tables.replace_event(Position(3), &bytes);
        Ok(())
    });
    plant("an event in another's place", &["the event at #3"], |store, tables| {
        let other = bytes(store, Position(4));
        tables.replace_event(Position(3), &other);
        Ok(())
    });
    plant(
        "an event of its own making",
        &["the chain of hashes does not hold from #1 to #7"],
        |store, tables| {
            let event = codec::decode(Position(3), bytes(store, Position(3)).into())?;
            let new = NewEvent::new("Order.paid").on(("Order", 1)).index("n", 0).member("total", 1);
            let mut forged = Vec::new();
            let assigned = codec::Assigned {
                position: Position(3),
                version: event.version.unwrap(),
                id: &event.id,
                own_id: true,
                recorded: event.recorded,
                seal: None,
            };
            codec::encode(&mut forged, &new, &event.kind, event.target.as_ref(), &assigned);
            tables.replace_event(Position(3), &forged);
            Ok(())
        },
    );
    plant(
        "an entry too many, where the term is known",
        &["index value", "#7 does not belong"],
        |_, tables| tables.append_postings(tag(0).as_bytes(), &[Position(7)]),
    );
    plant("an entry too many, of a term that no event has", &["the lists have 28 entries"], |_, tables| {
        tables.append_postings(tag(77).as_bytes(), &[Position(5)])
    });
    plant("an entry too few", &["#4 is missing"], |_, tables| {
        let chunk = PostingChunk { before: 0, positions: [1, 7].map(Position).to_vec() };
        tables.put_chunk(&posting::key(tag(1).as_bytes(), Position(1)), &chunk)
    });
    plant("a count that is wrong", &["a chunk counts 1 before it, not 0"], |_, tables| {
        let chunk = PostingChunk { before: 1, positions: [2, 4, 6].map(Position).to_vec() };
        tables.put_chunk(&posting::key(order(0).as_bytes(), Position(2)), &chunk)
    });
    plant("a zone of other times", &["spans other times"], |store, tables| {
        let (first, mut zone) = store.shared().tables.read()?.zones()?.remove(0);
        zone.occurred.0 = Timestamp::MIN;
        tables.put_zone(first, &zone)
    });
    plant("a zone with another hash", &["the chain of hashes"], |store, tables| {
        let (first, mut zone) = store.shared().tables.read()?.zones()?.remove(0);
        zone.chain[5] ^= 1;
        tables.put_zone(first, &zone)
    });
    plant("a zone that ends early", &["the zones end at #5"], |store, tables| {
        let (first, mut zone) = store.shared().tables.read()?.zones()?.remove(0);
        zone.last = Position(5);
        tables.put_zone(first, &zone)
    });
}

#[test]
fn what_cannot_be_read_is_told_and_the_check_goes_on() {
    let store = store();
    store.checkpoint().unwrap();
    let shown = chain(&store.snapshot()).unwrap();
    let (odd, even) = (order(1), order(0));
    store
        .shared()
        .tables
        .write("planting", |tables| {
            tables.damage_zone(Position(1));
            tables.damage_chunk(&posting::key(odd.as_bytes(), Position(1)));
            tables.append_postings(tag(77).as_bytes(), &[Position(5)])?;
            tables.put_chunk(
                &posting::key(even.as_bytes(), Position(2)),
                &PostingChunk { before: 1, positions: [2, 4, 6, 8].map(Position).to_vec() },
            )
        })
        .unwrap();
    let found = verify(&store.snapshot()).unwrap();
    assert_eq!(found.events, 9, "{:?}", found.faults);
    for expected in
        ["the zone at #1: its checksum", "the posting list that begins at #1", "counts 1 before it"]
    {
        assert_eq!(found.faults.iter().filter(|f| f.contains(expected)).count(), 1, "{expected}: {found:?}");
    }
    assert!(!found.faults.iter().any(|fault| fault.contains("VERIFY")));
    assert_eq!(chain(&store.snapshot()).unwrap(), shown);
}

#[test]
fn whoever_compares_all_lists_can_be_stopped_there() {
    let store = store();
    let cancel = crate::cancel::Cancel::new();
    let snapshot = store.snapshot().cancelled_by(&cancel);
    let view = snapshot.view().unwrap();
    let mut check = Verifier::new(&snapshot);
    cancel.cancel();
    let stopped = check.lists_hold_nothing_else(&view).unwrap_err();
    assert!(matches!(stopped, Error::Stopped { .. }), "{stopped}");
    assert!(check.found.faults.is_empty());
}
