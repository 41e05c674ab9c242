//! Indexes on the disk: the terms that lead to events, and their posting lists.

pub(crate) mod posting;
pub(crate) mod term;
