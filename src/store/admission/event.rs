//! One event of a request, staged: what it must not be, what it gets, and its bytes in the frame.

use std::sync::Arc;

use super::schema::check_versions;
use super::{Admission, AdmissionBatch, How, Staging, Undo};
use crate::entity::{NameText, Position, Version};
use crate::error::{Error, Result};
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{CLOSED, EventId, NewEvent};
use crate::store::append_request::{KeyClaim, PreparedEvent, join_chain};
use crate::store::catalog::definition::Definition;
use crate::store::catalog::{CatalogChange, Index};
use crate::store::committer::Committer;
use crate::store::index::term::Term;
use crate::store::journal::FrameBuffer;
use crate::store::memtable::{ListEnd, Staged};
use crate::time::Timestamp;

impl Admission<'_> {
    pub(super) fn stage_event(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        event: &mut PreparedEvent,
        key: Option<KeyClaim>,
        how: How,
        staging: &mut Staging,
    ) -> Result<()> {
        if self.is_there(batch, event, key.as_ref(), how)? {
            return Ok(());
        }
        for checked in &event.conditions {
            self.check_condition(batch, checked, staging.next)?;
        }
        let position = batch.next;
        check_place(&event.new, position)?;
        self.check_schema(batch, event, position, how, staging)?;
        if let Some(cause) = event.new.cause_position().filter(|_| !event.chained) {
            join_chain(&Record::open(cause, &self.stored(batch, cause)?)?, &mut event.new.correlation)?;
        }
        self.check_vector(batch, event)?;
        let version = self.next_version(committer, batch, event, staging)?;
        adopt_namespace(batch, event, how)?;
        let recorded = batch.instant(event.new.recorded.filter(|_| how.restore))?;
        let (id, own_id) = self.next_id(committer, batch, event, recorded, how)?;
        // An id needs an entry exactly where it is not the database's own.
        if let Some(term) = event.id_term().cloned() {
            if own_id {
                event.terms.retain(|other| *other != term);
            }
            batch.ids.insert(term.clone(), position);
            staging.undo.push(Undo::Id(term));
        } else if !own_id {
            event.terms.push(Term::id(&id)?);
        }
        let seal = key.as_ref().map(|key| key.seal);
        if let Some(key) = key {
            batch.keys.insert(key.term.clone(), (position, key.seal));
            staging.undo.push(Undo::Key(key.term));
        }
        let (position, version) = (position, Version(version));
        let assigned = Assigned { position, version, id: &id, own_id, recorded, seal };
        let (start, bytes) = write(&mut committer.frame, event, &assigned);
        let (encrypted, keys) = match batch.catalog.may_be_private(&event.kind) {
            true => self.encrypt(committer, batch, event, start, staging)?,
            false => (None, self.forget(batch, event, staging)),
        };
        self.derive(batch, &bytes, event)?;
        if let Some(change) = event.change.take() {
            self.stage_change(batch, event, change)?;
        }
        if event.kind.as_str() == CLOSED {
            batch.newest_closing = Some(position);
        }
        staging.events.push((position, bytes.clone()));
        let terms = std::mem::take(&mut event.terms);
        batch.staged.push(Staged { bytes, encrypted, keys, terms, version: version.0 });
        batch.next = batch.next.next();
        batch.recorded = Some(recorded);
        self.tell_event(batch)
    }

    /// How many events its entity has with this one; none has no entity.
    fn next_version(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        event: &PreparedEvent,
        staging: &mut Staging,
    ) -> Result<u64> {
        let Some(term) = event.entity_term() else { return Ok(0) };
        let before = batch.entities.get(term).copied();
        let end = self.count(batch, term, event.tables)?;
        self.check_standing(committer, batch, event, end)?;
        for expect in &event.new.expect {
            self.check(batch, expect, event.target.as_ref(), end, batch.next)?;
        }
        let version = end.count + 1;
        if let Some(expected) = event.new.versioned.filter(|expected| *expected != version) {
            let what = format!("the version of {}", batch.next);
            return Err(Error::invalid(what, version.to_string(), expected.to_string()));
        }
        batch.entities.insert(term.clone(), ListEnd { count: version, last: batch.next });
        staging.undo.push(Undo::Entity(term.clone(), before));
        Ok(version)
    }

    /// Its id, and whether that is one of the database's own.
    fn next_id(
        self,
        committer: &mut Committer,
        batch: &AdmissionBatch,
        event: &PreparedEvent,
        recorded: Timestamp,
        how: How,
    ) -> Result<(EventId, bool)> {
        match (&event.new.id, &self.kernel.options.ids) {
            (Some(id), _) => Ok((id.clone(), how.restore && committer.ids.adopt(id, recorded))),
            (None, Some(ids)) if !batch.teller.is_trial() => Ok((ids()?, false)),
            (None, _) => {
                let id = committer.ids.next(recorded)?;
                let own_id = id.tells_its_place(recorded);
                Ok((id, own_id))
            }
        }
    }

    /// Adds what the indexes hold it under.
    fn derive(self, batch: &AdmissionBatch, bytes: &Arc<[u8]>, event: &mut PreparedEvent) -> Result<()> {
        // What is defined anew, or dropped, must always be: an index of such events is of no use any more instead.
        let is_internal = event.kind.is_internal();
        let is_trial = batch.teller.is_trial();
        let refuse = |index: &Index, why: Error| match is_internal {
            true => {
                if !is_trial {
                    index.set_invalid();
                }
                Ok(())
            }
            false => Err(why),
        };
        batch.catalog.terms(batch.next, bytes, &self.kernel.own_limits, &mut event.terms, refuse)
    }

    /// The catalog from this event on.
    fn stage_change(
        self,
        batch: &mut AdmissionBatch,
        event: &PreparedEvent,
        change: CatalogChange,
    ) -> Result<()> {
        if let Some(name) = change.verb().filter(|name| self.kernel.verbs.get(name).is_some()) {
            let what = format!("the verb {}", NameText(name));
            return Err(Error::conflict(what, "a name that no verb has", "one that the program added"));
        }
        if let Some((what, other)) = batch.catalog.taken(&change) {
            let name = event.target.as_ref().map_or("", |target| target.id());
            let found = format!("the {what} that is defined at {other}; DROP it first, or take another name");
            let what = format!("the name {}", NameText(name));
            return Err(Error::conflict(what, "one that nothing else has", found));
        }
        self.check_definitions(batch, &change)?;
        if matches!(change, CatalogChange::Define(Definition::Private(_))) && !batch.teller.is_trial() {
            self.kernel.keyring.prepare(&self.kernel.tables)?;
        }
        check_versions(batch, &change)?;
        batch.catalog = Arc::new(batch.catalog.changed(batch.next, change));
        Ok(())
    }
}

impl Admission<'_> {
    /// Refuses one definition too many. What takes the place of another is none.
    fn check_definitions(self, batch: &AdmissionBatch, change: &CatalogChange) -> Result<()> {
        let most = self.kernel.options.max_definitions;
        let CatalogChange::Define(definition) = change else { return Ok(()) };
        let (kind, name) = (definition.kind(), definition.name());
        if batch.catalog.defined(kind, name).is_some() || !batch.catalog.has_as_many_as(most) {
            return Ok(());
        }
        let expected = format!("at most {most} (Options::max_definitions, --max-definitions)");
        let found = format!("the {} {} beside them; DROP what is of no use", kind.word(), NameText(name));
        Err(Error::invalid("the definitions", expected, found))
    }
}

/// Takes the namespace that its entity is defined with, where it has none. What a key was first used with was worked out before this.
fn adopt_namespace(batch: &AdmissionBatch, event: &mut PreparedEvent, how: How) -> Result<()> {
    if let Some(target) = event.target.as_ref()
        && event.new.namespace.is_none()
        && let Some(model) = batch.catalog.model(target.kind())
        && let Some(namespace) = model.fold()?.namespace()
    {
        if how.restore {
            // What is restored is what it was: this event was another, or its definition was.
            let what = format!("the namespace of {}", batch.next);
            let expected = format!("{namespace}, as {} is defined at {}", target.kind(), model.position);
            return Err(Error::invalid(what, expected, "none"));
        }
        event.new.namespace = Some(namespace.to_owned());
    }
    Ok(())
}

/// Writes it into the frame, its length before it. Tells where it begins there.
fn write(frame: &mut FrameBuffer, event: &PreparedEvent, assigned: &Assigned) -> (usize, Arc<[u8]>) {
    let payload = frame.payload_mut();
    payload.extend_from_slice(&[0; 4]);
    let start = payload.len();
    codec::encode(payload, &event.new, &event.kind, event.target.as_ref(), assigned);
    let length = payload.len() - start;
    payload[start - 4..start].copy_from_slice(&(length as u32).to_be_bytes());
    (start, Arc::from(&payload[start..]))
}

/// Whether an event may land at this position, after what is said of it.
fn check_place(new: &NewEvent, position: Position) -> Result<()> {
    if let Some(cause) = new.cause_position().filter(|cause| *cause == Position::START || *cause >= position)
    {
        return Err(Error::invalid("the cause", format!("an event before {position}"), cause.to_string()));
    }
    match new.placed {
        Some(placed) if placed != position => {
            let what = format!("the event that was {placed}");
            let expected = "that position again, since it is restored or names its cause by position (use --restore \
                            with a whole export and a new database)";
            Err(Error::invalid(what, expected, position.to_string()))
        }
        _ => Ok(()),
    }
}
