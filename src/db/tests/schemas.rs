//! Schemas, from outside: whatever appends is held to them, and whatever reads sees the newest version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{all_events, events, wait_until};
use crate::aggregate::SnapshotPolicy;
use crate::maintain::ImportOptions;
use crate::store::verify;
use crate::{Aggregate, Db, Error, Event, NewEvent, Options, Result, Row};

const PAID: &str = "DEFINE EVENT Order.paid {amount: number}";
const RENAMED: &str = "DEFINE EVENT Order.placed {total: number} UPCAST SET data = {total: data.amount}";

/// What a program folds of its own.
#[derive(Default, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Totals(Vec<String>);

impl Aggregate for Totals {
    const KIND: &'static str = "Order";

    fn apply(&mut self, event: &Event) -> Result<()> {
        self.0.push(event.data.to_string());
        Ok(())
    }

    fn snapshots() -> Option<SnapshotPolicy<Totals>> {
        Some(SnapshotPolicy::named("totals").every(2))
    }
}

fn placed(db: &Db, orders: u64) {
    for n in 0..orders {
        db.query(&format!("EMIT Order.placed 1 {{amount: {n}}}")).unwrap();
    }
}

#[test]
fn what_programs_fold_is_folded_anew() {
    let db = Options::new().memtable(3, 1 << 20).in_memory().unwrap();
    placed(&db, 9);
    for _ in 0..2 {
        assert_eq!(db.aggregate::<Totals>(1).unwrap().0[0], r#"{"amount":0}"#);
    }
    db.query(RENAMED).unwrap();
    db.query("EMIT Order.placed 1 {total: 9}").unwrap();
    let expected: Vec<String> = (0..10).map(|n| format!(r#"{{"total":{n}}}"#)).collect();
    for _ in 0..2 {
        assert_eq!(db.aggregate::<Totals>(1).unwrap().0, expected);
    }
}

#[test]
fn subscriptions_see_the_newest_from_anywhere_in_the_past() {
    #[derive(serde::Deserialize)]
    #[serde(tag = "type", content = "data", rename_all = "camelCase")]
    enum OrderEvent {
        Placed { total: u64 },
    }
    let db = Options::new().memtable(3, 1 << 20).in_memory().unwrap();
    placed(&db, 5);
    db.query(RENAMED).unwrap();
    db.query("EMIT Order.placed 1 {total: 5}").unwrap();
    let mut past = Vec::new();
    for event in db.history(("Order", 1)).unwrap() {
        let OrderEvent::Placed { total } = event.unwrap().parse().unwrap();
        past.push(total);
    }
    assert_eq!(past, [0, 1, 2, 3, 4, 5]);
    let handled: Vec<u64> = db
        .query("SUBSCRIBE 'Order.*' FROM START LIMIT 6")
        .unwrap()
        .rows
        .filter_map(|row| match row.unwrap() {
            Row::Event { event, .. } => event.data.get("total")?.as_i64().map(|total| total as u64),
            _ => None,
        })
        .collect();
    assert_eq!(handled, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_live_subscription_goes_on_in_the_newest_form() {
    let db = Options::new().memtable(3, 1 << 20).in_memory().unwrap();
    placed(&db, 5);
    let data = |row: Result<Row>| match row.unwrap() {
        Row::Event { event, .. } => Some(event.data.to_string()),
        Row::CaughtUp(_) => None,
        other => panic!("{other:?}"),
    };
    let seen = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let live = scope.spawn(|| {
            let rows = db.query("SUBSCRIBE 'Order.*' AS mails FROM START LIMIT 7").unwrap().rows;
            rows.filter_map(data)
                .inspect(|_| {
                    seen.fetch_add(1, Ordering::SeqCst);
                })
                .collect::<Vec<_>>()
        });
        wait_until("it has caught up", || seen.load(Ordering::SeqCst) == 5);
        db.query(RENAMED).unwrap();
        db.query("EMIT Order.placed 1 {total: 5}").unwrap();
        db.query("EMIT Order.placed 1 {total: 6}").unwrap();
        let found = live.join().unwrap();
        let expected: Vec<String> = (0..5)
            .map(|n| format!(r#"{{"amount":{n}}}"#))
            .chain((5..7).map(|n| format!(r#"{{"total":{n}}}"#)))
            .collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn an_import_is_held_to_it_and_a_log_is_restored_as_it_was() {
    let db = Db::in_memory().unwrap();
    db.query("EMIT Order.paid 1 {amount: 'early'}").unwrap();
    db.query(PAID).unwrap();
    let lines = r#"{"type":"Order.paid","target":{"type":"Order","id":"1"},"data":{"amount":"five"}}"#;
    let error = db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("data.amount: expected a number, found text"), "{error}");
    db.query("DEFINE EVENT Order.paid {amount: number} WARN").unwrap();
    assert_eq!(db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {}).unwrap().added, 1);
    db.query(PAID).unwrap();

    let mut exported = Vec::new();
    db.export(crate::maintain::ExportOptions::default(), &mut exported, &mut |_| {}).unwrap();
    let restored = Db::in_memory().unwrap();
    restored.import(exported.as_slice(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    assert_eq!(restored.head(), db.head());
    assert!(matches!(restored.query("EMIT Order.paid 1 {amount: 'five'}"), Err(Error::Schema(_))));
    // Whatever it was that appended it: what is in a log is restored.
    let unfit = String::from_utf8(exported).unwrap().replace(" WARN", "");
    let restored = Db::in_memory().unwrap();
    restored.import(unfit.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    assert_eq!(restored.head(), db.head());
}

#[test]
fn what_a_reaction_makes_is_held_to_it() {
    let db = Options::new().live(true).in_memory().unwrap();
    db.query(PAID).unwrap();
    db.query("DEFINE REACTION pay ON 'Order.placed' DO EMIT Order.paid (target.id) {amount: data.amount}")
        .unwrap();
    db.query("EMIT Order.placed 1 {amount: 5}").unwrap();
    db.query("EMIT Order.placed 2 {amount: 'five'}").unwrap();
    wait_until("both", || {
        events(&db, "Order.paid").len() == 1 && events(&db, "$reaction.refused").len() == 1
    });
    let refused = events(&db, "$reaction.refused").remove(0);
    assert!(
        refused.data.to_string().contains("Order.paid does not fit version 1 of its schema"),
        "{refused:?}"
    );
}

#[test]
fn nothing_slips_through_while_it_is_defined() {
    let db = Options::new().memtable(50, 1 << 20).in_memory().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (db, ended) = (db.clone(), ended.clone());
            std::thread::spawn(move || {
                let (mut taken, mut refused) = (0u64, 0u64);
                while !ended.load(Ordering::Relaxed) || taken + refused < 50 {
                    match db
                        .append(NewEvent::new("Order.paid").on(("Order", writer)).member("amount", "five"))
                    {
                        Ok(_) => taken += 1,
                        Err(Error::Schema(_)) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for _ in 0..30 {
        db.query(PAID).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
        db.query("DROP EVENT Order.paid").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    ended.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut defined = false;
    for event in all_events(&db).unwrap() {
        match event.kind.as_str() {
            "$event.defined" => defined = true,
            "$event.dropped" => defined = false,
            _ => assert!(!defined, "{event:?}"),
        }
    }
    assert_eq!(verify::verify(&db.store().snapshot()).unwrap().faults, Vec::<String>::new());
}
