//! Projections: what a program makes of the log, kept in a place of its own.
//!
//! What a view cannot say, or what is to stand in another database, a program keeps by itself. For each event to take effect exactly once,
//! up to where they did has to be committed together with what they did, in one transaction of that place: then there is
//! nothing in between for a crash to come to.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::cancel::Cancel;
use crate::db::Db;
use crate::entity::Position;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::exec::EventScan;
use crate::pattern::Pattern;
use crate::plan::{AccessQuery, LogWindow, RowLimit, choose};
use crate::store::Shared;
use crate::store::log_progress::WaitResult;

/// How many events are applied at a time, and how many bytes of them about.
const BATCH: usize = 1000;
const BYTES: usize = 4 << 20;

/// So many events that are not of the pattern are passed over before that is committed by itself.
const PASSED: u64 = 1000;

/// What a program keeps of the log, with a place in the log that is committed together with it.
///
/// A table of another database, here redb, with the events and the checkpoint in one transaction:
///
/// ```
/// use bygone::project::Projection;
/// use bygone::{Db, Event, NewEvent, Pattern, Position};
/// use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, backends::InMemoryBackend};
///
/// const TOTALS: TableDefinition<&str, i64> = TableDefinition::new("totals");
/// const PLACE: TableDefinition<(), u64> = TableDefinition::new("place");
///
/// struct Totals(Database);
///
/// impl Projection for Totals {
///     type Error = Box<dyn std::error::Error>;
///
///     fn pattern(&self) -> Pattern {
///         "Order.paid".parse().expect("a pattern")
///     }
///
///     fn checkpoint(&mut self) -> Result<Position, Self::Error> {
///         let write = self.0.begin_write()?; // so that the table is there
///         let place = write.open_table(PLACE)?.get(())?.map_or(0, |place| place.value());
///         write.commit()?;
///         Ok(Position(place))
///     }
///
///     fn apply(&mut self, events: &[Event], checkpoint: Position) -> Result<(), Self::Error> {
///         let write = self.0.begin_write()?;
///         {
///             let mut totals = write.open_table(TOTALS)?;
///             for event in events {
///                 let Some(customer) = event.data.get("customer") else { continue };
///                 let customer = customer.to_string();
///                 let before = totals.get(customer.as_str())?.map_or(0, |total| total.value());
///                 let total = event.data.get("total").and_then(|total| total.as_i64()).unwrap_or(0);
///                 totals.insert(customer.as_str(), before + total)?;
///             }
///             write.open_table(PLACE)?.insert((), checkpoint.0)?;
///         }
///         write.commit()?;
///         Ok(())
///     }
/// }
///
/// let db = Db::in_memory()?;
/// let paid = |total: i64| NewEvent::new("Order.paid").member("customer", 7).member("total", total);
/// db.append_all([paid(10), paid(20)])?;
///
/// let mut totals = Totals(Database::builder().create_with_backend(InMemoryBackend::new())?);
/// assert_eq!(db.project(&mut totals)?, Position(2));
/// db.append(paid(3))?;
/// db.project(&mut totals)?;
/// let read = totals.0.begin_read()?;
/// assert_eq!(read.open_table(TOTALS)?.get("7")?.map(|total| total.value()), Some(33));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Projection {
    /// What may go wrong in the place where it is kept.
    type Error: From<Error>;

    /// Which events it is made of. Without a word: all of them.
    fn pattern(&self) -> Pattern {
        Pattern::all()
    }

    /// Up to where the log was applied: what [`apply`](Self::apply) committed last, or [`Position::START`].
    ///
    /// # Errors
    /// Whatever goes wrong in reading it.
    fn checkpoint(&mut self) -> std::result::Result<Position, Self::Error>;

    /// Applies events, in the order of the log, and makes their effect durable together with the checkpoint: both, or neither. There
    /// may be none of them; then the checkpoint alone moves on.
    ///
    /// # Errors
    /// Whatever goes wrong. The same events come again then, if the checkpoint is still before them.
    fn apply(&mut self, events: &[Event], checkpoint: Position) -> std::result::Result<(), Self::Error>;
}

impl Db {
    /// Brings a projection up to the log as it is now, as far as that is durable; and tells up to where it was looked at.
    ///
    /// A plain value is a projection, too. It begins anew with the program, unless that stores it whole:
    ///
    /// ```
    /// use bygone::project::Projection;
    /// use bygone::{Db, Event, NewEvent, Position};
    ///
    /// #[derive(Default)]
    /// struct Count {
    ///     events: u64,
    ///     through: Position,
    /// }
    ///
    /// impl Projection for Count {
    ///     type Error = bygone::Error;
    ///
    ///     fn checkpoint(&mut self) -> bygone::Result<Position> {
    ///         Ok(self.through)
    ///     }
    ///
    ///     fn apply(&mut self, events: &[Event], checkpoint: Position) -> bygone::Result<()> {
    ///         self.events += events.len() as u64;
    ///         self.through = checkpoint;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let db = Db::in_memory()?;
    /// db.append_all((0..3).map(|n| NewEvent::new("Order.paid").on(("Order", n))))?;
    /// let mut count = Count::default();
    /// db.project(&mut count)?;
    /// db.project(&mut count)?;
    /// assert_eq!(count.events, 3);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the projection says; what goes wrong in reading the log; and that its checkpoint lies beyond the head: it is then
    /// of another log, or of one that lost its end.
    pub fn project<P: Projection>(&self, projection: &mut P) -> std::result::Result<Position, P::Error> {
        catch_up(self.store().shared(), projection, &Cancel::new())
    }

    /// Keeps a projection up to the log from now on, on a thread of its own, until the handle is stopped or dropped, the database is
    /// closed, or something goes wrong, which [`ProjectionHandle::stop`] tells.
    ///
    /// ```
    /// # use bygone::project::Projection;
    /// # use bygone::{Db, Event, NewEvent, Position};
    /// # #[derive(Default)]
    /// # struct Count { events: u64, through: Position }
    /// # impl Projection for Count {
    /// #     type Error = bygone::Error;
    /// #     fn checkpoint(&mut self) -> bygone::Result<Position> { Ok(self.through) }
    /// #     fn apply(&mut self, events: &[Event], checkpoint: Position) -> bygone::Result<()> {
    /// #         self.events += events.len() as u64;
    /// #         self.through = checkpoint;
    /// #         Ok(())
    /// #     }
    /// # }
    /// let db = Db::in_memory()?;
    /// let counting = db.spawn_projection(Count::default())?;
    /// db.append(NewEvent::new("Order.paid").on(("Order", 42)))?;
    /// // What was durable as it is stopped has been applied.
    /// assert_eq!(counting.stop()?.events, 1);
    /// # Ok::<(), bygone::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn spawn_projection<P>(&self, mut projection: P) -> Result<ProjectionHandle<P>>
    where
        P: Projection + Send + 'static,
        P::Error: Send + 'static,
    {
        let (shared, cancel) = (self.store().shared().clone(), Cancel::new());
        let waked = shared.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waked.log_progress.wake());
        cancel.on_cancel(&wake);
        let stopped = cancel.clone();
        let follow = move || {
            loop {
                let is_last = stopped.is_cancelled();
                match catch_up(&shared, &mut projection, &Cancel::new()) {
                    Err(_) if shared.log_progress.is_closed() => return (projection, None),
                    Err(error) => return (projection, Some(error)),
                    Ok(_) if is_last => return (projection, None),
                    Ok(through) => {
                        let is_stopped = || stopped.is_cancelled();
                        if let WaitResult::Closed = shared.log_progress.wait_past(through, None, &is_stopped)
                        {
                            return (projection, None);
                        }
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("bygone-projection".to_owned()).spawn(follow);
        let thread = thread.map_err(|e| Error::io("starting a projection", e))?;
        Ok(ProjectionHandle { cancel, thread: Some(thread), _wake: wake })
    }
}

/// A projection that is kept up to the log. Dropping it stops it, once what it is at is done.
pub struct ProjectionHandle<P: Projection> {
    cancel: Cancel,
    thread: Option<JoinHandle<ProjectionSlot<P>>>,
    /// Kept so that the handle can wake the thread.
    _wake: Arc<dyn Fn() + Send + Sync>,
}

/// The projection, and what went wrong.
type ProjectionSlot<P> = (P, Option<<P as Projection>::Error>);

impl<P: Projection> fmt::Debug for ProjectionHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProjectionHandle(…)")
    }
}

impl<P: Projection> ProjectionHandle<P> {
    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops it, when what is durable by now has been applied, and gives the projection back.
    ///
    /// # Errors
    /// What went wrong.
    pub fn stop(mut self) -> std::result::Result<P, P::Error> {
        self.cancel.cancel();
        let interrupted = || P::Error::from(Error::stopped("a projection was interrupted by a panic"));
        let thread = self.thread.take().ok_or_else(interrupted)?;
        match thread.join() {
            Ok((projection, None)) => Ok(projection),
            Ok((_, Some(error))) => Err(error),
            Err(_) => Err(interrupted()),
        }
    }
}

impl<P: Projection> Drop for ProjectionHandle<P> {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // Whoever wants to know what went wrong calls `stop`.
            let _ = thread.join();
        }
    }
}

/// Applies what a projection has not seen yet of the durable log.
fn catch_up<P: Projection>(
    shared: &Arc<Shared>,
    projection: &mut P,
    cancel: &Cancel,
) -> std::result::Result<Position, P::Error> {
    let after = projection.checkpoint()?;
    let goal = shared.log_progress.synced();
    if after > goal {
        let found = format!("one at {after}, and the durable log ends at {goal}");
        let error = Error::invalid("the checkpoint of a projection", "a position of this log", found);
        return Err(P::Error::from(error));
    }
    let snapshot = shared.snapshot().until(goal).cancelled_by(cancel);
    let question = AccessQuery {
        pattern: Some(projection.pattern()),
        by: Vec::new(),
        predicate: None,
        window: LogWindow { after, ..LogWindow::through(goal) },
        take: RowLimit::All,
        indexed: false,
    };
    let mut committed = after;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for event in EventScan::new(&snapshot, &choose(&snapshot, question)?)? {
        let event = event?;
        if batch.len() == BATCH || bytes > BYTES {
            committed = event.position.previous();
            projection.apply(&batch, committed)?;
            (batch, bytes) = (Vec::new(), 0);
        }
        bytes += event.data.raw().0.len() + event.metadata.raw().0.len() + 256;
        batch.push(event);
    }
    if !batch.is_empty() || goal.since(committed) >= PASSED {
        projection.apply(&batch, goal)?;
    }
    Ok(goal)
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

    use super::*;
    use crate::event::NewEvent;

    const SUMS: TableDefinition<u64, i64> = TableDefinition::new("sums");
    const PLACE: TableDefinition<(), u64> = TableDefinition::new("place");

    /// Sums in a table; and it dies where it is told to.
    struct Sums {
        path: std::path::PathBuf,
        database: Option<Database>,
        applied: u32,
        /// Before, or after, the commit of which application.
        dies: Option<(bool, u32)>,
    }

    impl Sums {
        fn open(path: &std::path::Path, dies: Option<(bool, u32)>) -> Sums {
            let database = Some(Database::create(path).unwrap());
            Sums { path: path.to_owned(), database, applied: 0, dies }
        }

        fn all(&self) -> Vec<(u64, i64)> {
            let read = self.database.as_ref().unwrap().begin_read().unwrap();
            let Ok(table) = read.open_table(SUMS) else { return Vec::new() };
            table
                .range::<u64>(..)
                .unwrap()
                .map(|row| row.unwrap())
                .map(|(k, v)| (k.value(), v.value()))
                .collect()
        }
    }

    impl Projection for Sums {
        type Error = Error;

        fn pattern(&self) -> Pattern {
            "Order.paid".parse().unwrap()
        }

        fn checkpoint(&mut self) -> Result<Position> {
            let read = self.database.as_ref().unwrap().begin_read().unwrap();
            let Ok(place) = read.open_table(PLACE) else { return Ok(Position::START) };
            Ok(Position(place.get(()).unwrap().map_or(0, |place| place.value())))
        }

        fn apply(&mut self, events: &[Event], checkpoint: Position) -> Result<()> {
            self.applied += 1;
            let write = self.database.as_ref().unwrap().begin_write().unwrap();
            {
                let mut sums = write.open_table(SUMS).unwrap();
                for event in events {
                    let target: u64 = event.target.as_ref().unwrap().id().parse().unwrap();
                    let n = event.data.get("n").unwrap().as_i64().unwrap();
                    let before = sums.get(target).unwrap().map_or(0, |sum| sum.value());
                    sums.insert(target, before + n).unwrap();
                }
                write.open_table(PLACE).unwrap().insert((), checkpoint.0).unwrap();
            }
            let dies = self.dies.filter(|(_, at)| *at == self.applied);
            if matches!(dies, Some((true, _))) {
                drop(write);
                return Err(Error::stopped("killed before the commit"));
            }
            write.commit().unwrap();
            match dies {
                Some(_) => Err(Error::stopped("killed after the commit")),
                None => Ok(()),
            }
        }
    }

    fn emit(db: &Db, first: u64, count: u64) {
        let event = |n: u64| {
            let kind = if n.is_multiple_of(5) { "Order.noted" } else { "Order.paid" };
            NewEvent::new(kind).on(("Order", n % 3)).member("n", n as i64)
        };
        db.append_all((first..first + count).map(event)).unwrap();
    }

    fn expected(last: u64) -> Vec<(u64, i64)> {
        let mut sums = std::collections::BTreeMap::new();
        for n in (1..=last).filter(|n| !n.is_multiple_of(5)) {
            *sums.entry(n % 3).or_insert(0) += n as i64;
        }
        sums.into_iter().collect()
    }

    #[test]
    fn each_event_takes_effect_once_wherever_it_is_killed() {
        for (before, at) in [(true, 1), (true, 2), (false, 1), (false, 2), (true, 4), (false, 4)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sums.redb");
            let db = Db::in_memory().unwrap();
            emit(&db, 1, 3000);
            let mut sums = Sums::open(&path, Some((before, at)));
            let killed = db.project(&mut sums).is_err();
            drop(sums.database.take());
            emit(&db, 3001, 500);
            let mut sums = Sums::open(&sums.path, None);
            assert_eq!(db.project(&mut sums).unwrap(), Position(3500));
            assert_eq!(sums.all(), expected(3500), "killed {killed}: {before} {at}");
            assert_eq!(killed, at <= 3);
            // What is applied is not applied again.
            let applied = sums.applied;
            db.project(&mut sums).unwrap();
            assert_eq!(sums.applied, applied);
        }
    }

    #[test]
    fn what_is_passed_over_moves_the_checkpoint_from_time_to_time() {
        let db = Db::in_memory().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut sums = Sums::open(&folder.path().join("sums.redb"), None);
        let notes = |n: u64| db.append_all((0..n).map(|_| NewEvent::new("Order.noted"))).map(drop).unwrap();
        notes(PASSED - 1);
        db.project(&mut sums).unwrap();
        assert_eq!(sums.checkpoint().unwrap(), Position::START);
        notes(1);
        db.project(&mut sums).unwrap();
        assert_eq!(sums.checkpoint().unwrap(), Position(PASSED));
    }

    #[test]
    fn one_that_is_of_another_log_is_refused() {
        let db = Db::in_memory().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut sums = Sums::open(&folder.path().join("sums.redb"), None);
        sums.apply(&[], Position(7)).unwrap();
        let error = db.project(&mut sums).unwrap_err().to_string();
        assert!(error.contains("one at #7, and the durable log ends at #0"), "{error}");
    }

    #[test]
    fn it_is_kept_up_on_a_thread_and_tells_what_went_wrong() {
        let db = Db::in_memory().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kept = db.spawn_projection(Sums::open(&folder.path().join("sums.redb"), None)).unwrap();
        for first in 0..20 {
            emit(&db, first * 10 + 1, 10);
        }
        let sums = kept.stop().unwrap();
        assert_eq!(sums.all(), expected(200));
        drop(sums);
        let kept =
            db.spawn_projection(Sums::open(&folder.path().join("other.redb"), Some((true, 1)))).unwrap();
        assert!(kept.stop().err().unwrap().to_string().contains("killed before the commit"));
        let kept = db.spawn_projection(Sums::open(&folder.path().join("third.redb"), None)).unwrap();
        db.close().unwrap();
        assert!(kept.stop().is_ok());
    }
}
