//! Scans of columns: groups of events, without the events.
//!
//! Blocks are gone through in the order of the log. Of each, the rows that pass are found by the codes of the columns that conditions are on; what
//! they are grouped by and what is made of them goes by codes, too, and each is looked up once. What only an event says is read of that, in its
//! place among the others; and so is what is not kept: blocks that are damaged or too large, and what was just appended. So the answer is that of
//! the events, to the order of what is equal.

use std::ops::Range;

use super::block::{self, ColumnBlock};
use super::filter::{self, BlockCodes};
use super::group_codes::GroupCodes;
use super::row_groups::{RowBatch, RowGroups};
use crate::entity::Position;
use crate::error::Result;
use crate::exec::EventScan;
use crate::exec::group::{GroupTable, Grouping};
use crate::exec::parallel_scan::{ParallelScan, gather_all};
use crate::plan::access_path::column::ColumnScanPlan;
use crate::plan::{EventsPlan, LogWindow};
use crate::store::snapshot::Snapshot;

/// So many blocks of each column are read at a time, of about so many bytes together, but one at least.
const PAGE: usize = if cfg!(test) { 2 } else { 32 };
const PAGE_BYTES: usize = 4 << 20;

/// Where one of so many rows of a block is read of the log, all are.
const MANY: usize = 8;

/// The groups of some events.
pub(in crate::exec) fn gather(
    snapshot: &Snapshot,
    events: &EventsPlan,
    plan: &ColumnScanPlan,
    grouping: &Grouping,
) -> Result<GroupTable> {
    let groups = RowGroups::new(grouping, &plan.group);
    let mut scan = ColumnScan { snapshot, events, plan, grouping, groups, unread: None };
    let reached = scan.blocks()?;
    let window = LogWindow { after: reached, ..events.window };
    if reached < window.through.min(snapshot.head()) {
        scan.leave_to_log(window)?;
    }
    scan.read_log()?;
    Ok(scan.groups.whole)
}

struct ColumnScan<'s> {
    snapshot: &'s Snapshot,
    events: &'s EventsPlan,
    plan: &'s ColumnScanPlan,
    /// By what events have.
    grouping: &'s Grouping<'s>,
    groups: RowGroups<'s>,
    /// What is to be read of the log before anything else: stretches are read together, by several threads where they are long.
    unread: Option<LogWindow>,
}

impl ColumnScan<'_> {
    /// Goes through the blocks that are kept. Says up to where nothing is left.
    fn blocks(&mut self) -> Result<Position> {
        let window = self.events.window;
        let definitions: Vec<Position> = self.plan.columns.iter().map(|column| column.position).collect();
        let (mut reached, mut limit) = (window.after, None);
        loop {
            let from = block::block_of(reached.next()).to_be_bytes();
            let page = self.snapshot.stored_page(&definitions, &from, PAGE, PAGE_BYTES)?;
            let Some(page) = page else { break };
            let limit =
                *limit.get_or_insert_with(|| page.through.min(window.through).min(self.snapshot.head()));
            // They were made anew meanwhile.
            if page.through < limit || limit <= reached {
                break;
            }
            let (bytes, is_last) = (page.bytes, page.is_last);
            let budget = self.grouping.budget().clone();
            if budget.take(bytes).is_err() {
                // The log takes less room.
                budget.give(bytes);
                break;
            }
            for (key, columns) in page.groups {
                let Ok(number) = key.as_slice().try_into().map(u64::from_be_bytes) else {
                    return Ok(reached);
                };
                let first = block::position_of(number, 0);
                if first > limit {
                    return Ok(limit);
                }
                let part = LogWindow {
                    after: reached.max(first.previous()),
                    through: limit.min(block::position_of(number.saturating_add(1), 0).previous()),
                    ..window
                };
                self.block(number, &columns, part)?;
                reached = part.through;
            }
            budget.give(bytes);
            if is_last || reached >= limit {
                return Ok(limit);
            }
        }
        Ok(reached)
    }

    /// Goes through a part of a block.
    fn block(&mut self, number: u64, columns: &[Option<Vec<u8>>], part: LogWindow) -> Result<()> {
        self.snapshot.go_on()?;
        let blocks = columns.iter().map(|bytes| ColumnBlock::decode(bytes.as_deref()?));
        let Some(blocks) = blocks.collect::<Option<Vec<ColumnBlock>>>() else {
            return self.leave_to_log(part);
        };
        let Some(rows) = rows_within(number, &blocks, part) else { return self.leave_to_log(part) };
        if rows.is_empty() {
            return Ok(());
        }
        if filter::passes_none(&self.plan.conditions, &blocks, self.grouping.limits()) {
            self.snapshot.tally().add_blocks_passed_over(1);
            return Ok(());
        }
        match blocks.iter().map(BlockCodes::new).collect::<Option<Vec<_>>>() {
            Some(columns) => self.rows(number, &columns, rows, part),
            None => self.leave_to_log(part),
        }
    }

    fn rows(
        &mut self,
        number: u64,
        columns: &[BlockCodes],
        rows: Range<usize>,
        part: LogWindow,
    ) -> Result<()> {
        let mut passing = vec![true; rows.len()];
        for condition in &self.plan.conditions {
            let limits = self.grouping.limits();
            if filter::narrow(condition, columns, rows.clone(), &mut passing, limits).is_err() {
                // What cannot be worked out may stand behind what is false of the event.
                self.snapshot.go_on()?;
                return self.leave_to_log(part);
            }
        }
        let others = filter::others(&self.plan.conditions, columns, rows.clone(), &passing);
        if others.len() > rows.len() / MANY {
            return self.leave_to_log(part);
        }
        self.read_log()?;
        let plan = self.plan;
        let codes = GroupCodes::new(columns, &plan.group);
        let batch = RowBatch { columns, codes: codes.as_ref(), passing: &passing, first: rows.start };
        let offsets = match (others.first(), columns.first()) {
            (Some(_), Some(column)) => column.block.offsets().unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut begun = 0;
        for other in others {
            // Each in its place, so that the first of a group is the first.
            self.add(&batch, begun..other)?;
            let Some(offset) = offsets.get(rows.start + other) else { return Ok(()) };
            let position = block::position_of(number, *offset);
            self.read(LogWindow { after: position.previous(), through: position, ..part })?;
            begun = other + 1;
        }
        self.add(&batch, begun..rows.len())
    }

    /// Adds rows of which columns say all, those that pass.
    fn add(&mut self, batch: &RowBatch, rows: Range<usize>) -> Result<()> {
        let count = self.groups.add(batch, rows)?;
        self.snapshot.tally().add_admitted(count);
        Ok(())
    }

    /// Notes a part of the log that is to be read, behind all that was taken so far.
    fn leave_to_log(&mut self, part: LogWindow) -> Result<()> {
        if let Some(unread) = self.unread.as_mut().filter(|unread| unread.through == part.after) {
            unread.through = part.through;
            return Ok(());
        }
        self.read_log()?;
        self.unread = Some(part);
        Ok(())
    }

    /// Reads what was left to the log.
    fn read_log(&mut self) -> Result<()> {
        let Some(window) = self.unread.take() else { return Ok(()) };
        let events = EventsPlan { window, ..self.events.clone() };
        let part = gather_all(self.snapshot, &events, self.grouping)?;
        self.grouping.join(&mut self.groups.whole, part)
    }

    /// Reads a few events.
    fn read(&mut self, part: LogWindow) -> Result<()> {
        let ColumnScan { snapshot, events, grouping, groups: RowGroups { whole, .. }, .. } = self;
        EventScan::within(snapshot, events, part).each(|event| {
            grouping.take(whole, event)?;
            Ok(true)
        })
    }
}

/// Which rows of a block are in a part of the log; none where the blocks do not have the same events there.
fn rows_within(number: u64, blocks: &[ColumnBlock], part: LogWindow) -> Option<Range<usize>> {
    let (start, end) = (block::position_of(number, 0), block::position_of(number.saturating_add(1), 0));
    let is_whole = part.after < start && part.through >= end.previous();
    let first = blocks.first()?;
    let are_same = blocks.iter().all(|block| block.has_the_offsets_of(first));
    if is_whole {
        return are_same.then_some(0..first.rows);
    }
    let through = |offsets: &[u16], position: Position| {
        offsets.partition_point(|offset| block::position_of(number, *offset) <= position)
    };
    let offsets = first.offsets()?;
    let within = through(&offsets, part.after)..through(&offsets, part.through);
    // One that is kept further has more of them behind.
    let is_same = |block: &ColumnBlock| {
        let others = block.offsets();
        others.is_some_and(|others| others.get(..through(&others, part.through)) == offsets.get(..within.end))
    };
    (are_same || blocks.iter().all(is_same)).then_some(within)
}
