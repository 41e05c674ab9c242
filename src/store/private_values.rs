//! Private values, encrypted as an event is stored and decrypted as it is read. How they lie in it is told in [`crate::event::private`]; whose
//! keys they take, in [`keyring`](super::keyring).

mod prepared;

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::cipher::SubjectCipher;
use super::journal::{fill_random, random};
use super::tables::keys::KeyState;
use crate::document::Raw;
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::codec::{self, Parts, PayloadWriter, Trailer};
use crate::event::private::{
    EncryptedPart, FieldSource, FieldValues, ForgottenFields, KeyNumber, NONCE, PrivateField, TAG,
    ValuePlace, write_known,
};
use crate::event::record::Record;
use crate::event::rewritten::payload_hash;
pub(crate) use prepared::{NewFields, PreparedGroup, PreparedPrivate};

/// What events encrypt to, by their subjects: the fields and their values.
pub(crate) type PrivateValues = Vec<(Entity, Vec<PrivateField>)>;

/// Nonces of the system, some at a time: to ask for each takes longer than the cipher does. Whoever has them keeps them for a batch, not for longer: a
/// copy of a machine that runs on has the same.
#[derive(Debug, Default)]
struct Nonces {
    left: Vec<[u8; NONCE]>,
    /// How many were asked for the last time.
    asked: usize,
}

impl Nonces {
    /// How many are asked for at a time: twice as many as the last time, from the least to the most.
    const LEAST: usize = 4;
    const MOST: usize = 128;

    fn next(&mut self) -> Result<[u8; NONCE]> {
        if self.left.is_empty() {
            self.asked = (2 * self.asked).clamp(Nonces::LEAST, Nonces::MOST);
            let mut bytes = [0; NONCE * Nonces::MOST];
            let bytes = &mut bytes[..NONCE * self.asked];
            fill_random(bytes)?;
            self.left.extend(bytes.as_chunks::<NONCE>().0);
        }
        match self.left.pop() {
            Some(nonce) => Ok(nonce),
            // There are some: they were just asked for.
            None => random(),
        }
    }
}

/// Writes parts of trailers, for as long as a batch takes.
#[derive(Debug, Default)]
pub(crate) struct PartWriter {
    nonces: Nonces,
    /// What the last part was bound to.
    bound: Vec<u8>,
    /// Where the values of the last event were, in their order.
    places: Vec<ValuePlace>,
}

impl PartWriter {
    /// Encrypts values, and writes them as a part behind others. `known` writes what is known of it beside the key, and `values` the values.
    fn write(
        &mut self,
        trailer: &mut Vec<u8>,
        position: Position,
        (number, cipher): (KeyNumber, &SubjectCipher),
        known: impl FnOnce(&mut Vec<u8>),
        values: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Result<()> {
        let nonce = self.nonces.next()?;
        let begins = trailer.len();
        trailer.extend_from_slice(&number.0.to_be_bytes());
        known(trailer);
        self.bound.clear();
        bind(&mut self.bound, position, &trailer[begins..]);
        trailer.extend_from_slice(&nonce);
        trailer.extend_from_slice(&[0; 4]);
        let begins = trailer.len();
        values(trailer).ok_or_else(|| unreadable(position))?;
        let length = (trailer.len() - begins + TAG) as u32;
        trailer[begins - 4..begins].copy_from_slice(&length.to_be_bytes());
        let tag = cipher.encrypt(&nonce, &mut trailer[begins..], &self.bound)?;
        trailer.extend_from_slice(&tag);
        Ok(())
    }
}

/// The stored form of an event of which more is private than when it was appended, or rewritten the last time: `stored` has that in plain. `key` gives
/// the key of a subject.
pub(crate) fn rewrite(
    position: Position,
    stored: &[u8],
    private: &PrivateValues,
    parts: &mut PartWriter,
    mut key: impl FnMut(&Entity) -> Result<(KeyNumber, Arc<SubjectCipher>)>,
) -> Result<Vec<u8>> {
    let record = Record::open(position, stored)?;
    let mut trailer = record.encrypted().to_vec();
    for (subject, fields) in private {
        let (number, cipher) = key(subject)?;
        let known = |out: &mut Vec<u8>| write_known(out, subject, fields.len(), fields.iter());
        let values = |out: &mut Vec<u8>| write_values(out, fields, &record);
        parts.write(&mut trailer, position, (number, &cipher), known, values)?;
    }
    record.original().write(&mut trailer);
    without_values(&record, private, Trailer::Rewritten(&trailer))
}

/// Writes the values of fields, one after another; none where they are not all there.
fn write_values<'a>(out: &mut Vec<u8>, fields: &[PrivateField], event: &impl FieldSource<'a>) -> Option<()> {
    for field in fields {
        let value = field.value(event)?.0;
        let rest = Raw(value).skip()?;
        out.extend_from_slice(&value[..value.len() - rest.len()]);
    }
    Some(())
}

/// The event with null in the places of values, and a trailer.
fn without_values(record: &Record, private: &PrivateValues, trailer: Trailer) -> Result<Vec<u8>> {
    let places = FieldValues::blank(private.iter().flat_map(|(_, fields)| fields));
    let (data, metadata) = (record.data().0, record.metadata().0);
    let size = data.len() + metadata.len() + trailer.bytes().len() + 4;
    let mut out = Vec::with_capacity(codec::LEAD + record.header().len() + 4 + size);
    let mut writer = PayloadWriter::behind(record.header(), &mut out);
    place(&places, data, metadata, &mut writer).ok_or_else(|| unreadable(record.position()))?;
    writer.finish(record.position(), Some(trailer));
    Ok(out)
}

/// The event with its private values in their places. Those whose subject is forgotten stay null, and are named.
///
/// # Errors
/// [`Error::Corrupt`] where a key is missing, or does not fit.
pub(crate) fn decrypt<K: Deref<Target = SubjectCipher>>(
    position: Position,
    stored: &[u8],
    mut key: impl FnMut(KeyNumber) -> Result<KeyState<K>>,
) -> Result<Vec<u8>> {
    let event = codec::parts(position, stored).ok_or_else(|| codec::damage(position, stored))?;
    let Parts { header, data, metadata, trailer: Some(trailer) } = event else { return Ok(stored.to_vec()) };
    let trailer = trailer.encrypted();
    let mut plain = PlainValues::with_capacity(2 * trailer.len());
    let (mut parts, mut forgotten) = (Vec::new(), Vec::new());
    for part in EncryptedPart::all(position, trailer) {
        let part = part?;
        match key(part.key)? {
            KeyState::There(cipher) => parts.push((part, plain.decrypt(position, &part, &cipher)?)),
            KeyState::Forgotten => forgotten.extend(part.fields()),
            KeyState::Missing => return Err(missing_key(position, &part)?),
        }
    }
    let mut places = FieldValues::default();
    for (part, values) in parts {
        places.put(&part, &plain.0[values]).ok_or_else(|| unreadable(position))?;
    }
    // The trailer is longer than the values within.
    let mut out = Vec::with_capacity(stored.len());
    let mut writer = PayloadWriter::behind(header, &mut out);
    place(&places, data, metadata, &mut writer).ok_or_else(|| unreadable(position))?;
    let named = (!forgotten.is_empty()).then(|| ForgottenFields::write(&forgotten));
    writer.finish(position, named.as_deref().map(Trailer::Forgotten));
    Ok(out)
}

/// All values of an event, one after another, and behind them for a moment what the last are bound to.
struct PlainValues(Vec<u8>);

impl PlainValues {
    fn with_capacity(size: usize) -> PlainValues {
        PlainValues(Vec::with_capacity(size))
    }

    /// Decrypts the values of a part. Tells where they are.
    #[inline]
    fn decrypt(
        &mut self,
        position: Position,
        part: &EncryptedPart,
        cipher: &SubjectCipher,
    ) -> Result<Range<usize>> {
        let begins = self.0.len();
        self.0.extend_from_slice(part.ciphertext);
        let ends = self.0.len();
        bind(&mut self.0, position, part.known);
        let (values, bound) = self.0[begins..].split_at_mut(ends - begins);
        if !cipher.decrypt(part.nonce, values, bound, part.tag)? {
            let whose = part.subject(position)?;
            let place = format!("the private values of {whose} in the event at {position}");
            return Err(Error::corrupt(place, "what its key does not fit"));
        }
        self.0.truncate(ends);
        Ok(begins..ends)
    }
}

/// The payload of an event that was rewritten, as it was appended; none where a key is forgotten that it takes.
///
/// # Errors
/// [`Error::Corrupt`] where it is not the one whose hash is kept, and where a key is missing.
pub(crate) fn original_payload(
    position: Position,
    stored: &[u8],
    mut key: impl FnMut(KeyNumber) -> Result<KeyState<Arc<SubjectCipher>>>,
) -> Result<Option<OriginalPayload>> {
    let record = Record::open(position, stored)?;
    let (trailer, original) = (record.encrypted(), record.original());
    let (own, added) = trailer.split_at_checked(original.parts).ok_or_else(|| unreadable(position))?;
    let mut plain = PlainValues::with_capacity(2 * added.len());
    let mut parts = Vec::new();
    for part in EncryptedPart::all(position, added) {
        let part = part?;
        match key(part.key)? {
            KeyState::There(cipher) => parts.push((part, plain.decrypt(position, &part, &cipher)?)),
            KeyState::Forgotten => return Ok(None),
            KeyState::Missing => return Err(missing_key(position, &part)?),
        }
    }
    let mut places = FieldValues::default();
    for (part, values) in parts {
        places.put(&part, &plain.0[values]).ok_or_else(|| unreadable(position))?;
    }
    let (mut data, mut metadata) = (Vec::new(), Vec::new());
    let placed = places.write_data(record.data().0, &mut data);
    placed
        .and_then(|()| places.write_metadata(record.metadata().0, &mut metadata))
        .ok_or_else(|| unreadable(position))?;
    if payload_hash(&data, &metadata, own) != original.hash {
        let place = format!("the event at {position}, which was rewritten");
        return Err(Error::corrupt(place, "another payload than the one that it was appended with"));
    }
    Ok(Some(OriginalPayload { data, metadata, encrypted: own.to_vec() }))
}

/// What an event was appended with: `data`, `metadata`, and what was encrypted of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginalPayload {
    pub data: Vec<u8>,
    pub metadata: Vec<u8>,
    pub encrypted: Vec<u8>,
}

fn missing_key(position: Position, part: &EncryptedPart) -> Result<Error> {
    let place = format!("the key of {}, of the event at {position}", part.subject(position)?);
    Ok(Error::corrupt(place, "nothing, and it was not forgotten"))
}

/// Writes data and metadata with values in their places.
fn place(places: &FieldValues, data: &[u8], metadata: &[u8], writer: &mut PayloadWriter) -> Option<()> {
    places.write_data(data, writer.out())?;
    writer.end_data();
    places.write_metadata(metadata, writer.out())
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

#[cfg(all(test, feature = "encryption"))]
mod tests {
    use super::*;
    use crate::event::codec::{Assigned, encode};
    use crate::event::private::FieldRoot;
    use crate::event::{EventId, NewEvent};
    use crate::store::catalog::Catalog;
    use crate::store::chain::link;
    use crate::store::tables::keys::KeyBytes;
    use crate::{Timestamp, Version};

    const AT: Position = Position(7);

    fn new() -> NewEvent {
        NewEvent::new("User.moved")
            .on(("User", 7))
            .data(&serde_json::json!({"name": "Ann", "address": {"street": "Elm Street", "zip": null, "city": "Oslo"}, "n": 5}))
            .metadata(&serde_json::json!({"ip": "::1", "by": "web"}))
    }

    fn write(out: &mut Vec<u8>, new: &NewEvent) {
        let assigned = Assigned {
            position: AT,
            version: Version(1),
            id: &EventId::new("one").unwrap(),
            own_id: false,
            recorded: Timestamp::from_millis(5),
            seal: None,
        };
        encode(out, new, new.kind.as_ref().unwrap(), new.owner(), &assigned);
    }

    fn stored() -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &new());
        out
    }

    /// What it is stored as behind others.
    fn encrypted(private: &PrivateValues) -> Vec<u8> {
        let new = new();
        let fields = NewFields { new: &new, kind: new.kind.as_ref().unwrap(), target: new.owner() };
        let prepared = PreparedPrivate::of(private, &Catalog::default(), fields).unwrap();
        let mut out = b"others".to_vec();
        write(&mut out, &new);
        prepared
            .encrypt(AT, fields, (&mut out, 6), &mut PartWriter::default(), |_, whose| one_key(whose))
            .unwrap();
        assert!(out.starts_with(b"others"));
        out.split_off(6)
    }

    fn one_key(_: &Entity) -> Result<(KeyNumber, Arc<SubjectCipher>)> {
        Ok((KeyNumber(5), cipher()))
    }

    fn field(root: FieldRoot, names: &[&str]) -> PrivateField {
        PrivateField::new(root, names.iter().copied())
    }

    fn user() -> Entity {
        Entity::new("User", "7").unwrap()
    }

    fn cipher() -> Arc<SubjectCipher> {
        Arc::new(SubjectCipher::new(&KeyBytes([3; 32])))
    }

    fn there(_: KeyNumber) -> Result<KeyState<Arc<SubjectCipher>>> {
        Ok(KeyState::There(cipher()))
    }

    #[test]
    fn what_is_rewritten_is_the_same_event_and_tells_what_it_was_appended_with() {
        let plain = stored();
        let street = vec![(user(), vec![field(FieldRoot::Data, &["address", "street"])])];
        let others =
            vec![(user(), vec![field(FieldRoot::Data, &["name"]), field(FieldRoot::Metadata, &["ip"])])];
        let city = vec![(user(), vec![field(FieldRoot::Data, &["address", "city"])])];
        let encrypted = encrypted(&street);
        for before in [&plain, &encrypted] {
            let once = rewrite(AT, before, &others, &mut PartWriter::default(), one_key).unwrap();
            let twice = rewrite(AT, &once, &city, &mut PartWriter::default(), one_key).unwrap();
            for rewritten in [&once, &twice] {
                assert!(
                    codec::is_encrypted(rewritten) && Record::open(AT, rewritten).unwrap().is_rewritten()
                );
                assert_eq!(decrypt(AT, rewritten, there).unwrap(), plain);
                assert_eq!(link([1; 32], AT, rewritten).unwrap(), link([1; 32], AT, before).unwrap());
                let record = Record::open(AT, before).unwrap();
                let original = OriginalPayload {
                    data: record.data().0.to_vec(),
                    metadata: record.metadata().0.to_vec(),
                    encrypted: record.encrypted().to_vec(),
                };
                assert_eq!(original_payload(AT, rewritten, there).unwrap(), Some(original));
                assert_eq!(original_payload(AT, rewritten, |_| Ok(KeyState::Forgotten)).unwrap(), None);
                assert!(original_payload(AT, rewritten, |_| Ok(KeyState::Missing)).is_err());
            }
            let text = String::from_utf8_lossy(&twice).into_owned();
            assert!(
                !text.contains("Ann")
                    && !text.contains("::1")
                    && !text.contains("Oslo")
                    && text.contains("web")
            );
        }
    }

    #[test]
    fn what_is_encrypted_as_it_is_written_reads_as_it_was() {
        let (name, city) = (field(FieldRoot::Data, &["name"]), field(FieldRoot::Data, &["address", "city"]));
        let (address, ip) = (field(FieldRoot::Data, &["address"]), field(FieldRoot::Metadata, &["ip"]));
        let other = Entity::new("Company", &"c".repeat(40)).unwrap();
        let cases = [
            vec![(user(), vec![name.clone()])],
            vec![(user(), vec![name.clone(), city, ip.clone()])],
            vec![(user(), vec![ip, name]), (other, vec![address])],
        ];
        let plain = stored();
        for private in cases {
            let stored = encrypted(&private);
            assert_eq!(decrypt(AT, &stored, there).unwrap(), plain);
            let record = Record::open(AT, &stored).unwrap();
            let parts = EncryptedPart::all(AT, record.encrypted()).map(|part| {
                let part = part.unwrap();
                (part.subject(AT).unwrap(), part.fields().collect())
            });
            assert_eq!(parts.collect::<PrivateValues>(), private);
            for (_, fields) in &private {
                assert!(fields.iter().all(|field| field.value(&record).is_none()));
            }
            // Another position, and another key, read nothing.
            let mut moved = stored.clone();
            let checksum = codec::checksum(Position(8), &moved[4..]);
            moved[..4].copy_from_slice(&checksum.to_be_bytes());
            assert!(decrypt(Position(8), &moved, there).is_err());
            let other = || Ok(KeyState::There(Arc::new(SubjectCipher::new(&KeyBytes([4; 32])))));
            assert!(decrypt(AT, &stored, |_| other()).is_err());
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let mut nonces = Nonces::default();
        let made: std::collections::HashSet<_> = (0..1000).map(|_| nonces.next().unwrap()).collect();
        assert_eq!(made.len(), 1000);
    }

    #[test]
    fn a_change_of_what_is_rewritten_is_told() {
        let names = vec![(user(), vec![field(FieldRoot::Data, &["name"])])];
        let plain = stored();
        let record = Record::open(AT, &plain).unwrap();
        let whole = [record.data().0, record.metadata().0].concat();
        let rewritten = rewrite(AT, &plain, &names, &mut PartWriter::default(), one_key).unwrap();
        let header = Record::open(AT, &rewritten).unwrap().header().len();
        let mut told = 0;
        for at in codec::LEAD + header..rewritten.len() {
            let mut changed = rewritten.clone();
            changed[at] ^= 1;
            let checksum = codec::checksum(AT, &changed[4..]);
            changed[..4].copy_from_slice(&checksum.to_be_bytes());
            // The hash itself is in the chain, where a change of it is noticed. It is of `data` and `metadata` one behind the other, so where one
            // ends is no part of it.
            let same = |found: &OriginalPayload| [&found.data[..], &found.metadata].concat() == whole;
            let original = original_payload(AT, &changed, there);
            assert!(
                original.as_ref().map_or(true, |found| found.as_ref().is_some_and(same)),
                "{at}: {original:?}"
            );
            told += usize::from(original.is_err());
        }
        assert!(told > 100);
    }
}
