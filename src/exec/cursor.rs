//! Cursors: positions in the order of the log, one way or the other, that can leap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use crate::entity::{Position, PositionRange};
use crate::error::Result;
use crate::plan::{Bitmap, Gathered, PositionSource};
use crate::store::index::term::{Term, TermRange};
use crate::store::snapshot::{PostingList, ScanDirection, Snapshot};

/// Positions, each once, in one direction.
pub(super) enum PositionCursor {
    List { list: PostingList, next: Option<Position>, started: bool },
    Positions(VecDeque<Position>),
    Union { members: Vec<PositionCursor>, heads: Heads, started: bool },
    Swept(RangeScan),
    Intersection(Vec<PositionCursor>),
}

/// The positions of many lists, gathered when the first of them is wanted.
pub(super) struct RangeScan {
    snapshot: Snapshot,
    ranges: Vec<TermRange>,
    within: PositionRange,
    gathered: Gathered,
    set: Option<Arc<Bitmap>>,
    /// What is left.
    left: PositionRange,
}

impl RangeScan {
    fn peek(&mut self, direction: ScanDirection) -> Result<Option<Position>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let set = match &self.set {
            Some(set) => set,
            None => {
                let set = self.gathered.get(|| {
                    let mut set = Bitmap::default();
                    let memory = self.snapshot.query_memory() as u64;
                    for range in &self.ranges {
                        let take = |entries: &[Position]| {
                            entries.iter().try_for_each(|&position| set.insert(position, memory))
                        };
                        self.snapshot.sweep(range, self.within, take)?;
                    }
                    Ok(set)
                })?;
                self.set.insert(set)
            }
        };
        let found = match direction {
            ScanDirection::Ascending => set.at_or_after(self.left.first),
            ScanDirection::Descending => set.at_or_before(self.left.last),
        };
        let found = found.filter(|found| self.left.contains(*found));
        match found {
            Some(found) => self.seek(found, direction),
            None => self.left = PositionRange::NONE,
        }
        Ok(found)
    }

    fn seek(&mut self, to: Position, direction: ScanDirection) {
        match direction {
            ScanDirection::Ascending => self.left.first = self.left.first.max(to),
            ScanDirection::Descending => self.left.last = self.left.last.min(to),
        }
    }
}

/// The next position of each member, the nearest on top.
pub(super) enum Heads {
    Ascending(BinaryHeap<Reverse<(Position, usize)>>),
    Descending(BinaryHeap<(Position, usize)>),
}

impl Heads {
    fn new(direction: ScanDirection) -> Heads {
        match direction {
            ScanDirection::Ascending => Heads::Ascending(BinaryHeap::new()),
            ScanDirection::Descending => Heads::Descending(BinaryHeap::new()),
        }
    }

    fn push(&mut self, position: Position, member: usize) {
        match self {
            Heads::Ascending(heap) => heap.push(Reverse((position, member))),
            Heads::Descending(heap) => heap.push((position, member)),
        }
    }

    fn peek(&self) -> Option<(Position, usize)> {
        match self {
            Heads::Ascending(heap) => heap.peek().map(|head| head.0),
            Heads::Descending(heap) => heap.peek().copied(),
        }
    }

    fn pop(&mut self) {
        match self {
            Heads::Ascending(heap) => drop(heap.pop()),
            Heads::Descending(heap) => drop(heap.pop()),
        }
    }
}

/// Whether `a` comes before `b`.
fn before(direction: ScanDirection, a: Position, b: Position) -> bool {
    match direction {
        ScanDirection::Ascending => a < b,
        ScanDirection::Descending => a > b,
    }
}

impl PositionCursor {
    /// The positions of a source within a range. [`PositionSource::Log`] has no list: it is scanned, not looked up.
    pub fn new(
        snapshot: &Snapshot,
        source: &PositionSource,
        range: PositionRange,
        direction: ScanDirection,
    ) -> Option<PositionCursor> {
        let list = |term: &Term| PositionCursor::List {
            list: snapshot.list(term.clone(), range, direction),
            next: None,
            started: false,
        };
        Some(match source {
            PositionSource::Log => return None,
            PositionSource::List(lookup) => list(&lookup.term),
            PositionSource::Positions(positions) => {
                let mut within: VecDeque<Position> = range.of(positions).to_vec().into();
                if direction == ScanDirection::Descending {
                    within.make_contiguous().reverse();
                }
                PositionCursor::Positions(within)
            }
            PositionSource::Ranges { ranges, within, gathered, .. } => PositionCursor::Swept(RangeScan {
                snapshot: snapshot.clone(),
                ranges: ranges.clone(),
                within: *within,
                gathered: gathered.clone(),
                set: None,
                left: range.and(PositionRange::ALL),
            }),
            PositionSource::Union { lists, .. } => PositionCursor::Union {
                members: lists.iter().map(|lookup| list(&lookup.term)).collect(),
                heads: Heads::new(direction),
                started: false,
            },
            PositionSource::Intersection(sources) => {
                let members =
                    sources.iter().map(|source| PositionCursor::new(snapshot, source, range, direction));
                PositionCursor::Intersection(members.collect::<Option<_>>()?)
            }
            PositionSource::Any(sources) => {
                let members =
                    sources.iter().map(|source| PositionCursor::new(snapshot, source, range, direction));
                PositionCursor::Union {
                    members: members.collect::<Option<_>>()?,
                    heads: Heads::new(direction),
                    started: false,
                }
            }
        })
    }

    /// The next position, left where it is.
    pub fn peek(&mut self, direction: ScanDirection) -> Result<Option<Position>> {
        match self {
            PositionCursor::List { list, next, started } => {
                if !*started {
                    *next = list.next().transpose()?;
                    *started = true;
                }
                Ok(*next)
            }
            PositionCursor::Positions(positions) => Ok(positions.front().copied()),
            PositionCursor::Swept(swept) => swept.peek(direction),
            PositionCursor::Union { members, heads, started } => {
                if !*started {
                    for (at, member) in members.iter_mut().enumerate() {
                        if let Some(head) = member.peek(direction)? {
                            heads.push(head, at);
                        }
                    }
                    *started = true;
                }
                Ok(heads.peek().map(|(head, _)| head))
            }
            PositionCursor::Intersection(members) => {
                // Leapfrog: whoever lags leaps to the farthest, until all stand on one position.
                let Some((first, others)) = members.split_first_mut() else { return Ok(None) };
                let Some(mut target) = first.peek(direction)? else { return Ok(None) };
                'all: loop {
                    for member in others.iter_mut() {
                        member.seek(target, direction)?;
                        match member.peek(direction)? {
                            None => return Ok(None),
                            Some(found) if found != target => {
                                first.seek(found, direction)?;
                                let Some(found) = first.peek(direction)? else { return Ok(None) };
                                target = found;
                                continue 'all;
                            }
                            Some(_) => {}
                        }
                    }
                    return Ok(Some(target));
                }
            }
        }
    }

    /// The next position, taken.
    pub fn next(&mut self, direction: ScanDirection) -> Result<Option<Position>> {
        let Some(position) = self.peek(direction)? else { return Ok(None) };
        match direction {
            ScanDirection::Ascending => self.seek(position.next(), direction)?,
            ScanDirection::Descending => self.seek(position.previous(), direction)?,
        }
        Ok(Some(position))
    }

    /// Leaves out everything before a position.
    pub fn seek(&mut self, to: Position, direction: ScanDirection) -> Result<()> {
        match self {
            PositionCursor::List { list, next, started } => {
                if *started && next.is_none_or(|next| !before(direction, next, to)) {
                    return Ok(());
                }
                list.seek(to);
                *next = list.next().transpose()?;
                *started = true;
            }
            PositionCursor::Positions(positions) => {
                while positions.front().is_some_and(|&p| before(direction, p, to)) {
                    positions.pop_front();
                }
            }
            PositionCursor::Swept(swept) => swept.seek(to, direction),
            PositionCursor::Union { .. } => {
                self.peek(direction)?;
                let PositionCursor::Union { members, heads, .. } = self else { return Ok(()) };
                while let Some((head, at)) = heads.peek().filter(|(head, _)| before(direction, *head, to)) {
                    debug_assert!(before(direction, head, to));
                    heads.pop();
                    if let Some(member) = members.get_mut(at) {
                        member.seek(to, direction)?;
                        if let Some(head) = member.peek(direction)? {
                            heads.push(head, at);
                        }
                    }
                }
            }
            PositionCursor::Intersection(members) => {
                // The others follow when somebody looks.
                if let Some(first) = members.first_mut() {
                    first.seek(to, direction)?;
                }
            }
        }
        Ok(())
    }
}
