//! A database that another process has open, asked over its socket.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::DatabaseStatus;
use crate::cancel::Cancel;
use crate::client::answer::{AnswerRows, WINDOW};
use crate::client::{ProtocolClient, import};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::{Event, NewEvent};
use crate::exec::{QueryResult, Row, Rows};
use crate::plan::Parameters;
use crate::protocol::RequestId;
use crate::protocol::answer::Done;
use crate::protocol::request::{StatementRequest, TaskKind, TaskRequest};
use crate::query::Statement;
use crate::store::{RemoteCursor, SubscriptionCursor};
use crate::transfer::{ExportOptions, ImportOptions, ImportReport};

/// A database that another process has open. Clones have one connection.
#[derive(Debug, Clone)]
pub(super) struct AttachedDb {
    client: Arc<ProtocolClient>,
    actor: Option<Entity>,
    cancel: Option<Cancel>,
    read_only: bool,
}

impl AttachedDb {
    pub fn connect(path: &Path) -> Result<AttachedDb> {
        let nobody = |why: &dyn std::fmt::Display| {
            let reason = format!("no process that has it open shares it ({why})");
            Error::unopenable(path, reason, "open it, or share it there")
        };
        let database = path.canonicalize().map_err(|error| nobody(&error))?;
        let client = ProtocolClient::connect(&database).map_err(|error| match &error {
            Error::Io { source, .. } if is_nobody(source.kind()) => nobody(source),
            _ => error,
        })?;
        Ok(AttachedDb { client: Arc::new(client), actor: None, cancel: None, read_only: false })
    }

    pub fn process(&self) -> u32 {
        self.client.hello.process
    }

    pub fn is_gone(&self) -> bool {
        self.client.is_gone()
    }

    pub fn as_actor(&self, actor: Entity) -> AttachedDb {
        AttachedDb { actor: Some(actor), ..self.clone() }
    }

    pub fn cancelled_by(&self, cancel: &Cancel) -> AttachedDb {
        let cancel = match &self.cancel {
            Some(before) => Cancel::among(vec![before.clone(), cancel.clone()]),
            None => cancel.clone(),
        };
        AttachedDb { cancel: Some(cancel), ..self.clone() }
    }

    pub fn for_reading(&self) -> AttachedDb {
        AttachedDb { read_only: true, ..self.clone() }
    }

    fn cancel(&self) -> Cancel {
        self.cancel.clone().unwrap_or_default()
    }

    fn request(&self, task: TaskKind) -> TaskRequest {
        let time_limit = self.cancel.as_ref().and_then(Cancel::left);
        TaskRequest {
            actor: self.actor.clone(),
            time_limit,
            credits: Some(WINDOW),
            read_only: self.read_only,
            ..TaskRequest::of(task)
        }
    }

    pub fn query_with(&self, text: &str, parameters: &Parameters) -> Result<QueryResult> {
        self.run(&Statement::parse(text)?, parameters, (false, false))
    }

    pub fn run_with(&self, statement: &Statement, parameters: &Parameters) -> Result<QueryResult> {
        self.run(statement, &asked_for(statement, parameters), (false, true))
    }

    pub fn run_with_hints(&self, statement: &Statement, parameters: &Parameters) -> Result<QueryResult> {
        self.run(statement, &asked_for(statement, parameters), (true, true))
    }

    fn run(
        &self,
        statement: &Statement,
        parameters: &Parameters,
        (hints, allow_unused): (bool, bool),
    ) -> Result<QueryResult> {
        let placed = |error: Error| error.map_fault(|fault| statement.in_whole_text(fault));
        let (text, parameters) = statement.to_send(parameters)?;
        let writes = !statement.is_read() && !statement.is_unnamed_subscription();
        let request =
            self.request(TaskKind::Statement(StatementRequest { text, parameters, hints, allow_unused }));
        let mut answer = self.client.ask(request, writes)?.cancelled_by(&self.cancel());
        let head = answer.head().map_err(placed)?;
        let cursor = head.durable.then(|| {
            let (client, of) = (self.client.clone(), answer.asking().id());
            let name = statement.subscription_name().unwrap_or_default().to_owned();
            SubscriptionCursor::elsewhere(Arc::new(AttachedCursor { client, of, name }))
        });
        Ok(QueryResult {
            notices: head.notices,
            as_of: head.as_of,
            rows: Rows::new(AnswerRows(answer)),
            cursor,
        })
    }

    pub fn append(&self, events: Vec<NewEvent>, key: Option<&str>) -> Result<Vec<Event>> {
        let append = TaskKind::Append { events, key: key.map(str::to_owned), expect: Vec::new() };
        let mut appended = Vec::new();
        self.client.ask(self.request(append), true)?.cancelled_by(&self.cancel()).finish(|row| {
            if let Row::Event { event, .. } = row {
                appended.push(event);
            }
            Ok(())
        })?;
        Ok(appended)
    }

    pub fn status(&self, wait: Duration) -> Result<DatabaseStatus> {
        let answer = self.client.ask(self.request(TaskKind::Status { wait }), false)?;
        let done = answer.cancelled_by(&self.cancel()).finish(|_| Ok(()))?;
        let Done { position, built, idle, behind, .. } = done;
        Ok(DatabaseStatus {
            head: Position(position.unwrap_or_default()),
            built: built.unwrap_or_default(),
            idle: idle.unwrap_or_default(),
            behind: behind.unwrap_or_default(),
        })
    }

    /// Hands requests on, and what they are answered with back.
    pub fn relay(
        &self,
        input: impl Read + Send + 'static,
        output: impl Write,
        read_only: bool,
    ) -> Result<()> {
        self.client.relay(input, output, read_only || self.read_only)
    }

    pub fn import(
        &self,
        input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(&ImportReport),
    ) -> Result<ImportReport> {
        import::import(&self.client, input, options, (&self.cancel(), self.read_only), progress)
    }

    pub fn export(
        &self,
        options: ExportOptions,
        mut output: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        import::export(&self.client, &mut output, &options, &self.cancel(), progress)
    }
}

/// What the system says where nobody answers by the socket: there is none, or its process has gone, or is about to go.
fn is_nobody(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(kind, NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// Those of the values that a statement asks for: the others are for other statements of its script. Where one is missing another may have
/// been meant: then it is all of them.
fn asked_for(statement: &Statement, parameters: &Parameters) -> Parameters {
    if statement.parameters().any(|name| parameters.get(name).is_none()) {
        return parameters.clone();
    }
    statement.parameters().fold(Parameters::new(), |asked, name| match parameters.get(name) {
        Some(value) => asked.set(name, value.clone()),
        None => asked,
    })
}

/// The cursor of a subscription that another process reads the log for.
struct AttachedCursor {
    client: Arc<ProtocolClient>,
    of: RequestId,
    name: String,
}

impl RemoteCursor for AttachedCursor {
    fn name(&self) -> &str {
        &self.name
    }

    fn acknowledge(&self, position: Position, durably: bool) -> Result<Position> {
        let task = TaskKind::Acknowledge { of: self.of.clone(), position, durably };
        let done = self.client.ask(TaskRequest::of(task), false)?.finish(|_| Ok(()))?;
        Ok(Position(done.position.unwrap_or_default()))
    }
}
