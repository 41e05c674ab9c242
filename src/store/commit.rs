//! The commit: a leader takes what is queued, stages it in order, makes it durable in one frame, and shows it.
//!
//! All answers of a batch, rejections and repeated keys included, wait for its sync.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::catalog::Catalog;
use super::group::{Group, Outcome, Prepared};
use super::journal::{AppendError, FrameBuffer, Journal, Kind, Made, Salt};
use super::moves;
use super::queue::{Next, Pending, Queue, Turn};
use super::stage::Batch;
use super::tail::{Tail, Tails};
use super::{Durability, Shared};
use crate::error::{Error, Result};
use crate::event::id::IdSource;
use crate::time::Timestamp;

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Committer {
    /// The salt of this session's journal, from before there is one.
    salt: Salt,
    /// What a try to create it made and could not remove again.
    made: Vec<Made>,
    pub(super) frame: FrameBuffer,
    /// That of the moves of cursors.
    moves: FrameBuffer,
    pub(super) ids: IdSource,
    /// When the newest event was recorded.
    recorded: Option<Timestamp>,
    /// When all names were looked at last.
    looked: Option<Instant>,
    /// The first write after opening must not share its millisecond with the last one before.
    reopened: bool,
}

impl Committer {
    pub fn new(salt: Salt, recorded: Option<Timestamp>) -> Committer {
        Committer {
            salt,
            made: Vec::new(),
            frame: FrameBuffer::new(),
            moves: FrameBuffer::new(),
            ids: IdSource::default(),
            recorded,
            looked: None,
            reopened: true,
        }
    }

    /// Has all names looked at before the next frame.
    #[cfg(test)]
    pub fn look_again(&mut self) {
        self.looked = None;
    }

    pub(super) fn salt(&self) -> Salt {
        self.salt
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
    pub fn let_through(&self) {
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
        let mut batch = committer.batch(self.options.clock.now(), self.tails());
        let first = batch.next;
        let salt = committer.salt;
        committer.frame.begin(Kind::Events, salt);
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
        let head = batch.next - 1;
        batch.tails.active.extend(batch.staged);
        let mut recent = super::locked(&self.recent);
        batch.known.into_iter().for_each(|(entity, known)| recent.put(entity, known));
        drop(recent);
        self.publish(head, batch.catalog);
        answers
    }

    /// Writes the staged frame and, unless told to wait, syncs it.
    fn make_durable(self: &Arc<Shared>, committer: &mut Committer, first: u64, count: usize) -> Result<()> {
        let journal = match self.journal.get() {
            Some(journal) => journal,
            None => {
                let journal = self.begin_journal(committer.salt, &mut committer.made)?;
                self.journal.get_or_init(|| journal)
            }
        };
        // Before it is written: what is refused is not to be read back.
        self.check_names(&mut committer.looked)?;
        let synced = self.watch.synced();
        self.tell_moves(journal, committer, first, synced)?;
        let appended = journal.append(&mut committer.frame, first, count as u32, synced);
        match appended {
            Ok(()) => {}
            // The journal is as it was: only what asked for more room than there is fails.
            Err(AppendError::NoSpace(error)) => return Err(error),
            Err(AppendError::Failed(error)) => return Err(self.stop(error)),
        }
        if self.options.durability == Durability::Sync && !self.sabotaged(super::Sabotage::NoSync) {
            journal.sync().map_err(|error| self.stop(error))?;
        }
        if journal.wants_fill() {
            self.upkeep.ask(|asked| asked.fill = true);
        }
        Ok(())
    }

    /// Tells the journal of the places that were acknowledged since the last frame: they are durable with this one.
    fn tell_moves(
        &self,
        journal: &Journal,
        committer: &mut Committer,
        first: u64,
        synced: u64,
    ) -> Result<()> {
        let moves = self.cursors.afoot();
        if moves.is_empty() {
            return Ok(());
        }
        committer.moves.begin(Kind::Cursors, committer.salt);
        moves::write(&moves, committer.moves.payload_mut())?;
        match journal.append(&mut committer.moves, first, 0, synced) {
            // Where there is no room for it, the tables are told soon.
            Ok(()) | Err(AppendError::NoSpace(_)) => Ok(()),
            Err(AppendError::Failed(error)) => Err(self.stop(error)),
        }
    }

    /// Creates the journal of this session: its salt is durable in the tables before its first frame.
    fn begin_journal(&self, salt: Salt, made: &mut Vec<Made>) -> Result<Journal> {
        if self.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        self.check_name()?;
        Journal::clear(&*self.disk, made)?;
        let journal = Journal::create(self.disk.clone(), &self.path, self.id, salt, self.sizes(), made)?;
        let note = || self.cold.write("beginning a journal", |tables| tables.set_meta("journal", &salt.0));
        let Err(error) = note() else { return Ok(journal) };
        // redb takes nothing more after an error of its disk. Opened again, it knows of the journal for sure, or of none.
        let again = self.cold.reopen().and_then(|()| note());
        if again.is_ok() {
            return Ok(journal);
        }
        let unknown =
            self.cold.reopen().and_then(|()| Ok(self.cold.read()?.meta(&self.path)?.journal.is_none()));
        match unknown {
            Ok(true) if journal.remove().is_ok_and(|free| free) => Err(error),
            // Whether the salt is durable is not known: the files stay, empty, and opening again finds out.
            _ => Err(self.stop(error)),
        }
    }

    /// Takes no more writes: what the journal holds is not known any more. Reads go on.
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
        let (events, bytes) = self.tails().active.size();
        if events < self.options.tail_events && bytes < self.options.tail_bytes {
            return Ok(());
        }
        if self.sabotaged(super::Sabotage::EarlyReuse) && self.tails().frozen.is_some() {
            return self.switch().map(drop);
        }
        self.upkeep.wait_for_checkpoint(|| self.tails().frozen.is_none())?;
        self.freeze()
    }

    /// Makes the active tail the frozen one, and the other segment the journal's active one.
    pub fn freeze(&self) -> Result<()> {
        let Some(journal) = self.journal.get() else { return Ok(()) };
        // What the other segment held may be all that is left of it.
        self.check_name()?;
        if self.options.durability != Durability::Sync {
            self.sync_journal(journal)?;
        }
        // The tail before is in the tables, and its segment was released: there is nothing to wait for.
        if !self.switch()? {
            return Err(Error::stopped("the journal's other segment is still needed"));
        }
        let mut tails = self.tails_mut();
        let active = Arc::new(Tail::new(journal.active(), tails.head + 1));
        tails.frozen = Some(std::mem::replace(&mut tails.active, active));
        drop(tails);
        self.upkeep.ask(|asked| asked.checkpoint = true);
        Ok(())
    }

    /// Lets the journal go on in its other segment, if that is free.
    fn switch(&self) -> Result<bool> {
        let Some(journal) = self.journal.get() else { return Ok(false) };
        if self.sabotaged(super::Sabotage::EarlyReuse) {
            journal.release(journal.active().other());
        }
        journal.switch()
    }

    /// Syncs what was appended so far, and lets subscriptions see it.
    pub fn sync_journal(&self, journal: &Journal) -> Result<()> {
        let head = self.tails().head;
        if self.watch.synced() < head {
            journal.sync().map_err(|error| self.stop(error))?;
            self.watch.set_synced(head);
        }
        Ok(())
    }

    fn publish(&self, head: u64, catalog: Arc<Catalog>) {
        let changed = self.retire(&self.tails().catalog, &catalog, head);
        let mut tails = self.tails_mut();
        (tails.head, tails.catalog) = (head, catalog);
        drop(tails);
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
