//! The keys of a group: what each stands for, and in what a repeated one says something else than the first time.

use std::collections::HashSet;

use super::{Prepared, PreparedEvent, PreparedPerform};
use crate::document::Document;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::codec::{self, Assigned};
use crate::event::{Event, EventId, KeyDigest, NewEvent};
use crate::store::index::term::Term;
use crate::store::verb::PerformRequest;
use crate::time::Timestamp;

#[derive(Debug, Clone)]
pub(crate) struct KeyClaim {
    pub term: Term,
    pub key: String,
    /// The event that carries it, and how many follow that it stands for too.
    pub first: usize,
    pub seal: KeyDigest,
    /// Where it was met before.
    pub known: Option<Position>,
    /// It came with an imported event, and stands for that one alone.
    pub own: bool,
}

impl KeyClaim {
    fn new(key: &str, first: usize, seal: KeyDigest) -> Result<KeyClaim> {
        Ok(KeyClaim { term: Term::key(key)?, key: key.to_owned(), first, seal, known: None, own: false })
    }

    /// Lets an event carry it.
    pub fn put_on(&self, event: &mut PreparedEvent) {
        event.terms.push(self.term.clone());
        event.new.key = Some(self.key.clone());
    }
}

/// The keys of a group, each on its event.
pub(super) fn keys(
    events: &mut [PreparedEvent],
    performs: &[(usize, PerformRequest)],
    group: &Option<String>,
    content: Option<[u8; 16]>,
    import: bool,
) -> Result<Vec<KeyClaim>> {
    let mut keys: Vec<KeyClaim> = Vec::new();
    let said = events.iter().filter_map(|event| event.new.key.as_ref());
    // What runs by itself knows by them what it has done.
    let own = import || content == Some(ANY_CONTENT);
    if let Some(key) = said.chain(group).find(|key| !own && key.starts_with('$')) {
        let expected = "one that does not begin with '$': those are the database's own";
        return Err(Error::invalid("a key", expected, format!("'{}'", shorten(key))));
    }
    for (at, event) in events.iter().enumerate() {
        if let Some(key) = &event.new.key {
            let content = if import { ANY_CONTENT } else { content_hash(&events[at..=at], &[])? };
            let seal = KeyDigest { content, count: 1 };
            keys.push(KeyClaim { own: import, ..KeyClaim::new(key, at, seal)? });
        }
    }
    let mut seen = HashSet::new();
    if !import && let Some(twice) = keys.iter().find(|key| !seen.insert(key.key.as_str())) {
        let found = format!("'{}' twice", shorten(&twice.key));
        return Err(Error::invalid("the keys of a group", "each key once", found));
    }
    if let Some(key) = group {
        // Of an import: the first line that is not known by itself, and how many lines come with it.
        let by_itself = |event: &PreparedEvent| event.new.id.is_some() || event.new.key.is_some();
        let first = events.iter().position(|event| !(import && by_itself(event))).unwrap_or(0);
        let seal = match content {
            Some(content) => KeyDigest { content, count: (events.len() - first) as u32 },
            None => KeyDigest { content: content_hash(events, performs)?, count: events.len() as u32 },
        };
        let mut keyed = KeyClaim::new(key, first, seal)?;
        // What verbs make gets it when it is made.
        if performs.is_empty() {
            keyed.put_on(&mut events[first]);
        } else {
            keyed.first = usize::MAX;
        }
        keys.push(keyed);
        keys.sort_by_key(|key| key.first);
    }
    Ok(keys)
}

/// Refuses an id that stands twice.
pub(super) fn check_ids(events: &[PreparedEvent]) -> Result<()> {
    if events.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::new();
    match events.iter().filter_map(|event| event.new.id.as_ref()).find(|id| !seen.insert(*id)) {
        None => Ok(()),
        Some(id) => {
            let found = format!("'{}' twice", shorten(&id.to_string()));
            Err(Error::invalid("the ids of a group", "each id once", found))
        }
    }
}

/// The content of an imported event's key: what it was first used with is not told in a line of JSON. And of the keys of what runs by
/// itself, which say all there is to say.
pub(crate) const ANY_CONTENT: [u8; 16] = [0; 16];

/// A hash of what the caller said, the same for the same content in whatever order members come.
fn content_hash(events: &[PreparedEvent], performs: &[(usize, PerformRequest)]) -> Result<[u8; 16]> {
    let mut hasher = blake3::Hasher::new();
    for event in events {
        add_content(&mut hasher, &event.new, &event.kind, event.target.as_ref())?;
    }
    for (before, perform) in performs {
        hasher.update(&(*before as u64).to_be_bytes());
        hasher.update(&(perform.verb.len() as u64).to_be_bytes());
        hasher.update(perform.verb.as_bytes());
        let kind = EventType::new(PERFORMED)?;
        let mut asked = NewEvent::new(PERFORMED);
        asked.data = perform.data.clone();
        asked.metadata = perform.metadata.clone();
        asked.actor = perform.actor.clone();
        asked.timestamp = perform.timestamp;
        asked.cause = perform.cause.clone();
        asked.correlation = perform.correlation.clone();
        add_content(&mut hasher, &asked, &kind, Some(&perform.entity))?;
    }
    Ok(content_of(hasher.finalize().as_bytes()))
}

/// What stands for a verb that is performed, where its content is compared. No event is of this type.
const PERFORMED: &str = "$verb.performed";

fn add_content(
    hasher: &mut blake3::Hasher,
    new: &NewEvent,
    kind: &EventType,
    target: Option<&Entity>,
) -> Result<()> {
    let nobody = EventId::from_uuid([0; 16]);
    let mut said = new.clone();
    said.data = canonical(&new.data)?;
    said.metadata = canonical(&new.metadata)?;
    // It is the name of the content, and no part of it: on an event or on its group, it is the same.
    said.key = None;
    let assigned = Assigned {
        position: Position::START,
        version: Version::NONE,
        id: new.id.as_ref().unwrap_or(&nobody),
        own_id: new.id.is_none(),
        recorded: Timestamp::MIN,
        seal: None,
    };
    let mut bytes = Vec::new();
    codec::encode(&mut bytes, &said, kind, target, &assigned);
    hasher.update(&(bytes.len() as u64).to_be_bytes());
    hasher.update(&bytes);
    Ok(())
}

/// What a seal keeps of a hash.
pub(crate) fn content_of(hash: &[u8; 32]) -> [u8; 16] {
    let mut content = [0; 16];
    content.copy_from_slice(&hash[..16]);
    content
}

fn canonical(document: &Document) -> Result<Document> {
    Document::of(&document.to_value()?.canonical())
}

impl Prepared {
    /// Says how a repeated key differs from the first time.
    pub fn other_content(&self, key: &KeyClaim, seal: KeyDigest, first: &Event) -> Error {
        let said = |what: String, data: &Document, actor: Option<&Entity>| {
            let by = actor.map_or_else(String::new, |actor| format!(" BY {actor}"));
            format!("{what} {}{by}", shorten(&data.to_string()))
        };
        let of_event = |kind: &EventType, target: Option<&Entity>| {
            let on = target.map_or_else(String::new, |target| format!(" on {target}"));
            format!("{kind}{on}")
        };
        let (now, differs) = match (self.performs.first(), self.events.get(key.first)) {
            (Some(PreparedPerform { perform, .. }), _) => {
                let what = format!("PERFORM {} {}", perform.verb, perform.entity);
                (said(what, &perform.data, perform.actor.as_ref()), perform.differs(first))
            }
            (None, Some(event)) => {
                let what = of_event(&event.kind, event.target.as_ref());
                let same_number = seal.count == key.seal.count;
                (said(what, &event.new.data, event.new.actor.as_ref()), event.differs(first, same_number))
            }
            (None, None) => ("no event".to_owned(), Vec::new()),
        };
        let conflict = Conflict::Key {
            key: key.key.clone(),
            position: first.position.0,
            first: said(of_event(&first.kind, first.target.as_ref()), &first.data, first.actor.as_ref()),
            now,
            differs: differs.into_iter().map(str::to_owned).collect(),
        };
        conflict.into()
    }
}

impl PerformRequest {
    /// In what a caller now says something else of what it makes than the first time.
    fn differs(&self, first: &Event) -> Vec<&'static str> {
        let parts = [
            ("actor", self.actor == first.actor),
            ("time", self.timestamp.is_none_or(|time| time == first.timestamp)),
            ("cause", self.cause == first.cause),
            ("correlation", self.correlation == first.correlation),
        ];
        parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }
}

impl PreparedEvent {
    /// In what a caller now says something else than the first time.
    fn differs(&self, first: &Event, same_number: bool) -> Vec<&'static str> {
        let new = &self.new;
        let same = |a: &Document, b: &Document| match (canonical(a), canonical(b)) {
            (Ok(a), Ok(b)) => a.as_bytes() == b.as_bytes(),
            _ => false,
        };
        let parts = [
            ("type", self.kind == first.kind),
            ("target", self.target == first.target),
            ("data", same(&new.data, &first.data)),
            ("metadata", same(&new.metadata, &first.metadata)),
            ("actor", new.actor == first.actor),
            ("time", new.timestamp.is_none_or(|time| time == first.timestamp)),
            ("cause", new.cause == first.cause),
            ("correlation", new.correlation == first.correlation),
            ("index values", new.tags == first.tags),
            ("id", new.id.as_ref().is_none_or(|id| *id == first.id)),
            ("number of events", same_number),
        ];
        parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
    }
}
