//! Guards: what is expected of the log, checked as of what is staged.

use std::collections::HashSet;

use super::{Admission, AdmissionBatch, AdmissionStep};
use crate::allowance::Limits;
use crate::entity::{Entity, Position, PositionRange};
use crate::error::{Conflict, Error, Result, Witness};
use crate::event::record::Record;
use crate::event::{Expect, codec};
use crate::store::append_request::{Prepared, PreparedEvent};
use crate::store::condition::Checked;
use crate::store::index::term::Term;
use crate::store::memtable::ListEnd;
use crate::store::read_form::read_form;

/// So many events are looked at one by one for a condition; for more, the lists are asked.
const FEW: u64 = 64;

impl Admission<'_> {
    /// Refuses a group where what it expects is not so before it.
    pub(super) fn check_group(self, batch: &AdmissionBatch, request: &Prepared) -> Result<()> {
        for checked in &request.conditions {
            self.check_condition(batch, checked, batch.next)?;
        }
        if !request.expect.iter().any(Expect::is_of_target) {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let events = request.events.iter().enumerate();
        let events = events.filter_map(|(at, event)| Some((at, event.target.as_ref()?, event.tables)));
        let performs = request.performs.iter().map(|act| (act.before, &act.perform.entity, None));
        // In the order in which they are said.
        let mut acts: Vec<_> = performs.chain(events).collect();
        acts.sort_by_key(|(at, ..)| *at);
        for (_, entity, tables) in acts.into_iter().filter(|(_, entity, _)| seen.insert(*entity)) {
            let end = self.count(batch, &Term::entity(entity)?, tables)?;
            for expect in &request.expect {
                self.check(batch, expect, Some(entity), end, batch.next)?;
            }
        }
        Ok(())
    }

    /// Refuses what a group expects of each entity that it joins, where a verb makes it join one that it did not name. As it was before
    /// the group: `first` is where that begins.
    pub(super) fn check_owners(
        self,
        batch: &AdmissionBatch,
        made: &[PreparedEvent],
        expect: &[Expect],
        first: Position,
    ) -> Result<()> {
        for event in made.iter().filter(|_| expect.iter().any(Expect::is_of_target)) {
            let Some(term) = event.entity_term() else { continue };
            let end = self.count(batch, term, None)?;
            // One that the group has joined before was checked then.
            if end.last < first {
                for expect in expect {
                    self.check(batch, expect, event.target.as_ref(), end, first)?;
                }
            }
        }
        Ok(())
    }

    /// Refuses what a condition does not allow: by what was found before, by what came since, or by what is staged.
    /// `first` is where the group begins: what is staged from there on is in no log yet, and may never be.
    pub(super) fn check_condition(
        self,
        batch: &AdmissionBatch,
        checked: &Checked,
        first: Position,
    ) -> Result<()> {
        let found = match checked.found {
            Some(found) => Some(found),
            None => match self.committed_since(batch, checked)? {
                Some(found) => Some(found),
                None => staged_since(batch, checked, &self.kernel.own_limits)?,
            },
        };
        let condition = || checked.condition.to_string();
        let Some(position) = found else {
            return batch.teller.tell(|| Ok(AdmissionStep::Absence { condition: condition(), found: None }));
        };
        let event = codec::decode(position, self.stored(batch, position)?)?;
        let found = || Some(Witness::from(&event));
        batch.teller.tell(|| Ok(AdmissionStep::Absence { condition: condition(), found: found() }))?;
        if position >= first {
            let found = format!("{} before it in the same group", event.kind);
            return Err(Error::conflict("EXPECT NONE", format!("no {}", checked.condition), found));
        }
        let found = Box::new(Witness::from(&event));
        Err(Conflict::None { condition: checked.condition.to_string(), found }.into())
    }

    /// An event that a condition does not allow, committed since it was looked up.
    fn committed_since(self, batch: &AdmissionBatch, checked: &Checked) -> Result<Option<Position>> {
        let (condition, through, head) = (&checked.condition, checked.through, batch.memtables.head);
        if through >= head {
            return Ok(None);
        }
        let range = PositionRange::between(through, head);
        let meets = |position: Position| -> Result<bool> {
            let bytes = self.stored(batch, position)?;
            condition.is_met_by(&Record::open(position, &bytes)?, &self.kernel.own_limits)
        };
        // What is in the tables by now is looked up there.
        let in_memtables = through >= batch.memtables.base();
        let some = match condition.lists(&batch.catalog) {
            Some(lists) if in_memtables => {
                let mut some: Vec<Position> =
                    lists.iter().flat_map(|term| batch.memtables.list(term, range)).collect();
                some.sort_unstable();
                some.dedup();
                some
            }
            _ if range.len() <= FEW => range.iter().collect(),
            _ => return condition.find(&self.snapshot_of(batch), through),
        };
        for position in some {
            if meets(position)? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Refuses what does not hold of an entity, or of no target, as it was before a position; `end` is that of its list then.
    pub(super) fn check(
        self,
        batch: &AdmissionBatch,
        expect: &Expect,
        target: Option<&Entity>,
        ListEnd { count, last }: ListEnd,
        before: Position,
    ) -> Result<()> {
        // The event that made or ended its state.
        let (mut deciding, mut ignored) = (None, false);
        let holds = match (expect, target) {
            (Expect::New, _) => count == 0,
            (Expect::Version(version), _) => count == version.0,
            (Expect::Exists | Expect::Absent, None) => false,
            (Expect::Exists | Expect::Absent, Some(target)) => {
                let found = self.last_of_state(batch, target, last, before)?;
                deciding =
                    found.as_ref().map(|found| found.position).filter(|found| *found > Position::START);
                ignored = count > 0 && found.is_none();
                found.is_some_and(|found| found.makes) == matches!(expect, Expect::Exists)
            }
            // That is a condition of its own.
            (Expect::None(_), _) => true,
        };
        let event = |position: Position| codec::decode(position, self.stored(batch, position)?);
        batch.teller.tell(|| {
            let last = if count == 0 { None } else { Some(event(last)?.kind.to_string()) };
            Ok(AdmissionStep::Expect { expect: expect.clone(), target: target.cloned(), holds, count, last })
        })?;
        if holds {
            return Ok(());
        }
        let witness = |position: Position| -> Result<Witness> { Ok(Witness::from(&event(position)?)) };
        let entity = target.map_or_else(String::new, ToString::to_string);
        let deciding = deciding.filter(|deciding| *deciding != last).map(witness).transpose()?;
        let last = if count == 0 { None } else { Some(witness(last)?) };
        let found = count;
        Err(Error::from(match expect {
            Expect::Version(expected) => Conflict::Version { entity, expected: expected.0, found, last },
            Expect::Exists => Conflict::Exists { entity, found, last, ended: deciding, ignored },
            Expect::Absent => Conflict::Absent { entity, found, last, made: deciding },
            Expect::New | Expect::None(_) => Conflict::New { entity, found, last },
        }))
    }
}

/// An event that a condition does not allow, staged since it was looked up.
fn staged_since(batch: &AdmissionBatch, checked: &Checked, limits: &Limits) -> Result<Option<Position>> {
    let lists = checked.condition.lists(&batch.catalog);
    let first = batch.first_staged();
    for (staged, position) in batch.staged.iter().zip(first.onwards()) {
        if lists.is_some_and(|lists| !lists.iter().any(|term| staged.terms.contains(term))) {
            continue;
        }
        let bytes = read_form(position, &staged.bytes, &batch.catalog)?;
        if checked.condition.is_met_by(&Record::open(position, &bytes)?, limits)? {
            return Ok(Some(position));
        }
    }
    Ok(None)
}
