//! Arbitrary trees.

use std::sync::LazyLock;

use super::prints_as_it_parses;
use crate::lang;
use crate::lang::generator::{Bytes, Choices, Deriver};
use crate::lang::grammar::Grammar;

pub(super) static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::read);

/// The bytes choose a sentence of the grammar, with odd texts, names and numbers in it. It parses; its tree prints as a text that
/// parses to the same tree, and that text is canonical: it prints as itself.
pub fn roundtrip(bytes: &[u8]) {
    let mut choices = Bytes(bytes);
    let depth = 4 + choices.below(20);
    let spaced = choices.below(4) > 0;
    let mut deriver = Deriver::new(&GRAMMAR, choices);
    let tokens = deriver.sentence("statement", depth);
    let text = tokens.join(" ");
    let parsed = lang::parse_one(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    prints_as_it_parses(&parsed.statement);
    // Without the spaces it may say something else, or nothing.
    if !spaced {
        super::parse(&tokens.concat());
    }
}
