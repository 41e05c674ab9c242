//! Live: followers of the log that run on into the present.

mod handler;
mod leg;
mod occurrence;
#[cfg(feature = "async")]
mod stream;
mod subscribe;

pub use handler::{Handled, Handler, Handling, Report, SetAside};
pub use occurrence::Occurrence;
#[cfg(feature = "async")]
pub use stream::Deliveries;
pub use subscribe::{Delivery, Subscription};
