//! Private values of an event that is staged: encrypted in the frame, in plain in memory.

use std::sync::Arc;

use super::{Admission, AdmissionBatch, Staging, Undo};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::event::private::KeyNumber;
use crate::event::record::Record;
use crate::store::append_request::PreparedEvent;
use crate::store::cipher::SubjectCipher;
use crate::store::committer::Committer;
use crate::store::keyring::{self, GivenKey};
use crate::store::private_values;
use crate::store::tables::keys::KeyState;

/// The stored form of an event, where that is encrypted, and which keys it gives.
type Encrypted = (Option<Arc<[u8]>>, Vec<GivenKey>);

impl Admission<'_> {
    /// Encrypts what is private of the event that was just written into the frame.
    pub(super) fn encrypt(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        plain: &[u8],
        staging: &mut Staging,
    ) -> Result<Encrypted> {
        let position = batch.next;
        let private = batch.catalog.private_values(&Record::open(position, plain)?)?;
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
        let (mut given, mut nonces) = (Vec::new(), std::mem::take(&mut batch.nonces));
        let stored = private_values::encrypt(position, plain, &private, &mut nonces, |subject| {
            let (number, cipher) = self.key_of(batch, subject, staging)?;
            given.push(GivenKey { subject: subject.clone(), key: Some(number) });
            Ok((number, cipher))
        })?;
        batch.nonces = nonces;
        let payload = committer.frame.payload_mut();
        payload.truncate(payload.len() - plain.len() - 4);
        payload.extend_from_slice(&(stored.len() as u32).to_be_bytes());
        payload.extend_from_slice(&stored);
        Ok((Some(stored.into()), given))
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

    /// The key that a subject has, or gets now.
    fn key_of(
        self,
        batch: &mut AdmissionBatch,
        subject: &Entity,
        staging: &mut Staging,
    ) -> Result<(KeyNumber, Arc<SubjectCipher>)> {
        let (keyring, tables) = (&self.kernel.keyring, &self.kernel.tables);
        let in_batch = batch.subjects.get(subject).copied();
        let known = in_batch.map_or_else(|| keyring.key_of(subject, tables), Ok)?;
        if let Some(number) = known {
            // One that is lost, as a rescue may find, is nobody's any more.
            if let Some(cipher) = self.cipher(subject, number)? {
                if in_batch.is_none() {
                    set_key(batch, subject, known, staging);
                }
                return Ok((number, cipher));
            }
        }
        let number = keyring.take(tables)?;
        set_key(batch, subject, Some(number), staging);
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
