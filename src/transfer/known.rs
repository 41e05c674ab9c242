//! Telling lines whose events are in the log already from new ones, and from those that only share an id or a key with another.
//!
//! An event is known by its id or its key. A line says the same event only if all that it says is what the event says; what it
//! leaves to the database (its time, its correlation, its namespace) may be anything; so may what is forgotten of the event: whoever is
//! forgotten does not come back with the same lines.

use std::collections::HashMap;

use super::ParsedLine;
use crate::document::Document;
use crate::entity::{Entity, EventType};
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::private::{FieldRoot, FieldValues, ForgottenFields, PrivateField};
use crate::event::{Cause, Event, EventId, NewEvent, Producer, Tag, codec};
use crate::store::Store;
use crate::store::index::term::Term;
use crate::store::snapshot::ReadTxn;
use crate::time::Timestamp;

/// What became of the lines of a batch.
#[derive(Default)]
pub(super) struct Sorted {
    /// Those to be appended.
    pub fresh: Vec<ParsedLine>,
    /// The numbers of those that are known.
    pub known: Vec<u64>,
    /// Those with the id or the key of another event, each with its number, up to the first where that ends the import.
    pub conflicts: Vec<(u64, Conflict)>,
}

/// Sorts lines by whether their events are known, in the log or by a line before. One that only has the id or the key of another
/// is a conflict, and so is each that is known where `once` is asked; without `skip` the first ends it.
pub(super) fn sort(store: &Store, lines: Vec<ParsedLine>, once: bool, skip: bool) -> Result<Sorted> {
    let places = store
        .snapshot()
        .read(|view| lines.iter().map(|line| place_of(view, line)).collect::<Result<Vec<_>>>())?;
    let mut sorted = Sorted::default();
    // Where in `fresh` an id or a key of these lines is.
    let mut here: HashMap<EventIdentity, usize> = HashMap::new();
    for (line, place) in lines.into_iter().zip(places) {
        let earlier = identities(&line.event).find_map(|identity| here.get(&identity).copied());
        let conflict = match (place, earlier) {
            (Some(event), _) => conflict_with_event(&line, &event, once),
            (None, Some(at)) => conflict_with_line(&line, &sorted.fresh[at], once),
            (None, None) => {
                here.extend(identities(&line.event).map(|identity| (identity, sorted.fresh.len())));
                sorted.fresh.push(line);
                continue;
            }
        };
        match conflict {
            None => sorted.known.push(line.number),
            Some(conflict) => {
                sorted.conflicts.push((line.number, conflict));
                if !skip {
                    break;
                }
            }
        }
    }
    Ok(sorted)
}

/// Finds that lines which were left out, since somebody else was faster, are known.
pub(super) fn check(store: &Store, lines: &[ParsedLine]) -> Result<Option<(u64, Conflict)>> {
    store.snapshot().read(|view| {
        for line in lines {
            if let Some(event) = place_of(view, line)?
                && let Some(conflict) = conflict_with_event(line, &event, false)
            {
                return Ok(Some((line.number, conflict)));
            }
        }
        Ok(None)
    })
}

/// What an event is known by.
#[derive(PartialEq, Eq, Hash)]
enum EventIdentity {
    Id(EventId),
    Key(String),
}

fn identities(event: &NewEvent) -> impl Iterator<Item = EventIdentity> {
    let id = event.id.clone().map(EventIdentity::Id);
    id.into_iter().chain(event.key.clone().map(EventIdentity::Key))
}

/// Whether an event is the one that a line without an id made.
pub(super) fn is_line(line: &ParsedLine, event: &Event) -> bool {
    let now = Content::of_line(line);
    // What said no time has that of its recording.
    let timed = line.event.timestamp.is_some() || event.timestamp == event.recorded;
    timed && now.is_some_and(|now| now.differs(&Content::of(event)).is_empty())
}

/// The event of the log that has the id or the key of a line.
pub(super) fn place_of(view: &ReadTxn, line: &ParsedLine) -> Result<Option<Event>> {
    let mut place = None;
    if let Some(id) = &line.event.id {
        place = view.position_of(id)?;
    }
    if let (None, Some(key)) = (place, &line.event.key) {
        place = view.first(&Term::key(key)?)?;
    }
    let Some(position) = place else { return Ok(None) };
    // A line says what was appended, whatever the event is read as since.
    let bytes = view.appended(position)?;
    let bytes = bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
    codec::decode(position, bytes).map(Some)
}

fn conflict_with_event(line: &ParsedLine, event: &Event, once: bool) -> Option<Conflict> {
    let place = event.position.to_string();
    conflict(line, &Content::of(event), place, Some(event.position.0), once)
}

fn conflict_with_line(line: &ParsedLine, earlier: &ParsedLine, once: bool) -> Option<Conflict> {
    let first = Content::of_line(earlier)?;
    conflict(line, &first, format!("line {}", earlier.number), None, once)
}

fn conflict(
    line: &ParsedLine,
    first: &Content,
    place: String,
    position: Option<u64>,
    once: bool,
) -> Option<Conflict> {
    let now = Content::of_line(line)?;
    let differs = now.differs(first);
    if differs.is_empty() && !once {
        return None;
    }
    let of = match (now.id, now.key) {
        (Some(id), _) if first.id == Some(id) => format!("id '{}'", shorten(&id.to_string())),
        (_, key) => format!("key '{}'", shorten(key.unwrap_or_default())),
    };
    let differs = differs.into_iter().map(str::to_owned).collect();
    Some(Conflict::Content { of, place, position, first: first.told(), now: now.told(), differs })
}

/// What an event or a line says.
struct Content<'a> {
    id: Option<&'a EventId>,
    key: Option<&'a str>,
    kind: &'a EventType,
    target: Option<&'a Entity>,
    timestamp: Option<Timestamp>,
    actor: Option<&'a Entity>,
    producer: Option<&'a Producer>,
    cause: Option<&'a Cause>,
    /// The same as it is told where it comes from.
    named: Option<&'a Cause>,
    correlation: Option<&'a str>,
    namespace: Option<&'a str>,
    tags: &'a [Tag],
    data: &'a Document,
    metadata: &'a Document,
    /// What was said there, and nobody knows any more.
    forgotten: &'a [PrivateField],
}

impl<'a> Content<'a> {
    fn of(event: &'a Event) -> Content<'a> {
        Content {
            id: Some(&event.id),
            key: event.key.as_deref(),
            kind: &event.kind,
            target: event.target.as_ref(),
            timestamp: Some(event.timestamp),
            actor: event.actor.as_ref(),
            producer: event.producer.as_ref(),
            cause: event.cause.as_ref(),
            named: None,
            correlation: event.correlation.as_deref(),
            namespace: event.namespace.as_deref(),
            tags: &event.tags,
            data: &event.data,
            metadata: &event.metadata,
            forgotten: event.forgotten.as_ref().map_or(&[], ForgottenFields::fields),
        }
    }

    /// None of one without a type: it was refused before.
    fn of_line(line: &'a ParsedLine) -> Option<Content<'a>> {
        let event = &line.event;
        Some(Content {
            id: event.id.as_ref(),
            key: event.key.as_deref(),
            kind: event.kind.as_ref()?,
            target: event.owner(),
            timestamp: event.timestamp,
            actor: event.actor.as_ref(),
            producer: event.producer.as_ref(),
            cause: event.cause.as_ref(),
            named: line.cause.as_ref(),
            correlation: event.correlation.as_deref(),
            namespace: event.namespace.as_deref(),
            tags: &event.tags,
            data: &event.data,
            metadata: &event.metadata,
            forgotten: &[],
        })
    }

    /// In what a line says something else than the event that was first.
    fn differs(&self, first: &Content) -> Vec<&'static str> {
        fn unsaid<T: PartialEq>(said: Option<T>, first: Option<T>) -> bool {
            said.is_none() || said == first
        }
        let parts = [
            ("type", self.kind == first.kind),
            ("target", self.target == first.target),
            ("data", same(self.data, first.data) || first.is_said_by(self, FieldRoot::Data)),
            ("metadata", same(self.metadata, first.metadata) || first.is_said_by(self, FieldRoot::Metadata)),
            ("actor", self.actor == first.actor),
            ("producer", self.producer == first.producer),
            ("time", unsaid(self.timestamp, first.timestamp)),
            (
                "cause",
                self.cause == first.cause
                    || self.named.is_some() && self.named == first.cause.or(first.named),
            ),
            ("correlation", unsaid(self.correlation, first.correlation)),
            ("namespace", unsaid(self.namespace, first.namespace)),
            ("index values", same_tags(self.tags, first.tags)),
            ("id", unsaid(self.id, first.id)),
            ("key", unsaid(self.key, first.key)),
        ];
        parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
    }

    /// Whether what a line says is what this says, but for what is forgotten of this: that may have been anything.
    fn is_said_by(&self, line: &Content, root: FieldRoot) -> bool {
        let blank = FieldValues::blank(self.forgotten.iter());
        let without = |said: &Content| {
            let mut out = Vec::new();
            match root {
                FieldRoot::Data => blank.write_data(said.data.as_bytes(), &mut out),
                FieldRoot::Metadata => blank.write_metadata(said.metadata.as_bytes(), &mut out),
            }?;
            Some(Document::from_bytes(out.into()))
        };
        let is_forgotten = !self.forgotten.is_empty();
        is_forgotten && matches!((without(line), without(self)), (Some(line), Some(own)) if same(&line, &own))
    }

    fn told(&self) -> String {
        let on = self.target.map_or_else(String::new, |target| format!(" on {target}"));
        let by = self.actor.map_or_else(String::new, |actor| format!(" BY {actor}"));
        format!("{}{on} {}{by}", self.kind, shorten(&self.data.to_string()))
    }
}

/// Whether documents say the same, in whatever order their members come.
fn same(one: &Document, other: &Document) -> bool {
    let canonical = |document: &Document| document.to_value().map(|value| value.canonical());
    one.as_bytes() == other.as_bytes()
        || matches!((canonical(one), canonical(other)), (Ok(one), Ok(other)) if one == other)
}

fn same_tags(one: &[Tag], other: &[Tag]) -> bool {
    let sorted = |tags: &[Tag]| {
        let mut tags: Vec<Tag> = tags.to_vec();
        tags.sort_by(|one, other| one.name.cmp(&other.name));
        tags
    };
    one == other || one.len() == other.len() && sorted(one) == sorted(other)
}
