//! Groups of the rows of a block, by what columns have of them.

use std::ops::Range;

use super::filter::BlockCodes;
use super::group_codes::GroupCodes;
use crate::error::Result;
use crate::exec::eval::Scope;
use crate::exec::group::{AggregateGroup, GroupTable, Grouping};
use crate::plan::datum::Datum;
use crate::plan::function::AggregateKind;
use crate::plan::shape::GroupPlan;

/// Some rows of a block, of which columns say all.
pub(super) struct RowBatch<'b> {
    pub columns: &'b [BlockCodes<'b>],
    /// None where they are not grouped by their codes.
    pub codes: Option<&'b GroupCodes<'b>>,
    pub passing: &'b [bool],
    /// Which row of the block is the first of them.
    pub first: usize,
}

/// The groups of rows.
pub(super) struct RowGroups<'s> {
    /// By what is read of events or states.
    grouping: &'s Grouping<'s>,
    /// By what columns have of them.
    of_slots: Grouping<'s>,
    pub whole: GroupTable,
}

impl<'s> RowGroups<'s> {
    /// None yet; of slots it is the plan that is given.
    pub fn new(grouping: &'s Grouping<'s>, of_slots: &'s GroupPlan) -> RowGroups<'s> {
        let of_slots = Grouping::with(of_slots, grouping.budget().clone(), grouping.limits());
        RowGroups { grouping, of_slots, whole: grouping.start() }
    }

    /// Adds the rows that pass, counted from the first of the batch; says how many those are.
    pub fn add(&mut self, batch: &RowBatch, rows: Range<usize>) -> Result<u64> {
        let passing = batch.passing.get(rows.clone()).unwrap_or_default();
        let count = passing.iter().filter(|passes| **passes).count() as u64;
        if count == 0 {
            return Ok(0);
        }
        let plan = self.of_slots.plan();
        let is_counted =
            plan.aggregates.iter().all(|call| call.kind == AggregateKind::Count && call.argument.is_none());
        if plan.keys.is_empty() && is_counted {
            let mut accumulators = self.of_slots.accumulators();
            accumulators.iter_mut().for_each(|accumulator| accumulator.count_more(count));
            let group = AggregateGroup { keys: Vec::new(), accumulators };
            return self.grouping.add_group(&mut self.whole, group).map(|()| count);
        }
        let rows = batch.first + rows.start..batch.first + rows.end;
        if let Some(codes) = batch.codes.filter(|codes| codes.are_few(rows.len())) {
            let groups = codes.groups(&self.of_slots, rows, passing)?;
            groups.into_iter().try_for_each(|group| self.grouping.add_group(&mut self.whole, group))?;
            return Ok(count);
        }
        let mut slots = vec![Datum::Null; batch.columns.len()];
        for (row, _) in rows.zip(passing).filter(|(_, passes)| **passes) {
            for (slot, column) in slots.iter_mut().zip(batch.columns) {
                *slot = column.datum(row);
            }
            self.of_slots.add(&mut self.whole, &Scope::group(&slots, self.grouping.limits()))?;
        }
        Ok(count)
    }
}
