//! Recent states: what entities were, where verbs looked at them last. It spares folding them again, and is never needed.

use std::collections::HashMap;
use std::sync::Arc;

use super::fold::Folded;
use crate::entity::{Entity, Position};
use crate::value::Value;

/// How many bytes of states are kept, roughly, and the largest of them.
const MOST: usize = 16 << 20;
const LARGEST: usize = 1 << 20;

/// What an entity was up to some position.
#[derive(Debug, Clone)]
pub(crate) struct CachedState {
    /// The definition that it was folded by, or that says in which form its events are read, whichever is newer.
    pub definition: Option<Position>,
    /// How many subjects had been forgotten when its events were read.
    pub forgotten: usize,
    pub folded: Arc<Folded>,
    /// All events up to there are folded.
    pub through: Position,
}

/// The states of some entities, those that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct StateCache {
    known: HashMap<Entity, (CachedState, usize, u64)>,
    bytes: usize,
    /// How often something was asked for or added.
    turn: u64,
}

impl StateCache {
    /// What is known of an entity by a definition.
    pub fn get(
        &mut self,
        entity: &Entity,
        definition: Option<Position>,
        forgotten: usize,
    ) -> Option<CachedState> {
        self.turn += 1;
        let (known, _, turn) = self.known.get_mut(entity)?;
        *turn = self.turn;
        (known.definition == definition && known.forgotten == forgotten).then(|| known.clone())
    }

    /// Adds what an entity was, instead of what is known of it.
    pub fn put(&mut self, entity: Entity, known: CachedState) {
        self.turn += 1;
        let size = weight(&known.folded.state) + 2 * (entity.kind().len() + entity.id().len()) + 256;
        if let Some((_, size, _)) = self.known.remove(&entity) {
            self.bytes -= size;
        }
        if size > LARGEST {
            return;
        }
        self.bytes += size;
        self.known.insert(entity, (known, size, self.turn));
        if self.bytes > MOST {
            self.forget_half();
        }
    }

    /// Forgets those that were asked for longest ago.
    fn forget_half(&mut self) {
        let mut turns: Vec<(u64, usize)> =
            self.known.values().map(|(_, size, turn)| (*turn, *size)).collect();
        turns.sort_unstable();
        let (mut freed, mut last) = (0, 0);
        for (turn, size) in turns {
            if freed >= MOST / 2 {
                break;
            }
            freed += size;
            last = turn;
        }
        self.known.retain(|_, (_, _, turn)| *turn > last);
        self.bytes -= freed;
    }
}

/// How many bytes a value takes, roughly.
pub(crate) fn weight(value: &Value) -> usize {
    let own = std::mem::size_of::<Value>();
    own + match value {
        Value::Text(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum(),
        _ => 0,
    }
}
