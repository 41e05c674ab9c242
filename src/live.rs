//! Live: followers of the log that run on into the present.

mod subscribe;
mod view;

pub use subscribe::{Delivery, Subscription};
pub(crate) use view::ViewSubscription;
