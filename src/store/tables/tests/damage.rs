//! Rows and pages that are not what they were: told by whoever reads them, and by the check, which goes on behind them.

use super::*;
use crate::entity::{Position, PositionRange};
use crate::store::snapshot::ScanDirection;
use crate::store::verify::verify;

const EVENTS: u64 = 400;

/// A closed file of many rows.
fn closed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let store = Store::create(path(), options(&disk)).unwrap();
    let events =
        |n| NewEvent::new("Order.paid").on(("Order", n % 7)).index("n", n).member("text", "x".repeat(200));
    for first in (0..EVENTS).step_by(20) {
        store
            .append(AppendRequest {
                events: (first..first + 20).map(events).collect(),
                ..AppendRequest::default()
            })
            .unwrap();
    }
    store.close().unwrap();
    disk
}

/// The key of the row that has an event, and its value.
fn row(tables: &WriteTables, position: Position) -> (Vec<u8>, Vec<u8>) {
    let row = tables.log.range::<&[u8]>(..=position.to_be_bytes().as_slice()).unwrap().next_back();
    let (key, value) = row.unwrap().unwrap();
    (key.value().to_vec(), value.value().to_vec())
}

/// Reads the log in each way that there is; what came, and how it ended.
fn read_all(store: &Store) -> Vec<(Vec<Position>, Result<()>)> {
    let mut read = Vec::new();
    for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
        let mut pulled = (Vec::new(), Ok(()));
        for row in store.snapshot().log(PositionRange::ALL, direction) {
            match row {
                Ok((position, _)) => pulled.0.push(position),
                Err(error) => pulled.1 = Err(error),
            }
        }
        let (mut lent, mut scan) = (Vec::new(), store.snapshot().log(PositionRange::ALL, direction));
        let mut ended = Ok(true);
        while matches!(ended, Ok(true)) {
            ended = scan.lend(64, |position, _| {
                lent.push(position);
                Ok(true)
            });
        }
        read.extend([pulled, (lent, ended.map(drop))]);
    }
    let mut wanted: std::collections::VecDeque<Position> = (1..=EVENTS).map(Position).collect();
    let (mut lent, snapshot) = (Vec::new(), store.snapshot());
    let ended = snapshot.view().unwrap().lend(&mut wanted, |position, _| {
        lent.push(position);
        Ok(true)
    });
    read.push((lent, ended));
    read
}

#[test]
fn an_event_that_is_missing_or_not_in_its_place_ends_whatever_reads_the_log() {
    let whole = closed();
    let store = Store::open(path(), options(&copy(&whole))).unwrap();
    let all = read_all(&store);
    assert!(all.iter().all(|(read, ended)| read.len() as u64 == EVENTS && ended.is_ok()));
    let is_told = |what: &str, planted: &dyn Fn(&mut WriteTables)| {
        let disk = copy(&whole);
        change(&disk, planted);
        let store = Store::open(path(), options(&disk)).unwrap();
        for ((read, ended), (right, _)) in read_all(&store).into_iter().zip(&all) {
            let error = ended.map(|()| read.len()).expect_err(what);
            assert_eq!(error.kind(), "corrupt", "{what}: {error}");
            assert!(error.to_string().contains("no event at #"), "{what}: {error}");
            assert!(right.starts_with(&read), "{what}: {read:?}");
        }
        let found = verify(&store.snapshot()).unwrap();
        assert!(
            found.faults.iter().any(|fault| fault.contains("cannot be read: the log: no event at #")),
            "{found:?}"
        );
    };
    is_told("a row that is missing", &|tables| {
        let (key, _) = row(tables, Position(200));
        tables.log.remove(key.as_slice()).unwrap();
    });
    is_told("a row that comes twice", &|tables| {
        let (key, value) = row(tables, Position(200));
        let later = u64::from_be_bytes(key.try_into().unwrap()) + 1;
        tables.log.insert(later.to_be_bytes().as_slice(), value.as_slice()).unwrap();
    });
    is_told("a row that lost events", &|tables| {
        let (key, value) = row(tables, Position(200));
        let first = u64::from_be_bytes(key.as_slice().try_into().unwrap());
        let (_, event) = BlockEvents::of(Position(first), &value).next().unwrap().unwrap();
        let shorter = value[..4 + event.len()].to_vec();
        tables.log.insert(key.as_slice(), shorter.as_slice()).unwrap();
    });
    is_told("a row in the place of another", &|tables| {
        let (key, value) = row(tables, Position(200));
        let (other, other_value) = row(tables, Position(300));
        tables.log.insert(key.as_slice(), other_value.as_slice()).unwrap();
        tables.log.insert(other.as_slice(), value.as_slice()).unwrap();
        // Where they have as many events, only their checksums tell; here one is missing.
        let (missing, _) = row(tables, Position(250));
        tables.log.remove(missing.as_slice()).unwrap();
    });
}

/// A file with a page of zeros, and what else was changed.
fn zeroed(whole: &MemoryDisk, page: u64) -> MemoryDisk {
    let disk = copy(whole);
    disk.open(path()).unwrap().write_at(page * 4096, &[0; 4096]).unwrap();
    disk
}

#[test]
fn the_check_goes_on_behind_every_page_that_is_damaged() {
    let whole = closed();
    let pages = whole.open(path()).unwrap().len().unwrap() / 4096;
    let (mut of_log, mut of_lists, mut opened, mut above) = (0, 0, 0, 0);
    for page in 0..pages {
        let disk = zeroed(&whole, page);
        let Ok(store) = Store::open(path(), options(&disk)) else { continue };
        opened += 1;
        let Ok(found) = verify(&store.snapshot()) else { continue };
        let has = |part: &str| found.faults.iter().any(|fault| fault.contains(part));
        if has("the log from #") {
            of_log += 1;
            // A page has no more than two or three rows; all the rest is read. But through one all of them are reached.
            let is_above = found.events == 0;
            above += u32::from(is_above);
            assert!(found.events >= EVENTS - 48 || is_above, "page {page}: {found:?}");
            assert!(has("a damaged page of the file"), "page {page}: {found:?}");
        }
        if has("the posting lists: ") {
            of_lists += 1;
            assert_eq!(found.events, EVENTS, "page {page}: {found:?}");
        }
        assert!(found.faults.len() < 30, "page {page}: {found:?}");
        // Every page that somebody may come to has a checksum that is looked at.
        let differs =
            read_all(&store).iter().any(|(read, ended)| ended.is_err() || read.len() as u64 != EVENTS);
        assert!(!differs || !found.faults.is_empty(), "page {page}");
        let _ = store.close();
    }
    assert!(
        of_log > 10 && of_lists > 1 && opened > 40 && above <= 1,
        "{of_log} of the log, {of_lists} of lists, {opened} opened"
    );
}

#[test]
fn a_damaged_page_does_not_make_the_tables_refuse_what_others_read() {
    let whole = closed();
    let pages = whole.open(path()).unwrap().len().unwrap() / 4096;
    let mut met = 0;
    for page in 0..pages {
        let disk = zeroed(&whole, page);
        let Ok(store) = Store::open(path(), options(&disk)) else { continue };
        let snapshot = store.snapshot();
        if snapshot.log(PositionRange::ALL, ScanDirection::Ascending).any(|row| row.is_err()) {
            met += 1;
            assert!(!store.shared().tables.state().needs_reopening(), "page {page}");
            assert!(snapshot.view().is_ok());
        }
    }
    assert!(met > 10, "{met} met the damage");
}

#[test]
fn what_lies_behind_the_end_of_the_file_is_a_damaged_page() {
    let whole = closed();
    let file = whole.open(path()).unwrap();
    let backend = handle::Backend::new(file.clone());
    let mut read = [7; 16];
    redb::StorageBackend::read(&backend, u64::MAX - 4096, &mut read).unwrap();
    assert_eq!(read, [0; 16]);
    // A page that leads to one of four gigabytes.
    let mut page = vec![0; 4096];
    page[0] = 2;
    page[8 + 16 + 7] = 20 << 3;
    file.write_at(8192, &page).unwrap();
    redb::StorageBackend::read(&backend, 8192, &mut page).unwrap();
    assert_eq!(page, vec![0; 4096]);
}

#[test]
fn a_name_in_meta_that_changed_keeps_a_file_from_being_opened() {
    let (disk, _store) = left_open();
    for name in ["journal", "retired", "recorded", "chain"] {
        let disk = copy(&disk);
        change(&disk, |tables| {
            let value = tables.meta.get(name).unwrap().unwrap().value().to_vec();
            tables.meta.remove(name).unwrap();
            tables.meta.insert("another", value.as_slice()).unwrap();
        });
        is_refused(&disk, name, "meta.another: its checksum");
    }
}

#[test]
fn an_entry_that_does_not_come_after_all_that_a_list_has_is_refused() {
    let store = Store::open(path(), options(&closed())).unwrap();
    let term = crate::store::index::term::Term::tag("n", &77.into()).unwrap();
    for positions in [[78], [77], [1]] {
        let append =
            |tables: &mut WriteTables| tables.append_postings(term.as_bytes(), &positions.map(Position));
        let error = store.shared().tables.write("planting", append).unwrap_err();
        assert_eq!(error.kind(), "corrupt");
        assert!(error.to_string().contains("its last one is #78"), "{error}");
    }
}
