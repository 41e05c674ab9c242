//! Models: what a definition makes of events.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::fold::Fold;

/// What works out the definition of an entity: its kind, and its fold.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn Fold>)> {
    Err(Error::Unavailable { what: text.to_owned() })
}
