//! The check of what is kept of states: each row equals a fold of all events, made without anything that is kept.

use std::sync::Arc;

use super::Verification;
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::store::catalog::{CatalogModel, Finder};
use crate::store::snapshot::{IdRange, Snapshot};
use crate::store::state::fold::{Fold, Folded, Plain};
use crate::store::state::stored_state::StoredState;
use crate::store::tables::states::{Built, Snapped, snapped};

/// How many rows are read at a time, and how many bytes of states about.
const PAGE: usize = 256;
const BYTES: usize = 4 << 20;

/// Compares all that is kept of states.
pub(super) fn compare(snapshot: &Snapshot, found: &mut Verification) -> Result<()> {
    for model in snapshot.indexes().models().filter(|model| model.is_understood()) {
        for check in [states, none_is_missing, entries] {
            let checked = check(snapshot, model, found);
            found.or_fault(checked)?;
        }
    }
    let damaged = snapshot.read(|view| view.tables().damaged_followers());
    for damaged in found.or_fault(damaged)?.unwrap_or_default() {
        found.fault(super::words(&damaged));
    }
    let checked = snapshots(snapshot, found);
    found.or_fault(checked).map(drop)
}

/// Some states of a model, as one read saw them.
struct StatePage {
    /// Up to where the log is in them.
    followed: Position,
    rows: Vec<(String, Result<Vec<u8>>)>,
    /// The last id, if there may be more.
    last: Option<String>,
}

/// A page of the states of a model; none if they are not kept.
fn page(snapshot: &Snapshot, model: &CatalogModel, from: &[u8]) -> Result<Option<StatePage>> {
    snapshot.read(|view| {
        let Some(followed) = view.tables().followed(model.position)? else { return Ok(None) };
        let (mut rows, mut held) = (Vec::new(), 0);
        let last = view.tables().each_state_from(model.position, from, PAGE, |id, bytes| {
            held += bytes.as_ref().map_or(0, |bytes| bytes.len());
            rows.push((id.to_owned(), bytes.map(<[u8]>::to_vec)));
            Ok(held < BYTES)
        })?;
        Ok(Some(StatePage { followed, rows, last }))
    })
}

/// Each state is that of a fold.
fn states(snapshot: &Snapshot, model: &CatalogModel, found: &mut Verification) -> Result<()> {
    let (fold, limits) = (model.fold()?, snapshot.limits());
    let (mut from, mut gaps) = (Vec::new(), 0..super::MOST_GAPS);
    while !found.full() {
        let read = page(snapshot, model, &from);
        let Some(page) = found.or_fault(read)? else {
            // Behind what cannot be read it goes on.
            let next = snapshot.read(|view| view.tables().states_readable_after(model.position, &from));
            let Some(next) = found.or_fault(next)?.flatten().filter(|_| gaps.next().is_some()) else { break };
            from = next;
            continue;
        };
        let Some(StatePage { followed, rows, last }) = page else { break };
        // What is kept may be of newer events than this snapshot shows.
        let now = snapshot.now();
        for (id, bytes) in rows {
            let entity = Entity::new(&model.kind, &id)?;
            let what = || format!("the state of {entity}");
            if let Some(kept) =
                found.or_fault(bytes.and_then(|bytes| StoredState::open(&bytes)?.to_folded(&limits)))?
            {
                let Some(expected) = unless_damaged(now.fold_all(&entity, &**fold, followed))? else {
                    continue;
                };
                differs(found, what, &kept, &expected);
                if expected.events == 0 {
                    found.fault(format!("{} is kept, and it has no event", what()));
                }
            }
            found.states += 1;
        }
        let Some(last) = last else { break };
        from = [last.as_bytes(), &[0]].concat();
    }
    Ok(())
}

/// A fold; none where the log or its lists are damaged, which was told where they were compared.
fn unless_damaged(folded: Result<Folded>) -> Result<Option<Folded>> {
    match folded {
        Err(Error::Corrupt { .. }) => Ok(None),
        folded => folded.map(Some),
    }
}

fn differs(found: &mut Verification, what: impl Fn() -> String, kept: &Folded, expected: &Folded) {
    if kept != expected {
        found.fault(format!("{} is kept as {}, and its events make {}", what(), said(kept), said(expected)));
    }
}

fn said(folded: &Folded) -> String {
    let state = crate::error::shorten(&folded.state.to_string());
    format!("{state} of {} events up to {}", folded.events, folded.position)
}

/// Each entity has its state.
fn none_is_missing(snapshot: &Snapshot, model: &CatalogModel, found: &mut Verification) -> Result<()> {
    let fold = model.fold()?;
    let mut each = snapshot.ids(&model.kind, IdRange::ALL)?;
    while let Some(id) = each.next().transpose()? {
        let kept = snapshot.read(|view| {
            let followed = view.tables().followed(model.position)?;
            // Damage was told above.
            Ok((followed, view.tables().has_state(model.position, &id)?))
        });
        let (Some(followed), false) = kept? else { continue };
        let entity = Entity::new(&model.kind, &id)?;
        let expected = unless_damaged(snapshot.now().fold_all(&entity, &**fold, followed))?;
        if expected.is_some_and(|expected| expected.events > 0) {
            found.fault(format!("the state of {entity} is not kept, as those of its kind are"));
        }
        if found.full() {
            break;
        }
    }
    Ok(())
}

/// The indexes of states hold what the states have, and nothing else.
fn entries(snapshot: &Snapshot, model: &CatalogModel, found: &mut Verification) -> Result<()> {
    let finders: Vec<Arc<Finder>> =
        snapshot.indexes().finders_of(&model.kind).filter(|finder| finder.is_understood()).cloned().collect();
    if finders.is_empty() {
        return Ok(());
    }
    let limits = snapshot.limits();
    // One read of all: they change together.
    snapshot.read(|view| {
        let tables = view.tables();
        for finder in &finders {
            let Some(built) = tables.built(model.position, finder.position)? else { continue };
            let (mut expected, mut count) = (0u64, 0u64);
            let mut missing = None;
            tables.each_state_after(model.position, None, usize::MAX, |id, bytes| {
                let Ok(bytes) = bytes else { return Ok(true) };
                if built.has(id) {
                    for term in
                        crate::store::touched::found_by(id, &StoredState::open(bytes)?, finder, &limits)?
                    {
                        expected += 1;
                        if missing.is_none() && !tables.has_found(model.position, &term, id)? {
                            missing = Some(id.to_owned());
                        }
                    }
                }
                Ok(true)
            })?;
            let mut damaged = None;
            tables.each_found(model.position, finder.position, |entry| {
                count += 1;
                damaged = damaged.take().or(entry.err());
                Ok(())
            })?;
            found.entries += count;
            // One that is being dropped holds no more than it is said to.
            if built == Built::DROPPING {
                continue;
            }
            if let Some(error) = damaged {
                found.fault(format!("the index {}: {}", finder.name, super::words(&error)));
            }
            if let Some(id) = missing {
                found.fault(format!(
                    "the index {} does not have the state of {} {id}",
                    finder.name, model.kind
                ));
            } else if count != expected && built == Built::Whole {
                found.fault(format!(
                    "the index {} has {count} entries of states, not {expected}",
                    finder.name
                ));
            }
            view.go_on()?;
        }
        Ok(())
    })
}

/// Each snapshot is what the events up to it make.
fn snapshots(snapshot: &Snapshot, found: &mut Verification) -> Result<()> {
    let (mut key, mut gaps, limits) = (Vec::new(), 0..super::MOST_GAPS, snapshot.limits());
    let mut so_far: Option<(Position, Entity, Arc<dyn Fold>, Folded)> = None;
    loop {
        let rows = snapshot.read(|view| view.tables().snapshots_from(&key, PAGE));
        let Some(rows) = found.or_fault(rows)? else {
            let next = snapshot.read(|view| view.tables().snapshots_readable_after(&key));
            let next = found.or_fault(next)?.flatten().filter(|_| gaps.next().is_some());
            let Some(next) = next else { return Ok(()) };
            key = next;
            continue;
        };
        let Some((last, _)) = rows.last() else { return Ok(()) };
        key = [last.as_slice(), &[0]].concat();
        let now = snapshot.now();
        for (key, bytes) in rows {
            let Some(bytes) = found.or_fault(bytes)? else { continue };
            let Some(Snapped { definition, entity, position }) = found.or_fault(snapped(&key))?.flatten()
            else {
                // A program's own type is for the program to check.
                continue;
            };
            let fold: Arc<dyn Fold> = match snapshot.indexes().model(entity.kind()) {
                Some(model) if model.position == definition && model.is_understood() => model.fold()?.clone(),
                // It holds events as they were read then, and is not looked at again.
                _ if definition == Position::START && position < snapshot.indexes().reformed() => continue,
                _ if definition == Position::START => Arc::new(Plain),
                // It is to be dropped.
                _ => continue,
            };
            let (fold, before) = match so_far.take() {
                Some((same, of, fold, folded)) if same == definition && of == entity => (fold, folded),
                _ => (fold, Folded::default()),
            };
            let expected = unless_damaged(now.fold_all_from(before, &entity, &*fold, position))?;
            let Some(expected) = expected else { continue };
            let what = || format!("the snapshot of {entity} at {position}");
            if let Some(kept) =
                found.or_fault(StoredState::open(&bytes).and_then(|kept| kept.to_folded(&limits)))?
            {
                differs(found, what, &kept, &expected);
            }
            found.states += 1;
            so_far = Some((definition, entity, fold, expected));
        }
        if found.full() {
            return Ok(());
        }
    }
}
