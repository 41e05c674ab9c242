//! Each error comes back as it went.

use proptest::prelude::*;

use super::super::Witness;
use super::*;
use crate::time::Timestamp;
use crate::value::Value;
use crate::value::tests::any_value;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        // What stands between the parts of messages stands in them, too.
        "(|a|: expected a, found |stopped: |, found |conflict: |\"|\\\\|\n){0,3}",
    ]
}

fn fault() -> impl Strategy<Value = SyntaxFault> {
    let sizes = (any::<usize>(), any::<usize>(), any::<usize>(), any::<usize>(), 1..9usize);
    let texts = (text(), text(), text(), prop::option::of(text()), prop::collection::vec(text(), 0..10));
    (sizes, texts, any::<bool>()).prop_map(|(sizes, texts, incomplete)| {
        let (offset, length, line, column, statement) = sizes;
        let (message, source_line, found, suggestion, expected) = texts;
        let mut fault = SyntaxFault {
            message,
            offset,
            length,
            line,
            column,
            source_line,
            expected,
            found,
            suggestion,
            incomplete,
            statement,
        };
        // A message that says what would be said without one is none.
        let own = SyntaxFault { message: String::new(), ..fault.clone() }.sentence();
        if fault.message == own {
            fault.message.clear();
        }
        fault
    })
}

fn witness() -> impl Strategy<Value = Witness> {
    let of = (prop::option::of(text()), prop::option::of(text()));
    (any::<u64>(), text(), of, any::<i32>()).prop_map(|(position, kind, (target, actor), seconds)| Witness {
        target,
        actor,
        ..Witness::new(position, kind, Timestamp::from_millis(i64::from(seconds) * 1_001))
    })
}

fn conflict() -> impl Strategy<Value = Conflict> {
    let last = || prop::option::of(witness());
    let texts = || prop::collection::vec(text(), 0..3);
    let count = any::<u64>;
    let leaf = prop_oneof![
        (text(), count(), count(), last()).prop_map(|(entity, expected, found, last)| Conflict::Version {
            entity,
            expected,
            found,
            last
        }),
        (text(), count(), last()).prop_map(|(entity, found, last)| Conflict::New { entity, found, last }),
        (text(), count(), last(), last(), any::<bool>()).prop_map(|(entity, found, last, ended, ignored)| {
            Conflict::Exists { entity, found, last, ended, ignored }
        }),
        (text(), count(), last(), last()).prop_map(|(entity, found, last, made)| Conflict::Absent {
            entity,
            found,
            last,
            made
        }),
        (text(), count(), witness(), prop::option::of(text())).prop_map(
            |(entity, found, closed, because)| {
                Conflict::Closed { entity, found, closed: Box::new(closed), because }
            }
        ),
        (text(), witness())
            .prop_map(|(condition, found)| Conflict::None { condition, found: Box::new(found) }),
        (text(), count(), text(), text(), texts()).prop_map(|(key, position, first, now, differs)| {
            Conflict::Key { key, position, first, now, differs }
        }),
        (text(), count(), text(), text(), texts()).prop_map(|(id, position, first, now, differs)| {
            Conflict::Id { id, position, first, now, differs }
        }),
        ((text(), text()), prop::option::of(count()), text(), text(), texts()).prop_map(
            |((of, place), position, first, now, differs)| {
                Conflict::Content { of, place, position, first, now, differs }
            }
        ),
        (text(), text(), text()).prop_map(|(what, expected, found)| Conflict::Other {
            what,
            expected,
            found
        }),
    ];
    leaf.prop_recursive(3, 4, 1, |inner| {
        (text(), inner).prop_map(|(place, conflict)| Conflict::Within { place, conflict: Box::new(conflict) })
    })
}

fn missing() -> impl Strategy<Value = Missing> {
    let count = any::<u64>;
    let item = prop_oneof![
        (count(), count())
            .prop_map(|(asked, head)| MissingItem::Position { asked: Position(asked), head: Position(head) }),
        (text(), count(), count()).prop_map(|(entity, asked, newest)| MissingItem::Version {
            entity,
            asked: Version(asked),
            newest: Version(newest)
        }),
        text().prop_map(|id| MissingItem::Event { id }),
        (prop::sample::select(vec!["index", "subscription", "kind"]), text())
            .prop_map(|(sort, name)| MissingItem::Name { sort, name }),
        (text(), count()).prop_map(|(name, percent)| MissingItem::Index { name, percent }),
    ];
    (item, text(), prop::option::of(fault().prop_map(Box::new))).prop_map(|(item, message, fault)| Missing {
        item,
        message,
        fault,
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let values = prop::collection::btree_map(text(), any_value(), 0..4);
    (text(), text(), text(), prop::option::of(text()), values).prop_map(
        |(verb, entity, why, condition, values)| Refusal {
            verb,
            entity,
            why,
            condition,
            values: values.into_iter().collect(),
        },
    )
}

fn mismatch() -> impl Strategy<Value = SchemaMismatch> {
    let member = (text(), text(), text());
    let members = prop::collection::vec(
        member.prop_map(|(path, expected, found)| MemberMismatch { path, expected, found }),
        0..4,
    );
    (text(), any::<u64>(), prop::option::of(any::<u64>()), members, 0..3u64).prop_map(
        |(event_type, version, definition, members, more)| SchemaMismatch {
            event_type,
            version,
            definition,
            members,
            more,
        },
    )
}

fn io_error() -> impl Strategy<Value = Arc<io::Error>> {
    prop_oneof![
        (0..140i32).prop_map(|number| Arc::new(io::Error::from_raw_os_error(number))),
        text().prop_map(|text| Arc::new(io::Error::other(text))),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    let count = any::<u64>;
    prop_oneof![
        fault().prop_map(|fault| Error::Syntax(Box::new(fault))),
        (text(), text(), text()).prop_map(|(what, expected, found)| Error::Invalid { what, expected, found }),
        (text(), count(), count()).prop_map(|(what, size, limit)| Error::TooLarge { what, size, limit }),
        missing().prop_map(Error::from),
        conflict().prop_map(Error::from),
        refusal().prop_map(|refusal| Error::Refused(Box::new(refusal))),
        mismatch().prop_map(Error::from),
        (text(), count(), text(), text(), text()).prop_map(|(entity, position, kind, why, advice)| {
            Error::Unfoldable { entity, position, kind, why, advice }
        }),
        (text(), count(), count(), text()).prop_map(|(event_type, position, version, why)| {
            Error::Upcast { event_type, position, version, why }
        }),
        (text(), prop::option::of(any::<u32>()), any::<bool>())
            .prop_map(|(path, process, by_name)| { Error::Held { path: path.into(), process, by_name } }),
        (text(), text(), text()).prop_map(|(path, reason, advice)| Error::Unopenable {
            path: path.into(),
            reason,
            advice
        }),
        (text(), text(), text()).prop_map(|(place, found, advice)| Error::Corrupt { place, found, advice }),
        (text(), io_error()).prop_map(|(doing, source)| Error::Io { doing, source }),
        text().prop_map(|reason| Error::Stopped { reason }),
        text().prop_map(|reason| Error::Busy { reason }),
        text().prop_map(|what| Error::Unknown { what }),
    ]
}

fn written(error: &Error) -> String {
    serde_json::to_string(&error.to_wire()).unwrap()
}

proptest! {
    #[test]
    fn an_error_comes_back_as_it_went(error in error()) {
        let json = written(&error);
        let read = Error::from_wire(&json);
        prop_assert_eq!(format!("{read:?}"), format!("{error:?}"));
        prop_assert_eq!(read.to_string(), error.to_string());
        prop_assert_eq!((read.kind(), read.class()), (error.kind(), error.class()));
        prop_assert_eq!(written(&read), json);
    }

    /// What programs read stands there, whatever stands beside it.
    #[test]
    fn the_wire_has_what_the_shell_prints(error in error()) {
        let shown = serde_json::to_string(&error).unwrap();
        let wire = written(&error);
        prop_assert!(wire.starts_with(shown.strip_suffix('}').unwrap()), "{} {}", wire, shown);
prop_assert!(shown.parse::<Value>().unwrap().get("detail").is_none());
    }

    /// An error that lost some of it, or has something else there, is an error all the same.
    #[test]
    fn whatever_comes_is_some_error(
        error in error(),
        lost in any::<prop::sample::Index>(),
        instead in prop::option::of(any_value()),
    ) {
        let Value::Object(mut members) = written(&error).parse().unwrap() else { panic!() };
        let name = members.get_index(lost.index(members.len())).unwrap().0.clone();
        match instead {
            Some(value) => drop(members.insert(name, value)),
            None => drop(members.shift_remove(&name)),
        }
        let read = Error::from_wire(&serde_json::to_string(&members).unwrap());
        let _ = (read.to_string(), read.kind(), read.class(), written(&read));
    }

    #[test]
    fn no_text_makes_it_panic(json in "\\PC{0,40}") {
        let _ = Error::from_wire(&json).to_string();
    }
}

#[test]
fn an_error_that_is_new_shows_its_message() {
    let new = Error::from_wire(r#"{"kind":"tooPurple","message":"the log is too purple","shade":7}"#);
    assert_eq!(new.to_string(), "an error that is new to this program, tooPurple: the log is too purple");
    // One that is known, and said in another way.
    let other = Error::from_wire(r#"{"kind":"corrupt","message":"corrupt: #7","detail":{"sector":9}}"#);
    assert!(other.to_string().ends_with("corrupt: corrupt: #7"), "{other}");
    for hostile in ["", "[]", "{", "5", r#"{"kind":5}"#, &"[".repeat(100_000)] {
        assert_eq!(Error::from_wire(hostile).kind(), "io", "{hostile:.20}");
    }
}

#[test]
fn a_wire_is_lean() {
    let conflict = Conflict::other("the head", "#5", "#6").into();
    assert_eq!(
        written(&conflict),
        r##"{"kind":"conflict","message":"conflict: the head: expected #5, found #6","expected":["#5"],"found":"#6"}"##
    );
    let last = Witness::new(3, "Order.paid", Timestamp::from_millis(0));
    let version =
        Conflict::Version { entity: "Order 42".to_owned(), expected: 2, found: 3, last: Some(last) };
    assert!(
        written(&version.into()).ends_with(
            r#""position":3,"detail":{"conflict":{"version":{"entity":"Order 42","expected":2,"found":3,"last":{"position":3,"type":"Order.paid","target":null,"actor":null,"timestamp":"1970-01-01T00:00:00Z"}}}}}"#
        ),
    );
}
