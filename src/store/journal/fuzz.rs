//! Arbitrary bytes as the frames of a journal, for `crate::fuzzing`.

use std::path::Path;

use crc32fast::Hasher;

use super::frame::{ALIGN, FrameHeader, HEADER, MAGIC};
use super::mark;
use super::segment::{START, SegmentHeader};
use super::{DatabaseId, JournalReplay, Salt, Side};
use crate::entity::Position;
use crate::store::disk::Disk;
use crate::store::disk::memory::MemoryDisk;

const SALT: Salt = Salt([0xA7; 16]);

/// The bytes become both segments: two tell how the rest is shared among them, and where the database stands. If asked for, the
/// checksums of what looks like a frame are made right, and its salt that of the session.
pub(crate) fn segments(bytes: &[u8], right: bool) -> bool {
    let [share, after, rest @ ..] = bytes else { return false };
    let (a, b) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let disk = MemoryDisk::new();
    let database = Path::new("/x/shop.bygone");
    for (side, bytes) in [(Side::A, a), (Side::B, b)] {
        let mut bytes = bytes.to_vec();
        if right {
            mend(&mut bytes);
        }
        let mut all = SegmentHeader { id: DatabaseId([1; 16]), salt: SALT, side }.encode();
        debug_assert_eq!(all.len() as u64, START);
        all.extend_from_slice(&bytes);
        // Not every end is to be one that was cut off.
        all.resize(all.len().next_multiple_of(ALIGN), 0);
        let filled = (all.len() + mark::MARK) as u64;
        all.extend_from_slice(&mark::fill(SALT, filled));
        let file = disk.create(&side.path(database)).expect("a disk in memory takes a file");
        file.write_at(0, &all).expect("a disk in memory takes bytes");
    }
    let Ok(replay) = JournalReplay::open(&disk, database, SALT, Position(u64::from(*after))) else {
        return false;
    };
    let mut next = u64::from(*after) + 1;
    for frame in replay.frames() {
        let frame = frame.expect("what was walked is read");
        assert!(frame.first <= Position(next) || frame.count == 0, "a gap before {}", frame.first);
        next = next.max(frame.first.plus(u64::from(frame.count)).0);
    }
    if let Some(cut) = replay.cut() {
        assert_eq!(cut.at, Position(next), "the log is cut where it ends");
    }
    next > u64::from(*after) + 1
}

/// Makes frame after frame one of the session, as far as they reach.
fn mend(bytes: &mut Vec<u8>) {
    let (mut at, mut last) = (0, 0);
    while let Some(header) = bytes.get_mut(at..at + HEADER) {
        if header[..ALIGN] == [0; ALIGN] || header[..4] == mark::end(SALT, 0)[..4] {
            header[..ALIGN].copy_from_slice(&mark::end(SALT, last));
            return;
        }
        header[..4].copy_from_slice(&MAGIC);
        header[4] = if header[4] == 2 { 2 } else { 1 };
        header[5] %= 2;
        header[6..8].fill(0);
        header[8..24].copy_from_slice(&SALT.0);
        // Small numbers: those that could follow each other.
        for number in [24, 32, 40] {
            header[number..number + 7].fill(0);
        }
        header[48..51].fill(0);
        header[51] = if header[4] == 2 { 0 } else { header[51].max(1) };
        header[52..55].fill(0);
        let crc = crc32fast::hash(&header[..56]).to_be_bytes();
        header[56..].copy_from_slice(&crc);
        let mut whole = [0; HEADER];
        whole.copy_from_slice(header);
        let Ok(decoded) = FrameHeader::decode(&whole) else { return };
        last = decoded.number;
        let payload = at + HEADER..at + HEADER + decoded.length as usize;
        let end = at + decoded.size() as usize;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        let mut crc = Hasher::new();
        crc.update(&whole[56..]);
        crc.update(&bytes[payload.clone()]);
        bytes[payload.end..end].fill(0);
        bytes[payload.end..payload.end + 4].copy_from_slice(&crc.finalize().to_be_bytes());
        at = end.next_multiple_of(ALIGN);
    }
}

/// What a session of a few frames leaves, in the form that [`segments`] takes.
#[cfg(test)]
pub(crate) fn seed() -> Vec<u8> {
    use std::sync::Arc;

    use super::{FrameBuffer, FrameKind, Journal, Sizes};
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let database = Path::new("/x/shop.bygone");
    let sizes = Sizes { first_step: 4096, max_step: 4096, segment: 64 << 10 };
    disk.create(database).unwrap();
    let id = DatabaseId([1; 16]);
    let journal = Journal::create(Arc::clone(&disk), database, id, SALT, sizes, &mut Vec::new()).unwrap();
    let mut buffer = FrameBuffer::new();
    for (first, count) in [(1, 2), (3, 0), (3, 1), (4, 1)] {
        buffer.begin(if count == 0 { FrameKind::Cursors } else { FrameKind::Events });
        buffer.payload_mut().extend_from_slice(b"payload");
        journal.append(&mut buffer, Position(first), count, Position(first - 1)).unwrap();
        journal.sync().unwrap();
        if first == 3 && count == 1 {
            journal.switch().unwrap();
        }
    }
    let read = |side: Side| {
        let file = disk.open(&side.path(database)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        // Up to the end mark; the fill mark is made anew.
        bytes.truncate(bytes.len() - mark::MARK);
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| (at + 1).next_multiple_of(ALIGN));
        bytes[START as usize..end.min(bytes.len())].to_vec()
    };
    let (a, b) = (read(Side::A), read(Side::B));
    // A share of all that ends between the two: the second is padded with zeros, which end it anyway.
    let mut seed = vec![128, 0];
    let half = a.len().max(b.len());
    for mut part in [a, b] {
        part.resize(half, 0);
        seed.extend_from_slice(&part);
    }
    seed
}
