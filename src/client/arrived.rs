//! What comes of an answer, line by line.

use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::Row;
use crate::protocol::answer::{AnswerLine, Done};

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
    pub fn is_end(&self) -> bool {
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

impl ArrivedRow {
    pub fn read(&self) -> Result<Row> {
        Row::read(&self.kind, &self.text, self.extra.as_deref())
    }
}

/// What a line says; none where it says what is of a later version.
pub(super) fn arrived(line: &AnswerLine<'_>, cost: u64) -> Option<Arrived> {
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
