//! The forms of events: whatever is written in one of them is read back as it was, and what others write is kept.

use bygone::append::{Producer, VectorClock};
use bygone::maintain::{EventFormat, ExportOptions, ImportOptions, ImportReport};
use bygone::{Db, Entity, NewEvent, Object, Position, Timestamp, Value};
use proptest::prelude::*;

const FORMS: [EventFormat; 4] =
    [EventFormat::Event, EventFormat::Underscore, EventFormat::CloudEvents, EventFormat::CloudEventsBatch];

fn import(db: &Db, text: &str, restore: bool) -> bygone::Result<ImportReport> {
    db.import(text.as_bytes(), &ImportOptions::new().restore(restore), &mut |_| {})
}

fn export(db: &Db, options: impl Into<ExportOptions>) -> String {
    let mut text = Vec::new();
    db.export(options, &mut text, &mut |_| {}).unwrap();
    String::from_utf8(text).unwrap()
}

fn exported(db: &Db, form: EventFormat) -> String {
    export(db, ExportOptions::new().form(form))
}

fn object(text: &str) -> Object {
    match text.parse().unwrap_or_else(|e| panic!("{text}: {e}")) {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

/// The text with the members of objects in one order: unlike values, it tells 0.0 from -0.0.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            members.sort_keys();
            Value::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// All events, without members that are the database's.
fn told(db: &Db, without: &[&str]) -> Vec<String> {
    let lines = exported(db, EventFormat::Event);
    let told = lines.lines().map(|line| {
        let mut event = object(line);
        event.retain(|name, _| !without.contains(&name.as_str()));
        sorted(Value::Object(event)).to_string()
    });
    told.collect()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,6}",
        1 => "[0-9]{1,4}",
        1 => "\\PC{1,6}",
        1 => prop::collection::vec(any::<char>(), 1..4).prop_map(|chars| chars.into_iter().collect()),
        1 => prop::sample::select(&["a/b", "/", "a\nb", "\u{85}", "\u{fffe}", "é'\"\\", "Order/42", "_x", " "][..])
            .prop_map(str::to_owned),
    ]
}

fn any_kind() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(&["a/b", "x y", "Ü", "_", "\u{fffe}"][..]).prop_map(str::to_owned);
    prop_oneof![4 => "[A-Z][a-z]{0,3}", 1 => odd]
}

fn any_entity() -> impl Strategy<Value = Entity> {
    (any_kind(), any_text()).prop_map(|(kind, id)| Entity::from((kind, id)))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any_tag(),];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((any_name(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_tag() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
        Just(Value::Float(-0.0)),
        Just(Value::Float(5.0)),
        any_text().prop_map(Value::from),
    ]
}

/// Names that mean something somewhere, among others.
fn any_name() -> impl Strategy<Value = String> {
    let known = [
        "type",
        "id",
        "source",
        "subject",
        "time",
        "data",
        "data_base64",
        "data_value",
        "datacontenttype",
        "dataschema",
        "specversion",
        "correlationid",
        "bygone",
        "bygonekey",
        "_id",
        "_type",
        "_x",
        "sequence",
        "position",
        "metadata",
        "target",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[a-z]{1,4}", any_text()]
}

/// Members that an attribute may be, too.
fn any_object() -> impl Strategy<Value = Object> {
    let texts =
        ["text/xml", "application/json", "a/b+json; x=y", "urn:x", "web", "1.0", "AAE=", "Order/42", "f.jpg"];
    let value = prop_oneof![any_value(), prop::sample::select(texts.to_vec()).prop_map(Value::from)];
    prop::collection::vec((any_name(), value), 0..4).prop_map(|members| members.into_iter().collect())
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let times = [
        "2024-01-01",
        "2013-01-01T00:00:00.000000001Z",
        "1969-12-31T23:59:59.999Z",
        "-000044-03-15T12:00:00Z",
        "9999-12-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ];
    prop::sample::select(times.to_vec()).prop_map(|time| time.parse().unwrap())
}

prop_compose! {
    fn any_event()(
        (kind, own, target, actor) in (
            any_kind(), prop::sample::select(&["paid", "item.added", "type", "x y"][..]), prop::option::of(any_entity()),
            prop::option::of(any_entity()),
        ),
        time in prop::option::of(any_time()),
        producer in prop::option::of((any_entity(), prop::option::of(any::<u64>()), prop::option::of("([a-d]:[1-9];?){1,2}"))),
        cause in prop::option::of((any_text(), any_text(), any::<bool>())),
        (correlation, namespace, key, id) in (
            prop::option::of(any_text()), prop::option::of(any_text()), any::<bool>(), prop::option::of(any_text()),
        ),
        tags in prop::collection::vec((any_name(), any_tag()), 0..3),
        from_data in any::<bool>(),
        data in any_object(),
        metadata in any_object(),
    ) -> NewEvent {
        let kind = target.as_ref().filter(|_| own.len() > 3).map_or(kind, |target| target.kind().to_owned());
        let mut event = NewEvent::new(&format!("{kind}.{own}"));
        event = match target {
            Some(target) => event.on(target),
            None => event.on_nobody(),
        };
        if let Some(actor) = actor {
            event = event.by(actor);
        }
        if let Some(time) = time {
            event = event.at(time);
        }
        if let Some((model, version, vector)) = producer {
            let vector: Option<VectorClock> = vector.and_then(|vector| vector.trim_end_matches(';').parse().ok());
            // The version is the sum of a vector.
            let version = version.filter(|_| vector.is_none());
            event = event.produced_by(Producer { model, version, vector });
        }
        let caused = matches!(cause, Some((_, _, true)));
        match cause {
            Some((_, _, true)) => event = event.caused_by(Position(1)),
            Some((kind, id, false)) => event = event.caused_by_named(&kind, &id),
            None => {}
        }
        // The correlation of what an event of this log caused is that event's.
        if let Some(correlation) = correlation.filter(|_| !caused) {
            event = event.correlation(&correlation);
        }
        if let Some(namespace) = namespace {
            event = event.namespace(&namespace);
        }
        if let Some(id) = id {
            event = event.id(&id);
        }
        if key {
            event = event.key(&format!("k {kind}\u{85}{}", data.len()));
        }
        let mut named: Vec<String> = Vec::new();
        let of_data = data.iter().filter(|(_, value)| {
            from_data && !matches!(value, Value::Null | Value::Array(_) | Value::Object(_))
        });
        let all = of_data.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>();
        for (name, value) in if from_data { all } else { tags } {
            if !named.contains(&name) {
                named.push(name.clone());
                // What BY means otherwise is no name of an index value.
                let own = ["actor", "target", "type", "id", "key", "cause", "correlation"].contains(&name.as_str());
                event = event.index(&if own { format!("{name}_") } else { name }, value);
            }
        }
        event.data(&data).metadata(&metadata)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_comes_back_from_each_form(events in prop::collection::vec(any_event(), 1..6)) {
        let db = Db::in_memory().unwrap();
        db.append(NewEvent::new("A.first")).unwrap();
        for event in events {
            if let Err(error) = db.append(event) {
                // An id or a key may be there already.
                prop_assert!(error.is_conflict(), "{error}");
            }
        }
        for form in FORMS {
            let text = exported(&db, form);
            let other = Db::in_memory().unwrap();
            import(&other, &text, false).unwrap_or_else(|e| panic!("{text}\n{e}"));
            // Without a time of its own, an event has that of the first log.
            prop_assert_eq!(told(&other, &["recorded"]), told(&db, &["recorded"]), "{:?}\n{}", form, text);
            prop_assert_eq!(import(&other, &text, false).unwrap().added, 0);

            let restored = Db::in_memory().unwrap();
            import(&restored, &text, true).unwrap_or_else(|e| panic!("{text}\n{e}"));
            prop_assert_eq!(told(&restored, &[]), told(&db, &[]), "{:?}\n{}", form, text);
            prop_assert!(restored.verify().unwrap().faults.is_empty());
            if matches!(form, EventFormat::CloudEvents) {
                text.lines().for_each(is_lawful);
            }
        }
    }

    #[test]
    fn what_other_systems_write_is_kept(
        source in prop::sample::select(&["/a", "https://a.example/x", "urn:x", "a%20b"][..]),
        subject in prop::option::of(any_text()),
        attributes in prop::collection::btree_map("[a-z0-9]{1,5}", any_value(), 0..4),
        payload in prop::option::of(prop_oneof![any_value(), any_object().prop_map(Value::Object)]),
        content in prop::option::of(prop::sample::select(&["text/xml", "application/json", "application/x+json"][..])),
    ) {
        let mut given = object(r#"{"specversion":"1.0","type":"com.example.paid","time":"2018-04-05T17:31:00Z"}"#);
        given.extend(attributes.into_iter().filter(|(name, _)| !["id", "type", "time", "data"].contains(&name.as_str())));
        given.insert("id".to_owned(), Value::from("A-1"));
        given.insert("source".to_owned(), Value::from(source));
        given.extend(subject.map(|subject| ("subject".to_owned(), Value::from(subject))));
        given.extend(content.map(|content| ("datacontenttype".to_owned(), Value::from(content))));
        given.extend(payload.map(|payload| ("data".to_owned(), payload)));
        let text = Value::Object(given.clone()).to_string();

        let db = Db::in_memory().unwrap();
        import(&db, &text, false).unwrap_or_else(|e| panic!("{text}\n{e}"));
        let form = exported(&db, EventFormat::CloudEvents);
        is_lawful(&form);
        let back = object(&form);
        for (name, value) in &given {
            // What is no attribute at all is told in another place.
            let odd = back.get("bygone").and_then(Value::as_text).is_some_and(|rest| {
                let rest = object(rest);
                let metadata = rest.get("metadata").and_then(|metadata| metadata.get(name));
                let target = rest.get("target").filter(|_| name == "subject");
                metadata == Some(value) || target.is_some()
            });
            let same = match (name.as_str(), value) {
                ("data", Value::Object(members)) => members.is_empty(),
                ("data", _) => false,
                ("datacontenttype", value) => *value == Value::from("application/json"),
                (_, value) => *value == Value::Null,
            };
            prop_assert!(odd || same || back.get(name) == Some(value), "{name}\n{text}\n{form}");
        }
        let other = Db::in_memory().unwrap();
        import(&other, &form, false).unwrap_or_else(|e| panic!("{form}\n{e}"));
        prop_assert_eq!(told(&other, &["recorded"]), told(&db, &["recorded"]));
    }
}

/// A CloudEvent keeps the rules of the specification.
fn is_lawful(text: &str) {
    let event = object(text);
    let said = |name: &str| event.get(name).and_then(Value::as_text).is_some_and(|text| !text.is_empty());
    assert!(["id", "source", "type"].into_iter().all(said), "{text}");
    assert_eq!(event.get("specversion"), Some(&Value::from("1.0")));
    assert!(!(event.contains_key("data") && event.contains_key("data_base64")), "{text}");
    for (name, value) in event.iter().filter(|(name, _)| !["data", "data_base64"].contains(&name.as_str())) {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}: {text}");
        match value {
            Value::Text(text) => {
                let odd = |c: char| c.is_control() || u32::from(c) & 0xfffe == 0xfffe;
                assert!(!text.contains(odd), "{name}: {text:?}");
            }
            Value::Int(n) => assert!(i32::try_from(*n).is_ok(), "{name}: {text}"),
            Value::Bool(_) => {}
            other => panic!("{name}: {other}"),
        }
    }
    if let Some(source) = event["source"].as_text() {
        assert!(source.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b)), "{text}");
    }
}

/// The events that a text gives, as lines of the event form without what the database adds.
fn given(text: &str) -> Vec<String> {
    let db = Db::in_memory().unwrap();
    import(&db, text, false).unwrap_or_else(|e| panic!("{text}\n{e}"));
    let lines = exported(&db, EventFormat::Event);
    let added = ["position", "version", "recorded"];
    let bare = lines.lines().map(|line| {
        let mut event = object(line);
        event.retain(|name, _| !added.contains(&name.as_str()));
        Value::Object(event).to_string()
    });
    bare.collect()
}

#[test]
fn a_form_is_known_by_its_members() {
    for (text, event) in [
        (
            r#"{"type":"Order.paid","id":"1","timestamp":"2018-04-05","data":{"specversion":"1.0","_id":1}}"#,
            r#"{"id":"1","type":"Order.paid","timestamp":"2018-04-05T00:00:00Z","data":{"specversion":"1.0","_id":1}}"#,
        ),
        (
            r#"{"type":"paid","_id":1,"_createdOn":"2018-04-05","_actorType":"Order","_actorId":42,"specversion":"1.0"}"#,
            r#"{"id":"1","type":"Order.paid","timestamp":"2018-04-05T00:00:00Z","target":{"type":"Order","id":"42"},"data":{"specversion":"1.0"}}"#,
        ),
        (
            r#"{"specversion":"1.0","type":"com.example.paid","id":"1","source":"/shop","time":"2018-04-05T19:31:00.000000001+02:00","subject":"Order/42","sequence":"7","data":{"amount":10}}"#,
            r#"{"id":"1","type":"com.example.paid","timestamp":"2018-04-05T17:31:00.000000001Z","target":{"type":"Order","id":"42"},"data":{"amount":10},"metadata":{"source":"/shop","sequence":"7"}}"#,
        ),
        (
            r#"{"specversion":"1.0","type":"a.b","id":"1","source":"/s","time":"2018-04-05T17:31:00Z","subject":"f.jpg","correlationid":"c","datacontenttype":"text/xml","dataschema":"urn:x","on":true,"n":5,"unset":null,"data":"<x/>"}"#,
            r#"{"id":"1","type":"a.b","timestamp":"2018-04-05T17:31:00Z","correlation":"c","data":{"data_value":"<x/>"},"metadata":{"source":"/s","subject":"f.jpg","datacontenttype":"text/xml","dataschema":"urn:x","on":true,"n":5}}"#,
        ),
    ] {
        assert_eq!(given(text), [event]);
        let pretty = serde_json::to_string_pretty(&text.parse::<Value>().unwrap()).unwrap();
        assert_eq!(given(&pretty), [event]);
        assert_eq!(given(&format!("[{pretty}]")), [event]);
    }
}

#[test]
fn what_is_no_cloudevent_is_refused() {
    let whole = r#"{"specversion":"1.0","type":"a.b","id":"1","source":"/s","time":"2018-04-05T17:31:00Z"}"#;
    assert_eq!(given(whole).len(), 1);
    for (from, to, named) in [
        ("\"1.0\"", "\"0.3\"", "0.3"),
        ("\"1.0\"", "1", "`specversion`"),
        ("\"1.0\"", "null", "`specversion`"),
        (",\"id\":\"1\"", "", "`id`"),
        (",\"source\":\"/s\"", "", "`source`"),
        (",\"type\":\"a.b\"", "", "`type`"),
        ("17:31", "27:31", "27:31"),
        ("}", ",\"data\":1,\"data_base64\":\"\"}", "both"),
        ("}", ",\"data_base64\":\"?\"}", "base64"),
        ("\"/s\"", "\"\"", "`source`"),
        ("\"/s\"", "\"a b\"", "`source`"),
        ("\"/s\"", "7", "`source`"),
        ("\"1\"", "1", "`id`"),
        ("\"1\"", "\"\"", "`id`"),
        ("}", ",\"subject\":42}", "`subject`"),
        ("a.b", "a..b", "'a..b'"),
        ("}", ",\"bygoneposition\":7,\"bygonefoo\":1}", "`bygonefoo`"),
        ("}", ",\"bygoneposition\":7,\"bygoneactor\":\"ann\"}", "User/ann"),
        ("}", ",\"bygoneposition\":7,\"bygonevector\":\"a:1\"}", "`bygoneproducer`"),
        ("}", ",\"bygoneposition\":7,\"bygone\":\"[]\"}", "an array"),
        ("}", ",\"bygoneposition\":7,\"bygone\":\"{\\\"x\\\":1}\"}", "`x`"),
    ] {
        let error = import(&Db::in_memory().unwrap(), &whole.replacen(from, to, 1), false).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("line 1 ") && error.contains(named), "{to}: {error}");
    }
}

#[test]
fn what_only_looks_like_ours_is_kept_as_it_is() {
    let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","time":"2018-04-05T17:31:00Z"}"#;
    for more in [
        r#""bygonefoo":1"#,
        r#""bygoneposition":"x""#,
        r#""bygoneactor":"ann""#,
        r#""bygonecause":7"#,
        r#""bygonevector":"a:1""#,
        r#""bygonerevision":3"#,
        r#""bygoneversion":-1"#,
        r#""bygonerecorded":"yesterday""#,
        r#""bygone":"[]""#,
        r#""bygone":"{\"x\":1}""#,
    ] {
        let text = format!("{},{more}}}", whole.strip_suffix('}').unwrap());
        let (name, value) = object(&format!("{{{more}}}")).into_iter().next().unwrap();
        let db = Db::in_memory().unwrap();
        import(&db, &text, false).unwrap();
        let event = object(exported(&db, EventFormat::Event).trim());
        assert_eq!(event["metadata"].get(&name), Some(&value), "{more}");
        let again = Db::in_memory().unwrap();
        import(&again, &exported(&db, EventFormat::CloudEvents), false).unwrap();
        assert_eq!(told(&again, &["recorded"]), told(&db, &["recorded"]), "{more}");
    }
}

#[test]
fn a_type_without_a_prefix_gets_one_and_is_told_as_it_was() {
    for (own, more, kind, read) in [
        ("captured", "", None, "CloudEvent.captured"),
        ("captured", "", Some("Payment"), "Payment.captured"),
        ("captured", r#","subject":"Payment/7""#, None, "Payment.captured"),
        ("captured", r#","subject":"Payment/7""#, Some("Till"), "Till.captured"),
        ("urn:x:y", "", None, "CloudEvent.urn:x:y"),
        ("a/b", "", Some("Path"), "Path.a/b"),
        ("com.example.paid", "", Some("Path"), "com.example.paid"),
    ] {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{own}","time":"2018-04-05T17:31:00Z"{more}}}"#
        );
        let db = Db::in_memory().unwrap();
        let options = kind.map_or(ImportOptions::new(), |kind| ImportOptions::new().kind(kind));
        db.import(text.as_bytes(), &options, &mut |_| {}).unwrap();
        assert_eq!(object(exported(&db, EventFormat::Event).trim())["type"].as_text(), Some(read));
        let written = exported(&db, EventFormat::CloudEvents);
        assert_eq!(object(written.trim())["type"].as_text(), Some(own), "{written}");
        let again = Db::in_memory().unwrap();
        import(&again, &written, false).unwrap();
        assert_eq!(told(&again, &["recorded"]), told(&db, &["recorded"]), "{written}");
    }
    let wrong = ImportOptions::new().kind("a*");
    assert!(Db::in_memory().unwrap().import(&b""[..], &wrong, &mut |_| {}).is_err());
}

#[test]
fn content_that_is_no_json_keeps_its_type() {
    for content in [
        r#""datacontenttype":"application/xml","data":"<x/>""#,
        r#""datacontenttype":"application/xml","data":{"a":1}"#,
        r#""datacontenttype":"application/xml","data":[1]"#,
        r#""datacontenttype":"application/xml""#,
        r#""datacontenttype":"application/xml","data_base64":"AAE=""#,
        r#""datacontenttype":"text/plain; charset=utf-8","data":7"#,
    ] {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a.b","time":"2018-04-05T17:31:00Z",{content}}}"#
        );
        let db = Db::in_memory().unwrap();
        import(&db, &text, false).unwrap();
        let back = object(exported(&db, EventFormat::CloudEvents).trim());
        for (name, value) in object(&format!("{{{content}}}")) {
            assert_eq!(back.get(&name), Some(&value), "{content}");
        }
    }
}

#[test]
fn an_id_that_two_sources_use_is_two_events() {
    let event = |source: &str, n: u32| {
        format!(
            r#"{{"specversion":"1.0","type":"a.b","id":"1","source":"{source}","time":"2018-04-05T17:31:00Z","data":{{"n":{n}}}}}"#
        )
    };
    let three = [event("/one", 1), event("/two", 2), event("/one", 1)].join("\n");
    let db = Db::in_memory().unwrap();
    let imported = import(&db, &three, false).unwrap();
    assert_eq!((imported.added, imported.known), (2, 1));
    let imported = import(&db, &three, false).unwrap();
    assert_eq!((imported.added, imported.known), (0, 3));
    let ids: Vec<_> =
        exported(&db, EventFormat::Event).lines().map(|line| object(line)["id"].to_string()).collect();
    assert_eq!(ids, [r#""1""#, r#""/two#1""#]);
    // In another order, in two steps.
    let other = Db::in_memory().unwrap();
    for source in ["/two", "/one", "/three"] {
        assert_eq!(import(&other, &event(source, 1), false).unwrap().added, 1);
    }
    // Both are again what they were.
    let back = exported(&db, EventFormat::CloudEvents);
    for (line, source) in back.lines().zip(["/one", "/two"]) {
        let event = object(line);
        assert_eq!((event["id"].as_text(), event["source"].as_text()), (Some("1"), Some(source)));
    }
    let again = Db::in_memory().unwrap();
    import(&again, &back, false).unwrap();
    assert_eq!(told(&again, &["recorded"]), told(&db, &["recorded"]));
    // An event of ours with the same id is another one, too.
    let mine = Db::in_memory().unwrap();
    mine.append(NewEvent::new("A.b").id("1")).unwrap();
    assert_eq!(import(&mine, &event("/one", 1), false).unwrap().added, 1);
}

#[test]
fn the_source_of_an_export_stays_and_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bygone");
    let source = |text: &str| object(text.lines().last().unwrap())["source"].to_string();
    let db = Db::create(&file).unwrap();
    db.append(NewEvent::new("A.b")).unwrap();
    let first = source(&exported(&db, EventFormat::CloudEvents));
    assert!(first.starts_with("\"urn:uuid:"), "{first}");
    db.append(NewEvent::new("A.c")).unwrap();
    db.close().unwrap();
    let db = Db::open(&file).unwrap();
    assert_eq!(source(&exported(&db, EventFormat::CloudEvents)), first);
    let options = ExportOptions::new().form(EventFormat::CloudEvents).source("https://shop.example");
    let said = export(&db, &options);
    assert_eq!(source(&said), r#""https://shop.example""#);
    // It is no part of the events.
    let other = Db::in_memory().unwrap();
    import(&other, &said, false).unwrap();
    assert_eq!(told(&other, &["recorded"]), told(&db, &["recorded"]));
    let wrong = db.export(options.source("a b"), &mut Vec::new(), &mut |_| {}).unwrap_err();
    assert!(wrong.to_string().contains("'a b'"), "{wrong}");
    assert_eq!(exported(&Db::in_memory().unwrap(), EventFormat::CloudEventsBatch), "[]\n");
}

#[test]
fn the_limits_of_names_are_where_the_reference_says() {
    let db = bygone::Db::in_memory().unwrap();
    fn x(bytes: usize) -> String {
        "x".repeat(bytes)
    }
    fn new() -> bygone::NewEvent {
        bygone::NewEvent::new("A.b")
    }
    type Build = Box<dyn Fn(usize) -> bygone::NewEvent>;
    let limits: Vec<(&str, usize, Build)> = vec![
        ("an entity", 505, Box::new(move |n| new().on(("Kind", x(n - 4))))),
        ("an actor", 505, Box::new(move |n| new().by(("Kind", x(n - 4))))),
        ("a type", 508, Box::new(move |n| bygone::NewEvent::new(&format!("A.{}", x(n - 2))))),
        ("the id of an event", 256, Box::new(move |n| new().id(&x(n)))),
        ("a key", 508, Box::new(move |n| new().key(&x(n)))),
        ("a correlation", 508, Box::new(move |n| new().correlation(&x(n)))),
        ("a cause", 505, Box::new(move |n| new().caused_by_named("A.b", &x(n - 3)))),
        ("an index value", 505, Box::new(move |n| new().index("name", x(n - 4)))),
    ];
    for (what, most, build) in limits {
        db.append(build(most)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let error = db.append(build(most + 1)).unwrap_err().to_string();
        assert!(error.contains("bytes"), "{what}: {error}");
    }
    db.append(new().namespace(&x(5000)).member(&x(5000), 1)).unwrap();
    let subscribe = |n: usize| db.subscribe(bygone::Pattern::all()).durable(&x(n)).map(drop);
    assert!(subscribe(255).is_ok() && subscribe(256).is_err());
    let define = |what: &str, n: usize| {
        let text = match what {
            "REACTION" => format!("DEFINE REACTION {} ON 'A.b' DO EMIT A.c", x(n)),
            "SCHEDULE" => format!("DEFINE SCHEDULE {} EVERY 1h DO EMIT A.c", x(n)),
            _ => format!("DEFINE WEBHOOK {} ON 'A.b' TO 'http://a.example'", x(n)),
        };
        let defined = db.query(&text).map(drop);
        db.query(&format!("DROP {what} {}", x(n))).ok();
        defined
    };
    for what in ["REACTION", "SCHEDULE", "WEBHOOK"] {
        assert!(define(what, 255).is_ok() && define(what, 256).is_err(), "{what}");
    }
    let webhook = |n: usize| {
        let text = format!("DEFINE WEBHOOK w ON 'A.b' TO 'http://a.example/{}'", x(n - 17));
        db.query(&text).map(drop)
    };
    assert!(webhook(2048).is_ok() && webhook(2049).is_err());
}
