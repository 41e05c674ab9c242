//! Ids that callers give: each is in the log once, and whoever says the same event again gets the one that is there.

use std::sync::Arc;

use super::{Admission, AdmissionBatch, How};
use crate::entity::{Position, PositionRange};
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::{EventContent, codec};
use crate::store::append_request::{AppendOutcome, KeyClaim, Prepared, PreparedEvent};
use crate::store::read_txn::ReadTxn;

impl Admission<'_> {
    /// The events that are there, where each of a group has an id that is in the log, with what the group says.
    pub(super) fn repeated_ids(
        self,
        batch: &AdmissionBatch,
        request: &Prepared,
    ) -> Result<Option<AppendOutcome>> {
        let events = &request.events;
        let each = !events.is_empty() && events.iter().all(|event| event.new.id.is_some());
        if !each || request.import || !request.performs.is_empty() {
            return Ok(None);
        }
        let (mut known, mut fresh) = (Vec::new(), None);
        for event in events {
            match self.place_of_id(batch, event, request.head)? {
                None => fresh = fresh.or(event.new.id.as_ref()),
                Some(position) => {
                    let stored = self.appended(batch, position)?;
                    if let Some(conflict) = other_event(event, position, &stored)? {
                        return Err(conflict.into());
                    }
                    known.push((position, stored));
                }
            }
        }
        match fresh {
            _ if known.is_empty() => Ok(None),
            None => {
                for (position, bytes) in &mut known {
                    *bytes = self.stored(batch, *position)?;
                }
                Ok(Some(AppendOutcome { events: known, repeated: true, ..AppendOutcome::default() }))
            }
            Some(id) => {
                let what = format!("a group of {} ids", events.len());
                let found = format!("'{}' is new", shorten(&id.to_string()));
                Err(Error::conflict(what, "all of its ids known, or none", found))
            }
        }
    }

    /// Whether an event that is imported is in the log already.
    ///
    /// # Errors
    /// If one that is not has an id, or, restored, a key of one that is.
    pub(super) fn is_there(
        self,
        batch: &AdmissionBatch,
        event: &PreparedEvent,
        key: Option<&KeyClaim>,
        how: How,
    ) -> Result<bool> {
        if let Some(key) = key.filter(|key| key.own)
            && let Some((position, _)) = self.first_use(batch, key)?
        {
            return if how.restore { Err(twice("key", &key.key, position)) } else { Ok(true) };
        }
        let Some(position) = self.place_of_id(batch, event, how.head)? else { return Ok(false) };
        if how.import && !how.restore {
            return Ok(true);
        }
        let conflict = other_event(event, position, &self.appended(batch, position)?)?;
        match conflict {
            Some(conflict) => Err(conflict.into()),
            None => {
                let id = event.new.id.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(twice("id", &id, position))
            }
        }
    }

    /// Where the event is that has the id of another.
    fn place_of_id(
        self,
        batch: &AdmissionBatch,
        event: &PreparedEvent,
        looked_up: Position,
    ) -> Result<Option<Position>> {
        let Some(term) = event.id_term() else { return Ok(None) };
        let known = batch.ids.get(term).copied().or(event.known);
        let known = known.or_else(|| batch.memtables.list(term, PositionRange::ALL).first().copied());
        match (known, &event.new.id) {
            (None, Some(id)) => self.appended_since(batch, id, looked_up),
            _ => Ok(known),
        }
    }

    /// The bytes of an event that is staged or committed, as it was appended: in plain, and in no other shape since.
    fn appended(self, batch: &AdmissionBatch, position: Position) -> Result<Arc<[u8]>> {
        if let Some(staged) = batch.staged_at(position)? {
            return Ok(staged);
        }
        let appended = match batch.memtables.stored(position) {
            Some(stored) => Some(self.kernel.keys().decrypted(position, &stored)?.unwrap_or(stored)),
            None => {
                ReadTxn::read(self.kernel.read_source(), Position::MAX, None, |view| view.appended(position))?
            }
        };
        appended.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))
    }
}

/// What stands against an event whose id is in the log: that it says something else there.
fn other_event(event: &PreparedEvent, position: Position, stored: &Arc<[u8]>) -> Result<Option<Conflict>> {
    let stored = codec::decode(position, stored.clone())?;
    let first = EventContent::of(&stored);
    let Some(now) = EventContent::of_new(&event.new) else { return Ok(None) };
    let differs = now.differs(&first);
    Ok((!differs.is_empty()).then(|| Conflict::Id {
        id: stored.id.to_string(),
        position: position.0,
        first: first.told(),
        now: now.told(),
        differs: differs.into_iter().map(str::to_owned).collect(),
    }))
}

/// What is restored has each id and each key once, and so has a group.
fn twice(what: &str, name: &str, position: Position) -> Error {
    let found = format!("it is that of {position}");
    Error::conflict(format!("the {what} '{}'", shorten(name)), "one that is not in the log".to_owned(), found)
}
