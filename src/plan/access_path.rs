//! Access paths: how what a logical plan asks is come by, as of a snapshot: by which lists, which index, which runs of the log.
//!
//! What `BY`, the pattern and `WHERE` ask for gives *candidates*: sources that hold all that is wanted, and perhaps more. The one
//! that costs least to read drives; another is intersected with it where that spares more events than it costs chunks; what is
//! left is checked on each event. Where even that costs more than reading the log from end to end, the log is read.
//! Whatever is chosen, the answer is the same: candidates narrow, and checks decide.

mod alternatives;
mod bitmap;
pub(crate) mod candidates;
pub(crate) mod column;
mod conditions;
pub(crate) mod find;
mod physical;
mod source;
pub(crate) mod state_column;
mod times;
pub(crate) mod view;

use std::sync::Arc;

use super::by::{By, Tagged};
use super::logical::{AccessQuery, EventsRead, LogicalPlan, LogicalRead};
use super::shape::Shape;
use super::window::RowLimit;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::pattern::Pattern;
use crate::store::snapshot::{Estimate, ScanDirection, Snapshot};
pub(crate) use bitmap::{Bitmap, Gathered};
use conditions::{Conditions, Indexed};
pub(crate) use physical::{EventsPlan, Explain, Plan, ReadKind, ReadPlan, Shaped};
pub(crate) use source::PositionSource;
pub(crate) use times::Times;

/// How events are come by.
#[derive(Debug, Clone)]
pub(crate) struct AccessPath {
    pub source: PositionSource,
    /// How many positions the source gives, within the window.
    pub estimate: Estimate,
    /// What the source does not see to is checked on each event.
    pub pattern: Option<Pattern>,
    pub checks: Vec<By>,
    /// Runs of the log in which nothing happened then are passed over.
    pub times: Times,
    /// How many runs those leave, and of how many, where somebody counted.
    pub runs: Option<(u64, u64)>,
}

impl AccessPath {
    /// All of the log.
    #[cfg(test)]
    pub fn log() -> AccessPath {
        AccessPath { source: PositionSource::Log, ..AccessPath::positions(Vec::new()) }
    }

    /// By positions that were found already, ascending.
    pub fn positions(positions: Vec<Position>) -> AccessPath {
        let estimate = Estimate::exactly(positions.len() as u64);
        let (source, times) = (PositionSource::Positions(positions), Times::default());
        AccessPath { source, estimate, pattern: None, checks: Vec::new(), times, runs: None }
    }
}

/// Nanoseconds, roughly: what reading an event costs, in the order of the log and by its position.
const IN_ORDER: f64 = 450.0;
const BY_POSITION: f64 = 1600.0;

/// What reading a chunk of a list costs, looked for and decoded; and each entry of it, in a set.
const CHUNK: f64 = 2500.0;
const ENTRY: f64 = 10.0;
const IN_CHUNK: f64 = 256.0;

/// How much a condition that no index knows lets through, as long as nothing better is known.
const UNKNOWN: f64 = 0.3;

impl RowLimit {
    /// From where the log is read for so few that it is not asked how many there are, and how many are read where that part of them
    /// is wanted.
    fn few_from(self, known: f64) -> Option<(ScanDirection, u64)> {
        const FEW: u64 = 1000;
        let (direction, n) = match self {
            RowLimit::First(n) => (ScanDirection::Ascending, n),
            RowLimit::Last(n) | RowLimit::Newest(n) => (ScanDirection::Descending, n),
            RowLimit::All => return None,
        };
        (n <= FEW).then_some((direction, (n as f64 / known).ceil() as u64))
    }
}

/// Fewer positions than this are not worth a thought.
const FEW: u64 = 16;

/// A source that holds all that is wanted.
struct AccessCandidate {
    source: PositionSource,
    estimate: Estimate,
    check: ResidualCheck,
}

impl AccessCandidate {
    /// What holds all that passes `WHERE`.
    fn narrowing(source: PositionSource) -> AccessCandidate {
        AccessCandidate { estimate: source.estimate(), source, check: ResidualCheck::Nothing }
    }
}

/// What is to be checked on each event where a candidate is not taken.
#[derive(Debug, Clone, PartialEq)]
enum ResidualCheck {
    By(By),
    /// It holds more than is wanted: the condition is checked all the same.
    Always(By),
    Pattern,
    /// `WHERE` is checked anyhow.
    Nothing,
}

/// Makes the plan of a statement of what it asks.
pub(super) fn plan(snapshot: &Snapshot, asked: LogicalPlan) -> Result<Plan> {
    Ok(match asked {
        LogicalPlan::Read { read, notices, as_of, raw } => {
            Plan::Read(ReadPlan { kind: self::read(snapshot, read, raw)?, notices, as_of, raw })
        }
        LogicalPlan::Write(write) => Plan::Write(write),
        LogicalPlan::Subscribe(subscription) => Plan::Subscribe(subscription),
        LogicalPlan::SubscribeView(read) => Plan::SubscribeView(view::subscription(snapshot, read)?),
        LogicalPlan::Explain { plan, analyze } => {
            Plan::Explain(Explain { plan: Box::new(self::plan(snapshot, *plan)?), analyze })
        }
    })
}

fn read(snapshot: &Snapshot, asked: LogicalRead, raw: bool) -> Result<ReadKind> {
    Ok(match asked {
        LogicalRead::Events(events) => self::events(snapshot, events, raw)?,
        LogicalRead::Find(query) => ReadKind::Find(Arc::new(find::plan(snapshot, *query)?)),
        LogicalRead::View(read) => ReadKind::View(Box::new(view::plan(snapshot, *read)?)),
        LogicalRead::Direct(read) => ReadKind::Direct(read),
    })
}

fn events(snapshot: &Snapshot, asked: EventsRead, raw: bool) -> Result<ReadKind> {
    let EventsRead { query, take, shape, unnest } = asked;
    let columns = match &shape {
        // A column has a value of each event, and not of each item in it.
        Some(Shape::Group(group)) if take == RowLimit::All && !raw && unnest.is_none() => {
            column::plan(snapshot, &query, group)
        }
        _ => None,
    };
    let events = EventsPlan { take, ..choose(snapshot, query)? };
    // Few events are read by their positions.
    let columns = columns.filter(|_| events.access.estimate.entries >= column::FEW).map(Arc::new);
    Ok(match shape {
        None => ReadKind::Events(events),
        Some(shape) => {
            let unnest = unnest.map(Arc::new);
            ReadKind::Shaped(Box::new(Shaped { events, shape, columns, unnest }))
        }
    })
}

/// The indexes that are complete, with what they are of. One that cannot be read is of no use here, and no harm.
fn indexed(snapshot: &Snapshot) -> Vec<Indexed<'_>> {
    let usable = snapshot.indexes().iter().filter(|index| snapshot.indexes().serves(index));
    usable.filter_map(|index| Some(Indexed { node: index.expression()?.downcast_ref()?, index })).collect()
}

/// Answers a question with the events of a plan.
pub(crate) fn choose(snapshot: &Snapshot, question: AccessQuery) -> Result<EventsPlan> {
    let AccessQuery { pattern, by, predicate, mut window, take, indexed } = question;
    let mut conditions = Conditions::default();
    if let Some(predicate) = &predicate {
        let indexed = if indexed { self::indexed(snapshot) } else { Vec::new() };
        conditions.read(&predicate.node, &mut window, &indexed);
    }
    conditions.times.narrow(&window);
    let typed = pattern.as_ref().is_some_and(|pattern| !pattern.is_all()) || !conditions.kinds.is_empty();
    let sources = by.len() + conditions.by.len() + usize::from(typed);
    let known = if predicate.is_some() { UNKNOWN } else { 1.0 };
    let few = take.few_from(known).filter(|_| sources == 1 && conditions.alternatives.is_empty());
    let reader = source::ListReader { snapshot, first: window.after.next().0, last: window.through.0, few };
    let (mut candidates, mut checks) = (Vec::new(), Vec::new());
    for by in by {
        if !reader.has_lists(&by) {
            checks.push(by);
            continue;
        }
        let (source, exact) = reader.source(&by)?;
        let check = if exact { ResidualCheck::By(by) } else { ResidualCheck::Always(by) };
        candidates.push(AccessCandidate { estimate: source.estimate(), source, check });
    }
    if let Some(source) = reader.types(pattern.as_ref(), &conditions.kinds)? {
        // The types are those of the pattern and of WHERE.
        let check = if pattern.is_some() { ResidualCheck::Pattern } else { ResidualCheck::Nothing };
        candidates.push(AccessCandidate { estimate: source.estimate(), source, check });
    }
    candidates.extend(narrowing(&reader, &conditions, pattern.as_ref())?);
    let span = window.through.min(snapshot.head()).since(window.after);
    let wanted = match take {
        RowLimit::All => f64::INFINITY,
        RowLimit::First(n) | RowLimit::Last(n) | RowLimit::Newest(n) => n as f64 / known,
    };
    let model = CostModel { span: span as f64, wanted };
    for alternatives in &conditions.alternatives {
        candidates.extend(alternatives::candidate(&reader, &model, alternatives, pattern.as_ref())?);
    }
    let mut access = model.take(candidates, pattern);
    access.times = conditions.times;
    access.checks.extend(checks);
    access.estimate = access.estimate.at_most(span);
    Ok(EventsPlan { access, window, predicate, take })
}

/// Sources of what `WHERE` compares with constants.
fn narrowing(
    reader: &source::ListReader,
    conditions: &Conditions,
    pattern: Option<&Pattern>,
) -> Result<Vec<AccessCandidate>> {
    let mut candidates = Vec::new();
    for by in &conditions.by {
        // An index that does not hold all of the types in question would leave some out.
        if let By::Tag(Tagged { own: false, index: Some(index), .. }) = by
            && !reader.covers(&index.0, pattern, &conditions.kinds)?
        {
            continue;
        }
        let (source, _) = match reader.source(by) {
            // What an index cannot hold is no reason not to answer.
            Err(Error::Invalid { .. }) | Ok((PositionSource::Log, _)) => continue,
            source => source?,
        };
        candidates.push(AccessCandidate::narrowing(source));
    }
    Ok(candidates)
}

struct CostModel {
    /// How many events the window has.
    span: f64,
    /// How many that pass all candidates are enough.
    wanted: f64,
}

impl CostModel {
    fn take(&self, mut candidates: Vec<AccessCandidate>, pattern: Option<Pattern>) -> AccessPath {
        candidates.sort_by_key(|candidate| candidate.estimate.entries);
        let shares: Vec<f64> = candidates.iter().map(|candidate| self.share(candidate)).collect();
        let all: f64 = shares.iter().product();
        // To find what is wanted, so much of whatever is read has to be read.
        let part = (self.wanted / (self.span * all).max(1.0)).min(1.0);
        let mut used = vec![false; candidates.len()];
        let mut cost = self.span * part * IN_ORDER;
        let mut estimate = Estimate::exactly(self.span as u64);
        if let Some(first) = candidates.first() {
            let mut positions = first.estimate.entries as f64;
            let mut lists = first.source.cost(first.estimate.entries as f64, part);
            let mut taken = vec![false; candidates.len()];
            taken[0] = true;
            let mut narrowed = first.estimate;
            for (at, candidate) in candidates.iter().enumerate().skip(1) {
                let spared = positions * part * (1.0 - shares[at]) * BY_POSITION;
                let chunks = (candidate.estimate.entries as f64 / IN_CHUNK).min(positions);
                let price = candidate.source.cost(chunks * IN_CHUNK, part);
                if every() || (first.estimate.entries > FEW && price < spared) {
                    taken[at] = true;
                    positions *= shares[at];
                    lists += price;
                    narrowed = Estimate::about(positions.ceil() as u64);
                }
            }
            lists += positions * part * BY_POSITION;
            if preferred(lists < cost) {
                (cost, used, estimate) = (lists, taken, narrowed);
            }
        }
        let _ = cost;
        let mut access = AccessPath {
            source: PositionSource::Log,
            estimate,
            pattern: None,
            checks: Vec::new(),
            times: Times::default(),
            runs: None,
        };
        let mut sources = Vec::new();
        let mut pattern_seen = false;
        for (candidate, used) in candidates.into_iter().zip(used) {
            match (used, candidate.check) {
                (true, check) => {
                    pattern_seen |= check == ResidualCheck::Pattern;
                    sources.push(candidate.source);
                    if let ResidualCheck::Always(by) = check {
                        access.checks.push(by);
                    }
                }
                (false, ResidualCheck::By(by) | ResidualCheck::Always(by)) => access.checks.push(by),
                (false, ResidualCheck::Pattern | ResidualCheck::Nothing) => {}
            }
        }
        access.pattern = pattern.filter(|_| !pattern_seen);
        access.source = match sources.len() {
            0 => PositionSource::Log,
            1 => sources.swap_remove(0),
            _ => PositionSource::Intersection(sources),
        };
        access
    }

    /// How much of the window a candidate holds.
    fn share(&self, candidate: &AccessCandidate) -> f64 {
        (candidate.estimate.entries as f64 / self.span.max(1.0)).clamp(0.0, 1.0)
    }
}

/// Whether lists are taken: where they cost less, unless a test wants to see the other.
fn preferred(lists: bool) -> bool {
    #[cfg(test)]
    if let Some(forced) = FORCED.get() {
        return forced != Forced::Log;
    }
    lists
}

/// Whether every list is taken, because a test wants to see that.
fn every() -> bool {
    #[cfg(test)]
    return FORCED.get() == Some(Forced::Every);
    #[cfg(not(test))]
    false
}

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forced {
    Log,
    /// The one that seems the best, and those that seem to be worth it.
    Lists,
    Every,
}

#[cfg(test)]
thread_local! {
    /// What is chosen in this thread, whatever it costs.
    pub(crate) static FORCED: std::cell::Cell<Option<Forced>> = const { std::cell::Cell::new(None) };
}
