//! Execution: a plan against a snapshot, or against the store.
//!
//! Reads are given a snapshot and cannot write. Rows are pulled: what nobody asks for is not read.

pub(crate) mod answer;

pub use answer::{Answer, Row, Rows, State};
