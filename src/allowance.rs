//! What one evaluation may take: bytes of what it makes, and steps of work.
//!
//! Whoever works something out is given [`Limits`], and takes an [`Allowance`] of them for each evaluation: of a row, of an event that
//! is folded in, of what a verb decides. What makes a value takes its bytes of that *before* it makes them, so that no definition asks
//! for more memory than there is. What is over stays over: everything else that is asked for is refused too, so that the
//! evaluation comes to its end at once, and whoever began it asks [`check`](Allowance::check) what came of it.
//!
//! The same evaluation takes the same, whenever and wherever it runs: one that is over is so for good, and may be told of as
//! any other fault. That somebody ended it is told apart ([`Over::Ended`]): it says nothing of what is evaluated.

use std::cell::Cell;

use crate::cancel::Cancel;
use crate::error::{Error, Result, size};

/// What a value takes at most, where nothing else is said: as much as the largest event.
pub(crate) const LARGEST: usize = 16 << 20;

/// So many steps are free for each byte: what passes over the largest value some dozens of times is still worked out.
const STEPS: u64 = 64;

/// Even where values are small, there is some work to do.
const FEWEST_STEPS: u64 = 1 << 24;

/// After so many steps it is looked whether somebody ended it, and then each time after so many.
const FIRST_LOOK: u64 = 1 << 16;
const LOOK: u64 = 1 << 20;

/// What each of many evaluations may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    largest: u64,
    /// What to raise where that is too little.
    option: &'static str,
    cancel: Cancel,
}

/// What says how much an evaluation may make.
const OWN: &str = "Options::largest_value (--largest-value)";

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(LARGEST, &Cancel::new())
    }
}

impl Limits {
    /// So many bytes each, until this handle ends them.
    pub fn new(largest: usize, cancel: &Cancel) -> Limits {
        Limits { largest: largest as u64, option: OWN, cancel: cancel.clone() }
    }

    /// The same, of a query that may hold no more than this.
    pub fn of_query(largest: usize, memory: usize, cancel: &Cancel) -> Limits {
        match memory < largest {
            true => Limits { option: "Options::query_memory (--memory)", ..Limits::new(memory, cancel) },
            false => Limits::new(largest, cancel),
        }
    }

    /// The same, of so many bytes each.
    pub fn of_size(&self, largest: usize) -> Limits {
        Limits { largest: largest as u64, ..self.clone() }
    }

    /// An error where somebody ended it.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()
    }

    /// The most bytes that a value takes in memory.
    pub fn largest(&self) -> u64 {
        self.largest
    }
}

/// What an evaluation had too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Bytes,
    Steps,
    /// Somebody ended it, or its time has passed.
    Ended,
}

/// Why something was not made.
#[derive(Debug)]
pub(crate) enum Unmade {
    /// It cannot be, whoever tries it: why, in words.
    Fault(String),
    /// It takes more than an evaluation may.
    Over(Error),
    /// Somebody ended it, and that says nothing of what it is made of.
    Ended(Error),
}

impl From<Unmade> for Error {
    fn from(unmade: Unmade) -> Error {
        match unmade {
            Unmade::Fault(why) => Error::invalid("an evaluation", "a value", why),
            Unmade::Over(error) | Unmade::Ended(error) => error,
        }
    }
}

/// What an evaluation may still take.
#[derive(Debug)]
pub(crate) struct Allowance<'l> {
    limits: Option<&'l Limits>,
    largest: u64,
    bytes: Cell<u64>,
    steps: Cell<u64>,
    /// Once no more steps than this are left, it is looked whether to go on.
    look: Cell<u64>,
    over: Cell<Option<Over>>,
}

impl Default for Allowance<'static> {
    /// Of the limits that hold where nothing else is said, which nobody ends.
    fn default() -> Allowance<'static> {
        Allowance::alone(LARGEST)
    }
}

impl<'l> Allowance<'l> {
    pub fn of(limits: &'l Limits) -> Allowance<'l> {
        Allowance::begun(Some(limits), limits.largest)
    }

    /// So many bytes, which nobody ends.
    pub fn alone(largest: usize) -> Allowance<'l> {
        Allowance::begun(None, largest as u64)
    }

    fn begun(limits: Option<&'l Limits>, largest: u64) -> Allowance<'l> {
        let steps = largest.saturating_mul(STEPS).max(FEWEST_STEPS);
        Allowance {
            limits,
            largest,
            bytes: Cell::new(largest),
            steps: Cell::new(steps),
            look: Cell::new(steps - FIRST_LOOK),
            over: Cell::new(None),
        }
    }

    /// Takes bytes of what is being made. Whether there were so many.
    #[inline]
    pub fn take(&self, bytes: usize) -> bool {
        match self.bytes.get().checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes.set(left);
                self.over.get().is_none()
            }
            None => self.end(Over::Bytes),
        }
    }

    /// Takes bytes that are let go of again before anything else is made, and the steps that making them is. Whether there were so many.
    pub fn lend(&self, bytes: usize) -> bool {
        if bytes as u64 > self.bytes.get() {
            return self.end(Over::Bytes);
        }
        self.step(bytes)
    }

    /// Takes steps of work. Whether there were so many.
    #[inline]
    pub fn step(&self, steps: usize) -> bool {
        match self.steps.get().checked_sub(steps as u64) {
            Some(left) => {
                self.steps.set(left);
                left > self.look.get() || self.look()
            }
            None => self.end(Over::Steps),
        }
    }

    /// Takes the steps of work that cannot be ended once it is begun: so many at a time as a value has bytes, and no more. Whether it is to
    /// be begun.
    pub fn at_once(&self, steps: usize) -> bool {
        if steps as u64 > self.largest { self.end(Over::Steps) } else { self.step(steps) }
    }

    #[cold]
    fn look(&self) -> bool {
        if self.over.get().is_some() {
            return false;
        }
        self.look.set(self.steps.get().saturating_sub(LOOK));
        match self.limits {
            Some(limits) if limits.cancel.check().is_err() => self.end(Over::Ended),
            _ => true,
        }
    }

    #[cold]
    fn end(&self, why: Over) -> bool {
        if self.over.get().is_none() {
            self.over.set(Some(why));
        }
        self.bytes.set(0);
        self.steps.set(0);
        self.look.set(u64::MAX);
        false
    }

    /// What it had too much of, if anything.
    #[inline]
    pub fn over(&self) -> Option<Over> {
        self.over.get()
    }

    /// An error where it had too much, or was ended.
    #[inline]
    pub fn check(&self) -> Result<()> {
        match self.over.get() {
            None => Ok(()),
            Some(over) => Err(self.error(over)),
        }
    }

    /// The same, with the two told apart.
    pub fn made(&self) -> std::result::Result<(), Unmade> {
        match self.over.get() {
            None => Ok(()),
            Some(Over::Ended) => Err(Unmade::Ended(self.error(Over::Ended))),
            Some(over) => Err(Unmade::Over(self.error(over))),
        }
    }

    #[cold]
    fn error(&self, over: Over) -> Error {
        let ended = match (over, self.limits) {
            (Over::Ended, Some(limits)) => limits.cancel.check().err(),
            _ => None,
        };
        ended.unwrap_or_else(|| {
            let (expected, found) = self.expected(over);
            Error::invalid("an evaluation", expected, found)
        })
    }

    /// What it had too much of, in words.
    pub fn told(&self, over: Over) -> String {
        let (expected, found) = self.expected(over);
        format!("expected {expected}, found {found}")
    }

    fn expected(&self, over: Over) -> (String, String) {
        let (largest, option) = (size(self.largest), self.limits.map_or(OWN, |limits| limits.option));
        match over {
            Over::Bytes => (
                format!("a value that is made in at most {largest} of memory"),
                format!("one that takes more; make less of it, or raise {option}"),
            ),
            Over::Steps => (
                format!("a value that takes no more steps than go with {largest} of memory"),
                format!("one that takes more; ask less of it, or raise {option}"),
            ),
            Over::Ended => ("time to evaluate it".to_owned(), "none left".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_stays_over() {
        let limits = Limits::new(1000, &Cancel::new());
        let allowance = Allowance::of(&limits);
        assert!(allowance.take(600) && allowance.step(10) && allowance.lend(400));
        assert!(!allowance.take(401), "there are 400 left");
        assert!(!allowance.take(1) && !allowance.step(1) && !allowance.lend(1));
        assert_eq!(allowance.over(), Some(Over::Bytes));
        let error = allowance.check().unwrap_err().to_string();
        assert!(error.contains("1000 bytes") && error.contains("--largest-value"), "{error}");
    }

    #[test]
    fn steps_have_an_end() {
        let limits = Limits::new(1000, &Cancel::new());
        let allowance = Allowance::of(&limits);
        let steps = (0..).take_while(|_| allowance.step(1 << 16)).count() as u64;
        assert_eq!(steps, FEWEST_STEPS >> 16);
        assert_eq!(allowance.over(), Some(Over::Steps));
        assert!(!allowance.take(1));
    }

    #[test]
    fn an_evaluation_is_ended_while_it_works() {
        let cancel = Cancel::new();
        let limits = Limits::new(LARGEST, &cancel);
        let allowance = Allowance::of(&limits);
        cancel.cancel();
        let steps = (0..).take_while(|_| allowance.step(1)).count() as u64;
        assert!(steps <= FIRST_LOOK, "{steps}");
        assert_eq!(allowance.over(), Some(Over::Ended));
        assert_eq!(allowance.check().unwrap_err().to_string(), "stopped: it was cancelled");
    }
}
