//! Statements that are prepared: parsed once, bound once where that stays the same, run as often as one likes.

use std::fmt;
use std::sync::Arc;

use super::Statement;
use super::cache::ParsedStatement;
use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::Entity;
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
    /// that changes between two of them is seen by the second. It keeps the database open, and acts for whom this handle acts for, and ends by
    /// what ends that: [`as_actor`](PreparedStatement::as_actor) and [`cancelled_by`](PreparedStatement::cancelled_by) say otherwise, for one run or for
    /// some.
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
    /// The same statement on behalf of another, as [`Db::as_actor`] says: what it was bound to is shared. Whoever serves several people
    /// prepares once, and says for each run who asks.
    ///
    /// ```
    /// use bygone::{Db, Entity, Parameters};
    /// let db = Db::in_memory()?;
    /// let pay = db.prepare("EMIT Order.paid $order")?;
    /// let paid = |order: u64| Parameters::new().set("order", order);
    /// pay.as_actor(("User", "ann")).run(&paid(1))?;
    /// pay.as_actor(("User", "bob")).run(&paid(2))?;
    /// pay.run(&paid(3))?;
    /// let actors: Vec<_> = db.events("*")?.map(|event| Ok(event?.actor)).collect::<Result<_, bygone::Error>>()?;
    /// assert_eq!(actors, [Some(Entity::from(("User", "ann"))), Some(Entity::from(("User", "bob"))), None]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn as_actor(&self, actor: impl Into<Entity>) -> PreparedStatement {
        PreparedStatement { db: self.db.as_actor(actor), prepared: self.prepared.clone() }
    }

    /// The same statement, whose runs this handle ends, too, as [`Db::cancelled_by`] says. A time limit counts from when it was made: one is
    /// made for each run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bygone::{Cancel, Db, Parameters};
    /// let db = Db::in_memory()?;
    /// let orders = db.prepare("HISTORY Order 42")?;
    /// for _ in 0..2 {
    ///     let limit = Cancel::after(Duration::from_secs(5));
    ///     assert_eq!(orders.cancelled_by(&limit).run(&Parameters::new())?.rows.count(), 0);
    /// }
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn cancelled_by(&self, cancel: &Cancel) -> PreparedStatement {
        PreparedStatement { db: self.db.cancelled_by(cancel), prepared: self.prepared.clone() }
    }

    /// Runs it with values for its parameters: on behalf of whom the handle was for that prepared it, and ended by what ends that, unless
    /// it was said otherwise.
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
