//! Plans: statements with everything looked up that can be looked up before they run.
//!
//! [`bind`](bind()) resolves names, parameters and points against a snapshot, and checks what the grammar cannot; a
//! [`Plan`] is what is left to do. Its `Display` is what `EXPLAIN` prints.

pub(crate) mod expr;
pub(crate) mod parameters;
pub(crate) mod subscription;

pub(crate) use expr::Predicate;
pub use parameters::Parameters;
pub(crate) use subscription::{By, Subscription, Until};
