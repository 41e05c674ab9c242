//! What the crate stands on: licences that may be passed on, each package once, and a library that stays light. Nothing is asked of a network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than that they are passed on.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
];

/// Packages that are there in two versions, and why.
const TWICE: &[(&str, &str)] = &[
    ("getrandom", "ring, which rustls stands on, has the one before"),
    ("syn", "the macro of curve25519-dalek, which is not in what is built, has the one before"),
];

/// How many packages an application gets with the library alone, at most.
const LIGHT: usize = 45;

fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    output(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

/// The platform that this is built on: packages of others need not be here.
fn host() -> String {
    let told = output(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), &["-vV"]);
    told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// The packages that are built, those of tests included.
fn packages() -> Vec<Value> {
    let told = cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        "--all-features",
        "--filter-platform",
        &host(),
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let nodes = told["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = told["packages"].as_array().unwrap();
    all.iter().filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Whether a licence expression can be met with what is allowed: all of what stands with AND, one of what stands with OR.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn licences_are_read() {
    assert!(
        is_allowed("MIT")
            && is_allowed("GPL-3.0 OR MIT")
            && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0")
    );
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed(""));
}

#[test]
fn licences_can_be_passed_on_and_each_package_is_there_once() {
    let packages = packages();
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut faults = Vec::new();
    for package in &packages {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        versions.entry(name).or_default().insert(version);
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence) {
            faults.push(format!("{name} {version} has the licence '{licence}'"));
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        if !TWICE.iter().any(|(known, _)| known == name) {
            faults.push(format!("{name} is there as {versions:?}"));
        }
    }
    for (name, why) in TWICE {
        if versions.get(name).is_none_or(|versions| versions.len() < 2) {
            faults.push(format!("{name} is there once: strike it off the list ({why})"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_library_alone_is_light() {
    let told =
        cargo(&["tree", "--locked", "--offline", "--no-default-features", "--edges=normal", "--prefix=none"]);
    let packages: BTreeSet<&str> = told.lines().filter_map(|line| line.split(" (").next()).collect();
    assert!(packages.len() <= LIGHT, "{} packages: {packages:?}", packages.len());
    for heavy in ["clap", "httparse", "rustyline", "ureq", "tokio"] {
        assert!(
            !packages.iter().any(|package| package.starts_with(&format!("{heavy} "))),
            "{heavy} comes along"
        );
    }
}
