//! How long things took: a count for each stretch of time, and their sum.

use std::time::Duration;

use super::Counter;

/// The upper bounds of all but the last bucket, in nanoseconds: what a disk or a query takes.
const BOUNDS: [u64; 14] = [
    10_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

const BILLION: f64 = 1e9;

/// Durations, by how long they are. Whoever reads it while others add may see the one and not yet the other.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each bound, and one for what is longer than all.
    buckets: [Counter; BOUNDS.len() + 1],
    /// In nanoseconds: enough for some centuries.
    sum: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // A bound is within its bucket.
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.buckets[at].add(1);
        self.sum.add(nanos);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// Their sum, in seconds.
    pub fn seconds(&self) -> f64 {
        self.sum.get() as f64 / BILLION
    }

    /// Of each bound, in seconds, how many were no longer than it.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / BILLION).chain([f64::INFINITY]);
        let up_to = |(bound, bucket): (f64, &Counter)| {
            sum += bucket.get();
            (bound, sum)
        };
        bounds.zip(&self.buckets).map(up_to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bound() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 1_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let cumulative = histogram.cumulative();
        assert_eq!(cumulative.first(), Some(&(0.00001, 2)), "a bound is within its bucket");
        assert_eq!(cumulative[1], (0.0001, 3));
        assert_eq!(cumulative[11], (1.0, 4));
        assert_eq!(cumulative[13], (10.0, 4));
        assert_eq!(cumulative.last(), Some(&(f64::INFINITY, 5)));
        assert_eq!(histogram.count(), 5);
        assert!((histogram.seconds() - 11.000_022).abs() < 1e-9, "{}", histogram.seconds());
        assert!(BOUNDS.is_sorted());
    }
}
