//! Statements that were parsed lately, by their text: whoever asks the same again is spared its parsing, and a part of its binding.
//!
//! What is remembered says nothing of the log nor of what is defined. A text is taken in when it comes for the second time, so that texts
//! with other values in them each time leave no trace but a number; the one that was used least lately goes first. Of what administers, defines or
//! writes without parameters nothing is kept. What is kept may name somebody: all of it goes once somebody is forgotten.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::Statement;
use crate::lang::ast::{ReadStmt, Stmt};
use crate::plan::BoundOnce;

/// So many statements are kept, and so many bytes of their texts; none of a longer text. A tree and what it is bound to take up to a hundred times as
/// much as the text.
const MOST: usize = 256;
const BYTES: usize = 64 << 10;
const LONGEST: usize = 2 << 10;

/// So many texts are known to have come once.
const SEEN: usize = 256;

/// A statement that was parsed, and what it was bound to last.
#[derive(Debug)]
pub(crate) struct ParsedStatement {
    pub statement: Statement,
    /// None of what is to be run once.
    pub bound: Option<BoundOnce>,
}

impl ParsedStatement {
    /// One that is to be run again and again, or once.
    pub fn new(statement: Statement, again: bool) -> ParsedStatement {
        ParsedStatement { statement, bound: again.then(BoundOnce::default) }
    }
}

/// The statements of one database, for all who ask it. Its lock is held to look one up or to put one in.
#[derive(Default)]
pub(crate) struct StatementCache {
    hasher: RandomState,
    known: Mutex<CachedStatements>,
}

impl fmt::Debug for StatementCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatementCache")
    }
}

#[derive(Debug, Default)]
struct CachedStatements {
    statements: HashMap<u64, CachedStatement>,
    /// Of their texts.
    bytes: usize,
    /// Counts what is looked up.
    turn: u64,
    /// What came once: at the place of each the newest.
    seen: Vec<u64>,
    /// How many subjects were forgotten as these were parsed.
    forgotten: usize,
}

#[derive(Debug)]
struct CachedStatement {
    statement: Arc<ParsedStatement>,
    used: u64,
}

/// What is known of a text.
pub(crate) enum Looked {
    Found(Arc<ParsedStatement>),
    /// It came before, and is to be kept.
    Again(u64),
    New,
}

impl StatementCache {
    /// Looks a text up, as so many subjects are forgotten.
    pub fn look(&self, text: &str, forgotten: usize) -> Looked {
        if text.len() > LONGEST {
            return Looked::New;
        }
        let hash = self.hasher.hash_one(text);
        let mut known = self.known();
        if known.forgotten != forgotten {
            *known = CachedStatements { forgotten, ..CachedStatements::default() };
        }
        known.turn += 1;
        let turn = known.turn;
        if let Some(entry) = known.statements.get_mut(&hash) {
            // Another of the same hash is as good as none.
            if *entry.statement.statement.text != *text {
                return Looked::New;
            }
            entry.used = turn;
            return Looked::Found(entry.statement.clone());
        }
        known.seen.resize(SEEN, 0);
        let place = usize::try_from(hash % SEEN as u64).unwrap_or_default();
        if std::mem::replace(&mut known.seen[place], hash) == hash {
            Looked::Again(hash)
        } else {
            Looked::New
        }
    }

    /// Keeps a statement that came again, as so many subjects are forgotten since it was looked up.
    pub fn keep(&self, hash: u64, statement: &Arc<ParsedStatement>, forgotten: usize) {
        if !is_kept(&statement.statement) {
            return;
        }
        let mut gone = Vec::new();
        let mut known = self.known();
        if known.forgotten != forgotten {
            return;
        }
        let bytes = statement.statement.text.len();
        while known.statements.len() >= MOST || known.bytes + bytes > BYTES {
            let oldest = known.statements.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| *hash);
            let Some(oldest) = oldest.and_then(|hash| known.statements.remove(&hash)) else { break };
            known.bytes -= oldest.statement.statement.text.len();
            gone.push(oldest);
        }
        let entry = CachedStatement { statement: statement.clone(), used: known.turn };
        known.bytes += bytes;
        if let Some(before) = known.statements.insert(hash, entry) {
            known.bytes -= before.statement.statement.text.len();
            gone.push(before);
        }
        // A tree takes a while to go: nobody waits for that.
        drop(known);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, CachedStatements> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let known = self.known();
        (known.statements.len(), known.bytes)
    }
}

/// Whether a statement may stay in memory: reads, and writes that have their values beside them.
fn is_kept(statement: &Statement) -> bool {
    match &statement.tree.statement {
        Stmt::Read(read) => !matches!(read, ReadStmt::Subscribe(_)),
        Stmt::Write(_) => !statement.tree.params.is_empty(),
        _ => false,
    }
}
