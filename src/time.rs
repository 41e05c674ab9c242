//! Instants, and where they come from.
//!
//! A [`Timestamp`] is an instant of UTC with nanoseconds, written as RFC 3339. A date alone is its midnight, a
//! time without an offset is UTC. The database reads time from a [`Clock`], so that a test can set it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, shorten};

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
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The earliest instant that can be said.
    pub const MIN: Timestamp = Timestamp(jiff::Timestamp::MIN);
    /// The latest instant that can be said.
    pub const MAX: Timestamp = Timestamp(jiff::Timestamp::MAX);

    /// The instant of the system's clock.
    pub fn now() -> Timestamp {
        Timestamp(jiff::Timestamp::now())
    }

    /// The instant so many milliseconds after 1970-01-01T00:00:00Z; clamped to what can be said.
    pub fn from_millis(millis: i64) -> Timestamp {
        let limit = if millis < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Timestamp(jiff::Timestamp::from_millisecond(millis).unwrap_or(limit))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded toward it.
    pub fn as_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The instant without what is smaller than a microsecond.
    pub(crate) fn to_micros(self) -> Timestamp {
        jiff::Timestamp::from_microsecond(self.0.as_microsecond()).map_or(self, Timestamp)
    }

    /// Seconds and nanoseconds since 1970-01-01T00:00:00Z; both have one sign.
    pub(crate) fn parts(self) -> (i64, i32) {
        (self.0.as_second(), self.0.subsec_nanosecond())
    }

    pub(crate) fn from_parts(seconds: i64, nanos: i32) -> Result<Timestamp> {
        jiff::Timestamp::new(seconds, nanos)
            .map(Timestamp)
            .map_err(|e| Error::corrupt("a stored timestamp", e.to_string()))
    }

    /// Its date and its time of day in UTC.
    pub(crate) fn civil(self) -> jiff::civil::DateTime {
        jiff::tz::Offset::UTC.to_datetime(self.0)
    }

    /// This instant moved back; the earliest one if there is none so early.
    pub fn saturating_sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(by).unwrap_or(jiff::Timestamp::MIN))
    }

    /// This instant moved on; the latest one if there is none so late.
    pub fn saturating_add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(by).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Timestamp> {
        let fault = |why: String| {
            let expected = format!("a date or time like 2024-01-01 or 2024-01-01T12:00:00Z ({why})");
            Error::invalid("time", expected, format!("'{}'", shorten(text)))
        };
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Timestamp(instant));
        }
        // Annotations and named zones would be read and dropped: a time says its offset or is UTC.
        if text.contains('[') {
            return Err(fault("an offset, not a zone".to_owned()));
        }
        let civil = text.parse::<jiff::civil::DateTime>().map_err(|e| fault(e.to_string()))?;
        let instant = jiff::tz::Offset::UTC.to_timestamp(civil).map_err(|e| fault(e.to_string()))?;
        Ok(Timestamp(instant))
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
/// use bygone::{Clock, Timestamp};
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
mod tests {
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
    fn durations_print_as_they_parse() {
        for text in ["30s", "5m", "1h", "7w", "2d", "250ms", "0s"] {
            assert_eq!(display_duration(parse_duration(text).unwrap()), text);
        }
        assert!(parse_duration("1y").is_err() && parse_duration("s").is_err());
        assert!(parse_duration("99999999999999999999w").is_err());
    }
}
