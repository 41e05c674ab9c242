//! placeholder
#![forbid(unsafe_code)]

mod cancel;
mod db;
mod document;
mod entity;
pub mod error;
mod event;

mod lang;
mod live;
mod pattern;
mod query;
mod store;
pub mod text;
mod time;
mod transfer;
mod value;

pub use cancel::Cancel;
pub use db::{Db, Ticket};
pub use document::Document;
pub use entity::{Entity, EventType, Position, Version};
pub use error::{Error, Result};
pub use event::{Cause, Event, EventId, Expect, NewEvent, Producer, Tag};
pub use live::{Delivery, Subscription};
pub use pattern::Pattern;
pub use query::{Answer, Parameters, Row, Rows, Script, State, Statement};
pub use store::{Durability, Options, Recovery};
pub use time::{Clock, Timestamp};
pub use transfer::{ImportOptions, Imported};
pub use value::{Object, Value};

/// What a database stands on: see [`disk::Disk`].
pub mod disk {
    pub use crate::store::disk::memory::MemoryDisk;
    pub use crate::store::disk::real::RealDisk;
    pub use crate::store::disk::simulated::SimulatedDisk;
    pub use crate::store::disk::{Disk, File, Lock, LockError, LockMode};
}
