//! Floats as the decimals that print them: 0.3 is three tenths here, though no float is.
//!
//! Rounding and tiles go by the shortest decimal that prints a float, so that they agree with what a person reads.

use std::io::Write;

/// A sign, at most twenty digits, and the power of ten they are times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: i128,
    power: i32,
}

/// Powers beyond this are told apart by no digits of a float and of an integer.
const FAR: u32 = 18;

impl Decimal {
    /// The shortest decimal that prints a float; none of what is no number.
    pub fn of(x: f64) -> Option<Decimal> {
        let mut room = [0u8; 40];
        let mut rest = room.as_mut_slice();
        write!(rest, "{x:e}").ok()?;
        let left = rest.len();
        let text = std::str::from_utf8(&room[..room.len() - left]).ok()?;
        let (digits, power) = text.split_once('e')?;
        let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
        let number = digits.bytes().filter(u8::is_ascii_digit);
        let number = number.fold(0i128, |number, digit| number * 10 + i128::from(digit - b'0'));
        let power = power.parse::<i32>().ok()?.checked_sub(i32::try_from(behind).ok()?)?;
        Some(Decimal { digits: if digits.starts_with('-') { -number } else { number }, power })
    }

    pub fn whole(n: i128) -> Decimal {
        Decimal { digits: n, power: 0 }
    }

    /// The float that is nearest.
    pub fn to_float(self) -> Option<f64> {
        let mut room = [0u8; 64];
        let mut rest = room.as_mut_slice();
        write!(rest, "{}e{}", self.digits, self.power).ok()?;
        let left = rest.len();
        std::str::from_utf8(&room[..room.len() - left]).ok()?.parse().ok()
    }

    /// It, where it is a whole number that 128 bits hold.
    pub fn to_whole(self) -> Option<i128> {
        let scale = u32::try_from(self.power).ok().and_then(|power| 10i128.checked_pow(power));
        if self.digits == 0 { Some(0) } else { self.digits.checked_mul(scale?) }
    }

    /// It to so many digits behind the point, or before it where they are negative; halves away from zero.
    pub fn rounded(self, places: i32) -> Decimal {
        let power = -places;
        let Ok(dropped @ 1..) = u32::try_from(power.saturating_sub(self.power)) else { return self };
        let Some(scale) = 10i128.checked_pow(dropped).filter(|_| dropped <= 2 * FAR) else {
            return Decimal { digits: 0, power };
        };
        // Twenty digits and half of 10^36: far from the edges.
        Decimal { digits: (self.digits + self.digits.signum() * (scale / 2)) / scale, power }
    }

    /// Where the tile that it lies in begins, of tiles so wide, counted from 0.
    pub fn tile(self, width: Decimal) -> Option<Decimal> {
        let power = self.power.min(width.power);
        let scaled = |of: Decimal| {
            let by = u32::try_from(of.power - power).ok().filter(|by| *by <= FAR)?;
            of.digits.checked_mul(10i128.checked_pow(by)?)
        };
        match (scaled(self), scaled(width)) {
            (Some(x), Some(width)) => {
                Some(Decimal { digits: x.div_euclid(width).checked_mul(width)?, power })
            }
            // The width is beyond all digits of the number.
            (Some(_), None) if self.digits < 0 => Some(Decimal { digits: -width.digits, ..width }),
            (Some(_), None) => Some(Decimal { digits: 0, power: 0 }),
            // The number is beyond the width: what the width leaves of it is taken away.
            (None, _) => {
                let mut left = self.digits.rem_euclid(width.digits);
                for _ in width.power..self.power {
                    left = (left * 10).rem_euclid(width.digits);
                }
                let left = Decimal { digits: left, power: width.power };
                Decimal::of(self.to_float()? - left.to_float()?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rounds a printed decimal, digit by digit, as by hand.
    fn by_hand(x: f64, places: usize) -> f64 {
        let text = format!("{:.}", x.abs());
        let (before, behind) = text.split_once('.').unwrap_or((&text, ""));
        let mut digits: Vec<u8> = std::iter::once(b'0').chain(before.bytes()).collect();
        digits.extend(behind.bytes().chain(std::iter::repeat(b'0')).take(places));
        if behind.as_bytes().get(places).is_some_and(|next| *next >= b'5') {
            let mut at = digits.len() - 1;
            while digits[at] == b'9' {
                digits[at] = b'0';
                at -= 1;
            }
            digits[at] += 1;
        }
        digits.insert(digits.len() - places, b'.');
        let rounded: f64 = String::from_utf8(digits).unwrap().parse().unwrap();
        if x < 0.0 { -rounded } else { rounded }
    }

    fn rounded(x: f64, places: i32) -> f64 {
        Decimal::of(x).unwrap().rounded(places).to_float().unwrap()
    }

    #[test]
    fn what_is_read_is_what_is_rounded() {
        for (x, places, expected) in [
            (2.675, 2, 2.68),
            (1.005, 2, 1.01),
            (-1.005, 2, -1.01),
            (0.285, 2, 0.29),
            (9.995, 2, 10.0),
            (f64::MAX, -308, f64::INFINITY),
            (f64::MAX, 400, f64::MAX),
            (5e-324, 323, 1e-323),
            (5e-324, 324, 5e-324),
            (5e-324, -400, 0.0),
            (123_456.0, -3, 123_000.0),
        ] {
            assert_eq!(rounded(x, places), expected, "{x} {places}");
        }
        let tile = |x, width| Decimal::of(x).unwrap().tile(Decimal::of(width).unwrap()).unwrap().to_float();
        for (x, width, expected) in [
            (0.3, 0.1, 0.3),
            (0.7, 0.1, 0.7),
            (-0.05, 0.1, -0.1),
            (1e300, 0.1, 1e300),
            (1e-300, 1e300, 0.0),
            (-1e-300, 1e300, -1e300),
            (1e22, 3.0, 1e22),
            (5e-324, 5e-324, 5e-324),
            (f64::MAX, f64::MAX, f64::MAX),
        ] {
            assert_eq!(tile(x, width), Some(expected), "{x} {width}");
        }
        assert_eq!(Decimal::of(f64::NAN), None);
        assert_eq!(Decimal::of(f64::INFINITY), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn rounding_is_as_by_hand(
            x in prop_oneof![
                (-1_000_000i32..1_000_000, 0i32..8).prop_map(|(n, by)| f64::from(n) / 10f64.powi(by)),
                any::<f64>().prop_filter("a number", |x| x.is_finite()),
            ],
            places in 0usize..20,
        ) {
            prop_assert_eq!(rounded(x, places as i32), by_hand(x, places));
        }

        /// Of a/10^p and b/10^q, whose tiles are those of whole numbers.
        #[test]
        fn tiles_are_those_of_whole_numbers(
            a in -1_000_000_000i64..1_000_000_000, p in 0u32..9, b in 1i64..100_000, q in 0u32..9,
        ) {
            let float = |n: i128, by: u32| format!("{n}e-{by}").parse::<f64>().unwrap();
            let (x, width) = (float(a.into(), p), float(b.into(), q));
            let (most_x, most_width) = (i128::from(a) * 10i128.pow(9 - p), i128::from(b) * 10i128.pow(9 - q));
            let begins = most_x.div_euclid(most_width) * most_width;
            let tile = Decimal::of(x).unwrap().tile(Decimal::of(width).unwrap()).unwrap();
            prop_assert_eq!(tile.to_float(), Some(float(begins, 9)));
        }
    }
}
