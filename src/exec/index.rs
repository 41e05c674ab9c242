//! Indexes: what works out their expressions, and what there is to tell of them.

use std::any::Any;
use std::sync::Arc;

use super::eval::{self, Scope};
use super::result::Row;
use crate::allowance::{Limits, Unmade};
use crate::entity::Position;
use crate::error::Result;
use crate::event::record::Record;
use crate::plan;
use crate::plan::expr::BoundExpr;
use crate::store::catalog::Derive;
use crate::store::index::term::IndexKey;
use crate::store::snapshot::Snapshot;
use crate::store::state::stored_state::StoredState;
use crate::value::{Object, Value};

/// Of events, or of the states of entities.
struct Expression {
    node: BoundExpr,
    of_states: bool,
}

/// What works out the expression of an index.
pub(super) fn compile(text: &str) -> Result<Arc<dyn Derive>> {
    let (node, of_states) = plan::index_expression(text)?;
    Ok(Arc::new(Expression { node, of_states }))
}

impl Derive for Expression {
    fn keys(&self, event: &Record, limits: &Limits, found: &mut Vec<IndexKey>) -> Result<(), Unmade> {
        if self.of_states {
            Ok(())
        } else {
            eval::keys(&self.node, &Scope::of(event, limits), found).map(drop)
        }
    }

    fn expression(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(&self.node)
    }

    fn is_of_states(&self) -> bool {
        self.of_states
    }

    fn keys_of_state(
        &self,
        _: &str,
        kept: &StoredState,
        limits: &Limits,
        found: &mut Vec<IndexKey>,
    ) -> Result<bool, Unmade> {
        eval::keys(&self.node, &Scope::state(kept.state, limits), found)
    }
}

/// `SHOW INDEXES`: those of events, those of states, then those whose lists are being dropped.
pub(super) fn show(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let row = |name: Value, on: Value, text: Value, position: Position, state: &str, percent: Value| {
        let members = [
            ("name", name),
            ("on", on),
            ("as", text),
            ("defined", position.0.into()),
            ("state", state.into()),
            ("percent", percent),
        ];
        Object::from_iter(members.map(|(member, value)| (member.to_owned(), value)))
    };
    let with_error = |mut row: Object, error: Option<String>| {
        row.extend(error.map(|error| ("error".to_owned(), error.into())));
        Ok(Row::from(row))
    };
    let indexes = snapshot.indexes();
    let mut found = Vec::new();
    for index in indexes.iter() {
        let used = indexes.usable(index.name());
        let newest = indexes.get(index.name()).is_some_and(|newest| newest.position == index.position);
        let state = match index.is_complete() {
            true if used.is_some_and(|used| used.position == index.position) => "ready",
            false if !index.is_understood() => "not understood",
            false if !index.is_kept() => "invalid",
            false if newest && snapshot.failure(index.position).is_some() => "failed",
            false if newest => "building",
            // Another one of this name has taken its place, or will.
            _ => "dropping",
        };
        let (name, on, text) = (index.name().into(), index.on().to_string().into(), index.text().into());
        let row = row(name, on, text, index.position, state, index.percent().into());
        found.push(with_error(row, index.why_not_kept().or_else(|| failure(snapshot, index.position))));
    }
    for finder in indexes.finders() {
        let (state, percent) = match indexes.model(&finder.kind) {
            _ if !finder.is_understood() => ("not understood", Value::Null),
            // There are no states of what nobody defines: it is made when somebody does.
            None => ("waiting", Value::Null),
            Some(_) if snapshot.is_built(finder)? => ("ready", 100.into()),
            Some(_) if snapshot.failure(finder.position).is_some() => ("failed", Value::Null),
            Some(_) => ("building", Value::Null),
        };
        let (name, on, text) = (finder.name.as_str(), finder.kind.as_str(), finder.text.as_str());
        let row = row(name.into(), on.into(), text.into(), finder.position, state, percent);
        found.push(with_error(row, failure(snapshot, finder.position)));
    }
    for position in snapshot.dropping()? {
        if indexes.at(position).is_some() {
            continue;
        }
        let event = snapshot.event(position)?;
        let member =
            |member: &str| event.as_ref().and_then(|event| event.data.get(member)).unwrap_or_default();
        let row = row(member("name"), member("on"), member("as"), position, "dropping", Value::Null);
        found.push(with_error(row, None));
    }
    Ok(found.into_iter())
}

/// Why a definition is not kept, in words.
pub(super) fn failure(snapshot: &Snapshot, definition: Position) -> Option<String> {
    snapshot.failure(definition).map(|error| error.to_string())
}
