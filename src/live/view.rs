//! Views, as they change: the rows there are, a mark, and from then on each row that becomes another one.
//!
//! Whenever the durable log has moved, the view is read as of there and compared with what was told before: whoever is slow misses
//! steps in between, and never where it has come to. So what is told adds up to the view at any time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::Result;
use crate::exec::{Changing, Row, changing};
use crate::plan::Until;
use crate::plan::view::ViewSubscription as Plan;
use crate::store::Shared;
use crate::store::snapshot::Snapshot;
use crate::store::watch::Moved;
use crate::value::{Object, Value};

/// What a row that is no more is told with, in front of what it was known by.
const REMOVED: &str = "removed";

/// What is wanted, as of a snapshot: the view may be defined anew meanwhile.
type Bind = Box<dyn Fn(&Snapshot) -> Result<Plan> + Send>;

/// `SUBSCRIBE VIEW`: a blocking iterator over rows.
pub(crate) struct ViewSubscription {
    shared: Arc<Shared>,
    bind: Bind,
    /// The log was looked at up to here; not yet, where none.
    after: Option<u64>,
    /// The definition that answered last.
    definition: Position,
    /// What was told and holds, with what it is known by. Not of rows that never change.
    told: BTreeMap<Box<[u8]>, (Row, Object)>,
    pending: VecDeque<Row>,
    until: Option<Until>,
    limit: Option<u64>,
    caught_up: bool,
    cancel: Cancel,
    /// Kept so that the handle can wake it while it lives.
    _wake: Arc<dyn Fn() + Send + Sync>,
    ended: bool,
}

impl fmt::Debug for ViewSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewSubscription(of {} up to {:?})", self.definition, self.after)
    }
}

impl ViewSubscription {
    pub fn new(shared: Arc<Shared>, plan: &Plan, bind: Bind, cancel: &Cancel) -> ViewSubscription {
        let waked = shared.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waked.watch.wake());
        cancel.on_cancel(&wake);
        ViewSubscription {
            shared,
            bind,
            after: None,
            definition: plan.read.view.position,
            told: BTreeMap::new(),
            pending: VecDeque::new(),
            until: plan.until,
            limit: plan.limit,
            caught_up: false,
            cancel: cancel.clone(),
            _wake: wake,
            ended: false,
        }
    }

    fn advance(&mut self) -> Result<Option<Row>> {
        while !self.cancel.is_cancelled() && self.limit != Some(0) {
            self.cancel.check()?;
            if let Some(row) = self.pending.pop_front() {
                self.limit = self.limit.map(|left| left - 1);
                return Ok(Some(row));
            }
            let synced = self.shared.watch.synced();
            let goal = match self.until {
                Some(Until::Position(until)) => until.0.min(synced),
                _ => synced,
            };
            if self.after.is_none_or(|after| after < goal) {
                self.look(goal)?;
                continue;
            }
            if self.is_over() {
                break;
            }
            if !self.caught_up {
                self.caught_up = true;
                return Ok(Some(Row::CaughtUp(Position(goal))));
            }
            let wake = [self.last_instant(), self.cancel.deadline()].into_iter().flatten().min();
            let cancel = self.cancel.clone();
            if let Moved::Closed = self.shared.watch.wait_past(goal, wake, &|| cancel.is_cancelled()) {
                break;
            }
        }
        Ok(None)
    }

    /// Whether nothing that comes from now on is wanted.
    fn is_over(&self) -> bool {
        match self.until {
            Some(Until::Position(until)) => self.after >= Some(until.0),
            Some(Until::Recorded(until)) => self.shared.options.clock.now() >= until,
            None => false,
        }
    }

    /// When `is_over` is to be asked again.
    fn last_instant(&self) -> Option<Instant> {
        let Some(Until::Recorded(until)) = self.until else { return None };
        let left = until.as_millis().saturating_sub(self.shared.options.clock.now().as_millis());
        Instant::now().checked_add(Duration::from_millis(u64::try_from(left).unwrap_or(0) + 1))
    }

    /// Compares the view as of a position with what was told.
    fn look(&mut self, goal: u64) -> Result<()> {
        let snapshot = self.shared.snapshot().until(Position(goal)).cancelled_by(&self.cancel);
        let plan = (self.bind)(&snapshot)?;
        let same = plan.read.view.position == self.definition;
        let after = self.after.filter(|_| same);
        match changing(&snapshot, &plan.read, after)? {
            Changing::Same => {}
            Changing::Added(rows) => {
                // Those of another definition were other rows.
                let before = std::mem::take(&mut self.told);
                self.pending.extend(before.into_values().map(|(_, known)| removed(known)));
                self.pending.extend(rows);
            }
            Changing::All(rows) => {
                let mut before = std::mem::replace(&mut self.told, rows);
                let mut changed = Vec::new();
                for (key, (row, _)) in &self.told {
                    match before.remove(key) {
                        Some((told, _)) if told == *row => {}
                        _ => changed.push(row.clone()),
                    }
                }
                self.pending.extend(before.into_values().map(|(_, known)| removed(known)));
                self.pending.extend(changed);
            }
        }
        self.definition = plan.read.view.position;
        self.after = Some(goal);
        Ok(())
    }
}

/// What is told of a row that is no more.
fn removed(known: Object) -> Row {
    let mut row = Object::from_iter([(REMOVED.to_owned(), Value::Bool(true))]);
    row.extend(known);
    row.into()
}

impl Iterator for ViewSubscription {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        // Whoever waits as the database is closed is at the end, and nothing is wrong.
        next.filter(|next| next.is_ok() || !self.shared.watch.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use crate::cancel::Cancel;
    use crate::db::Db;
    use crate::exec::Row;
    use crate::plan::Parameters;

    fn run(db: &Db, text: &str) {
        db.query(text, &Parameters::new()).unwrap().rows.for_each(|row| drop(row.unwrap()));
    }

    fn line(row: Row) -> String {
        serde_json::to_string(&row).unwrap()
    }

    /// Rows up to and with so many.
    fn next(rows: &mut crate::exec::Rows, count: usize) -> Vec<String> {
        rows.take(count).map(|row| line(row.unwrap())).collect()
    }

    #[test]
    fn rows_are_told_and_then_those_that_change() {
        let db = Db::in_memory().unwrap();
        let paid = |customer: &str, total: i64| {
            run(&db, &format!("EMIT Order.paid 1 {{customer: '{customer}', total: {total}}}"));
        };
        run(
            &db,
            "DEFINE VIEW v AS EVENTS 'Order.paid' GROUP BY data.customer AS c SELECT sum(data.total) AS sum HAVING sum(data.total) > 0",
        );
        paid("a", 1);
        paid("b", 2);
        let cancel = Cancel::new();
        let subscribe = |text: &str| db.query_with(text, &Parameters::new(), &cancel).unwrap().rows;
        let mut rows = subscribe("SUBSCRIBE VIEW v");
        let told = [r#"{"c":"a","sum":1}"#, r#"{"c":"b","sum":2}"#, r#"{"mark":"caughtUp","position":3}"#];
        assert_eq!(next(&mut rows, 3), told);
        paid("b", 5);
        assert_eq!(next(&mut rows, 1), [r#"{"c":"b","sum":7}"#]);
        paid("a", -1);
        assert_eq!(next(&mut rows, 1), [r#"{"removed":true,"c":"a"}"#]);
        // What changes nothing is not told.
        run(&db, "EMIT Order.noted 1");
        paid("c", 3);
        assert_eq!(next(&mut rows, 1), [r#"{"c":"c","sum":3}"#]);
        run(&db, "DROP VIEW v");
        assert!(rows.next().unwrap().unwrap_err().to_string().contains("no view 'v' is defined"));
        assert!(rows.next().is_none());

        run(&db, "DEFINE VIEW large AS EVENTS 'Order.paid' WHERE data.total > 4 SELECT data.total AS total");
        let mut rows = subscribe("SUBSCRIBE VIEW large LIMIT 2");
        assert_eq!(next(&mut rows, 1), [r#"{"total":5}"#]);
        assert!(next(&mut rows, 1)[0].contains("caughtUp"));
        paid("d", 1);
        paid("d", 9);
        assert_eq!(next(&mut rows, 2), [r#"{"total":9}"#]);

        run(&db, "DEFINE ENTITY Order ON paid SET n = data.total ON closed DELETE");
        run(&db, "DEFINE VIEW orders AS FIND Order WHERE state.n > 5 SELECT state.n AS n");
        let mut rows = subscribe("SUBSCRIBE VIEW orders");
        assert_eq!(next(&mut rows, 1), [r#"{"target":{"type":"Order","id":"1"},"n":9}"#]);
        assert!(next(&mut rows, 1)[0].contains("caughtUp"));
        paid("d", 10);
        assert_eq!(next(&mut rows, 1), [r#"{"target":{"type":"Order","id":"1"},"n":10}"#]);
        run(&db, "EMIT Order.closed 1");
        assert_eq!(next(&mut rows, 1), [r#"{"removed":true,"target":{"type":"Order","id":"1"}}"#]);
        // Whoever waits is waked.
        let waiting = std::thread::spawn(move || rows.next().is_none());
        cancel.cancel();
        assert!(waiting.join().unwrap());
        assert_eq!(db.query("SUBSCRIBE VIEW orders UNTIL NOW", &Parameters::new()).unwrap().rows.count(), 0);
    }
}
