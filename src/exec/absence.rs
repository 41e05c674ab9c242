//! `EXPECT NONE`: looking for an event of which there must be none.

use super::EventScan;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan::{AbsenceCheck, choose};
use crate::store::catalog::Catalog;
use crate::store::condition::CommitCondition;
use crate::store::index::term::Term;
use crate::store::snapshot::Snapshot;

/// So many events of lists are looked at one by one. More are worth a thought.
const FEW: usize = 32;

impl CommitCondition for AbsenceCheck {
    fn find(&self, snapshot: &Snapshot, after: Position) -> Result<Option<Position>> {
        let (after, head) = (self.after().max(after), snapshot.head());
        if after >= head {
            return Ok(None);
        }
        let limits = snapshot.query_limits();
        if let Some(lists) = self.whole_lists(snapshot.indexes())
            && let Some(found) = snapshot.first_of(lists, after, FEW, |event| self.holds(event, &limits))?
        {
            return Ok(found);
        }
        let mut found = None;
        EventScan::to_lend(snapshot, &choose(snapshot, self.question(after, head))?)?.each(|event| {
            found = Some(event.position());
            Ok(false)
        })?;
        Ok(found)
    }

    fn is_met_by(&self, event: &Record, limits: &Limits) -> Result<bool> {
        self.holds(event, limits)
    }

    fn lists(&self, catalog: &Catalog) -> Option<&[Term]> {
        AbsenceCheck::lists(self, catalog)
    }
}
