//! Standard deviations: of the sum and the sum of the squares, both exact, so that what is added first, and in which parts, changes nothing.
//!
//! Of n numbers it is the root of (n·Σx² − (Σx)²) / (n·(n−1)). The difference is worked out in whole words, where nothing cancels out that was
//! rounded before; the rest is rounded as floats are.

use super::sum::{Sum, WORDS};
use crate::plan::expr::Number;

/// So many words has the square of a sum.
const SQUARED: usize = 2 * WORDS + 2;

/// The bit of a sum that is worth 1; that of its square is twice as far up.
const ONE: usize = 1074;

/// What is kept of numbers.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Deviation {
    pub sum: Sum,
    pub squares: Sum,
}

impl Deviation {
    /// Adds a number, and says how many wide sums that takes more.
    pub fn add(&mut self, number: Number) -> usize {
        usize::from(self.sum.add(number)) + usize::from(self.squares.add_square(number))
    }

    /// Adds what was kept of others, and says how many wide sums are free.
    pub fn join(&mut self, other: Deviation) -> usize {
        usize::from(self.sum.join(other.sum)) + usize::from(self.squares.join(other.squares))
    }

    /// How many wide sums there are.
    pub fn wide(&self) -> usize {
        usize::from(self.sum.is_wide()) + usize::from(self.squares.is_wide())
    }

    /// The deviation of a sample; none of fewer than two numbers, and of such whose squares are no floats, from about 1e154 on.
    pub fn result(&self) -> Option<f64> {
        let count = self.sum.count;
        if count < 2 || self.squares.is_over() {
            return None;
        }
        let (sum, _) = self.sum.magnitude();
        let (squares, _) = self.squares.magnitude();
        let difference = difference(&shifted(&squares, count), &squared(&sum));
        let (significand, exponent) = leading(&difference);
        // An even exponent has a root that is one.
        let odd = exponent.rem_euclid(2);
        let pairs = count as f64 * (count - 1) as f64;
        let root = (significand * f64::from(1 << odd) / pairs).sqrt();
        let half = (exponent - odd) / 2;
        // In two steps: the least floats have no reciprocals.
        let result = root * 2f64.powi(half / 2) * 2f64.powi(half - half / 2);
        result.is_finite().then_some(result)
    }
}

/// So many times the words, moved up to where a square has its 1.
fn shifted(words: &[u64; WORDS], times: u64) -> [u64; SQUARED] {
    let (first, bits) = (ONE / 64, ONE % 64);
    let mut product = [0; SQUARED];
    let mut carry = 0u128;
    for (at, place) in product.iter_mut().enumerate().skip(first) {
        carry += u128::from(words.get(at - first).copied().unwrap_or(0)) * u128::from(times);
        *place = carry as u64;
        carry >>= 64;
    }
    let mut below = 0;
    for place in &mut product {
        let above = *place >> (64 - bits);
        *place = *place << bits | below;
        below = above;
    }
    product
}

fn squared(words: &[u64; WORDS]) -> [u64; SQUARED] {
    let mut product = [0; SQUARED];
    for (low, factor) in words.iter().enumerate() {
        let mut carry = 0u128;
        for (place, other) in product[low..].iter_mut().zip(words.iter().chain(&[0, 0])) {
            carry += u128::from(*place) + u128::from(*factor) * u128::from(*other);
            *place = carry as u64;
            carry >>= 64;
        }
    }
    product
}

/// The difference; nothing where it would be below that, as of numbers so small that their squares were rounded.
fn difference(a: &[u64; SQUARED], b: &[u64; SQUARED]) -> [u64; SQUARED] {
    let mut difference = *a;
    let mut borrow = false;
    for (place, other) in difference.iter_mut().zip(b) {
        let (once, under) = place.overflowing_sub(*other);
        let (twice, again) = once.overflowing_sub(borrow.into());
        (*place, borrow) = (twice, under || again);
    }
    if borrow { [0; SQUARED] } else { difference }
}

/// The highest 64 bits as a float, and the exponent of two that it is to be taken by.
fn leading(words: &[u64; SQUARED]) -> (f64, i32) {
    let Some(last) = words.iter().rposition(|word| *word != 0) else { return (0.0, 0) };
    let free = words[last].leading_zeros();
    let below = if last > 0 { words[last - 1] } else { 0 };
    let pair = u128::from(words[last]) << 64 | u128::from(below);
    let significand = (pair << free >> 64) as u64;
    // There are some 4,000 bits.
    (significand as f64, last as i32 * 64 - free as i32 - 2 * ONE as i32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[Number]) -> Option<f64> {
        let mut deviation = Deviation::default();
        numbers.iter().for_each(|number| _ = deviation.add(*number));
        deviation.result()
    }

    fn floats(numbers: &[f64]) -> Option<f64> {
        of(&numbers.iter().map(|x| Number::Float(*x)).collect::<Vec<_>>())
    }

    #[test]
    fn it_is_that_of_a_sample() {
        assert_eq!(floats(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), Some((32.0f64 / 7.0).sqrt()));
        assert_eq!(of(&[Number::Integer(1), Number::Integer(3)]), Some(2f64.sqrt()));
        assert_eq!(floats(&[0.1; 10]), Some(0.0));
        assert_eq!(floats(&[7.0]), None);
        assert_eq!(floats(&[]), None);
    }

    #[test]
    fn far_from_zero_and_at_the_ends_of_floats_it_is_as_good() {
        assert_eq!(floats(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0]), Some(1.0));
        let high = i128::from(u64::MAX);
        assert_eq!(of(&[high - 2, high - 1, high].map(Number::Integer)), Some(1.0));
        assert_eq!(of(&[-high, high].map(Number::Integer)), Some(high as f64 * 2f64.sqrt()));
        let (least, large) = (f64::MIN_POSITIVE, 1e150);
        assert_eq!(floats(&[-large, 0.0, large]), Some(large));
        assert!(floats(&[-least, 0.0, least]).is_some_and(|x| x <= least));
        // A square that is no float.
        assert_eq!(floats(&[1e200, -1e200]), None);
        assert_eq!(of(&[i128::MAX, 1].map(Number::Integer)), None);
    }

    proptest! {
        /// The model has whole numbers of 128 bits, in which integers so small are exact.
        #[test]
        fn it_is_what_whole_numbers_say(numbers in prop::collection::vec(-1_000_000i64..1_000_000, 2..20), shift in 0i32..40) {
            let count = numbers.len() as i128;
            let sum: i128 = numbers.iter().map(|n| i128::from(*n)).sum();
            let squares: i128 = numbers.iter().map(|n| i128::from(*n) * i128::from(*n)).sum();
            let model = ((count * squares - sum * sum) as f64 / (count * (count - 1)) as f64).sqrt();
            let near = |found: Option<f64>, model: f64| found.is_some_and(|found| (found - model).abs() <= model * 1e-15);
            let integers: Vec<_> = numbers.iter().map(|n| Number::Integer((*n).into())).collect();
            prop_assert!(near(of(&integers), model), "{:?} {}", of(&integers), model);
            let scale = 2f64.powi(shift - 20);
            let scaled: Vec<_> = numbers.iter().map(|n| *n as f64 * scale).collect();
            prop_assert!(near(floats(&scaled), model * scale));
            // In any order, in any parts.
            let (mut first, mut second) = (Deviation::default(), Deviation::default());
            numbers.iter().rev().enumerate().for_each(|(at, n)| {
                let part = if at % 3 == 0 { &mut first } else { &mut second };
                part.add(Number::Float(*n as f64 * scale));
            });
            first.join(second);
            prop_assert_eq!(first.result(), floats(&scaled));
        }
    }
}
