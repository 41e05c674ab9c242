//! The answer to a request, as it comes.

use std::sync::Arc;
use std::time::Duration;

use super::arrived::Arrived;
use super::asking::Asking;
use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::exec::Row;
use crate::protocol::answer::Done;
use crate::protocol::request::Ask;

/// How many credits there are at a time: rows that may have come and were not taken yet.
pub(crate) const WINDOW: u64 = 512;

/// What comes of a request. Dropped before its end, it ends the request.
pub(crate) struct Answer {
    asking: Arc<Asking>,
    writes: bool,
    /// Another one may read the same subscription once this is known to have ended.
    durable: bool,
    /// Credits of what was taken, and not given back yet.
    spent: u64,
    ended: bool,
    /// What ends it from elsewhere.
    cancel: Option<(Cancel, Arc<dyn Fn() + Send + Sync>)>,
}

/// What an answer begins with.
#[derive(Debug, Default)]
pub(crate) struct AnswerHead {
    pub notices: Vec<String>,
    pub as_of: Option<Position>,
    pub durable: bool,
}

impl Answer {
    pub(super) fn new(asking: Asking, writes: bool) -> Answer {
        Answer { asking: Arc::new(asking), writes, durable: false, spent: 0, ended: false, cancel: None }
    }

    /// Ends with this.
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Answer {
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(self.asking.canceller());
        cancel.on_cancel(&wake);
        self.cancel = Some((cancel.clone(), wake));
        self
    }

    pub fn asking(&self) -> &Arc<Asking> {
        &self.asking
    }

    /// The next that comes; none behind the end.
    pub fn next(&mut self) -> Option<Result<Arrived>> {
        if self.ended {
            return None;
        }
        let nothing = Cancel::new();
        let cancel = self.cancel.as_ref().map_or(&nothing, |(cancel, _)| cancel);
        let arrived = match self.asking.next(cancel) {
            Ok(Some(Arrived::Error(error))) => Err(error),
            Ok(Some(arrived)) => Ok(arrived),
            Ok(None) => Err(self.asking.gone(self.writes)),
            Err(error) => Err(error),
        };
        self.ended = !matches!(arrived, Ok(ref arrived) if !matches!(arrived, Arrived::Done(_)));
        Some(arrived)
    }

    /// What stands before the rows of a statement.
    pub fn head(&mut self) -> Result<AnswerHead> {
        let mut head = AnswerHead::default();
        loop {
            match self.next().transpose()? {
                Some(Arrived::Notice(notice)) => head.notices.push(notice),
                Some(Arrived::Statement { as_of, durable }) => {
                    self.durable = durable;
                    return Ok(AnswerHead { as_of: as_of.map(Position), durable, ..head });
                }
                Some(Arrived::Done(_)) | None => return Ok(head),
                Some(_) => {}
            }
        }
    }

    /// The next row; none behind the last.
    pub fn row(&mut self) -> Option<Result<Row>> {
        loop {
            return Some(match self.next()? {
                Ok(Arrived::Row(row)) => {
                    self.pay(row.cost);
                    row.read()
                }
                Ok(Arrived::Mark(mark)) => Ok(mark),
                Ok(Arrived::Done(_)) => return None,
                Ok(_) => continue,
                Err(error) => Err(error),
            });
        }
    }

    /// What was told at the end, once all rows were taken.
    pub fn finish(mut self, mut row: impl FnMut(Row) -> Result<()>) -> Result<Done> {
        loop {
            match self.next().transpose()? {
                Some(Arrived::Row(arrived)) => {
                    self.pay(arrived.cost);
                    row(arrived.read()?)?;
                }
                Some(Arrived::Done(done)) => return Ok(done),
                Some(_) => {}
                None => return Err(Error::stopped("an answer has no end")),
            }
        }
    }

    /// What was taken makes room for as much.
    pub fn pay(&mut self, cost: u64) {
        self.spent += cost;
        if self.spent >= WINDOW / 2 {
            // Who has gone is noticed by what comes next.
            let _ = self.asking.say(Ask::Credits(std::mem::take(&mut self.spent)));
        }
    }
}

impl Iterator for AnswerRows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        self.0.row()
    }
}

/// The rows of an answer.
pub(crate) struct AnswerRows(pub Answer);

impl Drop for Answer {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.asking.cancel();
        let limit = Cancel::after(Duration::ZERO);
        while self.durable && matches!(self.asking.next(&limit), Ok(Some(arrived)) if !arrived.is_end()) {}
    }
}
