//! The commit: a leader takes what is queued, stages it in order, makes it durable in one frame, and shows it.
//!
//! All answers of a batch, rejections and repeated keys included, wait for its sync.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::AdmissionBatch;
use super::append_request::{AppendOutcome, AppendRequest, Prepared};
use super::catalog::Catalog;
use super::catch_up::Behind;
use super::cursor_moves;
use super::journal::{FrameBuffer, FrameKind};
use super::log::{AppendError, FrameAppend, LogPlace};
use super::memtable::{Memtables, Staged};
use super::queue::{NextLeader, Pending, Queue, Turn};
use super::{Durability, FaultInjection, Shared, chain};
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
    pub(super) recorded: Option<Timestamp>,
    /// The chain hash at the head, where the log is shared.
    pub(super) chain: [u8; 32],
    /// The number of the last frame.
    number: u64,
    /// The first write after opening must not share its millisecond with the last one before.
    reopened: bool,
}

impl Committer {
    pub fn new(recorded: Option<Timestamp>, chain: [u8; 32]) -> Committer {
        Committer {
            frame: FrameBuffer::new(),
            moves: FrameBuffer::new(),
            ids: IdSource::default(),
            recorded,
            chain,
            number: 0,
            reopened: true,
        }
    }

    /// A batch that nothing is staged in yet.
    pub(super) fn batch(&self, clock: Timestamp, tails: Memtables) -> AdmissionBatch {
        AdmissionBatch::new(tails, self.now(clock), self.recorded)
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
    pub fn append(self: &Arc<Shared>, group: AppendRequest) -> Result<AppendOutcome> {
        let prepared = Prepared::new(self, group)?;
        if prepared.is_empty() {
            return Ok(AppendOutcome { events: Vec::new(), repeated: false });
        }
        self.commit(prepared)
    }

    /// Commits a group and waits for it; leads if nobody does.
    pub fn commit(self: &Arc<Shared>, request: Prepared) -> Result<AppendOutcome> {
        let pending = Pending::new(request);
        if self.queue.push(&pending)? {
            self.lead();
        }
        self.wait(&pending)
    }

    /// Waits for the answer to a request, leading when asked to.
    pub fn wait(self: &Arc<Shared>, pending: &Pending) -> Result<AppendOutcome> {
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
        if self.queue.hand_over() == NextLeader::Background {
            self.background.ask(|asked| asked.lead = true);
        }
        for (pending, answer) in duty.batch.iter().zip(answers) {
            pending.answer(answer);
        }
    }

    fn commit_batch(self: &Arc<Shared>, pending: &[Arc<Pending>]) -> Vec<Result<AppendOutcome>> {
        let mut committer = super::locked(&self.committer);
        let mut requests: VecDeque<_> = pending.iter().map(|pending| pending.take()).collect();
        let mut answers = Vec::with_capacity(requests.len());
        // One frame, nearly always: what verbs make is not known before, and may be more than a frame is to hold.
        while !requests.is_empty() {
            answers.extend(self.commit_frame(&mut committer, &mut requests));
        }
        answers
    }

    /// Commits as many requests as a frame holds, and takes them away. Where others were first, they are admitted again after what
    /// those appended.
    fn commit_frame(
        self: &Arc<Shared>,
        committer: &mut Committer,
        requests: &mut VecDeque<Option<Prepared>>,
    ) -> Vec<Result<AppendOutcome>> {
        loop {
            let answers = Vec::with_capacity(requests.len());
            let mut frame = Framed { answers, again: Vec::new() };
            let appended = self.try_frame(committer, requests, &mut frame);
            let Framed { answers, again } = frame;
            match appended {
                Ok(Appended::Yes) => return answers,
                Ok(Appended::Behind) => {
                    again.into_iter().rev().for_each(|request| requests.push_front(request))
                }
                // Those behind it may be told more.
                Err(unknown @ Error::Unknown { .. }) => return vec![Err(unknown); answers.len()],
                Err(error) => return vec![Err(error); answers.len() + requests.drain(..).count()],
            }
        }
    }

    /// Admits requests into a frame, appends it, and applies it. If others were first, what they appended is applied instead.
    fn try_frame(
        self: &Arc<Shared>,
        committer: &mut Committer,
        requests: &mut VecDeque<Option<Prepared>>,
        Framed { answers, again }: &mut Framed,
    ) -> Result<Appended> {
        self.make_room()?;
        let ids = committer.ids.clone();
        let mut batch = committer.batch(self.options.clock.now(), self.applied.tails());
        let first = batch.next;
        committer.frame.begin(FrameKind::Events);
        while answers.is_empty() || committer.frame.payload().len() < self.options.frame_bytes {
            let Some(request) = requests.pop_front() else { break };
            // Only others can make it necessary to admit it again.
            if self.log.is_shared() {
                again.push(request.clone());
            }
            answers.push(match request {
                Some(request) => self.stage(committer, &mut batch, request),
                None => Err(Error::stopped("the request was taken before")),
            });
        }
        let appended = match batch.staged.is_empty() {
            true => self.check_refusals(),
            false => self.make_durable(committer, first, batch.staged.len()),
        };
        if batch.staged.is_empty() || !matches!(appended, Ok(Appended::Yes)) {
            // Ids go on from the last one in the log.
            committer.ids = ids;
            if matches!(appended, Ok(Appended::Behind)) {
                self.take_in(committer)?;
            }
            return appended;
        }
        committer.recorded = batch.recorded;
        committer.reopened = false;
        let mut recent = super::locked(&self.recent);
        batch.known.into_iter().for_each(|(entity, known)| recent.put(entity, known));
        drop(recent);
        self.apply(committer, batch.staged, batch.catalog)?;
        Ok(Appended::Yes)
    }

    /// Whether the log holds no more than what requests were refused by, or what was given back to them.
    fn check_refusals(&self) -> Result<Appended> {
        if !self.log.is_shared() || self.options.read_only || self.sabotaged(FaultInjection::NoBarrier) {
            return Ok(Appended::Yes);
        }
        Ok(match self.behind_head(None, Instant::now())? {
            Behind::Nothing => Appended::Yes,
            Behind::Own | Behind::Others => Appended::Behind,
        })
    }

    /// Appends the staged frame to the log and, unless told to wait, syncs it.
    fn make_durable(
        self: &Arc<Shared>,
        committer: &mut Committer,
        first: Position,
        count: usize,
    ) -> Result<Appended> {
        if self.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        committer.number += 1;
        let durable_through = self.watch.synced();
        let after = LogPlace { position: first.previous(), chain: committer.chain };
        let number = committer.number;
        self.tell_moves(committer, after, durable_through)?;
        let mut doubt = None;
        loop {
            let (buffer, count) = (&mut committer.frame, count as u32);
            match self.log.append(FrameAppend { buffer, after, number, count, durable_through }) {
                Ok(()) => break,
                // The log is as it was: only this batch fails.
                Err(AppendError::Refused(error)) => return Err(error),
                Err(AppendError::Failed(error)) => return Err(self.stop(error)),
                Err(AppendError::Lost { from, to }) => {
                    let found = format!("nothing from {from} to {to}, which this database has");
                    return Err(self.stop(Error::corrupt("the log", found)));
                }
                Err(AppendError::Unknown) if self.sabotaged(FaultInjection::StageInDoubt) => {
                    return Ok(Appended::Behind);
                }
                // Behind may be this very frame, of a try before.
                Err(AppendError::Behind | AppendError::Unknown) => {}
            }
            match self.find_out(number, doubt.get_or_insert_with(|| Doubt::new(self.log.longest_doubt())))? {
                Behind::Own => break,
                Behind::Others => return Ok(Appended::Behind),
                Behind::Nothing => {}
            }
        }
        if self.options.durability == Durability::Sync && !self.sabotaged(FaultInjection::NoSync) {
            self.log.sync().map_err(|error| self.stop(error))?;
        }
        if self.log.wants_maintenance() {
            self.background.ask(|asked| asked.fill = true);
        }
        Ok(Appended::Yes)
    }

    /// What became of a frame that the log did not say it took. Nothing: it can be appended again, and only once it is known, what is in it
    /// can be admitted into another.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it took too long. Should the frame get into the log all the same, it is applied as one of another.
    fn find_out(&self, number: u64, doubt: &mut Doubt) -> Result<Behind> {
        let found = self.behind_head(Some(number), Instant::now() + doubt.pause);
        doubt.pause = (doubt.pause * 2).min(LONGEST_PAUSE);
        let late = || Instant::now() >= doubt.until;
        match found {
            Ok(Behind::Nothing) if late() => {
                Err(Error::unknown("the log did not say in time whether it has recorded this"))
            }
            Err(corrupt @ Error::Corrupt { .. }) => Err(corrupt),
            Err(error) if late() => {
                Err(Error::unknown(format!("the log did not say whether it has recorded this ({error})")))
            }
            Err(_) => Ok(Behind::Nothing),
            found => found,
        }
    }

    /// Tells the log of the places that were acknowledged since the last frame: they are durable with this one.
    fn tell_moves(
        &self,
        committer: &mut Committer,
        after: LogPlace,
        durable_through: Position,
    ) -> Result<()> {
        let moves = self.cursors.afoot();
        if moves.is_empty() {
            return Ok(());
        }
        committer.moves.begin(FrameKind::Cursors);
        cursor_moves::write(&moves, committer.moves.payload_mut())?;
        let (buffer, number) = (&mut committer.moves, committer.number);
        match self.log.append(FrameAppend { buffer, after, number, count: 0, durable_through }) {
            Err(AppendError::Failed(error)) => Err(self.stop(error)),
            // Where they are not taken, the tables are told soon.
            Ok(()) | Err(_) => Ok(()),
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
    pub(super) fn make_room(&self) -> Result<()> {
        let (events, bytes) = self.applied.tails().active.size();
        if events < self.options.tail_events && bytes < self.options.tail_bytes {
            return Ok(());
        }
        if self.sabotaged(FaultInjection::EarlyReuse) && self.applied.tails().frozen.is_some() {
            return self.log.turn(self.applied.head()).map(drop);
        }
        self.background.wait_for_checkpoint(|| self.applied.tails().frozen.is_none())?;
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
        if !self.log.turn(self.applied.head())? {
            return Err(Error::stopped("the journal's other segment is still needed"));
        }
        self.applied.freeze();
        self.background.ask(|asked| asked.checkpoint = true);
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
    pub(super) fn apply(
        &self,
        committer: &mut Committer,
        events: Vec<Staged>,
        catalog: Arc<Catalog>,
    ) -> Result<()> {
        let (before, known) = self.applied.head_and_catalog();
        let head = before.plus(events.len() as u64);
        // Whoever shares the log compares it. The local one has a checkpoint work it out, in the background.
        if self.log.is_shared() {
            for (position, event) in before.next().onwards().zip(&events) {
                committer.chain = chain::link(committer.chain, position, &event.bytes)?;
            }
        }
        let changed = self.retire(&known, &catalog, head);
        self.applied.apply(events, catalog);
        if changed {
            self.background.ask(|asked| asked.index = true);
        }
        if self.options.durability == Durability::Sync {
            self.watch.set_synced(head);
        } else {
            self.background.ask(|asked| asked.sync = true);
        }
        Ok(())
    }
}

/// The longest pause before a frame in doubt is appended again.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What became of a frame.
#[derive(Debug)]
enum Appended {
    Yes,
    /// Others were first.
    Behind,
}

/// The requests of a frame: their answers, and what they were, if they may have to be admitted again.
#[derive(Debug)]
struct Framed {
    answers: Vec<Result<AppendOutcome>>,
    again: Vec<Option<Prepared>>,
}

/// A frame of which nobody knows yet whether the log has it.
#[derive(Debug)]
struct Doubt {
    until: Instant,
    pause: Duration,
}

impl Doubt {
    fn new(longest: Duration) -> Doubt {
        Doubt { until: Instant::now() + longest, pause: Duration::from_millis(1) }
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
