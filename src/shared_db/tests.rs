//! Two handles of one file: one that has it open, and one that is attached to that.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::entity::Version;
use crate::event::Expect;
use crate::live::Delivery;
use crate::query::Script;
use crate::store::SharedAccess;
use crate::value::Value;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    (folder, path)
}

fn both(path: &Path) -> (Db, SharedDb) {
    let clock = crate::time::Clock::new(|| crate::Timestamp::from_millis(1_700_000_000_000));
    let db = Options::new().clock(clock).share(true).create(path).unwrap();
    for order in 1..=3 {
        let event = NewEvent::new("Order.created").on(("Order", order)).member("total", order * 10);
        db.append(event.by(("User", "ann")).index("customer", "c-7")).unwrap();
    }
    let attached = Db::attach(path).unwrap();
    assert!(attached.is_attached());
    assert_eq!(attached.process(), Some(std::process::id()));
    (db, attached)
}

/// The hash of a key stays in the log.
fn without_seals(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split("seal: Some(KeyDigest {").enumerate() {
        let rest = if at == 0 { part } else { part.split_once("})").unwrap().1 };
        out.push_str(if at == 0 { "" } else { "seal: None" });
        out.push_str(rest);
    }
    out
}

#[test]
fn every_statement_is_answered_as_in_the_process() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let parameters = Parameters::new().set("least", 20).set("unused", 1);
    for text in [
        "DEFINE ENTITY Order ON cancelled DELETE",
        "EMIT Order.paid 1 {amount: 10} KEY 'pay-1'",
        "EMIT Order.paid 1 {amount: 10} KEY 'pay-1'",
        "EMIT Order.paid 1 EXPECT NEW",
        "ATOMIC (EMIT Order.sent 1; EMIT Order.cancelled 2)",
        "HISTORY Order 1",
        "HISTORY Ordr 1",
        "AT Order 1",
        "AT Order 1 '1999-01-01'",
        "AT Order 7",
        "REPLAY Order 1 STEPS",
        "DIFF Order 1 FROM START",
        "BLAME Order 1",
        "HISTORY Order 1 OF state.total",
        "TRACE #1",
        "EVENTS WHERE data.total > $least",
        "EVENTS WHERE data.total >\n  $leest",
        "EVENTS GROUP BY target.id AS id SELECT count() AS n, avg(data.total) AS mean",
        "FIND Order WHERE state.total >= 10",
        "SHOW TYPES",
        "DESCRIBE Order",
        "EXPLAIN EVENTS 'Order.*' BY customer = 'c-7'",
        "EVENTS UNTIL #900",
        "EVENTS BY nobody = 1",
        "EVENTS BY customer = 'c-7' LIMIT 1",
        "READ nothing",
        "SUBSCRIBE '*' FROM START UNTIL #3",
        "SHOW HEAD",
    ] {
        let script = Script::parse(&format!("SHOW KINDS; SHOW INDEXES;\n SHOW TYPES; {text}")).unwrap();
        let statement = script.statements().last().unwrap();
        let told = |db: &SharedDb| match db.run_with_hints(statement, &parameters) {
            Ok(answer) => {
                let rows: Vec<String> = answer.rows.map(|row| format!("{row:?}")).collect();
                without_seals(&format!("{:?} {:?} {rows:#?}", answer.as_of, answer.notices))
            }
            Err(error) => format!("{error:?}"),
        };
        // What writes is asked of either in a database that is as before.
        let reads = statement.is_read() || statement.is_subscription();
        let there = told(&attached);
        if reads {
            assert_eq!(told(&db.clone().into()), there, "{text}");
        }
    }
    assert_eq!(db.head().0, 7);
}

#[test]
fn appends_come_back_as_the_events_that_are_in_the_log() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let ann = attached.as_actor(("User", "ann"));
    let paid = NewEvent::new("Order.paid")
        .on(("Order", 1))
        .member("amount", 1.5)
        .expect(Expect::Version(Version(1)));
    let event = ann.append(paid.clone()).unwrap();
    assert_eq!(db.event(event.position).unwrap().unwrap(), event);
    assert_eq!(event.actor, Some(("User", "ann").into()));
    let conflict = ann.append(paid.clone()).unwrap_err();
    let here = db.as_actor(("User", "ann")).append(paid).unwrap_err();
    assert_eq!(format!("{conflict:?}"), format!("{here:?}"));
    let once = || [NewEvent::new("Mail.sent"), NewEvent::new("Mail.sent").key("own")];
    assert!(attached.append_once("k", once()).is_err(), "one key for all, or one for each");
    let once = || [NewEvent::new("Mail.sent"), NewEvent::new("Mail.read")];
    let first = attached.append_once("k", once()).unwrap();
    assert_eq!(attached.append_once("k", once()).unwrap()[1].position, first[1].position);
    assert!(attached.append(NewEvent::new("nothing")).is_err());
    assert_eq!(attached.head().unwrap(), db.head());
    assert_eq!(attached.state(("Order", 1)).unwrap(), db.state(("Order", 1)).unwrap());
    let history: Vec<Event> = attached.history(("Order", 1)).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(history, db.history(("Order", 1)).unwrap().collect::<Result<Vec<_>>>().unwrap());
    assert_eq!(attached.events("Mail.*").unwrap().count(), 2);
}

#[test]
fn many_rows_come_as_they_are_taken_and_end_when_nobody_takes_them() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let events = (0..5000).map(|n| NewEvent::new("Tick.tocked").member("n", n));
    db.append_all(events).unwrap();
    let large = "x".repeat(1 << 20);
    db.append_all((0..20).map(|_| NewEvent::new("Large.one").member("text", &large))).unwrap();
    assert_eq!(attached.events("Tick.*").unwrap().count(), 5000);
    assert_eq!(attached.events("Large.*").unwrap().count(), 20);
    for _ in 0..200 {
        let mut rows = attached.query("EVENTS").unwrap().rows;
        assert!(rows.next().is_some());
    }
    // They all ended: as many may run again.
    let rows: Vec<_> = (0..60).map(|_| attached.query("SUBSCRIBE '*'").unwrap().rows).collect();
    drop(rows);
    assert!(attached.query("SHOW HEAD").unwrap().rows.count() == 1);
}

#[test]
fn subscriptions_deliver_past_and_present_and_keep_their_place() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let mut orders = attached.subscribe("Order.*").from_start().durable("billing").open().unwrap();
    for position in 1..=3 {
        assert!(matches!(orders.next(), Some(Ok(Delivery::Event(event))) if event.position.0 == position));
    }
    assert!(matches!(orders.next(), Some(Ok(Delivery::CaughtUp(_)))));
    let cursor = orders.cursor().unwrap();
    assert_eq!(cursor.name(), "billing");
    cursor.acknowledge_durably(Position(2)).unwrap();
    assert_eq!(cursor.position().unwrap(), Position(2));
    assert!(cursor.acknowledge(Position(90)).unwrap_err().to_string().contains("was reached"));
    let (put, take) = mpsc::channel();
    let listening = std::thread::spawn(move || {
        put.send(orders.next()).unwrap();
        orders
    });
    db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
    assert!(matches!(take.recv().unwrap(), Some(Ok(Delivery::Event(event))) if event.position.0 == 4));
    drop(listening.join().unwrap());
    // Whoever read it has gone: another one may, once that is known there.
    let again = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(5));
        attached.subscribe("Order.*").durable("billing").open()
    });
    let mut again = again.take(1000).find_map(Result::ok).unwrap();
    assert!(matches!(again.next(), Some(Ok(Delivery::Event(event))) if event.position.0 == 3));
    let condition = Parameters::new().set("least", 25);
    let mut some = attached
        .subscribe("Order.*")
        .from_start()
        .matching("data.total > $least", &condition)
        .limit(1)
        .open()
        .unwrap();
    assert!(matches!(some.next(), Some(Ok(Delivery::Event(event))) if event.position.0 == 3));
    assert!(some.next().is_none());
    assert_eq!(
        attached
            .subscribe("*")
            .after(Position(1))
            .until_now()
            .open()
            .unwrap()
            .filter(|d| matches!(d, Ok(Delivery::Event(_))))
            .count(),
        3
    );
    assert!(attached.subscribe("Order").open().is_err());
}

#[test]
fn what_is_cancelled_ends_there_too() {
    let (_folder, path) = folder();
    let (_db, attached) = both(&path);
    let cancel = Cancel::new();
    let rows = attached.cancelled_by(&cancel).query("SUBSCRIBE '*'").unwrap().rows;
    std::thread::scope(|scope| {
        let rows = scope.spawn(|| rows.count());
        std::thread::sleep(Duration::from_millis(20));
        cancel.cancel();
        assert_eq!(rows.join().unwrap(), 1);
    });
    let limit = Cancel::after(Duration::from_millis(30));
    let mut rows = attached.cancelled_by(&limit).query("SUBSCRIBE '*'").unwrap().rows;
    assert!(matches!(rows.find(Result::is_err), Some(Err(Error::Stopped { .. }))));
}

#[test]
fn import_and_export_go_through() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let line = |n: u64| {
        format!("{{\"id\":\"é-{n}\",\"type\":\"A.b\",\"data\":{{\"text\":\"{}\"}}}}\n", "ü".repeat(200))
    };
    let text: String = (0..5000).map(line).collect();
    let mut told = 0;
    let first = attached.import(text.as_bytes(), &ImportOptions::new(), &mut |_| told += 1).unwrap();
    assert_eq!((first.added, first.known), (5000, 0));
    assert!(told > 1);
    let conflicts = std::sync::Arc::new(AtomicU64::new(0));
    let met = conflicts.clone();
    let options = ImportOptions::new().on_conflict(move |_| {
        met.fetch_add(1, Ordering::SeqCst);
    });
    let other = text.replace("A.b", "A.c");
    let again = attached.import(other.as_bytes(), &options, &mut |_| {}).unwrap();
    assert_eq!((again.added, again.conflicts, conflicts.load(Ordering::SeqCst)), (0, 5000, 5000));
    let error = attached.import(other.as_bytes(), &ImportOptions::new(), &mut |_| {}).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let error =
        attached.import(&b"{\"type\":\"A.b\"}\xff"[..], &ImportOptions::new(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("UTF-8"), "{error}");
    let (mut here, mut there) = (Vec::new(), Vec::new());
    assert_eq!(attached.export(ExportOptions::new(), &mut there, &mut |_| {}).unwrap(), db.head().0);
    db.export(ExportOptions::new(), &mut here, &mut |_| {}).unwrap();
    assert!(here == there);
}

#[test]
fn what_is_wrong_with_an_input_is_told_of_its_line_after_what_is_in() {
    use std::io::{self, BufReader, Read};
    /// An input that makes events of something else, and finds that wrong.
    struct Faulty;
    impl Read for Faulty {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::invalid("a row", "two cells", "one")))
        }
    }
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let text = "{\"type\":\"A.b\"}\n".repeat(3000) + "\n";
    let import = |db: &SharedDb| {
        let input = BufReader::new(text.as_bytes().chain(Faulty));
        db.import(input, &ImportOptions::new(), &mut |_| {}).unwrap_err().to_string()
    };
    let expected = "line 3002 (3000 events before it are safely in): a row: expected two cells, found one";
    let before = db.head().0;
    assert_eq!((import(&attached), db.head().0), (expected.to_owned(), before + 3000));
    assert_eq!(import(&db.clone().into()), expected);
}

#[test]
fn who_is_shared_with_for_reading_writes_nothing() {
    let (_folder, path) = folder();
    let db = Options::new().share_as(SharedAccess::ReadOnly).create(&path).unwrap();
    let attached = Db::attach(&path).unwrap();
    let refused = |db: &SharedDb| db.append(NewEvent::new("A.b")).unwrap_err().to_string();
    assert!(refused(&attached).contains("shares it for reading only"));
    db.close().unwrap();
    let db = Options::new().share(true).open(&path).unwrap();
    let attached = Db::attach(&path).unwrap();
    assert!(refused(&attached.for_reading()).contains("attached to for reading only"));
    assert!(attached.for_reading().query("EMIT A.b").is_err());
    attached.append(NewEvent::new("A.b")).unwrap();
    assert_eq!(db.head().0, 1);
}

#[test]
fn when_the_holder_goes_what_is_asked_is_told_and_another_one_takes_over() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let waiting = attached.subscribe("*").open().unwrap();
    let (put, take) = mpsc::channel();
    std::thread::spawn(move || waiting.for_each(|delivery| drop(put.send(delivery))));
    assert!(matches!(take.recv().unwrap(), Ok(Delivery::CaughtUp(_))));
    db.close().unwrap();
    // It ends, as it would in the process; or is told that there is none any more.
    assert!(matches!(take.recv(), Err(_) | Ok(Err(Error::Stopped { .. }))));
    let gone = attached.query("SHOW HEAD").unwrap_err();
    assert!(gone.to_string().contains("has gone; attach again, or open it"), "{gone}");
    assert!(attached.is_gone());
    assert!(Db::attach(&path).unwrap_err().to_string().contains("no process that has it open shares it"));
    let next = Db::attach_or_open(&path).unwrap();
    assert!(!next.is_attached());
    assert_eq!(next.head().unwrap(), Position(3));
    assert!(Db::attach_or_open(&path).unwrap().is_attached());
    next.close().unwrap();
}

#[test]
fn the_last_handle_ends_the_sharing() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let clone = db.clone();
    drop(db);
    attached.query("SHOW HEAD").unwrap();
    drop(clone);
    assert!(attached.query("SHOW HEAD").is_err());
    Db::open(&path).unwrap();
}

#[test]
fn what_was_left_by_a_killed_process_is_replaced_and_what_is_somebodys_is_not() {
    let (folder, path) = folder();
    Db::create(&path).unwrap().close().unwrap();
    let socket = folder.path().canonicalize().unwrap().join("shop.bygone-socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    assert!(Db::attach(&path).is_err());
    let db = Options::new().share(true).open(&path).unwrap();
    Db::attach(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    db.close().unwrap();
    assert!(!socket.exists());
    std::fs::write(&socket, "mine").unwrap();
    let error = Options::new().share(true).open(&path).unwrap_err();
    assert!(error.to_string().contains("no socket has its name"), "{error}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
    Db::open(&path).unwrap();
}

#[test]
fn a_path_may_be_longer_than_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut deep = folder.path().to_owned();
    for _ in 0..4 {
        deep.push("f".repeat(200));
    }
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("n".repeat(200) + ".bygone");
    let db = Options::new().share(true).create(&path).unwrap();
    let attached = Db::attach(&path).unwrap();
    attached.append(NewEvent::new("A.b")).unwrap();
    assert_eq!(db.head().0, 1);
}

#[test]
fn what_cannot_be_shared_says_so() {
    assert!(Db::in_memory().unwrap().share(SharedAccess::Full).unwrap_err().to_string().contains("no file"));
    let (_folder, path) = folder();
    Db::create(&path).unwrap().close().unwrap();
    let db = Options::new().read_only(true).open(&path).unwrap();
    assert!(db.share(SharedAccess::Full).unwrap_err().to_string().contains("reading only"));
    drop(db);
    let db = Db::open(&path).unwrap();
    db.share(SharedAccess::Full).unwrap();
    assert!(db.share(SharedAccess::Full).unwrap_err().to_string().contains("already"));
    assert!(Db::attach(folder().1).is_err());
}

#[test]
fn values_are_the_same_on_both_sides() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let text = r#"{"large":18446744073709551615,"small":-9223372036854775808,"float":0.1,"zero":-0.0,"null":null,"text":"\u0000\n\"é","deep":[[{"a":[]}]]}"#;
    let data: Value = text.parse().unwrap();
    let event = attached.append(NewEvent::new("A.b").data(&data).metadata(&data)).unwrap();
    assert_eq!(db.event(event.position).unwrap().unwrap(), event);
    assert_eq!(event.data.to_string(), text);
    let parameters = Parameters::new().set("data", data);
    let mut answer = attached.query_with("EMIT A.c 1 WITH $data", &parameters).unwrap();
    let Some(Ok(Row::Event { event, .. })) = answer.rows.next() else { panic!() };
    assert_eq!(event.data.to_string(), text);
}

#[test]
fn what_is_under_way_when_it_closes_is_answered() {
    let (_folder, path) = folder();
    let (db, attached) = both(&path);
    let lost = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer: u64| {
                let attached = attached.clone();
                scope.spawn(move || {
                    (0..)
                        .map(|n| {
                            attached.append(NewEvent::new("A.b").on(("A", writer)).member("n", n as u64))
                        })
                        .find_map(Result::err)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        db.close().unwrap();
        writers
            .into_iter()
            .filter_map(|writer| writer.join().unwrap())
            .filter(|e| matches!(e, Error::Unknown { .. }))
            .count()
    });
    assert_eq!(lost, 0, "of some that were sent nobody knows what became");
}

#[test]
fn a_subscription_that_has_ended_is_acknowledged_as_in_the_process() {
    let (_folder, path) = folder();
    let (_db, attached) = both(&path);
    for expected in [2, 1, 0] {
        let named = attached.subscribe("*").from_start().until_now().durable("mails").open().unwrap();
        let cursor = named.cursor().unwrap();
        let events: Vec<_> = named
            .filter_map(|delivery| match delivery.unwrap() {
                Delivery::Event(event) => Some(event.position),
                Delivery::CaughtUp(_) => None,
            })
            .collect();
        assert_eq!(events.len(), expected + usize::from(expected == 2), "{events:?}");
        if let Some(first) = events.first() {
            cursor.acknowledge(if expected == 2 { events[1] } else { *first }).unwrap();
        }
    }
}

#[test]
fn rows_outlive_the_handle_they_came_from() {
    let (_folder, path) = folder();
    let (_db, attached) = both(&path);
    drop(attached);
    let rows = Db::attach(&path).unwrap().query("EVENTS").unwrap().rows;
    assert_eq!(rows.collect::<Result<Vec<_>>>().unwrap().len(), 3);
}

#[test]
fn a_key_is_of_the_process_that_names_it() {
    let (_folder, path) = folder();
    let (_db, attached) = both(&path);
    for text in ["REKEY 'env:NEW'", "BACKUP TO 'x.bygone' KEY 'env:NEW'", "SIGN HEAD WITH 'env:NEW'"] {
        let error = attached.query(text).unwrap_err();
        assert!(error.to_string().contains("no key of this one"), "{error}");
    }
}

#[test]
fn options_are_those_of_whoever_attaches_too() {
    let (_folder, path) = folder();
    let first = Options::new().share_as(SharedAccess::ReadOnly).attach_or_open(&path).unwrap();
    let second = Options::new().attach_or_open(&path).unwrap();
    assert!(second.append(NewEvent::new("A.b")).is_err());
    first.append(NewEvent::new("A.b")).unwrap();
    first.close().unwrap();
    assert!(first.opened().unwrap().share(SharedAccess::Full).unwrap_err().to_string().contains("closed"));
    let holder = Options::new().attach_or_open(&path).unwrap();
    let reader = Options::new().read_only(true).attach_or_open(&path).unwrap();
    assert!(reader.is_attached() && reader.append(NewEvent::new("A.b")).is_err());
    holder.close().unwrap();
    assert!(!Options::new().read_only(true).attach_or_open(&path).unwrap().is_attached());
}
