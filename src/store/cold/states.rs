//! The tables of states: what is kept of the folds of entities, all of it to be made again from the log.
//!
//! | table | key | value |
//! |---|---|---|
//! | `states` | the position of a definition ‖ an id | the state of that entity, as of `followers` ([`Kept`](crate::store::kept::Kept)) |
//! | `found` | the position of a definition ‖ a derived term ‖ an id ‖ the id's length (2) | nothing: that state is found by that term |
//! | `snapshots` | an owner ‖ an entity's term ‖ a position | what its events up to there have made |
//! | `followers` | the position of a definition, of an entity or of a view of groups | up to where the log is in what is kept of it |
//! | `followers` | that ‖ the position of an index's definition | up to which id its states are in the index |
//!
//! Positions are 8 bytes, big-endian. The owner of a snapshot is a definition (0, then its position; position 0 for kinds
//! that nobody defined), or a type of a program (1, then its name as terms have text).
//!
//! What a row holds is never needed. Whoever reads takes one that is damaged as if it were not there, and folds the log; whoever
//! writes is told, and makes what is kept anew.

use redb::ReadableTable;

use super::{
    Bytes, ColdRead, FOLLOWERS, FOUND, SNAPSHOTS, STATES, Tables, VIEWS, failed, row_position, sealed,
    unsealed,
};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::store::term::{Term, TermRange, derived_prefix, write_text};

/// Whose fold a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner<'a> {
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

impl Owner<'_> {
    fn prefix(self) -> Vec<u8> {
        match self {
            Owner::Plain => [[0].as_slice(), &[0; 8]].concat(),
            Owner::Model(position) => [[0].as_slice(), &position.0.to_be_bytes()].concat(),
            Owner::Named(name) => {
                let mut prefix = vec![1];
                write_text(&mut prefix, name);
                prefix
            }
        }
    }

    /// The key of the snapshot of an entity at a position.
    pub fn key(self, entity: &Term, position: u64) -> Vec<u8> {
        [self.prefix().as_slice(), entity.as_bytes(), &position.to_be_bytes()].concat()
    }
}

fn state_key(definition: Position, id: &str) -> Vec<u8> {
    [definition.0.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

fn found_key(definition: Position, term: &Term, id: &str) -> Vec<u8> {
    // An id is a part of a term: its length fits.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes();
    [definition.0.to_be_bytes().as_slice(), term.as_bytes(), id.as_bytes(), &length].concat()
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
    pub position: u64,
}

/// A snapshot's key, and its bytes as far as they can be read.
pub(crate) type SnapshotFound = (Vec<u8>, Result<Vec<u8>>);

/// What the key of a snapshot says; none if it is of a program's own type.
pub(crate) fn snapped(key: &[u8]) -> Result<Option<Snapped>> {
    let Some(rest) = key.strip_prefix(&[0]) else { return Ok(None) };
    let read = || {
        let (definition, rest) = rest.split_first_chunk::<8>()?;
        let (term, position) = rest.split_last_chunk::<8>()?;
        let (kind, id) = Term::from_bytes(term).as_entity()?;
        let (definition, position) =
            (Position(u64::from_be_bytes(*definition)), u64::from_be_bytes(*position));
        Some(Snapped { definition, entity: Entity::new(&kind, &id).ok()?, position })
    };
    read().map(Some).ok_or_else(|| Error::corrupt("snapshots", "a key that is none"))
}

fn built_key(definition: Position, index: Position) -> Vec<u8> {
    [definition.0.to_be_bytes(), index.0.to_be_bytes()].concat()
}

fn place() -> String {
    "a kept state".to_owned()
}

const READING: &str = "reading kept states";
const WRITING: &str = "writing kept states";

impl Tables<'_> {
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
        self.found.insert(key.as_slice(), [].as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    pub fn remove_found(&mut self, definition: Position, term: &Term, id: &str) -> Result<()> {
        let key = found_key(definition, term, id);
        self.found.remove(key.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    pub fn put_snapshot(&mut self, owner: Owner, entity: &Term, position: u64, bytes: Vec<u8>) -> Result<()> {
        let key = owner.key(entity, position);
        let value = sealed(&key, bytes);
        self.snapshots.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Up to where the log is in the states of a definition; none if they were not begun, or nobody can tell.
    pub fn followed(&self, definition: Position) -> Result<Option<u64>> {
        let key = definition.0.to_be_bytes();
        let row = self.followers.get(key.as_slice()).map_err(|e| failed(READING, e))?;
        // Where nobody can tell, they are begun anew.
        Ok(row.and_then(|row| followed(&key, row.value()).ok()))
    }

    pub fn set_followed(&mut self, definition: Position, through: u64) -> Result<()> {
        let key = definition.0.to_be_bytes();
        let value = sealed(&key, through.to_be_bytes().to_vec());
        self.followers.insert(key.as_slice(), value.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(())
    }

    /// Begins the states of a definition anew: what there is of them is removed in time.
    pub fn forget_followed(&mut self, definition: Position) -> Result<()> {
        self.followers.remove(definition.0.to_be_bytes().as_slice()).map_err(|e| failed(WRITING, e))?;
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
        let prefix = definition.0.to_be_bytes();
        let mut found = Vec::new();
        for row in self.followers.range::<&[u8]>(prefix.as_slice()..).map_err(|e| failed(READING, e))? {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            let Some(index) = key.value().strip_prefix(&prefix) else { break };
            if !index.is_empty() {
                let built = built(key.value(), value.value()).unwrap_or(Built::DROPPING);
                found.push((Position(row_position("followers", index)?), built));
            }
        }
        Ok(found)
    }

    pub fn set_built(&mut self, definition: Position, index: Position, built: &Built) -> Result<()> {
        let key = built_key(definition, index);
        let value = match built {
            Built::Through(id) => [&[0], id.as_slice()].concat(),
            Built::Whole => vec![1],
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
        let from = [definition.0.to_be_bytes().as_slice(), id, &[0]].concat();
        let from = if id.is_empty() { definition.0.to_be_bytes().to_vec() } else { from };
        each_state(&self.states, definition, &from, |id, bytes| state(id, bytes?).map(|()| true), most)?;
        Ok(())
    }

    /// Removes what is kept of a definition, at most so many rows: first the row that says that it is kept at all. Says whether
    /// that was all.
    pub fn remove_states(&mut self, definition: Position, most: usize) -> Result<bool> {
        let prefix = definition.0.to_be_bytes();
        let owner = Owner::Model(definition).prefix();
        let mut left = most;
        for (table, prefix) in [
            (&mut self.followers, prefix.as_slice()),
            (&mut self.states, prefix.as_slice()),
            (&mut self.found, prefix.as_slice()),
            (&mut self.views, prefix.as_slice()),
            (&mut self.snapshots, owner.as_slice()),
        ] {
            left -= remove_prefix(table, prefix, left)?;
            if left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes an index of the states of a definition, at most so many rows. Says whether that was all.
    pub fn remove_found_of(&mut self, definition: Position, index: Position, most: usize) -> Result<bool> {
        let prefix = [definition.0.to_be_bytes().as_slice(), &derived_prefix(index)].concat();
        if remove_prefix(&mut self.found, &prefix, most)? == most {
            // As long as there is some of it left, a row tells of it.
            self.set_built(definition, index, &Built::DROPPING)?;
            return Ok(false);
        }
        let key = built_key(definition, index);
        self.followers.remove(key.as_slice()).map_err(|e| failed(WRITING, e))?;
        Ok(true)
    }
}

fn remove_prefix(table: &mut redb::Table<Bytes, Bytes>, prefix: &[u8], most: usize) -> Result<usize> {
    let fault = |e| failed("dropping kept states", redb::Error::from(e));
    let mut keys = Vec::new();
    for row in table.range::<&[u8]>(prefix..).map_err(fault)?.take(most) {
        let (key, _) = row.map_err(fault)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        keys.push(key.value().to_vec());
    }
    for key in &keys {
        table.remove(key.as_slice()).map_err(fault)?;
    }
    Ok(keys.len())
}

fn followed(key: &[u8], value: &[u8]) -> Result<u64> {
    let place = || "how far states are followed".to_owned();
    let value = unsealed(key, value, place)?;
    let found = || Error::corrupt(place(), format!("{} bytes", value.len()));
    value.try_into().map(u64::from_be_bytes).map_err(|_| found())
}

fn built(key: &[u8], value: &[u8]) -> Result<Built> {
    let place = || "how far an index of states is built".to_owned();
    match unsealed(key, value, place)?.split_first() {
        Some((0, id)) => Ok(Built::Through(id.to_vec())),
        Some((1, [])) => Ok(Built::Whole),
        _ => Err(Error::corrupt(place(), "neither a part nor the whole")),
    }
}

/// Hands over states in the order of ids, at most so many, until it is told to stop; and tells the last id, if there may be more.
fn each_state(
    table: &impl ReadableTable<Bytes, Bytes>,
    definition: Position,
    from: &[u8],
    mut state: impl FnMut(&str, Result<&[u8]>) -> Result<bool>,
    most: usize,
) -> Result<Option<String>> {
    let prefix = definition.0.to_be_bytes();
    let rows = table.range::<&[u8]>(from..).map_err(|e| failed(READING, e))?;
    let mut last = None;
    for (row, count) in rows.zip(1..) {
        let (key, value) = row.map_err(|e| failed(READING, e))?;
        let key = key.value();
        let Some(id) = key.strip_prefix(&prefix) else { return Ok(None) };
        let id =
            std::str::from_utf8(id).map_err(|_| Error::corrupt("states", "a key that ends with no id"))?;
        let go_on = state(id, unsealed(key, value.value(), || format!("the kept state of {id}")))?;
        if count == most || !go_on {
            last = Some(id.to_owned());
            break;
        }
    }
    Ok(last)
}

impl ColdRead<'_> {
    /// Lends what is kept of an entity, if it can be read.
    pub fn with_state<T>(
        &self,
        definition: Position,
        id: &str,
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let Some(table) = self.table_if_any(STATES)? else { return with(None) };
        let key = state_key(definition, id);
        match table.get(key.as_slice()).map_err(|e| failed(READING, e))? {
            None => with(None),
            Some(row) => with(unsealed(&key, row.value(), place).ok()),
        }
    }

    /// Whether there is something kept of an entity, whether it can be read or not.
    pub fn has_state(&self, definition: Position, id: &str) -> Result<bool> {
        let Some(table) = self.table_if_any(STATES)? else { return Ok(false) };
        let key = state_key(definition, id);
        Ok(table.get(key.as_slice()).map_err(|e| failed(READING, e))?.is_some())
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
        let Some(table) = self.table_if_any(STATES)? else { return Ok(None) };
        let mut from = state_key(definition, after.unwrap_or_default());
        if after.is_some() {
            from.push(0);
        }
        each_state(&table, definition, &from, state, most)
    }

    /// Hands over the ids whose states are found by a range of terms, until it is told to stop.
    pub fn found(
        &self,
        definition: Position,
        range: &TermRange,
        mut id: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        let Some(table) = self.table_if_any(FOUND)? else { return Ok(()) };
        if range.is_empty() {
            return Ok(());
        }
        let key = |term: &[u8]| [definition.0.to_be_bytes().as_slice(), term].concat();
        let (from, until) = (key(&range.from), key(&range.until));
        for row in table.range::<&[u8]>(from.as_slice()..until.as_slice()).map_err(|e| failed(READING, e))? {
            let (key, _) = row.map_err(|e| failed(READING, e))?;
            if !id(id_of_found(key.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether a state is found by a term.
    pub fn has_found(&self, definition: Position, term: &Term, id: &str) -> Result<bool> {
        let Some(table) = self.table_if_any(FOUND)? else { return Ok(false) };
        let key = found_key(definition, term, id);
        Ok(table.get(key.as_slice()).map_err(|e| failed(READING, e))?.is_some())
    }

    /// Hands over every entry of the indexes of a definition's states: its term and its id.
    pub fn each_found(
        &self,
        definition: Position,
        mut entry: impl FnMut(&[u8], &str) -> Result<()>,
    ) -> Result<()> {
        let Some(table) = self.table_if_any(FOUND)? else { return Ok(()) };
        let prefix = definition.0.to_be_bytes();
        for row in table.range::<&[u8]>(prefix.as_slice()..).map_err(|e| failed(READING, e))? {
            let (key, _) = row.map_err(|e| failed(READING, e))?;
            let Some(rest) = key.value().strip_prefix(&prefix) else { break };
            let id = id_of_found(rest)?;
            entry(rest.get(..rest.len().saturating_sub(id.len() + 2)).unwrap_or_default(), id)?;
        }
        Ok(())
    }

    /// Lends the newest snapshot of an entity at or before a position; or the first one after it. Those that cannot be read are
    /// passed over.
    pub fn with_snapshot<T>(
        &self,
        owner: Owner,
        entity: &Term,
        position: u64,
        after: bool,
        with: impl FnOnce(Option<&[u8]>) -> Result<T>,
    ) -> Result<T> {
        let Some(table) = self.table_if_any(SNAPSHOTS)? else { return with(None) };
        let reading = |e| failed(READING, e);
        let (first, last) = if after { (position.saturating_add(1), u64::MAX) } else { (0, position) };
        let (from, to) = (owner.key(entity, first), owner.key(entity, last));
        let mut rows = table.range::<&[u8]>(from.as_slice()..=to.as_slice()).map_err(reading)?;
        while let Some(row) = if after { rows.next() } else { rows.next_back() } {
            let (key, value) = row.map_err(reading)?;
            if let Ok(bytes) = unsealed(key.value(), value.value(), place) {
                return with(Some(bytes));
            }
        }
        with(None)
    }

    /// The snapshots behind a key, at most so many: their keys and their bytes, as far as they can be read.
    pub fn snapshots_after(&self, key: &[u8], most: usize) -> Result<Vec<SnapshotFound>> {
        let Some(table) = self.table_if_any(SNAPSHOTS)? else { return Ok(Vec::new()) };
        let from = [key, &[0]].concat();
        let rows = table.range::<&[u8]>(from.as_slice()..).map_err(|e| failed(READING, e))?;
        let found = rows.take(most).map(|row| {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            let key = key.value().to_vec();
            let bytes = unsealed(&key, value.value(), place).map(<[u8]>::to_vec);
            Ok((key, bytes))
        });
        found.collect()
    }

    /// Up to where the log is in the states of a definition; none if they were not begun, or nobody can tell.
    pub fn followed(&self, definition: Position) -> Result<Option<u64>> {
        let Some(table) = self.table_if_any(FOLLOWERS)? else { return Ok(None) };
        let key = definition.0.to_be_bytes();
        let row = table.get(key.as_slice()).map_err(|e| failed(READING, e))?;
        Ok(row.and_then(|row| followed(&key, row.value()).ok()))
    }

    /// Up to where the states of a definition are in an index of them; none if that was not begun, or nobody can tell.
    pub fn built(&self, definition: Position, index: Position) -> Result<Option<Built>> {
        let Some(table) = self.table_if_any(FOLLOWERS)? else { return Ok(None) };
        let key = built_key(definition, index);
        let row = table.get(key.as_slice()).map_err(|e| failed(READING, e))?;
        Ok(row.and_then(|row| built(&key, row.value()).ok()))
    }

    /// What cannot be read of how far states are followed, and indexes of them built.
    pub fn damaged_followers(&self) -> Result<Vec<Error>> {
        let mut found = Vec::new();
        let Some(table) = self.table_if_any(FOLLOWERS)? else { return Ok(found) };
        for row in table.iter().map_err(|e| failed(READING, e))? {
            let (key, value) = row.map_err(|e| failed(READING, e))?;
            found.extend(match key.value().len() {
                8 => followed(key.value(), value.value()).err(),
                _ => built(key.value(), value.value()).err(),
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
        if let Some(table) = self.table_if_any(FOLLOWERS)? {
            for row in table.iter().map_err(|e| failed(READING, e))? {
                let (key, _) = row.map_err(|e| failed(READING, e))?;
                let (definition, index) = key.value().split_at_checked(8).unwrap_or((key.value(), &[]));
                add(&mut found, Position(row_position("followers", definition)?));
                if let (Some((_, indexes)), false) = (found.last_mut(), index.is_empty()) {
                    indexes.push(Position(row_position("followers", index)?));
                }
            }
        }
        // What is half removed has no row there any more.
        for (table, prefix) in [(STATES, [].as_slice()), (FOUND, &[]), (VIEWS, &[]), (SNAPSHOTS, &[0])] {
            let Some(table) = self.table_if_any(table)? else { continue };
            let mut from = prefix.to_vec();
            while let Some(row) =
                table.range::<&[u8]>(from.as_slice()..).map_err(|e| failed(READING, e))?.next()
            {
                let (key, _) = row.map_err(|e| failed(READING, e))?;
                let Some(rest) = key.value().strip_prefix(prefix) else { break };
                let Some(definition) = rest.first_chunk::<8>() else { break };
                let definition = u64::from_be_bytes(*definition);
                if definition != 0 && found.iter().all(|(known, _)| known.0 != definition) {
                    found.push((Position(definition), Vec::new()));
                }
                let Some(next) = definition.checked_add(1) else { break };
                from = [prefix, &next.to_be_bytes()].concat();
            }
        }
        Ok(found)
    }
}
