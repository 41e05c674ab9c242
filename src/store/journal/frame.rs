//! One frame: the bytes of one group commit, or of some cursor moves. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic, `F5 'B' 'G' 'F'` (F5 stands in no UTF-8 text) |
//! | 4 | 1 | kind: 1 events, 2 cursors |
//! | 5 | 1 | settled: 1 if every frame before this one was synced when it was written, else 0 |
//! | 6 | 2 | zero |
//! | 8 | 16 | salt of the session |
//! | 24 | 8 | number: 1, 2, 3 … through the session, over both segments |
//! | 32 | 8 | first position; of cursor moves the next position |
//! | 40 | 8 | `durable_through`: the highest position known synced when it was written |
//! | 48 | 4 | count of events; 0 for cursor moves |
//! | 52 | 4 | length of the payload |
//! | 56 | 4 | CRC32 of the 56 bytes before |
//! | 60 | length | payload |
//! | 60 + length | 4 | CRC32 of the header's CRC and the payload |
//! | … | 0–15 | zeros, to a multiple of 16 |
//!
//! Behind each frame stands its end mark ([`super::mark`]), written in the same call and overwritten by the next
//! frame: so the end of the log is told from what an earlier use of the segment left there, and from what was
//! overwritten later. (In segments of version 1 it is 16 zeros.)

use crc32fast::Hasher;

use super::Salt;
use super::mark;
use crate::entity::Position;
use crate::error::{Error, Result};

/// The largest payload of a frame in bytes.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// Every frame begins at a multiple of this.
pub(crate) const ALIGN: usize = 16;
/// The size of a frame's header.
pub(super) const HEADER: usize = 60;
pub(super) const MAGIC: [u8; 4] = *b"\xF5BGF";
const CRC: usize = 4;

/// The first position of the frame that begins here and how many events it has, if a frame's header does.
pub(crate) fn positions_at(bytes: &[u8]) -> Option<(Position, u32)> {
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let header = FrameHeader::decode(bytes.first_chunk()?).ok()?;
    (header.count > 0).then_some((header.first, header.count))
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The events of a group commit.
    Events,
    /// Moves of cursors.
    Cursors,
}

impl FrameKind {
    fn byte(self) -> u8 {
        match self {
            FrameKind::Events => 1,
            FrameKind::Cursors => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            1 => Some(FrameKind::Events),
            2 => Some(FrameKind::Cursors),
            _ => None,
        }
    }
}

/// What a frame says of itself. One that was decoded keeps the rules that [`FrameHeader::check`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub kind: FrameKind,
    pub settled: bool,
    pub salt: Salt,
    pub number: u64,
    pub first: Position,
    pub durable_through: Position,
    pub count: u32,
    pub length: u32,
}

impl FrameHeader {
    /// Why no writer would write such a frame, if so. What passes cannot overflow below.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.length as usize > MAX_PAYLOAD {
            return Err("the frame's length is over the limit");
        }
        if (self.kind == FrameKind::Cursors) != (self.count == 0) {
            return Err("the frame's count does not fit its kind");
        }
        if self.number == 0 || self.number == u64::MAX {
            return Err("the frame's number is out of range");
        }
        if self.first == Position::START || self.first.0.checked_add(u64::from(self.count)).is_none() {
            return Err("the frame's positions are out of range");
        }
        if self.durable_through >= self.first {
            return Err("the frame claims to be durable itself");
        }
        Ok(())
    }

    /// The position that follows the frame.
    pub fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }

    /// The bytes from the header to the checksum of the payload and its padding.
    pub fn size(&self) -> u64 {
        (HEADER + self.length as usize + CRC).next_multiple_of(ALIGN) as u64
    }

    /// The bytes behind the payload: its checksum and padding.
    pub fn trailer(&self) -> usize {
        self.size() as usize - HEADER - self.length as usize
    }

    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = self.kind.byte();
        out[5] = u8::from(self.settled);
        out[8..24].copy_from_slice(&self.salt.0);
        out[24..32].copy_from_slice(&self.number.to_be_bytes());
        out[32..40].copy_from_slice(&self.first.to_be_bytes());
        out[40..48].copy_from_slice(&self.durable_through.to_be_bytes());
        out[48..52].copy_from_slice(&self.count.to_be_bytes());
        out[52..56].copy_from_slice(&self.length.to_be_bytes());
        let crc = crc32fast::hash(&out[..56]);
        out[56..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Whether these bytes, as many as lie within one sector, begin a frame of the session.
    pub fn begins(bytes: &[u8; ALIGN], salt: Salt) -> bool {
        bytes[..4] == MAGIC
            && FrameKind::from_byte(bytes[4]).is_some()
            && bytes[5] <= 1
            && bytes[6..8] == [0, 0]
            && (bytes[8..] == salt.0[..8] || salt.accepts(Salt([0; 16])))
    }

    /// The header, or in a few words why it is none.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<FrameHeader, &'static str> {
        if bytes[..4] != MAGIC {
            return Err("no frame begins here");
        }
        if crc32fast::hash(&bytes[..56]).to_be_bytes() != bytes[56..] {
            return Err("the checksum of the frame's header is wrong");
        }
        let kind = FrameKind::from_byte(bytes[4]).ok_or("the frame's kind is unknown")?;
        if bytes[5] > 1 || bytes[6..8] != [0, 0] {
            return Err("the frame's flags are unknown");
        }
        let header = FrameHeader {
            kind,
            settled: bytes[5] == 1,
            salt: Salt(array(bytes, 8)),
            number: u64::from_be_bytes(array(bytes, 24)),
            first: Position::from_be_bytes(array(bytes, 32)),
            durable_through: Position::from_be_bytes(array(bytes, 40)),
            count: u32::from_be_bytes(array(bytes, 48)),
            length: u32::from_be_bytes(array(bytes, 52)),
        };
        header.check()?;
        Ok(header)
    }
}

/// The `N` bytes at `at`; callers name constant places within the array they hold.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The checksum of a payload, which it reads piece by piece. It starts from the header's checksum, so that a
/// payload cannot be moved behind another header.
pub(super) struct PayloadCheck(Hasher);

impl PayloadCheck {
    pub fn new(header: &[u8; HEADER]) -> PayloadCheck {
        let mut hasher = Hasher::new();
        hasher.update(&header[56..]);
        PayloadCheck(hasher)
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Whether the bytes behind the payload are its checksum, and zeros.
    pub fn finish(self, trailer: &[u8]) -> Result<(), &'static str> {
        match trailer.split_at_checked(CRC) {
            Some((crc, padding)) if crc == self.0.finalize().to_be_bytes() => {
                if padding.iter().all(|&byte| byte == 0) {
                    Ok(())
                } else {
                    Err("the frame's padding is not zero")
                }
            }
            _ => Err("the checksum of the frame's payload is wrong"),
        }
    }
}

/// The place where a frame is made. It is used again and again: the payload is written where it stays, behind
/// space that is kept for the header, and the whole frame then goes to the disk in one call.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    begun: Option<FrameKind>,
}

impl FrameBuffer {
    /// An empty buffer.
    pub fn new() -> FrameBuffer {
        FrameBuffer::default()
    }

    /// Begins a frame with an empty payload; what was there is gone.
    pub fn begin(&mut self, kind: FrameKind) {
        self.bytes.clear();
        self.bytes.resize(HEADER, 0);
        self.begun = Some(kind);
    }

    /// Where to append the payload. The bytes that are there already are not the caller's to change.
    pub fn payload_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The payload so far.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// What the frame will say of itself, if it can be replayed.
    pub(super) fn header(
        &self,
        stamp: Stamp,
        first: Position,
        count: u32,
        durable_through: Position,
    ) -> Result<FrameHeader> {
        let Stamp { number, settled, salt } = stamp;
        let misuse =
            |found: &str| Error::invalid("a frame of the journal", "one that can be replayed", found);
        let kind = self.begun.ok_or_else(|| misuse("none was begun"))?;
        let length = self
            .bytes
            .len()
            .checked_sub(HEADER)
            .and_then(|length| u32::try_from(length).ok())
            .ok_or_else(|| misuse("a payload of an impossible size"))?;
        let header = FrameHeader { kind, settled, salt, number, first, durable_through, count, length };
        header.check().map_err(misuse)?;
        Ok(header)
    }

    /// Fills the header that [`FrameBuffer::header`] made for this payload, and appends checksum, padding and end
    /// mark. The bytes are a frame; the next one begins with [`FrameBuffer::begin`].
    pub(super) fn finish(&mut self, header: &FrameHeader) -> &[u8] {
        let mark = mark::end(header.salt, header.number);
        let header = header.encode();
        let mut check = PayloadCheck::new(&header);
        check.update(&self.bytes[HEADER..]);
        self.bytes[..HEADER].copy_from_slice(&header);
        self.bytes.extend_from_slice(&check.0.finalize().to_be_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        self.bytes.extend_from_slice(&mark);
        self.begun = None;
        &self.bytes
    }
}

/// What only the journal knows of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub salt: Salt,
    pub number: u64,
    pub settled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(length: u32) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Events,
            settled: true,
            salt: Salt([7; 16]),
            number: 3,
            first: Position(11),
            durable_through: Position(10),
            count: 2,
            length,
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut frame = FrameBuffer::new();
        frame.begin(FrameKind::Events);
        frame.payload_mut().extend_from_slice(b"hello");
        let made = frame
            .header(Stamp { salt: Salt([7; 16]), number: 3, settled: true }, Position(11), 2, Position(10))
            .unwrap();
        assert_eq!(made, header(5));
        let bytes = frame.finish(&made);
        assert_eq!(bytes.len() as u64, made.size() + mark::MARK as u64);
        assert_eq!(&bytes[..8], b"\xF5BGF\x01\x01\x00\x00");
        assert_eq!(bytes[8..24], [7; 16]);
        assert_eq!(bytes[24..32], 3u64.to_be_bytes());
        assert_eq!(bytes[32..40], 11u64.to_be_bytes());
        assert_eq!(bytes[40..48], 10u64.to_be_bytes());
        assert_eq!(bytes[48..52], 2u32.to_be_bytes());
        assert_eq!(bytes[52..56], 5u32.to_be_bytes());
        assert_eq!(&bytes[60..65], b"hello");
        let mut crc = bytes[56..60].to_vec();
        crc.extend_from_slice(b"hello");
        assert_eq!(bytes[65..69], crc32fast::hash(&crc).to_be_bytes());
        assert_eq!(bytes[69..80], [0; 11]);
        assert_eq!(bytes[80..], mark::end(Salt([7; 16]), 3));
        assert_eq!(FrameHeader::decode(&array(bytes, 0)), Ok(header(5)));
        assert_eq!(header(5).size(), 80);
    }

    #[test]
    fn what_cannot_be_replayed_is_not_made() {
        let stamp = Stamp { salt: Salt([0; 16]), number: 1, settled: true };
        let mut frame = FrameBuffer::new();
        assert!(frame.header(stamp, Position(1), 1, Position(0)).is_err(), "nothing was begun");
        for (kind, first, count, durable) in [
            (FrameKind::Events, 1, 0, 0),
            (FrameKind::Cursors, 1, 1, 0),
            (FrameKind::Events, 0, 1, 0),
            (FrameKind::Events, 5, 1, 5),
            (FrameKind::Events, u64::MAX, 1, 5),
        ] {
            frame.begin(kind);
            assert!(
                frame.header(stamp, Position(first), count, Position(durable)).is_err(),
                "{kind:?} {first} {count} {durable}"
            );
        }
        frame.payload_mut().resize(HEADER + MAX_PAYLOAD + 1, 0);
        assert!(frame.header(stamp, Position(1), 1, Position(0)).is_err());
        frame.payload_mut().clear();
        assert!(frame.header(stamp, Position(1), 1, Position(0)).is_err(), "the header's space is gone");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_header(bytes in any::<[u8; 32]>(), more in any::<[u8; 28]>(), magic: bool) {
            let mut all = [0; HEADER];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&more);
            if magic {
                all[..4].copy_from_slice(&MAGIC);
                // With a checksum that fits, the rules still hold.
                let crc = crc32fast::hash(&all[..56]);
                all[56..].copy_from_slice(&crc.to_be_bytes());
            }
            match FrameHeader::decode(&all) {
                Ok(header) => {
                    prop_assert!(magic && header.size() <= MAX_PAYLOAD as u64 + 80);
                    prop_assert_eq!(header.encode(), all);
                }
                Err(reason) => prop_assert!(!reason.is_empty()),
            }
        }
    }
}
