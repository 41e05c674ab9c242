//! Live: followers of the log that run on into the present.

mod subscribe;

pub use subscribe::{Delivery, Subscription};
