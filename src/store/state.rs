//! What entities are: folds of their events, as values and as bytes.

pub(crate) mod fold;
pub(crate) mod fold_run;
pub(crate) mod state_cache;
pub(crate) mod stored_state;
pub(crate) mod vector_clock;
