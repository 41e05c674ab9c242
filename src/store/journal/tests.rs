//! The journal as a whole.

mod damage;
mod model;
mod scenarios;

use std::path::Path;
use std::sync::Arc;

use crate::entity::Position;

use super::frame::MAX_PAYLOAD;
use super::replay::Cut;
use super::*;

const SALT: Salt = Salt([0xA7; 16]);
const ID: DatabaseId = DatabaseId([1; 16]);
const SIZES: Sizes = Sizes { first_step: 4096, max_step: 16 << 10, segment: 64 << 10 };

fn database() -> &'static Path {
    Path::new("/x/shop.bygone")
}

fn create(disk: &Arc<dyn Disk>) -> Journal {
    // Its segments are made like the database's file.
    if !disk.exists(database()).unwrap() {
        disk.create(database()).unwrap();
    }
    Journal::create(Arc::clone(disk), database(), ID, SALT, SIZES, &mut Vec::new()).unwrap()
}

/// A journal and what was appended to it.
struct Written {
    journal: Journal,
    frames: Vec<Frame>,
    next: Position,
    durable: Position,
}

impl Written {
    fn new(disk: &Arc<dyn Disk>) -> Written {
        Written { journal: create(disk), frames: Vec::new(), next: Position::FIRST, durable: Position::START }
    }

    /// Appends a frame of `count` events (cursor moves if 0) with a payload that no other frame has.
    fn try_append(&mut self, count: u32, size: usize) -> Result<(), JournalError> {
        let frame = self.next_frame(count, size);
        let mut buffer = FrameBuffer::new();
        buffer.begin(frame.kind);
        buffer.payload_mut().extend_from_slice(&frame.payload);
        self.journal.append(&mut buffer, self.next, count, self.durable)?;
        self.frames.push(frame);
        self.next = self.next.plus(u64::from(count));
        Ok(())
    }

    fn next_frame(&self, count: u32, size: usize) -> Frame {
        let kind = if count == 0 { FrameKind::Cursors } else { FrameKind::Events };
        let mut payload = format!("frame {} ", self.frames.len()).into_bytes();
        payload.resize(size.max(payload.len()), b'.');
        Frame { kind, first: self.next, count, payload }
    }

    fn append(&mut self, count: u32, size: usize) {
        self.try_append(count, size).unwrap();
    }

    fn sync(&mut self) {
        self.journal.sync().unwrap();
        self.durable = self.next.previous();
    }

    fn append_durable(&mut self, count: u32, size: usize) {
        self.append(count, size);
        self.sync();
    }

    /// Switches, as a freeze does.
    fn switch(&mut self) {
        assert!(self.journal.switch().unwrap());
        self.durable = self.next.previous();
    }
}

/// What is read back, and the reason of a cut.
fn replay(disk: &dyn Disk, after: Position) -> Result<(Vec<Frame>, Option<Cut>)> {
    let replay = JournalReplay::open(disk, database(), SALT, after)?;
    let frames = replay.frames().collect::<Result<Vec<_>>>()?;
    let last = frames.last().map_or(after, |frame| frame.first.plus(u64::from(frame.count)).previous());
    assert_eq!(replay.last_position(), after.max(last));
    Ok((frames, replay.cut().cloned()))
}

fn read(disk: &dyn Disk, side: Side) -> Vec<u8> {
    let file = disk.open(&side.path(database())).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn write(disk: &dyn Disk, side: Side, at: usize, bytes: &[u8]) {
    disk.open(&side.path(database())).unwrap().write_at(at as u64, bytes).unwrap();
}
