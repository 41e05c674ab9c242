//! Imports only go down: each file of the crate stands on a floor, and uses only what stands on its own floor or below. Within the store and
//! within plans there are rooms, each on a floor of its own: what is in a room uses nothing of another room on the same floor, and
//! nothing above.

mod sources;

use std::fs;
use std::path::Path;

use sources::sources;

/// The floors, from the ground up, by the first part of a module's path.
const FLOORS: &[&[&str]] = &[
    &["error", "value", "document", "time", "cancel", "allowance", "position", "hex", "telemetry"],
    &["event", "entity", "pattern", "definition"],
    &["store"],
    &["lang", "signing"],
    &["plan"],
    &["exec"],
    &["live"],
    &[
        "db",
        "query",
        "aggregate",
        "appending",
        "verb",
        "transfer",
        "projection",
        "protocol",
        "server",
        "client",
        "shared_db",
        "editor",
        "http",
        "testing",
        "fuzzing",
        "lib",
    ],
    &["shell", "main"],
];

/// The rooms of the store, from the ground up: on each floor, of each room the folders and files below `src/store`. Those of one room may use
/// each other. The store itself stands above them all, with its threads.
const ROOMS: &[&[&str]] = &[
    &[
        "aes_gcm",
        "disk",
        "durability",
        "fault_injection",
        "index",
        "mutex",
        "progress",
        "report",
        "shared_access",
    ],
    &[
        "closings",
        "background",
        "encryption",
        "failures",
        "forgetting_lock",
        "journal",
        "log_progress",
        "pace",
        "state",
    ],
    &["committer", "event_schema", "tables", "temporary", "verb"],
    &["catalog", "chain", "cipher", "cursor_moves", "name"],
    &["private_values", "read_form"],
    &["keyring"],
    &["cursor", "log", "memtable", "touched"],
    &["apply"],
    &["read_txn"],
    // What a snapshot reads, and what waits to be committed: a condition of it reads a snapshot.
    &["append_request condition kernel metrics options queue snapshot state_caches"],
    &["rewriting"],
    &["admission", "copy", "cursor_writer", "outdated", "view"],
    &["materialize", "verify"],
    &["commit", "proof"],
    &["checkpoint"],
    &["bulk_load", "compact", "forget", "recover"],
    &["backup", "rescue"],
];

/// The rooms of plans, from the ground up: of each, the folders and files below `src/plan`. Expressions; what plans say; binding; access
/// paths. The rest stands above them all.
const ROOMS_OF_PLANS: &[&[&str]] = &[
    &["cron datum expr fault field forgotten function moment order parameters past_tense"],
    &[
        "absence by column event_schema find logical model program reaction shape subscription unnest verb view webhook window write",
    ],
    &["bind"],
    &["access_path"],
];

/// What is to hold within one part of the crate.
struct House {
    part: &'static str,
    floors: &'static [&'static [&'static str]],
    /// No fewer files are in the rooms.
    files: usize,
}

const HOUSES: [House; 2] = [
    House { part: "store", floors: ROOMS, files: 100 },
    House { part: "plan", floors: ROOMS_OF_PLANS, files: 50 },
];

impl House {
    /// On which floor a module is, and in which room; none of what stands above them all.
    fn place(&self, module: &str) -> Option<(usize, &str)> {
        let rooms =
            self.floors.iter().enumerate().flat_map(|(at, floor)| floor.iter().map(move |room| (at, *room)));
        rooms.into_iter().find(|(_, room)| room.split(' ').any(|part| part == module))
    }

    /// What the file of a module, named from the part on, uses that it must not. None of a file that is in no room.
    fn faults(&self, module: &[&str], text: &str) -> Option<Vec<String>> {
        let (own, room) = self.place(module[1])?;
        let mut used = uses_within(module, text);
        used.retain(|used| {
            let may = |(floor, other): (usize, &str)| floor < own || other == room;
            used != module[1] && !self.place(used).is_some_and(may)
        });
        Some(
            used.into_iter().map(|used| format!("{} uses {}::{used}", module.join("/"), self.part)).collect(),
        )
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The first part of each `crate::…` in the code of a file: comments, tests and doc links apart.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in code.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        for rest in line.split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn imports_only_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "only {} files", files.len());
    let mut faults = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let Some(own) = floor(module) else {
            faults.push(format!("{} stands on no floor", relative.display()));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            match floor(&import) {
                Some(other) if other <= own => {}
                Some(_) => faults.push(format!("{} looks up at {import}", relative.display())),
                // A name of the crate's root is a re-export: only the top floors may lean on those.
                None if own >= 7 => {}
                None => {
                    faults.push(format!("{} uses crate::{import} by way of the root", relative.display()))
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_shell_uses_the_public_api_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("main.rs")];
    sources(&root.join("shell"), &mut files);
    for file in files {
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            assert!(floor(&import).is_none_or(|floor| floor == 8), "{} uses crate::{import}", file.display());
        }
    }
}

/// What a file of a part uses of that part: the names below it, as far as paths and `use` lines say.
fn uses_within(module: &[&str], text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String =
        code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let name =
        |rest: &str| -> String { rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut found = Vec::new();
    // Several of one place stand in braces.
    let mut add = |rest: &str| match rest.strip_prefix('{') {
        None => found.push(name(rest)),
        Some(list) => {
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(name(std::mem::take(&mut item).trim())),
                    _ => {}
                }
                if c != ',' || depth > 0 {
                    item.push(c);
                }
            }
            found.push(name(item.trim()));
        }
    };
    code.split(&format!("crate::{}::", module[0])).skip(1).for_each(&mut add);
    // `super::super::x` of `store::a::b` is `store::x`.
    let up = "super::".repeat(module.len() - 1);
    for (at, _) in code.match_indices(&up) {
        let before = code[..at].ends_with("super::");
        let rest = &code[at + up.len()..];
        if !before && !rest.starts_with("super::") {
            add(rest);
        }
    }
    found.retain(|name| !name.is_empty() && name != "self");
    found
}

/// The files below a part of the crate, tests apart: of each, its module from the part on, and its text.
fn files_of(part: &str) -> Vec<(Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root.join(part), &mut files);
    let module = |file: &Path| -> Vec<String> {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
    };
    let named = files.iter().map(|file| (module(file), fs::read_to_string(file).unwrap()));
    named.filter(|(module, _)| !module.iter().any(|part| part == "tests")).collect()
}

#[test]
fn rooms_only_use_what_is_below() {
    for house in &HOUSES {
        let (mut faults, mut seen) = (Vec::new(), 0);
        for (module, text) in files_of(house.part) {
            let module: Vec<&str> = module.iter().map(String::as_str).collect();
            if let Some(found) = house.faults(&module, &text) {
                seen += 1;
                faults.extend(found);
            }
        }
        assert!(seen > house.files, "only {seen} files of {}", house.part);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

/// Whether a file may look at a snapshot: what chooses access paths, what stands above that, and the one way in for binding.
fn may_look_at_a_snapshot(module: &[&str]) -> bool {
    HOUSES[1].place(module[1]).is_none_or(|(floor, _)| floor >= ROOMS_OF_PLANS.len() - 1)
        || module == ["plan", "bind", "names"]
}

#[test]
fn what_a_plan_says_looks_at_no_snapshot() {
    let mut faults = Vec::new();
    for (module, text) in files_of("plan") {
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        if !may_look_at_a_snapshot(&module) && code.into_iter().any(|line| line.contains("store::snapshot")) {
            faults.push(format!("{} looks at a snapshot", module.join("/")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(may_look_at_a_snapshot(&["plan", "access_path", "find"]));
    assert!(!may_look_at_a_snapshot(&["plan", "bind", "find"]) && !may_look_at_a_snapshot(&["plan", "find"]));
}

#[test]
fn a_room_that_looks_up_is_found() {
    let module = ["store", "index", "term"];
    let text = "use super::super::tables::WriteTables;\nuse crate::store::{disk::Disk, snapshot::{A, B}, index::posting};\n";
    assert_eq!(uses_within(&module, text), ["disk", "snapshot", "index", "tables"]);
    let found = HOUSES[0].faults(&module, text).unwrap();
    assert_eq!(
        found,
        ["disk", "snapshot", "tables"].map(|used| format!("store/index/term uses store::{used}"))
    );

    // Of its own room, and of another on its floor.
    let text = "use super::kernel::Kernel;\nuse super::admission::Admission;\n";
    let found = HOUSES[0].faults(&["store", "snapshot"], text).unwrap();
    assert_eq!(found, ["store/snapshot uses store::admission"]);
    let found = HOUSES[0].faults(&["store", "view"], text).unwrap();
    assert_eq!(found, ["store/view uses store::admission"]);

    // A lower room, its own, and a name by way of the root; access paths are above.
    let text = "use crate::plan::expr::BoundExpr;\nuse super::super::access_path::choose;\nuse crate::plan::{Plan, find::A};\n";
    let found = HOUSES[1].faults(&["plan", "bind", "find"], text).unwrap();
    assert_eq!(found, ["Plan", "access_path"].map(|used| format!("plan/bind/find uses plan::{used}")));
    assert!(HOUSES[1].faults(&["plan", "find"], "use super::shape::Shape;\n").unwrap().is_empty());
    assert!(HOUSES[1].faults(&["plan", "explain"], "use super::Plan;\n").is_none());
}
