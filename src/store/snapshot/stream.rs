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

/// The events that the fold of an entity reads, a page at a time. After an error there are no more.
#[derive(Debug)]
pub(crate) struct Stream {
    snapshot: Snapshot,
    entity: Entity,
    own: Peekable<PostingList>,
    included: Vec<(Peekable<PostingList>, Pattern)>,
    page: VecDeque<Folding>,
    size: usize,
}

/// An event on its way into a fold.
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
            page: VecDeque::new(),
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
            let (mut ahead, mut own) = (VecDeque::new(), VecDeque::new());
            while ahead.len() < self.size
                && let Some((position, is_own)) = self.next_position()?
            {
                ahead.push_back(position);
                own.push_back(is_own);
            }
            if ahead.is_empty() {
                return Ok(());
            }
            self.size = (self.size * 2).min(MOST);
            let Stream { snapshot, entity, included, page, .. } = self;
            while !ahead.is_empty() {
                let before = ahead.len();
                let mut held = 0;
                // What was lent is taken from the front of both: a read that is interrupted goes on where it was.
                snapshot.read(|view| {
                    view.lend(&mut ahead, |position, bytes| {
                        let Some(own) = own.pop_front() else { return Ok(false) };
                        if own || is_included(entity, included, position, bytes)? {
                            held += bytes.len();
                            page.push_back(Folding { position, bytes: Arc::from(bytes), own });
                        }
                        Ok(held < BYTES)
                    })
                })?;
                snapshot.tally().add_events((before - ahead.len()) as u64);
            }
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

impl Iterator for Stream {
    type Item = Result<Folding>;

    fn next(&mut self) -> Option<Result<Folding>> {
        if self.page.is_empty()
            && let Err(error) = self.fill()
        {
            self.included.clear();
            self.own = self
                .snapshot
                .list(Term::from_bytes(&[]), PositionRange::NONE, ScanDirection::Ascending)
                .peekable();
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}
