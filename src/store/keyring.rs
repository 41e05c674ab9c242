//! The keyring: the keys of subjects, as appends and reads need them, and the cipher that they are for.
//!
//! Each subject has a key of its own, of 32 random bytes; to forget a subject is to destroy its key. The cipher ([`SubjectCipher`]) binds values
//! to the position of their event, to the subject and to the fields.
//!
//! Keys are in the tables alone ([`keys`](super::tables::keys)). Which one a subject has follows from the log: the keyring knows it of what
//! is not in the tables yet. Its locks are taken for a moment, and nothing else while one is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::cipher::SubjectCipher;
use super::index::term::Term;
use super::journal::random;
use super::mutex::locked;
use super::tables::keys::{KeyBytes, KeyState};
use super::tables::{Tables, TablesRead};
use crate::document::{Document, Raw};
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result};
use crate::event::codec::{self, Parts, PayloadWriter, Trailer};
use crate::event::private::{
    EncryptedPart, FieldValues, ForgottenFields, KeyNumber, NONCE, PrivateField, write_encrypted, write_known,
};
use crate::event::record::Record;
use crate::event::{Event, FORGOTTEN};

/// How many keys are made in one write.
const MADE: usize = 256;

/// How many nonces are made at once.
const NONCES: usize = 256;

/// How many keys are remembered; made ready, one takes some 700 bytes.
const REMEMBERED: usize = 1 << 13;

/// What events encrypt to, by their subjects: the fields and their values.
pub(crate) type PrivateValues = Vec<(Entity, Vec<PrivateField>)>;

/// The keys of subjects.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    state: Mutex<KeyringState>,
    known: RwLock<HashMap<KeyNumber, KnownKey>>,
    /// How many subjects were forgotten since this was opened.
    forgotten: AtomicUsize,
}

#[derive(Debug, Default)]
struct KeyringState {
    /// Which key a subject has, with where that is told: of all that the log tells of behind C, none of one that was forgotten there; and of
    /// some that the tables have.
    given: HashMap<Entity, (Option<KeyNumber>, Position)>,
    /// The next key to give, and the last that is made.
    next: u64,
    last: u64,
    /// Random bytes that no nonce has had: the system is asked for many at once.
    random: Vec<u8>,
}

/// What is known of a key, so that nobody looks in the tables.
#[derive(Debug)]
enum KnownKey {
    /// It was asked for lately.
    There(Arc<SubjectCipher>),
    /// Its subject was forgotten since this was opened: nobody who still sees older tables brings it back.
    Forgotten,
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

    /// A nonce for one event.
    fn nonce(&self) -> Result<[u8; NONCE]> {
        let mut keys = locked(&self.state);
        if keys.random.len() < NONCE {
            keys.random = random::<{ NONCES * NONCE }>()?.to_vec();
        }
        let rest = keys.random.len() - NONCE; // just seen to
        let nonce = keys.random.split_off(rest);
        nonce.try_into().map_err(|_| Error::stopped("there is no nonce"))
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
        let full = keys.given.len() > REMEMBERED;
        keys.given.retain(|_, (key, told)| *told > through || key.is_some() && !full);
        drop(keys);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(forgotten.iter().map(|key| (*key, KnownKey::Forgotten)));
        drop(known);
        self.forgotten.fetch_add(forgotten.len(), Ordering::AcqRel);
    }

    /// How many subjects were forgotten since this was opened: what was read before may have their values.
    pub fn forgotten(&self) -> usize {
        self.forgotten.load(Ordering::Acquire)
    }

    /// What there is of a key, which `look` finds in the tables.
    pub fn key(
        &self,
        number: KeyNumber,
        look: impl FnOnce() -> Result<KeyState>,
    ) -> Result<KeyState<Arc<SubjectCipher>>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&number) {
            Some(KnownKey::There(key)) => return Ok(KeyState::There(key.clone())),
            Some(KnownKey::Forgotten) => return Ok(KeyState::Forgotten),
            None => drop(known),
        }
        let found = match look()? {
            KeyState::There(key) => Arc::new(SubjectCipher::new(&key)),
            KeyState::Forgotten => return Ok(KeyState::Forgotten),
            KeyState::Missing => return Ok(KeyState::Missing),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, key| matches!(key, KnownKey::Forgotten));
        }
        match known.entry(number).or_insert_with(|| KnownKey::There(found.clone())) {
            KnownKey::There(_) => {}
            KnownKey::Forgotten => return Ok(KeyState::Forgotten),
        }
        Ok(KeyState::There(found))
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
    keyring: &Keyring,
    mut key: impl FnMut(&Entity) -> Result<(KeyNumber, Arc<SubjectCipher>)>,
) -> Result<Vec<u8>> {
    let record = Record::open(position, plain)?;
    let (mut trailer, mut values, mut bound) = (Vec::new(), Vec::new(), Vec::new());
    for (subject, fields) in private {
        let (number, cipher) = key(subject)?;
        let nonce = keyring.nonce()?;
        values.clear();
        for field in fields {
            let value = field.value(&record).ok_or_else(|| unreadable(position))?.0;
            let rest = Raw(value).skip().ok_or_else(|| unreadable(position))?;
            values.extend_from_slice(&value[..value.len() - rest.len()]);
        }
        let begins = trailer.len();
        write_known(&mut trailer, number, subject, fields);
        bound.clear();
        bind(&mut bound, position, &trailer[begins..]);
        let tag = cipher.encrypt(&nonce, &mut values, &bound)?;
        write_encrypted(&mut trailer, &nonce, &values, &tag);
    }
    let places = FieldValues::blank(private.iter().flat_map(|(_, fields)| fields));
    let (data, metadata) = (record.data().0, record.metadata().0);
    let mut writer = PayloadWriter::behind(record.header(), data.len() + metadata.len() + trailer.len() + 4);
    place(&places, data, metadata, &mut writer).ok_or_else(|| unreadable(position))?;
    Ok(writer.finish(position, Some(Trailer::Encrypted(&trailer))))
}

/// The event with its private values in their places. Those whose subject is forgotten stay null, and are named.
///
/// # Errors
/// [`Error::Corrupt`] where a key is missing, or does not fit.
pub(crate) fn decrypt(
    position: Position,
    stored: &[u8],
    mut key: impl FnMut(KeyNumber) -> Result<KeyState<Arc<SubjectCipher>>>,
) -> Result<Vec<u8>> {
    let event = codec::parts(position, stored).ok_or_else(|| codec::damage(position, stored))?;
    let Parts { header, data, metadata, trailer: Some(Trailer::Encrypted(trailer)) } = event else {
        return Ok(stored.to_vec());
    };
    let (mut parts, mut forgotten) = (Vec::new(), Vec::new());
    // All values, one after another, and behind them for a moment what the last are bound to.
    let mut plain = Vec::with_capacity(2 * trailer.len());
    for part in EncryptedPart::all(position, trailer) {
        let part = part?;
        match key(part.key)? {
            KeyState::There(cipher) => {
                let begins = plain.len();
                plain.extend_from_slice(part.ciphertext);
                let ends = plain.len();
                bind(&mut plain, position, part.known);
                let (values, bound) = plain[begins..].split_at_mut(ends - begins);
                if !cipher.decrypt(part.nonce, values, bound, part.tag)? {
                    let whose = part.subject(position)?;
                    let place = format!("the private values of {whose} in the event at {position}");
                    return Err(Error::corrupt(place, "what its key does not fit"));
                }
                plain.truncate(ends);
                parts.push((part, begins..ends));
            }
            KeyState::Forgotten => forgotten.extend(part.fields()),
            KeyState::Missing => {
                let place = format!("the key of {}, of the event at {position}", part.subject(position)?);
                return Err(Error::corrupt(place, "nothing, and it was not forgotten"));
            }
        }
    }
    let mut places = FieldValues::default();
    for (part, values) in parts {
        places.put(&part, &plain[values]).ok_or_else(|| unreadable(position))?;
    }
    // The trailer is longer than the values within.
    let mut writer = PayloadWriter::behind(header, stored.len() - header.len());
    place(&places, data, metadata, &mut writer).ok_or_else(|| unreadable(position))?;
    let named = (!forgotten.is_empty()).then(|| ForgottenFields::write(&forgotten));
    Ok(writer.finish(position, named.as_deref().map(Trailer::Forgotten)))
}

/// Writes data and metadata with values in their places.
fn place(places: &FieldValues, data: &[u8], metadata: &[u8], writer: &mut PayloadWriter) -> Option<()> {
    places.write_data(data, writer.out())?;
    writer.end_data();
    places.write_metadata(metadata, writer.out())
}

/// Which keys an event of the log says that subjects have.
pub(crate) fn given_keys(position: Position, stored: &[u8]) -> Result<Vec<GivenKey>> {
    if !codec::is_encrypted(stored) {
        return Ok(Vec::new());
    }
    let record = Record::open(position, stored)?;
    let given = EncryptedPart::all(position, record.encrypted()).map(|part| {
        let part = part?;
        Ok(GivenKey { subject: part.subject(position)?, key: Some(part.key) })
    });
    given.collect()
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
fn bind(bound: &mut Vec<u8>, position: Position, known: &[u8]) {
    bound.extend_from_slice(b"bygone private 1");
    bound.extend_from_slice(&position.to_be_bytes());
    bound.extend_from_slice(known);
}

fn unreadable(position: Position) -> Error {
    Error::corrupt(format!("the event at {position}"), "data that cannot be read")
}
