//! Arbitrary lines of a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::Options;
use crate::store::SharedAccess;
use crate::store::disk::memory::MemoryDisk;

/// The bytes are what a client sends. Whatever they are: the database says hello first, each line that it answers with is an object, no
/// request has more ends than lines that name its id, the database is whole behind it, and another client is answered.
pub fn protocol(bytes: &[u8]) {
    let (access, bytes) = match bytes.split_first() {
        Some((first, rest)) if first % 4 == 0 => (SharedAccess::ReadOnly, rest),
        Some((_, rest)) => (SharedAccess::Full, rest),
        None => return,
    };
    // What is written by it, backups too, stays in memory.
    let db = Options::new()
        .disk(Arc::new(MemoryDisk::new()))
        .create("/shop.bygone")
        .expect("a database in memory");
    for order in 1..=3 {
        db.query(&format!("EMIT Order.created {order} {{total: {order}0}}")).expect("an event");
    }
    let head = db.head();
    let mut output = Vec::new();
    // What is no request ends the connection, and is told.
    let _ = db.serve(bytes, &mut output, access);
    let answers = String::from_utf8(output).expect("answers are text");
    let mut lines = answers.lines();
    assert!(lines.next().is_some_and(|hello| hello.starts_with(r#"{"bygone":"#)), "no hello: {answers}");
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("an object");
        if line.contains_key("done") || line.contains_key("error") {
            *ends.entry(line.get("id").map(ToString::to_string).unwrap_or_default()).or_default() += 1;
        }
    }
    let requests = bytes.split(|byte| *byte == b'\n').count();
    assert!(ends.values().sum::<usize>() <= requests + 1, "more ends than requests: {answers}");
    assert!(access == SharedAccess::Full || db.head() == head, "something was written");
    db.verify().expect("a database that is whole");
    let mut output = Vec::new();
    db.serve(&b"{\"id\":1,\"statement\":\"SHOW HEAD\"}\n"[..], &mut output, access).expect("another client");
    assert!(String::from_utf8_lossy(&output).contains(r#""done""#));
}

/// What a fuzzer begins with.
#[cfg(test)]
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let requests = include_str!("../server/tests.rs").split("r#\"").skip(1);
    let requests = requests.filter_map(|text| text.split_once("\"#").map(|(request, _)| request));
    let requests: Vec<&str> = requests.filter(|request| request.starts_with(r#"{"id""#)).collect();
    let each = requests.iter().map(|request| format!("\u{1}{request}\n"));
    let three = requests.windows(3).map(|some| format!("\u{1}{}\n", some.join("\n")));
    each.chain(three).map(String::into_bytes).collect()
}
