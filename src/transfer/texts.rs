//! The texts of an input, one for each event: lines, the items of arrays, objects laid out over several lines, or all of these.
//!
//! Bytes are looked at as they come, and only those of one object are kept: an array may be longer than memory.

use std::io::{BufRead, ErrorKind};

use super::scan::{Scan, Seen, Unfit, is_blank, shown};
use crate::error::{Error, Result, shorten};

/// The longest text that is read: twice the largest event.
const MAX_TEXT: usize = 32 << 20;

/// An input, read up to somewhere.
pub(super) struct Texts<R> {
    input: R,
    place: Place,
    read: Count,
    /// The object that was read last.
    text: Vec<u8>,
    /// The line that it begins in, or what is there in its stead.
    line: u64,
}

/// What may come between objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An object or an array.
    Top,
    /// The first item of an array, or its end.
    First,
    /// A comma, or the end of an array.
    After,
    /// The item that a comma promised.
    Item,
}

/// How much was read.
#[derive(Debug, Default)]
struct Count {
    bytes: u64,
    /// How many lines ended, and after how many bytes the last of them did.
    ended: u64,
    end: u64,
}

/// An object.
pub(super) struct Text<'a> {
    pub bytes: &'a [u8],
    /// How much of the input it takes: of one that has a line to itself, the whole line.
    pub length: usize,
}

impl<R: BufRead> Texts<R> {
    pub fn new(input: R) -> Texts<R> {
        Texts { input, place: Place::Top, read: Count::default(), text: Vec::new(), line: 1 }
    }

    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.read.bytes
    }

    /// How many lines were read, the last of them perhaps in part.
    pub fn lines(&self) -> u64 {
        self.read.ended + u64::from(self.read.bytes > self.read.end)
    }

    /// The line that the last object begins in; after a fault, the line that it is in.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next object; none at the end.
    pub fn next(&mut self) -> Result<Option<Text<'_>>> {
        self.text.clear();
        let before = self.read.bytes;
        if before == 0 {
            self.skip_mark()?;
        }
        if !self.find()? {
            return Ok(None);
        }
        // What stands before it in its line counts, unless it belongs to another.
        let from = before.max(self.read.end);
        self.object()?;
        self.rest_of_line()?;
        Ok(Some(Text { bytes: &self.text, length: (self.read.bytes - from) as usize }))
    }

    /// Goes on to where an object begins; false at the end of the input.
    fn find(&mut self) -> Result<bool> {
        loop {
            let found = self.peek()?;
            self.line = self.read.ended + 1;
            let Some(byte) = found else {
                return if self.place == Place::Top { Ok(false) } else { Err(unfit(self.place, found)) };
            };
            self.place = match (self.place, byte) {
                (place, byte) if is_blank(byte) => place,
                (Place::Top | Place::First | Place::Item, b'{') => return Ok(true),
                (Place::Top, b'[') => Place::First,
                (Place::First | Place::After, b']') => Place::Top,
                (Place::After, b',') => Place::Item,
                (place, _) => return Err(unfit(place, found)),
            };
            self.pass(byte);
        }
    }

    /// Reads an object to its end.
    fn object(&mut self) -> Result<()> {
        let mut scan = Scan::new();
        loop {
            let chunk = fill(&mut self.input)?;
            if chunk.is_empty() {
                return Err(scan.fault(None));
            }
            let chunk = &chunk[..chunk.len().min(MAX_TEXT - self.text.len())];
            let seen = scan.run(chunk);
            let taken = match &seen {
                Ok(Seen::All) => chunk,
                Ok(Seen::End(length)) => &chunk[..*length],
                Err(Unfit { at, .. }) => &chunk[..*at],
            };
            self.text.extend_from_slice(taken);
            self.read.count(taken);
            let taken = taken.len();
            self.input.consume(taken);
            match seen {
                Ok(Seen::End(_)) => break,
                Ok(Seen::All) if self.text.len() < MAX_TEXT => {}
                Ok(Seen::All) => {
                    let start = shorten(&String::from_utf8_lossy(&self.text[..100]));
                    return Err(Error::invalid("an event", format!("at most {} MiB", MAX_TEXT >> 20), start));
                }
                Err(unfit) => return Err(self.elsewhere(unfit.fault)),
            }
        }
        if self.place != Place::Top {
            self.place = Place::After;
        }
        Ok(())
    }

    /// A fault that is not in the line that the object begins in says where it is.
    fn elsewhere(&self, fault: Error) -> Error {
        let line = self.read.ended + 1;
        match fault {
            Error::Invalid { what, expected, found } if line != self.line => {
                Error::Invalid { what, expected, found: format!("{found} in line {line}") }
            }
            other => other,
        }
    }

    /// Blanks up to the end of the line belong to what stands before them.
    fn rest_of_line(&mut self) -> Result<()> {
        while let Some(byte) = self.peek()?.filter(|byte| is_blank(*byte)) {
            self.pass(byte);
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    /// Some programs begin a text with a mark that tells how it is encoded.
    fn skip_mark(&mut self) -> Result<()> {
        for byte in *b"\xef\xbb\xbf" {
            if self.peek()? != Some(byte) {
                break;
            }
            self.pass(byte);
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(fill(&mut self.input)?.first().copied())
    }

    /// Passes a byte that was peeked at.
    fn pass(&mut self, byte: u8) {
        self.read.count(&[byte]);
        self.input.consume(1);
    }
}

impl Count {
    fn count(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') {
            self.ended += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.end = self.bytes + last as u64 + 1;
        }
        self.bytes += bytes.len() as u64;
    }
}

fn unfit(place: Place, found: Option<u8>) -> Error {
    let expected = match place {
        Place::Top => "a JSON object, or an array of them",
        Place::First => "a JSON object or `]`",
        Place::After => "`,` or `]`",
        Place::Item => "a JSON object",
    };
    Error::invalid("an event", expected, shown(found))
}

/// The bytes that come next; none at the end.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok([]) => return Ok(&[]),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("reading the input", error)),
        }
    }
    // Lent anew: what is there is not read again.
    input.fill_buf().map_err(|error| Error::io("reading the input", error))
}
