//! When an append is acknowledged.

use std::time::Duration;

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the disk has it (the default). Nothing is seen by a reader before that.
    #[default]
    Sync,
    /// When the system has it; the disk follows within this time. A crash of the machine may lose that much, a crash of the
    /// program nothing. Subscriptions see only what the disk has. That the file was removed, renamed or replaced is noticed within
    /// this time, or a second, too.
    Interval(Duration),
}
