//! Sets of positions: a bit each, in blocks that are there where one of them is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::entity::Position;
use crate::error::{Error, Result};

const WORDS: usize = 1024;

/// Positions of a block.
const BLOCK: u64 = WORDS as u64 * 64;

/// Positions in no order, told in order.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    blocks: BTreeMap<u64, Box<[u64; WORDS]>>,
}

impl Bitmap {
    /// Adds a position, within so many bytes of memory.
    pub fn insert(&mut self, Position(position): Position, memory: u64) -> Result<()> {
        let most = memory / (WORDS as u64 * 8);
        let full = self.blocks.len() as u64 >= most;
        let block = match self.blocks.entry(position / BLOCK) {
            std::collections::btree_map::Entry::Vacant(_) if full => {
                return Err(Error::stopped(format!(
                    "the positions of a range of index values take more than {} MiB of memory; ask for fewer values, or for a \
                     part of the log (SINCE #n UNTIL #m)",
                    memory >> 20
                )));
            }
            entry => entry.or_insert_with(|| Box::new([0; WORDS])),
        };
        let bit = position % BLOCK;
        block[(bit / 64) as usize] |= 1 << (bit % 64);
        Ok(())
    }

    /// The least position from this one on.
    pub fn at_or_after(&self, Position(position): Position) -> Option<Position> {
        let mut bit = position % BLOCK;
        for (&number, block) in self.blocks.range(position / BLOCK..) {
            if number != position / BLOCK {
                bit = 0;
            }
            let mut mask = u64::MAX << (bit % 64);
            for (at, word) in block.iter().enumerate().skip((bit / 64) as usize) {
                let found = word & mask;
                if found != 0 {
                    return Some(Position(
                        number * BLOCK + at as u64 * 64 + u64::from(found.trailing_zeros()),
                    ));
                }
                mask = u64::MAX;
            }
        }
        None
    }

    /// The greatest position up to this one.
    pub fn at_or_before(&self, Position(position): Position) -> Option<Position> {
        let mut bit = position % BLOCK;
        for (&number, block) in self.blocks.range(..=position / BLOCK).rev() {
            if number != position / BLOCK {
                bit = BLOCK - 1;
            }
            let mut mask = u64::MAX >> (63 - bit % 64);
            for (at, word) in block.iter().enumerate().take((bit / 64) as usize + 1).rev() {
                let found = word & mask;
                if found != 0 {
                    return Some(Position(
                        number * BLOCK + at as u64 * 64 + 63 - u64::from(found.leading_zeros()),
                    ));
                }
                mask = u64::MAX;
            }
        }
        None
    }
}

/// What a source of ranges holds, gathered once for all that read it: a query may read on several threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered(Arc<Mutex<Option<Arc<Bitmap>>>>);

impl PartialEq for Gathered {
    /// What was gathered follows from the ranges.
    fn eq(&self, _: &Gathered) -> bool {
        true
    }
}

impl Gathered {
    /// What was gathered, or is gathered now. Others wait for it.
    pub fn get(&self, gather: impl FnOnce() -> Result<Bitmap>) -> Result<Arc<Bitmap>> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gathered) = &*gathered {
            return Ok(gathered.clone());
        }
        Ok(gathered.insert(Arc::new(gather()?)).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        // Near the ends of words and blocks, where it could go wrong.
        let near = (0..4u64, prop_oneof![Just(64u64), Just(BLOCK)], -2i64..3);
        let position = prop_oneof![
            near.prop_map(|(times, of, by)| (times * of).saturating_add_signed(by)),
            0..4 * BLOCK,
            0..200u64
        ];
        position.prop_map(Position)
    }

    proptest! {
        #[test]
        fn a_bitmap_is_an_ordered_set(
            positions in prop::collection::vec(position(), 0..40),
            from in prop::collection::vec(position(), 1..20),
        ) {
            let mut bitmap = Bitmap::default();
            for &position in &positions {
                bitmap.insert(position, 1 << 20).unwrap();
            }
            let set: BTreeSet<Position> = positions.into_iter().collect();
            for from in from {
                prop_assert_eq!(bitmap.at_or_after(from), set.range(from..).next().copied());
                prop_assert_eq!(bitmap.at_or_before(from), set.range(..=from).next_back().copied());
            }
        }
    }

    #[test]
    fn a_bitmap_keeps_within_its_memory() {
        let mut bitmap = Bitmap::default();
        bitmap.insert(Position(1), 8192).unwrap();
        bitmap.insert(Position(2), 8192).unwrap();
        assert!(bitmap.insert(Position(BLOCK), 8192).unwrap_err().to_string().contains("memory"));
    }
}
