//! Arbitrary bytes as the files of a database: a whole one that the input changes, or the input itself.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::Position;
use crate::error::Error;
use crate::event::{Event, LOST, NewEvent};
use crate::lang::generator::{Bytes, Choices};
use crate::store::Options;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::time::{Clock, Timestamp};

const NAME: &str = "/shop.bygone";
const OUT: &str = "/out.bygone";
const FILES: [&str; 3] = [NAME, "/shop.bygone-journal-a", "/shop.bygone-journal-b"];

/// The bytes of files that were closed, and of the same, killed two events later. They are the same for each who runs this, so that what
/// an input does to them is, too.
const CLOSED: [&[u8]; 1] = [include_bytes!("../../tests/files/format-5.bygone")];
const KILLED: [&[u8]; 3] = [
    include_bytes!("../../tests/files/format-5-killed.bygone"),
    include_bytes!("../../tests/files/format-5-killed.bygone-journal-a"),
    include_bytes!("../../tests/files/format-5-killed.bygone-journal-b"),
];

/// No input changes more than this.
const MOST: usize = 24;

const PAGE: usize = 4096;

/// What is asked: of each kind of what is stored.
const QUESTIONS: [&str; 9] = [
    "HISTORY Order 1",
    "AT Order 1",
    "FIND Order WHERE state.total > 20",
    "EVENTS BY customer = 'ann'",
    "EVENTS BY region = 'eu'",
    "READ revenue",
    "READ large",
    "READ rich",
    "SHOW SUBSCRIPTIONS",
];

/// Files, on a disk that is never written: each input has one of its own, which shares the pages.
struct Whole {
    disk: SimulatedDisk,
    events: Vec<Event>,
    /// Of each file, the places where it says the type of an order's event: most of a file is nothing that matters.
    places: [Vec<usize>; 3],
}

static WHOLE: LazyLock<[Whole; 2]> = LazyLock::new(|| [whole(&CLOSED), whole(&KILLED)]);

fn whole(files: &[&[u8]]) -> Whole {
    let disk = holding(files);
    let db = options(&copy(&disk)).open(NAME).expect("the file is whole");
    let events = Position::FIRST.onwards().take(db.head().0 as usize);
    let events = events.map(|position| db.event(position).expect("it is whole").expect("it is there"));
    let places = FILES.map(|name| {
        let bytes = bytes_of(&disk, name);
        let told = bytes.windows(6).enumerate().filter(|(_, window)| *window == b"Order.");
        told.map(|(place, _)| place).collect()
    });
    Whole { events: events.collect(), disk, places }
}

fn holding(files: &[&[u8]]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    for (name, bytes) in FILES.into_iter().zip(files).filter(|(_, bytes)| !bytes.is_empty()) {
        let file = disk.create(Path::new(name)).expect("the name is free");
        file.write_at(0, bytes).expect("the disk is whole");
    }
    copy(&disk)
}

/// A disk with the same on it, all of it durable.
fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.crash(Fate::KeepAll, 0)
}

fn options(disk: &SimulatedDisk) -> Options {
    let clock = Clock::new(|| Timestamp::from_millis(1_717_243_200_000));
    Options::new()
        .clock(clock)
        .disk(Arc::new(disk.clone()))
        .journal_steps(64 << 10, 1 << 20)
        .cache(1 << 20)
        .threads(1)
}

/// Opening, reading, verifying, appending, rescuing end, and none of them panics; whatever event is read was there, and it is as it was.
///
/// Whether the files could be opened.
pub fn file(bytes: &[u8]) -> bool {
    let mut choices = Bytes(bytes);
    let (whole, disk) = match choices.below(8) {
        0..3 => (Some(&WHOLE[0]), changed(&WHOLE[0], &mut choices)),
        3..7 => (Some(&WHOLE[1]), changed(&WHOLE[1], &mut choices)),
        _ => (None, raw(&mut choices)),
    };
    let events = whole.map_or(&[][..], |whole| &whole.events);
    rescued(&disk, events);
    let opened = [read(&disk, events), written(&disk, events)];
    opened.contains(&true)
}

/// The bytes as they are: the file, and a journal.
fn raw(choices: &mut Bytes<'_>) -> SimulatedDisk {
    let at = choices.below(256).min(choices.0.len());
    let (journal, file) = choices.0.split_at(at);
    holding(&[file, journal])
}

/// A whole database, changed as the bytes say. Zeros are what is left where they end: nothing more is changed then.
fn changed(whole: &Whole, choices: &mut Bytes<'_>) -> SimulatedDisk {
    let disk = copy(&whole.disk);
    for _ in 0..MOST {
        if choices.0.is_empty() {
            break;
        }
        change(whole, &disk, choices);
    }
    disk
}

/// The bytes of a file; none where it is gone.
fn bytes_of(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
    let Ok(file) = disk.open(Path::new(name)) else { return Vec::new() };
    let mut bytes = vec![0; file.len().expect("the disk is whole") as usize];
    file.read_at(0, &mut bytes).expect("the disk is whole");
    bytes
}

fn change(whole: &Whole, disk: &SimulatedDisk, choices: &mut Bytes<'_>) {
    let what = choices.below(12);
    let which = choices.below(4).saturating_sub(1);
    let (name, places) = (FILES[which], &whole.places[which]);
    let mut number = || (0..3).fold(0, |number, _| number << 8 | choices.below(256));
    let (to, from, length) = (number(), number(), number());
    let value = choices.below(256) as u8;
    let Ok(file) = disk.open(Path::new(name)) else { return };
    let size = file.len().expect("the disk is whole") as usize;
    if size == 0 {
        return;
    }
    // No file is so long that the first bit is of use otherwise: it is a place near an event then.
    let to = match places.get((to >> 8 & 0x7fff) % places.len().max(1)) {
        Some(place) if to >> 23 == 1 => (place + to % 256).saturating_sub(64),
        _ => to,
    };
    let put = |at: usize, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(size - at)];
        file.write_at(at as u64, bytes).expect("the disk is whole");
    };
    let page = |number: usize| number % size.div_ceil(PAGE) * PAGE;
    match what {
        0..3 => {
            let mut byte = [0];
            file.read_at((to % size) as u64, &mut byte).expect("it lies within");
            put(to % size, &[byte[0] ^ 1 << (value % 8)]);
        }
        3 => put(to % size, &[value]),
        4 => put(to % size, &vec![value; 1 + length % 64]),
        5 => put(page(to), &vec![0; PAGE * (1 + length % 4)]),
        6 => {
            let bytes = bytes_of(disk, name);
            let (from, length) = (from % size, 1 + length % 512);
            put(to % size, &bytes[from..size.min(from + length)]);
        }
        7 => {
            let bytes = bytes_of(disk, name);
            let from = page(from);
            put(page(to), &bytes[from..size.min(from + PAGE)]);
        }
        8 => {
            // A page of another moment, or of another file.
            let other = &WHOLE[usize::from(value & 1)].disk;
            let other = bytes_of(other, FILES[usize::from(value >> 1) % FILES.len()]);
            let from = if value & 128 == 0 { page(to) } else { page(from) };
            put(page(to), other.get(from..other.len().min(from + PAGE)).unwrap_or_default());
        }
        9 => file.set_len((size - 1 - to % size) as u64).expect("the disk is whole"),
        10 => file.set_len((size + length % (4 * PAGE)) as u64).expect("the disk is whole"),
        _ => match value % 3 {
            0 => disk.remove(Path::new(name)).expect("it is there"),
            1 => {
                let journals = [FILES[1], FILES[2]].map(|name| bytes_of(disk, name));
                for (name, bytes) in [FILES[2], FILES[1]].into_iter().zip(&journals) {
                    replace(disk, name, bytes);
                }
            }
            _ => replace(disk, name, &bytes_of(&WHOLE[usize::from(value >> 7)].disk, name)),
        },
    }
}

/// Other bytes under a name; none: it is gone.
fn replace(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let path = Path::new(name);
    if disk.exists(path).expect("names can be looked at") {
        disk.remove(path).expect("it is there");
    }
    if !bytes.is_empty() {
        let file = disk.create(path).expect("the name is free");
        file.write_at(0, bytes).expect("the disk is whole");
    }
}

/// An error tells what is damaged, and never of a panic.
fn is_told(error: &Error) {
    let told = error.to_string();
    assert!(!told.contains("panic"), "{told}");
}

/// An event that is read was there, at this place and as it is.
fn was_there(events: &[Event], event: &Event) {
    let known = events.get(event.position.0 as usize - 1);
    assert!(known == Some(event), "{event:?} was never there; there was {known:?}");
}

/// Opened to be read.
fn read(disk: &SimulatedDisk, events: &[Event]) -> bool {
    match options(&copy(disk)).read_only(true).open(NAME) {
        Ok(db) => {
            asked(&db, events);
            true
        }
        Err(error) => {
            is_told(&error);
            false
        }
    }
}

/// All that can be read.
fn asked(db: &Db, events: &[Event]) {
    // One more than there are, and not more than there could be.
    for position in Position::FIRST.onwards().take((db.head().0 as usize).min(events.len()) + 1) {
        match db.event(position) {
            Ok(event) => event.iter().for_each(|event| was_there(events, event)),
            Err(error) => is_told(&error),
        }
    }
    match db.events("*") {
        Ok(found) => {
            // What is damaged is told, and ends it.
            for event in found.take(events.len() + 1) {
                match event {
                    Ok(event) => was_there(events, &event),
                    Err(error) => is_told(&error),
                }
            }
        }
        Err(error) => is_told(&error),
    }
    for question in QUESTIONS {
        match db.query(question) {
            Ok(answer) => {
                answer.rows.take(1000).filter_map(Result::err).for_each(|error| is_told(&error));
            }
            Err(error) => is_told(&error),
        }
    }
    if let Err(error) = db.verify() {
        is_told(&error);
    }
}

/// Opened to be written, and written.
fn written(disk: &SimulatedDisk, events: &[Event]) -> bool {
    let disk = copy(disk);
    let db = match options(&disk).open(NAME) {
        Ok(db) => db,
        Err(error) => {
            is_told(&error);
            return false;
        }
    };
    asked(&db, events);
    let mut appended = Vec::new();
    for n in 0..3_u64 {
        match db.append(NewEvent::new("Order.placed").on(("Order", n)).member("total", n)) {
            Ok(event) => appended.push(event),
            Err(error) => is_told(&error),
        }
    }
    let checkpoint = db.query("CHECKPOINT").and_then(|answer| answer.rows.collect::<Result<Vec<_>, _>>());
    for error in [checkpoint.err(), db.close().err()].into_iter().flatten() {
        is_told(&error);
    }
    match options(&disk).read_only(true).open(NAME) {
        Ok(db) => {
            for event in &appended {
                match db.event(event.position) {
                    Ok(found) => assert_eq!(found.as_ref(), Some(event), "it was acknowledged"),
                    Err(error) => is_told(&error),
                }
            }
        }
        Err(error) => is_told(&error),
    }
    true
}

/// Rescue gives what can be read, each event where it was, and a whole file.
fn rescued(disk: &SimulatedDisk, events: &[Event]) {
    let disk = copy(disk);
    let rescue = match options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {}) {
        Ok(rescue) => rescue,
        Err(error) => return is_told(&error),
    };
    assert!(rescue.faults.is_empty(), "VERIFY finds {:?}", rescue.faults);
    let db = options(&disk).open(OUT).expect("what was rescued is whole");
    assert_eq!(db.head(), rescue.head, "{rescue:?}");
    for position in Position::FIRST.onwards().take(rescue.head.0 as usize) {
        let found = db.event(position).expect("it is whole").expect("none is left out");
        if found.kind.as_str() == LOST {
            continue;
        }
        let known = events.get(position.0 as usize - 1);
        // A version counts the events of its entity that are left.
        let as_it_was = known.map(|known| Event { version: found.version, ..known.clone() });
        assert!(as_it_was.as_ref() == Some(&found), "{found:?} was never there; there was {known:?}");
    }
}

/// What the corpus begins with: each kind of change, of each file.
#[cfg(test)]
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut random = crate::lang::generator::Random::new(5);
    let mut seeds = vec![vec![0], vec![3], vec![7], vec![7, 4, 1, 2, 3, 4, b'r', b'e', b'd', b'b']];
    for what in 0..12_u8 {
        for (form, name) in [(0, 0), (3, 0), (3, 2), (3, 3)] {
            let change: Vec<u8> = (0..10).map(|_| random.below(256) as u8).collect();
            // The begin of a file says what it is; and there are the events.
            let to = match (what + name) % 3 {
                0 => [0, 0, change[0] & 127],
                1 => [change[0] | 128, change[1], change[2]],
                _ => [change[0], change[1], change[2]],
            };
            seeds.push([&[form, what, name], to.as_slice(), &change[3..]].concat());
        }
    }
    seeds
}
