//! Columns: a value of each event of some types, which is kept beside the log.

use super::expr::BoundExpr;
use crate::pattern::Pattern;
use crate::store::catalog::DefinedView;

/// What is defined of a column. It follows from each event alone.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    pub name: String,
    pub on: Pattern,
    pub node: BoundExpr,
    /// The expression, in its canonical text.
    pub text: String,
}

impl ColumnPlan {
    /// What a definition in the catalog says; none where this version does not understand it, or it is of something else.
    pub fn understood(defined: &DefinedView) -> Option<&ColumnPlan> {
        defined.view().ok()?.plan()?.downcast_ref()
    }
}
