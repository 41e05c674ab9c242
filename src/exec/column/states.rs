//! Columns of states: which entities pass a condition, and what groups of them come to, without their states.
//!
//! Zones are gone through in the order of ids. What changed since the columns were made, and what a column cannot hold, is read as the state that it
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
use crate::store::snapshot::{FreshColumns, Snapshot, StateIds, ZONE, ZoneWriter};
use crate::store::state::stored_state::StoredState;

/// The rows of a zone are those of a block.
const _: () = assert!(ZONE as u64 <= block::SPAN);

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
struct ZoneRows<'z> {
    columns: Vec<BlockCodes<'z>>,
    /// Of which columns say all, and that pass.
    passing: Vec<bool>,
    /// Those whose states are read, by their ids, and the row that each is, or is before.
    unread: Vec<(usize, &'z str)>,
}

impl<'s> StateColumnScan<'s> {
    /// None where the columns that are asked for are not to be had now.
    pub fn open(snapshot: &'s Snapshot, find: &'s FindPlan) -> Result<Option<StateColumnScan<'s>>> {
        let Some(plan) = &find.columns else { return Ok(None) };
        let names: Vec<String> = plan.fields.iter().map(ToString::to_string).collect();
        let kind = find.query.kind.as_str();
        let limits = snapshot.query_limits();
        let writer = |lacking: &[String]| {
            let fields = lacking.iter().map(|name| {
                let field = plan.fields.iter().zip(&names).find(|(_, known)| *known == name);
                field.map(|(field, _)| (BoundExpr::Field(field.clone()), Vec::new()))
            });
            FieldWriter { kind, limits: &limits, fields: fields.flatten().collect() }
        };
        let fresh = snapshot.columns_of_states(kind, &names, writer)?;
        Ok(fresh.map(|fresh| StateColumnScan { snapshot, plan, names, limits, fresh }))
    }

    /// The ids of all that pass, and of some that may; none where that cannot be told.
    pub fn ids(&self) -> Result<Option<VecDeque<String>>> {
        let budget = Budget::new(self.snapshot, "what columns lead to");
        let mut ids = VecDeque::new();
        let mut add = |id: &str| {
            ids.push_back(id.to_owned());
            budget.take(id.len() + size_of::<String>())
        };
        self.each_zone(|zone, rows| {
            let mut begun = 0;
            for (row, id) in &rows.unread {
                passing(&rows.passing, begun..*row).try_for_each(|row| add(zone.id(row)))?;
                add(id)?;
                begun = *row;
            }
            passing(&rows.passing, begun..zone.len()).try_for_each(|row| add(zone.id(row)))
        })
        .map(|is_told| is_told.then_some(ids))
    }

    /// The groups of all that pass, where they are wanted; none where that cannot be told. `read` adds states of which columns do not say all.
    pub fn groups(
        &self,
        grouping: &Grouping,
        mut read: impl FnMut(&mut GroupTable, VecDeque<String>) -> Result<()>,
    ) -> Result<Option<GroupTable>> {
        let Some(plan) = &self.plan.group else { return Ok(None) };
        let mut groups = RowGroups::new(grouping, plan);
        let is_told = self.each_zone(|zone, rows| {
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
            groups.add(&batch, begun..zone.len()).map(|_| ())
        })?;
        Ok(is_told.then_some(groups.whole))
    }

    /// Hands over zone by zone; `false` where it cannot be told what passes.
    fn each_zone(&self, mut take: impl FnMut(&StateIds, &ZoneRows) -> Result<()>) -> Result<bool> {
        let (zones, nothing) = (self.fresh.zones(), StateIds::default());
        let mut after = None;
        for (at, zone) in zones.iter().enumerate() {
            self.snapshot.go_on()?;
            let last = zone.id(zone.len().saturating_sub(1));
            let columns = self.names.iter().map(|name| ColumnBlock::decode(self.fresh.column(at, name)?));
            let Some(blocks) = columns.collect::<Option<Vec<_>>>() else { return Ok(false) };
            let mut rows = match filter::passes_none(&self.plan.conditions, &blocks, &self.limits) {
                true => {
                    ZoneRows { columns: Vec::new(), passing: vec![false; zone.len()], unread: Vec::new() }
                }
                false => {
                    let columns = blocks.iter().map(BlockCodes::new).collect::<Option<Vec<_>>>();
                    let Some(rows) = columns.and_then(|columns| self.passing(zone, columns)) else {
                        return Ok(false);
                    };
                    rows
                }
            };
            rows.read_all_of(zone, self.fresh.changed(after, Some(last)));
            take(zone, &rows)?;
            after = Some(last);
        }
        // Behind the last there may be new ones.
        let mut rows = ZoneRows { columns: Vec::new(), passing: Vec::new(), unread: Vec::new() };
        rows.read_all_of(&nothing, self.fresh.changed(after, None));
        take(&nothing, &rows)?;
        Ok(true)
    }

    /// The rows of a zone that pass, by what columns have; none where that cannot be told.
    fn passing<'z>(&self, zone: &'z StateIds, columns: Vec<BlockCodes<'z>>) -> Option<ZoneRows<'z>> {
        let (conditions, all) = (&self.plan.conditions, 0..zone.len());
        if columns.iter().any(|column| column.codes.len() != zone.len()) {
            return None;
        }
        let mut passing = vec![true; zone.len()];
        for condition in conditions {
            // What cannot be worked out may stand behind what is false of the state.
            filter::narrow(condition, &columns, all.clone(), &mut passing, &self.limits).ok()?;
        }
        let mut unread = Vec::new();
        for row in filter::others(conditions, &columns, all, &passing) {
            passing[row] = false;
            unread.push((row, zone.id(row)));
        }
        Some(ZoneRows { columns, passing, unread })
    }
}

impl<'z> ZoneRows<'z> {
    /// Has the states of these ids read, whatever columns say of them.
    fn read_all_of(&mut self, zone: &'z StateIds, ids: impl Iterator<Item = &'z str>) {
        for id in ids {
            let row = zone.row_of(id);
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

impl ZoneWriter for FieldWriter<'_> {
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

    fn finish(&mut self) -> Result<Vec<Vec<u8>>> {
        self.fields.iter_mut().map(|(_, rows)| block::encode(&std::mem::take(rows))).collect()
    }
}
