//! Finding the end of a JSON object by its brackets.
//!
//! What cannot be JSON is told at the byte where it cannot be, so that an object that is not closed does not take what follows it
//! for its own. Numbers, words and escapes are not looked into: reading the object does that.

use crate::error::{Error, Result};
use crate::value::MAX_DEPTH;

/// An object, read up to somewhere.
pub(super) struct ObjectScan {
    within: Vec<Bracket>,
    wanted: ExpectedToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Object,
    Array,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedToken {
    Value,
    FirstItem,
    FirstName,
    Name,
    Colon,
    /// A comma, or the end of an object or an array.
    Next,
    /// More of a text, which may be the name of a member.
    Text {
        name: bool,
    },
    Escaped {
        name: bool,
    },
    /// More of a number or a word.
    Scalar,
}

/// How far a chunk went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScanEnd {
    /// All of it belongs to the object, and there is more to come.
    All,
    /// The object ended after so many bytes.
    End(usize),
}

/// A byte that cannot be there.
#[derive(Debug)]
pub(super) struct Unfit {
    pub at: usize,
    pub fault: Error,
}

impl ObjectScan {
    pub fn new() -> ObjectScan {
        ObjectScan { within: Vec::new(), wanted: ExpectedToken::Value }
    }

    /// Goes on through a chunk of the input.
    pub fn run(&mut self, chunk: &[u8]) -> Result<ScanEnd, Unfit> {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.wanted {
                ExpectedToken::Text { name } => {
                    let plain = |b: &u8| *b != b'"' && *b != b'\\' && *b >= b' ';
                    let Some(length) = chunk[at..].iter().position(|b| !plain(b)) else {
                        return Ok(ScanEnd::All);
                    };
                    at += length;
                    self.wanted = match chunk[at] {
                        b'"' if name => ExpectedToken::Colon,
                        b'"' => ExpectedToken::Next,
                        b'\\' => ExpectedToken::Escaped { name },
                        control => return Err(Unfit { at, fault: self.fault(Some(control)) }),
                    };
                }
                ExpectedToken::Escaped { .. } if byte < b' ' => {
                    return Err(Unfit { at, fault: self.fault(Some(byte)) });
                }
                ExpectedToken::Escaped { name } => self.wanted = ExpectedToken::Text { name },
                ExpectedToken::Scalar if is_scalar(byte) => {}
                ExpectedToken::Scalar => {
                    self.wanted = ExpectedToken::Next;
                    continue;
                }
                _ if is_blank(byte) => {}
                _ => self.structure(byte).map_err(|fault| Unfit { at, fault })?,
            }
            at += 1;
            if self.within.is_empty() {
                return Ok(ScanEnd::End(at));
            }
        }
        Ok(ScanEnd::All)
    }

    fn structure(&mut self, byte: u8) -> Result<()> {
        use ExpectedToken::{Colon, FirstItem, FirstName, Name, Next, Scalar, Text, Value};
        self.wanted = match (self.wanted, byte, self.within.last()) {
            (Value | FirstItem, b'{', _) => self.open(Bracket::Object, FirstName)?,
            (Value | FirstItem, b'[', _) => self.open(Bracket::Array, FirstItem)?,
            (Value | FirstItem, b'"', _) => Text { name: false },
            (Value | FirstItem, byte, _) if is_scalar(byte) => Scalar,
            (FirstName | Name, b'"', _) => Text { name: true },
            (Colon, b':', _) => Value,
            (Next, b',', Some(Bracket::Object)) => Name,
            (Next, b',', Some(Bracket::Array)) => Value,
            (FirstItem, b']', _)
            | (FirstName, b'}', _)
            | (Next, b'}', Some(Bracket::Object))
            | (Next, b']', Some(Bracket::Array)) => {
                self.within.pop();
                Next
            }
            _ => return Err(self.fault(Some(byte))),
        };
        Ok(())
    }

    /// An event is one level around its data.
    fn open(&mut self, bracket: Bracket, wanted: ExpectedToken) -> Result<ExpectedToken> {
        if self.within.len() > MAX_DEPTH {
            return Err(Error::invalid("JSON", "one value", format!("one nested deeper than {MAX_DEPTH}")));
        }
        self.within.push(bracket);
        Ok(wanted)
    }

    /// That something else comes than may come; none for the end of the input.
    pub fn fault(&self, found: Option<u8>) -> Error {
        let expected = match (self.wanted, self.within.last()) {
            (ExpectedToken::Value, _) => "a value",
            (ExpectedToken::FirstItem, _) => "a value or `]`",
            (ExpectedToken::FirstName, _) => "a name in quotes or `}`",
            (ExpectedToken::Name, _) => "a name in quotes",
            (ExpectedToken::Colon, _) => "`:`",
            (ExpectedToken::Next | ExpectedToken::Scalar, Some(Bracket::Array)) => "`,` or `]`",
            (ExpectedToken::Next | ExpectedToken::Scalar, _) => "`,` or `}`",
            (ExpectedToken::Text { .. } | ExpectedToken::Escaped { .. }, _) => "the rest of a text in quotes",
        };
        Error::invalid("JSON", expected, shown(found))
    }
}

/// What stands in an input instead of what should.
pub(super) fn shown(found: Option<u8>) -> String {
    match found {
        None => "the end of the input".to_owned(),
        Some(b'\n') => "the end of the line".to_owned(),
        Some(0) => {
            "the byte 0x00, which no text in UTF-8 has; convert UTF-16 first, like iconv -f UTF-16 -t UTF-8"
                .to_owned()
        }
        Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
        Some(byte) => format!("the byte {byte:#04x}"),
    }
}

/// What may stand between the parts of JSON.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
