//! Live: followers of the log that run on into the present.

mod ahead;
mod breadth;
pub(crate) mod follower;
mod handler;
mod leg;
mod named;
mod occurrence;
mod reaction;
pub(crate) mod runner;
mod schedule;
mod stored;
#[cfg(feature = "async")]
mod stream;
mod subscribe;
mod view;
#[cfg(feature = "webhooks")]
mod webhook;

pub use handler::{Handled, Handler, HandlerReport, Handling, SetAside};
pub use named::Named;
pub use occurrence::Occurrence;
#[cfg(feature = "async")]
pub use stream::Deliveries;
pub use subscribe::{Delivery, Subscription};
pub(crate) use view::ViewSubscription;
