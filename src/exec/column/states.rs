//! Columns of states: which entities pass a condition, and what groups of them come to, without their states.
//!
//! Blocks are gone through in the order of ids. What changed since the columns were made, and what a column cannot hold, is read as the state that it
//! is by now, in its place among the others: the answer is that of the states.

use std::collections::VecDeque;
use std::ops::Range;

use super::block::{self, ColumnBlock, ColumnRow};
use super::filter::{self, BlockCodes};
use super::group_codes::GroupCodes;
use super::row_groups::{RowBatch, RowGroups};
use crate::allowance::{Limits, Unmade};
use crate::entity::EntityStr;
use crate::error::Result;
use crate::exec::budget::Budget;
use crate::exec::eval::{CandidateEntity, Scope};
use crate::exec::group::{GroupTable, Grouping};
use crate::plan::access_path::find::FindPlan;
use crate::plan::access_path::state_column::StateColumnPlan;
use crate::plan::expr::BoundExpr;
use crate::store::snapshot::{ColumnWriter, FreshColumns, STATE_BLOCK, Snapshot, StateIds};
use crate::store::state::stored_state::StoredState;

/// An id that is found by columns is read alone: where more than one of so many states is, reading all is less; of a few it does not matter.
const WORTH: usize = if cfg!(test) { 1 } else { 4 };
const FEW: usize = 64;

/// Where more than one of so many states changed, or is not told by a column, columns are of no use.
const MANY: usize = if cfg!(test) { 1 } else { 8 };

/// A block of states is no longer than one of events.
const _: () = assert!(STATE_BLOCK as u64 <= block::SPAN);

/// The states of a kind, by columns of some of their fields.
pub(in crate::exec) struct StateColumnScan<'s> {
    snapshot: &'s Snapshot,
    plan: &'s StateColumnPlan,
    /// What the fields are called.
    names: Vec<String>,
    limits: Limits,
    fresh: FreshColumns,
}

/// What is known of the states between two ids.
struct BlockRows<'b> {
    columns: Vec<BlockCodes<'b>>,
    /// Of which columns say all, and that pass.
    passing: Vec<bool>,
    /// Those whose states are read, by their ids, and the row that each is, or is before.
    unread: Vec<(usize, &'b str)>,
}

impl<'s> StateColumnScan<'s> {
    /// None where the columns that are asked for are not to be had now.
    pub fn open(snapshot: &'s Snapshot, find: &'s FindPlan) -> Result<Option<StateColumnScan<'s>>> {
        let Some(plan) = &find.columns else { return Ok(None) };
        let names: Vec<String> = plan.fields.iter().map(ToString::to_string).collect();
        let kind = find.query.kind.as_str();
        let limits = snapshot.query_limits();
        let writer = |missing: &[String]| {
            let fields = missing.iter().map(|name| {
                let field = plan.fields.iter().zip(&names).find(|(_, known)| *known == name);
                field.map(|(field, _)| (BoundExpr::Field(field.clone()), Vec::new()))
            });
            FieldWriter { kind, limits: &limits, fields: fields.flatten().collect() }
        };
        let fresh = snapshot.columns_of_states(kind, &names, writer)?;
        let scan = fresh.map(|fresh| StateColumnScan { snapshot, plan, names, limits, fresh });
        // Where much changed since, the states are read one behind the other.
        Ok(scan.filter(|scan| scan.fresh.changed(None, None).count() <= scan.rows() / MANY))
    }

    /// How many states had a row when the columns were made.
    fn rows(&self) -> usize {
        self.fresh.blocks().iter().map(StateIds::len).sum()
    }

    /// The ids of all that pass, and of some that may; none where that cannot be told, or they are so many that to read all states is less.
    pub fn ids(&self) -> Result<Option<VecDeque<String>>> {
        let budget = Budget::new(self.snapshot, "what columns lead to");
        let (mut found, most) = (VecDeque::new(), self.rows() / WORTH + FEW);
        let mut add = |id: &str| {
            found.push_back(id.to_owned());
            found.len() <= most && budget.take(id.len() + size_of::<String>()).is_ok()
        };
        let is_told = self.each_block(|ids, rows| {
            let mut begun = 0;
            for (row, id) in &rows.unread {
                if !passing(&rows.passing, begun..*row).all(|row| add(ids.id(row))) || !add(id) {
                    return Ok(false);
                }
                begun = *row;
            }
            Ok(passing(&rows.passing, begun..ids.len()).all(|row| add(ids.id(row))))
        })?;
        Ok(is_told.then_some(found))
    }

    /// The groups of all that pass, where they are wanted; none where that cannot be told. `read` adds states of which columns do not say all.
    pub fn groups(
        &self,
        grouping: &Grouping,
        mut read: impl FnMut(&mut GroupTable, VecDeque<String>) -> Result<()>,
    ) -> Result<Option<GroupTable>> {
        let Some(plan) = &self.plan.group else { return Ok(None) };
        let mut groups = RowGroups::new(grouping, plan);
        let is_told = self.each_block(|ids, rows| {
            let codes = GroupCodes::new(&rows.columns, plan);
            let (passing, codes) = (&rows.passing, codes.as_ref());
            let batch = RowBatch { columns: &rows.columns, codes, passing, first: 0 };
            let (mut begun, mut waiting) = (0, VecDeque::new());
            for (row, id) in &rows.unread {
                // Each in its place, so that the first of a group is the first.
                if passing.get(begun..*row).is_some_and(|between| between.contains(&true)) {
                    if !waiting.is_empty() {
                        read(&mut groups.whole, std::mem::take(&mut waiting))?;
                    }
                    groups.add(&batch, begun..*row)?;
                }
                waiting.push_back((*id).to_owned());
                begun = *row;
            }
            if !waiting.is_empty() {
                read(&mut groups.whole, waiting)?;
            }
            groups.add(&batch, begun..ids.len()).map(|_| true)
        })?;
        Ok(is_told.then_some(groups.whole))
    }

    /// Hands over block by block, until it is told to stop; `false` then, and where it cannot be told what passes.
    fn each_block(&self, mut take: impl FnMut(&StateIds, &BlockRows) -> Result<bool>) -> Result<bool> {
        let mut after = None;
        for (at, ids) in self.fresh.blocks().iter().enumerate() {
            self.snapshot.go_on()?;
            let last = ids.id(ids.len().saturating_sub(1));
            let columns = self.names.iter().map(|name| ColumnBlock::decode(self.fresh.column(at, name)?));
            let Some(blocks) = columns.collect::<Option<Vec<_>>>() else { return Ok(false) };
            let Some(mut rows) = self.block_rows(ids, &blocks)? else { return Ok(false) };
            rows.read_all_of(ids, self.fresh.changed(after, Some(last)));
            if !take(ids, &rows)? {
                return Ok(false);
            }
            after = Some(last);
        }
        // Behind the last there may be new ones.
        let nothing = StateIds::default();
        let mut rows = BlockRows::none_of(0);
        rows.read_all_of(&nothing, self.fresh.changed(after, None));
        take(&nothing, &rows)
    }

    /// The rows of a block that pass, by what columns have; none where that cannot be told.
    fn block_rows<'b>(
        &self,
        ids: &'b StateIds,
        blocks: &'b [ColumnBlock<'b>],
    ) -> Result<Option<BlockRows<'b>>> {
        let (conditions, all) = (&self.plan.conditions, 0..ids.len());
        if filter::passes_none(conditions, blocks, &self.limits) {
            return Ok(Some(BlockRows::none_of(ids.len())));
        }
        let columns = blocks.iter().map(BlockCodes::new).collect::<Option<Vec<_>>>();
        let is_whole = |column: &BlockCodes| column.codes.len() == ids.len();
        let Some(columns) = columns.filter(|columns| columns.iter().all(is_whole)) else { return Ok(None) };
        let mut passing = vec![true; ids.len()];
        for condition in conditions {
            if filter::narrow(condition, &columns, all.clone(), &mut passing, &self.limits).is_err() {
                // What cannot be worked out may stand behind what is false of the state.
                self.snapshot.go_on()?;
                return Ok(None);
            }
        }
        let mut unread = Vec::new();
        for row in filter::others(conditions, &columns, all, &passing) {
            passing[row] = false;
            unread.push((row, ids.id(row)));
        }
        Ok(Some(BlockRows { columns, passing, unread }))
    }
}

impl<'b> BlockRows<'b> {
    /// That of so many none passes.
    fn none_of(rows: usize) -> BlockRows<'b> {
        BlockRows { columns: Vec::new(), passing: vec![false; rows], unread: Vec::new() }
    }

    /// Has states read, whatever columns say of them.
    fn read_all_of(&mut self, ids: &'b StateIds, changed: impl Iterator<Item = &'b str>) {
        for id in changed {
            let row = ids.row_of(id);
            if let Some(passes) = row.ok().and_then(|row| self.passing.get_mut(row)) {
                *passes = false;
            }
            self.unread.push((row.unwrap_or_else(|before| before), id));
        }
        self.unread.sort_unstable_by_key(|(_, id)| *id);
        self.unread.dedup();
    }
}

/// The rows of a range that pass.
fn passing(all: &[bool], range: Range<usize>) -> impl Iterator<Item = usize> {
    let first = range.start;
    let rows = all.get(range).unwrap_or_default().iter().enumerate();
    rows.filter(|(_, passes)| **passes).map(move |(at, _)| first + at)
}

/// Makes blocks of fields.
struct FieldWriter<'f> {
    kind: &'f str,
    limits: &'f Limits,
    fields: Vec<(BoundExpr, Vec<ColumnRow>)>,
}

impl ColumnWriter for FieldWriter<'_> {
    fn take(&mut self, id: &str, kept: &StoredState) -> Result<()> {
        let found = CandidateEntity { target: EntityStr { kind: self.kind, id }, kept };
        for (node, rows) in &mut self.fields {
            let scope = Scope::found(&found, self.limits);
            let datum = scope.datum(node);
            let cell = match scope.allowance().made() {
                Ok(()) => block::cell(datum),
                Err(Unmade::Ended(error)) => return Err(error),
                Err(_) => None,
            };
            rows.push((rows.len() as u16, cell));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let mut columns = Vec::with_capacity(self.fields.len());
        for (_, rows) in &mut self.fields {
            let untold = rows.iter().filter(|(_, cell)| cell.is_none()).count();
            if untold > rows.len() / MANY {
                return Ok(None);
            }
            columns.push(block::encode(&std::mem::take(rows))?);
        }
        Ok(Some(columns))
    }
}
