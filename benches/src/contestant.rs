//! Who is measured: each stores events with three indexes, and answers when they are durable.

mod bare;
pub mod bygone;
mod fjall;
mod grouped;
mod redb;
pub mod sqlite;
pub mod tephra;

use std::path::Path;

use crate::Result;
use crate::event::Sample;

pub use grouped::Grouped;

/// An open store.
pub trait Store: Send + Sync {
    /// What one thread writes with.
    fn writer(&self) -> Result<Box<dyn Writer + '_>>;

    /// Closes it, all of its deferred work done.
    fn close(self: Box<Self>) -> Result<()>;
}

pub trait Writer {
    /// Appends events, all or none; they are durable when it returns.
    fn append(&mut self, events: &[Sample]) -> Result<()>;
}

/// Opens the store in a folder, or makes it there.
pub type Open = fn(&Path) -> Result<Box<dyn Store>>;

#[derive(Clone, Copy)]
pub struct Contestant {
    pub name: &'static str,
    pub open: Open,
}

pub const BYGONE: &str = "Bygone";
pub const SQLITE: &str = "SQLite";

/// One caller, or batches: nobody has to share.
pub fn alone() -> Vec<Contestant> {
    vec![
        Contestant { name: BYGONE, open: bygone::open },
        Contestant { name: SQLITE, open: sqlite::open },
        Contestant { name: "fjall", open: fjall::open },
        Contestant { name: "redb", open: redb::open },
        Contestant { name: "tephra", open: tephra::open },
        Contestant { name: "bare file", open: bare::open },
    ]
}

/// Many callers: as they come, and behind a thread that writes for all where they have none of their own.
pub fn shared() -> Vec<Contestant> {
    vec![
        Contestant { name: BYGONE, open: bygone::open },
        Contestant { name: "SQLite, a connection each", open: sqlite::open },
        Contestant { name: "SQLite, one behind a mutex", open: sqlite::open_behind_mutex },
        Contestant { name: "SQLite, grouped by hand", open: |folder| Grouped::open(sqlite::open, folder) },
        Contestant { name: "fjall", open: fjall::open },
        Contestant { name: "fjall, grouped by hand", open: |folder| Grouped::open(fjall::open, folder) },
        Contestant { name: "redb", open: redb::open },
        Contestant { name: "redb, grouped by hand", open: |folder| Grouped::open(redb::open, folder) },
        Contestant { name: "tephra", open: tephra::open },
        Contestant { name: "bare file, grouped by hand", open: |folder| Grouped::open(bare::open, folder) },
    ]
}
