//! Instants, and where they come from.
//!
//! A [`Timestamp`] is an instant of UTC with nanoseconds, written as RFC 3339. A date alone is its midnight, a
//! time without an offset is UTC. The database reads time from a [`Clock`], so that a test can set it.

mod rfc3339;
mod zone;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, shorten};
pub(crate) use rfc3339::why_no_time;
pub(crate) use zone::{TimeZone, ZoneInstants};

/// An instant of UTC, with nanoseconds, from year −9999 to 9999.
///
/// ```
/// use bygone::Timestamp;
/// let noon: Timestamp = "2024-01-01 12:00".parse()?;
/// assert_eq!(noon.to_string(), "2024-01-01T12:00:00Z");
/// assert_eq!("2024-01-01T14:00:00+02:00".parse::<Timestamp>()?, noon);
/// assert!("2024-13-01".parse::<Timestamp>().is_err());
/// # Ok::<(), bygone::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(SignedDuration);

/// 1970-01-01T00:00:00.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl Timestamp {
    /// The earliest instant that can be said: -009999-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(SignedDuration::new(-377_705_116_800, 0));
    /// The latest instant that can be said: 9999-12-31T23:59:59.999999999Z.
    pub const MAX: Timestamp = Timestamp(SignedDuration::new(253_402_300_799, 999_999_999));

    /// The instant of the system's clock.
    pub fn now() -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_duration())
    }

    /// The instant so many milliseconds after 1970-01-01T00:00:00Z; clamped to what can be said.
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(SignedDuration::from_millis(millis)).clamp(Timestamp::MIN, Timestamp::MAX)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded toward it.
    pub fn as_millis(self) -> i64 {
        // The seconds of ten thousand years are far from the ends of 64 bits.
        self.0.as_secs() * 1_000 + i64::from(self.0.subsec_millis())
    }

    /// The instant without what is smaller than a microsecond.
    pub(crate) fn to_micros(self) -> Timestamp {
        Timestamp(SignedDuration::new(self.0.as_secs(), self.0.subsec_micros() * 1_000))
    }

    /// Seconds and nanoseconds since 1970-01-01T00:00:00Z; both have one sign.
    pub(crate) fn parts(self) -> (i64, i32) {
        (self.0.as_secs(), self.0.subsec_nanos())
    }

    pub(crate) fn from_parts(seconds: i64, nanos: i32) -> Result<Timestamp> {
        let whole = (-999_999_999..=999_999_999).contains(&nanos);
        let length = whole.then(|| {
            SignedDuration::from_secs(seconds).checked_add(SignedDuration::from_nanos(nanos.into()))
        });
        length.flatten().and_then(Timestamp::said).ok_or_else(|| {
            Error::corrupt(
                "a stored timestamp",
                format!("{seconds} seconds and {nanos} nanoseconds after 1970"),
            )
        })
    }

    /// The instant so long after 1970, where it can be said.
    fn said(length: SignedDuration) -> Option<Timestamp> {
        let instant = Timestamp(length);
        (Timestamp::MIN..=Timestamp::MAX).contains(&instant).then_some(instant)
    }

    /// Its date and its time of day in UTC.
    pub(crate) fn civil(self) -> DateTime {
        // Every instant that can be said has a date.
        EPOCH.saturating_add(self.0)
    }

    /// The instant of a date and a time of day in UTC; none where no instant is so early or so late.
    pub(crate) fn of_civil(civil: DateTime) -> Option<Timestamp> {
        Timestamp::said(civil.duration_since(EPOCH))
    }

    /// Where its day begins, in UTC.
    pub(crate) fn midnight(self) -> Option<Timestamp> {
        Timestamp::of_civil(self.civil().date().at(0, 0, 0, 0))
    }

    /// Where a month (`2024-02`) or a year (`2024`) begins, in UTC.
    pub(crate) fn beginning_of(text: &str) -> Option<Timestamp> {
        let number = |digits: &str, length: usize| {
            (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| digits.parse::<i16>().ok())
                .flatten()
        };
        let (year, month) = match text.split_once('-') {
            Some((year, month)) => (number(year, 4)?, number(month, 2)?),
            None => (number(text, 4)?, 1),
        };
        let first = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
        Timestamp::of_civil(first.at(0, 0, 0, 0))
    }

    /// This instant moved by nanoseconds; none where no instant is so early or so late.
    pub(crate) fn moved(self, nanos: i128) -> Option<Timestamp> {
        let seconds = i64::try_from(nanos / 1_000_000_000).ok()?;
        // Less than a second's nanoseconds.
        let by = SignedDuration::new(seconds, (nanos % 1_000_000_000) as i32);
        self.0.checked_add(by).and_then(Timestamp::said)
    }

    /// This instant moved back; the earliest one if there is none so early.
    pub fn saturating_sub(self, by: Duration) -> Timestamp {
        let moved = i128::try_from(by.as_nanos()).ok().and_then(|by| self.moved(-by));
        moved.unwrap_or(Timestamp::MIN)
    }

    /// This instant moved on; the latest one if there is none so late.
    pub fn saturating_add(self, by: Duration) -> Timestamp {
        let moved = i128::try_from(by.as_nanos()).ok().and_then(|by| self.moved(by));
        moved.unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::new(self.0.as_secs(), self.0.subsec_nanos()) {
            Ok(instant) => fmt::Display::fmt(&instant, f),
            // The last day, which some zone has in another year, and the first.
            Err(_) => write!(f, "{}Z", self.civil()),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Timestamp> {
        rfc3339::parse(text).map_err(|why| {
            let expected = format!("a date or time like 2024-01-01 or 2024-01-01T12:00:00Z ({why})");
            Error::invalid("time", expected, format!("'{}'", shorten(text)))
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the database reads the time.
///
/// ```
/// use bygone::maintain::Clock;
/// use bygone::Timestamp;
/// let clock = Clock::new(|| Timestamp::from_millis(1_000));
/// assert_eq!(clock.now().to_string(), "1970-01-01T00:00:01Z");
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock of one's own.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The system's clock.
    pub fn system() -> Clock {
        Clock::new(Timestamp::now)
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// How long it takes until it has passed an instant.
    pub(crate) fn until(&self, time: Timestamp) -> Duration {
        let left = time.as_millis().saturating_sub(self.now().as_millis()).saturating_add(1);
        Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Reads a duration of the language: `30s`, `5m`, `1h`, `7d`, `2w`, `250ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let fault =
        || Error::invalid("duration", "a number and ms, s, m, h, d or w, like 30s or 7d", shorten(text));
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
    let number: u64 = text[..split].parse().map_err(|_| fault())?;
    let unit = match &text[split..] {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        "w" => 604_800,
        _ => return Err(fault()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(fault)
}

/// A duration of the language, for what SQL writes of one: `1 day`, `30 minutes`. None for what has no fixed length, as a month.
pub(crate) fn duration_elsewhere(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (number, unit, None) = (words.next()?, words.next()?.to_ascii_lowercase(), words.next()) else {
        return None;
    };
    let unit = match unit.trim_end_matches('s') {
        "day" | "d" => "d",
        "hour" | "hr" | "h" => "h",
        "minute" | "min" | "m" => "m",
        "second" | "sec" | "" => "s",
        "week" | "w" => "w",
        "millisecond" => "ms",
        _ => return None,
    };
    let duration = format!("{number}{unit}");
    parse_duration(&duration).is_ok().then_some(duration)
}

/// Writes a duration so that [`parse_duration`] gives it back: the largest unit that divides it.
pub(crate) fn display_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    for (unit, size) in [("w", 604_800), ("d", 86400), ("h", 3600), ("m", 60)] {
        if seconds != 0 && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_form() {
        let at = |text: &str| text.parse::<Timestamp>().map(|t| t.to_string());
        assert_eq!(at("2024-01-01").unwrap(), "2024-01-01T00:00:00Z");
        assert_eq!(at("2024-01-01T10:00").unwrap(), "2024-01-01T10:00:00Z");
        assert_eq!(at("2024-01-01 10:00:05.25").unwrap(), "2024-01-01T10:00:05.25Z");
        assert_eq!(at("2024-01-01T10:00:00-05:00").unwrap(), "2024-01-01T15:00:00Z");
        for wrong in
            ["2024-13-01", "2024-02-30", "yesterday", "", "2024-01-01T25:00Z", "2024-01-01[Europe/Oslo]"]
        {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_month_and_a_year_have_a_beginning() {
        let begins = |text: &str| Timestamp::beginning_of(text).map(|time| time.to_string());
        assert_eq!(begins("2024-02").as_deref(), Some("2024-02-01T00:00:00Z"));
        assert_eq!(begins("2024").as_deref(), Some("2024-01-01T00:00:00Z"));
        assert_eq!(begins("9999-12").as_deref(), Some("9999-12-01T00:00:00Z"));
        for none in
            ["2024-13", "2024-00", "2024-2", "24", "2024-", "-2024", "+024", "2024-02-01", "２０２４", ""]
        {
            assert_eq!(begins(none), None, "{none}");
        }
    }

    #[test]
    fn a_duration_of_sql_has_one_of_ours() {
        for (text, ours) in [
            ("1 day", Some("1d")),
            ("2 DAYS", Some("2d")),
            ("30 minutes", Some("30m")),
            ("5 sec", Some("5s")),
            ("250 milliseconds", Some("250ms")),
            ("1 month", None),
            ("1 day 2 hours", None),
            ("day", None),
            ("x days", None),
        ] {
            assert_eq!(duration_elsewhere(text).as_deref(), ours, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_before_nothing_that_it_comes_after() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}"));
        for (leap, end) in [
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
            ("2016-12-31T23:59:60.25Z", "2016-12-31T23:59:59.999999999Z"),
            ("2016-12-31 23:59:60", "2016-12-31T23:59:59.999999999Z"),
            ("20161231T235960Z", "2016-12-31T23:59:59.999999999Z"),
            ("2017-01-01T00:59:60+01:00", "2016-12-31T23:59:59.999999999Z"),
            ("1965-12-31T23:59:60.5Z", "1965-12-31T23:59:59.999999999Z"),
            ("-009999-01-31T23:59:60Z", "-009999-01-31T23:59:59.999999999Z"),
            ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.999999999Z"),
            ("9999-12-31T22:59:60.1-01:00", "9999-12-31T23:59:59.999999999Z"),
            // Minutes, hours and offsets are no seconds.
            ("2016-12-31T06:00:00.60Z", "2016-12-31T06:00:00.6Z"),
        ] {
            assert_eq!(at(leap).to_string(), end, "{leap}");
        }
        assert!(at("2016-12-31T23:59:60Z") > at("2016-12-31T23:59:59.5Z"));
        assert!(at("2016-12-31T23:59:60Z") < at("2017-01-01"));
    }

    /// Days from 1970-01-01 to a date, counted year by year and month by month.
    pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
        let leap =
            |year: i64| year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
        let whole: i64 = if year >= 1970 {
            (1970..year).map(|year| 365 + i64::from(leap(year))).sum()
        } else {
            -(year..1970).map(|year| 365 + i64::from(leap(year))).sum::<i64>()
        };
        let months = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        whole + months[..month as usize - 1].iter().sum::<i64>() + day - 1
    }

    #[test]
    fn all_of_year_9999_is_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(at("9999-12-31").to_string(), "9999-12-31T00:00:00Z");
        assert_eq!(at("9999-12-31T23:59:59.999999999Z"), Timestamp::MAX);
        assert_eq!(at("9999-12-31T23:59:59.999999999"), Timestamp::MAX);
        assert_eq!(at("9999-12-31T22:59:59.999999999-01:00"), Timestamp::MAX);
        assert_eq!(at("-009999-01-01T00:00:00Z"), Timestamp::MIN);
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.moved(1), None);
        assert_eq!(Timestamp::MIN.moved(-1), None);
        assert!(Timestamp::from_parts(253_402_300_800, 0).is_err());
        assert!(Timestamp::from_parts(0, 1_000_000_000).is_err());
        for beyond in ["9999-12-31T23:30:00-01:00", "10000-01-01", "-009999-01-01T00:00:00+01:00"] {
            let error = beyond.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("a date or time like"), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(1000))]

        /// A time is what a calendar counted by hand says, and prints as it parses; near both ends more often.
        #[test]
        fn a_time_is_what_the_calendar_says(
            year in proptest::prop_oneof![-9999i64..10000, 9998i64..10000, -9999i64..-9997],
            month in 1i64..13, day in 1i64..32, second in 0i64..86400, leaps in proptest::bool::weighted(0.1), nanos in 0i32..1_000_000_000,
            offset in -1439i64..1440,
        ) {
            let date = if year < 0 { format!("-{:06}", -year) } else { format!("{year:04}") };
            // The last second of a minute, and the one that may come after it.
            let second = if leaps { second / 60 * 60 + 59 } else { second };
            let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
            // Half of them where they can be: at the end of a month in UTC, or a day beside it.
            let (day, second) = match leaps && nanos % 2 == 0 {
                true => (next - days(year, month, 1), (86_399 + offset * 60).rem_euclid(86_400)),
                false => (day, second),
            };
            let (hour, minute, rest) = (second / 3600, second / 60 % 60, second % 60 + i64::from(leaps));
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
            let text = format!(
                "{date}-{month:02}-{day:02}T{hour:02}:{minute:02}:{rest:02}.{nanos:09}{sign}{hours:02}:{minutes:02}"
            );
            let said = text.parse::<Timestamp>();
            let counted = days(year, month, day) * 86400 + second - offset * 60;
            let there = days(year, month, day) < next && (-377_705_116_800..=253_402_300_799).contains(&counted);
            let tomorrow = (counted + 1).div_euclid(86_400);
            let ends_month = (counted + 1) % 86_400 == 0 && [days(year, month, 1), next].contains(&tomorrow);
            let there = there && (!leaps || ends_month);
            proptest::prop_assert_eq!(said.is_ok(), there, "{}", text);
            let nanos = if leaps { 999_999_999 } else { nanos };
            if let Ok(said) = said {
                let total = i128::from(counted) * 1_000_000_000 + i128::from(nanos);
                let (seconds, part) = said.parts();
                proptest::prop_assert_eq!(i128::from(seconds) * 1_000_000_000 + i128::from(part), total);
                proptest::prop_assert_eq!(said.to_string().parse::<Timestamp>().unwrap(), said);
                proptest::prop_assert_eq!(Timestamp::from_parts(seconds, part).unwrap(), said);
                proptest::prop_assert_eq!(said.to_micros().parts().1, part / 1000 * 1000);
            }
        }
    }

    #[test]
    fn durations_print_as_they_parse() {
        for text in ["30s", "5m", "1h", "7w", "2d", "250ms", "0s"] {
            assert_eq!(display_duration(parse_duration(text).unwrap()), text);
        }
        assert!(parse_duration("1y").is_err() && parse_duration("s").is_err());
        assert!(parse_duration("99999999999999999999w").is_err());
    }
}
