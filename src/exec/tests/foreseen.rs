//! `EXPLAIN` of a write against the write right after it: the same is refused for the same reason, and the same events come of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;

const DEFINED: [&str; 4] = [
    "DEFINE ENTITY Trip INCLUDE 'Car.*' BY trip ON begun MERGE ON seen IGNORE ON ended DELETE \
     ON Car.moved SET km = coalesce(state.km, 0) + data.km ON Car.scrapped DELETE",
    "DEFINE VERB Bill ON Trip REQUIRE state.km > 2 ELSE 'too short' EMIT billed {km: state.km}",
    "DEFINE VERB Drive ON Trip WHEN state.km < 4 EMIT Car.moved ON Car 5 {km: 2} INDEX BY trip = target.id \
     WHEN state.km >= 4 EMIT ended EMIT Car.washed ON Car 5 {}",
    "DEFINE VERB Open ON Trip BY User EMIT begun {by: actor.id} EXPECT NEW",
];

/// A store that counts the ids that it was asked for.
fn counting(memtable: usize, asked: &Arc<AtomicU32>) -> Store {
    let asked = asked.clone();
    let options = Options::new()
        .disk(Arc::new(MemoryDisk::new()))
        .memtable(memtable, 1 << 20)
        .journal_steps(4096, 8192)
        .with_compiler(Arc::new(crate::exec::Compiler))
        .clock(Clock::new(|| time(NOW)))
        .ids(move || format!("e{}", asked.fetch_add(1, Relaxed)));
    let store = Store::create(Path::new("/shop.bygone"), options).unwrap();
    DEFINED.iter().for_each(|text| drop(Session::new(&store).rows(text)));
    store
}

/// What `EXPLAIN` says will come of a write, and what comes of it.
fn both(store: &Store, asked: &AtomicU32, text: &str) -> (Vec<String>, Vec<String>) {
    let session = Session::new(store);
    let before = (store.snapshot().head(), asked.load(Relaxed));
    let said = session.rows(&format!("EXPLAIN {text}"));
    assert_eq!((store.snapshot().head(), asked.load(Relaxed)), before, "{text}: it changes nothing");
    let said: Vec<String> = said.iter().map(|row| row.get::<String>("plan").unwrap()).collect();
    let foretold: Vec<String> = said.iter().filter_map(|line| events_or_why(line)).collect();
    let came = match session.run(text) {
        Ok((rows, _)) if matches!(rows.first(), Some(Row::Event { repeated: true, .. })) => Vec::new(),
        Ok((rows, _)) => rows.iter().flat_map(told).collect(),
        Err(error) => {
            assert!(error.is_conflict() || error.is_refused(), "{text}: {error}");
            let why = error.to_string();
            vec![format!("would be refused: {}", why.strip_prefix("refused: ").unwrap_or(&why))]
        }
    };
    let foretold = match foretold.last() {
        // Those before it will not be either.
        Some(last) if last.starts_with("would be refused") => vec![last.clone()],
        _ => foretold,
    };
    (foretold, came)
}

/// The line of an event, or of a refusal; what is expected and how it is decided apart.
fn events_or_why(line: &str) -> Option<String> {
    let line = line.trim_start();
    let of_event =
        line.starts_with("would be ") || line.starts_with("data {") || line.starts_with("version ");
    of_event.then(|| line.to_owned())
}

fn told(row: &Row) -> Vec<String> {
    let Row::Event { event, .. } = row else { panic!("{row:?}") };
    let mut told = vec![format!("would be {} at {}", event.kind, event.position)];
    if !event.data.is_empty() {
        told.push(format!("data {}", event.data.to_value().unwrap()));
    }
    if let (Some(target), Some(version)) = (&event.target, event.version) {
        told.push(format!("{version} of {target}"));
    }
    told
}

#[test]
fn what_an_entity_includes_is_seen_in_the_same_group() {
    for (text, refused) in [
        ("ATOMIC (EMIT Car.moved 5 {km: 3} INDEX BY trip = 1; PERFORM Bill Trip 1)", false),
        ("ATOMIC (EMIT Car.moved 5 {km: 1} INDEX BY trip = 1; PERFORM Bill Trip 1)", true),
        ("ATOMIC (EMIT Car.moved 5 {km: 3} INDEX BY trip = 1; EMIT Trip.seen 1 EXPECT EXISTS)", false),
        (
            "ATOMIC (EMIT Trip.begun 1; EMIT Car.scrapped 5 INDEX BY trip = 1; EMIT Trip.seen 1 EXPECT EXISTS)",
            true,
        ),
    ] {
        let asked = Arc::new(AtomicU32::new(1));
        let (foretold, came) = both(&counting(4, &asked), &asked, text);
        assert_eq!(foretold, came, "{text}");
        assert_eq!(came[0].starts_with("would be refused"), refused, "{text}: {came:?}");
    }
}

fn expect() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(String::new()),
        1 => Just(" EXPECT NEW".to_owned()),
        2 => Just(" EXPECT EXISTS".to_owned()),
        1 => (0..5u64).prop_map(|version| format!(" EXPECT VERSION {version}")),
        1 => prop::sample::select(&["'Car.moved'", "'Trip.ended'", "'Car.*' SINCE #4", "BY trip = 1"][..])
            .prop_map(|none| format!(" EXPECT NONE ({none})")),
    ]
}

fn act() -> impl Strategy<Value = String> {
    let (trip, km) = (1..3u8, 0..4i64);
    let text = prop_oneof![
        (trip.clone(), km.clone())
            .prop_map(|(trip, km)| format!("EMIT Car.moved 5 {{km: {km}}} INDEX BY trip = {trip}")),
        trip.clone().prop_map(|trip| format!("EMIT Car.scrapped 6 INDEX BY trip = '{trip}'")),
        (trip.clone(), km).prop_map(|(trip, km)| format!("EMIT Trip.begun {trip} {{km: {km}}}")),
        (trip.clone(), prop::sample::select(&["seen", "ended"][..]))
            .prop_map(|(trip, name)| format!("EMIT Trip.{name} {trip}")),
        trip.clone().prop_map(|trip| format!("PERFORM Bill Trip {trip}")),
        trip.clone().prop_map(|trip| format!("PERFORM Drive Trip {trip}")),
        trip.prop_map(|trip| format!("PERFORM Open Trip {trip} BY User ann")),
    ];
    (text, expect()).prop_map(|(text, expect)| text + &expect)
}

fn write() -> impl Strategy<Value = String> {
    let key = || prop::option::weighted(0.2, 0..3u8);
    let keyed = |key: Option<u8>| key.map_or_else(String::new, |key| format!(" KEY 'k{key}'"));
    prop_oneof![
        2 => act(),
        5 => (prop::collection::vec(act(), 1..5), expect(), key()).prop_map(move |(acts, expect, key)| {
            format!("ATOMIC ({}){expect}{}", acts.join("; "), keyed(key))
        }),
        1 => Just("CHECKPOINT".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_explain_foretells_comes_true(writes in prop::collection::vec(write(), 1..16), memtable in 1usize..12) {
        let asked = Arc::new(AtomicU32::new(1));
        let store = counting(memtable, &asked);
        for text in &writes {
            if text == "CHECKPOINT" {
                Session::new(&store).rows(text);
                continue;
            }
            // What no admission looks at is an error in both.
            let session = Session::new(&store);
            if let Err(error) = session.run(&format!("EXPLAIN {text}")) {
                prop_assert!(!error.is_conflict() && !error.is_refused(), "{}: {}", text, error);
                // Its place is said in the text that was written.
                let why = |error: String| error.split_once(": ").map(|(_, why)| why.to_owned());
                prop_assert_eq!(why(session.error(text)), why(error.to_string()), "{}", text);
                continue;
            }
            let (foretold, came) = both(&store, &asked, text);
            prop_assert_eq!(foretold, came, "{}", text);
        }
    }
}
