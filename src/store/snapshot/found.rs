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

/// The ids that the tables have in ranges of an index, as of C, in order.
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
#[derive(Debug, Default)]
pub(crate) struct WalkedIds {
    /// Theirs, in that order, and of equals in the order of ids. All that is left out comes behind them.
    pub in_order: Vec<String>,
    /// Of those, the ones that are elsewhere by now.
    moved: HashSet<String>,
    /// All others that may be among the first for all that the tables tell.
    beside: BTreeSet<String>,
    /// Nothing is left out that the range has.
    pub all: bool,
}

impl WalkedIds {
    /// Whether they are the first, and nothing else is.
    pub fn are_exact(&self) -> bool {
        self.moved.is_empty() && self.beside.is_empty()
    }

    /// All that may be among the first.
    pub fn ids(&self) -> BTreeSet<String> {
        self.in_order.iter().chain(&self.beside).cloned().collect()
    }

    /// Those that are where the index has them.
    pub fn settled(&self) -> HashSet<&str> {
        self.in_order.iter().filter(|id| !self.moved.contains(*id)).map(String::as_str).collect()
    }
}

impl Snapshot {
    /// The first entries of an index in its order: so many at least, as long as there are as many. None where the index does not serve
    /// now, or its order does not tell.
    pub fn walk_found(&self, walk: &IndexWalk, least: usize) -> Result<Option<WalkedIds>> {
        let IndexWalk { finder, range, backwards } = walk;
        let Some(model) = self.catalog.model(&finder.kind).cloned() else { return Ok(None) };
        self.read(|view| {
            let Some(facts) = self.serving(view, &model, finder)? else { return Ok(None) };
            let mut walked = WalkedIds { all: true, ..WalkedIds::default() };
            let (mut last, mut tells, mut equals, mut entries) = (Vec::new(), true, 0, 0);
            // An array has an entry for each of its items, and counts once.
            let mut several = facts.has_unordered.then(HashSet::<String>::new);
            let read = view.read.walk_found(model.position, range, *backwards, |term, id| {
                // Of what is equal, ids decide: all of it is needed.
                if term != last {
                    if walked.in_order.len() >= least {
                        walked.all = false;
                        return Ok(false);
                    }
                    walked.in_order[equals..].sort_unstable();
                    equals = walked.in_order.len();
                    last.clear();
                    last.extend_from_slice(term);
                }
                // A long text is cut, and others are cut to the same.
                tells &= term.len() <= LONG && entries < MOST_WALKED;
                entries += 1;
                if several.as_mut().is_none_or(|several| several.insert(id.to_owned())) {
                    walked.in_order.push(id.to_owned());
                }
                Ok(tells)
            });
            if unless_damaged(read)?.is_none() || !tells {
                return Ok(None);
            }
            walked.in_order[equals..].sort_unstable();
            let elsewhere = [finder.faulty(), finder.unordered()];
            let in_tables = [facts.has_faulty, facts.has_unordered];
            for (range, _) in elsewhere.iter().zip(in_tables).filter(|(_, has_any)| *has_any) {
                let found = view.read.found(model.position, range, |id| {
                    walked.beside.insert(id.to_owned());
                    Ok(walked.in_order.len() + walked.beside.len() < MOST_WALKED)
                });
                let most = walked.in_order.len() + walked.beside.len() >= MOST_WALKED;
                if unless_damaged(found)?.is_none() || most {
                    return Ok(None);
                }
            }
            let overlay = self.overlay(view, &model, Some(finder))?;
            let found = elsewhere.iter().chain([range]).flat_map(|range| overlay.found(finder, range));
            let unread = overlay.unread.iter().map(String::as_str);
            let found = found.chain(unread).chain(overlay.newer_than(self.head));
            walked.beside.extend(found.map(str::to_owned));
            let moved = walked.in_order.iter().filter(|id| overlay.states.contains_key(*id));
            walked.moved = moved.cloned().collect();
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
            let Some(facts) = self.serving(view, &model, finder)? else { return Ok(None) };
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
            if facts.has_faulty {
                let unfolded = view.read.found(model.position, &finder.faulty(), |id| {
                    ids.push(id.to_owned());
                    Ok((ids.len() as u64) < most)
                });
                if unless_damaged(unfolded)?.is_none() {
                    return Ok(None);
                }
            }
            let all = (ids.len() as u64) < most;
            in_order(&mut ids);
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
    ) -> Result<Option<Vec<String>>> {
        let Some(model) = self.catalog.model(&finder.kind).cloned() else { return Ok(None) };
        let mut ids = Vec::new();
        let add = |ids: &mut Vec<String>, id: &str| {
            held(id.len() + 64)?;
            ids.push(id.to_owned());
            Ok(true)
        };
        // The tables had all that there is.
        if let Some(before) = before.filter(|before| before.checkpoint == self.head) {
            self.ask_for_overlay(&model, finder);
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
            let unread = overlay.unread.iter().map(String::as_str);
            for id in found.chain(unread).chain(overlay.newer_than(self.head)) {
                add(&mut ids, id)?;
            }
            in_order(&mut ids);
            Ok(Some(std::mem::take(&mut ids)))
        })
    }
}

/// An entity is found once, however often an index has it.
fn in_order(ids: &mut Vec<String>) {
    ids.sort_unstable();
    ids.dedup();
}
