//! Scans of the log: every event of a stretch, lent where it lies or read a page at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ReadTxn, ScanDirection, Snapshot};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};

/// How many events are read at a time, and how many bytes of them about.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 4 << 20;

/// Events, each with its position.
type EventPage = VecDeque<(Position, Arc<[u8]>)>;

/// Every event of a run of the log, read a page at a time.
#[derive(Debug)]
pub(crate) struct LogScan {
    snapshot: Snapshot,
    /// What is still to be read.
    rest: PositionRange,
    direction: ScanDirection,
    page: EventPage,
    /// What comes after this page.
    failed: Option<Error>,
}

impl LogScan {
    pub(super) fn new(snapshot: &Snapshot, range: PositionRange, direction: ScanDirection) -> LogScan {
        // Positions begin with 1, whatever the range says.
        let rest = range.and(PositionRange::through(snapshot.head));
        LogScan { snapshot: snapshot.clone(), rest, direction, page: VecDeque::new(), failed: None }
    }

    /// Lends the next events, at most so many and within one view, until it is told to stop; whether there may be more.
    pub fn lend(
        &mut self,
        most: usize,
        mut row: impl FnMut(Position, &[u8]) -> Result<bool>,
    ) -> Result<bool> {
        let snapshot = self.snapshot.clone();
        let (mut left, mut go_on) = (most, true);
        // What was lent is passed at once: a read that is interrupted goes on where it was.
        snapshot.read(|view| {
            while go_on && left > 0 && !self.rest.is_empty() {
                let next = self.next_position();
                if next > view.checkpoint {
                    go_on = row(next, &view.newest(next)?)?;
                    left -= 1;
                    self.pass(next);
                    continue;
                }
                let tables = self.rest.and(PositionRange::through(view.checkpoint));
                let descending = self.direction == ScanDirection::Descending;
                view.log()?.scan(tables, descending, |position, bytes| {
                    go_on = row(position, &view.formed(position, bytes)?)?;
                    left -= 1;
                    self.pass(position);
                    Ok(go_on && left > 0)
                })?;
            }
            Ok(())
        })?;
        snapshot.tally.add_events((most - left) as u64);
        Ok(!self.rest.is_empty())
    }

    fn next_position(&self) -> Position {
        match self.direction {
            ScanDirection::Ascending => self.rest.first,
            ScanDirection::Descending => self.rest.last,
        }
    }

    fn pass(&mut self, position: Position) {
        match self.direction {
            ScanDirection::Ascending => self.rest.first = position.next(),
            ScanDirection::Descending => self.rest.last = position.previous(),
        }
    }

    fn fill(&mut self) -> Result<()> {
        let (page, failed) = self.snapshot.read(|view| self.page_of(view))?;
        self.failed = failed;
        let Some(&(end, _)) = page.back() else {
            let PositionRange { first, last } = self.rest;
            return Err(Error::corrupt("the log", format!("no event from {first} to {last}")));
        };
        self.pass(end);
        self.page = page;
        Ok(())
    }

    /// The next events in the direction of the scan, and what is damaged behind them.
    fn page_of(&self, view: &ReadTxn) -> Result<(EventPage, Option<Error>)> {
        let PositionRange { first, last } = self.rest;
        let tables = last.min(view.checkpoint());
        let descending = self.direction == ScanDirection::Descending;
        let mut page = VecDeque::new();
        let from_memtables = if descending { last > tables } else { first > tables };
        if from_memtables {
            // A memtable's events are in memory: a page is a handful of pointers.
            let span = if descending {
                PositionRange::new(first.max(tables.next()).max(last.minus(PAGE as u64 - 1)), last)
            } else {
                PositionRange::new(first, last.min(first.plus(PAGE as u64 - 1)))
            };
            for position in span.iter() {
                let Some(bytes) = view.event(position)? else { break };
                if descending {
                    page.push_front((position, bytes))
                } else {
                    page.push_back((position, bytes))
                };
            }
        } else {
            let mut held = 0;
            let scanned =
                view.log()?.scan(PositionRange::new(first, tables), descending, |position, bytes| {
                    page.push_back((position, Arc::from(view.formed(position, bytes)?)));
                    held += bytes.len();
                    Ok(page.len() < PAGE && held < PAGE_BYTES)
                });
            // What was read before it is handed over first.
            match scanned {
                Err(error @ Error::Corrupt { .. }) if !page.is_empty() => return Ok((page, Some(error))),
                scanned => scanned?,
            }
        }
        Ok((page, None))
    }
}

impl Iterator for LogScan {
    type Item = Result<(Position, Arc<[u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.rest.is_empty()
            && let Err(error) = self.failed.take().map_or_else(|| self.fill(), Err)
        {
            // An error ends it: what follows could not be told to be whole.
            self.rest = PositionRange::NONE;
            self.page.clear();
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::NewEvent;
    use crate::store::append_request::AppendRequest;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::{Options, Store};

    #[test]
    fn a_page_has_few_events_where_they_are_large() {
        let store =
            Store::create(Path::new("/shop.bygone"), Options::new().disk(Arc::new(MemoryDisk::new())))
                .unwrap();
        for _ in 0..12 {
            let event = NewEvent::new("Note.taken").member("text", "a".repeat(1 << 20));
            store.append(AppendRequest { events: vec![event], ..AppendRequest::default() }).unwrap();
        }
        store.checkpoint().unwrap();
        for direction in [ScanDirection::Ascending, ScanDirection::Descending] {
            let mut scan = store.snapshot().log(PositionRange::ALL, direction);
            let (mut read, mut most) = (0, 0);
            while let Some(row) = scan.next() {
                read += row.map(|_| 1).unwrap();
                most = most.max(scan.page.len());
            }
            assert_eq!(read, 12);
            assert!(most <= 4, "{most} more are held");
        }
    }
}
