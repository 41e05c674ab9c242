//! Random histories, with faults, and a crash at every point of them, against a list of what was appended.

use proptest::prelude::*;

use super::*;
use crate::entity::Position;
use crate::store::disk::simulated::{Dropped, Failure, Fate, SimulatedDisk};

#[derive(Debug, Clone)]
enum Op {
    Append {
        count: u32,
        size: usize,
    },
    Sync,
    Fill,
    /// Freezes the active memtable, if there is none frozen.
    Switch,
    /// The frozen memtable is in the database; its segment is free only after `Release`.
    Commit,
    Release,
    /// Some operation fails.
    Fail {
        after: u64,
    },
    /// A sync fails and drops what it was to make durable.
    Drop {
        side: Side,
        shows: Dropped,
    },
}

fn op() -> impl Strategy<Value = Op> {
    // Few sizes, so that new frames often end where old ones begin, and some of them at the end of a sector.
    let size = prop_oneof![3 => Just(100), 1 => 0..1500usize, 2 => Just(432), 1 => 0..7000usize];
    let side = prop_oneof![Just(Side::A), Just(Side::B)];
    let shows = prop_oneof![Just(Dropped::ShowsOld), Just(Dropped::ShowsNew)];
    prop_oneof![
        32 => (0..3u32, size).prop_map(|(count, size)| Op::Append { count, size }),
        20 => Just(Op::Sync),
        6 => Just(Op::Fill),
        12 => Just(Op::Switch),
        10 => Just(Op::Commit),
        10 => Just(Op::Release),
        1 => (1..20u64).prop_map(|after| Op::Fail { after }),
        1 => (side, shows).prop_map(|(side, shows)| Op::Drop { side, shows }),
    ]
}

/// What was promised at some point.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    /// So many frames are durable.
    durable: usize,
    /// So many are in the database, and this is its last position.
    committed: usize,
    after: Position,
}

struct Model {
    disk: SimulatedDisk,
    written: Written,
    promises: Vec<Promise>,
    /// The frozen memtable: its segment, how many frames end with it, and whether they are in the database.
    frozen: Option<(Side, usize, bool)>,
}

impl Model {
    fn new() -> Model {
        let disk = SimulatedDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let written = Written::new(&shared);
        let mut model = Model { disk, written, promises: vec![], frozen: None };
        model.promise(Promise::default());
        model
    }

    fn now(&self) -> Promise {
        *self.promises.last().unwrap()
    }

    fn promise(&mut self, promise: Promise) {
        self.disk.note(self.promises.len() as u64);
        self.promises.push(promise);
    }

    fn all_durable(&mut self) {
        self.written.durable = self.written.next.previous();
        self.promise(Promise { durable: self.written.frames.len(), ..self.now() });
    }

    /// Does it; an error ends the history, as it ends a session.
    fn step(&mut self, op: Op) -> Result<()> {
        match op {
            Op::Append { count, size } => match self.written.try_append(count, size) {
                Ok(()) | Err(JournalError::Refused(_)) => {}
                Err(JournalError::Failed(error)) => {
                    // It may be read back or not.
                    let frame = self.written.next_frame(count, size);
                    self.written.frames.push(frame);
                    return Err(error);
                }
            },
            Op::Sync => {
                self.written.journal.sync()?;
                self.all_durable();
            }
            Op::Fill => drop(self.written.journal.fill_ahead()),
            Op::Switch => {
                let side = self.written.journal.active();
                let switched = self.written.journal.switch()?;
                if self.written.journal.active() != side {
                    assert!(switched && self.frozen.is_none());
                    self.frozen = Some((side, self.written.frames.len(), false));
                    self.all_durable();
                }
            }
            Op::Commit => {
                if let Some((_, end, committed)) = &mut self.frozen {
                    *committed = true;
                    let (last, committed) = (&self.written.frames[*end - 1], *end);
                    let after = last.first.plus(u64::from(last.count)).previous();
                    self.promise(Promise { committed, after, ..self.now() });
                }
            }
            Op::Release => {
                if let Some((side, _, true)) = self.frozen {
                    self.written.journal.release(side);
                    self.frozen = None;
                }
            }
            Op::Fail { after } => self.disk.faults().fail_after(after, Failure::any()),
            Op::Drop { side, shows } => {
                self.disk.faults().fail_sync_dropping_pages(&format!("-{side}"), shows)
            }
        }
        Ok(())
    }

    /// Holds what a crash left to what was promised.
    fn check(&self, disk: &dyn Disk, promise: Promise) -> Result<Option<Cut>, TestCaseError> {
        let Promise { durable, committed, after } = promise;
        let (frames, cut) =
            replay(disk, after).map_err(|error| TestCaseError::fail(format!("{promise:?}: {error}")))?;
        let unknown = |frames: &[Frame]| frames.iter().filter(|frame| frame.first > after).count();
        let live: Vec<_> = self.written.frames.iter().filter(|frame| frame.first > after).collect();
        // Cursor moves that are in the database already come again, or are overwritten.
        let known = unknown(&self.written.frames[..committed]);
        let promised = unknown(&self.written.frames[..durable]);
        let holds = (0..=known).any(|skipped| {
            let live = &live[skipped..];
            frames.len() <= live.len()
                && skipped + frames.len() >= promised
                && frames.iter().zip(live).all(|(frame, live)| frame == *live)
        });
        prop_assert!(
            holds,
            "{:?}: {} frames of which {} were promised and {} known; cut: {:?}",
            promise,
            frames.len(),
            promised,
            known,
            cut
        );
        Ok(cut)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_synced_comes_back_after_a_crash(ops in prop::collection::vec(op(), 0..80), seed: u64) {
        let mut model = Model::new();
        for op in ops {
            if model.step(op).is_err() {
                break;
            }
        }
        let mut crashes = model.disk.trace().crashes();
        let mut seed = seed;
        loop {
            // Before the first promise the journal is not there.
            if let Some(note) = crashes.notes().last() {
                let promise = model.promises[usize::try_from(*note).unwrap()];
                seed = seed.wrapping_add(1);
                let fate = [Fate::Tear, Fate::Reorder, Fate::Tear, Fate::LoseAll][seed as usize % 4];
                model.check(&crashes.image(fate, seed), promise)?;
            }
            if !crashes.advance() {
                break;
            }
        }
        // Where all is durable, nothing is reported either.
        let end = model.now();
        let cut = model.check(&model.disk.crash(Fate::Tear, seed), end)?;
        if end.durable == model.written.frames.len() {
            prop_assert_eq!(cut, None);
        }
    }
}
