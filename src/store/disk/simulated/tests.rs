use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::contract;
use super::super::memory::MemoryDisk;
use super::*;

const A: &str = "/shop";
const TEMPORARY: &str = "/shop-new";

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn content(disk: &dyn Disk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(path(name)).ok()?;
    let mut out = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut out).unwrap();
    Some(out)
}

/// A disk with one durable file.
fn holding(bytes: &[u8]) -> (SimulatedDisk, Arc<dyn File>) {
    let disk = SimulatedDisk::new();
    let file = disk.create(path(A)).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_folder(path("/")).unwrap();
    (disk, file)
}

/// What many crashes of one fate leave of a file.
fn outcomes(disk: &SimulatedDisk, fate: Fate) -> BTreeSet<Vec<u8>> {
    (0..2_000).map(|seed| content(&disk.crash(fate, seed), A).unwrap()).collect()
}

#[test]
fn it_holds_the_contract_and_so_does_an_image_of_it() {
    let disk = SimulatedDisk::new();
    contract::holds(&disk, path("/folder"));
    contract::locks_exclude(&disk, path("/folder"));
    contract::locks_hold_the_name(&disk, path("/folder"));
    contract::holds(&disk.crash(Fate::Tear, 1), path("/folder"));
}

#[test]
fn what_was_not_synced_is_lost_or_kept() {
    let (disk, file) = holding(b"old");
    file.write_at(0, b"newer").unwrap();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"old");
    assert_eq!(content(&disk.crash(Fate::KeepAll, 0), A).unwrap(), b"newer");
    file.set_len(1).unwrap();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"old");
    file.sync().unwrap();
    for fate in Fate::ALL {
        assert_eq!(content(&disk.crash(fate, 0), A).unwrap(), b"n");
    }
    assert_eq!(content(&disk, A).unwrap(), b"n", "the disk itself goes on");
}

#[test]
fn a_file_without_a_durable_name_vanishes() {
    let disk = SimulatedDisk::new();
    let file = disk.create(path(A)).unwrap();
    file.write_at(0, b"bytes").unwrap();
    file.sync().unwrap();
    assert!(!disk.crash(Fate::LoseAll, 0).exists(path(A)).unwrap());
    assert!(disk.crash(Fate::KeepAll, 0).exists(path(A)).unwrap());
    disk.sync_folder(path("/elsewhere")).unwrap();
    assert!(!disk.crash(Fate::LoseAll, 0).exists(path(A)).unwrap());
    disk.sync_folder(path("/")).unwrap();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"bytes");

    // And one whose removal is not durable comes back, with what was durable of it.
    file.write_at(0, b"BYTES").unwrap();
    disk.remove(path(A)).unwrap();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"bytes");
    assert!(!disk.crash(Fate::KeepAll, 0).exists(path(A)).unwrap());
}

#[test]
fn reordered_writes_survive_whole_and_in_any_order() {
    let (disk, file) = holding(b"....");
    file.write_at(0, b"aa").unwrap();
    file.write_at(1, b"bb").unwrap();
    let expected = ["....", "aa..", ".bb.", "abb.", "aab."];
    assert_eq!(outcomes(&disk, Fate::Reorder), expected.map(|bytes| bytes.as_bytes().to_vec()).into());
}

#[test]
fn a_lost_write_may_leave_its_length() {
    let (disk, file) = holding(b".");
    file.write_at(1, b"a").unwrap();
    let expected: BTreeSet<Vec<u8>> = [b".".to_vec(), b".a".to_vec(), b".\0".to_vec()].into();
    assert_eq!(outcomes(&disk, Fate::Reorder), expected);
}

#[test]
fn a_torn_write_survives_in_whole_sectors_of_the_file() {
    let (disk, file) = holding(&[0; 2_048]);
    file.write_at(500, &[1; 1_000]).unwrap();
    let seen = outcomes(&disk, Fate::Tear);
    assert_eq!(seen.len(), 8, "three sectors are touched, and each is kept or not");
    for bytes in seen {
        for sector in [500..512, 512..1_024, 1_024..1_500] {
            assert!(bytes[sector.clone()].iter().all(|byte| *byte == bytes[sector.start]));
        }
        assert!(bytes[..500].iter().chain(&bytes[1_500..]).all(|byte| *byte == 0));
    }
}

#[test]
fn nothing_moves_across_a_truncation() {
    let (disk, file) = holding(b"....");
    file.write_at(0, b"aaaa").unwrap();
    file.set_len(2).unwrap();
    file.write_at(3, b"b").unwrap();
    let expected = [
        "....", "aaaa", "...b", "aaab", // the truncation was lost
        "..", "aa", "..\0b", "aa\0b", // it was kept
        "..\0\0", "aa\0\0", // and the length of the write after it, but not the write
    ];
    assert_eq!(outcomes(&disk, Fate::Reorder), expected.map(|bytes| bytes.as_bytes().to_vec()).into());
}

#[test]
fn a_kept_change_of_a_name_stands_on_kept_ones() {
    let (disk, _) = holding(b"old");
    let file = disk.create(path(TEMPORARY)).unwrap();
    file.write_at(0, b"new").unwrap();
    file.sync().unwrap();
    disk.rename(path(TEMPORARY), path(A)).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let image = disk.crash(Fate::Reorder, seed);
        seen.insert((content(&image, A).unwrap(), image.exists(path(TEMPORARY)).unwrap()));
    }
    let expected = [(b"old".to_vec(), false), (b"old".to_vec(), true), (b"new".to_vec(), false)];
    assert_eq!(seen, expected.into());
}

/// Publishes a file as the store does, and returns its trace.
fn publish(disk: &SimulatedDisk) -> Trace {
    let file = disk.create(path(TEMPORARY)).unwrap();
    file.write_at(0, &[1; 3_000]).unwrap();
    file.set_len(5_000).unwrap();
    file.sync().unwrap();
    disk.link(path(TEMPORARY), path(A)).unwrap();
    disk.sync_folder(path("/")).unwrap();
    disk.note(1);
    disk.remove(path(TEMPORARY)).unwrap();
    disk.trace()
}

/// How many images break the promise: the file is whole when it is there, and there once that was promised.
fn broken(trace: &Trace) -> usize {
    let mut whole = vec![1; 3_000];
    whole.resize(5_000, 0);
    let mut crashes = trace.crashes();
    let mut broken = 0;
    loop {
        for fate in Fate::ALL {
            for seed in 0..50 {
                let kept = match content(&crashes.image(fate, seed), A) {
                    Some(bytes) => bytes == whole,
                    None => crashes.notes().is_empty(),
                };
                broken += usize::from(!kept);
            }
        }
        if !crashes.advance() {
            return broken;
        }
    }
}

#[test]
fn a_promise_is_held_at_every_crash() {
    assert_eq!(broken(&publish(&SimulatedDisk::new())), 0);
}

#[test]
fn a_forgotten_sync_is_noticed() {
    let disk = SimulatedDisk::new();
    disk.faults().ignore_syncs("-new");
    assert!(broken(&publish(&disk)) > 0);
    let disk = SimulatedDisk::new();
    disk.faults().ignore_folder_syncs("");
    assert!(broken(&publish(&disk)) > 0);
    let disk = SimulatedDisk::new();
    disk.faults().ignore_syncs("-journal");
    assert_eq!(broken(&publish(&disk)), 0, "of another file");
}

#[test]
fn a_crash_of_an_image_starts_from_the_image() {
    let (disk, file) = holding(b"one");
    file.write_at(0, b"two").unwrap();
    let image = disk.crash(Fate::KeepAll, 0);
    assert!(image.trace().is_empty());
    let file = image.open(path(A)).unwrap();
    file.write_at(0, b"six").unwrap();
    let mut crashes = image.trace().crashes();
    assert_eq!(content(&crashes.image(Fate::LoseAll, 0), A).unwrap(), b"two");
    assert!(crashes.advance());
    assert_eq!(content(&crashes.image(Fate::LoseAll, 0), A).unwrap(), b"two");
    assert_eq!(content(&crashes.image(Fate::KeepAll, 0), A).unwrap(), b"six");
    assert_eq!(content(&disk, A).unwrap(), b"two");
}

#[test]
fn notes_and_points_are_counted_by_operations() {
    let disk = SimulatedDisk::new();
    disk.note(7);
    disk.create(path(A)).unwrap();
    disk.note(8);
    let trace = disk.trace();
    assert_eq!(trace.len(), 3);
    let before = |point| trace.notes_before(point).collect::<Vec<_>>();
    assert!(before(0).is_empty());
    assert_eq!(before(1), [7]);
    assert_eq!(before(2), [7]);
    assert_eq!(before(99), [7, 8]);
    let mut crashes = trace.crashes();
    assert!(crashes.advance_to(2));
    assert_eq!((crashes.point(), crashes.notes()), (2, &[7][..]));
    assert_eq!(crashes.next_operation(), Some(&Operation::Note(8)));
    assert!(!crashes.advance_to(1));
    assert!(!crashes.advance_to(4));
    assert_eq!((crashes.point(), crashes.notes(), crashes.next_operation()), (3, &[7, 8][..], None));
}

/// Does the same random operations to both disks; they must answer alike.
fn work(disk: &SimulatedDisk, model: &MemoryDisk, seed: u64) {
    let mut state = seed;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let names = ["/a", "/b", "/c"];
    for _ in 0..150 {
        let (name, other) = (path(names[below(3) as usize]), path(names[below(3) as usize]));
        let (offset, len, byte) = (below(9_000), below(5_000), below(255) as u8 + 1);
        let operation = below(12);
        let act = |disk: &dyn Disk| match operation {
            0 => disk.create(name).map(drop),
            1 => disk.rename(name, other),
            2 => disk.link(name, other),
            3 => disk.remove(name),
            4 => disk.sync_folder(path("/")),
            5 => disk.open(name)?.set_len(offset),
            6 | 7 => disk.open(name)?.sync(),
            _ => disk.open(name)?.write_at(offset, &vec![byte; len as usize]),
        };
        let (one, two) = (act(disk), act(model));
        assert_eq!(one.map_err(|error| error.kind()), two.map_err(|error| error.kind()));
    }
}

#[test]
fn random_work_reads_as_on_a_plain_disk_and_keeping_all_loses_nothing() {
    for seed in 0..200 {
        let (disk, model) = (SimulatedDisk::new(), MemoryDisk::new());
        work(&disk, &model, seed);
        let mut crashes = disk.trace().crashes();
        while crashes.advance() {}
        let kept = crashes.image(Fate::KeepAll, 0);
        for name in ["/a", "/b", "/c"] {
            let expected = content(&model, name);
            assert_eq!(content(&disk, name), expected);
            assert_eq!(content(&kept, name), expected);
            if let Ok(file) = disk.open(path(name)) {
                file.sync().unwrap();
            }
        }
        disk.sync_folder(path("/")).unwrap();
        for fate in Fate::ALL {
            let image = disk.crash(fate, seed);
            for name in ["/a", "/b", "/c"] {
                assert_eq!(content(&image, name), content(&model, name), "all of it was synced");
            }
        }
    }
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let disk = SimulatedDisk::new();
    work(&disk, &MemoryDisk::new(), 3);
    let (mut one, mut two) = (disk.trace().crashes(), disk.trace().crashes());
    while one.advance() {
        assert!(two.advance());
        for fate in Fate::ALL {
            let (left, right) = (one.image(fate, 5), two.image(fate, 5));
            for name in ["/a", "/b", "/c"] {
                assert_eq!(content(&left, name), content(&right, name));
            }
        }
    }
}

#[test]
fn the_nth_operation_fails_without_effect() {
    let (disk, file) = holding(b"old");
    disk.faults().fail_after(2, Failure::of(Kind::Write).with(ErrorKind::TimedOut));
    let before = disk.trace().len();
    file.write_at(0, b"1").unwrap();
    file.sync().unwrap();
    assert_eq!(file.write_at(0, b"2").unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(content(&disk, A).unwrap(), b"1ld");
    assert_eq!(disk.trace().len(), before + 2);
    file.write_at(0, b"3").unwrap();
}

#[test]
fn a_lasting_failure_lasts_until_it_is_cleared() {
    let (disk, file) = holding(b"old");
    let other = disk.create(path("/shop-journal")).unwrap();
    disk.faults().fail_after(1, Failure::any().named("-journal").forever());
    for _ in 0..3 {
        assert_eq!(other.sync().unwrap_err().kind(), ErrorKind::Other);
        assert!(other.set_len(10).is_err());
        assert!(disk.remove(path("/shop-journal")).is_err());
        file.sync().unwrap();
    }
    other.read_at(0, &mut []).unwrap();
    disk.faults().clear();
    other.sync().unwrap();
}

#[test]
fn a_file_is_known_by_the_names_it_has_now() {
    let disk = SimulatedDisk::new();
    let file = disk.create(path(TEMPORARY)).unwrap();
    disk.rename(path(TEMPORARY), path(A)).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Sync).named("-new").forever());
    file.sync().unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Sync).named("/shop"));
    assert!(file.sync().is_err());
}

#[test]
fn a_failed_sync_that_kept_its_pages_can_be_repeated() {
    let (disk, file) = holding(b"old");
    file.write_at(0, b"new").unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Sync));
    file.sync().unwrap_err();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"old");
    file.sync().unwrap();
    assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"new");
}

#[test]
fn a_failed_sync_that_dropped_its_pages_proves_nothing_later() {
    for (then, shown) in [(Dropped::ShowsOld, b"old\0\0"), (Dropped::ShowsNew, b"newer")] {
        let (disk, file) = holding(b"old");
        file.write_at(0, b"newer").unwrap();
        disk.faults().fail_sync_dropping_pages("shop", then);
        file.sync().unwrap_err();
        assert_eq!(content(&disk, A).unwrap(), shown);
        file.sync().unwrap();
        for fate in Fate::ALL {
            assert_eq!(content(&disk.crash(fate, 0), A).unwrap(), b"old\0\0");
        }
        // What is written again is as durable as any write.
        file.write_at(0, b"again").unwrap();
        file.sync().unwrap();
        assert_eq!(content(&disk.crash(Fate::LoseAll, 0), A).unwrap(), b"again");
    }
}

#[test]
fn a_full_disk_lets_nothing_grow() {
    let (disk, file) = holding(b"12345678");
    disk.faults().full_at(10);
    file.write_at(0, b"overwrit").unwrap();
    assert_eq!(file.write_at(6, b"abcdefgh").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, A).unwrap(), b"overwrabcd", "what fits was written");
    assert_eq!(file.set_len(11).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(20, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 10);
    assert_eq!(disk.create(path("/b")).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk.crash(Fate::KeepAll, 0), A).unwrap(), b"overwrabcd");
    disk.faults().not_full();
    file.set_len(11).unwrap();
}

#[test]
fn names_stay_in_their_folder() {
    let (disk, _) = holding(b"");
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(disk.rename(path(A), path("/folder/shop"))), ErrorKind::CrossesDevices);
    assert_eq!(kind(disk.link(path(A), path("/folder/shop"))), ErrorKind::CrossesDevices);
}

#[test]
fn operations_are_counted() {
    let (disk, file) = holding(b"12345");
    assert_eq!(disk.counts(), DiskCounts { writes: 1, syncs: 1, folder_syncs: 1, bytes: 5 });
    file.set_len(100).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Write));
    file.write_at(0, b"x").unwrap_err();
    assert_eq!(disk.counts().writes, 1);
}

#[test]
fn the_hook_runs_before_each_operation_and_may_use_the_disk() {
    let (disk, file) = holding(b"old");
    let (syncs, inner) = (Arc::new(AtomicU64::new(0)), disk.clone());
    let counted = Arc::clone(&syncs);
    disk.on_operation(move |kind, name| {
        if kind == Kind::Sync {
            counted.fetch_add(1, Ordering::Relaxed);
            inner.note(u64::from(name == path(A)));
        }
    });
    let before = disk.trace().len();
    file.sync().unwrap();
    assert_eq!(syncs.load(Ordering::Relaxed), 1);
    assert_eq!(disk.trace().operations()[before], Operation::Note(1));
}

#[test]
fn threads_write_side_by_side() {
    let disk = SimulatedDisk::new();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let disk = &disk;
            scope.spawn(move || {
                let file = disk.create(path(&format!("/{thread}"))).unwrap();
                for i in 0..50 {
                    file.write_at(i * 8, &i.to_le_bytes()).unwrap();
                    file.sync().unwrap();
                    disk.note(thread * 100 + i);
                }
            });
        }
    });
    assert_eq!(disk.trace().len(), 4 * (1 + 150));
    assert_eq!(disk.counts().writes, 200);
    let image = disk.crash(Fate::KeepAll, 0);
    assert!((0..4).all(|thread| content(&image, &format!("/{thread}")).unwrap().len() == 400));
}

#[test]
fn every_so_manieth_operation_fails_and_what_is_looked_at_too() {
    let disk = SimulatedDisk::new();
    let file = disk.create(Path::new("/a")).unwrap();
    disk.faults().fail_after(2, Failure::of(Kind::Write).each(3));
    let failed: Vec<bool> = (0..9).map(|n| file.write_at(n, b"x").is_err()).collect();
    let failing = [1, 4, 7];
    assert_eq!(failed, (0..9).map(|n| failing.contains(&n)).collect::<Vec<_>>());
    disk.faults().clear();
    disk.faults().fail_after(1, Failure::of(Kind::Look).forever());
    disk.faults().fail_after(1, Failure::of(Kind::Lock).forever());
    assert!(file.len().is_err() && file.names().is_err() && disk.exists(Path::new("/a")).is_err());
    assert!(matches!(disk.lock(Path::new("/a"), LockMode::Shared), Err(LockError::Io(_))));
    disk.faults().clear();
    assert_eq!(file.len().unwrap(), 9);
}

#[test]
fn a_write_may_fail_with_a_part_of_it_done() {
    let disk = SimulatedDisk::new();
    let file = disk.create(Path::new("/a")).unwrap();
    disk.faults().fail_after(1, Failure::of(Kind::Write).partly());
    assert!(file.write_at(0, b"half of it").is_err());
    let mut bytes = [0; 5];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!((&bytes, file.len().unwrap()), (b"half ", 5));
}
