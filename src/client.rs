//! The client: asks the process that holds a database, in the words of the [protocol](crate::protocol).
//!
//! One [`connection`] answers any number of requests at a time, each line for whoever asked ([`answer`]); rows are asked for by credits, so
//! that no more come than are taken.

pub(crate) mod answer;
mod arrived;
mod asking;
mod connection;
pub(crate) mod import;
mod reader;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::protocol::answer::{AnswerLine, Hello, Reply};
use crate::protocol::request::{Ask, ClientRequest, TaskRequest};
use crate::protocol::{MAX_LINE, RequestId};
use crate::server::{check_user, path_of, with_address};
use answer::Answer;
use asking::Asking;
use connection::ClientConnection;
use reader::AnswerReader;

/// How long the process that holds the database may take to say hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take none of what it is sent.
const PATIENCE_TO_SEND: Duration = Duration::from_secs(30);

/// A connection to the process that holds a database. It ends with the last handle.
#[derive(Debug)]
pub(crate) struct ProtocolClient {
    pub hello: Hello,
    connection: Arc<ClientConnection>,
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
        let mut reader = AnswerReader::new(stream.try_clone().map_err(failed)?);
        let line = reader.line().map_err(failed)?;
        let hello: Hello = serde_json::from_slice(line).map_err(|_| refusal(line, database))?;
        hello.check()?;
        let connection = Arc::new(ClientConnection::new(database, stream, reader).map_err(failed)?);
        let reading = connection.clone();
        let read = move || reading.read_for_nobody();
        thread::Builder::new().name("bygone-client".to_owned()).spawn(read).map_err(failed)?;
        Ok(ProtocolClient { hello, connection })
    }

    /// Hands lines on over a connection of their own, until both ends have said all.
    pub fn relay(
        &self,
        mut input: impl Read + Send + 'static,
        mut output: impl Write,
        read_only: bool,
    ) -> Result<()> {
        let failed = |error| Error::io("handing requests on", error);
        let path = path_of(&self.connection.path);
        let stream = with_address(&path, |address| UnixStream::connect(address)).map_err(failed)?;
        let mut sending = stream.try_clone().map_err(failed)?;
        let mut received = AnswerReader::new(stream.try_clone().map_err(failed)?);
        if read_only {
            let ask = ClientRequest { id: RequestId::Number(0), ask: Ask::ReadOnly }.write()?;
            sending.write_all(ask.as_bytes()).map_err(failed)?;
            let hello = received.line().map_err(failed)?;
            let hello: Hello =
                serde_json::from_slice(hello).map_err(|_| refusal(hello, &self.connection.path))?;
            received.line().map_err(failed)?;
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
        std::io::copy(&mut received.rest(), &mut output).and_then(|_| output.flush()).map_err(failed)?;
        if all_sent.load(Ordering::SeqCst) { Ok(()) } else { Err(self.connection.gone()) }
    }

    /// Whether the process that holds the database has gone, or ended the connection.
    pub fn is_gone(&self) -> bool {
        self.connection.is_gone()
    }

    /// Asks for something.
    ///
    /// `writes` says that nobody knows what came of it, where the connection ends before the answer.
    pub fn ask(self: &Arc<ProtocolClient>, request: TaskRequest, writes: bool) -> Result<Answer> {
        let id = self.connection.next_id();
        let text = ClientRequest { id: RequestId::Number(id), ask: Ask::Task(Box::new(request)) }.write()?;
        if text.len() > MAX_LINE {
            return Err(Error::too_large(
                "what is asked of the process that has the file open",
                text.len(),
                MAX_LINE,
            ));
        }
        self.connection.register(id)?;
        let asking = Asking { client: self.clone(), id };
        // What was not sent whole is nothing there.
        self.connection.send(&text)?;
        Ok(Answer::new(asking, writes))
    }
}

impl Drop for ProtocolClient {
    fn drop(&mut self) {
        self.connection.close();
    }
}

/// What was said instead of hello.
fn refusal(line: &[u8], database: &Path) -> Error {
    let told = serde_json::from_slice::<AnswerLine<'_>>(line).ok().and_then(|line| line.error);
    match told {
        Some(error) => Error::from_wire(error.get()),
        None => {
            Error::unopenable(database, "what answers beside it is no Bygone", "look what has its socket")
        }
    }
}
