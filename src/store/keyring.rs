//! The keyring: the keys of subjects, as appends and reads need them.
//!
//! Each subject has a key of its own, of 32 random bytes; to forget a subject is to destroy its key. The cipher ([`SubjectCipher`]) binds values
//! to the position of their event, to the subject and to the fields.
//!
//! Keys are in the tables alone ([`keys`](super::tables::keys)). Which one a subject has follows from the log: the keyring knows it of what
//! is not in the tables yet. Its locks are taken for a moment, and nothing else while one is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::cipher::SubjectCipher;
use super::index::term::Term;
use super::journal::random;
use super::mutex::locked;
use super::private_values::decrypt;
use super::tables::keys::{KeyBytes, KeyState};
use super::tables::{Tables, TablesRead};
use crate::document::Document;
use crate::entity::{Entity, EventType, Position};
use crate::error::Result;
use crate::event::codec;
use crate::event::private::{EncryptedPart, KeyNumber};
use crate::event::record::Record;
use crate::event::{Event, FORGOTTEN};

/// How many keys are made in one write.
const MADE: usize = 256;

/// How many keys are remembered; made ready, one takes some 700 bytes.
const REMEMBERED: usize = 1 << 13;

/// The keys of subjects.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    state: Mutex<KeyringState>,
    known: RwLock<KnownKeys>,
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
}

/// What is known of keys, so that nobody looks in the tables.
#[derive(Debug, Default)]
struct KnownKeys {
    /// Those that were asked for lately.
    there: HashMap<KeyNumber, Arc<SubjectCipher>>,
    /// Those of subjects that were forgotten since this was opened: nobody who still sees older tables brings them back.
    forgotten: HashSet<KeyNumber>,
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
        let full = keys.given.len() > REMEMBERED;
        keys.given.retain(|_, (key, told)| *told > through || key.is_some() && !full);
        drop(keys);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for key in forgotten {
            known.there.remove(key);
            known.forgotten.insert(*key);
        }
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
        if let Some(key) = known.there.get(&number) {
            return Ok(KeyState::There(key.clone()));
        }
        if known.forgotten.contains(&number) {
            return Ok(KeyState::Forgotten);
        }
        drop(known);
        let found = match look()? {
            KeyState::There(key) => Arc::new(SubjectCipher::new(&key)),
            KeyState::Forgotten => return Ok(KeyState::Forgotten),
            KeyState::Missing => return Ok(KeyState::Missing),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.forgotten.contains(&number) {
            return Ok(KeyState::Forgotten);
        }
        if known.there.len() >= REMEMBERED {
            known.there.clear();
        }
        known.there.insert(number, found.clone());
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
