//! What indexes of states lead to: the ids of entities, as of the head.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::Snapshot;
use super::states::unless_damaged;
use crate::entity::Position;
use crate::error::Result;
use crate::store::catalog::Finder;
use crate::store::index::term::TermRange;

/// Terms that are longer may stand for several values.
const LONG: usize = 128;

/// More entries than these are not walked: to look at all states is less.
const MOST_WALKED: usize = 10_000;

/// How many entries ranges of an index have, in the tables.
#[derive(Debug, Clone)]
pub(crate) struct FoundCount {
    /// As far as they were counted.
    pub entries: u64,
    /// What was counted, unless there is more of it.
    pub ids: Option<Arc<FoundIds>>,
}

/// The ids that the tables have in ranges of an index, as of C.
#[derive(Debug)]
pub(crate) struct FoundIds {
    checkpoint: Position,
    ids: Vec<String>,
}

/// The order of an index, from one end on.
#[derive(Debug, Clone)]
pub(crate) struct IndexWalk {
    pub finder: Arc<Finder>,
    pub range: TermRange,
    pub backwards: bool,
}

/// The first of an index in its order, as of the head.
#[derive(Debug)]
pub(crate) struct WalkedIds {
    /// Theirs, and those of all others that may be among the first for all that the tables tell.
    pub ids: BTreeSet<String>,
    /// Of those, the ones that are where the index has them. All that is left out comes behind them.
    pub settled: HashSet<String>,
    /// Nothing is left out that the range has.
    pub all: bool,
}

impl Snapshot {
    /// The first entries of an index in its order: so many at least, as long as there are as many. None where the index does not serve
    /// now, or its order does not tell.
    pub fn walk_found(&self, walk: &IndexWalk, least: usize) -> Result<Option<WalkedIds>> {
        let IndexWalk { finder, range, backwards } = walk;
        let Some(model) = self.catalog.model(&finder.kind).cloned() else { return Ok(None) };
        self.read(|view| {
            if !self.index_serves(view, &model, finder)? {
                return Ok(None);
            }
            let mut walked = WalkedIds { ids: BTreeSet::new(), settled: HashSet::new(), all: true };
            let (mut last, mut tells) = (Vec::new(), true);
            let read = view.read.walk_found(model.position, range, *backwards, |term, id| {
                // Of what is equal, ids decide: all of it is needed.
                if term != last {
                    if walked.settled.len() >= least {
                        walked.all = false;
                        return Ok(false);
                    }
                    last = term.to_vec();
                }
                // A long text is cut, and others are cut to the same.
                tells &= term.len() <= LONG && walked.settled.len() < MOST_WALKED;
                walked.settled.insert(id.to_owned());
                Ok(tells)
            });
            if unless_damaged(read)?.is_none() || !tells {
                return Ok(None);
            }
            walked.ids.extend(walked.settled.iter().cloned());
            let elsewhere = [finder.faulty(), finder.unordered()];
            for range in &elsewhere {
                let found = view.read.found(model.position, range, |id| {
                    walked.ids.insert(id.to_owned());
                    Ok(walked.ids.len() < MOST_WALKED)
                });
                if unless_damaged(found)?.is_none() || walked.ids.len() >= MOST_WALKED {
                    return Ok(None);
                }
            }
            let overlay = self.overlay(view, &model, Some(finder))?;
            let found = elsewhere.iter().chain([range]).flat_map(|range| overlay.found(finder, range));
            walked.ids.extend(found.chain(overlay.unread.iter().map(String::as_str)).map(str::to_owned));
            walked.settled.retain(|id| !overlay.states.contains_key(id));
            Ok(Some(walked))
        })
    }

    /// How many entries ranges of an index have, counted up to so many, and what they are: with the states that could not be folded, which
    /// do not count. None where the index does not serve now.
    pub fn count_found(
        &self,
        finder: &Finder,
        ranges: &[TermRange],
        most: u64,
    ) -> Result<Option<FoundCount>> {
        let Some(model) = self.catalog.model(&finder.kind).cloned() else { return Ok(None) };
        self.read(|view| {
            if !self.index_serves(view, &model, finder)? {
                return Ok(None);
            }
            let (mut entries, mut ids) = (0, Vec::new());
            for range in ranges {
                let counted = view.read.found(model.position, range, |id| {
                    entries += 1;
                    ids.push(id.to_owned());
                    Ok(entries < most)
                });
                if unless_damaged(counted)?.is_none() {
                    return Ok(None);
                }
                if entries >= most {
                    return Ok(Some(FoundCount { entries, ids: None }));
                }
            }
            let unfolded = view.read.found(model.position, &finder.faulty(), |id| {
                ids.push(id.to_owned());
                Ok((ids.len() as u64) < most)
            });
            if unless_damaged(unfolded)?.is_none() {
                return Ok(None);
            }
            let all = (ids.len() as u64) < most;
            let ids = all.then(|| Arc::new(FoundIds { checkpoint: view.checkpoint, ids }));
            Ok(Some(FoundCount { entries, ids }))
        })
    }

    /// The ids of all states that ranges of an index may lead to as of the head, in order: some may not be meant. None where the
    /// index does not serve now, or is damaged. What was found in the tables already is not looked for again, as long as they are as
    /// they were. `held` is told how many bytes each takes.
    pub fn found_ids(
        &self,
        finder: &Arc<Finder>,
        ranges: &[TermRange],
        before: Option<&FoundIds>,
        held: impl Fn(usize) -> Result<()>,
    ) -> Result<Option<BTreeSet<String>>> {
        let Some(model) = self.catalog.model(&finder.kind).cloned() else { return Ok(None) };
        let mut ids = BTreeSet::new();
        let add = |ids: &mut BTreeSet<String>, id: &str| {
            held(id.len() + 64)?;
            ids.insert(id.to_owned());
            Ok(true)
        };
        // The tables had all that there is.
        if let Some(before) = before.filter(|before| before.checkpoint == self.head) {
            before.ids.iter().try_for_each(|id| add(&mut ids, id).map(drop))?;
            return Ok(Some(ids));
        }
        self.read(|view| {
            if !self.index_serves(view, &model, finder)? {
                return Ok(None);
            }
            ids.clear();
            if let Some(before) = before.filter(|before| before.checkpoint == view.checkpoint) {
                before.ids.iter().try_for_each(|id| add(&mut ids, id).map(drop))?;
            } else {
                for range in ranges {
                    let found = view.read.found(model.position, range, |id| add(&mut ids, id));
                    if unless_damaged(found)?.is_none() {
                        return Ok(None);
                    }
                    view.go_on()?;
                }
            }
            let overlay = self.overlay(view, &model, Some(finder))?;
            let found = ranges.iter().flat_map(|range| overlay.found(finder, range));
            for id in found.chain(overlay.unread.iter().map(String::as_str)) {
                add(&mut ids, id)?;
            }
            Ok(Some(std::mem::take(&mut ids)))
        })
    }
}
