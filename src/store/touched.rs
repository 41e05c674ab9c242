//! What a stretch of the log touches: which entities, and what their states are found by then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::catalog::{CatalogModel, Finder};
use super::index::term::Term;
use super::state::fold::Fold;
use super::state::stored_state::StoredState;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::Result;
use crate::event::record::Record;

/// For each entity that events concern, which, and whether they are its own.
pub(super) type TouchedEntities = BTreeMap<String, Vec<(Position, bool)>>;

/// What a stretch touches: for each of some models, each of a kind of its own, its entities.
pub(super) fn touched(
    models: &[(&CatalogModel, &Arc<dyn Fold>)],
    first: Position,
    events: &[impl AsRef<[u8]>],
) -> Result<Vec<TouchedEntities>> {
    let mut touched: Vec<TouchedEntities> = models.iter().map(|_| TouchedEntities::new()).collect();
    let of_kind: HashMap<&str, usize> =
        models.iter().enumerate().map(|(at, (model, _))| (&*model.kind, at)).collect();
    let including: Vec<_> =
        models.iter().enumerate().filter(|(_, (_, fold))| !fold.includes().is_empty()).collect();
    if models.is_empty() {
        return Ok(touched);
    }
    for (position, bytes) in first.onwards().zip(events) {
        let event = Record::open(position, bytes.as_ref())?;
        if let Some(target) = event.target()
            && let Some(at) = of_kind.get(target.kind)
        {
            add(&mut touched[*at], target.id, position, true);
        }
        for (at, (model, fold)) in &including {
            for id in included(&event, &model.kind, &***fold) {
                add(&mut touched[*at], &id, position, false);
            }
        }
    }
    Ok(touched)
}

/// What a stretch touches of the entities of a model.
pub(super) fn touched_by(
    model: &CatalogModel,
    fold: &Arc<dyn Fold>,
    first: Position,
    events: &[impl AsRef<[u8]>],
) -> Result<TouchedEntities> {
    Ok(touched(&[(model, fold)], first, events)?.pop().unwrap_or_default())
}

fn add(touched: &mut TouchedEntities, id: &str, position: Position, own: bool) {
    match touched.get_mut(id) {
        Some(positions) => positions.push((position, own)),
        None => drop(touched.insert(id.to_owned(), vec![(position, own)])),
    }
}

/// The ids of the entities of a kind whose folds an event joins that is not theirs.
fn included(event: &Record, kind: &str, fold: &dyn Fold) -> Vec<String> {
    let mut ids = Vec::new();
    for include in fold.includes() {
        if !include.on.matches_text(event.kind()) {
            continue;
        }
        for (_, value) in event.tags().filter(|(name, _)| *name == include.tag) {
            let Some(id) = value.to_value().ok().and_then(|value| Term::id_of_tag(&value)) else { continue };
            let own = event.target().is_some_and(|target| target.kind == kind && target.id == id);
            if !own && Term::is_id(kind, &id) {
                ids.push(id);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The terms that a state is found by, each once, in order. Those of which there is none have a place of their own: they are to be told of.
pub(super) fn found_by(id: &str, kept: &StoredState, finder: &Finder, limits: &Limits) -> Result<Vec<Term>> {
    if kept.fault.is_some() { Ok(vec![finder.faulty_term()]) } else { finder.terms(id, kept, limits) }
}
