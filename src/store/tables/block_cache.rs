//! Blocks of the log that were read lately, opened: each is found by the position of any of its events, without a search in the tables.
//!
//! A block is written once, and is what it was whatever is committed since; so what is here outlives commits, but not the file: what is rewritten
//! is in another one.
//!
//! The bytes are those of the file, unchecked: whoever reads an event compares its checksum, as it does with one from the tables.
//! What has not been asked for longest goes first. Each shard has a lock, held for a moment, within a read of the tables and no other lock; those who
//! find something there share it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::block::{BlockEvents, MOST};
use crate::entity::Position;

/// A larger block is not kept: to find it is little beside reading it.
const LARGEST: usize = u16::MAX as usize;

/// So many positions are a span, and what is kept of a span goes at once. A block may be in two.
const SPAN: u64 = 128;

/// So many spans that follow each other are of one shard: who reads several events has their lock once, and the processor waits for
/// all of them at a time.
const NEIGHBOURS: u64 = 256;

const SHARDS: u64 = 16;

/// Blocks of a file of tables that is open.
#[derive(Debug)]
pub(crate) struct BlockCache {
    /// How many bytes are kept at most, and are now.
    most: usize,
    bytes: AtomicUsize,
    /// The shard whose turn it is to let something go.
    turn: AtomicUsize,
    shards: Vec<RwLock<BlockShard>>,
}

#[derive(Debug, Default)]
struct BlockShard {
    spans: HashMap<u64, Box<BlockSpan>, BuildHasherDefault<SpanHasher>>,
    /// The spans, in the order in which they go.
    order: VecDeque<u64>,
}

/// What is kept of consecutive positions.
#[derive(Debug)]
struct BlockSpan {
    places: [EventPlace; SPAN as usize],
    blocks: Vec<Arc<[u8]>>,
    bytes: usize,
    /// It was asked for since its turn to go came last.
    asked: AtomicBool,
}

/// Where an event is.
#[derive(Debug, Clone, Copy, Default)]
struct EventPlace {
    /// The number of its block, counted from 1; 0 where it is not kept.
    block: u8,
    /// How many events of its block are before it.
    index: u8,
    begin: u16,
    length: u16,
}

/// Numbers of spans grow with the log, and nobody chooses them.
#[derive(Debug, Default)]
struct SpanHasher(u64);

impl Hasher for SpanHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

impl BlockCache {
    /// One that keeps so many bytes at most.
    pub fn new(most: usize) -> BlockCache {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        let (bytes, turn) = (AtomicUsize::new(0), AtomicUsize::new(0));
        BlockCache { most, bytes, turn, shards }
    }

    fn shard(&self, span: u64) -> Option<&RwLock<BlockShard>> {
        self.shards.get((span / NEIGHBOURS % SHARDS) as usize)
    }

    /// Lends the events at some positions, up to the first that is not kept, or until it is told to stop; tells how many. Whoever is lent them is to
    /// be quick.
    pub fn lend(
        &self,
        positions: impl Iterator<Item = Position>,
        mut event: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        let (mut positions, mut count) = (positions.peekable(), 0);
        while let Some(position) = positions.peek() {
            let neighbours = position.0 / SPAN / NEIGHBOURS;
            let Some(shard) = self.shard(position.0 / SPAN) else { return count };
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            while let Some(position) = positions.next_if(|next| next.0 / SPAN / NEIGHBOURS == neighbours) {
                let Some(bytes) = shard.event(position) else { return count };
                count += 1;
                if !event(bytes) {
                    return count;
                }
            }
        }
        count
    }

    /// Keeps a block that a read has found, if all of its lengths fit.
    pub fn put(&self, first: Position, value: &[u8]) {
        if value.len() > LARGEST.min(self.most) {
            return;
        }
        let (mut places, mut count, mut at) = ([EventPlace::default(); MOST], 0, 0);
        for event in BlockEvents::of(first, value) {
            let Ok((_, bytes)) = event else { return };
            let Some(place) = places.get_mut(count) else { return };
            // The whole is not longer than these can tell.
            let (index, begin) = (count as u8, at + size_of::<u32>() as u16);
            *place = EventPlace { block: 0, index, begin, length: bytes.len() as u16 };
            at = place.begin.saturating_add(place.length);
            count += 1;
        }
        let Some(last) = (count as u64).checked_sub(1).map(|more| first.plus(more)) else { return };
        let block: Arc<[u8]> = value.into();
        for number in first.0 / SPAN..=last.0 / SPAN {
            let Some(shard) = self.shard(number) else { continue };
            let more = written(shard).put(number, first, places.get(..count).unwrap_or_default(), &block);
            self.bytes.fetch_add(more, Ordering::Relaxed);
        }
        self.shrink();
    }

    /// Lets go what has not been asked for longest, one shard after another, until the rest is not too much.
    fn shrink(&self) {
        let mut empty = 0;
        while self.bytes.load(Ordering::Relaxed) > self.most && empty < self.shards.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1);
            let Some(shard) = self.shards.get(turn) else { return };
            match written(shard).let_go() {
                Some(less) => {
                    empty = 0;
                    self.bytes.fetch_sub(less, Ordering::Relaxed);
                }
                None => empty += 1,
            }
        }
    }

    /// Forgets all of it: what a test has changed.
    #[cfg(test)]
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = written(shard);
            self.bytes.fetch_sub(shard.spans.values().map(|span| span.bytes).sum(), Ordering::Relaxed);
            *shard = BlockShard::default();
        }
    }

    /// How many bytes are kept, as the spans say.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let of_shard =
            |shard: &RwLock<BlockShard>| written(shard).spans.values().map(|span| span.bytes).sum::<usize>();
        self.shards.iter().map(of_shard).sum()
    }
}

fn written(shard: &RwLock<BlockShard>) -> RwLockWriteGuard<'_, BlockShard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

impl BlockShard {
    fn event(&self, position: Position) -> Option<&[u8]> {
        let span = self.spans.get(&(position.0 / SPAN))?;
        let EventPlace { block, begin, length, .. } = *span.places.get((position.0 % SPAN) as usize)?;
        let bytes = span.blocks.get(usize::from(block.checked_sub(1)?))?;
        if !span.asked.load(Ordering::Relaxed) {
            span.asked.store(true, Ordering::Relaxed);
        }
        bytes.get(usize::from(begin)..)?.get(..usize::from(length))
    }

    /// Keeps what a span has of a block; tells how many bytes that takes.
    fn put(&mut self, number: u64, first: Position, events: &[EventPlace], block: &Arc<[u8]>) -> usize {
        let BlockShard { spans, order, .. } = self;
        let mut more = 0;
        let span = spans.entry(number).or_insert_with(|| {
            order.push_back(number);
            more += size_of::<BlockSpan>();
            let (places, blocks) = ([EventPlace::default(); SPAN as usize], Vec::new());
            Box::new(BlockSpan {
                places,
                blocks,
                bytes: size_of::<BlockSpan>(),
                asked: AtomicBool::new(false),
            })
        });
        // There are no more than positions, but where the file is damaged.
        let Ok(numbered) = u8::try_from(span.blocks.len() + 1) else { return more };
        let mut is_new = false;
        for (event, position) in events.iter().zip(first.onwards()) {
            if position.0 / SPAN != number {
                continue;
            }
            // Another may have been quicker. A damaged file may have two rows with it: it is looked for in the one behind.
            let is_wanted = |at: &&mut EventPlace| at.block == 0 || at.index > event.index;
            if let Some(place) = span.places.get_mut((position.0 % SPAN) as usize).filter(is_wanted) {
                *place = EventPlace { block: numbered, ..*event };
                is_new = true;
            }
        }
        if is_new {
            span.blocks.push(block.clone());
            let size = block.len() + 4 * size_of::<usize>();
            span.bytes += size;
            more += size;
        }
        more
    }

    /// Lets go the span whose turn it is, if it was not asked for since its last one: how many bytes that gives. None where there is none.
    fn let_go(&mut self) -> Option<usize> {
        let number = self.order.pop_front()?;
        match self.spans.get(&number) {
            Some(span) if span.asked.swap(false, Ordering::Relaxed) => {
                self.order.push_back(number);
                Some(0)
            }
            _ => Some(self.spans.remove(&number).map_or(0, |span| span.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The row of some events, each of as many bytes as its length says.
    fn block(first: u64, lengths: &[usize]) -> (Position, Vec<u8>, Vec<Vec<u8>>) {
        let events: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(at, length)| vec![(first + at as u64) as u8; *length]).collect();
        let mut value = Vec::new();
        for event in &events {
            value.extend_from_slice(&(event.len() as u32).to_be_bytes());
            value.extend_from_slice(event);
        }
        (Position(first), value, events)
    }

    fn found(cache: &BlockCache, position: Position) -> Option<Vec<u8>> {
        let mut found = None;
        let count = cache.lend(std::iter::once(position), |bytes| {
            found = Some(bytes.to_vec());
            true
        });
        assert_eq!(count, usize::from(found.is_some()));
        found
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_kept_and_no_more_than_may_be(
            // Blocks one behind the other, in any order and again.
            counts in prop::collection::vec(1usize..=MOST, 1..80),
            asked in prop::collection::vec(any::<prop::sample::Index>(), 1..300),
            most in prop_oneof![Just(0usize), Just(96 << 10), Just(1 << 20)],
        ) {
            let cache = BlockCache::new(most);
            let (mut blocks, mut first) = (Vec::new(), 100);
            for count in counts {
                blocks.push(block(first, &vec![70; count]));
                first += count as u64;
            }
            for at in asked {
                let (first, value, events) = &blocks[at.index(blocks.len())];
                for (position, event) in first.onwards().zip(events) {
                    if let Some(found) = found(&cache, position) {
                        prop_assert_eq!(&found, event);
                    }
                }
                cache.put(*first, value);
                if most == 1 << 20 {
                    let mut lent = Vec::new();
                    let count = cache.lend(first.onwards().take(events.len()), |bytes| {
                        lent.push(bytes.to_vec());
                        true
                    });
                    prop_assert_eq!((count, &lent), (events.len(), events));
                }
                prop_assert!(cache.bytes() <= most);
                prop_assert_eq!(cache.bytes(), cache.bytes.load(Ordering::Relaxed));
            }
            prop_assert!(found(&cache, Position(first)).is_none());
            prop_assert!(found(&cache, Position(99)).is_none());
        }

        #[test]
        fn what_is_no_block_is_not_kept(
            value in prop::collection::vec(any::<u8>(), 0..64),
            first in prop_oneof![0u64..300, (0u64..20).prop_map(|n| u64::MAX - n)],
        ) {
            let cache = BlockCache::new(1 << 20);
            cache.put(Position(first), &value);
            let several: Result<Vec<_>, _> = BlockEvents::of(Position(first), &value).collect();
            match several {
                Ok(several) => for (position, bytes) in several {
                    prop_assert_eq!(found(&cache, position), Some(bytes.to_vec()));
                },
                Err(_) => prop_assert!(found(&cache, Position(first)).is_none()),
            }
        }
    }

    #[test]
    fn what_is_lent_ends_at_the_first_that_is_not_kept() {
        let cache = BlockCache::new(1 << 20);
        for first in [1, 127, 5000, 100_000] {
            let (first, value, _) = block(first, &[3; 4]);
            cache.put(first, &value);
        }
        let lent = |positions: &[u64]| cache.lend(positions.iter().map(|at| Position(*at)), |_| true);
        assert_eq!(lent(&[1, 4, 127, 128, 130, 5001, 100_003]), 7);
        assert_eq!(lent(&[100_000, 5000, 130, 2]), 4);
        assert_eq!(lent(&[1, 5, 127]), 1);
        assert_eq!(lent(&[131, 1]), 0);
        assert_eq!(lent(&[]), 0);
    }

    #[test]
    fn of_two_rows_that_have_an_event_it_is_in_the_one_behind() {
        // As a damaged file may have them, read in either order.
        for turned in [false, true] {
            let cache = BlockCache::new(1 << 20);
            let mut rows = [block(10, &[5; 4]), block(12, &[6; 4])];
            if turned {
                rows.reverse();
            }
            rows.iter().for_each(|(first, value, _)| cache.put(*first, value));
            let lengths = (10..16).map(|at| found(&cache, Position(at)).unwrap().len());
            assert_eq!(lengths.collect::<Vec<_>>(), [5, 5, 6, 6, 6, 6]);
        }
        let cache = BlockCache::new(1 << 20);
        cache.put(Position::MAX.previous(), &block(1, &[1]).1);
        assert!(found(&cache, Position::MAX.previous()).is_some());
        (0..600u64).for_each(|n| cache.put(Position(128 + 127 - n % 128), &block(1, &[1; 16]).1));
        assert!(found(&cache, Position(200)).is_some());
    }

    #[test]
    fn what_is_asked_for_again_stays() {
        // All of one shard, and all over.
        for apart in [SPAN * NEIGHBOURS * SHARDS, SPAN * NEIGHBOURS, SPAN] {
            let cache = BlockCache::new(100_000);
            let at = |n: u64| n * apart;
            for n in 1..100 {
                let (first, value, _) = block(at(n), &[2000; 4]);
                cache.put(first, &value);
                assert!(found(&cache, Position(at(1))).is_some(), "after {n}");
            }
            assert!(found(&cache, Position(at(2))).is_none());
            assert!(found(&cache, Position(at(99))).is_some());
            assert!(cache.bytes() > 80_000);
        }
    }

    #[test]
    fn a_large_block_is_not_kept() {
        let cache = BlockCache::new(64 << 20);
        for (length, kept) in [(LARGEST - 4, true), (LARGEST - 3, false)] {
            let (first, value, _) = block(1, &[length]);
            cache.put(first, &value);
            assert_eq!(found(&cache, first).is_some(), kept);
            cache.clear();
        }
    }
}
