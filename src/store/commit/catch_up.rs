//! Catching up: what others append to a shared log is applied here, in the same way as what was recovered.
//!
//! A frame is applied only where it goes on from what is applied: its first position follows the head, and the chain hash that its writer
//! had before it is the one here. A hole or a fork of the log stops the writes of this database; it stays readable.

use std::time::{Duration, Instant};

use super::Commits;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::event::codec;
use crate::store::apply;
use crate::store::committer::Committer;
use crate::store::fault_injection::FaultInjection;
use crate::store::log::{LogFrame, LogPlace};
use crate::store::mutex::locked;

/// How long until a log that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// What the log holds behind a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    /// The frame that this handle appended by a number.
    Own,
    /// Frames of others.
    Others,
}

impl Commits {
    /// Applies everything that others appended to the log so far. What is read after it shows that.
    pub fn catch_up(&self) -> Result<()> {
        if !self.kernel.log.is_shared() {
            return Ok(());
        }
        self.take_in(&mut locked(&self.committer))
    }

    /// The same, for whoever commits.
    pub(super) fn take_in(&self, committer: &mut Committer) -> Result<()> {
        loop {
            let frames = self.read_log(Instant::now())?;
            if frames.is_empty() {
                return Ok(());
            }
            for frame in &frames {
                self.make_room()?;
                self.apply_frame(committer, frame).map_err(|error| self.kernel.stop(error))?;
            }
        }
    }

    /// Takes in all that the log holds now, and makes sure that this is all. Whoever only reads goes by what the log says of its end.
    pub fn take_in_all(&self, cancel: &Cancel) -> Result<()> {
        if !self.kernel.log.is_shared() {
            return Ok(());
        }
        loop {
            let mut committer = locked(&self.committer);
            self.take_in(&mut committer)?;
            if self.kernel.options.read_only || self.is_at_end(&committer)? {
                return Ok(());
            }
            drop(committer);
            cancel.check()?;
        }
    }

    /// What the log holds behind the head: whether it is the frame of this number.
    pub(super) fn behind_head(&self, number: u64, until: Instant) -> Result<Behind> {
        Ok(match self.read_log(until)?.first() {
            None => Behind::Nothing,
            Some(frame) if frame.own == Some(number) => Behind::Own,
            Some(_) => Behind::Others,
        })
    }

    /// Whether the log ends with what is applied, now: what was decided by that holds.
    pub(super) fn is_at_end(&self, committer: &Committer) -> Result<bool> {
        let place = LogPlace { position: self.kernel.applied.head(), chain: committer.chain };
        self.patiently(|| self.kernel.log.ends_at(place))
    }

    /// Frames behind the head.
    fn read_log(&self, until: Instant) -> Result<Vec<LogFrame>> {
        self.patiently(|| self.kernel.log.read(self.kernel.applied.head(), until))
    }

    /// Asks the log. Where there is no answer it is asked again, for so long at most as a frame may be in doubt.
    fn patiently<T>(&self, ask: impl Fn() -> Result<T>) -> Result<T> {
        let give_up = Instant::now() + self.kernel.log.longest_doubt();
        loop {
            match ask() {
                // What is applied here is not in the log any more.
                Err(lost @ Error::Corrupt { .. }) => return Err(self.kernel.stop(lost)),
                Err(_) if Instant::now() < give_up && !self.kernel.background.stopping() => {
                    std::thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    fn apply_frame(&self, committer: &mut Committer, frame: &LogFrame) -> Result<()> {
        let LogFrame { before, frame, .. } = frame;
        let (head, catalog) = self.kernel.applied.head_and_catalog();
        if frame.first != head.next() {
            let found = format!("a frame that begins with {} after {head}", frame.first);
            return Err(Error::corrupt("the log", found));
        }
        if *before != committer.chain && !self.kernel.injects(FaultInjection::IgnoreChain) {
            let found = format!("a frame at {} that goes on from other events than those here", frame.first);
            return Err(Error::corrupt("the log", found));
        }
        let (events, catalog) =
            apply::derive(frame, catalog, &self.kernel.own_limits, self.kernel.keys(), || {
                self.kernel.options.compiler()
            })?;
        let mut recorded = committer.recorded;
        for (position, event) in frame.first.onwards().zip(&events) {
            let event = codec::decode(position, event.bytes.clone())?;
            if event.own_id && !self.kernel.injects(FaultInjection::ForgetIds) {
                committer.ids.follow(&event.id);
            }
            recorded = recorded.max(Some(event.recorded));
        }
        committer.recorded = recorded;
        self.apply(committer, events, catalog)
    }
}
