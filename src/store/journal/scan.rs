//! Reading a segment that may hold anything: every length is checked before it is believed, and no more than one
//! frame is in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{ALIGN, FrameHeader, HEADER, MAGIC, PayloadCheck};
use super::mark::{self, MARK};
use super::segment::{self, START, SegmentHeader};
use super::{Frame, Salt, Side};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::disk::{Disk, File};

/// How much is read at a time where frames are searched.
const WINDOW: usize = 256 << 10;

/// A segment's file, to read; or the want of one.
#[derive(Debug)]
pub(super) struct SegmentScan {
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    len: u64,
    /// Whose marks are believed.
    salt: Salt,
    /// Whether the segment has marks.
    marked: bool,
}

/// What stands where a frame could begin.
pub(super) enum FrameSlot {
    /// The end mark behind the frame of this number.
    Mark(u64),
    /// Zeros.
    Blank,
    /// The file ends, where more of it was filled before anything was written up to here.
    Beyond(&'static str),
    /// A frame whose header is right and which lies whole within the file.
    Frame(FrameCandidate),
    /// A frame of the session begins here, and why its header is not right.
    Torn(&'static str),
    /// None of this, and why.
    Other(&'static str),
}

/// A frame whose header is right; its payload is not yet believed. Out of [`SegmentScan::look`] it lies within the file.
pub(super) struct FrameCandidate {
    pub at: u64,
    pub header: FrameHeader,
    bytes: [u8; HEADER],
}

impl FrameCandidate {
    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.header.size())
    }
}

impl SegmentScan {
    /// The segment of a side, to be read for the frames of a session; without one, for those of the session that its
    /// header names. That there is no such file, or that its header is damaged, is left for the walk to find.
    pub fn open(disk: &dyn Disk, database: &Path, side: Side, salt: Option<Salt>) -> Result<SegmentScan> {
        let path = side.path(database);
        let reading = |e| Error::io(format!("reading {}", path.display()), e);
        let exists = disk.exists(&path).map_err(reading)?;
        let mut scan = SegmentScan {
            path: path.clone(),
            file: None,
            len: 0,
            salt: salt.unwrap_or(Salt([0; 16])),
            marked: true,
        };
        if !exists {
            return Ok(scan);
        }
        let Ok(file) = segment::open_readable(disk, &path)? else { return Ok(scan) };
        scan.len = file.len().map_err(reading)?;
        if scan.len >= START {
            let mut block = vec![0; START as usize];
            file.read_at(0, &mut block).map_err(reading)?;
            if let Ok(header) = SegmentHeader::decode(&block, side) {
                scan.marked = segment::is_marked(&block);
                // Frames of any session are read by a test that breaks recovery; marks have one all the same.
                if salt.is_none_or(|salt| salt.accepts(header.salt)) {
                    scan.salt = header.salt;
                }
            }
        }
        scan.file = Some(file);
        Ok(scan)
    }

    /// Whether the segment has marks.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// The session whose marks are believed.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// A place in the file, for a message.
    pub fn name(&self, at: u64) -> String {
        format!("{} at byte {at}", self.path.display())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.read_at(at, out).map_err(|e| Error::io(format!("reading {}", self.name(at)), e))
    }

    /// What stands at an offset.
    pub fn look(&self, at: u64) -> Result<FrameSlot> {
        if self.file.is_none() {
            return Ok(FrameSlot::Beyond("the file is missing"));
        }
        // Frames are written only where there is room for the mark behind them.
        if self.len.saturating_sub(at) < MARK as u64 {
            return Ok(FrameSlot::Beyond("the file was cut off there"));
        }
        let mut bytes = [0; HEADER];
        let there = self.len.saturating_sub(at).min(HEADER as u64) as usize; // at most HEADER: it fits
        self.read(at, &mut bytes[..there])?;
        let begin: &[u8; MARK] = bytes.first_chunk().unwrap_or(&[0; MARK]);
        if *begin == [0; MARK] {
            return Ok(FrameSlot::Blank);
        }
        if let Some(number) = mark::end_of(begin, self.salt) {
            return Ok(FrameSlot::Mark(number));
        }
        let begins = FrameHeader::begins(begin, self.salt);
        let header = match FrameHeader::decode(&bytes) {
            Ok(header) => header,
            Err(reason) if begins => return Ok(FrameSlot::Torn(reason)),
            Err(reason) => return Ok(FrameSlot::Other(reason)),
        };
        let found = FrameCandidate { at, header, bytes };
        if found.end() > self.len {
            return Ok(FrameSlot::Beyond("the file was cut off within a frame"));
        }
        Ok(FrameSlot::Frame(found))
    }

    /// Whether the end of what was filled is there: a fill mark that belongs where it stands, from `from` on.
    pub fn is_whole(&self, from: u64) -> Result<bool> {
        let mut buffer = vec![0; WINDOW];
        let mut base = from;
        while base < self.len {
            let piece = (self.len - base).min(WINDOW as u64) as usize; // at most WINDOW: it fits
            self.read(base, &mut buffer[..piece])?;
            let (blocks, _) = buffer[..piece].as_chunks::<MARK>();
            let mut places = (base..).step_by(MARK).zip(blocks);
            if places.any(|(at, block)| mark::is_fill(block, self.salt, at)) {
                return Ok(true);
            }
            base += piece as u64;
        }
        Ok(false)
    }

    /// Whether the payload is the one that was written; otherwise what is wrong.
    pub fn check(&self, found: &FrameCandidate) -> Result<Result<(), &'static str>> {
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
    pub fn frame(&self, found: &FrameCandidate) -> Result<Frame> {
        let length = found.header.length as usize;
        let mut payload = vec![0; length + found.header.trailer()];
        self.read(found.at + HEADER as u64, &mut payload)?;
        let mut check = PayloadCheck::new(&found.bytes);
        check.update(&payload[..length]);
        check.finish(&payload[length..]).map_err(|reason| Error::corrupt(self.name(found.at), reason))?;
        payload.truncate(length);
        let FrameHeader { kind, first, count, .. } = found.header;
        Ok(Frame { kind, first, count, payload })
    }

    /// Calls `visit` with every frame whose header is right, even if the file ends within it, from `from` on,
    /// in steps of 16 bytes. It answers where to go on.
    pub fn frames(&self, from: u64, mut visit: impl FnMut(&FrameCandidate) -> Result<u64>) -> Result<()> {
        let mut buffer = vec![0; WINDOW];
        let mut base = from;
        while self.len.saturating_sub(base) >= HEADER as u64 {
            let piece = (self.len - base).min(WINDOW as u64) as usize; // at most WINDOW: it fits
            self.read(base, &mut buffer[..piece])?;
            let mut at = base;
            while let Some(bytes) = window(&buffer[..piece], at - base) {
                let next = at + ALIGN as u64;
                at = if bytes[..4] == MAGIC
                    && let Ok(header) = FrameHeader::decode(bytes)
                {
                    visit(&FrameCandidate { at, header, bytes: *bytes })?.max(next)
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
pub fn highest_position(disk: &dyn Disk, database: &Path) -> Result<Option<Position>> {
    let mut highest = None;
    for side in Side::BOTH {
        each_frame(disk, database, side, &mut |frame| {
            // A decoded header's first position is not 0.
            highest = highest.max(Some(frame.first.plus(u64::from(frame.count)).previous()));
            Ok(())
        })?;
    }
    Ok(highest)
}

/// Whether a segment, whose header is damaged, is of this session all the same: it holds a header of one of its frames, or one
/// of its marks.
pub fn is_of(disk: &dyn Disk, database: &Path, side: Side, salt: Salt) -> Result<bool> {
    let scan = SegmentScan::open(disk, database, side, Some(salt))?;
    let mut holds = matches!(scan.look(START)?, FrameSlot::Mark(_)) || scan.is_whole(START)?;
    scan.frames(START, |found| {
        holds |= salt.accepts(found.header.salt);
        Ok(found.at)
    })?;
    Ok(holds)
}

/// Calls `visit` with every well-formed frame of a segment, of whatever session and use, one in memory at a time.
pub fn each_frame(
    disk: &dyn Disk,
    database: &Path,
    side: Side,
    visit: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<()> {
    let scan = SegmentScan::open(disk, database, side, None)?;
    scan.frames(START, |found| {
        if scan.check(found)?.is_err() {
            return Ok(found.at);
        }
        visit(scan.frame(found)?)?;
        Ok(found.end())
    })
}
