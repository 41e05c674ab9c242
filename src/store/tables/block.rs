//! Blocks: events at consecutive positions, in one row of the table `log`.
//!
//! To find a row, or to pass over it, costs more than to read most events; so a row holds as many events as make half a page of
//! the file, at most sixteen. Its key is the position of the first. Its value is each event's length (4 bytes, big-endian) and the event's
//! bytes, one after another. A pack is written once, by a checkpoint, and has no checksum: each event carries its own, which
//! covers its position.
//!
//! A compaction writes more into a row, compressed ([`compressed_block`](super::compressed_block)).

use crate::entity::Position;
use crate::error::{Error, Result};

/// How many events a row has at most.
pub(crate) const MOST: usize = 64;

/// How many a pack has at most, which is a row of events as they are.
pub(super) const PACKED: usize = 16;

/// So long is a row at most, of which two fit in a page. A longer event has one of its own.
pub(super) const BYTES: usize = 2000;

/// The bytes of a length.
pub(super) const LENGTH: usize = size_of::<u32>();

/// Writes events as packs: hands over each one's first position and bytes.
pub(crate) fn pack<'e>(
    mut first: Position,
    events: impl IntoIterator<Item = &'e [u8]>,
    mut put: impl FnMut(Position, &[u8]) -> Result<()>,
) -> Result<()> {
    let (mut value, mut count) = (Vec::with_capacity(BYTES), 0);
    for event in events {
        if count == PACKED || (count > 0 && value.len() + LENGTH + event.len() > BYTES) {
            put(first, &value)?;
            first = first.plus(count as u64);
            (count, _) = (0, value.clear());
        }
        // An event is some 16 MiB at most.
        value.extend_from_slice(&(event.len() as u32).to_be_bytes());
        value.extend_from_slice(event);
        count += 1;
    }
    if count > 0 { put(first, &value) } else { Ok(()) }
}

/// The events of a pack, with their positions. A damaged length is an error, and the last that is told.
#[derive(Debug, Clone)]
pub(crate) struct BlockEvents<'a> {
    position: Position,
    rest: &'a [u8],
}

impl<'a> BlockEvents<'a> {
    pub fn of(first: Position, value: &'a [u8]) -> BlockEvents<'a> {
        BlockEvents { position: first, rest: value }
    }
}

impl<'a> Iterator for BlockEvents<'a> {
    type Item = Result<(Position, &'a [u8])>;

    #[inline]
    fn next(&mut self) -> Option<Result<(Position, &'a [u8])>> {
        if self.rest.is_empty() {
            return None;
        }
        let position = self.position;
        let split = self.rest.split_first_chunk::<LENGTH>();
        let split =
            split.and_then(|(length, rest)| rest.split_at_checked(u32::from_be_bytes(*length) as usize));
        // The key of a row has no checksum either: one that is all ones has no position behind it.
        let Some(((event, rest), after)) = split.zip((position < Position::MAX).then_some(position.next()))
        else {
            self.rest = &[];
            return Some(Err(Error::corrupt(
                format!("the row of the event at {position}"),
                "a key or a length that does not fit its bytes",
            )));
        };
        self.rest = rest;
        self.position = after;
        Some(Ok((position, event)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(lengths in prop::collection::vec(prop_oneof![0usize..300, 1500usize..5000], 0..60)) {
            let events: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(at, length)| vec![at as u8; *length]).collect();
            let mut packs = Vec::new();
            pack(Position(7), events.iter().map(Vec::as_slice), |first, value| {
                packs.push((first, value.to_vec()));
                Ok(())
            })
            .unwrap();
            let mut found = Vec::new();
            for (first, value) in &packs {
                let several = BlockEvents::of(*first, value).collect::<Result<Vec<_>>>().unwrap();
                prop_assert!(several.len() <= PACKED && (several.len() == 1 || value.len() <= BYTES));
                prop_assert_eq!(several[0].0, *first);
                found.extend(several);
            }
            prop_assert!(found.iter().map(|(position, _)| *position).eq(Position(7).onwards().take(events.len())));
            prop_assert!(found.iter().map(|(_, bytes)| *bytes).eq(events.iter().map(Vec::as_slice)));
        }

        #[test]
        fn a_row_that_says_it_lies_at_the_end_of_all_positions_is_damaged(near in 0u64..4, count in 0usize..6) {
            let value = [0, 0, 0, 1, b'x'].repeat(count);
            let found: Vec<_> = BlockEvents::of(Position::MAX.minus(near), &value).collect();
            prop_assert_eq!(found.len(), count.min(near as usize + 1));
            prop_assert!(found.iter().enumerate().all(|(at, event)| event.is_ok() == (at < near as usize)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let found: Vec<_> = BlockEvents::of(Position::FIRST, &bytes).collect();
            prop_assert!(found.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
