//! Cancelling what takes long, from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A handle that ends a statement or a subscription from another thread. Clones are one handle.
///
/// ```
/// use bygone::{Cancel, Db, Parameters};
/// let db = Db::in_memory()?;
/// let cancel = Cancel::new();
/// let rows = db.query_with("SUBSCRIBE '*'", &Parameters::new(), &cancel)?.rows;
/// cancel.cancel();
/// // The past is delivered, and the mark that it was; then it ends instead of waiting.
/// assert!(rows.count() <= 1);
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    /// What wakes those who wait, while they live.
    wake: Mutex<Vec<Weak<dyn Fn() + Send + Sync>>>,
}

impl Cancel {
    /// A handle that nothing hangs on yet.
    pub fn new() -> Cancel {
        Cancel::default()
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
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Calls this when it is cancelled: at once if it is already.
    pub(crate) fn on_cancel(&self, wake: &Arc<dyn Fn() + Send + Sync>) {
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
