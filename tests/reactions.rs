//! Reactions and schedules: what happens by itself happens once, in its turn, and tells what became of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bygone::maintain::Clock;
use bygone::{Db, Delivery, Event, NewEvent, Options, Position, Row, Timestamp, Value};

const PATIENCE: Duration = Duration::from_secs(60);

fn run(db: &Db, text: &str) -> Vec<Row> {
    let rows = db.query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    rows.rows.map(|row| row.unwrap()).collect()
}

fn lines(db: &Db, text: &str) -> Vec<String> {
    run(db, text).iter().map(|row| serde_json::to_string(row).unwrap()).collect()
}

/// The types of the events of a pattern, with what they are about.
fn events(db: &Db, pattern: &str) -> Vec<Event> {
    let found = db.events(pattern).unwrap();
    found.map(|event| event.unwrap()).collect()
}

fn told(events: &[Event]) -> Vec<String> {
    let told = |event: &Event| {
        let target = event.target.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {target}", event.kind)
    };
    events.iter().map(told).collect()
}

/// Waits until there are so many events of a pattern.
#[track_caller]
fn wait_for(db: &Db, pattern: &str, count: usize) -> Vec<Event> {
    let mut found = Vec::new();
    let mut events = db.subscribe(pattern).from_start();
    let until = Instant::now() + PATIENCE;
    while found.len() < count {
        match events.next_timeout(until.saturating_duration_since(Instant::now())) {
            Some(Ok(Delivery::Event(event))) => found.push(event),
            Some(Ok(Delivery::CaughtUp(_))) => {}
            Some(Err(error)) => panic!("{error}"),
            None => panic!("{count} of {pattern} were to come: {:?}", told(&found)),
        }
    }
    found
}

/// Waits until nothing is left to do for any reaction.
#[track_caller]
fn wait_until_idle(db: &Db) {
    let until = Instant::now() + PATIENCE;
    loop {
        let busy = run(db, "SHOW REACTIONS").iter().any(|row| match row {
            Row::Fields(row) => row["lag"] != Value::from(0u64),
            other => panic!("{other:?}"),
        });
        if !busy {
            return;
        }
        assert!(Instant::now() < until, "{:?}", lines(db, "SHOW REACTIONS"));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn options() -> Options {
    Options::new().live(true).retries(2, Duration::from_millis(1))
}

/// A database that is open live, and what it reports.
fn live() -> (Db, Receiver<String>) {
    let (sender, reports) = channel();
    let sender = Mutex::new(sender);
    let options = options().reports(move |report| {
        // A test that has heard enough is gone.
        let _ = sender.lock().unwrap().send(report.to_string());
    });
    (options.in_memory().unwrap(), reports)
}

fn pay(db: &Db, order: u64) -> Position {
    let event = NewEvent::new("Order.paid").on(("Order", order)).member("amount", order);
    db.append(event).unwrap().position
}

const SHIP: &str = "DEFINE VERB Ship ON Order REQUIRE state.shipped IS NULL ELSE 'shipped already' EMIT shipped {shipped: TRUE}";

#[test]
fn one_thing_leads_to_another() {
    let (db, _reports) = live();
    run(&db, SHIP);
    run(&db, "DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)");
    run(&db, "DEFINE REACTION tell ON 'Order.shipped' DO EMIT Mail.requested (target.id) {of: state.amount}");
    let first = pay(&db, 7);
    pay(&db, 8);
    let mails = wait_for(&db, "Mail.requested", 2);
    assert_eq!(
        told(&mails),
        ["Mail.requested 7", "Mail.requested 8"].map(|told| told.replace(' ', " Mail "))
    );
    assert_eq!(mails[0].data.get("of"), Some(Value::from(7u64)));
    assert_eq!(mails[0].actor, Some(("Reaction", "tell").into()));
    // The whole of a chain has one correlation: that of the event it began with.
    let shipped = &events(&db, "Order.shipped")[0];
    assert_eq!(shipped.cause, Some(bygone::append::Cause::Event(first)));
    assert_eq!(mails[0].cause, Some(bygone::append::Cause::Event(shipped.position)));
    assert!(shipped.correlation.is_some() && shipped.correlation == mails[0].correlation);
    db.close().unwrap();
}

#[test]
fn a_refusal_is_told_once_and_not_tried_again() {
    let (db, reports) = live();
    run(&db, SHIP);
    run(&db, "DEFINE REACTION ship ON 'Order.paid' DO (EMIT Note.made 1; PERFORM Ship Order (target.id))");
    pay(&db, 7);
    let second = pay(&db, 7);
    let third = pay(&db, 8);
    assert_eq!(told(&wait_for(&db, "Order.shipped", 2)), ["Order.shipped Order 7", "Order.shipped Order 8"]);
    assert_eq!(events(&db, "Note.made").len(), 2, "all of it or nothing");
    let refused = events(&db, "$reaction.refused");
    assert_eq!(told(&refused), ["$reaction.refused "]);
    assert_eq!(refused[0].cause, Some(bygone::append::Cause::Event(second)));
    assert_eq!(refused[0].data.get("trigger"), Some(Value::from(second.0)));
    let why = "Ship Order 7: shipped already (state.shipped IS NULL); state.shipped is true";
    assert_eq!(refused[0].data.get("why"), Some(format!("refused: {why}").into()));
    let report = reports.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report, format!("reaction ship: refused at {second}: {why}"));
    wait_until_idle(&db);
    assert!(third > second);
    assert!(reports.try_recv().is_err());
    db.close().unwrap();
}

#[test]
fn what_fails_is_set_aside_until_it_is_tried_again_or_skipped() {
    let (db, reports) = live();
    run(&db, "DEFINE REACTION mail ON 'Order.paid' DO EMIT Mail.requested {to: data.to}");
    let bad = [pay(&db, 7), pay(&db, 8)];
    db.append(NewEvent::new("Order.paid").on(("Order", 9)).member("to", "ann")).unwrap();
    assert_eq!(wait_for(&db, "Mail.requested", 1).len(), 1);
    for position in bad {
        let report = reports.recv_timeout(PATIENCE).unwrap();
        assert!(
            report.starts_with(&format!("reaction mail: set aside {position}, "))
                && report.contains("data.to is missing"),
            "{report}"
        );
    }
    wait_until_idle(&db);
    let shown = lines(&db, "SHOW REACTIONS");
    assert!(shown[0].contains(r#""waiting":0,"lag":0,"setAside":2,"#), "{shown:?}");
    assert!(
        shown[0].contains("data.to is missing") && shown[0].contains(r#""state":"running""#),
        "{shown:?}"
    );
    assert!(lines(&db, "DESCRIBE mail")[1].contains(r#""setAside":2"#));
    // What is recorded once is known by its key, in files of earlier versions, too.
    for (line, bad) in lines(&db, "EVENTS '$reaction.failed' SELECT key").iter().zip(bad) {
        // How far it had heard by then differs.
        let heard = line
            .strip_prefix(&format!(r#"{{"key":"$reaction mail 1 failed {} "#, bad.0))
            .and_then(|rest| rest.strip_suffix(r#""}"#));
        assert!(heard.is_some_and(|heard| heard.parse::<u64>().is_ok()), "{line}");
    }
    // It still has no value.
    run(&db, &format!("RETRY REACTION mail {}", bad[0]));
    let again = wait_for(&db, "$reaction.failed", 3);
    assert_eq!(again[2].cause, Some(bygone::append::Cause::Event(bad[0])));
    run(&db, &format!("SKIP REACTION mail {}", bad[0]));
    let error = db.query(&format!("SKIP REACTION mail {}", bad[0])).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&format!("{}", bad[1])), "{error}");
    run(&db, "SKIP REACTION mail");
    assert!(lines(&db, "SHOW REACTIONS")[0].contains(r#""setAside":0"#));
    assert_eq!(run(&db, "RETRY REACTION mail").len(), 0);
    db.close().unwrap();
}

#[test]
fn a_verb_that_comes_later_is_performed_when_it_is_tried_again() {
    let (db, _reports) = live();
    run(&db, SHIP);
    run(&db, "DEFINE REACTION ship ON 'Order.paid' DO PERFORM Ship Order (target.id)");
    run(&db, "DROP VERB Ship");
    let trigger = pay(&db, 7);
    wait_for(&db, "$reaction.failed", 1);
    run(&db, SHIP);
    run(&db, &format!("RETRY REACTION ship {trigger}"));
    let shipped = wait_for(&db, "Order.shipped", 1);
    assert_eq!(shipped[0].cause, Some(bygone::append::Cause::Event(trigger)));
    run(&db, "DROP REACTION ship");
    db.close().unwrap();
}

#[test]
fn a_circle_ends_with_an_error_that_shows_it() {
    let (db, reports) = live();
    run(&db, "DEFINE REACTION ping ON 'Game.ping' DO EMIT Game.pong (target.id)");
    run(&db, "DEFINE REACTION pong ON 'Game.pong' DO (EMIT Note.made; EMIT Game.ping (target.id) BY User 7)");
    db.append(NewEvent::new("Game.ping").on(("Game", 1))).unwrap();
    let report = reports.recv_timeout(PATIENCE).unwrap();
    assert!(
        report.contains("a chain of reactions: expected at most 64 that follow from each other, found ping at #3, pong at #4"),
        "{report}"
    );
    assert_eq!(events(&db, "Game.ping").len() + events(&db, "Game.pong").len(), 65);
    db.close().unwrap();
}

/// Two reactions that set each other off, with four effects each: depth 64 would be 4^64 events.
const BROAD: [&str; 2] = [
    "DEFINE REACTION ping ON 'Game.ping' DO (EMIT Game.pong 1; EMIT Game.pong 2; EMIT Game.pong 3; EMIT Game.pong 4)",
    "DEFINE REACTION pong ON 'Game.pong' DO (EMIT Game.ping 1; EMIT Game.ping 2; EMIT Game.ping 3; EMIT Game.ping 4)",
];

/// How many events the reactions made.
fn made(db: &Db) -> usize {
    events(db, "Game.*").iter().filter(|event| event.cause.is_some()).count()
}

#[test]
fn what_one_event_brings_about_is_bounded_in_breadth_too_and_after_a_restart() {
    const MOST: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("game.bygone");
    let options = || options().max_brought_about(MOST as u64);
    let db = options().create(&file).unwrap();
    BROAD.iter().for_each(|text| drop(run(&db, text)));
    let root = db.append(NewEvent::new("Game.ping").on(("Game", 1))).unwrap().position;
    wait_until_idle(&db);
    // Two reactions at a time may each make one group more.
    assert!((MOST - 4..=MOST + 8).contains(&made(&db)), "{}", made(&db));
    let failed = lines(&db, "EVENTS '$reaction.failed'").join("\n");
    let expected = format!(
        "what reactions make of {root}: expected at most {MOST} events (Options::max_brought_about, --max-brought-about)"
    );
    assert!(failed.contains(&expected), "{failed}");
    let before = made(&db);
    db.close().unwrap();

    // It follows from the log, so nothing is counted anew.
    let db = options().open(&file).unwrap();
    run(&db, "RETRY REACTION ping");
    run(&db, "RETRY REACTION pong");
    wait_until_idle(&db);
    assert_eq!(made(&db), before);
    // What somebody else makes happen has a breadth of its own.
    db.append(NewEvent::new("Game.ping").on(("Game", 2)).caused_by(root)).unwrap();
    wait_for(&db, "Game.*", before + 10);
    db.close().unwrap();
}

#[test]
fn whoever_closes_a_circle_of_reactions_is_told() {
    let db = Db::in_memory().unwrap();
    let notices = |text: &str| {
        let answer = db.query(text).unwrap();
        answer.notices.into_iter().filter(|notice| notice.contains("circle")).collect::<Vec<_>>()
    };
    assert!(notices("DEFINE VERB Answer ON Letter EMIT answered").is_empty());
    assert!(notices("DEFINE REACTION a ON 'A.a' DO EMIT B.b 1").is_empty());
    assert!(notices("DEFINE REACTION b ON 'B.*' DO PERFORM Answer Letter 1").is_empty());
    assert!(notices("DEFINE REACTION d ON 'D.d' DO EMIT A.a 1").is_empty());
    assert_eq!(
        notices("DEFINE REACTION c ON 'Letter.answered' WHERE data.x > 1 DO EMIT A.a 1"),
        [
            "reactions go round in a circle: from c by A.a to a, by B.b to b, and by Letter.answered back to c; only a WHERE or UNLESS ends that"
        ]
    );
    // It is closed wherever one is defined anew.
    assert_eq!(notices("DEFINE REACTION a ON 'A.a' WHERE data.y = 1 DO EMIT B.b 1").len(), 1);
    assert!(notices("DEFINE REACTION c ON 'Letter.answered' DO EMIT Z.z 1").is_empty());
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(text: &str) -> Hand {
        Hand(Arc::new(AtomicI64::new(text.parse::<Timestamp>().unwrap().as_millis())))
    }

    fn clock(&self) -> Clock {
        let hand = self.0.clone();
        Clock::new(move || Timestamp::from_millis(hand.load(Ordering::SeqCst)))
    }

    fn move_on(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn open(path: &Path, hand: &Hand, live: bool) -> Db {
    let options = options().live(live).clock(hand.clock());
    if path.exists() { options.open(path).unwrap() } else { options.create(path).unwrap() }
}

#[test]
fn a_delay_outlives_the_session_and_what_comes_meanwhile_calls_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = open(&path, &hand, true);
    run(
        &db,
        "DEFINE REACTION expire ON 'Order.placed' AFTER 30m UNLESS 'Order.paid' DO EMIT Order.expired (target.id) {at: NOW}",
    );
    for order in 1..=4 {
        db.append(NewEvent::new("Order.placed").on(("Order", order))).unwrap();
    }
    hand.move_on(10 * MINUTE);
    pay(&db, 2);
    // Another order's payment is no reason.
    pay(&db, 5);
    db.close().unwrap();
    // Time goes on while nobody runs it. What is paid after the deadline is too late.
    hand.move_on(20 * MINUTE);
    let db = open(&path, &hand, false);
    pay(&db, 4);
    hand.move_on(Duration::from_millis(1));
    pay(&db, 3);
    db.close().unwrap();
    let db = open(&path, &hand, true);
    let expired = wait_for(&db, "Order.expired", 2);
    wait_until_idle(&db);
    assert_eq!(told(&events(&db, "Order.expired")), ["Order.expired Order 1", "Order.expired Order 3"]);
    assert_eq!(expired[0].data.get("at"), Some("2024-06-01T12:30:00Z".into()));
    db.close().unwrap();
}

#[test]
fn nothing_runs_before_its_time() {
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = options().clock(hand.clock()).in_memory().unwrap();
    run(&db, "DEFINE REACTION expire ON 'Order.placed' AFTER 30m DO EMIT Order.expired (target.id)");
    db.append(NewEvent::new("Order.placed").on(("Order", 1))).unwrap();
    hand.move_on(30 * MINUTE - Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(events(&db, "Order.expired").len(), 0);
    hand.move_on(Duration::from_millis(1));
    wait_for(&db, "Order.expired", 1);
    db.close().unwrap();
}

#[test]
fn what_is_defined_anew_begins_anew_and_what_is_dropped_ends() {
    let (db, _reports) = live();
    run(&db, "DEFINE REACTION note ON 'Order.paid' DO EMIT Note.made {by: 1}");
    pay(&db, 1);
    wait_for(&db, "Note.made", 1);
    run(&db, "DEFINE REACTION note ON 'Order.paid' DO EMIT Note.made {by: 2}");
    pay(&db, 2);
    wait_for(&db, "Note.made", 2);
    run(&db, "DEFINE REACTION note ON 'Order.paid' FROM START DO EMIT Note.made {by: 3}");
    let made = wait_for(&db, "Note.made", 4);
    let by: Vec<Value> = made.iter().filter_map(|event| event.data.get("by")).collect();
    assert_eq!(by, [1u64, 2, 3, 3].map(Value::from));
    run(&db, "DROP REACTION note");
    pay(&db, 3);
    run(&db, "DEFINE REACTION other ON 'Order.paid' DO EMIT Other.made");
    pay(&db, 4);
    wait_for(&db, "Other.made", 1);
    assert_eq!(events(&db, "Note.made").len(), 4);
    db.close().unwrap();
}

#[test]
fn what_waits_outlives_a_new_definition_and_happens_once() {
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = options().clock(hand.clock()).in_memory().unwrap();
    run(&db, "DEFINE REACTION expire ON 'Order.placed' AFTER 30m DO EMIT Order.expired (target.id) {by: 1}");
    db.append(NewEvent::new("Order.placed").on(("Order", 1))).unwrap();
    hand.move_on(10 * MINUTE);
    db.append(NewEvent::new("Order.placed").on(("Order", 2))).unwrap();
    hand.move_on(20 * MINUTE);
    wait_for(&db, "Order.expired", 1);
    // The second still waits.
    run(&db, "DEFINE REACTION expire ON 'Order.placed' AFTER 30m DO EMIT Order.expired (target.id) {by: 2}");
    // Its place may not have moved past the first yet, which is on the disk: then that is tried again, and happens once.
    let until = Instant::now() + PATIENCE;
    while !lines(&db, "SHOW REACTIONS")[0].contains(r#""waiting":1"#) {
        assert!(Instant::now() < until, "{:?}", lines(&db, "SHOW REACTIONS"));
        std::thread::sleep(Duration::from_millis(2));
    }
    hand.move_on(10 * MINUTE);
    let expired = wait_for(&db, "Order.expired", 2);
    wait_until_idle(&db);
    assert_eq!(told(&events(&db, "Order.expired")), ["Order.expired Order 1", "Order.expired Order 2"]);
    let by: Vec<Value> = expired.iter().filter_map(|event| event.data.get("by")).collect();
    assert_eq!(by, [1u64, 2].map(Value::from));
    db.close().unwrap();
}

#[test]
fn what_is_set_aside_outlives_a_new_definition_and_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = open(&path, &hand, true);
    run(&db, "DEFINE REACTION mail ON 'Order.paid' FROM START DO EMIT Mail.requested {to: data.to}");
    let bad = pay(&db, 7);
    wait_for(&db, "$reaction.failed", 1);
    wait_until_idle(&db);
    db.close().unwrap();
    // The mistake is put right where nobody runs it, and it goes on from there.
    let db = open(&path, &hand, false);
    run(&db, "DEFINE REACTION mail ON 'Order.paid' DO EMIT Mail.requested {to: coalesce(data.to, 'desk')}");
    let shown = lines(&db, "SHOW REACTIONS");
    assert!(shown[0].contains(r#""waiting":0,"#) && shown[0].contains(r#""setAside":1"#), "{shown:?}");
    pay(&db, 8);
    db.close().unwrap();
    let db = open(&path, &hand, true);
    assert_eq!(wait_for(&db, "Mail.requested", 1)[0].actor, Some(("Reaction", "mail").into()));
    run(&db, "RETRY REACTION mail");
    let made = wait_for(&db, "Mail.requested", 2);
    assert_eq!(made[1].cause, Some(bygone::append::Cause::Event(bad)));
    wait_until_idle(&db);
    let shown = lines(&db, "SHOW REACTIONS");
    assert!(shown[0].contains(r#""setAside":0,"error":null"#), "{shown:?}");
    // One that was dropped is another, of which nothing is known.
    run(&db, "DROP REACTION mail");
    run(&db, "DEFINE REACTION mail ON 'Order.paid' FROM START DO EMIT Mail.requested {to: 'desk'}");
    wait_for(&db, "Mail.requested", 4);
    db.close().unwrap();
}

/// What a statement tells beside its rows.
fn notices(db: &Db, text: &str) -> Vec<String> {
    db.query(text).unwrap().notices
}

#[test]
fn a_new_definition_with_from_says_what_it_drops_and_does_again() {
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = options().clock(hand.clock()).in_memory().unwrap();
    run(&db, "DEFINE REACTION mail ON 'Order.paid' DO EMIT Mail.requested {to: data.to}");
    pay(&db, 7);
    pay(&db, 8);
    wait_for(&db, "$reaction.failed", 2);
    wait_until_idle(&db);
    let said = notices(&db, "DEFINE REACTION mail ON 'Order.paid' FROM #2 DO EMIT Mail.requested");
    let expected = "mail begins anew behind #2: it does again what it did about what is behind that, and forgets the 2 events that are set aside; without FROM it would have gone on behind #5";
    assert!(said.iter().any(|said| said == expected), "{said:?}");
    wait_for(&db, "Mail.requested", 1);
    run(&db, "DEFINE REACTION late ON 'Order.*' AFTER 30m DO EMIT Mail.late");
    assert_eq!(pay(&db, 9), Position(9));
    let said = notices(&db, "DEFINE REACTION late ON 'Order.*' FROM #9 AFTER 40m DO EMIT Mail.late");
    let expected = "late begins anew behind #9: it leaves out what it has not come to behind #8; without FROM it would have gone on behind #8";
    assert!(said.iter().any(|said| said == expected), "{said:?}");
    // What is defined first, or goes on, drops nothing.
    let said = notices(&db, "DEFINE REACTION mail ON 'Order.paid' DO EMIT Mail.requested {to: 1}");
    assert!(!said.iter().any(|said| said.contains("anew")), "{said:?}");
    db.close().unwrap();
}

#[test]
fn a_schedule_defined_anew_keeps_what_it_set_aside_and_runs_in_its_own_time() {
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = options().clock(hand.clock()).in_memory().unwrap();
    run(&db, "DEFINE SCHEDULE hourly EVERY 1h DO EMIT Hour.closed {x: 1 + 'a'}");
    hand.move_on(60 * MINUTE);
    wait_for(&db, "$schedule.failed", 1);
    hand.move_on(30 * MINUTE);
    run(&db, "DEFINE SCHEDULE hourly EVERY 1h DO EMIT Hour.closed {at: NOW}");
    assert!(
        lines(&db, "SHOW SCHEDULES")[0].contains(r#""setAside":1"#),
        "{:?}",
        lines(&db, "SHOW SCHEDULES")
    );
    run(&db, "RETRY SCHEDULE hourly");
    let closed = wait_for(&db, "Hour.closed", 1);
    assert_eq!(closed[0].data.get("at"), Some("2024-06-01T13:00:00Z".into()));
    hand.move_on(60 * MINUTE);
    let closed = wait_for(&db, "Hour.closed", 2);
    assert_eq!(closed[1].data.get("at"), Some("2024-06-01T14:30:00Z".into()));
    db.close().unwrap();
}

#[test]
fn a_database_is_closed_while_reactions_run() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.bygone");
        let db = options().create(&path).unwrap();
        run(&db, "DEFINE REACTION note ON 'Order.paid' DO EMIT Note.made {of: position}");
        for order in 0..50 {
            pay(&db, order);
        }
        std::thread::sleep(Duration::from_millis(round));
        db.close().unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().count() == 1, "one file is left");
        let db = options().open(&path).unwrap();
        wait_for(&db, "Note.made", 50);
        wait_until_idle(&db);
        let of: Vec<Value> =
            events(&db, "Note.made").iter().filter_map(|event| event.data.get("of")).collect();
        let paid = events(&db, "Order.paid");
        assert_eq!(of, paid.iter().map(|event| Value::from(event.position.0)).collect::<Vec<_>>());
        db.close().unwrap();
    }
}

#[test]
fn a_schedule_runs_at_its_instants_and_once_for_those_that_were_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let hand = Hand::at("2024-06-01T12:00:00Z");
    let db = open(&path, &hand, true);
    run(&db, "DEFINE SCHEDULE nightly EVERY 1d AT '02:00' DO EMIT Day.closed {at: NOW}");
    assert!(
        lines(&db, "SHOW SCHEDULES")[0]
            .contains(r#""last":null,"next":"2024-06-02T02:00:00Z","missed":null"#)
    );
    hand.move_on(14 * 60 * MINUTE);
    let closed = wait_for(&db, "Day.closed", 1);
    assert_eq!(closed[0].data.get("at"), Some("2024-06-02T02:00:00Z".into()));
    assert_eq!(closed[0].actor, Some(("Schedule", "nightly").into()));
    assert_eq!(closed[0].key.as_deref(), Some("$schedule nightly 1 1717293600000"));
    hand.move_on(24 * 60 * MINUTE);
    wait_for(&db, "Day.closed", 2);
    assert_eq!(events(&db, "$schedule.missed").len(), 0);
    db.close().unwrap();
    hand.move_on(3 * 24 * 60 * MINUTE + 5 * MINUTE);
    let db = open(&path, &hand, true);
    let closed = wait_for(&db, "Day.closed", 3);
    assert_eq!(closed[2].data.get("at"), Some("2024-06-06T02:00:00Z".into()));
    let missed = events(&db, "$schedule.missed");
    assert_eq!(
        missed[0].data.to_string(),
        r#"{"missed":3,"first":"2024-06-04T02:00:00Z","last":"2024-06-06T02:00:00Z"}"#
    );
    let until = Instant::now() + PATIENCE;
    while !lines(&db, "SHOW SCHEDULES")[0].contains(r#""next":"2024-06-07T02:00:00Z","missed":3"#) {
        assert!(Instant::now() < until, "{:?}", lines(&db, "SHOW SCHEDULES"));
        std::thread::sleep(Duration::from_millis(2));
    }
    // One that is refused or fails is as with reactions.
    run(&db, "DEFINE SCHEDULE hourly EVERY 1h DO EMIT Hour.closed {x: 1 + 'a'}");
    hand.move_on(60 * MINUTE);
    let failed = wait_for(&db, "$schedule.failed", 1);
    assert_eq!(failed[0].cause, None);
    assert_eq!(run(&db, "SKIP SCHEDULE hourly").len(), 1);
    db.close().unwrap();
}

/// How many times the program is killed. As many as `BYGONE_KILLS` says; few take a few seconds.
fn kills() -> u64 {
    std::env::var("BYGONE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(80)
}

/// A number that the last one leads to.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Positions of the events that another caused, by the position of that one.
fn by_cause(events: &[Event]) -> BTreeMap<u64, Vec<u64>> {
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for event in events {
        match &event.cause {
            Some(bygone::append::Cause::Event(cause)) => {
                found.entry(cause.0).or_default().push(event.position.0)
            }
            other => panic!("{} is caused by {other:?}", event.position),
        }
    }
    found
}

/// Each of some events has exactly one of the others as its effect, in the same order.
#[track_caller]
fn assert_once_each(triggers: &[Event], effects: &[Event]) {
    let found = by_cause(effects);
    for trigger in triggers {
        let positions = found.get(&trigger.position.0).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(positions.len(), 1, "{} at {} has {positions:?}", trigger.kind, trigger.position);
    }
    assert_eq!(found.len(), triggers.len());
    let in_order: Vec<u64> = found.into_values().flatten().collect();
    assert!(in_order.is_sorted());
}

#[test]
fn a_kill_at_any_moment_loses_no_effect_and_doubles_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.bygone");
    let db = Db::create(&path).unwrap();
    run(&db, "DEFINE VERB Ship ON Order EMIT shipped {of: data.of}");
    run(&db, "DEFINE REACTION reserve ON 'Order.placed' DO EMIT Order.reserved (target.id)");
    run(&db, "DEFINE REACTION ship ON 'Order.reserved' DO PERFORM Ship Order (target.id) {of: position}");
    run(
        &db,
        "DEFINE REACTION thank ON 'Order.shipped' AFTER 5ms UNLESS 'Order.returned' DO (EMIT Mail.sent (target.id); EMIT Note.made)",
    );
    db.close().unwrap();

    let mut seed = 0x2545_F491_4F6C_DD1D;
    let mut order = 0u64;
    for _ in 0..kills() {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bygone"))
            .args(["run".as_ref(), path.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut statements = program.stdin.take().unwrap();
        let orders = 5 + next(&mut seed) % 40;
        for _ in 0..orders {
            order += 1;
            // It may have ended by now, in a hurry.
            if writeln!(statements, "EMIT Order.placed {order};").is_err() {
                break;
            }
        }
        // Places in the log are written a tenth of a second behind: some live to see that.
        let longest = if next(&mut seed).is_multiple_of(4) { 250_000 } else { 50_000 };
        std::thread::sleep(Duration::from_micros(next(&mut seed) % longest));
        program.kill().unwrap();
        program.wait().unwrap();
    }

    let db = options().open(&path).unwrap();
    let placed = events(&db, "Order.placed");
    assert!(!placed.is_empty(), "it never came as far as to read a statement");
    wait_for(&db, "Note.made", placed.len());
    wait_until_idle(&db);
    let (reserved, shipped) = (events(&db, "Order.reserved"), events(&db, "Order.shipped"));
    assert_once_each(&placed, &reserved);
    assert_once_each(&reserved, &shipped);
    assert_once_each(&shipped, &events(&db, "Mail.sent"));
    assert_once_each(&shipped, &events(&db, "Note.made"));
    assert_eq!(events(&db, "$reaction.*").len(), 3, "the definitions");
    assert!(db.verify().unwrap().faults.is_empty());
    db.close().unwrap();
}
