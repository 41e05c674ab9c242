//! One thing after the other.

use super::*;
use crate::entity::Position;
use crate::error::ErrorClass;
use crate::store::disk::memory::MemoryDisk;
use crate::store::disk::real::RealDisk;
use crate::store::disk::simulated::{Dropped, Failure, Fate, Kind as Does, SimulatedDisk};

fn memory() -> Arc<dyn Disk> {
    Arc::new(MemoryDisk::new())
}

fn path(side: Side) -> PathBuf {
    side.path(database())
}

#[test]
fn an_empty_journal_is_found_and_replays_nothing() {
    let disk = memory();
    let journal = create(&disk);
    let found = find(&*disk, database()).unwrap();
    let sides: Vec<_> = found.iter().map(|found| (found.side, found.remnant.clone())).collect();
    let segment = |side| Remnant::Segment(SegmentHeader { id: ID, salt: SALT, side });
    assert_eq!(sides, [(Side::A, segment(Side::A)), (Side::B, segment(Side::B))]);
    assert_eq!(replay(&*disk, Position(7)).unwrap(), (vec![], None));
    assert_eq!(highest_position(&*disk, database()).unwrap(), None);
    assert!(!journal.wants_fill(), "nothing grows before the first frame");
    journal.remove().unwrap();
    assert_eq!(find(&*disk, database()).unwrap(), []);
    remove(&*disk, database(), &[]).unwrap();
}

#[test]
fn creating_leaves_what_is_there_and_names_it() {
    let disk = memory();
    disk.create(&path(Side::B)).unwrap().write_at(0, b"mine").unwrap();
    disk.create(database()).unwrap();
    let mut made = Vec::new();
    let error = Journal::create(Arc::clone(&disk), database(), ID, SALT, SIZES, &mut made).unwrap_err();
    assert!(made.is_empty());
    assert_eq!(error.class(), ErrorClass::Unopenable);
    assert!(error.to_string().contains("shop.bygone-journal-b"), "{error}");
    assert!(!disk.exists(&path(Side::A)).unwrap(), "what was created is gone");
    assert_eq!(read(&*disk, Side::B), b"mine");
}

#[test]
fn frames_come_back_over_switches() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(3, 100);
    written.append_durable(0, 30);
    written.append_durable(1, 0);
    written.switch();
    assert_eq!(written.journal.active(), Side::B);
    written.append_durable(2, 5000);
    written.append(0, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames.clone(), None));
    assert_eq!(replay(&*disk, Position(3)).unwrap(), (written.frames[1..].to_vec(), None));
    assert_eq!(replay(&*disk, Position(4)).unwrap(), (written.frames[3..].to_vec(), None));
    // All of it is in the tables only when the other segment was begun anew.
    for after in [6, 100] {
        let error = replay(&*disk, Position(after)).unwrap_err().to_string();
        assert!(error.contains("this is an older copy"), "{error}");
    }
    assert!(replay(&*disk, Position(2)).unwrap_err().to_string().contains("holds only the first events"));
    assert_eq!(highest_position(&*disk, database()).unwrap(), Some(Position(6)));
    assert!(JournalReplay::open(&*disk, database(), Salt([9; 16]), Position(0)).is_err(), "another session");
    written.journal.release(Side::A);
    written.switch();
    // The cursor moves behind the last position come again.
    assert_eq!(replay(&*disk, Position(6)).unwrap(), (written.frames[4..].to_vec(), None));
}

#[test]
fn real_files_hold_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("shop.bygone");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    disk.create(&database).unwrap();
    let journal = Journal::create(Arc::clone(&disk), &database, ID, SALT, SIZES, &mut Vec::new()).unwrap();
    let mut frame = FrameBuffer::new();
    for first in 1..=50 {
        frame.begin(FrameKind::Events);
        frame.payload_mut().resize(frame::HEADER + 500, first as u8);
        journal.append(&mut frame, Position(first), 1, Position(first - 1)).unwrap();
        journal.sync().unwrap();
        journal.fill_ahead().unwrap();
        if first == 30 {
            assert!(journal.switch().unwrap());
        }
    }
    let replay = JournalReplay::open(&*disk, &database, SALT, Position(10)).unwrap();
    let frames: Vec<_> = replay.frames().map(|frame| frame.unwrap()).collect();
    assert!(frames.iter().zip(11..).all(|(frame, first)| frame.payload == [first; 500]));
    assert_eq!((frames.len(), replay.cut(), replay.last_position()), (40, None, Position(50)));
    assert_eq!(highest_position(&*disk, &database).unwrap(), Some(Position(50)));
    assert!(journal.remove().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_segment_is_used_again_only_when_it_was_released() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(1, 10);
    written.switch();
    assert!(written.journal.switch().unwrap(), "nothing in it: nothing to leave");
    assert_eq!(written.journal.active(), Side::B);
    written.append_durable(1, 10);
    assert!(!written.journal.switch().unwrap());
    written.journal.release(Side::B); // the active one: no
    assert!(!written.journal.switch().unwrap());
    written.append_durable(1, 10);
    written.journal.release(Side::A);
    written.switch();
    assert_eq!(written.journal.active(), Side::A);
    written.append_durable(1, 10);
    assert!(!written.journal.switch().unwrap(), "it was not released again");
    assert_eq!(replay(&*disk, Position(1)).unwrap(), (written.frames[1..].to_vec(), None));
}

#[test]
fn ghosts_of_an_earlier_use_are_not_served() {
    let disk = memory();
    let mut written = Written::new(&disk);
    // Frames of one size: the new ones end exactly where ghosts begin.
    for _ in 0..10 {
        written.append_durable(1, 100);
    }
    written.append_durable(0, 100);
    let before = read(&*disk, Side::A);
    written.switch();
    assert_eq!(replay(&*disk, Position(10)).unwrap().0, written.frames[10..]);
    written.append_durable(1, 100);
    written.journal.release(Side::A);
    written.switch();
    assert_eq!(replay(&*disk, Position(10)).unwrap(), (written.frames[11..].to_vec(), None));
    written.append_durable(1, 100);
    written.append_durable(0, 100);
    assert_eq!(replay(&*disk, Position(10)).unwrap(), (written.frames[11..].to_vec(), None));
    // Should the end mark be lost with a torn write, it is the number that tells.
    let end = START as usize + 2 * 176;
    assert_eq!(read(&*disk, Side::A)[end..end + 16], mark::end(SALT, 14));
    write(&*disk, Side::A, end, &before[end..end + 16]);
    let (frames, cut) = replay(&*disk, Position(10)).unwrap();
    assert_eq!(frames, written.frames[11..]);
    assert!(cut.unwrap().reason.contains("an earlier use"));
}

#[test]
fn cursor_moves_alone_keep_their_order() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(0, 10);
    written.switch();
    written.append_durable(0, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames.clone(), None));
    written.journal.release(Side::A);
    written.switch();
    written.append_durable(0, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames[1..].to_vec(), None));
}

#[test]
fn the_space_grows_in_steps_ahead_of_need() {
    let disk = memory();
    let mut written = Written::new(&disk);
    let len = |side| read(&*disk, side).len() as u64 - START;
    assert_eq!((len(Side::A), len(Side::B)), (4096, 4096));
    assert_eq!(written.journal.remaining(), 4096 - 32);
    assert!(!written.journal.fill_ahead().unwrap());
    written.append_durable(1, 10);
    let mut steps = vec![];
    while written.next < Position(1000) {
        while written.journal.wants_fill() {
            assert!(written.journal.fill_ahead().unwrap());
            steps.push((len(Side::A), len(Side::B)));
        }
        if written.journal.remaining() < 1200 {
            break;
        }
        written.append_durable(1, 1000);
    }
    let k = |steps: &[(u64, u64)]| steps.iter().map(|(a, b)| (a << 10, b << 10)).collect::<Vec<_>>();
    // The other one follows when the active one is half full; neither grows beyond the size of a segment.
    let alone = [(12, 4), (28, 4), (44, 4)];
    let both = [(44, 12), (44, 28), (44, 44), (60, 44), (60, 60), (64, 60), (64, 64)];
    assert_eq!(steps, k(&[&alone[..], &both].concat()));
    assert!(!written.journal.fill_ahead().unwrap());
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames, None));
}

#[test]
fn a_large_frame_grows_its_segment() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(1, 300_000);
    written.append_durable(1, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames.clone(), None));
    assert!(!matches!(written.try_append(1, MAX_PAYLOAD + 1), Err(JournalError::Failed(_)) | Ok(())));
    written.append_durable(1, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames, None));
}

#[test]
fn what_would_make_a_gap_is_refused() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(3, 10);
    let mut frame = FrameBuffer::new();
    for (first, count) in [(5, 1), (3, 1), (4, 0)] {
        frame.begin(FrameKind::Events);
        let result = written.journal.append(&mut frame, Position(first), count, Position(0));
        assert!(matches!(result, Err(JournalError::Refused(_))), "{first} {count}");
    }
    written.append_durable(1, 10);
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames, None));
}

#[test]
fn a_full_disk_fails_the_request_and_nothing_else() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let mut written = Written::new(&disk);
    written.append_durable(1, 100);
    let both = 2 * (START + 4096);
    simulated.faults().full_at(both + 2000);
    assert!(written.journal.fill_ahead().is_err());
    assert!(matches!(written.try_append(1, 5000), Err(JournalError::Refused(_))));
    assert_eq!(read(&*disk, Side::A).len() as u64, START + 4096, "half a step was given back");
    written.append_durable(1, 1000);
    simulated.faults().not_full();
    written.append_durable(1, 5000);
    simulated.faults().fail_sync_dropping_pages("-a", Dropped::ShowsNew);
    assert!(matches!(written.try_append(1, 50_000), Err(JournalError::Refused(_))));
    written.append_durable(1, 50_000);
    for fate in Fate::ALL {
        assert_eq!(replay(&simulated.crash(fate, 1), Position(0)).unwrap(), (written.frames.clone(), None));
    }
}

#[test]
fn a_failed_growth_fails_the_frames_that_were_not_synced() {
    for (filler, shows) in [(true, Dropped::ShowsNew), (false, Dropped::ShowsNew), (true, Dropped::ShowsOld)]
    {
        let simulated = SimulatedDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        let mut written = Written::new(&disk);
        written.append_durable(1, 100);
        written.append(1, 100);
        // The system drops the pages of the frame, and would not say so again.
        simulated.faults().fail_sync_dropping_pages("-a", shows);
        if filler {
            written.journal.fill_ahead().unwrap_err();
        } else {
            assert!(matches!(written.try_append(1, 50_000), Err(JournalError::Failed(_))));
        }
        assert!(written.journal.sync().is_err());
        assert!(written.journal.switch().is_err());
        assert!(matches!(written.try_append(1, 1), Err(JournalError::Failed(_))));
        let (frames, _) = replay(&simulated.crash(Fate::KeepAll, 1), Position(0)).unwrap();
        assert_eq!(frames, written.frames[..1]);
    }
}

#[test]
fn after_a_failure_nothing_more_is_taken() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let mut written = Written::new(&disk);
    written.append_durable(1, 100);
    simulated.faults().fail_after(1, Failure::of(Does::Write).named("-a"));
    let first = match written.try_append(1, 1000) {
        Err(JournalError::Failed(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    match written.try_append(1, 1) {
        Err(JournalError::Failed(error)) => assert_eq!(error.to_string(), first),
        other => panic!("{other:?}"),
    }
    assert_eq!(written.journal.sync().unwrap_err().to_string(), first);
    assert!(!written.journal.wants_fill());
    assert_eq!(replay(&*disk, Position(0)).unwrap(), (written.frames, None));
}

#[test]
fn a_torn_frame_is_cut_and_the_cut_names_its_place() {
    let disk = memory();
    let mut written = Written::new(&disk);
    written.append_durable(1, 100);
    written.append(3, 1000);
    write(&*disk, Side::A, START as usize + 176 + 512, &[0; 512]);
    let (frames, cut) = replay(&*disk, Position(0)).unwrap();
    assert_eq!(frames, written.frames[..1]);
    let cut = cut.unwrap();
    assert_eq!(cut.at, Position(2));
    assert!(cut.reason.contains("journal-a at byte 4272: the checksum"), "{}", cut.reason);
}

#[test]
fn a_switch_syncs_what_it_leaves() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let mut written = Written::new(&disk);
    written.append(1, 100);
    written.switch();
    written.append_durable(1, 100);
    assert_eq!(
        replay(&simulated.crash(Fate::LoseAll, 1), Position(0)).unwrap(),
        (written.frames.clone(), None)
    );
}

#[test]
fn a_sync_does_not_speak_for_what_is_appended_meanwhile() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let journal = Arc::new(create(&disk));
    let append = |journal: &Journal, first| {
        let mut frame = FrameBuffer::new();
        frame.begin(FrameKind::Events);
        journal.append(&mut frame, first, 1, Position(0)).unwrap();
    };
    append(&journal, Position(1));
    let (shared, once) = (Arc::clone(&journal), std::sync::Once::new());
    simulated.on_operation(move |does, _| {
        if does == Does::Sync {
            once.call_once(|| append(&shared, Position(2)));
        }
    });
    journal.sync().unwrap();
    let syncs = simulated.counts().syncs;
    journal.sync().unwrap();
    assert_eq!(simulated.counts().syncs, syncs + 1);
}

#[test]
fn a_switch_that_failed_can_be_tried_again() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let mut written = Written::new(&disk);
    written.append_durable(1, 100);
    written.switch();
    written.append_durable(1, 100);
    written.journal.release(Side::A);
    simulated.faults().fail_sync_dropping_pages("-a", Dropped::ShowsNew);
    assert!(written.journal.switch().is_err());
    written.append_durable(1, 100);
    assert_eq!(written.journal.active(), Side::B);
    written.switch();
    written.append_durable(1, 100);
    assert_eq!(
        replay(&simulated.crash(Fate::LoseAll, 1), Position(1)).unwrap(),
        (written.frames[1..].to_vec(), None)
    );
}

#[test]
fn creation_can_be_interrupted_anywhere() {
    let simulated = SimulatedDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    create(&disk);
    let mut crashes = simulated.trace().crashes();
    loop {
        for seed in 0..20 {
            let disk = crashes.image(Fate::Tear, seed);
            let found = find(&disk, database()).unwrap();
            assert!(found.iter().all(|found| !matches!(found.remnant, Remnant::Foreign(_))), "{found:?}");
            assert_eq!(highest_position(&disk, database()).unwrap(), None);
            remove(&disk, database(), &found).unwrap();
        }
        if !crashes.advance() {
            break;
        }
    }
    for fate in Fate::ALL {
        assert_eq!(replay(&simulated.crash(fate, 1), Position(0)).unwrap(), (vec![], None));
    }
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    for n in 1.. {
        let simulated = SimulatedDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        disk.create(database()).unwrap();
        simulated.faults().fail_after(n, Failure::any());
        let mut made = Vec::new();
        match Journal::create(Arc::clone(&disk), database(), ID, SALT, SIZES, &mut made) {
            Ok(_) => break,
            Err(_) => assert_eq!((find(&*disk, database()).unwrap(), made.len()), (vec![], 0)),
        }
    }
}

/// A file that was made and could not be asked who it is stood in the way of the next try.
#[test]
fn a_creation_that_cannot_look_at_its_files_is_in_nobodys_way() {
    let mut failed = 0;
    for failing in 1.. {
        let simulated = SimulatedDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        disk.create(database()).unwrap();
        // All that look, from the first on or from a later one: what was made is not removed then.
        simulated.faults().fail_after(failing, Failure::of(Does::Look).forever());
        let mut made = Vec::new();
        if Journal::create(Arc::clone(&disk), database(), ID, SALT, SIZES, &mut made).is_ok() {
            break;
        }
        failed += 1;
        simulated.faults().clear();
        Journal::clear(&*disk, &mut made).unwrap();
        assert_eq!((find(&*disk, database()).unwrap(), made.len()), (vec![], 0));
        Journal::create(Arc::clone(&disk), database(), ID, SALT, SIZES, &mut made).unwrap();
    }
    assert!(failed >= 2, "each of the two files is asked: {failed}");
}

#[test]
fn one_fills_while_another_appends() {
    let disk = memory();
    let mut written = Written::new(&disk);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let Written { journal, frames, .. } = &mut written;
        let journal = &*journal;
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                journal.fill_ahead().unwrap();
            }
        });
        let mut buffer = FrameBuffer::new();
        for i in 1..=2000u64 {
            let payload = vec![i as u8; (i as usize * 37) % 500];
            buffer.begin(FrameKind::Events);
            buffer.payload_mut().extend_from_slice(&payload);
            journal.append(&mut buffer, Position(i), 1, Position(i - 1)).unwrap();
            journal.sync().unwrap();
            frames.push(Frame { kind: FrameKind::Events, first: Position(i), count: 1, payload });
            if i % 100 == 0 {
                let left = journal.active();
                assert!(journal.switch().unwrap());
                if i < 2000 {
                    journal.release(left);
                }
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(replay(&*disk, Position(1900)).unwrap(), (written.frames[1900..].to_vec(), None));
}
