//! What of an event is private, made ready before the commit: all of it but what is known there alone, which are its position and the keys.

use std::ops::Range;
use std::sync::Arc;

use super::{PartWriter, PrivateValues, unreadable, write_values};
use crate::document::Raw;
use crate::entity::{Entity, EntityStr, EventType, Position};
use crate::error::Result;
use crate::event::NewEvent;
use crate::event::codec::PayloadWriter;
use crate::event::private::{FieldRoot, FieldSource, FieldValues, KeyNumber, write_known};
use crate::store::catalog::{Catalog, PrivateStamp};
use crate::store::cipher::SubjectCipher;
use crate::store::index::term::Term;

/// An event that is to be, as private fields are looked for in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewFields<'a> {
    pub new: &'a NewEvent,
    pub kind: &'a EventType,
    pub target: Option<&'a Entity>,
}

impl<'a> FieldSource<'a> for NewFields<'a> {
    fn kind(&self) -> &'a str {
        self.kind.as_str()
    }

    fn root(&self, root: FieldRoot) -> Raw<'a> {
        match root {
            FieldRoot::Data => self.new.data.raw(),
            FieldRoot::Metadata => self.new.metadata.raw(),
        }
    }

    fn target(&self) -> Option<EntityStr<'a>> {
        self.target.map(EntityStr::from)
    }

    fn actor(&self) -> Option<EntityStr<'a>> {
        self.new.actor.as_ref().map(EntityStr::from)
    }
}

/// What of an event is to be encrypted.
#[derive(Debug, Clone)]
pub(crate) struct PreparedPrivate {
    /// By which definitions.
    by: PrivateStamp,
    /// The data, and then the metadata, with null in the places of values; then of each part what is known of it, and its values.
    bytes: Vec<u8>,
    data: usize,
    metadata: usize,
    parts: Vec<PreparedPart>,
}

/// What of it is of one subject.
#[derive(Debug, Clone)]
struct PreparedPart {
    subject: Entity,
    term: Term,
    known: Range<usize>,
    values: Range<usize>,
}

impl PreparedPrivate {
    /// What of an event is private by these definitions.
    ///
    /// # Errors
    /// As [`Catalog::private_values`].
    pub fn new(catalog: &Catalog, event: NewFields) -> Result<PreparedPrivate> {
        PreparedPrivate::of(&catalog.private_values(&event)?, catalog.private_stamp(), event)
    }

    /// The same, of what is known to be.
    pub(super) fn of(private: &PrivateValues, by: PrivateStamp, event: NewFields) -> Result<PreparedPrivate> {
        let mut prepared = PreparedPrivate {
            by,
            bytes: Vec::new(),
            data: 0,
            metadata: 0,
            parts: Vec::with_capacity(private.len()),
        };
        if private.is_empty() {
            return Ok(prepared);
        }
        // There is no position yet, and what is not read now was not written by this program.
        let unreadable = || unreadable(Position::START);
        let (data, metadata) = (event.new.data.as_bytes(), event.new.metadata.as_bytes());
        let bytes = &mut prepared.bytes;
        // Values and what is known of parts take about as much as their fields did.
        bytes.reserve(data.len() + metadata.len() + 128);
        let places = FieldValues::blank(private.iter().flat_map(|(_, fields)| fields));
        places.write_data(data, bytes).ok_or_else(unreadable)?;
        prepared.data = bytes.len();
        if !event.new.metadata.is_empty() {
            places.write_metadata(metadata, bytes).ok_or_else(unreadable)?;
        }
        prepared.metadata = bytes.len();
        for (subject, fields) in private {
            let begins = bytes.len();
            write_known(bytes, subject, fields);
            let known = begins..bytes.len();
            write_values(bytes, fields, &event).ok_or_else(unreadable)?;
            let (term, values) = (Term::subject(subject)?, known.end..bytes.len());
            prepared.parts.push(PreparedPart { subject: subject.clone(), term, known, values });
        }
        Ok(prepared)
    }

    /// Whether it is by these definitions.
    pub fn is_by(&self, catalog: &Catalog) -> bool {
        self.by == catalog.private_stamp()
    }

    /// What it takes in the queue.
    pub fn bytes(&self) -> usize {
        self.bytes.capacity() + self.parts.len() * size_of::<PreparedPart>()
    }

    /// Whether nothing is private.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The terms of its subjects.
    pub fn into_terms(self) -> impl Iterator<Item = Term> {
        self.parts.into_iter().map(|part| part.term)
    }

    /// Writes the stored form in place of the event in plain that was written from `start` on. `key` gives the key of a subject.
    pub fn encrypt(
        &self,
        position: Position,
        out: &mut Vec<u8>,
        start: usize,
        parts: &mut PartWriter,
        mut key: impl FnMut(&Entity) -> Result<(KeyNumber, Arc<SubjectCipher>)>,
    ) -> Result<()> {
        let mut writer = PayloadWriter::replacing(out, start).ok_or_else(|| unreadable(position))?;
        writer.out().extend_from_slice(&self.bytes[..self.data]);
        writer.end_data();
        writer.out().extend_from_slice(&self.bytes[self.data..self.metadata]);
        let trailer = writer.out().len();
        for PreparedPart { subject, known, values, .. } in &self.parts {
            let (number, cipher) = key(subject)?;
            let (known, values) = (&self.bytes[known.clone()], &self.bytes[values.clone()]);
            parts.write(writer.out(), position, (number, &cipher), known, values)?;
        }
        writer.finish_encrypted(position, trailer);
        Ok(())
    }
}
