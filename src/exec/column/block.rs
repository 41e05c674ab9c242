//! Column blocks: what a column has of a stretch of the log, as bytes.
//!
//! A block spans so many positions, cut at multiples of that, so that the blocks of all columns over the same events have the same rows. For each
//! of its events in the column it has a code. What a code means is told once for the block:
//!
//! | form | what codes mean |
//! |---|---|
//! | packed | whole numbers, decimals of so many digits, or instants: one for each step from the least on; before those null, and what is not in the column |
//! | dictionary | any of the values, each of which is there once |
//!
//! Whichever takes fewer bytes is taken. An event may have what a column does not hold: arrays, objects, entities, lengths of time, long texts,
//! and what could not be worked out. That has a code, too, and whoever reads it goes to the event.
//!
//! ```text
//! rows (2) │ offsets: 0, a bit for each position, or 1, packed numbers │ form (1) │ what codes mean │ the last code (4) │ codes, packed
//! packed:     unit (1) │ which codes come before (1) │ the least (8) │ step (8)
//! dictionary: how many (2) │ values, in the order of their bytes
//! ```
//!
//! Numbers are big-endian. The same values make the same bytes.

use std::collections::HashMap;

use super::bits;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::sum::taken;
use crate::exec::view::encoded;
use crate::plan::datum::Datum;
use crate::plan::expr::Number;
use crate::time::Timestamp;

/// How many positions a block spans. Tests have logs of several.
pub(in crate::exec) const SPAN: u64 = if cfg!(test) { 32 } else { 8192 };

/// How many bits an offset within a block has.
const OFFSET: u32 = SPAN.trailing_zeros();

/// A longer text is not in the column.
const LONGEST: usize = if cfg!(test) { 12 } else { 128 };

/// What an event has in a column; none where only the event says it.
pub(in crate::exec) type ColumnValue = Option<Datum<'static>>;

/// An event of a block: where it is, and what it has.
pub(in crate::exec) type ColumnRow = (u16, ColumnValue);

/// The block that a position is in.
pub(in crate::exec) fn block_of(position: Position) -> u64 {
    position.0 / SPAN
}

/// Where a position is within its block.
pub(in crate::exec) fn offset_of(position: Position) -> u16 {
    (position.0 % SPAN) as u16
}

/// The position of a row.
pub(in crate::exec) fn position_of(block: u64, offset: u16) -> Position {
    Position(block.saturating_mul(SPAN)).plus(offset.into())
}

/// What a column has of a value.
pub(super) fn cell(datum: Datum) -> ColumnValue {
    let is_held = match &datum {
        Datum::Null | Datum::Bool(_) | Datum::Number(_) | Datum::Time(_) => true,
        Datum::Text(text) => text.len() <= LONGEST,
        Datum::Span(_) | Datum::Entity { .. } | Datum::Json(_) | Datum::Stored(_) => false,
    };
    is_held.then(|| datum.into_owned())
}

const BITMAP: u8 = 0;
const NUMBERS: u8 = 1;

const PACKED: u8 = 0;
const DICTIONARY: u8 = 1;

/// The units of packed codes: whole numbers, instants in nanoseconds, or so many digits behind the point.
const INTEGERS: u8 = 0;
const TIMES: u8 = 1;
const DECIMALS: u8 = 2;
const MOST_DIGITS: u8 = 4;

/// Which codes come before those of numbers.
const HAS_NULL: u8 = 1;
const HAS_OTHER: u8 = 2;

/// No packed code is greater, so that behind each there is another.
const GREATEST: u32 = u32::MAX - 1;

/// Beyond, not every whole number is a float.
const EXACT: u64 = 1 << 53;

/// The value of an entry of a dictionary that says that only the event knows.
const OTHER: u8 = u8::MAX;

const NANOS: i64 = 1_000_000_000;

/// What packed codes mean.
#[derive(Debug, Clone, Copy)]
pub(in crate::exec) struct Scale {
    unit: u8,
    before: u8,
    least: i64,
    step: u64,
}

impl Scale {
    /// The first code of a number.
    pub fn first(&self) -> u32 {
        self.before.count_ones()
    }

    /// What a code stands for; nothing for those before the numbers, and where there is none.
    fn number(&self, code: u32) -> Option<i64> {
        let steps = u64::from(code.checked_sub(self.first())?).checked_mul(self.step)?;
        i64::try_from(i128::from(self.least) + i128::from(steps)).ok()
    }

    /// Whether there is a number for every code up to the last.
    fn reaches(&self, last: u32) -> bool {
        if last < self.first() {
            return true;
        }
        let is_exact = |number: i64| self.unit < DECIMALS || number.unsigned_abs() < EXACT;
        self.number(last).is_some_and(|number| is_exact(number) && is_exact(self.least))
    }

    fn cell(&self, code: u32) -> ColumnValue {
        let Some(number) = self.number(code) else {
            let is_null = code == 0 && self.before & HAS_NULL != 0;
            return is_null.then_some(Datum::Null);
        };
        Some(match self.unit {
            INTEGERS => Datum::Number(Number::Integer(number.into())),
            TIMES => Datum::Time(instant(number)?),
            decimals => Datum::Number(Number::Float(decimal(number, decimals - DECIMALS))),
        })
    }

    /// The whole numbers that codes stand for, as the least of them and what is between two; none where they are others.
    pub fn integers(&self) -> Option<(i128, i128)> {
        (self.unit == INTEGERS).then_some((self.least.into(), self.step.into()))
    }
}

/// What the codes of a block mean.
#[derive(Debug, Clone)]
pub(in crate::exec) enum Meaning {
    Packed(Scale),
    Dictionary(Vec<ColumnValue>),
}

impl Meaning {
    /// What a code stands for; none where only the event says it.
    pub fn cell(&self, code: u32) -> ColumnValue {
        match self {
            Meaning::Packed(scale) => scale.cell(code),
            Meaning::Dictionary(cells) => cells.get(code as usize).cloned().flatten(),
        }
    }

    /// The code of what only the event says, if there is one.
    pub fn other(&self) -> Option<u32> {
        match self {
            Meaning::Packed(scale) => {
                (scale.before & HAS_OTHER != 0).then_some(u32::from(scale.before & HAS_NULL))
            }
            Meaning::Dictionary(cells) => {
                cells.iter().position(Option::is_none).and_then(|at| u32::try_from(at).ok())
            }
        }
    }
}

/// A block as it is stored. Its rows and codes are read when somebody asks.
#[derive(Debug, Clone)]
pub(in crate::exec) struct ColumnBlock<'b> {
    pub rows: usize,
    offsets: (u8, &'b [u8]),
    pub meaning: Meaning,
    /// No code is greater.
    pub last: u32,
    codes: &'b [u8],
}

impl<'b> ColumnBlock<'b> {
    /// The block that bytes are; none if they are not.
    pub fn decode(mut bytes: &'b [u8]) -> Option<ColumnBlock<'b>> {
        let bytes = &mut bytes;
        let rows = usize::from(u16::from_be_bytes(*taken(bytes)?));
        let [form] = *taken(bytes)?;
        let length = match form {
            BITMAP => (SPAN / 8) as usize,
            NUMBERS => bits::packed_len(rows, OFFSET),
            _ => return None,
        };
        let offsets = (form, part(bytes, length)?);
        let [form] = *taken(bytes)?;
        let meaning = match form {
            PACKED => {
                let [unit, before] = *taken(bytes)?;
                let least = i64::from_be_bytes(*taken(bytes)?);
                let step = u64::from_be_bytes(*taken(bytes)?);
                let is_scale = unit <= DECIMALS + MOST_DIGITS && before <= HAS_NULL | HAS_OTHER && step > 0;
                is_scale.then_some(Meaning::Packed(Scale { unit, before, least, step }))?
            }
            DICTIONARY => {
                let count = u16::from_be_bytes(*taken(bytes)?);
                Meaning::Dictionary(entries(bytes, count)?)
            }
            _ => return None,
        };
        let last = u32::from_be_bytes(*taken(bytes)?);
        let is_whole = bytes.len() == bits::packed_len(rows, bits::width(last));
        let is_told = match &meaning {
            Meaning::Packed(scale) => last <= GREATEST && scale.reaches(last),
            Meaning::Dictionary(cells) => (last as usize) < cells.len(),
        };
        let block = ColumnBlock { rows, offsets, meaning, last, codes: bytes };
        (rows > 0 && is_whole && is_told && block.has_offsets()).then_some(block)
    }

    /// Whether there are as many offsets as rows, and they ascend.
    fn has_offsets(&self) -> bool {
        match self.offsets {
            (BITMAP, bytes) => {
                bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() == self.rows
            }
            _ => self.offsets().is_some(),
        }
    }

    /// The code of each row, none greater than the last.
    pub fn codes(&self) -> Option<Vec<u32>> {
        let codes = bits::unpack(self.codes, self.rows, bits::width(self.last))?;
        let most = codes.iter().copied().max()?;
        (most <= self.last).then_some(codes)
    }

    /// Where each row is, ascending.
    pub fn offsets(&self) -> Option<Vec<u16>> {
        let offsets: Vec<u16> = match self.offsets {
            (BITMAP, bytes) => {
                let mut offsets = Vec::with_capacity(self.rows);
                for (at, byte) in (0..).zip(bytes) {
                    let mut left = *byte;
                    while left != 0 {
                        offsets.push(at * 8 + left.trailing_zeros() as u16);
                        left &= left - 1;
                    }
                }
                offsets
            }
            (_, bytes) => {
                let numbers = bits::unpack(bytes, self.rows, OFFSET)?;
                numbers.into_iter().map(|number| number as u16).collect()
            }
        };
        (offsets.len() == self.rows && offsets.is_sorted_by(|a, b| a < b)).then_some(offsets)
    }

    /// Whether it has the same events as another, written in the same way.
    pub fn has_the_offsets_of(&self, other: &ColumnBlock) -> bool {
        self.offsets == other.offsets && self.rows == other.rows
    }

    /// Its rows.
    fn cells(&self) -> Option<Vec<ColumnRow>> {
        let (offsets, codes) = (self.offsets()?, self.codes()?);
        Some(offsets.into_iter().zip(codes.into_iter().map(|code| self.meaning.cell(code))).collect())
    }
}

/// How many rows the bytes of a block say that it has.
pub(super) fn row_count(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |rows| u16::from_be_bytes(*rows).into())
}

/// What is kept of a block, and what is made of a later stretch of it.
pub(super) fn join(kept: &[u8], later: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Error::corrupt("a column block", "bytes that are none");
    let mut rows = ColumnBlock::decode(kept).and_then(|block| block.cells()).ok_or_else(damaged)?;
    rows.extend(ColumnBlock::decode(later).and_then(|block| block.cells()).ok_or_else(damaged)?);
    if !rows.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(damaged());
    }
    encode(&rows)
}

/// The bytes of a block of these rows, of which there is one at least, in the order of the log.
pub(super) fn encode(rows: &[ColumnRow]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 + rows.len());
    out.extend_from_slice(&(rows.len() as u16).to_be_bytes());
    put_offsets(rows, &mut out);
    let dictionary = dictionary(rows)?;
    match packed(rows).filter(|packed| packed.len() <= dictionary.len()) {
        Some(packed) => out.extend_from_slice(&packed),
        None => out.extend_from_slice(&dictionary),
    }
    Ok(out)
}

fn put_offsets(rows: &[ColumnRow], out: &mut Vec<u8>) {
    let span = (SPAN / 8) as usize;
    if bits::packed_len(rows.len(), OFFSET) < span {
        out.push(NUMBERS);
        return bits::pack(rows.iter().map(|(offset, _)| u32::from(*offset)), OFFSET, out);
    }
    out.push(BITMAP);
    let first = out.len();
    out.resize(first + span, 0);
    for (offset, _) in rows {
        if let Some(byte) = out.get_mut(first + usize::from(offset / 8)) {
            *byte |= 1 << (offset % 8);
        }
    }
}

/// Appends codes, behind the last of them.
fn put_codes(codes: &[u32], out: &mut Vec<u8>) {
    let last = codes.iter().copied().max().unwrap_or_default();
    out.extend_from_slice(&last.to_be_bytes());
    bits::pack(codes.iter().copied(), bits::width(last), out);
}

/// The rows as one for each step; none where they are no such numbers, or of several sorts.
fn packed(rows: &[ColumnRow]) -> Option<Vec<u8>> {
    let (unit, numbers) = numbers(rows)?;
    let mut before = 0;
    for (_, cell) in rows {
        match cell {
            None => before |= HAS_OTHER,
            Some(Datum::Null) => before |= HAS_NULL,
            Some(_) => {}
        }
    }
    let known = || numbers.iter().flatten().copied();
    let least = known().min().unwrap_or_default();
    let step = known().map(|number| number.abs_diff(least)).fold(0, common).max(1);
    let scale = Scale { unit, before, least, step };
    let mut codes = Vec::with_capacity(rows.len());
    for ((_, cell), number) in rows.iter().zip(&numbers) {
        codes.push(match (cell, number) {
            (_, Some(number)) => {
                let steps = u32::try_from(number.abs_diff(least) / step).ok()?;
                steps.checked_add(scale.first()).filter(|code| *code <= GREATEST)?
            }
            (Some(_), None) => 0,
            (None, None) => u32::from(before & HAS_NULL),
        });
    }
    let mut out = vec![PACKED, unit, before];
    out.extend_from_slice(&least.to_be_bytes());
    out.extend_from_slice(&step.to_be_bytes());
    put_codes(&codes, &mut out);
    Some(out)
}

/// The unit of which all rows are numbers, and those; none for null, and for what is not in the column.
fn numbers(rows: &[ColumnRow]) -> Option<(u8, Vec<Option<i64>>)> {
    let first = rows.iter().find_map(|(_, cell)| cell.as_ref().filter(|datum| !datum.is_null()));
    let mut units = match first {
        None => INTEGERS..=INTEGERS,
        Some(Datum::Number(Number::Integer(_))) => INTEGERS..=INTEGERS,
        Some(Datum::Time(_)) => TIMES..=TIMES,
        Some(Datum::Number(Number::Float(_))) => DECIMALS..=DECIMALS + MOST_DIGITS,
        Some(_) => return None,
    };
    units.find_map(|unit| {
        let number = |(_, cell): &ColumnRow| match cell {
            None | Some(Datum::Null) => Some(None),
            Some(datum) => number(datum, unit).map(Some),
        };
        Some((unit, rows.iter().map(number).collect::<Option<_>>()?))
    })
}

/// A value as a number of a unit, if it is one exactly.
fn number(datum: &Datum, unit: u8) -> Option<i64> {
    match datum {
        Datum::Number(Number::Integer(n)) if unit == INTEGERS => i64::try_from(*n).ok(),
        Datum::Time(time) if unit == TIMES => {
            let (seconds, nanos) = time.parts();
            seconds.checked_mul(NANOS)?.checked_add(nanos.into())
        }
        Datum::Number(Number::Float(x)) if unit >= DECIMALS => {
            let digits = unit - DECIMALS;
            let scaled = (x * power(digits)).round();
            let number = (scaled.abs() < EXACT as f64).then_some(scaled as i64)?;
            (decimal(number, digits).to_bits() == x.to_bits()).then_some(number)
        }
        _ => None,
    }
}

fn power(digits: u8) -> f64 {
    10f64.powi(digits.into())
}

/// The float that is written like this: divided once, it is the nearest.
fn decimal(number: i64, digits: u8) -> f64 {
    number as f64 / power(digits)
}

fn instant(nanos: i64) -> Option<Timestamp> {
    // Less than a second's nanoseconds.
    Timestamp::from_parts(nanos / NANOS, (nanos % NANOS) as i32).ok()
}

/// What divides both.
fn common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The rows as values that are there once, in the order of their bytes.
fn dictionary(rows: &[ColumnRow]) -> Result<Vec<u8>> {
    let mut entries = HashMap::<Vec<u8>, u32>::new();
    let (mut codes, mut bytes) = (Vec::with_capacity(rows.len()), Vec::new());
    for (_, cell) in rows {
        bytes.clear();
        match cell {
            None => bytes.push(OTHER),
            Some(datum) => encoded::put(datum, &mut bytes)?,
        }
        let next = entries.len() as u32;
        codes.push(match entries.get(&bytes) {
            Some(code) => *code,
            None => {
                entries.insert(bytes.clone(), next);
                next
            }
        });
    }
    let mut sorted: Vec<(Vec<u8>, u32)> = entries.into_iter().collect();
    sorted.sort_unstable();
    let mut out = vec![DICTIONARY];
    out.extend_from_slice(&(sorted.len() as u16).to_be_bytes());
    let mut places = vec![0; sorted.len()];
    for (place, (entry, met)) in (0..).zip(&sorted) {
        out.extend_from_slice(entry);
        if let Some(known) = places.get_mut(*met as usize) {
            *known = place;
        }
    }
    let codes: Vec<u32> = codes.iter().filter_map(|met| places.get(*met as usize).copied()).collect();
    put_codes(&codes, &mut out);
    Ok(out)
}

/// So many entries of a dictionary, ascending: so none of them is there twice.
fn entries(bytes: &mut &[u8], count: u16) -> Option<Vec<ColumnValue>> {
    let (mut entries, mut before) = (Vec::new(), [].as_slice());
    for _ in 0..count {
        let first = *bytes;
        entries.push(entry(bytes)?);
        let encoded = first.get(..first.len() - bytes.len())?;
        if encoded <= before {
            return None;
        }
        before = encoded;
    }
    Some(entries)
}

/// An entry of a dictionary; none where it is nothing that an event can have in a column.
fn entry(bytes: &mut &[u8]) -> Option<ColumnValue> {
    match bytes.split_first() {
        Some((&OTHER, rest)) => {
            *bytes = rest;
            Some(None)
        }
        _ => {
            let datum = encoded::take(bytes)?;
            let is_possible = match &datum {
                Datum::Number(number) => number.to_value().is_some(),
                _ => true,
            };
            is_possible.then_some(datum).and_then(cell).map(Some)
        }
    }
}

fn part<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
pub(super) mod tests;
