//! Closings: which events in the tables close an entity, as far as that is remembered.

use crate::entity::Position;

/// So many events are remembered. Where more have closed something, the newest event of a history is looked at.
const MOST: usize = if cfg!(test) { 3 } else { 1 << 16 };

/// Which events in the tables close an entity.
#[derive(Debug)]
pub(super) struct Closings {
    /// Up to here they are known.
    pub through: Position,
    pub newest: Position,
    /// Ascending; none where they are too many.
    all: Option<Vec<Position>>,
}

impl Closings {
    pub fn new() -> Closings {
        Closings { through: Position::START, newest: Position::START, all: Some(Vec::new()) }
    }

    /// Whether an event is one of them; none where that is not known.
    pub fn has(&self, position: Position) -> Option<bool> {
        let known = self.all.as_ref().filter(|_| position <= self.through)?;
        Some(known.binary_search(&position).is_ok())
    }

    /// Adds the next ones.
    pub fn add(&mut self, next: Vec<Position>) {
        let Some(&last) = next.last() else { return };
        (self.newest, self.through) = (last, last);
        match &mut self.all {
            Some(all) if all.len() + next.len() <= MOST => all.extend(next),
            all => *all = None,
        }
    }
}
