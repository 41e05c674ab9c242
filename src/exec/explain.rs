//! `EXPLAIN`: a plan, told; with `ANALYZE` also what carrying it out took.

use std::time::Instant;

use super::answer::{Answer, Row};
use super::show::fields;
use super::verb::{Defined, Foreseen};
use super::{define, read, write};
use crate::entity::{Entity, Position, Version};
use crate::error::{Error, Result};
use crate::event::{Expect, NewEvent};
use crate::plan::view::Wanted;
use crate::plan::{
    Access, Act, Append, Define, Emit, Explain, Owner, Perform, Plan, Read, ReadKind, Window, Write,
};
use crate::store::condition::Condition;
use crate::store::snapshot::{Direction, Snapshot};
use crate::store::term::Term;
use crate::store::verb::Moment;
use crate::time::Timestamp;
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
            ReadKind::View(view) => match &mut view.rows {
                Wanted::Each(kind) => match &mut **kind {
                    ReadKind::Events(events) => Some(events),
                    ReadKind::Shaped(shaped) => Some(&mut shaped.events),
                    _ => None,
                },
                Wanted::Groups(_) => None,
            },
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
        Define::Entity(entity) => {
            replacing(snapshot.indexes().model(&entity.kind).map(|model| model.position))
        }
        Define::Verb(verb) => replacing(snapshot.indexes().verb(&verb.name).map(|verb| verb.position)),
        Define::Program(program) => {
            let known = snapshot.indexes().program(program.kind, &program.name);
            replacing(known.map(|program| program.position))
        }
        Define::View(view) => match snapshot.indexes().view(&view.name) {
            Some(view) => format!(
                "would be built from {} events beside the one of {}, and replace it when it is complete",
                snapshot.head().0,
                view.position
            ),
            None => format!("would be built from {} events in the background", snapshot.head().0),
        },
    }
}

fn replacing(known: Option<Position>) -> String {
    match known {
        Some(position) => format!("would replace the definition of {position}"),
        None => "would be the first definition of its name".to_owned(),
    }
}

/// What would come of a write, were it carried out now.
fn dry_run(snapshot: &Snapshot, append: &Append) -> Result<Vec<String>> {
    let (keys, is_retry) = keys(snapshot, append)?;
    if is_retry {
        return Ok(keys);
    }
    let mut lines = Vec::new();
    let mut foreseen = Foreseen::new(snapshot, append.now);
    expecting(&foreseen, append, &mut lines)?;
    for act in &append.acts {
        match act {
            Act::Emit(emit) => {
                let event = write::event(emit, made(emit), append.now, &foreseen.limits())?;
                let owner = event.owner().cloned().filter(|_| emit.owner != Owner::New);
                let told = emit.none.as_ref().map(|none| absent(&foreseen, none)).transpose()?;
                appending(&mut foreseen, &event, owner.as_ref(), emit.data.is_some(), &mut lines)?;
                lines.extend(told);
            }
            Act::Perform(perform) => {
                if let Err(refused) = performing(snapshot, &mut foreseen, perform, append.now, &mut lines)? {
                    lines.push(format!("would be {refused}"));
                    break;
                }
            }
        }
    }
    lines.extend(keys);
    Ok(lines)
}

/// Tells which keys are known. Whether all of it is by them: then nothing else is looked at.
fn keys(snapshot: &Snapshot, append: &Append) -> Result<(Vec<String>, bool)> {
    let of_act = |act: &Act| match act {
        Act::Emit(emit) => emit.key.clone(),
        Act::Perform(_) => None,
    };
    let each: Vec<Option<String>> = match &append.key {
        Some(key) => vec![Some(key.clone())],
        None => append.acts.iter().map(of_act).collect(),
    };
    let (mut lines, mut is_retry) = (Vec::new(), !each.is_empty());
    for key in each {
        let Some(key) = key else {
            is_retry = false;
            continue;
        };
        let met = snapshot.list(Term::key(&key)?, 1, u64::MAX, Direction::Ascending).next().transpose()?;
        is_retry &= met.is_some();
        lines.push(match met {
            Some(position) => format!(
                "the key '{key}' was met at {}: its first outcome is given back, if this says the same as then; else it is a conflict",
                Position(position)
            ),
            None => format!("the key '{key}' is new"),
        });
    }
    Ok((lines, is_retry))
}

/// Tells whether what all of it expects is so.
fn expecting(foreseen: &Foreseen, append: &Append, lines: &mut Vec<String>) -> Result<()> {
    if let Some(none) = &append.none {
        lines.push(absent(foreseen, none)?.trim_start().to_owned());
    }
    let Some(expect) = &append.expect else { return Ok(()) };
    let mut told = Vec::new();
    for act in &append.acts {
        let owner = match act {
            Act::Emit(emit) if emit.owner == Owner::New => None,
            Act::Emit(emit) => {
                write::event(emit, made(emit), append.now, &foreseen.limits())?.owner().cloned()
            }
            Act::Perform(perform) => Some(perform.entity.clone()),
        };
        let Some(owner) = owner.filter(|owner| !told.contains(owner)) else { continue };
        let line = guard(foreseen, expect, Some(&owner))?;
        lines.extend(line.map(|line| format!("{owner}: {}", line.trim_start())));
        told.push(owner);
    }
    Ok(())
}

/// Whether there are no such events, those before included.
fn absent(foreseen: &Foreseen, none: &dyn Condition) -> Result<String> {
    Ok(match foreseen.met(none)? {
        None => format!("  EXPECT NONE ({none}) holds"),
        Some(event) => format!("  EXPECT NONE ({none}) does not hold: {event}"),
    })
}

/// Tells of an event behind those before it.
fn appending(
    foreseen: &mut Foreseen,
    event: &NewEvent,
    owner: Option<&Entity>,
    with_data: bool,
    lines: &mut Vec<String>,
) -> Result<()> {
    lines.push(format!("would be {} at {}", event.checked()?, foreseen.next()));
    if with_data {
        lines.push(format!("  data {}", event.data.to_value()?));
    }
    if let Some(owner) = owner {
        lines.push(format!("  {} of {owner}", Version(foreseen.version(owner)?.0 + 1)));
    }
    for expect in &event.expect {
        lines.extend(guard(foreseen, expect, owner)?);
    }
    foreseen.add(event)
}

/// Tells of what a verb decides; or why it is refused.
fn performing(
    snapshot: &Snapshot,
    foreseen: &mut Foreseen,
    perform: &Perform,
    now: Timestamp,
    lines: &mut Vec<String>,
) -> Result<std::result::Result<(), Error>> {
    let asked = write::asked(perform, now, &snapshot.limits())?;
    for expect in &asked.expect {
        lines.extend(guard(foreseen, expect, Some(&asked.entity))?);
    }
    for checked in &asked.conditions {
        lines.push(absent(foreseen, &*checked.condition)?);
    }
    if let (None, Some(verb)) = (&asked.rule, snapshot.indexes().verb(&asked.verb)) {
        // What comes of it is told below.
        let _ = Defined::of(&verb.text)?.weigh(&asked, foreseen, &mut Some(&mut *lines));
    }
    let events = match asked.decide(snapshot.indexes(), foreseen) {
        Ok(events) => events,
        Err(error @ Error::Refused(_)) => return Ok(Err(error)),
        Err(error) => return Err(error),
    };
    for event in &events {
        let owner = event.owner().cloned();
        appending(foreseen, event, owner.as_ref(), !event.data.is_empty(), lines)?;
    }
    Ok(Ok(()))
}

/// Some entity where one would be made: that its id would be new is all there is to say.
fn made(emit: &Emit) -> Option<Entity> {
    match &emit.owner {
        Owner::Entity(entity) => Some(entity.clone()),
        Owner::New => Entity::new(emit.kind.prefix(), "new").ok(),
        Owner::Unsaid => None,
    }
}

fn guard(foreseen: &Foreseen, expect: &Expect, owner: Option<&Entity>) -> Result<Option<String>> {
    let version = owner.map_or(Ok(Version::NONE), |owner| foreseen.version(owner))?;
    let (holds, said) = match expect {
        Expect::New => (version.0 == 0, "EXPECT NEW".to_owned()),
        Expect::Version(wanted) => (version == *wanted, format!("EXPECT VERSION {}", wanted.0)),
        Expect::Exists => {
            let exists = owner.map_or(Ok(false), |owner| foreseen.exists(owner))?;
            (exists, "EXPECT EXISTS".to_owned())
        }
        // It is of no entity.
        Expect::None(_) => return Ok(None),
    };
    let found = match owner.map_or(Ok(None), |owner| foreseen.newest(owner))? {
        Some(kind) => format!("{version}, last {kind}"),
        None => "no event yet".to_owned(),
    };
    Ok(Some(format!("  {said} {}: {found}", if holds { "holds" } else { "does not hold" })))
}
