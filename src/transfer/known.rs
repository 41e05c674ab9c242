//! Telling lines whose events are in the log already from new ones, and from those that only share an id or a key with another.
//!
//! An event is known by its id or its key. A line says the same event only if all that it says is what the event says.

use std::collections::HashMap;

use super::ParsedLine;
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::{Event, EventContent, EventId, NewEvent, codec};
use crate::store::Store;
use crate::store::index::term::Term;
use crate::store::snapshot::ReadTxn;

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
    let now = said_of(line);
    // What said no time has that of its recording.
    let timed = line.event.timestamp.is_some() || event.timestamp == event.recorded;
    timed && now.is_some_and(|now| now.differs(&EventContent::of(event)).is_empty())
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
    conflict(line, &EventContent::of(event), place, Some(event.position.0), once)
}

fn conflict_with_line(line: &ParsedLine, earlier: &ParsedLine, once: bool) -> Option<Conflict> {
    let first = said_of(earlier)?;
    conflict(line, &first, format!("line {}", earlier.number), None, once)
}

fn conflict(
    line: &ParsedLine,
    first: &EventContent,
    place: String,
    position: Option<u64>,
    once: bool,
) -> Option<Conflict> {
    let now = said_of(line)?;
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

/// None of one without a type: it was refused before.
fn said_of(line: &ParsedLine) -> Option<EventContent<'_>> {
    EventContent::of_new(&line.event).map(|content| content.named(line.cause.as_ref()))
}
