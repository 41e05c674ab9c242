//! Posting lists: the positions of a term's events, in chunks.
//!
//! A chunk is a row of the table `postings`. Its key is the term, then its first position (8 bytes, big-endian); its value is
//!
//! | part | bytes |
//! |---|---|
//! | before | varint, in counted lists only: how many entries the chunks before this one hold |
//! | entries | varint: how many |
//! | deltas | varints: each entry but the first, as the distance from the one before |
//! | checksum | CRC-32 over key and value, 4 bytes |
//!
//! The last chunk of a list is rewritten until it is full.

use super::term::is_counted;
use crate::entity::Position;
use crate::error::{Error, Result};

/// How many entries fill a chunk: a few hundred, so that rewriting the last one stays cheap.
pub(crate) const FULL: usize = 256;

/// A chunk in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostingChunk {
    /// How many entries the list has before this chunk; always 0 in lists that are not counted.
    pub before: u64,
    /// Positions, ascending, at least one.
    pub positions: Vec<Position>,
}

impl PostingChunk {
    /// How many entries the list has up to the end of this chunk.
    pub fn through(&self) -> u64 {
        self.before + self.positions.len() as u64
    }
}

/// The key of the chunk that begins with this position.
pub(crate) fn key(term: &[u8], first: Position) -> Vec<u8> {
    let mut key = Vec::with_capacity(term.len() + 8);
    key.extend_from_slice(term);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// Takes a key apart: the term and the first position.
pub(crate) fn split_key(key: &[u8]) -> Result<(&[u8], Position)> {
    match key.split_last_chunk::<8>() {
        Some((term, first)) if !term.is_empty() => Ok((term, Position::from_be_bytes(*first))),
        _ => Err(Error::corrupt("a posting list", "a key too short")),
    }
}

pub(crate) fn encode(key: &[u8], chunk: &PostingChunk, out: &mut Vec<u8>) {
    out.clear();
    if is_counted(key) {
        put(out, chunk.before);
    }
    put(out, chunk.positions.len() as u64);
    for pair in chunk.positions.windows(2) {
        put(out, pair[1].since(pair[0]));
    }
    out.extend_from_slice(&checksum(key, out).to_be_bytes());
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<PostingChunk> {
    let (head, mut deltas) = open(key, value)?;
    let cut = || damaged(head.first, "its entries do not fit its length");
    let mut positions = Vec::with_capacity(head.entries as usize);
    positions.push(head.first);
    let mut last = head.first;
    for _ in 1..head.entries {
        let delta = take(&mut deltas).filter(|delta| *delta > 0);
        last = delta.and_then(|delta| last.0.checked_add(delta)).map(Position).ok_or_else(cut)?;
        positions.push(last);
    }
    if !deltas.is_empty() {
        return Err(cut());
    }
    Ok(PostingChunk { before: head.before, positions })
}

/// What a chunk says of its entries, without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    pub first: Position,
    /// As of a [`PostingChunk`].
    pub before: u64,
    /// How many it has, one at least.
    pub entries: u64,
}

pub(crate) fn head(key: &[u8], value: &[u8]) -> Result<ChunkHead> {
    open(key, value).map(|(head, _)| head)
}

/// A chunk whose checksum is right: its head, and its deltas.
fn open<'v>(key: &[u8], value: &'v [u8]) -> Result<(ChunkHead, &'v [u8])> {
    let (_, first) = split_key(key)?;
    let (mut body, stored) = value.split_last_chunk::<4>().ok_or_else(|| damaged(first, "no checksum"))?;
    if checksum(key, body) != u32::from_be_bytes(*stored) {
        return Err(damaged(first, "its checksum does not fit its bytes"));
    }
    let cut = || damaged(first, "its entries do not fit its length");
    let before = if is_counted(key) { take(&mut body).ok_or_else(cut)? } else { 0 };
    let entries = take(&mut body).ok_or_else(cut)?;
    if entries == 0 || entries > value.len() as u64 {
        return Err(cut());
    }
    Ok((ChunkHead { first, before, entries }, body))
}

fn damaged(first: Position, found: &str) -> Error {
    Error::corrupt(format!("the posting list that begins at {first}"), found)
}

/// CRC-32 over the key and the value of a row.
pub(crate) fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

pub(in crate::store) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(in crate::store) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f)
            .checked_shl(shift)
            .filter(|part| part >> shift == u64::from(byte & 0x7f))?;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_chunk_comes_back(counted: bool, before: u64, first in 1u64..1 << 60, deltas in prop::collection::vec(1u64..1 << 40, 0..50)) {
            let first = Position(first);
            let mut positions = vec![first];
            positions.extend(deltas.iter().scan(first, |at, delta| { *at = at.plus(*delta); Some(*at) }));
            let chunk = PostingChunk { before: if counted { before } else { 0 }, positions };
            let key = key(if counted { &[1, 9] } else { &[2, 9] }, first);
            let mut out = Vec::new();
            encode(&key, &chunk, &mut out);
            let entries = chunk.positions.len() as u64;
            prop_assert_eq!(head(&key, &out).unwrap(), ChunkHead { first, before: chunk.before, entries });
            prop_assert_eq!(decode(&key, &out).unwrap(), chunk);
            prop_assert_eq!(split_key(&key).unwrap().1, first);
        }

        #[test]
        fn a_chunk_has_entries_that_grow_and_nothing_behind_them(count in 1usize..6, more in prop::collection::vec(any::<u8>(), 1..5)) {
            let chunk = PostingChunk { before: 0, positions: Position::FIRST.onwards().take(count).collect() };
            let key = key(&[2, 9], Position::FIRST);
            let resealed = |body: Vec<u8>| {
                let checksum = checksum(&key, &body);
                [body, checksum.to_be_bytes().to_vec()].concat()
            };
            let mut out = Vec::new();
            encode(&key, &chunk, &mut out);
            let body = &out[..out.len() - 4];
            prop_assert!(decode(&key, &resealed(body.to_vec())).is_ok());
            prop_assert!(decode(&key, &resealed([body, &more].concat())).is_err());
            let mut twice = body.to_vec();
            if count > 1 {
                *twice.last_mut().unwrap() = 0;
                prop_assert!(decode(&key, &resealed(twice)).is_err(), "an entry twice");
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(key in prop::collection::vec(any::<u8>(), 0..20), mut body in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&key, &body);
            body.extend_from_slice(&checksum(&key, &body).to_be_bytes());
            let _ = decode(&key, &body);
        }
    }
}
