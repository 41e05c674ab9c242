//! Choosing: which lists answer.
//!
//! What `BY` says is an intersection of lists. A pattern is the union of the lists of the types it means; `*` is the log
//! itself. Where a list is short anyhow, or the types are many, the pattern is left to be checked on each event.

use std::collections::BTreeMap;

use super::By;
use crate::entity::EventType;
use crate::error::Result;
use crate::pattern::Pattern;
use crate::store::snapshot::Snapshot;
use crate::store::term::Term;

/// A union of more lists than this takes more memory than it saves.
const MOST_LISTS: usize = 1000;

/// More types than this are checked on each event, where another list narrows already.
const FEW_TYPES: usize = 4;

/// Where positions come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// Every event of the log.
    Log,
    List(Lookup),
    /// These, ascending.
    Positions(Vec<u64>),
    Union(Vec<Lookup>),
    Intersection(Vec<Source>),
}

/// A list, and what it is to be called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    pub term: Term,
    pub name: String,
}

/// The source for a pattern and all of some conditions, and the pattern where the source does not see to it.
pub(crate) fn source_of(
    snapshot: &Snapshot,
    pattern: Option<Pattern>,
    tags: &[By],
) -> Result<(Source, Option<Pattern>)> {
    let mut sources = tags.iter().map(|by| source_of_one(snapshot, by)).collect::<Result<Vec<_>>>()?;
    let Some(pattern) = pattern else { return Ok((join(sources), None)) };
    if pattern.is_all() {
        return Ok((join(sources), Some(pattern)));
    }
    let types = types(snapshot, &pattern)?;
    let most = if sources.is_empty() { MOST_LISTS } else { FEW_TYPES };
    if types.len() > most {
        return Ok((join(sources), Some(pattern)));
    }
    sources.push(match <[Lookup; 1]>::try_from(types) {
        Ok([one]) => Source::List(one),
        Err(several) => Source::Union(several),
    });
    Ok((join(sources), None))
}

fn join(mut sources: Vec<Source>) -> Source {
    match sources.len() {
        0 => Source::Log,
        1 => sources.swap_remove(0),
        _ => Source::Intersection(sources),
    }
}

fn types(snapshot: &Snapshot, pattern: &Pattern) -> Result<Vec<Lookup>> {
    let mut found = BTreeMap::new();
    for glob in pattern.alternatives() {
        match glob.literal() {
            Some(kind) => {
                let kind = EventType::new(kind)?;
                found.insert(kind.as_str().to_owned(), Term::kind(&kind)?);
            }
            None => {
                let types = snapshot.types(glob.prefix())?;
                found.extend(types.into_iter().filter(|(kind, _)| glob.matches(kind)));
            }
        }
    }
    Ok(found.into_iter().map(|(kind, term)| Lookup { term, name: format!("type {kind}") }).collect())
}

fn source_of_one(snapshot: &Snapshot, by: &By) -> Result<Source> {
    let term = match by {
        // An id that the database made is found by its time, not by a list.
        By::Id(id) => {
            let found = snapshot.position_of(id)?;
            return Ok(Source::Positions(found.iter().map(|position| position.0).collect()));
        }
        By::Target(entity) => Term::entity(entity),
        By::Type(kind) => Term::kind(kind),
        By::Actor(actor) => Term::actor(actor),
        By::Key(key) => Term::key(key),
        By::Cause(cause) => Term::cause(cause),
        By::Correlation(correlation) => Term::correlation(correlation),
        By::Tag { name, value } => Term::tag(name, value),
    };
    Ok(Source::List(Lookup { term: term?, name: by.to_string() }))
}
