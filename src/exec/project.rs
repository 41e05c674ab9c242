//! Projection: from an event or a group to a row of named values.

use super::eval::Scope;
use super::result::Row;
use super::scan::EventScan;
use crate::error::Result;
use crate::plan::EventsPlan;
use crate::plan::shape::OutputColumn;
use crate::store::snapshot::Snapshot;
use crate::value::Object;

/// The columns as they are worth here.
pub(super) fn row<'a>(scope: &Scope<'a>, columns: &'a [OutputColumn]) -> Result<Row> {
    Ok(fields(scope, columns)?.into())
}

/// The same, by their names.
pub(super) fn fields<'a>(scope: &Scope<'a>, columns: &'a [OutputColumn]) -> Result<Object> {
    let value = |column: &'a OutputColumn| Ok((column.name.clone(), scope.value(&column.node)?));
    columns.iter().map(value).collect()
}

/// A row of each event, as it is pulled.
pub(super) fn select(
    snapshot: &Snapshot,
    events: &EventsPlan,
    columns: Vec<OutputColumn>,
) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let limits = snapshot.query_limits();
    Ok(EventScan::to_lend(snapshot, events)?.made(move |record, _| {
        let row = row(&Scope::of(record, &limits), &columns)?;
        let held = row.weight();
        Ok((row, held))
    }))
}
