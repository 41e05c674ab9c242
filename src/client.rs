//! The client: asks the process that holds a database, in the words of the [protocol](crate::protocol).
//!
//! One connection answers any number of requests at a time. A thread reads what comes and gives each line to whoever asked ([`answer`]);
//! rows are asked for by credits, so that no more come than are taken.

pub(crate) mod answer;
pub(crate) mod import;
mod inbox;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::Row;
use crate::protocol::answer::{AnswerLine, Done, Hello, Reply};
use crate::protocol::request::{Ask, ClientRequest, TaskRequest};
use crate::protocol::{MAX_LINE, RequestId, cost};
use crate::server::{check_user, path_of, with_address};
use crate::store::locked;
use answer::Answer;
use inbox::Inbox;

/// How long the process that holds the database may take to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take none of what it is sent.
const PATIENCE_TO_SEND: Duration = Duration::from_secs(30);

impl ArrivedRow {
    pub fn read(&self) -> Result<Row> {
        Row::read(&self.kind, &self.text, self.extra.as_deref())
    }
}

/// How soon who waits for an answer looks whether it was ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long the process that holds the database may take to end what is to end.
const GRACE: Duration = Duration::from_secs(2);

/// What of an answer has arrived.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // nearly all of them are rows, and one is looked at at a time
pub(crate) enum Arrived {
    Statement {
        as_of: Option<u64>,
        durable: bool,
    },
    Notice(String),
    /// A row, which is read by whoever takes it.
    Row(ArrivedRow),
    Mark(Row),
    /// A piece of an export, and how many credits it took.
    Text(String, u64),
    Credits(u64),
    Conflict(Error),
    Progress(Done),
    Done(Done),
    Error(Error),
}

impl Arrived {
    fn is_end(&self) -> bool {
        matches!(self, Arrived::Done(_) | Arrived::Error(_))
    }
}

/// A row as it came.
#[derive(Debug)]
pub(crate) struct ArrivedRow {
    pub kind: Box<str>,
    pub text: Box<str>,
    pub extra: Option<Box<str>>,
    /// How many credits it took.
    pub cost: u64,
}

/// A connection to the process that holds a database. It ends with the last handle.
#[derive(Debug)]
pub(crate) struct ProtocolClient {
    pub hello: Hello,
    line: Arc<ClientLine>,
}

/// What the thread that reads shares with those who ask.
#[derive(Debug)]
struct ClientLine {
    path: PathBuf,
    stream: UnixStream,
    sending: Mutex<()>,
    waiting: Mutex<WaitingRequests>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct WaitingRequests {
    requests: HashMap<u64, Arc<Inbox>>,
    /// Why nothing comes any more.
    gone: Option<Error>,
}

impl ProtocolClient {
    /// Connects to whoever holds the database with this canonical path.
    pub fn connect(database: &Path) -> Result<ProtocolClient> {
        let failed = |error| Error::io(format!("attaching to {}", database.display()), error);
        let socket = path_of(database);
        let stream = with_address(&socket, |address| UnixStream::connect(address)).map_err(failed)?;
        let owner = std::fs::metadata(database).map(|file| file.uid()).ok();
        check_user(&stream, owner)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE_TO_SEND)).map_err(failed)?;
        let mut input = BufReader::with_capacity(256 << 10, stream.try_clone().map_err(failed)?);
        let mut line = String::new();
        read_line(&mut input, &mut line).map_err(failed)?;
        let hello: Hello = serde_json::from_str(&line).map_err(|_| refusal(&line, database))?;
        hello.check()?;
        stream.set_read_timeout(None).map_err(failed)?;
        let path = database.to_owned();
        let waiting = Mutex::default();
        let line =
            Arc::new(ClientLine { path, stream, sending: Mutex::new(()), waiting, next: AtomicU64::new(1) });
        let reading = line.clone();
        let read = move || reading.read(input);
        thread::Builder::new().name("bygone-client".to_owned()).spawn(read).map_err(failed)?;
        Ok(ProtocolClient { hello, line })
    }

    /// Hands lines on over a connection of their own, until both ends have said all.
    pub fn relay(
        &self,
        mut input: impl Read + Send + 'static,
        mut output: impl Write,
        read_only: bool,
    ) -> Result<()> {
        let failed = |error| Error::io("handing requests on", error);
        let path = path_of(&self.line.path);
        let stream = with_address(&path, |address| UnixStream::connect(address)).map_err(failed)?;
        let mut sending = stream.try_clone().map_err(failed)?;
        let mut received = BufReader::new(&stream);
        if read_only {
            let ask = ClientRequest { id: RequestId::Number(0), ask: Ask::ReadOnly }.write()?;
            sending.write_all(ask.as_bytes()).map_err(failed)?;
            let (mut hello, mut done) = (String::new(), String::new());
            read_line(&mut received, &mut hello)
                .and_then(|()| read_line(&mut received, &mut done))
                .map_err(failed)?;
            let hello: Hello = serde_json::from_str(&hello).map_err(|_| refusal(&hello, &self.line.path))?;
            let mut line = Vec::new();
            Reply::Hello(&Hello { read_only, ..hello }).write(None, &mut line)?;
            output.write_all(&line).map_err(failed)?;
        }
        let all_sent = Arc::new(AtomicBool::new(false));
        let sent = all_sent.clone();
        let send = move || {
            // Who takes no more has ended the connection, which is told at its other end.
            let copied = std::io::copy(&mut input, &mut sending);
            sent.store(copied.is_ok(), Ordering::SeqCst);
            let _ = sending.shutdown(std::net::Shutdown::Write);
        };
        // It ends with what is read; who waits for that may have gone before.
        thread::Builder::new().name("bygone-relay".to_owned()).spawn(send).map_err(failed)?;
        std::io::copy(&mut received, &mut output).and_then(|_| output.flush()).map_err(failed)?;
        if all_sent.load(Ordering::SeqCst) { Ok(()) } else { Err(self.line.gone()) }
    }

    /// Whether the process that holds the database has gone, or ended the connection.
    pub fn is_gone(&self) -> bool {
        locked(&self.line.waiting).gone.is_some()
    }

    /// Asks for something.
    ///
    /// `writes` says that nobody knows what came of it, where the connection ends before the answer.
    pub fn ask(self: &Arc<ProtocolClient>, request: TaskRequest, writes: bool) -> Result<Answer> {
        let id = self.line.next.fetch_add(1, Ordering::Relaxed);
        let text = ClientRequest { id: RequestId::Number(id), ask: Ask::Task(Box::new(request)) }.write()?;
        if text.len() > MAX_LINE {
            return Err(Error::too_large(
                "what is asked of the process that has the file open",
                text.len(),
                MAX_LINE,
            ));
        }
        let inbox = self.line.register(id)?;
        let asking = Asking { client: self.clone(), id, inbox };
        // What was not sent whole is nothing there.
        self.line.send(&text)?;
        Ok(Answer::new(asking, writes))
    }
}

impl Drop for ProtocolClient {
    fn drop(&mut self) {
        let _ = self.line.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// What was said instead of hello.
fn refusal(line: &str, database: &Path) -> Error {
    let told = serde_json::from_str::<AnswerLine<'_>>(line).ok().and_then(|line| line.error);
    match told {
        Some(error) => Error::from_wire(error.get()),
        None => {
            Error::unopenable(database, "what answers beside it is no Bygone", "look what has its socket")
        }
    }
}

/// Reads a line. One that is too long, or that is not whole, is an error.
fn read_line(input: &mut impl BufRead, line: &mut String) -> std::io::Result<()> {
    line.clear();
    input.by_ref().take(MAX_LINE as u64 * 2).read_line(line)?;
    match line.pop() {
        Some('\n') => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

impl ClientLine {
    fn register(&self, id: u64) -> Result<Arc<Inbox>> {
        let mut waiting = locked(&self.waiting);
        if let Some(gone) = &waiting.gone {
            return Err(gone.clone());
        }
        // No more comes than was asked for by credits.
        let inbox = Arc::new(Inbox::default());
        waiting.requests.insert(id, inbox.clone());
        Ok(inbox)
    }

    fn send(&self, text: &str) -> Result<()> {
        let _sending = locked(&self.sending);
        (&self.stream).write_all(text.as_bytes()).map_err(|error| {
            // It takes no more; what it has taken may be answered still. Otherwise half a line may be on its way, and there is no going on
            // behind that.
            if error.kind() != ErrorKind::BrokenPipe {
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
            }
            locked(&self.waiting).gone.get_or_insert_with(|| self.gone()).clone()
        })
    }

    fn gone(&self) -> Error {
        let path = self.path.display();
        Error::stopped(format!("the process that held {path} has gone; attach again, or open it"))
    }

    fn read(&self, mut input: impl BufRead) {
        let mut line = String::new();
        while read_line(&mut input, &mut line).is_ok() {
            // What is of a later version, or of a request that nobody waits for, is passed over.
            let Ok(read) = serde_json::from_str::<AnswerLine<'_>>(&line) else { continue };
            let Some(id) = read.id else { continue };
            let Some(arrived) = arrived(&read, cost(line.len() + 1)) else { continue };
            let ends = arrived.is_end();
            let mut waiting = locked(&self.waiting);
            let inbox = match ends {
                true => waiting.requests.remove(&id),
                false => waiting.requests.get(&id).cloned(),
            };
            drop(waiting);
            if let Some(inbox) = inbox {
                inbox.put(arrived);
            }
            // One long row is no reason to hold on to what it took.
            line.shrink_to(1 << 20);
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let mut waiting = locked(&self.waiting);
        waiting.gone = Some(self.gone());
        waiting.requests.drain().for_each(|(_, inbox)| inbox.close());
    }
}

fn arrived(line: &AnswerLine<'_>, cost: u64) -> Option<Arrived> {
    if let (Some(kind), Some(row)) = (&line.kind, line.row) {
        let extra = line.extra.map(|extra| extra.get().into());
        let row = ArrivedRow { kind: kind.as_ref().into(), text: row.get().into(), extra, cost };
        return Some(Arrived::Row(row));
    }
    if let (Some(mark), Some(position)) = (&line.mark, line.position) {
        let position = Position(position);
        return match mark.as_ref() {
            "caughtUp" => Some(Arrived::Mark(Row::CaughtUp(position))),
            "redefined" => Some(Arrived::Mark(Row::Redefined(position))),
            _ => None,
        };
    }
    if line.statement.is_some() {
        return Some(Arrived::Statement { as_of: line.as_of, durable: line.durable });
    }
    if let Some(notice) = &line.notice {
        return Some(Arrived::Notice(notice.to_string()));
    }
    if let Some(text) = &line.text {
        return Some(Arrived::Text(text.to_string(), cost));
    }
    if let Some(error) = line.error {
        return Some(Arrived::Error(Error::from_wire(error.get())));
    }
    if let Some(conflict) = line.conflict {
        return Some(Arrived::Conflict(Error::from_wire(conflict.get())));
    }
    let done = || line.done.clone().map(Arrived::Done);
    let progress = || line.progress.clone().map(Arrived::Progress);
    line.credits.map(Arrived::Credits).or_else(done).or_else(progress)
}

/// A request that was sent, as long as somebody waits for its answer.
#[derive(Debug)]
pub(crate) struct Asking {
    /// It goes on as long as somebody waits for an answer.
    client: Arc<ProtocolClient>,
    id: u64,
    inbox: Arc<Inbox>,
}

impl Asking {
    /// Says something of it.
    pub fn say(&self, ask: Ask) -> Result<()> {
        self.client.line.send(&ClientRequest { id: RequestId::Number(self.id), ask }.write()?)
    }

    /// Ends it.
    pub fn cancel(&self) {
        cancel(&self.client.line, self.id);
    }

    /// What ends it from elsewhere, as long as it waits.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static {
        let (line, id) = (Arc::downgrade(&self.client.line), self.id);
        move || {
            if let Some(line) = line.upgrade() {
                cancel(&line, id);
            }
        }
    }

    /// The next of the answer; none where the connection has ended. Who ends it waits no longer than a moment for that to be heard.
    pub fn next(&self, cancel: &Cancel) -> Result<Option<Arrived>> {
        let mut ended: Option<Instant> = None;
        loop {
            if let Ok(arrived) = self.inbox.take(LOOK) {
                return Ok(arrived);
            }
            if let Err(error) = cancel.check() {
                let since = ended.get_or_insert_with(Instant::now);
                if since.elapsed() > GRACE {
                    return Err(error);
                }
            }
        }
    }

    /// What is known of it where the connection has ended.
    pub fn gone(&self, writes: bool) -> Error {
        match writes {
            false => self.client.line.gone(),
            true => {
                let path = self.client.line.path.display();
                Error::unknown(format!("the process that held {path} has gone before it answered"))
            }
        }
    }

    pub fn id(&self) -> RequestId {
        RequestId::Number(self.id)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        locked(&self.client.line.waiting).requests.remove(&self.id);
    }
}

fn cancel(line: &ClientLine, id: u64) {
    let own = RequestId::Number(line.next.fetch_add(1, Ordering::Relaxed));
    // Who has gone has ended it.
    if let Ok(text) = (ClientRequest { id: own, ask: Ask::Cancel(RequestId::Number(id)) }).write() {
        let _ = line.send(&text);
    }
}
