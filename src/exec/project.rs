//! Projection: from an event or a group to a row of named values.

use super::answer::Row;
use super::eval::Scope;
use super::scan::Scan;
use crate::error::Result;
use crate::plan::Events;
use crate::plan::shape::Column;
use crate::store::snapshot::Snapshot;
use crate::value::Object;

/// The columns as they are worth here.
pub(super) fn row(scope: &Scope, columns: &[Column]) -> Row {
    fields(scope, columns).into()
}

/// The same, by their names.
pub(super) fn fields(scope: &Scope, columns: &[Column]) -> Object {
    let value = |column: &Column| (column.name.clone(), scope.datum(&column.node).into_value());
    columns.iter().map(value).collect()
}

/// A row of each event, as it is pulled.
pub(super) fn select(
    snapshot: &Snapshot,
    events: &Events,
    columns: Vec<Column>,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    Ok(Scan::to_lend(snapshot, events)?.made(move |record, _| Ok(row(&Scope::of(record), &columns))))
}
