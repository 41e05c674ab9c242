//! UPCAST: events of earlier versions are read as the newest has them, as if they had been written so.

use proptest::prelude::*;

use super::*;
use crate::store::verify;
use crate::value::{Object, Value};

fn by_hand(memtable: usize) -> Store {
    let mut options = Options::new();
    options.by_hand = true;
    options.index_slice = (3, 2);
    store_with(memtable, options)
}

fn data(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| row.get::<Object>("data").map(|data| Value::Object(data).to_string()).unwrap())
        .collect()
}

const RENAMED: &str = "DEFINE EVENT Order.placed {total: number, currency: text} STRICT \
    UPCAST SET data.total = data.amount, data.currency = 'EUR' DELETE data.amount";

#[test]
fn all_that_reads_sees_the_newest_and_raw_what_is_stored() {
    for memtable in [1, 100] {
        let store = by_hand(memtable);
        let session = Session::new(&store);
        session.rows("EMIT Order.placed 1 {amount: 5}");
        session.rows(RENAMED);
        session.rows("EMIT Order.placed 1 {total: 7, currency: 'USD'}");
        let read = [r#"{"total":5,"currency":"EUR"}"#, r#"{"total":7,"currency":"USD"}"#];
        let stored = [r#"{"amount":5}"#, r#"{"total":7,"currency":"USD"}"#];
        for (asked, expected) in [
            ("HISTORY Order 1", read),
            ("EVENTS 'Order.*'", read),
            ("HISTORY Order 1 RAW", stored),
            ("EVENTS 'Order.*' RAW", stored),
        ] {
            assert_eq!(data(&session.rows(asked)), expected, "{asked}");
        }
        assert_eq!(session.positions("EVENTS WHERE data.currency = 'EUR'"), [1]);
        assert_eq!(session.positions("EVENTS WHERE data.amount = 5"), [0; 0]);
        assert_eq!(session.positions("EVENTS WHERE data.amount = 5 RAW"), [1]);
        let sums = session.lines("EVENTS 'Order.placed' GROUP BY data.currency SELECT sum(data.total) AS s");
        assert!(sums.iter().any(|line| line.contains(r#""s":5"#)), "{sums:?}");
        // As of before the definition, too.
        assert_eq!(data(&session.rows("EVENTS 'Order.*' AS OF #1")), read[..1]);
        let state = session.lines("AT Order 1 AS OF #1");
        assert!(state[0].contains(r#""state":{"total":5,"currency":"EUR"}"#), "{state:?}");
        // Chains compose.
        session.rows("DEFINE EVENT Order.placed {price: {total: number, currency: text}} STRICT UPCAST SET data = {price: data}");
        assert_eq!(
            data(&session.rows("HISTORY Order 1")),
            [r#"{"price":{"total":5,"currency":"EUR"}}"#, r#"{"price":{"total":7,"currency":"USD"}}"#]
        );
        assert_eq!(data(&session.rows("HISTORY Order 1 RAW")), stored);
        settle(&store);
        assert_eq!(verify::verify(&store.snapshot()).unwrap().faults, Vec::<String>::new());
        session.rows("DROP EVENT Order.placed");
        assert_eq!(data(&session.rows("HISTORY Order 1")), stored);
    }
}

#[test]
fn an_index_of_before_does_not_answer_and_raw_asks_none() {
    for memtable in [2, 100] {
        let store = by_hand(memtable);
        let session = Session::new(&store);
        session.rows("DEFINE INDEX total ON 'Order.placed' AS data.total");
        session.rows("DEFINE INDEX amount ON 'Order.placed' AS data.amount");
        for n in 0..12 {
            session.rows(&format!("EMIT Order.placed {n} {{amount: {n}}}"));
        }
        settle(&store);
        assert_eq!(session.positions("EVENTS WHERE data.amount = 5"), [8]);
        assert_eq!(session.positions("EVENTS BY amount = 5"), [8]);
        session.rows(RENAMED);
        session.rows("EMIT Order.placed 12 {total: 5, currency: 'EUR'}");
        let last = store.snapshot().head().0;
        let mut more = true;
        let mut steps = 0;
        while more {
            // The index that is being replaced is complete, and of another form.
            assert_eq!(session.positions("EVENTS WHERE data.total = 5"), [8, last], "{steps}");
            assert_eq!(session.positions("EVENTS WHERE data.amount = 5"), [0; 0], "{steps}");
            for (asked, expected) in
                [("EVENTS BY total = 5", vec![8, last]), ("EVENTS BY amount = 5", vec![])]
            {
                match session.run(asked) {
                    Ok((rows, _)) => assert_eq!(positions(&rows), expected, "{asked} after {steps}"),
                    Err(error) => assert_eq!(error.kind().to_string(), "building", "{asked} after {steps}"),
                }
            }
            assert_eq!(session.positions("EVENTS WHERE data.amount = 5 RAW"), [8], "{steps}");
            assert_eq!(session.positions("EVENTS WHERE data.total = 5 RAW"), [last], "{steps}");
            more = store.work_by_hand().unwrap();
            steps += 1;
        }
        assert!(steps > 2, "{steps}");
        assert_eq!(session.positions("EVENTS BY total = 5"), [8, last]);
    }
}

#[test]
fn one_that_cannot_be_read_is_told_before_it_is_defined_and_when_it_is_read() {
    let store = by_hand(2);
    let session = Session::new(&store);
    session.rows("EMIT Order.placed 1 {amount: 5}");
    session.rows("EMIT Order.placed 1 {total: 5}");
    let error = session.error(RENAMED);
    assert!(error.contains("#2: UPCAST SET data.total = data.amount: data.amount is missing"), "{error}");
    let told = session.lines(&format!("EXPLAIN {RENAMED}")).join("\n");
    assert!(
        told.contains("1 of 2 Order.placed") && told.contains("#2: data: expected what UPCAST can read"),
        "{told}"
    );
    assert_eq!(store.snapshot().head().0, 2);
    // One that is appended where nobody looks, as a log that is shared may bring it.
    let event = crate::event::NewEvent::new("$event.defined")
        .on(("$event", "Order.placed"))
        .member("definition", RENAMED);
    let group = crate::store::append_request::AppendRequest {
        events: vec![event],
        internal: true,
        ..Default::default()
    };
    store.append(group).unwrap();
    let error = session.error("HISTORY Order 1");
    assert!(
        error.starts_with("Order.placed at #2 cannot be read as version 1 of its schema: UPCAST SET data.total = data.amount"),
        "{error}"
    );
    assert_eq!(session.rows("HISTORY Order 1 RAW").len(), 2);
    session.rows("DROP EVENT Order.placed");
    assert_eq!(session.rows("HISTORY Order 1").len(), 2);
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    let store = by_hand(2);
    let session = Session::new(&store);
    for (text, told) in [
        ("DEFINE EVENT A.b {} UPCAST SET total = 1", "did you mean data.total?"),
        ("DEFINE EVENT A.b {} UPCAST SET data.a = target.id", "UPCAST is of the data of the event alone"),
        ("DEFINE EVENT A.b {} UPCAST SET data.a = state.a", "UPCAST is of the data of the event alone"),
        ("DEFINE EVENT A.b {} UPCAST SET data.a = NOW", "there is no NOW in it"),
        ("DEFINE EVENT A.b {} UPCAST SET data.a = 1, data.a.b = 2", "is named twice"),
        ("DEFINE EVENT A.b {} UPCAST SET data.a = 1 DELETE data.a", "is named twice"),
        ("DEFINE EVENT A.b {} UPCAST DELETE data", "expected a member of the data"),
        ("DEFINE EVENT A.b {} UPCAST", "expected"),
        ("FIND Order RAW", "RAW is for events"),
        ("DEFINE VIEW v AS EVENTS RAW", "a view is of events as they are read"),
    ] {
        let error = session.error(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn verbs_decide_by_states_as_they_are_read_now() {
    for defined in [false, true] {
        let store = by_hand(100);
        let session = Session::new(&store);
        if defined {
            session.rows("DEFINE ENTITY Order");
        }
        session.rows(
            "DEFINE VERB Copy ON Order EMIT copied {copy: {total: coalesce(state.total, NULL), amount: coalesce(state.amount, NULL)}}",
        );
        session.rows("EMIT Order.placed 1 {amount: 5}");
        let copied = |expected: &str| {
            assert_eq!(data(&session.rows("PERFORM Copy Order 1")), [expected], "{defined}");
        };
        copied(r#"{"copy":{"total":null,"amount":5}}"#);
        session.rows("DEFINE EVENT Order.placed {} UPCAST SET data.total = data.amount DELETE data.amount");
        session.rows("EMIT Order.placed 2 {total: 7}");
        copied(r#"{"copy":{"total":5,"amount":null}}"#);
        copied(r#"{"copy":{"total":5,"amount":null}}"#);
        session.rows("DROP EVENT Order.placed");
        copied(r#"{"copy":{"total":null,"amount":5}}"#);
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Of an entity, with members and their values.
    Emit(u8, Vec<(usize, i64)>),
    /// Another version, with an upcast or without one.
    Version(Option<usize>),
    Drop,
    Define(usize),
    Checkpoint,
    Settle,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0u8..3, prop::collection::vec((0usize..3, -9i64..9), 0..3)).prop_map(|(id, data)| Step::Emit(id, data)),
        3 => prop::option::weighted(0.8, 0usize..UPCASTS.len()).prop_map(Step::Version),
        1 => Just(Step::Drop),
        3 => (0usize..DEFINITIONS.len()).prop_map(Step::Define),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ]
}

const MEMBERS: [&str; 3] = ["amount", "total", "rate"];

/// An upcast, and the same on a value.
type Written = (&'static str, fn(&mut Object));

const UPCASTS: [Written; 3] = [
    ("SET data.total = coalesce(data.total, data.amount, 0) DELETE data.amount", |data| {
        let total = data.get("total").or(data.get("amount")).cloned().unwrap_or(0.into());
        data.insert("total".to_owned(), total);
        data.shift_remove("amount");
    }),
    ("SET data.rate = coalesce(data.rate, 0) + 1", |data| {
        let rate = data.get("rate").and_then(Value::as_i64).unwrap_or(0) + 1;
        data.insert("rate".to_owned(), rate.into());
    }),
    ("SET data.total = coalesce(data.rate, 0), data.rate = coalesce(data.total, 0)", |data| {
        let [total, rate] = ["total", "rate"].map(|name| data.get(name).cloned().unwrap_or(0.into()));
        data.insert("total".to_owned(), rate);
        data.insert("rate".to_owned(), total);
    }),
];

const DEFINITIONS: [&str; 7] = [
    "DEFINE ENTITY Order ON placed SET sum = coalesce(state.sum, 0) + coalesce(data.total, 0), last = data",
    "DEFINE ENTITY Order SNAPSHOT EVERY 2",
    "DEFINE INDEX total ON 'Order.*' AS data.total",
    "DEFINE INDEX rate ON '*' AS data.rate",
    "DEFINE VIEW rates AS EVENTS 'Order.placed' GROUP BY data.rate AS rate SELECT count() AS n, sum(data.total) AS total",
    "DEFINE VIEW totals AS EVENTS 'Order.*' WHERE data.total > 0",
    "DEFINE VIEW rich AS FIND Order WHERE state.rate > 0",
];

/// What a session answers, without what differs between two logs whose events are at other positions.
fn answers(store: &Store, cuts: &[u64]) -> Vec<(String, String)> {
    let session = Session::new(store);
    let mut told = Vec::new();
    let mut ask = |asked: String, as_asked: String| {
        let answer = match session.run(&asked) {
            Ok((rows, _)) => {
                let rows = rows.iter().map(|row| match row {
                    Row::Event { event, .. } => {
                        format!("{} {:?}", event.kind, event.data.to_value().unwrap().canonical())
                    }
                    Row::State(state) => state.state.clone().canonical().to_string(),
                    Row::Fields(fields) => Value::Object((**fields).clone()).canonical().to_string(),
                    other => format!("{other:?}"),
                });
                rows.collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
        };
        told.push((as_asked, answer));
    };
    for (number, cut) in cuts.iter().enumerate() {
        for id in 0..3 {
            ask(format!("AT Order {id} AS OF #{cut}"), format!("AT Order {id} as of {number}"));
        }
        ask(format!("EVENTS 'Order.*' AS OF #{cut}"), format!("EVENTS as of {number}"));
        ask(format!("READ rates AS OF #{cut}"), format!("READ rates as of {number}"));
    }
    for asked in [
        "EVENTS 'Order.*'",
        "EVENTS 'Order.*' BY rate = 1",
        "EVENTS 'Order.*' BY total = 0",
        "EVENTS 'Order.*' BY total > 0",
        "EVENTS 'Order.*' WHERE data.rate > 0 GROUP BY data.total SELECT count()",
        "READ rates",
        "READ totals",
        "READ rich",
        "FIND Order WHERE state.total > 0",
        "HISTORY Order 1",
        "AT Order 0",
        "AT Order 1",
        "AT Order 2",
    ] {
        ask(asked.to_owned(), asked.to_owned());
    }
    told
}

/// A log that grew by some steps.
struct Grown {
    store: Store,
    disk: Arc<MemoryDisk>,
    /// The head after each event of an order.
    cuts: Vec<u64>,
}

impl Grown {
    fn options(disk: &Arc<MemoryDisk>) -> Options {
        let mut options = Options::new();
        options.by_hand = true;
        options.index_slice = (3, 2);
        let options = options.disk(disk.clone()).memtable(4, 1 << 20).journal_steps(4096, 8192);
        options.with_compiler(Arc::new(crate::exec::Compiler)).clock(Clock::new(|| time(NOW)))
    }

    fn new() -> Grown {
        let disk = Arc::new(MemoryDisk::new());
        let store = Store::create(Path::new("/shop.bygone"), Grown::options(&disk)).unwrap();
        Grown { store, disk, cuts: Vec::new() }
    }

    fn run(&self, text: &str) -> Result<(Vec<Row>, Vec<String>)> {
        Session::new(&self.store).run(text)
    }

    fn emit(&mut self, id: u8, data: &Object) {
        self.run(&format!("EMIT Order.placed {id} {}", Value::Object(data.clone()))).unwrap();
        self.cuts.push(self.store.snapshot().head().0);
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = Store::open(Path::new("/shop.bygone"), Grown::options(&self.disk)).unwrap();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Define(at) => drop(self.run(DEFINITIONS[*at])),
            Step::Checkpoint => self.store.checkpoint().unwrap(),
            Step::Settle => settle(&self.store),
            Step::Reopen => self.reopen(),
            Step::Emit(..) | Step::Version(_) | Step::Drop => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn reads_equal_those_of_a_log_that_was_written_in_the_new_shape(steps in prop::collection::vec(step(), 1..40)) {
        // What each event is read as in the end: the upcasts of the schema that holds then, from the event on.
        let (mut chain, mut version): (Vec<(usize, usize)>, usize) = (Vec::new(), 0);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Version(Some(upcast)) => chain.push((at, *upcast)),
                Step::Drop => chain.clear(),
                _ => {}
            }
        }
        let (mut upcast, mut written) = (Grown::new(), Grown::new());
        let mut stored = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            upcast.step(step);
            written.step(step);
            match step {
                Step::Emit(id, members) => {
                    let data: Object = members.iter().map(|(name, n)| (MEMBERS[*name].to_owned(), (*n).into())).collect();
                    upcast.emit(*id, &data);
                    stored.push(Value::Object(data.clone()).canonical().to_string());
                    let mut new = data;
                    chain.iter().filter(|(since, _)| *since > at).for_each(|(_, which)| UPCASTS[*which].1(&mut new));
                    written.emit(*id, &new);
                }
                Step::Version(said) => {
                    version += 1;
                    let said = said.map(|which| format!("UPCAST {}", UPCASTS[which].0)).unwrap_or_default();
                    // Another one than the one before, whatever it says.
                    upcast.run(&format!("DEFINE EVENT Order.placed {{v{version}: any?}} {said}")).unwrap();
                }
                Step::Drop => drop(upcast.run("DROP EVENT Order.placed")),
                _ => {}
            }
        }
        for round in 0..3 {
            // What is built meanwhile answers as the one before: it is asked when all is there.
            settle(&upcast.store);
            settle(&written.store);
            let (got, expected) = (answers(&upcast.store, &upcast.cuts), answers(&written.store, &written.cuts));
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert_eq!(got, expected, "round {}", round);
            }
            let raw = upcast.run("EVENTS 'Order.placed' RAW").unwrap().0;
            let raw: Vec<String> = raw
                .iter()
                .map(|row| Value::Object(row.get::<Object>("data").unwrap()).canonical().to_string())
                .collect();
            prop_assert_eq!(&raw, &stored);
            prop_assert_eq!(verify::verify(&upcast.store.snapshot()).unwrap().faults, Vec::<String>::new());
            match round {
                0 => upcast.store.checkpoint().unwrap(),
                _ => upcast.reopen(),
            }
        }
    }
}
