//! The check of what follows for an event from those before it: its version, its chain, its namespace, and what it says of who made it.
//!
//! The catalog is brought along the log. Of some entities is remembered what came of their events so far; of another it is looked up.

use std::collections::HashMap;

use super::{REMEMBERED, Verification};
use crate::entity::{Entity, Position, PositionRange};
use crate::error::{Error, Result, shorten};
use crate::event::record::Record;
use crate::event::{Cause, Event, EventId, LOST, VectorClock};
use crate::store::append_request::chain_of;
use crate::store::catalog::{Catalog, CatalogChange};
use crate::store::snapshot::Snapshot;
use crate::store::state::fold::Plain;
use crate::store::state::vector_clock::NodeClocks;

/// What is known of the log so far.
pub(super) struct LogFacts<'s> {
    snapshot: &'s Snapshot,
    /// What this database is called in vector clocks.
    node: String,
    catalog: Catalog,
    entities: HashMap<Entity, EntityFacts>,
    /// The newest id that the database made.
    id: Option<EventId>,
    /// An event was lost ([`LOST`]). A clock may have counted it, or a namespace followed from it.
    lost: bool,
}

/// What an entity's events so far make.
struct EntityFacts {
    version: u64,
    /// None if it was not asked for: then its events are read.
    clock: Option<NodeClocks>,
}

impl<'s> LogFacts<'s> {
    pub fn new(snapshot: &'s Snapshot) -> LogFacts<'s> {
        let (node, catalog) = (snapshot.node(), Catalog::default());
        LogFacts { snapshot, node, catalog, entities: HashMap::new(), id: None, lost: false }
    }

    /// Compares an event with those before it.
    pub fn event(&mut self, event: &Event, record: &Record, found: &mut Verification) -> Result<()> {
        self.lost |= event.kind.as_str() == LOST;
        self.own_id(event, found);
        self.history(event, record, found)?;
        self.chain(event, found)?;
        self.namespace(event, found);
        if let Some(vector) = event.producer.as_ref().and_then(|producer| producer.vector.as_ref()) {
            version_of_producer(event, vector, found);
        }
        self.seal(event, found);
        match CatalogChange::of(event, || self.snapshot.options().compiler()) {
            Ok(Some(change)) => self.catalog = self.catalog.changed(event.position, change),
            Ok(None) => {}
            Err(error) => found.fault(format!("{}, about a definition: {error}", event.position)),
        }
        Ok(())
    }

    /// Ids of the database's own grow, and tell when they were made: what is looked for by them is found by halving.
    fn own_id(&mut self, event: &Event, found: &mut Verification) {
        if !event.own_id {
            return;
        }
        let (position, id) = (event.position, &event.id);
        if !id.tells_its_place(event.recorded) {
            found.fault(format!("{position} has the id {id}, which does not tell when it was recorded"));
        }
        if let Some(before) = self.id.replace(id.clone()).filter(|before| before >= id) {
            found.fault(format!("{position} has the id {id}, which is not after {before} before it"));
        }
    }

    /// Its version, and its vector clock, if its target made it.
    fn history(&mut self, event: &Event, record: &Record, found: &mut Verification) -> Result<()> {
        let (Some(target), Some(version)) = (&event.target, event.version) else {
            if event.target.is_some() != event.version.is_some() {
                found.fault(format!("{} has a target without a version", event.position));
            }
            return Ok(());
        };
        let before = event.position.previous();
        let mut known = match self.entities.remove(target) {
            Some(known) => known,
            None => {
                let read = self.snapshot.until(before).version(target);
                // What cannot be read is told; the versions after this one count from it.
                let version = found.or_fault(read)?.map_or(version.0.wrapping_sub(1), |before| before.0);
                EntityFacts { version, clock: (version == 0).then(NodeClocks::default) }
            }
        };
        let expected = known.version.wrapping_add(1);
        if version.0 != expected {
            found.fault(format!("{} is {version} of {target}: expected {expected}", event.position));
        }
        known.version = version.0;
        if let Some(vector) = own_vector(event).filter(|_| !self.lost) {
            if known.clock.is_none() {
                known.clock = self.clock(target, before)?;
            }
            let admitted = known.clock.as_ref().map(|clock| clock.admits(&self.node, vector));
            if let Some(Err(expected)) = admitted {
                let (position, vector) = (event.position, shorten(&vector.to_string()));
                found.fault(format!(
                    "{position}: the vector clock of {target}: expected {expected}, found {vector}"
                ));
            }
        }
        if let Some(clock) = &mut known.clock {
            clock.add(record);
        }
        if self.entities.len() >= REMEMBERED {
            self.entities.clear();
        }
        self.entities.insert(target.clone(), known);
        Ok(())
    }

    /// The clock of an entity as of a position, by all of its events; none where they cannot be read, which is told where they lie.
    fn clock(&self, entity: &Entity, through: Position) -> Result<Option<NodeClocks>> {
        let mut clock = NodeClocks::default();
        let mut add = || {
            for event in self.snapshot.stream(entity, &Plain, PositionRange::through(through))? {
                clock.add(&event?.record()?);
            }
            Ok(())
        };
        match add() {
            Ok(()) => Ok(Some(clock)),
            Err(Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an event of this log caused belongs to its chain.
    fn chain(&self, event: &Event, found: &mut Verification) -> Result<()> {
        let (position, Some(Cause::Event(cause))) = (event.position, &event.cause) else { return Ok(()) };
        if *cause >= position || *cause == Position::START {
            found.fault(format!("{position} is caused by {cause}, which is no event before it"));
            return Ok(());
        }
        // Of one that is lost nothing is known.
        let chain = |bytes: &[u8]| -> Result<Option<String>> {
            let cause = Record::open(*cause, bytes)?;
            if cause.kind() == LOST { Ok(None) } else { chain_of(&cause).map(Some) }
        };
        let read = self.snapshot.read(|view| view.event(*cause));
        let read = read.and_then(|bytes| bytes.map_or(Ok(None), |bytes| chain(&bytes)));
        // Damage is told where it lies.
        let expected = match read {
            Err(Error::Corrupt { .. }) | Ok(None) => return Ok(()),
            Ok(Some(expected)) => expected,
            Err(error) => return Err(error),
        };
        if event.correlation.as_ref() != Some(&expected) {
            let said = event.correlation.as_ref().map(|said| format!("'{}'", shorten(said)));
            let (expected, said) = (shorten(&expected), said.unwrap_or_else(|| "none".to_owned()));
            found.fault(format!(
                "{position} is caused by {cause}: expected the correlation '{expected}', found {said}"
            ));
        }
        Ok(())
    }

    /// An event that does not say a namespace is given that of its target's definition.
    fn namespace(&self, event: &Event, found: &mut Verification) {
        if let Some(target) = event.target.as_ref().filter(|_| event.namespace.is_none() && !self.lost)
            && let Some(model) = self.catalog.model(target.kind())
            // Of what is not understood nothing follows.
            && let Ok(fold) = model.fold()
            && let Some(namespace) = fold.namespace()
        {
            let (position, defined) = (event.position, model.position);
            found.fault(format!(
                "{position} has no namespace: expected {namespace}, as {} is defined at {defined}",
                target.kind()
            ));
        }
    }

    /// What a key stands for is in the log.
    fn seal(&self, event: &Event, found: &mut Verification) {
        let (position, head) = (event.position, self.snapshot.head());
        match (&event.key, &event.seal) {
            (Some(_), None) => found.fault(format!("{position} has a key without what it stands for")),
            (None, Some(_)) => found.fault(format!("{position} says what a key stands for, and has none")),
            (Some(key), Some(seal)) => {
                let last = position.plus(u64::from(seal.count)).previous();
                if seal.count == 0 || last > head {
                    let (key, count) = (shorten(key), seal.count);
                    found.fault(format!(
                        "{position}: its key '{key}' stands for {count} events, and the log ends at {head}"
                    ));
                }
            }
            (None, None) => {}
        }
    }
}

/// The vector clock of an event that its target made.
fn own_vector(event: &Event) -> Option<&VectorClock> {
    let producer =
        event.producer.as_ref().filter(|producer| Some(&producer.model) == event.target.as_ref())?;
    producer.vector.as_ref()
}

fn version_of_producer(event: &Event, vector: &VectorClock, found: &mut Verification) {
    let position = event.position;
    let said = event.producer.as_ref().and_then(|producer| producer.version);
    let told = shorten(&vector.to_string());
    match vector.sum() {
        Ok(sum) if said == Some(sum) => {}
        Ok(sum) => {
            let said = said.map_or_else(|| "none".to_owned(), |said| said.to_string());
            found.fault(format!(
                "{position}: the version of its producer is {said}, and its vector clock {told} makes {sum}"
            ));
        }
        Err(error) => found.fault(format!("{position}: {error}")),
    }
}

#[cfg(test)]
mod tests;
