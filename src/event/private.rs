//! Private values: fields of an event that are about a person, stored encrypted under that person's key.
//!
//! In the stored form they are null in their places, and a trailer has them: of each subject a part, one after another.
//!
//! | of a part | bytes |
//! |---|---|
//! | key | 8, big-endian: the number of the subject's key |
//! | what is known of it | MessagePack: the kind and the id of the subject, then the fields as an array of texts |
//! | nonce | 24 |
//! | length | 4, big-endian |
//! | ciphertext | the values, MessagePack one after another in the order of the fields, and a tag of 16 bytes |
//!
//! Here is how they are laid out; who has the keys, and what cipher it is, is told in `store/keyring.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::record::Record;
use crate::document::raw::{Raw, RawKind};
use crate::entity::{Entity, EntityStr};
use crate::error::{Error, Result, shorten};

/// How many bytes a nonce has.
pub(crate) const NONCE: usize = 24;

/// How many fields one definition has, and how many names lead to one.
pub(crate) const MAX_FIELDS: usize = 64;
pub(crate) const MAX_NAMES: usize = 16;

/// What null is in MessagePack.
const NIL: u8 = 0xc0;

/// A member of `data` or `metadata`, or one within it: `data.address.street`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PrivateField {
    pub of: FieldRoot,
    pub names: Vec<String>,
}

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

    fn of<'a>(self, record: &Record<'a>) -> Raw<'a> {
        match self {
            FieldRoot::Data => record.data(),
            FieldRoot::Metadata => record.metadata(),
        }
    }
}

impl PrivateField {
    /// Whether the other is this one, or within it.
    pub fn holds(&self, other: &PrivateField) -> bool {
        self.of == other.of && other.names.starts_with(&self.names)
    }

    /// Whether one of them is the other, or within it.
    pub fn meets(&self, other: &PrivateField) -> bool {
        self.holds(other) || other.holds(self)
    }

    /// The value there, and what follows it; none where there is nothing, or null.
    pub fn value<'a>(&self, record: &Record<'a>) -> Option<Raw<'a>> {
        let found = self.names.iter().try_fold(self.of.of(record), |raw, name| raw.member(name))?;
        (!found.is_null()).then_some(found)
    }
}

impl fmt::Display for PrivateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.of.word())?;
        self.names.iter().try_for_each(|name| write!(f, ".{}", crate::entity::NameText(name)))
    }
}

/// The path as it is stored: its names, each behind a byte that no name begins with.
fn stored_path(path: &PrivateField) -> String {
    let mut text = path.of.word().to_owned();
    for name in &path.names {
        text.push('\0');
        text.push_str(name);
    }
    text
}

impl FromStr for PrivateField {
    type Err = Error;

    /// Reads the stored form.
    fn from_str(text: &str) -> Result<PrivateField> {
        let mut names = text.split('\0');
        let of = match names.next() {
            Some("data") => FieldRoot::Data,
            Some("metadata") => FieldRoot::Metadata,
            _ => return Err(Error::corrupt("a private field", shorten(text))),
        };
        Ok(PrivateField { of, names: names.map(str::to_owned).collect() })
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
            SubjectPath::Field(kind, path) => write!(f, "{} ({path})", crate::entity::NameText(kind)),
        }
    }
}

impl SubjectPath {
    /// The subject of an event; none where it does not say.
    pub fn subject(&self, record: &Record) -> Option<Entity> {
        let said = |entity: EntityStr| Entity::from(entity);
        match self {
            SubjectPath::Target => record.target().map(said),
            SubjectPath::Actor => record.actor().map(said),
            SubjectPath::Field(kind, path) => match path.value(record)?.form()? {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncryptedPart {
    pub key: KeyNumber,
    pub subject: Entity,
    pub fields: Vec<PrivateField>,
    pub nonce: [u8; NONCE],
    pub ciphertext: Vec<u8>,
}

impl EncryptedPart {
    /// What the cipher binds the values to, beside their event: the key, whose it is, and the fields.
    pub fn known(&self) -> Vec<u8> {
        let mut out = self.key.0.to_be_bytes().to_vec();
        put_known(&mut out, &self.subject, &self.fields);
        out
    }

    /// Appends its stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.known());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&(self.ciphertext.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.ciphertext);
    }

    /// Takes the next part from a trailer.
    fn read(trailer: &mut &[u8]) -> Option<EncryptedPart> {
        let (key, rest) = trailer.split_first_chunk::<8>()?;
        let (kind, rest) = Raw(rest).text()?;
        let (id, rest) = Raw(rest).text()?;
        let (RawKind::Array(count), mut rest) = Raw(rest).form()? else { return None };
        let subject = Entity::new(std::str::from_utf8(kind).ok()?, std::str::from_utf8(id).ok()?).ok()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let (path, behind) = Raw(rest).text()?;
            fields.push(std::str::from_utf8(path).ok()?.parse().ok()?);
            rest = behind;
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (ciphertext, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *trailer = rest;
        let key = KeyNumber(u64::from_be_bytes(*key));
        Some(EncryptedPart { key, subject, fields, nonce: *nonce, ciphertext: ciphertext.to_vec() })
    }

    /// The parts of a trailer.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is none.
    pub fn all(record: &Record) -> Result<Vec<EncryptedPart>> {
        let mut trailer = record.encrypted();
        let mut parts = Vec::new();
        while !trailer.is_empty() {
            let part = EncryptedPart::read(&mut trailer).ok_or_else(|| {
                let place = format!("the encrypted values of the event at {}", record.position());
                Error::corrupt(place, "what are no such values")
            })?;
            parts.push(part);
        }
        Ok(parts)
    }
}

fn put_known(out: &mut Vec<u8>, subject: &Entity, fields: &[PrivateField]) {
    let mut put = |text: &str| {
        let written = rmp_serde::encode::write(out, text);
        debug_assert!(written.is_ok(), "a text always has a form");
    };
    put(subject.kind());
    put(subject.id());
    let written = rmp_serde::encode::write(out, &fields.iter().map(stored_path).collect::<Vec<_>>());
    debug_assert!(written.is_ok(), "texts always have a form");
}

/// An object with other values in the places of some of its fields: those of `root`. Fields that it does not have are left out.
pub(crate) fn replaced(root: FieldRoot, object: Raw, values: &[(&PrivateField, &[u8])]) -> Option<Vec<u8>> {
    let of_root: Vec<(&[String], &[u8])> = values
        .iter()
        .filter(|(path, _)| path.of == root)
        .map(|(path, value)| (path.names.as_slice(), *value))
        .collect();
    let mut out = Vec::with_capacity(object.0.len());
    let rest = replace_within(object.0, &of_root, &mut out)?;
    out.extend_from_slice(rest);
    Some(out)
}

/// Writes a value; what is at the end of a path is another. Gives what follows it.
fn replace_within<'a>(value: &'a [u8], paths: &[(&[String], &[u8])], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    if let Some((_, other)) = paths.iter().find(|(names, _)| names.is_empty()) {
        out.extend_from_slice(other);
        return Raw(value).skip();
    }
    let (RawKind::Map(count), mut rest) = Raw(value).form()? else {
        let rest = Raw(value).skip()?;
        out.extend_from_slice(&value[..value.len() - rest.len()]);
        return Some(rest);
    };
    out.extend_from_slice(&value[..value.len() - rest.len()]);
    for _ in 0..count {
        let (name, behind) = Raw(rest).text()?;
        out.extend_from_slice(&rest[..rest.len() - behind.len()]);
        let within: Vec<(&[String], &[u8])> = paths
            .iter()
            .filter_map(|(names, value)| {
                let (first, more) = names.split_first()?;
                (first.as_bytes() == name).then_some((more, *value))
            })
            .collect();
        rest = match within.is_empty() {
            true => {
                let behind_value = Raw(behind).skip()?;
                out.extend_from_slice(&behind[..behind.len() - behind_value.len()]);
                behind_value
            }
            false => replace_within(behind, &within, out)?,
        };
    }
    Some(rest)
}

/// The same with null in the places of some fields.
pub(crate) fn blanked(root: FieldRoot, object: Raw, fields: &[&PrivateField]) -> Option<Vec<u8>> {
    let values: Vec<(&PrivateField, &[u8])> = fields.iter().map(|path| (*path, [NIL].as_slice())).collect();
    replaced(root, object, &values)
}

/// The fields of an event whose subject is forgotten: they were there, and are null now.
///
/// It prints and serializes as their names, like `data.email`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenFields(Arc<[PrivateField]>);

impl ForgottenFields {
    pub(crate) fn write(fields: &[PrivateField]) -> Vec<u8> {
        let mut out = Vec::new();
        let written = rmp_serde::encode::write(&mut out, &fields.iter().map(stored_path).collect::<Vec<_>>());
        debug_assert!(written.is_ok(), "texts always have a form");
        out
    }

    pub(super) fn read(trailer: &[u8]) -> ForgottenFields {
        let paths = Raw(trailer).items().into_iter().flatten().filter_map(|item| {
            let (path, _) = item.text()?;
            std::str::from_utf8(path).ok()?.parse().ok()
        });
        ForgottenFields(paths.collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(PrivateField::to_string)
    }

    /// None where there are none.
    pub(crate) fn of(fields: Vec<PrivateField>) -> Option<ForgottenFields> {
        (!fields.is_empty()).then(|| ForgottenFields(fields.into()))
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
