//! Definitions made at random, and definitions across crashes.

use std::path::Path;

use super::*;
use crate::entity::Position;
use crate::event::NewEvent;
use crate::event::record::Record;
use crate::exec::model::compile;
use crate::lang::generator::{Choices, Deriver, Random};
use crate::lang::grammar::Grammar;
use crate::plan::{self, Defined, WritePlan};
use crate::store::append_request::AppendRequest;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::state::fold::{Effect, Fold};
use crate::value::{Object, Value};

/// A value of the members that the sentences name.
fn value(random: &mut Random, depth: usize) -> Value {
    const NAMES: [&str; 5] = ["alpha", "Trip", "größe", "x_1", "_"];
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => true.into(),
        2 => 7.into(),
        3 => u64::MAX.into(),
        4 => Value::Float(0.5),
        5 => "2024-01-01".into(),
        6 => Value::Array((0..random.below(4)).map(|_| value(random, depth - 1)).collect()),
        _ => {
            let members =
                (0..random.below(5)).map(|_| ((*random.pick(&NAMES)).to_owned(), value(random, depth - 1)));
            Value::Object(members.collect::<Object>())
        }
    }
}

/// Events of the types that the sentences name, some of them of the kind.
fn events(store: &Store, kinds: &[&str]) -> Vec<(Position, Arc<[u8]>, bool)> {
    let mut random = Random::new(1);
    let types = ["alpha", "Trip", "größe", "x_1", "Trip.alpha", "deleted", "odd"];
    let mut events = Vec::new();
    for kind in kinds {
        for happened in types {
            let data = loop {
                if let data @ Value::Object(_) = value(&mut random, 3) {
                    break data;
                }
            };
            events.push(NewEvent::new(&format!("{kind}.{happened}")).on((*kind, 1)).data(&data));
        }
    }
    let count = events.len() as u64;
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    let snapshot = store.snapshot();
    let stored = (1..=count).map(|position| {
        let bytes = snapshot.read(|view| view.event(Position(position))).unwrap().unwrap();
        (Position(position), bytes, position % 5 > 0)
    });
    stored.collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What a fold makes of events, one by one; it keeps its promises on the way.
fn folded(fold: &dyn Fold, events: &[(Position, Arc<[u8]>, bool)]) -> Vec<Result<Value, String>> {
    let mut state = Value::Null;
    let each = events.iter().map(|(position, bytes, own)| {
        let record = Record::open(*position, bytes).unwrap();
        let before = state.clone();
        let result = fold.apply(&mut state, &record, *own, &crate::allowance::Limits::default());
        let result = result.map(drop).map_err(|unmade| format!("{unmade:?}"));
        match (&result, fold.effect(record.kind(), *own)) {
            (Err(_), effect) => {
                assert_eq!((&state, effect), (&before, Effect::Makes));
                assert_eq!(state.to_string(), before.to_string());
            }
            (Ok(()), Effect::Makes) => assert!(state != Value::Null),
            (Ok(()), Effect::Deletes) => assert_eq!(state, Value::Null),
            (Ok(()), Effect::Nothing) => assert_eq!(state, before),
        }
        assert!(depth(&state) <= crate::value::MAX_DEPTH);
        result.map(|()| state.clone())
    });
    each.collect()
}

/// What a sentence names as a field is a member of the event's data, or of the state: it is none mostly.
fn meant(mut tokens: Vec<String>) -> String {
    for at in 1..tokens.len() {
        let named = ["alpha", "Trip", "größe", "x_1", "_"].contains(&tokens[at].as_str());
        if named && ["=", "+", "-", "*", "/", "%", "("].contains(&tokens[at - 1].as_str()) {
            tokens[at] = format!("{}.{}", ["data", "state"][at % 2], tokens[at]);
        }
    }
    tokens.join(" ")
}

/// A sentence that defines an entity; or rules for what happens to one, which say more.
fn definition(deriver: &mut Deriver<Random>) -> Option<String> {
    if deriver.choices.below(2) == 0 {
        let tokens = deriver.sentence("definition", 9);
        return (tokens[0] == "ENTITY").then(|| format!("DEFINE {}", meant(tokens)));
    }
    let mut text = "DEFINE ENTITY Trip".to_owned();
    if deriver.choices.below(2) == 0 {
        text.push_str(" INITIAL {alpha: 1, größe: [1], x_1: {Trip: 'x'}}");
    }
    for happening in ["alpha", "Trip", "größe,odd", "'x*'"] {
        let happening = happening.replace("größe,odd", "'größe,odd'");
        match deriver.choices.below(8) {
            0 => text.push_str(&format!(" ON {happening} MERGE")),
            1 => text.push_str(&format!(" ON {happening} DELETE")),
            2 => text.push_str(&format!(" ON {happening} IGNORE")),
            _ => text.push_str(&format!(" ON {happening} SET {}", meant(deriver.sentence("assign", 7)))),
        }
    }
    Some(text)
}

#[test]
fn a_definition_means_the_same_as_its_text() {
    let grammar = Grammar::read();
    let mut deriver = Deriver::new(&grammar, Random::new(4));
    let store = store(1000);
    let events = events(&store, &["Trip", "alpha"]);
    let mut session = Session::new(&store);
    session.parameters = Parameters::new().set("p", -3).set("where", "Trip.*");
    let snapshot = store.snapshot();
    let (mut understood, mut made, mut failed) = (0, 0, 0);
    for _ in 0..26_000 {
        let Some(text) = definition(&mut deriver) else { continue };
        let Ok(Plan::Write(WritePlan::Define(define))) = session.plan(&text, &snapshot) else {
            continue;
        };
        assert_eq!(define.what, Defined::Entity);
        understood += 1;
        let again = lang::parse_one(&define.text).unwrap().statement.to_string();
        assert_eq!(again, define.text, "{text}");
        let model = plan::entity_definition(&define.text).unwrap();
        assert_eq!(format!("{model:?}"), format!("{:?}", plan::entity_definition(&again).unwrap()));
        let Ok((kind, fold)) = compile(&define.text) else { continue };
        assert_eq!(kind, define.name);
        let states = folded(&*fold, &events);
        assert_eq!(states, folded(&*compile(&again).unwrap().1, &events), "{text}");
        made += states.iter().filter(|state| state.is_ok()).count();
        failed += states.iter().filter(|state| state.is_err()).count();
    }
    assert!(understood > 500 && made > 5000 && failed > 50, "{understood}, {made}, {failed}");
}

fn options(disk: &SimulatedDisk) -> Options {
    Options::new()
        .disk(Arc::new(disk.clone()))
        .memtable(7, 1 << 20)
        .journal_steps(4096, 8192)
        .with_compiler(Arc::new(crate::exec::Compiler))
}

#[test]
fn the_newest_definition_holds_after_closing_and_after_a_crash() {
    let path = Path::new("/shop.bygone");
    let disk = SimulatedDisk::new();
    let mut store = Store::create(path, options(&disk)).unwrap();
    let mut disk = disk;
    for round in 0..12i64 {
        let definition = format!(
            "DEFINE ENTITY Account INITIAL {{n: 0}} ON paid SET n = state.n + data.n * {}",
            round + 1
        );
        let session = Session::new(&store);
        session.rows("EMIT Account.paid 7 {n: 1}");
        session.rows(&definition);
        let expected = format!(r#"{{"n":{}}}"#, (round + 1) * (round + 1));
        let now = |store: &Store| state(&Session::new(store).rows("REPLAY Account 7"));
        assert_eq!(now(&store), expected);
        if round % 2 == 0 {
            store.close().unwrap();
        } else {
            let crashed = disk.crash(Fate::KeepAll, 0);
            drop(store);
            disk = crashed;
        }
        store = Store::open(path, options(&disk)).unwrap();
        assert_eq!(now(&store), expected);
        // Who asks about an earlier definition finds it in the log.
        assert_eq!(Session::new(&store).rows("HISTORY `$entity` Account").len() as i64, round + 1);
    }
}
