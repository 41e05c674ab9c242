//! The tables of subjects' keys: what the private values of events are encrypted with. None of it is in the log.
//!
//! | table | key | value |
//! |---|---|---|
//! | `keys` | the number of a key, 8 bytes, big-endian | a mark of this database, the number again, the key |
//! | `subjects` | kind and id of a subject, MessagePack | the number of its key |
//! | `forgotten` | the number of a key that is no more | the position of the event that says so |
//!
//! Keys are made ahead, many in one write, so that an append waits for none. A subject gets the next one with the first event that has
//! private values of it; the checkpoint that moves the event into the tables says so in `subjects`, and the one that moves
//! `$subject.forgotten` takes both rows away. What a copy-on-write tree leaves in free pages is erased after that: a row begins with a mark
//! that nothing else in the file has, so it is found wherever it is ([`Tables::erase_keys`]).

use std::collections::{BTreeSet, HashMap};

use redb::ReadableTable;

use super::{
    FORGOTTEN, FORMAT, FORMAT_COMPRESSED, FORMAT_REWRITTEN, FORMAT_WITH_KEYS, KEYS, SUBJECTS, Tables,
    TablesRead, WriteTables, failed, sealed, unsealed,
};
use crate::entity::{Entity, Position};
use crate::error::{Error, Result};
use crate::event::private::KeyNumber;
use crate::store::index::posting;
use crate::store::journal::random;

/// What a row of `keys` begins with, in one database: 16 random bytes.
const MARK: usize = 16;
/// How many bytes a key has.
pub(crate) const KEY: usize = 32;
/// The number of no key: what is encrypted under it was lost as it was written.
pub(crate) const NOBODYS: KeyNumber = KeyNumber(0);
/// A row: the mark, the number, the key, and a checksum.
const ROW: usize = MARK + 8 + KEY + 4;

/// Of meta: a copy that has no keys says so.
pub(super) const WITHOUT_KEYS: &str = "keyless";

const WHAT: &str = "the keys of subjects";

/// The bytes of a key. They print as nothing of themselves.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyBytes(pub [u8; KEY]);

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }
}

/// What there is of a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyState<K = KeyBytes> {
    There(K),
    /// Its subject was forgotten.
    Forgotten,
    /// It should be there.
    Missing,
}

fn subject_key(subject: &Entity) -> Vec<u8> {
    let mut key = Vec::new();
    for text in [subject.kind(), subject.id()] {
        let written = rmp_serde::encode::write(&mut key, text);
        debug_assert!(written.is_ok(), "a text always has a form");
    }
    key
}

fn number(what: &str, bytes: &[u8]) -> Result<KeyNumber> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_| Error::corrupt(WHAT, format!("{what} that has no 8 bytes")))?;
    Ok(KeyNumber(u64::from_be_bytes(bytes)))
}

impl TablesRead<'_> {
    /// What there is of a key.
    pub fn key(&self, number: KeyNumber) -> Result<KeyState> {
        let key = number.0.to_be_bytes();
        if let Some(table) = self.table_if_any(KEYS, WHAT)?
            && let Some(row) = table.get(&key)?
        {
            let bytes = unsealed(&key, row.value(), || WHAT.to_owned())?;
            let bytes = bytes.get(MARK + 8..).and_then(|bytes| bytes.try_into().ok());
            return match bytes {
                Some(bytes) => Ok(KeyState::There(KeyBytes(bytes))),
                None => Err(Error::corrupt(WHAT, "a row that is no key's")),
            };
        }
        let forgotten = match self.table_if_any(FORGOTTEN, WHAT)? {
            Some(table) => table.get(&key)?.is_some(),
            None => false,
        };
        Ok(if forgotten { KeyState::Forgotten } else { KeyState::Missing })
    }

    /// The key that a subject has now, as far as the tables go.
    pub fn key_of(&self, subject: &Entity) -> Result<Option<KeyNumber>> {
        let Some(table) = self.table_if_any(SUBJECTS, WHAT)? else { return Ok(None) };
        let key = subject_key(subject);
        let Some(row) = table.get(&key)? else { return Ok(None) };
        number("a number", unsealed(&key, row.value(), || WHAT.to_owned())?).map(Some)
    }

    /// The number of the last key that was made, and of the last that a subject has got.
    pub fn last_keys(&self) -> Result<(KeyNumber, KeyNumber)> {
        let given = KeyNumber(self.meta_number("keys")?.unwrap_or(0));
        let Some(table) = self.table_if_any(KEYS, WHAT)? else { return Ok((given, given)) };
        let last = match table.last()? {
            Some(row) => number("a number", row.key())?,
            None => KeyNumber(0),
        };
        Ok((last.max(given), given))
    }

    /// Whether keys were taken away whose bytes may still be in the file.
    pub fn keys_to_erase(&self) -> Result<bool> {
        Ok(self.meta_number("erase")?.is_some())
    }

    /// The position of the last `$subject.forgotten` of which nothing is left to do.
    pub fn forgotten_through(&self) -> Result<Position> {
        Ok(Position(self.meta_number("forgotten")?.unwrap_or(0)))
    }

    /// The last definition whose past was rewritten.
    pub fn rewritten_through(&self) -> Result<Position> {
        Ok(Position(self.meta_number("rewritten")?.unwrap_or(0)))
    }

    /// The mark of the rows of this database, once it has any.
    fn key_mark(&self) -> Result<Option<[u8; MARK]>> {
        self.meta_value("mark")
    }

    /// The numbers of the keys that subjects have.
    pub fn given_key_numbers(&self) -> Result<BTreeSet<KeyNumber>> {
        let (_, given) = self.last_keys()?;
        Ok(self.key_rows()?.into_keys().map(KeyNumber).filter(|number| *number <= given).collect())
    }

    /// Whether this is a copy that has no keys.
    pub fn is_without_keys(&self) -> Result<bool> {
        Ok(self.meta_number(WITHOUT_KEYS)?.is_some())
    }

    /// Copies all keys into other tables, and what is known of them, beside what those have.
    ///
    /// # Errors
    /// Where a row is damaged and `passes` does not pass it over.
    pub fn copy_keys(&self, to: &Tables, passes: impl Fn(&Result<&[u8]>) -> bool) -> Result<()> {
        let rows = |definition| -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            let mut found = Vec::new();
            let Some(table) = self.table_if_any(definition, WHAT)? else { return Ok(found) };
            let mut rows = table.iter()?;
            while let Some(row) = rows.next()? {
                let value = unsealed(row.key(), row.value(), || WHAT.to_owned());
                if passes(&value) {
                    value?;
                    found.push((row.key().to_vec(), row.value().to_vec()));
                }
            }
            Ok(found)
        };
        let (keys, forgotten) = (rows(KEYS)?, rows(FORGOTTEN)?);
        let Some(mark) = self.key_mark()? else { return Ok(()) };
        let format = self.meta_number("format")?.unwrap_or(FORMAT).max(FORMAT_WITH_KEYS);
        to.write("copying keys", |to| {
            let fault = |e| failed("copying keys", e);
            to.set_format(format)?;
            to.set_meta("mark", &mark)?;
            for (key, value) in &keys {
                to.keys.insert(key.as_slice(), value.as_slice()).map_err(fault)?;
            }
            for (key, value) in &forgotten {
                to.forgotten.insert(key.as_slice(), value.as_slice()).map_err(fault)?;
            }
            Ok(())
        })
    }

    /// The rows of all keys that there are.
    fn key_rows(&self) -> Result<HashMap<u64, Vec<u8>>> {
        let mut found = HashMap::new();
        let Some(table) = self.table_if_any(KEYS, WHAT)? else { return Ok(found) };
        let mut rows = table.iter()?;
        while let Some(row) = rows.next()? {
            found.insert(number("a number", row.key())?.0, row.value().to_vec());
        }
        Ok(found)
    }
}

impl WriteTables<'_> {
    /// Makes keys behind the last one that there is.
    pub fn make_keys(&mut self, keys: &[KeyBytes]) -> Result<()> {
        let fault = |e| failed("making keys", e);
        // An older version would take what is encrypted for damage, and append in plain what is private.
        self.set_format(FORMAT_WITH_KEYS)?;
        let mark = self.key_mark_or_new()?;
        let last = {
            let mut rows = self.keys.range::<&[u8]>(..).map_err(fault)?;
            let last = rows.next_back().transpose().map_err(fault)?;
            let last = last.map(|(key, _)| number("a number", key.value())).transpose()?;
            last.unwrap_or_default()
        };
        let given = self.given_keys()?;
        for (number, key) in (last.0.max(given) + 1..).zip(keys) {
            let id = number.to_be_bytes();
            let row = [mark.as_slice(), &id, &key.0].concat();
            let row = sealed(&id, row);
            self.keys.insert(id.as_slice(), row.as_slice()).map_err(fault)?;
        }
        Ok(())
    }

    /// Says that the file has what no version before this one reads.
    pub(super) fn set_format(&mut self, least: u64) -> Result<()> {
        let before = self.meta_value("format")?.map_or(0, u64::from_be_bytes);
        self.set_meta("format", &before.max(least).to_be_bytes())
    }

    /// Says that there are, or will be, events that were rewritten.
    pub fn set_rewriting(&mut self) -> Result<()> {
        self.set_format(FORMAT_REWRITTEN)
    }

    /// Says that there are, or will be, blocks that are compressed.
    pub fn set_compressed(&mut self) -> Result<()> {
        self.set_format(FORMAT_COMPRESSED)
    }

    /// Says that events were rewritten, as definitions up to a position ask for.
    pub fn set_rewritten(&mut self, through: Position) -> Result<()> {
        self.set_meta("rewritten", &through.to_be_bytes())
    }

    /// Says that values are encrypted under no key, of somebody who was forgotten: what was made of them is to be dropped, too, as `said` asked for.
    pub fn forget_again(&mut self, said: Position) -> Result<()> {
        self.lose_keys(&BTreeSet::from([NOBODYS]))?;
        self.set_meta("forgotten", &Position::START.to_be_bytes())?;
        let before = self.meta_value("erase")?.map_or(Position::START, Position::from_be_bytes);
        self.set_meta("erase", &before.max(said).to_be_bytes())
    }

    fn key_mark_or_new(&mut self) -> Result<[u8; MARK]> {
        if let Some(mark) = self.meta_value("mark")? {
            return Ok(mark);
        }
        let mark: [u8; MARK] = random()?;
        self.set_meta("mark", &mark)?;
        Ok(mark)
    }

    fn meta_value<const N: usize>(&self, name: &'static str) -> Result<Option<[u8; N]>> {
        let row = self.meta.get(name).map_err(|e| failed("reading meta", e))?;
        let Some(row) = row else { return Ok(None) };
        let place = || format!("meta.{name}");
        let bytes = unsealed(name.as_bytes(), row.value(), place)?.try_into();
        bytes.map(Some).map_err(|_| Error::corrupt(place(), "another length"))
    }

    /// The number of the last key that a subject has got.
    fn given_keys(&self) -> Result<u64> {
        Ok(self.meta_value("keys")?.map_or(0, u64::from_be_bytes))
    }

    /// Says which key a subject has.
    pub fn give_key(&mut self, subject: &Entity, key: KeyNumber) -> Result<()> {
        let row_key = subject_key(subject);
        let value = sealed(&row_key, key.0.to_be_bytes().to_vec());
        let fault = |e| failed("writing the keys of subjects", e);
        let known = {
            let row = self.subjects.get(row_key.as_slice()).map_err(fault)?;
            row.is_some_and(|row| row.value() == value)
        };
        if !known {
            self.subjects.insert(row_key.as_slice(), value.as_slice()).map_err(fault)?;
        }
        let given = self.given_keys()?;
        if key.0 > given {
            self.set_meta("keys", &key.0.to_be_bytes())?;
        }
        Ok(())
    }

    /// Says that nothing is left to do for those that were forgotten up to a position.
    pub fn set_forgotten(&mut self, through: Position) -> Result<()> {
        self.set_meta("forgotten", &through.to_be_bytes())?;
        // Another may have been forgotten meanwhile.
        match self.meta_value("erase")?.map(Position::from_be_bytes) {
            Some(said) if said > through => Ok(()),
            _ => self.clear_meta("erase"),
        }
    }

    /// Says that this is a copy that has no keys.
    pub fn set_without_keys(&mut self) -> Result<()> {
        self.set_meta(WITHOUT_KEYS, &0u64.to_be_bytes())
    }

    /// Says of keys that are lost that nobody has them any more.
    pub fn lose_keys(&mut self, keys: &BTreeSet<KeyNumber>) -> Result<()> {
        for number in keys {
            let key = number.0.to_be_bytes();
            let value = sealed(&key, Position::START.to_be_bytes().to_vec());
            let fault = |e| failed("writing the keys of subjects", e);
            self.forgotten.insert(key.as_slice(), value.as_slice()).map_err(fault)?;
        }
        Ok(())
    }

    /// Takes the key of a subject away, as an event says. Gives its number, if it had one.
    pub fn forget_key(&mut self, subject: &Entity, said: Position) -> Result<Option<KeyNumber>> {
        let fault = |e| failed("writing the keys of subjects", e);
        let row_key = subject_key(subject);
        let number = {
            let row = self.subjects.remove(row_key.as_slice()).map_err(fault)?;
            let Some(row) = row else { return Ok(None) };
            number("a number", unsealed(&row_key, row.value(), || WHAT.to_owned())?)?
        };
        let key = number.0.to_be_bytes();
        self.keys.remove(key.as_slice()).map_err(fault)?;
        let value = sealed(&key, said.to_be_bytes().to_vec());
        self.forgotten.insert(key.as_slice(), value.as_slice()).map_err(fault)?;
        self.set_meta("erase", &said.to_be_bytes())?;
        Ok(Some(number))
    }
}

/// How much of the file is looked at at a time.
const PART: usize = 1 << 20;

impl Tables {
    /// Erases from the file the bytes of keys that there are no more. Nobody reads the tables meanwhile.
    ///
    /// # Errors
    /// Of the disk. It is to be done again then; so it is when the file is opened the next time.
    pub fn erase_keys(&self, go_on: impl Fn() -> Result<()>) -> Result<()> {
        // The commit that took them away is the last but one now: no root that may still be opened leads to them.
        self.write("erasing keys", |tables| {
            let said = tables.meta_value::<8>("erase")?.unwrap_or_default();
            tables.set_meta("erase", &said)
        })?;
        let alone = self.alone();
        let (mark, rows) = {
            let read = self.read()?;
            (read.key_mark()?, read.key_rows()?)
        };
        if let Some(mark) = mark {
            alone.with_file(go_on, |file| {
                let fault = |e| Error::io("erasing keys", e);
                let length = file.len().map_err(fault)?;
                let (mut at, mut part) = (0, vec![0; PART]);
                let mut erased = false;
                while at < length {
                    let here = usize::try_from(length - at).map_or(PART, |left| left.min(PART));
                    file.read_at(at, &mut part[..here]).map_err(fault)?;
                    for found in places(&part[..here], &mark) {
                        let Some(row) = part.get(found..found + ROW).filter(|_| found + ROW <= here) else {
                            continue;
                        };
                        if is_old(row, &rows) {
                            file.write_at(at + found as u64, &[0; ROW]).map_err(fault)?;
                            erased = true;
                        }
                    }
                    if at + here as u64 == length {
                        break;
                    }
                    // A row may lie across the end of a part.
                    at += (here - (ROW - 1)) as u64;
                }
                if erased { file.sync().map_err(fault) } else { Ok(()) }
            })?;
        }
        Ok(())
    }
}

/// Where the mark is.
fn places(part: &[u8], mark: &[u8; MARK]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = part[from..].iter().position(|byte| *byte == mark[0]) {
        let at = from + at;
        if part[at..].starts_with(mark) {
            found.push(at);
        }
        from = at + 1;
    }
    found
}

/// Whether this is a row of a key that is there no more, or not like this.
fn is_old(row: &[u8], rows: &HashMap<u64, Vec<u8>>) -> bool {
    let Some((number, _)) = row.get(MARK..).and_then(|rest| rest.split_first_chunk::<8>()) else {
        return false;
    };
    let Some((bytes, checksum)) = row.split_last_chunk::<4>() else { return false };
    posting::checksum(number, bytes) == u32::from_be_bytes(*checksum)
        && rows.get(&u64::from_be_bytes(*number)).is_none_or(|live| live != row)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::store::disk::Disk;
    use crate::store::disk::memory::MemoryDisk;
    use crate::store::journal::DatabaseId;

    fn bytes(disk: &MemoryDisk) -> Vec<u8> {
        let file = disk.open(Path::new("/keys")).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    fn has(disk: &MemoryDisk, key: &KeyBytes) -> bool {
        bytes(disk).windows(KEY).any(|window| window == key.0)
    }

    #[test]
    fn of_a_key_that_is_forgotten_nothing_is_left_in_the_file() {
        let disk = MemoryDisk::new();
        disk.create(Path::new("/keys")).unwrap();
        let tables = Tables::open_or_make(Arc::new(disk.clone()), Path::new("/keys"), 1 << 20).unwrap();
        tables.initialize(DatabaseId::random().unwrap()).unwrap();
        let keys: Vec<KeyBytes> = (0..300).map(|_| KeyBytes(random().unwrap())).collect();
        let user = |n: u64| Entity::new("User", &n.to_string()).unwrap();
        for (n, some) in (0..).zip(keys.chunks(100)) {
            tables.write("a test", |tables| tables.make_keys(some)).unwrap();
            for given in 1..=10 {
                let number = n * 100 + given;
                tables.write("a test", |tables| tables.give_key(&user(number), KeyNumber(number))).unwrap();
            }
        }
        let gone = [3, 105, 210];
        for number in gone {
            let said = Position(number);
            let told = tables.write("a test", |tables| {
                assert_eq!(tables.forget_key(&user(number), said)?, Some(KeyNumber(number)));
                Ok(())
            });
            told.unwrap();
        }
        // What was committed before is still there, in pages that are free.
        assert!(gone.iter().any(|number| has(&disk, &keys[*number as usize - 1])));
        assert!(tables.read().unwrap().keys_to_erase().unwrap());
        tables.erase_keys(|| Ok(())).unwrap();
        let read = tables.read().unwrap();
        for (number, key) in (1..).zip(&keys) {
            let found = read.key(KeyNumber(number)).unwrap();
            match gone.contains(&number) {
                true => assert!(matches!(found, KeyState::Forgotten) && !has(&disk, key), "{number}"),
                false => assert!(matches!(found, KeyState::There(found) if found == *key), "{number}"),
            }
        }
        assert!(matches!(read.key(KeyNumber(301)).unwrap(), KeyState::Missing));
        assert_eq!(read.key_of(&user(105)).unwrap(), None);
        assert_eq!(read.key_of(&user(106)).unwrap(), Some(KeyNumber(106)));
        drop(read);
        tables.check_pages(&crate::cancel::Cancel::new()).unwrap();
        tables.close().unwrap();
    }
}
