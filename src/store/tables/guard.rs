//! What keeps a panic of redb from getting any further.
//!
//! redb trusts its pages: where one is damaged it may panic instead of telling so. Every call into it that reads a page runs in
//! [`reading`], which makes that an [`Error::Corrupt`]; [`writing`] does the same for a whole write. Neither lets the message of such
//! a panic reach the user: a hook, set once, is silent on a thread that is inside of one of these, and else calls the hook before it.
//!
//! A panic may leave a lock of redb poisoned. Then all that follows panics too, and says so: the tables are to be opened again.

use std::any::Any;
use std::cell::Cell;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::path::{Component, Path};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// What runs on a thread now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    /// A call into redb, and nothing else.
    Redb,
    /// A write: calls into redb, and what is written.
    Write,
}

thread_local! {
    static INSIDE: Cell<Inside> = const { Cell::new(Inside::Nothing) };
    /// Whether the last panic that was caught here was one of redb.
    static OF_REDB: Cell<bool> = const { Cell::new(false) };
}

/// Sets what a thread runs, and back to what it ran before.
struct Entered(Inside);

impl Entered {
    fn into(inside: Inside) -> Entered {
        Entered(INSIDE.replace(inside))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Sees to it that panics which are caught here are not told on the standard error: to be called before the first of them may come.
pub(super) fn silence() {
    static SET: Once = Once::new();
    // A thread that panics may not change the hook.
    if thread::panicking() {
        return;
    }
    SET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let caught = match INSIDE.try_with(Cell::get).unwrap_or(Inside::Nothing) {
                Inside::Nothing => false,
                Inside::Redb => true,
                Inside::Write => is_of_redb(panic),
            };
            let _ = OF_REDB.try_with(|of_redb| of_redb.set(caught));
            if !caught {
                before(panic);
            }
        }));
    });
}

fn is_of_redb(panic: &PanicHookInfo) -> bool {
    let within = |file: &str| {
        Path::new(file).components().any(|part| match part {
            Component::Normal(name) => {
                name.to_str().is_some_and(|name| name == "redb" || name.starts_with("redb-"))
            }
            _ => false,
        })
    };
    panic.location().is_some_and(|location| within(location.file()))
}

/// Calls redb, to read; a panic of it is damage, where it says it was reading.
#[inline]
pub(super) fn reading<T>(what: &str, poisoned: &AtomicBool, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let _entered = Entered::into(Inside::Redb);
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read,
        Err(panic) => Err(damaged(what, poisoned, panic)),
    }
}

#[cold]
fn damaged(what: &str, poisoned: &AtomicBool, panic: Box<dyn Any + Send>) -> Error {
    let by_another = is_poisoned(&*panic);
    // What it carries may be anything.
    quietly(|| drop(panic));
    if by_another {
        poisoned.store(true, Ordering::Release);
        // Once the tables are opened again, what is read may be whole.
        return Error::io(what, ErrorKind::Interrupted.into());
    }
    Error::corrupt(what, "a damaged page of the file")
}

/// A lock that another panic left behind.
fn is_poisoned(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).is_some_and(|text| text.contains("PoisonError"))
}

/// Runs a write. After a panic, whoever's it was, redb's locks may be poisoned.
pub(super) fn writing(doing: &str, poisoned: &AtomicBool, write: impl FnOnce() -> Result<()>) -> Result<()> {
    let _entered = Entered::into(Inside::Write);
    OF_REDB.set(false);
    match catch_unwind(AssertUnwindSafe(write)) {
        Ok(written) => written,
        Err(panic) => {
            poisoned.store(true, Ordering::Release);
            quietly(|| drop(panic));
            if OF_REDB.get() {
                return Err(Error::corrupt(doing, "a damaged page of the file"));
            }
            Err(Error::stopped(format!("{doing} was interrupted by a panic")))
        }
    }
}

/// Calls redb where nothing is to be told: none if it panics.
pub(super) fn quietly<T>(call: impl FnOnce() -> T) -> Option<T> {
    let _entered = Entered::into(Inside::Redb);
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// What may panic as it is dropped: where another panic unwinds through it, that would end the process.
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub fn new(what: T) -> Guarded<T> {
        Guarded(Some(what))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        quietly(|| drop(self.0.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_redb_is_damage() {
        silence();
        let poisoned = AtomicBool::new(false);
        let error = reading::<()>("the log", &poisoned, || panic!("index out of bounds")).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { place, .. } if place == "the log"), "{error}");
        assert!(!poisoned.load(Ordering::Relaxed));
        assert_eq!(reading("the log", &poisoned, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn a_lock_that_a_panic_left_behind_is_known_by_the_next() {
        silence();
        let (lock, poisoned) = (std::sync::Mutex::new(()), AtomicBool::new(false));
        let hold = || {
            let _held = lock.lock().unwrap();
            panic!("damaged")
        };
        assert!(reading::<()>("the log", &poisoned, hold).is_err());
        assert!(!poisoned.load(Ordering::Relaxed));
        let again = || lock.lock().map(drop).map_err(|e| Error::stopped(e.to_string()));
        assert!(reading("the log", &poisoned, again).is_err());
        assert!(!poisoned.load(Ordering::Relaxed), "an error is none of a panic");
        let read = || {
            let _held = lock.lock().unwrap();
            Ok(())
        };
        let error = reading("the log", &poisoned, read).unwrap_err();
        assert!(super::super::was_interrupted(&error), "{error}");
        assert!(poisoned.load(Ordering::Relaxed));
    }

    #[test]
    fn a_panic_within_a_write_is_its_own_and_leaves_locks_behind() {
        silence();
        let poisoned = AtomicBool::new(false);
        let error = writing("a write", &poisoned, || panic!("not redb's")).unwrap_err();
        assert!(error.to_string().contains("a write was interrupted by a panic"), "{error}");
        assert!(poisoned.load(Ordering::Relaxed));
    }

    /// Panics as it is dropped.
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a lock is poisoned");
        }
    }

    #[test]
    fn what_panics_as_it_is_dropped_while_another_panic_unwinds_does_not_end_the_process() {
        silence();
        let poisoned = AtomicBool::new(false);
        let error = reading::<()>("the log", &poisoned, || {
            let _first = Guarded::new(Panics);
            let _second = Guarded::new(Panics);
            panic!("a damaged page")
        });
        assert_eq!(error.unwrap_err().kind(), "corrupt");
    }
}
