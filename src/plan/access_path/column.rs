//! What of a query columns answer: what `WHERE`, `GROUP BY` and aggregates ask of events, asked of columns over the same types.
//!
//! Where all of it is the expression of some column, or made of such, no event is read but those that a column cannot say all of. What is asked is
//! the same: each expression stands in the place of the field, so that it is worked out by the same rules.

use std::sync::Arc;

use super::conditions::conjuncts;
use crate::definition::DefinitionKind;
use crate::entity::NameText;
use crate::lang::ast::Comparison;
use crate::plan::column::ColumnPlan;
use crate::plan::expr::BoundExpr;
use crate::plan::logical::AccessQuery;
use crate::plan::shape::{AggregateCall, GroupPlan, OutputColumn};
use crate::plan::window::RowLimit;
use crate::store::catalog::DefinedView;
use crate::store::snapshot::Snapshot;

/// Fewer events than this are read by themselves.
pub(super) const FEW: u64 = if cfg!(test) { 1 } else { 1000 };

/// Groups of events, made of columns.
#[derive(Debug, Clone)]
pub(crate) struct ColumnScanPlan {
    /// Those that are read: a slot is the place here.
    pub columns: Vec<Arc<DefinedView>>,
    /// What stands in `AND` at the top of `WHERE`, of slots.
    pub conditions: Vec<ColumnCondition>,
    /// The keys and the aggregates, of slots.
    pub group: GroupPlan,
}

/// A part of `WHERE`, of slots.
#[derive(Debug, Clone)]
pub(crate) struct ColumnCondition {
    pub node: BoundExpr,
    /// The slots that it names.
    pub slots: Vec<usize>,
}

/// The columns over some events, and those of them that are read.
struct ColumnChoice<'s> {
    snapshot: &'s Snapshot,
    candidates: Vec<(&'s ColumnPlan, &'s Arc<DefinedView>)>,
    used: Vec<Arc<DefinedView>>,
}

/// How columns answer a query that wants groups, if they do.
pub(super) fn plan(snapshot: &Snapshot, query: &AccessQuery, group: &GroupPlan) -> Option<ColumnScanPlan> {
    let AccessQuery { pattern: Some(pattern), by, predicate, window, take: RowLimit::All, .. } = query else {
        return None;
    };
    if !by.is_empty() || window.is_timed() {
        return None;
    }
    let catalog = snapshot.indexes();
    let serves =
        |column: &&Arc<DefinedView>| column.kind == DefinitionKind::Column && catalog.view_holds(column);
    let candidates = catalog.kept_views().filter(serves).filter_map(|column| {
        let plan = ColumnPlan::understood(column).filter(|plan| plan.on == *pattern)?;
        Some((plan, column))
    });
    let mut columns = ColumnChoice { snapshot, candidates: candidates.collect(), used: Vec::new() };
    if columns.candidates.is_empty() {
        return None;
    }
    let mut conditions = Vec::new();
    if let Some(predicate) = predicate {
        let mut terms = Vec::new();
        conjuncts(&predicate.node, &mut terms);
        for term in terms {
            conditions.extend(bounds(columns.slots_of(term)?));
        }
    }
    let group = GroupPlan {
        keys: group.keys.iter().map(|key| columns.output(key)).collect::<Option<_>>()?,
        aggregates: group.aggregates.iter().map(|call| columns.aggregate(call)).collect::<Option<_>>()?,
        ..group.clone()
    };
    let conditions = conditions.into_iter().map(ColumnCondition::of).collect();
    (!columns.used.is_empty()).then_some(ColumnScanPlan { columns: columns.used, conditions, group })
}

/// A condition as two, where it says two: both are true where it is.
pub(super) fn bounds(node: BoundExpr) -> Vec<BoundExpr> {
    let compare = |left: &BoundExpr, comparison, right: Box<BoundExpr>| BoundExpr::Compare {
        left: Box::new(left.clone()),
        comparison,
        right,
    };
    match node {
        BoundExpr::Between { subject, low, high } => vec![
            compare(&subject, Comparison::GreaterOrEqual, low),
            compare(&subject, Comparison::LessOrEqual, high),
        ],
        node => vec![node],
    }
}

impl ColumnCondition {
    pub(super) fn of(node: BoundExpr) -> ColumnCondition {
        let mut slots = Vec::new();
        node.any(&mut |part| {
            if let BoundExpr::Slot { index, .. } = part
                && !slots.contains(index)
            {
                slots.push(*index);
            }
            false
        });
        ColumnCondition { node, slots }
    }
}

impl ColumnChoice<'_> {
    fn output(&mut self, column: &OutputColumn) -> Option<OutputColumn> {
        Some(OutputColumn { node: self.slots_of(&column.node)?, ..column.clone() })
    }

    fn aggregate(&mut self, call: &AggregateCall) -> Option<AggregateCall> {
        let argument = match &call.argument {
            Some(argument) => Some(self.slots_of(argument)?),
            None => None,
        };
        Some(AggregateCall { argument, ..call.clone() })
    }

    /// An expression of slots in the place of one of an event; none where it asks for more than columns have.
    fn slots_of(&mut self, node: &BoundExpr) -> Option<BoundExpr> {
        // What is the same for every event needs no column.
        if matches!(node, BoundExpr::Constant(_)) {
            return Some(node.clone());
        }
        if let Some(column) = self.furthest(node) {
            let known = self.used.iter().position(|used| used.position == column.position);
            let index = known.unwrap_or_else(|| {
                self.used.push(column);
                self.used.len() - 1
            });
            return Some(BoundExpr::Slot { index, sort: node.sort() });
        }
        node.map_parts(&mut |part| self.slots_of(part))
    }

    /// The column of an expression; of several the one that is kept furthest.
    fn furthest(&self, node: &BoundExpr) -> Option<Arc<DefinedView>> {
        let same = |(plan, _): &&(&ColumnPlan, &Arc<DefinedView>)| plan.node.is_identical(node);
        let mut same = self.candidates.iter().filter(same).map(|(_, column)| *column);
        let first = same.next()?;
        let through = |column: &Arc<DefinedView>| self.snapshot.kept_through(column.position).ok().flatten();
        let mut furthest = (None, first);
        for column in same {
            if furthest.0.is_none() {
                furthest.0 = Some(through(first));
            }
            let reached = Some(through(column));
            if reached > furthest.0 {
                furthest = (reached, column);
            }
        }
        Some(furthest.1.clone())
    }
}

impl std::fmt::Display for ColumnScanPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, column) in self.columns.iter().enumerate() {
            let before = match at {
                0 if self.columns.len() == 1 => "the column ",
                0 => "the columns ",
                _ => ", ",
            };
            write!(f, "{before}{}", NameText(&column.name))?;
        }
        Ok(())
    }
}
