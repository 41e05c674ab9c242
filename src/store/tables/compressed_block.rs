//! Blocks that are compressed, as a compaction writes them: many events in one row, of which two fit in a page all the same.
//!
//! Its value is a header of two numbers of 4 bytes, big-endian, and an LZ4 block of the bytes that the block has in plain ([`block`]). The first number
//! is how many these are, with its highest bit set, which no length of an event has; the second is how long the LZ4 block is, for whoever
//! finds it without the row around it. It has no checksum: each event carries its own.
//!
//! The LZ4 block is as <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md> says.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::block::{BYTES, LENGTH, MOST, pack};
use crate::entity::Position;
use crate::error::{Error, Result};

/// The bit of the first number that a length does not have.
const MARK: u32 = 1 << 31;

/// The bytes of the header.
pub(crate) const HEADER: usize = 2 * size_of::<u32>();

/// No more bytes than this are compressed together: to read one event is to read them all.
const LARGEST: usize = 32 << 10;

/// A longer event stands in its block as it is.
const LONGEST: usize = u16::MAX as usize;

/// How long a compressed block is, and what is in it: as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressedBlock {
    pub plain: usize,
    pub compressed: usize,
}

impl CompressedBlock {
    /// The header that some bytes begin with, if they can be a compressed block.
    pub fn begins(bytes: &[u8]) -> Option<CompressedBlock> {
        let (plain, rest) = bytes.split_first_chunk()?;
        let (compressed, _) = rest.split_first_chunk()?;
        let (plain, compressed) = (u32::from_be_bytes(*plain), u32::from_be_bytes(*compressed) as usize);
        let plain = (plain & MARK != 0).then_some((plain & !MARK) as usize)?;
        let fits = plain <= LONGEST && compressed < plain && compressed > 0;
        fits.then_some(CompressedBlock { plain, compressed })
    }

    /// The plain bytes of a block, header and all. Of one that is damaged, those up to where that shows.
    pub fn decompress(self, value: &[u8], into: &mut Vec<u8>) -> Option<()> {
        into.clear();
        into.resize(self.plain, 0);
        let bytes = value.get(HEADER..)?.get(..self.compressed)?;
        let written = decompress_into(bytes, into).ok()?;
        (written == self.plain).then_some(())
    }
}

/// The compressed blocks in the bytes of a file: where each begins, how long it is, and what it comes out as. For whoever looks for something there.
#[cfg(test)]
pub(crate) fn blocks_in(bytes: &[u8]) -> impl Iterator<Item = (usize, usize, Vec<u8>)> {
    (0..bytes.len()).filter_map(|at| {
        let (block, mut plain) = (CompressedBlock::begins(&bytes[at..])?, Vec::new());
        block.decompress(&bytes[at..], &mut plain)?;
        Some((at, HEADER + block.compressed, plain))
    })
}

/// The plain bytes of a row of the log: the value itself, or what it is compressed of.
#[inline]
pub(crate) fn plain<'b>(first: Position, value: &'b [u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
    if value.first().is_none_or(|first| first >> 7 == 0) {
        return Ok(value);
    }
    let block =
        CompressedBlock::begins(value).filter(|block| value.len() == HEADER.saturating_add(block.compressed));
    match block.and_then(|block| block.decompress(value, buffer)) {
        Some(()) => Ok(buffer),
        None => Err(Error::corrupt(
            format!("the row of the event at {first}"),
            "bytes that are compressed, and do not come out as they went in",
        )),
    }
}

/// Writes events that follow each other as compressed blocks, as many in each as come out as half a page.
pub(crate) struct BlockCompressor {
    first: Position,
    plain: Vec<u8>,
    /// Where each event ends in it.
    ends: Vec<usize>,
    /// So many bytes come out as half a page, as far as that is known.
    goal: usize,
    table: CompressTable,
    value: Vec<u8>,
}

impl BlockCompressor {
    pub fn new() -> BlockCompressor {
        BlockCompressor {
            first: Position::START,
            plain: Vec::with_capacity(LARGEST),
            ends: Vec::with_capacity(MOST),
            goal: 2 * BYTES,
            table: CompressTable::default(),
            value: Vec::new(),
        }
    }

    /// Takes the next event; hands over blocks that are full.
    pub fn push(
        &mut self,
        position: Position,
        event: &[u8],
        put: &mut impl FnMut(Position, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !self.ends.is_empty()
            && (self.ends.len() == MOST || self.plain.len() + LENGTH + event.len() > self.goal)
        {
            self.put(put)?;
        }
        if self.ends.is_empty() {
            self.first = position;
        }
        // An event is some 16 MiB at most.
        self.plain.extend_from_slice(&(event.len() as u32).to_be_bytes());
        self.plain.extend_from_slice(event);
        self.ends.push(self.plain.len());
        Ok(())
    }

    /// Hands over what is left.
    pub fn end(&mut self, put: &mut impl FnMut(Position, &[u8]) -> Result<()>) -> Result<()> {
        while !self.ends.is_empty() {
            self.put(put)?;
        }
        Ok(())
    }

    /// Hands over one block, or those that stay as they are, and keeps what did not fit.
    fn put(&mut self, put: &mut impl FnMut(Position, &[u8]) -> Result<()>) -> Result<()> {
        let mut count = self.ends.len();
        loop {
            let Some(end) = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied() else {
                return Ok(());
            };
            if !self.compress(end) {
                // Little is won: they stand as they are, some at a time.
                self.goal = BYTES;
                self.put_plain(count, end, put)?;
                return Ok(());
            }
            let size = self.value.len();
            // What would have filled it, less a little: those that follow may be longer.
            self.goal = (end * (BYTES - BYTES / 32) / size).clamp(BYTES, LARGEST);
            if size <= BYTES || count == 1 {
                put(self.first, &self.value)?;
                self.drop_first(count, end);
                return Ok(());
            }
            let fits = self.ends.iter().take(count - 1).take_while(|end| **end <= self.goal).count();
            count = fits.max(1);
        }
    }

    /// Compresses the first bytes; whether an eighth of them is saved.
    fn compress(&mut self, end: usize) -> bool {
        let Some(plain) = self.plain.get(..end).filter(|plain| plain.len() <= LONGEST) else { return false };
        self.value.resize(HEADER + get_maximum_output_size(end), 0);
        let Some((header, bytes)) = self.value.split_at_mut_checked(HEADER) else { return false };
        let Ok(size) = compress_into_with_table(plain, bytes, &mut self.table) else { return false };
        let (marked, told) = header.split_at_mut(size_of::<u32>());
        marked.copy_from_slice(&(MARK | end as u32).to_be_bytes());
        told.copy_from_slice(&(size as u32).to_be_bytes());
        self.value.truncate(HEADER + size);
        HEADER + size <= end - end / 8
    }

    fn put_plain(
        &mut self,
        count: usize,
        end: usize,
        put: &mut impl FnMut(Position, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let events = begins.zip(&self.ends).take(count);
        let events = events.filter_map(|(begin, end)| self.plain.get(begin + LENGTH..*end));
        pack(self.first, events, put)?;
        self.drop_first(count, end);
        Ok(())
    }

    fn drop_first(&mut self, count: usize, end: usize) {
        self.first = self.first.plus(count as u64);
        self.plain.drain(..end);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|at| *at -= end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block::BlockEvents;
    use super::*;

    fn compressed(first: Position, events: &[Vec<u8>]) -> Vec<(Position, Vec<u8>)> {
        let (mut compressor, mut rows) = (BlockCompressor::new(), Vec::new());
        let mut put = |first: Position, value: &[u8]| {
            rows.push((first, value.to_vec()));
            Ok(())
        };
        for (position, event) in first.onwards().zip(events) {
            compressor.push(position, event, &mut put).unwrap();
        }
        compressor.end(&mut put).unwrap();
        rows
    }

    fn read(rows: &[(Position, Vec<u8>)]) -> Vec<(Position, Vec<u8>)> {
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for (first, value) in rows {
            let events = BlockEvents::of(*first, plain(*first, value, &mut buffer).unwrap());
            let events: Vec<_> = events
                .map(|event| event.map(|(at, bytes)| (at, bytes.to_vec())))
                .collect::<Result<_>>()
                .unwrap();
            assert!(!events.is_empty() && events.len() <= MOST);
            found.extend(events);
        }
        found
    }

    /// Bytes that say the same again and again, or that nothing is saved of.
    fn event() -> impl Strategy<Value = Vec<u8>> {
        let same = (0usize..400, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]);
        let words =
            prop::collection::vec(prop::sample::select(vec!["flight", "Order.paid", "data", "7"]), 0..60);
        prop_oneof![
            4 => words.prop_map(|words| words.concat().into_bytes()),
            2 => same,
            2 => prop::collection::vec(any::<u8>(), 0..300),
            1 => prop::collection::vec(any::<u8>(), 2000..6000),
            1 => (60_000usize..70_000).prop_map(|length| vec![3; length]),
        ]
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(events in prop::collection::vec(event(), 0..150)) {
            let rows = compressed(Position(7), &events);
            let found = read(&rows);
            prop_assert!(found.iter().map(|(position, _)| *position).eq(Position(7).onwards().take(events.len())));
            prop_assert!(found.iter().map(|(_, bytes)| bytes).eq(&events));
            for (first, value) in &rows {
                let several = read(&[(*first, value.clone())]).len() > 1;
                prop_assert!(!several || value.len() <= BYTES, "{} bytes of several events", value.len());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), plain_bytes in 0u32..70_000) {
            let length = bytes.len() as u32;
            let headed = [&(MARK | plain_bytes).to_be_bytes()[..], &length.to_be_bytes(), &bytes].concat();
            for value in [&bytes, &headed] {
                let mut buffer = Vec::new();
                if let Ok(plain) = plain(Position::FIRST, value, &mut buffer) {
                    let found: Vec<_> = BlockEvents::of(Position::FIRST, plain).collect();
                    prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
                }
                prop_assert!(buffer.len() <= LONGEST);
            }
        }
    }

    #[test]
    fn what_repeats_takes_a_fraction_and_fills_half_pages() {
        let events: Vec<Vec<u8>> = (0..1000_u32)
            .map(|n| {
                format!(
                    "Plane.landed flight UA{} at LAX minutes {} delay {}",
                    n * 7919 % 1000,
                    n % 300,
                    n % 13
                )
            })
            .map(String::into_bytes)
            .collect();
        let rows = compressed(Position::FIRST, &events);
        let (plain, size): (usize, usize) = (
            events.iter().map(|event| event.len() + LENGTH).sum(),
            rows.iter().map(|(_, value)| value.len()).sum(),
        );
        assert!(size * 2 < plain, "{size} of {plain}");
        let full =
            rows.iter().filter(|(_, value)| value.len() > BYTES * 3 / 4 || value.len() <= BYTES).count();
        assert_eq!(full, rows.len());
    }

    #[test]
    fn damage_is_told_or_shows_in_an_event() {
        let events: Vec<Vec<u8>> =
            (0..40_u32).map(|n| format!("Order.paid {n} total {}", n * 31).into_bytes()).collect();
        let rows = compressed(Position::FIRST, &events);
        let [(first, value)] = &rows[..] else { panic!("{} rows", rows.len()) };
        let mut buffer = Vec::new();
        for cut in 0..value.len() {
            let cut = plain(*first, &value[..cut], &mut buffer).map(<[u8]>::to_vec);
            assert!(cut.is_err() || cut.is_ok_and(|plain| plain.is_empty()));
        }
        let longer = [&value[..], b"x"].concat();
        assert!(plain(*first, &longer, &mut buffer).unwrap_err().to_string().contains("compressed"));
    }
}
