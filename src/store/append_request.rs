//! Groups: events that are appended together or not at all, checked and looked up before they queue.
//!
//! All that does not depend on the events before is done on the caller's thread: rules, terms, the content hash of a key,
//! and the look-ups in the tables. What was looked up is stamped with C; the leader adds the memtables, and looks again only
//! if C has moved past them.

mod key_claim;

use std::collections::HashMap;
use std::sync::Arc;

use super::catalog::{Catalog, CatalogChange};
use super::condition::{Checked, CommitCondition};
use super::event_schema::{Mismatches, SchemaWarnings};
use super::index::term::{self, IndexSpace, Term};
use super::kernel::Kernel;
use super::memtable::ListEnd;
use super::options::Options;
use super::private_values::{NewFields, PreparedGroup, PreparedPrivate};
use super::snapshot::{ReadTxn, Snapshot};
use super::verb::{PerformRequest, check_not_deciding};
use crate::allowance::Limits;
use crate::cancel::Cancel;
use crate::entity::{Entity, EventType, Position};
use crate::error::{Error, Result, shorten};
use crate::event::record::{NameCache, Record};
use crate::event::{Cause, Event, Expect, NewEvent, is_built_in, is_of_standing};

pub(crate) use key_claim::{ANY_CONTENT, KeyClaim, content_of};

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
    /// Where the memtables began when `events` and `keys` were looked up: what was in none of them was in the tables.
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
    /// How many events the target has in the tables, and the last of them; not looked up if a memtable knows it.
    pub tables: Option<ListEnd>,
    /// Where an event with the given id is.
    pub known: Option<Position>,
    /// What must not be before it.
    pub conditions: Vec<Checked>,
    /// What of its data does not fit the schema that is defined at a position, which was the newest of its type when it was looked up.
    pub checked: Option<(Position, Mismatches)>,
    /// What of it is private by the definitions that there were when it was looked up.
    pub private: Option<PreparedPrivate>,
    /// What it makes of the indexes.
    pub change: Option<CatalogChange>,
    /// It has the correlation of its cause, or none of this log. Else its cause was not in the log yet, and is looked at when it is.
    pub chained: bool,
}

/// What became of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppendOutcome {
    pub events: Vec<(Position, Arc<[u8]>)>,
    /// The key was known: these are the events of the first time.
    pub repeated: bool,
    /// Those that do not fit their schemas.
    pub warnings: SchemaWarnings,
}

impl AppendOutcome {
    /// Its events.
    pub fn decoded(self) -> Result<Vec<Event>> {
        let mut names = NameCache::default();
        let event = |(position, bytes): (_, Arc<[u8]>)| {
            Record::open(position, &bytes)?.to_event_sharing(&bytes, &mut names)
        };
        self.events.into_iter().map(event).collect()
    }
}

/// What an index value takes in memory beside its bytes.
const TAG_COST: usize = 64;

impl PreparedEvent {
    /// Checks everything that can be checked before the commit. The tables are not looked at.
    pub fn new(options: &Options, new: NewEvent, internal: bool) -> Result<PreparedEvent> {
        let kind = new.checked()?.clone();
        let of_standing = is_of_standing(kind.as_str());
        if kind.is_internal() && !internal && !of_standing {
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
        if target.is_none() && of_standing {
            return Err(Error::invalid(kind.as_str(), "an entity as its target", "none"));
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
            checked: None,
            private: None,
            change,
            chained: true,
        })
    }

    /// As private fields are looked for in it.
    pub fn fields(&self) -> NewFields<'_> {
        NewFields { new: &self.new, kind: &self.kind, target: self.target.as_ref() }
    }

    /// What it takes in the queue.
    pub fn bytes(&self) -> usize {
        self.new.size() + 256 + TAG_COST * self.new.tags.len()
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
    pub fn new(kernel: &Arc<Kernel>, group: AppendRequest) -> Result<Prepared> {
        check_not_deciding(|| kernel.node())?;
        let options = &kernel.options;
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
            let chained = !later && inherit(kernel, new.cause_position(), &mut new.correlation)?;
            events.push(PreparedEvent::new(options, new, group.internal)?);
            if let Some(event) = events.last_mut() {
                event.chained = chained;
            }
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
            if !inherit(kernel, cause, &mut perform.correlation)? {
                // Its events are looked at no more.
                let found = cause.unwrap_or_default().to_string();
                return Err(Error::invalid("the cause", "an event of this log", found));
            }
            bytes += perform.data.as_bytes().len() + perform.metadata.as_bytes().len() + 512;
        }
        check_size(options, bytes, events.len())?;
        if !group.import {
            key_claim::check_ids(&events)?;
        }
        let keys = key_claim::keys(&mut events, &performs, &group.key, group.content, group.import)?;
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
        prepared.look_up(kernel)?;
        prepared.look_ahead(kernel)?;
        Ok(prepared)
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.performs.is_empty()
    }

    /// Holds data to the schemas that there are by now. Whether one that does not fit is refused is known at the commit.
    fn check_schemas(&mut self, catalog: &Catalog, limits: &Limits) -> Result<()> {
        if !catalog.has_schemas() || self.restore {
            return Ok(());
        }
        for event in &mut self.events {
            let Some(schema) = catalog.schema(event.kind.as_str()) else { continue };
            if event.checked.as_ref().is_some_and(|(definition, _)| *definition == schema.newest().position) {
                continue;
            }
            // One that is not understood is told at the commit, if it still holds by then.
            let Ok(rule) = schema.rule() else { continue };
            let found = rule.check(event.new.data.raw(), limits)?;
            event.checked = Some((schema.newest().position, found));
        }
        Ok(())
    }

    /// Finds what is private by the definitions that there are by now. What is wrong with one, or with an event, is told at the commit, if it
    /// still holds by then.
    fn find_private(&mut self, catalog: &Catalog) {
        let is_to_be = |event: &&mut PreparedEvent| {
            let is_known = event.private.as_ref().is_some_and(|private| private.is_by(catalog));
            catalog.may_be_private(&event.kind) && !is_known
        };
        let events: Vec<_> = self.events.iter_mut().filter(is_to_be).collect();
        if events.is_empty() {
            return;
        }
        let mut group = PreparedGroup::new(catalog);
        let parts: Vec<_> = events.iter().map(|event| group.add(catalog, event.fields()).ok()).collect();
        let group = Arc::new(group);
        for (event, parts) in events.into_iter().zip(parts) {
            event.private = parts.map(|parts| PreparedPrivate::new(&group, parts));
        }
        self.bytes += group.bytes();
    }

    /// Does what takes time before the commit: conditions are checked up to the head, and what verbs look at is folded.
    fn look_ahead(&mut self, kernel: &Arc<Kernel>) -> Result<()> {
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
        let snapshot = kernel.snapshot().cancelled_by(&self.cancel);
        let own: Vec<&str> =
            self.events.iter().flat_map(|event| event.new.tags.iter().map(|tag| tag.name.as_str())).collect();
        let mut of_events = Vec::new();
        for event in &self.events {
            of_events.push(compiled(&event.new.expect, &snapshot, &own)?);
        }
        self.conditions.extend(compiled(&self.expect, &snapshot, &own)?);
        for PreparedPerform { perform, conditions, .. } in &mut self.performs {
            conditions.extend(compiled(&perform.expect, &snapshot, &own)?);
        }
        for (event, conditions) in self.events.iter_mut().zip(of_events) {
            event.conditions.extend(conditions);
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
                snapshot.remember(entity)?;
            }
        }
        Ok(())
    }

    /// Looks up versions, keys and ids as the tables have them now.
    pub fn look_up(&mut self, kernel: &Kernel) -> Result<()> {
        // Memtables before tables, as everywhere: what moves in between is then found in the tables.
        let memtables = kernel.applied.memtables();
        (self.base, self.head) = (memtables.base(), memtables.head);
        self.check_schemas(&memtables.catalog, &kernel.own_limits)?;
        self.find_private(&memtables.catalog);
        // Most appends are to entities that a memtable knows: the tables are opened only where they are asked for something.
        let mut unknown = Vec::new();
        for (at, event) in self.events.iter_mut().enumerate() {
            event.tables = None;
            if event.entity_term().is_some_and(|term| memtables.total(term).is_none()) {
                unknown.push(at);
            }
        }
        let has_id = |event: &PreparedEvent| event.new.id.is_some();
        if !self.keys.is_empty() || !unknown.is_empty() || self.events.iter().any(has_id) {
            ReadTxn::read(kernel.read_source(), Position::MAX, None, |view| self.look_up_in(view, &unknown))?;
        }
        Ok(())
    }

    /// Looks up in the tables: versions of those events alone of whose entities no memtable knows.
    fn look_up_in(&mut self, view: &ReadTxn, unknown: &[usize]) -> Result<()> {
        let mut counts: HashMap<Term, ListEnd> = HashMap::new();
        for at in unknown {
            let Some(event) = self.events.get_mut(*at) else { continue };
            let Some(term) = event.entity_term() else { continue };
            let found = match counts.get(term) {
                Some(found) => *found,
                None => *counts.entry(term.clone()).or_insert(view.tables_count(term)?),
            };
            event.tables = Some(found);
        }
        for event in &mut self.events {
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

/// How many bytes a group may have.
pub(crate) fn check_size(options: &Options, bytes: usize, events: usize) -> Result<()> {
    if bytes <= options.max_group {
        return Ok(());
    }
    Err(Error::too_large(format!("a group of {events} events"), bytes, options.max_group))
}

/// What is caused by an event of this log belongs to its chain: it has the correlation of its cause, or, where that begins the chain, its
/// id. Says whether it has; not yet, where a correlation was said and the cause is only coming.
fn inherit(kernel: &Kernel, cause: Option<Position>, correlation: &mut Option<String>) -> Result<bool> {
    let Some(position) = cause else { return Ok(true) };
    let (bytes, head) = ReadTxn::read(kernel.read_source(), Position::MAX, None, |view| {
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

/// What is said of events of which there must be none, understood. `own` are the index values that come with the group.
fn compiled(expect: &[Expect], snapshot: &Snapshot, own: &[&str]) -> Result<Vec<Checked>> {
    let absences = expect.iter().filter_map(|expect| match expect {
        Expect::None(absence) => Some(absence),
        _ => None,
    });
    let compiler = || snapshot.options().condition_compiler();
    absences.map(|absence| Ok(Checked::new(compiler()?.absence(absence, snapshot, own)?))).collect()
}
