//! Statements, from Rust: parsed once, run with parameters, answered row by row.

pub(crate) mod cache;
#[cfg(test)]
mod language;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod never_true;
mod prepared;
#[cfg(feature = "share")]
mod sent;

use std::fmt;
use std::sync::Arc;

use cache::{Looked, ParsedStatement};
pub use prepared::PreparedStatement;

use crate::db::Db;
use crate::error::{Error, Result, size};
use crate::exec::{self, QueryResult, Row};
use crate::lang;
use crate::live::{Delivery, Subscription, ViewSubscription};
use crate::plan::{self, BindInput, BoundOnce, Parameters, Plan};
use crate::store::options::MAX_STATEMENT;
use crate::store::snapshot::Snapshot;
use crate::telemetry::{StatementKind, StatementTimer};

/// Statements that were parsed, in order.
///
/// ```
/// use bygone::read::Script;
/// use bygone::Db;
/// let script = Script::parse("EMIT Order.created 42 {total: 10}; HISTORY Order 42")?;
/// let db = Db::in_memory()?;
/// for statement in script.statements() {
///     let rows = db.run(statement)?.rows;
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
    /// [`Error::Syntax`], with the place, what was expected there, and what was probably meant; [`Error::Invalid`] for a text of
    /// more than 16 MiB.
    pub fn parse(text: &str) -> Result<Script> {
        Script::parse_within(text, MAX_STATEMENT)
    }

    /// The same with another limit, in bytes, for the whole text: as for
    /// [`Options::max_statement`](crate::Options::max_statement), which each statement is held to where it is run.
    ///
    /// # Errors
    /// As for [`parse`](Script::parse).
    pub fn parse_within(text: &str, bytes: usize) -> Result<Script> {
        let script = lang::parse_within(text, bytes)?;
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
    /// Parses one statement, to be [run](Db::run) as often as one likes, each time with other parameters.
    ///
    /// ```
    /// use bygone::{Db, Parameters, Statement};
    /// let db = Db::in_memory()?;
    /// let emit = Statement::parse("EMIT Order.created $id {total: $total}")?;
    /// for (id, total) in [(1, 10), (2, 20)] {
    ///     db.run_with(&emit, &Parameters::new().set("id", id).set("total", total))?;
    /// }
    /// let sum = Statement::parse("EVENTS SELECT sum(data.total) AS sum")?;
    /// let mut rows = db.run(&sum)?.rows;
    /// assert_eq!(rows.next().expect("one row")?.get::<u64>("sum")?, 30);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Syntax`], for several statements too; those are a [`Script`]. [`Error::Invalid`] for a text of more than 16 MiB;
    /// [`Script::parse_within`] takes another limit.
    pub fn parse(text: &str) -> Result<Statement> {
        Statement::within(text, MAX_STATEMENT)
    }

    fn within(text: &str, bytes: usize) -> Result<Statement> {
        let tree = lang::parse_one_within(text, bytes)?;
        Ok(Statement { text: text.into(), number: 1, tree })
    }

    /// The statement as it was written.
    pub fn text(&self) -> &str {
        self.text.get(self.tree.span.range()).unwrap_or_default()
    }

    /// The names of its parameters, each once.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.tree.params.iter().map(String::as_str)
    }

    /// What it is counted as.
    fn kind(&self) -> StatementKind {
        kind_of(&self.tree.statement)
    }

    /// Whether it is there to add to the log: `EMIT`, `PERFORM`, `ATOMIC`, `DEFINE` and `DROP` are.
    ///
    /// ```
    /// use bygone::read::Script;
    /// let script = Script::parse("HISTORY Order 42; EMIT Order.paid 42")?;
    /// let writes: Vec<bool> = script.statements().iter().map(|statement| statement.is_write()).collect();
    /// assert_eq!(writes, [false, true]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_write(&self) -> bool {
        use lang::ast::Stmt;
        matches!(self.tree.statement, Stmt::Write(_) | Stmt::Define(_) | Stmt::Forget(_) | Stmt::Drop { .. })
    }

    /// Whether it only reads: it leaves the log as it is, and ends by itself.
    ///
    /// ```
    /// use bygone::read::Script;
    /// let script = Script::parse("HISTORY Order 42; SUBSCRIBE 'Order.*'; CHECKPOINT; SHOW HEAD")?;
    /// let reads: Vec<bool> = script.statements().iter().map(|statement| statement.is_read()).collect();
    /// assert_eq!(reads, [true, false, false, true]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn is_read(&self) -> bool {
        use lang::ast::{Admin, ReadStmt, Stmt};
        match &self.tree.statement {
            Stmt::Read(read) => !matches!(read, ReadStmt::Subscribe(_)),
            Stmt::Explain { .. }
            | Stmt::Show(_)
            | Stmt::Describe(_)
            | Stmt::DescribeType(_)
            | Stmt::Admin(Admin::Verify { .. }) => true,
            Stmt::Write(_) | Stmt::Define(_) | Stmt::Forget(_) | Stmt::Drop { .. } | Stmt::Admin(_) => false,
        }
    }

    /// Whether it defines an index, a column or a view, which is then built in the background:
    /// [`Db::wait_for_indexes`](crate::Db::wait_for_indexes) waits for that.
    pub fn defines_index(&self) -> bool {
        use lang::ast::{DefinitionStmt, Stmt};
        let Stmt::Define(definition) = &self.tree.statement else { return false };
        matches!(
            definition,
            DefinitionStmt::Index { .. } | DefinitionStmt::Column { .. } | DefinitionStmt::View { .. }
        )
    }

    /// Whether its answer runs on into the present, and waits for what comes.
    pub fn is_subscription(&self) -> bool {
        matches!(self.tree.statement, lang::ast::Stmt::Read(lang::ast::ReadStmt::Subscribe(_)))
    }
}

fn kind_of(statement: &lang::ast::Stmt) -> StatementKind {
    use StatementKind as Kind;
    use lang::ast::{ActStmt, Admin, Query, ReadStmt, Stmt, WriteStmt};
    match statement {
        Stmt::Explain { .. } => Kind::Explain,
        Stmt::Write(WriteStmt::Act(ActStmt::Emit(_))) => Kind::Emit,
        Stmt::Write(WriteStmt::Act(ActStmt::Perform(_))) => Kind::Perform,
        Stmt::Write(WriteStmt::Act(ActStmt::Close(close))) => {
            if close.reopens {
                Kind::Reopen
            } else {
                Kind::Close
            }
        }
        Stmt::Write(WriteStmt::Atomic { .. }) => Kind::Atomic,
        Stmt::Read(ReadStmt::History { .. }) => Kind::History,
        Stmt::Read(ReadStmt::Query(Query::Events { .. })) => Kind::Events,
        Stmt::Read(ReadStmt::Query(Query::Find { .. })) => Kind::Find,
        Stmt::Read(ReadStmt::View { .. }) => Kind::Read,
        Stmt::Read(ReadStmt::At { .. }) => Kind::At,
        Stmt::Read(ReadStmt::Replay { .. }) => Kind::Replay,
        Stmt::Read(ReadStmt::Diff { .. }) => Kind::Diff,
        Stmt::Read(ReadStmt::Trace { .. }) => Kind::Trace,
        Stmt::Read(ReadStmt::Blame { .. }) => Kind::Blame,
        Stmt::Read(ReadStmt::Subscribe(_)) => Kind::Subscribe,
        Stmt::Define(_) => Kind::Define,
        Stmt::Forget(_) => Kind::Forget,
        Stmt::Drop { .. } => Kind::Drop,
        Stmt::Show(_) => Kind::Show,
        Stmt::Describe(_) | Stmt::DescribeType(_) => Kind::Describe,
        Stmt::Admin(Admin::Backup { .. }) => Kind::Backup,
        Stmt::Admin(Admin::Verify { .. }) => Kind::Verify,
        Stmt::Admin(Admin::Prove { .. }) => Kind::Prove,
        Stmt::Admin(Admin::SignHead { .. }) => Kind::Sign,
        Stmt::Admin(Admin::Compact) => Kind::Compact,
        Stmt::Admin(Admin::Rekey { .. }) => Kind::Rekey,
        Stmt::Admin(Admin::Checkpoint) => Kind::Checkpoint,
        Stmt::Admin(Admin::Sync) => Kind::Sync,
        Stmt::Admin(Admin::Retry { .. }) => Kind::Retry,
        Stmt::Admin(Admin::Skip { .. }) => Kind::Skip,
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.tree.statement, f)
    }
}

impl Db {
    /// Runs one statement that has no parameters.
    ///
    /// ```
    /// use bygone::{Db, Row};
    /// let db = Db::in_memory()?;
    /// db.query("EMIT Order.created 42 {total: 10}")?;
    ///
    /// let mut rows = db.query("EVENTS 'Order.*' WHERE data.total > 5")?.rows;
    /// let Some(Row::Event { event, .. }) = rows.next().transpose()? else { panic!("one event") };
    /// assert_eq!(event.data.get("total"), Some(10.into()));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Syntax`] for a text that is no statement or does not fit the log, and what running it
    /// gives. Rows that are pulled later may be errors, too.
    pub fn query(&self, text: &str) -> Result<QueryResult> {
        self.query_with(text, &Parameters::new())
    }

    /// Runs one statement with values for its parameters.
    ///
    /// ```
    /// use bygone::{Db, Parameters};
    /// let db = Db::in_memory()?;
    /// let order = Parameters::new().set("id", 42).set("total", 10);
    /// db.query_with("EMIT Order.created $id {total: $total}", &order)?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`query`](Db::query), and [`Error::Invalid`] for a value that the text does not ask for.
    pub fn query_with(&self, text: &str, parameters: &Parameters) -> Result<QueryResult> {
        let prepared = self.parsed(text, false)?;
        self.run_prepared(&prepared, parameters)
    }

    /// Parses a text, unless that was done lately.
    pub(crate) fn parsed(&self, text: &str, again: bool) -> Result<Arc<ParsedStatement>> {
        let shared = self.store().shared();
        let looked = self.statements().look(text, shared.keyring.forgotten());
        shared.counts.statement_cache.count(matches!(looked, Looked::Found(_)));
        if let Looked::Found(prepared) = looked {
            return Ok(prepared);
        }
        let parsed = Statement::within(text, shared.options.max_statement);
        let statement = parsed.inspect_err(|error| shared.counts.statement_failed(error.kind()))?;
        let again = again || matches!(looked, Looked::Again(_));
        let prepared = Arc::new(ParsedStatement::new(statement, again));
        if let Looked::Again(hash) = looked {
            self.statements().keep(hash, &prepared, shared.keyring.forgotten());
        }
        Ok(prepared)
    }

    pub(crate) fn run_prepared(
        &self,
        prepared: &ParsedStatement,
        parameters: &Parameters,
    ) -> Result<QueryResult> {
        let ParsedStatement { statement, bound } = prepared;
        let used = parameters.check_used(statement.parameters());
        used.inspect_err(|error| self.store().shared().counts.statement_failed(error.kind()))?;
        self.run_bound(statement, bound.as_ref(), parameters)
    }

    /// Parses statements, separated by semicolons, of so many bytes as [`Options::max_statement`](crate::Options::max_statement) says. As with
    /// [`query`](Self::query), a text that does not parse is counted as a statement that failed ([`metrics`](Self::metrics)).
    ///
    /// ```
    /// use bygone::Db;
    /// let db = Db::in_memory()?;
    /// assert_eq!(db.script("EMIT Order.paid 42; HISTORY Order 42")?.statements().len(), 2);
    /// assert!(db.script("HISTORY Order 42; EMITT Order.paid 42").is_err());
    /// assert_eq!(db.metrics()?.value("bygone_statement_errors_total"), Some(1.0));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Script::parse`].
    pub fn script(&self, text: &str) -> Result<Script> {
        let shared = self.store().shared();
        let parsed = Script::parse_within(text, shared.options.max_statement);
        parsed.inspect_err(|error| shared.counts.statement_failed(error.kind()))
    }

    /// Runs a statement that was parsed before ([`Statement::parse`]) and has no parameters.
    ///
    /// # Errors
    /// What running it gives.
    pub fn run(&self, statement: &Statement) -> Result<QueryResult> {
        self.run_with(statement, &Parameters::new())
    }

    /// Runs a statement that was parsed before, with values for its parameters. Values that it does not ask for are for other
    /// statements of its script.
    ///
    /// # Errors
    /// What running it gives.
    pub fn run_with(&self, statement: &Statement, parameters: &Parameters) -> Result<QueryResult> {
        self.run_bound(statement, None, parameters)
    }

    fn run_bound(
        &self,
        statement: &Statement,
        bound: Option<&BoundOnce>,
        parameters: &Parameters,
    ) -> Result<QueryResult> {
        let timer = StatementTimer::begin(&self.store().shared().counts, statement.kind());
        let answered = {
            let _within = timer.enter();
            self.answer(statement, bound, parameters)
        };
        match answered {
            // How long it goes on says nothing of how long it takes.
            Ok(answer) if statement.is_subscription() => Ok(answer),
            Ok(answer) => Ok(QueryResult { rows: answer.rows.timed_by(timer), ..answer }),
            Err(error) => {
                timer.failed(&error);
                Err(error)
            }
        }
    }

    fn answer(
        &self,
        statement: &Statement,
        bound: Option<&BoundOnce>,
        parameters: &Parameters,
    ) -> Result<QueryResult> {
        let cancel = &self.cancel();
        let store = self.store();
        let (length, most) = (statement.text().len(), store.shared().options.max_statement);
        if length > most {
            let expected = format!("at most {} (Options::max_statement)", size(most as u64));
            return Err(Error::invalid("a statement", expected, size(length as u64)));
        }
        let snapshot = store.snapshot().cancelled_by(cancel);
        let input = self.input(statement, parameters);
        match plan::prepare_again(&statement.tree.statement, bound, input, &snapshot)? {
            Plan::Read(read) => exec::read(&snapshot, self.views(), &read),
            Plan::Write(write) => exec::write(store, &write, cancel),
            Plan::Explain(explain) => exec::explain(store, &snapshot, self.views(), &explain),
            Plan::SubscribeView(plan) => {
                let (mut statement, parameters) = (statement.clone(), parameters.clone());
                // Where it ends is said once: what is bound again as the log moves is what it is of.
                if let lang::ast::Stmt::Read(lang::ast::ReadStmt::Subscribe(subscribe)) =
                    &mut statement.tree.statement
                {
                    (subscribe.until, subscribe.limit) = (None, None);
                }
                let (db, cancelled) = (self.actor().cloned(), cancel.clone());
                let clock = store.shared().options.clock.clone();
                let bind = move |snapshot: &Snapshot| {
                    let input = BindInput {
                        text: &statement.text,
                        statement: statement.number,
                        parameters: &parameters,
                        default_actor: db.as_ref(),
                        now: clock.now(),
                    };
                    match plan::prepare(&statement.tree.statement, input, snapshot)? {
                        Plan::SubscribeView(plan) => Ok(plan),
                        _ => Err(Error::stopped("it is no view any more")),
                    }
                };
                let (shared, views) = (store.shared().clone(), self.views().clone());
                let rows = ViewSubscription::new(shared, views, &plan, Box::new(bind), &cancelled);
                Ok(QueryResult::rows(rows))
            }
            Plan::Subscribe(subscription) => {
                let name = subscription.name.clone();
                let subscription =
                    Subscription::new(store.shared().clone(), subscription).counted().cancelled_by(cancel);
                Ok(match name {
                    None => delivered(subscription),
                    Some(name) => {
                        let named = subscription.durable(&name)?;
                        let cursor = named.cursor();
                        QueryResult { cursor: Some(cursor), ..delivered(named) }
                    }
                })
            }
        }
    }

    /// What a statement names that nothing in the log bears, and what was probably meant. That is no error, for an answer without rows
    /// is one; it is for a person who typed the statement, and apart from [`run`](Self::run), so that it costs programs nothing.
    ///
    /// Members of data are looked for in some of the newest events. A statement that is wrong has no hints.
    ///
    /// ```
    /// use bygone::read::Script;
    /// use bygone::{Db, Parameters};
    /// let db = Db::in_memory()?;
    /// db.query("EMIT Order.created 42 {total: 10}")?;
    /// let script = Script::parse("HISTORY Ordr 42")?;
    /// let hints = db.hints(&script.statements()[0], &Parameters::new());
    /// assert_eq!(hints, ["no events of Ordr; did you mean Order 42?"]);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn hints(&self, statement: &Statement, parameters: &Parameters) -> Vec<String> {
        let snapshot = self.store().snapshot();
        plan::hints(&statement.tree.statement, self.input(statement, parameters), &snapshot)
            .unwrap_or_default()
    }

    fn input<'a>(&'a self, statement: &'a Statement, parameters: &'a Parameters) -> BindInput<'a> {
        BindInput {
            text: &statement.text,
            statement: statement.number,
            parameters,
            default_actor: self.actor(),
            now: self.store().shared().options.clock.now(),
        }
    }
}

fn delivered(deliveries: impl Iterator<Item = Result<Delivery>> + Send + 'static) -> QueryResult {
    QueryResult::rows(deliveries.map(|delivery| {
        Ok(match delivery? {
            Delivery::Event(event) => event.into(),
            Delivery::CaughtUp(position) => Row::CaughtUp(position),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::entity::Position;
    use crate::event::NewEvent;

    #[test]
    fn a_read_and_a_wait_end_at_their_time_limit() {
        let db = Db::in_memory().unwrap();
        db.append(NewEvent::new("Order.paid").on(("Order", 1))).unwrap();
        let limit = Cancel::after(std::time::Duration::ZERO);
        let error = match db.cancelled_by(&limit).query("EVENTS") {
            Ok(mut answer) => answer.rows.next().unwrap().unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), "stopped: it took longer than its time limit of 0s");
        let limit = Cancel::after(std::time::Duration::from_millis(20));
        let mut live = db.subscribe("*").cancelled_by(&limit);
        assert!(live.any(|delivery| delivery.is_err_and(|error| error.to_string().contains("20ms"))));
        // A limit that is not reached changes nothing.
        let limit = Cancel::after(std::time::Duration::MAX);
        assert_eq!(db.cancelled_by(&limit).query("EVENTS").unwrap().rows.count(), 1);
    }

    #[test]
    fn a_chain_of_causes_takes_no_more_than_a_query_may_hold() {
        let chained = |memory: usize, effects: u64| {
            let db = crate::store::Options::new().query_memory(memory).in_memory().unwrap();
            db.append(NewEvent::new("A.b")).unwrap();
            let mut cause = Position(1);
            for _ in 0..200 {
                let of = |_| NewEvent::new("A.b").caused_by(cause);
                cause = db.append_all((0..effects).map(of)).unwrap()[0].position;
            }
            (db, cause)
        };
        let traced = |db: &Db, from: Position| -> Result<usize> {
            let rows = db.query(&format!("TRACE {from}"))?.rows.collect::<Result<Vec<_>>>()?;
            Ok(rows.len())
        };
        let refused = |counted: Result<usize>| counted.unwrap_err().to_string().contains("TRACE takes more");
        // Up they are positions; down they are lists, of which a plain chain holds one.
        let (db, last) = chained(8000, 1);
        assert_eq!((traced(&db, last).unwrap(), traced(&db, Position(1)).unwrap()), (201, 201));
        let (db, last) = chained(1000, 1);
        assert!(refused(traced(&db, last)));
        let (db, _) = chained(100_000, 2);
        assert!(refused(traced(&db, Position(1))));
        assert_eq!(traced(&chained(1 << 20, 2).0, Position(1)).unwrap(), 401);
    }

    #[test]
    fn a_key_in_place_of_the_name_of_a_variable_is_not_shown() {
        let db = Db::in_memory().unwrap();
        let given = Parameters::new().set("key", "hunter2");
        for (text, parameters, line) in [
            ("SIGN HEAD WITH 'hunter2'", &Parameters::new(), "SIGN HEAD WITH *********"),
            ("SIGN HEAD WITH $key", &given, "SIGN HEAD WITH $key"),
            (
                "DEFINE WEBHOOK w ON 'A.*' TO 'http://example.com' SECRET 'hunter2'",
                &Parameters::new(),
                "DEFINE WEBHOOK w ON 'A.*' TO 'http://example.com' SECRET *********",
            ),
            (
                "DEFINE WEBHOOK w ON 'A.*' TO 'http://ann:hunter2@x'",
                &Parameters::new(),
                "DEFINE WEBHOOK w ON 'A.*' TO **********************",
            ),
        ] {
            let error = db.query_with(text, parameters).map(drop).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
            let Error::Syntax(fault) = error else { panic!("{error}") };
            assert_eq!(fault.source_line, line);
            let expected = ["the name of a variable of the environment", "no user and password"];
            assert!(expected.iter().any(|expected| fault.message.contains(expected)), "{}", fault.message);
        }
    }

    #[test]
    fn what_runs_is_counted() {
        let db = Db::in_memory().unwrap();
        let value = |name: &str| db.metrics().unwrap().value(name).unwrap();
        db.query("DEFINE VIEW totals AS EVENTS 'Order.*' GROUP BY type SELECT count() AS n").unwrap();
        db.query("EMIT Order.paid 1").unwrap();
        assert_eq!((value("bygone_statements_total"), value("bygone_subscriptions_open")), (2.0, 0.0));
        let rows = db.query("EVENTS").unwrap().rows;
        assert_eq!(value("bygone_statements_total"), 2.0, "it goes on until its last row");
        drop(rows);
        assert_eq!(value("bygone_statements_total"), 3.0);
        let view = db.query("SUBSCRIBE VIEW totals UNTIL NOW").unwrap().rows;
        let events = db.query("SUBSCRIBE '*' FROM START").unwrap().rows;
        assert_eq!(value("bygone_subscriptions_open"), 2.0);
        assert_eq!(value("bygone_subscription_lag_events"), 2.0);
        assert!(view.map(Result::unwrap).count() > 0);
        drop(events);
        // One that has ended is open no longer, though somebody has it still.
        let mut ended = [db.subscribe("*").from_start().until_now(), db.subscribe("*").limit(0)];
        assert_eq!(value("bygone_subscriptions_open"), 2.0);
        ended.iter_mut().for_each(|ended| assert!(ended.by_ref().all(|delivery| delivery.is_ok())));
        assert_eq!((value("bygone_subscriptions_open"), value("bygone_subscription_lag_events")), (0.0, 0.0));
        // One that is no statement is an error all the same.
        assert!(db.query("NONSENSE").is_err() && db.query("READ nothing").is_err());
        assert_eq!(value("bygone_statement_errors_total"), 2.0);
    }

    /// The hints of a statement, joined.
    fn hinted(db: &Db, text: &str) -> String {
        let script = Script::parse(text).unwrap();
        let parameters = Parameters::new().set("p", "Odrer.*");
        db.hints(&script.statements()[0], &parameters).join("\n")
    }

    #[test]
    fn names_that_nothing_bears_are_told() {
        let db = Db::in_memory().unwrap();
        for text in [
            "EMIT Order.created 1 {total: 10, customer: {name: 'ann', `post code`: 1}} META {ip: '::1'}",
            "EMIT Order.paid ON Invoice 2 {amount: 10}",
            "EMIT User.signedIn 7",
        ] {
            db.query(text).unwrap();
        }
        for (text, hint) in [
            ("HISTORY Ordr 42", "no events of Ordr; did you mean Order 42?"),
            ("AT order 'x y' NOW", "no events of order; did you mean Order 'x y'?"),
            ("REPLAY Nothing 1", "no events of Nothing"),
            ("BLAME Ordr 1", "no events of Ordr; did you mean Order 1?"),
            ("DIFF Ordr 1 FROM START", "no events of Ordr; did you mean Order 1?"),
            ("HISTORY Order 99", ""),
            ("HISTORY Invoice 2", ""),
            ("EVENTS 'Ordr.*'", "no events of 'Ordr.*'; did you mean 'Order.*'?"),
            ("EVENTS $p", "no events of 'Odrer.*'; did you mean 'Order.*'?"),
            ("EVENTS 'Order.piad'", "no events of 'Order.piad'; did you mean 'Order.paid'?"),
            ("EVENTS 'Order.*, Usr.*'", "no events of 'Usr.*'; did you mean 'User.*'?"),
            ("EVENTS 'Nothing.*'", "no events of 'Nothing.*'"),
            ("EVENTS '$*'", ""),
            ("EVENTS", ""),
            ("SUBSCRIBE 'Ordr.*'", "no events of 'Ordr.*' yet; did you mean 'Order.*'?"),
            ("SUBSCRIBE 'Nothing.*'", "no events of 'Nothing.*' yet"),
            ("EVENTS WHERE data.total > 1", ""),
            (
                "EVENTS WHERE data.totl > 1 OR NOT lower(data.totl) = 'x'",
                "data.totl is in none of the newest 3 events looked at; did you mean data.total?",
            ),
            ("EVENTS WHERE data.totl IS NULL", ""),
            ("HISTORY Order 1 WHERE data.amuont = 1", "data.amuont is not in the one event looked at"),
            (
                "EVENTS 'Order.created' ORDER BY data.customer.nmae",
                "data.customer.nmae is not in the one event looked at; did you mean data.customer.name?",
            ),
            (
                "EVENTS GROUP BY data.customer.postcode SELECT sum(metadata.xyz)",
                "data.customer.postcode is in none of the newest 3 events looked at; did you mean data.customer.`post code`?\n\
                 metadata.xyz is in none of the newest 3 events looked at",
            ),
            ("EVENTS WHERE data.items[3].x = 1", "data.items is in none of the newest 3 events looked at"),
            ("EVENTS WHERE data.total[3].x = 1", ""),
            ("EVENTS WHERE totl = 1", ""),
            (
                "EVENTS WHERE data.total = '10'",
                "data.total is a number in the newest 3 events looked at, and '10' is text; did you mean 10?",
            ),
            (
                "EVENTS WHERE NOT (data.total IN (10, 'x') OR TRUE)",
                "data.total is a number in the newest 3 events looked at, and 'x' is text",
            ),
            ("EVENTS WHERE data.total = NULL OR data.total = 1.5", ""),
            ("HISTORY Order 1 SINCE #99", ""),
        ] {
            assert_eq!(hinted(&db, text), hint, "{text}");
        }
        assert_eq!(hinted(&Db::in_memory().unwrap(), "EVENTS WHERE data.x = 1"), "");
    }

    #[test]
    fn entities_that_nobody_meant_are_told() {
        let db = Db::in_memory().unwrap();
        db.query("EMIT Order.created 1 {total: 10} INDEX BY total").unwrap();
        for (text, message) in [
            ("EVENTS SELECT DISTINCT type", "no DISTINCT before a value"),
            ("EVENTS SELECT DISTINCT data.total", "GROUP BY data.total gives each once"),
            ("EVENTS SELECT count(DISTINCT data.total)", "distinct(data.total) counts the different ones"),
            ("EVENTS SELECT type t", "a column is named with AS"),
            ("EVENTS SELECT count(), LIMIT 3", "the comma before LIMIT is one too many"),
            ("EVENTS WHERE data.total > 5 AND LIMIT 3", "something is missing before LIMIT"),
            ("EVENTS BY total = 10, LIMIT 3", "the comma before LIMIT is one too many"),
            ("EVENTS WHERE type = 'a' OR Order 1", "a condition is true or false, and Order 1 is an entity"),
            ("EVENTS GROUP BY type SELECT count() ORDER BY count", "no column and no field 'count'"),
            ("EVENTS WHERE data.total = abc", "a text is quoted, as 'abc'"),
            ("EVENTS BY total = upper('a')", "BY takes values, and no call"),
            ("EVENTS WHERE created_at > NOW", "did you mean timestamp or data.created_at?"),
            ("EVENTS GROUP BY all SELECT count()", "GROUP BY names what it groups by"),
            ("EVENTS BY timestamp > '2024-01-01'", "BY timestamp is not needed"),
            ("DEFINE INDEX five ON '*' AS 5", "5 is the same for every event"),
        ] {
            let error = db.query(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        // Kinds of such names are there to be had.
        for text in ["EVENTS WHERE actor = Order 42", "EVENTS WHERE actor = `limit` 3", "EVENTS BY Last 3"] {
            assert_eq!(db.query(text).unwrap().rows.count(), 0, "{text}");
        }
        assert_eq!(
            hinted(&db, "EVENTS BY Order 1"),
            "no events by Order 1, an actor; did you mean BY target = Order 1?"
        );
        assert_eq!(
            hinted(&db, "EVENTS BY total '1'"),
            "no events by total 1, an actor; did you mean BY total = '1'?"
        );
        assert_eq!(hinted(&db, "EVENTS BY Nobody 1"), "no events by Nobody 1, an actor");
        // What is compared with another sort can never be: so it is of those who wait, and of what is expected.
        for text in [
            "EVENTS BY total = '10'",
            "SUBSCRIBE '*' BY total = '10'",
            "EMIT Order.created 2 EXPECT NONE (BY total = '10')",
            "EXPLAIN EMIT Order.created 2 EXPECT NONE ('Order.*' BY total = '10')",
            "ATOMIC (EMIT Order.created 2; EMIT Order.created 3 EXPECT NONE (BY total = '10'))",
            "ATOMIC (EMIT Order.created 2; EMIT Order.created 3) EXPECT NONE (BY total = '10')",
        ] {
            let hint = "total holds a number 10, and '10' is text; did you mean 10?";
            assert_eq!(hinted(&db, text), hint, "{text}");
        }
        let hint = "data.total is a number in the one event looked at, and '10' is text; did you mean 10?";
        assert_eq!(hinted(&db, "SUBSCRIBE '*' WHERE data.total = '10'"), hint);
        for text in
            ["EMIT Order.created 2 EXPECT NONE (BY total = 10)", "SUBSCRIBE '*' WHERE data.total = 11"]
        {
            assert_eq!(hinted(&db, text), "", "{text}");
        }
    }

    #[test]
    fn a_parameter_may_be_any_point() {
        let db = Db::in_memory().unwrap();
        db.append_all((0..3).map(|n| NewEvent::new("Order.paid").on(("Order", n)))).unwrap();
        for (since, count) in [("#2", 1), ("-1d", 3), ("2000-01-01", 3)] {
            let parameters = Parameters::new().set("since", since);
            assert_eq!(
                db.query_with("EVENTS SINCE $since", &parameters).unwrap().rows.count(),
                count,
                "{since}"
            );
        }
        assert!(db.query_with("EVENTS SINCE $since", &Parameters::new().set("since", "#9")).is_err());
    }

    /// Found by the fuzz target `query`: a scan found what no index holds.
    #[test]
    fn what_an_index_does_not_hold_is_not_found_by_it_in_a_scan_either() {
        let db = Db::in_memory().unwrap();
        let ask = |text: &str| db.query(text).unwrap().rows.count();
        ask("DEFINE INDEX total ON '*' AS data.total");
        assert!(db.wait_for_indexes(std::time::Duration::from_secs(60)).unwrap());
        let long = "x".repeat(600);
        for total in ["{k: 1}", "NULL", "1", "'a'", &format!("'{long}'"), "[{}, 2]"] {
            ask(&format!("EMIT Order.created 1 {{total: {total}}}"));
        }
        for (by, found) in [("total != TRUE", 4), ("total >= 'a'", 2), ("total < 5", 2)] {
            assert_eq!(ask(&format!("EVENTS BY {by}")), found, "{by}");
            // Few enough that a list is taken, or so many that all are read: the same.
            assert_eq!(ask(&format!("EVENTS 'Order.*' BY {by}")), found, "{by}");
        }
    }

    #[test]
    fn a_long_read_ends_when_it_is_cancelled() {
        let db = Db::in_memory().unwrap();
        db.append_all((0..3000).map(|n| NewEvent::new("Order.paid").on(("Order", n)))).unwrap();
        let cancel = Cancel::new();
        let mut rows = db.cancelled_by(&cancel).query("EVENTS WHERE data.never = 1").unwrap().rows;
        cancel.cancel();
        assert!(rows.next().unwrap().unwrap_err().to_string().contains("cancelled"));
        assert!(rows.next().is_none());
    }
}
