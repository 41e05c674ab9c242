//! Staging: each request of a batch, checked in the order of the queue against the committed and the staged state.
//!
//! One that fails is rejected alone, and leaves no trace in the frame. The order of checks is: key, ids, guards.

mod exists;

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::catalog::Catalog;
use super::commit::Committer;
use super::group::{ANY_CONTENT, Keyed, Outcome, Prepared, other_content};
use super::snapshot::{View, find_own_id};
use super::tail::{Staged, Tails};
use super::term::Term;
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{EventId, Expect, NewEvent, Seal};
use crate::time::Timestamp;

/// What a batch has staged so far.
#[derive(Debug)]
pub(super) struct Batch {
    pub tails: Tails,
    /// The position after the last staged.
    pub next: u64,
    pub staged: Vec<Staged>,
    /// The indexes as of the last staged.
    pub catalog: Arc<Catalog>,
    /// How many events an entity has, and the last of them.
    entities: HashMap<Term, (u64, u64)>,
    ids: HashMap<Term, u64>,
    keys: HashMap<Term, (u64, Seal)>,
    /// The instant of this commit.
    now: Timestamp,
    /// When the newest event, staged or not, was recorded.
    pub recorded: Option<Timestamp>,
}

impl Batch {
    pub fn new(tails: Tails, now: Timestamp, recorded: Option<Timestamp>) -> Batch {
        Batch {
            next: tails.head + 1,
            catalog: tails.catalog.clone(),
            tails,
            staged: Vec::new(),
            entities: HashMap::new(),
            ids: HashMap::new(),
            keys: HashMap::new(),
            now,
            recorded,
        }
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

/// A step of staging, to be taken back if the request fails.
enum Undo {
    Entity(Term, Option<(u64, u64)>),
    Id(Term),
    Key(Term),
}

impl Shared {
    /// Stages one request behind those before it, or takes back what it had staged.
    pub(super) fn stage(
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
        let catalog = batch.catalog.clone();
        let mut undo = Vec::new();
        let outcome = self.stage_events(committer, batch, request, &mut undo);
        if outcome.is_err() {
            batch.staged.truncate(batch.staged.len() - (batch.next - mark.0) as usize);
            committer.frame.payload_mut().truncate(mark.1);
            (batch.next, batch.recorded) = (mark.0, mark.2);
            batch.catalog = catalog;
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
            None => View::read(self, u64::MAX, None, |view| view.event(position))?,
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
            if let Some(cause) = event.new.cause_position().filter(|_| !event.chained) {
                event.new.join_chain(&Record::open(cause, &self.stored(batch, cause.0)?)?)?;
            }
            let mut version = 0;
            let entity = event.entity_term().cloned();
            if let Some(term) = &entity {
                let before = batch.entities.get(term).copied();
                let (count, last) = before.unwrap_or_else(|| batch.tails.total(term).unwrap_or(event.cold));
                for expect in &event.new.expect {
                    self.check(batch, expect, event.target.as_ref(), count, last)?;
                }
                version = count + 1;
                if let Some(expected) = event.new.versioned.filter(|expected| *expected != version) {
                    let what = format!("the version of #{position}");
                    return Err(Error::invalid(what, version.to_string(), expected.to_string()));
                }
                batch.entities.insert(term.clone(), (version, position));
                undo.push(Undo::Entity(term.clone(), before));
            }
            // What is restored is what it was; and what a key was first used with was worked out before this.
            if let Some(target) = event.target.as_ref().filter(|_| !request.restore)
                && event.new.namespace.is_none()
                && let Some(model) = batch.catalog.model(target.kind())
                && let Ok(fold) = model.fold()
            {
                event.new.namespace = fold.namespace().map(str::to_owned);
            }
            let recorded = batch.instant(event.new.recorded.filter(|_| request.restore))?;
            let (id, own_id) = match (&event.new.id, &self.options.ids) {
                (Some(id), _) => (id.clone(), request.restore && committer.ids.adopt(id, recorded)),
                (None, Some(ids)) => (ids()?, false),
                (None, None) => {
                    let id = committer.ids.next(recorded)?;
                    let own_id = id.tells_its_place(recorded);
                    (id, own_id)
                }
            };
            // An id needs an entry exactly where it is not the database's own.
            if let Some(term) = event.id_term().cloned() {
                if own_id {
                    event.terms.retain(|other| *other != term);
                }
                batch.ids.insert(term.clone(), position);
                undo.push(Undo::Id(term));
            } else if !own_id {
                event.terms.push(Term::id(&id)?);
            }
            let seal = key.as_ref().map(|key| key.seal);
            if let Some(key) = key {
                batch.keys.insert(key.term.clone(), (position, key.seal));
                undo.push(Undo::Key(key.term));
            }
            let assigned = Assigned {
                position: Position(position),
                version: Version(version),
                id: &id,
                own_id,
                recorded,
                seal,
            };
            let payload = committer.frame.payload_mut();
            let start = payload.len();
            payload.extend_from_slice(&[0; 4]);
            codec::encode(payload, &event.new, &event.kind, event.target.as_ref(), &assigned);
            let length = payload.len() - start - 4;
            payload[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
            let bytes: Arc<[u8]> = Arc::from(&payload[start + 4..]);
            batch.catalog.terms(Position(position), &bytes, &mut event.terms)?;
            if let Some(change) = event.change {
                batch.catalog = Arc::new(batch.catalog.changed(Position(position), change));
            }
            events.push((position, bytes.clone()));
            batch.staged.push(Staged { bytes, terms: event.terms, version });
            batch.next += 1;
            batch.recorded = Some(recorded);
        }
        Ok(Outcome { events, repeated: false })
    }

    /// Where an id went after the request was looked up, if it is one of the database's own: no list tells of those.
    fn appended_since(&self, batch: &Batch, id: &EventId, looked_up: u64) -> Result<Option<u64>> {
        find_own_id(id, looked_up + 1, batch.tails.head, |position| {
            codec::decode(Position(position), self.stored(batch, position)?)
        })
    }

    fn check(
        self: &Arc<Shared>,
        batch: &Batch,
        expect: &Expect,
        target: Option<&Entity>,
        count: u64,
        last: u64,
    ) -> Result<()> {
        let mut ended = None;
        let (holds, expected) = match (expect, target) {
            (Expect::New, _) => (count == 0, "no event yet".to_owned()),
            (Expect::Version(version), _) => (count == version.0, version.to_string()),
            (Expect::Exists, None) => (false, "a state".to_owned()),
            (Expect::Exists, Some(target)) => {
                let last = self.last_of_state(batch, target, last)?;
                ended =
                    last.as_ref().filter(|last| last.position > 0 && !last.makes).map(|last| last.position);
                (last.is_some_and(|last| last.makes), "a state".to_owned())
            }
        };
        if holds {
            return Ok(());
        }
        let kind = |position: u64| -> Result<_> {
            Ok(codec::decode(Position(position), self.stored(batch, position)?)?.kind)
        };
        let what = target.map_or_else(String::new, ToString::to_string);
        let mut found = match count {
            0 => "no event yet".to_owned(),
            _ => format!("{}, last {} at #{last}", Version(count), kind(last)?),
        };
        if let Some(ended) = ended.filter(|ended| *ended != last) {
            found.push_str(&format!(", and no state since {} at #{ended}", kind(ended)?));
        }
        Err(Error::refused(what, expected, found))
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
