//! Numbers of few bits each, one behind the other: the first in the lowest bits of the first byte.

/// The most bits that a number has.
pub(super) const WIDEST: u32 = 32;

/// How many bits the numbers up to this one need.
pub(super) fn width(most: u32) -> u32 {
    u32::BITS - most.leading_zeros()
}

/// How many bytes so many numbers take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    count.saturating_mul(width as usize).div_ceil(8)
}

/// Appends numbers of so many bits.
pub(super) fn pack(numbers: impl Iterator<Item = u32>, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut bits) = (0u64, 0);
    for number in numbers {
        word |= u64::from(number) << bits;
        bits += width;
        while bits >= 8 {
            out.push(word as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(word as u8);
    }
}

/// So many numbers; nothing where there are fewer, or they have too many bits.
pub(super) fn unpack(bytes: &[u8], count: usize, width: u32) -> Option<Vec<u32>> {
    if width == 0 {
        return Some(vec![0; count]);
    }
    if width > WIDEST || bytes.len() < packed_len(count, width) {
        return None;
    }
    let mask = u32::MAX >> (u32::BITS - width);
    let mut numbers = Vec::with_capacity(count);
    // A word at a time, as long as there are eight bytes to take one from.
    let words = (0..count).map_while(|at| {
        let bit = at * width as usize;
        let word = bytes.get(bit / 8..bit / 8 + 8)?.first_chunk::<8>()?;
        Some((u64::from_le_bytes(*word) >> (bit % 8)) as u32 & mask)
    });
    numbers.extend(words);
    for at in numbers.len()..count {
        let bit = at * width as usize;
        let rest = bytes.get(bit / 8..)?;
        let mut word = [0; 8];
        let length = rest.len().min(8);
        word[..length].copy_from_slice(&rest[..length]);
        numbers.push((u64::from_le_bytes(word) >> (bit % 8)) as u32 & mask);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_again(width in 0..=WIDEST, numbers in prop::collection::vec(any::<u32>(), 0..40)) {
            let mask = if width == 0 { 0 } else { u32::MAX >> (32 - width) };
            let numbers: Vec<u32> = numbers.into_iter().map(|number| number & mask).collect();
            let mut bytes = Vec::new();
            pack(numbers.iter().copied(), width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_len(numbers.len(), width));
            prop_assert_eq!(unpack(&bytes, numbers.len(), width), Some(numbers.clone()));
            if !bytes.is_empty() {
                prop_assert_eq!(unpack(&bytes[1..], numbers.len(), width), None);
            }
        }

        #[test]
        fn a_number_needs_as_many_bits_as_it_has(number in any::<u32>()) {
            prop_assert!(u64::from(number) < 1 << width(number));
            prop_assert!(number == 0 || u64::from(number) >= 1 << (width(number) - 1));
        }
    }
}
