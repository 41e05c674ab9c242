//! The check of what is kept of views: each group equals what the whole log makes of it. Rows that are events or entities are in
//! indexes, which are compared as such.

use std::collections::BTreeMap;

use super::Verification;
use crate::entity::Position;
use crate::error::{Error, Result, shorten};
use crate::event::record::Record;
use crate::store::snapshot::{Direction, Snapshot};
use crate::store::view::{Groups, LARGEST, Part};

/// How many events are looked at at a time.
const RUN: usize = 4096;

/// Compares all that is kept of views.
pub(super) fn compare(snapshot: &Snapshot, found: &mut Verification) -> Result<()> {
    for view in snapshot.indexes().kept_views() {
        let Some(groups) = view.groups() else { continue };
        let checked = self::groups(snapshot, (&view.name, view.position), groups, found);
        found.or_fault(checked)?;
        if found.full() {
            break;
        }
    }
    Ok(())
}

fn groups(
    snapshot: &Snapshot,
    (name, definition): (&str, Position),
    groups: &dyn Groups,
    found: &mut Verification,
) -> Result<()> {
    let (through, mut kept, damage) = snapshot.read(|view| {
        let mut kept: BTreeMap<Vec<u8>, Result<Vec<u8>>> = BTreeMap::new();
        let (mut damage, mut from) = (Vec::new(), Vec::new());
        let through = view.cold().followed(definition)?;
        while through.is_some() {
            let begin = from.clone();
            let read = view.cold().each_group_from(definition, &begin, |key, bytes| {
                kept.insert(key.to_vec(), bytes.map(<[u8]>::to_vec));
                from = key.to_vec();
                Ok(())
            });
            match read {
                Err(error @ Error::Corrupt { .. }) if damage.len() < super::MOST_FAULTS => damage.push(error),
                read => {
                    read?;
                    break;
                }
            }
            // Behind what cannot be read it goes on.
            match view.cold().groups_readable_after(definition, &from)? {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok((through.unwrap_or(0), kept, damage))
    })?;
    for error in &damage {
        found.fault(format!("the groups of the view {name}: {}", super::words(error)));
    }
    // What is kept may be of newer events than this snapshot shows.
    let expected = match made(&snapshot.now(), groups, through) {
        // Where the log is damaged, that was told.
        Err(Error::Corrupt { .. }) => return Ok(()),
        made => made?,
    };
    for (key, expected) in expected {
        found.states += 1;
        match kept.remove(&key) {
            // It was too large once.
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) if bytes == expected => {}
            Some(Ok(_)) => {
                found.fault(format!(
                    "a group of the view {name} is not kept as its events make it: {}",
                    said(&key)
                ));
            }
            Some(Err(error)) => found.fault(super::words(&error)),
            None if expected.len() > LARGEST => {}
            // It may be where nothing can be read.
            None if !damage.is_empty() => {}
            None => found.fault(format!("a group of the view {name} is not kept: {}", said(&key))),
        }
    }
    for key in kept.into_keys() {
        found.fault(format!("a group of the view {name} is kept, and no event makes it: {}", said(&key)));
    }
    Ok(())
}

/// What the log makes, up to a position.
fn made(snapshot: &Snapshot, groups: &dyn Groups, through: u64) -> Result<Part> {
    let (mut whole, limits) = (Part::new(), snapshot.limits());
    let mut rows = snapshot.log(1, through, Direction::Ascending);
    loop {
        let run = rows.by_ref().take(RUN).collect::<Result<Vec<_>>>()?;
        if run.is_empty() {
            return Ok(whole);
        }
        let mut records = run.iter().map(|(position, bytes)| Record::open(Position(*position), bytes));
        for (key, later) in groups.part(&mut records, &limits)? {
            let joined = match whole.get(&key) {
                Some(before) => groups.join(before, &later)?,
                None => later,
            };
            whole.insert(key, joined);
        }
    }
}

/// A key, for people.
fn said(key: &[u8]) -> String {
    shorten(
        &key.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect::<String>(),
    )
}
