//! An object as it is stored: MessagePack, decoded only where somebody asks.
//!
//! A [`Document`] shares the bytes of the event it came from. [`Raw`] walks those bytes: a filter that reads `data.total`
//! skips what stands before it and decodes nothing else. Only the forms that JSON has are ever written: nil, booleans,
//! integers, 64-bit floats, text, arrays, and maps with text keys.

mod decode;
#[cfg_attr(not(feature = "share"), allow(dead_code))] // for the protocol
pub(crate) mod json;
pub(crate) mod patch;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod write;

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::value::{MAX_DEPTH, Object, Value};
pub(crate) use raw::{Raw, RawKind};

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
    /// None of an object without members: most events have no metadata, and this costs them nothing.
    bytes: Option<Arc<[u8]>>,
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
        Document { bytes: None, start: 0, end: 0 }
    }

    pub(crate) fn from_bytes(bytes: Arc<[u8]>) -> Document {
        let end = bytes.len();
        Document { bytes: Some(bytes), start: 0, end }
    }

    /// A part of an event's bytes; `end` must not lie beyond them.
    pub(crate) fn slice(bytes: Arc<[u8]>, start: usize, end: usize) -> Document {
        Document { bytes: Some(bytes), start, end }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Some(bytes) => bytes.get(self.start..self.end).unwrap_or_default(),
            None => &[0x80],
        }
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
        match read::typed(self.as_bytes()) {
            Ok(data) => Ok(data),
            Err(_) => self.to_value()?.parse_json(),
        }
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
    }
}
