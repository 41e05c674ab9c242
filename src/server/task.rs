//! What one request is answered with.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection::{RunningRequest, ServerConnection};
use super::upload::UploadReader;
use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::Position;
use crate::error::{Conflict, Error, Result};
use crate::event::{Event, Expect, NewEvent};
use crate::exec::{QueryResult, Row};
use crate::plan::Parameters;
use crate::protocol::answer::{Done, Reply};
use crate::protocol::request::{ExportRequest, ImportRequest, StatementRequest, TaskKind, TaskRequest};
use crate::protocol::{CREDIT_BYTES, RequestId, cost};
use crate::query::Statement;
use crate::store::locked;
use crate::transfer::{ExportOptions, ImportOptions, ImportReport};

/// How many bytes of lines gather before they are sent.
const GATHERED: usize = 32 << 10;

/// How soon who waits for what is being built looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// Why a request failed, and in which statement of it.
struct TaskFailure {
    error: Error,
    statement: Option<u64>,
}

impl From<Error> for TaskFailure {
    fn from(error: Error) -> TaskFailure {
        TaskFailure { error, statement: None }
    }
}

/// Answers a request, up to its last lines, which are given back. Before it takes its time it says so: what is appended without a look at
/// anything else waits for the disk alone, which nobody could end.
pub(super) fn run(
    connection: &ServerConnection<'_>,
    running: &RunningRequest,
    request: TaskRequest,
    takes_time: &mut dyn FnMut(),
) -> Vec<u8> {
    let (read_only, lines) = (request.read_only, Vec::new());
    let mut answer = TaskAnswer { connection, running, takes_time, read_only, lines, rows: 0 };
    let mut db = connection.db.cancelled_by(&running.cancel);
    if let Some(actor) = &request.actor {
        db = db.as_actor(actor.clone());
    }
    let done = match (answer.task(&db, request.task), running.fault.get()) {
        (_, Some(fault)) => Err(fault.clone().into()),
        (done, None) => done,
    };
    let TaskAnswer { mut lines, .. } = answer;
    let id = Some(&running.id);
    let written = match &done {
        Ok(done) => Reply::Done(done.clone()).write(id, &mut lines),
        Err(TaskFailure { error, statement }) => Reply::Error(error, *statement).write(id, &mut lines),
    };
    // An error and a count always have a form in JSON.
    debug_assert!(written.is_ok());
    lines
}

/// An answer on its way.
struct TaskAnswer<'c> {
    connection: &'c ServerConnection<'c>,
    running: &'c RunningRequest,
    /// To be called before it does.
    takes_time: &'c mut dyn FnMut(),
    /// Whoever asks wants to write nothing.
    read_only: bool,
    lines: Vec<u8>,
    rows: u64,
}

impl TaskAnswer<'_> {
    fn task(&mut self, db: &Db, task: TaskKind) -> std::result::Result<Done, TaskFailure> {
        match &task {
            TaskKind::Append { expect, .. } if expect.is_empty() => {}
            // Each of them says for itself.
            TaskKind::Statement(_) => {}
            _ => (self.takes_time)(),
        }
        Ok(match task {
            TaskKind::Statement(request) => self.statements(db, &request)?,
            TaskKind::Append { events, key, expect } => self.append(db, events, key.as_deref(), expect)?,
            TaskKind::Import(import) => self.import(db, import)?,
            TaskKind::Export(export) => self.export(db, &export)?,
            TaskKind::Acknowledge { of, position, durably } => self.acknowledge(&of, position, durably)?,
            TaskKind::Status { wait } => Done {
                built: Some(self.built(db, wait)?),
                idle: Some(db.is_idle()?),
                behind: Some(db.behind()?),
                position: Some(db.head().0),
                ..Done::default()
            },
        })
    }

    fn statements(&mut self, db: &Db, request: &StatementRequest) -> std::result::Result<Done, TaskFailure> {
        let StatementRequest { text, parameters, hints, allow_unused } = request;
        // One statement, as most are, may have been parsed before.
        let several = text.trim_end().trim_end_matches(';').contains(';');
        let statements = match several {
            true => {
                let script = db.script(text)?;
                if !allow_unused {
                    parameters.check_used(script.parameters().iter().map(String::as_str))?;
                }
                for (at, statement) in script.statements().iter().enumerate() {
                    self.statement(db, statement, parameters, (at as u64 + 1, *hints), |db| {
                        db.run_with(statement, parameters)
                    })?;
                }
                script.statements().len() as u64
            }
            false => {
                let parsed = db.parsed(text, false)?;
                let run = |db: &Db| match allow_unused {
                    true => db.run_with(&parsed.statement, parameters),
                    false => db.run_prepared(&parsed, parameters),
                };
                self.statement(db, &parsed.statement, parameters, (1, *hints), run)?;
                1
            }
        };
        let position = Some(db.head().0);
        Ok(Done { statements: Some(statements), rows: Some(self.rows), position, ..Done::default() })
    }

    fn statement(
        &mut self,
        db: &Db,
        statement: &Statement,
        parameters: &Parameters,
        (number, hints): (u64, bool),
        run: impl FnOnce(&Db) -> Result<QueryResult>,
    ) -> std::result::Result<(), TaskFailure> {
        let within = |error| TaskFailure { error, statement: Some(number) };
        if !statement.is_read() && !statement.is_unnamed_subscription() {
            self.check_writable().map_err(within)?;
        }
        if number > 1 || hints || !statement.waits_for_disk_alone() {
            (self.takes_time)();
        }
        // A subscription ends with what its client sends, and the statements behind it do not.
        let subscription = statement.is_subscription().then(Cancel::new);
        let answer = match &subscription {
            Some(cancel) => run(&db.cancelled_by(cancel)),
            None => run(db),
        };
        let answer = answer.map_err(within)?;
        let hints = if hints { db.hints(statement, parameters) } else { Vec::new() };
        for notice in answer.notices.iter().chain(&hints) {
            self.say(&Reply::Notice(notice)).map_err(within)?;
        }
        let (as_of, durable) = (answer.as_of, answer.cursor.is_some());
        self.say(&Reply::Statement { number, as_of, durable }).map_err(within)?;
        if let Some(cursor) = answer.cursor {
            self.connection.keep_cursor(&self.running.id, cursor);
        }
        if let Some(cancel) = &subscription {
            // Who subscribes is told that it has begun.
            self.flush().map_err(within)?;
            self.connection.subscribes(self.running, cancel);
        }
        let mut live = false;
        for row in answer.rows {
            let row = row.map_err(within)?;
            self.row(&row).map_err(within)?;
            live |= matches!(row, Row::CaughtUp(_));
            // What is live is waited for by somebody.
            if live {
                self.flush().map_err(within)?;
            }
        }
        self.running.subscribes_no_more();
        Ok(())
    }

    /// Whether all that is defined is built, after so long at most.
    fn built(&self, db: &Db, wait: Duration) -> Result<bool> {
        let until = Instant::now().checked_add(wait);
        loop {
            self.running.cancel.check()?;
            let left = until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()));
            let built = db.wait_for_indexes(left.min(LOOK))?;
            if built || left.is_zero() {
                return Ok(built);
            }
        }
    }

    fn check_writable(&self) -> Result<()> {
        match self.connection.context.access {
            _ if self.read_only || self.connection.said_read_only() => {
                Err(Error::stopped("it was attached to for reading only"))
            }
            super::SharedAccess::Full => Ok(()),
            super::SharedAccess::ReadOnly => {
                Err(Error::stopped("the process that holds the database shares it for reading only"))
            }
        }
    }

    fn append(
        &mut self,
        db: &Db,
        events: Vec<NewEvent>,
        key: Option<&str>,
        expect: Vec<Expect>,
    ) -> Result<Done> {
        self.check_writable()?;
        let mut append = db.append_builder(events);
        if let Some(key) = key {
            append = append.key(key);
        }
        let (events, repeated) =
            expect.into_iter().fold(append, |append, expect| append.expect(expect)).append_told()?;
        let last = events.last().map(|event| event.position.0);
        for event in events {
            self.row(&row_of(event, repeated))?;
        }
        Ok(Done { rows: Some(self.rows), position: last, repeated, ..Done::default() })
    }

    fn import(&mut self, db: &Db, import: ImportRequest) -> Result<Done> {
        self.check_writable()?;
        let chunks = locked(&self.running.chunks).take();
        let chunks = chunks.ok_or_else(|| Error::stopped("an import has begun"))?;
        let (connection, id) = (self.connection, &self.running.id);
        let tell = |said: &Reply<'_>| connection.say(Some(id), said);
        tell(&Reply::Credits(crate::protocol::CHUNKS))?;
        let taken = || drop(tell(&Reply::Credits(1)));
        let input = UploadReader::new(chunks, &self.running.cancel, taken);
        let mut options = ImportOptions::new().restore(import.restore);
        if let Some(kind) = import.kind {
            options = options.kind(kind);
        }
        // Those of a batch are told with its progress.
        let conflicts: Arc<Mutex<Vec<Conflict>>> = Arc::default();
        if import.skip_conflicts {
            let met = conflicts.clone();
            options = options.on_conflict(move |conflict| locked(&met).push(conflict.clone()));
        }
        let tell_conflicts = || {
            for conflict in std::mem::take(&mut *locked(&conflicts)) {
                drop(tell(&Reply::Conflict(&conflict.into())));
            }
        };
        let outcome = db.import(input, &options, &mut |so_far: &ImportReport| {
            tell_conflicts();
            drop(tell(&Reply::Progress(imported(so_far))));
        });
        tell_conflicts();
        Ok(Done { position: Some(db.head().0), ..imported(&outcome?) })
    }

    fn export(&mut self, db: &Db, export: &ExportRequest) -> Result<Done> {
        let left_out = Arc::new(AtomicU64::new(0));
        let told = left_out.clone();
        let mut options = ExportOptions::from(export.pattern.as_ref())
            .form(export.form)
            .with_private(export.with_private)
            .on_left_out(move |events| told.store(events, Ordering::Relaxed));
        if let Some(source) = &export.source {
            options = options.source(source);
        }
        let mut writer = ExportSink { answer: self, text: Vec::new(), failed: None };
        let exported = db.export(&options, &mut writer, &mut |_| {});
        let ended = exported.and_then(|events| {
            writer.end()?;
            Ok(events)
        });
        let events = match (ended, writer.failed) {
            (Ok(events), _) => events,
            (Err(_), Some(failed)) => return Err(failed),
            (Err(error), None) => return Err(error),
        };
        let left_out = left_out.load(Ordering::Relaxed);
        Ok(Done {
            events: Some(events),
            left_out: Some(left_out).filter(|events| *events > 0),
            ..Done::default()
        })
    }

    fn acknowledge(&mut self, of: &RequestId, position: Position, durably: bool) -> Result<Done> {
        let Some(cursor) = self.connection.cursor(of) else {
            let found = format!("{of}, which did not on this connection");
            return Err(Error::invalid(
                "`of`",
                "the id of a request that read a durable subscription",
                found,
            ));
        };
        match durably {
            true => cursor.acknowledge_durably(position)?,
            false => cursor.acknowledge(position)?,
        }
        Ok(Done { position: Some(cursor.position()?.0), ..Done::default() })
    }

    fn row(&mut self, row: &Row) -> Result<()> {
        let mark = matches!(row, Row::CaughtUp(_) | Row::Redefined(_));
        if !mark {
            self.wait_for_credit()?;
        }
        match mark {
            true => self.say(&Reply::Row(row))?,
            false => {
                self.paid(&Reply::Row(row))?;
                self.rows += 1;
            }
        }
        if self.lines.len() >= GATHERED { self.flush() } else { Ok(()) }
    }

    /// Says what a client pays for.
    fn paid(&mut self, said: &Reply<'_>) -> Result<()> {
        let before = self.lines.len();
        self.say(said)?;
        self.running.credits.spend(cost(self.lines.len().saturating_sub(before)));
        Ok(())
    }

    fn wait_for_credit(&mut self) -> Result<()> {
        if self.running.credits.any() {
            return Ok(());
        }
        (self.takes_time)();
        self.flush()?;
        self.running.credits.wait(&self.running.cancel)
    }

    fn say(&mut self, said: &Reply<'_>) -> Result<()> {
        said.write(Some(&self.running.id), &mut self.lines)
    }

    fn flush(&mut self) -> Result<()> {
        if !self.lines.is_empty() {
            // A client may say more before it reads.
            (self.takes_time)();
            self.connection.send(&self.lines)?;
            self.lines.clear();
            // One long row is no reason to hold on to what it took.
            self.lines.shrink_to(2 * GATHERED);
        }
        Ok(())
    }
}

fn row_of(event: Event, repeated: bool) -> Row {
    Row::Event { event, repeated }
}

fn imported(report: &ImportReport) -> Done {
    Done {
        lines: Some(report.lines),
        bytes: Some(report.bytes),
        added: Some(report.added),
        known: Some(report.known),
        conflicts: Some(report.conflicts).filter(|conflicts| *conflicts > 0),
        ..Done::default()
    }
}

/// Writes what is exported as texts, each of whole characters.
struct ExportSink<'a, 'c> {
    answer: &'a mut TaskAnswer<'c>,
    text: Vec<u8>,
    failed: Option<Error>,
}

impl ExportSink<'_, '_> {
    fn send(&mut self) -> Result<()> {
        let whole = match std::str::from_utf8(&self.text) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.text.split_off(whole);
        let text = std::mem::replace(&mut self.text, rest);
        let text = String::from_utf8(text).map_err(|_| Error::stopped("an export that is no text"))?;
        self.answer.wait_for_credit()?;
        self.answer.paid(&Reply::Text(&text))?;
        self.answer.flush()
    }

    fn end(&mut self) -> Result<()> {
        if self.text.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for ExportSink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= CREDIT_BYTES / 2
            && let Err(error) = self.send()
        {
            let told = io::Error::other(error.to_string());
            self.failed = Some(error);
            return Err(told);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
