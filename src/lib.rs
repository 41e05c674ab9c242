#![forbid(unsafe_code)]
pub mod document;
pub mod entity;
pub mod error;
pub mod event;
pub(crate) mod exec;
pub(crate) mod lang;
pub mod pattern;
pub(crate) mod plan;
pub mod store;
pub mod time;
pub mod value;

pub use document::Document;
pub use entity::*;
pub use error::{Error, Result};
pub use event::*;
pub use pattern::Pattern;
pub use time::*;
pub use value::{Object, Value};
