//! Scans: the events of a source in the order of the log, filtered, as they are pulled.
//!
//! A page of positions is looked up at a time, in one view of the log; pages begin small, so that a `LIMIT` reads little.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursor::Cursor;
use crate::entity::Position;
use crate::error::Result;
use crate::event::{Event, codec};
use crate::pattern::Pattern;
use crate::plan::{Events, Predicate, Source, Subscription, Take, Window, source_of};
use crate::store::snapshot::{Direction, LogScan, Snapshot};

/// How many positions are looked up at a time, at first and at most.
const FIRST_PAGE: usize = 8;
const LARGEST_PAGE: usize = 256;

/// The events of a plan. After an error there are no more.
pub(crate) struct Scan {
    feed: Feed,
    filter: Filter,
    left: u64,
    done: bool,
}

/// Bytes of events, before they are filtered.
enum Feed {
    Log(LogScan),
    Cursor {
        snapshot: Snapshot,
        cursor: Cursor,
        direction: Direction,
        page: VecDeque<(u64, Arc<[u8]>)>,
        size: usize,
    },
}

struct Filter {
    pattern: Option<Pattern>,
    window: Window,
    predicate: Option<Predicate>,
}

impl Scan {
    pub fn new(snapshot: &Snapshot, events: &Events) -> Result<Scan> {
        match events.take {
            Take::All => Ok(Scan::one_way(snapshot, events, Direction::Ascending, u64::MAX)),
            Take::First(n) => Ok(Scan::one_way(snapshot, events, Direction::Ascending, n)),
            Take::Last(n) => {
                // Found backwards, told forwards. Positions are kept, not events: n may be large.
                let backwards = Scan::one_way(snapshot, events, Direction::Descending, n);
                let found = backwards.map(|event| Ok(event?.position.0)).collect::<Result<Vec<_>>>()?;
                let source = Source::Positions(found.into_iter().rev().collect());
                let chosen =
                    Events { source, pattern: None, predicate: None, take: Take::All, window: events.window };
                Ok(Scan::one_way(snapshot, &chosen, Direction::Ascending, u64::MAX))
            }
        }
    }

    /// What a subscription wants of the past, after a position.
    pub fn past(snapshot: &Snapshot, subscription: &Subscription, after: Position) -> Result<Scan> {
        let (source, _) = source_of(snapshot, Some(subscription.pattern.clone()), &subscription.tags)?;
        let window = Window { after: after.0, ..Window::through(snapshot.head().0) };
        let pattern = Some(subscription.pattern.clone());
        let predicate = subscription.predicate.clone();
        Scan::new(snapshot, &Events { source, pattern, window, predicate, take: Take::All })
    }

    fn one_way(snapshot: &Snapshot, events: &Events, direction: Direction, left: u64) -> Scan {
        let window = events.window;
        let (first, last) = (window.after.saturating_add(1), window.through);
        let feed = match Cursor::new(snapshot, &events.source, first, last, direction) {
            None => Feed::Log(snapshot.log(first, last, direction)),
            Some(cursor) => Feed::Cursor {
                snapshot: snapshot.clone(),
                cursor,
                direction,
                page: VecDeque::new(),
                size: FIRST_PAGE,
            },
        };
        let filter = Filter { pattern: events.pattern.clone(), window, predicate: events.predicate.clone() };
        Scan { feed, filter, left, done: left == 0 }
    }

    fn pull(&mut self) -> Result<Option<Event>> {
        while let Some((position, bytes)) = self.feed.next()? {
            let event = codec::decode(Position(position), bytes)?;
            if self.filter.admits(&event) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Iterator for Scan {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.done {
            return None;
        }
        let next = self.pull().transpose();
        self.left -= 1;
        self.done = self.left == 0 || !matches!(next, Some(Ok(_)));
        next
    }
}

impl Filter {
    fn admits(&self, event: &Event) -> bool {
        self.window.occurred(event.timestamp)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(&event.kind))
            && self.predicate.as_ref().is_none_or(|predicate| predicate.holds(event))
    }
}

impl Subscription {
    /// Whether an event is one of those it delivers, wherever it stands.
    pub fn wants(&self, event: &Event) -> bool {
        self.pattern.matches(&event.kind)
            && self.tags.iter().all(|by| by.holds(event))
            && self.predicate.as_ref().is_none_or(|predicate| predicate.holds(event))
    }
}

impl Feed {
    fn next(&mut self) -> Result<Option<(u64, Arc<[u8]>)>> {
        match self {
            Feed::Log(scan) => scan.next().transpose(),
            Feed::Cursor { snapshot, cursor, direction, page, size } => {
                if page.is_empty() {
                    let mut positions = Vec::with_capacity(*size);
                    while positions.len() < *size
                        && let Some(position) = cursor.next(*direction)?
                    {
                        positions.push(position);
                    }
                    if positions.is_empty() {
                        return Ok(None);
                    }
                    *size = (*size * 2).min(LARGEST_PAGE);
                    *page = snapshot.read(|view| {
                        // A list may not lead beyond the head: `event` would say so.
                        let event = |&position: &u64| Some((position, view.event(position).transpose()?));
                        let events = positions.iter().filter_map(event);
                        events.map(|(position, bytes)| Ok((position, bytes?))).collect()
                    })?;
                }
                Ok(page.pop_front())
            }
        }
    }
}
