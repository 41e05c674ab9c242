//! Import and export, through the library: nothing lost, nothing twice, and a bad line says where.

use std::path::Path;

use bygone::{Db, ImportOptions, Imported, NewEvent, Options, Value};

/// Real events: the departures, landings and cancellations of three planes.
fn flights() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights.jsonl");
    std::fs::read_to_string(file).unwrap()
}

/// A database whose tails are so small that an import goes through many checkpoints.
fn tiny() -> Db {
    Options::new().tail(300, 1 << 20).in_memory().unwrap()
}

fn import(db: &Db, lines: &str) -> bygone::Result<Imported> {
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
    let error = import(&other, &export(&db)).unwrap_err().to_string();
    assert!(error.contains("#2") && error.contains("--restore"), "{error}");
    // Into a new database positions are the same, and it means the same.
    let new = tiny();
    import(&new, &export(&db)).unwrap();
    assert_eq!(new.head().0, 2);
}

#[test]
fn odd_inputs_are_answered() {
    let db = tiny();
    assert_eq!(import(&db, "").unwrap().added, 0);
    assert_eq!(import(&db, "\n\r\n  \n").unwrap().added, 0);
    assert_eq!(import(&db, "\u{feff}{\"type\":\"A.b\"}\r\n{\"type\":\"A.c\"}").unwrap().added, 2);
    for (wrong, named) in [
        ("[]", "a JSON object"),
        ("{", "EOF"),
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
