//! What runs by itself: what is defined of it, and what it makes of an event or of an instant.

use super::*;
use crate::entity::Position;
use crate::event::record::Record;
use crate::exec::reaction::{ReactionExecutor, ScheduleExecutor};
use crate::store::append_request::AppendRequest;
use crate::store::catalog::ProgramKind;

const SHOP: [&str; 4] = [
    "DEFINE VERB Ship ON Order REQUIRE state.status = 'paid' ELSE 'not paid' EMIT shipped {status: 'shipped'}",
    "EMIT Order.created 42 {total: 10, customer: 'ann', status: 'open'} BY User 7",
    "EMIT Order.paid 42 {amount: 10, status: 'paid'} META {ip: '::1'} BY User 7",
    "EMIT Order.paid 43 {amount: 3, status: 'paid'}",
];

fn shop() -> Store {
    let store = store(3);
    SHOP.iter().for_each(|text| drop(Session::new(&store).rows(text)));
    store
}

fn reaction(store: &Store, name: &str) -> ReactionExecutor {
    let snapshot = store.snapshot();
    let program = snapshot.indexes().program(ProgramKind::Reaction, name).unwrap();
    ReactionExecutor::new(&program.text, program.position).unwrap()
}

/// What a reaction does about an event.
fn effects(store: &Store, name: &str, trigger: u64) -> Option<Result<AppendRequest, String>> {
    let snapshot = store.snapshot();
    let event = snapshot.encoded(Position(trigger)).unwrap().unwrap();
    let record = Record::open(Position(trigger), &event).unwrap();
    reaction(store, name).effects(&record, &snapshot).unwrap()
}

/// The events that a reaction makes, once its group is appended.
fn react(store: &Store, name: &str, trigger: u64) -> Vec<String> {
    let group = effects(store, name, trigger).unwrap().unwrap();
    let outcome = store.append(group).unwrap();
    let event = |(position, bytes)| {
        let event = crate::event::codec::decode(position, bytes).unwrap();
        let target = event.target.as_ref().map(ToString::to_string).unwrap_or_default();
        let actor = event.actor.as_ref().map(ToString::to_string).unwrap_or_default();
        let cause = serde_json::to_string(&event.cause).unwrap();
        format!("{} {target} {} by {actor} of {cause} at {}", event.kind, event.data, event.timestamp)
    };
    outcome.events.into_iter().map(event).collect()
}

#[test]
fn a_reaction_makes_of_an_event_what_it_says() {
    let store = shop();
    let session = Session::new(&store);
    session.rows(
        "DEFINE REACTION thank ON 'Order.paid' WHERE data.amount > 5 DO EMIT Email.requested \
         {to: state.customer, order: target.id, of: position, ip: metadata.ip, when: NOW - 1d, by: actor.id, kind: type}",
    );
    let made = react(&store, "thank", 3);
    assert_eq!(
        made,
        [
            "Email.requested  {\"to\":\"ann\",\"order\":\"42\",\"of\":3,\"ip\":\"::1\",\"when\":\"2024-05-31T12:00:00Z\",\
             \"by\":\"7\",\"kind\":\"Order.paid\"} by Reaction thank of {\"position\":3} at 2024-06-01T12:00:00Z"
        ]
    );
    // The same again is the same events.
    assert_eq!(react(&store, "thank", 3), made);
    assert_eq!(session.rows("EVENTS 'Email.*'").len(), 1);
    // The filter, and the pattern.
    assert!(effects(&store, "thank", 4).is_none());
    assert!(effects(&store, "thank", 2).is_none());
}

#[test]
fn several_acts_are_one_group() {
    let store = shop();
    let session = Session::new(&store);
    session.rows(
        "DEFINE REACTION ship ON 'Order.paid' AFTER 30m UNLESS 'Order.cancelled' DO ( \
           PERFORM Ship Order (target.id) BY User (actor.id) META {note: 'x'}; \
           EMIT Parcel.made NEW {order: target.id} AT -1h INDEX BY order; \
           EMIT Note.made ON Order (target.id) WITH {seen: data} EXPECT EXISTS )",
    );
    let plan = reaction(&store, "ship").plan;
    assert_eq!(plan.after.as_ref().unwrap().period.as_secs(), 1800);
    assert!(plan.after.unwrap().unless.unwrap().matches_text("Order.cancelled"));
    assert_eq!(
        react(&store, "ship", 3),
        [
            "Order.shipped Order 42 {\"status\":\"shipped\"} by User 7 of {\"position\":3} at 2024-06-01T12:00:00Z",
            "Parcel.made Parcel e6 {\"order\":\"42\"} by Reaction ship of {\"position\":3} at 2024-06-01T11:30:00Z",
            "Note.made Order 42 {\"seen\":{\"amount\":10,\"status\":\"paid\"}} by Reaction ship of {\"position\":3} at \
             2024-06-01T12:00:00Z",
        ]
    );
    let keys = session.lines("EVENTS WHERE key IS NOT NULL SELECT key");
    assert_eq!(keys, ["{\"key\":\"$reaction ship 5 3\"}"]);
    // It was shipped: the verb refuses the second, which has a trigger of its own.
    session.rows("EMIT Order.paid 42 {amount: 1} BY User 7");
    let group = effects(&store, "ship", 9).unwrap().unwrap();
    assert!(store.append(group).unwrap_err().is_refused());
}

#[test]
fn what_has_no_value_is_told() {
    let store = shop();
    let session = Session::new(&store);
    session.rows("DEFINE REACTION a ON 'Order.paid' DO EMIT Email.requested {to: data.customer}");
    let why = effects(&store, "a", 3).unwrap().unwrap_err();
    assert_eq!(
        why,
        "EMIT Email.requested {to: data.customer}: data.customer is missing; coalesce(data.customer, NULL) says what to take \
         where it is"
    );
    session.rows("DEFINE REACTION a ON 'Order.paid' DO PERFORM Ship Order (data.nobody)");
    let why = effects(&store, "a", 3).unwrap().unwrap_err();
    assert!(why.contains("data.nobody is missing"), "{why}");
    session.rows("DEFINE REACTION a ON 'Order.paid' DO EMIT Note.made (data)");
    let why = effects(&store, "a", 3).unwrap().unwrap_err();
    assert!(why.contains("an id: expected a text or a whole number"), "{why}");
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    let store = shop();
    let session = Session::new(&store);
    for (text, expected) in [
        ("DEFINE REACTION r ON 'Order.*' DO EMIT Order.seen (target.id)", "would set itself off for ever"),
        ("DEFINE REACTION r ON 'Order.shipped' DO PERFORM Ship Order (target.id)", "would set itself off"),
        ("DEFINE REACTION r ON '*' AFTER 5m DO EMIT Note.made", "would set itself off for ever"),
        ("DEFINE REACTION r ON 'Order.paid' DO PERFORM Shp Order 4", "no verb 'Shp' is defined"),
        ("DEFINE REACTION r ON 'Order.paid' DO PERFORM Ship Ordr 4", "is a verb of Order"),
        ("DEFINE REACTION r ON 'Order.paid' DO EMIT Note.made KEY 'x'", "has a key of its own"),
        ("DEFINE REACTION r ON 'Order.paid' DO EMIT Note.made CAUSED BY #1", "is the cause of what it does"),
        ("DEFINE REACTION r ON 'Order.paid' WHERE 1 = 1 DO EMIT Note.made", "always the same"),
        ("DEFINE REACTION r ON 'Order.paid' WHERE count() > 1 DO EMIT Note.made", "a reaction sees one"),
        ("DEFINE REACTION r ON 'Order.paid' WHERE total > 1 DO EMIT Note.made", "there is no field 'total'"),
        ("DEFINE REACTION r ON 'Order.paid' FROM #99 DO EMIT Note.made", "#99 is beyond the head"),
        (
            "DEFINE REACTION r ON 'Order.paid' FROM '2099-01-01' DO EMIT Note.made",
            "FROM a time that lies ahead",
        ),
        ("DEFINE REACTION r ON 'Order.paid' DO EMIT Note.made EXPECT NONE ('X.y')", "PERFORM a verb"),
        ("DEFINE REACTION Ship ON 'Order.paid' DO EMIT Note.made", "Ship is a verb, defined at #1"),
        ("DEFINE REACTION Order ON 'Order.paid' DO EMIT Note.made", "Order is a kind of entities"),
        ("DEFINE SCHEDULE s EVERY 1h AT '02:00' DO EMIT Note.made", "lies beyond EVERY 1h"),
        ("DEFINE SCHEDULE s EVERY 1d AT 'noon' DO EMIT Note.made", "like '02:00'"),
        ("DEFINE SCHEDULE s CRON '0 2 * *' DO EMIT Note.made", "CRON: expected five fields"),
        ("DEFINE SCHEDULE s CRON '0 0 31 2 *' DO EMIT Note.made", "never comes"),
        ("DEFINE SCHEDULE s CRON '0 2 1 * *' IN 'Berlin' DO EMIT Note.made", "found 'Berlin'"),
        (
            "DEFINE SCHEDULE s CRON '0 2 1 * *' IN 'Europe/Berln' DO EMIT Note.made",
            "did you mean Europe/Berlin?",
        ),
        ("DEFINE SCHEDULE s EVERY 1ms DO EMIT Note.made", "EVERY: expected 10ms or more"),
        ("DEFINE SCHEDULE s EVERY 999999w DO EMIT Note.made", "EVERY: expected 36500d or less"),
        (
            "DEFINE REACTION r ON 'Order.paid' AFTER 999999w DO EMIT Note.made",
            "AFTER: expected 36500d or less",
        ),
        ("DEFINE REACTION r ON 'Order.paid' DO EMIT Note.made AT -999999w", "no time is so long ago"),
        ("EMIT Note.made AT -999999w", "no time is so long ago"),
        ("EXPLAIN EMIT Note.made AT -999999w", "no time is so long ago"),
        ("ATOMIC (EMIT Note.made) AT -999999w", "no time is so long ago"),
        ("DEFINE SCHEDULE s EVERY 1d DO EMIT Note.made (target.id)", "a schedule has no event"),
        ("DROP REACTION r", "no reaction 'r' is defined"),
    ] {
        let error = session.error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    // What may end is told of, and is no error.
    let notices = |text: &str| session.run(text).unwrap().1;
    let told =
        notices("DEFINE REACTION r ON 'Order.*' WHERE type != 'Order.seen' DO EMIT Order.seen (target.id)");
    assert!(told[0].contains("r sets itself off: Order.seen is of ON 'Order.*'"), "{told:?}");
    // A name is one thing.
    let error = session.error("DEFINE SCHEDULE r EVERY 1d DO EMIT Note.made");
    assert!(error.contains("r is a reaction, defined at #5"), "{error}");
    session.rows("DROP REACTION r");
    session.rows("DEFINE SCHEDULE r EVERY 1d DO EMIT Note.made");
}

#[test]
fn a_definition_is_an_event_and_keeps_the_values_of_parameters() {
    let store = shop();
    let mut session = Session::new(&store);
    let parameters = Parameters::new().set("least", 5).set("on", "Order.paid");
    session.parameters = parameters.set("after", "30s").set("who", "ann");
    session.rows(
        "DEFINE REACTION r ON $on FROM -7d WHERE data.amount > $least AFTER $after UNLESS 'X.*' DO \
         EMIT Note.made $who {least: $least} BY User $who",
    );
    let text = "DEFINE REACTION r ON 'Order.paid' FROM '2024-05-25T12:00:00Z' WHERE data.amount > 5 AFTER 30s UNLESS 'X.*' DO \
                EMIT Note.made ann {least: 5} BY User ann";
    let program = store.snapshot().indexes().program(ProgramKind::Reaction, "r").unwrap().clone();
    assert_eq!((program.text.as_str(), program.position), (text, Position(5)));
    // Said again, it is the same; said otherwise, another.
    assert_eq!(positions(&session.rows(text)), [5]);
    session.rows("DEFINE REACTION r ON 'Order.paid' DO EMIT Note.made");
    assert_eq!(session.rows("HISTORY `$reaction` r").len(), 2);
    session.rows("DROP REACTION r");
    assert_eq!(store.snapshot().indexes().programs().count(), 0);
}

#[test]
fn a_schedule_runs_by_the_clocks_of_a_place() {
    let store = shop();
    let session = Session::new(&store);
    session.rows("DEFINE SCHEDULE monthly CRON '0 2 1 * *' IN 'Europe/Berlin' DO EMIT Month.closed NEW");
    let program = store.snapshot().indexes().program(ProgramKind::Schedule, "monthly").unwrap().clone();
    let schedule = ScheduleExecutor::new(&program.text, program.position).unwrap();
    let rhythm = schedule.rhythm(time("2024-03-01T01:00:00Z"));
    assert_eq!(rhythm.next(time("2024-03-01T01:00:00Z")), time("2024-04-01T00:00:00Z"));
    assert_eq!(rhythm.last(time("2024-04-01T00:00:00Z")), time("2024-04-01T00:00:00Z"));
    assert_eq!(rhythm.between(time("2024-01-01"), time("2025-01-01")), 12);
    let shown = session.lines("SHOW SCHEDULES");
    assert!(shown[0].contains(r#""every":"0 2 1 * * (Europe/Berlin)""#), "{shown:?}");
}

#[test]
fn a_schedule_makes_of_an_instant_what_it_says() {
    let store = shop();
    let session = Session::new(&store);
    session
        .rows("DEFINE SCHEDULE nightly EVERY 1d AT '02:00' DO EMIT Day.closed NEW {day: date(NOW)} AT NOW");
    let program = store.snapshot().indexes().program(ProgramKind::Schedule, "nightly").unwrap().clone();
    let schedule = ScheduleExecutor::new(&program.text, program.position).unwrap();
    let group = schedule.effects(time("2024-05-30T02:00:00Z"), &store.snapshot()).unwrap().unwrap();
    assert_eq!(group.key.as_deref(), Some("$schedule nightly 5 1717034400000"));
    let event = &group.events[0];
    assert_eq!(event.data.to_string(), "{\"day\":\"2024-05-30\"}");
    assert_eq!(event.timestamp, Some(time("2024-05-30T02:00:00Z")));
    assert_eq!(event.actor.as_ref().unwrap().to_string(), "Schedule nightly");
}
