//! Catch-up: a stretch of the log on the way of a subscription, read in whichever way takes least.
//!
//! What has just been appended is in memory, and is looked at there. A long stretch is read by way of the indexes, if they lead to what
//! is wanted; what is neither is read from end to end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::read_ahead::ReadAhead;
use super::record_ref::{RecordPlace, RecordRef};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::record::{Record, RecordHeader};
use crate::exec::EventScan;
use crate::plan;
use crate::store::Shared;
use crate::store::snapshot::{LogScan, ScanDirection};

/// A leg longer than this is read by way of the indexes, if they lead to what is wanted.
const LONG: u64 = 256;

/// So many bytes of what is in memory are held at a time, about: a memtable that was moved into the tables is not kept for who is slow.
const HELD: usize = 4 << 20;

/// A stretch of the log that is being read, up to a position.
pub(super) struct CatchUp {
    goal: Position,
    feed: CatchUpSource,
    /// The event that is being lent, where it has bytes of its own.
    lent: Arc<[u8]>,
    limits: Limits,
}

/// Positions, with the bytes of their events.
type EventRows = VecDeque<(Position, Arc<[u8]>)>;

enum CatchUpSource {
    /// Of what is wanted.
    Found(Box<ReadAhead>),
    /// Of everything.
    Every(LogScan),
    /// Of everything, all of which is in memory.
    Fresh(EventRows),
}

impl CatchUp {
    /// From behind a position up to another, which is durable.
    pub fn begin(
        shared: &Arc<Shared>,
        plan: &plan::SubscriptionPlan,
        end: &Cancel,
        after: Position,
        goal: Position,
    ) -> Result<CatchUp> {
        let (mut goal, short) = (goal, goal.since(after) <= LONG);
        let fresh = if short { fresh(shared, after, &mut goal)? } else { None };
        let feed = match fresh {
            Some(fresh) => CatchUpSource::Fresh(fresh),
            None => {
                let snapshot = shared.snapshot().until(goal).cancelled_by(end);
                match short {
                    true => CatchUpSource::Every(
                        snapshot.log(PositionRange::between(after, goal), ScanDirection::Ascending),
                    ),
                    false => {
                        let scan = EventScan::past(&snapshot, plan, after)?;
                        CatchUpSource::Found(Box::new(ReadAhead::new(scan, goal.0)))
                    }
                }
            }
        };
        let limits = Limits::new(shared.options.largest_value, end);
        Ok(CatchUp { goal, feed, lent: Arc::default(), limits })
    }

    /// Where it ends.
    pub fn goal(&self) -> Position {
        self.goal
    }

    /// The next event that is wanted.
    pub fn next(
        &mut self,
        shared: &Arc<Shared>,
        plan: &plan::SubscriptionPlan,
    ) -> Result<Option<RecordRef<'_>>> {
        let CatchUp { feed, lent, limits, .. } = self;
        let rows: &mut dyn Iterator<Item = Result<(Position, Arc<[u8]>)>> = match feed {
            CatchUpSource::Found(found) => return found.next(shared),
            CatchUpSource::Every(rows) => rows,
            CatchUpSource::Fresh(rows) => &mut std::iter::from_fn(|| rows.pop_front().map(Ok)),
        };
        for row in rows {
            let (position, bytes) = row?;
            let record = Record::open(position, &bytes)?;
            if plan.wants(&record, limits)? {
                let place = RecordPlace::whole(&bytes, RecordHeader::of(&record));
                *lent = bytes;
                return Ok(Some(RecordRef::new(lent, place)));
            }
        }
        Ok(None)
    }
}

/// What there is behind a position, if all of it is in memory. Where that is much, the goal comes nearer.
fn fresh(shared: &Shared, after: Position, goal: &mut Position) -> Result<Option<EventRows>> {
    let memtables = shared.applied.memtables();
    if after < memtables.base() {
        return Ok(None);
    }
    let (mut rows, mut held) = (VecDeque::new(), 0);
    for position in PositionRange::between(after, *goal).iter() {
        let missing = || Error::corrupt("the memtables", format!("no event at {position}"));
        let bytes = memtables.event(position, shared.keys())?.ok_or_else(missing)?;
        held += bytes.len();
        rows.push_back((position, bytes));
        if held >= HELD {
            *goal = position;
            break;
        }
    }
    Ok(Some(rows))
}
