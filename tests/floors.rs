//! Imports only go down: each file of the crate stands on a floor, and uses only what stands on its own floor or below. Within the store there
//! are rooms, each on a floor of its own: what is in a room uses nothing of another room on the same floor, and nothing above.

mod sources;

use std::fs;
use std::path::Path;

use sources::sources;

/// The floors, from the ground up, by the first part of a module's path.
const FLOORS: &[&[&str]] = &[
    &["error", "value", "document", "time", "cancel", "allowance"],
    &["event", "entity", "pattern"],
    &["store"],
    &["lang"],
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
        "editor",
        "testing",
        "fuzzing",
        "lib",
    ],
    &["shell", "main"],
];

/// The rooms of the store, from the ground up: the folders and files below `src/store`. The rest of it stands above them all.
const ROOMS: &[&[&str]] = &[&["disk", "index"], &["journal", "state"], &["tables"]];

/// Of each way that leads from a room to another part of the store, where it leads.
fn room(module: &str) -> Option<usize> {
    ROOMS.iter().position(|floor| floor.contains(&module))
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

/// What a file of the store uses of the store: the names below `store`, as far as paths and `use` lines say.
fn uses_of_store(module: &[&str], text: &str) -> Vec<String> {
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
    code.split("crate::store::").skip(1).for_each(&mut add);
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

#[test]
fn rooms_of_the_store_only_use_what_is_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut faults, mut seen) = (Vec::new(), 0);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let path: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        let (Some(own), false) = (room(path[0]), path.contains(&"tests")) else { continue };
        seen += 1;
        let module: Vec<&str> = std::iter::once("store").chain(path.iter().copied()).collect();
        for used in uses_of_store(&module, &fs::read_to_string(&file).unwrap()) {
            let is_below = used == path[0] || room(&used).is_some_and(|other| other < own);
            if !is_below {
                faults.push(format!("store/{} uses store::{used}", relative.display()));
            }
        }
    }
    assert!(seen > 30, "only {seen} files");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_room_that_looks_up_is_found() {
    let module = ["store", "index", "term"];
    let text = "use super::super::tables::WriteTables;\nuse crate::store::{disk::Disk, snapshot::{A, B}, index::posting};\n";
    assert_eq!(uses_of_store(&module, text), ["disk", "snapshot", "index", "tables"]);
}
