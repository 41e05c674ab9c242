//! Marks: 16 bytes that say where something ends. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic: `F5 'B' 'G' 'E'` of an end mark, `F5 'B' 'G' 'L'` of a fill mark |
//! | 4 | 4 | CRC32 of the magic, the salt of the session and the number |
//! | 8 | 8 | the number |
//!
//! An *end mark* stands behind the last frame, and its number is that frame's. It is written in one call with the
//! frame and overwritten by the next one: where it stands, nothing was appended after that frame. At the start of a
//! segment that holds nothing yet it bears the number of the last frame before, 0 if there is none.
//!
//! A *fill mark* stands at the end of the space that was filled and synced, and its number is its own end, which is
//! the length of the file. Frames never reach it: a segment without one was cut off or overwritten.
//!
//! A mark begins at a multiple of 16, so that it lies within one sector: a crash leaves all of it or nothing.

use crc32fast::Hasher;

use super::Salt;
use super::frame::array;

/// The bytes of a mark.
pub(super) const MARK: usize = 16;

const END: [u8; 4] = *b"\xF5BGE";
const FILL: [u8; 4] = *b"\xF5BGL";

/// The mark behind the frame of this number.
pub(super) fn end(salt: Salt, number: u64) -> [u8; MARK] {
    encode(END, salt, number)
}

/// The mark at the end of a file that was filled up to there.
pub(super) fn fill(salt: Salt, filled: u64) -> [u8; MARK] {
    encode(FILL, salt, filled)
}

/// Of an end mark the number of its frame.
pub(super) fn end_of(bytes: &[u8; MARK], salt: Salt) -> Option<u64> {
    let number = number(bytes);
    (*bytes == end(salt, number)).then_some(number)
}

/// Whether these bytes, which stand at `at`, are the fill mark that belongs there.
pub(super) fn is_fill(bytes: &[u8; MARK], salt: Salt, at: u64) -> bool {
    bytes[..4] == FILL && *bytes == fill(salt, at.saturating_add(MARK as u64))
}

/// Whether these bytes, which stand at `at`, are what a segment has that holds no frame, of whatever session: zeros, or
/// one of the marks that it is created with.
pub(super) fn is_idle(bytes: &[u8; MARK], at: u64, start: u64) -> bool {
    *bytes == [0; MARK]
        || (at == start && bytes[..4] == END && number(bytes) == 0)
        || (bytes[..4] == FILL && number(bytes) == at.saturating_add(MARK as u64))
}

fn number(bytes: &[u8; MARK]) -> u64 {
    u64::from_be_bytes(array(bytes, 8))
}

fn encode(magic: [u8; 4], salt: Salt, number: u64) -> [u8; MARK] {
    let mut crc = Hasher::new();
    crc.update(&magic);
    crc.update(&salt.0);
    crc.update(&number.to_be_bytes());
    let mut mark = [0; MARK];
    mark[..4].copy_from_slice(&magic);
    mark[4..8].copy_from_slice(&crc.finalize().to_be_bytes());
    mark[8..].copy_from_slice(&number.to_be_bytes());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt([7; 16]);

    #[test]
    fn a_mark_is_found_again_and_no_byte_of_it_may_change() {
        let (end_mark, fill_mark) = (end(SALT, 3), fill(SALT, 8192));
        assert_eq!(end_mark[..4], END);
        assert_eq!(end_mark[8..], 3u64.to_be_bytes());
        assert_eq!(end_of(&end_mark, SALT), Some(3));
        assert!(is_fill(&fill_mark, SALT, 8176));
        assert_eq!(end_of(&fill_mark, SALT), None);
        assert!(!is_fill(&end_mark, SALT, 8176));
        for at in 0..MARK {
            let change = |mut mark: [u8; MARK]| {
                mark[at] ^= 0x40;
                mark
            };
            assert_eq!(end_of(&change(end_mark), SALT), None);
            assert!(!is_fill(&change(fill_mark), SALT, 8176));
        }
    }

    #[test]
    fn a_mark_of_another_session_or_place_is_none() {
        assert_eq!(end_of(&end(SALT, 3), Salt([8; 16])), None);
        assert!(!is_fill(&fill(SALT, 8192), Salt([8; 16]), 8176));
        assert!(!is_fill(&fill(SALT, 8192), SALT, 4080));
        assert_eq!(end_of(&[0; MARK], SALT), None);
    }
}
