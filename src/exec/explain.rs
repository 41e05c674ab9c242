//! `EXPLAIN`: a plan, told; with `ANALYZE` also what carrying it out took.

use std::collections::HashSet;
use std::time::Instant;

use super::result::{QueryResult, Row};
use super::show::fields;
use super::{ViewCaches, define, private, read, schema_check, write};
use crate::entity::{Entity, Position, PositionRange, Version};
use crate::error::Result;
use crate::event::Expect;
use crate::event::id::IdSource;
use crate::plan::access_path::view::RowSelection;
use crate::plan::{
    AccessPath, Append, AppendAction, Define, Defined, EmitPlan, Explain, Forget, LogWindow, Plan, ReadKind,
    ReadPlan, WritePlan,
};
use crate::store::Store;
use crate::store::admission::AdmissionStep;
use crate::store::append_request::AppendRequest;
use crate::store::index::term::Term;
use crate::store::keyring::forgotten_subject;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::value::Value;

/// How many runs are read at a time.
const RUNS: usize = 256;

/// Tells a plan, a line a row. Of a write it tells what would come of it now, and writes nothing.
pub(crate) fn explain(
    store: &Store,
    snapshot: &Snapshot,
    views: &ViewCaches,
    explain: &Explain,
) -> Result<QueryResult> {
    let mut plan = (*explain.plan).clone();
    let mut notices = Vec::new();
    if let Plan::Read(read) = &mut plan {
        notices.extend(read.notices.iter().cloned());
        let events = match &mut read.kind {
            ReadKind::Events(events) => Some(events),
            ReadKind::Shaped(shaped) => Some(&mut shaped.events),
            ReadKind::View(view) => match &mut view.rows {
                RowSelection::Each(kind) => match &mut **kind {
                    ReadKind::Events(events) => Some(events),
                    ReadKind::Shaped(shaped) => Some(&mut shaped.events),
                    _ => None,
                },
                RowSelection::Groups(_) => None,
            },
            _ => None,
        };
        if let Some(events) = events {
            count_runs(snapshot, &mut events.access, &events.window)?;
        }
    }
    let mut lines: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
    let outcome = match &plan {
        Plan::Write(WritePlan::Append(append)) => dry_run(store, snapshot, append)?,
        Plan::Write(WritePlan::Define(define)) => {
            let mut lines = vec![defining(snapshot, define)];
            if define.what == Defined::Event {
                lines.extend(schema_check::tried(snapshot, &define.text)?);
            }
            lines
        }
        Plan::Write(WritePlan::Forget(forget)) => private::explain(snapshot, forget)?,
        _ => Vec::new(),
    };
    lines.extend(outcome.into_iter().map(|line| format!("  {line}")));
    let mut rows: Vec<Row> = lines.into_iter().map(|line| fields([("plan", line.into())])).collect();
    if let Plan::Read(read) = &plan
        && explain.analyze
    {
        rows.push(analyze(snapshot, views, read)?);
    }
    let as_of = if let Plan::Read(read) = &plan { read.as_of } else { None };
    Ok(QueryResult { notices, as_of, ..QueryResult::rows(rows.into_iter().map(Ok)) })
}

/// How many runs of the log the times leave.
fn count_runs(snapshot: &Snapshot, access: &mut AccessPath, window: &LogWindow) -> Result<()> {
    if access.times.is_open() {
        return Ok(());
    }
    let (mut kept, mut all) = (0, 0);
    let PositionRange { first: mut from, last } =
        window.positions().and(PositionRange::through(snapshot.head()));
    while from <= last {
        let runs = snapshot.runs(from, ScanDirection::Ascending, RUNS)?;
        let Some(end) = runs.last().map(|run| run.positions.last).filter(|end| *end >= from) else { break };
        for run in runs.iter().filter(|run| run.positions.last >= from && run.positions.first <= last) {
            all += 1;
            kept += u64::from(access.times.meets(run));
        }
        from = end.next();
    }
    access.runs = Some((kept, all));
    Ok(())
}

/// Carries a read out to its end, and tells what was read.
fn analyze(snapshot: &Snapshot, views: &ViewCaches, plan: &ReadPlan) -> Result<Row> {
    // A tally of its own: what was read to make the plan is not part of it.
    let snapshot = snapshot.tallied();
    let begun = Instant::now();
    let mut rows = 0u64;
    for row in read(&snapshot, views, plan)?.rows {
        row?;
        rows += 1;
    }
    let elapsed = begun.elapsed().as_secs_f64() * 1000.0;
    let tally = snapshot.tally();
    let by_columns = matches!(&plan.kind, ReadKind::Shaped(shaped) if shaped.columns.is_some());
    let blocks = by_columns.then(|| ("blocksPassedOver", tally.blocks_passed_over().into()));
    let members = [
        ("rows", rows.into()),
        ("eventsRead", tally.events().into()),
        ("eventsAdmitted", tally.admitted().into()),
        ("chunksRead", tally.chunks().into()),
        ("runsPassedOver", tally.passed_over().into()),
    ];
    let milliseconds = ("milliseconds", Value::Float((elapsed * 1000.0).round() / 1000.0));
    Ok(fields(members.into_iter().chain(blocks).chain([milliseconds])))
}

/// What would come of a definition, were it made now.
fn defining(snapshot: &Snapshot, define: &Define) -> String {
    if let Some(position) = define::same(snapshot, define) {
        return format!("it is defined like this at {position}: nothing would be written");
    }
    let (catalog, head) = (snapshot.indexes(), snapshot.head().0);
    let beside = match define.what {
        Defined::Index(_) => catalog.get(&define.name).map(|index| index.position),
        Defined::Column => catalog.column(&define.name).map(|column| column.position),
        Defined::View => catalog.view(&define.name).map(|view| view.position),
        Defined::Entity | Defined::Event | Defined::Verb(_) | Defined::Private | Defined::Program(_) => {
            return replacing(catalog.defined(define.what.kind(), &define.name));
        }
    };
    match beside {
        Some(position) => format!(
            "would be built from {head} events beside the one of {position}, and replace it when it is complete"
        ),
        None => format!("would be built from {head} events in the background"),
    }
}

fn replacing(known: Option<Position>) -> String {
    match known {
        Some(position) => format!("would replace the definition of {position}"),
        None => "would be the first definition of its name".to_owned(),
    }
}

/// What would come of a write, were it carried out now: the same admission, which appends nothing.
fn dry_run(store: &Store, snapshot: &Snapshot, append: &Append) -> Result<Vec<String>> {
    // A key says so before anything else is looked at.
    let keys = keys(snapshot, append)?;
    let mut ids = IdSource::default();
    let asked = write::group(append, snapshot.options(), &snapshot.limits(), || ids.next(append.now))?;
    let trial = store.try_out(AppendRequest { cancel: snapshot.cancel().clone(), ..asked.group });
    let refused = match trial.outcome {
        Ok(outcome) if outcome.repeated => return Ok(keys),
        Ok(_) => None,
        Err(error) if error.is_turned_down() => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let mut lines = telling(&trial.told, &asked.made)?;
    for step in trial.told.iter().filter(|_| refused.is_none()) {
        if let AdmissionStep::Event(event) = step
            && let Some(subject) = forgotten_subject(&event.kind, &event.data)
        {
            lines.push(format!("the key of {subject} would be destroyed:"));
            let forget = Forget { subject, because: None, actor: None };
            let reached = private::explain(snapshot, &forget)?;
            lines.extend(reached.into_iter().map(|line| format!("  {line}")));
        }
    }
    lines.extend(
        refused.map(|why| format!("would be refused: {}", why.strip_prefix("refused: ").unwrap_or(&why))),
    );
    lines.extend(keys);
    Ok(lines)
}

/// The steps of an admission. What is expected of an event stands behind it, and what decides it before it.
fn telling(told: &[AdmissionStep], made: &[Entity]) -> Result<Vec<String>> {
    let made: HashSet<&Entity> = made.iter().collect();
    let (mut lines, mut of_event) = (Vec::new(), Vec::new());
    let of_group = told.iter().position(|step| matches!(step, AdmissionStep::Group)).unwrap_or(told.len());
    for (at, step) in told.iter().enumerate() {
        match step {
            AdmissionStep::Group => {}
            AdmissionStep::Absence { condition, found } => {
                let found = found.as_ref().map(|event| format!(" does not hold: {event}"));
                let line = format!("EXPECT NONE ({condition}){}", found.as_deref().unwrap_or(" holds"));
                if at < of_group { lines.push(line) } else { of_event.push(format!("  {line}")) }
            }
            AdmissionStep::Expect { expect, target, holds, count, last } => {
                let Some(line) = guard(expect, *holds, *count, last.as_deref()) else { continue };
                match target {
                    _ if at > of_group => of_event.push(format!("  {line}")),
                    Some(owner) if made.contains(owner) => {}
                    Some(owner) => lines.push(format!("{owner}: {line}")),
                    None => lines.push(line),
                }
            }
            AdmissionStep::Decided(how) => {
                lines.append(&mut of_event);
                lines.extend(how.iter().cloned());
            }
            AdmissionStep::Event(event) => {
                lines.push(format!("would be {} at {}", event.kind, event.position));
                if !event.data.is_empty() {
                    lines.push(format!("  data {}", event.data.to_value()?));
                }
                let owner = event.target.as_ref().filter(|owner| !made.contains(owner));
                if let (Some(owner), Some(version)) = (owner, event.version) {
                    lines.push(format!("  {version} of {owner}"));
                }
                lines.append(&mut of_event);
            }
        }
    }
    lines.append(&mut of_event);
    Ok(lines)
}

/// Whether what is expected of an entity is so; nothing of what is expected of the log.
fn guard(expect: &Expect, holds: bool, count: u64, last: Option<&str>) -> Option<String> {
    let said = match expect {
        Expect::New => "EXPECT NEW".to_owned(),
        Expect::Version(wanted) => format!("EXPECT VERSION {}", wanted.0),
        Expect::Exists => "EXPECT EXISTS".to_owned(),
        Expect::Absent => "EXPECT ABSENT".to_owned(),
        Expect::None(_) => return None,
    };
    let found = match last {
        Some(kind) => format!("{}, last {kind}", Version(count)),
        None => "no event yet".to_owned(),
    };
    Some(format!("{said} {}: {found}", if holds { "holds" } else { "does not hold" }))
}

/// Tells which keys and ids are known.
fn keys(snapshot: &Snapshot, append: &Append) -> Result<Vec<String>> {
    let of_act = |act: &AppendAction| match act {
        AppendAction::Emit(emit) => emit.key.clone(),
        AppendAction::Perform(_) => None,
    };
    let each: Vec<Option<String>> = match &append.key {
        Some(key) => vec![Some(key.clone())],
        None => append.acts.iter().map(of_act).collect(),
    };
    let mut lines = Vec::new();
    let mut tell = |what: String, first: &str, met: Option<Position>| {
        lines.push(match met {
            Some(position) => format!(
                "the {what} was met at {position}: {first} is given back, if this says the same as then; else it is a conflict"
            ),
            None => format!("the {what} is new"),
        });
    };
    for key in each.into_iter().flatten() {
        let met = snapshot.list(Term::key(&key)?, PositionRange::ALL, ScanDirection::Ascending).next();
        tell(format!("key '{key}'"), "its first outcome", met.transpose()?);
    }
    for act in &append.acts {
        let AppendAction::Emit(EmitPlan { id: Some(id), .. }) = act else { continue };
        let met = snapshot.read(|view| view.position_of(id))?;
        tell(format!("id '{id}'"), "that event", met);
    }
    Ok(lines)
}
