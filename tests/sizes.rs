//! What is to be read at a glance: no function is longer than a screen or two. In tests a table of cases may be.

mod sources;

use std::fs;
use std::path::Path;

use sources::sources;

/// How many lines a function has at most, from its `fn` to its closing brace.
const LINES: usize = 80;

/// The name that a line declares a function by, if it does.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_declared = before.split_whitespace().all(|word| {
        ["pub", "const", "async"].contains(&word) || word.starts_with("pub(") || word.ends_with(')')
    });
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_declared && end > 0).then(|| &after[..end])
}

/// The functions of a formatted file that are too long: formatting puts the closing brace below the first letter of the declaration.
fn too_long(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let length = lines[first..]
            .iter()
            .position(|line| {
                line.strip_prefix(indent)
                    .is_some_and(|rest| rest == "}" || rest.ends_with(';') && !rest.starts_with(' '))
            })
            .map_or(0, |last| last + 1);
        if length > LINES {
            found.push((length, name));
        }
    }
    found
}

#[test]
fn no_function_is_longer_than_80_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ["src", "examples"].iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let is_test = |path: &Path| {
        path.iter().any(|part| ["tests", "tests.rs", "crash"].contains(&part.to_str().unwrap()))
    };
    files.retain(|path| !is_test(path.strip_prefix(root).unwrap()));
    assert!(files.len() > 200, "only {} files", files.len());
    let mut long = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let of_file = too_long(&text).into_iter();
        long.extend(of_file.map(|(lines, name)| format!("{}: {name} has {lines} lines", file.display())));
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn a_function_of_81_lines_is_found() {
    let text = |lines: usize| {
        format!("impl A {{\n    fn long() {{\n{}    }}\n}}\n", "        go();\n".repeat(lines - 2))
    };
    assert_eq!(too_long(&text(81)), [(81, "long")]);
    assert_eq!(too_long(&text(80)), []);
}
