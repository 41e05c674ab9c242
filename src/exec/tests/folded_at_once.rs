//! A fold puts what is merged together as it is stored: it makes what folding one event after another makes, by any definition.

use proptest::prelude::*;

use super::*;
use crate::entity::PositionRange;
use crate::store::snapshot::FoldBound;
use crate::store::state::fold::Folded;

const DEFINITIONS: [&str; 7] = [
    "",
    "DEFINE ENTITY User",
    "DEFINE ENTITY User INITIAL {known: TRUE, o: {p: 0}} SNAPSHOT EVERY 3 ELSE MERGE",
    "DEFINE ENTITY User ON b SET n = concat(state.name, data.name), o.q = data.x ON c IGNORE ELSE MERGE",
    "DEFINE ENTITY User ON c DELETE ON b MERGE",
    "DEFINE ENTITY User ON b MERGE FORGOTTEN SET name = 'someone', o.p = 7",
    // It cannot be folded where there is no number.
    "DEFINE ENTITY User INITIAL {x: 1} ON c SET x = state.x + data.x ELSE MERGE",
];

fn any_member() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        3 => (0i64..3).prop_map(|n| n.to_string()),
        2 => Just("NULL".to_owned()),
        1 => Just("[1, {p: NULL}]".to_owned()),
        2 => prop::collection::vec(("[pq]", prop_oneof![Just("NULL"), Just("1"), Just("{r: NULL, s: 2}")]), 0..3).prop_map(|members| {
            let members: std::collections::BTreeMap<_, _> = members.into_iter().collect();
            format!("{{{}}}", members.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", "))
        }),
    ];
    ("[xyo]", value).prop_map(|(name, value)| format!("{name}: {value}"))
}

/// What is said, one statement after another; a definition comes anew once, too.
fn any_statement() -> impl Strategy<Value = String> {
    let data =
        (prop::collection::vec(any_member(), 0..4), prop::option::of("[A-C]")).prop_map(|(members, name)| {
            let mut by_name: std::collections::BTreeMap<char, String> =
                members.into_iter().filter_map(|member| Some((member.chars().next()?, member))).collect();
            by_name.extend(name.map(|name| ('n', format!("name: '{name}'"))));
            by_name.into_values().collect::<Vec<_>>().join(", ")
        });
    prop_oneof![
        30 => ("a|b|b|c", 1u8..3, data).prop_map(|(kind, id, data)| format!("EMIT User.{kind} {id} {{{data}}}")),
        2 => (1u8..3).prop_map(|id| format!("EMIT User.deleted {id}")),
        1 => (1u8..3).prop_map(|id| format!("FORGET User {id}")),
        1 => (1usize..DEFINITIONS.len()).prop_map(|at| DEFINITIONS[at].to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_merged_at_once_is_what_is_merged_one_by_one(
        definition in 0..DEFINITIONS.len(),
        statements in prop::collection::vec(any_statement(), 1..30),
        memtable in prop_oneof![Just(3usize), Just(1000)],
    ) {
        let mut options = Options::new();
        options.own_journal = true;
        let store = store_with(memtable, options);
        let session = Session::new(&store);
        session.rows("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, data.o.p");
        for statement in std::iter::once(DEFINITIONS[definition].to_owned()).chain(statements) {
            if !statement.is_empty() {
                // Nobody is forgotten who was not there.
                let _ = session.run(&statement);
            }
        }
        let snapshot = store.snapshot();
        let (fold, limits, through) = (snapshot.fold_of("User").unwrap(), snapshot.limits(), snapshot.head());
        for id in ["1", "2"] {
            let entity = Entity::from(("User", id));
            let mut expected = Folded::default();
            for event in snapshot.stream(&entity, &*fold, PositionRange::through(through)).unwrap() {
                let event = event.unwrap();
                expected.add(&*fold, &event.record().unwrap(), event.own, &limits).unwrap();
            }
            let all = snapshot.fold_all(&entity, &*fold, through).unwrap();
            prop_assert_eq!(&all, &expected);
            prop_assert_eq!(all.encode().unwrap(), expected.encode().unwrap(), "the order of members");
            prop_assert_eq!(snapshot.fold(&entity, FoldBound { through, by: None }).unwrap(), expected);
        }
    }
}
