//! One request of the protocol, and the lines it is answered with, which become the body of an answer.
//!
//! The database is served as over a pair of streams. Its input ends with the answer, or fails where the client has gone, which cancels what
//! runs; its output waits with the status until the first row, or what stands for it, shows that there is none to refuse.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::respond::{HttpResponse, status_of};
use super::{DatabaseSite, locked, stream};
use crate::error::{Error, Result};
use crate::protocol::RequestId;
use crate::protocol::answer::AnswerLine;
use crate::protocol::request::{Ask, ClientRequest, TaskRequest};

/// How soon to look whether the client has gone.
const LOOK: Duration = Duration::from_millis(250);

/// After so long without an event there is a comment: whoever is in between does not take the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

/// How much may come behind a request.
const MAX_SCRAP: usize = 64 << 10;

/// How each line of an answer begins, up to what it says.
const ID: &[u8] = br#"{"id":1,"#;

/// What the body of an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// The lines of the protocol, without the id of the request.
    Lines,
    /// Server-sent events.
    Events,
}

impl BodyForm {
    pub fn content(self) -> &'static str {
        match self {
            BodyForm::Lines => "application/x-ndjson",
            BodyForm::Events => "text/event-stream",
        }
    }
}

/// Answers a request.
pub(super) fn answer(
    client: &TcpStream,
    version: u8,
    form: BodyForm,
    request: TaskRequest,
    site: &DatabaseSite,
) -> io::Result<()> {
    let request = ClientRequest { id: RequestId::Number(1), ask: Ask::Task(Box::new(request)) };
    let line = request.write().map_err(|error| io::Error::other(error.to_string()))?;
    let exchange = Arc::new(Exchange {
        state: Mutex::new(ExchangeState {
            client: client.try_clone()?,
            version,
            form,
            greeted: false,
            begun: false,
            held_back: Vec::new(),
            partial: Vec::new(),
            ended: false,
            gone: false,
            sent: Instant::now(),
        }),
        changed: Condvar::new(),
    });
    let input =
        ExchangeInput { exchange: exchange.clone(), client: client.try_clone()?, line, at: 0, scrap: 0 };
    let served = site.db.serve(input, ExchangeOutput(exchange.clone()), site.access);
    let mut state = locked(&exchange.state);
    state.finish(served)
}

struct Exchange {
    state: Mutex<ExchangeState>,
    /// It has ended, or the client has gone.
    changed: Condvar,
}

struct ExchangeState {
    client: TcpStream,
    version: u8,
    form: BodyForm,
    /// The first line, which tells who answers, has come.
    greeted: bool,
    /// The status was sent.
    begun: bool,
    /// What is sent behind it, once it is.
    held_back: Vec<u8>,
    /// A line that has no end yet.
    partial: Vec<u8>,
    ended: bool,
    gone: bool,
    /// When something was sent the last time.
    sent: Instant,
}

/// What of the answer an event stream needs.
#[derive(Deserialize)]
struct EventPosition {
    position: u64,
}

impl ExchangeState {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.sent = Instant::now();
        stream::send(&self.client, bytes).inspect_err(|_| self.hang_up())
    }

    fn hang_up(&mut self) {
        self.gone = true;
        let _ = self.client.shutdown(Shutdown::Both);
    }

    /// Takes what was answered, which need not be whole lines.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        let mut piece = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = match self.partial.is_empty() {
                true => self.line(&rest[..end], &mut piece),
                false => {
                    self.partial.extend_from_slice(&rest[..end]);
                    let line = std::mem::take(&mut self.partial);
                    self.line(&line, &mut piece)
                }
            };
            line?;
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        self.pass_on(&piece)
    }

    fn pass_on(&mut self, piece: &[u8]) -> io::Result<()> {
        if !self.begun {
            self.held_back.extend_from_slice(piece);
            return Ok(());
        }
        let mut out = Vec::with_capacity(piece.len() + 32);
        stream::add_piece(&mut out, piece, self.version);
        if self.ended {
            stream::add_end(&mut out, self.version);
        }
        if out.is_empty() { Ok(()) } else { self.send(&out) }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        let mut out = stream::head(self.form.content(), self.version);
        stream::add_piece(&mut out, &std::mem::take(&mut self.held_back), self.version);
        self.begun = true;
        self.send(&out)
    }

    /// Takes a line, and adds what it becomes.
    fn line(&mut self, line: &[u8], piece: &mut Vec<u8>) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        let fails = |line: &[u8]| line.starts_with(br#"{"error":"#);
        if !std::mem::replace(&mut self.greeted, true) && !fails(line) {
            return Ok(());
        }
        let line = match line.strip_prefix(ID) {
            Some(rest) => [b"{", rest].concat(),
            None => line.to_vec(),
        };
        let (failed, done) = (fails(&line), line.starts_with(br#"{"done":"#));
        self.ended = failed || done;
        if failed && !self.begun {
            return self.refuse(&line);
        }
        let is_row = line.starts_with(br#"{"kind":"#) || line.starts_with(br#"{"mark":"#);
        let subscribed = self.form == BodyForm::Events && line.starts_with(br#"{"statement":"#);
        if is_row || done || subscribed {
            self.begin()?;
        }
        match self.form {
            BodyForm::Lines => {
                piece.extend_from_slice(&line);
                piece.push(b'\n');
            }
            BodyForm::Events => event(&line, piece),
        }
        Ok(())
    }

    /// It failed before there was a row: the status tells of it.
    fn refuse(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line).into_owned();
        let told = serde_json::from_str::<AnswerLine<'_>>(&text).ok().and_then(|line| line.error);
        let error = match told {
            Some(error) => Error::from_wire(error.get()),
            None => Error::stopped("the answer cannot be read"),
        };
        self.send(&HttpResponse::error_line(status_of(&error), text + "\n").bytes())
    }

    /// Nothing more is answered.
    fn finish(&mut self, served: Result<()>) -> io::Result<()> {
        match (self.gone, self.ended, self.begun) {
            (true, ..) => Err(io::ErrorKind::BrokenPipe.into()),
            (_, true, _) => Ok(()),
            // Without its end, the body tells that it was cut off.
            (_, false, true) => Err(io::ErrorKind::UnexpectedEof.into()),
            (_, false, false) => {
                let why = served.err().unwrap_or_else(|| Error::stopped("the database was closed"));
                self.send(&HttpResponse::error(&why).bytes())
            }
        }
    }
}

/// Adds the event that a line is, if it is one.
fn event(line: &[u8], piece: &mut Vec<u8>) {
    let Ok(read) = serde_json::from_slice::<AnswerLine<'_>>(line) else { return };
    // A vector takes what it is given.
    let _ = match (read.row, &read.mark, read.position, read.error) {
        (Some(row), ..) => match serde_json::from_str::<EventPosition>(row.get()) {
            Ok(EventPosition { position }) => write!(piece, "id: {position}\ndata: {row}\n\n"),
            Err(_) => Ok(()),
        },
        (_, Some(mark), Some(position), _) => {
            write!(piece, "id: {position}\nevent: {mark}\ndata: {{\"position\":{position}}}\n\n")
        }
        (.., Some(error)) => write!(piece, "event: failed\ndata: {error}\n\n"),
        _ => Ok(()),
    };
}

/// What the database reads: the request, and its end once it is answered.
struct ExchangeInput {
    exchange: Arc<Exchange>,
    client: TcpStream,
    line: String,
    at: usize,
    scrap: usize,
}

impl ExchangeInput {
    fn state(&self) -> MutexGuard<'_, ExchangeState> {
        locked(&self.exchange.state)
    }

    /// Whether the client has hung up. One that sends no more has: what a request is was read before.
    fn has_hung_up(&mut self) -> bool {
        let mut scrap = [0; 1024];
        loop {
            if self.client.set_read_timeout(Some(Duration::from_millis(1))).is_err() {
                return true;
            }
            match self.client.read(&mut scrap) {
                Ok(0) => return true,
                Ok(read) if self.scrap + read > MAX_SCRAP => return true,
                Ok(read) => self.scrap += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return !stream::is_late(&error),
            }
        }
    }

    /// Waits for the end. False where the client has gone.
    fn wait(&mut self) -> bool {
        loop {
            {
                let state = self.state();
                if state.gone || state.ended {
                    return !state.gone;
                }
                let waited = self.exchange.changed.wait_timeout(state, LOOK);
                let mut state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
                if state.gone || state.ended {
                    return !state.gone;
                }
                if state.form == BodyForm::Events && state.begun && state.sent.elapsed() >= HEARTBEAT {
                    let mut comment = Vec::new();
                    stream::add_piece(&mut comment, b":\n\n", state.version);
                    if state.send(&comment).is_err() {
                        return false;
                    }
                }
            }
            if self.has_hung_up() {
                self.state().hang_up();
                return false;
            }
        }
    }
}

impl Read for ExchangeInput {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.line.as_bytes()[self.at..];
        if !rest.is_empty() {
            let length = rest.len().min(out.len());
            out[..length].copy_from_slice(&rest[..length]);
            self.at += length;
            return Ok(length);
        }
        self.line = String::new();
        self.at = 0;
        if self.wait() { Ok(0) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

/// What the database answers.
struct ExchangeOutput(Arc<Exchange>);

impl Write for ExchangeOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = locked(&self.0.state);
        let taken = state.take(bytes);
        if state.ended || state.gone {
            self.0.changed.notify_all();
        }
        taken.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_an_event() {
        for (line, becomes) in [
            (
                r#"{"kind":"event","row":{"position":7,"data":"a\nb"},"extra":{}}"#,
                "id: 7\ndata: {\"position\":7,\"data\":\"a\\nb\"}\n\n",
            ),
            (r#"{"mark":"caughtUp","position":7}"#, "id: 7\nevent: caughtUp\ndata: {\"position\":7}\n\n"),
            (
                r#"{"error":{"kind":"io","message":"a"}}"#,
                "event: failed\ndata: {\"kind\":\"io\",\"message\":\"a\"}\n\n",
            ),
            (r#"{"statement":1}"#, ""),
            (r#"{"notice":"a"}"#, ""),
            (r#"{"done":{"rows":1}}"#, ""),
            (r#"{"later":1}"#, ""),
            ("no JSON", ""),
        ] {
            let mut piece = Vec::new();
            event(line.as_bytes(), &mut piece);
            assert_eq!(String::from_utf8(piece).unwrap(), becomes, "{line}");
        }
    }
}
