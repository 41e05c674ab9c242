//! `DESCRIBE` of a type of events, and `SHOW SCHEMAS`.

use super::observed::Observed;
use super::{LOOKED_AT, definition_event, describe_type};
use crate::entity::{EventType, Position, PositionRange};
use crate::error::Result;
use crate::event::record::Record;
use crate::exec::result::{QueryResult, Row};
use crate::exec::show::fields;
use crate::store::catalog::{CatalogSchema, SchemaVersion};
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::value::Value;

/// `SHOW SCHEMAS`: the types that have one, with the version that holds.
pub(in crate::exec) fn show(snapshot: &Snapshot) -> impl Iterator<Item = Result<Row>> + Send + 'static {
    let row = |schema: &std::sync::Arc<CatalogSchema>| {
        let newest = schema.newest();
        let rule = newest.schema();
        Ok(fields([
            ("type", schema.event_type.as_str().into()),
            ("version", newest.number.into()),
            ("strict", rule.map_or(Value::Null, |rule| rule.is_strict().into())),
            ("warn", rule.map_or(Value::Null, |rule| rule.warns().into())),
            ("as", newest.text.as_str().into()),
            ("defined", newest.position.0.into()),
            ("state", if rule.is_some() { "ready" } else { "not understood" }.into()),
        ]))
    };
    snapshot.indexes().schemas().map(row).collect::<Vec<_>>().into_iter()
}

/// `DESCRIBE` of a type: the versions of its schema, with how many events were appended under each; then its events and their members.
/// Where it has no schema, what its newest events have in common, as a definition.
pub(in crate::exec) fn describe(snapshot: &Snapshot, event_type: &EventType) -> Result<QueryResult> {
    let (name, term) = (event_type.as_str(), Term::kind(event_type)?);
    let (mut rows, mut notices) = (Vec::new(), Vec::new());
    match snapshot.indexes().schema(name) {
        Some(schema) => versions(snapshot, schema, &term, &mut rows)?,
        None => {
            rows.push(proposal(snapshot, event_type, &term)?);
            notices.push(format!(
                "{event_type} has no schema: its data may be anything; the definition is what its newest {LOOKED_AT} events have in \
                 common, at most"
            ));
        }
    }
    let mut cut = Vec::new();
    if snapshot.list(term.clone(), PositionRange::ALL, ScanDirection::Ascending).next().is_some() {
        describe_type(snapshot, name, &term, &mut rows, &mut cut)?;
        notices.extend(cut);
        notices.push(format!("fields are those of the newest {LOOKED_AT} events, at most"));
    }
    Ok(QueryResult { notices, ..QueryResult::rows(rows.into_iter().map(Ok)) })
}

/// A row of each version; before them one for the events that are before the first.
fn versions(snapshot: &Snapshot, schema: &CatalogSchema, term: &Term, rows: &mut Vec<Row>) -> Result<()> {
    let versions: Vec<&SchemaVersion> = schema.versions().collect();
    let mut counts = vec![0u64; versions.len() + 1];
    for position in snapshot.list(term.clone(), PositionRange::ALL, ScanDirection::Ascending) {
        let position: Position = position?;
        let version = versions.partition_point(|version| version.position < position);
        if let Some(count) = counts.get_mut(version) {
            *count += 1;
        }
    }
    let (before, counts) = counts.split_first().unwrap_or((&0, &[]));
    if *before > 0 {
        rows.push(fields([
            ("event", schema.event_type.as_str().into()),
            ("version", 0.into()),
            ("definition", Value::Null),
            ("events", (*before).into()),
        ]));
    }
    for (version, count) in versions.into_iter().zip(counts) {
        let event = definition_event(snapshot, version.position)?;
        rows.push(fields([
            ("event", schema.event_type.as_str().into()),
            ("version", version.number.into()),
            ("definition", version.text.as_str().into()),
            ("position", version.position.0.into()),
            ("recorded", event.recorded.to_string().into()),
            ("by", event.actor.as_ref().map_or(Ok(Value::Null), Value::of)?),
            ("events", (*count).into()),
        ]));
    }
    Ok(())
}

/// What the newest events of a type have in common, as a definition to copy.
fn proposal(snapshot: &Snapshot, event_type: &EventType, term: &Term) -> Result<Row> {
    let mut observed = Observed::default();
    let newest = snapshot.list(term.clone(), PositionRange::ALL, ScanDirection::Descending).take(LOOKED_AT);
    for position in newest {
        let position = position?;
        let Some(bytes) = snapshot.read(|view| view.event(position))? else { continue };
        observed.add(&Record::open(position, &bytes)?.data().to_value()?);
    }
    Ok(fields([
        ("event", event_type.as_str().into()),
        ("version", 0.into()),
        ("definition", Value::Null),
        ("proposed", observed.definition(event_type).into()),
    ]))
}
