//! What of `FIND` columns of states answer: what `WHERE`, `GROUP BY` and aggregates ask of fields.

use std::fmt::{self, Display, Formatter};

use super::column::{ColumnCondition, bounds};
use super::conditions::conjuncts;
use crate::plan::expr::BoundExpr;
use crate::plan::field::Field;
use crate::plan::find::FindQuery;
use crate::plan::shape::{AggregateCall, GroupPlan, OutputColumn, Shape};
use crate::store::snapshot::STATE_FIELDS;

/// What is asked of fields of states, where it is asked of nothing else.
#[derive(Debug, Clone)]
pub(crate) struct StateColumnPlan {
    /// The fields: a slot is the place here.
    pub fields: Vec<Field>,
    /// What stands in `AND` at the top of `WHERE`, of slots.
    pub conditions: Vec<ColumnCondition>,
    /// The keys and the aggregates, of slots, where groups are wanted.
    pub group: Option<GroupPlan>,
}

/// What columns are asked of the states of a kind, if they can be.
pub(super) fn plan(query: &FindQuery) -> Option<StateColumnPlan> {
    let (mut fields, mut conditions) = (StateFields::default(), Vec::new());
    if let Some(predicate) = &query.predicate {
        let mut terms = Vec::new();
        conjuncts(&predicate.node, &mut terms);
        for term in terms {
            conditions.extend(bounds(fields.slots_of(term)?));
        }
    }
    let group = match &query.shape {
        Some(Shape::Group(group)) => Some(GroupPlan {
            keys: group.keys.iter().map(|key| fields.output(key)).collect::<Option<_>>()?,
            aggregates: group.aggregates.iter().map(|call| fields.aggregate(call)).collect::<Option<_>>()?,
            ..group.clone()
        }),
        _ => None,
    };
    let conditions: Vec<_> = conditions.into_iter().map(ColumnCondition::of).collect();
    // Of rows of which some are wanted, a page of states may have enough.
    if group.is_none() && (conditions.is_empty() || query.limit.is_some()) {
        return None;
    }
    if fields.0.is_empty() {
        // To count them any field will do, and all have this one.
        fields.0.push(Field::Events);
    }
    Some(StateColumnPlan { fields: fields.0, conditions, group })
}

/// The fields that are asked for.
#[derive(Default)]
struct StateFields(Vec<Field>);

impl StateFields {
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

    /// An expression of slots in the place of one of a state; none where it asks for more than fields of it.
    fn slots_of(&mut self, node: &BoundExpr) -> Option<BoundExpr> {
        let BoundExpr::Field(field) = node else { return node.map_parts(&mut |part| self.slots_of(part)) };
        let is_field = match field {
            Field::State(steps) => !steps.is_empty(),
            Field::Version | Field::Events => true,
            _ => false,
        };
        let known = self.0.iter().position(|known| known == field);
        let index = match known {
            Some(index) => index,
            None if is_field && self.0.len() < STATE_FIELDS => {
                self.0.push(field.clone());
                self.0.len() - 1
            }
            None => return None,
        };
        Some(BoundExpr::Slot { index, sort: node.sort() })
    }
}

impl Display for StateColumnPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let are = if self.fields.len() == 1 { "is" } else { "are" };
        for (at, field) in self.fields.iter().enumerate() {
            write!(f, "{}{field}", if at == 0 { "" } else { ", " })?;
        }
        write!(f, " {are} remembered for whoever asks again")
    }
}
