//! Random histories with a crash at the end, against a list of what was appended.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::crash::CrashDisk;
use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append {
        count: u32,
        size: usize,
    },
    Sync,
    Fill,
    /// Freezes the active tail, if there is none frozen.
    Switch,
    /// The frozen tail is in the database; its segment is free only after `Release`.
    Commit,
    Release,
}

fn op() -> impl Strategy<Value = Op> {
    // Few sizes, so that new frames often end where old ones begin.
    let size = prop_oneof![3 => Just(100), 1 => 0..2000usize, 1 => Just(436), 1 => 0..20_000usize];
    prop_oneof![
        8 => (0..3u32, size).prop_map(|(count, size)| Op::Append { count, size }),
        4 => Just(Op::Sync),
        1 => Just(Op::Fill),
        2 => Just(Op::Switch),
        2 => Just(Op::Commit),
        2 => Just(Op::Release),
    ]
}

pub fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_was_synced_comes_back_after_a_crash(ops in prop::collection::vec(op(), 0..60), seed: u64) {
        let crash = CrashDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(crash.clone());
        let mut written = Written::new(&disk);
        // How many frames are durable, in the database, and in the frozen tail or before it.
        let (mut durable, mut committed, mut frozen) = (0, 0, None::<(Side, usize)>);
        let (mut after, mut is_committed) = (0, false);
        for op in ops {
            match op {
                Op::Append { count, size } => written.append(count, size),
                Op::Sync => {
                    written.sync();
                    durable = written.frames.len();
                }
                Op::Fill => drop(written.journal.fill_ahead().unwrap()),
                Op::Switch if frozen.is_none() => {
                    let side = written.journal.active();
                    written.switch();
                    if written.journal.active() != side {
                        durable = written.frames.len();
                        frozen = Some((side, written.frames.len()));
                        is_committed = false;
                    }
                }
                Op::Switch => {
                    let busy = written.journal.switch().unwrap();
                    // True where nothing was appended since.
                    prop_assert_eq!(busy, frozen.is_some_and(|(_, end)| end == written.frames.len()));
                }
                Op::Commit => {
                    if let Some((_, end)) = frozen {
                        committed = end;
                        after = end.checked_sub(1).map_or(0, |last| {
                            let last = &written.frames[last];
                            last.first + u64::from(last.count) - 1
                        });
                        is_committed = true;
                    }
                }
                Op::Release => {
                    if let Some((side, _)) = frozen && is_committed {
                        written.journal.release(side);
                        frozen = None;
                    }
                }
            }
        }
        let mut rng = rng(seed);
        for _ in 0..4 {
            let disk = crash.crash(&mut rng);
            let (frames, cut) = match replay(&*disk, after) {
                Ok(replayed) => replayed,
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let live: Vec<_> = written.frames.iter().filter(|frame| frame.first > after).collect();
            // Cursor moves that are in the database already come again, or are overwritten.
            let known = written.frames[..committed].iter().filter(|frame| frame.first > after).count();
            let lost = written.frames.len() - durable;
            let skipped = (0..=known).find(|&skipped| {
                let live = &live[skipped..];
                frames.len() <= live.len()
                    && frames.len() + lost >= live.len()
                    && frames.iter().zip(live).all(|(frame, live)| frame == *live)
            });
            prop_assert!(
                skipped.is_some(),
                "replayed {} of {} frames, {} not durable, {} known; cut: {:?}",
                frames.len(), live.len(), lost, known, cut
            );
            if lost == 0 {
                prop_assert_eq!(cut, None);
            }
        }
    }
}
