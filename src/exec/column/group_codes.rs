//! Groups by codes: where keys and values are columns as they are, each key is looked up once for all rows of a block.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::block::{ColumnValue, Meaning};
use super::filter::BlockCodes;
use crate::error::Result;
use crate::exec::aggregate::Accumulator;
use crate::exec::group::{AggregateGroup, Grouping};
use crate::plan::datum::Datum;
use crate::plan::expr::BoundExpr;
use crate::plan::function::AggregateKind;
use crate::plan::order::write_key;
use crate::plan::shape::{AggregateCall, GroupPlan};

/// So many groups of a block have room by their codes, and for each row so many.
const BY_CODE: usize = 1 << 15;
const FEW: usize = 64;
const FOR_A_ROW: usize = 4;

/// Groups whose keys and values are columns as they are.
pub(super) struct GroupCodes<'b> {
    keys: Vec<KeyCodes<'b>>,
    /// How many groups there can be.
    places: usize,
    values: Vec<Option<&'b BlockCodes<'b>>>,
}

/// The codes of a key: the same value, whatever its form, has the same.
struct KeyCodes<'b> {
    column: &'b BlockCodes<'b>,
    codes: Cow<'b, [u32]>,
    /// Each is less than this.
    count: usize,
}

/// What is made of the values of a column, by the places of groups.
enum PlaceValues {
    /// How many, and what their codes come to.
    Integers(Vec<(u64, u64)>),
    Values(Vec<Option<Accumulator>>),
    Nothing,
}

impl<'b> KeyCodes<'b> {
    fn new(column: &'b BlockCodes<'b>) -> KeyCodes<'b> {
        let codes = match &column.block.meaning {
            Meaning::Packed(_) => None,
            Meaning::Dictionary(cells) => first_codes(cells).map(|first_codes| {
                column
                    .codes
                    .iter()
                    .map(|code| first_codes.get(*code as usize).copied().unwrap_or(*code))
                    .collect()
            }),
        };
        let count = (column.block.last as usize).saturating_add(1);
        KeyCodes { column, codes: codes.map_or(Cow::Borrowed(&column.codes), Cow::Owned), count }
    }
}

/// For each code, the first that is the same key: 1 and 1.0 are one, and have two codes. None where no two are.
fn first_codes(cells: &[ColumnValue]) -> Option<Vec<u32>> {
    let mut firsts = HashMap::new();
    let mut codes: Vec<u32> = (0..).take(cells.len()).collect();
    let mut are_others = false;
    for (code, cell) in codes.iter_mut().zip(cells) {
        // A text is no other.
        if let Some(number @ Datum::Number(_)) = cell {
            let mut key = Vec::new();
            write_key(number, &mut key);
            let first = *firsts.entry(key).or_insert(*code);
            are_others |= first != *code;
            *code = first;
        }
    }
    are_others.then_some(codes)
}

impl<'b> GroupCodes<'b> {
    /// None where something is made of columns, or there is no room for all groups.
    pub fn new(columns: &'b [BlockCodes], plan: &GroupPlan) -> Option<GroupCodes<'b>> {
        let column = |node: &BoundExpr| match node {
            BoundExpr::Slot { index, .. } => columns.get(*index),
            _ => None,
        };
        let keys = plan.keys.iter().map(|key| column(&key.node)).collect::<Option<Vec<_>>>()?;
        let mut places = 1usize;
        for key in &keys {
            let codes = (key.block.last as usize).saturating_add(1);
            places = places.checked_mul(codes).filter(|places| *places <= BY_CODE)?;
        }
        let value = |call: &AggregateCall| match &call.argument {
            None => Some(None),
            Some(argument) => column(argument).map(Some),
        };
        let values = plan.aggregates.iter().map(value).collect::<Option<_>>()?;
        Some(GroupCodes { keys: keys.into_iter().map(KeyCodes::new).collect(), places, values })
    }

    /// Whether the groups that there can be are few for so many rows: all have room each time.
    pub fn are_few(&self, rows: usize) -> bool {
        self.places <= rows.saturating_mul(FOR_A_ROW).max(FEW)
    }

    /// The groups of the rows that pass, in the order of the first row of each.
    pub fn groups(
        &self,
        grouping: &Grouping,
        rows: Range<usize>,
        passing: &[bool],
    ) -> Result<Vec<AggregateGroup>> {
        let places = self.row_places(rows.clone());
        let (mut counts, mut firsts) = (vec![0u64; self.places], Vec::new());
        for ((row, place), _) in rows.clone().zip(&places).zip(passing).filter(|(_, passes)| **passes) {
            let count = &mut counts[*place as usize];
            if *count == 0 {
                firsts.push((*place as usize, row));
            }
            *count += 1;
        }
        let calls = grouping.plan().aggregates.iter().zip(&self.values);
        let mut made = Vec::with_capacity(self.values.len());
        for (call, column) in calls {
            made.push(match column {
                None => PlaceValues::Nothing,
                Some(column) => self.values(grouping, call.kind, (column, rows.clone()), &places, passing)?,
            });
        }
        let mut groups = Vec::with_capacity(firsts.len());
        for (place, row) in firsts {
            let keys = self.keys.iter().map(|key| key.column.datum(row)).collect();
            let mut accumulators = grouping.accumulators();
            for ((accumulator, made), column) in accumulators.iter_mut().zip(&mut made).zip(&self.values) {
                match made {
                    PlaceValues::Nothing => accumulator.count_more(counts[place]),
                    PlaceValues::Integers(sums) => {
                        let (count, codes) = sums[place];
                        add_integers(accumulator, *column, count, codes);
                    }
                    PlaceValues::Values(values) => {
                        if let Some(value) = values[place].take() {
                            *accumulator = value;
                        }
                    }
                }
            }
            groups.push(AggregateGroup { keys, accumulators });
        }
        Ok(groups)
    }

    /// The place of the group of each row.
    fn row_places(&self, rows: Range<usize>) -> Vec<u32> {
        let mut places = vec![0; rows.len()];
        for key in &self.keys {
            let codes = key.codes.get(rows.clone()).unwrap_or_default();
            for (place, code) in places.iter_mut().zip(codes) {
                *place = *place * key.count as u32 + code;
            }
        }
        places
    }

    /// What an aggregate makes of the values of each group.
    fn values(
        &self,
        grouping: &Grouping,
        kind: AggregateKind,
        (column, rows): (&BlockCodes, Range<usize>),
        places: &[u32],
        passing: &[bool],
    ) -> Result<PlaceValues> {
        let codes = column.codes.get(rows).unwrap_or_default();
        let each = codes.iter().zip(places).zip(passing).filter(|(_, passes)| **passes);
        let integers = match &column.block.meaning {
            Meaning::Packed(scale) if matches!(kind, AggregateKind::Sum | AggregateKind::Average) => {
                scale.integers().map(|_| scale.first())
            }
            _ => None,
        };
        if let Some(first) = integers {
            let mut sums = vec![(0u64, 0u64); self.places];
            for ((code, place), _) in each {
                // Below the first there is null.
                let is_number = u64::from(*code >= first);
                let (count, codes) = &mut sums[*place as usize];
                *count += is_number;
                *codes += u64::from(code.wrapping_sub(first)) * is_number;
            }
            return Ok(PlaceValues::Integers(sums));
        }
        let mut values: Vec<Option<Accumulator>> = Vec::new();
        values.resize_with(self.places, || None);
        let mut room = Vec::new();
        for ((code, place), _) in each {
            let accumulator = values[*place as usize].get_or_insert_with(|| Accumulator::new(kind));
            match &column.block.meaning {
                Meaning::Dictionary(cells) => {
                    if let Some(Some(datum)) = cells.get(*code as usize) {
                        accumulator.add(datum, grouping.budget(), &mut room)?;
                    }
                }
                meaning => {
                    if let Some(datum) = meaning.cell(*code) {
                        accumulator.add(&datum, grouping.budget(), &mut room)?;
                    }
                }
            }
        }
        Ok(PlaceValues::Values(values))
    }
}

/// Adds whole numbers, by what their steps come to.
fn add_integers(accumulator: &mut Accumulator, column: Option<&BlockCodes>, count: u64, steps: u64) {
    let Some(Meaning::Packed(scale)) = column.map(|column| &column.block.meaning) else { return };
    if let Some((least, step)) = scale.integers() {
        accumulator.add_integers(count, least * i128::from(count) + step * i128::from(steps));
    }
}
