//! Streams: the events that the fold of an entity reads, its own and those that are included, in the order of the log.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;

use super::{PostingList, ScanDirection, Snapshot};
use crate::entity::{Entity, Position, PositionRange};
use crate::error::Result;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::store::index::term::Term;
use crate::store::state::fold::Fold;

/// How many events are read at a time, at first and at most, and how many bytes of them about.
const FIRST: usize = 16;
const MOST: usize = 256;
const BYTES: usize = 4 << 20;

/// How many bytes an event has, about.
const ABOUT: usize = 300;

/// The events that the fold of an entity reads, a page at a time. After an error there are no more.
#[derive(Debug)]
pub(crate) struct Stream {
    snapshot: Snapshot,
    entity: Entity,
    own: Peekable<PostingList>,
    included: Vec<(Peekable<PostingList>, Pattern)>,
    /// What is to be read next, and whether the entity's own list has it.
    ahead: VecDeque<Position>,
    ahead_own: VecDeque<bool>,
    page: VecDeque<PagedEvent>,
    /// The bytes of the events of the page, one behind the other.
    bytes: Vec<u8>,
    size: usize,
}

/// An event of a page: where its bytes are.
#[derive(Debug, Clone, Copy)]
struct PagedEvent {
    position: Position,
    start: usize,
    end: usize,
    own: bool,
}

/// An event on its way into a fold, lent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LentEvent<'s> {
    pub position: Position,
    pub bytes: &'s [u8],
    /// Of the entity itself, not included.
    pub own: bool,
}

impl<'s> LentEvent<'s> {
    /// The event, to be read in place.
    pub fn record(&self) -> Result<Record<'s>> {
        Record::open(self.position, self.bytes)
    }
}

/// The same, to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Folding {
    pub position: Position,
    pub bytes: Arc<[u8]>,
    /// Of the entity itself, not included.
    pub own: bool,
}

impl Folding {
    /// The event, to be read in place.
    pub fn record(&self) -> Result<Record<'_>> {
        Record::open(self.position, &self.bytes)
    }
}

impl Stream {
    pub(super) fn new(
        snapshot: &Snapshot,
        entity: &Entity,
        fold: &dyn Fold,
        range: PositionRange,
    ) -> Result<Stream> {
        let list = |term| snapshot.list(term, range, ScanDirection::Ascending).peekable();
        let mut included = Vec::new();
        for include in fold.includes() {
            for term in Term::tags_of_id(&include.tag, entity.id()) {
                included.push((list(term), include.on.clone()));
            }
        }
        Ok(Stream {
            snapshot: snapshot.clone(),
            entity: entity.clone(),
            own: list(Term::entity(entity)?),
            included,
            ahead: VecDeque::new(),
            ahead_own: VecDeque::new(),
            page: VecDeque::new(),
            bytes: Vec::new(),
            size: FIRST,
        })
    }

    /// The next position, and whether the entity's own list has it.
    fn next_position(&mut self) -> Result<Option<(Position, bool)>> {
        let mut next: Option<Position> = None;
        let lists = std::iter::once(&mut self.own).chain(self.included.iter_mut().map(|(list, _)| list));
        for list in lists {
            if let Some(found) = list.peek() {
                let found = found.clone()?;
                next = Some(next.map_or(found, |next| next.min(found)));
            }
        }
        let Some(next) = next else { return Ok(None) };
        let own = self.own.next_if(|found| matches!(found, Ok(p) if *p == next)).is_some();
        for (list, _) in &mut self.included {
            list.next_if(|found| matches!(found, Ok(p) if *p == next));
        }
        Ok(Some((next, own)))
    }

    fn fill(&mut self) -> Result<()> {
        while self.page.is_empty() {
            if self.ahead.is_empty() {
                while self.ahead.len() < self.size
                    && let Some((position, is_own)) = self.next_position()?
                {
                    self.ahead.push_back(position);
                    self.ahead_own.push_back(is_own);
                }
                if self.ahead.is_empty() {
                    return Ok(());
                }
                self.size = (self.size * 2).min(MOST);
            }
            let Stream { snapshot, entity, included, ahead, ahead_own, page, bytes: paged, .. } = self;
            paged.clear();
            paged.reserve(ahead.len() * ABOUT);
            let before = ahead.len();
            // What was lent is taken from the front of both: a read that is interrupted goes on where it was.
            snapshot.read(|view| {
                view.lend(ahead, |position, bytes| {
                    let Some(own) = ahead_own.pop_front() else { return Ok(false) };
                    if own || is_included(entity, included, position, bytes)? {
                        let start = paged.len();
                        paged.extend_from_slice(bytes);
                        page.push_back(PagedEvent { position, start, end: paged.len(), own });
                    }
                    Ok(paged.len() < BYTES)
                })
            })?;
            snapshot.tally().add_events((before - ahead.len()) as u64);
        }
        Ok(())
    }
}

/// Whether an event that has the tag is one of those that are included: of one of the types, and of another entity.
fn is_included(
    entity: &Entity,
    included: &[(Peekable<PostingList>, Pattern)],
    position: Position,
    bytes: &[u8],
) -> Result<bool> {
    let event = Record::open(position, bytes)?;
    let another =
        event.target().is_none_or(|target| (target.kind, target.id) != (entity.kind(), entity.id()));
    Ok(another && included.iter().any(|(_, on)| on.matches_text(event.kind())))
}

impl Stream {
    /// Lends the next event; none once there are no more.
    pub fn lend(&mut self) -> Result<Option<LentEvent<'_>>> {
        if self.page.is_empty()
            && let Err(error) = self.fill()
        {
            self.included.clear();
            self.ahead.clear();
            self.page.clear();
            self.ahead_own.clear();
            self.own = self
                .snapshot
                .list(Term::from_bytes(&[]), PositionRange::NONE, ScanDirection::Ascending)
                .peekable();
            return Err(error);
        }
        let Some(PagedEvent { position, start, end, own }) = self.page.pop_front() else { return Ok(None) };
        Ok(Some(LentEvent { position, bytes: self.bytes.get(start..end).unwrap_or_default(), own }))
    }
}

impl Iterator for Stream {
    type Item = Result<Folding>;

    fn next(&mut self) -> Option<Result<Folding>> {
        let lent = self.lend().transpose()?;
        Some(lent.map(|LentEvent { position, bytes, own }| Folding {
            position,
            bytes: Arc::from(bytes),
            own,
        }))
    }
}
