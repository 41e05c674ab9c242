//! Reads a document as any serde type, straight from its bytes: what its JSON would be read as, without making the JSON.
//!
//! It gives up, and does not say why, wherever it is not sure to come to the same (damage, a key that appears twice, JSON that is
//! not to be parsed, a type that goes on after an error) and wherever the type does not fit. Then
//! [`Document::parse`](crate::Document::parse) goes the long way through JSON itself, and that says what is wrong.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Visitor};

use super::raw::{Raw, RawKind};
use crate::value::MAX_DEPTH;

/// The value that the bytes are.
pub(crate) fn typed<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Unread> {
    // A typed event has its data in an envelope.
    let mut reader = DocumentReader::new(bytes, MAX_DEPTH + 1);
    let read = T::deserialize(&mut reader);
    match (read, reader.failed.get()) {
        (_, Some(LongWay)) => Err(LongWay),
        (Ok(value), None) if reader.rest.is_empty() => Ok(value),
        // The type passed over an error, or over what is left: where that would lead JSON to, only JSON tells.
        (Ok(_), _) => Err(LongWay),
        (Err(unread), _) => Err(unread),
    }
}

/// Why a document is not read straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unread {
    /// The type refused what it was given, and would refuse it as JSON.
    Unfit,
    /// Only the long way through JSON tells what it is, or what is wrong with it.
    LongWay,
}

use Unread::LongWay;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read straight")
    }
}

impl std::error::Error for Unread {}

/// Nothing is formatted: enums that try one variant after another make an error for each.
impl de::Error for Unread {
    fn custom<T: fmt::Display>(_: T) -> Unread {
        Unread::Unfit
    }

    fn invalid_type(_: de::Unexpected, _: &dyn de::Expected) -> Unread {
        Unread::Unfit
    }

    fn invalid_value(_: de::Unexpected, _: &dyn de::Expected) -> Unread {
        Unread::Unfit
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Unread {
        Unread::Unfit
    }

    fn missing_field(_: &'static str) -> Unread {
        Unread::Unfit
    }
}

type ReadResult<T> = Result<T, Unread>;

/// Methods of a deserializer that are all the same.
macro_rules! numbers {
    ($same:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
            self.$same(visitor)
        }
    )*};
}

struct DocumentReader<'de> {
    rest: &'de [u8],
    /// How many levels more.
    depth_left: usize,
    /// A name was read, and what it is the name of was not.
    owed: bool,
    failed: Failed,
}

/// What anything asked of a reader failed with, whether the type told of that or not: from then on it may be out of step.
type Failed = Cell<Option<Unread>>;

/// Remembers what failed.
fn noted<T>(failed: &Failed, read: ReadResult<T>) -> ReadResult<T> {
    if let Err(unread) = read {
        failed.set(failed.get().max(Some(unread)));
    }
    read
}

fn utf8(text: &[u8]) -> ReadResult<&str> {
    std::str::from_utf8(text).map_err(|_| LongWay)
}

/// Integers from 0 on are unsigned to those who ask, as they are in JSON.
fn visit_int<'de, V: Visitor<'de>>(n: i64, visitor: V) -> ReadResult<V::Value> {
    match u64::try_from(n) {
        Ok(n) => visitor.visit_u64(n),
        Err(_) => visitor.visit_i64(n),
    }
}

impl<'de> DocumentReader<'de> {
    fn new(bytes: &'de [u8], depth_left: usize) -> DocumentReader<'de> {
        DocumentReader { rest: bytes, depth_left, owed: false, failed: Cell::new(None) }
    }

    /// Does what is asked, and remembers if that fails.
    fn ask<T>(&mut self, read: impl FnOnce(&mut Self) -> ReadResult<T>) -> ReadResult<T> {
        let read = read(self);
        noted(&self.failed, read)
    }

    /// The same with what comes next.
    fn ask_next<T>(&mut self, read: impl FnOnce(&mut Self, RawKind<'de>) -> ReadResult<T>) -> ReadResult<T> {
        self.ask(|reader| {
            let kind = reader.next()?;
            read(reader, kind)
        })
    }

    /// Nothing failed, and nothing was left out.
    fn in_step(&self) -> ReadResult<()> {
        if self.owed || self.failed.get().is_some() { Err(LongWay) } else { Ok(()) }
    }

    /// A value: it has to be looked at.
    fn value<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<T::Value> {
        let before = self.rest.len();
        let value = seed.deserialize(&mut *self)?;
        self.in_step()?;
        if self.rest.len() < before { Ok(value) } else { Err(LongWay) }
    }

    fn next(&mut self) -> ReadResult<RawKind<'de>> {
        let (kind, rest) = Raw(self.rest).form().ok_or(LongWay)?;
        self.rest = rest;
        Ok(kind)
    }

    fn text(&mut self) -> ReadResult<&'de str> {
        let (text, rest) = Raw(self.rest).text().ok_or(LongWay)?;
        self.rest = rest;
        utf8(text)
    }

    fn name(&mut self) -> ReadResult<MemberName<'_, 'de>> {
        let stored = self.rest;
        Ok(MemberName { text: self.text()?, stored, failed: &self.failed })
    }

    fn visit_number<V: Visitor<'de>>(&mut self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|_, kind| match kind {
            RawKind::Int(n) => visit_int(n, visitor),
            RawKind::UInt(n) => visitor.visit_u64(n),
            RawKind::Float(n) if n.is_finite() => visitor.visit_f64(n),
            _ => Err(LongWay),
        })
    }

    /// An integer, however wide it is asked for.
    fn wide(&mut self) -> ReadResult<i128> {
        match self.next()? {
            RawKind::Int(n) => Ok(n.into()),
            RawKind::UInt(n) => Ok(n.into()),
            _ => Err(LongWay),
        }
    }

    /// What has items or members: all of them have to be asked for.
    fn within<T>(
        &mut self,
        count: usize,
        read: impl FnOnce(&mut DocumentParts<'_, 'de>) -> ReadResult<T>,
    ) -> ReadResult<T> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(LongWay)?;
        let mut parts = DocumentParts { begin: self.rest, left: count, seen: Seen::new(count), reader: self };
        let value = read(&mut parts)?;
        if parts.left > 0 {
            return Err(LongWay);
        }
        self.in_step()?;
        self.depth_left += 1;
        Ok(value)
    }

    fn visit_items<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> ReadResult<V::Value> {
        self.within(count, |items| visitor.visit_seq(items))
    }

    fn visit_members<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> ReadResult<V::Value> {
        self.within(count, |members| visitor.visit_map(members))
    }
}

impl<'de> Deserializer<'de> for &mut DocumentReader<'de> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|reader, kind| match kind {
            RawKind::Null => visitor.visit_unit(),
            RawKind::Bool(b) => visitor.visit_bool(b),
            RawKind::Int(n) => visit_int(n, visitor),
            RawKind::UInt(n) => visitor.visit_u64(n),
            RawKind::Float(n) if n.is_finite() => visitor.visit_f64(n),
            RawKind::Float(_) => Err(LongWay),
            RawKind::Text(text) => visitor.visit_borrowed_str(utf8(text)?),
            RawKind::Array(count) => reader.visit_items(count, visitor),
            RawKind::Map(count) => reader.visit_members(count, visitor),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|_, kind| match kind {
            RawKind::Bool(b) => visitor.visit_bool(b),
            _ => Err(LongWay),
        })
    }

    numbers!(visit_number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    numbers!(visit_number: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f64);

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_i128(reader.wide()?))
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_u128(u128::try_from(reader.wide()?).map_err(|_| LongWay)?))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        let RawKind::Float(wide) = self.ask(|reader| Ok(Raw(reader.rest).form().ok_or(LongWay)?.0))? else {
            return self.visit_number(visitor);
        };
        self.ask_next(|_, _| {
            let narrow = wide as f32;
            // Half-way between two, it is the digits of the JSON that decide.
            let half_way = wide.to_bits() << 35 == 1 << 63;
            let tiny = wide != 0.0 && wide.abs() < f32::MIN_POSITIVE.into();
            if half_way || tiny || !narrow.is_finite() {
                return Err(LongWay);
            }
            visitor.visit_f64(narrow.into())
        })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_borrowed_str(reader.text()?))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_borrowed_str(reader.text()?))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_borrowed_str(reader.text()?))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|reader, kind| match kind {
            RawKind::Text(text) => visitor.visit_borrowed_bytes(utf8(text)?.as_bytes()),
            RawKind::Array(count) => reader.visit_items(count, visitor),
            _ => Err(LongWay),
        })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        if Raw(self.rest).is_null() {
            return self.ask_next(|_, _| visitor.visit_none());
        }
        self.ask(|reader| visitor.visit_some(reader))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|_, kind| match kind {
            RawKind::Null => visitor.visit_unit(),
            _ => Err(LongWay),
        })
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> ReadResult<V::Value> {
        // serde_json hands itself JSON that is not to be parsed as a type with such a name.
        self.ask(|reader| match name.starts_with('$') {
            true => Err(LongWay),
            false => visitor.visit_newtype_struct(reader),
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|reader, kind| match kind {
            RawKind::Array(count) => reader.visit_items(count, visitor),
            _ => Err(LongWay),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> ReadResult<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask_next(|reader, kind| match kind {
            RawKind::Map(count) => reader.visit_members(count, visitor),
            _ => Err(LongWay),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        self.ask_next(|reader, kind| match kind {
            _ if name.starts_with('$') => Err(LongWay),
            RawKind::Array(count) => reader.visit_items(count, visitor),
            RawKind::Map(count) => reader.visit_members(count, visitor),
            _ => Err(LongWay),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        let name = self.rest;
        self.ask_next(|reader, kind| match kind {
            RawKind::Text(_) => visit_name(name, visitor),
            RawKind::Map(1) => reader.within(1, |variant| {
                variant.left = 0;
                variant.reader.owed = true;
                visitor.visit_enum(DocumentVariant { reader: &mut *variant.reader, has_content: true })
            }),
            _ => Err(LongWay),
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| visitor.visit_borrowed_str(reader.text()?))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.ask(|reader| {
            reader.rest = Raw(reader.rest).skip().ok_or(LongWay)?;
            visitor.visit_unit()
        })
    }
}

/// The items of an array, or the members of an object.
struct DocumentParts<'r, 'de> {
    reader: &'r mut DocumentReader<'de>,
    /// From the first one on.
    begin: &'de [u8],
    left: usize,
    seen: Seen<'de>,
}

impl DocumentParts<'_, '_> {
    /// A count that the bytes cannot hold is damage, and nothing to make room for.
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.rest.len()))
    }
}

impl<'de> de::SeqAccess<'de> for &mut DocumentParts<'_, 'de> {
    type Error = Unread;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<Option<T::Value>> {
        let left = &mut self.left;
        self.reader.ask(|reader| {
            reader.in_step()?;
            let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
            *left = fewer;
            reader.value(seed).map(Some)
        })
    }

    fn size_hint(&self) -> Option<usize> {
        DocumentParts::size_hint(self)
    }
}

impl<'de> de::MapAccess<'de> for &mut DocumentParts<'_, 'de> {
    type Error = Unread;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> ReadResult<Option<K::Value>> {
        let DocumentParts { reader, begin, left, seen } = &mut **self;
        reader.ask(|reader| {
            reader.in_step()?;
            let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
            *left = fewer;
            reader.owed = true;
            let name = reader.name()?;
            if seen.twice(name.text.as_bytes(), begin) {
                return Err(LongWay);
            }
            seed.deserialize(name).map(Some)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> ReadResult<V::Value> {
        self.reader.ask(|reader| {
            // Each name has one.
            if !std::mem::take(&mut reader.owed) {
                return Err(LongWay);
            }
            reader.value(seed)
        })
    }

    fn size_hint(&self) -> Option<usize> {
        DocumentParts::size_hint(self)
    }
}

/// The names of an object so far, to find one that appears twice.
pub(super) enum Seen<'de> {
    /// How many there were, and a bit for each: one whose bit is free is new.
    Few(u32, u64),
    Many(HashSet<&'de [u8]>),
}

impl<'de> Seen<'de> {
    pub fn new(count: usize) -> Seen<'de> {
        const FEW: usize = 24;
        if count <= FEW { Seen::Few(0, 0) } else { Seen::Many(HashSet::new()) }
    }

    /// Whether the name is one of those before it, in the object whose members begin there.
    pub fn twice(&mut self, name: &'de [u8], begin: &[u8]) -> bool {
        match self {
            Seen::Few(count, bits) => {
                let ends = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
                let hash = name.len() + 5 * ends(name.first()) + 11 * ends(name.last());
                let bit = 1 << (hash % 64);
                let twice = *bits & bit != 0 && names(begin).take(*count as usize).any(|other| other == name);
                *count += 1;
                *bits |= bit;
                twice
            }
            Seen::Many(names) => !names.insert(name),
        }
    }
}

/// The names of members, one behind the other.
fn names(members: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let (name, value) = Raw(rest).text()?;
        rest = Raw(value).skip()?;
        Some(name)
    })
}

/// A variant that is nothing but its name, as that is stored.
fn visit_name<'de, V: Visitor<'de>>(name: &'de [u8], visitor: V) -> ReadResult<V::Value> {
    let mut reader = DocumentReader { owed: true, ..DocumentReader::new(name, 0) };
    let value = visitor.visit_enum(DocumentVariant { reader: &mut reader, has_content: false })?;
    reader.in_step()?;
    Ok(value)
}

/// A variant: its name, and its content behind that if it has any. It is owed until it was asked for.
struct DocumentVariant<'r, 'de> {
    reader: &'r mut DocumentReader<'de>,
    has_content: bool,
}

impl<'r, 'de> DocumentVariant<'r, 'de> {
    fn content<T>(self, read: impl FnOnce(&mut DocumentReader<'de>) -> ReadResult<T>) -> ReadResult<T> {
        let has_content = self.has_content;
        self.reader.ask(|reader| {
            reader.owed = false;
            if has_content { read(reader) } else { Err(Unread::Unfit) }
        })
    }
}

impl<'de> de::EnumAccess<'de> for DocumentVariant<'_, 'de> {
    type Error = Unread;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> ReadResult<(V::Value, Self)> {
        let DocumentVariant { reader, has_content } = self;
        let name = reader.ask(|reader| {
            reader.owed = false;
            match has_content {
                true => seed.deserialize(reader.name()?),
                false => reader.value(seed),
            }
        })?;
        reader.owed = has_content;
        Ok((name, DocumentVariant { reader, has_content }))
    }
}

impl<'de> de::VariantAccess<'de> for DocumentVariant<'_, 'de> {
    type Error = Unread;

    fn unit_variant(self) -> ReadResult<()> {
        if self.has_content { self.content(|reader| reader.value(PhantomData::<()>)) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<T::Value> {
        self.content(|reader| reader.value(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> ReadResult<V::Value> {
        self.content(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        self.content(|reader| reader.deserialize_struct("", fields, visitor))
    }
}

/// The name of a member: a text, and a number or a boolean to who asks for that.
#[derive(Clone, Copy)]
struct MemberName<'r, 'de> {
    text: &'de str,
    /// As it is stored.
    stored: &'de [u8],
    failed: &'r Failed,
}

impl<'de> MemberName<'_, 'de> {
    fn visit_integer<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        // As JSON has them: without a plus, and with no zeros before.
        let digits = self.text.strip_prefix('-').unwrap_or(self.text);
        if !matches!(digits.as_bytes().first(), Some(b'1'..=b'9')) && self.text != "0" {
            return self.long_way(visitor);
        }
        match (self.text.parse(), self.text.parse()) {
            (Ok(n), _) => self.noted(visit_int(n, visitor)),
            (_, Ok(n)) => self.noted(visitor.visit_u64(n)),
            _ => self.long_way(visitor),
        }
    }

    fn noted<T>(self, read: ReadResult<T>) -> ReadResult<T> {
        noted(self.failed, read)
    }

    fn long_way<V: Visitor<'de>>(self, _: V) -> ReadResult<V::Value> {
        self.noted(Err(LongWay))
    }
}

impl<'de> Deserializer<'de> for MemberName<'_, 'de> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.noted(visitor.visit_borrowed_str(self.text))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        match self.text.parse() {
            Ok(value) => self.noted(visitor.visit_bool(value)),
            Err(_) => self.long_way(visitor),
        }
    }

    numbers!(visit_integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    numbers!(visit_integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.noted(visitor.visit_some(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> ReadResult<V::Value> {
        if name.starts_with('$') {
            return self.long_way(visitor);
        }
        self.noted(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        self.noted(visit_name(self.stored, visitor))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.noted(visitor.visit_borrowed_bytes(self.text.as_bytes()))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.noted(visitor.visit_borrowed_bytes(self.text.as_bytes()))
    }

    // Rare enough for the long way.
    numbers!(long_way: deserialize_i128 deserialize_u128 deserialize_f32 deserialize_f64);

    serde::forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests;
