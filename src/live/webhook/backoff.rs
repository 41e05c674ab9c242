//! How long to wait after a failure before it is tried again.
//!
//! Each wait is drawn anew from nothing to a bound that doubles with each attempt, up to a most: many who failed at one moment do
//! not come back at one moment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Draws a number from 0 to 1.
type Draw = Arc<dyn Fn() -> f64 + Send + Sync>;

#[derive(Clone)]
pub(super) struct Backoff {
    /// The bound after the first failure.
    pub first: Duration,
    /// No wait is longer, whatever the receiver asks for.
    pub most: Duration,
    pub draw: Draw,
}

impl Backoff {
    /// The wait after a failed attempt, which are counted from 1. What the receiver asks for (`Retry-After`) is waited at least.
    pub fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = 2u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(doubled).min(self.most);
        let drawn = bound.mul_f64((self.draw)().clamp(0.0, 1.0));
        drawn.max(asked.unwrap_or_default().min(self.most))
    }
}

/// From 0 to 1, by the system. Where that has nothing to draw from, the bound is waited.
pub(super) fn random() -> f64 {
    getrandom::u64().map_or(1.0, |drawn| drawn as f64 / u64::MAX as f64)
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backoff({:?} to {:?})", self.first, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(drawn: f64) -> Backoff {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        Backoff { first, most, draw: Arc::new(move || drawn) }
    }

    #[test]
    fn waits_double_up_to_a_most() {
        let wait = |drawn: f64, attempt: u32| drawing(drawn).wait(attempt, None).as_millis();
        assert_eq!([1, 2, 3, 6].map(|attempt| wait(1.0, attempt)), [100, 200, 400, 3200]);
        assert_eq!([7, 8, 33, 34, u32::MAX].map(|attempt| wait(1.0, attempt)), [5000; 5]);
        assert_eq!([1, 2, 9].map(|attempt| wait(0.5, attempt)), [50, 100, 2500]);
        assert_eq!(wait(0.0, 9), 0);
        // What is no part of the whole is no wait to fear.
        assert_eq!((wait(7.0, 1), wait(-1.0, 1)), (100, 0));
    }

    #[test]
    fn what_the_receiver_asks_for_is_waited_within_the_most() {
        let wait = |drawn: f64, asked: u64| drawing(drawn).wait(1, Some(Duration::from_secs(asked)));
        assert_eq!(wait(1.0, 3), Duration::from_secs(3));
        assert_eq!(wait(1.0, 0), Duration::from_millis(100));
        assert_eq!(wait(1.0, 3600), Duration::from_secs(5));
    }

    #[test]
    fn what_is_drawn_is_from_nothing_to_all() {
        let drawn: Vec<f64> = (0..200).map(|_| random()).collect();
        assert!(drawn.iter().all(|drawn| (0.0..=1.0).contains(drawn)));
        // Both halves are drawn from: all of 200 in one of them would take longer than the universe has.
        assert!(drawn.iter().any(|drawn| *drawn < 0.5) && drawn.iter().any(|drawn| *drawn > 0.5));
    }
}
