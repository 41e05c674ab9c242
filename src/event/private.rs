//! Private values: fields of an event that are about a person, stored encrypted under that person's key.
//!
//! In the stored form they are null in their places, and a trailer has them: of each subject a part, one after another.
//!
//! | of a part | bytes |
//! |---|---|
//! | key | 8, big-endian: the number of the subject's key |
//! | what is known of it | MessagePack: the kind and the id of the subject, then the fields as an array of texts |
//! | nonce | 12 |
//! | length | 4, big-endian |
//! | ciphertext | the values, MessagePack one after another in the order of the fields, and a tag of 16 bytes |
//!
//! Here is how they are laid out; who has the keys, and what cipher it is, is told in `store/keyring.rs`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::record::Record;
use crate::document::raw::{Raw, RawKind};
use crate::entity::{Entity, EntityStr, NameText, Position};
use crate::error::{Error, Result};

/// How many bytes a nonce has.
pub(crate) const NONCE: usize = 12;

/// How many bytes the tag has that tells whether values were changed.
pub(crate) const TAG: usize = 16;

/// How many fields one definition has, and how many names lead to one.
pub(crate) const MAX_FIELDS: usize = 64;
pub(crate) const MAX_NAMES: usize = 16;

/// What null is in MessagePack.
const NIL: u8 = 0xc0;

/// An event that private fields, and their subjects, are looked for in: one that is stored, or one that is to be.
pub(crate) trait FieldSource<'a> {
    /// Its type.
    fn kind(&self) -> &'a str;
    fn root(&self, root: FieldRoot) -> Raw<'a>;
    fn target(&self) -> Option<EntityStr<'a>>;
    fn actor(&self) -> Option<EntityStr<'a>>;

    fn target_entity(&self) -> Option<Entity> {
        self.target().map(Entity::from)
    }

    fn actor_entity(&self) -> Option<Entity> {
        self.actor().map(Entity::from)
    }
}

impl<'a> FieldSource<'a> for Record<'a> {
    fn kind(&self) -> &'a str {
        Record::kind(self)
    }

    fn root(&self, root: FieldRoot) -> Raw<'a> {
        match root {
            FieldRoot::Data => self.data(),
            FieldRoot::Metadata => self.metadata(),
        }
    }

    fn target(&self) -> Option<EntityStr<'a>> {
        Record::target(self)
    }

    fn actor(&self) -> Option<EntityStr<'a>> {
        Record::actor(self)
    }
}

/// A member of `data` or `metadata`, or one within it: `data.address.street`.
///
/// It is held as it is stored: the root and the names, a zero byte between them, which no name has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PrivateField(Arc<str>);

/// In which object a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FieldRoot {
    Data,
    Metadata,
}

impl FieldRoot {
    pub fn word(self) -> &'static str {
        match self {
            FieldRoot::Data => "data",
            FieldRoot::Metadata => "metadata",
        }
    }

    /// What these names lead to, a zero byte between them; none where there is nothing, or null.
    fn value<'a>(object: Raw<'a>, names: &[u8]) -> Option<Raw<'a>> {
        let found = match names {
            [] => object,
            _ => names.split(|&byte| byte == 0).try_fold(object, Raw::member_named)?,
        };
        (!found.is_null()).then_some(found)
    }

    /// The root of a stored field, and the names behind it.
    fn split(stored: &[u8]) -> Option<(FieldRoot, &[u8])> {
        let roots = [FieldRoot::Data, FieldRoot::Metadata].into_iter();
        roots.zip([&b"data"[..], &b"metadata"[..]]).find_map(|(root, word)| {
            match stored.strip_prefix(word)? {
                // The object as a whole is no private field, but may be asked for.
                [] => Some((root, &[][..])),
                [0, names @ ..] => Some((root, names)),
                _ => None,
            }
        })
    }
}

/// Where a value is within an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValuePlace {
    root: FieldRoot,
    // No object has as many bytes.
    begins: u32,
    ends: u32,
}

impl ValuePlace {
    /// The place of a value within an object, and what follows it.
    fn of(root: FieldRoot, object: Raw, value: Raw, behind: &[u8]) -> Option<ValuePlace> {
        let from_end = |rest: &[u8]| u32::try_from(object.0.len().checked_sub(rest.len())?).ok();
        Some(ValuePlace { root, begins: from_end(value.0)?, ends: from_end(behind)? })
    }

    pub fn is_in_data(self) -> bool {
        self.root == FieldRoot::Data
    }

    pub fn range(self) -> Range<usize> {
        self.begins as usize..self.ends as usize
    }
}

/// Writes an object with null in these places, which ascend; none where it does not have them.
pub(crate) fn write_blank(
    out: &mut Vec<u8>,
    object: &[u8],
    places: impl Iterator<Item = Range<usize>>,
) -> Option<()> {
    let mut begins = 0;
    for place in places {
        out.extend_from_slice(object.get(begins..place.start)?);
        out.push(NIL);
        begins = place.end;
    }
    out.extend_from_slice(object.get(begins..)?);
    Some(())
}

impl PrivateField {
    pub fn new<'n>(root: FieldRoot, names: impl IntoIterator<Item = &'n str>) -> PrivateField {
        let mut stored = root.word().to_owned();
        for name in names {
            stored.push('\0');
            stored.push_str(name);
        }
        PrivateField(stored.into())
    }

    /// Reads the stored form.
    pub fn stored(stored: &[u8]) -> Option<PrivateField> {
        FieldRoot::split(stored)?;
        Some(PrivateField(std::str::from_utf8(stored).ok()?.into()))
    }

    /// Reads what it displays as.
    fn named(text: &str) -> Option<PrivateField> {
        let end = text.find('.').unwrap_or(text.len());
        let (root, mut rest) = text.split_at(end);
        let mut stored = root.to_owned();
        while !rest.is_empty() {
            let (name, after) = NameText::read(rest.strip_prefix('.')?)?;
            stored.push('\0');
            stored.push_str(&name);
            rest = after;
        }
        PrivateField::stored(stored.as_bytes())
    }

    /// In which object it is, and the names that lead to it.
    fn root(&self) -> (FieldRoot, &[u8]) {
        // Whoever makes one sees to it that it has a root.
        FieldRoot::split(self.0.as_bytes()).unwrap_or((FieldRoot::Data, &[]))
    }

    /// A member of it; none where that has a name which no field can have, or is too deep.
    pub fn within(&self, name: &[u8]) -> Option<PrivateField> {
        let name = std::str::from_utf8(name).ok()?;
        let is_one = !name.contains('\0') && self.names().count() < MAX_NAMES;
        is_one.then(|| PrivateField(format!("{}\0{name}", self.0).into()))
    }

    /// Whether it is in the data.
    pub fn is_in_data(&self) -> bool {
        self.root().0 == FieldRoot::Data
    }

    /// The names that lead to it.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('\0').skip(1)
    }

    /// Whether the other is this one, or within it.
    pub fn holds(&self, other: &PrivateField) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('\0'))
    }

    /// Whether one of them is the other, or within it.
    pub fn meets(&self, other: &PrivateField) -> bool {
        self.holds(other) || other.holds(self)
    }

    /// The value there, and what follows it; none where there is nothing, or null.
    pub fn value<'a>(&self, event: &impl FieldSource<'a>) -> Option<Raw<'a>> {
        let (root, names) = self.root();
        FieldRoot::value(event.root(root), names)
    }

    /// Where that value is.
    pub fn place<'a>(&self, event: &impl FieldSource<'a>) -> Option<ValuePlace> {
        let (root, names) = self.root();
        let object = event.root(root);
        let value = FieldRoot::value(object, names)?;
        ValuePlace::of(root, object, value, value.skip()?)
    }
}

impl fmt::Display for PrivateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.0.split('\0');
        f.write_str(names.next().unwrap_or_default())?;
        names.try_for_each(|name| write!(f, ".{}", NameText(name)))
    }
}

/// Whose the private values of an event are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubjectPath {
    /// Of the entity that the event is about.
    Target,
    /// Of who brought it about.
    Actor,
    /// Of an entity of a kind, whose id a field has.
    Field(String, PrivateField),
}

impl fmt::Display for SubjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectPath::Target => f.write_str("target"),
            SubjectPath::Actor => f.write_str("actor"),
            SubjectPath::Field(kind, path) => write!(f, "{} ({path})", NameText(kind)),
        }
    }
}

impl SubjectPath {
    /// The subject of an event; none where it does not say.
    pub fn subject<'a>(&self, event: &impl FieldSource<'a>) -> Option<Entity> {
        match self {
            SubjectPath::Target => event.target_entity(),
            SubjectPath::Actor => event.actor_entity(),
            SubjectPath::Field(kind, path) => match path.value(event)?.form()? {
                (RawKind::Text(text), _) => Entity::new(kind, std::str::from_utf8(text).ok()?).ok(),
                (RawKind::Int(id), _) => Entity::new(kind, &id.to_string()).ok(),
                (RawKind::UInt(id), _) => Entity::new(kind, &id.to_string()).ok(),
                _ => None,
            },
        }
    }
}

/// The number of a subject's key. A subject that is forgotten and comes again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct KeyNumber(pub u64);

/// What an event has of one subject, encrypted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncryptedPart<'a> {
    pub key: KeyNumber,
    /// What the cipher binds the values to, beside their event: the key, whose it is, and the fields.
    pub known: &'a [u8],
    /// The kind and the id of the subject.
    subject: [&'a [u8]; 2],
    /// The fields, as they stand in an array.
    fields: (usize, &'a [u8]),
    pub nonce: &'a [u8; NONCE],
    /// The values, encrypted, and their tag.
    pub ciphertext: &'a [u8],
    pub tag: &'a [u8; TAG],
}

/// Writes what is known of a part behind the number of its key: whose it is, and the fields of which it has the values, so many.
pub(crate) fn write_known<'f>(
    out: &mut Vec<u8>,
    subject: &Entity,
    count: usize,
    fields: impl Iterator<Item = &'f PrivateField>,
) {
    put_text(out, subject.kind());
    put_text(out, subject.id());
    write_fields(out, count, fields);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    if let (count @ 0..32, bytes) = (text.len(), text.as_bytes()) {
        out.push(0xa0 | count as u8);
        out.extend_from_slice(bytes);
        return;
    }
    let written = rmp_serde::encode::write(out, text);
    debug_assert!(written.is_ok(), "a text always has a form");
}

fn write_fields<'f>(out: &mut Vec<u8>, count: usize, fields: impl Iterator<Item = &'f PrivateField>) {
    match count {
        count @ 0..16 => out.push(0x90 | count as u8),
        count => {
            out.push(0xdd);
            // No event has as many.
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
    fields.for_each(|field| put_text(out, &field.0));
}

impl<'a> EncryptedPart<'a> {
    /// Takes the next part from a trailer.
    fn read(trailer: &mut &'a [u8]) -> Option<EncryptedPart<'a>> {
        let all = *trailer;
        let (key, rest) = all.split_first_chunk::<8>()?;
        let (kind, rest) = Raw(rest).text()?;
        let (id, rest) = Raw(rest).text()?;
        let (RawKind::Array(count), listed) = Raw(rest).form()? else { return None };
        let mut rest = listed;
        for _ in 0..count {
            let (field, behind) = Raw(rest).text()?;
            // Each name is a step into an object.
            if field.iter().filter(|&&byte| byte == 0).count() > MAX_NAMES {
                return None;
            }
            rest = behind;
        }
        let (known, rest) = all.split_at_checked(all.len() - rest.len())?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (ciphertext, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (ciphertext, tag) = ciphertext.split_last_chunk()?;
        *trailer = rest;
        let (key, fields) = (KeyNumber(u64::from_be_bytes(*key)), (count, listed));
        Some(EncryptedPart { key, known, subject: [kind, id], fields, nonce, ciphertext, tag })
    }

    /// The parts of a trailer.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is none.
    pub fn all(position: Position, mut trailer: &'a [u8]) -> impl Iterator<Item = Result<EncryptedPart<'a>>> {
        std::iter::from_fn(move || {
            if trailer.is_empty() {
                return None;
            }
            let part = EncryptedPart::read(&mut trailer).ok_or_else(|| unreadable(position));
            if part.is_err() {
                trailer = &[];
            }
            Some(part)
        })
    }

    /// Whose it is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where that is nobody.
    pub fn subject(&self, position: Position) -> Result<Entity> {
        let [kind, id] = self.subject.map(|text| std::str::from_utf8(text).unwrap_or_default());
        Entity::new(kind, id).map_err(|_| unreadable(position))
    }

    /// The kind and the id of whose it is.
    pub fn subject_bytes(&self) -> [&'a [u8]; 2] {
        self.subject
    }

    /// The fields whose values it has.
    pub fn fields(&self) -> impl Iterator<Item = PrivateField> {
        self.stored_fields().filter_map(PrivateField::stored)
    }

    fn stored_fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (count, mut rest) = self.fields;
        (0..count).map_while(move |_| {
            let (field, behind) = Raw(rest).text()?;
            rest = behind;
            Some(field)
        })
    }
}

fn unreadable(position: Position) -> Error {
    let place = format!("the encrypted values of the event at {position}");
    Error::corrupt(place, "what are no such values")
}

/// Values that are to stand in an object, in the places of others.
#[derive(Debug, Default)]
pub(crate) struct FieldValues<'a> {
    data: Vec<FieldValue<'a>>,
    metadata: Vec<FieldValue<'a>>,
}

/// The names that lead to it, a zero byte between them, and the value there.
type FieldValue<'a> = (&'a [u8], &'a [u8]);

impl<'a> FieldValues<'a> {
    /// Null in the places of fields.
    pub fn blank(fields: impl Iterator<Item = &'a PrivateField>) -> FieldValues<'a> {
        let mut places = FieldValues::default();
        for field in fields {
            let (root, names) = field.root();
            places.of(root).push((names, &[NIL]));
        }
        places
    }

    fn of(&mut self, root: FieldRoot) -> &mut Vec<FieldValue<'a>> {
        match root {
            FieldRoot::Data => &mut self.data,
            FieldRoot::Metadata => &mut self.metadata,
        }
    }

    /// The values of a part, decrypted, each in the place of its field; none where they are not all there.
    pub fn put(&mut self, part: &EncryptedPart<'a>, mut values: &'a [u8]) -> Option<()> {
        for field in part.stored_fields() {
            let (root, names) = FieldRoot::split(field)?;
            let rest = Raw(values).skip()?;
            self.of(root).push((names, &values[..values.len() - rest.len()]));
            values = rest;
        }
        Some(())
    }

    /// Writes an object with these values in it. FieldValues that it does not have are left out.
    pub fn write_data(&self, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        write_with(data, &self.data, out)
    }

    /// The same of metadata, which may be nothing.
    pub fn write_metadata(&self, metadata: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if metadata.is_empty() { Some(()) } else { write_with(metadata, &self.metadata, out) }
    }
}

fn write_with(object: &[u8], places: &[FieldValue], out: &mut Vec<u8>) -> Option<()> {
    let rest = match places {
        [] => object,
        _ => write_within(object, places, out)?,
    };
    out.extend_from_slice(rest);
    Some(())
}

/// Writes a value; what is in a place is another. Gives what follows it.
fn write_within<'a>(value: &'a [u8], places: &[FieldValue], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (RawKind::Map(count), mut rest) = Raw(value).form()? else {
        let rest = Raw(value).skip()?;
        out.extend_from_slice(&value[..value.len() - rest.len()]);
        return Some(rest);
    };
    // What is written as it is, up to what is not.
    let mut unwritten = value;
    for _ in 0..count {
        let (name, member) = Raw(rest).text()?;
        // There is no memory for them but where a member has places within it.
        let (mut here, mut within) = (None, Vec::new());
        for (names, value) in places {
            match names.strip_prefix(name) {
                Some([]) => here = Some(*value),
                Some([0, names @ ..]) => within.push((names, *value)),
                _ => {}
            }
        }
        rest = match here {
            None if within.is_empty() => Raw(member).skip()?,
            _ => {
                out.extend_from_slice(&unwritten[..unwritten.len() - member.len()]);
                let rest = match here {
                    Some(other) => {
                        out.extend_from_slice(other);
                        Raw(member).skip()?
                    }
                    None => write_within(member, &within, out)?,
                };
                unwritten = rest;
                rest
            }
        };
    }
    out.extend_from_slice(&unwritten[..unwritten.len() - rest.len()]);
    Some(rest)
}

/// The fields of an event whose subject is forgotten: they were there, and are null now.
///
/// It prints and serializes as their names, like `data.email`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenFields(Arc<[PrivateField]>);

impl ForgottenFields {
    pub(crate) fn write(fields: &[PrivateField]) -> Vec<u8> {
        let mut out = Vec::new();
        write_fields(&mut out, fields.len(), fields.iter());
        out
    }

    pub(super) fn read(trailer: &[u8]) -> ForgottenFields {
        let fields = Raw(trailer).items().into_iter().flatten().filter_map(|item| {
            let (field, _) = item.text()?;
            PrivateField::stored(field)
        });
        ForgottenFields(fields.collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(PrivateField::to_string)
    }

    /// None where there are none.
    pub(crate) fn of(fields: Vec<PrivateField>) -> Option<ForgottenFields> {
        (!fields.is_empty()).then(|| ForgottenFields(fields.into()))
    }

    /// Those of these names; none where there are none.
    pub(crate) fn named(names: &[String]) -> Option<ForgottenFields> {
        ForgottenFields::of(names.iter().filter_map(|name| PrivateField::named(name)).collect())
    }

    pub(crate) fn fields(&self) -> &[PrivateField] {
        &self.0
    }

    /// Whether this is one of them, or within one.
    pub(crate) fn has(&self, path: &PrivateField) -> bool {
        self.0.iter().any(|field| field.holds(path))
    }

    /// Whether this is one of them, within one or around one.
    pub(crate) fn meets(&self, path: &PrivateField) -> bool {
        self.0.iter().any(|field| field.meets(path))
    }
}

impl Serialize for ForgottenFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}
