//! What the language as a whole promises; what a step alone promises is tested beside it.

use super::*;

mod completion;
mod errors;
mod forms;
mod grammar;
mod linear;
mod sentences;

/// The fault of a text that is wrong.
fn fault(text: &str) -> SyntaxFault {
    match parse(text) {
        Err(Error::Syntax(fault)) => *fault,
        other => panic!("{text}: {other:?}"),
    }
}
