//! What is made anew where events are read in another form from now on: indexes, columns, views, and the states of entities hold them as they
//! were read before.
//!
//! Each is defined once more, by the text that it has, in the group of the definition that makes it necessary: so it is built behind the one
//! before, as by any other definition.

use super::define::{about, rows};
use super::result::QueryResult;
use super::schema_check;
use crate::definition::DefinitionKind;
use crate::entity::{Entity, NameText};
use crate::error::Result;
use crate::event::{Expect, NewEvent};
use crate::plan::column::ColumnPlan;
use crate::plan::view::ViewSource;
use crate::plan::{self, Define, Drop};
use crate::store::Store;
use crate::store::append_request::AppendRequest;
use crate::store::catalog::model;
use crate::store::snapshot::Snapshot;
use crate::value::{Object, Value};

/// How often it is looked again at what is defined, where somebody else was first.
const TRIES: usize = 5;

/// `DEFINE EVENT … UPCAST`.
pub(super) fn define(store: &Store, define: &Define, event: NewEvent) -> Result<QueryResult> {
    let tried = |snapshot: &Snapshot| schema_check::check_upcast(snapshot, &define.text);
    let mut answer = append(store, &define.name, define.actor.as_ref(), event, tried)?;
    answer.notices.extend(define.notices.iter().cloned());
    Ok(answer)
}

/// `DROP EVENT`, of one with an `UPCAST`.
pub(super) fn drop_schema(store: &Store, drop: &Drop, event: NewEvent) -> Result<QueryResult> {
    append(store, &drop.name, drop.actor.as_ref(), event, |_| Ok(()))
}

/// Appends an event with the definitions that it makes necessary, provided that nobody defines another meanwhile, and, for some tries, that
/// no event comes that was not looked at.
fn append(
    store: &Store,
    event_type: &str,
    actor: Option<&Entity>,
    event: NewEvent,
    check: impl Fn(&Snapshot) -> Result<()>,
) -> Result<QueryResult> {
    let mut tries = 0;
    loop {
        tries += 1;
        let snapshot = store.snapshot();
        check(&snapshot)?;
        let (events, names) = anew(&snapshot, event_type, actor)?;
        let mut guarded = "$entity.defined, $index.defined, $column.defined, $view.defined".to_owned();
        if tries < TRIES {
            guarded.push_str(", ");
            guarded.push_str(event_type);
        }
        let first = event.clone().expect(Expect::none(&guarded).since(snapshot.head()));
        let events = std::iter::once(first).chain(events).collect();
        match store.append(AppendRequest { events, internal: true, ..AppendRequest::default() }) {
            Err(error) if error.is_conflict() && tries < 2 * TRIES => {}
            outcome => {
                let mut answer = rows(outcome?);
                if !names.is_empty() {
                    let names = names.join(", ");
                    answer.notices.push(format!(
                        "made anew, of events as they are read now: {names}; SHOW INDEXES, SHOW COLUMNS and SHOW VIEWS tell how far they are"
                    ));
                }
                return Ok(answer);
            }
        }
    }
}

/// What is defined anew, and its names.
fn anew(
    snapshot: &Snapshot,
    event_type: &str,
    actor: Option<&Entity>,
) -> Result<(Vec<NewEvent>, Vec<String>)> {
    let catalog = snapshot.indexes();
    let (mut events, mut names) = (Vec::new(), Vec::new());
    let mut add = |kind: DefinitionKind, name: &str, members: Vec<(&str, Value)>| -> Result<()> {
        let data: Object = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let event = about(snapshot, (kind.defined(), kind.target()), name, actor)?;
        events.push(event.data(&Value::Object(data)));
        names.push(NameText(name).to_string());
        Ok(())
    };
    // Any entity may have such events.
    for model in catalog.models().filter(|model| model.is_understood()) {
        add(DefinitionKind::Entity, &model.kind, vec![(model::TEXT, model.text.as_str().into())])?;
    }
    for index in catalog.iter().filter(|index| index.is_kept() && index.on().matches_text(event_type)) {
        if catalog.get(index.name()).is_some_and(|newest| newest.position == index.position) {
            let (name, on) = (index.name(), index.on().to_string());
            let members = vec![("name", name.into()), ("on", on.into()), ("as", index.text().into())];
            add(DefinitionKind::Index, name, members)?;
        }
    }
    for finder in catalog.finders() {
        let (name, of) = (finder.name.as_str(), finder.kind.as_str());
        let members = vec![("name", name.into()), ("of", of.into()), ("as", finder.text.as_str().into())];
        add(DefinitionKind::Index, name, members)?;
    }
    for column in catalog.columns() {
        if ColumnPlan::understood(column).is_some_and(|plan| plan.on.matches_text(event_type)) {
            add(DefinitionKind::Column, &column.name, vec![(model::TEXT, column.text.as_str().into())])?;
        }
    }
    for view in catalog.views() {
        let Ok(defined) = plan::view_definition(&view.text) else { continue };
        let concerns = match &defined.of {
            ViewSource::Events(events) => events.pattern.matches_text(event_type),
            ViewSource::Entities { .. } => true,
        };
        if concerns {
            add(DefinitionKind::View, &view.name, vec![(model::TEXT, view.text.as_str().into())])?;
        }
    }
    Ok((events, names))
}
