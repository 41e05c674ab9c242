//! Positions: places in the log, and runs of them; and versions, places in a history.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// An event's place in the history of its entity: 1, 2, 3 … `Version::NONE` (0) is an entity without events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// No event yet.
    pub const NONE: Version = Version(0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}

/// An event's place in the log: 1, 2, 3 … dense, gapless, never reused. `Position::START` (0) is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Position = Position(0);

    /// Of the first event.
    pub(crate) const FIRST: Position = Position(1);

    /// After all events that there will ever be.
    pub(crate) const MAX: Position = Position(u64::MAX);

    /// The place after this one.
    #[inline]
    pub fn next(self) -> Position {
        self.plus(1)
    }

    /// The place before this one; before the start there is none.
    #[inline]
    pub(crate) fn previous(self) -> Position {
        self.minus(1)
    }

    /// So many events further on. What is stored may say any number: it stops at the greatest.
    #[inline]
    pub(crate) fn plus(self, events: u64) -> Position {
        Position(self.0.saturating_add(events))
    }

    /// So many events further back, not beyond the start.
    #[inline]
    pub(crate) fn minus(self, events: u64) -> Position {
        Position(self.0.saturating_sub(events))
    }

    /// How many events lie behind another position, up to this one; none if it is not before this one.
    #[inline]
    pub(crate) fn since(self, other: Position) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// The place between this one and a later one, which it never is unless they are the same.
    #[inline]
    pub(crate) fn midway(self, later: Position) -> Position {
        self.plus(later.since(self) / 2)
    }

    /// How many places on from another, as an index; none if the other is behind this one.
    #[inline]
    pub(crate) fn index_from(self, other: Position) -> Option<usize> {
        usize::try_from(self.0.checked_sub(other.0)?).ok()
    }

    /// This position, and all after it.
    #[inline]
    pub(crate) fn onwards(self) -> impl Iterator<Item = Position> {
        (self.0..).map(Position)
    }

    /// As keys and frames have it: they sort as positions do.
    #[inline]
    pub(crate) fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// What [`to_be_bytes`](Self::to_be_bytes) made.
    #[inline]
    pub(crate) fn from_be_bytes(bytes: [u8; 8]) -> Position {
        Position(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A run of positions: both ends are within. One whose first is behind its last is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PositionRange {
    pub first: Position,
    pub last: Position,
}

impl PositionRange {
    /// Every position that an event has or will have.
    pub const ALL: PositionRange = PositionRange { first: Position::FIRST, last: Position::MAX };

    /// No position.
    pub const NONE: PositionRange = PositionRange { first: Position::FIRST, last: Position::START };

    #[inline]
    pub fn new(first: Position, last: Position) -> PositionRange {
        PositionRange { first, last }
    }

    /// Those after a position, up to another, which is within.
    #[inline]
    pub fn between(after: Position, through: Position) -> PositionRange {
        match after {
            Position::MAX => PositionRange::NONE,
            after => PositionRange { first: after.next(), last: through },
        }
    }

    /// Those after a position.
    #[inline]
    pub fn after(after: Position) -> PositionRange {
        PositionRange::between(after, Position::MAX)
    }

    /// Those up to a position, which is within.
    #[inline]
    pub fn through(last: Position) -> PositionRange {
        PositionRange { last, ..PositionRange::ALL }
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// How many positions it has.
    #[inline]
    pub fn len(self) -> u64 {
        if self.is_empty() { 0 } else { self.last.since(self.first).saturating_add(1) }
    }

    #[inline]
    pub fn contains(self, position: Position) -> bool {
        (self.first..=self.last).contains(&position)
    }

    /// Those of them that are in another run, too.
    #[inline]
    pub fn and(self, other: PositionRange) -> PositionRange {
        PositionRange { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// Those of some positions, in ascending order, that are within.
    #[inline]
    pub fn of(self, positions: &[Position]) -> &[Position] {
        let start = positions.partition_point(|position| *position < self.first);
        let end = positions.partition_point(|position| *position <= self.last);
        positions.get(start..end).unwrap_or_default()
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = Position> {
        (self.first.0..=self.last.0).map(Position)
    }
}

impl fmt::Display for PositionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}

/// A position that several threads read and move on.
#[derive(Debug, Default)]
pub(crate) struct AtomicPosition(AtomicU64);

impl AtomicPosition {
    pub fn new(position: Position) -> AtomicPosition {
        AtomicPosition(AtomicU64::new(position.0))
    }

    pub fn load(&self, ordering: Ordering) -> Position {
        Position(self.0.load(ordering))
    }

    pub fn store(&self, position: Position, ordering: Ordering) {
        self.0.store(position.0, ordering);
    }

    /// Moves it on, never back.
    pub fn advance(&self, position: Position, ordering: Ordering) {
        self.0.fetch_max(position.0, ordering);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_both_its_ends() {
        let range = PositionRange::between(Position(2), Position(4));
        assert_eq!(range.iter().collect::<Vec<_>>(), [Position(3), Position(4)]);
        assert_eq!(range.len(), 2);
        assert_eq!(range.of(&[1, 3, 4, 9].map(Position)), [3, 4].map(Position));
        assert_eq!(
            range.and(PositionRange::after(Position(3))),
            PositionRange::new(Position(4), Position(4))
        );
    }

    #[test]
    fn nothing_lies_after_the_greatest_position() {
        assert!(PositionRange::after(Position::MAX).is_empty());
        assert_eq!(Position::MAX.next(), Position::MAX);
        assert_eq!((PositionRange::NONE.len(), PositionRange::NONE.iter().count()), (0, 0));
    }
}
