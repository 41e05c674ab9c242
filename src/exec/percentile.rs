//! Percentiles: how often each number was there, in order.
//!
//! Between two numbers it lies on the line from one to the other, as `PERCENTILE_CONT` of SQL has it. Equal numbers are one, whatever they were
//! written as, so that the order in which they came changes nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::plan::expr::Number;
use crate::plan::function::Fraction;

/// How many bytes a number takes, at the most: nodes are half full.
pub(super) const NUMBER_ENTRY: usize = 96;

/// Numbers, and how often each was there.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct NumberCounts {
    counts: BTreeMap<OrderedNumber, u64>,
    count: u64,
}

/// A number as it is compared: an integer where it is one.
#[derive(Debug, Clone, Copy)]
struct OrderedNumber(Number);

impl Ord for OrderedNumber {
    fn cmp(&self, other: &OrderedNumber) -> Ordering {
        self.0.compare(other.0)
    }
}

impl PartialOrd for OrderedNumber {
    fn partial_cmp(&self, other: &OrderedNumber) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OrderedNumber {
    fn eq(&self, other: &OrderedNumber) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for OrderedNumber {}

/// An integer where it is one that 64 bits hold.
fn whole(number: Number) -> Number {
    const INTEGERS: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0;
    match number {
        Number::Float(x) if x.fract() == 0.0 && INTEGERS.contains(&x) => Number::Integer(x as i128),
        other => other,
    }
}

impl NumberCounts {
    /// Adds a number. Whether it is the first of these.
    pub fn add(&mut self, number: Number) -> bool {
        self.add_times(number, 1)
    }

    fn add_times(&mut self, number: Number, times: u64) -> bool {
        self.count = self.count.saturating_add(times);
        let mut is_new = false;
        let count = self.counts.entry(OrderedNumber(whole(number))).or_insert_with(|| {
            is_new = true;
            0
        });
        *count = count.saturating_add(times);
        is_new
    }

    /// Adds others. How many of them are kept no more.
    pub fn join(&mut self, other: NumberCounts) -> usize {
        other.counts.into_iter().filter(|(number, times)| !self.add_times(number.0, *times)).count()
    }

    /// How many are kept.
    pub fn kept(&self) -> usize {
        self.counts.len()
    }

    /// Each number, in order, and how often it was there.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Number, u64)> {
        self.counts.iter().map(|(number, times)| (number.0, *times))
    }

    /// The number below which this part of them lies; none of none.
    pub fn at(&self, fraction: Fraction) -> Option<Number> {
        let place = fraction.part() * self.count.checked_sub(1)? as f64;
        // 0.29 of 100 is no float, and is 29 all the same.
        let near = (place - place.round()).abs() <= place * 4.0 * f64::EPSILON;
        let place = if near { place.round() } else { place };
        let (below, rest) = (place.floor(), place.fract());
        let lower = self.nth(below as u64)?;
        let upper = if rest > 0.0 { self.nth(below as u64 + 1)? } else { lower };
        Some(between(lower, upper, rest))
    }

    /// The number at a place, counted from 0.
    fn nth(&self, place: u64) -> Option<Number> {
        let mut passed = 0u64;
        let reaches = |(number, times): (&OrderedNumber, &u64)| {
            passed = passed.saturating_add(*times);
            (passed > place).then_some(number.0)
        };
        self.counts.iter().find_map(reaches)
    }
}

impl FromIterator<(Number, u64)> for NumberCounts {
    fn from_iter<I: IntoIterator<Item = (Number, u64)>>(numbers: I) -> NumberCounts {
        let mut counts = NumberCounts::default();
        numbers.into_iter().for_each(|(number, times)| _ = counts.add_times(number, times));
        counts
    }
}

/// What lies this part of the way from one number to another.
fn between(lower: Number, upper: Number, part: f64) -> Number {
    if lower.compare(upper).is_eq() {
        return lower;
    }
    if let (Number::Integer(low), Number::Integer(high)) = (lower, upper)
        && part == 0.5
        && (low + high) % 2 == 0
    {
        return Number::Integer((low + high) / 2);
    }
    let (low, high) = (float(lower), float(upper));
    let way = high - low;
    let there = if way.is_finite() { low + way * part } else { low * (1.0 - part) + high * part };
    whole(Number::Float(there.clamp(low, high)))
}

fn float(number: Number) -> f64 {
    match number {
        Number::Integer(n) => n as f64,
        Number::Float(x) => x,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[f64], part: f64) -> Option<f64> {
        let mut counts = NumberCounts::default();
        numbers.iter().for_each(|x| _ = counts.add(Number::Float(*x)));
        counts.at(Fraction::new(part).unwrap()).map(float)
    }

    #[test]
    fn it_lies_on_the_line_between_two() {
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(of(&[15.0, 20.0, 35.0, 40.0, 50.0], 0.4), Some(29.0));
        assert_eq!(of(&[1.0, 2.0, 3.0], 0.0), Some(1.0));
        assert_eq!(of(&[1.0, 2.0, 3.0], 1.0), Some(3.0));
        assert_eq!(of(&[7.5], 0.95), Some(7.5));
        assert_eq!(of(&[], 0.5), None);
    }

    #[test]
    fn equal_numbers_are_one_and_what_is_whole_is_an_integer() {
        let mut counts = NumberCounts::default();
        assert!(counts.add(Number::Float(2.0)));
        assert!(!counts.add(Number::Integer(2)));
        assert!(matches!(counts.at(Fraction::HALF), Some(Number::Integer(2))));
        assert!(counts.add(Number::Integer(4)));
        assert!(counts.add(Number::Integer(3)));
        assert!(matches!(counts.at(Fraction::new(0.75).unwrap()), Some(Number::Float(x)) if x == 3.25));
    }

    #[test]
    fn at_the_ends_of_numbers_it_is_between_them_still() {
        let max = i128::from(i64::MAX);
        let median = |numbers: [Number; 2]| {
            let counts: NumberCounts = numbers.map(|number| (number, 1)).into_iter().collect();
            counts.at(Fraction::HALF)
        };
        let middle = median([max - 2, max].map(Number::Integer));
        assert!(matches!(middle, Some(Number::Integer(n)) if n == max - 1), "{middle:?}");
        assert!(matches!(median([-1e308, 1e308].map(Number::Float)), Some(Number::Integer(0))));
        assert!(matches!(median([1e308, 1.5e308].map(Number::Float)), Some(Number::Float(1.25e308))));
        // Which of two equal ones came first changes nothing.
        let large = 9_007_199_254_740_994.0;
        for numbers in [
            [Number::Float(large), Number::Integer(large as i128)],
            [Number::Integer(large as i128), Number::Float(large)],
        ] {
            assert!(matches!(median(numbers), Some(Number::Integer(_))));
        }
        let hundred: NumberCounts = (0..=100).map(|n| (Number::Integer(n), 1)).collect();
        for part in 0..=100 {
            let found = hundred.at(Fraction::new(f64::from(part) / 100.0).unwrap());
            assert!(matches!(found, Some(Number::Integer(n)) if n == i128::from(part)), "{part}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_sorted_list_says(numbers in prop::collection::vec((-50i32..50).prop_map(|n| f64::from(n) / 4.0), 1..40), part in 0.0f64..=1.0) {
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let place = part * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            let model = if below == above { below } else { below + (above - below) * place.fract() };
            prop_assert!(of(&numbers, part).is_some_and(|found| (found - model).abs() <= 1e-12));
        }
    }
}
