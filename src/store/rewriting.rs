//! Rewriting: what events have in plain that is private since they were appended is encrypted, as the file is written anew.
//!
//! `DEFINE PRIVATE … INCLUDING PAST` asks for it. It keeps headers, positions, versions, ids, and the hash of the payload as it was appended
//! ([`crate::event::rewritten`]): the chain and whatever refers to an event stay as they are. It is part of a compaction
//! ([`compact`](super::compact)), which has all events in the tables and lets nobody append meanwhile:
//!
//! 1. the journal goes, which may have them in plain;
//! 2. subjects get keys, in the tables as they are ([`Rewriting::prepare`]);
//! 3. events are rewritten on the way into the new file ([`Rewriting::rewritten`]), and stand there in the lists of their subjects;
//! 4. once that has the name, a row of `meta` says that it is done.
//!
//! Up to the last of these it is begun anew as the file is opened: all of it can be done twice.
//!
//! Whoever was forgotten behind an event has no key of it any more: of that event the values are encrypted under a key that nobody keeps, and what
//! was made of them is dropped then as when somebody is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::catalog::{FoundFields, PrivateFields};
use super::chain::link;
use super::cipher::SubjectCipher;
use super::index::term::Term;
use super::journal::random;
use super::kernel::Kernel;
use super::keyring::GivenKey;
use super::private_values::{PartWriter, PrivateValues, decrypt, rewrite};
use super::snapshot::{ScanDirection, Snapshot};
use super::tables::TablesRead;
use super::tables::keys::{KeyBytes, KeyState, NOBODYS};
use crate::cancel::Cancel;
use crate::document::RawKind;
use crate::entity::{Entity, EventType, Position, PositionRange};
use crate::error::{Error, Result};
use crate::event::private::{EncryptedPart, KeyNumber, PrivateField};
use crate::event::record::Record;
use crate::event::{FORGOTTEN, SUBJECT};

/// How many subjects are prepared in one write.
const PREPARED: usize = 4096;

/// Of how many subjects is remembered whose values are whose.
const REMEMBERED: usize = 1 << 12;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rewritten {
    /// How many events were rewritten.
    pub events: u64,
    /// How many have a field in plain that is private since, and stays so: they do not say whose it is, or it has a name that no field can have; and
    /// the first of them.
    pub left: u64,
    pub first_left: Option<Position>,
}

/// What is to be rewritten.
pub(crate) struct Rewriting<'k> {
    kernel: &'k Arc<Kernel>,
    cancel: &'k Cancel,
    snapshot: Snapshot,
    /// What is private of the events before a definition.
    rules: Vec<(Position, Arc<PrivateFields>)>,
    /// The last of these definitions.
    through: Position,
    /// Whether anybody was ever forgotten.
    forgets: bool,
    subjects: HashMap<Entity, SubjectKey>,
    parts: PartWriter,
    /// The events that were rewritten since the lists were taken, by their subjects.
    lists: BTreeMap<Term, Vec<Position>>,
    done: Rewritten,
}

/// The key of a subject.
#[derive(Debug, Clone)]
struct SubjectKey {
    /// The event that says last that it is forgotten.
    forgotten: Option<Position>,
    key: Option<(KeyNumber, Arc<SubjectCipher>)>,
}

/// Whether there is something to rewrite: a definition says so, and it was not done.
pub(super) fn is_due(kernel: &Kernel) -> Result<bool> {
    // The events of a log that is shared are not ours to rewrite.
    let done = kernel.tables.read()?.rewritten_through()?;
    Ok(!kernel.log.is_shared() && rules(kernel, done).next().is_some())
}

/// The definitions behind a position that include what was before them. One that this version does not understand says nothing to it.
fn rules(kernel: &Kernel, done: Position) -> impl Iterator<Item = (Position, Arc<PrivateFields>)> {
    let catalog = kernel.applied.catalog();
    let privates: Vec<_> = catalog.privates().cloned().collect();
    privates.into_iter().filter(move |private| private.position > done).filter_map(|private| {
        let fields = private.fields().ok()?;
        fields.past.then(|| (private.position, fields.clone()))
    })
}

impl<'k> Rewriting<'k> {
    /// What is to be done, if there is something. All events are in the tables, and nobody appends.
    pub fn due(kernel: &'k Arc<Kernel>, cancel: &'k Cancel) -> Result<Option<Rewriting<'k>>> {
        let (done, checkpoint) = {
            let read = kernel.tables.read()?;
            (read.rewritten_through()?, read.checkpoint()?)
        };
        if kernel.log.is_shared() {
            return Ok(None);
        }
        let rules: Vec<_> = rules(kernel, done).collect();
        let Some(through) = rules.iter().map(|(position, _)| *position).max() else { return Ok(None) };
        let snapshot = kernel.snapshot().until(checkpoint).cancelled_by(cancel).stored();
        let said = Term::kind(&EventType::new(FORGOTTEN)?)?;
        let forgets =
            snapshot.list(said, PositionRange::ALL, ScanDirection::Ascending).next().transpose()?.is_some();
        let (subjects, parts, lists, done) = Default::default();
        Ok(Some(Rewriting {
            kernel,
            cancel,
            snapshot,
            rules,
            through,
            forgets,
            subjects,
            parts,
            lists,
            done,
        }))
    }

    /// Gives keys to the subjects whose values were in plain.
    pub fn prepare(&mut self) -> Result<()> {
        let mut found: HashMap<Entity, PositionRange> = HashMap::new();
        for row in self.snapshot.log(PositionRange::through(self.through), ScanDirection::Ascending) {
            let (position, bytes) = row?;
            if !self.is_of_any(position, Record::open(position, &bytes)?.kind()) {
                continue;
            }
            for (subject, _) in self.private(&self.kernel.tables.read()?, position, &bytes)?.0 {
                let range = found.entry(subject).or_insert(PositionRange::new(position, position));
                range.last = position;
            }
            if found.len() >= PREPARED {
                self.write(&mut found)?;
            }
        }
        self.write(&mut found)
    }

    /// Gives keys to subjects, of each of which the first and the last event are known.
    fn write(&mut self, found: &mut HashMap<Entity, PositionRange>) -> Result<()> {
        self.cancel.check()?;
        if found.is_empty() {
            return Ok(());
        }
        let (kernel, mut given, mut nobodys) = (self.kernel, Vec::new(), None);
        for (subject, events) in found.iter() {
            let said = self.last_forgotten(&kernel.tables.read()?, subject)?;
            nobodys = nobodys.max(said.filter(|said| events.first < *said));
            let has_none = || Ok::<bool, Error>(self.key_of(&kernel.tables.read()?, subject)?.is_none());
            if said.is_none_or(|said| said < events.last) && has_none()? {
                given.push(GivenKey {
                    subject: subject.clone(),
                    key: Some(kernel.keyring.take(&kernel.tables)?),
                });
            }
        }
        kernel.tables.write("rewriting events", |tables| {
            tables.set_rewriting()?;
            for GivenKey { subject, key } in &given {
                key.map_or(Ok(()), |key| tables.give_key(subject, key))?;
            }
            nobodys.map_or(Ok(()), |said| tables.forget_again(said))
        })?;
        kernel.keyring.apply(&given, Position::START);
        found.clear();
        Ok(())
    }

    /// The stored form of an event, where it has something in plain that is private since. What is read of the tables is read of `read`: whoever
    /// copies holds it, and must not wait for another.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it would not be the same event: nothing is to be written then.
    pub fn rewritten(
        &mut self,
        read: &TablesRead,
        position: Position,
        stored: &[u8],
    ) -> Result<Option<Arc<[u8]>>> {
        if !self.is_of_any(position, Record::open(position, stored)?.kind()) {
            return Ok(None);
        }
        let (values, is_left) = self.private(read, position, stored)?;
        if is_left {
            self.done.left += 1;
            self.done.first_left.get_or_insert(position);
        }
        if values.is_empty() {
            return Ok(None);
        }
        let (mut parts, mut is_lost) = (std::mem::take(&mut self.parts), false);
        let new = rewrite(position, stored, &values, &mut parts, |subject| {
            let (number, cipher) = self.key(read, subject, position)?;
            is_lost |= number == NOBODYS;
            Ok((number, cipher))
        })?;
        self.parts = parts;
        let is_same = link([0; 32], position, stored)? == link([0; 32], position, &new)?
            && (is_lost || self.plain(read, position, stored)? == self.plain(read, position, &new)?);
        if !is_same {
            let place = format!("rewriting the event at {position}");
            return Err(Error::corrupt(place, "another event than the one that was stored"));
        }
        for (subject, _) in values {
            self.lists.entry(Term::subject(&subject)?).or_default().push(position);
        }
        self.done.events += 1;
        Ok(Some(new.into()))
    }

    /// The lists that events were rewritten for since this was asked last: they have these events, too.
    pub fn take_lists(&mut self) -> BTreeMap<Term, Vec<Position>> {
        std::mem::take(&mut self.lists)
    }

    /// What came of it, and up to which definition it is done.
    pub fn end(self) -> (Rewritten, Position) {
        (self.done, self.through)
    }

    /// What of an event is in plain and private since, and whose it is; and whether there is more that is nobody's.
    fn private(&self, read: &TablesRead, position: Position, stored: &[u8]) -> Result<(PrivateValues, bool)> {
        let record = Record::open(position, stored)?;
        let kind = record.kind();
        let (mut found, mut is_left) = (FoundFields::default(), false);
        // What is encrypted already is null in its place.
        let mut encrypted = Vec::new();
        for part in EncryptedPart::all(position, record.encrypted()) {
            encrypted.extend(part?.fields());
        }
        // Whose it is may be told by what is encrypted.
        let plain = self.plain(read, position, stored)?;
        let plain = Record::open(position, &plain)?;
        for rule in self.rules_of(position, kind) {
            let mut there = Vec::new();
            for field in &rule.fields {
                is_left |= !in_plain(field, &record, &encrypted, &mut there);
            }
            if there.is_empty() {
                continue;
            }
            match rule.of.subject(&plain) {
                Some(subject) => {
                    let whose = found.subject(subject);
                    for field in there {
                        is_left |= found.add(whose, field, (), kind).is_err();
                    }
                }
                None => is_left = true,
            }
        }
        Ok((found.into_values(), is_left))
    }

    /// The event with its private values in plain.
    fn plain(&self, read: &TablesRead, position: Position, stored: &[u8]) -> Result<Vec<u8>> {
        decrypt(position, stored, |number| self.kernel.keyring.key(number, || read.key(number)))
    }

    /// What is private since of an event of a type.
    fn rules_of(&self, position: Position, kind: &str) -> impl Iterator<Item = &Arc<PrivateFields>> {
        let is_of = move |rule: &PrivateFields| !kind.starts_with('$') && rule.on.matches_text(kind);
        let behind = self.rules.iter().filter(move |(defined, rule)| position < *defined && is_of(rule));
        behind.map(|(_, rule)| rule)
    }

    fn is_of_any(&self, position: Position, kind: &str) -> bool {
        self.rules_of(position, kind).next().is_some()
    }

    /// The key of a subject's values in an event.
    fn key(
        &mut self,
        read: &TablesRead,
        subject: &Entity,
        position: Position,
    ) -> Result<(KeyNumber, Arc<SubjectCipher>)> {
        let found = match self.subjects.get(subject) {
            Some(found) => found.clone(),
            None => {
                let (forgotten, key) = (self.last_forgotten(read, subject)?, self.key_of(read, subject)?);
                let found = SubjectKey { forgotten, key };
                if self.subjects.len() >= REMEMBERED {
                    self.subjects.clear();
                }
                self.subjects.insert(subject.clone(), found.clone());
                found
            }
        };
        if found.forgotten.is_some_and(|said| position < said) {
            return Ok((NOBODYS, Arc::new(SubjectCipher::new(&KeyBytes(random()?)))));
        }
        found.key.ok_or_else(|| {
            Error::corrupt(format!("the key of {subject}"), "nothing, as events are rewritten")
        })
    }

    /// The key that a subject has; none where that is lost, as a rescue may find.
    fn key_of(&self, read: &TablesRead, subject: &Entity) -> Result<Option<(KeyNumber, Arc<SubjectCipher>)>> {
        let Some(number) = read.key_of(subject)? else { return Ok(None) };
        match self.kernel.keyring.key(number, || read.key(number))? {
            KeyState::There(cipher) => Ok(Some((number, cipher))),
            KeyState::Forgotten | KeyState::Missing => Ok(None),
        }
    }

    /// The event that says last that a subject is forgotten.
    fn last_forgotten(&self, read: &TablesRead, subject: &Entity) -> Result<Option<Position>> {
        if !self.forgets {
            return Ok(None);
        }
        let told = Term::entity(&Entity::new(SUBJECT, &subject.to_string())?)?;
        let mut before = Position::MAX;
        while let Some(chunk) = read.postings()?.chunk_before(told.as_bytes(), before)? {
            for position in chunk.positions.iter().rev() {
                let bytes = read.log()?.get(*position)?;
                let said = bytes.map(|bytes| Ok(Record::open(*position, &bytes)?.kind() == FORGOTTEN));
                if said.unwrap_or(Ok::<bool, Error>(false))? {
                    return Ok(Some(*position));
                }
            }
            let Some(first) = chunk.positions.first() else { break };
            before = first.previous();
        }
        Ok(None)
    }
}

/// Takes what a field has in plain: all of it, or, where something within it is encrypted already, each member that is not. False where a member
/// has a name that no field can have, or is too deep.
fn in_plain(
    field: &PrivateField,
    record: &Record,
    encrypted: &[PrivateField],
    out: &mut Vec<PrivateField>,
) -> bool {
    let Some(value) = field.value(record) else { return true };
    if !encrypted.iter().any(|other| field.holds(other)) {
        out.push(field.clone());
        return true;
    }
    let Some((RawKind::Map(_), _)) = value.form() else { return true };
    value.members().fold(true, |whole, (name, _)| {
        let member = field.within(name);
        member.is_some_and(|member| in_plain(&member, record, encrypted, out)) && whole
    })
}
