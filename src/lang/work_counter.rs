//! How much work parsing is, counted: for the tests that it is linear.

use std::cell::Cell;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// So many characters or tokens were looked at.
pub(super) fn took(steps: usize) {
    STEPS.with(|count| count.set(count.get() + steps as u64));
}

/// All that this thread took so far.
pub(super) fn count() -> u64 {
    STEPS.with(Cell::get)
}
