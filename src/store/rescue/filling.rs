//! The new file, as it is filled: event by event, each held to what stands before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Rescue;
use super::fragments::{Fragments, Lookup};
use super::original::{LogEvent, Original};
use crate::cancel::Cancel;
use crate::entity::{EventType, Position, Version};
use crate::error::{Error, Result};
use crate::event::codec::{self, Assigned};
use crate::event::{Event, EventId, LOST, NewEvent};
use crate::store::bulk_load::BulkLoader;
use crate::store::chain::link;
use crate::store::index::term::Term;
use crate::store::tables::Zone;
use crate::time::Timestamp;

/// No more events than this are appended together.
const LARGEST_GROUP: u64 = 1 << 20;

/// The new file, as it is filled.
pub(super) struct Filling<'f> {
    pub loader: BulkLoader<'f>,
    pub found: &'f mut Rescue,
    pub progress: &'f mut dyn FnMut(&Rescue),
    pub cancel: &'f Cancel,
    /// The last position, where it is known for sure.
    pub bound: Option<Position>,
    /// The last position so far that is told of.
    pub head: Position,
    /// How many before the next event are missing.
    pub gap: u64,
    /// When the last was recorded.
    pub recorded: Option<Timestamp>,
    /// Not all so far was read from the log of the file.
    pub patched: bool,
}

impl Filling<'_> {
    pub fn events(&mut self, original: Option<&Original>, fragments: &mut Fragments) -> Result<()> {
        let mut next = Position::FIRST;
        if let Some(original) = original {
            let mut chain =
                ChainWatch { original, zones: VecDeque::new(), hash: Some([0; 32]), blind: false };
            chain.refill(Position::FIRST, self.found);
            original.each(&mut |position, log| {
                self.cancel.check()?;
                next = position.next();
                let until = match log {
                    LogEvent::Read(bytes) if self.take(position, bytes, None)? => {
                        chain.event(position, Some(bytes), self.found);
                        return Ok(());
                    }
                    LogEvent::Read(_) => None,
                    LogEvent::Unread { until } => until,
                };
                let taken = self.take_fragment(position, fragments, until)?;
                chain.event(position, taken.as_deref(), self.found);
                Ok(())
            })?;
        }
        while next <= self.head {
            self.take_fragment(next, fragments, None)?;
            next = next.next();
        }
        self.fill_gap(Timestamp::MIN)?;
        self.found.head = self.head;
        Ok(())
    }

    /// Takes what was carved for a position. Gives its bytes.
    fn take_fragment(
        &mut self,
        position: Position,
        fragments: &mut Fragments,
        until: Option<Timestamp>,
    ) -> Result<Option<Arc<[u8]>>> {
        self.cancel.check()?;
        self.patched = true;
        match fragments.get(position) {
            Lookup::Event(bytes) if self.take(position, &bytes, until)? => return Ok(Some(bytes)),
            Lookup::Two => self
                .found
                .doubt(format!("{position}: two events that are not the same are there; neither was taken")),
            Lookup::Event(_) | Lookup::Missing => {}
        }
        self.gap += 1;
        self.found.miss(position);
        Ok(None)
    }

    /// Takes an event, if it is one and fits behind those before it.
    fn take(&mut self, position: Position, bytes: &[u8], until: Option<Timestamp>) -> Result<bool> {
        let bytes: Arc<[u8]> = bytes.into();
        let Ok(event) = codec::decode(position, bytes.clone()) else { return Ok(false) };
        if self.recorded.is_some_and(|before| event.recorded < before) {
            self.found.doubt(format!("{position} was recorded before the event before it; it was not taken"));
            return Ok(false);
        }
        if until.is_some_and(|until| event.recorded > until) {
            self.found
                .doubt(format!("{position} was recorded after an event that follows it; it was not taken"));
            return Ok(false);
        }
        self.fill_gap(event.recorded)?;
        let bytes = self.with_its_version(&event, bytes)?;
        match self.loader.append(bytes) {
            Ok(()) => {
                self.recorded = Some(event.recorded);
                match event.kind.as_str() {
                    LOST => self.found.miss(position),
                    _ => self.found.events += 1,
                }
                self.reach(&event);
                if self.loader.write_when_full()? {
                    (self.progress)(self.found);
                }
                Ok(true)
            }
            Err(error @ Error::Stopped { .. }) => Err(error),
            Err(error) => {
                self.found.doubt(format!("{position} was not taken: {error}"));
                Ok(false)
            }
        }
    }

    /// What a key stands for was in the log, too.
    fn reach(&mut self, event: &Event) {
        if let Some(seal) =
            event.seal.as_ref().filter(|seal| (1..=LARGEST_GROUP).contains(&u64::from(seal.count)))
        {
            let last = event.position.plus(u64::from(seal.count)).previous();
            self.head = self.head.max(self.bound.map_or(last, |bound| last.min(bound)));
        }
    }

    /// The event with the version that it has where some before it are missing.
    fn with_its_version(&self, event: &Event, bytes: Arc<[u8]>) -> Result<Arc<[u8]>> {
        let (Some(target), Some(version)) = (&event.target, event.version) else { return Ok(bytes) };
        if !self.patched {
            return Ok(bytes);
        }
        let own = Version(self.loader.count(&Term::entity(target)?)? + 1);
        let other = if own == version { None } else { codec::with_version(event.position, &bytes, own) };
        Ok(other.map_or(bytes, Arc::from))
    }

    /// Puts an event in each place that has none, recorded when the last before it was, or else then.
    fn fill_gap(&mut self, recorded: Timestamp) -> Result<()> {
        let recorded = self.recorded.unwrap_or(recorded);
        while self.gap > 0 {
            let position = self.loader.next();
            self.cancel.check()?;
            self.loader.append(lost(position, recorded).into())?;
            self.loader.write_when_full()?;
            self.recorded = Some(recorded);
            self.gap -= 1;
        }
        Ok(())
    }
}

/// Holds events to the chain hashes of zones.
struct ChainWatch<'o> {
    original: &'o Original,
    /// Some that end here or later.
    zones: VecDeque<Zone>,
    /// The hash so far; none after an event that is missing, until a zone ends.
    hash: Option<[u8; 32]>,
    /// Zones could not be read.
    blind: bool,
}

impl ChainWatch<'_> {
    fn refill(&mut self, from: Position, found: &mut Rescue) {
        match self.original.zones(from) {
            Ok(zones) => self.zones = zones,
            Err(_) => {
                self.blind = true;
                found.doubt(format!("the events from {from} on could not be compared with their chain"));
            }
        }
    }

    fn event(&mut self, position: Position, bytes: Option<&[u8]>, found: &mut Rescue) {
        self.hash = self.hash.zip(bytes).and_then(|(hash, bytes)| link(hash, position, bytes).ok());
        while self.zones.front().is_some_and(|zone| zone.last < position) {
            self.zones.pop_front();
        }
        if self.zones.front().is_none_or(|zone| zone.last > position) {
            return;
        }
        let Some(zone) = self.zones.pop_front() else { return };
        if self.hash.is_some_and(|hash| hash != zone.chain) {
            found.doubt(format!("the events up to {position} are not those of the chain"));
        }
        self.hash = Some(zone.chain);
        if self.zones.is_empty() && !self.blind && position < self.original.head {
            self.refill(position.next(), found);
        }
    }
}

/// The bytes of what stands where an event is missing.
fn lost(position: Position, recorded: Timestamp) -> Vec<u8> {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&[LOST.as_bytes(), &position.to_be_bytes()].concat()).as_bytes()[..16]);
    let (kind, id) = (EventType::stored(LOST), EventId::from_uuid(id));
    let assigned = Assigned { position, version: Version(0), id: &id, own_id: false, recorded, seal: None };
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, &NewEvent::new(LOST), &kind, None, &assigned);
    bytes
}
