//! Statements that are prepared: parsed once, bound once where that stays the same, run as often as one likes.

use std::fmt;
use std::sync::Arc;

use super::Statement;
use super::cache::ParsedStatement;
use crate::db::Db;
use crate::error::Result;
use crate::exec::QueryResult;
use crate::plan::Parameters;

/// A statement of a database that was [prepared](Db::prepare). Clones share what it was bound to; it may be used from any number
/// of threads, and is a handle to its database as [`Db`] is.
#[derive(Clone)]
pub struct PreparedStatement {
    db: Db,
    prepared: Arc<ParsedStatement>,
}

impl fmt::Debug for PreparedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreparedStatement({})", self.statement().text)
    }
}

impl Db {
    /// Prepares one statement, to be run again and again, each time with other values for its parameters.
    ///
    /// It is parsed now, and never again. What its names mean, and by which index its rows are come by, is as of each run: a definition
    /// that changes between two of them is seen by the second. It keeps the database open, and whom this handle acts for and what cancels it: a time
    /// limit ([`Db::cancelled_by`]) counts from when that was made, for all of its runs.
    ///
    /// ```
    /// use bygone::{Db, Parameters};
    /// let db = Db::in_memory()?;
    /// for (id, amount) in [(1, 10), (2, 20), (3, 30)] {
    ///     db.query_with("EMIT Account.opened $id {balance: $n}", &Parameters::from([("id", id), ("n", amount)]))?;
    /// }
    /// let rich = db.prepare("FIND Account WHERE state.balance >= $low AND state.balance < $high")?;
    /// for (low, high, found) in [(10, 30, 2), (30, 99, 1), (31, 99, 0)] {
    ///     let rows = rich.run(&Parameters::new().set("low", low).set("high", high))?.rows;
    ///     assert_eq!(rows.count(), found);
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Syntax`](crate::Error::Syntax) for a text that is no statement, or several; [`Error::Invalid`](crate::Error::Invalid) for one
    /// that is longer than [`Options::max_statement`](crate::Options::max_statement). What it names is looked up where it is run.
    pub fn prepare(&self, text: &str) -> Result<PreparedStatement> {
        Ok(PreparedStatement { db: self.clone(), prepared: self.parsed(text, true)? })
    }
}

impl PreparedStatement {
    /// Runs it with values for its parameters, on behalf of whom the handle was for that prepared it, and cancelled as that is.
    ///
    /// # Errors
    /// What running it gives, as for [`Db::query_with`]; [`Error::Invalid`](crate::Error::Invalid) for a value that it does not ask for.
    pub fn run(&self, parameters: &Parameters) -> Result<QueryResult> {
        self.db.run_prepared(&self.prepared, parameters)
    }

    /// The names of its parameters, each once.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.statement().parameters()
    }

    /// The statement as it was parsed.
    pub fn statement(&self) -> &Statement {
        &self.prepared.statement
    }
}

#[cfg(test)]
mod tests;
