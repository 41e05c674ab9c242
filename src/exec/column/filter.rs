//! Conditions on columns: which rows of a block pass.
//!
//! A condition on one column is a condition on its codes. Where the codes stand for numbers in their order and the condition is a comparison, the
//! codes that pass are a range, which is looked for by halves; of other codes each is tried once. Every try works the condition out
//! as it would be for an event.

use std::ops::Range;

use super::block::{ColumnBlock, Meaning};
use crate::allowance::Limits;
use crate::error::Result;
use crate::exec::eval::Scope;
use crate::lang::ast::Comparison;
use crate::plan::access_path::column::ColumnCondition;
use crate::plan::datum::Datum;
use crate::plan::expr::BoundExpr;

/// What of so many codes is known is remembered.
const REMEMBERED: usize = 1 << 16;

/// A block of a column, with the codes of its rows.
pub(super) struct BlockCodes<'b> {
    pub block: &'b ColumnBlock<'b>,
    pub codes: Vec<u32>,
    /// The code of what only the event says.
    pub other: Option<u32>,
}

impl<'b> BlockCodes<'b> {
    pub fn new(block: &'b ColumnBlock<'b>) -> Option<BlockCodes<'b>> {
        Some(BlockCodes { block, codes: block.codes()?, other: block.meaning.other() })
    }

    pub fn code(&self, row: usize) -> u32 {
        self.codes.get(row).copied().unwrap_or_default()
    }

    /// What a row has; null where only the event says it.
    pub fn datum(&self, row: usize) -> Datum<'static> {
        self.block.meaning.cell(self.code(row)).unwrap_or(Datum::Null)
    }
}

/// A condition on one column, tried with what its codes stand for.
struct CodeCondition<'c> {
    node: &'c BoundExpr,
    block: &'c ColumnBlock<'c>,
    slot: usize,
    slots: Vec<Datum<'static>>,
    limits: &'c Limits,
}

impl<'c> CodeCondition<'c> {
    /// None where it is on several columns.
    fn new(
        condition: &'c ColumnCondition,
        block: impl Fn(usize) -> Option<&'c ColumnBlock<'c>>,
        limits: &'c Limits,
    ) -> Option<CodeCondition<'c>> {
        let [slot] = *condition.slots.as_slice() else { return None };
        let slots = vec![Datum::Null; slot + 1];
        Some(CodeCondition { node: &condition.node, block: block(slot)?, slot, slots, limits })
    }

    fn holds(&mut self, code: u32) -> Result<bool> {
        self.slots[self.slot] = self.block.meaning.cell(code).unwrap_or(Datum::Null);
        Scope::group(&self.slots, self.limits).holds(self.node)
    }

    /// The codes that pass a comparison with a constant, where they are one behind the other.
    fn range(&mut self) -> Result<Option<Range<u32>>> {
        let BoundExpr::Compare { left, comparison, right } = self.node else { return Ok(None) };
        let Meaning::Packed(scale) = &self.block.meaning else { return Ok(None) };
        let is_turned = match (&**left, &**right) {
            (BoundExpr::Slot { .. }, BoundExpr::Constant(_)) => false,
            (BoundExpr::Constant(_), BoundExpr::Slot { .. }) => true,
            _ => return Ok(None),
        };
        let passes_first = match (comparison, is_turned) {
            (Comparison::Less | Comparison::LessOrEqual, false)
            | (Comparison::Greater | Comparison::GreaterOrEqual, true) => true,
            (Comparison::Greater | Comparison::GreaterOrEqual, false)
            | (Comparison::Less | Comparison::LessOrEqual, true) => false,
            (Comparison::Equal | Comparison::NotEqual, _) => return Ok(None),
        };
        // Null is in no order: neither less nor greater. Behind the last code there is another.
        let (first, end) = (scale.first(), self.block.last.saturating_add(1));
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.holds(middle)? == passes_first {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Some(if passes_first { first..low } else { low..end }))
    }

    /// Tries each code, once.
    fn each(&mut self, codes: &[u32], passing: &mut [bool]) -> Result<()> {
        let last = self.block.last as usize;
        let mut known: Vec<Option<bool>> = vec![None; last.saturating_add(1).min(REMEMBERED)];
        for (passes, code) in passing.iter_mut().zip(codes).filter(|(passes, _)| **passes) {
            *passes = match known.get_mut(*code as usize) {
                Some(Some(known)) => *known,
                Some(unknown) => *unknown.insert(self.holds(*code)?),
                None => self.holds(*code)?,
            };
        }
        Ok(())
    }

    /// Whether no code passes, as far as that is known without looking at rows.
    fn passes_none(&mut self) -> Result<bool> {
        if self.block.meaning.other().is_some() {
            return Ok(false);
        }
        if let Some(range) = self.range()? {
            return Ok(range.is_empty());
        }
        // Of a few values, each is there.
        let Meaning::Dictionary(cells) = &self.block.meaning else { return Ok(false) };
        for code in 0..u32::try_from(cells.len()).unwrap_or(u32::MAX) {
            if self.holds(code)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Takes away the rows that a condition does not let pass. What is let through of those that only an event says something of means nothing.
pub(super) fn narrow(
    condition: &ColumnCondition,
    columns: &[BlockCodes],
    rows: Range<usize>,
    passing: &mut [bool],
    limits: &Limits,
) -> Result<()> {
    let block = |slot: usize| columns.get(slot).map(|column| column.block);
    if let Some(mut of_codes) = CodeCondition::new(condition, block, limits) {
        let column = columns.get(of_codes.slot);
        let codes = column.and_then(|column| column.codes.get(rows)).unwrap_or_default();
        match of_codes.range()? {
            Some(range) => within(&range, codes, passing),
            None => of_codes.each(codes, passing)?,
        }
        return Ok(());
    }
    let mut slots = vec![Datum::Null; columns.len()];
    for (row, passes) in rows.zip(passing).filter(|(_, passes)| **passes) {
        for slot in &condition.slots {
            slots[*slot] = columns.get(*slot).map_or(Datum::Null, |column| column.datum(row));
        }
        *passes = Scope::group(&slots, limits).holds(&condition.node)?;
    }
    Ok(())
}

/// The rows, counted from the first within, of which only the event says what is asked.
pub(super) fn others(
    conditions: &[ColumnCondition],
    columns: &[BlockCodes],
    rows: Range<usize>,
    passing: &[bool],
) -> Vec<usize> {
    if columns.iter().all(|column| column.other.is_none()) {
        return Vec::new();
    }
    let is_other = |column: &BlockCodes, row: usize| column.other == Some(column.code(row));
    let is_asked = |slot: usize| conditions.iter().any(|condition| condition.slots.contains(&slot));
    let all = 0..rows.len();
    all.filter(|at| {
        columns.iter().enumerate().any(|(slot, column)| {
            is_other(column, rows.start + at) && (is_asked(slot) || passing.get(*at) == Some(&true))
        })
    })
    .collect()
}

/// Whether no row of the blocks passes all conditions, as far as that is known without looking at rows.
pub(super) fn passes_none(conditions: &[ColumnCondition], blocks: &[ColumnBlock], limits: &Limits) -> bool {
    for condition in conditions {
        let of_codes = CodeCondition::new(condition, |slot| blocks.get(slot), limits);
        if of_codes.is_some_and(|mut of_codes| of_codes.passes_none().unwrap_or(false)) {
            return true;
        }
        // What may take too much is an error of the event, whatever stands behind it.
        if !is_cheap(&condition.node) {
            return false;
        }
    }
    false
}

/// Whether working it out takes next to nothing, whatever columns hold.
fn is_cheap(node: &BoundExpr) -> bool {
    !node.any(&mut |part| {
        !matches!(
            part,
            BoundExpr::Slot { .. }
                | BoundExpr::Constant(_)
                | BoundExpr::Compare { .. }
                | BoundExpr::Between { .. }
                | BoundExpr::In { .. }
                | BoundExpr::IsNull(_)
                | BoundExpr::And(_)
                | BoundExpr::Or(_)
                | BoundExpr::Not(_)
        )
    })
}

fn within(range: &Range<u32>, codes: &[u32], passing: &mut [bool]) {
    let (start, length) = (range.start, range.end.saturating_sub(range.start));
    for (passes, code) in passing.iter_mut().zip(codes) {
        *passes &= code.wrapping_sub(start) < length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exec::column::block::{self, ColumnRow, tests::any_rows};
    use crate::plan::expr::Number;
    use crate::plan::field::Sort;
    use crate::value::Value;

    const COMPARISONS: [Comparison; 4] =
        [Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual];

    fn condition(comparison: Comparison, value: Value, is_turned: bool) -> ColumnCondition {
        let slot = Box::new(BoundExpr::Slot { index: 0, sort: Sort::Other });
        let constant = Box::new(BoundExpr::value(value));
        let (left, right) = if is_turned { (constant, slot) } else { (slot, constant) };
        ColumnCondition { node: BoundExpr::Compare { left, comparison, right }, slots: vec![0] }
    }

    /// Which rows pass by ranges of codes, where there are such, and by each code for itself.
    fn ways(rows: &[ColumnRow], condition: &ColumnCondition) -> (Option<Vec<bool>>, Vec<bool>) {
        let (bytes, limits) = (block::encode(rows).unwrap(), Limits::default());
        let block = ColumnBlock::decode(&bytes).unwrap();
        let codes = block.codes().unwrap();
        let mut of_codes = CodeCondition::new(condition, |_| Some(&block), &limits).unwrap();
        let by_range = of_codes.range().unwrap().map(|range| {
            let mut passing = vec![true; rows.len()];
            within(&range, &codes, &mut passing);
            passing
        });
        let mut by_each = vec![true; rows.len()];
        of_codes.each(&codes, &mut by_each).unwrap();
        (by_range, by_each)
    }

    fn integer(n: i128) -> Option<Datum<'static>> {
        Some(Datum::Number(Number::Integer(n)))
    }

    proptest! {
        #[test]
        fn a_range_has_the_codes_that_pass_each_for_itself(
            rows in any_rows(),
            comparison in prop::sample::select(&COMPARISONS),
            is_turned in any::<bool>(),
            near in any::<prop::sample::Index>(),
            apart in -2i8..3,
        ) {
            // Near what is there, so that some pass and some do not.
            let value = match &rows[near.index(rows.len())].1 {
                Some(Datum::Number(Number::Float(x))) => Value::Float(x + f64::from(apart)),
                Some(Datum::Number(number)) => Number::Float(number.to_float() + f64::from(apart) / 2.0)
                    .to_value()
                    .unwrap(),
                Some(datum) => datum.clone().into_value(),
                None => Value::Null,
            };
            let condition = condition(comparison, value, is_turned);
            let (by_range, by_each) = ways(&rows, &condition);
            if let Some(by_range) = by_range {
                prop_assert_eq!(by_range, by_each);
            }
        }
    }

    #[test]
    fn the_greatest_code_is_within_a_range() {
        for most in [u64::from(u32::MAX) - 2, u64::from(u32::MAX) - 1, u32::MAX.into(), 1 << 32] {
            let rows = [(0, integer(0)), (1, integer(1)), (2, integer(most.into()))];
            let (by_range, by_each) = ways(&rows, &condition(Comparison::Greater, Value::Int(1), false));
            assert_eq!(by_each, [false, false, true]);
            assert!(by_range.is_none_or(|by_range| by_range == by_each), "{most}");
        }
    }

    #[test]
    fn what_may_take_too_much_is_not_passed_over() {
        let never = condition(Comparison::Greater, Value::Int(9), false);
        let text = BoundExpr::Matches {
            subject: Box::new(BoundExpr::Slot { index: 0, sort: Sort::Other }),
            pattern: crate::plan::expr::Like::Text(crate::pattern::TextPattern::new("*")),
        };
        let costly = ColumnCondition { node: BoundExpr::Not(Box::new(text)), slots: vec![0] };
        let bytes = block::encode(&[(0, integer(0)), (1, integer(1))]).unwrap();
        let (blocks, limits) = ([ColumnBlock::decode(&bytes).unwrap()], Limits::default());
        assert!(passes_none(&[never.clone(), costly.clone()], &blocks, &limits));
        assert!(!passes_none(&[costly, never], &blocks, &limits));
    }
}
