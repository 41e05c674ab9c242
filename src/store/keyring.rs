//! The keyring: the keys of subjects, as appends and reads need them, and the cipher that they are for.
//!
//! Each subject has a key of its own, of 32 random bytes; to forget a subject is to destroy its key. The cipher is XChaCha20-Poly1305: its
//! nonces are so long that random ones never repeat. It binds values to the position of their event, to the subject and to the fields.
//!
//! Keys are in the tables alone ([`keys`](super::tables::keys)). Which one a subject has follows from the log: the keyring knows it of what
//! is not in the tables yet. Its lock is taken for a moment, and nothing else while it is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::cipher;
use super::index::term::Term;
use super::journal::random;
use super::mutex::locked;
use super::tables::keys::{KeyBytes, KeyState};
use super::tables::{Tables, TablesRead};
use crate::document::{Document, Raw};
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::codec::{self, Trailer};
use crate::event::private::{
    EncryptedPart, FieldRoot, ForgottenFields, KeyNumber, NONCE, PrivateField, blanked, replaced,
};
use crate::event::record::Record;
use crate::event::{Event, FORGOTTEN};

/// How many keys are made in one write.
const MADE: usize = 256;

/// How many keys are remembered.
const REMEMBERED: usize = 1 << 14;

/// What events encrypt to, by their subjects: the fields and their values.
pub(crate) type PrivateValues = Vec<(Entity, Vec<PrivateField>)>;

/// The keys of subjects.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    state: Mutex<KeyringState>,
    /// How many subjects were forgotten since this was opened.
    forgotten: AtomicUsize,
}

#[derive(Debug, Default)]
struct KeyringState {
    /// Which key a subject has, of those that the log tells of behind C; none of one that was forgotten there. With where that is told.
    given: HashMap<Entity, (Option<KeyNumber>, Position)>,
    /// What was asked for lately.
    known: HashMap<KeyNumber, KeyBytes>,
    /// Those of subjects that were forgotten since this was opened: nobody who still sees older tables brings them back.
    forgotten: HashSet<KeyNumber>,
    /// The next key to give, and the last that is made.
    next: u64,
    last: u64,
}

/// The key that a subject gets with an event, where it has none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenKey {
    pub subject: Entity,
    /// None where it is forgotten.
    pub key: Option<KeyNumber>,
}

impl Keyring {
    /// As the tables have it.
    pub fn of(read: &TablesRead) -> Result<Keyring> {
        let (last, given) = read.last_keys()?;
        Ok(Keyring {
            state: Mutex::new(KeyringState { next: given.0 + 1, last: last.0, ..KeyringState::default() }),
            ..Keyring::default()
        })
    }

    /// The key that a subject has, if it has one.
    pub fn key_of(&self, subject: &Entity, tables: &Tables) -> Result<Option<KeyNumber>> {
        if let Some((key, _)) = locked(&self.state).given.get(subject) {
            return Ok(*key);
        }
        tables.read()?.key_of(subject)
    }

    /// A key that no subject has. It is durable.
    pub fn take(&self, tables: &Tables) -> Result<KeyNumber> {
        let mut keys = locked(&self.state);
        if keys.next > keys.last {
            drop(keys);
            self.make(tables)?;
            keys = locked(&self.state);
        }
        let taken = KeyNumber(keys.next);
        keys.next += 1;
        Ok(taken)
    }

    /// Makes the first keys, if there are none yet.
    pub fn prepare(&self, tables: &Tables) -> Result<()> {
        let none = locked(&self.state).last == 0;
        if none { self.make(tables) } else { Ok(()) }
    }

    /// Makes keys ahead.
    fn make(&self, tables: &Tables) -> Result<()> {
        let mut made = Vec::with_capacity(MADE);
        for _ in 0..MADE {
            made.push(KeyBytes(random()?));
        }
        tables.write("making keys", |tables| tables.make_keys(&made))?;
        let (last, _) = tables.read()?.last_keys()?;
        let mut keys = locked(&self.state);
        keys.last = last.0;
        Ok(())
    }

    /// Takes in what an event of the log says of keys.
    pub fn apply(&self, given: &[GivenKey], position: Position) {
        if given.is_empty() {
            return;
        }
        let mut keys = locked(&self.state);
        for GivenKey { subject, key } in given {
            keys.next = keys.next.max(key.map_or(0, |key| key.0 + 1));
            keys.given.insert(subject.clone(), (*key, position));
        }
    }

    /// The tables have everything up to a position; these keys are gone from them.
    pub fn release(&self, through: Position, forgotten: &[KeyNumber]) {
        let mut keys = locked(&self.state);
        keys.given.retain(|_, (_, told)| *told > through);
        for key in forgotten {
            keys.known.remove(key);
            keys.forgotten.insert(*key);
        }
        self.forgotten.fetch_add(forgotten.len(), Ordering::AcqRel);
    }

    /// How many subjects were forgotten since this was opened: what was read before may have their values.
    pub fn forgotten(&self) -> usize {
        self.forgotten.load(Ordering::Acquire)
    }

    /// What there is of a key, which `look` finds in the tables.
    pub fn key(&self, number: KeyNumber, look: impl FnOnce() -> Result<KeyState>) -> Result<KeyState> {
        {
            let keys = locked(&self.state);
            if keys.forgotten.contains(&number) {
                return Ok(KeyState::Forgotten);
            }
            if let Some(key) = keys.known.get(&number) {
                return Ok(KeyState::There(key.clone()));
            }
        }
        let found = look()?;
        if let KeyState::There(key) = &found {
            let mut keys = locked(&self.state);
            if keys.known.len() >= REMEMBERED {
                keys.known.clear();
            }
            if !keys.forgotten.contains(&number) {
                keys.known.insert(number, key.clone());
            }
        }
        Ok(found)
    }
}

/// Where the keys are of events that come from a log.
#[derive(Clone, Copy)]
pub(crate) enum KeySource<'k> {
    Tables(&'k Keyring, &'k Tables),
    /// The same of a file that is being rescued: what has no key there reads as if it were forgotten, and is noted.
    Rescued(&'k Keyring, &'k Tables, &'k RefCell<BTreeSet<KeyNumber>>),
    /// Where no event has private values.
    #[cfg_attr(not(any(test, feature = "fuzzing")), allow(dead_code))]
    Nowhere,
}

impl KeySource<'_> {
    /// An event with its private values in plain, where it has such.
    pub fn decrypted(self, position: Position, stored: &[u8]) -> Result<Option<Arc<[u8]>>> {
        if !codec::is_encrypted(stored) {
            return Ok(None);
        }
        let key = |number| match self {
            KeySource::Tables(keyring, tables) => keyring.key(number, || tables.read()?.key(number)),
            KeySource::Rescued(keyring, tables, lost) => {
                let found = keyring.key(number, || tables.read()?.key(number))?;
                Ok(match found {
                    KeyState::Missing => {
                        lost.borrow_mut().insert(number);
                        KeyState::Forgotten
                    }
                    found => found,
                })
            }
            KeySource::Nowhere => Ok(KeyState::Missing),
        };
        decrypt(position, stored, key).map(|plain| Some(Arc::from(plain)))
    }
}

/// The subject that an event says is forgotten.
pub(crate) fn forgotten_subject(kind: &EventType, data: &Document) -> Option<Entity> {
    if kind.as_str() != FORGOTTEN {
        return None;
    }
    let text = |name: &str| data.at(&["subject", name]).and_then(|value| value.as_text().map(str::to_owned));
    Entity::new(&text("type")?, &text("id")?).ok()
}

/// That a subject has no key any more, where an event says so.
pub(crate) fn forgotten_key(event: &Event) -> Option<GivenKey> {
    forgotten_subject(&event.kind, &event.data).map(|subject| GivenKey { subject, key: None })
}

/// The stored form of an event with private values: those are encrypted, each under the key of its subject. `key` gives that.
pub(crate) fn encrypt(
    position: Position,
    plain: &[u8],
    private: &PrivateValues,
    mut key: impl FnMut(&Entity) -> Result<(KeyNumber, KeyBytes)>,
) -> Result<Vec<u8>> {
    let record = Record::open(position, plain)?;
    let mut trailer = Vec::new();
    for (subject, fields) in private {
        let (number, bytes) = key(subject)?;
        let nonce: [u8; NONCE] = random()?;
        let mut values = Vec::new();
        for field in fields {
            let value = field.value(&record).unwrap_or(Raw(&[]));
            let rest = value.skip().ok_or_else(|| unreadable(position))?;
            values.extend_from_slice(&value.0[..value.0.len() - rest.len()]);
        }
        let mut part = EncryptedPart {
            key: number,
            subject: subject.clone(),
            fields: fields.clone(),
            nonce,
            ciphertext: Vec::new(),
        };
        part.ciphertext = cipher::encrypt(&bytes, &nonce, &values, &bound(position, &part))?;
        part.write(&mut trailer);
    }
    let fields: Vec<&PrivateField> = private.iter().flat_map(|(_, fields)| fields).collect();
    let data = blanked(FieldRoot::Data, record.data(), &fields).ok_or_else(|| unreadable(position))?;
    let metadata = match record.metadata().0 {
        [] => Vec::new(),
        _ => blanked(FieldRoot::Metadata, record.metadata(), &fields).ok_or_else(|| unreadable(position))?,
    };
    let trailer = Some(Trailer::Encrypted(&trailer));
    Ok(codec::with_payload(position, record.header(), &data, &metadata, trailer))
}

/// The event with its private values in their places. Those whose subject is forgotten stay null, and are named.
///
/// # Errors
/// [`Error::Corrupt`] where a key is missing, or does not fit.
pub(crate) fn decrypt(
    position: Position,
    stored: &[u8],
    mut key: impl FnMut(KeyNumber) -> Result<KeyState>,
) -> Result<Vec<u8>> {
    let record = Record::open(position, stored)?;
    let parts = EncryptedPart::all(&record)?;
    let (mut opened, mut forgotten) = (Vec::new(), Vec::new());
    for part in &parts {
        match key(part.key)? {
            KeyState::There(bytes) => {
                let values = cipher::decrypt(&bytes, &part.nonce, &part.ciphertext, &bound(position, part))?;
                let values = values.ok_or_else(|| {
                    let place = format!("the private values of {} in the event at {position}", part.subject);
                    Error::corrupt(place, "what its key does not fit")
                })?;
                opened.push((part, values));
            }
            KeyState::Forgotten => forgotten.extend(part.fields.iter().cloned()),
            KeyState::Missing => {
                let place = format!("the key of {}, of the event at {position}", part.subject);
                return Err(Error::corrupt(place, "nothing, and it was not forgotten"));
            }
        }
    }
    let mut values: Vec<(&PrivateField, &[u8])> = Vec::new();
    for (part, bytes) in &opened {
        let mut rest = bytes.as_slice();
        for field in &part.fields {
            let behind = Raw(rest).skip().ok_or_else(|| unreadable(position))?;
            values.push((field, &rest[..rest.len() - behind.len()]));
            rest = behind;
        }
    }
    let data = replaced(FieldRoot::Data, record.data(), &values).ok_or_else(|| unreadable(position))?;
    let metadata = match record.metadata().0 {
        [] => Vec::new(),
        _ => replaced(FieldRoot::Metadata, record.metadata(), &values).ok_or_else(|| unreadable(position))?,
    };
    let named = ForgottenFields::write(&forgotten);
    let trailer = (!forgotten.is_empty()).then_some(Trailer::Forgotten(&named));
    Ok(codec::with_payload(position, record.header(), &data, &metadata, trailer))
}

/// Which keys an event of the log says that subjects have.
pub(crate) fn given_keys(position: Position, stored: &[u8]) -> Result<Vec<GivenKey>> {
    if !codec::is_encrypted(stored) {
        return Ok(Vec::new());
    }
    let parts = EncryptedPart::all(&Record::open(position, stored)?)?;
    Ok(parts.into_iter().map(|part| GivenKey { subject: part.subject, key: Some(part.key) }).collect())
}

/// The terms that an event with private values is found by, beside its others: those of its subjects.
pub(crate) fn subject_terms(given: &[GivenKey]) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    for GivenKey { subject, .. } in given.iter().filter(|given| given.key.is_some()) {
        let term = Term::subject(subject)?;
        // Each subject has one part; of a log that was made elsewhere nobody knows.
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Ok(terms)
}

/// What the cipher binds values to.
fn bound(position: Position, part: &EncryptedPart) -> Vec<u8> {
    [b"bygone private 1".as_slice(), &position.to_be_bytes(), &part.known()].concat()
}

fn unreadable(position: Position) -> Error {
    Error::corrupt(format!("the event at {position}"), "data that cannot be read")
}
