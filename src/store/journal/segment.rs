//! A segment: one of the journal's two files. It begins with a block of 4096 bytes that says whose it is; frames
//! follow from there. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `F5 "BYGONE" 'J'` |
//! | 8 | 4 | format version, 2 (1 is read too; it has no marks) |
//! | 12 | 16 | id of the database |
//! | 28 | 16 | salt of the session |
//! | 44 | 1 | which segment: `a` or `b` |
//! | 45 | 3 | zero |
//! | 48 | 4 | CRC32 of the 48 bytes before |
//! | 52 | 4044 | zeros |
//!
//! A segment is created with an end mark where its first frame goes, and at its end with a fill mark ([`mark`]).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::frame::array;
use super::mark::{self, MARK};
use super::{DatabaseId, Salt};
use crate::error::{Error, Result};
use crate::store::disk::{self, Disk, File, Identity};

/// Where the frames of a segment begin.
pub(super) const START: u64 = 4096;

const MAGIC: [u8; 8] = *b"\xF5BYGONEJ";
const VERSION: u32 = 2;
/// The version whose segments have no marks: where frames end there are zeros.
const UNMARKED: u32 = 1;
/// What the header says before its zeros.
const SAID: usize = 52;

/// Zeros are written from here.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// One of the two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The segment that is used first.
    A,
    /// The other one.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// The segment's file, beside the database: `shop.bygone-journal-a`.
    pub fn path(self, database: &Path) -> PathBuf {
        let mut path = database.as_os_str().to_owned();
        path.push("-journal-");
        path.push(self.to_string());
        PathBuf::from(path)
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Side::A => 0,
            Side::B => 1,
        }
    }

    fn letter(self) -> u8 {
        match self {
            Side::A => b'a',
            Side::B => b'b',
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::A => "a",
            Side::B => "b",
        })
    }
}

/// Whose a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The database it belongs to.
    pub id: DatabaseId,
    /// The session that wrote it.
    pub salt: Salt,
    /// Which of the two it is.
    pub side: Side,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; START as usize];
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_be_bytes());
        block[12..28].copy_from_slice(&self.id.0);
        block[28..44].copy_from_slice(&self.salt.0);
        block[44] = self.side.letter();
        let crc = crc32fast::hash(&block[..48]);
        block[48..52].copy_from_slice(&crc.to_be_bytes());
        block
    }

    /// The header of the block, which must be the one of `side`; or why it is none.
    pub(super) fn decode(block: &[u8], side: Side) -> Result<SegmentHeader, String> {
        if block[..8] != MAGIC {
            return Err("it does not begin like a journal".into());
        }
        let version = u32::from_be_bytes(array(block, 8));
        if crc32fast::hash(&block[..48]).to_be_bytes() != block[48..SAID] {
            return Err("the checksum of its header is wrong".into());
        }
        if version != VERSION && version != UNMARKED {
            return Err(format!("its format has the version {version}, this program knows {VERSION}"));
        }
        if block[44] != side.letter() || block[45..48] != [0; 3] {
            return Err(format!("its header is not the one of segment {side}"));
        }
        if block[SAID..].iter().any(|&byte| byte != 0) {
            return Err("the zeros behind its header were overwritten".into());
        }
        Ok(SegmentHeader { id: DatabaseId(array(block, 12)), salt: Salt(array(block, 28)), side })
    }
}

/// Whether the header's block is of a segment with marks. One that is damaged is taken for such a one.
pub(super) fn is_marked(block: &[u8]) -> bool {
    u32::from_be_bytes(array(block, 8)) != UNMARKED
}

/// A file that was made: it is removed only while it is the one that has the name.
#[derive(Debug)]
pub struct CreatedFile {
    path: PathBuf,
    file: Arc<dyn File>,
}

impl CreatedFile {
    /// Removes the file. If another one has its name by now, that stays; says whether none of this kind is left.
    pub(super) fn remove(&self, disk: &dyn Disk) -> Result<bool> {
        // Asked only now: a file that did not tell who it is as it was made is to go as well.
        let identity = self.file.identity();
        let identity = identity.map_err(|e| Error::io(format!("removing {}", self.path.display()), e))?;
        remove_if(disk, &self.path, identity)
    }
}

/// Removes a name, if it leads to this file: whatever else is there is not ours. Says whether the name is free now.
///
/// Somebody who does not heed the lock could put a file there between the two steps; the system offers no way to do
/// both in one.
fn remove_if(disk: &dyn Disk, path: &Path, identity: Identity) -> Result<bool> {
    let removed = match disk.identity(path) {
        Ok(found) if found == identity => disk.remove(path),
        Ok(_) => return Ok(false),
        Err(e) => Err(e),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io(format!("removing {}", path.display()), e)),
    }
}

/// A segment's file, to write.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// Which file it is: under its name there may be another one later.
    pub identity: Identity,
    header: SegmentHeader,
    pub file: Arc<dyn File>,
    /// Held while zeros are written behind what is filled.
    pub growth: Mutex<()>,
    /// Held during a sync. The system tells of a failed write once, to whoever syncs next: without the gate, the
    /// filler could be told and the leader's sync, which lost its frame, succeed.
    pub gate: Mutex<()>,
}

impl Segment {
    /// Creates the file, with its header, marks and zeros up to `filled`, and syncs it. It is noted in `made` as soon as
    /// it exists.
    pub fn create(
        disk: &dyn Disk,
        database: &Path,
        header: SegmentHeader,
        filled: u64,
        made: &mut Vec<CreatedFile>,
    ) -> Result<Segment> {
        let path = header.side.path(database);
        let file = disk.create_like(&path, database).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::unopenable(
                &path,
                "a journal stands there already",
                "open its database to bring it in, or move it away if the database is not needed",
            ),
            _ => Error::io(format!("creating {}", path.display()), e),
        })?;
        let writing = |e| Error::io(format!("writing {}", path.display()), e);
        made.push(CreatedFile { path: path.clone(), file: file.clone() });
        let identity = file.identity().map_err(writing)?;
        let mut begin = header.encode();
        begin.extend_from_slice(&mark::end(header.salt, 0));
        file.write_at(0, &begin)
            .and_then(|()| fill(&*file, begin.len() as u64, filled, header.salt))
            .and_then(|()| file.sync())
            .map_err(writing)?;
        Ok(Segment { path, identity, header, file, growth: Mutex::new(()), gate: Mutex::new(()) })
    }

    /// The file, as [`find`] would find it under its name.
    pub fn found(&self) -> Result<SegmentFile> {
        let Segment { path, identity, header, file, .. } = self;
        let len = file.len().map_err(|e| Error::io(format!("reading {}", path.display()), e))?;
        let remnant = Remnant::Segment(*header);
        Ok(SegmentFile { side: header.side, path: path.clone(), remnant, identity: *identity, len })
    }

    /// Removes the file; says whether its name is free then.
    pub fn remove(&self, disk: &dyn Disk) -> Result<bool> {
        remove_if(disk, &self.path, self.identity)
    }
}

/// A file that stands where a segment belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// Which of the two names it has.
    pub side: Side,
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub remnant: Remnant,
    /// Which file had the name then.
    pub identity: Identity,
    /// How many bytes it has.
    pub len: u64,
}

/// What stands under the name of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remnant {
    /// Empty, zeros, or a torn header with no frame behind, as an interrupted creation leaves it. If it is one, no frame
    /// was ever acknowledged from it, for the header is durable before the first frame is written.
    Blank,
    /// Something else, and why it is not a segment of a journal.
    Foreign(String),
    /// A segment.
    Segment(SegmentHeader),
}

/// What stands under the names of the two segments of a database. Nothing is written.
pub fn find(disk: &dyn Disk, database: &Path) -> Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    for side in Side::BOTH {
        let path = side.path(database);
        if disk.exists(&path).map_err(|e| Error::io(format!("looking for {}", path.display()), e))? {
            let reading = |e| Error::io(format!("reading {}", path.display()), e);
            let file = match open_readable(disk, &path)? {
                Err(error) => {
                    // A disk that cannot tell which it is has it neither removed nor renamed.
                    let identity = disk.identity(&path).unwrap_or(Identity::UNTOLD);
                    let remnant = Remnant::Foreign(error.to_string());
                    found.push(SegmentFile { side, path, remnant, identity, len: 0 });
                    continue;
                }
                Ok(file) => file,
            };
            let remnant = inspect(&*file, side).map_err(reading)?;
            let (identity, len) = (file.identity().map_err(reading)?, file.len().map_err(reading)?);
            found.push(SegmentFile { side, path, remnant, identity, len });
        }
    }
    Ok(found)
}

pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn File>> {
    disk.open(path).map_err(|e| Error::io(format!("opening {}", path.display()), e))
}

/// The same; or why nothing can be read of it: it is encrypted, and its key is not to be had.
pub(super) fn open_readable(disk: &dyn Disk, path: &Path) -> Result<io::Result<Arc<dyn File>>> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(error)),
        file => file.map(Ok).map_err(|e| Error::io(format!("opening {}", path.display()), e)),
    }
}

fn inspect(file: &dyn File, side: Side) -> io::Result<Remnant> {
    let len = file.len()?;
    let mut block = vec![0; START as usize];
    let there = len.min(START) as usize; // at most START: it fits
    file.read_at(0, &mut block[..there])?;
    let reason = match SegmentHeader::decode(&block, side) {
        Ok(header) => return Ok(Remnant::Segment(header)),
        Err(reason) => reason,
    };
    if is_torn_header(&block) && is_idle(file, len)? {
        Ok(Remnant::Blank)
    } else {
        Ok(Remnant::Foreign(reason))
    }
}

/// Whether there is nothing behind the header of a segment that was found, as there is in one that was just created.
pub fn holds_nothing(disk: &dyn Disk, found: &SegmentFile) -> Result<bool> {
    let file = open(disk, &found.path)?;
    is_idle(&*file, found.len).map_err(|e| Error::io(format!("reading {}", found.path.display()), e))
}

/// Whether the block can be what a crash left of a header that was being written: it is not whole, and what is there
/// begins like ours.
fn is_torn_header(block: &[u8]) -> bool {
    let begins = |version: u32| {
        let mut known = [0; 12];
        known[..8].copy_from_slice(&MAGIC);
        known[8..].copy_from_slice(&version.to_be_bytes());
        block.iter().zip(known).all(|(&byte, known)| byte == 0 || byte == known)
    };
    crc32fast::hash(&block[..48]).to_be_bytes() != block[48..SAID]
        && (begins(VERSION) || begins(UNMARKED))
        && block[SAID..].iter().all(|&byte| byte == 0)
}

/// Whether the file holds no more behind its header than one that was just created.
fn is_idle(file: &dyn File, len: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    let mut at = START;
    while at < len {
        let piece = (len - at).min(buffer.len() as u64) as usize; // at most the buffer: it fits
        file.read_at(at, &mut buffer[..piece])?;
        let (blocks, rest) = buffer[..piece].as_chunks::<MARK>();
        let idle = |(at, block)| mark::is_idle(block, at, START);
        if !(at..).step_by(MARK).zip(blocks).all(idle) || rest.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += piece as u64;
    }
    Ok(true)
}

/// Fills a range of the file with zeros, and a fill mark at its end; they are durable only after a sync. The range is
/// longer than the mark.
pub(super) fn fill(file: &dyn File, from: u64, to: u64, salt: Salt) -> io::Result<()> {
    let at = to.saturating_sub(MARK as u64);
    write_zeros(file, from, at)?;
    file.write_at(at, &mark::fill(salt, to))
}

/// Fills a range of the file with zeros; they are durable only after a sync.
fn write_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let piece = (to - at).min(ZEROS.len() as u64) as usize; // at most the block: it fits
        file.write_at(at, &ZEROS[..piece])?;
        at += piece as u64;
    }
    Ok(())
}

/// Removes segments that were found, each unless another file has its name by now, and makes that durable.
pub fn remove(disk: &dyn Disk, database: &Path, found: &[SegmentFile]) -> Result<()> {
    for segment in found {
        remove_if(disk, &segment.path, segment.identity)?;
    }
    sync_folder(disk, database)
}

/// Gives segments that were found another name each, `….aside-1` or the next that is free for all of them, and makes
/// that durable: what they hold may be missing elsewhere. Tells the names.
pub fn set_aside(disk: &dyn Disk, database: &Path, found: &[SegmentFile]) -> Result<Vec<PathBuf>> {
    let failed = |path: &Path, e| Error::io(format!("setting {} aside", path.display()), e);
    let name = |path: &Path, number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".aside-{number}"));
        PathBuf::from(name)
    };
    let mut number = 1;
    while Side::BOTH.iter().try_fold(false, |taken, side| {
        let name = name(&side.path(database), number);
        disk.exists(&name).map(|exists| taken || exists).map_err(|e| failed(&name, e))
    })? {
        number += 1;
    }
    let mut names = Vec::new();
    for segment in found {
        let to = name(&segment.path, number);
        match disk.identity(&segment.path) {
            Ok(identity) if identity == segment.identity => {
                disk.rename(&segment.path, &to).map_err(|e| failed(&segment.path, e))?;
                names.push(to);
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&segment.path, e)),
        }
    }
    // Where nothing has another name, the folder may be another one, or none.
    if !names.is_empty() {
        sync_folder(disk, database)?;
    }
    Ok(names)
}

/// Makes the names beside the database durable.
pub(super) fn sync_folder(disk: &dyn Disk, database: &Path) -> Result<()> {
    let folder = disk::folder(database);
    disk.sync_folder(folder).map_err(|e| Error::io(format!("syncing the folder {}", folder.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::memory::MemoryDisk;

    const DATABASE: &str = "/x/shop.bygone";
    const HEADER: SegmentHeader =
        SegmentHeader { id: DatabaseId([1; 16]), salt: Salt([2; 16]), side: Side::A };

    /// What `find` says of a segment a with these bytes.
    fn found(bytes: &[u8]) -> Remnant {
        let disk = MemoryDisk::new();
        let database = Path::new(DATABASE);
        let path = Side::A.path(database);
        disk.create(&path).unwrap().write_at(0, bytes).unwrap();
        let mut found = find(&disk, database).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].side, &found[0].path), (Side::A, &path));
        found.remove(0).remnant
    }

    #[test]
    fn segments_stand_beside_the_database() {
        assert_eq!(Side::A.path(Path::new(DATABASE)), Path::new("/x/shop.bygone-journal-a"));
        assert_eq!(Side::B.path(Path::new(DATABASE)), Path::new("/x/shop.bygone-journal-b"));
        assert_eq!(find(&MemoryDisk::new(), Path::new(DATABASE)).unwrap(), []);
    }

    #[test]
    fn a_header_is_found_again_and_no_byte_of_it_may_change() {
        let block = HEADER.encode();
        assert_eq!(block.len(), 4096);
        assert_eq!(found(&block), Remnant::Segment(HEADER));
        for at in 0..block.len() {
            let mut changed = block.clone();
            changed[at] ^= 0x40;
            assert_ne!(found(&changed), Remnant::Segment(HEADER), "byte {at}");
            changed.resize(START as usize + 16, 1);
            assert!(matches!(found(&changed), Remnant::Foreign(_)), "byte {at} with frames behind");
        }
    }

    #[test]
    fn an_interrupted_creation_is_blank() {
        let block = HEADER.encode();
        assert_eq!(found(&[]), Remnant::Blank);
        assert_eq!(found(&[0; 100_000]), Remnant::Blank);
        for torn in 1..SAID {
            assert_eq!(found(&block[..torn]), Remnant::Blank, "only {torn} bytes");
            let mut late = block.clone();
            late[..torn].fill(0);
            late.resize(10_000, 0);
            assert_eq!(found(&late), Remnant::Blank, "without {torn} bytes");
        }
    }

    #[test]
    fn something_else_is_foreign() {
        assert!(matches!(found(b"a shopping list"), Remnant::Foreign(_)));
        assert!(matches!(found(&[0xFF; 5000]), Remnant::Foreign(_)));
        let mut zeros = vec![0; 5000];
        zeros[4999] = 1;
        assert!(matches!(found(&zeros), Remnant::Foreign(_)));
        let other_side = SegmentHeader { side: Side::B, ..HEADER };
        assert!(matches!(found(&other_side.encode()), Remnant::Foreign(_)));
        let mut newer = HEADER.encode();
        newer[11] = 3;
        let crc = crc32fast::hash(&newer[..48]);
        newer[48..52].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(found(&newer), Remnant::Foreign(reason) if reason.contains("version 3")));
    }
}
