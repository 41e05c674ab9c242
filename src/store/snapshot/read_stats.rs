//! What was read, counted as it is read: `EXPLAIN ANALYZE` tells of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts that a snapshot and all that reads by it share.
#[derive(Debug, Default)]
pub(crate) struct ReadStats {
    events: AtomicU64,
    admitted: AtomicU64,
    chunks: AtomicU64,
    passed_over: AtomicU64,
    blocks_passed_over: AtomicU64,
}

impl ReadStats {
    pub fn add_events(&self, events: u64) {
        self.events.fetch_add(events, Relaxed);
    }

    pub fn add_admitted(&self, events: u64) {
        self.admitted.fetch_add(events, Relaxed);
    }

    pub fn add_chunks(&self, chunks: u64) {
        self.chunks.fetch_add(chunks, Relaxed);
    }

    pub fn add_passed_over(&self, runs: u64) {
        self.passed_over.fetch_add(runs, Relaxed);
    }

    pub fn add_blocks_passed_over(&self, blocks: u64) {
        self.blocks_passed_over.fetch_add(blocks, Relaxed);
    }

    /// How many events were looked at.
    pub fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// How many of them were what was asked for.
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Relaxed)
    }

    /// How many chunks of lists.
    pub fn chunks(&self) -> u64 {
        self.chunks.load(Relaxed)
    }

    /// How many runs of the log were not looked at, by what is known of when they happened.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Relaxed)
    }

    /// How many column blocks were not looked at, by the values that they have.
    pub fn blocks_passed_over(&self) -> u64 {
        self.blocks_passed_over.load(Relaxed)
    }
}
