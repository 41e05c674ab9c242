//! Reading a segment that may hold anything: every length is checked before it is believed, and no more than one
//! frame is in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{ALIGN, HEADER, Header, MAGIC, PayloadCheck};
use super::segment::{self, START};
use super::{Frame, Side};
use crate::error::{Error, Result};
use crate::store::disk::{Disk, File};

/// How much is read at a time where frames are searched.
const WINDOW: usize = 256 << 10;

/// A segment's file, to read.
#[derive(Debug)]
pub(super) struct Scan {
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
}

/// What stands where a frame could begin.
pub(super) enum Place {
    /// An end mark, or the end of the file.
    End,
    /// A frame whose header is right and which lies whole within the file.
    Frame(Found),
    /// Neither, and why.
    Bad(&'static str),
}

/// A frame whose header is right; its payload is not yet believed. Out of [`Scan::look`] it lies within the file.
pub(super) struct Found {
    pub at: u64,
    pub header: Header,
    bytes: [u8; HEADER],
}

impl Found {
    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.header.size())
    }
}

impl Scan {
    pub fn open(disk: &dyn Disk, database: &Path, side: Side) -> Result<Scan> {
        let path = side.path(database);
        let file = segment::open(disk, &path)?;
        let len = file.len().map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
        Ok(Scan { path, file, len })
    }

    /// A place in the file, for a message.
    pub fn name(&self, at: u64) -> String {
        format!("{} at byte {at}", self.path.display())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        self.file.read_at(at, out).map_err(|e| Error::io(format!("reading {}", self.name(at)), e))
    }

    /// What stands at an offset.
    pub fn look(&self, at: u64) -> Result<Place> {
        let mut bytes = [0; HEADER];
        let there = self.len.saturating_sub(at).min(HEADER as u64) as usize; // at most HEADER: it fits
        self.read(at, &mut bytes[..there])?;
        // Beyond the file there are the zeros that `bytes` began with.
        if bytes[..ALIGN] == [0; ALIGN] {
            return Ok(Place::End);
        }
        let header = match Header::decode(&bytes) {
            Ok(header) => header,
            Err(reason) => return Ok(Place::Bad(reason)),
        };
        let found = Found { at, header, bytes };
        if found.end() > self.len {
            return Ok(Place::Bad("the frame reaches beyond the end of the file"));
        }
        Ok(Place::Frame(found))
    }

    /// Whether the payload is the one that was written; otherwise what is wrong.
    pub fn check(&self, found: &Found) -> Result<Result<(), &'static str>> {
        if found.end() > self.len {
            return Ok(Err("the frame reaches beyond the end of the file"));
        }
        let mut check = PayloadCheck::new(&found.bytes);
        let mut buffer = [0; 16 << 10];
        let payload_end = found.end() - found.header.trailer() as u64;
        let mut at = found.at + HEADER as u64;
        while at < payload_end {
            let piece = (payload_end - at).min(buffer.len() as u64) as usize; // at most the buffer: it fits
            self.read(at, &mut buffer[..piece])?;
            check.update(&buffer[..piece]);
            at += piece as u64;
        }
        let trailer = &mut buffer[..found.header.trailer()];
        self.read(at, trailer)?;
        Ok(check.finish(trailer))
    }

    /// The frame with its payload.
    pub fn frame(&self, found: &Found) -> Result<Frame> {
        let length = found.header.length as usize;
        let mut payload = vec![0; length + found.header.trailer()];
        self.read(found.at + HEADER as u64, &mut payload)?;
        let mut check = PayloadCheck::new(&found.bytes);
        check.update(&payload[..length]);
        check.finish(&payload[length..]).map_err(|reason| Error::corrupt(self.name(found.at), reason))?;
        payload.truncate(length);
        let Header { kind, first, count, .. } = found.header;
        Ok(Frame { kind, first, count, payload })
    }

    /// Calls `visit` with every frame whose header is right, even if the file ends within it, from `from` on,
    /// in steps of 16 bytes. It answers where to go on.
    pub fn frames(&self, from: u64, mut visit: impl FnMut(&Found) -> Result<u64>) -> Result<()> {
        let mut buffer = vec![0; WINDOW];
        let mut base = from;
        while self.len.saturating_sub(base) >= HEADER as u64 {
            let piece = (self.len - base).min(WINDOW as u64) as usize; // at most WINDOW: it fits
            self.read(base, &mut buffer[..piece])?;
            let mut at = base;
            while let Some(bytes) = window(&buffer[..piece], at - base) {
                let next = at + ALIGN as u64;
                at = if bytes[..4] == MAGIC
                    && let Ok(header) = Header::decode(bytes)
                {
                    visit(&Found { at, header, bytes: *bytes })?.max(next)
                } else {
                    next
                };
            }
            base = at;
        }
        Ok(())
    }
}

/// The bytes of a header at `at`, if they are all in the buffer.
fn window(buffer: &[u8], at: u64) -> Option<&[u8; HEADER]> {
    buffer.get(usize::try_from(at).ok()?..)?.first_chunk()
}

/// The highest position of any well-formed frame, of whatever session, in what stands under the names of the
/// database's segments; none if there is no such frame. Nothing is written.
///
/// A journal that holds more than its database is not to be overwritten; this tells.
pub fn highest_position(disk: &dyn Disk, database: &Path) -> Result<Option<u64>> {
    let mut highest = None;
    for found in segment::find(disk, database)? {
        let scan = Scan::open(disk, database, found.side)?;
        scan.frames(START, |found| {
            if scan.check(found)?.is_err() {
                return Ok(found.at);
            }
            highest = highest.max(Some(found.header.next() - 1)); // a decoded header's first position is not 0
            Ok(found.end())
        })?;
    }
    Ok(highest)
}
