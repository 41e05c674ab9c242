//! Views, as they change: the rows there are, a mark, and from then on each row that becomes another one.
//!
//! Where another definition takes the place of the one that answered, that is told as a mark: all rows before it are void, and those
//! of the new one come, up to the caught-up mark. So whoever clears what they have at that mark has the view again.
//!
//! Whenever the durable log has moved, the view is read as of there and compared with what was told before: whoever is slow misses
//! steps in between, and never where it has come to. So what is told adds up to the view at any time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::cancel::Cancel;
use crate::entity::Position;
use crate::error::Result;
use crate::exec::{Changing, Row, ViewCaches, changing};
use crate::plan::access_path::view::ViewSubscriptionPlan as Plan;
use crate::plan::{SubscriptionEnd, recorded_before};
use crate::store::Shared;
use crate::store::log_progress::WaitResult;
use crate::store::snapshot::Snapshot;
use crate::telemetry::OpenSubscription;
use crate::value::{Object, Value};

/// What a row that is no more is told with, in front of what it was known by.
const REMOVED: &str = "removed";

/// What is wanted, as of a snapshot: the view may be defined anew meanwhile.
type Bind = Box<dyn Fn(&Snapshot) -> Result<Plan> + Send>;

/// `SUBSCRIBE VIEW`: a blocking iterator over rows.
pub(crate) struct ViewSubscription {
    shared: Arc<Shared>,
    views: Arc<ViewCaches>,
    bind: Bind,
    /// The log was looked at up to here; not yet, where none.
    after: Option<Position>,
    name: String,
    /// The definition that answered last.
    definition: Position,
    /// What was told and holds, with what it is known by. Not of rows that never change.
    told: BTreeMap<Box<[u8]>, (Row, Object)>,
    pending: VecDeque<Row>,
    until: Option<SubscriptionEnd>,
    limit: Option<u64>,
    caught_up: bool,
    cancel: Cancel,
    /// Kept so that the handle can wake it while it lives.
    _wake: Arc<dyn Fn() + Send + Sync>,
    ended: bool,
    /// It is counted as long as it is open.
    open: OpenSubscription,
}

impl fmt::Debug for ViewSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewSubscription(of {} up to {:?})", self.definition, self.after)
    }
}

impl ViewSubscription {
    pub fn new(
        shared: Arc<Shared>,
        views: Arc<ViewCaches>,
        plan: &Plan,
        bind: Bind,
        cancel: &Cancel,
    ) -> ViewSubscription {
        let waked = shared.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waked.log_progress.wake());
        cancel.on_cancel(&wake);
        let open = shared.counts.subscribe(Position::START);
        ViewSubscription {
            shared,
            views,
            bind,
            after: None,
            name: plan.read.view.name.clone(),
            definition: plan.read.view.position,
            told: BTreeMap::new(),
            pending: VecDeque::new(),
            until: plan.until,
            limit: plan.limit,
            caught_up: false,
            cancel: cancel.clone(),
            _wake: wake,
            ended: false,
            open,
        }
    }

    fn advance(&mut self) -> Result<Option<Row>> {
        while !self.cancel.is_cancelled() && self.limit != Some(0) {
            self.cancel.check()?;
            if let Some(row) = self.pending.pop_front() {
                if !matches!(row, Row::Redefined(_)) {
                    self.limit = self.limit.map(|left| left - 1);
                }
                return Ok(Some(row));
            }
            // All before the catalog is looked at, so that no swap is missed; the log before the clock, so that all that is looked at
            // was recorded before an instant that still lies ahead.
            let swaps = self.shared.log_progress.swaps();
            let synced = self.shared.log_progress.synced();
            self.find_end()?;
            let goal = match self.until {
                Some(SubscriptionEnd::Position(until)) => until.min(synced),
                _ => synced,
            };
            if self.after.is_none_or(|after| after < goal) {
                self.look(goal)?;
                continue;
            }
            if self.is_over() {
                break;
            }
            if self.is_swapped() {
                self.look(goal)?;
                continue;
            }
            if !self.caught_up {
                self.caught_up = true;
                return Ok(Some(Row::CaughtUp(goal)));
            }
            let wake = [self.last_instant(), self.cancel.deadline()].into_iter().flatten().min();
            let watch = &self.shared.log_progress;
            let stop = || self.cancel.is_cancelled() || watch.swaps() != swaps;
            if let WaitResult::Closed = watch.wait_past(goal, wake, &stop)
                && (watch.is_closed() || self.cancel.is_cancelled())
            {
                break;
            }
        }
        Ok(None)
    }

    /// Whether nothing that comes from now on is wanted.
    fn is_over(&self) -> bool {
        match self.until {
            Some(SubscriptionEnd::Position(until)) => self.after >= Some(until),
            Some(SubscriptionEnd::Recorded(_)) | None => false,
        }
    }

    /// Once an instant has come, the end is the last event that was recorded before it.
    fn find_end(&mut self) -> Result<()> {
        if let Some(SubscriptionEnd::Recorded(until)) = self.until
            && self.shared.options.clock.now() >= until
        {
            // What is being committed may have been recorded before.
            self.shared.commits.commit_barrier();
            self.until = Some(SubscriptionEnd::Position(recorded_before(&self.shared.snapshot(), until)?));
        }
        Ok(())
    }

    /// Whether another definition answers than the one that answered last.
    fn is_swapped(&self) -> bool {
        let catalog = self.shared.applied.catalog();
        catalog.usable_view(&self.name).is_some_and(|view| view.position != self.definition)
    }

    /// When `find_end` is to be asked again.
    fn last_instant(&self) -> Option<Instant> {
        let Some(SubscriptionEnd::Recorded(until)) = self.until else { return None };
        Instant::now().checked_add(self.shared.options.clock.until(until))
    }

    /// Compares the view as of a position with what was told.
    fn look(&mut self, goal: Position) -> Result<()> {
        let snapshot = self.shared.snapshot().until(goal).cancelled_by(&self.cancel);
        let plan = (self.bind)(&snapshot)?;
        let definition = plan.read.view.position;
        let after = match self.after {
            Some(_) if definition != self.definition => {
                // What is known of the rows before is of no use to whoever has them.
                self.told.clear();
                self.pending.push_back(Row::Redefined(definition));
                self.caught_up = false;
                None
            }
            after => after,
        };
        match changing(&snapshot, &self.views, &plan.read, after)? {
            Changing::Same => {}
            Changing::Added(rows) => self.pending.extend(rows),
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
        self.definition = definition;
        self.after = Some(goal);
        self.open.is_at(goal);
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
        next.filter(|next| next.is_ok() || !self.shared.log_progress.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::cancel::Cancel;
    use crate::db::Db;
    use crate::exec::Row;
    use crate::store::{Durability, Options};
    use crate::time::{Clock, Timestamp};
    use crate::value::Value;

    fn run(db: &Db, text: &str) {
        db.query(text).unwrap().rows.for_each(|row| drop(row.unwrap()));
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
        let subscribe = |text: &str| db.cancelled_by(&cancel).query(text).unwrap().rows;
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
        assert_eq!(db.query("SUBSCRIBE VIEW orders UNTIL NOW").unwrap().rows.count(), 0);
    }

    #[test]
    fn a_swap_is_told_though_nothing_happens_and_all_before_it_is_void() {
        let db = Db::in_memory().unwrap();
        let subscribe = |text: &str| db.query(text).unwrap().rows;
        let settle = || assert!(db.wait_for_indexes(Duration::from_secs(60)).unwrap());
        run(&db, "EMIT Order.paid 1 {n: 1}");
        run(&db, "EMIT Order.paid 2 {n: 5}");
        run(&db, "DEFINE VIEW v AS EVENTS 'Order.*' GROUP BY target.id AS id SELECT sum(data.n) AS sum");
        settle();
        let mut rows = subscribe("SUBSCRIBE VIEW v LIMIT 5");
        assert_eq!(
            next(&mut rows, 3),
            [r#"{"id":"1","sum":1}"#, r#"{"id":"2","sum":5}"#, r#"{"mark":"caughtUp","position":3}"#]
        );
        run(&db, "DEFINE VIEW v AS EVENTS 'Order.*' WHERE data.n > 1 SELECT data.n AS n");
        assert_eq!(next(&mut rows, 2), [r#"{"mark":"redefined","position":4}"#, r#"{"n":5}"#]);
        assert!(next(&mut rows, 1)[0].contains("caughtUp"));
        run(&db, "DEFINE VIEW v AS EVENTS 'Order.*' WHERE data.n > 0 SELECT data.n AS n");
        let told = [r#"{"mark":"redefined","position":5}"#, r#"{"n":1}"#, r#"{"n":5}"#];
        assert_eq!(next(&mut rows, 3), told);
        // Marks are no rows.
        assert!(rows.next().is_none());
    }

    #[test]
    fn it_ends_with_the_position_that_is_said_though_that_is_not_durable_yet() {
        let lazy = Durability::Interval(Duration::from_millis(200));
        let db = Options::new().durability(lazy).in_memory().unwrap();
        run(&db, "DEFINE VIEW v AS EVENTS 'Order.*' SELECT data.n AS n");
        for n in 0..20 {
            run(&db, &format!("EMIT Order.paid 1 {{n: {n}}}"));
        }
        let rows = db.query("SUBSCRIBE VIEW v UNTIL #20").unwrap().rows;
        let told: Vec<String> =
            rows.map(|row| line(row.unwrap())).filter(|row| !row.contains("mark")).collect();
        assert_eq!(told.len(), 19);
    }

    #[test]
    fn it_ends_before_an_instant_however_late_one_looks() {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = now.clone();
        let clock = Clock::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)));
        let db = Options::new().clock(clock).in_memory().unwrap();
        run(&db, "DEFINE VIEW v AS EVENTS 'Order.*' SELECT data.n AS n");
        let rows = db.query("SUBSCRIBE VIEW v UNTIL '1970-01-01T00:00:02Z'").unwrap().rows;
        run(&db, "EMIT Order.paid 1 {n: 1}");
        now.store(2_000, Ordering::SeqCst);
        run(&db, "EMIT Order.paid 1 {n: 2}");
        assert_eq!(rows.map(|row| line(row.unwrap())).collect::<Vec<_>>(), [r#"{"n":1}"#]);
    }

    /// Whoever follows a view, as the manual tells them to.
    #[derive(Default)]
    struct ViewFollower {
        rows: BTreeMap<String, String>,
        more: usize,
    }

    impl ViewFollower {
        fn take(&mut self, row: Row) {
            let text = line(row);
            let Value::Object(mut row) = text.parse().unwrap() else { panic!("{text}") };
            match row.get("mark").map(|mark| mark.as_text().unwrap().to_owned()) {
                Some(mark) if mark == "redefined" => return self.rows.clear(),
                Some(_) => return,
                None => {}
            }
            let key = row.get("target").or(row.get("g")).map(Value::to_string);
            if row.contains_key("removed") {
                assert!(self.rows.remove(&key.unwrap()).is_some(), "{text}");
                return;
            }
            self.more += 1;
            row.shift_remove("target");
            self.rows.insert(key.unwrap_or(format!("event {}", self.more)), Value::Object(row).to_string());
        }
    }

    const VIEWS: [&str; 5] = [
        "EVENTS 'Order.paid' GROUP BY data.c AS g SELECT sum(data.n) AS n HAVING sum(data.n) > 2",
        "EVENTS 'Order.paid' GROUP BY data.n % 3 AS g SELECT count() AS n",
        "EVENTS 'Order.paid' WHERE data.n > 1 SELECT data.c AS c, data.n AS n",
        "FIND Order WHERE state.n > 3 SELECT state.n AS n",
        "FIND Order WHERE state.n > 0 GROUP BY state.n % 2 AS g SELECT count() AS count",
    ];

    #[derive(Debug, Clone)]
    enum Op {
        Emit(usize, i64),
        Define(usize),
        Checkpoint,
        Settle,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            12 => (0usize..3, -4i64..6).prop_map(|(id, n)| Op::Emit(id, n)),
            3 => (0usize..VIEWS.len()).prop_map(Op::Define),
            1 => Just(Op::Checkpoint),
            1 => Just(Op::Settle),
        ]
    }

    fn told_is_read(ops: &[Op]) {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = now.clone();
        let clock = Clock::new(move || Timestamp::from_millis(clock.load(Ordering::SeqCst)));
        let db = Options::new().clock(clock).memtable(9, 1 << 20).in_memory().unwrap();
        let settle = || assert!(db.wait_for_indexes(Duration::from_secs(60)).unwrap());
        let emit = |id: usize, n: i64| {
            run(&db, &format!("EMIT Order.paid {id} {{c: 'c{}', n: {n}}}", (id as i64 + n).rem_euclid(3)));
        };
        run(&db, "DEFINE ENTITY Order ON paid SET n = coalesce(state.n, 0) + data.n");
        run(&db, &format!("DEFINE VIEW v AS {}", VIEWS[0]));
        let until = "SUBSCRIBE VIEW v UNTIL '1970-01-01T00:00:02Z'";
        let rows = db.query(until).unwrap().rows;
        let following = std::thread::spawn(move || {
            let mut follower = ViewFollower::default();
            rows.for_each(|row| follower.take(row.unwrap()));
            follower.rows.into_values().collect::<Vec<_>>()
        });
        for op in ops {
            match op {
                Op::Emit(id, n) => emit(*id, *n),
                Op::Define(view) => run(&db, &format!("DEFINE VIEW v AS {}", VIEWS[*view])),
                Op::Checkpoint => run(&db, "CHECKPOINT"),
                Op::Settle => settle(),
            }
        }
        settle();
        // By now it is the newest definition that answers: what is looked at last is by that one.
        emit(1, 1);
        now.store(2_000, Ordering::SeqCst);
        run(&db, "EMIT Other.noted 1");
        let mut told = following.join().unwrap();
        let mut read: Vec<String> = db.query("READ v").unwrap().rows.map(|row| line(row.unwrap())).collect();
        told.sort();
        read.sort();
        assert_eq!(told, read);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn what_is_told_adds_up_to_the_view(ops in prop::collection::vec(op(), 1..30)) {
            told_is_read(&ops);
        }
    }
}
