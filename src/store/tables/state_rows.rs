//! Kept states that are asked for again and again, remembered for a commit: to find a row in the tables takes longer than to read it.
//!
//! A row is taken in when it is asked for the second time, so that whoever goes through many leaves no trace but a number. Nothing here
//! is changed: with the next commit all of it goes. One lock, held to look one up or to put one in.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use crate::store::mutex::locked;

/// So many bytes of rows are remembered, and none that is larger.
const BYTES: usize = 1 << 20;
const LARGEST: usize = 8 << 10;

/// What a row costs beside its bytes.
const ROW: usize = 128;

/// So many rows are known to have been asked for once.
const SEEN: usize = 1024;

/// Rows of states by their keys.
#[derive(Debug, Default)]
pub(super) struct StateRows {
    hasher: RandomState,
    known: Mutex<RememberedRows>,
}

#[derive(Debug, Default)]
struct RememberedRows {
    rows: HashMap<u64, KeyedRow>,
    bytes: usize,
    /// What was asked for once: at the place of each the newest.
    seen: Vec<u64>,
}

#[derive(Debug)]
struct KeyedRow {
    key: Box<[u8]>,
    row: Arc<[u8]>,
}

/// What is known of a key.
pub(super) enum LookedUp {
    Found(Arc<[u8]>),
    /// It was asked for before: its row is to be put in.
    Again(u64),
    New,
}

impl StateRows {
    /// Looks a row up.
    pub fn look(&self, key: &[u8]) -> LookedUp {
        let hash = self.hasher.hash_one(key);
        let mut known = locked(&self.known);
        match known.rows.get(&hash) {
            Some(known) if *known.key == *key => return LookedUp::Found(known.row.clone()),
            // Another of the same hash is as good as none.
            Some(_) => return LookedUp::New,
            None => {}
        }
        known.seen.resize(SEEN, 0);
        let place = usize::try_from(hash % SEEN as u64).unwrap_or_default();
        if std::mem::replace(&mut known.seen[place], hash) == hash {
            LookedUp::Again(hash)
        } else {
            LookedUp::New
        }
    }

    /// Remembers a row that was asked for again.
    pub fn put(&self, hash: u64, key: &[u8], row: &[u8]) {
        if row.len() > LARGEST {
            return;
        }
        let mut known = locked(&self.known);
        let held = key.len() + row.len() + ROW;
        if known.bytes + held > BYTES {
            known.rows.clear();
            known.bytes = 0;
        }
        if known.rows.insert(hash, KeyedRow { key: key.into(), row: row.into() }).is_none() {
            known.bytes += held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &StateRows, key: &[u8]) -> Option<Vec<u8>> {
        match rows.look(key) {
            LookedUp::Found(row) => Some(row.to_vec()),
            LookedUp::Again(hash) => {
                rows.put(hash, key, &[key, b"!"].concat());
                None
            }
            LookedUp::New => None,
        }
    }

    #[test]
    fn a_row_is_remembered_when_it_is_asked_for_again() {
        let rows = StateRows::default();
        assert_eq!((found(&rows, b"a"), found(&rows, b"a")), (None, None));
        assert_eq!(found(&rows, b"a"), Some(b"a!".to_vec()));
        assert_eq!(found(&rows, b"b"), None);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let rows = StateRows::default();
        let large = vec![7; LARGEST + 1];
        if let LookedUp::New | LookedUp::Again(_) = rows.look(b"large") {
            rows.put(1, b"large", &large);
        }
        assert_eq!(locked(&rows.known).rows.len(), 0);
        let row = vec![7; LARGEST];
        for n in 0..1000u64 {
            rows.put(n, &n.to_be_bytes(), &row);
            assert!(locked(&rows.known).bytes <= BYTES);
        }
        let known = locked(&rows.known);
        let held: usize = known.rows.values().map(|known| known.key.len() + known.row.len() + ROW).sum();
        assert_eq!(held, known.bytes);
    }
}
