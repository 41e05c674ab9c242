//! The corpora of the fuzz targets, replayed without a fuzzer: what they start from, and what once found something.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::lang::generator::{Choices, Random};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(target)
}

/// Runs each input of a corpus; says which one it was that a target does not take.
fn replay(target: &str, least: usize, run: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let entries = fs::read_dir(folder("corpus").join(target)).unwrap();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= least, "only {} inputs", names.len());
    for name in names {
        let input = fs::read(&name).unwrap();
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            panic!("the input that failed: {}", name.display());
        }
    }
}

#[test]
fn the_corpus_of_parse_holds() {
    replay("parse", 40, |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            parse(text);
        }
    });
}

#[test]
fn the_corpus_of_roundtrip_holds() {
    replay("roundtrip", 40, roundtrip);
}

#[test]
fn the_corpus_of_record_holds() {
    replay("record", 20, |bytes| {
        record(bytes);
    });
}

/// What the corpora begin with; a fuzzer goes on from there.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut random = Random::new(12);
    let mut bytes =
        |most: usize| -> Vec<u8> { (0..random.below(most)).map(|_| random.below(256) as u8).collect() };
    match target {
        "parse" => {
            let forms = include_str!("../lang/tests/forms.rs").split('"').skip(1).step_by(2);
            let errors = include_str!("../lang/tests/errors.txt").split("\n\n");
            let errors = errors.filter_map(|paragraph| paragraph.lines().next());
            forms.chain(errors).map(|text| text.as_bytes().to_vec()).collect()
        }
        "roundtrip" | "query" => (0..200).map(|_| bytes(200)).collect(),
        _ => super::record::seeds(),
    }
}

#[test]
fn the_seeds_hold() {
    for bytes in seeds("parse") {
        parse(std::str::from_utf8(&bytes).unwrap());
    }
    seeds("roundtrip").iter().for_each(|bytes| roundtrip(bytes));
    for bytes in seeds("record") {
        assert!(record(&bytes), "nothing is read of {bytes:?}");
    }
}

/// For an empty corpus: `cargo test write_the_seeds -- --ignored`.
#[test]
#[ignore = "it writes into fuzz/corpus"]
fn write_the_seeds() {
    for target in ["parse", "roundtrip", "record", "query"] {
        for seed in seeds(target) {
            let name = &blake3::hash(&seed).to_hex()[..12];
            fs::write(folder("corpus").join(target).join(name), seed).unwrap();
        }
    }
}

#[test]
fn the_corpus_of_query_holds() {
    replay("query", 40, |bytes| {
        query(bytes);
    });
}

/// Most of what is asked is answered: what the target holds, it holds of something.
#[test]
fn most_questions_have_an_answer() {
    let seeds = seeds("query");
    let answered = seeds.iter().filter(|bytes| query(bytes)).count();
    assert!(answered > seeds.len() / 2, "{answered} of {}", seeds.len());
}

#[test]
fn the_dictionary_is_that_of_the_grammar() {
    let path = folder("keywords.dict");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, dictionary()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), dictionary());
}

/// A fuzzer on foot: it reaches little, but in every run of the tests.
#[test]
fn random_bytes_are_taken() {
    let mut random = Random::new(11);
    for _ in 0..10_000 {
        let length = random.below(120);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        roundtrip(&bytes);
        record(&bytes);
        query(&bytes[..length.min(60)]);
    }
}
