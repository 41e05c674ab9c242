//! `EXPECT NONE` and the expectations of groups: what is refused is what a look at every event would refuse.

use proptest::prelude::*;

use super::*;
use crate::entity::{Position, Version};
use crate::error::Conflict;
use crate::event::{Expect, NewEvent};
use crate::pattern::Pattern;
use crate::store::append_request::{AppendOutcome, AppendRequest, Prepared};

#[test]
fn a_coupon_is_redeemed_once() {
    for memtable in [2, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        let redeem = |order: u32, coupon: &str| {
            format!(
                "EMIT Coupon.redeemed ON Order {order} {{coupon: '{coupon}'}} BY User 7 INDEX BY coupon \
                 EXPECT NONE ('Coupon.redeemed' BY coupon = '{coupon}')"
            )
        };
        // The first of all brings the name with it.
        session.rows(&redeem(1, "X1"));
        session.rows(&redeem(2, "X2"));
        let refused = conflict(session.run(&redeem(3, "X1")));
        assert_eq!(
            refused.to_string(),
            "EXPECT NONE: expected no 'Coupon.redeemed' BY coupon = 'X1', found Coupon.redeemed at #1 on Order 1 by User 7, \
             2024-06-01T12:00:00Z"
        );
        assert_eq!(refused.position(), Some(1));
        store.checkpoint().unwrap();
        assert_eq!(conflict(session.run(&redeem(4, "X2"))).position(), Some(2));
        // With a key it has happened already, and is not to be refused.
        session.rows(&format!("{} KEY 'k'", redeem(5, "X3")));
        session.rows(&format!("{} KEY 'k'", redeem(5, "X3")));
        assert_eq!(store.snapshot().head(), Position(3));
    }
}

#[test]
fn a_name_that_nothing_knows_is_an_error() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 {coupon: 'X1'}");
    let text = "EMIT Order.paid 1 EXPECT NONE ('Order.*' BY coupon = 'X1')";
    let error = session.error(text);
    for part in ["INDEX BY coupon here", "DEFINE INDEX coupon ON 'Order.*' AS data.coupon"] {
        assert!(error.contains(part), "{error}");
    }
    let event = |expect: Expect| AppendRequest {
        events: vec![NewEvent::new("Order.paid").on(("Order", 1)).expect(expect)],
        ..AppendRequest::default()
    };
    let error = store.append(event(Expect::none("Order.*").by("coupon", "X1").into())).unwrap_err();
    assert!(error.to_string().contains("DEFINE INDEX coupon ON 'Order.*'"), "{error}");
    for (expect, part) in [
        (Expect::none("Order"), "Order"),
        (Expect::none("Order.*").by("coupon", [1]), "text, a number or a boolean"),
        (Expect::none("Order.*").by("actor", "User 7"), "by_actor"),
        (Expect::none("Order.*").since(Position(2)), "the head, which is #1"),
        (Expect::none("Order.*").by_actor(("", 1)), "kind"),
    ] {
        let error = store.append(event(expect.into())).unwrap_err();
        assert!(!error.is_conflict() && error.to_string().contains(part), "{error}");
    }
    session.rows("DEFINE INDEX coupon ON 'Order.*' AS data.coupon");
    assert_eq!(conflict(session.run(text)).position(), Some(1));
}

#[test]
fn the_text_of_a_condition_is_the_language() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 'it''s' {n: 1} BY User 'a b' INDEX BY coupon = 'X1', n = 5 KEY 'it''s'");
    for text in [
        "'*'",
        "'Order.*,User.*' BY target = Order 1",
        "'*' BY target = Order 'it''s', actor = User 'a b'",
        "'*' BY target IN (Order 1, `Old order` 'x y')",
        "'*' BY type = 'Order.paid', key = 'it''s'",
        "'*' BY id = 'x-1', correlation = 'it''s'",
        "'*' BY cause = #1 SINCE #1",
        "'*' BY cause = `Cart.sent` 'cmd-1', coupon != 'it''s' SINCE '2024-01-01T00:00:00Z'",
        "'*' BY type IN ('Order.paid', 'Order.created'), cause IN (#1, `my cart` 'c 1')",
        "'*' BY n BETWEEN 1 AND 2.5, coupon IN ('X1', 'X2')",
        "'*' BY n > -1, n <= 7, coupon = 'X1'",
    ] {
        let absence = |text: &str| {
            let plan = session.plan(&format!("EMIT Order.paid 1 EXPECT NONE ({text})"), &store.snapshot());
            let Ok(Plan::Write(crate::plan::WritePlan::Append(mut append))) = plan else {
                panic!("{text}: {plan:?}")
            };
            let Some(crate::plan::AppendAction::Emit(emit)) = append.acts.pop() else { panic!("{text}") };
            emit.none.into_iter().next().unwrap()
        };
        let bound = absence(text);
        assert_eq!(bound.to_string(), text);
        assert_eq!(absence(&bound.to_string()), bound);
    }
}

#[test]
fn since_is_a_position_a_time_or_a_version_of_the_target() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 BY User 7 AT '2024-01-01'");
    session.rows("EMIT Order.paid 2 BY User 7 AT '2024-02-01'");
    session.rows("EMIT Order.paid 1 BY User 8 AT '2024-03-01'");
    for (inside, stands_in_the_way) in [
        ("'Order.*' SINCE #0", Some(1)),
        ("'Order.*' SINCE #2", Some(3)),
        ("'Order.*' SINCE #3", None),
        ("'Order.*' SINCE 'e2'", Some(3)),
        ("SINCE '2024-02-01'", Some(2)),
        ("SINCE '2024-02-01T00:00:01'", Some(3)),
        ("SINCE 2024-03-02", None),
        ("SINCE NOW", None),
        ("SINCE -100d", Some(3)),
        ("SINCE VERSION 1", Some(2)),
        ("SINCE VERSION 2", None),
        ("BY actor = User 7", Some(1)),
        ("BY actor = User 7 SINCE #2", None),
        ("BY target = Order 1, actor = User 8", Some(3)),
        ("BY type IN ('Order.paid', 'Order.sent')", Some(2)),
        ("BY id = 'e2'", Some(2)),
        ("'Order.*' BY id = 'nobody'", None),
    ] {
        let outcome = session.run(&format!("EXPLAIN EMIT Day.closed ON Order 1 EXPECT NONE ({inside})"));
        let told: Vec<String> =
            outcome.unwrap().0.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
        let told = told.join("\n");
        let text = format!(
            "ATOMIC (EMIT Day.closed ON Order 1 EXPECT NONE ({inside}); EMIT Day.closed 1 EXPECT VERSION 9)"
        );
        let refused = conflict(session.run(&text));
        match stands_in_the_way {
            Some(position) => {
                assert!(matches!(refused, Conflict::None { .. }), "{inside}: {refused}");
                assert_eq!(refused.position(), Some(position), "{inside}: {refused}");
                assert!(told.contains("does not hold: ") && told.contains(&format!("#{position}")), "{told}");
            }
            // The guard of the second event keeps the log as it is.
            None => {
                assert!(matches!(refused, Conflict::Version { .. }), "{inside}: {refused}");
                assert!(told.contains(") holds"), "{told}");
            }
        }
    }
    assert!(session.error("EMIT Day.closed EXPECT NONE (SINCE #9)").contains("beyond the head"));
    assert!(session.error("EMIT Day.closed EXPECT NONE (SINCE VERSION 1)").contains("one entity"));
}

#[test]
fn the_databases_own_events_are_none_without_a_pattern() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE INDEX n ON '*' AS data.n");
    session.rows("EMIT Order.created 1 {n: 5} EXPECT NONE ()");
    assert_eq!(conflict(session.run("EMIT Order.created 2 EXPECT NONE ()")).position(), Some(2));
    assert_eq!(conflict(session.run("EMIT Order.created 2 EXPECT NONE ('$*')")).position(), Some(1));
    assert_eq!(
        conflict(session.run("EMIT Order.paid 2 EXPECT NONE (BY n BETWEEN 4 AND 6)")).position(),
        Some(2)
    );
    session.rows("EMIT Order.paid 2 EXPECT NONE (BY n > 5)");
}

#[test]
fn before_an_event_its_group_counts_and_behind_the_brackets_it_does_not() {
    let store = store(3);
    let session = Session::new(&store);
    let reserve =
        |seat: &str, expect: &str| format!("EMIT Seat.reserved {seat} INDEX BY seat = '{seat}' {expect}");
    let none = "EXPECT NONE ('Seat.*' BY seat = 'a1')";
    let twice = format!("ATOMIC ({}; {})", reserve("a1", none), reserve("a1", none));
    // What was taken back is nowhere.
    let found = conflict(session.run(&twice));
    assert_eq!((found.position(), store.snapshot().head()), (None, Position(0)));
    assert!(found.to_string().contains("Seat.reserved before it in the same group"), "{found}");
    session.rows(&format!("ATOMIC ({}; {}) {none}", reserve("a1", ""), reserve("a1", "")));
    assert_eq!(conflict(session.run(&format!("ATOMIC ({}) {none}", reserve("a2", "")))).position(), Some(1));
}

#[test]
fn a_verb_is_not_asked_where_a_condition_does_not_hold() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Reserve ON Seat EMIT reserved {by: data.by} INDEX BY by");
    session.rows("PERFORM Reserve Seat 1 {by: 'ann'} EXPECT NEW");
    session.rows("PERFORM Reserve Seat 2 {by: 'bob'} EXPECT NONE ('Seat.*' BY by = 'bob')");
    let again = "PERFORM Reserve Seat 3 {by: 'bob'} EXPECT NONE ('Seat.*' BY by = 'bob')";
    assert_eq!(conflict(session.run(again)).position(), Some(3));
    // What a verb makes counts for those behind it, and a group is checked before its verbs.
    let none = "EXPECT NONE ('Seat.*' BY by = 'eve')";
    let both =
        format!("ATOMIC (PERFORM Reserve Seat 4 {{by: 'eve'}}; PERFORM Reserve Seat 5 {{by: 'eve'}} {none})");
    let found = conflict(session.run(&both)).to_string();
    assert!(found.contains("Seat.reserved before it in the same group"), "{found}");
    let told = session.lines(&format!("EXPLAIN {both}")).join("\n");
    assert!(told.contains("does not hold: Seat.reserved at #4 on Seat 4"), "{told}");
    let behind = "ATOMIC (PERFORM Reserve Seat 4 {by: 'eve'}; EMIT Seat.paid 2)";
    let refused = conflict(session.run(&format!("{behind} EXPECT VERSION 1")));
    assert_eq!((refused.entity(), refused.found_version()), (Some("Seat 4"), Some(0)));
    let told = session.lines(&format!("EXPLAIN {behind} EXPECT NEW")).join("\n");
    assert!(
        told.contains("Seat 4: EXPECT NEW holds") && told.contains("Seat 2: EXPECT NEW does not hold"),
        "{told}"
    );
    assert_eq!(session.rows(&format!("{behind} {none}")).len(), 2);
}

#[test]
fn what_a_group_expects_holds_for_each_of_its_entities_before_it() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("ATOMIC (EMIT A.made 1; EMIT A.used 1; EMIT A.made 2; EMIT Day.begun) EXPECT NEW");
    let refused = conflict(session.run("ATOMIC (EMIT A.made 3; EMIT A.used 1) EXPECT NEW"));
    assert_eq!(refused.to_string(), "A 1: expected no event yet, found version 2, last A.used at #2");
    assert_eq!((refused.expected_version(), refused.found_version()), (Some(0), Some(2)));
    let refused = conflict(session.run("ATOMIC (EMIT A.used 1; EMIT A.used 2) EXPECT VERSION 2"));
    assert_eq!((refused.entity(), refused.found_version()), (Some("A 2"), Some(1)));
    session.rows("EMIT A.used 2");
    session.rows("ATOMIC (EMIT A.used 1; EMIT A.used 1; EMIT A.used 2) EXPECT VERSION 2");
    session.rows("ATOMIC (EMIT A.used 1; EMIT A.deleted 2) EXPECT EXISTS");
    let refused = conflict(session.run("ATOMIC (EMIT A.used 1; EMIT A.used 2) EXPECT EXISTS"));
    assert!(matches!(&refused, Conflict::Exists { entity, .. } if entity == "A 2"), "{refused}");
    assert!(session.error("ATOMIC (EMIT Day.ended) EXPECT NEW").contains("an event with a target"));
    // One that has events, none of which makes a state, has another reason for that than one that was deleted.
    let found = |text: &str| conflict(session.run(text)).found();
    assert!(found("EMIT A.used 2 EXPECT EXISTS").starts_with("version 4, last A.deleted at #"));
    assert_eq!(found("EMIT B.made 1 EXPECT EXISTS"), "no event yet");
    session.rows("DEFINE ENTITY B ON made MERGE ON seen IGNORE");
    session.rows("EMIT B.seen 1");
    let ignored = found("EMIT B.made 1 EXPECT EXISTS");
    assert!(ignored.starts_with("version 1, last B.seen at #"), "{ignored}");
    assert!(ignored.ends_with(", and no event that makes a state"), "{ignored}");
}

#[test]
fn an_index_that_is_being_built_is_no_reason_to_find_nothing() {
    let mut options = Options::new();
    options.by_hand = true;
    let store = store_with(3, options);
    let session = Session::new(&store);
    session.rows("EMIT Order.created 1 {coupon: 'X1'}");
    store.checkpoint().unwrap();
    session.rows("DEFINE INDEX coupon ON 'Order.*' AS data.coupon");
    session.rows("EMIT Order.created 2 {coupon: 'X2'}");
    for _ in 0..2 {
        for (coupon, position) in [("X1", 1), ("X2", 3)] {
            let text = format!("EMIT Order.paid 1 EXPECT NONE ('Order.*' BY coupon = '{coupon}')");
            assert_eq!(conflict(session.run(&text)).position(), Some(position));
        }
        while store.work_by_hand().unwrap() {}
    }
}

/// Events of four types, some of which carry a value of `k`, and have one in their data.
#[derive(Debug, Clone, Copy)]
struct Said {
    kind: usize,
    own: Option<i64>,
    data: Option<i64>,
    actor: u8,
    hour: u8,
}

const KINDS: [&str; 4] = ["A.x", "A.y", "B.y", "P.probe"];
const PATTERNS: [&str; 5] = ["A.x", "A.*", "*", "A.y, B.y", "*.y"];

#[derive(Debug, Clone, Copy)]
struct Asked {
    pattern: usize,
    k: Option<i64>,
    actor: Option<u8>,
    /// So many of a hundred positions.
    since: Option<u64>,
    hour: Option<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Said>),
    Checkpoint,
    Define(usize),
    Drop,
    Build,
    /// In the language, or from a program.
    Probe(Asked, bool),
    /// Looked up, and committed after something else has happened.
    Late(Asked, Vec<Step>),
    /// Queued one after the other.
    Together(Vec<(Said, Asked)>),
}

fn said() -> impl Strategy<Value = Said> {
    let value = || prop::option::weighted(0.5, 0i64..4);
    (0..3usize, value(), value(), 0u8..2, 0u8..20).prop_map(|(kind, own, data, actor, hour)| Said {
        kind,
        own,
        data,
        actor,
        hour,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        0..PATTERNS.len(),
        prop::option::weighted(0.8, 0i64..4),
        prop::option::weighted(0.3, 0u8..2),
        prop::option::weighted(0.5, 0u64..=100),
        prop::option::weighted(0.2, 0u8..20),
    )
        .prop_map(|(pattern, k, actor, since, hour)| {
            let hour = hour.filter(|_| since.is_none());
            Asked { pattern, k, actor, since, hour }
        })
}

fn plain_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(said(), 1..9).prop_map(Step::Append),
        1 => Just(Step::Checkpoint),
        2 => (0..PATTERNS.len()).prop_map(Step::Define),
        1 => Just(Step::Drop),
        2 => Just(Step::Build),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => plain_step(),
        4 => (asked(), any::<bool>()).prop_map(|(asked, text)| Step::Probe(asked, text)),
        2 => (asked(), prop::collection::vec(plain_step(), 0..3)).prop_map(|(asked, steps)| Step::Late(asked, steps)),
        1 => prop::collection::vec((said(), asked()), 1..6).prop_map(Step::Together),
    ]
}

/// What the log is to be: none where the database's own events are.
#[derive(Debug, Default)]
struct Model {
    log: Vec<Option<Said>>,
    /// The definitions of `k` that are not replaced, with their patterns, and whether they are complete.
    defined: Vec<(usize, bool)>,
}

impl Model {
    /// The pattern of the index that a condition goes by if it is bound now.
    fn index(&self) -> Option<usize> {
        let complete = self.defined.iter().rev().find(|(_, complete)| *complete);
        complete.or(self.defined.last()).map(|(pattern, _)| *pattern)
    }

    fn after(&self, asked: &Asked) -> u64 {
        asked.since.map_or(0, |percent| self.log.len() as u64 * percent / 100)
    }

    /// The first event that is one of those.
    fn first(&self, asked: &Asked, after: u64, index: Option<usize>) -> Option<u64> {
        let meant =
            |pattern: usize, kind: &str| PATTERNS[pattern].parse::<Pattern>().unwrap().matches_text(kind);
        let is_one = |said: &Said| {
            let kind = KINDS[said.kind];
            let derived = said.data.filter(|_| index.is_some_and(|pattern| meant(pattern, kind)));
            meant(asked.pattern, kind)
                && asked.k.is_none_or(|k| said.own == Some(k) || derived == Some(k))
                && asked.actor.is_none_or(|actor| said.actor == actor)
                && asked.hour.is_none_or(|hour| said.hour >= hour)
        };
        let positions = self.log.iter().zip(1..).filter(|(_, position)| *position > after);
        positions.filter_map(|(said, position)| said.filter(is_one).map(|_| position)).next()
    }
}

fn at(hour: u8) -> Timestamp {
    time(&format!("2024-01-01T{hour:02}:00:00Z"))
}

fn event(said: &Said) -> NewEvent {
    let mut event = NewEvent::new(KINDS[said.kind]).by(("User", said.actor)).at(at(said.hour));
    if let Some(own) = said.own {
        event = event.index("k", own);
    }
    if let Some(data) = said.data {
        event = event.member("k", data);
    }
    event
}

const PROBE: Said = Said { kind: 3, own: None, data: None, actor: 9, hour: 23 };

fn expect(asked: &Asked, after: u64) -> Expect {
    let mut none = Expect::none(PATTERNS[asked.pattern]).since(Position(after));
    if let Some(k) = asked.k {
        none = none.by("k", k);
    }
    if let Some(actor) = asked.actor {
        none = none.by_actor(("User", actor));
    }
    if let Some(hour) = asked.hour {
        none = none.since_time(at(hour));
    }
    none.into()
}

fn text(asked: &Asked, after: u64) -> String {
    let by = [asked.k.map(|k| format!("k = {k}")), asked.actor.map(|actor| format!("actor = User {actor}"))];
    let by: Vec<String> = by.into_iter().flatten().collect();
    let mut text =
        format!("EMIT P.probe BY User 9 AT '{}' EXPECT NONE ('{}'", at(23), PATTERNS[asked.pattern]);
    if !by.is_empty() {
        text.push_str(&format!(" BY {}", by.join(", ")));
    }
    match asked.hour {
        Some(hour) => text.push_str(&format!(" SINCE '{}')", at(hour))),
        None => text.push_str(&format!(" SINCE #{after})")),
    }
    text
}

struct Run {
    store: Store,
    model: Model,
}

impl Run {
    fn plain(&mut self, step: &Step) {
        let session = Session::new(&self.store);
        match step {
            Step::Append(events) => {
                let group =
                    AppendRequest { events: events.iter().map(event).collect(), ..AppendRequest::default() };
                self.store.append(group).unwrap();
                self.model.log.extend(events.iter().copied().map(Some));
            }
            Step::Checkpoint => self.store.checkpoint().unwrap(),
            Step::Define(pattern) => {
                session.rows(&format!("DEFINE INDEX k ON '{}' AS data.k", PATTERNS[*pattern]));
                if self.model.defined.last().is_none_or(|(last, _)| last != pattern) {
                    self.model.defined.push((*pattern, false));
                    self.model.log.push(None);
                }
            }
            Step::Drop if self.model.defined.is_empty() => {}
            Step::Drop => {
                session.rows("DROP INDEX k");
                self.model.defined.clear();
                self.model.log.push(None);
            }
            Step::Build => {
                while self.store.work_by_hand().unwrap() {}
                if let Some(last) = self.model.defined.last_mut() {
                    last.1 = true;
                }
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Holds an outcome to the model, and adds to it what was appended.
    fn check(
        &mut self,
        appended: Said,
        asked: &Asked,
        expected: Option<u64>,
        outcome: Result<Option<AppendOutcome>>,
    ) {
        match (expected, outcome) {
            (None, Ok(_)) => self.model.log.push(Some(appended)),
            (Some(position), Err(Error::Conflict(conflict))) => {
                assert_eq!(conflict.position(), Some(position), "{asked:?}: {conflict}");
            }
            (expected, found) => {
                panic!("{asked:?}: expected {expected:?}, found {found:?}\n{:?}", self.model)
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Probe(asked, in_text) => {
                let after = self.model.after(asked);
                let expected = self.model.first(asked, after, self.model.index());
                let outcome = match in_text {
                    true => Session::new(&self.store).run(&text(asked, after)).map(|_| None),
                    false => self.store.append(guarded(&PROBE, asked, after)).map(Some),
                };
                self.check(PROBE, asked, expected, outcome);
            }
            Step::Late(asked, steps) => {
                let (after, index) = (self.model.after(asked), self.model.index());
                let prepared = Prepared::new(self.store.shared(), guarded(&PROBE, asked, after)).unwrap();
                steps.iter().for_each(|step| self.plain(step));
                let expected = self.model.first(asked, after, index);
                let outcome = self.store.shared().commits.commit(prepared).map(Some);
                self.check(PROBE, asked, expected, outcome);
            }
            Step::Together(several) => {
                let index = self.model.index();
                let afters: Vec<u64> = several.iter().map(|(_, asked)| self.model.after(asked)).collect();
                let queued = several.iter().zip(&afters);
                let queued: Vec<_> = queued
                    .map(|((said, asked), after)| self.store.submit(guarded(said, asked, *after)).unwrap())
                    .collect();
                for (((said, asked), after), queued) in several.iter().zip(afters).zip(queued) {
                    let outcome = queued.wait().map(Some);
                    let expected = self.model.first(asked, after, index);
                    self.check(*said, asked, expected, outcome);
                }
            }
            plain => self.plain(plain),
        }
    }
}

fn guarded(said: &Said, asked: &Asked, after: u64) -> AppendRequest {
    AppendRequest { events: vec![event(said).expect(expect(asked, after))], ..AppendRequest::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 300 }))]
    #[test]
    fn conditions_refuse_what_a_look_at_every_event_refuses(steps in prop::collection::vec(step(), 1..24)) {
        let mut options = Options::new();
        options.by_hand = true;
        let mut run = Run { store: store_with(10, options), model: Model::default() };
        // The name is known: that is another matter.
        run.plain(&Step::Append(vec![Said { kind: 0, own: Some(99), data: None, actor: 3, hour: 0 }]));
        steps.iter().for_each(|step| run.step(step));
        prop_assert_eq!(run.store.snapshot().head(), Position(run.model.log.len() as u64));
    }
}

/// Few events of a list are looked at one by one; more are chosen from as by any query.
#[test]
fn a_long_list_is_no_other_than_a_short_one() {
    let store = store(50);
    let session = Session::new(&store);
    let many = |n: u64| NewEvent::new(if n == 150 { "A.y" } else { "A.x" }).index("k", 1).by(("User", n % 3));
    let events = (1..=200).map(many).collect();
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
    for _ in 0..2 {
        let refused = conflict(session.run("EMIT B.y EXPECT NONE ('A.y' BY k = 1)"));
        assert_eq!(refused.position(), Some(150));
        let refused =
            conflict(session.run("EMIT B.y 1 EXPECT NONE ('A.*' BY k = 1, actor = User 2 SINCE #150)"));
        assert_eq!(refused.position(), Some(152));
        session.rows("EMIT B.z EXPECT NONE ('A.y' BY k = 1 SINCE #150)");
        store.checkpoint().unwrap();
    }
    assert_eq!(Version(0), store.snapshot().version(&Entity::from(("B", 1))).unwrap());
}
