//! `ID`: an event that its caller names is in the log once, and whoever says it again gets the one that is there.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::error::Conflict;

#[test]
fn an_event_said_again_by_its_id_is_the_one_that_is_there() {
    for memtable in [2, 100] {
        let store = store(memtable);
        let session = Session::new(&store);
        let paid = "EMIT Order.paid 1 {amount: 5, by: 'card'} BY User 7 INDEX BY b = 2, a = 'x' ID 'pay-1'";
        let first = session.lines(paid);
        session.rows("EMIT Order.paid 2");
        let again = |text: &str| {
            let whole = first[0].strip_suffix('}').unwrap();
            assert_eq!(session.lines(text), [format!("{whole},\"repeated\":true}}")]);
        };
        again(paid);
        // In whatever order it is said; and what is expected of the log was looked at the first time.
        again(
            "EMIT Order.paid 1 {by: 'card', amount: 5} ID 'pay-1' INDEX BY a = 'x', b = 2 BY User 7 EXPECT NEW",
        );
        again(&format!("{paid} EXPECT NONE ('*' BY unknown = 1)"));
        store.checkpoint().unwrap();
        again(paid);
        assert_eq!(store.snapshot().head(), Position(2));
        let told = session.lines(&format!("EXPLAIN {paid}")).join("\n");
        assert!(told.contains("the id 'pay-1' was met at #1: that event is given back"), "{told}");
    }
}

#[test]
fn what_differs_from_the_event_of_an_id_is_told() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows(
        "EMIT Order.paid 1 {amount: 5} BY User 7 AT '2024-01-01' META {ip: 1} KEY 'k' INDEX BY a = 1 ID 'x'",
    );
    let same = "EMIT Order.paid 1 {amount: 5} BY User 7 META {ip: 1} INDEX BY a = 1 ID 'x'";
    session.rows(same);
    for (from, to, differs) in [
        ("paid", "sent", "type"),
        ("paid 1", "paid 2", "target"),
        ("amount: 5", "amount: 6", "data"),
        ("User 7", "User 8", "actor"),
        ("ip: 1", "ip: 2", "metadata"),
        ("a = 1", "a = '1'", "index values"),
        ("ID", "AT '2024-01-02' ID", "time"),
        ("ID", "CAUSED BY Mail.sent 7 ID", "cause"),
        ("ID", "KEY 'other' ID", "key"),
    ] {
        let refused = conflict(session.run(&same.replace(from, to)));
        let Conflict::Id { id, position, differs: found, .. } = &refused else { panic!("{refused}") };
        assert_eq!((id.as_str(), position, found.join(", ")), ("x", &1, differs.to_owned()));
        assert_eq!(refused.position(), Some(1));
    }
    let refused = conflict(session.run(&same.replace('5', "6"))).to_string();
    assert_eq!(
        refused,
        "the id x: expected the event that has this id already, Order.paid on Order 1 {\"amount\":5} BY User 7 at #1, found \
         Order.paid on Order 1 {\"amount\":6} BY User 7 (with other data)"
    );
    assert_eq!(store.snapshot().head(), Position(1));
    let told = session.lines(&format!("EXPLAIN {}", same.replace('5', "6"))).join("\n");
    assert!(told.contains("would be refused: conflict: the id x"), "{told}");
    // A key comes first, and has the id for a part of what it stands for.
    let refused = conflict(session.run(&same.replace("'x'", "'y' KEY 'k' AT '2024-01-01'")));
    assert!(matches!(&refused, Conflict::Key { differs, .. } if differs == &["id"]), "{refused}");
}

#[test]
fn a_group_is_known_by_the_ids_of_all_its_events() {
    let store = store(3);
    let session = Session::new(&store);
    let group = |ids: &[&str]| {
        let each = ids.iter().map(|id| format!("EMIT Order.paid 1 ID '{id}'"));
        format!("ATOMIC ({})", each.collect::<Vec<_>>().join("; "))
    };
    let first = session.positions(&group(&["a", "b"]));
    assert_eq!(first, [1, 2]);
    assert_eq!(session.positions(&group(&["a", "b"])), first);
    let refused = conflict(session.run(&group(&["a", "c"]))).to_string();
    assert_eq!(refused, "a group of 2 ids: expected all of its ids known, or none, found 'c' is new");
    let refused = conflict(session.run("ATOMIC (EMIT Order.paid 1 ID 'a'; EMIT Order.paid 1)")).to_string();
    assert!(refused.contains("the id 'a'") && refused.contains("that of #1"), "{refused}");
    assert!(session.error(&group(&["d", "d"])).contains("each id once, found 'd' twice"));
    assert_eq!(store.snapshot().head(), Position(2));
}

#[test]
fn what_is_another_event_each_time_has_no_id_without_a_key() {
    let store = store(3);
    let session = Session::new(&store);
    for text in ["EMIT Order.paid NEW", "EMIT Order.paid 1 {at: NOW}", "EMIT Order.paid 1 AT -1h"] {
        let error = session.error(&format!("{text} ID 'x'"));
        assert!(error.contains("or a KEY beside it"), "{error}");
        let keyed = format!("{text} ID '{text}' KEY '{text}'");
        let first = session.positions(&keyed);
        assert_eq!(session.positions(&keyed), first);
    }
    for (text, part) in [
        ("ATOMIC (EMIT Order.paid 1) ID 'x'", "say it inside the brackets"),
        ("DEFINE VERB Pay ON Order EMIT paid ID 'x'", "ID is of one event"),
        ("DEFINE REACTION pay ON 'Order.*' DO EMIT Bill.made ID 'x'", "ID is of one event"),
        ("EMIT Order.paid 1 ID ''", "a text of 1 to 256 bytes"),
    ] {
        let error = session.error(text);
        assert!(error.contains(part), "{error}");
    }
    session.rows("DEFINE VERB Pay ON Order EMIT paid");
    assert!(session.error("PERFORM Pay Order 1 ID 'x'").contains("ID is of one event"));
}

#[test]
fn whoever_is_forgotten_does_not_come_back_by_an_id() {
    if cfg!(not(feature = "encryption")) {
        return;
    }
    // On a log that is shared nothing is private.
    let mut options = Options::new();
    options.own_journal = true;
    let store = store_with(3, options);
    let session = Session::new(&store);
    session.rows("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name");
    let named = "EMIT User.named 7 {name: 'Ann', n: 1} ID 'x'";
    let first = session.positions(named);
    assert_eq!(session.positions(named), first);
    session.rows("FORGET User 7");
    assert_eq!(session.positions(named), first);
    assert!(session.run(&named.replace("n: 1", "n: 2")).is_err());
}

#[test]
fn an_event_of_another_shape_since_is_known_by_what_was_appended() {
    let store = store(3);
    let session = Session::new(&store);
    session.rows("DEFINE EVENT Order.paid {amount: number}");
    let paid = "EMIT Order.paid 1 {amount: 5} ID 'x'";
    session.rows(paid);
    session.rows(
        "DEFINE EVENT Order.paid {total: number} UPCAST SET data.total = data.amount DELETE data.amount",
    );
    let again = session.lines(paid);
    assert!(again[0].contains("\"data\":{\"total\":5}") && again[0].contains("repeated"), "{again:?}");
}

#[test]
fn of_many_that_say_the_same_one_appends_it() {
    let store = store(100);
    for n in 0..8 {
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|writer| {
                    let store = &store;
                    let text = format!("EMIT Order.paid 1 {{amount: {}}} ID 'pay-{n}'", writer % 2);
                    scope.spawn(move || Session::new(store).run(&text))
                })
                .collect();
            let answers = threads.into_iter().map(|thread| thread.join().unwrap());
            answers
                .filter(|answer| answer.as_ref().map_err(|error| assert!(error.is_conflict())).is_ok())
                .count()
        });
        // Those that say what the first said.
        assert_eq!((won, store.snapshot().head()), (3, Position(n + 1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Groups of events with ids, held to a map of what each id says.
    #[test]
    fn an_id_says_one_thing(
        groups in prop::collection::vec(prop::collection::vec((0u8..5, 0u8..2, any::<bool>()), 1..4), 1..16),
    ) {
        let store = store(4);
        let session = Session::new(&store);
        let (mut known, mut head) = (BTreeMap::<u8, (u8, u64)>::new(), 0);
        for group in groups {
            let said: Vec<String> = group.iter().map(|(id, amount, named)| {
                let id = if *named { format!(" ID 'id-{id}'") } else { String::new() };
                format!("EMIT Order.paid 1 {{amount: {amount}}}{id}")
            }).collect();
            let text = if said.len() == 1 { said[0].clone() } else { format!("ATOMIC ({})", said.join("; ")) };
            let named: Vec<(u8, u8)> = group.iter().filter(|(.., named)| *named).map(|(id, n, _)| (*id, *n)).collect();
            let once = named.iter().map(|(id, _)| id).collect::<std::collections::BTreeSet<_>>().len() == named.len();
            let met: Vec<&(u8, u64)> = named.iter().filter_map(|(id, _)| known.get(id)).collect();
            let same = named.iter().all(|(id, n)| known.get(id).is_none_or(|(first, _)| first == n));
            let answer = session.run(&text);
            if once && met.is_empty() {
                for (at, (id, amount, named)) in (head + 1..).zip(&group) {
                    if *named {
                        known.insert(*id, (*amount, at));
                    }
                }
                prop_assert_eq!(positions(&answer.unwrap().0), (head + 1..=head + group.len() as u64).collect::<Vec<_>>());
                head += group.len() as u64;
            } else if once && same && met.len() == group.len() {
                prop_assert_eq!(positions(&answer.unwrap().0), met.iter().map(|(_, at)| *at).collect::<Vec<_>>());
            } else {
                prop_assert!(answer.is_err(), "{text}: {answer:?}");
            }
            prop_assert_eq!(store.snapshot().head(), Position(head));
        }
    }
}
