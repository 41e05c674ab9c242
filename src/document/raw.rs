//! MessagePack read where it lies: a walk to what is asked for, past what is not.
//!
//! Arbitrary bytes give `None` or an error, never a panic; nesting costs no stack.

use crate::error::{Error, Result};
use crate::value::{ITEM, MEMBER, Value};

/// One MessagePack value and whatever follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a>(pub &'a [u8]);

/// What a value is. Of arrays and maps it tells how many items or members follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RawKind<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Greater than any `i64`.
    UInt(u64),
    Float(f64),
    Text(&'a [u8]),
    Array(usize),
    Map(usize),
}

impl<'a> Raw<'a> {
    pub fn is_null(self) -> bool {
        matches!(self.form(), Some((RawKind::Null, _)))
    }

    /// The member of a map by its name.
    pub fn member(self, name: &str) -> Option<Raw<'a>> {
        self.member_named(name.as_bytes())
    }

    /// The same by the bytes of its name.
    pub fn member_named(self, name: &[u8]) -> Option<Raw<'a>> {
        let (RawKind::Map(count), mut rest) = self.form()? else { return None };
        for _ in 0..count {
            let (key, value) = Raw(rest).text()?;
            if key == name {
                return Some(Raw(value));
            }
            rest = Raw(value).skip()?;
        }
        None
    }

    /// The members of a map, as far as they can be read: their names, and where their values begin.
    pub fn members(self) -> impl Iterator<Item = (&'a [u8], Raw<'a>)> {
        let (count, mut rest) = match self.form() {
            Some((RawKind::Map(count), rest)) => (count, rest),
            _ => (0, self.0),
        };
        (0..count).map_while(move |_| {
            let (name, value) = Raw(rest).text()?;
            rest = Raw(value).skip()?;
            Some((name, Raw(value)))
        })
    }

    /// The bytes of a text, and what follows it.
    #[inline]
    pub fn text(self) -> Option<(&'a [u8], &'a [u8])> {
        match self.0.split_first()? {
            // Nearly all names are as short as this.
            (&marker @ 0xa0..=0xbf, rest) => rest.split_at_checked(usize::from(marker & 0x1f)),
            _ => match self.form()? {
                (RawKind::Text(text), rest) => Some((text, rest)),
                _ => None,
            },
        }
    }

    /// An integer that an `i64` holds, and what follows it.
    #[inline]
    pub fn int(self) -> Option<(i64, &'a [u8])> {
        match self.0.split_first()? {
            (&marker @ 0x00..=0x7f, rest) => Some((i64::from(marker), rest)),
            (0xce, rest) => {
                let (bytes, rest) = rest.split_first_chunk()?;
                Some((i64::from(u32::from_be_bytes(*bytes)), rest))
            }
            _ => match self.form()? {
                (RawKind::Int(n), rest) => Some((n, rest)),
                _ => None,
            },
        }
    }

    /// An item of an array by its place, counted from 0.
    pub fn element(self, index: usize) -> Option<Raw<'a>> {
        self.items()?.nth(index)
    }

    /// The items of an array.
    pub fn items(self) -> Option<impl Iterator<Item = Raw<'a>>> {
        let (RawKind::Array(count), rest) = self.form()? else { return None };
        let mut rest = Some(rest);
        Some((0..count).map_while(move |_| {
            let item = Raw(rest?);
            rest = item.skip();
            // An item whose end is not found is damage, not an item.
            rest.map(|_| item)
        }))
    }

    /// This value alone, decoded.
    pub fn to_value(self) -> Result<Value> {
        if let Some(value) = self.decoded() {
            return Ok(value);
        }
        rmp_serde::from_slice(self.0).map_err(|e| Error::corrupt("stored data", e.to_string()))
    }

    /// About how many bytes of memory it takes once it is decoded, beside itself: what [`Value::weight`] tells then.
    pub fn weight(self) -> usize {
        let (mut weight, mut left, mut rest) = (0usize, 1usize, self.0);
        while left > 0 {
            let Some((form, after)) = Raw(rest).form() else { break };
            left -= 1;
            match form {
                RawKind::Text(text) => weight += text.len(),
                // Each value takes a byte at least: a count that the bytes cannot hold is damage.
                RawKind::Array(count) if count <= after.len() => {
                    weight = weight.saturating_add(count.saturating_mul(ITEM));
                    left += count;
                }
                RawKind::Map(count) if count <= after.len() / 2 => {
                    weight = weight.saturating_add(count.saturating_mul(MEMBER));
                    left += 2 * count;
                }
                RawKind::Array(_) | RawKind::Map(_) => break,
                _ => {}
            }
            rest = after;
        }
        weight
    }

    /// What follows this value. Walks without recursion: nesting costs nothing.
    #[inline]
    pub fn skip(self) -> Option<&'a [u8]> {
        match LENGTHS[usize::from(*self.0.first()?)] {
            0 => self.skip_any(),
            length => self.0.get(usize::from(length)..),
        }
    }

    fn skip_any(self) -> Option<&'a [u8]> {
        let (mut left, mut rest) = (1usize, self.0);
        while left > 0 {
            let (form, after) = Raw(rest).form()?;
            left -= 1;
            left += match form {
                RawKind::Array(count) => count,
                RawKind::Map(count) => count.checked_mul(2)?,
                _ => 0,
            };
            // Each value takes a byte at least: a count that the bytes cannot hold is damage.
            if left > after.len() {
                return None;
            }
            rest = after;
        }
        Some(rest)
    }

    /// What it is, and the bytes after it; after the head of it where it has items or members.
    #[inline]
    pub fn form(self) -> Option<(RawKind<'a>, &'a [u8])> {
        let (&marker, rest) = self.0.split_first()?;
        let text = |(len, rest): (u64, &'a [u8])| {
            let (text, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            Some((RawKind::Text(text), rest))
        };
        let count = |form: fn(usize) -> RawKind<'a>, (count, rest): (u64, &'a [u8])| {
            Some((form(usize::try_from(count).ok()?), rest))
        };
        match marker {
            0x00..=0x7f => Some((RawKind::Int(i64::from(marker)), rest)),
            0xe0..=0xff => Some((RawKind::Int(i64::from(marker as i8)), rest)),
            0x80..=0x8f => Some((RawKind::Map(usize::from(marker & 0x0f)), rest)),
            0x90..=0x9f => Some((RawKind::Array(usize::from(marker & 0x0f)), rest)),
            0xa0..=0xbf => text((u64::from(marker & 0x1f), rest)),
            0xc0 => Some((RawKind::Null, rest)),
            0xc2 | 0xc3 => Some((RawKind::Bool(marker == 0xc3), rest)),
            0xca => {
                let (bytes, rest) = rest.split_first_chunk()?;
                Some((RawKind::Float(f64::from(f32::from_be_bytes(*bytes))), rest))
            }
            0xcb => {
                let (bytes, rest) = rest.split_first_chunk()?;
                Some((RawKind::Float(f64::from_be_bytes(*bytes)), rest))
            }
            0xcc => unsigned::<1>(rest).map(natural),
            0xcd => unsigned::<2>(rest).map(natural),
            0xce => unsigned::<4>(rest).map(natural),
            0xcf => unsigned::<8>(rest).map(natural),
            0xd0 => unsigned::<1>(rest).map(|(n, rest)| (RawKind::Int(i64::from(n as u8 as i8)), rest)),
            0xd1 => unsigned::<2>(rest).map(|(n, rest)| (RawKind::Int(i64::from(n as u16 as i16)), rest)),
            0xd2 => unsigned::<4>(rest).map(|(n, rest)| (RawKind::Int(i64::from(n as u32 as i32)), rest)),
            0xd3 => unsigned::<8>(rest).map(|(n, rest)| (RawKind::Int(n as i64), rest)),
            0xd9 => text(unsigned::<1>(rest)?),
            0xda => text(unsigned::<2>(rest)?),
            0xdb => text(unsigned::<4>(rest)?),
            0xdc => count(RawKind::Array, unsigned::<2>(rest)?),
            0xdd => count(RawKind::Array, unsigned::<4>(rest)?),
            0xde => count(RawKind::Map, unsigned::<2>(rest)?),
            0xdf => count(RawKind::Map, unsigned::<4>(rest)?),
            // Bytes, extensions and the reserved marker have no form in JSON: nobody here wrote them.
            _ => None,
        }
    }
}

/// How long a value is by its first byte; 0 where that alone does not tell.
const LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut marker = 0;
    while marker < 256 {
        lengths[marker] = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
            0xa0..=0xbf => 1 + (marker & 0x1f) as u8,
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 => 3,
            0xca | 0xce | 0xd2 => 5,
            0xcb | 0xcf | 0xd3 => 9,
            _ => 0,
        };
        marker += 1;
    }
    lengths
};

/// So many bytes as a number, the most significant first.
#[inline]
fn unsigned<const N: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<N>()?;
    Some((digits.iter().fold(0, |n, &b| n << 8 | u64::from(b)), rest))
}

#[inline]
fn natural<'a>((n, rest): (u64, &'a [u8])) -> (RawKind<'a>, &'a [u8]) {
    (i64::try_from(n).map_or(RawKind::UInt(n), RawKind::Int), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    /// By the forms alone, as the decoder has it.
    fn built(raw: Raw) -> Option<Value> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (form, mut rest) = raw.form()?;
        Some(match form {
            RawKind::Null => Value::Null,
            RawKind::Bool(b) => Value::Bool(b),
            RawKind::Int(n) => Value::Int(n),
            RawKind::UInt(n) => Value::UInt(n),
            RawKind::Float(x) => Value::Float(x),
            RawKind::Text(bytes) => Value::Text(text(bytes)?),
            RawKind::Array(_) => Value::Array(raw.items()?.map(built).collect::<Option<_>>()?),
            RawKind::Map(count) => {
                let mut members = crate::value::Object::new();
                for _ in 0..count {
                    let (name, value) = Raw(rest).text()?;
                    members.insert(text(name)?, built(Raw(value))?);
                    rest = Raw(value).skip()?;
                }
                Value::Object(members)
            }
        })
    }

    proptest! {
        #[test]
        fn forms_tell_what_the_decoder_tells(value in any_value()) {
            let bytes = rmp_serde::to_vec(&value).unwrap();
            prop_assert_eq!(built(Raw(&bytes)), Some(Raw(&bytes).to_value().unwrap()));
            prop_assert_eq!(Raw(&bytes).skip(), Some([].as_slice()));
            prop_assert_eq!(Raw(&bytes).weight(), value.weight());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let raw = Raw(&bytes);
            let _ = (raw.skip(), raw.weight(), raw.member("a"), raw.element(1), raw.to_value(), built(raw));
        }
    }
}
