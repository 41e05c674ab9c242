//! What the database tells of itself.

use super::result::{QueryResult, Row};
use super::{column, describe, index, private, program, view};
use crate::definition::DefinitionKind;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::plan::VerifyAgainst;
use crate::plan::function::{FUNCTIONS, FunctionBody};
use crate::plan::webhook::Secret;
#[cfg(feature = "signing")]
use crate::signing::{HeadKey, LogHead};
use crate::store::cursor::CursorOwner;
use crate::store::index::term::Term;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::{ChainHash, Proof};
use crate::store::{proof, verify};
use crate::value::{Object, Value};

pub(super) fn fields<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Row {
    Row::from(Object::from_iter(members.into_iter().map(|(name, value)| (name.to_owned(), value))))
}

/// What is defined of a kind.
pub(super) fn definitions(snapshot: &Snapshot, kind: DefinitionKind) -> Result<QueryResult> {
    Ok(match kind {
        DefinitionKind::Entity => describe::kinds(snapshot)?,
        DefinitionKind::Event => QueryResult::rows(describe::schemas(snapshot)),
        DefinitionKind::Verb => QueryResult::rows(describe::verbs(snapshot)),
        DefinitionKind::Index => QueryResult::rows(index::show(snapshot)?),
        DefinitionKind::Column => QueryResult::rows(column::show(snapshot)?),
        DefinitionKind::View => QueryResult::rows(view::show(snapshot)?),
        DefinitionKind::Private => QueryResult::rows(private::show(snapshot)),
        DefinitionKind::Program(kind) => {
            QueryResult::rows(program::show(snapshot, kind)?.into_iter().map(Ok))
        }
    })
}

/// `SHOW TYPES`: each type with how many events it has, and when the first and the last in the log occurred.
pub(super) fn types(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let types = snapshot.types("")?;
    let own = types.into_iter().filter(|(kind, _)| !kind.starts_with('$'));
    let snapshot = snapshot.clone();
    Ok(own.map(move |(kind, term)| one_type(&snapshot, &kind, term)))
}

pub(super) fn one_type(snapshot: &Snapshot, kind: &str, term: Term) -> Result<Row> {
    let (mut count, mut first, mut last) = (0u64, None, None);
    for position in snapshot.list(term, PositionRange::ALL, ScanDirection::Ascending) {
        let position = position?;
        count += 1;
        first = first.or(Some(position));
        last = Some(position);
    }
    let occurred = |position: Option<Position>| -> Result<Value> {
        let event = position.map_or(Ok(None), |position| snapshot.event(position))?;
        Ok(event.map_or(Value::Null, |event| event.timestamp.to_string().into()))
    };
    Ok(fields([
        ("type", kind.into()),
        ("count", count.into()),
        ("first", occurred(first)?),
        ("last", occurred(last)?),
    ]))
}

/// `SHOW FUNCTIONS`: as one writes each, and what it gives.
pub(super) fn functions() -> impl Iterator<Item = Result<Row>> + Send + 'static {
    FUNCTIONS.iter().map(|function| {
        let aggregate = matches!(function.work, FunctionBody::Aggregate(_));
        Ok(fields([
            ("function", function.form().into()),
            ("aggregate", aggregate.into()),
            ("gives", function.doc.into()),
        ]))
    })
}

/// `SHOW SUBSCRIPTIONS`: those that have a name. The lag is how many events of the log lie behind the place of each.
pub(super) fn subscriptions(snapshot: &Snapshot) -> impl Iterator<Item = Result<Row>> + Send + 'static {
    let head = snapshot.now().head();
    let mut rows = Vec::new();
    for (follower, cursor) in snapshot.cursors() {
        let CursorOwner::Subscription(name) = &follower else { continue };
        rows.push(cursor.map(|cursor| {
            fields([
                ("name", name.as_str().into()),
                ("of", cursor.text.into()),
                ("position", cursor.position.0.into()),
                ("lag", head.since(cursor.position).into()),
                ("reader", snapshot.reader(&follower).map_or(Value::Null, Value::from)),
            ])
        }));
    }
    rows.into_iter()
}

/// `SHOW STATS`.
pub(super) fn stats(snapshot: &Snapshot) -> Result<Row> {
    let types = snapshot.types("")?.len() as u64;
    let checkpoint = snapshot.read(|view| Ok(view.checkpoint()))?.min(snapshot.head());
    let metrics = snapshot.metrics()?;
    // Counts and bytes are whole.
    let told = |name: &str| Value::from(metrics.value(name).unwrap_or_default() as u64);
    Ok(fields([
        ("events", snapshot.head().0.into()),
        ("types", types.into()),
        ("fileBytes", told("bygone_file_bytes")),
        ("checkpoint", checkpoint.0.into()),
        ("tailEvents", snapshot.head().since(checkpoint).into()),
        ("tailBytes", told("bygone_memtable_bytes")),
        ("journalBytes", told("bygone_journal_bytes")),
        ("definitions", told("bygone_definitions")),
        ("opened", snapshot.counts().opened.to_string().into()),
        ("appends", told("bygone_appends_total")),
        ("commits", told("bygone_commits_total")),
        ("syncs", told("bygone_sync_duration_seconds")),
        ("checkpoints", told("bygone_checkpoint_duration_seconds")),
        ("statements", told("bygone_statements_total")),
        ("errors", told("bygone_statement_errors_total")),
        ("subscriptions", told("bygone_subscriptions_open")),
        ("slowest", told("bygone_subscription_lag_events")),
    ]))
}

/// `SHOW HEAD`: to be noted elsewhere, and compared later.
pub(super) fn head(snapshot: &Snapshot) -> Result<Row> {
    let head = snapshot.event(snapshot.head())?;
    let told = [
        ("position", snapshot.head().0.into()),
        ("recorded", head.map_or(Value::Null, |head| head.recorded.to_string().into())),
        ("chain", ChainHash(verify::chain(snapshot)?).to_string().into()),
    ];
    Ok(match snapshot.log_lag() {
        Some(lag) => fields(told.into_iter().chain([("lag", lag.into())])),
        None => fields(told),
    })
}

/// `PROVE`: the stored bytes of an event, and what leads from it to the root.
pub(super) fn prove(snapshot: &Snapshot, position: Position, as_of: Option<Position>) -> Result<Row> {
    let Proof { position, size, root, header, data, metadata, encrypted, path } =
        proof::prove(&log_of(snapshot, as_of)?, position)?;
    let path: Vec<Value> = path.iter().map(|hash| hash.to_string().into()).collect();
    let mut members: Vec<(&str, Value)> = vec![
        ("position", position.0.into()),
        ("size", size.0.into()),
        ("root", root.to_string().into()),
        ("header", hex(&header).into()),
        ("data", hex(&data).into()),
        ("metadata", hex(&metadata).into()),
    ];
    if !encrypted.is_empty() {
        members.push(("encrypted", hex(&encrypted).into()));
    }
    members.push(("path", Value::Array(path)));
    Ok(Row::from(Object::from_iter(members.into_iter().map(|(name, value)| (name.to_owned(), value)))))
}

/// The log up to a position: all of it, where none is said.
pub(crate) fn log_of(snapshot: &Snapshot, as_of: Option<Position>) -> Result<Snapshot> {
    let head = snapshot.head();
    match as_of {
        Some(beyond) if beyond > head => Err(verify::beyond(beyond, head)),
        as_of => Ok(snapshot.until(as_of.unwrap_or(head))),
    }
}

/// `SIGN HEAD`: what the hashes of the log are, signed.
#[cfg(feature = "signing")]
pub(super) fn signed_head(snapshot: &Snapshot, secret: &Secret) -> Result<Row> {
    let key: HeadKey = secret.read("SIGN HEAD")?;
    let head = sign(snapshot)?;
    Ok(fields([
        ("position", head.position.0.into()),
        ("chain", head.chain.to_string().into()),
        ("root", head.root.to_string().into()),
        ("key", key.public().to_string().into()),
        ("note", head.note(&key).into()),
    ]))
}

/// What a key signs.
#[cfg(feature = "signing")]
pub(crate) fn sign(snapshot: &Snapshot) -> Result<LogHead> {
    // What a power cut may take back is not to be signed.
    let snapshot = snapshot.durable()?;
    let (root, chain) = proof::root_and_chain(&snapshot)?;
    Ok(LogHead::new(snapshot.urn(), snapshot.head(), root, chain))
}

#[cfg(not(feature = "signing"))]
pub(super) fn signed_head(_: &Snapshot, _: &Secret) -> Result<Row> {
    Err(Error::invalid("SIGN HEAD", "a build with the feature `signing`", "one without it"))
}

/// `VERIFY AGAINST`: where the log had the hash.
pub(super) fn verify_against(snapshot: &Snapshot, against: &VerifyAgainst) -> Result<Row> {
    let position = verify::verify_against(snapshot, against.chain, against.at)?;
    Ok(fields([
        ("ok", true.into()),
        ("position", position.0.into()),
        ("chain", against.chain.to_string().into()),
        ("since", snapshot.head().since(position).into()),
    ]))
}

/// `VERIFY`: one row of counts; before it a row for each fault, and after it an error if there was one.
pub(super) fn verify(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let found = verify::verify(snapshot)?;
    let ok = found.faults.is_empty();
    let mut rows: Vec<Result<Row>> = Vec::new();
    rows.extend(found.faults.iter().map(|fault| Ok(fields([("fault", fault.as_str().into())]))));
    let mut counts: Vec<(&str, Value)> = vec![
        ("ok", ok.into()),
        ("events", found.events.into()),
        ("entries", found.entries.into()),
        ("states", found.states.into()),
    ];
    if found.unproven > 0 {
        counts.push(("unproven", found.unproven.into()));
    }
    rows.push(Ok(fields(counts)));
    if !ok {
        rows.push(Err(Error::Corrupt {
            place: "the database".to_owned(),
            found: format!("{} faults", found.faults.len()),
            advice: "restore a copy, or read what is left (bygone rescue)".to_owned(),
        }));
    }
    Ok(rows.into_iter())
}
