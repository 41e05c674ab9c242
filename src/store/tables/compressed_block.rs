//! Blocks that are compressed, as a compaction writes them: many events in one row, of which two fit in a page all the same.
//!
//! Its value is a header of two numbers of 4 bytes, big-endian, and an LZ4 block of the events with their lengths, as a row has them that is not
//! compressed ([`block`](super::block)). The first number is how many bytes these are, with its highest bit set, which no length of an event has; the
//! second is how long the LZ4 block is, for whoever finds it without the row around it. It has no checksum: each event carries its own.
//!
//! The LZ4 block is as <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md> says.

#[cfg(test)]
use std::path::PathBuf;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::block::{BYTES, LENGTH, MOST, pack};
use crate::entity::Position;
use crate::error::{Error, Result};
#[cfg(test)]
use crate::store::disk::{Disk, simulated::SimulatedDisk};

/// The highest bit of the first number: no length of an event has it.
const MARK: u32 = 1 << 31;

/// The bytes of the header.
pub(crate) const HEADER: usize = 2 * size_of::<u32>();

/// So many bytes of several events are compressed together at most: to read one is to read them all.
const SEVERAL: usize = 32 << 10;

/// So many bytes a compressed block has at most, as they were: an event of more stands in its block as it is.
const UNCOMPRESSED: usize = u16::MAX as usize;

/// How long a compressed block is, and what is in it: as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompressedBlock {
    pub uncompressed_len: usize,
    pub compressed_len: usize,
}

impl CompressedBlock {
    /// The header that some bytes begin with, if they can be a compressed block.
    pub fn parse(bytes: &[u8]) -> Option<CompressedBlock> {
        let (marked, rest) = bytes.split_first_chunk()?;
        let (compressed, _) = rest.split_first_chunk()?;
        let (marked, compressed_len) =
            (u32::from_be_bytes(*marked), u32::from_be_bytes(*compressed) as usize);
        let uncompressed_len = (marked & MARK != 0).then_some((marked & !MARK) as usize)?;
        let fits =
            uncompressed_len <= UNCOMPRESSED && compressed_len < uncompressed_len && compressed_len > 0;
        fits.then_some(CompressedBlock { uncompressed_len, compressed_len })
    }

    /// Its length, header and all.
    pub fn len(self) -> usize {
        HEADER + self.compressed_len
    }

    /// Decompresses a block, header and all. Where it is damaged, what came before that shows is there, and zeros behind it.
    pub fn decompress(self, value: &[u8], into: &mut Vec<u8>) -> Option<()> {
        into.clear();
        into.resize(self.uncompressed_len, 0);
        let bytes = value.get(HEADER..self.len())?;
        let written = decompress_into(bytes, into).ok()?;
        (written == self.uncompressed_len).then_some(())
    }
}

/// What may be a compressed block in the bytes of a file: where it begins, how long it is, its uncompressed bytes as far as they can be had, and
/// whether that is all of them. For whoever looks for something there.
#[cfg(test)]
pub(crate) fn blocks_in(bytes: &[u8]) -> impl Iterator<Item = (usize, usize, Vec<u8>, bool)> {
    (0..bytes.len()).filter_map(|at| {
        let (block, mut uncompressed) = (CompressedBlock::parse(&bytes[at..])?, Vec::new());
        let is_whole = block.decompress(&bytes[at..], &mut uncompressed).is_some();
        Some((at, block.len(), uncompressed, is_whole))
    })
}

/// The files of a disk that have some bytes, as they are or compressed.
#[cfg(test)]
pub(crate) fn files_with(disk: &SimulatedDisk, wanted: &[u8]) -> Vec<PathBuf> {
    let holds = |name: &PathBuf| {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        let has = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        has(&bytes) || blocks_in(&bytes).any(|(_, _, uncompressed, _)| has(&uncompressed))
    };
    disk.names().into_iter().filter(holds).collect()
}

/// The events of a row of the log as they were appended, with their lengths: the value itself, or decompressed.
#[inline]
pub(crate) fn uncompressed<'b>(
    first: Position,
    value: &'b [u8],
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8]> {
    if value.first().is_none_or(|first| first >> 7 == 0) {
        return Ok(value);
    }
    let block = CompressedBlock::parse(value).filter(|block| value.len() == block.len());
    match block.and_then(|block| block.decompress(value, buffer)) {
        Some(()) => Ok(buffer),
        None => Err(Error::corrupt(
            format!("the row of the event at {first}"),
            "compressed bytes that cannot be decompressed",
        )),
    }
}

/// Writes events that follow each other as compressed blocks, as many in each as take half a page then.
pub(crate) struct BlockCompressor {
    first: Position,
    uncompressed: Vec<u8>,
    /// Where each event ends in it.
    ends: Vec<usize>,
    /// So many bytes take half a page when compressed, as far as that is known.
    target_len: usize,
    table: CompressTable,
    value: Vec<u8>,
}

impl BlockCompressor {
    pub fn new() -> BlockCompressor {
        BlockCompressor {
            first: Position::START,
            uncompressed: Vec::with_capacity(SEVERAL),
            ends: Vec::with_capacity(MOST),
            target_len: 2 * BYTES,
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
            && (self.ends.len() == MOST || self.uncompressed.len() + LENGTH + event.len() > self.target_len)
        {
            self.put(put)?;
        }
        if self.ends.is_empty() {
            self.first = position;
        }
        // An event is some 16 MiB at most.
        self.uncompressed.extend_from_slice(&(event.len() as u32).to_be_bytes());
        self.uncompressed.extend_from_slice(event);
        self.ends.push(self.uncompressed.len());
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
                self.target_len = BYTES;
                self.put_uncompressed(count, end, put)?;
                return Ok(());
            }
            let size = self.value.len();
            // What would have filled it, less a little: those that follow may be longer.
            self.target_len = (end * (BYTES - BYTES / 32) / size).clamp(BYTES, SEVERAL);
            if size <= BYTES || count == 1 {
                put(self.first, &self.value)?;
                self.drop_first(count, end);
                return Ok(());
            }
            let fits = self.ends.iter().take(count - 1).take_while(|end| **end <= self.target_len).count();
            count = fits.max(1);
        }
    }

    /// Compresses the first bytes; whether an eighth of them is saved.
    fn compress(&mut self, end: usize) -> bool {
        let Some(bytes) = self.uncompressed.get(..end).filter(|bytes| bytes.len() <= UNCOMPRESSED) else {
            return false;
        };
        self.value.resize(HEADER + get_maximum_output_size(end), 0);
        let Some((header, into)) = self.value.split_at_mut_checked(HEADER) else { return false };
        let Ok(size) = compress_into_with_table(bytes, into, &mut self.table) else { return false };
        let (marked, told) = header.split_at_mut(size_of::<u32>());
        marked.copy_from_slice(&(MARK | end as u32).to_be_bytes());
        told.copy_from_slice(&(size as u32).to_be_bytes());
        self.value.truncate(HEADER + size);
        HEADER + size <= end - end / 8
    }

    fn put_uncompressed(
        &mut self,
        count: usize,
        end: usize,
        put: &mut impl FnMut(Position, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let events = begins.zip(&self.ends).take(count);
        let events = events.filter_map(|(begin, end)| self.uncompressed.get(begin + LENGTH..*end));
        pack(self.first, events, put)?;
        self.drop_first(count, end);
        Ok(())
    }

    fn drop_first(&mut self, count: usize, end: usize) {
        self.first = self.first.plus(count as u64);
        self.uncompressed.drain(..end);
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
            let events = BlockEvents::of(*first, uncompressed(*first, value, &mut buffer).unwrap());
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
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), told in 0u32..70_000) {
            let length = bytes.len() as u32;
            let headed = [&(MARK | told).to_be_bytes()[..], &length.to_be_bytes(), &bytes].concat();
            for value in [&bytes, &headed] {
                let mut buffer = Vec::new();
                if let Ok(bytes) = uncompressed(Position::FIRST, value, &mut buffer) {
                    let found: Vec<_> = BlockEvents::of(Position::FIRST, bytes).collect();
                    prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
                }
                prop_assert!(buffer.len() <= UNCOMPRESSED);
            }
        }
    }

    #[test]
    fn what_repeats_takes_a_fraction_and_fills_half_pages() {
        let events: Vec<Vec<u8>> = (0..1000_u32)
            .map(|n| {
                let (flight, tail) = (n * 7919 % 1000, n.wrapping_mul(15_485_863));
                format!(
                    "{n} Plane.landed flight UA{flight} at LAX, tail N{tail:010}, {:010}",
                    tail.wrapping_mul(tail)
                )
            })
            .map(String::into_bytes)
            .collect();
        let rows = compressed(Position::FIRST, &events);
        let before: usize = events.iter().map(|event| event.len() + LENGTH).sum();
        let after: usize = rows.iter().map(|(_, value)| value.len()).sum();
        assert!(after * 2 < before, "{after} of {before}");
        // But for the first, whose length is a guess, and the last.
        let lengths: Vec<usize> = rows.iter().map(|(_, value)| value.len()).collect();
        let full = |length: &usize| (BYTES * 3 / 4..=BYTES).contains(length);
        assert!(lengths.len() > 4 && lengths[1..lengths.len() - 1].iter().all(full), "{lengths:?}");
    }

    #[test]
    fn damage_is_told_or_is_in_an_event() {
        let events: Vec<Vec<u8>> =
            (0..40_u32).map(|n| format!("Order.paid {n} total {}", n * 31).into_bytes()).collect();
        let rows = compressed(Position::FIRST, &events);
        let [(first, value)] = &rows[..] else { panic!("{} rows", rows.len()) };
        let mut buffer = Vec::new();
        for cut in 1..value.len() {
            assert!(uncompressed(*first, &value[..cut], &mut buffer).is_err() || value[0] >> 7 == 0);
        }
        let longer = [&value[..], b"x"].concat();
        assert!(uncompressed(*first, &longer, &mut buffer).unwrap_err().to_string().contains("compressed"));
        let (mut told, mut within) = (0, 0);
        for bit in 0..8 * value.len() {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = uncompressed(*first, &damaged, &mut buffer).and_then(|bytes| {
                BlockEvents::of(*first, bytes).map(|event| Ok(event?.1.to_vec())).collect::<Result<Vec<_>>>()
            });
            match found {
                // It may say the same in another way.
                Ok(found) => within += u32::from(found != events),
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                    told += 1;
                }
            }
        }
        assert!(told > 0 && within > 0);
    }
}
