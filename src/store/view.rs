//! Views: what is made of the log and kept, to be read at once.

use std::fmt;

/// What a view makes of the log.
pub(crate) trait View: fmt::Debug + Send + Sync {}
