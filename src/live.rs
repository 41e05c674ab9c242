//! Live: followers of the log that run on into the present.

mod subscribe;
#[cfg(feature = "webhooks")]
mod webhook;

pub use subscribe::{Delivery, Subscription};
