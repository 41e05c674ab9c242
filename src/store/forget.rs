//! To forget a subject: what is left to do once its key is gone.
//!
//! An event says that it is forgotten, and the checkpoint that moves the event into the tables takes the key away: from then on nobody reads
//! the values. What was made of them while there was a key, and what a copy-on-write tree leaves in free pages, is still in the file:
//!
//! 1. the bytes of the key are erased, wherever they are in the file;
//! 2. states, snapshots and groups that may have the values are dropped, to be made anew of the log, and lists of indexes lose the events;
//! 3. the file is written anew, with what it holds and nothing else ([`compact`](super::compact)).
//!
//! A row of `meta` says that there is something to do, from the write that takes the key away to the end of this: after a crash it is done as
//! the file is opened. All of it can be done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::checkpoint::Checkpointer;
use super::index::term::Term;
use super::kernel::Kernel;
use super::keyring::forgotten_subject;
use super::read_form::read_form_until;
use super::snapshot::{ScanDirection, Snapshot};
use crate::cancel::Cancel;
use crate::entity::{Entity, EventType, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::FORGOTTEN;
use crate::event::record::Record;

/// How many rows one write drops.
const DROPPED: usize = 10_000;

/// How long it is waited for readers of what was dropped, and how often it is looked.
const READ: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// The events that have private values of the subjects that were forgotten lately.
#[derive(Debug, Default)]
struct Touched {
    events: BTreeSet<Position>,
    /// The entities whose histories they are in, and all kinds of which a state may have them.
    entities: BTreeSet<Term>,
    types: BTreeSet<String>,
}

/// The events with private values of a subject, in the order of the log.
pub(crate) fn events_of(snapshot: &Snapshot, subject: &Entity) -> Result<Vec<Position>> {
    snapshot.list(Term::subject(subject)?, PositionRange::ALL, ScanDirection::Ascending).collect()
}

/// Moves what is said into the tables, erases keys and drops what was made of what they opened. Gives the position of the last that was
/// forgotten, if there was something to do.
pub(super) fn forget_kept(
    kernel: &std::sync::Arc<Kernel>,
    checkpointer: &Checkpointer,
    cancel: &Cancel,
) -> Result<Option<Position>> {
    checkpointer.move_all()?;
    if !kernel.tables.read()?.keys_to_erase()? {
        return Ok(None);
    }
    // What was read before this is not kept: some of it may have been encrypted under no key just now.
    kernel.keyring.count_forgotten(1);
    let dropped = drop_kept(kernel, checkpointer, cancel);
    // Nor what was read of that until now, also where not all of it was dropped.
    kernel.keyring.count_forgotten(1);
    kernel.state_caches.clear();
    kernel.background.ask(|asked| asked.index = true);
    dropped
}

/// Erases keys, and drops what was made of what they opened.
fn drop_kept(
    kernel: &std::sync::Arc<Kernel>,
    checkpointer: &Checkpointer,
    cancel: &Cancel,
) -> Result<Option<Position>> {
    let go_on = || cancel.check();
    kernel.tables.erase_keys(go_on)?;
    let through = kernel.tables.read()?.checkpoint()?;
    let snapshot = kernel.snapshot().until(through);
    let touched = touched(&snapshot, kernel.tables.read()?.forgotten_through()?)?;
    if touched.events.is_empty() {
        return Ok(Some(through));
    }
    drop_states(kernel, &snapshot, &touched)?;
    drop_entries(kernel, &snapshot, &touched)?;
    drop_ended(kernel, checkpointer, cancel)?;
    Ok(Some(through))
}

/// What the subjects that were forgotten behind a position have private values in.
fn touched(snapshot: &Snapshot, done: Position) -> Result<Touched> {
    let mut touched = Touched::default();
    let forgotten = Term::kind(&EventType::new(FORGOTTEN)?)?;
    for said in snapshot.list(forgotten, PositionRange::after(done), ScanDirection::Ascending) {
        let said = said?;
        let Some(event) = snapshot.event(said)? else { continue };
        let Some(subject) = forgotten_subject(&event.kind, &event.data) else { continue };
        touched.events.extend(events_of(snapshot, &subject)?.into_iter().filter(|position| *position < said));
    }
    // As they are stored: their headers say enough, and what else they say may not be read any more.
    let stored = snapshot.stored();
    for position in &touched.events {
        let Some(bytes) = stored.encoded(*position)? else { continue };
        let event = Record::open(*position, &bytes)?;
        touched.types.insert(event.kind().to_owned());
        if let Some(target) = event.target() {
            touched.entities.insert(Term::entity(&target.into())?);
        }
    }
    Ok(touched)
}

/// Drops states, their indexes and snapshots, and groups: they are made anew in the background, and worked out until then.
fn drop_states(kernel: &Kernel, snapshot: &Snapshot, touched: &Touched) -> Result<()> {
    let kinds: BTreeSet<String> =
        touched.entities.iter().filter_map(|term| term.as_entity().map(|(kind, _)| kind)).collect();
    let catalog = snapshot.indexes();
    let models = catalog.models().filter(|model| {
        let includes = model.fold().is_ok_and(|fold| {
            fold.includes()
                .iter()
                .any(|include| touched.types.iter().any(|kind| include.on.matches_text(kind)))
        });
        includes || model.fold().is_err() || kinds.contains(&model.kind)
    });
    let models = models.map(|model| model.position);
    let views = catalog.kept_views().filter(|view| view.groups().is_some() || view.view().is_err());
    let views = views.map(|view| view.position);
    let dropped: Vec<Position> = models.chain(views).collect();
    for definition in dropped {
        let mut whole = false;
        while !whole {
            kernel.tables.write("dropping what is made of private values", |tables| {
                tables.forget_followed(definition)?;
                whole = tables.remove_states(definition, DROPPED)?;
                Ok(())
            })?;
        }
    }
    kernel.tables.write("dropping what is made of private values", |tables| {
        tables.remove_snapshots_of(&touched.entities)
    })
}

/// Drops what there is of definitions that are no more: it would be dropped in time, and what is free keeps what it had.
fn drop_ended(kernel: &Kernel, checkpointer: &Checkpointer, cancel: &Cancel) -> Result<()> {
    let give_up = Instant::now() + READ;
    for definition in kernel.stale()? {
        // Somebody may still read its lists.
        while checkpointer.is_read(definition) {
            cancel.check()?;
            if Instant::now() > give_up {
                return Err(Error::stopped("an index that was dropped is still being read"));
            }
            std::thread::sleep(PAUSE);
        }
        let mut whole = false;
        while !whole {
            kernel.tables.write("dropping an index", |tables| {
                whole = tables.remove_index(definition, DROPPED)?;
                Ok(())
            })?;
        }
    }
    for (definition, _) in kernel.tables.read()?.kept_definitions()? {
        let catalog = kernel.applied.catalog();
        let mut whole = catalog.has(definition);
        while !whole {
            kernel.tables.write("dropping what is kept", |tables| {
                whole = tables.remove_states(definition, DROPPED)?;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Takes events out of the lists of indexes that have them under private values, and into those that they are under now.
fn drop_entries(kernel: &Kernel, snapshot: &Snapshot, touched: &Touched) -> Result<()> {
    let limits = kernel.limits();
    for index in snapshot.indexes().each() {
        if !touched.types.iter().any(|kind| index.on().matches_text(kind)) {
            continue;
        }
        let mut found: Vec<(Position, Vec<Term>)> = Vec::new();
        for position in &touched.events {
            let stored = snapshot.stored().encoded(*position)?;
            let stored =
                stored.ok_or_else(|| Error::corrupt("the log", format!("no event at {position}")))?;
            let plain = snapshot.decrypted(*position, &stored)?;
            // In the form that it was read in when the index was defined.
            let formed = match read_form_until(*position, &plain, snapshot.indexes(), index.position) {
                Err(Error::Upcast { .. }) => continue,
                formed => formed?,
            };
            let mut terms = Vec::new();
            index.terms(&Record::open(*position, &formed)?, &limits, &mut terms)?;
            found.push((*position, terms));
        }
        kernel.tables.write("dropping what is made of private values", |tables| {
            // What lies before the definition may not be in it yet.
            let done = tables.backfilled_through(index.position)?;
            let mut now: BTreeMap<Vec<u8>, BTreeSet<Position>> = BTreeMap::new();
            for (position, terms) in &found {
                if *position <= index.position && *position > done {
                    continue;
                }
                for term in terms {
                    now.entry(term.as_bytes().to_vec()).or_default().insert(*position);
                }
            }
            let mut lists: BTreeMap<Vec<u8>, Vec<Position>> =
                tables.lists_with(index.position, &touched.events)?.into_iter().collect();
            for term in now.keys() {
                if !lists.contains_key(term) {
                    lists.insert(term.clone(), tables.postings_of(term)?);
                }
            }
            for (term, before) in lists {
                let mut after: BTreeSet<Position> =
                    before.iter().filter(|position| !touched.events.contains(position)).copied().collect();
                after.extend(now.get(&term).into_iter().flatten());
                let after: Vec<Position> = after.into_iter().collect();
                if after != before {
                    tables.replace_postings(&term, &after)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
