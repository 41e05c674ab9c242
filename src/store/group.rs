//! Groups: events that are appended together or not at all, checked and looked up before they queue.
//!
//! All that does not depend on the events before is done on the caller's thread: rules, terms, the content hash of a key,
//! and the look-ups in the tables. What was looked up is stamped with C; the leader adds the tails, and looks again only
//! if C has moved past them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Shared;
use super::catalog::Change;
use super::snapshot::View;
use super::tail::Tails;
use super::term::{self, Space, Term};
use crate::document::Document;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Error, Result, shorten};
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{Event, EventId, NewEvent, Seal};
use crate::time::Timestamp;

/// What a caller asks for: all of it, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub events: Vec<NewEvent>,
    /// A key for the whole of it.
    pub key: Option<String>,
    /// The content hash, where the caller has one at hand.
    pub content: Option<[u8; 16]>,
    /// Events whose id or key is in the log already are left out, instead of refused; the group's key goes to an event that has
    /// neither.
    pub import: bool,
    /// Events keep the instant they were recorded at.
    pub restore: bool,
    /// The database's own types are allowed.
    pub internal: bool,
}

/// A group that is ready to be committed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub events: Vec<PreparedEvent>,
    /// Each key with the events that it stands for.
    pub keys: Vec<Keyed>,
    pub import: bool,
    pub restore: bool,
    /// Where the tails began when `events` and `keys` were looked up: what was in none of them was in the tables.
    pub base: u64,
    /// What the head was then.
    pub head: u64,
    /// What it takes in the queue.
    pub bytes: usize,
}

#[derive(Debug)]
pub(crate) struct PreparedEvent {
    pub new: NewEvent,
    pub kind: EventType,
    pub target: Option<Entity>,
    pub terms: Vec<Term>,
    /// How many events the target has in the tables, and the last of them; not looked up if a tail knows it.
    pub cold: (u64, u64),
    /// Where an event with the given id is.
    pub known: Option<u64>,
    /// What it makes of the indexes.
    pub change: Option<Change>,
    /// It has the correlation of its cause, or none of this log. Else its cause was not in the log yet, and is looked at when it is.
    pub chained: bool,
}

#[derive(Debug)]
pub(crate) struct Keyed {
    pub term: Term,
    pub key: String,
    /// The event that carries it, and how many follow that it stands for too.
    pub first: usize,
    pub seal: Seal,
    /// Where it was met before.
    pub known: Option<u64>,
    /// It came with an imported event, and stands for that one alone.
    pub own: bool,
}

/// What became of a group.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub events: Vec<(u64, Arc<[u8]>)>,
    /// The key was known: these are the events of the first time.
    pub repeated: bool,
}

impl PreparedEvent {
    pub fn entity_term(&self) -> Option<&Term> {
        self.terms.iter().find(|term| term.is_counted())
    }

    pub fn id_term(&self) -> Option<&Term> {
        self.terms.iter().find(|term| term.as_bytes().first() == Some(&(Space::Id as u8)))
    }
}

impl Prepared {
    /// Checks everything that can be checked before the commit, and looks up what the tables know.
    pub fn new(shared: &Shared, group: Group) -> Result<Prepared> {
        let options = &shared.options;
        let keyed = group.events.iter().filter(|event| event.key.is_some()).count();
        if !group.import && keyed != 0 && (group.key.is_some() || keyed != group.events.len()) {
            let expected = "a key on each of its events, or one on the group";
            return Err(Error::invalid(
                "the keys of a group",
                expected,
                format!("{keyed} of {}", group.events.len()),
            ));
        }
        if group.key.is_some() && group.events.is_empty() {
            return Err(Error::invalid("a group with a key", "an event at least", "none"));
        }
        let mut events = Vec::with_capacity(group.events.len());
        let mut bytes = 0;
        for mut new in group.events {
            let kind = new.checked()?.clone();
            if kind.is_internal() && !group.internal {
                let found = format!("'{kind}'");
                return Err(Error::invalid(
                    "the type of an event",
                    "a type of your own: '$' begins the database's",
                    found,
                ));
            }
            let chained = inherit(shared, &mut new, group.import)?;
            let target = new.owner().cloned();
            if let Some(target) =
                target.as_ref().filter(|target| !group.internal && target.kind().starts_with('$'))
            {
                let expected = "an entity of your own: '$' begins the database's kinds";
                return Err(Error::invalid("the target of an event", expected, target.to_string()));
            }
            if target.is_none() && !new.expect.is_empty() {
                return Err(Error::invalid(
                    "EXPECT",
                    "an event with a target",
                    format!("'{kind}' without one"),
                ));
            }
            let terms = term::terms_of_new(&new, &kind, target.as_ref())?;
            let size = new.size();
            if size > options.max_event {
                let expected = format!("at most {} bytes", options.max_event);
                return Err(Error::invalid(format!("the event {kind}"), expected, size.to_string()));
            }
            bytes += size + 256;
            let change = Change::of_new(&kind, target.as_ref(), |name| new.data.get(name), options)?;
            events.push(PreparedEvent {
                new,
                kind,
                target,
                terms,
                cold: (0, 0),
                known: None,
                change,
                chained,
            });
        }
        if bytes > options.max_group {
            let expected = format!("at most {} bytes", options.max_group);
            return Err(Error::invalid(
                "a group",
                expected,
                format!("{bytes} bytes in {} events", events.len()),
            ));
        }
        let keys = keys(&mut events, &group.key, group.content, group.import)?;
        let mut prepared =
            Prepared { events, keys, import: group.import, restore: group.restore, base: 0, head: 0, bytes };
        prepared.look_up(shared)?;
        Ok(prepared)
    }

    /// Looks up versions, keys and ids as the tables have them now.
    pub fn look_up(&mut self, shared: &Shared) -> Result<()> {
        // Tails before tables, as everywhere: what moves in between is then found in the tables.
        let tails = shared.tails();
        (self.base, self.head) = (tails.base(), tails.head);
        let in_tails =
            |event: &PreparedEvent| event.entity_term().is_none_or(|term| tails.total(term).is_some());
        // Most appends are to entities that a tail knows: the tables are opened only where they are asked for something.
        let tables = !self.keys.is_empty()
            || self.events.iter().any(|event| event.new.id.is_some() || !in_tails(event));
        if tables {
            View::read(shared, u64::MAX, None, |view| self.look_up_in(view, &tails))?;
        }
        Ok(())
    }

    fn look_up_in(&mut self, view: &View, tails: &Tails) -> Result<()> {
        let mut counts: HashMap<Term, (u64, u64)> = HashMap::new();
        for event in &mut self.events {
            if let Some(term) = event.terms.iter().find(|term| term.is_counted()) {
                event.cold = match counts.get(term) {
                    Some(found) => *found,
                    None if tails.total(term).is_some() => (0, 0),
                    None => {
                        let found = view.cold_count(term)?;
                        counts.insert(term.clone(), found);
                        found
                    }
                };
            }
            if let Some(id) = &event.new.id {
                event.known = view.position_of(id)?.map(|position| position.0);
            }
        }
        for key in &mut self.keys {
            key.known = view.first(&key.term)?;
        }
        Ok(())
    }
}

/// The keys of a group, each on its event.
fn keys(
    events: &mut [PreparedEvent],
    group: &Option<String>,
    content: Option<[u8; 16]>,
    import: bool,
) -> Result<Vec<Keyed>> {
    let mut keys: Vec<Keyed> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if let Some(key) = &event.new.key {
            let content = if import { ANY_CONTENT } else { content_hash(&events[at..=at])? };
            let seal = Seal { content, count: 1 };
            keys.push(Keyed {
                term: Term::key(key)?,
                key: key.clone(),
                first: at,
                seal,
                known: None,
                own: import,
            });
        }
    }
    let mut seen = HashSet::new();
    if !import && let Some(twice) = keys.iter().find(|key| !seen.insert(key.key.as_str())) {
        let found = format!("'{}' twice", shorten(&twice.key));
        return Err(Error::invalid("the keys of a group", "each key once", found));
    }
    if let Some(key) = group {
        // What an import leaves out because it is known must not take the group's key with it.
        let first = events.iter().position(|event| !(import && event.new.is_known_by_itself())).unwrap_or(0);
        let seal = match content {
            // What an import leaves out is not counted, so that its key stands for one event alone.
            Some(content) => Seal { content, count: if import { 1 } else { events.len() as u32 } },
            None => Seal { content: content_hash(events)?, count: events.len() as u32 },
        };
        let term = Term::key(key)?;
        events[first].terms.push(term.clone());
        events[first].new.key = Some(key.clone());
        keys.push(Keyed { term, key: key.clone(), first, seal, known: None, own: false });
        keys.sort_by_key(|key| key.first);
    }
    Ok(keys)
}

/// The content of an imported event's key: what it was first used with is not told in a line of JSON.
pub(crate) const ANY_CONTENT: [u8; 16] = [0; 16];

/// An event caused by another of this log belongs to its chain: it has the correlation of its cause, or, where that begins the chain,
/// its id. Says whether it has; not yet, where it says one itself and its cause is only coming, or may turn out to be another.
fn inherit(shared: &Shared, new: &mut NewEvent, import: bool) -> Result<bool> {
    let Some(position) = new.cause_position() else { return Ok(true) };
    if import && new.correlation.is_some() {
        return Ok(false);
    }
    let (bytes, head) =
        View::read(shared, u64::MAX, None, |view| Ok((view.event(position.0)?, view.head())))?;
    match bytes {
        Some(bytes) => new.join_chain(&Record::open(position, &bytes)?)?,
        None if new.correlation.is_some() => return Ok(false),
        None => {
            let expected = format!("an event of this log, up to #{head}");
            return Err(Error::invalid("the cause", expected, position.to_string()));
        }
    }
    Ok(true)
}

impl NewEvent {
    /// Takes the correlation of its cause. Another that was said is an error.
    pub(super) fn join_chain(&mut self, cause: &Record) -> Result<()> {
        let inherited = chain_of(cause)?;
        match &self.correlation {
            Some(said) if *said != inherited => {
                let what = format!("the correlation of an event that {} caused", cause.position());
                let expected = format!("'{}', which it inherits; leave it out", shorten(&inherited));
                Err(Error::invalid(what, expected, format!("'{}'", shorten(said))))
            }
            _ => {
                self.correlation = Some(inherited);
                Ok(())
            }
        }
    }
}

/// The chain of what an event brings about: its own, or that which begins with it.
pub(crate) fn chain_of(cause: &Record) -> Result<String> {
    cause.correlation().map_or_else(|| Ok(cause.id()?.to_string()), |own| Ok(own.to_owned()))
}

/// A hash of what the caller said, the same for the same content in whatever order members come.
fn content_hash(events: &[PreparedEvent]) -> Result<[u8; 16]> {
    let mut hasher = blake3::Hasher::new();
    let nobody = EventId::from_uuid([0; 16]);
    for event in events {
        let mut bytes = Vec::new();
        let mut said = event.new.clone();
        said.data = canonical(&event.new.data)?;
        said.metadata = canonical(&event.new.metadata)?;
        let assigned = Assigned {
            position: Position::START,
            version: Version::NONE,
            id: event.new.id.as_ref().unwrap_or(&nobody),
            own_id: event.new.id.is_none(),
            recorded: Timestamp::MIN,
            seal: None,
        };
        codec::encode(&mut bytes, &said, &event.kind, event.target.as_ref(), &assigned);
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    Ok(content_of(hasher.finalize().as_bytes()))
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

/// Says how a repeated key differs from the first time.
pub(crate) fn other_content(key: &Keyed, position: u64, first: &Event) -> Error {
    let found = format!("{} at #{position}: {}", first.kind, shorten(&first.data.to_string()));
    Error::refused(format!("key '{}'", shorten(&key.key)), "the content it was first used with", found)
}
