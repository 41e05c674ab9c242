//! An object as it is stored: MessagePack, decoded only where somebody asks.
//!
//! A [`Document`] shares the bytes of the event it came from. [`Raw`] walks those bytes: a filter that reads `data.total`
//! skips what stands before it and decodes nothing else. Only the forms that JSON has are ever written: nil, booleans,
//! integers, 64-bit floats, text, arrays, and maps with text keys.

pub(crate) mod write;

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::value::{MAX_DEPTH, Object, Value};

/// A JSON object as it is stored.
///
/// ```
/// use bygone::{Document, Object, Value};
/// let data: Document = r#"{"total": 10, "customer": {"id": "c-7"}}"#.parse()?;
/// assert_eq!(data.get("total"), Some(Value::from(10)));
/// assert_eq!(data.at(&["customer", "id"]), Some(Value::from("c-7")));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone)]
pub struct Document {
    bytes: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl Document {
    /// Any serde type with the form of an object.
    pub fn of<T: Serialize + ?Sized>(data: &T) -> Result<Document> {
        match write::value(data) {
            Ok(bytes) if matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf)) => {
                return Ok(Document::from_bytes(bytes.into()));
            }
            _ => {}
        }
        match Value::of(data)? {
            Value::Object(members) => Document::from_object(&members),
            other => {
                let found = format!("{} ({})", other.kind(), crate::error::shorten(&other.to_string()));
                Err(Error::invalid("data", "an object, like {total: 10}", found))
            }
        }
    }

    /// An object in memory.
    pub fn from_object(members: &Object) -> Result<Document> {
        let bytes =
            rmp_serde::to_vec(members).map_err(|e| Error::invalid("data", "an object", e.to_string()))?;
        Ok(Document::from_bytes(bytes.into()))
    }

    /// No members.
    pub fn empty() -> Document {
        static EMPTY: LazyLock<Arc<[u8]>> = LazyLock::new(|| Arc::from([0x80].as_slice()));
        Document::from_bytes(EMPTY.clone())
    }

    pub(crate) fn from_bytes(bytes: Arc<[u8]>) -> Document {
        let end = bytes.len();
        Document { bytes, start: 0, end }
    }

    /// A part of an event's bytes; `end` must not lie beyond them.
    pub(crate) fn slice(bytes: &Arc<[u8]>, start: usize, end: usize) -> Document {
        Document { bytes: bytes.clone(), start, end }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn raw(&self) -> Raw<'_> {
        Raw(self.as_bytes())
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.as_bytes() == [0x80]
    }

    /// One member, the rest left as it is.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.raw().member(name)?.to_value().ok()
    }

    /// What a path of names leads to.
    pub fn at(&self, path: &[&str]) -> Option<Value> {
        path.iter().try_fold(self.raw(), |raw, name| raw.member(name))?.to_value().ok()
    }

    /// All of it.
    pub fn to_value(&self) -> Result<Value> {
        self.raw().to_value()
    }

    /// All of it as any serde type, by the rules of JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.to_value()?.parse()
    }
}

impl PartialEq for Document {
    /// Objects are equal in any order of their members.
    fn eq(&self, other: &Document) -> bool {
        self.as_bytes() == other.as_bytes()
            || matches!((self.to_value(), other.to_value()), (Ok(a), Ok(b)) if a == b)
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_value().map_err(|_| fmt::Error)?, f)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_value() {
            Ok(value) => fmt::Display::fmt(&value, f),
            Err(error) => write!(f, "<{error}>"),
        }
    }
}

impl std::str::FromStr for Document {
    type Err = Error;

    fn from_str(json: &str) -> Result<Document> {
        Document::of(&json.parse::<Value>()?)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_value().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// One MessagePack value and whatever follows it. Arbitrary bytes give `None` or an error, never a panic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a>(pub &'a [u8]);

/// The first thing in the bytes.
enum Head<'a> {
    Scalar,
    Text(&'a str),
    Array(usize),
    Map(usize),
}

impl<'a> Raw<'a> {
    /// The member of a map by its name.
    pub fn member(self, name: &str) -> Option<Raw<'a>> {
        let (Head::Map(count), mut rest) = self.head()? else { return None };
        for _ in 0..count {
            let (Head::Text(key), value) = Raw(rest).head()? else { return None };
            if key == name {
                return Some(Raw(value));
            }
            rest = Raw(value).skip()?;
        }
        None
    }

    /// An item of an array by its place, counted from 0.
    pub fn element(self, index: usize) -> Option<Raw<'a>> {
        let (Head::Array(count), mut rest) = self.head()? else { return None };
        if index >= count {
            return None;
        }
        for _ in 0..index {
            rest = Raw(rest).skip()?;
        }
        Some(Raw(rest))
    }

    /// This value alone, decoded.
    pub fn to_value(self) -> Result<Value> {
        rmp_serde::from_slice(self.0).map_err(|e| Error::corrupt("stored data", e.to_string()))
    }

    /// What follows this value. Walks without recursion: nesting costs nothing.
    pub fn skip(self) -> Option<&'a [u8]> {
        let (mut left, mut rest) = (1usize, self.0);
        while left > 0 {
            let (head, after) = Raw(rest).head()?;
            left -= 1;
            left += match head {
                Head::Array(count) => count,
                Head::Map(count) => count.checked_mul(2)?,
                Head::Scalar | Head::Text(_) => 0,
            };
            // Each value takes a byte at least: a count that the bytes cannot hold is damage.
            if left > after.len() {
                return None;
            }
            rest = after;
        }
        Some(rest)
    }

    fn head(self) -> Option<(Head<'a>, &'a [u8])> {
        let (&marker, rest) = self.0.split_first()?;
        let number = |bytes: usize| -> Option<(usize, &'a [u8])> {
            let (digits, rest) = rest.split_at_checked(bytes)?;
            Some((digits.iter().fold(0, |n, &b| n << 8 | usize::from(b)), rest))
        };
        let text = |(len, rest): (usize, &'a [u8])| {
            let (text, rest) = rest.split_at_checked(len)?;
            Some((Head::Text(std::str::from_utf8(text).ok()?), rest))
        };
        let scalar = |bytes: usize| Some((Head::Scalar, rest.split_at_checked(bytes)?.1));
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Some((Head::Scalar, rest)),
            0x80..=0x8f => Some((Head::Map(usize::from(marker & 0x0f)), rest)),
            0x90..=0x9f => Some((Head::Array(usize::from(marker & 0x0f)), rest)),
            0xa0..=0xbf => text((usize::from(marker & 0x1f), rest)),
            0xcc | 0xd0 => scalar(1),
            0xcd | 0xd1 => scalar(2),
            0xca | 0xce | 0xd2 => scalar(4),
            0xcb | 0xcf | 0xd3 => scalar(8),
            0xd9 => text(number(1)?),
            0xda => text(number(2)?),
            0xdb => text(number(4)?),
            0xdc => number(2).map(|(count, rest)| (Head::Array(count), rest)),
            0xdd => number(4).map(|(count, rest)| (Head::Array(count), rest)),
            0xde => number(2).map(|(count, rest)| (Head::Map(count), rest)),
            0xdf => number(4).map(|(count, rest)| (Head::Map(count), rest)),
            // Bytes, extensions and the reserved marker have no form in JSON: nobody here wrote them.
            _ => None,
        }
    }
}

// The stack of the decoder is bounded by what may be written at all.
const _: () = assert!(MAX_DEPTH < 1024);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    #[test]
    fn data_is_an_object() {
        for wrong in ["5", "[1]", "null", "\"x\""] {
            let error = wrong.parse::<Document>().unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_member_equals_the_member_of_the_whole(members in prop::collection::vec(("[a-h]", any_value()), 0..9)) {
            let members: Object = members.into_iter().collect();
            let document = Document::from_object(&members).unwrap();
            prop_assert_eq!(document.to_value().unwrap(), Value::Object(members.clone()));
            for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
                prop_assert_eq!(document.get(name), members.get(name).cloned());
            }
            prop_assert_eq!(document.raw().skip(), Some([].as_slice()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let raw = Raw(&bytes);
            let _ = (raw.skip(), raw.member("a"), raw.to_value());
        }
    }
}
