//! What of an event is private, made ready before the commit: all of it but what is known there alone, which are its position and the keys.

use std::ops::Range;
use std::sync::Arc;

use super::{PartWriter, unreadable};
use crate::document::Raw;
use crate::entity::{Entity, EntityStr, EventType, Position};
use crate::error::Result;
use crate::event::NewEvent;
use crate::event::codec::PayloadWriter;
use crate::event::private::{
    FieldRoot, FieldSource, KeyNumber, MAX_FIELDS, ValuePlace, write_blank, write_known,
};
use crate::store::catalog::{Catalog, CatalogPrivate, FoundFields, PrivateFields, PrivateStamp};
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

    fn target_entity(&self) -> Option<Entity> {
        self.target.cloned()
    }

    fn actor_entity(&self) -> Option<Entity> {
        self.new.actor.clone()
    }
}

/// What of the events of a group is to be encrypted, as far as it was found: memory for them all, since they are many.
#[derive(Debug)]
pub(crate) struct PreparedGroup {
    /// By which definitions.
    by: PrivateStamp,
    parts: Vec<PreparedPart>,
    /// What is known of the parts but their keys, as it is written, one behind the other.
    known: Vec<u8>,
    /// Where the values of the parts are, in the order of their fields.
    places: Vec<ValuePlace>,
    /// What was found in the last event.
    found: FoundFields<ValuePlace>,
}

/// What of an event is of one subject.
#[derive(Debug)]
struct PreparedPart {
    subject: Entity,
    /// Among those of the group.
    known: Range<usize>,
    places: Range<usize>,
}

/// A bit for each field of a definition.
fn bits() -> impl Iterator<Item = u64> {
    const { assert!(MAX_FIELDS <= u64::BITS as usize) };
    (0..MAX_FIELDS as u32).map(|field| 1 << field)
}

/// What of an event is to be encrypted: some parts of its group.
#[derive(Debug, Clone)]
pub(crate) struct PreparedPrivate {
    of: Arc<PreparedGroup>,
    parts: Range<usize>,
}

impl PreparedGroup {
    /// Of no event yet.
    pub fn new(catalog: &Catalog) -> PreparedGroup {
        PreparedGroup {
            by: catalog.private_stamp(),
            parts: Vec::new(),
            known: Vec::new(),
            places: Vec::new(),
            found: FoundFields::default(),
        }
    }

    /// Finds what of one more event is private by the definitions of a catalog, which are those of this group. Gives the parts that it has.
    ///
    /// # Errors
    /// As [`Catalog::find_private`]; and where a subject has too long a name to be found by.
    pub fn add(&mut self, catalog: &Catalog, event: NewFields) -> Result<Range<usize>> {
        let mut matching = catalog.privates_of(event.kind());
        match (matching.next().transpose()?, matching.next().transpose()?) {
            (None, _) => Ok(self.parts.len()..self.parts.len()),
            (Some(alone), None) => self.add_by(alone, event),
            _ => {
                catalog.find_private(&event, &mut self.found)?;
                self.take_found()
            }
        }
    }

    /// The same where one definition says what is private: none of its fields is within another, and all are of one subject.
    fn add_by(
        &mut self,
        (defined, rule): (&CatalogPrivate, &PrivateFields),
        event: NewFields,
    ) -> Result<Range<usize>> {
        let (begins, known, places) = (self.parts.len(), self.known.len(), self.places.len());
        // Which of the fields are there, by bits.
        let mut there = 0_u64;
        for (field, bit) in rule.fields.iter().zip(bits()) {
            if let Some(place) = field.place(&event) {
                self.places.push(place);
                there |= bit;
            }
        }
        let mut fields = rule
            .fields
            .iter()
            .zip(bits())
            .filter(|(_, bit)| there & bit != 0)
            .map(|(field, _)| field)
            .peekable();
        if let Some(first) = fields.peek() {
            let subject = rule.of.subject(&event);
            let subject = subject.ok_or_else(|| defined.without_subject(event.kind(), first, rule))?;
            Term::check_subject(&subject)?;
            write_known(&mut self.known, &subject, self.places.len() - places, fields);
            let (known, places) = (known..self.known.len(), places..self.places.len());
            self.parts.push(PreparedPart { subject, known, places });
        }
        Ok(begins..self.parts.len())
    }

    fn take_found(&mut self) -> Result<Range<usize>> {
        let begins = self.parts.len();
        self.found.subjects.iter().try_for_each(Term::check_subject)?;
        for (at, subject) in self.found.subjects.drain(..).enumerate() {
            let own = || self.found.fields.iter().filter(|found| found.subject == at);
            let (known, places) = (self.known.len(), self.places.len());
            self.places.extend(own().map(|found| found.value));
            let count = self.places.len() - places;
            if count > 0 {
                write_known(&mut self.known, &subject, count, own().map(|found| &found.field));
                let (known, places) = (known..self.known.len(), places..self.places.len());
                self.parts.push(PreparedPart { subject, known, places });
            }
        }
        Ok(begins..self.parts.len())
    }

    /// Whose the parts are, in their order.
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = &Entity> {
        self.parts.iter().map(|part| &part.subject)
    }

    /// What it takes in the queue.
    pub fn bytes(&self) -> usize {
        self.parts.capacity() * size_of::<PreparedPart>()
            + self.known.capacity()
            + self.places.capacity() * size_of::<ValuePlace>()
    }
}

impl PreparedPrivate {
    /// Of an event the parts that it has of a group.
    pub fn new(of: &Arc<PreparedGroup>, parts: Range<usize>) -> PreparedPrivate {
        PreparedPrivate { of: of.clone(), parts }
    }

    /// What of one event is private by these definitions.
    ///
    /// # Errors
    /// As [`PreparedGroup::add`].
    pub fn alone(catalog: &Catalog, event: NewFields) -> Result<PreparedPrivate> {
        let mut group = PreparedGroup::new(catalog);
        let parts = group.add(catalog, event)?;
        Ok(PreparedPrivate { of: Arc::new(group), parts })
    }

    /// The same, of what is known to be.
    #[cfg(all(test, feature = "encryption"))]
    pub(super) fn of(
        private: &super::PrivateValues,
        catalog: &Catalog,
        event: NewFields,
    ) -> Result<PreparedPrivate> {
        let mut group = PreparedGroup::new(catalog);
        for (subject, fields) in private {
            let whose = group.found.subject(subject.clone());
            for field in fields {
                let place = field.place(&event).ok_or_else(|| unreadable(Position::START))?;
                group.found.add(whose, field.clone(), place, event.kind())?;
            }
        }
        let parts = group.take_found()?;
        Ok(PreparedPrivate { of: Arc::new(group), parts })
    }

    /// Whether it is by these definitions.
    pub fn is_by(&self, catalog: &Catalog) -> bool {
        self.of.by == catalog.private_stamp()
    }

    /// The group that it is of.
    pub fn group(&self) -> &Arc<PreparedGroup> {
        &self.of
    }

    /// Whether nothing is private.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn parts(&self) -> &[PreparedPart] {
        self.of.parts.get(self.parts.clone()).unwrap_or_default()
    }

    fn places(&self, part: &PreparedPart) -> &[ValuePlace] {
        self.of.places.get(part.places.clone()).unwrap_or_default()
    }

    /// Writes the stored form in place of the event in plain that was written from `start` on: `event` is what it was found in. `key` gives the
    /// key of a subject, which is the one of a part of the group.
    pub fn encrypt(
        &self,
        position: Position,
        event: NewFields,
        (out, start): (&mut Vec<u8>, usize),
        writer: &mut PartWriter,
        mut key: impl FnMut(usize, &Entity) -> Result<(KeyNumber, Arc<SubjectCipher>)>,
    ) -> Result<()> {
        let unreadable = || unreadable(position);
        let (data, metadata) = (event.new.data.as_bytes(), event.new.metadata.as_bytes());
        let mut places = std::mem::take(&mut writer.places);
        places.clear();
        places.extend(self.parts().iter().flat_map(|part| self.places(part)));
        places.sort_unstable_by_key(|place| place.range().start);
        let within = |is_data: bool| {
            let here = places.iter().filter(move |place| place.is_in_data() == is_data);
            here.map(|place| place.range())
        };
        let mut payload = PayloadWriter::replacing(out, start).ok_or_else(unreadable)?;
        write_blank(payload.out(), data, within(true)).ok_or_else(unreadable)?;
        payload.end_data();
        write_blank(payload.out(), metadata, within(false)).ok_or_else(unreadable)?;
        let trailer = payload.out().len();
        for (at, part) in self.parts.clone().zip(self.parts()) {
            let (number, cipher) = key(at, &part.subject)?;
            let known = self.of.known.get(part.known.clone()).ok_or_else(unreadable)?;
            let known = |out: &mut Vec<u8>| out.extend_from_slice(known);
            let values = |out: &mut Vec<u8>| {
                for place in self.places(part) {
                    let object = if place.is_in_data() { data } else { metadata };
                    out.extend_from_slice(object.get(place.range())?);
                }
                Some(())
            };
            writer.write(payload.out(), position, (number, &cipher), known, values)?;
        }
        payload.finish_encrypted(position, trailer);
        writer.places = places;
        Ok(())
    }
}
