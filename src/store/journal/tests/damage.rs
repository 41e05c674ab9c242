//! Bytes that change by themselves.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::entity::Position;
use crate::store::disk::memory::MemoryDisk;

/// Where a frame lies: its segment, from here, to there.
type Lies = (Side, usize, usize);

/// A journal whose frames were each synced: what was written, where the frames lie that are not in the database, and
/// the last position that is. A frame is given by its count, its size, and whether it comes after a switch.
fn history(frames: &[(u32, usize, bool)]) -> (Arc<dyn Disk>, Written, Vec<Lies>, Position) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut written = Written::new(&disk);
    let mut places = Vec::new();
    let mut starts = vec![0];
    let mut at = START as usize;
    let mut after = Position::START;
    for &(count, size, switch) in frames {
        // See "Limits" in `replay`.
        let has_events = written.frames[*starts.last().unwrap()..].iter().any(|frame| frame.count > 0);
        if switch && has_events {
            // What the segment held that is used now was committed.
            if starts.len() > 1 {
                written.journal.release(written.journal.active().other());
                after = written.frames[*starts.last().unwrap()].first.previous();
            }
            written.switch();
            starts.push(written.frames.len());
            at = START as usize;
        }
        written.append_durable(count, size);
        let payload = written.frames.last().unwrap().payload.len();
        let end = at + (60 + payload + 4).next_multiple_of(16);
        places.push((written.journal.active(), at, end));
        at = end;
    }
    // Only what was not committed can be missed.
    let live = starts[starts.len().saturating_sub(2)];
    (disk, written, places.split_off(live), after)
}

fn frames() -> impl Strategy<Value = Vec<(u32, usize, bool)>> {
    let size = prop_oneof![Just(100), 0..600usize];
    prop::collection::vec((0..3u32, size, prop::bool::weighted(0.2)), 1..20)
}

/// The frames that must come back, from the first that is not committed.
fn live(written: &Written, places: &[Lies]) -> Vec<Frame> {
    written.frames[written.frames.len() - places.len()..].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_byte_is_corruption_or_in_the_last_frame_a_cut(
        frames in frames(),
        frame: Index,
        byte: Index,
        flip in 1..=255u8,
    ) {
        let (disk, written, places, after) = history(&frames);
        let live = live(&written, &places);
        // Cursor moves at the end of a committed memtable come again.
        let (whole, cut) = replay(&*disk, after).unwrap();
        prop_assert!(whole.ends_with(&live) && cut.is_none());

        let which = frame.index(places.len());
        let (side, start, end) = places[which];
        let at = start + byte.index(end - start);
        let old = read(&*disk, side)[at];
        write(&*disk, side, at, &[old ^ flip]);
        match replay(&*disk, after) {
            Ok((frames, cut)) => {
                prop_assert_eq!(which, places.len() - 1, "served though frame {} is damaged", which);
                prop_assert_eq!(&frames[..], &whole[..whole.len() - 1]);
                prop_assert_eq!(cut.unwrap().at, live[which].first);
            }
            Err(error) => {
                // What begins a frame is written in one piece with the frame before: no crash changes it alone.
                let begins = at - start < 16;
                prop_assert!(which < places.len() - 1 || begins, "the last frame is only cut: {}", error);
                prop_assert_eq!(error.kind(), "corrupt");
            }
        }
    }

    #[test]
    fn moved_and_overwritten_bytes_are_never_served_as_something_else(
        frames in frames(),
        moves in prop::collection::vec((any::<bool>(), any::<Index>(), any::<bool>(), any::<Index>(), 1..40usize), 0..4),
        noise in prop::collection::vec((any::<bool>(), any::<Index>(), prop::collection::vec(any::<u8>(), 1..200)), 0..3),
    ) {
        let (disk, written, places, after) = history(&frames);
        let side = |b| if b { Side::B } else { Side::A };
        for (from, at, to, target, blocks) in moves {
            let bytes = read(&*disk, side(from));
            let at = START as usize + at.index((bytes.len() - START as usize) / 16) * 16;
            let piece = bytes[at..bytes.len().min(at + blocks * 16)].to_vec();
            let target = START as usize + target.index(200) * 16;
            write(&*disk, side(to), target, &piece);
        }
        for (to, at, bytes) in noise {
            write(&*disk, side(to), START as usize + at.index(4096), &bytes);
        }
        // Whatever it says, every frame it serves was written, in this order.
        let live = live(&written, &places);
        if let Ok(replay) = JournalReplay::open(&*disk, database(), SALT, after) {
            let served: Vec<_> = replay.frames().collect::<Result<_>>().unwrap();
            let all: Vec<_> = written.frames.iter().filter(|frame| frame.first > after).cloned().collect();
            let known = all.len() - live.len();
            prop_assert!((0..=known).any(|known| all[known..].starts_with(&served)));
        }
        highest_position(&*disk, database()).unwrap();
    }

    #[test]
    fn arbitrary_files_never_panic(
        a in prop::collection::vec(any::<u8>(), 0..10_000),
        b in prop::collection::vec(any::<u8>(), 0..300),
        headers in prop::collection::vec((any::<Index>(), any::<[u8; 56]>(), any::<bool>()), 0..6),
        with_headers: bool,
        after: u64,
    ) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        for (side, mut bytes) in [(Side::A, a), (Side::B, b)] {
            if with_headers {
                let header = SegmentHeader { id: ID, salt: SALT, side }.encode();
                bytes.splice(..START.min(bytes.len() as u64) as usize, header);
            }
            for (at, said, small) in &headers {
                let mut said = *said;
                said[..4].copy_from_slice(&frame::MAGIC);
                said[4] = 1 + said[4] % 2;
                said[5] %= 2;
                said[6..8].fill(0);
                said[8..24].copy_from_slice(&SALT.0);
                if *small {
                    // Numbers that could be true.
                    for at in [24, 32, 40] {
                        said[at..at + 7].fill(0);
                    }
                    said[48..50].fill(0);
                    said[52..54].fill(0);
                }
                let crc = crc32fast::hash(&said).to_be_bytes();
                let at = START as usize + at.index(64) * 16;
                if bytes.len() >= at + 60 {
                    bytes[at..at + 56].copy_from_slice(&said);
                    bytes[at + 56..at + 60].copy_from_slice(&crc);
                }
            }
            disk.create(&side.path(database())).unwrap().write_at(0, &bytes).unwrap();
        }
        find(&*disk, database()).unwrap();
        highest_position(&*disk, database()).unwrap();
        if let Ok(replay) = JournalReplay::open(&*disk, database(), SALT, Position(after)) {
            for frame in replay.frames() {
                frame.unwrap();
            }
        }
    }
}

#[test]
fn half_a_journal_is_not_replayed() {
    let (disk, ..) = history(&[(1, 10, false)]);
    disk.remove(&Side::B.path(database())).unwrap();
    let error = replay(&*disk, Position(0)).unwrap_err();
    assert!(error.to_string().contains("journal-b"), "{error}");
    disk.create(&Side::B.path(database())).unwrap();
    assert!(replay(&*disk, Position(0)).is_err());
}

#[test]
fn a_lost_frame_between_the_segments_is_corruption() {
    let (disk, _, places, after) = history(&[(1, 10, false), (1, 10, false), (1, 10, true)]);
    let (side, start, end) = places[1];
    // Not a trace of it: as clean an end as any, were it not for what follows.
    write(&*disk, side, start, &vec![0; end - start]);
    let error = replay(&*disk, after).unwrap_err();
    assert!(error.to_string().contains("position #2 was durable"), "{error}");
}

#[test]
fn a_frame_lost_before_one_that_was_not_synced_is_a_cut() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut written = Written::new(&disk);
    written.append_durable(1, 10);
    let second = START as usize + 80;
    let before = read(&*disk, Side::A)[second..second + 80].to_vec();
    written.append(1, 10);
    written.append(1, 10);
    write(&*disk, Side::A, second, &before);
    let (frames, cut) = replay(&*disk, Position(0)).unwrap();
    assert_eq!(frames, written.frames[..1]);
    let cut = cut.unwrap();
    assert_eq!(cut.at, Position(2));
    assert!(cut.reason.contains("later ones"), "{}", cut.reason);
}

#[test]
fn a_frame_that_was_not_synced_can_prove_that_an_earlier_one_was() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut written = Written::new(&disk);
    written.append_durable(1, 10);
    written.append(1, 10);
    written.append(1, 10);
    write(&*disk, Side::A, START as usize, &[0; 160]);
    assert_eq!(replay(&*disk, Position(0)).unwrap_err().kind(), "corrupt");
}

#[test]
fn a_lost_cursor_move_between_the_segments_is_corruption() {
    let (disk, _, places, _) = history(&[(1, 10, false), (0, 10, false), (0, 10, false), (1, 10, true)]);
    let (side, start, end) = places[2];
    write(&*disk, side, start, &vec![0; end - start]);
    assert_eq!(replay(&*disk, Position(0)).unwrap_err().kind(), "corrupt");
    // These moves may be all there is of a memtable.
    assert_eq!(replay(&*disk, Position(1)).unwrap_err().kind(), "corrupt");
}

#[test]
fn what_is_in_the_database_already_may_be_damaged() {
    let frames: Vec<_> = (0..8).map(|i| (1, 100, i == 4)).collect();
    let (disk, written, places, _) = history(&frames);
    let (side, start, _) = places[2];
    write(&*disk, side, start + 70, b"?");
    assert!(replay(&*disk, Position(0)).is_err());
    assert_eq!(replay(&*disk, Position(4)).unwrap(), (written.frames[4..].to_vec(), None));
}

#[test]
fn another_payload_of_the_same_journal_does_not_fit() {
    let (disk, _, places, after) = history(&[(1, 10, false), (1, 10, false), (1, 10, false)]);
    let bytes = read(&*disk, Side::A);
    let (_, first, _) = places[0];
    let (_, second, end) = places[1];
    write(&*disk, Side::A, first + 60, &bytes[second + 60..end]);
    assert_eq!(replay(&*disk, after).unwrap_err().kind(), "corrupt");
}

#[test]
fn a_truncated_segment_is_corruption_or_a_cut() {
    for len in START..START + 240 {
        let (disk, written, places, after) = history(&[(1, 10, false), (1, 10, false), (1, 10, true)]);
        disk.open(&Side::A.path(database())).unwrap().set_len(len).unwrap();
        let (_, _, end) = places[1];
        match replay(&*disk, after) {
            Ok((frames, cut)) => assert_eq!((len >= end as u64, frames, cut), (true, written.frames, None)),
            Err(error) => assert!(len < end as u64, "{len}: {error}"),
        }
    }
}

#[test]
fn a_segment_cut_or_zeroed_at_any_sector_gives_all_or_says_so() {
    let frames: Vec<_> = (0..44).map(|i| (1, 60 + i * 53 % 700, i == 16 || i == 30)).collect();
    let (mut whole, mut cuts, mut corrupt) = (0, 0, 0);
    for side in Side::BOTH {
        let len = read(&*history(&frames).0, side).len();
        for at in (0..len).step_by(512) {
            for zeroes in [None, Some(512), Some(4096), Some(len)] {
                let (disk, written, places, after) = history(&frames);
                let live = live(&written, &places);
                match zeroes {
                    None => disk.open(&side.path(database())).unwrap().set_len(at as u64).unwrap(),
                    Some(bytes) => write(&*disk, side, at, &vec![0; bytes.min(len - at)]),
                }
                let case = format!("{side} {at} {zeroes:?}");
                match replay(&*disk, after) {
                    Ok((frames, None)) => {
                        assert_eq!(frames, live, "{case}");
                        whole += 1;
                    }
                    Ok((frames, Some(cut))) => {
                        assert_eq!(frames, live[..frames.len()], "{case}");
                        assert_eq!(cut.at, live[frames.len()].first, "{case}");
                        assert!(zeroes.is_some_and(|bytes| at + bytes < len), "{case}: its end is missing");
                        cuts += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), "corrupt", "{case}");
                        corrupt += 1;
                    }
                }
            }
        }
    }
    assert!(whole > 20 && cuts > 3 && corrupt > 50, "{whole} {cuts} {corrupt}");
}
