//! What there is to tell of columns.

use super::block;
use crate::definition::DefinitionKind;
use crate::error::Result;
use crate::exec::index::failure;
use crate::exec::result::Row;
use crate::plan::column::ColumnPlan;
use crate::store::catalog::DefinedView;
use crate::store::snapshot::Snapshot;
use crate::value::{Object, Value};

/// `SHOW COLUMNS`.
pub(in crate::exec) fn show(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + use<>> {
    let catalog = snapshot.indexes();
    let mut rows = Vec::new();
    for column in catalog.kept_views().filter(|view| view.kind == DefinitionKind::Column) {
        rows.push(Ok(Row::from(row(snapshot, column)?)));
    }
    Ok(rows.into_iter())
}

/// A row about a column.
pub(in crate::exec) fn row(snapshot: &Snapshot, column: &DefinedView) -> Result<Object> {
    let is_newest = snapshot.indexes().is_newest_view(column);
    let state = match column.is_complete() {
        _ if column.view().is_err() => "not understood",
        _ if !is_newest => "dropping",
        true => "ready",
        false if snapshot.failure(column.position).is_some() => "failed",
        false => "building",
    };
    let (mut events, mut bytes) = (0, 0);
    let through = snapshot.stored_groups(column.position, |key, block| {
        // One that is damaged or too large is not read.
        let block = block.unwrap_or_default();
        events += block::row_count(block);
        bytes += (key.len() + block.len()) as u64;
    })?;
    let (on, text) = match ColumnPlan::understood(column) {
        Some(plan) => (plan.on.to_string().into(), plan.text.as_str().into()),
        None => (Value::Null, Value::Null),
    };
    let members = [
        ("name", column.name.as_str().into()),
        ("on", on),
        ("as", text),
        ("defined", column.position.0.into()),
        ("state", state.into()),
        ("through", through.unwrap_or_default().0.into()),
        ("events", events.into()),
        ("bytes", bytes.into()),
    ];
    let mut row = Object::from_iter(members.map(|(name, value)| (name.to_owned(), value)));
    let error = column.view().err().map(|why| why.to_string()).or_else(|| failure(snapshot, column.position));
    row.extend(error.map(|error| ("error".to_owned(), error.into())));
    Ok(row)
}
