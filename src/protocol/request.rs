//! Requests: lines of JSON with an id and one thing that is asked for.

use std::time::Duration;

use serde::Deserialize;

use super::{MAX_CHUNK, RequestId, event, expect};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result, shorten};
use crate::event::{EventFormat, Expect, JsonMembers, NewEvent};
use crate::pattern::Pattern;
use crate::plan::Parameters;
use crate::value::{Object, Value};

/// How many levels a request has around the data of an event: the request, its events, the event.
const ENVELOPE: usize = 3;

/// A line of whoever asks.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    pub id: RequestId,
    pub ask: Ask,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To be answered on a thread of its own.
    Task(Box<TaskRequest>),
    /// An end to another request.
    Cancel(RequestId),
    /// Nothing may be written on this connection from now on.
    ReadOnly,
    /// More rows may be sent.
    Credits(u64),
    /// A piece of what is imported; none where it ends.
    Chunk(Option<String>),
}

/// What takes its time.
#[derive(Debug)]
pub(crate) struct TaskRequest {
    pub task: TaskKind,
    /// On whose behalf.
    pub actor: Option<Entity>,
    /// How long it may take.
    pub time_limit: Option<Duration>,
    /// How many rows may be sent before more are asked for; any number, where nothing is said.
    pub credits: Option<u64>,
    /// Whoever asks wants to write nothing.
    pub read_only: bool,
}

#[derive(Debug)]
pub(crate) enum TaskKind {
    Statement(StatementRequest),
    Append {
        events: Vec<NewEvent>,
        key: Option<String>,
        expect: Vec<Expect>,
    },
    Import(ImportRequest),
    Export(ExportRequest),
    /// A durable subscription, which another request reads, goes on behind this.
    Acknowledge {
        of: RequestId,
        position: Position,
        durably: bool,
    },
    /// How the database is; it may wait so long for what is being built.
    Status {
        wait: Duration,
    },
}

#[derive(Debug)]
pub(crate) struct StatementRequest {
    pub text: String,
    pub parameters: Parameters,
    /// Whoever asks is a person, and may have misspelt a name.
    pub hints: bool,
    /// There may be values that it does not ask for.
    pub allow_unused: bool,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct ImportRequest {
    pub kind: Option<String>,
    pub restore: bool,
    pub skip_conflicts: bool,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct ExportRequest {
    pub pattern: Option<Pattern>,
    pub form: EventFormat,
    pub source: Option<String>,
    pub with_private: bool,
}

/// Why a line is no request: whose, where that can be told.
pub(crate) struct RequestFault {
    pub id: Option<RequestId>,
    pub error: Box<Error>,
}

impl ClientRequest {
    /// Reads a line.
    pub fn read(line: &str) -> std::result::Result<ClientRequest, RequestFault> {
        let unknown = |error| RequestFault { id: None, error: Box::new(error) };
        let value = Value::read(line, ENVELOPE)
            .map_err(|error| RequestFault { id: id_of(line), error: Box::new(error) })?;
        let Value::Object(mut members) = value else {
            return Err(unknown(Error::invalid("a request", "an object of JSON", value.kind())));
        };
        let id = members.shift_remove("id").unwrap_or_default();
        let id = RequestId::read(&id).map_err(unknown)?;
        match read(members) {
            Ok(ask) => Ok(ClientRequest { id, ask }),
            Err(error) => Err(RequestFault { id: Some(id), error: Box::new(error) }),
        }
    }
}

/// The id of a line that has another member which is no value here, as a number of more than 64 bits is none.
fn id_of(line: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct IdAlone {
        id: Value,
    }
    let alone: IdAlone = serde_json::from_str(line).ok()?;
    RequestId::read(&alone.id).ok()
}

impl ClientRequest {
    /// The line that [`read`](ClientRequest::read) reads.
    pub fn write(&self) -> Result<String> {
        let mut members = Object::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("id", Value::of(&self.id)?);
        match &self.ask {
            Ask::Cancel(of) => put("cancel", Value::of(of)?),
            Ask::ReadOnly => put("readOnly", true.into()),
            Ask::Credits(more) => put("credits", (*more).into()),
            Ask::Chunk(Some(text)) => put("text", text.as_str().into()),
            Ask::Chunk(None) => put("end", true.into()),
            Ask::Task(request) => request.write(&mut put)?,
        }
        Ok(Value::Object(members).to_string() + "\n")
    }
}

impl TaskRequest {
    /// Something to be done, and nothing to be said of how.
    pub fn of(task: TaskKind) -> TaskRequest {
        TaskRequest { task, actor: None, time_limit: None, credits: None, read_only: false }
    }

    fn write(&self, put: &mut impl FnMut(&str, Value)) -> Result<()> {
        match &self.task {
            TaskKind::Statement(StatementRequest { text, parameters, hints, allow_unused }) => {
                put("statement", text.as_str().into());
                let values: Object = parameters.clone().into();
                if !values.is_empty() {
                    put("params", Value::Object(values));
                }
                for (name, flag) in [("hints", hints), ("allowUnused", allow_unused)] {
                    if *flag {
                        put(name, true.into());
                    }
                }
            }
            TaskKind::Append { events, key, expect } => {
                put("append", Value::Array(events.iter().map(event::write).collect::<Result<_>>()?));
                if let Some(key) = key {
                    put("key", key.as_str().into());
                }
                if !expect.is_empty() {
                    put("expect", Value::Array(expect.iter().map(expect::write).collect::<Result<_>>()?));
                }
            }
            TaskKind::Import(import) => put("import", import.written()),
            TaskKind::Export(export) => put("export", export.written()),
            TaskKind::Acknowledge { of, position, durably } => {
                let of = ("of", Value::of(of)?);
                put(
                    "acknowledge",
                    object([of, ("position", position.0.into()), ("durably", (*durably).into())]),
                );
            }
            TaskKind::Status { wait } => put("status", object([("wait", wait.as_secs_f64().into())])),
        }
        if let Some(actor) = &self.actor {
            put("actor", Value::of(actor)?);
        }
        if let Some(limit) = self.time_limit {
            put("timeLimit", limit.as_secs_f64().into());
        }
        if let Some(credits) = self.credits {
            put("credits", credits.into());
        }
        if self.read_only {
            put("readOnly", true.into());
        }
        Ok(())
    }
}

/// An object without the members that say nothing.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let said = members.into_iter().filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
    Value::Object(said.map(|(name, value)| (name.to_owned(), value)).collect())
}

impl ImportRequest {
    fn written(&self) -> Value {
        object([
            ("kind", self.kind.clone().into()),
            ("restore", self.restore.into()),
            ("skipConflicts", self.skip_conflicts.into()),
        ])
    }
}

impl ExportRequest {
    fn written(&self) -> Value {
        let form = FORMS.iter().find(|(_, form)| *form == self.form).map(|(name, _)| *name);
        object([
            ("pattern", self.pattern.as_ref().map(Pattern::to_string).into()),
            ("form", form.into()),
            ("source", self.source.clone().into()),
            ("withPrivate", self.with_private.into()),
        ])
    }
}

const ASKS: &str = "one of `statement`, `append`, `import`, `export`, `acknowledge`, `status`, `cancel`, `credits`, `text`, `end`";

fn read(members: Object) -> Result<Ask> {
    let mut form = JsonMembers::new("a request", members);
    let ask = match form.left.len() {
        1 => alone(&mut form)?,
        _ => None,
    };
    let ask = match ask {
        Some(ask) => ask,
        None => Ask::Task(Box::new(task(&mut form)?)),
    };
    form.done("the members of a request, as PROTOCOL.md tells them")?;
    Ok(ask)
}

/// What is said of a request that is under way.
fn alone(form: &mut JsonMembers) -> Result<Option<Ask>> {
    if let Some(cancelled) = form.take("cancel") {
        return Ok(Some(Ask::Cancel(RequestId::read(&cancelled)?)));
    }
    if let Some(credits) = form.count("credits")? {
        return Ok(Some(Ask::Credits(credits)));
    }
    if let Some(text) = form.take("text") {
        return match text {
            Value::Text(text) if text.len() <= MAX_CHUNK => Ok(Some(Ask::Chunk(Some(text)))),
            Value::Text(text) => Err(Error::too_large("`text` of an import", text.len(), MAX_CHUNK)),
            other => Err(Error::invalid("`text`", "text", other.kind())),
        };
    }
    if flag(form, "readOnly")? {
        return Ok(Some(Ask::ReadOnly));
    }
    Ok(flag(form, "end")?.then_some(Ask::Chunk(None)))
}

fn task(form: &mut JsonMembers) -> Result<TaskRequest> {
    let task = if let Some(text) = form.text("statement")? {
        let parameters = form.object("params")?.unwrap_or_default().into();
        let (hints, allow_unused) = (flag(form, "hints")?, flag(form, "allowUnused")?);
        TaskKind::Statement(StatementRequest { text, parameters, hints, allow_unused })
    } else if let Some(events) = form.take("append") {
        let expect = form.take("expect").map(expect::read_all).transpose()?.unwrap_or_default();
        TaskKind::Append { events: events_of(events)?, key: form.text("key")?, expect }
    } else if let Some(import) = form.object("import")? {
        TaskKind::Import(import_of(import)?)
    } else if let Some(export) = form.object("export")? {
        TaskKind::Export(export_of(export)?)
    } else if let Some(place) = form.object("acknowledge")? {
        acknowledge(place)?
    } else if let Some(status) = form.object("status")? {
        let mut status = JsonMembers::new("`status`", status);
        let wait = seconds(&mut status, "wait")?.unwrap_or_default();
        status.done("`wait`")?;
        TaskKind::Status { wait }
    } else {
        let found = form.left.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "none".to_owned() } else { shorten(&found) };
        return Err(Error::invalid("a request", ASKS, found));
    };
    Ok(TaskRequest {
        task,
        actor: actor(form)?,
        time_limit: seconds(form, "timeLimit")?,
        credits: form.count("credits")?,
        read_only: flag(form, "readOnly")?,
    })
}

/// An actor is written as an event has it, or as statements do: `User ann`.
fn actor(form: &mut JsonMembers) -> Result<Option<Entity>> {
    match form.left.get("actor") {
        Some(Value::Text(_)) => form.text("actor")?.map(|text| text.parse()).transpose(),
        _ => form.entity("actor"),
    }
}

fn flag(form: &mut JsonMembers, name: &str) -> Result<bool> {
    match form.take(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(value),
        Some(other) => Err(Error::invalid(format!("`{name}`"), "true or false", other.kind())),
    }
}

fn seconds(form: &mut JsonMembers, name: &str) -> Result<Option<Duration>> {
    let Some(value) = form.take(name) else { return Ok(None) };
    let read = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match read {
        Some(time) => Ok(Some(time)),
        None => Err(Error::invalid(format!("`{name}`"), "a number of seconds", shorten(&value.to_string()))),
    }
}

fn events_of(value: Value) -> Result<Vec<NewEvent>> {
    let Value::Array(items) = value else {
        return Err(Error::invalid("`append`", "an array of events", value.kind()));
    };
    items.into_iter().map(event::read).collect()
}

fn import_of(members: Object) -> Result<ImportRequest> {
    let mut form = JsonMembers::new("`import`", members);
    let import = ImportRequest {
        kind: form.text("kind")?,
        restore: flag(&mut form, "restore")?,
        skip_conflicts: flag(&mut form, "skipConflicts")?,
    };
    form.done("`kind`, `restore`, `skipConflicts`")?;
    Ok(import)
}

fn export_of(members: Object) -> Result<ExportRequest> {
    let mut form = JsonMembers::new("`export`", members);
    let export = ExportRequest {
        pattern: form.text("pattern")?.map(|pattern| pattern.parse()).transpose()?,
        form: match form.text("form")? {
            None => EventFormat::default(),
            Some(name) => form_named(&name)?,
        },
        source: form.text("source")?,
        with_private: flag(&mut form, "withPrivate")?,
    };
    form.done("`pattern`, `form`, `source`, `withPrivate`")?;
    Ok(export)
}

/// The forms of an export, by the names that the command line has for them.
pub(crate) const FORMS: [(&str, EventFormat); 4] = [
    ("events", EventFormat::Event),
    ("underscore", EventFormat::Underscore),
    ("cloudevents", EventFormat::CloudEvents),
    ("cloudevents-batch", EventFormat::CloudEventsBatch),
];

fn form_named(name: &str) -> Result<EventFormat> {
    let known = FORMS.iter().find(|(known, _)| *known == name).map(|(_, form)| *form);
    known.ok_or_else(|| {
        let names = FORMS.map(|(name, _)| name).join(", ");
        Error::invalid("`form`", format!("one of {names}"), shorten(name))
    })
}

fn acknowledge(members: Object) -> Result<TaskKind> {
    let mut form = JsonMembers::new("`acknowledge`", members);
    let of = RequestId::read(&form.take("of").unwrap_or_default())?;
    let position = form.count("position")?;
    let position = position.ok_or_else(|| Error::invalid("`acknowledge`", "a `position`", "none"))?;
    let durably = flag(&mut form, "durably")?;
    form.done("`of`, `position`, `durably`")?;
    Ok(TaskKind::Acknowledge { of, position: Position(position), durably })
}
