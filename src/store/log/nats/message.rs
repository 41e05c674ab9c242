//! One message of the stream: a frame, or what stands between frames. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic, `F5 'B' 'G' 'M'` (F5 stands in no UTF-8 text) |
//! | 4 | 1 | version of this layout: 1 |
//! | 5 | 1 | kind: 0 begin, 1 events, 2 tick |
//! | 6 | 2 | zero |
//! | 8 | 16 | id of the database |
//! | 24 | 16 | id of the writer: random, new each time that a node opens the log |
//! | 40 | 8 | number: which frame or tick of that writer |
//! | 48 | 8 | position of the first event; of what has none the position that comes next |
//! | 56 | 4 | count of events; 0 of what has none |
//! | 60 | 4 | CRC32 of all bytes but these four |
//! | 64 | 32 | chain hash before it |
//! | 96 | … | the events: of each its length in 4 bytes, then its bytes |
//!
//! The first message of a stream is its *begin*: it says which database the stream is of. A *tick* holds nothing: that it is in the stream
//! proves that nothing else came before it.

use crate::entity::Position;
use crate::error::{Error, Result};
use crate::store::chain;
use crate::store::journal::{DatabaseId, Frame, FrameKind};

const MAGIC: [u8; 4] = *b"\xF5BGM";
const VERSION: u8 = 1;
const CRC: usize = 60;
pub(super) const HEADER: usize = 96;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// The first of a stream.
    Begin,
    /// A frame.
    Events,
    /// Nothing, at a place.
    Tick,
}

/// Who wrote a message: one session of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Writer(pub [u8; 16]);

/// What a message says beside its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageHeader {
    pub kind: MessageKind,
    pub database: DatabaseId,
    pub writer: Writer,
    pub number: u64,
    pub first: Position,
    pub count: u32,
    /// The chain hash before it.
    pub before: [u8; 32],
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamMessage {
    pub header: MessageHeader,
    /// The events.
    pub payload: Vec<u8>,
}

impl MessageHeader {
    /// The last position up to and with it.
    pub fn end(&self) -> Position {
        self.first.plus(u64::from(self.count)).previous()
    }

    /// The message with these events.
    pub fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + payload.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.kind.byte(), 0, 0]);
        out.extend_from_slice(&self.database.0);
        out.extend_from_slice(&self.writer.0);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.before);
        out.extend_from_slice(payload);
        let crc = checksum(&out);
        if let Some(place) = out.get_mut(CRC..CRC + 4) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        out
    }
}

impl MessageKind {
    fn byte(self) -> u8 {
        match self {
            MessageKind::Begin => 0,
            MessageKind::Events => 1,
            MessageKind::Tick => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<MessageKind> {
        match byte {
            0 => Some(MessageKind::Begin),
            1 => Some(MessageKind::Events),
            2 => Some(MessageKind::Tick),
            _ => None,
        }
    }
}

impl StreamMessage {
    /// Reads a message, or says in a few words why it is none.
    pub fn decode(bytes: &[u8]) -> Result<StreamMessage, &'static str> {
        if !bytes.starts_with(&MAGIC) {
            return Err("a message that is not Bygone's");
        }
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
            return Err("a message that is too short");
        };
        if header[4] != VERSION {
            return Err("a message of a later version of Bygone");
        }
        if u32::from_be_bytes(array(header, CRC)) != checksum(bytes) {
            return Err("a message whose checksum is wrong");
        }
        let kind = MessageKind::from_byte(header[5]).ok_or("a message of an unknown kind")?;
        let header = MessageHeader {
            kind,
            database: DatabaseId(array(header, 8)),
            writer: Writer(array(header, 24)),
            number: u64::from_be_bytes(array(header, 40)),
            first: Position::from_be_bytes(array(header, 48)),
            count: u32::from_be_bytes(array(header, 56)),
            before: array(header, 64),
        };
        if (kind == MessageKind::Events) != (header.count > 0) || (header.count == 0) != payload.is_empty() {
            return Err("a message whose count does not fit its kind");
        }
        if header.first == Position::START || header.first.0.checked_add(u64::from(header.count)).is_none() {
            return Err("a message whose positions are out of range");
        }
        Ok(StreamMessage { header, payload: payload.to_vec() })
    }

    /// The chain hash behind its events.
    pub fn chain_after(&self) -> Result<[u8; 32]> {
        let (mut chain, mut rest) = (self.header.before, self.payload.as_slice());
        for position in self.header.first.onwards().take(self.header.count as usize) {
            let event = next_event(&mut rest).ok_or_else(|| {
                Error::corrupt("the log", format!("a frame that ends before the event at {position}"))
            })?;
            chain = chain::link(chain, position, event)?;
        }
        Ok(chain)
    }

    /// Its frame.
    pub fn into_frame(self) -> Frame {
        let MessageHeader { first, count, .. } = self.header;
        Frame { kind: FrameKind::Events, first, count, payload: self.payload }
    }
}

/// Takes the bytes of the next event; none if they are not all there.
fn next_event<'p>(payload: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *payload = rest;
    Some(bytes)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..CRC).unwrap_or_default());
    hasher.update(bytes.get(CRC + 4..).unwrap_or_default());
    hasher.finalize()
}

/// The `N` bytes at `at`; callers name constant places within the header.
fn array<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> MessageHeader {
        MessageHeader {
            kind: MessageKind::Events,
            database: DatabaseId([7; 16]),
            writer: Writer([8; 16]),
            number: 3,
            first: Position(11),
            count: 2,
            before: [9; 32],
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = header().encode(b"hello");
        assert_eq!(bytes[..8], *b"\xF5BGM\x01\x01\x00\x00");
        assert_eq!((&bytes[8..24], &bytes[24..40]), ([7; 16].as_slice(), [8; 16].as_slice()));
        assert_eq!(bytes[40..48], 3u64.to_be_bytes());
        assert_eq!(bytes[48..56], 11u64.to_be_bytes());
        assert_eq!(bytes[56..60], 2u32.to_be_bytes());
        assert_eq!(bytes[64..96], [9; 32]);
        assert_eq!(&bytes[96..], b"hello");
        let rest = [&bytes[..60], &bytes[64..]].concat();
        assert_eq!(bytes[60..64], crc32fast::hash(&rest).to_be_bytes());
        let read = StreamMessage::decode(&bytes).unwrap();
        assert_eq!((read.header, read.payload.as_slice()), (header(), b"hello".as_slice()));
        assert_eq!(read.header.end(), Position(12));
    }

    #[test]
    fn a_tick_ends_where_the_events_before_it_do() {
        let tick = MessageHeader { kind: MessageKind::Tick, count: 0, ..header() };
        assert_eq!(tick.end(), Position(10));
        let read = StreamMessage::decode(&tick.encode(&[])).unwrap();
        assert_eq!((read.header, read.chain_after().unwrap()), (tick, [9; 32]));
        assert!(StreamMessage::decode(&tick.encode(b"more")).is_err());
        assert!(StreamMessage::decode(&header().encode(&[])).is_err());
    }

    #[test]
    fn each_bit_is_held() {
        let bytes = header().encode(b"hello");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(StreamMessage::decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(StreamMessage::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_message(mut bytes: Vec<u8>, whole: bool) {
            if whole && bytes.len() > HEADER {
                bytes[..5].copy_from_slice(b"\xF5BGM\x01");
                let crc = checksum(&bytes).to_be_bytes();
                bytes[CRC..CRC + 4].copy_from_slice(&crc);
            }
            if let Ok(message) = StreamMessage::decode(&bytes) {
                // Its events may be anything, and are refused without a panic.
                let _ = message.chain_after();
            }
        }
    }
}
