//! Files that are not what they were: journals that are gone, another's, older or empty, and copies that were made while it was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::load::Plan;
use super::super::{PATH, number, report};
use super::{EventId, Options, is_there, log, verified};
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::{Db, Error, Position};

const JOURNALS: [&str; 2] = ["/shop.bygone-journal-a", "/shop.bygone-journal-b"];

/// A database as it is found at some moment of a load, by whoever copies its files then.
struct Moment {
    disk: SimulatedDisk,
    acknowledged: Vec<(Position, EventId)>,
}

/// Moments of one load, all with journals, and the ids of all events in the end.
fn moments(seed: u64) -> (Vec<Moment>, Options, Vec<(Position, EventId)>) {
    let plan = Plan { live: false, sessions: &[40], ..Plan::new(seed) };
    let disk = SimulatedDisk::new();
    let mut load = plan.load(|_| {});
    let options = load.options(&plan, Arc::new(disk.clone()));
    let db = options.clone().create(PATH).unwrap();
    load.begin(&db).unwrap();
    let mut moments = Vec::new();
    for step in 0..plan.sessions[0] {
        load.step(&db, Path::new(PATH)).unwrap();
        if step % 6 == 5 {
            moments
                .push(Moment { disk: disk.crash(Fate::KeepAll, 0), acknowledged: load.acknowledged.clone() });
        }
    }
    let all = log(&db).unwrap().into_iter().map(|event| (event.position, event.id)).collect();
    db.close().unwrap();
    (moments, options, all)
}

fn bytes(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(name)).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}

/// A disk with these files, all of them durable.
fn disk_of(files: &[(&str, Option<Vec<u8>>)]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    for (name, bytes) in files {
        let Some(bytes) = bytes else { continue };
        disk.create(Path::new(name)).unwrap().write_at(0, bytes).unwrap();
    }
    disk.crash(Fate::KeepAll, 0)
}

/// What somebody did to journals.
#[derive(Debug, Clone, Copy)]
enum Change {
    Missing,
    /// That of another database.
    Foreign,
    /// As it was at the first of the moments.
    Older,
    Zeroed,
    Emptied,
    Cut,
}

const CHANGES: [Change; 6] =
    [Change::Missing, Change::Foreign, Change::Older, Change::Zeroed, Change::Emptied, Change::Cut];

impl Change {
    fn of(self, name: &str, own: Option<Vec<u8>>, older: &Moment, other: &Moment) -> Option<Vec<u8>> {
        match self {
            Change::Missing => None,
            Change::Foreign => bytes(&other.disk, name),
            Change::Older => bytes(&older.disk, name),
            Change::Zeroed => own.map(|bytes| vec![0; bytes.len()]),
            Change::Emptied => own.map(|_| Vec::new()),
            Change::Cut => own.map(|bytes| bytes[..bytes.len() / 2].to_vec()),
        }
    }
}

/// A database that is opened holds a log that there was, and all that follows from it is right.
fn is_a_whole_one(db: &Db, all: &[(Position, EventId)], what: &str) -> Result<u64, String> {
    let log = log(db)?;
    for (event, (position, id)) in log.iter().zip(all) {
        if event.position != *position || event.id != *id {
            return Err(format!("{what}: {position} is another event"));
        }
    }
    verified(db, what)?;
    db.wait_for_indexes(super::super::PATIENCE).map_err(|e| format!("{what}: {e}"))?;
    verified(db, what)?;
    Ok(log.len() as u64)
}

fn open(options: &Options, disk: &SimulatedDisk, accept: bool) -> Result<Db, Error> {
    options.clone().disk(Arc::new(disk.clone())).accept_lost_journal(accept).open(PATH)
}

/// Opens what somebody left; says whether it was refused.
fn opened(
    moment: &Moment,
    options: &Options,
    all: &[(Position, EventId)],
    disk: &SimulatedDisk,
    change: Change,
) -> Result<bool, String> {
    match open(options, disk, false) {
        Ok(db) => {
            is_a_whole_one(&db, all, "opened")?;
            // An older copy of the same journal is what a crash would have left then: where the file holds nothing that it lacks,
            // nothing tells them apart.
            if !matches!(change, Change::Older) {
                is_there(&log(&db)?, &moment.acknowledged)?;
            }
            Ok(false)
        }
        Err(error @ Error::Unopenable { .. }) => {
            let text = error.to_string();
            if !["put", "accept-lost-journal", "move"].iter().any(|advice| text.contains(advice)) {
                return Err(format!("it does not say what to do: {text}"));
            }
            // Who cannot get it back goes on with what there is. Where the journal is another's, it is in the way first.
            if let Ok(db) = open(options, disk, true) {
                is_a_whole_one(&db, all, "without the journal")?;
                db.append(super::super::paid(1)).map_err(|e| e.to_string())?;
                db.close().map_err(|e| e.to_string())?;
            }
            Ok(true)
        }
        Err(other) => Err(format!("refused for another reason: {other}")),
    }
}

#[test]
fn a_journal_that_is_not_the_one_it_was_is_told_and_nothing_is_made_up() {
    let seeds = number("BYGONE_FAULTS", 2);
    let (mut refused, mut tried) = (0, 0);
    for seed in 1..=seeds {
        let (moments, options, all) = moments(seed);
        let (others, ..) = self::moments(seed + 1000);
        for (moment, other) in moments.iter().zip(&others).skip(1) {
            for change in CHANGES {
                // One of them, the other, or both.
                for which in 1..4_usize {
                    let mut files = vec![(PATH, bytes(&moment.disk, PATH))];
                    for (at, name) in JOURNALS.into_iter().enumerate() {
                        let own = bytes(&moment.disk, name);
                        let changed = which & (1 << at) != 0;
                        files.push((
                            name,
                            if changed { change.of(name, own, &moments[0], other) } else { own },
                        ));
                    }
                    tried += 1;
                    let disk = disk_of(&files);
                    match opened(moment, &options, &all, &disk, change) {
                        Ok(was_refused) => refused += u64::from(was_refused),
                        Err(fault) => panic!(
                            "seed {seed}, {change:?} {which}, {} acknowledged: {fault}",
                            moment.acknowledged.len()
                        ),
                    }
                }
            }
        }
    }
    report(format_args!("{tried} journals that were changed, {refused} refused"));
    assert!(refused > tried / 4, "{refused} of {tried}");
}

/// A copy of the file alone, made while it is written: some of its pages are of one moment, the rest of a later one.
#[test]
fn a_copy_that_was_made_while_it_was_written_is_whole_or_told() {
    let seeds = number("BYGONE_FAULTS", 3);
    let (mut whole, mut told) = (0, 0);
    for seed in 11..11 + seeds {
        let (moments, options, all) = moments(seed);
        for (first, from) in moments.iter().enumerate() {
            for later in &moments[first + 1..] {
                let (a, b) = (bytes(&from.disk, PATH).unwrap(), bytes(&later.disk, PATH).unwrap());
                for part in 1..4 {
                    let at = (a.len().min(b.len()) * part / 4) & !4095;
                    let copy = [&a[..at], &b[at..]].concat();
                    let disk = disk_of(&[(PATH, Some(copy))]);
                    match copied(&options, &all, &disk) {
                        Ok(true) => whole += 1,
                        Ok(false) => told += 1,
                        Err(fault) => panic!("seed {seed}, {part} of {first}: {fault}"),
                    }
                }
            }
        }
    }
    report(format_args!("copies made while it was written: {whole} whole, {told} told"));
    assert!(told > whole / 4, "{whole} whole, {told} told");
}

/// Whether a copy is whole: if not, that is told where it is opened, read or verified.
fn copied(options: &Options, all: &[(Position, EventId)], disk: &SimulatedDisk) -> Result<bool, String> {
    let db = match open(options, disk, false).or_else(|_| open(options, disk, true)) {
        Ok(db) => db,
        Err(Error::Unopenable { .. } | Error::Corrupt { .. }) => return Ok(false),
        Err(other) => return Err(format!("opening: {other}")),
    };
    match db.verify() {
        Ok(found) if found.faults.is_empty() => {}
        Ok(_) | Err(Error::Corrupt { .. }) => return Ok(false),
        Err(other) => return Err(format!("verifying: {other}")),
    }
    // Whoever verifies it and finds nothing can rely on it.
    for (event, (position, id)) in log(&db)?.iter().zip(all) {
        if event.position != *position || event.id != *id {
            return Err(format!("{position} is another event, and nothing says so"));
        }
    }
    Ok(true)
}

#[test]
fn a_medium_that_cannot_be_written_is_read_and_left_as_it_is() {
    let (moments, options, all) = moments(5);
    for moment in &moments {
        let disk = moment.disk.crash(Fate::KeepAll, 0);
        let before = disk.fingerprint(|_| true);
        let failure = super::Failure::any().with(std::io::ErrorKind::ReadOnlyFilesystem).forever();
        disk.faults().fail_after(1, failure);
        let error = open(&options, &disk, false).map(drop).unwrap_err();
        assert!(error.to_string().contains("simulated failure"), "{error}");
        let db = options.clone().disk(Arc::new(disk.clone())).read_only(true).open(PATH).unwrap();
        let found = log(&db).unwrap();
        is_there(&found, &moment.acknowledged).unwrap();
        assert!(found.len() <= all.len());
        verified(&db, "read only").unwrap();
        let error = db.append(super::super::paid(1)).unwrap_err();
        assert!(error.to_string().contains("reading only"), "{error}");
        db.close().unwrap();
        assert_eq!(disk.fingerprint(|_| true), before, "something was written");
        disk.faults().clear();
        let names: Vec<PathBuf> = disk.names();
        assert!(names.len() >= 3, "{names:?}");
    }
}
