//! The protocol: how another process asks a database that this one holds, in lines of JSON. `docs/PROTOCOL.md` tells it on one page.
//!
//! A [`request`] has an id that whoever asks chose; each line of its [`answer`] carries that id. Both ends are here: what the one writes,
//! the other reads.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod expect;
pub(crate) mod request;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result, shorten, size};
use crate::value::Value;

/// The version of the protocol. What is added to it leaves the number as it is: who reads an answer passes over members that it does not
/// know.
pub(crate) const VERSION: u64 = 1;

/// How many bytes a line has at most.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// What one credit pays for: a row, or so many bytes of a long one.
pub(crate) const CREDIT_BYTES: usize = 64 << 10;

/// How many bytes of an import are sent at a time, at most.
pub(crate) const MAX_CHUNK: usize = 256 << 10;

/// How many chunks of an import may be on their way.
pub(crate) const CHUNKS: u64 = 4;

/// How long the id of a request may be, in bytes, where it is a text.
const MAX_ID: usize = 64;

/// What a request is known by: a number or a short text that whoever asks chose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RequestId {
    Number(u64),
    Text(Box<str>),
}

impl RequestId {
    pub fn read(value: &Value) -> Result<RequestId> {
        let expected = || format!("a whole number, or a text of up to {}", size(MAX_ID as u64));
        match value {
            Value::Int(n) if *n >= 0 => Ok(RequestId::Number(*n as u64)),
            Value::UInt(n) => Ok(RequestId::Number(*n)),
            Value::Text(text) if !text.is_empty() && text.len() <= MAX_ID => {
                Ok(RequestId::Text(text.as_str().into()))
            }
            other => Err(Error::invalid("the id of a request", expected(), shorten(&other.to_string()))),
        }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            RequestId::Number(n) => serializer.serialize_u64(*n),
            RequestId::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Number(n) => n.fmt(f),
            RequestId::Text(text) => text.fmt(f),
        }
    }
}

/// How many credits a line costs.
pub(crate) fn cost(bytes: usize) -> u64 {
    1 + (bytes / CREDIT_BYTES) as u64
}
