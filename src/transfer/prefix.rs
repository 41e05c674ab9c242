//! What an earlier import of the same input has brought in, of lines without an id or a key.
//!
//! The first of them in a group carries the hash of the input up to its end as a key: where that is known, the input up to there was
//! imported before, and the event is where it is. Its seal says how many lines came with it: they follow it in the log, and are compared
//! one by one, so that a line that was changed, and all that follow it, are new.

use super::ParsedLine;
use super::known::{is_line, place_of};
use crate::entity::Position;
use crate::error::Result;
use crate::event::{Event, codec};
use crate::store::Store;
use crate::store::index::term::Term;
use crate::store::snapshot::ReadTxn;

/// How many of these lines an earlier import has brought in.
pub(super) fn known(store: &Store, lines: &[ParsedLine]) -> Result<usize> {
    store.snapshot().read(|view| {
        let mut known = 0;
        // Where the next line is, and where those end that came with it.
        let (mut next, mut end) = (Position::START, Position::START);
        loop {
            while let Some(line) = lines.get(known) {
                let event = match line.hashed {
                    false => place_of(view, line)?,
                    true if next < end => event_at(view, next)?.filter(|event| is_line(line, event)),
                    true => None,
                };
                match event {
                    Some(event) if event.position == next => next = next.next(),
                    Some(_) => {}
                    None if line.hashed => {
                        let Some(first) = first_of(view, line)? else { break };
                        (next, end) = with(&first);
                    }
                    None => break,
                }
                known += 1;
            }
            // Earlier versions kept the key of the last line of a group, on the first.
            let mut later = None;
            for (at, line) in lines.iter().enumerate().skip(known).rev() {
                if let Some(first) = first_of(view, line)? {
                    later = Some((at, first));
                    break;
                }
            }
            let Some((at, first)) = later else { return Ok(known) };
            known = at + 1;
            (next, end) = with(&first);
        }
    })
}

/// The position behind the first event of a group, and that behind the last.
fn with(first: &Event) -> (Position, Position) {
    let count = first.seal.map_or(1, |seal| u64::from(seal.count));
    (first.position.next(), first.position.plus(count))
}

/// The event with the key of a line.
fn first_of(view: &ReadTxn, line: &ParsedLine) -> Result<Option<Event>> {
    match view.first(&Term::key(&key_of(&line.hash))?)? {
        Some(position) => event_at(view, position),
        None => Ok(None),
    }
}

fn event_at(view: &ReadTxn, position: Position) -> Result<Option<Event>> {
    view.appended(position)?.map(|bytes| codec::decode(position, bytes)).transpose()
}

/// The key of the first line of a group.
pub(super) fn key_of(hash: &[u8; 32]) -> String {
    format!("import:{}", blake3::Hash::from_bytes(*hash).to_hex())
}
