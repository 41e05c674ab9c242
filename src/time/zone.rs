//! Zones: what the clocks of a place show. Their rules are built in, so that every machine answers the same.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{self, AmbiguousOffset, Offset};

use super::Timestamp;

/// A zone of the tz database, like `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TimeZone(tz::TimeZone);

/// The instants at which clocks show a date and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZoneInstants {
    Once(Timestamp),
    /// Clocks are put forward over it: the first instant behind.
    Never(Timestamp),
    /// Clocks are set back over it.
    Twice(Timestamp, Timestamp),
}

impl TimeZone {
    pub const UTC: TimeZone = TimeZone(tz::TimeZone::UTC);

    /// The zone of a name, in any case.
    pub fn named(name: &str) -> Option<TimeZone> {
        tz::TimeZone::get(name).ok().map(TimeZone)
    }

    /// The names of all zones.
    pub fn names() -> Vec<String> {
        jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect()
    }

    /// What clocks show. At both ends of time, where they would show another year, it is UTC.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        said(at).map_or_else(|| at.civil(), |at| self.0.to_datetime(at))
    }

    /// When clocks show this; none where no instant is so early or so late.
    pub fn instants(&self, civil: DateTime) -> Option<ZoneInstants> {
        let instant = |offset: Offset| offset.to_timestamp(civil).ok();
        Some(match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => ZoneInstants::Once(of(instant(offset)?)),
            AmbiguousOffset::Fold { before, after } => {
                ZoneInstants::Twice(of(instant(before)?), of(instant(after)?))
            }
            AmbiguousOffset::Gap { after, .. } => {
                ZoneInstants::Never(of(self.0.following(instant(after)?).next()?.timestamp()))
            }
        })
    }

    /// When clocks show this, or else come to be behind it; of two such instants the one that has the offset of a third.
    pub fn instant_near(&self, civil: DateTime, near: Timestamp) -> Option<Timestamp> {
        Some(match self.instants(civil)? {
            ZoneInstants::Once(instant) | ZoneInstants::Never(instant) => instant,
            ZoneInstants::Twice(first, second) => {
                let offset = |at: Timestamp| said(at).map(|at| self.0.to_offset(at));
                if offset(near) == offset(second) { second } else { first }
            }
        })
    }
}

fn of(instant: jiff::Timestamp) -> Timestamp {
    Timestamp(instant.as_duration())
}

fn said(at: Timestamp) -> Option<jiff::Timestamp> {
    let (seconds, nanos) = at.parts();
    jiff::Timestamp::new(seconds, nanos).ok()
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl fmt::Debug for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn clocks_are_put_forward_and_set_back() {
        let berlin = TimeZone::named("europe/berlin").unwrap();
        assert_eq!(berlin.to_string(), "Europe/Berlin");
        let instants = |text: &str| berlin.instants(text.parse().unwrap()).unwrap();
        assert_eq!(instants("2024-01-01T02:30"), ZoneInstants::Once(at("2024-01-01T01:30:00Z")));
        assert_eq!(instants("2024-03-31T02:30"), ZoneInstants::Never(at("2024-03-31T01:00:00Z")));
        assert_eq!(
            instants("2024-10-27T02:30"),
            ZoneInstants::Twice(at("2024-10-27T00:30:00Z"), at("2024-10-27T01:30:00Z"))
        );
        assert_eq!(berlin.civil(at("2024-07-01T12:00:00Z")).to_string(), "2024-07-01T14:00:00");
        // By half an hour.
        let howe = TimeZone::named("Australia/Lord_Howe").unwrap();
        assert_eq!(
            howe.instants("2024-10-06T02:15".parse().unwrap()),
            Some(ZoneInstants::Never(at("2024-10-05T15:30:00Z")))
        );
    }

    #[test]
    fn there_are_the_names_that_people_know_and_no_others() {
        assert!(TimeZone::names().len() > 400);
        assert!(TimeZone::names().iter().all(|name| TimeZone::named(name).is_some()));
        for name in ["UTC", "Etc/UTC", "America/New_York", "Asia/Kolkata"] {
            assert!(TimeZone::named(name).is_some(), "{name}");
        }
        for name in ["", "Berlin", "CET-1CEST", "Europe/Berlin2", "../etc/localtime", "+02:00"] {
            assert!(TimeZone::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_ends_of_time_have_a_clock() {
        let berlin = TimeZone::named("Europe/Berlin").unwrap();
        for end in [Timestamp::MIN, Timestamp::MAX] {
            let _ = berlin.instant_near(berlin.civil(end), end);
        }
    }
}
