//! Private values of an event that is staged: encrypted in the frame, in plain in memory.
//!
//! What of it is private is found on the caller's thread, before it queues: here it is done again only if other definitions hold by now, and
//! for what verbs make. Keys are looked for here alone: whoever leads has the lock of the committer, so nobody is forgotten meanwhile.

use std::sync::Arc;

use super::{Admission, AdmissionBatch, Staging, Undo};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::event::private::KeyNumber;
use crate::store::append_request::PreparedEvent;
use crate::store::cipher::SubjectCipher;
use crate::store::committer::Committer;
use crate::store::keyring::{self, GivenKey, Keyring, ReadyKey};
use crate::store::memtable::StoredForm;
use crate::store::private_values::{PreparedGroup, PreparedPrivate};
use crate::store::tables::keys::KeyState;

/// How many keys it takes for looking for all of them at once to pay; in tests two, so that they come by it.
const FEW: usize = if cfg!(test) { 2 } else { 8 };

/// The stored form of an event, where that is encrypted, and which keys it gives.
type Encrypted = (Option<StoredForm>, Vec<GivenKey>);

/// The keys of the parts of a group, as far as they are at hand.
#[derive(Debug, Default)]
pub(super) struct GroupKeys {
    of: Option<Arc<PreparedGroup>>,
    keys: Vec<Option<ReadyKey>>,
}

impl GroupKeys {
    /// Looks for those of a group, unless they are these already. Where it has few parts, each is looked for when it is needed.
    fn look_up(&mut self, group: &Arc<PreparedGroup>, keyring: &Keyring) {
        let subjects = group.subjects();
        // What verbs make between the events of a large group does not displace its keys.
        if subjects.len() >= FEW && !self.is_of(group) {
            self.keys = keyring.ready_each(subjects);
            self.of = Some(group.clone());
        }
    }

    fn is_of(&self, group: &Arc<PreparedGroup>) -> bool {
        self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, group))
    }

    /// The key of a part of a group, once.
    fn take(&mut self, group: &Arc<PreparedGroup>, part: usize) -> Option<ReadyKey> {
        if self.is_of(group) { self.keys.get_mut(part)?.take() } else { None }
    }
}

impl Admission<'_> {
    /// Encrypts what is private of the event that was just written into the frame, from `start` on.
    pub(super) fn encrypt(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        event: &mut PreparedEvent,
        start: usize,
        staging: &mut Staging,
    ) -> Result<Encrypted> {
        let private = match event.private.take() {
            Some(prepared) if prepared.is_by(&batch.catalog) => prepared,
            _ => PreparedPrivate::alone(&batch.catalog, event.fields())?,
        };
        // A trial gives no keys.
        if private.is_empty() || batch.teller.is_trial() {
            return Ok((None, Vec::new()));
        }
        if self.kernel.log.is_shared() {
            let why = "keys are not shared with the log, so others could not read them";
            return Err(Error::stopped(format!(
                "private values are not appended to a log that is shared: {why}"
            )));
        }
        batch.group_keys.look_up(private.group(), &self.kernel.keyring);
        let (mut given, mut parts) = (Vec::new(), std::mem::take(&mut batch.parts));
        let payload = committer.frame.payload_mut();
        private.encrypt(batch.next, event.fields(), (payload, start), &mut parts, |part, subject| {
            self.key_of(batch, (private.group(), part, subject), &mut given, staging)
        })?;
        batch.parts = parts;
        let length = payload.len() - start;
        payload[start - 4..start].copy_from_slice(&(length as u32).to_be_bytes());
        let ends = committer.frame.payload().len();
        Ok((Some(StoredForm::InFrame { begins: ends - length, ends }), given))
    }

    /// That a subject is forgotten, where the event says so: what comes after it has another key.
    pub(super) fn forget(
        self,
        batch: &mut AdmissionBatch,
        event: &PreparedEvent,
        staging: &mut Staging,
    ) -> Vec<GivenKey> {
        let Some(subject) = keyring::forgotten_subject(&event.kind, &event.new.data) else {
            return Vec::new();
        };
        set_key(batch, &subject, None, staging);
        vec![GivenKey { subject, key: None }]
    }

    /// The key that a subject has, or gets now: then it is among those given.
    fn key_of(
        self,
        batch: &mut AdmissionBatch,
        (group, part, subject): (&Arc<PreparedGroup>, usize, &Entity),
        given: &mut Vec<GivenKey>,
        staging: &mut Staging,
    ) -> Result<ReadyKey> {
        let (keyring, tables) = (&self.kernel.keyring, &self.kernel.tables);
        let in_batch = if batch.subjects.is_empty() { None } else { batch.subjects.get(subject).copied() };
        if in_batch.is_none()
            && let Some(ready) = batch.group_keys.take(group, part).or_else(|| keyring.ready(subject))
        {
            return Ok(ready);
        }
        let known = in_batch.map_or_else(|| keyring.key_of(subject, tables), Ok)?;
        // One that is lost, as a rescue may find, is nobody's any more.
        if let Some(number) = known
            && let Some(cipher) = self.cipher(subject, number)?
        {
            keyring.remember(subject, number, &cipher);
            return Ok((number, cipher));
        }
        let number = keyring.take(tables)?;
        set_key(batch, subject, Some(number), staging);
        given.push(GivenKey { subject: subject.clone(), key: Some(number) });
        let cipher = self.cipher(subject, number)?;
        cipher.map(|cipher| (number, cipher)).ok_or_else(|| without_key(subject))
    }

    /// What encrypts under a key; none where that is no more.
    fn cipher(self, subject: &Entity, number: KeyNumber) -> Result<Option<Arc<SubjectCipher>>> {
        let look = || self.kernel.tables.read()?.key(number);
        match self.kernel.keyring.key(number, look)? {
            KeyState::There(cipher) => Ok(Some(cipher)),
            KeyState::Forgotten => Ok(None),
            KeyState::Missing => Err(without_key(subject)),
        }
    }
}

fn without_key(subject: &Entity) -> Error {
    Error::corrupt(format!("the key of {subject}"), "nothing, and it was not forgotten")
}

fn set_key(batch: &mut AdmissionBatch, subject: &Entity, key: Option<KeyNumber>, staging: &mut Staging) {
    let before = batch.subjects.insert(subject.clone(), key);
    if before != Some(key) {
        staging.undo.push(Undo::Subject(subject.clone(), before));
    }
}
