//! Verbs: what a definition decides.

use std::sync::Arc;

use crate::error::{Error, Result, shorten};
use crate::store::verb::Rule;

/// What works out the definition of a verb: its name, and what it does.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn Rule>)> {
    Err(Error::invalid("the definition of a verb", "DEFINE VERB …", shorten(text)))
}
