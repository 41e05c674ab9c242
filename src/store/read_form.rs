//! The read form: what readers see of an event, made of its stored bytes as they are read.
//!
//! What is stored never changes; what is read of it may: who reads says which of the two it wants. All that evaluates events, shows them or
//! tells of them wants the read form. The hashes, proofs and checks of the log, and what copies it, want the stored form.
//!
//! Here alone one becomes the other, for events of the tables and of memtables alike.

use std::borrow::Cow;

use super::catalog::Catalog;
use super::event_schema::UpcastData;
use crate::allowance::Limits;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::record::Record;

/// In which form events are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EventForm {
    #[default]
    Read,
    Stored,
}

/// The read form of an event, after what is defined by now. Most are read as they are stored, and those are lent.
pub(crate) fn read_form<'b>(
    position: Position,
    stored: &'b [u8],
    catalog: &Catalog,
) -> Result<Cow<'b, [u8]>> {
    read_form_until(position, stored, catalog, Position::MAX)
}

/// The same, after what is defined before a position: in this form an index of there holds the events before it.
pub(crate) fn read_form_until<'b>(
    position: Position,
    stored: &'b [u8],
    catalog: &Catalog,
    until: Position,
) -> Result<Cow<'b, [u8]>> {
    // Nearly always: what is newer than all that says otherwise, or nothing does.
    if position >= catalog.reformed() {
        return Ok(Cow::Borrowed(stored));
    }
    upcast(position, stored, catalog, until)
}

/// The data of an event as the newest version of its schema has it.
#[cold]
fn upcast<'b>(
    position: Position,
    stored: &'b [u8],
    catalog: &Catalog,
    until: Position,
) -> Result<Cow<'b, [u8]>> {
    let kind = Record::kind_of(stored).and_then(|kind| std::str::from_utf8(kind).ok());
    let Some(schema) = kind.and_then(|kind| catalog.schema(kind)).filter(|schema| schema.has_upcast()) else {
        return Ok(Cow::Borrowed(stored));
    };
    let record = Record::open(position, stored)?;
    let forgotten = record.forgotten();
    let made = match schema.upcast(position, record.data(), forgotten.as_ref(), &Limits::default(), until) {
        // What it needs may be forgotten. Then the event is read as it was appended, without that.
        Err(Error::Upcast { .. }) if forgotten.is_some() => None,
        made => made?,
    };
    Ok(match made {
        Some(UpcastData { data, forgotten: after }) if forgotten.is_some() => {
            Cow::Owned(record.with_forgotten(data.as_bytes(), after.as_ref()))
        }
        Some(made) => Cow::Owned(record.with_data(made.data.as_bytes())),
        None => Cow::Borrowed(stored),
    })
}
