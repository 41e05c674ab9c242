//! Live: followers of the log that run on into the present.

pub(crate) mod follower;
pub(crate) mod runner;
mod subscribe;
#[cfg(feature = "webhooks")]
mod webhook;

pub use subscribe::{Delivery, Subscription};
