//! `DESCRIBE` and `SHOW KINDS`: what there is to know of a kind of entities, of a verb, of a view, or of an index.

mod observed;
mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::column;
use super::program;
use super::result::{QueryResult, Row};
use super::show::{self, fields};
use super::verb::DefinedVerbHandler;
use crate::entity::{Entity, NameText, Position, PositionRange, Version, prefix};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event::record::Record;
use crate::pattern::Pattern;
use crate::plan::field::{FieldPath, FieldStep};
use crate::plan::verb::VerbPlan;
use crate::store::catalog::{self, CatalogModel, DefinedView};
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::value::{Object, Value};
pub(super) use schema::{describe as describe_schema, show as schemas};

/// How many of the newest events of a type are looked at for the members of their data.
const LOOKED_AT: usize = 256;
/// How many members of a type are told.
const MEMBERS: usize = 200;

/// How many entities that cannot be folded are counted.
const UNFOLDED: usize = 1_000;

/// `SHOW KINDS`: those that have events, and those that are defined.
pub(super) fn kinds(snapshot: &Snapshot) -> Result<QueryResult> {
    let mut notices = Vec::new();
    for model in snapshot.indexes().models() {
        notices.extend(unfolded(snapshot, model)?);
    }
    let mut kinds = snapshot.kinds()?;
    kinds.extend(snapshot.indexes().models().map(|model| model.kind.clone()));
    kinds.retain(|kind| !kind.starts_with('$'));
    kinds.sort_unstable();
    kinds.dedup();
    let snapshot = snapshot.clone();
    let rows = kinds.into_iter().map(move |kind| {
        let types = own_types(&snapshot, &kind)?.len() as u64;
        let definition = snapshot.indexes().model(&kind).map(|model| model.position);
        let event = definition.map_or(Ok(None), |position| snapshot.event(position))?;
        let by = event.as_ref().and_then(|event| event.actor.as_ref());
        Ok(fields([
            ("kind", kind.as_str().into()),
            ("types", types.into()),
            ("defined", definition.map_or(Value::Null, |position| position.0.into())),
            ("recorded", event.as_ref().map_or(Value::Null, |event| event.recorded.to_string().into())),
            ("by", by.map_or(Ok(Value::Null), Value::of)?),
        ]))
    });
    Ok(QueryResult { notices, ..QueryResult::rows(rows) })
}

/// Tells that entities of a kind have no state, if there are any.
fn unfolded(snapshot: &Snapshot, model: &CatalogModel) -> Result<Option<String>> {
    let ids = snapshot.unfolded(model, UNFOLDED)?;
    let Some(first) = ids.first() else { return Ok(None) };
    let many = match ids.len() {
        1 => "one entity".to_owned(),
        UNFOLDED => format!("{UNFOLDED} entities or more"),
        many => format!("{many} entities"),
    };
    let (has, kind, entity) = (
        if ids.len() == 1 { "has" } else { "have" },
        NameText(&model.kind),
        Entity::new(&model.kind, first)?,
    );
    Ok(Some(format!(
        "{many} of {kind} {has} no state, because an event could not be folded in: AT {entity} NOW tells which"
    )))
}

/// The types whose first name is the kind.
fn own_types(snapshot: &Snapshot, kind: &str) -> Result<Vec<(String, Term)>> {
    snapshot.types(&format!("{kind}."))
}

/// `DESCRIBE`: what is defined under a name, then the types of a kind's events, each with the members of their data.
pub(super) fn describe(snapshot: &Snapshot, name: &str) -> Result<QueryResult> {
    let (mut rows, mut notices) = (Vec::new(), Vec::new());
    let catalog = snapshot.indexes();
    let model = catalog.model(name);
    let is_kind = model.is_some() || snapshot.has_kind(name)?;
    if let Some(model) = model {
        let earlier = snapshot.version(&model.target()?)?;
        rows.push(definition(snapshot, ("entity", name), &model.text, model.position, earlier)?);
        let failure = model.fold().err().or_else(|| snapshot.failure(model.position));
        notices.extend(failure.map(|why| format!("the states of {} are not kept: {why}", NameText(name))));
        notices.extend(unfolded(snapshot, model)?);
    } else if is_kind {
        notices.push(format!("{} is not defined: its events are merged", NameText(name)));
    }
    verbs_of(snapshot, name, &mut rows, &mut notices)?;
    for program in catalog.programs().filter(|program| program.name == name) {
        let earlier = snapshot.version(&program.target()?)?;
        let said = (program.kind.word(), program.name.as_str());
        rows.push(definition(snapshot, said, &program.text, program.position, earlier)?);
        rows.push(program::one(snapshot, program)?);
    }
    for column in catalog.columns().filter(|column| column.name == name) {
        let earlier = snapshot.version(&column.target()?)?;
        rows.push(definition(snapshot, ("column", name), &column.text, column.position, earlier)?);
        rows.push(column::row(snapshot, column)?.into());
    }
    if let Some(view) = catalog.view(name) {
        describe_view(snapshot, view, &mut rows, &mut notices)?;
    }
    for (added, rule) in snapshot.added_verbs() {
        if added == name || rule.kind() == name {
            rows.push(fields([
                ("verb", added.as_str().into()),
                ("on", rule.kind().into()),
                ("state", ADDED.into()),
            ]));
            notices.push(format!(
                "{} is a verb of this program: what it decides is not in the log",
                NameText(&added)
            ));
        }
    }
    let types = if is_kind { of_kind(snapshot, name)? } else { Vec::new() };
    indexes_of(snapshot, name, is_kind, &types, &mut rows, &mut notices)?;
    let mut cut = Vec::new();
    for (kind, term) in &types {
        describe_type(snapshot, kind, term, &mut rows, &mut cut)?;
    }
    notices.extend(cut);
    if !types.is_empty() {
        notices.push(format!("fields are those of the newest {LOOKED_AT} events of each type, at most"));
    }
    Ok(QueryResult { notices, ..QueryResult::rows(rows.into_iter().map(Ok)) })
}

/// The verb of this name, and those of a kind of this name.
fn verbs_of(snapshot: &Snapshot, name: &str, rows: &mut Vec<Row>, notices: &mut Vec<String>) -> Result<()> {
    for verb in snapshot.indexes().verbs() {
        // Of a verb that this version does not understand it is not known of which entities it is.
        let defined = DefinedVerbHandler::of(&verb.text).ok();
        let is_of = |kind: &str| defined.as_ref().is_some_and(|defined| defined.verb.kind == kind);
        if verb.name != name && !is_of(name) {
            continue;
        }
        let earlier = snapshot.version(&verb.target()?)?;
        let row = definition(snapshot, ("verb", &verb.name), &verb.text, verb.position, earlier)?;
        let Row::Fields(told) = row else { continue };
        let mut told = Arc::unwrap_or_clone(told);
        match &defined {
            Some(defined) => told.extend(parts_of_verb(&defined.verb)),
            None => {
                let shown = NameText(&verb.name);
                notices.push(format!("this version does not understand how the verb {shown} is defined"));
            }
        }
        rows.push(told.into());
    }
    Ok(())
}

fn describe_view(
    snapshot: &Snapshot,
    view: &DefinedView,
    rows: &mut Vec<Row>,
    notices: &mut Vec<String>,
) -> Result<()> {
    let earlier = snapshot.version(&view.target()?)?;
    let row = definition(snapshot, ("view", &view.name), &view.text, view.position, earlier)?;
    let Row::Fields(told) = row else { return Err(Error::corrupt("a view", "no definition")) };
    let mut told = Arc::unwrap_or_clone(told);
    told.insert("percent".to_owned(), super::view::percent(snapshot, view)?);
    if let Ok(columns) = super::view::columns(view) {
        told.insert("columns".to_owned(), Value::Array(columns.into_iter().map(Value::from).collect()));
    } else {
        let shown = NameText(&view.name);
        notices.push(format!("this version does not understand how the view {shown} is defined"));
    }
    rows.push(told.into());
    notices.extend(super::view::progress(snapshot, view)?);
    Ok(())
}

/// The indexes of this name, and those that are about a kind of this name.
fn indexes_of(
    snapshot: &Snapshot,
    name: &str,
    is_kind: bool,
    types: &[(String, Term)],
    rows: &mut Vec<Row>,
    notices: &mut Vec<String>,
) -> Result<()> {
    let catalog = snapshot.indexes();
    for index in catalog.iter() {
        let newest = catalog.get(index.name()).is_some_and(|newest| newest.position == index.position);
        if newest && (index.name() == name || is_kind && concerns(index.on(), name, types)) {
            let on = index.on().to_string();
            rows.push(self::index(snapshot, (index.name(), &on, index.text()), index.position)?);
            let why = index.why_not_kept().or_else(|| super::index::failure(snapshot, index.position));
            notices.extend(why.map(|why| format!("the index {} is not kept: {why}", NameText(index.name()))));
        }
    }
    for finder in catalog.finders().filter(|finder| finder.name == name || finder.kind == name) {
        let said = (finder.name.as_str(), finder.kind.as_str(), finder.text.as_str());
        rows.push(self::index(snapshot, said, finder.position)?);
        let why = super::index::failure(snapshot, finder.position);
        notices.extend(why.map(|why| format!("the index {} is not kept: {why}", NameText(&finder.name))));
    }
    Ok(())
}

/// A type, and the members of its data.
fn describe_type(
    snapshot: &Snapshot,
    kind: &str,
    term: &Term,
    rows: &mut Vec<Row>,
    notices: &mut Vec<String>,
) -> Result<()> {
    let Row::Fields(told) = show::one_type(snapshot, kind, term.clone())? else { return Ok(()) };
    let mut told = Arc::unwrap_or_clone(told);
    let sample = sample(snapshot, term)?;
    told.insert("looked".to_owned(), (sample.events as u64).into());
    rows.push(told.into());
    if sample.members.len() > MEMBERS {
        notices.push(format!("{kind} has {} fields: {MEMBERS} of them are told", sample.members.len()));
    }
    for (path, seen) in sample.members.iter().take(MEMBERS) {
        rows.push(fields([
            ("type", kind.into()),
            ("field", path.as_str().into()),
            ("is", seen.kinds.keys().copied().collect::<Vec<_>>().join(", ").into()),
            ("in", seen.events.into()),
            ("of", (sample.events as u64).into()),
        ]));
    }
    Ok(())
}

/// What is defined, with who said so, when and where, and how often something else was said before.
fn definition(
    snapshot: &Snapshot,
    (what, name): (&str, &str),
    text: &str,
    position: Position,
    version: Version,
) -> Result<Row> {
    let event = definition_event(snapshot, position)?;
    Ok(fields([
        (what, name.into()),
        ("definition", text.into()),
        ("position", position.0.into()),
        ("recorded", event.recorded.to_string().into()),
        ("by", event.actor.as_ref().map_or(Ok(Value::Null), Value::of)?),
        ("before", version.0.saturating_sub(1).into()),
    ]))
}

/// The event of a definition.
fn definition_event(snapshot: &Snapshot, position: Position) -> Result<Event> {
    let event = snapshot.event(position)?;
    event.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))
}

/// Of which entities a verb is, whose it is, what it asks, and what it makes.
fn parts_of_verb(verb: &VerbPlan) -> impl Iterator<Item = (String, Value)> {
    let list = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::from).collect());
    let requires = verb.requires.iter().chain(verb.cases.iter().flat_map(|case| &case.requires));
    let whens = verb.cases.iter().filter_map(|case| case.when.as_ref());
    [
        ("on", verb.kind.as_str().into()),
        ("actors", list(verb.actors.clone())),
        ("requires", list(requires.map(|require| require.condition.text.clone()).collect())),
        ("whens", list(whens.map(|when| when.text.clone()).collect())),
        ("emits", list(verb.types().into_iter().map(ToString::to_string).collect())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
}

/// The state of a verb that the program added.
const ADDED: &str = "added by the program";

/// `SHOW VERBS`: those that are defined, and those that the program added.
pub(super) fn verbs(snapshot: &Snapshot) -> impl Iterator<Item = Result<Row>> + Send + 'static {
    let list = |texts: Vec<String>| match texts.as_slice() {
        [] => Value::Null,
        some => some.join(", ").into(),
    };
    let row = |verb: &Arc<catalog::CatalogVerb>| {
        let defined = DefinedVerbHandler::of(&verb.text).ok();
        let of = |told: fn(&VerbPlan) -> Vec<String>| {
            defined.as_ref().map_or(Value::Null, |defined| list(told(&defined.verb)))
        };
        Ok(fields([
            ("name", verb.name.as_str().into()),
            ("on", of(|verb| vec![verb.kind.clone()])),
            ("by", of(|verb| verb.actors.clone())),
            ("emits", of(|verb| verb.types().into_iter().map(ToString::to_string).collect())),
            ("defined", verb.position.0.into()),
            ("state", if defined.is_some() { "ready" } else { "not understood" }.into()),
        ]))
    };
    let added = snapshot.added_verbs().into_iter().map(|(name, rule)| {
        Ok(fields([
            ("name", name.into()),
            ("on", rule.kind().into()),
            // Those are known to the program alone.
            ("by", Value::Null),
            ("emits", Value::Null),
            ("defined", Value::Null),
            ("state", ADDED.into()),
        ]))
    });
    snapshot.indexes().verbs().map(row).chain(added).collect::<Vec<_>>().into_iter()
}

fn index(snapshot: &Snapshot, (name, on, of): (&str, &str, &str), position: Position) -> Result<Row> {
    let target = Entity::new(catalog::KIND, name)?;
    let text = format!("DEFINE INDEX {} ON '{on}' AS {of}", NameText(name));
    definition(snapshot, ("index", name), &text, position, snapshot.version(&target)?)
}

/// Whether a pattern is about events of a kind.
fn concerns(on: &Pattern, kind: &str, types: &[(String, Term)]) -> bool {
    types.iter().any(|(name, _)| on.matches_text(name))
        || on.alternatives().iter().any(|glob| prefix(glob.prefix()) == kind && glob.prefix().contains('.'))
}

/// The types that bear a kind's name, in order, then those that are included.
fn of_kind(snapshot: &Snapshot, kind: &str) -> Result<Vec<(String, Term)>> {
    let mut types = own_types(snapshot, kind)?;
    if let Some(model) = snapshot.indexes().model(kind)
        && let Ok(fold) = model.fold()
        && !fold.includes().is_empty()
    {
        let included = snapshot.types("")?.into_iter().filter(|(name, _)| {
            fold.includes().iter().any(|include| include.on.matches_text(name))
                && types.iter().all(|(own, _)| own != name)
        });
        let included: Vec<_> = included.collect();
        types.extend(included);
    }
    Ok(types)
}

/// The members of data in some of the newest events of a type.
#[derive(Default)]
struct Sample {
    events: usize,
    members: BTreeMap<String, KindCounts>,
}

#[derive(Default)]
struct KindCounts {
    events: u64,
    /// What it was, with how often.
    kinds: BTreeMap<&'static str, u64>,
}

fn sample(snapshot: &Snapshot, term: &Term) -> Result<Sample> {
    let mut sample = Sample::default();
    for position in snapshot.list(term.clone(), PositionRange::ALL, ScanDirection::Descending).take(LOOKED_AT)
    {
        let position = position?;
        let Some(bytes) = snapshot.read(|view| view.event(position))? else { continue };
        let data = Record::open(position, &bytes)?.data().to_value()?;
        sample.events += 1;
        if let Value::Object(members) = &data {
            sample.add(&mut Vec::new(), members);
        }
    }
    Ok(sample)
}

impl Sample {
    fn add(&mut self, way: &mut Vec<FieldStep>, members: &Object) {
        for (name, value) in members {
            way.push(FieldStep::Member(name.clone()));
            let seen = self.members.entry(FieldPath("data", way).to_string()).or_default();
            seen.events += 1;
            *seen.kinds.entry(kind_of(value)).or_default() += 1;
            if let Value::Object(inner) = value {
                self.add(way, inner);
            }
            way.pop();
        }
    }
}

/// As `typeof` says it.
fn kind_of(value: &Value) -> &'static str {
    crate::plan::datum::Datum::borrowed(value).kind()
}
