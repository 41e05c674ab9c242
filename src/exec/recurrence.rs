//! Rhythms: the instants at which a schedule runs, in milliseconds since 1970.
//!
//! Periods tile all of time from Monday, 1970-01-05, midnight of UTC, so that days begin at midnight and weeks with a Monday; or from the
//! definition on, where no time is said. Or they are times of a [calendar](crate::plan::cron).

use std::time::Duration;

use crate::plan::cron::Cron;
use crate::plan::reaction::Rhythm;
use crate::time::Timestamp;

/// 1970-01-05T00:00:00Z.
const MONDAY: i128 = 4 * 86_400_000;

/// The instants of a rhythm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recurrence {
    Periods(Periods),
    Cron(Cron),
}

/// Instants that are one period apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Periods {
    /// One of them.
    begin: i128,
    every: i128,
}

impl Recurrence {
    /// Those of a schedule that was defined at this instant.
    pub fn new(rhythm: &Rhythm, defined: Timestamp) -> Recurrence {
        match rhythm {
            Rhythm::Every { period, offset } => Recurrence::Periods(Periods::new(*period, *offset, defined)),
            Rhythm::Cron(cron) => Recurrence::Cron(cron.clone()),
        }
    }

    /// The last instant up to this one, which may be it.
    pub fn last(&self, until: Timestamp) -> Timestamp {
        match self {
            Recurrence::Periods(periods) => periods.last(until),
            Recurrence::Cron(cron) => cron.last(until),
        }
    }

    /// The first instant behind this one.
    pub fn next(&self, after: Timestamp) -> Timestamp {
        match self {
            Recurrence::Periods(periods) => periods.next(after),
            Recurrence::Cron(cron) => cron.next(after),
        }
    }

    /// How many instants there are behind one, up to another.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> u64 {
        match self {
            Recurrence::Periods(periods) => periods.between(after, until),
            Recurrence::Cron(cron) => cron.between(after, until),
        }
    }
}

impl Periods {
    /// Every so long, so long after the begin of each period; or from the definition on.
    fn new(every: Duration, offset: Option<Duration>, defined: Timestamp) -> Periods {
        let begin = match offset {
            Some(offset) => MONDAY + millis(offset),
            None => i128::from(defined.as_millis()),
        };
        Periods { begin, every: millis(every).max(1) }
    }

    fn last(&self, until: Timestamp) -> Timestamp {
        instant(self.floor(until))
    }

    fn next(&self, after: Timestamp) -> Timestamp {
        instant(self.floor(after) + self.every)
    }

    fn between(&self, after: Timestamp, until: Timestamp) -> u64 {
        u64::try_from((self.floor(until) - self.floor(after)) / self.every).unwrap_or(0)
    }

    fn floor(&self, at: Timestamp) -> i128 {
        // The parts round toward 1970, and before it that is up.
        let (seconds, nanos) = at.parts();
        let at = (i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).div_euclid(1_000_000);
        self.begin + (at - self.begin).div_euclid(self.every) * self.every
    }
}

fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX / 4)
}

fn instant(millis: i128) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn days_begin_at_midnight_and_weeks_with_a_monday() {
        let nightly = Periods::new(DAY, Some(Duration::from_secs(7200)), at("2024-06-01T12:34:56Z"));
        assert_eq!(nightly.next(at("2024-06-01T12:34:56Z")), at("2024-06-02T02:00:00Z"));
        assert_eq!(nightly.next(at("2024-06-02T02:00:00Z")), at("2024-06-03T02:00:00Z"));
        assert_eq!(nightly.last(at("2024-06-02T02:00:00Z")), at("2024-06-02T02:00:00Z"));
        assert_eq!(nightly.last(at("2024-06-02T01:59:59.999999Z")), at("2024-06-01T02:00:00Z"));
        assert_eq!(nightly.between(at("2024-06-01T12:00:00Z"), at("2024-06-04T02:00:00Z")), 3);
        let weekly = Periods::new(DAY * 7, Some(Duration::from_secs(7200)), at("2024-06-01"));
        // A Monday.
        assert_eq!(weekly.next(at("2024-06-01")), at("2024-06-03T02:00:00Z"));
        let hourly = Periods::new(DAY / 24, Some(Duration::from_secs(900)), at("2024-06-01"));
        assert_eq!(hourly.next(at("2024-06-01T05:15:00Z")), at("2024-06-01T06:15:00Z"));
    }

    #[test]
    fn without_a_time_it_goes_from_the_definition_on() {
        let rhythm = Periods::new(DAY, None, at("2024-06-01T12:34:56.789Z"));
        assert_eq!(rhythm.next(at("2024-06-01T12:34:56.789Z")), at("2024-06-02T12:34:56.789Z"));
        assert_eq!(rhythm.between(at("2024-06-01T12:34:56.789Z"), at("2024-06-02T12:34:56.788Z")), 0);
    }

    proptest! {
        #[test]
        fn instants_tile_time(every in 1u64..10_000_000, offset in proptest::option::of(0u64..10_000_000), at in -1_000_000_000i64..1_000_000_000) {
            let now = Timestamp::from_millis(at);
            let offset = offset.map(|offset| Duration::from_millis(offset % every));
            let rhythm = Periods::new(Duration::from_millis(every), offset, Timestamp::from_millis(12_345));
            let (last, next) = (rhythm.last(now), rhythm.next(now));
            prop_assert!(last <= now && now < next);
            prop_assert_eq!(next.as_millis() - last.as_millis(), i64::try_from(every).unwrap());
            prop_assert_eq!(rhythm.last(next), next);
            prop_assert_eq!(rhythm.between(last, next), 1);
            prop_assert_eq!(rhythm.between(now, now), 0);
        }
    }
}
