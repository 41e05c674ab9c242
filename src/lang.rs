//! The language: from a text to its tree, and back.
//!
//! The life of a text:
//!
//! 1. [`token`] cuts it into tokens, each with its place. Nothing is wrong yet.
//! 2. [`parse`](parse()) reads the tokens by the rules of `grammar/bygone.ebnf` and makes the tree of [`ast`].
//!    Names and parameters stay what they are; binding, which comes next, looks them up.
//! 3. Where it does not fit, every terminal that failed has left on the [`expectations`] what it would have accepted. That
//!    record becomes the [`SyntaxFault`], its "did you mean", and what a prompt completes.
//! 4. [`print`](mod@print) makes a text of the tree again, the canonical one; [`report`](report()) makes a text of a fault.
//!
//! Nothing here knows of a store: a text is parsed without a database.

use std::ops::Range;

pub(crate) use self::ast::{ScriptTree, Sourced};
pub use self::highlight::HighlightClass;

#[allow(unused_imports, reason = "for who fills completions from a catalog")]
pub(crate) use self::expectations::{Expectation, TokenClass, distance};
pub(crate) use self::parse::CompletionSite;
pub(crate) use self::scope::{ExpressionScope, aliases, kind_before};
use crate::error::{Error, Result, SyntaxFault};

pub(crate) mod ast;
mod definition;
mod expectations;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod generator;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod grammar;
mod highlight;
pub(crate) mod keyword;
mod parse;
mod print;
mod report;
mod scope;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod shapes;
pub(crate) mod token;
#[cfg(test)]
mod work_counter;

#[cfg(test)]
mod tests;

/// The statements of a text, separated by semicolons; empty ones are skipped.
///
/// The error is always [`Error::Syntax`]; it names the statement, counted from 1, and the place.
pub(crate) fn parse(text: &str) -> Result<ScriptTree> {
    parse::script(text, usize::MAX)
}

/// The same of a text that somebody hands over: of at most so many bytes, and not too many words. What is more is
/// [`Error::Invalid`], and takes no memory.
pub(crate) fn parse_within(text: &str, most: usize) -> Result<ScriptTree> {
    parse::script(text, most)
}

/// Exactly one statement; a semicolon may end it.
pub(crate) fn parse_one(text: &str) -> Result<Sourced> {
    parse::one(text, usize::MAX)
}

/// The same, as [`parse_within`].
pub(crate) fn parse_one_within(text: &str, most: usize) -> Result<Sourced> {
    parse::one(text, most)
}

/// What may come at a place in a text, most likely first, and which bytes it replaces.
///
/// Classes of words ([`TokenClass`]) are for the caller to fill. Nothing is filtered by what is typed already.
pub(crate) fn complete(text: &str, at: usize) -> Vec<CompletionSite> {
    parse::complete(text, at)
}

/// Whose names an expression may use at the end of a text.
pub(crate) fn scope(text: &str) -> ExpressionScope {
    scope::scope(text)
}

/// Whether a text is right as far as it goes and only stops too early, so that a prompt should ask for more.
pub(crate) fn is_incomplete(text: &str) -> bool {
    matches!(parse(text), Err(Error::Syntax(fault)) if fault.incomplete)
}

/// What each piece of a text is, for colours; of wrong and unfinished texts too.
pub(crate) fn highlight(text: &str) -> Vec<(Range<usize>, HighlightClass)> {
    highlight::highlight(text)
}

/// A fault in several lines: the line of the text, a caret below the place, what was expected or meant.
pub(crate) fn report(fault: &SyntaxFault) -> String {
    report::report(fault)
}
