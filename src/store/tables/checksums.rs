//! The checksums of the pages of the tables, as far as they are known.
//!
//! In redb's file a page that leads to others has the checksum of each, and the header has those of the roots; redb itself compares
//! them only as it repairs a file. Here each page that is read teaches what it says of others, beginning with the header, and a page
//! that is known to be another than the one that was written is not handed on. So a page that is damaged, old or at the wrong place is
//! noticed where it is read, before redb follows it: into a circle, or over pages that are in use.
//!
//! Only a page that fits teaches. What one teaches stays true until a page is written over, for whoever reads the one that leads to it
//! keeps both from being used again; then it is forgotten.
//!
//! The layout of the file is that of version 3, which redb describes in its `docs/design.md`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_128;

use crate::entity::Position;

/// How many bytes the header has, with both of its commits.
const HEADER: usize = 320;
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const VERSION: u8 = 3;
/// The bit of the tenth byte that says which commit is the newest.
const SECOND: u8 = 1;

const LEAF: u8 = 1;
/// A page that leads to others begins with this byte.
pub(super) const BRANCH: u8 = 2;
/// A table with one value for each key.
const NORMAL: u8 = 3;

/// Of each cached KiB, the checksum of one page is kept: a twentieth of the cache at most.
const CACHED_FOR_ONE: usize = 1024;
const FEWEST: usize = 1024;

/// What the pages of a tree hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// The definitions of tables, and so their roots.
    Tables,
    /// Keys and values of a length that is always the same, or else differs.
    Rows { key: Option<u32>, value: Option<u32> },
}

impl Holds {
    fn widths(self) -> (Option<usize>, Option<usize>) {
        match self {
            Holds::Tables => (None, None),
            Holds::Rows { key, value } => (key.map(|n| n as usize), value.map(|n| n as usize)),
        }
    }
}

/// What is known of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PageInfo {
    checksum: u128,
    length: u64,
    holds: Holds,
}

/// Where pages begin.
#[derive(Debug, Clone, Copy)]
struct PageLayout {
    page: u64,
    region_header: u64,
    region: u64,
}

impl PageLayout {
    /// Where a page begins, and how long it is, by its number: 20 bits that say which of its region, 20 which region, and at the top 5
    /// how often its size is doubled.
    fn place(self, number: u64) -> Option<(u64, u64)> {
        let order = number >> 59;
        let (index, region) = (number & (0xF_FFFF >> order), number >> 20 & 0xF_FFFF);
        let length = self.page.checked_mul(1 << order)?;
        let within = index.checked_mul(length)?.checked_add(self.region_header)?;
        let begin = region.checked_mul(self.region)?.checked_add(self.page)?.checked_add(within)?;
        Some((begin, length))
    }
}

#[derive(Debug, Default)]
struct ChecksumState {
    layout: Option<PageLayout>,
    /// By where a page begins: what was learnt or used of late, and what was before.
    late: HashMap<u64, PageInfo>,
    before: HashMap<u64, PageInfo>,
}

/// The checksums that are known.
#[derive(Debug)]
pub(super) struct Checksums {
    most: usize,
    state: Mutex<ChecksumState>,
}

impl Checksums {
    /// For tables with so many bytes of cache.
    pub fn new(cache: usize) -> Checksums {
        Checksums { most: (cache / CACHED_FOR_ONE / 2).max(FEWEST), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, ChecksumState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a page that was read is the one that was written there, or at least is not known not to be.
    pub fn fits(&self, begin: u64, page: &[u8]) -> bool {
        if begin == 0 {
            self.learn_header(page);
            return true;
        }
        let Some(known) = self.state().get(begin, self.most) else { return true };
        if known.length != page.len() as u64 {
            // It is part of another one by now, or has grown.
            return true;
        }
        if checksum(page, known.holds) != Some(known.checksum) {
            return false;
        }
        self.learn(page, known.holds);
        true
    }

    /// Forgets a page that is written over.
    pub fn forget(&self, begin: u64) {
        let mut state = self.state();
        state.late.remove(&begin);
        state.before.remove(&begin);
    }

    /// Once, as a file is opened: later the header is what this process has written.
    fn learn_header(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.layout.is_some() || bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
            return;
        }
        let number = |at: usize| u32_at(bytes, at).map_or(0, u64::from);
        let (page, header, most) = (number(12), number(16), number(20));
        let layout = PageLayout { page, region_header: header * page, region: (header + most) * page };
        state.layout = Some(layout);
        let commit = if bytes[9] & SECOND == 0 { 64 } else { 192 };
        if bytes[commit] != VERSION {
            return;
        }
        // The root of what users have, and that of what redb keeps for itself.
        for (there, root) in [(commit + 1, commit + 8), (commit + 2, commit + 40)] {
            if bytes[there] != 0 {
                state.learn_tree(bytes.get(root..), Holds::Tables, self.most);
            }
        }
    }

    /// Learns what a page says of others.
    fn learn(&self, page: &[u8], holds: Holds) {
        match (page.first(), holds) {
            (Some(&BRANCH), _) => {
                let mut state = self.state();
                let children = count(page) + 1;
                for child in 0..children {
                    let checksum = u128_at(page, 8 + 16 * child);
                    let number = u64_at(page, 8 + 16 * children + 8 * child);
                    state.learn(number, checksum, holds, self.most);
                }
            }
            (Some(&LEAF), Holds::Tables) => {
                let mut state = self.state();
                for table in (0..count(page)).filter_map(|n| value(page, n)) {
                    // Its kind, how many rows it has, its root, and the widths of keys and values.
                    let width = |at: usize| match table.get(at) {
                        Some(1) => Some(u32_at(table, at + 1)),
                        _ => None,
                    };
                    if let [NORMAL, _, _, _, _, _, _, _, _, 1, root @ ..] = table {
                        let holds = Holds::Rows { key: width(42).flatten(), value: width(47).flatten() };
                        state.learn_tree(Some(root), holds, self.most);
                    }
                }
            }
            _ => {}
        }
    }
}

impl ChecksumState {
    /// What is known of a page, which stays known.
    fn get(&mut self, begin: u64, most: usize) -> Option<PageInfo> {
        if let Some(known) = self.late.get(&begin) {
            return Some(*known);
        }
        let known = self.before.remove(&begin)?;
        self.put(begin, known, most);
        Some(known)
    }

    fn put(&mut self, begin: u64, known: PageInfo, most: usize) {
        if self.late.len() >= most {
            self.before = std::mem::take(&mut self.late);
        }
        self.late.insert(begin, known);
    }

    /// A root: its number and its checksum.
    fn learn_tree(&mut self, root: Option<&[u8]>, holds: Holds, most: usize) {
        if let Some(root) = root {
            self.learn(u64_at(root, 0), u128_at(root, 8), holds, most);
        }
    }

    fn learn(&mut self, number: Option<u64>, checksum: Option<u128>, holds: Holds, most: usize) {
        let (Some(number), Some(checksum), Some(layout)) = (number, checksum, self.layout) else { return };
        let Some((begin, length)) = layout.place(number) else { return };
        let known = PageInfo { checksum, length, holds };
        if let Entry::Occupied(mut there) = self.late.entry(begin) {
            there.insert(known);
            return;
        }
        self.before.remove(&begin);
        self.put(begin, known, most);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// How many rows a leaf has, or keys a branch.
pub(super) fn count(page: &[u8]) -> usize {
    page.get(2..4).and_then(|n| n.first_chunk()).map_or(0, |n| usize::from(u16::from_le_bytes(*n)))
}

/// What a page that is a leaf of the log would have as its keys: the first positions of its rows. It is believed of nothing that it says.
pub(crate) fn first_positions(page: &[u8]) -> impl Iterator<Item = Position> {
    let rows = if page.first() == Some(&LEAF) { count(page) } else { 0 };
    // Behind the ends of keys and of values.
    let keys = page.get(4 + 2 * 4 * rows..).unwrap_or_default();
    let (keys, _) = keys.as_chunks::<8>();
    keys.iter().take(rows).map(|key| Position::from_be_bytes(*key))
}

/// A value of a leaf whose keys and values differ in length.
fn value(page: &[u8], n: usize) -> Option<&[u8]> {
    let (keys, values) = (4, 4 + 4 * count(page));
    let begin = match n.checked_sub(1) {
        Some(before) => u32_at(page, values + 4 * before)?,
        None => u32_at(page, keys + 4 * count(page).checked_sub(1)?)?,
    };
    page.get(begin as usize..u32_at(page, values + 4 * n)? as usize)
}

/// The checksum of a page: over what is used of it.
fn checksum(page: &[u8], holds: Holds) -> Option<u128> {
    let (key, value) = holds.widths();
    let last = count(page).checked_sub(1)?;
    let ends = |width: Option<usize>| if width.is_none() { 4 * (last + 1) } else { 0 };
    let end = match *page.first()? {
        LEAF => {
            let keys_end = match key {
                Some(width) => (4 + ends(key) + ends(value)).saturating_add(width.saturating_mul(last + 1)),
                None => u32_at(page, 4 + 4 * last)? as usize,
            };
            match value {
                Some(width) => keys_end.saturating_add(width.saturating_mul(last + 1)),
                None => u32_at(page, 4 + ends(key) + 4 * last)? as usize,
            }
        }
        BRANCH => {
            let behind_children = 8 + 24 * (last + 2);
            match key {
                Some(width) => behind_children.saturating_add(width.saturating_mul(last + 1)),
                None => u32_at(page, behind_children + 4 * last)? as usize,
            }
        }
        _ => return None,
    };
    Some(XxHash3_128::oneshot(page.get(..end)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

    use super::*;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::disk::{Disk, File};
    use crate::store::tables::guard;

    const LONG: TableDefinition<&[u8], &[u8]> = TableDefinition::new("long");
    const SHORT: TableDefinition<u64, u32> = TableDefinition::new("short");
    const MIXED: TableDefinition<u64, &str> = TableDefinition::new("mixed");

    /// A file that compares, and notes which pages it has compared and which it could not.
    #[derive(Debug, Clone)]
    struct Noting {
        file: Arc<dyn File>,
        checksums: Arc<Checksums>,
        compared: Arc<Mutex<BTreeSet<u64>>>,
        unknown: Arc<Mutex<BTreeSet<u64>>>,
    }

    impl Noting {
        fn new(file: Arc<dyn File>) -> Noting {
            let checksums = Arc::new(Checksums::new(1 << 20));
            Noting { file, checksums, compared: Arc::default(), unknown: Arc::default() }
        }
    }

    impl StorageBackend for Noting {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, begin: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read_at(begin, out)?;
            if begin > 0 {
                let known = self.checksums.state().get(begin, 1 << 20).is_some();
                (if known { &self.compared } else { &self.unknown }).lock().unwrap().insert(begin);
            }
            if self.checksums.fits(begin, out) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file.sync()
        }

        fn write(&self, begin: u64, data: &[u8]) -> io::Result<()> {
            self.checksums.forget(begin);
            self.file.write_at(begin, data)
        }
    }

    fn open(backend: Noting) -> Database {
        // A small cache reads pages again and again.
        redb::Builder::new().set_cache_size(32 << 10).create_with_backend(backend).unwrap()
    }

    fn write(database: &Database, rows: std::ops::Range<u64>) {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_quick_repair(true);
        {
            let mut long = transaction.open_table(LONG).unwrap();
            let mut short = transaction.open_table(SHORT).unwrap();
            let mut mixed = transaction.open_table(MIXED).unwrap();
            for n in rows {
                let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let large = vec![n as u8; if n % 500 == 0 { 20_000 } else { n as usize % 60 }];
                long.insert(&key.to_be_bytes()[..], &large[..]).unwrap();
                short.insert(key, n as u32).unwrap();
                mixed.insert(n, "text").unwrap();
                long.remove(&(n / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[..]).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// How many rows there are, and what they add up to.
    fn read(database: &Database) -> Result<(u64, u64), redb::Error> {
        let transaction = database.begin_read()?;
        let (mut rows, mut sum) = (0, 0_u64);
        for row in transaction.open_table(LONG)?.iter()? {
            let (key, value) = row?;
            let bytes = key.value().iter().chain(value.value());
            (rows, sum) = (rows + 1, bytes.fold(sum, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)));
        }
        for row in transaction.open_table(SHORT)?.iter()? {
            let (key, value) = row?;
            (rows, sum) = (rows + 1, sum.wrapping_mul(31) ^ key.value() ^ u64::from(value.value()));
        }
        for row in transaction.open_table(MIXED)?.iter()? {
            let (key, value) = row?;
            (rows, sum) = (rows + 1, sum.wrapping_mul(31) ^ key.value() ^ value.value().len() as u64);
        }
        Ok((rows, sum))
    }

    #[test]
    fn each_page_that_is_read_is_compared_and_one_that_was_changed_never_answers() {
        guard::silence();
        let disk = MemoryDisk::new();
        let file = disk.create(Path::new("/a")).unwrap();
        let database = open(Noting::new(file.clone()));
        for batch in 0..6 {
            write(&database, batch * 500..(batch + 1) * 500);
        }
        drop(database);

        let noting = Noting::new(file.clone());
        let database = open(noting.clone());
        let whole = read(&database).unwrap();
        assert_eq!(*noting.unknown.lock().unwrap(), BTreeSet::new());
        let pages = noting.compared.lock().unwrap().clone();
        assert!(pages.len() > 60, "{}", pages.len());
        // Pages that are written over are not taken for what they were.
        for batch in 6..12 {
            write(&database, batch * 500..(batch + 1) * 500);
            read(&database).unwrap();
        }
        drop(database);

        let noting = Noting::new(file.clone());
        let whole_later = read(&open(noting.clone())).unwrap();
        assert_ne!(whole, whole_later);
        let pages = noting.compared.lock().unwrap().clone();
        let mut noticed = 0;
        for begin in pages {
            let mut page = vec![0; 4096];
            file.read_at(begin, &mut page).unwrap();
            // What is behind the last byte in use may be anything: there it is not noticed.
            let mut changed = page.clone();
            changed[40] ^= 4;
            file.write_at(begin, &changed).unwrap();
            let answer = guard::quietly(|| {
                let backend = Noting::new(file.clone());
                let database = redb::Builder::new().set_cache_size(32 << 10).create_with_backend(backend)?;
                read(&database)
            });
            match answer {
                Some(Ok(answer)) => assert_eq!(answer, whole_later, "page at {begin}"),
                _ => noticed += 1,
            }
            file.write_at(begin, &page).unwrap();
        }
        assert!(noticed > 60, "{noticed}");
    }
}
