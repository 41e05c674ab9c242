//! One name, one meaning: a type's name is seldom defined twice, and modules have the names of the field.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that had names of prose, which do not come back.
const PROSE: &[&str] = &[
    "cold",
    "tail",
    "kept",
    "recent",
    "follow",
    "upkeep",
    "aside",
    "leg",
    "rhythm",
    "habit",
    "later",
    "participle",
    "made",
    "astray",
    "courier",
    "lanes",
    "trail",
    "steps",
    "sentence",
    "gather",
    "align",
    "stored",
    "again",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "crash" | "fuzzing") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !matches!(name.as_str(), "tests" | "crash" | "fuzzing")
        {
            found.push(path);
        }
    }
}

/// The type that a line defines, associated types included.
fn defined(line: &str) -> Option<String> {
    let mut words =
        line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "crate::exec)");
    let word = words.next()?;
    let name = matches!(word, "struct" | "enum" | "trait" | "type").then(|| words.next())??;
    let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    name.starts_with(char::is_uppercase).then_some(name)
}

#[test]
fn few_type_names_are_defined_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "only {} files", files.len());
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for name in code.lines().filter_map(defined) {
            places.entry(name).or_default().push(file.strip_prefix(&root).unwrap().display().to_string());
        }
    }
    places.retain(|_, files| files.len() > 1);
    let list: Vec<String> =
        places.iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect();
    assert!(list.len() < 25, "{} type names are defined more than once:\n{}", list.len(), list.join("\n"));
}

#[test]
fn modules_have_names_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.retain(|file| PROSE.contains(&file.file_stem().unwrap().to_str().unwrap()));
    assert!(files.is_empty(), "{files:?}");
}
