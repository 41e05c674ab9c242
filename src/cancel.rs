//! Ending what takes long: from another thread, or after a time.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A handle that ends a statement or a subscription from another thread, or after a time. Clones are one handle.
///
/// ```
/// use bygone::{Cancel, Db};
/// let db = Db::in_memory()?;
/// let cancel = Cancel::new();
/// let rows = db.cancelled_by(&cancel).query("SUBSCRIBE '*'")?.rows;
/// cancel.cancel();
/// // The past is delivered, and the mark that it was; then it ends instead of waiting.
/// assert!(rows.count() <= 1);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelInner>);

#[derive(Default)]
struct CancelInner {
    cancelled: AtomicBool,
    limit: Option<Limit>,
    /// Those that end it, too.
    others: Vec<Cancel>,
    /// What wakes those who wait, while they live.
    wake: Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>,
    /// Who is told how far it has come.
    progress: OnceLock<Box<dyn Fn(WorkProgress) + Send + Sync>>,
}

/// How far something has come that takes long, as [`Cancel::on_progress`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkProgress {
    /// So many events it has gone through.
    pub events: u64,
    /// Of so many. What is left when all of them are is not counted.
    pub of: u64,
}

#[derive(Clone, Copy)]
struct Limit {
    after: Duration,
    /// None where the time is longer than the clock can tell.
    deadline: Option<Instant>,
}

impl Cancel {
    /// A handle that nothing hangs on yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// A handle that also ends what hangs on it once this time has passed, counted from now: with
    /// [`Error::Stopped`], between two rows or while rows are sought.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bygone::{Cancel, Db, Error};
    /// let db = Db::in_memory()?;
    /// let limit = Cancel::after(Duration::from_millis(1));
    /// let mut rows = db.cancelled_by(&limit).query("SUBSCRIBE '*'")?.rows;
    /// assert!(matches!(rows.find(|row| row.is_err()), Some(Err(Error::Stopped { .. }))));
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn after(limit: Duration) -> Cancel {
        let limit = Limit { after: limit, deadline: Instant::now().checked_add(limit) };
        Cancel(Arc::new(CancelInner { limit: Some(limit), ..CancelInner::default() }))
    }

    /// Calls this now and then with how far it is what hangs on this handle, where it goes through the log: `VERIFY`, `BACKUP` and `COMPACT` do.
    /// It is called where the work is done, which waits for it. Only the first that is given is called.
    ///
    /// ```
    /// use bygone::{Cancel, Db};
    /// let db = Db::in_memory()?;
    /// db.query("EMIT Order.paid 42")?;
    /// let cancel = Cancel::new();
    /// cancel.on_progress(|so_far| println!("{} of {} events", so_far.events, so_far.of));
    /// db.cancelled_by(&cancel).query("VERIFY")?;
    /// # Ok::<(), bygone::Error>(())
    /// ```
    pub fn on_progress(&self, told: impl Fn(WorkProgress) + Send + Sync + 'static) {
        let _ = self.0.progress.set(Box::new(told));
    }

    /// Tells how far it is what hangs on it.
    pub(crate) fn tell(&self, events: u64, of: u64) {
        self.0.others.iter().for_each(|other| other.tell(events, of));
        if let Some(told) = self.0.progress.get() {
            told(WorkProgress { events, of });
        }
    }

    /// A handle of its own that others end, too.
    pub(crate) fn among(others: Vec<Cancel>) -> Cancel {
        Cancel(Arc::new(CancelInner { others, ..CancelInner::default() }))
    }

    /// Whether to go on: an error once it was cancelled, or its time has passed.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.others.iter().try_for_each(Cancel::check)?;
        if self.is_cancelled() {
            return Err(Error::stopped("it was cancelled"));
        }
        match self.0.limit {
            Some(limit) if limit.deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                let limit = crate::time::display_duration(limit.after);
                Err(Error::stopped(format!("it took longer than its time limit of {limit}")))
            }
            _ => Ok(()),
        }
    }

    /// How long what hangs on it may take yet, if it has a limit.
    #[cfg(feature = "share")]
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// When its time has passed, if it has a limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = self.0.limit.and_then(|limit| limit.deadline);
        self.0.others.iter().filter_map(Cancel::deadline).chain(own).min()
    }

    /// Ends what hangs on this handle, now and later.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let wakes = std::mem::take(&mut *self.0.wake.lock().unwrap_or_else(PoisonError::into_inner));
        for wake in wakes.iter().filter_map(Weak::upgrade) {
            wake();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst) || self.0.others.iter().any(Cancel::is_cancelled)
    }

    /// Calls this when it is cancelled: at once if it is already.
    pub(crate) fn on_cancel(&self, wake: &Arc<dyn Fn() + Send + Sync>) {
        self.0.others.iter().for_each(|other| other.on_cancel(wake));
        let mut wakes = self.0.wake.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            return wake();
        }
        wakes.retain(|wake| wake.strong_count() > 0);
        wakes.push(Arc::downgrade(wake));
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}
