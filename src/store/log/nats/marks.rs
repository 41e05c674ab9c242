//! Where positions are in the stream: the sequence of the message that each ends with, of those that were read or appended lately.

use std::collections::VecDeque;

use crate::entity::Position;

/// How many are kept beside those that a checkpoint still asks for: more than are read ahead.
const LATELY: usize = 4096;

/// Pairs of a last position and a sequence, in order. What ticks stand behind an event belong to it: of each position it is the last sequence
/// that is known.
#[derive(Debug, Default)]
pub(super) struct Marks {
    lately: VecDeque<(Position, u64)>,
    /// Where memtables end that the tables do not hold yet.
    turned: VecDeque<(Position, u64)>,
}

impl Marks {
    pub fn new(position: Position, sequence: u64) -> Marks {
        Marks { lately: VecDeque::from([(position, sequence)]), turned: VecDeque::new() }
    }

    /// A message ends at a position. What is known already is not told again.
    pub fn add(&mut self, position: Position, sequence: u64) {
        match self.lately.back_mut() {
            Some((_, last)) if *last >= sequence => {}
            Some((before, last)) if *before == position => *last = sequence,
            _ => self.lately.push_back((position, sequence)),
        }
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
    }

    /// The last sequence that belongs to a position.
    pub fn sequence_of(&self, position: Position) -> Option<u64> {
        let at = self.lately.binary_search_by_key(&position, |(position, _)| *position);
        let lately = at.ok().and_then(|at| self.lately.get(at));
        let turned = || self.turned.iter().find(|(turned, _)| *turned == position);
        lately.or_else(turned).map(|(_, sequence)| *sequence)
    }

    /// A memtable ends at a position: its mark is kept until [`release`](Marks::release).
    pub fn turn(&mut self, position: Position) {
        if let Some(sequence) = self.sequence_of(position) {
            self.turned.push_back((position, sequence));
        }
    }

    /// The tables hold everything up to a position.
    pub fn release(&mut self, through: Position) {
        self.turned.retain(|(position, _)| *position > through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_its_last_sequence() {
        let mut marks = Marks::new(Position(10), 4);
        marks.add(Position(12), 5);
        marks.add(Position(12), 6);
        marks.add(Position(13), 7);
        marks.add(Position(12), 6);
        assert_eq!(
            [10, 11, 12, 13].map(|at| marks.sequence_of(Position(at))),
            [Some(4), None, Some(6), Some(7)]
        );
    }

    #[test]
    fn where_memtables_end_is_kept_until_the_tables_hold_it() {
        let mut marks = Marks::new(Position(0), 1);
        marks.add(Position(1), 2);
        marks.turn(Position(1));
        (2..10_000).for_each(|at| marks.add(Position(at), at + 1));
        assert_eq!(marks.lately.len(), LATELY);
        assert_eq!((marks.sequence_of(Position(1)), marks.sequence_of(Position(2))), (Some(2), None));
        marks.release(Position(1));
        assert_eq!(marks.sequence_of(Position(1)), None);
        assert_eq!(marks.sequence_of(Position(9_999)), Some(10_000));
    }
}
