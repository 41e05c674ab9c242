//! What `FIND` asks: entities, by what they are.

use std::sync::Arc;

use super::expr::Predicate;
use super::moment::ResolvedPoint;
use super::shape::Shape;
use super::unnest::UnnestPlan;
use super::window::LogWindow;

/// Entities of a kind, in the order of their ids.
#[derive(Debug, Clone)]
pub(crate) struct FindQuery {
    pub kind: String,
    pub window: LogWindow,
    pub at: Option<ResolvedPoint>,
    pub as_of: Option<ResolvedPoint>,
    pub predicate: Option<Predicate>,
    pub limit: Option<u64>,
    /// Rows of columns, groups, or another order; none where each is a row as it is.
    pub shape: Option<Shape>,
    /// Then there is a shape, and its rows are of items.
    pub unnest: Option<Arc<UnnestPlan>>,
}
