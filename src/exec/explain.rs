//! `EXPLAIN`: a plan, told; with `ANALYZE` also what carrying it out took.

use std::collections::HashMap;
use std::time::Instant;

use super::answer::{Answer, Row};
use super::show::fields;
use super::{define, read, write};
use crate::entity::{Entity, Position, Version};
use crate::error::Result;
use crate::event::{Event, Expect};
use crate::plan::{Access, Append, Define, Emit, Explain, Owner, Plan, Read, ReadKind, Window, Write};
use crate::store::fold::Effect;
use crate::store::snapshot::{Direction, Snapshot, Until};
use crate::store::term::Term;
use crate::value::Value;

/// How many runs are read at a time.
const RUNS: usize = 256;

/// Tells a plan, a line a row. Of a write it tells what would come of it now, and writes nothing.
pub(crate) fn explain(snapshot: &Snapshot, explain: &Explain) -> Result<Answer> {
    let mut plan = (*explain.plan).clone();
    let mut notices = Vec::new();
    if let Plan::Read(read) = &mut plan {
        notices.extend(read.notices.iter().cloned());
        let events = match &mut read.kind {
            ReadKind::Events(events) => Some(events),
            ReadKind::Shaped(shaped) => Some(&mut shaped.events),
            _ => None,
        };
        if let Some(events) = events {
            count_runs(snapshot, &mut events.access, &events.window)?;
        }
    }
    let mut lines: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
    let outcome = match &plan {
        Plan::Write(Write::Append(append)) => dry_run(snapshot, append)?,
        Plan::Write(Write::Define(define)) => vec![defining(snapshot, define)],
        _ => Vec::new(),
    };
    lines.extend(outcome.into_iter().map(|line| format!("  {line}")));
    let mut rows: Vec<Row> = lines.into_iter().map(|line| fields([("plan", line.into())])).collect();
    if let Plan::Read(read) = &plan
        && explain.analyze
    {
        rows.push(analyze(snapshot, read)?);
    }
    Ok(Answer { notices, ..Answer::rows(rows.into_iter().map(Ok)) })
}

/// How many runs of the log the times leave.
fn count_runs(snapshot: &Snapshot, access: &mut Access, window: &Window) -> Result<()> {
    if access.times.is_open() {
        return Ok(());
    }
    let (mut kept, mut all) = (0, 0);
    let mut from = window.after.saturating_add(1);
    let last = window.through.min(snapshot.head().0);
    while from <= last {
        let runs = snapshot.runs(from, Direction::Ascending, RUNS)?;
        let Some(end) = runs.last().map(|run| run.last).filter(|end| *end >= from) else { break };
        for run in runs.iter().filter(|run| run.last >= from && run.first <= last) {
            all += 1;
            kept += u64::from(access.times.meets(run));
        }
        from = end.saturating_add(1);
    }
    access.runs = Some((kept, all));
    Ok(())
}

/// Carries a read out to its end, and tells what was read.
fn analyze(snapshot: &Snapshot, plan: &Read) -> Result<Row> {
    // A tally of its own: what was read to make the plan is not part of it.
    let snapshot = snapshot.tallied();
    let begun = Instant::now();
    let mut rows = 0u64;
    for row in read(&snapshot, plan)?.rows {
        row?;
        rows += 1;
    }
    let elapsed = begun.elapsed().as_secs_f64() * 1000.0;
    let tally = snapshot.tally();
    Ok(fields([
        ("rows", rows.into()),
        ("eventsRead", tally.events().into()),
        ("eventsAdmitted", tally.admitted().into()),
        ("chunksRead", tally.chunks().into()),
        ("runsPassedOver", tally.passed_over().into()),
        ("milliseconds", Value::Float((elapsed * 1000.0).round() / 1000.0)),
    ]))
}

/// What would come of a definition, were it made now.
fn defining(snapshot: &Snapshot, define: &Define) -> String {
    if let Some(position) = define::same(snapshot, define) {
        return format!("it is defined like this at {position}: nothing would be written");
    }
    match define {
        Define::Index(index) => match snapshot.indexes().get(&index.name) {
            Some(index) => format!(
                "would be built from {} events beside the one of {}, and replace it when it is complete",
                snapshot.head().0,
                index.position
            ),
            None => format!("would be built from {} events in the background", snapshot.head().0),
        },
        Define::Entity(entity) => match snapshot.indexes().model(&entity.kind) {
            Some(model) => format!("would replace the definition of {}", model.position),
            None => "would be the first definition of its name".to_owned(),
        },
    }
}

/// What would come of a write, were it carried out now.
fn dry_run(snapshot: &Snapshot, append: &Append) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let (mut versions, mut staged) = (HashMap::new(), Vec::new());
    for (emit, at) in append.emits.iter().zip(1..) {
        let position = snapshot.head().0 + at;
        let event = write::event(emit, made(emit), append.now)?;
        lines.push(format!("would be {} at {}", emit.kind, Position(position)));
        if emit.data.is_some() {
            lines.push(format!("  data {}", event.data.to_value()?));
        }
        let target = match &emit.owner {
            Owner::Entity(entity) => Some(entity.clone()),
            Owner::Unsaid => emit.actor.clone().filter(|actor| actor.kind() == emit.kind.prefix()),
            Owner::New => None,
        };
        if let Some(target) = target {
            let (before, newest) = match versions.get(&target) {
                Some((before, kind)) => (*before, Some(String::clone(kind))),
                None => {
                    let before = snapshot.version(&target)?;
                    (before, newest(snapshot, &target)?.map(|event| event.kind.to_string()))
                }
            };
            lines.push(format!("  {} of {target}", Version(before.0 + 1)));
            if let Some(expect) = &emit.expect {
                let exists = *expect == Expect::Exists && exists(snapshot, &target, &staged)?;
                lines.push(guard(expect, before, newest.as_deref(), exists));
            }
            staged.push((target.clone(), emit.kind.to_string()));
            versions.insert(target, (Version(before.0 + 1), emit.kind.to_string()));
        } else if let Some(expect) = &emit.expect {
            lines.push(guard(expect, Version(0), None, false));
        }
    }
    for key in append.emits.iter().filter_map(|emit| emit.key.as_ref()).chain(&append.key) {
        let met = snapshot.list(Term::key(key)?, 1, u64::MAX, Direction::Ascending).next().transpose()?;
        lines.push(match met {
            Some(position) => {
                format!("the key '{key}' was met at {}: nothing would be written", Position(position))
            }
            None => format!("the key '{key}' is new"),
        });
    }
    Ok(lines)
}

/// Some entity where one would be made: that its id would be new is all there is to say.
fn made(emit: &Emit) -> Option<Entity> {
    match &emit.owner {
        Owner::Entity(entity) => Some(entity.clone()),
        Owner::New => Entity::new(emit.kind.prefix(), "new").ok(),
        Owner::Unsaid => None,
    }
}

fn newest(snapshot: &Snapshot, entity: &Entity) -> Result<Option<Event>> {
    let mut list = snapshot.list(Term::entity(entity)?, 1, u64::MAX, Direction::Descending);
    list.next().transpose()?.map_or(Ok(None), |position| snapshot.event(Position(position)))
}

fn guard(expect: &Expect, version: Version, newest: Option<&str>, exists: bool) -> String {
    let (holds, said) = match expect {
        Expect::New => (version.0 == 0, "EXPECT NEW".to_owned()),
        Expect::Version(wanted) => (version == *wanted, format!("EXPECT VERSION {}", wanted.0)),
        Expect::Exists => (exists, "EXPECT EXISTS".to_owned()),
        // That is told apart: it is of no entity.
        Expect::None(_) => return String::new(),
    };
    let found = match newest {
        Some(kind) => format!("{version}, last {kind}"),
        None => "no event yet".to_owned(),
    };
    format!("  {said} {}: {found}", if holds { "holds" } else { "does not hold" })
}

/// Whether an entity has a state, after what would be appended to it before.
fn exists(snapshot: &Snapshot, target: &Entity, before: &[(Entity, String)]) -> Result<bool> {
    let fold = snapshot.fold_of(target.kind())?;
    let own = before.iter().rev().filter(|(of, _)| of == target);
    for effect in own.map(|(_, kind)| fold.effect(kind, true)) {
        match effect {
            Effect::Makes => return Ok(true),
            Effect::Deletes => return Ok(false),
            Effect::Nothing => {}
        }
    }
    let folded = snapshot.fold(target, Until { through: snapshot.head().0, by: None })?;
    Ok(folded.fault.is_some() || folded.state != Value::Null)
}
