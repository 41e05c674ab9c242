//! The read form: what readers see of an event, made of its stored bytes as they are read.
//!
//! What is stored never changes; what is read of it may: who reads says which of the two it wants. All that evaluates events, shows them or
//! tells of them wants the read form. The hashes, proofs and checks of the log, and what copies it, want the stored form.
//!
//! Here alone one becomes the other, for events of the tables and of memtables alike.

use std::borrow::Cow;

use super::catalog::Catalog;
use crate::entity::Position;
use crate::error::Result;

/// In which form events are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EventForm {
    #[default]
    Read,
    Stored,
}

/// The read form of an event, after what is defined by now. Most are read as they are stored, and those are lent.
pub(crate) fn read_form<'b>(
    _position: Position,
    stored: &'b [u8],
    _catalog: &Catalog,
) -> Result<Cow<'b, [u8]>> {
    Ok(Cow::Borrowed(stored))
}
