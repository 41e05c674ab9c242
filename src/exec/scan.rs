//! Scans: the events of a source in the order of the log, filtered, as they are pulled.
//!
//! Rows are looked at where they lie, within one view of the log; only what passes the filter becomes an event. Who needs no
//! events, because they are counted or summed, is lent the [`Record`]s instead. Pages begin small, so that a `LIMIT` reads little.

use std::collections::VecDeque;
use std::sync::Arc;

use super::budget::Budget;
use super::cursor::PositionCursor;
use super::zone_map::ZoneMap;
use crate::allowance::Limits;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event::record::{NameCache, Record};
use crate::pattern::Pattern;
use crate::plan::{
    AccessPath, AccessQuery, By, EventsPlan, LogWindow, Predicate, RowLimit, SubscriptionPlan, choose,
};
use crate::store::snapshot::{LogScan, ScanDirection, Snapshot};

/// How many events are found, and how many positions looked up, at a time: at first and at most.
const FIRST_PAGE: usize = 8;
const LARGEST_PAGE: usize = 256;

/// So many are found at once, where no more are wanted.
const LARGEST_FIRST_PAGE: usize = 32;

/// How many bytes of what is made of events are held, about, however many are wanted at a time.
pub(super) const PAGE_BYTES: usize = 4 << 20;

/// How many rows are looked at within one view, which pins what it sees, and before somebody may cancel.
const ROWS: usize = 4096;

/// The events of a plan. After an error there are no more.
pub(crate) struct EventScan {
    snapshot: Snapshot,
    feed: ScanSource,
    filter: Filter,
    left: u64,
    /// Found, and not pulled yet.
    page: VecDeque<Event>,
    names: NameCache,
    size: usize,
    /// Met after what was found, and told after it.
    failed: Option<Error>,
    done: bool,
}

/// Stored events, before they are filtered.
enum ScanSource {
    Log(LogScan),
    /// What is left of the log when the runs are passed over that hold nothing wanted.
    Runs {
        run: LogScan,
        zones: ZoneMap,
        direction: ScanDirection,
        left: PositionRange,
    },
    Cursor {
        cursor: PositionCursor,
        zones: Option<ZoneMap>,
        direction: ScanDirection,
        /// Next to be looked up.
        ahead: VecDeque<Position>,
        size: usize,
    },
}

struct Filter {
    pattern: Option<Pattern>,
    checks: Vec<By>,
    window: LogWindow,
    predicate: Option<Predicate>,
    limits: Limits,
}

impl EventScan {
    /// To be pulled.
    pub fn new(snapshot: &Snapshot, events: &EventsPlan) -> Result<EventScan> {
        match events.take {
            // Found backwards, told forwards.
            RowLimit::Last(n) if n <= LARGEST_PAGE as u64 => {
                let backwards = EventScan::one_way(snapshot, events, ScanDirection::Descending, n);
                let (mut found, mut held) = (VecDeque::new(), 0);
                for next in backwards.made(|record, bytes| {
                    let event = record.to_event(&Arc::from(bytes))?;
                    Ok(((bytes.len(), event), bytes.len()))
                }) {
                    let (bytes, event) = next?;
                    found.push_front(event);
                    held += bytes;
                    if held > PAGE_BYTES && found.len() > 1 {
                        return EventScan::to_lend(snapshot, events);
                    }
                }
                Ok(EventScan { page: found, left: n, ..EventScan::chosen(snapshot, VecDeque::new()) })
            }
            _ => EventScan::to_lend(snapshot, events),
        }
    }

    /// To be lent: see [`each`](EventScan::each).
    pub fn to_lend(snapshot: &Snapshot, events: &EventsPlan) -> Result<EventScan> {
        match events.take {
            RowLimit::All => Ok(EventScan::one_way(snapshot, events, ScanDirection::Ascending, u64::MAX)),
            RowLimit::First(n) => Ok(EventScan::one_way(snapshot, events, ScanDirection::Ascending, n)),
            RowLimit::Newest(n) => Ok(EventScan::one_way(snapshot, events, ScanDirection::Descending, n)),
            RowLimit::Last(n) => {
                // Positions are kept, not events: n may be large.
                let budget = Budget::new(snapshot, "LAST");
                let mut found = Vec::new();
                EventScan::one_way(snapshot, events, ScanDirection::Descending, n).each(|record| {
                    // Here, and once more where they are read from.
                    budget.take(2 * size_of::<Position>())?;
                    found.push(record.position());
                    Ok(true)
                })?;
                found.reverse();
                let chosen = EventsPlan {
                    access: AccessPath::positions(found),
                    predicate: None,
                    take: RowLimit::All,
                    window: events.window,
                };
                Ok(EventScan::one_way(snapshot, &chosen, ScanDirection::Ascending, u64::MAX))
            }
        }
    }

    /// The events at these positions, in whatever order they are.
    pub fn chosen(snapshot: &Snapshot, positions: VecDeque<Position>) -> EventScan {
        let window = LogWindow::through(Position::MAX);
        let access = AccessPath::positions(Vec::new());
        let events = EventsPlan { access, predicate: None, take: RowLimit::All, window };
        let mut scan =
            EventScan::one_way(snapshot, &events, ScanDirection::Ascending, positions.len() as u64);
        if let ScanSource::Cursor { ahead, .. } = &mut scan.feed {
            *ahead = positions;
        }
        scan
    }

    /// What a subscription wants of the past, after a position.
    pub fn past(snapshot: &Snapshot, subscription: &SubscriptionPlan, after: Position) -> Result<EventScan> {
        let question = AccessQuery {
            pattern: Some(subscription.pattern.clone()),
            by: subscription.tags.clone(),
            predicate: subscription.predicate.clone(),
            window: LogWindow { after, ..LogWindow::through(snapshot.head()) },
            take: RowLimit::All,
            indexed: true,
        };
        EventScan::new(snapshot, &choose(snapshot, question)?)
    }

    /// Those of a plan in a part of its window, oldest first.
    pub fn within(snapshot: &Snapshot, events: &EventsPlan, window: LogWindow) -> EventScan {
        EventScan::of(snapshot, events, window, ScanDirection::Ascending, u64::MAX)
    }

    fn one_way(snapshot: &Snapshot, events: &EventsPlan, direction: ScanDirection, left: u64) -> EventScan {
        EventScan::of(snapshot, events, events.window, direction, left)
    }

    fn of(
        snapshot: &Snapshot,
        events: &EventsPlan,
        window: LogWindow,
        direction: ScanDirection,
        left: u64,
    ) -> EventScan {
        let access = &events.access;
        let range = window.positions();
        let zones = ZoneMap::new(snapshot, access.times, direction);
        let few = usize::try_from(left).ok().filter(|left| *left <= LARGEST_FIRST_PAGE);
        let size = few.unwrap_or_default().max(FIRST_PAGE);
        let feed = match (PositionCursor::new(snapshot, &access.source, range, direction), zones) {
            (None, None) => ScanSource::Log(snapshot.log(range, direction)),
            (None, Some(zones)) => {
                let left = range.and(PositionRange::through(snapshot.head()));
                ScanSource::Runs { run: snapshot.log(PositionRange::NONE, direction), zones, direction, left }
            }
            (Some(cursor), zones) => {
                ScanSource::Cursor { cursor, zones, direction, ahead: VecDeque::new(), size }
            }
        };
        let filter = Filter {
            pattern: access.pattern.clone(),
            checks: access.checks.clone(),
            window,
            predicate: events.predicate.clone(),
            limits: snapshot.query_limits(),
        };
        let (snapshot, page) = (snapshot.clone(), VecDeque::new());
        EventScan {
            snapshot,
            feed,
            filter,
            left,
            page,
            names: NameCache::default(),
            size,
            failed: None,
            done: left == 0,
        }
    }

    /// Lends each event that is left until it is told to stop.
    pub fn each(&mut self, mut take: impl FnMut(&Record) -> Result<bool>) -> Result<()> {
        let EventScan { snapshot, feed, filter, left, done, .. } = self;
        while !*done {
            let more = feed.lend(snapshot, |position, bytes| {
                let record = Record::open(position, bytes)?;
                if filter.admits(&record)? {
                    snapshot.tally().add_admitted(1);
                    *left -= 1;
                    *done = !take(&record)? || *left == 0;
                }
                Ok(!*done)
            });
            *done |= !more?;
        }
        Ok(())
    }

    /// Finds more of what is left, within a view or several, and puts what is made of each behind what was found before. With it is
    /// told how many bytes of it are held from then on.
    fn find<T>(
        &mut self,
        wanted: usize,
        found: &mut VecDeque<T>,
        mut make: impl FnMut(&Record, &[u8]) -> Result<(T, usize)>,
    ) -> Result<()> {
        let EventScan { snapshot, feed, filter, done, .. } = self;
        let mut held = 0;
        while found.len() < wanted && held < PAGE_BYTES && !*done {
            let before = found.len();
            let more = feed.lend(snapshot, |position, bytes| {
                let record = Record::open(position, bytes)?;
                if filter.admits(&record)? {
                    let (made, bytes) = make(&record, bytes)?;
                    found.push_back(made);
                    held += bytes;
                }
                Ok(found.len() < wanted && held < PAGE_BYTES)
            });
            snapshot.tally().add_admitted((found.len() - before) as u64);
            *done = !more?;
        }
        Ok(())
    }

    /// How many to find at a time, this time.
    fn next_page(&mut self) -> usize {
        let size = self.size;
        self.size = (size * 2).min(LARGEST_PAGE);
        usize::try_from(self.left).unwrap_or(usize::MAX).min(size)
    }

    fn fill(&mut self) -> Result<()> {
        let wanted = self.next_page();
        let (mut page, mut names) = (std::mem::take(&mut self.page), std::mem::take(&mut self.names));
        let found = self.find(wanted, &mut page, |record, bytes| {
            Ok((record.to_event_sharing(&Arc::from(bytes), &mut names)?, bytes.len()))
        });
        (self.page, self.names) = (page, names);
        found
    }

    /// What is made of the next events that are left, of so many at most; nothing once there are none. With each is told how many bytes
    /// are held for it. An error comes behind what was found before it.
    pub fn take<T>(
        &mut self,
        wanted: usize,
        make: impl FnMut(&Record, &[u8]) -> Result<(T, usize)>,
    ) -> Result<VecDeque<T>> {
        let mut found = VecDeque::new();
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if !self.done
            && let Err(error) = self.find(wanted, &mut found, make)
        {
            self.done = true;
            if found.is_empty() {
                return Err(error);
            }
            self.failed = Some(error);
        }
        Ok(found)
    }

    /// What is made of each event that is left, as it is pulled, and how many bytes are held for it until then.
    pub fn made<T, M: FnMut(&Record, &[u8]) -> Result<(T, usize)>>(self, make: M) -> MappedScan<T, M> {
        MappedScan { scan: self, make, page: VecDeque::new() }
    }
}

/// What is made of the events of a scan. After an error there is no more.
pub(crate) struct MappedScan<T, M> {
    scan: EventScan,
    make: M,
    page: VecDeque<T>,
}

impl<T, M: FnMut(&Record, &[u8]) -> Result<(T, usize)>> Iterator for MappedScan<T, M> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let MappedScan { scan, make, page } = self;
        if page.is_empty() && !scan.done {
            let wanted = scan.next_page();
            if let Err(error) = scan.find(wanted, page, make) {
                scan.done = true;
                scan.failed = Some(error);
            }
            scan.left -= page.len() as u64;
            scan.done |= scan.left == 0;
        }
        page.pop_front().map(Ok).or_else(|| scan.failed.take().map(Err))
    }
}

impl Iterator for EventScan {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.fill()
        {
            self.done = true;
            self.failed = Some(error);
        }
        match self.page.pop_front() {
            Some(event) => {
                self.left -= 1;
                self.done |= self.left == 0;
                Some(Ok(event))
            }
            None => self.failed.take().map(Err),
        }
    }
}

impl Filter {
    #[inline]
    fn admits(&self, event: &Record) -> Result<bool> {
        Ok(self.pattern.as_ref().is_none_or(|pattern| pattern.matches_bytes(event.kind_bytes()))
            && (!self.window.is_timed() || self.window.occurred(event.timestamp()))
            && passes(&self.checks, self.predicate.as_ref(), event, &self.limits)?)
    }
}

#[inline]
fn passes(checks: &[By], predicate: Option<&Predicate>, event: &Record, limits: &Limits) -> Result<bool> {
    for by in checks {
        if !by.holds(event, limits)? {
            return Ok(false);
        }
    }
    match predicate {
        Some(predicate) => Ok(predicate.holds(event, limits)?),
        None => Ok(true),
    }
}

impl SubscriptionPlan {
    /// Whether an event is one of those it delivers, wherever it stands.
    pub fn wants(&self, event: &Record, limits: &Limits) -> Result<bool> {
        Ok(self.pattern.matches_bytes(event.kind_bytes())
            && passes(&self.tags, self.predicate.as_ref(), event, limits)?)
    }
}

impl ScanSource {
    /// Lends rows within one view, until it is told to stop or the view has been held long enough; whether there may be more.
    fn lend(
        &mut self,
        snapshot: &Snapshot,
        mut row: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        match self {
            ScanSource::Log(scan) => scan.lend(ROWS, row),
            ScanSource::Runs { run, zones, direction, left } => {
                if run.lend(ROWS, row)? {
                    return Ok(true);
                }
                if left.is_empty() {
                    return Ok(false);
                }
                let stretch = match direction {
                    ScanDirection::Ascending => zones.stretch(left.first)?,
                    ScanDirection::Descending => zones.stretch(left.last)?,
                };
                let stretch = stretch.and(*left);
                *run = snapshot.log(stretch, *direction);
                match direction {
                    ScanDirection::Ascending => left.first = stretch.last.next(),
                    ScanDirection::Descending => left.last = stretch.first.previous(),
                }
                Ok(!stretch.is_empty())
            }
            ScanSource::Cursor { cursor, zones, direction, ahead, size } => {
                while ahead.len() < *size
                    && let Some(position) = cursor.peek(*direction)?
                {
                    if let Some(zones) = zones {
                        let nearest = zones.nearest(position)?;
                        if nearest != position {
                            cursor.seek(nearest, *direction)?;
                            continue;
                        }
                    }
                    cursor.next(*direction)?;
                    ahead.push_back(position);
                }
                *size = (*size * 2).min(LARGEST_PAGE);
                if ahead.is_empty() {
                    return Ok(false);
                }
                let before = ahead.len();
                snapshot.read(|view| view.lend(ahead, &mut row))?;
                snapshot.tally().add_events((before - ahead.len()) as u64);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::store::append_request::AppendRequest;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::{Options, Store};

    #[test]
    fn few_events_are_held_where_they_are_large() {
        let options = Options::new().disk(Arc::new(MemoryDisk::new()));
        let store = Store::create(std::path::Path::new("/shop.bygone"), options).unwrap();
        for _ in 0..12 {
            let event = NewEvent::new("Note.taken").member("text", "a".repeat(1 << 20));
            store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap();
        }
        let snapshot = store.snapshot();
        for take in [RowLimit::All, RowLimit::Last(12)] {
            let events = EventsPlan {
                access: AccessPath::log(),
                window: LogWindow::through(Position(12)),
                predicate: None,
                take,
            };
            let mut scan = EventScan::new(&snapshot, &events).unwrap();
            let (mut found, mut most) = (Vec::new(), 0);
            while let Some(event) = scan.next() {
                found.push(event.unwrap().position.0);
                most = most.max(scan.page.len());
            }
            assert!(found.iter().copied().eq(1..=12), "{found:?}");
            assert!(most <= 4, "{take:?}: {most} more are held");
        }
    }
}
