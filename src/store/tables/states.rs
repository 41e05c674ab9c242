//! The tables of states: what is kept of the folds of entities, all of it to be made again from the log.
//!
//! | table | key | value |
//! |---|---|---|
//! | `states` | the position of a definition ‖ an id | the state of that entity, as of `followers` ([`Kept`](crate::store::state::stored_state::StoredState)) |
//! | `found` | the position of a definition ‖ a derived term ‖ an id ‖ the id's length (2) | nothing but its checksum: that state is found by that term |
//! | `snapshots` | an owner ‖ an entity's term ‖ a position | what its events up to there have made |
//! | `followers` | the position of a definition, of an entity or of a view of groups | up to where the log is in what is kept of it |
//! | `followers` | that ‖ the position of an index's definition | up to which id its states are in the index |
//!
//! Positions are 8 bytes, big-endian. The owner of a snapshot is a definition (0, then its position; position 0 for kinds
//! that nobody defined), or a type of a program (1, then its name as terms have text).
//!
//! Once an entry of `found` had no checksum. How far such an index is built was written with other digits ([`built`]): it is taken for
//! one that is not kept, and built anew.
//!
//! What a row holds is never needed. Whoever reads takes one that is damaged as if it were not there, and folds the log; whoever
//! writes is told, and makes what is kept anew.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use redb::ReadableTable;

use super::state_rows::LookedUp;
use super::table::ReadTable;
use super::{
    Bytes, FOLLOWERS, FOUND, SNAPSHOTS, STATES, TablesRead, VIEWS, WriteTables, failed, row_position, sealed,
    unsealed,
};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::store::index::term::{Term, TermRange, derived_prefix, write_text};

/// Whose fold a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SnapshotOwner<'a> {
    /// Of kinds that nobody defined.
    Plain,
    /// Of the definition at a position.
    Model(Position),
    /// Of a program's own type, by the name it gives to its fold.
    Named(&'a str),
}

/// How far an index of states has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Built {
    /// The states of ids up to and with this one are in it.
    Through(Vec<u8>),
    Whole,
}

impl Built {
    /// It has entries, and is not kept any more: before it can be begun, those are to be removed.
    pub const DROPPING: Built = Built::Through(Vec::new());

    /// Whether the state of an id is in it.
    pub fn has(&self, id: &str) -> bool {
        match self {
            Built::Through(last) => id.as_bytes() <= last.as_slice(),
            Built::Whole => true,
        }
    }
}

impl SnapshotOwner<'_> {
    fn prefix(self) -> Vec<u8> {
        match self {
            SnapshotOwner::Plain => [[0].as_slice(), &[0; 8]].concat(),
            SnapshotOwner::Model(position) => [[0].as_slice(), &position.to_be_bytes()].concat(),
            SnapshotOwner::Named(name) => {
                let mut prefix = vec![1];
                write_text(&mut prefix, name);
                prefix
            }
        }
    }

    /// The key of the snapshot of an entity at a position.
    pub fn key(self, entity: &Term, position: Position) -> Vec<u8> {
        [self.prefix().as_slice(), entity.as_bytes(), &position.to_be_bytes()].concat()
    }
}

fn state_key(definition: Position, id: &str) -> Vec<u8> {
    [definition.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

fn found_key(definition: Position, term: &Term, id: &str) -> Vec<u8> {
    // An id is a part of a term: its length fits.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes();
    [definition.to_be_bytes().as_slice(), term.as_bytes(), id.as_bytes(), &length].concat()
}

fn id_of_found(key: &[u8]) -> Result<&str> {
    let id = key.split_last_chunk::<2>().and_then(|(rest, length)| {
        let start = rest.len().checked_sub(usize::from(u16::from_be_bytes(*length)))?;
        std::str::from_utf8(rest.get(start..)?).ok()
    });
    id.ok_or_else(|| Error::corrupt("found", "a key that ends with no id"))
}

/// A snapshot of an entity of the file: of which definition, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapped {
    pub definition: Position,
    pub entity: Entity,
    pub position: Position,
}

/// A snapshot's key, and its bytes as far as they can be read.
pub(crate) type SnapshotRow = (Vec<u8>, Result<Vec<u8>>);

/// What the key of a snapshot says; none if it is of a program's own type.
pub(crate) fn snapped(key: &[u8]) -> Result<Option<Snapped>> {
    let Some(rest) = key.strip_prefix(&[0]) else { return Ok(None) };
    let read = || {
        let (definition, rest) = rest.split_first_chunk::<8>()?;
        let (term, position) = rest.split_last_chunk::<8>()?;
        let (kind, id) = Term::from_bytes(term).as_entity()?;
        let (definition, position) =
            (Position::from_be_bytes(*definition), Position::from_be_bytes(*position));
        Some(Snapped { definition, entity: Entity::new(&kind, &id).ok()?, position })
    };
    read().map(Some).ok_or_else(|| Error::corrupt("snapshots", "a key that is none"))
}

fn built_key(definition: Position, index: Position) -> Vec<u8> {
    [definition.to_be_bytes(), index.to_be_bytes()].concat()
}

fn place() -> String {
    "a kept state".to_owned()
}

/// What is being read.
const KEPT: &str = "the kept states";
const INDEX: &str = "an index of states";
const HOW_FAR: &str = "how far states are followed";

const DAMAGED: &str = "its checksum does not fit its bytes";
const READING: &str = "reading kept states";
const WRITING: &str = "writing kept states";

impl WriteTables<'_> {
    /// Lends what is kept of an entity.
    pub fn with_state<T>(
        &self,
        definition: Position,
        id: &str,
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let key = state_key(definition, id);
        match self.states.get(key.as_slice()).map_err(|e| failed(READING, e))? {
            None => with(None),
            Some(row) => with(Some(unsealed(&key, row.value(), place)?)),
        }
    }

    pub fn put_state(&mut self, definition: Position, id: &str, bytes: Vec<u8>) -> Result<()> {
        let key = state_key(definition, id);
        let value = sealed(&key, bytes);
        self.states.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    pub fn put_found(&mut self, definition: Position, term: &Term, id: &str) -> Result<()> {
        let key = found_key(definition, term, id);
        let value = sealed(&key, Vec::new());
        self.found.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    pub fn remove_found(&mut self, definition: Position, term: &Term, id: &str) -> Result<()> {
        let key = found_key(definition, term, id);
        self.found.remove(key.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    pub fn put_snapshot(
        &mut self,
        owner: SnapshotOwner,
        entity: &Term,
        position: Position,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let key = owner.key(entity, position);
        let value = sealed(&key, bytes);
        self.snapshots.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Up to where the log is in the states of a definition; none if they were not begun, or nobody can tell.
    pub fn followed(&self, definition: Position) -> Result<Option<Position>> {
        let key = definition.to_be_bytes();
        let row = self.followers.get(key.as_slice()).map_err(|e| failed(READING, e))?;
        // Where nobody can tell, they are begun anew.
        Ok(row.and_then(|row| followed(&key, row.value()).ok()))
    }

    pub fn set_followed(&mut self, definition: Position, through: Position) -> Result<()> {
        let key = definition.to_be_bytes();
        let value = sealed(&key, through.to_be_bytes().to_vec());
        self.followers.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Begins the states of a definition anew: what there is of them is removed in time.
    pub fn forget_followed(&mut self, definition: Position) -> Result<()> {
        self.followers.remove(definition.to_be_bytes().as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Up to where the states of a definition are in an index of them; none if that was not begun.
    pub fn built(&self, definition: Position, index: Position) -> Result<Option<Built>> {
        let key = built_key(definition, index);
        let row = self.followers.get(key.as_slice()).map_err(|e| failed(READING, e))?;
        Ok(row.map(|row| built(&key, row.value()).unwrap_or(Built::DROPPING)))
    }

    /// The indexes that there are of the states of a definition.
    pub fn indexes_of(&self, definition: Position) -> Result<Vec<(Position, Built)>> {
        let prefix = definition.to_be_bytes();
        let mut found = Vec::new();
        for row in self.followers.range::<&[u8]>(prefix.as_slice()..).map_err(|e| failed(READING, e))? {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            let Some(index) = key.value().strip_prefix(&prefix) else { break };
            if !index.is_empty() {
                let built = built(key.value(), value.value()).unwrap_or(Built::DROPPING);
                found.push((row_position("followers", index)?, built));
            }
        }
        Ok(found)
    }

    pub fn set_built(&mut self, definition: Position, index: Position, built: &Built) -> Result<()> {
        let key = built_key(definition, index);
        let value = match built {
            Built::Through(id) => [&[THROUGH], id.as_slice()].concat(),
            Built::Whole => vec![WHOLE],
        };
        let value = sealed(&key, value);
        self.followers.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Hands over the states of a definition behind an id, at most so many.
    pub fn states_after(
        &self,
        definition: Position,
        id: &[u8],
        most: usize,
        mut state: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let from = [definition.to_be_bytes().as_slice(), id, &[0]].concat();
        let from = if id.is_empty() { definition.to_be_bytes().to_vec() } else { from };
        let prefix = definition.to_be_bytes();
        for row in self.states.range::<&[u8]>(from.as_slice()..).map_err(|e| failed(READING, e))?.take(most) {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            let Some(id) = key.value().strip_prefix(&prefix) else { break };
            let id = id_of_state(id)?;
            state(id, unsealed(key.value(), value.value(), || format!("the kept state of {id}"))?)?;
        }
        Ok(())
    }

    /// Removes what is kept of a definition, at most about so many rows: first the row that says that it is kept at all. Says whether
    /// that was all.
    pub fn remove_states(&mut self, definition: Position, most: usize) -> Result<bool> {
        let prefix = definition.to_be_bytes();
        let owner = SnapshotOwner::Model(definition).prefix();
        let mut room = Room { rows: most, bytes: REMOVED };
        for (table, prefix) in [
            (&mut self.followers, prefix.as_slice()),
            (&mut self.states, prefix.as_slice()),
            (&mut self.found, prefix.as_slice()),
            (&mut self.views, prefix.as_slice()),
            (&mut self.snapshots, owner.as_slice()),
        ] {
            if !remove_prefix(table, prefix, &mut room)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes all snapshots of some entities, whoever they are of.
    pub fn remove_snapshots_of(&mut self, entities: &BTreeSet<Term>) -> Result<()> {
        let fault = |e| failed("dropping kept states", redb::Error::from(e));
        let known: HashSet<&[u8]> = entities.iter().map(Term::as_bytes).collect();
        let mut keys = Vec::new();
        for row in self.snapshots.range::<&[u8]>(..).map_err(fault)? {
            let (key, _) = row.map_err(fault)?;
            let Some((rest, _)) = key.value().split_last_chunk::<8>() else { continue };
            // Behind an owner, which may be a name, the term of the entity is the rest.
            let is_one = |at: usize| rest.get(at..).is_some_and(|term| known.contains(term));
            let found = match rest.first() {
                Some(0) => is_one(1 + size_of::<u64>()),
                _ => (1..rest.len()).any(is_one),
            };
            if found {
                keys.push(key.value().to_vec());
            }
        }
        for key in &keys {
            self.snapshots.remove(key.as_slice()).map_err(fault)?;
        }
        Ok(())
    }

    /// Removes an index of the states of a definition, at most so many rows. Says whether that was all.
    pub fn remove_found_of(&mut self, definition: Position, index: Position, most: usize) -> Result<bool> {
        let prefix = [definition.to_be_bytes().as_slice(), &derived_prefix(index)].concat();
        if !remove_prefix(&mut self.found, &prefix, &mut Room { rows: most, bytes: REMOVED })? {
            // As long as there is some of it left, a row tells of it.
            self.set_built(definition, index, &Built::DROPPING)?;
            return Ok(false);
        }
        let key = built_key(definition, index);
        self.followers.remove(key.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(true)
    }
}

/// What one write removes at most, in bytes of rows: large ones are read to be removed.
const REMOVED: usize = 16 << 20;

/// What may still be removed.
struct Room {
    rows: usize,
    bytes: usize,
}

/// Says whether nothing is left of them.
fn remove_prefix(table: &mut redb::Table<Bytes, Bytes>, prefix: &[u8], room: &mut Room) -> Result<bool> {
    let fault = |e| failed("dropping kept states", redb::Error::from(e));
    let mut keys = Vec::new();
    let mut all = true;
    for row in table.range::<&[u8]>(prefix..).map_err(fault)? {
        let (key, value) = row.map_err(fault)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if room.rows == 0 || room.bytes == 0 {
            all = false;
            break;
        }
        room.rows -= 1;
        room.bytes = room.bytes.saturating_sub(value.value().len());
        keys.push(key.value().to_vec());
    }
    for key in &keys {
        table.remove(key.as_slice()).map_err(fault)?;
    }
    Ok(all)
}

fn followed(key: &[u8], value: &[u8]) -> Result<Position> {
    let place = || "how far states are followed".to_owned();
    let value = unsealed(key, value, place)?;
    let found = || Error::corrupt(place(), format!("{} bytes", value.len()));
    value.try_into().map(Position::from_be_bytes).map_err(|_| found())
}

/// How far an index is built: up to and with an id, or whole. Smaller ones are of earlier versions, whose entries had no checksum (0, 1), or
/// which had none of what has another place in the order than its terms (2, 3).
const THROUGH: u8 = 4;
const WHOLE: u8 = 5;

fn built(key: &[u8], value: &[u8]) -> Result<Built> {
    let place = || "how far an index of states is built".to_owned();
    match unsealed(key, value, place)?.split_first() {
        Some((&THROUGH, id)) => Ok(Built::Through(id.to_vec())),
        Some((&WHOLE, [])) => Ok(Built::Whole),
        // What it has is to be removed first, whatever that is.
        Some((0..THROUGH, _)) => Ok(Built::DROPPING),
        _ => Err(Error::corrupt(place(), "neither a part nor the whole")),
    }
}

fn id_of_state(id: &[u8]) -> Result<&str> {
    std::str::from_utf8(id).map_err(|_| Error::corrupt("states", "a key that ends with no id"))
}

/// The first key that does not begin with these bytes, after all that do.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = prefix.get(..=end)?.to_vec();
    *key.last_mut()? += 1;
    Some(key)
}

/// What a table has of which nothing is needed; none if that cannot be read.
fn spared<T>(
    table: Result<Option<&ReadTable>>,
    read: impl FnOnce(&ReadTable) -> Result<Option<T>>,
) -> Result<Option<T>> {
    match table.and_then(|table| table.map_or(Ok(None), read)) {
        Err(Error::Corrupt { .. }) => Ok(None),
        read => read,
    }
}

impl TablesRead<'_> {
    fn states(&self) -> Result<Option<&ReadTable>> {
        self.opened(|committed| &committed.states, STATES, KEPT)
    }

    fn index_entries(&self) -> Result<Option<&ReadTable>> {
        self.opened(|committed| &committed.found, FOUND, INDEX)
    }

    fn snapshots(&self) -> Result<Option<&ReadTable>> {
        self.opened(|committed| &committed.snapshots, SNAPSHOTS, "the snapshots")
    }

    fn followers(&self) -> Result<Option<&ReadTable>> {
        self.opened(|committed| &committed.followers, FOLLOWERS, HOW_FAR)
    }

    /// Lends what is kept of an entity, if it can be read.
    pub fn with_state<T>(
        &self,
        definition: Position,
        id: &str,
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let key = state_key(definition, id);
        let looked = self.committed.rows.look(&key);
        if let LookedUp::Found(row) = &looked {
            return with(Some(&row[..]));
        }
        let Some(row) = spared(self.states(), |table| table.get(&key))? else { return with(None) };
        let bytes = unsealed(&key, row.value(), place).ok();
        if let (LookedUp::Again(hash), Some(bytes)) = (looked, bytes) {
            self.committed.rows.put(hash, &key, bytes);
        }
        with(bytes)
    }

    /// Whether there is something kept of an entity, whether it can be read or not.
    pub fn has_state(&self, definition: Position, id: &str) -> Result<bool> {
        let Some(table) = self.states()? else { return Ok(false) };
        match table.get(&state_key(definition, id)) {
            Err(Error::Corrupt { .. }) => Ok(true),
            found => Ok(found?.is_some()),
        }
    }

    /// Hands over states in the order of ids behind one, at most so many, each as far as it can be read, until it is told to stop;
    /// and tells the last id, if there may be more.
    pub fn each_state_after(
        &self,
        definition: Position,
        after: Option<&str>,
        most: usize,
        state: impl FnMut(&str, Result<&[u8]>) -> Result<bool>,
    ) -> Result<Option<String>> {
        let from = after.map_or_else(Vec::new, |after| [after.as_bytes(), &[0]].concat());
        self.each_state_from(definition, &from, most, state)
    }

    /// The same from an id on, or from where one would be.
    pub fn each_state_from(
        &self,
        definition: Position,
        from: &[u8],
        most: usize,
        mut state: impl FnMut(&str, Result<&[u8]>) -> Result<bool>,
    ) -> Result<Option<String>> {
        let Some(table) = self.states()? else { return Ok(None) };
        let prefix = definition.to_be_bytes();
        let from = [prefix.as_slice(), from].concat();
        let (mut last, mut count) = (None, 0);
        table.within(&from, after_prefix(&prefix).as_deref(), |key, value| {
            let id = id_of_state(key.get(prefix.len()..).unwrap_or_default())?;
            let value = value.map_err(|_| Error::corrupt(format!("the kept state of {id}"), DAMAGED));
            let go_on = state(id, value)?;
            count += 1;
            if count == most || !go_on {
                last = Some(id.to_owned());
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok(last)
    }

    /// From where on states can be read again, behind where they cannot.
    pub fn states_readable_after(&self, definition: Position, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(table) = self.states()? else { return Ok(None) };
        let prefix = definition.to_be_bytes();
        let key = [prefix.as_slice(), from].concat();
        let readable = table.readable_after(&key, after_prefix(&prefix).as_deref());
        Ok(readable.and_then(|key| key.get(prefix.len()..).map(<[u8]>::to_vec)))
    }

    /// Hands over the ids whose states are found by a range of terms, until it is told to stop.
    pub fn found(
        &self,
        definition: Position,
        range: &TermRange,
        mut id: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        // Whoever asks has seen that the index is built.
        let table = self.index_entries()?.ok_or_else(|| Error::corrupt(INDEX, "no table of it"))?;
        let key = |term: &[u8]| [definition.to_be_bytes().as_slice(), term].concat();
        table.within(&key(&range.from), Some(&key(&range.until)), |key, value| {
            value?;
            id(id_of_found(key)?)
        })
    }

    /// Hands over the entries of a range of an index in their order, or from its end on: the term of each, and its id; until it is told
    /// to stop.
    pub fn walk_found(
        &self,
        definition: Position,
        range: &TermRange,
        backwards: bool,
        mut entry: impl FnMut(&[u8], &str) -> Result<bool>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let table = self.index_entries()?.ok_or_else(|| Error::corrupt(INDEX, "no table of it"))?;
        let prefix = definition.to_be_bytes();
        let key = |term: &[u8]| [prefix.as_slice(), term].concat();
        let (from, until) = (key(&range.from), key(&range.until));
        let each = |key: &[u8], value: Result<&[u8]>| {
            value?;
            let id = id_of_found(key)?;
            entry(key.get(prefix.len()..key.len() - id.len() - 2).unwrap_or_default(), id)
        };
        // One descent, where a range would make one for each of its ends.
        match backwards {
            true => table.within_backwards(&from, &until, each),
            false => table.within(&from, Some(&until), each),
        }
    }

    /// Whether a state is found by a term.
    pub fn has_found(&self, definition: Position, term: &Term, id: &str) -> Result<bool> {
        let Some(table) = self.index_entries()? else { return Ok(false) };
        let key = found_key(definition, term, id);
        match table.get(&key)? {
            None => Ok(false),
            Some(row) => unsealed(&key, row.value(), || INDEX.to_owned()).map(|_| true),
        }
    }

    /// Hands over every entry of an index of a definition's states: its term and its id, if it can be read.
    pub fn each_found(
        &self,
        definition: Position,
        index: Position,
        mut entry: impl FnMut(Result<()>) -> Result<()>,
    ) -> Result<()> {
        let Some(table) = self.index_entries()? else { return Ok(()) };
        let prefix = [definition.to_be_bytes().as_slice(), &derived_prefix(index)].concat();
        table.within(&prefix, after_prefix(&prefix).as_deref(), |key, value| {
            entry(value.and_then(|_| id_of_found(key).map(drop)))?;
            Ok(true)
        })
    }

    /// Lends the newest snapshot of an entity at or before a position; or the first one after it. Those that cannot be read are
    /// passed over.
    pub fn with_snapshot<T>(
        &self,
        owner: SnapshotOwner,
        entity: &Term,
        position: Position,
        after: bool,
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let (first, last) =
            if after { (position.next(), Position::MAX) } else { (Position::START, position) };
        let (from, to) = (owner.key(entity, first), owner.key(entity, last));
        let found = spared(self.snapshots(), |table| {
            let mut rows = table.range(Bound::Included(&from), Bound::Included(&to))?;
            while let Some(row) = if after { rows.next()? } else { rows.next_back()? } {
                if unsealed(row.key(), row.value(), place).is_ok() {
                    return Ok(Some(row));
                }
            }
            Ok(None)
        })?;
        match found {
            None => with(None),
            Some(row) => with(Some(unsealed(row.key(), row.value(), place)?)),
        }
    }

    /// The snapshots from a key on, at most so many: their keys and their bytes, as far as they can be read.
    pub fn snapshots_from(&self, from: &[u8], most: usize) -> Result<Vec<SnapshotRow>> {
        let Some(table) = self.snapshots()? else { return Ok(Vec::new()) };
        let mut rows = table.range(Bound::Included(from), Bound::Unbounded)?;
        let mut found = Vec::new();
        while found.len() < most
            && let Some(row) = rows.next()?
        {
            let bytes = unsealed(row.key(), row.value(), place).map(<[u8]>::to_vec);
            found.push((row.key().to_vec(), bytes));
        }
        Ok(found)
    }

    /// The key from where on snapshots can be read again, behind one from where on they cannot.
    pub fn snapshots_readable_after(&self, from: &[u8]) -> Result<Option<Vec<u8>>> {
        let table = self.snapshots()?;
        Ok(table.and_then(|table| table.readable_after(from, None)))
    }

    /// Up to where the log is in the states of a definition; none if they were not begun, or nobody can tell.
    pub fn followed(&self, definition: Position) -> Result<Option<Position>> {
        let key = definition.to_be_bytes();
        let row = spared(self.followers(), |table| table.get(&key))?;
        Ok(row.and_then(|row| followed(&key, row.value()).ok()))
    }

    /// Up to where the states of a definition are in an index of them; none if that was not begun, or nobody can tell.
    pub fn built(&self, definition: Position, index: Position) -> Result<Option<Built>> {
        let key = built_key(definition, index);
        let row = spared(self.followers(), |table| table.get(&key))?;
        Ok(row.and_then(|row| built(&key, row.value()).ok()))
    }

    /// What cannot be read of how far states are followed, and indexes of them built.
    pub fn damaged_followers(&self) -> Result<Vec<Error>> {
        let mut found = Vec::new();
        let Some(table) = self.followers()? else { return Ok(found) };
        let mut rows = table.iter()?;
        while let Some(row) = rows.next()? {
            found.extend(match row.key().len() {
                8 => followed(row.key(), row.value()).err(),
                _ => built(row.key(), row.value()).err(),
            });
        }
        Ok(found)
    }

    /// The definitions of which something is kept, with the indexes of their states.
    pub fn kept_definitions(&self) -> Result<Vec<(Position, Vec<Position>)>> {
        let mut found: Vec<(Position, Vec<Position>)> = Vec::new();
        let add = |found: &mut Vec<(Position, Vec<Position>)>, definition: Position| {
            if found.last().is_none_or(|(last, _)| *last != definition) {
                found.push((definition, Vec::new()));
            }
        };
        if let Some(table) = self.followers()? {
            let mut rows = table.iter()?;
            while let Some(row) = rows.next()? {
                let (definition, index) = row.key().split_at_checked(8).unwrap_or((row.key(), &[]));
                add(&mut found, row_position("followers", definition)?);
                if let (Some((_, indexes)), false) = (found.last_mut(), index.is_empty()) {
                    indexes.push(row_position("followers", index)?);
                }
            }
        }
        // What is half removed has no row there any more.
        for (table, prefix) in [(STATES, [].as_slice()), (FOUND, &[]), (VIEWS, &[]), (SNAPSHOTS, &[0])] {
            let Some(table) = self.table_if_any(table, KEPT)? else { continue };
            let mut from = prefix.to_vec();
            while let Some(row) = table.range(Bound::Included(&from), Bound::Unbounded)?.next()? {
                let Some(rest) = row.key().strip_prefix(prefix) else { break };
                let Some(definition) = rest.first_chunk::<8>() else { break };
                let definition = Position::from_be_bytes(*definition);
                if definition != Position::START && found.iter().all(|(known, _)| *known != definition) {
                    found.push((definition, Vec::new()));
                }
                if definition == Position::MAX {
                    break;
                }
                from = [prefix, &definition.next().to_be_bytes()].concat();
            }
        }
        Ok(found)
    }
}
