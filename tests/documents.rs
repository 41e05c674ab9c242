//! The documents hold together: links lead somewhere, pages are found, and their examples run.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of a folder, in order.
fn pages(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found
}

/// A text without its blocks of code.
fn prose(text: &str) -> String {
    let mut code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if !code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = prose(&fs::read_to_string(page).unwrap());
    text.lines().any(|line| line.starts_with('#') && anchor(line) == wanted)
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for folder in [".", "docs", "docs/guide", "grammar", "benches", "fuzz"] {
        for page in pages(folder) {
            let text = prose(&fs::read_to_string(&page).unwrap());
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.starts_with("http") {
                    continue;
                }
                let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
                if !target.exists() || !(wanted.is_empty() || has_anchor(&target, wanted)) {
                    faults.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn readme_is_short_and_links_every_page_of_the_guide() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 150, "the README is for a first look");
    for page in pages("docs/guide") {
        let link = format!("(docs/guide/{})", page.file_name().unwrap().to_str().unwrap());
        assert!(readme.contains(&link), "the README has no link to {link}");
    }
}

#[test]
fn examples_in_rust_are_doc_tests() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for page in pages("docs/guide") {
        if fs::read_to_string(&page).unwrap().contains("```rust\n") {
            let name = page.file_name().unwrap().to_str().unwrap();
            assert!(library.contains(&format!("docs/guide/{name}\")]")), "src/lib.rs leaves out {name}");
        }
    }
}

/// The text of all sources and tests.
fn sources_of_tests() -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => gather(&path, text),
                false if path.extension().is_some_and(|extension| extension == "rs") => {
                    text.push_str(&fs::read_to_string(&path).unwrap());
                }
                false => {}
            }
        }
    }
    let mut text = String::new();
    ["src", "tests", "schedules"].into_iter().for_each(|folder| gather(&root().join(folder), &mut text));
    text
}

#[test]
fn tests_that_the_documents_name_exist() {
    let sources = sources_of_tests();
    let mut faults = Vec::new();
    for page in ["docs/ARCHITECTURE.md", "docs/PROMISES.md"] {
        let text = prose(&fs::read_to_string(root().join(page)).unwrap());
        // A test's name is a sentence.
        let is_name = |name: &&str| {
            name.matches('_').count() > 2 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
        assert!(names.len() > 8, "{page} names {} tests", names.len());
        let is_there = |name: &&str| sources.contains(&format!("fn {name}("));
        faults.extend(names.into_iter().filter(|name| !is_there(name)).map(|name| format!("{page}: {name}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Where a document's path may begin: at the package, at its sources, or at the tests that break the store.
const ROOTS: &[&str] = &["", "src", "src/store/crash"];

#[test]
fn paths_in_the_documents_exist() {
    let mut faults = Vec::new();
    for page in pages("docs") {
        let text = prose(&fs::read_to_string(&page).unwrap());
        for path in text.split('`').skip(1).step_by(2) {
            let is_path = path.ends_with(".rs") && !path.contains([' ', '*', ':']);
            if is_path && !ROOTS.iter().any(|folder| root().join(folder).join(path).exists()) {
                faults.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
