//! Files that earlier versions wrote: they open, say what they said, and go on.
//!
//! `tests/files/format-5.bygone` was written by the program at the commit before "Bring definitions that are at the same place up to the
//! log together", by the statements of `format-5.txt`, and then run for a moment; `format-5-killed.bygone` is a copy of it that two more
//! events were appended to before the program was killed, with its journals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn copied(name: &str, folder: &Path) -> PathBuf {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    for end in ["", "-journal-a", "-journal-b"] {
        let from = files.join(format!("{name}{end}"));
        if from.exists() {
            fs::copy(from, folder.join(format!("shop.bygone{end}"))).unwrap();
        }
    }
    folder.join("shop.bygone")
}

/// The lines that statements print.
fn lines(file: &Path, options: &[&str], text: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bygone"));
    let output = command.arg(file).args(options).args(["-c", text]).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{text}: {err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each statement answers of the file as it was closed.
fn questions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "HISTORY Order 1 SELECT type, data, actor, tags, key, timestamp",
            json!([
                {"type": "Order.placed", "data": {"customer": "ann", "total": 10}, "actor": {"type": "User", "id": "ann"},
                 "tags": {"region": "eu"}, "key": "req-1", "timestamp": "2024-01-05T00:00:00Z"},
                {"type": "Order.placed", "data": {"customer": "ann", "total": 15}, "actor": null, "tags": null, "key": null,
                 "timestamp": "2024-03-05T00:00:00Z"},
            ]),
        ),
        (
            "AT Order 1 '2024-02-01'",
            json!([{"target": {"type": "Order", "id": "1"}, "version": 1, "events": 1, "at": "2024-02-01T00:00:00Z",
                    "state": {"total": 10}}]),
        ),
        ("FIND Order WHERE state.total > 20 SELECT target.id AS id", json!([{"id": "1"}])),
        ("EVENTS BY customer = 'ann' SELECT position", json!([{"position": 11}, {"position": 13}])),
        ("EVENTS BY region = 'eu' SELECT position", json!([{"position": 11}])),
        (
            "READ revenue",
            json!([{"customer": "ann", "total": 25, "orders": 2}, {"customer": "bob", "total": 25, "orders": 1}]),
        ),
        ("READ large SELECT position", json!([{"position": 12}])),
        ("READ rich", json!([{"total": 25}])),
        (
            "EVENTS 'Customer.*' SELECT position, cause",
            json!([{"position": 16, "cause": {"position": 11}}, {"position": 17, "cause": {"position": 12}},
                   {"position": 18, "cause": {"position": 13}}]),
        ),
        (
            "SHOW SUBSCRIPTIONS",
            json!([{"name": "seen", "of": "'Order.*'", "position": 18, "lag": 0, "reader": null}]),
        ),
        (
            "EVENTS '$entity.*' SELECT type, data",
            json!([{"type": "$entity.defined", "data": {"definition":
                "DEFINE ENTITY Order INITIAL {total: 0} ON placed SET total = state.total + data.total ON cancelled DELETE"}}]),
        ),
    ]
}

fn answers(file: &Path, options: &[&str]) {
    for (text, expected) in questions() {
        assert_eq!(Value::Array(lines(file, options, text)), expected, "{text}");
    }
    let head = &lines(file, options, "SHOW HEAD")[0];
    assert_eq!(head["position"], 18);
    let chain = "2b3d563a6188c21af15b74c7b1a3b0407f81c018a6c19f8547b0c8ddf176790f";
    assert_eq!(head["chain"], chain, "the chain of what was written is what it was");
    assert_eq!(lines(file, options, "VERIFY")[0]["ok"], true);
}

#[test]
fn a_file_of_format_5_answers_as_it_did_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = copied("format-5.bygone", folder.path());
    answers(&file, &["--read-only"]);
    answers(&file, &[]);
    lines(&file, &[], "EMIT Order.placed 4 {customer: 'dan', total: 30}; PERFORM Cancel Order 1");
    assert_eq!(
        lines(&file, &[], "FIND Order SELECT target.id AS id, state.total AS total"),
        [json!({"id": "4", "total": 30})]
    );
    assert_eq!(lines(&file, &[], "VERIFY")[0]["ok"], true);
}

#[test]
fn a_file_of_format_5_with_the_journals_of_a_killed_process_has_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let file = copied("format-5-killed.bygone", folder.path());
    // The first reads only, and leaves it as it was.
    for options in [&["--read-only"][..], &[], &[]] {
        assert_eq!(lines(&file, options, "SHOW HEAD")[0]["position"], 20);
        let state = &lines(&file, options, "AT Order 3 NOW")[0];
        assert_eq!((&state["version"], &state["state"]), (&json!(2), &json!({"total": 42})));
        let revenue = json!([
            {"customer": "ann", "total": 25, "orders": 2}, {"customer": "bob", "total": 25, "orders": 1},
            {"customer": "cid", "total": 42, "orders": 2},
        ]);
        assert_eq!(Value::Array(lines(&file, options, "READ revenue")), revenue);
        assert_eq!(lines(&file, options, "VERIFY")[0]["ok"], true);
    }
}
