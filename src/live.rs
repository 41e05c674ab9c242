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

pub use handler::{DeadLetter, Handler, HandlerBuilder, HandlerReport, HandlerResult};
pub use named::DurableSubscription;
pub use occurrence::EventContext;
#[cfg(feature = "async")]
pub use stream::DeliveryStream;
pub use subscribe::{Delivery, Subscription};
pub(crate) use view::ViewSubscription;
