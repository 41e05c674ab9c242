//! Webhooks, told to a real server that does not always do as it should.
#![cfg(feature = "webhooks")]

mod receiver;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bygone::{Db, NewEvent, Object, Options, Position, Row, Value};
use receiver::{Act, OK, Receiver, Told};

const SOON: Duration = Duration::from_millis(2);
const AGES: Duration = Duration::from_secs(60);

fn options(attempts: u32) -> Options {
    Options::new().live(true).webhooks(attempts, SOON, AGES)
}

fn define(db: &Db, statement: &str) {
    db.query(statement).unwrap();
}

fn hook(name: &str, receiver: &Receiver) -> String {
    format!("DEFINE WEBHOOK {name} ON 'Order.*' FROM START TO '{}'", receiver.url())
}

fn paid(db: &Db, order: u32, n: u32) -> Position {
    db.append(NewEvent::new("Order.paid").on(("Order", order)).member("n", n)).unwrap().position
}

fn shown(db: &Db, name: &str) -> Object {
    let rows = db.query("SHOW WEBHOOKS").unwrap().rows;
    let mut rows = rows.map(|row| match row.unwrap() {
        Row::Fields(fields) => fields,
        other => panic!("{other:?}"),
    });
    rows.find(|row| row["name"] == Value::from(name)).expect("the webhook").as_ref().clone()
}

/// Waits until what is shown of a webhook is as it should be.
fn until(db: &Db, name: &str, is: impl Fn(&Object) -> bool) -> Object {
    let end = Instant::now() + AGES;
    loop {
        let row = shown(db, name);
        if is(&row) {
            return row;
        }
        assert!(Instant::now() < end, "{row:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_done(row: &Object) -> bool {
    row["lag"] == Value::from(0)
}

fn number(told: &Told, header: &str) -> u64 {
    told.header(header).unwrap().parse().unwrap()
}

/// The order and the number of each event that was told.
fn orders(told: &[Told]) -> Vec<(u32, u32)> {
    let one = |told: &Told| {
        let event: Value = told.body.parse().unwrap();
        let order = event.get("target").unwrap().get("id").unwrap().as_text().unwrap().parse().unwrap();
        (order, event.get("data").unwrap().get("n").unwrap().parse().unwrap())
    };
    told.iter().map(one).collect()
}

#[test]
fn each_event_is_told_as_json_with_what_it_is_in_headers() {
    let receiver = Receiver::start(|_, _| OK);
    let db = options(3).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    let position = paid(&db, 42, 7);
    db.append(NewEvent::new("Stock.counted").on(("Stock", 1))).unwrap();
    let told = receiver.wait(|told| !told.is_empty());
    let event = db.event(position).unwrap().unwrap();
    assert_eq!(told[0].line, "POST /hook HTTP/1.1");
    assert_eq!(told[0].body, serde_json::to_string(&event).unwrap());
    assert_eq!(told[0].header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(told[0].header("bygone-webhook"), Some("notify"));
    assert_eq!(told[0].header("bygone-type"), Some("Order.paid"));
    assert_eq!(told[0].header("webhook-id"), Some(event.id.to_string().as_str()));
    assert_eq!((number(&told[0], "bygone-position"), number(&told[0], "bygone-attempt")), (position.0, 1));
    assert_eq!(told[0].header("webhook-signature"), None);
    assert!(number(&told[0], "webhook-timestamp") > 1_700_000_000);
    until(&db, "notify", is_done);
    assert_eq!(receiver.told().len(), 1, "what is of another type is not told");
    db.close().unwrap();
}

#[test]
fn a_condition_a_form_and_a_signature_are_kept_to() {
    let receiver = Receiver::start(|_, _| OK);
    let db = options(3).in_memory().unwrap();
    // Cargo says this variable to whoever it runs, and its value is the name of this crate, which is base64 of four bytes.
    define(
        &db,
        &format!(
            "DEFINE WEBHOOK notify ON '*' FROM START WHERE data.n > 1 TO '{}' AS 'cloudevents' SECRET 'env:CARGO_PKG_NAME'",
            receiver.url()
        ),
    );
    paid(&db, 1, 1);
    paid(&db, 1, 2);
    let told = receiver.wait(|told| !told.is_empty());
    until(&db, "notify", is_done);
    assert_eq!(receiver.told().len(), 1);
    let event: Value = told[0].body.parse().unwrap();
    assert_eq!(event.get("specversion"), Some(&"1.0".into()));
    assert_eq!(event.get("type"), Some(&"Order.paid".into()));
    assert!(event.get("source").unwrap().as_text().unwrap().starts_with("urn:uuid:"));
    assert_eq!(told[0].header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    let header = |name: &str| told[0].header(name).unwrap();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), told[0].body);
    let mac = header("webhook-signature").strip_prefix("v1,").unwrap();
    assert_eq!(STANDARD.decode(mac).unwrap(), hmac(&[0x6f, 0x28, 0x28, 0x9d], signed.as_bytes()));
    assert_eq!(shown(&db, "notify")["signed"], Value::from(true));
    db.close().unwrap();
}

/// HMAC-SHA256 as RFC 2104 has it, made of SHA-256 alone.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

#[test]
fn a_receiver_that_fails_in_every_way_gets_everything_in_order() {
    let bad = [
        Act::Answer(500, "", "out of order"),
        Act::Close,
        Act::Answer(429, "retry-after: 0\r\n", ""),
        Act::Break("HTTP/1.1 20"),
        Act::Answer(302, "location: http://127.0.0.1:9/\r\n", ""),
        Act::Late(Duration::from_millis(30), Box::new(OK)),
        Act::Break("nonsense\r\n\r\n"),
        Act::Answer(503, "retry-after: 0\r\n", ""),
    ];
    // Every other answer is a bad one.
    let receiver = Receiver::start(move |_, n| if n % 2 == 0 { bad[n / 2 % bad.len()].clone() } else { OK });
    let db = options(1000).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    for n in 0..60 {
        paid(&db, n % 7, n);
    }
    let row = until(&db, "notify", is_done);
    assert_eq!((&row["setAside"], &row["error"]), (&Value::from(0), &Value::Null));
    let told = orders(&receiver.told());
    for order in 0..7 {
        let mut told: Vec<u32> = told.iter().filter(|(of, _)| *of == order).map(|(_, n)| *n).collect();
        // What was told twice came twice in a row.
        told.dedup();
        let expected: Vec<u32> = (0..60).filter(|n| n % 7 == order).collect();
        assert_eq!(told, expected, "of {order}");
    }
    db.close().unwrap();
}

#[test]
fn one_that_hangs_fails_in_time_and_holds_up_no_other_webhook() {
    let hanging = Receiver::start(|_, n| if n == 0 { Act::Hang } else { OK });
    let good = Receiver::start(|_, _| OK);
    let options = Options::new().live(true).webhooks(3, SOON, Duration::from_millis(500));
    let db = options.in_memory().unwrap();
    define(&db, &hook("slow", &hanging));
    define(&db, &hook("quick", &good));
    for n in 0..20 {
        paid(&db, 1, n);
    }
    good.wait(|told| told.len() == 20);
    until(&db, "slow", is_done);
    let told = hanging.told();
    assert_eq!(orders(&told[..2]), [(1, 0), (1, 0)], "told again after it hung");
    assert_eq!(told.len(), 21);
    db.close().unwrap();
}

#[test]
fn what_is_never_taken_is_set_aside_on_record_and_the_rest_goes_on() {
    let receiver = Receiver::start(|told, _| match told.body.contains("\"n\":2") {
        true => Act::Answer(500, "", "no twos"),
        false => OK,
    });
    let db = options(3).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    let positions: Vec<Position> = (1..=3).map(|n| paid(&db, 1, n)).collect();
    let position = positions[1];
    let row = until(&db, "notify", |row| {
        row["setAside"] == Value::from(1) && row["state"] == Value::from("running")
    });
    assert!(
        row["error"].as_text().unwrap().contains("it answered 500 Internal Server Error: no twos"),
        "{row:?}"
    );
    let told = receiver.wait(|told| told.iter().any(|told| told.body.contains("\"n\":3")));
    assert_eq!(orders(&told), [(1, 1), (1, 2), (1, 2), (1, 2), (1, 3)]);
    let attempts: Vec<u64> = told.iter().map(|told| number(told, "bygone-attempt")).collect();
    assert_eq!(attempts, [1, 1, 2, 3, 1]);
    let state = db.state(("$webhook", "notify")).unwrap().state;
    let aside = state.get("setAside").unwrap().get(&position.0.to_string()).unwrap();
    assert_eq!(aside.get("attempts"), Some(&3.into()));
    let failed = db.history(("$webhook", "notify")).unwrap().map(Result::unwrap).last().unwrap();
    assert_eq!(failed.kind.as_str(), "$webhook.failed");
    assert_eq!(failed.cause, Some(bygone::append::Cause::Event(position)));
    db.close().unwrap();
}

#[test]
fn what_was_set_aside_is_not_told_again_by_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bygone");
    let refuse = Arc::new(AtomicBool::new(true));
    let refuses = refuse.clone();
    let receiver = Receiver::start(move |_, _| match refuses.load(Ordering::SeqCst) {
        true => Act::Answer(500, "", ""),
        false => OK,
    });
    let db = options(2).create(&path).unwrap();
    define(&db, &hook("notify", &receiver));
    paid(&db, 1, 1);
    until(&db, "notify", |row| row["setAside"] == Value::from(1));
    db.close().unwrap();
    refuse.store(false, Ordering::SeqCst);
    let db = options(2).open(&path).unwrap();
    paid(&db, 1, 2);
    until(&db, "notify", is_done);
    assert_eq!(orders(&receiver.told()), [(1, 1), (1, 1), (1, 2)]);
    db.close().unwrap();
}

#[test]
fn what_was_set_aside_is_told_again_by_retry_and_never_by_skip() {
    let refuse = Arc::new(AtomicBool::new(true));
    let refuses = refuse.clone();
    let receiver = Receiver::start(move |_, _| match refuses.load(Ordering::SeqCst) {
        true => Act::Answer(500, "", ""),
        false => OK,
    });
    let db = options(1).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    let first = paid(&db, 1, 1);
    paid(&db, 2, 2);
    until(&db, "notify", |row| row["setAside"] == Value::from(2));
    define(&db, &format!("SKIP WEBHOOK notify {first}"));
    until(&db, "notify", |row| row["setAside"] == Value::from(1));
    // Told again and not taken, it is set aside again.
    define(&db, "RETRY WEBHOOK notify");
    receiver.wait(|told| told.len() == 3);
    until(&db, "notify", |row| row["setAside"] == Value::from(1));
    refuse.store(false, Ordering::SeqCst);
    define(&db, "RETRY WEBHOOK notify");
    receiver.wait(|told| told.len() == 4);
    until(&db, "notify", |row| row["setAside"] == Value::from(0) && is_done(row));
    let told: Vec<u32> = orders(&receiver.told()).iter().map(|(order, _)| *order).collect();
    assert_eq!((told.iter().filter(|order| **order == 1).count(), told.len()), (1, 4), "{told:?}");
    assert_eq!(told[2..], [2, 2]);
    db.close().unwrap();
}

#[test]
fn a_new_definition_goes_on_where_the_one_before_was() {
    let (wrong, right) = (Receiver::start(|_, _| Act::Answer(500, "", "")), Receiver::start(|_, _| OK));
    let db = options(1).in_memory().unwrap();
    define(&db, &format!("DEFINE WEBHOOK notify ON 'Order.*' FROM START TO '{}'", wrong.url()));
    for n in 1..=3 {
        paid(&db, n, n);
    }
    until(&db, "notify", |row| row["setAside"] == Value::from(3) && is_done(row));
    // A place that is put right: what is set aside is kept, and told there.
    define(&db, &format!("DEFINE WEBHOOK notify ON 'Order.*' TO '{}'", right.url()));
    let row = shown(&db, "notify");
    assert_eq!(row["setAside"], Value::from(3), "{row:?}");
    define(&db, "RETRY WEBHOOK notify");
    assert_eq!(right.wait(|told| told.len() == 3).len(), 3);
    until(&db, "notify", |row| row["setAside"] == Value::from(0) && is_done(row));
    db.close().unwrap();
}

#[test]
fn what_was_not_told_yet_is_told_by_the_new_definition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let receiver = Receiver::start(|_, _| OK);
    let db = Options::new().create(&path).unwrap();
    define(&db, "DEFINE WEBHOOK notify ON 'Order.*' FROM START TO 'http://127.0.0.1:1/hook'");
    for n in 1..=3 {
        paid(&db, 1, n);
    }
    define(&db, &format!("DEFINE WEBHOOK notify ON 'Order.*' TO '{}'", receiver.url()));
    assert_eq!(shown(&db, "notify")["position"], Value::from(0));
    db.close().unwrap();
    let db = options(1).open(&path).unwrap();
    receiver.wait(|told| told.len() == 3);
    until(&db, "notify", is_done);
    db.close().unwrap();
}

#[test]
fn a_missing_secret_is_waited_for_and_told() {
    let receiver = Receiver::start(|_, _| OK);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let heard = reports.clone();
    let db = options(1000).reports(move |report| heard.lock().unwrap().push(report.to_string()));
    let db = db.in_memory().unwrap();
    define(&db, &format!("{} SECRET 'env:BYGONE_HAS_NO_SUCH_VARIABLE'", hook("notify", &receiver)));
    paid(&db, 1, 1);
    let row = until(&db, "notify", |row| row["error"] != Value::Null);
    let trouble = row["error"].as_text().unwrap();
    assert!(trouble.contains("no variable BYGONE_HAS_NO_SUCH_VARIABLE"), "{trouble}");
    assert!(receiver.told().is_empty(), "nothing is sent unsigned");
    db.close().unwrap();
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with("webhook notify: #2 is tried again: SECRET"), "{reports:?}");
}

#[test]
fn a_webhook_begins_after_its_definition_or_where_it_is_told_to() {
    let (now, past) = (Receiver::start(|_, _| OK), Receiver::start(|_, _| OK));
    let db = options(3).in_memory().unwrap();
    for n in 1..=3 {
        paid(&db, 1, n);
    }
    define(&db, &format!("DEFINE WEBHOOK now ON 'Order.*' TO '{}'", now.url()));
    define(&db, &format!("DEFINE WEBHOOK past ON 'Order.*' FROM #1 TO '{}'", past.url()));
    paid(&db, 1, 4);
    until(&db, "now", is_done);
    until(&db, "past", is_done);
    assert_eq!(orders(&now.told()), [(1, 4)]);
    assert_eq!(orders(&past.told()), [(1, 2), (1, 3), (1, 4)]);
    // Defined anew from another place, it tells from there.
    define(&db, &format!("DEFINE WEBHOOK past ON 'Order.*' FROM #2 TO '{}'", past.url()));
    past.wait(|told| told.len() == 5);
    assert_eq!(orders(&past.told())[3..], [(1, 3), (1, 4)]);
    define(&db, "DROP WEBHOOK past");
    paid(&db, 1, 5);
    until(&db, "now", is_done);
    db.close().unwrap();
    assert_eq!((now.told().len(), past.told().len()), (2, 5));
}

#[test]
fn nothing_is_sent_where_the_database_is_not_open_live() {
    let receiver = Receiver::start(|_, _| OK);
    let db = Db::in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    paid(&db, 1, 1);
    let row = shown(&db, "notify");
    assert_eq!((&row["state"], &row["lag"], &row["position"]), (&"not running".into(), &2.into(), &0.into()));
    db.close().unwrap();
    assert!(receiver.told().is_empty());
}

#[test]
fn closing_does_not_wait_for_the_next_attempt() {
    let receiver = Receiver::start(|_, _| Act::Answer(500, "retry-after: 250\r\n", ""));
    // The next attempt is minutes away.
    let db = Options::new().live(true).webhooks(9, Duration::from_secs(250), AGES).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    paid(&db, 1, 1);
    until(&db, "notify", |row| row["error"] != Value::Null);
    db.close().unwrap();
    assert_eq!(receiver.told().len(), 1);
}

#[test]
fn many_events_behind_one_that_fails_are_told_in_order_once_it_is_taken() {
    let refuse = Arc::new(AtomicBool::new(true));
    let refuses = refuse.clone();
    let receiver = Receiver::start(move |told, _| match refuses.load(Ordering::SeqCst) {
        true if told.body.contains("\"id\":\"0\"") => Act::Answer(500, "", ""),
        _ => OK,
    });
    let db = options(u32::MAX).in_memory().unwrap();
    define(&db, &hook("notify", &receiver));
    let events = (0..2000u32).map(|n| NewEvent::new("Order.paid").on(("Order", n % 50)).member("n", n));
    db.append_all(events).unwrap();
    // The others go on as far as the window is wide, and no further.
    receiver.wait(|told| told.iter().filter(|told| !told.body.contains("\"id\":\"0\"")).count() > 100);
    assert_eq!(
        shown(&db, "notify")["position"],
        Value::from(1),
        "the place is before the first that is not done"
    );
    refuse.store(false, Ordering::SeqCst);
    until(&db, "notify", is_done);
    let told = orders(&receiver.told());
    for order in 0..50 {
        let mut told: Vec<u32> = told.iter().filter(|(of, _)| *of == order).map(|(_, n)| *n).collect();
        told.dedup();
        assert_eq!(told, (0..2000).filter(|n| n % 50 == order).collect::<Vec<_>>());
    }
    db.close().unwrap();
}

/// A database that was not closed: what a crash leaves.
fn crashed(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn after_a_crash_it_goes_on_from_the_place_that_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    std::fs::create_dir(&before).unwrap();
    let stuck = Arc::new(AtomicBool::new(true));
    let is_stuck = stuck.clone();
    let receiver = Receiver::start(move |told, _| match is_stuck.load(Ordering::SeqCst) {
        true if told.body.contains("\"n\":5") => Act::Answer(500, "", ""),
        _ => OK,
    });
    let db = options(u32::MAX).create(before.join("a.bygone")).unwrap();
    define(&db, &hook("notify", &receiver));
    for n in 1..=9 {
        paid(&db, 1, n);
    }
    receiver.wait(|told| told.iter().any(|told| told.body.contains("\"n\":5")));
    crashed(&before, &after);
    db.close().unwrap();
    let told = receiver.told().len();
    stuck.store(false, Ordering::SeqCst);
    let db = options(u32::MAX).open(after.join("a.bygone")).unwrap();
    until(&db, "notify", is_done);
    let again = orders(&receiver.told()[told..]);
    // At least once: what was told just before the crash may come again, and what was not told comes.
    let first = again[0].1;
    assert!(first <= 5, "{again:?}");
    assert_eq!(again, (first..=9).map(|n| (1, n)).collect::<Vec<_>>());
    db.close().unwrap();
}

#[test]
fn the_last_error_is_told_when_nobody_runs_it_any_more() {
    let receiver = Receiver::start(|_, _| Act::Answer(500, "", ""));
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a.bygone");
    let db = options(u32::MAX).create(&path).unwrap();
    define(&db, &hook("notify", &receiver));
    paid(&db, 1, 1);
    let told = |row: &Object| row["error"].as_text().is_some_and(|error| error.contains("500"));
    until(&db, "notify", told);
    db.close().unwrap();
    let db = Options::new().open(&path).unwrap();
    let row = shown(&db, "notify");
    assert!(told(&row) && row["state"] == Value::from("not running"), "{row:?}");
    db.close().unwrap();
    // Once it is taken, there is none.
    let receiver = Receiver::start(|_, _| OK);
    let db = options(u32::MAX).open(&path).unwrap();
    define(&db, &hook("notify", &receiver));
    until(&db, "notify", |row| is_done(row) && row["error"] == Value::Null);
    db.close().unwrap();
    let db = Options::new().open(&path).unwrap();
    assert_eq!(shown(&db, "notify")["error"], Value::Null);
}
