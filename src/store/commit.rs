//! The commit: a leader takes what is queued, checks it in order, makes it durable in one frame, and shows it.
//!
//! Each request is checked against the committed and the staged state, in the order of the queue; one that fails is rejected
//! alone and leaves no trace in the frame. The order of checks is: key, ids, guards. All answers of a batch,
//! rejections and repeated keys included, wait for its sync.

use std::collections::HashMap;
use std::sync::Arc;

use super::group::{ANY_CONTENT, Keyed, Outcome, Prepared, other_content};
use super::journal::{self, AppendError, Found, FrameBuffer, Journal, Kind, Remnant, Salt};
use super::queue::{Next, Pending, Queue, Turn};
use super::snapshot::View;
use super::tail::{Staged, Tail, Tails};
use super::term::Term;
use super::{Durability, Shared};
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::codec::{self, Assigned};
use crate::event::id::IdSource;
use crate::event::{EventId, Expect, NewEvent, Seal};
use crate::time::Timestamp;

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Committer {
    /// The salt of this session's journal, from before there is one.
    salt: Salt,
    frame: FrameBuffer,
    ids: IdSource,
    /// When the newest event was recorded.
    recorded: Option<Timestamp>,
    /// The first write after opening must not share its millisecond with the last one before.
    reopened: bool,
}

impl Committer {
    pub fn new(salt: Salt, recorded: Option<Timestamp>) -> Committer {
        Committer { salt, frame: FrameBuffer::new(), ids: IdSource::default(), recorded, reopened: true }
    }

    /// The instant of a commit: the clock's, to the microsecond, but never before the last.
    fn now(&mut self, clock: Timestamp) -> Timestamp {
        let clock = clock.to_micros();
        let Some(last) = self.recorded else { return clock };
        if self.reopened && clock.as_millis() <= last.as_millis() {
            // Ids of this session begin at a random place: they grow past the last session's only in a later millisecond.
            return Timestamp::from_millis(last.as_millis() + 1);
        }
        clock.max(last)
    }
}

/// What a batch has staged so far.
struct Batch {
    tails: Tails,
    /// The position after the last staged.
    next: u64,
    staged: Vec<Staged>,
    /// How many events an entity has, and the last of them.
    entities: HashMap<Term, (u64, u64)>,
    ids: HashMap<Term, u64>,
    keys: HashMap<Term, (u64, Seal)>,
    /// The instant of this commit.
    now: Timestamp,
    /// When the newest event, staged or not, was recorded.
    recorded: Option<Timestamp>,
}

impl Batch {
    /// When the next event is recorded: now, or, restored, when it was before.
    fn instant(&self, restored: Option<Timestamp>) -> Result<Timestamp> {
        match (restored, self.recorded) {
            (Some(restored), Some(last)) if restored < last => {
                Err(Error::invalid("recorded", format!("an instant not before {last}"), restored.to_string()))
            }
            (Some(restored), _) => Ok(restored),
            (None, last) => Ok(last.map_or(self.now, |last| last.max(self.now))),
        }
    }
}

impl Shared {
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

    fn commit_batch(self: &Arc<Shared>, batch: &[Arc<Pending>]) -> Vec<Result<Outcome>> {
        let mut committer = super::locked(&self.committer);
        let requests: Vec<_> = batch.iter().map(|pending| pending.take()).collect();
        let all = |error: Error| batch.iter().map(|_| Err(error.clone())).collect();
        if let Err(error) = self.make_room() {
            return all(error);
        }
        let now = committer.now(self.options.clock.now());
        let tails = self.tails();
        let first = tails.head + 1;
        let mut stage = Batch {
            next: first,
            tails,
            staged: Vec::new(),
            entities: HashMap::new(),
            ids: HashMap::new(),
            keys: HashMap::new(),
            now,
            recorded: committer.recorded,
        };
        let salt = committer.salt;
        committer.frame.begin(Kind::Events, salt);
        let answers: Vec<_> = requests
            .into_iter()
            .map(|request| match request {
                Some(request) => self.stage(&mut committer, &mut stage, request),
                None => Err(Error::stopped("the request was taken before")),
            })
            .collect();
        if stage.staged.is_empty() {
            return answers;
        }
        match self.make_durable(&mut committer, first, stage.staged.len()) {
            Ok(()) => {}
            Err(error) => return all(error),
        }
        committer.recorded = stage.recorded;
        committer.reopened = false;
        let head = stage.next - 1;
        stage.tails.active.extend(stage.staged);
        self.publish(head);
        answers
    }

    /// Stages one request behind those before it, or takes back what it had staged.
    fn stage(
        self: &Arc<Shared>,
        committer: &mut Committer,
        batch: &mut Batch,
        mut request: Prepared,
    ) -> Result<Outcome> {
        if request.base < batch.tails.base() {
            request.look_up(self)?;
        }
        if let Some(outcome) = self.repeated(batch, &request)? {
            return Ok(outcome);
        }
        let mark = (batch.next, committer.frame.payload_mut().len(), batch.recorded);
        let mut undo = Vec::new();
        let outcome = self.stage_events(committer, batch, request, &mut undo);
        if outcome.is_err() {
            batch.staged.truncate(batch.staged.len() - (batch.next - mark.0) as usize);
            committer.frame.payload_mut().truncate(mark.1);
            (batch.next, batch.recorded) = (mark.0, mark.2);
            for step in undo.into_iter().rev() {
                match step {
                    Undo::Entity(term, Some(before)) => drop(batch.entities.insert(term, before)),
                    Undo::Entity(term, None) => drop(batch.entities.remove(&term)),
                    Undo::Id(term) => drop(batch.ids.remove(&term)),
                    Undo::Key(term) => drop(batch.keys.remove(&term)),
                }
            }
        }
        outcome
    }

    /// The first outcome of a group whose keys are known.
    fn repeated(self: &Arc<Shared>, batch: &Batch, request: &Prepared) -> Result<Option<Outcome>> {
        let mut events = Vec::new();
        let mut unknown = None;
        let keys: Vec<_> = request.keys.iter().filter(|key| !key.own).collect();
        for key in &keys {
            match self.first_use(batch, key)? {
                None => unknown = Some(key),
                Some((position, seal)) if seal == key.seal || seal.content == ANY_CONTENT => {
                    for position in position..position + u64::from(seal.count) {
                        events.push((position, self.stored(batch, position)?));
                    }
                }
                Some((position, _)) => {
                    let first = codec::decode(Position(position), self.stored(batch, position)?)?;
                    return Err(other_content(key, position, &first));
                }
            }
        }
        match unknown {
            None if keys.is_empty() => Ok(None),
            None => Ok(Some(Outcome { events, repeated: true })),
            Some(_) if events.is_empty() => Ok(None),
            Some(key) => {
                let what = format!("a group of {} keys", keys.len());
                Err(Error::refused(what, "all of its keys known, or none", format!("'{}' is new", key.key)))
            }
        }
    }

    fn first_use(&self, batch: &Batch, key: &Keyed) -> Result<Option<(u64, Seal)>> {
        if let Some(staged) = batch.keys.get(&key.term) {
            return Ok(Some(*staged));
        }
        let known = key.known.or_else(|| batch.tails.list(&key.term, 1, u64::MAX).first().copied());
        let Some(position) = known else { return Ok(None) };
        let event = codec::decode(Position(position), self.stored(batch, position)?)?;
        let seal = event
            .seal
            .ok_or_else(|| Error::corrupt(format!("the event at #{position}"), "a key without its seal"))?;
        Ok(Some((position, seal)))
    }

    /// The bytes of an event that is staged or committed.
    fn stored(&self, batch: &Batch, position: u64) -> Result<Arc<[u8]>> {
        let first = batch.next - batch.staged.len() as u64;
        if position >= first {
            let staged = batch.staged.get((position - first) as usize);
            return staged
                .map(|staged| staged.bytes.clone())
                .ok_or_else(|| Error::corrupt("the batch", "a position beyond it"));
        }
        let bytes = match batch.tails.get(position) {
            Some(bytes) => Some(bytes),
            None => View::read(self, u64::MAX, |view| view.event(position))?,
        };
        bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at #{position}")))
    }

    fn stage_events(
        self: &Arc<Shared>,
        committer: &mut Committer,
        batch: &mut Batch,
        request: Prepared,
        undo: &mut Vec<Undo>,
    ) -> Result<Outcome> {
        let mut events = Vec::with_capacity(request.events.len());
        let mut keys = request.keys.into_iter().peekable();
        for (at, mut event) in request.events.into_iter().enumerate() {
            let key = keys.next_if(|key| key.first == at);
            if let Some(key) = key.as_ref().filter(|key| key.own)
                && self.first_use(batch, key)?.is_some()
            {
                continue;
            }
            if let Some(term) = event.id_term() {
                let known = batch.ids.get(term).copied().or(event.known);
                let known = known.or_else(|| batch.tails.list(term, 1, u64::MAX).first().copied());
                let known = match (known, &event.new.id) {
                    (None, Some(id)) => self.appended_since(batch, id, request.head)?,
                    _ => known,
                };
                if let Some(position) = known {
                    if request.import {
                        continue;
                    }
                    let id = event.new.id.as_ref().map(ToString::to_string).unwrap_or_default();
                    let what = format!("the id {}", crate::error::shorten(&id));
                    return Err(Error::refused(
                        what,
                        "an id that is not in the log",
                        format!("it is #{position}"),
                    ));
                }
            }
            let position = batch.next;
            check_place(&event.new, position)?;
            let mut version = 0;
            let entity = event.entity_term().cloned();
            if let Some(term) = &entity {
                let before = batch.entities.get(term).copied();
                let (count, last) = before.unwrap_or_else(|| batch.tails.total(term).unwrap_or(event.cold));
                for expect in &event.new.expect {
                    self.check(batch, expect, &event.target, count, last)?;
                }
                version = count + 1;
                if let Some(expected) = event.new.versioned.filter(|expected| *expected != version) {
                    let what = format!("the version of #{position}");
                    return Err(Error::invalid(what, version.to_string(), expected.to_string()));
                }
                batch.entities.insert(term.clone(), (version, position));
                undo.push(Undo::Entity(term.clone(), before));
            }
            let recorded = batch.instant(event.new.recorded.filter(|_| request.restore))?;
            let id = match (&event.new.id, &self.options.ids) {
                (Some(id), _) => id.clone(),
                (None, Some(ids)) => ids()?,
                (None, None) => committer.ids.next(recorded)?,
            };
            // An id needs an entry of its own exactly where its own time does not lead to it.
            let tells = id.tells_its_place(recorded);
            if let Some(term) = event.id_term().cloned() {
                if tells {
                    event.terms.retain(|other| *other != term);
                }
                batch.ids.insert(term.clone(), position);
                undo.push(Undo::Id(term));
            } else if !tells {
                event.terms.push(Term::id(&id)?);
            }
            let seal = key.as_ref().map(|key| key.seal);
            if let Some(key) = key {
                batch.keys.insert(key.term.clone(), (position, key.seal));
                undo.push(Undo::Key(key.term));
            }
            let assigned =
                Assigned { position: Position(position), version: Version(version), id: &id, recorded, seal };
            let payload = committer.frame.payload_mut();
            let start = payload.len();
            payload.extend_from_slice(&[0; 4]);
            codec::encode(payload, &event.new, &event.kind, event.target.as_ref(), &assigned);
            let length = payload.len() - start - 4;
            payload[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
            let bytes: Arc<[u8]> = Arc::from(&payload[start + 4..]);
            events.push((position, bytes.clone()));
            batch.staged.push(Staged { bytes, terms: event.terms, version });
            batch.next += 1;
            batch.recorded = Some(recorded);
        }
        Ok(Outcome { events, repeated: false })
    }

    /// Where an id went after the request was looked up, if it is one that its own time leads to: no list tells of those.
    fn appended_since(&self, batch: &Batch, id: &EventId, looked_up: u64) -> Result<Option<u64>> {
        let Some(millis) = id.millis() else { return Ok(None) };
        for position in (looked_up + 1..=batch.tails.head).rev() {
            let event = codec::decode(Position(position), self.stored(batch, position)?)?;
            if event.id == *id {
                return Ok(Some(position));
            }
            // `recorded` never decreases, and the database's own ids grow: before this there is none that fits.
            let earlier = event.recorded.as_millis() < millis;
            if earlier || (event.id.tells_its_place(event.recorded) && event.id < *id) {
                break;
            }
        }
        Ok(None)
    }

    fn check(
        &self,
        batch: &Batch,
        expect: &Expect,
        target: &Option<Entity>,
        count: u64,
        last: u64,
    ) -> Result<()> {
        let newest = || -> Result<_> { codec::decode(Position(last), self.stored(batch, last)?) };
        let (holds, expected) = match expect {
            Expect::New => (count == 0, "no event yet".to_owned()),
            Expect::Version(version) => (count == version.0, version.to_string()),
            Expect::Exists => (count > 0 && newest()?.kind.last() != "deleted", "a state".to_owned()),
        };
        if holds {
            return Ok(());
        }
        let what = target.as_ref().map_or_else(String::new, ToString::to_string);
        let found = if count == 0 {
            "no event yet".to_owned()
        } else {
            format!("{}, last {} at #{last}", Version(count), newest()?.kind)
        };
        Err(Error::refused(what, expected, found))
    }

    /// Writes the staged frame and, unless told to wait, syncs it.
    fn make_durable(self: &Arc<Shared>, committer: &mut Committer, first: u64, count: usize) -> Result<()> {
        let journal = match self.journal.get() {
            Some(journal) => journal,
            None => {
                let journal = self.begin_journal(committer.salt)?;
                self.journal.get_or_init(|| journal)
            }
        };
        let synced = self.watch.synced();
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

    /// Creates the journal of this session: its salt is durable in the tables before its first frame.
    fn begin_journal(&self, salt: Salt) -> Result<Journal> {
        if self.options.read_only {
            return Err(Error::stopped("the database was opened for reading only"));
        }
        self.clear_the_way(salt)?;
        let journal = Journal::create(self.disk.clone(), &self.path, self.id, salt, self.sizes())?;
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
            Ok(true) if journal.remove().is_ok() => Err(error),
            // Whether the salt is durable is not known: the files stay, empty, and opening again finds out.
            _ => Err(self.stop(error)),
        }
    }

    /// Removes what an earlier try of this session to begin its journal could not take back.
    fn clear_the_way(&self, salt: Salt) -> Result<()> {
        let found = journal::find(&*self.disk, &self.path)?;
        let own = |found: &Found| match &found.remnant {
            Remnant::Blank => true,
            Remnant::Segment(header) => (header.id, header.salt) == (self.id, salt),
            Remnant::Foreign(_) => false,
        };
        if found.is_empty() || !found.iter().all(own) {
            return Ok(());
        }
        journal::remove(&*self.disk, &self.path)
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

    fn publish(&self, head: u64) {
        self.tails_mut().head = head;
        if self.options.durability == Durability::Sync {
            self.watch.set_synced(head);
        } else {
            self.upkeep.ask(|asked| asked.sync = true);
        }
    }
}

/// Whether an event may land at this position, after what is said of it.
fn check_place(new: &NewEvent, position: u64) -> Result<()> {
    if let Some(cause) = new.cause_position().filter(|cause| cause.0 == 0 || cause.0 >= position) {
        return Err(Error::invalid("the cause", format!("an event before #{position}"), cause.to_string()));
    }
    match new.placed {
        Some(placed) if placed.0 != position => {
            let what = format!("the event that was {placed}");
            let expected = "that position again, since it is restored or names its cause by position (use --restore \
                            with a whole export and a new database)";
            Err(Error::invalid(what, expected, format!("#{position}")))
        }
        _ => Ok(()),
    }
}

enum Undo {
    Entity(Term, Option<(u64, u64)>),
    Id(Term),
    Key(Term),
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
