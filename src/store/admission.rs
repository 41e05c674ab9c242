//! Staging: each request of a batch, checked in the order of the queue against the committed and the staged state.
//!
//! It has no lock of its own: the leader that calls it holds that of the committer, and within it states that verbs looked at are taken and put
//! back, and the tables are read.
//!
//! One that fails is rejected alone, and leaves no trace in the frame. The order of checks is: key, ids, guards.

mod commit_context;
mod dry_run;
mod event;
mod existence;
mod guard;
mod identity;
mod private;
mod schema;
mod standing;
mod vector;

use private::GroupKeys;

pub(super) use dry_run::TrialTrace;
pub(crate) use dry_run::{AdmissionStep, Trial};

use std::collections::HashMap;
use std::sync::Arc;

use super::append_request::{
    ANY_CONTENT, AppendOutcome, KeyClaim, Prepared, PreparedEvent, PreparedPerform, check_size,
};
use super::catalog::Catalog;
use super::committer::Committer;
use super::event_schema::SchemaWarnings;
use super::index::term::Term;
use super::kernel::Kernel;
use super::memtable::{ListEnd, Memtables, Staged};
use super::private_values::PartWriter;
use super::read_txn::{ReadTxn, find_own_id};
use super::state::state_cache::CachedState;
use super::verb::is_forgotten;
use crate::entity::{Entity, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::codec;
use crate::event::private::KeyNumber;
use crate::event::{EventId, KeyDigest, NewEvent};
use crate::time::Timestamp;

/// What a batch has staged so far.
#[derive(Debug)]
pub(super) struct AdmissionBatch {
    pub memtables: Memtables,
    /// The position after the last staged.
    pub next: Position,
    pub staged: Vec<Staged>,
    /// The indexes as of the last staged.
    pub catalog: Arc<Catalog>,
    /// How many events an entity has, and the last of them.
    entities: HashMap<Term, ListEnd>,
    ids: HashMap<Term, Position>,
    keys: HashMap<Term, (Position, KeyDigest)>,
    /// Which keys subjects get, and who is forgotten: as far as this batch says so.
    subjects: HashMap<Entity, Option<KeyNumber>>,
    /// Where the newest event is that closes an entity, once that was asked.
    newest_closing: Option<Position>,
    parts: PartWriter,
    /// The keys of the group that is staged, as they were before this batch.
    group_keys: GroupKeys,
    /// What entities are, as far as verbs looked at them.
    pub known: HashMap<Entity, CachedState>,
    /// The instant of this commit.
    now: Timestamp,
    /// When the newest event, staged or not, was recorded.
    pub recorded: Option<Timestamp>,
    /// Who is told how it was admitted.
    pub(super) teller: TrialTrace,
}

impl AdmissionBatch {
    pub fn new(memtables: Memtables, now: Timestamp, recorded: Option<Timestamp>) -> AdmissionBatch {
        AdmissionBatch {
            next: memtables.head.next(),
            catalog: memtables.catalog.clone(),
            memtables,
            staged: Vec::new(),
            entities: HashMap::new(),
            ids: HashMap::new(),
            keys: HashMap::new(),
            subjects: HashMap::new(),
            newest_closing: None,
            parts: PartWriter::default(),
            group_keys: GroupKeys::default(),
            known: HashMap::new(),
            now,
            recorded,
            teller: TrialTrace::default(),
        }
    }

    /// The position of the first that is staged; the next one, where none is.
    pub fn first_staged(&self) -> Position {
        self.next.minus(self.staged.len() as u64)
    }

    /// The bytes of an event that is staged; none of one that is committed.
    fn staged_at(&self, position: Position) -> Result<Option<Arc<[u8]>>> {
        let Some(at) = position.index_from(self.first_staged()) else { return Ok(None) };
        let staged = self.staged.get(at).map(|staged| staged.bytes.clone());
        staged.map(Some).ok_or_else(|| Error::corrupt("the batch", "a position beyond it"))
    }

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

/// A request on its way into a batch: what was staged of it, and how to take that back.
struct Staging {
    events: Vec<(Position, Arc<[u8]>)>,
    warnings: SchemaWarnings,
    undo: Vec<Undo>,
    // How the batch was before.
    next: Position,
    payload: usize,
    recorded: Option<Timestamp>,
    catalog: Arc<Catalog>,
}

enum Undo {
    Entity(Term, Option<ListEnd>),
    Id(Term),
    Key(Term),
    Subject(Entity, Option<Option<KeyNumber>>),
}

impl Staging {
    fn begin(committer: &mut Committer, batch: &AdmissionBatch) -> Staging {
        Staging {
            events: Vec::new(),
            warnings: SchemaWarnings::default(),
            undo: Vec::new(),
            next: batch.next,
            payload: committer.frame.payload_mut().len(),
            recorded: batch.recorded,
            catalog: batch.catalog.clone(),
        }
    }

    /// Leaves no trace of it in the batch.
    fn take_back(self, committer: &mut Committer, batch: &mut AdmissionBatch) {
        batch.staged.truncate(batch.staged.len() - batch.next.since(self.next) as usize);
        committer.frame.payload_mut().truncate(self.payload);
        (batch.next, batch.recorded, batch.catalog) = (self.next, self.recorded, self.catalog);
        batch.known.retain(|_, known| known.through < self.next);
        for step in self.undo.into_iter().rev() {
            match step {
                Undo::Entity(term, Some(before)) => drop(batch.entities.insert(term, before)),
                Undo::Entity(term, None) => drop(batch.entities.remove(&term)),
                Undo::Id(term) => drop(batch.ids.remove(&term)),
                Undo::Key(term) => drop(batch.keys.remove(&term)),
                Undo::Subject(subject, Some(before)) => drop(batch.subjects.insert(subject, before)),
                Undo::Subject(subject, None) => drop(batch.subjects.remove(&subject)),
            }
        }
    }
}

/// How the events of a request are staged.
#[derive(Clone, Copy)]
struct How {
    import: bool,
    restore: bool,
    /// What the head was when they were looked up.
    head: Position,
}

/// What admits: the third of an append, before the log has it. It touches no disk but to read.
#[derive(Clone, Copy)]
pub(super) struct Admission<'k> {
    pub kernel: &'k Arc<Kernel>,
}

impl Admission<'_> {
    /// Stages one request behind those before it, or takes back what it had staged.
    pub(super) fn stage(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        mut request: Prepared,
    ) -> Result<AppendOutcome> {
        if request.base < batch.memtables.base() {
            request.look_up(self.kernel)?;
        }
        if let Some(outcome) = self.repeated(batch, &request)? {
            return Ok(outcome);
        }
        if let Some(outcome) = self.repeated_ids(batch, &request)? {
            return Ok(outcome);
        }
        self.check_group(batch, &request)?;
        batch.teller.tell(|| Ok(AdmissionStep::Group))?;
        let mut staging = Staging::begin(committer, batch);
        let staged = match request.performs.is_empty() {
            true => self.stage_events(committer, batch, request, &mut staging),
            false => self.stage_verbs(committer, batch, request, &mut staging),
        };
        match staged {
            Ok(()) => {
                let Staging { events, warnings, .. } = staging;
                Ok(AppendOutcome { events, repeated: false, warnings })
            }
            Err(error) => {
                staging.take_back(committer, batch);
                Err(error)
            }
        }
    }

    /// The first outcome of a group whose keys are known.
    fn repeated(self, batch: &AdmissionBatch, request: &Prepared) -> Result<Option<AppendOutcome>> {
        let mut events = Vec::new();
        let mut unknown = None;
        let keys: Vec<_> = request.keys.iter().filter(|key| !key.own).collect();
        for key in &keys {
            match self.first_use(batch, key)? {
                None => unknown = Some(key),
                // How many events it stands for is known when verbs have made them.
                Some((position, seal)) if self.is_same(batch, request, key, (position, seal))? => {
                    for position in position.onwards().take(seal.count as usize) {
                        events.push((position, self.stored(batch, position)?));
                    }
                }
                Some((position, seal)) => {
                    let first = codec::decode(position, self.stored(batch, position)?)?;
                    return Err(request.other_content(key, seal, &first));
                }
            }
        }
        match unknown {
            None if keys.is_empty() => Ok(None),
            None => Ok(Some(AppendOutcome { events, repeated: true, ..AppendOutcome::default() })),
            Some(_) if events.is_empty() => Ok(None),
            Some(key) => {
                let what = format!("a group of {} keys", keys.len());
                Err(Error::conflict(what, "all of its keys known, or none", format!("'{}' is new", key.key)))
            }
        }
    }

    /// Whether a key was first used with this. Of what was imported no more is known than the first of its events.
    fn is_same(
        self,
        batch: &AdmissionBatch,
        request: &Prepared,
        key: &KeyClaim,
        (position, seal): (Position, KeyDigest),
    ) -> Result<bool> {
        if seal.content != ANY_CONTENT || request.import {
            return Ok(seal.content == key.seal.content || seal.content == ANY_CONTENT);
        }
        let first = codec::decode(position, self.stored(batch, position)?)?;
        Ok(match (request.performs.first(), request.events.get(key.first)) {
            (Some(PreparedPerform { before: 0, perform, .. }), _) => {
                let maker = first.producer.as_ref().map(|producer| &producer.model).or(first.target.as_ref());
                maker == Some(&perform.entity)
            }
            (_, Some(event)) => (&event.kind, &event.target) == (&first.kind, &first.target),
            (Some(_), None) => request.events.first().is_none_or(|event| event.kind == first.kind),
            (None, None) => false,
        })
    }

    fn first_use(self, batch: &AdmissionBatch, key: &KeyClaim) -> Result<Option<(Position, KeyDigest)>> {
        if let Some(staged) = batch.keys.get(&key.term) {
            return Ok(Some(*staged));
        }
        let known =
            key.known.or_else(|| batch.memtables.list(&key.term, PositionRange::ALL).first().copied());
        let Some(position) = known else { return Ok(None) };
        let event = codec::decode(position, self.stored(batch, position)?)?;
        let seal = event
            .seal
            .ok_or_else(|| Error::corrupt(format!("the event at {position}"), "a key without its seal"))?;
        Ok(Some((position, seal)))
    }

    /// The bytes of an event that is staged or committed.
    fn stored(self, batch: &AdmissionBatch, position: Position) -> Result<Arc<[u8]>> {
        if let Some(staged) = batch.staged_at(position)? {
            return Ok(staged);
        }
        let bytes = match batch.memtables.event(position, self.kernel.keys())? {
            Some(bytes) => Some(bytes),
            None => {
                ReadTxn::read(self.kernel.read_source(), Position::MAX, None, |view| view.event(position))?
            }
        };
        bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))
    }

    fn stage_events(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        request: Prepared,
        staging: &mut Staging,
    ) -> Result<()> {
        let how = How { import: request.import, restore: request.restore, head: request.head };
        let mut keys = request.keys.into_iter().peekable();
        let mut events = request.events;
        // They are long: none is moved to be staged.
        for (at, event) in events.iter_mut().enumerate() {
            let key = keys.next_if(|key| key.first == at);
            self.stage_event(committer, batch, event, key, how, staging)?;
        }
        Ok(())
    }

    /// Stages a group with verbs. A key says on its first event how many there are: where that is not known before they are all
    /// made, they are made once to know them, and then staged.
    fn stage_verbs(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        mut request: Prepared,
        staging: &mut Staging,
    ) -> Result<()> {
        let Some(mut key) = request.keys.pop() else {
            return self.stage_acts(committer, batch, request, None, staging);
        };
        let mut made = Vec::new();
        let with_one = request.performs.len() == 1 && request.events.is_empty();
        match (request.performs.as_slice(), request.events.is_empty()) {
            ([perform], true) => {
                made = self.decide(batch, perform, batch.next)?;
                self.check_owners(batch, &made, &request.expect, batch.next)?;
                check_size(&self.kernel.options, made.iter().map(PreparedEvent::bytes).sum(), made.len())?;
            }
            _ => {
                let mut tried = Staging::begin(committer, batch);
                let outcome = self.stage_acts(committer, batch, request, Some(&mut made), &mut tried);
                tried.take_back(committer, batch);
                outcome?;
            }
        }
        let Some(first) = made.first_mut() else { return Ok(()) };
        // Those that were tried were told of then.
        let (tried, told) = (!with_one, batch.teller.len());
        key.put_on(first);
        (key.first, key.seal.count) = (0, made.len() as u32);
        let how = How { import: false, restore: false, head: batch.memtables.head };
        let mut key = Some(key);
        for event in &mut made {
            self.stage_event(committer, batch, event, key.take(), how, staging)?;
        }
        if tried {
            batch.teller.truncate(told);
        }
        Ok(())
    }

    /// Stages events and what verbs make, in their order; tells which events those are, if that is asked.
    fn stage_acts(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        request: Prepared,
        mut made: Option<&mut Vec<PreparedEvent>>,
        staging: &mut Staging,
    ) -> Result<()> {
        let how = How { import: false, restore: false, head: request.head };
        let mut bytes: usize = request.events.iter().map(PreparedEvent::bytes).sum();
        let mut performs = request.performs.into_iter().peekable();
        let mut given = request.events.into_iter().enumerate().peekable();
        loop {
            let at = given.peek().map_or(usize::MAX, |(at, _)| *at);
            let next = match performs.next_if(|perform| perform.before <= at) {
                Some(perform) => {
                    let made = self.decide(batch, &perform, staging.next)?;
                    self.check_owners(batch, &made, &request.expect, staging.next)?;
                    bytes += made.iter().map(PreparedEvent::bytes).sum::<usize>();
                    check_size(&self.kernel.options, bytes, staging.events.len() + made.len())?;
                    made
                }
                None => match given.next() {
                    Some((_, event)) => vec![event],
                    None => break,
                },
            };
            for mut event in next {
                if let Some(made) = &mut made {
                    made.push(event.clone());
                }
                self.stage_event(committer, batch, &mut event, None, how, staging)?;
            }
        }
        Ok(())
    }

    /// The events that a verb makes, if it is not refused.
    fn decide(
        self,
        batch: &mut AdmissionBatch,
        PreparedPerform { perform, conditions, .. }: &PreparedPerform,
        first: Position,
    ) -> Result<Vec<PreparedEvent>> {
        if !perform.expect.is_empty() {
            let end = self.count(batch, &Term::entity(&perform.entity)?, None)?;
            for expect in &perform.expect {
                self.check(batch, expect, Some(&perform.entity), end, batch.next)?;
            }
        }
        for checked in conditions {
            self.check_condition(batch, checked, first)?;
        }
        let catalog = batch.catalog.clone();
        let rule = perform.rule(&catalog)?;
        let made = perform.decide(&*rule, &mut commit_context::AtCommit { admission: self, batch })?;
        let forgets = |new: &NewEvent| rule.forgets() && is_forgotten(new);
        if !batch.teller.is_trial() && made.iter().any(forgets) {
            perform.check_may_forget()?;
        }
        made.into_iter()
            .map(|new| {
                let internal = forgets(&new);
                PreparedEvent::new(&self.kernel.options, new, internal)
            })
            .collect()
    }

    /// How many events an entity has, staged ones too, and the last of them.
    fn count(self, batch: &AdmissionBatch, term: &Term, tables: Option<ListEnd>) -> Result<ListEnd> {
        match batch.entities.get(term).copied().or_else(|| batch.memtables.total(term)).or(tables) {
            Some(found) => Ok(found),
            None => {
                ReadTxn::read(self.kernel.read_source(), Position::MAX, None, |view| view.tables_count(term))
            }
        }
    }

    /// Where an id went after the request was looked up, if it is one of the database's own: no list tells of those.
    fn appended_since(
        self,
        batch: &AdmissionBatch,
        id: &EventId,
        looked_up: Position,
    ) -> Result<Option<Position>> {
        find_own_id(id, PositionRange::between(looked_up, batch.memtables.head), |position| {
            codec::decode(position, self.stored(batch, position)?)
        })
    }
}

#[cfg(test)]
mod tests;
