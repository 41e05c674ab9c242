//! Where events come from: chains of causes, what is inherited along them, and what is found by it.

use super::*;
use crate::entity::Position;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;

/// #1 causes #2 and #4, #2 causes #3, a command from elsewhere #5, and that one #6.
const CHAINED: [&str; 6] = [
    "EMIT Order.placed 42 BY User ann",
    "EMIT Order.paid 42 CAUSED BY #1",
    "EMIT Parcel.packed 7 CAUSED BY 'e2'",
    "EMIT Mail.sent 1 CAUSED BY #1",
    "EMIT Order.placed 43 CAUSED BY Shop.opened 's-1'",
    "EMIT Mail.sent 2 CAUSED BY #5",
];

fn chained(memtable: usize) -> Store {
    let store = store(memtable);
    for text in CHAINED {
        Session::new(&store).rows(text);
    }
    store
}

#[test]
fn a_chain_has_the_correlation_of_its_root_however_long_it_is() {
    let disk = MemoryDisk::new();
    let path = Path::new("/shop.bygone");
    let options =
        || Options::new().disk(Arc::new(disk.clone())).memtable(3, 1 << 20).journal_steps(4096, 8192);
    let event = |cause: u64| NewEvent::new("Order.paid").on(("Order", cause)).caused_by(Position(cause));
    Store::create(path, options()).unwrap().append(group(NewEvent::new("Order.placed"))).unwrap();
    let mut root = String::new();
    // Each link is of another session: its cause is in the tables, in the journal or in the memtable.
    for cause in 1..20 {
        let store = Store::open(path, options()).unwrap();
        root = store.snapshot().event(Position(1)).unwrap().unwrap().id.to_string();
        store.append(group(event(cause))).unwrap();
        if cause % 3 == 0 {
            store.append(group(NewEvent::new("Mail.sent").caused_by(Position(cause + 1)))).unwrap();
            store.append(group(event(1))).unwrap();
        }
    }
    let store = Store::open(path, options()).unwrap();
    let snapshot = store.snapshot();
    for position in 2..=snapshot.head().0 {
        let event = snapshot.event(Position(position)).unwrap().unwrap();
        assert_eq!(event.correlation.as_ref(), Some(&root), "#{position}");
    }
    assert_eq!(crate::store::verify::verify(&snapshot).unwrap().faults, Vec::<String>::new());
}

fn group(event: NewEvent) -> AppendRequest {
    AppendRequest { events: vec![event], ..AppendRequest::default() }
}

#[test]
fn an_event_has_the_correlation_of_its_cause_and_no_other() {
    for memtable in [1, 3, 100] {
        let store = chained(memtable);
        let caused = |cause: u64, said: &str| {
            let event = NewEvent::new("Mail.sent").caused_by(Position(cause)).correlation(said);
            store.append(group(event)).map(|outcome| outcome.events[0].0).map_err(|error| error.to_string())
        };
        let error = caused(3, "e2").unwrap_err();
        assert!(
            error.contains("the correlation of an event that #3 caused")
                && error.contains("expected 'e1', which it inherits")
                && error.contains("found 'e2'"),
            "{error}"
        );
        // What came from elsewhere begins a chain of its own.
        assert_eq!(caused(6, "e5").unwrap(), Position(7));
        assert!(caused(6, "s-1").is_err());
        let elsewhere = NewEvent::new("Mail.sent").caused_by_named("Pay", "p-1").correlation("of-there");
        store.append(group(elsewhere)).unwrap();
        assert!(caused(8, "e8").is_err());
        assert_eq!(caused(8, "of-there").unwrap(), Position(9));
        assert_eq!(store.snapshot().head().0, 9);
    }
}

#[test]
fn what_a_cause_brought_about_is_found_by_it() {
    let store = chained(2);
    let mut session = Session::new(&store);
    for (text, expected) in [
        ("EVENTS BY cause = #1", &[2, 4][..]),
        ("EVENTS BY cause = 'e1'", &[2, 4]),
        ("EVENTS BY cause = #3", &[]),
        ("EVENTS BY cause IN (#2, #5)", &[3, 6]),
        ("EVENTS BY cause = Shop.opened 's-1'", &[5]),
        ("EVENTS BY cause = `Shop.opened` 's-1'", &[5]),
        ("EVENTS 'Mail.*' BY cause IN (#1, #5)", &[4, 6]),
        ("EVENTS BY correlation = 'e1'", &[2, 3, 4]),
        ("EVENTS 'Mail.*' BY correlation = 'e1'", &[4]),
        ("EVENTS BY correlation IN ('e1', 'e5')", &[2, 3, 4, 6]),
        ("EVENTS BY correlation = 'e2'", &[]),
    ] {
        assert_eq!(session.positions(text), expected, "{text}");
    }
    session.parameters = Parameters::from([("cause", 1)]);
    assert_eq!(session.positions("EVENTS BY cause = $cause"), [2, 4]);
    for (text, expected) in [
        ("EVENTS BY cause = #99", "#99 is beyond the head, which is #6"),
        ("EVENTS BY cause = 'e99'", "no event of this log has the id 'e99'"),
        ("EVENTS BY cause = TRUE", "expected a position, like cause = #1207"),
        ("EVENTS BY correlation = #1", "#1 is a place in the log: BY cause takes it"),
        ("EVENTS BY anything BETWEEN #1 AND #2", "#1 is a place in the log"),
        ("EVENTS BY target = Order.paid 7", "a name without a dot"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// The positions and depths of a trace.
fn traced(session: &Session, text: &str) -> Vec<(u64, i64)> {
    let traced = |row: &Row| match row {
        Row::Traced(traced) => (traced.event.position.0, traced.depth),
        other => panic!("{other:?}"),
    };
    session.rows(text).iter().map(traced).collect()
}

#[test]
fn a_trace_goes_up_to_the_root_and_down_to_all_effects() {
    for memtable in [1, 4, 100] {
        let store = chained(memtable);
        let mut session = Session::new(&store);
        session.parameters = Parameters::from([("p", 2)]);
        for (text, expected) in [
            ("TRACE #1", &[(1, 0), (2, 1), (3, 2), (4, 1)][..]),
            ("TRACE $p", &[(1, -1), (2, 0), (3, 1)]),
            ("TRACE 'e3'", &[(1, -2), (2, -1), (3, 0)]),
            ("TRACE CAUSES #2", &[(1, -1), (2, 0)]),
            ("TRACE EFFECTS #2", &[(2, 0), (3, 1)]),
            ("TRACE #4", &[(1, -1), (4, 0)]),
            ("TRACE CAUSES #1", &[(1, 0)]),
            ("TRACE EFFECTS #6", &[(6, 0)]),
            ("TRACE #6", &[(5, -1), (6, 0)]),
        ] {
            assert_eq!(traced(&session, text), expected, "{text}");
        }
        let line = &session.lines("TRACE EFFECTS #5")[1];
        assert!(line.starts_with(r#"{"position":6,"#) && line.ends_with(r#""data":{},"depth":1}"#), "{line}");
        session.parameters = Parameters::new();
        for (text, expected) in [
            ("TRACE #7", "#7 is beyond the head, which is #6"),
            ("TRACE #0", "#0 is before the first event"),
            ("TRACE 'e9'", "no event of this log has the id 'e9'"),
        ] {
            assert!(session.error(text).contains(expected), "{text}: {}", session.error(text));
        }
        let plan = session.lines("EXPLAIN TRACE #2").join("\n");
        assert!(plan.contains("trace the event #2") && plan.contains("from cause to cause"), "{plan}");
        assert!(!session.lines("EXPLAIN TRACE EFFECTS #2").join("\n").contains("from cause to cause"));
        assert!(session.lines("EXPLAIN ANALYZE TRACE #1").join("\n").contains(r#""rows":4"#));
    }
}

mod naively {
    use proptest::prelude::*;

    use super::*;

    /// The effects of an event, and theirs, by a look at every event for each.
    fn down(causes: &[u64], of: u64, depth: i64, found: &mut Vec<(u64, i64)>) {
        for (at, _) in causes.iter().enumerate().filter(|(_, cause)| **cause == of) {
            found.push((at as u64 + 1, depth));
            down(causes, at as u64 + 1, depth + 1, found);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_trace_is_what_a_look_at_every_event_finds(
            picks in prop::collection::vec(prop::option::weighted(0.9, any::<prop::sample::Index>()), 1..40),
            memtable in 1usize..20,
        ) {
            let store = store(memtable);
            let mut causes = Vec::new();
            for (at, pick) in picks.iter().enumerate() {
                let cause = pick.filter(|_| at > 0).map(|pick| pick.index(at) as u64 + 1);
                let event = NewEvent::new("Order.paid");
                let event = cause.map_or(event.clone(), |cause| event.caused_by(Position(cause)));
                store.append(group(event)).unwrap();
                causes.push(cause.unwrap_or(0));
            }
            let session = Session::new(&store);
            for position in 1..=causes.len() as u64 {
                let (mut expected, mut up) = (vec![(position, 0)], position);
                while causes[up as usize - 1] != 0 {
                    up = causes[up as usize - 1];
                    expected.insert(0, (up, expected[0].1 - 1));
                }
                down(&causes, position, 1, &mut expected);
                prop_assert_eq!(traced(&session, &format!("TRACE #{position}")), expected);
            }
        }
    }
}

#[test]
fn a_long_chain_holds_one_list() {
    const LENGTH: u64 = 20_000;
    let store = store(1000);
    for first in (1..LENGTH).step_by(500) {
        // A cause has to be in the log before what it causes is said without a correlation.
        let events = (first..first + 500).map(|position| {
            let event = NewEvent::new("Order.paid");
            if position > 1 { event.caused_by(Position(position - 1)).correlation("e1") } else { event }
        });
        store.append(AppendRequest { events: events.collect(), ..AppendRequest::default() }).unwrap();
    }
    let session = Session::new(&store);
    let found = traced(&session, "TRACE #10000");
    assert!(found.iter().copied().eq((1..=LENGTH).map(|at| (at, at as i64 - 10_000))));
}
