//! SQLite as one would use it for this: WAL, `synchronous=FULL`, prepared statements, the same three indexes.
//!
//! It is given less to do: ids and versions are neither made nor checked.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position    INTEGER PRIMARY KEY,
        type        TEXT NOT NULL,
        target_type TEXT NOT NULL,
        target_id   TEXT NOT NULL,
        actor       TEXT NOT NULL,
        data        TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_target ON events (target_type, target_id);
    CREATE INDEX IF NOT EXISTS by_type ON events (type);
    CREATE INDEX IF NOT EXISTS by_actor ON events (actor);";

pub const INSERT: &str =
    "INSERT INTO events (type, target_type, target_id, actor, data) VALUES (?1, ?2, ?3, ?4, ?5)";

pub fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // As much as Bygone takes by default, in KiB.
    connection.pragma_update(None, "cache_size", -128 * 1024)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

pub fn file(folder: &Path) -> PathBuf {
    folder.join("events.sqlite")
}

fn insert(connection: &Connection, event: &Sample) -> Result<()> {
    let data = serde_json::to_string(&event.data)?;
    let id = event.entity.to_string();
    connection.prepare_cached(INSERT)?.execute(params![event.kind, "Order", id, event.actor, data])?;
    Ok(())
}

fn append(connection: &mut Connection, events: &[Sample]) -> Result<()> {
    if let [event] = events {
        // A statement alone is a transaction.
        return insert(connection, event);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    events.iter().try_for_each(|event| insert(&transaction, event))?;
    Ok(transaction.commit()?)
}

/// A connection for each writer. This one stays open, so that the log is not folded in before the end.
struct Each(PathBuf, Mutex<Connection>);

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let path = file(folder);
    let connection = connect(&path)?;
    Ok(Box::new(Each(path, Mutex::new(connection))))
}

impl Store for Each {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(connect(&self.0)?))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let connection = self.1.into_inner().map_err(|_| "a writer panicked")?;
        connection.close().map_err(|(_, error)| error.into())
    }
}

impl Writer for Connection {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        append(self, events)
    }
}

/// One connection for all.
struct One(Mutex<Connection>);

pub fn open_behind_mutex(folder: &Path) -> Result<Box<dyn Store>> {
    Ok(Box::new(One(Mutex::new(connect(&file(folder))?))))
}

impl Store for One {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(&self.0))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let connection = self.0.into_inner().map_err(|_| "a writer panicked")?;
        connection.close().map_err(|(_, error)| error.into())
    }
}

impl Writer for &Mutex<Connection> {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        append(&mut *self.lock().map_err(|_| "a writer panicked")?, events)
    }
}
