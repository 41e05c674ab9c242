//! Which position a checksum is of.
//!
//! The checksum of a stored event covers its position, which is not stored. A CRC is linear: from it and from the other bytes follows the
//! one number of 32 bits that can have stood before them. Of bytes that were damaged it is any number.
//!
//! The arithmetic is that of polynomials over GF(2) modulo the CRC's, the lowest coefficient in the highest bit: that of `crc32_combine` in
//! zlib, here to take away what stood before instead of adding it.

use crate::entity::Position;

/// The polynomial of [RFC 1952], its bits reversed.
///
/// [RFC 1952]: https://www.rfc-editor.org/rfc/rfc1952#section-8
const POLYNOMIAL: u32 = 0xedb8_8320;

/// x⁰ and x¹.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

/// The polynomial is primitive: so often x is multiplied by itself until it is 1.
const ORDER: u64 = u32::MAX as u64;

/// The position whose low 32 bits make a checksum right, with high bits that are known: `checksum` is that of the position and of the bytes
/// whose own is `rest` and which are so many.
pub(super) fn position_of(checksum: u32, rest: u32, bytes: usize, high: u32) -> Position {
    // The CRC of eight bytes, the position's.
    let of_position = multiply(checksum ^ rest, x_to_minus(8 * bytes as u64));
    // The register behind the first four of them, and the one behind all.
    let between = !crc32fast::hash(&high.to_be_bytes());
    let end = !of_position;
    // Four bytes go through the register as one word, added to it: the first of them is its lowest.
    let word = between ^ multiply(end, x_to_minus(32));
    Position(u64::from(high) << 32 | u64::from(word.swap_bytes()))
}

fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

/// x⁻ⁿ.
fn x_to_minus(n: u64) -> u32 {
    let mut exponent = ORDER - n % ORDER;
    let (mut power, mut square) = (ONE, X);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = multiply(power, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::codec;

    proptest! {
        #[test]
        fn the_position_follows_from_the_checksum_and_the_bytes(
            position in any::<u64>(),
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let checksum = codec::checksum(Position(position), &bytes);
            let found = position_of(checksum, crc32fast::hash(&bytes), bytes.len(), (position >> 32) as u32);
            prop_assert_eq!(found, Position(position));
        }
    }
}
