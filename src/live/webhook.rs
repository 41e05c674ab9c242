//! Webhooks: events told to other systems over HTTP.
//!
//! Each is told at least once, and those of one target in their order. The life of a delivery: the log is read from the place that is
//! kept on; an event that is wanted goes to the lane of its target ([`lanes`]); there it is written in the form that was asked for,
//! [signed](signature) and [sent](client). If it is not taken, it is tried again, ever later ([`backoff`]), and in the end set aside,
//! which is an event of its own. The place that is kept follows what is done ([`window`]).

mod backoff;
mod client;
mod lanes;
mod signature;
mod window;

use std::time::Duration;

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    why: String,
    /// For how long the receiver asks to be left alone.
    asked: Option<Duration>,
}

impl Failure {
    fn of(why: String) -> Failure {
        Failure { why, asked: None }
    }
}
