//! Values that changed on the disk: told, and never taken for another log.

mod damage;

use redb::Key;

use super::*;
use crate::entity::Position;
use crate::event::NewEvent;
use crate::store::append_request::AppendRequest;
use crate::store::cursor::CursorOwner;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::{Failure, SimulatedDisk};
use crate::store::{Options, Store};

/// What only tests do to tables.
impl WriteTables<'_> {
    /// Takes the last event away.
    pub fn remove_last_event(&mut self) {
        let (first, mut events) = self.row_of(Position::MAX);
        events.pop();
        self.put_row(first, &events);
    }

    /// Puts other bytes where an event is.
    pub fn replace_event(&mut self, position: Position, bytes: &[u8]) {
        let (first, mut events) = self.row_of(position);
        events[position.index_from(first).unwrap()] = bytes.to_vec();
        self.put_row(first, &events);
    }

    fn row_of(&self, position: Position) -> (Position, Vec<Vec<u8>>) {
        let row = self.log.range::<&[u8]>(..=position.to_be_bytes().as_slice()).unwrap().next_back();
        let (key, value) = row.unwrap().unwrap();
        let first = row_position("the log", key.value()).unwrap();
        let mut buffer = Vec::new();
        let bytes = uncompressed(first, value.value(), &mut buffer).unwrap();
        (first, BlockEvents::of(first, bytes).map(|event| event.unwrap().1.to_vec()).collect())
    }

    fn put_row(&mut self, first: Position, events: &[Vec<u8>]) {
        self.blocks.iter().for_each(|blocks| blocks.clear());
        self.log.remove(first.to_be_bytes().as_slice()).unwrap();
        let put = |first: Position, value: &[u8]| {
            self.log.insert(first.to_be_bytes().as_slice(), value).unwrap();
            Ok(())
        };
        block::pack(first, events.iter().map(Vec::as_slice), put).unwrap();
    }

    pub fn damage_zone(&mut self, first: Position) {
        flip(&mut self.zones, first.to_be_bytes().as_slice(), 3);
    }

    pub fn damage_chunk(&mut self, key: &[u8]) {
        flip(&mut self.postings, key, 1);
    }

    pub fn damage_state(&mut self, definition: Position, id: &str) {
        let key = [&definition.to_be_bytes(), id.as_bytes()].concat();
        flip(&mut self.states, key.as_slice(), 0);
    }

    pub fn damage_snapshot(&mut self, key: &[u8]) {
        flip(&mut self.snapshots, key, 0);
    }

    pub fn damage_cursor(&mut self, follower: &CursorOwner) {
        flip(&mut self.cursors, cursors::key(follower).as_slice(), 0);
    }

    /// Makes an index of states of a definition what one was once: without checksums.
    pub fn take_checksums_away(&mut self, definition: Position, index: Position) {
        let rows = self.found.range::<&[u8]>(definition.to_be_bytes().as_slice()..).unwrap();
        let keys: Vec<Vec<u8>> = rows.map(|row| row.unwrap().0.value().to_vec()).collect();
        for key in keys {
            self.found.insert(key.as_slice(), [].as_slice()).unwrap();
        }
        let key = [definition.to_be_bytes(), index.to_be_bytes()].concat();
        let value = sealed(&key, vec![1]);
        self.followers.insert(key.as_slice(), value.as_slice()).unwrap();
    }

    /// Whether each entry of indexes of states has a checksum.
    pub fn found_is_sealed(&self) -> bool {
        let mut rows = self.found.iter().unwrap().map(|row| row.unwrap());
        rows.all(|(key, value)| unsealed(key.value(), value.value(), String::new).is_ok())
    }

    /// The first row of what follows a definition whose key has so many bytes.
    pub fn damage_followers(&mut self, definition: Position, length: usize) {
        let from = definition.to_be_bytes();
        let rows = self.followers.range::<&[u8]>(from.as_slice()..).unwrap();
        let mut keys = rows.map(|row| row.unwrap().0.value().to_vec());
        let key = keys.find(|key| key.starts_with(&from) && key.len() == length).unwrap();
        drop(keys);
        flip(&mut self.followers, key.as_slice(), 0);
    }
}

fn flip<K: Key>(table: &mut Table<K, Bytes>, key: K::SelfType<'_>, at: usize) {
    let mut value = table.get(&key).unwrap().unwrap().value().to_vec();
    value[at] ^= 1;
    table.insert(&key, value.as_slice()).unwrap();
}

fn path() -> &'static Path {
    Path::new("/shop.bygone")
}

fn options(disk: &MemoryDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).journal_steps(4096, 8192)
}

fn append(store: &Store) {
    let events = vec![NewEvent::new("Order.paid").on(("Order", 1))];
    store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
}

/// Two sessions, the second of them not ended: three events in the tables, two in the journal.
fn left_open() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    (0..2).for_each(|_| append(&store));
    store.close().unwrap();
    let store = Store::open(path(), options(&disk)).unwrap();
    append(&store);
    store.checkpoint().unwrap();
    (0..2).for_each(|_| append(&store));
    (disk, store)
}

fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let to = MemoryDisk::new();
    for name in ["/shop.bygone", "/shop.bygone-journal-a", "/shop.bygone-journal-b"] {
        let Ok(from) = disk.open(Path::new(name)) else { continue };
        let mut bytes = vec![0; from.len().unwrap() as usize];
        from.read_at(0, &mut bytes).unwrap();
        to.create(Path::new(name)).unwrap().write_at(0, &bytes).unwrap();
    }
    to
}

fn change(disk: &MemoryDisk, change: impl FnOnce(&mut WriteTables)) {
    let handle = open(disk, path(), 1 << 20, None).unwrap();
    let transaction = handle.database().unwrap().begin_write().unwrap();
    change(&mut WriteTables::open(&transaction).unwrap());
    transaction.commit().unwrap();
}

fn is_refused(disk: &MemoryDisk, what: &str, expected: &str) {
    for read_only in [false, true] {
        let error = Store::open(path(), options(disk).read_only(read_only)).map(drop).expect_err(what);
        assert_eq!(error.kind(), "unopenable", "{what}: {error}");
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
}

/// redb says of all that follows an error only that there was one.
#[test]
fn what_cannot_be_done_since_the_disk_failed_tells_how_it_failed() {
    for compacts in [false, true] {
        let disk = SimulatedDisk::new();
        disk.create(path()).unwrap();
        let tables = Tables::open_or_make(Arc::new(disk.clone()), path(), 1 << 20).unwrap();
        disk.faults().fail_after(0, Failure::any().with(ErrorKind::ReadOnlyFilesystem).forever());
        let told = |failed: Result<()>| {
            let error = failed.unwrap_err();
            assert!(error.to_string().contains("simulated failure"), "{error}");
        };
        told(tables.write("writing", |to| to.set_meta("name", &[1])));
        if compacts {
            told(tables.shrink());
        }
        told(tables.close());
    }
}

#[test]
fn a_byte_that_changed_beside_the_log_keeps_it_from_being_opened() {
    let (disk, _store) = left_open();
    let whole = copy(&disk);
    assert_eq!(Store::open(path(), options(&copy(&whole))).unwrap().snapshot().head(), Position(5));
    for name in ["format", "database", "checkpoint", "chain", "recorded", "journal", "retired"] {
        let mut length = 0;
        change(&copy(&whole), |tables| length = tables.meta.get(name).unwrap().unwrap().value().len());
        for at in 0..length {
            let disk = copy(&whole);
            change(&disk, |tables| flip(&mut tables.meta, name, at));
            is_refused(&disk, &format!("meta.{name}, byte {at}"), &format!("meta.{name}: its checksum"));
        }
    }
    let last = 3u64.to_be_bytes();
    let mut length = 0;
    change(&copy(&whole), |tables| {
        length = tables.zones.get(last.as_slice()).unwrap().unwrap().value().len();
    });
    for at in 0..length {
        let disk = copy(&whole);
        change(&disk, |tables| flip(&mut tables.zones, last.as_slice(), at));
        is_refused(&disk, &format!("the zone, byte {at}"), "the zone at #3: its checksum");
    }
}

#[test]
fn tables_that_do_not_end_together_are_not_opened() {
    let (disk, _store) = left_open();
    let plant = |expected: &str, planted: &dyn Fn(&mut WriteTables)| {
        let disk = copy(&disk);
        change(&disk, planted);
        is_refused(&disk, expected, expected);
    };
    plant("up to #2: the log in them ends at #3", &|tables| {
        tables.set_meta("checkpoint", &2u64.to_be_bytes()).unwrap();
    });
    plant("up to #3: the log in them ends at #2", &|tables| tables.remove_last_event());
    plant("the event at #18446744073709551615", &|tables| {
        tables.log.insert(u64::MAX.to_be_bytes().as_slice(), [0, 0, 0, 1, 7].as_slice()).unwrap();
    });
    plant("up to #3: the zones in them end at #2", &|tables| {
        drop(tables.zones.remove(3u64.to_be_bytes().as_slice()).unwrap());
    });
    plant("another hash or time", &|tables| tables.clear_meta("chain").unwrap());
    plant("another hash or time", &|tables| tables.clear_meta("recorded").unwrap());
}

#[test]
fn an_event_is_not_written_over() {
    let (_, store) = left_open();
    let error = store
        .shared()
        .tables
        .write("planting", |tables| tables.put_events(Position(2), [b"other".as_slice()]))
        .unwrap_err();
    assert_eq!(error.kind(), "corrupt");
    assert!(error.to_string().contains("#2"), "{error}");
}
