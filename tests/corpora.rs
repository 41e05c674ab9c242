//! The inputs that the fuzz targets start from, and those that once found something, replayed without a fuzzer.

use std::fs;
use std::path::Path;

use bygone::Script;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().map(|name| fs::read(name).unwrap()).collect()
}

#[test]
fn parse() {
    let inputs = corpus("parse");
    assert!(inputs.len() > 40, "only {} inputs", inputs.len());
    let mut parsed = 0;
    for input in inputs {
        let Ok(text) = String::from_utf8(input) else { continue };
        let Ok(script) = Script::parse(&text) else { continue };
        for statement in script.statements() {
            let canonical = statement.to_string();
            let again = Script::parse(&canonical).unwrap_or_else(|e| panic!("{text}\n{canonical}\n{e}"));
            assert_eq!(again.statements()[0].to_string(), canonical);
            parsed += 1;
        }
    }
    assert!(parsed > 20, "only {parsed} statements");
}
