//! The check of what is kept of views: each group equals what the whole log makes of it. Rows that are events or entities are in
//! indexes, which are compared as such.

use std::collections::BTreeMap;

use super::Verification;
use crate::definition::DefinitionKind;
use crate::entity::{Position, PositionRange};
use crate::error::{Error, Result, shorten};
use crate::event::record::Record;
use crate::store::snapshot::{ScanDirection, Snapshot};
use crate::store::view::{GroupDelta, ViewGroups};

/// How many events are looked at at a time, and about how many bytes.
const RUN: (usize, usize) = (4096, 4 << 20);

/// How many bytes of groups are held at a time, about, of what is kept and of what the log makes each: more makes it faster, and a
/// check is to disturb nobody.
const MOST: usize = 64 << 20;

/// What one group takes beside its bytes, about.
const ENTRY: usize = 100;

/// Compares all that is kept of views.
pub(super) fn compare(snapshot: &Snapshot, found: &mut Verification) -> Result<()> {
    let catalog = snapshot.indexes();
    for view in catalog.kept_views() {
        // One that is being replaced may hold events as they were read before.
        if view.position < catalog.reformed() && !catalog.is_newest_view(view) {
            continue;
        }
        let Some(groups) = view.groups() else { continue };
        let what = match view.kind {
            DefinitionKind::Column => format!("block of the column {}", view.name),
            _ => format!("group of the view {}", view.name),
        };
        let checked = self::groups(snapshot, (&what, view.position), groups, found);
        found.or_fault(checked)?;
        if found.full() {
            break;
        }
    }
    Ok(())
}

/// Compares the groups of a view: those of one range of keys after another, so that few are held at a time. Each range takes a look at
/// the whole log.
fn groups(
    snapshot: &Snapshot,
    view: (&str, Position),
    groups: &dyn ViewGroups,
    found: &mut Verification,
) -> Result<()> {
    // No more than a query may hold: half for what is kept, half for what the log makes.
    let most = (snapshot.query_memory() / 2).min(MOST);
    let (mut range, mut damaged) = (Range { from: Vec::new(), until: None }, false);
    loop {
        let (through, kept, damage) = kept(snapshot, view.1, &mut range, most)?;
        for error in &damage {
            found.fault(format!("a {}: {}", view.0, super::words(error)));
        }
        damaged |= !damage.is_empty();
        // What is kept may be of newer events than this snapshot shows.
        let expected = match made(&snapshot.now(), groups, through, &mut range, most) {
            // Where the log is damaged, that was told.
            Err(Error::Corrupt { .. }) => return Ok(()),
            made => made?,
        };
        let most = groups.largest();
        differences((view.0, most), &range, kept, expected, damaged, found);
        match range.until {
            Some(until) if !found.full() => range = Range { from: until, until: None },
            _ => return Ok(()),
        }
    }
}

/// Keys of groups: from one on, and before another if there is one.
struct Range {
    from: Vec<u8>,
    until: Option<Vec<u8>>,
}

impl Range {
    fn has(&self, key: &[u8]) -> bool {
        *self.from <= *key && self.until.as_ref().is_none_or(|until| *key < **until)
    }

    /// Leaves the last of some groups for the next range, until the others take half of what they may. One stays.
    fn shorten(&mut self, made: &mut GroupDelta, held: &mut usize, most: usize) {
        while *held > most / 2
            && made.len() > 1
            && let Some((key, bytes)) = made.pop_last()
        {
            *held = held.saturating_sub(ENTRY + key.len() + bytes.len());
            self.until = Some(key);
        }
    }
}

type StoredGroups = BTreeMap<Vec<u8>, Result<Vec<u8>>>;

/// What is kept of the groups of a range, up to which position, and where they cannot be read. The range ends where they are enough.
fn kept(
    snapshot: &Snapshot,
    definition: Position,
    range: &mut Range,
    most: usize,
) -> Result<(Position, StoredGroups, Vec<Error>)> {
    snapshot.read(|view| {
        let (mut kept, mut held, mut until) = (StoredGroups::new(), 0, None);
        let (mut damage, mut from) = (Vec::new(), range.from.clone());
        let through = view.tables().followed(definition)?;
        while through.is_some() && until.is_none() {
            let begin = from.clone();
            let read = view.tables().groups_from(definition, &begin, |key, bytes| {
                view.go_on()?;
                if held > most {
                    until = Some(key.to_vec());
                    return Ok(false);
                }
                held += ENTRY + key.len() + bytes.as_ref().map_or(0, |bytes| bytes.len());
                kept.insert(key.to_vec(), bytes.map(<[u8]>::to_vec));
                from = key.to_vec();
                Ok(true)
            });
            match read {
                Err(error @ Error::Corrupt { .. }) if damage.len() < super::MOST_FAULTS => damage.push(error),
                read => {
                    read?;
                    break;
                }
            }
            // Behind what cannot be read it goes on.
            match view.tables().groups_readable_after(definition, &from)? {
                Some(next) => from = next,
                None => break,
            }
        }
        range.until = until;
        Ok((through.unwrap_or_default(), kept, damage))
    })
}

/// What the log makes of the groups of a range, up to a position. The range ends earlier where they take more than they may.
fn made(
    snapshot: &Snapshot,
    groups: &dyn ViewGroups,
    through: Position,
    range: &mut Range,
    most: usize,
) -> Result<GroupDelta> {
    let (mut whole, mut held, limits) = (GroupDelta::new(), 0_usize, snapshot.limits());
    let mut rows = snapshot.log(PositionRange::through(through), ScanDirection::Ascending);
    loop {
        let (mut run, mut bytes) = (Vec::new(), 0);
        while run.len() < RUN.0
            && bytes < RUN.1
            && let Some(row) = rows.next().transpose()?
        {
            bytes += row.1.len();
            run.push(row);
        }
        if run.is_empty() {
            return Ok(whole);
        }
        let mut records = run.iter().map(|(position, bytes)| Record::open(*position, bytes));
        for (key, later) in groups.part(&mut records, &limits)? {
            if !range.has(&key) {
                continue;
            }
            let before = whole.get(&key);
            held = held.saturating_sub(before.map_or(0, |before| ENTRY + key.len() + before.len()));
            let joined = match before {
                Some(before) => groups.join(before, &later)?,
                None => later,
            };
            held += ENTRY + key.len() + joined.len();
            whole.insert(key, joined);
            if held > most {
                range.shorten(&mut whole, &mut held, most);
            }
        }
    }
}

/// Tells where what is kept is not what the log makes.
fn differences(
    (what, most): (&str, usize),
    range: &Range,
    mut kept: StoredGroups,
    expected: GroupDelta,
    damaged: bool,
    found: &mut Verification,
) {
    for (key, expected) in expected {
        found.states += 1;
        match kept.remove(&key) {
            // It was too large once.
            Some(Ok(bytes)) if bytes.is_empty() => {}
            Some(Ok(bytes)) if bytes == expected => {}
            Some(Ok(_)) => {
                found.fault(format!("a {what} is not kept as its events make it: {}", said(&key)));
            }
            Some(Err(error)) => found.fault(super::words(&error)),
            None if expected.len() > most => {}
            // It may be where nothing can be read.
            None if damaged => {}
            None => found.fault(format!("a {what} is not kept: {}", said(&key))),
        }
    }
    for key in kept.into_keys().filter(|key| range.has(key)) {
        found.fault(format!("a {what} is kept, and no event makes it: {}", said(&key)));
    }
}

/// A key, for people.
fn said(key: &[u8]) -> String {
    shorten(
        &key.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect::<String>(),
    )
}
