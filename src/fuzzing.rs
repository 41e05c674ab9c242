//! What the fuzz targets hold. The targets in `fuzz/` are a line each; the bodies are here, so that the tests of the stable
//! toolchain replay the corpora through the same code (`fuzzing/tests.rs`).
//!
//! A body panics where what it holds does not hold. It is given arbitrary bytes, and must take any.

mod definitions;
mod file;
mod naive;
mod operations;
#[cfg(feature = "share")]
mod protocol;
mod query;
mod record;
mod roundtrip;
#[cfg(test)]
mod tests;

pub use definitions::definitions;
pub use file::file;
pub use operations::operations;
#[cfg(feature = "share")]
pub use protocol::protocol;
pub use query::query;
pub use record::record;
pub use roundtrip::roundtrip;

use crate::error::Error;
use crate::lang;

/// Any text: parsing it answers, and what parses prints as a text that parses to the same tree; a fault points into the text;
/// what a prompt asks of a text (colours, completions, whether it goes on) is answered too.
pub fn parse(text: &str) {
    match lang::parse(text) {
        Ok(script) => {
            for sourced in &script.statements {
                prints_as_it_parses(&sourced.statement);
                assert!(
                    text.get(sourced.span.range()).is_some(),
                    "a statement outside of the text: {text:?}"
                );
            }
        }
        Err(Error::Syntax(fault)) => {
            assert!(text.get(fault.offset..fault.offset + fault.length).is_some(), "{text:?}: {fault:?}");
            assert_eq!(fault.incomplete, lang::is_incomplete(text), "{text:?}");
            assert!(!lang::report(&fault).is_empty());
        }
        Err(other) => panic!("{text:?}: {other}"),
    }
    let mut end = 0;
    for (piece, _) in lang::highlight(text) {
        assert!(piece.start >= end && text.get(piece.clone()).is_some(), "{text:?}: {piece:?}");
        end = piece.end;
    }
    for at in [text.len(), text.len() / 2] {
        for completion in lang::complete(text, at) {
            assert!(text.get(completion.typed.clone()).is_some(), "{text:?} at {at}: {completion:?}");
        }
    }
}

/// Canonical text parses to the tree it was printed from, and prints as itself.
fn prints_as_it_parses(statement: &lang::ast::Stmt) {
    let canonical = statement.to_string();
    let again = lang::parse_one(&canonical).unwrap_or_else(|e| panic!("{canonical}\n{e}"));
    assert_eq!(again.statement, *statement, "{canonical}");
    assert_eq!(again.statement.to_string(), canonical);
}

/// Texts of many shapes, that grow with a number: for measuring that parsing is linear.
pub fn shapes() -> &'static [lang::shapes::Shape] {
    lang::shapes::SHAPES
}

/// The keywords and symbols of the grammar, in the form that fuzzers take: `fuzz/keywords.dict`.
pub fn dictionary() -> String {
    let mut dictionary = String::from("# Written from grammar/bygone.ebnf: BLESS=1 cargo test dictionary\n");
    for word in lang::grammar::Grammar::read().literals() {
        dictionary.push_str(&format!("\"{word}\"\n"));
    }
    dictionary
}
