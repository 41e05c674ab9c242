//! Statements, from Rust: parsed once, run with parameters, answered row by row.

#[cfg(test)]
mod language;

use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::db::Db;
use crate::error::Result;
use crate::exec::{self, Answer, Row};
use crate::lang;
use crate::live::{Delivery, Subscription};
use crate::plan::{self, Context, Parameters, Plan};

/// Statements that were parsed, in order.
///
/// ```
/// use bygone::{Cancel, Db, Parameters, Script};
/// let script = Script::parse("EMIT Order.created 42 {total: 10}; HISTORY Order 42")?;
/// let db = Db::in_memory()?;
/// for statement in script.statements() {
///     let rows = db.run(statement, &Parameters::new(), &Cancel::new())?.rows;
///     assert_eq!(rows.count(), 1);
/// }
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    statements: Vec<Statement>,
    parameters: Vec<String>,
}

/// One statement that was parsed. Displays as its canonical text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The whole text: what is wrong is shown in its line.
    text: Arc<str>,
    /// Which of the text, counted from 1.
    number: usize,
    tree: lang::Sourced,
}

impl Script {
    /// Parses statements, separated by semicolons.
    ///
    /// # Errors
    /// [`Error::Syntax`](crate::Error::Syntax), with the place, what was expected there, and what was probably meant.
    pub fn parse(text: &str) -> Result<Script> {
        let script = lang::parse(text)?;
        let parameters = script.params().into_iter().map(str::to_owned).collect();
        let text: Arc<str> = text.into();
        let numbered = script.statements.into_iter().zip(1..);
        let statements =
            numbered.map(|(tree, number)| Statement { text: text.clone(), number, tree }).collect();
        Ok(Script { statements, parameters })
    }

    /// The statements, in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The names of their parameters, each once.
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }
}

impl Statement {
    /// The statement as it was written.
    pub fn text(&self) -> &str {
        self.text.get(self.tree.span.range()).unwrap_or_default()
    }

    /// The names of its parameters, each once.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.tree.params.iter().map(String::as_str)
    }

    /// Whether it is there to add to the log: `EMIT`, `PERFORM`, `ATOMIC`, `DEFINE` and `DROP` are.
    ///
    /// ```
    /// use bygone::Script;
    /// let script = Script::parse("HISTORY Order 42; EMIT Order.paid 42")?;
    /// let writes: Vec<bool> = script.statements().iter().map(|statement| statement.is_write()).collect();
    /// assert_eq!(writes, [false, true]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_write(&self) -> bool {
        use lang::ast::Statement;
        matches!(self.tree.statement, Statement::Write(_) | Statement::Define(_) | Statement::Drop { .. })
    }

    /// Whether its answer runs on into the present, and waits for what comes.
    pub fn is_subscription(&self) -> bool {
        matches!(self.tree.statement, lang::ast::Statement::Read(lang::ast::Read::Subscribe(_)))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.tree.statement, f)
    }
}

impl Db {
    /// Runs one statement.
    ///
    /// ```
    /// use bygone::{Db, Parameters, Row};
    /// let db = Db::in_memory()?;
    /// let parameters = Parameters::new().set("id", 42).set("total", 10);
    /// db.query("EMIT Order.created $id {total: $total}", &parameters)?;
    ///
    /// let mut rows = db.query("EVENTS 'Order.*' WHERE data.total > 5", &Parameters::new())?.rows;
    /// let Some(Row::Event { event, .. }) = rows.next().transpose()? else { panic!("one event") };
    /// assert_eq!(event.data.get("total"), Some(10.into()));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Syntax`](crate::Error::Syntax) for a text that is no statement or does not fit the log, and what running it
    /// gives. Rows that are pulled later may be errors, too.
    pub fn query(&self, text: &str, parameters: &Parameters) -> Result<Answer> {
        self.query_with(text, parameters, &Cancel::new())
    }

    /// Runs one statement that another thread can cancel.
    pub fn query_with(&self, text: &str, parameters: &Parameters, cancel: &Cancel) -> Result<Answer> {
        let tree = lang::parse_one(text)?;
        let statement = Statement { text: text.into(), number: 1, tree };
        parameters.check_used(&statement.parameters().collect::<Vec<_>>())?;
        self.run(&statement, parameters, cancel)
    }

    /// Runs a statement that was parsed before. Parameters that it does not use are for others of its script.
    pub fn run(&self, statement: &Statement, parameters: &Parameters, cancel: &Cancel) -> Result<Answer> {
        let store = self.store();
        let snapshot = store.snapshot().cancelled_by(cancel);
        let context = Context {
            text: &statement.text,
            statement: statement.number,
            parameters,
            default_actor: self.actor(),
            snapshot: &snapshot,
            now: store.shared().options.clock.now(),
        };
        match plan::bind(&statement.tree.statement, &context)? {
            Plan::Read(read) => exec::read(&snapshot, &read),
            Plan::Write(write) => exec::write(store, &write),
            Plan::Explain(explain) => exec::explain(&snapshot, &explain),
            Plan::Subscribe(subscription) => {
                let subscription =
                    Subscription::new(store.shared().clone(), subscription).cancelled_by(cancel);
                Ok(Answer::rows(subscription.map(|delivery| {
                    Ok(match delivery? {
                        Delivery::Event(event) => event.into(),
                        Delivery::CaughtUp(position) => Row::CaughtUp(position),
                    })
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;

    #[test]
    fn a_read_and_a_wait_end_at_their_time_limit() {
        let db = Db::in_memory().unwrap();
        db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
        let limit = Cancel::after(std::time::Duration::ZERO);
        let error = match db.query_with("EVENTS", &Parameters::new(), &limit) {
            Ok(mut answer) => answer.rows.next().unwrap().unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), "stopped: it took longer than its time limit of 0s");
        let limit = Cancel::after(std::time::Duration::from_millis(20));
        let mut live = db.subscribe("*".parse::<crate::Pattern>().unwrap()).cancelled_by(&limit);
        assert!(live.any(|delivery| delivery.is_err_and(|error| error.to_string().contains("20ms"))));
        // A limit that is not reached changes nothing.
        let limit = Cancel::after(std::time::Duration::MAX);
        assert_eq!(db.query_with("EVENTS", &Parameters::new(), &limit).unwrap().rows.count(), 1);
    }

    #[test]
    fn a_long_read_ends_when_it_is_cancelled() {
        let db = Db::in_memory().unwrap();
        db.emit_all((0..3000).map(|n| NewEvent::new("Order.paid").on(("Order", n)))).unwrap();
        let cancel = Cancel::new();
        let mut rows =
            db.query_with("EVENTS WHERE data.never = 1", &Parameters::new(), &cancel).unwrap().rows;
        cancel.cancel();
        assert!(rows.next().unwrap().unwrap_err().to_string().contains("cancelled"));
        assert!(rows.next().is_none());
    }
}
