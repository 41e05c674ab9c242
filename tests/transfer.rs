//! Import and export, through the library: nothing lost, nothing twice, and a bad line says where.

use std::path::Path;

use bygone::maintain::{ImportOptions, ImportReport};
use bygone::{Db, NewEvent, Options, Position, Value};

/// Real events: the departures, landings and cancellations of three planes.
fn flights() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights.jsonl");
    std::fs::read_to_string(file).unwrap()
}

/// A database whose memtables are so small that an import goes through many checkpoints.
fn tiny() -> Db {
    Options::new().memtable(300, 1 << 20).in_memory().unwrap()
}

fn import(db: &Db, lines: &str) -> bygone::Result<ImportReport> {
    db.import(lines.as_bytes(), &ImportOptions::new(), &mut |_| {})
}

fn export(db: &Db) -> String {
    let mut lines = Vec::new();
    db.export(None, &mut lines, &mut |_| {}).unwrap();
    String::from_utf8(lines).unwrap()
}

#[test]
fn real_events_come_back_equal_and_a_second_import_adds_none() {
    let (db, lines) = (tiny(), flights());
    assert_eq!(import(&db, &lines).unwrap().added, 1753);
    let exported = export(&db);
    assert_eq!(exported.lines().count(), 1753);
    for (line, back) in lines.lines().zip(exported.lines()) {
        let (line, back): (Value, Value) = (line.parse().unwrap(), back.parse().unwrap());
        let Value::Object(members) = line else { panic!("an object") };
        for (name, value) in members {
            assert_eq!(back.get(&name), Some(&value), "{name}");
        }
    }
    let again = import(&db, &lines).unwrap();
    assert_eq!((again.added, again.known), (0, 1753));
    assert!(db.verify().unwrap().faults.is_empty());
}

#[test]
fn lines_added_to_the_end_of_a_file_are_all_that_is_new() {
    let (db, lines) = (tiny(), flights());
    let lines: Vec<&str> = lines.lines().collect();
    // Ends within the first batch, at its end, and within a later one.
    let mut before = 0;
    for end in [1, 2, 999, 1000, 1001, 1500, 1753] {
        let imported = import(&db, &lines[..end].join("\n")).unwrap();
        assert_eq!((imported.added, imported.known), ((end - before) as u64, before as u64));
        before = end;
    }
    assert_eq!(db.head().0, 1753);
}

#[test]
fn a_bad_line_names_itself_and_what_is_safely_in() {
    let (db, lines) = (tiny(), flights());
    let mut lines: Vec<&str> = lines.lines().collect();
    let good = std::mem::replace(&mut lines[1200], r#"{"type":"departed","data":{}}"#);
    let error = import(&db, &lines.join("\n")).unwrap_err().to_string();
    assert!(error.starts_with("line 1201 (1200 events before it are safely in)"), "{error}");
    assert_eq!(db.head().0, 1200);
    lines[1200] = good;
    let imported = import(&db, &lines.join("\n")).unwrap();
    assert_eq!((imported.added, imported.known), (553, 1200));
}

#[test]
fn a_line_that_only_the_commit_refuses_is_named_too() {
    let db = tiny();
    let long = "x".repeat(600);
    let lines = format!(
        "{}\n{}\n",
        r#"{"type":"A.b","data":{}}"#,
        format_args!(r#"{{"type":"A.b","target":{{"type":"A","id":"{long}"}}}}"#)
    );
    let error = import(&db, &lines).unwrap_err().to_string();
    assert!(error.starts_with("line 2 (1 event before it is safely in)"), "{error}");
    assert!(error.contains("512 bytes"), "{error}");
    assert_eq!(db.head().0, 1);
}

#[test]
fn a_whole_export_is_restored_as_it_was() {
    let db = tiny();
    import(&db, &flights()).unwrap();
    for n in 0..50 {
        let event = NewEvent::new("Order.paid").on(("Order", n % 7)).by(("User", n)).member("n", n);
        db.append(event.key(&format!("k{n}")).caused_by(bygone::Position(5)).index("n", n)).unwrap();
    }
    let exported = export(&db);
    let restored = tiny();
    let options = ImportOptions::new().restore(true);
    restored.import(exported.as_bytes(), &options, &mut |_| {}).unwrap();
    assert_eq!(export(&restored), exported);
    assert!(restored.verify().unwrap().faults.is_empty());

    let error = restored.import(exported.as_bytes(), &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("a new database"), "{error}");
    // Without --restore, events with ids are known by them.
    assert_eq!(import(&restored, &exported).unwrap().added, 0);
}

#[test]
fn an_index_is_restored_as_it_was_and_works() {
    let db = tiny();
    let run = |db: &Db, text: &str| {
        let rows = db.query(text).unwrap().rows;
        rows.map(|row| serde_json::to_string(&row.unwrap()).unwrap()).collect::<Vec<_>>()
    };
    import(&db, &flights()).unwrap();
    run(&db, "DEFINE INDEX from ON '*.departed' AS data.origin");
    run(&db, "DEFINE INDEX gone ON '*' AS data.origin");
    run(&db, "EMIT Plane.departed X {origin: 'JFK'}");
    run(&db, "DROP INDEX gone");
    let exported = export(&db);
    let restored = tiny();
    restored.import(exported.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    for db in [&db, &restored] {
        assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    }
    let of = |db: &Db| {
        let ready = |line: &String| line.contains(r#""state":"ready""#);
        run(db, "SHOW INDEXES").into_iter().filter(ready).collect::<Vec<_>>()
    };
    assert_eq!(of(&restored), of(&db));
    assert_eq!(of(&db).len(), 1);
    let (one, other) = (db.verify().unwrap(), restored.verify().unwrap());
    // Snapshots are kept when there is time.
    let compared =
        |found: &bygone::maintain::Verification| (found.events, found.entries, found.faults.clone());
    assert!(one.faults.is_empty() && compared(&one) == compared(&other), "{one:?} {other:?}");
    assert_eq!(export(&restored), exported);

    let bad = exported.replace("data.origin", "data.origin +");
    let error = tiny().import(bad.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {});
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("line 1754") && error.contains("expected"), "{error}");
}

#[test]
fn a_part_of_an_export_is_not_restored() {
    let db = tiny();
    import(&db, &flights()).unwrap();
    let part: Vec<String> = export(&db).lines().skip(3).map(str::to_owned).collect();
    let restored = tiny();
    let options = ImportOptions::new().restore(true);
    let error = restored.import(part.join("\n").as_bytes(), &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("#4") && error.contains("#1"), "{error}");
    assert_eq!(restored.head().0, 0);
}

#[test]
fn a_cause_told_by_position_is_not_taken_for_another_event() {
    let db = tiny();
    db.append(NewEvent::new("A.first")).unwrap();
    db.append(NewEvent::new("A.second").caused_by(bygone::Position(1))).unwrap();
    let other = tiny();
    other.append(NewEvent::new("B.unrelated")).unwrap();
    // As it was exported by those that told no more than the position.
    let root = db.event(Position(1)).unwrap().unwrap().id;
    let named = format!(r#""cause":{{"position":1,"type":"A.first","id":"{root}"}}"#);
    let exported = export(&db);
    let bare = exported.replace(&named, r#""cause":{"position":1}"#);
    assert_ne!(bare, exported);
    let error = import(&other, &bare).unwrap_err().to_string();
    assert!(error.contains("#2") && error.contains("--restore"), "{error}");
    // Into a new database positions are the same, and it means the same.
    let new = tiny();
    import(&new, &bare).unwrap();
    assert_eq!(new.head().0, 2);
    // With its id it is found wherever it is.
    import(&other, &exported).unwrap();
    assert_eq!(
        other.event(Position(3)).unwrap().unwrap().cause,
        Some(bygone::append::Cause::Event(Position(2)))
    );
}

#[test]
fn odd_inputs_are_answered() {
    let db = tiny();
    assert_eq!(import(&db, "").unwrap().added, 0);
    assert_eq!(import(&db, "\n\r\n  \n").unwrap().added, 0);
    assert_eq!(import(&db, " [\n] []").unwrap().added, 0);
    assert_eq!(import(&db, "\u{feff}{\"type\":\"A.b\"}\r\n{\"type\":\"A.c\"}").unwrap().added, 2);
    for (wrong, named) in [
        ("5", "a JSON object"),
        ("{", "the end of the input"),
        (r#"{"type":"A.b","n":1}"#, "`n`"),
        (r#"{"type":"A.b","data":{"n":123456789012345678901}}"#, "123456789012345678901"),
        (r#"{"type":"$verb.defined"}"#, "database's"),
    ] {
        let error = import(&db, wrong).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("line 1"), "{wrong}: {error}");
    }
    let deep = format!(r#"{{"type":"A.b","data":{{"x":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(import(&db, &deep).is_err());
    let bytes: &[u8] = b"{\"type\":\"A.\xff\"}";
    assert!(db.import(bytes, &ImportOptions::new(), &mut |_| {}).unwrap_err().to_string().contains("UTF-8"));
    assert_eq!(db.head().0, 2);
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

/// A line that tells its number: event `n` of a log of nothing else.
fn numbered(n: usize, more: &str) -> String {
    format!(r#"{{"type":"A.b"{more},"data":{{"n":{n}}}}}"#)
}

/// The log holds the numbered lines, each once.
fn holds(db: &Db, count: usize) {
    let exported = export(db);
    let numbers = exported.lines().map(|line| {
        let line: Value = line.parse().unwrap();
        line.get("data").unwrap().get("n").unwrap().clone()
    });
    assert!(numbers.eq((1..=count).map(|n| Value::from(n as i64))));
}

#[test]
fn lines_without_ids_are_found_again_behind_lines_with_ids() {
    let db = tiny();
    let lines: Vec<String> = (1..=1020)
        .map(|n| numbered(n, &if n <= 1000 { format!(r#","id":"i{n}""#) } else { String::new() }))
        .collect();
    for (end, added) in [(1010, 1010), (1020, 10), (1020, 0)] {
        assert_eq!(import(&db, &lines[..end].join("\n")).unwrap().added, added);
    }
    holds(&db, 1020);
}

#[test]
fn any_mix_of_lines_that_grows_is_brought_in_once() {
    for seed in 1..=12 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
        let mut lines: Vec<String> = Vec::new();
        while lines.len() < 4000 {
            let (kind, most) = (numbers.below(4), [20, 400, 1500][numbers.below(3)]);
            for _ in 0..=numbers.below(most) {
                let n = lines.len() + 1;
                let known = kind == 0 || (kind == 1 && numbers.below(2) == 0);
                let mut more = match known {
                    true if n.is_multiple_of(3) => format!(r#","key":"k{n}""#),
                    true => format!(r#","id":"i{n}""#),
                    false => String::new(),
                };
                // A cause in the same batch, and a line that ends one.
                match numbers.below(300) {
                    0 if n > 5 => more += &format!(r#","cause":{{"position":{}}}"#, n - 1 - numbers.below(5)),
                    1 => more += &format!(r#","metadata":{{"long":"{}"}}"#, "x".repeat(700_000)),
                    _ => {}
                }
                lines.push(numbered(n, &more));
            }
        }
        let db = Db::in_memory().unwrap();
        let mut end = 0;
        while end < lines.len() {
            let before = end;
            let step = [3, 500, 2500][numbers.below(3)];
            end = (end + 1 + numbers.below(step)).min(lines.len());
            let imported = import(&db, &lines[..end].join("\n")).unwrap();
            let found = (imported.added, imported.known);
            assert_eq!(found, ((end - before) as u64, before as u64), "seed {seed}, {before} to {end}");
        }
        holds(&db, lines.len());
    }
}

#[test]
fn a_cause_may_be_an_earlier_line() {
    let db = tiny();
    let lines =
        [r#"{"type":"A.b"}"#, r#"{"type":"A.c","cause":{"position":1}}"#, r#"{"type":"A.d"}"#].join("\n");
    assert_eq!(import(&db, &lines).unwrap().added, 3);
    assert_eq!(import(&db, &lines).unwrap().known, 3);
    assert_eq!(db.head().0, 3);
}

#[test]
fn a_chain_of_causes_is_restored_as_one_and_an_event_that_leaves_it_is_refused() {
    let db = tiny();
    db.append(NewEvent::new("Order.placed").on(("Order", 0))).unwrap();
    for cause in 1..700 {
        db.append(NewEvent::new("Order.paid").on(("Order", cause % 7)).caused_by(Position(cause))).unwrap();
    }
    let exported = export(&db);
    let root = db.event(Position(1)).unwrap().unwrap().id.to_string();
    assert_eq!(exported.matches(&format!(r#""correlation":"{root}""#)).count(), 699);
    let restored = tiny();
    restored.import(exported.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
    assert_eq!(export(&restored), exported);
    // Within one batch, where the cause is committed together with what it caused, and from one batch to the next.
    for odd in [2, 300, 650] {
        let lines: Vec<String> = exported.lines().map(str::to_owned).collect();
        let changed = lines[odd].replace(&format!(r#""correlation":"{root}""#), r#""correlation":"another""#);
        for (before, restore) in [(0, true), (0, false), (odd, false)] {
            let db = tiny();
            let options = ImportOptions::new().restore(restore);
            db.import(lines[..before].join("\n").as_bytes(), &ImportOptions::new(), &mut |_| {}).unwrap();
            let rest = [&lines[before..odd], std::slice::from_ref(&changed)].concat().join("\n");
            let error = db.import(rest.as_bytes(), &options, &mut |_| {}).unwrap_err().to_string();
            let told = format!("the correlation of an event that #{odd} caused");
            assert!(error.contains(&told) && error.contains(&root) && error.contains("'another'"), "{error}");
        }
    }
}

#[test]
fn what_is_restored_has_the_namespace_that_it_must_have() {
    let db = tiny();
    db.query("DEFINE ENTITY Order NAMESPACE shop").unwrap();
    db.append(NewEvent::new("Order.placed").on(("Order", 1))).unwrap();
    let exported = export(&db);
    let options = ImportOptions::new().restore(true);
    tiny().import(exported.as_bytes(), &options, &mut |_| {}).unwrap();
    let without = exported.replace(r#","namespace":"shop""#, "");
    assert_ne!(without, exported);
    let error = tiny().import(without.as_bytes(), &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("the namespace of #2: expected shop, as Order is defined at #1"), "{error}");
}

#[test]
fn what_stands_before_a_line_that_cannot_be_prepared_is_known_again() {
    let db = tiny();
    let mut lines: Vec<String> = (1..=1500).map(|n| numbered(n, "")).collect();
    for at in [3, 700, 1300] {
        let good = lines[at].clone();
        lines[at] = numbered(at + 1, &format!(r#","tags":{{"t":"{}"}}"#, "x".repeat(600)));
        for _ in 0..2 {
            let error = import(&db, &lines.join("\n")).unwrap_err().to_string();
            let place = format!("line {} ({at} events before it are safely in)", at + 1);
            assert!(error.starts_with(&place) && error.contains("512 bytes"), "{error}");
            assert_eq!(db.head().0, at as u64);
        }
        lines[at] = good;
    }
    assert_eq!(import(&db, &lines.join("\n")).unwrap().added, 200);
    holds(&db, 1500);
}

#[test]
fn lines_that_are_too_much_for_a_group_go_in_as_several() {
    let db = Options::new().limits(4000, 5000).in_memory().unwrap();
    let lines: Vec<String> = (1..=200).map(|n| numbered(n, "")).collect();
    assert_eq!(import(&db, &lines.join("\n")).unwrap().added, 200);
    assert_eq!(import(&db, &lines.join("\n")).unwrap().known, 200);
    holds(&db, 200);
}

#[test]
fn a_line_that_is_too_long_is_named() {
    let long = format!(r#"{{"type":"A.b","data":{{"x":"{}"}}}}"#, "x".repeat(40 << 20));
    let error = import(&tiny(), &long).unwrap_err().to_string();
    assert!(error.starts_with("line 1 (0 events") && error.contains("at most 32 MiB"), "{error}");
}

#[test]
fn a_database_that_stops_midway_says_what_is_safely_in() {
    let db = tiny();
    let lines: Vec<String> = (1..=5000).map(|n| numbered(n, "")).collect();
    let mut batches = 0;
    let stopped = db.import(lines.join("\n").as_bytes(), &ImportOptions::new(), &mut |_| {
        batches += 1;
        if batches == 2 {
            db.close().unwrap();
        }
    });
    let error = stopped.unwrap_err();
    assert!(matches!(error, bygone::Error::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("2000 events are safely in"), "{error}");

    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 2 {
                return Err(std::io::Error::other("it broke"));
            }
            let line = b"{\"type\":\"A.b\"}\n";
            into[..line.len()].copy_from_slice(line);
            Ok(line.len())
        }
    }
    let db = tiny();
    let input = std::io::BufReader::new(Broken(0));
    let error = db.import(input, &ImportOptions::new(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("2 events are safely in") && error.contains("it broke"), "{error}");
    assert_eq!(db.head().0, 2);
}

#[test]
fn data_as_deep_as_it_may_be_comes_back() {
    let nested =
        |levels: usize| -> Value { format!("{}{}", "[".repeat(levels), "]".repeat(levels)).parse().unwrap() };
    let db = tiny();
    let mut event = NewEvent::new("A.deep").member("a", nested(99));
    event = event.metadata(&std::collections::BTreeMap::from([("a", nested(99))]));
    db.append(event).unwrap();
    for restore in [false, true] {
        let back = tiny();
        let options = ImportOptions::new().restore(restore);
        back.import(export(&db).as_bytes(), &options, &mut |_| {}).unwrap();
        let data = |db: &Db| {
            export(db)
                .lines()
                .map(|line| line.split_once("\"data\"").unwrap().1.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(data(&back), data(&db));
    }
    // Deeper is refused in either form.
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for line in [
        format!(r#"{{"type":"A.b","data":{{"a":{deep}}}}}"#),
        format!(r#"{{"type":"A.b","metadata":{{"a":{deep}}}}}"#),
        format!(r#"{{"_type":"A.b","a":{deep}}}"#),
    ] {
        let error = import(&db, &line).unwrap_err().to_string();
        assert!(error.contains("nested deeper than 100"), "{error}");
    }
}

/// An order that was paid, with more members.
fn paid(id: &str, more: &str, amount: u64) -> String {
    format!(
        r#"{{"type":"Order.paid","target":{{"type":"Order","id":"{id}"}},"data":{{"amount":{amount}}}{more}}}"#
    )
}

#[test]
fn another_event_of_a_known_id_or_key_is_a_conflict_that_names_its_line() {
    let members = [r#","id":"e1""#, r#","key":"k1""#, r#","id":"e1","key":"k1""#];
    for more in members {
        let first = paid("1", more, 10);
        let others = [
            (paid("1", more, 11), "data"),
            (paid("2", more, 10), "target"),
            (first.replace("Order.paid", "Order.sent"), "type"),
            (first.replace(r#""type":"Order","id":"1""#, r#""type":"Till","id":"1""#), "target"),
            (paid("1", &format!(r#"{more},"actor":{{"type":"User","id":"ann"}}"#), 10), "actor"),
            (paid("1", &format!(r#"{more},"metadata":{{"ip":"::1"}}"#), 10), "metadata"),
            (paid("1", &format!(r#"{more},"tags":{{"a":1}}"#), 10), "index values"),
            (paid("1", &format!(r#"{more},"timestamp":"2020-01-01T00:00:00Z""#), 10), "time"),
            (paid("1", &format!(r#"{more},"cause":{{"type":"A.b","id":"1"}}"#), 10), "cause"),
            (paid("1", &format!(r#"{more},"correlation":"c""#), 10), "correlation"),
            (paid("1", &format!(r#"{more},"namespace":"shop""#), 10), "namespace"),
            (paid("1", &format!(r#"{more},"producer":{{"type":"Till","id":"4"}}"#), 10), "producer"),
        ];
        for (other, differs) in others {
            let (before, after) = (numbered(1, r#","id":"n1""#), numbered(2, r#","id":"n2""#));
            // In the log before, in a batch before, and in the same batch.
            for within in [false, true] {
                let db = tiny();
                let mut lines = vec![before.as_str(), &other, &after];
                match within {
                    true => lines.insert(0, &first),
                    false => drop(import(&db, &first).unwrap()),
                }
                let error = import(&db, &lines.join("\n")).unwrap_err();
                assert!(matches!(error, bygone::Error::Conflict(_)), "{other}: {error}");
                let error = error.to_string();
                let place =
                    if within { "line 3 (2 events before it are" } else { "line 2 (1 event before it is" };
                assert!(error.contains(place), "{other}: {error}");
                assert!(error.contains(&format!("(with other {differs})")), "{other}: {error}");
                // What stands before it is in, and nothing behind it.
                assert_eq!(db.head().0, 2, "{other}");
            }
        }
        // The same again, and what says less of what the database adds, is known.
        let db = tiny();
        import(&db, &first).unwrap();
        let (exported, spaced) = (export(&db), first.replace(":", " : "));
        for again in [first.clone(), exported, spaced, format!("{first}\n{first}")] {
            let known = again.lines().count() as u64;
            let again = import(&db, &again).unwrap();
            assert_eq!((again.added, again.known), (0, known));
        }
    }
}

#[test]
fn what_a_known_prefix_holds_is_compared_too() {
    let db = tiny();
    db.append(NewEvent::new("Order.paid").id("e1").member("amount", 1)).unwrap();
    let lines = [numbered(1, ""), paid("1", r#","id":"e1""#, 10), numbered(2, "")].join("\n");
    for _ in 0..2 {
        assert!(import(&db, &lines).unwrap_err().to_string().contains("line 2 (1 event before it is"));
    }
    assert_eq!(db.head().0, 2);
}

#[test]
fn of_lines_without_ids_only_what_follows_a_change_is_new() {
    let whole: Vec<String> = (1..=2500).map(|n| numbered(n, "")).collect();
    // At the end, in the middle of a batch, and at the ends of batches.
    for changed in [2499, 2498, 1500, 1001, 1000, 999, 500, 0] {
        let db = Db::in_memory().unwrap();
        import(&db, &whole.join("\n")).unwrap();
        let mut lines = whole.clone();
        lines[changed] = numbered(changed + 10_000, "");
        for (added, known) in [(2500 - changed, changed), (0, 2500)] {
            let imported = import(&db, &lines.join("\n")).unwrap();
            assert_eq!((imported.added, imported.known), (added as u64, known as u64), "{changed}");
        }
    }
    // However the lines between have ids.
    let db = Db::in_memory().unwrap();
    let mixed =
        |n: usize| numbered(n, &if n.is_multiple_of(3) { format!(r#","id":"i{n}""#) } else { String::new() });
    let mut lines: Vec<String> = (1..=2500).map(mixed).collect();
    import(&db, &lines.join("\n")).unwrap();
    for changed in [1400, 2300] {
        lines[changed] = numbered(changed + 10_000, "");
        let imported = import(&db, &lines.join("\n")).unwrap();
        let again = lines[changed..].iter().filter(|line| !line.contains(r#""id""#)).count() as u64;
        assert_eq!((imported.added, imported.known), (again, 2500 - again), "{changed}");
    }
}

#[test]
fn a_restore_loses_no_line() {
    let db = tiny();
    for n in 0..3 {
        db.append(NewEvent::new("A.b").id(&format!("e{n}")).key(&format!("k{n}")).member("n", n)).unwrap();
    }
    let exported = export(&db);
    let restore = |lines: &str| {
        let db = tiny();
        let restored = db.import(lines.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {});
        (restored, db.head().0)
    };
    assert_eq!(restore(&exported).1, 3);
    // Two lines of one id, of one key, and one line twice; at the end, where no position tells.
    let last = exported.lines().last().unwrap();
    let places = [
        (exported.replace("\"e2\"", "\"e0\""), "e0"),
        (exported.replace("\"k2\"", "\"k1\""), "k1"),
        (format!("{exported}{last}\n"), "e2"),
    ];
    for (lines, named) in places {
        let line = lines.lines().count();
        let (restored, head) = restore(&lines);
        let error = restored.unwrap_err().to_string();
        assert!(error.contains(&format!("line {line} ")) && error.contains(named), "{error}");
        assert_eq!(head, line as u64 - 1);
    }
}

#[test]
fn what_is_restored_was_not_recorded_in_the_future() {
    let db = tiny();
    db.append(NewEvent::new("A.b")).unwrap();
    let recorded = db.event(Position(1)).unwrap().unwrap().recorded.to_string();
    let future = format!(r#""recorded":"{}""#, "9999-12-30T00:00:00Z");
    let lines = export(&db).replace(&format!(r#""recorded":"{recorded}""#), &future);
    let restored = tiny();
    let options = ImportOptions::new().restore(true);
    let error = restored.import(lines.as_bytes(), &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("line 1 ") && error.contains("a day ahead") && error.contains("9999"), "{error}");
    assert_eq!(restored.head().0, 0);
}

/// What exports of a log with causes hold, and the events that they name as such.
fn caused() -> Db {
    let db = tiny();
    for n in 0..40u64 {
        let mut event =
            NewEvent::new(if n % 3 == 0 { "O.a" } else { "P.a" }).id(&format!("e{n}")).member("n", n);
        if n > 0 {
            event = event.caused_by(Position(1 + (n - 1) / 2));
        }
        db.append(event).unwrap();
    }
    db
}

/// The id of each event and of its cause, if that is in the log; else what it is called.
fn chains(db: &Db) -> Vec<(String, String)> {
    let all: Vec<bygone::Event> =
        (1..=db.head().0).map(|at| db.event(Position(at)).unwrap().unwrap()).collect();
    let cause = |event: &bygone::Event| match &event.cause {
        None => String::new(),
        Some(bygone::append::Cause::Event(at)) => format!("{} here", all[at.0 as usize - 1].id),
        Some(bygone::append::Cause::Named { kind, id }) => format!("{kind} {id}"),
    };
    all.iter().map(|event| (event.id.to_string(), cause(event))).collect()
}

#[test]
fn causes_are_found_by_their_ids_wherever_a_part_of_a_log_goes() {
    use bygone::maintain::{EventFormat, ExportOptions};
    let db = caused();
    for form in
        [EventFormat::Event, EventFormat::Underscore, EventFormat::CloudEvents, EventFormat::CloudEventsBatch]
    {
        for pattern in ["*", "P.*", "O.*"] {
            let mut part = Vec::new();
            let options = ExportOptions::new().form(form).pattern(pattern.parse().unwrap());
            db.export(options, &mut part, &mut |_| {}).unwrap();
            // Into a log with other events, behind or between which these come.
            let other = tiny();
            other.append(NewEvent::new("B.unrelated")).unwrap();
            for known in [false, true] {
                let imported = other.import(&part[..], &ImportOptions::new(), &mut |_| {}).unwrap();
                assert_eq!(imported.added == 0, known, "{form:?} {pattern}");
            }
            let kind = |n: u64| if n.is_multiple_of(3) { "O.a" } else { "P.a" };
            let matched = |n: u64| pattern == "*" || kind(n)[..1] == pattern[..1];
            let expected: Vec<_> = (0..40u64)
                .filter(|n| matched(*n))
                .map(|n| {
                    let cause = n.checked_sub(1).map(|n| n / 2);
                    (
                        format!("e{n}"),
                        match cause {
                            None => String::new(),
                            Some(cause) if matched(cause) => format!("e{cause} here"),
                            Some(cause) => format!("{} e{cause}", kind(cause)),
                        },
                    )
                })
                .collect();
            assert_eq!(chains(&other)[1..], expected, "{form:?} {pattern}");
            assert!(other.verify().unwrap().faults.is_empty());
            // What comes later is the same, though its cause is now found.
            let rest = other.import(&export_of(&db)[..], &ImportOptions::new(), &mut |_| {}).unwrap();
            assert_eq!((rest.added + rest.known, other.head().0), (40, 41), "{form:?} {pattern}");
        }
    }
}

fn export_of(db: &Db) -> Vec<u8> {
    let mut lines = Vec::new();
    db.export(None, &mut lines, &mut |_| {}).unwrap();
    lines
}

#[test]
fn causes_are_found_while_others_append() {
    let db = caused();
    let exported = export_of(&db);
    let other = tiny();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                other.append(NewEvent::new("B.unrelated").id(&format!("b{}", other.head().0))).ok();
            }
        });
        let imported = other.import(&exported[..], &ImportOptions::new(), &mut |_| {});
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        others.join().unwrap();
        assert_eq!(imported.unwrap().added, 40);
    });
    let chains: Vec<_> = chains(&other).into_iter().filter(|(id, _)| id.starts_with('e')).collect();
    for (n, (id, cause)) in chains.iter().enumerate() {
        assert_eq!(*id, format!("e{n}"));
        assert_eq!(*cause, n.checked_sub(1).map_or(String::new(), |n| format!("e{} here", n / 2)));
    }
}

#[test]
fn one_input_that_is_imported_twice_at_once_is_brought_in_once() {
    let whole: Vec<String> = (1..=3000).map(|n| numbered(n, "")).collect();
    for (one, other) in [(3000, 3000), (1500, 3000), (700, 2300)] {
        let db = Db::in_memory().unwrap();
        let added = std::thread::scope(|scope| {
            let imports = [one, other].map(|end| {
                let (db, lines) = (&db, whole[..end].join("\n"));
                scope.spawn(move || import(db, &lines).unwrap())
            });
            imports.map(|import| import.join().unwrap().added).iter().sum::<u64>()
        });
        assert_eq!(added, other as u64);
        holds(&db, other);
    }
}

#[test]
fn a_line_that_only_leaves_out_its_time_is_another() {
    let db = tiny();
    let timed = |n: usize| numbered(n, r#","timestamp":"2024-01-01T00:00:00Z""#);
    let lines = [numbered(1, ""), timed(2), numbered(3, "")];
    import(&db, &lines.join("\n")).unwrap();
    let changed = [numbered(1, ""), numbered(2, ""), numbered(3, "")];
    assert_eq!(import(&db, &changed.join("\n")).unwrap().added, 2);
    // An event that somebody else appended behind the last line is none of it.
    let db = tiny();
    import(&db, &lines[..2].join("\n")).unwrap();
    db.append(NewEvent::new("A.b").member("n", 3)).unwrap();
    assert_eq!(import(&db, &lines.join("\n")).unwrap().added, 1);
}

#[test]
fn what_earlier_versions_brought_in_is_known() {
    // They kept the hash of the input up to the last line of a group, on its first event.
    let db = tiny();
    let lines: Vec<String> = (1..=5).map(|n| numbered(n, "")).collect();
    let mut hash = blake3::Hasher::new();
    hash.update((lines[..3].join("\n") + "\n").as_bytes());
    let key = format!("import:{}", hash.finalize().to_hex());
    for n in 1..=3u64 {
        let event = NewEvent::new("A.b").member("n", n);
        db.append(if n == 1 { event.key(&key) } else { event }).unwrap();
    }
    let imported = import(&db, &lines.join("\n")).unwrap();
    assert_eq!((imported.added, imported.known), (2, 3));
    holds(&db, 5);
    let changed = import(&db, &[&lines[..4], &[numbered(6, "")]].concat().join("\n")).unwrap();
    assert_eq!((changed.added, changed.known), (1, 4));
}

#[test]
fn an_index_value_that_is_never_found_is_refused_however_it_comes() {
    for name in ["actor", "target", "type", "id", "key", "cause", "correlation"] {
        let db = tiny();
        let event = NewEvent::new("A.b").index(name, "x");
        let error = db.append(event).unwrap_err().to_string();
        assert!(error.contains(&format!("found '{name}'")), "{error}");
        let line = numbered(1, &format!(r#","tags":{{"{name}":"x"}}"#));
        assert!(import(&db, &line).unwrap_err().to_string().contains(&format!("found '{name}'")));
        let said = format!("ATOMIC (EMIT A.b 1; EMIT A.b 2 INDEX BY `{name}` = 'x')");
        assert!(db.query(&said).err().unwrap().to_string().contains("INDEX BY"));
        assert_eq!(db.head().0, 0);
        // What older versions took is restored as it was.
        let at = r#""position":1,"recorded":"2024-01-01T00:00:00Z","#;
        let old = line.replacen('{', &format!("{{{at}"), 1);
        db.import(old.as_bytes(), &ImportOptions::new().restore(true), &mut |_| {}).unwrap();
        assert_eq!(db.head().0, 1);
    }
}

#[test]
fn the_last_year_is_kept_found_and_carried_like_any_other() {
    let db = tiny();
    let query = |db: &Db, text: &str| {
        let answer = db.query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        answer.rows.map(|row| Value::of(&row.unwrap()).unwrap().to_string()).collect::<Vec<_>>()
    };
    query(&db, "DEFINE INDEX until ON 'Pass.*' AS time(data.until)");
    query(&db, "DEFINE ENTITY Pass ON issued SET until = data.until");
    let last = "9999-12-31T23:59:59.999999Z";
    let lines = [
        ("1", "2024-01-01T00:00:00Z", "2025-01-01"),
        ("2", last, "9999-12-31"),
        ("3", "2024-01-01T00:00:00Z", last),
    ]
    .map(|(id, timestamp, until)| {
        format!(
            r#"{{"type":"Pass.issued","target":{{"type":"Pass","id":"{id}"}},"timestamp":"{timestamp}","data":{{"until":"{until}"}}}}"#
        )
    });
    assert_eq!(import(&db, &lines.join("\n")).unwrap().added, 3);
    let other = tiny();
    assert_eq!(import(&other, &export(&db).lines().skip(2).collect::<Vec<_>>().join("\n")).unwrap().added, 3);
    assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    for (db, index) in [(&db, true), (&other, false)] {
        let find = |text: &str| {
            query(db, &format!("EVENTS 'Pass.*' WHERE {text} ORDER BY target.id SELECT target.id AS id"))
                .concat()
        };
        assert_eq!(find("time(data.until) > NOW"), r#"{"id":"2"}{"id":"3"}"#);
        assert_eq!(find("time(data.until) >= 9999-12-31T23:59:59.999999Z"), r#"{"id":"3"}"#);
        assert_eq!(find("timestamp = 9999-12-31T23:59:59.999999Z"), r#"{"id":"2"}"#);
        if index {
            let found =
                query(db, "EVENTS 'Pass.*' BY until >= 9999-12-31 ORDER BY target.id SELECT target.id AS id");
            assert_eq!(found.concat(), r#"{"id":"2"}{"id":"3"}"#);
            assert_eq!(query(db, "AT Pass 2 '9999-12-31T23:59:59.999998Z'").len(), 1);
            let at_the_end = query(db, &format!("AT Pass 2 '{last}'")).concat();
            assert!(at_the_end.contains("9999-12-31"), "{at_the_end}");
        }
        assert!(export(db).contains(&format!(r#""timestamp":"{last}""#)));
        assert!(db.verify().unwrap().faults.is_empty());
    }
}

#[test]
#[cfg(feature = "encryption")]
fn what_is_forgotten_is_named_in_each_form_and_passed_over_as_it_comes_back() {
    use bygone::maintain::{EventFormat, ExportOptions};
    let db = tiny();
    db.query("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name, metadata.ip").unwrap();
    for user in [7, 8] {
        db.query(&format!(
            "EMIT User.named {user} {{name: 'name of {user}', age: 44}} META {{ip: '::{user}'}}"
        ))
        .unwrap();
    }
    db.query("EMIT Order.paid 1 {forgotten: 'an umbrella'}").unwrap();
    db.query("FORGET User 7").unwrap();
    let forms = [
        (EventFormat::Event, r#""forgotten":["data.name","metadata.ip"]"#),
        (EventFormat::Underscore, r#""_forgotten":["data.name","metadata.ip"]"#),
        (EventFormat::CloudEvents, r#""bygone":"{\"forgotten\":[\"data.name\",\"metadata.ip\"]"#),
        (EventFormat::CloudEventsBatch, r#""bygone":"{\"forgotten\":[\"data.name\",\"metadata.ip\"]"#),
    ];
    for (form, named) in forms {
        let options =
            ExportOptions::new().form(form).pattern("User.*, Order.*".parse().unwrap()).with_private(true);
        let options = options.on_left_out(|events| panic!("{events} left out"));
        let mut lines = Vec::new();
        db.export(&options, &mut lines, &mut |_| {}).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.matches(named).count(), 1, "{form:?}: {lines}");
        assert!(lines.contains("name of 8") && !lines.contains("name of 7"), "{form:?}: {lines}");
        let other = tiny();
        assert_eq!(import(&other, &lines).unwrap().added, 3, "{form:?}");
        let all = |db: &Db| db.events("User.*, Order.*").unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        let (events, own) = (all(&other), all(&db));
        assert_eq!(events.len(), 3);
        for (event, own) in events.iter().zip(own) {
            assert_eq!((&event.data, &event.metadata), (&own.data, &own.metadata), "{form:?}");
            assert_eq!(event.forgotten, None, "{form:?}: that is of the log that it comes from");
        }
        // And again, nothing is new: a null is as good as forgotten.
        assert_eq!(import(&other, &lines).unwrap().known, 3, "{form:?}");
    }
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = told.clone();
    let options = ExportOptions::new().on_left_out(move |events| {
        count.fetch_add(events, std::sync::atomic::Ordering::Relaxed);
    });
    db.export(&options, &mut Vec::new(), &mut |_| {}).unwrap();
    assert_eq!(told.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[test]
#[cfg(feature = "encryption")]
fn an_export_has_what_is_stored_whatever_it_is_read_as() {
    use bygone::maintain::ExportOptions;
    let define = |db: &Db| {
        db.query("DEFINE PRIVATE contact ON 'User.*' OF target FIELDS data.name").unwrap();
    };
    let upcast =
        "DEFINE EVENT User.named {called: any?} UPCAST SET data.called = upper(data.name) DELETE data.name";
    let db = tiny();
    define(&db);
    for user in [7, 8] {
        db.query(&format!("EMIT User.named {user} {{name: 'name of {user}'}}")).unwrap();
    }
    db.query(upcast).unwrap();
    db.query("EMIT User.named 9 {called: 'NAME OF 9'}").unwrap();
    db.query("FORGET User 7").unwrap();
    let exported = |with_private: bool| {
        let mut lines = Vec::new();
        let options = ExportOptions::new().pattern("User.*".parse().unwrap()).with_private(with_private);
        db.export(&options, &mut lines, &mut |_| {}).unwrap();
        String::from_utf8(lines).unwrap()
    };
    let lines = exported(true);
    // By the names that they are stored under, also of what is forgotten.
    assert!(lines.contains(r#""data":{"name":null},"forgotten":["data.name"]"#), "{lines}");
    assert!(lines.contains(r#""data":{"name":"name of 8"}"#), "{lines}");
    assert!(lines.contains(r#""data":{"called":"NAME OF 9"}"#), "{lines}");
    assert_eq!(exported(false).matches(r#""data":{"name":null}}"#).count(), 2);
    // Where it comes in before the definition, it is read as here.
    let other = tiny();
    define(&other);
    assert_eq!(import(&other, &lines).unwrap().added, 3);
    let read = |db: &Db| -> Vec<String> {
        let events = db.events("User.*").unwrap();
        events.map(|event| event.unwrap().data.to_string()).collect()
    };
    let (error, known) = (other.query(upcast).map(drop), read(&other));
    // Nothing says there that this null was forgotten: an UPCAST that needs it has to allow for it.
    assert!(error.unwrap_err().to_string().contains("upper(null)"), "{known:?}");
    other
        .query("DEFINE EVENT User.named {called: any?} UPCAST SET data.called = coalesce(data.called, if(data.name IS NULL, NULL, upper(data.name))) DELETE data.name")
        .unwrap();
    assert_eq!(read(&db), [r#"{"called":null}"#, r#"{"called":"NAME OF 8"}"#, r#"{"called":"NAME OF 9"}"#]);
    assert_eq!(read(&other), read(&db));
}
