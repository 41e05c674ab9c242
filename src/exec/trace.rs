//! `TRACE`: what brought an event about, and what it brought about.
//!
//! The causes are a path, from the root of the chain down to the event. The effects are a tree, which is walked as it is pulled: of each event
//! on the way down the list of its effects is held where it was left, and none whose list has come to its end. An event is caused by an
//! earlier one, so the walk ends.

use std::iter::Peekable;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::budget::Budget;
use super::result::{QueryResult, Row};
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::{Cause, Event};
use crate::plan::TracePlan;
use crate::store::index::term::Term;
use crate::store::snapshot::{PostingList, ScanDirection, Snapshot};

/// An event of a chain of causes. Serializes as the event with a `"depth"`.
///
/// ```
/// use bygone::{Db, NewEvent, Position, Row};
/// let db = Db::in_memory()?;
/// db.append(NewEvent::new("Order.placed").on(("Order", 42)))?;
/// db.append(NewEvent::new("Order.paid").on(("Order", 42)).caused_by(Position(1)))?;
/// db.append(NewEvent::new("Parcel.packed").on(("Parcel", 7)).caused_by(Position(2)))?;
/// let mut traced = Vec::new();
/// for row in db.query("TRACE #2")?.rows {
///     let Row::Traced(traced_event) = row? else { continue };
///     traced.push((traced_event.depth, traced_event.event.kind.to_string()));
/// }
/// let expected = [(-1, "Order.placed"), (0, "Order.paid"), (1, "Parcel.packed")];
/// assert_eq!(traced, expected.map(|(depth, kind)| (depth, kind.to_owned())));
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TraceEntry {
    /// The event.
    pub event: Event,
    /// How far it is from the one that was asked about, which has 0: its cause has −1, its effects 1, their effects 2.
    pub depth: i64,
    /// No other effect of its cause follows. It is not part of the JSON, where that can be seen by the depths.
    pub last: bool,
}

impl Serialize for TraceEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.event.members(&mut map)?;
        map.serialize_entry("depth", &self.depth)?;
        map.end()
    }
}

/// What a list of effects that is not at its end takes, about, with the page that was read of it.
const LIST: usize = 4 << 10;

/// `TRACE`.
pub(super) fn answer(snapshot: &Snapshot, plan: &TracePlan) -> Result<QueryResult> {
    let event = event(snapshot, plan.event)?;
    // From the event up: they are told from the root down.
    let budget = Budget::new(snapshot, "TRACE");
    let mut above = Vec::new();
    let mut of = (plan.event, event.cause.clone());
    while let (position, Some(Cause::Event(cause))) = of
        && plan.causes
    {
        if cause >= position || cause == Position::START {
            return Err(Error::corrupt(
                format!("the cause of {position}"),
                format!("{cause}, which is not before it"),
            ));
        }
        snapshot.go_on()?;
        budget.take(size_of::<Position>())?;
        above.push(cause);
        of = (cause, self::event(snapshot, cause)?.cause);
    }
    let effects = plan.effects.then(|| EffectIter::of(snapshot, plan.event)).transpose()?;
    let snapshot = snapshot.clone();
    let causes = above.into_iter().enumerate().rev().map(move |(above, position)| {
        Ok(TraceEntry { event: self::event(&snapshot, position)?, depth: -(above as i64) - 1, last: true })
    });
    let asked = std::iter::once(Ok(TraceEntry { event, depth: 0, last: true }));
    let rows = causes.chain(asked).chain(effects.into_iter().flatten());
    Ok(QueryResult::rows(rows.map(|traced| traced.map(Row::Traced))))
}

fn event(snapshot: &Snapshot, position: Position) -> Result<Event> {
    let gone = || {
        Error::corrupt(
            format!("the event {position}"),
            "an event names it as its cause, and it cannot be found",
        )
    };
    snapshot.event(position)?.ok_or_else(gone)
}

/// The effects of an event, and theirs, each before its own.
struct EffectIter {
    snapshot: Snapshot,
    budget: Budget,
    /// The lists on the way down that have something left: at which depth, and of whose effects.
    lists: Vec<(i64, Position, Peekable<PostingList>)>,
}

impl EffectIter {
    fn of(snapshot: &Snapshot, event: Position) -> Result<EffectIter> {
        let mut effects = EffectIter {
            snapshot: snapshot.clone(),
            budget: Budget::new(snapshot, "TRACE"),
            lists: Vec::new(),
        };
        effects.descend(event, 1)?;
        Ok(effects)
    }

    /// Goes on to the effects of an event.
    fn descend(&mut self, position: Position, depth: i64) -> Result<()> {
        let term = Term::cause(&Cause::Event(position))?;
        let mut list = self.snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending).peekable();
        if list.peek().is_some() {
            self.budget.take(LIST)?;
            self.lists.push((depth, position, list));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<TraceEntry>> {
        let Some((depth, cause, mut list)) = self.lists.pop() else { return Ok(None) };
        let Some(position) = list.next().transpose()? else { return Ok(None) };
        if position <= cause {
            return Err(Error::corrupt(
                format!("the list of what {cause} caused"),
                format!("{position}, which is not after it"),
            ));
        }
        let last = list.peek().is_none();
        // A chain of any length holds one list.
        match last {
            true => self.budget.give(LIST),
            false => self.lists.push((depth, cause, list)),
        }
        self.descend(position, depth + 1)?;
        Ok(Some(TraceEntry { event: event(&self.snapshot, position)?, depth, last }))
    }
}

impl Iterator for EffectIter {
    type Item = Result<TraceEntry>;

    fn next(&mut self) -> Option<Result<TraceEntry>> {
        let step = self.step().transpose();
        if let Some(Err(_)) = step {
            self.lists.clear();
        }
        step
    }
}
