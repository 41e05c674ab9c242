//! Several `EXPECT` on one write: all of them must hold, and no event that one of several queries matches may be there.

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::error::Conflict;

#[test]
fn all_that_is_expected_must_hold_and_what_does_not_is_told() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("EMIT Course.opened c1 INDEX BY course = 'c1'");
    session.rows("EMIT Student.joined s1 INDEX BY student = 's1'");
    let none = |by: &str| format!("EXPECT NONE ('*' BY {by})");
    let write = |expect: &str| format!("EMIT Course.renamed c1 {expect}");
    let both = format!("EXPECT VERSION 1 EXPECT EXISTS {}", none("course = 'c2'"));
    session.rows(&write(&both));
    let refused = conflict(session.run(&write(&both)));
    assert_eq!((refused.entity(), refused.found_version()), (Some("Course c1"), Some(2)));
    // Wherever it stands.
    for (expect, found) in [
        (
            format!("{} {}", none("course = 'c2'"), none("student = 's1'")),
            "BY student = 's1', found Student.joined at #2",
        ),
        (
            format!("{} {}", none("student = 's1'"), none("course = 'c2'")),
            "BY student = 's1', found Student.joined at #2",
        ),
        (
            format!("{} EXPECT NEW", none("course = 'c2'")),
            "Course c1: expected no event yet, found version 2",
        ),
        (
            format!("EXPECT NEW {}", none("course = 'c2'")),
            "Course c1: expected no event yet, found version 2",
        ),
    ] {
        let event = conflict(session.run(&write(&expect))).to_string();
        assert!(event.contains(found), "{expect}: {event}");
        let group = conflict(session.run(&format!("ATOMIC ({}) {expect}", write("")))).to_string();
        assert!(group.contains(found), "{expect}: {group}");
    }
    let told =
        session.lines(&format!("EXPLAIN {}", write(&both.replace("VERSION 1", "VERSION 2")))).join("\n");
    for line in ["EXPECT NONE ('*' BY course = 'c2') holds", "EXPECT VERSION 2 holds", "EXPECT EXISTS holds"]
    {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn what_verbs_make_is_held_to_all_of_it() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE VERB Rename ON Course EMIT renamed EXPECT EXISTS EXPECT VERSION 1");
    assert_eq!(conflict(session.run("PERFORM Rename Course c1")).found_version(), Some(0));
    session.rows("EMIT Course.opened c1");
    session.rows("PERFORM Rename Course c1");
    assert_eq!(conflict(session.run("PERFORM Rename Course c1")).expected_version(), Some(1));
    let wrong = session.error("DEFINE VERB Other ON Course EMIT renamed EXPECT NEW EXPECT NONE ('*')");
    assert!(wrong.contains("EXPECT NONE belongs to PERFORM"), "{wrong}");
}

#[test]
fn of_many_writers_that_looked_at_the_same_one_wins() {
    let store = store(100);
    let session = Session::new(&store);
    session.rows("EMIT Course.opened c1 INDEX BY course = 'c1'");
    session.rows("EMIT Student.joined s1 INDEX BY student = 's1'");
    for _ in 0..8 {
        let head = store.snapshot().head();
        // One meets the other by the course, or by the student, or by both.
        let write = |n: usize| {
            let index = ["course = 'c1'", "student = 's1'", "course = 'c1', student = 's1'"][n % 3];
            format!(
                "EMIT Enrolment.made INDEX BY {index} EXPECT NONE ('*' BY course = 'c1' OR '*' BY student = 's1' SINCE {head})"
            )
        };
        let won = std::thread::scope(|scope| {
            let (store, write) = (&store, &write);
            let threads: Vec<_> =
                (0..6).map(|n| scope.spawn(move || Session::new(store).run(&write(n)))).collect();
            let answers = threads.into_iter().map(|thread| thread.join().unwrap());
            answers
                .filter(|answer| answer.as_ref().map_err(|error| assert!(error.is_conflict())).is_ok())
                .count()
        });
        assert_eq!((won, store.snapshot().head()), (1, head.next()));
    }
}

#[test]
fn what_is_absent_comes_to_be_once() {
    let store = store(100);
    let session = Session::new(&store);
    for _ in 0..6 {
        let won = std::thread::scope(|scope| {
            let store = &store;
            let create = move || Session::new(store).run("EMIT Order.created 1 EXPECT ABSENT");
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(create)).collect();
            let answers = threads.into_iter().map(|thread| thread.join().unwrap());
            answers
                .filter(|answer| answer.as_ref().map_err(|error| assert!(error.is_conflict())).is_ok())
                .count()
        });
        assert_eq!(won, 1);
        session.rows("EMIT Order.deleted 1 EXPECT EXISTS");
    }
}

#[test]
fn a_state_that_an_included_event_made_is_told() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Trip INCLUDE 'Car.*' BY trip ON begun MERGE ON 'Car.built' MERGE ON 'Car.scrapped' DELETE ELSE IGNORE");
    session.rows("EMIT Trip.seen 1 EXPECT ABSENT");
    session.rows("EMIT Car.built 7 INDEX BY trip = 1");
    let refused = conflict(session.run("EMIT Trip.begun 1 EXPECT ABSENT"));
    assert_eq!(
        refused.to_string(),
        "Trip 1: expected no state, found version 1, last Trip.seen at #2, and a state by Car.built at #3"
    );
    assert_eq!((refused.position(), refused.found_version()), (Some(3), Some(1)));
    session.rows("EMIT Car.scrapped 7 INDEX BY trip = 1");
    let told = session.lines("EXPLAIN EMIT Trip.begun 1 EXPECT ABSENT").join("\n");
    assert!(told.contains("EXPECT ABSENT holds: version 1, last Trip.seen"), "{told}");
    session.rows("EMIT Trip.begun 1 EXPECT ABSENT");
}

#[test]
fn what_a_group_makes_or_ends_by_inclusion_is_not_before_it() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Trip INCLUDE 'Car.*' BY trip ON begun MERGE ON 'Car.built' MERGE ON 'Car.scrapped' DELETE ELSE IGNORE");
    session.rows("DEFINE VERB Start ON Car EMIT Trip.begun ON Trip (data.trip)");
    let group = |car: &str, number: u8| {
        format!(
            "ATOMIC (EMIT Car.{car} {number} INDEX BY trip = {number}; PERFORM Start Car {number} {{trip: {number}}})"
        )
    };
    // Trip 7 is joined by what the verb makes, behind the car that gives it a state, or takes it.
    session.rows(&format!("{} EXPECT ABSENT", group("built", 7)));
    session.rows(&format!("{} EXPECT EXISTS", group("scrapped", 7)));
    // The trip was begun behind that, and has a state.
    session.rows("EMIT Trip.seen 7 EXPECT EXISTS");
    session.rows("EMIT Car.built 8 INDEX BY trip = 9");
    session.rows("EMIT Car.scrapped 8 INDEX BY trip = 9");
    let refused = conflict(
        session
            .run("ATOMIC (EMIT Car.built 9 INDEX BY trip = 9; PERFORM Start Car 9 {trip: 9}) EXPECT EXISTS"),
    );
    assert!(matches!(&refused, Conflict::Exists { entity, .. } if entity == "Car 9"), "{refused}");
    let own = "ATOMIC (EMIT Car.built 8 INDEX BY trip = 9; PERFORM Start Car 8 {trip: 9}) EXPECT EXISTS";
    let refused = conflict(session.run(own));
    assert!(matches!(&refused, Conflict::Exists { entity, .. } if entity == "Trip 9"), "{refused}");
}

const KINDS: [&str; 3] = ["A.a", "A.b", "B.a"];
const PATTERNS: [&str; 4] = ["A.*", "B.a", "A.b", "*"];

/// A pattern, and a value of `k`.
type Queried = (usize, Option<u8>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is there exists, and what is not is absent: one of the two, as a fold of every event has it.
    #[test]
    fn absent_is_what_does_not_exist(
        steps in prop::collection::vec((0usize..4, any::<bool>()), 1..20), defined in any::<bool>(),
    ) {
        let store = store(4);
        let session = Session::new(&store);
        if defined {
            session.rows("DEFINE ENTITY Order ON created MERGE ON noted IGNORE ON deleted DELETE");
        }
        let mut exists = false;
        for (kind, absent) in steps {
            let name = ["created", "deleted", "noted", "noted"][kind];
            let expected = if absent { "ABSENT" } else { "EXISTS" };
            let text = format!("EMIT Order.{name} 1 EXPECT {expected}");
            let answer = session.run(&text);
            prop_assert!(answer.is_ok() == (exists != absent), "{text}: {answer:?}");
            if answer.is_ok() {
                exists = match name {
                    "created" => true,
                    "deleted" => false,
                    _ => exists || !defined,
                };
            }
        }
    }

    /// A union finds what one of its queries finds, and several conditions refuse what one of them refuses.
    #[test]
    fn conditions_refuse_what_a_look_at_every_event_refuses(
        log in prop::collection::vec((0..KINDS.len(), 0u8..3), 1..12),
        asked in prop::collection::vec(
            (prop::collection::vec((0..PATTERNS.len(), prop::option::of(0u8..4)), 1..4), 0u64..12), 1..4),
    ) {
        let store = store(4);
        let session = Session::new(&store);
        for (kind, k) in &log {
            session.rows(&format!("EMIT {} 1 INDEX BY k = {k}", KINDS[*kind]));
        }
        let head = log.len() as u64;
        let (mut expect, mut allowed) = (String::new(), true);
        for (queries, after) in &asked {
            let after = *after.min(&head);
            let said: Vec<String> = queries.iter().map(|(pattern, k)| {
                let by = k.map(|k| format!(" BY k = {k}")).unwrap_or_default();
                format!("'{}'{by}", PATTERNS[*pattern])
            }).collect();
            expect.push_str(&format!(" EXPECT NONE ({} SINCE #{after})", said.join(" OR ")));
            let meets = |(pattern, wanted): &Queried, (kind, k): &(usize, u8)| {
                PATTERNS[*pattern].parse::<crate::pattern::Pattern>().unwrap().matches_text(KINDS[*kind])
                    && wanted.is_none_or(|wanted| wanted == *k)
            };
            allowed &= !log.iter().skip(after as usize).any(|event| queries.iter().any(|query| meets(query, event)));
        }
        let answer = session.run(&format!("EMIT C.c 1{expect}"));
        prop_assert!(answer.is_ok() == allowed, "{expect}: {answer:?}");
        prop_assert_eq!(store.snapshot().head(), Position(head + u64::from(allowed)));
    }
}
