//! Faults that tests put into protocols.

/// Ways to break a protocol on purpose: a test that does not notice one of them holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum FaultInjection {
    /// Acknowledge without syncing the journal.
    NoSync,
    /// Replay frames of any salt.
    IgnoreSalt,
    /// Write into a segment again before the memtable it held is in the tables.
    EarlyReuse,
    /// Read the tables before the memtables.
    TablesFirst,
    /// Refuse by what is applied here, without asking the log whether that is all.
    NoBarrier,
    /// Make ids without regard to those that others made.
    ForgetIds,
    /// Admit requests again while the frame they were in may still be in the log.
    StageInDoubt,
    /// Apply frames whatever they go on from.
    IgnoreChain,
}
