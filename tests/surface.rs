//! The public API has a short root, and one path for each type.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// With more names at the root nobody looks through them.
const MOST: usize = 25;

/// What `lib.rs` exports: the module, which is empty for the root, and the name.
fn exports() -> Vec<(String, String)> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let (mut module, mut list) = (String::new(), None::<String>);
    let mut found = Vec::new();
    for line in fs::read_to_string(library).unwrap().lines() {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(" {")) {
            module = name.to_owned();
        } else if line == "}" {
            module.clear();
        } else if let Some(used) = line.trim_start().strip_prefix("pub use ") {
            list = Some(String::from(used));
        } else if let Some(list) = &mut list {
            list.push_str(line.trim());
        }
        // A list may go over several lines.
        if let Some(whole) = list.take_if(|list| list.ends_with(';')) {
            let names = whole.trim_end_matches([';', '}']).rsplit(['{', ':']).next().unwrap().to_owned();
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            found.extend(names.map(|name| (module.clone(), name.to_owned())));
        }
    }
    found
}

#[test]
fn the_root_is_short() {
    let root: Vec<_> = exports().into_iter().filter(|(module, _)| module.is_empty()).collect();
    assert!(root.iter().any(|(_, name)| name == "Db"), "{root:?}");
    assert!(root.len() <= MOST, "{} names at the root: {root:?}", root.len());
}

#[test]
fn each_name_has_one_path() {
    let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, name) in exports() {
        paths.entry(name).or_default().push(module);
    }
    assert!(paths.len() > 60, "only {paths:?}");
    paths.retain(|_, modules| modules.len() > 1);
    assert!(paths.is_empty(), "{paths:?}");
}
