//! Writing: from a plan to a group of events, and from the outcome to rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::result::{QueryResult, Row};
use super::show::fields;
use super::{define, eval, private, program, schema_check};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::document::Document;
use crate::entity::{Entity, EventType, IdText, NameText};
use crate::error::{Error, Result};
use crate::event::id::IdSource;
use crate::event::{EventId, NewEvent, codec, tag_members};
use crate::plan::expr::BoundExpr;
use crate::plan::webhook::Secret;
use crate::plan::write::BackupPlan;
use crate::plan::{self, AbsenceCheck, Append, AppendAction, EmitPlan, EventOwner, OccurredAt, WritePlan};
use crate::store::append_request::{AppendRequest, check_size, content_of};
use crate::store::backup::BackupRequest;
use crate::store::condition::CommitCondition;
use crate::store::snapshot::Snapshot;
use crate::store::verb::PerformRequest;
use crate::store::{Backup, BackupOptions, Compaction, Options, Store};
use crate::time::Timestamp;
use crate::value::Value;

/// Carries out a write.
pub(crate) fn write(store: &Store, plan: &WritePlan, cancel: &Cancel) -> Result<QueryResult> {
    match plan {
        WritePlan::Append(append) => self::append(store, append, cancel),
        WritePlan::Define(definition) => define::define(store, definition, cancel),
        WritePlan::Forget(forget) => private::forget(store, forget, cancel),
        WritePlan::Drop(drop) => define::drop_definition(store, drop),
        WritePlan::Settle(settle) => program::settle(store, settle),
        WritePlan::Backup(backup) => back_up(store, backup, cancel),
        WritePlan::Compact => compact(store, cancel),
        WritePlan::Rekey(key) => rekey(store, key),
        WritePlan::Checkpoint => store.checkpoint().map(|()| QueryResult::done()),
        WritePlan::Sync => {
            let head = store.take_in_all(cancel)?;
            Ok(QueryResult::row(fields([("position", head.0.into())])))
        }
    }
}

/// `COMPACT`: how large the file was and is.
fn compact(store: &Store, cancel: &Cancel) -> Result<QueryResult> {
    let Compaction { before, after, .. } = store.compact(cancel)?;
    Ok(QueryResult::row(fields([("bytesBefore", before.into()), ("bytesAfter", after.into())])))
}

/// `REKEY`.
#[cfg(feature = "encryption")]
fn rekey(store: &Store, key: &Secret) -> Result<QueryResult> {
    store.rekey(&key.read("REKEY")?).map(|()| QueryResult::done())
}

#[cfg(not(feature = "encryption"))]
fn rekey(_: &Store, _: &Secret) -> Result<QueryResult> {
    Err(crate::store::encryption::without())
}

/// A backup that is encrypted with a key of its own.
#[cfg(feature = "encryption")]
fn encrypted(options: BackupOptions, key: &Secret) -> Result<BackupOptions> {
    Ok(options.key(key.read("BACKUP TO … KEY")?))
}

#[cfg(not(feature = "encryption"))]
fn encrypted(_: BackupOptions, _: &Secret) -> Result<BackupOptions> {
    Err(crate::store::encryption::without())
}

/// `BACKUP TO`: what was written.
fn back_up(store: &Store, plan: &BackupPlan, cancel: &Cancel) -> Result<QueryResult> {
    let BackupPlan { to, mode, without_keys, key } = plan;
    let options = BackupOptions::from(*mode).without_keys(*without_keys);
    let options = match key {
        Some(key) => encrypted(options, key)?,
        None => options,
    };
    let request = BackupRequest { to, options: &options, cancel, progress: &mut |_| {} };
    let Backup { position, events, chain } = store.back_up(request)?;
    Ok(QueryResult::row(fields([
        ("backup", to.display().to_string().into()),
        ("position", position.0.into()),
        ("events", events.into()),
        ("chain", chain.to_string().into()),
    ])))
}

fn append(store: &Store, append: &Append, cancel: &Cancel) -> Result<QueryResult> {
    let options = &store.shared().options;
    let limits = Limits::new(options.largest_value, cancel);
    let mut ids = IdSource::default();
    let asked = group(append, options, &limits, || match &options.ids {
        Some(ids) => ids(),
        None => ids.next(append.now),
    })?;
    let group = AppendRequest { cancel: cancel.clone(), ..asked.group };
    let mut notices: Vec<String> = asked.made.iter().map(|made| format!("{made} is new")).collect();
    let ahead = dated_ahead(&group.events, &group.performs, append.now);
    let lone: Vec<Lone> = group.events.iter().filter_map(Lone::of).collect();
    let outcome = store.perform(group)?;
    if outcome.repeated {
        notices.clear();
    } else {
        if !lone.is_empty() {
            notices.extend(without_id(&store.snapshot(), "this event", &lone)?);
        }
        notices.extend(ahead);
        notices.extend(schema_check::warned(&outcome.warnings));
    }
    let rows = outcome.events.into_iter().map(move |(position, bytes)| {
        Ok(Row::Event { event: codec::decode(position, bytes)?, repeated: outcome.repeated })
    });
    let mut answer = QueryResult::rows(rows);
    answer.notices = notices;
    Ok(answer)
}

/// What a write asks for, and the entities that it makes.
pub(super) struct Grouped {
    pub group: AppendRequest,
    pub made: Vec<Entity>,
}

/// The group that a write asks for, whether it is to be committed or tried; entities that it makes have ids of the source.
pub(super) fn group(
    append: &Append,
    options: &Options,
    limits: &Limits,
    mut next_id: impl FnMut() -> Result<EventId>,
) -> Result<Grouped> {
    let (mut made, mut held) = (Vec::new(), 0);
    let (mut events, mut performs, mut verb_guards) =
        (Vec::with_capacity(append.acts.len()), Vec::new(), Vec::new());
    for act in &append.acts {
        let emit = match act {
            AppendAction::Emit(emit) => emit,
            AppendAction::Perform(perform) => {
                verb_guards.extend(perform.none.iter().map(|none| (performs.len(), condition(none))));
                performs.push((events.len(), asked(perform, append.now, limits)?));
                continue;
            }
        };
        let target = match &emit.owner {
            EventOwner::Unsaid => None,
            EventOwner::Entity(entity) => Some(entity.clone()),
            EventOwner::New => {
                let entity = Entity::new(emit.kind.prefix(), &next_id()?.to_string())?;
                made.push(entity.clone());
                Some(entity)
            }
        };
        let event = event(emit, target, append.now, limits)?;
        // The group is checked as a whole; here so that it is not made first.
        held += event.data.raw().0.len() + event.metadata.raw().0.len();
        check_size(options, held, events.len() + 1)?;
        events.push(event);
    }
    Ok(Grouped { group: AppendRequest { performs, verb_guards, ..keyed(append, events, limits)? }, made })
}

/// That events are dated ahead: they count at once for some statements, and for others not until then.
fn dated_ahead(events: &[NewEvent], performs: &[(usize, PerformRequest)], now: Timestamp) -> Option<String> {
    let emitted = events.iter().filter_map(|event| Some((event.owner()?, event.timestamp?)));
    let performed = performs.iter().filter_map(|(_, perform)| Some((&perform.entity, perform.timestamp?)));
    let mut ahead = emitted.chain(performed).filter(|(_, timestamp)| *timestamp > now);
    let (entity, timestamp) = ahead.next()?;
    let others = match ahead.count() {
        0 => String::new(),
        others => format!(", as {others} more of this statement are"),
    };
    Some(format!(
        "dated ahead, to {timestamp}{others}: AT {entity} leaves it out until then; REPLAY, FIND, verbs and EXPECT count all that is \
         recorded, and so count it from now on"
    ))
}

/// An event that joins no history: its type, and what its data says is an id.
pub(super) struct Lone {
    kind: EventType,
    id: Option<String>,
}

impl Lone {
    /// Such an event of which no more than the type is known.
    pub fn of_type(kind: &EventType) -> Lone {
        Lone { kind: kind.clone(), id: None }
    }

    fn of(event: &NewEvent) -> Option<Lone> {
        let kind = event.kind.clone().filter(|_| event.owner().is_none())?;
        let id =
            event.data.get("id").filter(|id| matches!(id, Value::Text(_) | Value::Int(_) | Value::UInt(_)));
        let id = id.map(|id| id.as_text().map_or_else(|| id.to_string(), str::to_owned));
        Some(Lone { kind, id: id.filter(|id| !id.is_empty()) })
    }
}

/// That events belong to no entity whose kind has entities: an id may have been forgotten. Told once of a kind.
pub(super) fn without_id(log: &Snapshot, what: &str, lone: &[Lone]) -> Result<Vec<String>> {
    let (mut told, mut notices) = (BTreeSet::new(), Vec::new());
    for Lone { kind, id } in lone {
        let prefix = kind.prefix();
        if !told.insert(prefix) || log.indexes().model(prefix).is_none() && !log.has_kind(prefix)? {
            continue;
        }
        let (shown, id) = (NameText(prefix), id.as_deref().map(IdText));
        let meant = id.map_or_else(String::new, |id| format!("; did you mean EMIT {} {id}?", kind));
        notices.push(format!("no id: {what} belongs to no {shown}{meant}"));
    }
    Ok(notices)
}

/// The group, with a hash of its content where the events themselves would differ from run to run.
fn keyed(append: &Append, mut events: Vec<NewEvent>, limits: &Limits) -> Result<AppendRequest> {
    let steady = append.acts.iter().all(AppendAction::is_steady);
    let mut key = append.key.clone();
    if !steady && events.iter().any(|event| event.key.is_some()) {
        match (events.as_mut_slice(), &key) {
            // The key of a lone event is as good as that of its group.
            ([one], None) => key = one.key.take(),
            _ => {
                let found = "keys on its events, of which one says NEW or NOW";
                return Err(Error::invalid("the key of an ATOMIC", "one KEY behind the brackets", found));
            }
        }
    }
    if !steady && key.is_none() && events.iter().any(|event| event.id.is_some()) {
        // It would be another event each time, and so no repetition.
        let found = "NEW, NOW or a time counted back from now";
        let expected = "the same content each time it is said, or a KEY beside it";
        return Err(Error::invalid("an event with an ID", expected, found));
    }
    let content = if key.is_some() && !steady { Some(content(append, limits)?) } else { None };
    let mut group = AppendRequest { events, key, content, ..AppendRequest::default() };
    group.expect.extend(append.expect.clone());
    group.conditions.extend(append.none.iter().map(condition));
    let emits = append.acts.iter().filter_map(|act| match act {
        AppendAction::Emit(emit) => Some(emit),
        AppendAction::Perform(_) => None,
    });
    for (emit, at) in emits.zip(0..) {
        group.guards.extend(emit.none.iter().map(|none| (at, condition(none))));
    }
    Ok(group)
}

fn condition(none: &AbsenceCheck) -> Arc<dyn CommitCondition> {
    Arc::new(none.clone())
}

pub(super) fn event(
    emit: &EmitPlan,
    target: Option<Entity>,
    now: Timestamp,
    limits: &Limits,
) -> Result<NewEvent> {
    let mut event = NewEvent::new(emit.kind.as_str());
    if let Some(target) = target {
        event = event.on(target);
    }
    if let Some(actor) = &emit.actor {
        event = event.by(actor);
    }
    if let Some(data) = &emit.data {
        event = event.data(&eval::value(data, now, limits)?);
    }
    if let Some(metadata) = &emit.metadata {
        event = event.metadata(&eval::value(metadata, now, limits)?);
    }
    if let Some(time) = occurred(emit.at, now) {
        event = event.at(time);
    }
    if let Some(key) = &emit.key {
        event = event.key(key);
    }
    event.id = emit.id.clone();
    event.cause = emit.cause.clone();
    event.expect.extend(emit.expect.clone());
    for (name, value) in &emit.index {
        event = match value {
            Some(value) => event.index(name, eval::value(value, now, limits)?),
            None => event.index_by([name.as_str()]),
        };
    }
    Ok(event)
}

/// What is asked of a verb.
pub(super) fn asked(perform: &plan::PerformPlan, now: Timestamp, limits: &Limits) -> Result<PerformRequest> {
    let document = |node: &Option<BoundExpr>| match node {
        Some(node) => Document::of(&eval::value(node, now, limits)?),
        None => Ok(Document::empty()),
    };
    Ok(PerformRequest {
        data: document(&perform.data)?,
        metadata: document(&perform.metadata)?,
        actor: perform.actor.clone(),
        timestamp: occurred(perform.at, now),
        cause: perform.cause.clone(),
        expect: perform.expect.clone(),
        rule: perform.rule.clone(),
        ..PerformRequest::new(&perform.verb, perform.entity.clone())
    })
}

fn occurred(at: Option<OccurredAt>, now: Timestamp) -> Option<Timestamp> {
    match at? {
        OccurredAt::Time(time) => Some(time),
        OccurredAt::Ago(ago) => Some(now.saturating_sub(ago)),
    }
}

/// A hash of what a write says, whatever ids it makes and whenever it runs.
fn content(append: &Append, limits: &Limits) -> Result<[u8; 16]> {
    let mut hasher = blake3::Hasher::new();
    for act in &append.acts {
        let said = match act {
            AppendAction::Emit(emit) => said_of_emit(emit, limits)?,
            AppendAction::Perform(perform) => said_of_perform(perform, limits)?,
        };
        // The members in one order, whatever order they were written in.
        let said = said.into_iter().map(|(name, value)| (name.to_owned(), value.canonical()));
        let text = Value::Object(said.collect()).to_string();
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    Ok(content_of(hasher.finalize().as_bytes()))
}

/// Some instant, always the same.
const NEVER: Timestamp = Timestamp::MIN;

fn said_of_emit(emit: &EmitPlan, limits: &Limits) -> Result<Vec<(&'static str, Value)>> {
    let mut event = event(emit, None, NEVER, limits)?;
    let target = match &emit.owner {
        EventOwner::Unsaid => Value::Null,
        EventOwner::New => true.into(),
        EventOwner::Entity(entity) => entity.to_string().into(),
    };
    let tags = tag_members(&event.tags);
    let id = event.id.take().map(|id| ("id", id.to_string().into()));
    let said = vec![
        ("type", emit.kind.as_str().into()),
        ("target", target),
        ("data", event.data.to_value()?),
        ("metadata", event.metadata.to_value()?),
        ("actor", said_of_actor(emit.actor.as_ref())),
        ("at", said_of_time(emit.at)),
        ("cause", event.cause.take().map_or(Ok(Value::Null), |cause| Value::of(&cause))?),
        ("tags", Value::Object(tags)),
    ];
    // What says none has the hash that it had before there was one to say.
    Ok(said.into_iter().chain(id).collect())
}

fn said_of_perform(perform: &plan::PerformPlan, limits: &Limits) -> Result<Vec<(&'static str, Value)>> {
    let asked = asked(perform, NEVER, limits)?;
    Ok(vec![
        ("verb", asked.verb.as_str().into()),
        ("target", asked.entity.to_string().into()),
        ("data", asked.data.to_value()?),
        ("metadata", asked.metadata.to_value()?),
        ("actor", said_of_actor(asked.actor.as_ref())),
        ("at", said_of_time(perform.at)),
        ("cause", asked.cause.map_or(Ok(Value::Null), |cause| Value::of(&cause))?),
    ])
}

fn said_of_actor(actor: Option<&Entity>) -> Value {
    actor.map(Entity::to_string).map_or(Value::Null, Value::from)
}

fn said_of_time(at: Option<OccurredAt>) -> Value {
    match at {
        None => Value::Null,
        Some(OccurredAt::Time(time)) => time.to_string().into(),
        Some(OccurredAt::Ago(ago)) => crate::time::display_duration(ago).into(),
    }
}
