//! Entities that are closed: nothing more joins their histories until they are reopened.
//!
//! An entity is closed where the newest event of its history says so: nothing comes behind that but what reopens it. Which events close
//! one is remembered, as far as they are in the tables: one look at those for each checkpoint brings it up, and no event is looked at for it.

use super::{Admission, AdmissionBatch};
use crate::entity::{EventType, Position, PositionRange};
use crate::error::{Conflict, Error, Result, Witness};
use crate::event::record::Record;
use crate::event::{CLOSED, REOPENED, codec};
use crate::store::append_request::PreparedEvent;
use crate::store::closings::Closings;
use crate::store::committer::Committer;
use crate::store::index::term::Term;
use crate::store::memtable::ListEnd;
use crate::store::read_txn::ReadTxn;
use crate::store::snapshot::ScanDirection;

impl Admission<'_> {
    /// Refuses an event of an entity that is closed, and what reopens one that is not. `end` is that of its history.
    pub(super) fn check_standing(
        self,
        committer: &mut Committer,
        batch: &mut AdmissionBatch,
        event: &PreparedEvent,
        end: ListEnd,
    ) -> Result<()> {
        let Some(target) = &event.target else { return Ok(()) };
        let newest = self.newest_closing(committer, batch)?;
        // Whoever has a newer event than the newest that closes anything is open.
        let closed = end.count > 0
            && end.last <= newest
            && match committer.closings.has(end.last) {
                Some(closes) => closes,
                None => Record::open(end.last, &self.stored(batch, end.last)?)?.kind() == CLOSED,
            };
        let reopens = event.kind.as_str() == REOPENED;
        if closed == reopens {
            return Ok(());
        }
        if reopens {
            let found = match end.count {
                0 => "no event yet".to_owned(),
                count => {
                    let last = codec::decode(end.last, self.stored(batch, end.last)?)?;
                    format!("version {count}, last {} at {}", last.kind, last.position)
                }
            };
            return Err(Error::conflict(target.to_string(), "one that is closed, to be reopened", found));
        }
        let closing = codec::decode(end.last, self.stored(batch, end.last)?)?;
        let because = closing.data.get("because");
        Err(Conflict::Closed {
            entity: target.to_string(),
            found: end.count,
            closed: Box::new(Witness::from(&closing)),
            because: because.and_then(|because| because.as_text().map(str::to_owned)),
        }
        .into())
    }

    /// Where the newest event is, staged or not, that closes an entity; the start, if there is none.
    fn newest_closing(self, committer: &mut Committer, batch: &mut AdmissionBatch) -> Result<Position> {
        if let Some(newest) = batch.newest_closing {
            return Ok(newest);
        }
        let (term, base) = (Term::kind(&EventType::new(CLOSED)?)?, batch.memtables.base());
        if committer.closings.through != base {
            let closings = &mut committer.closings;
            ReadTxn::read(self.kernel.read_source(), Position::MAX, None, |view| {
                follow(closings, view, &term, base)
            })?;
        }
        let in_tables = committer.closings.newest;
        let (_, in_memtables) = batch.memtables.count(&term, Position::START);
        let newest = in_tables.max(in_memtables.unwrap_or_default());
        batch.newest_closing = Some(newest);
        Ok(newest)
    }
}

/// Takes in those up to a checkpoint.
fn follow(closings: &mut Closings, view: &ReadTxn, term: &Term, checkpoint: Position) -> Result<()> {
    loop {
        let rest = PositionRange::after(closings.through).and(PositionRange::through(checkpoint));
        let page = view.page(term, rest, ScanDirection::Ascending)?;
        if page.is_empty() {
            closings.through = checkpoint;
            return Ok(());
        }
        closings.add(page);
    }
}
