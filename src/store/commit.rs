//! The commit: a leader takes what is queued, stages it in order, makes it durable in one frame, and shows it.
//!
//! All answers of a batch, rejections and repeated keys included, wait for its sync.
//!
//! The lock of the committer is taken before all others of the store. Within it the leader takes those of the log, of the tables for reads, and for
//! moments those of what is applied, of cursors, of retired indexes and of the queue.

mod catch_up;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::admission::{Admission, AdmissionBatch, Trial, TrialTrace};
use super::append_request::{AppendOutcome, AppendRequest, Prepared};
use super::catalog::Catalog;
use super::committer::Committer;
use super::cursor_moves;
use super::journal::FrameKind;
use super::kernel::Kernel;
use super::log::{AppendError, FrameAppend, LogPlace};
use super::materialize::Materializer;
use super::memtable::Staged;
use super::queue::Pending;
use catch_up::Behind;

use super::chain;
use super::durability::Durability;
use super::fault_injection::FaultInjection;
use super::mutex::locked;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::telemetry::CommitCounts;
use crate::telemetry::span::{self, Span};

/// Who admits, and commits.
#[derive(Debug)]
pub(crate) struct Commits {
    pub(super) kernel: Arc<Kernel>,
    materializer: Arc<Materializer>,
    /// Held by the leader, from the first request of a batch until all of it is applied.
    pub(super) committer: Mutex<Committer>,
}

impl Commits {
    pub fn new(kernel: Arc<Kernel>, materializer: Arc<Materializer>, committer: Committer) -> Commits {
        Commits { kernel, materializer, committer: Mutex::new(committer) }
    }

    pub(super) fn admission(&self) -> Admission<'_> {
        Admission { kernel: &self.kernel }
    }

    /// A batch that nothing is staged in yet.
    fn batch(&self, committer: &Committer) -> AdmissionBatch {
        let now = committer.now(self.kernel.options.clock.now());
        AdmissionBatch::new(self.kernel.applied.memtables(), now, committer.recorded)
    }

    /// What would become of a group, were it committed now. It waits for whoever is committing.
    pub fn try_out(&self, group: AppendRequest) -> Trial {
        let prepared = match Prepared::new(&self.kernel, group) {
            Ok(prepared) if prepared.is_empty() => {
                let outcome = Ok(AppendOutcome::default());
                return Trial { told: Vec::new(), outcome };
            }
            Ok(prepared) => prepared,
            Err(error) => return Trial { told: Vec::new(), outcome: Err(error) },
        };
        let committer = locked(&self.committer);
        let mut batch = self.batch(&committer);
        let mut scratch = Committer::new(batch.recorded, [0; 32]);
        drop(committer);
        scratch.frame.begin(FrameKind::Events);
        batch.teller = TrialTrace::begun();
        let outcome = self.admission().stage(&mut scratch, &mut batch, prepared);
        Trial { told: batch.teller.told(), outcome }
    }

    /// Leads until nobody waits. For a thread that closes the database, or that leads for tickets.
    pub fn drain(&self) {
        while self.kernel.queue.lead_if_idle() {
            self.lead();
        }
    }

    /// Leaves out of the catalog what newer definitions have made useless. Only whoever completes indexes does.
    pub(super) fn prune(&self) -> Result<()> {
        let useless = self.kernel.applied.catalog().useless();
        if useless.is_empty() {
            return Ok(());
        }
        if useless.complete().next().is_some() {
            // A definition that a crash takes away has replaced nothing.
            self.kernel.sync_log()?;
            self.kernel.tables.write("giving up what is replaced", |tables| {
                useless.complete().try_for_each(|definition| tables.set_invalid(definition))
            })?;
        }
        // A leader brings the catalog that it began with.
        let _committer = locked(&self.committer);
        let before = self.kernel.applied.memtables();
        let pruned = Arc::new(before.catalog.pruned(&useless));
        self.materializer.retire(&before.catalog, &pruned, before.head);
        self.kernel.applied.replace_catalog(pruned);
        self.kernel.log_progress.set_swapped();
        Ok(())
    }

    /// Appends a group and waits until it is durable.
    pub fn append(&self, group: AppendRequest) -> Result<AppendOutcome> {
        let prepared = Prepared::new(&self.kernel, group)?;
        if prepared.is_empty() {
            return Ok(AppendOutcome::default());
        }
        self.commit(prepared)
    }

    /// Commits a group and waits for it; leads if nobody does.
    pub fn commit(&self, request: Prepared) -> Result<AppendOutcome> {
        self.kernel.queue.commit(&Pending::new(request), || self.lead())
    }

    /// Waits for the answer to a request, leading when asked to.
    pub fn wait(&self, pending: &Pending) -> Result<AppendOutcome> {
        self.kernel.queue.answer(pending, || self.lead())
    }

    /// Waits until those are through who are committing now. What is recorded from then on is recorded later.
    pub fn commit_barrier(&self) {
        drop(locked(&self.committer));
    }

    /// Commits one batch, hands leadership on, then answers.
    pub fn lead(&self) {
        let Kernel { queue, options, background, counts, .. } = &*self.kernel;
        let find = || background.ask(|asked| asked.lead = true);
        let commit = |batch: &[Arc<Pending>]| {
            let answers = self.commit_batch(batch);
            count_answers(&counts.commits, &answers);
            answers
        };
        queue.lead(options.frame_bytes, commit, find);
    }

    fn commit_batch(&self, pending: &[Arc<Pending>]) -> Vec<Result<AppendOutcome>> {
        let mut committer = locked(&self.committer);
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
        &self,
        committer: &mut Committer,
        requests: &mut VecDeque<Option<Prepared>>,
    ) -> Vec<Result<AppendOutcome>> {
        let mut most = usize::MAX;
        if self.kernel.log.give_way(self.kernel.applied.head())
            && let Err(error) = self.take_in(committer)
        {
            return vec![Err(error); requests.drain(..).count()];
        }
        loop {
            let answers = Vec::with_capacity(requests.len());
            let mut frame = Framed { most, answers, again: Vec::new() };
            let appended = self.try_frame(committer, requests, &mut frame);
            let Framed { answers, again, .. } = frame;
            match appended {
                Ok(Appended::Yes) => return answers,
                Ok(appended) => {
                    if matches!(appended, Appended::TooLarge) {
                        most = answers.len() / 2;
                    }
                    again.into_iter().rev().for_each(|request| requests.push_front(request))
                }
                // Servers may take less than they say. Who is alone is told so.
                Err(Error::TooLarge { .. }) if answers.len() > 1 && !again.is_empty() => {
                    most = answers.len() / 2;
                    again.into_iter().rev().for_each(|request| requests.push_front(request));
                }
                // Those behind it may be told more, or be small enough.
                Err(theirs @ (Error::Unknown { .. } | Error::TooLarge { .. })) => {
                    return vec![Err(theirs); answers.len()];
                }
                Err(error) => return vec![Err(error); answers.len() + requests.drain(..).count()],
            }
        }
    }

    /// Admits requests into a frame, appends it, and applies it. If others were first, what they appended is applied instead.
    fn try_frame(
        &self,
        committer: &mut Committer,
        requests: &mut VecDeque<Option<Prepared>>,
        Framed { most, answers, again }: &mut Framed,
    ) -> Result<Appended> {
        self.make_room()?;
        let span = span::commit(requests.len());
        let _within = span.enter();
        let ids = committer.ids.clone();
        let mut batch = self.batch(committer);
        let first = batch.next;
        committer.frame.begin(FrameKind::Events);
        let largest = self.kernel.log.most_bytes();
        let full = self.kernel.options.frame_bytes.min(largest / 2);
        while answers.is_empty() || answers.len() < *most && committer.frame.payload().len() < full {
            let Some(request) = requests.pop_front() else { break };
            // Only others can make it necessary to admit it again.
            if self.kernel.log.is_shared() {
                again.push(request.clone());
            }
            answers.push(match request {
                Some(request) => self.admission().stage(committer, &mut batch, request),
                None => Err(Error::stopped("the request was taken before")),
            });
        }
        let appended = match batch.staged.is_empty() {
            // Whoever is alone is told so.
            false if committer.frame.payload().len() > largest && answers.len() > 1 => Ok(Appended::TooLarge),
            // What is given back is in the log, whatever came after it.
            true if answers.iter().all(|answer| matches!(answer, Ok(outcome) if outcome.repeated)) => {
                Ok(Appended::Yes)
            }
            true => self.check_refusals(committer),
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
        let (events, bytes) = (batch.staged.len() as u64, committer.frame.payload().len() as u64);
        let mut recent = locked(&self.kernel.state_caches.recent);
        batch.known.into_iter().for_each(|(entity, known)| recent.put(entity, known));
        drop(recent);
        self.apply(committer, batch.staged, batch.catalog)?;
        count_frame(&self.kernel.counts.commits, &span, (events, bytes), first);
        Ok(Appended::Yes)
    }

    /// Whether the log holds no more than what requests were refused by.
    fn check_refusals(&self, committer: &Committer) -> Result<Appended> {
        if !self.kernel.log.is_shared()
            || self.kernel.options.read_only
            || self.kernel.injects(FaultInjection::NoBarrier)
        {
            return Ok(Appended::Yes);
        }
        Ok(if self.is_at_end(committer)? { Appended::Yes } else { Appended::Behind })
    }

    /// Appends the staged frame to the log and, unless told to wait, syncs it.
    fn make_durable(&self, committer: &mut Committer, first: Position, staged: usize) -> Result<Appended> {
        if self.kernel.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        committer.number += 1;
        let durable_through = self.kernel.log_progress.synced();
        let after = LogPlace { position: first.previous(), chain: committer.chain };
        let number = committer.number;
        self.tell_moves(committer, after, durable_through)?;
        let mut doubt = None;
        loop {
            let (buffer, count) = (&mut committer.frame, staged as u32);
            match self.kernel.log.append(FrameAppend { buffer, after, number, count, durable_through }) {
                Ok(()) => break,
                // The log is as it was: only this batch fails.
                Err(AppendError::Refused(error)) => return Err(error),
                Err(AppendError::Failed(error)) => return Err(self.kernel.stop(error)),
                Err(AppendError::Lost { from, to }) => {
                    let found = format!("nothing from {from} to {to}, which this database has");
                    return Err(self.kernel.stop(Error::corrupt("the log", found)));
                }
                Err(AppendError::Unknown) if self.kernel.injects(FaultInjection::StageInDoubt) => {
                    return Ok(Appended::Behind);
                }
                // Behind may be this very frame, of a try before.
                Err(AppendError::Behind | AppendError::Unknown) => {}
            }
            match self
                .find_out(number, doubt.get_or_insert_with(|| Doubt::new(self.kernel.log.longest_doubt())))?
            {
                Behind::Own => break,
                Behind::Others => return Ok(Appended::Behind),
                Behind::Nothing => {}
            }
        }
        if self.kernel.options.durability == Durability::Sync && !self.kernel.injects(FaultInjection::NoSync)
        {
            let through = first.previous().plus(staged as u64);
            let sync = || self.kernel.log.sync();
            self.kernel.counts.sync(through, sync).map_err(|error| self.kernel.stop(error))?;
        }
        if self.kernel.log.wants_maintenance() {
            self.kernel.background.ask(|asked| asked.fill = true);
        }
        Ok(Appended::Yes)
    }

    /// What became of a frame that the log did not say it took. Nothing: it can be appended again, and only once it is known, what is in it
    /// can be admitted into another.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it took too long. Should the frame get into the log all the same, it is applied as one of another.
    fn find_out(&self, number: u64, doubt: &mut Doubt) -> Result<Behind> {
        let found = self.behind_head(number, Instant::now() + doubt.pause);
        doubt.pause = (doubt.pause * 2).min(LONGEST_PAUSE);
        let late = || Instant::now() >= doubt.until;
        match found {
            Ok(Behind::Nothing) if late() => Err(doubt.unknown()),
            Err(corrupt @ Error::Corrupt { .. }) => Err(corrupt),
            Err(error) => {
                doubt.why = Some(error);
                if late() { Err(doubt.unknown()) } else { Ok(Behind::Nothing) }
            }
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
        let moves = self.kernel.cursors.afoot();
        if moves.is_empty() {
            return Ok(());
        }
        committer.moves.begin(FrameKind::Cursors);
        cursor_moves::write(&moves, committer.moves.payload_mut())?;
        let (buffer, number) = (&mut committer.moves, committer.number);
        match self.kernel.log.append(FrameAppend { buffer, after, number, count: 0, durable_through }) {
            Err(AppendError::Failed(error)) => Err(self.kernel.stop(error)),
            // Where they are not taken, the tables are told soon.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Freezes the active memtable when it is full, waiting until the one before it is in the tables.
    pub(super) fn make_room(&self) -> Result<()> {
        let (events, bytes) = self.kernel.applied.memtables().active.size();
        if events < self.kernel.options.memtable_events && bytes < self.kernel.options.memtable_bytes {
            return Ok(());
        }
        if self.kernel.injects(FaultInjection::EarlyReuse) && self.kernel.applied.memtables().frozen.is_some()
        {
            return self.kernel.log.turn(self.kernel.applied.head()).map(drop);
        }
        self.kernel.background.wait_for_checkpoint(|| self.kernel.applied.memtables().frozen.is_none())?;
        self.freeze()
    }

    /// Makes the active memtable the frozen one: the log goes on where nothing is that is still needed.
    pub fn freeze(&self) -> Result<()> {
        // What the log writes over may be all that is left of it.
        self.kernel.name.check()?;
        if self.kernel.options.durability != Durability::Sync {
            self.kernel.sync_log()?;
        }
        // The memtable before is in the tables, and the log was told so: there is nothing to wait for.
        if !self.kernel.log.turn(self.kernel.applied.head())? {
            return Err(Error::stopped("the journal's other segment is still needed"));
        }
        self.kernel.applied.freeze();
        self.kernel.background.ask(|asked| asked.checkpoint = true);
        Ok(())
    }

    /// Shows events that are durable, and tells those who wait for them.
    pub(super) fn apply(
        &self,
        committer: &mut Committer,
        events: Vec<Staged>,
        catalog: Arc<Catalog>,
    ) -> Result<()> {
        let (before, known) = self.kernel.applied.head_and_catalog();
        let head = before.plus(events.len() as u64);
        // Whoever shares the log compares it. The local one has a checkpoint work it out, in the background.
        if self.kernel.log.is_shared() {
            for (position, event) in before.next().onwards().zip(&events) {
                committer.chain =
                    chain::link(committer.chain, position, event.stored(committer.frame.payload())?)?;
            }
        }
        let changed = self.materializer.retire(&known, &catalog, head);
        for (position, event) in before.next().onwards().zip(&events) {
            self.kernel.keyring.apply(&event.keys, position);
        }
        self.kernel.applied.apply(events, committer.frame.payload(), catalog)?;
        if changed || self.kernel.state_caches.overlays.is_due(head) {
            self.kernel.background.ask(|asked| asked.index = true);
        }
        if self.kernel.options.durability == Durability::Sync {
            self.kernel.log_progress.set_synced(head);
        } else {
            self.kernel.background.ask(|asked| asked.sync = true);
        }
        Ok(())
    }
}

/// Counts a frame that was applied, and tells of it.
fn count_frame(counts: &CommitCounts, span: &Span, (events, bytes): (u64, u64), first: Position) {
    counts.frames.add(1);
    counts.events.add(events);
    counts.bytes.add(bytes);
    span.record("events", events);
    span.record("bytes", bytes);
    span.record("position", first.previous().plus(events).0);
}

/// Counts what became of groups.
fn count_answers(counts: &CommitCounts, answers: &[Result<AppendOutcome>]) {
    for answer in answers {
        let counter = match answer {
            Ok(outcome) if outcome.repeated => &counts.repeated,
            Ok(_) => &counts.recorded,
            Err(error) if error.is_turned_down() => &counts.refused,
            Err(_) => &counts.failed,
        };
        counter.add(1);
        if let Ok(outcome) = answer {
            counts.unfit.add(outcome.warnings.count);
        }
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
    /// The log takes no frame of this size: there are to be fewer requests in it.
    TooLarge,
}

/// The requests of a frame: their answers, and what they were, if they may have to be admitted again.
#[derive(Debug)]
struct Framed {
    /// No more requests are to be in it.
    most: usize,
    answers: Vec<Result<AppendOutcome>>,
    again: Vec<Option<Prepared>>,
}

/// A frame of which nobody knows yet whether the log has it.
#[derive(Debug)]
struct Doubt {
    until: Instant,
    pause: Duration,
    /// Why the log was not read, when that failed last.
    why: Option<Error>,
}

impl Doubt {
    fn new(longest: Duration) -> Doubt {
        Doubt { until: Instant::now() + longest, pause: Duration::from_millis(1), why: None }
    }

    fn unknown(&self) -> Error {
        let why = self.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        Error::unknown(format!("the log did not say in time whether it has recorded this{why}"))
    }
}

#[cfg(test)]
mod tests;
