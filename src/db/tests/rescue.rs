//! Rescue of damaged files: every event whose stored bytes are whole comes back, and none that was never there.
//!
//! Which bytes are whole is known here otherwise: those of each event were looked for in the files before they were damaged.
//! `BYGONE_RESCUED_FILES=500` damages so many instead of a few, and the counts are printed; `BYGONE_RESCUE_SEED=17` begins with another.

mod bad_sectors;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::{PATIENCE, run, wait_until};
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::event::{Event, LOST};
use crate::store::disk::Disk;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::simulated::random::Random;
use crate::store::tables::block::BlockEvents;
use crate::store::tables::compressed_block::blocks_in;
use crate::store::temporary::TemporaryFile;
use crate::{Db, NewEvent, Options};
use bad_sectors::BadSectors;

const NAME: &str = "/shop.bygone";
const OUT: &str = "/out.bygone";
const FILES: [&str; 3] = [NAME, "/shop.bygone-journal-a", "/shop.bygone-journal-b"];

type Image = Vec<Vec<u8>>;

/// What is damaged, and what was in it.
struct Whole {
    image: Image,
    events: Vec<Event>,
    /// Where each event's bytes lie: the file, the first byte, how many.
    places: Vec<Vec<(usize, usize, usize)>>,
    chain: crate::maintain::ChainHash,
}

fn options(disk: &MemoryDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).journal_steps(64 << 10, 1 << 20).cache(1 << 20)
}

fn bytes_of(disk: &MemoryDisk) -> Image {
    let read = |name: &&str| {
        let Ok(file) = disk.open(Path::new(name)) else { return Vec::new() };
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    FILES.iter().map(read).collect()
}

fn disk_of(image: &Image) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in FILES.iter().zip(image).filter(|(_, bytes)| !bytes.is_empty()) {
        disk.create(Path::new(name)).unwrap().write_at(0, bytes).unwrap();
    }
    disk
}

fn event(n: u64, random: &mut Random) -> NewEvent {
    let text = |random: &mut Random, most: u64| "a word or two, ".repeat(random.below(most) as usize);
    let order = ("Order", random.below(30));
    match random.below(8) {
        0 => NewEvent::new("Order.created").on(order).member("total", n).index("color", "red"),
        1 => NewEvent::new("Order.noted").on(order).member("text", text(random, 20)),
        // Some take pages of their own.
        2 if n % 25 == 2 => NewEvent::new("Order.scanned").on(order).member("text", text(random, 3000)),
        3 => NewEvent::new("Order.paid").on(order).metadata(&serde_json::json!({"ip": "::1", "n": n})),
        4 => NewEvent::new("Order.sent").on(order).id(&format!("id-{n}-{}", random.next())),
        5 => NewEvent::new("Order.told").on(order).caused_by(Position(n.max(2) / 2)),
        _ => NewEvent::new("Order.kept").on(order).by(("User", random.below(9))).member("n", n),
    }
}

/// Where the bytes of events lie in files: of each event, the file, the first byte, how many.
fn places_of(stored: &[Arc<[u8]>], image: &Image) -> Vec<Vec<(usize, usize, usize)>> {
    let mut begins: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (event, bytes) in stored.iter().enumerate() {
        begins.entry(&bytes[..8]).or_default().push(event);
    }
    let mut places = vec![Vec::new(); stored.len()];
    for (file, whole) in image.iter().enumerate() {
        for (at, begin) in whole.windows(8).enumerate() {
            for &event in begins.get(begin).into_iter().flatten() {
                if whole[at..].starts_with(&stored[event]) {
                    places[event].push((file, at, stored[event].len()));
                }
            }
        }
    }
    places
}

/// How a database was left that is damaged then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    Killed,
    Compacted,
}

impl Left {
    const ALL: [Left; 3] = [Left::Closed, Left::Killed, Left::Compacted];
}

/// Adds where events lie in blocks that are compressed: each is as whole as its block is.
fn add_places_in_blocks(stored: &[Arc<[u8]>], image: &Image, places: &mut [Vec<(usize, usize, usize)>]) {
    let of: HashMap<&[u8], usize> = stored.iter().enumerate().map(|(at, event)| (&event[..], at)).collect();
    for (file, whole) in image.iter().enumerate() {
        for (at, length, uncompressed, _) in blocks_in(whole).filter(|(_, _, _, is_whole)| *is_whole) {
            for (_, event) in BlockEvents::of(Position::FIRST, &uncompressed).map_while(Result::ok) {
                if let Some(event) = of.get(event) {
                    places[*event].push((file, at, length));
                }
            }
        }
    }
}

/// A database that was left in some way.
fn whole(left: Left) -> Whole {
    const EVENTS: u64 = 1200;
    let disk = MemoryDisk::new();
    let mut random = Random(7);
    let db = options(&disk).memtable(150, 1 << 20).create(NAME).unwrap();
    for n in 0..EVENTS {
        let group: Vec<_> = (0..=random.below(3)).map(|_| event(n, &mut random)).collect();
        match random.below(10) {
            0 => drop(db.append_once(&format!("group-{n}"), group).unwrap()),
            _ => drop(db.append_all(group).unwrap()),
        }
        match n {
            100 => drop(run(&db, "DEFINE ENTITY Order ON created MERGE ON noted MERGE ON kept MERGE")),
            200 => drop(run(&db, "DEFINE INDEX total ON 'Order.*' AS data.total")),
            300 => drop(run(&db, "DEFINE REACTION send ON 'Order.paid' DO EMIT Order.sent (target.id)")),
            400 => drop(run(
                &db,
                "DEFINE VIEW colors AS EVENTS 'Order.*' GROUP BY tags.color AS color SELECT count() AS n",
            )),
            _ => {}
        }
        if n % 10 == 0 {
            run(&db, "FIND Order LIMIT 1");
        }
    }
    assert!(db.wait_for_indexes(PATIENCE).unwrap());
    if left == Left::Compacted {
        run(&db, "COMPACT");
    }
    if left != Left::Killed {
        db.close().unwrap();
    }
    let image = bytes_of(&disk);
    let db = options(&disk_of(&image)).open(NAME).unwrap();
    let snapshot = db.store().snapshot();
    let positions = Position::FIRST.onwards().take(db.head().0 as usize);
    let stored: Vec<_> = positions.map(|position| snapshot.encoded(position).unwrap().unwrap()).collect();
    let (events, mut places) = (all(&db), places_of(&stored, &image));
    add_places_in_blocks(&stored, &image, &mut places);
    let chain = db.chain().unwrap();
    db.close().unwrap();
    assert!(places.iter().all(|places| !places.is_empty()));
    Whole { image, events, places, chain }
}

/// Changes a copy, and says how.
fn damage(image: &mut Image, random: &mut Random) -> String {
    let there: Vec<usize> = (0..image.len()).filter(|file| !image[*file].is_empty()).collect();
    let file = if random.below(3) > 0 { 0 } else { there[random.below(there.len() as u64) as usize] };
    let bytes = &mut image[file];
    let length = bytes.len() as u64;
    let what = match random.below(8) {
        0..=3 => {
            let flips = 1 + random.below(64);
            for _ in 0..flips {
                let begin = random.below(8) == 0;
                let at = random.below(if begin { length.min(8192) } else { length });
                bytes[at as usize] ^= 1 << random.below(8);
            }
            format!("{flips} bits")
        }
        4 | 5 => {
            let to = random.below(length);
            bytes.truncate(to as usize);
            format!("cut at {to}")
        }
        6 => {
            let (pages, at) = (1 + random.below(8), random.below(length) / 4096 * 4096);
            let end = (at + pages * 4096).min(length);
            bytes[at as usize..end as usize].fill(0);
            format!("{pages} pages of zeros at {at}")
        }
        _ => {
            bytes[..length.min(4096) as usize].fill(0xff);
            "no header".to_owned()
        }
    };
    format!("{}: {what}", FILES[file])
}

/// All events, the database's own, too.
fn all(db: &Db) -> Vec<Event> {
    let snapshot = db.store().snapshot();
    let positions = Position::FIRST.onwards().take(db.head().0 as usize);
    positions.map(|position| snapshot.event(position).unwrap().unwrap()).collect()
}

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    lost: u64,
    rescued: u64,
    none: u64,
}

/// Rescues a damaged copy, and holds what comes of it to what is whole in it.
fn rescued(whole: &Whole, image: &Image, counts: &mut Counts) -> Result<(), String> {
    counts.files += 1;
    let is_whole = |&(file, at, length): &(usize, usize, usize)| {
        image[file].get(at..at + length) == Some(&whole.image[file][at..at + length])
    };
    let left: Vec<bool> = whole.places.iter().map(|places| places.iter().any(is_whole)).collect();
    let disk = disk_of(image);
    let progress = &mut |_: &_| {};
    let rescue = match options(&disk).rescue(NAME, OUT, &Cancel::new(), progress) {
        Ok(rescue) => rescue,
        Err(error) if left.iter().any(|left| *left) => return Err(format!("it was refused: {error}")),
        Err(_) => {
            counts.none += 1;
            return Ok(());
        }
    };
    if bytes_of(&disk) != *image {
        return Err("the damaged files are not as they were".to_owned());
    }
    if rescue.searched != image.iter().map(|bytes| bytes.len() as u64).sum::<u64>() {
        return Err(format!("not all was searched: {rescue:?}"));
    }
    let db = options(&disk).open(OUT).map_err(|error| format!("it does not open: {error}"))?;
    let faults = db.verify().unwrap().faults;
    if !faults.is_empty() {
        return Err(format!("faults: {faults:?}"));
    }
    let events: BTreeMap<u64, Event> = all(&db).into_iter().map(|event| (event.position.0, event)).collect();
    for (event, left) in whole.events.iter().zip(&left) {
        let position = event.position;
        let found = events.get(&position.0).filter(|found| found.kind.as_str() != LOST);
        match found {
            None if *left => {
                let places = &whole.places[position.0 as usize - 1];
                let whole: Vec<_> = places.iter().filter(|place| is_whole(place)).collect();
                return Err(format!(
                    "{position} was not given, and its bytes are whole at {whole:?}; {rescue:?}"
                ));
            }
            None => counts.lost += 1,
            Some(found) => {
                counts.rescued += 1;
                let found = Event { version: event.version, ..found.clone() };
                if found != *event {
                    return Err(format!("{position} is {found:?}, and was {event:?}"));
                }
            }
        }
    }
    if let Some(other) = events.get(&(whole.events.len() as u64 + 1)) {
        return Err(format!("{other:?} was never there"));
    }
    if rescue.missing == 0 && rescue.head.0 == whole.events.len() as u64 && db.chain().unwrap() != whole.chain
    {
        return Err("nothing is missing, and the chain is another".to_owned());
    }
    if rescue.events + rescue.missing != rescue.head.0 {
        return Err(format!("it does not add up: {rescue:?}"));
    }
    db.close().map_err(|error| error.to_string())
}

#[test]
fn every_event_whose_bytes_are_whole_comes_back_and_no_other() {
    let number = |name, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (first, count) = (number("BYGONE_RESCUE_SEED", 1), number("BYGONE_RESCUED_FILES", 60));
    let databases = Left::ALL.map(whole);
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    for seed in first..first + count {
        let mut random = Random(seed);
        let whole = &databases[random.below(3) as usize];
        let mut copy = whole.image.clone();
        let what = damage(&mut copy, &mut random);
        if let Err(fault) = rescued(whole, &copy, &mut counts) {
            failures.push(format!("BYGONE_RESCUE_SEED={seed}, {what}: {fault}"));
        }
    }
    println!("{counts:?}");
    assert!(failures.is_empty(), "{} of {count}: {failures:#?}", failures.len());
    assert!(counts.lost > 0 && counts.rescued > counts.lost, "{counts:?}");
}

#[test]
fn of_a_whole_database_all_is_rescued_as_it_was() {
    for left in Left::ALL {
        let whole = whole(left);
        let mut counts = Counts::default();
        rescued(&whole, &whole.image, &mut counts).unwrap();
        assert_eq!((counts.lost, counts.rescued), (0, whole.events.len() as u64));
    }
}

#[test]
fn of_a_damaged_block_what_is_whole_comes_back() {
    let mut whole = whole(Left::Compacted);
    let (mut blocks, mut told) = (0, 0);
    for (at, length, ..) in blocks_in(&whole.image[0].clone()).filter(|(_, _, _, is_whole)| *is_whole) {
        whole.image[0][at + length - 1] ^= 1;
        blocks += 1;
    }
    let disk = disk_of(&whole.image);
    let rescue = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_: &_| {}).unwrap();
    let db = options(&disk).open(OUT).unwrap();
    for found in all(&db).iter().filter(|found| found.kind.as_str() != LOST) {
        let event = &whole.events[found.position.0 as usize - 1];
        assert_eq!(Event { version: event.version, ..found.clone() }, *event);
        told += 1;
    }
    // The last byte is of the last event: all but a few of each block are there.
    assert!(blocks > 20 && rescue.missing > 0 && told > whole.events.len() / 2, "{told} of {rescue:?}");
}

#[test]
fn of_many_small_events_that_compress_well_all_come_back() {
    let disk = MemoryDisk::new();
    let db = options(&disk).create(NAME).unwrap();
    let pack = || (0..2000).map(|_| NewEvent::new("Tick.ed").on(("Tick", 1)));
    for _ in 0..50 {
        db.append_all(pack().collect::<Vec<_>>()).unwrap();
    }
    run(&db, "COMPACT");
    let (head, chain) = (db.head(), db.chain().unwrap());
    db.close().unwrap();
    // Without what leads to them, too.
    for cut in [false, true] {
        let mut image = bytes_of(&disk);
        if cut {
            image[0][..4096].fill(0xff);
        }
        let disk = disk_of(&image);
        let rescue = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_: &_| {}).unwrap();
        assert_eq!((rescue.missing, rescue.head, &rescue.refusal.is_some()), (0, head, &cut), "{rescue:?}");
        let db = options(&disk).open(OUT).unwrap();
        assert_eq!(db.chain().unwrap(), chain);
    }
}

#[test]
fn followers_go_on_where_they_were_or_behind_the_last_event() {
    for header in [true, false] {
        let disk = MemoryDisk::new();
        let db = options(&disk).live(true).create(NAME).unwrap();
        run(&db, "DEFINE REACTION send ON 'Order.paid' DO EMIT Order.sent (target.id)");
        db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
        wait_until("the reaction", || db.is_idle().unwrap());
        db.close().unwrap();
        // This one it has not seen.
        let db = options(&disk).open(NAME).unwrap();
        db.append(NewEvent::new("Order.paid").on(("Order", 2))).unwrap();
        db.close().unwrap();
        if !header {
            disk.open(Path::new(NAME)).unwrap().write_at(0, &[0; 4096]).unwrap();
        }
        let found = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {}).unwrap();
        assert_eq!((found.missing, found.refusal.is_none()), (0, header), "{found:?}");
        let lost = found.doubts.iter().filter(|doubt| doubt.contains("is lost")).count();
        assert_eq!(lost, if header { 0 } else { 2 }, "{found:?}");
        let db = options(&disk).live(true).open(OUT).unwrap();
        wait_until("the reaction", || db.is_idle().unwrap());
        let sent: Vec<_> = super::events(&db, "Order.sent").iter().map(|sent| sent.target.clone()).collect();
        let expected = if header { vec![1, 2] } else { vec![1] };
        assert_eq!(sent, expected.into_iter().map(|order| Some(("Order", order).into())).collect::<Vec<_>>());
    }
}

#[test]
fn a_journal_of_another_database_is_told_and_not_searched() {
    let (own, other) = (whole(Left::Closed), whole(Left::Killed));
    let disk = disk_of(&vec![own.image[0].clone(), other.image[1].clone(), other.image[2].clone()]);
    let found = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!((found.events, found.missing), (own.events.len() as u64, 0), "{found:?}");
    let told = found.doubts.iter().filter(|doubt| doubt.contains("is of another database")).count();
    assert_eq!(told, 2, "{found:?}");
}

#[test]
fn of_a_journal_alone_what_it_holds_is_given() {
    let mut whole = whole(Left::Killed);
    whole.image[0].truncate(1);
    let disk = disk_of(&whole.image);
    let found = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(found.head.0, whole.events.len() as u64);
    assert!(found.events > 20 && found.missing > 500, "{found:?}");
    // What was lost stays lost.
    let again = options(&disk).rescue(OUT, "/again.bygone", &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!((again.events, again.missing, again.gaps), (found.events, found.missing, found.gaps));
}

#[test]
fn what_the_disk_cannot_read_is_told_and_the_rest_is_given() {
    let memory = MemoryDisk::new();
    let db = options(&memory).create(NAME).unwrap();
    for n in 1..=400 {
        db.append(super::paid(n).member("text", "a word or two, ".repeat(20))).unwrap();
    }
    db.close().unwrap();
    let pages = memory.open(Path::new(NAME)).unwrap().len().unwrap() / 4096;
    let disk = BadSectors::new(memory, NAME);
    let mut missing = 0;
    for page in (0..pages).step_by(3) {
        disk.set(page * 4096..(page + 1) * 4096);
        let out = format!("/out-{page}.bygone");
        let options = Options::new().disk(Arc::new(disk.clone())).cache(1 << 20);
        let found = options.rescue(NAME, &out, &Cancel::new(), &mut |_| {}).unwrap();
        assert_eq!(found.events + found.missing, found.head.0);
        assert!(found.doubts.iter().any(|doubt| doubt.contains("could not read 1 pages")), "{found:?}");
        assert!(found.missing < 20, "{found:?}");
        missing += found.missing;
    }
    assert!((80..=200).contains(&missing), "{missing}");
}

#[test]
fn one_that_was_killed_is_in_nobodys_way() {
    let disk = MemoryDisk::new();
    let db = options(&disk).create(NAME).unwrap();
    db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
    let left = TemporaryFile::name(Path::new(OUT), db.store().shared().id.0);
    db.close().unwrap();
    disk.create(&left).unwrap().write_at(0, &[7; 5000]).unwrap();
    let found = options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!((found.events, found.doubts), (1, Vec::<String>::new()));
    assert!(!disk.exists(&left).unwrap());
}

#[test]
fn what_it_cannot_do_it_tells_and_leaves_nothing() {
    let disk = MemoryDisk::new();
    let rescue = || options(&disk).rescue(NAME, OUT, &Cancel::new(), &mut |_| {});
    let told = |error: crate::Error| error.to_string();
    assert!(told(rescue().unwrap_err()).contains("cannot open"));
    disk.create(Path::new(NAME)).unwrap();
    assert!(told(rescue().unwrap_err()).contains("there is no event in it"));
    disk.open(Path::new(NAME)).unwrap().write_at(0, &[7; 100_000]).unwrap();
    assert!(told(rescue().unwrap_err()).contains("there is no event in it"));
    assert!(!disk.exists(Path::new(OUT)).unwrap());
    disk.remove(Path::new(NAME)).unwrap();
    let db = options(&disk).create(NAME).unwrap();
    db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
    assert!(matches!(rescue(), Err(crate::Error::Held { .. })));
    db.close().unwrap();
    // The name is taken.
    let other = options(&disk).create(OUT).unwrap();
    other.close().unwrap();
    assert!(told(rescue().unwrap_err()).contains("it exists already"));
    let journal = options(&disk).rescue(NAME, FILES[1], &Cancel::new(), &mut |_| {});
    assert!(told(journal.unwrap_err()).contains("the name of a journal"));
    let cancelled = Cancel::new();
    cancelled.cancel();
    let ended = options(&disk).rescue(NAME, "/new.bygone", &cancelled, &mut |_| {});
    assert!(matches!(ended, Err(crate::Error::Stopped { .. })));
    assert!(!disk.exists(Path::new("/new.bygone")).unwrap());
}
