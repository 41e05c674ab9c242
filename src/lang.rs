//! The language: from a text to its tree, and back.
pub(crate) mod ast;
