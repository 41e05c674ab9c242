//! Reading ahead: a long stretch of the log is read and filtered by another thread while its events are dealt with.
//!
//! What comes over is stored events as they are, some of them on shared bytes: making events of them is left to the thread that they are for,
//! where they are dropped, too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

use super::record_ref::{RecordChunk, RecordPlace, RecordRef};
use crate::error::{Error, Result};
use crate::event::record::{Record, RecordHeader};
use crate::exec::EventScan;
use crate::store::Shared;

/// How many events are read at a time: at first, and at most by the thread that wants them, and by another.
const FIRST: usize = 8;
const NEAR: usize = 256;
const FAR: usize = 1024;

/// Behind so many events, and before so many positions, another thread begins to read.
const AFTER: u64 = 512;
const WORTH: u64 = 4096;

/// How many readings lie between the two threads.
const BETWEEN: usize = 2;

/// So many bytes are shared by events, about. Whoever keeps one of them keeps those.
const SHARED: usize = 4096;
/// As many as those are, mostly.
const EXPECTED: usize = 40;

/// The events of a scan, in order.
pub(super) struct ReadAhead {
    source: AheadSource,
    /// Up to where it goes.
    goal: u64,
    /// Read, and not delivered yet: the first of them from `at` on.
    ready: VecDeque<RecordChunk>,
    at: usize,
    /// How many there were, and how many are to be read the next time.
    count: u64,
    size: usize,
}

enum AheadSource {
    /// Read here.
    Near(Box<EventScan>),
    /// Read by another thread.
    Far(Receiver<Result<VecDeque<RecordChunk>>>),
}

/// Leave to read ahead, which is given to as many as there are threads for.
struct Leave(Arc<Shared>);

impl Leave {
    fn ask(shared: &Arc<Shared>) -> Option<Leave> {
        let most = shared.options.threads;
        let ask = |count: usize| (most > 1 && count < most).then_some(count + 1);
        let count: &AtomicUsize = &shared.log_progress.ahead;
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, ask).ok().map(|_| Leave(shared.clone()))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.log_progress.ahead.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ReadAhead {
    pub fn new(scan: EventScan, goal: u64) -> ReadAhead {
        ReadAhead {
            source: AheadSource::Near(Box::new(scan)),
            goal,
            ready: VecDeque::new(),
            at: 0,
            count: 0,
            size: FIRST,
        }
    }

    /// The next of them.
    pub fn next(&mut self, shared: &Arc<Shared>) -> Result<Option<RecordRef<'_>>> {
        while self.ready.front().is_none_or(|chunk| self.at >= chunk.places.len()) {
            self.at = 0;
            self.ready.pop_front();
            if self.ready.is_empty() && !self.fill(shared)? {
                return Ok(None);
            }
        }
        let Some(chunk) = self.ready.front() else { return Ok(None) };
        let Some(place) = chunk.places.get(self.at) else { return Ok(None) };
        self.at += 1;
        self.count += 1;
        Ok(Some(RecordRef::new(&chunk.bytes, *place)))
    }

    /// Gets more of them; whether there are.
    fn fill(&mut self, shared: &Arc<Shared>) -> Result<bool> {
        self.ready = match &mut self.source {
            AheadSource::Near(scan) => read(scan, self.size)?,
            AheadSource::Far(batches) => batches.recv().unwrap_or_else(|_| {
                Err(Error::stopped("the thread that reads ahead ended before it had read all"))
            })?,
        };
        self.size = (self.size * 2).min(NEAR);
        let Some(last) = self.ready.back().and_then(|chunk| chunk.places.last()) else { return Ok(false) };
        if self.count >= AFTER && self.goal - last.sketch.position().0 >= WORTH {
            self.read_ahead(shared);
        }
        Ok(true)
    }

    /// Lets another thread read on, if there is one for it.
    fn read_ahead(&mut self, shared: &Arc<Shared>) {
        if matches!(self.source, AheadSource::Far(_)) {
            return;
        }
        let Some(leave) = Leave::ask(shared) else { return };
        let (sender, batches) = bounded(BETWEEN);
        let (hand, handed) = bounded::<Box<EventScan>>(1);
        let body = move || {
            let _leave = leave;
            let Ok(mut scan) = handed.recv() else { return };
            loop {
                let batch = read(&mut scan, FAR);
                let is_last = batch.as_ref().map_or(true, VecDeque::is_empty);
                // Nobody wants them any more.
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        // Where there is no thread to be had, this one goes on.
        if thread::Builder::new().name("bygone-reader".to_owned()).spawn(body).is_err() {
            return;
        }
        if let AheadSource::Near(scan) = std::mem::replace(&mut self.source, AheadSource::Far(batches)) {
            // It waits for it.
            let _ = hand.send(scan);
        }
    }
}

/// The next events of a scan; none, once there are none.
fn read(scan: &mut EventScan, wanted: usize) -> Result<VecDeque<RecordChunk>> {
    let mut chunks: Vec<(Vec<u8>, Vec<RecordPlace>)> = Vec::new();
    let note = |record: &Record, bytes: &[u8]| {
        if chunks.last().is_none_or(|(last, _)| last.len() + bytes.len() > SHARED) {
            chunks.push((Vec::with_capacity(SHARED.max(bytes.len())), Vec::with_capacity(EXPECTED)));
        }
        if let Some((last, places)) = chunks.last_mut() {
            // No event is longer than 16 MiB.
            let start = last.len() as u32;
            last.extend_from_slice(bytes);
            places.push(RecordPlace { start, end: last.len() as u32, sketch: RecordHeader::of(record) });
        }
        Ok(((), bytes.len()))
    };
    scan.take(wanted, note)?;
    Ok(chunks.into_iter().map(|(bytes, places)| RecordChunk { bytes: bytes.into(), places }).collect())
}
