//! Programs that are defined again: the new definition goes on where the one before is, or, where it says `FROM`, begins anew.

use super::{dead_letter, program, reaction};
use crate::definition::ProgramKind;
use crate::entity::{NameText, Position};
use crate::error::Result;
use crate::plan::Define;
use crate::store::cursor::CursorOwner;
use crate::store::snapshot::Snapshot;

/// What a definition makes of the one of its name that there is.
pub(super) enum Again {
    /// It takes its place, and keeps what waits and what is set aside. What runs it has its cursor.
    GoesOn(CursorOwner),
    /// It drops that, which is told.
    Anew(String),
}

impl Again {
    pub fn goes_on(&self) -> bool {
        matches!(self, Again::GoesOn(_))
    }
}

/// What a definition makes of the one of its name, if there is one.
pub(super) fn defined_again(
    snapshot: &Snapshot,
    kind: ProgramKind,
    wanted: &Define,
) -> Result<Option<Again>> {
    let Some(before) = snapshot.indexes().program(kind, &wanted.name) else { return Ok(None) };
    let follower = CursorOwner::of(before);
    let Some(from) = reaction::from(kind, &wanted.text)? else {
        return Ok(Some(Again::GoesOn(follower)));
    };
    let start = reaction::behind(Some(from), snapshot.head(), snapshot)?;
    // Where the place of the one before cannot be read, it is left all the same.
    let cursor = snapshot.cursor(&follower).ok().flatten();
    let place = program::place(snapshot, before, cursor.as_ref()).ok();
    let aside = dead_letter::set_aside(snapshot, before)?.len();
    Ok(Some(Again::Anew(told(kind, &wanted.name, start, place, aside))))
}

/// What beginning anew does again, and what it drops.
fn told(kind: ProgramKind, name: &str, start: Position, place: Option<Position>, aside: usize) -> String {
    let mut told = Vec::new();
    if let Some(place) = place {
        match kind {
            _ if start > place => told.push(format!("leaves out what it has not come to behind {place}")),
            _ if start == place => {}
            kind => told.push(format!("{} what is behind that", program::done_again(kind))),
        }
    }
    match aside {
        0 => {}
        1 => told.push("forgets the event that is set aside".to_owned()),
        many => told.push(format!("forgets the {many} events that are set aside")),
    }
    let what = if told.is_empty() { String::new() } else { format!(": it {}", told.join(", and ")) };
    let on =
        place.map(|place| format!("; without FROM it would have gone on behind {place}")).unwrap_or_default();
    format!("{} begins anew behind {start}{what}{on}", NameText(name))
}
