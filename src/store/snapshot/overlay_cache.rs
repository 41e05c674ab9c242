//! What the memtables make of kept states, remembered: of each model that is asked for.
//!
//! Whoever asks first has it made, and from then on the background takes in what is appended, a slice at a time ([`Snapshot::grow_overlays`]),
//! so that whoever asks next finds nearly all of it done. It goes on so as long as somebody asks between one checkpoint and the one after
//! the next; where nobody does, it is let go.
//!
//! A checkpoint moves what it was made of into the tables. What it has of entities that changed since holds all the same, and stays.
//!
//! One lock, held while one of them is grown, with a read of the tables open that was opened before. The background holds it for a slice,
//! and not while somebody waits for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::overlay::MemtableOverlay;
use super::{ReadTxn, Snapshot};
use crate::entity::Position;
use crate::error::Result;
use crate::store::catalog::{CatalogModel, Finder};
use crate::store::mutex::locked;

/// How many events the background takes in at a time, and for how long in one turn. Tests are to see it half-way.
const SLICE: u64 = if cfg!(test) { 2 } else { 256 };
const TURN: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(50) };

/// So many events come before the background is asked to take them in.
const DUE: u64 = if cfg!(test) { 1 } else { 1024 };

/// What is so much further than a snapshot serves it all the same: what changed since is folded one by one.
const AHEAD: u64 = if cfg!(test) { 3 } else { 4096 };

/// Beyond so many bytes of all models the background takes in no more: who asks does, within what a query may take.
const MOST: usize = 64 << 20;

/// The background does not wait longer for those who read one, and pauses so long where somebody waits for the lock.
const READ: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(20) };
const PAUSE: Duration = Duration::from_micros(50);

/// What the memtables make of the states of models, for all who read.
#[derive(Debug, Default)]
pub(crate) struct OverlayCache {
    known: Mutex<Vec<AskedOverlay>>,
    /// How many wait for it, the background apart.
    waiting: AtomicUsize,
    /// The head at which the background has something to do; 0 where nobody asks for it.
    due: AtomicU64,
}

#[derive(Debug)]
struct AskedOverlay {
    overlay: Arc<MemtableOverlay>,
    /// Somebody asked since the last checkpoint but one.
    asked: bool,
}

impl OverlayCache {
    /// Forgets all of it.
    pub fn clear(&self) {
        self.known().clear();
    }

    /// Whether the background has so much to take in, as of this head. It is told once.
    pub fn is_due(&self, head: Position) -> bool {
        let due = self.due.load(Relaxed);
        due > 0 && head.0 >= due && self.due.swap(0, Relaxed) > 0
    }

    /// Has the background asked once so much was appended behind a position.
    fn ask(&self, through: Position) {
        if self.due.load(Relaxed) == 0 {
            self.due.store(through.plus(DUE).0, Relaxed);
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<AskedOverlay>> {
        self.waiting.fetch_add(1, Relaxed);
        let known = locked(&self.known);
        self.waiting.fetch_sub(1, Relaxed);
        known
    }

    /// The same for the background: those who wait go first.
    fn known_last(&self) -> MutexGuard<'_, Vec<AskedOverlay>> {
        let until = Instant::now() + READ;
        while self.waiting.load(Relaxed) > 0 && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
        locked(&self.known)
    }
}

/// How an overlay that is known fits whoever reads.
enum OverlayFit {
    /// It holds nothing that is too new.
    Grow,
    /// It is a little further.
    Ahead,
    /// It is of no use to who reads, but to others.
    Newer,
    /// It is of no use to anybody.
    Stale,
}

impl Snapshot {
    /// What the memtables make of the states that are kept as of a view's C; with an index of that, if it is wanted. It may be further
    /// than this snapshot: see [`MemtableOverlay::newer_than`].
    pub(super) fn overlay(
        &self,
        view: &ReadTxn,
        model: &CatalogModel,
        finder: Option<&Arc<Finder>>,
    ) -> Result<Arc<MemtableOverlay>> {
        let cache = &self.kernel.state_caches.overlays;
        let mut known = cache.known();
        let at = known.iter().position(|known| known.overlay.definition == model.position);
        let fit = at.map_or(OverlayFit::Stale, |at| self.fit(&known[at].overlay, view));
        if let Some(known) = at.and_then(|at| known.get_mut(at))
            && known.overlay.has(finder)
            && known.overlay.checkpoint == view.checkpoint
            && (matches!(fit, OverlayFit::Ahead)
                || matches!(fit, OverlayFit::Grow) && known.overlay.through == view.head())
        {
            known.asked = true;
            return Ok(known.overlay.clone());
        }
        // Whoever fails leaves nothing half done behind.
        let before = at
            .filter(|_| matches!(fit, OverlayFit::Grow | OverlayFit::Ahead))
            .map(|at| known.swap_remove(at).overlay);
        let mut overlay = before.unwrap_or_else(|| Arc::new(self.no_overlay(model, view.checkpoint)));
        if overlay.through < view.head() || overlay.checkpoint < view.checkpoint || !overlay.has(finder) {
            // It is changed where it is, if nobody reads it.
            let grown = Arc::make_mut(&mut overlay);
            grown.rebase(view.checkpoint);
            let taken = grown.take_in(view, model, view.head(), self.query_memory(), &self.limits());
            if let Err(error) = taken {
                // As one that is cancelled: the background does what it did not come to the end of.
                if self.knows_who_is_forgotten()
                    && !known.iter().any(|other| other.overlay.definition == model.position)
                {
                    let overlay = Arc::new(self.no_overlay(model, view.checkpoint));
                    known.push(AskedOverlay { overlay, asked: true });
                    cache.ask(view.checkpoint);
                }
                return Err(error);
            }
            if let Some(finder) = finder.filter(|finder| !grown.has(Some(finder))) {
                grown.index(finder, &self.limits())?;
            }
        }
        if !matches!(fit, OverlayFit::Newer) && self.knows_who_is_forgotten() {
            known.retain(|other| other.overlay.definition != model.position);
            if !self.kernel.options.keeps_indexes() {
                // Nobody else lets go of those that nobody asks for any more.
                known.retain(|other| other.overlay.checkpoint == view.checkpoint);
            }
            known.push(AskedOverlay { overlay: overlay.clone(), asked: true });
            cache.ask(overlay.through);
        }
        Ok(overlay)
    }

    fn no_overlay(&self, model: &CatalogModel, checkpoint: Position) -> MemtableOverlay {
        MemtableOverlay::new(model.position, checkpoint, (self.catalog.reformed(), self.forgotten))
    }

    fn fit(&self, known: &MemtableOverlay, view: &ReadTxn) -> OverlayFit {
        let (form, own) = (known.form, (self.catalog.reformed(), self.forgotten));
        if form != own {
            let is_newer = form.0 > own.0 || form.1 > own.1;
            return if is_newer { OverlayFit::Newer } else { OverlayFit::Stale };
        }
        if known.checkpoint > view.checkpoint || known.through > view.head().plus(AHEAD) {
            return OverlayFit::Newer;
        }
        if known.through > view.head() { OverlayFit::Ahead } else { OverlayFit::Grow }
    }

    /// Says that what an index of states has in the memtables is asked for, where the tables have all up to the head.
    pub(super) fn ask_for_overlay(&self, model: &CatalogModel, finder: &Arc<Finder>) {
        let cache = &self.kernel.state_caches.overlays;
        let mut known = cache.known();
        match known.iter_mut().find(|known| known.overlay.definition == model.position) {
            Some(known) => {
                known.asked = true;
                if !known.overlay.has(Some(finder)) && known.overlay.states.is_empty() {
                    let entries = (finder.clone(), BTreeSet::new());
                    Arc::make_mut(&mut known.overlay).found.insert(finder.position, entries);
                }
            }
            None if self.knows_who_is_forgotten() => {
                let mut overlay = self.no_overlay(model, self.head);
                overlay.found.insert(finder.position, (finder.clone(), BTreeSet::new()));
                known.push(AskedOverlay { overlay: Arc::new(overlay), asked: true });
            }
            None => {}
        }
        cache.ask(self.head);
    }

    /// Takes in more of what was appended, of models that somebody asks for and that are not slow. Says whether there is more to do.
    pub fn grow_overlays(&self, is_slow: impl Fn(Position) -> bool) -> bool {
        let (cache, began) = (&self.kernel.state_caches.overlays, Instant::now());
        let definitions: Vec<_> = locked(&cache.known).iter().map(|known| known.overlay.definition).collect();
        let (mut more, mut reading) = (false, began);
        for definition in definitions {
            let model = self.catalog.model_at(definition).filter(|_| !is_slow(definition));
            loop {
                match model.map_or(Ok(OverlayGrowth::Failed), |model| self.grow_overlay(model)) {
                    Ok(OverlayGrowth::More) if began.elapsed() < TURN => {}
                    Ok(OverlayGrowth::Read) if reading.elapsed() < READ => std::thread::sleep(PAUSE),
                    // Who reads for long leaves it a little behind: the next who appends has it looked at again.
                    Ok(OverlayGrowth::Whole | OverlayGrowth::Read) => break,
                    Ok(OverlayGrowth::More) => {
                        more = true;
                        break;
                    }
                    // Who asks next is told why.
                    Ok(OverlayGrowth::Failed) | Err(_) => {
                        locked(&cache.known).retain(|known| known.overlay.definition != definition);
                        break;
                    }
                }
                if self.kernel.background.stopping() {
                    return false;
                }
            }
            reading = Instant::now();
        }
        let is_asked = !locked(&cache.known).is_empty();
        cache.due.store(if is_asked { self.head.plus(DUE).0 } else { 0 }, Relaxed);
        more || is_asked && cache.is_due(self.kernel.applied.head())
    }

    /// Takes in a slice.
    fn grow_overlay(&self, model: &CatalogModel) -> Result<OverlayGrowth> {
        let cache = &self.kernel.state_caches.overlays;
        // Before the lock, as whoever reads does.
        let view = self.view()?;
        if view.read.followed_once(model.position)? != Some(view.checkpoint) {
            // What is kept is on its way: until then nobody asks.
            return Ok(OverlayGrowth::Whole);
        }
        let mut known = cache.known_last();
        let at = known.iter().position(|known| known.overlay.definition == model.position);
        let Some(at) = at else { return Ok(OverlayGrowth::Whole) };
        let overlay = &known[at].overlay;
        match self.fit(overlay, &view) {
            OverlayFit::Grow => {}
            OverlayFit::Ahead | OverlayFit::Newer => return Ok(OverlayGrowth::Whole),
            OverlayFit::Stale => return Ok(OverlayGrowth::Failed),
        }
        let is_rebased = overlay.checkpoint < view.checkpoint;
        if is_rebased && !known[at].asked {
            return Ok(OverlayGrowth::Failed);
        }
        let held: usize = known.iter().map(|known| known.overlay.bytes).sum();
        if !is_rebased && (overlay.through >= view.head() || held > MOST.min(self.query_memory())) {
            return Ok(OverlayGrowth::Whole);
        }
        if Arc::strong_count(overlay) > 1 && overlay.through.plus(AHEAD) > view.head() {
            return Ok(OverlayGrowth::Read);
        }
        let AskedOverlay { mut overlay, asked } = known.swap_remove(at);
        let grown = Arc::make_mut(&mut overlay);
        grown.rebase(view.checkpoint);
        let through = grown.through.plus(SLICE).min(view.head());
        grown.take_in(&view, model, through, self.query_memory(), &self.kernel.limits())?;
        grown.retain_finders(|finder| {
            self.catalog.finders_of(&model.kind).any(|other| other.position == finder.position)
        });
        known.push(AskedOverlay { overlay, asked: asked && !is_rebased });
        Ok(if through < view.head() { OverlayGrowth::More } else { OverlayGrowth::Whole })
    }
}

/// What came of growing an overlay.
enum OverlayGrowth {
    Whole,
    More,
    /// Somebody reads it: to change it now would be to copy it.
    Read,
    /// It is of no more use.
    Failed,
}

#[cfg(test)]
impl OverlayCache {
    /// Up to where the memtables are taken in, of each model.
    pub fn through(&self) -> Vec<Position> {
        locked(&self.known).iter().map(|known| known.overlay.through).collect()
    }
}
