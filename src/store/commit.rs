//! The commit: a leader takes what is queued, stages it in order, makes it durable in one frame, and shows it.
//!
//! All answers of a batch, rejections and repeated keys included, wait for its sync.

use std::collections::VecDeque;
use std::sync::Arc;

use super::catalog::Catalog;
use super::group::{Group, Outcome, Prepared};
use super::journal::{FrameBuffer, Kind};
use super::log::{Append, AppendError};
use super::moves;
use super::queue::{Next, Pending, Queue, Turn};
use super::stage::Batch;
use super::tail::{Staged, Tails};
use super::{Durability, Shared};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::id::IdSource;
use crate::time::Timestamp;

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(super) frame: FrameBuffer,
    /// That of the moves of cursors.
    moves: FrameBuffer,
    pub(super) ids: IdSource,
    /// When the newest event was recorded.
    recorded: Option<Timestamp>,
    /// The first write after opening must not share its millisecond with the last one before.
    reopened: bool,
}

impl Committer {
    pub fn new(recorded: Option<Timestamp>) -> Committer {
        Committer {
            frame: FrameBuffer::new(),
            moves: FrameBuffer::new(),
            ids: IdSource::default(),
            recorded,
            reopened: true,
        }
    }

    /// A batch that nothing is staged in yet.
    pub(super) fn batch(&self, clock: Timestamp, tails: Tails) -> Batch {
        Batch::new(tails, self.now(clock), self.recorded)
    }

    /// The instant of a commit: the clock's, to the microsecond, but never before the last.
    fn now(&self, clock: Timestamp) -> Timestamp {
        let clock = clock.to_micros();
        let Some(last) = self.recorded else { return clock };
        if self.reopened && clock.as_millis() <= last.as_millis() {
            // Ids of this session begin at a random place: they grow past the last session's only in a later millisecond.
            return Timestamp::from_millis(last.as_millis() + 1);
        }
        clock.max(last)
    }
}

impl Shared {
    /// Appends a group and waits until it is durable.
    pub fn append(self: &Arc<Shared>, group: Group) -> Result<Outcome> {
        let prepared = Prepared::new(self, group)?;
        if prepared.is_empty() {
            return Ok(Outcome { events: Vec::new(), repeated: false });
        }
        self.commit(prepared)
    }

    /// Commits a group and waits for it; leads if nobody does.
    pub fn commit(self: &Arc<Shared>, request: Prepared) -> Result<Outcome> {
        let pending = Pending::new(request);
        if self.queue.push(&pending)? {
            self.lead();
        }
        self.wait(&pending)
    }

    /// Waits for the answer to a request, leading when asked to.
    pub fn wait(self: &Arc<Shared>, pending: &Pending) -> Result<Outcome> {
        loop {
            match self.queue.wait(pending) {
                Turn::Answered(answer) => return answer,
                Turn::Lead => self.lead(),
            }
        }
    }

    /// Waits until those are through who are committing now. What is recorded from then on is recorded later.
    pub fn commit_barrier(&self) {
        drop(super::locked(&self.committer));
    }

    /// Commits one batch, hands leadership on, then answers.
    pub fn lead(self: &Arc<Shared>) {
        let mut duty = Duty { shared: self, batch: self.queue.take(self.options.frame_bytes), done: false };
        let answers = self.commit_batch(&duty.batch);
        duty.done = true;
        if self.queue.hand_over() == Next::Background {
            self.upkeep.ask(|asked| asked.lead = true);
        }
        for (pending, answer) in duty.batch.iter().zip(answers) {
            pending.answer(answer);
        }
    }

    fn commit_batch(self: &Arc<Shared>, pending: &[Arc<Pending>]) -> Vec<Result<Outcome>> {
        let mut committer = super::locked(&self.committer);
        let mut requests: VecDeque<_> = pending.iter().map(|pending| pending.take()).collect();
        let mut answers = Vec::with_capacity(requests.len());
        // One frame, nearly always: what verbs make is not known before, and may be more than a frame is to hold.
        while !requests.is_empty() {
            answers.extend(self.commit_frame(&mut committer, &mut requests));
        }
        answers
    }

    /// Commits as many requests as a frame holds, and takes them away.
    fn commit_frame(
        self: &Arc<Shared>,
        committer: &mut Committer,
        requests: &mut VecDeque<Option<Prepared>>,
    ) -> Vec<Result<Outcome>> {
        if let Err(error) = self.make_room() {
            return requests.drain(..).map(|_| Err(error.clone())).collect();
        }
        let mut batch = committer.batch(self.options.clock.now(), self.applied.tails());
        let first = batch.next;
        committer.frame.begin(Kind::Events);
        let mut answers = Vec::with_capacity(requests.len());
        while answers.is_empty() || committer.frame.payload_mut().len() < self.options.frame_bytes {
            let Some(request) = requests.pop_front() else { break };
            answers.push(match request {
                Some(request) => self.stage(committer, &mut batch, request),
                None => Err(Error::stopped("the request was taken before")),
            });
        }
        if batch.staged.is_empty() {
            return answers;
        }
        if let Err(error) = self.make_durable(committer, first, batch.staged.len()) {
            let rest = requests.drain(..).count();
            return vec![Err(error); answers.len() + rest];
        }
        committer.recorded = batch.recorded;
        committer.reopened = false;
        let mut recent = super::locked(&self.recent);
        batch.known.into_iter().for_each(|(entity, known)| recent.put(entity, known));
        drop(recent);
        self.apply(batch.staged, batch.catalog);
        answers
    }

    /// Writes the staged frame and, unless told to wait, syncs it.
    fn make_durable(self: &Arc<Shared>, committer: &mut Committer, first: u64, count: usize) -> Result<()> {
        if self.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        let (first, durable_through) = (Position(first), self.watch.synced());
        self.tell_moves(committer, first, durable_through)?;
        let frame = Append { buffer: &mut committer.frame, first, count: count as u32, durable_through };
        match self.log.append(frame) {
            Ok(()) => {}
            // The log is as it was: only this batch fails.
            Err(AppendError::Refused(error)) => return Err(error),
            Err(AppendError::Failed(error)) => return Err(self.stop(error)),
        }
        if self.options.durability == Durability::Sync && !self.sabotaged(super::Sabotage::NoSync) {
            self.log.sync().map_err(|error| self.stop(error))?;
        }
        if self.log.wants_maintenance() {
            self.upkeep.ask(|asked| asked.fill = true);
        }
        Ok(())
    }

    /// Tells the log of the places that were acknowledged since the last frame: they are durable with this one.
    fn tell_moves(&self, committer: &mut Committer, first: Position, durable_through: u64) -> Result<()> {
        let moves = self.cursors.afoot();
        if moves.is_empty() {
            return Ok(());
        }
        committer.moves.begin(Kind::Cursors);
        moves::write(&moves, committer.moves.payload_mut())?;
        match self.log.append(Append { buffer: &mut committer.moves, first, count: 0, durable_through }) {
            // Where they are refused, the tables are told soon.
            Ok(()) | Err(AppendError::Refused(_)) => Ok(()),
            Err(AppendError::Failed(error)) => Err(self.stop(error)),
        }
    }

    /// Takes no more writes: what the log holds is not known any more. Reads go on.
    pub fn stop(&self, error: Error) -> Error {
        let reason = format!(
            "a write failed ({error}); what was acknowledged is safe; close and open it again to go on"
        );
        for pending in self.queue.close(Error::stopped(reason)) {
            pending.answer(Err(error.clone()));
        }
        error
    }

    /// Freezes the active tail when it is full, waiting until the one before it is in the tables.
    fn make_room(&self) -> Result<()> {
        let (events, bytes) = self.applied.tails().active.size();
        if events < self.options.tail_events && bytes < self.options.tail_bytes {
            return Ok(());
        }
        if self.sabotaged(super::Sabotage::EarlyReuse) && self.applied.tails().frozen.is_some() {
            return self.log.turn(Position(self.applied.head())).map(drop);
        }
        self.upkeep.wait_for_checkpoint(|| self.applied.tails().frozen.is_none())?;
        self.freeze()
    }

    /// Makes the active tail the frozen one: the log goes on where nothing is that is still needed.
    pub fn freeze(&self) -> Result<()> {
        // What the log writes over may be all that is left of it.
        self.name.check()?;
        if self.options.durability != Durability::Sync {
            self.sync_log()?;
        }
        // The tail before is in the tables, and the log was told so: there is nothing to wait for.
        if !self.log.turn(Position(self.applied.head()))? {
            return Err(Error::stopped("the journal's other segment is still needed"));
        }
        self.applied.freeze();
        self.upkeep.ask(|asked| asked.checkpoint = true);
        Ok(())
    }

    /// Makes durable what was appended so far, and lets subscriptions see it.
    pub fn sync_log(&self) -> Result<()> {
        let head = self.applied.head();
        if self.watch.synced() < head {
            self.log.sync().map_err(|error| self.stop(error))?;
            self.watch.set_synced(head);
        }
        Ok(())
    }

    /// Shows events that are durable, and tells those who wait for them.
    fn apply(&self, events: Vec<Staged>, catalog: Arc<Catalog>) {
        let (before, known) = self.applied.head_and_catalog();
        let head = before + events.len() as u64;
        let changed = self.retire(&known, &catalog, head);
        self.applied.apply(events, catalog);
        if changed {
            self.upkeep.ask(|asked| asked.index = true);
        }
        if self.options.durability == Durability::Sync {
            self.watch.set_synced(head);
        } else {
            self.upkeep.ask(|asked| asked.sync = true);
        }
    }
}

/// A leader at work. One that unwinds fails its batch and closes the queue, so that nobody waits for ever.
struct Duty<'s> {
    shared: &'s Shared,
    batch: Vec<Arc<Pending>>,
    done: bool,
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let error =
            Error::stopped("a commit was interrupted by a panic; close and open the database again to go on");
        let rest = self.shared.queue.close(error.clone());
        for pending in self.batch.iter().chain(&rest) {
            pending.answer(Err(error.clone()));
        }
        // Whoever closes the database waits until nobody leads.
        self.shared.queue.hand_over();
    }
}

impl Queue {
    /// Leads until nobody waits. For a thread that closes the database, or that leads for tickets.
    pub fn drain(&self, shared: &Arc<Shared>) {
        while self.lead_if_idle() {
            shared.lead();
        }
    }
}
