//! The keyring: the keys of subjects, as appends and reads need them.
//!
//! Each subject has a key of its own, of 32 random bytes; to forget a subject is to destroy its key. The cipher ([`SubjectCipher`]) binds values
//! to the position of their event, to the subject and to the fields.
//!
//! Keys are in the tables alone ([`keys`](super::tables::keys)). Which one a subject has follows from the log: the keyring knows it of what
//! is not in the tables yet. Its locks are taken for a moment, and nothing else while one is held.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hint::black_box;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

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
const REMEMBERED: usize = 1 << 14;

/// Of how many subjects is remembered which key they have; one takes some 150 bytes, and its key made ready, where it encrypted something.
const SUBJECTS: usize = 1 << 15;

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
    given: HashMap<Entity, KnownSubject>,
    /// The next key to give, and the last that is made.
    next: u64,
    last: u64,
}

/// What is known of a subject.
#[derive(Debug)]
struct KnownSubject {
    /// None where it is forgotten.
    key: Option<KeyNumber>,
    /// Where that is told.
    told: Position,
    /// The key made ready, once it encrypted something: so one look-up is all that the next event of the subject takes.
    cipher: Option<Arc<SubjectCipher>>,
}

/// What is known of keys, so that nobody looks in the tables.
#[derive(Debug, Default)]
struct KnownKeys {
    /// Those that were asked for lately.
    there: Arc<KeyTable>,
    /// How often one of them had the place of another.
    displaced: usize,
    /// Those of subjects that were forgotten since this was opened: nobody who still sees older tables brings them back.
    forgotten: HashSet<KeyNumber>,
}

/// The key of a subject, made ready, and its number.
pub(crate) type ReadyKey = (KeyNumber, Arc<SubjectCipher>);

/// Keys made ready, to be read by many at once. Each has one place, by its number: they are given in their order, so those of subjects of about one
/// time have places of their own. What has its place keeps it, until another table follows this one.
#[derive(Debug, Default)]
pub(crate) struct KeyTable(Box<[KeyPlace]>);

/// A key with its number, once one has the place.
type KeyPlace = OnceLock<(KeyNumber, Arc<SubjectCipher>)>;

/// A key that is at hand: in a table, or fetched.
pub(crate) enum KeyAtHand<'t> {
    InTable(&'t SubjectCipher),
    Fetched(Arc<SubjectCipher>),
}

impl Deref for KeyAtHand<'_> {
    type Target = SubjectCipher;

    fn deref(&self) -> &SubjectCipher {
        match self {
            KeyAtHand::InTable(key) => key,
            KeyAtHand::Fetched(key) => key,
        }
    }
}

impl KeyTable {
    fn with_places(places: usize) -> KeyTable {
        KeyTable((0..places).map(|_| OnceLock::new()).collect())
    }

    fn place(&self, number: KeyNumber) -> Option<&KeyPlace> {
        let places = self.0.len() as u64;
        // Less than there are places: it fits.
        self.0.get(number.0.checked_rem(places)? as usize)
    }

    fn get(&self, number: KeyNumber) -> Option<&Arc<SubjectCipher>> {
        let (known, key) = self.place(number)?.get()?;
        (*known == number).then_some(key)
    }

    /// False where another has its place.
    fn insert(&self, number: KeyNumber, key: &Arc<SubjectCipher>) -> bool {
        self.place(number).is_some_and(|place| place.get_or_init(|| (number, key.clone())).0 == number)
    }

    /// The same keys but some, with more places.
    fn again(&self, places: usize, but: impl Fn(KeyNumber) -> bool) -> KeyTable {
        let table = KeyTable::with_places(places);
        for (number, key) in self.0.iter().filter_map(OnceLock::get).filter(|(number, _)| !but(*number)) {
            table.insert(*number, key);
        }
        table
    }
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
    ///
    /// It is remembered. So whoever asks holds the committer: nobody is forgotten meanwhile.
    pub fn key_of(&self, subject: &Entity, tables: &Tables) -> Result<Option<KeyNumber>> {
        if let Some(known) = locked(&self.state).given.get(subject) {
            return Ok(known.key);
        }
        let found = tables.read()?.key_of(subject)?;
        let mut keys = locked(&self.state);
        if let (Some(key), true) = (found, keys.given.len() < SUBJECTS) {
            let known = KnownSubject { key: Some(key), told: Position::START, cipher: None };
            keys.given.insert(subject.clone(), known);
        }
        Ok(found)
    }

    /// The key that a subject has, made ready, if it is at hand. As [`Keyring::key_of`], for whoever holds the committer.
    pub fn ready(&self, subject: &Entity) -> Option<ReadyKey> {
        let keys = locked(&self.state);
        let known = keys.given.get(subject)?;
        Some((known.key?, known.cipher.clone()?))
    }

    /// The same of many subjects. Each key is somewhere else in memory, which takes longer to come than all else takes: so all are asked for
    /// before one is needed.
    pub fn ready_each<'e>(&self, subjects: impl Iterator<Item = &'e Entity>) -> Vec<Option<ReadyKey>> {
        let keys = locked(&self.state);
        let found = |subject| {
            let known: &KnownSubject = keys.given.get(subject)?;
            Some((known.key?, known.cipher.as_ref()?))
        };
        let found: Vec<_> = subjects.map(found).collect();
        black_box(found.iter().flatten().filter(|(_, cipher)| cipher.is_whole()).count());
        found.into_iter().map(|ready| ready.map(|(number, cipher)| (number, cipher.clone()))).collect()
    }

    /// Has a key at hand the next time, if it is the one that its subject is known to have.
    pub fn remember(&self, subject: &Entity, number: KeyNumber, cipher: &Arc<SubjectCipher>) {
        let mut keys = locked(&self.state);
        if let Some(known) = keys.given.get_mut(subject).filter(|known| known.key == Some(number)) {
            known.cipher = Some(cipher.clone());
        }
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
            // What was made ready of another key goes.
            let known = KnownSubject { key: *key, told: position, cipher: None };
            keys.given.insert(subject.clone(), known);
        }
    }

    /// The tables have everything up to a position; these keys are gone from them.
    pub fn release(&self, through: Position, forgotten: &[KeyNumber]) {
        let mut keys = locked(&self.state);
        let full = keys.given.len() >= SUBJECTS;
        keys.given.retain(|_, known| {
            let is_gone = known.key.is_some_and(|key| forgotten.contains(&key));
            known.told > through || known.key.is_some() && !full && !is_gone
        });
        drop(keys);
        if !forgotten.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.forgotten.extend(forgotten);
            let places = known.there.0.len();
            known.there = Arc::new(known.there.again(places, |number| forgotten.contains(&number)));
        }
        self.count_forgotten(forgotten.len());
    }

    /// Some more subjects are forgotten.
    pub fn count_forgotten(&self, subjects: usize) {
        self.forgotten.fetch_add(subjects, Ordering::AcqRel);
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
        if let Some(key) = known.there.get(number) {
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
        known.insert(number, &found);
        Ok(KeyState::There(found))
    }

    /// The keys that are known now, to be read by one reader: for a moment, since none of them goes as its subject is forgotten.
    pub fn table(&self) -> Arc<KeyTable> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).there.clone()
    }

    /// What there is of a key, in a table that was taken before, or now.
    pub fn key_in<'t>(
        &self,
        table: &'t KeyTable,
        number: KeyNumber,
        look: impl FnOnce() -> Result<KeyState>,
    ) -> Result<KeyState<KeyAtHand<'t>>> {
        if let Some(key) = table.get(number) {
            return Ok(KeyState::There(KeyAtHand::InTable(key)));
        }
        Ok(match self.key(number, look)? {
            KeyState::There(key) => KeyState::There(KeyAtHand::Fetched(key)),
            KeyState::Forgotten => KeyState::Forgotten,
            KeyState::Missing => KeyState::Missing,
        })
    }
}

impl KnownKeys {
    /// Remembers a key. Where the table is full of others, or has not as many places as there are keys, another follows it.
    fn insert(&mut self, number: KeyNumber, key: &Arc<SubjectCipher>) {
        let places = self.there.0.len();
        let wanted = usize::try_from(number.0).unwrap_or(REMEMBERED).clamp(16, REMEMBERED - 1) + 1;
        if places < wanted {
            self.there = Arc::new(self.there.again(wanted.next_power_of_two(), |_| false));
        }
        if self.there.insert(number, key) {
            return;
        }
        self.displaced += 1;
        if self.displaced > places {
            (self.there, self.displaced) = (Arc::new(KeyTable::with_places(places)), 0);
            self.there.insert(number, key);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_remembered_is_the_one_of_its_number() {
        let mut known = KnownKeys::default();
        assert!(known.there.get(KeyNumber(1)).is_none());
        let mut made = HashMap::new();
        for number in (1..40).chain([1 << 13, 1 << 14, (1 << 14) + 1, u64::MAX]) {
            let key = Arc::new(SubjectCipher::new(&KeyBytes([number as u8; 32])));
            known.insert(KeyNumber(number), &key);
            made.insert(number, key);
            assert!(known.there.0.len() <= REMEMBERED);
            for (number, key) in &made {
                // Another one may have its place.
                let found = known.there.get(KeyNumber(*number));
                assert!(found.is_none_or(|found| Arc::ptr_eq(found, key)), "{number}");
            }
        }
        assert!((1..40).all(|number| known.there.get(KeyNumber(number)).is_some()));
        // One that is asked for again and again gets a place.
        let (late, key) = (KeyNumber((1 << 14) + 1), made[&1].clone());
        assert!(known.there.get(late).is_none());
        (0..=REMEMBERED).for_each(|_| known.insert(late, &key));
        assert!(known.there.get(late).is_some() && known.there.get(KeyNumber(1)).is_none());
    }

    #[test]
    fn a_key_is_at_hand_for_as_long_as_its_subject_has_it() {
        let (keyring, subject) = (Keyring::default(), Entity::new("User", "7").unwrap());
        let cipher = Arc::new(SubjectCipher::new(&KeyBytes([1; 32])));
        let given = |key: Option<u64>, position| {
            keyring
                .apply(&[GivenKey { subject: subject.clone(), key: key.map(KeyNumber) }], Position(position));
        };
        let ready = || {
            let ready = keyring.ready(&subject).map(|(number, _)| number.0);
            let nobody = Entity::new("User", "8").unwrap();
            let each = keyring.ready_each([&subject, &nobody, &subject].into_iter());
            assert_eq!(
                each.iter().map(|key| key.as_ref().map(|(number, _)| number.0)).collect::<Vec<_>>(),
                [ready, None, ready]
            );
            ready
        };
        keyring.remember(&subject, KeyNumber(1), &cipher);
        assert_eq!(ready(), None);
        given(Some(1), 3);
        assert_eq!(ready(), None);
        keyring.remember(&subject, KeyNumber(2), &cipher);
        assert_eq!(ready(), None);
        keyring.remember(&subject, KeyNumber(1), &cipher);
        assert_eq!(ready(), Some(1));
        // Nobody holds a key of one who is forgotten.
        given(None, 4);
        assert_eq!((ready(), Arc::strong_count(&cipher)), (None, 1));
        keyring.remember(&subject, KeyNumber(1), &cipher);
        assert_eq!(ready(), None);
        given(Some(2), 5);
        assert_eq!(ready(), None);
        keyring.remember(&subject, KeyNumber(2), &cipher);
        keyring.release(Position(5), &[KeyNumber(1)]);
        assert_eq!(ready(), Some(2));
        keyring.release(Position(6), &[KeyNumber(2)]);
        assert_eq!((ready(), Arc::strong_count(&cipher)), (None, 1));
    }

    #[test]
    fn a_key_that_is_forgotten_is_not_brought_back() {
        let keyring = Keyring::default();
        let look = || Ok(KeyState::There(KeyBytes([1; 32])));
        let state = |number| keyring.key(KeyNumber(number), look).unwrap();
        assert!(matches!((state(1), state(2)), (KeyState::There(_), KeyState::There(_))));
        keyring.release(Position(9), &[KeyNumber(1), KeyNumber(3)]);
        assert!(keyring.table().get(KeyNumber(1)).is_none() && keyring.table().get(KeyNumber(2)).is_some());
        assert!(matches!((state(1), state(3)), (KeyState::Forgotten, KeyState::Forgotten)));
        let table = keyring.table();
        assert!(matches!(
            keyring.key_in(&table, KeyNumber(2), look).unwrap(),
            KeyState::There(KeyAtHand::InTable(_))
        ));
        assert!(matches!(
            keyring.key_in(&table, KeyNumber(4), look).unwrap(),
            KeyState::There(KeyAtHand::Fetched(_))
        ));
        assert!(matches!(keyring.key_in(&table, KeyNumber(3), look).unwrap(), KeyState::Forgotten));
    }
}
