//! Live: followers of the log that run on into the present.

mod catch_up;
mod durable;
mod effect_counts;
mod event_context;
pub(crate) mod follower;
mod handler;
mod reaction;
mod read_ahead;
mod record_ref;
pub(crate) mod runner;
mod schedule;
#[cfg(feature = "async")]
mod stream;
mod subscribe;
mod view;
#[cfg(feature = "webhooks")]
mod webhook;

pub use durable::DurableSubscription;
pub use event_context::EventContext;
pub use handler::{DeadLetter, Handler, HandlerBuilder, HandlerReport, HandlerResult};
#[cfg(feature = "async")]
pub use stream::DeliveryStream;
pub use subscribe::{Delivery, Subscription};
pub(crate) use view::ViewSubscription;
