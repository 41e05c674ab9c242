//! Readers at work while events are appended and checkpoints move them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::held::rows;
use super::{Random, one, path, tiny};
use crate::entity::{Entity, Position, PositionRange};
use crate::event::{NewEvent, codec};
use crate::store::disk::memory::MemoryDisk;
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::{FaultInjection, Store};

const EVENTS: u64 = 3_000;

/// A writer and three readers, through some two hundred checkpoints.
pub(super) fn read_while_written(injection: Option<FaultInjection>) -> Result<(), String> {
    let disk = MemoryDisk::new();
    let mut options = tiny(&disk).memtable(15, 1 << 20);
    options.injection = injection;
    let store = Store::create(path(), options).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                let (store, done) = (&store, &done);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    let mut kept = store.snapshot();
                    let mut reads = 0;
                    while !done.load(Ordering::Relaxed) || reads == 0 {
                        // A snapshot that was kept shows what it showed, however far the log has gone on.
                        is_one_log(&kept, &mut random)
                            .inspect_err(|_| done.store(true, Ordering::Relaxed))?;
                        if random.below(3) > 0 {
                            kept = store.snapshot();
                        }
                        reads += 1;
                    }
                    Ok::<u64, String>(reads)
                })
            })
            .collect();
        let mut written = Ok(());
        for n in 0..EVENTS {
            let event = NewEvent::new("Order.paid").on(("Order", n % 7)).index("third", n % 3);
            match store.append(one(event)) {
                Ok(_) if done.load(Ordering::Relaxed) => break,
                Ok(_) => {}
                Err(error) => {
                    written = Err(error.to_string());
                    break;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        let mut all = 0;
        for reader in readers {
            all += reader.join().unwrap()?;
        }
        println!("{all} reads beside {EVENTS} appends");
        written
    })
}

/// Every way of reading tells of the same log, dense up to its head.
fn is_one_log(snapshot: &Snapshot, random: &mut Random) -> Result<(), String> {
    let fault = |e: crate::error::Error| e.to_string();
    let head = snapshot.head();
    let log = rows(snapshot, ScanDirection::Ascending)?;
    let entity = Entity::from(("Order", random.below(7)));
    let mut lists: BTreeMap<Term, Vec<Position>> = BTreeMap::new();
    let (of_entity, of_tag) =
        (Term::entity(&entity).map_err(fault)?, Term::tag("third", &1u64.into()).map_err(fault)?);
    for (position, bytes) in Position::FIRST.onwards().zip(&log) {
        let event = codec::decode(position, bytes.clone()).map_err(fault)?;
        if event.target.as_ref() == Some(&entity) {
            let list = lists.entry(of_entity.clone()).or_default();
            list.push(position);
            if event.version.map(|version| version.0) != Some(list.len() as u64) {
                return Err(format!("{position} is version {:?}, not {}", event.version, list.len()));
            }
        }
        if event.tags[0].value == 1u64.into() {
            lists.entry(of_tag.clone()).or_default().push(position);
        }
    }
    let mut one = || Position(1 + random.below(head.0 + 1));
    let some = PositionRange::new(one(), one());
    for term in [of_entity, of_tag] {
        let all = lists.remove(&term).unwrap_or_default();
        for range in [PositionRange::ALL, some] {
            let within: Vec<_> = all.iter().copied().filter(|p| range.contains(*p)).collect();
            for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
                let list = snapshot.list(term.clone(), range, direction);
                let mut list: Vec<_> = list.collect::<crate::error::Result<_>>().map_err(fault)?;
                if direction == ScanDirection::Descending {
                    list.reverse();
                }
                if list != within {
                    return Err(format!("{direction:?} of {range} at {head}: {list:?}, not {within:?}"));
                }
            }
        }
        if term.is_counted() && snapshot.version(&entity).map_err(fault)?.0 != all.len() as u64 {
            return Err(format!("another version than {} events at {head}", all.len()));
        }
    }
    let back = rows(snapshot, ScanDirection::Descending)?;
    if back != log {
        return Err(format!("the log is another one backwards, up to {head}"));
    }
    match snapshot.event(head.next()).map_err(fault)? {
        None => Ok(()),
        Some(_) => Err(format!("an event beyond the head {head}")),
    }
}

#[test]
fn every_page_shows_a_dense_prefix_while_checkpoints_go_on() {
    read_while_written(None).unwrap();
}

#[test]
fn a_snapshot_outlives_its_store_and_says_so() {
    let store = Store::create(path(), tiny(&MemoryDisk::new())).unwrap();
    store.append(one(NewEvent::new("Order.paid"))).unwrap();
    let snapshot = store.snapshot();
    let shared = Arc::downgrade(store.shared());
    store.close().unwrap();
    drop(store);
    assert!(snapshot.event(Position(1)).unwrap_err().to_string().contains("closed"));
    drop(snapshot);
    assert!(shared.upgrade().is_none());
}
