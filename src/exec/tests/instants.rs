//! A text that says an instant is that instant beside one: in WHERE, in BY, in conditions of verbs, whatever index answers.

use super::*;
use crate::entity::Position;
use crate::plan::{FORCED, Forced};
use crate::store::tables::indexes::Backfilled;
use crate::store::verify;

/// What `data.due` is, and the instant that it says.
const DUE: [(&str, Option<&str>); 18] = [
    ("'2024-05-31'", Some("2024-05-31T00:00:00Z")),
    ("'2024-06-01'", Some("2024-06-01T00:00:00Z")),
    ("'2024-06-01T12:00'", Some(NOW)),
    ("'2024-06-01T12:00:00Z'", Some(NOW)),
    ("'2024-06-01T14:00:00+02:00'", Some(NOW)),
    ("'2024-06-01 12:00:00.000'", Some(NOW)),
    ("'20240601T120000Z'", Some(NOW)),
    ("'2024-06-02'", Some("2024-06-02T00:00:00Z")),
    // In the year before, where it is said, and in the year after.
    ("'2023-12-31T23:30:00-01:00'", Some("2024-01-01T00:30:00Z")),
    ("'2025-01-01T00:30:00+01:00'", Some("2024-12-31T23:30:00Z")),
    ("'-000044-03-15'", Some("-000044-03-15T00:00:00Z")),
    ("'+002024-06-01T12:00:00Z'", Some(NOW)),
    ("'soon'", None),
    ("'2024'", None),
    ("'2024-06-31'", None),
    ("20240601", None),
    ("TRUE", None),
    ("NULL", None),
];

const INSTANTS: [(&str, &str); 6] = [
    ("2024-06-01", "2024-06-01T00:00:00Z"),
    ("2024-06-01T12:00:00Z", NOW),
    ("NOW", NOW),
    ("2024-01-01T00:30", "2024-01-01T00:30:00Z"),
    ("2024-12-31T23:30", "2024-12-31T23:30:00Z"),
    ("2100-01-01", "2100-01-01T00:00:00Z"),
];

const COMPARISONS: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

/// Whether a comparison is true; `!=` is where there is no instant, too.
fn holds(said: Option<&str>, comparison: &str, instant: &str) -> bool {
    compares(comparison, said.map(|said| time(said).cmp(&time(instant))))
}

fn tasks() -> Store {
    let store = store(5);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Task ON opened SET due = coalesce(data.due, NULL)");
    for (id, (due, _)) in DUE.iter().enumerate() {
        let tag = if *due == "NULL" { String::new() } else { format!("INDEX BY tag = {due}") };
        session.rows(&format!("EMIT Task.opened {id} {{due: {due}}} {tag}"));
    }
    for index in [
        "due ON 'Task.*' AS data.due",
        "at ON 'Task.*' AS time(data.due)",
        // Times and texts.
        "mixed ON 'Task.*' AS if(length(data.due) > 10, time(data.due), data.due)",
        "state ON 'Task' AS state.due",
    ] {
        session.rows(&format!("DEFINE INDEX {index}"));
    }
    store.checkpoint().unwrap();
    assert!(store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    store
}

/// Which of the tasks a question finds, whatever reads are taken.
fn found(session: &Session, question: &str) -> Vec<usize> {
    let ways = [Forced::Log, Forced::Lists, Forced::Every].map(|way| {
        FORCED.set(Some(way));
        let mut ids: Vec<usize> = session
            .lines(&format!("{question} SELECT target.id AS id"))
            .iter()
            .map(|line| line.split('"').nth(3).unwrap().parse().unwrap())
            .collect();
        FORCED.set(None);
        ids.sort_unstable();
        ids
    });
    assert_eq!(ways[0], ways[1], "{question}");
    assert_eq!(ways[0], ways[2], "{question}");
    ways[0].clone()
}

fn those(is: impl Fn(&str, Option<&str>) -> bool) -> Vec<usize> {
    let numbered = DUE.iter().enumerate();
    numbered.filter(|(_, (due, said))| is(due, *said)).map(|(id, _)| id).collect()
}

#[test]
fn a_text_that_says_an_instant_is_that_instant_beside_one_with_and_without_an_index() {
    let store = tasks();
    let session = Session::new(&store);
    for (said, instant) in INSTANTS {
        for comparison in COMPARISONS {
            let expected = those(|_, due| holds(due, comparison, instant));
            let of_values = those(|due, said| due != "NULL" && holds(said, comparison, instant));
            for subject in
                ["data.due", "time(data.due)", "if(length(data.due) > 10, time(data.due), data.due)"]
            {
                let question = format!("EVENTS 'Task.*' WHERE {subject} {comparison} {said}");
                assert_eq!(found(&session, &question), expected, "{question}");
                let turned = ["=", "!=", ">", ">=", "<", "<="]
                    [COMPARISONS.iter().position(|one| *one == comparison).unwrap()];
                let question = format!("EVENTS 'Task.*' WHERE {said} {turned} {subject}");
                assert_eq!(found(&session, &question), expected, "{question}");
            }
            let question = format!("EVENTS 'Task.*' WHERE tags.tag {comparison} {said}");
            assert_eq!(found(&session, &question), expected, "{question}");
            let question = format!("FIND Task WHERE state.due {comparison} {said}");
            assert_eq!(found(&session, &question), expected, "{question}");
            for name in ["due", "mixed", "tag"] {
                let question = format!("EVENTS 'Task.*' BY {name} {comparison} {said}");
                assert_eq!(found(&session, &question), of_values, "{question}");
            }
        }
    }
}

#[test]
fn ranges_and_rows_of_instants_are_comparisons_of_each() {
    let store = tasks();
    let session = Session::new(&store);
    let (low, high) = ("2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z");
    let within = those(|_, due| holds(due, ">=", low) && holds(due, "<=", high));
    let either = those(|_, due| holds(due, "=", low) || holds(due, "=", NOW));
    for (test, expected) in [
        ("BETWEEN 2024-06-01 AND 2024-06-02", &within),
        ("BETWEEN 2024-06-01 AND '2024-06-02'", &within),
        ("BETWEEN '2024-06-01T00:00:00Z' AND 2024-06-02", &within),
        ("IN (2024-06-01, 2024-06-01T12:00)", &either),
        ("IN (2024-06-01, '2024-06-01T12:00')", &either),
    ] {
        for subject in ["WHERE data.due", "WHERE tags.tag"] {
            let question = format!("EVENTS 'Task.*' {subject} {test}");
            assert_eq!(&found(&session, &question), expected, "{question}");
        }
        let question = format!("FIND Task WHERE state.due {test}");
        assert_eq!(&found(&session, &question), expected, "{question}");
        if !test.contains("IN (2024-06-01, '") {
            for name in ["due", "tag"] {
                let question = format!("EVENTS 'Task.*' BY {name} {test}");
                assert_eq!(&found(&session, &question), expected, "{question}");
            }
        }
    }
    // An item of a list is compared like any value.
    session.rows("EMIT Task.listed 99 {dues: ['2024-06-01T14:00:00+02:00', 'soon']}");
    assert_eq!(found(&session, "EVENTS WHERE data.dues CONTAINS 2024-06-01T12:00"), [99]);
}

#[test]
fn a_text_beside_a_text_stays_a_text_and_so_does_what_is_grouped_and_sorted() {
    let store = tasks();
    let session = Session::new(&store);
    assert_eq!(found(&session, "EVENTS 'Task.*' WHERE data.due = '2024-06-01T12:00:00Z'"), [3]);
    assert_eq!(found(&session, "EVENTS 'Task.*' BY due = '2024-06-01T12:00:00Z'"), [3]);
    // What an index holds as a time is equal to a text that says it.
    let mixed = "if(length(data.due) > 10, time(data.due), data.due)";
    for question in [
        format!("EVENTS 'Task.*' WHERE {mixed} = '2024-06-01T12:00:00Z'"),
        "EVENTS 'Task.*' BY mixed = '2024-06-01T12:00:00Z'".to_owned(),
    ] {
        assert_eq!(found(&session, &question), [2, 3, 4, 5, 6, 11], "{question}");
    }
    let groups = session.lines("EVENTS 'Task.*' WHERE data.due = 2024-06-01T12:00 GROUP BY data.due AS due");
    assert_eq!(groups.len(), 6, "{groups:?}");
}

#[test]
fn verbs_folds_views_and_guards_compare_instants_too() {
    let store = tasks();
    let session = Session::new(&store);
    session.rows("DEFINE VERB Remind ON Task REQUIRE state.due < NOW ELSE 'not yet' EMIT reminded");
    session.rows("PERFORM Remind Task 1");
    assert!(session.error("PERFORM Remind Task 7").contains("not yet"));
    assert!(session.error("PERFORM Remind Task 12").contains("not yet"));

    session.rows("DEFINE VIEW late AS EVENTS 'Task.opened' WHERE data.due < 2024-06-01T12:00 GROUP BY type SELECT count() AS n");
    let late = those(|_, due| holds(due, "<", NOW)).len();
    assert!(
        session.lines("READ late")[0].contains(&format!("\"n\":{late}")),
        "{:?}",
        session.lines("READ late")
    );

    session.rows("EMIT Day.closed 1 EXPECT NONE ('Task.*' BY tag = 2024-06-03)");
    assert!(
        session.error("EMIT Day.closed 2 EXPECT NONE ('Task.*' BY tag = 2024-06-02)").contains("EXPECT NONE")
    );
    assert!(
        session.error("EMIT Day.closed 2 EXPECT NONE ('Task.*' BY due = 2024-06-02)").contains("EXPECT NONE")
    );
    let report = verify::verify(&store.snapshot()).unwrap();
    assert!(report.faults.is_empty(), "{report:?}");
}

/// A file as an earlier version left it, which took an instant and a text for two sorts.
fn as_of_earlier_rules(disk: &Arc<MemoryDisk>, rules: Option<u64>) -> Store {
    let options = || {
        Options::new()
            .disk(disk.clone())
            .with_compiler(Arc::new(crate::exec::Compiler))
            .clock(Clock::new(|| time(NOW)))
    };
    let store = Store::create(Path::new("/shop.bygone"), options()).unwrap();
    let session = Session::new(&store);
    for text in [
        "DEFINE ENTITY Task ON opened SET late = if(data.due < 2024-06-01, 1, 0)",
        "DEFINE ENTITY Plan ON made SET late = 0",
        "DEFINE INDEX late ON 'Task.*' AS data.due < 2024-06-01",
        "DEFINE INDEX due ON 'Task.*' AS data.due",
        "DEFINE VIEW days AS EVENTS 'Task.*' WHERE data.due < 2024-06-01 GROUP BY type SELECT count() AS n",
        "EMIT Task.opened 1 {due: '2024-05-01'}",
        "EMIT Task.opened 2 {due: '2024-07-01'}",
        "EMIT Plan.made 1",
        "EMIT Plan.made 2",
    ] {
        session.rows(text);
    }
    store.checkpoint().unwrap();
    assert!(store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    // The second state in place of the first, as if it had been found so.
    let write = |tables: &mut crate::store::tables::WriteTables<'_>| {
        for definition in [Position(1), Position(2)] {
            let kept = tables.with_state(definition, "2", |bytes| Ok(bytes.unwrap().to_vec()))?;
            tables.put_state(definition, "1", kept)?;
        }
        match rules {
            Some(rules) => tables.set_meta("evaluation", &rules.to_be_bytes()),
            None => tables.clear_meta("evaluation"),
        }
    };
    store.shared().tables.write("planting", write).unwrap();
    store.close().unwrap();
    let store = Store::open(Path::new("/shop.bygone"), options()).unwrap();
    assert!(store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
    store
}

#[test]
fn what_an_earlier_version_made_by_other_rules_is_made_anew() {
    let late = |store: &Store, kind: &str| {
        let session = Session::new(store);
        session.lines(&format!("FIND {kind} WHERE target.id = '1' SELECT state.late AS late, version"))
    };
    for rules in [None, Some(1)] {
        let store = as_of_earlier_rules(&Arc::new(MemoryDisk::new()), rules);
        assert_eq!(late(&store, "Task"), [r#"{"late":1,"version":1}"#]);
        let session = Session::new(&store);
        assert_eq!(session.lines("READ days SELECT n"), [r#"{"n":1}"#]);
        let read = store.shared().tables.read().unwrap();
        // Of an index of such a comparison nobody can tell any more what is in it; the other one is as it was.
        assert_eq!(read.backfilled(Position(3)).unwrap(), Backfilled::Outdated);
        assert_eq!(read.backfilled(Position(4)).unwrap(), Backfilled::Through(Position(4)));
        drop(read);
        assert!(session.error("EVENTS BY late = TRUE").contains("an earlier version made it"));
        session.rows("DEFINE INDEX late ON 'Task.*' AS data.due < 2024-06-01");
        assert!(store.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
        assert_eq!(session.positions("EVENTS BY late = TRUE"), [6]);
        // It was not asked whether the others are right: they mean what they meant.
        assert_eq!(late(&store, "Plan"), [r#"{"late":0,"version":1}"#]);
        store.close().unwrap();
    }
    // By the rules of today nothing is given up.
    let store = as_of_earlier_rules(&Arc::new(MemoryDisk::new()), Some(2));
    assert_eq!(late(&store, "Task"), [r#"{"late":0,"version":1}"#]);
}

#[test]
fn only_what_compares_an_instant_with_what_may_be_a_text_means_something_else() {
    let index = |text: &str| crate::plan::compares_instants(&format!("DEFINE INDEX x ON '*' AS {text}"));
    for text in [
        "data.due < 2024-06-01",
        "data.due < timestamp",
        "2024-06-01 IN (data.due, data.at)",
        "data.due BETWEEN 2024-06-01 AND 2024-07-01",
        "data.dues CONTAINS 2024-06-01",
        "if(coalesce(timestamp, data.at) = data.due, 1, 2)",
        "coalesce(timestamp, data.at) = '2024-06-01'",
        "least(data.at, timestamp) = data.due",
        "state.due < 2024-06-01",
    ] {
        assert!(index(text), "{text}");
    }
    for text in [
        "data.due",
        "bucket(timestamp, 1d)",
        "timestamp > '2024-06-01'",
        "time(data.due) < 2024-06-01",
        "year(timestamp) = 2024",
        "data.total > 5 AND data.due = '2024-06-01'",
        "timestamp - time(data.due) > 1d",
    ] {
        assert!(!index(text), "{text}");
    }
    for (text, is) in [
        ("DEFINE VIEW v AS EVENTS 'A.*' BY due = 2024-06-01", true),
        ("DEFINE VIEW v AS EVENTS 'A.*' BY due = '2024-06-01'", false),
        ("DEFINE VIEW v AS EVENTS GROUP BY bucket(timestamp, 1d) AS day SELECT count() AS n", false),
        ("DEFINE ENTITY A ON b SET c = if(data.d > recorded, 1, 2)", true),
        ("DEFINE ENTITY A ON b SET c = text(timestamp)", false),
    ] {
        assert_eq!(crate::plan::compares_instants(text), is, "{text}");
    }
}
