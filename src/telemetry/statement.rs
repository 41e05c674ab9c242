//! Statements, as they are counted: by their kind, and by how long it takes until their last row was pulled.

use std::sync::Arc;
use std::time::Instant;

use super::Counts;
use super::span::{self, Entered, Span};
use crate::error::Error;

/// What a statement is, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementKind {
    At,
    Atomic,
    Backup,
    Blame,
    Checkpoint,
    Close,
    Compact,
    Define,
    Describe,
    Diff,
    Drop,
    Emit,
    Events,
    Explain,
    Find,
    Forget,
    History,
    Perform,
    Prove,
    Read,
    Rekey,
    Reopen,
    Replay,
    Retry,
    Show,
    Sign,
    Skip,
    Subscribe,
    Sync,
    Trace,
    Verify,
}

impl StatementKind {
    /// All of them, with their words, in order.
    pub const ALL: [(StatementKind, &'static str); 31] = [
        (StatementKind::At, "at"),
        (StatementKind::Atomic, "atomic"),
        (StatementKind::Backup, "backup"),
        (StatementKind::Blame, "blame"),
        (StatementKind::Checkpoint, "checkpoint"),
        (StatementKind::Close, "close"),
        (StatementKind::Compact, "compact"),
        (StatementKind::Define, "define"),
        (StatementKind::Describe, "describe"),
        (StatementKind::Diff, "diff"),
        (StatementKind::Drop, "drop"),
        (StatementKind::Emit, "emit"),
        (StatementKind::Events, "events"),
        (StatementKind::Explain, "explain"),
        (StatementKind::Find, "find"),
        (StatementKind::Forget, "forget"),
        (StatementKind::History, "history"),
        (StatementKind::Perform, "perform"),
        (StatementKind::Prove, "prove"),
        (StatementKind::Read, "read"),
        (StatementKind::Rekey, "rekey"),
        (StatementKind::Reopen, "reopen"),
        (StatementKind::Replay, "replay"),
        (StatementKind::Retry, "retry"),
        (StatementKind::Show, "show"),
        (StatementKind::Sign, "sign"),
        (StatementKind::Skip, "skip"),
        (StatementKind::Subscribe, "subscribe"),
        (StatementKind::Sync, "sync"),
        (StatementKind::Trace, "trace"),
        (StatementKind::Verify, "verify"),
    ];

    pub(super) const COUNT: usize = StatementKind::ALL.len();

    pub fn word(self) -> &'static str {
        StatementKind::ALL[self as usize].1
    }
}

/// A statement that runs. It is counted when this is dropped, with its answer.
#[derive(Debug)]
pub(crate) struct StatementTimer {
    counts: Arc<Counts>,
    kind: StatementKind,
    began: Instant,
    span: Span,
}

impl StatementTimer {
    pub fn begin(counts: &Arc<Counts>, kind: StatementKind) -> StatementTimer {
        StatementTimer { counts: counts.clone(), kind, began: Instant::now(), span: span::statement(kind) }
    }

    /// It is being worked on until what this gives is dropped.
    pub fn enter(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// It ended with an error.
    pub fn failed(&self, error: &Error) {
        self.counts.statement_failed(error.kind());
    }
}

impl Drop for StatementTimer {
    fn drop(&mut self) {
        self.counts.statements(self.kind).observe(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_number() {
        for (at, (kind, word)) in StatementKind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, kind.word()), (at, word));
        }
    }
}
