//! A file of one moment beside a journal of another: of the same line of history or of one that forked off. Whatever is opened
//! is one line, and no event of the journal is deleted that is not in the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ghosts::bytes_of;
use super::held::rows;
use super::{one, path, tiny};
use crate::entity::Position;
use crate::event::NewEvent;
use crate::store::apply::events_of;
use crate::store::disk::Disk;
use crate::store::disk::simulated::{Fate, SimulatedDisk};
use crate::store::journal::{FrameKind, Side, each_frame};
use crate::store::snapshot::ScanDirection;
use crate::store::{Options, Store};

type Log = Vec<Arc<[u8]>>;

/// What stands on the disk at one moment of a line.
struct Moment {
    name: &'static str,
    file: Vec<u8>,
    journal: Option<[Vec<u8>; 2]>,
    /// What was acknowledged by then.
    log: Log,
}

fn options(disk: &SimulatedDisk) -> Options {
    tiny(disk).memtable(1000, 1 << 20)
}

fn paid(line: u64, n: u64) -> NewEvent {
    NewEvent::new("Order.paid").on(("Order", n % 3)).member("amount", line * 1000 + n)
}

fn segments(disk: &SimulatedDisk) -> [Option<Vec<u8>>; 2] {
    Side::BOTH.map(|side| {
        let path = side.path(path());
        disk.exists(&path).unwrap().then(|| bytes_of(disk, &path))
    })
}

/// A line of history, which notes its moments.
struct Line {
    number: u64,
    disk: SimulatedDisk,
    store: Store,
    log: Log,
}

impl Line {
    fn begin() -> Line {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        Line { number: 1, disk, store, log: Vec::new() }
    }

    /// Another line from what this one has on its disk now.
    fn fork(&self, number: u64) -> Line {
        let disk = self.disk.crash(Fate::KeepAll, 0);
        let store = Store::open(path(), options(&disk)).unwrap();
        Line { number, disk, store, log: self.log.clone() }
    }

    fn append(&mut self, events: u64) {
        for _ in 0..events {
            let event = paid(self.number, self.log.len() as u64);
            self.log.push(self.store.append(one(event)).unwrap().events[0].1.clone());
        }
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = Store::open(path(), options(&self.disk)).unwrap();
    }

    fn killed(&mut self) {
        self.disk = self.disk.crash(Fate::KeepAll, 0);
        self.store = Store::open(path(), options(&self.disk)).unwrap();
    }

    fn note(&self, name: &'static str, moments: &mut Vec<Moment>) {
        let disk = self.disk.crash(Fate::KeepAll, 0);
        let journal = match segments(&disk) {
            [Some(a), Some(b)] => Some([a, b]),
            _ => None,
        };
        moments.push(Moment { name, file: bytes_of(&disk, path()), journal, log: self.log.clone() });
    }
}

fn moments() -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut first = Line::begin();
    first.append(2);
    first.note("the first session, with all in its journal", &mut moments);
    first.store.checkpoint().unwrap();
    first.append(2);
    first.note("with half of it in the file", &mut moments);
    let mut third = first.fork(3);
    first.reopen();
    first.note("closed", &mut moments);
    let mut second = first.fork(2);
    first.append(3);
    first.note("the second session", &mut moments);
    first.killed();
    first.note("recovered", &mut moments);
    first.append(1);
    first.note("the third session", &mut moments);

    second.append(2);
    second.note("a fork of the closed file", &mut moments);
    second.store.checkpoint().unwrap();
    second.append(4);
    second.note("with half of that in the file", &mut moments);
    second.reopen();
    second.note("the fork, closed", &mut moments);

    third.append(1);
    third.note("a fork of the journal, recovered", &mut moments);
    third.reopen();
    third.append(1);
    third.note("its next session", &mut moments);
    moments
}

/// A file and a journal, put together.
fn together(file: &Moment, journal: &[Vec<u8>; 2]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let put = |path: &Path, bytes: &[u8]| {
        let file = disk.create(path).unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync().unwrap();
    };
    put(path(), &file.file);
    for (side, bytes) in Side::BOTH.into_iter().zip(journal) {
        put(&side.path(path()), bytes);
    }
    disk
}

/// The events in the frames of a journal, whole ones of every use.
fn held_by(journal: &[Vec<u8>; 2], file: &Moment) -> Vec<(Position, Vec<u8>)> {
    let disk = together(file, journal);
    let mut events = Vec::new();
    for side in Side::BOTH {
        each_frame(&disk, path(), side, &mut |frame| {
            if frame.kind == FrameKind::Events {
                events.extend(
                    events_of(&frame).into_iter().map(|(position, bytes)| (position, bytes.to_vec())),
                );
            }
            Ok(())
        })
        .unwrap();
    }
    events
}

/// Whether both files are somewhere on the disk, as they were.
fn kept(disk: &SimulatedDisk, journal: &[Vec<u8>; 2]) -> bool {
    let names = |side: Side| {
        let own = side.path(path());
        let aside = (1..4).map(move |n| PathBuf::from(format!("{}.aside-{n}", side.path(path()).display())));
        std::iter::once(own).chain(aside)
    };
    Side::BOTH.into_iter().zip(journal).all(|(side, bytes)| {
        names(side).any(|name| disk.exists(&name).unwrap() && bytes_of(disk, &name) == *bytes)
    })
}

#[test]
fn a_file_of_one_moment_and_a_journal_of_another_lose_nothing() {
    let moments = moments();
    let (mut opened, mut refused, mut aside) = (0, 0, 0);
    for file in &moments {
        for from in &moments {
            let Some(journal) = &from.journal else { continue };
            let held = held_by(journal, file);
            assert!(!held.is_empty());
            for accept in [false, true] {
                let case = format!("the file of '{}', the journal of '{}', {accept}", file.name, from.name);
                let disk = together(file, journal);
                let store = match Store::open(path(), options(&disk).accept_lost_journal(accept)) {
                    Err(error) => {
                        assert_eq!(error.kind(), "unopenable", "{case}: {error}");
                        assert!(!accept, "{case}: {error}");
                        assert!(error.to_string().contains("--accept-lost-journal"), "{case}: {error}");
                        assert!(segments(&disk) == journal.clone().map(Some), "{case}: {error}");
                        refused += 1;
                        continue;
                    }
                    Ok(store) => store,
                };
                opened += 1;
                aside += usize::from(!store.recovery().set_aside.is_empty());
                let check = |store: &Store, when: &str| {
                    let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
                    let there = |(position, bytes): &(Position, Vec<u8>)| {
                        log.get(position.0 as usize - 1).is_some_and(|event| **event == **bytes)
                    };
                    let missing = held.iter().filter(|event| !there(event)).count();
                    assert!(
                        missing == 0 || kept(&disk, journal),
                        "{case}: {when}: {missing} events are deleted"
                    );
                    log
                };
                let log = check(&store, "opened");
                let one_line = moments.iter().any(|moment| moment.log.starts_with(&log));
                assert!(one_line, "{case}: the log mixes two lines");
                store.append(one(paid(9, 9))).unwrap();
                store.close().unwrap();
                let again = Store::open(path(), options(&disk)).unwrap();
                let after = check(&again, "opened again");
                assert_eq!(after.len(), log.len() + 1, "{case}");
                assert!(after.starts_with(&log), "{case}");
            }
        }
    }
    super::report(format_args!(
        "files and journals: {opened} opened, {aside} with a journal set aside, {refused} refused"
    ));
    assert!(opened > 20 && aside > 3 && refused > 50, "{opened} {aside} {refused}");
}

#[test]
fn a_loss_accepted_under_one_name_leaves_the_journal_of_the_other() {
    for more in [0, 1, 5] {
        let disk = SimulatedDisk::new();
        let store = Store::create(path(), options(&disk)).unwrap();
        store.append(one(paid(1, 1))).unwrap();
        store.checkpoint().unwrap();
        let promised: Vec<_> =
            (2..=3).map(|n| store.append(one(paid(1, n))).unwrap().events[0].1.clone()).collect();
        let disk = disk.crash(Fate::KeepAll, 0);
        let other = Path::new("/other.bygone");
        disk.link(path(), other).unwrap();
        let journal = segments(&disk).map(Option::unwrap);

        let error = Store::open(other, options(&disk)).unwrap_err();
        assert!(error.to_string().contains("the file has 2 names"), "{error}");
        let store = Store::open(other, options(&disk).accept_lost_journal(true)).unwrap();
        assert_eq!(store.snapshot().head(), Position(1));
        for n in 0..more {
            store.append(one(paid(2, n))).unwrap();
        }
        store.close().unwrap();
        assert!(segments(&disk) == journal.clone().map(Some));

        // By its first name: the journal is refused, by whoever only reads too, until its loss is accepted.
        let why = if more < 2 { "events up to #3" } else { "is not the one that the file holds" };
        for read_only in [false, true] {
            let error = Store::open(path(), options(&disk).read_only(read_only)).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("--accept-lost-journal"), "{more}: {error}");
            assert!(segments(&disk) == journal.clone().map(Some), "{more}");
        }
        let store = Store::open(path(), options(&disk).accept_lost_journal(true)).unwrap();
        assert_eq!(store.recovery().set_aside.len(), 2);
        assert!(store.recovery().notices[0].contains("this file's, or not any more"));
        assert!(kept(&disk, &journal), "{} events are deleted", promised.len());
    }
}

/// Of one session: its file as it is killed, with segments as they were earlier in it.
#[test]
fn an_older_copy_of_a_journal_is_told_where_the_file_holds_what_it_lacks() {
    let (mut told, mut whole, mut unknown) = (0, 0, 0);
    for last in [0, 4] {
        let mut line = Line::begin();
        let mut moments = vec![];
        line.append(5);
        line.note("1 to 5", &mut moments);
        for name in ["6 to 10", "11 to 15", "16 to 20"] {
            line.store.checkpoint().unwrap();
            line.append(5);
            line.note(name, &mut moments);
        }
        line.store.checkpoint().unwrap();
        line.append(last);
        line.note("killed", &mut moments);
        let killed = moments.last().unwrap();
        let now = killed.journal.clone().unwrap();
        for older in &moments {
            let then = older.journal.clone().unwrap();
            for replaced in [[true, true], [true, false], [false, true]] {
                let case = format!("{last} after C, {replaced:?} of '{}'", older.name);
                let journal = [0, 1].map(|at| if replaced[at] { then[at].clone() } else { now[at].clone() });
                let disk = together(killed, &journal);
                match Store::open(path(), options(&disk)) {
                    Err(error) => {
                        assert_eq!(error.kind(), "unopenable", "{case}: {error}");
                        assert!(segments(&disk) == journal.clone().map(Some), "{case}: {error}");
                        assert!(journal != now, "{case}: {error}");
                        told += 1;
                        let accepted = Store::open(path(), options(&disk).accept_lost_journal(true)).unwrap();
                        assert!(
                            rows(&accepted.snapshot(), ScanDirection::Ascending).unwrap().len() >= 20,
                            "{case}"
                        );
                        assert!(kept(&disk, &journal), "{case}");
                    }
                    Ok(store) => {
                        let log = rows(&store.snapshot(), ScanDirection::Ascending).unwrap();
                        if log == killed.log {
                            whole += 1;
                            continue;
                        }
                        // Where the segment that is written is older and nothing came to the tables since, nobody can know.
                        assert_eq!(log[..], killed.log[..log.len()], "{case}");
                        unknown += 1;
                        println!("{case}: {} of {}", log.len(), killed.log.len());
                    }
                }
            }
        }
    }
    assert!(told >= 12 && whole > 0, "{told} told, {whole} whole, {unknown} unknown");
    assert_eq!(unknown, 0, "{told} told, {whole} whole");
}
