//! Groups: events that are appended together or not at all, checked and looked up before they queue.
//!
//! All that does not depend on the events before is done on the caller's thread: rules, terms, the content hash of a key,
//! and the look-ups in the tables. What was looked up is stamped with C; the leader adds the tails, and looks again only
//! if C has moved past them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Shared;
use super::catalog::CatalogChange;
use super::condition::{Checked, CommitCondition};
use super::index::term::{self, IndexSpace, Term};
use super::memtable::{ListEnd, Memtables};
use super::options::Options;
use super::snapshot::{ReadTxn, Snapshot};
use super::verb::{PerformRequest, check_not_deciding};
use crate::cancel::Cancel;
use crate::document::Document;
use crate::entity::{Entity, EventType, Position, Version};
use crate::error::{Conflict, Error, Result, shorten};
use crate::event::codec::{self, Assigned};
use crate::event::record::Record;
use crate::event::{Cause, Event, EventId, Expect, KeyDigest, NewEvent, is_built_in};
use crate::time::Timestamp;

/// What a caller asks for: all of it, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppendRequest {
    pub events: Vec<NewEvent>,
    /// Verbs, each before the event at this index, in order.
    pub performs: Vec<(usize, PerformRequest)>,
    /// How each entity that it is about is to be before it.
    pub expect: Vec<Expect>,
    /// What must not be in the log before it.
    pub conditions: Vec<Arc<dyn CommitCondition>>,
    /// What must be neither in the log nor in the group before the event at an index.
    pub guards: Vec<(usize, Arc<dyn CommitCondition>)>,
    /// The same of the verb at an index of `performs`.
    pub verb_guards: Vec<(usize, Arc<dyn CommitCondition>)>,
    /// A key for the whole of it.
    pub key: Option<String>,
    /// Ends what is done before it queues.
    pub cancel: Cancel,
    /// The content hash, where the caller has one at hand.
    pub content: Option<[u8; 16]>,
    /// Events whose id or key is in the log already are left out, instead of refused; restored, they are refused. The group's key goes to
    /// the first event that has neither.
    pub import: bool,
    /// Events keep the instant they were recorded at.
    pub restore: bool,
    /// The database's own types are allowed.
    pub internal: bool,
}

/// A verb of a group that is ready to be committed.
#[derive(Debug, Clone)]
pub(crate) struct PreparedPerform {
    /// The index of the event that it comes before.
    pub before: usize,
    pub perform: PerformRequest,
    /// What must not be in the log, nor staged before it.
    pub conditions: Vec<Checked>,
}

/// A group that is ready to be committed.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub events: Vec<PreparedEvent>,
    pub performs: Vec<PreparedPerform>,
    /// How each entity is to be before it.
    pub expect: Vec<Expect>,
    pub conditions: Vec<Checked>,
    /// Each key with the events that it stands for.
    pub keys: Vec<KeyClaim>,
    cancel: Cancel,
    pub import: bool,
    pub restore: bool,
    /// Where the tails began when `events` and `keys` were looked up: what was in none of them was in the tables.
    pub base: Position,
    /// What the head was then.
    pub head: Position,
    /// What it takes in the queue.
    pub bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedEvent {
    pub new: NewEvent,
    pub kind: EventType,
    pub target: Option<Entity>,
    pub terms: Vec<Term>,
    /// How many events the target has in the tables, and the last of them; not looked up if a tail knows it.
    pub tables: Option<ListEnd>,
    /// Where an event with the given id is.
    pub known: Option<Position>,
    /// What must not be before it.
    pub conditions: Vec<Checked>,
    /// What it makes of the indexes.
    pub change: Option<CatalogChange>,
    /// It has the correlation of its cause, or none of this log. Else its cause was not in the log yet, and is looked at when it is.
    pub chained: bool,
}

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

/// What became of a group.
#[derive(Debug, Clone)]
pub(crate) struct AppendOutcome {
    pub events: Vec<(Position, Arc<[u8]>)>,
    /// The key was known: these are the events of the first time.
    pub repeated: bool,
}

impl AppendOutcome {
    /// Its events.
    pub fn decoded(self) -> Result<Vec<Event>> {
        self.events.into_iter().map(|(position, bytes)| codec::decode(position, bytes)).collect()
    }
}

impl PreparedEvent {
    /// Checks everything that can be checked before the commit. The tables are not looked at.
    pub fn new(options: &Options, new: NewEvent, internal: bool) -> Result<PreparedEvent> {
        let kind = new.checked()?.clone();
        if kind.is_internal() && !internal {
            let found = format!("'{kind}'");
            return Err(Error::invalid(
                "the type of an event",
                "a type of your own: '$' begins the database's",
                found,
            ));
        }
        if let Some(tag) = new.tags.iter().find(|tag| !internal && is_built_in(&tag.name)) {
            let own = &tag.name;
            let expected =
                format!("a name that is no field of the event: BY {own} finds events by their own {own}");
            return Err(Error::invalid("the name of an index value", expected, format!("'{own}'")));
        }
        let target = new.owner().cloned();
        if let Some(target) = target.as_ref().filter(|target| !internal && target.kind().starts_with('$')) {
            let expected = "an entity of your own: '$' begins the database's kinds";
            return Err(Error::invalid("the target of an event", expected, target.to_string()));
        }
        if target.is_none() && new.expect.iter().any(Expect::is_of_target) {
            return Err(Error::invalid("EXPECT", "an event with a target", format!("'{kind}' without one")));
        }
        let terms = term::terms_of_new(&new, &kind, target.as_ref())?;
        let size = new.size();
        if size > options.max_event {
            return Err(Error::too_large(format!("the event {kind}"), size, options.max_event));
        }
        let change =
            CatalogChange::of_new(&kind, target.as_ref(), |name| new.data.get(name), || options.compiler())?;
        let conditions = Vec::new();
        Ok(PreparedEvent {
            new,
            kind,
            target,
            terms,
            tables: None,
            known: None,
            conditions,
            change,
            chained: true,
        })
    }

    /// What it takes in the queue.
    pub fn bytes(&self) -> usize {
        self.new.size() + 256
    }

    pub fn entity_term(&self) -> Option<&Term> {
        self.terms.iter().find(|term| term.is_counted())
    }

    pub fn id_term(&self) -> Option<&Term> {
        self.terms.iter().find(|term| term.as_bytes().first() == Some(&(IndexSpace::Id as u8)))
    }
}

/// Refuses what is more than the end of a definition, where nothing that is defined is evaluated.
fn only_drops(events: &[PreparedEvent], performs: bool) -> Result<()> {
    let other = events.iter().find(|event| !event.change.as_ref().is_some_and(CatalogChange::is_drop));
    let found = match other {
        Some(event) => event.kind.to_string(),
        None if performs => "PERFORM".to_owned(),
        None => return Ok(()),
    };
    Err(Error::stopped(format!(
        "the database was opened without followers, so nothing is appended but the end of definitions (DROP), and this \
         is {found}"
    )))
}

/// The verbs of a group, each with what must not be before it.
fn prepared_performs(
    performs: Vec<(usize, PerformRequest)>,
    guards: Vec<(usize, Arc<dyn CommitCondition>)>,
) -> Vec<PreparedPerform> {
    let prepared = |(before, perform)| PreparedPerform { before, perform, conditions: Vec::new() };
    let mut performs: Vec<_> = performs.into_iter().map(prepared).collect();
    for (at, condition) in guards {
        if let Some(perform) = performs.get_mut(at) {
            perform.conditions.push(Checked::new(condition));
        }
    }
    performs
}

impl Prepared {
    /// Checks everything that can be checked before the commit, and looks up what the tables know.
    pub fn new(shared: &Arc<Shared>, group: AppendRequest) -> Result<Prepared> {
        check_not_deciding(|| shared.node())?;
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
        if !group.performs.is_empty() && keyed != 0 {
            let expected = "one key for all of them, since it is not known yet what verbs make";
            return Err(Error::invalid("the keys of a group", expected, format!("{keyed} on its events")));
        }
        if group.key.is_some() && group.events.is_empty() && group.performs.is_empty() {
            return Err(Error::invalid("a group with a key", "an event at least", "none"));
        }
        let mut events = Vec::with_capacity(group.events.len());
        for mut new in group.events {
            // The cause of an imported event may turn out to be another: it is not looked at before the event has its place.
            let later = group.import && new.correlation.is_some();
            let chained = !later && inherit(shared, new.cause_position(), &mut new.correlation)?;
            let event = PreparedEvent::new(options, new, group.internal)?;
            events.push(PreparedEvent { chained, ..event });
        }
        let mut performs = group.performs;
        if options.without_followers {
            only_drops(&events, !performs.is_empty())?;
        }
        let mut bytes: usize = events.iter().map(PreparedEvent::bytes).sum();
        for (_, perform) in &mut performs {
            let cause = match &perform.cause {
                Some(Cause::Event(position)) => Some(*position),
                _ => None,
            };
            if !inherit(shared, cause, &mut perform.correlation)? {
                // Its events are looked at no more.
                let found = cause.unwrap_or_default().to_string();
                return Err(Error::invalid("the cause", "an event of this log", found));
            }
            bytes += perform.data.as_bytes().len() + perform.metadata.as_bytes().len() + 512;
        }
        check_size(options, bytes, events.len())?;
        let keys = keys(&mut events, &performs, &group.key, group.content, group.import)?;
        let is_of_target = |event: &PreparedEvent| event.target.is_some();
        if group.expect.iter().any(Expect::is_of_target)
            && performs.is_empty()
            && !events.iter().any(is_of_target)
        {
            return Err(Error::invalid("EXPECT of a group", "an event with a target", "none"));
        }
        for (at, condition) in group.guards {
            if let Some(event) = events.get_mut(at) {
                event.conditions.push(Checked::new(condition));
            }
        }
        let mut prepared = Prepared {
            events,
            performs: prepared_performs(performs, group.verb_guards),
            expect: group.expect,
            conditions: group.conditions.into_iter().map(Checked::new).collect(),
            keys,
            cancel: group.cancel,
            import: group.import,
            restore: group.restore,
            base: Position::START,
            head: Position::START,
            bytes,
        };
        prepared.look_up(shared)?;
        prepared.look_ahead(shared)?;
        Ok(prepared)
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.performs.is_empty()
    }

    /// Does what takes time before the commit: conditions are checked up to the head, and what verbs look at is folded.
    fn look_ahead(&mut self, shared: &Arc<Shared>) -> Result<()> {
        let none = |expect: &[Expect], conditions: &[Checked]| {
            conditions.is_empty() && expect.iter().all(Expect::is_of_target)
        };
        if self.performs.is_empty()
            && none(&self.expect, &self.conditions)
            && self.events.iter().all(|event| none(&event.new.expect, &event.conditions))
        {
            return Ok(());
        }
        // What was done before is given back, whatever holds by now, and whatever a name means.
        if !self.keys.is_empty() && self.keys.iter().all(|key| key.known.is_some()) {
            return Ok(());
        }
        let snapshot = shared.snapshot().cancelled_by(&self.cancel);
        let own: Vec<&str> =
            self.events.iter().flat_map(|event| event.new.tags.iter().map(|tag| tag.name.as_str())).collect();
        let mut compiled = Vec::new();
        for event in &self.events {
            compiled.push(shared.compiled(&event.new.expect, &snapshot, &own)?);
        }
        self.conditions.extend(shared.compiled(&self.expect, &snapshot, &own)?);
        for PreparedPerform { perform, conditions, .. } in &mut self.performs {
            conditions.extend(shared.compiled(&perform.expect, &snapshot, &own)?);
        }
        for (event, compiled) in self.events.iter_mut().zip(compiled) {
            event.conditions.extend(compiled);
        }
        let conditions = self.conditions.iter_mut();
        let conditions = conditions.chain(self.events.iter_mut().flat_map(|event| &mut event.conditions));
        let conditions =
            conditions.chain(self.performs.iter_mut().flat_map(|perform| &mut perform.conditions));
        for checked in conditions {
            checked.look_up(&snapshot)?;
        }
        for PreparedPerform { perform, .. } in &self.performs {
            // One that is not defined, or not of such entities, may be by the time of the commit.
            let Ok(rule) = perform.rule(snapshot.indexes()) else { continue };
            let actor = perform.actor.as_ref().filter(|_| rule.sees_actor());
            for entity in std::iter::once(&perform.entity).chain(actor) {
                shared.remember(&snapshot, entity)?;
            }
        }
        Ok(())
    }

    /// Looks up versions, keys and ids as the tables have them now.
    pub fn look_up(&mut self, shared: &Shared) -> Result<()> {
        // Tails before tables, as everywhere: what moves in between is then found in the tables.
        let tails = shared.applied.tails();
        (self.base, self.head) = (tails.base(), tails.head);
        let in_tails =
            |event: &PreparedEvent| event.entity_term().is_none_or(|term| tails.total(term).is_some());
        // Most appends are to entities that a tail knows: the tables are opened only where they are asked for something.
        let tables = !self.keys.is_empty()
            || self.events.iter().any(|event| event.new.id.is_some() || !in_tails(event));
        if tables {
            ReadTxn::read(shared.read_source(), Position::MAX, None, |view| self.look_up_in(view, &tails))?;
        }
        Ok(())
    }

    fn look_up_in(&mut self, view: &ReadTxn, tails: &Memtables) -> Result<()> {
        let mut counts: HashMap<Term, ListEnd> = HashMap::new();
        for event in &mut self.events {
            if let Some(term) = event.terms.iter().find(|term| term.is_counted()) {
                event.tables = match counts.get(term) {
                    Some(found) => Some(*found),
                    None if tails.total(term).is_some() => None,
                    None => {
                        let found = view.cold_count(term)?;
                        counts.insert(term.clone(), found);
                        Some(found)
                    }
                };
            }
            if let Some(id) = &event.new.id {
                event.known = view.position_of(id)?;
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

/// The content of an imported event's key: what it was first used with is not told in a line of JSON. And of the keys of what runs by
/// itself, which say all there is to say.
pub(crate) const ANY_CONTENT: [u8; 16] = [0; 16];

/// How many bytes a group may have.
pub(crate) fn check_size(options: &Options, bytes: usize, events: usize) -> Result<()> {
    if bytes <= options.max_group {
        return Ok(());
    }
    Err(Error::too_large(format!("a group of {events} events"), bytes, options.max_group))
}

/// What is caused by an event of this log belongs to its chain: it has the correlation of its cause, or, where that begins the chain, its
/// id. Says whether it has; not yet, where a correlation was said and the cause is only coming.
fn inherit(shared: &Shared, cause: Option<Position>, correlation: &mut Option<String>) -> Result<bool> {
    let Some(position) = cause else { return Ok(true) };
    let (bytes, head) = ReadTxn::read(shared.read_source(), Position::MAX, None, |view| {
        Ok((view.event(position)?, view.head()))
    })?;
    match bytes {
        Some(bytes) => join_chain(&Record::open(position, &bytes)?, correlation)?,
        None if correlation.is_some() => return Ok(false),
        None => {
            let expected = format!("an event of this log, up to {head}");
            return Err(Error::invalid("the cause", expected, position.to_string()));
        }
    }
    Ok(true)
}

/// Takes the correlation of a cause. Another that was said is an error.
pub(super) fn join_chain(cause: &Record, correlation: &mut Option<String>) -> Result<()> {
    let inherited = chain_of(cause)?;
    if let Some(said) = correlation.as_ref().filter(|said| **said != inherited) {
        let what = format!("the correlation of an event that {} caused", cause.position());
        let expected = format!("'{}', which it inherits; leave it out", shorten(&inherited));
        return Err(Error::invalid(what, expected, format!("'{}'", shorten(said))));
    }
    *correlation = Some(inherited);
    Ok(())
}

/// The chain of what an event brings about: its own, or that which begins with it.
pub(super) fn chain_of(cause: &Record) -> Result<String> {
    cause.correlation().map_or_else(|| Ok(cause.id()?.to_string()), |own| Ok(own.to_owned()))
}

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

impl Shared {
    /// What is said of events of which there must be none, understood. `own` are the index values that come with the group.
    pub(super) fn compiled(
        &self,
        expect: &[Expect],
        snapshot: &Snapshot,
        own: &[&str],
    ) -> Result<Vec<Checked>> {
        let absences = expect.iter().filter_map(|expect| match expect {
            Expect::None(absence) => Some(absence),
            _ => None,
        });
        absences
            .map(|absence| {
                Ok(Checked::new(self.options.condition_compiler()?.absence(absence, snapshot, own)?))
            })
            .collect()
    }
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
            ("number of events", same_number),
        ];
        parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
    }
}
