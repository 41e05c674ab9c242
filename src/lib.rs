#![forbid(unsafe_code)]
pub mod entity;
pub mod error;
pub mod pattern;
pub mod store {
    pub mod disk;
    pub mod journal;
}
pub mod time;

pub use entity::*;
pub use error::{Error, Result};
pub use pattern::Pattern;
pub use time::*;
