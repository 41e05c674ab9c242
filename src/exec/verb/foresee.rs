//! What would be, were a write carried out now: a snapshot, with what would be appended to it.

use std::sync::Arc;

use crate::allowance::Limits;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Result, Witness};
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{EventId, NewEvent};
use crate::store::condition::Condition;
use crate::store::fold::{Effect, Folded};
use crate::store::snapshot::{Direction, Snapshot, Until};
use crate::store::term::{self, Term};
use crate::store::verb::Moment;
use crate::time::Timestamp;

/// A snapshot, and events behind it that nobody appends.
pub(in crate::exec) struct Foreseen<'s> {
    snapshot: &'s Snapshot,
    now: Timestamp,
    made: Vec<Made>,
}

/// An event as it would be stored.
struct Made {
    kind: EventType,
    target: Option<Entity>,
    terms: Vec<Term>,
    bytes: Vec<u8>,
}

impl<'s> Foreseen<'s> {
    pub fn new(snapshot: &'s Snapshot, now: Timestamp) -> Foreseen<'s> {
        Foreseen { snapshot, now, made: Vec::new() }
    }

    /// Where the next event would be.
    pub fn next(&self) -> Position {
        Position(self.snapshot.head().0 + self.made.len() as u64 + 1)
    }

    /// How many events an entity would have.
    pub fn version(&self, entity: &Entity) -> Result<Version> {
        let more = self.own(entity).count() as u64;
        Ok(Version(self.snapshot.version(entity)?.0 + more))
    }

    /// The type of the newest event that an entity would have.
    pub fn newest(&self, entity: &Entity) -> Result<Option<String>> {
        if let Some(made) = self.own(entity).last() {
            return Ok(Some(made.kind.to_string()));
        }
        let mut list = self.snapshot.list(Term::entity(entity)?, 1, u64::MAX, Direction::Descending);
        let Some(position) = list.next().transpose()? else { return Ok(None) };
        Ok(self.snapshot.event(Position(position))?.map(|event| event.kind.to_string()))
    }

    /// Whether an entity would have a state.
    pub fn exists(&self, entity: &Entity) -> Result<bool> {
        let fold = self.snapshot.fold_of(entity.kind())?;
        for made in self.own(entity).collect::<Vec<_>>().into_iter().rev() {
            match fold.effect(made.kind.as_str(), true) {
                Effect::Makes => return Ok(true),
                Effect::Deletes => return Ok(false),
                Effect::Nothing => {}
            }
        }
        let folded = self.snapshot.fold(entity, Until { through: self.snapshot.head().0, by: None })?;
        Ok(folded.fault.is_some() || folded.state != crate::value::Value::Null)
    }

    /// What would stand in the way of a condition.
    pub fn met(&self, condition: &dyn Condition) -> Result<Option<Witness>> {
        if let Some(position) = condition.find(self.snapshot, 0)? {
            return Ok(self.snapshot.event(Position(position))?.as_ref().map(Witness::from));
        }
        for (made, position) in self.made.iter().zip(self.snapshot.head().0 + 1..) {
            let (position, bytes) = (Position(position), made.bytes.as_slice());
            if condition.is_met_by(&Record::open(position, bytes)?, &self.snapshot.limits())? {
                return Ok(Some(Witness::from(&codec::decode(position, bytes.into())?)));
            }
        }
        Ok(None)
    }

    /// Adds an event behind the others.
    pub fn add(&mut self, new: &NewEvent) -> Result<()> {
        let kind = new.checked()?.clone();
        let target = new.owner().cloned();
        let version = target.as_ref().map_or(Ok(Version::NONE), |target| self.version(target))?;
        let assigned = Assigned {
            position: self.next(),
            version: Version(version.0 + 1),
            id: &EventId::from_uuid([0; 16]),
            own_id: false,
            recorded: self.now,
            seal: None,
        };
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, new, &kind, target.as_ref(), &assigned);
        let terms = term::terms_of_new(new, &kind, target.as_ref())?;
        self.made.push(Made { kind, target, terms, bytes });
        Ok(())
    }

    fn own<'a>(&'a self, entity: &'a Entity) -> impl Iterator<Item = &'a Made> {
        self.made.iter().filter(move |made| made.target.as_ref() == Some(entity))
    }
}

impl Moment for Foreseen<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn node(&self) -> String {
        self.snapshot.node()
    }

    fn limits(&self) -> Limits {
        self.snapshot.limits()
    }

    fn folded(&mut self, entity: &Entity) -> Result<Arc<Folded>> {
        let head = self.snapshot.head().0;
        let mut folded = self.snapshot.fold(entity, Until { through: head, by: None })?;
        let limits = self.snapshot.limits();
        let fold = self.snapshot.fold_of(entity.kind())?;
        for (made, position) in self.made.iter().zip(head + 1..) {
            let is_own = made.target.as_ref() == Some(entity);
            let is_included = fold.includes().iter().any(|include| {
                let mut terms = Term::tags_of_id(&include.tag, entity.id()).into_iter();
                include.on.matches_text(made.kind.as_str()) && terms.any(|term| made.terms.contains(&term))
            });
            if is_own || is_included {
                folded.add(&*fold, &Record::open(Position(position), &made.bytes)?, is_own, &limits)?;
            }
        }
        folded.check(entity)?;
        Ok(Arc::new(folded))
    }
}
