//! A simulated shared log: several databases on one log, in one process.
//!
//! Each [`handle`](SharedLog::handle) stands for a client far away from it. What goes wrong on the way follows from a seed: answers and
//! frames are lost, frames come late or twice, reads are not answered. A test can also damage the log itself: leave a frame out, cut
//! its end off, or put another history in its place.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{AppendError, FrameAppend, JournalAfter, Log, LogFrame};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::disk::simulated::random::Random;
use crate::store::journal::{DatabaseId, Frame, FrameKind};
use crate::store::mutex::locked;

/// How many frames a read gives at most.
const MOST: usize = 16;

/// How often something goes wrong on the way, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogFaults {
    /// The frame is taken, and nobody says so.
    pub lost_answer: u64,
    /// The frame never arrives.
    pub lost_frame: u64,
    /// The frame arrives after it was given up, if at all.
    pub late: u64,
    /// The frame arrives twice.
    pub doubled: u64,
    /// A frame is said to be behind though it is not.
    pub behind: u64,
    /// A read is not answered.
    pub unread: u64,
    /// Frames of more bytes are refused, though it says that it takes them; none are, if nothing is said here.
    pub takes: Option<usize>,
}

impl LogFaults {
    /// Now and then each of them.
    pub const SOME: LogFaults = LogFaults {
        lost_answer: 60,
        lost_frame: 60,
        late: 60,
        doubled: 60,
        behind: 30,
        unread: 30,
        takes: None,
    };
}

/// The log that they share.
#[derive(Debug)]
pub(crate) struct SharedLog {
    id: DatabaseId,
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug)]
struct State {
    /// The position before its first frame.
    start: Position,
    frames: Vec<Held>,
    /// On their way, each behind a position.
    late: Vec<(Position, Held)>,
    faults: LogFaults,
    random: Random,
    handles: u64,
    longest_doubt: Duration,
}

#[derive(Debug, Clone)]
struct Held {
    handle: u64,
    number: u64,
    before: [u8; 32],
    frame: Frame,
}

impl Held {
    fn last(&self) -> Position {
        self.frame.first.plus(u64::from(self.frame.count)).previous()
    }
}

impl State {
    fn end(&self) -> Position {
        self.frames.last().map_or(self.start, Held::last)
    }

    fn happens(&mut self, of_thousand: u64) -> bool {
        of_thousand > 0 && self.random.next() % 1000 < of_thousand
    }

    /// Takes a frame where the log ends with what it goes on from.
    fn take(&mut self, after: Position, held: Held) -> bool {
        let takes = after == self.end();
        if takes {
            self.frames.push(held);
        }
        takes
    }

    /// Some of what is on its way arrives.
    fn arrive(&mut self) {
        let mut left = Vec::new();
        for (after, held) in std::mem::take(&mut self.late) {
            if self.random.next().is_multiple_of(2) {
                self.take(after, held);
            } else {
                left.push((after, held));
            }
        }
        self.late = left;
    }
}

impl SharedLog {
    /// An empty one, of which nothing gets lost.
    pub fn new(seed: u64) -> Arc<SharedLog> {
        SharedLog::behind(DatabaseId([7; 16]), Position(0), seed, LogFaults::default())
    }

    /// One that goes on behind a position, and on whose way something is lost now and then.
    pub fn restless(id: DatabaseId, start: Position) -> Arc<SharedLog> {
        SharedLog::behind(id, start, start.0 + 1, LogFaults::SOME)
    }

    fn behind(id: DatabaseId, start: Position, seed: u64, faults: LogFaults) -> Arc<SharedLog> {
        let state = State {
            start,
            frames: Vec::new(),
            late: Vec::new(),
            faults,
            random: Random(seed),
            handles: 0,
            longest_doubt: Duration::from_secs(20),
        };
        Arc::new(SharedLog { id, state: Mutex::new(state), grown: Condvar::new() })
    }

    /// A handle on it, for one database.
    pub fn handle(self: &Arc<SharedLog>) -> Arc<dyn Log> {
        let mut state = self.state();
        state.handles += 1;
        Arc::new(SharedHandle { log: self.clone(), number: state.handles })
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: LogFaults) {
        self.state().faults = faults;
    }

    /// How long handles try to find out what became of a frame.
    pub fn set_longest_doubt(&self, longest: Duration) {
        self.state().longest_doubt = longest;
    }

    /// All that is on its way arrives now.
    pub fn settle(&self) {
        let mut state = self.state();
        for (after, held) in std::mem::take(&mut state.late) {
            state.take(after, held);
        }
        drop(state);
        self.grown.notify_all();
    }

    /// How many frames it has.
    pub fn frames(&self) -> usize {
        self.state().frames.len()
    }

    /// Leaves out the frame that begins with a position.
    pub fn leave_out(&self, first: Position) {
        self.state().frames.retain(|held| held.frame.first != first);
    }

    /// Cuts off all frames behind a position.
    pub fn cut_after(&self, last: Position) {
        self.state().frames.retain(|held| held.last() <= last);
    }

    /// Has the frames of another log from now on.
    pub fn replace_with(&self, other: &SharedLog) {
        let frames = other.state().frames.clone();
        self.state().frames = frames;
        self.grown.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// One of those who append to it, and read it.
#[derive(Debug)]
struct SharedHandle {
    log: Arc<SharedLog>,
    number: u64,
}

impl Log for SharedHandle {
    fn id(&self) -> DatabaseId {
        self.log.id
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn append(&self, frame: FrameAppend<'_>) -> Result<(), AppendError> {
        let FrameAppend { buffer, after, number, count, .. } = frame;
        if count == 0 {
            // Places in it are each database's own, and in its tables.
            return Err(AppendError::Refused(Error::stopped("a shared log takes no moves of cursors")));
        }
        let payload = buffer.payload().to_vec();
        let frame = Frame { kind: FrameKind::Events, first: after.position.next(), count, payload };
        let held = Held { handle: self.number, number, before: after.chain, frame };
        let state = &mut *self.log.state();
        state.arrive();
        if after.position > state.end() {
            return Err(AppendError::Lost { from: Position(state.end().0 + 1), to: after.position });
        }
        let faults = state.faults;
        if let Some(takes) = faults.takes.filter(|takes| held.frame.payload.len() > *takes) {
            let error = Error::too_large("a group", held.frame.payload.len(), takes);
            return Err(AppendError::Refused(error));
        }
        if state.happens(faults.behind) {
            return Err(AppendError::Behind);
        }
        if state.happens(faults.lost_frame) {
            return Err(AppendError::Unknown);
        }
        if state.happens(faults.late) {
            state.late.push((after.position, held));
            return Err(AppendError::Unknown);
        }
        if state.happens(faults.doubled) {
            state.late.push((after.position, held.clone()));
        }
        let taken = state.take(after.position, held);
        self.log.grown.notify_all();
        if state.happens(faults.lost_answer) {
            return Err(AppendError::Unknown);
        }
        if taken { Ok(()) } else { Err(AppendError::Behind) }
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn read(&self, after: Position, until: Instant) -> Result<Vec<LogFrame>> {
        let mut state = self.log.state();
        state.arrive();
        let unread = state.faults.unread;
        if state.happens(unread) {
            let no_answer = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(Error::io("reading the shared log", no_answer));
        }
        loop {
            if after > state.end() {
                let found = format!("its end at {}, and this database goes on up to {after}", state.end());
                return Err(Error::corrupt("the log", found));
            }
            let left = until.saturating_duration_since(Instant::now());
            if after < state.end() || left.is_zero() {
                break;
            }
            state = self
                .log
                .grown
                .wait_timeout(state, left)
                .map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
        let frames = state.frames.iter().filter(|held| held.frame.first > after).take(MOST);
        Ok(frames
            .map(|held| LogFrame {
                own: (held.handle == self.number).then_some(held.number),
                before: held.before,
                frame: Arc::new(held.frame.clone()),
            })
            .collect())
    }

    fn longest_doubt(&self) -> Duration {
        self.log.state().longest_doubt
    }

    fn turn(&self, _last: Position) -> Result<bool> {
        Ok(true)
    }

    fn release(&self, _through: Position) {}

    fn close(&self, settle: &dyn Fn(JournalAfter) -> Result<()>) -> Result<()> {
        settle(JournalAfter::Kept)
    }
}
