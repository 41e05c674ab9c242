//! Imports only go down: each file of the crate stands on a floor, and uses only what stands on its own floor or below.

use std::fs;
use std::path::{Path, PathBuf};

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

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
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
