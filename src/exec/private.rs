//! Private fields: what is defined to be private, and subjects that are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::define::{append, append_definition, rows};
use super::result::{QueryResult, Row};
use super::show::fields;
use crate::cancel::Cancel;
use crate::entity::{Entity, NameText, PositionRange};
use crate::error::{Error, Result};
use crate::event::private::{EncryptedPart, PrivateField};
use crate::event::record::Record;
use crate::event::{FORGOTTEN, NewEvent, SUBJECT};
use crate::plan::{self, Define, Forget};
use crate::store::Store;
use crate::store::catalog::{CatalogSchema, PrivateFields};
use crate::store::forget;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::value::{Object, Value};

/// How many entities are named.
const NAMED: usize = 20;

/// What works out the definition of private fields: its name, and which they are.
pub(super) fn compile(text: &str) -> Result<(String, Arc<PrivateFields>)> {
    let (name, fields) = plan::private_definition(text)?;
    Ok((name, Arc::new(fields)))
}

/// `SHOW PRIVATE`.
pub(super) fn show(snapshot: &Snapshot) -> impl Iterator<Item = Result<Row>> + Send + 'static {
    let defined: Vec<_> = snapshot.indexes().privates().cloned().collect();
    defined.into_iter().map(|private| {
        let said = private.fields();
        let (on, of, paths) = match &said {
            Ok(said) => {
                let paths = said.fields.iter().map(|field| field.to_string().into()).collect();
                (said.on.to_string().into(), said.of.to_string().into(), Value::Array(paths))
            }
            Err(error) => (Value::Null, Value::Null, error.to_string().into()),
        };
        let past = said.is_ok_and(|said| said.past).then_some(("past", true.into()));
        let members = [("name", private.name.as_str().into()), ("on", on), ("of", of), ("fields", paths)];
        let defined = ("defined", private.position.0.into());
        Ok(fields(members.into_iter().chain(past).chain([defined])))
    })
}

/// `DEFINE PRIVATE`. What is before it is rewritten, if that is said.
pub(super) fn define(store: &Store, define: &Define, cancel: &Cancel) -> Result<QueryResult> {
    let (name, said) = plan::private_definition(&define.text)?;
    if !said.past {
        return append_definition(store, define);
    }
    if cfg!(not(feature = "encryption")) {
        return Err(Error::stopped(
            "nothing is encrypted by a program that was built without the feature `encryption`",
        ));
    }
    store.check_forgettable()?;
    let _alone = store.forgetting_until(cancel)?;
    let mut answer = append_definition(store, define)?;
    let rewritten = store.rewrite_past(cancel).map_err(|error| {
        Error::stopped(format!(
            "{0} is defined, and holds for what is appended from now on; what events before it have may still be in plain ({error}): say it \
             once more, or open the file again; DROP PRIVATE {0} ends it",
            NameText(&name)
        ))
    })?;
    let events = |count: u64| if count == 1 { "one event".to_owned() } else { format!("{count} events") };
    if rewritten.events > 0 {
        let count = events(rewritten.events);
        answer.notices.push(format!("{count} before it had such fields in plain; they are encrypted now, and the file was written anew"));
    }
    if let Some(first) = rewritten.first_left {
        answer.notices.push(format!(
            "of {} before it, the first {first}, such fields stay in plain: they do not say whose they are, say it of two, or have names within that no field can have",
            events(rewritten.left)
        ));
    }
    answer.notices.extend(other_shapes(&store.snapshot(), &said));
    Ok(answer)
}

/// That events have been of several shapes, whose fields may have other names.
fn other_shapes(snapshot: &Snapshot, said: &PrivateFields) -> Option<String> {
    let has_several = |schema: &CatalogSchema| {
        said.on.matches_text(schema.event_type.as_str()) && schema.versions().nth(1).is_some()
    };
    let found = snapshot.indexes().schemas().find(|schema| has_several(schema))?;
    Some(format!(
        "{} has had several shapes: its events are rewritten by the names that they were appended with, so each of those is to be named",
        found.event_type
    ))
}

/// That events which are there already have these fields in plain.
pub(super) fn in_plain(snapshot: &Snapshot, text: &str) -> Result<Vec<String>> {
    let (_, said) = plan::private_definition(text)?;
    if said.past {
        return Ok(Vec::new());
    }
    for (kind, term) in snapshot.types("")? {
        if kind.starts_with('$') || !said.on.matches_text(&kind) {
            continue;
        }
        let first = snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending).next().transpose()?;
        if let Some(first) = first {
            return Ok(vec![format!(
                "what events up to now, from {first} on, have in these fields stays in plain: FORGET does not reach it; INCLUDING PAST at the \
                 end of the definition encrypts it"
            )]);
        }
    }
    Ok(Vec::new())
}

/// What `FORGET` would reach: the events of a subject, their fields, and what is made of them.
pub(super) fn explain(snapshot: &Snapshot, forget: &Forget) -> Result<Vec<String>> {
    let events = forget::events_of(snapshot, &forget.subject)?;
    let (mut types, mut entities) = (BTreeMap::<String, u64>::new(), BTreeSet::new());
    let (mut gone, mut fields) = (0u64, BTreeSet::new());
    let stored = snapshot.stored();
    for position in &events {
        let bytes = stored.encoded(*position)?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
        let record = Record::open(*position, &bytes)?;
        // By the names that it was appended with.
        let forgotten = Record::open(*position, &snapshot.decrypted(*position, &bytes)?)?.forgotten();
        let mut own: Vec<PrivateField> = Vec::new();
        for part in EncryptedPart::all(*position, record.encrypted()) {
            let part = part?;
            if part.subject(*position)? == forget.subject {
                own.extend(part.fields());
            }
        }
        if own.iter().all(|field| forgotten.as_ref().is_some_and(|forgotten| forgotten.has(field))) {
            gone += 1;
            continue;
        }
        *types.entry(record.kind().to_owned()).or_default() += 1;
        fields.extend(own.iter().map(PrivateField::to_string));
        entities.extend(record.target().map(|target| Entity::from(target).to_string()));
    }
    let mut lines = Vec::new();
    if gone > 0 {
        lines.push(format!("{gone} events are forgotten already"));
    }
    if types.is_empty() {
        lines.push(format!("no event has private values of {} now", forget.subject));
        return Ok(lines);
    }
    let listed = |items: Vec<String>| items.join(", ");
    lines.push(format!(
        "events: {}",
        listed(types.iter().map(|(kind, count)| format!("{count} {kind}")).collect())
    ));
    lines.push(format!("fields: {}", listed(fields.into_iter().collect())));
    let most = entities.iter().take(NAMED).cloned().collect::<Vec<_>>();
    let more = entities.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    lines.push(format!("entities whose states are made anew: {}{more}", listed(most)));
    let catalog = snapshot.indexes();
    let on_them = |on: &crate::pattern::Pattern| types.keys().any(|kind| on.matches_text(kind));
    let indexes = catalog.iter().filter(|index| on_them(index.on()));
    let indexes: Vec<String> = indexes.map(|index| NameText(index.name()).to_string()).collect();
    if !indexes.is_empty() {
        lines.push(format!("indexes that lose them: {}", listed(indexes)));
    }
    let columns: Vec<String> = catalog.columns().map(|column| NameText(&column.name).to_string()).collect();
    if !columns.is_empty() {
        lines.push(format!("columns that may have them, and are made anew: {}", listed(columns)));
    }
    let views: Vec<String> = catalog.views().map(|view| NameText(&view.name).to_string()).collect();
    if !views.is_empty() {
        lines.push(format!("views that may have them, and are made anew: {}", listed(views)));
    }
    let programs: Vec<String> = catalog
        .programs()
        .map(|program| format!("{} {}", program.kind.word(), NameText(&program.name)))
        .collect();
    if !programs.is_empty() {
        lines.push(format!("what may have told others of them: {}", listed(programs)));
    }
    Ok(lines)
}

/// `FORGET`.
pub(super) fn forget(store: &Store, forget: &Forget, cancel: &Cancel) -> Result<QueryResult> {
    store.check_forgettable()?;
    let _alone = store.forgetting_until(cancel)?;
    let Forget { subject, because, actor } = forget;
    let mut event = forgotten_event(subject, because.as_deref())?;
    if let Some(actor) = actor {
        event = event.by(actor);
    }
    let outcome = append(store, event)?;
    store.forget_appended(&outcome, cancel)?;
    Ok(rows(outcome))
}

/// The event that says that a subject is forgotten.
pub(crate) fn forgotten_event(subject: &Entity, because: Option<&str>) -> Result<NewEvent> {
    let target = Entity::new(SUBJECT, &subject.to_string())?;
    let said = [("type", subject.kind().into()), ("id", subject.id().into())];
    let said = Object::from_iter(said.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
    let mut data = Object::from_iter([("subject".to_owned(), Value::Object(said))]);
    if let Some(because) = because {
        data.insert("because".to_owned(), because.into());
    }
    Ok(NewEvent::new(FORGOTTEN).on(&target).data(&Value::Object(data)))
}
