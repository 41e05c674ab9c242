//! What the tables say of an index of states, remembered for a commit: whoever finds by it asks the same again and again, and the answers
//! change with the next commit alone.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::TablesRead;
use super::states::Built;
use crate::entity::Position;
use crate::error::Result;
use crate::store::index::term::TermRange;

/// So many are remembered of each; what comes after is asked for each time.
const MOST: usize = 1024;

/// What was asked of the tables at a commit.
#[derive(Debug, Default)]
pub(super) struct CommitFacts {
    /// Up to where the states of a definition are.
    followed: RwLock<BTreeMap<Position, Position>>,
    /// Of indexes that serve, by their definition and that of their states.
    indexes: RwLock<BTreeMap<(Position, Position), IndexFacts>>,
}

/// What an index of states is at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexFacts {
    /// It has all states as of C.
    pub serves: bool,
    /// There may be entities of which there is no state, because an event could not be folded in.
    pub has_faulty: bool,
    /// There may be states whose place in its order is another than that of their terms.
    pub has_unordered: bool,
}

impl IndexFacts {
    const USELESS: IndexFacts = IndexFacts { serves: false, has_faulty: true, has_unordered: true };
}

impl TablesRead<'_> {
    /// Up to where the log is in the states of a definition, as [`followed`](TablesRead::followed) says, remembered where it is known.
    pub fn followed_once(&self, definition: Position) -> Result<Option<Position>> {
        let facts = &self.committed.facts;
        remembered(&facts.followed, definition, || self.followed(definition))
    }

    /// What an index of the states of a definition is: by where it is defined, and where those are that have no place in its order.
    pub fn index_facts(
        &self,
        (definition, index): (Position, Position),
        faulty: impl FnOnce() -> TermRange,
        unordered: impl FnOnce() -> TermRange,
    ) -> Result<IndexFacts> {
        let mut facts = IndexFacts::USELESS;
        let known = remembered(&self.committed.facts.indexes, (index, definition), || {
            facts.serves = self.followed_once(definition)? == Some(self.checkpoint()?)
                && self.built(definition, index)? == Some(Built::Whole);
            if !facts.serves {
                return Ok(None);
            }
            let any = (self.has_any(definition, &faulty()), self.has_any(definition, &unordered()));
            // What is damaged is told to whoever reads it.
            let (Ok(has_faulty), Ok(has_unordered)) = any else { return Ok(None) };
            Ok(Some(IndexFacts { serves: true, has_faulty, has_unordered }))
        })?;
        Ok(known.unwrap_or(facts))
    }

    fn has_any(&self, definition: Position, range: &TermRange) -> Result<bool> {
        let mut any = false;
        self.found(definition, range, |_| {
            any = true;
            Ok(false)
        })?;
        Ok(any)
    }
}

/// What was found before, or is found now; what there is nothing of is looked for each time.
fn remembered<K: Ord + Copy, V: Copy>(
    known: &RwLock<BTreeMap<K, V>>,
    key: K,
    find: impl FnOnce() -> Result<Option<V>>,
) -> Result<Option<V>> {
    if let Some(found) = known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Some(*found));
    }
    let found = find()?;
    if let Some(found) = found {
        remember(known, key, found);
    }
    Ok(found)
}

fn remember<K: Ord, V>(known: &RwLock<BTreeMap<K, V>>, key: K, value: V) {
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() < MOST {
        known.insert(key, value);
    }
}
