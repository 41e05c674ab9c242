//! Answers: the lines that a request is answered with, written here and read here.

use std::borrow::Cow;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{RequestId, VERSION};
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::Row;

/// The first line of a connection: who answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hello {
    /// The version of Bygone.
    pub bygone: String,
    /// The version of the protocol.
    pub protocol: u64,
    /// The id of the database.
    pub database: String,
    /// The process that holds it.
    pub process: u32,
    /// Its newest event.
    pub head: u64,
    /// Nothing may be written here.
    pub read_only: bool,
}

impl Hello {
    /// Refuses a protocol that this program does not speak.
    pub fn check(&self) -> Result<()> {
        match self.protocol {
            VERSION => Ok(()),
            other => Err(Error::invalid(
                "the process that holds the database",
                format!("one that speaks version {VERSION} of the protocol"),
                format!("Bygone {} with version {other}", self.bygone),
            )),
        }
    }
}

/// What a line of an answer says.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    /// Who answers: what a connection begins with.
    Hello(&'a Hello),
    /// The rows of a statement of the text begin, the first of which is 1; how much of the log a read sees; whether what is delivered is
    /// to be acknowledged. What there is to say of it was said before.
    Statement { number: u64, as_of: Option<Position>, durable: bool },
    /// Something for people to read.
    Notice(&'a str),
    /// A row of an answer.
    Row(&'a Row),
    /// A piece of what is exported.
    Text(&'a str),
    /// So many more chunks of an import may be sent.
    Credits(u64),
    /// An event of an import was passed over.
    Conflict(&'a Error),
    /// How far it has come.
    Progress(Done),
    /// It ended well.
    Done(Done),
    /// It failed.
    Error(&'a Error, Option<u64>),
}

/// What there is to tell at the end, or on the way. What a kind of request does not have is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The newest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Of an append: a key was met again, and nothing was written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// Of an import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<u64>,
    /// Of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// Of a status: whether all that is defined is built, whether what runs here has come to its end, what waits for somebody to run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<Vec<String>>,
}

impl Reply<'_> {
    /// Adds the line to others. It is one, whatever it says: texts have their line ends escaped.
    pub fn write(&self, id: Option<&RequestId>, lines: &mut Vec<u8>) -> Result<()> {
        let start = lines.len();
        let written = self.try_write(id, lines);
        written.map_err(|error| {
            lines.truncate(start);
            Error::invalid("an answer", "what has a form in JSON", error.to_string())
        })
    }

    fn try_write(&self, id: Option<&RequestId>, lines: &mut Vec<u8>) -> serde_json::Result<()> {
        if let Reply::Hello(hello) = self {
            serde_json::to_writer(&mut *lines, hello)?;
            lines.push(b'\n');
            return Ok(());
        }
        lines.push(b'{');
        if let Some(id) = id {
            lines.extend_from_slice(br#""id":"#);
            serde_json::to_writer(&mut *lines, id)?;
            lines.push(b',');
        }
        match self {
            Reply::Hello(_) => {}
            Reply::Statement { number, as_of, durable } => {
                member(lines, "statement", number)?;
                if *durable {
                    lines.push(b',');
                    member(lines, "durable", &true)?;
                }
                if let Some(position) = as_of {
                    lines.push(b',');
                    member(lines, "asOf", &position.0)?;
                }
            }
            Reply::Notice(text) => member(lines, "notice", text)?,
            Reply::Row(Row::CaughtUp(position)) => mark(lines, "caughtUp", *position)?,
            Reply::Row(Row::Redefined(position)) => mark(lines, "redefined", *position)?,
            Reply::Row(row) => {
                member(lines, "kind", row.kind())?;
                lines.push(b',');
                member(lines, "row", row)?;
                if let Some(extra) = row.extra() {
                    lines.push(b',');
                    member(lines, "extra", &extra)?;
                }
            }
            Reply::Text(text) => member(lines, "text", text)?,
            Reply::Credits(more) => member(lines, "credits", more)?,
            Reply::Conflict(error) => member(lines, "conflict", &error.to_wire())?,
            Reply::Progress(done) => member(lines, "progress", done)?,
            Reply::Done(done) => member(lines, "done", done)?,
            Reply::Error(error, statement) => {
                // A place in the text tells its statement.
                let statement = statement.filter(|_| error.fault().is_none());
                member(lines, "error", &ErrorLine { error: error.to_wire(), statement })?;
            }
        }
        lines.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// An error, and in which statement of a text.
#[derive(Serialize)]
struct ErrorLine<E> {
    #[serde(flatten)]
    error: E,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<u64>,
}

fn member<T: Serialize + ?Sized>(lines: &mut Vec<u8>, name: &str, value: &T) -> serde_json::Result<()> {
    // A vector takes what it is given.
    let _ = write!(lines, "\"{name}\":");
    serde_json::to_writer(lines, value)
}

fn mark(lines: &mut Vec<u8>, name: &str, position: Position) -> serde_json::Result<()> {
    member(lines, "mark", name)?;
    lines.push(b',');
    member(lines, "position", &position.0)
}

/// A line of an answer, as it is read. What it says besides is of a later version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnswerLine<'a> {
    pub id: Option<u64>,
    pub statement: Option<u64>,
    pub as_of: Option<u64>,
    #[serde(default)]
    pub durable: bool,
    #[serde(borrow)]
    pub notice: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub row: Option<&'a RawValue>,
    /// What of a row its JSON does not tell.
    #[serde(borrow)]
    pub extra: Option<&'a RawValue>,
    #[serde(borrow)]
    pub mark: Option<Cow<'a, str>>,
    pub position: Option<u64>,
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    pub credits: Option<u64>,
    #[serde(borrow)]
    pub conflict: Option<&'a RawValue>,
    pub progress: Option<Done>,
    pub done: Option<Done>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}
