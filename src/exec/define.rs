//! Definitions: what is defined, and what ends, as events about it.

use super::dead_letter;
use super::redefine;
use super::repeat::{self, Again};
use super::result::{QueryResult, Row};
use super::write::{self, Lone};
use crate::cancel::Cancel;
use crate::definition::{DefinitionKind, ProgramKind};
use crate::entity::{Entity, EventType, NameText, Position, Version};
use crate::error::{Error, Result};
use crate::event::{Expect, NewEvent, codec};
use crate::plan::reaction::{Deed, What, Whose};
use crate::plan::view::ViewSource;
use crate::plan::write::On;
use crate::plan::{self, Define, Defined, Drop, DropTarget};
use crate::store::Store;
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::catalog::{DefinedView, model};
use crate::store::cursor::CursorOwner;
use crate::store::snapshot::Snapshot;
use crate::value::{Object, Value};

impl Define {
    fn data(&self) -> Object {
        let text = self.text.as_str().into();
        let members: Vec<(&str, Value)> = match &self.what {
            Defined::Index(on) => {
                let of = if matches!(on, On::States(_)) { "of" } else { "on" };
                vec![("name", self.name.as_str().into()), (of, on.to_string().into()), ("as", text)]
            }
            _ => vec![(model::TEXT, text)],
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Where the definition is that holds now and says the same.
pub(super) fn same(snapshot: &Snapshot, wanted: &Define) -> Option<Position> {
    let (catalog, name) = (snapshot.indexes(), wanted.name.as_str());
    // One that misses events is defined anew by saying the same again.
    let (text, position) = match &wanted.what {
        Defined::Index(On::Events(on)) => {
            let index = catalog.get(name).filter(|index| index.on() == on && index.is_kept())?;
            (index.text(), index.position)
        }
        Defined::Index(On::States(kind)) => {
            let finder = catalog.finder(name).filter(|finder| finder.kind == *kind)?;
            (finder.text.as_str(), finder.position)
        }
        Defined::Entity => catalog.model(name).map(|model| (model.text.as_str(), model.position))?,
        Defined::Event => {
            let schema = catalog.schema(name)?.newest();
            (schema.text.as_str(), schema.position)
        }
        Defined::Verb(_) => catalog.verb(name).map(|verb| (verb.text.as_str(), verb.position))?,
        Defined::Program(kind) => {
            catalog.program(*kind, name).map(|program| (program.text.as_str(), program.position))?
        }
        Defined::Private => catalog.private(name).map(|private| (private.text.as_str(), private.position))?,
        Defined::Column => catalog.column(name).map(|column| (column.text.as_str(), column.position))?,
        Defined::View => {
            let is_kept = |view: &DefinedView| view.index.as_ref().is_none_or(|index| index.is_kept());
            let view = catalog.view(name).filter(|view| is_kept(view))?;
            (view.text.as_str(), view.position)
        }
    };
    (text == wanted.text).then_some(position)
}

/// That events which a program is to emit will belong to no entity, though there are some of their kind.
fn without_id(snapshot: &Snapshot, kind: ProgramKind, text: &str) -> Result<Vec<String>> {
    let deeds = plan::program_definition(kind, text)?.into_deeds();
    let is_actor =
        |deed: &Deed, kind: &EventType| deed.actor.as_ref().is_some_and(|actor| actor.kind == kind.prefix());
    let lone = |deed: &Deed| match &deed.what {
        What::Emit { kind, owner: Whose::Unsaid, .. } if !is_actor(deed, kind) => Some(Lone::of_type(kind)),
        _ => None,
    };
    write::without_id(snapshot, "what it emits", &deeds.iter().filter_map(lone).collect::<Vec<_>>())
}

/// `DEFINE`. What is defined like this already is not defined again.
pub(super) fn define(store: &Store, define: &Define, cancel: &Cancel) -> Result<QueryResult> {
    match define.what {
        Defined::Private => super::private::define(store, define, cancel),
        _ => append_definition(store, define),
    }
}

/// The same, of whatever it is.
pub(super) fn append_definition(store: &Store, define: &Define) -> Result<QueryResult> {
    let snapshot = store.snapshot();
    if let Some(answer) = defined_already(&snapshot, define)? {
        return Ok(answer);
    }
    let (mut again, text) = (None, define.text.as_str());
    // What is wrong with it is told here in its own words.
    match &define.what {
        Defined::Entity => drop(super::model::compile(text)?),
        Defined::Event => drop(super::event_schema::compile(text)?),
        Defined::Verb(kind) => {
            super::verb::compile(text)?;
            stays_with(&snapshot, &define.name, kind)?;
        }
        Defined::Program(kind) => {
            super::reaction::check(*kind, text)?;
            again = repeat::defined_again(&snapshot, *kind, define)?;
        }
        Defined::Column => drop(super::column::compile(text)?),
        Defined::View => drop(super::view::compile(text)?),
        Defined::Private => drop(super::private::compile(text)?),
        Defined::Index(_) => {}
    }
    let kind = define.what.kind();
    let event = about(&snapshot, (kind.defined(), kind.target()), &define.name, define.actor.as_ref())?;
    let mut data = define.data();
    if kind.program().is_some() && !again.as_ref().is_some_and(Again::goes_on) {
        data.extend([dead_letter::none()]);
    }
    let event = event.data(&Value::Object(data));
    if define.what == Defined::Event && super::event_schema::compile(text)?.1.has_upcast() {
        return redefine::define(store, define, event);
    }
    let outcome = match append(store, event) {
        // Somebody else may have said the same just now.
        Err(error) if error.is_conflict() => {
            return defined_already(&store.snapshot(), define)?.ok_or(error);
        }
        outcome => outcome?,
    };
    let first = outcome.events.first().map_or(0, |(position, _)| position.0);
    let mut answer = rows(outcome);
    answer.notices.extend(told(store, &snapshot, define, first, again)?);
    Ok(answer)
}

/// What whoever defines something is told of it, once it is defined.
fn told(
    store: &Store,
    snapshot: &Snapshot,
    define: &Define,
    first: u64,
    again: Option<Again>,
) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    let name = NameText(&define.name);
    let built = |from: String, shows: &str| {
        format!("{name} is built from {from}, while this database is open; {shows} tells how far it is")
    };
    match &define.what {
        Defined::Index(on) if first > 1 => {
            let from = match on {
                On::Events(_) => before(first),
                On::States(kind) => format!("the states of {kind} that there are"),
            };
            notices.push(built(from, "SHOW INDEXES"));
        }
        Defined::View if first > 1 => {
            let from = match plan::view_definition(&define.text)?.of {
                ViewSource::Events(_) => before(first),
                ViewSource::Entities { kind, .. } => {
                    format!("the states of {} that there are", NameText(&kind))
                }
            };
            notices.push(built(from, "SHOW VIEWS"));
        }
        Defined::Column if first > 1 => notices.push(built(before(first), "SHOW COLUMNS")),
        Defined::Program(kind) => {
            match again {
                // What the one before struggled with is not known of this one.
                Some(Again::GoesOn(follower)) => store.shared().cursors.set_trouble(&follower, None),
                Some(Again::Anew(told)) => notices.push(told),
                None => {}
            }
            notices.extend(define.notices.iter().cloned());
            notices.extend(without_id(snapshot, *kind, &define.text)?);
            if !store.shared().options.live {
                notices.push(format!("{name} runs where this database is open live: bygone run"));
            }
        }
        Defined::Private => notices.extend(super::private::in_plain(snapshot, &define.text)?),
        Defined::Event | Defined::Verb(_) => notices.extend(define.notices.iter().cloned()),
        Defined::Index(_) | Defined::Column | Defined::View | Defined::Entity => {}
    }
    Ok(notices)
}

/// What there is before a definition.
fn before(position: u64) -> String {
    match position - 1 {
        1 => "one event before it".to_owned(),
        events => format!("{events} events before it"),
    }
}

/// A verb stays with its entities, until it is dropped. Nobody can say otherwise since: the version of what is defined is expected.
fn stays_with(snapshot: &Snapshot, verb: &str, kind: &str) -> Result<()> {
    let known = snapshot.indexes().verb(verb).and_then(|verb| verb.rule().ok());
    match known.filter(|rule| rule.kind() != kind) {
        None => Ok(()),
        Some(rule) => Err(Error::conflict(
            format!("the verb {}", NameText(verb)),
            format!("one of {}, until DROP VERB", NameText(rule.kind())),
            format!("ON {}", NameText(kind)),
        )),
    }
}

/// The event of a definition that holds now and says the same.
fn defined_already(snapshot: &Snapshot, define: &Define) -> Result<Option<QueryResult>> {
    let Some(position) = same(snapshot, define) else { return Ok(None) };
    let event = snapshot.event(position)?;
    let event = event.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
    Ok(Some(QueryResult::row(Row::Event { event, repeated: true })))
}

/// `DROP`.
pub(super) fn drop_definition(store: &Store, drop: &Drop) -> Result<QueryResult> {
    let snapshot = store.snapshot();
    let DropTarget::Definition(kind) = drop.what else { return drop_subscription(store, &drop.name) };
    if snapshot.indexes().defined(kind, &drop.name).is_none() {
        let what = format!("the {} {}", kind.word(), drop.name);
        return Err(Error::conflict(what, "one that is defined", "none"));
    }
    let event = about(&snapshot, (kind.dropped(), kind.target()), &drop.name, drop.actor.as_ref())?;
    if kind == DefinitionKind::Event
        && snapshot.indexes().schema(&drop.name).is_some_and(|schema| schema.has_upcast())
    {
        return redefine::drop_schema(store, drop, event);
    }
    Ok(rows(append(store, event)?))
}

/// Ends a subscription that has a name, unless somebody reads it.
fn drop_subscription(store: &Store, name: &str) -> Result<QueryResult> {
    if store.shared().options.read_only {
        return Err(Error::stopped("the database was opened for reading only"));
    }
    let follower = CursorOwner::Subscription(name.to_owned());
    let _seat = store.shared().cursor_writer.attach(&follower, "DROP SUBSCRIPTION".to_owned())?;
    match store.shared().cursor_writer.remove(&follower)? {
        true => Ok(QueryResult::done()),
        false => Err(Error::conflict(follower.to_string(), "one that there is", "none")),
    }
}

/// An event about a definition, of which nobody has said anything since.
pub(super) fn about(
    snapshot: &Snapshot,
    (kind, about): (&str, &str),
    name: &str,
    actor: Option<&Entity>,
) -> Result<NewEvent> {
    let target = Entity::new(about, name)?;
    let version: Version = snapshot.version(&target)?;
    let event = NewEvent::new(kind).on(&target).expect(Expect::Version(version));
    Ok(match actor {
        Some(actor) => event.by(actor),
        None => event,
    })
}

pub(super) fn append(store: &Store, event: NewEvent) -> Result<AppendOutcome> {
    store.append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })
}

pub(super) fn rows(outcome: AppendOutcome) -> QueryResult {
    let event = |(position, bytes)| Ok(Row::from(codec::decode(position, bytes)?));
    QueryResult::rows(outcome.events.into_iter().map(event))
}
