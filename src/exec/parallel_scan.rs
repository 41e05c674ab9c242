//! Gathering: one result from all events of a plan, on several threads.
//!
//! The log is cut into stretches at fixed positions. Each stretch is gathered by itself, and the parts are joined in the order of the
//! log: so the result, to the last digit of a sum, depends neither on how many threads there are nor on which of them was faster.

use super::EventScan;
use super::ordered::{caught, join_in_order};
use super::zone_map::ZoneMap;
use crate::entity::Position;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::{EventsPlan, LogWindow, RowLimit};
use crate::store::snapshot::{ScanDirection, Snapshot};

/// How many positions a stretch spans; tests have logs of several.
const STRETCH: u64 = if cfg!(test) { 64 } else { 32_768 };

/// What a result is gathered with.
pub(super) trait ParallelScan: Sync {
    type Part: Send;

    fn begin(&self) -> Self::Part;

    fn take(&self, part: &mut Self::Part, event: &Record) -> Result<()>;

    /// Adds a part that comes later in the log.
    fn join(&self, whole: &mut Self::Part, later: Self::Part) -> Result<()>;
}

/// Gathers all events of a plan, which must want them all.
fn gather<G: ParallelScan>(snapshot: &Snapshot, events: &EventsPlan, with: &G) -> Result<G::Part> {
    debug_assert!(events.take == RowLimit::All, "a part of them has no stretches of its own");
    let stretches = stretches(&narrowed(snapshot, events)?);
    let threads = u64::try_from(snapshot.threads()).unwrap_or(1).min(stretches.count);
    let part = |at: u64| -> Result<G::Part> {
        let mut part = with.begin();
        EventScan::within(snapshot, events, stretches.window(at)).each(|event| {
            with.take(&mut part, event)?;
            Ok(true)
        })?;
        Ok(part)
    };
    let (mut whole, mut all) = (with.begin(), 0..stretches.count);
    let mut join = |part| with.join(&mut whole, part);
    if threads <= 1 {
        all.try_for_each(|at| join(caught(|| part(at))?))?;
    } else {
        join_in_order(threads as usize, || Ok(all.next()), part, join)?;
    }
    Ok(whole)
}

/// Gathers the events of a plan, all of them or those it takes.
pub(super) fn gather_all<G: ParallelScan>(
    snapshot: &Snapshot,
    events: &EventsPlan,
    with: &G,
) -> Result<G::Part> {
    if events.take == RowLimit::All {
        return gather(snapshot, events, with);
    }
    let mut whole = with.begin();
    EventScan::to_lend(snapshot, events)?.each(|event| with.take(&mut whole, event).map(|()| true))?;
    Ok(whole)
}

/// A window, cut at fixed positions.
struct ScanRanges {
    window: LogWindow,
    first: u64,
    count: u64,
}

/// The window without what is passed over at its ends: to ask for a day is not to begin a stretch in every week.
fn narrowed(snapshot: &Snapshot, events: &EventsPlan) -> Result<LogWindow> {
    let mut window = events.window;
    let zones = |direction| ZoneMap::new(snapshot, events.access.times, direction);
    if let Some(mut zones) = zones(ScanDirection::Ascending) {
        window.after = window.after.max(zones.nearest(window.after.next())?.previous());
    }
    if let Some(mut zones) = zones(ScanDirection::Descending) {
        let through = window.through.min(snapshot.head());
        window.through = window.through.min(zones.nearest(through)?);
    }
    Ok(window)
}

fn stretches(window: &LogWindow) -> ScanRanges {
    let first = window.after.0 / STRETCH;
    let end = window.through.0.div_ceil(STRETCH);
    ScanRanges { window: *window, first, count: end.saturating_sub(first) }
}

impl ScanRanges {
    fn window(&self, at: u64) -> LogWindow {
        let start = (self.first + at) * STRETCH;
        let (start, end) = (Position(start), Position(start).plus(STRETCH));
        let (after, through) = (self.window.after.max(start), self.window.through.min(end));
        LogWindow { after, through, ..self.window }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::error::Error;
    use crate::event::NewEvent;
    use crate::plan::AccessPath;
    use crate::store::append_request::AppendRequest;
    use crate::store::{Options, Store};

    #[test]
    fn stretches_tile_the_window() {
        let windows = [(0, 0), (0, 1), (5, 5), (0, STRETCH), (1, STRETCH + 1), (70_000, 200_000), (9, 3)];
        for (after, through) in windows.map(|(after, through)| (Position(after), Position(through))) {
            let window = LogWindow { after, ..LogWindow::through(through) };
            let stretches = stretches(&window);
            let mut reached = after;
            for at in 0..stretches.count {
                let part = stretches.window(at);
                assert!(part.after == reached || part.through <= part.after, "{part:?} after {reached}");
                reached = reached.max(part.through);
            }
            assert_eq!(reached, after.max(through), "{window:?}");
        }
    }

    /// Notes what it was given, and fails at a position.
    struct Positions {
        bad: u64,
    }

    impl ParallelScan for Positions {
        type Part = Vec<u64>;

        fn begin(&self) -> Vec<u64> {
            Vec::new()
        }

        fn take(&self, part: &mut Vec<u64>, event: &Record) -> Result<()> {
            if event.position().0 == self.bad {
                return Err(Error::stopped("a bad one"));
            }
            part.push(event.position().0);
            Ok(())
        }

        fn join(&self, whole: &mut Vec<u64>, later: Vec<u64>) -> Result<()> {
            whole.extend(later);
            Ok(())
        }
    }

    #[test]
    fn parts_are_joined_in_the_order_of_the_log() {
        let count = STRETCH * 3 + 17;
        for threads in [1, 2, 4] {
            let options = Options::new()
                .disk(std::sync::Arc::new(crate::store::disk::memory::MemoryDisk::new()))
                .threads(threads);
            let store = Store::create(std::path::Path::new("/shop.bygone"), options).unwrap();
            for batch in 0..count.div_ceil(5000) {
                let many = 5000.min(count - batch * 5000);
                let events = (0..many).map(|_| NewEvent::new("Order.paid")).collect();
                store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
            }
            let snapshot = store.snapshot();
            let window = LogWindow { after: Position(3), ..LogWindow::through(Position(count - 1)) };
            let events =
                EventsPlan { access: AccessPath::log(), window, predicate: None, take: RowLimit::All };
            let found = gather(&snapshot, &events, &Positions { bad: 0 }).unwrap();
            assert!(found.iter().copied().eq(4..count), "{threads} threads: {} of {count}", found.len());
            let failed = gather(&snapshot, &events, &Positions { bad: STRETCH + 5 });
            assert!(failed.unwrap_err().to_string().contains("a bad one"));
        }
    }

    /// Panics at a position.
    struct ScanPanics;

    impl ParallelScan for ScanPanics {
        type Part = ();

        fn begin(&self) {}

        fn take(&self, (): &mut (), event: &Record) -> Result<()> {
            assert_ne!(event.position().0, STRETCH / 2);
            Ok(())
        }

        fn join(&self, (): &mut (), (): ()) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_an_error_and_leaves_nobody_waiting() {
        for threads in [1, 2, 3] {
            let options = Options::new()
                .disk(std::sync::Arc::new(crate::store::disk::memory::MemoryDisk::new()))
                .threads(threads);
            let store = Store::create(std::path::Path::new("/shop.bygone"), options).unwrap();
            let events = (0..STRETCH * 12).map(|_| NewEvent::new("Order.paid")).collect();
            store.append(AppendRequest { events, ..AppendRequest::default() }).unwrap();
            let snapshot = store.snapshot();
            let (tell, told) = bounded(1);
            thread::spawn(move || {
                let window = LogWindow::through(snapshot.head());
                let events =
                    EventsPlan { access: AccessPath::log(), window, predicate: None, take: RowLimit::All };
                let _ = tell.send(gather(&snapshot, &events, &ScanPanics).map_err(|error| error.to_string()));
            });
            // Whoever waits for ever is not waited for.
            let found = told.recv_timeout(std::time::Duration::from_secs(30));
            let error = found.unwrap_or_else(|e| panic!("{threads} threads: {e}")).unwrap_err();
            assert!(error.contains("panic"), "{error}");
        }
    }
}
