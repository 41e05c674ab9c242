//! The texts of an input, one for each event: lines, the items of an array, objects laid out over several lines, or all of these.
//!
//! Bytes are looked at as they come, and only those of one object are kept: an array may be longer than memory. Where an object
//! ends is told by its brackets; what cannot be JSON is told at the byte where it cannot be, so that an object that is not closed
//! does not take what follows it for its own. Names, texts and numbers are not looked into: reading the object does that.

use std::io::BufRead;

use super::MAX_TEXT;
use crate::error::{Error, Result};
use crate::value::MAX_DEPTH;

/// An input, read up to somewhere.
pub(super) struct Texts<R> {
    input: R,
    place: Place,
    /// The object that was read last.
    text: Vec<u8>,
    /// The line that the object begins in; where there is none, the line of what is there instead.
    pub line: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many lines were read to their ends, and where the last of them ended.
    ended: u64,
    end: u64,
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

/// An object's text.
pub(super) struct Text<'a> {
    pub bytes: &'a [u8],
    /// How much of the input is behind it that was not before: with a line to itself, the whole line.
    pub length: usize,
}

impl<R: BufRead> Texts<R> {
    pub fn new(input: R) -> Texts<R> {
        Texts { input, place: Place::Top, text: Vec::new(), line: 1, bytes: 0, ended: 0, end: 0 }
    }

    /// How many lines were read, the last of them perhaps in part.
    pub fn lines(&self) -> u64 {
        self.ended + u64::from(self.bytes > self.end)
    }

    /// The next object; none at the end.
    pub fn next(&mut self) -> Result<Option<Text<'_>>> {
        self.text.clear();
        if self.bytes == 0 {
            self.skip_mark()?;
        }
        // What stands before it in its line counts, unless it belongs to another.
        let before = self.bytes;
        if !self.find()? {
            return Ok(None);
        }
        let from = before.max(self.end);
        self.line = self.ended + 1;
        self.object()?;
        self.rest_of_line()?;
        Ok(Some(Text { bytes: &self.text, length: (self.bytes - from) as usize }))
    }

    /// Goes on to where an object begins; false at the end of the input.
    fn find(&mut self) -> Result<bool> {
        loop {
            let Some(byte) = self.peek()? else {
                self.line = self.lines().max(1);
                return match self.place {
                    Place::Top => Ok(false),
                    place => Err(fault(place.expected(), None)),
                };
            };
            self.line = self.ended + 1;
            self.place = match (self.place, byte) {
                (place, b' ' | b'\t' | b'\r' | b'\n') => place,
                (place, b'{') if place != Place::After => return Ok(true),
                (Place::Top, b'[') => Place::First,
                (Place::First | Place::After, b']') => Place::Top,
                (Place::After, b',') => Place::Item,
                (place, byte) => return Err(fault(place.expected(), Some(byte))),
            };
            self.take(1);
        }
    }

    /// Reads an object whole.
    fn object(&mut self) -> Result<()> {
        let mut scan = Scan { within: Vec::new(), wanted: Wanted::Value };
        loop {
            let chunk = fill(&mut self.input)?;
            if chunk.is_empty() {
                return Err(self.spread(fault(scan.wanted.expected(&scan.within), None)));
            }
            let room = MAX_TEXT - self.text.len();
            let seen = scan.run(&chunk[..chunk.len().min(room)]);
            let length = seen.as_ref().map_or(0, |seen| seen.length);
            self.text.extend_from_slice(&chunk[..length]);
            self.take(length);
            match seen {
                Ok(Seen { done: true, .. }) => break,
                Ok(_) if self.text.len() < MAX_TEXT => {}
                Ok(_) => {
                    let start = String::from_utf8_lossy(&self.text[..100]).into_owned();
                    let most = format!("at most {} MiB", MAX_TEXT >> 20);
                    return Err(Error::invalid("an event", most, crate::error::shorten(&start)));
                }
                Err(unfit) => {
                    // Where it is wrong is behind what was taken.
                    self.take(unfit.at);
                    return Err(self.spread(unfit.fault));
                }
            }
        }
        self.place = if self.place == Place::Top { Place::Top } else { Place::After };
        Ok(())
    }

    /// A fault in an object that began in another line tells its own, too.
    fn spread(&self, fault: Error) -> Error {
        let line = self.ended + 1;
        match fault {
            Error::Invalid { what, expected, found } if line > self.line => {
                Error::Invalid { what, expected, found: format!("{found} in line {line}") }
            }
            other => other,
        }
    }

    /// Blanks up to the end of the line belong to what stands before them.
    fn rest_of_line(&mut self) -> Result<()> {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek()? {
            self.take(1);
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    /// Some programs begin a text with a mark of how it is encoded.
    fn skip_mark(&mut self) -> Result<()> {
        for (at, expected) in b"\xef\xbb\xbf".iter().enumerate() {
            match self.peek()? {
                Some(byte) if byte == *expected => self.take(1),
                found if at > 0 => return Err(fault(Place::Top.expected(), found)),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(fill(&mut self.input)?.first().copied())
    }

    /// Takes bytes that are there.
    fn take(&mut self, count: usize) {
        // They are in the buffer: looking again does not read.
        let ends = match self.input.fill_buf() {
            Ok(chunk) => {
                let taken = chunk.get(..count).unwrap_or(chunk);
                let last = taken.iter().rposition(|&byte| byte == b'\n');
                last.map(|last| (taken.iter().filter(|&&byte| byte == b'\n').count(), last + 1))
            }
            Err(_) => None,
        };
        if let Some((lines, end)) = ends {
            self.ended += lines as u64;
            self.end = self.bytes + end as u64;
        }
        self.input.consume(count);
        self.bytes += count as u64;
    }
}

/// The bytes that come next; none at the end.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("reading the input", e)),
        }
    }
    input.fill_buf().map_err(|e| Error::io("reading the input", e))
}
