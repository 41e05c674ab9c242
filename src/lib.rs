#![forbid(unsafe_code)]
pub mod entity;
pub mod error;
pub(crate) mod lang;
pub mod pattern;
pub mod store {
    pub mod disk;
}
pub mod time;
pub mod value;

pub use entity::*;
pub use error::{Error, Result};
pub use pattern::Pattern;
pub use time::*;
pub use value::{Object, Value};
