//! Definitions: what is defined, and what ends, as events about it.

use super::dead_letter;
use super::repeat::{self, Again};
use super::result::{QueryResult, Row};
use super::write::{self, Lone};
use crate::entity::{Entity, EventType, NameText, Position, Version};
use crate::error::{Error, Result};
use crate::event::{Expect, NewEvent, codec};
use crate::plan::reaction::{Deed, What, Whose};
use crate::plan::view::ViewSource;
use crate::plan::write::On;
use crate::plan::{
    self, Define, DefineEntity, DefineIndex, DefineProgram, DefineVerb, DefineView, Drop, DropTarget,
};
use crate::store::Store;
use crate::store::append_request::{AppendOutcome, AppendRequest};
use crate::store::catalog::{self, ProgramKind, model, verb, view};
use crate::store::cursor::CursorOwner;
use crate::store::snapshot::Snapshot;
use crate::value::{Object, Value};

impl Define {
    fn name(&self) -> &str {
        match self {
            Define::Index(index) => &index.name,
            Define::Entity(entity) => &entity.kind,
            Define::Verb(verb) => &verb.name,
            Define::Program(program) => &program.name,
            Define::View(view) => &view.name,
        }
    }

    fn actor(&self) -> Option<&Entity> {
        match self {
            Define::Index(DefineIndex { actor, .. })
            | Define::Entity(DefineEntity { actor, .. })
            | Define::Verb(DefineVerb { actor, .. })
            | Define::View(DefineView { actor, .. })
            | Define::Program(DefineProgram { actor, .. }) => actor.as_ref(),
        }
    }

    /// What its event is, and what that is about.
    fn event(&self) -> (&'static str, &'static str) {
        match self {
            Define::Index(_) => (catalog::DEFINED, catalog::KIND),
            Define::Entity(_) => (model::DEFINED, model::KIND),
            Define::Verb(_) => (verb::DEFINED, verb::KIND),
            Define::Program(program) => (program.kind.defined(), program.kind.target()),
            Define::View(_) => (view::DEFINED, view::KIND),
        }
    }

    fn data(&self) -> Object {
        let members: Vec<(&str, Value)> = match self {
            Define::Index(index) => vec![
                ("name", index.name.as_str().into()),
                (if matches!(index.on, On::States(_)) { "of" } else { "on" }, index.on.to_string().into()),
                ("as", index.text.as_str().into()),
            ],
            Define::Entity(entity) => vec![(model::TEXT, entity.text.as_str().into())],
            Define::Verb(verb) => vec![(model::TEXT, verb.text.as_str().into())],
            Define::Program(program) => vec![(model::TEXT, program.text.as_str().into())],
            Define::View(view) => vec![(model::TEXT, view.text.as_str().into())],
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Where the definition is that holds now and says the same.
pub(super) fn same(snapshot: &Snapshot, define: &Define) -> Option<Position> {
    match define {
        Define::Index(wanted) => {
            let catalog = snapshot.indexes();
            match &wanted.on {
                On::Events(on) => catalog
                    .get(&wanted.name)
                    .filter(|index| index.on() == on && index.text() == wanted.text)
                    // One that misses events is defined anew by saying the same again.
                    .filter(|index| index.is_kept())
                    .map(|index| index.position),
                On::States(kind) => catalog
                    .finder(&wanted.name)
                    .filter(|finder| finder.kind == *kind && finder.text == wanted.text)
                    .map(|finder| finder.position),
            }
        }
        Define::Entity(wanted) => {
            let found = snapshot.indexes().model(&wanted.kind);
            found.filter(|model| model.text == wanted.text).map(|model| model.position)
        }
        Define::Verb(wanted) => {
            let found = snapshot.indexes().verb(&wanted.name);
            found.filter(|verb| verb.text == wanted.text).map(|verb| verb.position)
        }
        Define::Program(wanted) => {
            let found = snapshot.indexes().program(wanted.kind, &wanted.name);
            found.filter(|program| program.text == wanted.text).map(|program| program.position)
        }
        Define::View(wanted) => {
            let found = snapshot.indexes().view(&wanted.name);
            let is_kept = |view: &view::DefinedView| view.index.as_ref().is_none_or(|index| index.is_kept());
            found.filter(|view| view.text == wanted.text && is_kept(view)).map(|view| view.position)
        }
    }
}

/// That events which a program is to emit will belong to no entity, though there are some of their kind.
fn without_id(snapshot: &Snapshot, program: &DefineProgram) -> Result<Vec<String>> {
    let deeds = match program.kind {
        ProgramKind::Reaction => plan::reaction_definition(&program.text)?.deeds,
        ProgramKind::Schedule => plan::schedule_definition(&program.text)?.deeds,
        ProgramKind::Webhook => return Ok(Vec::new()),
    };
    let is_actor =
        |deed: &Deed, kind: &EventType| deed.actor.as_ref().is_some_and(|actor| actor.kind == kind.prefix());
    let lone = |deed: &Deed| match &deed.what {
        What::Emit { kind, owner: Whose::Unsaid, .. } if !is_actor(deed, kind) => Some(Lone::of_type(kind)),
        _ => None,
    };
    write::without_id(snapshot, "what it emits", &deeds.iter().filter_map(lone).collect::<Vec<_>>())
}

/// `DEFINE`. What is defined like this already is not defined again.
pub(super) fn define(store: &Store, define: &Define) -> Result<QueryResult> {
    let snapshot = store.snapshot();
    if let Some(answer) = defined_already(&snapshot, define)? {
        return Ok(answer);
    }
    let mut again = None;
    // What is wrong with it is told here in its own words.
    match define {
        Define::Entity(entity) => {
            super::model::compile(&entity.text)?;
        }
        Define::Verb(verb) => {
            super::verb::compile(&verb.text)?;
            stays_with(&snapshot, verb)?;
        }
        Define::Program(wanted) => {
            super::reaction::check(wanted.kind, &wanted.text)?;
            again = repeat::defined_again(&snapshot, wanted)?;
        }
        Define::View(view) => {
            super::view::compile(&view.text)?;
        }
        Define::Index(_) => {}
    }
    let (kind, about) = define.event();
    let event = self::about(&snapshot, (kind, about), define.name(), define.actor())?;
    let mut data = define.data();
    if matches!(define, Define::Program(_)) && !again.as_ref().is_some_and(Again::goes_on) {
        data.extend([dead_letter::none()]);
    }
    let outcome = match append(store, event.data(&Value::Object(data))) {
        // Somebody else may have said the same just now.
        Err(error) if error.is_refused() => {
            return defined_already(&store.snapshot(), define)?.ok_or(error);
        }
        outcome => outcome?,
    };
    let first = outcome.events.first().map_or(0, |(position, _)| *position);
    let mut answer = rows(outcome);
    if let Define::Index(index) = define
        && first > 1
    {
        let name = NameText(&index.name);
        let what = match &index.on {
            On::Events(_) => before(first),
            On::States(kind) => format!("the states of {kind} that there are"),
        };
        answer.notices.push(format!(
            "{name} is built from {what}, while this database is open; SHOW INDEXES tells how far it is"
        ));
    }
    if let Define::Program(program) = define {
        match again {
            // What the one before struggled with is not known of this one.
            Some(Again::GoesOn(follower)) => store.shared().cursors.set_trouble(&follower, None),
            Some(Again::Anew(told)) => answer.notices.push(told),
            None => {}
        }
        answer.notices.extend(program.notices.iter().cloned());
        answer.notices.extend(without_id(&snapshot, program)?);
        if !store.shared().options.live {
            let name = NameText(&program.name);
            answer.notices.push(format!("{name} runs where this database is open live: bygone run"));
        }
    }
    if let Define::View(view) = define
        && first > 1
    {
        let name = NameText(&view.name);
        let what = match plan::view_definition(&view.text)?.of {
            ViewSource::Events(_) => before(first),
            ViewSource::Entities { kind, .. } => format!("the states of {} that there are", NameText(&kind)),
        };
        answer.notices.push(format!(
            "{name} is built from {what}, while this database is open; SHOW VIEWS tells how far it is"
        ));
    }
    Ok(answer)
}

/// What there is before a definition.
fn before(position: u64) -> String {
    match position - 1 {
        1 => "one event before it".to_owned(),
        events => format!("{events} events before it"),
    }
}

/// A verb stays with its entities, until it is dropped. Nobody can say otherwise since: the version of what is defined is expected.
fn stays_with(snapshot: &Snapshot, wanted: &DefineVerb) -> Result<()> {
    let known = snapshot.indexes().verb(&wanted.name).and_then(|verb| verb.rule().ok());
    match known.filter(|rule| rule.kind() != wanted.kind) {
        None => Ok(()),
        Some(rule) => {
            let (what, kind) = (format!("the verb {}", NameText(&wanted.name)), NameText(rule.kind()));
            Err(Error::conflict(
                what,
                format!("one of {kind}, until DROP VERB"),
                format!("ON {}", NameText(&wanted.kind)),
            ))
        }
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
pub(super) fn drop(store: &Store, drop: &Drop) -> Result<QueryResult> {
    let snapshot = store.snapshot();
    let (what, event, is_defined) = match drop.what {
        DropTarget::Index => ("index", (catalog::DROPPED, catalog::KIND), is_index(&snapshot, &drop.name)),
        DropTarget::Entity => {
            ("entity", (model::DROPPED, model::KIND), snapshot.indexes().model(&drop.name).is_some())
        }
        DropTarget::Program(kind) => {
            let is_defined = snapshot.indexes().program(kind, &drop.name).is_some();
            (kind.word(), (kind.dropped(), kind.target()), is_defined)
        }
        DropTarget::Subscription => return drop_subscription(store, &drop.name),
        DropTarget::Verb => {
            ("verb", (verb::DROPPED, verb::KIND), snapshot.indexes().verb(&drop.name).is_some())
        }
        DropTarget::View => {
            ("view", (view::DROPPED, view::KIND), snapshot.indexes().view(&drop.name).is_some())
        }
    };
    if !is_defined {
        return Err(Error::conflict(format!("the {what} {}", drop.name), "one that is defined", "none"));
    }
    let event = about(&snapshot, event, &drop.name, drop.actor.as_ref())?;
    Ok(rows(append(store, event)?))
}

/// Ends a subscription that has a name, unless somebody reads it.
fn drop_subscription(store: &Store, name: &str) -> Result<QueryResult> {
    if store.shared().options.read_only {
        return Err(Error::stopped("the database was opened for reading only"));
    }
    let follower = CursorOwner::Subscription(name.to_owned());
    let _seat = store.shared().attach(&follower, "DROP SUBSCRIPTION".to_owned())?;
    match store.shared().remove_cursor(&follower)? {
        true => Ok(QueryResult::done()),
        false => Err(Error::conflict(follower.to_string(), "one that there is", "none")),
    }
}

fn is_index(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.indexes().get(name).is_some() || snapshot.indexes().finder(name).is_some()
}

/// An event about a definition, of which nobody has said anything since.
fn about(
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

fn append(store: &Store, event: NewEvent) -> Result<AppendOutcome> {
    store.append(AppendRequest { events: vec![event], internal: true, ..AppendRequest::default() })
}

fn rows(outcome: AppendOutcome) -> QueryResult {
    let event = |(position, bytes)| Ok(Row::from(codec::decode(Position(position), bytes)?));
    QueryResult::rows(outcome.events.into_iter().map(event))
}
