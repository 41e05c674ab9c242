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

#[cfg(feature = "share")]
#[test]
fn the_corpus_of_protocol_holds() {
    replay("protocol", 20, protocol);
    seeds("protocol").iter().for_each(|bytes| protocol(bytes));
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
        "operations" => (0..40).map(|_| bytes(160)).collect(),
        "definitions" => (0..60).map(|_| bytes(160)).collect(),
        "file" => super::file::seeds(),
        #[cfg(feature = "share")]
        "protocol" => super::protocol::seeds(),
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
    for target in ["parse", "roundtrip", "record", "query", "operations", "file", "definitions", "protocol"] {
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

#[test]
fn the_corpus_of_operations_holds() {
    replay("operations", 30, |bytes| {
        operations(bytes);
    });
}

#[test]
fn the_corpus_of_file_holds() {
    replay("file", 40, |bytes| {
        file(bytes);
    });
}

#[test]
fn the_corpus_of_definitions_holds() {
    replay("definitions", 40, |bytes| {
        definitions(bytes);
    });
}

/// The disk crashes now and then, files are opened though they are changed, and definitions are accepted: what the targets hold, they
/// hold of something.
#[test]
fn most_seeds_of_a_database_reach_something() {
    let seeds = |target| seeds(target).into_iter().step_by(4);
    let crashes: usize = seeds("operations").map(|bytes| operations(&bytes)).sum();
    assert!(crashes >= 10, "{crashes} crashes");
    let opened = seeds("file").filter(|bytes| file(bytes)).count();
    assert!(opened >= 3 && opened < seeds("file").count(), "{opened} are opened");
    let accepted: usize = seeds("definitions").map(|bytes| definitions(&bytes)).sum();
    assert!(accepted >= 15, "{accepted} definitions are accepted");
}

/// As long as `BYGONE_FUZZ_SECONDS` says, each of the three that have a database of their own, from `BYGONE_FUZZ_SEED` on.
#[test]
fn random_bytes_are_taken_by_databases() {
    let number = |name, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let seconds = std::time::Duration::from_secs(number("BYGONE_FUZZ_SECONDS", 2));
    for (target, run) in TARGETS {
        let (begun, mut seed) = (std::time::Instant::now(), number("BYGONE_FUZZ_SEED", 1));
        let first = seed;
        while begun.elapsed() < seconds {
            let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9));
            let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
            if std::panic::catch_unwind(|| run(&bytes)).is_err() {
                panic!("{target}: BYGONE_FUZZ_SEED={seed}, {bytes:?}");
            }
            seed += 1;
        }
        println!("{target}: {} inputs in {seconds:?}", seed - first);
    }
}

/// The targets that have a database of their own.
type Target = (&'static str, fn(&[u8]));
const TARGETS: [Target; 3] = [
    ("operations", |bytes| _ = operations(bytes)),
    ("file", |bytes| _ = file(bytes)),
    ("definitions", |bytes| _ = definitions(bytes)),
];

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
