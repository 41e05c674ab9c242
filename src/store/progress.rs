//! What is known to be done for what is defined, so that a definition more costs about the same, however many there are.
//!
//! All that is to be done for definitions follows from the tables and the catalog. Looking at each of them after each step would take
//! ever longer, so it is remembered up to where there is nothing to do: definitions only come behind that. A checkpoint and an
//! error make it forget.

use crate::entity::Position;

/// Up to which positions the definitions have all that is to be done for them. Zero is no position: nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// C, as of which this is about states and views.
    checkpoint: Position,
    /// Entities, and the indexes of their states that there were.
    pub models: Position,
    /// Indexes of states.
    pub finders: Position,
    pub views: Position,
    /// Indexes of events. What is complete stays so.
    pub indexes: Position,
    /// Nothing is left of what ended: lists, and states.
    pub no_lists: bool,
    pub no_states: bool,
}

impl Progress {
    /// What is known of states and views as of C.
    pub fn as_of(&mut self, checkpoint: Position) -> &mut Progress {
        if self.checkpoint != checkpoint {
            // What was in a memtable may have brought something to what ended meanwhile.
            *self = Progress { checkpoint, indexes: self.indexes, ..Progress::default() };
        }
        self
    }

    /// Something ended.
    pub fn ended(&mut self) {
        (self.no_lists, self.no_states) = (false, false);
    }

    /// Nothing is known: an error may have taken something back.
    pub fn forget(&mut self) {
        *self = Progress::default();
    }
}
