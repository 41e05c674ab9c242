//! The events of a memtable whose private values are encrypted: their bytes, one behind the other, and whose values they have.
//!
//! They are in memory in this form alone, and whoever reads one decrypts it: so they take no more memory than they do in the file. Who appends only
//! copies the bytes. The lists of the subjects are made of them when they move into the tables, or when one is asked for: nobody
//! does but who forgets somebody, and who verifies.

use std::collections::HashMap;
use std::sync::Arc;

use super::Term;
use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::event::private::{EncryptedPart, KeyNumber};
use crate::event::record::Record;
use crate::store::keyring::{given_keys, subject_terms};

/// How many bytes the first piece has, and the most that one has, unless an event is longer. Each has twice as many as the one before.
const FIRST: usize = 4 << 10;
const MOST: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct EncryptedEvents {
    /// The bytes, in pieces that are not moved as more come.
    pieces: Vec<Vec<u8>>,
    /// Of each event where it is, ascending.
    places: Vec<EncryptedPlace>,
}

#[derive(Debug, Clone, Copy)]
struct EncryptedPlace {
    /// Among the events of the memtable.
    event: usize,
    piece: usize,
    begins: usize,
    length: usize,
}

impl EncryptedEvents {
    /// Adds an event behind the others. Tells how many bytes of memory it takes.
    pub fn push(&mut self, event: usize, bytes: &[u8]) -> usize {
        let has_room = |piece: &Vec<u8>| piece.capacity() - piece.len() >= bytes.len();
        if !self.pieces.last().is_some_and(has_room) {
            let doubled = FIRST.checked_shl(self.pieces.len() as u32).unwrap_or(MOST).clamp(FIRST, MOST);
            self.pieces.push(Vec::with_capacity(doubled.max(bytes.len())));
        }
        let at = self.pieces.len() - 1;
        let Some(piece) = self.pieces.last_mut() else { return 0 };
        self.places.push(EncryptedPlace { event, piece: at, begins: piece.len(), length: bytes.len() });
        piece.extend_from_slice(bytes);
        bytes.len() + size_of::<EncryptedPlace>()
    }

    /// The bytes of an event; none where it is not encrypted.
    pub fn get(&self, event: usize) -> Option<&[u8]> {
        let at = self.places.binary_search_by_key(&event, |place| place.event).ok()?;
        self.bytes(self.places.get(at)?)
    }

    fn bytes(&self, place: &EncryptedPlace) -> Option<&[u8]> {
        self.pieces.get(place.piece)?.get(place.begins..)?.get(..place.length)
    }

    /// Each but so many of the first, with its place among the events of the memtable.
    fn each_behind(&self, first: usize) -> impl Iterator<Item = (usize, &[u8])> {
        let places = self.places.get(first..).unwrap_or_default();
        places.iter().filter_map(|place| Some((place.event, self.bytes(place)?)))
    }

    /// Each with its place among the events of the memtable.
    pub fn each(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.each_behind(0)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The lists of all subjects, in the order of their terms.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) where an event is not as it was written.
    pub fn lists(&self, first: Position) -> Result<Vec<(Term, Vec<Position>)>> {
        let mut entries: Vec<(KeyNumber, [&[u8]; 2], Position)> = Vec::with_capacity(self.places.len());
        for (event, stored) in self.each() {
            let position = first.plus(event as u64);
            for part in EncryptedPart::all(position, Record::open(position, stored)?.encrypted()) {
                let part = part?;
                entries.push((part.key, part.subject_bytes(), position));
            }
        }
        // Numbers sort faster than names, and a key is of one subject: nearly always each run is a list.
        entries.sort_unstable_by_key(|&(key, _, position)| (key, position));
        let runs = entries.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1));
        let mut lists: Vec<(Term, Vec<Position>)> = Vec::new();
        for run in runs {
            let [(_, subject, _), ..] = run else { continue };
            let positions = run.iter().map(|&(_, _, position)| position);
            lists.push((Term::subject_of(*subject)?, positions.collect()));
        }
        lists.sort_by(|(one, _), (other, _)| one.cmp(other));
        // One who was forgotten and came again has two keys.
        let mut merged: Vec<(Term, Vec<Position>)> = Vec::with_capacity(lists.len());
        for (term, positions) in lists {
            match merged.last_mut() {
                Some((last, list)) if *last == term => list.extend(positions),
                _ => merged.push((term, positions)),
            }
        }
        for (_, list) in &mut merged {
            list.sort_unstable();
            list.dedup();
        }
        Ok(merged)
    }
}

/// The lists of subjects, once somebody asked for one: of so many events as there were then.
#[derive(Debug, Default)]
pub(super) struct SubjectLists {
    events: usize,
    lists: HashMap<Term, Vec<Position>>,
}

impl SubjectLists {
    /// Of how many events they are.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Takes in those that came since; `first` is the position of the first event of the memtable.
    pub fn extend(&mut self, events: &EncryptedEvents, first: Position) {
        for (event, stored) in events.each_behind(self.events) {
            let position = first.plus(event as u64);
            // What is not read is told of when it moves into the tables.
            let terms = given_keys(position, stored).and_then(|given| subject_terms(&given));
            for term in terms.unwrap_or_default() {
                self.lists.entry(term).or_default().push(position);
            }
        }
        self.events = events.len();
    }

    /// The entries of a list within a range.
    pub fn within(&self, subject: &Term, range: PositionRange) -> &[Position] {
        self.lists.get(subject).map_or(&[], |list| range.of(list))
    }
}

/// An event as it is stored, where that is encrypted.
#[derive(Debug, Clone)]
pub(crate) enum StoredForm {
    /// Bytes of its own.
    Own(Arc<[u8]>),
    /// Where it lies in the payload of the frame that it came in.
    InFrame { begins: usize, ends: usize },
}

impl StoredForm {
    /// Its bytes; none where the frame is another.
    pub fn bytes<'b>(&'b self, frame: &'b [u8]) -> Option<&'b [u8]> {
        match self {
            StoredForm::Own(bytes) => Some(bytes),
            StoredForm::InFrame { begins, ends } => frame.get(*begins..*ends),
        }
    }
}

#[cfg(all(test, feature = "encryption"))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::entity::Entity;
    use crate::event::codec::{Assigned, encode};
    use crate::event::private::{FieldRoot, PrivateField};
    use crate::event::{EventId, NewEvent};
    use crate::store::cipher::SubjectCipher;
    use crate::store::memtable::{Memtable, Staged};
    use crate::store::private_values::{PartWriter, rewrite};
    use crate::store::tables::keys::KeyBytes;
    use crate::{Timestamp, Version};

    const FIRST_POSITION: Position = Position(10);

    /// An event whose fields are each of one subject, under a key.
    fn encrypted(position: Position, subjects: &[(&str, u64)]) -> Vec<u8> {
        let note = "n".repeat(position.0 as usize * 40);
        let new =
            NewEvent::new("User.moved").on(("User", 7)).data(&serde_json::json!({"a": note, "b": 2, "c": 3}));
        let assigned = Assigned {
            position,
            version: Version(1),
            id: &EventId::new("one").unwrap(),
            own_id: false,
            recorded: Timestamp::from_millis(5),
            seal: None,
        };
        let mut plain = Vec::new();
        encode(&mut plain, &new, new.kind.as_ref().unwrap(), new.owner(), &assigned);
        let fields = ["a", "b", "c"].map(|name| PrivateField::new(FieldRoot::Data, [name]));
        let values = subjects
            .iter()
            .zip(fields)
            .map(|((id, _), field)| (Entity::new("User", id).unwrap(), vec![field]));
        let mut keys = subjects.iter().map(|(_, key)| KeyNumber(*key));
        let key = |_: &Entity| Ok((keys.next().unwrap(), Arc::new(SubjectCipher::new(&KeyBytes([1; 32])))));
        rewrite(position, &plain, &values.collect(), &mut PartWriter::default(), key).unwrap()
    }

    #[test]
    fn what_was_added_is_there_and_in_the_lists_of_its_subjects() {
        // One who was forgotten and came again, two in one event, one who is there twice, and events that are not encrypted between.
        let cases: [&[(&str, u64)]; 6] =
            [&[("7", 1)], &[("8", 2), ("7", 1)], &[], &[("7", 3)], &[("9", 4), ("9", 5)], &[("8", 2)]];
        let (mut events, mut asked) = (EncryptedEvents::default(), SubjectLists::default());
        let (mut model, mut bytes) = (BTreeMap::<Term, Vec<Position>>::new(), Vec::new());
        for event in 0..90 {
            let (position, subjects) = (FIRST_POSITION.plus(event), cases[event as usize % cases.len()]);
            let event = event as usize;
            let stored = (!subjects.is_empty()).then(|| encrypted(position, subjects));
            if let Some(stored) = &stored {
                assert!(events.push(event, stored) >= stored.len());
            }
            bytes.push(stored);
            for (id, _) in subjects {
                let list =
                    model.entry(Term::subject(&Entity::new("User", id).unwrap()).unwrap()).or_default();
                if list.last() != Some(&position) {
                    list.push(position);
                }
            }
            if event.is_multiple_of(31) {
                asked.extend(&events, FIRST_POSITION);
                for (term, list) in &model {
                    assert_eq!(asked.within(term, PositionRange::ALL), list);
                }
            }
        }
        assert!(events.pieces.len() > 3);
        for (event, stored) in bytes.iter().enumerate() {
            assert_eq!(events.get(event), stored.as_deref());
        }
        let each: Vec<_> = events.each().map(|(event, stored)| (event, stored.to_vec())).collect();
        let expected = bytes.into_iter().enumerate().filter_map(|(event, stored)| Some((event, stored?)));
        assert_eq!(each, expected.collect::<Vec<_>>());
        assert_eq!(events.lists(FIRST_POSITION).unwrap(), model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn in_memory_is_one_form_alone() {
        let (memtable, position) = (Memtable::new(FIRST_POSITION), FIRST_POSITION);
        let (plain, stored): (Arc<[u8]>, Arc<[u8]>) =
            ([7; 900].into(), encrypted(position, &[("7", 1)]).into());
        let form = Some(StoredForm::Own(stored.clone()));
        let staged =
            Staged { bytes: plain.clone(), encrypted: form, keys: Vec::new(), terms: Vec::new(), version: 1 };
        memtable.extend([staged], &[]).unwrap();
        assert_eq!(Arc::strong_count(&plain), 1);
        assert_eq!(memtable.stored(position).unwrap(), stored);
        assert_eq!(memtable.read().stored(), [&*stored]);
        let (events, bytes) = memtable.size();
        assert!(events == 1 && bytes < stored.len() + 100, "{bytes}");
    }

    #[test]
    fn what_is_no_event_is_told_of() {
        let mut events = EncryptedEvents::default();
        events.push(0, b"none");
        assert!(events.lists(FIRST_POSITION).is_err());
    }
}
