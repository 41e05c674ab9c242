//! Columns: a value of each event of some types, kept beside the log in blocks of a few thousand positions.
//!
//! What is kept of a column are its [blocks](block), each a group as those of a view are: a checkpoint takes them along, the background makes what
//! is missing, and they are dropped, made anew, and compared with the log in the same way. Where a block is not kept, or an event has what a column
//! cannot hold, whoever reads goes to the events.

mod bits;
pub(super) mod block;
mod filter;
mod group_codes;
mod row_groups;
mod scan;
mod show;
pub(super) mod states;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::eval::Scope;
use crate::allowance::{Limits, Unmade};
use crate::error::Result;
use crate::event::record::Record;
use crate::plan;
use crate::plan::column::ColumnPlan;
use crate::store::view::{GroupDelta, Keeps, ViewGroups, ViewMaterializer};
use block::{ColumnRow, ColumnValue};
pub(super) use scan::gather;
pub(super) use show::{row, show};

/// A block takes no more bytes than this, or it is not kept.
const LARGEST: usize = 1 << 20;

/// What working a value out takes at most, or only the event says it. It is the same whatever the options are, so that blocks are, too.
const LARGEST_VALUE: usize = 1 << 20;

/// What works out the definition of a column: its name, and what its blocks are made of.
pub(super) fn compile(text: &str) -> Result<(String, Arc<dyn ViewMaterializer>)> {
    let column = plan::column_definition(text)?;
    Ok((column.name.clone(), Arc::new(ColumnExpression { column })))
}

/// What a definition says.
#[derive(Debug)]
struct ColumnExpression {
    column: ColumnPlan,
}

impl ViewMaterializer for ColumnExpression {
    fn keeps(&self) -> Keeps<'_> {
        Keeps::Groups(self)
    }

    fn plan(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(&self.column)
    }
}

impl ColumnExpression {
    /// What an event has in the column; what cannot be worked out only the event says.
    fn cell(&self, event: &Record, limits: &Limits) -> Result<ColumnValue> {
        let scope = Scope::of(event, limits);
        let datum = scope.datum(&self.column.node);
        match scope.allowance().made() {
            Ok(()) => Ok(block::cell(datum)),
            Err(Unmade::Ended(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl ViewGroups for ColumnExpression {
    fn part<'e>(
        &self,
        events: &mut dyn Iterator<Item = Result<Record<'e>>>,
        limits: &Limits,
    ) -> Result<GroupDelta> {
        let limits = &limits.of_size(LARGEST_VALUE);
        let mut blocks = BTreeMap::<u64, Vec<ColumnRow>>::new();
        for event in events {
            let event = event?;
            if self.column.on.matches_bytes(event.kind_bytes()) {
                let position = event.position();
                let row = (block::offset_of(position), self.cell(&event, limits)?);
                blocks.entry(block::block_of(position)).or_default().push(row);
            }
        }
        blocks
            .into_iter()
            .map(|(block, rows)| Ok((block.to_be_bytes().to_vec(), block::encode(&rows)?)))
            .collect()
    }

    fn join(&self, kept: &[u8], later: &[u8]) -> Result<Vec<u8>> {
        block::join(kept, later)
    }

    fn largest(&self) -> usize {
        LARGEST
    }
}
