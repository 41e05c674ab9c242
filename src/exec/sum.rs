//! Sums: of integers and of floats, both exactly.
//!
//! Floats are added into one number that is wide enough for all of them, from the least bit of the least float to far above
//! the largest. So a sum depends neither on the order of what is added nor on where it is cut into parts: what a view keeps
//! and what a query works out are the same to the last digit. It is rounded once, when it is asked for.

use crate::plan::expr::Number;

/// So many words of 64 bits: 1074 bits below 1, 1024 above, and room for the carries of 2^64 floats and the sign.
pub(super) const WORDS: usize = 34;
/// The bit that is worth 1.
const ONE: usize = 1074;

/// What a sum of floats takes beside itself.
pub(super) const WIDE: usize = WORDS * 8;

/// The sum of numbers.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Sum {
    pub count: u64,
    /// Of the integers: 2^64 of them, each below 2^64, fit.
    integers: i128,
    /// Of the floats, once there is one.
    floats: Option<Box<Wide>>,
}

/// A number in two's complement, the least word first; its least bit is worth 2^-1074.
#[derive(Debug, Clone, PartialEq)]
struct Wide([u64; WORDS]);

impl Sum {
    /// Adds a number. Whether that takes [`WIDE`] bytes that it did not take before.
    pub fn add(&mut self, number: Number) -> bool {
        // What is kept in a damaged file may be anything: no sum is a reason to panic.
        self.count = self.count.saturating_add(1);
        match number {
            Number::Integer(n) => {
                self.integers = self.integers.saturating_add(n);
                false
            }
            Number::Float(x) => {
                let is_first = self.floats.is_none();
                self.floats.get_or_insert_with(|| Box::new(Wide([0; WORDS]))).add(x);
                is_first
            }
        }
    }

    /// Adds the square of a number: exactly, where the least bit of it is one of a float, as it is from about 1e-146 on. Whether that takes [`WIDE`] bytes that it did not take before.
    pub fn add_square(&mut self, number: Number) -> bool {
        self.count = self.count.saturating_add(1);
        let is_first = self.floats.is_none();
        let wide = self.floats.get_or_insert_with(|| Box::new(Wide([0; WORDS])));
        match number {
            Number::Integer(n) => match n.unsigned_abs().checked_mul(n.unsigned_abs()) {
                Some(square) => wide.add_at(square, ONE, false),
                None => self.integers = i128::MAX,
            },
            Number::Float(x) if (x * x).is_finite() => {
                // What the product was rounded by is a float, too.
                let square = x * x;
                wide.add(square);
                wide.add(x.mul_add(x, -square));
            }
            // More than there is room for: it is told by the integers, of which squares have none.
            Number::Float(_) => self.integers = i128::MAX,
        }
        is_first
    }

    /// The sum in words of 64 bits, the least first, and whether it is below zero; its least bit is worth 2^-1074.
    pub fn magnitude(&self) -> ([u64; WORDS], bool) {
        self.whole().magnitude()
    }

    /// Integers and floats in one number.
    fn whole(&self) -> Wide {
        let mut whole = self.floats.as_deref().cloned().unwrap_or(Wide([0; WORDS]));
        whole.add_at(self.integers.unsigned_abs(), ONE, self.integers < 0);
        whole
    }

    /// Whether it became more than there is room for.
    pub fn is_over(&self) -> bool {
        self.integers == i128::MAX
    }

    /// Adds so many integers, by what they come to.
    pub fn add_integers(&mut self, count: u64, total: i128) {
        self.count = self.count.saturating_add(count);
        self.integers = self.integers.saturating_add(total);
    }

    /// Adds another sum. Whether [`WIDE`] bytes that the other took are free.
    pub fn join(&mut self, other: Sum) -> bool {
        self.count = self.count.saturating_add(other.count);
        self.integers = self.integers.saturating_add(other.integers);
        match (&mut self.floats, other.floats) {
            (Some(floats), Some(more)) => {
                floats.join(&more);
                true
            }
            (floats @ None, more) => {
                *floats = more;
                false
            }
            (Some(_), None) => false,
        }
    }

    pub fn is_wide(&self) -> bool {
        self.floats.is_some()
    }

    pub fn total(&self) -> Number {
        match &self.floats {
            None => Number::Integer(self.integers),
            Some(_) => Number::Float(self.whole().rounded()),
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.integers.to_be_bytes());
        let Some(Wide(words)) = self.floats.as_deref() else { return out.push(u8::MAX) };
        // Words of nothing below, and of nothing but the sign above, go without saying.
        let fill = fill(words);
        let end = words.iter().rposition(|word| *word != fill).map_or(0, |last| last + 1);
        let start = words.iter().position(|word| *word != 0).unwrap_or(0).min(end);
        // Both are below `u8::MAX`.
        out.extend([start as u8, end as u8, (fill & 1) as u8]);
        words[start..end].iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    }

    /// Reads its bytes, which are taken away.
    pub fn decode(bytes: &mut &[u8]) -> Option<Sum> {
        let count = u64::from_be_bytes(*taken(bytes)?);
        let integers = i128::from_be_bytes(*taken(bytes)?);
        let [start] = *taken(bytes)?;
        if start == u8::MAX {
            return Some(Sum { count, integers, floats: None });
        }
        let [end, sign] = *taken(bytes)?;
        let mut words = [0; WORDS];
        for word in words.get_mut(usize::from(start)..usize::from(end))? {
            *word = u64::from_be_bytes(*taken(bytes)?);
        }
        words.get_mut(usize::from(end)..)?.fill(if sign == 0 { 0 } else { u64::MAX });
        Some(Sum { count, integers, floats: Some(Box::new(Wide(words))) })
    }
}

/// What all words above are.
fn fill(words: &[u64; WORDS]) -> u64 {
    if words[WORDS - 1] >> 63 == 1 { u64::MAX } else { 0 }
}

pub(super) fn taken<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

impl Wide {
    /// Adds a float, which is finite.
    fn add(&mut self, x: f64) {
        let bits = x.to_bits();
        let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
        let (significand, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent as usize - 1) };
        self.add_at(significand.into(), shift, x.is_sign_negative());
    }

    /// Adds a magnitude, so many bits up.
    fn add_at(&mut self, magnitude: u128, shift: usize, negative: bool) {
        let (first, bits) = (shift / 64, shift % 64);
        let low = magnitude << bits;
        let high = if bits == 0 { 0 } else { (magnitude >> (128 - bits)) as u64 };
        let parts = [low as u64, (low >> 64) as u64, high];
        let mut carry = false;
        for (at, word) in self.0.iter_mut().enumerate().skip(first) {
            let part = parts.get(at - first).copied().unwrap_or(0);
            if at >= first + parts.len() && !carry {
                break;
            }
            let (once, over) = if negative { word.overflowing_sub(part) } else { word.overflowing_add(part) };
            let (twice, again) = if negative {
                once.overflowing_sub(carry.into())
            } else {
                once.overflowing_add(carry.into())
            };
            (*word, carry) = (twice, over || again);
        }
    }

    fn join(&mut self, other: &Wide) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            let (once, over) = word.overflowing_add(*more);
            let (twice, again) = once.overflowing_add(carry.into());
            (*word, carry) = (twice, over || again);
        }
    }

    /// Without its sign, and whether it is below zero.
    fn magnitude(&self) -> ([u64; WORDS], bool) {
        let negative = fill(&self.0) != 0;
        let mut words = self.0;
        if negative {
            let mut carry = true;
            for word in &mut words {
                let (next, over) = (!*word).overflowing_add(carry.into());
                (*word, carry) = (next, over);
            }
        }
        (words, negative)
    }

    /// The nearest float; of two that are equally near, the even one.
    fn rounded(&self) -> f64 {
        let (words, negative) = self.magnitude();
        let Some(last) = words.iter().rposition(|word| *word != 0) else { return 0.0 };
        let highest = last * 64 + 63 - words[last].leading_zeros() as usize;
        let magnitude = if highest <= 52 {
            // As a float that small has its bits.
            f64::from_bits(words[0])
        } else {
            let mut shift = highest - 52;
            let (word, bit) = (shift / 64, shift % 64);
            let above = words.get(word + 1).copied().unwrap_or(0);
            let pair = u128::from(words[word]) | u128::from(above) << 64;
            let mut significand = (pair >> bit) as u64 & ((1 << 53) - 1);
            let is_set = |at: usize| words[at / 64] >> (at % 64) & 1 == 1;
            let half = shift - 1;
            let rest = words[..half / 64].iter().any(|word| *word != 0)
                || words[half / 64] & ((1 << (half % 64)) - 1) != 0;
            if is_set(half) && (rest || significand & 1 == 1) {
                significand += 1;
                if significand == 1 << 53 {
                    (significand, shift) = (significand >> 1, shift + 1);
                }
            }
            if shift + 1 >= 0x7ff {
                f64::INFINITY
            } else {
                f64::from_bits((shift as u64 + 1) << 52 | significand & ((1 << 52) - 1))
            }
        };
        if negative { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            (-1000i32..1000).prop_map(|n| f64::from(n) / 7.0),
            Just(f64::MIN_POSITIVE / 8.0),
        ]
    }

    fn sum(floats: &[f64], integers: &[i64]) -> Sum {
        let mut sum = Sum::default();
        floats.iter().for_each(|x| _ = sum.add(Number::Float(*x)));
        integers.iter().for_each(|n| _ = sum.add(Number::Integer((*n).into())));
        sum
    }

    fn total(sum: &Sum) -> f64 {
        sum.total().to_float()
    }

    proptest! {
        #[test]
        fn one_and_two_are_as_floats_are_added(a in float(), b in float()) {
            prop_assert_eq!(total(&sum(&[a], &[])), a);
            // One addition of floats is rounded once, too.
            prop_assert_eq!(total(&sum(&[a, b], &[])), a + b);
        }

        #[test]
        fn nothing_is_lost_in_any_order(
            floats in prop::collection::vec(float(), 0..12),
            integers in prop::collection::vec(any::<i64>(), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let whole = sum(&floats, &integers);
            let (before, after) = floats.split_at(at.index(floats.len() + 1).min(floats.len()));
            let mut joined = sum(after, &integers);
            joined.join(sum(before, &[]));
            prop_assert_eq!(&joined, &whole);
            // What is added and taken away again is as if it had never been.
            let mut none = whole.clone();
            none.join(sum(&floats.iter().map(|x| -x).collect::<Vec<_>>(), &[]));
            prop_assert_eq!(none.total().to_float(), integers.iter().map(|n| i128::from(*n)).sum::<i128>() as f64);

            let mut bytes = Vec::new();
            whole.encode(&mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Sum::decode(&mut rest), Some(whole));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Sum::decode(&mut bytes.as_slice());
        }
    }
}
