//! A definition that is slow to evaluate, or fails, holds up nobody else: not a checkpoint, not closing, not what else is defined.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::allowance::{Limits, Unmade};
use crate::entity::Position;
use crate::store::condition::CompileConditions;
use crate::store::state::fold::Plain;
use crate::store::view::{GroupDelta, Keeps, ViewGroups, ViewMaterializer};

/// How many events the slow fold was given.
static FOLDED: AtomicUsize = AtomicUsize::new(0);

const EVENTS: u64 = 300;

/// Understands `Slow`, which takes 20 ms for an event, any other kind, and a view that fails at an event of the type `Order.bad`.
struct Slow;

#[derive(Debug)]
struct Slowly;

#[derive(Debug)]
struct Failing;

impl CompileConditions for Slow {}

impl Compile for Slow {
    fn index(&self, text: &str) -> Result<Arc<dyn Derive>> {
        Sums.index(text)
    }

    fn entity(&self, text: &str) -> Result<(String, Arc<dyn Fold>)> {
        match text {
            "Slow" => Ok((text.to_owned(), Arc::new(Slowly))),
            _ => Ok((text.to_owned(), Arc::new(Plain))),
        }
    }

    fn view(&self, text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
        Ok((text.to_owned(), Arc::new(Failing)))
    }
}

impl Fold for Slowly {
    fn apply(&self, state: &mut Value, event: &Record, own: bool, limits: &Limits) -> Result<u64, Unmade> {
        FOLDED.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        Plain.apply(state, event, own, limits)
    }

    fn effect(&self, kind: &str, own: bool) -> Effect {
        Plain.effect(kind, own)
    }

    fn includes(&self) -> &[Include] {
        &[]
    }

    fn every(&self) -> u64 {
        EVENTS
    }

    fn namespace(&self) -> Option<&str> {
        None
    }
}

impl ViewMaterializer for Failing {
    fn keeps(&self) -> Keeps<'_> {
        Keeps::Groups(self)
    }
}

impl ViewGroups for Failing {
    fn part<'e>(
        &self,
        events: &mut dyn Iterator<Item = Result<Record<'e>>>,
        _: &Limits,
    ) -> Result<GroupDelta> {
        for event in events {
            if event?.kind() == "Order.bad" {
                return Err(Error::invalid("concat", "at most 16 bytes", "32"));
            }
        }
        Ok(GroupDelta::new())
    }

    fn join(&self, kept: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        Ok(kept.to_vec())
    }
}

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).with_compiler(Arc::new(Slow))
}

fn define(store: &Store, kind: &str, about: &str, name: &str) -> Position {
    let event = NewEvent::new(kind).on((about, name)).member(model::TEXT, name);
    let group = AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() };
    store.append(group).unwrap().events[0].0
}

fn append(store: &Store, kind: &str, count: u64) {
    let owner = kind.split('.').next().unwrap();
    let events = (0..count).map(|n| NewEvent::new(kind).on((owner, n % 3)).member("n", n)).collect();
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
}

#[test]
fn neither_a_checkpoint_nor_closing_waits_for_a_definition_that_is_slow() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    let definition = define(&store, model::DEFINED, model::KIND, "Slow");
    define(&store, model::DEFINED, model::KIND, "Order");
    store.checkpoint().unwrap();
    append(&store, "Slow.made", EVENTS);
    append(&store, "Order.made", 10);
    store.checkpoint().unwrap();
    // The other one is kept meanwhile.
    let until = Instant::now() + Duration::from_secs(60);
    while store.snapshot().way_to_states("Order").unwrap() != StateAccess::Kept {
        assert!(Instant::now() < until, "Order is not kept");
        thread::sleep(Duration::from_millis(5));
    }
    store.close().unwrap();
    let folded = FOLDED.load(Ordering::SeqCst);
    assert!((folded as u64) < EVENTS, "{folded} events were folded before it was closed");
    // What is kept of it comes, a stretch at a time.
    let store = Store::open(path(), options(&disk)).unwrap();
    assert!(store.shared.failures.of(definition).is_none());
    assert!(store.wait_for_indexes(Duration::from_secs(120)).unwrap());
    assert_eq!(store.snapshot().way_to_states("Slow").unwrap(), StateAccess::Kept);
    assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
}

#[test]
fn nothing_is_begun_for_a_definition_once_it_is_to_be_closed() {
    let disk = SimulatedDisk::new();
    let mut options = options(&disk);
    options.by_hand = true;
    let store = Store::create(path(), options).unwrap();
    for kind in ["A", "B", "C"] {
        define(&store, model::DEFINED, model::KIND, kind);
    }
    append(&store, "A.made", 3);
    store.checkpoint().unwrap();
    let shared = store.shared();
    assert_eq!(shared.keep_defined().unwrap(), BackfillStep::Worked);
    // Who waits for that may ask whether to stop: no lock is held for it.
    let stopping = || Ok(shared.background.stopping());
    assert!(!shared.background.wait_for_indexes(Duration::ZERO, stopping).unwrap());
    // There is more to do, and whoever closes does not wait for it.
    shared.background.stop();
    let before = disk.counts();
    assert_eq!(shared.keep_defined().unwrap(), BackfillStep::Nothing);
    assert_eq!(disk.counts(), before);
}

#[test]
fn a_view_that_cannot_be_evaluated_says_so_and_nothing_waits_for_it() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    append(&store, "Order.bad", 1);
    let definition = define(&store, catalog::view::DEFINED, catalog::view::KIND, "bad");
    define(&store, model::DEFINED, model::KIND, "Order");
    store.checkpoint().unwrap();
    let failed = store.wait_for_indexes(Duration::from_secs(60)).unwrap_err();
    assert!(failed.to_string().contains("concat"), "{failed}");
    let until = Instant::now() + Duration::from_secs(60);
    while store.snapshot().way_to_states("Order").unwrap() != StateAccess::Kept {
        assert!(Instant::now() < until, "Order is not kept");
        thread::sleep(Duration::from_millis(5));
    }
    append(&store, "Order.bad", 5);
    store.checkpoint().unwrap();
    assert!(store.shared.failures.is_final(definition));
    let end = NewEvent::new(catalog::view::DROPPED).on((catalog::view::KIND, "bad"));
    store.append(AppendRequest { events: vec![end], internal: true, ..AppendRequest::default() }).unwrap();
    assert!(store.wait_for_indexes(Duration::from_secs(60)).unwrap());
    store.close().unwrap();
}

#[test]
fn many_definitions_are_brought_up_together() {
    let disk = SimulatedDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    append(&store, "Order.made", 20);
    store.checkpoint().unwrap();
    let kinds: Vec<String> = (0..300).map(|n| format!("Kind{n}")).collect();
    let event = |kind: &String| {
        NewEvent::new(model::DEFINED).on((model::KIND, kind.as_str())).member(model::TEXT, kind.as_str())
    };
    let events = kinds.iter().map(event).collect();
    store.append(AppendRequest { events, internal: true, ..AppendRequest::default() }).unwrap();
    store.checkpoint().unwrap();
    let before = disk.counts().syncs;
    assert!(store.wait_for_indexes(Duration::from_secs(120)).unwrap());
    let syncs = disk.counts().syncs - before;
    assert!(syncs < 100, "{syncs} syncs for {} definitions", kinds.len());
    for kind in &kinds {
        assert_eq!(store.snapshot().way_to_states(kind).unwrap(), StateAccess::Kept, "{kind}");
    }
    assert!(verify(&store.snapshot()).unwrap().faults.is_empty());
}
